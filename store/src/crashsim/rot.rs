//! Bit rot in a batch that was durable and acknowledged.

use super::mutant::MutantDisk;
use crate::{
    batch::{HEADER_BYTES, Header, Kind},
    index::{Index, Named, named},
    store::Settings,
};
use fastrand::Rng;
use runtime::sim::block_on;

/// A whole batch as it lies on the disk.
pub(super) struct Found {
    pub(super) header: Header,
    /// Behind it, up to where the log goes on.
    pub(super) end: u64,
    pub(super) bytes: Vec<u8>,
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
        let end = if last { segment + settings.segment_bytes } else { segment + at as u64 };
        found.push(Found { header, end, bytes: bytes[from..at].to_vec() });
        if last {
            break;
        }
    }
    found
}

/// Where whole batches with entries lie, by position in the log.
pub(super) fn held(disk: &MutantDisk, settings: &Settings) -> Vec<(u64, u64)> {
    let files = disk.sim.files();
    let starts = files.iter().filter_map(|(path, _)| crate::store::segment_start(path));
    let all = starts.flat_map(|start| batches(disk, settings, start));
    let filled = all.filter(|batch| batch.header.entry_count > 0);
    filled.map(|batch| (batch.header.position, batch.header.end())).collect()
}

/// A damaged place.
pub(super) struct Flipped {
    /// The batch, up to where the log goes on.
    pub(super) from: u64,
    pub(super) to: u64,
    /// The byte that is not what it was.
    pub(super) byte: u64,
}

/// Whether an index file covers a place: a start does not scan it then.
pub(super) fn is_indexed(disk: &MutantDisk, settings: &Settings, byte: u64) -> bool {
    disk.sim.files().iter().any(|(path, _)| {
        let index = path.file_name().and_then(|name| named(name.to_str()?));
        let Some(Named::Sealed { .. } | Named::Run { .. }) = index else { return false };
        let opened = block_on(Index::open(disk, path, settings.shard, settings.log_id));
        let covers =
            |index: Index<MutantDisk>| (index.head().from..index.head().to).contains(&byte);
        opened.and_then(Result::ok).is_some_and(covers)
    })
}

/// Flips a bit of a batch that ends at or before `acknowledged` and that a later batch proves to have been durable.
/// Returns the damaged place.
pub(super) fn flip(
    disk: &MutantDisk,
    settings: &Settings,
    acknowledged: u64,
    rng: &mut Rng,
) -> Option<Flipped> {
    // A write on its way to the medium might heal the block again.
    let files = disk.sim.files();
    let settled = files.iter().filter(|(path, _)| disk.sim.unsynced_writes(path) == 0);
    let starts = settled.filter_map(|(path, _)| crate::store::segment_start(path));
    let all: Vec<Found> = starts.flat_map(|start| batches(disk, settings, start)).collect();
    let proven = all.iter().map(|batch| batch.header.durable_until).max()?;
    let candidates: Vec<&Found> = all
        .iter()
        .filter(|batch| batch.end <= acknowledged.min(proven) && !batch.bytes.is_empty())
        .collect();
    // Batches with a batch in a message's body are the most interesting ones.
    let nested: Vec<&Found> = candidates
        .iter()
        .copied()
        .filter(|batch| memchr::memmem::find(&batch.bytes[4..], &crate::batch::MAGIC).is_some())
        .collect();
    let among = if !nested.is_empty() && rng.bool() { &nested } else { &candidates };
    let batch = rng.choice(among.iter())?;
    let start = batch.header.position;
    let byte = start + rng.u64(0..batch.bytes.len() as u64);
    let segment = start - start % settings.segment_bytes;
    assert!(disk.sim.flip_bit(&settings.segment_path(segment), byte - segment, rng.u8(0..8)));
    Some(Flipped { from: start, to: batch.end, byte })
}
