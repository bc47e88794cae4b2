//! Rot, of a bit or of a block that cannot be read any more: in a batch that was durable and acknowledged, and anywhere in index files, which may also be missing.

use super::{book::Fate, mutant::MutantDisk};
use fastrand::Rng;
use runtime::{BLOCK_BYTES, Disk, sim::block_on};
use std::{
    ops::Range,
    path::{Path, PathBuf},
};
use store::{
    batch::{HEADER_BYTES, Header, Kind},
    index::{Index, Named, named},
    lineage::EpochStart,
    segments::segment_start,
    settings::Settings,
};

/// A whole batch as it lies on the disk.
pub(super) struct Found {
    pub(super) header: Header,
    /// Behind it, up to where the log goes on.
    pub(super) end: u64,
    pub(super) bytes: Vec<u8>,
}

impl Found {
    /// Whether a start began with it: nothing of the book is in it.
    fn begins_epoch(&self) -> bool {
        EpochStart::of_batch(&self.header, &self.bytes[HEADER_BYTES..]).is_some()
    }
}

/// The whole batches of a segment, from its start or the first whole one on.
pub(super) fn batches(disk: &MutantDisk, settings: &Settings, segment: u64) -> Vec<Found> {
    let bytes = disk.sim.live_bytes(&settings.segment_path(segment)).unwrap_or_default();
    let mut found = Vec::new();
    let mut at = 0;
    while at + HEADER_BYTES <= bytes.len() {
        let position = segment + at as u64;
        let header = Header::decode(&bytes[at..], position, settings.log_id).ok();
        let whole = header.filter(|header| {
            let payload = at + HEADER_BYTES..at + HEADER_BYTES + header.payload_bytes as usize;
            let payload = bytes.get(payload);
            payload.is_some_and(|payload| Header::check_payload(&bytes[at..], payload).is_ok())
        });
        let Some(header) = whole else {
            at += 1;
            continue;
        };
        let from = at;
        at += HEADER_BYTES + header.payload_bytes as usize;
        let last = header.kind == Kind::SegmentEnd;
        let end = if last { settings.layout.end_of(segment) } else { segment + at as u64 };
        found.push(Found { header, end, bytes: bytes[from..at].to_vec() });
        if last {
            break;
        }
    }
    found
}

/// Where whole batches with entries of the book lie, by position in the log.
pub(super) fn held(disk: &MutantDisk, settings: &Settings) -> Vec<(u64, u64)> {
    let files = disk.sim.files();
    let starts = files.iter().filter_map(|(path, _)| segment_start(path));
    let all = starts.flat_map(|start| batches(disk, settings, start));
    let filled = all.filter(|batch| batch.header.entry_count > 0 && !batch.begins_epoch());
    filled.map(|batch| (batch.header.position, batch.header.end())).collect()
}

/// A damaged place.
pub(crate) struct Rotten {
    /// The batch, up to where the log goes on.
    pub(super) from: u64,
    pub(super) to: u64,
    /// What of it is not what it was.
    pub(super) bytes: Range<u64>,
    /// It cannot be read, and counts as zeros; otherwise a bit of it is another one.
    pub(super) reads_as_zeros: bool,
}

/// What rot at a place does to what stood there, and whether an index file covers the place, which a start does then not
/// scan.
///
/// Where the file that covers it is gone or cannot be opened, a start makes it again and scans; but the next one still
/// knows which queues lived at its beginning, and how many messages each had had. Only behind the last one nobody
/// knows.
pub(super) fn fate(disk: &MutantDisk, settings: &Settings, byte: u64) -> (Fate, bool) {
    let (mut fate, mut covered) = (Fate::Lost, false);
    for (path, _) in index_files(disk) {
        let opened = block_on(Index::open(disk, &path, settings.shard, settings.log_id));
        let Some(Ok(index)) = opened else { continue };
        if index.head().to <= byte {
            continue;
        }
        fate = Fate::Unsure;
        if index.head().from > byte {
            continue;
        }
        covered = true;
        if let Some(Ok(())) = block_on(index.verify()) {
            return (Fate::Kept, covered);
        }
    }
    (fate, covered)
}

/// Index files with the segments that they are about.
pub(super) fn index_files(disk: &MutantDisk) -> Vec<(PathBuf, u64)> {
    let segment_of = |path: &Path| match named(path.file_name()?.to_str()?)? {
        Named::Sealed { segment } | Named::Run { segment, .. } => Some(segment),
        Named::Temporary => None,
    };
    let files = disk.sim.files().into_iter();
    files.filter_map(|(path, _)| segment_of(&path).map(|segment| (path, segment))).collect()
}

/// Index files, and whether every block of each is what was written.
pub(super) fn wholeness(disk: &MutantDisk, settings: &Settings) -> Vec<(PathBuf, bool)> {
    let is_whole = |path: &Path| {
        let opened = block_on(Index::open(disk, path, settings.shard, settings.log_id));
        let index = opened.and_then(Result::ok);
        index.is_some_and(|index| matches!(block_on(index.verify()), Some(Ok(()))))
    };
    let files = index_files(disk).into_iter();
    files.map(|(path, _)| (is_whole(&path), path)).map(|(whole, path)| (path, whole)).collect()
}

/// Whether a segment has its name.
pub(super) fn has_segment(disk: &MutantDisk, segment: u64) -> bool {
    disk.sim.files().iter().any(|(path, _)| segment_start(path) == Some(segment))
}

/// Segments that wait to be used again.
pub(super) fn spare_files(disk: &MutantDisk) -> Vec<PathBuf> {
    let files = disk.sim.files().into_iter().map(|(path, _)| path);
    files.filter(|path| path.extension().is_some_and(|extension| extension == "spare")).collect()
}

/// Most neighbouring index files that rot at once.
const NEIGHBOURS_MAX: usize = 3;

/// Damages index files that lie beside each other, mostly one, or removes them. Returns their segments; there may be
/// none that may go.
pub(super) fn spoil_indexes(disk: &MutantDisk, settings: &Settings, rng: &mut Rng) -> Vec<u64> {
    let files = index_files(disk);
    // The next must wait until the store has noticed the last. The last whole one is the only place for what retired
    // segments said; the store keeps two as soon as it can.
    let first = disk.sim.files().iter().filter_map(|(path, _)| segment_start(path)).min();
    let whole = wholeness(disk, settings).into_iter().filter(|(_, whole)| *whole).count();
    let kept = usize::from(first != Some(0));
    if whole < files.len() || whole <= kept {
        return Vec::new();
    }
    let spoilt = neighbours(files.len(), whole - kept, rng);
    for (path, _) in &files[spoilt.clone()] {
        if rng.u8(0..4) == 0 {
            block_on(disk.sim.remove(path)).and_then(Result::ok).expect("it is there");
            let synced = block_on(disk.sim.sync_dir(&settings.dir));
            synced.and_then(Result::ok).expect("a healthy disk");
        } else if rng.bool() {
            let bytes = disk.sim.live_bytes(path).map_or(0, |bytes| bytes.len() as u64);
            assert!(disk.sim.spoil_block(path, rng.u64(0..bytes)));
        } else {
            flip_anywhere(disk, path, rng);
        }
    }
    files[spoilt].iter().map(|(_, segment)| *segment).collect()
}

/// Some of `files` in a row, at most `most`, mostly one.
pub(super) fn neighbours(files: usize, most: usize, rng: &mut Rng) -> Range<usize> {
    let count = if rng.u8(0..3) == 0 { rng.usize(1..=NEIGHBOURS_MAX) } else { 1 };
    let first = rng.usize(0..files);
    first..(first + count.min(most)).min(files)
}

/// Flips a bit somewhere in a file. Returns the byte and the bit.
pub(super) fn flip_anywhere(disk: &MutantDisk, path: &Path, rng: &mut Rng) -> (u64, u8) {
    let bytes = disk.sim.live_bytes(path).map_or(0, |bytes| bytes.len() as u64);
    let (byte, bit) = (rng.u64(0..bytes), rng.u8(0..8));
    assert!(disk.sim.flip_bit(path, byte, bit));
    (byte, bit)
}

/// All whole batches of files that nothing is on its way to, and the indexes of those that lie in `acknowledged` and that
/// a later batch proves to have been durable.
fn proven(
    disk: &MutantDisk,
    settings: &Settings,
    acknowledged: &Range<u64>,
) -> (Vec<Found>, Vec<usize>) {
    // A write on its way to the medium might heal the block again.
    let files = disk.sim.files();
    let settled = files.iter().filter(|(path, _)| disk.sim.unsynced_writes(path) == 0);
    let starts = settled.filter_map(|(path, _)| segment_start(path));
    let all: Vec<Found> = starts.flat_map(|start| batches(disk, settings, start)).collect();
    let proven = all.iter().map(|batch| batch.header.durable_until).max().unwrap_or(0);
    let candidates = (0..all.len()).filter(|at| {
        let batch = &all[*at];
        let within = batch.header.position >= acknowledged.start;
        within && batch.end <= acknowledged.end.min(proven) && !batch.bytes.is_empty()
    });
    let candidates = candidates.collect();
    (all, candidates)
}

/// Flips a bit of such a batch. Returns the damaged place.
pub(super) fn flip(
    disk: &MutantDisk,
    settings: &Settings,
    acknowledged: Range<u64>,
    rng: &mut Rng,
) -> Vec<Rotten> {
    let (all, candidates) = proven(disk, settings, &acknowledged);
    // Batches with a batch in a message's body are the most interesting ones.
    let is_nested =
        |at: &usize| memchr::memmem::find(&all[*at].bytes[4..], &store::batch::MAGIC).is_some();
    let nested: Vec<usize> = candidates.iter().copied().filter(is_nested).collect();
    let among = if !nested.is_empty() && rng.bool() { &nested } else { &candidates };
    let Some(batch) = rng.choice(among.iter()).map(|at| &all[*at]) else { return Vec::new() };
    let start = batch.header.position;
    let byte = start + rng.u64(0..batch.bytes.len() as u64);
    let segment = settings.layout.start_of(start);
    assert!(disk.sim.flip_bit(&settings.segment_path(segment), byte - segment, rng.u8(0..8)));
    let bytes = byte..byte + 1;
    vec![Rotten { from: start, to: batch.end, bytes, reads_as_zeros: false }]
}

/// Makes a block unreadable in which only such batches lie. Returns what it takes of each.
pub(super) fn spoil(
    disk: &MutantDisk,
    settings: &Settings,
    acknowledged: Range<u64>,
    rng: &mut Rng,
) -> Vec<Rotten> {
    let (all, candidates) = proven(disk, settings, &acknowledged);
    let Some(batch) = rng.choice(candidates.iter()).map(|at| &all[*at]) else { return Vec::new() };
    let byte = batch.header.position + rng.u64(0..batch.bytes.len() as u64);
    let block = byte - byte % BLOCK_BYTES as u64;
    let block = block..block + BLOCK_BYTES as u64;
    // What had rotted before is no whole batch any more: records in it that are still served must not go unnoticed.
    let mut whole = block.start;
    let mut taken = Vec::new();
    for (at, batch) in all.iter().enumerate() {
        let start = batch.header.position;
        let bytes = start.max(block.start)..(start + batch.bytes.len() as u64).min(block.end);
        if bytes.is_empty() {
            continue;
        }
        if !candidates.contains(&at) || bytes.start != whole {
            return Vec::new();
        }
        // Behind the end of a segment lies nothing.
        whole = batch.end.min(block.end);
        taken.push(Rotten { from: start, to: batch.end, bytes, reads_as_zeros: true });
    }
    // Nor may it lie behind the last whole one.
    if whole != block.end {
        return Vec::new();
    }
    let segment = settings.layout.start_of(byte);
    assert!(disk.sim.spoil_block(&settings.segment_path(segment), byte - segment));
    taken
}
