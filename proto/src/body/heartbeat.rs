//! `HeartbeatData` (`HEART_BEAT`, 34): what a client produces to and consumes from.
//!
//! C++ clients write enums as ordinals and versions as strings and leave out what is empty; unknown enum values take
//! the default, because a heartbeat that fails takes the whole client down.

use serde_json::Value;

use super::fields::{CLIENT_BODY_BYTES_MAX, Fields, parse};
use super::writer::object;
use super::{BodyError, SubscriptionData, java_enum};

java_enum! {
    /// Who starts the delivery.
    ConsumeType {
        /// A pull consumer.
        ConsumeActively = "CONSUME_ACTIVELY",
        /// A push consumer.
        ConsumePassively = "CONSUME_PASSIVELY",
        /// 5.x: a pop consumer.
        ConsumePop = "CONSUME_POP",
    }
}

java_enum! {
    /// Who gets a message.
    MessageModel {
        /// Every member of the group.
        Broadcasting = "BROADCASTING",
        /// One member of the group.
        Clustering = "CLUSTERING",
    }
}

java_enum! {
    /// Where a group without offset begins.
    ConsumeFromWhere {
        /// At the newest message.
        LastOffset = "CONSUME_FROM_LAST_OFFSET",
        /// Legacy, as the newest.
        LastOffsetAndFromMinWhenBootFirst = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        /// Legacy, as the newest.
        MinOffset = "CONSUME_FROM_MIN_OFFSET",
        /// Legacy, as the newest.
        MaxOffset = "CONSUME_FROM_MAX_OFFSET",
        /// At the oldest message.
        FirstOffset = "CONSUME_FROM_FIRST_OFFSET",
        /// At a time.
        Timestamp = "CONSUME_FROM_TIMESTAMP",
    }
}

/// A producer group of the client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProducerData {
    /// The group.
    pub group_name: String,
}

/// A consumer group of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerData {
    /// The group.
    pub group_name: String,
    /// Push, pull or pop.
    pub consume_type: ConsumeType,
    /// Clustering or broadcasting.
    pub message_model: MessageModel,
    /// Where the group begins.
    pub consume_from_where: ConsumeFromWhere,
    /// One per topic.
    pub subscription_data_set: Vec<SubscriptionData>,
    /// Unit mode, only carried through.
    pub unit_mode: bool,
}

/// The heartbeat. Source: Apache RocketMQ 4.9.8 and 5.3.3, `HeartbeatData`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeartbeatData {
    /// Id of the client.
    pub client_id: String,
    /// Its producer groups.
    pub producer_data_set: Vec<ProducerData>,
    /// Its consumer groups.
    pub consumer_data_set: Vec<ConsumerData>,
    /// 5.x heartbeat version 2: hash of the full heartbeat, 0 when unused.
    pub heartbeat_fingerprint: i32,
    /// 5.x heartbeat version 2: subscriptions are left out, as they did not change.
    pub without_sub: bool,
}

impl HeartbeatData {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, CLIENT_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        Ok(HeartbeatData {
            client_id: fields.text("clientID")?,
            producer_data_set: fields.list("producerDataSet", |value| {
                let fields = Fields::of(value, "producerDataSet")?;
                Ok(ProducerData { group_name: fields.text("groupName")? })
            })?,
            consumer_data_set: fields.list("consumerDataSet", ConsumerData::from_value)?,
            heartbeat_fingerprint: fields.int("heartbeatFingerprint", 0)?,
            without_sub: fields.flag("withoutSub", false)?,
        })
    }

    /// Appends the body in the shape of 4.9; what 5.x adds only when it says something.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| {
            members.text("clientID", &self.client_id);
            members.objects("consumerDataSet", &self.consumer_data_set, |members, consumer| {
                members.text("consumeFromWhere", consumer.consume_from_where.name());
                members.text("consumeType", consumer.consume_type.name());
                members.text("groupName", &consumer.group_name);
                members.text("messageModel", consumer.message_model.name());
                members.objects(
                    "subscriptionDataSet",
                    &consumer.subscription_data_set,
                    |members, subscription| subscription.members(members),
                );
                members.flag("unitMode", consumer.unit_mode);
            });
            if self.heartbeat_fingerprint != 0 {
                members.int("heartbeatFingerprint", self.heartbeat_fingerprint);
            }
            members.objects("producerDataSet", &self.producer_data_set, |members, producer| {
                members.text("groupName", &producer.group_name);
            });
            if self.without_sub {
                members.flag("withoutSub", true);
            }
        });
    }
}

impl ConsumerData {
    fn from_value(value: &Value) -> Result<Self, BodyError> {
        let fields = Fields::of(value, "consumerDataSet")?;
        Ok(ConsumerData {
            group_name: fields.text("groupName")?,
            consume_type: fields.choice(
                "consumeType",
                ConsumeType::from_name,
                ConsumeType::ConsumePassively,
            ),
            message_model: fields.choice(
                "messageModel",
                MessageModel::from_name,
                MessageModel::Clustering,
            ),
            consume_from_where: fields.choice(
                "consumeFromWhere",
                ConsumeFromWhere::from_name,
                ConsumeFromWhere::LastOffset,
            ),
            subscription_data_set: fields
                .list("subscriptionDataSet", SubscriptionData::from_value)?,
            unit_mode: fields.flag("unitMode", false)?,
        })
    }
}
