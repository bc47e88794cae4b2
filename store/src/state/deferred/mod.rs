//! Records that wait: messages that are not for consumers yet, by the time when they are due.
//!
//! Such a record lies in a queue of a waiting topic ([`super::WaitsFor`]), on the shard of the queue that it is for. Its
//! consume queue entry has the due time as tags code, the record itself where other records have the position of their
//! transaction ([`proto::record`]); so index files, a start and replicas know it without reading text. It stops waiting with a
//! control entry that stands in one batch with the message that it becomes ([`ControlEntry::Delivered`]): both are there
//! or neither, so nothing is delivered twice and nothing is lost. Or it is cancelled, by an entry alone
//! ([`ControlEntry::Cancelled`]), or waits on at another place ([`ControlEntry::Carried`]).
//!
//! A record is taken once, to be delivered ([`Deferred::take_due`]) or cancelled; until its entry is committed it still waits for
//! the state, which a start brings back, and is only marked.
//!
//! Memory holds those that are due before the horizon. When they are too many, the ones that are due last are given up
//! for the log, which has them anyway (`far`); so what memory holds is bounded, and what may wait is not.

mod far;
mod row;
#[cfg(test)]
mod tests;

use self::{
    far::{Counts, Far},
    row::{ROW_BYTES, Row},
};
use super::{ControlEntry, ControlError, DerivedState, control::KIND_DELIVERED, rows};
use crate::{consume_queue::Entry, index::SectionKind, layout::Layout};
use std::{
    cell::RefCell,
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
    /// Check over them, as its entry has it.
    pub check: u16,
    /// Queue of the waiting topic that it lies in. Of the topic of timers the upper bit is set.
    pub queue_id: u32,
}

impl Due {
    /// What an entry of a queue of a waiting topic says.
    pub(crate) fn of(entry: &Entry, queue_id: u32) -> Due {
        Due {
            due: entry.tags_code(),
            position: entry.position(),
            bytes: entry.bytes(),
            check: entry.check(),
            queue_id,
        }
    }

    /// The same in the topic of timers.
    pub(crate) fn of_timer(self) -> Due {
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
    /// It waits at another place by now.
    Carried,
    /// So many were cancelled before their time that no more can be remembered.
    TooMany,
}

/// So many that were cancelled are known at least, those that would be due last.
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
    check: u16,
    queue_id: u32,
    /// Who has taken it, if somebody has.
    taken: Option<Taken>,
}

/// How a record has ended to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Delivered,
    Cancelled,
    Carried,
}

/// By whom a record was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// Handed out by [`Deferred::take_due`].
    ToDeliver,
    /// By [`Deferred::begin_cancel`], or [`Deferred::begin_carry`].
    ToCancel,
}

/// The records of a shard that wait.
#[derive(Default)]
pub struct Deferred {
    /// Those in memory: all that are due before the horizon.
    waiting: BTreeMap<Key, Waiting>,
    counts: Counts,
    far: Far,
    /// Those that were cancelled: all behind the floor, and the last before.
    cancelled: BTreeSet<Key>,
    /// Those that wait on at another place, by where they lay, until their segment is gone.
    carried: BTreeSet<(u64, i64)>,
    /// The log begins here.
    begin: u64,
    /// Nothing that was delivered lies behind, unless the far ones know of it: the horizon stays behind it.
    floor: Key,
    /// All records before this position are known here.
    born_to: u64,
    /// Everything before is handed out, of what memory holds.
    next: Option<Key>,
    limits: Limits,
    /// Behind the first byte of the last entry that ended the waiting of a record.
    ended: u64,
    /// While a snapshot is taken, those that were cancelled since it began.
    cancelled_since: RefCell<Option<Vec<Key>>>,
}

/// How many may wait.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// In memory.
    pub(crate) near: usize,
    /// In all.
    pub(crate) all: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { near: usize::MAX, all: usize::MAX }
    }
}

impl Deferred {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len() + usize::try_from(self.far.counts().total()).unwrap_or(usize::MAX)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Of those that wait, how many are not in memory.
    pub fn far(&self) -> u64 {
        self.far.counts().total()
    }

    /// Once the log is durable up to here, no record waits again that does not wait now.
    pub(crate) fn ended(&self) -> u64 {
        self.ended
    }

    /// More than so many shall not wait. What the log holds already does.
    pub(crate) fn limit(&mut self, limits: Limits, layout: Layout) {
        self.counts.divide(layout);
        self.far.divide(layout);
        self.limits = limits;
        self.give_up_last();
    }

    /// Whether one more may wait: else how many do, and the limit.
    pub(crate) fn has_room(&self) -> Result<(), (usize, usize)> {
        let Limits { near, all } = self.limits;
        let (waiting, most) = (self.waiting.len(), near.saturating_mul(2));
        if self.len() >= all {
            Err((self.len(), all))
        } else if waiting >= most {
            // Memory cannot give any up, see `give_up_last`.
            Err((waiting, most))
        } else {
            Ok(())
        }
    }

    /// When each is due that waits and is in memory, and its position.
    pub fn iter(&self) -> impl Iterator<Item = (i64, u64)> {
        self.waiting.keys().copied()
    }

    /// How many wait in a queue of the waiting topic.
    pub fn waiting_in(&self, queue_id: u32) -> u64 {
        self.counts.in_queue(queue_id) + self.far.counts().in_queue(queue_id)
    }

    /// How many wait in the topic of timers.
    pub fn timers(&self) -> u64 {
        let all = [&self.counts, self.far.counts()];
        all.into_iter().map(|counts| counts.in_queues_from(TIMER_QUEUES)).sum()
    }

    /// A record that waits shall not be delivered. Of one that is not in memory it is believed that it was born.
    pub fn begin_cancel(&mut self, due: i64, position: u64) -> Cancel {
        let key = (due, position);
        if self.cancelled.contains(&key) {
            return Cancel::Done;
        }
        // Where its segment is gone, nobody remembers that it was.
        if self.was_carried(key) || position < self.begin {
            return Cancel::Carried;
        }
        if !self.has_room_to_cancel() {
            return Cancel::TooMany;
        }
        if self.far.is_far(key) {
            return match () {
                () if self.far.was_delivered(key) => Cancel::TooLate,
                () if self.far.cancelling.insert(key) => Cancel::Begun,
                () => Cancel::UnderWay,
            };
        }
        match self.waiting.get_mut(&key) {
            None | Some(Waiting { taken: Some(Taken::ToDeliver), .. }) => Cancel::TooLate,
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
        self.far.cancelling.remove(&key);
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.taken = None;
            self.go_back_to(key);
        }
    }

    /// A record was committed that waits from now on. One that waits already is no other one.
    pub(crate) fn insert(&mut self, Due { due, position, bytes, check, queue_id }: Due) {
        let waiting = Waiting { bytes, check, queue_id, taken: None };
        let key = (due, position);
        // A start may bring entries again that a snapshot has seen.
        let is_counted = position < self.born_to;
        self.born_to = self.born_to.max(position + 1);
        if is_counted && (self.cancelled.contains(&key) || self.was_carried(key)) {
            return;
        }
        if !self.far.is_far(key) {
            self.insert_near(key, waiting);
            self.give_up_last();
        } else if !is_counted || !self.far.was_counted(key) {
            self.far.add(key, waiting);
        }
    }

    fn insert_near(&mut self, key: Key, waiting: Waiting) {
        let queue_id = waiting.queue_id;
        if self.waiting.insert(key, waiting).is_none() {
            self.counts.add(key.1, queue_id);
        }
        self.go_back_to(key);
    }

    /// Those that are due last leave memory when they are too many. Nothing does that somebody has taken, or that is due before something
    /// that was delivered: a clock was set back.
    fn give_up_last(&mut self) {
        while self.waiting.len() > self.limits.near
            && let Some(last) = self.waiting.last_entry()
            && *last.key() > self.floor
            && last.get().taken.is_none()
        {
            let (key, waiting) = last.remove_entry();
            self.counts.subtract(key.1, waiting.queue_id);
            self.far.lower(key, waiting);
            if self.next == Some(key) {
                self.next = None;
            }
        }
    }

    /// When the next record is due that was not handed out.
    pub fn next_due(&self) -> Option<i64> {
        self.next.or(self.far.horizon()).map(|(due, _)| due)
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
            let Waiting { bytes, check, queue_id, .. } = *waiting;
            let is_first = left.records == at_most.records;
            let is_full = left.records == 0 || (!is_first && left.bytes < bytes as usize);
            if is_full || due > now {
                self.next = Some(*key);
                return;
            }
            waiting.taken = Some(Taken::ToDeliver);
            left.records -= 1;
            left.bytes = left.bytes.saturating_sub(bytes as usize);
            out.push(Due { due, position, bytes, check, queue_id });
        }
    }

    fn go_back_to(&mut self, key: Key) {
        self.next = Some(self.next.map_or(key, |next| next.min(key)));
    }

    /// A record waits no more.
    fn end(&mut self, key: Key, how: Ended) {
        if self.far.is_far(key) {
            self.far.cancelling.remove(&key);
            if self.is_far(key) {
                self.far.end(key, how == Ended::Delivered, TIMER_QUEUES);
            }
        } else {
            self.remove(key);
            if how == Ended::Delivered {
                self.floor = self.floor.max(key);
            }
        }
        match how {
            Ended::Delivered => {}
            Ended::Carried => drop(self.carried.insert((key.1, key.0))),
            Ended::Cancelled => {
                self.note_cancelled(key);
                if let Some(since) = self.cancelled_since.get_mut() {
                    since.push(key);
                }
            }
        }
    }

    fn was_carried(&self, (due, position): Key) -> bool {
        self.carried.contains(&(position, due))
    }

    /// Whether one more that was cancelled can be remembered. The first of those before the horizon is given up for that:
    /// memory keeps what is due before it.
    fn has_room_to_cancel(&mut self) -> bool {
        if self.cancelled.len() < self.limits.near.max(CANCELLED_MAX) {
            return true;
        }
        let first = self.cancelled.first().copied();
        let Some(first) = first.filter(|first| !self.far.is_far(*first)) else { return false };
        self.cancelled.pop_first();
        self.floor = self.floor.max(first);
        true
    }

    fn note_cancelled(&mut self, key: Key) {
        self.cancelled.insert(key);
        while self.cancelled.len() > CANCELLED_MAX
            && self.cancelled.first().is_some_and(|first| *first <= self.floor)
        {
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
        self.counts.subtract(key.1, waiting.queue_id);
    }
}

/// Bringing far records in, which the store does: it alone can look at index files.
impl Deferred {
    /// Whether memory has room for far records.
    pub(crate) fn wants_far(&self) -> bool {
        let is_low = self.waiting.len() <= self.limits.near / 2;
        self.far.horizon().is_some() && !self.far.is_loading() && is_low
    }

    /// A look at all records begins.
    pub(crate) fn begin_search(&mut self) {
        self.far.begin(self.limits.near.saturating_sub(self.waiting.len()).max(1), self.born_to);
    }

    /// It cannot be ended.
    pub(crate) fn abandon_search(&mut self) {
        self.far.abandon();
    }

    /// Whether far records may lie in a part of the log.
    pub(crate) fn any_far_in(&self, from: u64, to: u64) -> bool {
        self.far.counts().any_in(from, to)
    }

    /// Whether a record that lies in the log waits and is not in memory.
    #[doc(hidden)]
    pub fn is_far(&self, key: (i64, u64)) -> bool {
        let has_ended = || {
            self.cancelled.contains(&key) || self.far.was_delivered(key) || self.was_carried(key)
        };
        self.far.is_far(key) && !has_ended()
    }

    /// The look has come to a record of a waiting topic.
    pub(crate) fn found(&mut self, record: Due) {
        let Due { due, position, bytes, check, queue_id } = record;
        // A segment may go while its index file is looked at, and with it the knowledge of what was carried on.
        if position >= self.begin && self.is_far((due, position)) {
            self.far.found((due, position), Waiting { bytes, check, queue_id, taken: None });
        }
    }

    /// It is over.
    pub(crate) fn end_search(&mut self) {
        self.far.end_search();
        // What it has seen before that went.
        self.far.free_before(self.begin);
    }

    /// Brings in so many of those that were found, those first that are due first. Whether there are more.
    pub(crate) fn bring_in(&mut self, records: usize) -> bool {
        for _ in 0..records {
            if self.waiting.len() >= self.limits.near {
                // Others came meanwhile that are due before: the rest stays where it is.
                self.far.abandon();
                break;
            }
            let Some((key, mut waiting)) = self.far.take_found() else { break };
            if self.far.cancelling.remove(&key) {
                waiting.taken = Some(Taken::ToCancel);
            }
            let is_taken = waiting.taken.is_some();
            let next = self.next;
            self.insert_near(key, waiting);
            if is_taken {
                self.next = next;
            }
        }
        if let Some(last) = self.far.forget_delivered() {
            self.floor = self.floor.max(last);
        }
        self.far.is_loading()
    }
}

/// Carrying records to the end of the log, which the store does, so that their segment may be retired.
impl Deferred {
    /// Whether a record that lies in the log waits.
    pub(crate) fn waits(&self, key: Key) -> bool {
        self.waiting.contains_key(&key) || self.is_far(key)
    }

    /// It is to wait on at another place: until its entry is appended, or [`Deferred::keep`], nobody else takes it. Whether nobody
    /// has taken it.
    pub(crate) fn begin_carry(&mut self, key: Key) -> bool {
        if self.far.is_far(key) {
            return self.is_far(key) && self.far.cancelling.insert(key);
        }
        let waiting = self.waiting.get_mut(&key).filter(|waiting| waiting.taken.is_none());
        let Some(waiting) = waiting else { return false };
        waiting.taken = Some(Taken::ToCancel);
        self.go_on_behind(key);
        true
    }

    /// Somebody has looked at all that lies before `position`: no far record waits there.
    pub(crate) fn free_before(&mut self, position: u64) {
        self.far.free_before(position);
    }

    /// The log begins at `position` now.
    pub(crate) fn retire_before(&mut self, position: u64) {
        self.begin = position;
        self.carried = self.carried.split_off(&(position, i64::MIN));
        self.far.free_before(position);
    }
}

impl DerivedState for Deferred {
    const SECTION: SectionKind = SectionKind::Deferred;
    type Place = Place;

    fn apply(&mut self, entry: &ControlEntry<'_>, at: u64) {
        let (key, how) = match entry {
            ControlEntry::Delivered { due, position } => ((*due, *position), Ended::Delivered),
            ControlEntry::Cancelled { due, position } => ((*due, *position), Ended::Cancelled),
            ControlEntry::Carried { due, position } => ((*due, *position), Ended::Carried),
            _ => return,
        };
        self.end(key, how);
        self.ended = self.ended.max(at + 1);
    }

    /// Where the horizon is comes last, together with the last records before it: all that were written are as they were
    /// when the horizon was behind them.
    fn snapshot(&self, place: &mut Place, pieces: &mut Vec<Vec<u8>>) -> bool {
        if let Place::Cancelled(last) = place {
            if last.is_none() {
                *self.cancelled_since.borrow_mut() = Some(Vec::new());
            }
            let from = last.map_or(Unbounded, Excluded);
            let keys = self.cancelled.range((from, Unbounded)).inspect(|key| *last = Some(**key));
            if !rows::write(keys.map(|key| Row::Cancelled(*key).encode()), pieces) {
                *place = Place::Waiting(None);
            }
            return true;
        }
        let Place::Waiting(last) = place else { return false };
        let from = last.map_or(Unbounded, Excluded);
        let rows = self.waiting.range((from, Unbounded)).map(|(key, waiting)| {
            *last = Some(*key);
            Row::Waiting(*key, waiting.bytes, waiting.check, waiting.queue_id).encode()
        });
        if rows::write(rows, pieces) {
            return true;
        }
        pieces.push(self.bounds().flat_map(|row| row.encode()).collect());
        *place = Place::End;
        false
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), ControlError> {
        let what = "is followed by a part of a record";
        for row in rows::read::<ROW_BYTES>(piece, KIND_DELIVERED, what)? {
            let row = Row::decode(row).ok_or(ControlError::Malformed {
                kind: KIND_DELIVERED,
                what: "is of no kind that is known here",
            })?;
            match row {
                Row::Waiting(key, bytes, check, queue_id) => {
                    self.insert_near(key, Waiting { bytes, check, queue_id, taken: None });
                }
                Row::Cancelled(key) => drop(self.cancelled.insert(key)),
                Row::Horizon(key) => self.restore_horizon(key),
                Row::Floor(key) => self.floor = self.floor.max(key),
                Row::BornTo(position) => self.born_to = self.born_to.max(position),
                Row::FarPiece(position, count) => self.far.restore_piece(position, count),
                Row::FarQueue(queue_id, count) => self.far.restore_queue(queue_id, count),
                Row::FarDelivered(key) => self.far.restore_delivered(key),
                Row::Carried((due, position)) => drop(self.carried.insert((position, due))),
            }
        }
        Ok(())
    }

    fn holds_back(&self) -> Option<u64> {
        let all = [self.counts.first(), self.far.counts().first()];
        all.into_iter().flatten().min()
    }
}

/// How far a snapshot is.
pub enum Place {
    /// Behind this one of those that were cancelled.
    Cancelled(Option<Key>),
    /// Behind this one of those that wait.
    Waiting(Option<Key>),
    /// At its end.
    End,
}

impl Default for Place {
    fn default() -> Place {
        Place::Cancelled(None)
    }
}

impl Deferred {
    /// What a snapshot ends with.
    fn bounds(&self) -> impl Iterator<Item = Row> {
        let first = [Row::Floor(self.floor), Row::BornTo(self.born_to)];
        let far = self.far.horizon().map(Row::Horizon).into_iter();
        let pieces = self.far.pieces().map(|(position, count)| Row::FarPiece(position, count));
        let queues = self.far.queues().map(|(queue_id, count)| Row::FarQueue(queue_id, count));
        let delivered = self.far.delivered().map(|key| Row::FarDelivered(*key));
        // Whoever reads their entries again must not subtract them again.
        let cancelled = self.cancelled_since.take().into_iter().flatten().map(Row::Cancelled);
        let carried = self.carried.iter().map(|(position, due)| Row::Carried((*due, *position)));
        let ended = delivered.chain(cancelled).chain(carried);
        far.chain(first).chain(pieces).chain(queues).chain(ended)
    }

    /// What was written before and is behind it was given up while the snapshot was written, and is counted as far.
    fn restore_horizon(&mut self, horizon: Key) {
        for (key, waiting) in self.waiting.split_off(&horizon) {
            self.counts.subtract(key.1, waiting.queue_id);
        }
        self.next = self.waiting.first_key_value().map(|(key, _)| *key);
        self.far.restore_horizon(horizon);
    }
}
