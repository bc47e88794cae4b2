//! The header of a pull.

use super::field::header;

header! {
    /// `PULL_MESSAGE` (11) and `LITE_PULL_MESSAGE` (361).
    /// Source: Apache RocketMQ 5.3.3, remoting `PullMessageRequestHeader`.
    PullHeader {
        /// Who reads.
        consumer_group: &'a str = "consumerGroup" required,
        /// What is read.
        topic: &'a str = "topic" required,
        /// Queue of the topic.
        queue_id: i32 = "queueId" required,
        /// Next offset wanted.
        queue_offset: i64 = "queueOffset" required,
        /// At most so many messages.
        max_msg_nums: i32 = "maxMsgNums" required,
        /// [`PULL_COMMIT_OFFSET`], [`PULL_SUSPEND`], [`PULL_SUBSCRIPTION`], [`PULL_CLASS_FILTER`], [`PULL_LITE`].
        sys_flag: i32 = "sysFlag" required,
        /// Consumed so far; stored when [`PULL_COMMIT_OFFSET`] is set.
        commit_offset: i64 = "commitOffset" required,
        /// How long the client would wait for a message, ms; counts when [`PULL_SUSPEND`] is set.
        suspend_timeout_millis: i64 = "suspendTimeoutMillis" required,
        /// Filter expression; counts when [`PULL_SUBSCRIPTION`] is set.
        subscription: Option<&'a str> = "subscription" optional,
        /// Version of the subscription, to be compared with the heartbeat's.
        sub_version: i64 = "subVersion" required,
        /// Language of the expression; absent (C++) means `TAG`.
        expression_type: Option<&'a str> = "expressionType" optional,
        /// Bytes wanted at most, from 5.x clients; absent or 0 means no limit beyond the broker's.
        max_msg_bytes: i32 = "maxMsgBytes" default(0),
    }
}

/// `sysFlag` of a pull: `commitOffset` is to be stored.
pub const PULL_COMMIT_OFFSET: i32 = 1;
/// `sysFlag` of a pull: the request may wait for messages.
pub const PULL_SUSPEND: i32 = 1 << 1;
/// `sysFlag` of a pull: the filter expression is in the header, no heartbeat needed.
pub const PULL_SUBSCRIPTION: i32 = 1 << 2;
/// `sysFlag` of a pull: the subscription is a filter class, long gone from the shipped brokers.
pub const PULL_CLASS_FILTER: i32 = 1 << 3;
/// `sysFlag` of a pull: sent by a lite pull consumer.
pub const PULL_LITE: i32 = 1 << 4;
