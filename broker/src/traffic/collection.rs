//! When traffic is collected from the shards: every ten seconds, and when somebody asks, once a second at most.

use super::{DayTotals, Traffic};
use crate::one_shot::OneShot;
use runtime::{Signal, Uptime};
use std::cell::{Cell, RefCell};

/// Without being asked for, it is collected this often, s: a span of the shortest window.
const PERIOD_SECONDS: i64 = 10;
/// Who asks gets what is at most this old, ms, however many ask.
const AGE_MS_MAX: i64 = 1_000;

/// What is known, and the collecting of it, which [`crate::collect_traffic`] does.
pub struct Collection {
    traffic: RefCell<Traffic>,
    wanted: Signal,
    /// It is wanted or under way.
    is_due: Cell<bool>,
    /// When the last one began; none so far.
    begun: Cell<Option<Uptime>>,
    waiting: RefCell<Vec<OneShot<()>>>,
}

impl Collection {
    /// Nothing was collected so far.
    pub fn new(traffic: Traffic) -> Collection {
        Collection {
            traffic: RefCell::new(traffic),
            wanted: Signal::default(),
            is_due: Cell::default(),
            begun: Cell::default(),
            waiting: RefCell::default(),
        }
    }

    /// Looks at what was collected.
    pub fn look<T>(&self, look: impl FnOnce(&Traffic) -> T) -> T {
        look(&self.traffic.borrow())
    }

    /// Changes what was collected.
    pub fn change(&self, change: impl FnOnce(&mut Traffic)) {
        change(&mut self.traffic.borrow_mut());
    }

    /// To be called each second. Returns what was put and got since the start.
    pub fn tick(&self, now: Uptime) -> DayTotals {
        if now.seconds() % PERIOD_SECONDS == 0 {
            self.want(now);
        }
        self.traffic.borrow().totals_of_clients()
    }

    /// Has it collected soon, unless that is under way or was just done.
    pub fn want(&self, now: Uptime) {
        let is_new = self.begun.get().is_some_and(|begun| now - begun < AGE_MS_MAX);
        if !is_new && !self.is_due.replace(true) {
            self.wanted.raise();
        }
    }

    /// Waits until what is known is at most a second old.
    pub async fn refresh(&self, now: Uptime) {
        self.want(now);
        if self.is_due.get() {
            let done = OneShot::default();
            self.waiting.borrow_mut().push(done.clone());
            done.wait().await;
        }
    }

    /// Waits until it is to be collected.
    pub async fn wanted(&self) {
        self.wanted.wait().await;
    }

    /// It is being collected.
    pub fn begun(&self, now: Uptime) {
        self.begun.set(Some(now));
    }

    /// It was collected.
    pub fn ended(&self) {
        self.is_due.set(false);
        self.waiting.take().iter().for_each(|waiter| waiter.set(()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::sim::block_on;

    #[test]
    fn it_is_collected_once_a_second_at_most_however_many_ask() {
        let collection = Collection::new(Traffic::new("c", 1_000));
        let now = Uptime::from_ms(5_000);
        assert!(block_on(collection.wanted()).is_none(), "nobody asked");
        assert!(block_on(collection.refresh(now)).is_none(), "it waits");
        assert!(block_on(collection.refresh(now)).is_none());
        assert!(block_on(collection.wanted()).is_some());
        assert!(block_on(collection.wanted()).is_none(), "both want the same");
        collection.begun(now + 10);
        assert!(block_on(collection.refresh(now + 500)).is_none(), "it is under way");
        collection.ended();
        assert!(block_on(collection.refresh(now + 900)).is_some(), "that is new enough");
        assert!(block_on(collection.wanted()).is_none());
        collection.want(now + 1_010);
        assert!(block_on(collection.wanted()).is_some());
    }

    #[test]
    fn without_being_asked_for_it_is_collected_every_ten_seconds() {
        let collection = Collection::new(Traffic::new("c", 1_000));
        let mut wanted = Vec::new();
        for second in 1..=31 {
            let now = Uptime::from_ms(second * 1_000 + 20);
            collection.tick(now);
            if block_on(collection.wanted()).is_some() {
                wanted.push(second);
                collection.begun(now);
                collection.ended();
            }
        }
        assert_eq!(wanted, [10, 20, 30]);
    }
}
