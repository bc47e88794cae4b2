//! Reads of old messages from the log on disk.
//!
//! Where messages of a queue lie close together, the log is read in aligned chunks, a few of which stay in memory: what
//! lies behind a message that somebody reads is what they read next. Where they lie far apart, each is read by itself,
//! many at a time. Only what has left the tail cache is read in chunks; it does not change any more.

use crate::{
    cold_chunks::CHUNK_BYTES,
    consume_queue::{Entry, record_check},
    error::StoreError,
    join_bounded::join_bounded,
    readable::{Blocks, read_around},
    store::Store,
};
use runtime::{BLOCK_BYTES, Disk};
use std::rc::Rc;

/// Records that lie further apart than this, on average, are read one by one: a chunk would bring too little of what is
/// wanted. So far apart are the messages of one among a hundred busy queues.
const SPARSE_BYTES: u64 = 32 * 1024;
/// Such reads that one pull has in flight.
const READS_AT_ONCE: usize = 16;

fn is_sparse(pieces: &[Entry]) -> bool {
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return false };
    let span = last.position().saturating_sub(first.position());
    pieces.len() > 1 && span / pieces.len() as u64 > SPARSE_BYTES
}

impl<D: Disk> Store<D> {
    /// Reads records from the disk, one behind the other into `out`, each checked against its own place and CRC. A
    /// damaged one is left out and reported, so that it costs nobody the others; one that was retired meanwhile is only
    /// left out. Returns how many were left out.
    pub async fn read_cold(
        &self,
        pieces: &[Entry],
        out: &mut Vec<u8>,
    ) -> Result<usize, StoreError> {
        let mut left_out = 0;
        if is_sparse(pieces) {
            let reads = pieces.iter().map(|entry| self.read_alone(entry));
            for (entry, record) in pieces.iter().zip(join_bounded(reads, READS_AT_ONCE).await) {
                let start = out.len();
                let whole = record?.is_some_and(|record| {
                    out.extend_from_slice(&record);
                    self.keep_if_whole(entry, out, start)
                });
                left_out += usize::from(!whole);
            }
            return Ok(left_out);
        }
        for entry in pieces {
            let start = out.len();
            let there = self.read_chunked(entry.position(), entry.bytes() as usize, out).await?;
            let whole = there && self.keep_if_whole(entry, out, start);
            left_out += usize::from(!whole);
        }
        Ok(left_out)
    }

    /// Leaves the record at the end of `out` there, or takes it away and reports it.
    fn keep_if_whole(&self, entry: &Entry, out: &mut Vec<u8>, start: usize) -> bool {
        let checked = self.check_entry(entry, &out[start..]);
        if checked.is_err() && !self.is_in_segment(entry.position()) {
            // It was retired while it was read, and its file may be another segment by now.
            out.truncate(start);
        } else if let Err(error) = &checked {
            tracing::error!(%error, "a message is lost to damage on disk");
            self.tally.damaged_records.set(self.tally.damaged_records.get() + 1);
            out.truncate(start);
        }
        checked.is_ok()
    }

    /// Whether the segment of a position is still there.
    pub(crate) fn is_in_segment(&self, position: u64) -> bool {
        self.segments.contains(self.settings.layout.start_of(position))
    }

    async fn read_alone(&self, entry: &Entry) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_log(entry.position(), entry.bytes() as usize).await
    }

    /// Appends `bytes` of the log to `out`, through chunks. False, and nothing is appended: their segment was retired.
    async fn read_chunked(
        &self,
        position: u64,
        bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, StoreError> {
        let before = out.len();
        let end = position + bytes as u64;
        let mut at = position;
        while at < end {
            // Others had their turn since this was planned.
            if !self.is_in_segment(at) {
                out.truncate(before);
                return Ok(false);
            }
            let start = self.chunk_start(at);
            let to = end.min(start + CHUNK_BYTES);
            let settled = start + CHUNK_BYTES <= self.state.borrow().log.ring().start();
            if settled {
                let chunk = self.chunk(start).await?;
                out.extend_from_slice(
                    &(*chunk).as_ref()[(at - start) as usize..(to - start) as usize],
                );
            } else {
                let (blocks, skip) = self.read_blocks(at, (to - at) as usize).await?;
                out.extend_from_slice(&blocks.as_ref()[skip..skip + (to - at) as usize]);
            }
            at = to;
        }
        Ok(true)
    }

    /// Chunks are counted from the start of their segment.
    fn chunk_start(&self, position: u64) -> u64 {
        let within = position - self.settings.layout.start_of(position);
        position - within % CHUNK_BYTES
    }

    async fn chunk(&self, start: u64) -> Result<Rc<Blocks<D::Buf>>, StoreError> {
        if let Some(chunk) = self.cold.get(start) {
            return Ok(chunk);
        }
        let segment_end = self.settings.layout.end_behind(start);
        let bytes = CHUNK_BYTES.min(segment_end - start);
        let (blocks, _) = self.read_blocks(start, bytes as usize).await?;
        let blocks = Rc::new(blocks);
        if blocks.unreadable() == 0 {
            self.cold.put(start, Rc::clone(&blocks));
        }
        Ok(blocks)
    }

    /// Reads `bytes` at `position` of the log, from the tail cache or from the disk. `None` when that is outside of
    /// what was committed or has been retired.
    pub async fn read_log(
        &self,
        position: u64,
        bytes: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        {
            let state = self.state.borrow();
            if position + bytes as u64 > state.log.committed() {
                return Ok(None);
            }
            if state.log.ring().holds(position, bytes) {
                let mut out = vec![0; bytes];
                state.log.ring().copy_to(position, &mut out);
                return Ok(Some(out));
            }
        }
        let segment = self.settings.layout.start_of(position);
        if !self.segments.contains(segment) {
            return Ok(None);
        }
        let start = self.chunk_start(position);
        if let Some(chunk) = self.cold.get(start)
            && let Some(found) = (*chunk).as_ref().get((position - start) as usize..)
            && let Some(found) = found.get(..bytes)
        {
            return Ok(Some(found.to_vec()));
        }
        let (blocks, skip) = self.read_blocks(position, bytes).await?;
        Ok(Some(blocks.as_ref()[skip..skip + bytes].to_vec()))
    }

    /// Store timestamp of the record at `position`. An entry of no bytes stands for a message that was lost to
    /// damage; the time of the record behind the damage, where it points, is then the nearest known.
    pub async fn store_timestamp(&self, position: u64, bytes: u32) -> Result<i64, StoreError> {
        let prefix = proto::record::TIMESTAMP_PREFIX_BYTES;
        let bytes = if bytes == 0 { prefix } else { prefix.min(bytes as usize) };
        let prefix = self.read_log(position, bytes).await?;
        let prefix = prefix.filter(|prefix| self.is_of_place(position, prefix));
        prefix.as_deref().and_then(proto::record::store_timestamp_of).ok_or(StoreError::Corrupt {
            shard: self.settings.shard,
            position,
            what: "no record where the consume queue says",
        })
    }

    /// Store timestamps of the records at `positions`, which come one behind the other in either direction. `None`: it
    /// has been retired.
    pub(crate) async fn store_timestamps(
        &self,
        positions: &[u64],
    ) -> Result<Vec<Option<i64>>, StoreError> {
        let (Some(first), Some(last)) = (positions.first(), positions.last()) else {
            return Ok(Vec::new());
        };
        if first.abs_diff(*last) / positions.len() as u64 > SPARSE_BYTES {
            let reads = positions.iter().map(|position| self.time_at(*position));
            return join_bounded(reads, READS_AT_ONCE).await.into_iter().collect();
        }
        let mut times = Vec::with_capacity(positions.len());
        for position in positions {
            let start = self.chunk_start(*position);
            let settled = start + CHUNK_BYTES <= self.state.borrow().log.ring().start();
            let segment = self.settings.layout.start_of(*position);
            if settled && self.segments.contains(segment) {
                self.chunk(start).await?;
            }
            times.push(self.time_at(*position).await?);
        }
        Ok(times)
    }

    async fn time_at(&self, position: u64) -> Result<Option<i64>, StoreError> {
        let left = self.settings.layout.end_behind(position) - position;
        let bytes = (proto::record::TIMESTAMP_PREFIX_BYTES as u64).min(left);
        let prefix = self.read_log(position, bytes as usize).await?;
        // Its segment may have been retired meanwhile, and its file be another one by now.
        let prefix = prefix.filter(|prefix| self.is_of_place(position, prefix));
        Ok(prefix.as_deref().and_then(proto::record::store_timestamp_of))
    }

    /// Whether the first bytes of a record name this place.
    fn is_of_place(&self, position: u64, prefix: &[u8]) -> bool {
        let place = crate::PhysicalOffset::new(self.settings.shard, position).to_wire();
        proto::record::physical_offset_of(prefix) == Some(place)
    }

    fn check_entry(&self, entry: &Entry, record: &[u8]) -> Result<(), StoreError> {
        if record_check(record) != entry.check() {
            let (shard, position) = (self.settings.shard, entry.position());
            return Err(StoreError::Corrupt { shard, position, what: "record on disk is damaged" });
        }
        self.check_record(entry.position(), record)
    }

    pub(crate) fn check_record(&self, position: u64, record: &[u8]) -> Result<(), StoreError> {
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

    /// Whole blocks around `[position, position + bytes)` of one segment, and where the range begins in them. What cannot
    /// be read is zeros, which no check over a record takes for what stood there.
    async fn read_blocks(
        &self,
        position: u64,
        bytes: usize,
    ) -> Result<(Blocks<D::Buf>, usize), StoreError> {
        let segment = self.settings.layout.start_of(position);
        let file = self.segments.file(segment).ok_or(StoreError::Corrupt {
            shard: self.settings.shard,
            position,
            what: "its segment is gone",
        })?;
        let block = BLOCK_BYTES as u64;
        let start = position - position % block;
        let end = (position + bytes as u64).next_multiple_of(block);
        let leave = self.cold_gate.enter().await;
        let blocks = read_around(&*file, start - segment, (end - start) as usize).await;
        let blocks = blocks.map_err(|source| {
            StoreError::io("read", self.settings.segment_path(segment), source)
        })?;
        drop(leave);
        let tally = &self.tally;
        tally.cold_bytes.set(tally.cold_bytes.get() + (end - start));
        tally.unreadable_bytes.set(tally.unreadable_bytes.get() + blocks.unreadable());
        Ok((blocks, (position - start) as usize))
    }
}
