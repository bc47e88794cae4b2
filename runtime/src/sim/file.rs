//! One simulated file: what readers see, what is durable, and the writes in between; and its open handle.
//!
//! A write is visible when its call returns and durable when a later sync returns; a durable write is both, and makes
//! nothing else durable. Until its call returns a read may already see some of its sectors, and a crash may keep some of
//! them.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use fastrand::Rng;
use rustix::io::Errno;

use super::{
    SimBuf,
    calls::{CallKind, Shape, Ticket, begin, hash_bytes, wait},
    content::{BLOCK_BYTES_U64, Content, Patch, SECTOR_BYTES, Survival},
    crash::Mood,
    directory::FileId,
    state::State,
};
use crate::{BLOCK_BYTES, DiskFile};

/// A file, with or without a name.
#[derive(Clone, Default)]
pub(super) struct FileState {
    live: Content,
    durable: Content,
    /// The length was never synced: after a crash any shorter one is possible.
    length_unsynced: bool,
    /// Completed, not synced; in order of completion.
    unsynced: Vec<Patch>,
    in_flight: Vec<Patch>,
    /// Whole contents on their way by `write_file`, or stuck there because it failed, with call and moment.
    rewrites: Vec<(u64, u64, Content)>,
    /// Blocks that cannot be read, until they are written.
    unreadable: BTreeSet<u64>,
    /// Those that a power cut would leave so: what was written over them since is not durable yet.
    unreadable_durably: BTreeSet<u64>,
    /// Open handles.
    handles: u32,
}

impl FileState {
    /// A new file of zeros.
    pub(super) fn zeros(bytes: u64) -> Self {
        let live = Content::zeros(bytes);
        Self { durable: live.clone(), live, length_unsynced: true, ..Self::default() }
    }

    /// What readers see.
    pub(super) fn live(&self) -> &Content {
        &self.live
    }

    /// What is sure to survive a crash; a length that was never synced counts as 0.
    pub(super) fn durable_bytes(&self) -> Vec<u8> {
        if self.length_unsynced { Vec::new() } else { self.durable.to_vec() }
    }

    /// Writes that no sync has covered yet, those in flight included.
    pub(super) fn unsynced_count(&self) -> usize {
        self.unsynced.len() + self.in_flight.len() + self.rewrites.len()
    }

    /// Whether a handle is open.
    pub(super) fn is_open(&self) -> bool {
        self.handles > 0
    }

    /// Moments of all writes that a crash decides about.
    pub(super) fn undecided(&self) -> impl Iterator<Item = u64> {
        let patches = self.unsynced.iter().chain(&self.in_flight).map(|patch| patch.stamp);
        patches.chain(self.rewrites.iter().map(|(_, stamp, _)| *stamp))
    }

    pub(super) fn flip_bit(&mut self, byte: u64, bit: u8) -> bool {
        self.durable.flip_bit(byte, bit);
        self.live.flip_bit(byte, bit)
    }

    /// From now on the block that holds this byte cannot be read, until it is written. False when the byte is behind the
    /// end.
    pub(super) fn spoil_block(&mut self, byte: u64) -> bool {
        if byte >= self.live.bytes() {
            return false;
        }
        self.unreadable.insert(byte / BLOCK_BYTES_U64);
        self.unreadable_durably.insert(byte / BLOCK_BYTES_U64);
        true
    }

    /// Whether one of these bytes cannot be read.
    pub(super) fn is_unreadable(&self, position: u64, bytes: u64) -> bool {
        let blocks = position / BLOCK_BYTES_U64..(position + bytes).div_ceil(BLOCK_BYTES_U64);
        self.unreadable.range(blocks).next().is_some()
    }

    /// What readers see, with zeros for what they cannot read.
    pub(super) fn readable_bytes(&self) -> Vec<u8> {
        let mut bytes = self.live.to_vec();
        for block in &self.unreadable {
            let from = (*block as usize * BLOCK_BYTES).min(bytes.len());
            let to = (from + BLOCK_BYTES).min(bytes.len());
            bytes[from..to].fill(0);
        }
        bytes
    }

    /// Ends a write: readers see it, or on failure some of its sectors.
    fn complete_write(&mut self, ticket: &Ticket, stamp: u64, rng: &mut Rng) {
        let found = self.in_flight.iter().position(|patch| patch.call == ticket.number);
        let Some(index) = found else { return };
        let mut patch = self.in_flight.remove(index);
        if ticket.fault.is_some() {
            patch = patch.torn_over(&self.live, SECTOR_BYTES, rng);
        }
        patch.stamp = stamp;
        self.live.apply(&patch);
        if ticket.fault.is_none() {
            self.unreadable.retain(|block| !patch.block_indexes().any(|own| own == *block));
        }
        self.unsynced.push(patch);
    }

    /// Ends a durable write: these bytes are durable, whatever becomes of others.
    fn complete_durable_write(&mut self, call: u64) {
        let found = self.in_flight.iter().position(|patch| patch.call == call);
        let Some(index) = found else { return };
        let patch = self.in_flight.remove(index);
        self.live.apply(&patch);
        self.durable.apply(&patch);
        for unreadable in [&mut self.unreadable, &mut self.unreadable_durably] {
            unreadable.retain(|block| !patch.block_indexes().any(|own| own == *block));
        }
        // What is older must not come back over it.
        self.unsynced.iter_mut().for_each(|old| old.yield_to(&patch));
    }

    /// Makes durable what was completed before the moment `called`.
    fn complete_sync(&mut self, called: u64) {
        self.length_unsynced = false;
        let mut later = Vec::new();
        for patch in std::mem::take(&mut self.unsynced) {
            if patch.stamp > called || patch.abandoned {
                later.push(patch);
                continue;
            }
            self.durable.apply(&patch);
            let still = &self.unreadable;
            self.unreadable_durably.retain(|block| {
                still.contains(block) || !patch.block_indexes().any(|own| own == *block)
            });
            // What is given up must not come back over what is durable now.
            later.iter_mut().filter(|p| p.abandoned).for_each(|old| old.yield_to(&patch));
        }
        self.unsynced = later;
    }

    /// A failed sync: as on Linux, the next one may report success without these writes.
    fn fail_sync(&mut self, called: u64, rng: &mut Rng) {
        for patch in self.unsynced.iter_mut().filter(|patch| patch.stamp < called) {
            patch.abandoned |= rng.bool();
        }
    }

    /// Notes new content that was called for.
    pub(super) fn start_rewrite(&mut self, ticket: &Ticket, content: Content) {
        self.rewrites.push((ticket.number, ticket.called, content));
    }

    /// Ends a `write_file`. On failure readers see the first part of the new content and a crash still decides. A
    /// success without `synced` leaves the decision to a crash, too.
    pub(super) fn complete_rewrite(
        &mut self,
        call: u64,
        succeeded: bool,
        synced: bool,
        rng: &mut Rng,
    ) {
        let found = self.rewrites.iter().position(|(number, ..)| *number == call);
        let Some(index) = found else { return };
        self.live = self.rewrites[index].2.clone();
        self.unsynced.clear();
        self.unreadable.clear();
        self.unreadable_durably.clear();
        if !succeeded {
            self.live.truncate(rng.u64(0..=self.live.bytes()));
        } else if synced {
            self.durable = self.live.clone();
            self.length_unsynced = false;
            self.rewrites.retain(|(number, ..)| *number > call);
        }
    }

    /// Adds sectors of writes in flight to what a reader at `position` got.
    fn blur(&self, position: u64, out: &mut [u8], rng: &mut Rng) {
        if self.in_flight.is_empty() {
            return;
        }
        let mut blurred = self.live.clone();
        for patch in &self.in_flight {
            blurred.apply_surviving(patch, Survival::any(rng), rng);
        }
        blurred.read(position, out);
    }

    /// The file that the next boot finds.
    pub(super) fn after_crash(&self, mood: Mood, rng: &mut Rng) -> Self {
        let mut content = self.durable.clone();
        let mut unreadable = self.unreadable_durably.clone();
        let mut patches: Vec<&Patch> = self.unsynced.iter().chain(&self.in_flight).collect();
        if mood == Mood::Scattered {
            rng.shuffle(&mut patches);
        }
        for patch in patches {
            let fate = mood.fate(patch.stamp, rng);
            if fate == Survival::Whole {
                unreadable.retain(|block| !patch.block_indexes().any(|own| own == *block));
            }
            content.apply_surviving(patch, fate, rng);
        }
        if self.length_unsynced {
            content.truncate(surviving_length(content.bytes(), mood, rng));
        }
        for (_, stamp, new) in &self.rewrites {
            match mood.fate(*stamp, rng) {
                Survival::Lost => {}
                Survival::Whole => content = new.clone(),
                Survival::Torn(SECTOR_BYTES) => content = new.with_holes(rng),
                Survival::Torn(_) => {
                    content = new.clone();
                    content.truncate(rng.u64(0..=new.bytes()));
                }
            }
        }
        let unreadable_durably = unreadable.clone();
        Self {
            live: content.clone(),
            durable: content,
            unreadable,
            unreadable_durably,
            ..Self::default()
        }
    }
}

fn surviving_length(bytes: u64, mood: Mood, rng: &mut Rng) -> u64 {
    match mood.fate(0, rng) {
        Survival::Lost => 0,
        Survival::Whole => bytes,
        Survival::Torn(_) => rng.u64(0..=bytes / BLOCK_BYTES_U64) * BLOCK_BYTES_U64,
    }
}

/// An open file of a [`super::SimDisk`].
pub struct SimFile {
    state: Rc<RefCell<State>>,
    id: FileId,
    path: PathBuf,
    bytes: u64,
    writable: bool,
}

impl SimFile {
    pub(super) fn open(
        state: &Rc<RefCell<State>>,
        id: FileId,
        path: &Path,
        writable: bool,
    ) -> Self {
        let bytes = {
            let mut state = state.borrow_mut();
            let file = state.file(id);
            file.handles += 1;
            file.live.bytes()
        };
        Self { state: state.clone(), id, path: path.to_path_buf(), bytes, writable }
    }

    async fn begin(&self, kind: CallKind, position: u64, bytes: u64, content: u64) -> Ticket {
        begin(&self.state, Shape { kind, path: &self.path, position, bytes, content }).await
    }

    /// The first half of a write: until it returns, some of its sectors may be seen or kept.
    async fn write(&self, kind: CallKind, buf: &SimBuf, position: u64) -> io::Result<Ticket> {
        let bytes = buf.as_ref();
        assert_aligned(position, bytes.len());
        let ticket = self.begin(kind, position, bytes.len() as u64, hash_bytes(bytes)).await;
        let refusal = self.refusal(position, bytes.len());
        if refusal.is_none() {
            let patch = Patch::new(ticket.number, ticket.called, position, bytes);
            self.state.borrow_mut().file(self.id).in_flight.push(patch);
        }
        wait(&self.state, &ticket).await;
        refusal.map_or(Ok(ticket), Err)
    }

    /// What a write past the end or through a read-only handle ends with. A real disk would grow the file, whose
    /// length would then not be durable by `fdatasync` alone; no caller wants that.
    fn refusal(&self, position: u64, bytes: usize) -> Option<io::Error> {
        if !self.writable {
            return Some(Errno::BADF.into());
        }
        let end = position.saturating_add(bytes as u64);
        let live_bytes = self.state.borrow().files.get(&self.id).map_or(0, |f| f.live.bytes());
        if end > live_bytes {
            let what = format!("write to {end} behind the end {live_bytes} of {:?}", self.path);
            return Some(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        None
    }
}

impl DiskFile for SimFile {
    type Buf = SimBuf;

    async fn write_at(&self, buf: SimBuf, position: u64) -> io::Result<()> {
        let ticket = self.write(CallKind::Write, &buf, position).await?;
        let mut state = self.state.borrow_mut();
        let stamp = state.ledger.moment();
        let (file, rng) = state.file_and_rng(self.id);
        file.complete_write(&ticket, stamp, rng);
        ticket.fault.map_or(Ok(()), Err)
    }

    async fn write_durably(&self, buf: SimBuf, position: u64) -> io::Result<()> {
        let ticket = self.write(CallKind::WriteDurably, &buf, position).await?;
        let mut state = self.state.borrow_mut();
        let honest = !state.faults.lies.about_syncs();
        let stamp = state.ledger.moment();
        let (file, rng) = state.file_and_rng(self.id);
        if honest && ticket.fault.is_none() {
            file.complete_durable_write(ticket.number);
        } else {
            file.complete_write(&ticket, stamp, rng);
        }
        ticket.fault.map_or(Ok(()), Err)
    }

    async fn sync(&self) -> io::Result<()> {
        let ticket = self.begin(CallKind::Sync, 0, 0, 0).await;
        wait(&self.state, &ticket).await;
        let mut state = self.state.borrow_mut();
        let honest = !state.faults.lies.about_syncs();
        let (file, rng) = state.file_and_rng(self.id);
        match ticket.fault {
            Some(fault) => {
                file.fail_sync(ticket.called, rng);
                return Err(fault);
            }
            None if honest => file.complete_sync(ticket.called),
            None => {}
        }
        Ok(())
    }

    async fn read_at(&self, position: u64, bytes: usize) -> io::Result<SimBuf> {
        assert_aligned(position, bytes);
        let ticket = self.begin(CallKind::Read, position, bytes as u64, 0).await;
        wait(&self.state, &ticket).await;
        if let Some(fault) = ticket.fault {
            return Err(fault);
        }
        let mut buf = SimBuf::new(bytes);
        let mut state = self.state.borrow_mut();
        let (file, rng) = state.file_and_rng(self.id);
        if position.saturating_add(bytes as u64) > file.live.bytes() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if file.is_unreadable(position, bytes as u64) {
            return Err(Errno::IO.into());
        }
        file.live.read(position, buf.as_mut());
        file.blur(position, buf.as_mut(), rng);
        state.ledger.trace(hash_bytes(buf.as_ref()));
        Ok(buf)
    }

    fn len(&self) -> u64 {
        self.bytes
    }

    async fn close(self) -> io::Result<()> {
        let ticket = self.begin(CallKind::Close, 0, 0, 0).await;
        wait(&self.state, &ticket).await;
        Ok(())
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.try_borrow_mut() {
            state.file(self.id).handles -= 1;
            state.collect(self.id);
        }
    }
}

fn assert_aligned(position: u64, bytes: usize) {
    assert!(position.is_multiple_of(BLOCK_BYTES_U64), "position {position} is not aligned");
    assert!(bytes.is_multiple_of(BLOCK_BYTES), "length {bytes} is not aligned");
    assert!(bytes > 0, "an empty transfer");
}
