//! Timers of one executor: one ordered table. The next deadline is the time limit of the driver's wait.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::Ring;

/// Who sleeps until when. The number keeps equal deadlines apart.
#[derive(Default)]
pub(super) struct Timers {
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next_number: u64,
}

impl Timers {
    /// The next deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.sleepers.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Takes one whose deadline has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Waker> {
        let first = self.sleepers.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn add(&mut self, deadline: Instant, waker: Waker) -> (Instant, u64) {
        self.next_number += 1;
        let key = (deadline, self.next_number);
        self.sleepers.insert(key, waker);
        key
    }
}

/// A sleep. Dropping it forgets it.
pub(crate) struct Sleep {
    ring: Rc<Ring>,
    deadline: Instant,
    key: Option<(Instant, u64)>,
}

impl Sleep {
    /// A time that is too long for the clock is for ever.
    pub(super) fn new(ring: Rc<Ring>, duration: Duration) -> Sleep {
        const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        let now = Instant::now();
        let deadline = now.checked_add(duration).unwrap_or(now + FOR_EVER);
        Sleep { ring, deadline, key: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let ring = Rc::clone(&self.ring);
        let mut timers = ring.timers.borrow_mut();
        let registered = self.key.and_then(|key| timers.sleepers.get_mut(&key));
        match registered {
            // Woken by something else: another waiter of the same task.
            Some(waker) => waker.clone_from(context.waker()),
            None if self.deadline <= Instant::now() => {
                self.key = None;
                return Poll::Ready(());
            }
            None => self.key = Some(timers.add(self.deadline, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let forgotten = self.ring.timers.borrow_mut().sleepers.remove(&key);
            drop(forgotten);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_the_order_of_their_deadlines() {
        let (mut timers, start) = (Timers::default(), Instant::now());
        for ms in [30, 10, 20, 10] {
            timers.add(start + Duration::from_millis(ms), Waker::noop().clone());
        }
        let due = |timers: &mut Timers, ms| {
            let now = start + Duration::from_millis(ms);
            std::iter::from_fn(|| timers.take_due(now)).count()
        };
        assert_eq!(timers.next(), Some(start + Duration::from_millis(10)));
        assert_eq!(due(&mut timers, 9), 0);
        assert_eq!(due(&mut timers, 10), 2);
        assert_eq!(timers.next(), Some(start + Duration::from_millis(20)));
        assert_eq!(due(&mut timers, 40), 2);
        assert_eq!(timers.next(), None);
    }
}
