//! Java's ways to print numbers, times and names.

use std::str::FromStr;

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// The first characters of a text, at most so many.
pub(crate) fn cut(text: &str, chars: usize) -> &str {
    let end = text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

/// `2026-01-05 09:30:11` in local time.
pub(crate) fn seconds(ms: i64) -> String {
    local(ms).map_or_else(|| ms.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// `2026-01-05 09:30:11,042` in local time.
pub(crate) fn millis(ms: i64) -> String {
    format!("{},{:03}", seconds(ms), ms.rem_euclid(1000))
}

/// `20260105093011042` in local time.
pub(crate) fn dense(ms: i64) -> String {
    let time = local(ms).map(|time| time.strftime("%Y%m%d%H%M%S").to_string());
    time.map_or_else(|| ms.to_string(), |text| format!("{text}{:03}", ms.rem_euclid(1000)))
}

fn local(ms: i64) -> Option<Zoned> {
    Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(TimeZone::system()))
}

/// A permission as Java shows it: `RW-`.
pub(crate) fn perm(perm: i32) -> String {
    let shown = |bit: i32, letter: char| if perm & bit != 0 { letter } else { '-' };
    [shown(4, 'R'), shown(2, 'W'), shown(1, 'X')].iter().collect()
}

/// A map as Java shows it: `{0=127.0.0.1:10911, 1=127.0.0.1:10921}`.
pub(crate) fn map<K: ToString, V: ToString>(entries: impl IntoIterator<Item = (K, V)>) -> String {
    let entries = entries.into_iter().map(|(k, v)| format!("{}={}", k.to_string(), v.to_string()));
    format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
}

/// A value that is not there.
pub(crate) fn or_null(value: Option<&str>) -> &str {
    value.unwrap_or("null")
}

/// `true` or `false` in any case; Java takes everything else for false.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    bool::from_str(&text.to_ascii_lowercase())
        .map_err(|_| format!("{text:?} is neither true nor false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_look_as_java_prints_them() {
        assert_eq!(cut("brokér", 5), "broké");
        assert_eq!(cut("a", 5), "a");
        assert_eq!(perm(6), "RW-");
        assert_eq!(perm(1), "--X");
        assert_eq!(map([(0, "a:1"), (1, "b:2")]), "{0=a:1, 1=b:2}");
        assert_eq!(boolean("TRUE"), Ok(true));
        assert!(boolean("yes").is_err());
        assert!(millis(1_234).ends_with(",234"));
        assert_eq!(dense(1_234).len(), "19700101000001234".len());
        assert_eq!(seconds(0).len(), "1970-01-01 00:00:00".len());
    }
}
