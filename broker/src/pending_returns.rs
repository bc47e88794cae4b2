//! Results that a worker waits for from others: see [`crate::calls`].

use crate::one_shot::OneShot;
use ahash::AHashMap;
use std::any::Any;

/// What a function of ours returned on another worker.
pub type Returned = Box<dyn Any + Send>;

/// Results that this worker waits for. Bounded by the administrative requests that are open.
#[derive(Default)]
pub struct PendingReturns {
    next: u64,
    open: AHashMap<u64, OneShot<Returned>>,
}

impl PendingReturns {
    /// Opens a place for one result, and numbers it.
    pub fn open(&mut self) -> (u64, OneShot<Returned>) {
        let number = self.next;
        self.next += 1;
        let returned = OneShot::default();
        self.open.insert(number, returned.clone());
        (number, returned)
    }

    /// A result has come.
    pub fn complete(&mut self, number: u64, value: Returned) {
        self.open.remove(&number).expect("a call returns once").set(value);
    }
}
