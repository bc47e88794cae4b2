//! Commands about single brokers: `brokerStatus`, `getBrokerConfig`, `updateBrokerConfig`.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use clap::ArgAction::Set;
use client::DefaultMqAdminExt;
use serde::Serialize;
use serde_json::json;

use crate::target::{Target, brokers_of, masters};
use crate::text::boolean;
use crate::{Command, Failure, Output};

/// Shows the figures of a broker, or of each of a cluster.
#[derive(clap::Args)]
pub(crate) struct BrokerStatus {
    #[command(flatten)]
    target: Target,
}

impl Command for BrokerStatus {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let several = self.target.broker_addr.is_none();
        for addr in self.target.brokers(admin).await? {
            match admin.fetch_broker_runtime_stats(&addr).await {
                Ok(figures) => out.show(&Figures { addr, several, figures: figures.table })?,
                Err(error) => out.problem(error),
            }
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Figures {
    addr: String,
    /// Of a cluster: each line says whose it is.
    #[serde(skip)]
    several: bool,
    figures: BTreeMap<String, String>,
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.figures {
            if self.several {
                write!(f, "{:<24} ", self.addr)?;
            }
            writeln!(f, "{name:<32}: {value}")?;
        }
        Ok(())
    }
}

/// Shows the configuration of a broker, or of each of a cluster.
#[derive(clap::Args)]
pub(crate) struct GetBrokerConfig {
    #[command(flatten)]
    target: Target,
}

impl Command for GetBrokerConfig {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        for (addr, role) in with_roles(&self.target, admin).await? {
            match admin.get_broker_config(&addr).await {
                Ok(config) => out.show(&Config { addr, role, config })?,
                Err(error) => out.problem(error),
            }
        }
        Ok(())
    }
}

/// Addresses, each with what it is in its cluster.
pub(crate) async fn with_roles(
    target: &Target,
    admin: &DefaultMqAdminExt,
) -> Result<Vec<(String, Role)>, Failure> {
    let Some(cluster) = &target.cluster_name else {
        let addrs = target.brokers(admin).await?;
        return Ok(addrs.into_iter().map(|addr| (addr, Role::Asked)).collect());
    };
    let known = admin.examine_broker_cluster_info().await?;
    let mut found = Vec::new();
    for broker in brokers_of(&known, cluster)? {
        let master = masters(std::slice::from_ref(&broker)).pop();
        found.extend(master.clone().map(|addr| (addr, Role::Master)));
        let slaves = broker.broker_addrs.into_values();
        let slaves = slaves.filter(|addr| Some(addr) != master.as_ref());
        found.extend(slaves.map(|addr| (addr, Role::Slave { master: master.clone() })));
    }
    Ok(found)
}

/// What a broker is in its cluster.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Role {
    Asked,
    Master,
    Slave { master: Option<String> },
}

impl Role {
    /// The line above what a broker tells.
    pub(crate) fn banner(&self, addr: &str) -> String {
        let line = "============";
        match self {
            Role::Asked => format!("{line}{addr}{line}"),
            Role::Master => format!("{line}Master: {addr}{line}"),
            Role::Slave { master } => {
                let master = master.as_deref().unwrap_or("null");
                format!("{line}My Master: {master}=====Slave: {addr}{line}")
            }
        }
    }
}

#[derive(Serialize)]
struct Config {
    addr: String,
    role: Role,
    config: BTreeMap<String, String>,
}

impl Display for Config {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.role.banner(&self.addr))?;
        for (key, value) in &self.config {
            writeln!(f, "{key:<50}=  {value}")?;
        }
        writeln!(f)
    }
}

/// Gives a key of a broker's configuration a new value, or of each of a cluster.
#[derive(clap::Args)]
pub(crate) struct UpdateBrokerConfig {
    #[command(flatten)]
    target: Target,
    /// The key
    #[arg(short = 'k', long = "key", value_name = "KEY")]
    key: String,
    /// Its new value
    #[arg(short = 'v', long = "value", value_name = "VALUE")]
    value: String,
    /// 5.x: at the slaves of the cluster, too
    #[arg(short = 'a', long = "updateAllBroker", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    update_all_broker: bool,
}

impl Command for UpdateBrokerConfig {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let addrs = match self.update_all_broker {
            true => self.target.brokers(admin).await?,
            false => self.target.masters(admin).await?,
        };
        for addr in addrs {
            match admin.update_broker_config(&addr, &self.key, &self.value).await {
                Ok(()) => out.say(
                    format!("update broker config success, {addr}"),
                    json!({ "addr": addr, "key": self.key, "value": self.value }),
                )?,
                Err(error) => out.problem(error),
            }
        }
        Ok(())
    }
}
