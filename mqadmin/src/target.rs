//! Which brokers a command means: one by its address, or those of a cluster.

use clap::Args;
use client::DefaultMqAdminExt;
use proto::body::{BrokerData, ClusterInfo};

use crate::Failure;

/// The broker that writes.
pub(crate) const MASTER_ID: i64 = 0;

/// `-b` or `-c`; one of them.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// Address of a broker, host:port
    #[arg(short = 'b', long = "brokerAddr", value_name = "ADDR")]
    pub(crate) broker_addr: Option<String>,
    /// A cluster
    #[arg(short = 'c', long = "clusterName", value_name = "CLUSTER")]
    pub(crate) cluster_name: Option<String>,
}

impl Target {
    /// The broker, or each master of the cluster.
    pub(crate) async fn masters(&self, admin: &DefaultMqAdminExt) -> Result<Vec<String>, Failure> {
        self.addrs(admin, masters).await
    }

    /// The broker, or all brokers of the cluster.
    pub(crate) async fn brokers(&self, admin: &DefaultMqAdminExt) -> Result<Vec<String>, Failure> {
        let all = |brokers: &[BrokerData]| {
            let addrs = brokers.iter().flat_map(|broker| broker.broker_addrs.values());
            addrs.cloned().collect()
        };
        self.addrs(admin, all).await
    }

    async fn addrs(
        &self,
        admin: &DefaultMqAdminExt,
        of_brokers: impl FnOnce(&[BrokerData]) -> Vec<String>,
    ) -> Result<Vec<String>, Failure> {
        match (&self.broker_addr, &self.cluster_name) {
            (Some(addr), _) => Ok(vec![addr.clone()]),
            (None, Some(cluster)) => {
                let known = admin.examine_broker_cluster_info().await?;
                Ok(of_brokers(&brokers_of(&known, cluster)?))
            }
            // The group of options is required.
            (None, None) => Err(Failure::Usage("give -b ADDR or -c CLUSTER".to_owned())),
        }
    }
}

/// Brokers of a cluster, by name.
pub(crate) fn brokers_of(known: &ClusterInfo, cluster: &str) -> Result<Vec<BrokerData>, Failure> {
    let Some(names) = known.cluster_addr_table.get(cluster) else {
        let all = known.cluster_addr_table.keys().cloned().collect();
        return Err(Failure::UnknownCluster { asked: cluster.to_owned(), known: all });
    };
    let mut names = names.clone();
    names.sort();
    Ok(names.iter().filter_map(|name| known.broker_addr_table.get(name)).cloned().collect())
}

/// Addresses of their masters.
pub(crate) fn masters(brokers: &[BrokerData]) -> Vec<String> {
    brokers.iter().filter_map(|broker| broker.broker_addrs.get(&MASTER_ID)).cloned().collect()
}

/// The name of the broker at an address.
pub(crate) fn broker_name(known: &ClusterInfo, addr: &str) -> Result<String, Failure> {
    let mut brokers = known.broker_addr_table.iter();
    let found = brokers.find(|(_, broker)| broker.broker_addrs.values().any(|other| other == addr));
    found.map(|(name, _)| name.clone()).ok_or_else(|| {
        let all = known.broker_addr_table.values().flat_map(|b| b.broker_addrs.values().cloned());
        Failure::UnknownBroker { asked: addr.to_owned(), known: all.collect() }
    })
}
