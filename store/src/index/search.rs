//! Finding a key among millions with one to three reads: hashes are spread evenly, so their place can be guessed.
//!
//! A guess reads some blocks around it, as many as the guess is likely to be off. What it finds narrows the range of
//! blocks in which the next guess is made. A key that many messages share bends the even spread: within its keys, and
//! when two guesses failed, the neighbourhood is looked at, and then the range is halved until it is found.

use super::{block::SectionKind, error::IndexError, key::Key, open::Index};
use runtime::{BLOCK_BYTES, Disk};
use std::ops::Range;

use super::block::PAYLOAD_BYTES;

/// Blocks read at once at most: 64 KiB.
const WINDOW_BLOCKS_MAX: u32 = 16;
/// Guesses that trust the even spread. The next one looks beside the last, all others halve the range.
const GUESSES_EVEN: u32 = 2;

/// Keys of some blocks in a row.
#[derive(Default)]
struct Window {
    /// Blocks, counted from the first of the section.
    blocks: Range<u32>,
    keys: Vec<Key>,
}

impl<D: Disk> Index<D> {
    /// Appends to `out` the positions of records whose key has this hash, the newest (largest) first: those before
    /// `before` (`u64::MAX`: all), at most `max`. To go on, ask again with the last position found as `before`.
    /// Other keys may share the hash, and the message may be gone: the reader checks the record.
    ///
    /// Errors: the disk's, or damage in the blocks that were read; what was appended before is right.
    pub async fn positions(
        &self,
        hash: u32,
        before: u64,
        max: usize,
        out: &mut Vec<u64>,
    ) -> Result<(), IndexError> {
        let segment = self.head().segment;
        let Some(last) = before.checked_sub(segment).and_then(|at| at.checked_sub(1)) else {
            return Ok(());
        };
        let last = Key { hash, at: u32::try_from(last).unwrap_or(u32::MAX) };
        let limit = out.len().saturating_add(max);
        let mut window = self.find_last(last).await?;
        loop {
            let end = window.keys.partition_point(|key| *key <= last);
            for key in window.keys[..end].iter().rev() {
                if key.hash != hash || out.len() == limit {
                    return Ok(());
                }
                let position = segment + u64::from(key.at);
                // Two keys of one message may have the same hash.
                if out.last() != Some(&position) {
                    out.push(position);
                }
            }
            if window.blocks.start == 0 || out.len() == limit {
                return Ok(());
            }
            let wanted = (limit - out.len()).div_ceil(SectionKind::Keys.per_block());
            let blocks = wanted.clamp(1, WINDOW_BLOCKS_MAX as usize) as u32;
            let end = window.blocks.start;
            window = self.read_keys(end.saturating_sub(blocks)..end).await?;
        }
    }

    /// Blocks of which the last key that is not larger than `last` is in the first ones, or right before them.
    async fn find_last(&self, last: Key) -> Result<Window, IndexError> {
        // Keys before block `low` are not larger, keys from block `high` on are.
        let (mut low, mut high) = (0, self.layout().blocks_of(SectionKind::Keys));
        let (mut low_rank, mut high_rank) = (0, u64::MAX);
        let mut window = Window::default();
        let (mut guesses, mut moved_low) = (0, false);
        while low < high {
            let shared = guesses > 0 && low_rank >> 32 == u64::from(last.hash);
            let wide = WINDOW_BLOCKS_MAX / 2 - 1;
            let (guess, spread) = if !shared && guesses < GUESSES_EVEN {
                let guess = guess(last.rank(), low_rank..high_rank, high - low);
                (low + guess, spread_blocks(high - low))
            } else if !shared && guesses == GUESSES_EVEN {
                let beside = if moved_low { low + wide } else { high.saturating_sub(wide + 1) };
                (beside.clamp(low, high - 1), wide)
            } else {
                (low + (high - low) / 2, wide)
            };
            let from = guess.saturating_sub(spread).max(low);
            let to = guess.saturating_add(spread + 1).min(high);
            window = self.read_keys(from..to).await?;
            let (Some(first_key), Some(last_key)) = (window.keys.first(), window.keys.last())
            else {
                unreachable!("blocks of a section have items")
            };
            moved_low = *first_key <= last;
            if *first_key > last {
                (high, high_rank) = (from, first_key.rank());
            } else if *last_key <= last {
                (low, low_rank) = (to, last_key.rank());
            } else {
                return Ok(window);
            }
            guesses += 1;
        }
        if window.blocks.end == low {
            return Ok(window);
        }
        Ok(Window { blocks: low..low, keys: Vec::new() })
    }

    async fn read_keys(&self, blocks: Range<u32>) -> Result<Window, IndexError> {
        let section = self.section(SectionKind::Keys);
        let per_block = SectionKind::Keys.per_block();
        let first = section.first + blocks.start;
        let buffer = self.read_blocks(first, blocks.len() as u32).await?;
        let mut left = section.count - u64::from(blocks.start) * per_block as u64;
        let mut keys = Vec::with_capacity(blocks.len() * per_block);
        for (number, block) in (first..).zip(buffer.as_ref().chunks_exact(BLOCK_BYTES)) {
            let count = left.min(per_block as u64) as usize;
            self.decode(number, &block[..PAYLOAD_BYTES], 0..count, &mut keys)?;
            left -= count as u64;
        }
        if !keys.is_sorted() {
            return Err(self.damaged(format!("keys from block {first} on are out of order")));
        }
        Ok(Window { blocks, keys })
    }
}

/// In which of `blocks` blocks a rank should be when ranks between the ends of `known` are spread evenly.
fn guess(rank: u64, known: Range<u64>, blocks: u32) -> u32 {
    let above = u128::from(rank.saturating_sub(known.start));
    let all = u128::from(known.end.saturating_sub(known.start)).max(1);
    let guess = u128::from(blocks) * above / all;
    guess.min(u128::from(blocks - 1)) as u32
}

/// Blocks by which a guess among `blocks` blocks may be off: twice the standard deviation of the place of one among
/// so many random numbers, which is at most half the root of their number.
fn spread_blocks(blocks: u32) -> u32 {
    let per_block = SectionKind::Keys.per_block() as u64;
    let root = (u64::from(blocks) * per_block).isqrt();
    root.div_ceil(per_block).min(u64::from(WINDOW_BLOCKS_MAX / 2 - 1)) as u32
}
