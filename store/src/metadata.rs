//! Metadata: small files that are replaced atomically (topics, groups, key-value configuration).
//!
//! A replacement is written beside the file and made durable there; then the file becomes `.bak` and the replacement
//! takes its name. So at any moment one whole content is durable under one of three names, even if the file itself has
//! rotted and what is kept as `.bak` is worthless. Reading tries the file, the replacement, the backup. Single changes of
//! large tables go into a [`journal`] instead.

pub mod journal;
mod record;

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

/// A file that was read.
#[derive(Debug)]
pub struct Loaded<T> {
    /// What was parsed.
    pub fact: T,
    /// It is the content before the last one: nothing better was whole.
    pub from_backup: bool,
}

/// Reads a file with `parse`. `Ok(None)`: there is none. An unreadable file whose replacement or backup is
/// good is reported and replaced by that content in memory; all unreadable is an error that names the reasons.
pub async fn read<D: Disk, T, E: std::fmt::Display>(
    disk: &D,
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<Loaded<T>>, StoreError> {
    let mut reasons = Vec::new();
    let new = beside(path, ".tmp");
    let backup = beside(path, ".bak");
    for candidate in [path, &new, &backup] {
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
                return Ok(Some(Loaded { fact, from_backup: candidate == backup }));
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

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::sim::{SimDisk, block_on};

    const TOPICS: &str = "/data/config/topics.json";

    /// Whole contents begin and end with a brace.
    fn parse(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
        let whole = bytes.first() == Some(&b'{') && bytes.last() == Some(&b'}');
        if whole && !bytes.contains(&0) { Ok(bytes.to_vec()) } else { Err("not whole") }
    }

    fn content(letter: u8) -> Vec<u8> {
        let mut text = vec![letter; 6_000];
        text[0] = b'{';
        text[5_999] = b'}';
        text
    }

    fn disk(seed: u64) -> SimDisk {
        let disk = SimDisk::new(seed);
        block_on(disk.create_dir_all(Path::new("/data/config"))).expect("power").expect("room");
        disk
    }

    fn read_back(disk: &SimDisk) -> Option<Vec<u8>> {
        let found = block_on(read(disk, Path::new(TOPICS), parse)).expect("power");
        found.expect("one name is whole").map(|loaded| loaded.fact)
    }

    /// Power cuts after each call of a replacement, and of the reading after it: the old or the new content is there.
    fn replace_under_power_cuts(prepare: impl Fn(&SimDisk) -> Option<Vec<u8>>) {
        for seed in 0..600 {
            let first = disk(seed);
            let old = prepare(&first);
            let new = content(b'n');
            first.crash_after(seed % 12);
            let done = block_on(replace(&first, Path::new(TOPICS), &new)).is_some();
            let second = first.after_crash(seed);
            second.crash_after(seed / 12 % 5);
            let _ = block_on(read(&second, Path::new(TOPICS), parse));
            let third = second.after_crash(seed + 1);
            let found = read_back(&third);
            assert!(found == old || found.as_ref() == Some(&new), "seed {seed}");
            assert!(!done || found.as_ref() == Some(&new), "seed {seed}: promised");
            let last = content(b'l');
            block_on(replace(&third, Path::new(TOPICS), &last)).expect("power").expect("room");
            assert_eq!(read_back(&third.after_crash(seed)), Some(last), "seed {seed}");
        }
    }

    #[test]
    fn a_file_is_the_old_one_or_the_new_one_whenever_the_power_goes() {
        replace_under_power_cuts(|_| None);
        replace_under_power_cuts(|disk| {
            for letter in [b'a', b'b'] {
                let old = content(letter);
                block_on(replace(disk, Path::new(TOPICS), &old)).expect("power").expect("room");
            }
            Some(content(b'b'))
        });
    }

    #[test]
    fn a_file_that_rotted_falls_back_and_is_never_copied_over_the_good_one() {
        replace_under_power_cuts(|disk| {
            for letter in [b'a', b'b'] {
                let old = content(letter);
                block_on(replace(disk, Path::new(TOPICS), &old)).expect("power").expect("room");
            }
            assert!(disk.flip_bit(Path::new(TOPICS), 0, 3));
            let found = read_back(disk);
            assert_eq!(found, Some(content(b'a')));
            found
        });
    }

    #[test]
    fn when_nothing_is_whole_the_reasons_are_named() {
        let disk = disk(1);
        for name in [TOPICS.to_owned(), format!("{TOPICS}.bak")] {
            block_on(disk.write_file(Path::new(&name), b"{")).expect("power").expect("room");
        }
        let error = block_on(read(&disk, Path::new(TOPICS), parse)).expect("power");
        let error = error.expect_err("nothing is whole").to_string();
        assert!(error.contains("topics.json: not whole; "), "{error}");
        assert!(error.contains("topics.json.bak: not whole"), "{error}");
    }
}
