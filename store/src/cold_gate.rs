//! How many reads of old messages the disk is given at a time.
//!
//! Reads and syncs share a device, and a device under many reads makes a sync wait for all of them. So the commit loop
//! reports how long a commit took; when it takes much longer than one without reads beside it, fewer reads are let
//! through, down to one; while it does not, more are (additive increase, multiplicative decrease).

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    task::{Poll, Waker},
};

/// Reads in flight at most: beyond this no disk gets faster.
const READS_MAX: f64 = 32.0;
/// How much longer than alone a commit may take.
const SLOWDOWN_MAX: f64 = 1.5;
/// Weight of a new commit in what one takes alone.
const ALONE_WEIGHT: f64 = 1.0 / 64.0;
/// What a commit that took too long leaves of the limit, and what one that did not adds.
const DECREASE: f64 = 0.8;
const INCREASE: f64 = 0.05;

pub(crate) struct ColdGate {
    running: Cell<u32>,
    limit: Cell<f64>,
    /// Microseconds of a commit without reads beside it; 0 before the first.
    alone_micros: Cell<f64>,
    /// Tickets given out and tickets that were let through, in order.
    given: Cell<u64>,
    granted: Cell<u64>,
    /// Who waits: ticket `granted` first.
    waiting: RefCell<VecDeque<Option<Waker>>>,
}

impl Default for ColdGate {
    fn default() -> ColdGate {
        ColdGate {
            running: Cell::new(0),
            limit: Cell::new(READS_MAX / 4.0),
            alone_micros: Cell::new(0.0),
            given: Cell::new(0),
            granted: Cell::new(0),
            waiting: RefCell::default(),
        }
    }
}

impl ColdGate {
    /// Waits for leave to read, which ends when what is returned is dropped.
    pub(crate) async fn enter(&self) -> Leave<'_> {
        let ticket = self.given.replace(self.given.get() + 1);
        self.waiting.borrow_mut().push_back(None);
        self.grant();
        poll_fn(|context| {
            let Some(place) = ticket.checked_sub(self.granted.get()) else {
                return Poll::Ready(());
            };
            if let Some(waiting) = self.waiting.borrow_mut().get_mut(place as usize) {
                *waiting = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
        Leave(self)
    }

    /// Whether a read is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.running.get() > 0
    }

    /// A commit took so long. `beside`: there were reads beside it.
    pub(crate) fn committed(&self, micros: u64, beside: bool) {
        let (took, alone) = (micros as f64, self.alone_micros.get());
        if !beside {
            let known = if alone == 0.0 { took } else { alone + (took - alone) * ALONE_WEIGHT };
            return self.alone_micros.set(known);
        }
        if alone == 0.0 {
            return;
        }
        let limit = self.limit.get();
        let wanted = if took > alone * SLOWDOWN_MAX { limit * DECREASE } else { limit + INCREASE };
        self.limit.set(wanted.clamp(1.0, READS_MAX));
        self.grant();
    }

    /// Nothing was committed for a second: reads have the disk for themselves.
    pub(crate) fn idle(&self) {
        self.limit.set((self.limit.get() * 2.0).min(READS_MAX));
        self.grant();
    }

    fn grant(&self) {
        while self.running.get() < self.limit.get() as u32 {
            let Some(waiting) = self.waiting.borrow_mut().pop_front() else { return };
            self.granted.set(self.granted.get() + 1);
            self.running.set(self.running.get() + 1);
            if let Some(waker) = waiting {
                waker.wake();
            }
        }
    }
}

/// Leave to read.
pub(crate) struct Leave<'g>(&'g ColdGate);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
        self.0.grant();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_commits_let_fewer_reads_through_and_fast_ones_more() {
        let gate = ColdGate::default();
        gate.committed(100, false);
        for _ in 0..100 {
            gate.committed(1_000, true);
        }
        assert_eq!(gate.limit.get(), 1.0, "one always goes on");
        for _ in 0..100 {
            gate.committed(120, true);
        }
        assert_eq!(gate.limit.get().round(), 6.0);
        (0..9).for_each(|_| gate.idle());
        assert_eq!(gate.limit.get(), READS_MAX);
    }
}
