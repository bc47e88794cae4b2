//! Headers of requests about the clients of a broker: who leaves, who belongs to a group, what a member is doing.
//! `HEART_BEAT` (34) and `CHECK_CLIENT_CONFIG` (46) have no header of their own; they are bodies.

use super::field::header;

header! {
    /// `UNREGISTER_CLIENT` (35). Source: Apache RocketMQ 5.3.3, remoting `UnregisterClientRequestHeader`.
    UnregisterClientHeader {
        /// The client that leaves.
        client_id: &'a str = "clientID" required,
        /// Group it leaves as a producer; C++ sends the unused one of the two empty.
        producer_group: Option<&'a str> = "producerGroup" optional,
        /// Group it leaves as a consumer.
        consumer_group: Option<&'a str> = "consumerGroup" optional,
    }
}

header! {
    /// `GET_CONSUMER_LIST_BY_GROUP` (38), and `NOTIFY_CONSUMER_IDS_CHANGED` (40) in the other direction.
    /// Source: Apache RocketMQ 5.3.3, remoting `GetConsumerListByGroupRequestHeader`,
    /// `NotifyConsumerIdsChangedRequestHeader`.
    ConsumerGroupHeader {
        /// The group.
        consumer_group: &'a str = "consumerGroup" required,
    }
}

header! {
    /// `GET_CONSUMER_RUNNING_INFO` (307), relayed to the client it names.
    /// Source: Apache RocketMQ 5.3.3, remoting `GetConsumerRunningInfoRequestHeader`.
    ConsumerRunningInfoHeader {
        /// Group of the member.
        consumer_group: &'a str = "consumerGroup" required,
        /// The member asked.
        client_id: &'a str = "clientId" required,
        /// Whether its threads are to be listed; absent is false.
        jstack_enable: bool = "jstackEnable" default(false),
    }
}

header! {
    /// `CONSUME_MESSAGE_DIRECTLY` (309), relayed to the client it names with the message.
    /// Source: Apache RocketMQ 5.3.3, remoting `ConsumeMessageDirectlyResultRequestHeader`.
    ConsumeMessageDirectlyHeader {
        /// Group of the member.
        consumer_group: &'a str = "consumerGroup" required,
        /// The member asked.
        client_id: &'a str = "clientId" required,
        /// `offsetMsgId` of the message.
        msg_id: &'a str = "msgId" required,
        /// Sent by 5.x tools.
        topic: Option<&'a str> = "topic" optional,
    }
}
