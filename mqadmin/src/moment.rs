//! Moments as people write them on a command line.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Now, ms since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// As Java's tools read it: ms since the epoch, or `2026-01-05#09:30:11:042` in local time.
pub(crate) fn timestamp(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    let local = || -> Option<i64> {
        let (seconds, ms) = text.rsplit_once(':')?;
        let ms: u16 = ms.parse().ok().filter(|ms| *ms < 1000)?;
        let seconds = DateTime::strptime("%Y-%m-%d#%H:%M:%S", seconds).ok()?;
        let seconds = seconds.to_zoned(TimeZone::system()).ok()?;
        Some(seconds.timestamp().as_millisecond() + i64::from(ms))
    };
    let expected = "expected ms since the epoch or yyyy-MM-dd#HH:mm:ss:SSS";
    local().ok_or_else(|| format!("{expected}, not {text:?}"))
}

/// The same, an RFC 3339 time, or how long ago: `90s`, `15m`, `2h`, `1h 30m`.
pub(crate) fn since(text: &str) -> Result<i64, String> {
    if let Ok(ms) = timestamp(text) {
        return Ok(ms);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let ago = text.parse::<SignedDuration>().ok().filter(|ago| !ago.is_negative());
    let expected = "expected how long ago (15m, 2h), a time (2026-01-05T09:30:11Z, \
                    2026-01-05#09:30:11:000) or ms since the epoch";
    let ago = ago.ok_or_else(|| format!("{expected}, not {text:?}"))?;
    let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    Ok(now_ms().saturating_sub(ago).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        assert_eq!(timestamp("1700000000000"), Ok(1_700_000_000_000));
        let local = timestamp("2026-01-05#09:30:11:042").expect("a local time");
        assert_eq!(crate::text::millis(local), "2026-01-05 09:30:11,042");
        for bad in
            ["", "yesterday", "2026-01-05", "2026-01-05#09:30:11:1000", "2026-13-05#09:30:11:000"]
        {
            assert!(timestamp(bad).is_err(), "{bad:?}");
        }
        assert_eq!(since("2026-01-05T09:30:11Z"), Ok(1_767_605_411_000));
        let quarter = now_ms() - since("15m").expect("a duration");
        assert!((900_000..960_000).contains(&quarter), "{quarter}");
        for bad in ["-15m", "soon"] {
            assert!(since(bad).is_err(), "{bad:?}");
        }
    }
}
