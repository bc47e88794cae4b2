//! `consumerStatus`, and what the members of a group say of themselves: the same subscription, nobody stuck.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use client::DefaultMqAdminExt;
use proto::body::{ConsumerRunningInfo, MessageQueue, ProcessQueueInfo};
use serde_json::json;

use crate::commands::{json_of, members::members_of};
use crate::moment::now_ms;
use crate::text;
use crate::{Command, Failure, Output};

/// From when on members that have just started have to agree, ms.
const STARTED_FOR_A_WHILE_MS: i64 = 2 * 60 * 1000;
/// For how long a member may hold messages without consuming any, ms.
const STUCK_MS: i64 = 60 * 1000;

/// Shows what the members of a consumer group say of themselves.
#[derive(clap::Args)]
pub(crate) struct ConsumerStatus {
    /// The group
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP")]
    consumer_group: String,
    /// One member, printed here; without it all, into files below the current directory
    #[arg(short = 'i', long = "clientId", value_name = "ID")]
    client_id: Option<String>,
    /// As this broker knows the members, host:port
    #[arg(short = 'b', long = "brokerAddr", value_name = "ADDR")]
    broker_addr: Option<String>,
    /// With the stacks of their threads
    #[arg(short = 's', long = "jstack")]
    jstack: bool,
}

impl Command for ConsumerStatus {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let group = &self.consumer_group;
        let Some(client_id) = &self.client_id else { return self.all(admin, out).await };
        let info = admin.get_consumer_running_info(group, client_id, self.jstack).await?;
        out.say(text_of(&info), json_of(|bytes| info.write(bytes)))
    }
}

impl ConsumerStatus {
    async fn all(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let group = &self.consumer_group;
        let members = members_of(admin, group, self.broker_addr.as_deref()).await?;
        let directory = PathBuf::from(now_ms().to_string());
        out.text(&format!(
            "{:<10} {:<40} {:<20} #ConsumerRunningInfoFile",
            "#Index", "#ClientId", "#Version"
        ))?;
        let mut infos = BTreeMap::new();
        for member in &members.connection_set {
            let id = &member.client_id;
            let info = match admin.get_consumer_running_info(group, id, self.jstack).await {
                Ok(info) => info,
                Err(error) => {
                    out.problem(error);
                    continue;
                }
            };
            // An id is a name that its client chose: no way out of the directory.
            let path = directory.join(id.replace(['/', '\\'], "_"));
            let write =
                fs::create_dir_all(&directory).and_then(|()| fs::write(&path, text_of(&info)));
            write.map_err(|source| Failure::File { path: path.clone(), source })?;
            let version = proto::version::name(member.version);
            let index = infos.len() + 1;
            out.say(
                format!("{index:<10} {id:<40} {version:<20} {}", path.display()),
                json!({"clientId": id, "version": version, "file": path.display().to_string()}),
            )?;
            infos.insert(id.clone(), info);
        }
        if infos.is_empty() {
            return Ok(());
        }
        let same = same_subscription(&infos, now_ms());
        let stuck: Vec<String> =
            infos.iter().flat_map(|(id, info)| stuck_queues(id, info, now_ms())).collect();
        let text = match same {
            true => format!(
                "\n\nSame subscription in the same group of consumer\n\nRebalance OK\n{}",
                stuck.iter().map(|line| format!("{line}\n")).collect::<String>()
            ),
            false => "\n\nWARN: Different subscription in the same group of consumer!!!".to_owned(),
        };
        out.say(text, json!({"sameSubscription": same, "stuck": stuck}))
    }
}

/// Whether push consumers that run for a while subscribe to the same. Others are taken to.
pub(crate) fn same_subscription(infos: &BTreeMap<String, ConsumerRunningInfo>, now: i64) -> bool {
    let Some(first) = infos.values().next() else { return true };
    let started = first.properties.get("PROP_CONSUMER_START_TIMESTAMP");
    let started: i64 = started.and_then(|text| text.parse().ok()).unwrap_or(now);
    if !is_push(first) || now - started <= STARTED_FOR_A_WHILE_MS {
        return true;
    }
    let wanted = |info: &ConsumerRunningInfo| -> BTreeSet<(String, String)> {
        let all = info.subscription_set.iter();
        all.map(|wanted| (wanted.topic.clone(), wanted.sub_string.clone())).collect()
    };
    let of_first = wanted(first);
    !of_first.is_empty() && infos.values().all(|info| wanted(info) == of_first)
}

fn is_push(info: &ConsumerRunningInfo) -> bool {
    info.properties.get("PROP_CONSUME_TYPE").is_some_and(|kind| kind == "CONSUME_PASSIVELY")
}

/// Queues with which a push consumer does not get on, a line each.
pub(crate) fn stuck_queues(client_id: &str, info: &ConsumerRunningInfo, now: i64) -> Vec<String> {
    if !is_push(info) {
        return Vec::new();
    }
    let ordered = info.properties.get("PROP_CONSUMEORDERLY").is_some_and(|text| text == "true");
    let problem = |held: &ProcessQueueInfo| {
        if ordered && !held.locked {
            let since = now - held.last_lock_timestamp;
            return Some(format!("can't lock for a while, {since}ms"));
        }
        if ordered {
            let times = held.try_unlock_times;
            return (held.droped && times > 0)
                .then(|| format!("unlock {times} times, still failed"));
        }
        let since = now - held.last_consume_timestamp;
        (since > STUCK_MS && held.cached_msg_count > 0)
            .then(|| format!("can't consume for a while, maybe blocked, {since}ms"))
    };
    let line = |(queue, held): (&MessageQueue, &ProcessQueueInfo)| {
        Some(format!("{client_id} {} {}", queue_text(queue), problem(held)?))
    };
    info.mq_table.iter().filter_map(line).collect()
}

fn queue_text(queue: &MessageQueue) -> String {
    let MessageQueue { topic, broker_name, queue_id } = queue;
    format!("MessageQueue [topic={topic}, brokerName={broker_name}, queueId={queue_id}]")
}

/// What a member says, as Java prints it.
fn text_of(info: &ConsumerRunningInfo) -> String {
    let mut text = "#Consumer Properties#\n".to_owned();
    for (name, value) in &info.properties {
        let _ = writeln!(text, "{name:<40}: {value}");
    }
    text.push_str("\n\n#Consumer Subscription#\n");
    for (index, wanted) in info.subscription_set.iter().enumerate() {
        let _ = writeln!(
            text,
            "{:03} Topic: {:<40} ClassFilter: {:<8} SubExpression: {}",
            index + 1,
            wanted.topic,
            wanted.class_filter_mode,
            wanted.sub_string
        );
    }
    let heading = |last: &str| {
        format!("{:<64}  {:<32}  {:<4}  {last:<20}\n", "#Topic", "#Broker Name", "#QID")
    };
    let _ = write!(text, "\n\n#Consumer Offset#\n{}", heading("#Consumer Offset"));
    for (queue, held) in &info.mq_table {
        let (topic, broker, id) = (&queue.topic, &queue.broker_name, queue.queue_id);
        let _ = writeln!(text, "{topic:<32}  {broker:<32}  {id:<4}  {:<20}", held.commit_offset);
    }
    let _ = write!(text, "\n\n#Consumer MQ Detail#\n{}", heading("#ProcessQueueInfo"));
    for (queue, held) in &info.mq_table {
        let (topic, broker, id) = (&queue.topic, &queue.broker_name, queue.queue_id);
        let _ = writeln!(text, "{topic:<64}  {broker:<32}  {id:<4}  {}", held_text(held));
    }
    text.push_str(&rates_text(info));
    if let Some(stacks) = &info.jstack {
        let _ = write!(text, "\n\n#Consumer jstack#\n{stacks}");
    }
    text
}

fn held_text(held: &ProcessQueueInfo) -> String {
    format!(
        "ProcessQueueInfo [commitOffset={}, cachedMsgMinOffset={}, cachedMsgMaxOffset={}, cachedMsgCount={}, \
         cachedMsgSizeInMiB={}, transactionMsgMinOffset={}, transactionMsgMaxOffset={}, transactionMsgCount={}, locked={}, \
         tryUnlockTimes={}, lastLockTimestamp={}, droped={}, lastPullTimestamp={}, lastConsumeTimestamp={}]",
        held.commit_offset,
        held.cached_msg_min_offset,
        held.cached_msg_max_offset,
        held.cached_msg_count,
        held.cached_msg_size_in_mib,
        held.transaction_msg_min_offset,
        held.transaction_msg_max_offset,
        held.transaction_msg_count,
        held.locked,
        held.try_unlock_times,
        text::dense(held.last_lock_timestamp),
        held.droped,
        text::dense(held.last_pull_timestamp),
        text::dense(held.last_consume_timestamp)
    )
}

fn rates_text(info: &ConsumerRunningInfo) -> String {
    let mut text = format!(
        "\n\n#Consumer RT&TPS#\n{:<64}  {:>14} {:>14} {:>14} {:>14} {:>18} {:>25}\n",
        "#Topic",
        "#Pull RT",
        "#Pull TPS",
        "#Consume RT",
        "#ConsumeOK TPS",
        "#ConsumeFailed TPS",
        "#ConsumeFailedMsgsInHour"
    );
    for (topic, rates) in &info.status_table {
        let _ = writeln!(
            text,
            "{topic:<32}  {:>14.2} {:>14.2} {:>14.2} {:>14.2} {:>18.2} {:>25}",
            rates.pull_rt,
            rates.pull_tps,
            rates.consume_rt,
            rates.consume_ok_tps,
            rates.consume_failed_tps,
            rates.consume_failed_msgs
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use proto::body::SubscriptionData;

    use super::*;

    const NOW: i64 = 10_000_000;

    fn info(topic: &str, expression: &str) -> ConsumerRunningInfo {
        let wanted = SubscriptionData {
            topic: topic.to_owned(),
            sub_string: expression.to_owned(),
            ..SubscriptionData::default()
        };
        let properties = [
            ("PROP_CONSUME_TYPE".to_owned(), "CONSUME_PASSIVELY".to_owned()),
            ("PROP_CONSUMER_START_TIMESTAMP".to_owned(), "1".to_owned()),
        ];
        ConsumerRunningInfo {
            properties: properties.into(),
            subscription_set: vec![wanted],
            ..ConsumerRunningInfo::default()
        }
    }

    fn group(of_b: ConsumerRunningInfo) -> BTreeMap<String, ConsumerRunningInfo> {
        [("a".to_owned(), info("t", "*")), ("b".to_owned(), of_b)].into()
    }

    #[test]
    fn members_have_to_agree() {
        assert!(same_subscription(&group(info("t", "*")), NOW));
        assert!(!same_subscription(&group(info("t", "tag")), NOW));
        assert!(!same_subscription(&group(info("u", "*")), NOW));
        assert!(same_subscription(&group(info("u", "*")), 60_000), "they have just started");
        assert!(same_subscription(&BTreeMap::new(), NOW));
    }

    #[test]
    fn who_holds_messages_and_consumes_none_is_stuck() {
        let mut member = info("t", "*");
        let queue =
            MessageQueue { topic: "t".to_owned(), broker_name: "b".to_owned(), queue_id: 3 };
        let held = ProcessQueueInfo {
            cached_msg_count: 1,
            last_consume_timestamp: NOW - 61_000,
            ..ProcessQueueInfo::default()
        };
        member.mq_table.insert(queue.clone(), held.clone());
        let stuck = stuck_queues("c", &member, NOW);
        let queue_text = "MessageQueue [topic=t, brokerName=b, queueId=3]";
        let expected = format!("c {queue_text} can't consume for a while, maybe blocked, 61000ms");
        assert_eq!(stuck, [expected]);
        member.mq_table.insert(queue, ProcessQueueInfo { cached_msg_count: 0, ..held });
        assert!(stuck_queues("c", &member, NOW).is_empty());
        member.properties.insert("PROP_CONSUMEORDERLY".to_owned(), "true".to_owned());
        assert!(stuck_queues("c", &member, NOW)[0].contains("can't lock for a while"));
    }
}
