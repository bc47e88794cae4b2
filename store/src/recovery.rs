//! Opening a store: read the log, rebuild the tables, cut a torn tail.
//!
//! The log is scanned batch by batch. At the first batch that is not whole there are two cases, told apart by what
//! stands behind it: a later batch that says `durable_until` beyond that place proves that the place was durable once,
//! so it is damage (what it held is lost and reported, the rest goes on); without such a witness it is the tail of a
//! write that nobody was promised, and the log is cut there.
//!
//! The order of what follows matters at each crash in between: what was read and not proven durable is written again;
//! a batch without entries, which carries the new epoch and witnesses everything before, is made durable; only then
//! is zeroed what stands behind it. Only after that anything is appended or served.

use crate::{
    batch::{Entries, Entry, HEADER_BYTES, Header, Kind, MAGIC},
    consume_queue,
    core::Core,
    error::StoreError,
    log::{CommitLog, WRITE_BYTES_MAX},
    ring::TailRing,
    store::{Settings, Store, create_segment, segment_start},
};
use proto::record::RecordView;
use runtime::{BLOCK_BYTES, Disk, DiskFile, Open};
use std::{collections::BTreeMap, ops::Range, path::Path, rc::Rc, time::Instant};

/// Bytes of one read of the scan.
const SCAN_READ_BYTES: usize = 1024 * 1024;

/// How far behind a damaged place a witness is looked for, besides the largest record. A bound, because behind the
/// regular end of the log there is up to a whole segment of nothing, which no start should have to read.
const WITNESS_REACH_BYTES: u64 = 16 * 1024 * 1024;

/// What opening a store found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments of the log.
    pub segments: u64,
    /// Bytes of whole batches read.
    pub scanned_bytes: u64,
    /// Message records found.
    pub messages: u64,
    /// Bytes behind the last whole batch that were written and not promised, as far as they can be told from zeros.
    pub cut_bytes: u64,
    /// Bytes of damaged places in the middle.
    pub damaged_bytes: u64,
    /// Time it took, ms.
    pub took_ms: u64,
}

/// Open segments by the position that they start at.
type Segments<D> = BTreeMap<u64, Rc<<D as Disk>::File>>;

impl<D: Disk> Store<D> {
    /// Opens the log below `settings.dir`, which may be empty. Nothing may be appended before it returns.
    pub async fn open(disk: D, settings: Settings) -> Result<(Store<D>, Report), StoreError> {
        let started = Instant::now();
        let error = |action, source| StoreError::io(action, settings.dir.clone(), source);
        disk.create_dir_all(&settings.dir).await.map_err(|source| error("create", source))?;
        let mut segments = open_segments(&disk, &settings).await?;
        if segments.is_empty() {
            let file = create_segment(&disk, &settings, 0).await?;
            segments.insert(0, Rc::new(file));
        }
        let mut scan = Scan::new(&settings);
        let first = *segments.keys().next().expect("one was created");
        scan.position = first;
        scan.segments(&segments, &settings).await?;
        if scan.report.scanned_bytes == 0 {
            refuse_foreign_log(&scan, &segments, &settings).await?;
        }
        scan.report.segments = segments.len() as u64;
        let Scan { mut core, position, proven, epoch, last_store_ms, mut report } = scan;
        settle_segments(&disk, &settings, &mut segments, position).await?;
        make_durable(&disk, &settings, &segments, proven.min(position)..position).await?;
        let tail = read_tail(&segments, &settings, position).await?;
        let slot_bytes_max = settings.record_bytes_max.max(BLOCK_BYTES);
        let ring = TailRing::new(settings.tail_cache_bytes, slot_bytes_max);
        core.log = CommitLog::resume(settings.shape(epoch + 1), ring, position, &tail);
        write_start(&disk, &settings, &mut segments, &mut core.log, last_store_ms).await?;
        report.cut_bytes = cut(&disk, &settings, &segments, core.log.appended()).await?;
        report.took_ms = started.elapsed().as_millis() as u64;
        Ok((Store::assemble(settings, disk, core, segments), report))
    }
}

/// A log of which nothing is ours is not an empty one when it begins with a whole batch of another: `format.json` was
/// lost or exchanged, and going on would overwrite somebody's messages.
async fn refuse_foreign_log<F: DiskFile<Buf = B>, B: AsRef<[u8]>>(
    scan: &Scan,
    segments: &BTreeMap<u64, Rc<F>>,
    settings: &Settings,
) -> Result<(), StoreError> {
    let Some((start, file)) = segments.first_key_value() else { return Ok(()) };
    let mut window = Window::new(&**file, *start, settings.segment_bytes);
    let error = |source| read_error(settings, *start, source);
    let header = window.at(*start, HEADER_BYTES).await.map_err(error)?;
    let Some(log_id) = Header::log_id_of(header) else { return Ok(()) };
    let theirs = Settings { log_id, ..settings.clone() };
    if scan.whole_batch(&mut window, *start, &theirs).await.map_err(error)?.is_none() {
        return Ok(());
    }
    Err(StoreError::Malformed {
        path: settings.segment_path(*start),
        what: format!(
            "belongs to log {log_id:016x}, this store's is {:016x}; put back the format.json that \
             was written with it, or move the segments away",
            settings.log_id
        ),
    })
}

async fn open_segments<D: Disk>(disk: &D, settings: &Settings) -> Result<Segments<D>, StoreError> {
    let names = disk
        .list(&settings.dir)
        .await
        .map_err(|source| StoreError::io("list", settings.dir.clone(), source))?;
    let mut segments = BTreeMap::new();
    for entry in names.iter().filter(|entry| !entry.is_dir) {
        let Some(start) = segment_start(Path::new(&entry.name)) else { continue };
        let path = settings.segment_path(start);
        let malformed = |what: String| StoreError::Malformed { path: path.clone(), what };
        if !start.is_multiple_of(settings.segment_bytes) || entry.bytes != settings.segment_bytes {
            let unborn = is_unborn(disk, settings, start, entry.bytes).await;
            if unborn.map_err(|source| StoreError::io("read", path.clone(), source))? {
                disk.remove(&path)
                    .await
                    .map_err(|source| StoreError::io("remove", path.clone(), source))?;
                continue;
            }
            return Err(malformed(format!(
                "segment of {} bytes; the store was formatted with segments of {} bytes, and \
                 mappedFileSizeCommitLog must stay what it was",
                entry.bytes, settings.segment_bytes
            )));
        }
        let file = disk
            .open(&path, Open::ReadWrite)
            .await
            .map_err(|source| StoreError::io("open", path.clone(), source))?;
        segments.insert(start, Rc::new(file));
    }
    Ok(segments)
}

/// Whether a segment was being created when the machine stopped: its length was not durable yet, so nothing is in it.
/// A segment of another size that holds something belongs to a store that was formatted otherwise.
async fn is_unborn<D: Disk>(
    disk: &D,
    settings: &Settings,
    start: u64,
    bytes: u64,
) -> std::io::Result<bool> {
    if bytes >= settings.segment_bytes || !start.is_multiple_of(settings.segment_bytes) {
        return Ok(false);
    }
    if bytes < BLOCK_BYTES as u64 {
        return Ok(true);
    }
    let file = disk.open(&settings.segment_path(start), Open::Read).await?;
    let block = file.read_at(0, BLOCK_BYTES).await?;
    file.close().await?;
    Ok(block.as_ref().iter().all(|byte| *byte == 0))
}

/// Makes sure that the segment which the log goes on in is there, and durable by name, and none behind it. Moves to the
/// next segment when the last one was ended.
async fn settle_segments<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &mut Segments<D>,
    position: u64,
) -> Result<(), StoreError> {
    let last = position - position % settings.segment_bytes;
    segment_or_new(disk, settings, segments, last).await?;
    remove_segments_behind(disk, settings, segments, last).await?;
    // A segment that the last start created and did not live to make durable may be among them.
    let error = |source| StoreError::io("sync", settings.dir.clone(), source);
    disk.sync_dir(&settings.dir).await.map_err(error)
}

async fn segment_or_new<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &mut Segments<D>,
    start: u64,
) -> Result<Rc<D::File>, StoreError> {
    if let Some(file) = segments.get(&start) {
        return Ok(file.clone());
    }
    let file = Rc::new(create_segment(disk, settings, start).await?);
    segments.insert(start, file.clone());
    Ok(file)
}

/// Writes the range again as it is and syncs it: after a mere restart what was read may sit in a cache only, or a sync
/// over it may have failed.
async fn make_durable<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &Segments<D>,
    range: Range<u64>,
) -> Result<(), StoreError> {
    let first = range.start - range.start % settings.segment_bytes;
    for (segment, file) in segments.range(first..) {
        let from = range.start.max(*segment);
        let to = range.end.min(segment + settings.segment_bytes);
        let error = |source| StoreError::io("secure", settings.segment_path(*segment), source);
        let mut at = from - from % BLOCK_BYTES as u64;
        while at < to {
            let bytes = (to - at).next_multiple_of(BLOCK_BYTES as u64).min(SCAN_READ_BYTES as u64);
            let read = file.read_at(at - segment, bytes as usize).await.map_err(error)?;
            let mut blocks = disk.alloc(bytes as usize);
            blocks.as_mut().copy_from_slice(read.as_ref());
            file.write_at(blocks, at - segment).await.map_err(error)?;
            at += bytes;
        }
        file.sync().await.map_err(error)?;
    }
    Ok(())
}

/// Appends and syncs the batch that every start begins with. What stands behind it in its block stays for now: a batch
/// there may be the only proof that a damaged place was durable, until this one is.
async fn write_start<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &mut Segments<D>,
    log: &mut CommitLog,
    last_store_ms: i64,
) -> Result<(), StoreError> {
    log.append_start(last_store_ms);
    while let Some(write) = log.take_write() {
        let file = segment_or_new(disk, settings, segments, write.segment).await?;
        let path = settings.segment_path(write.segment);
        let error = |source| StoreError::io("write", path.clone(), source);
        let behind = file.read_at(write.file_position(), write.bytes()).await.map_err(error)?;
        let mut blocks = disk.alloc(write.bytes());
        log.copy_blocks(&write, blocks.as_mut());
        let used = (write.to - write.block_start()) as usize;
        blocks.as_mut()[used..].copy_from_slice(&behind.as_ref()[used..]);
        file.write_at(blocks, write.file_position()).await.map_err(error)?;
        file.sync().await.map_err(error)?;
        log.written(&write, true, true);
    }
    Ok(())
}

/// Zeroes what follows the log's end, so that the remains of a torn write can never be taken for a later batch.
/// Returns how far they reached, bytes.
async fn cut<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &Segments<D>,
    position: u64,
) -> Result<u64, StoreError> {
    let block = BLOCK_BYTES as u64;
    let segment = position - position % settings.segment_bytes;
    let Some(file) = segments.get(&segment) else { return Ok(0) };
    let error = |source| StoreError::io("cut", settings.segment_path(segment), source);
    let reach = WRITE_BYTES_MAX + settings.record_bytes_max as u64;
    let to = (position + reach).next_multiple_of(block).min(segment + settings.segment_bytes);
    let mut at = position - position % block;
    let mut torn_bytes = 0;
    while at < to {
        let bytes = (to - at).min(SCAN_READ_BYTES as u64);
        let read = file.read_at(at - segment, bytes as usize).await.map_err(error)?;
        let kept = position.saturating_sub(at) as usize;
        let last = read.as_ref()[kept..].iter().rposition(|byte| *byte != 0);
        if let Some(last) = last {
            torn_bytes = at + (kept + last + 1) as u64 - position;
            let mut blocks = disk.alloc(bytes as usize);
            blocks.as_mut().fill(0);
            blocks.as_mut()[..kept].copy_from_slice(&read.as_ref()[..kept]);
            file.write_at(blocks, at - segment).await.map_err(error)?;
        }
        at += bytes;
    }
    if torn_bytes > 0 {
        file.sync().await.map_err(error)?;
    }
    Ok(torn_bytes)
}

/// Segments behind the one the log ends in hold nothing of ours.
async fn remove_segments_behind<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &mut Segments<D>,
    last: u64,
) -> Result<(), StoreError> {
    let behind: Vec<u64> = segments.range(last + 1..).map(|(start, _)| *start).collect();
    for start in &behind {
        segments.remove(start);
        let path = settings.segment_path(*start);
        disk.remove(&path).await.map_err(|source| StoreError::io("remove", path, source))?;
    }
    Ok(())
}

/// What the disk holds of the block that the log ends in.
async fn read_tail<F: DiskFile<Buf = B>, B: AsRef<[u8]>>(
    segments: &BTreeMap<u64, Rc<F>>,
    settings: &Settings,
    position: u64,
) -> Result<Vec<u8>, StoreError> {
    let within = (position % BLOCK_BYTES as u64) as usize;
    let segment = position - position % settings.segment_bytes;
    if within == 0 {
        return Ok(Vec::new());
    }
    let file = segments.get(&segment).expect("the log ends in an open segment");
    let block = file
        .read_at(position - within as u64 - segment, BLOCK_BYTES)
        .await
        .map_err(|source| StoreError::io("read", settings.segment_path(segment), source))?;
    Ok(block.as_ref()[..within].to_vec())
}

struct Scan {
    core: Core,
    /// Behind the last whole batch.
    position: u64,
    /// The newest batch says that everything before was durable when it was closed.
    proven: u64,
    epoch: u32,
    last_store_ms: i64,
    report: Report,
}

/// What stands behind a damaged place within one segment.
#[derive(Default)]
struct Seen {
    /// The first whole batch.
    first: Option<u64>,
    /// One of them proves that the place was durable, and everything up to here.
    durable_until: Option<u64>,
}

fn read_error(settings: &Settings, segment: u64, source: std::io::Error) -> StoreError {
    StoreError::io("read", settings.segment_path(segment), source)
}

/// A window of a segment that slides forward.
struct Window<'f, F> {
    file: &'f F,
    /// Start of the segment.
    segment: u64,
    segment_bytes: u64,
    /// Position of `bytes[0]`.
    start: u64,
    bytes: Vec<u8>,
}

impl<'f, F: DiskFile<Buf = B>, B: AsRef<[u8]>> Window<'f, F> {
    fn new(file: &'f F, segment: u64, segment_bytes: u64) -> Window<'f, F> {
        Window { file, segment, segment_bytes, start: segment, bytes: Vec::new() }
    }

    /// The `bytes` at `position`, read as needed; fewer at the segment's end.
    async fn at(&mut self, position: u64, bytes: usize) -> std::io::Result<&[u8]> {
        let end = (position + bytes as u64).min(self.segment + self.segment_bytes);
        while self.start + (self.bytes.len() as u64) < end {
            let used = (position.max(self.start) - self.start) as usize;
            let used = (used - used % BLOCK_BYTES).min(self.bytes.len());
            self.bytes.drain(..used);
            self.start += used as u64;
            let from = self.start + self.bytes.len() as u64;
            let left = self.segment + self.segment_bytes - from;
            let more = (SCAN_READ_BYTES as u64).min(left) as usize;
            let blocks = self.file.read_at(from - self.segment, more).await?;
            self.bytes.extend_from_slice(blocks.as_ref());
        }
        let from = (position - self.start) as usize;
        Ok(&self.bytes[from..(end - self.start) as usize])
    }
}

impl Scan {
    fn new(settings: &Settings) -> Scan {
        // Recovery only fills the tables; the log itself is put in place when its end is known.
        let ring = TailRing::new(1 << 15, BLOCK_BYTES);
        let mut shape = settings.shape(0);
        shape.inflight_bytes_max = 0;
        shape.entry_bytes_max = 0;
        let log = CommitLog::resume(shape, ring, 0, &[]);
        Scan {
            core: Core::new(log),
            position: 0,
            proven: 0,
            epoch: 0,
            last_store_ms: 0,
            report: Report::default(),
        }
    }

    /// Scans all segments, as far as the log goes.
    async fn segments<F: DiskFile<Buf = B>, B: AsRef<[u8]>>(
        &mut self,
        segments: &BTreeMap<u64, Rc<F>>,
        settings: &Settings,
    ) -> Result<(), StoreError> {
        loop {
            let segment = self.position - self.position % settings.segment_bytes;
            if let Some(file) = segments.get(&segment) {
                let mut window = Window::new(&**file, segment, settings.segment_bytes);
                let taken = self.batches(&mut window, settings).await;
                let whole = taken.map_err(|source| read_error(settings, segment, source))?;
                if whole && segments.contains_key(&self.position) {
                    continue;
                }
            }
            match self.find_witness(segments, settings).await? {
                Some(next) => self.skip_damage(next, settings.shard),
                None => return Ok(()),
            }
        }
    }

    /// Takes batch after batch of a segment from `self.position` on. `true`: up to the segment's end.
    async fn batches<F: DiskFile<Buf = B>, B: AsRef<[u8]>>(
        &mut self,
        window: &mut Window<'_, F>,
        settings: &Settings,
    ) -> std::io::Result<bool> {
        let end = window.segment + settings.segment_bytes;
        while self.position + HEADER_BYTES as u64 <= end {
            match self.batch(window, settings).await? {
                Some(Kind::Entries) => {}
                Some(Kind::SegmentEnd) => {
                    self.position = end;
                    return Ok(true);
                }
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    fn skip_damage(&mut self, next: u64, shard: u16) {
        let from = self.position;
        tracing::error!(shard, from, to = next, "the log is damaged here; what it held is lost");
        self.report.damaged_bytes += next - from;
        self.position = next;
    }

    /// Takes the batch at `self.position`, if it is whole.
    async fn batch<F: DiskFile<Buf = B>, B: AsRef<[u8]>>(
        &mut self,
        window: &mut Window<'_, F>,
        settings: &Settings,
    ) -> std::io::Result<Option<Kind>> {
        let position = self.position;
        let Some(header) = self.whole_batch(window, position, settings).await? else {
            return Ok(None);
        };
        let whole = HEADER_BYTES + header.payload_bytes as usize;
        let payload = &window.at(position, whole).await?[HEADER_BYTES..];
        self.take_entries(payload, position, settings.shard);
        self.epoch = header.epoch;
        self.proven = self.proven.max(header.durable_until.max(window.segment));
        self.last_store_ms = header.last_store_ms;
        self.position = header.end();
        self.report.scanned_bytes += whole as u64;
        Ok(Some(header.kind))
    }

    fn take_entries(&mut self, payload: &[u8], position: u64, shard: u16) {
        for entry in Entries::new(payload, position) {
            let taken = match entry {
                Ok(Entry::Record { position, bytes }) => self.take_record(position, bytes),
                Ok(Entry::Control { kind, content }) => self.core.replay_control(kind, content),
                Err(what) => Err(what),
            };
            if let Err(what) = taken {
                tracing::error!(shard, position, what, "an entry of the log is ignored");
            }
        }
    }

    fn take_record(&mut self, position: u64, bytes: &[u8]) -> Result<(), &'static str> {
        let view = RecordView::parse(bytes).map_err(|_| "record cannot be read")?;
        let queue_id = u32::try_from(view.queue_id()).map_err(|_| "queue id is negative")?;
        let tags = proto::properties::get(view.properties_text(), proto::properties::TAGS);
        let tags_code = proto::record::tags_code(tags);
        let entry = consume_queue::Entry::new(position, bytes.len() as u32, tags_code);
        self.report.messages += 1;
        let store_ms = view.store_timestamp();
        self.core.replay_record(view.topic(), queue_id, view.queue_offset(), store_ms, entry)
    }

    /// Looks behind the damaged place at `self.position` for a batch which proves that the place was durable, in its
    /// segment and in those behind. Returns where the log goes on: at the first whole batch, which may stand before
    /// the one that proves it, but not behind the end of what is proven.
    async fn find_witness<F: DiskFile<Buf = B>, B: AsRef<[u8]>>(
        &self,
        segments: &BTreeMap<u64, Rc<F>>,
        settings: &Settings,
    ) -> Result<Option<u64>, StoreError> {
        let damaged = self.position;
        let damaged_segment = damaged - damaged % settings.segment_bytes;
        let mut first: Option<u64> = None;
        for (segment, file) in segments.range(damaged_segment..) {
            let mut window = Window::new(&**file, *segment, settings.segment_bytes);
            let from = (damaged + 1).max(*segment);
            let seen = self.walk(&mut window, from, settings).await;
            let seen = seen.map_err(|source| read_error(settings, *segment, source))?;
            first = first.or(seen.first);
            if let Some(durable) = seen.durable_until {
                return Ok(first.map(|first| first.min(durable)));
            }
        }
        Ok(None)
    }

    /// Looks through a segment from `from` on for whole batches, until one proves that the place at `self.position`
    /// was durable or none follows for [`WITNESS_REACH_BYTES`].
    async fn walk<F: DiskFile<Buf = B>, B: AsRef<[u8]>>(
        &self,
        window: &mut Window<'_, F>,
        from: u64,
        settings: &Settings,
    ) -> std::io::Result<Seen> {
        let reach = WITNESS_REACH_BYTES + settings.record_bytes_max as u64;
        let segment_end = window.segment + window.segment_bytes;
        let mut end = segment_end.min(from + reach);
        let mut at = from;
        let mut seen = Seen::default();
        while at + HEADER_BYTES as u64 <= end {
            let bytes = window.at(at, SCAN_READ_BYTES).await?;
            let Some(found) = memchr::memmem::find(bytes, &MAGIC) else {
                at += (bytes.len() - MAGIC.len() + 1).max(1) as u64;
                continue;
            };
            at += found as u64;
            let Some(header) = self.whole_batch(window, at, settings).await? else {
                at += 1;
                continue;
            };
            seen.first.get_or_insert(at);
            // A segment is durable before anything is written to the next one.
            let durable_until = header.durable_until.max(window.segment);
            if durable_until > self.position {
                seen.durable_until = Some(durable_until);
                break;
            }
            at = header.end();
            end = segment_end.min(at + reach);
        }
        Ok(seen)
    }

    /// The header of the batch at `at`, if a whole one stands there that may follow what was taken so far.
    async fn whole_batch<F: DiskFile<Buf = B>, B: AsRef<[u8]>>(
        &self,
        window: &mut Window<'_, F>,
        at: u64,
        settings: &Settings,
    ) -> std::io::Result<Option<Header>> {
        let bytes = window.at(at, HEADER_BYTES).await?;
        let Ok(header) = Header::decode(bytes, at, settings.log_id) else { return Ok(None) };
        if header.epoch < self.epoch {
            return Ok(None);
        }
        let whole = HEADER_BYTES + header.payload_bytes as usize;
        let bytes = window.at(at, whole).await?;
        if bytes.len() < whole {
            return Ok(None);
        }
        let (head, payload) = bytes.split_at(HEADER_BYTES);
        Ok(Header::check_payload(head, payload).is_ok().then_some(header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FlushPolicy;
    use runtime::sim::{SimDisk, block_on};

    fn settings() -> Settings {
        Settings {
            shard: 0,
            dir: "/log".into(),
            log_id: 5,
            segment_bytes: 1 << 16,
            tail_cache_bytes: 1 << 17,
            inflight_bytes_max: 1 << 15,
            record_bytes_max: 8_192,
            flush: FlushPolicy::Sync,
            zero_ahead_bytes: 0,
        }
    }

    fn open(disk: &SimDisk) -> (Store<SimDisk>, Report) {
        block_on(Store::open(disk.clone(), settings())).expect("power").expect("a log")
    }

    /// Commits one group's offset in a batch of its own.
    fn commit(store: &Store<SimDisk>, offset: i64) {
        store.core_mut().offsets.set("g", "t", 0, offset);
        store.core_mut().append_group_offsets(0).expect("room");
        block_on(store.commit_once(|| 0)).expect("power").expect("a healthy disk");
    }

    fn offset(store: &Store<SimDisk>) -> Option<i64> {
        store.core().offsets.get("g", "t", 0)
    }

    fn path() -> std::path::PathBuf {
        settings().segment_path(0)
    }

    #[test]
    fn each_start_leaves_its_mark_and_finds_what_the_last_one_committed() {
        let disk = SimDisk::new(1);
        let (store, report) = open(&disk);
        assert_eq!((report.segments, report.scanned_bytes), (1, 0));
        commit(&store, 7);
        let end = store.core().log.committed();
        drop(store);
        let (store, report) = open(&disk.after_crash(1));
        assert_eq!((report.scanned_bytes, report.damaged_bytes), (end, 0));
        assert_eq!(store.core().log.committed(), end + HEADER_BYTES as u64);
        assert_eq!(store.core().log.shape().epoch, 2);
        assert_eq!(offset(&store), Some(7));
    }

    #[test]
    fn a_damaged_place_is_skipped_when_a_later_batch_proves_it_and_ends_the_log_otherwise() {
        let disk = SimDisk::new(1);
        let (store, _) = open(&disk);
        let mut ends = vec![store.core().log.committed()];
        for number in 1..=3 {
            commit(&store, number);
            ends.push(store.core().log.committed());
        }
        drop(store);
        let before = disk.snapshot();
        assert!(disk.flip_bit(&path(), ends[1] + 70, 0));
        let (store, report) = open(&disk);
        assert_eq!((report.damaged_bytes, offset(&store)), (ends[2] - ends[1], Some(3)));

        let disk = SimDisk::restore(&before);
        assert!(disk.flip_bit(&path(), ends[2] + 70, 0));
        let (store, report) = open(&disk);
        assert_eq!((report.damaged_bytes, offset(&store)), (0, Some(2)));
        assert!(report.cut_bytes > 0);
        drop(store);
        assert_eq!(open(&disk).1.cut_bytes, 0, "the cut is durable");
    }

    #[test]
    fn the_log_of_another_store_is_refused_and_left_alone() {
        let disk = SimDisk::new(1);
        let (store, _) = open(&disk);
        commit(&store, 1);
        drop(store);
        let other = Settings { log_id: 6, ..settings() };
        let error = block_on(Store::open(disk.clone(), other)).expect("power").err();
        let text = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains("belongs to log 0000000000000005"), "{text}");
        assert_eq!(offset(&open(&disk).0), Some(1), "and nothing was changed");
    }

    #[test]
    fn a_segment_of_another_size_is_refused_unless_nothing_is_in_it() {
        let disk = SimDisk::new(1);
        let (store, _) = open(&disk);
        commit(&store, 1);
        drop(store);
        let wide = Settings { segment_bytes: 1 << 17, ..settings() };
        let error = block_on(Store::open(disk.clone(), wide)).expect("power").err();
        assert!(matches!(error, Some(StoreError::Malformed { .. })), "{error:?}");
        let narrow = Settings { segment_bytes: 1 << 15, ..settings() };
        let error = block_on(Store::open(disk.clone(), narrow)).expect("power").err();
        assert!(matches!(error, Some(StoreError::Malformed { .. })), "{error:?}");
        let mode = Open::Create { bytes: 8_192 };
        block_on(disk.open(&settings().segment_path(1 << 16), mode)).expect("power").expect("room");
        let (store, report) = open(&disk);
        assert_eq!((report.segments, offset(&store)), (1, Some(1)));
    }
}
