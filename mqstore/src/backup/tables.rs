//! What a data directory holds besides its log: tables, journals, configuration. All small files, taken at one moment.
//!
//! A topic that was deleted and made again must not get the messages of the one before. A start sees to that by the notes
//! of deletions, in the tables and in the logs; so a backup in whose course one was deleted is taken again, see [`deletions`].

use crate::data_dir::{InspectError, io_at};
use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};
use store::metadata::journal;

/// Looks until nothing changes while the files are read.
const LOOKS_MAX: usize = 100;
const PAUSE: Duration = Duration::from_millis(10);
/// Held by a running broker, and worth nothing to another.
const LOCK: &str = "lock";
/// Second byte of a change in the journal (store/FORMAT.md): deleted, and dropped by all shards.
const DELETED: [u8; 2] = [4, 5];

/// Path below the root, and content.
pub(crate) type SmallFile = (PathBuf, Vec<u8>);

/// All small files at one moment. `None`: they never stood still.
pub(crate) fn read(root: &Path, log_root: &Path) -> Result<Option<Vec<SmallFile>>, InspectError> {
    for _ in 0..LOOKS_MAX {
        let before = list(root, log_root)?;
        let mut files = Vec::new();
        for Listed { path, .. } in &before {
            match fs::read(root.join(path)) {
                Ok(bytes) => files.push((path.clone(), bytes)),
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(io_at(&root.join(path))(error)),
            }
        }
        if files.len() == before.len() && list(root, log_root)? == before {
            return Ok(Some(files));
        }
        thread::sleep(PAUSE);
    }
    Ok(None)
}

/// A file as its directory shows it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    path: PathBuf,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

fn list(root: &Path, log_root: &Path) -> Result<Vec<Listed>, InspectError> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).map_err(io_at(&dir))? {
            let path = entry.map_err(io_at(&dir))?.path();
            let meta = match fs::metadata(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                meta => meta.map_err(io_at(&path))?,
            };
            let below = path.strip_prefix(root).unwrap_or(&path).to_owned();
            let is_replacement = path.extension().is_some_and(|extension| extension == "tmp");
            if meta.is_dir() && !is_same(&path, log_root) {
                dirs.push(path);
            } else if meta.is_file() && !is_replacement && below != Path::new(LOCK) {
                let (inode, bytes) = (meta.ino(), meta.len());
                let modified = (meta.mtime(), meta.mtime_nsec());
                found.push(Listed { path: below, inode, bytes, modified });
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_same(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// What the newest journal says of deletions: its generation, and how many there were.
pub(crate) fn deletions(root: &Path) -> Result<(u64, usize), InspectError> {
    let config = root.join("config");
    for _ in 0..LOOKS_MAX {
        let names = match fs::read_dir(&config) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((0, 0)),
            names => names.map_err(io_at(&config))?,
        };
        let generation = |entry: std::io::Result<fs::DirEntry>| {
            let path = entry.ok()?.path();
            Some((journal::generation_of(&path)?, path))
        };
        let Some((generation, path)) = names.filter_map(generation).max() else {
            return Ok((0, 0));
        };
        match fs::read(&path) {
            Ok(bytes) => {
                let changes = journal::contents(&bytes, generation);
                let kinds = changes.iter().filter_map(|change| change.get(1));
                return Ok((generation, kinds.filter(|kind| DELETED.contains(kind)).count()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => thread::sleep(PAUSE),
            Err(error) => return Err(io_at(&path)(error)),
        }
    }
    let what = "its journals are replaced faster than they can be read";
    Err(InspectError::NoStore { path: config, what })
}
