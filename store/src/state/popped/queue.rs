//! One queue, as one group pops it.
//!
//! Below `floor` everything is done, from `cursor` on nothing was ever popped. What is in flight lies between them; whatever
//! else lies there is acknowledged, or was passed by a filter.

use super::progress::{InFlight, QueueProgress, Said};
use std::collections::BTreeMap;

/// What is in flight, by offset.
type Flights = BTreeMap<i64, InFlight>;

/// A queue as a group pops it: what holds now, and what the log has committed.
#[derive(Debug, Default)]
pub struct PopQueue {
    /// What is in flight now.
    now: Flights,
    /// The next offset that was never popped. `None`: the group has not popped yet, or begins anew.
    cursor: Option<i64>,
    /// Nothing is visible again before that, ms.
    next_visible: i64,
    /// The queue was popped in order last.
    in_order: bool,
    /// See [`PopQueue::share_of_again`].
    odd_is_new: bool,
    /// The attempt of a pop in order that has what is in flight.
    attempt: Option<Box<str>>,
    /// Somebody reads messages for a pop.
    busy: bool,
    /// Another number each time that the queue begins anew: what was read before is not given out after it.
    beginning: u64,
    /// When it was popped last, ms.
    used: i64,
    committed: Flights,
    committed_cursor: Option<i64>,
    /// Offsets of which the log lacks what holds now. True: it never heard of the offset.
    unsaid: BTreeMap<i64, bool>,
    cursor_unsaid: bool,
    anew_unsaid: bool,
    /// The place that was said last.
    said_cursor: Option<i64>,
    /// Entries before this position say nothing of what holds now: we wrote them, or later ones.
    said_before: u64,
}

impl PopQueue {
    /// A queue that a group pops for the first time. `number` is no other one's.
    pub(super) fn new(number: u32) -> PopQueue {
        PopQueue { beginning: u64::from(number) << u32::BITS, ..PopQueue::default() }
    }

    /// The next offset that was never popped.
    pub fn cursor(&self) -> Option<i64> {
        self.cursor
    }

    /// Everything below is done.
    pub fn floor(&self) -> Option<i64> {
        let first = self.now.first_key_value().map(|(offset, _)| *offset);
        first.or(self.cursor)
    }

    /// How many messages are in flight.
    pub fn in_flight(&self) -> usize {
        self.now.len()
    }

    /// What is in flight, in order.
    pub fn iter(&self) -> impl Iterator<Item = (i64, InFlight)> {
        self.now.iter().map(|(offset, flight)| (*offset, *flight))
    }

    /// Whether a message is in flight.
    pub fn is_in_flight(&self, offset: i64) -> bool {
        self.now.contains_key(&offset)
    }

    /// When a pop may find something that is in flight, ms: in order, when all of it is visible again. `None`: nothing is.
    pub fn next_visible(&self) -> Option<i64> {
        match self.in_order {
            true => self.now.values().map(|flight| flight.visible_at).max(),
            false => (!self.now.is_empty()).then_some(self.next_visible),
        }
    }

    /// Whether somebody reads messages for a pop, and others pass the queue.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Somebody reads messages for a pop, or has.
    pub fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    /// Another number each time that the queue begins anew.
    pub fn beginning(&self) -> u64 {
        self.beginning
    }

    /// Offsets that are visible again `now`, the first `count_max`, and that a pop of the time `popped_at` gives new receipts.
    pub fn visible(&mut self, now: i64, popped_at: i64, count_max: usize) -> Vec<i64> {
        self.in_order = false;
        let mut found = Vec::new();
        if self.now.is_empty() || now < self.next_visible {
            return found;
        }
        let mut next = i64::MAX;
        for (offset, flight) in &self.now {
            if flight.visible_at > now || flight.popped_at >= popped_at {
                next = next.min(flight.visible_at.max(now));
            } else if found.len() < count_max {
                found.push(*offset);
            } else {
                next = now;
                break;
            }
        }
        // Those that were found are visible until they are given out.
        self.next_visible = if found.is_empty() { next } else { now };
        found
    }

    /// What a pop in order of the time `popped_at` gives out again, and whether it repeats the last attempt. `None`: it has to
    /// wait, because something is in flight `now`, and not by the same attempt.
    pub fn again_in_order(
        &mut self,
        now: i64,
        popped_at: i64,
        attempt: Option<&str>,
    ) -> Option<(Vec<i64>, bool)> {
        self.in_order = true;
        let same = attempt.is_some() && attempt == self.attempt.as_deref();
        let waits = |flight: &InFlight| flight.visible_at > now || flight.popped_at >= popped_at;
        if !same && self.now.values().any(waits) {
            return None;
        }
        Some((self.now.keys().copied().collect(), same))
    }

    /// How many of so many messages are given out again while there are new ones: half, and the odd one in turn.
    pub fn share_of_again(&mut self, count_max: usize) -> usize {
        self.odd_is_new = !self.odd_is_new;
        if self.odd_is_new { count_max.div_ceil(2) } else { count_max / 2 }
    }

    /// Whose attempt has what is in flight.
    pub fn set_attempt(&mut self, attempt: Option<Box<str>>) {
        self.attempt = attempt;
    }

    /// Looks anew when something is visible again.
    pub fn look_at_visible(&mut self) {
        let earliest = self.now.values().map(|flight| flight.visible_at).min();
        self.next_visible = earliest.unwrap_or(i64::MAX);
    }

    /// The group's first pop, or the first after it began anew: at `cursor`.
    pub fn begin(&mut self, cursor: i64) {
        // The group's offset says it to the log.
        self.cursor = self.cursor.or(Some(cursor));
    }

    /// A message is popped. Returns how often it was before; the same attempt does not count.
    pub fn give(
        &mut self,
        offset: i64,
        popped_at: i64,
        visible_at: i64,
        same_attempt: bool,
    ) -> u32 {
        let more = u32::from(!same_attempt);
        let again = self.now.get(&offset).map_or(0, |flight| flight.again.saturating_add(more));
        self.put(offset, InFlight { popped_at, visible_at, again });
        self.used = self.used.max(popped_at);
        again
    }

    fn put(&mut self, offset: i64, flight: InFlight) {
        let visible_at = flight.visible_at;
        self.next_visible =
            if self.now.is_empty() { visible_at } else { self.next_visible.min(visible_at) };
        let is_new = self.now.insert(offset, flight).is_none();
        self.unsaid.entry(offset).or_insert(is_new);
    }

    /// All before `cursor` was popped, or passed.
    pub fn advance(&mut self, cursor: i64) {
        if self.cursor.is_none_or(|before| cursor > before) {
            self.cursor = Some(cursor);
            self.cursor_unsaid = true;
        }
    }

    /// A receipt is given back: the message is done. Whether that was its last pop.
    pub fn ack(&mut self, offset: i64, popped_at: i64) -> bool {
        let is_last = self.now.get(&offset).is_some_and(|flight| flight.popped_at == popped_at);
        if is_last {
            self.end(offset);
        }
        is_last
    }

    /// A message is in flight no more.
    pub fn end(&mut self, offset: i64) {
        if self.now.remove(&offset).is_none() {
            return;
        }
        if self.unsaid.get(&offset) == Some(&true) {
            self.unsaid.remove(&offset);
            // The log has to hear that it was passed.
            self.cursor_unsaid = true;
        } else {
            self.unsaid.insert(offset, false);
        }
    }

    /// A message stays in flight until another time, with another receipt. Whether its receipt was the last one.
    pub fn change(&mut self, offset: i64, receipt: i64, popped_at: i64, visible_at: i64) -> bool {
        let Some(flight) = self.now.get(&offset).filter(|flight| flight.popped_at == receipt)
        else {
            return false;
        };
        let again = flight.again;
        self.put(offset, InFlight { popped_at, visible_at, again });
        true
    }

    /// Everything below `offset` is done: the group said so, or it is not there any more. Returns how many were in flight.
    pub fn skip_before(&mut self, offset: i64) -> usize {
        let gone: Vec<i64> = self.now.range(..offset).map(|(offset, _)| *offset).collect();
        gone.iter().for_each(|offset| self.end(*offset));
        if self.cursor.is_some() {
            self.advance(offset);
        }
        gone.len()
    }

    /// The group goes on where its next pop says; what was in flight is not.
    pub fn begin_anew(&mut self) {
        self.now.clear();
        self.unsaid.clear();
        self.attempt = None;
        self.beginning += 1;
        (self.cursor, self.said_cursor) = (None, None);
        (self.anew_unsaid, self.cursor_unsaid) = (true, false);
    }

    /// The queue ends at `max`, before what was popped: it has lost its end. What comes there now was never popped.
    pub fn cut(&mut self, max: i64) {
        if self.cursor.is_none_or(|cursor| cursor <= max) {
            return;
        }
        let gone: Vec<i64> = self.now.range(max..).map(|(offset, _)| *offset).collect();
        gone.iter().for_each(|offset| self.end(*offset));
        (self.cursor, self.said_cursor, self.cursor_unsaid) = (Some(max), None, true);
        self.beginning += 1;
    }

    /// Whether nothing is in flight, and nobody is known to have popped since `before`, ms.
    pub(super) fn may_be_idle(&self, before: i64) -> bool {
        self.now.is_empty() && !self.busy && self.cursor.is_some() && self.used < before
    }

    /// The same was found. Begins anew if the log has committed the group's offset where it is popped.
    pub(super) fn look_idle(&mut self, now: i64, offset: Option<i64>) {
        if self.used == 0 {
            self.used = now;
        } else if offset == self.cursor {
            self.begin_anew();
        }
    }

    /// Whether nothing was ever popped of it: it stands where the group's offset is.
    pub(super) fn is_untouched(&self) -> bool {
        self.now.is_empty()
            && self.committed.is_empty()
            && self.committed_cursor.is_none()
            && !self.busy
            && !self.is_unsaid()
            && self.said_before == 0
    }

    /// Whether the log lacks something.
    pub(super) fn is_unsaid(&self) -> bool {
        !self.unsaid.is_empty() || self.cursor_unsaid || self.anew_unsaid
    }

    /// What the log lacks, at most so many rows, for an entry that is appended next ([`PopQueue::said_at`]). Of the place as much
    /// as the rows say: what it passes is in the log then.
    pub(super) fn take_unsaid(&mut self, rows_max: usize) -> (bool, Option<i64>, Vec<Said>) {
        let mut rows = Vec::new();
        while rows.len() < rows_max
            && let Some((offset, _)) = self.unsaid.pop_first()
        {
            rows.push((offset, self.now.get(&offset).copied()));
        }
        let anew = std::mem::take(&mut self.anew_unsaid);
        let cursor = match self.unsaid.first_key_value() {
            None => self.cursor.filter(|_| std::mem::take(&mut self.cursor_unsaid)),
            Some((next, _)) => {
                let cursor = self.cursor.map(|cursor| cursor.min(*next));
                cursor.filter(|_| self.cursor_unsaid).filter(|to| Some(*to) > self.said_cursor)
            }
        };
        self.said_cursor = cursor.or(self.said_cursor);
        self.said_before = u64::MAX;
        (anew, cursor, rows)
    }

    /// The entry that was taken last was appended at `position`.
    pub(super) fn said_at(&mut self, position: u64) {
        self.said_before = position + 1;
    }

    /// What the log has committed, from `offset` on.
    pub(super) fn committed_from(&self, offset: i64) -> impl Iterator<Item = Said> {
        self.committed.range(offset..).map(|(offset, flight)| (*offset, Some(*flight)))
    }

    /// What the log has committed: the place, and what is in flight.
    #[doc(hidden)]
    pub fn committed(&self) -> (Option<i64>, impl Iterator<Item = (i64, InFlight)>) {
        let rows = self.committed.iter().map(|(offset, flight)| (*offset, *flight));
        (self.committed_cursor, rows)
    }

    /// The place that the log has committed.
    pub(super) fn committed_cursor(&self) -> Option<i64> {
        self.committed_cursor
    }

    /// An entry at `position` was committed.
    pub(super) fn apply(&mut self, progress: &QueueProgress<'_>, position: u64) {
        if progress.anew {
            self.committed.clear();
            self.committed_cursor = None;
        }
        for (offset, said) in progress.rows() {
            set(&mut self.committed, offset, said);
        }
        self.committed_cursor = progress.cursor.or(self.committed_cursor);
        if position >= self.said_before {
            self.follow(progress);
        }
    }

    /// What somebody else wrote, or we in another life, holds now.
    fn follow(&mut self, progress: &QueueProgress<'_>) {
        if progress.anew {
            self.begin_anew();
            self.anew_unsaid = false;
        }
        for (offset, said) in progress.rows() {
            if !self.unsaid.contains_key(&offset) {
                set(&mut self.now, offset, said);
            }
        }
        self.cursor = progress.cursor.or(self.cursor);
        self.said_cursor = self.cursor;
        self.look_at_visible();
    }

    /// An entry that removes group or topic is about to be appended at `position`, or behind it.
    pub(super) fn forget(&mut self, position: u64) {
        self.begin_anew();
        self.anew_unsaid = false;
        self.said_before = position;
    }

    /// That entry was committed.
    pub(super) fn apply_removal(&mut self, position: u64) {
        self.committed.clear();
        self.committed_cursor = None;
        if position >= self.said_before && !self.is_unsaid() {
            self.forget(position);
        }
    }

    /// Whether nothing is known of it, and no entry on its way says something.
    pub(super) fn is_over(&self, position: u64) -> bool {
        self.cursor.is_none()
            && self.committed_cursor.is_none()
            && self.now.is_empty()
            && self.committed.is_empty()
            && !self.busy
            && !self.is_unsaid()
            && self.said_before <= position.saturating_add(1)
    }

    /// Panics when an invariant is broken.
    pub(super) fn check(&self) {
        for (offset, is_new) in &self.unsaid {
            assert!(!is_new || self.now.contains_key(offset), "{offset} is new and gone");
        }
    }
}

fn set(flights: &mut Flights, offset: i64, said: Option<InFlight>) {
    match said {
        Some(flight) => flights.insert(offset, flight),
        None => flights.remove(&offset),
    };
}
