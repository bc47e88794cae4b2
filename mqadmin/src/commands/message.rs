//! Commands about single messages: `sendMessage`, `queryMsgById`.

use std::fmt::{self, Display, Formatter};

use clap::ArgAction::Set;
use client::admin_ext::{DirectConsumption, OutgoingMessage, SendResult, body_of};
use client::{DefaultMqAdminExt, Received};
use proto::body::MessageQueue;
use serde::Serialize;
use serde_json::json;

use super::message_details::{self, Shown};
use super::message_text::{QueueName, client_id, properties, utf8};
use super::query;
use crate::moment::now_ms;
use crate::text::{boolean, or_null};
use crate::{Command, Failure, Output};

/// The group that sends a message again.
const RESEND_GROUP: &str = "ReSendMsgById";
/// The bit of a permission that lets producers write.
const PERM_WRITE: i32 = 2;

/// Sends a message.
#[derive(clap::Args)]
pub(crate) struct SendMessage {
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// The body
    #[arg(short = 'p', long = "body", value_name = "TEXT")]
    body: String,
    /// Its keys, with blanks between
    #[arg(short = 'k', long = "key", value_name = "KEYS")]
    key: Option<String>,
    /// Its tag
    #[arg(short = 'c', long = "tags", value_name = "TAG")]
    tags: Option<String>,
    /// Name of the broker to send to
    #[arg(short = 'b', long = "broker", value_name = "BROKER")]
    broker: Option<String>,
    /// Queue of that broker; without it any of them
    #[arg(short = 'i', long = "qid", value_name = "NUMBER", requires = "broker", value_parser = clap::value_parser!(i32).range(0..))]
    qid: Option<i32>,
    /// Write a message trace, too
    #[arg(short = 'm', long = "msgTraceEnable", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    msg_trace_enable: bool,
}

impl Command for SendMessage {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let properties = [("KEYS", &self.key), ("TAGS", &self.tags)];
        let given = properties.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        let message = OutgoingMessage {
            topic: self.topic.clone(),
            body: self.body.clone().into_bytes(),
            properties: given.map(|(name, value)| (name.to_owned(), value)).collect(),
            flag: 0,
            group: now_ms().to_string(),
        };
        let queue = self.queue(admin).await?;
        let begin_ms = now_ms();
        let sent = admin.send(&message, queue.as_ref()).await?;
        if self.msg_trace_enable && !admin.send_trace(&message, &sent, begin_ms).await? {
            out.note("the broker wants no message traces (traceOn=false)");
        }
        out.show(&Sent(&sent))
    }
}

impl SendMessage {
    /// The queue that was asked for.
    async fn queue(&self, admin: &DefaultMqAdminExt) -> Result<Option<MessageQueue>, Failure> {
        let Some(broker) = &self.broker else { return Ok(None) };
        let queue_id = match self.qid {
            Some(queue_id) => queue_id,
            None => {
                let route = admin.examine_topic_route_info(&self.topic).await?;
                let all = route.queue_datas.iter();
                let of_broker = all.clone().find(|queues| queues.broker_name == *broker);
                let writable = of_broker.filter(|queues| queues.perm & PERM_WRITE != 0);
                let queues = writable.map_or(0, |queues| queues.write_queue_nums);
                if queues <= 0 {
                    let known = all.map(|queues| queues.broker_name.clone()).collect();
                    return Err(Failure::UnknownBroker { asked: broker.clone(), known });
                }
                (now_ms() % i64::from(queues)) as i32
            }
        };
        let (topic, broker_name) = (self.topic.clone(), broker.clone());
        Ok(Some(MessageQueue { broker_name, queue_id, topic }))
    }
}

/// How a message was stored.
pub(crate) struct Sent<'a>(pub(crate) &'a SendResult);

impl Serialize for Sent<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sent = self.0;
        let value = json!({
            "sendStatus": sent.status.name(),
            "msgId": sent.id,
            "offsetMsgId": sent.offset_id,
            "brokerName": sent.queue.broker_name,
            "queueId": sent.queue.queue_id,
            "queueOffset": sent.queue_offset,
        });
        value.serialize(serializer)
    }
}

impl Display for Sent<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (sent, queue) = (self.0, &self.0.queue);
        writeln!(f, "{:<32}  {:<4}  {:<20}    #MsgId", "#Broker Name", "#QID", "#Send Result")?;
        let (broker, status) = (&queue.broker_name, sent.status.name());
        writeln!(f, "{broker:<32}  {:<4}  {status:<20}    {}", queue.queue_id, sent.id)
    }
}

/// Shows messages by the ids that brokers gave them, hands them to a consumer, or sends them again.
#[derive(clap::Args)]
pub(crate) struct QueryMsgById {
    /// The ids, with commas between
    #[arg(short = 'i', long = "msgId", value_name = "IDS", required = true, value_delimiter = ',')]
    msg_id: Vec<String>,
    /// With -d: hand the messages to a member of this group
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP", requires = "client_id")]
    consumer_group: Option<String>,
    /// That member
    #[arg(short = 'd', long = "clientId", value_name = "ID", requires = "consumer_group")]
    client_id: Option<String>,
    /// Send the messages to their topics again
    #[arg(short = 's', long = "sendMessage", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    send_message: bool,
    /// Part of the name by which Java's producer is known; of no effect here
    #[arg(short = 'u', long = "unitName", value_name = "UNIT")]
    unit_name: Option<String>,
    /// 5.x: their topic, where ids that producers gave them are looked up, too
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: Option<String>,
    /// 5.x: show the body as text, too; UTF-8
    #[arg(short = 'f', long = "bodyFormat", value_name = "CHARSET", value_parser = utf8)]
    body_format: Option<String>,
}

impl Command for QueryMsgById {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        if self.unit_name.is_some() {
            out.note("-u has no effect: there is no producer that a unit would name");
        }
        for id in self.msg_id.iter().map(|id| id.trim()).filter(|id| !id.is_empty()) {
            match self.one(admin, out, id).await {
                Ok(()) => {}
                Err(Failure::Print(error)) => return Err(error.into()),
                Err(failure) => out.problem(failure),
            }
        }
        Ok(())
    }
}

impl QueryMsgById {
    async fn one(
        &self,
        admin: &DefaultMqAdminExt,
        out: &mut Output,
        id: &str,
    ) -> Result<(), Failure> {
        let message = find(admin, id, self.topic.as_deref()).await?;
        match (&self.consumer_group, &self.client_id) {
            (Some(group), Some(client)) => hand_over(admin, out, [group, client], &message).await,
            _ if self.send_message => resend(admin, out, &message).await,
            _ => {
                let body = self.body_format.is_some();
                let shown = Shown { offset_id: true, index: 0, body, bounds: None };
                message_details::show(admin, out, message, shown).await
            }
        }
    }
}

/// The message of a broker's id; one that no broker gave out may be the producer's id in the topic, as 5.x has it.
async fn find(
    admin: &DefaultMqAdminExt,
    id: &str,
    topic: Option<&str>,
) -> Result<Received, Failure> {
    let error = match admin.view_message(id).await {
        Ok(message) => return Ok(message),
        Err(error) => error,
    };
    let Some(topic) = topic else { return Err(error.into()) };
    let mut found = query::by_unique_key(admin, topic, id).await?;
    if found.is_empty() { Err(error.into()) } else { Ok(found.remove(0)) }
}

async fn resend(
    admin: &DefaultMqAdminExt,
    out: &mut Output,
    message: &Received,
) -> Result<(), Failure> {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let again = OutgoingMessage {
        topic: message.topic.clone(),
        body: body_of(message)?.into_owned(),
        properties: properties(message).into_iter().map(owned).collect(),
        flag: message.flag,
        group: RESEND_GROUP.to_owned(),
    };
    let sent = admin.send(&again, None).await?;
    out.show(&Resent { id: &client_id(message), sent })
}

struct Resent<'a> {
    id: &'a str,
    sent: SendResult,
}

impl Serialize for Resent<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json!({ "originalMsgId": self.id, "sent": Sent(&self.sent) }).serialize(serializer)
    }
}

impl Display for Resent<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (id, sent) = (self.id, send_result(&self.sent));
        write!(f, "prepare resend msg. originalMsgId={id}{sent}")
    }
}

/// How a message was stored, as Java prints it.
pub(crate) fn send_result(sent: &SendResult) -> String {
    format!(
        "SendResult [sendStatus={}, msgId={}, offsetMsgId={}, messageQueue={}, queueOffset={}]",
        sent.status.name(),
        sent.id,
        sent.offset_id,
        QueueName(&sent.queue),
        sent.queue_offset
    )
}

/// Hands a message to a member of a group.
pub(crate) async fn hand_over(
    admin: &DefaultMqAdminExt,
    out: &mut Output,
    [group, client]: [&str; 2],
    message: &Received,
) -> Result<(), Failure> {
    let id = message.message_id();
    let result = admin.consume_message_directly(group, client, &id).await?;
    out.show(&HandedOver { id: &id, result })
}

struct HandedOver<'a> {
    id: &'a str,
    result: DirectConsumption,
}

impl Serialize for HandedOver<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let result = crate::commands::json_of(|out| self.result.write(out));
        json!({ "msgId": self.id, "result": result }).serialize(serializer)
    }
}

impl Display for HandedOver<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let r = &self.result;
        write!(
            f,
            "ConsumeMessageDirectlyResult [order={}, autoCommit={}, consumeResult={}, remark={}, \
             spentTimeMills={}]",
            r.order,
            r.auto_commit,
            or_null(r.consume_result.as_deref()),
            or_null(r.remark.as_deref()),
            r.spent_time_mills
        )
    }
}
