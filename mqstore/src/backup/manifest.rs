//! `backup.json`: what a backup holds. Written last, so a directory without it is no backup.

use crate::data_dir::{InspectError, io_at};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};
use store::format::Format;

/// Name of the file.
pub(crate) const MANIFEST: &str = "backup.json";
/// Of its members.
const VERSION: u32 = 1;

/// What a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Of the members of this file.
    pub version: u32,
    /// When the backup was complete, ms since 1970.
    pub taken_at_ms: i64,
    /// The store that it was taken of.
    pub store_id: u64,
    /// The log that it holds.
    pub log_id: u64,
    /// How far the log of each shard reaches.
    pub shards: Vec<ShardSpan>,
    /// Every file but this one.
    pub files: Vec<FileEntry>,
}

/// A shard's log in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardSpan {
    /// Its number.
    pub shard: u16,
    /// Position of the first segment.
    pub from: u64,
    /// Behind the last whole batch.
    pub end: u64,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    /// Below the backup's directory.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// What was copied; behind it there are zeros.
    pub written: u64,
    /// CRC-32C of what was copied.
    pub crc32c: u32,
    /// A segment to which nothing will be added: the next backup need not read it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub complete: bool,
}

impl Manifest {
    /// Nothing copied yet.
    pub(crate) fn new(format: &Format) -> Manifest {
        let Format { store_id, log_id, .. } = *format;
        Manifest { version: VERSION, store_id, log_id, ..Manifest::default() }
    }

    /// The manifest of a backup.
    pub(crate) fn read(backup: &Path) -> Result<Manifest, InspectError> {
        let path = backup.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let what = "is no backup, or one that was not finished: it has no backup.json";
                return Err(InspectError::NoStore { path: backup.to_owned(), what });
            }
            read => read.map_err(io_at(&path))?,
        };
        let malformed = |what| store::StoreError::Malformed { path: path.clone(), what };
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        if manifest.version != VERSION {
            let what = format!("version {}; this program reads {VERSION}", manifest.version);
            return Err(malformed(what).into());
        }
        if let Some(entry) = manifest.files.iter().find(|entry| !stays_below(&entry.path)) {
            let what = format!("names a file outside of the backup: {}", entry.path);
            return Err(malformed(what).into());
        }
        Ok(manifest)
    }
}

/// Whether a path leads nowhere but below the directory that it is joined to.
fn stays_below(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// A backup that was taken before, whose complete segments need not be copied again.
pub(crate) struct Previous {
    dir: PathBuf,
    manifest: Manifest,
}

impl Previous {
    /// Refuses one of another log.
    pub(crate) fn open(dir: &Path, format: &Format) -> Result<Previous, InspectError> {
        let manifest = Manifest::read(dir)?;
        if manifest.log_id != format.log_id || manifest.store_id != format.store_id {
            let what = "is a backup of another store; nothing was written";
            return Err(InspectError::NoStore { path: dir.to_owned(), what });
        }
        Ok(Previous { dir: dir.to_owned(), manifest })
    }

    /// A complete file, gives its entry once it is linked to `target`.
    pub(crate) fn link(&self, path: &str, target: &Path) -> Option<FileEntry> {
        let of_path = |entry: &&FileEntry| entry.complete && entry.path == path;
        let entry = self.manifest.files.iter().find(of_path)?;
        let source = self.dir.join(path);
        let same = fs::metadata(&source).is_ok_and(|meta| meta.len() == entry.bytes);
        // Another file system has no such links: then it is copied.
        (same && fs::hard_link(&source, target).is_ok()).then(|| entry.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_backup() {
        for path in ["commitlog/shard-000/0", "format.json"] {
            assert!(stays_below(path), "{path}");
        }
        for path in ["", "/etc/passwd", "../x", "a/../../x", "./x"] {
            assert!(!stays_below(path), "{path}");
        }
    }
}
