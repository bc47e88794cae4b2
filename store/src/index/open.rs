//! An open index file: head and fences in memory, everything else read when it is asked for.
//!
//! Every block is checked when it comes from the disk, every item when it is decoded. Nothing is allocated on the word
//! of a file before its length was compared with what it says about itself.

use super::{
    block::{Layout, PAYLOAD_BYTES, Section, SectionKind, Stamp},
    cache::BlockCache,
    error::IndexError,
    head::{self, BadHead, Head},
    item::{Item, Row},
    name::{Named, named},
};
use crate::consume_queue::Entry;
use runtime::{BLOCK_BYTES, Disk, DiskFile, Open, is_unreadable};
use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Blocks of entries read at once when many are asked for.
const ENTRY_BLOCKS_MAX: u32 = 16;

/// Tells open indexes apart in caches, also a file from the one that replaced it under its name.
static NEXT_IDENTITY: AtomicU64 = AtomicU64::new(0);

/// An open index file. Futures of its functions are never dropped half-way.
pub struct Index<D: Disk> {
    file: D::File,
    path: PathBuf,
    identity: u64,
    head: Head,
    layout: Layout,
    /// Number of the first row in each block of rows.
    fences: Vec<u32>,
}

impl<D: Disk> Index<D> {
    /// Opens a file of the log `log_id` of `shard`. Reads its head and its fences.
    /// Errors: the disk's (`NotFound` included); damage, of which a head that does not fit the file's name is one.
    pub async fn open(
        disk: &D,
        path: &Path,
        shard: u16,
        log_id: u64,
    ) -> Result<Index<D>, IndexError> {
        let file =
            disk.open(path, Open::Read).await.map_err(|source| read_error(path, "open", source))?;
        match read_head::<D>(&file, path, shard, log_id).await {
            Ok((head, layout)) => {
                let identity = NEXT_IDENTITY.fetch_add(1, Ordering::Relaxed);
                let path = path.to_path_buf();
                let mut index = Index { file, path, identity, head, layout, fences: Vec::new() };
                match index.read_fences().await {
                    Ok(fences) => {
                        index.fences = fences;
                        Ok(index)
                    }
                    Err(error) => {
                        // The first failure says more than what closing may add.
                        let _ = index.close().await;
                        Err(error)
                    }
                }
            }
            Err(error) => {
                let _ = file.close().await;
                Err(error)
            }
        }
    }

    /// What the file covers.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        u64::from(self.layout.blocks) * BLOCK_BYTES as u64
    }

    /// Queues that it has rows of.
    pub fn row_count(&self) -> u64 {
        self.section(SectionKind::Rows).count
    }

    /// Entries of all queues in it.
    pub fn entry_count(&self) -> u64 {
        self.section(SectionKind::Entries).count
    }

    /// Keys in it.
    pub fn key_count(&self) -> u64 {
        self.section(SectionKind::Keys).count
    }

    /// Memory held while it is open, bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.fences.capacity() * size_of::<u32>() + self.path.as_os_str().len()
    }

    /// The row of a queue by its number; `None` when the queue did not live at the end of what the file covers.
    /// One read of a block at most. Its topic is not compared with the number of topics: see [`Index::outline`].
    pub async fn row(&self, cache: &BlockCache, number: u32) -> Result<Option<Row>, IndexError> {
        let fences_before = self.fences.partition_point(|fence| *fence <= number);
        let Some(row_block) = fences_before.checked_sub(1) else { return Ok(None) };
        let rows = self.section(SectionKind::Rows);
        let per_block = SectionKind::Rows.per_block();
        let block = rows.first + row_block as u32;
        let count = (rows.count - (row_block * per_block) as u64).min(per_block as u64) as usize;
        let find = |payload: &[u8]| self.find_row(block, payload, count, number);
        if let Some(found) = cache.look((self.identity, block), find) {
            return found;
        }
        let buffer = self.read_blocks(block, 1).await?;
        let payload = payload_of(buffer.as_ref(), 0);
        cache.keep((self.identity, block), payload);
        self.find_row(block, payload, count, number)
    }

    fn find_row(
        &self,
        block: u32,
        payload: &[u8],
        count: usize,
        number: u32,
    ) -> Result<Option<Row>, IndexError> {
        let row = |at: usize| Row::decode(&payload[at * Row::BYTES..(at + 1) * Row::BYTES]);
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = (low + high) / 2;
            if row(middle).number < number { low = middle + 1 } else { high = middle }
        }
        if low == count || row(low).number != number {
            return Ok(None);
        }
        let mut found = Vec::with_capacity(1);
        self.decode(block, payload, low..low + 1, &mut found)?;
        Ok(found.pop())
    }

    /// Appends to `out` at most `count_max` entries of a queue, from queue offset `offset` on, which lies within the
    /// row or is its end. After an error, what was appended is right, but not all.
    ///
    /// # Panics
    /// When `row` is not of this index or `offset` not within it.
    pub async fn entries(
        &self,
        cache: &BlockCache,
        row: &Row,
        offset: i64,
        count_max: usize,
        out: &mut Vec<Entry>,
    ) -> Result<(), IndexError> {
        let section = self.section(SectionKind::Entries);
        assert!(row.fits(&self.head.bounds(&self.layout)));
        assert!((row.start()..=row.next).contains(&offset));
        let per_block = SectionKind::Entries.per_block() as u64;
        let mut at = u64::from(row.first) + (offset - row.start()) as u64;
        let row_end = u64::from(row.first) + u64::from(row.count);
        let end = row_end.min(at.saturating_add(count_max as u64));
        while at < end {
            let block = section.first + (at / per_block) as u32;
            let within = piece(at, end, per_block);
            let take = |payload: &[u8]| self.decode(block, payload, within.clone(), out);
            if let Some(taken) = cache.look((self.identity, block), take) {
                taken?;
                at += within.len() as u64;
                continue;
            }
            let last = section.first + ((end - 1) / per_block) as u32;
            let blocks = (last - block + 1).min(ENTRY_BLOCKS_MAX);
            let buffer = self.read_blocks(block, blocks).await?;
            for (number, index) in (block..).zip(0..blocks as usize) {
                let payload = payload_of(buffer.as_ref(), index);
                cache.keep((self.identity, number), payload);
                let within = piece(at, end, per_block);
                at += within.len() as u64;
                self.decode(number, payload, within, out)?;
            }
        }
        Ok(())
    }

    /// Closes the file.
    pub async fn close(self) -> Result<(), IndexError> {
        let Index { file, path, .. } = self;
        file.close().await.map_err(|source| io_at(&path, "close", source))
    }

    /// Which open index it is, among all of this process.
    pub(super) fn identity(&self) -> u64 {
        self.identity
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn section(&self, kind: SectionKind) -> Section {
        self.layout.section(kind)
    }

    pub(super) fn fences(&self) -> &[u32] {
        &self.fences
    }

    pub(super) fn damaged(&self, what: String) -> IndexError {
        IndexError::Damaged { path: self.path.clone(), what }
    }

    /// Reads `blocks` whole blocks and checks each.
    pub(super) async fn read_blocks(&self, first: u32, blocks: u32) -> Result<D::Buf, IndexError> {
        assert!(blocks > 0);
        assert!(first + blocks <= self.layout.blocks);
        let position = u64::from(first) * BLOCK_BYTES as u64;
        let read = self.file.read_at(position, blocks as usize * BLOCK_BYTES).await;
        let buffer = read.map_err(|source| self.read_error(source))?;
        let stamp = Stamp { log_id: self.head.log_id, from: self.head.from };
        for (number, block) in (first..).zip(buffer.as_ref().chunks_exact(BLOCK_BYTES)) {
            stamp
                .check(number, block)
                .map_err(|what| self.damaged(format!("block {number} {what}")))?;
        }
        Ok(buffer)
    }

    /// Appends the items `range` of a block's payload to `out`. Errors: one that does not fit what the file covers.
    pub(super) fn decode<T: Item>(
        &self,
        block: u32,
        payload: &[u8],
        range: Range<usize>,
        out: &mut Vec<T>,
    ) -> Result<(), IndexError> {
        let bounds = self.head.bounds(&self.layout);
        let bytes = &payload[range.start * T::BYTES..range.end * T::BYTES];
        out.reserve(range.len());
        for bytes in bytes.chunks_exact(T::BYTES) {
            let item = T::decode(bytes);
            if !item.fits(&bounds) {
                let what = format!("block {block} has a {} that cannot be here", T::NAME);
                return Err(self.damaged(what));
            }
            out.push(item);
        }
        Ok(())
    }

    /// Reads block 0 again and compares it with what is in memory.
    pub(super) async fn check_head(&self) -> Result<(), IndexError> {
        let Head { shard, log_id, .. } = self.head;
        let again = read_head::<D>(&self.file, &self.path, shard, log_id).await?;
        if again.0 == self.head && again.1 == self.layout {
            return Ok(());
        }
        Err(self.damaged("its head is another than when it was opened".into()))
    }

    /// A file that became shorter is damage, not a failing disk.
    fn read_error(&self, source: io::Error) -> IndexError {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return self.damaged("it is shorter than its head says".into());
        }
        read_error(&self.path, "read", source)
    }

    pub(super) async fn read_fences(&self) -> Result<Vec<u32>, IndexError> {
        let mut fences: Vec<u32> = Vec::new();
        let section = self.section(SectionKind::Fences);
        let per_block = SectionKind::Fences.per_block() as u64;
        let mut at = 0;
        while at < section.count {
            let block = section.first + (at / per_block) as u32;
            let buffer = self.read_blocks(block, 1).await?;
            let within = piece(at, section.count, per_block);
            at += within.len() as u64;
            self.decode(block, payload_of(buffer.as_ref(), 0), within, &mut fences)?;
        }
        if !fences.is_sorted_by(|a, b| a < b) {
            return Err(self.damaged("its fences are out of order".into()));
        }
        Ok(fences)
    }
}

/// The items of the block that holds item `at`, from that one on, as far as `end`.
fn piece(at: u64, end: u64, per_block: u64) -> Range<usize> {
    let from = at % per_block;
    let count = (end - at).min(per_block - from);
    from as usize..(from + count) as usize
}

fn payload_of(buffer: &[u8], index: usize) -> &[u8; PAYLOAD_BYTES] {
    buffer[index * BLOCK_BYTES..].first_chunk().expect("whole blocks were read")
}

/// A file of which something cannot be read is damaged: it is made again.
fn read_error(path: &Path, action: &'static str, source: io::Error) -> IndexError {
    if is_unreadable(&source) {
        return IndexError::Damaged {
            path: path.to_path_buf(),
            what: format!("{action}: {source}"),
        };
    }
    io_at(path, action, source)
}

pub(super) fn io_at(path: &Path, action: &'static str, source: io::Error) -> IndexError {
    IndexError::Io { path: path.to_path_buf(), action, source }
}

/// Reads and checks block 0.
async fn read_head<D: Disk>(
    file: &D::File,
    path: &Path,
    shard: u16,
    log_id: u64,
) -> Result<(Head, Layout), IndexError> {
    let damaged = |what: String| IndexError::Damaged { path: path.to_path_buf(), what };
    let bytes = file.len();
    if bytes == 0 || !bytes.is_multiple_of(BLOCK_BYTES as u64) {
        return Err(damaged(format!("its {bytes} bytes are no whole blocks")));
    }
    let read = file.read_at(0, BLOCK_BYTES).await;
    let buffer = read.map_err(|source| read_error(path, "read", source))?;
    let block = buffer.as_ref();
    let stamp = head::stamp_of(block).ok_or_else(|| damaged("is no index file".into()))?;
    stamp.check(0, block).map_err(|what| damaged(format!("block 0 {what}")))?;
    let decoded = Head::decode(&block[..PAYLOAD_BYTES], bytes / BLOCK_BYTES as u64);
    let (head, layout) = decoded.map_err(|bad| match bad {
        BadHead::Damaged(what) => damaged(what),
        BadHead::Newer(what) => IndexError::Newer { path: path.to_path_buf(), what },
    })?;
    if (head.shard, head.log_id) != (shard, log_id) {
        return Err(damaged(format!(
            "is of log {:016x} of shard {}, not of log {log_id:016x} of shard {shard}",
            head.log_id, head.shard
        )));
    }
    let fits = match path.file_name().and_then(|name| name.to_str()).and_then(named) {
        Some(Named::Sealed { segment }) => (head.segment, head.from) == (segment, segment),
        Some(Named::Run { segment, from }) => (head.segment, head.from) == (segment, from),
        Some(Named::Temporary) | None => true,
    };
    if !fits {
        let Head { segment, from, .. } = head;
        return Err(damaged(format!(
            "covers segment {segment} from {from}, which is another file"
        )));
    }
    Ok((head, layout))
}
