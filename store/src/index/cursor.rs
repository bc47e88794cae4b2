//! Going through a section from its beginning to its end: for merging, checking, retention and tools.

use super::{
    block::PAYLOAD_BYTES,
    error::IndexError,
    item::{Item, Row},
    key::Key,
    open::Index,
};
use crate::consume_queue::Entry;
use runtime::{BLOCK_BYTES, Disk};

/// Blocks of the largest read: 1 MiB.
pub(super) const READ_BLOCKS_MAX: u32 = 256;
/// Blocks decoded at a time, so that a chunk takes some 50 us at most.
const CHUNK_BLOCKS: u64 = 16;

/// Goes through the rows.
pub type Rows<'a, D> = Cursor<'a, D, Row>;
/// Goes through the entries of all queues.
pub type Entries<'a, D> = Cursor<'a, D, Entry>;
/// Goes through the keys.
pub type Keys<'a, D> = Cursor<'a, D, Key>;

/// Goes through the items of a section in order. The second type parameter spares four copies of the same code.
pub struct Cursor<'a, D: Disk, T: Item> {
    index: &'a Index<D>,
    read_blocks: u32,
    buffer: Option<D::Buf>,
    /// Number of the buffer's first block.
    buffer_first: u32,
    /// Index of the next item to decode.
    next: u64,
    items: Vec<T>,
    taken: usize,
}

impl<D: Disk> Index<D> {
    /// Goes through the rows.
    pub fn rows(&self) -> Rows<'_, D> {
        Cursor::new(self, READ_BLOCKS_MAX)
    }

    /// Goes through the entries of all queues, in the order of the rows.
    pub fn all_entries(&self) -> Entries<'_, D> {
        Cursor::new(self, READ_BLOCKS_MAX)
    }

    /// Goes through the keys, in order.
    pub fn all_keys(&self) -> Keys<'_, D> {
        Cursor::new(self, READ_BLOCKS_MAX)
    }
}

impl<'a, D: Disk, T: Item> Cursor<'a, D, T> {
    /// At the first item, reading this many blocks at a time.
    pub(super) fn new(index: &'a Index<D>, read_blocks: u32) -> Cursor<'a, D, T> {
        assert!((1..=READ_BLOCKS_MAX).contains(&read_blocks));
        Cursor {
            index,
            read_blocks,
            buffer: None,
            buffer_first: 0,
            next: 0,
            items: Vec::new(),
            taken: 0,
        }
    }

    /// The next items, some thousand at most; `None` at the end. Errors: the disk's, or damage.
    pub async fn next_chunk(&mut self) -> Result<Option<&[T]>, IndexError> {
        self.taken = self.items.len();
        Ok(if self.fill().await? { Some(self.rest()) } else { None })
    }

    /// Sees to it that [`Cursor::rest`] has items. False at the end. Errors: the disk's, or damage.
    pub async fn fill(&mut self) -> Result<bool, IndexError> {
        if self.taken < self.items.len() {
            return Ok(true);
        }
        self.items.clear();
        self.taken = 0;
        let kind = T::SECTION;
        let section = self.index.section(kind);
        if self.next == section.count {
            return Ok(false);
        }
        let per_block = kind.per_block() as u64;
        let mut block = section.first + (self.next / per_block) as u32;
        self.hold(block, section.first + self.index.layout().blocks_of(kind)).await?;
        let buffer = self.buffer.as_ref().expect("held above").as_ref();
        let end = self.buffer_first + (buffer.len() / BLOCK_BYTES) as u32;
        let decode_end = end.min(block + CHUNK_BLOCKS as u32);
        while block < decode_end && self.next < section.count {
            let at = (block - self.buffer_first) as usize * BLOCK_BYTES;
            let from = (self.next % per_block) as usize;
            let count = (per_block - from as u64).min(section.count - self.next) as usize;
            let payload = &buffer[at..at + PAYLOAD_BYTES];
            self.index.decode(block, payload, from..from + count, &mut self.items)?;
            self.next += count as u64;
            block += 1;
        }
        assert!(!self.items.is_empty());
        Ok(true)
    }

    /// Items decoded and not consumed.
    pub fn rest(&self) -> &[T] {
        &self.items[self.taken..]
    }

    /// Goes on behind the first `count` of [`Cursor::rest`].
    ///
    /// # Panics
    /// When there are fewer.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.rest().len());
        self.taken += count;
    }

    /// Index of the first item not consumed.
    pub(super) fn position(&self) -> u64 {
        self.next - self.rest().len() as u64
    }

    /// Goes on `count` items later, without reading those between.
    pub(super) fn skip(&mut self, count: u64) {
        let rest = self.rest().len();
        if count <= rest as u64 {
            self.taken += count as usize;
            return;
        }
        self.next += count - rest as u64;
        self.taken = self.items.len();
        assert!(self.next <= self.index.section(T::SECTION).count);
    }

    /// Has `block` in the buffer, and what follows up to `end`.
    async fn hold(&mut self, block: u32, end: u32) -> Result<(), IndexError> {
        let held = self.buffer.as_ref().map_or(0, |buffer| buffer.as_ref().len() / BLOCK_BYTES);
        if (self.buffer_first..self.buffer_first + held as u32).contains(&block) {
            return Ok(());
        }
        let blocks = self.read_blocks.min(end - block);
        self.buffer = Some(self.index.read_blocks(block, blocks).await?);
        self.buffer_first = block;
        Ok(())
    }
}
