//! Dropping what shards hold of deleted topics and groups, and taking in topics that only the store knows.
//!
//! A deletion is durable first; then no snapshot shows the name any more, also when it has been made again; then every
//! shard drops what it holds, as often as it takes: a log may be too busy, and a poisoned one takes nothing until the next
//! start, which goes on here. Only when all that is on the disks is it recorded, and the name is shown again if there is
//! one. So a topic that was made again never has messages of its predecessor, and no message of it is dropped with those.
//! Runs on the control worker.

use crate::{
    control::tables::Deleted,
    error::Refusal,
    worker::{CONTROL_WORKER, Worker},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};
use store::Refused;

/// Pause between two looks at shards that have not written it yet.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Pause after a shard refused.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a busy shard is asked before those who wait are told; then it goes on. Two seconds: tools wait five.
const TRIES: u32 = 40;
/// Pause after that.
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// A shard did not take a control entry.
struct NotTaken {
    shard: u16,
    refused: Refused,
}

/// Drops what was deleted, round after round, until the executor ends.
pub async fn run(worker: Rc<Worker>) {
    let plane = worker.control_plane();
    loop {
        plane.drops.wanted().await;
        let deleted = plane.control.borrow().durable().deleted.clone();
        let outcome = if deleted.is_empty() { Ok(()) } else { round(&worker, deleted).await };
        plane.drops.end_round(&outcome);
        if outcome.is_err() {
            worker.executor.sleep(LONG_PAUSE).await;
            plane.drops.raise();
        }
    }
}

async fn round(worker: &Rc<Worker>, deleted: Deleted) -> Result<(), Refusal> {
    let mut tries = 0;
    let ends = loop {
        let NotTaken { shard, refused } = match drop_everywhere(worker, &deleted).await {
            Ok(ends) => break ends,
            Err(not_taken) => not_taken,
        };
        tries += 1;
        let hopeless = !matches!(refused, Refused::Busy { .. } | Refused::RoomAwaited { .. });
        if hopeless || tries >= TRIES {
            tracing::warn!(
                shard, %refused, topics = deleted.topics.len(), groups = deleted.groups.len(),
                "a shard does not drop what was deleted yet"
            );
            let Refusal { code, remark } = Refusal::from(refused);
            let remark =
                format!("it is deleted, but shard {shard} has not dropped it yet: {remark}");
            return Err(Refusal::new(code, remark));
        }
        worker.executor.sleep(PAUSE).await;
    };
    while !is_durable(worker, &ends).await? {
        worker.executor.sleep(LOOK_AGAIN).await;
    }
    let now = worker.executor.now();
    let plane = worker.control_plane();
    plane.traffic.change(|traffic| traffic.forget(&deleted.topics, &deleted.groups));
    plane.change(worker, |control| control.dropped(now, &deleted));
    plane.durable().await
}

/// By shard: the position behind its control entries.
type Ends = BTreeMap<u16, u64>;

async fn drop_everywhere(worker: &Rc<Worker>, deleted: &Deleted) -> Result<Ends, NotTaken> {
    let mut ends = Ends::new();
    for to in 0..worker.executor.count() {
        let deleted = deleted.clone();
        ends.extend(worker.on(to, move |there| drop_here(there, &deleted)).await?);
    }
    Ok(ends)
}

/// Has the shards of a worker drop it. What was dropped before is not dropped again.
fn drop_here(worker: &Rc<Worker>, deleted: &Deleted) -> Result<Ends, NotTaken> {
    let now = worker.executor.now();
    let mut ends = Ends::new();
    for shard in &worker.hosted {
        let not_taken = |refused| NotTaken { shard: shard.number, refused };
        for topic in &deleted.topics {
            shard.remove_topic(topic, now).map_err(not_taken)?;
        }
        for group in &deleted.groups {
            shard.remove_group(group, now).map_err(not_taken)?;
        }
        ends.insert(shard.number, shard.store.state().log.appended());
    }
    Ok(ends)
}

async fn is_durable(worker: &Rc<Worker>, ends: &Ends) -> Result<bool, Refusal> {
    let ends = ends.clone();
    let seen = worker.gather(move |shard| {
        let state = shard.store.state();
        let end = ends.get(&shard.number).copied().unwrap_or(0);
        // Under asynchronous flushing it is written first: what is recorded as dropped must not come back.
        let is_there = state.log.committed() >= end && state.log.flushed() >= end;
        match state.log.poisoned() {
            Some(reason) if !is_there => Err((shard.number, reason.to_owned())),
            _ => Ok(is_there),
        }
    });
    let mut all = true;
    for of_shard in seen.await {
        match of_shard {
            Ok(is_there) => all &= is_there,
            Err((shard, reason)) => {
                let remark =
                    format!("it is deleted, but the log of shard {shard} failed: {reason}");
                return Err(Refusal::system_error(remark));
            }
        }
    }
    Ok(all)
}

/// Takes in topics that have messages and that the metadata does not know. It knows of every deletion which shards have
/// not carried out, so it has lost these: a file came from a backup, or was taken away. An acknowledged message is never
/// dropped for that; who does not want the topic deletes it. Offsets of groups that nobody knows stay, too: a group may be
/// deleted without them. For the start, before anybody connects.
pub async fn adopt_unknown_topics(worker: &Rc<Worker>) {
    let seen = worker.gather(|shard| {
        let state = shard.store.state();
        let topics = state.topics();
        topics
            .filter_map(|topic| {
                let mut last = None;
                state.queues_of(topic, |queue_id, entries, _| {
                    if entries.max() > entries.min() {
                        last = last.max(Some(queue_id));
                    }
                });
                last.map(|last| (topic.to_owned(), last))
            })
            .collect::<Vec<_>>()
    });
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for (topic, last) in seen.await.into_iter().flatten() {
        let known = found.entry(topic).or_default();
        *known = last.max(*known);
    }
    let now = worker.executor.now();
    for (topic, last) in found {
        let queues = i32::try_from(last).unwrap_or(i32::MAX).saturating_add(1);
        let plane = worker.control_plane();
        match plane.change(worker, |control| control.adopt_topic(now, &topic, queues)) {
            Ok(false) => {}
            Ok(true) => tracing::warn!(
                topic,
                queues,
                "the store has messages of a topic that is not in topics.json: it is there again"
            ),
            Err(error) => {
                tracing::error!(topic, %error, "messages of an unknown topic cannot be reached");
            }
        }
    }
}

/// Which of these topics were deleted. This worker may not know a new one yet, so the control worker decides.
pub async fn gone_topics(
    worker: &Rc<Worker>,
    topics: impl Iterator<Item = &str>,
) -> BTreeSet<String> {
    let mut gone: BTreeSet<String> = {
        let metadata = worker.metadata.borrow();
        topics.filter(|topic| metadata.topic(topic).is_none()).map(str::to_owned).collect()
    };
    if gone.is_empty() {
        return gone;
    }
    worker
        .on(CONTROL_WORKER, move |there| {
            let control = there.control_plane().control.borrow();
            gone.retain(|topic| {
                control.topics().get(topic).is_none() || control.is_dropping_topic(topic)
            });
            gone
        })
        .await
}
