//! The head of an index file, its block 0: what the file covers and where its sections lie.

use super::{
    block::{Layout, PAYLOAD_BYTES, Part, SECTIONS, Section},
    item::Bounds,
};
use crate::offset::POSITION_MAX;

/// `RMQI`: every index file begins so.
const MAGIC: [u8; 4] = *b"RMQI";
/// The layout that this code reads and writes.
const VERSION: u16 = 1;
/// Bytes of a segment at most: places of keys within it have 32 bits.
const SEGMENT_BYTES_MAX: u64 = 1 << 32;

/// What an index file covers. Stored as below, big-endian, the rest of the block's payload zero.
///
/// | offset | bytes | what |
/// |---|---|---|
/// | 0 | 4 | magic `RMQI` |
/// | 4 | 2 | version, 1 |
/// | 6 | 2 | shard |
/// | 8 | 8 | log id |
/// | 16 | 8 | segment |
/// | 24 | 8 | from |
/// | 32 | 8 | to |
/// | 40 | 4 | epoch |
/// | 44 | 4 | next number |
/// | 48 | 8 | first store ms |
/// | 56 | 8 | last store ms |
/// | 64 | 8 | clock ms |
/// | 72 | 8 | messages |
/// | 80 | 6 x 12 | sections (fences, rows, topics, offsets, entries, keys): first block u32, items or bytes u64 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Shard whose log it is.
    pub shard: u16,
    /// Identifies that log.
    pub log_id: u64,
    /// Position of the segment, at most 4 GiB of which is covered.
    pub segment: u64,
    /// First position covered.
    pub from: u64,
    /// Behind the last position covered.
    pub to: u64,
    /// Epoch of the log at `to`.
    pub epoch: u32,
    /// When the first message covered was stored, ms; 0 when there is none.
    pub first_store_ms: i64,
    /// When the last message covered was stored, ms; 0 when there is none.
    pub last_store_ms: i64,
    /// Last store time of the log at `to`, ms.
    pub clock_ms: i64,
    /// Messages covered, also those of queues that are gone at `to`.
    pub messages: u64,
    /// The next new queue of the shard gets this number.
    pub next_number: u32,
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("a payload holds a head");
        self.0 = rest;
        *field
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }
}

impl Head {
    /// The payload of block 0.
    pub(super) fn encode(&self, layout: &Layout) -> Vec<u8> {
        let mut out = Vec::with_capacity(PAYLOAD_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&self.shard.to_be_bytes());
        for number in [self.log_id, self.segment, self.from, self.to] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.next_number.to_be_bytes());
        for time in [self.first_store_ms, self.last_store_ms, self.clock_ms] {
            out.extend_from_slice(&time.to_be_bytes());
        }
        out.extend_from_slice(&self.messages.to_be_bytes());
        for section in layout.sections() {
            out.extend_from_slice(&section.first.to_be_bytes());
            out.extend_from_slice(&section.count.to_be_bytes());
        }
        out
    }

    /// Reads the payload of block 0 of a file of `blocks` blocks. Says what does not fit.
    pub(super) fn decode(payload: &[u8], blocks: u64) -> Result<(Head, Layout), String> {
        let mut fields = Fields(payload);
        if fields.take() != MAGIC {
            return Err("is no index file".into());
        }
        let version = u16::from_be_bytes(fields.take());
        if version != VERSION {
            return Err(format!("layout version {version}, this broker reads version {VERSION}"));
        }
        let shard = u16::from_be_bytes(fields.take());
        let [log_id, segment, from, to] = std::array::from_fn(|_| fields.u64());
        let [epoch, next_number] = std::array::from_fn(|_| fields.u32());
        let [first_store_ms, last_store_ms, clock_ms] = std::array::from_fn(|_| fields.i64());
        let messages = fields.u64();
        let sections: [Section; SECTIONS] =
            std::array::from_fn(|_| Section { first: fields.u32(), count: fields.u64() });
        let head = Head {
            shard,
            log_id,
            segment,
            from,
            to,
            epoch,
            first_store_ms,
            last_store_ms,
            clock_ms,
            messages,
            next_number,
        };
        if !head.is_possible() {
            return Err(format!("covers {from} to {to} of segment {segment}, which is impossible"));
        }
        let layout = Layout::of(sections.map(|section| section.count));
        let layout = layout.filter(|layout| {
            *layout.sections() == sections
                && u64::from(layout.blocks) == blocks
                && layout.section(Part::Fences).count == u64::from(layout.blocks_of(Part::Rows))
        });
        match layout {
            Some(layout) => Ok((head, layout)),
            None => Err(format!("its sections do not make {blocks} blocks")),
        }
    }

    /// Whether these positions can be.
    pub(super) fn is_possible(&self) -> bool {
        self.segment <= self.from
            && self.from <= self.to
            && self.to <= POSITION_MAX
            && self.to - self.segment <= SEGMENT_BYTES_MAX
    }

    /// What the items of a file with this head must fit into.
    pub(super) fn bounds(&self, layout: &Layout) -> Bounds {
        let Head { segment, from, to, next_number, .. } = *self;
        Bounds { segment, from, to, entries: layout.section(Part::Entries).count, next_number }
    }
}
