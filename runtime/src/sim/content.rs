//! Bytes of one simulated file as shared blocks: writing costs the written bytes, copying a file costs its block count.
//!
//! A block that was never written is absent and reads as zeros. [`Patch`] is one write on its way to such a content,
//! and [`Survival`] what a power cut makes of it.

use std::rc::Rc;

use fastrand::Rng;

use crate::BLOCK_BYTES;

/// What a disk writes atomically when it writes anything at all.
pub(super) const SECTOR_BYTES: usize = 512;
/// [`BLOCK_BYTES`] for arithmetic with positions.
pub(super) const BLOCK_BYTES_U64: u64 = BLOCK_BYTES as u64;
const SECTORS_PER_BLOCK: usize = BLOCK_BYTES / SECTOR_BYTES;
const _: () = assert!(SECTOR_BYTES * SECTORS_PER_BLOCK == BLOCK_BYTES);

/// One block, shared by every content and patch that holds the same bytes.
pub(super) type Block = Rc<[u8; BLOCK_BYTES]>;

/// All bytes of a file, copied on write block by block.
#[derive(Clone, Default)]
pub(super) struct Content {
    bytes: u64,
    blocks: Rc<Vec<Option<Block>>>,
}

/// One write: the blocks that it brings. An absent block is one that this write no longer touches.
#[derive(Clone)]
pub(super) struct Patch {
    /// Number of the call that wrote it.
    pub(super) call: u64,
    /// Moment at which it was completed, or called as long as it is in flight.
    pub(super) stamp: u64,
    /// A sync over this write has failed: no later sync makes it durable.
    pub(super) abandoned: bool,
    /// Index of the first block in the file.
    first: usize,
    blocks: Vec<Option<Block>>,
}

/// What is left of an unsynced write after a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Survival {
    Lost,
    Whole,
    /// A random subset of units of this many bytes, [`SECTOR_BYTES`] or [`BLOCK_BYTES`].
    Torn(usize),
}

impl Survival {
    /// Any of the outcomes, tearing at either unit included.
    pub(super) fn any(rng: &mut Rng) -> Self {
        match rng.u8(0..4) {
            0 => Self::Lost,
            1 => Self::Whole,
            _ => Self::torn(rng),
        }
    }

    /// Torn, at either unit.
    pub(super) fn torn(rng: &mut Rng) -> Self {
        Self::Torn(if rng.bool() { SECTOR_BYTES } else { BLOCK_BYTES })
    }
}

impl Content {
    /// `bytes` zeros.
    pub(super) fn zeros(bytes: u64) -> Self {
        Self { bytes, blocks: Rc::new(vec![None; block_count(bytes)]) }
    }

    /// The given bytes; any length.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let blocks = bytes.chunks(BLOCK_BYTES).map(|chunk| Some(block_of(chunk))).collect();
        Self { bytes: bytes.len() as u64, blocks: Rc::new(blocks) }
    }

    /// Length in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Copies the bytes from `position` on into `out`, which must end within the content.
    pub(super) fn read(&self, position: u64, out: &mut [u8]) {
        assert!(position + out.len() as u64 <= self.bytes, "read past the end");
        let mut position = position as usize;
        let mut rest = out;
        while !rest.is_empty() {
            let within = position % BLOCK_BYTES;
            let count = rest.len().min(BLOCK_BYTES - within);
            let (chunk, tail) = rest.split_at_mut(count);
            match &self.blocks[position / BLOCK_BYTES] {
                Some(block) => chunk.copy_from_slice(&block[within..within + count]),
                None => chunk.fill(0),
            }
            position += count;
            rest = tail;
        }
    }

    /// All bytes.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut out = vec![0; self.bytes as usize];
        self.read(0, &mut out);
        out
    }

    /// Applies a write. Blocks behind the end are dropped: the length that would show them did not survive.
    pub(super) fn apply(&mut self, patch: &Patch) {
        for (index, block) in patch.touched() {
            self.put(index, block.clone());
        }
    }

    /// Applies what survives of a write.
    pub(super) fn apply_surviving(&mut self, patch: &Patch, survival: Survival, rng: &mut Rng) {
        match survival {
            Survival::Lost => {}
            Survival::Whole => self.apply(patch),
            Survival::Torn(unit) => {
                for (index, block) in patch.torn_over(self, unit, rng).touched() {
                    self.put(index, block.clone());
                }
            }
        }
    }

    /// Inverts one bit. False when the byte is behind the end.
    pub(super) fn flip_bit(&mut self, byte: u64, bit: u8) -> bool {
        assert!(bit < 8);
        if byte >= self.bytes {
            return false;
        }
        let index = byte as usize / BLOCK_BYTES;
        let mut block = self.block(index);
        Rc::make_mut(&mut block)[byte as usize % BLOCK_BYTES] ^= 1 << bit;
        self.put(index, block);
        true
    }

    /// Cuts the content to at most `bytes`.
    pub(super) fn truncate(&mut self, bytes: u64) {
        if bytes >= self.bytes {
            return;
        }
        self.bytes = bytes;
        let blocks = Rc::make_mut(&mut self.blocks);
        blocks.truncate(block_count(bytes));
        let within = bytes as usize % BLOCK_BYTES;
        if let (true, Some(Some(last))) = (within > 0, blocks.last_mut()) {
            Rc::make_mut(last)[within..].fill(0);
        }
    }

    /// The same length with each sector either kept or zero: what a file system shows that had grown the file but not
    /// yet written its data.
    pub(super) fn with_holes(&self, rng: &mut Rng) -> Self {
        let mut holes = Self::zeros(self.bytes);
        let all = Patch::over(self.blocks.iter().cloned().collect());
        holes.apply_surviving(&all, Survival::Torn(SECTOR_BYTES), rng);
        holes
    }

    fn block(&self, index: usize) -> Block {
        match self.blocks.get(index) {
            Some(Some(block)) => block.clone(),
            _ => Rc::new([0; BLOCK_BYTES]),
        }
    }

    fn put(&mut self, index: usize, block: Block) {
        if index < self.blocks.len() {
            Rc::make_mut(&mut self.blocks)[index] = Some(block);
        }
    }
}

impl Patch {
    /// A write of `bytes` (whole blocks) at `position` (aligned) by the call number `call`.
    pub(super) fn new(call: u64, stamp: u64, position: u64, bytes: &[u8]) -> Self {
        assert!(position.is_multiple_of(BLOCK_BYTES as u64));
        assert!(bytes.len().is_multiple_of(BLOCK_BYTES));
        let blocks = bytes.chunks(BLOCK_BYTES).map(|chunk| Some(block_of(chunk))).collect();
        Self { call, stamp, abandoned: false, first: position as usize / BLOCK_BYTES, blocks }
    }

    fn over(blocks: Vec<Option<Block>>) -> Self {
        Self { call: 0, stamp: 0, abandoned: false, first: 0, blocks }
    }

    /// The blocks with their index in the file.
    fn touched(&self) -> impl Iterator<Item = (usize, &Block)> {
        let numbered = self.blocks.iter().enumerate();
        numbered.filter_map(|(index, block)| Some((self.first + index, block.as_ref()?)))
    }

    /// Numbers of the blocks that it touches.
    pub(super) fn block_indexes(&self) -> impl Iterator<Item = u64> {
        self.touched().map(|(index, _)| index as u64)
    }

    /// Takes those blocks out of this write that a later durable write has replaced.
    pub(super) fn yield_to(&mut self, later: &Self) {
        for (index, _) in later.touched() {
            if let Some(block) = index.checked_sub(self.first).and_then(|i| self.blocks.get_mut(i))
            {
                *block = None;
            }
        }
    }

    /// A random subset of this write's units of `unit` bytes: scattered ones, the first ones or the last ones. The
    /// other units of a touched block are those of `under`.
    pub(super) fn torn_over(&self, under: &Content, unit: usize, rng: &mut Rng) -> Self {
        assert!(unit == SECTOR_BYTES || unit == BLOCK_BYTES);
        let units_per_block = BLOCK_BYTES / unit;
        let unit_count = self.blocks.len() * units_per_block;
        let (style, cut) = (rng.u8(0..3), rng.usize(0..=unit_count));
        let mut torn = self.clone();
        for (index, slot) in torn.blocks.iter_mut().enumerate() {
            let Some(new) = slot.take() else { continue };
            let mut mixed = under.block(self.first + index);
            let mut kept = 0;
            for part in 0..units_per_block {
                let number = index * units_per_block + part;
                let keep = match style {
                    0 => rng.bool(),
                    1 => number < cut,
                    _ => number >= cut,
                };
                if keep {
                    let range = part * unit..(part + 1) * unit;
                    Rc::make_mut(&mut mixed)[range.clone()].copy_from_slice(&new[range]);
                    kept += 1;
                }
            }
            if kept > 0 {
                *slot = Some(mixed);
            }
        }
        torn
    }
}

fn block_count(bytes: u64) -> usize {
    bytes.div_ceil(BLOCK_BYTES as u64) as usize
}

fn block_of(chunk: &[u8]) -> Block {
    let mut block = Rc::new([0; BLOCK_BYTES]);
    Rc::make_mut(&mut block)[..chunk.len()].copy_from_slice(chunk);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(byte: u8, count: usize) -> Vec<u8> {
        vec![byte; count * BLOCK_BYTES]
    }

    #[test]
    fn a_patch_lands_where_it_was_written_and_leaves_copies_alone() {
        let mut content = Content::zeros(4 * 4096);
        let before = content.clone();
        content.apply(&Patch::new(1, 1, 4096, &blocks(7, 2)));
        let expected = [blocks(0, 1), blocks(7, 2), blocks(0, 1)].concat();
        assert_eq!(content.to_vec(), expected);
        assert_eq!(before.to_vec(), blocks(0, 4));
    }

    #[test]
    fn tearing_mixes_old_and_new_units_only() {
        let mut seen = [false; 3];
        for seed in 0..200 {
            for unit in [SECTOR_BYTES, BLOCK_BYTES] {
                let mut rng = Rng::with_seed(seed);
                let mut content = Content::from_bytes(&blocks(1, 3));
                let patch = Patch::new(1, 1, 4096, &blocks(2, 2));
                content.apply_surviving(&patch, Survival::Torn(unit), &mut rng);
                let bytes = content.to_vec();
                assert!(bytes[..4096].iter().all(|b| *b == 1));
                let mut new_count = 0;
                for part in bytes[4096..].chunks(unit) {
                    assert!(part.iter().all(|b| *b == part[0]), "a unit is never torn itself");
                    assert!(part[0] == 1 || part[0] == 2);
                    new_count += usize::from(part[0] == 2);
                }
                let class = if new_count == 0 { 0 } else { 1 };
                seen[if new_count * unit == 2 * 4096 { 2 } else { class }] = true;
            }
        }
        assert_eq!(seen, [true; 3], "nothing, a part and everything must all occur");
    }

    #[test]
    fn truncation_forgets_what_was_behind() {
        let mut content = Content::from_bytes(&blocks(9, 2));
        content.truncate(100);
        assert_eq!(content.to_vec(), vec![9; 100]);
        let block = content.block(0);
        assert!(block[100..].iter().all(|b| *b == 0));
    }

    #[test]
    fn a_flipped_bit_is_one_bit() {
        let mut content = Content::zeros(8192);
        assert!(content.flip_bit(5000, 3));
        assert!(!content.flip_bit(8192, 0));
        let ones: u32 = content.to_vec().iter().map(|b| b.count_ones()).sum();
        assert_eq!((ones, content.to_vec()[5000]), (1, 8));
    }
}
