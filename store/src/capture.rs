//! What an index file says besides entries and keys, taken from the state in pieces of work; when one is wanted; and how
//! what it has leaves memory.
//!
//! A capture is exact for one position of the log, at or before `committed`: what was published behind it is left out,
//! whatever happens while the file is being written.

use crate::{
    consume_queue::Entry,
    error::Refused,
    index::Row,
    queue_table::Queue,
    store_state::{QueueSlot, StoreState},
};
use std::{cell::RefCell, future::Future};

/// The state as of `to`, for an index file over `[from, to)`.
pub struct Capture {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub topics: Vec<Box<str>>,
    pub rows: Vec<Row>,
    /// The queue of each row.
    pub slots: Vec<QueueSlot>,
    pub(crate) next_number: u32,
    pub(crate) clock_ms: i64,
    /// Of the last batch before `to`.
    pub(crate) epoch: u32,
    /// Messages stored in the range are not older and not newer than this, ms; 0 and 0 without one.
    pub(crate) store_ms: (i64, i64),
}

impl Capture {
    /// Entries in all rows.
    pub(crate) fn messages(&self) -> u64 {
        self.rows.iter().map(|row| u64::from(row.count)).sum()
    }
}

impl StoreState {
    /// Up to where the next index file goes, if it is time for one: to the end of a segment that the log has left, or
    /// to `committed` when more than `entries_max` entries, or the keys of as many usual messages, are in memory only.
    pub(crate) fn wants_index(&self, entries_max: u64) -> Option<u64> {
        let segment_end = self.log.shape().layout.end_behind(self.indexed_to);
        let committed = self.log.committed();
        if committed >= segment_end {
            return Some(segment_end);
        }
        let keys_max = entries_max.saturating_mul(KEYS_PER_ENTRY);
        let many = self.unindexed > entries_max || self.keys.len() > keys_max;
        (many && committed > self.indexed_to).then_some(committed)
    }

    /// Messages are taken as long as memory holds no more entries, and keys of as many usual messages, that no index
    /// file covers.
    pub(crate) fn limit_unindexed(&mut self, entries: u64) {
        self.unindexed_max = UnindexedMax { entries, keys: entries.saturating_mul(KEYS_PER_ENTRY) };
    }

    /// Whether memory has room for entries and keys of more messages.
    pub(crate) fn admit_unindexed(&self) -> Result<(), Refused> {
        let UnindexedMax { entries: entries_max, keys: keys_max } = self.unindexed_max;
        let (entries, keys) = (self.unindexed, self.keys.len());
        if entries <= entries_max && keys <= keys_max {
            return Ok(());
        }
        let (shard, cause) = (self.shard(), self.index_failure.clone());
        Err(Refused::IndexBehind { shard, entries, entries_max, keys, keys_max, cause })
    }

    /// The state as of `to`, in one piece of work.
    pub fn capture(&self, to: u64) -> Capture {
        let mut capturing = Capturing::begin(self, to);
        while capturing.go_on(self) {}
        let Capturing { mut capture, mut found, .. } = capturing;
        found.sort_unstable_by_key(|(row, _)| row.number);
        capture.take(&found);
        capture
    }

    fn epoch_before(&self, position: u64) -> u32 {
        self.derived.lineage.before(position).map_or(0, |epoch| epoch.epoch)
    }

    /// An entry of a captured row. The topic may have been deleted since: then nobody will ever look.
    pub(crate) fn captured_entry(
        &self,
        slot: QueueSlot,
        number: u32,
        offset: i64,
        from: u64,
    ) -> Entry {
        let queue = &self.queues[slot];
        let entry = queue.entries.get(offset).filter(|_| queue.number() == Some(number));
        entry.unwrap_or_else(|| Entry::lost(from))
    }

    /// An index file of this capture is durable. Entries before `keep_from` leave memory. In one piece of work.
    pub(crate) fn indexed(&mut self, capture: &Capture, keep_from: u64) {
        let mut leaving = self.begin_indexed(capture, keep_from);
        while self.go_on_indexed(capture, &mut leaving) {}
    }

    /// An index file of this capture is durable, and is to be asked from this very moment on: its keys leave memory.
    pub(crate) fn begin_indexed(&mut self, capture: &Capture, keep_from: u64) -> Leaving {
        assert!(self.indexed_to == capture.from);
        self.indexed_to = capture.to;
        self.numbers_in_index = capture.next_number;
        self.keys.release_before(capture.to);
        self.release_store_ms_before(capture.to);
        self.unindexed = self.unindexed.saturating_sub(capture.messages());
        Leaving {
            row: 0,
            slot: 0,
            before: keep_from.min(capture.to),
            left: 0,
            since: self.published_entries,
        }
    }

    /// Goes on with what an index file has: its entries leave memory, queue by queue. Returns whether there is more.
    pub(crate) fn go_on_indexed(&mut self, capture: &Capture, leaving: &mut Leaving) -> bool {
        let to = capture.rows.len().min(leaving.row + PIECE_QUEUES);
        if leaving.row < to {
            let rows = capture.rows[leaving.row..to].iter();
            for (row, slot) in rows.zip(&capture.slots[leaving.row..to]) {
                let queue = &mut self.queues[*slot];
                if queue.number() == Some(row.number) && !queue.is_removed() {
                    queue.indexed = row.next;
                    queue.in_index = true;
                }
            }
            leaving.row = to;
            return true;
        }
        let slots = leaving.slot..leaving.slot + PIECE_QUEUES;
        let more = slots.end < self.queues.slot_count();
        for queue in self.queues.live_mut(slots.clone()) {
            queue.entries.release_before(leaving.before);
            leaving.left += (queue.entries.max() - queue.indexed) as u64;
        }
        leaving.slot = slots.end;
        if !more {
            // What was published meanwhile may be counted twice: until the next file.
            self.unindexed = leaving.left + (self.published_entries - leaving.since);
        }
        more
    }

    /// Queues that have a number, through `visit`, a piece of them from slot `from` on. Returns whether there are more.
    pub(crate) fn visit_numbers(
        &self,
        from: &mut usize,
        mut visit: impl FnMut(u32, QueueSlot),
    ) -> bool {
        let slots = *from..*from + PIECE_QUEUES;
        *from = slots.end;
        for (slot, queue) in self.queues.live_in(slots) {
            if let Some(number) = queue.number() {
                visit(number, slot);
            }
        }
        *from < self.queues.slot_count()
    }

    /// Between which times messages in a range were stored, generously.
    fn store_ms_between(&self, from: u64, to: u64) -> (i64, i64) {
        let first = self.clock_marks.partition_point(|(position, _)| *position <= from);
        let marks = self.clock_marks.iter().skip(first.saturating_sub(1));
        let times = marks.take_while(|(position, _)| *position < to).map(|(_, ms)| *ms);
        let range = times.fold(None, |range: Option<(i64, i64)>, ms| match range {
            None => Some((ms, ms + CLOCK_MARK_MS)),
            Some((first, last)) => Some((first.min(ms), last.max(ms + CLOCK_MARK_MS))),
        });
        range.unwrap_or_default()
    }

    /// A message at `position` was stored at `now`: notes it when the clock moved on enough, or back.
    pub(crate) fn mark_clock(&mut self, position: u64, now: i64) {
        let near = |last: &(u64, i64)| last.1 <= now && now - last.1 < CLOCK_MARK_MS;
        if !self.clock_marks.back().is_some_and(near) {
            self.clock_marks.push_back((position, now));
        }
    }

    fn release_store_ms_before(&mut self, position: u64) {
        while self.clock_marks.get(1).is_some_and(|(second, _)| *second <= position) {
            self.clock_marks.pop_front();
        }
    }
}

/// What stands before index files: most that memory may hold of messages that no index file covers.
#[derive(Clone, Copy)]
pub(crate) struct UnindexedMax {
    entries: u64,
    keys: u64,
}

impl UnindexedMax {
    pub(crate) const NONE: UnindexedMax = UnindexedMax { entries: u64::MAX, keys: u64::MAX };
}

/// How far what an index file has left memory.
pub(crate) struct Leaving {
    row: usize,
    slot: usize,
    /// Entries before this position leave.
    before: u64,
    /// Entries that are in memory only, of the queues seen so far.
    left: u64,
    /// Entries that were published when this began.
    since: u64,
}

/// A capture that is being taken, a piece of work at a time. Messages that come meanwhile lie behind it. A topic that is
/// deleted meanwhile is in it, in part, or not; its deletion is behind it, too, and durable before the file has a name.
struct Capturing {
    capture: Capture,
    found: Vec<(Row, QueueSlot)>,
    /// Number of each topic among those of the capture, by slot.
    named: Vec<Option<u32>>,
    slot: usize,
}

impl Capturing {
    fn begin(state: &StoreState, to: u64) -> Capturing {
        assert!(state.indexed_to < to);
        let capture = Capture {
            from: state.indexed_to,
            to,
            topics: Vec::new(),
            rows: Vec::new(),
            slots: Vec::new(),
            next_number: state.numbers_in_index,
            clock_ms: state.clock_ms,
            epoch: state.epoch_before(to),
            store_ms: state.store_ms_between(state.indexed_to, to),
        };
        Capturing { capture, found: Vec::new(), named: Vec::new(), slot: 0 }
    }

    /// Looks at some more queues. Returns whether there are more.
    fn go_on(&mut self, state: &StoreState) -> bool {
        let slots = self.slot..self.slot + PIECE_QUEUES;
        self.slot = slots.end;
        self.named.resize(state.queues.topic_slots(), None);
        for (slot, queue) in state.queues.live_in(slots) {
            let Some(mut row) = row_of(queue, self.capture.to) else { continue };
            let topics = &mut self.capture.topics;
            row.topic = *self.named[queue.topic.index()].get_or_insert_with(|| {
                topics.push(state.queues.topic_of(queue).into());
                topics.len() as u32 - 1
            });
            self.found.push((row, slot));
        }
        self.slot < state.queues.slot_count()
    }
}

impl Capture {
    /// The next rows, sorted.
    fn take(&mut self, found: &[(Row, QueueSlot)]) {
        self.rows.extend(found.iter().map(|(row, _)| *row));
        self.slots.extend(found.iter().map(|(_, slot)| *slot));
        let last = found.last().map_or(0, |(row, _)| row.number + 1);
        self.next_number = self.next_number.max(last);
    }
}

/// The state as of `to`. `pause` lets others run between pieces of work.
pub(crate) async fn capture<P, F>(state: &RefCell<StoreState>, to: u64, pause: &P) -> Capture
where
    P: Fn() -> F,
    F: Future<Output = ()>,
{
    let mut capturing = Capturing::begin(&state.borrow(), to);
    while capturing.go_on(&state.borrow()) {
        pause().await;
    }
    let Capturing { mut capture, found, .. } = capturing;
    if found.is_sorted_by_key(|(row, _)| row.number) {
        for piece in found.chunks(PIECE_QUEUES) {
            capture.take(piece);
            pause().await;
        }
        return capture;
    }
    // Numbers are spread over all that were ever given: buckets of some of them are sorted one by one.
    let last = found.iter().map(|(row, _)| row.number).max().unwrap_or(0);
    let width = last / (found.len() / PIECE_QUEUES + 1) as u32 + 1;
    let mut buckets = vec![Vec::new(); (last / width) as usize + 1];
    for piece in found.chunks(PIECE_QUEUES) {
        piece.iter().for_each(|found| buckets[(found.0.number / width) as usize].push(*found));
        pause().await;
    }
    for mut bucket in buckets {
        bucket.sort_unstable_by_key(|(row, _)| row.number);
        capture.take(&bucket);
        pause().await;
    }
    capture
}

/// What an index file up to `to` says about a queue; nothing about one that no message or file names.
fn row_of(queue: &Queue, to: u64) -> Option<Row> {
    let number = queue.number()?;
    let next = queue.entries.offset_at(to).max(queue.indexed);
    if next == queue.indexed && !queue.in_index {
        return None;
    }
    Some(Row {
        number,
        topic: 0,
        queue_id: queue.queue_id,
        count: (next - queue.indexed) as u32,
        first: 0,
        next,
        last_store_ms: queue.last_store_ms,
    })
}

/// Queues looked at in one piece of work.
const PIECE_QUEUES: usize = 4_096;
/// Keys of a usual message: its own and one that its producer gave it.
const KEYS_PER_ENTRY: u64 = 2;

/// Store timestamps are noted once a second: the range of an index file is wider than its messages' by this at most.
const CLOCK_MARK_MS: i64 = 1_000;
