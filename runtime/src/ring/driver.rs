//! The driver: the task of an executor that is always last, and waits in the kernel when nothing else ran.
//!
//! The executor library sleeps in a reactor of its own when no task can run, which costs eight system calls and can lose
//! a wake. So one task can always run: this one ends each poll by waking itself, which puts it behind all that are ready.
//! If no other task was polled since its last turn, there is nothing to do, and it waits for the kernel itself: one call
//! that hands over all operations, waits, and takes completions.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::Ring;

/// Longest wait. Not needed for anything that is counted and woken; it bounds what a mistake could cost, and costs
/// itself 0.1 % of an idle core.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// While tasks run, the kernel is called at least once in so many turns, and in this time: with deferred completions
/// nothing arrives otherwise.
const BUSY_TURNS_MAX: u32 = 16;
/// See [`BUSY_TURNS_MAX`].
const BUSY_TIME_MAX: Duration = Duration::from_micros(200);

/// Turns a ring until `over` says so, and ends it then. The root of an executor: it runs in the library's own task.
pub(crate) struct Driver {
    ring: Rc<Ring>,
    over: Rc<Cell<bool>>,
    /// Before it waits in the kernel it looks for this long whether something comes.
    spin: Duration,
    polls_seen: u64,
    busy_turns: u32,
    entered: Instant,
}

impl Driver {
    pub(crate) fn new(ring: Rc<Ring>, over: Rc<Cell<bool>>, spin: Duration) -> Driver {
        let entered = Instant::now();
        Driver { ring, over, spin, polls_seen: u64::MAX, busy_turns: 0, entered }
    }

    fn turn(&mut self) {
        let ring = Rc::clone(&self.ring);
        let polls = ring.polls.get();
        let ran = std::mem::replace(&mut self.polls_seen, polls) != polls;
        let now = Instant::now();
        let woken = ring.reap() + ring.wake_sleepers(now);
        if !ring.yielded.borrow().is_empty() {
            self.enter(now);
            ring.wake_yielded();
        } else if ran || woken > 0 {
            self.busy_turns += 1;
            let late = now.saturating_duration_since(self.entered) > BUSY_TIME_MAX;
            if self.busy_turns >= BUSY_TURNS_MAX || late {
                self.enter(now);
            }
        } else {
            self.wait(now);
        }
    }

    /// Nothing has to be done: waits for the kernel or the next timer.
    fn wait(&mut self, now: Instant) {
        let longest = now + LONGEST_WAIT;
        let next = self.ring.timers.borrow().next();
        let deadline = next.map_or(longest, |next| next.min(longest));
        let spun = !self.spin.is_zero() && self.spins(now, deadline);
        if !spun {
            self.ring.wait(deadline);
            self.ring.reap();
        }
        self.busy_turns = 0;
        self.entered = Instant::now();
        self.ring.wake_sleepers(self.entered);
    }

    /// Looks for news without giving the core away. Whether there is some.
    fn spins(&self, began: Instant, deadline: Instant) -> bool {
        let end = deadline.min(began + self.spin);
        loop {
            self.ring.enter();
            if self.ring.reap() > 0 {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            std::hint::spin_loop();
        }
    }

    /// Calls the kernel between two rounds of tasks.
    fn enter(&mut self, now: Instant) {
        self.busy_turns = 0;
        self.entered = now;
        if self.ring.has_news() {
            self.ring.enter();
            self.ring.reap();
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.over.get() {
            self.ring.end();
            return Poll::Ready(());
        }
        self.turn();
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Ring {
    /// Wakes whose time has come, and returns how many.
    fn wake_sleepers(&self, now: Instant) -> usize {
        let due = || self.timers.borrow_mut().take_due(now);
        std::iter::from_fn(due).map(Waker::wake).count()
    }

    /// Wakes the next of those who let others go first. One in a turn: a task that was woken by an event then waits for one
    /// of them and not for all, however many there are.
    fn wake_yielded(&self) {
        let next = self.yielded.borrow_mut().pop_front();
        if let Some(next) = next {
            next.wake();
        }
    }
}
