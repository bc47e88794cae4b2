//! What a consume queue holds, for people who look into it: `QUERY_CONSUME_QUEUE` (321).

use super::SubscriptionData;
use super::fields::TABLE_BODY_BYTES_MAX;
use super::member::body;

body! {
    /// One entry. Source: Apache RocketMQ 4.9.8, `ConsumeQueueData`.
    #[derive(Eq)]
    ConsumeQueueEntry("queueData") {
        /// Java's: the filter's bits in the extension of the queue.
        bit_map: Option<String> = "bitMap",
        /// Java's: whether that extension matches the filter.
        eval: bool = "eval",
        /// Java's: that extension.
        extend_data_json: Option<String> = "extendDataJson",
        /// What is wrong with the entry.
        msg: Option<String> = "msg",
        /// Place of the message in the commit log.
        physic_offset: i64 = "physicOffset",
        /// Bytes of its record.
        physic_size: i32 = "physicSize",
        /// Hash of its tags, or the time of its delivery.
        tags_code: i64 = "tagsCode",
    }
}

body! {
    /// The answer. Source: Apache RocketMQ 4.9.8, `QueryConsumeQueueResponseBody`.
    #[derive(Eq)]
    ConsumeQueueAnswer("body", TABLE_BODY_BYTES_MAX) {
        /// JSON of the group's filter, or why there is none.
        filter_data: Option<String> = "filterData",
        /// Behind the last offset of the queue.
        max_queue_index: i64 = "maxQueueIndex",
        /// First offset of the queue.
        min_queue_index: i64 = "minQueueIndex",
        /// The entries.
        queue_data: Vec<ConsumeQueueEntry> = "queueData",
        /// What the group wants from the topic.
        subscription_data: Option<SubscriptionData> = "subscriptionData",
    }
}

body! {
    /// A filter by SQL92, as `filterData` shows it. Source: Apache RocketMQ 4.9.8, `ConsumerFilterData`.
    #[derive(Eq)]
    ConsumerFilter("filterData", TABLE_BODY_BYTES_MAX) {
        /// Version of the subscription.
        client_version: i64 = "clientVersion",
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The expression.
        expression: String = "expression",
        /// Its type.
        expression_type: String = "expressionType",
        /// The topic.
        topic: String = "topic",
    }
}
