//! Questions that every shard knows a part of the answer to: offsets of a topic's queues, offsets of a group.
//!
//! Executor 0 asks all, counts what comes back, and answers its client when the last part is there. A survey that a
//! shard could not be asked for is refused at once, so none is ever left open.

use crate::{letter::Reply, queues::Queues};
use ahash::AHashMap;

/// What is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// Offsets of the queues of a topic.
    Topic(Box<str>),
    /// Committed offsets of a group, with the offsets of the queues concerned; of one topic, if named.
    Group(Box<str>, Option<Box<str>>),
    /// Topics that groups have committed offsets on, as pairs of group and topic.
    GroupsOfTopic(Box<str>),
}

/// One queue of a topic.
#[derive(Clone, Debug)]
pub struct QueueFindings {
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
pub struct Findings {
    /// Queues.
    pub queues: Vec<QueueFindings>,
    /// Groups.
    pub groups: Vec<Box<str>>,
}

impl Findings {
    /// Adds what the queues of one shard know.
    pub fn add(&mut self, question: &Question, queues: &Queues) {
        let core = queues.store.core();
        match question {
            Question::Topic(topic) => self.add_topic(&core, topic, None),
            Question::Group(group, only) => {
                let mut topics: Vec<&str> = core
                    .offsets
                    .iter()
                    .filter(|(owner, topic, _, _)| {
                        *owner == &**group && only.as_deref().is_none_or(|only| only == *topic)
                    })
                    .map(|(_, topic, _, _)| topic)
                    .collect();
                topics.sort_unstable();
                topics.dedup();
                for topic in topics {
                    self.add_topic(&core, topic, Some(group));
                }
            }
            Question::GroupsOfTopic(topic) => {
                let groups = core.offsets.iter().filter(|(_, on, _, _)| *on == &**topic);
                self.groups.extend(groups.map(|(group, _, _, _)| Box::from(group)));
            }
        }
    }

    fn add_topic(&mut self, core: &store::Core, topic: &str, group: Option<&str>) {
        core.queues_of(topic, |queue_id, entries, last_store_ms| {
            let committed = group.and_then(|group| core.offsets.get(group, topic, queue_id));
            self.queues.push(QueueFindings {
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
    pub fn merge(&mut self, other: Findings) {
        self.queues.extend(other.queues);
        self.groups.extend(other.groups);
    }
}

/// What to do with the findings.
pub type Conclude = Box<dyn FnOnce(Findings) -> crate::letter::Answer>;

struct Open {
    reply: Reply,
    findings: Findings,
    missing: usize,
    conclude: Conclude,
}

/// The surveys under way, on executor 0.
#[derive(Default)]
pub struct Surveys {
    open: AHashMap<u64, Open>,
    next: u64,
}

impl Surveys {
    /// Opens a survey of `executors` others, with what is known here. Returns its number.
    pub fn open(
        &mut self,
        reply: Reply,
        findings: Findings,
        executors: usize,
        conclude: Conclude,
    ) -> u64 {
        let number = self.next;
        self.next += 1;
        self.open.insert(number, Open { reply, findings, missing: executors, conclude });
        number
    }

    /// An executor has told what it knows. Returns reply and answer when it was the last.
    pub fn told(
        &mut self,
        number: u64,
        findings: Findings,
    ) -> Option<(Reply, crate::letter::Answer)> {
        let open = self.open.get_mut(&number)?;
        open.findings.merge(findings);
        open.missing -= 1;
        if open.missing > 0 {
            return None;
        }
        let Open { reply, findings, conclude, .. } = self.open.remove(&number)?;
        Some((reply, conclude(findings)))
    }
}
