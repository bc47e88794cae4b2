//! Headers that ask for or move offsets of queues and of consumer groups.

use super::field::header;

header! {
    /// `QUERY_CONSUMER_OFFSET` (14). Source: Apache RocketMQ 5.3.3, remoting `QueryConsumerOffsetRequestHeader`.
    QueryConsumerOffsetHeader {
        /// Whose progress.
        consumer_group: &'a str = "consumerGroup" required,
        /// On which topic.
        topic: &'a str = "topic" required,
        /// On which queue.
        queue_id: i32 = "queueId" required,
        /// Whether a group without progress may be answered with 0. Sent by 5.x clients; absent means true, as in 4.9.8.
        set_zero_if_not_found: bool = "setZeroIfNotFound" default(true),
    }
}

header! {
    /// `UPDATE_CONSUMER_OFFSET` (15), normally one-way.
    /// Source: Apache RocketMQ 5.3.3, remoting `UpdateConsumerOffsetRequestHeader`.
    UpdateConsumerOffsetHeader {
        /// Whose progress.
        consumer_group: &'a str = "consumerGroup" required,
        /// On which topic.
        topic: &'a str = "topic" required,
        /// On which queue.
        queue_id: i32 = "queueId" required,
        /// The next offset the group wants to consume.
        commit_offset: i64 = "commitOffset" required,
    }
}

header! {
    /// `SEARCH_OFFSET_BY_TIMESTAMP` (29). Source: Apache RocketMQ 5.3.3, remoting `SearchOffsetRequestHeader`.
    SearchOffsetHeader {
        /// Topic of the queue.
        topic: &'a str = "topic" required,
        /// The queue.
        queue_id: i32 = "queueId" required,
        /// Store time looked for, ms since the epoch.
        timestamp: i64 = "timestamp" required,
        /// `LOWER` (also when absent) or `UPPER` in any case, from 5.x tools: first or last offset of that time.
        boundary_type: Option<&'a str> = "boundaryType" optional,
    }
}

header! {
    /// `GET_MAX_OFFSET` (30). Source: Apache RocketMQ 5.3.3, remoting `GetMaxOffsetRequestHeader`.
    MaxOffsetHeader {
        /// Topic of the queue.
        topic: &'a str = "topic" required,
        /// The queue.
        queue_id: i32 = "queueId" required,
        /// Whether only confirmed messages count. Sent by 5.x; absent means true.
        committed: bool = "committed" default(true),
    }
}

header! {
    /// `GET_MIN_OFFSET` (31) and `GET_EARLIEST_MSG_STORETIME` (32): a queue and nothing else. Also what says where a receipt of
    /// `ACK_MESSAGE` (200051) and `CHANGE_MESSAGE_INVISIBLETIME` (200053) belongs.
    /// Source: Apache RocketMQ 5.3.3, remoting `GetMinOffsetRequestHeader`, `GetEarliestMsgStoretimeRequestHeader`.
    QueueHeader {
        /// Topic of the queue.
        topic: &'a str = "topic" required,
        /// The queue.
        queue_id: i32 = "queueId" required,
    }
}

header! {
    /// `QUERY_CORRECTION_OFFSET` (308). Source: Apache RocketMQ 5.3.3, remoting `QueryCorrectionOffsetHeader`.
    QueryCorrectionOffsetHeader {
        /// Groups that do not count, separated by commas.
        filter_groups: Option<&'a str> = "filterGroups" optional,
        /// The group that the others are compared with.
        compare_group: &'a str = "compareGroup" required,
        /// On which topic.
        topic: &'a str = "topic" required,
    }
}

header! {
    /// `QUERY_CONSUME_QUEUE` (321). Numbers that are absent are 0, as in Java.
    /// Source: Apache RocketMQ 5.3.3, remoting `QueryConsumeQueueRequestHeader`.
    QueryConsumeQueueHeader {
        /// Topic of the queue.
        topic: &'a str = "topic" required,
        /// The queue.
        queue_id: i32 = "queueId" required,
        /// Offset of the first entry.
        index: i64 = "index" default(0),
        /// How many entries.
        count: i32 = "count" default(0),
        /// A group whose subscription and filter are to be shown, too.
        consumer_group: Option<&'a str> = "consumerGroup" optional,
    }
}
