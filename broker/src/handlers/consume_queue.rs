//! QUERY_CONSUME_QUEUE: the entries of a queue as they are, and what a group wants of them, for people who look for a message
//! that nobody gets. Served where the queue is; entries of old messages are read from its index files.

use crate::{
    control::Subscription,
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use proto::{
    body::{ConsumeQueueAnswer, ConsumeQueueEntry, ConsumerFilter, SubscriptionData},
    code::response,
    request::QueryConsumeQueueHeader,
};
use std::rc::Rc;
use store::{PhysicalOffset, consume_queue::Entry};

/// Entries of an answer. More are asked for from where it ends; Java's ends with a file of the queue.
const ENTRIES_MAX: i32 = 1_024;

/// What is asked for.
struct Asked {
    topic: String,
    queue_id: u32,
    index: i64,
    count: usize,
    group: Option<String>,
}

impl Asked {
    fn of(request: &Request<'_>) -> Result<Asked, Refusal> {
        let place = request.queue()?;
        let header = QueryConsumeQueueHeader::from_ext(&request.header.ext)?;
        Ok(Asked {
            topic: place.topic.to_owned(),
            queue_id: place.queue_id,
            index: header.index,
            count: usize::try_from(header.count.min(ENTRIES_MAX)).unwrap_or(0),
            group: header.consumer_group.map(str::to_owned),
        })
    }

    /// Refuses what is not there, with Java's words. To ask for an entry that is not there is a success with a remark, as by
    /// Java.
    fn check(&self, bounds: Option<(i64, i64)>) -> Result<(i64, i64), Refusal> {
        let Asked { topic, queue_id, index, .. } = self;
        let queue = format!("{queue_id}@{topic}");
        let (min, max) =
            bounds.ok_or_else(|| Refusal::system_error(format!("{queue} is not exist!")))?;
        if (min..max).contains(index) {
            return Ok((min, max));
        }
        let remark = format!("Index {index} of {queue} is not exist!");
        Err(Refusal::new(response::SUCCESS, remark))
    }
}

/// Serves the request.
pub fn query(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let asked = Asked::of(request);
    let asker = request.peer.connection;
    Box::pin(async move {
        let asked = asked?;
        let shard = worker.owner_of(&asked.topic, asked.queue_id);
        let store = Rc::clone(&worker.hosted_shard(shard).store);
        let bounds = {
            let state = store.state();
            state.queue(&asked.topic, asked.queue_id).map(|queue| (queue.min(), queue.max()))
        };
        let (min, max) = asked.check(bounds)?;
        let (topic, queue_id, index, count) =
            (asked.topic.clone(), asked.queue_id, asked.index, asked.count);
        let read = async move { store.entries_from(&topic, queue_id, index, count).await };
        let entries = worker.cold_reads.read(asker, read).await??;
        let (subscription_data, filter_data) = wish(&worker, &asked);
        let answer = ConsumeQueueAnswer {
            filter_data,
            max_queue_index: max,
            min_queue_index: min,
            queue_data: entries.into_iter().map(|(_, entry)| shown(shard, entry)).collect(),
            subscription_data,
        };
        let mut body = Vec::new();
        answer.write(&mut body);
        Ok(Response::body(body))
    })
}

/// An entry as tools see it. There is no extension of queues here, and nothing is said of one.
fn shown(shard: u16, entry: Entry) -> ConsumeQueueEntry {
    let lost = entry.bytes() == 0;
    ConsumeQueueEntry {
        msg: lost.then(|| "its message is lost to damage of the log".to_owned()),
        physic_offset: PhysicalOffset::new(shard, entry.position()).to_wire(),
        physic_size: i32::try_from(entry.bytes()).unwrap_or(i32::MAX),
        tags_code: entry.tags_code(),
        ..ConsumeQueueEntry::default()
    }
}

/// What the group that was named wants from the topic, and its filter.
fn wish(worker: &Worker, asked: &Asked) -> (Option<SubscriptionData>, Option<String>) {
    let Some(group) = &asked.group else { return (None, None) };
    let metadata = worker.metadata.borrow();
    match metadata.subscription(group, &asked.topic) {
        Some(wish) => (Some(wish.to_data()), Some(filter_json(group, wish))),
        None => (None, Some(format!("{group}@{} is not online!", asked.topic))),
    }
}

/// A filter by tags is in the subscription already; Java prints that there is no other.
fn filter_json(group: &str, wish: &Subscription) -> String {
    if wish.is_tag() {
        return "null".to_owned();
    }
    let filter = ConsumerFilter {
        client_version: wish.sub_version,
        consumer_group: group.to_owned(),
        expression: wish.sub_string.clone(),
        expression_type: wish.expression_type.clone(),
        topic: wish.topic.clone(),
    };
    let mut json = Vec::new();
    filter.write(&mut json);
    String::from_utf8_lossy(&json).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::fixtures::with_request;
    use proto::code::request;

    fn asked(fields: &[(&str, &str)]) -> Result<Asked, Refusal> {
        let fields = [&[("topic", "t"), ("queueId", "3")], fields].concat();
        with_request(request::QUERY_CONSUME_QUEUE, &fields, b"", Asked::of)
    }

    #[test]
    fn as_many_entries_are_asked_for_as_an_answer_has() {
        for (count, expected) in
            [("10", 10), ("0", 0), ("-1", 0), ("1024", 1_024), ("2147483647", 1_024), ("x", 0)]
        {
            assert_eq!(asked(&[("count", count)]).expect(count).count, expected, "{count}");
        }
        let bare = asked(&[]).expect("numbers may be absent");
        assert_eq!((bare.index, bare.count, bare.group), (0, 0, None));
    }

    #[test]
    fn what_is_not_there_is_said_as_java_does() {
        let check = |index: &str, bounds| asked(&[("index", index)]).expect("asked").check(bounds);
        assert_eq!(check("4", Some((4, 9))), Ok((4, 9)));
        let refusal = check("0", None).expect_err("no queue");
        assert_eq!((refusal.code, &*refusal.remark), (1, "3@t is not exist!"));
        for index in ["3", "9", "-1", "9223372036854775807"] {
            let refusal = check(index, Some((4, 9))).expect_err(index);
            assert_eq!(refusal.code, response::SUCCESS);
            assert_eq!(refusal.remark, format!("Index {index} of 3@t is not exist!"));
        }
    }

    #[test]
    fn an_entry_names_its_message() {
        let entry = shown(1, Entry::new(700, 90, -5).with_check(0xFFFF));
        let place = PhysicalOffset::new(1, 700).to_wire();
        assert_eq!((entry.physic_offset, entry.physic_size, entry.tags_code), (place, 90, -5));
        assert_eq!(entry.msg, None);
        assert!(shown(0, Entry::new(700, 0, 0)).msg.is_some_and(|msg| msg.contains("lost")));
    }

    #[test]
    fn a_filter_is_shown_with_its_expression() {
        let wish = |expression_type: &str, sub_string: &str| {
            Subscription::from_heartbeat(&SubscriptionData {
                topic: "t".to_owned(),
                expression_type: expression_type.to_owned(),
                sub_string: sub_string.to_owned(),
                sub_version: 7,
                ..SubscriptionData::default()
            })
        };
        assert_eq!(filter_json("g", &wish("TAG", "a || b")), "null");
        assert_eq!(
            filter_json("g", &wish("SQL92", "a = 'x'")),
            r#"{"clientVersion":7,"consumerGroup":"g","expression":"a = 'x'","expressionType":"SQL92","topic":"t"}"#
        );
    }
}
