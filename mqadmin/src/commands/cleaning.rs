//! Commands that have brokers make room: `cleanExpiredCQ`, `deleteExpiredCommitLog`, `cleanUnusedTopic`.

use client::{AdminError, DefaultMqAdminExt};
use proto::body::ClusterInfo;
use serde_json::json;

use crate::target::brokers_of;
use crate::{Command, Failure, Output};

/// One broker, those of a cluster, or all.
#[derive(clap::Args)]
struct Brokers {
    /// Address of a broker, host:port
    #[arg(short = 'b', long = "brokerAddr", value_name = "ADDR", conflicts_with = "cluster")]
    broker_addr: Option<String>,
    /// A cluster; without it and -b all clusters
    #[arg(short = 'c', long = "cluster", value_name = "CLUSTER")]
    cluster: Option<String>,
}

impl Brokers {
    async fn addrs(&self, admin: &DefaultMqAdminExt) -> Result<Vec<String>, Failure> {
        if let Some(addr) = &self.broker_addr {
            return Ok(vec![addr.clone()]);
        }
        let known = admin.examine_broker_cluster_info().await?;
        let clusters: Vec<&str> = match &self.cluster {
            Some(cluster) => vec![cluster],
            None => known.cluster_addr_table.keys().map(String::as_str).collect(),
        };
        let mut all = Vec::new();
        for cluster in clusters {
            all.extend(addrs_of(&known, cluster)?);
        }
        Ok(all)
    }

    /// Has each of them do it; what one refuses the others do nevertheless.
    async fn each(
        &self,
        admin: &DefaultMqAdminExt,
        out: &mut Output,
        ask: impl AsyncFn(&str) -> Result<(), AdminError>,
    ) -> Result<(), Failure> {
        let mut done = Vec::new();
        let mut success = true;
        for addr in self.addrs(admin).await? {
            match ask(&addr).await {
                Ok(()) => done.push(addr),
                Err(error) => {
                    success = false;
                    out.problem(error);
                }
            }
        }
        let text = if success { "success" } else { "false" };
        out.say(text, json!({ "success": success, "brokers": done }))
    }
}

fn addrs_of(known: &ClusterInfo, cluster: &str) -> Result<Vec<String>, Failure> {
    let brokers = brokers_of(known, cluster)?.into_iter();
    Ok(brokers.flat_map(|broker| broker.broker_addrs.into_values()).collect())
}

/// Removes files of consume queues whose messages are gone.
#[derive(clap::Args)]
pub(crate) struct CleanExpiredCq {
    #[command(flatten)]
    brokers: Brokers,
}

impl Command for CleanExpiredCq {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let ask = async |addr: &str| admin.clean_expired_consumer_queue_by_addr(addr).await;
        self.brokers.each(admin, out, ask).await
    }
}

/// Removes expired files of the commit log now, whatever `deleteWhen` says.
#[derive(clap::Args)]
pub(crate) struct DeleteExpiredCommitLog {
    #[command(flatten)]
    brokers: Brokers,
}

impl Command for DeleteExpiredCommitLog {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let ask = async |addr: &str| admin.delete_expired_commit_log_by_addr(addr).await;
        self.brokers.each(admin, out, ask).await
    }
}

/// Removes consume queues of topics that do not exist.
#[derive(clap::Args)]
pub(crate) struct CleanUnusedTopic {
    #[command(flatten)]
    brokers: Brokers,
}

impl Command for CleanUnusedTopic {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let ask = async |addr: &str| admin.clean_unused_topic_by_addr(addr).await;
        self.brokers.each(admin, out, ask).await
    }
}
