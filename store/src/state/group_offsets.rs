//! Committed offsets of consumer groups on the queues of one shard.
//!
//! Two values a queue: what the log has committed, which is the state, and what a consumer committed last, which is
//! what queries answer, at once. Changes are coalesced here and appended to the log as control entries at least once
//! a second; when they cross the commit gate, the state follows. So after a crash a group is at most a second back, and
//! what an index file says of it was never only in flight.

use super::{
    DerivedState,
    control::{ControlEntry, ControlError, KIND_GROUP_OFFSETS},
};
use crate::index::SectionKind;
use ahash::AHashMap;

/// Most bytes of one control entry's content; more changes make more entries. The largest record of the log may set
/// a lower limit.
pub const CONTENT_BYTES_MAX: usize = 256 * 1024;

/// Queue ids that a client may name: far above any real topic, far below what would cost memory.
pub const QUEUE_ID_MAX: u32 = 65_535;

/// Bytes of a queue id with its offset.
const PAIR_BYTES: usize = size_of::<u32>() + size_of::<i64>();
/// Most pairs under one pair of names.
const PAIRS_MAX: usize = u16::MAX as usize;
/// No offset. No message is so far back.
const NONE: i64 = i64::MIN;

type Queues = Vec<Slot>;

#[derive(Clone, Copy)]
struct Slot {
    queue_id: u32,
    /// The log does not have `current` yet.
    dirty: bool,
    /// What queries answer.
    current: i64,
    /// What the log has committed.
    committed: i64,
    /// Control entries before this position say nothing of `current`: a later one is in flight that does.
    said_from: u64,
}

impl Slot {
    fn current(&self) -> Option<i64> {
        (self.current != NONE).then_some(self.current)
    }

    /// The log has committed this offset, or none, in an entry at `position`.
    fn apply(&mut self, offset: i64, position: u64) {
        self.committed = offset;
        if !self.dirty && position >= self.said_from {
            self.current = offset;
        }
    }

    /// The offset goes: an entry at `position` or behind it says so.
    fn forget(&mut self, position: u64) {
        self.current = NONE;
        self.dirty = false;
        self.said_from = position;
    }

    fn is_empty(&self) -> bool {
        self.current == NONE && self.committed == NONE
    }
}

/// Group, then topic, then queue.
#[derive(Default)]
pub struct GroupOffsets {
    groups: AHashMap<Box<str>, AHashMap<Box<str>, Queues>>,
    dirty: Vec<(Box<str>, Box<str>)>,
}

impl GroupOffsets {
    /// The committed offset, if the group ever committed one on this queue.
    pub fn get(&self, group: &str, topic: &str, queue_id: u32) -> Option<i64> {
        let queues = self.groups.get(group)?.get(topic)?;
        queues.iter().find(|slot| slot.queue_id == queue_id)?.current()
    }

    /// Commits an offset. Going backwards is allowed: tools reset offsets this way.
    pub fn set(&mut self, group: &str, topic: &str, queue_id: u32, offset: i64) {
        let slot = self.slot(group, topic, queue_id);
        if slot.current == offset {
            return;
        }
        slot.current = offset;
        if !std::mem::replace(&mut slot.dirty, true) {
            self.dirty.push((group.into(), topic.into()));
        }
    }

    /// Whether something was committed that `take_change` has not returned yet.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The largest offset that any group has committed on a queue.
    pub fn furthest(&self, topic: &str, queue_id: u32) -> Option<i64> {
        let queues = self.groups.values().filter_map(|topics| topics.get(topic)).flatten();
        queues.filter(|slot| slot.queue_id == queue_id).filter_map(Slot::current).max()
    }

    /// All offsets: group, topic, queue id, offset.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, u32, i64)> {
        self.groups.iter().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, queues)| {
                let known =
                    |slot: &Slot| Some((&**group, &**topic, slot.queue_id, slot.current()?));
                queues.iter().filter_map(known)
            })
        })
    }

    /// Whether something is known of a group on this topic, be it only in flight.
    pub(crate) fn has_topic(&self, topic: &str) -> bool {
        self.groups.values().any(|topics| topics.contains_key(topic))
    }

    /// Whether something is known of this group, be it only in flight.
    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// A control entry that deletes the topic is about to be appended, at `position` or behind it: no query answers
    /// offsets on it any more.
    pub(crate) fn forget_topic(&mut self, topic: &str, position: u64) {
        let queues = self.groups.values_mut().filter_map(|topics| topics.get_mut(topic)).flatten();
        queues.for_each(|slot| slot.forget(position));
    }

    /// As [`GroupOffsets::forget_topic`], for a group.
    pub(crate) fn forget_group(&mut self, group: &str, position: u64) {
        let topics = self.groups.get_mut(group).into_iter().flat_map(|topics| topics.values_mut());
        topics.flatten().for_each(|slot| slot.forget(position));
    }

    /// Changes that were not returned yet, as the content of one control entry of about `bytes_max` at most (a single
    /// change may be larger), which is appended at `position` or behind it. Call until `None`.
    pub(crate) fn take_change(&mut self, bytes_max: usize, position: u64) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        while content.len() < bytes_max {
            let Some((group, topic)) = self.dirty.pop() else { break };
            let queues = self.groups.get_mut(&group).and_then(|topics| topics.get_mut(&topic));
            let Some(queues) = queues else { continue };
            if !queues.iter().any(|slot| slot.dirty) {
                continue;
            }
            let names = 3 * size_of::<u16>() + group.len() + topic.len();
            let room = bytes_max.saturating_sub(content.len() + names) / PAIR_BYTES;
            if room == 0 && !content.is_empty() {
                self.dirty.push((group, topic));
                break;
            }
            let pairs_max = room.clamp(1, PAIRS_MAX);
            let dirty = queues.iter_mut().filter(|slot| slot.dirty).take(pairs_max);
            let pairs = dirty.map(|slot| {
                slot.dirty = false;
                slot.said_from = position;
                (slot.queue_id, slot.current)
            });
            write_pairs(&mut content, &group, &topic, pairs);
            if queues.iter().any(|slot| slot.dirty) {
                self.dirty.push((group, topic));
                break;
            }
        }
        (!content.is_empty()).then_some(content)
    }

    fn take_changes(&mut self, changes: OffsetChanges<'_>, position: u64) {
        for change in changes.iter() {
            let OffsetChange { group, topic, queue_id, offset } = change;
            self.slot(group, topic, queue_id).apply(offset, position);
        }
    }

    fn remove_topic(&mut self, topic: &str, position: u64) {
        self.groups.retain(|_, topics| {
            if topics.get_mut(topic).is_some_and(|queues| remove(queues, position)) {
                topics.remove(topic);
            }
            !topics.is_empty()
        });
    }

    fn remove_group(&mut self, group: &str, position: u64) {
        let Some(topics) = self.groups.get_mut(group) else { return };
        topics.retain(|_, queues| !remove(queues, position));
        if topics.is_empty() {
            self.groups.remove(group);
        }
    }

    fn slot(&mut self, group: &str, topic: &str, queue_id: u32) -> &mut Slot {
        if !self.groups.contains_key(group) {
            self.groups.insert(group.into(), AHashMap::new());
        }
        let topics = self.groups.get_mut(group).expect("inserted above");
        if !topics.contains_key(topic) {
            topics.insert(topic.into(), Queues::new());
        }
        let queues = topics.get_mut(topic).expect("inserted above");
        let index = queues.iter().position(|slot| slot.queue_id == queue_id);
        let index = index.unwrap_or_else(|| {
            queues.push(Slot {
                queue_id,
                dirty: false,
                current: NONE,
                committed: NONE,
                said_from: 0,
            });
            queues.len() - 1
        });
        &mut queues[index]
    }
}

/// An entry at `position` says that these offsets are gone. Returns whether none is left.
fn remove(queues: &mut Queues, position: u64) -> bool {
    queues.iter_mut().for_each(|slot| slot.apply(NONE, position));
    queues.retain(|slot| !slot.is_empty() || slot.said_from > position);
    queues.is_empty()
}

impl DerivedState for GroupOffsets {
    const SECTION: SectionKind = SectionKind::GroupOffsets;
    /// A group: its name.
    type Part = Box<str>;

    fn apply(&mut self, entry: &ControlEntry<'_>, position: u64) {
        match entry {
            ControlEntry::GroupOffsets(changes) => self.take_changes(*changes, position),
            ControlEntry::TopicRemoved { topic } => self.remove_topic(topic, position),
            ControlEntry::GroupRemoved { group } => self.remove_group(group, position),
            ControlEntry::Epoch(_) => {}
        }
    }

    fn parts(&self) -> Vec<Box<str>> {
        let mut groups: Vec<Box<str>> = self.groups.keys().cloned().collect();
        groups.sort_unstable();
        groups
    }

    fn snapshot(&self, group: &Box<str>, pieces: &mut Vec<Vec<u8>>) {
        let mut content = Vec::new();
        let mut topics: Vec<_> = self.groups.get(group).into_iter().flatten().collect();
        topics.sort_unstable_by_key(|(topic, _)| *topic);
        for (topic, queues) in topics {
            let committed = queues.iter().filter(|slot| slot.committed != NONE);
            let pairs: Vec<(u32, i64)> =
                committed.map(|slot| (slot.queue_id, slot.committed)).collect();
            for pairs in pairs.chunks(PAIRS_MAX) {
                if content.len() > CONTENT_BYTES_MAX {
                    pieces.push(std::mem::take(&mut content));
                }
                write_pairs(&mut content, group, topic, pairs.iter().copied());
            }
        }
        if !content.is_empty() {
            pieces.push(content);
        }
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), ControlError> {
        self.take_changes(OffsetChanges::decode(piece)?, 0);
        Ok(())
    }
}

/// Content of a control entry of offsets, and of a piece of their section in index files: whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetChanges<'a>(&'a [u8]);

/// One offset that a group committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetChange<'a> {
    /// The group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The queue's id within the topic.
    pub queue_id: u32,
    /// The offset.
    pub offset: i64,
}

impl<'a> OffsetChanges<'a> {
    /// Reads a content; all of it is checked.
    pub fn decode(content: &'a [u8]) -> Result<OffsetChanges<'a>, ControlError> {
        let walk = Walk::new(content);
        for change in walk {
            change.map_err(|what| ControlError::Malformed { kind: KIND_GROUP_OFFSETS, what })?;
        }
        Ok(OffsetChanges(content))
    }

    /// The content of a control entry that says so.
    pub fn encode(changes: &[OffsetChange<'_>]) -> Vec<u8> {
        let mut content = Vec::new();
        for change in changes {
            let OffsetChange { group, topic, queue_id, offset } = *change;
            write_pairs(&mut content, group, topic, std::iter::once((queue_id, offset)));
        }
        content
    }

    /// The offsets, in their order.
    pub fn iter(&self) -> impl Iterator<Item = OffsetChange<'a>> {
        Walk::new(self.0).map(|change| change.expect("checked when it was decoded"))
    }

    /// The bytes.
    pub fn content(&self) -> &'a [u8] {
        self.0
    }
}

/// Walks a content offset by offset; ends with the first error.
struct Walk<'a> {
    rest: &'a [u8],
    group: &'a str,
    topic: &'a str,
    /// Pairs that follow under these names.
    pairs: u16,
}

impl<'a> Walk<'a> {
    fn new(content: &'a [u8]) -> Walk<'a> {
        Walk { rest: content, group: "", topic: "", pairs: 0 }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or("is cut")?;
        self.rest = rest;
        Ok(*head)
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        let bytes = usize::from(u16::from_be_bytes(self.take()?));
        let (text, rest) = self.rest.split_at_checked(bytes).ok_or("is cut")?;
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| "has a name that is not text")
    }

    fn step(&mut self) -> Result<Option<OffsetChange<'a>>, &'static str> {
        while self.pairs == 0 {
            if self.rest.is_empty() {
                return Ok(None);
            }
            self.group = self.text()?;
            self.topic = self.text()?;
            self.pairs = u16::from_be_bytes(self.take()?);
        }
        self.pairs -= 1;
        let queue_id = u32::from_be_bytes(self.take()?);
        let offset = i64::from_be_bytes(self.take()?);
        Ok(Some(OffsetChange { group: self.group, topic: self.topic, queue_id, offset }))
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<OffsetChange<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            (self.rest, self.pairs) = (&[], 0);
        }
        step.transpose()
    }
}

fn write_pairs(
    out: &mut Vec<u8>,
    group: &str,
    topic: &str,
    pairs: impl Iterator<Item = (u32, i64)>,
) {
    for text in [group, topic] {
        out.extend_from_slice(&(text.len() as u16).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    let count_at = out.len();
    out.extend_from_slice(&[0; 2]);
    let mut count = 0u16;
    for (queue_id, offset) in pairs {
        out.extend_from_slice(&queue_id.to_be_bytes());
        out.extend_from_slice(&offset.to_be_bytes());
        count += 1;
    }
    out[count_at..count_at + 2].copy_from_slice(&count.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all changes, as the log would.
    fn taken(offsets: &mut GroupOffsets, bytes_max: usize, position: u64) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| offsets.take_change(bytes_max, position)).collect()
    }

    fn apply(offsets: &mut GroupOffsets, content: &[u8], position: u64) {
        let changes = OffsetChanges::decode(content).expect("our own content");
        offsets.apply(&ControlEntry::GroupOffsets(changes), position);
    }

    #[test]
    fn changes_are_coalesced_and_replayed() {
        let mut offsets = GroupOffsets::default();
        for offset in 0..100 {
            offsets.set("group", "topic", 0, offset);
            offsets.set("group", "topic", 3, offset * 2);
        }
        offsets.set("other", "topic", 0, 5);
        let contents = taken(&mut offsets, CONTENT_BYTES_MAX, 10);
        assert!(contents.len() == 1 && contents[0].len() < 100);

        let mut replayed = GroupOffsets::default();
        apply(&mut replayed, &contents[0], 10);
        assert_eq!(replayed.get("group", "topic", 0), Some(99));
        assert_eq!(replayed.get("group", "topic", 3), Some(198));
        assert_eq!(replayed.get("other", "topic", 0), Some(5));
        assert_eq!(replayed.get("other", "topic", 1), None);
        assert!(!replayed.is_dirty());
    }

    #[test]
    fn an_offset_may_go_back_and_a_cut_content_is_refused() {
        let mut offsets = GroupOffsets::default();
        offsets.set("g", "t", 0, 10);
        offsets.set("g", "t", 0, 3);
        let content = offsets.take_change(CONTENT_BYTES_MAX, 0).expect("a change");
        assert_eq!(offsets.get("g", "t", 0), Some(3));
        for cut in 1..content.len() {
            assert!(OffsetChanges::decode(&content[..cut]).is_err());
            assert!(GroupOffsets::default().restore(&content[..cut]).is_err());
        }
    }

    #[test]
    fn many_changes_are_spread_over_entries_that_fit() {
        let mut offsets = GroupOffsets::default();
        for queue_id in 0..5_000 {
            offsets.set("group", "topic", queue_id, i64::from(queue_id));
            offsets.set("other", "topic", queue_id % 7, i64::from(queue_id));
        }
        let mut replayed = GroupOffsets::default();
        let contents = taken(&mut offsets, 1_000, 10);
        for content in &contents {
            assert!(content.len() <= 1_000);
            apply(&mut replayed, content, 10);
        }
        assert!(contents.len() > 60 && !offsets.is_dirty());
        assert_eq!(replayed.iter().count(), 5_007);
        assert!(replayed.iter().all(|(group, topic, queue_id, offset)| {
            offsets.get(group, topic, queue_id) == Some(offset)
        }));
    }

    /// What a client sees and what the log has, beside a model of both, over random changes, losses of what was not
    /// committed, and snapshots.
    #[test]
    fn what_is_visible_and_what_is_committed_follow_their_models() {
        use std::collections::{BTreeMap, VecDeque};
        type Table = BTreeMap<(String, String, u32), i64>;
        enum Logged {
            Offsets(Vec<u8>),
            Topic(String),
            Group(String),
        }
        let table = |offsets: &GroupOffsets| -> Table {
            let row = |(group, topic, queue, offset): (&str, &str, u32, i64)| {
                ((group.to_owned(), topic.to_owned(), queue), offset)
            };
            offsets.iter().map(row).collect()
        };
        let restored = |offsets: &GroupOffsets| {
            let mut pieces = Vec::new();
            offsets.parts().iter().for_each(|group| offsets.snapshot(group, &mut pieces));
            let mut restored = GroupOffsets::default();
            pieces.iter().for_each(|piece| restored.restore(piece).expect("our own piece"));
            restored
        };
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut offsets = GroupOffsets::default();
            let (mut visible, mut committed) = (Table::new(), Table::new());
            let mut log: VecDeque<(u64, Logged)> = VecDeque::new();
            let mut end = 0;
            for _ in 0..200 {
                let (group, topic) = (format!("g{}", rng.u8(0..3)), format!("t{}", rng.u8(0..3)));
                match rng.u8(0..12) {
                    0..5 => {
                        let (queue, offset) = (rng.u32(0..2), rng.i64(0..5));
                        offsets.set(&group, &topic, queue, offset);
                        visible.insert((group, topic, queue), offset);
                    }
                    5..7 => {
                        for content in taken(&mut offsets, 40, end) {
                            log.push_back((end, Logged::Offsets(content)));
                            end += 10;
                        }
                    }
                    7 => {
                        log.push_back((end, Logged::Topic(topic.clone())));
                        offsets.forget_topic(&topic, end);
                        visible.retain(|(_, other, _), _| *other != topic);
                        end += 10;
                    }
                    8 => {
                        log.push_back((end, Logged::Group(group.clone())));
                        offsets.forget_group(&group, end);
                        visible.retain(|(other, _, _), _| *other != group);
                        end += 10;
                    }
                    9..11 => {
                        let Some((position, logged)) = log.pop_front() else { continue };
                        match logged {
                            Logged::Offsets(content) => {
                                apply(&mut offsets, &content, position);
                                for change in OffsetChanges(&content).iter() {
                                    let OffsetChange { group, topic, queue_id, offset } = change;
                                    let name = (group.to_owned(), topic.to_owned(), queue_id);
                                    committed.insert(name, offset);
                                }
                            }
                            Logged::Topic(topic) => {
                                let entry = ControlEntry::TopicRemoved { topic: &topic };
                                offsets.apply(&entry, position);
                                committed.retain(|(_, other, _), _| *other != topic);
                            }
                            Logged::Group(group) => {
                                let entry = ControlEntry::GroupRemoved { group: &group };
                                offsets.apply(&entry, position);
                                committed.retain(|(other, _, _), _| *other != group);
                            }
                        }
                    }
                    _ if rng.u8(0..10) == 0 => {
                        // The store is opened again: what was not committed is gone.
                        offsets = restored(&offsets);
                        log.clear();
                        visible = committed.clone();
                    }
                    _ => {}
                }
                assert_eq!(table(&offsets), visible, "seed {seed}");
                assert_eq!(table(&restored(&offsets)), committed, "seed {seed}");
            }
        }
    }
}
