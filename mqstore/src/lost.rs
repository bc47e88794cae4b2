//! Messages that are gone, by queue.

use std::{collections::BTreeMap, fmt};

/// Queues that are named; more are counted only.
const NAMED_MAX: usize = 20;
/// Queues that are distinguished.
const KEPT_MAX: usize = 100_000;

/// How many messages of which queues are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    messages: u64,
    spared: u64,
    queues: BTreeMap<(Box<str>, u32), u64>,
}

impl Lost {
    pub(crate) fn add(&mut self, topic: &str, queue_id: u32, messages: u64) {
        self.messages += messages;
        let key = (Box::from(topic), queue_id);
        if self.queues.len() < KEPT_MAX || self.queues.contains_key(&key) {
            *self.queues.entry(key).or_default() += messages;
        }
    }

    /// A message in a damaged place that can be read nevertheless.
    pub(crate) fn spare(&mut self) {
        self.spared += 1;
    }

    pub(crate) fn spared(&self) -> u64 {
        self.spared
    }

    /// A topic that was deleted later takes nothing along any more.
    pub(crate) fn forget_topics(&mut self, deleted: impl Fn(&str) -> bool) {
        let messages = &mut self.messages;
        self.queues.retain(|(topic, _), count| {
            let keep = !deleted(topic);
            *messages -= if keep { 0 } else { *count };
            keep
        });
    }

    pub(crate) fn merge(&mut self, other: Lost) {
        self.spared += other.spared;
        for ((topic, queue_id), count) in other.queues {
            self.add(&topic, queue_id, count);
        }
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} messages of {} queues", self.messages, self.queues.len())?;
        for (number, ((topic, queue_id), count)) in self.queues.iter().take(NAMED_MAX).enumerate() {
            let separator = if number == 0 { ": " } else { ", " };
            write!(f, "{separator}{topic}/{queue_id} ({count})")?;
        }
        if self.queues.len() > NAMED_MAX {
            write!(f, ", ...")?;
        }
        Ok(())
    }
}
