//! How far groups are: GET_CONSUME_STATS of one group, GET_BROKER_CONSUME_STATS of all. Gathered from all shards, group
//! by group; the second, which may be large, for one asker at a time.

use super::{
    consume_times, large_body,
    shard_report::{QueueReport, queues_of_topics, topics_of_group},
};
use crate::{
    control::MetadataSnapshot,
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    shard::Shard,
    worker::Worker,
};
use proto::{
    body::{ConsumeProgress, ConsumeStats, ConsumeStatsWriter, MessageQueue, TopicConfig},
    code::response,
    frame::FRAME_BYTES_MAX,
    request::{BrokerConsumeStatsHeader, ConsumeStatsHeader},
};
use remoting::ConnectionId;
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

/// Bytes of an answer that a client's frame still holds.
const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - 64 * 1024;

/// Topics that a tool names when it asks how far a group is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    /// None: those that the group has committed offsets on.
    topics: BTreeSet<String>,
    /// They are a list (5.x): it does not matter what the group subscribes.
    is_list: bool,
}

impl Named {
    fn of(header: &ConsumeStatsHeader<'_>) -> Named {
        let listed = header.topic_list.unwrap_or_default().split(';');
        let listed: BTreeSet<String> =
            listed.filter(|topic| !topic.trim().is_empty()).map(str::to_owned).collect();
        if !listed.is_empty() {
            return Named { topics: listed, is_list: true };
        }
        let one = header.topic.filter(|topic| !topic.trim().is_empty());
        Named { topics: one.map(str::to_owned).into_iter().collect(), is_list: false }
    }
}

/// Whose progress is told.
struct Asked<'a> {
    group: &'a str,
    topics: &'a [Arc<TopicConfig>],
    /// Queues of a topic that tools expect.
    queues: fn(&TopicConfig) -> i32,
    asker: ConnectionId,
}

fn read_queues(topic: &TopicConfig) -> i32 {
    topic.read_queue_nums
}

/// Java tells of these when it tells of all groups.
fn write_queues(topic: &TopicConfig) -> i32 {
    topic.write_queue_nums
}

impl Asked<'_> {
    fn entries(&self) -> usize {
        let queues = self.topics.iter().map(|topic| (self.queues)(topic));
        queues.map(|queues| usize::try_from(queues).unwrap_or(0)).sum()
    }
}

/// GET_CONSUME_STATS: progress of a group on all its topics, or on those that are named.
pub fn of_group(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let asked = ConsumeStatsHeader::from_ext(&request.header.ext)
        .map(|header| (header.consumer_group.to_owned(), Named::of(&header)));
    let metadata = Arc::clone(worker.control_plane().control.borrow().snapshot());
    let asker = request.peer.connection;
    Box::pin(async move {
        let (group, named) = asked?;
        let topics = topics_told(&metadata, &group, &named_or_used(&worker, &group, named).await);
        let asked = Asked { group: &group, topics: &topics, queues: read_queues, asker };
        let mut stats = progress(&worker, &asked).await;
        let traffic = &worker.control_plane().traffic;
        let now = worker.executor.uptime();
        traffic.refresh(now).await;
        let tps_of = |topic: &Arc<TopicConfig>| {
            traffic.look(|traffic| traffic.get_tps(&group, &topic.topic_name, now))
        };
        stats.consume_tps = topics.iter().map(tps_of).sum();
        let write = move || {
            let mut body = Vec::new();
            stats.write(&mut body);
            body
        };
        Ok(Response::body(large_body::made(&worker, asked.entries(), write).await))
    })
}

/// GET_BROKER_CONSUME_STATS: progress of all groups on all their topics.
pub fn of_all_groups(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let asked =
        BrokerConsumeStatsHeader::from_ext(&request.header.ext).map(|header| header.ordered_only());
    let asker = request.peer.connection;
    Box::pin(async move {
        let ordered_only = asked?;
        let plane = worker.control_plane();
        let _turn = plane.consume_stats_turns.acquire().await.map_err(|limit| {
            let remark =
                format!("[OVERLOAD] reason=all-consume-stats waiting={limit} limit={limit}");
            Refusal::new(response::SYSTEM_BUSY, remark)
        })?;
        plane.traffic.refresh(worker.executor.uptime()).await;
        let metadata = Arc::clone(plane.control.borrow().snapshot());
        let mut body = ConsumeStatsWriter::new(&worker.config().client_address());
        for group in metadata.all_groups() {
            let topics = of_one(&worker, &metadata, group, ordered_only, asker).await;
            let (name, entries) = (group.to_owned(), entries_of(&topics));
            let add = move || {
                body.group(&name, &topics);
                body
            };
            body = large_body::made(&worker, entries, add).await;
            check_size(body.bytes())?;
            if worker.executor.budget_spent() {
                worker.executor.yield_now().await;
            }
        }
        Ok(Response::body(body.finish()))
    })
}

fn entries_of(topics: &[ConsumeStats]) -> usize {
    topics.iter().map(|stats| stats.offset_table.len()).sum()
}

fn check_size(bytes: usize) -> Result<(), Refusal> {
    if bytes <= BODY_BYTES_MAX {
        return Ok(());
    }
    let remark = format!(
        "progress of all groups takes {bytes} bytes or more, an answer holds {BODY_BYTES_MAX}; ask for one group (GET_CONSUME_STATS)"
    );
    Err(Refusal::system_error(remark))
}

/// Progress of a group on each of its topics.
async fn of_one(
    worker: &Rc<Worker>,
    metadata: &MetadataSnapshot,
    group: &str,
    ordered_only: bool,
    asker: ConnectionId,
) -> Vec<ConsumeStats> {
    let used = named_or_used(worker, group, Named::default()).await;
    let mut topics = topics_told(metadata, group, &used);
    topics.retain(|topic| topic.order || !ordered_only);
    let asked = Asked { group, topics: &topics, queues: write_queues, asker };
    let all = progress(worker, &asked).await;
    let now = worker.executor.uptime();
    let mut by_topic = BTreeMap::new();
    worker.control_plane().traffic.look(|traffic| {
        for topic in &topics {
            let consume_tps = traffic.get_tps(group, &topic.topic_name, now);
            let stats = ConsumeStats { consume_tps, ..ConsumeStats::default() };
            by_topic.insert(topic.topic_name.as_str(), stats);
        }
    });
    for (queue, progress) in all.offset_table {
        if let Some(stats) = by_topic.get_mut(queue.topic.as_str()) {
            stats.offset_table.insert(queue, progress);
        }
    }
    by_topic.into_values().collect()
}

/// The topics that are named, or else those that the group has committed offsets on.
async fn named_or_used(worker: &Rc<Worker>, group: &str, mut named: Named) -> Named {
    if named.topics.is_empty() {
        let committed = topics_of_group(worker, group.to_owned()).await;
        named.topics.extend(committed.into_iter().map(String::from));
    }
    named
}

/// How far the group is on these topics, rates aside.
async fn progress(worker: &Rc<Worker>, asked: &Asked<'_>) -> ConsumeStats {
    let (group, entries) = (asked.group.to_owned(), asked.entries());
    let names = asked.topics.iter().map(|topic| topic.topic_name.clone()).collect();
    let reports = queues_of_topics(worker, names, Some(group.clone())).await;
    let times = consume_times::consumed_ms(worker, asked.asker, &reports).await;
    let settings = worker.shared_config();
    let (topics, queues) = (asked.topics.to_vec(), asked.queues);
    let make = move || {
        let consumed = reports.into_iter().zip(times);
        let stats = table_of(&topics, queues, &settings.broker_name, consumed);
        let places = places_of(&stats);
        (stats, places)
    };
    let (mut stats, places) = large_body::made(worker, entries, make).await;
    let ahead = pulled_offsets(worker, group, places).await;
    let add = move || {
        add_pulled(&mut stats, ahead);
        stats
    };
    large_body::made(worker, entries, add).await
}

/// Topic and queue.
type Place = (Box<str>, u32);

fn places_of(stats: &ConsumeStats) -> Vec<Place> {
    let named =
        |queue: &MessageQueue| Some((queue.topic.as_str().into(), queue.queue_id.try_into().ok()?));
    stats.offset_table.keys().filter_map(named).collect()
}

/// Offsets that the group's next pulls ask for, as far as shards know them.
async fn pulled_offsets(
    worker: &Rc<Worker>,
    group: String,
    places: Vec<Place>,
) -> Vec<(Place, i64)> {
    let look = move |shard: &Shard| {
        let (pulls, state) = (shard.group_pulls.borrow(), shard.store.state());
        let next = places.iter().filter_map(|(topic, queue_id)| {
            let popped = state.derived.popped.get(&group, topic, *queue_id);
            let popped = popped.and_then(|queue| queue.cursor());
            let next = pulls.next_offset(&group, topic, *queue_id).max(popped)?;
            Some(((topic.clone(), *queue_id), next))
        });
        next.collect::<Vec<_>>()
    };
    worker.gather(look).await.into_iter().flatten().collect()
}

/// Adds how far the group has pulled.
fn add_pulled(stats: &mut ConsumeStats, pulled: Vec<(Place, i64)>) {
    let ahead: BTreeMap<Place, i64> = pulled.into_iter().collect();
    for (queue, progress) in &mut stats.offset_table {
        let queue_id = u32::try_from(queue.queue_id).unwrap_or(0);
        let next = ahead.get(&(queue.topic.as_str().into(), queue_id)).copied();
        // Who has consumed it has pulled it, whoever remembers.
        let consumed = progress.consumer_offset;
        progress.pull_offset = Some(next.map_or(consumed, |next| next.max(consumed)));
    }
}

/// Those of the topics that there are. What an online group does not subscribe any more is left out, unless it was listed.
fn topics_told(metadata: &MetadataSnapshot, group: &str, named: &Named) -> Vec<Arc<TopicConfig>> {
    let online = metadata.subscriptions(group).filter(|online| !online.topics.is_empty());
    let wants = |topic: &str| online.is_none_or(|online| online.topics.contains_key(topic));
    let told = named.topics.iter().filter(|topic| named.is_list || wants(topic));
    told.filter_map(|topic| metadata.topic(topic).cloned()).collect()
}

/// One entry per queue that tools expect; queues that nobody ever used included. With each queue comes when what was
/// consumed last there was stored, ms.
fn table_of(
    topics: &[Arc<TopicConfig>],
    queues_of: fn(&TopicConfig) -> i32,
    broker_name: &str,
    queues: impl Iterator<Item = (QueueReport, i64)>,
) -> ConsumeStats {
    let mut stats = ConsumeStats::default();
    let queue = |topic: &str, queue_id: i32| MessageQueue {
        topic: topic.to_owned(),
        broker_name: broker_name.to_owned(),
        queue_id,
    };
    for topic in topics {
        for queue_id in 0..queues_of(topic).max(0) {
            let unused = ConsumeProgress::default();
            stats.offset_table.insert(queue(&topic.topic_name, queue_id), unused);
        }
    }
    for (found, consumed_ms) in queues {
        let Ok(queue_id) = i32::try_from(found.queue_id) else { continue };
        if let Some(progress) = stats.offset_table.get_mut(&queue(&found.topic, queue_id)) {
            *progress = ConsumeProgress {
                broker_offset: found.max,
                consumer_offset: found.committed.unwrap_or(0).max(0),
                last_timestamp: consumed_ms,
                pull_offset: None,
            };
        }
    }
    stats
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::Control,
        handlers::fixtures::{NOW, control, with_request},
    };
    use proto::code::request;

    /// What is asked for with these fields.
    fn named(topic: Option<&str>, topic_list: Option<&str>) -> Named {
        Named::of(&ConsumeStatsHeader { consumer_group: "g", topic, topic_list })
    }

    /// Progress of group `g` on what is named, by what shards report: topic and queue, end, committed offset.
    fn told(
        metadata: &MetadataSnapshot,
        named: &Named,
        reported: &[(&str, u32, i64, Option<i64>)],
    ) -> Vec<(String, i32, i64, i64)> {
        let reports = reported.iter().map(|(topic, queue_id, max, committed)| QueueReport {
            topic: (*topic).into(),
            queue_id: *queue_id,
            min: 0,
            max: *max,
            last_store_ms: 1,
            committed: *committed,
        });
        let reports = reports.map(|report| (report, 3));
        let topics = topics_told(metadata, "g", named);
        let stats = table_of(&topics, read_queues, "broker-a", reports);
        let rows = stats.offset_table.into_iter().map(|(queue, progress)| {
            (queue.topic, queue.queue_id, progress.broker_offset, progress.consumer_offset)
        });
        rows.collect()
    }

    fn with_topics(control: &mut Control) {
        for name in ["t", "u"] {
            let topic = TopicConfig {
                topic_name: name.to_owned(),
                read_queue_nums: 2,
                ..TopicConfig::default()
            };
            control.update_topic(NOW, topic).expect("a good topic");
        }
    }

    #[test]
    fn progress_is_told_for_queues_that_can_be_read() {
        let mut control = control();
        with_topics(&mut control);
        let metadata = control.saved_effects().publish.expect("a snapshot");
        let reported = [
            ("t", 0, 9, Some(4)),
            ("t", 1, 7, None),
            ("t", 2, 5, Some(5)),
            ("gone", 0, 3, Some(1)),
        ];
        let row =
            |topic: &str, queue_id, end, committed| (topic.to_owned(), queue_id, end, committed);
        let of_t = [row("t", 0, 9, 4), row("t", 1, 7, 0)];
        assert_eq!(told(&metadata, &named(Some("t"), None), &reported), of_t);
        let unused = [row("u", 0, 0, 0), row("u", 1, 0, 0)];
        assert_eq!(told(&metadata, &named(Some("u"), None), &reported), unused);
        let both = told(&metadata, &named(Some("x"), Some("u;gone;t")), &reported);
        assert_eq!(both, [of_t, unused].concat());
        assert!(told(&metadata, &named(Some("gone"), None), &reported).is_empty());
    }

    #[test]
    fn a_list_of_topics_goes_before_one_and_blanks_name_none() {
        let topics = |named: &Named| named.topics.iter().cloned().collect::<Vec<_>>().join(" ");
        for (topic, list, expected) in [
            (None, None, ("", false)),
            (Some(""), Some(""), ("", false)),
            (Some(" "), Some(" ; ;"), ("", false)),
            (Some("t"), Some(";"), ("t", false)),
            (Some("t"), Some("u;"), ("u", true)),
            (None, Some("u;t;u"), ("t u", true)),
        ] {
            let named = named(topic, list);
            assert_eq!((&*topics(&named), named.is_list), expected, "{topic:?} {list:?}");
        }
    }

    #[test]
    fn progress_on_topics_that_an_online_group_no_longer_subscribes_is_left_out() {
        let mut control = control();
        with_topics(&mut control);
        let heartbeat = br#"{"clientID":"c1","consumerDataSet":[{"consumeFromWhere":
            "CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"g",
            "messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[],
            "expressionType":"TAG","subString":"*","subVersion":1,"tagsSet":[],"topic":"t"}],
            "unitMode":false}],"producerDataSet":[]}"#;
        let code = request::HEART_BEAT;
        with_request(code, &[], heartbeat, |request| {
            crate::handlers::client_lifecycle::heartbeat(&mut control, request)
        })
        .expect("a good heartbeat");
        let metadata = control.saved_effects().publish.expect("a snapshot");
        let reported = [("t", 0, 9, Some(4)), ("u", 0, 7, Some(7))];
        let both = Named { is_list: false, ..named(None, Some("t;u")) };
        let of_t = [("t".to_owned(), 0, 9, 4), ("t".to_owned(), 1, 0, 0)];
        assert_eq!(told(&metadata, &both, &reported), of_t);
        assert!(told(&metadata, &named(Some("u"), None), &reported).is_empty());
        let listed = told(&metadata, &named(None, Some("u")), &reported);
        assert_eq!(listed[0], ("u".to_owned(), 0, 7, 7));
    }

    #[test]
    fn an_answer_that_no_client_could_take_is_refused() {
        assert!(check_size(BODY_BYTES_MAX).is_ok());
        let remark = check_size(BODY_BYTES_MAX + 1).expect_err("too large").remark;
        assert!(remark.contains("16711681") && remark.contains("GET_CONSUME_STATS"), "{remark}");
    }
}
