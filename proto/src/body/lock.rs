//! Queue locks of orderly consumers: `LOCK_BATCH_MQ` (41) and `UNLOCK_BATCH_MQ` (42).

use std::collections::BTreeMap;

use super::MessageQueue;
use super::fields::{CLIENT_BODY_BYTES_MAX, TABLE_BODY_BYTES_MAX};
use super::member::body;

body! {
    /// Which queues to lock or unlock, for whom. Source: Apache RocketMQ 4.9.8, `LockBatchRequestBody`,
    /// `UnlockBatchRequestBody`.
    #[derive(Eq)]
    LockBatchRequest("body", CLIENT_BODY_BYTES_MAX) {
        /// The member.
        client_id: String = "clientId",
        /// The group.
        consumer_group: String = "consumerGroup",
        /// The queues.
        mq_set: Vec<MessageQueue> = "mqSet",
        /// 5.x: do not ask replicas.
        only_this_broker: bool = "onlyThisBroker" omit_default,
    }
}

body! {
    /// Which queues are locked now. Source: Apache RocketMQ 4.9.8, `LockBatchResponseBody`.
    #[derive(Eq)]
    LockBatchResponse("body", CLIENT_BODY_BYTES_MAX) {
        /// The queues.
        lock_ok_mq_set: Vec<MessageQueue> = "lockOKMQSet",
    }
}

body! {
    /// Queues that one member of a group has locked, as our files keep them.
    #[derive(Eq)]
    LockedQueues("lockedQueues", TABLE_BODY_BYTES_MAX) {
        /// The member.
        client_id: String = "clientId",
        /// The group.
        consumer_group: String = "consumerGroup",
        /// Numbers of queues, by topic.
        queues: BTreeMap<String, Vec<i32>> = "queues",
    }
}

body! {
    /// All queue locks of a broker: `config/queueLocks.json`.
    #[derive(Eq)]
    QueueLockTable("queueLocks", TABLE_BODY_BYTES_MAX) {
        /// Changes that it contains.
        counter: i64 = "counter",
        /// By member.
        locks: Vec<LockedQueues> = "locks",
    }
}
