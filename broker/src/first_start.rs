//! The first start on a directory: what it takes of the disk, checked before anything is written, said in one line, and
//! taken back when the start fails. Called by `main`.
//!
//! A log begins with a small segment ([`store::Layout`]): all of them together take at most 192 MiB, and less on
//! a small disk.

use crate::config::BrokerConfig;
use daemon::exit::{Cause, Fatal};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use store::{
    format::Format,
    layout::{Layout, USUAL_SEGMENT_BYTES},
};

const MIB: u64 = 1 << 20;
/// What all logs of a store that was never used take together; with journals and what the start itself needs it stays
/// below 256 MiB.
const TAKEN_BYTES_MAX: u64 = 192 * MIB;
/// A log does not begin with more.
const FIRST_BYTES_MAX: u64 = 64 * MIB;
/// Of a disk with less room they take at most one part in so many.
const TAKEN_SHARE: u64 = 4;
/// What a log needs to be of use.
const FIRST_BYTES_MIN: u64 = 256 * 1024;
/// A disk that does not hold so many of the smallest segments for each log is too small for them: of a log that has no more
/// than that, a large part is always ahead of it or about to go.
const SEGMENTS_NEEDED: u64 = 4;
/// So many segments of each log fit the disk: one is ahead of the log, and the oldest can go before the disk is full.
const SEGMENTS_MIN: u64 = 16;
/// What a start needs besides its logs: the probe, tables of topics and groups.
const BESIDE_BYTES: u64 = 16 * MIB;

/// The room that logs find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// What of the way to the logs is there already.
    dir: PathBuf,
    free: u64,
}

impl Room {
    /// Looks at the file system that `log_root` is or will be on.
    pub fn of(log_root: &Path) -> Result<Room, Fatal> {
        let error = |error: io::Error| {
            Fatal::new(Cause::Data, format!("measure {}: {error}", log_root.display()))
        };
        let dir = existing(log_root);
        let stat = rustix::fs::statvfs(dir).map_err(|errno| error(errno.into()))?;
        Ok(Room { dir: dir.to_owned(), free: stat.f_bavail.saturating_mul(stat.f_frsize) })
    }

    /// It is an error when the logs of so many shards do not find what they need.
    pub fn check(&self, config: &BrokerConfig, shards: u16) -> Result<(), Fatal> {
        let least = u64::from(shards) * log_bytes_needed(config) + BESIDE_BYTES;
        if self.free >= least {
            return Ok(());
        }
        let sentence = format!(
            "{}: {} are free, a new store with {} needs at least {}; make room, or give it another \
             directory (storePathRootDir, storePathCommitLog) or fewer shards",
            self.dir.display(),
            size(self.free),
            daemon::words::counted(shards.into(), "shard"),
            size(least)
        );
        Err(Fatal::new(Cause::Machine, sentence))
    }

    /// Segments of a new store: as long as configured, shorter than usual where nothing is configured and the disk is
    /// small, and the first ones small.
    pub fn layout(&self, config: &BrokerConfig, shards: u16) -> Layout {
        let segment_bytes = self.segment_bytes(config, shards);
        let share = TAKEN_BYTES_MAX.min(self.free / TAKEN_SHARE) / u64::from(shards);
        let first_max = share.clamp(FIRST_BYTES_MIN, FIRST_BYTES_MAX);
        let mut halves = std::iter::successors(Some(segment_bytes), |bytes| Some(bytes / 2));
        let first = halves.find(|bytes| *bytes <= first_max);
        let layout = first.and_then(|first| Layout::new(first, segment_bytes));
        layout.unwrap_or(Layout::even(segment_bytes))
    }

    /// Most logs that find what they need, at least one.
    pub fn shards_max(&self, config: &BrokerConfig) -> usize {
        let fitting = self.free.saturating_sub(BESIDE_BYTES) / log_bytes_needed(config);
        usize::try_from(fitting).unwrap_or(usize::MAX).max(1)
    }

    fn segment_bytes(&self, config: &BrokerConfig, shards: u16) -> u64 {
        let configured = config.mapped_file_size_commit_log;
        if configured != USUAL_SEGMENT_BYTES {
            return configured;
        }
        let share = (self.free / u64::from(shards) / SEGMENTS_MIN).max(1);
        let fitting = 1 << share.ilog2();
        fitting.max(smallest_segment(config)).min(USUAL_SEGMENT_BYTES)
    }

    /// What a first start takes and will take.
    pub fn sentence(&self, config: &BrokerConfig, format: &Format, log_root: &Path) -> String {
        let Format { shards, layout, .. } = format;
        format!(
            "first start: {} of the {} that are free in {} are taken now (shards: {shards}, each {}); a shard that is used \
             takes as much again, then as much as it has each time, up to segments of {} (mappedFileSizeCommitLog), and keeps \
             room for what may come at once ahead of what it holds; a segment goes after {} h (fileReservedTime) or when the disk is nearly full",
            size(layout.first_bytes() * u64::from(*shards)),
            size(self.free),
            log_root.display(),
            size(layout.first_bytes()),
            size(layout.segment_bytes()),
            config.file_reserved_time_hours
        )
    }
}

/// The part of the way to a directory that is there already.
pub fn existing(dir: &Path) -> &Path {
    let existing = dir.ancestors().find(|dir| dir.is_dir());
    existing.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The largest message fits, and is a part of it.
fn smallest_segment(config: &BrokerConfig) -> u64 {
    (2 * u64::from(config.max_message_size)).next_power_of_two().max(8 * MIB)
}

/// What each log needs of the disk. Who configures the size of segments knows what they hold.
fn log_bytes_needed(config: &BrokerConfig) -> u64 {
    if config.mapped_file_size_commit_log == USUAL_SEGMENT_BYTES {
        SEGMENTS_NEEDED * smallest_segment(config)
    } else {
        FIRST_BYTES_MIN
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

    fn room(free: u64) -> Room {
        Room { dir: PathBuf::new(), free }
    }

    #[test]
    fn a_first_start_takes_at_most_256_mib_and_less_of_a_small_disk() {
        const GIB: u64 = 1 << 30;
        let config = BrokerConfig::default();
        for (free, shards, first, segment) in [
            (100 * GIB, 1, 64 * MIB, GIB),
            (100 * GIB, 2, 64 * MIB, GIB),
            (100 * GIB, 6, 32 * MIB, GIB),
            (100 * GIB, 64, 2 * MIB, 64 * MIB),
            (10_000 * GIB, 64, 2 * MIB, GIB),
            (100_000 * GIB, 1_024, 256 * 1024, GIB),
            (3 * GIB, 1, 64 * MIB, 128 * MIB),
            (1_400 * MIB, 2, 32 * MIB, 32 * MIB),
            (180 * MIB, 1, 8 * MIB, 8 * MIB),
            (180 * MIB, 64, 512 * 1024, 8 * MIB),
            (0, 1, 256 * 1024, 8 * MIB),
        ] {
            let layout = room(free).layout(&config, shards);
            let expected = Layout::new(first, segment).expect("doubled some times");
            assert_eq!(layout, expected, "{free} bytes, {shards} shards");
            assert!(layout.first_bytes() * u64::from(shards) <= 256 * MIB);
        }
    }

    #[test]
    fn a_small_disk_has_fewer_logs() {
        let config = BrokerConfig::default();
        let most = |free| room(free).shards_max(&config);
        assert_eq!([0, 48 * MIB, 79 * MIB, 80 * MIB, 3 << 30].map(most), [1, 1, 1, 2, 95]);
    }

    #[test]
    fn a_size_that_is_configured_stays() {
        for (configured, first) in [(512 * MIB, 32 * MIB), (24 * MIB, 24 * MIB), (12_288, 12_288)] {
            let config =
                BrokerConfig { mapped_file_size_commit_log: configured, ..BrokerConfig::default() };
            let layout = room(180 * MIB).layout(&config, 1);
            assert_eq!(layout, Layout::new(first, configured).expect("doubled some times"));
        }
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
