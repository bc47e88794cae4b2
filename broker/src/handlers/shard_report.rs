//! What the shards know of topics and groups: the parts of answers that are gathered from all of them. Each worker looks at
//! its shards in pieces of work: a topic may have 65,535 queues, a group any number of topics, a topic any number of groups.

use crate::{control::names, request::first_queue_on, shard::Shard, worker::Worker};
use std::{rc::Rc, sync::Arc};
use store::{StoreState, state::group_offsets::Place, state::half_messages::HALF_TOPIC};

/// Queues looked at in one piece of work.
pub const PIECE_QUEUES: usize = 512;

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

/// The queues of a topic that were ever used, with the offsets of a group.
pub async fn queues_of_topic(
    worker: &Rc<Worker>,
    topic: String,
    group: Option<String>,
) -> Vec<QueueReport> {
    queues_of_topics(worker, [topic].into(), group).await
}

/// The same of several topics.
pub async fn queues_of_topics(
    worker: &Rc<Worker>,
    topics: Arc<[String]>,
    group: Option<String>,
) -> Vec<QueueReport> {
    let look = move |there: Rc<Worker>| async move {
        let mut reports = Vec::new();
        for shard in &there.hosted {
            for topic in &*topics {
                add_queues(&there, shard, topic, group.as_deref(), &mut reports).await;
            }
        }
        reports
    };
    worker.gather_from_workers(look).await.into_iter().flatten().collect()
}

/// Topics that a group has committed offsets on, in any order; each may be named more than once. The broker's own group for half
/// messages is on their topic, as with Java's broker.
pub async fn topics_of_group(worker: &Rc<Worker>, group: String) -> Vec<Box<str>> {
    let look = move |there: Rc<Worker>| async move {
        let mut topics = Vec::new();
        for shard in &there.hosted {
            topics.extend(topics_there(&there, shard, &group, None).await);
            if group == names::TRANS_GROUP {
                topics.push(HALF_TOPIC.into());
            }
        }
        topics
    };
    worker.gather_from_workers(look).await.into_iter().flatten().collect()
}

/// Topics that a group has committed offsets on in a shard, or one of these.
pub async fn topics_there(
    there: &Worker,
    shard: &Shard,
    group: &str,
    only: Option<&str>,
) -> Vec<Box<str>> {
    let walk = |state: &StoreState, place: &mut Place, found: &mut Vec<Box<str>>| {
        let take = |topic: &str| {
            if only.is_none_or(|only| only == topic) {
                found.push(topic.into());
            }
        };
        state.derived.group_offsets.topics_of(group, place, take)
    };
    names_found(there, shard, walk).await
}

/// Groups that have committed offsets on a topic, in any order; each may be named more than once. On that of half messages is
/// the broker's own.
pub async fn groups_of_topic(worker: &Rc<Worker>, topic: String) -> Vec<Box<str>> {
    let look = move |there: Rc<Worker>| async move {
        let mut groups = Vec::new();
        for shard in &there.hosted {
            let walk = |state: &StoreState, place: &mut Place, found: &mut Vec<Box<str>>| {
                state
                    .derived
                    .group_offsets
                    .groups_on(&topic, place, |group| found.push(group.into()))
            };
            groups.extend(names_found(&there, shard, walk).await);
            if topic == HALF_TOPIC {
                groups.push(names::TRANS_GROUP.into());
            }
        }
        groups
    };
    worker.gather_from_workers(look).await.into_iter().flatten().collect()
}

/// Names that `walk` finds, piece by piece, as long as it says that there are more.
async fn names_found(
    there: &Worker,
    shard: &Shard,
    walk: impl Fn(&StoreState, &mut Place, &mut Vec<Box<str>>) -> bool,
) -> Vec<Box<str>> {
    let (mut place, mut found) = (Place::default(), Vec::new());
    while walk(&shard.store.state(), &mut place, &mut found) {
        there.executor.yield_now().await;
    }
    found
}

/// Adds the queues of a topic that a shard owns and that were ever used, as far as the topic reaches.
async fn add_queues(
    there: &Worker,
    shard: &Shard,
    topic: &str,
    group: Option<&str>,
    reports: &mut Vec<QueueReport>,
) {
    let mut left = owned_queues(there, shard, topic).peekable();
    while left.peek().is_some() {
        {
            let state = shard.store.state();
            let found = left.by_ref().take(PIECE_QUEUES);
            reports.extend(found.filter_map(|queue_id| report(&state, topic, queue_id, group)));
        }
        there.executor.yield_now().await;
    }
}

/// The queues that a topic has now, if there is one, and a shard owns.
pub fn owned_queues(
    there: &Worker,
    shard: &Shard,
    topic: &str,
) -> impl Iterator<Item = u32> + use<> {
    let queues = there.metadata.borrow().topic(topic).map_or(0, |config| config.queues());
    owned(topic, shard.number, there.shard_count, queues)
}

/// The queues of a topic below `queues` that a shard owns, of `count`.
fn owned(topic: &str, shard: u16, count: u16, queues: u32) -> impl Iterator<Item = u32> + use<> {
    (first_queue_on(shard, topic, count)..queues).step_by(usize::from(count))
}

/// `None`: the queue never had a message, and the group has committed nothing there.
fn report(
    state: &StoreState,
    topic: &str,
    queue_id: u32,
    group: Option<&str>,
) -> Option<QueueReport> {
    let mut committed =
        group.and_then(|group| state.derived.group_offsets.get(group, topic, queue_id));
    let (min, max, last_store_ms) = match state.queue_with_time(topic, queue_id) {
        Some((entries, last_store_ms)) => (entries.min(), entries.max(), last_store_ms),
        None if committed.is_some() => (0, 0, 0),
        None => return None,
    };
    if topic == HALF_TOPIC && group == Some(names::TRANS_GROUP) {
        committed = Some(halves_done(state, min, max));
    }
    Some(QueueReport { topic: topic.into(), queue_id, min, max, last_store_ms, committed })
}

/// How far the broker is with the half messages of a shard, which lie in one queue. Java's broker keeps an offset, up to which all are
/// decided or were asked for and appended again; what is behind it are those that wait for a decision, and what operators look
/// for. Here none is appended again, and one may be decided long after those behind it. So that the difference is what it says,
/// the number of those that are open, the offset lies that far before the end, whichever they are.
fn halves_done(state: &StoreState, min: i64, max: i64) -> i64 {
    let open = i64::try_from(state.derived.half_messages.len()).unwrap_or(i64::MAX);
    max.saturating_sub(open).max(min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{handlers::fixtures::state_with_messages, request::owner_of};

    #[test]
    fn a_queue_is_reported_with_what_a_group_has_committed_there() {
        let mut state = state_with_messages(&[("a", 0, 3), ("a", 1, 1)]);
        state.commit_group_offset("g", "a", 0, 2).expect("room");
        let reported = |state: &StoreState, queue_id, group| {
            let report = report(state, "a", queue_id, group)?;
            Some((report.min, report.max, report.committed))
        };
        assert_eq!(reported(&state, 0, Some("g")), Some((0, 3, Some(2))));
        assert_eq!(reported(&state, 1, Some("g")), Some((0, 1, None)));
        assert_eq!(reported(&state, 0, None), Some((0, 3, None)));
        assert_eq!(reported(&state, 2, Some("g")), None);
        state.commit_group_offset("g", "a", 2, 5).expect("room");
        assert_eq!(reported(&state, 2, Some("g")), Some((0, 0, Some(5))), "without a message");
        assert_eq!(reported(&state, 2, None), None);
    }

    #[test]
    fn what_the_broker_has_not_done_of_half_messages_is_what_is_open() {
        let mut state = state_with_messages(&[(HALF_TOPIC, 0, 3), ("a", 0, 2)]);
        let open = state.derived.half_messages.len() as i64;
        state.commit_group_offset(names::TRANS_GROUP, HALF_TOPIC, 0, 1).expect("room");
        let done = |topic, group| report(&state, topic, 0, Some(group)).expect("used").committed;
        assert_eq!(done(HALF_TOPIC, names::TRANS_GROUP), Some(3 - open), "nobody else says it");
        assert_eq!(done(HALF_TOPIC, "g"), None);
        assert_eq!(done("a", names::TRANS_GROUP), None);
        assert_eq!(halves_done(&StoreState::unwritten(0), 4, 9), 9, "none is open");
    }

    #[test]
    fn each_queue_is_looked_at_on_the_shard_that_owns_it() {
        for (count, queues) in [(1, 5), (3, 8), (8, 3), (2, 0)] {
            let mut seen: Vec<u32> =
                (0..count).flat_map(|shard| owned("orders", shard, count, queues)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..queues).collect::<Vec<_>>());
            for shard in 0..count {
                let owner = |id| owner_of("orders", id, count);
                assert!(owned("orders", shard, count, queues).all(|id| owner(id) == shard));
            }
        }
    }
}
