//! Administration of consumer groups: UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, GET_ALL_SUBSCRIPTIONGROUP_CONFIG,
//! GET_SUBSCRIPTIONGROUP_CONFIG, DELETE_SUBSCRIPTIONGROUP, GET_CONSUME_STATS, QUERY_TOPIC_CONSUME_BY_WHO. Served by
//! the control owner on the control worker.

use crate::{
    control::plane::ControlPlane,
    error::Refusal,
    gather::{Finish, ShardQuery, ShardReport},
    handlers::whole_table,
    mailbox::Notice,
    request::Request,
    response::{Responder, Response},
    worker::{CONTROL_WORKER, Worker},
};
use proto::{
    body::{ConsumeProgress, ConsumeStats, GroupList, MessageQueue, SubscriptionGroupConfig},
    code::request,
    request::{ConsumeStatsHeader, DeleteGroupHeader, GroupHeader, TopicHeader},
};
use std::{collections::BTreeSet, rc::Rc, sync::Arc};

/// Serves the request, sending it on to the control worker.
pub fn serve(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    let Some(plane) = &worker.control else {
        return worker.forward(CONTROL_WORKER, request, responder);
    };
    let response = match request.header.code {
        request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => update(plane, request),
        request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => {
            return whole_table::all_groups(worker, plane, responder);
        }
        request::GET_SUBSCRIPTIONGROUP_CONFIG => one(plane, request),
        request::DELETE_SUBSCRIPTIONGROUP => delete(worker, plane, request),
        request::GET_CONSUME_STATS => match consume_stats(worker, plane, request) {
            Ok((query, finish)) => return plane.gather(worker, responder, query, finish),
            Err(refusal) => Err(refusal),
        },
        _ => match consumed_by(plane, request) {
            Ok((query, finish)) => return plane.gather(worker, responder, query, finish),
            Err(refusal) => Err(refusal),
        },
    };
    plane.answer_durably(worker, responder, response.unwrap_or_else(Response::from));
}

fn update(plane: &ControlPlane, request: &Request<'_>) -> Result<Response, Refusal> {
    let config = SubscriptionGroupConfig::read(request.body)
        .map_err(|error| Refusal::system_error(error.to_string()))?;
    plane
        .control
        .borrow_mut()
        .update_group(request.now, config)
        .map_err(|error| Refusal::system_error(error.to_string()))?;
    Ok(Response::Done)
}

fn one(plane: &ControlPlane, request: &Request<'_>) -> Result<Response, Refusal> {
    let group = GroupHeader::from_ext(&request.header.ext)?.group;
    let control = plane.control.borrow();
    let config = control.groups().get(group).ok_or_else(|| Refusal::group_not_exist(group))?;
    let mut body = Vec::new();
    config.write(&mut body);
    Ok(Response::body(body))
}

fn delete(
    worker: &Rc<Worker>,
    plane: &ControlPlane,
    request: &Request<'_>,
) -> Result<Response, Refusal> {
    let header = DeleteGroupHeader::from_ext(&request.header.ext)?;
    plane.control.borrow_mut().delete_group(request.now, header.group_name);
    if header.offsets_too() {
        let group: Arc<str> = header.group_name.into();
        worker.broadcast(&Notice::GroupRemoved(group));
    }
    Ok(Response::Done)
}

type Asked = (ShardQuery, Finish);

/// Progress of a group on all its topics, or on one. Topics that an online group no longer subscribes are left out.
fn consume_stats(
    worker: &Worker,
    plane: &ControlPlane,
    request: &Request<'_>,
) -> Result<Asked, Refusal> {
    let header = ConsumeStatsHeader::from_ext(&request.header.ext)?;
    let only = header.topic.filter(|topic| !topic.is_empty());
    let metadata = Arc::clone(plane.control.borrow().snapshot());
    let group: Box<str> = header.consumer_group.into();
    let query = ShardQuery::Group(group.clone(), only.map(Box::from));
    let broker_name = worker.config.broker_name.clone();
    let finish = Box::new(move |report: ShardReport| {
        let mut stats = ConsumeStats::default();
        for found in report.queues {
            let Some(topic) = metadata.topic(&found.topic) else { continue };
            let online = metadata.subscriptions(&group);
            let dropped = online.is_some_and(|online| !online.topics.contains_key(&*found.topic));
            let Ok(queue_id) = i32::try_from(found.queue_id) else { continue };
            if dropped || queue_id >= topic.read_queue_nums {
                continue;
            }
            let queue = MessageQueue {
                topic: found.topic.into(),
                broker_name: broker_name.clone(),
                queue_id,
            };
            let progress = ConsumeProgress {
                broker_offset: found.max,
                consumer_offset: found.committed.unwrap_or(0).max(0),
                last_timestamp: found.last_store_ms,
            };
            stats.offset_table.insert(queue, progress);
        }
        let mut body = Vec::new();
        stats.write(&mut body);
        Response::body(body)
    });
    Ok((query, finish))
}

/// Groups that are online on a topic, or have committed offsets on it.
fn consumed_by(plane: &ControlPlane, request: &Request<'_>) -> Result<Asked, Refusal> {
    let topic = TopicHeader::from_ext(&request.header.ext)?.topic;
    let control = plane.control.borrow();
    let online: Vec<String> =
        control.members().groups_of_topic(topic).into_iter().map(str::to_owned).collect();
    let finish = Box::new(move |report: ShardReport| {
        let mut groups: BTreeSet<String> = online.into_iter().collect();
        groups.extend(report.groups.into_iter().map(String::from));
        let mut body = Vec::new();
        GroupList { group_list: groups.into_iter().collect() }.write(&mut body);
        Response::body(body)
    });
    Ok((ShardQuery::GroupsOfTopic(topic.into()), finish))
}
