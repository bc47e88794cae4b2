//! Offsets of queues and groups: QUERY_/UPDATE_CONSUMER_OFFSET, GET_MAX_/MIN_OFFSET, SEARCH_OFFSET_BY_TIMESTAMP,
//! GET_EARLIEST_MSG_STORETIME. Served where the queue lives. Answers are those of the Java 4.9 broker, but for searches
//! behind the last message, which answer the end of the queue as 5.x does.

use crate::{
    error::Refusal,
    request::Request,
    response::{Responder, Response},
    shard::Shard,
    worker::Worker,
};
use proto::{
    code::{request, response},
    request::{
        MaxOffsetHeader, QueryConsumerOffsetHeader, QueueHeader, SearchOffsetHeader,
        UpdateConsumerOffsetHeader,
    },
};
use std::rc::Rc;
use store::{Store, StoreError, state::group_offsets::QUEUE_ID_MAX};

/// Serves a request on one queue, sending it on to the queue's shard when that is elsewhere.
pub fn serve(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    let place = QueueHeader::from_ext(&request.header.ext)
        .map_err(Refusal::from)
        .and_then(|header| Ok((header.topic, queue_id(header.queue_id)?)));
    let (topic, queue_id) = match place {
        Ok(place) => place,
        Err(refusal) => return worker.respond(responder, refusal.into()),
    };
    let owner = worker.owner_of(topic, queue_id);
    let Some(shard) = worker.shard(owner) else {
        return worker.forward(worker.host_of(owner), request, responder);
    };
    let number = match request.header.code {
        request::QUERY_CONSUMER_OFFSET => query(shard, request, queue_id),
        request::UPDATE_CONSUMER_OFFSET => {
            let done = update(shard, request, queue_id);
            return worker.respond(responder, done.unwrap_or_else(Response::from));
        }
        request::GET_MAX_OFFSET => max(shard, request, queue_id),
        request::GET_MIN_OFFSET => Ok(min(shard, topic, queue_id)),
        _ => return search(worker, shard, request, topic, queue_id, responder),
    };
    let response = number.map(|number| Response::Number("offset", number));
    worker.respond(responder, response.unwrap_or_else(Response::from));
}

fn queue_id(wanted: i32) -> Result<u32, Refusal> {
    u32::try_from(wanted).ok().filter(|id| *id <= QUEUE_ID_MAX).ok_or_else(|| {
        Refusal::system_error(format!("queueId[{wanted}] is illegal, 0 to {QUEUE_ID_MAX} are"))
    })
}

fn query(shard: &Shard, request: &Request<'_>, queue_id: u32) -> Result<i64, Refusal> {
    let header = QueryConsumerOffsetHeader::from_ext(&request.header.ext)?;
    let state = shard.store.state();
    if let Some(offset) =
        state.derived.group_offsets.get(header.consumer_group, header.topic, queue_id)
        && offset >= 0
    {
        return Ok(offset);
    }
    let not_found = || {
        Refusal::new(
            response::QUERY_NOT_FOUND,
            "not found, V3_0_6_SNAPSHOT maybe this group consumer boot first",
        )
    };
    if !header.set_zero_if_not_found {
        return Err(not_found());
    }
    // A new group starts at the beginning of a young queue, whatever it says; so no message is missed between the
    // client's two querys.
    let young = match state.queue(header.topic, queue_id) {
        None => true,
        Some(queue) if queue.min() > 0 => false,
        Some(queue) => {
            queue.max() == 0
                || queue.get(0).is_some_and(|first| {
                    state.log.ring().holds(first.position(), first.bytes() as usize)
                })
        }
    };
    if young { Ok(0) } else { Err(not_found()) }
}

fn update(shard: &Shard, request: &Request<'_>, queue_id: u32) -> Result<Response, Refusal> {
    let header = UpdateConsumerOffsetHeader::from_ext(&request.header.ext)?;
    let fits = |text: &str| text.len() <= usize::from(u16::MAX);
    if !fits(header.consumer_group) || !fits(header.topic) {
        return Err(Refusal::system_error("consumerGroup or topic is longer than 65535 bytes"));
    }
    let mut state = shard.store.state_mut();
    state.derived.group_offsets.set(
        header.consumer_group,
        header.topic,
        queue_id,
        header.commit_offset,
    );
    Ok(Response::Done)
}

fn max(shard: &Shard, request: &Request<'_>, queue_id: u32) -> Result<i64, Refusal> {
    let header = MaxOffsetHeader::from_ext(&request.header.ext)?;
    Ok(shard.store.state().queue(header.topic, queue_id).map_or(0, |queue| queue.max()))
}

fn min(shard: &Shard, topic: &str, queue_id: u32) -> i64 {
    shard.store.state().queue(topic, queue_id).map_or(0, |queue| queue.min())
}

/// The two querys that need store timestamps, which may be on disk.
fn search(
    worker: &Rc<Worker>,
    shard: &Shard,
    request: &Request<'_>,
    topic: &str,
    queue_id: u32,
    responder: Responder,
) {
    let wanted = match request.header.code {
        request::GET_EARLIEST_MSG_STORETIME => Wanted::Earliest,
        _ => match SearchOffsetHeader::from_ext(&request.header.ext) {
            Ok(header) => Wanted::At {
                timestamp: header.timestamp,
                upper: header.boundary_type.is_some_and(|kind| kind.eq_ignore_ascii_case("upper")),
            },
            Err(error) => return worker.respond(responder, Refusal::from(error).into()),
        },
    };
    let reading = Rc::clone(worker);
    let store = Rc::clone(&shard.store);
    let topic = topic.to_owned();
    let submitted = worker.cold_reads.submit(responder, move |responder| {
        Box::pin(async move {
            let response = match wanted {
                Wanted::Earliest => earliest(&store, &topic, queue_id)
                    .await
                    .map(|time| Response::Number("timestamp", time)),
                Wanted::At { timestamp, upper } => {
                    offset_at(&store, &topic, queue_id, timestamp, upper)
                        .await
                        .map(|offset| Response::Number("offset", offset))
                }
            };
            reading
                .respond(responder, response.unwrap_or_else(|error| Refusal::from(error).into()));
        })
    });
    if let Err((responder, refusal)) = submitted {
        worker.respond(responder, refusal.into());
    }
}

enum Wanted {
    Earliest,
    At { timestamp: i64, upper: bool },
}

async fn earliest<D: runtime::Disk>(
    store: &Store<D>,
    topic: &str,
    queue_id: u32,
) -> Result<i64, StoreError> {
    let min = store.state().queue(topic, queue_id).map(|queue| queue.min());
    let first = match min {
        Some(min) => store.entry_at(topic, queue_id, min).await?,
        None => None,
    };
    match first {
        Some(entry) => store.store_timestamp(entry.position(), entry.bytes()).await,
        None => Ok(-1),
    }
}

/// Lower boundary: the first offset whose message is not older than `timestamp`. Upper boundary: the last offset whose
/// message is not newer. Store timestamps of a queue never go back by more than the clock does.
async fn offset_at<D: runtime::Disk>(
    store: &Store<D>,
    topic: &str,
    queue_id: u32,
    timestamp: i64,
    upper: bool,
) -> Result<i64, StoreError> {
    let bounds = store.state().queue(topic, queue_id).map(|queue| (queue.min(), queue.max()));
    let Some((min, max)) = bounds else { return Ok(0) };
    let (mut low, mut high) = (min, max);
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(entry) = store.entry_at(topic, queue_id, middle).await? else { break };
        let time = store.store_timestamp(entry.position(), entry.bytes()).await?;
        let before = if upper { time <= timestamp } else { time < timestamp };
        if before {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(if upper { (low - 1).max(min) } else { low })
}
