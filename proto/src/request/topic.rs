//! Headers of requests about topics of a broker.

use super::field::header;

header! {
    /// `UPDATE_AND_CREATE_TOPIC` (17). Source: Apache RocketMQ 5.3.3, remoting `CreateTopicRequestHeader`.
    CreateTopicHeader {
        /// The topic.
        topic: &'a str = "topic" required,
        /// Template named by clients that create topics; tools send the topic's own name. Absent is empty.
        default_topic: &'a str = "defaultTopic" default(""),
        /// Queues consumers see.
        read_queue_nums: i32 = "readQueueNums" required,
        /// Queues producers see.
        write_queue_nums: i32 = "writeQueueNums" required,
        /// Bits: 4 read, 2 write, 1 inherit, 8 priority.
        perm: i32 = "perm" required,
        /// `SINGLE_TAG` or `MULTI_TAG`; absent is `SINGLE_TAG`.
        topic_filter_type: &'a str = "topicFilterType" default("SINGLE_TAG"),
        /// Bits: 1 unit, 2 has unit subscription; absent is 0.
        topic_sys_flag: i32 = "topicSysFlag" default(0),
        /// Whether queue order matters to clients; absent is false.
        order: bool = "order" default(false),
        /// `+name=value` list of 5.x.
        attributes: Option<&'a str> = "attributes" optional,
    }
}

header! {
    /// `DELETE_TOPIC_IN_BROKER` (215), `GET_TOPIC_CONFIG` (351), `GET_TOPIC_STATS_INFO` (202) and
    /// `QUERY_TOPIC_CONSUME_BY_WHO` (300): a topic and nothing else.
    /// Source: Apache RocketMQ 5.3.3, remoting `DeleteTopicRequestHeader`, `GetTopicConfigRequestHeader`,
    /// `GetTopicStatsInfoRequestHeader`, `QueryTopicConsumeByWhoRequestHeader`.
    TopicHeader {
        /// The topic.
        topic: &'a str = "topic" required,
    }
}
