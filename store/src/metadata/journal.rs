//! The journal of metadata: changes since the files were last written whole, so that a change costs its own few bytes.
//!
//! Journals are numbered by generation. One is born after the files that it builds upon are durable, takes records,
//! many per write and sync, until it is full, and is succeeded by writing the files whole again ([`Journal::checkpoint`]). A
//! start replays the newest one over the files; over a file that had to be read from its `.bak` it replays the one
//! before, too, which is kept for that. A journal that a start has found is never appended to: the first change of a new
//! life writes the files whole. Replaying is harmless as often as it happens, because each change carries the version
//! of its table and the owner passes over what its file contains already.

use super::record;
use crate::error::StoreError;
use runtime::{BLOCK_BYTES, Disk, DiskFile, Open, durable_file::replace};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// Zeros written at once.
const ZERO_BYTES: u64 = 256 * 1024;
const BLOCK: u64 = BLOCK_BYTES as u64;
const NAME: (&str, &str) = ("changes-", ".journal");

/// Where changes are recorded.
pub struct Journal<D: Disk> {
    disk: D,
    dir: PathBuf,
    /// Generations whose files exist, ascending.
    kept: Vec<u64>,
    /// Number of the newest, or of the last attempt to make one.
    generation: u64,
    current: Option<Current<D::File>>,
}

/// The journal that takes changes.
struct Current<F> {
    file: F,
    path: PathBuf,
    room_bytes: u64,
    /// Position of the block in which the next record begins.
    block_at: u64,
    /// What that block holds already.
    block: Vec<u8>,
    count: u32,
}

/// What a start found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Contents of the journal before the newest: needed over a file that was read from its backup.
    pub older: Vec<Vec<u8>>,
    /// Contents of the newest.
    pub newest: Vec<Vec<u8>>,
    /// Changes that were durable once and are damaged now.
    pub lost: u32,
}

impl Found {
    /// What has to be replayed, in order.
    pub fn changes(&self, over_backup: bool) -> impl Iterator<Item = &[u8]> {
        let older = if over_backup { self.older.as_slice() } else { &[] };
        older.iter().chain(&self.newest).map(Vec::as_slice)
    }
}

impl<D: Disk> Journal<D> {
    /// Reads the journals in `dir`. Damage is reported, counted and stepped over.
    pub async fn open(disk: D, dir: &Path) -> Result<(Journal<D>, Found), StoreError> {
        let listed = disk.list(dir).await.map_err(|source| StoreError::io("list", dir, source))?;
        let mut kept: Vec<u64> =
            listed.iter().filter_map(|entry| generation(&entry.name)).collect();
        kept.sort_unstable();
        let generation = kept.last().copied().unwrap_or(0);
        let journal = Journal { disk, dir: dir.to_owned(), kept, generation, current: None };
        let mut found = Found::default();
        for generation in journal.kept.iter().rev().take(2) {
            let path = journal.path(*generation);
            let bytes = journal.disk.read_file(&path).await;
            let bytes = bytes.map_err(|source| StoreError::io("read", &path, source))?;
            let scan = record::scan(&bytes, *generation);
            let contents = scan.contents.iter().map(|content| content.to_vec()).collect();
            if scan.lost > 0 {
                tracing::error!(path = %path.display(), lost = scan.lost, "changes of metadata are damaged: the newest topics and groups may lack them");
            }
            if scan.cut > 0 {
                tracing::info!(path = %path.display(), records = scan.cut, "cutting changes that nobody was promised");
            }
            let newest = *generation == journal.generation;
            *(if newest { &mut found.newest } else { &mut found.older }) = contents;
            found.lost += scan.lost;
        }
        Ok((journal, found))
    }

    /// Whether these changes can be appended. If not, the files have to be written whole.
    pub fn fits(&self, changes: &[Vec<u8>]) -> bool {
        let bytes: usize = changes.iter().map(|change| record::bytes_of(change)).sum();
        self.current.as_ref().is_some_and(|current| {
            let end = current.block_at + (current.block.len() + bytes) as u64;
            end <= current.room_bytes
        })
    }

    /// Whether changes were appended since the files were last written whole.
    pub fn has_changes(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.count > 0)
    }

    /// Makes the changes durable; they must fit. After an error the journal takes no more (what a failed sync left
    /// behind is not known), and the files have to be written whole.
    pub async fn append(&mut self, changes: &[Vec<u8>]) -> Result<(), StoreError> {
        assert!(self.fits(changes));
        let Some(mut current) = self.current.take() else { unreachable!("it fits nowhere") };
        let durable = current.count;
        for change in changes {
            record::encode(&mut current.block, self.generation, current.count, durable, change);
            current.count += 1;
        }
        let bytes = current.block.len().next_multiple_of(BLOCK_BYTES);
        let mut buf = self.disk.alloc(bytes);
        let (records, padding) = buf.as_mut().split_at_mut(current.block.len());
        records.copy_from_slice(&current.block);
        padding.fill(0);
        let path = &current.path;
        let written = current.file.write_durably(buf, current.block_at).await;
        written.map_err(|source| StoreError::io("write", path, source))?;
        let whole = current.block.len() / BLOCK_BYTES * BLOCK_BYTES;
        current.block.drain(..whole);
        current.block_at += whole as u64;
        self.current = Some(current);
        Ok(())
    }

    /// Replaces the files (name and whole content), then begins a new journal with `room_bytes` (which it fills with zeros,
    /// and a start reads whole); 0 when no change will come any more. `changes` are those of the contents that no
    /// journal holds yet: over the files they are nothing new, over their backups they are. `Ok`: the contents are
    /// durable.
    pub async fn checkpoint(
        &mut self,
        files: &[(&str, &[u8])],
        changes: &[Vec<u8>],
        room_bytes: u64,
    ) -> Result<(), StoreError> {
        self.current = None;
        for (name, content) in files {
            replace(&self.disk, &self.dir.join(name), content).await?;
        }
        // What follows makes the next change cheap and the backups worth something; the contents need it not.
        if let Err(error) = self.succeed(changes, room_bytes).await {
            tracing::warn!(%error, "no journal for changes of metadata: the next change writes the files again");
        }
        Ok(())
    }

    /// The next journal. Kept besides: the one before.
    async fn succeed(&mut self, changes: &[Vec<u8>], room_bytes: u64) -> Result<(), StoreError> {
        self.generation += 1;
        let path = self.path(self.generation);
        let takes_changes = room_bytes > 0;
        let room_bytes = room_bytes.max(1).next_multiple_of(BLOCK);
        let created = self.disk.open(&path, Open::Create { bytes: room_bytes }).await;
        let file = created.map_err(|source| StoreError::io("create", &path, source))?;
        self.kept.push(self.generation);
        self.fill_with_zeros(&file, room_bytes)
            .await
            .map_err(|source| StoreError::io("write", &path, source))?;
        let dir = &self.dir;
        self.disk.sync_dir(dir).await.map_err(|source| StoreError::io("sync", dir, source))?;
        if takes_changes {
            let (block_at, block) = (0, Vec::new());
            self.current = Some(Current { file, path, room_bytes, block_at, block, count: 0 });
        }
        if !changes.is_empty() && self.fits(changes) {
            self.append(changes).await?;
        }
        let superfluous = self.kept.len().saturating_sub(2);
        for generation in self.kept.drain(..superfluous).collect::<Vec<_>>() {
            let path = self.path(generation);
            match self.disk.remove(&path).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(StoreError::io("remove", path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes into allocated, unwritten space would change the file's metadata with each sync.
    async fn fill_with_zeros(&self, file: &D::File, bytes: u64) -> std::io::Result<()> {
        let mut at = 0;
        while at < bytes {
            let chunk = ZERO_BYTES.min(bytes - at);
            let mut zeros = self.disk.alloc(chunk as usize);
            zeros.as_mut().fill(0);
            file.write_at(zeros, at).await?;
            at += chunk;
        }
        file.sync().await
    }

    fn path(&self, generation: u64) -> PathBuf {
        self.dir.join(format!("{}{generation:010}{}", NAME.0, NAME.1))
    }
}

/// What a tool wants to know of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Examined {
    /// Changes that were durable once and are damaged now.
    pub lost: u32,
    /// Whole changes of a torn tail.
    pub cut: u32,
    /// Something stands behind the last whole change that is none: the remains of a write.
    pub remains: bool,
}

/// Reads the bytes of a journal without taking it over.
pub fn examine(bytes: &[u8], generation: u64) -> Examined {
    let scan = record::scan(bytes, generation);
    let whole: usize = scan.contents.iter().map(|content| record::bytes_of(content)).sum();
    let behind = bytes.get(whole..).unwrap_or_default();
    let remains = scan.lost == 0 && behind.iter().any(|byte| *byte != 0);
    Examined { lost: scan.lost, cut: scan.cut, remains }
}

/// The changes in the bytes of a journal, as a start would read them.
pub fn contents(bytes: &[u8], generation: u64) -> Vec<&[u8]> {
    record::scan(bytes, generation).contents
}

/// The generation of a journal; `None` when the file is none.
pub fn generation_of(path: &Path) -> Option<u64> {
    generation(path.file_name()?.to_str()?)
}

/// The generation in a file's name.
fn generation(name: &str) -> Option<u64> {
    name.strip_prefix(NAME.0)?.strip_suffix(NAME.1)?.parse().ok()
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
