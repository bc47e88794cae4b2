//! Items of a fixed size: rows, entries, keys, fences; their bytes, and what can be known to be wrong about one.

use super::{block::SectionKind, key::Key};
use crate::consume_queue::Entry;

/// One queue of the shard as it was at the end of what an index file covers.
///
/// | offset | bytes | what |
/// |---|---|---|
/// | 0 | 4 | number |
/// | 4 | 4 | topic |
/// | 8 | 4 | queue id |
/// | 12 | 4 | count |
/// | 16 | 4 | first |
/// | 20 | 8 | next |
/// | 28 | 8 | last store ms |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Number of the queue in its shard, never used for another one.
    pub number: u32,
    /// Its topic, as an index into the file's topics.
    pub topic: u32,
    /// Its id within the topic.
    pub queue_id: u32,
    /// Entries of the queue in this file.
    pub count: u32,
    /// Index of the first of them among the entries of this file.
    pub first: u32,
    /// Queue offset behind its last message.
    pub next: i64,
    /// When its last message was stored, ms; 0 if never.
    pub last_store_ms: i64,
}

impl Row {
    /// Queue offset of its first entry in this file.
    pub fn start(&self) -> i64 {
        self.next - i64::from(self.count)
    }
}

/// What a file covers, as far as its items must fit into it.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub(super) segment: u64,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) entries: u64,
    pub(super) next_number: u32,
}

/// An item of a fixed size. Implemented by [`Row`], [`Entry`], [`Key`] and, for fences, `u32`.
pub trait Item: Copy {
    /// The section that holds these items.
    const SECTION: SectionKind;
    /// Bytes of an item.
    const BYTES: usize = Self::SECTION.item_bytes();
    /// What an item is called in a report.
    const NAME: &'static str;

    /// Reads an item from exactly [`Item::BYTES`].
    fn decode(bytes: &[u8]) -> Self;

    /// Writes an item to exactly [`Item::BYTES`].
    fn encode(&self, out: &mut [u8]);

    /// Whether the item fits into a file that covers `bounds`.
    #[doc(hidden)]
    fn fits(&self, bounds: &Bounds) -> bool;
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("an item has all its fields")
}

impl Item for Row {
    const SECTION: SectionKind = SectionKind::Rows;
    const NAME: &'static str = "row";

    fn decode(bytes: &[u8]) -> Row {
        assert!(bytes.len() == Self::BYTES);
        Row {
            number: u32::from_be_bytes(field(bytes, 0)),
            topic: u32::from_be_bytes(field(bytes, 4)),
            queue_id: u32::from_be_bytes(field(bytes, 8)),
            count: u32::from_be_bytes(field(bytes, 12)),
            first: u32::from_be_bytes(field(bytes, 16)),
            next: i64::from_be_bytes(field(bytes, 20)),
            last_store_ms: i64::from_be_bytes(field(bytes, 28)),
        }
    }

    fn encode(&self, out: &mut [u8]) {
        assert!(out.len() == Self::BYTES);
        let numbers = [self.number, self.topic, self.queue_id, self.count, self.first];
        for (room, number) in out.chunks_exact_mut(4).zip(numbers) {
            room.copy_from_slice(&number.to_be_bytes());
        }
        out[20..28].copy_from_slice(&self.next.to_be_bytes());
        out[28..].copy_from_slice(&self.last_store_ms.to_be_bytes());
    }

    fn fits(&self, bounds: &Bounds) -> bool {
        self.number < bounds.next_number
            && self.next >= i64::from(self.count)
            && u64::from(self.first) + u64::from(self.count) <= bounds.entries
    }
}

impl Item for Entry {
    const SECTION: SectionKind = SectionKind::Entries;
    const NAME: &'static str = "entry";

    fn decode(bytes: &[u8]) -> Entry {
        assert!(bytes.len() == Self::BYTES);
        let words = (u64::from_be_bytes(field(bytes, 0)), u32::from_be_bytes(field(bytes, 8)));
        Entry::from_words(words, i64::from_be_bytes(field(bytes, 12)))
    }

    fn encode(&self, out: &mut [u8]) {
        assert!(out.len() == Self::BYTES);
        let (position, size) = self.words();
        out[..8].copy_from_slice(&position.to_be_bytes());
        out[8..12].copy_from_slice(&size.to_be_bytes());
        out[12..].copy_from_slice(&self.tags_code().to_be_bytes());
    }

    fn fits(&self, bounds: &Bounds) -> bool {
        let position = self.position();
        bounds.from <= position
            && position < bounds.to
            && u64::from(self.bytes()) <= bounds.to - position
    }
}

impl Item for Key {
    const SECTION: SectionKind = SectionKind::Keys;
    const NAME: &'static str = "key";

    fn decode(bytes: &[u8]) -> Key {
        assert!(bytes.len() == Self::BYTES);
        Key { hash: u32::from_be_bytes(field(bytes, 0)), at: u32::from_be_bytes(field(bytes, 4)) }
    }

    fn encode(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.rank().to_be_bytes());
    }

    fn fits(&self, bounds: &Bounds) -> bool {
        let position = bounds.segment + u64::from(self.at);
        bounds.from <= position && position < bounds.to
    }
}

impl Item for u32 {
    const SECTION: SectionKind = SectionKind::Fences;
    const NAME: &'static str = "fence";

    fn decode(bytes: &[u8]) -> u32 {
        u32::from_be_bytes(field(bytes, 0))
    }

    fn encode(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.to_be_bytes());
    }

    fn fits(&self, bounds: &Bounds) -> bool {
        *self < bounds.next_number
    }
}
