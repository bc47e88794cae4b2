//! Queue locks of orderly consumers: `LOCK_BATCH_MQ` (41) and `UNLOCK_BATCH_MQ` (42).

use super::fields::{CLIENT_BODY_BYTES_MAX, Fields, parse};
use super::writer::object;
use super::{BodyError, MessageQueue};

/// Which queues to lock or unlock, for whom. Source: Apache RocketMQ 4.9.8, `LockBatchRequestBody`,
/// `UnlockBatchRequestBody`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockBatchRequest {
    /// The group.
    pub consumer_group: String,
    /// The member.
    pub client_id: String,
    /// 5.x: do not ask replicas.
    pub only_this_broker: bool,
    /// The queues.
    pub mq_set: Vec<MessageQueue>,
}

impl LockBatchRequest {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, CLIENT_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        Ok(LockBatchRequest {
            consumer_group: fields.text("consumerGroup")?,
            client_id: fields.text("clientId")?,
            only_this_broker: fields.flag("onlyThisBroker", false)?,
            mq_set: fields.list("mqSet", MessageQueue::from_value)?,
        })
    }

    /// Appends the body; what 5.x adds only when it says something.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| {
            members.text("clientId", &self.client_id);
            members.text("consumerGroup", &self.consumer_group);
            members.objects("mqSet", &self.mq_set, |members, queue| queue.members(members));
            if self.only_this_broker {
                members.flag("onlyThisBroker", true);
            }
        });
    }
}

/// Which queues are locked now. Source: Apache RocketMQ 4.9.8, `LockBatchResponseBody`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockBatchResponse {
    /// The queues.
    pub lock_ok_mq_set: Vec<MessageQueue>,
}

impl LockBatchResponse {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, CLIENT_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        Ok(LockBatchResponse {
            lock_ok_mq_set: fields.list("lockOKMQSet", MessageQueue::from_value)?,
        })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| {
            members.objects("lockOKMQSet", &self.lock_ok_mq_set, |members, queue| {
                queue.members(members);
            });
        });
    }
}
