//! Offsets and times of queues for admin tools: `GET_TOPIC_STATS_INFO` (202), `GET_CONSUME_STATS` (208),
//! `QUERY_CONSUME_TIME_SPAN` (303), `INVOKE_BROKER_TO_RESET_OFFSET` (222) and `INVOKE_BROKER_TO_GET_CONSUMER_STATUS` (223).
//!
//! The tables of all but 303 have queues as keys, which Java writes as bare objects; string keys are read as well.

use std::collections::BTreeMap;

use super::MessageQueue;
use super::fields::TABLE_BODY_BYTES_MAX;
use super::member::body;

body! {
    /// What a queue holds. Source: Apache RocketMQ 4.9.8, `TopicOffset`.
    #[derive(Copy, Eq)]
    QueueBounds("offsetTable") {
        /// When the newest message was stored, ms; 0 without messages.
        last_update_timestamp: i64 = "lastUpdateTimestamp",
        /// Offset of the next message.
        max_offset: i64 = "maxOffset",
        /// Offset of the oldest message.
        min_offset: i64 = "minOffset",
    }
}

body! {
    /// The queues of a topic. Source: Apache RocketMQ 4.9.8, `TopicStatsTable`.
    #[derive(Eq)]
    TopicStatsTable("body", TABLE_BODY_BYTES_MAX) {
        /// Queue to bounds.
        offset_table: BTreeMap<MessageQueue, QueueBounds> = "offsetTable",
    }
}

body! {
    /// How far a group is in a queue. Source: Apache RocketMQ 4.9.8, `OffsetWrapper`.
    #[derive(Copy, Eq)]
    ConsumeProgress("offsetTable") {
        /// Offset of the next message of the queue.
        broker_offset: i64 = "brokerOffset",
        /// Offset the group has committed.
        consumer_offset: i64 = "consumerOffset",
        /// When the message before that was stored, ms.
        last_timestamp: i64 = "lastTimestamp",
        /// 5.x: offset that the group's next pull will ask for, as far as is known.
        pull_offset: Option<i64> = "pullOffset",
    }
}

body! {
    /// How far a group is. Source: Apache RocketMQ 4.9.8, `ConsumeStats`.
    ConsumeStats("body", TABLE_BODY_BYTES_MAX) {
        /// Messages per second.
        consume_tps: f64 = "consumeTps",
        /// Queue to progress.
        offset_table: BTreeMap<MessageQueue, ConsumeProgress> = "offsetTable",
    }
}

body! {
    /// From when to when a queue has messages, and how far a group is there. Source: Apache RocketMQ 4.9.8, `QueueTimeSpan`.
    #[derive(Eq)]
    QueueTimeSpan("consumeTimeSpanSet") {
        /// When the message that the group consumed last was stored, ms; -1 without messages, or unknown.
        consume_time_stamp: i64 = "consumeTimeStamp",
        /// For how long the next message for the group has been there, ms; 0 when there is none.
        delay_time: i64 = "delayTime",
        /// When the newest message was stored, ms; -1 without messages, or unknown.
        max_time_stamp: i64 = "maxTimeStamp",
        /// The queue.
        message_queue: MessageQueue = "messageQueue",
        /// When the oldest message was stored, ms; -1 without messages, or unknown.
        min_time_stamp: i64 = "minTimeStamp",
    }
}

body! {
    /// The same of all queues of a topic. Source: Apache RocketMQ 4.9.8, `QueryConsumeTimeSpanBody`.
    #[derive(Eq)]
    ConsumeTimeSpans("body", TABLE_BODY_BYTES_MAX) {
        /// By queue.
        consume_time_span_set: Vec<QueueTimeSpan> = "consumeTimeSpanSet",
    }
}

body! {
    /// Where a group goes on. Source: Apache RocketMQ 4.9.8, `ResetOffsetBody`.
    #[derive(Eq)]
    ResetOffsets("body", TABLE_BODY_BYTES_MAX) {
        /// Queue to offset.
        offset_table: BTreeMap<MessageQueue, i64> = "offsetTable",
    }
}

body! {
    /// How far consumers of a group have consumed, as they say. Source: Apache RocketMQ 4.9.8, `GetConsumerStatusBody`.
    #[derive(Eq)]
    ConsumerStatus("body", TABLE_BODY_BYTES_MAX) {
        /// From the broker: by client id, queue to offset.
        consumer_table: BTreeMap<String, BTreeMap<MessageQueue, i64>> = "consumerTable",
        /// From a client: queue to offset.
        message_queue_table: BTreeMap<MessageQueue, i64> = "messageQueueTable",
    }
}
