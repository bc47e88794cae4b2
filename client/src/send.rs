//! Sending: one message with long (10) or short (310) field names, several in one batch (320), replies (324, 325).

use std::time::{SystemTime, UNIX_EPOCH};

use proto::batch::{self, BatchMessage};
use proto::code::request;
use proto::command::ExtValue;

use crate::{Answer, ClientError, Connection, Message, Sent, Ticket};

/// The default topic that unknown topics inherit from.
const DEFAULT_TOPIC: &str = "TBW102";

impl Connection {
    /// Sends with short field names (SEND_MESSAGE_V2, 310), as Java clients do, and waits for the acknowledgement.
    pub fn send(&mut self, message: &Message<'_>) -> Result<Sent, ClientError> {
        let ticket = self.start_send(message)?;
        self.finish_send(ticket)
    }

    /// Sends with long field names (SEND_MESSAGE, 10), as Go and C++ clients do.
    pub fn send_v1(&mut self, message: &Message<'_>) -> Result<Sent, ClientError> {
        self.send_long(request::SEND_MESSAGE, message)
    }

    /// Sends the reply to a request (SEND_REPLY_MESSAGE, 324), as Go clients do, and waits for the acknowledgement.
    pub fn reply_v1(&mut self, message: &Message<'_>) -> Result<Sent, ClientError> {
        self.send_long(request::SEND_REPLY_MESSAGE, message)
    }

    /// Sends the reply to a request (SEND_REPLY_MESSAGE_V2, 325), as Java clients do, without waiting;
    /// [`finish_send`](Self::finish_send) takes the acknowledgement.
    pub fn start_reply(&mut self, message: &Message<'_>) -> Result<Ticket, ClientError> {
        self.start_short(request::SEND_REPLY_MESSAGE_V2, message)
    }

    /// Sends (310) without waiting; [`finish_send`](Self::finish_send) takes the acknowledgement.
    pub fn start_send(&mut self, message: &Message<'_>) -> Result<Ticket, ClientError> {
        self.start_short(request::SEND_MESSAGE_V2, message)
    }

    fn send_long(&mut self, code: i32, message: &Message<'_>) -> Result<Sent, ClientError> {
        let properties = message.properties_text();
        let ext: [(&str, ExtValue<'_>); 13] = [
            ("producerGroup", message.group.into()),
            ("topic", message.topic.into()),
            ("defaultTopic", DEFAULT_TOPIC.into()),
            ("defaultTopicQueueNums", message.topic_queues.into()),
            ("queueId", message.queue_id.into()),
            ("sysFlag", message.sys_flag.into()),
            ("bornTimestamp", message.born_timestamp.into()),
            ("flag", message.flag.into()),
            ("properties", properties.as_str().into()),
            ("reconsumeTimes", 0.into()),
            ("unitMode", false.into()),
            ("maxReconsumeTimes", 16.into()),
            ("batch", false.into()),
        ];
        sent(self.call(code, &ext, message.body)?)
    }

    fn start_short(&mut self, code: i32, message: &Message<'_>) -> Result<Ticket, ClientError> {
        let properties = message.properties_text();
        self.start(code, &short_fields(message, &properties, false), message.body)
    }

    /// Sends (310) with the one-way flag.
    pub fn send_oneway(&mut self, message: &Message<'_>) -> Result<(), ClientError> {
        let properties = message.properties_text();
        let ext = short_fields(message, &properties, false);
        self.start_oneway(request::SEND_MESSAGE_V2, &ext, message.body)
    }

    /// Waits for the acknowledgement of one send.
    pub fn finish_send(&mut self, ticket: Ticket) -> Result<Sent, ClientError> {
        sent(self.finish(ticket)?)
    }

    /// Sends messages of one topic and queue in one request (SEND_BATCH_MESSAGE, 320). Topic, queue and group are
    /// those of the first; an empty slice is a bug of the caller.
    pub fn send_batch(&mut self, messages: &[Message<'_>]) -> Result<Sent, ClientError> {
        assert!(!messages.is_empty());
        let mut body = Vec::new();
        for message in messages {
            let properties = message.properties_text();
            let (flag, properties) = (message.flag, properties.as_bytes());
            batch::write(&mut body, &BatchMessage { flag, body: message.body, properties })?;
        }
        let ext = short_fields(&messages[0], "WAIT\u{1}true", true);
        let answer = self.call(request::SEND_BATCH_MESSAGE, &ext, &body)?;
        sent(answer)
    }
}

/// What an answer to 10, 310 or 320 says; refusals become [`ClientError::Refused`].
pub fn sent(answer: Answer) -> Result<Sent, ClientError> {
    let answer = answer.success()?;
    let queue_id = answer.number("queueId")?;
    let missing = |value: Option<String>| ClientError::Field { field: "msgId", value };
    Ok(Sent {
        message_id: answer.ext("msgId").ok_or_else(|| missing(None))?.to_string(),
        queue_id: i32::try_from(queue_id).map_err(|_| ClientError::Field {
            field: "queueId",
            value: Some(queue_id.to_string()),
        })?,
        queue_offset: answer.number("queueOffset")?,
        transaction_id: answer.ext("transactionId").map(str::to_string),
        recall_handle: answer.ext("recallHandle").map(str::to_string),
    })
}

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// The fields of 310 and 320. `n`, the broker's name, only 5.x brokers read, and none compares it.
pub(crate) fn short_fields<'a>(
    message: &Message<'a>,
    properties: &'a str,
    is_batch: bool,
) -> [(&'a str, ExtValue<'a>); 13] {
    [
        ("a", message.group.into()),
        ("b", message.topic.into()),
        ("c", DEFAULT_TOPIC.into()),
        ("d", message.topic_queues.into()),
        ("e", message.queue_id.into()),
        ("f", message.sys_flag.into()),
        ("g", message.born_timestamp.into()),
        ("h", message.flag.into()),
        ("i", properties.into()),
        ("j", 0.into()),
        ("k", false.into()),
        ("m", is_batch.into()),
        ("n", "broker-a".into()),
    ]
}
