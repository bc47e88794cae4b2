//! A data directory as a broker leaves it, on ordinary files, small enough to be copied for each case; and what can be
//! read from it.

use fastrand::Rng;
use mqstore::FileDisk;
use proto::{properties, record::RecordFields};
use runtime::{durable_file, sim::block_on};
use std::{
    collections::BTreeMap,
    fs,
    future::ready,
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use store::{
    FlushPolicy, Layout, Settings, Store, StoreError,
    consume_queue::ConsumeQueue,
    format::{self, Format},
    index::key_hash,
    lookup::keys_of,
    metadata::journal::Journal,
    read::PullLimits,
    recovery::Report,
    store_state::Append,
};

pub(crate) const SEGMENT: u64 = 1 << 17;
pub(crate) const SHARDS: u16 = 2;
pub(crate) const NOW: i64 = 1_700_000_000_000;
const STORE_ID: u64 = 0x0123_4567_89ab_cdef;
const LOG_ID: u64 = 0x0fed_cba9_8765_4321;

pub(crate) type Disk = FileDisk;
/// Topic, queue id, queue offset.
pub(crate) type Place = (String, u32, i64);
/// Records by place.
pub(crate) type Messages = BTreeMap<Place, Vec<u8>>;

/// Two segments of half the size, then whole ones.
fn layout() -> Layout {
    Layout::new(SEGMENT / 2, SEGMENT).expect("doubled once")
}

pub(crate) fn format() -> Format {
    Format {
        version: format::VERSION,
        shards: SHARDS,
        layout: layout(),
        store_id: STORE_ID,
        log_id: LOG_ID,
    }
}

pub(crate) fn shard_dir(root: &Path, shard: u16) -> PathBuf {
    root.join("commitlog").join(format!("shard-{shard:03}"))
}

pub(crate) fn settings(root: &Path, shard: u16) -> Settings {
    Settings {
        shard,
        dir: shard_dir(root, shard),
        log_id: format().log_id(shard),
        store_id: format().store_id,
        layout: layout(),
        tail_cache_bytes: 1 << 17,
        inflight_bytes_max: 1 << 15,
        record_bytes_max: 8_192,
        index_entries_max: 120,
        group_offset_bytes_max: usize::MAX,
        deferred_max: usize::MAX,
        deferred_in_memory_max: usize::MAX,
        half_messages_max: usize::MAX,
        popped_max: usize::MAX,
        unindexed_entries_max: u64::MAX,
        index_keys: true,
        cold_cache_bytes: 1 << 20,
        flush: FlushPolicy::Sync,
        zero_ahead_bytes: 0,
        progress: Default::default(),
    }
}

pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    block_on(future).expect("ordinary files never wait")
}

/// Opens one shard as a start of the broker does.
pub(crate) fn open(root: &Path, shard: u16) -> Result<(Store<Disk>, Report), StoreError> {
    now(Store::open(FileDisk::writable(), settings(root, shard)))
}

/// Appends one message; returns its place and record.
pub(crate) fn append(
    store: &Store<Disk>,
    topic: &str,
    queue_id: u32,
    number: u64,
    rng: &mut Rng,
) -> (Place, Vec<u8>) {
    let mut body = vec![0; rng.usize(0..700)];
    rng.fill(&mut body);
    let host = SocketAddr::from(([10, 0, 0, 1], 9_000));
    let mut text = String::new();
    properties::append(&mut text, properties::KEYS, &format!("order-{number} common"));
    properties::append(&mut text, properties::TAGS, ["red", "blue"][number as usize % 2]);
    properties::append(&mut text, properties::UNIQ_KEY, &format!("ID{number:020}"));
    let fields = RecordFields {
        queue_id: queue_id as i32,
        flag: 7,
        sys_flag: 0,
        born_timestamp: NOW - 5,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &body,
        topic,
        properties: [text.as_bytes(), b"", b""],
    };
    let keys: Vec<u32> = keys_of(&text).map(|key| key_hash(topic, key)).collect();
    let tags = properties::get(&text, properties::TAGS);
    let bytes = fields.encoded_len();
    let tags_code = proto::record::tags_code(tags);
    let slot = store.state_mut().queue_slot(topic, queue_id);
    let message = Append { slot, bytes, tags_code, keys: &keys };
    let stored = NOW + number as i64 * 10;
    let mut record = Vec::new();
    let placed = store.state_mut().append(message, stored, |placed, out| {
        fields.encode_into(out);
        proto::record::patch(out, placed.queue_offset, placed.physical.to_wire(), stored);
        record = out.to_vec();
    });
    ((topic.to_owned(), queue_id, placed.queue_offset), record)
}

/// Writes, and makes index files as far as they are wanted.
pub(crate) fn settle(store: &Store<Disk>) {
    while now(store.commit_once()).expect("a healthy disk") {}
    now(store.provide_wanted());
    while now(store.index_once(&|| ready(()))).expect("a healthy disk") {}
}

fn write_shard(root: &Path, shard: u16, messages: &mut Messages) {
    let mut rng = Rng::with_seed(u64::from(shard));
    let (store, _) = open(root, shard).expect("a new log");
    let mut number = 0;
    let mut passing = Vec::new();
    while store.state().log.appended() < 3 * SEGMENT + SEGMENT / 2 {
        for _ in 0..rng.u32(1..6) {
            let (topic, queues) = [("orders", 3), ("audit", 1), ("passing", 2)][rng.usize(0..3)];
            let queue_id = rng.u32(0..queues) * u32::from(SHARDS) + u32::from(shard);
            let (place, record) = append(&store, topic, queue_id, number, &mut rng);
            number += 1;
            if topic == "passing" {
                passing.push(place.clone());
            }
            messages.insert(place, record);
        }
        if number % 40 == 0 {
            store
                .state_mut()
                .derived
                .group_offsets
                .set("readers", "orders", u32::from(shard), number as i64 / 10)
                .expect("room");
            store.state_mut().append_group_offsets(NOW).expect("room");
        }
        if rng.u32(0..60) == 0 {
            store.state_mut().remove_topic("passing", NOW).expect("room");
            passing.drain(..).for_each(|place| drop(messages.remove(&place)));
        }
        settle(&store);
    }
    drop(store);
    // A start witnesses all that, and an orderly end follows.
    let (store, _) = open(root, shard).expect("a start");
    settle(&store);
}

/// Two tables with backups, an older journal and the newest with three batches of changes.
fn write_config(root: &Path) {
    let disk = FileDisk::writable();
    let dir = root.join("config");
    fs::create_dir_all(&dir).expect("room");
    let (mut journal, _) = now(Journal::open(disk, &dir)).expect("a new journal");
    for version in 1..=2 {
        let topics =
            format!("{{\"topicConfigTable\":{{}},\"dataVersion\":{{\"counter\":{version}}}}}");
        let groups = format!("{{\"subscriptionGroupTable\":{{\"readers\":{version}}}}}");
        let files =
            [("topics.json", topics.as_bytes()), ("subscriptionGroup.json", groups.as_bytes())];
        now(journal.checkpoint(&files, &[], 8_192)).expect("room");
        for change in 0..3 {
            now(journal.append(&[vec![change; 40]])).expect("room");
        }
    }
    let fact = dir.join("consumerFilter.json");
    now(durable_file::replace(&disk, &fact, b"{}")).expect("room");
}

/// A data directory with everything in it, and all messages that can be read from it, by shard.
pub(crate) fn written() -> (tempfile::TempDir, Vec<Messages>) {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    format::read_or_create(root.path(), format()).expect("room");
    drop(format::lock(root.path()).expect("nobody else"));
    let mut all = Vec::new();
    for shard in 0..SHARDS {
        let mut messages = Messages::new();
        write_shard(root.path(), shard, &mut messages);
        all.push(messages);
    }
    write_config(root.path());
    (root, all)
}

/// All files below a directory, with their bytes.
pub(crate) fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.insert(path.clone(), fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

/// Brings a directory back to what it was.
pub(crate) fn restore(root: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, bytes) in files(root) {
        match before.get(&path) {
            None => fs::remove_file(&path).expect("ours"),
            Some(old) if *old != bytes => fs::write(&path, old).expect("room"),
            Some(_) => {}
        }
    }
    for (path, bytes) in before {
        if !path.exists() {
            fs::write(path, bytes).expect("room");
        }
    }
}

/// Everything that the store serves; the number of messages that it leaves out as damaged.
pub(crate) fn served(store: &Store<Disk>) -> (Messages, usize) {
    let mut found = Messages::new();
    let mut left_out = 0;
    for topic in ["orders", "audit", "passing"] {
        for queue_id in 0..8 {
            let min = store.state().queue(topic, queue_id).map_or(0, ConsumeQueue::min);
            let mut offset = min;
            loop {
                let limits = PullLimits { offset, count_max: 1, bytes_max: 1, scan_max: 1 };
                let plan = now(store.plan_pull_on_disk(topic, queue_id, limits, |_| true));
                // A damaged index file is made again and asked again, as the broker does.
                let Ok(plan) = plan else {
                    now(store.index_once(&|| ready(()))).expect("made again");
                    continue;
                };
                if plan.next_offset == offset {
                    break;
                }
                if let Some(entry) = plan.pieces.first() {
                    let mut record = Vec::new();
                    left_out += now(store.read_cold(&plan.pieces, &mut record)).expect("read");
                    if !record.is_empty() {
                        let view = proto::record::RecordView::parse(&record).expect("checked");
                        assert_eq!(record.len(), entry.bytes() as usize);
                        let place = (topic.to_owned(), queue_id, view.queue_offset());
                        found.insert(place, record.clone());
                    }
                }
                offset = plan.next_offset;
            }
        }
    }
    (found, left_out)
}

/// Runs the program.
pub(crate) fn mqstore(words: &[&str], root: &Path) -> (i32, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_mqstore"))
        .arg(words[0])
        .arg(root)
        .args(&words[1..])
        .output()
        .expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!errors.contains("panicked"), "{errors}");
    (output.status.code().expect("not killed"), text + &errors)
}

/// Runs the program with a standard output that nobody reads: the signal that ends it, and what it says of errors.
pub(crate) fn mqstore_unread(words: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqstore"));
    let output = command.args(words).stdout(writer).output().expect("the program runs");
    (output.status.signal(), String::from_utf8_lossy(&output.stderr).into_owned())
}
