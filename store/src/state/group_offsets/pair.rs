//! The offsets that one group has committed on the queues of one topic.
//!
//! Slots stand in the order in which their queues were committed first, and keep their places while any of them holds
//! something; so lists of places and walks in pieces stay right. Many queues are found by a hash table.

use hashbrown::HashTable;
use std::rc::Rc;

/// No offset. No message is so far back.
const NONE: i64 = i64::MIN;
/// So few slots are looked through one by one.
const NEAR: usize = 8;

/// What a slot costs at most, bytes: vectors and tables may be half empty.
pub(super) const SLOT_COST: usize =
    2 * size_of::<Slot>() + 2 * size_of::<u32>() + 2 * (size_of::<u32>() + 1);

/// One queue.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) queue_id: u32,
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
    pub(super) fn current(&self) -> Option<i64> {
        (self.current != NONE).then_some(self.current)
    }

    pub(super) fn committed(&self) -> Option<i64> {
        (self.committed != NONE).then_some(self.committed)
    }

    /// The log has committed this offset, or none, in an entry at `position`.
    fn apply(&mut self, offset: i64, position: u64) {
        self.committed = offset;
        if !self.dirty && position >= self.said_from {
            self.current = offset;
        }
    }

    fn is_empty(&self) -> bool {
        self.current == NONE && self.committed == NONE
    }
}

/// A group and a topic.
pub(super) struct Pair {
    /// The group's name and the topic's.
    pub(super) names: [Rc<str>; 2],
    /// Its places in the lists of pairs of the group and of the topic.
    pub(super) places: [u32; 2],
    /// It is in the list of pairs with changes.
    pub(super) listed: bool,
    slots: Vec<Slot>,
    /// Places of slots by queue id, when there are more than [`NEAR`].
    by_queue: HashTable<u32>,
    /// Places of slots that are dirty or were.
    dirty: Vec<u32>,
}

impl Pair {
    pub(super) fn new(names: [Rc<str>; 2]) -> Pair {
        Pair {
            names,
            places: [0; 2],
            listed: false,
            slots: Vec::new(),
            by_queue: HashTable::new(),
            dirty: Vec::new(),
        }
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(super) fn slot(&self, queue_id: u32) -> Option<&Slot> {
        self.find(queue_id).and_then(|at| self.slots.get(at))
    }

    /// The queue's slot has a new current offset. Returns whether that is a change which the log lacks.
    pub(super) fn set(&mut self, queue_id: u32, offset: i64) -> bool {
        let at = self.find_or_add(queue_id);
        let slot = &mut self.slots[at];
        if slot.current == offset {
            return false;
        }
        slot.current = offset;
        if !std::mem::replace(&mut slot.dirty, true) {
            self.dirty.push(at as u32);
        }
        true
    }

    /// The log has committed this offset in an entry at `position`.
    pub(super) fn apply(&mut self, queue_id: u32, offset: i64, position: u64) {
        let at = self.find_or_add(queue_id);
        self.slots[at].apply(offset, position);
    }

    /// All current offsets go: an entry at `position` or behind it says so.
    pub(super) fn forget(&mut self, position: u64) {
        for slot in &mut self.slots {
            slot.current = NONE;
            slot.dirty = false;
            slot.said_from = position;
        }
        self.dirty = Vec::new();
    }

    /// An entry at `position` says that these offsets are gone. Slots that hold nothing more go, but for those of which
    /// a later entry in flight says something.
    pub(super) fn remove(&mut self, position: u64) {
        let before = self.slots.len();
        self.slots.iter_mut().for_each(|slot| slot.apply(NONE, position));
        self.slots.retain(|slot| !slot.is_empty() || slot.said_from > position);
        if self.slots.len() == before {
            return;
        }
        self.slots.shrink_to_fit();
        let dirty = self.slots.iter().enumerate().filter(|(_, slot)| slot.dirty);
        self.dirty = dirty.map(|(at, _)| at as u32).collect();
        self.by_queue = HashTable::new();
        if self.slots.len() > NEAR {
            (0..self.slots.len()).for_each(|at| self.index(at));
        }
    }

    /// Whether [`Pair::take`] has something to return.
    pub(super) fn has_changes(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes at most `count_max` changes, oldest first, for an entry at `position` or behind it.
    pub(super) fn take(&mut self, count_max: usize, position: u64) -> Vec<(u32, i64)> {
        let count = count_max.min(self.dirty.len());
        let mut taken = Vec::with_capacity(count);
        for at in self.dirty.drain(..count) {
            let slot = &mut self.slots[at as usize];
            assert!(slot.dirty, "a slot is dirty as long as it is listed");
            slot.dirty = false;
            slot.said_from = position;
            taken.push((slot.queue_id, slot.current));
        }
        if self.dirty.is_empty() {
            self.dirty = Vec::new();
        }
        taken
    }

    fn find(&self, queue_id: u32) -> Option<usize> {
        if self.slots.len() <= NEAR {
            return self.slots.iter().position(|slot| slot.queue_id == queue_id);
        }
        let same = |at: &u32| self.slots[*at as usize].queue_id == queue_id;
        self.by_queue.find(hash(queue_id), same).map(|at| *at as usize)
    }

    fn find_or_add(&mut self, queue_id: u32) -> usize {
        if let Some(at) = self.find(queue_id) {
            return at;
        }
        let at = self.slots.len();
        if at == 0 {
            // Most groups have one queue here, or few.
            self.slots.reserve_exact(1);
        }
        self.slots.push(Slot {
            queue_id,
            dirty: false,
            current: NONE,
            committed: NONE,
            said_from: 0,
        });
        if at == NEAR {
            (0..=at).for_each(|at| self.index(at));
        } else if at > NEAR {
            self.index(at);
        }
        at
    }

    fn index(&mut self, at: usize) {
        let Pair { slots, by_queue, .. } = self;
        let hash_of = |at: &u32| hash(slots[*at as usize].queue_id);
        by_queue.insert_unique(hash(slots[at].queue_id), at as u32, hash_of);
    }
}

/// Queue ids are small and follow each other: spreading them is enough.
fn hash(queue_id: u32) -> u64 {
    let spread = u64::from(queue_id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    spread ^ spread >> 32
}
