//! `TopicRouteData` (`GET_ROUTEINFO_BY_TOPIC`, 105): which brokers hold which queues of a topic.
//!
//! Written in two flavours: the default of fastjson with bare integer keys, which 4.9, Go and C++ clients need
//! exactly so, and standard JSON for clients that ask for it. Both are read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::BodyError;
use super::fields::{Fields, TABLE_BODY_BYTES_MAX, parse, text};
use super::writer::{self, Escapes, Members};

/// A broker and its replicas. Source: Apache RocketMQ 4.9.8, `BrokerData`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrokerData {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the broker, the same for all replicas.
    pub broker_name: String,
    /// Broker id to `host:port`; id 0 is the master.
    pub broker_addrs: BTreeMap<i64, String>,
}

/// The queues of a topic on one broker. Source: Apache RocketMQ 4.9.8, `QueueData`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueData {
    /// Name of the broker.
    pub broker_name: String,
    /// Queues that consumers see.
    pub read_queue_nums: i32,
    /// Queues that producers see.
    pub write_queue_nums: i32,
    /// Bits: 1 inherit, 2 write, 4 read, 8 priority.
    pub perm: i32,
    /// Bits: 1 unit, 2 has unit subscriptions.
    pub topic_sys_flag: i32,
}

/// The route of a topic. Filter servers, zones and static topics are neither kept nor written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteData {
    /// The brokers.
    pub broker_datas: Vec<BrokerData>,
    /// Their queues.
    pub queue_datas: Vec<QueueData>,
    /// `broker:queues;broker:queues` of an ordered topic.
    pub order_topic_conf: Option<String>,
}

/// Which of the two flavours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    Default,
    Standard,
}

impl RouteData {
    /// Reads either flavour.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, TABLE_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        Ok(RouteData {
            broker_datas: fields.list("brokerDatas", BrokerData::from_value)?,
            queue_datas: fields.list("queueDatas", QueueData::from_value)?,
            order_topic_conf: fields.optional_text("orderTopicConf")?,
        })
    }

    /// Appends the default flavour, as 4.9 writes it: `{0:"host:port"}`.
    pub fn write_default(&self, out: &mut Vec<u8>) {
        self.write(out, Flavour::Default, Escapes::Default);
    }

    /// Appends standard JSON, as 5.x writes it: `{"0":"host:port"}`, ASCII only, `enableActingMaster`.
    pub fn write_standard(&self, out: &mut Vec<u8>) {
        self.write(out, Flavour::Standard, Escapes::Browser);
    }

    fn write(&self, out: &mut Vec<u8>, flavour: Flavour, escapes: Escapes) {
        writer::object_with(out, escapes, |members| {
            members.objects("brokerDatas", &self.broker_datas, |members, broker| {
                broker.members(members, flavour);
            });
            members.object("filterServerTable", |_| {});
            members.optional_text("orderTopicConf", self.order_topic_conf.as_deref());
            members.objects("queueDatas", &self.queue_datas, |members, queue| {
                members.text("brokerName", &queue.broker_name);
                members.int("perm", queue.perm);
                members.int("readQueueNums", queue.read_queue_nums);
                members.int("topicSysFlag", queue.topic_sys_flag);
                members.int("writeQueueNums", queue.write_queue_nums);
            });
        });
    }
}

impl BrokerData {
    pub(super) fn from_value(value: &Value) -> Result<Self, BodyError> {
        let fields = Fields::of(value, "brokerData")?;
        Ok(BrokerData {
            cluster: fields.text("cluster")?,
            broker_name: fields.text("brokerName")?,
            broker_addrs: fields.table(
                "brokerAddrs",
                |key| key.parse().ok(),
                |value| text(value, "brokerAddrs"),
            )?,
        })
    }

    pub(super) fn members(&self, members: &mut Members<'_>, flavour: Flavour) {
        members.object("brokerAddrs", |members| {
            for (id, address) in &self.broker_addrs {
                match flavour {
                    Flavour::Standard => members.text(&id.to_string(), address),
                    Flavour::Default => members.member(
                        |out| writer::int(out, *id),
                        |out| writer::text(out, address, Escapes::Default),
                    ),
                }
            }
        });
        members.text("brokerName", &self.broker_name);
        members.text("cluster", &self.cluster);
        if flavour == Flavour::Standard {
            members.flag("enableActingMaster", false);
        }
    }
}

impl QueueData {
    fn from_value(value: &Value) -> Result<Self, BodyError> {
        let fields = Fields::of(value, "queueData")?;
        // Releases before 4.9 spelled the flag's name differently.
        let former_flag = fields.int("topicSynFlag", 0)?;
        Ok(QueueData {
            broker_name: fields.text("brokerName")?,
            read_queue_nums: fields.int("readQueueNums", 0)?,
            write_queue_nums: fields.int("writeQueueNums", 0)?,
            perm: fields.int("perm", 0)?,
            topic_sys_flag: fields.int("topicSysFlag", former_flag)?,
        })
    }
}
