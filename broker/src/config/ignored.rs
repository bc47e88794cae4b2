//! Keys of Java's `broker.conf` that are accepted and mean nothing here, each with the reason that the operator reads.
//!
//! A file that ran a Java broker must start ours. But a key that promises something we do not do (replicas, a second
//! log directory) must not vanish silently either: those are warned about, the others get one informative line.

/// A group of keys that share one reason.
pub struct Ignored {
    /// Names as Java spells them.
    pub names: &'static [&'static str],
    /// Completes "key: no effect here, ...".
    pub reason: &'static str,
    /// True when the operator may be relying on what the key promises, unless its value says no.
    pub promise: bool,
}

/// All groups.
pub const IGNORED: &[Ignored] = &[
    Ignored {
        names: &["flushConsumerOffsetInterval"],
        reason: "offsets of groups are written into the log once a second",
        promise: false,
    },
    Ignored {
        names: &["syncFlushTimeout"],
        reason: "a send is answered when its sync has succeeded or failed, never in between",
        promise: false,
    },
    Ignored {
        names: &[
            "sendMessageThreadPoolNums",
            "putMessageFutureThreadPoolNums",
            "pullMessageThreadPoolNums",
            "litePullMessageThreadPoolNums",
            "ackMessageThreadPoolNums",
            "processReplyMessageThreadPoolNums",
            "queryMessageThreadPoolNums",
            "adminBrokerThreadPoolNums",
            "clientManageThreadPoolNums",
            "consumerManageThreadPoolNums",
            "heartbeatThreadPoolNums",
            "endTransactionThreadPoolNums",
            "serverWorkerThreads",
            "serverCallbackExecutorThreads",
            "serverSelectorThreads",
            "useEpollNativeSelector",
            "serverPooledByteBufAllocatorEnable",
        ],
        reason: "each core runs one shard that does all of its work itself: see shards and shardCores",
        promise: false,
    },
    Ignored {
        names: &[
            "sendThreadPoolQueueCapacity",
            "putThreadPoolQueueCapacity",
            "pullThreadPoolQueueCapacity",
            "litePullThreadPoolQueueCapacity",
            "ackThreadPoolQueueCapacity",
            "replyThreadPoolQueueCapacity",
            "queryThreadPoolQueueCapacity",
            "clientManagerThreadPoolQueueCapacity",
            "consumerManagerThreadPoolQueueCapacity",
            "heartbeatThreadPoolQueueCapacity",
            "endTransactionPoolQueueCapacity",
            "adminBrokerThreadPoolQueueCapacity",
            "brokerFastFailureEnable",
            "waitTimeMillsInSendQueue",
            "waitTimeMillsInPullQueue",
            "waitTimeMillsInLitePullQueue",
            "waitTimeMillsInHeartbeatQueue",
            "waitTimeMillsInTransactionQueue",
            "waitTimeMillsInAckQueue",
            "serverOnewaySemaphoreValue",
            "serverAsyncSemaphoreValue",
            "writeBufferHighWaterMark",
            "writeBufferLowWaterMark",
        ],
        reason: "admission is by bytes in flight: see connectionInflightBytesMax and shardInflightBytesMax",
        promise: false,
    },
    Ignored {
        names: &[
            "osPageCacheBusyTimeOutMills",
            "warmMapedFileEnable",
            "flushLeastPagesWhenWarmMapedFile",
            "transferMsgByHeap",
            "accessMessageInMemoryMaxRatio",
            "flushCommitLogLeastPages",
            "commitCommitLogLeastPages",
            "flushCommitLogTimed",
            "flushCommitLogThoroughInterval",
            "commitCommitLogThoroughInterval",
            "commitIntervalCommitLog",
            "coldDataFlowControlEnable",
            "dataReadAheadEnable",
        ],
        reason: "the log is written past the page cache and the latest messages are kept in memory: see tailCacheMiB",
        promise: false,
    },
    Ignored {
        names: &[
            "transientStorePoolEnable",
            "transientStorePoolSize",
            "fastFailIfNoBufferInStorePool",
        ],
        reason: "there is no pool to copy through; ASYNC_FLUSH already answers before the disk has written",
        promise: false,
    },
    Ignored {
        names: &[
            "mappedFileSizeConsumeQueue",
            "enableConsumeQueueExt",
            "mappedFileSizeConsumeQueueExt",
            "mapperFileSizeBatchConsumeQueue",
            "bitMapLengthConsumeQueueExt",
            "flushIntervalConsumeQueue",
            "flushConsumeQueueLeastPages",
            "flushConsumeQueueThoroughInterval",
            "putMsgIndexHightWater",
            "maxHashSlotNum",
            "maxIndexNum",
            "messageIndexSafe",
            "maxConsumeQueueFileNum",
        ],
        reason: "an index file covers what its segment holds and is made again from the log when needed: see shardIndexEntriesMax",
        promise: false,
    },
    Ignored {
        names: &[
            "useReentrantLockWhenPutMessage",
            "debugLockEnable",
            "diskFallRecorded",
            "enableDetailStat",
        ],
        reason: "a shard appends alone and needs no lock",
        promise: false,
    },
    Ignored {
        names: &["checkCRCOnRecover", "duplicationEnable", "offsetCheckInSlave"],
        reason: "every batch is checked at every recovery",
        promise: false,
    },
    Ignored {
        names: &[
            "cleanResourceInterval",
            "deleteCommitLogFilesInterval",
            "deleteConsumeQueueFilesInterval",
            "destroyMapedFileIntervalForcibly",
            "redeleteHangedFileInterval",
            "deleteFileBatchMax",
        ],
        reason: "old segments are looked for once a second, one at a time, and nobody can hold one that is gone",
        promise: false,
    },
    Ignored {
        names: &[
            "haListenPort",
            "haSendHeartbeatInterval",
            "haHousekeepingInterval",
            "haTransferBatchSize",
            "haSlaveFallbehindMax",
            "haMaxGapNotInSync",
            "slaveTimeout",
            "preferredLeaderId",
            "dLegerGroup",
            "dLegerPeers",
            "dLegerSelfId",
            "storePathDLedgerCommitLog",
            "enableBatchPush",
            "isEnableBatchPush",
            "controllerAddr",
            "totalReplicas",
            "inSyncReplicas",
            "minInSyncReplicas",
            "allAckInSyncStateSet",
        ],
        reason: "there is no replication yet: one broker holds one copy",
        promise: false,
    },
    Ignored {
        names: &[
            "enableDLegerCommitLog",
            "enableControllerMode",
            "enableSlaveActingMaster",
            "slaveReadEnable",
            "haMasterAddress",
        ],
        reason: "there is no replication yet: ONE BROKER HOLDS ONE COPY of each message",
        promise: true,
    },
    Ignored {
        names: &["readOnlyCommitLogStorePaths"],
        reason: "a log lives in one directory; messages in other directories are not served",
        promise: true,
    },
    Ignored {
        names: &["messageStorePlugIn", "fetchNamesrvAddrByAddressServer", "filterServerNums"],
        reason: "this extension of the Java broker does not exist here",
        promise: true,
    },
    Ignored {
        names: &[
            "enableCalcFilterBitMap",
            "expectConsumerNumUseFilter",
            "maxErrorRateOfBloomFilter",
            "filterDataCleanTimeSpan",
        ],
        reason: "filters are evaluated without bit maps",
        promise: false,
    },
    Ignored {
        names: &[
            "rocketmqHome",
            "highSpeedMode",
            "maxDelayTime",
            "flushConsumerOffsetHistoryInterval",
            "commercialEnable",
            "commercialTimerCount",
            "commercialTransCount",
            "commercialBigCount",
            "commercialBaseCount",
            "isolateLogEnable",
            "autoDeleteUnusedStats",
            "enableScheduleMessageStats",
            "serverSocketSndBufSize",
            "serverSocketRcvBufSize",
            "serverSocketBacklog",
            "disableConsumeIfConsumerReadSlowly",
            "consumerFallbehindThreshold",
            "flushDelayOffsetInterval",
            "enableScheduleAsyncDeliver",
            "scheduleAsyncDeliverMaxPendingLimit",
            "scheduleAsyncDeliverMaxResendNum2Blocked",
        ],
        reason: "nothing here is built in the way that this key adjusts",
        promise: false,
    },
    Ignored {
        names: &["enableLmq", "enableMultiDispatch", "maxLmqConsumeQueueNum", "enableCompaction"],
        reason: "light message queues and compaction are not offered",
        promise: true,
    },
    Ignored {
        names: &["mapedFileSizeCommitLog", "mapedFileSizeConsumeQueue"],
        reason: "Java 4.9 and later ignore this old spelling too; the key is mappedFileSizeCommitLog",
        promise: true,
    },
];

/// The group that `name` belongs to.
pub(super) fn find(name: &str) -> Option<&'static Ignored> {
    IGNORED.iter().find(|group| group.names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KEYS;

    #[test]
    fn no_key_is_both_used_and_ignored_or_ignored_twice() {
        let mut seen = Vec::new();
        for name in IGNORED.iter().flat_map(|group| group.names) {
            assert!(daemon::config::find(KEYS, name).is_none(), "{name} is used");
            assert!(!seen.contains(name), "{name} twice");
            seen.push(name);
        }
    }
}
