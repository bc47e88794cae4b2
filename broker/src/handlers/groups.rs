//! Administration of consumer groups, served by the control owner: UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
//! GET_SUBSCRIPTIONGROUP_CONFIG, DELETE_SUBSCRIPTIONGROUP, GET_CONSUME_STATS,
//! QUERY_TOPIC_CONSUME_BY_WHO.

use super::shard_report::{QueueReport, groups_of_topic, queues_of_group};
use crate::{
    control::{Control, MetadataSnapshot},
    error::Refusal,
    mailbox::Notice,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use proto::{
    body::{ConsumeProgress, ConsumeStats, GroupList, MessageQueue, SubscriptionGroupConfig},
    request::{ConsumeStatsHeader, DeleteGroupHeader, GroupHeader, TopicHeader},
};
use std::{collections::BTreeSet, rc::Rc, sync::Arc};

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP.
pub fn update(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let config = SubscriptionGroupConfig::read(request.body)?;
    control.update_group(request.now, config)?;
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

/// DELETE_SUBSCRIPTIONGROUP, with the group's offsets if that is asked for.
pub fn delete(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let deleted = DeleteGroupHeader::from_ext(&request.header.ext).map(|header| {
        let plane = worker.control_plane();
        plane.change(&worker, |control| control.delete_group(request.now, header.group_name));
        if header.offsets_too() {
            worker.broadcast(&Notice::GroupRemoved(header.group_name.into()));
        }
    });
    Box::pin(async move {
        deleted?;
        worker.control_plane().durable().await?;
        Ok(Response::Done)
    })
}

/// GET_CONSUME_STATS: progress of a group on all its topics, or on one, gathered from all shards.
pub fn consume_stats(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let asked = ConsumeStatsHeader::from_ext(&request.header.ext).map(|header| {
        let only = header.topic.filter(|topic| !topic.is_empty()).map(str::to_owned);
        (header.consumer_group.to_owned(), only)
    });
    let metadata = Arc::clone(worker.control_plane().control.borrow().snapshot());
    Box::pin(async move {
        let (group, only) = asked?;
        let of_group = group.clone();
        let seen = worker
            .gather(move |shard| queues_of_group(&shard.store.state(), &of_group, only.as_deref()))
            .await;
        let queues = seen.into_iter().flatten();
        let stats = consume_stats_table(&metadata, &group, &worker.config.broker_name, queues);
        let mut body = Vec::new();
        stats.write(&mut body);
        Ok(Response::body(body))
    })
}

/// Topics that an online group no longer subscribes are left out.
fn consume_stats_table(
    metadata: &MetadataSnapshot,
    group: &str,
    broker_name: &str,
    queues: impl Iterator<Item = QueueReport>,
) -> ConsumeStats {
    let mut stats = ConsumeStats::default();
    let online = metadata.subscriptions(group);
    for found in queues {
        let Some(topic) = metadata.topic(&found.topic) else { continue };
        let dropped = online.is_some_and(|online| !online.topics.contains_key(&*found.topic));
        let Ok(queue_id) = i32::try_from(found.queue_id) else { continue };
        if dropped || queue_id >= topic.read_queue_nums {
            continue;
        }
        let queue = MessageQueue {
            topic: found.topic.into(),
            broker_name: broker_name.to_owned(),
            queue_id,
        };
        let progress = ConsumeProgress {
            broker_offset: found.max,
            consumer_offset: found.committed.unwrap_or(0).max(0),
            last_timestamp: found.last_store_ms,
        };
        stats.offset_table.insert(queue, progress);
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
        let seen = worker.gather(move |shard| groups_of_topic(&shard.store.state(), &topic)).await;
        groups.extend(seen.into_iter().flatten().map(String::from));
        let mut body = Vec::new();
        GroupList { group_list: groups.into_iter().collect() }.write(&mut body);
        Ok(Response::body(body))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::fixtures::{NOW, control, with_request};
    use proto::{
        body::TopicConfig,
        code::{request, response},
    };

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
        control.effects();
        let refusal = ask(&mut control, "g").expect_err("not yet");
        assert_eq!(refusal.code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
        for tries in [3, 5] {
            let body =
                format!(r#"{{"groupName":"g","retryMaxTimes":{tries},"consumeEnable":false}}"#);
            assert!(matches!(change(&mut control, body.as_bytes()), Ok(Response::Done)));
            let group = ask(&mut control, "g").expect("made");
            assert_eq!((group.retry_max_times, group.consume_enable), (tries, false));
        }
        let effects = control.effects();
        assert_eq!(effects.group_changes.len(), 2, "both have to be durable");
        assert!(effects.publish.is_some());
    }

    #[test]
    fn a_group_that_cannot_be_is_refused_and_changes_nothing() {
        let mut control = control();
        control.effects();
        for body in [&b"{"[..], b"[]", br#"{"groupName":"a b"}"#, br#"{"groupName":""}"#, b"{}"] {
            let refusal = change(&mut control, body).map(drop).expect_err("refused");
            let text = String::from_utf8_lossy(body);
            assert_eq!(refusal.code, response::SYSTEM_ERROR, "{text}");
            assert!(!refusal.remark.is_empty(), "{text}");
        }
        let effects = control.effects();
        assert!(effects.group_changes.is_empty() && effects.publish.is_none());
    }

    /// Progress of group `g` by what shards report: topic and queue, end, committed offset.
    fn progress(
        metadata: &MetadataSnapshot,
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
        let stats = consume_stats_table(metadata, "g", "broker-a", reports);
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
        let metadata = control.effects().publish.expect("a snapshot");
        let reported = [
            ("t", 0, 9, Some(4)),
            ("t", 1, 7, None),
            ("t", 2, 5, Some(5)),
            ("gone", 0, 3, Some(1)),
        ];
        let expected = [("t".to_owned(), 0, 9, 4), ("t".to_owned(), 1, 7, 0)];
        assert_eq!(progress(&metadata, &reported), expected);
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
        let metadata = control.effects().publish.expect("a snapshot");
        let reported = [("t", 0, 9, Some(4)), ("u", 0, 7, Some(7))];
        assert_eq!(progress(&metadata, &reported), [("t".to_owned(), 0, 9, 4)]);
    }
}
