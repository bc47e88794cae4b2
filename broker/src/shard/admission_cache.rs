//! What a send must know of its topic, by the topic's slot among the queues.
//!
//! Of all metadata of its topic a plain send needs one number, how many queues there are. Looking it up by name costs a
//! broker of many topics as much as finding the queue. An entry remembers it where the queue is found.
//! `MetadataSnapshot` stays the truth: an entry holds for the version that it was made under, and there are entries
//! only for topics where nothing but the queue id is to be checked. The version is that of the topics alone: who comes
//! and subscribes ends no entry.

use store::TopicSlot;

#[derive(Clone, Copy, Default)]
struct Entry {
    version: u64,
    queues: u32,
}

/// The entries of one shard.
#[derive(Default)]
pub struct AdmissionCache {
    of_topic: Vec<Entry>,
}

impl AdmissionCache {
    /// Sends to the topic may go to queue ids below this, if there is an entry of this metadata version.
    pub fn queues(&self, topic: TopicSlot, version: u64) -> Option<u32> {
        let entry = self.of_topic.get(topic.index()).filter(|entry| entry.version == version)?;
        Some(entry.queues)
    }

    /// Sends to the topic may go to queue ids below `queues` while the metadata has this version.
    pub fn insert(&mut self, topic: TopicSlot, version: u64, queues: u32) {
        if self.of_topic.len() <= topic.index() {
            self.of_topic.resize(topic.index() + 1, Entry::default());
        }
        if let Some(entry) = self.of_topic.get_mut(topic.index()) {
            *entry = Entry { version, queues };
        }
    }

    /// A topic's queues go, and another topic may get its number: all entries end.
    pub fn clear(&mut self) {
        self.of_topic.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::StoreState;

    #[test]
    fn an_entry_ends_with_its_version_and_with_any_topic() {
        let mut state = StoreState::unwritten(0);
        let mut cache = AdmissionCache::default();
        state.queue_slot("a", 0);
        state.queue_slot("b", 0);
        let b = state.topic_slot("b").expect("has a queue");
        assert_eq!(cache.queues(b, 7), None);
        cache.insert(b, 7, 4);
        assert_eq!((cache.queues(b, 7), cache.queues(b, 8)), (Some(4), None));
        let a = state.topic_slot("a").expect("has a queue");
        assert_eq!(cache.queues(a, 7), None);
        cache.clear();
        assert_eq!(cache.queues(b, 7), None);
    }
}
