//! Offsets of queues and groups: QUERY_/UPDATE_CONSUMER_OFFSET, GET_MAX_/MIN_OFFSET, SEARCH_OFFSET_BY_TIMESTAMP,
//! GET_EARLIEST_MSG_STORETIME. Served where the queue lives. Answers are those of the Java 4.9 broker, but for searches
//! behind the last message, which answer the end of the queue as 5.x does.

use crate::{
    control::MetadataSnapshot,
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
    _metadata: &MetadataSnapshot,
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

/// UPDATE_CONSUMER_OFFSET. Offsets of what does not exist are refused as 5.x does; 4.9 keeps them, and has a topic that
/// is deleted and made again begin with the offsets of the one before. Who sent it one-way learns nothing, so it is counted.
/// One of a queue on which the group is told to go on elsewhere is ignored, as by 5.x, see [`super::reset_offsets`].
/// An offset beyond the end of its queue is kept, as by 4.9 and 5.x: a group may well have consumed more than is here,
/// before a crash under ASYNC_FLUSH or from another broker, and says so rightly.
pub fn update(
    state: &mut StoreState,
    metadata: &MetadataSnapshot,
    place: QueuePlace<'_>,
    request: &Request<'_>,
) -> Result<Response, Refusal> {
    let header = UpdateConsumerOffsetHeader::from_ext(&request.header.ext)?;
    let group = header.consumer_group;
    if let Err(refusal) = check_exists(state, metadata, group, place) {
        state.count_refused_offset();
        return Err(refusal);
    }
    if state.commit_group_offset(group, place.topic, place.queue_id, header.commit_offset)? {
        return Ok(Response::Done);
    }
    // Not an error: the client would try again.
    Err(Refusal::new(response::SUCCESS, "Offset has been previously reset"))
}

/// Group, topic and queue are there. A queue may be beyond those of its topic, which had more before: its messages are
/// consumed all the same.
fn check_exists(
    state: &StoreState,
    metadata: &MetadataSnapshot,
    group: &str,
    place: QueuePlace<'_>,
) -> Result<(), Refusal> {
    if metadata.group(group).is_none() {
        return Err(Refusal::group_not_exist(group));
    }
    let QueuePlace { topic, queue_id } = place;
    let config = metadata.topic(topic).ok_or_else(|| Refusal::topic_not_exist(topic))?;
    let queues = config.queues();
    if queue_id >= queues && state.queue(topic, queue_id).is_none() {
        let remark =
            format!("queueId[{queue_id}] does not exist, topic[{topic}] has {queues} queues");
        return Err(Refusal::new(response::INVALID_PARAMETER, remark));
    }
    Ok(())
}

/// GET_MAX_OFFSET.
pub fn max(
    state: &mut StoreState,
    _metadata: &MetadataSnapshot,
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
    _metadata: &MetadataSnapshot,
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
    let asker = request.peer.connection;
    Box::pin(async move {
        let (topic, queue_id, timestamp, upper) = wanted?;
        let store = store_of(&worker, &topic, queue_id);
        let offset = async move { offset_at(&store, &topic, queue_id, timestamp, upper).await };
        Ok(Response::Number("offset", worker.cold_reads.read(asker, offset).await??))
    })
}

/// GET_EARLIEST_MSG_STORETIME. It may be on the disk.
pub fn earliest(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let place = request.queue().map(|place| (place.topic.to_owned(), place.queue_id));
    let asker = request.peer.connection;
    Box::pin(async move {
        let (topic, queue_id) = place?;
        let store = store_of(&worker, &topic, queue_id);
        let time = async move { earliest_store_ms(&store, &topic, queue_id).await };
        Ok(Response::Number("timestamp", worker.cold_reads.read(asker, time).await??))
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
pub(super) async fn offset_at<D: runtime::Disk>(
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
        fixtures::{NOW, append, commit, control, state_with_messages, with_request},
        table::QueueFunction,
    };
    use proto::body::TopicConfig;
    use std::sync::Arc;

    const FIELDS: [(&str, &str); 3] = [("consumerGroup", "g"), ("topic", "t"), ("queueId", "0")];

    /// What a broker with topics `t` of 2 and `other` of 8 queues and group `g` knows.
    fn metadata() -> Arc<MetadataSnapshot> {
        let mut control = control();
        for (name, queues) in [("t", 2), ("other", 8)] {
            let topic = TopicConfig {
                topic_name: name.to_owned(),
                read_queue_nums: queues,
                write_queue_nums: queues,
                ..TopicConfig::default()
            };
            control.update_topic(NOW, topic).expect("a good topic");
        }
        control.group(NOW, "g").expect("a good name").expect("made");
        control.saved_effects().publish.expect("a snapshot")
    }

    /// The answer's number, or code and remark of the refusal.
    fn ask(
        state: &mut StoreState,
        run: QueueFunction,
        fields: &[(&str, &str)],
    ) -> Result<i64, (i32, String)> {
        let ran = with_request(0, fields, b"", |request| {
            run(state, &metadata(), request.queue()?, request)
        });
        match ran {
            Ok(Response::Number("offset", offset)) => Ok(offset),
            Ok(Response::Done) => Ok(0),
            Ok(other) => panic!("{other:?}"),
            Err(Refusal { code, remark }) => Err((code, remark)),
        }
    }

    fn run(state: &mut StoreState, run: QueueFunction, more: &[(&str, &str)]) -> Result<i64, i32> {
        ask(state, run, &[&FIELDS[..], more].concat()).map_err(|(code, _)| code)
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

    /// [`FIELDS`] with one of them changed.
    fn with<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut fields = FIELDS.to_vec();
        fields.retain(|(other, _)| *other != name);
        fields.push((name, value));
        fields
    }

    #[test]
    fn offsets_of_groups_topics_and_queues_are_apart() {
        let mut state = StoreState::unwritten(0);
        assert_eq!(run(&mut state, update, &[("commitOffset", "5")]), Ok(0));
        for (name, value) in [("consumerGroup", "h"), ("topic", "u"), ("queueId", "1")] {
            let mut fields = with(name, value);
            fields.push(("setZeroIfNotFound", "false"));
            let (code, _) = ask(&mut state, query, &fields).expect_err("another one");
            assert_eq!(code, response::QUERY_NOT_FOUND);
        }
        assert_eq!(run(&mut state, update, &[("commitOffset", "3")]), Ok(0));
        assert_eq!(run(&mut state, query, &[]), Ok(3), "who wants to goes back");
    }

    #[test]
    fn offsets_of_what_does_not_exist_are_refused_and_counted() {
        let mut state = StoreState::unwritten(0);
        let long = "n".repeat(65_535);
        let cases = [
            ("consumerGroup", "unknown", response::SUBSCRIPTION_GROUP_NOT_EXIST),
            ("consumerGroup", &long, response::SUBSCRIPTION_GROUP_NOT_EXIST),
            ("topic", "unknown", response::TOPIC_NOT_EXIST),
            ("topic", &long, response::TOPIC_NOT_EXIST),
            ("queueId", "2", response::INVALID_PARAMETER),
        ];
        for (number, (name, value, code)) in cases.into_iter().enumerate() {
            let mut fields = with(name, value);
            fields.push(("commitOffset", "5"));
            let (found, remark) = ask(&mut state, update, &fields).expect_err("refused");
            assert_eq!(found, code, "{name}={value}: {remark}");
            assert_eq!(state.counters().refused_offsets, number as u64 + 1);
        }
        assert_eq!(state.derived.group_offsets.count(), 0);
        let mut shrunk = state_with_messages(&[("t", 2, 1)]);
        assert_eq!(run(&mut shrunk, update, &[("commitOffset", "1")]), Ok(0));
        let mut fields = with("queueId", "2");
        fields.push(("commitOffset", "1"));
        assert_eq!(ask(&mut shrunk, update, &fields), Ok(0), "the topic had more queues before");
    }

    #[test]
    fn offsets_beyond_their_memory_are_refused_with_numbers() {
        let mut state = StoreState::unwritten(0);
        assert_eq!(run(&mut state, update, &[("commitOffset", "5")]), Ok(0));
        let bytes = state.derived.group_offsets.bytes();
        state.derived.group_offsets.limit_bytes(bytes);
        let mut fields = with("queueId", "1");
        fields.push(("commitOffset", "5"));
        let (code, remark) = ask(&mut state, update, &fields).expect_err("full");
        assert_eq!(code, response::SYSTEM_ERROR);
        assert!(remark.contains(&bytes.to_string()), "{remark}");
        assert_eq!(run(&mut state, update, &[("commitOffset", "6")]), Ok(0), "it is there");
        assert_eq!(state.counters().refused_offsets, 1);
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
}
