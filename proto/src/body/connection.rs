//! Who is connected: `GET_CONSUMER_CONNECTION_LIST` (203), `GET_PRODUCER_CONNECTION_LIST` (204) and
//! `GET_ALL_PRODUCER_INFO` (328).

use std::collections::BTreeMap;

use super::fields::TABLE_BODY_BYTES_MAX;
use super::member::body;
use super::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};

body! {
    /// One client. Source: Apache RocketMQ 4.9.8, `Connection`.
    #[derive(Eq)]
    Connection("connection") {
        /// Its address, `host:port`.
        client_addr: String = "clientAddr",
        /// Its id.
        client_id: String = "clientId",
        /// Name of its language as in `LanguageCode`.
        language: String = "language",
        /// Its version as in the command header.
        version: i32 = "version",
    }
}

body! {
    /// The members of a consumer group. Source: Apache RocketMQ 4.9.8, `ConsumerConnection`.
    #[derive(Eq)]
    ConsumerConnection("body", TABLE_BODY_BYTES_MAX) {
        /// The members.
        connection_set: Vec<Connection> = "connectionSet",
        /// Where the group begins.
        consume_from_where: ConsumeFromWhere = "consumeFromWhere",
        /// Push, pull or pop.
        consume_type: ConsumeType = "consumeType",
        /// Clustering or broadcasting.
        message_model: MessageModel = "messageModel",
        /// Topic to subscription.
        subscription_table: BTreeMap<String, SubscriptionData> = "subscriptionTable",
    }
}

body! {
    /// The members of a producer group. Source: Apache RocketMQ 4.9.8, `ProducerConnection`.
    #[derive(Eq)]
    ProducerConnection("body", TABLE_BODY_BYTES_MAX) {
        /// The members.
        connection_set: Vec<Connection> = "connectionSet",
    }
}

body! {
    /// One producer. Source: Apache RocketMQ 4.9.8, `ProducerInfo`.
    #[derive(Eq)]
    ProducerInfo("producerInfo") {
        /// Its id.
        client_id: String = "clientId",
        /// Name of its language as in `LanguageCode`.
        language: String = "language",
        /// When it was last heard of, ms.
        last_update_timestamp: i64 = "lastUpdateTimestamp",
        /// Its address as Java prints it, `/host:port`.
        remote_ip: String = "remoteIP",
        /// Its version as in the command header.
        version: i32 = "version",
    }
}

body! {
    /// The members of all producer groups. Source: Apache RocketMQ 4.9.8, `ProducerTableInfo`.
    #[derive(Eq)]
    ProducerTable("body", TABLE_BODY_BYTES_MAX) {
        /// By group.
        data: BTreeMap<String, Vec<ProducerInfo>> = "data",
    }
}
