//! Administration of topics: UPDATE_AND_CREATE_TOPIC, DELETE_TOPIC_IN_BROKER, GET_ALL_TOPIC_CONFIG, GET_TOPIC_CONFIG,
//! GET_TOPIC_STATS_INFO, GET_SYSTEM_TOPIC_LIST_FROM_BROKER. Served by the control owner on the control worker.

use crate::{
    control::plane::ControlPlane,
    error::Refusal,
    gather::{ShardQuery, ShardReport},
    handlers::whole_table,
    mailbox::Notice,
    request::Request,
    response::{Responder, Response},
    worker::{CONTROL_WORKER, Worker},
};
use proto::{
    body::{MessageQueue, QueueBounds, TopicConfig, TopicFilterType, TopicList, TopicStatsTable},
    code::request,
    request::{CreateTopicHeader, TopicHeader},
};
use std::{rc::Rc, sync::Arc};

/// Serves the request, sending it on to the control worker.
pub fn serve(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    let Some(plane) = &worker.control else {
        return worker.forward(CONTROL_WORKER, request, responder);
    };
    let response = match request.header.code {
        request::UPDATE_AND_CREATE_TOPIC => match update(plane, request) {
            Ok(response) => return plane.answer_registered(worker, responder, response),
            Err(refusal) => Err(refusal),
        },
        request::DELETE_TOPIC_IN_BROKER => match delete(worker, plane, request) {
            Ok(response) => return plane.answer_overtaken(worker, responder, response),
            Err(refusal) => Err(refusal),
        },
        request::GET_ALL_TOPIC_CONFIG => return whole_table::all_topics(worker, plane, responder),
        request::GET_TOPIC_CONFIG => one(plane, request),
        request::GET_TOPIC_STATS_INFO => match stats(worker, plane, request) {
            Ok((query, finish)) => return plane.gather(worker, responder, query, finish),
            Err(refusal) => Err(refusal),
        },
        _ => Ok(system_topics(plane)),
    };
    plane.answer_durably(worker, responder, response.unwrap_or_else(Response::from));
}

fn update(plane: &ControlPlane, request: &Request<'_>) -> Result<Response, Refusal> {
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
    plane
        .control
        .borrow_mut()
        .update_topic(request.now, wanted)
        .map_err(|error| Refusal::system_error(error.to_string()))?;
    Ok(Response::Done)
}

fn delete(
    worker: &Rc<Worker>,
    plane: &ControlPlane,
    request: &Request<'_>,
) -> Result<Response, Refusal> {
    let topic = TopicHeader::from_ext(&request.header.ext)?.topic;
    plane
        .control
        .borrow_mut()
        .delete_topic(request.now, topic)
        .map_err(|error| Refusal::system_error(error.to_string()))?;
    let topic: Arc<str> = topic.into();
    worker.broadcast(&Notice::TopicRemoved(topic));
    Ok(Response::Done)
}

fn one(plane: &ControlPlane, request: &Request<'_>) -> Result<Response, Refusal> {
    let topic = TopicHeader::from_ext(&request.header.ext)?.topic;
    let control = plane.control.borrow();
    let config = control.topics().get(topic).ok_or_else(|| Refusal::topic_not_exist(topic))?;
    let mut body = Vec::new();
    config.write(&mut body);
    Ok(Response::body(body))
}

type Asked = (ShardQuery, crate::gather::Finish);

/// One entry per write queue, as tools expect; queues that were never written included.
fn stats(worker: &Worker, plane: &ControlPlane, request: &Request<'_>) -> Result<Asked, Refusal> {
    let topic = TopicHeader::from_ext(&request.header.ext)?.topic;
    let control = plane.control.borrow();
    let config = control.topics().get(topic).ok_or_else(|| Refusal::topic_not_exist(topic))?;
    let config = Arc::clone(config);
    let broker_name = worker.config.broker_name.clone();
    let query = ShardQuery::Topic(topic.into());
    let finish = Box::new(move |report: ShardReport| {
        let mut table = TopicStatsTable::default();
        let queue = |queue_id: i32| MessageQueue {
            topic: config.topic_name.clone(),
            broker_name: broker_name.clone(),
            queue_id,
        };
        for queue_id in 0..config.write_queue_nums.max(0) {
            table.offset_table.insert(queue(queue_id), QueueBounds::default());
        }
        for found in &report.queues {
            let Ok(queue_id) = i32::try_from(found.queue_id) else { continue };
            if let Some(bounds) = table.offset_table.get_mut(&queue(queue_id)) {
                bounds.min_offset = found.min;
                bounds.max_offset = found.max;
                bounds.last_update_timestamp = found.last_store_ms;
            }
        }
        let mut body = Vec::new();
        table.write(&mut body);
        Response::body(body)
    });
    Ok((query, finish))
}

fn system_topics(plane: &ControlPlane) -> Response {
    let control = plane.control.borrow();
    let names: Vec<String> = control.topics().system().names().map(str::to_owned).collect();
    let mut body = Vec::new();
    TopicList { topic_list: names, broker_addr: None }.write(&mut body);
    Response::body(body)
}
