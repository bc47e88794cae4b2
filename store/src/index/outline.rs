//! All of an index file but its entries and keys: what a writer begins with and what a start reads.

use super::{
    block::{PAYLOAD_BYTES, SectionKind},
    cursor::READ_BLOCKS_MAX,
    error::IndexError,
    head::Head,
    item::Row,
    open::Index,
};
use runtime::{BLOCK_BYTES, Disk};
use std::future::{Future, ready};

/// The state of a shard's queues at the end of what an index file covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// What is covered.
    pub head: Head,
    /// Names of the topics that rows refer to; at most 65,535 bytes each.
    pub topics: Vec<Box<str>>,
    /// One row per live queue, sorted by number, also of those without entries here. A writer fills in `first`.
    pub rows: Vec<Row>,
    /// States of the shard as of the end of what is covered, each kind once.
    pub states: Vec<StateSection>,
}

/// A state of the shard as an index file holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSection {
    /// Which state.
    pub kind: SectionKind,
    /// What [`crate::state::DerivedState::restore`] takes, one after the other.
    pub pieces: Vec<Vec<u8>>,
}

/// Names or contents read between two pauses.
const PIECE_NAMES: usize = 1_024;

impl<D: Disk> Index<D> {
    /// Reads everything but entries and keys, a mebibyte at a time. For a start: it does not make way for others.
    /// Errors: the disk's, or damage in any of these sections.
    pub async fn outline(&self) -> Result<Outline, IndexError> {
        self.outline_paced(&|| ready(())).await
    }

    /// As [`Index::outline`]; `pause` is awaited between pieces of work.
    pub async fn outline_paced<P, F>(&self, pause: &P) -> Result<Outline, IndexError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let topics = self.read_topics(pause).await?;
        let mut rows: Vec<Row> = Vec::new();
        let mut cursor = self.rows();
        while let Some(chunk) = cursor.next_chunk().await? {
            for row in chunk {
                self.check_row(rows.last(), row, topics.len())?;
                rows.push(*row);
            }
            pause().await;
        }
        let counted: u64 = rows.iter().map(|row| u64::from(row.count)).sum();
        if counted != self.section(SectionKind::Entries).count {
            return Err(self.damaged(format!("its rows have {counted} entries, the file has not")));
        }
        let mut states = Vec::new();
        for section in self.layout().sections().iter().filter(|section| section.kind.is_state()) {
            states.push(self.read_state(section.kind, pause).await?);
        }
        Ok(Outline { head: *self.head(), topics, rows, states })
    }

    /// A row must follow its predecessor, in number and in entries.
    fn check_row(&self, last: Option<&Row>, row: &Row, topics: usize) -> Result<(), IndexError> {
        let number = row.number;
        let (in_order, first) = match last {
            Some(last) => (last.number < number, last.first + last.count),
            None => (true, 0),
        };
        if !in_order {
            return Err(self.damaged(format!("row {number} is out of order")));
        }
        if row.first != first {
            return Err(self.damaged(format!("row {number} has entries of another row")));
        }
        if row.topic as usize >= topics {
            return Err(self.damaged(format!("row {number} is of no topic")));
        }
        Ok(())
    }

    async fn read_topics<P, F>(&self, pause: &P) -> Result<Vec<Box<str>>, IndexError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let mut stream = Stream::new(self, SectionKind::Topics);
        let mut topics = Vec::new();
        while stream.left > 0 {
            let bytes = u16::from_be_bytes(stream.array().await?);
            let name = stream.take(u64::from(bytes)).await?;
            let name = String::from_utf8(name)
                .map_err(|_| self.damaged(format!("topic {} is no text", topics.len())))?;
            topics.push(name.into_boxed_str());
            if topics.len().is_multiple_of(PIECE_NAMES) {
                pause().await;
            }
        }
        Ok(topics)
    }

    async fn read_state<P, F>(
        &self,
        kind: SectionKind,
        pause: &P,
    ) -> Result<StateSection, IndexError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let mut stream = Stream::new(self, kind);
        let mut pieces = Vec::new();
        while stream.left > 0 {
            let bytes = u32::from_be_bytes(stream.array().await?);
            pieces.push(stream.take(u64::from(bytes)).await?);
            pause().await;
        }
        Ok(StateSection { kind, pieces })
    }
}

/// Reads a section that is a stream of bytes.
struct Stream<'a, D: Disk> {
    index: &'a Index<D>,
    /// Bytes not yet taken.
    left: u64,
    next_block: u32,
    blocks_left: u32,
    buffer: Option<D::Buf>,
    /// Block in the buffer, and byte in its payload, that come next.
    block: usize,
    at: usize,
}

impl<'a, D: Disk> Stream<'a, D> {
    fn new(index: &'a Index<D>, kind: SectionKind) -> Stream<'a, D> {
        let section = index.section(kind);
        let blocks_left = index.layout().blocks_of(kind);
        Stream {
            index,
            left: section.count,
            next_block: section.first,
            blocks_left,
            buffer: None,
            block: 0,
            at: 0,
        }
    }

    async fn array<const N: usize>(&mut self) -> Result<[u8; N], IndexError> {
        let bytes = self.take(N as u64).await?;
        Ok(*bytes.first_chunk().expect("as many as were asked for"))
    }

    /// The next `bytes`. Memory grows with what is read and checked, not with what a length promises.
    async fn take(&mut self, bytes: u64) -> Result<Vec<u8>, IndexError> {
        if bytes > self.left {
            return Err(self.index.damaged("a length runs over the end of its section".into()));
        }
        self.left -= bytes;
        let mut taken = Vec::new();
        while (taken.len() as u64) < bytes {
            let wanted = (bytes - taken.len() as u64).min(PAYLOAD_BYTES as u64) as usize;
            let part = self.part(wanted).await?;
            taken.extend_from_slice(part);
        }
        Ok(taken)
    }

    /// Between 1 and `wanted` bytes of the current block.
    async fn part(&mut self, wanted: usize) -> Result<&[u8], IndexError> {
        if self.at == PAYLOAD_BYTES {
            (self.block, self.at) = (self.block + 1, 0);
        }
        let held = self.buffer.as_ref().map_or(0, |buffer| buffer.as_ref().len() / BLOCK_BYTES);
        if self.block == held {
            let blocks = self.blocks_left.min(READ_BLOCKS_MAX);
            assert!(blocks > 0, "the section has as many blocks as its bytes need");
            self.buffer = Some(self.index.read_blocks(self.next_block, blocks).await?);
            self.next_block += blocks;
            self.blocks_left -= blocks;
            self.block = 0;
        }
        let bytes = wanted.min(PAYLOAD_BYTES - self.at);
        let from = self.block * BLOCK_BYTES + self.at;
        self.at += bytes;
        let buffer = self.buffer.as_ref().expect("read above");
        Ok(&buffer.as_ref()[from..from + bytes])
    }
}
