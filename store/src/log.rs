//! The commit log of one shard as a state machine: where bytes go, and which of them are safe.
//!
//! Four positions, each only grows: `appended`, `written`, `flushed`, `committed`; none passes the first, `flushed` never
//! passes `written`. Appending assigns positions at once and gathers entries in an open batch in the [`TailRing`];
//! [`CommitLog::take_write`] closes it and says what must go to disk; [`CommitLog::written`] moves what is there;
//! [`CommitLog::advance`] moves the gate by its rule. A log is led, then entries are appended here, or follows another
//! one, then whole batches of its leader are accepted at its end. Nothing here does I/O.

use crate::{
    batch::{self, HEADER_BYTES, Header, Kind, PAYLOAD_BYTES_MAX},
    error::Refused,
    layout::Layout,
    lineage::{EPOCH_ENTRY_BYTES, EpochEntry, EpochStart},
    offset::{CONTROL_END, MESSAGES_END, POSITION_MAX, STARTS_END},
    ring::TailRing,
    state::ControlEntry,
};
use runtime::{BLOCK_BYTES, Signal};
use std::{cell::Cell, collections::VecDeque, rc::Rc};

#[cfg(test)]
mod tests;

/// Most bytes of one disk write, when more than one closed batch waits: large enough for full disk bandwidth.
pub const WRITE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Most room kept for control entries: a thousand offsets a second, coalesced, for hours.
const RESERVE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What never changes while a log is open.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Shard whose log it is.
    pub shard: u16,
    /// Identifies the log, on each of its replicas.
    pub log_id: u64,
    /// Store id of this store: batches closed here name it as their writer.
    pub writer: u64,
    /// Where segments begin and end.
    pub layout: Layout,
    /// Most bytes appended and not committed.
    pub inflight_bytes_max: u64,
    /// Largest entry.
    pub entry_bytes_max: usize,
}

impl Shape {
    /// Most payload bytes of a batch with more than one entry. A small share of a segment at most, because a damaged
    /// batch is lost as a whole.
    pub fn payload_bytes_max(&self) -> usize {
        PAYLOAD_BYTES_MAX.min((self.layout.segment_bytes() / 16) as usize)
    }

    /// What of half the ring is not for what is in flight.
    fn spare_bytes(&self) -> usize {
        self.entry_bytes_max + 2 * BLOCK_BYTES
    }

    /// Room that may be asked for at once; no more than a large segment, which a small disk may have no more room for.
    pub(crate) fn burst_bytes(&self) -> u64 {
        let burst = self.inflight_bytes_max + 2 * self.entry_bytes_max as u64;
        burst.min(self.layout.segment_bytes())
    }

    /// What an entry of `bytes` takes of a segment that holds nothing else.
    fn alone_bytes(bytes: u64) -> u64 {
        bytes + 2 * HEADER_BYTES as u64
    }
}

/// Where a log goes on.
#[derive(Clone, Copy, Debug)]
pub struct Resume<'a> {
    /// Everything before is on disk.
    pub position: u64,
    /// What the disk holds of the block that `position` is in, up to it.
    pub tail: &'a [u8],
    /// Everything before may be read.
    pub committed: u64,
    /// Epoch of the last batch; 0 for an empty log.
    pub epoch: u32,
    /// Whether entries are appended here; if not, until [`CommitLog::begin_epoch`].
    pub leads: bool,
}

/// What this disk must have done to bytes before they may be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// They are durable.
    Flushed,
    /// They are written; what of it is not durable yet, a power cut may take.
    Written,
}

/// Which bytes are committed: acknowledged and visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitRule {
    /// What this disk must have done.
    pub stored: Stored,
    /// What others allow: how far enough replicas have acknowledged, or, on a replica, how far its leader says. Without
    /// replicas [`CommitRule::ALONE`].
    pub limit: u64,
}

impl CommitRule {
    /// [`CommitRule::limit`] of a log whose disk alone decides.
    pub const ALONE: u64 = u64::MAX;
}

/// The log.
pub struct CommitLog {
    shape: Shape,
    ring: TailRing,
    open: Option<OpenBatch>,
    closed: VecDeque<ClosedBatch>,
    /// Where the next batch header or entry goes.
    appended: u64,
    written: u64,
    flushed: u64,
    committed: u64,
    /// Of the newest batch.
    epoch: u32,
    leads: bool,
    /// End of the segments that are there. Nothing is appended behind it.
    room_end: u64,
    /// Room behind the last entry that somebody would have liked to find, bytes.
    room_asked: Cell<u64>,
    /// Raised when somebody does.
    room_wanted: Rc<Signal>,
    /// The next segment was wanted and could not be had.
    starved: bool,
    /// Something was refused since, because there is no room left.
    refused_for_room: Cell<bool>,
    /// Why no messages are taken although the log itself is well: the disk is nearly full.
    closed_to_messages: Option<String>,
    poisoned: Option<String>,
}

/// Where entries can end at most.
struct Fit {
    end: u64,
    /// Whether a whole segment may stay empty because an entry does not fit into it.
    skips: bool,
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
    /// A log that goes on where `from` says.
    pub fn resume(mut shape: Shape, mut ring: TailRing, from: Resume<'_>) -> CommitLog {
        let Resume { position, tail, committed, epoch, leads } = from;
        assert!(committed <= position);
        let largest = Shape::alone_bytes(shape.entry_bytes_max as u64);
        assert!(shape.layout.segment_bytes() >= largest);
        assert!(tail.len() as u64 == position % BLOCK_BYTES as u64);
        // What is not on disk yet must stay in the ring, with the block before it and, at the end of a segment, the
        // space that the next entry did not fit into.
        let spare = shape.spare_bytes();
        assert!(ring.capacity() / 2 > spare, "the tail cache is too small for the largest record");
        // The marks of segments that the largest entry does not fit into stay in it, too.
        let small = shape.layout.end_of_smaller(largest) as usize;
        assert!(ring.capacity() >= small + spare, "the tail cache is smaller than small segments");
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
            written: position,
            flushed: position,
            committed,
            epoch,
            leads,
            room_end: shape.layout.end_behind(position),
            room_asked: Cell::new(0),
            room_wanted: Rc::default(),
            starved: false,
            refused_for_room: Cell::new(false),
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

    /// Everything before is durable on this disk.
    pub fn flushed(&self) -> u64 {
        self.flushed
    }

    /// Everything before is written to this disk.
    pub fn written_until(&self) -> u64 {
        self.written
    }

    /// Epoch of the newest batch.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether entries are appended here. If not, the log follows that of another store.
    pub fn leads(&self) -> bool {
        self.leads
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
        assert!(self.shape.layout.is_start(position));
        self.room_end = self.room_end.max(position);
        if self.room_end.saturating_sub(self.appended) >= self.room_asked.get() {
            self.room_asked.set(0);
        }
        self.starved = false;
        self.refused_for_room.set(false);
    }

    /// Room behind the last entry that somebody would have liked to find, until it is there, bytes.
    pub fn room_asked(&self) -> u64 {
        self.room_asked.get()
    }

    /// Raised when room is asked for.
    pub(crate) fn room_wanted(&self) -> Rc<Signal> {
        Rc::clone(&self.room_wanted)
    }

    /// The next segment could not be had.
    pub fn starve(&mut self) {
        self.starved = true;
    }

    /// Whether the next segment was wanted and could not be had.
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// Whether something was refused because there is no room left, and none since.
    pub(crate) fn lacks_room(&self) -> bool {
        self.refused_for_room.get()
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
        let shard = self.shape.shard;
        if let Some(reason) = &self.closed_to_messages {
            self.admit_entries(bytes, entry_bytes)?;
            return Err(Refused::DiskFull { shard, reason: reason.clone() });
        }
        self.admit_beside_reserve(bytes, entry_bytes)
    }

    /// Whether a group of entries of `bytes` in all may be appended now, see [`CommitLog::begin_group`]. It leaves the
    /// reserve as a message does. A log that is closed to messages takes it all the same: only so does become less what
    /// waits, and its segments can go.
    pub fn admit_group(&self, bytes: usize) -> Result<(), Refused> {
        self.admit_beside_reserve(bytes, bytes)
    }

    fn admit_beside_reserve(&self, bytes: usize, entry_bytes: usize) -> Result<(), Refused> {
        self.admit_entries(bytes, entry_bytes)?;
        self.check_positions(bytes, MESSAGES_END)?;
        self.check_room(bytes, entry_bytes, self.reserve_bytes())
    }

    /// Whether a control entry of `bytes` may be appended now.
    pub fn admit_control(&self, bytes: usize) -> Result<(), Refused> {
        self.admit_entries(bytes, bytes)?;
        self.check_positions(bytes, CONTROL_END)?;
        self.check_room(bytes, bytes, 0)
    }

    /// Whether `bytes` more end before `limit`. Limits lie gigabytes before the end of all positions, so that headers and
    /// the ends of segments need not be counted.
    fn check_positions(&self, bytes: usize, limit: u64) -> Result<(), Refused> {
        let position = self.appended;
        if position + bytes as u64 <= limit {
            return Ok(());
        }
        Err(Refused::PositionsUsedUp { shard: self.shape.shard, position, limit })
    }

    /// Room that messages leave to control entries when there is no next segment.
    pub fn reserve_bytes(&self) -> u64 {
        RESERVE_BYTES_MAX.min(self.shape.layout.segment_bytes().min(self.room_end) / 8)
    }

    fn check_room(&self, bytes: usize, entry_bytes: usize, reserve: u64) -> Result<(), Refused> {
        let Fit { end, skips } = self.fit(bytes as u64, entry_bytes as u64);
        if skips && self.inflight_bytes() > 0 {
            let (inflight, limit) = (self.inflight_bytes(), self.shape.inflight_bytes_max);
            return Err(Refused::Busy { shard: self.shape.shard, inflight, limit });
        }
        if end + reserve <= self.room_end {
            return Ok(());
        }
        let left = self.room_end.saturating_sub(self.appended);
        if !self.starved {
            let (shard, wanted) = (self.shape.shard, end + reserve - self.appended);
            self.ask_for_room(wanted);
            return Err(Refused::RoomAwaited { shard, left, wanted });
        }
        self.refused_for_room.set(true);
        let reason = format!(
            "no room for the next segment; room_left={left} reserve={reserve} wanted={bytes} bytes"
        );
        Err(Refused::DiskFull { shard: self.shape.shard, reason })
    }

    fn ask_for_room(&self, bytes: u64) {
        if self.room_asked.replace(self.room_asked.get().max(bytes)) < bytes {
            self.room_wanted.raise();
        }
    }

    /// Where entries of `bytes` in all can end at most: with the headers of their batches, and with what stays empty at the
    /// end of a segment because the next entry does not fit.
    fn fit(&self, bytes: u64, entry_bytes: u64) -> Fit {
        let header = HEADER_BYTES as u64;
        let batches = 2 * (bytes / self.shape.payload_bytes_max() as u64) + 2;
        let mut space = bytes + batches * header;
        let mut at = self.appended;
        let mut skips = false;
        loop {
            let end = self.shape.layout.end_behind(at);
            if space + header <= end - at {
                return Fit { end: at + space + header, skips };
            }
            let used = (end - at).saturating_sub(Shape::alone_bytes(entry_bytes));
            skips |= used == 0 && at > self.appended;
            space -= used;
            at = end;
        }
    }

    fn admit_entries(&self, bytes: usize, entry_bytes: usize) -> Result<(), Refused> {
        let Shape { shard, inflight_bytes_max: limit, entry_bytes_max, .. } = self.shape;
        if let Some(reason) = &self.poisoned {
            return Err(Refused::Poisoned { shard, reason: reason.clone() });
        }
        if !self.leads {
            return Err(Refused::Replica { shard });
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
        assert!(self.leads);
        self.make_room(bytes, now);
        let position = self.appended;
        self.ring.fill(position, bytes, |slot| fill(position, slot));
        self.appended += bytes as u64;
        if let Some(open) = &mut self.open {
            open.entry_count += 1;
            open.last_store_ms = now;
        }
        let burst = self.shape.burst_bytes();
        if self.appended + burst > self.room_end {
            self.ask_for_room(burst);
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

    /// Whether the batch with which an epoch begins may be appended now.
    pub fn admit_epoch(&self) -> Result<(), Refused> {
        if let Some(reason) = &self.poisoned {
            let shard = self.shape.shard;
            return Err(Refused::Poisoned { shard, reason: reason.clone() });
        }
        self.check_start()?;
        self.check_room(EPOCH_ENTRY_BYTES, EPOCH_ENTRY_BYTES, 0)
    }

    /// Whether there are positions for the batch with which an epoch begins.
    pub(crate) fn check_start(&self) -> Result<(), Refused> {
        self.check_positions(EPOCH_ENTRY_BYTES, STARTS_END)
    }

    /// Begins an epoch that is led here, with its start batch. Whoever leads waits until that is committed before
    /// anything of the epoch is served. Where the epoch begins: behind all that was appended before.
    pub fn begin_epoch(&mut self, epoch: u32, now: i64) -> EpochStart {
        assert!(epoch > self.epoch);
        assert!(self.poisoned.is_none());
        self.close_batch();
        let start = self.appended;
        let writer = self.shape.writer;
        let entry = EpochEntry { writer, previous_epoch: self.epoch, previous_end: start };
        self.epoch = epoch;
        self.leads = true;
        self.make_room(EPOCH_ENTRY_BYTES, now);
        let position = self.appended;
        self.ring.fill(position, EPOCH_ENTRY_BYTES, |out| {
            ControlEntry::Epoch(entry).encode(out);
        });
        self.appended += EPOCH_ENTRY_BYTES as u64;
        if let Some(open) = &mut self.open {
            open.entry_count = 1;
        }
        self.close_batch();
        EpochStart { epoch, start, writer }
    }

    /// Whether a batch of `bytes` with this header fits at the end of a log that follows. `Ok(false)`: not now, the disk
    /// or the next segment is awaited.
    #[doc(hidden)]
    pub fn fits_batch(&self, header: &Header) -> Result<bool, &'static str> {
        let segment_end = self.shape.layout.end_behind(self.appended);
        let mark = match header.kind {
            Kind::Entries => HEADER_BYTES as u64,
            Kind::SegmentEnd => 0,
        };
        if header.end() + mark > segment_end {
            return Err("a batch runs over the end of its segment");
        }
        let bytes = header.end() - header.position;
        if bytes > self.ring.capacity() as u64 / 2 {
            return Err("a batch is larger than half of the tail cache");
        }
        if header.end() > POSITION_MAX {
            return Err("a batch lies behind the end of all positions");
        }
        let waiting = self.appended - self.written;
        let disk_keeps_up = waiting == 0 || waiting + bytes <= self.shape.inflight_bytes_max;
        Ok(disk_keeps_up && segment_end <= self.room_end)
    }

    /// Appends a whole batch of the leader as it is; [`CommitLog::fits_batch`] said yes.
    #[doc(hidden)]
    pub fn append_batch(&mut self, header: &Header, bytes: &[u8]) {
        assert!(!self.leads && self.open.is_none() && self.poisoned.is_none());
        assert!(header.position == self.appended && header.epoch >= self.epoch);
        assert!(bytes.len() as u64 == header.end() - header.position);
        // A slot of the ring holds no more than an entry.
        let mut at = header.position;
        for piece in bytes.chunks(BLOCK_BYTES.min(self.shape.entry_bytes_max.max(1))) {
            self.ring.fill(at, piece.len(), |slot| slot.copy_from_slice(piece));
            at += piece.len() as u64;
        }
        self.closed.push_back(ClosedBatch { position: header.position, end: at });
        self.epoch = header.epoch;
        self.appended = match header.kind {
            Kind::Entries => at,
            Kind::SegmentEnd => self.shape.layout.end_behind(header.position),
        };
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

    /// Most bytes appended and not committed from now on, as far as the ring has room for them.
    pub(crate) fn limit_inflight(&mut self, bytes_max: u64) {
        let room = self.ring.capacity() / 2 - self.shape.spare_bytes();
        self.shape.inflight_bytes_max = bytes_max.min(room as u64);
    }

    /// A write reached the disk. `synced`: and is durable.
    pub fn written(&mut self, write: &Write, synced: bool) {
        assert!(write.to <= self.appended && write.to >= self.written);
        self.written = write.to;
        if synced {
            self.synced(write.to);
        }
    }

    /// Everything before `position` is durable.
    pub fn synced(&mut self, position: u64) {
        assert!(position <= self.written);
        self.flushed = self.flushed.max(position);
    }

    /// Moves the gate as far as the rule allows. Whether it moved.
    pub fn advance(&mut self, rule: CommitRule) -> bool {
        let stored = match rule.stored {
            Stored::Flushed => self.flushed,
            Stored::Written => self.written,
        };
        let committed = stored.min(rule.limit).max(self.committed);
        std::mem::replace(&mut self.committed, committed) != committed
    }

    /// Start of the segment that `position` lies in.
    pub fn segment_of(&self, position: u64) -> u64 {
        self.shape.layout.start_of(position)
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
            while !self.fits(HEADER_BYTES + bytes) {
                self.end_segment(now);
            }
            self.open_batch(now);
        }
    }

    /// Whether `bytes` and the mark that ends the segment still fit.
    fn fits(&self, bytes: usize) -> bool {
        let segment_end = self.shape.layout.end_behind(self.appended);
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
            writer: self.shape.writer,
            epoch: self.epoch,
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
            writer: self.shape.writer,
            epoch: self.epoch,
            entry_count: 0,
            first_store_ms: now,
            last_store_ms: now,
            log_id: self.shape.log_id,
        };
        let encoded = header.encode((b"", b""));
        self.ring.fill(position, batch::HEADER_BYTES, |slot| slot.copy_from_slice(&encoded));
        self.closed.push_back(ClosedBatch { position, end: position + HEADER_BYTES as u64 });
        self.appended = self.shape.layout.end_behind(position);
    }
}
