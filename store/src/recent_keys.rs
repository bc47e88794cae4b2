//! Keys of the newest messages, in memory until an index file holds them.
//!
//! Appending is the hot path and pays two pushes per key; a search looks at every hash, four bytes each and one behind
//! the other, which for a million keys takes less than a disk read. Blocks leave from the front once they are indexed.

use crate::index::Key;
use std::collections::VecDeque;

/// Keys of a full block.
const BLOCK_KEYS: usize = 16 * 1024;

#[derive(Default)]
struct Block {
    hashes: Vec<u32>,
    positions: Vec<u64>,
}

/// Hashes of keys with the positions of their messages, in log order.
#[derive(Default)]
pub(crate) struct RecentKeys {
    blocks: VecDeque<Block>,
    count: u64,
}

impl RecentKeys {
    /// A message at `position`, behind all others, has a key with this hash.
    pub(crate) fn push(&mut self, hash: u32, position: u64) {
        let full = |block: &Block| block.hashes.len() == BLOCK_KEYS;
        if self.blocks.back().is_none_or(full) {
            self.blocks.push_back(Block::default());
        }
        self.count += 1;
        if let Some(block) = self.blocks.back_mut() {
            block.hashes.push(hash);
            block.positions.push(position);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    /// Positions of messages with this hash before `before`, newest first, as long as `take` wants more.
    pub(crate) fn find(&self, hash: u32, before: u64, mut take: impl FnMut(u64) -> bool) {
        let begins = |block: &Block| block.positions.first().is_some_and(|first| *first < before);
        let blocks = self.blocks.partition_point(begins);
        for block in self.blocks.iter().take(blocks).rev() {
            // Compared without a branch per key; most blocks hold nothing.
            if block.hashes.iter().fold(0, |found, other| found | u32::from(*other == hash)) == 0 {
                continue;
            }
            let pairs = block.hashes.iter().zip(&block.positions).rev();
            for (_, position) in pairs.filter(|(other, at)| **other == hash && **at < before) {
                if !take(*position) {
                    return;
                }
            }
        }
    }

    /// Number of blocks to call [`RecentKeys::block`] for, to see all keys before `position`.
    pub(crate) fn blocks_before(&self, position: u64) -> usize {
        let full = self.full_before(position);
        full + usize::from(self.blocks.get(full).is_some_and(|block| within(block, position) > 0))
    }

    /// Keys of block `number` whose messages lie before `position`, relative to `segment`.
    pub(crate) fn block(
        &self,
        number: usize,
        segment: u64,
        position: u64,
    ) -> impl Iterator<Item = Key> {
        let block = self.blocks.get(number).into_iter();
        block.flat_map(move |block| {
            let pairs = block.hashes.iter().zip(&block.positions).take(within(block, position));
            pairs.map(move |(hash, at)| Key { hash: *hash, at: (at - segment) as u32 })
        })
    }

    /// Forgets the keys of messages before `position`.
    pub(crate) fn release_before(&mut self, position: u64) {
        for _ in 0..self.full_before(position) {
            let block = self.blocks.pop_front();
            self.count -= block.map_or(0, |block| block.hashes.len() as u64);
        }
        if let Some(block) = self.blocks.front_mut() {
            let gone = within(block, position);
            self.count -= gone as u64;
            block.hashes.drain(..gone);
            block.positions.drain(..gone);
            if block.hashes.is_empty() {
                self.blocks.pop_front();
            }
        }
    }

    fn full_before(&self, position: u64) -> usize {
        let before = |block: &Block| block.positions.last().is_some_and(|last| *last < position);
        self.blocks.partition_point(before)
    }
}

/// Keys of a block whose messages lie before `position`.
fn within(block: &Block, position: u64) -> usize {
    block.positions.partition_point(|at| *at < position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_newest_first_and_leave_from_the_front() {
        let mut keys = RecentKeys::default();
        for number in 0..50_000u64 {
            keys.push((number % 1_000) as u32, number * 10);
        }
        let found_before = |keys: &RecentKeys, before: u64, max: usize| {
            let mut found = Vec::new();
            keys.find(7, before, |position| {
                found.push(position);
                found.len() < max
            });
            found
        };
        let found = |keys: &RecentKeys, max: usize| found_before(keys, u64::MAX, max);
        assert_eq!(found(&keys, 2), [490_070, 480_070]);
        assert_eq!(found_before(&keys, 480_070, 2), [470_070, 460_070]);
        assert_eq!(found_before(&keys, 480_071, 1), [480_070]);
        assert!(found_before(&keys, 70, 1).is_empty());
        assert_eq!(found(&keys, 1_000).len(), 50);
        assert_eq!(keys.blocks_before(163_850), 2);
        let last: Vec<Key> = keys.block(1, 10, 163_850).collect();
        assert_eq!(last, [Key { hash: 384, at: 163_830 }]);
        keys.release_before(490_000);
        assert_eq!(keys.len(), 1_000);
        assert_eq!(found(&keys, 1_000), [490_070]);
        keys.release_before(u64::MAX);
        assert_eq!((keys.blocks_before(u64::MAX), keys.len()), (0, 0));
    }
}
