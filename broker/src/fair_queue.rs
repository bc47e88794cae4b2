//! Work of many askers that is done one piece at a time: each asker has its turn, however much the others want.
//!
//! Places are few, so nobody may hold more of them than are free: one alone gets half of all, the next half of the rest.
//! When they have taken all, whoever comes next still gets a few.

use ahash::AHashMap;
use std::{collections::VecDeque, hash::Hash};

/// Pieces that each asker may have, whatever the others hold.
const PIECES_LEAST: usize = 4;

/// What waits, by asker.
pub struct FairQueue<K, T> {
    waiting: AHashMap<K, VecDeque<T>>,
    /// Who has something that waits, each once, in the order of their turns.
    turns: VecDeque<K>,
    count: usize,
    count_max: usize,
}

/// What an asker has waiting, and how much that may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// Pieces of this asker.
    pub waiting: usize,
    /// What it may have now.
    pub limit: usize,
}

impl<K: Copy + Eq + Hash, T> FairQueue<K, T> {
    /// Room for so many pieces of all askers together, and a few more for those that come when they have taken all.
    pub fn new(count_max: usize) -> FairQueue<K, T> {
        FairQueue { waiting: AHashMap::new(), turns: VecDeque::new(), count: 0, count_max }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether this asker may have one more.
    pub fn has_room(&self, asker: K) -> Result<(), NoRoom> {
        let waiting = self.waiting.get(&asker).map_or(0, VecDeque::len);
        let limit = self.count_max.saturating_sub(self.count).max(PIECES_LEAST);
        if waiting < limit { Ok(()) } else { Err(NoRoom { waiting, limit }) }
    }

    /// Adds a piece behind those of the same asker. Who asks has seen that there is room.
    pub fn push(&mut self, asker: K, piece: T) {
        let waiting = self.waiting.entry(asker).or_default();
        if waiting.is_empty() {
            self.turns.push_back(asker);
        }
        waiting.push_back(piece);
        self.count += 1;
    }

    /// The first piece of the asker whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let asker = self.turns.pop_front()?;
        let waiting = self.waiting.get_mut(&asker)?;
        let piece = waiting.pop_front()?;
        if waiting.is_empty() {
            self.waiting.remove(&asker);
        } else {
            self.turns.push_back(asker);
        }
        self.count -= 1;
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push_while_room(queue: &mut FairQueue<char, u32>, asker: char) -> u32 {
        let mut pushed = 0;
        while queue.has_room(asker).is_ok() {
            queue.push(asker, pushed);
            pushed += 1;
        }
        pushed
    }

    #[test]
    fn each_has_its_turn_however_much_others_want() {
        let mut queue = FairQueue::new(100);
        (0..10).for_each(|number| queue.push('a', number));
        (0..2).for_each(|number| queue.push('b', 10 + number));
        queue.push('c', 20);
        let taken: Vec<u32> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(taken, [0, 10, 20, 1, 11, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(queue.is_empty() && queue.pop().is_none());
        assert!(queue.waiting.is_empty(), "who has nothing that waits takes no memory");
    }

    #[test]
    fn who_wants_all_leaves_room_for_others() {
        let mut queue = FairQueue::new(1_000);
        let counts = ['a', 'b', 'c', 'd'].map(|asker| push_while_room(&mut queue, asker));
        assert_eq!(counts, [500, 250, 125, 63]);
        assert_eq!(queue.has_room('a'), Err(NoRoom { waiting: 500, limit: 62 }));
        let late: Vec<u32> = ('e'..='z').map(|asker| push_while_room(&mut queue, asker)).collect();
        assert_eq!(late.last(), Some(&4), "{late:?}: there is room for who comes next");
        assert_eq!(queue.has_room('a'), Err(NoRoom { waiting: 500, limit: 4 }));
        while queue.pop().is_some() {}
        assert_eq!(push_while_room(&mut queue, 'a'), 500);
    }
}
