//! `TopicRouteData` (`GET_ROUTEINFO_BY_TOPIC`, 105): which brokers hold which queues of a topic.
//!
//! Written in two dialects: the default of fastjson with bare integer keys, which 4.9, Go and C++ clients need exactly so,
//! and standard JSON for clients that ask for it. Both are read. Brokers and the whole are written by hand, because they
//! have members that are not kept, one of them in one dialect only.

use std::collections::BTreeMap;

use serde_json::Value;

use super::BodyError;
use super::fields::{Fields, TABLE_BODY_BYTES_MAX, parse};
use super::member::{Member, body};
use super::writer::{Dialect, object};

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

body! {
    /// The queues of a topic on one broker. Source: Apache RocketMQ 4.9.8, `QueueData`.
    #[derive(Eq)]
    QueueData("queueData") {
        /// Name of the broker.
        broker_name: String = "brokerName",
        /// Bits: 1 inherit, 2 write, 4 read, 8 priority.
        perm: i32 = "perm",
        /// Queues that consumers see.
        read_queue_nums: i32 = "readQueueNums",
        /// Bits: 1 unit, 2 has unit subscriptions. Releases before 4.9 spelled the name differently.
        topic_sys_flag: i32 = "topicSysFlag" or_from("topicSynFlag"),
        /// Queues that producers see.
        write_queue_nums: i32 = "writeQueueNums",
    }
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

impl RouteData {
    /// Reads either dialect.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, TABLE_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        Ok(RouteData {
            broker_datas: fields.read("brokerDatas")?.unwrap_or_default(),
            queue_datas: fields.read("queueDatas")?.unwrap_or_default(),
            order_topic_conf: fields.read("orderTopicConf")?,
        })
    }

    /// Appends the default dialect, as 4.9 writes it: `{0:"host:port"}`.
    pub fn write_default(&self, out: &mut Vec<u8>) {
        self.write(out, Dialect::Fastjson);
    }

    /// Appends standard JSON, as 5.x writes it: `{"0":"host:port"}`, ASCII only, `enableActingMaster`.
    pub fn write_standard(&self, out: &mut Vec<u8>) {
        self.write(out, Dialect::Standard);
    }

    fn write(&self, out: &mut Vec<u8>, dialect: Dialect) {
        object(out, dialect, |members| {
            members.put("brokerDatas", &self.broker_datas);
            members.put("filterServerTable", &BTreeMap::<String, Vec<String>>::new());
            members.put("orderTopicConf", &self.order_topic_conf);
            members.put("queueDatas", &self.queue_datas);
        });
    }
}

impl Member for BrokerData {
    fn from_value(value: &Value, _: &'static str) -> Result<Option<Self>, BodyError> {
        let fields = Fields::of(value, "brokerData")?;
        Ok(Some(BrokerData {
            cluster: fields.read("cluster")?.unwrap_or_default(),
            broker_name: fields.read("brokerName")?.unwrap_or_default(),
            broker_addrs: fields.read("brokerAddrs")?.unwrap_or_default(),
        }))
    }

    fn write_value(&self, out: &mut Vec<u8>, dialect: Dialect) {
        object(out, dialect, |members| {
            members.put("brokerAddrs", &self.broker_addrs);
            members.put("brokerName", &self.broker_name);
            members.put("cluster", &self.cluster);
            if dialect == Dialect::Standard {
                members.put("enableActingMaster", &false);
            }
        });
    }
}
