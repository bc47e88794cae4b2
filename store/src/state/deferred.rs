//! Records that wait: messages that are not for consumers yet, by the time when they are due.
//!
//! Such a record lies in a queue of a waiting topic ([`super::WaitsFor`]), on the shard of the queue that it is for. Its
//! consume queue entry has the due time as tags code, the record itself where other records have the position of their
//! transaction ([`proto::record`]); so index files, a start and replicas know it without reading text. It stops waiting with a
//! control entry that stands in one batch with the message that it becomes ([`ControlEntry::Delivered`]): both are there
//! or neither, so nothing is delivered twice and nothing is lost. Or it is cancelled, by an entry alone
//! ([`ControlEntry::Cancelled`]).
//!
//! A record is taken once, to be delivered ([`Deferred::take_due`]) or cancelled; until its entry is committed it still waits for
//! the state, which a start brings back, and is only marked.

use super::{
    ControlEntry, ControlError, DerivedState,
    control::KIND_DELIVERED,
    rows::{self, part},
};
use crate::index::SectionKind;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

/// Where messages with a delay level wait.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Where messages wait that name their time themselves.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Tells the queues of that topic from those of the other one.
const TIMER_QUEUES: u32 = 1 << 31;

/// A record that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Since when, ms of the wall clock.
    pub due: i64,
    /// Its position.
    pub position: u64,
    /// Its bytes.
    pub bytes: u32,
    /// Queue of the waiting topic that it lies in. Of the topic of timers the upper bit is set.
    pub queue_id: u32,
}

impl Due {
    /// The same in the topic of timers.
    pub(super) fn of_timer(self) -> Due {
        Due { queue_id: self.queue_id | TIMER_QUEUES, ..self }
    }
}

/// What comes of the wish that a record shall not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// It is not handed out any more: until its entry is appended, or [`Deferred::keep`].
    Begun,
    /// Somebody else cancels it.
    UnderWay,
    /// It was cancelled: one of the last that were.
    Done,
    /// It is handed out, or does not wait.
    TooLate,
}

/// So many that were cancelled are known, those that would be due last.
pub const CANCELLED_MAX: usize = 10_000;

/// How much is handed out at once, at most; one record always is.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    /// Records.
    pub records: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// In the order in which they are delivered.
type Key = (i64, u64);

struct Waiting {
    bytes: u32,
    queue_id: u32,
    /// Who has taken it, if somebody has.
    taken: Option<Taken>,
}

/// By whom a record was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// Handed out by [`Deferred::take_due`].
    ToDeliver,
    /// By [`Deferred::begin_cancel`].
    ToCancel,
}

/// The records of a shard that wait.
#[derive(Default)]
pub struct Deferred {
    waiting: BTreeMap<Key, Waiting>,
    /// The last that were cancelled.
    cancelled: BTreeSet<Key>,
    /// Everything before is handed out.
    next: Option<Key>,
    /// How many wait in each piece of the log, by number: what the oldest of them holds back is found without a look at
    /// all.
    pieces: BTreeMap<u64, u64>,
    /// How many wait in each queue.
    queues: BTreeMap<u32, u64>,
    /// Most that may wait, if that was said.
    limit: Option<usize>,
    /// Behind the first byte of the last entry that ended the waiting of a record.
    ended: u64,
}

/// A piece of the log, see [`Deferred::holds_back`].
const PIECE_BITS: u32 = 16;
/// A record in a snapshot: due, position, bytes, queue id.
const RECORD_BYTES: usize = 8 + 8 + 4 + 4;
/// Bytes of a record in a snapshot that was cancelled: no record has none.
const NOTHING: u32 = 0;

impl Deferred {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Once the log is durable up to here, no record waits again that does not wait now.
    pub(crate) fn ended(&self) -> u64 {
        self.ended
    }

    /// More than so many shall not wait. What the log holds already does.
    pub(crate) fn limit(&mut self, records: usize) {
        self.limit = Some(records);
    }

    /// Whether one more may wait: else how many do, and the limit.
    pub(crate) fn has_room(&self) -> Result<(), (usize, usize)> {
        let (waiting, limit) = (self.waiting.len(), self.limit.unwrap_or(usize::MAX));
        if waiting < limit { Ok(()) } else { Err((waiting, limit)) }
    }

    /// When each is due that waits, and its position.
    pub fn iter(&self) -> impl Iterator<Item = (i64, u64)> {
        self.waiting.keys().copied()
    }

    /// How many wait in a queue of the waiting topic.
    pub fn waiting_in(&self, queue_id: u32) -> u64 {
        self.queues.get(&queue_id).copied().unwrap_or(0)
    }

    /// How many wait in the topic of timers.
    pub fn timers(&self) -> u64 {
        self.queues.range(TIMER_QUEUES..).map(|(_, count)| count).sum()
    }

    /// A record that waits shall not be delivered.
    pub fn begin_cancel(&mut self, due: i64, position: u64) -> Cancel {
        let key = (due, position);
        match self.waiting.get_mut(&key) {
            None if self.cancelled.contains(&key) => Cancel::Done,
            None => Cancel::TooLate,
            Some(Waiting { taken: Some(Taken::ToDeliver), .. }) => Cancel::TooLate,
            Some(Waiting { taken: Some(Taken::ToCancel), .. }) => Cancel::UnderWay,
            Some(waiting) => {
                waiting.taken = Some(Taken::ToCancel);
                self.go_on_behind(key);
                Cancel::Begun
            }
        }
    }

    /// A record that was to be cancelled waits on.
    pub fn keep(&mut self, due: i64, position: u64) {
        let key = (due, position);
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.taken = None;
            self.go_back_to(key);
        }
    }

    /// A record was committed that waits from now on. One that waits already is no other one.
    pub(crate) fn insert(&mut self, Due { due, position, bytes, queue_id }: Due) {
        let waiting = Waiting { bytes, queue_id, taken: None };
        let key = (due, position);
        if self.waiting.insert(key, waiting).is_none() {
            *self.pieces.entry(position >> PIECE_BITS).or_default() += 1;
            *self.queues.entry(queue_id).or_default() += 1;
        }
        self.go_back_to(key);
    }

    /// When the next record is due that was not handed out.
    pub fn next_due(&self) -> Option<i64> {
        self.next.map(|(due, _)| due)
    }

    /// Hands out records that are due at `now`, in the order in which they are due.
    pub fn take_due(&mut self, now: i64, at_most: Portion, out: &mut Vec<Due>) {
        let Some(from) = self.next else { return };
        self.next = None;
        let mut left = at_most;
        for (key, waiting) in self.waiting.range_mut(from..) {
            if waiting.taken.is_some() {
                continue;
            }
            let (due, position) = *key;
            let Waiting { bytes, queue_id, .. } = *waiting;
            let is_first = left.records == at_most.records;
            let is_full = left.records == 0 || (!is_first && left.bytes < bytes as usize);
            if is_full || due > now {
                self.next = Some(*key);
                return;
            }
            waiting.taken = Some(Taken::ToDeliver);
            left.records -= 1;
            left.bytes = left.bytes.saturating_sub(bytes as usize);
            out.push(Due { due, position, bytes, queue_id });
        }
    }

    fn go_back_to(&mut self, key: Key) {
        self.next = Some(self.next.map_or(key, |next| next.min(key)));
    }

    fn note_cancelled(&mut self, key: Key) {
        self.cancelled.insert(key);
        if self.cancelled.len() > CANCELLED_MAX {
            self.cancelled.pop_first();
        }
    }

    /// This one is not the next any more.
    fn go_on_behind(&mut self, key: Key) {
        if self.next == Some(key) {
            let behind = self.waiting.range((Excluded(key), Unbounded));
            self.next = behind
                .into_iter()
                .find(|(_, waiting)| waiting.taken.is_none())
                .map(|(key, _)| *key);
        }
    }

    fn remove(&mut self, key: Key) {
        let Some(waiting) = self.waiting.remove(&key) else { return };
        self.go_on_behind(key);
        subtract(&mut self.pieces, key.1 >> PIECE_BITS);
        subtract(&mut self.queues, waiting.queue_id);
    }
}

fn row((due, position): Key, bytes: u32, queue_id: u32) -> [u8; RECORD_BYTES] {
    let mut row = [0; RECORD_BYTES];
    row[..8].copy_from_slice(&due.to_be_bytes());
    row[8..16].copy_from_slice(&position.to_be_bytes());
    row[16..20].copy_from_slice(&bytes.to_be_bytes());
    row[20..].copy_from_slice(&queue_id.to_be_bytes());
    row
}

/// One less under this key; what is nothing takes no memory.
fn subtract<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

impl DerivedState for Deferred {
    const SECTION: SectionKind = SectionKind::Deferred;
    /// The last record that was written. Those that were cancelled come first, in one piece.
    type Place = Option<Key>;

    fn apply(&mut self, entry: &ControlEntry<'_>, at: u64) {
        if let ControlEntry::Delivered { due, position }
        | ControlEntry::Cancelled { due, position } = entry
        {
            self.remove((*due, *position));
            if matches!(entry, ControlEntry::Cancelled { .. }) {
                self.note_cancelled((*due, *position));
            }
            self.ended = self.ended.max(at + 1);
        }
    }

    fn snapshot(&self, place: &mut Option<Key>, pieces: &mut Vec<Vec<u8>>) -> bool {
        let from = place.map_or(Unbounded, Excluded);
        if place.is_none() {
            let cancelled = self.cancelled.iter().map(|key| row(*key, NOTHING, 0));
            let piece: Vec<u8> = cancelled.flatten().collect();
            pieces.extend((!piece.is_empty()).then_some(piece));
        }
        let rows = self.waiting.range((from, Unbounded)).map(|(key, waiting)| {
            *place = Some(*key);
            row(*key, waiting.bytes, waiting.queue_id)
        });
        rows::write(rows, pieces)
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), ControlError> {
        let what = "is followed by a part of a record";
        for record in rows::read::<RECORD_BYTES>(piece, KIND_DELIVERED, what)? {
            let record = Due {
                due: i64::from_be_bytes(part(record, 0)),
                position: u64::from_be_bytes(part(record, 8)),
                bytes: u32::from_be_bytes(part(record, 16)),
                queue_id: u32::from_be_bytes(part(record, 20)),
            };
            match record.bytes {
                NOTHING => self.note_cancelled((record.due, record.position)),
                _ => self.insert(record),
            }
        }
        Ok(())
    }

    fn holds_back(&self) -> Option<u64> {
        self.pieces.first_key_value().map(|(piece, _)| piece << PIECE_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(due: i64, position: u64) -> Due {
        Due { due, position, bytes: 100, queue_id: (position % 3) as u32 }
    }

    fn take(deferred: &mut Deferred, now: i64, count_max: usize) -> Vec<u64> {
        let mut out = Vec::new();
        deferred.take_due(now, Portion { records: count_max, bytes: usize::MAX }, &mut out);
        out.into_iter().map(|due| due.position).collect()
    }

    fn deliver(deferred: &mut Deferred, due: i64, position: u64) {
        deferred.apply(&ControlEntry::Delivered { due, position }, 0);
    }

    fn copy(deferred: &Deferred) -> Deferred {
        let (mut place, mut pieces) = (None, Vec::new());
        while deferred.snapshot(&mut place, &mut pieces) {}
        let mut copy = Deferred::default();
        pieces.iter().for_each(|piece| copy.restore(piece).expect("whole"));
        copy
    }

    #[test]
    fn records_are_handed_out_once_in_the_order_in_which_they_are_due() {
        let mut deferred = Deferred::default();
        for (due, position) in [(30, 1), (10, 2), (20, 3), (10, 4)] {
            deferred.insert(record(due, position));
        }
        assert_eq!(deferred.next_due(), Some(10));
        assert!(take(&mut deferred, 9, 10).is_empty());
        assert_eq!(take(&mut deferred, 20, 2), [2, 4]);
        assert_eq!(take(&mut deferred, 20, 2), [3]);
        assert_eq!((take(&mut deferred, 29, 2).len(), deferred.next_due()), (0, Some(30)));
        // Too late for its place among them.
        deferred.insert(record(15, 5));
        assert_eq!(take(&mut deferred, 30, 10), [5, 1]);
        assert_eq!(
            (deferred.next_due(), deferred.len()),
            (None, 5),
            "they wait until it is committed"
        );
        for (due, position) in [(10, 4), (10, 2), (10, 2), (15, 5), (20, 3), (30, 1)] {
            deliver(&mut deferred, due, position);
        }
        assert!(deferred.is_empty() && deferred.holds_back().is_none());
        assert!(deferred.queues.is_empty());
    }

    #[test]
    fn what_is_handed_out_waits_again_after_a_start() {
        let mut deferred = Deferred::default();
        (0..10_000).for_each(|at| deferred.insert(record(at % 7, at as u64)));
        take(&mut deferred, 3, 5_000);
        deliver(&mut deferred, 0, 7);
        let mut after = copy(&deferred);
        assert_eq!((after.len(), after.waiting_in(1)), (9_999, deferred.waiting_in(1)));
        assert_eq!(take(&mut after, 0, 3), [0, 14, 21]);
        let cut = &copy(&deferred).restore(&[0; RECORD_BYTES + 1]);
        assert!(matches!(cut, Err(ControlError::Malformed { .. })));
    }

    #[test]
    fn the_last_that_were_cancelled_are_known_after_a_start() {
        let mut deferred = Deferred::default();
        let count = CANCELLED_MAX as i64 + 5;
        for due in 0..count {
            deferred.insert(record(due, 7));
            deferred.apply(&ControlEntry::Cancelled { due, position: 7 }, 0);
        }
        deferred.insert(record(count, 7));
        let mut after = copy(&deferred);
        assert_eq!((after.len(), after.cancelled.len()), (1, CANCELLED_MAX));
        assert_eq!(after.begin_cancel(count - 1, 7), Cancel::Done);
        assert_eq!(after.begin_cancel(0, 7), Cancel::TooLate, "nobody knows any more");
        assert_eq!(after.begin_cancel(count, 7), Cancel::Begun);
    }

    #[test]
    fn large_records_are_handed_out_one_by_one() {
        let mut deferred = Deferred::default();
        (0..5).for_each(|at| deferred.insert(record(0, at)));
        let take = |deferred: &mut Deferred, bytes| {
            let mut out = Vec::new();
            deferred.take_due(0, Portion { records: 9, bytes }, &mut out);
            out.len()
        };
        assert_eq!([50, 250, 1_000].map(|bytes| take(&mut deferred, bytes)), [1, 2, 2]);
    }

    #[test]
    fn the_oldest_record_holds_the_log_back() {
        let mut deferred = Deferred::default();
        let piece = 1 << PIECE_BITS;
        deferred.insert(record(5, 3 * piece + 9));
        deferred.insert(record(1, 7 * piece));
        deferred.insert(record(9, 3 * piece + 1));
        assert_eq!(deferred.holds_back(), Some(3 * piece));
        deliver(&mut deferred, 9, 3 * piece + 1);
        assert_eq!(deferred.holds_back(), Some(3 * piece));
        deliver(&mut deferred, 5, 3 * piece + 9);
        assert_eq!(deferred.holds_back(), Some(7 * piece));
    }

    /// Against a set of keys and a set of those that are handed out.
    #[test]
    fn it_does_what_a_plain_model_does() {
        let mut random = fastrand::Rng::with_seed(11);
        let mut deferred = Deferred::default();
        let (mut waiting, mut taken) = (BTreeSet::new(), BTreeSet::new());
        let mut cancelled = BTreeSet::new();
        for step in 0..20_000 {
            let key = (random.i64(..50), random.u64(..200));
            match random.u32(..8) {
                7 => {
                    let expected = match (waiting.contains(&key), taken.contains(&key)) {
                        (true, false) => Cancel::Begun,
                        (false, _) if cancelled.contains(&key) => Cancel::Done,
                        _ => Cancel::TooLate,
                    };
                    assert_eq!(deferred.begin_cancel(key.0, key.1), expected, "step {step}");
                    if expected == Cancel::Begun {
                        let again = deferred.begin_cancel(key.0, key.1);
                        assert_eq!(again, Cancel::UnderWay, "step {step}");
                        match random.bool() {
                            true => deferred.keep(key.0, key.1),
                            false => {
                                let (due, position) = key;
                                deferred.apply(&ControlEntry::Cancelled { due, position }, 0);
                                waiting.remove(&key);
                                cancelled.insert(key);
                            }
                        }
                    }
                }
                0..3 => {
                    if waiting.insert(key) {
                        deferred.insert(record(key.0, key.1));
                    }
                }
                3 => {
                    waiting.remove(&key);
                    taken.remove(&key);
                    deliver(&mut deferred, key.0, key.1);
                }
                _ => {
                    let (now, count) = (random.i64(..50), random.usize(..4));
                    let due = waiting.iter().filter(|key| key.0 <= now && !taken.contains(*key));
                    let expected: Vec<Key> = due.take(count).copied().collect();
                    let mut out = Vec::new();
                    let at_most = Portion { records: count, bytes: usize::MAX };
                    deferred.take_due(now, at_most, &mut out);
                    let out: Vec<Key> = out.iter().map(|due| (due.due, due.position)).collect();
                    assert_eq!(out, expected, "step {step}");
                    taken.extend(expected);
                }
            }
            let next = waiting.iter().find(|key| !taken.contains(*key));
            assert_eq!(deferred.next_due(), next.map(|key| key.0), "step {step}");
            assert_eq!(deferred.len(), waiting.len());
        }
    }
}
