//! Planning reads: which bytes of the log answer a pull. Decisions and their order are those of the Java broker
//! (offset too small, overflow by one, overflow badly, nothing matched).

use crate::{
    consume_queue::{ConsumeQueue, Entry},
    store_state::StoreState,
};

/// What a pull finds. Names are those of Java's `GetMessageStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStatus {
    /// Messages follow.
    Found,
    /// Messages were there, none matched the filter.
    NoMatchedMessage,
    /// The queue was never written.
    NoMessageInQueue,
    /// The offset is the queue's end: wait for more.
    OffsetOverflowOne,
    /// The offset lies behind the queue's end.
    OffsetOverflowBadly,
    /// The offset lies before the queue's first message.
    OffsetTooSmall,
}

impl PullStatus {
    /// Name as the Java broker puts it into the remark.
    pub fn name(self) -> &'static str {
        match self {
            PullStatus::Found => "FOUND",
            PullStatus::NoMatchedMessage => "NO_MATCHED_MESSAGE",
            PullStatus::NoMessageInQueue => "NO_MESSAGE_IN_QUEUE",
            PullStatus::OffsetOverflowOne => "OFFSET_OVERFLOW_ONE",
            PullStatus::OffsetOverflowBadly => "OFFSET_OVERFLOW_BADLY",
            PullStatus::OffsetTooSmall => "OFFSET_TOO_SMALL",
        }
    }
}

/// What a pull asks for.
#[derive(Clone, Copy, Debug)]
pub struct PullLimits {
    /// First queue offset wanted.
    pub offset: i64,
    /// Most messages.
    pub count_max: usize,
    /// Most bytes, unless the first message is larger.
    pub bytes_max: usize,
    /// Most entries looked at, matching or not.
    pub scan_max: usize,
}

/// What answers a pull.
#[derive(Debug, PartialEq, Eq)]
pub struct PullPlan {
    /// What was found.
    pub status: PullStatus,
    /// Where to go on.
    pub next_offset: i64,
    /// First offset of the queue.
    pub min_offset: i64,
    /// Behind the last offset of the queue.
    pub max_offset: i64,
    /// Records to send, in order.
    pub pieces: Vec<Entry>,
    /// Sum of their bytes.
    pub bytes: usize,
}

/// What a look at the tables in memory says about a pull.
#[derive(Debug, PartialEq, Eq)]
pub enum Planned {
    /// The whole answer.
    Now(PullPlan),
    /// Entries that it needs are in index files: [`crate::Store::plan_pull_on_disk`].
    OnDisk,
}

/// Entries picked so far for a pull.
pub(crate) struct Picking {
    limits: PullLimits,
    pub(crate) next: i64,
    pieces: Vec<Entry>,
    bytes: usize,
    scanned: usize,
}

impl Picking {
    pub(crate) fn new(limits: PullLimits, mut pieces: Vec<Entry>) -> Picking {
        pieces.clear();
        Picking { limits, next: limits.offset, pieces, bytes: 0, scanned: 0 }
    }

    /// Whether entries are still wanted.
    pub(crate) fn hungry(&self) -> bool {
        self.scanned < self.limits.scan_max && self.pieces.len() < self.limits.count_max
    }

    /// Most entries that may still be looked at.
    pub(crate) fn scan_left(&self) -> usize {
        self.limits.scan_max - self.scanned
    }

    /// Looks at the entry at `next`. `false`: the answer is complete without it.
    pub(crate) fn take(&mut self, entry: Entry, matches: &mut impl FnMut(i64) -> bool) -> bool {
        if !self.hungry() {
            return false;
        }
        // An entry of no bytes stands for a message that a damaged part of the log took along.
        if entry.bytes() > 0 && matches(entry.tags_code()) {
            let record = entry.bytes() as usize;
            if !self.pieces.is_empty() && self.bytes + record > self.limits.bytes_max {
                return false;
            }
            self.bytes += record;
            self.pieces.push(entry);
        }
        self.scanned += 1;
        self.next += 1;
        true
    }

    /// Looks at an entry that matches, at its place. `false`: the answer is complete without it.
    pub(crate) fn offer(&mut self, entry: Entry, offset: i64) -> bool {
        self.next = offset;
        self.take(entry, &mut |_| true)
    }

    pub(crate) fn plan(self, min_offset: i64, max_offset: i64) -> PullPlan {
        let status =
            if self.pieces.is_empty() { PullStatus::NoMatchedMessage } else { PullStatus::Found };
        let Picking { next, pieces, bytes, .. } = self;
        PullPlan { status, next_offset: next, min_offset, max_offset, pieces, bytes }
    }
}

impl StoreState {
    /// Plans a pull of queue `queue_id` of `topic`; `matches` sees each tags code. `pieces` is cleared and reused.
    pub fn plan_pull(
        &self,
        topic: &str,
        queue_id: u32,
        limits: PullLimits,
        pieces: Vec<Entry>,
        mut matches: impl FnMut(i64) -> bool,
    ) -> Planned {
        let mut picking = Picking::new(limits, pieces);
        let queue = match self.begin(topic, queue_id, limits.offset) {
            Ok(queue) => queue,
            Err(planned) => return planned,
        };
        while let Some(entry) = queue.get(picking.next) {
            if !picking.take(entry, &mut matches) {
                break;
            }
        }
        Planned::Now(picking.plan(queue.min(), queue.max()))
    }

    /// The same for a filter that has to see whole records: `selects` is given each of them. It ends early where a record has
    /// left the tail cache, and when it has looked at more than `look_bytes` of them.
    pub fn plan_pull_by_record(
        &self,
        topic: &str,
        queue_id: u32,
        limits: PullLimits,
        look_bytes: usize,
        selects: impl Fn(&[u8]) -> bool,
    ) -> Planned {
        let mut picking = Picking::new(limits, Vec::new());
        let queue = match self.begin(topic, queue_id, limits.offset) {
            Ok(queue) => queue,
            Err(planned) => return planned,
        };
        let (ring, mut looked) = (self.log.ring(), 0);
        let mut joined = Vec::new();
        while let Some(entry) = queue.get(picking.next).filter(|_| looked <= look_bytes) {
            let bytes = entry.bytes() as usize;
            if !ring.holds(entry.position(), bytes) {
                if picking.next == limits.offset {
                    return Planned::OnDisk;
                }
                break;
            }
            looked += bytes;
            let record = match ring.parts(entry.position(), bytes) {
                (record, []) => record,
                (first, second) => {
                    joined.clear();
                    joined.extend_from_slice(first);
                    joined.extend_from_slice(second);
                    &joined
                }
            };
            if !picking.take(entry, &mut |_| selects(record)) {
                break;
            }
        }
        Planned::Now(picking.plan(queue.min(), queue.max()))
    }

    /// The queue in which a pull finds entries from this offset on, or what answers it.
    fn begin(&self, topic: &str, queue_id: u32, offset: i64) -> Result<&ConsumeQueue, Planned> {
        let plan = |status, next_offset, min_offset, max_offset| {
            let pieces = Vec::new();
            let plan = PullPlan { status, next_offset, min_offset, max_offset, pieces, bytes: 0 };
            Err(Planned::Now(plan))
        };
        let Some(queue) = self.queue(topic, queue_id) else {
            return plan(PullStatus::NoMessageInQueue, 0, 0, 0);
        };
        let (min, max) = (queue.min(), queue.max());
        if max == 0 {
            return plan(PullStatus::NoMessageInQueue, 0, 0, 0);
        }
        if offset < min {
            return plan(PullStatus::OffsetTooSmall, min, min, max);
        }
        if offset == max {
            return plan(PullStatus::OffsetOverflowOne, max, min, max);
        }
        if offset > max {
            return plan(PullStatus::OffsetOverflowBadly, max, min, max);
        }
        if offset < queue.resident() { Err(Planned::OnDisk) } else { Ok(queue) }
    }

    /// Whether the tail cache holds all planned records.
    pub fn is_cached(&self, plan: &PullPlan) -> bool {
        let ring = self.log.ring();
        plan.pieces.iter().all(|entry| ring.holds(entry.position(), entry.bytes() as usize))
    }

    /// Copies the planned records behind `out`; all of them must be cached.
    pub fn copy_cached(&self, plan: &PullPlan, out: &mut Vec<u8>) {
        let ring = self.log.ring();
        for entry in &plan.pieces {
            let (first, second) = ring.parts(entry.position(), entry.bytes() as usize);
            out.extend_from_slice(first);
            out.extend_from_slice(second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        log::{CommitRule, Stored},
        store_state::Append,
    };

    fn append(state: &mut StoreState, count: usize) {
        for number in 0..count {
            let tags_code = number as i64 % 2;
            let slot = state.queue_slot("t", 0);
            let message = Append { slot, bytes: 100, tags_code, keys: &[] };
            state.append(message, 1, |placed, out| out.fill(placed.queue_offset as u8));
        }
    }

    fn commit(state: &mut StoreState) {
        while let Some(write) = state.log.take_write() {
            state.log.written(&write, true);
        }
        state.cross_gate(CommitRule { stored: Stored::Flushed, limit: CommitRule::ALONE });
        state.check();
    }

    fn pull(state: &StoreState, offset: i64, matches: impl FnMut(i64) -> bool) -> PullPlan {
        let limits = PullLimits { offset, count_max: 4, bytes_max: 350, scan_max: 6 };
        match state.plan_pull("t", 0, limits, vec![Entry::new(1, 1, 0)], matches) {
            Planned::Now(plan) => plan,
            Planned::OnDisk => panic!("nothing left memory"),
        }
    }

    /// Status, next offset and number of messages for an offset.
    fn decision(state: &StoreState, offset: i64) -> (PullStatus, i64, usize) {
        let plan = pull(state, offset, |_| true);
        (plan.status, plan.next_offset, plan.pieces.len())
    }

    #[test]
    fn the_offset_decides() {
        use PullStatus::*;
        let mut state = StoreState::unwritten(0);
        assert_eq!(decision(&state, 0), (NoMessageInQueue, 0, 0));
        append(&mut state, 10);
        assert_eq!(decision(&state, 0), (NoMessageInQueue, 0, 0), "nothing is committed yet");
        commit(&mut state);
        assert_eq!(decision(&state, -1), (OffsetTooSmall, 0, 0));
        assert_eq!(decision(&state, 0), (Found, 3, 3), "the byte limit");
        assert_eq!(decision(&state, 8), (Found, 10, 2));
        assert_eq!(decision(&state, 10), (OffsetOverflowOne, 10, 0));
        assert_eq!(decision(&state, 11), (OffsetOverflowBadly, 10, 0));
        assert_eq!(decision(&state, i64::MAX), (OffsetOverflowBadly, 10, 0));
    }

    #[test]
    fn a_filter_may_look_at_whole_records() {
        let mut state = StoreState::unwritten(0);
        append(&mut state, 10);
        commit(&mut state);
        let limits = PullLimits { offset: 1, count_max: 2, bytes_max: 350, scan_max: 8 };
        let plan = |limits: PullLimits, look_bytes: usize, first: u8| {
            let selects = |record: &[u8]| record.len() == 100 && record[0] >= first;
            match state.plan_pull_by_record("t", 0, limits, look_bytes, selects) {
                Planned::Now(plan) => (plan.status, plan.next_offset, plan.pieces.len()),
                Planned::OnDisk => panic!("nothing left memory"),
            }
        };
        assert_eq!(plan(limits, 1_000, 5), (PullStatus::Found, 7, 2));
        assert_eq!(plan(limits, 1_000, 8), (PullStatus::Found, 9, 1), "it looks at eight entries");
        assert_eq!(plan(limits, 1_000, 99), (PullStatus::NoMatchedMessage, 9, 0));
        assert_eq!(plan(limits, 250, 99), (PullStatus::NoMatchedMessage, 4, 0), "and at little");
        assert_eq!(plan(limits, 0, 0), (PullStatus::Found, 2, 1), "but at one");
        let end = PullLimits { offset: 10, ..limits };
        assert_eq!(plan(end, 0, 0), (PullStatus::OffsetOverflowOne, 10, 0));
    }

    #[test]
    fn a_filter_that_matches_nothing_steps_over_what_it_has_seen() {
        let mut state = StoreState::unwritten(0);
        append(&mut state, 10);
        commit(&mut state);
        let plan = pull(&state, 0, |_| false);
        assert_eq!((plan.status, plan.next_offset), (PullStatus::NoMatchedMessage, 6));
        let plan = pull(&state, 0, |tags_code| tags_code == 1);
        assert_eq!((plan.next_offset, plan.bytes), (6, 300));
        let mut out = Vec::new();
        assert!(state.is_cached(&plan));
        state.copy_cached(&plan, &mut out);
        assert_eq!(out, [[1; 100], [3; 100], [5; 100]].concat());
    }
}
