//! Facts: small files that are replaced atomically (topics, groups, key-value configuration).
//!
//! A replacement is written beside the file, synced, and renamed over it, the previous content kept as `.bak`; then the
//! directory is synced. So after a crash either the old or the new content is there, whole. Reading falls back to
//! `.bak` when the file is missing or cannot be parsed.

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
    let temporary = beside(path, ".tmp");
    let dir = path.parent().unwrap_or(Path::new("."));
    let io = |action, path: &Path, source| StoreError::io(action, path, source);
    match disk.read_file(path).await {
        Ok(old) => {
            let backup = beside(path, ".bak");
            disk.write_file(&backup, &old).await.map_err(|source| io("write", &backup, source))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(io("read", path, source)),
    }
    disk.write_file(&temporary, bytes).await.map_err(|source| io("write", &temporary, source))?;
    disk.rename(&temporary, path).await.map_err(|source| io("rename", path, source))?;
    disk.sync_dir(dir).await.map_err(|source| io("sync", dir, source))
}

/// Reads a fact with `parse`. `Ok(None)`: there is neither file nor backup. An unreadable file whose backup is good is
/// reported and replaced by the backup's content in memory; both unreadable is an error that names both reasons.
pub async fn read<D: Disk, T, E: std::fmt::Display>(
    disk: &D,
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<T>, StoreError> {
    let mut reasons = Vec::new();
    for path in [path.to_path_buf(), beside(path, ".bak")] {
        match disk.read_file(&path).await {
            Ok(bytes) => match parse(&bytes) {
                Ok(fact) => {
                    for reason in &reasons {
                        tracing::error!(%reason, instead = %path.display(), "reading the previous content");
                    }
                    return Ok(Some(fact));
                }
                Err(error) => reasons.push(format!("{}: {error}", path.display())),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(StoreError::io("read", path, source)),
        }
    }
    if reasons.is_empty() {
        return Ok(None);
    }
    Err(StoreError::Malformed { path: path.to_path_buf(), what: reasons.join("; ") })
}
