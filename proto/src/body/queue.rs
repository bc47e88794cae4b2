//! `MessageQueue`: the name of a queue, as a value and as a key of tables.

use std::cmp::Ordering;

use super::member::{Key, Member, body};
use super::writer::Dialect;

body! {
    /// A queue of a topic on a broker. Source: Apache RocketMQ 4.9.8, `MessageQueue`.
    #[derive(Eq, Hash)]
    MessageQueue("messageQueue") {
        /// Its broker's name, not address.
        broker_name: String = "brokerName",
        /// Queue within topic and broker, from 0.
        queue_id: i32 = "queueId",
        /// Its topic.
        topic: String = "topic",
    }
}

/// Tables list the queues of a topic together, those of a broker in the order of their numbers.
impl Ord for MessageQueue {
    fn cmp(&self, other: &Self) -> Ordering {
        let others = (&other.topic, &other.broker_name, other.queue_id);
        (&self.topic, &self.broker_name, self.queue_id).cmp(&others)
    }
}

impl PartialOrd for MessageQueue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As a key a queue is an object, which fastjson writes bare; strict JSON has its text as a string.
impl Key for MessageQueue {
    fn from_text(text: &str) -> Option<Self> {
        let strict = crate::fastjson::to_strict(text.as_bytes()).ok()?;
        let value = serde_json::from_slice(&strict).ok()?;
        Self::from_value(&value, "messageQueue").ok()?
    }

    /// Only tables for admin tools have such keys, and these are written in fastjson's dialect.
    fn write_key(&self, out: &mut Vec<u8>, dialect: Dialect) {
        assert!(dialect == Dialect::Fastjson);
        self.write_value(out, dialect);
    }
}
