//! Replicas of Java's 5.x brokers: `haStatus`, `getBrokerEpoch`, `resetMasterFlushOffset`. Brokers without replicas refuse,
//! ours among them, and say so.

use std::fmt::{self, Display, Formatter};

use client::DefaultMqAdminExt;
use proto::body::{EpochCache, HaRuntimeInfo};
use serde::Serialize;
use serde_json::json;

use super::{every, json_of};
use crate::target::{Target, brokers_of};
use crate::text::{millis, or_null};
use crate::{Command, Failure, Output};

/// Shows how far the slaves of a master are, or how far a slave is.
#[derive(clap::Args)]
pub(crate) struct HaStatus {
    #[command(flatten)]
    target: Target,
    /// Again every so many seconds
    #[arg(short = 'i', long = "interval", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    interval: Option<u64>,
}

impl Command for HaStatus {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        every(self.interval, async || {
            for addr in self.target.masters(admin).await? {
                match admin.get_broker_ha_status(&addr).await {
                    Ok(status) => out.show(&Status { addr, status })?,
                    Err(error) => out.problem(error),
                }
            }
            Ok(())
        })
        .await
    }
}

struct Status {
    addr: String,
    status: HaRuntimeInfo,
}

impl Serialize for Status {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let status = json_of(|out| self.status.write(out));
        json!({ "addr": self.addr, "status": status }).serialize(serializer)
    }
}

fn kib(bytes: i64) -> f64 {
    bytes as f64 / 1024.0
}

impl Display for Status {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let s = &self.status;
        if !s.master {
            let slave = &s.ha_client_runtime_info;
            writeln!(f, "\n#MasterAddr\t{}", or_null(slave.master_addr.as_deref()))?;
            writeln!(f, "#CommitLogMaxOffset\t{}", slave.max_offset)?;
            let speed = kib(slave.transferred_byte_in_second);
            writeln!(f, "#TransferSpeed(KB/s)\t{speed:.2}")?;
            writeln!(f, "#LastReadTime\t{}", millis(slave.last_read_timestamp))?;
            writeln!(f, "#LastWriteTime\t{}", millis(slave.last_write_timestamp))?;
            return writeln!(f, "#MasterFlushOffset\t{}", slave.master_flush_offset);
        }
        writeln!(f, "\n#MasterAddr\t{}", self.addr)?;
        writeln!(f, "#MasterCommitLogMaxOffset\t{}", s.master_commit_log_max_offset)?;
        writeln!(f, "#SlaveNum\t{}", s.ha_connection_info.len())?;
        writeln!(f, "#InSyncSlaveNum\t{}", s.in_sync_slave_nums)?;
        writeln!(
            f,
            "{:<32}  {:<16} {:>16} {:>16} {:>16} {:>16}",
            "#SlaveAddr",
            "#SlaveAckOffset",
            "#Diff",
            "#TransferSpeed(KB/s)",
            "#Status",
            "#TransferFromWhere"
        )?;
        for slave in &s.ha_connection_info {
            writeln!(
                f,
                "{:<32}  {:<16} {:>16} {:>16.2} {:>16} {:>16}",
                slave.addr,
                slave.slave_ack_offset,
                slave.diff,
                kib(slave.transferred_byte_in_second),
                if slave.in_sync { "OK" } else { "Fall Behind" },
                slave.transfer_from_where
            )?;
        }
        Ok(())
    }
}

/// Shows which master wrote which part of a broker's log.
#[derive(clap::Args)]
#[group(id = "whose", required = true, multiple = false, args = ["cluster_name", "broker_name"])]
pub(crate) struct GetBrokerEpoch {
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

impl Command for GetBrokerEpoch {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        every(self.interval, async || {
            for addr in self.addrs(admin).await? {
                match admin.get_broker_epoch_cache(&addr).await {
                    Ok(epochs) => out.show(&Epochs { addr, epochs })?,
                    Err(error) => out.problem(error),
                }
            }
            Ok(())
        })
        .await
    }
}

impl GetBrokerEpoch {
    async fn addrs(&self, admin: &DefaultMqAdminExt) -> Result<Vec<String>, Failure> {
        let known = admin.examine_broker_cluster_info().await?;
        let brokers = match (&self.cluster_name, &self.broker_name) {
            (Some(cluster), _) => brokers_of(&known, cluster)?,
            (None, name) => {
                let name = name.as_deref().unwrap_or_default();
                let found = known.broker_addr_table.get(name).cloned();
                let unknown = || Failure::UnknownBroker {
                    asked: name.to_owned(),
                    known: known.broker_addr_table.keys().cloned().collect(),
                };
                vec![found.ok_or_else(unknown)?]
            }
        };
        Ok(brokers.into_iter().flat_map(|broker| broker.broker_addrs.into_values()).collect())
    }
}

struct Epochs {
    addr: String,
    epochs: EpochCache,
}

impl Serialize for Epochs {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let epochs = json_of(|out| self.epochs.write(out));
        json!({ "addr": self.addr, "epochs": epochs }).serialize(serializer)
    }
}

impl Display for Epochs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let e = &self.epochs;
        writeln!(f, "\n#clusterName\t{}\n#brokerName\t{}", e.cluster_name, e.broker_name)?;
        write!(f, "#brokerAddr\t{}\n#brokerId\t{}", self.addr, e.broker_id)?;
        for (index, entry) in e.epoch_list.iter().enumerate() {
            // The last one has not ended: it reaches as far as the log.
            let last = index + 1 == e.epoch_list.len();
            let end = if last { e.max_offset } else { entry.end_offset };
            let (epoch, start) = (entry.epoch, entry.start_offset);
            write!(
                f,
                "\n#Epoch: EpochEntry{{epoch={epoch}, startOffset={start}, endOffset={end}}}"
            )?;
        }
        writeln!(f)
    }
}

/// Tells a slave up to where its master's log is on disk.
#[derive(clap::Args)]
pub(crate) struct ResetMasterFlushOffset {
    /// Address of the slave, host:port
    #[arg(short = 'b', long = "brokerAddr", value_name = "ADDR")]
    broker_addr: String,
    /// The offset
    #[arg(short = 'o', long = "offset", value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
    offset: i64,
}

impl Command for ResetMasterFlushOffset {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let (addr, offset) = (&self.broker_addr, self.offset);
        admin.reset_master_flush_offset(addr, offset).await?;
        let json = json!({ "addr": addr, "offset": offset });
        out.say(format!("reset master flush offset to {offset} success"), json)
    }
}
