//! Topics that sends were let into, by their number among the queues.
//!
//! Of all facts about its topic a plain send needs one, how many queues there are. Looking it up by name costs a broker of
//! many topics as much as finding the queue. A pass remembers it where the queue is found. `Meta` stays the truth: a pass
//! holds under the snapshot that it was given under, and for topics only where nothing but the queue id is to be checked.

use store::TopicSlot;

#[derive(Clone, Copy, Default)]
struct Pass {
    version: u64,
    queues: u32,
}

/// The passes of one shard.
#[derive(Default)]
pub struct Passes {
    of_topic: Vec<Pass>,
}

impl Passes {
    /// Sends to the topic may go to queue ids below this, if a pass was given under this version of `Meta`.
    pub fn queues(&self, topic: TopicSlot, version: u64) -> Option<u32> {
        let pass = self.of_topic.get(topic.index()).filter(|pass| pass.version == version)?;
        Some(pass.queues)
    }

    /// Sends to the topic may go to queue ids below `queues` while `Meta` has this version.
    pub fn give(&mut self, topic: TopicSlot, version: u64, queues: u32) {
        if self.of_topic.len() <= topic.index() {
            self.of_topic.resize(topic.index() + 1, Pass::default());
        }
        if let Some(pass) = self.of_topic.get_mut(topic.index()) {
            *pass = Pass { version, queues };
        }
    }

    /// A topic's queues go, and another topic may get its number: all passes end.
    pub fn clear(&mut self) {
        self.of_topic.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Core;

    #[test]
    fn a_pass_ends_with_the_snapshot_and_with_any_topic() {
        let mut core = Core::unwritten(0);
        let mut passes = Passes::default();
        core.queue_slot("a", 0);
        core.queue_slot("b", 0);
        let b = core.topic_slot("b").expect("has a queue");
        assert_eq!(passes.queues(b, 7), None);
        passes.give(b, 7, 4);
        assert_eq!((passes.queues(b, 7), passes.queues(b, 8)), (Some(4), None));
        let a = core.topic_slot("a").expect("has a queue");
        assert_eq!(passes.queues(a, 7), None);
        passes.clear();
        assert_eq!(passes.queues(b, 7), None);
    }
}
