//! Commands about consumer groups as a whole: `deleteSubGroup`, `getConsumerConfig`, `setConsumeMode`, `brokerConsumeStats`.

use std::fmt::Write as _;
use std::time::Duration;

use clap::ArgAction::Set;
use client::DefaultMqAdminExt;
use proto::body::{MessageRequestMode, SubscriptionGroupConfig};
use serde_json::{Value, json};

use crate::commands::json_of;
use crate::target::{Target, brokers_of, masters};
use crate::text::{self, boolean, cut};
use crate::{Command, Failure, Output};

/// Before the name of a group: its topics.
const TOPICS_OF_GROUP: [&str; 2] = ["%RETRY%", "%DLQ%"];

/// Deletes a consumer group, of a cluster together with its retry topic and its dead letters.
#[derive(clap::Args)]
pub(crate) struct DeleteSubGroup {
    #[command(flatten)]
    target: Target,
    /// The group
    #[arg(short = 'g', long = "groupName", value_name = "GROUP")]
    group_name: String,
    /// Its offsets, too
    #[arg(short = 'r', long = "removeOffset", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    remove_offset: bool,
}

impl Command for DeleteSubGroup {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let group = &self.group_name;
        let cluster = self.target.cluster_name.as_deref();
        let addrs = self.target.masters(admin).await?;
        for addr in &addrs {
            admin.delete_subscription_group(addr, group, self.remove_offset).await?;
            let of_cluster = cluster.map(|name| format!(" in cluster [{name}]"));
            let text = format!(
                "delete subscription group [{group}] from broker [{addr}]{} success.",
                of_cluster.unwrap_or_default()
            );
            out.say(text, json!({"group": group, "broker": addr, "deleted": true}))?;
        }
        let Some(cluster) = cluster else { return Ok(()) };
        for topic in TOPICS_OF_GROUP.map(|prefix| format!("{prefix}{group}")) {
            admin.delete_topic_in_broker(&addrs, &topic).await?;
            let text = format!("delete topic [{topic}] from cluster [{cluster}] success.");
            out.say(text, json!({"topic": topic, "cluster": cluster, "deleted": true}))?;
            admin.delete_topic_in_name_server(None, &topic, Some(cluster)).await?;
            let text = format!("delete topic [{topic}] from NameServer success.");
            out.say(text, json!({"topic": topic, "nameServer": true, "deleted": true}))?;
        }
        Ok(())
    }
}

/// Shows the settings of a consumer group on each broker that has it.
#[derive(clap::Args)]
pub(crate) struct GetConsumerConfig {
    /// The group
    #[arg(short = 'g', long = "groupName", value_name = "GROUP")]
    group_name: String,
}

impl Command for GetConsumerConfig {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let known = admin.examine_broker_cluster_info().await?;
        let mut found = false;
        for cluster in known.cluster_addr_table.keys() {
            for broker in brokers_of(&known, cluster)? {
                let Some(addr) = broker.broker_addrs.values().next() else { continue };
                let config = admin.examine_subscription_group_config(addr, &self.group_name).await;
                let config = match config {
                    Ok(Some(config)) => config,
                    Ok(None) => continue,
                    Err(error) => {
                        out.problem(error);
                        continue;
                    }
                };
                found = true;
                let name = &broker.broker_name;
                let config_json = json_of(|bytes| config.write(bytes));
                out.say(
                    config_text(cluster, name, &config),
                    json!({"cluster": cluster, "broker": name, "config": config_json}),
                )?;
            }
        }
        if !found && out.problems() == 0 {
            out.note(&format!("no broker has group {}", self.group_name));
        }
        Ok(())
    }
}

/// The fields in the order in which Java declares them. What only 5.x has stands behind, when it says something.
fn config_text(cluster: &str, broker: &str, config: &SubscriptionGroupConfig) -> String {
    let line = "=".repeat(29);
    let mut text = format!("{line}{cluster}:{broker}{line}\n");
    let mut field = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<40}=  {value}");
    };
    field("groupName", config.group_name.clone());
    field("consumeEnable", config.consume_enable.to_string());
    field("consumeFromMinEnable", config.consume_from_min_enable.to_string());
    field("consumeBroadcastEnable", config.consume_broadcast_enable.to_string());
    field("retryQueueNums", config.retry_queue_nums.to_string());
    field("retryMaxTimes", config.retry_max_times.to_string());
    field("brokerId", config.broker_id.to_string());
    field("whichBrokerWhenConsumeSlowly", config.which_broker_when_consume_slowly.to_string());
    field("notifyConsumerIdsChangedEnable", config.notify_consumer_ids_changed_enable.to_string());
    if config.consume_message_orderly {
        field("consumeMessageOrderly", "true".to_owned());
    }
    if let Some(policy) = &config.group_retry_policy {
        field("groupRetryPolicy", policy.0.to_string());
    }
    if !config.attributes.is_empty() {
        field("attributes", text::map(&config.attributes));
    }
    text
}

/// Says how a group gets messages of a topic: members pull from queues of their own, or pop from shared ones.
#[derive(clap::Args)]
pub(crate) struct SetConsumeMode {
    #[command(flatten)]
    target: Target,
    /// The topic
    #[arg(short = 't', long = "topicName", value_name = "TOPIC")]
    topic_name: String,
    /// The group
    #[arg(short = 'g', long = "groupName", value_name = "GROUP")]
    group_name: String,
    /// PULL or POP
    #[arg(short = 'm', long = "mode", value_name = "MODE", value_parser = mode)]
    mode: MessageRequestMode,
    /// POP: queues that a member shares with others; 0 shares all
    #[arg(short = 'q', long = "popShareQueueNum", value_name = "NUMBER", default_value_t = 0)]
    pop_share_queue_num: i32,
}

fn mode(text: &str) -> Result<MessageRequestMode, String> {
    let all = MessageRequestMode::ALL.iter().copied();
    all.into_iter()
        .find(|mode| mode.name() == text)
        .ok_or_else(|| format!("{text:?} is neither PULL nor POP"))
}

impl Command for SetConsumeMode {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let names = (self.topic_name.as_str(), self.group_name.as_str());
        let (mode, share) = (self.mode, self.pop_share_queue_num);
        let (mut text, mut done) = (String::new(), Vec::new());
        for addr in self.target.masters(admin).await? {
            match admin.set_message_request_mode(&addr, names, mode, share).await {
                Ok(()) => {
                    let _ = writeln!(text, "set consume mode to {addr} success.");
                    done.push(addr);
                }
                Err(error) => out.problem(error),
            }
        }
        if done.is_empty() {
            return Ok(());
        }
        let ((topic, group), mode) = (names, mode.name());
        let _ = write!(
            text,
            "topic[{topic}] group[{group}] consume mode[{mode}] popShareQueueNum[{share}]"
        );
        let json = json!({"brokers": done, "topic": topic, "group": group, "mode": mode, "popShareQueueNum": share});
        out.say(text, json)
    }
}

/// Shows how far all groups of a broker are.
#[derive(clap::Args)]
pub(crate) struct BrokerConsumeStats {
    /// Address of the broker, host:port
    #[arg(short = 'b', long = "brokerAddr", value_name = "ADDR")]
    broker_addr: String,
    /// How long the broker may take, ms
    #[arg(short = 't', long = "timeoutMillis", value_name = "MS", default_value_t = 50_000)]
    timeout_millis: u64,
    /// Only queues with at least so many messages that are not consumed
    #[arg(short = 'l', long = "level", value_name = "NUMBER", default_value_t = 0)]
    level: i64,
    /// Ordered topics only
    #[arg(short = 'o', long = "order", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    order: bool,
}

impl Command for BrokerConsumeStats {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let timeout = Duration::from_millis(self.timeout_millis);
        let addr = &self.broker_addr;
        let stats = admin.fetch_consume_stats_in_broker(addr, self.order, timeout).await?;
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{:<64}  {:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {:<20}  #LastTime",
            "#Topic",
            "#Group",
            "#Broker Name",
            "#QID",
            "#Broker Offset",
            "#Consumer Offset",
            "#Diff"
        );
        let mut rows: Vec<Value> = Vec::new();
        let groups = stats.consume_stats_list.iter().flatten();
        let topics = groups.flat_map(|(group, topics)| topics.iter().map(move |t| (group, t)));
        for (group, topic) in topics {
            for (queue, progress) in &topic.offset_table {
                let diff = progress.broker_offset.wrapping_sub(progress.consumer_offset);
                // Java leaves out what was never consumed.
                if diff < self.level || progress.last_timestamp <= 0 {
                    continue;
                }
                let _ = writeln!(
                    text,
                    "{:<64}  {group:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {diff:<20}  {}",
                    cut(&queue.topic, 64),
                    cut(&queue.broker_name, 32),
                    queue.queue_id,
                    progress.broker_offset,
                    progress.consumer_offset,
                    text::seconds(progress.last_timestamp)
                );
                rows.push(json!({
                    "topic": queue.topic, "group": group, "brokerName": queue.broker_name,
                    "queueId": queue.queue_id, "brokerOffset": progress.broker_offset,
                    "consumerOffset": progress.consumer_offset, "diff": diff,
                    "lastTimestamp": progress.last_timestamp,
                }));
            }
        }
        let _ = writeln!(text, "\nDiff Total: {}", stats.total_diff);
        out.say(text, json!({"broker": addr, "queues": rows, "diffTotal": stats.total_diff}))
    }
}

/// Addresses of all masters of a cluster, each with the name of its broker.
pub(crate) async fn named_masters(
    admin: &DefaultMqAdminExt,
    cluster: &str,
) -> Result<Vec<(String, String)>, Failure> {
    let known = admin.examine_broker_cluster_info().await?;
    let brokers = brokers_of(&known, cluster)?;
    let named = brokers.iter().filter_map(|broker| {
        let addr = masters(std::slice::from_ref(broker)).pop()?;
        Some((broker.broker_name.clone(), addr))
    });
    Ok(named.collect())
}
