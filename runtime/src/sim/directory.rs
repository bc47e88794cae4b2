//! Names of a simulated disk: what a lookup sees, what is durable, and the changes in between.
//!
//! A change is atomic, a rename between two directories included: a file never loses all of its names through one.
//! Directories themselves are durable when their creation returns.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use fastrand::Rng;

use super::crash::Mood;
use crate::Entry;

/// Number of a file, never used twice on one disk.
pub(super) type FileId = u64;

/// One change of names.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Insert { name: PathBuf, file: FileId },
    Remove { name: PathBuf, file: FileId },
    Rename { from: PathBuf, to: PathBuf, file: FileId },
    MakeDir { dir: PathBuf },
}

/// A change together with when it was called or completed.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// Number of the call.
    pub(super) call: u64,
    /// Moment at which it was completed, or called as long as it is in flight.
    pub(super) stamp: u64,
    pub(super) change: Change,
}

/// All names of a disk.
#[derive(Clone, Default)]
pub(super) struct Names {
    live: BTreeMap<PathBuf, FileId>,
    durable: BTreeMap<PathBuf, FileId>,
    dirs: BTreeSet<PathBuf>,
    /// Completed, not synced; in order of completion.
    unsynced: Vec<Pending>,
    in_flight: Vec<Pending>,
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, FileId>, dirs: &mut BTreeSet<PathBuf>) {
        match self {
            Self::Insert { name, file } => {
                names.insert(name.clone(), *file);
            }
            Self::Remove { name, file } => remove_if(names, name, *file),
            Self::Rename { from, to, file } => {
                remove_if(names, from, *file);
                names.insert(to.clone(), *file);
            }
            Self::MakeDir { dir } => dirs.extend(dir.ancestors().map(Path::to_path_buf)),
        }
    }

    /// The name that the change is about; its directory orders it among others.
    fn target(&self) -> &Path {
        match self {
            Self::Insert { name, .. } | Self::Remove { name, .. } => name,
            Self::Rename { to, .. } => to,
            Self::MakeDir { dir } => dir,
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        let source = if let Self::Rename { from, .. } = self { from } else { self.target() };
        parent(self.target()) == dir || parent(source) == dir
    }

    fn file(&self) -> Option<FileId> {
        match self {
            Self::Insert { file, .. } | Self::Remove { file, .. } | Self::Rename { file, .. } => {
                Some(*file)
            }
            Self::MakeDir { .. } => None,
        }
    }
}

impl Names {
    /// The file that a lookup of `path` finds.
    pub(super) fn find(&self, path: &Path) -> Option<FileId> {
        self.live.get(path).copied()
    }

    /// The file that `path` is sure to name after a crash, unless an unsynced change survives.
    pub(super) fn find_durable(&self, path: &Path) -> Option<FileId> {
        self.durable.get(path).copied()
    }

    /// All names that a lookup finds, sorted.
    pub(super) fn live(&self) -> &BTreeMap<PathBuf, FileId> {
        &self.live
    }

    /// All durable names, sorted.
    pub(super) fn durable(&self) -> &BTreeMap<PathBuf, FileId> {
        &self.durable
    }

    /// Whether `dir` exists. The root and the working directory always do.
    pub(super) fn is_dir(&self, dir: &Path) -> bool {
        dir == Path::new("") || dir == Path::new("/") || self.dirs.contains(dir)
    }

    /// The names in `dir`, sorted; `bytes_of` tells a file's length.
    pub(super) fn list(&self, dir: &Path, bytes_of: impl Fn(FileId) -> u64) -> Vec<Entry> {
        let below = |path: &&PathBuf| path.starts_with(dir);
        let files = self.live.range(dir.to_path_buf()..).take_while(|(path, _)| below(path));
        let files = files.filter(|(path, _)| parent(path) == dir && path.as_path() != dir);
        let mut entries: Vec<Entry> = files
            .map(|(path, file)| Entry { name: name(path), bytes: bytes_of(*file), is_dir: false })
            .collect();
        let dirs = self.dirs.range(dir.to_path_buf()..).take_while(below);
        let dirs = dirs.filter(|path| parent(path) == dir && path.as_path() != dir);
        entries.extend(dirs.map(|path| Entry { name: name(path), bytes: 0, is_dir: true }));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// Notes a change that was called and may already reach the disk.
    pub(super) fn start(&mut self, call: u64, stamp: u64, change: Change) {
        self.in_flight.push(Pending { call, stamp, change });
    }

    /// Forgets the change of a call that failed.
    pub(super) fn abort(&mut self, call: u64) {
        self.in_flight.retain(|pending| pending.call != call);
    }

    /// Lets lookups see the change of `call`. A new directory is durable at once, the rest after [`Names::sync`].
    pub(super) fn complete(&mut self, call: u64, stamp: u64) {
        let Some(index) = self.in_flight.iter().position(|pending| pending.call == call) else {
            return;
        };
        let pending = Pending { stamp, ..self.in_flight.remove(index) };
        pending.change.apply(&mut self.live, &mut self.dirs);
        if !matches!(pending.change, Change::MakeDir { .. }) {
            self.unsynced.push(pending);
        }
    }

    /// Makes the changes in `dir` durable that were completed before the moment `called`.
    pub(super) fn sync(&mut self, dir: &Path, called: u64) {
        let Self { unsynced, durable, dirs, .. } = self;
        unsynced.retain(|pending| {
            let covered = pending.stamp < called && pending.change.is_in(dir);
            if covered {
                pending.change.apply(durable, dirs);
            }
            !covered
        });
    }

    /// Moments of all changes that a crash decides about.
    pub(super) fn undecided(&self) -> impl Iterator<Item = u64> {
        self.unsynced.iter().chain(&self.in_flight).map(|pending| pending.stamp)
    }

    /// Whether any name, durable or not, still leads to `file`.
    pub(super) fn mentions(&self, file: FileId) -> bool {
        let mut pending = self.unsynced.iter().chain(&self.in_flight);
        self.live.values().any(|id| *id == file)
            || self.durable.values().any(|id| *id == file)
            || pending.any(|pending| pending.change.file() == Some(file))
    }

    fn pending_in(&self, dir: &Path) -> usize {
        let pending = self.unsynced.iter().chain(&self.in_flight);
        pending.filter(|pending| parent(pending.change.target()) == dir).count()
    }

    /// The names that a boot after a crash finds: the durable ones plus the surviving changes, in order.
    pub(super) fn after_crash(&self, mood: &Mood, rng: &mut Rng) -> Self {
        let mut names = self.durable.clone();
        let mut dirs = self.dirs.clone();
        let mut cuts: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for pending in self.unsynced.iter().chain(&self.in_flight) {
            let dir = parent(pending.change.target()).to_path_buf();
            let left =
                cuts.entry(dir).or_insert_with_key(|dir| rng.usize(0..=self.pending_in(dir)));
            let within_prefix = *left > 0;
            *left = left.saturating_sub(1);
            if mood.change_survives(pending.stamp, within_prefix, rng) {
                pending.change.apply(&mut names, &mut dirs);
            }
        }
        Self { live: names.clone(), durable: names, dirs, ..Self::default() }
    }
}

/// Directory of a path; the root and the empty path are their own.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn remove_if(names: &mut BTreeMap<PathBuf, FileId>, name: &Path, file: FileId) {
    if names.get(name) == Some(&file) {
        names.remove(name);
    }
}
