//! Offsets of queues for admin tools: `GET_TOPIC_STATS_INFO` (202) and `GET_CONSUME_STATS` (208).
//!
//! Both tables have queues as keys, which Java writes as bare objects; string keys are read as well.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{Fields, TABLE_BODY_BYTES_MAX, parse};
use super::writer::{Members, object};
use super::{BodyError, MessageQueue};

/// What a queue holds. Source: Apache RocketMQ 4.9.8, `TopicOffset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueBounds {
    /// Offset of the oldest message.
    pub min_offset: i64,
    /// Offset of the next message.
    pub max_offset: i64,
    /// When the newest message was stored, ms; 0 without messages.
    pub last_update_timestamp: i64,
}

/// The queues of a topic. Source: Apache RocketMQ 4.9.8, `TopicStatsTable`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicStatsTable {
    /// Queue to bounds.
    pub offset_table: BTreeMap<MessageQueue, QueueBounds>,
}

impl TopicStatsTable {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, TABLE_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        let offset_table = fields.table("offsetTable", MessageQueue::from_key, |value| {
            let fields = Fields::of(value, "offsetTable")?;
            Ok(QueueBounds {
                min_offset: fields.int("minOffset", 0)?,
                max_offset: fields.int("maxOffset", 0)?,
                last_update_timestamp: fields.int("lastUpdateTimestamp", 0)?,
            })
        })?;
        Ok(TopicStatsTable { offset_table })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| {
            by_queue(members, &self.offset_table, |members, bounds| {
                members.int("lastUpdateTimestamp", bounds.last_update_timestamp);
                members.int("maxOffset", bounds.max_offset);
                members.int("minOffset", bounds.min_offset);
            });
        });
    }
}

/// How far a group is in a queue. Source: Apache RocketMQ 4.9.8, `OffsetWrapper`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConsumeProgress {
    /// Offset of the next message of the queue.
    pub broker_offset: i64,
    /// Offset the group has committed.
    pub consumer_offset: i64,
    /// When the message before that was stored, ms.
    pub last_timestamp: i64,
}

/// How far a group is. Source: Apache RocketMQ 4.9.8, `ConsumeStats`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConsumeStats {
    /// Queue to progress.
    pub offset_table: BTreeMap<MessageQueue, ConsumeProgress>,
    /// Messages per second.
    pub consume_tps: f64,
}

impl ConsumeStats {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, TABLE_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        let offset_table =
            fields.table("offsetTable", MessageQueue::from_key, ConsumeProgress::from_value)?;
        Ok(ConsumeStats { offset_table, consume_tps: fields.float("consumeTps")? })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| {
            members.float("consumeTps", self.consume_tps);
            by_queue(members, &self.offset_table, |members, progress| {
                members.int("brokerOffset", progress.broker_offset);
                members.int("consumerOffset", progress.consumer_offset);
                members.int("lastTimestamp", progress.last_timestamp);
            });
        });
    }
}

impl ConsumeProgress {
    fn from_value(value: &Value) -> Result<Self, BodyError> {
        let fields = Fields::of(value, "offsetTable")?;
        Ok(ConsumeProgress {
            broker_offset: fields.int("brokerOffset", 0)?,
            consumer_offset: fields.int("consumerOffset", 0)?,
            last_timestamp: fields.int("lastTimestamp", 0)?,
        })
    }
}

/// The member `offsetTable`: bare objects as keys, objects as values.
fn by_queue<T>(
    members: &mut Members<'_>,
    table: &BTreeMap<MessageQueue, T>,
    inside: impl Fn(&mut Members<'_>, &T),
) {
    members.object("offsetTable", |members| {
        for (queue, value) in table {
            members.member(
                |out| queue.write_key(out),
                |out| object(out, |members| inside(members, value)),
            );
        }
    });
}
