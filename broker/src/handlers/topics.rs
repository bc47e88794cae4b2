//! Administration of topics, served by the control owner: UPDATE_AND_CREATE_TOPIC, DELETE_TOPIC_IN_BROKER,
//! GET_TOPIC_CONFIG, GET_TOPIC_STATS_INFO, GET_SYSTEM_TOPIC_LIST_FROM_BROKER.

use super::shard_report::{QueueReport, queues_of_topic};
use crate::{
    control::Control,
    error::Refusal,
    mailbox::Notice,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use proto::{
    body::{MessageQueue, QueueBounds, TopicConfig, TopicFilterType, TopicList, TopicStatsTable},
    request::{CreateTopicHeader, TopicHeader},
};
use std::rc::Rc;

/// UPDATE_AND_CREATE_TOPIC: answered when the change is durable and the name servers know it.
pub fn update(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let updated = worker.control_plane().change(&worker, |control| change(control, request));
    Box::pin(async move {
        updated?;
        worker.control_plane().registered().await;
        worker.control_plane().durable().await?;
        Ok(Response::Done)
    })
}

fn change(control: &mut Control, request: &Request<'_>) -> Result<(), Refusal> {
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
    Ok(control.update_topic(request.now, wanted)?)
}

/// DELETE_TOPIC_IN_BROKER: answered when the change is durable and no older registration can bring the topic back.
pub fn delete(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let deleted = worker.control_plane().change(&worker, |control| {
        let topic = TopicHeader::from_ext(&request.header.ext)?.topic;
        control.delete_topic(request.now, topic)?;
        Ok::<_, Refusal>(topic)
    });
    if let Ok(topic) = deleted {
        worker.broadcast(&Notice::TopicRemoved(topic.into()));
    }
    let deleted = deleted.map(drop);
    Box::pin(async move {
        deleted?;
        worker.control_plane().no_stale_registration().await;
        worker.control_plane().durable().await?;
        Ok(Response::Done)
    })
}

/// GET_TOPIC_CONFIG.
pub fn one(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let topic = TopicHeader::from_ext(&request.header.ext)?.topic;
    let config = control.topics().get(topic).ok_or_else(|| Refusal::topic_not_exist(topic))?;
    let mut body = Vec::new();
    config.write(&mut body);
    Ok(Response::body(body))
}

/// GET_SYSTEM_TOPIC_LIST_FROM_BROKER.
pub fn system(control: &mut Control, _request: &Request<'_>) -> Result<Response, Refusal> {
    let topic_list = control.topics().system().names().map(str::to_owned).collect();
    let mut body = Vec::new();
    TopicList { topic_list, broker_addr: None }.write(&mut body);
    Ok(Response::body(body))
}

/// GET_TOPIC_STATS_INFO, gathered from all shards.
pub fn stats(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let config =
        TopicHeader::from_ext(&request.header.ext).map_err(Refusal::from).and_then(|header| {
            let control = worker.control_plane().control.borrow();
            control
                .topics()
                .get(header.topic)
                .cloned()
                .ok_or_else(|| Refusal::topic_not_exist(header.topic))
        });
    Box::pin(async move {
        let config = config?;
        let topic = config.topic_name.clone();
        let seen =
            worker.gather(move |shard| queues_of_topic(&shard.store.state(), &topic, None)).await;
        let queues = seen.into_iter().flatten();
        let table = stats_table(&config, &worker.config.broker_name, queues);
        let mut body = Vec::new();
        table.write(&mut body);
        Ok(Response::body(body))
    })
}

/// One entry per write queue, as tools expect; queues that were never written included.
fn stats_table(
    config: &TopicConfig,
    broker_name: &str,
    queues: impl Iterator<Item = QueueReport>,
) -> TopicStatsTable {
    let mut table = TopicStatsTable::default();
    let queue = |queue_id: i32| MessageQueue {
        topic: config.topic_name.clone(),
        broker_name: broker_name.to_owned(),
        queue_id,
    };
    for queue_id in 0..config.write_queue_nums.max(0) {
        table.offset_table.insert(queue(queue_id), QueueBounds::default());
    }
    for found in queues {
        let Ok(queue_id) = i32::try_from(found.queue_id) else { continue };
        if let Some(bounds) = table.offset_table.get_mut(&queue(queue_id)) {
            bounds.min_offset = found.min;
            bounds.max_offset = found.max;
            bounds.last_update_timestamp = found.last_store_ms;
        }
    }
    table
}
