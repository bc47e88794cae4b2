//! Administration of topics: UPDATE_AND_CREATE_TOPIC, DELETE_TOPIC_IN_BROKER, GET_ALL_TOPIC_CONFIG, GET_TOPIC_CONFIG,
//! GET_TOPIC_STATS_INFO, GET_SYSTEM_TOPIC_LIST_FROM_BROKER. Served by the control owner on executor 0.

use crate::{
    desk::Desk,
    error::Refusal,
    front::dispatch::Request,
    letter::{Answer, Letter, Reply},
    shard::Shard,
    survey::{Findings, Question},
};
use proto::{
    body::{MessageQueue, QueueBounds, TopicConfig, TopicFilterType, TopicList, TopicStatsTable},
    code::request,
    request::{CreateTopicHeader, TopicHeader},
};
use std::{rc::Rc, sync::Arc};

/// Serves the request, sending it on to executor 0.
pub fn serve(shard: &Rc<Shard>, request: &Request<'_>, reply: Reply) {
    let Some(desk) = &shard.control else {
        return shard.forward_frame(0, request, reply);
    };
    let answer = match request.header.code {
        request::UPDATE_AND_CREATE_TOPIC => match update(desk, request) {
            Ok(answer) => return desk.answer_registered(shard, reply, answer),
            Err(refusal) => Err(refusal),
        },
        request::DELETE_TOPIC_IN_BROKER => match delete(shard, desk, request) {
            Ok(answer) => return desk.answer_overtaken(shard, reply, answer),
            Err(refusal) => Err(refusal),
        },
        request::GET_ALL_TOPIC_CONFIG => Ok(Answer::body(desk.control.borrow().topics_json())),
        request::GET_TOPIC_CONFIG => one(desk, request),
        request::GET_TOPIC_STATS_INFO => match stats(shard, desk, request) {
            Ok((question, conclude)) => return desk.survey(shard, reply, question, conclude),
            Err(refusal) => Err(refusal),
        },
        _ => Ok(system_topics(desk)),
    };
    desk.answer_durably(shard, reply, answer.unwrap_or_else(Answer::from));
}

fn update(desk: &Desk, request: &Request<'_>) -> Result<Answer, Refusal> {
    let header = CreateTopicHeader::from_ext(&request.header.ext)?;
    let filter_type = TopicFilterType::from_name(header.topic_filter_type).ok_or_else(|| {
        Refusal::system_error(format!(
            "topicFilterType is {:?}, expected SINGLE_TAG or MULTI_TAG",
            header.topic_filter_type
        ))
    })?;
    let wanted = TopicConfig {
        topic_name: header.topic.to_owned(),
        read_queue_nums: header.read_queue_nums,
        write_queue_nums: header.write_queue_nums,
        perm: header.perm,
        topic_filter_type: filter_type,
        topic_sys_flag: header.topic_sys_flag,
        order: header.order,
    };
    desk.control
        .borrow_mut()
        .update_topic(request.now, wanted)
        .map_err(|error| Refusal::system_error(error.to_string()))?;
    Ok(Answer::Done)
}

fn delete(shard: &Rc<Shard>, desk: &Desk, request: &Request<'_>) -> Result<Answer, Refusal> {
    let topic = TopicHeader::from_ext(&request.header.ext)?.topic;
    desk.control
        .borrow_mut()
        .delete_topic(request.now, topic)
        .map_err(|error| Refusal::system_error(error.to_string()))?;
    let topic: Arc<str> = topic.into();
    shard.tell_all(|| Letter::TopicRemoved(Arc::clone(&topic)));
    Ok(Answer::Done)
}

fn one(desk: &Desk, request: &Request<'_>) -> Result<Answer, Refusal> {
    let topic = TopicHeader::from_ext(&request.header.ext)?.topic;
    let control = desk.control.borrow();
    let config = control.topics().get(topic).ok_or_else(|| Refusal::topic_not_exist(topic))?;
    let mut body = Vec::new();
    config.write(&mut body);
    Ok(Answer::body(body))
}

type Asked = (Question, crate::survey::Conclude);

/// One entry per write queue, as tools expect; queues that were never written included.
fn stats(shard: &Shard, desk: &Desk, request: &Request<'_>) -> Result<Asked, Refusal> {
    let topic = TopicHeader::from_ext(&request.header.ext)?.topic;
    let control = desk.control.borrow();
    let config = control.topics().get(topic).ok_or_else(|| Refusal::topic_not_exist(topic))?;
    let config = Arc::clone(config);
    let broker_name = shard.config.broker_name.clone();
    let question = Question::Topic(topic.into());
    let conclude = Box::new(move |findings: Findings| {
        let mut table = TopicStatsTable::default();
        let queue = |queue_id: i32| MessageQueue {
            topic: config.topic_name.clone(),
            broker_name: broker_name.clone(),
            queue_id,
        };
        for queue_id in 0..config.write_queue_nums.max(0) {
            table.offset_table.insert(queue(queue_id), QueueBounds::default());
        }
        for found in &findings.queues {
            let Ok(queue_id) = i32::try_from(found.queue_id) else { continue };
            if let Some(bounds) = table.offset_table.get_mut(&queue(queue_id)) {
                bounds.min_offset = found.min;
                bounds.max_offset = found.max;
                bounds.last_update_timestamp = found.last_store_ms;
            }
        }
        let mut body = Vec::new();
        table.write(&mut body);
        Answer::body(body)
    });
    Ok((question, conclude))
}

fn system_topics(desk: &Desk) -> Answer {
    let control = desk.control.borrow();
    let names: Vec<String> = control.topics().system().names().map(str::to_owned).collect();
    let mut body = Vec::new();
    TopicList { topic_list: names, broker_addr: None }.write(&mut body);
    Answer::body(body)
}
