//! `consumerProgress`: how far consumer groups are behind.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use clap::ArgAction::Set;
use client::{AdminError, DefaultMqAdminExt};
use proto::body::{
    ConsumeProgress, ConsumeStats, ConsumeType, ConsumerConnection, MessageModel, MessageQueue,
};
use serde::Serialize;

use crate::text::{self, boolean, cut};
use crate::{Command, Failure, Output};

/// Before the name of a group: its retry topic.
const RETRY_TOPIC_PREFIX: &str = "%RETRY%";
/// Version of members when there are none; more than any has.
const NO_VERSION: i32 = i32::MAX;

/// Shows how far a group is in each queue, or all groups in a line each.
#[derive(clap::Args)]
pub(crate) struct ConsumerProgress {
    /// One group, queue by queue
    #[arg(short = 'g', long = "groupName", value_name = "GROUP")]
    group_name: Option<String>,
    /// Whose queues they are
    #[arg(short = 's', long = "showClientIP", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    show_client_ip: bool,
    /// 5.x: one topic only
    #[arg(short = 't', long = "topicName", value_name = "TOPIC", requires = "group_name")]
    topic_name: Option<String>,
}

impl Command for ConsumerProgress {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        match &self.group_name {
            Some(group) => self.one(admin, out, group).await,
            None => all(admin, out).await,
        }
    }
}

impl ConsumerProgress {
    async fn one(
        &self,
        admin: &DefaultMqAdminExt,
        out: &mut Output,
        group: &str,
    ) -> Result<(), Failure> {
        let stats = admin.examine_consume_stats(group, self.topic_name.as_deref()).await?;
        let clients = match self.show_client_ip {
            true => Some(clients_by_queue(admin, group).await),
            false => None,
        };
        let rows = stats.offset_table.iter().map(|entry| QueueRow::of(entry, clients.as_ref()));
        out.show(&OfGroup {
            group: group.to_owned(),
            show_client_ip: self.show_client_ip,
            queues: rows.collect(),
            consume_tps: stats.consume_tps,
            diff_total: diff_total(&stats),
        })
    }
}

/// Which client has which queue, as far as clients tell. Those that do not leave their queues without a name.
async fn clients_by_queue(
    admin: &DefaultMqAdminExt,
    group: &str,
) -> BTreeMap<MessageQueue, String> {
    let mut clients = BTreeMap::new();
    let Ok(members) = admin.examine_consumer_connection_info(group).await else { return clients };
    for member in members.connection_set {
        let info = admin.get_consumer_running_info(group, &member.client_id, false).await;
        let ip = member.client_id.split('@').next().unwrap_or_default();
        let queues = info.map(|info| info.mq_table.into_keys()).into_iter().flatten();
        clients.extend(queues.map(|queue| (queue, ip.to_owned())));
    }
    clients
}

fn diff_total(stats: &ConsumeStats) -> i64 {
    let diffs = stats.offset_table.values();
    diffs.map(|p| p.broker_offset.wrapping_sub(p.consumer_offset)).fold(0, i64::wrapping_add)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfGroup {
    group: String,
    #[serde(skip)]
    show_client_ip: bool,
    queues: Vec<QueueRow>,
    consume_tps: f64,
    diff_total: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueRow {
    topic: String,
    broker_name: String,
    queue_id: i32,
    broker_offset: i64,
    consumer_offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ip: Option<String>,
    diff: i64,
    last_timestamp: i64,
}

impl QueueRow {
    fn of(
        (queue, progress): (&MessageQueue, &ConsumeProgress),
        clients: Option<&BTreeMap<MessageQueue, String>>,
    ) -> QueueRow {
        QueueRow {
            topic: queue.topic.clone(),
            broker_name: queue.broker_name.clone(),
            queue_id: queue.queue_id,
            broker_offset: progress.broker_offset,
            consumer_offset: progress.consumer_offset,
            client_ip: clients.and_then(|clients| clients.get(queue)).cloned(),
            diff: progress.broker_offset.wrapping_sub(progress.consumer_offset),
            last_timestamp: progress.last_timestamp,
        }
    }
}

impl Display for OfGroup {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let client = |shown: &str| match self.show_client_ip {
            true => format!("{shown:<20} "),
            false => String::new(),
        };
        writeln!(
            f,
            "{:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {}{:<20}  #LastTime",
            "#Topic",
            "#Broker Name",
            "#QID",
            "#Broker Offset",
            "#Consumer Offset",
            client("#Client IP"),
            "#Diff"
        )?;
        for q in &self.queues {
            let last_time = match q.last_timestamp {
                0 => "N/A".to_owned(),
                ms => text::seconds(ms),
            };
            writeln!(
                f,
                "{:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {}{:<20}  {last_time}",
                cut(&q.topic, 64),
                cut(&q.broker_name, 32),
                q.queue_id,
                q.broker_offset,
                q.consumer_offset,
                client(q.client_ip.as_deref().unwrap_or("N/A")),
                q.diff
            )?;
        }
        writeln!(f, "\nConsume TPS: {:.2}\nDiff Total: {}", self.consume_tps, self.diff_total)
    }
}

/// All groups: those that have a retry topic.
async fn all(admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
    let topics = admin.fetch_all_topic_list().await?.topic_list;
    let groups = topics.iter().filter_map(|topic| topic.strip_prefix(RETRY_TOPIC_PREFIX));
    let groups: Vec<&str> = groups.collect();
    let progress = out.progress(groups.len());
    let mut rows = Vec::new();
    for group in groups {
        let stats = refused_is_none(admin.examine_consume_stats(group, None).await, out);
        let members = refused_is_none(admin.examine_consumer_connection_info(group).await, out);
        rows.push(GroupRow::of(group, stats.as_ref(), members.as_ref()));
        progress.step();
    }
    drop(progress);
    out.show(&Groups(rows))
}

/// A group that is offline or has consumed nothing is no failure; a broker that does not answer is one.
fn refused_is_none<T>(outcome: Result<T, AdminError>, out: &mut Output) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            if error.code().is_none() {
                out.problem(error);
            }
            None
        }
    }
}

#[derive(Serialize)]
struct Groups(Vec<GroupRow>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupRow {
    group: String,
    count: usize,
    version: String,
    consume_type: &'static str,
    message_model: &'static str,
    consume_tps: f64,
    diff_total: i64,
}

impl GroupRow {
    fn of(
        group: &str,
        stats: Option<&ConsumeStats>,
        members: Option<&ConsumerConnection>,
    ) -> GroupRow {
        let versions = members.iter().flat_map(|m| &m.connection_set).map(|c| c.version);
        let version = versions.min().unwrap_or(NO_VERSION);
        let count = members.map_or(0, |members| members.connection_set.len());
        let of_members = |text: fn(&ConsumerConnection) -> &'static str| {
            members.filter(|_| count > 0).map_or("", text)
        };
        GroupRow {
            group: group.to_owned(),
            count,
            version: match count {
                0 => "OFFLINE".to_owned(),
                _ => proto::version::name(version),
            },
            consume_type: of_members(|members| match members.consume_type {
                ConsumeType::ConsumeActively => "PULL",
                ConsumeType::ConsumePassively | ConsumeType::ConsumePop => "PUSH",
            }),
            message_model: of_members(|members| {
                match (members.consume_type, members.message_model) {
                    (ConsumeType::ConsumePassively, MessageModel::Broadcasting) => "BROADCASTING",
                    (ConsumeType::ConsumePassively, MessageModel::Clustering) => "CLUSTERING",
                    _ => "",
                }
            }),
            consume_tps: stats.map_or(0.0, |stats| stats.consume_tps),
            diff_total: stats.map_or(0, diff_total),
        }
    }
}

impl Display for Groups {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<64}  {:<6}  {:<24} {:<5}  {:<14}  {:<7}  #Diff Total",
            "#Group", "#Count", "#Version", "#Type", "#Model", "#TPS"
        )?;
        for g in &self.0 {
            writeln!(
                f,
                "{:<64}  {:<6}  {:<24} {:<5}  {:<14}  {:<7}  {}",
                cut(&g.group, 64),
                g.count,
                g.version,
                g.consume_type,
                g.message_model,
                g.consume_tps as i64,
                g.diff_total
            )?;
        }
        Ok(())
    }
}
