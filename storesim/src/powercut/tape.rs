//! What a disk was asked to do, in order: when each call began, when it ended, and what was promised meanwhile.
//!
//! Files have numbers here, because a write goes to a file and not to whatever has its name by then. Reads are not
//! written down: they change nothing. Contents are shared with whoever looks at the tape.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    rc::Rc,
};

/// Number of a file, in the order in which they came into being.
pub(super) type FileId = usize;

/// A call that changes what is on the disk or makes it durable.
pub(super) enum Call {
    /// A new file that reads as `bytes` zeros.
    Create { file: FileId, path: PathBuf, bytes: u64 },
    /// Bytes at a position of a file.
    Write { file: FileId, position: u64, content: Rc<[u8]> },
    /// Bytes at a position of a file, durable when the call ends.
    WriteDurably { file: FileId, position: u64, content: Rc<[u8]> },
    /// `fdatasync` of a file.
    Sync { file: FileId },
    /// A new name, over whatever had it.
    Rename { from: PathBuf, to: PathBuf },
    /// A name goes.
    Remove { path: PathBuf },
    /// The names of a directory become durable.
    SyncDir { dir: PathBuf },
    /// The whole content of a small file, synced when the call ends. `new`: its name is, too.
    WriteFile { file: FileId, path: PathBuf, new: bool, content: Rc<[u8]> },
}

impl Call {
    /// Hashes what it does, wherever the directory is that it is done in.
    fn hash(&self, hasher: &mut DefaultHasher) {
        std::mem::discriminant(self).hash(hasher);
        match self {
            Call::Create { file, path, bytes } => (file, path.file_name(), bytes).hash(hasher),
            Call::Write { file, position, content }
            | Call::WriteDurably { file, position, content } => {
                (file, position, content).hash(hasher);
            }
            Call::Sync { file } => file.hash(hasher),
            Call::Rename { from, to } => (from.file_name(), to.file_name()).hash(hasher),
            Call::Remove { path } => path.file_name().hash(hasher),
            Call::SyncDir { dir } => dir.file_name().hash(hasher),
            Call::WriteFile { file, path, new, content } => {
                (file, path.file_name(), new, content).hash(hasher);
            }
        }
    }

    /// Whether its end makes something durable.
    pub(super) fn is_sync(&self) -> bool {
        let durable_bytes = matches!(self, Call::WriteDurably { .. } | Call::WriteFile { .. });
        durable_bytes || matches!(self, Call::Sync { .. } | Call::SyncDir { .. })
    }
}

/// One line of the tape.
pub(super) enum Moment {
    /// A call went to the disk.
    Begun(Call),
    /// The call that began at `begun` returned.
    Ended { begun: usize, ok: bool },
}

impl Moment {
    /// Whether a call begins that makes a name, moves it or makes it durable.
    pub(super) fn changes_names(&self) -> bool {
        let Moment::Begun(call) = self else { return false };
        !matches!(call, Call::Write { .. } | Call::WriteDurably { .. } | Call::Sync { .. })
    }
}

/// What the store had promised just before a moment.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Everything in the log before this position survives a power cut.
    pub(super) promised: u64,
    /// Entries appended so far.
    pub(super) items: usize,
}

/// The tape.
pub(super) struct Tape {
    pub(super) moments: Vec<Moment>,
    /// One per moment.
    pub(super) marks: Vec<Mark>,
    names: BTreeMap<PathBuf, FileId>,
    files: usize,
}

impl Tape {
    /// An empty tape of a disk with these files, numbered in this order.
    pub(super) fn new<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Tape {
        let names: BTreeMap<_, _> =
            files.cloned().enumerate().map(|(id, path)| (path, id)).collect();
        Tape { moments: Vec::new(), marks: Vec::new(), files: names.len(), names }
    }

    /// The file that has the name now.
    pub(super) fn file(&self, path: &Path) -> Option<FileId> {
        self.names.get(path).copied()
    }

    /// A number for a file that is about to come into being.
    pub(super) fn next_file(&mut self) -> FileId {
        self.files += 1;
        self.files - 1
    }

    /// A call begins. Returns the moment.
    pub(super) fn begin(&mut self, call: Call, mark: Mark) -> usize {
        self.moments.push(Moment::Begun(call));
        self.marks.push(mark);
        self.moments.len() - 1
    }

    /// The call that began at `begun` returned.
    pub(super) fn end(&mut self, begun: usize, ok: bool, mark: Mark) {
        if ok {
            self.rename(begun);
        }
        self.moments.push(Moment::Ended { begun, ok });
        self.marks.push(mark);
    }

    fn rename(&mut self, begun: usize) {
        let Moment::Begun(call) = &self.moments[begun] else { unreachable!("only a call ends") };
        match call {
            Call::Create { file, path, .. } | Call::WriteFile { file, path, .. } => {
                self.names.insert(path.clone(), *file);
            }
            Call::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Call::Remove { path } => {
                self.names.remove(path);
            }
            Call::Write { .. }
            | Call::WriteDurably { .. }
            | Call::Sync { .. }
            | Call::SyncDir { .. } => {}
        }
    }

    /// Files that came into being.
    pub(super) fn creations(&self) -> usize {
        let is_creation = |moment: &&Moment| matches!(moment, Moment::Begun(Call::Create { .. }));
        self.moments.iter().filter(is_creation).count()
    }

    /// Hash of all moments: the same for one seed, unless something depends on the machine's pace.
    pub(super) fn trace(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for moment in &self.moments {
            match moment {
                Moment::Begun(call) => call.hash(&mut hasher),
                Moment::Ended { begun, ok } => (begun, ok).hash(&mut hasher),
            }
        }
        hasher.finish()
    }
}
