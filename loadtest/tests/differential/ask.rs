//! Requests as the scripts write them: a code, fields by name, a body. `<t>` in a text stands for the name that the run
//! gives to `t`. Functions of the families fill in what a client sends; scripts change, add and remove single fields.

use client::{ClientError, Connection, Ticket};
use proto::{
    batch,
    code::request,
    command::{ExtValue, Language},
};
use std::fmt::Display;

/// When all messages of scripts were made, by their own account, ms since the epoch.
pub(crate) const BORN: i64 = 1_700_000_000_000;
/// `sysFlag` of a pull that carries its subscription.
pub(crate) const SUBSCRIBES: i32 = 4;

/// The names of one run: what is written `<t>` is called `t` and this suffix.
#[derive(Clone, Debug)]
pub(crate) struct Names(pub(crate) String);

impl Names {
    /// `text` with names in the place of `<name>`.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('<') {
            filled.push_str(before);
            let is_name =
                |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
            match behind.split_once('>').filter(|(name, _)| is_name(name)) {
                Some((name, after)) => {
                    filled.push_str(name);
                    filled.push_str(&self.0);
                    rest = after;
                }
                None => {
                    filled.push('<');
                    rest = behind;
                }
            }
        }
        filled.push_str(rest);
        filled
    }
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Request code.
    pub(crate) code: i32,
    /// Ext fields; `None` when the header has none at all.
    pub(crate) fields: Option<Vec<(String, String)>>,
    /// Body with placeholders, or raw bytes.
    pub(crate) body: Body,
    /// Fields of the answer that both sides choose freely: only whether they are there is compared.
    pub(crate) hidden: Vec<&'static str>,
    /// The version that the sender says it has.
    pub(crate) version: i32,
}

/// What follows the header.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Text with placeholders.
    Text(String),
    /// As it is.
    Bytes(Vec<u8>),
}

impl Ask {
    /// A request without fields and body, of a 4.9.8 client.
    pub(crate) fn new(code: i32) -> Ask {
        Ask { code, fields: None, body: Body::Bytes(Vec::new()), hidden: Vec::new(), version: 409 }
    }

    /// Adds a field, or changes it.
    pub(crate) fn set(mut self, name: &str, value: impl Display) -> Ask {
        let fields = self.fields.get_or_insert_default();
        fields.retain(|(other, _)| other != name);
        fields.push((name.to_owned(), value.to_string()));
        self
    }

    /// Removes a field.
    pub(crate) fn without(mut self, name: &str) -> Ask {
        if let Some(fields) = &mut self.fields {
            fields.retain(|(other, _)| other != name);
        }
        self
    }

    /// With this body, which may have placeholders.
    pub(crate) fn text(mut self, body: impl Into<String>) -> Ask {
        self.body = Body::Text(body.into());
        self
    }

    /// With this body.
    pub(crate) fn bytes(mut self, body: impl Into<Vec<u8>>) -> Ask {
        self.body = Body::Bytes(body.into());
        self
    }

    /// The answer's field is there or not, whatever it says.
    pub(crate) fn hide(mut self, field: &'static str) -> Ask {
        self.hidden.push(field);
        self
    }

    /// From a client of this version.
    pub(crate) fn version(mut self, version: i32) -> Ask {
        self.version = version;
        self
    }

    /// Writes the request and does not wait.
    pub(crate) fn start(
        &self,
        names: &Names,
        connection: &mut Connection,
    ) -> Result<Ticket, ClientError> {
        connection.set_identity(Language::Java, self.version);
        let filled = self.filled(names);
        connection.start(self.code, &ext(&filled), &self.body_bytes(names))
    }

    /// Writes the request as one that wants no answer.
    pub(crate) fn start_oneway(
        &self,
        names: &Names,
        connection: &mut Connection,
    ) -> Result<(), ClientError> {
        let filled = self.filled(names);
        connection.start_oneway(self.code, &ext(&filled), &self.body_bytes(names))
    }

    fn filled(&self, names: &Names) -> Vec<(String, String)> {
        let fields = self.fields.iter().flatten();
        fields.map(|(name, value)| (name.clone(), names.fill(value))).collect()
    }

    fn body_bytes(&self, names: &Names) -> Vec<u8> {
        match &self.body {
            Body::Text(text) => names.fill(text).into_bytes(),
            Body::Bytes(bytes) => bytes.clone(),
        }
    }

    /// A field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.fields.as_ref()?;
        fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

fn ext(fields: &[(String, String)]) -> Vec<(&str, ExtValue<'_>)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str().into())).collect()
}

/// Properties in wire form from `name=value;name=value`, with a separator at the end as 5.x clients write them.
pub(crate) fn properties(text: &str) -> String {
    let mut wire = text.replace('=', "\u{1}").replace(';', "\u{2}");
    if !wire.is_empty() && !wire.ends_with('\u{2}') {
        wire.push('\u{2}');
    }
    wire
}

/// SEND_MESSAGE_V2 with the body `body` to queue 0.
pub(crate) fn send(topic: &str) -> Ask {
    Ask::new(request::SEND_MESSAGE_V2)
        .set("a", "<producers>")
        .set("b", topic)
        .set("c", "TBW102")
        .set("d", 4)
        .set("e", 0)
        .set("f", 0)
        .set("g", BORN)
        .set("h", 0)
        .set("i", "")
        .set("j", 0)
        .set("k", false)
        .set("m", false)
        .text("body")
}

/// The same with properties, as `name=value;name=value`.
pub(crate) fn send_with(topic: &str, text: &str) -> Ask {
    send(topic).set("i", properties(text))
}

/// SEND_MESSAGE, with long names, to queue 0.
pub(crate) fn send_v1(topic: &str) -> Ask {
    Ask::new(request::SEND_MESSAGE)
        .set("producerGroup", "<producers>")
        .set("topic", topic)
        .set("defaultTopic", "TBW102")
        .set("defaultTopicQueueNums", 4)
        .set("queueId", 0)
        .set("sysFlag", 0)
        .set("bornTimestamp", BORN)
        .set("flag", 0)
        .set("properties", "")
        .set("reconsumeTimes", 0)
        .set("unitMode", false)
        .set("batch", false)
        .text("body")
}

/// SEND_BATCH_MESSAGE of messages, each body and properties.
pub(crate) fn send_batch(topic: &str, messages: &[(&str, &str)]) -> Ask {
    Ask { code: request::SEND_BATCH_MESSAGE, ..send(topic) }
        .set("m", true)
        .bytes(batch_body(messages))
}

/// The body of a batch.
pub(crate) fn batch_body(messages: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (number, (text, own)) in (0..).zip(messages) {
        let own = properties(own);
        let message =
            batch::BatchMessage { flag: number, body: text.as_bytes(), properties: own.as_bytes() };
        batch::write(&mut body, &message).expect("it fits");
    }
    body
}

/// PULL_MESSAGE of group `g` from queue 0 with its own subscription `*`, not waiting.
pub(crate) fn pull(topic: &str, offset: i64) -> Ask {
    Ask::new(request::PULL_MESSAGE)
        .set("consumerGroup", "<g>")
        .set("topic", topic)
        .set("queueId", 0)
        .set("queueOffset", offset)
        .set("maxMsgNums", 32)
        .set("sysFlag", SUBSCRIBES)
        .set("commitOffset", 0)
        .set("suspendTimeoutMillis", 0)
        .set("subscription", "*")
        .set("expressionType", "TAG")
        .set("subVersion", 0)
}

/// A pull that relies on what the group's heartbeat subscribed, in this version.
pub(crate) fn pull_as_member(topic: &str, sub_version: i64) -> Ask {
    pull(topic, 0).set("sysFlag", 0).without("subscription").set("subVersion", sub_version)
}

/// A request about a queue of a topic.
pub(crate) fn of_queue(code: i32, topic: &str, queue: i32) -> Ask {
    Ask::new(code).set("topic", topic).set("queueId", queue)
}

/// QUERY_CONSUMER_OFFSET of group `g`, queue 0.
pub(crate) fn committed(topic: &str) -> Ask {
    of_queue(request::QUERY_CONSUMER_OFFSET, topic, 0).set("consumerGroup", "<g>")
}

/// UPDATE_CONSUMER_OFFSET of group `g`, queue 0.
pub(crate) fn commit(topic: &str, offset: i64) -> Ask {
    of_queue(request::UPDATE_CONSUMER_OFFSET, topic, 0)
        .set("consumerGroup", "<g>")
        .set("commitOffset", offset)
}

/// UPDATE_AND_CREATE_TOPIC with four queues for reading and writing.
pub(crate) fn update_topic(topic: &str) -> Ask {
    Ask::new(request::UPDATE_AND_CREATE_TOPIC)
        .set("topic", topic)
        .set("defaultTopic", "TBW102")
        .set("readQueueNums", 4)
        .set("writeQueueNums", 4)
        .set("perm", 6)
        .set("topicFilterType", "SINGLE_TAG")
        .set("topicSysFlag", 0)
        .set("order", false)
}

/// A request with one field.
pub(crate) fn with(code: i32, name: &str, value: &str) -> Ask {
    Ask::new(code).set(name, value)
}

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP with Java's defaults; `more` are members of the JSON that win, such as `,"a":1`.
pub(crate) fn update_group(group: &str, more: &str) -> Ask {
    Ask::new(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).text(format!(
        r#"{{"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"groupName":"{group}","notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1{more}}}"#
    ))
}

/// What a heartbeat says of a group that consumes a topic: expression type, expression, version.
pub(crate) fn subscription(topic: &str, kind: &str, expression: &str, version: i64) -> String {
    let tags: Vec<&str> = match (kind, expression) {
        ("TAG", "*") => Vec::new(),
        ("TAG", tags) => tags.split("||").map(str::trim).collect(),
        _ => Vec::new(),
    };
    let codes: Vec<i32> = tags.iter().map(|tag| proto::record::string_hash(tag)).collect();
    serde_json::json!({
        "classFilterMode": false, "codeSet": codes, "expressionType": kind, "subString": expression,
        "subVersion": version, "tagsSet": tags, "topic": topic,
    })
    .to_string()
}

/// HEART_BEAT of a client that consumes in group `g`, with these subscriptions.
pub(crate) fn heartbeat(client: &str, subscriptions: &[String]) -> Ask {
    heartbeat_of(client, "<g>", "CLUSTERING", subscriptions)
}

/// The same of another group or model.
pub(crate) fn heartbeat_of(
    client: &str,
    group: &str,
    model: &str,
    subscriptions: &[String],
) -> Ask {
    let subscriptions = subscriptions.join(",");
    Ask::new(request::HEART_BEAT).text(format!(
        r#"{{"clientID":"{client}","consumerDataSet":[{{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"{group}","messageModel":"{model}","subscriptionDataSet":[{subscriptions}],"unitMode":false}}],"producerDataSet":[]}}"#
    ))
}

/// HEART_BEAT of a client that produces only.
pub(crate) fn producer_heartbeat(client: &str, group: &str) -> Ask {
    Ask::new(request::HEART_BEAT).text(format!(
        r#"{{"clientID":"{client}","consumerDataSet":[],"producerDataSet":[{{"groupName":"{group}"}}]}}"#
    ))
}

/// The offset of the commit log that an answer's message id leads to.
pub(crate) fn log_offset(answer: &client::Answer) -> i64 {
    let id = answer.ext("msgId").unwrap_or_default();
    let first = id.split(',').next().unwrap_or_default();
    proto::message_id::decode(first).map_or(-1, |(_, offset)| offset)
}
