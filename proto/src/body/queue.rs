//! `MessageQueue`: the name of a queue, as a value and as a key of tables.

use serde_json::Value;

use super::BodyError;
use super::fields::Fields;
use super::writer::{Members, object};

/// A queue of a topic on a broker. Source: Apache RocketMQ 4.9.8, `MessageQueue`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MessageQueue {
    /// Its topic.
    pub topic: String,
    /// Its broker's name, not address.
    pub broker_name: String,
    /// Queue within topic and broker, from 0.
    pub queue_id: i32,
}

impl MessageQueue {
    pub(super) fn from_value(value: &Value) -> Result<Self, BodyError> {
        let fields = Fields::of(value, "messageQueue")?;
        Ok(MessageQueue {
            topic: fields.text("topic")?,
            broker_name: fields.text("brokerName")?,
            queue_id: fields.int("queueId", 0)?,
        })
    }

    /// From a table's key: strict JSON text, whether it came as an object or as a string.
    pub(super) fn from_key(text: &str) -> Option<Self> {
        let strict = crate::fastjson::to_strict(text.as_bytes()).ok()?;
        Self::from_value(&serde_json::from_slice(&strict).ok()?).ok()
    }

    pub(super) fn members(&self, members: &mut Members<'_>) {
        members.text("brokerName", &self.broker_name);
        members.int("queueId", self.queue_id);
        members.text("topic", &self.topic);
    }

    /// As a key, which fastjson writes as a bare object.
    pub(super) fn write_key(&self, out: &mut Vec<u8>) {
        object(out, |members| self.members(members));
    }
}
