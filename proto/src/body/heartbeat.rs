//! `HeartbeatData` (`HEART_BEAT`, 34): what a client produces to and consumes from.
//!
//! C++ clients write enums as ordinals and versions as strings and leave out what is empty; unknown enum values take
//! the default, because a heartbeat that fails takes the whole client down.

use super::fields::CLIENT_BODY_BYTES_MAX;
use super::member::body;
use super::{SubscriptionData, java_enum};

java_enum! {
    /// Who starts the delivery.
    ConsumeType {
        /// A pull consumer.
        ConsumeActively = "CONSUME_ACTIVELY",
        /// A push consumer.
        #[default]
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
        #[default]
        Clustering = "CLUSTERING",
    }
}

java_enum! {
    /// Where a group without offset begins.
    ConsumeFromWhere {
        /// At the newest message.
        #[default]
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

body! {
    /// A producer group of the client.
    #[derive(Eq)]
    ProducerData("producerDataSet") {
        /// The group.
        group_name: String = "groupName",
    }
}

body! {
    /// A consumer group of the client.
    #[derive(Eq)]
    ConsumerData("consumerDataSet") {
        /// Where the group begins.
        consume_from_where: ConsumeFromWhere = "consumeFromWhere",
        /// Push, pull or pop.
        consume_type: ConsumeType = "consumeType",
        /// The group.
        group_name: String = "groupName",
        /// Clustering or broadcasting.
        message_model: MessageModel = "messageModel",
        /// One per topic.
        subscription_data_set: Vec<SubscriptionData> = "subscriptionDataSet",
        /// Unit mode, only carried through.
        unit_mode: bool = "unitMode",
    }
}

body! {
    /// The heartbeat. Written in the shape of 4.9; what 5.x adds only when it says something.
    /// Source: Apache RocketMQ 4.9.8 and 5.3.3, `HeartbeatData`.
    #[derive(Eq)]
    HeartbeatData("body", CLIENT_BODY_BYTES_MAX) {
        /// Id of the client.
        client_id: String = "clientID",
        /// Its consumer groups.
        consumer_data_set: Vec<ConsumerData> = "consumerDataSet",
        /// 5.x heartbeat version 2: hash of the full heartbeat, 0 when unused.
        heartbeat_fingerprint: i32 = "heartbeatFingerprint" omit_default,
        /// Its producer groups.
        producer_data_set: Vec<ProducerData> = "producerDataSet",
        /// 5.x heartbeat version 2: subscriptions are left out, as they did not change.
        without_sub: bool = "withoutSub" omit_default,
    }
}
