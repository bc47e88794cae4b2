//! A [`Disk`] over ordinary files: blocking calls, the page cache, no io_uring.
//!
//! For tools, which must work where a broker cannot. Its futures never wait. Read-only it opens nothing for writing and
//! refuses every call that would change a name or a byte; what was read in large pieces is dropped from the page cache,
//! so that looking at a store does not push out what others keep there.

use runtime::{BLOCK_BYTES, Disk, DiskFile, Entry, Open, Usage};
use rustix::fs::{Advice, fadvise, statvfs};
use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    num::NonZeroU64,
    os::unix::fs::FileExt,
    path::Path,
    sync::OnceLock,
    time::Instant,
};

/// When somebody first asked how late it is.
static STARTED: OnceLock<Instant> = OnceLock::new();

/// Reads of this size and above leave the page cache again, bytes.
const DROPPED_READ_BYTES: usize = 256 * 1024;

/// Ordinary files.
#[derive(Clone, Copy, Debug)]
pub struct FileDisk {
    writable: bool,
}

/// An open file of a [`FileDisk`].
#[derive(Debug)]
pub struct PlainFile {
    file: File,
    bytes: u64,
    writable: bool,
}

impl FileDisk {
    /// Reads only; safe beside a running broker.
    pub fn read_only() -> FileDisk {
        FileDisk { writable: false }
    }

    /// Reads and writes. Only for who holds the lock of the data directory.
    pub fn writable() -> FileDisk {
        FileDisk { writable: true }
    }

    fn check_writable(self) -> io::Result<()> {
        refuse_unless(self.writable)
    }
}

fn refuse_unless(writable: bool) -> io::Result<()> {
    if writable {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::PermissionDenied, "opened for reading only"))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

impl PlainFile {
    /// The file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl Disk for FileDisk {
    type File = PlainFile;
    type Buf = Vec<u8>;

    fn alloc(&self, bytes: usize) -> Vec<u8> {
        assert!(bytes.is_multiple_of(BLOCK_BYTES));
        vec![0; bytes]
    }

    async fn open(&self, path: &Path, mode: Open) -> io::Result<PlainFile> {
        let mut options = File::options();
        options.read(true);
        // Reading is all that a tool wants of an existing file, whatever the store would do with it.
        let writable = self.writable && mode != Open::Read;
        match mode {
            Open::Read => {}
            Open::ReadWrite => {
                options.write(writable);
            }
            Open::Create { .. } => {
                self.check_writable()?;
                options.write(true).create_new(true);
            }
        }
        let file = options.open(path)?;
        if let Open::Create { bytes } = mode {
            file.set_len(bytes)?;
        }
        let bytes = file.metadata()?.len();
        Ok(PlainFile { file, bytes, writable })
    }

    fn uptime_micros(&self) -> u64 {
        let since = STARTED.get_or_init(Instant::now).elapsed();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for found in fs::read_dir(dir)? {
            let found = found?;
            let name = found.file_name().to_string_lossy().into_owned();
            match found.metadata() {
                Ok(meta) => {
                    let bytes = if meta.is_dir() { 0 } else { meta.len() };
                    entries.push(Entry { name, bytes, is_dir: meta.is_dir() });
                }
                // A running broker removed it in this moment.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.check_writable()?;
        fs::create_dir_all(dir)?;
        sync_dir(dir.parent().unwrap_or(dir))
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.check_writable()?;
        fs::remove_file(path)
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_writable()?;
        fs::rename(from, to)
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.check_writable()?;
        sync_dir(dir)
    }

    async fn usage(&self, dir: &Path) -> io::Result<Usage> {
        let found = statvfs(dir)?;
        let total = found.f_blocks.saturating_mul(found.f_frsize);
        Ok(Usage { total, free: found.f_bavail.saturating_mul(found.f_frsize) })
    }

    async fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    async fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.check_writable()?;
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }
}

impl DiskFile for PlainFile {
    type Buf = Vec<u8>;

    async fn write_at(&self, buf: Vec<u8>, position: u64) -> io::Result<()> {
        refuse_unless(self.writable)?;
        self.file.write_all_at(&buf, position)
    }

    async fn sync(&self) -> io::Result<()> {
        refuse_unless(self.writable)?;
        self.file.sync_data()
    }

    async fn read_at(&self, position: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut buf = vec![0; bytes];
        self.file.read_exact_at(&mut buf, position)?;
        if bytes >= DROPPED_READ_BYTES {
            // Advice only: what cannot be dropped stays.
            let _ = fadvise(&self.file, position, NonZeroU64::new(bytes as u64), Advice::DontNeed);
        }
        Ok(buf)
    }

    fn len(&self) -> u64 {
        self.bytes
    }

    async fn close(self) -> io::Result<()> {
        Ok(())
    }
}
