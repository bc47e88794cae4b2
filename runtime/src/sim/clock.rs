//! The clock of a simulated machine: advances by the latencies of its disk, and jumps when the test says so.
//!
//! Two readings, as on a real machine: the wall clock, which may jump backwards, and the time since boot, which may not.

use std::{cell::Cell, rc::Rc};

/// Where the wall clock of a new simulation stands, in milliseconds since the epoch.
const START_MILLIS: i64 = 1_700_000_000_000;

/// A simulated clock. Cloning shares it.
#[derive(Clone, Debug)]
pub struct SimClock {
    hands: Rc<Hands>,
}

#[derive(Debug)]
struct Hands {
    /// Microseconds since boot; only grows.
    uptime_micros: Cell<u64>,
    /// Wall clock at boot plus all jumps, in milliseconds since the epoch.
    boot_millis: Cell<i64>,
}

impl Default for SimClock {
    fn default() -> Self {
        Self::starting_at(START_MILLIS)
    }
}

impl SimClock {
    /// A clock that shows `millis` since the epoch and has been up for no time.
    pub fn starting_at(millis: i64) -> Self {
        let hands = Hands { uptime_micros: Cell::new(0), boot_millis: Cell::new(millis) };
        Self { hands: Rc::new(hands) }
    }

    /// Wall clock in milliseconds since the epoch; may go backwards after [`SimClock::jump`].
    pub fn now(&self) -> i64 {
        let up_millis = self.hands.uptime_micros.get() / 1000;
        self.hands.boot_millis.get().saturating_add_unsigned(up_millis)
    }

    /// Microseconds since boot; never goes backwards.
    pub fn uptime_micros(&self) -> u64 {
        self.hands.uptime_micros.get()
    }

    /// Lets time pass on both readings.
    pub fn advance_micros(&self, micros: u64) {
        self.advance_to(self.uptime_micros().saturating_add(micros));
    }

    /// Lets time pass until the uptime is at least `uptime_micros`.
    pub(super) fn advance_to(&self, uptime_micros: u64) {
        self.hands.uptime_micros.set(self.uptime_micros().max(uptime_micros));
    }

    /// Moves the wall clock by `millis`, forwards or backwards, as an administrator or NTP would.
    pub fn jump(&self, millis: i64) {
        self.hands.boot_millis.set(self.hands.boot_millis.get().saturating_add(millis));
    }

    /// A clock of its own that shows the same times.
    pub(super) fn fork(&self) -> Self {
        let copy = Self::starting_at(self.hands.boot_millis.get());
        copy.advance_to(self.uptime_micros());
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_jumps_and_the_uptime_does_not() {
        let clock = SimClock::starting_at(10_000);
        clock.advance_micros(2_500);
        assert_eq!((clock.now(), clock.uptime_micros()), (10_002, 2_500));
        clock.jump(-9_000);
        assert_eq!((clock.now(), clock.uptime_micros()), (1_002, 2_500));
        clock.jump(100_000);
        assert_eq!((clock.now(), clock.uptime_micros()), (101_002, 2_500));
        clock.advance_to(1_000);
        assert_eq!(clock.uptime_micros(), 2_500);
    }

    #[test]
    fn clones_share_and_forks_do_not() {
        let clock = SimClock::default();
        let (shared, fork) = (clock.clone(), clock.fork());
        clock.advance_micros(7_000);
        assert_eq!(shared.now(), clock.now());
        assert_eq!(fork.now() + 7, clock.now());
    }
}
