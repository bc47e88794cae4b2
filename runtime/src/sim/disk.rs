//! The simulated disk as its users hold it: the calls on names, and what a test may look at.

use std::{
    cell::RefCell,
    fmt, io,
    path::{Path, PathBuf},
    rc::Rc,
};

use rustix::io::Errno;

use super::{
    SimClock,
    calls::{Call, CallKind, Ledger, Shape, Ticket, begin, hash_bytes, wait},
    directory::Change,
    file::{FileState, SimFile},
    state::State,
};
use crate::{BLOCK_BYTES, Disk, Entry, Open, Usage};

/// What fresh buffers hold: a value that a forgotten byte is recognised by.
const FRESH_BYTE: u8 = 0xDB;

/// A simulated disk. Cloning shares it.
#[derive(Clone)]
pub struct SimDisk {
    pub(super) state: Rc<RefCell<State>>,
}

/// Everything about a disk at one moment; cheap, because blocks are shared.
pub struct Snapshot(State);

/// Memory for transfers from and to a [`SimDisk`].
#[derive(Clone, PartialEq, Eq)]
pub struct SimBuf(Vec<u8>);

impl SimBuf {
    pub(super) fn new(bytes: usize) -> Self {
        assert!(bytes.is_multiple_of(BLOCK_BYTES), "length {bytes} is not aligned");
        Self(vec![FRESH_BYTE; bytes])
    }
}

impl AsRef<[u8]> for SimBuf {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for SimBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl fmt::Debug for SimBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimBuf({} bytes)", self.0.len())
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ledger { calls, trace, crashed, .. } = self.state.borrow().ledger;
        write!(f, "SimDisk {{ calls: {calls}, trace: {trace:016x}, crashed: {crashed} }}")
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self { state: Rc::new(State::new(seed).into()) }
    }

    /// The clock that the disk's latencies advance.
    pub fn clock(&self) -> SimClock {
        self.state.borrow().clock.clone()
    }

    /// Calls that have begun since boot.
    pub fn calls(&self) -> u64 {
        self.state.borrow().ledger.calls
    }

    /// Hash of all calls, their data, their order, the order of their ends, and of what was read.
    pub fn trace_hash(&self) -> u64 {
        self.state.borrow().ledger.trace
    }

    /// Calls whose future was dropped before it returned, which no caller may do as long as there is power.
    pub fn dropped_calls(&self) -> u64 {
        self.state.borrow().ledger.dropped
    }

    /// Starts to keep every call for [`SimDisk::log`].
    pub fn keep_log(&self) {
        self.state.borrow_mut().ledger.log.get_or_insert_default();
    }

    /// The calls since [`SimDisk::keep_log`], for a reader who wants to know what a seed did.
    pub fn log(&self) -> Vec<Call> {
        self.state.borrow().ledger.log.clone().unwrap_or_default()
    }

    /// All files that a lookup finds, with their lengths, sorted.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.state.borrow();
        let named = state.names.live().iter();
        named.map(|(path, id)| (path.clone(), state.bytes_of(*id))).collect()
    }

    /// All names that are sure to survive a crash unless an unsynced change replaces them, sorted.
    pub fn durable_files(&self) -> Vec<PathBuf> {
        self.state.borrow().names.durable().keys().cloned().collect()
    }

    /// What readers of a file see; zeros for what cannot be read.
    pub fn live_bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.borrow();
        let file = state.files.get(&state.names.find(path)?)?;
        Some(file.readable_bytes())
    }

    /// What of a file was synced, under its durable name; a length that was never synced counts as 0.
    pub fn durable_bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.borrow();
        let file = state.files.get(&state.names.find_durable(path)?)?;
        Some(file.durable_bytes())
    }

    /// Writes to a file that no sync has covered yet, those in flight included.
    pub fn unsynced_writes(&self, path: &Path) -> usize {
        let state = self.state.borrow();
        let file = state.names.find(path).and_then(|id| state.files.get(&id));
        file.map_or(0, FileState::unsynced_count)
    }

    /// The whole disk as it is now. Calls in flight stay in flight for ever in it.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.state.borrow().fork())
    }

    /// A disk of its own, with a clock of its own, that goes on from the snapshot. Open files stay with the old disk.
    pub fn restore(snapshot: &Snapshot) -> Self {
        Self { state: Rc::new(snapshot.0.fork().into()) }
    }

    async fn begin(&self, kind: CallKind, path: &Path) -> Ticket {
        begin(&self.state, Shape::on(kind, path)).await
    }

    async fn create(&self, path: &Path, bytes: u64) -> io::Result<SimFile> {
        assert!(bytes.is_multiple_of(BLOCK_BYTES as u64), "length {bytes} is not aligned");
        let shape = Shape { bytes, ..Shape::on(CallKind::Create, path) };
        let ticket = begin(&self.state, shape).await;
        let begun = self.state.borrow_mut().start_create(&ticket, path, bytes);
        wait(&self.state, &ticket).await;
        let id = self.state.borrow_mut().complete_create(ticket, path, begun?)?;
        Ok(SimFile::open(&self.state, id, path, true))
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Buf = SimBuf;

    fn alloc(&self, bytes: usize) -> SimBuf {
        SimBuf::new(bytes)
    }

    async fn open(&self, path: &Path, mode: Open) -> io::Result<SimFile> {
        if let Open::Create { bytes } = mode {
            return self.create(path, bytes).await;
        }
        let ticket = self.begin(CallKind::Open, path).await;
        wait(&self.state, &ticket).await;
        let found = self.state.borrow().names.find(path);
        let id = found.ok_or(io::ErrorKind::NotFound)?;
        Ok(SimFile::open(&self.state, id, path, mode == Open::ReadWrite))
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let ticket = self.begin(CallKind::List, dir).await;
        wait(&self.state, &ticket).await;
        let state = self.state.borrow();
        if !state.names.is_dir(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(state.names.list(dir, |id| state.bytes_of(id)))
    }

    async fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let ticket = self.begin(CallKind::CreateDir, dir).await;
        self.state.borrow_mut().start(&ticket, Change::MakeDir { dir: dir.into() });
        wait(&self.state, &ticket).await;
        let mut state = self.state.borrow_mut();
        let blocked = dir.ancestors().any(|path| state.names.find(path).is_some());
        let result = if blocked { Err(io::ErrorKind::NotADirectory.into()) } else { Ok(()) };
        state.settle(ticket, result)
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let ticket = self.begin(CallKind::Remove, path).await;
        let found = self.state.borrow().names.find(path);
        if let Some(file) = found {
            self.state.borrow_mut().start(&ticket, Change::Remove { name: path.into(), file });
        }
        wait(&self.state, &ticket).await;
        let mut state = self.state.borrow_mut();
        let same = found.is_some() && state.names.find(path) == found;
        state.settle(ticket, if same { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) })
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let content = hash_bytes(to.as_os_str().as_encoded_bytes());
        let shape = Shape { content, ..Shape::on(CallKind::Rename, from) };
        let ticket = begin(&self.state, shape).await;
        let found = self.state.borrow().names.find(from);
        let blocked = self.state.borrow().check_target(to);
        if let (Some(file), Ok(())) = (found, &blocked) {
            let change = Change::Rename { from: from.into(), to: to.into(), file };
            self.state.borrow_mut().start(&ticket, change);
        }
        wait(&self.state, &ticket).await;
        let mut state = self.state.borrow_mut();
        let same = found.is_some() && state.names.find(from) == found;
        let found = if same { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) };
        state.settle(ticket, found.and(blocked))
    }

    fn uptime_micros(&self) -> u64 {
        self.clock().uptime_micros()
    }

    async fn usage(&self, _dir: &Path) -> io::Result<Usage> {
        let free = self.free_bytes();
        Ok(Usage { total: free.saturating_add(self.used_bytes()), free })
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let ticket = self.begin(CallKind::SyncDir, dir).await;
        wait(&self.state, &ticket).await;
        let mut state = self.state.borrow_mut();
        if let Some(fault) = ticket.fault {
            return Err(fault);
        }
        if !state.names.is_dir(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if !state.faults.lies.about_directory_syncs() {
            state.names.sync(dir, ticket.called);
            state.collect_all();
        }
        Ok(())
    }

    async fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let ticket = self.begin(CallKind::ReadFile, path).await;
        wait(&self.state, &ticket).await;
        if let Some(fault) = ticket.fault {
            return Err(fault);
        }
        let unreadable = {
            let state = self.state.borrow();
            let file = state.names.find(path).and_then(|id| state.files.get(&id));
            file.is_some_and(|file| file.is_unreadable(0, u64::MAX / 2))
        };
        if unreadable {
            return Err(Errno::IO.into());
        }
        let bytes = self.live_bytes(path).ok_or(io::ErrorKind::NotFound)?;
        self.state.borrow_mut().ledger.trace(hash_bytes(&bytes));
        Ok(bytes)
    }

    async fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let content = hash_bytes(bytes);
        let length = bytes.len() as u64;
        let shape = Shape { bytes: length, content, ..Shape::on(CallKind::WriteFile, path) };
        let ticket = begin(&self.state, shape).await;
        let id = self.state.borrow_mut().start_write_file(&ticket, path, bytes);
        wait(&self.state, &ticket).await;
        self.state.borrow_mut().complete_write_file(ticket, id?, length)
    }
}
