//! The store of one shard: the state of [`Core`], the disk below it, and the few places where bytes wait.
//!
//! One task calls [`Store::commit_once`] in a loop; nobody else writes to the log's files but [`Store::zero_ahead`],
//! which stays in front of it. Reads copy from the tail cache or go to the disk on owned data.

use crate::{
    batch::HEADER_BYTES,
    core::Core,
    error::StoreError,
    log::{Shape, Write},
};
use runtime::{BLOCK_BYTES, Disk, DiskFile, Open, Signal};
use std::{
    cell::{Cell, Ref, RefCell, RefMut},
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
};

/// When a message counts as safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushPolicy {
    /// Acknowledged once it is durable. One sync for all that came meanwhile.
    Sync,
    /// Acknowledged once it is written; durable at most `interval_ms` later.
    Async {
        /// Longest time between syncs while there is something to sync.
        interval_ms: i64,
    },
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Shard whose store it is.
    pub shard: u16,
    /// Directory of the shard's segments.
    pub dir: PathBuf,
    /// Drawn when the shard was formatted.
    pub log_id: u64,
    /// Bytes of a segment, a multiple of [`BLOCK_BYTES`].
    pub segment_bytes: u64,
    /// Bytes of log kept in memory, a power of two.
    pub tail_cache_bytes: usize,
    /// Most bytes appended and not committed; at most half of the tail cache.
    pub inflight_bytes_max: u64,
    /// Largest record.
    pub record_bytes_max: usize,
    /// When a message counts as safe.
    pub flush: FlushPolicy,
    /// Bytes kept zeroed in front of the log, so that a sync writes no file metadata. 0 turns it off.
    pub zero_ahead_bytes: u64,
}

impl Settings {
    pub(crate) fn shape(&self, epoch: u32) -> Shape {
        Shape {
            shard: self.shard,
            log_id: self.log_id,
            epoch,
            segment_bytes: self.segment_bytes,
            inflight_bytes_max: self.inflight_bytes_max,
            entry_bytes_max: self.record_bytes_max,
        }
    }

    pub(crate) fn segment_path(&self, start: u64) -> PathBuf {
        self.dir.join(format!("{start:020}"))
    }
}

/// Bytes of one write of zeros.
const ZERO_WRITE_BYTES: u64 = 1024 * 1024;

/// The store.
pub struct Store<D: Disk> {
    settings: Settings,
    disk: D,
    core: RefCell<Core>,
    segments: RefCell<BTreeMap<u64, Rc<D::File>>>,
    /// Raised by appends; the commit loop waits for it.
    work: Signal,
    /// The log is zeroed up to here, and being zeroed from there.
    zeroed: Cell<u64>,
    zeroing: Cell<Option<u64>>,
    zeroing_done: Signal,
    zero_wanted: Signal,
    /// ASYNC_FLUSH: the segment with bytes that were not synced, and since when.
    unsynced: Cell<Option<Unsynced>>,
    /// Segment of the newest write.
    writing: Cell<u64>,
    /// Syncs of ASYNC_FLUSH under way. The commit loop waits for their end before it changes the segment.
    syncs: Cell<u32>,
    syncs_done: Signal,
}

#[derive(Clone, Copy)]
struct Unsynced {
    segment: u64,
    since_ms: i64,
    position: u64,
}

impl Unsynced {
    /// Whether it is old enough. A clock that was set back since then says nothing about its age.
    fn is_due(&self, now: i64, interval_ms: i64) -> bool {
        now < self.since_ms || now - self.since_ms >= interval_ms
    }
}

impl<D: Disk> Store<D> {
    pub(crate) fn assemble(
        settings: Settings,
        disk: D,
        core: Core,
        segments: BTreeMap<u64, Rc<D::File>>,
    ) -> Store<D> {
        let zeroed = core.log.appended();
        let segment = core.log.segment_of(zeroed);
        Store {
            settings,
            disk,
            core: RefCell::new(core),
            segments: RefCell::new(segments),
            work: Signal::default(),
            zeroed: Cell::new(zeroed),
            zeroing: Cell::new(None),
            zeroing_done: Signal::default(),
            zero_wanted: Signal::default(),
            unsynced: Cell::new(None),
            writing: Cell::new(segment),
            syncs: Cell::new(0),
            syncs_done: Signal::default(),
        }
    }

    /// The state, to look at.
    pub fn core(&self) -> Ref<'_, Core> {
        self.core.borrow()
    }

    /// The state, to change. After appending call [`Store::appended`].
    pub fn core_mut(&self) -> RefMut<'_, Core> {
        self.core.borrow_mut()
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
    /// was nothing. An error has poisoned the log. `now` is read when the write is done.
    pub async fn commit_once(&self, now: impl Fn() -> i64) -> Result<bool, StoreError> {
        self.check_not_poisoned()?;
        let Some(write) = self.core.borrow_mut().log.take_write() else { return Ok(false) };
        if let Err(error) = self.commit(&write, now).await {
            self.core.borrow_mut().log.poison(error.to_string());
            return Err(error);
        }
        self.core.borrow_mut().publish();
        if self.zeroed.get() < write.to + self.settings.zero_ahead_bytes / 2 {
            self.zero_wanted.raise();
        }
        Ok(true)
    }

    /// What was taken for a failed write is on disk or not; nothing behind it may be promised any more.
    fn check_not_poisoned(&self) -> Result<(), StoreError> {
        match self.core.borrow().log.poisoned() {
            None => Ok(()),
            Some(reason) => {
                Err(StoreError::Poisoned { shard: self.settings.shard, reason: reason.to_owned() })
            }
        }
    }

    async fn commit(&self, write: &Write, now: impl Fn() -> i64) -> Result<(), StoreError> {
        self.sync_before(write.segment).await?;
        let file = self.segment_for_writing(write.segment).await?;
        let path = || self.settings.segment_path(write.segment);
        while self.zeroing.get().is_some_and(|from| from < write.to + BLOCK_BYTES as u64) {
            self.zeroing_done.wait().await;
        }
        let mut blocks = self.disk.alloc(write.bytes());
        self.core.borrow().log.copy_blocks(write, blocks.as_mut());
        file.write_at(blocks, write.file_position())
            .await
            .map_err(|source| StoreError::io("write", path(), source))?;
        match self.settings.flush {
            FlushPolicy::Sync => {
                file.sync().await.map_err(|source| StoreError::io("sync", path(), source))?;
                self.core.borrow_mut().log.written(write, true, true);
            }
            FlushPolicy::Async { interval_ms } => {
                self.check_not_poisoned()?;
                self.core.borrow_mut().log.written(write, false, true);
                let now = now();
                let since_ms = self.unsynced.get().map_or(now, |unsynced| unsynced.since_ms);
                let unsynced = Unsynced { segment: write.segment, since_ms, position: write.to };
                self.unsynced.set(Some(unsynced));
                if unsynced.is_due(now, interval_ms) {
                    self.sync_now().await?;
                }
            }
        }
        Ok(())
    }

    /// ASYNC_FLUSH: makes what was written durable once it is old enough. The tick calls it; with nothing to do it
    /// costs nothing.
    pub async fn sync_if_due(&self, now: i64) -> Result<(), StoreError> {
        let FlushPolicy::Async { interval_ms } = self.settings.flush else { return Ok(()) };
        match self.unsynced.get() {
            Some(unsynced) if unsynced.is_due(now, interval_ms) => self.sync_now().await,
            _ => Ok(()),
        }
    }

    /// Makes what was written durable.
    pub async fn sync_now(&self) -> Result<(), StoreError> {
        let Some(unsynced) = self.unsynced.take() else { return Ok(()) };
        let file = self.segments.borrow().get(&unsynced.segment).cloned();
        let Some(file) = file else { return Ok(()) };
        self.syncs.set(self.syncs.get() + 1);
        let synced = file.sync().await;
        self.syncs.set(self.syncs.get() - 1);
        self.syncs_done.raise();
        if let Err(source) = synced {
            let error =
                StoreError::io("sync", self.settings.segment_path(unsynced.segment), source);
            self.core.borrow_mut().log.poison(error.to_string());
            return Err(error);
        }
        self.core.borrow_mut().log.synced(unsynced.position);
        Ok(())
    }

    /// A segment is durable before the first byte of the next one is written: recovery relies on it, and `flushed`
    /// would otherwise pass over a segment whose sync another task still waits for.
    async fn sync_before(&self, segment: u64) -> Result<(), StoreError> {
        if self.writing.replace(segment) == segment {
            return Ok(());
        }
        self.sync_now().await?;
        while self.syncs.get() > 0 {
            self.syncs_done.wait().await;
        }
        self.check_not_poisoned()
    }

    async fn segment_for_writing(&self, start: u64) -> Result<Rc<D::File>, StoreError> {
        if let Some(file) = self.segments.borrow().get(&start) {
            return Ok(file.clone());
        }
        let file = create_segment(&self.disk, &self.settings, start).await?;
        let file = Rc::new(file);
        self.segments.borrow_mut().insert(start, file.clone());
        Ok(file)
    }

    /// Keeps the space in front of the log zeroed, for ever. A task of its own, of low importance: without it the
    /// log is slower, not less safe. Ends when the log is poisoned.
    pub async fn zero_ahead(&self) {
        if self.settings.zero_ahead_bytes == 0 {
            return;
        }
        loop {
            while let Some((segment, from, to)) = self.next_zero_range() {
                self.zeroing.set(Some(from));
                let done = self.write_zeros(segment, from, to).await;
                self.zeroing.set(None);
                self.zeroing_done.raise();
                if let Err(error) = done {
                    tracing::warn!(shard = self.settings.shard, %error, "zeroing ahead of the log stopped");
                    return;
                }
                self.zeroed.set(to);
            }
            self.zero_wanted.wait().await;
        }
    }

    /// The next range to zero: behind everything that is appended or may be appended soon, within one segment that
    /// exists already.
    fn next_zero_range(&self) -> Option<(u64, u64, u64)> {
        let core = self.core.borrow();
        if core.log.poisoned().is_some() {
            return None;
        }
        // Appends go on while zeros are being written; what is in flight at most, and a write, stay free of them.
        let piece = self.zero_write_bytes();
        let margin = 2 * piece;
        let appended = core.log.appended();
        let from = self.zeroed.get().max((appended + margin).next_multiple_of(BLOCK_BYTES as u64));
        let segment = core.log.segment_of(from);
        if from >= appended + self.settings.zero_ahead_bytes
            || segment != core.log.segment_of(appended)
            || !self.segments.borrow().contains_key(&segment)
        {
            return None;
        }
        let to = (from + piece).min(segment + self.settings.segment_bytes);
        (to > from).then_some((segment, from, to))
    }

    /// Small segments are zeroed in small pieces, or the margin would leave nothing of them to zero.
    fn zero_write_bytes(&self) -> u64 {
        let share = (self.settings.segment_bytes / 16).next_multiple_of(BLOCK_BYTES as u64);
        ZERO_WRITE_BYTES.min(share)
    }

    async fn write_zeros(&self, segment: u64, from: u64, to: u64) -> Result<(), StoreError> {
        let file = self.segments.borrow().get(&segment).cloned();
        let Some(file) = file else { return Ok(()) };
        let mut zeros = self.disk.alloc((to - from) as usize);
        zeros.as_mut().fill(0);
        file.write_at(zeros, from - segment)
            .await
            .map_err(|source| StoreError::io("zero", self.settings.segment_path(segment), source))
    }

    /// Reads records from the disk, one behind the other into `out`, each checked against its own place and CRC.
    /// Neighbours are read together.
    pub async fn read_cold(
        &self,
        pieces: &[(u64, u32)],
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let mut rest = pieces;
        while let Some((first, _)) = rest.first() {
            let run = run_of_neighbours(rest, self.settings.segment_bytes);
            let (now, later) = rest.split_at(run);
            rest = later;
            let (last, bytes) = now[run - 1];
            let span = (last + u64::from(bytes) - first) as usize;
            let (blocks, skip) = self.read_blocks(*first, span).await?;
            for (position, bytes) in now {
                let at = skip + (position - first) as usize;
                let record = &blocks.as_ref()[at..at + *bytes as usize];
                self.check_record(*position, record)?;
                out.extend_from_slice(record);
            }
        }
        Ok(())
    }

    /// Reads `bytes` at `position` of the log, from the tail cache or from the disk. `None` when that is outside of
    /// what was committed.
    pub async fn read_log(
        &self,
        position: u64,
        bytes: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        {
            let core = self.core.borrow();
            if position + bytes as u64 > core.log.committed() {
                return Ok(None);
            }
            if core.log.ring().holds(position, bytes) {
                let mut out = vec![0; bytes];
                core.log.ring().copy_to(position, &mut out);
                return Ok(Some(out));
            }
        }
        let segment = position - position % self.settings.segment_bytes;
        if !self.segments.borrow().contains_key(&segment) {
            return Ok(None);
        }
        let (blocks, skip) = self.read_blocks(position, bytes).await?;
        Ok(Some(blocks.as_ref()[skip..skip + bytes].to_vec()))
    }

    /// The record at `position`, if one begins exactly there: for ids that clients name.
    pub async fn read_record(&self, position: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let within = position % self.settings.segment_bytes;
        if within < HEADER_BYTES as u64 || within + 64 > self.settings.segment_bytes {
            return Ok(None);
        }
        let Some(prefix) = self.read_log(position, 8).await? else { return Ok(None) };
        let Some((size, magic)) = prefix.split_first_chunk::<4>() else { return Ok(None) };
        let bytes = u32::from_be_bytes(*size) as usize;
        let possible = magic == proto::record::MAGIC_V1.to_be_bytes()
            && bytes <= self.settings.record_bytes_max
            && within + bytes as u64 <= self.settings.segment_bytes;
        if !possible {
            return Ok(None);
        }
        let Some(record) = self.read_log(position, bytes).await? else { return Ok(None) };
        Ok(self.check_record(position, &record).is_ok().then_some(record))
    }

    /// Store timestamp of the record at `position`. An entry of no bytes stands for a message that was lost to
    /// damage; the time of the record behind the damage, where it points, is then the nearest known.
    pub async fn store_timestamp(&self, position: u64, bytes: u32) -> Result<i64, StoreError> {
        let prefix = proto::record::TIMESTAMP_PREFIX_BYTES;
        let bytes = if bytes == 0 { prefix } else { prefix.min(bytes as usize) };
        let prefix = self.read_log(position, bytes).await?;
        prefix.as_deref().and_then(proto::record::store_timestamp_of).ok_or(StoreError::Corrupt {
            shard: self.settings.shard,
            position,
            what: "no record where the consume queue says",
        })
    }

    fn check_record(&self, position: u64, record: &[u8]) -> Result<(), StoreError> {
        let corrupt = |what| StoreError::Corrupt { shard: self.settings.shard, position, what };
        let view = proto::record::RecordView::parse(record)
            .map_err(|_| corrupt("record on disk is damaged"))?;
        let expected = crate::PhysicalOffset::new(self.settings.shard, position);
        if view.physical_offset() != expected.to_wire() {
            return Err(corrupt("record on disk belongs elsewhere"));
        }
        if view.check_body().is_err() {
            return Err(corrupt("body of a record on disk fails its CRC"));
        }
        Ok(())
    }

    /// Whole blocks around `[position, position + bytes)` of one segment, and where the range begins in them.
    async fn read_blocks(
        &self,
        position: u64,
        bytes: usize,
    ) -> Result<(D::Buf, usize), StoreError> {
        let segment = position - position % self.settings.segment_bytes;
        let file = self.segments.borrow().get(&segment).cloned().ok_or(StoreError::Corrupt {
            shard: self.settings.shard,
            position,
            what: "its segment is gone",
        })?;
        let block = BLOCK_BYTES as u64;
        let start = position - position % block;
        let end = (position + bytes as u64).next_multiple_of(block);
        let blocks =
            file.read_at(start - segment, (end - start) as usize).await.map_err(|source| {
                StoreError::io("read", self.settings.segment_path(segment), source)
            })?;
        Ok((blocks, (position - start) as usize))
    }
}

/// Most bytes that lie between two records read together.
const NEIGHBOUR_GAP_BYTES: u64 = 16 * 1024;
/// Most bytes of one cold read, unless a record is larger.
const COLD_READ_BYTES_MAX: u64 = 512 * 1024;

/// How many of the first pieces are worth one read. A read stays within one segment, as each is a file.
fn run_of_neighbours(pieces: &[(u64, u32)], segment_bytes: u64) -> usize {
    let Some((first, _)) = pieces.first() else { return 0 };
    let mut run = 1;
    for pair in pieces.windows(2) {
        let (position, bytes) = pair[0];
        let (next, next_bytes) = pair[1];
        let end = position + u64::from(bytes);
        let together = next / segment_bytes == first / segment_bytes;
        let close = together && next >= end && next - end <= NEIGHBOUR_GAP_BYTES;
        if !close || next + u64::from(next_bytes) - first > COLD_READ_BYTES_MAX {
            break;
        }
        run += 1;
    }
    run
}

/// Creates a segment, its name durable before anything in it counts.
pub(crate) async fn create_segment<D: Disk>(
    disk: &D,
    settings: &Settings,
    start: u64,
) -> Result<D::File, StoreError> {
    let path = settings.segment_path(start);
    let error = |source| StoreError::io("create", path.clone(), source);
    let bytes = settings.segment_bytes;
    let file = disk.open(&path, Open::Create { bytes }).await.map_err(error)?;
    file.sync().await.map_err(error)?;
    disk.sync_dir(&settings.dir).await.map_err(error)?;
    Ok(file)
}

/// Whether a name is that of a segment, and where it starts.
pub(crate) fn segment_start(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    (name.len() == 20).then(|| name.parse().ok()).flatten()
}
