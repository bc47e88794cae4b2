//! The disk's own view of a tape: what is durable after each moment, what is not, and the files that a power cut leaves.
//!
//! A sync covers the writes that had ended when it began, and counts from its own end; a durable write covers itself.
//! Names are covered by syncs of their directory alone, the length of a new file by its own sync. Written independently
//! of the simulated disk, so that a mistake in one model does not hide in the other.

use super::{
    fate::{Fate, Mood, torn},
    tape::{Call, FileId, Moment},
};
use fastrand::Rng;
use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    rc::Rc,
};

/// Files by name. Contents that did not change are shared from one image to the next.
pub(super) type Image = BTreeMap<PathBuf, Rc<Vec<u8>>>;

/// A write that no sync covered yet.
struct Unsynced {
    begun: usize,
    ended: Option<usize>,
    position: u64,
    content: Rc<[u8]>,
    /// It needs no sync, but lies over older writes that do.
    durable: bool,
}

struct Platter {
    /// What is durable, at the file's full length.
    bytes: Rc<Vec<u8>>,
    length_durable: bool,
    /// The call that made the file has returned.
    made: Option<usize>,
    unsynced: Vec<Unsynced>,
    /// New content of the whole file, on its way.
    rewriting: Option<Rc<[u8]>>,
}

/// A change of names that no sync of the directory covered yet.
struct Change {
    begun: usize,
    ended: Option<usize>,
    what: Naming,
}

#[derive(Clone)]
enum Naming {
    Link(PathBuf, FileId),
    Move(PathBuf, PathBuf, FileId),
    Unlink(PathBuf),
}

impl Naming {
    fn path(&self) -> &Path {
        match self {
            Naming::Link(path, _) | Naming::Move(_, path, _) | Naming::Unlink(path) => path,
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, FileId>) {
        match self {
            Naming::Link(path, file) => {
                names.insert(path.clone(), *file);
            }
            Naming::Move(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Naming::Unlink(path) => {
                names.remove(path);
            }
        }
    }
}

/// The disk after some moments of a tape.
pub(super) struct Medium {
    files: BTreeMap<FileId, Platter>,
    /// Durable names.
    names: BTreeMap<PathBuf, FileId>,
    changes: Vec<Change>,
    moment: usize,
}

impl Medium {
    /// A disk that holds `image`, durably. Files are numbered in its order, as on a tape that starts with it.
    pub(super) fn new(image: &Image) -> Medium {
        let platter = |bytes: &Rc<Vec<u8>>| Platter {
            bytes: bytes.clone(),
            length_durable: true,
            made: Some(0),
            unsynced: Vec::new(),
            rewriting: None,
        };
        Medium {
            files: image.values().map(platter).enumerate().collect(),
            names: image.keys().cloned().enumerate().map(|(id, path)| (path, id)).collect(),
            changes: Vec::new(),
            moment: 0,
        }
    }

    /// Goes on to `moment`: all before have happened.
    pub(super) fn advance(&mut self, moments: &[Moment], moment: usize) {
        assert!(self.moment <= moment && moment <= moments.len());
        while self.moment < moment {
            match &moments[self.moment] {
                Moment::Begun(call) => self.begin(call),
                Moment::Ended { begun, ok } => {
                    let Moment::Begun(call) = &moments[*begun] else {
                        unreachable!("only a call ends")
                    };
                    self.end(call, *begun, *ok);
                }
            }
            self.moment += 1;
        }
    }

    fn begin(&mut self, call: &Call) {
        let begun = self.moment;
        match call {
            Call::Create { file, path, bytes } => {
                let bytes = usize::try_from(*bytes).expect("a file of a test fits into memory");
                self.files.insert(*file, Platter::empty(vec![0; bytes]));
                self.change(Naming::Link(path.clone(), *file));
            }
            Call::Write { file, position, content }
            | Call::WriteDurably { file, position, content } => {
                let (position, content) = (*position, content.clone());
                let write = Unsynced { begun, ended: None, position, content, durable: false };
                self.platter(*file).unsynced.push(write);
            }
            Call::Rename { from, to } => {
                if let Some(file) = self.live_names().get(from) {
                    self.change(Naming::Move(from.clone(), to.clone(), *file));
                }
            }
            Call::Remove { path } => self.change(Naming::Unlink(path.clone())),
            Call::WriteFile { file, path, new, content } => {
                if *new {
                    self.files.insert(*file, Platter::empty(Vec::new()));
                    self.change(Naming::Link(path.clone(), *file));
                }
                self.platter(*file).rewriting = Some(content.clone());
            }
            Call::Sync { .. } | Call::SyncDir { .. } => {}
        }
    }

    fn end(&mut self, call: &Call, begun: usize, ok: bool) {
        let ended = self.moment;
        let change = self.changes.iter_mut().find(|change| change.begun == begun);
        change.into_iter().for_each(|change| change.ended = Some(ended));
        if !ok {
            self.changes.retain(|change| change.begun != begun);
        }
        match call {
            Call::Create { file, .. } => self.platter(*file).made = Some(ended),
            Call::Write { file, .. } => {
                let mut writes = self.platter(*file).unsynced.iter_mut();
                writes.find(|write| write.begun == begun).expect("it began").ended = Some(ended);
            }
            Call::WriteDurably { file, .. } => self.platter(*file).end_durable(begun, ended, ok),
            Call::Sync { file } if ok => self.platter(*file).sync(begun),
            Call::SyncDir { dir } if ok => self.sync_dir(dir, begun),
            Call::WriteFile { file, content, .. } if ok => {
                let platter = self.platter(*file);
                platter.bytes = Rc::new(content.to_vec());
                (platter.rewriting, platter.length_durable) = (None, true);
            }
            _ => {}
        }
    }

    fn platter(&mut self, file: FileId) -> &mut Platter {
        self.files.get_mut(&file).expect("a file is made before it is used")
    }

    fn change(&mut self, what: Naming) {
        self.changes.push(Change { begun: self.moment, ended: None, what });
    }

    fn sync_dir(&mut self, dir: &Path, begun: usize) {
        let covered = |change: &Change| {
            change.what.path().parent() == Some(dir)
                && change.ended.is_some_and(|ended| ended < begun)
        };
        for change in self.changes.iter().filter(|change| covered(change)) {
            change.what.apply(&mut self.names);
        }
        self.changes.retain(|change| !covered(change));
    }

    fn live_names(&self) -> BTreeMap<PathBuf, FileId> {
        let mut names = self.names.clone();
        self.changes.iter().for_each(|change| change.what.apply(&mut names));
        names
    }

    /// The files as they are without a power cut. No call may be under way.
    pub(super) fn live(&self) -> Image {
        let mut rng = Rng::with_seed(0);
        self.files_of(&self.live_names(), Mood::Kept, &mut rng)
    }

    /// The files that a power cut leaves now.
    pub(super) fn after_cut(&self, rng: &mut Rng) -> Image {
        let undecided = self.undecided();
        let data = Mood::any(undecided.clone(), rng);
        // Mostly one disk with one mood; sometimes the journal of names fared differently from the data.
        let of_names = if rng.bool() { data } else { Mood::any(undecided, rng) };
        let mut names = self.names.clone();
        // With a journal, what came first survives first; without one there is no order.
        let journal = rng.bool();
        for change in &self.changes {
            if of_names.change(change.begun, rng) {
                change.what.apply(&mut names);
            } else if journal {
                break;
            }
        }
        self.files_of(&names, data, rng)
    }

    fn undecided(&self) -> Range<usize> {
        let writes = self.files.values().flat_map(|file| file.unsynced.iter());
        let begun = writes.filter(|write| !write.durable).map(|write| write.begun);
        let first = begun.chain(self.changes.iter().map(|change| change.begun)).min();
        first.unwrap_or(self.moment)..self.moment
    }

    fn files_of(&self, names: &BTreeMap<PathBuf, FileId>, mood: Mood, rng: &mut Rng) -> Image {
        let content = |file: &FileId, rng: &mut Rng| self.files[file].after_cut(mood, rng);
        names.iter().map(|(path, file)| (path.clone(), content(file, rng))).collect()
    }
}

impl Platter {
    fn empty(bytes: Vec<u8>) -> Platter {
        Platter {
            bytes: bytes.into(),
            length_durable: false,
            made: None,
            unsynced: Vec::new(),
            rewriting: None,
        }
    }

    /// A durable write that began at `begun` has ended.
    fn end_durable(&mut self, begun: usize, ended: usize, ok: bool) {
        let write = self.unsynced.iter_mut().find(|write| write.begun == begun).expect("it began");
        (write.ended, write.durable) = (Some(ended), ok);
        // What lies over nothing undecided is decided.
        let decided = self.unsynced.iter().take_while(|write| write.durable).count();
        for write in self.unsynced.drain(..decided) {
            let bytes = Rc::make_mut(&mut self.bytes);
            put(bytes, write.position, &write.content, 0..write.content.len());
        }
    }

    /// A sync that began at `begun` has ended.
    fn sync(&mut self, begun: usize) {
        let covered = |at: Option<usize>| at.is_some_and(|at| at < begun);
        self.length_durable |= covered(self.made);
        let (synced, left) =
            std::mem::take(&mut self.unsynced).into_iter().partition(|write| covered(write.ended));
        self.unsynced = left;
        let synced: Vec<Unsynced> = synced;
        let bytes = Rc::make_mut(&mut self.bytes);
        for write in &synced {
            put(bytes, write.position, &write.content, 0..write.content.len());
        }
    }

    fn after_cut(&self, mood: Mood, rng: &mut Rng) -> Rc<Vec<u8>> {
        if let Some(content) = &self.rewriting {
            let kept = rng.usize(0..=content.len());
            return match mood.write(0, None, rng) {
                Fate::Lost if rng.bool() => self.bytes.clone(),
                Fate::Lost => Rc::default(),
                Fate::Whole => Rc::new(content.to_vec()),
                Fate::Torn => Rc::new(content[..kept].to_vec()),
            };
        }
        if self.length_durable && self.unsynced.is_empty() {
            return self.bytes.clone();
        }
        let mut bytes = self.bytes.to_vec();
        for write in &self.unsynced {
            let all = write.content.len();
            if write.durable {
                put(&mut bytes, write.position, &write.content, 0..all);
                continue;
            }
            match mood.write(write.begun, write.ended, rng) {
                Fate::Lost => {}
                Fate::Whole => put(&mut bytes, write.position, &write.content, 0..all),
                Fate::Torn => {
                    for part in torn(all, rng) {
                        put(&mut bytes, write.position, &write.content, part);
                    }
                }
            }
        }
        if !self.length_durable {
            let length = mood.length(bytes.len() as u64, rng);
            bytes.truncate(usize::try_from(length).expect("not longer than it was"));
        }
        bytes.into()
    }
}

/// Puts a part of a write where it belongs.
fn put(bytes: &mut [u8], position: u64, content: &[u8], part: Range<usize>) {
    let at = usize::try_from(position).expect("within a file in memory") + part.start;
    bytes[at..at + part.len()].copy_from_slice(&content[part]);
}
