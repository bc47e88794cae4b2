//! The trace of a sent message, as Java's producers write it when message trace is on: a message of its own in the trace
//! topic. Source: Apache RocketMQ 4.9.8, `SendMessageTraceHookImpl`, `TraceDataEncoder`.

use super::producer::{OutgoingMessage, SendResult, SendStatus};
use super::{AdminError, DefaultMqAdminExt};
use crate::send::now_ms;

/// Where traces are kept, unless a broker is told otherwise.
const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
const TRACE_GROUP: &str = "_INNER_TRACE_PRODUCER";
/// Between the fields of a trace, and behind it.
const FIELD_END: char = '\u{1}';
const TRACE_END: char = '\u{2}';
/// An ordinary message, as ordinal of Java's `MessageType`.
const NORMAL_MESSAGE: i32 = 0;

impl DefaultMqAdminExt {
    /// Writes the trace of a message that was sent from `begin_ms` on, unless its broker wants none. Returns whether it did.
    pub async fn send_trace(
        &self,
        message: &OutgoingMessage,
        sent: &SendResult,
        begin_ms: i64,
    ) -> Result<bool, AdminError> {
        if !sent.trace_on {
            return Ok(false);
        }
        let property = |name: &str| {
            let mut all = message.properties.iter();
            all.find(|(other, _)| other == name).map(|(_, value)| value.as_str())
        };
        let keys = property("KEYS");
        let trace_keys = [Some(sent.id.as_str()), keys].into_iter().flatten();
        let trace_keys = trace_keys.collect::<Vec<_>>().join(" ");
        let trace = OutgoingMessage {
            topic: TRACE_TOPIC.to_owned(),
            body: encoded(message, sent, property("TAGS"), keys, begin_ms).into_bytes(),
            properties: vec![("KEYS".to_owned(), trace_keys)],
            flag: 0,
            group: TRACE_GROUP.to_owned(),
        };
        self.send(&trace, None).await.map(|_| true)
    }
}

fn encoded(
    message: &OutgoingMessage,
    sent: &SendResult,
    tags: Option<&str>,
    keys: Option<&str>,
    begin_ms: i64,
) -> String {
    let fields = [
        "Pub".to_owned(),
        begin_ms.to_string(),
        sent.region.clone(),
        message.group.clone(),
        message.topic.clone(),
        sent.id.clone(),
        // Readers know no other word for none.
        tags.unwrap_or("null").to_owned(),
        keys.unwrap_or("null").to_owned(),
        sent.broker_addr.clone(),
        message.body.len().to_string(),
        (now_ms() - begin_ms).max(0).to_string(),
        NORMAL_MESSAGE.to_string(),
        sent.offset_id.clone(),
        (sent.status == SendStatus::SendOk).to_string(),
    ];
    let mut text = fields.join(&FIELD_END.to_string());
    text.push(TRACE_END);
    text
}
