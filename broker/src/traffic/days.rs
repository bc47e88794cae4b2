//! Totals at the last two midnights where the machine stands, for tools that show yesterday and today. As with Java's
//! broker they are in memory alone: a start begins at 0.

use super::DayTotals;

/// Totals by day.
#[derive(Clone, Copy, Debug, Default)]
pub struct Days {
    /// Number of today; none before the first look.
    today: Option<i64>,
    /// At the start of yesterday, as far back as this process goes.
    pub yesterday_morning: DayTotals,
    /// At the start of today.
    pub today_morning: DayTotals,
}

impl Days {
    /// Moves on when another day has begun; `day` is its number. A clock that is set back begins none.
    pub fn note(&mut self, day: i64, totals: DayTotals) {
        if self.today.is_some_and(|today| day > today) {
            self.yesterday_morning = self.today_morning;
            self.today_morning = totals;
        }
        self.today = self.today.max(Some(day));
    }
}

/// Number of the day of a time in ms, where this machine stands.
pub fn local_day(now: i64) -> i64 {
    let utc = now.div_euclid(86_400_000);
    let Ok(time) = jiff::Timestamp::from_millisecond(now) else { return utc };
    let offset = time.to_zoned(jiff::tz::TimeZone::system()).offset().seconds();
    (now + i64::from(offset) * 1_000).div_euclid(86_400_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_once_and_never_again() {
        let totals = |puts| DayTotals { puts, gets: 2 * puts };
        let mut days = Days::default();
        for (day, puts, expected) in [
            (20_000, 5, (0, 0)),
            (20_000, 7, (0, 0)),
            (20_001, 9, (0, 9)),
            (20_000, 11, (0, 9)),
            (20_001, 12, (0, 9)),
            (20_002, 20, (9, 20)),
        ] {
            days.note(day, totals(puts));
            let seen = (days.yesterday_morning.puts, days.today_morning.puts);
            assert_eq!(seen, expected, "{day} {puts}");
        }
        assert_eq!(days.today_morning, totals(20));
    }

    #[test]
    fn a_local_day_is_at_most_one_from_that_of_utc() {
        let now = 1_700_000_000_000;
        assert!((local_day(now) - now / 86_400_000).abs() <= 1);
        assert_eq!(local_day(now + 86_400_000 * 7), local_day(now) + 7);
        assert_eq!(local_day(i64::MAX), i64::MAX / 86_400_000, "no time that there is");
    }
}
