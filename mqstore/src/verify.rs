//! `verify`: everything that a data directory holds, checked.

use crate::{
    config_files::verify_config,
    data_dir::{DataDir, InspectError, now},
    finding::Findings,
    progress::Progress,
    shard::{Seen, verify_shard},
};
use std::{fmt, path::Path};

/// What was checked, and what was found.
#[derive(Debug, Default)]
pub struct Verified {
    /// What was found.
    pub findings: Findings,
    /// A broker holds the directory: it may have been written meanwhile.
    pub held: bool,
    /// Shards checked.
    pub shards: u64,
    /// Segments of their logs.
    pub segments: u64,
    /// Index files that a start would go on from.
    pub indexes: u64,
    /// Whole batches.
    pub batches: u64,
    /// Whole messages.
    pub messages: u64,
    /// Messages known to be lost in damaged places.
    pub lost_messages: u64,
    /// Tables and journals of topics and groups.
    pub config_files: u64,
}

impl Verified {
    /// Whether nothing is damaged.
    pub fn is_clean(&self) -> bool {
        self.findings.damage() == 0
    }
}

impl fmt::Display for Verified {
    /// Findings and a summary, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in self.findings.iter() {
            writeln!(f, "{finding}")?;
        }
        if self.findings.dropped() > 0 {
            writeln!(f, "... and {} more", self.findings.dropped())?;
        }
        let Verified { shards, segments, indexes, batches, messages, config_files, .. } = self;
        writeln!(
            f,
            "{shards} shards, {segments} segments, {indexes} index files, {batches} batches, \
             {messages} messages, {config_files} files of topics and groups"
        )?;
        if self.held {
            writeln!(f, "a broker is running: what it appended meanwhile was not judged")?;
        }
        match (self.findings.damage(), self.lost_messages) {
            (0, _) => write!(f, "no damage"),
            (damage, 0) => write!(f, "{damage} damaged places; no message is known to be lost"),
            (damage, lost) => write!(f, "{damage} damaged places; {lost} messages are lost"),
        }
    }
}

/// Checks the store below `root`. `log_root`: where its log is if not in `commitlog` below. `shard`: only this one.
pub fn verify(
    root: &Path,
    log_root: Option<&Path>,
    shard: Option<u16>,
    progress: &Progress,
) -> Result<Verified, InspectError> {
    verify_as(root, log_root, shard, progress, false)
}

/// As [`verify`]; `holder`: the lock is the caller's own, so nobody appends.
pub(crate) fn verify_as(
    root: &Path,
    log_root: Option<&Path>,
    shard: Option<u16>,
    progress: &Progress,
    holder: bool,
) -> Result<Verified, InspectError> {
    let mut verified = Verified::default();
    let dir = DataDir::open(root, log_root, shard, &mut verified.findings)?;
    verified.held = !holder && dir.is_held();
    verified.config_files = verify_config(&dir, &mut verified.findings)?;
    for shard in &dir.shards {
        let settings = dir.settings(*shard);
        let seen = now(verify_shard(&settings, verified.held, &mut verified.findings, progress));
        let Seen { segments, indexes, batches, messages, lost_messages } = seen?;
        verified.shards += 1;
        verified.segments += segments;
        verified.indexes += indexes;
        verified.batches += batches;
        verified.messages += messages;
        verified.lost_messages += lost_messages;
    }
    progress.finish();
    Ok(verified)
}
