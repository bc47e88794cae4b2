//! Broken variants that prove the simulation would notice: each takes away one thing that the store relies on, below or
//! around it, so that the store itself carries no switches. Here is what a disk can take away; `hasty` is an index
//! loop that leaves things out.

use super::rot;
use crate::mutations::mutations;
use runtime::{
    BLOCK_BYTES, Disk, DiskFile, Entry, Open, is_unreadable,
    sim::{Lies, SimBuf, SimDisk, SimFile},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    rc::Rc,
};
use store::{
    batch::{HEADER_BYTES, Header, MAGIC, NotABatch},
    index::{Named, named},
    segments::segment_start,
};

/// Bytes that an unreadable block takes along.
const PIECE_BYTES: u64 = 4 * BLOCK_BYTES as u64;
/// Number of the error that a place which cannot be read ends with.
const EIO: i32 = 5;

mutations! {
    /// `fdatasync` of the log does nothing.
    SkipSync = "skip-sync",
    /// The sync of the directory does nothing.
    SkipDirectorySync = "skip-directory-sync",
    /// The first block of a write does not repeat what the last write left in it.
    SkipTailRewrite = "skip-tail-rewrite",
    /// A batch header counts wherever it is found.
    SkipHeaderPosition = "skip-header-position",
    /// The directory is not synced when an index file has got its name, before the files go that it stands in for.
    SkipIndexDirectorySync = "skip-index-directory-sync",
    /// An index file gets its name before the log that it covers is durable.
    IndexBeforeLog = "index-before-log",
    /// An index file gets its name before all that influenced it is durable; what it covers is.
    IndexBeforeInfluence = "index-before-influence",
    /// The next segment is retired before the names of the last one are durable.
    SkipRetirementSync = "skip-retirement-sync",
    /// Rot in index files stays unseen until the next start, as it would behind a cache of pages.
    HideIndexRot = "hide-index-rot",
    /// A queue of which all messages are gone has no row in index files.
    DropEmptyRows = "drop-empty-rows",
    /// The entries of a group are appended one by one.
    SplitGroups = "split-groups",
    /// A record waits no more from the moment on when its delivery is appended.
    DeliveredAtAppend = "delivered-at-append",
    /// A half message has ended from the moment on when its end is appended.
    HalfEndedAtAppend = "half-ended-at-append",
    /// A half message is ended though somebody is at it.
    EndHalfTwice = "end-half-twice",
    /// Offsets count that a group commits which is told to go on elsewhere.
    LateCommits = "late-commits",
    /// A popped message is done from the moment on when it is handed out.
    AckedAtPop = "acked-at-pop",
    /// A place that cannot be read fails like anything else that a disk refuses.
    UnreadableIsFailure = "unreadable-is-failure",
    /// A block that cannot be read takes its neighbours along, as for who reads larger pieces only.
    UnreadableNeighbours = "unreadable-neighbours",
    /// What is measured with the monotonic clock follows the wall clock.
    OneClock = "one-clock",
}

/// Last block written at a position of a file, by the file's start.
type Tails = BTreeMap<(u64, u64), Vec<u8>>;

/// A simulated disk with or without a mutation.
#[derive(Clone)]
pub(super) struct MutantDisk {
    pub(super) sim: SimDisk,
    pub(super) mutation: Option<Mutation>,
    tails: Rc<RefCell<Tails>>,
    /// The next sync of the directory does nothing.
    skip_directory_sync: Rc<Cell<bool>>,
    /// Bits (byte of the file, and bit) that rotted under a store at work and that it must not see.
    hidden: Rc<RefCell<BTreeMap<PathBuf, (u64, u8)>>>,
    /// Whether a store is being opened.
    pub(super) recovering: Rc<Cell<bool>>,
    /// Writes of nothing but zeros, which is what the zeroing task does.
    pub(super) zeroings: Rc<Cell<u64>>,
}

/// A file of it.
pub(super) struct MutantFile {
    sim: SimFile,
    path: PathBuf,
    start: u64,
    disk: MutantDisk,
}

impl MutantDisk {
    pub(super) fn new(sim: SimDisk, mutation: Option<Mutation>) -> MutantDisk {
        sim.lie(lies(mutation));
        MutantDisk {
            sim,
            mutation,
            tails: Rc::default(),
            skip_directory_sync: Rc::default(),
            hidden: Rc::default(),
            recovering: Rc::default(),
            zeroings: Rc::default(),
        }
    }

    /// Lies again after [`SimDisk::heal`]. The files that are open stay as they are.
    pub(super) fn heal(&self) {
        self.sim.heal();
        self.sim.lie(lies(self.mutation));
    }

    /// A bit of an index file rotted under a store at work.
    pub(super) fn note_rot(&self, path: &Path, byte: u64, bit: u8) {
        if self.mutation == Some(Mutation::HideIndexRot) {
            self.hidden.borrow_mut().insert(path.to_owned(), (byte, bit));
        }
    }

    /// The index of a segment that is gone was removed: the sync behind that ends the retirement.
    fn is_retirement(&self, removed: &Path) -> bool {
        let Some(Named::Sealed { segment }) = index_name(removed) else { return false };
        !self.recovering.get() && !rot::has_segment(self, segment)
    }
}

/// What an index file's name says.
fn index_name(path: &Path) -> Option<Named> {
    named(path.file_name()?.to_str()?)
}

fn lies(mutation: Option<Mutation>) -> Lies {
    match mutation {
        Some(Mutation::SkipSync) => Lies::Syncs,
        Some(Mutation::SkipDirectorySync) => Lies::DirectorySyncs,
        _ => Lies::None,
    }
}

impl Disk for MutantDisk {
    type File = MutantFile;
    type Buf = SimBuf;

    fn alloc(&self, bytes: usize) -> SimBuf {
        self.sim.alloc(bytes)
    }

    async fn open(&self, path: &Path, mode: Open) -> io::Result<MutantFile> {
        let sim = self.sim.open(path, mode).await?;
        let start = segment_start(path).unwrap_or(0);
        Ok(MutantFile { sim, path: path.to_owned(), start, disk: self.clone() })
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.sim.list(dir).await
    }

    async fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.sim.create_dir_all(dir).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.hidden.borrow_mut().remove(path);
        self.sim.remove(path).await?;
        let skip = self.mutation == Some(Mutation::SkipRetirementSync) && self.is_retirement(path);
        self.skip_directory_sync.set(skip);
        Ok(())
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.hidden.borrow_mut().remove(to);
        self.sim.rename(from, to).await?;
        // Whoever named the file goes on at once, before any other task does.
        let index = self.mutation == Some(Mutation::SkipIndexDirectorySync);
        self.skip_directory_sync.set(index && index_name(to).is_some());
        Ok(())
    }

    fn uptime_micros(&self) -> u64 {
        if self.mutation == Some(Mutation::OneClock) {
            return u64::try_from(self.sim.clock().now()).unwrap_or(0) * 1_000;
        }
        self.sim.uptime_micros()
    }

    async fn usage(&self, dir: &Path) -> io::Result<runtime::Usage> {
        self.sim.usage(dir).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.skip_directory_sync.take() {
            return Ok(());
        }
        self.sim.sync_dir(dir).await
    }

    async fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.sim.read_file(path).await
    }

    async fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.sim.write_file(path, bytes).await
    }
}

impl DiskFile for MutantFile {
    type Buf = SimBuf;

    async fn write_at(&self, mut buf: SimBuf, position: u64) -> io::Result<()> {
        self.touch(buf.as_mut(), position);
        self.sim.write_at(buf, position).await
    }

    async fn write_durably(&self, mut buf: SimBuf, position: u64) -> io::Result<()> {
        self.touch(buf.as_mut(), position);
        self.sim.write_durably(buf, position).await
    }

    async fn sync(&self) -> io::Result<()> {
        self.sim.sync().await
    }

    async fn read_at(&self, position: u64, bytes: usize) -> io::Result<SimBuf> {
        if self.disk.mutation == Some(Mutation::UnreadableNeighbours)
            && !self.disk.sim.can_read(&self.path, position - position % PIECE_BYTES, PIECE_BYTES)
        {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let read = self.sim.read_at(position, bytes).await;
        let failure = self.disk.mutation == Some(Mutation::UnreadableIsFailure);
        let mut buf = match read {
            Err(error) if failure && is_unreadable(&error) => {
                return Err(io::Error::other(error.to_string()));
            }
            read => read?,
        };
        let recovering = self.disk.recovering.get();
        if recovering && self.disk.mutation == Some(Mutation::SkipHeaderPosition) {
            relocate(buf.as_mut(), self.start + position);
        }
        if !recovering && let Some((byte, bit)) = self.disk.hidden.borrow().get(&self.path) {
            let at = byte.checked_sub(position).and_then(|at| usize::try_from(at).ok());
            if let Some(byte) = at.and_then(|at| buf.as_mut().get_mut(at)) {
                *byte ^= 1 << bit;
            }
        }
        Ok(buf)
    }

    fn len(&self) -> u64 {
        self.sim.len()
    }

    async fn close(self) -> io::Result<()> {
        self.sim.close().await
    }
}

impl MutantFile {
    /// What every write goes through.
    fn touch(&self, bytes: &mut [u8], position: u64) {
        if bytes.iter().all(|byte| *byte == 0) {
            self.disk.zeroings.set(self.disk.zeroings.get() + 1);
        }
        if self.disk.mutation == Some(Mutation::SkipTailRewrite) {
            self.forget_tail(bytes, position);
        }
    }

    /// Zeroes what the last write had put into the first block.
    fn forget_tail(&self, bytes: &mut [u8], position: u64) {
        let last = bytes.len() - BLOCK_BYTES;
        let block = bytes[last..].to_vec();
        let mut tails = self.disk.tails.borrow_mut();
        if let Some(before) = tails.get(&(self.start, position)) {
            let used = before.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            if bytes[..used] == before[..used] && bytes[used..].iter().any(|byte| *byte != 0) {
                bytes[..used].fill(0);
            }
        }
        tails.insert((self.start, position + last as u64), block);
    }
}

/// Gives every whole batch the position at which it is found, so that it passes every check but that one.
fn relocate(bytes: &mut [u8], start: u64) {
    let mut from = 0;
    while let Some(found) = memchr::memmem::find(&bytes[from..], &MAGIC) {
        let at = from + found;
        from = at + 1;
        let Some((head, rest)) = bytes[at..].split_at_checked(HEADER_BYTES) else { return };
        let Some(position) = head[16..24].first_chunk().map(|b| u64::from_be_bytes(*b)) else {
            return;
        };
        let Some(log_id) = head[24..32].first_chunk().map(|b| u64::from_be_bytes(*b)) else {
            return;
        };
        let decoded = Header::decode(head, position, log_id);
        let whole = decoded.and_then(|header| {
            let payload = rest.get(..header.payload_bytes as usize).ok_or(NotABatch::Damaged)?;
            Header::check_payload(head, payload).map(|()| (header, payload))
        });
        if let Ok((header, payload)) = whole {
            // What lies within a whole batch is not looked at, with or without the mutation.
            from = at + HEADER_BYTES + payload.len();
            let position = start + at as u64;
            let durable_until = header.durable_until.min(position);
            let moved = Header { position, durable_until, ..header }.encode((payload, b""));
            bytes[at..at + HEADER_BYTES].copy_from_slice(&moved);
        }
    }
}
