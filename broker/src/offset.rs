//! Offsets of queues and groups: QUERY_/UPDATE_CONSUMER_OFFSET, GET_MAX_/MIN_OFFSET, SEARCH_OFFSET_BY_TIMESTAMP,
//! GET_EARLIEST_MSG_STORETIME. Served where the queue lives. Answers are those of the Java 4.9 broker, but for searches
//! behind the last message, which answer the end of the queue as 5.x does.

use crate::{
    error::Refusal,
    front::dispatch::Request,
    letter::{Answer, Reply},
    queues::Queues,
    shard::Shard,
};
use proto::{
    code::{request, response},
    request::{
        MaxOffsetHeader, QueryConsumerOffsetHeader, QueueHeader, SearchOffsetHeader,
        UpdateConsumerOffsetHeader,
    },
};
use std::rc::Rc;
use store::{Store, StoreError, group_offsets::QUEUE_ID_MAX};

/// Serves a request on one queue, sending it on to the queue's shard when that is elsewhere.
pub fn serve(shard: &Rc<Shard>, request: &Request<'_>, reply: Reply) {
    let place = QueueHeader::from_ext(&request.header.ext)
        .map_err(Refusal::from)
        .and_then(|header| Ok((header.topic, queue_id(header.queue_id)?)));
    let (topic, queue_id) = match place {
        Ok(place) => place,
        Err(refusal) => return shard.answer(reply, refusal.into()),
    };
    let owner = shard.owner_of(topic, queue_id);
    let Some(queues) = shard.queues(owner) else {
        return shard.forward_frame(shard.executor_of(owner), request, reply);
    };
    let number = match request.header.code {
        request::QUERY_CONSUMER_OFFSET => query(queues, request, queue_id),
        request::UPDATE_CONSUMER_OFFSET => {
            let done = update(queues, request, queue_id);
            return shard.answer(reply, done.unwrap_or_else(Answer::from));
        }
        request::GET_MAX_OFFSET => max(queues, request, queue_id),
        request::GET_MIN_OFFSET => Ok(min(queues, topic, queue_id)),
        _ => return search(shard, queues, request, topic, queue_id, reply),
    };
    let answer = number.map(|number| Answer::Number("offset", number));
    shard.answer(reply, answer.unwrap_or_else(Answer::from));
}

fn queue_id(wanted: i32) -> Result<u32, Refusal> {
    u32::try_from(wanted).ok().filter(|id| *id <= QUEUE_ID_MAX).ok_or_else(|| {
        Refusal::system_error(format!("queueId[{wanted}] is illegal, 0 to {QUEUE_ID_MAX} are"))
    })
}

fn query(queues: &Queues, request: &Request<'_>, queue_id: u32) -> Result<i64, Refusal> {
    let header = QueryConsumerOffsetHeader::from_ext(&request.header.ext)?;
    let core = queues.store.core();
    if let Some(offset) = core.offsets.get(header.consumer_group, header.topic, queue_id)
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
    // client's two questions.
    let young = match core.queue(header.topic, queue_id) {
        None => true,
        Some(queue) if queue.min() > 0 => false,
        Some(queue) => {
            queue.max() == 0
                || queue.get(0).is_some_and(|first| {
                    core.log.ring().holds(first.position(), first.bytes() as usize)
                })
        }
    };
    if young { Ok(0) } else { Err(not_found()) }
}

fn update(queues: &Queues, request: &Request<'_>, queue_id: u32) -> Result<Answer, Refusal> {
    let header = UpdateConsumerOffsetHeader::from_ext(&request.header.ext)?;
    let fits = |text: &str| text.len() <= usize::from(u16::MAX);
    if !fits(header.consumer_group) || !fits(header.topic) {
        return Err(Refusal::system_error("consumerGroup or topic is longer than 65535 bytes"));
    }
    let mut core = queues.store.core_mut();
    core.offsets.set(header.consumer_group, header.topic, queue_id, header.commit_offset);
    Ok(Answer::Done)
}

fn max(queues: &Queues, request: &Request<'_>, queue_id: u32) -> Result<i64, Refusal> {
    let header = MaxOffsetHeader::from_ext(&request.header.ext)?;
    Ok(queues.store.core().queue(header.topic, queue_id).map_or(0, |queue| queue.max()))
}

fn min(queues: &Queues, topic: &str, queue_id: u32) -> i64 {
    queues.store.core().queue(topic, queue_id).map_or(0, |queue| queue.min())
}

/// The two questions that need store timestamps, which may be on disk.
fn search(
    shard: &Rc<Shard>,
    queues: &Queues,
    request: &Request<'_>,
    topic: &str,
    queue_id: u32,
    reply: Reply,
) {
    let wanted = match request.header.code {
        request::GET_EARLIEST_MSG_STORETIME => Wanted::Earliest,
        _ => match SearchOffsetHeader::from_ext(&request.header.ext) {
            Ok(header) => Wanted::At {
                timestamp: header.timestamp,
                upper: header.boundary_type.is_some_and(|kind| kind.eq_ignore_ascii_case("upper")),
            },
            Err(error) => return shard.answer(reply, Refusal::from(error).into()),
        },
    };
    let home = Rc::clone(shard);
    let store = Rc::clone(&queues.store);
    let topic = topic.to_owned();
    let submitted = shard.cold.submit(reply, move |reply| {
        Box::pin(async move {
            let answer = match wanted {
                Wanted::Earliest => earliest(&store, &topic, queue_id)
                    .await
                    .map(|time| Answer::Number("timestamp", time)),
                Wanted::At { timestamp, upper } => {
                    offset_at(&store, &topic, queue_id, timestamp, upper)
                        .await
                        .map(|offset| Answer::Number("offset", offset))
                }
            };
            home.answer(reply, answer.unwrap_or_else(|error| Refusal::from(error).into()));
        })
    });
    if let Err((reply, refusal)) = submitted {
        shard.answer(reply, refusal.into());
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
    let min = store.core().queue(topic, queue_id).map(|queue| queue.min());
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
    let bounds = store.core().queue(topic, queue_id).map(|queue| (queue.min(), queue.max()));
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
