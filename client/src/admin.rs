//! What tools and brokers ask: topics, groups, routes, clusters, runtime figures, single messages, registration.

use proto::code::request;
use serde_json::{Value, json};

use crate::{Answer, ClientError, Connection, Received, Ticket, pull};

/// A topic to create.
#[derive(Clone, Debug)]
pub struct NewTopic<'a> {
    /// Name.
    pub name: &'a str,
    /// Queues for reading.
    pub read_queues: i32,
    /// Queues for writing.
    pub write_queues: i32,
    /// 2 write, 4 read, 6 both.
    pub perm: i32,
}

impl<'a> NewTopic<'a> {
    /// Readable and writable.
    pub fn new(name: &'a str, queues: i32) -> NewTopic<'a> {
        NewTopic { name, read_queues: queues, write_queues: queues, perm: 6 }
    }
}

/// Messages to look up by key.
#[derive(Clone, Debug)]
pub struct KeyLookup<'a> {
    /// Topic.
    pub topic: &'a str,
    /// One of their keys, or their unique key.
    pub key: &'a str,
    /// Whether it is the unique key.
    pub unique: bool,
    /// Most messages.
    pub max_num: i32,
    /// Earliest and latest store time, ms since the epoch.
    pub store_ms: (i64, i64),
}

impl<'a> KeyLookup<'a> {
    /// Up to 64 messages of any time with this key.
    pub fn new(topic: &'a str, key: &'a str) -> KeyLookup<'a> {
        KeyLookup { topic, key, unique: false, max_num: 64, store_ms: (0, i64::MAX) }
    }
}

/// A broker as it introduces itself to a name server.
#[derive(Clone, Debug)]
pub struct BrokerIdentity<'a> {
    /// Cluster.
    pub cluster: &'a str,
    /// Broker name.
    pub name: &'a str,
    /// 0 is the master.
    pub id: i64,
    /// `host:port` for clients.
    pub addr: &'a str,
    /// `host:port` for slaves.
    pub ha_addr: &'a str,
}

impl Connection {
    /// UPDATE_AND_CREATE_TOPIC (17).
    pub fn create_topic(&mut self, topic: &NewTopic<'_>) -> Result<(), ClientError> {
        let ticket = self.start_create_topic(topic)?;
        self.finish(ticket)?.success().map(drop)
    }

    /// The same, to be finished later: many may be under way.
    pub fn start_create_topic(&mut self, topic: &NewTopic<'_>) -> Result<Ticket, ClientError> {
        let ext = [
            ("topic", topic.name.into()),
            ("defaultTopic", "TBW102".into()),
            ("readQueueNums", topic.read_queues.into()),
            ("writeQueueNums", topic.write_queues.into()),
            ("perm", topic.perm.into()),
            ("topicFilterType", "SINGLE_TAG".into()),
            ("topicSysFlag", 0.into()),
            ("order", false.into()),
        ];
        self.start(request::UPDATE_AND_CREATE_TOPIC, &ext, &[])
    }

    /// DELETE_TOPIC_IN_BROKER (215).
    pub fn delete_topic(&mut self, topic: &str) -> Result<(), ClientError> {
        let ext = [("topic", topic.into())];
        self.call(request::DELETE_TOPIC_IN_BROKER, &ext, &[])?.success().map(drop)
    }

    /// GET_ALL_TOPIC_CONFIG (21): the table of topics as JSON.
    pub fn topics(&mut self) -> Result<Value, ClientError> {
        self.call(request::GET_ALL_TOPIC_CONFIG, &[], &[])?.success()?.json()
    }

    /// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200) with Java's defaults.
    pub fn create_group(&mut self, group: &str) -> Result<(), ClientError> {
        let ticket = self.start_create_group(group)?;
        self.finish(ticket)?.success().map(drop)
    }

    /// The same, to be finished later: many may be under way.
    pub fn start_create_group(&mut self, group: &str) -> Result<Ticket, ClientError> {
        let body = json!({
            "brokerId": 0,
            "consumeBroadcastEnable": true,
            "consumeEnable": true,
            "consumeFromMinEnable": true,
            "groupName": group,
            "notifyConsumerIdsChangedEnable": true,
            "retryMaxTimes": 16,
            "retryQueueNums": 1,
            "whichBrokerWhenConsumeSlowly": 1,
        });
        let body = body.to_string();
        self.start(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], body.as_bytes())
    }

    /// DELETE_SUBSCRIPTIONGROUP (207), with the group's offsets or without.
    pub fn delete_group(&mut self, group: &str, offsets_too: bool) -> Result<(), ClientError> {
        let ext = [("groupName", group.into()), ("cleanOffset", offsets_too.into())];
        self.call(request::DELETE_SUBSCRIPTIONGROUP, &ext, &[])?.success().map(drop)
    }

    /// GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201): the table of groups as JSON.
    pub fn groups(&mut self) -> Result<Value, ClientError> {
        self.call(request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &[], &[])?.success()?.json()
    }

    /// GET_BROKER_RUNTIME_INFO (28): names and values, in the broker's order.
    pub fn runtime_info(&mut self) -> Result<Vec<(String, String)>, ClientError> {
        let body = self.call(request::GET_BROKER_RUNTIME_INFO, &[], &[])?.success()?.json()?;
        let table = body.get("table").and_then(Value::as_object);
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
        let pairs = table.map(|table| table.iter().map(|(k, v)| (k.clone(), text(v))).collect());
        pairs.ok_or_else(|| ClientError::Json {
            reason: "no table".to_string(),
            text: body.to_string(),
        })
    }

    /// GET_TOPIC_STATS_INFO (202): offsets of a topic's queues as JSON.
    pub fn topic_stats(&mut self, topic: &str) -> Result<Value, ClientError> {
        let ext = [("topic", topic.into())];
        self.call(request::GET_TOPIC_STATS_INFO, &ext, &[])?.success()?.json()
    }

    /// VIEW_MESSAGE_BY_ID (33). The id must be one that this broker gave out.
    pub fn view_message(&mut self, message_id: &str) -> Result<Received, ClientError> {
        let (_, offset) = proto::message_id::decode(message_id).map_err(|_| {
            ClientError::Field { field: "msgId", value: Some(message_id.to_string()) }
        })?;
        let ext = [("offset", offset.into())];
        let answer = self.call(request::VIEW_MESSAGE_BY_ID, &ext, &[])?.success()?;
        let mut found = pull::messages(&answer.body)?;
        let one = found.pop().filter(|_| found.is_empty());
        one.ok_or(ClientError::Field { field: "body", value: None })
    }

    /// QUERY_MESSAGE (12): messages by key, in the broker's order. None found is code 22, a refusal.
    pub fn query_messages(&mut self, lookup: &KeyLookup<'_>) -> Result<Vec<Received>, ClientError> {
        let mut ext = vec![
            ("topic", lookup.topic.into()),
            ("key", lookup.key.into()),
            ("maxNum", lookup.max_num.into()),
            ("beginTimestamp", lookup.store_ms.0.into()),
            ("endTimestamp", lookup.store_ms.1.into()),
        ];
        if lookup.unique {
            ext.push(("_UNIQUE_KEY_QUERY", "true".into()));
        }
        let answer = self.call(request::QUERY_MESSAGE, &ext, &[])?.success()?;
        // Java's clients cannot read an answer without these two.
        answer.number("indexLastUpdateTimestamp")?;
        answer.number("indexLastUpdatePhyoffset")?;
        pull::messages(&answer.body)
    }

    /// GET_ROUTEINFO_BY_TOPIC (105): the route as JSON. With `standard_json` the server shall quote its integer keys.
    pub fn route(&mut self, topic: &str, standard_json: bool) -> Result<Value, ClientError> {
        self.route_answer(topic, standard_json)?.success()?.json()
    }

    /// The same as raw bytes and code, for tests of the text itself.
    pub fn route_answer(
        &mut self,
        topic: &str,
        standard_json: bool,
    ) -> Result<Answer, ClientError> {
        let mut ext = vec![("topic", topic.into())];
        if standard_json {
            ext.push(("acceptStandardJsonOnly", true.into()));
        }
        self.call(request::GET_ROUTEINFO_BY_TOPIC, &ext, &[])
    }

    /// GET_BROKER_CLUSTER_INFO (106) as JSON.
    pub fn cluster_info(&mut self) -> Result<Value, ClientError> {
        self.call(request::GET_BROKER_CLUSTER_INFO, &[], &[])?.success()?.json()
    }

    /// GET_ALL_TOPIC_LIST_FROM_NAMESERVER (206): names.
    pub fn topic_names(&mut self) -> Result<Vec<String>, ClientError> {
        let body =
            self.call(request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &[], &[])?.success()?.json()?;
        let list = body.get("topicList").and_then(Value::as_array);
        let names = list.map(|l| l.iter().filter_map(Value::as_str).map(str::to_string).collect());
        names.ok_or_else(|| ClientError::Json {
            reason: "no topicList".to_string(),
            text: body.to_string(),
        })
    }

    /// REGISTER_BROKER (103) with an uncompressed body, which is `topicConfigSerializeWrapper` with these topics
    /// (name and queues) and no filter servers. The body's CRC is left out, as Java accepts.
    pub fn register_broker(
        &mut self,
        broker: &BrokerIdentity<'_>,
        topics: &[(&str, i32)],
        data_version: i64,
    ) -> Result<Answer, ClientError> {
        let mut table = serde_json::Map::new();
        for (name, queues) in topics {
            let config = json!({
                "order": false,
                "perm": 6,
                "readQueueNums": queues,
                "topicFilterType": "SINGLE_TAG",
                "topicName": name,
                "topicSysFlag": 0,
                "writeQueueNums": queues,
            });
            table.insert((*name).to_string(), config);
        }
        let body = json!({
            "filterServerList": [],
            "topicConfigSerializeWrapper": {
                "dataVersion": { "counter": data_version, "timestamp": data_version },
                "topicConfigTable": table,
            },
        });
        let ext = [
            ("brokerName", broker.name.into()),
            ("brokerAddr", broker.addr.into()),
            ("clusterName", broker.cluster.into()),
            ("haServerAddr", broker.ha_addr.into()),
            ("brokerId", broker.id.into()),
            ("compressed", false.into()),
            ("bodyCrc32", 0.into()),
        ];
        self.call(request::REGISTER_BROKER, &ext, body.to_string().as_bytes())?.success()
    }

    /// UNREGISTER_BROKER (104).
    pub fn unregister_broker(&mut self, broker: &BrokerIdentity<'_>) -> Result<(), ClientError> {
        let ext = [
            ("brokerName", broker.name.into()),
            ("brokerAddr", broker.addr.into()),
            ("clusterName", broker.cluster.into()),
            ("brokerId", broker.id.into()),
        ];
        self.call(request::UNREGISTER_BROKER, &ext, &[])?.success().map(drop)
    }
}
