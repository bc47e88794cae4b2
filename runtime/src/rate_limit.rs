//! Lets one of many equal reports through, so that a shortage does not fill the log, too.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Pause between two reports of the same kind, unless another is asked for.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// For one kind of report, on one executor.
#[derive(Debug)]
pub struct RateLimit {
    pause: Duration,
    told: Cell<Option<Instant>>,
    held_back: Cell<u64>,
}

/// One report in ten seconds.
impl Default for RateLimit {
    fn default() -> RateLimit {
        RateLimit::new(TELL_AGAIN)
    }
}

impl RateLimit {
    /// One report at once, and then at most one per `pause`.
    pub fn new(pause: Duration) -> RateLimit {
        RateLimit { pause, told: Cell::new(None), held_back: Cell::new(0) }
    }

    /// Takes note of one more. `Some`: it is to be told, with how many were not since the last.
    pub fn note(&self) -> Option<u64> {
        self.note_at(Instant::now())
    }

    fn note_at(&self, now: Instant) -> Option<u64> {
        let held_back = self.held_back.get();
        if self.told.get().is_some_and(|told| now.saturating_duration_since(told) < self.pause) {
            self.held_back.set(held_back + 1);
            return None;
        }
        self.told.set(Some(now));
        self.held_back.set(0);
        Some(held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_is_told_and_the_others_are_counted() {
        let limit = RateLimit::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| limit.note_at(start + Duration::from_secs(seconds));
        let told: Vec<_> = (0..25).filter_map(at).collect();
        assert_eq!(told, [0, 9, 9]);
    }
}
