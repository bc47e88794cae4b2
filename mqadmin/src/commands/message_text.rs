//! Messages as commands show them: facts for JSON, Java's `MessageExt [...]`, bodies as text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::Received;
use client::admin_ext::body_of;
use proto::body::MessageQueue;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::Output;
use crate::text::{self, or_null};

/// The property with the producer's id of a message.
pub(crate) const UNIQUE_ID: &str = "UNIQ_KEY";
/// Bytes of a body that is no text which are shown.
const SHOWN_BYTES_MAX: usize = 32;

/// The id by which clients know a message: the producer's, else the broker's.
pub(crate) fn client_id(message: &Received) -> String {
    message.property(UNIQUE_ID).map_or_else(|| message.message_id(), str::to_owned)
}

/// Properties by name.
pub(crate) fn properties(message: &Received) -> BTreeMap<&str, &str> {
    proto::properties::iter(&message.properties).collect()
}

/// What is known of a message besides its body.
pub(crate) fn facts(m: &Received) -> Map<String, Value> {
    let properties: Map<String, Value> =
        properties(m).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let facts = json!({
        "msgId": client_id(m),
        "offsetMsgId": m.message_id(),
        "topic": m.topic,
        "tags": m.property("TAGS"),
        "keys": m.property("KEYS"),
        "queueId": m.queue_id,
        "queueOffset": m.queue_offset,
        "commitLogOffset": m.physical_offset,
        "reconsumeTimes": m.reconsume_times,
        "bornTimestamp": m.born_timestamp,
        "storeTimestamp": m.store_timestamp,
        "bornHost": m.born_host.to_string(),
        "storeHost": m.store_host.to_string(),
        "sysFlag": m.sys_flag,
        "properties": properties,
    });
    match facts {
        Value::Object(facts) => facts,
        _ => Map::new(),
    }
}

/// Adds a body: text as it is, other bytes in base64.
pub(crate) fn add_body(facts: &mut Map<String, Value>, body: &[u8]) {
    match std::str::from_utf8(body) {
        Ok(text) => facts.insert("body".to_owned(), text.into()),
        Err(_) => facts.insert("bodyBase64".to_owned(), STANDARD.encode(body).into()),
    };
}

/// The body as its producer gave it; one that does not inflate is a problem, and shown as it is.
pub(crate) fn shown_body<'a>(message: &'a Received, out: &mut Output) -> Cow<'a, [u8]> {
    body_of(message).unwrap_or_else(|error| {
        out.problem(error);
        message.body.as_slice().into()
    })
}

/// A body in one line that does nothing to a terminal: text with its control characters escaped, of other bytes the first.
pub(crate) fn one_line(body: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(body) else {
        let mut line = format!("({} bytes, no text: ", body.len());
        for byte in body.iter().take(SHOWN_BYTES_MAX) {
            let _ = write!(line, "{byte:02x}");
        }
        line.push_str(if body.len() > SHOWN_BYTES_MAX { "...)" } else { ")" });
        return line;
    };
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}

/// The only charset that bodies are shown in.
pub(crate) fn utf8(text: &str) -> Result<String, String> {
    match text.to_ascii_uppercase().as_str() {
        "UTF-8" | "UTF8" => Ok(text.to_owned()),
        _ => Err(format!("bodies are shown as UTF-8 only, not as {text}; --json has all bytes")),
    }
}

/// A queue as Java prints it.
pub(crate) struct QueueName<'a>(pub(crate) &'a MessageQueue);

impl Display for QueueName<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let MessageQueue { topic, broker_name, queue_id } = self.0;
        write!(f, "MessageQueue [topic={topic}, brokerName={broker_name}, queueId={queue_id}]")
    }
}

/// A message that was pulled, in a line as Java prints it.
pub(crate) struct PulledMessage<'a> {
    /// Its broker.
    pub(crate) broker_name: &'a str,
    /// First offset and next offset of its queue.
    pub(crate) bounds: (i64, i64),
    /// The message.
    pub(crate) message: &'a Received,
    /// Its body, inflated.
    pub(crate) body: &'a [u8],
    /// Whether the body is printed as text, too.
    pub(crate) print_body: bool,
}

impl Serialize for PulledMessage<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut facts = facts(self.message);
        facts.insert("brokerName".to_owned(), self.broker_name.into());
        if self.print_body {
            add_body(&mut facts, self.body);
        }
        facts.serialize(serializer)
    }
}

impl Display for PulledMessage<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let m = self.message;
        let (min, max) = (self.bounds.0.to_string(), self.bounds.1.to_string());
        let mut properties = properties(m);
        properties.extend([("MIN_OFFSET", min.as_str()), ("MAX_OFFSET", max.as_str())]);
        // Java prints bytes with their sign.
        let bytes: Vec<String> = self.body.iter().map(|b| b.cast_signed().to_string()).collect();
        let prepared = m.property("TRAN_MSG").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let transaction = m.property(UNIQUE_ID).filter(|_| prepared);
        write!(
            f,
            "MSGID: {} MessageExt [brokerName={}, queueId={}, storeSize={}, queueOffset={}, sysFlag={}, \
             bornTimestamp={}, bornHost=/{}, storeTimestamp={}, storeHost=/{}, msgId={}, commitLogOffset={}, \
             bodyCRC={}, reconsumeTimes={}, preparedTransactionOffset={}, toString()=Message{{topic='{}', flag={}, \
             properties={}, body=[{}], transactionId='{}'}}] BODY: ",
            client_id(m),
            self.broker_name,
            m.queue_id,
            m.store_size,
            m.queue_offset,
            m.sys_flag,
            m.born_timestamp,
            m.born_host,
            m.store_timestamp,
            m.store_host,
            m.message_id(),
            m.physical_offset,
            m.body_crc,
            m.reconsume_times,
            m.prepared_transaction_offset,
            m.topic,
            m.flag,
            text::map(properties),
            bytes.join(", "),
            or_null(transaction),
        )?;
        match self.print_body {
            true => writeln!(f, "{}", String::from_utf8_lossy(self.body)),
            false => writeln!(f, "NOT PRINT BODY"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_shown_in_one_line() {
        assert_eq!(one_line("grüße\n\u{1b}[2J".as_bytes()), "grüße\\n\\u{1b}[2J");
        assert_eq!(one_line(&[0xff, 1]), "(2 bytes, no text: ff01)");
        assert!(one_line(&[0xff; 40]).ends_with("ff...)"));
        assert!(utf8("utf-8").is_ok());
        assert!(utf8("GBK").is_err());
        let mut facts = Map::new();
        add_body(&mut facts, b"text");
        add_body(&mut facts, &[0xff]);
        assert_eq!(facts["body"], "text");
        assert_eq!(facts["bodyBase64"], "/w==");
    }
}
