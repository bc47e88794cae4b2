//! Messages printed queue by queue: `printMsg`, `printMsgByQueue`, `consumeMessage`. Nothing is committed: groups do not notice.

use std::collections::BTreeMap;

use clap::ArgAction::Set;
use client::admin_ext::QueueAt;
use client::{DefaultMqAdminExt, PullRequest, Pulled};
use proto::body::MessageQueue;
use serde_json::json;

use super::message_text::{PulledMessage, QueueName, shown_body, utf8};
use crate::moment::{now_ms, timestamp};
use crate::text::boolean;
use crate::{Command, Failure, Output};

/// The group that Java's tools pull as; brokers know it from the start.
pub(crate) const TOOLS_GROUP: &str = "TOOLS_CONSUMER";
/// Most messages of a pull.
const BATCH: i32 = 32;

/// Offsets of a queue.
struct Range {
    /// The first.
    begin: i64,
    /// Behind the last one, unless who takes it says otherwise.
    end: i64,
}

impl Range {
    /// All of a queue, or what was stored between two moments.
    async fn of(
        admin: &DefaultMqAdminExt,
        at: &QueueAt,
        begin_ms: Option<i64>,
        end_ms: Option<i64>,
    ) -> Result<Range, Failure> {
        let begin = match begin_ms {
            Some(ms) => admin.search_offset(at, ms).await?,
            None => admin.min_offset(at).await?,
        };
        let end = match end_ms {
            Some(ms) => admin.search_offset(at, ms).await?,
            None => admin.max_offset(at).await?,
        };
        Ok(Range { begin, end })
    }
}

/// How a pull ended, by Java's name.
fn status_name(pulled: &Pulled) -> &'static str {
    match pulled.status {
        client::PullStatus::Found => "FOUND",
        client::PullStatus::NotFound => "NO_NEW_MSG",
        client::PullStatus::RetryImmediately => "NO_MATCHED_MSG",
        client::PullStatus::OffsetMoved => "OFFSET_ILLEGAL",
    }
}

/// Prints messages that were pulled.
fn print_messages(
    out: &mut Output,
    at: &QueueAt,
    pulled: &Pulled,
    print_body: bool,
) -> Result<(), Failure> {
    for message in &pulled.messages {
        let body = shown_body(message, out);
        out.show(&PulledMessage {
            broker_name: &at.queue.broker_name,
            bounds: (pulled.min_offset, pulled.max_offset),
            message,
            body: &body,
            print_body,
        })?;
    }
    Ok(())
}

/// A line about a queue.
fn tell_queue(out: &mut Output, at: &QueueAt, pulled: &Pulled, what: &str) -> Result<(), Failure> {
    let (queue, status, offset) = (QueueName(&at.queue), status_name(pulled), pulled.next_offset);
    let json = json!({
        "brokerName": at.queue.broker_name,
        "queueId": at.queue.queue_id,
        "status": status,
        "offset": offset,
    });
    out.say(format!("{queue} {what} status={status}, offset={offset}"), json)
}

/// Prints all messages of a topic, or those of a time.
#[derive(clap::Args)]
pub(crate) struct PrintMsg {
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// Charset of the bodies; UTF-8
    #[arg(short = 'c', long = "charsetName", value_name = "CHARSET", value_parser = utf8, default_value = "UTF-8")]
    charset_name: String,
    /// Tags, TagA || TagB
    #[arg(short = 's', long = "subExpression", value_name = "TAGS", default_value = "*")]
    sub_expression: String,
    /// Stored at this time or later: ms since the epoch, or yyyy-MM-dd#HH:mm:ss:SSS
    #[arg(short = 'b', long = "beginTimestamp", value_name = "TIME", value_parser = timestamp)]
    begin_timestamp: Option<i64>,
    /// Stored before this time
    #[arg(short = 'e', long = "endTimestamp", value_name = "TIME", value_parser = timestamp)]
    end_timestamp: Option<i64>,
    /// Print bodies as text
    #[arg(short = 'd', long = "printBody", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "true")]
    print_body: bool,
}

impl Command for PrintMsg {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        for at in admin.fetch_subscribe_message_queues(&self.topic).await? {
            match self.print(admin, out, &at).await {
                Err(Failure::Admin(error)) => out.problem(error),
                outcome => outcome?,
            }
        }
        Ok(())
    }
}

impl PrintMsg {
    async fn print(
        &self,
        admin: &DefaultMqAdminExt,
        out: &mut Output,
        at: &QueueAt,
    ) -> Result<(), Failure> {
        let range = Range::of(admin, at, self.begin_timestamp, self.end_timestamp).await?;
        let Range { begin, end } = range;
        let json = json!({
            "brokerName": at.queue.broker_name,
            "queueId": at.queue.queue_id,
            "minOffset": begin,
            "maxOffset": end,
        });
        out.say(format!("minOffset={begin}, maxOffset={end}, {}", QueueName(&at.queue)), json)?;
        let mut offset = begin;
        while offset < end {
            let mut pull = PullRequest::new(TOOLS_GROUP, &self.topic, at.queue.queue_id, offset);
            pull.subscription = Some(&self.sub_expression);
            pull.messages_max = BATCH;
            let pulled = admin.pull(&at.addr, &pull).await?;
            offset = pulled.next_offset;
            match pulled.status {
                client::PullStatus::Found => print_messages(out, at, &pulled, self.print_body)?,
                client::PullStatus::RetryImmediately => {
                    tell_queue(out, at, &pulled, "no matched msg.")?;
                }
                client::PullStatus::NotFound | client::PullStatus::OffsetMoved => {
                    tell_queue(out, at, &pulled, "print msg finished.")?;
                    break;
                }
            }
        }
        out.rule(56)
    }
}

/// Prints the messages of one queue, or counts them by tag.
#[derive(clap::Args)]
pub(crate) struct PrintMsgByQueue {
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// Name of the broker
    #[arg(short = 'a', long = "brokerName", value_name = "BROKER")]
    broker_name: String,
    /// The queue
    #[arg(short = 'i', long = "queueId", value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    queue_id: i32,
    /// Charset of the bodies; UTF-8
    #[arg(short = 'c', long = "charsetName", value_name = "CHARSET", value_parser = utf8, default_value = "UTF-8")]
    charset_name: String,
    /// Tags, TagA || TagB
    #[arg(short = 's', long = "subExpression", value_name = "TAGS", default_value = "*")]
    sub_expression: String,
    /// Stored at this time or later: ms since the epoch, or yyyy-MM-dd#HH:mm:ss:SSS
    #[arg(short = 'b', long = "beginTimestamp", value_name = "TIME", value_parser = timestamp)]
    begin_timestamp: Option<i64>,
    /// Stored before this time
    #[arg(short = 'e', long = "endTimestamp", value_name = "TIME", value_parser = timestamp)]
    end_timestamp: Option<i64>,
    /// Print the messages
    #[arg(short = 'p', long = "printMsg", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    print_msg: bool,
    /// With their bodies as text
    #[arg(short = 'd', long = "printBody", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    print_body: bool,
    /// Count them by tag
    #[arg(short = 'f', long = "calculate", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    calculate: bool,
}

impl Command for PrintMsgByQueue {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        if !self.print_msg && !self.calculate {
            out.note("nothing is asked for: -p true prints messages, -f true counts them by tag");
        }
        let (topic, broker_name) = (self.topic.clone(), self.broker_name.clone());
        let queue = MessageQueue { broker_name, queue_id: self.queue_id, topic };
        let at = admin.queue_at(&queue).await?;
        let range = Range::of(admin, &at, self.begin_timestamp, self.end_timestamp).await?;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut offset = range.begin;
        while offset < range.end {
            let mut pull = PullRequest::new(TOOLS_GROUP, &self.topic, self.queue_id, offset);
            pull.subscription = Some(&self.sub_expression);
            pull.messages_max = BATCH;
            let pulled = admin.pull(&at.addr, &pull).await?;
            offset = pulled.next_offset;
            match pulled.status {
                client::PullStatus::Found if self.print_msg => {
                    print_messages(out, &at, &pulled, self.print_body)?;
                }
                // Java's tool ends at the first pull whose tags do not match; what comes behind counts here.
                client::PullStatus::Found | client::PullStatus::RetryImmediately => {}
                client::PullStatus::NotFound | client::PullStatus::OffsetMoved => break,
            }
            let tags = pulled.messages.iter().filter_map(|message| message.property("TAGS"));
            for tag in tags.filter(|tag| !tag.trim().is_empty()) {
                *counts.entry(tag.to_owned()).or_default() += 1;
            }
        }
        if self.calculate {
            let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
            counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            for (tag, count) in counts {
                let json = json!({ "tag": tag, "count": count });
                out.say(format!("Tag: {tag:<30} Count: {count}"), json)?;
            }
        }
        Ok(())
    }
}

/// Prints messages of a topic or of one queue, at most so many.
#[derive(clap::Args)]
pub(crate) struct ConsumeMessage {
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// Name of the broker, with -i
    #[arg(short = 'b', long = "brokerName", value_name = "BROKER", requires = "queue_id")]
    broker_name: Option<String>,
    /// One queue of that broker
    #[arg(short = 'i', long = "queueId", value_name = "NUMBER", requires = "broker_name", value_parser = clap::value_parser!(i32).range(0..))]
    queue_id: Option<i32>,
    /// First offset in that queue
    #[arg(short = 'o', long = "offset", value_name = "NUMBER", requires = "queue_id", value_parser = clap::value_parser!(i64).range(0..))]
    offset: Option<i64>,
    /// Pull as this group
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP", default_value = TOOLS_GROUP)]
    consumer_group: String,
    /// Stored at this time or later: ms since the epoch, or yyyy-MM-dd#HH:mm:ss:SSS
    #[arg(short = 's', long = "beginTimestamp", value_name = "TIME", value_parser = timestamp)]
    begin_timestamp: Option<i64>,
    /// Stored before this time
    #[arg(short = 'e', long = "endTimestamp", value_name = "TIME", value_parser = timestamp)]
    end_timestamp: Option<i64>,
    /// Most messages
    #[arg(short = 'c', long = "MessageNumber", value_name = "NUMBER", default_value_t = 128, value_parser = clap::value_parser!(i64).range(1..))]
    message_number: i64,
}

impl Command for ConsumeMessage {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        self.check_times()?;
        match (&self.broker_name, self.queue_id) {
            (Some(broker_name), Some(queue_id)) => {
                let (topic, broker_name) = (self.topic.clone(), broker_name.clone());
                let queue = MessageQueue { broker_name, queue_id, topic };
                let at = admin.queue_at(&queue).await?;
                self.one(admin, out, &at).await
            }
            _ => self.all(admin, out).await,
        }
    }
}

impl ConsumeMessage {
    fn check_times(&self) -> Result<(), Failure> {
        let now = now_ms();
        let bad = |what: &str| Err(Failure::Usage(what.to_owned()));
        match (self.begin_timestamp, self.end_timestamp) {
            (Some(begin), _) if begin > now => bad("Please set the beginTimestamp before now!"),
            (_, Some(end)) if end > now => bad("Please set the endTimestamp before now!"),
            (Some(begin), Some(end)) if begin > end => bad(
                "Please make sure that the beginTimestamp is less than or equal to the endTimestamp",
            ),
            _ => Ok(()),
        }
    }

    /// Queue by queue until there are enough.
    async fn all(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let mut left = self.message_number;
        for at in admin.fetch_subscribe_message_queues(&self.topic).await? {
            if left == 0 {
                break;
            }
            let Range { begin, mut end } =
                Range::of(admin, &at, self.begin_timestamp, self.end_timestamp).await?;
            if end - begin > left {
                let queue_id = at.queue.queue_id;
                out.note(&format!(
                    "the older {left} messages of queue {queue_id} of {} are shown",
                    at.queue.broker_name
                ));
                end = begin + left;
                left = 0;
                self.print(admin, out, &at, Range { begin, end: end - 1 }).await?;
            } else {
                left -= (end - begin).max(0);
                self.print(admin, out, &at, Range { begin, end: self.last(end) }).await?;
            }
        }
        Ok(())
    }

    /// The last offset that is pulled: without an end in time the one behind the last message.
    fn last(&self, end: i64) -> i64 {
        if self.end_timestamp.is_some() { end - 1 } else { end }
    }

    async fn one(
        &self,
        admin: &DefaultMqAdminExt,
        out: &mut Output,
        at: &QueueAt,
    ) -> Result<(), Failure> {
        let Range { begin, end } =
            Range::of(admin, at, self.begin_timestamp, self.end_timestamp).await?;
        let offset = self.offset.unwrap_or(0);
        if offset > end {
            let json = json!({
                "brokerName": at.queue.broker_name,
                "queueId": at.queue.queue_id,
                "status": "NO_MATCHED_MSG",
                "offset": offset,
            });
            let queue = QueueName(&at.queue);
            return out.say(format!("{queue} no matched msg, offset={offset}"), json);
        }
        let begin = begin.max(offset);
        let count = self.message_number;
        if end - begin > count {
            out.note(&format!("the older {count} messages are shown"));
            return self.print(admin, out, at, Range { begin, end: begin + count - 1 }).await;
        }
        self.print(admin, out, at, Range { begin, end: self.last(end) }).await
    }

    /// Prints what lies from `begin` up to `end`, the latter included: at the end of a queue Java's tool pulls once more, and
    /// says that there was nothing.
    async fn print(
        &self,
        admin: &DefaultMqAdminExt,
        out: &mut Output,
        at: &QueueAt,
        Range { begin, end }: Range,
    ) -> Result<(), Failure> {
        let mut offset = begin;
        while offset <= end {
            let mut pull =
                PullRequest::new(&self.consumer_group, &self.topic, at.queue.queue_id, offset);
            pull.messages_max = i32::try_from(end - offset + 1).unwrap_or(BATCH).min(BATCH);
            let mut pulled = admin.pull(&at.addr, &pull).await?;
            offset = pulled.next_offset;
            match pulled.status {
                client::PullStatus::Found => {
                    pulled.messages.retain(|message| message.queue_offset <= end);
                    out.text("Consume ok")?;
                    print_messages(out, at, &pulled, true)?;
                }
                client::PullStatus::RetryImmediately => {
                    tell_queue(out, at, &pulled, "no matched msg.")?;
                }
                client::PullStatus::NotFound | client::PullStatus::OffsetMoved => {
                    tell_queue(out, at, &pulled, "print msg finished.")?;
                    break;
                }
            }
        }
        Ok(())
    }
}
