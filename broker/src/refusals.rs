//! How many requests a worker has refused, by code and reason, for a scrape. Refusals are rare: a map will do.

use crate::error::Refusal;
use std::{cell::RefCell, collections::BTreeMap};

/// Reasons that remarks name as `reason=...`. What else stands there comes from a client.
const REASONS: &[&str] = &[
    "all-producers",
    "client-calls",
    "cold-reads",
    "connection-clogged",
    "disk-full",
    "index-behind",
    "key-queries",
    "lane-full",
    "log-inflight",
    "log-poisoned",
    "log-room",
    "metadata-unsaved",
    "open-requests",
    "positions-used-up",
    "replica",
    "replies",
    "slow-readers",
    "timers",
    "transactions",
];

/// Refused requests by code and reason; a reason is empty where none is named.
pub type Counts = BTreeMap<(i32, &'static str), u64>;

/// The refusals of one worker.
#[derive(Default)]
pub struct Refusals(RefCell<Counts>);

impl Refusals {
    /// A request was refused.
    pub fn count(&self, refusal: &Refusal) {
        let key = (refusal.code, reason_of(&refusal.remark));
        *self.0.borrow_mut().entry(key).or_default() += 1;
    }

    /// All so far.
    pub fn counts(&self) -> Counts {
        self.0.borrow().clone()
    }
}

fn reason_of(remark: &str) -> &'static str {
    let Some((_, named)) = remark.split_once("reason=") else { return "" };
    let end = named.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(named.len());
    let known = REASONS.iter().find(|reason| **reason == &named[..end]);
    known.copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_what_the_broker_says_of_them() {
        let refusals = Refusals::default();
        for (code, remark) in [
            (2, "[OVERLOAD] reason=lane-full executor=1"),
            (2, "[OVERLOAD] reason=lane-full executor=0"),
            (14, "shard=0 reason=disk-full cause=x"),
            (17, "topic[reason=a] not exist, apply first please!"),
            (17, "topic[b] not exist, apply first please!"),
        ] {
            refusals.count(&Refusal::new(code, remark));
        }
        let expected = Counts::from([((2, "lane-full"), 2), ((14, "disk-full"), 1), ((17, ""), 2)]);
        assert_eq!(refusals.counts(), expected);
        assert!(REASONS.is_sorted());
    }
}
