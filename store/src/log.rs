//! The commit log of one shard as a state machine: where bytes go, and which of them are safe.
//!
//! Three positions, each only grows: `appended`, `flushed`, `committed`; the latter two never pass the first. Appending assigns positions at once
//! and gathers entries in an open batch in the [`TailRing`]; [`CommitLog::take_write`] closes it and says what must go
//! to disk; [`CommitLog::written`] moves the gate. Nothing here does I/O.

use crate::{
    batch::{self, HEADER_BYTES, Header, Kind, PAYLOAD_BYTES_MAX},
    error::Refused,
    ring::TailRing,
};
use runtime::BLOCK_BYTES;
use std::collections::VecDeque;

/// Most bytes of one disk write, when more than one closed batch waits: large enough for full disk bandwidth.
pub const WRITE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Most room kept for control entries: a thousand offsets a second, coalesced, for hours.
const RESERVE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What never changes while a log is open.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Shard whose log it is.
    pub shard: u16,
    /// Drawn when the shard was formatted.
    pub log_id: u64,
    /// Grows with each start.
    pub epoch: u32,
    /// Bytes of a segment, a multiple of the block.
    pub segment_bytes: u64,
    /// Most bytes appended and not committed.
    pub inflight_bytes_max: u64,
    /// Largest entry.
    pub entry_bytes_max: usize,
}

impl Shape {
    /// Most payload bytes of a batch with more than one entry. A small share of a segment at most, because a damaged
    /// batch is lost as a whole.
    pub fn payload_bytes_max(&self) -> usize {
        PAYLOAD_BYTES_MAX.min((self.segment_bytes / 16) as usize)
    }

    /// Room that messages leave to control entries when there is no next segment.
    pub fn reserve_bytes(&self) -> u64 {
        RESERVE_BYTES_MAX.min(self.segment_bytes / 8)
    }
}

/// The log.
pub struct CommitLog {
    shape: Shape,
    ring: TailRing,
    open: Option<OpenBatch>,
    closed: VecDeque<ClosedBatch>,
    /// Where the next batch header or entry goes.
    appended: u64,
    flushed: u64,
    committed: u64,
    /// End of the segments that are there. Nothing is appended behind it.
    room_end: u64,
    /// The next segment was wanted and could not be had.
    starved: bool,
    /// Why no messages are taken although the log itself is well: the disk is nearly full.
    closed_to_messages: Option<String>,
    poisoned: Option<String>,
}

struct OpenBatch {
    position: u64,
    entry_count: u32,
    /// It is not closed before it has reached this position: it holds a group.
    group_end: u64,
    first_store_ms: i64,
    last_store_ms: i64,
}

#[derive(Clone, Copy)]
struct ClosedBatch {
    position: u64,
    end: u64,
}

/// One write: whole blocks of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// Start of the segment, which is its name.
    pub segment: u64,
    /// First new byte.
    pub from: u64,
    /// Behind the last new byte.
    pub to: u64,
}

impl Write {
    /// Position of the first block in the log. It may begin with the tail of what was written before.
    pub fn block_start(&self) -> u64 {
        self.from - self.from % BLOCK_BYTES as u64
    }

    /// Position of the first block in the segment's file.
    pub fn file_position(&self) -> u64 {
        self.block_start() - self.segment
    }

    /// Bytes of whole blocks.
    pub fn bytes(&self) -> usize {
        (self.to.next_multiple_of(BLOCK_BYTES as u64) - self.block_start()) as usize
    }
}

impl CommitLog {
    /// A log that goes on at `position`, up to which everything is on disk. `tail` is what the disk holds of the
    /// block that `position` is in, up to it.
    pub fn resume(mut shape: Shape, mut ring: TailRing, position: u64, tail: &[u8]) -> CommitLog {
        assert!(shape.segment_bytes.is_multiple_of(BLOCK_BYTES as u64));
        assert!(shape.segment_bytes >= shape.entry_bytes_max as u64 + 2 * HEADER_BYTES as u64);
        assert!(tail.len() as u64 == position % BLOCK_BYTES as u64);
        // What is not on disk yet must stay in the ring, with the block before it and, at the end of a segment, the
        // space that the next entry did not fit into.
        let spare = shape.entry_bytes_max + 2 * BLOCK_BYTES;
        assert!(ring.capacity() / 2 > spare, "the tail cache is too small for the largest record");
        shape.inflight_bytes_max =
            shape.inflight_bytes_max.min((ring.capacity() / 2 - spare) as u64);
        ring.reset(position - tail.len() as u64);
        if !tail.is_empty() {
            ring.fill(position - tail.len() as u64, tail.len(), |slot| slot.copy_from_slice(tail));
        }
        CommitLog {
            shape,
            ring,
            open: None,
            closed: VecDeque::new(),
            appended: position,
            flushed: position,
            committed: position,
            room_end: position - position % shape.segment_bytes + shape.segment_bytes,
            starved: false,
            closed_to_messages: None,
            poisoned: None,
        }
    }

    /// What never changes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The tail cache.
    pub fn ring(&self) -> &TailRing {
        &self.ring
    }

    /// Behind the last entry.
    pub fn appended(&self) -> u64 {
        self.appended
    }

    /// Everything before is on disk.
    pub fn flushed(&self) -> u64 {
        self.flushed
    }

    /// Everything before may be read and was acknowledged.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Bytes appended and not committed.
    pub fn inflight_bytes(&self) -> u64 {
        self.appended - self.committed
    }

    /// Why the log takes no more bytes, if so.
    pub fn poisoned(&self) -> Option<&str> {
        self.poisoned.as_deref()
    }

    /// Ends the life of the log: a write or sync failed, and what is on disk is unknown until restart.
    pub fn poison(&mut self, reason: String) {
        self.poisoned.get_or_insert(reason);
    }

    /// End of the segments that are there.
    pub fn room_end(&self) -> u64 {
        self.room_end
    }

    /// Segments are there up to `position`.
    pub fn extend_room(&mut self, position: u64) {
        assert!(position.is_multiple_of(self.shape.segment_bytes));
        self.room_end = self.room_end.max(position);
        self.starved = false;
    }

    /// The next segment could not be had.
    pub fn starve(&mut self) {
        self.starved = true;
    }

    /// Whether the next segment was wanted and could not be had.
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// Takes no messages, for `reason`, or takes them again. Control entries go on.
    pub fn close_to_messages(&mut self, reason: Option<String>) {
        self.closed_to_messages = reason;
    }

    /// Why no messages are taken although the log itself is well.
    pub fn closed_to_messages(&self) -> Option<&str> {
        self.closed_to_messages.as_deref()
    }

    /// Whether messages of `bytes` in all, each of at most `entry_bytes`, may be appended now. They leave a reserve
    /// of room for control entries: who consumes must be able to commit while nobody can send.
    pub fn admit(&self, bytes: usize, entry_bytes: usize) -> Result<(), Refused> {
        self.admit_entries(bytes, entry_bytes)?;
        let shard = self.shape.shard;
        if let Some(reason) = &self.closed_to_messages {
            return Err(Refused::DiskFull { shard, reason: reason.clone() });
        }
        self.check_room(bytes, entry_bytes, self.shape.reserve_bytes())
    }

    /// Whether a group of entries of `bytes` in all may be appended now, see [`CommitLog::begin_group`]. It leaves the
    /// reserve as a message does.
    pub fn admit_group(&self, bytes: usize) -> Result<(), Refused> {
        self.admit(bytes, bytes)
    }

    /// Whether a control entry of `bytes` may be appended now.
    pub fn admit_control(&self, bytes: usize) -> Result<(), Refused> {
        self.admit_entries(bytes, bytes)?;
        self.check_room(bytes, bytes, 0)
    }

    fn check_room(&self, bytes: usize, entry_bytes: usize, reserve: u64) -> Result<(), Refused> {
        let end = self.appended + self.space_for(bytes as u64, entry_bytes as u64);
        if end + reserve <= self.room_end {
            return Ok(());
        }
        if !self.starved {
            // The next segment is on its way.
            let (inflight, limit) = (self.inflight_bytes(), self.shape.inflight_bytes_max);
            return Err(Refused::Busy { shard: self.shape.shard, inflight, limit });
        }
        let left = self.room_end.saturating_sub(self.appended);
        let reason = format!(
            "no room for the next segment; room_left={left} reserve={reserve} wanted={bytes} bytes"
        );
        Err(Refused::DiskFull { shard: self.shape.shard, reason })
    }

    /// Most bytes that entries of `bytes` in all can take up: with the headers of their batches, and with what stays
    /// empty at the end of a segment because the next entry does not fit.
    fn space_for(&self, bytes: u64, entry_bytes: u64) -> u64 {
        let header = HEADER_BYTES as u64;
        let batches = 2 * (bytes / self.shape.payload_bytes_max() as u64) + 2;
        let space = bytes + batches * header;
        let segment_left =
            self.segment_of(self.appended) + self.shape.segment_bytes - self.appended;
        if space + header <= segment_left {
            return space + header;
        }
        let ends = (space + header - segment_left) / self.shape.segment_bytes + 2;
        space + ends * (entry_bytes + 2 * header)
    }

    fn admit_entries(&self, bytes: usize, entry_bytes: usize) -> Result<(), Refused> {
        let Shape { shard, inflight_bytes_max: limit, entry_bytes_max, .. } = self.shape;
        if let Some(reason) = &self.poisoned {
            return Err(Refused::Poisoned { shard, reason: reason.clone() });
        }
        if entry_bytes > entry_bytes_max {
            return Err(Refused::TooLarge { bytes: entry_bytes, limit: entry_bytes_max });
        }
        let inflight = self.inflight_bytes();
        let ever = entry_bytes_max.max(limit as usize);
        if bytes > ever {
            return Err(Refused::TooLarge { bytes, limit: ever });
        }
        if inflight > 0 && inflight + bytes as u64 > limit {
            return Err(Refused::Busy { shard, inflight, limit });
        }
        Ok(())
    }

    /// Appends an admitted entry of `bytes`, written by `fill`, which learns its position. Returns that position.
    pub fn append(&mut self, bytes: usize, now: i64, fill: impl FnOnce(u64, &mut [u8])) -> u64 {
        assert!(bytes <= self.shape.entry_bytes_max);
        assert!(self.poisoned.is_none());
        self.make_room(bytes, now);
        let position = self.appended;
        self.ring.fill(position, bytes, |slot| fill(position, slot));
        self.appended += bytes as u64;
        if let Some(open) = &mut self.open {
            open.entry_count += 1;
            open.last_store_ms = now;
        }
        position
    }

    /// The next entries, of `bytes` in all, are a group: they lie in one batch, so that they are there together or not at
    /// all. They were admitted by [`CommitLog::admit_group`] and are appended by [`CommitLog::append`] before anything
    /// else.
    pub fn begin_group(&mut self, bytes: usize, now: i64) {
        assert!(bytes <= self.shape.entry_bytes_max);
        self.make_room(bytes, now);
        let group_end = self.appended + bytes as u64;
        if let Some(open) = &mut self.open {
            open.group_end = group_end;
        }
    }

    /// Appends a batch without entries. The first thing that a start writes and syncs: every later batch of its
    /// epoch then lies behind a durable one, so no two starts that wrote anything share an epoch.
    pub fn append_start(&mut self, now: i64) {
        assert!(self.open.is_none());
        self.make_room(0, now);
        self.close_batch();
    }

    /// What to write next, if anything: all closed batches that lie together, the open one closed among them.
    /// The next call must come after [`CommitLog::written`].
    pub fn take_write(&mut self) -> Option<Write> {
        if self.closed.is_empty() {
            self.close_batch();
        }
        let first = self.closed.pop_front()?;
        let segment = self.segment_of(first.position);
        let mut to = first.end;
        while let Some(next) = self.closed.front() {
            if next.position != to || next.end - first.position > WRITE_BYTES_MAX {
                break;
            }
            if self.segment_of(next.position) != segment {
                break;
            }
            to = next.end;
            self.closed.pop_front();
        }
        Some(Write { segment, from: first.position, to })
    }

    /// The blocks of a write: the end of what was written before, the new bytes, zeros up to the block's end.
    pub fn copy_blocks(&self, write: &Write, out: &mut [u8]) {
        assert!(out.len() == write.bytes());
        let used = (write.to - write.block_start()) as usize;
        let (bytes, padding) = out.split_at_mut(used);
        self.ring.copy_to(write.block_start(), bytes);
        padding.fill(0);
    }

    /// A write reached the disk. `synced`: and is durable. `committed` moves by the flush policy's rule.
    pub fn written(&mut self, write: &Write, synced: bool, committed: bool) {
        assert!(write.to <= self.appended);
        if synced {
            self.synced(write.to);
        }
        if committed {
            assert!(write.to >= self.committed);
            self.committed = write.to;
        }
    }

    /// Everything before `position` is durable.
    pub fn synced(&mut self, position: u64) {
        assert!(position <= self.appended);
        self.flushed = self.flushed.max(position);
    }

    /// Start of the segment that `position` lies in.
    pub fn segment_of(&self, position: u64) -> u64 {
        position - position % self.shape.segment_bytes
    }

    /// Makes sure that a batch is open and has room for an entry of `bytes` within its segment.
    fn make_room(&mut self, bytes: usize, now: i64) {
        if let Some(open) = &self.open {
            let payload = (self.appended - open.position) as usize - HEADER_BYTES;
            let grouped = self.appended < open.group_end;
            let full = open.entry_count > 0 && payload + bytes > self.shape.payload_bytes_max();
            if grouped {
                assert!(self.appended + bytes as u64 <= open.group_end, "a group has a stranger");
            } else if full || !self.fits(bytes) {
                self.close_batch();
            }
        }
        if self.open.is_none() {
            if !self.fits(HEADER_BYTES + bytes) {
                self.end_segment(now);
            }
            self.open_batch(now);
        }
    }

    /// Whether `bytes` and the mark that ends the segment still fit.
    fn fits(&self, bytes: usize) -> bool {
        let segment_end = self.segment_of(self.appended) + self.shape.segment_bytes;
        self.appended + (bytes + HEADER_BYTES) as u64 <= segment_end
    }

    fn open_batch(&mut self, now: i64) {
        assert!(self.open.is_none());
        let position = self.appended;
        self.ring.fill(position, HEADER_BYTES, |slot| slot.fill(0));
        self.appended += HEADER_BYTES as u64;
        self.open = Some(OpenBatch {
            position,
            entry_count: 0,
            group_end: 0,
            first_store_ms: now,
            last_store_ms: now,
        });
    }

    fn close_batch(&mut self) {
        let Some(open) = self.open.take() else { return };
        let payload_at = open.position + HEADER_BYTES as u64;
        let payload_bytes = (self.appended - payload_at) as usize;
        let header = Header {
            kind: Kind::Entries,
            payload_bytes: payload_bytes as u32,
            position: open.position,
            durable_until: self.flushed,
            epoch: self.shape.epoch,
            entry_count: open.entry_count,
            first_store_ms: open.first_store_ms,
            last_store_ms: open.last_store_ms,
            log_id: self.shape.log_id,
        };
        let encoded = header.encode(self.ring.parts(payload_at, payload_bytes));
        self.ring.overwrite(open.position, &encoded);
        self.closed.push_back(ClosedBatch { position: open.position, end: self.appended });
    }

    /// Marks the end of the current segment and moves on to the next.
    fn end_segment(&mut self, now: i64) {
        let position = self.appended;
        let header = Header {
            kind: Kind::SegmentEnd,
            payload_bytes: 0,
            position,
            durable_until: self.flushed,
            epoch: self.shape.epoch,
            entry_count: 0,
            first_store_ms: now,
            last_store_ms: now,
            log_id: self.shape.log_id,
        };
        let encoded = header.encode((b"", b""));
        self.ring.fill(position, batch::HEADER_BYTES, |slot| slot.copy_from_slice(&encoded));
        self.closed.push_back(ClosedBatch { position, end: position + HEADER_BYTES as u64 });
        self.appended = self.segment_of(position) + self.shape.segment_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1 << 16;

    fn log(position: u64) -> CommitLog {
        let shape = Shape {
            shard: 1,
            log_id: 7,
            epoch: 2,
            segment_bytes: SEGMENT,
            inflight_bytes_max: 100_000,
            entry_bytes_max: 16_384,
        };
        let mut log = CommitLog::resume(shape, TailRing::new(1 << 18, 16_384), position, &[]);
        log.extend_room(16 * SEGMENT);
        log
    }

    fn append(log: &mut CommitLog, bytes: usize) -> u64 {
        log.append(bytes, 5, |position, slot| slot.fill(position as u8))
    }

    /// Commits everything; returns the writes.
    fn drain(log: &mut CommitLog) -> Vec<Write> {
        let mut writes = Vec::new();
        while let Some(write) = log.take_write() {
            log.written(&write, true, true);
            writes.push(write);
        }
        writes
    }

    #[test]
    fn entries_that_arrive_during_a_write_share_the_next_one() {
        let mut log = log(0);
        assert_eq!(append(&mut log, 100), 64);
        let first = log.take_write().expect("an open batch");
        assert_eq!(append(&mut log, 100), 164 + 64);
        assert_eq!(append(&mut log, 100), 328);
        assert_eq!((log.committed(), log.appended()), (0, 428));
        log.written(&first, true, true);
        assert_eq!((log.committed(), log.flushed()), (164, 164));
        let second = Write { segment: 0, from: 164, to: 428 };
        assert_eq!(drain(&mut log), [second]);
        assert_eq!(log.take_write(), None);
        assert_eq!((second.file_position(), second.bytes()), (0, 4096));

        let mut blocks = vec![9; 4096];
        log.copy_blocks(&second, &mut blocks);
        let header = Header::decode(&blocks[164..], 164, 7).expect("the second batch");
        assert_eq!((header.entry_count, header.durable_until), (2, 164));
        assert!(Header::decode(&blocks, 0, 7).is_ok(), "the first block repeats what was there");
        assert_eq!(blocks[428..], [0; 4096 - 428]);
    }

    #[test]
    fn a_full_batch_is_closed_and_closed_batches_go_out_together() {
        let mut log = log(0);
        let limit = log.shape().payload_bytes_max();
        assert_eq!(limit, 4096);
        let mut ends = Vec::new();
        for _ in 0..3 {
            append(&mut log, 3_000);
            ends.push(log.appended());
        }
        assert_eq!(ends, [3_064, 6_128, 9_192]);
        assert_eq!(drain(&mut log).len(), 2, "what is closed first, then the open one");
        append(&mut log, 10_000);
        assert_eq!(log.appended(), 9_192 + 64 + 10_000, "a single large entry is a batch");
    }

    #[test]
    fn a_group_lies_in_one_batch_whatever_is_open() {
        let mut log = log(0);
        let limit = log.shape().payload_bytes_max();
        append(&mut log, 3_000);
        for (parts, total) in [([1_000, 500], 1_500), ([4_000, 3_000], 7_000)] {
            log.admit_group(total).expect("room");
            log.begin_group(total, 5);
            let first = append(&mut log, parts[0]);
            assert_eq!(append(&mut log, parts[1]), first + parts[0] as u64, "no header between");
        }
        assert!(7_000 > limit);
        let lonely = append(&mut log, 100);
        drain(&mut log);
        let mut blocks = vec![0; lonely as usize];
        log.ring().copy_to(0, &mut blocks);
        let mut at = 0;
        let mut counts = Vec::new();
        while at + 64 < lonely {
            let header = Header::decode(&blocks[at as usize..], at, 7).expect("a batch");
            counts.push(header.entry_count);
            at = header.end();
        }
        assert_eq!(counts, [1, 2, 2], "and what follows a large one is a batch of its own");
        assert!(matches!(log.admit_group(20_000), Err(Refused::TooLarge { .. })));
    }

    #[test]
    fn a_segment_ends_with_a_mark_that_always_fits() {
        for last in 1..300 {
            let mut log = log(0);
            while log.appended() + 16_384 + 300 < SEGMENT {
                append(&mut log, 16_000);
                drain(&mut log);
            }
            let left = (SEGMENT - log.appended()) as usize;
            append(&mut log, left.saturating_sub(last).clamp(1, 16_384));
            let next = append(&mut log, 1_000);
            let writes = drain(&mut log);
            assert!(writes.iter().all(|write| write.to <= write.segment + SEGMENT));
            if next > SEGMENT {
                assert!(next >= SEGMENT + 64);
                let end = writes.iter().find(|write| write.segment == 0).expect("the mark");
                let mut blocks = vec![0; end.bytes()];
                log.copy_blocks(end, &mut blocks);
                let at = (end.to - 64 - end.block_start()) as usize;
                let mark = Header::decode(&blocks[at..], end.to - 64, 7).expect("the mark");
                assert_eq!(mark.kind, Kind::SegmentEnd);
            }
            assert_eq!(log.committed(), log.appended());
        }
    }

    #[test]
    fn what_waits_for_the_disk_is_bounded_and_a_poisoned_log_takes_nothing() {
        let mut log = log(0);
        assert!(matches!(log.admit(20_000, 20_000), Err(Refused::TooLarge { .. })));
        assert!(matches!(log.admit(1 << 30, 10), Err(Refused::TooLarge { .. })));
        let mut count = 0;
        while log.admit(16_384, 16_384).is_ok() {
            append(&mut log, 16_384);
            count += 1;
        }
        assert!((3..8).contains(&count));
        assert!(matches!(log.admit(16_384, 16_384), Err(Refused::Busy { shard: 1, .. })));
        let writes = drain(&mut log);
        assert!(writes.windows(2).all(|pair| pair[0].segment <= pair[1].segment));
        log.admit(16_384, 16_384).expect("room again");
        log.poison("no sync".into());
        log.poison("later".into());
        assert_eq!(log.admit(1, 1), Err(Refused::Poisoned { shard: 1, reason: "no sync".into() }));
    }

    #[test]
    fn a_log_resumes_within_a_block() {
        let shape = *log(0).shape();
        let ring = TailRing::new(1 << 18, 16_384);
        let mut log = CommitLog::resume(shape, ring, 4_096 + 10, b"0123456789");
        append(&mut log, 10);
        let write = log.take_write().expect("a write");
        let mut blocks = vec![0; write.bytes()];
        log.copy_blocks(&write, &mut blocks);
        assert_eq!((write.file_position(), &blocks[..10]), (4_096, b"0123456789".as_slice()));
    }
}
