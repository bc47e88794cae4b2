//! `ClusterInfo` (`GET_BROKER_CLUSTER_INFO`, 106): all brokers a name server knows.

use std::collections::BTreeMap;

use super::BrokerData;
use super::fields::TABLE_BODY_BYTES_MAX;
use super::member::body;

body! {
    /// Brokers and clusters. Source: Apache RocketMQ 4.9.8, `ClusterInfo`.
    #[derive(Eq)]
    ClusterInfo("body", TABLE_BODY_BYTES_MAX) {
        /// Broker name to broker.
        broker_addr_table: BTreeMap<String, BrokerData> = "brokerAddrTable",
        /// Cluster name to broker names.
        cluster_addr_table: BTreeMap<String, Vec<String>> = "clusterAddrTable",
    }
}
