//! Committed offsets of consumer groups on the queues of one shard.
//!
//! Two values a queue: what the log has committed, which is the state, and what a consumer committed last, which is
//! what queries answer, at once. Changes are coalesced here and appended to the log as control entries at least once
//! a second; when they cross the commit gate, the state follows. So after a crash a group is at most a second back, and
//! what an index file says of it was never only in flight.
//!
//! Offsets are found by group, topic and queue, all of a group and all of a topic by lists. A commit costs the same
//! however many there are. What walks many of them does so in pieces: see [`Place`]. What they take up is counted, and
//! new ones are refused beyond a limit.

mod pair;
#[cfg(test)]
mod tests;

pub use super::offset_changes::{OffsetChange, OffsetChanges};

use super::{
    DerivedState,
    control::{ControlEntry, ControlError},
    offset_changes::{COUNTS_BYTES, PAIR_BYTES, PAIRS_MAX, write_pairs},
    offset_resets::{HEARD, MARKS_MAX},
};
use crate::{batch::CONTROL_HEADER_BYTES, index::SectionKind};
use ahash::AHashMap;
use hashbrown::HashTable;
use pair::{Pair, SLOT_COST};
use std::{collections::VecDeque, rc::Rc};

/// Most bytes of one control entry's content; more changes make more entries. The largest record of the log may set
/// a lower limit.
pub const CONTENT_BYTES_MAX: usize = 256 * 1024;

/// Queue ids that a client may name: far above any real topic, far below what would cost memory.
pub const QUEUE_ID_MAX: u32 = 65_535;

/// Longest name of a group or a topic, bytes: that of a group, see `control::names` of the broker.
pub const NAME_BYTES_MAX: usize = 255;

/// The largest control entry of a single offset. The log of a store that leads takes entries of this size.
pub const ENTRY_BYTES_MIN: usize = CONTROL_HEADER_BYTES + ONE_CHANGE_BYTES_MAX;
const ONE_CHANGE_BYTES_MAX: usize = COUNTS_BYTES + 2 * NAME_BYTES_MAX + PAIR_BYTES;

/// Offsets, or pairs of names without any, that are looked at in one piece of work.
const STEP_SLOTS: usize = 4_096;
/// Bytes of a piece of their section in index files, about.
const STEP_BYTES: usize = 64 * 1024;

/// What a pair of names costs at most besides its slots and names, bytes: tables and vectors may be half empty.
const PAIR_COST: usize = 2 * size_of::<Option<Pair>>()
    + 2 * (size_of::<Found>() + 1)
    + 4 * size_of::<u32>()
    + ALLOCATION_COST;
/// What a name costs at most besides its characters, bytes.
const NAME_COST: usize = 2 * (size_of::<(Rc<str>, Vec<u32>)>() + 1) + 2 * ALLOCATION_COST;
/// What the heap and a reference count add to an allocation, bytes.
const ALLOCATION_COST: usize = 32;

/// Why an offset was not taken. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffsetRefused {
    /// There is no room for an offset of another queue. Those that are there can still be changed.
    #[error("offsets of groups take up {bytes} bytes, the limit is {limit} (shardGroupOffsetsMiB)")]
    Full {
        /// What they take up.
        bytes: usize,
        /// Most that they may.
        limit: usize,
    },
    /// As many queues are reset as may be at a time.
    #[error(
        "{marks} queues of the shard are reset and their groups have not gone on yet, the limit is {MARKS_MAX}"
    )]
    TooManyResets {
        /// How many.
        marks: usize,
    },
    /// No group and no topic has such a name.
    #[error("a name of {bytes} bytes, the limit is {NAME_BYTES_MAX}")]
    NameTooLong {
        /// Its length.
        bytes: usize,
    },
}

/// Where a walk in pieces goes on. What comes and goes between two pieces is seen or not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    pair: usize,
    slot: usize,
}

/// Number of a pair by the hash of its names, which is kept so that a table that grows touches no names.
#[derive(Clone, Copy)]
struct Found {
    hash: u32,
    pair: u32,
}

/// Numbers of the pairs of a group or a topic, by its name.
type Pairs = AHashMap<Rc<str>, Vec<u32>>;

/// Places of the two names of a pair.
const GROUP: usize = 0;
const TOPIC: usize = 1;

/// The offsets of all groups.
pub struct GroupOffsets {
    hasher: ahash::RandomState,
    by_names: HashTable<Found>,
    /// By number; `None`: free.
    pairs: Vec<Option<Pair>>,
    free: Vec<u32>,
    /// By group, by topic.
    lists: [Pairs; 2],
    /// Pairs with changes that the log lacks, oldest first. Some may have none any more.
    dirty: VecDeque<u32>,
    /// How many were ever listed there, and how many have left.
    listed: u64,
    unlisted: u64,
    /// Pairs that lost all slots with many others, and go with [`GroupOffsets::sweep`].
    emptied: Vec<u32>,
    count: usize,
    bytes: usize,
    bytes_max: usize,
}

impl Default for GroupOffsets {
    fn default() -> Self {
        GroupOffsets {
            hasher: ahash::RandomState::new(),
            by_names: HashTable::new(),
            pairs: Vec::new(),
            free: Vec::new(),
            lists: Default::default(),
            dirty: VecDeque::new(),
            listed: 0,
            unlisted: 0,
            emptied: Vec::new(),
            count: 0,
            bytes: 0,
            bytes_max: usize::MAX,
        }
    }
}

impl GroupOffsets {
    /// The committed offset, if the group ever committed one on this queue.
    pub fn get(&self, group: &str, topic: &str, queue_id: u32) -> Option<i64> {
        self.pair(self.find(group, topic)?)?.slot(queue_id)?.current()
    }

    /// The offset that the log has committed.
    pub(crate) fn committed(&self, group: &str, topic: &str, queue_id: u32) -> Option<i64> {
        self.pair(self.find(group, topic)?)?.slot(queue_id)?.committed()
    }

    /// Commits an offset. Going backwards is allowed: tools reset offsets this way.
    pub fn set(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: u32,
        offset: i64,
    ) -> Result<(), OffsetRefused> {
        let found = self.find(group, topic);
        let known = found.and_then(|number| self.pair(number)?.slot(queue_id));
        if known.is_none() {
            self.admit(group, topic, found.is_some())?;
        }
        let number = found.unwrap_or_else(|| self.add(group, topic));
        let changed = self.change(number, |pair| pair.set(queue_id, offset));
        if changed
            && let Some(Some(pair)) = self.pairs.get_mut(number as usize)
            && !std::mem::replace(&mut pair.listed, true)
        {
            self.dirty.push_back(number);
            self.listed += 1;
        }
        Ok(())
    }

    /// Whether an offset of another queue may be taken.
    fn admit(&self, group: &str, topic: &str, pair_is_known: bool) -> Result<(), OffsetRefused> {
        let longest = group.len().max(topic.len());
        if longest > NAME_BYTES_MAX {
            return Err(OffsetRefused::NameTooLong { bytes: longest });
        }
        let mut more = SLOT_COST;
        if !pair_is_known {
            more += PAIR_COST;
            for (list, name) in self.lists.iter().zip([group, topic]) {
                more += if list.contains_key(name) { 0 } else { NAME_COST + name.len() };
            }
        }
        let (bytes, limit) = (self.bytes, self.bytes_max);
        if bytes.saturating_add(more) > limit {
            return Err(OffsetRefused::Full { bytes, limit });
        }
        Ok(())
    }

    /// Most bytes that offsets may take up. What the log says is taken in any case.
    pub fn limit_bytes(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Bytes that they take up, at most: a sum of the largest that each part may be.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many there are, those that are going included.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether something was committed that `take_change` has not returned yet.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Where all that was committed until now ends, for [`GroupOffsets::has_taken`].
    pub fn mark(&self) -> u64 {
        self.listed
    }

    /// Whether `take_change` has returned all that was committed before the mark. What is committed without end behind it
    /// does not matter.
    pub fn has_taken(&self, mark: u64) -> bool {
        self.unlisted >= mark
    }

    /// Whether anything is known of the topic.
    pub fn has_topic(&self, topic: &str) -> bool {
        self.lists[TOPIC].contains_key(topic)
    }

    /// Whether anything is known of the group.
    pub fn has_group(&self, group: &str) -> bool {
        self.lists[GROUP].contains_key(group)
    }

    /// All offsets: group, topic, queue id, offset.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, u32, i64)> {
        self.pairs.iter().flatten().flat_map(|pair| {
            let [group, topic] = &pair.names;
            let known =
                |slot: &pair::Slot| Some((&**group, &**topic, slot.queue_id, slot.current()?));
            pair.slots().iter().filter_map(known)
        })
    }

    /// Topics that a group has committed offsets on, through `visit`, from `place` on. Returns whether there are more.
    pub fn topics_of(&self, group: &str, place: &mut Place, visit: impl FnMut(&str)) -> bool {
        self.partners(GROUP, group, place, visit)
    }

    /// Groups that have committed offsets on a topic, in the same way.
    pub fn groups_on(&self, topic: &str, place: &mut Place, visit: impl FnMut(&str)) -> bool {
        self.partners(TOPIC, topic, place, visit)
    }

    /// The other names of the pairs that have `name` in place `side`.
    fn partners(
        &self,
        side: usize,
        name: &str,
        place: &mut Place,
        mut visit: impl FnMut(&str),
    ) -> bool {
        let numbers = self.lists[side].get(name).map_or(&[][..], Vec::as_slice);
        let mut left = STEP_SLOTS;
        while left > 0 {
            let Some(number) = numbers.get(place.pair) else { return false };
            place.pair += 1;
            let Some(pair) = self.pair(*number) else { continue };
            let first = pair.slots().iter().position(|slot| slot.current().is_some());
            left = left.saturating_sub(first.unwrap_or(pair.slots().len()) + 1);
            if first.is_some() {
                visit(&pair.names[1 - side]);
            }
        }
        place.pair < numbers.len()
    }

    /// Offsets that groups have committed on the queues of a topic, through `visit`, from `place` on. Returns whether
    /// there are more.
    pub(crate) fn offsets_on(
        &self,
        topic: &str,
        place: &mut Place,
        mut visit: impl FnMut(u32, i64),
    ) -> bool {
        self.group_offsets_on(topic, place, |_, queue_id, offset| visit(queue_id, offset))
    }

    /// The same with their groups: group, queue, offset.
    pub fn group_offsets_on(
        &self,
        topic: &str,
        place: &mut Place,
        mut visit: impl FnMut(&str, u32, i64),
    ) -> bool {
        let numbers = self.lists[TOPIC].get(topic).map_or(&[][..], Vec::as_slice);
        let pairs = |at: usize| numbers.get(at).map(|number| self.pair(*number));
        self.walk(place, pairs, |pair, range| {
            for slot in &pair.slots()[range] {
                if let Some(offset) = slot.current() {
                    visit(&pair.names[GROUP], slot.queue_id, offset);
                }
            }
            true
        })
    }

    /// Walks slots of the pairs that `pairs` gives by number, a piece at a time, as long as `take` wants more.
    fn walk<'a>(
        &'a self,
        place: &mut Place,
        pairs: impl Fn(usize) -> Option<Option<&'a Pair>>,
        mut take: impl FnMut(&'a Pair, std::ops::Range<usize>) -> bool,
    ) -> bool {
        let (mut left, mut hungry) = (STEP_SLOTS, true);
        while left > 0 && hungry {
            let Some(pair) = pairs(place.pair) else { return false };
            let slots = pair.map_or(0, |pair| pair.slots().len());
            let (from, to) = (place.slot.min(slots), slots.min(place.slot + left));
            left -= (to - from).clamp(1, left);
            match pair {
                Some(pair) if from < to => hungry = take(pair, from..to),
                _ => {}
            }
            *place = match to < slots {
                true => Place { slot: to, ..*place },
                false => Place { pair: place.pair + 1, slot: 0 },
            };
        }
        pairs(place.pair).is_some()
    }

    /// A control entry that deletes the topic is about to be appended, at `position` or behind it: no query answers
    /// offsets on it any more.
    pub(crate) fn forget_topic(&mut self, topic: &str, position: u64) {
        self.forget(TOPIC, topic, position);
    }

    /// As [`GroupOffsets::forget_topic`], for a group.
    pub(crate) fn forget_group(&mut self, group: &str, position: u64) {
        self.forget(GROUP, group, position);
    }

    fn forget(&mut self, side: usize, name: &str, position: u64) {
        for number in self.lists[side].get(name).into_iter().flatten() {
            if let Some(Some(pair)) = self.pairs.get_mut(*number as usize) {
                pair.forget(position);
            }
        }
    }

    /// Changes that were not returned yet, the oldest, as the content of one control entry, which is appended at
    /// `position` or behind it. It has at most [`GroupOffsets::change_bytes_max`] bytes. Call until `None`.
    pub(crate) fn take_change(&mut self, bytes_max: usize, position: u64) -> Option<Vec<u8>> {
        let bytes_max = GroupOffsets::change_bytes_max(bytes_max);
        let mut content = Vec::new();
        while let Some(number) = self.dirty.front() {
            let pair = self.pairs.get_mut(*number as usize).and_then(Option::as_mut);
            let Some(pair) = pair.filter(|pair| pair.has_changes()) else {
                self.unlist_first();
                continue;
            };
            let names = COUNTS_BYTES + pair.names.iter().map(|name| name.len()).sum::<usize>();
            let room = bytes_max.saturating_sub(content.len() + names) / PAIR_BYTES;
            if room == 0 {
                assert!(!content.is_empty(), "one change fits");
                break;
            }
            let taken = pair.take(room.min(PAIRS_MAX), position);
            let [group, topic] = &pair.names;
            write_pairs(&mut content, group, topic, taken.into_iter());
            if !pair.has_changes() {
                self.unlist_first();
            }
        }
        (!content.is_empty()).then_some(content)
    }

    /// Most bytes of the content of an entry that should have at most `wanted`: a single change always fits.
    pub(crate) fn change_bytes_max(wanted: usize) -> usize {
        wanted.max(ONE_CHANGE_BYTES_MAX)
    }

    fn unlist_first(&mut self) {
        let first = self.dirty.pop_front();
        self.unlisted += 1;
        let pair = first.and_then(|number| self.pairs.get_mut(number as usize)?.as_mut());
        if let Some(pair) = pair {
            pair.listed = false;
        }
    }

    fn take_changes<'a>(&mut self, changes: impl Iterator<Item = OffsetChange<'a>>, position: u64) {
        let mut last: Option<(&str, &str, u32)> = None;
        for OffsetChange { group, topic, queue_id, offset } in changes {
            let same = last.filter(|(of, on, _)| (*of, *on) == (group, topic));
            let number = match same {
                Some((_, _, number)) => number,
                None => self.find(group, topic).unwrap_or_else(|| self.add(group, topic)),
            };
            last = Some((group, topic, number));
            self.change(number, |pair| pair.apply(queue_id, offset, position));
        }
    }

    /// An entry at `position` says that all offsets of a group or a topic are gone. Of many pairs that are empty then, all
    /// but the slots stays until it is swept: 200,000 groups may have consumed a topic, and nobody waits for that.
    fn remove(&mut self, side: usize, name: &str, position: u64) {
        let numbers = self.lists[side].get(name).cloned().unwrap_or_default();
        let later = numbers.len() > STEP_SLOTS;
        for number in numbers {
            self.change(number, |pair| pair.remove(position));
            if later {
                self.emptied.push(number);
            } else {
                self.drop_if_empty(number);
            }
        }
    }

    /// Drops a piece of what removals have left. To be called now and then.
    pub(crate) fn sweep(&mut self) {
        for _ in 0..STEP_SLOTS {
            let Some(number) = self.emptied.pop() else {
                self.emptied = Vec::new();
                return;
            };
            self.drop_if_empty(number);
        }
    }

    /// Drops a pair unless it has slots.
    fn drop_if_empty(&mut self, number: u32) {
        if self.pair(number).is_some_and(|pair| pair.slots().is_empty()) {
            self.drop_pair(number);
        }
    }

    /// Changes a pair and counts what that has changed.
    fn change<T>(&mut self, number: u32, change: impl FnOnce(&mut Pair) -> T) -> T {
        let pair = self.pairs[number as usize].as_mut().expect("the pair is there");
        let before = pair.slots().len();
        let changed = change(pair);
        let after = pair.slots().len();
        self.count = self.count + after - before;
        self.bytes = self.bytes + after * SLOT_COST - before * SLOT_COST;
        changed
    }

    fn pair(&self, number: u32) -> Option<&Pair> {
        self.pairs.get(number as usize)?.as_ref()
    }

    fn hash(&self, group: &str, topic: &str) -> u32 {
        self.hasher.hash_one((group, topic)) as u32
    }

    fn find(&self, group: &str, topic: &str) -> Option<u32> {
        let hash = self.hash(group, topic);
        let same = |found: &Found| {
            let names = self.pair(found.pair).map(|pair| &pair.names);
            found.hash == hash
                && names.is_some_and(|names| *names[GROUP] == *group && *names[TOPIC] == *topic)
        };
        self.by_names.find(spread(hash), same).map(|found| found.pair)
    }

    /// Adds a pair that is not there.
    fn add(&mut self, group: &str, topic: &str) -> u32 {
        let hash = self.hash(group, topic);
        let number = self.free.pop().unwrap_or_else(|| {
            self.pairs.push(None);
            self.pairs.len() as u32 - 1
        });
        let names = [self.name(GROUP, group), self.name(TOPIC, topic)];
        let mut pair = Pair::new(names);
        for (side, list) in self.lists.iter_mut().enumerate() {
            let numbers = list.get_mut(&pair.names[side]).expect("named above");
            pair.places[side] = numbers.len() as u32;
            numbers.push(number);
        }
        self.pairs[number as usize] = Some(pair);
        let found = Found { hash, pair: number };
        self.by_names.insert_unique(spread(hash), found, |found| spread(found.hash));
        self.bytes += PAIR_COST;
        number
    }

    /// A name that has a list of pairs.
    fn name(&mut self, side: usize, name: &str) -> Rc<str> {
        if let Some((name, _)) = self.lists[side].get_key_value(name) {
            return Rc::clone(name);
        }
        let shared: Rc<str> = name.into();
        self.lists[side].insert(Rc::clone(&shared), Vec::new());
        self.bytes += NAME_COST + name.len();
        shared
    }

    /// Removes a pair without slots.
    fn drop_pair(&mut self, number: u32) {
        let Some(pair) = self.pairs[number as usize].take() else { return };
        for side in [GROUP, TOPIC] {
            let name = &pair.names[side];
            let numbers = self.lists[side].get_mut(name).expect("a pair is in both lists");
            let place = pair.places[side];
            numbers.swap_remove(place as usize);
            let moved = numbers.get(place as usize).copied();
            if let Some(Some(moved)) = moved.map(|moved| &mut self.pairs[moved as usize]) {
                moved.places[side] = place;
            } else if numbers.is_empty() {
                self.lists[side].remove(name);
                self.bytes -= NAME_COST + name.len();
            }
        }
        let hash = self.hash(&pair.names[GROUP], &pair.names[TOPIC]);
        if let Ok(found) = self.by_names.find_entry(spread(hash), |found| found.pair == number) {
            found.remove();
        }
        self.bytes -= PAIR_COST;
        self.free.push(number);
    }
}

/// The table uses the upper and the lower bits.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

impl DerivedState for GroupOffsets {
    const SECTION: SectionKind = SectionKind::GroupOffsets;
    type Place = Place;

    fn apply(&mut self, entry: &ControlEntry<'_>, position: u64) {
        match entry {
            ControlEntry::GroupOffsets(changes) => self.take_changes(changes.iter(), position),
            ControlEntry::OffsetsReset(changes) => {
                let targets = changes.iter().filter(|change| change.offset != HEARD);
                self.take_changes(targets, position);
            }
            ControlEntry::TopicRemoved { topic } => self.remove(TOPIC, topic, position),
            ControlEntry::GroupRemoved { group } => self.remove(GROUP, group, position),
            ControlEntry::Delivered { .. }
            | ControlEntry::Cancelled { .. }
            | ControlEntry::Carried { .. }
            | ControlEntry::HalfEnded { .. }
            | ControlEntry::HalfChecked(_)
            | ControlEntry::PopProgress(_)
            | ControlEntry::Epoch(_) => {}
        }
    }

    fn snapshot(&self, place: &mut Place, pieces: &mut Vec<Vec<u8>>) -> bool {
        let mut content = Vec::new();
        let pairs = |at: usize| self.pairs.get(at).map(Option::as_ref);
        let more = self.walk(place, pairs, |pair, range| {
            let slots = pair.slots()[range].iter();
            let mut committed =
                slots.filter_map(|slot| Some((slot.queue_id, slot.committed()?))).peekable();
            if committed.peek().is_some() {
                let [group, topic] = &pair.names;
                write_pairs(&mut content, group, topic, committed);
            }
            content.len() < STEP_BYTES
        });
        if !content.is_empty() {
            pieces.push(content);
        }
        more
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), ControlError> {
        self.take_changes(OffsetChanges::decode(piece)?.iter(), 0);
        Ok(())
    }
}
