//! Consumer groups of a broker: one configuration, the table of all, and lists of names.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{Fields, TABLE_BODY_BYTES_MAX, parse};
use super::streamed::parse_table;
use super::writer::{Members, object};
use super::{BodyError, DataVersion};

/// One group. What 5.x adds is skipped. Source: Apache RocketMQ 4.9.8, `SubscriptionGroupConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionGroupConfig {
    /// Name, at most 255 characters.
    pub group_name: String,
    /// May consume at all.
    pub consume_enable: bool,
    /// May begin at the oldest message.
    pub consume_from_min_enable: bool,
    /// May consume as broadcast.
    pub consume_broadcast_enable: bool,
    /// Queues of its retry topic.
    pub retry_queue_nums: i32,
    /// Failures until a message goes to the dead letter queue.
    pub retry_max_times: i32,
    /// Broker to read from, 0 is the master.
    pub broker_id: i64,
    /// Broker to turn to for old messages.
    pub which_broker_when_consume_slowly: i64,
    /// Members are notified when members come and go.
    pub notify_consumer_ids_changed_enable: bool,
}

impl Default for SubscriptionGroupConfig {
    /// Java's defaults.
    fn default() -> Self {
        SubscriptionGroupConfig {
            group_name: String::new(),
            consume_enable: true,
            consume_from_min_enable: true,
            consume_broadcast_enable: true,
            retry_queue_nums: 1,
            retry_max_times: 16,
            broker_id: 0,
            which_broker_when_consume_slowly: 1,
            notify_consumer_ids_changed_enable: true,
        }
    }
}

impl SubscriptionGroupConfig {
    /// Reads the body of `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP` (200).
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        Self::from_value(&parse(bytes, TABLE_BODY_BYTES_MAX)?)
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| self.members(members));
    }

    fn from_value(value: &Value) -> Result<Self, BodyError> {
        let fields = Fields::of(value, "subscriptionGroupConfig")?;
        let default = Self::default();
        Ok(SubscriptionGroupConfig {
            group_name: fields.text("groupName")?,
            consume_enable: fields.flag("consumeEnable", true)?,
            consume_from_min_enable: fields.flag("consumeFromMinEnable", true)?,
            consume_broadcast_enable: fields.flag("consumeBroadcastEnable", true)?,
            retry_queue_nums: fields.int("retryQueueNums", default.retry_queue_nums)?,
            retry_max_times: fields.int("retryMaxTimes", default.retry_max_times)?,
            broker_id: fields.int("brokerId", default.broker_id)?,
            which_broker_when_consume_slowly: fields
                .int("whichBrokerWhenConsumeSlowly", default.which_broker_when_consume_slowly)?,
            notify_consumer_ids_changed_enable: fields
                .flag("notifyConsumerIdsChangedEnable", true)?,
        })
    }

    fn members(&self, members: &mut Members<'_>) {
        members.int("brokerId", self.broker_id);
        members.flag("consumeBroadcastEnable", self.consume_broadcast_enable);
        members.flag("consumeEnable", self.consume_enable);
        members.flag("consumeFromMinEnable", self.consume_from_min_enable);
        members.text("groupName", &self.group_name);
        members.flag("notifyConsumerIdsChangedEnable", self.notify_consumer_ids_changed_enable);
        members.int("retryMaxTimes", self.retry_max_times);
        members.int("retryQueueNums", self.retry_queue_nums);
        members.int("whichBrokerWhenConsumeSlowly", self.which_broker_when_consume_slowly);
    }
}

/// All groups of a broker: `GET_ALL_SUBSCRIPTIONGROUP_CONFIG` (201), `config/subscriptionGroup.json`.
/// Source: Apache RocketMQ 4.9.8, `SubscriptionGroupWrapper`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscriptionGroupTable {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Group name to configuration.
    pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
}

impl SubscriptionGroupTable {
    /// Reads the body or file.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut subscription_group_table = BTreeMap::new();
        let path = ["subscriptionGroupTable"];
        let rest = parse_table(bytes, TABLE_BODY_BYTES_MAX, &path, |name, value| {
            let mut config = SubscriptionGroupConfig::from_value(value)?;
            if config.group_name.is_empty() {
                config.group_name.clone_from(&name);
            }
            subscription_group_table.insert(name, config);
            Ok(())
        })?;
        let data_version = DataVersion::of(&Fields::of(&rest, "body")?)?;
        Ok(SubscriptionGroupTable { data_version, subscription_group_table })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| {
            members.object("dataVersion", |members| self.data_version.members(members));
            members.object("subscriptionGroupTable", |members| {
                for (name, config) in &self.subscription_group_table {
                    members.object(name, |members| config.members(members));
                }
            });
        });
    }
}

/// Names of groups: `QUERY_TOPIC_CONSUME_BY_WHO` (300). Source: Apache RocketMQ 4.9.8, `GroupList`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupList {
    /// The names.
    pub group_list: Vec<String>,
}

impl GroupList {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, TABLE_BODY_BYTES_MAX)?;
        Ok(GroupList { group_list: Fields::of(&value, "body")?.texts("groupList")? })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| members.texts("groupList", &self.group_list));
    }
}
