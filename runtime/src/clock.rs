//! The two clocks. Pure state machines read neither: time is an argument of theirs, taken by the shell around them.
//!
//! The wall clock says when something happened ([`Millis`]: store timestamps, versions, retention) and may be set at any
//! moment. How long something takes is told by the monotonic clock ([`Uptime`]: deadlines, silence, intervals), which
//! nobody sets. The two are different types, so that neither is taken for the other.

use std::{
    ops::{Add, Sub},
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Wall clock time in milliseconds since 1970-01-01 UTC, or a span of time in milliseconds. Signed, as on the wire.
pub type Millis = i64;

/// The wall clock now. It may step back when the machine's clock is set; who needs order keeps the highest value seen.
pub fn now() -> Millis {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX),
        Err(_) => 0,
    }
}

/// A moment on the monotonic clock, in milliseconds since this process first asked. It never goes back, and says nothing
/// about the time of the day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uptime(Millis);

impl Uptime {
    /// Before everything.
    pub const MIN: Uptime = Uptime(Millis::MIN);
    /// Behind everything: a deadline that never comes.
    pub const MAX: Uptime = Uptime(Millis::MAX);

    /// The monotonic clock now.
    pub fn now() -> Uptime {
        static START: OnceLock<Instant> = OnceLock::new();
        let since = START.get_or_init(Instant::now).elapsed();
        Uptime(Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX))
    }

    /// A moment by its milliseconds: for simulations and tests.
    pub const fn from_ms(ms: Millis) -> Uptime {
        Uptime(ms)
    }

    /// Whole seconds since this process first asked.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }
}

/// The time between two moments, ms.
impl Sub for Uptime {
    type Output = Millis;

    fn sub(self, earlier: Uptime) -> Millis {
        self.0.saturating_sub(earlier.0)
    }
}

/// A moment so many milliseconds later.
impl Add<Millis> for Uptime {
    type Output = Uptime;

    fn add(self, ms: Millis) -> Uptime {
        Uptime(self.0.saturating_add(ms))
    }
}

/// A moment so many milliseconds earlier.
impl Sub<Millis> for Uptime {
    type Output = Uptime;

    fn sub(self, ms: Millis) -> Uptime {
        Uptime(self.0.saturating_sub(ms))
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The wall clock.
    pub wall: Millis,
    /// The monotonic clock.
    pub uptime: Uptime,
}
