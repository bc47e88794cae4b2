//! Ids that a producer gives its messages, unique among producers and, for tools, with the time inside.
//!
//! | bytes | meaning |
//! |---|---|
//! | 4 | address of the machine; random here, as Java has it where it finds none |
//! | 2 | process |
//! | 4 | a number of this start |
//! | 4 | ms since the month began, in local time |
//! | 2 | counter |
//!
//! Written as 32 hexadecimal digits. Source: Apache RocketMQ 4.9.8, `MessageClientIDSetter`.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use jiff::Zoned;

/// A new id.
pub(super) fn create() -> String {
    static START: OnceLock<[u8; 10]> = OnceLock::new();
    static COUNTER: AtomicU16 = AtomicU16::new(0);
    let start = START.get_or_init(|| {
        let mut bytes = [0; 10];
        bytes[..4].copy_from_slice(&fastrand::u32(..).to_be_bytes());
        // The low half, as Java keeps it.
        bytes[4..6].copy_from_slice(&(std::process::id() as u16).to_be_bytes());
        bytes[6..].copy_from_slice(&fastrand::u32(..).to_be_bytes());
        bytes
    });
    let mut id = String::with_capacity(32);
    for byte in start {
        let _ = write!(id, "{byte:02X}");
    }
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    let _ = write!(id, "{:08X}{counter:04X}", ms_of_month(&Zoned::now()));
    id
}

/// Milliseconds since the month began: at most 31 days, which are 2.7 of 4.3 billion.
fn ms_of_month(now: &Zoned) -> u32 {
    let begin = now.first_of_month().and_then(|first| first.start_of_day());
    let since = begin
        .map_or(0, |begin| now.timestamp().as_millisecond() - begin.timestamp().as_millisecond());
    u32::try_from(since).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn ids_differ_and_hold_the_time() {
        let (first, second) = (create(), create());
        assert_ne!(first, second);
        assert_eq!(first.len(), 32);
        let ms = u32::from_str_radix(&first[20..28], 16).expect("digits");
        assert!(ms.abs_diff(ms_of_month(&Zoned::now())) < 60_000 || ms < 60_000);
        let day = |day: i8| jiff::civil::date(2026, 2, day).to_zoned(TimeZone::UTC).expect("a day");
        let (begin, later) = (day(1), day(3));
        assert_eq!(ms_of_month(&begin), 0);
        assert_eq!(ms_of_month(&later), 2 * 86_400_000);
    }
}
