//! `SubscriptionData`: what a consumer group wants from one topic; and the answer that tells tools.

use super::fields::CLIENT_BODY_BYTES_MAX;
use super::member::body;

body! {
    /// One subscription. Source: Apache RocketMQ 4.9.8, `SubscriptionData`.
    #[derive(Eq)]
    SubscriptionData("subscriptionData") {
        /// Legacy filter by uploaded classes.
        class_filter_mode: bool = "classFilterMode",
        /// Java's string hash of each tag, in the order the sender had.
        code_set: Vec<i32> = "codeSet",
        /// `TAG` or `SQL92`; C++ clients leave it out, which means `TAG`.
        expression_type: String = "expressionType" default("TAG".to_owned()),
        /// `*`, tags separated by `||`, or an SQL92 expression.
        sub_string: String = "subString",
        /// Grows with each change of the subscription, ms.
        sub_version: i64 = "subVersion",
        /// Tags of the expression; empty for `*` and SQL92.
        tags_set: Vec<String> = "tagsSet",
        /// The topic.
        topic: String = "topic",
    }
}

body! {
    /// Answer of `QUERY_SUBSCRIPTION_BY_CONSUMER` (345). Source: Apache RocketMQ 5.3.3, `QuerySubscriptionResponseBody`.
    #[derive(Eq)]
    GroupSubscription("body", CLIENT_BODY_BYTES_MAX) {
        /// The group.
        group: String = "group",
        /// What it wants; absent when it is not online or wants nothing from the topic.
        subscription_data: Option<SubscriptionData> = "subscriptionData",
        /// The topic.
        topic: String = "topic",
    }
}
