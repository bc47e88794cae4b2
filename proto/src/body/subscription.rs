//! `SubscriptionData`: what a consumer group wants from one topic.

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
