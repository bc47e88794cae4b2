//! The queues of one shard, by topic and queue id and by slot.
//!
//! Made for tens of thousands of queues that are sent to at random: there a send costs the cache lines that nobody
//! touched lately. Finding a queue touches its topic, one line with the name and the slots of its first queues, and the
//! queue, which the send changes anyway. What does not fit there, longer names and further queues, costs one more.
//! Queues of a topic are also a chain through the queues themselves, for those who want all of them.

use crate::{consume_queue::ConsumeQueue, put_counts::Puts, state::WaitsFor};
use compact_str::CompactString;
use hashbrown::{HashTable, hash_table::Entry};
use std::{
    num::NonZeroU32,
    ops::{Index, IndexMut, Range},
};

/// Number of a queue within its shard. Stays the same while the topic lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueSlot(u32);

impl QueueSlot {
    /// As an index into tables kept per queue.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// Plus one, so that the absence of a slot costs nothing.
    fn stored(self) -> Option<StoredSlot> {
        NonZeroU32::new(self.0 + 1)
    }

    fn of(stored: StoredSlot) -> QueueSlot {
        QueueSlot(stored.get() - 1)
    }
}

type StoredSlot = NonZeroU32;

/// Stands for a queue that never had a message.
const NO_NUMBER: u32 = u32::MAX;

/// One queue. What a send and its publication touch stands first and fills one cache line.
#[repr(C, align(128))]
pub(crate) struct Queue {
    pub(crate) entries: ConsumeQueue,
    pub(crate) queue_id: u32,
    number: u32,
    /// Messages appended and not published.
    pub(crate) pending: u32,
    /// Somebody notes already that it grew.
    pub(crate) listed: bool,
    /// The topic was deleted; what is still pending is dropped.
    removed: bool,
    /// For what its messages wait, if they do.
    pub(crate) waits_for: Option<WaitsFor>,
    /// A row of the newest index file is about it.
    pub(crate) in_index: bool,
    /// Store timestamp of the last message, ms; 0 without one.
    pub(crate) last_store_ms: i64,
    /// What was appended and nobody has collected.
    pub(crate) puts: Puts,
    /// Entries before this queue offset are in index files.
    pub(crate) indexed: i64,
    pub(crate) topic: TopicSlot,
    /// The next queue of its topic.
    sibling: Option<StoredSlot>,
}

const _: () = assert!(std::mem::offset_of!(Queue, last_store_ms) == 64);
const _: () = assert!(size_of::<Queue>() == 128);

impl Queue {
    fn new(topic: TopicSlot, queue_id: u32, waits_for: Option<WaitsFor>) -> Queue {
        Queue {
            waits_for,
            entries: ConsumeQueue::default(),
            indexed: 0,
            last_store_ms: 0,
            puts: Puts::default(),
            number: NO_NUMBER,
            queue_id,
            topic,
            sibling: None,
            pending: 0,
            in_index: false,
            listed: false,
            removed: false,
        }
    }

    /// Queue offset of the next appended message.
    pub(crate) fn next(&self) -> i64 {
        self.entries.max() + i64::from(self.pending)
    }

    /// Its name in index files, never used again, if it ever had a message.
    pub(crate) fn number(&self) -> Option<u32> {
        (self.number != NO_NUMBER).then_some(self.number)
    }

    /// Gives it the number that it goes by in index files.
    pub(crate) fn set_number(&mut self, number: u32) {
        assert!(number != NO_NUMBER);
        self.number = number;
    }

    /// The topic was deleted, or this queue of it forgotten.
    pub(crate) fn is_removed(&self) -> bool {
        self.removed
    }
}

/// Number of a topic within its shard. Once the topic is deleted another one may get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSlot(u32);

impl TopicSlot {
    /// As an index into tables kept per topic.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Queues whose slots stand in their topic: the usual number of queues of a topic.
const NEAR: usize = 8;

/// One cache line.
#[derive(Default)]
#[repr(align(64))]
struct Topic {
    name: CompactString,
    /// Slots of the first queues. The chain of all begins with the first of them.
    near: [Option<StoredSlot>; NEAR],
    /// Lowest bits of their queue ids.
    near_ids: [u8; NEAR],
}

const _: () = assert!(size_of::<Topic>() == 64);

/// The table.
#[derive(Default)]
pub(crate) struct QueueTable {
    hasher: ahash::RandomState,
    by_name: HashTable<TopicSlot>,
    /// Queues that are not near their topic.
    far: HashTable<QueueSlot>,
    queues: Vec<Queue>,
    topics: Vec<Topic>,
    free: Vec<QueueSlot>,
    free_topics: Vec<TopicSlot>,
}

impl QueueTable {
    /// The queue of this name.
    pub(crate) fn find(&self, topic: &str, queue_id: u32) -> Option<QueueSlot> {
        self.find_in(self.topic(topic)?, queue_id)
    }

    fn find_in(&self, topic: TopicSlot, queue_id: u32) -> Option<QueueSlot> {
        let Topic { near, near_ids, .. } = &self.topics[topic.index()];
        let alike = near.iter().zip(near_ids).filter(|(_, id)| **id == queue_id as u8);
        let mut slots = alike.filter_map(|(stored, _)| stored.map(QueueSlot::of));
        slots.find(|slot| self[*slot].queue_id == queue_id).or_else(|| {
            let named = |slot: &QueueSlot| {
                let queue = &self[*slot];
                queue.queue_id == queue_id && queue.topic == topic
            };
            self.far.find(far_hash(topic, queue_id), named).copied()
        })
    }

    /// The queue of this name; an unknown one comes into being, empty.
    pub(crate) fn find_or_add(&mut self, topic: &str, queue_id: u32) -> QueueSlot {
        let topic = self.topic_or_add(topic);
        self.find_or_add_in(topic, queue_id)
    }

    /// A queue of the topic; an unknown one comes into being, empty.
    pub(crate) fn find_or_add_in(&mut self, topic: TopicSlot, queue_id: u32) -> QueueSlot {
        if let Some(slot) = self.find_in(topic, queue_id) {
            return slot;
        }
        let waits_for = WaitsFor::of(&self.topics[topic.index()].name);
        let queue = Queue::new(topic, queue_id, waits_for);
        let slot = QueueSlot(put(&mut self.queues, self.free.pop().map(|slot| slot.0), queue));
        self.link(topic, slot);
        slot
    }

    /// Makes a queue one of its topic's.
    fn link(&mut self, topic: TopicSlot, slot: QueueSlot) {
        let QueueTable { topics, queues, far, .. } = self;
        let queue_id = queues[slot.index()].queue_id;
        let Topic { near, near_ids, .. } = &mut topics[topic.index()];
        if let Some(first) = near[0].map(QueueSlot::of) {
            let next = std::mem::replace(&mut queues[first.index()].sibling, slot.stored());
            queues[slot.index()].sibling = next;
        }
        match near.iter().position(Option::is_none) {
            Some(place) => {
                near[place] = slot.stored();
                near_ids[place] = queue_id as u8;
            }
            None => {
                far.insert_unique(far_hash(topic, queue_id), slot, |slot| {
                    let queue = &queues[slot.index()];
                    far_hash(queue.topic, queue.queue_id)
                });
            }
        }
    }

    /// The topic of this name, if it has queues here, or had some that were forgotten one by one.
    pub(crate) fn topic(&self, topic: &str) -> Option<TopicSlot> {
        let named = |slot: &TopicSlot| self.topics[slot.index()].name == topic;
        self.by_name.find(self.hasher.hash_one(topic), named).copied()
    }

    /// Names of all topics, in no particular order.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &str> {
        self.by_name.iter().map(|slot| self.topics[slot.index()].name.as_str())
    }

    /// The queues of a topic by queue id.
    pub(crate) fn queues_of(&self, topic: &str) -> Vec<QueueSlot> {
        let mut found = match self.topic(topic) {
            Some(topic) => self.chain(topic),
            None => Vec::new(),
        };
        found.sort_unstable_by_key(|slot| self[*slot].queue_id);
        found
    }

    /// All queues, by slot, also removed ones.
    pub(crate) fn all(&self) -> impl Iterator<Item = (QueueSlot, &Queue)> {
        (0..).map(QueueSlot).zip(&self.queues)
    }

    /// All queues that were not removed, by slot.
    pub(crate) fn live(&self) -> impl Iterator<Item = (QueueSlot, &Queue)> {
        self.all().filter(|(_, queue)| !queue.removed)
    }

    /// Those of them with a slot in this range, as far as there are such.
    pub(crate) fn live_in(&self, slots: Range<usize>) -> impl Iterator<Item = (QueueSlot, &Queue)> {
        let slots = slots.start.min(self.queues.len())..slots.end.min(self.queues.len());
        let numbers = slots.clone().map(|slot| QueueSlot(slot as u32));
        numbers.zip(&self.queues[slots]).filter(|(_, queue)| !queue.removed)
    }

    /// The same, to change.
    pub(crate) fn live_mut(&mut self, slots: Range<usize>) -> impl Iterator<Item = &mut Queue> {
        let slots = slots.start.min(self.queues.len())..slots.end.min(self.queues.len());
        self.queues[slots].iter_mut().filter(|queue| !queue.removed)
    }

    /// Slots that were ever used.
    pub(crate) fn slot_count(&self) -> usize {
        self.queues.len()
    }

    /// Name of a live queue's topic.
    pub(crate) fn topic_of(&self, queue: &Queue) -> &str {
        assert!(!queue.removed, "its topic may be another one by now");
        self.topics[queue.topic.index()].name.as_str()
    }

    /// Size of tables kept per topic.
    pub(crate) fn topic_slots(&self) -> usize {
        self.topics.len()
    }

    /// Removes a topic with its queues.
    pub(crate) fn remove_topic(&mut self, topic: &str) {
        let Some(found) = self.topic(topic) else { return };
        for slot in self.unlink_all(found) {
            self.remove_slot(slot);
        }
        let hash = self.hasher.hash_one(topic);
        if let Ok(entry) = self.by_name.find_entry(hash, |slot| *slot == found) {
            entry.remove();
        }
        self.topics[found.index()] = Topic::default();
        self.free_topics.push(found);
    }

    /// Removes one queue.
    pub(crate) fn remove_queue(&mut self, topic: &str, queue_id: u32) {
        let Some(topic) = self.topic(topic) else { return };
        let Some(removed) = self.find_in(topic, queue_id) else { return };
        for slot in self.unlink_all(topic) {
            if slot == removed {
                self.remove_slot(slot);
            } else {
                self.link(topic, slot);
            }
        }
    }

    /// A removed queue has nothing pending any more: its slot may be used again.
    pub(crate) fn reuse(&mut self, slot: QueueSlot) {
        assert!(self[slot].removed && self[slot].pending == 0);
        self.free.push(slot);
    }

    fn remove_slot(&mut self, slot: QueueSlot) {
        let queue = &mut self[slot];
        queue.removed = true;
        queue.entries = ConsumeQueue::default();
        if queue.pending == 0 {
            self.reuse(slot);
        }
    }

    fn topic_or_add(&mut self, topic: &str) -> TopicSlot {
        let QueueTable { hasher, by_name, topics, free_topics, .. } = self;
        let entry = by_name.entry(
            hasher.hash_one(topic),
            |slot| topics[slot.index()].name == topic,
            |slot| hasher.hash_one(topics[slot.index()].name.as_str()),
        );
        match entry {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(vacant) => {
                let added = Topic { name: CompactString::new(topic), ..Topic::default() };
                let slot = TopicSlot(put(topics, free_topics.pop().map(|slot| slot.0), added));
                vacant.insert(slot);
                slot
            }
        }
    }

    fn chain(&self, topic: TopicSlot) -> Vec<QueueSlot> {
        let first = self.topics[topic.index()].near[0].map(QueueSlot::of);
        std::iter::successors(first, |at| self[*at].sibling.map(QueueSlot::of)).collect()
    }

    /// Takes all queues from their topic.
    fn unlink_all(&mut self, topic: TopicSlot) -> Vec<QueueSlot> {
        let chain = self.chain(topic);
        self.topics[topic.index()].near = Default::default();
        for slot in &chain {
            let queue = &mut self[*slot];
            queue.sibling = None;
            let hash = far_hash(topic, queue.queue_id);
            if let Ok(entry) = self.far.find_entry(hash, |other| other == slot) {
                entry.remove();
            }
        }
        chain
    }
}

impl Index<QueueSlot> for QueueTable {
    type Output = Queue;

    fn index(&self, slot: QueueSlot) -> &Queue {
        &self.queues[slot.index()]
    }
}

impl IndexMut<QueueSlot> for QueueTable {
    fn index_mut(&mut self, slot: QueueSlot) -> &mut Queue {
        &mut self.queues[slot.index()]
    }
}

/// Both are numbers that we gave out or checked: spreading them is enough.
fn far_hash(topic: TopicSlot, queue_id: u32) -> u64 {
    let both = u64::from(topic.0) << 32 | u64::from(queue_id);
    let spread = both.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    spread ^ spread >> 32
}

/// Puts a value into a free place, or behind the last one.
fn put<T>(places: &mut Vec<T>, free: Option<u32>, value: T) -> u32 {
    match free {
        Some(place) => {
            places[place as usize] = value;
            place
        }
        None => {
            places.push(value);
            places.len() as u32 - 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Goal: whatever is added and removed, names and slots agree with a plain map. A queue of a deleted topic keeps
    /// its slot while something of it is pending.
    #[test]
    fn names_and_slots_agree_with_a_plain_map() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut table, mut model) = (QueueTable::default(), BTreeMap::new());
        let mut held = Vec::new();
        let name = |number: u32| format!("topic-{number}-{}", "x".repeat(number as usize % 40));
        for step in 0..20_000 {
            let (topic, queue_id) = (name(random.u32(..60)), random.u32(..12) * 64);
            match random.u32(..100) {
                0..3 => {
                    table.remove_topic(&topic);
                    model.retain(|(other, _), _| *other != topic);
                }
                3..9 => {
                    table.remove_queue(&topic, queue_id);
                    model.remove(&(topic.clone(), queue_id));
                }
                9..15 if held.len() < 50 => {
                    let slot = table.find_or_add(&topic, queue_id);
                    if table[slot].pending == 0 {
                        table[slot].pending = 1;
                        held.push(slot);
                    }
                    model.insert((topic.clone(), queue_id), slot);
                }
                15..20 if !held.is_empty() => {
                    let slot = held.swap_remove(random.usize(..held.len()));
                    table[slot].pending = 0;
                    if table[slot].is_removed() {
                        table.reuse(slot);
                    }
                }
                _ => {
                    let slot = table.find_or_add(&topic, queue_id);
                    let known = *model.entry((topic.clone(), queue_id)).or_insert(slot);
                    assert_eq!(slot, known);
                }
            }
            assert_eq!(table.find(&topic, queue_id), model.get(&(topic, queue_id)).copied());
            if step % 500 == 0 {
                agree(&table, &model);
            }
        }
        assert!(table.all().count() <= 60 * 12 + 50, "slots are used again");
    }

    fn agree(table: &QueueTable, model: &BTreeMap<(String, u32), QueueSlot>) {
        let live = table
            .live()
            .map(|(slot, queue)| ((table.topic_of(queue).to_owned(), queue.queue_id), slot));
        assert_eq!(live.collect::<BTreeMap<_, _>>(), *model);
        for topic in table.topics() {
            let of_model = model.iter().filter(|((other, _), _)| other == topic);
            assert_eq!(
                table.queues_of(topic),
                of_model.map(|(_, slot)| *slot).collect::<Vec<_>>(),
                "by queue id"
            );
        }
    }
}
