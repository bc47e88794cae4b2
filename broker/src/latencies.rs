//! How long things take on a shard, for a scrape. Counted by its worker where a time is at hand: once per commit, per pull that is
//! answered with messages, and for each send as its answer leaves, by the moment at which its worker turned to it.

use std::time::{Duration, Instant};

use telemetry::Histogram;

/// The histograms of one shard, since the start.
#[derive(Default)]
pub struct Latencies {
    /// From the arrival of a send to its answer.
    pub sends: Histogram,
    /// Writes of the log; under SYNC_FLUSH with their sync.
    pub commits: Histogram,
    /// Syncs that no sender waits for, under ASYNC_FLUSH.
    pub background_syncs: Histogram,
    /// From the storing of the oldest message of a pull's answer to that answer, of what memory holds.
    pub deliveries: Histogram,
    /// From the arrival of a pull of old messages to its answer.
    pub cold_pulls: Histogram,
}

/// The sends that a commit acknowledges.
pub struct Acknowledged {
    /// All that is acknowledged, other requests included.
    pub count: u64,
    /// Sends that took longer than allowed.
    pub slow: u64,
    /// Of these the one that took the longest: when it arrived, and how long it was on its way into the log.
    pub slowest: Option<(Instant, Duration)>,
}

/// The parts of the time of a send that has just been acknowledged.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts {
    /// All of it.
    pub total: Duration,
    /// Until it was in the log: over the mesh, or waiting for the next segment.
    pub on_way: Duration,
    /// In the log, until the write that holds it began.
    pub queued: Duration,
    /// That write, with its sync.
    pub commit: Duration,
}

impl Parts {
    /// Of a send that arrived then and was on its way for so long, with a commit from `began` to `ended`.
    pub fn of((arrived, on_way): (Instant, Duration), began: Instant, ended: Instant) -> Parts {
        let appended = arrived + on_way;
        let begins = began.max(appended);
        Parts {
            total: ended.saturating_duration_since(arrived),
            on_way,
            queued: begins.saturating_duration_since(appended),
            commit: ended.saturating_duration_since(begins),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        let (arrived, ms) = (Instant::now(), Duration::from_millis);
        let parts = Parts::of((arrived, ms(5)), arrived + ms(20), arrived + ms(50));
        assert_eq!(
            parts,
            Parts { total: ms(50), on_way: ms(5), queued: ms(15), commit: ms(30) },
            "it waited for the write before"
        );
        let parts = Parts::of((arrived, ms(5)), arrived + ms(2), arrived + ms(50));
        assert_eq!(
            parts,
            Parts { total: ms(50), on_way: ms(5), queued: ms(0), commit: ms(45) },
            "it came into the write that was about to begin"
        );
    }
}
