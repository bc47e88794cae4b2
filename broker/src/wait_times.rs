//! How long sends wait for their acknowledgement and pulls for their messages, for GET_BROKER_RUNTIME_INFO: counted once
//! per commit and per read of old messages, never per message. Written by a shard's worker, read by the control worker.
//!
//! Times are counted in spans, finer where most of them are: all labels that Java prints begin and end with one, and what
//! lies within one is taken for evenly spread, as Java does.

use runtime::Uptime;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Labels of the counts as Java prints them, and the time that each ends before, ms.
const LABELS: [(&str, i64); 13] = [
    ("<=0ms", 1),
    ("0~10ms", 10),
    ("10~50ms", 50),
    ("50~100ms", 100),
    ("100~200ms", 200),
    ("200~500ms", 500),
    ("500ms~1s", 1_000),
    ("1~2s", 2_000),
    ("2~3s", 3_000),
    ("3~4s", 4_000),
    ("4~5s", 5_000),
    ("5~10s", 10_000),
    ("10s~", i64::MAX),
];

/// How many spans of how many ms each there are, from 0 on; above them is one more without an end.
const STEPS: [(usize, i64); 7] =
    [(20, 1), (15, 2), (10, 5), (10, 10), (6, 50), (5, 100), (9, 1_000)];
const SPANS: usize = 76;

/// The time that each span ends before, ms.
const ENDS: [i64; SPANS] = ends();
const _: () = assert!(ENDS[SPANS - 2] == 10_000);
const _: () = assert!(ENDS[SPANS - 1] == i64::MAX);

const fn ends() -> [i64; SPANS] {
    let mut ends = [i64::MAX; SPANS];
    let (mut step, mut span, mut end) = (0, 0, 0);
    while step < STEPS.len() {
        let (count, ms) = STEPS[step];
        let mut of_step = 0;
        while of_step < count {
            end += ms;
            ends[span] = end;
            span += 1;
            of_step += 1;
        }
        step += 1;
    }
    ends
}

/// Sends by span.
type Counts = [u64; SPANS];

/// Times of one shard since the start.
pub struct WaitTimes {
    puts: [AtomicU64; SPANS],
    put_ms_max: AtomicU64,
    get_ms_max: AtomicU64,
}

impl Default for WaitTimes {
    fn default() -> Self {
        WaitTimes {
            puts: std::array::from_fn(|_| AtomicU64::default()),
            put_ms_max: AtomicU64::default(),
            get_ms_max: AtomicU64::default(),
        }
    }
}

impl WaitTimes {
    /// So many sends were acknowledged `ms` after the first of them was appended, at most.
    pub fn put(&self, ms: i64, sends: u64) {
        if sends == 0 {
            return;
        }
        let span = ENDS.partition_point(|end| *end <= ms);
        if let Some(count) = self.puts.get(span) {
            count.fetch_add(sends, Relaxed);
        }
        raise(&self.put_ms_max, ms);
    }

    /// A pull of old messages was answered after `ms`. What memory holds is answered at once.
    pub fn get(&self, ms: i64) {
        raise(&self.get_ms_max, ms);
    }
}

fn raise(max: &AtomicU64, ms: i64) {
    let ms = u64::try_from(ms).unwrap_or(0);
    // One worker writes it.
    if ms > max.load(Relaxed) {
        max.store(ms, Relaxed);
    }
}

/// Sends of all shards since the start.
fn counts_of<'a>(all: impl Iterator<Item = &'a WaitTimes>) -> Counts {
    let mut counts = [0; SPANS];
    for times in all {
        for (count, of_shard) in counts.iter_mut().zip(&times.puts) {
            *count += of_shard.load(Relaxed);
        }
    }
    counts
}

/// `putMessageDistributeTime` of all shards: sends by time, `[<=0ms]:5 [0~10ms]:3 ...`.
pub fn distribution<'a>(all: impl Iterator<Item = &'a WaitTimes>) -> String {
    let counts = counts_of(all);
    let mut spans = ENDS.iter().zip(counts).peekable();
    let of_label = |(label, end): &(&str, i64)| {
        let within = std::iter::from_fn(|| spans.next_if(|(of_span, _)| *of_span <= end));
        format!("[{label}]:{} ", within.map(|(_, count)| count).sum::<u64>())
    };
    LABELS.iter().map(of_label).collect()
}

/// The longest time that a send waited on any shard, ms, and the longest that a pull did.
pub fn longest<'a>(all: impl Iterator<Item = &'a WaitTimes>) -> (u64, u64) {
    all.fold((0, 0), |(put, get), times| {
        (put.max(times.put_ms_max.load(Relaxed)), get.max(times.get_ms_max.load(Relaxed)))
    })
}

/// Latencies are those of so many ms, as in Java.
const MINUTE_MS: i64 = 60_000;

/// How long all but a few sends of the last whole minute waited; of the time since the start while there is none yet.
pub struct LastMinute {
    /// When the minute that runs began, and what was counted until then.
    begun: (Uptime, Counts),
    /// What was counted in the one before.
    of_last: Option<Counts>,
}

impl Default for LastMinute {
    fn default() -> Self {
        LastMinute { begun: (Uptime::default(), [0; SPANS]), of_last: None }
    }
}

impl LastMinute {
    /// To be called about once a second.
    pub fn tick<'a>(&mut self, now: Uptime, all: impl Iterator<Item = &'a WaitTimes>) {
        let (begun, before) = &self.begun;
        if now - *begun < MINUTE_MS {
            return;
        }
        let counts = counts_of(all);
        let mut last = counts;
        last.iter_mut().zip(before).for_each(|(count, before)| *count -= before);
        self.of_last = Some(last);
        self.begun = (now, counts);
    }

    /// `putLatency99` for 990, `putLatency999` for 999: within so many ms so many of a thousand sends were acknowledged.
    /// 0 without a send.
    pub fn put_ms<'a>(&self, per_mille: u64, all: impl Iterator<Item = &'a WaitTimes>) -> f64 {
        let counts = self.of_last.unwrap_or_else(|| counts_of(all));
        percentile(&counts, per_mille)
    }
}

fn percentile(counts: &Counts, per_mille: u64) -> f64 {
    let total: u64 = counts.iter().sum();
    let mut rank = total.saturating_mul(per_mille) as f64 / 1_000.0;
    let mut begin = 0;
    for (end, count) in ENDS.iter().zip(counts) {
        // Nobody knows how far the last span reaches.
        let width = if *end == i64::MAX { 0 } else { end - begin };
        let count = *count as f64;
        if count > 0.0 && rank <= count {
            return begin as f64 + width as f64 * rank / count;
        }
        rank -= count;
        begin = *end;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_send_is_counted_where_its_time_belongs() {
        let shards = [WaitTimes::default(), WaitTimes::default()];
        shards[0].put(0, 5);
        shards[0].put(1, 2);
        shards[1].put(9, 1);
        shards[1].put(10, 4);
        shards[1].put(99_999, 1);
        shards[1].put(3, 0);
        shards[0].put(-7, 1);
        shards[0].get(12);
        let text = distribution(shards.iter());
        assert!(text.starts_with("[<=0ms]:6 [0~10ms]:3 [10~50ms]:4 [50~100ms]:0 "), "{text}");
        assert!(text.ends_with("[5~10s]:0 [10s~]:1 "), "{text}");
        assert_eq!(text.split_whitespace().count(), 13);
        assert_eq!(longest(shards.iter()), (99_999, 12));
    }

    #[test]
    fn labels_begin_and_end_with_spans() {
        assert!(ENDS.is_sorted());
        for (label, end) in LABELS {
            assert!(ENDS.contains(&end), "{label}");
            let times = [WaitTimes::default()];
            times[0].put(end - 1, 7);
            let text = distribution(times.iter());
            assert!(text.contains(&format!("[{label}]:7 ")), "{text}");
        }
    }

    fn of(waits: &[(i64, u64)]) -> [WaitTimes; 1] {
        let times = WaitTimes::default();
        waits.iter().for_each(|(ms, sends)| times.put(*ms, *sends));
        [times]
    }

    #[test]
    fn a_latency_is_that_of_all_but_a_few() {
        let latency = |waits: &[(i64, u64)], per_mille| {
            LastMinute::default().put_ms(per_mille, of(waits).iter())
        };
        assert_eq!(latency(&[], 990), 0.0);
        assert_eq!(latency(&[(0, 1_000)], 990), 0.99);
        // Of a thousand ten are late, and of a hundred thousand a hundred very late.
        assert_eq!(latency(&[(0, 990), (150, 10)], 990), 1.0);
        assert_eq!(latency(&[(0, 990), (150, 10)], 999), 159.0);
        assert_eq!(latency(&[(3, 980), (22, 20)], 990), 23.0);
        assert_eq!(latency(&[(1, 1), (20_000, 99)], 990), 10_000.0, "as far as anybody knows");
    }

    #[test]
    fn what_was_before_the_last_minute_does_not_count() {
        let at = |seconds: i64| Uptime::from_ms(seconds * 1_000);
        let times = of(&[(5_000, 100)]);
        let mut minute = LastMinute::default();
        for second in 0..60 {
            minute.tick(at(second), times.iter());
            assert!(minute.put_ms(990, times.iter()) > 5_000.0, "since the start");
        }
        minute.tick(at(60), times.iter());
        times[0].put(0, 10);
        assert!(minute.put_ms(990, times.iter()) > 5_000.0, "the minute that has just ended");
        minute.tick(at(119), times.iter());
        assert!(minute.put_ms(990, times.iter()) > 5_000.0);
        minute.tick(at(120), times.iter());
        assert_eq!(minute.put_ms(990, times.iter()), 0.99);
        minute.tick(at(180), times.iter());
        assert_eq!(minute.put_ms(990, times.iter()), 0.0, "nobody has sent");
    }
}
