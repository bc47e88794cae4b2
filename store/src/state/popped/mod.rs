//! What groups have popped and not acknowledged (POP consumption of 5.x).
//!
//! A queue that a group pops has a floor, which is the group's offset, a place up to which it was popped, and between the two
//! what is in flight, with its last receipt and the time from which on it is given out again, from the same queue
//! ([`queue::PopQueue`]). Nothing is copied to a retry topic and no message says that another one was acknowledged.
//!
//! As with offsets there are two values: what holds now, and what the log has committed, which is the state. Popping and
//! acknowledging write nothing; what changed is appended once a second, as offsets are ([`progress`]). So after a crash
//! what was popped or acknowledged within the last second is popped again, and nothing is passed that is not done.

pub mod progress;
pub mod queue;

pub use self::{
    progress::{InFlight, PopProgress},
    queue::PopQueue,
};

use super::{
    ControlEntry, ControlError, DerivedState, offset_changes::OffsetChange, offset_resets::HEARD,
    shared,
};
use crate::index::SectionKind;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound::{Included, Unbounded},
    rc::Rc,
};

/// Most messages that a group has in flight on a queue. Source: Apache RocketMQ 5.3.3, `popInflightMessageThreshold`.
pub const QUEUE_IN_FLIGHT_MAX: usize = 10_000;
/// Bytes of an entry, about: what is done at the commit gate in one step.
const ENTRY_BYTES: usize = 128 * 1024;
/// A queue that a group pops takes up as much as so many messages in flight.
pub const QUEUE_COST: usize = 4;
/// Rows of one piece of a snapshot.
const STEP_ROWS: usize = 2_048;
/// Queues that one look for idle ones goes over.
const STEP_QUEUES: usize = 8_192;

/// Group, topic, queue id.
type Name = (Rc<str>, Rc<str>, u32);
type Queues = BTreeMap<u32, PopQueue>;

/// The queues that groups pop.
#[derive(Default)]
pub struct Popped {
    /// By group, topic and queue.
    queues: BTreeMap<Rc<str>, BTreeMap<Rc<str>, Queues>>,
    count: usize,
    in_flight: usize,
    /// Most messages in flight together, if that was said; each queue counts for some.
    limit: Option<usize>,
    /// How many queues were ever begun.
    begun: u32,
    /// Queues of which the log lacks something, oldest first. Some may lack nothing any more.
    unsaid: VecDeque<Name>,
    /// How many were ever listed there, how many have left, and how many are to leave.
    listed: u64,
    unlisted: u64,
    due: u64,
    /// Queues of the entry that is appended next.
    taken: Vec<Name>,
    /// Where the look for idle ones goes on.
    looked: Option<Name>,
}

impl Popped {
    /// Whether no queue is popped.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many queues are popped, each group for itself.
    pub fn len(&self) -> usize {
        self.count
    }

    /// How many messages are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// More messages shall not be in flight together. Those that the log says are.
    pub(crate) fn limit(&mut self, messages: usize) {
        self.limit = Some(messages);
    }

    /// How many more messages may be in flight.
    pub fn left(&self) -> usize {
        let used = self.in_flight + QUEUE_COST * self.count;
        self.limit.unwrap_or(usize::MAX).saturating_sub(used)
    }

    /// How many more messages a group may have in flight on a queue.
    pub fn room(&self, group: &str, topic: &str, queue_id: u32) -> usize {
        let here = self.get(group, topic, queue_id).map_or(0, PopQueue::in_flight);
        QUEUE_IN_FLIGHT_MAX.saturating_sub(here).min(self.left())
    }

    /// Whether anything is known of the group.
    pub fn has_group(&self, group: &str) -> bool {
        self.queues.contains_key(group)
    }

    /// Whether anything is known of the topic.
    pub fn has_topic(&self, topic: &str) -> bool {
        self.queues.values().any(|topics| topics.contains_key(topic))
    }

    /// A queue as a group pops it.
    pub fn get(&self, group: &str, topic: &str, queue_id: u32) -> Option<&PopQueue> {
        self.queues.get(group)?.get(topic)?.get(&queue_id)
    }

    /// Queues that are popped: group, topic, queue id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, u32, &PopQueue)> {
        self.range(None)
            .map(|(group, topic, queue_id, queue)| (&**group, &**topic, queue_id, queue))
    }

    /// The same, from one on.
    fn range<'a>(
        &'a self,
        from: Option<&'a Name>,
    ) -> impl Iterator<Item = (&'a Rc<str>, &'a Rc<str>, u32, &'a PopQueue)> {
        let first = from.map_or(Unbounded, |(group, ..)| Included(&**group));
        self.queues.range::<str, _>((first, Unbounded)).flat_map(move |(group, topics)| {
            let from = from.filter(|(of, ..)| of == group);
            let first = from.map_or(Unbounded, |(_, topic, _)| Included(&**topic));
            topics.range::<str, _>((first, Unbounded)).flat_map(move |(topic, queues)| {
                let from = from.filter(|(_, of, _)| of == topic);
                let first = from.map_or(0, |(.., queue_id)| *queue_id);
                queues.range(first..).map(move |(id, queue)| (group, topic, *id, queue))
            })
        })
    }

    /// Changes a queue that a group pops. `None`: it does not.
    pub fn change<T>(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: u32,
        change: impl FnOnce(&mut PopQueue) -> T,
    ) -> Option<T> {
        let queue = self.queues.get_mut(group)?.get_mut(topic)?.get_mut(&queue_id)?;
        let (before, was_unsaid) = (queue.in_flight(), queue.is_unsaid());
        let changed = change(queue);
        let (after, is_unsaid) = (queue.in_flight(), queue.is_unsaid());
        self.in_flight = self.in_flight + after - before;
        if is_unsaid && !was_unsaid {
            let (group, topics) = self.queues.get_key_value(group)?;
            let (topic, _) = topics.get_key_value(topic)?;
            self.unsaid.push_back((Rc::clone(group), Rc::clone(topic), queue_id));
            self.listed += 1;
        }
        Some(changed)
    }

    /// A group pops a queue, for the first time or not. False: there is no room for another one.
    pub fn begin(&mut self, group: &str, topic: &str, queue_id: u32) -> bool {
        if self.get(group, topic, queue_id).is_some() {
            return true;
        }
        let has_room = self.left() >= QUEUE_COST;
        if has_room {
            self.add(group, topic, queue_id);
        }
        has_room
    }

    fn add(&mut self, group: &str, topic: &str, queue_id: u32) {
        self.begun = self.begun.wrapping_add(1);
        let queue = PopQueue::new(self.begun);
        if self.queues_of(group, topic).insert(queue_id, queue).is_none() {
            self.count += 1;
        }
    }

    /// A start has read the log. Queues end at what `max` says of topic and queue: some may have lost their end. And all before the
    /// group's offset is done: the log may have that, and not the receipts.
    pub(crate) fn settle(
        &mut self,
        max: impl Fn(&str, u32) -> i64,
        offset: impl Fn(&str, &str, u32) -> Option<i64>,
    ) {
        let names: Vec<Name> =
            self.range(None).map(|(of, on, id, _)| (Rc::clone(of), Rc::clone(on), id)).collect();
        for (group, topic, queue_id) in names {
            let (max, offset) = (max(&topic, queue_id), offset(&group, &topic, queue_id));
            self.change(&group, &topic, queue_id, |queue| {
                queue.cut(max);
                queue.skip_before(offset.unwrap_or(0).min(max));
            });
        }
    }

    fn queues_of(&mut self, group: &str, topic: &str) -> &mut Queues {
        let group = shared(&self.queues, group);
        let topics = self.queues.entry(group).or_default();
        let topic = shared(topics, topic);
        topics.entry(topic).or_default()
    }

    /// Forgets queues that nobody has popped since `before`, ms, and of which nothing is in flight, a piece at a time, if the log
    /// has committed the group's offset where they are: that says all. Of those that were there at the start nobody knows; they
    /// count as popped `now`.
    pub(crate) fn forget_idle(
        &mut self,
        now: i64,
        before: i64,
        offset: impl Fn(&str, &str, u32) -> Option<i64>,
    ) {
        let (mut seen, mut next, mut left) = (Vec::new(), None, STEP_QUEUES);
        let last = self.looked.take();
        for (group, topic, queue_id, queue) in self.range(last.as_ref()) {
            let name = || (Rc::clone(group), Rc::clone(topic), queue_id);
            if left == 0 {
                next = Some(name());
                break;
            }
            left -= 1;
            if queue.may_be_idle(before) {
                seen.push(name());
            }
        }
        self.looked = next;
        for (group, topic, queue_id) in seen {
            let offset = offset(&group, &topic, queue_id);
            self.change(&group, &topic, queue_id, |queue| queue.look_idle(now, offset));
        }
    }

    /// Drops a queue of which nothing is known that the group's offset does not say, and the log neither.
    pub(crate) fn drop_if_empty(&mut self, group: &str, topic: &str, queue_id: u32) {
        let Some(queues) = self.queues.get_mut(group).and_then(|it| it.get_mut(topic)) else {
            return;
        };
        if queues.get(&queue_id).is_some_and(PopQueue::is_untouched) {
            queues.remove(&queue_id);
            self.count -= 1;
            if queues.is_empty() {
                self.drop_names(group, topic);
            }
        }
    }

    /// What changed until now is to be returned by `take_change`.
    pub(crate) fn say_now(&mut self) {
        self.due = self.listed;
    }

    /// Whether `take_change` may have something to return.
    pub fn is_dirty(&self) -> bool {
        self.unlisted < self.due
    }

    fn unlist_first(&mut self) {
        self.unsaid.pop_front();
        self.unlisted += 1;
    }

    /// What the log lacks and was to be said, the oldest, as the content of one control entry of at most `bytes_max` bytes, which is
    /// appended next ([`Popped::said_at`]). Call until `None`.
    #[doc(hidden)]
    pub fn take_change(&mut self, bytes_max: usize) -> Option<Vec<u8>> {
        let bytes_max = bytes_max.min(ENTRY_BYTES);
        let mut content = Vec::new();
        while self.is_dirty()
            && let Some((group, topic, queue_id)) = self.unsaid.front().cloned()
        {
            let room = bytes_max.saturating_sub(content.len());
            let rows_max = progress::rows_within(room, &group, &topic);
            if rows_max == 0 && !content.is_empty() {
                break;
            }
            let queue = self.queues.get_mut(&*group).and_then(|topics| topics.get_mut(&*topic));
            let queue = queue.and_then(|queues| queues.get_mut(&queue_id));
            let Some(queue) = queue.filter(|queue| queue.is_unsaid()) else {
                self.unlist_first();
                continue;
            };
            let (anew, cursor, rows) = queue.take_unsaid(rows_max.max(1));
            progress::write(&mut content, (&group, &topic, queue_id), anew, cursor, &rows);
            if !queue.is_unsaid() {
                self.unlist_first();
            }
            self.taken.push((group, topic, queue_id));
        }
        (!content.is_empty()).then_some(content)
    }

    /// The entry that was taken last was appended at `position`.
    #[doc(hidden)]
    pub fn said_at(&mut self, position: u64) {
        for (group, topic, queue_id) in std::mem::take(&mut self.taken) {
            self.change(&group, &topic, queue_id, |queue| queue.said_at(position));
        }
    }

    /// A control entry that deletes the topic is about to be appended at `position`.
    pub(crate) fn forget_topic(&mut self, topic: &str, position: u64) {
        let groups = self.queues.values_mut().filter_map(|topics| topics.get_mut(topic));
        forget(&mut self.in_flight, groups, position);
    }

    /// As [`Popped::forget_topic`], for a group.
    pub(crate) fn forget_group(&mut self, group: &str, position: u64) {
        let topics = self.queues.get_mut(group).into_iter().flat_map(BTreeMap::values_mut);
        forget(&mut self.in_flight, topics, position);
    }

    fn take(&mut self, progress: PopProgress<'_>, position: u64) {
        for said in progress.iter() {
            if self.get(said.group, said.topic, said.queue_id).is_none() {
                self.add(said.group, said.topic, said.queue_id);
            }
            let queues = self.queues_of(said.group, said.topic);
            let Some(queue) = queues.get_mut(&said.queue_id) else { continue };
            let before = queue.in_flight();
            queue.apply(&said, position);
            let (after, is_over) = (queue.in_flight(), queue.is_over(position));
            if is_over {
                queues.remove(&said.queue_id);
            }
            let is_last = queues.is_empty();
            self.in_flight = self.in_flight + after - before;
            self.count -= usize::from(is_over);
            if is_last {
                self.drop_names(said.group, said.topic);
            }
        }
    }

    /// An entry at `position` tells a group to go on elsewhere.
    fn begin_anew(&mut self, reset: &OffsetChange<'_>, position: u64) {
        let queues = self.queues.get_mut(reset.group).and_then(|it| it.get_mut(reset.topic));
        let Some(queue) = queues.and_then(|queues| queues.get_mut(&reset.queue_id)) else { return };
        self.in_flight -= queue.in_flight();
        queue.apply_removal(position);
        self.in_flight += queue.in_flight();
    }

    /// A group pops no queue of a topic any more.
    fn drop_names(&mut self, group: &str, topic: &str) {
        let Some(topics) = self.queues.get_mut(group) else { return };
        topics.remove(topic);
        if topics.is_empty() {
            self.queues.remove(group);
        }
    }

    /// An entry at `position` says that nothing is left of a topic.
    fn remove_topic(&mut self, topic: &str, position: u64) {
        let (count, in_flight) = (&mut self.count, &mut self.in_flight);
        self.queues.retain(|_, topics| {
            if let Some(queues) = topics.get_mut(topic) {
                remove(count, in_flight, queues, position);
                if queues.is_empty() {
                    topics.remove(topic);
                }
            }
            !topics.is_empty()
        });
    }

    /// The same of a group.
    fn remove_group(&mut self, group: &str, position: u64) {
        let Some(topics) = self.queues.get_mut(group) else { return };
        let (count, in_flight) = (&mut self.count, &mut self.in_flight);
        topics.retain(|_, queues| {
            remove(count, in_flight, queues, position);
            !queues.is_empty()
        });
        if topics.is_empty() {
            self.queues.remove(group);
        }
    }

    /// Panics when an invariant is broken.
    pub fn check(&self) {
        let (mut count, mut in_flight) = (0, 0);
        for (.., queue) in self.iter() {
            queue.check();
            count += 1;
            in_flight += queue.in_flight();
        }
        assert!((count, in_flight) == (self.count, self.in_flight));
    }
}

/// Where a snapshot goes on: a queue, and an offset in it.
type Place = Option<(Name, i64)>;

impl DerivedState for Popped {
    const SECTION: SectionKind = SectionKind::Popped;
    type Place = Place;

    fn apply(&mut self, entry: &ControlEntry<'_>, position: u64) {
        match entry {
            ControlEntry::PopProgress(progress) => self.take(*progress, position),
            ControlEntry::TopicRemoved { topic } => self.remove_topic(topic, position),
            ControlEntry::GroupRemoved { group } => self.remove_group(group, position),
            ControlEntry::OffsetsReset(changes) => {
                let targets = changes.iter().filter(|change| change.offset != HEARD);
                targets.for_each(|change| self.begin_anew(&change, position));
            }
            ControlEntry::GroupOffsets(_)
            | ControlEntry::Delivered { .. }
            | ControlEntry::Cancelled { .. }
            | ControlEntry::Carried { .. }
            | ControlEntry::HalfEnded { .. }
            | ControlEntry::HalfChecked(_)
            | ControlEntry::Epoch(_) => {}
        }
    }

    fn snapshot(&self, place: &mut Place, pieces: &mut Vec<Vec<u8>>) -> bool {
        let (mut left, mut content) = (STEP_ROWS, Vec::new());
        let last = place.take();
        let last_name = last.as_ref().map(|(name, _)| name);
        let mut first_offset = last.as_ref().map_or(i64::MIN, |(_, offset)| *offset);
        for (group, topic, queue_id, queue) in self.range(last_name) {
            let is_last =
                last_name.is_some_and(|(of, on, id)| (of, on, *id) == (group, topic, queue_id));
            let from = std::mem::replace(&mut first_offset, i64::MIN);
            let from = if is_last { from } else { i64::MIN };
            if left == 0 {
                *place = Some(((Rc::clone(group), Rc::clone(topic), queue_id), i64::MIN));
                break;
            }
            let rows: Vec<_> = queue.committed_from(from).take(left).collect();
            let cursor = queue.committed_cursor();
            if !rows.is_empty() || cursor.is_some() {
                progress::write(&mut content, (group, topic, queue_id), false, cursor, &rows);
            }
            // A queue costs something even without rows.
            left = left.saturating_sub(rows.len().max(1));
            if left == 0
                && let Some((offset, _)) = rows.last()
            {
                *place = Some(((Rc::clone(group), Rc::clone(topic), queue_id), offset + 1));
                break;
            }
        }
        if !content.is_empty() {
            pieces.push(content);
        }
        place.is_some()
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), ControlError> {
        self.take(PopProgress::decode(piece)?, 0);
        Ok(())
    }
}

/// Queues of which an entry, at `position` or behind it, is about to say that nothing is left.
fn forget<'a>(in_flight: &mut usize, all: impl Iterator<Item = &'a mut Queues>, position: u64) {
    for queue in all.flat_map(BTreeMap::values_mut) {
        *in_flight -= queue.in_flight();
        queue.forget(position);
    }
}

/// An entry at `position` says that nothing is left of these queues.
fn remove(count: &mut usize, in_flight: &mut usize, queues: &mut Queues, position: u64) {
    let before = queues.len();
    queues.retain(|_, queue| {
        *in_flight -= queue.in_flight();
        queue.apply_removal(position);
        *in_flight += queue.in_flight();
        !queue.is_over(position)
    });
    *count -= before - queues.len();
}
