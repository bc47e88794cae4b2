//! Broken worlds that prove the simulation would notice: each takes away one thing that the store relies on, below or
//! around it, so that the store itself carries no switches.

use crate::{
    batch::{HEADER_BYTES, Header, MAGIC, NotABatch},
    store::segment_start,
};
use runtime::{
    BLOCK_BYTES, Disk, DiskFile, Entry, Open,
    sim::{Lies, SimBuf, SimDisk, SimFile},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    path::Path,
    rc::Rc,
};

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// `fdatasync` of the log does nothing.
    SkipSync,
    /// The sync of the directory does nothing.
    SkipDirectorySync,
    /// The first block of a write does not repeat what the last write left in it.
    SkipTailRewrite,
    /// A batch header counts wherever it is found.
    SkipHeaderPosition,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Mutation; 4] = [
        Mutation::SkipSync,
        Mutation::SkipDirectorySync,
        Mutation::SkipTailRewrite,
        Mutation::SkipHeaderPosition,
    ];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mutation::SkipSync => "skip-sync",
            Mutation::SkipDirectorySync => "skip-directory-sync",
            Mutation::SkipTailRewrite => "skip-tail-rewrite",
            Mutation::SkipHeaderPosition => "skip-header-position",
        }
    }

    /// The mutation of that name.
    pub fn named(name: &str) -> Option<Mutation> {
        Mutation::ALL.into_iter().find(|mutation| mutation.name() == name)
    }
}

/// Last block written at a position of a file, by the file's start.
type Tails = BTreeMap<(u64, u64), Vec<u8>>;

/// A simulated disk with or without a mutation.
#[derive(Clone)]
pub(super) struct MutantDisk {
    pub(super) sim: SimDisk,
    mutation: Option<Mutation>,
    tails: Rc<RefCell<Tails>>,
    /// Whether a store is being opened.
    pub(super) recovering: Rc<Cell<bool>>,
    /// Writes of nothing but zeros, which is what the zeroing task does.
    pub(super) zeroings: Rc<Cell<u64>>,
}

/// A file of it.
pub(super) struct MutantFile {
    sim: SimFile,
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
            recovering: Rc::default(),
            zeroings: Rc::default(),
        }
    }

    /// Lies again after [`SimDisk::heal`]. The files that are open stay as they are.
    pub(super) fn heal(&self) {
        self.sim.heal();
        self.sim.lie(lies(self.mutation));
    }
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
        Ok(MutantFile { sim, start: segment_start(path).unwrap_or(0), disk: self.clone() })
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.sim.list(dir).await
    }

    async fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.sim.create_dir_all(dir).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.sim.remove(path).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.sim.rename(from, to).await
    }

    fn uptime_micros(&self) -> u64 {
        self.sim.uptime_micros()
    }

    async fn usage(&self, dir: &Path) -> io::Result<runtime::Usage> {
        self.sim.usage(dir).await
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
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
        let bytes = buf.as_mut();
        if bytes.iter().all(|byte| *byte == 0) {
            self.disk.zeroings.set(self.disk.zeroings.get() + 1);
        }
        if self.disk.mutation == Some(Mutation::SkipTailRewrite) {
            self.forget_tail(bytes, position);
        }
        self.sim.write_at(buf, position).await
    }

    async fn sync(&self) -> io::Result<()> {
        self.sim.sync().await
    }

    async fn read_at(&self, position: u64, bytes: usize) -> io::Result<SimBuf> {
        let mut buf = self.sim.read_at(position, bytes).await?;
        let recovering = self.disk.recovering.get();
        if recovering && self.disk.mutation == Some(Mutation::SkipHeaderPosition) {
            relocate(buf.as_mut(), self.start + position);
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
        let Some(log_id) = head[56..64].first_chunk().map(|b| u64::from_be_bytes(*b)) else {
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
