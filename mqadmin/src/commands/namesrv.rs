//! Commands about name servers: `updateKvConfig`, `deleteKvConfig`, `updateOrderConf`, `wipeWritePerm`, `addWritePerm`,
//! `getNamesrvConfig`, `updateNamesrvConfig`. Changes go to each of them.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use clap::ValueEnum;
use client::admin_ext::ORDER_TOPIC_CONFIG;
use client::{AdminError, DefaultMqAdminExt};
use serde::Serialize;
use serde_json::json;

use crate::{Command, Failure, Output};

/// The response code of what is not there.
const QUERY_NOT_FOUND: i32 = proto::code::response::QUERY_NOT_FOUND;

/// Writes a text down under a namespace and a key.
#[derive(clap::Args)]
pub(crate) struct UpdateKvConfig {
    /// The namespace
    #[arg(short = 's', long = "namespace", value_name = "NAMESPACE")]
    namespace: String,
    /// The key
    #[arg(short = 'k', long = "key", value_name = "KEY")]
    key: String,
    /// The text
    #[arg(short = 'v', long = "value", value_name = "VALUE")]
    value: String,
}

impl Command for UpdateKvConfig {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let UpdateKvConfig { namespace, key, value } = self;
        admin.create_and_update_kv_config(namespace, key, value).await?;
        out.say(
            "create or update kv config to namespace success.",
            json!({ "namespace": namespace, "key": key, "value": value }),
        )
    }
}

/// Removes the text of a key.
#[derive(clap::Args)]
pub(crate) struct DeleteKvConfig {
    /// The namespace
    #[arg(short = 's', long = "namespace", value_name = "NAMESPACE")]
    namespace: String,
    /// The key
    #[arg(short = 'k', long = "key", value_name = "KEY")]
    key: String,
}

impl Command for DeleteKvConfig {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let DeleteKvConfig { namespace, key } = self;
        admin.delete_kv_config(namespace, key).await?;
        out.say(
            "delete kv config from namespace success.",
            json!({ "namespace": namespace, "key": key }),
        )
    }
}

/// Shows, writes down or removes the queues of an ordered topic.
#[derive(clap::Args)]
pub(crate) struct UpdateOrderConf {
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// With put: broker:queues;broker:queues
    #[arg(short = 'v', long = "orderConf", value_name = "CONF", required_if_eq("method", "put"))]
    order_conf: Option<String>,
    /// What to do
    #[arg(short = 'm', long = "method", value_name = "METHOD", value_enum)]
    method: Method,
}

#[derive(Clone, Copy, ValueEnum)]
enum Method {
    Put,
    Get,
    Delete,
}

impl Command for UpdateOrderConf {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let topic = &self.topic;
        match self.method {
            Method::Get => {
                let found = admin.get_kv_config(ORDER_TOPIC_CONFIG, topic).await?;
                let conf = found.ok_or_else(|| AdminError::NotFound {
                    what: format!("the name server has no orderConf of topic {topic}"),
                    code: QUERY_NOT_FOUND,
                })?;
                out.say(
                    format!("get orderConf success. topic=[{topic}], orderConf=[{conf}] "),
                    json!({ "topic": topic, "orderConf": conf }),
                )
            }
            Method::Put => {
                let conf = checked_order_conf(self.order_conf.as_deref().unwrap_or_default())?;
                admin.create_or_update_order_conf(topic, conf, true).await?;
                out.say(
                    format!("update orderConf success. topic=[{topic}], orderConf=[{conf}]"),
                    json!({ "topic": topic, "orderConf": conf }),
                )
            }
            Method::Delete => {
                admin.delete_kv_config(ORDER_TOPIC_CONFIG, topic).await?;
                out.say(
                    format!("delete orderConf success. topic=[{topic}]"),
                    json!({ "topic": topic }),
                )
            }
        }
    }
}

/// `broker:queues;broker:queues`: clients of an ordered topic cannot read anything else.
fn checked_order_conf(text: &str) -> Result<&str, Failure> {
    let good = |part: &str| {
        let (broker, queues) = part.split_once(':')?;
        queues.parse::<u32>().ok().filter(|_| !broker.is_empty())
    };
    let mut parts = text.split(';').filter(|part| !part.is_empty()).peekable();
    if parts.peek().is_none() {
        return Err(Failure::Usage("please set orderConf with option -v.".to_owned()));
    }
    let bad: Vec<&str> = parts.filter(|part| good(part).is_none()).collect();
    if bad.is_empty() {
        return Ok(text);
    }
    let bad = bad.join(", ");
    Err(Failure::Usage(format!(
        "-v orderConf is broker:queues;broker:queues, which these are not: {bad}"
    )))
}

/// The name servers, or why there is nobody to ask.
fn name_servers(admin: &DefaultMqAdminExt) -> Result<&[String], Failure> {
    match admin.get_name_server_address_list() {
        [] => Err(AdminError::NoNameServer.into()),
        addrs => Ok(addrs),
    }
}

/// Has name servers lead no producer to a broker any more.
#[derive(clap::Args)]
pub(crate) struct WipeWritePerm {
    /// Name of the broker
    #[arg(short = 'b', long = "brokerName", value_name = "BROKER")]
    broker_name: String,
}

impl Command for WipeWritePerm {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        for addr in name_servers(admin)? {
            let outcome = admin.wipe_write_perm_of_broker(addr, &self.broker_name).await;
            tell_write_perm(out, "wipe", (addr, &self.broker_name), outcome)?;
        }
        Ok(())
    }
}

/// Has name servers lead producers to a broker again.
#[derive(clap::Args)]
pub(crate) struct AddWritePerm {
    /// Name of the broker
    #[arg(short = 'b', long = "brokerName", value_name = "BROKER")]
    broker_name: String,
}

impl Command for AddWritePerm {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        for addr in name_servers(admin)? {
            let outcome = admin.add_write_perm_of_broker(addr, &self.broker_name).await;
            tell_write_perm(out, "add", (addr, &self.broker_name), outcome)?;
        }
        Ok(())
    }
}

fn tell_write_perm(
    out: &mut Output,
    verb: &str,
    (addr, broker): (&str, &str),
    outcome: Result<i64, AdminError>,
) -> Result<(), Failure> {
    let begin = format!("{verb} write perm of broker[{broker}] in name server[{addr}]");
    let json = |topics| json!({ "nameServer": addr, "brokerName": broker, "topics": topics });
    match outcome {
        Ok(topics) => out.say(format!("{begin} OK, {topics}"), json(Some(topics))),
        Err(error) => {
            out.problem(error);
            out.say(format!("{begin} Failed"), json(None))
        }
    }
}

/// Shows the configuration of each name server.
#[derive(clap::Args)]
pub(crate) struct GetNamesrvConfig {}

impl Command for GetNamesrvConfig {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        for addr in name_servers(admin)? {
            match admin.get_name_server_config(addr).await {
                Ok(config) => out.show(&ServerConfig { addr, config })?,
                Err(error) => out.problem(error),
            }
        }
        Ok(())
    }
}

/// The configuration of a name server or controller.
#[derive(Serialize)]
pub(crate) struct ServerConfig<'a> {
    /// Whose it is.
    pub(crate) addr: &'a str,
    /// By key.
    pub(crate) config: BTreeMap<String, String>,
}

impl Display for ServerConfig<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "============{}============", self.addr)?;
        self.config.iter().try_for_each(|(key, value)| writeln!(f, "{key:<50}=  {value}"))
    }
}

/// Gives a key of the name servers' configuration a new value.
#[derive(clap::Args)]
pub(crate) struct UpdateNamesrvConfig {
    /// The key
    #[arg(short = 'k', long = "key", value_name = "KEY")]
    key: String,
    /// Its new value
    #[arg(short = 'v', long = "value", value_name = "VALUE")]
    value: String,
}

impl Command for UpdateNamesrvConfig {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let UpdateNamesrvConfig { key, value } = self;
        let mut done: Vec<&str> = Vec::new();
        for addr in name_servers(admin)? {
            match admin.update_name_server_config(addr, key, value).await {
                Ok(()) => done.push(addr),
                Err(error) => out.problem(error),
            }
        }
        tell_server_config_update(out, "name server", &done, (key, value))
    }
}

/// What became of a change at several servers; nothing when none took it.
pub(crate) fn tell_server_config_update(
    out: &mut Output,
    what: &str,
    done: &[&str],
    (key, value): (&str, &str),
) -> Result<(), Failure> {
    if done.is_empty() {
        return Ok(());
    }
    let addrs = done.join(", ");
    out.say(
        format!("update {what} config success![{addrs}]\n{key} : {value}"),
        json!({ "servers": done, "key": key, "value": value }),
    )
}

#[cfg(test)]
mod tests {
    use super::checked_order_conf;

    #[test]
    fn order_confs_are_checked() {
        assert!(checked_order_conf("broker-a:4;broker-b:8").is_ok());
        for bad in ["", ";", "broker-a", "broker-a:x", ":4", "a:4;b"] {
            assert!(checked_order_conf(bad).is_err(), "{bad:?}");
        }
    }
}
