//! Facts: small files that are replaced atomically (topics, groups, key-value configuration).
//!
//! A replacement is written beside the file and made durable there; then the file becomes `.bak` and the replacement
//! takes its name. So at any moment one whole content is durable under one of three names, even if the file itself has
//! rotted and what is kept as `.bak` is worthless. Reading tries the file, the replacement, the backup.

use crate::error::StoreError;
use runtime::Disk;
use std::path::{Path, PathBuf};

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Replaces the content of `path`, durably.
pub async fn replace<D: Disk>(disk: &D, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let new = beside(path, ".tmp");
    let backup = beside(path, ".bak");
    let dir = path.parent().unwrap_or(Path::new("."));
    let io = |action, path: &Path, source| StoreError::io(action, path, source);
    disk.write_file(&new, bytes).await.map_err(|source| io("write", &new, source))?;
    disk.sync_dir(dir).await.map_err(|source| io("sync", dir, source))?;
    match disk.rename(path, &backup).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        renamed => renamed.map_err(|source| io("rename", path, source))?,
    }
    disk.rename(&new, path).await.map_err(|source| io("rename", &new, source))?;
    disk.sync_dir(dir).await.map_err(|source| io("sync", dir, source))
}

/// Reads a fact with `parse`. `Ok(None)`: there is no file of it. An unreadable file whose replacement or backup is
/// good is reported and replaced by that content in memory; all unreadable is an error that names the reasons.
pub async fn read<D: Disk, T, E: std::fmt::Display>(
    disk: &D,
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<T>, StoreError> {
    let mut reasons = Vec::new();
    let new = beside(path, ".tmp");
    for candidate in [path, &new, &beside(path, ".bak")] {
        let bytes = match disk.read_file(candidate).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(StoreError::io("read", candidate, source)),
        };
        match parse(&bytes) {
            Ok(fact) => {
                for reason in &reasons {
                    tracing::error!(%reason, instead = %candidate.display(), "reading other content");
                }
                if candidate == new {
                    finish(disk, &new, path).await?;
                }
                return Ok(Some(fact));
            }
            // A replacement that was not finished when the machine stopped was promised to nobody.
            Err(_) if candidate == new => {}
            Err(error) => reasons.push(format!("{}: {error}", candidate.display())),
        }
    }
    if reasons.is_empty() {
        return Ok(None);
    }
    Err(StoreError::Malformed { path: path.to_path_buf(), what: reasons.join("; ") })
}

/// Ends a replacement that a crash interrupted, before the next one writes over it.
async fn finish<D: Disk>(disk: &D, new: &Path, path: &Path) -> Result<(), StoreError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    disk.rename(new, path).await.map_err(|source| StoreError::io("rename", new, source))?;
    disk.sync_dir(dir).await.map_err(|source| StoreError::io("sync", dir, source))
}
