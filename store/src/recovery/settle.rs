//! What a start makes durable before anything is appended or served: segments, the end of the log, the first batch of
//! the new epoch, the cut behind it. The order is that of [`super`].

use super::{SCAN_READ_BYTES, Segments};
use crate::{
    batch::{self, Header, MAGIC},
    error::StoreError,
    join_bounded::join_bounded,
    log::{CommitRule, Stored, WRITE_BYTES_MAX},
    readable::read_around,
    segments::create_segment,
    settings::Settings,
    store_state::StoreState,
};
use runtime::{BLOCK_BYTES, Disk, DiskFile, is_unreadable};
use std::{collections::BTreeMap, ops::Range, rc::Rc};

/// Behind the end of the log one block is looked at in as many bytes.
const STRETCH_BYTES: u64 = 1024 * 1024;
/// Such looks under way.
const LOOKS_AT_ONCE: usize = 16;

/// Makes sure that the segment which the log goes on in is there, and durable by name and length, and none behind it. Moves
/// to the next segment when the last one was ended.
pub(super) async fn settle_segments<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &mut Segments<D>,
    position: u64,
) -> Result<(), StoreError> {
    let last = settings.layout.start_of(position);
    let file = segment_or_new(disk, settings, segments, last).await?;
    if position == last {
        // The last start may have created it and not lived to make its length durable. Nothing is in it yet; one that holds
        // something and is too short would be refused.
        let error = |source| StoreError::io("sync", settings.segment_path(last), source);
        file.sync().await.map_err(error)?;
    }
    remove_segments_behind(disk, settings, segments, last).await?;
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
/// over it may have failed. What cannot be read in it is damage that the scan has stepped over, and stays as it is.
pub(super) async fn make_durable<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &Segments<D>,
    range: Range<u64>,
) -> Result<(), StoreError> {
    if range.is_empty() {
        return Ok(());
    }
    let first = settings.layout.start_of(range.start);
    for (segment, file) in segments.range(first..) {
        let from = range.start.max(*segment);
        let to = range.end.min(settings.layout.end_of(*segment));
        let error = |source| StoreError::io("secure", settings.segment_path(*segment), source);
        let mut at = from - from % BLOCK_BYTES as u64;
        while at < to {
            let bytes = (to - at).next_multiple_of(BLOCK_BYTES as u64).min(SCAN_READ_BYTES as u64);
            let place = at - segment..at - segment + bytes;
            write_again(disk, &**file, place).await.map_err(error)?;
            at += bytes;
        }
        file.sync().await.map_err(error)?;
    }
    Ok(())
}

/// Writes a range of a file as it is, around blocks that cannot be read.
async fn write_again<D: Disk>(disk: &D, file: &D::File, range: Range<u64>) -> std::io::Result<()> {
    let bytes = (range.end - range.start) as usize;
    let read = read_around(file, range.start, bytes).await?;
    let step = if read.unreadable() > 0 { BLOCK_BYTES } else { bytes };
    for (at, piece) in (range.start..).step_by(step).zip(read.as_ref().chunks_exact(step)) {
        if read.unreadable() > 0
            && let Err(error) = file.read_at(at, BLOCK_BYTES).await
        {
            if is_unreadable(&error) {
                continue;
            }
            return Err(error);
        }
        let mut blocks = disk.alloc(step);
        blocks.as_mut().copy_from_slice(piece);
        file.write_at(blocks, at).await?;
    }
    Ok(())
}

/// Appends and syncs the batch that every start begins with. What stands behind it in its block stays for now: a batch
/// there may be the only proof that a damaged place was durable, until this one is.
pub(super) async fn write_start<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &mut Segments<D>,
    state: &mut StoreState,
    epoch: u32,
) -> Result<(), StoreError> {
    state.log.check_start()?;
    let begun = state.log.begin_epoch(epoch, state.clock_ms);
    state.derived.lineage.note(begun);
    let log = &mut state.log;
    while let Some(write) = log.take_write() {
        let file = segment_or_new(disk, settings, segments, write.segment).await?;
        let path = settings.segment_path(write.segment);
        let error = |source| StoreError::io("write", path.clone(), source);
        // What cannot be read there proves nothing.
        let behind = read_around(&*file, write.file_position(), write.bytes()).await;
        let behind = behind.map_err(error)?;
        let mut blocks = disk.alloc(write.bytes());
        log.copy_blocks(&write, blocks.as_mut());
        let used = (write.to - write.block_start()) as usize;
        blocks.as_mut()[used..].copy_from_slice(&behind.as_ref()[used..]);
        file.write_at(blocks, write.file_position()).await.map_err(error)?;
        file.sync().await.map_err(error)?;
        log.written(&write, true);
        log.extend_room(settings.layout.end_of(write.segment));
    }
    log.advance(CommitRule { stored: Stored::Flushed, limit: CommitRule::ALONE });
    Ok(())
}

/// Zeroes what follows the log's end, so that the remains of a torn write can never be taken for a later batch.
/// Returns how far they reached, bytes; 0 in a recycled segment, where nobody can tell. Says what lies further behind.
pub(super) async fn clear_behind<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &Segments<D>,
    position: u64,
) -> Result<u64, StoreError> {
    let block = BLOCK_BYTES as u64;
    let segment = settings.layout.start_of(position);
    let Some(file) = segments.get(&segment) else { return Ok(0) };
    let error = |source| StoreError::io("clear", settings.segment_path(segment), source);
    let reach = WRITE_BYTES_MAX + settings.record_bytes_max as u64;
    let to = (position + reach).next_multiple_of(block).min(settings.layout.end_of(segment));
    let mut at = position - position % block;
    let mut torn_bytes = 0;
    let mut recycled = false;
    let mut written = false;
    while at < to {
        let bytes = (to - at).min(SCAN_READ_BYTES as u64);
        let read = read_around(&**file, at - segment, bytes as usize).await.map_err(error)?;
        let kept = position.saturating_sub(at) as usize;
        let last = read.as_ref()[kept..].iter().rposition(|byte| *byte != 0);
        // Writing is what makes a place readable again.
        let last = if read.unreadable() > 0 { Some(read.as_ref().len() - kept - 1) } else { last };
        if let Some(last) = last {
            // In a segment that was used before, what is not zero is mostly old.
            recycled |= has_older_batch(&read.as_ref()[kept..], segment, settings.log_id);
            if !recycled {
                torn_bytes = at + (kept + last + 1) as u64 - position;
            }
            written = true;
            let mut blocks = disk.alloc(bytes as usize);
            blocks.as_mut().fill(0);
            blocks.as_mut()[..kept].copy_from_slice(&read.as_ref()[..kept]);
            file.write_at(blocks, at - segment).await.map_err(error)?;
        }
        at += bytes;
    }
    if written {
        file.sync().await.map_err(error)?;
    }
    if recycled {
        return Ok(0);
    }
    if let Some(last) = last_behind(settings, segment, &**file, to).await.map_err(error)? {
        tracing::warn!(
            shard = settings.shard,
            end = position,
            looked_until = to,
            not_zero_at = last,
            "there are bytes far behind the end of the log, where a start looks for no proof that they were promised: \
             the log ends here, and they are written over"
        );
    }
    Ok(torn_bytes)
}

/// The last place behind `from` in a segment that was not used before where not everything is zero, as far as a look at
/// one block in each stretch can tell.
async fn last_behind<F: DiskFile<Buf = B>, B: AsRef<[u8]> + 'static>(
    settings: &Settings,
    segment: u64,
    file: &F,
    from: u64,
) -> std::io::Result<Option<u64>> {
    let stretch =
        STRETCH_BYTES.min((settings.layout.bytes_of(segment) / 64).max(BLOCK_BYTES as u64));
    let stretch = stretch.next_multiple_of(BLOCK_BYTES as u64);
    let places = (from..settings.layout.end_of(segment)).step_by(stretch as usize);
    let looks = places.map(async |place| {
        let block = read_around(file, place - segment, BLOCK_BYTES).await?;
        let old = has_older_batch(block.as_ref(), segment, settings.log_id);
        let last = block.as_ref().iter().rposition(|byte| *byte != 0);
        std::io::Result::Ok((last.map(|at| place + at as u64), old))
    });
    let mut found = None;
    for look in join_bounded(looks, LOOKS_AT_ONCE).await {
        match look? {
            (_, true) => return Ok(None),
            (last, false) => found = last.or(found),
        }
    }
    Ok(found)
}

/// Whether a batch of an earlier use of the segment stands among `bytes`.
fn has_older_batch(bytes: &[u8], segment: u64, log_id: u64) -> bool {
    memchr::memmem::find_iter(bytes, &MAGIC).any(|at| {
        let place = Header::place_of(bytes.get(at..).unwrap_or_default());
        place.is_some_and(|place| {
            place.version == batch::VERSION && place.log_id == log_id && place.position < segment
        })
    })
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

/// What the disk holds of the block that the log ends in. Zeros, if it cannot be read: an index file covers what stood
/// there, who asks for it finds it damaged, and the next write makes the block readable.
pub(super) async fn read_tail<F: DiskFile<Buf = B>, B: AsRef<[u8]>>(
    segments: &BTreeMap<u64, Rc<F>>,
    settings: &Settings,
    position: u64,
) -> Result<Vec<u8>, StoreError> {
    let within = (position % BLOCK_BYTES as u64) as usize;
    let segment = settings.layout.start_of(position);
    if within == 0 {
        return Ok(Vec::new());
    }
    let file = segments.get(&segment).expect("the log ends in an open segment");
    let block = read_around(&**file, position - within as u64 - segment, BLOCK_BYTES)
        .await
        .map_err(|source| StoreError::io("read", settings.segment_path(segment), source))?;
    Ok(block.as_ref()[..within].to_vec())
}
