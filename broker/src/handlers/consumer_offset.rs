//! Offsets of queues and groups: QUERY_/UPDATE_CONSUMER_OFFSET, GET_MAX_/MIN_OFFSET, SEARCH_OFFSET_BY_TIMESTAMP,
//! GET_EARLIEST_MSG_STORETIME. Served where the queue lives. Answers are those of the Java 4.9 broker, but for searches
//! behind the last message, which answer the end of the queue as 5.x does.

use crate::{
    error::Refusal,
    request::{QueuePlace, Request},
    response::{Answering, Response},
    worker::Worker,
};
use proto::{
    code::response,
    request::{
        MaxOffsetHeader, QueryConsumerOffsetHeader, SearchOffsetHeader, UpdateConsumerOffsetHeader,
    },
};
use std::{ops::Range, rc::Rc};
use store::{Store, StoreError, StoreState};

/// QUERY_CONSUMER_OFFSET.
pub fn query(
    state: &mut StoreState,
    place: QueuePlace<'_>,
    request: &Request<'_>,
) -> Result<Response, Refusal> {
    let header = QueryConsumerOffsetHeader::from_ext(&request.header.ext)?;
    let committed =
        state.derived.group_offsets.get(header.consumer_group, header.topic, place.queue_id);
    if let Some(offset) = committed.filter(|offset| *offset >= 0) {
        return Ok(Response::Number("offset", offset));
    }
    // A new group starts at the beginning of a young queue, whatever it says; so no message is missed between the
    // client's two questions.
    if header.set_zero_if_not_found && is_young(state, place) {
        return Ok(Response::Number("offset", 0));
    }
    Err(Refusal::new(
        response::QUERY_NOT_FOUND,
        "not found, V3_0_6_SNAPSHOT maybe this group consumer boot first",
    ))
}

/// Whether all messages that a queue ever had are still there, and the first one in memory.
fn is_young(state: &StoreState, place: QueuePlace<'_>) -> bool {
    let Some(queue) = state.queue(place.topic, place.queue_id) else { return true };
    if queue.min() > 0 {
        return false;
    }
    queue.max() == 0
        || queue
            .get(0)
            .is_some_and(|first| state.log.ring().holds(first.position(), first.bytes() as usize))
}

/// UPDATE_CONSUMER_OFFSET.
pub fn update(
    state: &mut StoreState,
    place: QueuePlace<'_>,
    request: &Request<'_>,
) -> Result<Response, Refusal> {
    let header = UpdateConsumerOffsetHeader::from_ext(&request.header.ext)?;
    let fits = |text: &str| text.len() <= usize::from(u16::MAX);
    if !fits(header.consumer_group) || !fits(header.topic) {
        return Err(Refusal::system_error("consumerGroup or topic is longer than 65535 bytes"));
    }
    state.derived.group_offsets.set(
        header.consumer_group,
        header.topic,
        place.queue_id,
        header.commit_offset,
    );
    Ok(Response::Done)
}

/// GET_MAX_OFFSET.
pub fn max(
    state: &mut StoreState,
    place: QueuePlace<'_>,
    request: &Request<'_>,
) -> Result<Response, Refusal> {
    let header = MaxOffsetHeader::from_ext(&request.header.ext)?;
    let max = state.queue(header.topic, place.queue_id).map_or(0, |queue| queue.max());
    Ok(Response::Number("offset", max))
}

/// GET_MIN_OFFSET.
pub fn min(
    state: &mut StoreState,
    place: QueuePlace<'_>,
    _request: &Request<'_>,
) -> Result<Response, Refusal> {
    let min = state.queue(place.topic, place.queue_id).map_or(0, |queue| queue.min());
    Ok(Response::Number("offset", min))
}

/// SEARCH_OFFSET_BY_TIMESTAMP. Store timestamps may be on the disk.
pub fn search(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let wanted = request.queue().and_then(|place| {
        let header = SearchOffsetHeader::from_ext(&request.header.ext)?;
        let upper = header.boundary_type.is_some_and(|kind| kind.eq_ignore_ascii_case("upper"));
        Ok((place.topic.to_owned(), place.queue_id, header.timestamp, upper))
    });
    Box::pin(async move {
        let (topic, queue_id, timestamp, upper) = wanted?;
        let store = store_of(&worker, &topic, queue_id);
        let offset = async move { offset_at(&store, &topic, queue_id, timestamp, upper).await };
        Ok(Response::Number("offset", worker.cold_reads.read(offset).await??))
    })
}

/// GET_EARLIEST_MSG_STORETIME. It may be on the disk.
pub fn earliest(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let place = request.queue().map(|place| (place.topic.to_owned(), place.queue_id));
    Box::pin(async move {
        let (topic, queue_id) = place?;
        let store = store_of(&worker, &topic, queue_id);
        let time = async move { earliest_store_ms(&store, &topic, queue_id).await };
        Ok(Response::Number("timestamp", worker.cold_reads.read(time).await??))
    })
}

fn store_of(worker: &Worker, topic: &str, queue_id: u32) -> Rc<Store<runtime::DirectDisk>> {
    Rc::clone(&worker.hosted_shard(worker.owner_of(topic, queue_id)).store)
}

async fn earliest_store_ms<D: runtime::Disk>(
    store: &Store<D>,
    topic: &str,
    queue_id: u32,
) -> Result<i64, StoreError> {
    let bounds = store.state().queue(topic, queue_id).map(|queue| (queue.min(), queue.max()));
    let Some((min, max)) = bounds else { return Ok(-1) };
    Ok(first_time(store, topic, queue_id, min..max).await?.map_or(-1, |(_, time)| time))
}

/// The first of some messages whose store timestamp can be read, and that, with larger and larger steps over those that
/// are lost to damage. `None`: there is none, or it has been retired.
async fn first_time<D: runtime::Disk>(
    store: &Store<D>,
    topic: &str,
    queue_id: u32,
    offsets: Range<i64>,
) -> Result<Option<(i64, i64)>, StoreError> {
    let (mut offset, mut step) = (offsets.start, 1);
    while offset < offsets.end {
        let Some(entry) = store.entry_at(topic, queue_id, offset).await? else { return Ok(None) };
        match store.store_timestamp(entry.position(), entry.bytes()).await {
            Err(StoreError::Corrupt { .. }) => {}
            time => return time.map(|time| Some((offset, time))),
        }
        offset += step;
        step *= 2;
    }
    Ok(None)
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
        let found = first_time(store, topic, queue_id, middle..high).await?;
        let before = |time: i64| if upper { time <= timestamp } else { time < timestamp };
        match found {
            Some((offset, time)) if before(time) => low = offset + 1,
            _ => high = middle,
        }
    }
    Ok(if upper { (low - 1).max(min) } else { low })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::{
        fixtures::{append, commit, state_with_messages, with_request},
        table::QueueFunction,
    };

    const FIELDS: [(&str, &str); 3] = [("consumerGroup", "g"), ("topic", "t"), ("queueId", "0")];

    fn run(state: &mut StoreState, run: QueueFunction, more: &[(&str, &str)]) -> Result<i64, i32> {
        let fields = [&FIELDS[..], more].concat();
        let ran = with_request(0, &fields, b"", |request| run(state, request.queue()?, request));
        match ran {
            Ok(Response::Number("offset", offset)) => Ok(offset),
            Ok(Response::Done) => Ok(0),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(refusal.code),
        }
    }

    #[test]
    fn what_a_group_commits_is_what_it_gets() {
        let mut state = state_with_messages(&[("t", 0, 3)]);
        assert_eq!(run(&mut state, update, &[("commitOffset", "2")]), Ok(0));
        assert_eq!(run(&mut state, query, &[]), Ok(2));
        assert_eq!(state.derived.group_offsets.get("g", "t", 0), Some(2));
    }

    #[test]
    fn a_new_group_starts_at_the_beginning_of_a_young_queue() {
        let mut state = state_with_messages(&[("t", 0, 3)]);
        assert_eq!(run(&mut state, query, &[]), Ok(0));
        let strict = [("setZeroIfNotFound", "false")];
        assert_eq!(run(&mut state, query, &strict), Err(response::QUERY_NOT_FOUND));
    }

    #[test]
    fn a_queue_whose_first_message_left_memory_is_not_young() {
        let mut state = state_with_messages(&[("t", 0, 3)]);
        for _ in 0..100 {
            for _ in 0..50 {
                append(&mut state, "other", 0);
            }
            commit(&mut state);
        }
        assert_eq!(run(&mut state, query, &[]), Err(response::QUERY_NOT_FOUND));
        assert_eq!(run(&mut state, update, &[("commitOffset", "0")]), Ok(0));
        assert_eq!(run(&mut state, query, &[]), Ok(0), "committed is committed");
    }

    #[test]
    fn offsets_of_groups_topics_and_queues_are_apart() {
        let mut state = StoreState::unwritten(0);
        assert_eq!(run(&mut state, update, &[("commitOffset", "5")]), Ok(0));
        let strict = ("setZeroIfNotFound", "false");
        for other in [("consumerGroup", "h"), ("topic", "u"), ("queueId", "1")] {
            let mut fields = FIELDS.to_vec();
            fields.retain(|(name, _)| *name != other.0);
            fields.extend([other, strict]);
            let asked = with_request(0, &fields, b"", |request| {
                query(&mut state, request.queue()?, request)
            });
            assert_eq!(asked.expect_err("another one").code, response::QUERY_NOT_FOUND);
        }
        assert_eq!(run(&mut state, update, &[("commitOffset", "3")]), Ok(0));
        assert_eq!(run(&mut state, query, &[]), Ok(3), "who wants to goes back");
    }

    #[test]
    fn a_request_without_its_queue_is_refused_by_the_missing_field() {
        let refused = with_request(0, &[("topic", "t")], b"", |request| request.queue().map(drop));
        let refusal = refused.expect_err("no queueId");
        assert_eq!(refusal.code, response::SYSTEM_ERROR);
        assert!(refusal.remark.contains("queueId"), "{}", refusal.remark);
    }

    #[test]
    fn a_queue_has_a_beginning_and_an_end() {
        let mut state = state_with_messages(&[("t", 0, 3)]);
        assert_eq!(run(&mut state, max, &[]), Ok(3));
        assert_eq!(run(&mut state, min, &[]), Ok(0));
        let mut empty = StoreState::unwritten(0);
        assert_eq!(run(&mut empty, max, &[]), Ok(0));
    }

    #[test]
    fn a_queue_id_out_of_range_is_refused_before_anything_is_looked_up() {
        let refused = with_request(0, &[("topic", "t"), ("queueId", "-1")], b"", |request| {
            request.queue().map(drop)
        });
        let remark = refused.expect_err("negative").remark;
        assert!(remark.starts_with("queueId[-1] is illegal, 0 to "), "{remark}");
    }

    #[test]
    fn names_that_no_control_entry_can_hold_are_refused() {
        let mut state = StoreState::unwritten(0);
        let long = "g".repeat(65_536);
        let fields = [("consumerGroup", &*long), FIELDS[1], FIELDS[2], ("commitOffset", "2")];
        let refused =
            with_request(0, &fields, b"", |request| update(&mut state, request.queue()?, request));
        assert_eq!(refused.expect_err("too long").code, response::SYSTEM_ERROR);
        assert_eq!(state.derived.group_offsets.get(&long, "t", 0), None);
    }
}
