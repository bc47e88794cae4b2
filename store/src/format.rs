//! What is fixed when a data directory is formatted, and the lock that keeps two brokers out of one.
//!
//! `format.json` says how many shards the store has, who it is and which logs it holds; it is written once. A replica
//! holds the logs of its master and has a store id of its own. `lock` is held by the running broker and names it.

use crate::{error::StoreError, layout::Layout, offset::SHARDS_MAX};
use runtime::BLOCK_BYTES;
use rustix::{
    fs::{Access, FlockOperation, access, flock},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Seek, Write},
    path::Path,
};

/// Version of the store's layout that this code reads and writes.
pub const VERSION: u32 = 2;

/// The facts of a formatted store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Version of the layout.
    pub version: u32,
    /// Number of shards; each queue lives on one of them by a hash.
    pub shards: u16,
    /// Where segments of the log begin and end.
    pub layout: Layout,
    /// Drawn when this directory was formatted: no other store has it. Batches name it as their writer.
    pub store_id: u64,
    /// Drawn once for all replicas of the same logs. The ids of the logs follow from it.
    pub log_id: u64,
}

impl Format {
    /// The log of `shard` carries this number, on each of its replicas.
    pub fn log_id(&self, shard: u16) -> u64 {
        self.log_id ^ shard_bits(shard)
    }

    /// Of which [`Format::log_id`] the log of `shard` has this number.
    pub fn common_log_id(log_id: u64, shard: u16) -> u64 {
        log_id ^ shard_bits(shard)
    }
}

fn shard_bits(shard: u16) -> u64 {
    u64::from(shard) << 48
}

/// The facts that all versions have, in the order over which all versions take their checksum: a broker of another
/// version reads them, finds them whole, and says that the version is not its own.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommonFacts {
    version: u32,
    shards: u16,
    segment_bytes: u64,
    store_id: u64,
}

/// The beginning of the file, in any version. A broker that believed a wrong number of shards would look for most queues
/// where they are not, so the facts have a check.
#[derive(Serialize, Deserialize)]
struct Common {
    #[serde(flatten)]
    facts: CommonFacts,
    /// CRC-32C of the facts as JSON in one line.
    crc32c: u32,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    #[serde(flatten)]
    common: Common,
    log_id: u64,
    /// A store of before has segments of one size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_segment_bytes: Option<u64>,
    /// CRC-32C of the common facts' checksum, the log id and, if it is there, the first segment's bytes, 4, 8 and 8 bytes,
    /// big-endian.
    log_id_crc32c: u32,
}

impl Stored {
    fn of(format: &Format) -> Stored {
        let Format { version, shards, layout, store_id, log_id } = *format;
        let segment_bytes = layout.segment_bytes();
        let facts = CommonFacts { version, shards, segment_bytes, store_id };
        let common = Common { crc32c: check(&facts), facts };
        let first_segment_bytes = Some(layout.first_bytes());
        let log_id_crc32c = check_log(common.crc32c, log_id, first_segment_bytes);
        Stored { common, log_id, first_segment_bytes, log_id_crc32c }
    }
}

fn check(facts: &CommonFacts) -> u32 {
    crc32c::crc32c(&serde_json::to_vec(facts).expect("a struct of numbers is JSON"))
}

fn check_log(common: u32, log_id: u64, first_segment_bytes: Option<u64>) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&common.to_be_bytes()), &log_id.to_be_bytes());
    first_segment_bytes.map_or(crc, |bytes| crc32c::crc32c_append(crc, &bytes.to_be_bytes()))
}

/// The content of `format.json`.
pub fn text(format: &Format) -> String {
    serde_json::to_string(&Stored::of(format)).expect("a struct of numbers is JSON")
}

/// Reads the content of `format.json`; says what is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<Format, String> {
    let remedy = "`mqstore verify` tells its content from the segments";
    let unreadable = |error| format!("cannot be read ({error}); {remedy}");
    let damaged = || format!("fails its checksum; {remedy}");
    let Common { facts, crc32c } = serde_json::from_slice(bytes).map_err(unreadable)?;
    if check(&facts) != crc32c {
        return Err(damaged());
    }
    check_version(facts.version)?;
    let stored: Stored = serde_json::from_slice(bytes).map_err(unreadable)?;
    let Stored { log_id, first_segment_bytes, log_id_crc32c, .. } = stored;
    if check_log(crc32c, log_id, first_segment_bytes) != log_id_crc32c {
        return Err(damaged());
    }
    let CommonFacts { version, shards, segment_bytes, store_id } = facts;
    let first_segment_bytes = first_segment_bytes.unwrap_or(segment_bytes);
    let layout = Layout::new(first_segment_bytes, segment_bytes);
    match layout.filter(|_| (1..=SHARDS_MAX).contains(&shards)) {
        Some(layout) => Ok(Format { version, shards, layout, store_id, log_id }),
        None => Err(format!(
            "says {shards} shards and segments of {first_segment_bytes} to {segment_bytes} bytes, which is impossible: a \
             store has 1 to {SHARDS_MAX} shards, and segments of whole blocks of {BLOCK_BYTES} bytes that double"
        )),
    }
}

fn check_version(version: u32) -> Result<(), String> {
    if version == VERSION {
        return Ok(());
    }
    let layout = format!("layout version {version}, this broker reads version {VERSION}");
    Err(if version < VERSION {
        format!(
            "{layout}; let the older broker that wrote it serve what it holds, and start this one \
             on an empty directory"
        )
    } else {
        format!("{layout}; a newer broker wrote it: start that one")
    })
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
    take_lock(&mut file, &path)?;
    file.set_len(0).map_err(|source| io("truncate", source))?;
    file.rewind().map_err(|source| io("rewind", source))?;
    writeln!(file, "process {}", std::process::id()).map_err(|source| io("write", source))?;
    Ok(Lock { _file: file })
}

/// Takes the lock of an open file until it is closed, or names who has it.
fn take_lock(file: &mut File, path: &Path) -> Result<(), StoreError> {
    if flock(&*file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return Ok(());
    }
    let mut holder = String::new();
    let read = file.read_to_string(&mut holder);
    read.map_err(|source| StoreError::io("read", path, source))?;
    let holder = if holder.trim().is_empty() { "another process" } else { holder.trim() };
    Err(StoreError::Locked { path: path.to_owned(), holder: holder.to_owned() })
}

/// What [`lock`] would refuse, without making or changing anything: whether somebody holds the directory, or it could not be
/// made or written. A lock that nobody holds is held for this moment, as its file is there already. Blocking.
pub fn check_lock(root: &Path) -> Result<(), StoreError> {
    let path = root.join("lock");
    match File::options().read(true).write(true).open(&path) {
        Ok(mut file) => take_lock(&mut file, &path),
        Err(error) if error.kind() == ErrorKind::NotFound => check_writable(root),
        Err(source) => Err(StoreError::io("open", path, source)),
    }
}

/// Whether files could be made in `dir`, or the directory itself where it is missing: asks, and makes nothing.
pub fn check_writable(dir: &Path) -> Result<(), StoreError> {
    let failed = |errno: Errno| {
        let action = if dir.exists() { "write in" } else { "create" };
        StoreError::io(action, dir, errno.into())
    };
    let existing = dir.ancestors().find(|dir| dir.exists());
    let existing = existing.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !existing.is_dir() {
        return Err(failed(Errno::NOTDIR));
    }
    access(existing, Access::WRITE_OK | Access::EXEC_OK).map_err(failed)
}

/// Reads `format.json`, or writes it with `wanted` when the directory is new. Blocking; called before executors start.
/// Shards and segment size of an existing store stay what they are.
pub fn read_or_create(root: &Path, wanted: Format) -> Result<Format, StoreError> {
    if let Some(format) = read(root)? {
        return Ok(format);
    }
    create(root, &root.join("format.json"), &wanted)?;
    Ok(wanted)
}

/// Reads `format.json`, if it is there. Blocking.
pub fn read(root: &Path) -> Result<Option<Format>, StoreError> {
    let path = root.join("format.json");
    match fs::read(&path) {
        Ok(bytes) => parse(&bytes).map(Some).map_err(|what| StoreError::Malformed { path, what }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
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
    fn a_look_at_the_lock_changes_nothing() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let root = dir.path().join("a/b");
        check_lock(&root).expect("it could be made");
        assert!(!dir.path().join("a").exists());
        let held = lock(&root).expect("first lock");
        let error = check_lock(&root).expect_err("held");
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        check_lock(&root).expect("released");
        lock(&root).expect("the look has let go");
        fs::write(dir.path().join("file"), "x").expect("room");
        let error = check_lock(&dir.path().join("file/data")).expect_err("no directory");
        assert!(error.to_string().contains("Not a directory"), "{error}");
    }

    fn format() -> Format {
        let layout = Layout::new(1 << 18, 1 << 20).expect("doubled twice");
        Format { version: VERSION, shards: 2, layout, store_id: 7, log_id: 8 }
    }

    #[test]
    fn the_format_stays_what_it_was() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let first = format();
        assert_eq!(read_or_create(dir.path(), first.clone()).expect("new"), first);
        let other = Format { shards: 4, ..first.clone() };
        assert_eq!(read_or_create(dir.path(), other).expect("existing"), first);
        assert_ne!(first.log_id(0), first.log_id(1));
        assert_eq!(Format::common_log_id(first.log_id(1), 1), first.log_id);
    }

    #[test]
    fn a_changed_fact_is_noticed() {
        let whole = text(&format());
        assert_eq!(parse(whole.as_bytes()), Ok(format()));
        for byte in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone().into_bytes();
                bytes[byte] ^= 1 << bit;
                assert!(parse(&bytes).is_err(), "byte {byte}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_store_of_before_has_segments_of_one_size() {
        let layout = Layout::even(1 << 20);
        let mut stored = Stored::of(&Format { layout, ..format() });
        stored.first_segment_bytes = None;
        stored.log_id_crc32c = check_log(stored.common.crc32c, stored.log_id, None);
        let old = serde_json::to_vec(&stored).expect("JSON");
        assert_eq!(parse(&old).map(|format| format.layout), Ok(layout));
    }

    /// As version 1 wrote and read the file.
    #[derive(Serialize, Deserialize)]
    struct Version1 {
        #[serde(flatten)]
        facts: CommonFacts,
        crc32c: u32,
    }

    #[test]
    fn other_versions_are_refused_with_a_sentence_in_both_directions() {
        let facts = CommonFacts { version: 1, shards: 2, segment_bytes: 1 << 20, store_id: 7 };
        let old = Version1 { crc32c: check(&facts), facts };
        let old = serde_json::to_string(&old).expect("JSON");
        assert_eq!(
            parse(old.as_bytes()).expect_err("version 1"),
            "layout version 1, this broker reads version 2; let the older broker that wrote it \
             serve what it holds, and start this one on an empty directory"
        );
        let newer = text(&Format { version: 3, ..format() });
        let error = parse(newer.as_bytes()).expect_err("version 3");
        assert!(error.ends_with("a newer broker wrote it: start that one"), "{error}");
        // Version 1 checks its facts first, then says "layout version 2, this broker reads version 1".
        let read: Version1 = serde_json::from_str(&text(&format())).expect("its fields are there");
        assert_eq!((check(&read.facts), read.facts.version), (read.crc32c, 2));
    }
}
