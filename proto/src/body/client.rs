//! Small bodies of a client's life: the check of a subscription (46) and the members of a group (38).

use super::SubscriptionData;
use super::fields::CLIENT_BODY_BYTES_MAX;
use super::member::body;

body! {
    /// A subscription to be checked before a consumer starts.
    /// Source: Apache RocketMQ 4.9.8, `CheckClientRequestBody`.
    #[derive(Eq)]
    CheckClientRequest("body", CLIENT_BODY_BYTES_MAX) {
        /// Id of the client.
        client_id: String = "clientId",
        /// Its group.
        group: String = "group",
        /// Namespace, which newer clients name.
        namespace: Option<String> = "namespace",
        /// The subscription; to no topic when the client named none.
        subscription_data: SubscriptionData = "subscriptionData",
    }
}

body! {
    /// Client ids of a group: answer of `GET_CONSUMER_LIST_BY_GROUP` (38).
    /// Source: Apache RocketMQ 4.9.8, `GetConsumerListByGroupResponseBody`.
    #[derive(Eq)]
    ConsumerIdList("body", CLIENT_BODY_BYTES_MAX) {
        /// The ids.
        consumer_id_list: Vec<String> = "consumerIdList",
    }
}
