//! What a consumer says of itself: `GET_CONSUMER_RUNNING_INFO` (307), and `CONSUME_MESSAGE_DIRECTLY` (309), when it was
//! handed a message. Brokers relay both unread; tools read them.

use std::collections::BTreeMap;

use super::fields::TABLE_BODY_BYTES_MAX;
use super::member::body;
use super::{MessageQueue, SubscriptionData};

body! {
    /// What a consumer has of a queue. Source: Apache RocketMQ 4.9.8, `ProcessQueueInfo`.
    #[derive(Eq)]
    ProcessQueueInfo("mqTable") {
        /// Messages it holds.
        cached_msg_count: i32 = "cachedMsgCount",
        /// Highest offset of these.
        cached_msg_max_offset: i64 = "cachedMsgMaxOffset",
        /// Lowest offset of these.
        cached_msg_min_offset: i64 = "cachedMsgMinOffset",
        /// MiB of these.
        cached_msg_size_in_mib: i32 = "cachedMsgSizeInMiB",
        /// Offset it will commit.
        commit_offset: i64 = "commitOffset",
        /// It lost the queue. Spelled so by Java.
        droped: bool = "droped",
        /// When it last consumed, ms.
        last_consume_timestamp: i64 = "lastConsumeTimestamp",
        /// When it last locked the queue, ms.
        last_lock_timestamp: i64 = "lastLockTimestamp",
        /// When it last pulled, ms.
        last_pull_timestamp: i64 = "lastPullTimestamp",
        /// It holds the lock, when it consumes in order.
        locked: bool = "locked",
        /// Of these that it consumes now, in order.
        transaction_msg_count: i32 = "transactionMsgCount",
        /// Highest offset of those.
        transaction_msg_max_offset: i64 = "transactionMsgMaxOffset",
        /// Lowest offset of those.
        transaction_msg_min_offset: i64 = "transactionMsgMinOffset",
        /// How often it tried to give the lock back.
        try_unlock_times: i64 = "tryUnlockTimes",
    }
}

body! {
    /// How fast a consumer consumes a topic. Source: Apache RocketMQ 4.9.8, `ConsumeStatus`.
    ConsumeStatus("statusTable") {
        /// Failures of the last hour.
        consume_failed_msgs: i64 = "consumeFailedMsgs",
        /// Failures per second.
        consume_failed_tps: f64 = "consumeFailedTPS",
        /// Successes per second.
        consume_ok_tps: f64 = "consumeOKTPS",
        /// Milliseconds of a consumption.
        consume_rt: f64 = "consumeRT",
        /// Milliseconds of a pull.
        pull_rt: f64 = "pullRT",
        /// Pulled messages per second.
        pull_tps: f64 = "pullTPS",
    }
}

body! {
    /// What a consumer says of itself. Source: Apache RocketMQ 4.9.8, `ConsumerRunningInfo`.
    ConsumerRunningInfo("body", TABLE_BODY_BYTES_MAX) {
        /// Stacks of its threads, when they were asked for.
        jstack: Option<String> = "jstack",
        /// Its queues.
        mq_table: BTreeMap<MessageQueue, ProcessQueueInfo> = "mqTable",
        /// Its configuration, and `PROP_` names of the client library.
        properties: BTreeMap<String, String> = "properties",
        /// By topic.
        status_table: BTreeMap<String, ConsumeStatus> = "statusTable",
        /// What it subscribes to.
        subscription_set: Vec<SubscriptionData> = "subscriptionSet",
    }
}

body! {
    /// What came of a message that a consumer was handed. Source: Apache RocketMQ 4.9.8, `ConsumeMessageDirectlyResult`.
    #[derive(Eq)]
    ConsumeMessageDirectlyResult("body", TABLE_BODY_BYTES_MAX) {
        /// Offsets are committed by themselves, when it consumes in order.
        auto_commit: bool = "autoCommit" default(true),
        /// `CR_SUCCESS` and others; absent when the consumer did not say.
        consume_result: Option<String> = "consumeResult",
        /// It consumes in order.
        order: bool = "order",
        /// What went wrong.
        remark: Option<String> = "remark",
        /// How long it took, ms.
        spent_time_mills: i64 = "spentTimeMills",
    }
}
