//! What was appended to each queue, counted for whoever collects it: statistics by topic and queue.
//!
//! An append adds to numbers of its queue, in a cache line that it changes anyway. Collecting takes them: it looks at
//! queues that were appended to since the last time, and at no other.

use crate::{queue_table::QueueSlot, store_state::StoreState};
use std::collections::VecDeque;

/// Messages that were appended to a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Puts {
    /// How many.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Those of them that came behind another one in the same request.
    pub batched: u64,
}

/// Queues with something to collect, in the order of their first append.
#[derive(Default)]
pub(crate) struct PutQueues(VecDeque<QueueSlot>);

impl Puts {
    /// One more message. True: it is the first since they were collected.
    pub(crate) fn add(&mut self, bytes: u64) -> bool {
        let is_first = self.messages == 0;
        self.messages += 1;
        self.bytes += bytes;
        is_first
    }
}

impl PutQueues {
    pub(crate) fn push(&mut self, slot: QueueSlot) {
        self.0.push_back(slot);
    }
}

impl StoreState {
    /// So many messages that were appended to this queue came behind another one in the same request.
    pub fn count_batched(&mut self, slot: QueueSlot, messages: usize) {
        self.queues[slot].puts.batched += messages as u64;
    }

    /// Queues that were appended to since they were collected, about.
    pub fn put_queues(&self) -> usize {
        self.put_queues.0.len()
    }

    /// Collects what was appended to at most so many of these queues, through `visit`: topic, queue id, what. What was
    /// appended to a topic that is deleted meanwhile is forgotten.
    pub fn take_puts(&mut self, queues_max: usize, mut visit: impl FnMut(&str, u32, Puts)) {
        let count = queues_max.min(self.put_queues.0.len());
        for slot in self.put_queues.0.drain(..count) {
            let puts = std::mem::take(&mut self.queues[slot].puts);
            let queue = &self.queues[slot];
            // A slot that was used again may stand there twice.
            if puts.messages > 0 && !queue.is_removed() {
                visit(self.queues.topic_of(queue), queue.queue_id, puts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store_state::Append;

    fn append(state: &mut StoreState, topic: &str, queue_id: u32, bytes: usize) {
        let slot = state.queue_slot(topic, queue_id);
        state.append(Append { slot, bytes, tags_code: 0, keys: &[] }, 1, |_, out| out.fill(0));
    }

    fn collected(state: &mut StoreState, queues_max: usize) -> Vec<(String, u32, u64, u64, u64)> {
        let mut found = Vec::new();
        state.take_puts(queues_max, |topic, queue_id, puts| {
            let Puts { messages, bytes, batched } = puts;
            found.push((topic.to_owned(), queue_id, messages, bytes, batched));
        });
        found
    }

    #[test]
    fn what_was_appended_is_collected_once() {
        let mut state = StoreState::unwritten(0);
        for (topic, queue_id, bytes) in [("a", 0, 100), ("b", 3, 50), ("a", 0, 10), ("a", 1, 1)] {
            append(&mut state, topic, queue_id, bytes);
        }
        let slot = state.queue_slot("a", 0);
        state.count_batched(slot, 1);
        assert_eq!(state.put_queues(), 3);
        let first = [("a".to_owned(), 0, 2, 110, 1), ("b".to_owned(), 3, 1, 50, 0)];
        assert_eq!(collected(&mut state, 2), first);
        assert_eq!(collected(&mut state, 2), [("a".to_owned(), 1, 1, 1, 0)]);
        assert!(collected(&mut state, 2).is_empty());
        append(&mut state, "a", 0, 7);
        assert_eq!(collected(&mut state, 2), [("a".to_owned(), 0, 1, 7, 0)]);
    }

    #[test]
    fn what_was_appended_to_a_deleted_topic_is_forgotten() {
        let mut state = StoreState::unwritten(0);
        append(&mut state, "a", 0, 100);
        state.remove_topic("a", 2).expect("room").expect("it was there");
        state.publish_before(u64::MAX);
        append(&mut state, "a", 0, 30);
        append(&mut state, "b", 0, 20);
        let mut found = collected(&mut state, 10);
        found.sort();
        assert_eq!(found, [("a".to_owned(), 0, 1, 30, 0), ("b".to_owned(), 0, 1, 20, 0)]);
    }
}
