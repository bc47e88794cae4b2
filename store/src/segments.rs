//! The segments of an open log: their files by position, those that were put aside, and their names on the disk.
//!
//! A segment is a file of fixed length, named by the position that it starts at in 20 digits. A retired one waits as a
//! *spare* to be used again: blocks that were written once can be synced without metadata.

use crate::{error::StoreError, settings::Settings};
use runtime::{Disk, DiskFile, Open};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
};

/// Segments kept for the log to come when they were retired.
pub(crate) const SPARES_MAX: usize = 2;
/// Suffix of a segment that waits to be used again.
const SPARE: &str = "spare";
/// Digits of a segment's name.
const NAME_DIGITS: usize = 20;

/// The segments of an open log.
pub(crate) struct SegmentSet<D: Disk> {
    /// Those that are there, also ahead of the log, by the position that they start at.
    pub(crate) files: RefCell<BTreeMap<u64, Rc<D::File>>>,
    /// A segment that was used before: it needs no zeros.
    pub(crate) recycled: Cell<Option<u64>>,
    /// Retired segments, to be used again.
    pub(crate) spares: RefCell<Vec<PathBuf>>,
    /// Names changed when a segment was retired, and that is not durable yet.
    pub(crate) names_unsynced: Cell<bool>,
}

impl<D: Disk> SegmentSet<D> {
    pub(crate) fn new(files: BTreeMap<u64, Rc<D::File>>) -> SegmentSet<D> {
        SegmentSet {
            files: RefCell::new(files),
            recycled: Cell::new(None),
            spares: RefCell::default(),
            names_unsynced: Cell::new(false),
        }
    }

    /// The file of the segment that starts here.
    pub(crate) fn file(&self, start: u64) -> Option<Rc<D::File>> {
        self.files.borrow().get(&start).cloned()
    }

    /// Whether there is a segment that starts here.
    pub(crate) fn contains(&self, start: u64) -> bool {
        self.files.borrow().contains_key(&start)
    }

    /// Start of the oldest.
    pub(crate) fn first(&self) -> Option<u64> {
        self.files.borrow().keys().next().copied()
    }

    pub(crate) fn insert(&self, start: u64, file: D::File) {
        self.files.borrow_mut().insert(start, Rc::new(file));
    }

    /// Who reads it keeps its file.
    pub(crate) fn remove(&self, start: u64) {
        self.files.borrow_mut().remove(&start);
    }
}

impl Settings {
    /// File of the segment that starts at this position.
    pub fn segment_path(&self, start: u64) -> PathBuf {
        self.dir.join(format!("{start:0NAME_DIGITS$}"))
    }
}

/// Where the segment of this name starts; `None`: it is no segment's.
pub fn segment_start(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    (name.len() == NAME_DIGITS).then(|| name.parse().ok()).flatten()
}

/// The name under which a retired segment waits to be used again.
pub(crate) fn spare_path(segment: &Path) -> PathBuf {
    segment.with_extension(SPARE)
}

/// Whether a retired segment waits under this name.
pub(crate) fn is_spare(path: &Path) -> bool {
    let named = path.extension().is_some_and(|extension| extension == SPARE);
    named && segment_start(Path::new(path.file_stem().unwrap_or_default())).is_some()
}

/// Creates a segment, its name durable before anything in it counts.
pub(crate) async fn create_segment<D: Disk>(
    disk: &D,
    settings: &Settings,
    start: u64,
) -> Result<D::File, StoreError> {
    let path = settings.segment_path(start);
    let error = |source| StoreError::io("create", path.clone(), source);
    let bytes = settings.layout.bytes_of(start);
    let file = disk.open(&path, Open::Create { bytes }).await.map_err(error)?;
    file.sync().await.map_err(error)?;
    disk.sync_dir(&settings.dir).await.map_err(error)?;
    Ok(file)
}
