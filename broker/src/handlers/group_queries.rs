//! What tools ask about a group beside its progress: QUERY_TOPICS_BY_CONSUMER, QUERY_SUBSCRIPTION_BY_CONSUMER,
//! QUERY_CONSUME_TIME_SPAN.

use super::{
    consume_times, large_body,
    shard_report::{QueueReport, queues_of_topic, topics_of_group},
};
use crate::{
    control::Control,
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use proto::{
    body::{ConsumeTimeSpans, GroupSubscription, MessageQueue, QueueTimeSpan, TopicList},
    request::{GroupHeader, GroupTopicHeader},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// QUERY_TOPICS_BY_CONSUMER: topics on which the group has committed offsets, with our address, as by 5.x.
pub fn topics(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let asked = GroupHeader::from_ext(&request.header.ext).map(|header| header.group.to_owned());
    Box::pin(async move {
        let seen = topics_of_group(&worker, asked?).await;
        let entries = seen.len();
        let broker_addr = Some(worker.config().client_address());
        let make = move || {
            let names: BTreeSet<Box<str>> = seen.into_iter().collect();
            let topic_list = names.into_iter().map(String::from).collect();
            let mut body = Vec::new();
            TopicList { topic_list, broker_addr }.write(&mut body);
            body
        };
        Ok(Response::body(large_body::made(&worker, entries, make).await))
    })
}

/// QUERY_SUBSCRIPTION_BY_CONSUMER: what the group, being online, wants from a topic.
pub fn subscription(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let GroupTopicHeader { group, topic } = GroupTopicHeader::from_ext(&request.header.ext)?;
    let wish = control.members().subscription(group, topic);
    let found = GroupSubscription {
        group: group.to_owned(),
        subscription_data: wish.map(|wish| wish.to_data()),
        topic: topic.to_owned(),
    };
    let mut body = Vec::new();
    found.write(&mut body);
    Ok(Response::body(body))
}

/// QUERY_CONSUME_TIME_SPAN: from when to when each queue of a topic has messages, and how far a group is there.
pub fn time_spans(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let asked = GroupTopicHeader::from_ext(&request.header.ext).map_err(Refusal::from);
    let asked = asked.and_then(|GroupTopicHeader { group, topic }| {
        let control = worker.control_plane().control.borrow();
        let config = control.snapshot().topic(topic);
        let config = config.ok_or_else(|| Refusal::topic_not_exist(topic))?;
        Ok((group.to_owned(), topic.to_owned(), config.write_queue_nums))
    });
    let (asker, now) = (request.peer.connection, request.now);
    Box::pin(async move {
        let (group, topic, queues) = asked?;
        let reports = queues_of_topic(&worker, topic.clone(), Some(group)).await;
        let wanted: Vec<(&QueueReport, i64)> =
            reports.iter().flat_map(|report| asked_of(report).map(|at| (report, at))).collect();
        let times = consume_times::all_stored_ms(&worker, asker, &wanted).await;
        let settings = worker.shared_config();
        let entries = reports.len().max(usize::try_from(queues).unwrap_or(0));
        let make = move || {
            let times = times.chunks_exact(3).map(|it| [it[0], it[1], it[2]]);
            let known: BTreeMap<u32, Times> = reports
                .iter()
                .zip(times)
                .map(|(report, times)| (report.queue_id, Times::of(report, times)))
                .collect();
            let spans = (0..queues).map(|queue_id| {
                let of_queue = u32::try_from(queue_id).ok().and_then(|id| known.get(&id));
                let broker_name = settings.broker_name.clone();
                let queue = MessageQueue { topic: topic.clone(), broker_name, queue_id };
                of_queue.unwrap_or(&Times::EMPTY).span(queue, now)
            });
            let mut body = Vec::new();
            ConsumeTimeSpans { consume_time_span_set: spans.collect() }.write(&mut body);
            body
        };
        Ok(Response::body(large_body::made(&worker, entries, make).await))
    })
}

/// Offsets whose times an answer needs: the first message, the last one that was consumed, the next one.
fn asked_of(report: &QueueReport) -> [i64; 3] {
    let next = report.committed.unwrap_or(0).max(report.min);
    [report.min, next - 1, next]
}

/// When what a queue holds was stored, ms; -1 for what does not exist or cannot be read.
struct Times {
    first: i64,
    last: i64,
    /// As in Java it is the first one when nothing was consumed.
    consumed: i64,
    /// `None`: the group has consumed all.
    next: Option<i64>,
}

impl Times {
    const EMPTY: Times = Times { first: -1, last: -1, consumed: -1, next: None };

    fn of(report: &QueueReport, [first, consumed, next]: [i64; 3]) -> Times {
        if report.max == report.min {
            return Times::EMPTY;
        }
        let known = |time: i64, instead: i64| if time > 0 { time } else { instead };
        let first = known(first, -1);
        // A time that cannot be read is taken for the one before it, so that nothing looks consumed that is not.
        let consumed = known(consumed, first);
        let all_is_consumed = report.committed.is_some_and(|committed| committed >= report.max);
        Times {
            first,
            last: known(report.last_store_ms, -1),
            consumed,
            next: (!all_is_consumed).then(|| known(next, consumed)).filter(|next| *next > 0),
        }
    }

    fn span(&self, message_queue: MessageQueue, now: i64) -> QueueTimeSpan {
        QueueTimeSpan {
            consume_time_stamp: self.consumed,
            delay_time: self.next.map_or(0, |next| (now - next).max(0)),
            max_time_stamp: self.last,
            message_queue,
            min_time_stamp: self.first,
        }
    }
}
