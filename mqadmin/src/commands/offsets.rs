//! Commands that move consumer groups: `resetOffsetByTime`, `skipAccumulatedMessage`, `cloneGroupOffset`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::ArgAction::Set;
use client::DefaultMqAdminExt;
use client::admin_ext::{OffsetReset, RollbackStats, TO_THE_END};
use proto::body::MessageQueue;
use proto::code::response;
use serde_json::{Value, json};

use crate::moment;
use crate::text::{boolean, cut};
use crate::{Command, Failure, Output};

/// Puts a group at the first message of each queue that was stored at a time or later.
#[derive(clap::Args)]
pub(crate) struct ResetOffsetByTime {
    /// The group
    #[arg(short = 'g', long = "group", value_name = "GROUP")]
    group: String,
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// now, ms since the epoch, or yyyy-MM-dd#HH:mm:ss:SSS in local time
    #[arg(short = 's', long = "timestamp", value_name = "TIME", value_parser = time)]
    timestamp: Time,
    /// Also where the group skips messages by it
    #[arg(short = 'f', long = "force", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "true")]
    force: bool,
    /// The members are C++ clients
    #[arg(short = 'c', long = "cplus")]
    cplus: bool,
    /// 5.x: at this broker only, host:port, with -q
    #[arg(short = 'b', long = "broker", value_name = "ADDR", requires = "queue")]
    broker: Option<String>,
    /// 5.x: in this queue only
    #[arg(short = 'q', long = "queue", value_name = "NUMBER", requires = "broker", value_parser = clap::value_parser!(i32).range(0..))]
    queue: Option<i32>,
    /// 5.x: to this offset instead of the time
    #[arg(short = 'o', long = "offset", value_name = "OFFSET", requires = "queue", value_parser = clap::value_parser!(i64).range(0..))]
    offset: Option<i64>,
}

/// A time, and how it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Time {
    text: String,
    ms: i64,
}

fn time(text: &str) -> Result<Time, String> {
    let ms = if text == "now" { TO_THE_END } else { moment::timestamp(text)? };
    Ok(Time { text: text.to_owned(), ms })
}

impl Command for ResetOffsetByTime {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        if let (Some(broker), Some(queue)) = (&self.broker, self.queue) {
            return self.one_queue(admin, out, broker, queue).await;
        }
        let (group, topic, force, Time { text, ms }) =
            (&self.group, &self.topic, self.force, &self.timestamp);
        let reset = OffsetReset { topic, group, timestamp: *ms, force, is_cpp: self.cplus };
        let times = format!("timestamp(string)[{text}], timestamp(long)[{ms}]");
        match admin.reset_offset_by_timestamp(&reset).await {
            Ok(offsets) => {
                out.text(&format!(
                    "rollback consumer offset by specified group[{group}], topic[{topic}], force[{force}], {times}"
                ))?;
                show_offsets(out, &offsets)
            }
            // Nobody is there whom the broker could tell: commits will do.
            Err(error) if error.code() == Some(response::CONSUMER_NOT_ONLINE) => {
                let moved = admin.reset_offset_by_timestamp_old(&reset).await?;
                out.text(&format!(
                    "rollback consumer offset by specified consumerGroup[{group}], topic[{topic}], force[{force}], {times}"
                ))?;
                show_moved(out, &moved)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl ResetOffsetByTime {
    async fn one_queue(
        &self,
        admin: &DefaultMqAdminExt,
        out: &mut Output,
        broker: &str,
        queue_id: i32,
    ) -> Result<(), Failure> {
        let (group, topic, Time { text, ms }) = (&self.group, &self.topic, &self.timestamp);
        out.text(&format!(
            "start reset consumer offset by specified, group[{group}], topic[{topic}], queueId[{queue_id}], broker[{broker}], \
             timestamp(string)[{text}], timestamp(long)[{ms}]"
        ))?;
        let queue = MessageQueue { topic: topic.clone(), broker_name: String::new(), queue_id };
        let offset = match self.offset {
            Some(offset) => offset,
            None if *ms == TO_THE_END => {
                admin.offset_at_time(broker, &queue, moment::now_ms()).await?
            }
            None => admin.offset_at_time(broker, &queue, *ms).await?,
        };
        admin.reset_offset_by_queue_id(broker, (topic, group), queue_id, offset).await?;
        out.say(
            format!("reset consumer offset to {offset}"),
            json!({"group": group, "topic": topic, "broker": broker, "queueId": queue_id, "offset": offset}),
        )
    }
}

/// Puts a group at the end of each queue: what it has not consumed it will never get.
#[derive(clap::Args)]
pub(crate) struct SkipAccumulatedMessage {
    /// The group
    #[arg(short = 'g', long = "group", value_name = "GROUP")]
    group: String,
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// Also where the group skips messages by it
    #[arg(short = 'f', long = "force", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "true")]
    force: bool,
}

impl Command for SkipAccumulatedMessage {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let (group, topic, force) = (&self.group, &self.topic, self.force);
        let reset = OffsetReset { topic, group, timestamp: TO_THE_END, force, is_cpp: false };
        match admin.reset_offset_by_timestamp(&reset).await {
            Ok(offsets) => show_offsets(out, &offsets),
            Err(error) if error.code() == Some(response::CONSUMER_NOT_ONLINE) => {
                let moved = admin.reset_offset_by_timestamp_old(&reset).await?;
                show_moved(out, &moved)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn show_offsets(out: &mut Output, offsets: &BTreeMap<MessageQueue, i64>) -> Result<(), Failure> {
    let mut text = format!("{:<40}  {:<40}  {:<40}\n", "#brokerName", "#queueId", "#offset");
    let mut json = Vec::new();
    for (queue, offset) in offsets {
        let (broker, id) = (cut(&queue.broker_name, 32), queue.queue_id);
        let _ = writeln!(text, "{broker:<40}  {id:<40}  {offset:<40}");
        json.push(json!({"brokerName": queue.broker_name, "queueId": id, "offset": offset}));
    }
    out.say(text, json.into())
}

fn show_moved(out: &mut Output, moved: &[RollbackStats]) -> Result<(), Failure> {
    let mut text = String::new();
    let mut row = |fields: [&str; 6]| {
        let fields = fields.map(|field| format!("{field:<20}"));
        let _ = writeln!(text, "{}", fields.join("  "));
    };
    row([
        "#brokerName",
        "#queueId",
        "#brokerOffset",
        "#consumerOffset",
        "#timestampOffset",
        "#rollbackOffset",
    ]);
    let mut json: Vec<Value> = Vec::new();
    for m in moved {
        row([
            cut(&m.broker_name, 32),
            &m.queue_id.to_string(),
            &m.broker_offset.to_string(),
            &m.consumer_offset.to_string(),
            &m.timestamp_offset.to_string(),
            &m.rollback_offset.to_string(),
        ]);
        json.push(json!({
            "brokerName": m.broker_name, "queueId": m.queue_id, "brokerOffset": m.broker_offset,
            "consumerOffset": m.consumer_offset, "timestampOffset": m.timestamp_offset,
            "rollbackOffset": m.rollback_offset,
        }));
    }
    out.say(text, json.into())
}

/// Puts a group where another one is, on all topics that the other one consumes and whose brokers the named topic has.
#[derive(clap::Args)]
pub(crate) struct CloneGroupOffset {
    /// The group whose offsets are copied
    #[arg(short = 's', long = "srcGroup", value_name = "GROUP")]
    src_group: String,
    /// The group that gets them
    #[arg(short = 'd', long = "destGroup", value_name = "GROUP")]
    dest_group: String,
    /// The topic whose brokers are asked
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// Accepted as Java accepts it, and without a meaning there, too
    #[arg(short = 'o', long = "offline", value_name = "BOOL")]
    offline: Option<String>,
}

impl Command for CloneGroupOffset {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let (source, target, topic) = (&self.src_group, &self.dest_group, &self.topic);
        let stats = admin.examine_consume_stats(source, None).await?;
        let route = admin.examine_topic_route_info(topic).await?;
        let mut copied = 0;
        for (queue, progress) in &stats.offset_table {
            let mut brokers = route.broker_datas.iter();
            let broker = brokers.find(|broker| broker.broker_name == queue.broker_name);
            let addr = broker.and_then(|broker| broker.broker_addrs.values().next());
            let Some(addr) = addr else {
                out.problem(Failure::UnknownBroker {
                    asked: queue.broker_name.clone(),
                    known: route.broker_datas.iter().map(|b| b.broker_name.clone()).collect(),
                });
                continue;
            };
            if progress.consumer_offset >= 0 {
                admin.update_consume_offset(addr, target, queue, progress.consumer_offset).await?;
                copied += 1;
            }
        }
        out.say(
            format!(
                "clone group offset success. srcGroup[{source}], destGroup=[{target}], topic[{topic}]"
            ),
            json!({"srcGroup": source, "destGroup": target, "topic": topic, "queues": copied}),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_means_the_end() {
        assert_eq!(time("now").map(|time| time.ms), Ok(TO_THE_END));
        assert_eq!(time("1700000000000").map(|time| time.ms), Ok(1_700_000_000_000));
        assert!(time("tomorrow").is_err());
    }
}
