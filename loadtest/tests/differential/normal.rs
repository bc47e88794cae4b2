//! Answers in a form that can be compared: without what differs from broker to broker and from run to run. Addresses and
//! names get fixed words, times and ids are there or not, JSON is sorted, messages become JSON.

use super::ask::Ask;
use client::Answer;
use loadtest::harness::Side;
use proto::{code::request, fastjson, properties, record};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Members of JSON bodies whose values depend on when and where, not on what was asked.
const VOLATILE: &[&str] = &[
    "dataVersion",
    "mappingDataVersion",
    "consumeTps",
    "topicPutTps",
    "lastTimestamp",
    "lastUpdateTimestamp",
    "minTimeStamp",
    "maxTimeStamp",
    "consumeTimeStamp",
    "delayTime",
    "minTimeStampStr",
    "maxTimeStampStr",
    "consumeTimeStampStr",
    "spentTimeMills",
];
/// Ext fields of the same kind.
const VOLATILE_EXT: &[&str] = &["indexLastUpdateTimestamp", "indexLastUpdatePhyoffset"];
/// Requests whose answers hold messages.
const OF_MESSAGES: &[i32] = &[
    request::PULL_MESSAGE,
    request::LITE_PULL_MESSAGE,
    request::QUERY_MESSAGE,
    request::VIEW_MESSAGE_BY_ID,
];
/// A body longer than this is compared by its length and checksum.
const BODY_SHOWN_MAX: usize = 400;

/// What the words of one side mean.
pub(crate) struct Normal {
    against: Side,
    suffix: String,
    words: Vec<(String, &'static str)>,
}

impl Normal {
    /// Names end with this suffix, which is left away.
    pub(crate) fn new(suffix: &str, against: Side) -> Normal {
        Normal { against, suffix: suffix.to_owned(), words: Vec::new() }
    }

    /// From now on `text`, an address, is called `word`.
    pub(crate) fn rename(&mut self, text: String, word: &'static str) {
        self.words.push((text, word));
    }

    /// A text with fixed words for names and addresses.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut text = text.replace(&self.suffix, "");
        for (from, to) in &self.words {
            text = text.replace(from, to);
        }
        text
    }

    /// Code, fields and body of an answer. Remarks are for people, and not compared.
    pub(crate) fn answer(&self, ask: &Ask, answer: &Answer) -> Value {
        let mut value = Map::new();
        value.insert("code".to_owned(), answer.code.into());
        let ext = self.ext(&answer.ext, &ask.hidden);
        if ext.as_object().is_some_and(|ext| !ext.is_empty()) {
            value.insert("ext".to_owned(), ext);
        }
        if !answer.body.is_empty() {
            value.insert("body".to_owned(), self.body(ask.code, &answer.body));
        }
        Value::Object(value)
    }

    /// Ext fields, of which those in `hidden` are only there or not.
    pub(crate) fn ext(&self, ext: &[(String, String)], hidden: &[&str]) -> Value {
        let value = |name: &str, value: &str| match name {
            _ if hidden.contains(&name) => json!("HIDDEN"),
            _ if VOLATILE_EXT.contains(&name) => json!("VOLATILE"),
            "msgId" | "offsetMsgId" => json!(ids(value)),
            _ => json!(self.text(value)),
        };
        let sorted: BTreeMap<&str, Value> =
            ext.iter().map(|(name, text)| (name.as_str(), value(name, text))).collect();
        json!(sorted)
    }

    fn body(&self, code: i32, body: &[u8]) -> Value {
        if OF_MESSAGES.contains(&code) {
            return self.messages(body);
        }
        match self.json(body) {
            Some(value) => value,
            None => json!(self.text(&String::from_utf8_lossy(body))),
        }
    }

    /// A body in JSON, as Java writes it; `None`: it is something else.
    pub(crate) fn json(&self, body: &[u8]) -> Option<Value> {
        let strict = fastjson::to_strict(body).ok()?;
        let value = serde_json::from_slice(&strict).ok()?;
        Some(self.steady(value))
    }

    /// The same value, sorted and without what is volatile.
    pub(crate) fn steady(&self, value: Value) -> Value {
        match value {
            Value::String(text) => json!(self.text(&text)),
            Value::Array(items) => {
                let mut items: Vec<Value> =
                    items.into_iter().map(|item| self.steady(item)).collect();
                // Nearly all of them are Java's sets, in the order of their hashes.
                items.sort_by_key(Value::to_string);
                Value::Array(items)
            }
            Value::Object(members) => {
                // Java's readers make an empty map of absent attributes.
                let said = members.into_iter().filter(|(name, value)| {
                    name != "attributes" || value.as_object().is_none_or(|map| !map.is_empty())
                });
                let steady = said.map(|(name, value)| self.member(name, value));
                let sorted: BTreeMap<String, Value> = steady.collect();
                json!(sorted)
            }
            other => other,
        }
    }

    fn member(&self, name: String, value: Value) -> (String, Value) {
        if VOLATILE.contains(&name.as_str()) {
            // That there is no time, 0 or -1, is no accident.
            let kept = value.as_i64().filter(|number| *number <= 0);
            return (name, kept.map_or_else(|| json!("VOLATILE"), Value::from));
        }
        // Queues as keys of maps: JSON within the key.
        let key = match serde_json::from_str::<Value>(&name) {
            Ok(Value::Object(queue)) => self.steady(Value::Object(queue)).to_string(),
            _ => self.text(&name),
        };
        (key, self.steady(value))
    }

    /// Messages as a pull brings them.
    pub(crate) fn messages(&self, body: &[u8]) -> Value {
        record::records(body)
            .map(|found| match found {
                Ok(record) => self.message(&record),
                Err(error) => json!(error.to_string()),
            })
            .collect()
    }

    fn message(&self, record: &record::RecordView<'_>) -> Value {
        let prepared = record.prepared_transaction_offset();
        json!({
            "topic": self.text(record.topic()),
            "queueId": record.queue_id(),
            "queueOffset": record.queue_offset(),
            "sysFlag": record.sys_flag(),
            "flag": record.flag(),
            "born": record.born_timestamp(),
            "bornHost": self.text(&record.born_host().to_string()),
            "storeHost": self.text(&record.store_host().to_string()),
            "reconsumeTimes": record.reconsume_times(),
            "preparedTransaction": if prepared > 0 { json!("OFFSET") } else { json!(prepared) },
            "crc": record.check_body().is_ok(),
            "body": shown(record.body()),
            "properties": self.properties(record.properties_text()),
        })
    }

    /// 5.x adds to every message where it was sent, whether it is traced, and an id if it has none.
    fn keeps(&self, name: &str, value: &str) -> bool {
        let added = matches!(name, "MSG_REGION" | "TRACE_ON")
            || (name == "UNIQ_KEY" && value.starts_with("FD0000"));
        self.against != Side::Java5 || !added
    }

    fn properties(&self, text: &str) -> Value {
        let value = |name: &str, value: &str| match name {
            "ORIGIN_MESSAGE_ID" | "DLQ_ORIGIN_MESSAGE_ID" => json!(ids(value)),
            "TIMER_OUT_MS" | "TIMER_ENQUEUE_MS" | "TIMER_DEQUEUE_MS" => json!("TIME"),
            _ => json!(self.text(value)),
        };
        let sorted: BTreeMap<&str, Value> = properties::iter(text)
            .filter(|(name, text)| self.keeps(name, text))
            .map(|(name, text)| (name, value(name, text)))
            .collect();
        json!(sorted)
    }
}

/// Message ids of a broker become `ID`, anything else stays.
fn ids(text: &str) -> String {
    let one = |id: &str| match proto::message_id::decode(id) {
        Ok(_) => "ID".to_owned(),
        Err(_) => id.to_owned(),
    };
    text.split(',').map(one).collect::<Vec<_>>().join(",")
}

fn shown(body: &[u8]) -> String {
    if body.len() <= BODY_SHOWN_MAX {
        return String::from_utf8_lossy(body).into_owned();
    }
    format!("{} bytes, crc {}", body.len(), record::body_crc(body))
}
