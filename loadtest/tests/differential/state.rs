//! What a broker holds after a case: configuration, bounds and messages of each topic that the case named, configuration
//! and committed offsets of each group. Read with the requests that every client and tool uses.

use super::{
    ask::{self, Ask, Names},
    normal::Normal,
};
use client::{Answer, Connection};
use loadtest::harness::Side;
use proto::code::{request, response};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// More queues of a topic are not looked at.
const QUEUES_MAX: i64 = 16;
/// Who reads for the comparison; it belongs to no case.
const READERS: &str = "readers";
/// What a topic's configuration has in every release.
const TOPIC_MEMBERS: &[&str] = &[
    "attributes",
    "order",
    "perm",
    "readQueueNums",
    "topicFilterType",
    "topicName",
    "topicSysFlag",
    "writeQueueNums",
];
/// What a group's configuration has in every release; what 5.x adds is compared by cases of its own.
const GROUP_MEMBERS: &[&str] = &[
    "brokerId",
    "consumeBroadcastEnable",
    "consumeEnable",
    "consumeFromMinEnable",
    "groupName",
    "notifyConsumerIdsChangedEnable",
    "retryMaxTimes",
    "retryQueueNums",
    "whichBrokerWhenConsumeSlowly",
];

/// Looks at one broker.
pub(crate) struct Watch<'a> {
    /// Where it asks.
    pub(crate) broker: &'a mut Connection,
    /// How it writes down what it sees.
    pub(crate) normal: &'a Normal,
    /// Whose broker ours is compared with: releases say differently that there is no offset.
    pub(crate) against: Side,
}

impl Watch<'_> {
    /// State of these topics and groups.
    pub(crate) fn state(&mut self, topics: &BTreeSet<String>, groups: &BTreeSet<String>) -> Value {
        let mut state = Map::new();
        let configs = self.table(request::GET_ALL_TOPIC_CONFIG, "topicConfigTable");
        for topic in topics {
            let config = configs.get(topic).cloned().unwrap_or_default();
            let queues = self.queues(topic, &config);
            let config = self.normal.steady(only(config, TOPIC_MEMBERS));
            let name = format!("topic {}", self.normal.text(topic));
            state.insert(name, json!({ "config": config, "queues": queues }));
        }
        let code = request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG;
        let configs = self.table(code, "subscriptionGroupTable");
        for group in groups {
            let config = configs.get(group).cloned().unwrap_or_default();
            let config = self.normal.steady(only(config, GROUP_MEMBERS));
            let mut offsets = Map::new();
            for topic in topics {
                offsets.insert(self.normal.text(topic), self.committed(group, topic));
            }
            let name = format!("group {}", self.normal.text(group));
            state.insert(name, json!({ "config": config, "offsets of queue 0": offsets }));
        }
        Value::Object(state)
    }

    fn table(&mut self, code: i32, member: &str) -> Map<String, Value> {
        let answer = self.broker.call(code, &[], &[]).and_then(Answer::success).expect("a table");
        let mut body = answer.json().expect("JSON");
        body[member].as_object_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Queues that ever had a message, by number.
    fn queues(&mut self, topic: &str, config: &Value) -> Map<String, Value> {
        let count = |member: &str| config[member].as_i64().unwrap_or(0);
        let most = count("readQueueNums").max(count("writeQueueNums")).clamp(0, QUEUES_MAX);
        let mut queues = Map::new();
        for queue in 0..i32::try_from(most).expect("few") {
            let min = self.broker.min_offset(topic, queue).expect("an offset");
            let max = self.broker.max_offset(topic, queue).expect("an offset");
            if (min, max) != (0, 0) {
                let messages = self.messages(topic, queue, min, max);
                let held = json!({ "min": min, "max": max, "messages": messages });
                queues.insert(queue.to_string(), held);
            }
        }
        queues
    }

    fn messages(&mut self, topic: &str, queue: i32, min: i64, max: i64) -> Vec<Value> {
        let mut messages = Vec::new();
        let mut offset = min;
        while offset < max {
            let pull = ask::pull(topic, offset).set("queueId", queue);
            let answer = self.ask(&pull.set("consumerGroup", READERS));
            if let Value::Array(found) = self.normal.messages(&answer.body) {
                messages.extend(found);
            }
            let next = answer.number("nextBeginOffset").unwrap_or(max);
            // One that may not be read at all says so by staying where it is.
            offset = if next > offset { next } else { max };
        }
        messages
    }

    /// What a group that begins would be told: its offset, or that there is none.
    fn committed(&mut self, group: &str, topic: &str) -> Value {
        let mut question = ask::committed(topic).set("consumerGroup", group);
        if self.against == Side::Java5 {
            question = question.set("setZeroIfNotFound", false);
        }
        let answer = self.ask(&question);
        match answer.code {
            response::SUCCESS => json!(answer.number("offset").expect("a number")),
            code => json!(format!("code {code}")),
        }
    }

    fn ask(&mut self, ask: &Ask) -> Answer {
        let ticket = ask.start(&Names(String::new()), self.broker).expect("it is written");
        self.broker.finish(ticket).expect("an answer")
    }
}

fn only(config: Value, members: &[&str]) -> Value {
    let Value::Object(mut config) = config else { return config };
    config.retain(|member, _| members.contains(&member.as_str()));
    Value::Object(config)
}
