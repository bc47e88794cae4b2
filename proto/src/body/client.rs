//! Small bodies of a client's life: the check of a subscription (46) and the members of a group (38).

use super::fields::{CLIENT_BODY_BYTES_MAX, Fields, parse};
use super::writer::object;
use super::{BodyError, SubscriptionData};

/// A subscription to be checked before a consumer starts. Source: Apache RocketMQ 4.9.8, `CheckClientRequestBody`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckClientRequest {
    /// Id of the client.
    pub client_id: String,
    /// Its group.
    pub group: String,
    /// Namespace, which newer clients name.
    pub namespace: Option<String>,
    /// The subscription; empty when the client named none.
    pub subscription_data: SubscriptionData,
}

impl CheckClientRequest {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, CLIENT_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        let subscription = fields.get("subscriptionData").map(SubscriptionData::from_value);
        Ok(CheckClientRequest {
            client_id: fields.text("clientId")?,
            group: fields.text("group")?,
            namespace: fields.optional_text("namespace")?,
            subscription_data: subscription.transpose()?.unwrap_or_default(),
        })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| {
            members.text("clientId", &self.client_id);
            members.text("group", &self.group);
            members.optional_text("namespace", self.namespace.as_deref());
            members.object("subscriptionData", |members| {
                self.subscription_data.members(members);
            });
        });
    }
}

/// Client ids of a group: answer of `GET_CONSUMER_LIST_BY_GROUP` (38).
/// Source: Apache RocketMQ 4.9.8, `GetConsumerListByGroupResponseBody`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerIdList {
    /// The ids.
    pub consumer_id_list: Vec<String>,
}

impl ConsumerIdList {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, CLIENT_BODY_BYTES_MAX)?;
        let consumer_id_list = Fields::of(&value, "body")?.texts("consumerIdList")?;
        Ok(ConsumerIdList { consumer_id_list })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| members.texts("consumerIdList", &self.consumer_id_list));
    }
}
