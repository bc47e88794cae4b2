//! Which snapshots all workers have: who is told that something was created may use it at once, over any connection.
//!
//! A snapshot goes to each worker over a lane of its own, so a request that another worker sends there can overtake it. Each
//! worker says which version it has, and answers wait for the last one. A worker that is stuck delays them by
//! a second at most.

use crate::one_shot::OneShot;
use runtime::Uptime;
use std::collections::VecDeque;

/// How long an answer waits for workers that do not say that they have a snapshot, ms.
const PATIENCE_MS: i64 = 1_000;

/// What each worker has, and who waits for that.
#[derive(Default)]
pub struct Visibility {
    /// The version that was published last.
    published: u64,
    /// By worker, the version that it has.
    known: Vec<u64>,
    /// The version that each waits for; never a smaller one behind a larger one.
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    version: u64,
    since: Uptime,
    seen: OneShot<()>,
}

impl Visibility {
    /// A snapshot of this version goes out to so many workers.
    pub fn published(&mut self, version: u64, workers: usize) {
        self.published = self.published.max(version);
        self.known.resize(workers, 0);
    }

    /// A worker has a version.
    pub fn known(&mut self, worker: usize, version: u64) {
        if let Some(known) = self.known.get_mut(worker) {
            *known = version.max(*known);
        }
        let everywhere = self.everywhere();
        self.release(|waiter| waiter.version <= everywhere);
    }

    /// Whether all workers have what was published last.
    pub fn is_current(&self) -> bool {
        self.everywhere() >= self.published
    }

    /// Ends when all workers have what is published by now.
    pub fn wait(&mut self, now: Uptime) -> OneShot<()> {
        let seen = OneShot::default();
        if self.is_current() {
            seen.set(());
        } else {
            let version = self.published;
            self.waiting.push_back(Waiter { version, since: now, seen: seen.clone() });
        }
        seen
    }

    /// Lets go of those who have waited long enough.
    pub fn tick(&mut self, now: Uptime) {
        self.release(|waiter| now - waiter.since >= PATIENCE_MS);
    }

    fn everywhere(&self) -> u64 {
        self.known.iter().min().copied().unwrap_or(self.published)
    }

    fn release(&mut self, over: impl Fn(&Waiter) -> bool) {
        while self.waiting.front().is_some_and(&over) {
            if let Some(waiter) = self.waiting.pop_front() {
                waiter.seen.set(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    fn is_over(seen: &OneShot<()>) -> bool {
        pin!(seen.wait()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn an_answer_waits_for_the_last_worker_but_not_for_one_that_is_stuck() {
        let start = Uptime::from_ms(0);
        let mut visibility = Visibility::default();
        assert!(is_over(&visibility.wait(start)), "nothing was published");
        visibility.published(7, 3);
        visibility.known(0, 7);
        visibility.known(2, 7);
        let first = visibility.wait(start);
        assert!(!visibility.is_current() && !is_over(&first));
        visibility.published(8, 3);
        let second = visibility.wait(start);
        visibility.known(1, 7);
        assert!(is_over(&first) && !is_over(&second));
        (0..2).for_each(|worker| visibility.known(worker, 8));
        assert!(!is_over(&second));
        visibility.tick(start + PATIENCE_MS);
        assert!(is_over(&second) && !visibility.is_current());
        visibility.known(2, 8);
        assert!(visibility.is_current() && is_over(&visibility.wait(start)));
    }
}
