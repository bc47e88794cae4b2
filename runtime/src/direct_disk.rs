//! The real disk: O_DIRECT files through the executor's io_uring, everything that blocks on its thread pool.
//!
//! Reads are the aligned kind only (the library's other read returns foreign bytes past the end of a file), every
//! returned length is checked, and the length of a file is kept here. A file that would be polled instead of waited for
//! is refused: such a ring fails in ways that were never tested. std::fs appears inside pool closures only.

use std::{
    fs::{File, OpenOptions},
    future::Future,
    io::{self, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    rc::Rc,
};

use glommio::{
    GlommioError,
    io::{DmaBuffer, DmaFile, ReadResult},
};
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
    time::{ClockId, clock_gettime},
};

use crate::{
    disk::{BLOCK_BYTES, Disk, DiskFile, Entry, Open, Usage},
    task_budget::TaskBudget,
};

/// Zeros written at once where a file system cannot allocate.
const ZERO_FILL_BYTES: usize = 1024 * 1024;
/// Of a small file, written at once.
const WRITE_PIECE_BYTES: usize = 1024 * 1024;

/// The disk of the machine, as seen by one executor.
#[derive(Clone)]
pub struct DirectDisk {
    budget: Rc<TaskBudget>,
}

impl DirectDisk {
    pub(crate) fn new(budget: Rc<TaskBudget>) -> DirectDisk {
        DirectDisk { budget }
    }

    /// Runs `work` with an owned copy of `path` on the thread pool.
    fn on_pool<T, F>(&self, path: &Path, work: F) -> impl Future<Output = io::Result<T>>
    where
        F: FnOnce(&Path) -> io::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let path = path.to_owned();
        let budget = Rc::clone(&self.budget);
        async move { budget.blocking(move || work(&path).map_err(|error| at(error, &path))).await }
    }
}

/// Adds the path to an error and keeps its kind and number.
fn at(error: io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), PathError { path: path.to_owned(), source: error })
}

/// An error of the disk with the name it concerns.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
struct PathError {
    path: PathBuf,
    source: io::Error,
}

/// The kernel's error inside one of the library's.
fn plain(error: GlommioError<()>) -> io::Error {
    match error {
        GlommioError::IoError(source) => source,
        GlommioError::EnhancedIoError { source, path: Some(path), .. } => at(source, &path),
        GlommioError::EnhancedIoError { source, path: None, .. } => source,
        other => other.into(),
    }
}

impl Disk for DirectDisk {
    type File = DirectFile;
    type Buf = DirectBuf;

    fn alloc(&self, bytes: usize) -> DirectBuf {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES), "{bytes} bytes are no blocks");
        let mut buffer = glommio::allocate_dma_buffer(bytes);
        assert!(buffer.as_ptr().addr().is_multiple_of(BLOCK_BYTES), "a buffer out of line");
        // Memory from the allocator is uninitialised, and old messages must not leak into padding.
        buffer.as_bytes_mut().fill(0);
        DirectBuf(Memory::Own(buffer))
    }

    async fn open(&self, path: &Path, mode: Open) -> io::Result<DirectFile> {
        if let Open::Create { bytes } = mode {
            assert!(bytes.is_multiple_of(BLOCK_BYTES as u64), "{bytes} bytes are no blocks");
            self.on_pool(path, move |path| create_zeroed(path, bytes)).await?;
        }
        let mut options = glommio::io::OpenOptions::new();
        options.read(true).write(mode != Open::Read);
        let file = options.dma_open(path).await.map_err(plain)?;
        let polled = format!("{file:?}").contains("pollable: Pollable");
        if polled {
            let reason = "its device has poll queues; set nvme.poll_queues=0 (untested otherwise)";
            return Err(at(io::Error::new(io::ErrorKind::Unsupported, reason), path));
        }
        let len = file.file_size().await.map_err(plain)?;
        self.budget.progress(1);
        Ok(DirectFile { file, len, budget: Rc::clone(&self.budget) })
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.on_pool(dir, list).await
    }

    async fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.on_pool(dir, create_dir_all_durably).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.on_pool(path, |path| std::fs::remove_file(path)).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let to = to.to_owned();
        self.on_pool(from, move |from| std::fs::rename(from, to)).await
    }

    fn uptime_micros(&self) -> u64 {
        // Sleep of the machine counts: the wall clock counts it, too.
        let since_boot = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(since_boot.tv_sec).unwrap_or(0);
        seconds * 1_000_000 + u64::try_from(since_boot.tv_nsec / 1_000).unwrap_or(0)
    }

    async fn usage(&self, dir: &Path) -> io::Result<Usage> {
        self.on_pool(dir, |dir| {
            let stat = rustix::fs::statvfs(dir)?;
            // As df counts: what is kept back for root is neither used nor free.
            let used = stat.f_blocks.saturating_sub(stat.f_bfree);
            let total = used.saturating_add(stat.f_bavail);
            Ok(Usage {
                total: total.saturating_mul(stat.f_frsize),
                free: stat.f_bavail.saturating_mul(stat.f_frsize),
            })
        })
        .await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.on_pool(dir, |dir| File::open(dir)?.sync_all()).await
    }

    async fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.on_pool(path, |path| std::fs::read(path)).await
    }

    async fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.on_pool(path, |path| File::create(path)).await?;
        // Piece by piece: what goes to another thread is a copy.
        for piece in bytes.chunks(WRITE_PIECE_BYTES) {
            let piece = piece.to_owned();
            file = self.on_pool(path, move |_| file.write_all(&piece).map(|()| file)).await?;
        }
        self.on_pool(path, move |_| file.sync_all()).await
    }
}

/// Names in a directory, sorted.
fn list(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for found in std::fs::read_dir(dir)? {
        let found = found?;
        let meta = found.metadata()?;
        let name = found.file_name().to_string_lossy().into_owned();
        let bytes = if meta.is_dir() { 0 } else { meta.len() };
        entries.push(Entry { name, bytes, is_dir: meta.is_dir() });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Creates a directory and its parents; each new name is synced in its parent.
fn create_dir_all_durably(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_dir_all_durably(parent)?;
    match std::fs::create_dir(dir) {
        Ok(()) => File::open(parent)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Creates a file of `bytes` zeros with its blocks allocated. Leaves nothing behind when that fails.
fn create_zeroed(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let filled = allocate(&file, bytes);
    if filled.is_err() {
        let _ = std::fs::remove_file(path);
    }
    filled
}

/// Gives a new file its length and its blocks, which read as zeros.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    loop {
        match fallocate(file.as_fd(), FallocateFlags::empty(), 0, bytes) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let zeros = vec![0; ZERO_FILL_BYTES];
    let mut file = file;
    let mut left = bytes;
    while left > 0 {
        let chunk = left.min(ZERO_FILL_BYTES as u64);
        file.write_all(&zeros[..chunk as usize])?;
        left -= chunk;
    }
    Ok(())
}

/// An open O_DIRECT file.
pub struct DirectFile {
    file: DmaFile,
    len: u64,
    budget: Rc<TaskBudget>,
}

impl DiskFile for DirectFile {
    type Buf = DirectBuf;

    async fn write_at(&self, buf: DirectBuf, position: u64) -> io::Result<()> {
        let bytes = buf.as_ref().len();
        check_aligned(position, bytes);
        let written = self.file.write_at(buf.into_own(), position).await.map_err(plain)?;
        self.budget.progress(1);
        if written != bytes {
            let text = format!("{written} of {bytes} bytes written at {position}");
            return Err(io::Error::new(io::ErrorKind::WriteZero, text));
        }
        Ok(())
    }

    async fn sync(&self) -> io::Result<()> {
        self.file.fdatasync().await.map_err(plain)?;
        self.budget.progress(1);
        Ok(())
    }

    async fn read_at(&self, position: u64, bytes: usize) -> io::Result<DirectBuf> {
        check_aligned(position, bytes);
        let read = self.file.read_at_aligned(position, bytes).await.map_err(plain)?;
        self.budget.progress(1);
        if read.len() != bytes {
            let text = format!("{} of {bytes} bytes read at {position}", read.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(DirectBuf(Memory::Read(read)))
    }

    fn len(&self) -> u64 {
        self.len
    }

    async fn close(self) -> io::Result<()> {
        let closed = self.file.close().await.map_err(plain);
        self.budget.progress(1);
        closed
    }
}

/// O_DIRECT takes whole blocks at whole positions; anything else is our own mistake.
fn check_aligned(position: u64, bytes: usize) {
    assert!(position.is_multiple_of(BLOCK_BYTES as u64), "position {position} is out of line");
    assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES), "{bytes} bytes are no blocks");
}

/// Memory that direct I/O accepts: aligned, and from the ring's registered memory while that lasts.
pub struct DirectBuf(Memory);

enum Memory {
    Own(DmaBuffer),
    /// What a read returned; shared and constant, so the first change copies it.
    Read(ReadResult),
}

impl DirectBuf {
    fn into_own(self) -> DmaBuffer {
        match self.0 {
            Memory::Own(buffer) => buffer,
            Memory::Read(read) => copy(&read),
        }
    }
}

fn copy(bytes: &[u8]) -> DmaBuffer {
    let mut own = glommio::allocate_dma_buffer(bytes.len());
    own.as_bytes_mut().copy_from_slice(bytes);
    own
}

impl AsRef<[u8]> for DirectBuf {
    fn as_ref(&self) -> &[u8] {
        match &self.0 {
            Memory::Own(buffer) => buffer.as_bytes(),
            Memory::Read(read) => read,
        }
    }
}

impl AsMut<[u8]> for DirectBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        if let Memory::Read(read) = &self.0 {
            self.0 = Memory::Own(copy(read));
        }
        match &mut self.0 {
            Memory::Own(buffer) => buffer.as_bytes_mut(),
            Memory::Read(_) => unreachable!("replaced above"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::is_unreadable;

    #[test]
    fn an_unreadable_place_is_known_under_the_names_that_are_put_around_it() {
        let medium = || io::Error::from(Errno::NODATA);
        assert!(is_unreadable(&medium()) && is_unreadable(&Errno::IO.into()));
        assert!(is_unreadable(&at(at(medium(), Path::new("/d/a")), Path::new("/d"))));
        for other in [Errno::NOSPC, Errno::NOENT, Errno::ACCESS, Errno::INTR] {
            assert!(!is_unreadable(&at(other.into(), Path::new("/d/a"))), "{other:?}");
        }
        assert!(!is_unreadable(&io::ErrorKind::UnexpectedEof.into()));
        assert!(!is_unreadable(&io::Error::other("something else")));
    }
}
