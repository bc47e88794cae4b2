//! What one shard knows of topics and groups: the parts of answers that are gathered from all shards. Plain functions
//! on its state.

use store::StoreState;

/// One queue of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueReport {
    /// Topic.
    pub topic: Box<str>,
    /// Queue.
    pub queue_id: u32,
    /// First offset.
    pub min: i64,
    /// Behind the last offset.
    pub max: i64,
    /// Store timestamp of the last message, ms; 0 without one.
    pub last_store_ms: i64,
    /// Committed offset of the group that was asked for.
    pub committed: Option<i64>,
}

/// The queues of a topic, with what a group has committed there.
pub fn queues_of_topic(state: &StoreState, topic: &str, group: Option<&str>) -> Vec<QueueReport> {
    let mut queues = Vec::new();
    state.queues_of(topic, |queue_id, entries, last_store_ms| {
        queues.push(QueueReport {
            topic: topic.into(),
            queue_id,
            min: entries.min(),
            max: entries.max(),
            last_store_ms,
            committed: group
                .and_then(|group| state.derived.group_offsets.get(group, topic, queue_id)),
        });
    });
    queues
}

/// The queues of all topics that a group has committed offsets on, or of one of these topics.
pub fn queues_of_group(state: &StoreState, group: &str, only: Option<&str>) -> Vec<QueueReport> {
    let of_group = state.derived.group_offsets.iter().filter(|(owner, ..)| *owner == group);
    let topics = of_group.map(|(_, topic, ..)| topic);
    let mut topics: Vec<&str> =
        topics.filter(|topic| only.is_none_or(|only| only == *topic)).collect();
    topics.sort_unstable();
    topics.dedup();
    topics.into_iter().flat_map(|topic| queues_of_topic(state, topic, Some(group))).collect()
}

/// Groups that have committed offsets on a topic, in any order; each may be named more than once.
pub fn groups_of_topic(state: &StoreState, topic: &str) -> Vec<Box<str>> {
    let groups = state.derived.group_offsets.iter().filter(|(_, on, ..)| *on == topic);
    groups.map(|(group, ..)| Box::from(group)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::fixtures::state_with_messages;

    #[test]
    fn a_group_is_reported_on_the_topics_that_it_has_committed_on() {
        let mut state = state_with_messages(&[("a", 0, 3), ("a", 1, 1), ("b", 0, 2), ("c", 0, 1)]);
        state.derived.group_offsets.set("g", "a", 0, 2);
        state.derived.group_offsets.set("g", "b", 0, 1);
        state.derived.group_offsets.set("other", "a", 1, 1);
        let reported = |only| -> Vec<_> {
            let queues = queues_of_group(&state, "g", only);
            queues
                .into_iter()
                .map(|queue| (queue.topic, queue.queue_id, queue.max, queue.committed))
                .collect()
        };
        let on_a = [("a".into(), 0, 3, Some(2)), ("a".into(), 1, 1, None)];
        assert_eq!(reported(Some("a")), on_a);
        assert_eq!(reported(None)[..2], on_a);
        assert_eq!(reported(None)[2..], [("b".into(), 0, 2, Some(1))]);
        let mut groups = groups_of_topic(&state, "a");
        groups.sort_unstable();
        assert_eq!(groups, ["g", "other"].map(Box::from));
    }
}
