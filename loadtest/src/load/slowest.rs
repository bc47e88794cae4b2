//! Which moments of a run were the slowest, and whether the loader itself stood still in them.
//!
//! A maximum says little without its moment: with it, the broker's log, the disk's trace or the machine's own pauses
//! can be laid beside it.

use serde_json::{Value, json};

/// Length of a moment.
const MOMENT_NANOS: u64 = 100_000_000;
/// So many moments are kept.
const KEPT: usize = 8;

/// The slowest tenths of a second, the slowest first.
#[derive(Default)]
pub struct Slowest {
    open: Moment,
    kept: Vec<Moment>,
}

/// A tenth of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    number: u64,
    /// The longest latency that ended in it.
    pub latency_nanos: u64,
    /// The longest time in which the loader did not look at its clock; it spins, so somebody else had its core.
    pub pause_nanos: u64,
}

impl Slowest {
    /// The loader looks at its clock, `pause` after it did last.
    pub fn look(&mut self, now: u64, pause: u64) {
        let number = now / MOMENT_NANOS;
        if number != self.open.number {
            self.close();
            self.open = Moment { number, ..Moment::default() };
        }
        self.open.pause_nanos = self.open.pause_nanos.max(pause);
    }

    /// An answer came at the time of the last look.
    pub fn answered(&mut self, latency: u64) {
        self.open.latency_nanos = self.open.latency_nanos.max(latency);
    }

    /// Ends the last moment; the slowest first.
    pub fn into_moments(mut self) -> Vec<Moment> {
        self.close();
        self.kept
    }

    fn close(&mut self) {
        let place = self.kept.partition_point(|kept| kept.latency_nanos >= self.open.latency_nanos);
        if self.open.latency_nanos > 0 && place < KEPT {
            self.kept.insert(place, self.open);
            self.kept.truncate(KEPT);
        }
    }
}

impl Moment {
    /// With its time of the wall clock; `started_ms` is when the loader's clock was 0.
    pub fn to_json(self, started_ms: u64) -> Value {
        json!({
            "unix_ms": started_ms + self.number * MOMENT_NANOS / 1_000_000,
            "latency_us": self.latency_nanos as f64 / 1e3,
            "loader_pause_us": self.pause_nanos as f64 / 1e3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_moments_are_kept_with_the_pauses_of_the_loader() {
        let mut slowest = Slowest::default();
        for tenth in 0..20 {
            slowest.look(tenth * MOMENT_NANOS, 10);
            slowest.answered(1000 + tenth);
            slowest.look(tenth * MOMENT_NANOS + 5, 5 + tenth);
            slowest.answered(1);
        }
        let moments = slowest.into_moments();
        let latencies: Vec<u64> = moments.iter().map(|moment| moment.latency_nanos).collect();
        assert_eq!(latencies, [1019, 1018, 1017, 1016, 1015, 1014, 1013, 1012]);
        assert_eq!(moments[0].pause_nanos, 24);
        assert_eq!(moments[0].to_json(5_000)["unix_ms"], 6_900);
    }

    #[test]
    fn moments_without_an_answer_are_not_kept() {
        let mut slowest = Slowest::default();
        slowest.look(5 * MOMENT_NANOS, 7);
        slowest.look(9 * MOMENT_NANOS, 7);
        assert!(slowest.into_moments().is_empty());
    }
}
