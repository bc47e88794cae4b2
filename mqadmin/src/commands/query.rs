//! Messages looked up by key, by the producer's id, by their place: `queryMsgByKey`, `queryMsgByUniqueKey`,
//! `queryMsgByOffset`.

use std::fmt::{self, Display, Formatter};

use client::admin_ext::KeyQuery;
use client::{AdminError, DefaultMqAdminExt, PullRequest, Received};
use proto::body::MessageQueue;
use proto::code::response;
use serde::Serialize;

use super::message::hand_over;
use super::message_details::{self, Shown};
use super::message_text::{QueueName, client_id, utf8};
use super::print::TOOLS_GROUP;
use crate::{Command, Failure, Output};

/// Most messages of each broker that share a producer's id.
const SAME_ID_MAX: i32 = 32;

/// Lists messages with a key.
#[derive(clap::Args)]
pub(crate) struct QueryMsgByKey {
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// The key
    #[arg(short = 'k', long = "msgKey", value_name = "KEY")]
    msg_key: String,
    /// 5.x: stored at this time or later, ms since the epoch
    #[arg(short = 'b', long = "beginTimestamp", value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    begin_timestamp: i64,
    /// 5.x: stored at this time or before, ms since the epoch
    #[arg(short = 'e', long = "endTimestamp", value_name = "MS", default_value_t = i64::MAX, value_parser = clap::value_parser!(i64).range(0..), hide_default_value = true)]
    end_timestamp: i64,
    /// 5.x: most messages of each broker
    #[arg(short = 'm', long = "maxNum", value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(i32).range(1..))]
    max_num: i32,
}

impl Command for QueryMsgByKey {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let query = KeyQuery {
            topic: &self.topic,
            key: &self.msg_key,
            max_num: self.max_num,
            begin_ms: self.begin_timestamp,
            end_ms: self.end_timestamp,
            unique: false,
        };
        let found = admin.query_message(&query).await?;
        if found.is_empty() {
            return Err(none(&self.topic, "key", &self.msg_key));
        }
        out.show(&Rows(found.iter().map(Row::of).collect()))
    }
}

fn none(topic: &str, what: &str, value: &str) -> Failure {
    let what = format!("topic {topic} has no message with {what} {value}");
    AdminError::NotFound { what, code: response::QUERY_NOT_FOUND }.into()
}

#[derive(Serialize)]
struct Rows(Vec<Row>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    msg_id: String,
    queue_id: i32,
    queue_offset: i64,
    store_host: String,
    store_timestamp: i64,
}

impl Row {
    fn of(message: &Received) -> Row {
        Row {
            msg_id: client_id(message),
            queue_id: message.queue_id,
            queue_offset: message.queue_offset,
            store_host: message.store_host.to_string(),
            store_timestamp: message.store_timestamp,
        }
    }
}

impl Display for Rows {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<50} {:>4} {:>40}", "#Message ID", "#QID", "#Offset")?;
        self.0.iter().try_for_each(|r| {
            writeln!(f, "{:<50} {:>4} {:>40}", r.msg_id, r.queue_id, r.queue_offset)
        })
    }
}

/// Shows the message with an id of its producer, or hands it to a consumer.
#[derive(clap::Args)]
pub(crate) struct QueryMsgByUniqueKey {
    /// The id
    #[arg(short = 'i', long = "msgId", value_name = "ID")]
    msg_id: String,
    /// With -d: hand the message to a member of this group
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP", requires = "client_id")]
    consumer_group: Option<String>,
    /// That member
    #[arg(short = 'd', long = "clientId", value_name = "ID", requires = "consumer_group")]
    client_id: Option<String>,
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// Show all messages with this id, at most 32 of each broker
    #[arg(short = 'a', long = "showAll")]
    show_all: bool,
}

impl Command for QueryMsgByUniqueKey {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let mut found = by_unique_key(admin, &self.topic, &self.msg_id).await?;
        if found.is_empty() {
            return Err(none(&self.topic, "id", &self.msg_id));
        }
        if let (Some(group), Some(client)) = (&self.consumer_group, &self.client_id) {
            return hand_over(admin, out, [group, client], &found[0]).await;
        }
        if !self.show_all {
            found.truncate(1);
        }
        for (index, message) in found.into_iter().enumerate() {
            let shown = Shown { offset_id: false, index, body: false, bounds: None };
            message_details::show(admin, out, message, shown).await?;
        }
        Ok(())
    }
}

/// Messages with this id of their producer, in the order in which they were stored.
pub(crate) async fn by_unique_key(
    admin: &DefaultMqAdminExt,
    topic: &str,
    id: &str,
) -> Result<Vec<Received>, Failure> {
    let query = KeyQuery {
        topic,
        key: id,
        max_num: SAME_ID_MAX,
        begin_ms: 0,
        end_ms: i64::MAX,
        unique: true,
    };
    let mut found = admin.query_message(&query).await?;
    found.sort_by_key(|message| message.store_timestamp);
    Ok(found)
}

/// Shows the message at a place of a queue.
#[derive(clap::Args)]
pub(crate) struct QueryMsgByOffset {
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// Name of the broker
    #[arg(short = 'b', long = "brokerName", value_name = "BROKER")]
    broker_name: String,
    /// The queue
    #[arg(short = 'i', long = "queueId", value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    queue_id: i32,
    /// The place
    #[arg(short = 'o', long = "offset", value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
    offset: i64,
    /// 5.x: show the body as text, too; UTF-8
    #[arg(short = 'f', long = "bodyFormat", value_name = "CHARSET", value_parser = utf8)]
    body_format: Option<String>,
}

impl Command for QueryMsgByOffset {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let (topic, broker_name) = (self.topic.clone(), self.broker_name.clone());
        let queue = MessageQueue { broker_name, queue_id: self.queue_id, topic };
        let at = admin.queue_at(&queue).await?;
        let mut pull = PullRequest::new(TOOLS_GROUP, &self.topic, self.queue_id, self.offset);
        pull.messages_max = 1;
        let mut found = admin.pull(&at.addr, &pull).await?;
        // A broker may answer a place that is gone with the one that comes next.
        found.messages.retain(|message| message.queue_offset == self.offset);
        let bounds = (found.min_offset, found.max_offset);
        let Some(message) = found.messages.pop() else {
            let (offset, queue) = (self.offset, QueueName(&queue));
            let what = format!(
                "{queue} has no message at offset {offset}; it begins at {}, the next one goes to {}",
                bounds.0, bounds.1
            );
            return Err(AdminError::NotFound { what, code: response::QUERY_NOT_FOUND }.into());
        };
        let body = self.body_format.is_some();
        let shown = Shown { offset_id: true, index: 0, body, bounds: Some(bounds) };
        message_details::show(admin, out, message, shown).await
    }
}
