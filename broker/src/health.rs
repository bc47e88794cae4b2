//! How the logs are doing: what each shard's worker publishes once a second, and the one sentence that operators get
//! from GET_BROKER_RUNTIME_INFO and, when it changes, in the log.
//!
//! A log that takes no messages is known by asking it, not by remembering why it stopped: so a disk that has room again
//! is healthy again without anybody saying so. Only a poisoned log stays so until the process ends.

use runtime::Disk;
use std::sync::{
    OnceLock,
    atomic::{AtomicU8, Ordering::Relaxed},
};
use store::{Refused, Store, space::Space};

/// A message of this size, or the largest that is allowed, should be taken by a healthy log, bytes. Smaller ones
/// may still find room when it is refused.
const ORDINARY_BYTES: usize = 65_536;

/// State of a log, the worse the larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It takes messages, and there is room.
    #[default]
    Healthy,
    /// More of the disk is used than `diskMaxUsedSpaceRatio`.
    DiskLow,
    /// It takes no messages for lack of room. Consumers go on.
    DiskFull,
    /// A write or sync failed: it takes no messages until restart. Reads go on.
    LogPoisoned,
}

impl Condition {
    const ALL: [Condition; 4] =
        [Condition::Healthy, Condition::DiskLow, Condition::DiskFull, Condition::LogPoisoned];

    fn of<D: Disk>(store: &Store<D>) -> Condition {
        let state = store.state();
        let bytes = ORDINARY_BYTES.min(state.log.shape().entry_bytes_max);
        match state.admit(bytes, bytes) {
            Err(Refused::Poisoned { .. }) => Condition::LogPoisoned,
            Err(Refused::DiskFull { .. }) => Condition::DiskFull,
            _ if store.space() == Space::Scarce => Condition::DiskLow,
            _ => Condition::Healthy,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Condition::Healthy => "healthy",
            Condition::DiskLow => "disk-low",
            Condition::DiskFull => "disk-full",
            Condition::LogPoisoned => "log-poisoned",
        }
    }
}

/// What is known of one log. Written by its worker, read by the control worker.
#[derive(Default)]
pub struct LogState {
    condition: AtomicU8,
    poison: OnceLock<Box<str>>,
}

impl LogState {
    /// Asks a log how it is.
    pub fn publish<D: Disk>(&self, store: &Store<D>) {
        if let Some(cause) = store.state().log.poisoned() {
            self.poison.get_or_init(|| cause.into());
        }
        self.condition.store(Condition::of(store) as u8, Relaxed);
    }

    /// How the log was when it was asked last.
    pub fn condition(&self) -> Condition {
        let condition = usize::from(self.condition.load(Relaxed));
        Condition::ALL.get(condition).copied().unwrap_or_default()
    }
}

/// The worst of all logs, in order of their shards: `healthy`, `disk-low`, `disk-full`, or each log that is poisoned
/// and why: `log-poisoned shard=1 cause=...`.
pub fn summary<'a>(logs: impl Iterator<Item = &'a LogState> + Clone) -> (Condition, String) {
    let worst = logs.clone().map(LogState::condition).max().unwrap_or_default();
    if worst < Condition::LogPoisoned {
        return (worst, worst.name().to_owned());
    }
    let poisoned = logs.enumerate().filter(|(_, log)| log.condition() == worst);
    let sentences = poisoned.map(|(shard, log)| {
        let cause = log.poison.get().map_or("unknown", |cause| cause);
        format!("{} shard={shard} cause={cause}", worst.name())
    });
    (worst, sentences.collect::<Vec<_>>().join("; "))
}

/// The last sentence that was logged.
#[derive(Default)]
pub struct HealthLog(String);

impl HealthLog {
    /// Writes to the log when the sentence has changed. A broker that starts well says nothing.
    pub fn note(&mut self, (condition, sentence): (Condition, String)) {
        let before = if self.0.is_empty() { Condition::Healthy.name() } else { &self.0 };
        if before == sentence {
            return;
        }
        match condition {
            Condition::Healthy => tracing::info!(before, health = %sentence, "health"),
            Condition::DiskLow => tracing::warn!(before, health = %sentence, "health"),
            _ => tracing::error!(before, health = %sentence, "health"),
        }
        self.0 = sentence;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(conditions: &[Condition]) -> Vec<LogState> {
        let state = |condition: &Condition| {
            let state = LogState::default();
            state.condition.store(*condition as u8, Relaxed);
            state
        };
        conditions.iter().map(state).collect()
    }

    #[test]
    fn the_worst_log_speaks_for_all() {
        use Condition::{DiskFull, DiskLow, Healthy, LogPoisoned};
        let text = |conditions: &[Condition]| summary(logs(conditions).iter()).1;
        assert_eq!(text(&[]), "healthy");
        assert_eq!(text(&[Healthy, Healthy]), "healthy");
        assert_eq!(text(&[Healthy, DiskLow]), "disk-low");
        assert_eq!(text(&[DiskFull, DiskLow]), "disk-full");
        let sick = logs(&[LogPoisoned, DiskFull, LogPoisoned]);
        assert!(sick[2].poison.set("write: input/output error".into()).is_ok());
        let expected = "log-poisoned shard=0 cause=unknown; \
                        log-poisoned shard=2 cause=write: input/output error";
        assert_eq!(summary(sick.iter()).1, expected);
    }

    #[test]
    fn conditions_survive_their_number() {
        for condition in Condition::ALL {
            assert_eq!(logs(&[condition])[0].condition(), condition);
        }
    }
}
