//! INVOKE_BROKER_TO_RESET_OFFSET: a group goes on elsewhere in a topic, whether it is online or not.
//!
//! As by 5.x the broker tells consumers with their next pull ([`store::state::offset_resets`]); the request that 4.9 sends to
//! them instead (RESET_CONSUMER_CLIENT_OFFSET) is not sent: two ways for one thing would race. When it is answered, all shards
//! have it as safely as acknowledged messages.

use super::{
    consumer_offset::offset_at,
    large_body,
    patience::write_offsets,
    shard_report::{PIECE_QUEUES, owned_queues},
};
use crate::{
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    shard::Shard,
    worker::Worker,
};
use proto::{
    body::{MessageQueue, ResetOffsets, TopicConfig},
    code::response,
    request::ResetOffsetHeader,
};
use remoting::ConnectionId;
use std::{rc::Rc, sync::Arc};
use store::state::offset_resets::MARKS_MAX;

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// Behind the last message.
    End,
    /// The first message that was stored at this time or later, ms.
    Time(i64),
    /// This offset.
    Offset(i64),
}

/// What is to be reset.
#[derive(Clone, Debug)]
struct Wanted {
    group: String,
    topic: String,
    /// The topic as it was when that was asked. One that is made again is another one.
    config: Arc<TopicConfig>,
    /// All queues otherwise.
    only: Option<u32>,
    goal: Goal,
    /// Who has committed less stays there.
    only_back: bool,
}

/// A queue and where the group goes on there.
#[derive(Clone, Copy, Debug)]
struct Target {
    queue_id: u32,
    offset: i64,
    /// It is there or before already, and is not to skip anything.
    stays: bool,
}

/// Serves the request.
pub fn reset(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let wanted = prepare(&worker, request);
    let asker = request.peer.connection;
    Box::pin(async move {
        let wanted = wanted?;
        let looking = wanted.clone();
        let look = move |there: Rc<Worker>| async move { targets(&there, asker, &looking).await };
        let found = worker.gather_from_workers(look).await;
        let found: Vec<Vec<Target>> = found.into_iter().collect::<Result<_, Refusal>>()?;
        let all: Arc<[Target]> = found.concat().into();
        if all.is_empty() {
            return Err(no_such_queue(&wanted));
        }
        let (resetting, there) = (wanted.clone(), Arc::clone(&all));
        let reset = move |here: Rc<Worker>| async move { set(&here, &resetting, &there).await };
        let done = worker.gather_from_workers(reset).await;
        done.into_iter().collect::<Result<(), Refusal>>()?;
        let Wanted { group, topic, goal, .. } = &wanted;
        tracing::info!(group, topic, ?goal, queues = all.len(), "the offsets of a group are reset");
        Ok(answer(&worker, wanted.topic, all).await)
    })
}

fn prepare(worker: &Worker, request: &Request<'_>) -> Result<Wanted, Refusal> {
    let header = ResetOffsetHeader::from_ext(&request.header.ext)?;
    let (group, topic) = (header.group, header.topic);
    let control = worker.control_plane().control.borrow();
    let metadata = control.snapshot();
    let config = metadata.topic(topic).ok_or_else(|| Refusal::topic_not_exist(topic))?;
    metadata.group(group).ok_or_else(|| Refusal::group_not_exist(group))?;
    if metadata.subscriptions(group).is_some_and(|online| online.broadcast) {
        return Err(Refusal::system_error(format!(
            "group {group} is broadcasting: each of its consumers keeps its offsets itself"
        )));
    }
    let only = u32::try_from(header.queue_id).ok();
    // Tools send -1 for none.
    let offset = header.offset.filter(|offset| *offset != -1);
    let goal = match (offset, header.timestamp) {
        (Some(offset), _) if only.is_some() => Goal::Offset(offset),
        (_, timestamp) if timestamp < 0 => Goal::End,
        (_, timestamp) => Goal::Time(timestamp),
    };
    // Requests for one queue do not say whether progress may move forward: it may.
    let only_back = !header.is_force && only.is_none();
    let config = Arc::clone(config);
    Ok(Wanted { group: group.to_owned(), topic: topic.to_owned(), config, only, goal, only_back })
}

fn no_such_queue(wanted: &Wanted) -> Refusal {
    let Wanted { topic, only, .. } = wanted;
    let remark = match only {
        Some(queue_id) => format!("queueId[{queue_id}] does not exist, topic[{topic}]"),
        None => format!("topic[{topic}] has no queues to read"),
    };
    Refusal::new(response::INVALID_PARAMETER, remark)
}

/// Where the group goes on in the queues that a worker's shards own. Nothing is changed.
async fn targets(
    there: &Rc<Worker>,
    asker: ConnectionId,
    wanted: &Wanted,
) -> Result<Vec<Target>, Refusal> {
    let read_queues = u32::try_from(wanted.config.read_queue_nums).unwrap_or(0);
    let mut found = Vec::new();
    for shard in &there.hosted {
        let (mut before, mut more) = (0, 0);
        let owned = owned_queues(there, shard, &wanted.topic).filter(|id| *id < read_queues);
        for queue_id in owned.filter(|id| wanted.only.is_none_or(|only| only == *id)) {
            found.push(target(there, shard, asker, wanted, queue_id).await?);
            {
                let resets = &shard.store.state().derived.offset_resets;
                before = resets.len();
                more += usize::from(!resets.has(&wanted.group, &wanted.topic, queue_id));
            }
            if found.len() % PIECE_QUEUES == 0 {
                there.executor.yield_now().await;
            }
        }
        if before + more > MARKS_MAX {
            let remark = format!(
                "shard={}: {more} queues are to be reset, and {before} are whose groups have not gone on yet, the limit is {MARKS_MAX}",
                shard.number
            );
            return Err(Refusal::system_error(remark));
        }
    }
    Ok(found)
}

async fn target(
    there: &Rc<Worker>,
    shard: &Shard,
    asker: ConnectionId,
    wanted: &Wanted,
    queue_id: u32,
) -> Result<Target, Refusal> {
    let Wanted { group, topic, goal, .. } = wanted;
    let bounds = shard.store.state().queue(topic, queue_id).map(|it| (it.min(), it.max()));
    let (min, max) = bounds.unwrap_or((0, 0));
    let goal = match *goal {
        Goal::End => max,
        Goal::Offset(offset) if (min..=max).contains(&offset) => offset,
        Goal::Offset(offset) => {
            let remark = format!("Target offset {offset} not in consume queue range [{min}-{max}]");
            return Err(Refusal::system_error(remark));
        }
        Goal::Time(_) if min == max => max,
        Goal::Time(time) => {
            let (store, topic) = (Rc::clone(&shard.store), topic.clone());
            let search = async move { offset_at(&store, &topic, queue_id, time, false).await };
            there.cold_reads.read(asker, search).await??
        }
    };
    let committed = shard.store.state().derived.group_offsets.get(group, topic, queue_id);
    let stays = committed.filter(|committed| wanted.only_back && *committed <= goal);
    Ok(Target { queue_id, offset: stays.unwrap_or(goal), stays: stays.is_some() })
}

/// Resets the queues that a worker's shards own.
async fn set(there: &Worker, wanted: &Wanted, all: &[Target]) -> Result<(), Refusal> {
    let Wanted { group, topic, .. } = wanted;
    for shard in &there.hosted {
        let here = |target: &&Target| {
            !target.stays && there.owner_of(topic, target.queue_id) == shard.number
        };
        let mut left = all.iter().filter(here).peekable();
        if left.peek().is_none() {
            continue;
        }
        while left.peek().is_some() {
            check_still_there(there, wanted)?;
            {
                let mut state = shard.store.state_mut();
                for Target { queue_id, offset, .. } in left.by_ref().take(PIECE_QUEUES) {
                    state.reset_group_offset(group, topic, *queue_id, *offset)?;
                }
            }
            there.executor.yield_now().await;
        }
        // Who waits for messages of these queues is told at once.
        let slots = shard.store.state().slots_of(topic);
        shard.wake(slots);
        write_offsets(there, shard).await?;
        // Nothing is popped before the log has it.
        shard.wake_pops(topic);
    }
    Ok(())
}

/// A topic or a group that is gone meanwhile takes no offsets; those that were found are not those of a topic that was made
/// again.
fn check_still_there(there: &Worker, wanted: &Wanted) -> Result<(), Refusal> {
    let metadata = there.metadata.borrow();
    let Wanted { group, topic, config, .. } = wanted;
    let now = metadata.topic(topic).ok_or_else(|| Refusal::topic_not_exist(topic))?;
    metadata.group(group).ok_or_else(|| Refusal::group_not_exist(group))?;
    if !Arc::ptr_eq(now, config) {
        let remark = format!("topic[{topic}] has been changed meanwhile, ask again");
        return Err(Refusal::new(response::SYSTEM_BUSY, remark));
    }
    Ok(())
}

async fn answer(worker: &Rc<Worker>, topic: String, all: Arc<[Target]>) -> Response {
    let (settings, entries) = (worker.shared_config(), all.len());
    let make = move || {
        let row = |target: &Target| {
            let (broker_name, queue_id) = (settings.broker_name.clone(), target.queue_id as i32);
            (MessageQueue { topic: topic.clone(), broker_name, queue_id }, target.offset)
        };
        let mut body = Vec::new();
        ResetOffsets { offset_table: all.iter().map(row).collect() }.write(&mut body);
        body
    };
    Response::body(large_body::made(worker, entries, make).await)
}
