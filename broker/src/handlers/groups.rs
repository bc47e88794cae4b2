//! Administration of consumer groups, served by the control owner: UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
//! UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, GET_SUBSCRIPTIONGROUP_CONFIG, UPDATE_AND_GET_GROUP_FORBIDDEN,
//! DELETE_SUBSCRIPTIONGROUP, GET_CONSUME_STATS, QUERY_TOPIC_CONSUME_BY_WHO.

use super::{
    consume_times, large_body,
    shard_report::{QueueReport, groups_of_topic, queues_of_topics, topics_of_group},
};
use crate::{
    control::{Control, MetadataSnapshot},
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    shard::Shard,
    worker::Worker,
};
use proto::{
    body::{
        ConsumeProgress, ConsumeStats, GroupConfigList, GroupForbidden, GroupList, MessageQueue,
        SubscriptionGroupConfig, TopicConfig,
    },
    request::{ConsumeStatsHeader, DeleteGroupHeader, GroupHeader, GroupTopicHeader, TopicHeader},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP.
pub fn update(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let config = SubscriptionGroupConfig::read(request.body)?;
    control.update_group(request.now, config)?;
    Ok(Response::Done)
}

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST: all or none.
pub fn update_list(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let wanted = GroupConfigList::read(request.body)?.group_config_list;
    control.update_groups(request.now, wanted)?;
    Ok(Response::Done)
}

/// GET_SUBSCRIPTIONGROUP_CONFIG.
pub fn one(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let group = GroupHeader::from_ext(&request.header.ext)?.group;
    let config = control.groups().get(group).ok_or_else(|| Refusal::group_not_exist(group))?;
    let mut body = Vec::new();
    config.write(&mut body);
    Ok(Response::body(body))
}

/// UPDATE_AND_GET_GROUP_FORBIDDEN: whether a group may read a topic. Without `readable` nothing is changed. In Java it is a
/// matter of pulls whose filter is that of the group's members; here of every pull and pop.
pub fn forbidden(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let GroupTopicHeader { group, topic } = GroupTopicHeader::from_ext(&request.header.ext)?;
    let readable = match request.header.ext.get("readable") {
        None => None,
        Some(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Some(false),
        Some(text) => {
            let remark = format!("readable is {text:?}, expected true or false");
            return Err(Refusal::system_error(remark));
        }
    };
    let may = control.group_readable(request.now, group, topic, readable)?;
    let may = may.ok_or_else(|| Refusal::group_not_exist(group))?;
    if readable.is_some() {
        let who = request.peer.addr;
        tracing::info!(group, topic, readable = may, %who, "reading of a topic by a group was set");
    }
    let mut body = Vec::new();
    GroupForbidden { group: group.to_owned(), readable: may, topic: topic.to_owned() }
        .write(&mut body);
    Ok(Response::body(body))
}

/// DELETE_SUBSCRIPTIONGROUP, with the group's offsets if that is asked for: answered when every shard has dropped them.
pub fn delete(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let deleted = worker.control_plane().change(&worker, |control| {
        let header = DeleteGroupHeader::from_ext(&request.header.ext)?;
        let group = header.group_name;
        control.delete_group(request.now, group, header.offsets_too())?;
        Ok::<_, Refusal>(group.to_owned())
    });
    Box::pin(async move {
        let group = deleted?;
        worker.control_plane().shown(None, Some(&group)).await?;
        Ok(Response::Done)
    })
}

/// Topics that a tool names when it asks how far a group is.
#[derive(Debug, PartialEq, Eq)]
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

/// GET_CONSUME_STATS: progress of a group on all its topics, or on those that are named, gathered from all shards.
pub fn consume_stats(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let asked = ConsumeStatsHeader::from_ext(&request.header.ext)
        .map(|header| (header.consumer_group.to_owned(), Named::of(&header)));
    let metadata = Arc::clone(worker.control_plane().control.borrow().snapshot());
    let asker = request.peer.connection;
    Box::pin(async move {
        let (group, mut named) = asked?;
        if named.topics.is_empty() {
            let committed = topics_of_group(&worker, group.clone()).await;
            named.topics.extend(committed.into_iter().map(String::from));
        }
        let topics = topics_told(&metadata, &group, &named);
        let names = topics.iter().map(|topic| topic.topic_name.clone()).collect();
        let queues = queues_of_topics(&worker, names, Some(group.clone())).await;
        let times = consume_times::consumed_ms(&worker, asker, &queues).await;
        let read_queues = |topic: &Arc<TopicConfig>| usize::try_from(topic.read_queue_nums);
        let entries: usize = topics.iter().map(|topic| read_queues(topic).unwrap_or(0)).sum();
        let settings = worker.shared_config();
        let make = move || {
            let consumed = queues.into_iter().zip(times);
            let stats = consume_stats_table(&topics, &settings.broker_name, consumed);
            let queues = queues_of(&stats);
            (stats, queues)
        };
        let (mut stats, queues) = large_body::made(&worker, entries, make).await;
        let pulls = pulls_of(&worker, group, queues).await;
        let write = move || {
            add_pulls(&mut stats, pulls);
            let mut body = Vec::new();
            stats.write(&mut body);
            body
        };
        Ok(Response::body(large_body::made(&worker, entries, write).await))
    })
}

fn queues_of(stats: &ConsumeStats) -> Vec<(Box<str>, u32)> {
    let named =
        |queue: &MessageQueue| Some((queue.topic.as_str().into(), queue.queue_id.try_into().ok()?));
    stats.offset_table.keys().filter_map(named).collect()
}

/// How far and how fast a group has pulled lately, as one shard knows it.
struct Pulls {
    /// Offsets that its next pulls ask for.
    next: Vec<(Box<str>, u32, i64)>,
    /// Messages per second, by topic.
    rates: Vec<(Box<str>, f64)>,
}

async fn pulls_of(worker: &Rc<Worker>, group: String, queues: Vec<(Box<str>, u32)>) -> Vec<Pulls> {
    let now = worker.executor.uptime();
    let look = move |shard: &Shard| {
        let mut pulls = shard.group_pulls.borrow_mut();
        let state = shard.store.state();
        let next = queues.iter().filter_map(|(topic, queue_id)| {
            let popped = state.derived.popped.get(&group, topic, *queue_id);
            let popped = popped.and_then(|queue| queue.cursor());
            let next = pulls.next_offset(&group, topic, *queue_id).max(popped)?;
            Some((topic.clone(), *queue_id, next))
        });
        let next = next.collect();
        Pulls { next, rates: pulls.rates(&group, now) }
    };
    worker.gather(look).await
}

/// Adds how far and how fast the group has pulled.
fn add_pulls(stats: &mut ConsumeStats, pulls: Vec<Pulls>) {
    let topics: BTreeSet<&str> =
        stats.offset_table.keys().map(|queue| queue.topic.as_str()).collect();
    let mut ahead: BTreeMap<(Box<str>, u32), i64> = BTreeMap::new();
    for Pulls { next, rates } in pulls {
        let rates = rates.iter().filter(|(topic, _)| topics.contains(&**topic));
        stats.consume_tps += rates.map(|(_, rate)| rate).sum::<f64>();
        ahead.extend(next.into_iter().map(|(topic, queue_id, next)| ((topic, queue_id), next)));
    }
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

/// One entry per queue to read, as tools expect; queues that nobody ever used included. With each queue comes when what was
/// consumed last there was stored, ms.
fn consume_stats_table(
    topics: &[Arc<TopicConfig>],
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
        for queue_id in 0..topic.read_queue_nums.max(0) {
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

/// QUERY_TOPIC_CONSUME_BY_WHO: groups that are online on a topic, or have committed offsets on it.
pub fn consumed_by(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let asked = TopicHeader::from_ext(&request.header.ext).map(|header| {
        let control = worker.control_plane().control.borrow();
        let online = control.members().groups_of_topic(header.topic);
        let groups: BTreeSet<String> = online.into_iter().map(str::to_owned).collect();
        (header.topic.to_owned(), groups)
    });
    Box::pin(async move {
        let (topic, mut groups) = asked?;
        let seen = groups_of_topic(&worker, topic).await;
        let entries = groups.len() + seen.len();
        let make = move || {
            groups.extend(seen.into_iter().map(String::from));
            let mut body = Vec::new();
            GroupList { group_list: groups.into_iter().collect() }.write(&mut body);
            body
        };
        Ok(Response::body(large_body::made(&worker, entries, make).await))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::fixtures::{NOW, control, with_request};
    use proto::code::{request, response};

    fn change(control: &mut Control, body: &[u8]) -> Result<Response, Refusal> {
        let code = request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP;
        with_request(code, &[], body, |request| update(control, request))
    }

    fn ask(control: &mut Control, group: &str) -> Result<SubscriptionGroupConfig, Refusal> {
        let (code, fields) = (request::GET_SUBSCRIPTIONGROUP_CONFIG, [("group", group)]);
        match with_request(code, &fields, b"", |request| one(control, request))? {
            Response::Body(body, _) => {
                Ok(SubscriptionGroupConfig::read(&body).expect("our own body"))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_group_is_as_it_was_asked_for_last() {
        let mut control = control();
        control.saved_effects();
        let refusal = ask(&mut control, "g").expect_err("not yet");
        assert_eq!(refusal.code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
        for tries in [3, 5] {
            let body =
                format!(r#"{{"groupName":"g","retryMaxTimes":{tries},"consumeEnable":false}}"#);
            assert!(matches!(change(&mut control, body.as_bytes()), Ok(Response::Done)));
            let group = ask(&mut control, "g").expect("made");
            assert_eq!((group.retry_max_times, group.consume_enable), (tries, false));
        }
        let effects = control.saved_effects();
        assert_eq!(effects.group_changes.len(), 2, "both have to be durable");
        assert!(effects.publish.is_some());
    }

    #[test]
    fn a_group_that_cannot_be_is_refused_and_changes_nothing() {
        let mut control = control();
        control.saved_effects();
        for body in [&b"{"[..], b"[]", br#"{"groupName":"a b"}"#, br#"{"groupName":""}"#, b"{}"] {
            let refusal = change(&mut control, body).map(drop).expect_err("refused");
            let text = String::from_utf8_lossy(body);
            assert_eq!(refusal.code, response::SYSTEM_ERROR, "{text}");
            assert!(!refusal.remark.is_empty(), "{text}");
        }
        let effects = control.saved_effects();
        assert!(effects.group_changes.is_empty() && effects.publish.is_none());
    }

    /// What is asked for with these fields.
    fn named(topic: Option<&str>, topic_list: Option<&str>) -> Named {
        Named::of(&ConsumeStatsHeader { consumer_group: "g", topic, topic_list })
    }

    /// Progress of group `g` on what is named, by what shards report: topic and queue, end, committed offset.
    fn progress(
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
        let stats = consume_stats_table(&topics, "broker-a", reports);
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
        let told =
            |topic: &str, queue_id, end, committed| (topic.to_owned(), queue_id, end, committed);
        let of_t = [told("t", 0, 9, 4), told("t", 1, 7, 0)];
        assert_eq!(progress(&metadata, &named(Some("t"), None), &reported), of_t);
        let unused = [told("u", 0, 0, 0), told("u", 1, 0, 0)];
        assert_eq!(progress(&metadata, &named(Some("u"), None), &reported), unused);
        let both = progress(&metadata, &named(Some("x"), Some("u;gone;t")), &reported);
        assert_eq!(both, [of_t, unused].concat());
        assert!(progress(&metadata, &named(Some("gone"), None), &reported).is_empty());
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
        assert_eq!(progress(&metadata, &both, &reported), of_t);
        assert!(progress(&metadata, &named(Some("u"), None), &reported).is_empty());
        let listed = progress(&metadata, &named(None, Some("u")), &reported);
        assert_eq!(listed[0], ("u".to_owned(), 0, 7, 7));
    }
}
