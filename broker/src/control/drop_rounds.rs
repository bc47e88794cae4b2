//! Who waits for shards to drop what was deleted, and what wakes the task that has them do it ([`crate::drops`]).

use crate::{error::Refusal, one_shot::OneShot};
use runtime::Signal;
use std::cell::RefCell;

/// Who waits for shards to drop what was deleted.
#[derive(Default)]
pub struct Drops {
    waiting: RefCell<Vec<OneShot<Result<(), Refusal>>>>,
    wanted: Signal,
}

impl Drops {
    /// There is something to drop.
    pub fn raise(&self) {
        self.wanted.raise();
    }

    /// Waits until there is something to drop.
    pub async fn wanted(&self) {
        self.wanted.wait().await;
    }

    /// The end of the round that is under way, or of the next one.
    pub async fn next_round(&self) -> Result<(), Refusal> {
        let ended = OneShot::default();
        self.waiting.borrow_mut().push(ended.clone());
        self.raise();
        ended.wait().await
    }

    /// The round is over.
    pub fn end_round(&self, outcome: &Result<(), Refusal>) {
        for waiter in self.waiting.take() {
            waiter.set(outcome.clone());
        }
    }
}
