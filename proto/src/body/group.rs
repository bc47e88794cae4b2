//! Consumer groups of a broker: one configuration, the table of all, and lists of names.

use std::collections::BTreeMap;

use super::fields::{LIST_BODY_BYTES_MAX, TABLE_BODY_BYTES_MAX};
use super::member::{Json, Member, body};
use super::streamed::parse_table;
use super::writer::Dialect;
use super::{BodyError, DataVersion};

body! {
    /// One group, by default Java's: body of `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP` (200). What 5.x adds is left out when it
    /// was not given, as 4.9 knows none of it. Source: Apache RocketMQ 4.9.8 and 5.3.3, `SubscriptionGroupConfig`.
    #[derive(Eq)]
    SubscriptionGroupConfig("subscriptionGroupConfig", TABLE_BODY_BYTES_MAX) {
        /// 5.x: further attributes.
        attributes: BTreeMap<String, String> = "attributes" omit_default,
        /// Broker to read from, 0 is the master.
        broker_id: i64 = "brokerId",
        /// May consume as broadcast.
        consume_broadcast_enable: bool = "consumeBroadcastEnable" default(true),
        /// May consume at all.
        consume_enable: bool = "consumeEnable" default(true),
        /// May begin at the oldest message.
        consume_from_min_enable: bool = "consumeFromMinEnable" default(true),
        /// 5.x: POP and gRPC consumers get its messages in order.
        consume_message_orderly: bool = "consumeMessageOrderly" omit_default,
        /// 5.x: minutes that a message may take to be consumed.
        consume_timeout_minute: Option<i32> = "consumeTimeoutMinute",
        /// Ours: topics that the group must not read (`UPDATE_AND_GET_GROUP_FORBIDDEN`), ascending. Java's broker keeps them in
        /// a table of their own, see [`SubscriptionGroupTable`].
        forbidden_topics: Vec<String> = "forbiddenTopics" omit_default,
        /// Name, at most 255 characters.
        group_name: String = "groupName",
        /// 5.x: pauses between the retries of POP and gRPC consumers.
        group_retry_policy: Option<Json> = "groupRetryPolicy",
        /// 5.x: bits of units.
        group_sys_flag: i32 = "groupSysFlag" omit_default,
        /// Members are notified when members come and go.
        notify_consumer_ids_changed_enable: bool = "notifyConsumerIdsChangedEnable" default(true),
        /// Failures until a message goes to the dead letter queue.
        retry_max_times: i32 = "retryMaxTimes" default(16),
        /// Queues of its retry topic.
        retry_queue_nums: i32 = "retryQueueNums" default(1),
        /// 5.x: subscriptions that a tool has written down.
        subscription_data_set: Option<Json> = "subscriptionDataSet",
        /// Broker to turn to for old messages.
        which_broker_when_consume_slowly: i64 = "whichBrokerWhenConsumeSlowly" default(1),
    }
}

impl SubscriptionGroupConfig {
    /// Whether the group may read a topic, as far as that was forbidden to it alone.
    pub fn may_read(&self, topic: &str) -> bool {
        let topics = &self.forbidden_topics;
        topics.is_empty() || topics.binary_search_by(|other| other.as_str().cmp(topic)).is_err()
    }
}

body! {
    /// All groups of a broker: `GET_ALL_SUBSCRIPTIONGROUP_CONFIG` (201), `config/subscriptionGroup.json`.
    /// Source: Apache RocketMQ 4.9.8, `SubscriptionGroupWrapper`.
    #[derive(Eq)]
    SubscriptionGroupTable("body") {
        /// Version of the table.
        data_version: DataVersion = "dataVersion",
        /// In our file only: groups that were deleted and whose offsets shards have yet to drop.
        deleted_groups: Vec<String> = "deletedGroups" omit_default,
        /// 5.x, in Java's file only: group, topic, and bits of what it must not do there.
        forbidden_table: BTreeMap<String, BTreeMap<String, i32>> = "forbiddenTable" omit_default,
        /// Group name to configuration.
        subscription_group_table: BTreeMap<String, SubscriptionGroupConfig> = "subscriptionGroupTable",
    }
}

/// Read by hand: the table can be large, so its entries are read one by one.
impl SubscriptionGroupTable {
    /// Reads the body or file.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut groups = BTreeMap::new();
        let path = "subscriptionGroupTable";
        let rest = parse_table(bytes, TABLE_BODY_BYTES_MAX, &[path], |name, value| {
            let mut group = SubscriptionGroupConfig::from_value(value, path)?.unwrap_or_default();
            if group.group_name.is_empty() {
                group.group_name.clone_from(&name);
            }
            groups.insert(name, group);
            Ok(())
        })?;
        let table = Self::from_value(&rest, "body")?.unwrap_or_default();
        Ok(SubscriptionGroupTable { subscription_group_table: groups, ..table })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_value(out, Dialect::Fastjson);
    }
}

body! {
    /// Whether a group may read a topic: answer to `UPDATE_AND_GET_GROUP_FORBIDDEN` (353). Source: Apache RocketMQ 5.3.3,
    /// `GroupForbidden`.
    #[derive(Eq)]
    GroupForbidden("groupForbidden", TABLE_BODY_BYTES_MAX) {
        /// The group.
        group: String = "group",
        /// It may.
        readable: bool = "readable",
        /// The topic.
        topic: String = "topic",
    }
}

body! {
    /// Names of groups: `QUERY_TOPIC_CONSUME_BY_WHO` (300). Source: Apache RocketMQ 4.9.8, `GroupList`.
    #[derive(Eq)]
    GroupList("body", TABLE_BODY_BYTES_MAX) {
        /// The names.
        group_list: Vec<String> = "groupList",
    }
}

body! {
    /// `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST` (225). Source: Apache RocketMQ 5.3.3, `SubscriptionGroupList`.
    #[derive(Eq)]
    GroupConfigList("body", LIST_BODY_BYTES_MAX) {
        /// The groups.
        group_config_list: Vec<SubscriptionGroupConfig> = "groupConfigList",
    }
}
