//! The real disk: O_DIRECT files through the executor's io_uring, everything that blocks on its threads.
//!
//! Positions and lengths are whole blocks, every returned length is checked, and the length of a file is kept here.
//! std::fs appears inside closures for those threads only.

use std::{
    fmt,
    fs::{File, OpenOptions},
    future::Future,
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    rc::Rc,
};

use rustix::{
    fs::{FallocateFlags, OFlags, fallocate},
    io::Errno,
    time::{ClockId, clock_gettime},
};

use crate::{
    descriptor::{self, Descriptor, freeing_bytes, with_room},
    direct_buf::AlignedBuf,
    disk::{BLOCK_BYTES, Disk, DiskFile, Entry, Open, Usage},
    reactor::Reactor,
    ring::Memory,
};

/// Zeros written at once where a file system cannot allocate.
const ZERO_FILL_BYTES: usize = 1024 * 1024;
/// Of a small file, written at once.
const WRITE_PIECE_BYTES: usize = 1024 * 1024;

/// How a write is made durable. Which is faster is a matter of the device; [`crate::probe`] finds it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DurableWrite {
    /// A write and then an fdatasync, handed over together: everywhere right.
    #[default]
    ThenSync,
    /// One write that is durable when it is done (RWF_DSYNC): for devices that need no flush of a cache for it.
    Through,
}

impl fmt::Display for DurableWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DurableWrite::ThenSync => "write and fdatasync",
            DurableWrite::Through => "RWF_DSYNC",
        })
    }
}

/// The disk of the machine, as seen by one executor.
#[derive(Clone)]
pub struct DirectDisk {
    reactor: Rc<Reactor>,
}

impl DirectDisk {
    pub(crate) fn new(reactor: Rc<Reactor>) -> DirectDisk {
        DirectDisk { reactor }
    }

    /// Runs `work` with an owned copy of `path` on a thread for what blocks.
    fn on_pool<T, F>(&self, path: &Path, work: F) -> impl Future<Output = io::Result<T>>
    where
        F: FnOnce(&Path) -> io::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let path = path.to_owned();
        let reactor = Rc::clone(&self.reactor);
        async move { reactor.blocking(move || work(&path).map_err(|error| at(error, &path))).await }
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

/// How full the file system of `dir` is, counted as df does: what is kept back for root is neither used nor free. Blocks.
pub fn usage(dir: &Path) -> io::Result<Usage> {
    let stat = rustix::fs::statvfs(dir)?;
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    let total = used.saturating_add(stat.f_bavail).saturating_mul(stat.f_frsize);
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    Ok(Usage { total, free: free.min(total) })
}

impl Disk for DirectDisk {
    type File = DirectFile;
    type Buf = DirectBuf;

    fn alloc(&self, bytes: usize) -> DirectBuf {
        let mut blocks = self.reactor.buffers.take(bytes);
        // Its memory was used before, and old messages must not leak into padding.
        blocks.as_mut().fill(0);
        DirectBuf(blocks)
    }

    async fn open(&self, path: &Path, mode: Open) -> io::Result<DirectFile> {
        let opened = self.on_pool(path, move |path| {
            if let Open::Create { bytes } = mode {
                assert!(bytes.is_multiple_of(BLOCK_BYTES as u64), "{bytes} bytes are no blocks");
                with_room(|| create_zeroed(path, bytes))?;
            }
            let file = OpenOptions::new()
                .read(true)
                .write(mode != Open::Read)
                .custom_flags(OFlags::DIRECT.bits().cast_signed())
                .open(path)?;
            let len = file.metadata()?.len();
            Ok((OwnedFd::from(file), len))
        });
        let (file, len) = opened.await?;
        let file = Rc::new(Descriptor::new(file, &self.reactor.pool));
        Ok(DirectFile { file, len, reactor: Rc::clone(&self.reactor) })
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.on_pool(dir, list).await
    }

    async fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.on_pool(dir, create_dir_all_durably).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let file = self.on_pool(path, descriptor::remove).await?;
        drop(file.map(|file| Descriptor::new(file, &self.reactor.pool)));
        Ok(())
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
            let Usage { total, free } = usage(dir)?;
            Ok(Usage { total, free: free.saturating_add(freeing_bytes()).min(total) })
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
    file: Rc<Descriptor>,
    len: u64,
    reactor: Rc<Reactor>,
}

impl DiskFile for DirectFile {
    type Buf = DirectBuf;

    async fn write_at(&self, buf: DirectBuf, position: u64) -> io::Result<()> {
        let bytes = buf.0.len();
        check_aligned(position, bytes);
        let (written, _) = self.reactor.ring.write(&self.file, buf.0, position, false).await;
        check_written(written?, bytes, position)
    }

    async fn write_durably(&self, buf: DirectBuf, position: u64) -> io::Result<()> {
        let bytes = buf.0.len();
        check_aligned(position, bytes);
        let ring = &self.reactor.ring;
        let write = match self.reactor.durable_write {
            DurableWrite::Through => ring.write(&self.file, buf.0, position, true),
            DurableWrite::ThenSync if ring.features().chained => {
                ring.write_and_sync(&self.file, buf.0, position)
            }
            DurableWrite::ThenSync => {
                self.write_at(buf, position).await?;
                return self.sync().await;
            }
        };
        check_written(write.await.0?, bytes, position)
    }

    async fn sync(&self) -> io::Result<()> {
        self.reactor.ring.sync(&self.file).await.0.map(drop)
    }

    async fn read_at(&self, position: u64, bytes: usize) -> io::Result<DirectBuf> {
        check_aligned(position, bytes);
        let into = self.reactor.buffers.take(bytes);
        let (read, memory) = self.reactor.ring.read(&self.file, into, position).await;
        let read = read?;
        if read != bytes {
            let text = format!("{read} of {bytes} bytes read at {position}");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        match memory {
            Memory::Blocks(blocks) => Ok(DirectBuf(blocks)),
            Memory::None | Memory::Word(_) => unreachable!("a read holds its blocks"),
        }
    }

    fn len(&self) -> u64 {
        self.len
    }

    async fn close(self) -> io::Result<()> {
        // Otherwise an operation that nobody waits for is under way: it closes the file.
        if let Ok(file) = Rc::try_unwrap(self.file) {
            file.close().await;
        }
        Ok(())
    }
}

fn check_written(written: usize, bytes: usize, position: u64) -> io::Result<()> {
    if written != bytes {
        let text = format!("{written} of {bytes} bytes written at {position}");
        return Err(io::Error::new(io::ErrorKind::WriteZero, text));
    }
    Ok(())
}

/// O_DIRECT takes whole blocks at whole positions; anything else is our own mistake.
fn check_aligned(position: u64, bytes: usize) {
    assert!(position.is_multiple_of(BLOCK_BYTES as u64), "position {position} is out of line");
    assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES), "{bytes} bytes are no blocks");
}

/// Memory that direct I/O accepts.
pub struct DirectBuf(AlignedBuf);

impl AsRef<[u8]> for DirectBuf {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl AsMut<[u8]> for DirectBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0.as_mut()
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
