//! The files of metadata: `topics.json`, `subscriptionGroup.json` and `messageRequestMode.json` in Java's shapes,
//! `queueLocks.json`, and the journal of changes beside them.
//!
//! A change is appended to the journal, many in one write; when that is full, at an orderly stop and after a start that
//! found changes in it, all files are written whole ([`store::metadata::journal`]). All always together: what a backup
//! of one lacks is then in the two journals that are kept.

use super::{Control, MetadataFileError};
use runtime::{Disk, durable_file};
use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};
use store::{StoreError, metadata::journal::Journal};

const TOPICS: &str = "topics.json";
const GROUPS: &str = "subscriptionGroup.json";
pub(super) const QUEUE_LOCKS: &str = "queueLocks.json";
pub(super) const REQUEST_MODES: &str = "messageRequestMode.json";
/// Smallest room of a journal, bytes: some five thousand changes.
const ROOM_BYTES_MIN: u64 = 1024 * 1024;
/// Largest: it is filled with zeros when it is born, while changes wait.
const ROOM_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The files and their journal.
pub struct MetadataStore<D: Disk> {
    journal: Journal<D>,
    /// Changes of the last life stand in the journal that was found.
    needs_checkpoint: bool,
}

impl<D: Disk> MetadataStore<D> {
    /// Reads the files in `dir`, which is created if need be, into the control owner. The error is for people.
    pub async fn load(
        disk: D,
        dir: PathBuf,
        control: &mut Control,
    ) -> Result<MetadataStore<D>, String> {
        disk.create_dir_all(&dir)
            .await
            .map_err(|error| format!("create {}: {error}", dir.display()))?;
        let (journal, found) =
            Journal::open(disk.clone(), &dir).await.map_err(|error| error.to_string())?;
        let owner = RefCell::new(control);
        let topics = |json: &[u8]| owner.borrow_mut().load_topics(json);
        let groups = |json: &[u8]| owner.borrow_mut().load_groups(json);
        let locks = |json: &[u8]| owner.borrow_mut().load_queue_locks(json);
        let modes = |json: &[u8]| owner.borrow_mut().load_request_modes(json);
        let mut over_backup = is_from_backup(&disk, &dir.join(TOPICS), topics).await?;
        over_backup |= is_from_backup(&disk, &dir.join(GROUPS), groups).await?;
        over_backup |= is_from_backup(&disk, &dir.join(QUEUE_LOCKS), locks).await?;
        over_backup |= is_from_backup(&disk, &dir.join(REQUEST_MODES), modes).await?;
        let control = owner.into_inner();
        let mut replayed = 0_u64;
        for change in found.changes(over_backup) {
            replayed += 1;
            control.replay(change).map_err(|error| format!("{}: {error}", dir.display()))?;
        }
        control.loaded();
        if replayed > 0 {
            tracing::info!(changes = replayed, over_backup, "changes of metadata replayed");
        }
        Ok(MetadataStore { journal, needs_checkpoint: replayed > 0 || over_backup })
    }

    /// Makes these changes durable, which the control owner has made already. After an error they have to be given
    /// again. `pause` is made between pieces of a whole table.
    pub async fn save(
        &mut self,
        control: &RefCell<Control>,
        changes: &[Vec<u8>],
        pause: impl AsyncFn(),
    ) -> Result<(), StoreError> {
        if changes.is_empty() && !self.needs_checkpoint {
            return Ok(());
        }
        if !self.needs_checkpoint && self.journal.fits(changes) {
            return self.journal.append(changes).await;
        }
        let files = whole(control, pause).await;
        let bytes = files.iter().map(|(_, content)| content.len() as u64).sum::<u64>();
        let room_bytes = bytes.clamp(ROOM_BYTES_MIN, ROOM_BYTES_MAX);
        self.checkpoint(&files, changes, room_bytes).await?;
        self.needs_checkpoint = false;
        Ok(())
    }

    /// The last changes, and the end of the journal.
    pub async fn close(
        &mut self,
        control: &RefCell<Control>,
        changes: &[Vec<u8>],
    ) -> Result<(), StoreError> {
        if changes.is_empty() && !self.needs_checkpoint && !self.journal.has_changes() {
            return Ok(());
        }
        let files = whole(control, async || ()).await;
        self.checkpoint(&files, &[], 0).await
    }

    async fn checkpoint(
        &mut self,
        files: &Files,
        changes: &[Vec<u8>],
        room_bytes: u64,
    ) -> Result<(), StoreError> {
        let files = files.each_ref().map(|(name, content)| (*name, content.as_slice()));
        self.journal.checkpoint(&files, changes, room_bytes).await
    }
}

/// What [`MetadataStore::load`] would refuse of the tables in `dir`, in words: reads them with ordinary system calls into an
/// owner that is thrown away, and writes nothing. The journal is not read.
pub fn look(dir: &Path, control: &mut Control) -> Vec<String> {
    type Take = fn(&mut Control, &[u8]) -> Result<(), MetadataFileError>;
    let takes: [(&str, Take); 4] = [
        (TOPICS, Control::load_topics),
        (GROUPS, Control::load_groups),
        (QUEUE_LOCKS, Control::load_queue_locks),
        (REQUEST_MODES, Control::load_request_modes),
    ];
    let owner = RefCell::new(control);
    let refused = |(name, take): (&str, Take)| {
        let taken = durable_file::look(&dir.join(name), |json| take(&mut owner.borrow_mut(), json));
        taken.err().map(|error| error.to_string())
    };
    takes.into_iter().filter_map(refused).collect()
}

/// Has `take` take in a file, if it is there. True: it had to be read from its backup.
async fn is_from_backup<D: Disk>(
    disk: &D,
    path: &Path,
    take: impl Fn(&[u8]) -> Result<(), MetadataFileError>,
) -> Result<bool, String> {
    let loaded = durable_file::read(disk, path, take).await.map_err(|error| error.to_string())?;
    Ok(loaded.is_some_and(|loaded| loaded.from_backup))
}

/// Name and content of each file.
type Files = [(&'static str, Vec<u8>); 4];

/// All files as they are to be now. They are encoded piece by piece, from tables that nobody changes meanwhile: a table
/// of 200,000 topics in one piece would hold up everybody on this worker for half a second.
async fn whole(control: &RefCell<Control>, pause: impl AsyncFn()) -> Files {
    let (topics, groups, locks, modes) = {
        let control = control.borrow();
        let (topics, groups) = (control.topics().file(), control.groups().file());
        (topics, groups, control.queue_locks().file(), control.request_modes().all())
    };
    [
        (TOPICS, topics.encode(&pause).await),
        (GROUPS, groups.encode(&pause).await),
        (QUEUE_LOCKS, locks.encode(&pause).await),
        (REQUEST_MODES, modes.encode(&pause).await),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::BrokerConfig,
        control::{RequestMode, tables::Deleted},
    };
    use proto::body::{
        LockBatchRequest, MessageQueue, MessageRequestMode, SubscriptionGroupConfig, TopicConfig,
    };
    use remoting::ConnectionId;
    use runtime::{
        Uptime,
        sim::{SimDisk, block_on},
    };
    use std::collections::BTreeSet;

    const DIR: &str = "/data/config";
    const NOW: i64 = 1_700_000_000_000;

    /// A start on this disk. `None`: the power went.
    fn start(disk: &SimDisk) -> Option<(RefCell<Control>, MetadataStore<SimDisk>)> {
        let mut control = Control::new(&BrokerConfig::default(), NOW);
        let load = MetadataStore::load(disk.clone(), DIR.into(), &mut control);
        let files = block_on(load)?.expect("something of everything is whole");
        Some((RefCell::new(control), files))
    }

    /// Creates, changes or deletes something, as step `step` of a life.
    fn change(control: &mut Control, step: u64) -> Vec<Vec<u8>> {
        let name = format!("t{}", step % 9);
        match step % 7 {
            5 | 6 => {
                let queue = |id: u64| MessageQueue {
                    broker_name: String::new(),
                    queue_id: id as i32,
                    topic: name.clone(),
                };
                let asked = LockBatchRequest {
                    client_id: format!("c{}", step % 2),
                    consumer_group: "g".to_owned(),
                    mq_set: (0..step % 4).map(queue).collect(),
                    only_this_broker: false,
                };
                let now = Uptime::from_ms(NOW);
                if step.is_multiple_of(3) {
                    control.unlock_queues(now, &asked);
                } else {
                    control.lock_queues(now, ConnectionId::new(0, 0, 1), &asked).expect("room");
                }
            }
            // One change at a time: of several in one write a power cut may leave the first ones alone.
            3 if step.is_multiple_of(3) => {
                control.delete_topic(NOW, &name).expect("a good name");
            }
            3 if step % 3 == 1 => {
                control.delete_group(NOW, &name, step.is_multiple_of(2)).expect("a good name");
            }
            3 => {
                let Deleted { topics, groups } = control.tables().deleted;
                let topics: BTreeSet<String> = topics.into_iter().take(1).collect();
                let groups = groups.into_iter().take(1 - topics.len()).collect();
                control.dropped(NOW, &Deleted { topics, groups });
            }
            2 => {
                let group = SubscriptionGroupConfig {
                    group_name: name,
                    ..SubscriptionGroupConfig::default()
                };
                control.update_group(NOW, group).expect("a good name");
            }
            // A group is made by step 2 alone: one that came into being for its mode would be a second change.
            4 if control.groups().get(&name).is_some() => {
                let mode = RequestMode {
                    mode: MessageRequestMode::Pop,
                    pop_share_queue_num: (step % 16) as i32,
                };
                let set = control.set_request_mode(NOW, &name, &name, mode);
                set.expect("the group is there and the topic may be");
            }
            _ => {
                let queues = (step % 16) as i32;
                let topic = TopicConfig {
                    topic_name: name,
                    read_queue_nums: queues,
                    ..TopicConfig::default()
                };
                control.update_topic(NOW, topic).expect("a good name");
            }
        }
        let effects = control.effects();
        let changes = effects.topic_changes.into_iter().chain(effects.group_changes);
        changes.chain(effects.lock_changes).chain(effects.mode_changes).collect()
    }

    /// All tables, in an order that every life has.
    fn tables(control: &RefCell<Control>) -> [Vec<u8>; 4] {
        let control = control.borrow();
        let locks = control.queue_locks().file();
        let locks = block_on(locks.encode(&async || ())).expect("no disk is needed");
        let modes = control.request_modes().all();
        let modes = block_on(modes.encode(&async || ())).expect("no disk is needed");
        [control.topics_json(), control.groups_json(), locks, modes]
    }

    /// Lives of the real tables, each ended by a power cut at any call: a start finds what was promised, or that and
    /// the one change that was on its way.
    #[test]
    fn metadata_survives_a_power_cut_at_any_call() {
        for seed in 0..60 {
            let mut disk = SimDisk::new(seed);
            let mut allowed: Option<Vec<_>> = None;
            for life in 0..4 {
                disk.crash_after(seed * 7 % 31 + life * 13);
                if let Some((control, mut files)) = start(&disk) {
                    let mut states = vec![tables(&control)];
                    let known = allowed.is_none_or(|tables| tables.contains(&states[0]));
                    assert!(known, "seed {seed}, life {life}");
                    for step in 0..30 {
                        let changes = change(&mut control.borrow_mut(), seed + life * 30 + step);
                        states.push(tables(&control));
                        match block_on(files.save(&control, &changes, async || ())) {
                            None => break,
                            Some(saved) => saved.expect("room"),
                        }
                        states.drain(..states.len() - 1);
                    }
                    allowed = Some(states);
                }
                disk = disk.after_crash(seed + life);
            }
        }
    }

    /// All files have rotted: their backups and two journals have everything, to the version.
    #[test]
    fn rotten_files_are_rebuilt_from_backups_and_journals() {
        let disk = SimDisk::new(1);
        let mut last = None;
        for life in 0..3 {
            let (control, mut files) = start(&disk).expect("power");
            for step in 0..20 {
                let changes = change(&mut control.borrow_mut(), life * 20 + step);
                block_on(files.save(&control, &changes, async || ()))
                    .expect("power")
                    .expect("room");
            }
            last = Some(tables(&control));
        }
        for name in [TOPICS, GROUPS, QUEUE_LOCKS, REQUEST_MODES] {
            assert!(disk.flip_bit(&Path::new(DIR).join(name), 0, 2));
        }
        let (control, mut files) = start(&disk).expect("power");
        assert_eq!(Some(tables(&control)), last);
        block_on(files.close(&control, &[])).expect("power").expect("room");
        let (control, files) = start(&disk).expect("power");
        assert_eq!(Some(tables(&control)), last);
        assert!(!files.needs_checkpoint, "an orderly end leaves no journal to read");
    }
}
