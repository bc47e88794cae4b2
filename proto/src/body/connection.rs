//! Who is connected: `GET_CONSUMER_CONNECTION_LIST` (203) and `GET_PRODUCER_CONNECTION_LIST` (204).

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{Fields, TABLE_BODY_BYTES_MAX, parse, text_key};
use super::writer::{Members, object};
use super::{BodyError, ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};

/// One client. Source: Apache RocketMQ 4.9.8, `Connection`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connection {
    /// Its id.
    pub client_id: String,
    /// Its address, `host:port`.
    pub client_addr: String,
    /// Name of its language as in `LanguageCode`.
    pub language: String,
    /// Its version as in the command header.
    pub version: i32,
}

impl Connection {
    fn from_value(value: &Value) -> Result<Self, BodyError> {
        let fields = Fields::of(value, "connection")?;
        Ok(Connection {
            client_id: fields.text("clientId")?,
            client_addr: fields.text("clientAddr")?,
            language: fields.text("language")?,
            version: fields.int("version", 0)?,
        })
    }

    fn members(&self, members: &mut Members<'_>) {
        members.text("clientAddr", &self.client_addr);
        members.text("clientId", &self.client_id);
        members.text("language", &self.language);
        members.int("version", self.version);
    }
}

/// The members of a consumer group. Source: Apache RocketMQ 4.9.8, `ConsumerConnection`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerConnection {
    /// The members.
    pub connection_set: Vec<Connection>,
    /// Topic to subscription.
    pub subscription_table: BTreeMap<String, SubscriptionData>,
    /// Push, pull or pop.
    pub consume_type: ConsumeType,
    /// Clustering or broadcasting.
    pub message_model: MessageModel,
    /// Where the group begins.
    pub consume_from_where: ConsumeFromWhere,
}

impl ConsumerConnection {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, TABLE_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        Ok(ConsumerConnection {
            connection_set: fields.list("connectionSet", Connection::from_value)?,
            subscription_table: fields.table(
                "subscriptionTable",
                text_key,
                SubscriptionData::from_value,
            )?,
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
        })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| {
            members.objects("connectionSet", &self.connection_set, |members, connection| {
                connection.members(members);
            });
            members.text("consumeFromWhere", self.consume_from_where.name());
            members.text("consumeType", self.consume_type.name());
            members.text("messageModel", self.message_model.name());
            members.object("subscriptionTable", |members| {
                for (topic, subscription) in &self.subscription_table {
                    members.object(topic, |members| subscription.members(members));
                }
            });
        });
    }
}

/// The members of a producer group. Source: Apache RocketMQ 4.9.8, `ProducerConnection`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProducerConnection {
    /// The members.
    pub connection_set: Vec<Connection>,
}

impl ProducerConnection {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, TABLE_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        Ok(ProducerConnection {
            connection_set: fields.list("connectionSet", Connection::from_value)?,
        })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| {
            members.objects("connectionSet", &self.connection_set, |members, connection| {
                connection.members(members);
            });
        });
    }
}
