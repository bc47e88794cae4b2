//! How many connections the limit of open files leaves room for.
//!
//! A connection more than the process may have would cost a log its next segment, so connections are bounded below the
//! limit; who wants more than fit is told once, with the figures and the remedy.

use daemon::exit::{Cause, Fatal};
use std::path::Path;

/// Files of each worker: rings, bells, listeners on two ports and two families, writes to metadata. With what the process
/// has besides, 46 were measured with two workers, two shards and a name server inside.
const FILES_PER_WORKER: u64 = 32;
/// Files of the process: standard ones, the lock, held ports, signals, logs, look-ups.
const FILES_BESIDES: u64 = 32;
/// Segments and index files that may come while the process runs, per shard, before retention keeps their number.
const FILES_TO_COME_PER_SHARD: u64 = 16;
/// Connections without which a broker serves nobody: clients, tools, name servers.
const CONNECTIONS_MIN: u64 = 16;

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

    fn besides_connections(&self) -> u64 {
        FILES_BESIDES
            + self.workers * FILES_PER_WORKER
            + self.shards * FILES_TO_COME_PER_SHARD
            + self.stored
    }
}

/// The connections to accept out of `wanted` under a limit of open files (`None`: no limit). Fewer than wanted is told in
/// the log, as a warning if that many were asked for; so few that nobody would be served is an error.
pub fn connections(
    wanted: u32,
    asked: bool,
    files: Files,
    limit: Option<u64>,
) -> Result<u32, Fatal> {
    let besides = files.besides_connections();
    let Some(limit) = limit.filter(|limit| *limit < besides + u64::from(wanted)) else {
        return Ok(wanted);
    };
    let remedy =
        "raise it with LimitNOFILE= of systemd, `ulimit -Hn` or --ulimit nofile of the container";
    let left = limit.saturating_sub(besides);
    if left < CONNECTIONS_MIN.min(wanted.into()) {
        let least = besides + CONNECTIONS_MIN;
        return Err(Fatal::new(
            Cause::Machine,
            format!("only {limit} files may be open, this broker needs at least {least}: {remedy}"),
        ));
    }
    if asked {
        tracing::warn!(
            connections_max = wanted,
            open_files_max = limit,
            other_files = besides,
            accepted_max = left,
            "fewer connections than connectionsMax are accepted, because too few files may be open: {remedy}, or lower \
             connectionsMax"
        );
    } else {
        tracing::info!(
            open_files_max = limit,
            other_files = besides,
            accepted_max = left,
            "the limit of open files limits connections; to accept more, {remedy}"
        );
    }
    Ok(u32::try_from(left).unwrap_or(wanted))
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
    fn connections_leave_room_for_files_of_the_store() {
        let files = Files { workers: 2, shards: 2, stored: 40 };
        let besides = files.besides_connections();
        assert_eq!(besides, 32 + 64 + 32 + 40);
        assert_eq!(connections(50_000, true, files, None), Ok(50_000));
        assert_eq!(connections(50_000, true, files, Some(besides + 50_000)), Ok(50_000));
        assert_eq!(connections(50_000, true, files, Some(1_024)), Ok(1_024 - 168));
        let refused = connections(50_000, true, files, Some(100)).unwrap_err();
        assert_eq!(refused.cause, Cause::Machine);
        assert!(
            refused
                .sentence
                .starts_with("only 100 files may be open, this broker needs at least 184"),
            "{refused}"
        );
    }
}
