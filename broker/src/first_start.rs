//! The first start on a directory: what it takes of the disk, checked before anything is written, said in one line, and
//! taken back when the start fails. Called by `main`.
//!
//! A log takes little until it is used ([`store::Settings::first_bytes`]): together at most [`TAKEN_BYTES_MAX`], and less
//! on a small disk.

use crate::config::BrokerConfig;
use daemon::exit::{Cause, Fatal};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

const MIB: u64 = 1 << 20;
/// What all logs of a store that was never used take together; with journals, index files and what the start itself
/// needs it stays below 256 MiB.
const TAKEN_BYTES_MAX: u64 = 192 * MIB;
/// Of a disk with less room they take at most one part in so many.
const TAKEN_SHARE: u64 = 4;
/// What a log needs to be of use.
const LOG_BYTES_MIN: u64 = 256 * 1024;
/// Length of a segment when nothing else is configured and the disk is not small.
pub const SEGMENT_BYTES: u64 = 1 << 30;
/// So many segments of each log fit a disk at least, or nothing can be let go of before it is full.
const SEGMENTS_MIN: u64 = 8;
/// What a start needs besides its logs: the probe, tables of topics and groups.
const BESIDE_BYTES: u64 = 16 * MIB;
/// Rooms are whole blocks.
const BLOCK_BYTES: u64 = 4096;
/// Most room in front of a busy log, as the store has it: [`store::Store::provided_bytes`] stays below.
const AHEAD_BYTES_MAX: u64 = 320 * MIB;

/// The room that logs find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that each log takes while it is young.
    pub log_bytes: u64,
    shards: u64,
    free: u64,
}

impl Room {
    /// Looks at the file system that `log_root` is or will be on. `needed`: nothing is there yet, and it is an error when
    /// the logs do not find what they need.
    pub fn of(log_root: &Path, shards: u16, needed: bool) -> Result<Room, Fatal> {
        let error = |error: io::Error| {
            Fatal::new(Cause::Data, format!("measure {}: {error}", log_root.display()))
        };
        let existing = log_root.ancestors().find(|dir| dir.is_dir());
        let dir = existing.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let stat = rustix::fs::statvfs(dir).map_err(|errno| error(errno.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let room = Room::within(free, shards);
        let kept = store::kept_free_bytes(stat.f_blocks.saturating_mul(stat.f_frsize));
        let least = room.shards * LOG_BYTES_MIN + kept.max(BESIDE_BYTES);
        if needed && free < least {
            let sentence = format!(
                "{}: {} are free, a new store with {shards} shards needs at least {}; make room, or give it another \
                 directory (storePathRootDir, storePathCommitLog) or fewer shards",
                dir.display(),
                size(free),
                size(least)
            );
            return Err(Fatal::new(Cause::Machine, sentence));
        }
        Ok(room)
    }

    /// Length of a new store's segments: as configured, and less than the usual where the disk is small.
    pub fn segment_bytes(&self, config: &BrokerConfig) -> u64 {
        let configured = config.mapped_file_size_commit_log;
        if configured != SEGMENT_BYTES {
            return configured;
        }
        let share = (self.free / self.shards / SEGMENTS_MIN).max(1);
        let fitting = 1 << share.ilog2();
        // The largest message must fit, and be a small part.
        let least = (2 * u64::from(config.max_message_size)).next_power_of_two().max(8 * MIB);
        fitting.max(least).min(SEGMENT_BYTES)
    }

    fn within(free: u64, shards: u16) -> Room {
        let shards = u64::from(shards.max(1));
        let share = TAKEN_BYTES_MAX.min(free / TAKEN_SHARE) / shards;
        let log_bytes = share.max(LOG_BYTES_MIN);
        Room { log_bytes: log_bytes - log_bytes % BLOCK_BYTES, shards, free }
    }

    /// What a first start takes and will take.
    pub fn sentence(&self, config: &BrokerConfig, log_root: &Path) -> String {
        let Room { log_bytes, shards, free } = *self;
        let segment_bytes = self.segment_bytes(config);
        let now = log_bytes.min(segment_bytes);
        format!(
            "first start: {} of the {} that are free in {} are taken now (shards: {shards}, each {}); a shard that is used \
             takes more step by step, up to {} ahead of what it holds, and what it holds goes in segments of {} \
             (mappedFileSizeCommitLog) after {} h (fileReservedTime) or when the disk is nearly full",
            size(now * shards),
            size(free),
            log_root.display(),
            size(now),
            size(AHEAD_BYTES_MAX.min(segment_bytes).max(now)),
            size(segment_bytes),
            config.file_reserved_time_hours
        )
    }
}

fn size(bytes: u64) -> String {
    if bytes >= 1_024 * MIB {
        return format!("{:.1} GiB", bytes as f64 / (1_024 * MIB) as f64);
    }
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}

/// What was not there before, and goes when the start fails before anybody was served.
#[derive(Debug)]
pub struct FirstStart {
    root: PathBuf,
    log_root: PathBuf,
    /// Directories that were not there.
    new: Vec<PathBuf>,
}

impl FirstStart {
    /// `None`: a store was formatted here before. Looked at before the lock is taken.
    pub fn of(root: &Path, log_root: &Path) -> Option<FirstStart> {
        if root.join("format.json").exists() {
            return None;
        }
        let made =
            [log_root.to_owned(), root.join("config"), root.join("namesrv"), root.to_owned()];
        let new = made.into_iter().filter(|dir| !dir.exists()).collect();
        Some(FirstStart { root: root.to_owned(), log_root: log_root.to_owned(), new })
    }

    /// Removes what the start made. `format.json` goes last, and only when all else went: what is left when this is
    /// interrupted, or when an executor that still runs makes a file meanwhile, belongs to a store.
    pub fn undo(self) {
        if let Err((path, error)) = self.remove_all() {
            tracing::warn!(path = %path.display(), %error, "cannot be removed after a first start that failed");
        }
    }

    fn remove_all(&self) -> Result<(), (PathBuf, io::Error)> {
        for entry in fs::read_dir(&self.log_root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("shard-") {
                gone(&entry.path(), fs::remove_dir_all(entry.path()))?;
            }
        }
        for entry in fs::read_dir(self.root.join("config")).into_iter().flatten().flatten() {
            if store::metadata::journal::generation_of(&entry.path()).is_some() {
                gone(&entry.path(), fs::remove_file(entry.path()))?;
            }
        }
        for dir in self.new.iter().filter(|dir| **dir != self.root) {
            gone(dir, fs::remove_dir_all(dir))?;
        }
        for name in ["format.json.tmp", "format.json"] {
            let path = self.root.join(name);
            gone(&path, fs::remove_file(&path))?;
        }
        if self.new.contains(&self.root) {
            gone(&self.root, fs::remove_dir_all(&self.root))?;
        }
        Ok(())
    }
}

fn gone(path: &Path, removed: io::Result<()>) -> Result<(), (PathBuf, io::Error)> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err((path.to_owned(), error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_start_takes_at_most_256_mib_and_less_of_a_small_disk() {
        const GIB: u64 = 1 << 30;
        for (free, shards, expected) in [
            (100 * GIB, 1, 192 * MIB),
            (100 * GIB, 2, 96 * MIB),
            (100 * GIB, 64, 3 * MIB),
            (100 * GIB, 1_024, 256 * 1024),
            (180 * MIB, 1, 45 * MIB),
            (180 * MIB, 64, 720 * 1024),
            (0, 1, 256 * 1024),
        ] {
            let room = Room::within(free, shards);
            assert_eq!(room.log_bytes, expected, "{free} bytes, {shards} shards");
            assert!(room.log_bytes * u64::from(shards) <= 256 * MIB);
        }
    }

    #[test]
    fn segments_are_smaller_on_a_small_disk_unless_their_size_is_configured() {
        let mut config = BrokerConfig::default();
        for (free, shards, expected) in [
            (100 << 30, 2, SEGMENT_BYTES),
            (100 << 30, 64, 128 * MIB),
            (3 << 30, 1, 256 * MIB),
            (180 * MIB, 1, 16 * MIB),
            (180 * MIB, 64, 8 * MIB),
            (0, 1, 8 * MIB),
        ] {
            let chosen = Room::within(free, shards).segment_bytes(&config);
            assert_eq!(chosen, expected, "{free} bytes, {shards} shards");
        }
        config.mapped_file_size_commit_log = 512 * MIB;
        assert_eq!(Room::within(180 * MIB, 1).segment_bytes(&config), 512 * MIB);
    }

    #[test]
    fn what_a_first_start_made_goes_and_what_was_there_stays() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let root = dir.path().join("data");
        let (log, config) = (root.join("commitlog"), root.join("config"));
        let make = || {
            fs::create_dir_all(log.join("shard-000")).expect("room");
            fs::create_dir_all(&config).expect("room");
            for path in [
                root.join("format.json"),
                log.join("shard-000/0"),
                config.join("changes-0000000001.journal"),
            ] {
                fs::write(path, "x").expect("room");
            }
        };
        let first = FirstStart::of(&root, &log).expect("nothing is there");
        make();
        assert!(FirstStart::of(&root, &log).is_none());
        first.undo();
        assert!(!root.exists());
        fs::create_dir_all(&config).expect("room");
        fs::write(config.join("topics.json"), "{}").expect("room");
        let first = FirstStart::of(&root, &log).expect("tables alone are no store");
        make();
        first.undo();
        assert!(config.join("topics.json").exists() && !log.exists());
        assert!(!config.join("changes-0000000001.journal").exists());
        assert!(!root.join("format.json").exists());
    }
}
