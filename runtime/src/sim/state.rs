//! Everything that a simulated disk is at one moment, and the steps that change names and files together.
//!
//! A call that changes something has two steps: `start` notes what may already reach the disk, `complete` (or `settle`)
//! lets others see it. A crash in between decides about what was noted.

use std::{collections::BTreeMap, io, path::Path};

use fastrand::Rng;
use rustix::io::Errno;

use super::{
    SimClock,
    calls::{Ledger, Ticket},
    content::Content,
    directory::{Change, FileId, Names, parent},
    faults::Faults,
    file::FileState,
};

pub(super) struct State {
    pub(super) rng: Rng,
    pub(super) clock: SimClock,
    pub(super) ledger: Ledger,
    pub(super) faults: Faults,
    pub(super) names: Names,
    pub(super) files: BTreeMap<FileId, FileState>,
    pub(super) next_file: FileId,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            clock: SimClock::default(),
            ledger: Ledger::default(),
            faults: Faults::default(),
            names: Names::default(),
            files: BTreeMap::new(),
            next_file: 1,
        }
    }

    pub(super) fn fork(&self) -> Self {
        Self {
            rng: self.rng.clone(),
            clock: self.clock.fork(),
            ledger: self.ledger.clone(),
            faults: self.faults.clone(),
            names: self.names.clone(),
            files: self.files.clone(),
            next_file: self.next_file,
        }
    }

    /// A file that something still refers to.
    pub(super) fn file(&mut self, id: FileId) -> &mut FileState {
        self.files.get_mut(&id).expect("referred to, so not collected")
    }

    pub(super) fn file_and_rng(&mut self, id: FileId) -> (&mut FileState, &mut Rng) {
        let file = self.files.get_mut(&id).expect("referred to, so not collected");
        (file, &mut self.rng)
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let named = self.names.live().values().filter_map(|id| self.files.get(id));
        let named: u64 = named.filter(|file| !file.is_open()).map(|f| f.live().bytes()).sum();
        let open = self.files.values().filter(|file| file.is_open());
        named + open.map(|file| file.live().bytes()).sum::<u64>()
    }

    /// Forgets a file that neither a name, durable or not, nor a handle leads to.
    pub(super) fn collect(&mut self, id: FileId) {
        let unused = self.files.get(&id).is_some_and(|file| !file.is_open());
        if unused && !self.names.mentions(id) {
            self.files.remove(&id);
        }
    }

    fn add_file(&mut self, file: FileState) -> FileId {
        let id = self.next_file;
        self.next_file += 1;
        self.files.insert(id, file);
        id
    }

    pub(super) fn bytes_of(&self, id: FileId) -> u64 {
        self.files.get(&id).map_or(0, |file| file.live().bytes())
    }

    /// Whether `bytes` more fit.
    fn has_room(&self, bytes: u64) -> bool {
        self.used_bytes().saturating_add(bytes) <= self.faults.capacity_bytes
    }

    /// Notes the change of names that a call is about to make.
    pub(super) fn start(&mut self, ticket: &Ticket, change: Change) {
        self.names.start(ticket.number, ticket.called, change);
    }

    /// Lets lookups see the change of a call, or forgets it if the call fails.
    pub(super) fn settle(&mut self, ticket: Ticket, result: io::Result<()>) -> io::Result<()> {
        let result = ticket.fault.map_or(result, Err);
        match result {
            Ok(()) => {
                let stamp = self.ledger.moment();
                self.names.complete(ticket.number, stamp);
            }
            Err(_) => self.names.abort(ticket.number),
        }
        result
    }

    /// Why no new file can have this name.
    fn check_new(&self, path: &Path) -> io::Result<()> {
        if self.names.find(path).is_some() || self.names.is_dir(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.check_parent(path)
    }

    fn check_parent(&self, path: &Path) -> io::Result<()> {
        let exists = self.names.is_dir(parent(path));
        if exists { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Why nothing can be renamed to this name.
    pub(super) fn check_target(&self, to: &Path) -> io::Result<()> {
        if self.names.is_dir(to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.check_parent(to)
    }

    /// Forgets all files that nothing leads to any more.
    pub(super) fn collect_all(&mut self) {
        let Self { files, names, .. } = self;
        files.retain(|id, file| file.is_open() || names.mentions(*id));
    }

    /// A new file that has its name only in flight.
    pub(super) fn start_create(
        &mut self,
        ticket: &Ticket,
        path: &Path,
        bytes: u64,
    ) -> io::Result<FileId> {
        self.check_new(path)?;
        if !self.has_room(bytes) {
            return Err(Errno::NOSPC.into());
        }
        let id = self.add_file(FileState::zeros(bytes));
        self.start(ticket, Change::Insert { name: path.into(), file: id });
        Ok(id)
    }

    /// Gives the new file its name; another one may have taken the name or the space meanwhile.
    pub(super) fn complete_create(
        &mut self,
        ticket: Ticket,
        path: &Path,
        id: FileId,
    ) -> io::Result<FileId> {
        let mut result = self.check_new(path);
        if result.is_ok() && !self.has_room(self.bytes_of(id)) {
            result = Err(Errno::NOSPC.into());
        }
        let result = self.settle(ticket, result);
        self.collect(id);
        result.map(|()| id)
    }

    /// The file that `write_file` fills: the one of this name, or a new one with its name in flight.
    pub(super) fn start_write_file(
        &mut self,
        ticket: &Ticket,
        path: &Path,
        bytes: &[u8],
    ) -> io::Result<FileId> {
        self.check_target(path)?;
        let id = match self.names.find(path) {
            Some(id) => id,
            None => {
                let id = self.add_file(FileState::default());
                self.start(ticket, Change::Insert { name: path.into(), file: id });
                id
            }
        };
        self.file(id).start_rewrite(ticket, Content::from_bytes(bytes));
        Ok(id)
    }

    /// Ends `write_file`. A failure leaves the name and a first part of the content, as a real disk does.
    pub(super) fn complete_write_file(
        &mut self,
        ticket: Ticket,
        id: FileId,
        bytes: u64,
    ) -> io::Result<()> {
        let replaced = self.files.get(&id).map_or(0, |file| file.live().bytes());
        let fits = self.has_room(bytes.saturating_sub(replaced));
        let fault = ticket.fault.or_else(|| (!fits).then(|| Errno::NOSPC.into()));
        let synced = !self.faults.lies.about_syncs();
        let stamp = self.ledger.moment();
        self.names.complete(ticket.number, stamp);
        if let Some(file) = self.files.get_mut(&id) {
            file.complete_rewrite(ticket.number, fault.is_none(), synced, &mut self.rng);
        }
        fault.map_or(Ok(()), Err)
    }
}
