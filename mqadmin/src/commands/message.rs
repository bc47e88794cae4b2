//! Commands about single messages: `sendMessage`, `queryMsgById`.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ArgAction::Set;
use client::admin_ext::{DirectConsumption, MessageTrack, OutgoingMessage, SendResult, body_of};
use client::{DefaultMqAdminExt, Received};
use proto::body::MessageQueue;
use serde::Serialize;
use serde_json::json;

use crate::text::{self, boolean, or_null};
use crate::{Command, Failure, Output};

/// Where Java's tool writes the bodies of messages that it shows.
const BODIES: &str = "/tmp/rocketmq/msgbodys";
/// The group that sends a message again.
const RESEND_GROUP: &str = "ReSendMsgById";
/// The property with the producer's id of a message.
const UNIQUE_ID: &str = "UNIQ_KEY";
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

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

struct Sent<'a>(&'a SendResult);

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
}

impl Command for QueryMsgById {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        if self.unit_name.is_some() {
            out.note("-u has no effect: there is no producer that a unit would name");
        }
        for id in self.msg_id.iter().map(|id| id.trim()).filter(|id| !id.is_empty()) {
            let done = match (&self.consumer_group, &self.client_id) {
                (Some(group), Some(client)) => hand_over(admin, out, [group, client, id]).await,
                _ if self.send_message => resend(admin, out, id).await,
                _ => show(admin, out, id).await,
            };
            match done {
                Ok(()) => {}
                Err(Failure::Print(error)) => return Err(error.into()),
                Err(failure) => out.problem(failure),
            }
        }
        Ok(())
    }
}

async fn show(admin: &DefaultMqAdminExt, out: &mut Output, id: &str) -> Result<(), Failure> {
    let message = admin.view_message(id).await?;
    let tracks = match admin.message_track_detail(&message).await {
        Ok(tracks) => Some(tracks),
        Err(error) => {
            out.problem(error);
            None
        }
    };
    let body_path = write_body(Path::new(BODIES), &message, out)?;
    out.show(&Details { message, body_path, tracks })
}

/// Writes the body to a file named by the message's id. An id that is no plain word is not made into a name.
fn write_body(dir: &Path, message: &Received, out: &mut Output) -> Result<PathBuf, Failure> {
    let plain = |id: &&str| {
        id.len() <= 128 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let name = message.property(UNIQUE_ID).filter(plain).map(str::to_owned);
    let path = dir.join(name.unwrap_or_else(|| message.message_id()));
    let body = body_of(message).unwrap_or_else(|error| {
        out.problem(error);
        message.body.as_slice().into()
    });
    let written = fs::create_dir_all(dir).and_then(|()| fs::write(&path, body));
    written.map_err(|source| Failure::File { path: path.clone(), source })?;
    Ok(path)
}

struct Details {
    message: Received,
    body_path: PathBuf,
    /// What became of it in each group, if that could be found out.
    tracks: Option<Vec<MessageTrack>>,
}

impl Serialize for Details {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let m = &self.message;
        let track = |track: &MessageTrack| {
            json!({
                "consumerGroup": track.consumer_group,
                "trackType": track.track_type.name(),
                "exceptionDesc": track.exception_desc,
            })
        };
        let tracks = self.tracks.as_ref().map(|all| all.iter().map(track).collect::<Vec<_>>());
        let properties: serde_json::Map<_, _> = properties(m)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let value = json!({
            "offsetMsgId": m.message_id(),
            "topic": m.topic,
            "tags": m.property("TAGS"),
            "keys": m.property("KEYS"),
            "queueId": m.queue_id,
            "queueOffset": m.queue_offset,
            "commitLogOffset": m.physical_offset,
            "reconsumeTimes": m.reconsume_times,
            "bornTimestamp": m.born_timestamp,
            "storeTimestamp": m.store_timestamp,
            "bornHost": m.born_host.to_string(),
            "storeHost": m.store_host.to_string(),
            "sysFlag": m.sys_flag,
            "properties": properties,
            "bodyPath": self.body_path,
            "tracks": tracks,
        });
        value.serialize(serializer)
    }
}

fn properties(message: &Received) -> std::collections::BTreeMap<&str, &str> {
    proto::properties::iter(&message.properties).collect()
}

impl Display for Details {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let m = &self.message;
        let mut line = |label: &str, value: &str| writeln!(f, "{label:<20} {value}");
        line("OffsetID:", &m.message_id())?;
        line("Topic:", &m.topic)?;
        line("Tags:", &format!("[{}]", or_null(m.property("TAGS"))))?;
        line("Keys:", &format!("[{}]", or_null(m.property("KEYS"))))?;
        line("Queue ID:", &m.queue_id.to_string())?;
        line("Queue Offset:", &m.queue_offset.to_string())?;
        line("CommitLog Offset:", &m.physical_offset.to_string())?;
        line("Reconsume Times:", &m.reconsume_times.to_string())?;
        line("Born Timestamp:", &text::millis(m.born_timestamp))?;
        line("Store Timestamp:", &text::millis(m.store_timestamp))?;
        line("Born Host:", &m.born_host.to_string())?;
        line("Store Host:", &m.store_host.to_string())?;
        line("System Flag:", &m.sys_flag.to_string())?;
        line("Properties:", &text::map(properties(m)))?;
        line("Message Body Path:", &self.body_path.display().to_string())?;
        match self.tracks.as_deref() {
            None => Ok(()),
            Some([]) => write!(f, "\n\nWARN: No Consumer"),
            Some(tracks) => {
                write!(f, "\n\n")?;
                tracks.iter().try_for_each(|track| {
                    let (group, kind) = (&track.consumer_group, track.track_type.name());
                    let why = or_null(track.exception_desc.as_deref());
                    write!(f, "MessageTrack [consumerGroup={group}, trackType={kind}, exceptionDesc={why}]")
                })
            }
        }
    }
}

async fn resend(admin: &DefaultMqAdminExt, out: &mut Output, id: &str) -> Result<(), Failure> {
    let message = admin.view_message(id).await?;
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let again = OutgoingMessage {
        topic: message.topic.clone(),
        body: body_of(&message)?.into_owned(),
        properties: properties(&message).into_iter().map(owned).collect(),
        flag: message.flag,
        group: RESEND_GROUP.to_owned(),
    };
    let sent = admin.send(&again, None).await?;
    out.show(&Resent { id, sent })
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
        let (sent, queue) = (&self.sent, &self.sent.queue);
        write!(
            f,
            "prepare resend msg. originalMsgId={}SendResult [sendStatus={}, msgId={}, offsetMsgId={}, \
             messageQueue=MessageQueue [topic={}, brokerName={}, queueId={}], queueOffset={}]",
            self.id,
            sent.status.name(),
            sent.id,
            sent.offset_id,
            queue.topic,
            queue.broker_name,
            queue.queue_id,
            sent.queue_offset
        )
    }
}

async fn hand_over(
    admin: &DefaultMqAdminExt,
    out: &mut Output,
    [group, client, id]: [&str; 3],
) -> Result<(), Failure> {
    let result = admin.consume_message_directly(group, client, id).await?;
    out.show(&HandedOver { id, result })
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
