//! Injected faults: calls that fail, a disk that is full, slow or lies, and bits that rot.
//!
//! All counts are from now on: `fail_write(1, ..)` hits the next write. What a failed call leaves behind is decided by
//! the seed: a failed write may have reached some sectors, a failed sync may have given up what it covered for good.

use std::{collections::BTreeMap, io, path::Path};

use super::SimDisk;

/// Calls that fail together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultClass {
    /// `read_at`, `read_file`.
    Read,
    /// `write_at`, `write_file`.
    Write,
    /// `sync`, `sync_dir`.
    Sync,
    /// Creating, removing and renaming.
    Name,
}

/// Which syncs return success without doing anything. Only for showing that a simulation would notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lies {
    /// An honest disk.
    #[default]
    None,
    /// `DiskFile::sync` and the sync within `write_file` do nothing.
    Syncs,
    /// `Disk::sync_dir` does nothing.
    DirectorySyncs,
    /// Both.
    All,
}

impl Lies {
    pub(super) fn about_syncs(self) -> bool {
        matches!(self, Self::Syncs | Self::All)
    }

    pub(super) fn about_directory_syncs(self) -> bool {
        matches!(self, Self::DirectorySyncs | Self::All)
    }
}

/// The faults to come.
#[derive(Clone)]
pub(super) struct Faults {
    /// Calls of each class so far.
    seen: BTreeMap<FaultClass, u64>,
    /// The calls of a class, by number, that will fail.
    planned: BTreeMap<(FaultClass, u64), io::ErrorKind>,
    /// Classes of which every call fails.
    broken: BTreeMap<FaultClass, io::ErrorKind>,
    /// Bytes that all files together may have.
    pub(super) capacity_bytes: u64,
    /// Latencies are multiplied by this; at least 1.
    pub(super) slow_factor: u32,
    pub(super) lies: Lies,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            seen: BTreeMap::new(),
            planned: BTreeMap::new(),
            broken: BTreeMap::new(),
            capacity_bytes: u64::MAX,
            slow_factor: 1,
            lies: Lies::None,
        }
    }
}

impl Faults {
    /// Counts a call of `class` and says whether it shall fail.
    pub(super) fn strike(&mut self, class: FaultClass, path: &Path) -> Option<io::Error> {
        let seen = self.seen.entry(class).or_default();
        *seen += 1;
        let planned = self.planned.remove(&(class, *seen));
        let kind = planned.or_else(|| self.broken.get(&class).copied())?;
        let what = format!("simulated fault: {class:?} number {seen} on {}", path.display());
        Some(io::Error::new(kind, what))
    }

    fn plan(&mut self, class: FaultClass, nth: u64, kind: io::ErrorKind) {
        assert!(nth >= 1, "the next call is number 1");
        let seen = self.seen.get(&class).copied().unwrap_or(0);
        self.planned.insert((class, seen + nth), kind);
    }
}

impl SimDisk {
    /// Lets the `nth` call of a class from now on (1 = the next) fail, once.
    pub fn fail(&self, class: FaultClass, nth: u64, kind: io::ErrorKind) {
        self.state.borrow_mut().faults.plan(class, nth, kind);
    }

    /// Lets the `nth` `read_at` or `read_file` from now on fail, once.
    pub fn fail_read(&self, nth: u64, kind: io::ErrorKind) {
        self.fail(FaultClass::Read, nth, kind);
    }

    /// Lets the `nth` `write_at` or `write_file` from now on fail, once. Some of its sectors may be written.
    pub fn fail_write(&self, nth: u64, kind: io::ErrorKind) {
        self.fail(FaultClass::Write, nth, kind);
    }

    /// Lets the `nth` `sync` or `sync_dir` from now on fail, once. No later sync is sure to make up for it.
    pub fn fail_sync(&self, nth: u64, kind: io::ErrorKind) {
        self.fail(FaultClass::Sync, nth, kind);
    }

    /// Lets every call of a class fail until [`SimDisk::heal`].
    pub fn fail_always(&self, class: FaultClass, kind: io::ErrorKind) {
        self.state.borrow_mut().faults.broken.insert(class, kind);
    }

    /// Forgets all faults to come, the limit of space, slowness and lies. Damage that was done stays.
    pub fn heal(&self) {
        let mut state = self.state.borrow_mut();
        let seen = std::mem::take(&mut state.faults.seen);
        state.faults = Faults { seen, ..Faults::default() };
    }

    /// The disk takes `bytes` more and is full then: creating a file or writing one with `write_file` ends with
    /// `ENOSPC`. Writing into an existing file needs no space. Removed files give theirs back.
    pub fn full_after(&self, bytes: u64) {
        let mut state = self.state.borrow_mut();
        state.faults.capacity_bytes = state.used_bytes().saturating_add(bytes);
    }

    /// Bytes of all files that have a name or are open.
    pub fn used_bytes(&self) -> u64 {
        self.state.borrow().used_bytes()
    }

    /// Bytes that the disk still takes; `u64::MAX` less the used ones without [`SimDisk::full_after`].
    pub fn free_bytes(&self) -> u64 {
        let state = self.state.borrow();
        state.faults.capacity_bytes.saturating_sub(state.used_bytes())
    }

    /// Multiplies the latencies, and the yields of each call, by `factor` (at least 1).
    pub fn slow_down(&self, factor: u32) {
        assert!(factor >= 1);
        self.state.borrow_mut().faults.slow_factor = factor;
    }

    /// Lets syncs return success without doing anything. Stays with the disk, but not with [`SimDisk::after_crash`].
    pub fn lie(&self, lies: Lies) {
        self.state.borrow_mut().faults.lies = lies;
    }

    /// Inverts bit `bit` (0 to 7) of the byte at `byte`, on the medium: readers see it and it survives crashes. False
    /// when there is no such file or byte.
    pub fn flip_bit(&self, path: &Path, byte: u64, bit: u8) -> bool {
        let mut state = self.state.borrow_mut();
        let Some(id) = state.names.find(path) else { return false };
        state.file(id).flip_bit(byte, bit)
    }

    /// Whether all of these bytes of a file can be read; what is behind its end counts as if.
    pub fn can_read(&self, path: &Path, position: u64, bytes: u64) -> bool {
        let state = self.state.borrow();
        let file = state.names.find(path).and_then(|id| state.files.get(&id));
        file.is_none_or(|file| !file.is_unreadable(position, bytes))
    }

    /// From now on reads fail for ever (`EIO`) that touch the block which holds the byte at `byte`, also after crashes,
    /// until it is written: a device puts another sector in its place then. False when there is no such file or byte.
    pub fn spoil_block(&self, path: &Path, byte: u64) -> bool {
        let mut state = self.state.borrow_mut();
        let Some(id) = state.names.find(path) else { return false };
        state.file(id).spoil_block(byte)
    }
}
