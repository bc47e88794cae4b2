//! Blocks of index files that were read lately, so that a consumer that goes through a queue reads each block once.
//!
//! All indexes of a shard share one cache. It holds checked blocks only and never more than it was given; when it is
//! full, the hand of a clock looks for a block that nobody used since it came by last.

use super::{block::PAYLOAD_BYTES, open::Index};
use ahash::AHashMap;
use runtime::{BLOCK_BYTES, Disk};
use std::cell::RefCell;

/// Which block of which open index.
type Place = (u64, u32);

/// Bounded memory of checked blocks.
pub struct BlockCache {
    clock: RefCell<Clock>,
}

struct Clock {
    slots: Vec<Slot>,
    by_place: AHashMap<Place, usize>,
    slots_max: usize,
    hand: usize,
}

struct Slot {
    /// `None`: its index was forgotten.
    place: Option<Place>,
    used: bool,
    payload: Box<[u8; PAYLOAD_BYTES]>,
}

impl BlockCache {
    /// A cache of about `bytes_max` bytes, one block at least. Memory is taken as blocks come.
    pub fn new(bytes_max: usize) -> BlockCache {
        let slots_max = (bytes_max / BLOCK_BYTES).max(1);
        let clock = Clock { slots: Vec::new(), by_place: AHashMap::new(), slots_max, hand: 0 };
        BlockCache { clock: RefCell::new(clock) }
    }

    /// Drops the blocks of an index that is closed or deleted. They would only take room: no other index gets them.
    pub fn forget<D: Disk>(&self, index: &Index<D>) {
        let clock = &mut *self.clock.borrow_mut();
        for slot in &mut clock.slots {
            if slot.place.is_some_and(|(identity, _)| identity == index.identity()) {
                clock.by_place.remove(&slot.place.take().expect("seen above"));
                slot.used = false;
            }
        }
    }

    /// Memory held for blocks, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.clock.borrow().slots.len() * BLOCK_BYTES
    }

    /// Lets `look` see the payload of a block, if it is here.
    pub(super) fn look<R>(&self, place: Place, look: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let clock = &mut *self.clock.borrow_mut();
        let slot = &mut clock.slots[*clock.by_place.get(&place)?];
        slot.used = true;
        Some(look(&*slot.payload))
    }

    /// Keeps a checked block, in the place of one that was not used lately.
    pub(super) fn keep(&self, place: Place, payload: &[u8; PAYLOAD_BYTES]) {
        let clock = &mut *self.clock.borrow_mut();
        if clock.by_place.contains_key(&place) {
            return;
        }
        let index = if clock.slots.len() < clock.slots_max {
            clock.slots.push(Slot { place: None, used: false, payload: Box::new(*payload) });
            clock.slots.len() - 1
        } else {
            let index = clock.free_slot();
            clock.slots[index].payload.copy_from_slice(payload);
            index
        };
        clock.slots[index].place = Some(place);
        clock.by_place.insert(place, index);
        assert!(clock.by_place.len() <= clock.slots_max);
    }
}

impl Clock {
    /// Empties the slot of a block that was not used since the hand came by last.
    fn free_slot(&mut self) -> usize {
        loop {
            let index = self.hand;
            self.hand = (index + 1) % self.slots.len();
            let slot = &mut self.slots[index];
            if !std::mem::take(&mut slot.used) {
                if let Some(place) = slot.place.take() {
                    self.by_place.remove(&place);
                }
                return index;
            }
        }
    }
}
