//! `verify --repair`: index files that are damaged or missing are made again; the log is never touched.
//!
//! Only with the lock of the data directory: no broker runs, none starts meanwhile. What a start would do about index
//! files is done by the same code, besides removing those that only a comparison with the log finds wrong.

use crate::{
    config_files::table_error,
    data_dir::{DataDir, InspectError, io_at, now, open_segments},
    file_disk::FileDisk,
    finding::Findings,
    progress::Progress,
    verify::{Verified, verify_as},
};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};
use store::{
    format,
    index::{Named, named},
    recovery::rebuild_chain,
};

/// What a repair did.
#[derive(Debug)]
pub struct Repaired {
    /// What was found before.
    pub before: Verified,
    /// What is found now.
    pub after: Verified,
    /// Files that were removed.
    pub removed: Vec<PathBuf>,
    /// Index files that were made again. Those of the newest part of the log are left to the next start.
    pub rebuilt: u64,
}

/// Verifies, removes damaged index files and remains of unfinished ones, makes them again, and verifies once more.
/// Errors: a running broker, which is named.
pub fn repair(
    root: &Path,
    log_root: Option<&Path>,
    shard: Option<u16>,
    progress: &dyn Fn() -> Progress,
) -> Result<Repaired, InspectError> {
    // A directory that is none must not become one by its lock.
    DataDir::open(root, log_root, shard, &mut Findings::default())?;
    let _lock = format::lock(root)?;
    let before = verify_as(root, log_root, shard, &progress(), true)?;
    let mut findings = Findings::default();
    let dir = DataDir::open(root, log_root, shard, &mut findings)?;
    let mut removed = Vec::new();
    for path in before.findings.damaged_paths() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let index = matches!(named(name), Some(Named::Sealed { .. } | Named::Run { .. }));
        if index && !removed.iter().any(|gone| gone == path) {
            remove(path)?;
            removed.push(path.to_owned());
        }
    }
    removed.extend(remove_unfinished(root)?);
    let mut rebuilt = 0;
    for shard in &dir.shards {
        let settings = dir.settings(*shard);
        let segments = now(open_segments(&settings, &mut findings))?;
        if !segments.is_empty() {
            rebuilt += now(rebuild_chain(&FileDisk::writable(), &settings, &segments))?;
        }
    }
    let after = verify_as(root, log_root, shard, &progress(), true)?;
    Ok(Repaired { before, after, removed, rebuilt })
}

fn remove(path: &Path) -> Result<(), InspectError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_at(path)(error)),
        _ => Ok(()),
    }
}

/// Removes replacements that were not finished, of tables that are whole. One that may be the only whole content
/// stays: the next start decides.
fn remove_unfinished(root: &Path) -> Result<Vec<PathBuf>, InspectError> {
    let mut removed = Vec::new();
    for dir in [root.to_owned(), root.join("config")] {
        let listed = match fs::read_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            listed => listed.map_err(io_at(&dir))?,
        };
        for entry in listed {
            let path = entry.map_err(io_at(&dir))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(table) = name.strip_suffix(".tmp").filter(|name| name.ends_with(".json"))
            else {
                continue;
            };
            let whole =
                |path: &Path| fs::read(path).is_ok_and(|bytes| table_error(&bytes).is_none());
            // A whole replacement beside a whole table is newer; it is not ours to throw away.
            if whole(&path.with_file_name(table)) && !whole(&path) {
                remove(&path)?;
                removed.push(path);
            }
        }
    }
    Ok(removed)
}
