//! Writing an index file, once, from its beginning to its end.
//!
//! Its length is known before: all counts are. It is written under another name, the head last; then it is synced,
//! renamed, and its directory synced. So a file under its own name is complete, whatever happens in between. A writer
//! that is dropped leaves its temporary file behind, which the next one for the same name removes.

use super::{
    block::{Layout, PAYLOAD_BYTES, SectionKind, Stamp},
    error::IndexError,
    head::Head,
    item::{Bounds, Item, Row},
    key::Key,
    name::temporary_path,
    open::{Index, io_at},
    outline::{Outline, StateSection},
};
use crate::consume_queue::Entry;
use runtime::{BLOCK_BYTES, Disk, DiskFile, Open};
use std::{
    future::{Future, ready},
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// Blocks of one write: 256 KiB. A mebibyte was not faster, and taking and clearing its memory is too long a piece of
/// work at a time beside live traffic.
const WRITE_BLOCKS_MAX: u32 = 64;
/// Rows or names written between two pauses.
const PIECE_ITEMS: usize = 4_096;

/// Writes one index file. Entries come row by row, then keys in order. Futures of its functions are never dropped
/// half-way, and after an error it is of no more use.
pub struct IndexWriter<D: Disk> {
    disk: D,
    file: D::File,
    path: PathBuf,
    temporary: PathBuf,
    head: Head,
    layout: Layout,
    bounds: Bounds,
    entries_due: u64,
    keys_due: u64,
    last_key: Key,
    out: Blocks<D>,
}

/// Blocks that are filled one after the other.
struct Blocks<D: Disk> {
    stamp: Stamp,
    /// `None` when all of the file is written.
    buffer: Option<D::Buf>,
    /// Number of the buffer's first block.
    first: u32,
    /// Blocks of the file.
    end: u32,
    /// Block of the buffer that is being filled, and byte in its payload that comes next.
    block: usize,
    at: usize,
}

impl<D: Disk> IndexWriter<D> {
    /// Begins the file that will be `path`, with `key_count` keys and as many entries as the rows say. Writes all that
    /// the outline holds; whatever an earlier attempt left behind is removed.
    ///
    /// # Panics
    /// When the outline contradicts itself: rows out of order, more entries than messages before a queue's end, a
    /// topic that is not there, positions that cannot be.
    pub async fn create(
        disk: &D,
        path: &Path,
        outline: Outline,
        key_count: u64,
    ) -> Result<IndexWriter<D>, IndexError> {
        IndexWriter::create_paced(disk, path, outline, key_count, &|| ready(())).await
    }

    /// As [`IndexWriter::create`]; `pause` is awaited between pieces of work.
    pub async fn create_paced<P, F>(
        disk: &D,
        path: &Path,
        mut outline: Outline,
        key_count: u64,
        pause: &P,
    ) -> Result<IndexWriter<D>, IndexError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let entries_due = number_entries(&mut outline.rows);
        let layout = layout_of(&outline, entries_due, key_count);
        let head = outline.head;
        assert!(head.is_possible());
        let bounds = head.bounds(&layout);
        let temporary = temporary_path(path);
        match disk.remove(&temporary).await {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(io_at(&temporary, "remove", source));
            }
            _ => {}
        }
        let bytes = u64::from(layout.blocks) * BLOCK_BYTES as u64;
        let created = disk.open(&temporary, Open::Create { bytes }).await;
        let file = created.map_err(|source| io_at(&temporary, "create", source))?;
        let stamp = Stamp { log_id: head.log_id, from: head.from };
        let mut writer = IndexWriter {
            out: Blocks::new(disk, stamp, layout.blocks),
            disk: disk.clone(),
            file,
            path: path.to_path_buf(),
            temporary,
            head,
            layout,
            bounds,
            entries_due,
            keys_due: key_count,
            last_key: Key { hash: 0, at: 0 },
        };
        writer.write_outline(&outline, pause).await?;
        Ok(writer)
    }

    /// Writes the next entries: all of the first row that has any, then of the second, and so on.
    ///
    /// # Panics
    /// When there are more than the rows say, or one lies outside of what the file covers.
    pub async fn entries(&mut self, entries: &[Entry]) -> Result<(), IndexError> {
        let count = entries.len() as u64;
        assert!(count <= self.entries_due, "more entries than the rows have");
        self.items(entries).await?;
        self.entries_due -= count;
        if self.entries_due == 0 && count > 0 {
            self.end_section().await?;
        }
        Ok(())
    }

    /// Writes the next keys, when all entries are written.
    ///
    /// # Panics
    /// When entries are missing, keys are out of order or more than were announced, or lie outside of what is covered.
    pub async fn keys(&mut self, keys: &[Key]) -> Result<(), IndexError> {
        let count = keys.len() as u64;
        assert!(self.entries_due == 0, "{} entries are missing", self.entries_due);
        assert!(count <= self.keys_due, "more keys than announced");
        assert!(keys.is_sorted());
        if let [first, ..] = keys {
            assert!(self.last_key <= *first);
        }
        self.last_key = keys.last().copied().unwrap_or(self.last_key);
        self.items(keys).await?;
        self.keys_due -= count;
        if self.keys_due == 0 && count > 0 {
            self.end_section().await?;
        }
        Ok(())
    }

    /// What the log held before this position has influenced the file.
    pub fn influenced_by(&mut self, position: u64) {
        self.head.influenced_by = self.head.influenced_by.max(position);
    }

    /// Completes the file: head, sync, name, sync of the directory. Opens it for reading.
    ///
    /// # Panics
    /// When entries or keys are missing.
    pub async fn finish(mut self) -> Result<Index<D>, IndexError> {
        assert!(self.entries_due == 0, "{} entries are missing", self.entries_due);
        assert!(self.keys_due == 0, "{} keys are missing", self.keys_due);
        self.write_out().await?;
        assert!(self.out.first == self.layout.blocks);
        let mut block = self.disk.alloc(BLOCK_BYTES);
        let content = self.head.encode(&self.layout);
        block.as_mut().fill(0);
        block.as_mut()[..content.len()].copy_from_slice(&content);
        self.out.stamp.seal(0, block.as_mut());
        let IndexWriter { disk, file, path, temporary, head, .. } = self;
        let failed = |action| move |source| (action, source);
        let written = async {
            file.write_at(block, 0).await.map_err(failed("write"))?;
            file.sync().await.map_err(failed("sync"))?;
            file.close().await.map_err(failed("close"))?;
            disk.rename(&temporary, &path).await.map_err(failed("rename"))
        };
        written.await.map_err(|(action, source)| io_at(&temporary, action, source))?;
        let dir = path.parent().unwrap_or(Path::new("."));
        disk.sync_dir(dir).await.map_err(|source| io_at(dir, "sync", source))?;
        Index::open(&disk, &path, head.shard, head.log_id).await
    }

    async fn write_outline<P, F>(&mut self, outline: &Outline, pause: &P) -> Result<(), IndexError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let mut last = None;
        for rows in outline.rows.chunks(SectionKind::Rows.per_block()) {
            let first = rows[0].number;
            self.items(&[first]).await?;
            for row in rows {
                assert!(last < Some(row.number), "row {} is out of order", row.number);
                assert!((row.topic as usize) < outline.topics.len(), "a row's topic is not there");
                last = Some(row.number);
            }
        }
        self.end_section().await?;
        pause().await;
        for rows in outline.rows.chunks(PIECE_ITEMS) {
            self.items(rows).await?;
            pause().await;
        }
        self.end_section().await?;
        for topics in outline.topics.chunks(PIECE_ITEMS) {
            for topic in topics {
                let bytes = u16::try_from(topic.len()).expect("measured by layout_of");
                self.stream(&bytes.to_be_bytes()).await?;
                self.stream(topic.as_bytes()).await?;
            }
            pause().await;
        }
        self.end_section().await?;
        for state in &outline.states {
            for piece in &state.pieces {
                let bytes = u32::try_from(piece.len()).expect("measured by layout_of");
                self.stream(&bytes.to_be_bytes()).await?;
                self.stream(piece).await?;
                pause().await;
            }
            self.end_section().await?;
        }
        Ok(())
    }

    async fn items<T: Item>(&mut self, mut items: &[T]) -> Result<(), IndexError> {
        while !items.is_empty() {
            let room = (PAYLOAD_BYTES - self.out.at) / T::BYTES;
            if room == 0 {
                self.next_block().await?;
                continue;
            }
            let (now, later) = items.split_at(room.min(items.len()));
            let bytes = self.out.room(now.len() * T::BYTES);
            for (item, bytes) in now.iter().zip(bytes.chunks_exact_mut(T::BYTES)) {
                assert!(item.fits(&self.bounds), "a {} outside of what is covered", T::NAME);
                item.encode(bytes);
            }
            items = later;
        }
        Ok(())
    }

    async fn stream(&mut self, mut bytes: &[u8]) -> Result<(), IndexError> {
        while !bytes.is_empty() {
            let room = PAYLOAD_BYTES - self.out.at;
            if room == 0 {
                self.next_block().await?;
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.out.room(now.len()).copy_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    async fn end_section(&mut self) -> Result<(), IndexError> {
        if self.out.at > 0 { self.next_block().await } else { Ok(()) }
    }

    async fn next_block(&mut self) -> Result<(), IndexError> {
        if self.out.seal() { self.write_out().await } else { Ok(()) }
    }

    /// Writes the sealed blocks of the buffer, all of it except at the end of the file.
    async fn write_out(&mut self) -> Result<(), IndexError> {
        assert!(self.out.at == 0);
        let first = self.out.first;
        let Some(buffer) = self.out.take(&self.disk) else { return Ok(()) };
        let position = u64::from(first) * BLOCK_BYTES as u64;
        let written = self.file.write_at(buffer, position).await;
        written.map_err(|source| io_at(&self.temporary, "write", source))
    }
}

impl<D: Disk> Blocks<D> {
    /// At block 1 of a file of `end` blocks.
    fn new(disk: &D, stamp: Stamp, end: u32) -> Blocks<D> {
        let buffer = Blocks::buffer(disk, end - 1);
        Blocks { stamp, buffer, first: 1, end, block: 0, at: 0 }
    }

    /// Memory for what is still to come, at most one write.
    fn buffer(disk: &D, blocks: u32) -> Option<D::Buf> {
        let blocks = blocks.min(WRITE_BLOCKS_MAX) as usize;
        if blocks == 0 { None } else { Some(disk.alloc(blocks * BLOCK_BYTES)) }
    }

    /// The next bytes of the current block.
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        assert!(self.at + bytes <= PAYLOAD_BYTES);
        let from = self.block * BLOCK_BYTES + self.at;
        self.at += bytes;
        let buffer = self.buffer.as_mut().expect("the layout has room for everything");
        &mut buffer.as_mut()[from..from + bytes]
    }

    /// Completes the current block. True when the buffer is full.
    fn seal(&mut self) -> bool {
        let buffer = self.buffer.as_mut().expect("a block is being filled").as_mut();
        let from = self.block * BLOCK_BYTES;
        let block = &mut buffer[from..from + BLOCK_BYTES];
        block[self.at..PAYLOAD_BYTES].fill(0);
        self.stamp.seal(self.first + self.block as u32, block);
        self.block += 1;
        self.at = 0;
        self.block * BLOCK_BYTES == buffer.len()
    }

    /// Takes the full buffer for writing and begins the next.
    fn take(&mut self, disk: &D) -> Option<D::Buf> {
        let full = self.buffer.take()?;
        assert!(self.block * BLOCK_BYTES == full.as_ref().len());
        self.first += self.block as u32;
        self.block = 0;
        self.buffer = Blocks::buffer(disk, self.end - self.first);
        Some(full)
    }
}

/// Gives each row its place among the entries. Returns the number of all entries.
fn number_entries(rows: &mut [Row]) -> u64 {
    let mut entries = 0u32;
    for row in rows {
        row.first = entries;
        entries = entries.checked_add(row.count).expect("a segment has fewer than 2^32 messages");
    }
    u64::from(entries)
}

fn layout_of(outline: &Outline, entries: u64, keys: u64) -> Layout {
    let rows = outline.rows.len();
    let fences = rows.div_ceil(SectionKind::Rows.per_block());
    let topic_bytes = |bytes: usize| 2 + u64::from(u16::try_from(bytes).expect("a name"));
    let topics = outline.topics.iter().map(|topic| topic_bytes(topic.len())).sum();
    let state_bytes = |state: &StateSection| {
        assert!(state.kind.is_state());
        let bytes = state.pieces.iter().map(|piece| 4 + piece.len() as u64).sum();
        (state.kind, bytes)
    };
    let frame = [
        (SectionKind::Fences, fences as u64),
        (SectionKind::Rows, rows as u64),
        (SectionKind::Topics, topics),
    ];
    let states = outline.states.iter().map(state_bytes);
    let range = [(SectionKind::Entries, entries), (SectionKind::Keys, keys)];
    Layout::of(frame.into_iter().chain(states).chain(range))
        .expect("each kind once, and no more than a segment gives rise to")
}
