//! What an index file says besides entries and keys, taken from the state in one step.
//!
//! A capture is exact for one position of the log, at or before `committed`: what was published behind it is left out,
//! whatever happens while the file is being written.

use crate::{
    consume_queue::Entry,
    index::Row,
    queue_table::Queue,
    store_state::{QueueSlot, StoreState},
};

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
    /// to `committed` when more than `entries_max` entries are in memory only.
    pub(crate) fn wants_index(&self, entries_max: u64) -> Option<u64> {
        let segment_end = self.log.segment_of(self.indexed_to) + self.log.shape().segment_bytes;
        if self.log.committed() >= segment_end {
            return Some(segment_end);
        }
        (self.unindexed > entries_max).then(|| self.log.committed())
    }

    /// The state as of `to`.
    pub fn capture(&self, to: u64) -> Capture {
        assert!(self.indexed_to < to);
        let rows = self.queues.live().filter_map(|(slot, queue)| Some((row_of(queue, to)?, slot)));
        let mut found: Vec<(Row, QueueSlot)> = rows.collect();
        found.sort_unstable_by_key(|(row, _)| row.number);
        let last = found.last().map_or(0, |(row, _)| row.number + 1);
        let mut topics: Vec<Box<str>> = Vec::new();
        let mut named = vec![None; self.queues.topic_slots()];
        for (row, slot) in &mut found {
            let queue = &self.queues[*slot];
            row.topic = *named[queue.topic.index()].get_or_insert_with(|| {
                topics.push(self.queues.topic_of(queue).into());
                topics.len() as u32 - 1
            });
        }
        let (rows, slots) = found.into_iter().unzip();
        let store_ms = self.store_ms_between(self.indexed_to, to);
        let next_number = last.max(self.numbers_in_index);
        Capture {
            from: self.indexed_to,
            to,
            topics,
            rows,
            slots,
            next_number,
            clock_ms: self.clock_ms,
            epoch: self.epoch_before(to),
            store_ms,
        }
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

    /// An index file of this capture is durable. Entries before `keep_from` leave memory.
    pub(crate) fn indexed(&mut self, capture: &Capture, keep_from: u64) {
        assert!(self.indexed_to == capture.from);
        for (row, slot) in capture.rows.iter().zip(&capture.slots) {
            let queue = &mut self.queues[*slot];
            if queue.number() == Some(row.number) && !queue.is_removed() {
                queue.indexed = row.next;
                queue.in_index = true;
            }
        }
        self.indexed_to = capture.to;
        self.numbers_in_index = capture.next_number;
        self.keys.release_before(capture.to);
        self.release_store_ms_before(capture.to);
        self.unindexed = 0;
        let release = keep_from.min(capture.to);
        for queue in self.queues.live_mut() {
            queue.entries.release_before(release);
            self.unindexed += (queue.entries.max() - queue.indexed) as u64;
        }
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

/// Store timestamps are noted once a second: the range of an index file is wider than its messages' by this at most.
const CLOCK_MARK_MS: i64 = 1_000;
