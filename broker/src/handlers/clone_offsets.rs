//! CLONE_GROUP_OFFSET: a group goes on where another one is. The offsets are durable on all shards when it is answered.
//!
//! Without a topic it is for all topics of the source, for which Java changes nothing. What the destination had committed
//! on a queue where the source has no offset stays.

use super::shard_report::{owned, topics_there};
use crate::{
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    shard::Shard,
    worker::Worker,
};
use proto::{code::response, request::CloneOffsetHeader};
use std::{collections::BTreeSet, rc::Rc};
use store::{Refused, StoreState, state::group_offsets::OffsetRefused};

/// Queues whose offsets are copied in one piece of work.
const PIECE_QUEUES: usize = 512;

/// What is to be copied.
#[derive(Clone)]
struct Wanted {
    from: String,
    to: String,
    only: Option<String>,
    /// Topics that the source, being online, subscribes: no others.
    subscribed: Option<BTreeSet<Box<str>>>,
}

/// Serves the request.
pub fn clone(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let wanted = prepare(&worker, request);
    Box::pin(async move {
        let wanted = wanted?;
        let copy = move |there: Rc<Worker>| async move {
            for shard in &there.hosted {
                copy_there(&there, shard, &wanted).await?;
            }
            Ok::<(), Refusal>(())
        };
        let copied = worker.gather_from_workers(copy).await;
        copied.into_iter().collect::<Result<(), Refusal>>()?;
        Ok(Response::Done)
    })
}

fn prepare(worker: &Worker, request: &Request<'_>) -> Result<Wanted, Refusal> {
    let header = CloneOffsetHeader::from_ext(&request.header.ext)?;
    let (from, to) = (header.src_group, header.dest_group);
    let control = worker.control_plane().control.borrow();
    let metadata = control.snapshot();
    for group in [from, to] {
        metadata.group(group).ok_or_else(|| Refusal::group_not_exist(group))?;
    }
    let only = header.topic.filter(|topic| !topic.is_empty());
    if let Some(topic) = only {
        metadata.topic(topic).ok_or_else(|| Refusal::topic_not_exist(topic))?;
    }
    let online = metadata.subscriptions(from).filter(|_| !header.offline);
    let topics =
        online.map(|online| online.topics.keys().map(|topic| Box::from(&**topic)).collect());
    Ok(Wanted {
        from: from.to_owned(),
        to: to.to_owned(),
        only: only.map(str::to_owned),
        subscribed: topics,
    })
}

async fn copy_there(there: &Worker, shard: &Shard, wanted: &Wanted) -> Result<(), Refusal> {
    let Wanted { from, to, only, subscribed } = wanted;
    let mut changed = false;
    for topic in topics_there(there, shard, from, only.as_deref()).await {
        let config = there.metadata.borrow().topic(&topic).cloned();
        let Some(config) = config else { continue };
        if subscribed.as_ref().is_some_and(|subscribed| !subscribed.contains(&topic)) {
            continue;
        }
        let queues = config.read_queue_nums.max(config.write_queue_nums);
        let queues = u32::try_from(queues).unwrap_or(0);
        let mut left = owned(&topic, shard.number, there.shard_count, queues).peekable();
        while left.peek().is_some() {
            if there.metadata.borrow().group(to).is_none() {
                return Err(Refusal::group_not_exist(to));
            }
            let piece = left.by_ref().take(PIECE_QUEUES);
            changed |= copy_piece(&mut shard.store.state_mut(), [from, to], &topic, piece)
                .map_err(|refused| Refusal::new(response::SYSTEM_ERROR, refused.to_string()))?;
            there.executor.yield_now().await;
        }
    }
    if changed { make_durable(there, shard).await } else { Ok(()) }
}

/// Whether an offset was copied.
fn copy_piece(
    state: &mut StoreState,
    [from, to]: [&str; 2],
    topic: &str,
    queues: impl Iterator<Item = u32>,
) -> Result<bool, OffsetRefused> {
    let mut changed = false;
    for queue_id in queues {
        if let Some(offset) = state.derived.group_offsets.get(from, topic, queue_id) {
            state.commit_group_offset(to, topic, queue_id, offset)?;
            changed = true;
        }
    }
    Ok(changed)
}

/// Writes what groups have committed into the log, and waits until that is durable. A tick may have written some of it
/// meanwhile.
async fn make_durable(there: &Worker, shard: &Shard) -> Result<(), Refusal> {
    loop {
        let now = there.executor.now();
        let appended: Result<Option<u64>, Refused> =
            shard.store.state_mut().append_group_offsets(now);
        if appended?.is_none() {
            break;
        }
        shard.store.appended();
        there.executor.yield_now().await;
    }
    let until = shard.store.state().log.appended();
    if shard.committed(until).await {
        return Ok(());
    }
    Err(Refusal::new(
        response::SERVICE_NOT_AVAILABLE,
        "the log cannot be written: the copied offsets may be lost with the next start",
    ))
}
