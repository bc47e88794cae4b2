//! Which snapshots all workers have: who is told that something was created may use it at once, over any connection.
//!
//! A snapshot goes to each worker over a lane of its own, so a request that another worker sends there can overtake it. Each
//! worker says which version it has, and answers wait for the last one: for a second at most, and for a worker that has been
//! stuck for longer not at all, until it says something again.

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
    /// By worker.
    known: Vec<Known>,
    /// The version that each waits for; never a smaller one behind a larger one.
    waiting: VecDeque<Waiter>,
}

/// What one worker has.
#[derive(Clone, Copy, Default)]
struct Known {
    version: u64,
    /// Since when it is to say that it has a newer one.
    awaited_since: Option<Uptime>,
    /// It has not said so for too long.
    stuck: bool,
}

struct Waiter {
    version: u64,
    since: Uptime,
    seen: OneShot<()>,
}

impl Visibility {
    /// A snapshot of this version goes out to so many workers.
    pub fn published(&mut self, version: u64, workers: usize, now: Uptime) {
        self.published = self.published.max(version);
        self.known.resize(workers, Known::default());
        for known in &mut self.known {
            known.awaited_since.get_or_insert(now);
        }
    }

    /// A worker has a version.
    pub fn known(&mut self, worker: usize, version: u64, now: Uptime) {
        let published = self.published;
        if let Some(known) = self.known.get_mut(worker) {
            let version = version.max(known.version);
            let awaited_since = (version < published).then_some(now);
            *known = Known { version, awaited_since, stuck: false };
        }
        self.release_seen();
    }

    /// Whether all workers that are not stuck have what was published last.
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

    /// Lets go of those who have waited long enough, and waits no longer for workers that are stuck.
    pub fn tick(&mut self, now: Uptime) {
        for known in &mut self.known {
            known.stuck = known.awaited_since.is_some_and(|since| now - since >= PATIENCE_MS);
        }
        self.release_seen();
        self.release(|waiter| now - waiter.since >= PATIENCE_MS);
    }

    fn everywhere(&self) -> u64 {
        let awaited = self.known.iter().filter(|known| !known.stuck);
        awaited.map(|known| known.version).min().unwrap_or(self.published)
    }

    fn release_seen(&mut self) {
        let everywhere = self.everywhere();
        self.release(|waiter| waiter.version <= everywhere);
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
        visibility.published(7, 3, start);
        visibility.known(0, 7, start);
        visibility.known(2, 7, start);
        let first = visibility.wait(start);
        assert!(!visibility.is_current() && !is_over(&first));
        visibility.published(8, 3, start);
        let second = visibility.wait(start);
        visibility.known(1, 7, start);
        assert!(is_over(&first) && !is_over(&second));
        (0..2).for_each(|worker| visibility.known(worker, 8, start));
        visibility.tick(start + PATIENCE_MS - 1);
        assert!(!visibility.is_current() && !is_over(&second));
        let late = start + PATIENCE_MS;
        visibility.tick(late);
        assert!(is_over(&second) && visibility.is_current(), "it is stuck");
        visibility.published(9, 3, late);
        (0..2).for_each(|worker| visibility.known(worker, 9, late));
        assert!(is_over(&visibility.wait(late)), "nobody waits for it again");
        visibility.known(2, 8, late);
        let third = visibility.wait(late);
        assert!(!is_over(&third), "it goes on");
        visibility.known(2, 9, late);
        assert!(is_over(&third) && visibility.is_current());
    }
}
