//! ShardQuerys that every shard knows a part of the answer to: offsets of a topic's queues, offsets of a group.
//!
//! The control worker asks all, counts what comes back, and answers its client when the last part is there. A survey
//! that a shard could not be asked for is refused at once, so none is ever left open.

use crate::{
    response::{Responder, Response},
    shard::Shard,
};
use ahash::AHashMap;

/// What is asked.
#[derive(Clone, Debug)]
pub enum ShardQuery {
    /// Offsets of the queues of a topic.
    Topic(Box<str>),
    /// Committed offsets of a group, with the offsets of the queues concerned; of one topic, if named.
    Group(Box<str>, Option<Box<str>>),
    /// Topics that groups have committed offsets on, as pairs of group and topic.
    GroupsOfTopic(Box<str>),
}

/// One queue of a topic.
#[derive(Clone, Debug)]
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

/// What one executor knows.
#[derive(Clone, Debug, Default)]
pub struct ShardReport {
    /// Queues.
    pub queues: Vec<QueueReport>,
    /// Groups.
    pub groups: Vec<Box<str>>,
}

impl ShardReport {
    /// Adds what the queues of one shard know.
    pub fn add(&mut self, query: &ShardQuery, shard: &Shard) {
        let state = shard.store.state();
        match query {
            ShardQuery::Topic(topic) => self.add_topic(&state, topic, None),
            ShardQuery::Group(group, only) => {
                let mut topics: Vec<&str> = state
                    .derived
                    .group_offsets
                    .iter()
                    .filter(|(owner, topic, _, _)| {
                        *owner == &**group && only.as_deref().is_none_or(|only| only == *topic)
                    })
                    .map(|(_, topic, _, _)| topic)
                    .collect();
                topics.sort_unstable();
                topics.dedup();
                for topic in topics {
                    self.add_topic(&state, topic, Some(group));
                }
            }
            ShardQuery::GroupsOfTopic(topic) => {
                let groups =
                    state.derived.group_offsets.iter().filter(|(_, on, _, _)| *on == &**topic);
                self.groups.extend(groups.map(|(group, _, _, _)| Box::from(group)));
            }
        }
    }

    fn add_topic(&mut self, state: &store::StoreState, topic: &str, group: Option<&str>) {
        state.queues_of(topic, |queue_id, entries, last_store_ms| {
            let committed =
                group.and_then(|group| state.derived.group_offsets.get(group, topic, queue_id));
            self.queues.push(QueueReport {
                topic: topic.into(),
                queue_id,
                min: entries.min(),
                max: entries.max(),
                last_store_ms,
                committed,
            });
        });
    }

    /// Takes in what another executor knows.
    pub fn merge(&mut self, other: ShardReport) {
        self.queues.extend(other.queues);
        self.groups.extend(other.groups);
    }
}

/// What to do with the report.
pub type Finish = Box<dyn FnOnce(ShardReport) -> Response>;

struct Open {
    responder: Responder,
    report: ShardReport,
    missing: usize,
    finish: Finish,
}

/// The gathers under way, on the control worker.
#[derive(Default)]
pub struct Gathers {
    open: AHashMap<u64, Open>,
    next: u64,
}

impl Gathers {
    /// Opens a gather from `executors` others, with what is known here. Returns its number.
    pub fn open(
        &mut self,
        responder: Responder,
        report: ShardReport,
        executors: usize,
        finish: Finish,
    ) -> u64 {
        let number = self.next;
        self.next += 1;
        self.open.insert(number, Open { responder, report, missing: executors, finish });
        number
    }

    /// An executor has told what it knows. Returns reply and answer when it was the last.
    pub fn on_report(&mut self, number: u64, report: ShardReport) -> Option<(Responder, Response)> {
        let open = self.open.get_mut(&number)?;
        open.report.merge(report);
        open.missing -= 1;
        if open.missing > 0 {
            return None;
        }
        let Open { responder, report, finish, .. } = self.open.remove(&number)?;
        Some((responder, finish(report)))
    }
}
