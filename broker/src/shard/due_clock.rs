//! The time by which messages are due.
//!
//! It is the wall clock's as long as that is believable, and never goes back: a clock that is set back would make what
//! waits for seconds wait for hours, one that jumps ahead for a moment would deliver everything at once.

use futures_lite::future;
use runtime::{Executor, Moment, Signal, Uptime};
use std::time::Duration;

/// A step ahead of more than this is believed when it has lasted.
const STEP_MS: i64 = 60_000;
/// For so long.
const LASTS_MS: i64 = 30_000;

/// Longest sleep while something waits: the wall clock may have been set.
const SLEEP_MAX_MS: i64 = 1_000;

/// Waits until what is due next may be due at `time`, or `changed` says that something else is before it. `None`: nothing
/// waits.
pub async fn wait_for_due(executor: &Executor, changed: &Signal, next: Option<i64>, time: i64) {
    let Some(due) = next else { return changed.wait().await };
    let ms = due.saturating_sub(time).clamp(1, SLEEP_MAX_MS);
    let sleep = executor.sleep(Duration::from_millis(ms.unsigned_abs()));
    future::or(changed.wait(), sleep).await;
}

/// A clock that follows the wall clock with care.
#[derive(Debug, Default)]
pub struct DueClock {
    /// The last time, and when that was by the monotonic clock.
    last: Option<(i64, Uptime)>,
    /// Since when the wall clock has been far ahead.
    ahead_since: Option<Uptime>,
}

impl DueClock {
    /// A clock that is not before `least`: what was stored last.
    pub fn starting(least: i64, now: Moment) -> DueClock {
        DueClock { last: Some((least.max(now.wall), now.uptime)), ahead_since: None }
    }

    /// The time, ms.
    pub fn now(&mut self, now: Moment) -> i64 {
        let Moment { wall, uptime } = now;
        let Some((last, at)) = self.last else {
            self.last = Some((wall, uptime));
            return wall;
        };
        let counted = last + (uptime - at).max(0);
        // Both clocks are read in whole milliseconds, which do not begin together: one ahead is none, and what is due would
        // be delivered too early by it.
        let counted = if counted == wall + 1 { wall.max(last) } else { counted };
        let is_far_ahead = wall > counted + STEP_MS;
        let since = self.ahead_since.take().unwrap_or(uptime);
        let time = if is_far_ahead && uptime - since < LASTS_MS {
            self.ahead_since = Some(since);
            counted
        } else {
            counted.max(wall)
        };
        self.last = Some((time, uptime));
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wall: i64, uptime_ms: i64) -> Moment {
        Moment { wall, uptime: Uptime::default() + uptime_ms }
    }

    #[test]
    fn a_step_back_is_not_followed() {
        let mut clock = DueClock::starting(0, moment(1_000_000, 0));
        assert_eq!(clock.now(moment(1_000_010, 10)), 1_000_010);
        assert_eq!(clock.now(moment(10, 20)), 1_000_020);
        assert_eq!(clock.now(moment(500, 510)), 1_000_510);
        assert_eq!(clock.now(moment(1_000_600, 520)), 1_000_600, "the clock is right again");
    }

    /// Microseconds of both clocks, which do not tick together.
    #[test]
    fn it_is_the_wall_clock_when_that_is_right() {
        for offset in [0, 100, 500, 900, 999] {
            let at = |us: i64| moment((us + offset) / 1_000, us / 1_000);
            let mut clock = DueClock::starting(0, at(0));
            for us in (0..50_000).step_by(37) {
                assert_eq!(clock.now(at(us)), at(us).wall, "{us} us, {offset} apart");
            }
        }
    }

    #[test]
    fn a_long_step_ahead_is_believed_when_it_has_lasted() {
        let mut clock = DueClock::starting(0, moment(0, 0));
        assert_eq!(
            clock.now(moment(STEP_MS + 10, 10)),
            STEP_MS + 10,
            "a short one is believed at once"
        );
        let start = STEP_MS + 10;
        let day = 86_400_000;
        assert_eq!(clock.now(moment(day, 20)), start + 10);
        assert_eq!(clock.now(moment(day + 20_000, 20_020)), start + 20_010);
        assert_eq!(clock.now(moment(start + 25_010, 25_020)), start + 25_010, "it was set right");
        assert_eq!(clock.now(moment(day + 30_000, 30_020)), start + 30_010, "counts anew");
        assert_eq!(clock.now(moment(day + 60_000, 60_020)), day + 60_000);
    }

    #[test]
    fn it_does_not_begin_before_what_was_stored() {
        let mut clock = DueClock::starting(5_000, moment(1_000, 0));
        assert_eq!(clock.now(moment(1_100, 100)), 5_100);
    }
}
