//! How far groups are behind, for a scrape: gathered from the shards piece by piece, as the tools' questions are.
//!
//! In messages that is what consumerProgress shows: the end of each queue less the offset that the group has committed. In
//! seconds it is the age of the oldest message that the group has not consumed, which has to be looked up: in memory for groups that keep
//! up, for a bounded number of others on the disk.

use crate::{refusals::Counts, shard::Shard, worker::Worker};
use remoting::ConnectionId;
use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};
use store::{StoreState, state::group_offsets::Place};

/// Messages that are looked up on the disk for one scrape, on each worker: consumers of old messages wait for some of
/// them at most.
const DISK_LOOK_UPS_MAX: usize = 256;

/// A group on a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lag {
    /// Messages that it has not consumed.
    pub(super) messages: u64,
    /// When the oldest of them was stored, ms.
    pub(super) oldest_ms: Option<i64>,
    /// Of some, nobody has looked.
    pub(super) is_unknown: bool,
}

/// By group and topic.
pub(super) type Lags = BTreeMap<(Rc<str>, Rc<str>), Lag>;

/// What one worker says of itself.
pub(super) struct Report {
    /// Its number.
    pub(super) worker: usize,
    /// Group, topic, lag on the shards there.
    pub(super) lags: Vec<(Box<str>, Box<str>, Lag)>,
    /// Requests refused.
    pub(super) refusals: Counts,
    /// Messages for other workers that wait there.
    pub(super) mesh_waiting: usize,
    /// Memory in use and its limit, by part.
    pub(super) memory: Vec<(&'static str, usize, usize)>,
}

/// Asks one worker, on which this runs.
pub(super) async fn report(there: Rc<Worker>) -> Report {
    let mut lags = Vec::new();
    for shard in there.hosted.clone() {
        lags.extend(lags_of(&there, &shard).await);
    }
    let unsent = there.connections.borrow().unsent().level();
    let replies = there.replies.level();
    let incomplete = (there.frame_budget.bytes(), there.frame_budget.bytes_max());
    let part = |name, (used, most)| (name, used, most);
    Report {
        worker: there.executor.index(),
        lags,
        refusals: there.refusals.counts(),
        mesh_waiting: there.mesh.waiting(),
        memory: vec![
            part("unread_answers", unsent),
            part("incomplete_frames", incomplete),
            part("replies", replies),
        ],
    }
}

/// How many messages groups have not consumed on one worker, on which this runs, by group and topic on each of its shards.
/// When they were stored is not looked up.
pub(crate) async fn messages(there: Rc<Worker>) -> Vec<(Box<str>, Box<str>, u64)> {
    let metadata = Arc::clone(&there.metadata.borrow());
    let mut messages = Vec::new();
    for shard in there.hosted.clone() {
        for (topic, _) in metadata.all_topics() {
            let behind = behind_on(&there, &shard, topic).await.into_iter();
            messages.extend(behind.map(|it| (it.group, Box::from(topic), it.messages)));
        }
    }
    messages
}

/// Adds up what the workers say.
pub(super) fn merged(reports: &[Report]) -> Lags {
    let mut names: BTreeMap<&str, Rc<str>> = BTreeMap::new();
    let mut lags = Lags::new();
    for (group, topic, lag) in reports.iter().flat_map(|report| &report.lags) {
        let mut name = |name| Rc::clone(names.entry(name).or_insert_with(|| name.into()));
        let sum = lags.entry((name(group), name(topic))).or_default();
        sum.messages += lag.messages;
        sum.oldest_ms = sum.oldest_ms.into_iter().chain(lag.oldest_ms).min();
        sum.is_unknown |= lag.is_unknown;
    }
    lags
}

/// The first message of a queue that a group has not consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// Its place is in memory: position, bytes.
    Known(u64, u32),
    /// Its entry is on the disk: queue, offset, messages from there on.
    OnDisk(u32, i64, u64),
}

impl First {
    /// The one that is older. What has left memory is older than what is there; of two such nobody knows, and the
    /// longer way is taken for the older one.
    fn older(self, other: First) -> First {
        match (self, other) {
            (First::Known(mine, _), First::Known(its, _)) => {
                if mine <= its {
                    self
                } else {
                    other
                }
            }
            (First::OnDisk(_, _, mine), First::OnDisk(_, _, its)) => {
                if mine >= its {
                    self
                } else {
                    other
                }
            }
            (First::OnDisk(..), First::Known(..)) => self,
            (First::Known(..), First::OnDisk(..)) => other,
        }
    }
}

/// A group on the topic that is being looked at.
struct Behind {
    group: Box<str>,
    messages: u64,
    first: Option<First>,
}

impl Behind {
    /// The group has committed `offset` on a queue.
    fn add(&mut self, state: &StoreState, topic: &str, queue_id: u32, offset: i64) {
        let Some(queue) = state.queue(topic, queue_id) else { return };
        let messages = queue.max().saturating_sub(offset.max(0));
        if messages <= 0 {
            return;
        }
        self.messages += messages.unsigned_abs();
        // What was retired before it was consumed is nobody's oldest message.
        let offset = offset.max(queue.min());
        if offset >= queue.max() {
            return;
        }
        let first = match queue.get(offset) {
            Some(entry) => First::Known(entry.position(), entry.bytes()),
            None => First::OnDisk(queue_id, offset, messages.unsigned_abs()),
        };
        self.first = Some(self.first.map_or(first, |known| known.older(first)));
    }
}

async fn lags_of(there: &Rc<Worker>, shard: &Rc<Shard>) -> Vec<(Box<str>, Box<str>, Lag)> {
    let metadata = Arc::clone(&there.metadata.borrow());
    let mut lags = Vec::new();
    let mut wanted = Vec::new();
    for (topic, _) in metadata.all_topics() {
        for behind in behind_on(there, shard, topic).await {
            let Behind { group, messages, first } = behind;
            let mut lag = Lag { messages, ..Lag::default() };
            match first {
                None => {}
                Some(First::Known(position, bytes)) if is_in_memory(shard, position, bytes) => {
                    let time = shard.store.store_timestamp(position, bytes).await;
                    lag.oldest_ms = time.ok();
                }
                Some(first) if wanted.len() < DISK_LOOK_UPS_MAX => {
                    wanted.push((lags.len(), Box::from(topic), first));
                }
                Some(_) => lag.is_unknown = true,
            }
            lags.push((group, Box::from(topic), lag));
        }
    }
    for (index, time) in look_up(there, shard, wanted).await {
        match time {
            Some(time) => lags[index].2.oldest_ms = Some(time),
            None => lags[index].2.is_unknown = true,
        }
    }
    lags
}

/// Groups that have committed offsets on a topic.
async fn behind_on(there: &Worker, shard: &Shard, topic: &str) -> Vec<Behind> {
    let (mut place, mut found) = (Place::default(), Vec::<Behind>::new());
    let mut has_more = true;
    while has_more {
        {
            let state = shard.store.state();
            let offsets = &state.derived.group_offsets;
            has_more = offsets.group_offsets_on(topic, &mut place, |group, queue_id, offset| {
                // The queues of a group follow each other.
                if found.last().is_none_or(|last| &*last.group != group) {
                    found.push(Behind { group: group.into(), messages: 0, first: None });
                }
                if let Some(last) = found.last_mut() {
                    last.add(&state, topic, queue_id, offset);
                }
            });
        }
        if there.executor.budget_spent() {
            there.executor.yield_now().await;
        }
    }
    found
}

fn is_in_memory(shard: &Shard, position: u64, bytes: u32) -> bool {
    shard.store.state().log.ring().holds(position, bytes as usize)
}

/// Places among the lags, and when the messages there were stored, as far as they could be read.
type Found = Vec<(usize, Option<i64>)>;

/// A message to look up: its place among the lags, topic, where it is.
type Wanted = (usize, Box<str>, First);

/// Reads from the disk when messages were stored, as one read of old messages.
async fn look_up(there: &Rc<Worker>, shard: &Rc<Shard>, wanted: Vec<Wanted>) -> Found {
    if wanted.is_empty() {
        return Vec::new();
    }
    let unknown: Found = wanted.iter().map(|(index, ..)| (*index, None)).collect();
    let found = Rc::new(RefCell::new(unknown));
    let (out, reading, shard) = (Rc::clone(&found), Rc::clone(there), Rc::clone(shard));
    let read = async move {
        for (at, (_, topic, first)) in wanted.iter().enumerate() {
            let place = match *first {
                First::Known(position, bytes) => Some((position, bytes)),
                First::OnDisk(queue_id, offset, _) => {
                    let entry = shard.store.entry_at(topic, queue_id, offset).await;
                    entry.ok().flatten().map(|entry| (entry.position(), entry.bytes()))
                }
            };
            if let Some((position, bytes)) = place {
                let time = shard.store.store_timestamp(position, bytes).await.ok();
                out.borrow_mut()[at].1 = time;
            }
            reading.executor.yield_now().await;
        }
    };
    // Its turn is that of a connection of its own. When too many reads wait already, nothing is known.
    let asker = ConnectionId::new(there.executor.index(), 0, ConnectionId::SLOTS_MAX - 1);
    let _ = there.cold_reads.read(asker, read).await;
    found.take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::fixtures::state_with_messages;

    #[test]
    fn a_group_is_as_far_behind_as_all_its_queues_together() {
        let state = state_with_messages(&[("a", 0, 3), ("a", 1, 2)]);
        let mut behind = Behind { group: "g".into(), messages: 0, first: None };
        behind.add(&state, "a", 0, 3);
        behind.add(&state, "a", 7, 3);
        assert_eq!((behind.messages, behind.first), (0, None));
        behind.add(&state, "a", 1, 1);
        assert_eq!(behind.messages, 1);
        behind.add(&state, "a", 0, -1);
        assert_eq!(behind.messages, 4);
        let oldest = state.queue("a", 0).and_then(|queue| queue.get(0)).expect("in memory");
        assert_eq!(behind.first, Some(First::Known(oldest.position(), oldest.bytes())));
    }

    #[test]
    fn what_left_memory_is_older() {
        let (new, old) = (First::Known(100, 9), First::Known(20, 9));
        let (far, farther) = (First::OnDisk(0, 5, 10), First::OnDisk(1, 5, 90));
        for (a, b, older) in [(new, old, old), (old, far, far), (far, farther, farther)] {
            assert_eq!(a.older(b), older);
            assert_eq!(b.older(a), older);
        }
    }

    #[test]
    fn workers_are_added_up() {
        let report = |worker, messages, oldest_ms, is_unknown| Report {
            worker,
            lags: vec![("g".into(), "t".into(), Lag { messages, oldest_ms, is_unknown })],
            refusals: Counts::new(),
            mesh_waiting: 0,
            memory: Vec::new(),
        };
        let reports = [
            report(0, 3, Some(70), false),
            report(1, 4, None, true),
            report(2, 5, Some(50), false),
        ];
        let lags = merged(&reports);
        let expected = Lag { messages: 12, oldest_ms: Some(50), is_unknown: true };
        assert_eq!(lags.into_values().collect::<Vec<_>>(), [expected]);
    }
}
