//! Traces of messages, which Java's clients write when message trace is on, in messages of their own in the trace topic:
//! written for a sent message, and read. Source: Apache RocketMQ 4.9.8, `SendMessageTraceHookImpl`, `TraceDataEncoder`.

use super::producer::{OutgoingMessage, SendResult, SendStatus};
use super::{AdminError, DefaultMqAdminExt, body_of};
use crate::Received;
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

/// What a trace tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceKind {
    /// The message was sent.
    Pub,
    /// A consumer was done with it.
    SubAfter,
}

/// A trace that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceView {
    /// What it tells of.
    pub kind: TraceKind,
    /// The producer's or consumer's group; consumers before 4.7 do not tell.
    pub group: Option<String>,
    /// Where that client ran.
    pub client_host: String,
    /// When, ms since the epoch; 0 of consumers before 4.7.
    pub time_ms: i64,
    /// How long it took.
    pub cost_ms: i64,
    /// Whether it went well.
    pub success: bool,
}

/// What a message of the trace topic tells of the message with this id of its producer.
pub fn traces_of(id: &str, message: &Received) -> Result<Vec<TraceView>, AdminError> {
    let body = body_of(message)?;
    let client_host = message.born_host.ip().to_string();
    Ok(decoded(&String::from_utf8_lossy(&body), id, &client_host))
}

/// Traces of other messages and of other kinds are passed by, as those are that lack a field.
fn decoded(text: &str, id: &str, client_host: &str) -> Vec<TraceView> {
    let traces = text.split(TRACE_END);
    traces.filter_map(|trace| decoded_one(trace, id, client_host)).collect()
}

fn decoded_one(trace: &str, id: &str, client_host: &str) -> Option<TraceView> {
    let fields: Vec<&str> = trace.split(FIELD_END).collect();
    let field = |index: usize| fields.get(index).copied();
    let view = |kind, group: Option<&str>, time_ms, cost_ms, success: &str| TraceView {
        kind,
        group: group.map(str::to_owned),
        client_host: client_host.to_owned(),
        time_ms,
        cost_ms,
        success: success.eq_ignore_ascii_case("true"),
    };
    match field(0)? {
        "Pub" if field(5)? == id => {
            // Before 4.4 without the broker's id.
            let success = if fields.len() == 13 { field(12) } else { field(13) };
            let (time_ms, cost_ms) = (field(1)?.parse().ok()?, field(10)?.parse().ok()?);
            Some(view(TraceKind::Pub, field(3), time_ms, cost_ms, success?))
        }
        "SubAfter" if field(2)? == id => {
            let time_ms = field(7).and_then(|text| text.parse().ok()).unwrap_or(0);
            Some(view(TraceKind::SubAfter, field(8), time_ms, field(3)?.parse().ok()?, field(4)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fields: &[&str]) -> String {
        format!("{}{TRACE_END}", fields.join(&FIELD_END.to_string()))
    }

    #[test]
    fn traces_are_read() {
        let sent =
            ["Pub", "1000", "R", "p", "t", "ID", "", "k", "h:1", "5", "7", "0", "OID", "true"];
        let other =
            ["Pub", "1000", "R", "p", "t", "IX", "", "k", "h:1", "5", "7", "0", "OID", "true"];
        let got = ["SubAfter", "RID", "ID", "3", "false", "k", "0", "2000", "g"];
        let old = ["SubAfter", "RID", "ID", "3", "true", "k"];
        let before = ["SubBefore", "1000", "R", "g", "RID", "ID", "0", "k"];
        let text: String =
            [&sent[..], &other, &got, &old, &before, &["Pub", "x"]].map(line).concat();
        let found = decoded(&text, "ID", "10.0.0.7");
        let kinds: Vec<_> = found.iter().map(|t| (t.kind, t.group.as_deref(), t.success)).collect();
        let expected = [
            (TraceKind::Pub, Some("p"), true),
            (TraceKind::SubAfter, Some("g"), false),
            (TraceKind::SubAfter, None, true),
        ];
        assert_eq!(kinds, expected);
        assert_eq!((found[0].time_ms, found[0].cost_ms), (1000, 7));
        assert_eq!((found[1].time_ms, found[2].time_ms), (2000, 0));
    }
}
