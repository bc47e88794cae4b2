//! Topics of a broker: one configuration, the table of all, and lists of names.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{Fields, TABLE_BODY_BYTES_MAX, parse};
use super::streamed::parse_table;
use super::writer::{Members, object};
use super::{BodyError, DataVersion, java_enum};

java_enum! {
    /// How many tags a message of the topic has. Only carried through.
    TopicFilterType {
        /// One tag.
        SingleTag = "SINGLE_TAG",
        /// Several tags.
        MultiTag = "MULTI_TAG",
    }
}

/// One topic. 5.x attributes are skipped. Source: Apache RocketMQ 4.9.8, `TopicConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// Name, at most 127 bytes.
    pub topic_name: String,
    /// Queues that consumers see.
    pub read_queue_nums: i32,
    /// Queues that producers see.
    pub write_queue_nums: i32,
    /// Bits: 1 inherit, 2 write, 4 read, 8 priority.
    pub perm: i32,
    /// Tags of a message.
    pub topic_filter_type: TopicFilterType,
    /// Bits: 1 unit, 2 has unit subscriptions.
    pub topic_sys_flag: i32,
    /// Ordered topic.
    pub order: bool,
}

impl Default for TopicConfig {
    /// Java's defaults: 16 queues, readable and writable.
    fn default() -> Self {
        TopicConfig {
            topic_name: String::new(),
            read_queue_nums: 16,
            write_queue_nums: 16,
            perm: 6,
            topic_filter_type: TopicFilterType::SingleTag,
            topic_sys_flag: 0,
            order: false,
        }
    }
}

impl TopicConfig {
    /// Reads a single configuration, as some admin requests carry it.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        Self::from_value(&parse(bytes, TABLE_BODY_BYTES_MAX)?)
    }

    /// Appends a single configuration.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| self.members(members));
    }

    pub(super) fn from_value(value: &Value) -> Result<Self, BodyError> {
        let fields = Fields::of(value, "topicConfig")?;
        let default = Self::default();
        Ok(TopicConfig {
            topic_name: fields.text("topicName")?,
            read_queue_nums: fields.int("readQueueNums", default.read_queue_nums)?,
            write_queue_nums: fields.int("writeQueueNums", default.write_queue_nums)?,
            perm: fields.int("perm", default.perm)?,
            topic_filter_type: fields.choice(
                "topicFilterType",
                TopicFilterType::from_name,
                default.topic_filter_type,
            ),
            topic_sys_flag: fields.int("topicSysFlag", 0)?,
            order: fields.flag("order", false)?,
        })
    }

    fn members(&self, members: &mut Members<'_>) {
        members.flag("order", self.order);
        members.int("perm", self.perm);
        members.int("readQueueNums", self.read_queue_nums);
        members.text("topicFilterType", self.topic_filter_type.name());
        members.text("topicName", &self.topic_name);
        members.int("topicSysFlag", self.topic_sys_flag);
        members.int("writeQueueNums", self.write_queue_nums);
    }
}

/// All topics of a broker: `GET_ALL_TOPIC_CONFIG` (21), part of `REGISTER_BROKER`, `config/topics.json`.
/// Source: Apache RocketMQ 4.9.8, `TopicConfigSerializeWrapper`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicConfigTable {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Topic name to configuration.
    pub topic_config_table: BTreeMap<String, TopicConfig>,
}

impl TopicConfigTable {
    /// Reads the body or file.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let (mut table, rest) = Self::read_within(bytes, &["topicConfigTable"])?;
        table.data_version = DataVersion::of(&Fields::of(&rest, "body")?)?;
        Ok(table)
    }

    /// Reads the topics at `path` of a body, and what is around them. The version is left out.
    pub(super) fn read_within(
        bytes: &[u8],
        path: &[&'static str],
    ) -> Result<(Self, Value), BodyError> {
        let mut table = TopicConfigTable::default();
        let rest = parse_table(bytes, TABLE_BODY_BYTES_MAX, path, |name, value| {
            let mut config = TopicConfig::from_value(value)?;
            if config.topic_name.is_empty() {
                config.topic_name.clone_from(&name);
            }
            table.topic_config_table.insert(name, config);
            Ok(())
        })?;
        Ok((table, rest))
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| self.members(members));
    }

    pub(super) fn members(&self, members: &mut Members<'_>) {
        members.object("dataVersion", |members| self.data_version.members(members));
        members.object("topicConfigTable", |members| {
            for (name, config) in &self.topic_config_table {
                members.object(name, |members| config.members(members));
            }
        });
    }
}

/// Names of topics: answers of 206, 224, 304, 305, 311-313 and 343. Source: Apache RocketMQ 4.9.8, `TopicList`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicList {
    /// The names.
    pub topic_list: Vec<String>,
    /// Address of a broker, in answers of brokers about system topics.
    pub broker_addr: Option<String>,
}

impl TopicList {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, TABLE_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        Ok(TopicList {
            topic_list: fields.texts("topicList")?,
            broker_addr: fields.optional_text("brokerAddr")?,
        })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| {
            members.optional_text("brokerAddr", self.broker_addr.as_deref());
            members.texts("topicList", &self.topic_list);
        });
    }
}
