//! CLONE_GROUP_OFFSET: a group goes on where another one is. When it is answered, the offsets are as safe on all shards as
//! acknowledged messages are.
//!
//! Without a topic it is for all topics of the source but that of its retries, which is nobody else's; Java changes nothing
//! then. What the destination had committed on a queue where the source has no offset stays.

use super::{
    patience::write_offsets,
    shard_report::{PIECE_QUEUES, owned_queues, topics_there},
};
use crate::{
    control::names,
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    shard::Shard,
    worker::Worker,
};
use proto::{code::response, request::CloneOffsetHeader};
use std::{collections::BTreeSet, rc::Rc};
use store::{StoreState, state::group_offsets::OffsetRefused};

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
    let retries = names::retry_topic(from);
    for topic in topics_there(there, shard, from, only.as_deref()).await {
        if only.is_none() && *topic == *retries {
            continue;
        }
        if subscribed.as_ref().is_some_and(|subscribed| !subscribed.contains(&topic)) {
            continue;
        }
        let mut left = owned_queues(there, shard, &topic).peekable();
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
    if changed { write_offsets(there, shard).await } else { Ok(()) }
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
            // A queue on which the destination is told to go on elsewhere is told this instead.
            if !state.commit_group_offset(to, topic, queue_id, offset)? {
                state.reset_group_offset(to, topic, queue_id, offset)?;
            }
            changed = true;
        }
    }
    Ok(changed)
}
