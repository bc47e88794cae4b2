//! `restore`: a backup becomes a data directory. Each file is checked against what the backup says of it while it is copied.
//!
//! `format.json` comes last. A broker refuses a log without it, so nobody starts from half a restore.

use super::{
    copy::{Copier, Part, make_empty_dir, sync_names},
    manifest::{FileEntry, Manifest},
};
use crate::{
    data_dir::{DataDir, InspectError, io_at, now},
    file_disk::FileDisk,
    finding::Findings,
    progress::Progress,
    verify::{Verified, verify},
};
use runtime::Disk;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

const FORMAT: &str = "format.json";
const LOG: &str = "commitlog";

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// Of the backup.
    pub manifest: Manifest,
    /// What a look at the new directory found.
    pub verified: Verified,
}

/// Makes `root` a copy of the store in `backup`; its log goes to `log_root`, by default `commitlog` below. Both are made
/// or are empty.
pub fn restore(
    backup: &Path,
    root: &Path,
    log_root: Option<&Path>,
    progress: &dyn Fn() -> Progress,
) -> Result<Restored, InspectError> {
    let manifest = Manifest::read(backup)?;
    // Says what is wrong with the backup before anything is written.
    DataDir::open(backup, None, None, &mut Findings::default())?;
    make_empty_dir(root)?;
    let log = log_root.map_or_else(|| root.join(LOG), Path::to_owned);
    make_empty_dir(&log)?;
    refuse_without_room(&manifest, &log)?;
    let copying = progress();
    let mut copier = Copier::new(&copying, None);
    copier.expect(manifest.files.iter().map(|entry| entry.written).sum());
    let (last, files): (Vec<_>, Vec<_>) =
        manifest.files.iter().partition(|entry| entry.path == FORMAT);
    for entry in files {
        let target = match Path::new(&entry.path).strip_prefix(LOG) {
            Ok(below) => log.join(below),
            Err(_) => root.join(&entry.path),
        };
        copy(backup, entry, &target, &mut copier)?;
    }
    sync_names(&log)?;
    sync_names(root)?;
    for entry in last {
        copy(backup, entry, &root.join(FORMAT), &mut copier)?;
    }
    sync_names(root)?;
    copying.finish();
    let verified = verify(root, log_root, None, &progress())?;
    Ok(Restored { manifest, verified })
}

fn copy(
    backup: &Path,
    entry: &FileEntry,
    target: &Path,
    copier: &mut Copier<'_>,
) -> Result<(), InspectError> {
    let path: PathBuf = backup.join(&entry.path);
    let source = File::open(&path).map_err(io_at(&path))?;
    let bytes = source.metadata().map_err(io_at(&path))?.len();
    let differs = |what| {
        let malformed = store::StoreError::Malformed { path: path.clone(), what };
        Err(InspectError::from(malformed))
    };
    if bytes != entry.bytes || entry.written > entry.bytes {
        return differs(format!("{bytes} bytes; the backup was made with {}", entry.bytes));
    }
    if let Some(dir) = target.parent() {
        fs::create_dir_all(dir).map_err(io_at(dir))?;
    }
    let (from, to, crc) = (0, entry.written, 0);
    let part = Part { source: &source, source_path: &path, target, from, to, bytes, crc };
    if copier.copy(&part)? != entry.crc32c {
        let what = "is not what the backup was made with: its checksum differs. The restored \
                    directory is not complete, remove it";
        return differs(what.to_owned());
    }
    Ok(())
}

fn refuse_without_room(manifest: &Manifest, log: &Path) -> Result<(), InspectError> {
    let free = now(FileDisk::read_only().usage(log)).map_err(io_at(log))?.free;
    let wanted = manifest.files.iter().map(|entry| entry.written).sum();
    if wanted <= free {
        return Ok(());
    }
    Err(InspectError::NoRoom { path: log.to_owned(), wanted, free })
}
