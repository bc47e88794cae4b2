//! Sending single messages as a tool does: no batches, no compression, no transactions.

use proto::body::{MessageQueue, RouteData};
use proto::code::{request, response};
use proto::command::ExtValue;

use super::{AdminError, DefaultMqAdminExt, MASTER_ID, unique_id};
use crate::send::{now_ms, sent, short_fields};
use crate::{Answer, Message};

/// Whose route a topic has that does not exist yet.
const DEFAULT_TOPIC: &str = "TBW102";
/// Queues of a topic that its first message creates.
const DEFAULT_TOPIC_QUEUES: i32 = 4;
/// Brokers that are tried.
const ATTEMPTS: usize = 3;
/// The bit of a permission that lets producers write.
const PERM_WRITE: i32 = 2;

/// The property with the producer's id of a message.
const UNIQUE_ID: &str = "UNIQ_KEY";
/// The region of a broker that names none.
const REGION_DEFAULT: &str = "DefaultRegion";

/// A message to send.
#[derive(Clone, Debug, Default)]
pub struct OutgoingMessage {
    /// Topic.
    pub topic: String,
    /// Body.
    pub body: Vec<u8>,
    /// Properties besides `WAIT`, such as `TAGS` and `KEYS`; empty values do not exist. An id is made when `UNIQ_KEY` is not
    /// among them.
    pub properties: Vec<(String, String)>,
    /// The user's flag, carried as it is.
    pub flag: i32,
    /// Producer group.
    pub group: String,
}

/// How a message was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// As the broker promises.
    SendOk,
    /// Stored, but not on the disk in time.
    FlushDiskTimeout,
    /// Stored, but no replica had it in time.
    FlushSlaveTimeout,
    /// Stored, but there is no replica.
    SlaveNotAvailable,
}

impl SendStatus {
    /// Java's name of it.
    pub fn name(self) -> &'static str {
        match self {
            SendStatus::SendOk => "SEND_OK",
            SendStatus::FlushDiskTimeout => "FLUSH_DISK_TIMEOUT",
            SendStatus::FlushSlaveTimeout => "FLUSH_SLAVE_TIMEOUT",
            SendStatus::SlaveNotAvailable => "SLAVE_NOT_AVAILABLE",
        }
    }

    fn of_code(code: i32) -> Option<SendStatus> {
        match code {
            0 => Some(SendStatus::SendOk),
            response::FLUSH_DISK_TIMEOUT => Some(SendStatus::FlushDiskTimeout),
            response::FLUSH_SLAVE_TIMEOUT => Some(SendStatus::FlushSlaveTimeout),
            response::SLAVE_NOT_AVAILABLE => Some(SendStatus::SlaveNotAvailable),
            _ => None,
        }
    }
}

/// Where a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendResult {
    /// How it was stored.
    pub status: SendStatus,
    /// The id that was made here, property `UNIQ_KEY`.
    pub id: String,
    /// The broker's id of it, which leads to its place.
    pub offset_id: String,
    /// Its queue.
    pub queue: MessageQueue,
    /// Its place there.
    pub queue_offset: i64,
    /// Address of the broker that took it.
    pub broker_addr: String,
    /// The broker's region.
    pub region: String,
    /// The broker wants message traces to be written.
    pub trace_on: bool,
}

/// Where a topic takes messages.
#[derive(Clone, Debug)]
pub struct TopicPublishInfo {
    route: RouteData,
    queues: Vec<MessageQueue>,
}

impl TopicPublishInfo {
    /// The queues that take messages, those of a broker together.
    pub fn queues(&self) -> &[MessageQueue] {
        &self.queues
    }
}

impl DefaultMqAdminExt {
    /// SEND_MESSAGE_V2 (310): to a queue, or to any queue of the topic. Of a topic that does not exist, brokers are asked
    /// that create topics. When a broker takes no connection or no messages now, another one is tried.
    pub async fn send(
        &self,
        message: &OutgoingMessage,
        queue: Option<&MessageQueue>,
    ) -> Result<SendResult, AdminError> {
        let places = match queue {
            None => self.topic_publish_info(&message.topic).await?,
            Some(_) => {
                let route = self.examine_topic_route_info(&message.topic).await?;
                TopicPublishInfo { route, queues: Vec::new() }
            }
        };
        self.send_in(&places, message, queue).await
    }

    /// The same to a topic whose route is known: nobody but the broker is asked.
    pub async fn send_in(
        &self,
        places: &TopicPublishInfo,
        message: &OutgoingMessage,
        queue: Option<&MessageQueue>,
    ) -> Result<SendResult, AdminError> {
        let TopicPublishInfo { route, queues } = places;
        let given = message.properties.iter().find(|(name, _)| name == UNIQUE_ID);
        let id = given.map_or_else(unique_id::create, |(_, id)| id.clone());
        if let Some(queue) = queue {
            return self.send_to(route, queue, message, &id).await;
        }
        let mut left: Vec<&MessageQueue> = queues.iter().collect();
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            if left.is_empty() {
                break;
            }
            let queue = left.swap_remove(fastrand::usize(..left.len()));
            match self.send_to(route, queue, message, &id).await {
                Err(error) if was_not_taken(&error) => failed = Some(error),
                outcome => return outcome,
            }
            left.retain(|other| other.broker_name != queue.broker_name);
        }
        Err(failed.unwrap_or_else(|| AdminError::NotFound {
            what: format!("no broker has a queue of topic {} that takes messages", message.topic),
            code: response::TOPIC_NOT_EXIST,
        }))
    }

    /// Where a topic takes messages; of one that does not exist, where it would be made.
    pub async fn topic_publish_info(&self, topic: &str) -> Result<TopicPublishInfo, AdminError> {
        let (route, queues_max) = match self.examine_topic_route_info(topic).await {
            Err(error) if error.code() == Some(response::TOPIC_NOT_EXIST) => {
                match self.examine_topic_route_info(DEFAULT_TOPIC).await {
                    Ok(route) => (route, DEFAULT_TOPIC_QUEUES),
                    Err(_) => return Err(error),
                }
            }
            outcome => (outcome?, i32::MAX),
        };
        let queues = publish_queues(&route, topic, queues_max);
        Ok(TopicPublishInfo { route, queues })
    }

    async fn send_to(
        &self,
        route: &RouteData,
        queue: &MessageQueue,
        message: &OutgoingMessage,
        id: &str,
    ) -> Result<SendResult, AdminError> {
        let brokers = route.broker_datas.iter();
        let broker = brokers.clone().find(|broker| broker.broker_name == queue.broker_name);
        let Some(addr) = broker.and_then(|broker| broker.broker_addrs.get(&MASTER_ID)) else {
            let names: Vec<&str> = brokers.map(|broker| broker.broker_name.as_str()).collect();
            let what = format!(
                "broker {} has no master with topic {}; it is on: {}",
                queue.broker_name,
                message.topic,
                names.join(", ")
            );
            return Err(AdminError::NotFound { what, code: response::TOPIC_NOT_EXIST });
        };
        let given = message.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let own = [(UNIQUE_ID, id), ("WAIT", "true")];
        let properties: Vec<(&str, &str)> =
            given.filter(|(name, _)| own.iter().all(|(own, _)| own != name)).chain(own).collect();
        let wire = Message {
            topic: &message.topic,
            queue_id: queue.queue_id,
            body: &message.body,
            properties: &properties,
            sys_flag: 0,
            flag: message.flag,
            born_timestamp: now_ms(),
            group: &message.group,
            topic_queues: DEFAULT_TOPIC_QUEUES,
        };
        let text = wire.properties_text();
        let mut ext = short_fields(&wire, &text, false);
        if let Some(field) = ext.iter_mut().find(|(name, _)| *name == "n") {
            field.1 = ExtValue::Str(&queue.broker_name);
        }
        let mut request = self.request(request::SEND_MESSAGE_V2, &ext);
        request.body = wire.body;
        let mut told = self.ask_broker(addr, &request).await?;
        let status = SendStatus::of_code(told.answer.code);
        if status.is_some() {
            told.answer = Answer { code: 0, ..told.answer };
        }
        let region = told.answer.ext("MSG_REGION").filter(|region| !region.is_empty());
        let region = region.unwrap_or(REGION_DEFAULT).to_owned();
        let trace_on = told.answer.ext("TRACE_ON") != Some("false");
        let stored = told.read(sent)?;
        Ok(SendResult {
            status: status.unwrap_or(SendStatus::SendOk),
            id: id.to_owned(),
            offset_id: stored.message_id,
            queue: MessageQueue { queue_id: stored.queue_id, ..queue.clone() },
            queue_offset: stored.queue_offset,
            broker_addr: addr.clone(),
            region,
            trace_on,
        })
    }
}

/// Queues that take messages: of brokers with a master and write permission, at most so many each.
fn publish_queues(route: &RouteData, topic: &str, queues_max: i32) -> Vec<MessageQueue> {
    let has_master = |name: &str| {
        let mut brokers = route.broker_datas.iter();
        brokers.any(|b| b.broker_name == name && b.broker_addrs.contains_key(&MASTER_ID))
    };
    let writable = route
        .queue_datas
        .iter()
        .filter(|data| data.perm & PERM_WRITE != 0 && has_master(&data.broker_name));
    writable
        .flat_map(|data| {
            (0..data.write_queue_nums.min(queues_max)).map(|queue_id| MessageQueue {
                broker_name: data.broker_name.clone(),
                queue_id,
                topic: topic.to_owned(),
            })
        })
        .collect()
}

/// Whether the message is certainly not stored, so that it may be sent elsewhere.
fn was_not_taken(error: &AdminError) -> bool {
    match error {
        AdminError::Connect { .. } => true,
        AdminError::Refused { code, .. } => {
            matches!(*code, response::SERVICE_NOT_AVAILABLE | response::NO_PERMISSION)
        }
        _ => false,
    }
}
