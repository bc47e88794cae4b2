//! Requests as bytes, for tests that send what no client of ours would: without waiting, in parts, or wrong.

use client::Answer;
use proto::{
    code::{request, response},
    command::{self, ExtValue, Language, RequestHead},
    frame::HeaderKind,
};

/// A request as a Java client frames it.
pub fn frame(code: i32, ext: &[(&str, ExtValue<'_>)], body: &[u8]) -> Vec<u8> {
    frame_as(HeaderKind::Json, code, false, ext, body)
}

/// The same, in either encoding, and with or without a wish for an answer.
pub fn frame_as(
    kind: HeaderKind,
    code: i32,
    oneway: bool,
    ext: &[(&str, ExtValue<'_>)],
    body: &[u8],
) -> Vec<u8> {
    let mut out = Vec::new();
    let (language, version, opaque) = (Language::Java, 409, 7);
    let head = RequestHead { code, language, version, opaque, oneway, remark: None, ext };
    command::write_request(&mut out, kind, &head, body);
    out
}

/// A pull of the group "stuck" from the beginning of a queue, which does not wait for messages.
pub fn pull(topic: &str, queue: i32, count_max: i32) -> Vec<u8> {
    let fields = [
        ("consumerGroup", "stuck".into()),
        ("topic", topic.into()),
        ("queueId", queue.into()),
        ("queueOffset", 0.into()),
        ("maxMsgNums", count_max.into()),
        ("sysFlag", 4.into()),
        ("commitOffset", 0.into()),
        ("suspendTimeoutMillis", 0.into()),
        ("subscription", "*".into()),
        ("expressionType", "TAG".into()),
        ("subVersion", 0.into()),
    ];
    frame(request::PULL_MESSAGE, &fields, &[])
}

/// Whether a heartbeat was taken in as a whole.
pub fn is_taken_in(answer: &Answer) -> bool {
    answer.code == response::SUCCESS
}

/// Whether a heartbeat was taken in but for parts that are over a limit, and its sender is told so.
pub fn is_taken_in_part(answer: &Answer) -> bool {
    let remark = answer.remark.as_deref().unwrap_or_default();
    let says = ["parts of the heartbeat are left out", "key=memoryBudgetMiB"];
    answer.code == response::SYSTEM_ERROR && says.iter().all(|part| remark.contains(part))
}

/// The body of a heartbeat of a client that consumes in many groups, each with these subscriptions, which are JSON.
pub fn heartbeat(
    client_id: &str,
    groups: impl Iterator<Item = String>,
    subscriptions: &str,
) -> Vec<u8> {
    let groups = groups.map(|group| {
        format!(
            r#"{{"groupName":"{group}","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","subscriptionDataSet":{subscriptions},"unitMode":false}}"#
        )
    });
    let groups = groups.collect::<Vec<_>>().join(",");
    format!(r#"{{"clientID":"{client_id}","consumerDataSet":[{groups}],"producerDataSet":[]}}"#)
        .into_bytes()
}
