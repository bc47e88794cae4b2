//! The store of one shard: the state of [`StoreState`], the disk below it, and the few places where bytes wait.
//!
//! One task calls [`Store::commit_once`] in a loop; nobody else writes to the log's files but [`Store::work_ahead`],
//! which stays in front of it. Two more tasks follow behind: [`Store::index_loop`] moves what is old enough from memory
//! into index files, and [`Store::retire_oldest`] lets go of whole segments. Reads copy from the tail cache
//! or go to the disk on owned data.

use crate::{
    cold_chunks::ColdChunks,
    cold_gate::ColdGate,
    error::StoreError,
    index::{BlockCache, Head, Index},
    log::{CommitRule, Stored, Write},
    replica_file::ReplicaFile,
    retention::Ages,
    segments::SegmentSet,
    settings::{FlushPolicy, Settings},
    space::Space,
    state::group_offsets::ENTRY_BYTES_MIN,
    store_state::StoreState,
};
use runtime::{BLOCK_BYTES, Disk, DiskFile, Signal};
use std::{
    cell::{Cell, Ref, RefCell, RefMut},
    collections::BTreeMap,
    path::PathBuf,
    rc::Rc,
};

/// Memory for blocks of index files that were read lately.
const INDEX_BLOCKS_BYTES: usize = 4 * 1024 * 1024;

/// Counters since start.
#[derive(Default)]
pub struct Tally {
    /// Bytes read from the log on disk for old messages.
    pub cold_bytes: Cell<u64>,
    /// Of the log, bytes that were wanted and that the disk could not read.
    pub unreadable_bytes: Cell<u64>,
    /// Records that were wanted and are damaged on disk.
    pub damaged_records: Cell<u64>,
    /// Index files that were made again from their segments, at start or since.
    pub rebuilt_indexes: Cell<u64>,
    /// Segments retired.
    pub retired_segments: Cell<u64>,
    /// Of those, what went before its time, because the disk had no room.
    pub retired_early: Cell<u64>,
    /// Messages retired.
    pub retired_messages: Cell<u64>,
    /// Of those, messages that no group had consumed.
    pub unconsumed_messages: Cell<u64>,
}

/// How far a log reaches, and what it consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Position of the first byte that is still there.
    pub begin: u64,
    /// Position behind the last committed byte.
    pub end: u64,
    /// Segments, those ahead of the log included.
    pub segments: u64,
    /// Index files.
    pub index_files: u64,
    /// When something was appended last, ms; 0: never.
    pub last_ms: i64,
}

/// The store.
pub struct Store<D: Disk> {
    pub(crate) settings: Settings,
    pub(crate) disk: D,
    pub(crate) state: RefCell<StoreState>,
    pub(crate) segments: SegmentSet<D>,
    /// Raised by appends; the commit loop waits for it.
    work: Signal,
    pub(crate) ahead: Ahead,
    /// Retention waits for records that wait in the oldest segment to be carried on.
    pub(crate) carry_wanted: Cell<bool>,
    /// By the disk's clock, when that is tried again.
    pub(crate) carry_again: Cell<u64>,
    /// Retention waits for a second index file.
    pub(crate) retiring_waits: Cell<bool>,
    pub(crate) space: Cell<Space>,
    pub(crate) ages: Ages,
    pub(crate) indexes: Indexes<D>,
    /// Raised when the gate moved or the log was poisoned: the indexer may wait for it. A signal wakes one task.
    pub(crate) gate_moved: Signal,
    /// The same for who carries records on.
    pub(crate) gate_moved_for_carry: Signal,
    pub(crate) cold: ColdChunks<D>,
    pub(crate) cold_gate: ColdGate,
    /// Commits of this second.
    commits: Cell<u64>,
    pub(crate) tally: Tally,
    /// What counts as committed.
    rule: Cell<CommitRule>,
    /// What a follower remembers beside its log, and a store that was one.
    pub(crate) replica: RefCell<Option<ReplicaFile<D>>>,
    /// The log was durable here up to this position once, and is to be fetched again up to it.
    pub(crate) lacking_until: Cell<u64>,
    /// The segment with bytes that were not synced, and since when; under SYNC_FLUSH from before that was set.
    unsynced: Cell<Option<Unsynced>>,
    /// Segment of the newest write.
    writing: Cell<u64>,
    /// ASYNC_FLUSH: a sync is under way. There is one at a time: what a failed one gave up, another that was begun beside
    /// it would report as durable.
    syncing: Cell<bool>,
    sync_done: Signal,
    /// When a message counts as safe, now.
    flush: Cell<FlushPolicy>,
    /// Whether messages can be found by key that come now.
    index_keys: Cell<bool>,
}

/// What is done in front of the log.
pub(crate) struct Ahead {
    /// The log is zeroed up to here, and being zeroed from there.
    pub(crate) zeroed: Cell<u64>,
    pub(crate) zeroing: Cell<Option<u64>>,
    pub(crate) zeroing_done: Signal,
    /// Bytes of a segment that is being created.
    pub(crate) creating: Cell<u64>,
    /// The next segment is being created, is there, or could not be had.
    pub(crate) tried: Signal,
    /// The next segment found no room on the disk, and no other has gone since: it is tried again before another goes.
    pub(crate) disk_full: Cell<bool>,
    /// There may be something to do.
    pub(crate) wanted: Rc<Signal>,
}

/// Index files, and what is to be done about them.
pub(crate) struct Indexes<D: Disk> {
    /// Open files, oldest first, without gaps.
    pub(crate) files: RefCell<Vec<Rc<Index<D>>>>,
    pub(crate) blocks: BlockCache,
    /// Where index files begin that turned out to be damaged.
    pub(crate) damaged: RefCell<Vec<u64>>,
    /// There may be a file to write.
    pub(crate) wanted: Signal,
    /// A file could not be written: not tried again before the next second.
    pub(crate) resting: Cell<bool>,
}

#[derive(Clone, Copy)]
struct Unsynced {
    segment: u64,
    /// Of the disk's clock, which nobody sets.
    since_micros: u64,
    position: u64,
}

impl Unsynced {
    /// Whether it is old enough.
    fn is_due(&self, now_micros: u64, interval_ms: i64) -> bool {
        let interval_micros = u64::try_from(interval_ms).unwrap_or(0).saturating_mul(1_000);
        now_micros.saturating_sub(self.since_micros) >= interval_micros
    }
}

/// What has to be true of a byte of the log before it may count as safe.
fn stored_under(flush: FlushPolicy) -> Stored {
    match flush {
        FlushPolicy::Sync => Stored::Flushed,
        FlushPolicy::Async { .. } => Stored::Written,
    }
}

impl<D: Disk> Store<D> {
    pub(crate) fn assemble(
        settings: Settings,
        disk: D,
        mut state: StoreState,
        segments: BTreeMap<u64, Rc<D::File>>,
        indexes: Vec<Rc<Index<D>>>,
        replica: Option<ReplicaFile<D>>,
        lacking: u64,
    ) -> Store<D> {
        assert!(
            settings.record_bytes_max >= ENTRY_BYTES_MIN,
            "each offset of a group can be logged"
        );
        state.limit_unindexed(settings.unindexed_entries_max);
        state.derived.group_offsets.limit_bytes(settings.group_offset_bytes_max);
        state.derived.deferred.limit(settings.deferred_limits(), settings.layout);
        state.derived.half_messages.limit(settings.half_messages_max);
        state.derived.popped.limit(settings.popped_max);
        if state.log.leads() {
            state.settle_popped();
        }
        if let Some(first) = segments.keys().next() {
            state.derived.deferred.retire_before(*first);
        }
        let zeroed = state.log.appended();
        let ages = Ages::new((state.clock_ms > 0).then_some(state.clock_ms));
        let segment = state.log.segment_of(zeroed);
        let wanted = state.log.room_wanted();
        let rule = CommitRule {
            stored: stored_under(settings.flush),
            // A follower shows what its leader says.
            limit: if state.log.leads() { CommitRule::ALONE } else { 0 },
        };
        Store {
            rule: Cell::new(rule),
            replica: RefCell::new(replica),
            lacking_until: Cell::new(if lacking > 0 { zeroed + lacking } else { 0 }),
            cold: ColdChunks::new(settings.cold_cache_bytes),
            flush: Cell::new(settings.flush),
            index_keys: Cell::new(settings.index_keys),
            settings,
            disk,
            state: RefCell::new(state),
            segments: SegmentSet::new(segments),
            work: Signal::default(),
            ahead: Ahead {
                zeroed: Cell::new(zeroed),
                zeroing: Cell::new(None),
                zeroing_done: Signal::default(),
                creating: Cell::new(0),
                tried: Signal::default(),
                disk_full: Cell::new(false),
                wanted,
            },
            carry_wanted: Cell::new(false),
            carry_again: Cell::new(0),
            retiring_waits: Cell::new(false),
            space: Cell::default(),
            ages,
            indexes: Indexes {
                files: RefCell::new(indexes),
                blocks: BlockCache::new(INDEX_BLOCKS_BYTES),
                damaged: RefCell::default(),
                wanted: Signal::default(),
                resting: Cell::new(false),
            },
            gate_moved: Signal::default(),
            gate_moved_for_carry: Signal::default(),
            cold_gate: ColdGate::default(),
            commits: Cell::new(0),
            tally: Tally::default(),
            unsynced: Cell::new(None),
            writing: Cell::new(segment),
            syncing: Cell::new(false),
            sync_done: Signal::default(),
        }
    }

    /// The state, to look at.
    pub fn state(&self) -> Ref<'_, StoreState> {
        self.state.borrow()
    }

    /// The state, to change. After appending call [`Store::appended`].
    pub fn state_mut(&self) -> RefMut<'_, StoreState> {
        self.state.borrow_mut()
    }

    /// Once a second: tries again what could not be done for lack of room.
    pub fn each_second(&self) {
        self.indexes.resting.set(false);
        if self.commits.take() == 0 {
            self.cold_gate.idle();
        }
        let damaged = !self.indexes.damaged.borrow().is_empty();
        if damaged || self.wanted_index().is_some() || self.unsealed().is_some() || self.wants_far()
        {
            self.indexes.wanted.raise();
        }
        self.look_ahead();
    }

    /// How far the log reaches.
    pub fn extent(&self) -> Extent {
        let state = self.state.borrow();
        let segments = self.segments.files.borrow();
        let end = state.log.committed();
        Extent {
            begin: segments.keys().next().copied().unwrap_or(end),
            end,
            segments: segments.len() as u64,
            index_files: self.indexes.files.borrow().len() as u64,
            last_ms: state.clock_ms,
        }
    }

    /// Index files in use, oldest first, and what each covers.
    pub fn index_files(&self) -> Vec<(PathBuf, Head)> {
        let indexes = self.indexes.files.borrow();
        indexes.iter().map(|index| (index.path().to_owned(), *index.head())).collect()
    }

    /// Counters since start.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// How the store was opened.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Tells the commit loop that there is work.
    pub fn appended(&self) {
        self.work.raise();
    }

    /// Waits until there may be work for [`Store::commit_once`].
    pub async fn work(&self) {
        self.work.wait().await;
    }

    /// Writes everything appended so far (up to a limit), syncs by the policy and moves the gate. `Ok(false)`: there
    /// was nothing. An error has poisoned the log.
    pub async fn commit_once(&self) -> Result<bool, StoreError> {
        self.check_not_poisoned()?;
        let Some(write) = self.state.borrow_mut().log.take_write() else { return Ok(false) };
        if let Err(error) = self.commit(&write).await {
            self.raise_gate_moved();
            self.state.borrow_mut().log.poison(error.to_string());
            return Err(error);
        }
        self.cross_gate();
        Ok(true)
    }

    pub(crate) fn raise_gate_moved(&self) {
        self.gate_moved.raise();
        self.gate_moved_for_carry.raise();
    }

    /// Moves the gate as far as the rule allows and makes visible what has crossed it. The commit loop does so after
    /// each write.
    fn cross_gate(&self) -> bool {
        let moved = self.state.borrow_mut().cross_gate(self.rule.get());
        self.raise_gate_moved();
        if self.wanted_index().is_some() || self.wants_far() {
            self.indexes.wanted.raise();
        }
        self.look_ahead();
        moved
    }

    /// When a message counts as safe, now.
    pub fn flush_policy(&self) -> FlushPolicy {
        self.flush.get()
    }

    /// From now on a message counts as safe when this says so. What was written and is not durable yet when SYNC_FLUSH
    /// begins is made so by the commit loop, at once: [`Store::has_unsynced`] says until when.
    pub fn set_flush_policy(&self, flush: FlushPolicy) {
        if self.flush.replace(flush) == flush {
            return;
        }
        self.rule.set(CommitRule { stored: stored_under(flush), ..self.rule.get() });
        // What was written may count as safe now, or is to become durable.
        self.work.raise();
    }

    /// Whether something that was written is not durable yet, as usual under ASYNC_FLUSH.
    pub fn has_unsynced(&self) -> bool {
        self.unsynced.get().is_some() || self.syncing.get()
    }

    /// Whether messages can be found by key that come now.
    pub fn index_keys(&self) -> bool {
        self.index_keys.get()
    }

    /// Whether messages can be found by key that come from now on.
    pub fn set_index_keys(&self, index_keys: bool) {
        self.index_keys.set(index_keys);
    }

    /// Most bytes appended and not committed from now on, as far as the tail cache has room for them.
    pub fn limit_inflight(&self, bytes_max: u64) {
        let half = self.settings.tail_cache_bytes as u64 / 2;
        self.state.borrow_mut().log.limit_inflight(bytes_max.min(half));
    }

    /// Others allow the log to be committed up to `limit`, or without end ([`CommitRule::ALONE`]): on a leader so far have
    /// enough replicas acknowledged it, on a follower so far its leader says. Takes the step that the commit loop takes
    /// after a write; whether something became committed, so that its sender may be answered.
    pub fn limit_commit(&self, limit: u64) -> bool {
        self.rule.set(CommitRule { limit, ..self.rule.get() });
        self.check_not_poisoned().is_ok() && self.cross_gate()
    }

    /// What was taken for a failed write is on disk or not; nothing behind it may be promised any more.
    fn check_not_poisoned(&self) -> Result<(), StoreError> {
        match self.state.borrow().log.poisoned() {
            None => Ok(()),
            Some(reason) => {
                Err(StoreError::Poisoned { shard: self.settings.shard, reason: reason.to_owned() })
            }
        }
    }

    async fn commit(&self, write: &Write) -> Result<(), StoreError> {
        self.sync_before(write.segment).await?;
        let file = self.segment_for_writing(write.segment);
        let path = || self.settings.segment_path(write.segment);
        while self.ahead.zeroing.get().is_some_and(|from| from < write.to + BLOCK_BYTES as u64) {
            self.ahead.zeroing_done.wait().await;
        }
        let (began, beside) = (self.disk.uptime_micros(), self.cold_gate.is_busy());
        let mut blocks = self.disk.alloc(write.bytes());
        self.state.borrow().log.copy_blocks(write, blocks.as_mut());
        let failed = |source| StoreError::io("write", path(), source);
        match self.flush.get() {
            FlushPolicy::Sync => {
                // Of the time before the policy was changed: a durable write makes nothing durable but itself.
                if self.unsynced.get().is_some() || self.syncing.get() {
                    self.sync_now().await?;
                    self.check_not_poisoned()?;
                }
                file.write_durably(blocks, write.file_position()).await.map_err(failed)?;
                self.state.borrow_mut().log.written(write, true);
                let beside = beside || self.cold_gate.is_busy();
                self.cold_gate.committed(self.disk.uptime_micros() - began, beside);
                self.commits.set(self.commits.get() + 1);
            }
            FlushPolicy::Async { interval_ms } => {
                file.write_at(blocks, write.file_position()).await.map_err(failed)?;
                self.check_not_poisoned()?;
                self.state.borrow_mut().log.written(write, false);
                let now = self.disk.uptime_micros();
                let since_micros =
                    self.unsynced.get().map_or(now, |unsynced| unsynced.since_micros);
                let (segment, position) = (write.segment, write.to);
                let unsynced = Unsynced { segment, since_micros, position };
                self.unsynced.set(Some(unsynced));
                if unsynced.is_due(now, interval_ms) {
                    self.sync_unless_under_way().await?;
                }
            }
        }
        Ok(())
    }

    /// Whether what was written is old enough to be made durable, and no sync is under way. Under SYNC_FLUSH nothing waits
    /// but what was written before that was set: it is due at once, and then counts as safe.
    pub fn is_sync_due(&self) -> bool {
        let unsynced = self.unsynced.get();
        let due = match self.flush.get() {
            FlushPolicy::Sync => unsynced.is_some() || self.is_gate_behind(),
            FlushPolicy::Async { interval_ms } => {
                let now = self.disk.uptime_micros();
                unsynced.is_some_and(|unsynced| unsynced.is_due(now, interval_ms))
            }
        };
        due && !self.syncing.get()
    }

    fn is_gate_behind(&self) -> bool {
        let state = self.state.borrow();
        state.log.flushed() > state.log.committed()
    }

    /// Makes what was written durable once it is old enough; whether something became committed by that. The commit loop
    /// calls it when there is nothing to write; who looks at the clock wakes that when [`Store::is_sync_due`].
    pub async fn sync_if_due(&self) -> Result<bool, StoreError> {
        if !self.is_sync_due() {
            return Ok(false);
        }
        self.sync_unless_under_way().await?;
        Ok(self.cross_gate())
    }

    /// Makes what was written durable. A sync that is under way is waited for first; one task at a time does so, the
    /// commit loop or who comes after it.
    pub async fn sync_now(&self) -> Result<(), StoreError> {
        while self.syncing.get() {
            self.sync_done.wait().await;
        }
        self.sync_unless_under_way().await
    }

    /// Makes what was written durable, unless a sync is under way; at its end `gate_moved` is raised.
    pub(crate) async fn sync_unless_under_way(&self) -> Result<(), StoreError> {
        if self.syncing.get() {
            return Ok(());
        }
        let Some(unsynced) = self.unsynced.take() else { return Ok(()) };
        self.check_not_poisoned()?;
        let file = self.segments.file(unsynced.segment);
        let Some(file) = file else { return Ok(()) };
        self.syncing.set(true);
        let synced = file.sync().await;
        self.syncing.set(false);
        let mut state = self.state.borrow_mut();
        let synced = synced.map_err(|source| {
            let path = self.settings.segment_path(unsynced.segment);
            let error = StoreError::io("sync", path, source);
            state.log.poison(error.to_string());
            error
        });
        if synced.is_ok() {
            state.log.synced(unsynced.position);
        }
        drop(state);
        self.sync_done.raise();
        self.raise_gate_moved();
        synced
    }

    /// A segment is durable before the first byte of the next one is written: recovery relies on it.
    async fn sync_before(&self, segment: u64) -> Result<(), StoreError> {
        if self.writing.replace(segment) == segment {
            return Ok(());
        }
        self.sync_now().await?;
        self.check_not_poisoned()
    }

    /// Nothing is admitted that has no room in the segments that are there.
    fn segment_for_writing(&self, start: u64) -> Rc<D::File> {
        self.segments.file(start).expect("the log has room for what it admitted")
    }
}
