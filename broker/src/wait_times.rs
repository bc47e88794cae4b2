//! How long sends wait for their acknowledgement and pulls for their messages, for GET_BROKER_RUNTIME_INFO: counted once
//! per commit and per read of old messages, never per message. Written by a shard's worker, read by the control worker.

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

/// Times of one shard since the start.
#[derive(Default)]
pub struct WaitTimes {
    puts: [AtomicU64; LABELS.len()],
    put_ms_max: AtomicU64,
    get_ms_max: AtomicU64,
}

impl WaitTimes {
    /// So many sends were acknowledged `ms` after the first of them was appended, at most.
    pub fn put(&self, ms: i64, sends: u64) {
        if sends == 0 {
            return;
        }
        let index = LABELS.iter().position(|(_, end)| ms < *end).unwrap_or(LABELS.len() - 1);
        if let Some(count) = self.puts.get(index) {
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

/// `putMessageDistributeTime` of all shards: sends by time, `[<=0ms]:5 [0~10ms]:3 ...`.
pub fn distribution<'a>(all: impl Iterator<Item = &'a WaitTimes>) -> String {
    let mut counts = [0; LABELS.len()];
    for times in all {
        for (count, of_shard) in counts.iter_mut().zip(&times.puts) {
            *count += of_shard.load(Relaxed);
        }
    }
    LABELS.iter().zip(counts).map(|((label, _), count)| format!("[{label}]:{count} ")).collect()
}

/// The longest time that a send waited on any shard, ms, and the longest that a pull did.
pub fn longest<'a>(all: impl Iterator<Item = &'a WaitTimes>) -> (u64, u64) {
    all.fold((0, 0), |(put, get), times| {
        (put.max(times.put_ms_max.load(Relaxed)), get.max(times.get_ms_max.load(Relaxed)))
    })
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
}
