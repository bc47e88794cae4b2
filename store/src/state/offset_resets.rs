//! Queues on which a group was told to go on elsewhere, and has not done so yet.
//!
//! A reset sets the group's offset ([`super::group_offsets`]) and marks the queue, in one entry of the log. While the mark is
//! there, what members of the group commit does not count: they speak of where they were before. The next pull of the queue is
//! told where to go on, unless it comes from there; the mark ends with the next commit or pull that shows that the group has
//! heard it. So a reset holds whether the group is online or not, and a late commit does not undo it.
//!
//! As with offsets there are two values: what holds now, and what the log has committed, which is the state. The end of a mark
//! is in the log before any offset that was committed after it.

use super::{
    ControlEntry, ControlError, DerivedState,
    group_offsets::OffsetRefused,
    offset_changes::{COUNTS_BYTES, OffsetChange, OffsetChanges, PAIR_BYTES, write_pairs},
};
use crate::index::SectionKind;
use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

/// Most marks of a shard. What the log says is taken in any case.
pub const MARKS_MAX: usize = 65_536;
/// In entries, instead of an offset: the group has heard it.
pub const HEARD: i64 = i64::MIN;

/// A mark that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reset {
    target: i64,
    /// A pull was told, which came from elsewhere.
    told: bool,
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
            self.now = target.map(|target| Reset { target, told: false });
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
        self.change(group, topic, queue_id, Some(Reset { target, told: false }));
    }

    /// A member of the group commits an offset. Whether it counts: not before the group has heard where it is to go on.
    pub(crate) fn may_commit(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: u32,
        offset: i64,
    ) -> bool {
        match self.mark(group, topic, queue_id).and_then(Mark::target) {
            None => true,
            Some(target) if target == offset => {
                self.change(group, topic, queue_id, None);
                true
            }
            Some(_) => false,
        }
    }

    /// A member of the group pulls from `offset`. Returns where it is to go on, if it has to be told.
    pub fn on_pull(&mut self, group: &str, topic: &str, queue_id: u32, offset: i64) -> Option<i64> {
        let mark = self.marks.get_mut(group)?.get_mut(topic)?.get_mut(&queue_id)?;
        let reset = mark.now.as_mut()?;
        if reset.target == offset || reset.told {
            self.change(group, topic, queue_id, None);
            return None;
        }
        reset.told = true;
        Some(reset.target)
    }

    fn mark(&self, group: &str, topic: &str, queue_id: u32) -> Option<&Mark> {
        self.marks.get(group)?.get(topic)?.get(&queue_id)
    }

    fn change(&mut self, group: &str, topic: &str, queue_id: u32, now: Option<Reset>) {
        let (mark, group, topic) = self.find_or_add(group, topic, queue_id);
        mark.now = now;
        if !std::mem::replace(&mut mark.dirty, true) {
            self.unwritten.push_back((group, topic, queue_id));
            self.noted += 1;
        }
    }

    fn find_or_add(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: u32,
    ) -> (&mut Mark, Rc<str>, Rc<str>) {
        let group = shared(&self.marks, group);
        let topics = self.marks.entry(Rc::clone(&group)).or_default();
        let topic = shared(topics, topic);
        let queues = topics.entry(Rc::clone(&topic)).or_default();
        let before = queues.len();
        queues.entry(queue_id).or_default();
        self.count += queues.len() - before;
        (queues.get_mut(&queue_id).expect("it was added"), group, topic)
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
        let mut content = Vec::new();
        while let Some((group, topic, queue_id)) = self.unwritten.pop_front() {
            let mark = self.marks.get_mut(&group).and_then(|topics| topics.get_mut(&topic));
            let mark = mark.and_then(|queues| queues.get_mut(&queue_id));
            let Some(mark) = mark.filter(|mark| mark.dirty) else { continue };
            let bytes = COUNTS_BYTES + group.len() + topic.len() + PAIR_BYTES;
            if !content.is_empty() && content.len() + bytes > bytes_max {
                self.unwritten.push_front((group, topic, queue_id));
                break;
            }
            mark.dirty = false;
            mark.said_from = position;
            let offset = mark.target().unwrap_or(HEARD);
            write_pairs(&mut content, &group, &topic, std::iter::once((queue_id, offset)));
        }
        (!content.is_empty()).then_some(content)
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
        for OffsetChange { group, topic, queue_id, offset } in changes.iter() {
            let target = (offset != HEARD).then_some(offset);
            // Most ends are those of marks that are gone already.
            if target.is_none() && self.mark(group, topic, queue_id).is_none() {
                continue;
            }
            let (mark, ..) = self.find_or_add(group, topic, queue_id);
            mark.apply(target, position);
            if mark.is_over(position) {
                self.drop_mark(group, topic, queue_id);
            }
        }
    }

    fn drop_mark(&mut self, group: &str, topic: &str, queue_id: u32) {
        let Some(topics) = self.marks.get_mut(group) else { return };
        let Some(queues) = topics.get_mut(topic) else { return };
        self.count -= usize::from(queues.remove(&queue_id).is_some());
        if queues.is_empty() {
            topics.remove(topic);
        }
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
    /// There are so few that one piece of work takes all.
    type Place = ();

    fn apply(&mut self, entry: &ControlEntry<'_>, position: u64) {
        match entry {
            ControlEntry::OffsetsReset(changes) => self.take(*changes, position),
            ControlEntry::TopicRemoved { topic } => self.remove(|_, of| of == *topic, position),
            ControlEntry::GroupRemoved { group } => self.remove(|of, _| of == *group, position),
            ControlEntry::GroupOffsets(_)
            | ControlEntry::Delivered { .. }
            | ControlEntry::HalfEnded { .. }
            | ControlEntry::HalfChecked(_)
            | ControlEntry::Epoch(_) => {}
        }
    }

    fn snapshot(&self, (): &mut (), pieces: &mut Vec<Vec<u8>>) -> bool {
        let committed: Vec<OffsetChange<'_>> = self.walk(|mark| mark.committed).collect();
        if !committed.is_empty() {
            pieces.push(OffsetChanges::encode(&committed));
        }
        false
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), ControlError> {
        self.take(OffsetChanges::decode(piece)?, 0);
        Ok(())
    }
}

fn forget(mark: &mut Mark, position: u64) {
    mark.now = None;
    mark.dirty = false;
    mark.said_from = position;
}

/// The name as it is a key already, or a new one.
fn shared<V>(map: &BTreeMap<Rc<str>, V>, name: &str) -> Rc<str> {
    map.get_key_value(name).map_or_else(|| name.into(), |(name, _)| Rc::clone(name))
}

#[cfg(test)]
#[path = "offset_resets_tests.rs"]
mod tests;
