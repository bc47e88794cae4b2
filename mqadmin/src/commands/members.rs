//! Commands about who is connected: `consumerConnection`, `producerConnection`, `producer`.

use std::fmt::Write as _;

use client::DefaultMqAdminExt;
use proto::body::{Connection, ConsumerConnection};
use serde_json::json;

use crate::commands::json_of;
use crate::{Command, Failure, Output};

/// Shows the members of a consumer group and what they subscribe to.
#[derive(clap::Args)]
pub(crate) struct ConsumerConnections {
    /// The group
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP")]
    consumer_group: String,
    /// As this broker knows them, host:port
    #[arg(short = 'b', long = "brokerAddr", value_name = "ADDR")]
    broker_addr: Option<String>,
}

impl Command for ConsumerConnections {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let members = members_of(admin, &self.consumer_group, self.broker_addr.as_deref()).await?;
        out.say(text_of(&members), json_of(|bytes| members.write(bytes)))
    }
}

/// The members of a group, as a broker knows them or else the first that knows any.
pub(crate) async fn members_of(
    admin: &DefaultMqAdminExt,
    group: &str,
    broker: Option<&str>,
) -> Result<ConsumerConnection, Failure> {
    Ok(match broker {
        Some(addr) => admin.examine_consumer_connection_info_at(addr, group).await?,
        None => admin.examine_consumer_connection_info(group).await?,
    })
}

fn text_of(members: &ConsumerConnection) -> String {
    let mut text = String::new();
    let mut row = |a: &str, b: &str, c: &str, d: &str| {
        let _ = writeln!(text, "{a:<36} {b:<22} {c:<10} {d}");
    };
    row("#ClientId", "#ClientAddr", "#Language", "#Version");
    for Connection { client_id, client_addr, language, version } in &members.connection_set {
        row(client_id, client_addr, language, &proto::version::name(*version));
    }
    let _ = writeln!(text, "\nBelow is subscription:\n{:<20} #SubExpression", "#Topic");
    for subscription in members.subscription_table.values() {
        let _ = writeln!(text, "{:<20} {}", subscription.topic, subscription.sub_string);
    }
    let _ = writeln!(
        text,
        "\nConsumeType: {}\nMessageModel: {}\nConsumeFromWhere: {}",
        members.consume_type.name(),
        members.message_model.name(),
        members.consume_from_where.name()
    );
    text
}

/// Shows the members of a producer group.
#[derive(clap::Args)]
pub(crate) struct ProducerConnections {
    /// The group
    #[arg(short = 'g', long = "producerGroup", value_name = "GROUP")]
    producer_group: String,
    /// A topic that it sends to
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
}

impl Command for ProducerConnections {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let (group, topic) = (&self.producer_group, &self.topic);
        let members = admin.examine_producer_connection_info(group, topic).await?;
        let mut text = String::new();
        for (index, member) in members.connection_set.iter().enumerate() {
            let _ = writeln!(
                text,
                "{:04}  {:<32} {:<22} {:<8} {}",
                index + 1,
                member.client_id,
                member.client_addr,
                member.language,
                proto::version::name(member.version)
            );
        }
        out.say(text, json_of(|bytes| members.write(bytes)))
    }
}

/// Shows all producers that are connected to a broker.
#[derive(clap::Args)]
pub(crate) struct Producers {
    /// Address of the broker, host:port
    #[arg(short = 'b', long = "broker", value_name = "ADDR")]
    broker: String,
}

impl Command for Producers {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let groups = admin.get_all_producer_info(&self.broker).await?.data;
        let mut text = String::new();
        let mut json = serde_json::Map::new();
        for (group, members) in &groups {
            if members.is_empty() {
                let _ = writeln!(text, "producer group ({group}) instances are empty");
            }
            let mut list = Vec::new();
            for p in members {
                let _ = writeln!(
                    text,
                    "producer group ({group}) instance : clientId={},remoteIP={}, language={}, version={}, \
                     lastUpdateTimestamp={}",
                    p.client_id, p.remote_ip, p.language, p.version, p.last_update_timestamp
                );
                list.push(json!({
                    "clientId": p.client_id, "remoteIP": p.remote_ip, "language": p.language,
                    "version": p.version, "lastUpdateTimestamp": p.last_update_timestamp,
                }));
            }
            json.insert(group.clone(), list.into());
        }
        out.say(text, json.into())
    }
}
