//! What the threads of a program count, and the lines that come of it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Between two copies of the counters.
const COPY_EVERY: Duration = Duration::from_secs(1);
/// Copies that a report spans.
const COPIES: usize = 10;
/// How soon an end is noticed.
const NOTICE: Duration = Duration::from_millis(50);

/// Counters of all threads. What each means is its program's.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Requests that went well, or messages consumed.
    pub(super) done: AtomicU64,
    /// Messages in them.
    pub(super) messages: AtomicU64,
    /// Requests that could not be sent, or messages whose listener failed.
    pub(super) failed: AtomicU64,
    /// Requests that the broker refused.
    pub(super) refused: AtomicU64,
    /// Sum of round trips, or of the time since messages were made, us.
    pub(super) micros: AtomicU64,
    /// Longest of them, ms.
    pub(super) max_ms: AtomicU64,
    /// Sum of the time since messages were stored, us.
    pub(super) since_stored_micros: AtomicU64,
    /// Longest of them, ms.
    pub(super) since_stored_max_ms: AtomicU64,
    /// Checks of half messages.
    pub(super) checks: AtomicU64,
    /// Checks of what had been decided.
    pub(super) unexpected_checks: AtomicU64,
    /// Checks that were one too many.
    pub(super) duplicated_checks: AtomicU64,
}

/// A copy of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot {
    at: Instant,
    pub(super) done: u64,
    pub(super) messages: u64,
    pub(super) failed: u64,
    pub(super) micros: u64,
    pub(super) since_stored_micros: u64,
}

impl Counts {
    /// One more.
    pub(super) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    /// A counter now.
    pub(super) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    /// A request that went well.
    pub(super) fn sent(&self, took: Duration, messages: u64) {
        Counts::add(&self.done, 1);
        Counts::add(&self.messages, messages);
        Counts::add(&self.micros, took.as_micros() as u64);
        self.max_ms.fetch_max(took.as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            at: Instant::now(),
            done: Counts::get(&self.done),
            messages: Counts::get(&self.messages),
            failed: Counts::get(&self.failed),
            micros: Counts::get(&self.micros),
            since_stored_micros: Counts::get(&self.since_stored_micros),
        }
    }
}

/// What happened between two copies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) begin: Snapshot,
    pub(super) end: Snapshot,
}

impl Span {
    /// So many per second, cut to a whole number as Java does.
    pub(super) fn per_second(&self, of: impl Fn(&Snapshot) -> u64) -> u64 {
        let micros = (self.end.at - self.begin.at).as_micros().max(1);
        let count = u128::from(of(&self.end) - of(&self.begin));
        (count * 1_000_000 / micros) as u64
    }

    /// Milliseconds per one of `count`.
    pub(super) fn average_ms(
        &self,
        micros: impl Fn(&Snapshot) -> u64,
        count: impl Fn(&Snapshot) -> u64,
    ) -> f64 {
        let count = count(&self.end) - count(&self.begin);
        let micros = micros(&self.end) - micros(&self.begin);
        if count == 0 { 0.0 } else { micros as f64 / 1e3 / count as f64 }
    }
}

/// Copies the counters each second and gives a span to `show` at each report, until `ended`.
pub(super) fn report(
    counts: &Arc<Counts>,
    every: Duration,
    ended: &AtomicBool,
    mut show: impl FnMut(&Span),
) {
    let mut copies: VecDeque<Snapshot> = VecDeque::with_capacity(COPIES + 1);
    let begun = Instant::now();
    let (mut copy_at, mut report_at) = (begun + COPY_EVERY, begun + every);
    while !ended.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now >= copy_at {
            copy_at = now + COPY_EVERY;
            copies.push_back(counts.snapshot());
            if copies.len() > COPIES {
                copies.pop_front();
            }
        }
        if now >= report_at {
            report_at = now + every;
            if let (COPIES, Some(&begin), Some(&end)) =
                (copies.len(), copies.front(), copies.back())
            {
                show(&Span { begin, end });
            }
        }
        thread::sleep(NOTICE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_what_happened_between_its_ends() {
        let counts = Counts::default();
        counts.sent(Duration::from_millis(2), 16);
        let begin = counts.snapshot();
        for _ in 0..9 {
            counts.sent(Duration::from_millis(3), 16);
        }
        let mut end = counts.snapshot();
        end.at = begin.at + Duration::from_secs(2);
        let span = Span { begin, end };
        assert_eq!((span.per_second(|s| s.done), span.per_second(|s| s.messages)), (4, 72));
        assert!((span.average_ms(|s| s.micros, |s| s.done) - 3.0).abs() < 1e-9);
        assert_eq!(span.average_ms(|s| s.micros, |s| s.failed), 0.0);
        assert_eq!(Counts::get(&counts.max_ms), 3);
    }
}
