//! How far groups have consumed the queues of a shard: offsets that they commit, resets of these, and what they pop.
//!
//! All of it changes at once, and is appended to the log at least once a second.

use crate::{
    batch::CONTROL_HEADER_BYTES,
    error::Refused,
    state::{
        ControlEntry, GroupOffsets, ShardState,
        group_offsets::{self, OffsetChanges, OffsetRefused},
        popped::{PopProgress, PopQueue},
    },
    store_state::StoreState,
};

/// After so long without a pop a queue of which nothing is in flight is popped from its group's offset on, ms.
const POP_IDLE_MS: i64 = 5_000;

/// A point in the order in which groups commit offsets and are told to go on elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct OffsetsMark {
    offsets: u64,
    resets: u64,
}

/// A queue, and the group that pops it.
#[derive(Clone, Copy, Debug)]
pub struct PopPlace<'a> {
    /// The group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The queue's id within the topic.
    pub queue_id: u32,
}

/// How a queue is popped.
#[derive(Clone, Copy, Debug)]
pub struct PopAsk<'a> {
    /// The time by the clock by which messages are due, ms.
    pub now: i64,
    /// The time that receipts say, ms. It may be that of another shard.
    pub popped_at: i64,
    /// Most messages.
    pub count_max: usize,
    /// Nothing new is popped while something is in flight, unless the attempt of this name is repeated.
    pub in_order: Option<Option<&'a str>>,
}

/// What a pop of a queue may give out.
#[derive(Debug, PartialEq, Eq)]
pub struct PopStart {
    /// Offsets that were popped before and are given out again, ascending.
    pub again: Vec<i64>,
    /// From here on nothing was popped.
    pub cursor: i64,
    /// Most messages.
    pub count_max: usize,
    /// A pop in order: whether it repeats the last attempt, and which it is.
    in_order: Option<(bool, Option<Box<str>>)>,
    beginning: u64,
}

/// What a pop has read of a queue.
#[derive(Clone, Copy, Debug)]
pub struct PopRead<'a> {
    /// Offsets that are to be given out, ascending.
    pub found: &'a [i64],
    /// Offsets that were in flight and cannot be read any more, ascending.
    pub lost: &'a [i64],
    /// All before this offset was popped, or does not match.
    pub cursor: i64,
    /// The time of the pop, ms.
    pub popped_at: i64,
    /// When it is given out again, ms.
    pub visible_at: i64,
}

impl StoreState {
    /// A group has consumed up to `offset`. Counts what is refused. False: the group is told to go on elsewhere, and speaks
    /// of where it was before.
    pub fn commit_group_offset(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: u32,
        offset: i64,
    ) -> Result<bool, OffsetRefused> {
        let taken = self.set_group_offset(group, topic, queue_id, offset)?;
        if taken && !self.derived.popped.is_empty() {
            // It pulled what it had popped before. Who commits less goes on popping where it is: members that still pull
            // commit what they have in hand.
            let skip = |queue: &mut PopQueue| queue.skip_before(offset);
            self.derived.popped.change(group, topic, queue_id, skip);
        }
        Ok(taken)
    }

    fn set_group_offset(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: u32,
        offset: i64,
    ) -> Result<bool, OffsetRefused> {
        let ShardState { group_offsets, offset_resets, .. } = &mut self.derived;
        if !offset_resets.is_empty() && !offset_resets.may_commit(group, topic, queue_id, offset) {
            return Ok(false);
        }
        let taken = group_offsets.set(group, topic, queue_id, offset);
        if taken.is_err() {
            self.count_refused_offset();
        }
        taken.map(|()| true)
    }

    /// A group is told to go on at `target`, see [`crate::state::offset_resets`]. What it has popped is in flight no more.
    pub fn reset_group_offset(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: u32,
        target: i64,
    ) -> Result<(), OffsetRefused> {
        let ShardState { group_offsets, offset_resets, popped, .. } = &mut self.derived;
        offset_resets.admit(group, topic, queue_id)?;
        group_offsets.set(group, topic, queue_id, target)?;
        offset_resets.reset(group, topic, queue_id, target);
        popped.change(group, topic, queue_id, PopQueue::begin_anew);
        Ok(())
    }

    /// A group pops a queue. `first` says where it begins that has no offset yet. `None`: it gets nothing now. What is given
    /// out is said to [`StoreState::end_pop`].
    pub fn begin_pop(
        &mut self,
        place: PopPlace<'_>,
        ask: PopAsk<'_>,
        first: impl FnOnce(&StoreState) -> i64,
    ) -> Option<PopStart> {
        let PopPlace { group, topic, queue_id } = place;
        let ShardState { group_offsets, offset_resets, popped, .. } = &mut self.derived;
        let is_busy = popped.get(group, topic, queue_id).is_some_and(PopQueue::is_busy);
        if is_busy || !offset_resets.may_pop(group, topic, queue_id) {
            return None;
        }
        let room = popped.room(group, topic, queue_id);
        let known = group_offsets.get(group, topic, queue_id).filter(|offset| *offset >= 0);
        // A crash may have come between what the log says of the two.
        let floor = popped.get(group, topic, queue_id).and_then(PopQueue::floor);
        let known = known.or(floor);
        let offset = match known {
            Some(offset) => offset,
            None => {
                let offset = first(self);
                self.set_group_offset(group, topic, queue_id, offset).ok()?;
                offset
            }
        };
        let bounds = self.queue(topic, queue_id).map_or((0, 0), |queue| (queue.min(), queue.max()));
        let popped = &mut self.derived.popped;
        if !popped.begin(group, topic, queue_id) {
            return None;
        }
        let start = |queue: &mut PopQueue| queue.start(ask, offset, bounds, room);
        let started = popped.change(group, topic, queue_id, start).flatten();
        if started.is_none() {
            popped.drop_if_empty(group, topic, queue_id);
        }
        started
    }

    /// What a pop has read goes out. Says of each that was found how often it was popped before; `None`: it is not to be given
    /// out. No answer: the group was told to go on elsewhere meanwhile, and gets nothing.
    pub fn end_pop(
        &mut self,
        place: PopPlace<'_>,
        start: &PopStart,
        read: PopRead<'_>,
    ) -> Option<Vec<Option<u32>>> {
        let PopPlace { group, topic, queue_id } = place;
        let end = |queue: &mut PopQueue| queue.finish(start, read);
        let given = self.derived.popped.change(group, topic, queue_id, end)??;
        self.follow_floor(place);
        if given.is_empty() {
            self.derived.popped.drop_if_empty(group, topic, queue_id);
        }
        Some(given)
    }

    /// Somebody reads messages for a pop, or has: others pass the queue.
    pub fn set_pop_busy(&mut self, place: PopPlace<'_>, busy: bool) {
        let PopPlace { group, topic, queue_id } = place;
        self.derived.popped.change(group, topic, queue_id, |queue| queue.set_busy(busy));
    }

    /// A receipt of a popped message comes back. Whether it was the last one.
    pub fn ack_popped(&mut self, place: PopPlace<'_>, offset: i64, popped_at: i64) -> bool {
        let PopPlace { group, topic, queue_id } = place;
        let ack = |queue: &mut PopQueue| queue.ack(offset, popped_at);
        let is_last = self.derived.popped.change(group, topic, queue_id, ack).unwrap_or(false);
        if is_last {
            self.follow_floor(place);
        }
        is_last
    }

    /// A popped message is visible again at another time; it has another receipt, or, in order, the same. Returns the time of the pop that
    /// the receipt names. `None`: its receipt was not the last one.
    pub fn change_popped(
        &mut self,
        place: PopPlace<'_>,
        offset: i64,
        receipt: i64,
        popped_at: i64,
        visible_at: i64,
    ) -> Option<i64> {
        let PopPlace { group, topic, queue_id } = place;
        let popped_at = popped_at.max(receipt);
        let change = |queue: &mut PopQueue| queue.change(offset, receipt, popped_at, visible_at);
        let changed = self.derived.popped.change(group, topic, queue_id, change)?;
        changed.then_some(popped_at)
    }

    /// The group's offset is where everything before it is done.
    fn follow_floor(&mut self, PopPlace { group, topic, queue_id }: PopPlace<'_>) {
        let floor = self.derived.popped.get(group, topic, queue_id).and_then(PopQueue::floor);
        let known = self.derived.group_offsets.get(group, topic, queue_id);
        if let Some(floor) = floor.filter(|floor| known != Some(*floor)) {
            // Refused it is counted; the log says as well what is in flight.
            let _ = self.set_group_offset(group, topic, queue_id, floor);
        }
    }

    /// An offset was refused before it came here.
    pub fn count_refused_offset(&mut self) {
        self.counters.refused_offsets += 1;
    }

    /// Appends what groups committed since the last call, as much as one control entry holds: call until `None`. What is
    /// refused now stays dirty for the next call.
    pub fn append_group_offsets(&mut self, now: i64) -> Result<Option<u64>, Refused> {
        self.derived.group_offsets.sweep();
        if !self.has_unwritten_offsets() {
            return Ok(None);
        }
        let record_bytes_max = self.log.shape().entry_bytes_max;
        let wanted = group_offsets::CONTENT_BYTES_MAX.min(record_bytes_max / 2);
        // A message in flight fits with its names, too: topics have shorter ones than an offset may name.
        let bytes_max = GroupOffsets::change_bytes_max(wanted);
        self.log.admit_control(CONTROL_HEADER_BYTES + bytes_max)?;
        let at = self.log.appended();
        let ShardState { group_offsets, offset_resets, .. } = &mut self.derived;
        // Resets first: what is committed after one has ended stands behind its end.
        if let Some(content) = offset_resets.take_change(bytes_max, at) {
            let changes = OffsetChanges::decode(&content).expect("written by take_change");
            return Ok(Some(self.append_changes(&ControlEntry::OffsetsReset(changes), now)));
        }
        // Neither makes the other wait for long, whatever comes.
        let was_popped = std::mem::take(&mut self.popped_was_last);
        if !(was_popped && group_offsets.is_dirty())
            && let Some(end) = self.append_popped(bytes_max, now)
        {
            self.popped_was_last = true;
            return Ok(Some(end));
        }
        let Some(content) = self.derived.group_offsets.take_change(bytes_max, at) else {
            return Ok(None);
        };
        let changes = OffsetChanges::decode(&content).expect("written by take_change");
        Ok(Some(self.append_changes(&ControlEntry::GroupOffsets(changes), now)))
    }

    fn append_popped(&mut self, bytes_max: usize, now: i64) -> Option<u64> {
        let content = self.derived.popped.take_change(bytes_max)?;
        let progress = PopProgress::decode(&content).expect("written by take_change");
        let entry = ControlEntry::PopProgress(progress);
        let position = self.append_admitted(&entry, now);
        self.derived.popped.said_at(position);
        Some(position + entry.bytes() as u64)
    }

    fn append_changes(&mut self, entry: &ControlEntry<'_>, now: i64) -> u64 {
        self.append_admitted(entry, now) + entry.bytes() as u64
    }

    /// A start has read the log.
    pub(crate) fn settle_popped(&mut self) {
        let mut popped = std::mem::take(&mut self.derived.popped);
        let max = |topic: &str, id| self.queue(topic, id).map_or(0, |queue| queue.max());
        let offsets = &self.derived.group_offsets;
        popped.settle(max, |group, topic, id| offsets.get(group, topic, id));
        self.derived.popped = popped;
    }

    /// What was popped and acknowledged until now is to be appended with the next calls of
    /// [`StoreState::append_group_offsets`]; what comes later waits for the next call of this.
    pub fn write_popped(&mut self) {
        self.derived.popped.say_now();
    }

    /// Forgets some of the queues that nobody has popped for long, at `now`, ms, of which nothing is in flight.
    pub fn forget_idle_pops(&mut self, now: i64) {
        let ShardState { group_offsets, popped, .. } = &mut self.derived;
        let offset = |group: &str, topic: &str, id| group_offsets.committed(group, topic, id);
        popped.forget_idle(now, now - POP_IDLE_MS, offset);
    }

    /// Whether [`StoreState::append_group_offsets`] may have something to append.
    pub fn has_unwritten_offsets(&self) -> bool {
        let ShardState { group_offsets, offset_resets, popped, .. } = &self.derived;
        group_offsets.is_dirty() || offset_resets.is_dirty() || popped.is_dirty()
    }

    /// Where all that groups have committed, and all resets, end until now.
    pub fn offsets_mark(&self) -> OffsetsMark {
        let ShardState { group_offsets, offset_resets, .. } = &self.derived;
        OffsetsMark { offsets: group_offsets.mark(), resets: offset_resets.noted() }
    }

    /// Whether all before the mark was appended.
    pub fn has_appended(&self, mark: OffsetsMark) -> bool {
        let ShardState { group_offsets, offset_resets, .. } = &self.derived;
        group_offsets.has_taken(mark.offsets) && offset_resets.has_taken(mark.resets)
    }
}

impl PopQueue {
    /// See [`StoreState::begin_pop`]. The group's offset is `offset`; messages are there from `min` to `max`; `room` more may be
    /// in flight.
    fn start(
        &mut self,
        ask: PopAsk<'_>,
        offset: i64,
        (min, max): (i64, i64),
        room: usize,
    ) -> Option<PopStart> {
        self.cut(max);
        let offset = offset.clamp(min, max);
        self.begin(offset);
        self.skip_before(offset);
        let cursor = self.cursor()?;
        let (mut again, in_order) = match ask.in_order {
            None => (self.visible(ask.now, ask.popped_at, ask.count_max), None),
            Some(attempt) => {
                let (again, same) = self.again_in_order(ask.now, ask.popped_at, attempt)?;
                (again, Some((same, attempt.map(Box::from))))
            }
        };
        // The log may have lost how far the group had popped: what it knows of behind that is passed before it is given out again.
        again.retain(|offset| *offset < cursor);
        again.truncate(ask.count_max);
        if in_order.is_none() && cursor < max && !again.is_empty() {
            // What fails again and again does not stop what was never tried.
            again.truncate(self.share_of_again(ask.count_max));
        }
        let count_max = ask.count_max.min(again.len() + room);
        let beginning = self.beginning();
        (count_max > 0).then_some(PopStart { again, cursor, count_max, in_order, beginning })
    }

    /// See [`StoreState::end_pop`].
    fn finish(&mut self, start: &PopStart, read: PopRead<'_>) -> Option<Vec<Option<u32>>> {
        if start.beginning != self.beginning() {
            return None;
        }
        let same_attempt = start.in_order.as_ref().is_some_and(|(same, _)| *same);
        read.lost.iter().for_each(|offset| self.end(*offset));
        let mut give = |offset: i64| {
            let is_again = start.again.binary_search(&offset).is_ok();
            // Acknowledged meanwhile, or in flight although the log lost how far the group had popped.
            if is_again != self.is_in_flight(offset) {
                return None;
            }
            Some(self.give(offset, read.popped_at, read.visible_at, same_attempt))
        };
        let given = read.found.iter().map(|offset| give(*offset)).collect();
        self.advance(read.cursor);
        if !start.again.is_empty() {
            self.look_at_visible();
        }
        if let Some((false, attempt)) = &start.in_order
            && self.in_flight() > 0
        {
            self.set_attempt(attempt.clone());
        }
        Some(given)
    }
}

#[cfg(test)]
#[path = "consuming_tests.rs"]
mod tests;
