//! Requests as tests send them who look at the answer itself, refusals included: text fields, a body, one message, one pull.

use client::{Answer, Connection, Message, PullRequest};
use proto::{code::request, command::ExtValue};
use serde_json::json;

/// Sends a request with these text fields, and waits for its answer.
pub fn ask(connection: &mut Connection, code: i32, ext: &[(&str, &str)]) -> Answer {
    ask_with(connection, code, ext, "")
}

/// The same, with a body.
pub fn ask_with(
    connection: &mut Connection,
    code: i32,
    ext: &[(&str, &str)],
    body: &str,
) -> Answer {
    let ext: Vec<(&str, ExtValue<'_>)> =
        ext.iter().map(|(name, value)| (*name, (*value).into())).collect();
    connection.call(code, &ext, body.as_bytes()).unwrap()
}

/// Pulls the first message of a topic's first queue.
pub fn pull_of(connection: &mut Connection, group: &str, topic: &str) -> Answer {
    let ticket = connection.start_pull(&PullRequest::new(group, topic, 0, 0)).unwrap();
    connection.finish(ticket).unwrap()
}

/// Sends a message to a topic's first queue.
pub fn send_to(connection: &mut Connection, topic: &str) -> Answer {
    let ticket = connection.start_send(&Message::new(topic, 0, b"body")).unwrap();
    connection.finish(ticket).unwrap()
}

/// The heartbeat of a consumer that wants everything of a topic.
pub fn heartbeat_of(connection: &mut Connection, group: &str, topic: &str) -> Answer {
    let subscription = json!({ "topic": topic, "subString": "*", "expressionType": "TAG" });
    let consumer = json!({
        "groupName": group, "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
        "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET", "subscriptionDataSet": [subscription],
    });
    let body = json!({ "clientID": "c", "consumerDataSet": [consumer], "producerDataSet": [] });
    ask_with(connection, request::HEART_BEAT, &[], &body.to_string())
}

/// Locks a topic's first queue for a group.
pub fn lock_of(connection: &mut Connection, group: &str, topic: &str) -> Answer {
    let queue = json!({ "topic": topic, "brokerName": "broker-a", "queueId": 0 });
    let body = json!({ "consumerGroup": group, "clientId": "c", "mqSet": [queue] });
    ask_with(connection, request::LOCK_BATCH_MQ, &[], &body.to_string())
}
