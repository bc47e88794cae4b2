//! Headers of requests to a name server.

use super::field::header;

header! {
    /// `REGISTER_BROKER` (103). Source: Apache RocketMQ 5.3.3, remoting `RegisterBrokerRequestHeader`.
    RegisterBrokerHeader {
        /// Name shared by a master and its slaves.
        broker_name: &'a str = "brokerName" required,
        /// `host:port` clients connect to.
        broker_addr: &'a str = "brokerAddr" required,
        /// Cluster the broker belongs to.
        cluster_name: &'a str = "clusterName" required,
        /// `host:port` of its replication port. A broker without one may leave it out; absent is empty.
        ha_server_addr: &'a str = "haServerAddr" default(""),
        /// 0 is the master.
        broker_id: i64 = "brokerId" required,
        /// Whether the body is deflated; absent is false.
        compressed: bool = "compressed" default(false),
        /// CRC32 of the body as Java computes it (31 bits); absent or 0 means unchecked.
        body_crc32: i32 = "bodyCrc32" default(0),
        /// Silence after which the broker counts as gone, ms; from 5.x brokers.
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMillis" optional,
        /// Whether a slave may stand in for its master; from 5.x brokers.
        enable_acting_master: Option<bool> = "enableActingMaster" optional,
        /// Zone of the broker; from 5.x brokers.
        zone_name: Option<&'a str> = "__ZONE_NAME" optional,
    }
}

header! {
    /// `UNREGISTER_BROKER` (104) and `QUERY_DATA_VERSION` (322): which broker asks.
    /// Source: Apache RocketMQ 5.3.3, remoting `UnRegisterBrokerRequestHeader`, `QueryDataVersionRequestHeader`.
    BrokerIdentityHeader {
        /// Name shared by a master and its slaves.
        broker_name: &'a str = "brokerName" required,
        /// `host:port` clients connect to.
        broker_addr: &'a str = "brokerAddr" required,
        /// Cluster the broker belongs to.
        cluster_name: &'a str = "clusterName" required,
        /// 0 is the master.
        broker_id: i64 = "brokerId" required,
    }
}

header! {
    /// `BROKER_HEARTBEAT` (904) of 5.x brokers. Source: Apache RocketMQ 5.3.3, remoting `BrokerHeartbeatRequestHeader`.
    BrokerHeartbeatHeader {
        /// Cluster the broker belongs to.
        cluster_name: &'a str = "clusterName" required,
        /// `host:port` clients connect to.
        broker_addr: &'a str = "brokerAddr" required,
        /// Name shared by a master and its slaves.
        broker_name: &'a str = "brokerName" required,
        /// 0 is the master.
        broker_id: Option<i64> = "brokerId" optional,
        /// Silence after which the broker counts as gone, ms.
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMills" optional,
    }
}

header! {
    /// `GET_ROUTEINFO_BY_TOPIC` (105). Source: Apache RocketMQ 5.3.3, remoting `GetRouteInfoRequestHeader`.
    RouteInfoHeader {
        /// The topic.
        topic: &'a str = "topic" required,
        /// Whether map keys must be quoted; absent is false. Clients from version 401 on imply it.
        accept_standard_json_only: bool = "acceptStandardJsonOnly" default(false),
    }
}

header! {
    /// `WIPE_WRITE_PERM_OF_BROKER` (205) and `ADD_WRITE_PERM_OF_BROKER` (327).
    /// Source: Apache RocketMQ 5.3.3, remoting `WipeWritePermOfBrokerRequestHeader`,
    /// `AddWritePermOfBrokerRequestHeader`.
    WritePermHeader {
        /// Name shared by a master and its slaves.
        broker_name: &'a str = "brokerName" required,
    }
}

header! {
    /// `DELETE_TOPIC_IN_NAMESRV` (216). Source: Apache RocketMQ 5.3.3, remoting `DeleteTopicFromNamesrvRequestHeader`.
    DeleteTopicInNamesrvHeader {
        /// The topic.
        topic: &'a str = "topic" required,
        /// Only the brokers of this cluster lose it; absent or empty means all.
        cluster_name: Option<&'a str> = "clusterName" optional,
    }
}

header! {
    /// `GET_TOPICS_BY_CLUSTER` (224). Source: Apache RocketMQ 5.3.3, remoting `GetTopicsByClusterRequestHeader`.
    TopicsByClusterHeader {
        /// The cluster.
        cluster: &'a str = "cluster" required,
    }
}

header! {
    /// `PUT_KV_CONFIG` (100). Source: Apache RocketMQ 5.3.3, remoting `PutKVConfigRequestHeader`.
    PutKvHeader {
        /// For example `ORDER_TOPIC_CONFIG`.
        namespace: &'a str = "namespace" required,
        /// Key within the namespace.
        key: &'a str = "key" required,
        /// Its new value.
        value: &'a str = "value" required,
    }
}

header! {
    /// `GET_KV_CONFIG` (101) and `DELETE_KV_CONFIG` (102).
    /// Source: Apache RocketMQ 5.3.3, remoting `GetKVConfigRequestHeader`, `DeleteKVConfigRequestHeader`.
    KvKeyHeader {
        /// For example `ORDER_TOPIC_CONFIG`.
        namespace: &'a str = "namespace" required,
        /// Key within the namespace.
        key: &'a str = "key" required,
    }
}

header! {
    /// `GET_KVLIST_BY_NAMESPACE` (219). Source: Apache RocketMQ 5.3.3, remoting `GetKVListByNamespaceRequestHeader`.
    KvNamespaceHeader {
        /// For example `ORDER_TOPIC_CONFIG`.
        namespace: &'a str = "namespace" required,
    }
}
