//! What was counted in the last minute, hour and day: sums by spans of ten seconds, ten minutes and an hour. Plain
//! structs; time is an argument, and nothing has to be done as it passes.
//!
//! As with Java's broker a window is as long as its spans that are over, and the one under way; one that was begun late
//! is no shorter than a span. Source: Apache RocketMQ 5.3.3, common `StatsItem`.

use runtime::Uptime;

/// Sums over a window that ends now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window<const N: usize> {
    /// What was counted.
    pub(super) sums: [u64; N],
    /// Length of the window, ms.
    pub(super) ms: i64,
}

/// The last `SPANS` spans of `SPAN_MS`, in a ring.
#[derive(Clone, Debug)]
struct Ring<const N: usize, const SPANS: usize, const SPAN_MS: i64> {
    spans: [[u64; N]; SPANS],
    /// Number of the newest one that something was counted in.
    newest: i64,
    /// Number of the first one.
    first: i64,
}

impl<const N: usize, const SPANS: usize, const SPAN_MS: i64> Ring<N, SPANS, SPAN_MS> {
    fn new(now: Uptime) -> Self {
        let span = Self::span_of(now);
        Ring { spans: [[0; N]; SPANS], newest: span, first: span }
    }

    fn span_of(now: Uptime) -> i64 {
        (now - Uptime::default()).div_euclid(SPAN_MS)
    }

    fn of_span(&mut self, span: i64) -> &mut [u64; N] {
        &mut self.spans[span.rem_euclid(SPANS as i64) as usize]
    }

    fn add(&mut self, now: Uptime, values: [u64; N]) {
        let span = Self::span_of(now).max(self.newest);
        let passed = (span - self.newest).min(SPANS as i64);
        for step in 0..passed {
            *self.of_span(span - step) = [0; N];
        }
        self.newest = span;
        add_to(self.of_span(span), values);
    }

    fn window(&self, now: Uptime) -> Window<N> {
        let span = Self::span_of(now).max(self.newest);
        let oldest = span - SPANS as i64 + 1;
        let mut sums = [0; N];
        for counted in oldest.max(self.newest - SPANS as i64 + 1)..=self.newest {
            let index = counted.rem_euclid(SPANS as i64) as usize;
            add_to(&mut sums, self.spans[index]);
        }
        let begin = oldest.max(self.first) * SPAN_MS;
        Window { sums, ms: (now - Uptime::default() - begin).max(SPAN_MS) }
    }
}

fn add_to<const N: usize>(sums: &mut [u64; N], values: [u64; N]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum = sum.saturating_add(value);
    }
}

/// Numbers that are counted together: in all, and in the last minute, hour and day.
#[derive(Clone, Debug)]
pub(super) struct Windows<const N: usize> {
    total: [u64; N],
    minute: Ring<N, 7, 10_000>,
    hour: Ring<N, 7, 600_000>,
    day: Ring<N, 25, 3_600_000>,
}

impl<const N: usize> Windows<N> {
    /// Nothing was counted before `now`.
    pub(super) fn new(now: Uptime) -> Windows<N> {
        let (minute, hour, day) = (Ring::new(now), Ring::new(now), Ring::new(now));
        Windows { total: [0; N], minute, hour, day }
    }

    /// Counts.
    pub(super) fn add(&mut self, now: Uptime, values: [u64; N]) {
        add_to(&mut self.total, values);
        self.minute.add(now, values);
        self.hour.add(now, values);
        self.day.add(now, values);
    }

    /// All that was counted.
    pub(super) fn total(&self) -> [u64; N] {
        self.total
    }

    /// Minute, hour and day that end now.
    pub(super) fn last(&self, now: Uptime) -> [Window<N>; 3] {
        [self.minute.window(now), self.hour.window(now), self.day.window(now)]
    }

    /// For how long nothing was counted, ms, about.
    pub(super) fn idle_ms(&self, now: Uptime) -> i64 {
        (now - Uptime::default()) - self.minute.newest * 10_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Uptime = Uptime::from_ms(36_000_000);

    fn sums(windows: &Windows<1>, now: Uptime) -> [u64; 3] {
        windows.last(now).map(|window| window.sums[0])
    }

    #[test]
    fn a_window_is_as_long_as_something_was_counted_and_no_shorter_than_a_span() {
        let mut windows = Windows::new(START);
        windows.add(START, [30]);
        let ms = |now| windows.last(now).map(|window| window.ms);
        assert_eq!(ms(START), [10_000, 600_000, 3_600_000]);
        assert_eq!(ms(START + 25_000), [25_000, 600_000, 3_600_000]);
        assert_eq!(ms(START + 700_000), [60_000, 700_000, 3_600_000]);
        assert_eq!(ms(START + 69_999)[0], 69_999, "six spans and the one under way");
    }

    #[test]
    fn what_was_counted_leaves_the_windows_one_by_one() {
        let mut windows = Windows::new(START);
        for second in 0..100 {
            windows.add(START + second * 1_000, [2]);
        }
        let now = START + 99_500;
        assert_eq!(sums(&windows, now), [140, 200, 200], "seventy seconds of a hundred");
        assert_eq!(sums(&windows, now + 60_000), [20, 200, 200]);
        assert_eq!(sums(&windows, now + 70_000), [0, 200, 200]);
        assert_eq!(sums(&windows, START + 3_600_000 + 600_000), [0, 0, 200]);
        assert_eq!(sums(&windows, START + 86_400_000), [0, 0, 200]);
        assert_eq!(sums(&windows, START + 90_000_000), [0, 0, 0]);
        assert_eq!(windows.total(), [200]);
        assert_eq!(windows.idle_ms(START + 100_000), 10_000);
    }

    #[test]
    fn a_ring_that_rested_for_long_holds_nothing_old() {
        let mut windows = Windows::new(START);
        windows.add(START, [5]);
        let later = START + 10 * 86_400_000;
        windows.add(later, [3]);
        assert_eq!(sums(&windows, later), [3, 3, 3]);
        windows.add(later - 5_000, [1]);
        assert_eq!(sums(&windows, later), [4, 4, 4], "a clock that stands still loses nothing");
        assert_eq!(windows.total(), [9]);
    }
}
