//! Being a member: heartbeat (34), unregister (35), who else is there (38), locks of queues (41, 42).

use proto::code::request;
use serde_json::{Value, json};

use crate::{Answer, ClientError, Connection};

/// One topic that a group reads.
#[derive(Clone, Debug)]
pub struct Subscription<'a> {
    /// Topic.
    pub topic: &'a str,
    /// `*` or tags joined by `||`.
    pub expression: &'a str,
    /// Grows with every change.
    pub version: i64,
}

/// What a client tells the broker about itself.
#[derive(Clone, Debug)]
pub struct Heartbeat<'a> {
    /// `ip@instance`, unique among clients.
    pub client_id: &'a str,
    /// Group as a consumer, if it is one.
    pub consumer_group: Option<&'a str>,
    /// What that group reads.
    pub subscriptions: &'a [Subscription<'a>],
    /// Group as a producer, if it is one.
    pub producer_group: Option<&'a str>,
}

impl Heartbeat<'_> {
    /// The body as a Java 4.9.8 client with a push consumer (clustering, from the last offset) writes it.
    pub fn to_json(&self) -> Value {
        self.to_json_as("TAG")
    }

    /// The same with subscriptions of another type, such as `SQL92`.
    fn to_json_as(&self, expression_type: &str) -> Value {
        let subscriptions: Vec<Value> =
            self.subscriptions.iter().map(|wanted| wanted.to_json(expression_type)).collect();
        let consumers: Vec<Value> = self
            .consumer_group
            .iter()
            .map(|group| {
                json!({
                    "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET",
                    "consumeType": "CONSUME_PASSIVELY",
                    "groupName": group,
                    "messageModel": "CLUSTERING",
                    "subscriptionDataSet": subscriptions,
                    "unitMode": false,
                })
            })
            .collect();
        let producers: Vec<Value> =
            self.producer_group.iter().map(|group| json!({ "groupName": group })).collect();
        json!({
            "clientID": self.client_id,
            "consumerDataSet": consumers,
            "producerDataSet": producers,
        })
    }
}

impl Subscription<'_> {
    fn to_json(&self, expression_type: &str) -> Value {
        let tags: Vec<&str> = match self.expression {
            _ if expression_type != "TAG" => Vec::new(),
            "*" => Vec::new(),
            tags => tags.split("||").map(str::trim).filter(|tag| !tag.is_empty()).collect(),
        };
        let codes: Vec<i32> = tags.iter().map(|tag| proto::record::string_hash(tag)).collect();
        json!({
            "classFilterMode": false,
            "codeSet": codes,
            "expressionType": expression_type,
            "subString": self.expression,
            "subVersion": self.version,
            "tagsSet": tags,
            "topic": self.topic,
        })
    }
}

fn lock_body(group: &str, client_id: &str, topic: &str, queues: &[i32]) -> String {
    let queue = |id: &i32| json!({ "brokerName": "broker-a", "queueId": id, "topic": topic });
    let queues: Vec<Value> = queues.iter().map(queue).collect();
    json!({ "clientId": client_id, "consumerGroup": group, "mqSet": queues }).to_string()
}

impl Connection {
    /// HEART_BEAT (34).
    pub fn heartbeat(&mut self, heartbeat: &Heartbeat<'_>) -> Result<Answer, ClientError> {
        self.heartbeat_with("TAG", heartbeat)
    }

    /// The same with subscriptions of another type, such as `SQL92`.
    pub fn heartbeat_with(
        &mut self,
        expression_type: &str,
        heartbeat: &Heartbeat<'_>,
    ) -> Result<Answer, ClientError> {
        let body = heartbeat.to_json_as(expression_type).to_string();
        self.call(request::HEART_BEAT, &[], body.as_bytes())?.success()
    }

    /// UNREGISTER_CLIENT (35).
    pub fn unregister(
        &mut self,
        client_id: &str,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
    ) -> Result<(), ClientError> {
        let mut ext = vec![("clientID", client_id.into())];
        ext.extend(producer_group.map(|group| ("producerGroup", group.into())));
        ext.extend(consumer_group.map(|group| ("consumerGroup", group.into())));
        self.call(request::UNREGISTER_CLIENT, &ext, &[])?.success().map(drop)
    }

    /// LOCK_BATCH_MQ (41): which of these queues of a topic the client holds now.
    pub fn lock_queues(
        &mut self,
        (group, client_id): (&str, &str),
        topic: &str,
        queues: &[i32],
    ) -> Result<Vec<i32>, ClientError> {
        let body = lock_body(group, client_id, topic, queues);
        let answer = self.call(request::LOCK_BATCH_MQ, &[], body.as_bytes())?.success()?.json()?;
        let held = answer.get("lockOKMQSet").and_then(Value::as_array);
        let held = held.ok_or_else(|| ClientError::Json {
            reason: "no lockOKMQSet".to_string(),
            text: answer.to_string(),
        })?;
        let number = |queue: &Value| queue.get("queueId")?.as_i64();
        Ok(held.iter().filter_map(number).filter_map(|id| i32::try_from(id).ok()).collect())
    }

    /// UNLOCK_BATCH_MQ (42).
    pub fn unlock_queues(
        &mut self,
        (group, client_id): (&str, &str),
        topic: &str,
        queues: &[i32],
    ) -> Result<(), ClientError> {
        let body = lock_body(group, client_id, topic, queues);
        self.call(request::UNLOCK_BATCH_MQ, &[], body.as_bytes())?.success().map(drop)
    }

    /// GET_CONSUMER_LIST_BY_GROUP (38): client ids. A group without members is refused with code 1.
    pub fn consumer_ids(&mut self, group: &str) -> Result<Vec<String>, ClientError> {
        let ext = [("consumerGroup", group.into())];
        let body = self.call(request::GET_CONSUMER_LIST_BY_GROUP, &ext, &[])?.success()?.json()?;
        let ids = body.get("consumerIdList").and_then(Value::as_array);
        let ids = ids.map(|ids| ids.iter().filter_map(Value::as_str).map(str::to_string).collect());
        ids.ok_or_else(|| ClientError::Json {
            reason: "no consumerIdList".to_string(),
            text: body.to_string(),
        })
    }
}
