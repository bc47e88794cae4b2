//! `startMonitoring`: looks at all groups again and again, and tells what they have not consumed and who is stuck.

use std::collections::BTreeMap;
use std::time::Duration;

use client::{AdminError, DefaultMqAdminExt};
use serde_json::json;

use crate::commands::running::{same_subscription, stuck_queues};
use crate::moment::now_ms;
use crate::{Command, Failure, Output};

/// Before the name of a group: its retry topic.
const RETRY_TOPIC_PREFIX: &str = "%RETRY%";
/// From round to round.
const PERIOD: Duration = Duration::from_secs(60);

/// Tells every minute what groups have not consumed, which members disagree, and which are stuck. Java's tool tells it to its
/// log file and begins after 20 s; here it is printed, at once.
#[derive(clap::Args)]
pub(crate) struct StartMonitoring {
    /// One round instead of one every minute
    #[arg(long = "once")]
    once: bool,
}

impl Command for StartMonitoring {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        loop {
            round(admin, out).await?;
            if self.once {
                return Ok(());
            }
            tokio::time::sleep(PERIOD).await;
        }
    }
}

async fn round(admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
    let line = "=".repeat(41);
    out.text(&format!("[MONITOR] {line}beginRound"))?;
    let topics = admin.fetch_all_topic_list().await?.topic_list;
    for group in topics.iter().filter_map(|topic| topic.strip_prefix(RETRY_TOPIC_PREFIX)) {
        for outcome in [undone(admin, out, group).await, members(admin, out, group).await] {
            match outcome {
                // Who is away, or has consumed nothing, is left out.
                Err(Failure::Admin(error)) if error.code().is_some() => {}
                Err(Failure::Admin(error)) => out.problem(error),
                other => other?,
            }
        }
    }
    out.text(&format!("[MONITOR] {line}endRound"))
}

/// What a group that is online has not consumed, by topic.
async fn undone(admin: &DefaultMqAdminExt, out: &mut Output, group: &str) -> Result<(), Failure> {
    let stats = admin.examine_consume_stats(group, None).await?;
    admin.examine_consumer_connection_info(group).await?;
    let mut by_topic: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (queue, progress) in &stats.offset_table {
        let diff = progress.broker_offset.wrapping_sub(progress.consumer_offset);
        by_topic.entry(&queue.topic).or_default().push(diff);
    }
    for (topic, diffs) in by_topic {
        let behind = diffs.iter().filter(|diff| **diff > 0);
        let total = behind.fold(0_i64, |sum, diff| sum.saturating_add(*diff));
        let most = diffs.iter().copied().max().unwrap_or(0).max(0);
        let delay = longest_delay(admin, topic, group).await?;
        out.say(
            format!(
                "[MONITOR] reportUndoneMsgs: UndoneMsgs [consumerGroup={group}, topic={topic}, undoneMsgsTotal={total}, \
                 undoneMsgsSingleMQ={most}, undoneMsgsDelayTimeMills={delay}]"
            ),
            json!({
                "consumerGroup": group, "topic": topic, "undoneMsgsTotal": total,
                "undoneMsgsSingleMQ": most, "undoneMsgsDelayTimeMills": delay,
            }),
        )?;
    }
    Ok(())
}

/// The longest time from a message that a group consumed last in a queue to the newest there, ms.
async fn longest_delay(
    admin: &DefaultMqAdminExt,
    topic: &str,
    group: &str,
) -> Result<i64, AdminError> {
    let spans = admin.query_consume_time_span(topic, group).await?;
    let consumed = spans.iter().filter(|span| span.consume_time_stamp > 0);
    let delays = consumed.map(|span| span.max_time_stamp - span.consume_time_stamp);
    Ok(delays.max().unwrap_or(0).max(0))
}

async fn members(admin: &DefaultMqAdminExt, out: &mut Output, group: &str) -> Result<(), Failure> {
    let members = admin.examine_consumer_connection_info(group).await?;
    let mut infos = BTreeMap::new();
    for member in members.connection_set {
        // A member that does not answer, such as one that is just leaving, is left out.
        if let Ok(info) = admin.get_consumer_running_info(group, &member.client_id, false).await {
            infos.insert(member.client_id, info);
        }
    }
    let notify = |client: Option<&str>, what: &str| {
        let of_client = client.map(|id| format!(" ClientId: {id},")).unwrap_or_default();
        let text = format!(
            "[MONITOR]  [NOTIFY] reportConsumerRunningInfo: ConsumerGroup: {group},{of_client} {what}"
        );
        (text, json!({"consumerGroup": group, "clientId": client, "notify": what}))
    };
    if !same_subscription(&infos, now_ms()) {
        let (text, json) = notify(None, "Subscription different");
        out.say(text, json)?;
    }
    for (id, info) in &infos {
        for stuck in stuck_queues(id, info, now_ms()) {
            let (text, json) = notify(Some(id), &stuck);
            out.say(text, json)?;
        }
    }
    Ok(())
}
