//! What a broker has open besides connections. [`daemon::open_files`] says how many connections that leaves room for: one
//! more than the process may have would cost a log its next segment.

use std::path::Path;

/// Files of each worker: rings, bells, listeners on two ports and two families, writes to metadata. With what the process
/// has besides, 46 were measured with two workers, two shards and a name server inside.
const FILES_PER_WORKER: u64 = 32;
/// Files of the process: standard ones, the lock, held ports, signals, logs, look-ups.
const FILES_BESIDES: u64 = 32;
/// Of the port of metrics: its connections, its listeners and what holds it.
const FILES_OF_METRICS: u64 = telemetry::http::CONNECTIONS_MAX as u64 + 6;
/// Segments and index files that may come while the process runs, per shard, before retention keeps their number.
const FILES_TO_COME_PER_SHARD: u64 = 16;

/// What else a broker has open.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    /// Executors.
    pub workers: u64,
    /// Shards.
    pub shards: u64,
    /// Files below the directory of the logs.
    pub stored: u64,
}

impl Files {
    /// Counts the files that are there. Blocking, for the start only.
    pub fn of(log_root: &Path, workers: usize, shards: u16) -> Files {
        let stored = count_below(log_root);
        Files { workers: workers as u64, shards: shards.into(), stored }
    }

    /// All of them.
    pub fn count(&self) -> u64 {
        FILES_BESIDES
            + FILES_OF_METRICS
            + self.workers * FILES_PER_WORKER
            + self.shards * FILES_TO_COME_PER_SHARD
            + self.stored
    }
}

fn count_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let count = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => count_below(&entry.path()),
        _ => 1,
    };
    entries.map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_and_estimated() {
        assert_eq!(Files { workers: 2, shards: 2, stored: 40 }.count(), 32 + 38 + 64 + 32 + 40);
    }
}
