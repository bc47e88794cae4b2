//! The disk as the store sees it: aligned blocks, explicit durability, no page cache.
//!
//! Two implementations exist: [`crate::DirectDisk`] (O_DIRECT through io_uring) and [`crate::sim::SimDisk`] (a seeded
//! model that loses, tears and reorders what was not synced). The store is generic over this trait and nothing else.
//!
//! A future of this module is never dropped before it is finished: the result of a write must not be lost.

use rustix::io::Errno;
use std::{future::Future, io, path::Path};

/// Alignment and granularity of every position, length and buffer, in bytes.
pub const BLOCK_BYTES: usize = 4096;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Existing file, reads only. Safe beside a running broker.
    Read,
    /// Existing file, reads and writes.
    ReadWrite,
    /// New file of exactly this many bytes (a multiple of [`BLOCK_BYTES`]), which reads as zeros. Fails when the name
    /// exists. Length and name are durable once the file was synced and its directory too.
    Create {
        /// Length of the new file.
        bytes: u64,
    },
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// File name without the directory.
    pub name: String,
    /// Length in bytes; 0 for directories.
    pub bytes: u64,
    /// Whether the name is a directory.
    pub is_dir: bool,
}

/// How full the file system is, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// All of it, but for what is kept back for others.
    pub total: u64,
    /// What is left to this process.
    pub free: u64,
}

impl Usage {
    /// Used space, percent, rounded up: only an empty file system has 0.
    pub fn used_percent(&self) -> u32 {
        if self.total == 0 {
            return 0;
        }
        let used = u128::from(self.total.saturating_sub(self.free));
        (used * 100).div_ceil(u128::from(self.total)) as u32
    }
}

/// How a device says that it cannot read a place. Under direct I/O the kernel passes on what the device reported:
/// `ENODATA` for a medium error, `EILSEQ` and `EREMOTEIO` for data that the device itself found to be wrong; `EIO` is all
/// the rest, and `EBADMSG` and `EUCLEAN` are file systems with checksums of their own.
const UNREADABLE: [Errno; 6] =
    [Errno::IO, Errno::NODATA, Errno::ILSEQ, Errno::REMOTEIO, Errno::BADMSG, Errno::UCLEAN];

/// Whether a read failed because what stands there cannot be read, however often it is tried, as opposed to a call that
/// was refused or a file that is gone.
pub fn is_unreadable(error: &io::Error) -> bool {
    let code = |error: &io::Error| error.raw_os_error();
    if let Some(code) = code(error) {
        return UNREADABLE.iter().any(|errno| errno.raw_os_error() == code);
    }
    let mut inner = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
    while let Some(error) = inner {
        match error.downcast_ref::<io::Error>() {
            Some(error) => return is_unreadable(error),
            None => inner = error.source(),
        }
    }
    false
}

/// Whether a call failed because the disk had no room, or this user's share of it.
pub fn is_lack_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A disk: files by path, and buffers fit for direct I/O. Cloning shares the disk.
pub trait Disk: Clone + 'static {
    /// An open file.
    type File: DiskFile<Buf = Self::Buf>;
    /// Memory that direct I/O accepts.
    type Buf: AsRef<[u8]> + AsMut<[u8]> + 'static;

    /// A buffer of `bytes` (a multiple of [`BLOCK_BYTES`]); its content is undefined but initialised.
    fn alloc(&self, bytes: usize) -> Self::Buf;

    /// Opens or creates a file.
    fn open(&self, path: &Path, mode: Open) -> impl Future<Output = io::Result<Self::File>>;

    /// The names in `dir`, sorted. A missing directory is `NotFound`.
    fn list(&self, dir: &Path) -> impl Future<Output = io::Result<Vec<Entry>>>;

    /// Creates a directory and its parents, durably.
    fn create_dir_all(&self, dir: &Path) -> impl Future<Output = io::Result<()>>;

    /// Removes a file. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// Renames a file over `to`, atomically. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;

    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>>;

    /// How full the file system of a directory is.
    fn usage(&self, dir: &Path) -> impl Future<Output = io::Result<Usage>>;

    /// Microseconds since some moment: for measuring how long the disk takes. Never goes backwards.
    fn uptime_micros(&self) -> u64;

    /// Reads a small file whole.
    fn read_file(&self, path: &Path) -> impl Future<Output = io::Result<Vec<u8>>>;

    /// Creates or truncates a small file, writes `bytes` and syncs the file, not its directory.
    fn write_file(&self, path: &Path, bytes: &[u8]) -> impl Future<Output = io::Result<()>>;
}

/// An open file of a [`Disk`].
pub trait DiskFile: 'static {
    /// Memory that direct I/O accepts.
    type Buf;

    /// Writes the whole buffer at an aligned position. A short write is an error. Durable after [`DiskFile::sync`].
    fn write_at(&self, buf: Self::Buf, position: u64) -> impl Future<Output = io::Result<()>>;

    /// Writes the whole buffer at an aligned position; when it returns, these bytes are durable. It says nothing about
    /// other writes, not even about earlier ones. The file's length was synced before.
    fn write_durably(&self, buf: Self::Buf, position: u64) -> impl Future<Output = io::Result<()>> {
        async move {
            self.write_at(buf, position).await?;
            self.sync().await
        }
    }

    /// Makes everything written before the call durable (`fdatasync`).
    fn sync(&self) -> impl Future<Output = io::Result<()>>;

    /// Reads exactly `bytes` (aligned) at an aligned position; `UnexpectedEof` when the file is shorter.
    fn read_at(&self, position: u64, bytes: usize) -> impl Future<Output = io::Result<Self::Buf>>;

    /// Length of the file in bytes, as it was when it was opened or created.
    fn len(&self) -> u64;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the file and reports what closing reports.
    fn close(self) -> impl Future<Output = io::Result<()>>;
}
