//! Blocks and sections: how an index file is divided, and how each block proves that it is the right one.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4080 | payload |
//! | 4080 | 8 | log id |
//! | 4088 | 4 | block number in the file |
//! | 4092 | 4 | CRC-32C over the file's `from` (8 bytes) and the block's first 4092 bytes |
//!
//! Sections follow each other without gaps. Items of a fixed size never straddle blocks; streams of bytes run on.

use crc32c::{crc32c, crc32c_append};
use runtime::BLOCK_BYTES;

/// Bytes of a block that carry content.
pub(super) const PAYLOAD_BYTES: usize = BLOCK_BYTES - 8 - 4 - 4;
const NUMBER_AT: usize = PAYLOAD_BYTES + 8;
const CRC_AT: usize = NUMBER_AT + 4;
const _: () = assert!(CRC_AT + 4 == BLOCK_BYTES);

/// Sections of a file, in their order.
pub(super) const SECTIONS: usize = 6;

/// What every block of one file carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) log_id: u64,
    pub(super) from: u64,
}

impl Stamp {
    /// Completes a block whose payload is in place.
    pub(super) fn seal(self, number: u32, block: &mut [u8]) {
        assert!(block.len() == BLOCK_BYTES);
        block[PAYLOAD_BYTES..NUMBER_AT].copy_from_slice(&self.log_id.to_be_bytes());
        block[NUMBER_AT..CRC_AT].copy_from_slice(&number.to_be_bytes());
        let crc = self.crc(&block[..CRC_AT]);
        block[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
    }

    /// Says what is wrong with a block that should be number `number` of this file.
    pub(super) fn check(self, number: u32, block: &[u8]) -> Result<(), &'static str> {
        assert!(block.len() == BLOCK_BYTES);
        if self.crc(&block[..CRC_AT]).to_be_bytes() != block[CRC_AT..] {
            return Err("fails its checksum");
        }
        if self.log_id.to_be_bytes() != block[PAYLOAD_BYTES..NUMBER_AT] {
            return Err("is of another log");
        }
        if number.to_be_bytes() != block[NUMBER_AT..CRC_AT] {
            return Err("is in the wrong place");
        }
        Ok(())
    }

    fn crc(self, bytes: &[u8]) -> u32 {
        crc32c_append(crc32c(&self.from.to_be_bytes()), bytes)
    }
}

/// One of the sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Number of the first row of each block of rows.
    Fences,
    /// One row per queue, sorted by number.
    Rows,
    /// Names of topics: u16 length and UTF-8, repeated.
    Topics,
    /// Group offsets: u32 length and content, repeated.
    Offsets,
    /// Consume queue entries, by row, then by queue offset.
    Entries,
    /// Keys, sorted.
    Keys,
}

impl Part {
    /// Bytes of an item; 1 for streams of bytes.
    pub(super) const fn item_bytes(self) -> usize {
        match self {
            Part::Fences => 4,
            Part::Rows => 36,
            Part::Topics | Part::Offsets => 1,
            Part::Entries => 20,
            Part::Keys => 8,
        }
    }

    /// Items in a full block.
    pub(super) const fn per_block(self) -> usize {
        PAYLOAD_BYTES / self.item_bytes()
    }
}

/// Where a section lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    /// Number of its first block.
    pub(super) first: u32,
    /// Items, or bytes of a stream.
    pub(super) count: u64,
}

/// Where all sections lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    sections: [Section; SECTIONS],
    /// Blocks of the file, the head included.
    pub(super) blocks: u32,
}

const PARTS: [Part; SECTIONS] =
    [Part::Fences, Part::Rows, Part::Topics, Part::Offsets, Part::Entries, Part::Keys];

impl Layout {
    /// Sections of these many items or bytes, one behind the other from block 1. `None` when that is more than any
    /// segment gives rise to: a section of 2^32 items, or as many blocks.
    pub(super) fn of(counts: [u64; SECTIONS]) -> Option<Layout> {
        let mut sections = [Section::default(); SECTIONS];
        let mut blocks = 1u32;
        for ((section, part), count) in sections.iter_mut().zip(PARTS).zip(counts) {
            let items = u32::try_from(count).ok()?;
            *section = Section { first: blocks, count };
            blocks = blocks.checked_add(items.div_ceil(part.per_block() as u32))?;
        }
        Some(Layout { sections, blocks })
    }

    pub(super) fn section(&self, part: Part) -> Section {
        self.sections[part as usize]
    }

    pub(super) fn sections(&self) -> &[Section; SECTIONS] {
        &self.sections
    }

    /// Blocks of a section.
    pub(super) fn blocks_of(&self, part: Part) -> u32 {
        self.section(part).count.div_ceil(part.per_block() as u64) as u32
    }
}
