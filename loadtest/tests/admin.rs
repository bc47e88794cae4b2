//! Goal: the small requests of tools are served as Java's broker does, and what is not served says why. Method: real brokers
//! with two shards, asked as the tools ask, with entries of old messages on the disk.

use std::{collections::BTreeSet, time::Duration};

use client::{Answer, Connection, Heartbeat, Message, NewTopic, Sent, Subscription};
use loadtest::harness::{
    our_broker::OurBroker,
    requests::{ask, ask_with},
};
use proto::{
    code::{request, response},
    message_id,
    record::string_hash,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const QUEUES: i32 = 4;

fn connect(broker: &OurBroker) -> Connection {
    Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap()
}

/// A broker with the topic `a` and the groups `g` and `h`, and with few entries of queues in memory.
fn start() -> (OurBroker, Connection) {
    let broker = OurBroker::standalone(&[
        ("shards", "2"),
        ("shardIndexEntriesMax", "1000"),
        ("mappedFileSizeCommitLog", "4194304"),
        ("maxMessageSize", "65536"),
    ]);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new("a", QUEUES)).unwrap();
    ["g", "h"].iter().for_each(|group| connection.create_group(group).unwrap());
    (broker, connection)
}

fn json_of(answer: Answer) -> Value {
    answer.success().unwrap().json().unwrap()
}

fn remark(answer: &Answer) -> &str {
    answer.remark.as_deref().unwrap_or_default()
}

fn beat(connection: &mut Connection, client_id: &str, producer_group: &str) {
    let producer_group = Some(producer_group);
    let heartbeat =
        Heartbeat { client_id, consumer_group: None, subscriptions: &[], producer_group };
    connection.heartbeat(&heartbeat).unwrap().success().unwrap();
}

#[test]
fn all_producers_are_told_with_their_clients() {
    let (broker, mut tool) = start();
    let code = request::GET_ALL_PRODUCER_INFO;
    assert_eq!(json_of(ask(&mut tool, code, &[])), json!({"data": {}}));
    let mut one = connect(&broker);
    let mut other = connect(&broker);
    beat(&mut one, "c1", "p");
    beat(&mut other, "c2", "p");
    beat(&mut other, "c2", "q");
    let told = json_of(ask(&mut tool, code, &[]));
    let ids = |group: &str| -> BTreeSet<&str> {
        let clients = told["data"][group].as_array().expect(group);
        clients.iter().map(|client| client["clientId"].as_str().unwrap()).collect()
    };
    assert_eq!((ids("p"), ids("q")), (["c1", "c2"].into(), ["c2"].into()), "{told}");
    let client = &told["data"]["q"][0];
    assert_eq!(client["remoteIP"], format!("/{}", other.local_addr().unwrap()));
    let seen = client["lastUpdateTimestamp"].as_i64().expect("ms");
    assert!((client::send::now_ms() - seen).abs() < 60_000, "{told}");
    assert!(client["language"].is_string() && client["version"].is_number(), "{told}");
    drop(one);
    let left = loadtest::harness::wait_until(PATIENCE, || {
        let told = json_of(ask(&mut tool, code, &[]));
        told["data"]["p"].as_array().is_some_and(|clients| clients.len() == 1)
    });
    assert!(left, "who is gone is not told");
}

/// Many ask at once: all are answered, with what was there when they asked.
#[test]
fn who_asks_for_all_producers_is_answered_with_those_of_now() {
    let (broker, mut tool) = start();
    let mut client = connect(&broker);
    for round in 0..50 {
        beat(&mut client, "c", &format!("p{round}"));
        let tickets: Vec<_> =
            (0..8).map(|_| tool.start(request::GET_ALL_PRODUCER_INFO, &[], &[]).unwrap()).collect();
        for ticket in tickets {
            let told = json_of(tool.finish(ticket).unwrap());
            assert_eq!(told["data"].as_object().map(|groups| groups.len()), Some(round + 1));
        }
    }
}

fn queue(connection: &mut Connection, index: i64, count: i32, more: &[(&str, &str)]) -> Answer {
    let (index, count) = (index.to_string(), count.to_string());
    let fields = [("topic", "a"), ("queueId", "1"), ("index", &*index), ("count", &*count)];
    ask(connection, request::QUERY_CONSUME_QUEUE, &[&fields[..], more].concat())
}

fn places(sent: &[Sent]) -> Vec<i64> {
    sent.iter().map(|sent| message_id::decode(&sent.message_id).expect("an id").1).collect()
}

#[test]
fn entries_of_a_queue_are_shown_from_memory_and_from_the_disk() {
    const COUNT: i64 = 3_000;
    let (_broker, mut connection) = start();
    let refused = queue(&mut connection, 0, 10, &[]);
    assert_eq!((refused.code, remark(&refused)), (response::SYSTEM_ERROR, "1@a is not exist!"));
    let message = Message::new("a", 1, b"x").with_properties(&[("TAGS", "red")]);
    let tickets: Vec<_> = (0..COUNT).map(|_| connection.start_send(&message).unwrap()).collect();
    let sent: Vec<Sent> =
        tickets.into_iter().map(|ticket| connection.finish_send(ticket).unwrap()).collect();
    let places = places(&sent);
    // The first thousands are in index files, the last ones are not.
    for (index, count, expected) in [(0, 10, 10), (700, 1_000, 1_000), (2_995, 10, 5), (5, 0, 0)] {
        let answer = json_of(queue(&mut connection, index, count, &[]));
        assert_eq!(
            (&answer["minQueueIndex"], &answer["maxQueueIndex"]),
            (&0.into(), &COUNT.into())
        );
        let entries = answer["queueData"].as_array().expect("a list");
        assert_eq!(entries.len(), expected, "from {index} on");
        for (entry, place) in entries.iter().zip(&places[index as usize..]) {
            assert_eq!(entry["physicOffset"], *place);
            assert_eq!(entry["tagsCode"], string_hash("red"));
            assert!(entry["physicSize"].as_i64().is_some_and(|bytes| bytes > 90), "{entry}");
            assert_eq!((&entry["eval"], &entry["msg"]), (&false.into(), &Value::Null));
        }
    }
    let many = json_of(queue(&mut connection, 0, i32::MAX, &[]));
    assert_eq!(
        many["queueData"].as_array().map(Vec::len),
        Some(1_024),
        "as many as one answer has"
    );
    for index in [-1, COUNT, i64::MAX] {
        let nothing = queue(&mut connection, index, 10, &[]);
        let expected = format!("Index {index} of 1@a is not exist!");
        assert_eq!((nothing.code, remark(&nothing)), (response::SUCCESS, &*expected));
        assert!(nothing.body.is_empty());
    }
}

#[test]
fn what_a_group_wants_is_shown_beside_the_entries() {
    let (_broker, mut connection) = start();
    connection.send(&Message::new("a", 1, b"x")).unwrap();
    let of_g = [("consumerGroup", "g")];
    let offline = json_of(queue(&mut connection, 0, 1, &of_g));
    assert_eq!(offline["filterData"], "g@a is not online!");
    assert_eq!(offline["subscriptionData"], Value::Null);
    let heartbeat = Heartbeat {
        client_id: "c",
        consumer_group: Some("g"),
        subscriptions: &[Subscription { topic: "a", expression: "x || y", version: 7 }],
        producer_group: None,
    };
    connection.heartbeat(&heartbeat).unwrap().success().unwrap();
    let shown = loadtest::harness::wait_until(PATIENCE, || {
        let online = json_of(queue(&mut connection, 0, 1, &of_g));
        online["subscriptionData"]["subString"] == "x || y" && online["filterData"] == "null"
    });
    assert!(shown, "the worker of the queue hears of it");
}

#[test]
fn offsets_to_correct_are_the_smallest_of_all_groups() {
    let (_broker, mut connection) = start();
    for queue in 0..QUEUES {
        (0..9).for_each(|_| drop(connection.send(&Message::new("a", queue, b"x")).unwrap()));
        connection.commit_offset("g", "a", queue, 5).unwrap();
        connection.commit_offset("h", "a", queue, if queue == 2 { 8 } else { 3 }).unwrap();
    }
    let mut corrections = |without: &str, compared: &str| {
        let ext = [("topic", "a"), ("filterGroups", without), ("compareGroup", compared)];
        json_of(ask(&mut connection, request::QUERY_CORRECTION_OFFSET, &ext))
    };
    let table = |of: [i64; 4]| json!({"correctionOffsets": {"0": of[0], "1": of[1], "2": of[2], "3": of[3]}});
    assert_eq!(corrections("", "h"), table([3, 3, 5, 3]));
    let behind = i64::MAX;
    assert_eq!(corrections("h", "h"), table([behind, behind, 5, behind]));
    assert_eq!(corrections("g,h", "g"), json!({"correctionOffsets": {}}));
    assert_eq!(corrections("", "h"), table([3, 3, 5, 3]), "who did not count is not forgotten");
}

#[test]
fn lists_of_topics_and_groups_are_made_whole_or_not_at_all() {
    let (mut broker, mut connection) = start();
    let topics = |names: &[&str]| {
        let one = |name: &&str| {
            json!({"topicName": name, "readQueueNums": 3, "writeQueueNums": 3, "perm": 6,
                   "attributes": {"+message.type": "FIFO"}})
        };
        json!({"topicConfigList": names.iter().map(one).collect::<Vec<_>>()}).to_string()
    };
    let code = request::UPDATE_AND_CREATE_TOPIC_LIST;
    let refused = ask_with(&mut connection, code, &[], &topics(&["t1", "a b", "TBW102", "t2"]));
    assert_eq!(refused.code, response::SYSTEM_ERROR);
    for named in ["none of 4 topics", "\"a b\"", "TBW102"] {
        assert!(remark(&refused).contains(named), "{refused:?}");
    }
    assert!(!connection.topics().unwrap().to_string().contains("\"t1\""));
    ask_with(&mut connection, code, &[], &topics(&["t1", "t2"])).success().unwrap();
    // What is answered is routed, can be sent to, and lasts.
    connection.send(&Message::new("t2", 2, b"x")).unwrap();
    let names = broker.namesrv_addr().parse().unwrap();
    let mut names = Connection::connect_patiently(names, PATIENCE).unwrap();
    names.route("t1", true).unwrap();

    let groups = |names: &[&str]| {
        let one = |name: &&str| json!({"groupName": name, "retryMaxTimes": 5});
        json!({"groupConfigList": names.iter().map(one).collect::<Vec<_>>()}).to_string()
    };
    let code = request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST;
    let refused = ask_with(&mut connection, code, &[], &groups(&["g1", "g1"]));
    assert!(remark(&refused).contains("named twice"), "{refused:?}");
    ask_with(&mut connection, code, &[], &groups(&["g1", "g2"])).success().unwrap();
    for body in ["", "{}", "[]", "x", r#"{"groupConfigList":[]}"#, r#"{"groupConfigList":{}}"#] {
        let refused = ask_with(&mut connection, code, &[], body);
        assert_eq!(refused.code, response::SYSTEM_ERROR, "{body}");
        assert!(!remark(&refused).is_empty(), "{body}");
    }
    broker.kill9();
    broker.restart();
    let mut connection = connect(&broker);
    let topics = connection.topics().unwrap();
    for name in ["t1", "t2"] {
        let config = &topics["topicConfigTable"][name];
        assert_eq!(config["attributes"], json!({"message.type": "FIFO"}), "{config}");
        assert_eq!(config["writeQueueNums"], 3);
    }
    let groups = connection.groups().unwrap();
    assert_eq!(groups["subscriptionGroupTable"]["g2"]["retryMaxTimes"], 5);
}

#[test]
fn what_there_is_nothing_to_do_for_is_done() {
    let (_broker, mut connection) = start();
    for code in [
        request::CLEAN_EXPIRED_CONSUMEQUEUE,
        request::CLEAN_UNUSED_TOPIC,
        request::DELETE_EXPIRED_COMMITLOG,
    ] {
        ask(&mut connection, code, &[]).success().unwrap();
    }
}

#[test]
fn what_is_not_served_says_why() {
    let (_broker, mut connection) = start();
    for (code, why) in [
        (54, "secrets"),
        (request::EXPORT_ROCKSDB_CONFIG_TO_JSON, "RocksDB"),
        (request::UPDATE_AND_CREATE_STATIC_TOPIC, "static topics"),
        (request::ADD_BROKER, "container"),
        (request::SET_COMMITLOG_READ_MODE, "page cache"),
        (request::POLLING_INFO, "proxy"),
        (request::GET_BROKER_HA_STATUS, "replication"),
    ] {
        let refused = ask(&mut connection, code, &[]);
        assert_eq!(refused.code, response::REQUEST_CODE_NOT_SUPPORTED);
        let said = remark(&refused);
        assert!(said.starts_with(&format!(" request type {code} not supported: ")), "{said}");
        assert!(said.contains(why), "{said}");
    }
    let unknown = ask(&mut connection, 9_999, &[]);
    assert_eq!(remark(&unknown), " request type 9999 not supported");
}
