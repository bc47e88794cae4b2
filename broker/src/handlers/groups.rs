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
