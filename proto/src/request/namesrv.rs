//! Headers of requests to a name server.

use super::field::header;

header! {
    /// `REGISTER_BROKER` (103). Source: Apache RocketMQ 5.3.3, remoting `RegisterBrokerRequestHeader`.
    RegisterBrokerHeader {
        /// Name shared by a master and its slaves.
        broker_name: &'a str = b"brokerName" must,
        /// `host:port` clients connect to.
        broker_addr: &'a str = b"brokerAddr" must,
        /// Cluster the broker belongs to.
        cluster_name: &'a str = b"clusterName" must,
        /// `host:port` of its replication port. A broker without one may leave it out; absent is empty.
        ha_server_addr: &'a str = b"haServerAddr" or(""),
        /// 0 is the master.
        broker_id: i64 = b"brokerId" must,
        /// Whether the body is deflated; absent is false.
        compressed: bool = b"compressed" or(false),
        /// CRC32 of the body as Java computes it (31 bits); absent or 0 means unchecked.
        body_crc32: i32 = b"bodyCrc32" or(0),
        /// Silence after which the broker counts as gone, ms; from 5.x brokers.
        heartbeat_timeout_millis: Option<i64> = b"heartbeatTimeoutMillis" may,
        /// Whether a slave may stand in for its master; from 5.x brokers.
        enable_acting_master: Option<bool> = b"enableActingMaster" may,
        /// Zone of the broker; from 5.x brokers.
        zone_name: Option<&'a str> = b"__ZONE_NAME" may,
    }
}

header! {
    /// `UNREGISTER_BROKER` (104) and `QUERY_DATA_VERSION` (322): which broker speaks.
    /// Source: Apache RocketMQ 5.3.3, remoting `UnRegisterBrokerRequestHeader`, `QueryDataVersionRequestHeader`.
    BrokerIdentityHeader {
        /// Name shared by a master and its slaves.
        broker_name: &'a str = b"brokerName" must,
        /// `host:port` clients connect to.
        broker_addr: &'a str = b"brokerAddr" must,
        /// Cluster the broker belongs to.
        cluster_name: &'a str = b"clusterName" must,
        /// 0 is the master.
        broker_id: i64 = b"brokerId" must,
    }
}

header! {
    /// `BROKER_HEARTBEAT` (904) of 5.x brokers. Source: Apache RocketMQ 5.3.3, remoting `BrokerHeartbeatRequestHeader`.
    BrokerHeartbeatHeader {
        /// Cluster the broker belongs to.
        cluster_name: &'a str = b"clusterName" must,
        /// `host:port` clients connect to.
        broker_addr: &'a str = b"brokerAddr" must,
        /// Name shared by a master and its slaves.
        broker_name: &'a str = b"brokerName" must,
        /// 0 is the master.
        broker_id: Option<i64> = b"brokerId" may,
        /// Silence after which the broker counts as gone, ms.
        heartbeat_timeout_millis: Option<i64> = b"heartbeatTimeoutMills" may,
    }
}

header! {
    /// `GET_ROUTEINFO_BY_TOPIC` (105). Source: Apache RocketMQ 5.3.3, remoting `GetRouteInfoRequestHeader`.
    RouteInfoHeader {
        /// The topic.
        topic: &'a str = b"topic" must,
        /// Whether map keys must be quoted; absent is false. Clients from version 401 on imply it.
        accept_standard_json_only: bool = b"acceptStandardJsonOnly" or(false),
    }
}

header! {
    /// `WIPE_WRITE_PERM_OF_BROKER` (205) and `ADD_WRITE_PERM_OF_BROKER` (327).
    /// Source: Apache RocketMQ 5.3.3, remoting `WipeWritePermOfBrokerRequestHeader`,
    /// `AddWritePermOfBrokerRequestHeader`.
    WritePermHeader {
        /// Name shared by a master and its slaves.
        broker_name: &'a str = b"brokerName" must,
    }
}

header! {
    /// `DELETE_TOPIC_IN_NAMESRV` (216). Source: Apache RocketMQ 5.3.3, remoting `DeleteTopicFromNamesrvRequestHeader`.
    DeleteTopicInNamesrvHeader {
        /// The topic.
        topic: &'a str = b"topic" must,
        /// Only the brokers of this cluster lose it; absent or empty means all.
        cluster_name: Option<&'a str> = b"clusterName" may,
    }
}

header! {
    /// `GET_TOPICS_BY_CLUSTER` (224). Source: Apache RocketMQ 5.3.3, remoting `GetTopicsByClusterRequestHeader`.
    TopicsByClusterHeader {
        /// The cluster.
        cluster: &'a str = b"cluster" must,
    }
}

header! {
    /// `PUT_KV_CONFIG` (100). Source: Apache RocketMQ 5.3.3, remoting `PutKVConfigRequestHeader`.
    PutKvHeader {
        /// For example `ORDER_TOPIC_CONFIG`.
        namespace: &'a str = b"namespace" must,
        /// Key within the namespace.
        key: &'a str = b"key" must,
        /// Its new value.
        value: &'a str = b"value" must,
    }
}

header! {
    /// `GET_KV_CONFIG` (101) and `DELETE_KV_CONFIG` (102).
    /// Source: Apache RocketMQ 5.3.3, remoting `GetKVConfigRequestHeader`, `DeleteKVConfigRequestHeader`.
    KvKeyHeader {
        /// For example `ORDER_TOPIC_CONFIG`.
        namespace: &'a str = b"namespace" must,
        /// Key within the namespace.
        key: &'a str = b"key" must,
    }
}

header! {
    /// `GET_KVLIST_BY_NAMESPACE` (219). Source: Apache RocketMQ 5.3.3, remoting `GetKVListByNamespaceRequestHeader`.
    KvNamespaceHeader {
        /// For example `ORDER_TOPIC_CONFIG`.
        namespace: &'a str = b"namespace" must,
    }
}
