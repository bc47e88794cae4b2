//! Topics of a broker: one configuration, the table of all, and lists of names.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{LIST_BODY_BYTES_MAX, TABLE_BODY_BYTES_MAX};
use super::member::{Member, body};
use super::streamed::parse_table;
use super::writer::Dialect;
use super::{BodyError, DataVersion, java_enum};

java_enum! {
    /// How many tags a message of the topic has, which the flags of its messages repeat.
    TopicFilterType {
        /// One tag.
        #[default]
        SingleTag = "SINGLE_TAG",
        /// Several tags.
        MultiTag = "MULTI_TAG",
    }
}

body! {
    /// One topic, by default Java's: 16 queues, readable and writable.
    /// Source: Apache RocketMQ 4.9.8 and, for attributes, 5.3.3, `TopicConfig`.
    #[derive(Eq)]
    TopicConfig("topicConfig", TABLE_BODY_BYTES_MAX) {
        /// What 5.x tools say of it besides, such as `message.type`. Left out when there are none, as 4.9 knows none.
        attributes: BTreeMap<String, String> = "attributes" omit_default,
        /// Ordered topic.
        order: bool = "order",
        /// Bits: 1 inherit, 2 write, 4 read, 8 priority.
        perm: i32 = "perm" default(6),
        /// Queues that consumers see.
        read_queue_nums: i32 = "readQueueNums" default(16),
        /// Tags of a message.
        topic_filter_type: TopicFilterType = "topicFilterType",
        /// Name, at most 127 bytes.
        topic_name: String = "topicName",
        /// Bits: 1 unit, 2 has unit subscriptions.
        topic_sys_flag: i32 = "topicSysFlag",
        /// Queues that producers see.
        write_queue_nums: i32 = "writeQueueNums" default(16),
    }
}

impl TopicConfig {
    /// Queues that producers or consumers see.
    pub fn queues(&self) -> u32 {
        u32::try_from(self.read_queue_nums.max(self.write_queue_nums)).unwrap_or(0)
    }
}

body! {
    /// All topics of a broker: `GET_ALL_TOPIC_CONFIG` (21), part of `REGISTER_BROKER`, `config/topics.json`.
    /// Source: Apache RocketMQ 4.9.8, `TopicConfigSerializeWrapper`.
    #[derive(Eq)]
    TopicConfigTable("body") {
        /// Version of the table.
        data_version: DataVersion = "dataVersion",
        /// In our file only: topics that were deleted and whose queues shards have yet to drop.
        deleted_topics: Vec<String> = "deletedTopics" omit_default,
        /// Topic name to configuration.
        topic_config_table: BTreeMap<String, TopicConfig> = "topicConfigTable",
    }
}

/// Read by hand: the table can be large, so its entries are read one by one.
impl TopicConfigTable {
    /// Reads the body or file.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let (topic_config_table, rest) = Self::read_within(bytes, &["topicConfigTable"])?;
        let table = Self::from_value(&rest, "body")?.unwrap_or_default();
        Ok(TopicConfigTable { topic_config_table, ..table })
    }

    /// Reads the topics at `path` of a body, and what is around them.
    pub(super) fn read_within(
        bytes: &[u8],
        path: &[&'static str],
    ) -> Result<(BTreeMap<String, TopicConfig>, Value), BodyError> {
        let mut topics = BTreeMap::new();
        let rest = parse_table(bytes, TABLE_BODY_BYTES_MAX, path, |name, value| {
            let mut topic = TopicConfig::from_value(value, "topicConfigTable")?.unwrap_or_default();
            if topic.topic_name.is_empty() {
                topic.topic_name.clone_from(&name);
            }
            topics.insert(name, topic);
            Ok(())
        })?;
        Ok((topics, rest))
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_value(out, Dialect::Fastjson);
    }
}

body! {
    /// Names of topics: answers of 206, 224, 304, 305, 311-313 and 343. Source: Apache RocketMQ 4.9.8, `TopicList`.
    #[derive(Eq)]
    TopicList("body", TABLE_BODY_BYTES_MAX) {
        /// Address of a broker: of some that a name server knows (304), or of the one that answers (343).
        broker_addr: Option<String> = "brokerAddr",
        /// The names.
        topic_list: Vec<String> = "topicList",
    }
}

body! {
    /// `UPDATE_AND_CREATE_TOPIC_LIST` (18). Attributes are a change here: their names begin with `+` or `-`.
    /// Source: Apache RocketMQ 5.3.3, `CreateTopicListRequestBody`.
    #[derive(Eq)]
    TopicConfigList("body", LIST_BODY_BYTES_MAX) {
        /// The topics.
        topic_config_list: Vec<TopicConfig> = "topicConfigList",
    }
}
