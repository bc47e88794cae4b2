//! Queues on which a group was told to go on elsewhere, and has not done so yet.
//!
//! A reset sets the group's offset ([`super::group_offsets`]) and marks the queue, in one entry of the log. While the mark is
//! there, a pull of the queue that comes from elsewhere is told where to go on, and what the group commits
//! does not count: it speaks of where it was before. Somebody has heard it when a pull comes from the place; from then on what was
//! served from there on may be committed, and the first such commit ends the mark. Clients still commit late what they had in hand.
//! So a reset holds whether the group is online or not, and a late commit does not undo it. A connection that was told and pulls
//! from elsewhere again, a second later, has a will of its own: that ends the mark, too.
//!
//! As with offsets there are two values: what holds now, and what the log has committed, which is the state. The end of a mark
//! is in the log before any offset that was committed after it. Who was told and has heard is not in the log.

use super::{
    ControlEntry, ControlError, DerivedState,
    control::KIND_OFFSETS_RESET,
    group_offsets::OffsetRefused,
    offset_changes::{
        COUNTS_BYTES, OffsetChange, OffsetChanges, PAIR_BYTES, PAIRS_MAX, write_pairs,
    },
    shared,
};
use crate::index::SectionKind;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound::{Excluded, Included, Unbounded},
    rc::Rc,
};

/// Most marks of a shard. What the log says is taken in any case.
pub const MARKS_MAX: usize = 65_536;
/// In entries, instead of an offset: the group has heard it.
pub const HEARD: i64 = i64::MIN;

/// Times that pulls are told because of one reset, at most: clients that go on as they please pull in turn.
const TELLS_MAX: u8 = 16;
/// How long a connection may have pulls on their way after it was told, ms.
const HEAR_MS: i64 = 1_000;
/// What comes so long after a group has heard it is not late, ms.
const SETTLED_MS: i64 = 60_000;
/// Bytes of an entry, about: what is done at the commit gate in one step.
const ENTRY_BYTES: usize = 64 * 1024;
/// Marks of one piece of a snapshot.
const STEP_MARKS: usize = 4_096;

/// Who pulls from a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Puller {
    /// A number of its connection that no other one has.
    pub connection: u64,
    /// From where.
    pub offset: i64,
    /// Time of a clock that does not go back, ms.
    pub now: i64,
}

/// A mark that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reset {
    target: i64,
    /// The connection that was told last, and when.
    told: Option<(u64, i64)>,
    /// How often one was.
    tells: u8,
    heard: Option<Heard>,
}

/// Somebody pulls from the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    by: u64,
    /// What was served ends here.
    up_to: i64,
    since: i64,
}

/// What a pull means for a mark.
enum Pulled {
    /// It goes on where it is.
    Served,
    /// It is told.
    Told,
    /// It goes on, and the mark ends.
    Over,
}

impl Reset {
    fn to(target: i64) -> Reset {
        Reset { target, told: None, tells: 0, heard: None }
    }

    /// Whether this was served since the group has heard it.
    fn has_served(&self, offset: i64) -> bool {
        self.heard.is_some_and(|heard| (self.target..=heard.up_to).contains(&offset))
    }

    fn on_pull(&mut self, Puller { connection, offset, now }: Puller) -> Pulled {
        let served = self.has_served(offset);
        match &mut self.heard {
            Some(heard) if now - heard.since >= SETTLED_MS => return Pulled::Over,
            Some(heard) if served || (heard.by == connection && offset > self.target) => {
                *heard = Heard { by: connection, up_to: heard.up_to.max(offset), ..*heard };
                return Pulled::Served;
            }
            None if offset == self.target => {
                self.heard = Some(Heard { by: connection, up_to: offset, since: now });
                return Pulled::Served;
            }
            _ => {}
        }
        let by_itself = self.heard.is_some_and(|heard| heard.by == connection);
        // What it asked for before it heard of it does not say what it wants.
        let had_time =
            self.told.is_some_and(|(told, at)| told == connection && now - at >= HEAR_MS);
        if by_itself || had_time || self.tells == TELLS_MAX {
            return Pulled::Over;
        }
        self.told = Some((connection, now));
        self.tells += 1;
        Pulled::Told
    }
}

#[derive(Default)]
struct Mark {
    now: Option<Reset>,
    /// What the log has committed.
    committed: Option<i64>,
    /// The log does not have `now` yet.
    dirty: bool,
    /// Entries before this position say nothing of `now`: a later one is in flight that does.
    said_from: u64,
}

impl Mark {
    /// The log has committed this target, or none, in an entry at `position`.
    fn apply(&mut self, target: Option<i64>, position: u64) {
        self.committed = target;
        if !self.dirty && position >= self.said_from && self.target() != target {
            self.now = target.map(Reset::to);
        }
    }

    fn target(&self) -> Option<i64> {
        self.now.map(|reset| reset.target)
    }

    /// Whether an entry at `position` was the last that says something of it, and that it is over.
    fn is_over(&self, position: u64) -> bool {
        !self.dirty && self.now.is_none() && self.committed.is_none() && self.said_from <= position
    }
}

/// Group, topic, queue id.
type Name = (Rc<str>, Rc<str>, u32);
type Queues = BTreeMap<u32, Mark>;

/// The marks of all groups.
#[derive(Default)]
pub struct OffsetResets {
    /// By group, topic and queue.
    marks: BTreeMap<Rc<str>, BTreeMap<Rc<str>, Queues>>,
    count: usize,
    /// What the log lacks, oldest first. Some may be no change any more.
    unwritten: VecDeque<Name>,
    /// How many were ever noted there.
    noted: u64,
}

impl OffsetResets {
    /// Whether anything is known of the group.
    pub fn has_group(&self, group: &str) -> bool {
        self.marks.contains_key(group)
    }

    /// Whether anything is known of the topic.
    pub fn has_topic(&self, topic: &str) -> bool {
        self.marks.values().any(|topics| topics.contains_key(topic))
    }

    /// Whether a queue is marked, or was a moment ago.
    pub fn has(&self, group: &str, topic: &str, queue_id: u32) -> bool {
        self.mark(group, topic, queue_id).is_some()
    }

    /// Whether no queue is marked, or was a moment ago.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many queues are marked, those that end included.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Queues that are marked, and where their groups are to go on.
    pub fn iter(&self) -> impl Iterator<Item = OffsetChange<'_>> {
        self.walk(Mark::target)
    }

    fn walk(&self, value: impl Fn(&Mark) -> Option<i64>) -> impl Iterator<Item = OffsetChange<'_>> {
        let all = self.marks.iter().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, queues)| {
                queues.iter().map(move |(queue_id, mark)| (&**group, &**topic, *queue_id, mark))
            })
        });
        all.filter_map(move |(group, topic, queue_id, mark)| {
            Some(OffsetChange { group, topic, queue_id, offset: value(mark)? })
        })
    }

    /// Whether a queue may be marked.
    pub(crate) fn admit(
        &self,
        group: &str,
        topic: &str,
        queue_id: u32,
    ) -> Result<(), OffsetRefused> {
        if self.count < MARKS_MAX || self.mark(group, topic, queue_id).is_some() {
            return Ok(());
        }
        Err(OffsetRefused::TooManyResets { marks: self.count })
    }

    /// Marks a queue: its group goes on at `target`.
    pub(crate) fn reset(&mut self, group: &str, topic: &str, queue_id: u32, target: i64) {
        self.change(group, topic, queue_id, Some(Reset::to(target)));
    }

    /// A member of the group commits an offset. Whether it counts.
    pub(crate) fn may_commit(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: u32,
        offset: i64,
    ) -> bool {
        let Some(reset) = self.mark(group, topic, queue_id).and_then(|mark| mark.now) else {
            return true;
        };
        // Clients commit where they were told to go before they go there: that is what the offset is.
        let counts = offset == reset.target || reset.has_served(offset);
        if counts && offset != reset.target {
            self.change(group, topic, queue_id, None);
        }
        counts
    }

    /// A member of the group pulls. Returns where it is to go on, if it has to be told.
    pub fn on_pull(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: u32,
        puller: Puller,
    ) -> Option<i64> {
        let reset = self.reset_of(group, topic, queue_id)?;
        match reset.on_pull(puller) {
            Pulled::Served => None,
            Pulled::Told => Some(reset.target),
            Pulled::Over => {
                self.change(group, topic, queue_id, None);
                None
            }
        }
    }

    /// A member of the group pops the queue, which begins at the place: that ends the mark. False: not before the log has it.
    pub(crate) fn may_pop(&mut self, group: &str, topic: &str, queue_id: u32) -> bool {
        match self.mark(group, topic, queue_id) {
            Some(Mark { now: Some(_), dirty: true, .. }) => false,
            Some(Mark { now: Some(_), .. }) => {
                self.change(group, topic, queue_id, None);
                true
            }
            _ => true,
        }
    }

    /// A member of the group gets the messages `from` to `to`.
    pub fn on_served(&mut self, group: &str, topic: &str, queue_id: u32, from: i64, to: i64) {
        let Some(reset) = self.reset_of(group, topic, queue_id) else { return };
        if reset.has_served(from)
            && let Some(heard) = &mut reset.heard
        {
            heard.up_to = heard.up_to.max(to);
        }
    }

    fn mark(&self, group: &str, topic: &str, queue_id: u32) -> Option<&Mark> {
        self.marks.get(group)?.get(topic)?.get(&queue_id)
    }

    fn reset_of(&mut self, group: &str, topic: &str, queue_id: u32) -> Option<&mut Reset> {
        self.marks.get_mut(group)?.get_mut(topic)?.get_mut(&queue_id)?.now.as_mut()
    }

    fn change(&mut self, group: &str, topic: &str, queue_id: u32, now: Option<Reset>) {
        let (queues, group, topic) = self.queues(group, topic);
        let before = queues.len();
        let mark = queues.entry(queue_id).or_default();
        mark.now = now;
        let was_dirty = std::mem::replace(&mut mark.dirty, true);
        let added = queues.len() - before;
        self.count += added;
        if !was_dirty {
            self.unwritten.push_back((group, topic, queue_id));
            self.noted += 1;
        }
    }

    /// The marks of a group on a topic, and these names as they are shared.
    fn queues(&mut self, group: &str, topic: &str) -> (&mut Queues, Rc<str>, Rc<str>) {
        let group = shared(&self.marks, group);
        let topics = self.marks.entry(Rc::clone(&group)).or_default();
        let topic = shared(topics, topic);
        (topics.entry(Rc::clone(&topic)).or_default(), group, topic)
    }

    /// Whether `take_change` has something to return.
    pub fn is_dirty(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Where all changes end until now, for [`OffsetResets::has_taken`].
    pub(crate) fn noted(&self) -> u64 {
        self.noted
    }

    /// Whether `take_change` has returned all changes before that.
    pub(crate) fn has_taken(&self, noted: u64) -> bool {
        self.noted - self.unwritten.len() as u64 >= noted
    }

    /// Changes that were not returned yet, the oldest, as the content of one control entry of at most `bytes_max` bytes,
    /// which is appended at `position`. Call until `None`.
    pub(crate) fn take_change(&mut self, bytes_max: usize, position: u64) -> Option<Vec<u8>> {
        let bytes_max = bytes_max.min(ENTRY_BYTES);
        let mut content = Vec::new();
        while let Some((group, topic, _)) = self.unwritten.front() {
            let (group, topic) = (Rc::clone(group), Rc::clone(topic));
            let names = COUNTS_BYTES + group.len() + topic.len();
            let room = bytes_max.saturating_sub(content.len() + names) / PAIR_BYTES;
            if room == 0 && !content.is_empty() {
                break;
            }
            let run = self.take_run(&group, &topic, room.clamp(1, PAIRS_MAX), position);
            if !run.is_empty() {
                write_pairs(&mut content, &group, &topic, run.into_iter());
            }
        }
        (!content.is_empty()).then_some(content)
    }

    /// Of the changes that stand first, those of a group on a topic.
    fn take_run(
        &mut self,
        group: &str,
        topic: &str,
        count_max: usize,
        position: u64,
    ) -> Vec<(u32, i64)> {
        let mut run = Vec::new();
        let mut queues = self.marks.get_mut(group).and_then(|topics| topics.get_mut(topic));
        while run.len() < count_max
            && let Some((.., queue_id)) =
                self.unwritten.pop_front_if(|(of, on, _)| **of == *group && **on == *topic)
        {
            let mark = queues.as_mut().and_then(|queues| queues.get_mut(&queue_id));
            let Some(mark) = mark.filter(|mark| mark.dirty) else { continue };
            mark.dirty = false;
            mark.said_from = position;
            run.push((queue_id, mark.target().unwrap_or(HEARD)));
        }
        run
    }

    /// A control entry that deletes the topic is about to be appended, at `position` or behind it.
    pub(crate) fn forget_topic(&mut self, topic: &str, position: u64) {
        self.marks.values_mut().filter_map(|topics| topics.get_mut(topic)).for_each(|queues| {
            queues.values_mut().for_each(|mark| forget(mark, position));
        });
    }

    /// As [`OffsetResets::forget_topic`], for a group.
    pub(crate) fn forget_group(&mut self, group: &str, position: u64) {
        let marks = self.marks.get_mut(group).into_iter().flat_map(BTreeMap::values_mut);
        marks.flat_map(BTreeMap::values_mut).for_each(|mark| forget(mark, position));
    }

    fn take(&mut self, changes: OffsetChanges<'_>, position: u64) {
        let mut changes = changes.iter().peekable();
        while let Some(OffsetChange { group, topic, .. }) = changes.peek().copied() {
            let same = |next: &OffsetChange<'_>| (next.group, next.topic) == (group, topic);
            let run = std::iter::from_fn(|| changes.next_if(same));
            self.apply_run(group, topic, run, position);
        }
    }

    fn apply_run<'a>(
        &mut self,
        group: &str,
        topic: &str,
        run: impl Iterator<Item = OffsetChange<'a>>,
        position: u64,
    ) {
        let (queues, ..) = self.queues(group, topic);
        let before = queues.len();
        for OffsetChange { queue_id, offset, .. } in run {
            let target = (offset != HEARD).then_some(offset);
            // Most ends are those of marks that are gone already.
            if target.is_none() && !queues.contains_key(&queue_id) {
                continue;
            }
            let mark = queues.entry(queue_id).or_default();
            mark.apply(target, position);
            if mark.is_over(position) {
                queues.remove(&queue_id);
            }
        }
        let after = queues.len();
        self.count = self.count + after - before;
        if after == 0 {
            self.drop_names(group, topic);
        }
    }

    /// A group has no marks on a topic any more.
    fn drop_names(&mut self, group: &str, topic: &str) {
        let Some(topics) = self.marks.get_mut(group) else { return };
        topics.remove(topic);
        if topics.is_empty() {
            self.marks.remove(group);
        }
    }

    /// An entry at `position` says that nothing is left of a group or a topic.
    fn remove(&mut self, is_gone: impl Fn(&str, &str) -> bool, position: u64) {
        let mut dropped = 0;
        self.marks.retain(|group, topics| {
            topics.retain(|topic, queues| {
                if is_gone(group, topic) {
                    let before = queues.len();
                    queues.values_mut().for_each(|mark| mark.apply(None, position));
                    queues.retain(|_, mark| !mark.is_over(position));
                    dropped += before - queues.len();
                }
                !queues.is_empty()
            });
            !topics.is_empty()
        });
        self.count -= dropped;
    }
}

impl DerivedState for OffsetResets {
    const SECTION: SectionKind = SectionKind::OffsetResets;
    /// The last mark that was looked at.
    type Place = Option<Name>;

    fn apply(&mut self, entry: &ControlEntry<'_>, position: u64) {
        match entry {
            ControlEntry::OffsetsReset(changes) => self.take(*changes, position),
            ControlEntry::TopicRemoved { topic } => self.remove(|_, of| of == *topic, position),
            ControlEntry::GroupRemoved { group } => self.remove(|of, _| of == *group, position),
            ControlEntry::GroupOffsets(_)
            | ControlEntry::Delivered { .. }
            | ControlEntry::Cancelled { .. }
            | ControlEntry::Carried { .. }
            | ControlEntry::HalfEnded { .. }
            | ControlEntry::HalfChecked(_)
            | ControlEntry::PopProgress(_)
            | ControlEntry::Epoch(_) => {}
        }
    }

    fn snapshot(&self, place: &mut Option<Name>, pieces: &mut Vec<Vec<u8>>) -> bool {
        let (mut left, mut content) = (STEP_MARKS, Vec::new());
        let last = place.take();
        let first_group = last.as_ref().map_or(Unbounded, |(group, ..)| Included(&**group));
        'marks: for (group, topics) in self.marks.range::<str, _>((first_group, Unbounded)) {
            let of_group = last.as_ref().filter(|(last, ..)| last == group);
            let first_topic = of_group.map_or(Unbounded, |(_, topic, _)| Included(&**topic));
            for (topic, queues) in topics.range::<str, _>((first_topic, Unbounded)) {
                let of_topic = of_group.filter(|(_, last, _)| last == topic);
                let first = of_topic.map_or(Unbounded, |(.., queue_id)| Excluded(*queue_id));
                let some: Vec<_> = queues.range((first, Unbounded)).take(left).collect();
                left -= some.len();
                let of_log = |(queue_id, mark): &(&u32, &Mark)| Some((**queue_id, mark.committed?));
                let mut committed = some.iter().filter_map(of_log).peekable();
                if committed.peek().is_some() {
                    write_pairs(&mut content, group, topic, committed);
                }
                if left == 0 {
                    let queue_id = some.last().map_or(u32::MAX, |(queue_id, _)| **queue_id);
                    *place = Some((Rc::clone(group), Rc::clone(topic), queue_id));
                    break 'marks;
                }
            }
        }
        if !content.is_empty() {
            pieces.push(content);
        }
        place.is_some()
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), ControlError> {
        self.take(OffsetChanges::decode_of(KIND_OFFSETS_RESET, piece)?, 0);
        Ok(())
    }
}

fn forget(mark: &mut Mark, position: u64) {
    mark.now = None;
    mark.dirty = false;
    mark.said_from = position;
}

#[cfg(test)]
#[path = "offset_resets_tests.rs"]
mod tests;
