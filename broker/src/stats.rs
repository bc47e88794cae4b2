//! Counters. Each shard counts in plain cells; once a second its totals go into atomics that the control worker reads
//! for GET_BROKER_RUNTIME_INFO and the line in the log.

use crate::health::LogState;
use std::{
    cell::Cell,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

#[derive(Default)]
struct Cells {
    pulled_messages: Cell<u64>,
    pulled_bytes: Cell<u64>,
    pull_hits: Cell<u64>,
    pull_misses: Cell<u64>,
    refused: Cell<u64>,
}

/// What one shard counts itself; the store counts appends.
#[derive(Clone, Default)]
pub struct Tally(Rc<Cells>);

fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get() + more);
}

impl Tally {
    /// A pull was answered with messages.
    pub fn pulled(&self, messages: u64, bytes: u64) {
        add(&self.0.pulled_messages, messages);
        add(&self.0.pulled_bytes, bytes);
        add(&self.0.pull_hits, 1);
    }

    /// A pull found nothing.
    pub fn missed(&self) {
        add(&self.0.pull_misses, 1);
    }

    /// Sends were refused.
    pub fn refused(&self, count: u64) {
        add(&self.0.refused, count);
    }
}

/// Totals of one shard since start, written by its executor, read by the control worker.
#[derive(Default)]
pub struct Totals {
    /// Messages stored.
    pub put_messages: AtomicU64,
    /// Bytes of their records.
    pub put_bytes: AtomicU64,
    /// Messages pulled.
    pub got_messages: AtomicU64,
    /// Bytes of their records.
    pub got_bytes: AtomicU64,
    /// Pulls that found messages.
    pub get_hits: AtomicU64,
    /// Pulls that found none.
    pub get_misses: AtomicU64,
    /// Sends refused by the log.
    pub refused: AtomicU64,
    /// Bytes appended and not committed.
    pub inflight_bytes: AtomicU64,
    /// Pulls that wait.
    pub parked_pulls: AtomicU64,
    /// End of the log.
    pub log_end: AtomicU64,
    /// Store timestamp of the oldest message, ms; the largest number when there is none.
    pub earliest_store_ms: AtomicU64,
    /// Connections of the executor; counted by the first shard on it.
    pub connections: AtomicU64,
    /// How its log is doing.
    pub log: LogState,
}

impl Totals {
    /// Takes over what a shard has counted.
    pub fn publish(
        &self,
        tally: &Tally,
        state: &store::StoreState,
        parked: usize,
        connections: usize,
    ) {
        let counters = state.counters();
        self.put_messages.store(counters.messages, Relaxed);
        self.put_bytes.store(counters.record_bytes, Relaxed);
        self.got_messages.store(tally.0.pulled_messages.get(), Relaxed);
        self.got_bytes.store(tally.0.pulled_bytes.get(), Relaxed);
        self.get_hits.store(tally.0.pull_hits.get(), Relaxed);
        self.get_misses.store(tally.0.pull_misses.get(), Relaxed);
        let earliest = state.earliest_store_ms().and_then(|time| u64::try_from(time).ok());
        self.earliest_store_ms.store(earliest.unwrap_or(u64::MAX), Relaxed);
        self.refused.store(tally.0.refused.get(), Relaxed);
        self.inflight_bytes.store(state.log.inflight_bytes(), Relaxed);
        self.parked_pulls.store(parked as u64, Relaxed);
        self.log_end.store(state.log.appended(), Relaxed);
        self.connections.store(connections as u64, Relaxed);
    }
}

/// The sum over all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Messages stored.
    pub put_messages: u64,
    /// Bytes of their records.
    pub put_bytes: u64,
    /// Messages pulled.
    pub got_messages: u64,
    /// Bytes of their records.
    pub got_bytes: u64,
    /// Pulls that found messages.
    pub get_hits: u64,
    /// Pulls that found none.
    pub get_misses: u64,
    /// Sends refused by the log.
    pub refused: u64,
    /// Bytes appended and not committed.
    pub inflight_bytes: u64,
    /// Pulls that wait.
    pub parked_pulls: u64,
    /// Sum of the logs' ends.
    pub log_bytes: u64,
    /// Open connections.
    pub connections: u64,
}

impl Sum {
    /// Adds up the shards.
    pub fn of(totals: &[Totals]) -> Sum {
        let sum = |field: fn(&Totals) -> &AtomicU64| -> u64 {
            totals.iter().map(|totals| field(totals).load(Relaxed)).sum()
        };
        Sum {
            put_messages: sum(|totals| &totals.put_messages),
            put_bytes: sum(|totals| &totals.put_bytes),
            got_messages: sum(|totals| &totals.got_messages),
            got_bytes: sum(|totals| &totals.got_bytes),
            get_hits: sum(|totals| &totals.get_hits),
            get_misses: sum(|totals| &totals.get_misses),
            refused: sum(|totals| &totals.refused),
            inflight_bytes: sum(|totals| &totals.inflight_bytes),
            parked_pulls: sum(|totals| &totals.parked_pulls),
            log_bytes: sum(|totals| &totals.log_end),
            connections: sum(|totals| &totals.connections),
        }
    }
}

/// Store timestamp of the oldest message of all shards, ms.
pub fn earliest_store_ms(totals: &[Totals]) -> Option<i64> {
    let times = totals.iter().map(|totals| totals.earliest_store_ms.load(Relaxed));
    times.filter(|time| *time > 0).min().and_then(|time| i64::try_from(time).ok())
}

/// Totals at the last two midnights (UTC), for tools that show yesterday and today.
#[derive(Clone, Copy, Debug, Default)]
pub struct Days {
    today: i64,
    /// Sum at the start of yesterday, as far back as this process goes.
    pub yesterday_morning: Sum,
    /// Sum at the start of today.
    pub today_morning: Sum,
}

impl Days {
    /// Moves on when a new day has begun.
    pub fn note(&mut self, now: i64, sum: Sum) {
        let today = now.div_euclid(86_400_000);
        if self.today != 0 && today != self.today {
            self.yesterday_morning = self.today_morning;
            self.today_morning = sum;
        }
        self.today = today;
    }
}

/// Rates over the last 10 s, 1 min and 10 min, from one sample a second.
#[derive(Default)]
pub struct Rates {
    samples: std::collections::VecDeque<(i64, Sum)>,
}

/// Samples kept: ten minutes of one a second, and one to compare with.
const SAMPLES_MAX: usize = 601;

impl Rates {
    /// Takes a sample.
    pub fn sample(&mut self, now: i64, sum: Sum) {
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((now, sum));
    }

    /// `field` per second over 10 s, 1 min, 10 min, as Java prints it: three numbers, blanks between.
    pub fn text(&self, field: fn(&Sum) -> u64) -> String {
        let rates: Vec<String> =
            [10, 60, 600].map(|seconds| format!("{:.2}", self.rate(seconds, field))).into();
        rates.join(" ")
    }

    fn rate(&self, seconds: usize, field: fn(&Sum) -> u64) -> f64 {
        let Some((end, last)) = self.samples.back() else { return 0.0 };
        let index = self.samples.len().saturating_sub(seconds + 1);
        let Some((start, first)) = self.samples.get(index) else { return 0.0 };
        let elapsed = (end - start) as f64 / 1000.0;
        let more = field(last).saturating_sub(field(first)) as f64;
        if elapsed > 0.0 { more / elapsed } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_look_back_as_far_as_they_can() {
        let mut rates = Rates::default();
        assert_eq!(rates.text(|sum| sum.put_messages), "0.00 0.00 0.00");
        for second in 0..30 {
            let sum = Sum { put_messages: second * 100, ..Sum::default() };
            rates.sample(second as i64 * 1000, sum);
        }
        assert_eq!(rates.text(|sum| sum.put_messages), "100.00 100.00 100.00");
    }
}
