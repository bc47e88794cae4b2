//! Delay levels, and the queues of the waiting topic in which messages with one wait.
//!
//! A message waits on the shard of the queue that it is for. Queues of the waiting topic are spread over the shards like
//! those of any topic, so each level has as many queues as there are shards; with one shard they are Java's.

use crate::request::first_queue_on;
use std::sync::Arc;
use store::state::{WaitsFor, deferred::SCHEDULE_TOPIC};

/// Most levels: with 1,024 shards their queues still have numbers that a client may name.
pub const LEVELS_MAX: usize = 60;
/// The longest waiting time: ten years.
const MS_MAX: i64 = 10 * 365 * 24 * 3_600_000;

/// How long a message of each level waits, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayLevels {
    ms: Arc<[i64]>,
    shards: u16,
}

/// A place in a waiting topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingPlace {
    /// For what it waits there, which says in which topic.
    pub waits_for: WaitsFor,
    /// Queue of that topic.
    pub queue_id: u32,
    /// Until when; a half message: until it is checked first.
    pub until: Until,
}

/// Until when something waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// So many ms later.
    After(i64),
    /// This time of the wall clock, ms.
    At(i64),
}

impl Until {
    /// When that is by the time by which messages are due, which is `time` now, and `now` by the wall clock.
    pub fn due(self, time: i64, now: i64) -> i64 {
        time.saturating_add(match self {
            Until::After(ms) => ms,
            Until::At(at) => at.saturating_sub(now).max(0),
        })
    }
}

impl WaitingPlace {
    /// Where a half message waits that is for a queue of `shard`, of `shards`.
    pub fn of_half(shard: u16, shards: u16, first_check_ms: i64) -> WaitingPlace {
        WaitingPlace::on(WaitsFor::Decision, shard, shards, Until::After(first_check_ms))
    }

    /// Where a message waits that names its time.
    pub fn of_timer(shard: u16, shards: u16, until: Until) -> WaitingPlace {
        WaitingPlace::on(WaitsFor::Timer, shard, shards, until)
    }

    fn on(waits_for: WaitsFor, shard: u16, shards: u16, until: Until) -> WaitingPlace {
        let queue_id = first_queue_on(shard, waits_for.topic(), shards);
        WaitingPlace { waits_for, queue_id, until }
    }
}

impl DelayLevels {
    /// Levels as `messageDelayLevel` lists them: `1s 5s 10m 2h 1d`, of a store of `shards`. The error says what is expected.
    pub fn parse(text: &str, shards: u16) -> Result<DelayLevels, String> {
        let levels = text.split_ascii_whitespace().map(parse_level);
        let ms: Arc<[i64]> = levels.collect::<Option<Vec<i64>>>().unwrap_or_default().into();
        if ms.is_empty() || ms.len() > LEVELS_MAX {
            return Err(format!(
                "1 to {LEVELS_MAX} waiting times with blanks between them, each a whole number and s, m, h or d, at most \
                 10 years: 1s 5s 10m 2h"
            ));
        }
        Ok(DelayLevels { ms, shards })
    }

    /// Whether these are those levels, or more behind them.
    pub fn begins_with(&self, levels: &DelayLevels) -> bool {
        self.ms.starts_with(&levels.ms)
    }

    /// How many levels there are.
    pub fn count(&self) -> usize {
        self.ms.len()
    }

    /// Queues of the waiting topic.
    pub fn queue_count(&self) -> u32 {
        (self.ms.len() * usize::from(self.shards)) as u32
    }

    /// The level that a message gets which asks for this one: none for 0 and below, the last one for more than there are.
    pub fn clamp(&self, wanted: i32) -> Option<usize> {
        let wanted = usize::try_from(wanted).ok().filter(|level| *level > 0)?;
        Some(wanted.min(self.ms.len()))
    }

    /// Where a message of this level waits that is for a queue of `shard`.
    pub fn place(&self, level: usize, shard: u16) -> WaitingPlace {
        let at = level.clamp(1, self.ms.len()) - 1;
        let delay_ms = self.ms.get(at).copied().unwrap_or(0);
        let first = first_queue_on(shard, SCHEDULE_TOPIC, self.shards);
        let queue_id = at as u32 * u32::from(self.shards) + first;
        WaitingPlace { waits_for: WaitsFor::Level, queue_id, until: Until::After(delay_ms) }
    }
}

fn parse_level(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let number: i64 = number.parse().ok()?;
    number.checked_mul(unit).filter(|ms| (0..=MS_MAX).contains(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::BrokerConfig, request::owner_of};

    #[test]
    fn levels_are_read_as_java_writes_them() {
        let usual = DelayLevels::parse(&BrokerConfig::default().message_delay_level, 1).unwrap();
        assert_eq!(usual.count(), 18);
        let until = |level| usual.place(level, 0).until;
        let after = [1_000, 10_000, 60_000, 7_200_000].map(Until::After);
        assert_eq!([until(1), until(3), until(5), until(18)], after);
        let days = DelayLevels::parse(" 0s  40d ", 1).unwrap();
        assert_eq!(days.place(2, 0).until, Until::After(40 * 86_400_000));
        for bad in
            ["", " ", "1", "s", "1x", "1s,5s", "-1s", "1.5s", "9223372036854775807d", "\u{e9}"]
        {
            let error = DelayLevels::parse(bad, 1).expect_err(bad);
            assert!(error.contains("1s 5s"), "{error}");
        }
        assert!(DelayLevels::parse(&"1s ".repeat(LEVELS_MAX), 1).is_ok());
        assert!(DelayLevels::parse(&"1s ".repeat(LEVELS_MAX + 1), 1).is_err());
    }

    #[test]
    fn a_level_beyond_the_last_is_the_last() {
        let levels = DelayLevels::parse("1s 5s", 1).unwrap();
        let clamped = [-1, 0, 1, 2, 3, i32::MAX].map(|wanted| levels.clamp(wanted));
        assert_eq!(clamped, [None, None, Some(1), Some(2), Some(2), Some(2)]);
    }

    #[test]
    fn a_time_of_the_wall_clock_is_as_far_away_as_that_says() {
        assert_eq!(Until::After(5).due(1_000, 7), 1_005);
        assert_eq!(Until::At(12).due(1_000, 7), 1_005, "the clock was set back");
        assert_eq!(Until::At(6).due(1_000, 7), 1_000);
        assert_eq!(Until::At(i64::MAX).due(i64::MAX, -1), i64::MAX);
        for shard in 0..3 {
            let place = WaitingPlace::of_timer(shard, 3, Until::At(0));
            assert_eq!(owner_of("rmq_sys_wheel_timer", place.queue_id, 3), shard);
        }
    }

    #[test]
    fn a_message_waits_on_the_shard_that_it_is_for() {
        for shards in [1, 2, 3, 8, 1_024] {
            let levels = DelayLevels::parse("1s 5s 10s", shards).unwrap();
            for level in 1..=3 {
                let mut queues: Vec<u32> = (0..shards)
                    .map(|shard| {
                        let queue_id = levels.place(level, shard).queue_id;
                        assert_eq!(owner_of(SCHEDULE_TOPIC, queue_id, shards), shard);
                        queue_id
                    })
                    .collect();
                queues.sort_unstable();
                let first = (level - 1) as u32 * u32::from(shards);
                let all = first..first + u32::from(shards);
                assert!(queues.into_iter().eq(all), "each queue is one shard's");
            }
        }
        let java = DelayLevels::parse("1s 5s 10s", 1).unwrap();
        assert_eq!([1, 2, 3].map(|level| java.place(level, 0).queue_id), [0, 1, 2]);
    }
}
