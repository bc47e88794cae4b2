//! What brokers and controllers of 5.x tell of replicas: `GET_BROKER_HA_STATUS` (907), `CONTROLLER_GET_SYNC_STATE_DATA` (1006),
//! `GET_BROKER_EPOCH_CACHE` (1007), and the members that `CONTROLLER_ELECT_MASTER` (1002) answers with.

use std::collections::BTreeMap;

use super::fields::TABLE_BODY_BYTES_MAX;
use super::member::body;

body! {
    /// A slave as its master sees it. Source: Apache RocketMQ 5.3.3, `HARuntimeInfo.HAConnectionRuntimeInfo`.
    #[derive(Eq)]
    HaConnectionInfo("haConnectionInfo") {
        /// Address of the slave's connection.
        addr: String = "addr",
        /// Bytes that it is behind.
        diff: i64 = "diff",
        /// Near enough to count.
        in_sync: bool = "inSync",
        /// Up to where it has said to be.
        slave_ack_offset: i64 = "slaveAckOffset",
        /// From where on it gets.
        transfer_from_where: i64 = "transferFromWhere",
        /// Bytes per second.
        transferred_byte_in_second: i64 = "transferredByteInSecond",
    }
}

body! {
    /// A slave as it sees itself. Source: Apache RocketMQ 5.3.3, `HARuntimeInfo.HAClientRuntimeInfo`.
    #[derive(Eq)]
    HaClientInfo("haClientRuntimeInfo") {
        /// When it last got something, ms since the epoch.
        last_read_timestamp: i64 = "lastReadTimestamp",
        /// When it last told where it is, ms since the epoch.
        last_write_timestamp: i64 = "lastWriteTimestamp",
        /// Its master.
        master_addr: Option<String> = "masterAddr",
        /// Up to where its master's log is on disk.
        master_flush_offset: i64 = "masterFlushOffset",
        /// Up to where its own log reaches.
        max_offset: i64 = "maxOffset",
        /// Bytes per second.
        transferred_byte_in_second: i64 = "transferredByteInSecond",
    }
}

body! {
    /// The answer to 907. Source: Apache RocketMQ 5.3.3, `HARuntimeInfo`.
    #[derive(Eq)]
    HaRuntimeInfo("body", TABLE_BODY_BYTES_MAX) {
        /// Of a slave.
        ha_client_runtime_info: HaClientInfo = "haClientRuntimeInfo",
        /// The slaves of a master.
        ha_connection_info: Vec<HaConnectionInfo> = "haConnectionInfo",
        /// Slaves that are near enough to count.
        in_sync_slave_nums: i32 = "inSyncSlaveNums",
        /// Whether this is a master.
        master: bool = "master",
        /// Up to where a master's log reaches.
        master_commit_log_max_offset: i64 = "masterCommitLogMaxOffset",
    }
}

body! {
    /// A replica. Source: Apache RocketMQ 5.3.3, `BrokerReplicasInfo.ReplicaIdentity`.
    #[derive(Eq)]
    ReplicaIdentity("replicaIdentity") {
        /// Whether it lives, if the controller knows.
        alive: Option<bool> = "alive",
        /// Its address.
        broker_address: Option<String> = "brokerAddress",
        /// Its id.
        broker_id: Option<i64> = "brokerId",
        /// Its name.
        broker_name: Option<String> = "brokerName",
    }
}

body! {
    /// The replicas of a broker's name. Source: Apache RocketMQ 5.3.3, `BrokerReplicasInfo.ReplicasInfo`.
    #[derive(Eq)]
    ReplicasInfo("replicasInfo") {
        /// Those that count.
        in_sync_replicas: Vec<ReplicaIdentity> = "inSyncReplicas",
        /// Address of the master.
        master_address: Option<String> = "masterAddress",
        /// Id of the master.
        master_broker_id: Option<i64> = "masterBrokerId",
        /// How many masters there have been.
        master_epoch: Option<i64> = "masterEpoch",
        /// The others.
        not_in_sync_replicas: Vec<ReplicaIdentity> = "notInSyncReplicas",
        /// How often the set of those that count has changed.
        sync_state_set_epoch: Option<i64> = "syncStateSetEpoch",
    }
}

body! {
    /// The answer to 1006. Source: Apache RocketMQ 5.3.3, `BrokerReplicasInfo`.
    #[derive(Eq)]
    BrokerReplicasInfo("body", TABLE_BODY_BYTES_MAX) {
        /// By name of the broker.
        replicas_info_table: BTreeMap<String, ReplicasInfo> = "replicasInfoTable",
    }
}

body! {
    /// A part of the log that one master wrote. Source: Apache RocketMQ 5.3.3, `EpochEntry`.
    #[derive(Eq)]
    EpochEntry("epochEntry") {
        /// Behind its end; of the last one the highest number.
        end_offset: i64 = "endOffset" default(i64::MAX),
        /// Which master since the beginning.
        epoch: i32 = "epoch",
        /// Where it begins.
        start_offset: i64 = "startOffset",
    }
}

body! {
    /// The answer to 1007. Source: Apache RocketMQ 5.3.3, `EpochEntryCache`.
    #[derive(Eq)]
    EpochCache("body", TABLE_BODY_BYTES_MAX) {
        /// Id of the broker.
        broker_id: i64 = "brokerId",
        /// Its name.
        broker_name: String = "brokerName",
        /// Its cluster.
        cluster_name: String = "clusterName",
        /// The parts in order.
        epoch_list: Vec<EpochEntry> = "epochList",
        /// Up to where its log reaches.
        max_offset: i64 = "maxOffset",
    }
}

body! {
    /// The brokers of a name. Source: Apache RocketMQ 5.3.3, `BrokerMemberGroup`.
    #[derive(Eq)]
    BrokerMemberGroup("body", TABLE_BODY_BYTES_MAX) {
        /// Addresses by id; 0 is the master.
        broker_addrs: BTreeMap<i64, String> = "brokerAddrs",
        /// The name.
        broker_name: Option<String> = "brokerName",
        /// Its cluster.
        cluster: Option<String> = "cluster",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_read_as_java_writes_them() {
        let status = HaRuntimeInfo::read(
            br#"{"haClientRuntimeInfo":{"activated":false,"lastReadTimestamp":0,"lastWriteTimestamp":0,"masterFlushOffset":0,"maxOffset":0,"transferredByteInSecond":0},"haConnectionInfo":[{"addr":"10.0.0.8:51200","diff":12,"inSync":true,"slaveAckOffset":988,"transferFromWhere":1000,"transferredByteInSecond":2048}],"inSyncSlaveNums":1,"master":true,"masterCommitLogMaxOffset":1000}"#,
        )
        .expect("a status");
        assert!(status.master);
        assert_eq!(status.ha_connection_info[0].slave_ack_offset, 988);
        assert_eq!(status.ha_client_runtime_info.master_addr, None);
        let epochs = EpochCache::read(
            br#"{"brokerId":1,"brokerName":"a","clusterName":"c","epochList":[{"endOffset":9223372036854775807,"epoch":2,"startOffset":0}],"maxOffset":77}"#,
        )
        .expect("epochs");
        assert_eq!(epochs.epoch_list[0].end_offset, i64::MAX);
        let members =
            BrokerMemberGroup::read(br#"{"brokerAddrs":{0:"h:1",2:"h:2"},"brokerName":"a"}"#)
                .expect("members");
        assert_eq!(members.broker_addrs[&2], "h:2");
        let replicas = BrokerReplicasInfo::read(
            br#"{"replicasInfoTable":{"a":{"inSyncReplicas":[{"alive":true,"brokerAddress":"h:1","brokerId":1,"brokerName":"a"}],"masterBrokerId":1}}}"#,
        )
        .expect("replicas");
        assert_eq!(replicas.replicas_info_table["a"].in_sync_replicas[0].broker_id, Some(1));
    }
}
