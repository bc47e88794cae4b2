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

/// What a section holds. Numbers below 16 are the frame of a file, those from 16 on speak of the range that it covers,
/// those from 32 on hold a state of the shard as of the file's end ([`crate::state`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum SectionKind {
    /// Number of the first row of each block of rows.
    Fences = 1,
    /// One row per queue, sorted by number.
    Rows = 2,
    /// Names of topics: u16 length and UTF-8, repeated.
    Topics = 3,
    /// Consume queue entries, by row, then by queue offset.
    Entries = 16,
    /// Keys, sorted.
    Keys = 17,
    /// Offsets of groups, in pieces.
    GroupOffsets = 32,
    /// Epochs of the log up to the file's end, a piece each.
    Lineage = 33,
    /// Records that wait until they are due, in pieces.
    Deferred = 34,
    /// Half messages that are open, in pieces.
    HalfMessages = 35,
    /// Queues on which groups are told to go on elsewhere, in pieces.
    OffsetResets = 36,
    /// Queues that groups pop, and what is in flight of them, in pieces.
    Popped = 37,
}

/// Sections that every file has.
const REQUIRED: [SectionKind; 5] = [
    SectionKind::Fences,
    SectionKind::Rows,
    SectionKind::Topics,
    SectionKind::Entries,
    SectionKind::Keys,
];
/// The first kind that is a state.
const FIRST_STATE: u16 = 32;

impl SectionKind {
    /// All kinds that this code knows.
    pub const ALL: [SectionKind; 11] = [
        SectionKind::Fences,
        SectionKind::Rows,
        SectionKind::Topics,
        SectionKind::Entries,
        SectionKind::Keys,
        SectionKind::GroupOffsets,
        SectionKind::Lineage,
        SectionKind::Deferred,
        SectionKind::HalfMessages,
        SectionKind::OffsetResets,
        SectionKind::Popped,
    ];

    /// Its number in a file.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The kind of this number, if it is known.
    pub fn of(number: u16) -> Option<SectionKind> {
        SectionKind::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Whether it holds a state as of the file's end: pieces of u32 length and content.
    pub const fn is_state(self) -> bool {
        self.number() >= FIRST_STATE
    }

    /// Bytes of an item; 1 for streams of bytes.
    pub const fn item_bytes(self) -> usize {
        match self {
            SectionKind::Fences => 4,
            SectionKind::Rows => 36,
            SectionKind::Topics => 1,
            SectionKind::GroupOffsets
            | SectionKind::Lineage
            | SectionKind::Deferred
            | SectionKind::HalfMessages
            | SectionKind::OffsetResets
            | SectionKind::Popped => 1,
            SectionKind::Entries => 20,
            SectionKind::Keys => 8,
        }
    }

    /// Items in a full block.
    pub(super) const fn per_block(self) -> usize {
        PAYLOAD_BYTES / self.item_bytes()
    }
}

/// Where a section lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) kind: SectionKind,
    /// Number of its first block.
    pub(super) first: u32,
    /// Items, or bytes of a stream.
    pub(super) count: u64,
}

/// Where all sections lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// In the order of their blocks.
    sections: Vec<Section>,
    /// Blocks of the file, the head included.
    pub(super) blocks: u32,
}

impl Layout {
    /// Sections of these many items or bytes, one behind the other from block 1. `None` when a kind comes twice, one
    /// that every file has is missing, or they are larger than any segment gives rise to: a section of 2^32 items, or
    /// as many blocks.
    pub(super) fn of(counts: impl IntoIterator<Item = (SectionKind, u64)>) -> Option<Layout> {
        let mut sections: Vec<Section> = Vec::with_capacity(SectionKind::ALL.len());
        let mut blocks = 1u32;
        for (kind, count) in counts {
            let items = u32::try_from(count).ok()?;
            if sections.iter().any(|other| other.kind == kind) {
                return None;
            }
            sections.push(Section { kind, first: blocks, count });
            blocks = blocks.checked_add(items.div_ceil(kind.per_block() as u32))?;
        }
        let is_there = |kind: &SectionKind| sections.iter().any(|section| section.kind == *kind);
        REQUIRED.iter().all(is_there).then_some(Layout { sections, blocks })
    }

    /// Where a section lies; one that is not there has nothing in it.
    pub(super) fn section(&self, kind: SectionKind) -> Section {
        let found = self.sections.iter().find(|section| section.kind == kind);
        found.copied().unwrap_or(Section { kind, first: self.blocks, count: 0 })
    }

    /// All sections, in the order of their blocks.
    pub(super) fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Blocks of a section.
    pub(super) fn blocks_of(&self, kind: SectionKind) -> u32 {
        self.section(kind).count.div_ceil(kind.per_block() as u64) as u32
    }
}
