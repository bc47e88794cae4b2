//! The head of an index file, its block 0: what the file covers and where its sections lie.

use super::{
    block::{Layout, PAYLOAD_BYTES, SectionKind, Stamp},
    item::Bounds,
};
use crate::offset::POSITION_MAX;

/// `RMQI`: every index file begins so.
const MAGIC: [u8; 4] = *b"RMQI";
/// The layout that this code reads and writes.
pub const VERSION: u16 = 2;
/// Where the log id and `from` stand in every version.
const LOG_ID_AT: usize = 8;
const FROM_AT: usize = 24;
/// Bytes before the list of sections.
const FIXED_BYTES: usize = 96;
/// Bytes of a section in the list.
const SECTION_BYTES: usize = 16;
/// Most sections of a file.
const SECTIONS_MAX: usize = (PAYLOAD_BYTES - FIXED_BYTES) / SECTION_BYTES;
/// Bytes of a segment at most: places of keys within it have 32 bits.
const SEGMENT_BYTES_MAX: u64 = 1 << 32;

/// What an index file covers. Stored as below, big-endian, the rest of the block's payload zero. Magic, version, log id
/// and `from` stay where they are in every version, so that the block's checksum can be checked before the rest is
/// believed.
///
/// | offset | bytes | what |
/// |---|---|---|
/// | 0 | 4 | magic `RMQI` |
/// | 4 | 2 | version, 2 |
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
/// | 80 | 8 | influenced by |
/// | 88 | 2 | number of sections |
/// | 90 | 6 | zero |
/// | 96 | 16 each | sections in the order of their blocks: kind u16, bytes of an item u16, first block u32, items or bytes u64 |
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
    /// Nothing that the log held from this position on has influenced the file. It is `to` or behind it: a topic that was
    /// deleted while the file was written has no row in it.
    pub influenced_by: u64,
}

/// Why a head cannot be used, as the end of a sentence about its file.
pub(super) enum BadHead {
    /// It is not what was written.
    Damaged(String),
    /// It is whole, and says what this code does not know.
    Newer(String),
}

/// What every block of the file with this block 0 carries, whatever its version; `None`: it is no index file.
pub(super) fn stamp_of(block: &[u8]) -> Option<Stamp> {
    let number = |at: usize| Some(u64::from_be_bytes(*block.get(at..)?.first_chunk()?));
    if !block.starts_with(&MAGIC) {
        return None;
    }
    Some(Stamp { log_id: number(LOG_ID_AT)?, from: number(FROM_AT)? })
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("a payload holds a head");
        self.0 = rest;
        *field
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
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
        out.extend_from_slice(&self.influenced_by.to_be_bytes());
        out.extend_from_slice(&(layout.sections().len() as u16).to_be_bytes());
        out.resize(FIXED_BYTES, 0);
        for section in layout.sections() {
            out.extend_from_slice(&section.kind.number().to_be_bytes());
            out.extend_from_slice(&(section.kind.item_bytes() as u16).to_be_bytes());
            out.extend_from_slice(&section.first.to_be_bytes());
            out.extend_from_slice(&section.count.to_be_bytes());
        }
        out
    }

    /// Reads the payload of block 0 of a file of `blocks` blocks, which passed its checksum.
    pub(super) fn decode(payload: &[u8], blocks: u64) -> Result<(Head, Layout), BadHead> {
        let mut fields = Fields(payload);
        if fields.take() != MAGIC {
            return Err(BadHead::Damaged("is no index file".into()));
        }
        let version = fields.u16();
        if version != VERSION {
            let what = format!("layout version {version}, this broker reads version {VERSION}");
            let newer = version > VERSION;
            return Err(if newer { BadHead::Newer(what) } else { BadHead::Damaged(what) });
        }
        let shard = fields.u16();
        let [log_id, segment, from, to] = std::array::from_fn(|_| fields.u64());
        let [epoch, next_number] = std::array::from_fn(|_| fields.u32());
        let [first_store_ms, last_store_ms, clock_ms] = std::array::from_fn(|_| fields.i64());
        let [messages, influenced_by] = std::array::from_fn(|_| fields.u64());
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
            influenced_by,
        };
        if !head.is_possible() {
            let what = format!("covers {from} to {to} of segment {segment}, which is impossible");
            return Err(BadHead::Damaged(what));
        }
        let layout = decode_sections(&mut fields)?.filter(|layout| {
            u64::from(layout.blocks) == blocks
                && layout.section(SectionKind::Fences).count
                    == u64::from(layout.blocks_of(SectionKind::Rows))
        });
        let misfit = || BadHead::Damaged(format!("its sections do not make {blocks} blocks"));
        Ok((head, layout.ok_or_else(misfit)?))
    }

    /// Whether all of its segment is covered.
    pub fn covers_segment(&self, segments: &crate::layout::Layout) -> bool {
        self.from == self.segment && self.to == segments.end_of(self.segment)
    }

    /// Whether these positions can be.
    pub(super) fn is_possible(&self) -> bool {
        self.segment <= self.from
            && self.from <= self.to
            && self.to <= self.influenced_by
            && self.influenced_by <= POSITION_MAX
            && self.to - self.segment <= SEGMENT_BYTES_MAX
    }

    /// What the items of a file with this head must fit into.
    pub(super) fn bounds(&self, layout: &Layout) -> Bounds {
        let Head { segment, from, to, next_number, .. } = *self;
        Bounds {
            segment,
            from,
            to,
            entries: layout.section(SectionKind::Entries).count,
            next_number,
        }
    }
}

/// The list of sections. `None`: they cannot lie so.
fn decode_sections(fields: &mut Fields<'_>) -> Result<Option<Layout>, BadHead> {
    let number = usize::from(fields.u16());
    let zero: [u8; 6] = fields.take();
    if number > SECTIONS_MAX || zero != [0; 6] {
        return Ok(None);
    }
    let mut counts = Vec::with_capacity(number);
    let mut firsts = Vec::with_capacity(number);
    for _ in 0..number {
        let (kind, item_bytes) = (fields.u16(), fields.u16());
        let (first, count) = (fields.u32(), fields.u64());
        let Some(known) = SectionKind::of(kind) else {
            let what = format!("section of kind {kind}, which this broker does not know");
            return Err(BadHead::Newer(what));
        };
        if usize::from(item_bytes) != known.item_bytes() {
            return Ok(None);
        }
        counts.push((known, count));
        firsts.push(first);
    }
    let Some(layout) = Layout::of(counts) else { return Ok(None) };
    let fits = layout.sections().iter().map(|section| section.first).eq(firsts);
    Ok(fits.then_some(layout))
}
