//! What is fixed when a data directory is formatted, and the lock that keeps two brokers out of one.
//!
//! `format.json` says how many shards the store has and identifies its logs; it is written once. `lock` is held by the
//! running broker and names it.

use crate::error::StoreError;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Seek, Write},
    path::Path,
};

/// Version of the store's layout that this code reads and writes.
pub const VERSION: u32 = 1;

/// The facts of a formatted store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Format {
    /// Version of the layout.
    pub version: u32,
    /// Number of shards; each queue lives on one of them by a hash.
    pub shards: u16,
    /// Bytes of a segment of the log.
    pub segment_bytes: u64,
    /// Random number that each batch of this store carries.
    pub store_id: u64,
}

impl Format {
    /// The log of `shard` carries this number.
    pub fn log_id(&self, shard: u16) -> u64 {
        self.store_id ^ (u64::from(shard) << 48)
    }
}

/// As the file holds it: the facts, and a check over them. A broker that believed a wrong number of shards would look
/// for most queues where they are not.
#[derive(Serialize, Deserialize)]
struct Checked {
    #[serde(flatten)]
    format: Format,
    /// CRC-32C of the facts as JSON in one line.
    crc32c: u32,
}

fn check(format: &Format) -> u32 {
    crc32c::crc32c(&serde_json::to_vec(format).expect("a struct of numbers is JSON"))
}

/// The content of `format.json`.
pub fn text(format: &Format) -> String {
    let checked = Checked { format: format.clone(), crc32c: check(format) };
    serde_json::to_string(&checked).expect("a struct of numbers is JSON")
}

/// Reads the content of `format.json`; says what is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<Format, String> {
    let Checked { format, crc32c } =
        serde_json::from_slice(bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if check(&format) == crc32c {
        return Ok(format);
    }
    Err("fails its checksum; `mqstore verify` tells its content from the segments".to_owned())
}

/// Holds the data directory until dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock of a data directory, creating the directory. Blocking; called before executors start.
pub fn lock(root: &Path) -> Result<Lock, StoreError> {
    let path = root.join("lock");
    let io = |action, source| StoreError::io(action, path.clone(), source);
    fs::create_dir_all(root).map_err(|source| StoreError::io("create", root, source))?;
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| io("open", source))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        file.read_to_string(&mut holder).map_err(|source| io("read", source))?;
        let holder = if holder.trim().is_empty() { "another process" } else { holder.trim() };
        return Err(StoreError::Locked { path, holder: holder.to_owned() });
    }
    file.set_len(0).map_err(|source| io("truncate", source))?;
    file.rewind().map_err(|source| io("rewind", source))?;
    writeln!(file, "process {}", std::process::id()).map_err(|source| io("write", source))?;
    Ok(Lock { _file: file })
}

/// Reads `format.json`, or writes it with `wanted` when the directory is new. Blocking; called before executors start.
/// Shards and segment size of an existing store stay what they are.
pub fn read_or_create(root: &Path, wanted: Format) -> Result<Format, StoreError> {
    let path = root.join("format.json");
    let malformed = |what: String| StoreError::Malformed { path: path.clone(), what };
    match fs::read(&path) {
        Ok(bytes) => {
            let format = parse(&bytes).map_err(malformed)?;
            if format.version != VERSION {
                return Err(malformed(format!(
                    "layout version {}, this broker reads version {VERSION}",
                    format.version
                )));
            }
            Ok(format)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create(root, &path, &wanted)?;
            Ok(wanted)
        }
        Err(source) => Err(StoreError::io("read", path, source)),
    }
}

fn create(root: &Path, path: &Path, format: &Format) -> Result<(), StoreError> {
    let io = |action, source| StoreError::io(action, path, source);
    let temporary = root.join("format.json.tmp");
    let mut file = File::create(&temporary).map_err(|source| io("create", source))?;
    file.write_all(text(format).as_bytes()).map_err(|source| io("write", source))?;
    file.sync_all().map_err(|source| io("sync", source))?;
    fs::rename(&temporary, path).map_err(|source| io("rename", source))?;
    let dir = File::open(root).map_err(|source| io("open", source))?;
    dir.sync_all().map_err(|source| io("sync", source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_broker_is_told_who_holds_the_directory() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let held = lock(dir.path()).expect("first lock");
        let error = lock(dir.path()).expect_err("second lock");
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        lock(dir.path()).expect("lock after release");
    }

    #[test]
    fn the_format_stays_what_it_was() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let first = Format { version: VERSION, shards: 2, segment_bytes: 1 << 20, store_id: 7 };
        assert_eq!(read_or_create(dir.path(), first.clone()).expect("new"), first);
        let other = Format { shards: 4, ..first.clone() };
        assert_eq!(read_or_create(dir.path(), other).expect("existing"), first);
        assert_ne!(first.log_id(0), first.log_id(1));
    }

    #[test]
    fn a_changed_fact_is_noticed() {
        let format = Format { version: VERSION, shards: 2, segment_bytes: 1 << 20, store_id: 7 };
        let whole = text(&format);
        assert_eq!(parse(whole.as_bytes()), Ok(format));
        for byte in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone().into_bytes();
                bytes[byte] ^= 1 << bit;
                assert!(parse(&bytes).is_err(), "byte {byte}, bit {bit}");
            }
        }
    }
}
