//! How the logs are doing: what each shard's worker publishes once a second, and the one sentence that operators get
//! from GET_BROKER_RUNTIME_INFO and, when it changes, in the log.
//!
//! A log that takes no messages is known by asking it, not by remembering why it stopped: so a disk that has room again
//! is healthy again without anybody saying so. Only a poisoned log stays so until the process ends.

use runtime::Disk;
use std::sync::{
    OnceLock,
    atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
};
use store::{
    Refused, Store,
    offset::{MESSAGES_END, POSITIONS_LOW},
    space::Space,
};

/// A message of this size, or the largest that is allowed, should be taken by a healthy log, bytes. Smaller ones
/// may still find room when it is refused.
const ORDINARY_BYTES: usize = 65_536;

/// State of a log, the worse the larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It takes messages, and there is room.
    #[default]
    Healthy,
    /// A name server does not serve this broker; said of no log.
    NameServerAway,
    /// It has been given more than 90 % of all bytes that it can take in its life.
    PositionsLow,
    /// The wall clock has moved ahead: nothing is deleted for its age.
    ClockParted,
    /// More of the disk is used than `diskMaxUsedSpaceRatio`.
    DiskLow,
    /// It takes no messages because index files cannot be written. Consumers go on.
    IndexBehind,
    /// It takes no messages for lack of room. Consumers go on.
    DiskFull,
    /// It has been given all bytes that it can take in its life. Consumers go on.
    PositionsUsedUp,
    /// A write or sync failed: it takes no messages until restart. Reads go on.
    LogPoisoned,
}

impl Condition {
    /// All of them, in their order.
    pub const ALL: [Condition; 9] = [
        Condition::Healthy,
        Condition::NameServerAway,
        Condition::PositionsLow,
        Condition::ClockParted,
        Condition::DiskLow,
        Condition::IndexBehind,
        Condition::DiskFull,
        Condition::PositionsUsedUp,
        Condition::LogPoisoned,
    ];

    fn of<D: Disk>(store: &Store<D>) -> Condition {
        let state = store.state();
        let bytes = ORDINARY_BYTES.min(state.log.shape().entry_bytes_max);
        match state.admit(bytes, bytes) {
            Err(Refused::Poisoned { .. }) => Condition::LogPoisoned,
            Err(Refused::DiskFull { .. }) => Condition::DiskFull,
            Err(Refused::PositionsUsedUp { .. }) => Condition::PositionsUsedUp,
            Err(Refused::IndexBehind { cause: Some(_), .. }) => Condition::IndexBehind,
            _ if store.space() == Space::Scarce => Condition::DiskLow,
            _ if store.doubts_clock() => Condition::ClockParted,
            _ if state.log.appended() >= POSITIONS_LOW => Condition::PositionsLow,
            _ => Condition::Healthy,
        }
    }

    /// Its word for people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Condition::Healthy => "healthy",
            Condition::NameServerAway => "name-server-away",
            Condition::PositionsLow => "positions-low",
            Condition::ClockParted => "clock-parted",
            Condition::DiskLow => "disk-low",
            Condition::IndexBehind => "index-behind",
            Condition::DiskFull => "disk-full",
            Condition::PositionsUsedUp => "positions-used-up",
            Condition::LogPoisoned => "log-poisoned",
        }
    }
}

/// What is known of one log. Written by its worker, read by the control worker.
#[derive(Default)]
pub struct LogState {
    condition: AtomicU8,
    /// Where it has come to.
    position: AtomicU64,
    poison: OnceLock<Box<str>>,
}

impl LogState {
    /// Asks a log how it is.
    pub fn publish<D: Disk>(&self, store: &Store<D>) {
        if let Some(cause) = store.state().log.poisoned() {
            self.poison.get_or_init(|| cause.into());
        }
        self.position.store(store.state().log.appended(), Relaxed);
        self.condition.store(Condition::of(store) as u8, Relaxed);
    }

    /// How the log was when it was asked last.
    pub fn condition(&self) -> Condition {
        let condition = usize::from(self.condition.load(Relaxed));
        Condition::ALL.get(condition).copied().unwrap_or_default()
    }
}

/// The worst of all logs, in order of their shards: `healthy`, `disk-low`, `disk-full`, or each log that is poisoned
/// and why: `log-poisoned shard=1 cause=...`, or each that comes to the end of its positions and how near it is.
pub fn summary<'a>(logs: impl Iterator<Item = &'a LogState> + Clone) -> (Condition, String) {
    let worst = logs.clone().map(LogState::condition).max().unwrap_or_default();
    let detail: fn(&LogState) -> String = match worst {
        Condition::LogPoisoned => {
            |log| format!("cause={}", log.poison.get().map_or("unknown", |cause| cause))
        }
        Condition::PositionsLow | Condition::PositionsUsedUp => {
            |log| format!("position={} limit={MESSAGES_END}", log.position.load(Relaxed))
        }
        Condition::Healthy
        | Condition::NameServerAway
        | Condition::ClockParted
        | Condition::DiskLow
        | Condition::IndexBehind
        | Condition::DiskFull => {
            return (worst, worst.name().to_owned());
        }
    };
    let concerned = logs.enumerate().filter(|(_, log)| log.condition() == worst);
    let sentences =
        concerned.map(|(shard, log)| format!("{} shard={shard} {}", worst.name(), detail(log)));
    (worst, sentences.collect::<Vec<_>>().join("; "))
}

/// What is told of a broker: its logs and, behind that, name servers that do not serve it. With healthy logs these speak
/// alone: such a broker takes messages, but not from everybody.
pub fn with_name_servers(
    (condition, logs): (Condition, String),
    failing: &[String],
) -> (Condition, String) {
    if failing.is_empty() {
        return (condition, logs);
    }
    let away = format!("name-server-away {}", failing.join(", "));
    match condition {
        Condition::Healthy => (Condition::NameServerAway, away),
        _ => (condition, format!("{logs}; {away}")),
    }
}

/// The last sentence that was logged.
#[derive(Default)]
pub struct HealthLog(String);

impl HealthLog {
    /// Writes to the log when the sentence has changed. A broker that starts well says nothing.
    pub fn note(&mut self, (condition, sentence): (Condition, String)) {
        let before = if self.0.is_empty() { Condition::Healthy.name() } else { &self.0 };
        // Positions move all the time: only that they run out is new.
        let positions = condition == Condition::PositionsLow;
        if before == sentence || (positions && before.starts_with(condition.name())) {
            return;
        }
        match condition {
            Condition::Healthy => tracing::info!(before, health = %sentence, "health"),
            Condition::ClockParted
            | Condition::DiskLow
            | Condition::PositionsLow
            | Condition::NameServerAway => {
                tracing::warn!(before, health = %sentence, "health")
            }
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
        use Condition::{DiskFull, DiskLow, Healthy, LogPoisoned, PositionsLow};
        let text = |conditions: &[Condition]| summary(logs(conditions).iter()).1;
        assert_eq!(text(&[]), "healthy");
        assert_eq!(text(&[Healthy, Healthy]), "healthy");
        assert_eq!(text(&[Healthy, DiskLow]), "disk-low");
        assert_eq!(text(&[DiskFull, DiskLow]), "disk-full");
        let sick = logs(&[LogPoisoned, DiskFull, LogPoisoned]);
        assert!(sick[2].poison.set("write: input/output error".into()).is_ok());
        let old = logs(&[Healthy, PositionsLow, PositionsLow]);
        old[2].position.store(POSITIONS_LOW, Relaxed);
        let expected = format!(
            "positions-low shard=1 position=0 limit={MESSAGES_END}; \
             positions-low shard=2 position={POSITIONS_LOW} limit={MESSAGES_END}"
        );
        assert_eq!(summary(old.iter()).1, expected);
        let expected = "log-poisoned shard=0 cause=unknown; \
                        log-poisoned shard=2 cause=write: input/output error";
        assert_eq!(summary(sick.iter()).1, expected);
    }

    #[test]
    fn a_name_server_that_is_away_is_no_health() {
        let away = ["ns-1:9876 (cannot connect)".to_owned()];
        let told = |condition: Condition, failing: &[String]| {
            with_name_servers((condition, condition.name().to_owned()), failing)
        };
        assert_eq!(told(Condition::Healthy, &[]), (Condition::Healthy, "healthy".to_owned()));
        let (condition, text) = told(Condition::Healthy, &away);
        assert_eq!(condition, Condition::NameServerAway);
        assert_eq!(text, "name-server-away ns-1:9876 (cannot connect)");
        let (condition, text) = told(Condition::DiskFull, &away);
        assert_eq!(condition, Condition::DiskFull);
        assert_eq!(text, "disk-full; name-server-away ns-1:9876 (cannot connect)");
    }

    #[test]
    fn conditions_survive_their_number() {
        for condition in Condition::ALL {
            assert_eq!(logs(&[condition])[0].condition(), condition);
        }
    }
}
