//! Controllers of Java's 5.x clusters: `getSyncStateSet`, `getControllerMetaData`, `getControllerConfig`,
//! `updateControllerConfig`, `electMaster`, `cleanBrokerMetadata`.

use std::fmt::{self, Display, Formatter};

use client::DefaultMqAdminExt;
use client::admin_ext::{BrokersToClean, ControllerMetaData, Election};
use proto::body::{BrokerReplicasInfo, ReplicaIdentity};
use serde::Serialize;
use serde_json::json;

use super::namesrv::{ServerConfig, tell_server_config_update};
use super::{every, json_of};
use crate::target::brokers_of;
use crate::text::or_null;
use crate::{Command, Failure, Output};

/// A number that may be missing, as Java prints it.
fn number(value: Option<i64>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}

/// Shows which replicas a controller counts as in sync.
#[derive(clap::Args)]
#[group(id = "whose", required = true, multiple = false, args = ["cluster_name", "broker_name"])]
pub(crate) struct GetSyncStateSet {
    /// Address of a controller, host:port; of several the first is asked
    #[arg(
        short = 'a',
        long = "controllerAddress",
        value_name = "ADDR",
        required = true,
        value_delimiter = ';'
    )]
    controller_address: Vec<String>,
    /// All brokers of a cluster
    #[arg(short = 'c', long = "clusterName", value_name = "CLUSTER")]
    cluster_name: Option<String>,
    /// The brokers of a name
    #[arg(short = 'b', long = "brokerName", value_name = "BROKER")]
    broker_name: Option<String>,
    /// Again every so many seconds
    #[arg(short = 'i', long = "interval", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    interval: Option<u64>,
}

impl Command for GetSyncStateSet {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let controller = self.controller_address.first().map(String::as_str).unwrap_or_default();
        every(self.interval, async || {
            let names = match (&self.broker_name, &self.cluster_name) {
                (Some(name), _) => vec![name.clone()],
                (None, cluster) => {
                    let known = admin.examine_broker_cluster_info().await?;
                    let cluster = cluster.as_deref().unwrap_or_default();
                    let brokers = brokers_of(&known, cluster)?.into_iter();
                    brokers.map(|broker| broker.broker_name).collect()
                }
            };
            let found = admin.get_in_sync_state_data(controller, &names).await?;
            out.show(&SyncStates(found))
        })
        .await
    }
}

struct SyncStates(BrokerReplicasInfo);

impl Serialize for SyncStates {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json_of(|out| self.0.write(out)).serialize(serializer)
    }
}

impl Display for SyncStates {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, replicas) in &self.0.replicas_info_table {
            write!(
                f,
                "\n#brokerName\t{name}\n#MasterBrokerId\t{}\n#MasterAddr\t{}\n#MasterEpoch\t{}\n\
                 #SyncStateSetEpoch\t{}\n#SyncStateSetNums\t{}\n",
                number(replicas.master_broker_id),
                or_null(replicas.master_address.as_deref()),
                number(replicas.master_epoch),
                number(replicas.sync_state_set_epoch),
                replicas.in_sync_replicas.len()
            )?;
            for replica in &replicas.in_sync_replicas {
                writeln!(f, "\nInSyncReplica:\t{}", identity(replica))?;
            }
            for replica in &replicas.not_in_sync_replicas {
                writeln!(f, "\nNotInSyncReplica:\t{}", identity(replica))?;
            }
        }
        Ok(())
    }
}

fn identity(replica: &ReplicaIdentity) -> String {
    format!(
        "ReplicaIdentity{{brokerName='{}', brokerId={}, brokerAddress='{}', alive={}}}",
        or_null(replica.broker_name.as_deref()),
        number(replica.broker_id),
        or_null(replica.broker_address.as_deref()),
        replica.alive.map_or_else(|| "null".to_owned(), |alive| alive.to_string())
    )
}

/// Shows who leads a group of controllers.
#[derive(clap::Args)]
pub(crate) struct GetControllerMetaData {
    /// Address of a controller, host:port
    #[arg(short = 'a', long = "controllerAddress", value_name = "ADDR")]
    controller_address: String,
}

impl Command for GetControllerMetaData {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let found = admin.get_controller_meta_data(&self.controller_address).await?;
        let ControllerMetaData { group, leader_id, leader_addr, peers } = &found;
        let mut text = format!(
            "\n#ControllerGroup\t{}\n#ControllerLeaderId\t{}\n#ControllerLeaderAddress\t{}",
            or_null(group.as_deref()),
            or_null(leader_id.as_deref()),
            or_null(leader_addr.as_deref())
        );
        peers.iter().for_each(|peer| text.push_str(&format!("\n#Peer:\t{peer}")));
        let json = json!({
            "group": group,
            "controllerLeaderId": leader_id,
            "controllerLeaderAddress": leader_addr,
            "peers": peers,
        });
        out.say(text, json)
    }
}

/// Shows the configuration of controllers.
#[derive(clap::Args)]
pub(crate) struct GetControllerConfig {
    /// Addresses of controllers, host:port;host:port
    #[arg(
        short = 'a',
        long = "controllerAddress",
        value_name = "ADDRS",
        required = true,
        value_delimiter = ';'
    )]
    controller_address: Vec<String>,
}

impl Command for GetControllerConfig {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        for addr in &self.controller_address {
            match admin.get_controller_config(addr).await {
                Ok(config) => out.show(&ServerConfig { addr, config })?,
                Err(error) => out.problem(error),
            }
        }
        Ok(())
    }
}

/// Gives a key of the controllers' configuration a new value.
#[derive(clap::Args)]
pub(crate) struct UpdateControllerConfig {
    /// Addresses of controllers, host:port;host:port
    #[arg(
        short = 'a',
        long = "controllerAddress",
        value_name = "ADDRS",
        required = true,
        value_delimiter = ';'
    )]
    controller_address: Vec<String>,
    /// The key
    #[arg(short = 'k', long = "key", value_name = "KEY")]
    key: String,
    /// Its new value
    #[arg(short = 'v', long = "value", value_name = "VALUE")]
    value: String,
}

impl Command for UpdateControllerConfig {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let UpdateControllerConfig { controller_address, key, value } = self;
        let mut done: Vec<&str> = Vec::new();
        for addr in controller_address {
            match admin.update_controller_config(addr, key, value).await {
                Ok(()) => done.push(addr),
                Err(error) => out.problem(error),
            }
        }
        tell_server_config_update(out, "controller", &done, (key, value))
    }
}

/// Makes a broker the master of those of its name.
#[derive(clap::Args)]
pub(crate) struct ElectMaster {
    /// Address of a controller, host:port
    #[arg(short = 'a', long = "controllerAddress", value_name = "ADDR")]
    controller_address: String,
    /// Id of the broker
    #[arg(short = 'b', long = "brokerId", value_name = "ID")]
    broker_id: i64,
    /// Its name (-bn)
    #[arg(long = "brokerName", alias = "bn", value_name = "BROKER")]
    broker_name: String,
    /// Its cluster
    #[arg(short = 'c', long = "clusterName", value_name = "CLUSTER")]
    cluster_name: String,
}

impl Command for ElectMaster {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let ElectMaster { controller_address, broker_id, broker_name, cluster_name } = self;
        let election =
            admin.elect_master(controller_address, cluster_name, broker_name, *broker_id).await?;
        let Election { master_addr, master_epoch, sync_state_set_epoch, members } = &election;
        let mut text = format!(
            "\n#ClusterName\t{cluster_name}\n#BrokerName\t{broker_name}\n#BrokerMasterAddr\t{}\n#MasterEpoch\t{}\n\
             #SyncStateSetEpoch\t{}\n",
            or_null(master_addr.as_deref()),
            or_null(master_epoch.as_deref()),
            or_null(sync_state_set_epoch.as_deref())
        );
        for (id, addr) in &members.broker_addrs {
            text.push_str(&format!("\t#Broker\t{id}\t{addr}\n"));
        }
        let json = json!({
            "clusterName": cluster_name,
            "brokerName": broker_name,
            "masterAddress": master_addr,
            "masterEpoch": master_epoch,
            "syncStateSetEpoch": sync_state_set_epoch,
            "brokerAddrs": members.broker_addrs,
        });
        out.say(text, json)
    }
}

/// Has controllers forget brokers.
#[derive(clap::Args)]
pub(crate) struct CleanBrokerMetadata {
    /// Address of a controller, host:port
    #[arg(short = 'a', long = "controllerAddress", value_name = "ADDR")]
    controller_address: String,
    /// Ids of the brokers, 1;2;3; without it all of the name
    #[arg(
        short = 'b',
        long = "brokerControllerIdsToClean",
        value_name = "IDS",
        value_delimiter = ';'
    )]
    broker_controller_ids_to_clean: Vec<i64>,
    /// Their name (-bn)
    #[arg(long = "brokerName", alias = "bn", value_name = "BROKER")]
    broker_name: String,
    /// Their cluster; not needed with -l
    #[arg(
        short = 'c',
        long = "clusterName",
        value_name = "CLUSTER",
        required_unless_present = "clean_living_broker"
    )]
    cluster_name: Option<String>,
    /// Those that live, too
    #[arg(short = 'l', long = "cleanLivingBroker")]
    clean_living_broker: bool,
}

impl Command for CleanBrokerMetadata {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let ids: Vec<String> =
            self.broker_controller_ids_to_clean.iter().map(i64::to_string).collect();
        let ids = ids.join(";");
        let brokers = BrokersToClean {
            cluster: self.cluster_name.as_deref(),
            broker_name: &self.broker_name,
            ids: Some(ids.as_str()).filter(|ids| !ids.is_empty()),
            living: self.clean_living_broker,
        };
        admin.clean_controller_broker_data(&self.controller_address, &brokers).await?;
        out.say(
            format!("clear broker {} metadata from controller success! ", self.broker_name),
            json!({ "brokerName": self.broker_name }),
        )
    }
}
