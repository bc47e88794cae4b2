//! Administration of topics, served by the control owner: UPDATE_AND_CREATE_TOPIC, UPDATE_AND_CREATE_TOPIC_LIST,
//! DELETE_TOPIC_IN_BROKER, GET_TOPIC_CONFIG, GET_TOPIC_STATS_INFO, GET_SYSTEM_TOPIC_LIST_FROM_BROKER.

use super::{
    large_body,
    shard_report::{QueueReport, queues_of_topic},
};
use crate::{
    control::Control,
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use proto::{
    body::{
        MessageQueue, QueueBounds, TopicConfig, TopicConfigList, TopicFilterType, TopicList,
        TopicStatsTable,
    },
    request::{CreateTopicHeader, TopicHeader},
};
use std::rc::Rc;

/// UPDATE_AND_CREATE_TOPIC: answered when the change is durable and the name servers know it.
pub fn update(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let updated = worker.control_plane().change(&worker, |control| change(control, request));
    Box::pin(async move {
        let topic = updated?;
        worker.control_plane().shown(Some(&topic), None).await?;
        worker.control_plane().registered().await;
        Ok(Response::Done)
    })
}

/// UPDATE_AND_CREATE_TOPIC_LIST: all or none, answered as one is.
pub fn update_list(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let updated = worker.control_plane().change(&worker, |control| change_all(control, request));
    Box::pin(async move {
        for topic in updated? {
            worker.control_plane().shown(Some(&topic), None).await?;
        }
        worker.control_plane().registered().await;
        Ok(Response::Done)
    })
}

fn change_all(control: &mut Control, request: &Request<'_>) -> Result<Vec<String>, Refusal> {
    let wanted = TopicConfigList::read(request.body)?.topic_config_list;
    let names = wanted.iter().map(|topic| topic.topic_name.clone()).collect();
    control.update_topics(request.now, wanted)?;
    Ok(names)
}

fn change(control: &mut Control, request: &Request<'_>) -> Result<String, Refusal> {
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
        ..TopicConfig::default()
    };
    control.update_topic_with(request.now, wanted, header.attributes.unwrap_or_default())?;
    Ok(header.topic.to_owned())
}

/// DELETE_TOPIC_IN_BROKER: answered when the change is durable, every shard has dropped what it held of the topic, and no
/// older registration can bring it back.
pub fn delete(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let deleted = worker.control_plane().change(&worker, |control| {
        let topic = TopicHeader::from_ext(&request.header.ext)?.topic;
        control.delete_topic(request.now, topic)?;
        Ok::<_, Refusal>(topic.to_owned())
    });
    Box::pin(async move {
        let topic = deleted?;
        worker.control_plane().shown(Some(&topic), None).await?;
        worker.control_plane().no_stale_registration().await;
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
            let known = control.durable().topics.get(header.topic).cloned();
            known.ok_or_else(|| Refusal::topic_not_exist(header.topic))
        });
    Box::pin(async move {
        let config = config?;
        let queues = queues_of_topic(&worker, config.topic_name.clone(), None).await;
        let entries = queues.len().max(usize::try_from(config.write_queue_nums).unwrap_or(0));
        let settings = worker.shared_config();
        let traffic = &worker.control_plane().traffic;
        let now = worker.executor.uptime();
        traffic.refresh(now).await;
        let put_tps = traffic.look(|traffic| traffic.put_tps(&config.topic_name, now));
        let make = move || {
            let mut body = Vec::new();
            let mut table = stats_table(&config, &settings.broker_name, queues.into_iter());
            table.topic_put_tps = Some(put_tps);
            table.write(&mut body);
            body
        };
        Ok(Response::body(large_body::made(&worker, entries, make).await))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::fixtures::{control, with_request};
    use proto::code::{request, response};

    const FIELDS: [(&str, &str); 8] = [
        ("topic", "t"),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", "3"),
        ("writeQueueNums", "5"),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
    ];

    fn create(control: &mut Control, other: &[(&str, &str)]) -> Result<(), Refusal> {
        let mut fields = FIELDS.to_vec();
        for (name, value) in other {
            fields.retain(|(known, _)| known != name);
            fields.push((name, value));
        }
        let code = request::UPDATE_AND_CREATE_TOPIC;
        with_request(code, &fields, b"", |request| change(control, request).map(drop))
    }

    fn ask(control: &mut Control, topic: &str) -> Result<TopicConfig, Refusal> {
        let fields = [("topic", topic)];
        match with_request(request::GET_TOPIC_CONFIG, &fields, b"", |request| {
            one(control, request)
        })? {
            Response::Body(body, _) => Ok(TopicConfig::read(&body).expect("our own body")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_topic_is_as_it_was_asked_for_last() {
        let mut control = control();
        control.saved_effects();
        assert_eq!(ask(&mut control, "t").expect_err("not yet").code, response::TOPIC_NOT_EXIST);
        create(&mut control, &[]).expect("a good topic");
        let made = ask(&mut control, "t").expect("made");
        assert_eq!((made.read_queue_nums, made.write_queue_nums, made.perm), (3, 5, 6));
        create(&mut control, &[("readQueueNums", "8"), ("perm", "4"), ("order", "true")])
            .expect("changed");
        let changed = ask(&mut control, "t").expect("still there");
        assert_eq!((changed.read_queue_nums, changed.perm), (8, 4));
        assert!(!changed.order, "the name servers say which topics are ordered");
        let effects = control.saved_effects();
        assert_eq!(effects.topic_changes.len(), 2, "both have to be durable");
        assert!(effects.register && effects.publish.is_some());
    }

    #[test]
    fn a_topic_that_cannot_be_is_refused_and_changes_nothing() {
        let mut control = control();
        control.saved_effects();
        let cases = [
            ("topic", "a b", "illegal character"),
            ("topic", "", ""),
            ("readQueueNums", "70000", "70000"),
            ("writeQueueNums", "-1", "-1"),
            ("perm", "200", "200"),
            ("topicFilterType", "NO_TAG", "NO_TAG"),
            ("readQueueNums", "many", "readQueueNums"),
        ];
        for (name, value, named) in cases {
            let refusal = create(&mut control, &[(name, value)]).expect_err(name);
            assert_eq!(refusal.code, response::SYSTEM_ERROR, "{name}={value}");
            assert!(refusal.remark.contains(named), "{name}={value}: {}", refusal.remark);
        }
        let effects = control.saved_effects();
        assert!(effects.topic_changes.is_empty() && effects.publish.is_none());
    }

    #[test]
    fn system_topics_are_listed_by_name() {
        let listed =
            with_request(request::GET_SYSTEM_TOPIC_LIST_FROM_BROKER, &[], b"", |request| {
                system(&mut control(), request)
            });
        let Ok(Response::Body(body, _)) = listed else { panic!("a list") };
        let list = TopicList::read(&body).expect("our own body");
        assert!(list.topic_list.iter().any(|topic| topic == "TBW102"), "{list:?}");
        assert_eq!(list.broker_addr, None);
    }

    #[test]
    fn stats_name_every_write_queue_whatever_the_shards_know() {
        let config = TopicConfig {
            topic_name: "t".to_owned(),
            write_queue_nums: 3,
            ..TopicConfig::default()
        };
        let report = |queue_id, min, max| QueueReport {
            topic: "t".into(),
            queue_id,
            min,
            max,
            last_store_ms: 77,
            committed: None,
        };
        // Queue 7 was written when the topic had more queues.
        let found = [report(1, 2, 9), report(7, 0, 4)];
        let table = stats_table(&config, "broker-a", found.into_iter()).offset_table;
        let bounds: Vec<(i32, i64, i64, i64)> = table
            .iter()
            .map(|(queue, bounds)| {
                assert_eq!((&*queue.topic, &*queue.broker_name), ("t", "broker-a"));
                let last = bounds.last_update_timestamp;
                (queue.queue_id, bounds.min_offset, bounds.max_offset, last)
            })
            .collect();
        assert_eq!(bounds, [(0, 0, 0, 0), (1, 2, 9, 77), (2, 0, 0, 0)]);
    }
}
