//! Headers of requests about consumer and producer groups of a broker. `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP` (200) has no
//! header of its own; it is a body. `GET_CONSUMER_CONNECTION_LIST` (203) carries a
//! [`ConsumerGroupHeader`](super::ConsumerGroupHeader), `QUERY_TOPIC_CONSUME_BY_WHO` (300) a
//! [`TopicHeader`](super::TopicHeader).

use super::field::header;

header! {
    /// `DELETE_SUBSCRIPTIONGROUP` (207). Source: Apache RocketMQ 4.9.8 and 5.3.3, remoting
    /// `DeleteSubscriptionGroupRequestHeader`.
    DeleteGroupHeader {
        /// The group.
        group_name: &'a str = "groupName" required,
        /// Whether its offsets go too, as 4.9 spells it; see [`DeleteGroupHeader::offsets_too`].
        remove_offset: bool = "removeOffset" default(false),
        /// The same as 5.x spells it.
        clean_offset: bool = "cleanOffset" default(false),
    }
}

impl DeleteGroupHeader<'_> {
    /// Whether the group's offsets are to be deleted as well, in either spelling.
    pub const fn offsets_too(&self) -> bool {
        self.remove_offset || self.clean_offset
    }
}

header! {
    /// `GET_PRODUCER_CONNECTION_LIST` (204).
    /// Source: Apache RocketMQ 5.3.3, remoting `GetProducerConnectionListRequestHeader`.
    ProducerGroupHeader {
        /// The group.
        producer_group: &'a str = "producerGroup" required,
    }
}

header! {
    /// `GET_SUBSCRIPTIONGROUP_CONFIG` (352) and `QUERY_TOPICS_BY_CONSUMER` (343), from 5.x tools.
    /// Source: Apache RocketMQ 5.3.3, remoting `GetSubscriptionGroupConfigRequestHeader`,
    /// `QueryTopicsByConsumerRequestHeader`.
    GroupHeader {
        /// The group.
        group: &'a str = "group" required,
    }
}

header! {
    /// `GET_CONSUME_STATS` (208). Source: Apache RocketMQ 5.3.3, remoting `GetConsumeStatsRequestHeader`.
    ConsumeStatsHeader {
        /// The group.
        consumer_group: &'a str = "consumerGroup" required,
        /// One topic; absent or empty means all topics of the group.
        topic: Option<&'a str> = "topic" optional,
        /// Several topics separated by `;`, from 5.x tools.
        topic_list: Option<&'a str> = "topicList" optional,
    }
}

header! {
    /// `INVOKE_BROKER_TO_RESET_OFFSET` (222). Source: Apache RocketMQ 5.3.3, remoting `ResetOffsetRequestHeader`.
    ResetOffsetHeader {
        /// The topic.
        topic: &'a str = "topic" required,
        /// The group.
        group: &'a str = "group" required,
        /// Store time to go to, ms since the epoch; -1 means the end.
        timestamp: i64 = "timestamp" required,
        /// Whether progress may also move forward; absent is false.
        is_force: bool = "isForce" default(false),
        /// One queue, or -1 (also when absent) for all; from 5.x tools.
        queue_id: i32 = "queueId" readable(-1),
        /// An exact offset instead of a time; from 5.x tools.
        offset: Option<i64> = "offset" readable,
    }
}

header! {
    /// `INVOKE_BROKER_TO_GET_CONSUMER_STATUS` (223). Source: Apache RocketMQ 5.3.3, remoting
    /// `GetConsumerStatusRequestHeader`.
    ConsumerStatusHeader {
        /// The topic.
        topic: &'a str = "topic" required,
        /// The group.
        group: &'a str = "group" required,
        /// Id of the one client that is asked; absent or blank means all.
        client_id: Option<&'a str> = "clientAddr" optional,
    }
}

header! {
    /// `QUERY_CONSUME_TIME_SPAN` (303) and, from 5.x tools, `QUERY_SUBSCRIPTION_BY_CONSUMER` (345). Source: Apache RocketMQ
    /// 5.3.3, remoting `QueryConsumeTimeSpanRequestHeader`, `QuerySubscriptionByConsumerRequestHeader`.
    GroupTopicHeader {
        /// The group.
        group: &'a str = "group" required,
        /// The topic.
        topic: &'a str = "topic" required,
    }
}

header! {
    /// `CLONE_GROUP_OFFSET` (314). Source: Apache RocketMQ 5.3.3, remoting `CloneGroupOffsetRequestHeader`.
    CloneOffsetHeader {
        /// The group whose offsets are copied.
        src_group: &'a str = "srcGroup" required,
        /// The group that gets them.
        dest_group: &'a str = "destGroup" required,
        /// One topic; absent or empty means all topics of the group.
        topic: Option<&'a str> = "topic" optional,
        /// Whether topics go along that the group, being online, does not subscribe.
        offline: bool = "offline" default(false),
    }
}
