//! Commands about single brokers: `brokerStatus`, `getBrokerConfig`.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use client::DefaultMqAdminExt;
use serde::Serialize;

use crate::target::{Target, brokers_of, masters};
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
        for (addr, role) in self.brokers(admin).await? {
            match admin.get_broker_config(&addr).await {
                Ok(config) => out.show(&Config { addr, role, config })?,
                Err(error) => out.problem(error),
            }
        }
        Ok(())
    }
}

impl GetBrokerConfig {
    /// Addresses, each with what it is in its cluster.
    async fn brokers(&self, admin: &DefaultMqAdminExt) -> Result<Vec<(String, Role)>, Failure> {
        let Some(cluster) = &self.target.cluster_name else {
            let addrs = self.target.brokers(admin).await?;
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
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Role {
    Asked,
    Master,
    Slave { master: Option<String> },
}

#[derive(Serialize)]
struct Config {
    addr: String,
    role: Role,
    config: BTreeMap<String, String>,
}

impl Display for Config {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (line, addr) = ("============", &self.addr);
        match &self.role {
            Role::Asked => writeln!(f, "{line}{addr}{line}")?,
            Role::Master => writeln!(f, "{line}Master: {addr}{line}")?,
            Role::Slave { master } => {
                let master = master.as_deref().unwrap_or("null");
                writeln!(f, "{line}My Master: {master}=====Slave: {addr}{line}")?;
            }
        }
        for (key, value) in &self.config {
            writeln!(f, "{key:<50}=  {value}")?;
        }
        writeln!(f)
    }
}
