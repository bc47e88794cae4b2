//! Headers of POP consumption (5.x). `BATCH_ACK_MESSAGE` (200151) has none; its receipts are a body.

use super::field::header;

header! {
    /// `POP_MESSAGE` (200050). Source: Apache RocketMQ 5.3.3, remoting `PopMessageRequestHeader`.
    PopHeader {
        /// Who pops.
        consumer_group: &'a str = "consumerGroup" required,
        /// What is popped.
        topic: &'a str = "topic" required,
        /// Queue of the topic; negative: any.
        queue_id: i32 = "queueId" required,
        /// At most so many messages.
        max_msg_nums: i32 = "maxMsgNums" required,
        /// How long the messages are given to nobody else, ms.
        invisible_time: i64 = "invisibleTime" required,
        /// How long the client would wait for messages, ms.
        poll_time: i64 = "pollTime" required,
        /// When the client asked, ms since 1970; 0 or absent: now.
        born_time: i64 = "bornTime" default(0),
        /// Where a new group begins: [`POP_FROM_MIN`] or [`POP_FROM_MAX`].
        init_mode: i32 = "initMode" required,
        /// Language of the expression; absent means `TAG`.
        expression_type: Option<&'a str> = "expType" optional,
        /// Filter expression; absent or empty lets everything pass.
        expression: Option<&'a str> = "exp" optional,
        /// Whether a queue gives nothing while what was popped before is not acknowledged.
        order: bool = "order" default(false),
        /// Name of an attempt, which may be repeated.
        attempt_id: Option<&'a str> = "attemptId" optional,
    }
}

/// `initMode` of a pop: a new group begins at the first message.
pub const POP_FROM_MIN: i32 = 0;
/// `initMode` of a pop: a new group begins at the last message.
pub const POP_FROM_MAX: i32 = 1;

header! {
    /// `ACK_MESSAGE` (200051). Source: Apache RocketMQ 5.3.3, remoting `AckMessageRequestHeader`.
    AckHeader {
        /// Who has consumed.
        consumer_group: &'a str = "consumerGroup" required,
        /// Topic of the message.
        topic: &'a str = "topic" required,
        /// Its queue.
        queue_id: i32 = "queueId" required,
        /// The receipt: see [`crate::receipt`].
        extra_info: &'a str = "extraInfo" required,
        /// Its queue offset.
        offset: i64 = "offset" required,
    }
}

header! {
    /// `CHANGE_MESSAGE_INVISIBLETIME` (200053).
    /// Source: Apache RocketMQ 5.3.3, remoting `ChangeInvisibleTimeRequestHeader`.
    ChangeInvisibleHeader {
        /// Who has the message.
        consumer_group: &'a str = "consumerGroup" required,
        /// Topic of the message.
        topic: &'a str = "topic" required,
        /// Its queue.
        queue_id: i32 = "queueId" required,
        /// The receipt: see [`crate::receipt`].
        extra_info: &'a str = "extraInfo" required,
        /// Its queue offset.
        offset: i64 = "offset" required,
        /// For how long from now on it is given to nobody else, ms.
        invisible_time: i64 = "invisibleTime" required,
    }
}
