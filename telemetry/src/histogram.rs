//! Counts of times in buckets, made for the message path: to count one is to find its bucket by its leading bit, and to
//! add to two cells that nobody else writes.
//!
//! There are two buckets for each doubling, from 32 us to 16.8 s, so that what is read out of them is right within a fifth.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The first bucket ends with 2 to this power, us.
const FIRST_EXPONENT: u32 = 5;
/// The last one that ends does with 2 to this power, us.
const LAST_EXPONENT: u32 = 24;
/// Buckets that end.
const BOUNDS: usize = 2 * (LAST_EXPONENT - FIRST_EXPONENT) as usize + 1;

/// How long something took, how often. One thread adds, any thread reads.
pub struct Histogram {
    /// The last one has no end.
    counts: [AtomicU64; BOUNDS + 1],
    sum_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: std::array::from_fn(|_| AtomicU64::new(0)), sum_us: AtomicU64::new(0) }
    }
}

/// A bucket holds what is not longer than its bound.
fn bucket(us: u64) -> usize {
    let before = us.saturating_sub(1);
    if before < 1 << FIRST_EXPONENT {
        return 0;
    }
    let exponent = before.ilog2();
    let upper_half = (before >> (exponent - 1)) & 1;
    let index = 1 + 2 * (exponent - FIRST_EXPONENT) as usize + upper_half as usize;
    index.min(BOUNDS)
}

/// The longest time in a bucket that ends, us.
fn bound_us(bucket: usize) -> u64 {
    let (doublings, odd) = (bucket / 2, bucket % 2);
    let whole = 1 << (FIRST_EXPONENT as usize + doublings);
    whole + whole / 2 * odd as u64
}

/// The only writer needs no read-modify-write.
fn add(cell: &AtomicU64, more: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(more), Relaxed);
}

impl Histogram {
    /// Something took so long, so many times. To be called by one thread alone.
    pub fn add(&self, time: Duration, times: u64) {
        let us = time.as_nanos().div_ceil(1_000).min(u128::from(u64::MAX)) as u64;
        add(&self.counts[bucket(us)], times);
        add(&self.sum_us, us.wrapping_mul(times));
    }

    /// What was counted: for each bucket its bound in seconds and how many were not longer; then how many there are in all, and
    /// their sum in seconds.
    pub fn read(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let mut so_far = 0;
        let mut ends = Vec::with_capacity(BOUNDS);
        for (index, count) in self.counts.iter().enumerate() {
            so_far += count.load(Relaxed);
            if index < BOUNDS {
                ends.push((bound_us(index) as f64 / 1e6, so_far));
            }
        }
        (ends, so_far, self.sum_us.load(Relaxed) as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_first_bucket_that_reaches_it() {
        for us in (0..5_000).chain([1 << 20, (1 << 24) - 1, 1 << 24, (3 << 22) + 1]) {
            let bucket = bucket(us);
            assert!(us <= bound_us(bucket), "{us} in {bucket}");
            assert!(bucket == 0 || us > bound_us(bucket - 1), "{us} in {bucket}");
        }
        assert_eq!(bound_us(BOUNDS - 1), 1 << LAST_EXPONENT);
        assert_eq!((bucket((1 << 24) + 1), bucket(u64::MAX)), (BOUNDS, BOUNDS));
        let bounds: Vec<u64> = (0..5).map(bound_us).collect();
        assert_eq!(bounds, [32, 48, 64, 96, 128]);
    }

    #[test]
    fn counts_add_up_to_the_end() {
        let histogram = Histogram::default();
        histogram.add(Duration::from_nanos(31_001), 2);
        histogram.add(Duration::from_micros(33), 1);
        histogram.add(Duration::from_secs(20), 3);
        let (ends, count, sum) = histogram.read();
        assert_eq!((ends[0], ends[1]), ((0.000032, 2), (0.000048, 3)));
        assert_eq!(ends.last(), Some(&(16.777216, 3)));
        assert_eq!(count, 6);
        assert!((sum - 60.000097).abs() < 1e-9, "{sum}");
    }
}
