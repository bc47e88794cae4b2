//! `lag`: how far groups are behind, in messages and in seconds, queue by queue, the worst first. A command of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use client::{AdminError, DefaultMqAdminExt};
use proto::body::MessageQueue;
use serde_json::{Value, json};

use crate::text::cut;
use crate::{Command, Failure, Output};

/// Before the name of a group: its retry topic.
const RETRY_TOPIC_PREFIX: &str = "%RETRY%";
/// From look to look on a terminal.
const REFRESH_SECONDS: u64 = 2;
/// Rows on a terminal that is looked at again and again.
const ROWS_LIVE: usize = 30;

/// Shows what groups have not consumed: messages, and for how many seconds the next one has been waiting. On a terminal again
/// every 2 s; elsewhere once.
#[derive(clap::Args)]
pub(crate) struct Lag {
    /// One group, with the queues where it is not behind, too; without it all groups that are behind
    #[arg(short = 'g', long = "groupName", value_name = "GROUP")]
    group_name: Option<String>,
    /// One topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: Option<String>,
    /// Again every so many seconds
    #[arg(short = 'w', long = "watch", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    watch: Option<u64>,
    /// Once, also on a terminal
    #[arg(long = "once", conflicts_with = "watch")]
    once: bool,
    /// At most so many rows, the worst
    #[arg(long = "top", value_name = "NUMBER")]
    top: Option<usize>,
}

impl Command for Lag {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let live = out.is_live() && !self.once;
        let period = self.watch.or(live.then_some(REFRESH_SECONDS)).map(Duration::from_secs);
        let rows_max = self.top.or((live && period.is_some()).then_some(ROWS_LIVE));
        loop {
            let mut rows = self.rows(admin, out).await?;
            rows.sort_by(|a, b| b.key().cmp(&a.key()).then_with(|| a.queue.cmp(&b.queue)));
            if period.is_some() && live {
                out.clear()?;
            }
            let shown = rows_max.unwrap_or(rows.len()).min(rows.len());
            out.say(table(&rows, shown), json_of_rows(&rows, shown))?;
            let Some(period) = period else { return Ok(()) };
            tokio::time::sleep(period).await;
        }
    }
}

/// A group at a queue.
struct Row {
    group: String,
    queue: MessageQueue,
    broker_offset: i64,
    consumer_offset: i64,
    /// For how long the next message has been there, ms; `None` when the broker does not say.
    waiting_ms: Option<i64>,
}

impl Row {
    fn lag(&self) -> i64 {
        self.broker_offset.saturating_sub(self.consumer_offset).max(0)
    }

    /// What is worse is greater.
    fn key(&self) -> (i64, i64) {
        (self.lag(), self.waiting_ms.unwrap_or(0))
    }
}

impl Lag {
    async fn rows(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<Vec<Row>, Failure> {
        if let Some(group) = &self.group_name {
            return Ok(of_group(admin, group, self.topic.as_deref(), out).await?);
        }
        let topics = admin.fetch_all_topic_list().await?.topic_list;
        let groups = topics.iter().filter_map(|topic| topic.strip_prefix(RETRY_TOPIC_PREFIX));
        let groups: Vec<&str> = groups.collect();
        let progress = out.progress(groups.len());
        let mut rows = Vec::new();
        for group in groups {
            match of_group(admin, group, self.topic.as_deref(), out).await {
                Ok(found) => rows.extend(found.into_iter().filter(|row| row.lag() > 0)),
                // It has consumed nothing yet.
                Err(error) if error.code().is_some() => {}
                Err(error) => out.problem(error),
            }
            progress.step();
        }
        Ok(rows)
    }
}

async fn of_group(
    admin: &DefaultMqAdminExt,
    group: &str,
    topic: Option<&str>,
    out: &mut Output,
) -> Result<Vec<Row>, AdminError> {
    let stats = admin.examine_consume_stats(group, topic).await?;
    let behind = stats.offset_table.iter().filter(|(_, p)| p.broker_offset > p.consumer_offset);
    let topics: BTreeSet<&str> = behind.map(|(queue, _)| queue.topic.as_str()).collect();
    let mut waiting = BTreeMap::new();
    for topic in topics {
        match admin.query_consume_time_span(topic, group).await {
            Ok(spans) => {
                waiting.extend(spans.into_iter().map(|s| (s.message_queue, s.delay_time)));
            }
            // A topic that is gone, or a broker that does not tell: its messages count all the same.
            Err(error) if error.code().is_some() => {}
            Err(error) => out.problem(error),
        }
    }
    let row = |(queue, progress): (MessageQueue, proto::body::ConsumeProgress)| Row {
        group: group.to_owned(),
        broker_offset: progress.broker_offset,
        consumer_offset: progress.consumer_offset,
        waiting_ms: match progress.broker_offset > progress.consumer_offset {
            true => waiting.get(&queue).copied(),
            false => Some(0),
        },
        queue,
    };
    Ok(stats.offset_table.into_iter().map(row).collect())
}

fn total(rows: &[Row]) -> i64 {
    rows.iter().map(Row::lag).fold(0, i64::saturating_add)
}

fn table(rows: &[Row], shown: usize) -> String {
    let width = |of: fn(&Row) -> usize, least: usize| {
        rows.iter().take(shown).map(of).max().unwrap_or(0).clamp(least, 64)
    };
    let group = width(|row| row.group.chars().count(), 6);
    let topic = width(|row| row.queue.topic.chars().count(), 6);
    let broker = width(|row| row.queue.broker_name.chars().count(), 7);
    let mut text = format!(
        "{:<group$}  {:<topic$}  {:<broker$}  {:>4}  {:>14}  {:>14}  {:>12}  {:>10}\n",
        "#Group",
        "#Topic",
        "#Broker",
        "#QID",
        "#Broker Offset",
        "#Group Offset",
        "#Lag",
        "#Seconds"
    );
    for row in rows.iter().take(shown) {
        let waiting = row.waiting_ms.map_or("-".to_owned(), seconds);
        let _ = writeln!(
            text,
            "{:<group$}  {:<topic$}  {:<broker$}  {:>4}  {:>14}  {:>14}  {:>12}  {waiting:>10}",
            cut(&row.group, 64),
            cut(&row.queue.topic, 64),
            cut(&row.queue.broker_name, 64),
            row.queue.queue_id,
            row.broker_offset,
            row.consumer_offset,
            row.lag()
        );
    }
    if shown < rows.len() {
        let _ = writeln!(text, "... {} more rows", rows.len() - shown);
    }
    let _ = writeln!(text, "Total: {} messages in {} queues", total(rows), rows.len());
    text
}

fn seconds(ms: i64) -> String {
    format!("{}.{}", ms / 1000, ms.rem_euclid(1000) / 100)
}

fn json_of_rows(rows: &[Row], shown: usize) -> Value {
    let row = |row: &Row| {
        json!({
            "group": row.group, "topic": row.queue.topic, "brokerName": row.queue.broker_name,
            "queueId": row.queue.queue_id, "brokerOffset": row.broker_offset,
            "consumerOffset": row.consumer_offset, "lag": row.lag(), "waitingMs": row.waiting_ms,
        })
    };
    let queues: Vec<Value> = rows.iter().take(shown).map(row).collect();
    json!({"total": total(rows), "queues": queues})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(queue_id: i32, lag: i64, waiting_ms: Option<i64>) -> Row {
        let queue = MessageQueue { topic: "t".to_owned(), broker_name: "b".to_owned(), queue_id };
        let consumer_offset = 5;
        Row {
            group: "g".to_owned(),
            queue,
            broker_offset: consumer_offset + lag,
            consumer_offset,
            waiting_ms,
        }
    }

    #[test]
    fn what_is_not_shown_is_counted() {
        let rows = [row(0, 7, Some(61_250)), row(1, 3, None), row(2, -2, Some(0))];
        let text = table(&rows, 2);
        assert!(text.contains("           7        61.2\n"), "{text}");
        assert!(text.contains("           3           -\n"), "{text}");
        assert!(text.ends_with("... 1 more rows\nTotal: 10 messages in 3 queues\n"), "{text}");
        let json = json_of_rows(&rows, 2);
        assert_eq!(
            (json["total"].as_i64(), json["queues"].as_array().map(Vec::len)),
            (Some(10), Some(2))
        );
        assert!(rows[0].key() > rows[1].key());
    }
}
