//! Administration of consumer groups: UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, GET_ALL_SUBSCRIPTIONGROUP_CONFIG,
//! GET_SUBSCRIPTIONGROUP_CONFIG, DELETE_SUBSCRIPTIONGROUP, GET_CONSUME_STATS, QUERY_TOPIC_CONSUME_BY_WHO. Served by
//! the control owner on executor 0.

use crate::{
    desk::Desk,
    error::Refusal,
    front::dispatch::Request,
    letter::{Answer, Letter, Reply},
    shard::Shard,
    survey::{Conclude, Findings, Question},
};
use proto::{
    body::{ConsumeProgress, ConsumeStats, GroupList, MessageQueue, SubscriptionGroupConfig},
    code::request,
    request::{ConsumeStatsHeader, DeleteGroupHeader, GroupHeader, TopicHeader},
};
use std::{collections::BTreeSet, rc::Rc, sync::Arc};

/// Serves the request, sending it on to executor 0.
pub fn serve(shard: &Rc<Shard>, request: &Request<'_>, reply: Reply) {
    let Some(desk) = &shard.control else {
        return shard.forward_frame(0, request, reply);
    };
    let answer = match request.header.code {
        request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => update(desk, request),
        request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => {
            Ok(Answer::body(desk.control.borrow().groups_json()))
        }
        request::GET_SUBSCRIPTIONGROUP_CONFIG => one(desk, request),
        request::DELETE_SUBSCRIPTIONGROUP => delete(shard, desk, request),
        request::GET_CONSUME_STATS => match consume_stats(shard, desk, request) {
            Ok((question, conclude)) => return desk.survey(shard, reply, question, conclude),
            Err(refusal) => Err(refusal),
        },
        _ => match consumed_by(desk, request) {
            Ok((question, conclude)) => return desk.survey(shard, reply, question, conclude),
            Err(refusal) => Err(refusal),
        },
    };
    desk.answer_durably(shard, reply, answer.unwrap_or_else(Answer::from));
}

fn update(desk: &Desk, request: &Request<'_>) -> Result<Answer, Refusal> {
    let config = SubscriptionGroupConfig::read(request.body)
        .map_err(|error| Refusal::system_error(error.to_string()))?;
    desk.control
        .borrow_mut()
        .update_group(request.now, config)
        .map_err(|error| Refusal::system_error(error.to_string()))?;
    Ok(Answer::Done)
}

fn one(desk: &Desk, request: &Request<'_>) -> Result<Answer, Refusal> {
    let group = GroupHeader::from_ext(&request.header.ext)?.group;
    let control = desk.control.borrow();
    let config = control.groups().get(group).ok_or_else(|| Refusal::group_not_exist(group))?;
    let mut body = Vec::new();
    config.write(&mut body);
    Ok(Answer::body(body))
}

fn delete(shard: &Rc<Shard>, desk: &Desk, request: &Request<'_>) -> Result<Answer, Refusal> {
    let header = DeleteGroupHeader::from_ext(&request.header.ext)?;
    desk.control.borrow_mut().delete_group(request.now, header.group_name);
    if header.offsets_too() {
        let group: Arc<str> = header.group_name.into();
        shard.tell_all(|| Letter::GroupRemoved(Arc::clone(&group)));
    }
    Ok(Answer::Done)
}

type Asked = (Question, Conclude);

/// Progress of a group on all its topics, or on one. Topics that an online group no longer subscribes are left out.
fn consume_stats(shard: &Shard, desk: &Desk, request: &Request<'_>) -> Result<Asked, Refusal> {
    let header = ConsumeStatsHeader::from_ext(&request.header.ext)?;
    let only = header.topic.filter(|topic| !topic.is_empty());
    let meta = Arc::clone(desk.control.borrow().meta());
    let group: Box<str> = header.consumer_group.into();
    let question = Question::Group(group.clone(), only.map(Box::from));
    let broker_name = shard.config.broker_name.clone();
    let conclude = Box::new(move |findings: Findings| {
        let mut stats = ConsumeStats::default();
        for found in findings.queues {
            let Some(topic) = meta.topic(&found.topic) else { continue };
            let online = meta.subscriptions(&group);
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
        Answer::body(body)
    });
    Ok((question, conclude))
}

/// Groups that are online on a topic, or have committed offsets on it.
fn consumed_by(desk: &Desk, request: &Request<'_>) -> Result<Asked, Refusal> {
    let topic = TopicHeader::from_ext(&request.header.ext)?.topic;
    let control = desk.control.borrow();
    let online: Vec<String> =
        control.members().groups_of_topic(topic).into_iter().map(str::to_owned).collect();
    let conclude = Box::new(move |findings: Findings| {
        let mut groups: BTreeSet<String> = online.into_iter().collect();
        groups.extend(findings.groups.into_iter().map(String::from));
        let mut body = Vec::new();
        GroupList { group_list: groups.into_iter().collect() }.write(&mut body);
        Answer::body(body)
    });
    Ok((Question::GroupsOfTopic(topic.into()), conclude))
}
