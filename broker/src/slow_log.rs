//! One line in the log for what took longer than `slowOperationMs`, with the parts of its time, at most one a second for each
//! shard and for the control worker; how many were not told since is said with the next.

use runtime::RateLimit;
use std::{cell::Cell, time::Duration};

/// Pause between two lines.
const PAUSE: Duration = Duration::from_secs(1);

/// Slow operations of one owner.
pub struct SlowLog {
    limit: RateLimit,
    count: Cell<u64>,
}

impl Default for SlowLog {
    fn default() -> SlowLog {
        SlowLog { limit: RateLimit::new(PAUSE), count: Cell::new(0) }
    }
}

impl SlowLog {
    /// So many operations of one kind were slow. `Some`: a line may be written, and so many operations of any kind were not
    /// told since the last.
    pub fn note(&self, operations: u64) -> Option<u64> {
        self.count.set(self.count.get() + operations);
        self.limit.note()?;
        Some(self.count.replace(0) - operations)
    }
}

/// The limit as a time; `None`: nothing is slow.
pub fn limit(slow_operation_ms: u32) -> Option<Duration> {
    (slow_operation_ms > 0).then(|| Duration::from_millis(slow_operation_ms.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_told_is_said_with_the_next_line() {
        let log = SlowLog { limit: RateLimit::new(Duration::ZERO), ..SlowLog::default() };
        assert_eq!(log.note(3), Some(0));
        let log = SlowLog { limit: RateLimit::new(Duration::from_secs(3_600)), ..log };
        assert_eq!(log.note(1), Some(0));
        assert_eq!((log.note(5), log.note(2)), (None, None));
        let log = SlowLog { limit: RateLimit::new(Duration::ZERO), ..log };
        assert_eq!(log.note(4), Some(7));
        assert_eq!(log.note(1), Some(0));
    }
}
