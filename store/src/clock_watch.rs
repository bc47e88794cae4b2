//! Whether the wall clock can be believed when messages are deleted by their age.
//!
//! A clock that is set ahead, by a bad answer of a time server or by hand, makes everything look old at once. So the wall
//! clock is watched against one that nobody sets. When it has moved ahead of that, or is far ahead of the newest
//! entry at a start, nothing is deleted for its age until the wall clock is back where it was, or has stood
//! where it is for as long as messages are kept ([`DOUBT_MS_MAX`] at most): what was there by then is that old in any
//! case. A clock that was set back deletes nothing too early. Pure: [`crate::Store::retain`] reads the clocks.

/// How far the wall clock may move against the monotonic one without doubt, ms. Corrections by a time server are steps of
/// seconds, or slow.
pub const PARTED_MS_MAX: i64 = 10 * 60_000;
/// How far the wall clock may be ahead of the newest entry of the log at a start without doubt, ms: a broker that was
/// stopped for a night is nothing unusual.
pub const AHEAD_MS_MAX: i64 = 24 * 3_600_000;
/// Longest time that a clock which does not move any more is doubted, ms.
pub const DOUBT_MS_MAX: i64 = 24 * 3_600_000;
/// A clock is followed by a millisecond each second: the frequencies of real ones differ by less.
const SLEW_DIVISOR: i64 = 1_000;

/// What is believed of the wall clock.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    watched: Option<Watched>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    /// The wall clock minus the monotonic one, ms, as it is believed.
    believed_ms: i64,
    /// How far the wall clock may be ahead of that.
    ahead_ms_max: i64,
    /// When it was looked at last, on the monotonic clock, ms.
    looked_ms: i64,
    parted: Option<Parted>,
}

#[derive(Clone, Copy, Debug)]
struct Parted {
    /// The wall clock minus the monotonic one.
    difference_ms: i64,
    /// Since when, on the monotonic clock.
    since_ms: i64,
}

/// Why the wall clock is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// How far it is ahead of what would be believed, ms.
    pub ahead_ms: i64,
    /// When it will be believed if it stays as it is, ms from now.
    pub ends_in_ms: i64,
}

impl ClockWatch {
    /// Looks at both clocks. `newest_ms` is the store time of the newest entry that the store was opened with, if there
    /// is one. A clock that has moved is believed after `patience_ms`.
    pub(crate) fn look(
        &mut self,
        wall_ms: i64,
        uptime_ms: i64,
        newest_ms: Option<i64>,
        patience_ms: i64,
    ) -> Option<Doubt> {
        let difference_ms = wall_ms.saturating_sub(uptime_ms);
        let watched = self
            .watched
            .get_or_insert_with(|| Watched::begin(difference_ms, wall_ms, uptime_ms, newest_ms));
        watched.look(difference_ms, uptime_ms, patience_ms.min(DOUBT_MS_MAX))
    }
}

impl Watched {
    fn begin(difference_ms: i64, wall_ms: i64, uptime_ms: i64, newest_ms: Option<i64>) -> Watched {
        let ahead_of = newest_ms.filter(|newest| wall_ms.saturating_sub(*newest) > AHEAD_MS_MAX);
        let (believed_ms, ahead_ms_max) = match ahead_of {
            Some(newest) => (newest.saturating_sub(uptime_ms), AHEAD_MS_MAX),
            None => (difference_ms, PARTED_MS_MAX),
        };
        Watched { believed_ms, ahead_ms_max, looked_ms: uptime_ms, parted: None }
    }

    fn look(&mut self, difference_ms: i64, uptime_ms: i64, patience_ms: i64) -> Option<Doubt> {
        let ahead_ms = difference_ms.saturating_sub(self.believed_ms);
        let slew_ms = (uptime_ms - self.looked_ms).max(0) / SLEW_DIVISOR;
        if slew_ms > 0 {
            self.looked_ms = uptime_ms;
        }
        if ahead_ms <= self.ahead_ms_max && ahead_ms >= -PARTED_MS_MAX {
            self.parted = None;
            if self.ahead_ms_max > PARTED_MS_MAX {
                // The start that looked too late was none.
                self.believe(difference_ms);
            } else {
                self.believed_ms += ahead_ms.clamp(-slew_ms, slew_ms);
            }
            return None;
        }
        // One that moved once more begins anew.
        let stands = |parted: &Parted| {
            difference_ms.saturating_sub(parted.difference_ms).saturating_abs() <= PARTED_MS_MAX
        };
        let parted = self.parted.filter(stands);
        let parted = parted.unwrap_or(Parted { difference_ms, since_ms: uptime_ms });
        self.parted = Some(parted);
        let ends_in_ms = patience_ms - (uptime_ms - parted.since_ms);
        if ends_in_ms <= 0 {
            self.believe(difference_ms);
            return None;
        }
        (ahead_ms > 0).then_some(Doubt { ahead_ms, ends_in_ms })
    }

    fn believe(&mut self, difference_ms: i64) {
        self.believed_ms = difference_ms;
        self.ahead_ms_max = PARTED_MS_MAX;
        self.parted = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const YEAR: i64 = 365 * 24 * HOUR;
    const NOON: i64 = 1_700_000_000_000;

    fn started(wall_ms: i64, newest_ms: Option<i64>) -> (ClockWatch, bool) {
        let mut watch = ClockWatch::default();
        let doubted = watch.look(wall_ms, 0, newest_ms, 72 * HOUR).is_some();
        (watch, doubted)
    }

    fn doubts(watch: &mut ClockWatch, ahead_ms: i64, uptime_ms: i64) -> bool {
        watch.look(NOON + ahead_ms + uptime_ms, uptime_ms, Some(NOON), 72 * HOUR).is_some()
    }

    #[test]
    fn a_step_ahead_is_doubted_until_it_is_taken_back() {
        let (mut watch, doubted) = started(NOON, Some(NOON - HOUR));
        assert!(!doubted);
        assert!(!doubts(&mut watch, PARTED_MS_MAX, 1_000));
        for second in 2..12 {
            assert!(doubts(&mut watch, 100 * HOUR, second * 1_000), "second {second}");
        }
        assert!(!doubts(&mut watch, 0, 13_000));
        assert!(doubts(&mut watch, 100 * HOUR, 14_000));
    }

    #[test]
    fn a_step_ahead_that_stays_is_believed_when_everything_is_old() {
        let (mut watch, _) = started(NOON, None);
        assert!(doubts(&mut watch, 100 * HOUR, HOUR));
        let doubt = watch.look(NOON + 103 * HOUR, 3 * HOUR, None, 72 * HOUR);
        assert_eq!(doubt, Some(Doubt { ahead_ms: 100 * HOUR, ends_in_ms: 22 * HOUR }));
        assert!(doubts(&mut watch, 100 * HOUR, HOUR + DOUBT_MS_MAX - 1));
        assert!(!doubts(&mut watch, 100 * HOUR, HOUR + DOUBT_MS_MAX));
        assert!(doubts(&mut watch, 200 * HOUR, 30 * HOUR), "the next step is another one");
        let (mut brief, _) = started(NOON, None);
        assert!(brief.look(NOON + 100 * HOUR, 0, None, HOUR).is_some());
        assert!(brief.look(NOON + 101 * HOUR, HOUR, None, HOUR).is_none(), "kept for an hour");
    }

    #[test]
    fn a_step_back_is_not_doubted_and_is_believed_after_a_while() {
        let (mut watch, _) = started(NOON, None);
        assert!(!doubts(&mut watch, -HOUR, 1_000));
        assert!(!doubts(&mut watch, 0, 2_000), "it was an error");
        assert!(!doubts(&mut watch, -2 * YEAR, 3_000));
        assert!(!doubts(&mut watch, -2 * YEAR, 3_000 + DOUBT_MS_MAX));
        assert!(doubts(&mut watch, 0, 5_000 + DOUBT_MS_MAX));
    }

    #[test]
    fn a_start_far_ahead_of_the_newest_entry_is_doubted_until_the_clock_is_right() {
        let (mut watch, doubted) = started(NOON + 2 * YEAR, Some(NOON));
        assert!(doubted);
        assert!(doubts(&mut watch, 2 * YEAR, 60_000));
        assert!(!doubts(&mut watch, HOUR, 61_000));
        assert!(doubts(&mut watch, 3 * HOUR, 62_000), "from now on it is watched as usual");
        assert!(!started(NOON + AHEAD_MS_MAX, Some(NOON)).1);
        assert!(!started(NOON + 2 * YEAR, None).1, "an empty log has nothing to lose");
    }

    #[test]
    fn clocks_of_different_frequency_do_not_part() {
        let (mut watch, _) = started(NOON, None);
        for second in 1..=1_000_000 {
            // 500 ppm, the most that is corrected by slewing.
            assert!(!doubts(&mut watch, second / 2, second * 1_000), "second {second}");
        }
    }
}
