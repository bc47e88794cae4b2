//! Goal: tools see what was put, got, acknowledged and sent back, by topic, group and queue, with Java's names, and how far all
//! groups are. Method: real brokers with two shards and known numbers of messages, asked as the tools ask. Sums are those since the
//! start as long as a test lasts less than an hour; nothing here depends on how fast the machine is.

use std::time::Duration;

use client::{
    Answer, Connection, Heartbeat, Message, NewTopic, PullRequest, Received, Subscription,
};
use loadtest::harness::{connect, our_broker::OurBroker, requests::ask, wait_until};
use proto::code::{request, response};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const CLUSTER: &str = "DefaultCluster";

fn start() -> (OurBroker, Connection) {
    let broker = OurBroker::standalone(&[("shards", "2"), ("messageDelayLevel", "1s 1s 1s")]);
    let connection = connect(broker.broker_addr(), PATIENCE);
    (broker, connection)
}

fn view(connection: &mut Connection, name: &str, key: &str) -> Answer {
    let ext = [("statsName", name), ("statsKey", key)];
    ask(connection, request::VIEW_BROKER_STATS_DATA, &ext)
}

/// Sum of the last day; `None`: there was nothing of the kind.
fn sum(connection: &mut Connection, name: &str, key: &str) -> Option<i64> {
    let answer = view(connection, name, key);
    if answer.code == response::SYSTEM_ERROR {
        let remark = answer.remark.unwrap_or_default();
        assert_eq!(remark, format!("The stats <{name}> <{key}> not exist"));
        return None;
    }
    let data = answer.success().unwrap().json().unwrap();
    let of_day = data["statsDay"]["sum"].as_i64().expect("a number");
    assert_eq!(data["statsHour"]["sum"], of_day, "{data}");
    Some(of_day)
}

/// What was counted arrives within a second or two.
fn assert_sum(connection: &mut Connection, name: &str, key: &str, expected: i64) {
    let found = wait_until(PATIENCE, || sum(connection, name, key) == Some(expected));
    assert!(found, "{name} {key}: {:?}, not {expected}", sum(connection, name, key));
}

fn pull(connection: &mut Connection, group: &str, topic: &str, queue: i32) -> Vec<Received> {
    connection.pull(&PullRequest::new(group, topic, queue, 0)).unwrap().messages
}

/// Three messages for queue 0 and a batch of five for queue 1 of a topic that is made for it.
fn produce(connection: &mut Connection, topic: &str) -> [i64; 2] {
    connection.create_topic(&NewTopic::new(topic, 4)).unwrap();
    for _ in 0..3 {
        connection.send(&Message::new(topic, 0, b"0123456789")).unwrap();
    }
    let batch: Vec<Message<'_>> = (0..5).map(|_| Message::new(topic, 1, b"body")).collect();
    connection.send_batch(&batch).unwrap();
    [3, 5]
}

#[test]
fn what_is_put_is_counted_by_topic_and_queue() {
    let (_broker, mut connection) = start();
    assert_eq!(sum(&mut connection, "TOPIC_PUT_NUMS", "orders"), None, "no such topic");
    connection.create_topic(&NewTopic::new("idle", 1)).unwrap();
    assert_eq!(sum(&mut connection, "TOPIC_PUT_NUMS", "idle"), None, "as with Java, no traffic");
    produce(&mut connection, "orders");
    assert_sum(&mut connection, "TOPIC_PUT_NUMS", "orders", 8);
    assert_sum(&mut connection, "QUEUE_PUT_NUMS", "orders@0", 3);
    assert_sum(&mut connection, "QUEUE_PUT_NUMS", "orders@1", 5);
    assert_eq!(sum(&mut connection, "QUEUE_PUT_NUMS", "orders@2"), None);
    assert_sum(&mut connection, "BROKER_PUT_NUMS", CLUSTER, 8);
    assert_eq!(sum(&mut connection, "BROKER_PUT_NUMS", "orders"), None, "its key is the cluster");
    let data = view(&mut connection, "TOPIC_PUT_NUMS", "orders").json().unwrap();
    assert_eq!(data["statsDay"]["avgpt"], 2.0, "eight messages by four requests: {data}");
    assert_eq!(data["statsDay"]["tps"], 8.0 / 3_600.0, "no shorter than an hour");
    let bytes = sum(&mut connection, "TOPIC_PUT_SIZE", "orders").expect("it has traffic");
    let of_queues = ["orders@0", "orders@1"]
        .map(|key| sum(&mut connection, "QUEUE_PUT_SIZE", key).expect("it has traffic"));
    assert_eq!(bytes, of_queues.iter().sum::<i64>());
    assert!(of_queues.iter().all(|bytes| *bytes > 3 * 90), "records, not bodies: {of_queues:?}");
    let stats = connection.topic_stats("orders").unwrap();
    assert!(stats["topicPutTps"].as_f64().expect("a number") > 0.0, "{stats}");
    let stats = connection.topic_stats("idle").unwrap();
    assert_eq!(stats["topicPutTps"], 0.0);
}

#[test]
fn what_groups_get_is_counted_by_group_and_queue() {
    let (_broker, mut connection) = start();
    produce(&mut connection, "orders");
    for group in ["readers", "others"] {
        connection.create_group(group).unwrap();
    }
    assert_eq!(pull(&mut connection, "readers", "orders", 0).len(), 3);
    assert_eq!(pull(&mut connection, "readers", "orders", 1).len(), 5);
    assert_eq!(pull(&mut connection, "readers", "orders", 0).len(), 3, "once more");
    assert_sum(&mut connection, "GROUP_GET_NUMS", "orders@readers", 11);
    assert_sum(&mut connection, "QUEUE_GET_NUMS", "orders@0@readers", 6);
    assert_sum(&mut connection, "QUEUE_GET_NUMS", "orders@1@readers", 5);
    assert_sum(&mut connection, "GROUP_GET_LATENCY", "0@orders@readers", 0);
    assert_sum(&mut connection, "BROKER_GET_NUMS", CLUSTER, 11);
    let put = sum(&mut connection, "QUEUE_PUT_SIZE", "orders@0").expect("it has traffic");
    let got = sum(&mut connection, "QUEUE_GET_SIZE", "orders@0@readers").expect("it has traffic");
    assert_eq!(got, 2 * put, "each of them was got twice");
    let data = view(&mut connection, "GROUP_GET_NUMS", "orders@readers").json().unwrap();
    assert_eq!(data["statsDay"]["avgpt"], 11.0 / 3.0, "by each pull: {data}");
    assert_eq!(sum(&mut connection, "GROUP_GET_NUMS", "orders@others"), None);
    let ext = [("consumerGroup", "readers"), ("topic", "orders")];
    let stats = ask(&mut connection, request::GET_CONSUME_STATS, &ext).json().unwrap();
    assert!(stats["consumeTps"].as_f64().expect("a number") > 0.0, "{stats}");
}

/// POP_MESSAGE of one queue of `orders`, or of all.
fn pop(connection: &mut Connection, queue: &str, count: &str) -> Answer {
    let now = client::send::now_ms().to_string();
    let ext = [
        ("consumerGroup", "poppers"),
        ("topic", "orders"),
        ("queueId", queue),
        ("maxMsgNums", count),
        ("invisibleTime", "60000"),
        ("pollTime", "0"),
        ("bornTime", &now),
        ("initMode", "0"),
        ("exp", "*"),
        ("expType", "TAG"),
        ("order", "false"),
    ];
    ask(connection, request::POP_MESSAGE, &ext)
}

/// ACK_MESSAGE of the one message of a pop of queue 0.
fn acknowledge(connection: &mut Connection, popped: &Answer) {
    let message = client::pull::messages(&popped.body).unwrap().remove(0);
    let ext = |name| popped.ext(name).unwrap_or_else(|| panic!("{name}: {popped:?}"));
    let (time, invisible, revive) = (ext("popTime"), ext("invisibleTime"), ext("reviveQid"));
    let offset = message.queue_offset.to_string();
    let receipt = format!("{offset} {time} {invisible} {revive} 0 broker 0 {offset}");
    let ext = [
        ("consumerGroup", "poppers"),
        ("topic", "orders"),
        ("queueId", "0"),
        ("extraInfo", receipt.as_str()),
        ("offset", offset.as_str()),
    ];
    ask(connection, request::ACK_MESSAGE, &ext).success().unwrap();
}

#[test]
fn what_is_popped_acknowledged_and_sent_back_is_counted() {
    let (_broker, mut connection) = start();
    produce(&mut connection, "orders");
    connection.create_group("poppers").unwrap();
    let mut first = pop(&mut connection, "0", "1");
    assert!(wait_until(PATIENCE, || {
        if first.body.is_empty() {
            first = pop(&mut connection, "0", "1");
        }
        !first.body.is_empty()
    }));
    acknowledge(&mut connection, &first);
    acknowledge(&mut connection, &first);
    let mut got = 1;
    let popped = wait_until(PATIENCE, || {
        let answer = pop(&mut connection, "-1", "32");
        got += client::pull::messages(&answer.body).unwrap().len();
        got == 8
    });
    assert!(popped, "{got}");
    assert_sum(&mut connection, "GROUP_GET_NUMS", "orders@poppers", 8);
    assert_sum(&mut connection, "GROUP_ACK_NUMS", "orders@poppers", 1);
    assert_sum(&mut connection, "BROKER_ACK_NUMS", CLUSTER, 1);
    let first = pull(&mut connection, "poppers", "orders", 0).remove(0);
    for _ in 0..2 {
        let offset = first.physical_offset.to_string();
        let ext = [("group", "poppers"), ("offset", offset.as_str()), ("delayLevel", "1")];
        assert_eq!(ask(&mut connection, request::CONSUMER_SEND_MSG_BACK, &ext).code, 0);
    }
    assert_sum(&mut connection, "SNDBCK_PUT_NUMS", "orders@poppers", 2);
    assert_eq!(sum(&mut connection, "SNDBCK_PUT_NUMS", "%RETRY%poppers@poppers"), None);
    // Both come again, in the group's own topic.
    assert_sum(&mut connection, "TOPIC_PUT_NUMS", "%RETRY%poppers", 2);
    let retried = pull(&mut connection, "poppers", "%RETRY%poppers", 0).remove(0);
    let offset = retried.physical_offset.to_string();
    let ext = [("group", "poppers"), ("offset", offset.as_str()), ("delayLevel", "-1")];
    assert_eq!(ask(&mut connection, request::CONSUMER_SEND_MSG_BACK, &ext).code, 0);
    assert_sum(&mut connection, "SNDBCK_PUT_NUMS", "orders@poppers", 3);
    assert_sum(&mut connection, "TOPIC_PUT_NUMS", "%DLQ%poppers", 1);
}

fn figure(connection: &mut Connection, key: &str) -> i64 {
    let info = connection.runtime_info().unwrap();
    let found = info.iter().find(|(name, _)| name == key);
    found.unwrap_or_else(|| panic!("no {key}")).1.parse().expect("a number")
}

/// Java counts what waits in the broker's own topic among all messages, and not among those of the day.
#[test]
fn totals_of_the_day_leave_out_the_topics_of_the_broker() {
    let (mut broker, mut connection) = start();
    produce(&mut connection, "orders");
    connection.create_group("readers").unwrap();
    let properties = [("DELAY", "1")];
    for _ in 0..2 {
        let delayed = Message::new("orders", 0, b"later").with_properties(&properties);
        connection.send(&delayed).unwrap();
    }
    assert_sum(&mut connection, "TOPIC_PUT_NUMS", "SCHEDULE_TOPIC_XXXX", 2);
    assert_sum(&mut connection, "TOPIC_PUT_NUMS", "orders", 10);
    assert_sum(&mut connection, "BROKER_PUT_NUMS", CLUSTER, 12);
    assert_sum(&mut connection, "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC", CLUSTER, 10);
    assert_eq!(pull(&mut connection, "readers", "orders", 0).len(), 5);
    for (key, expected) in [("msgPutTotalTodayNow", 10), ("msgGetTotalTodayNow", 5)] {
        let found = wait_until(PATIENCE, || figure(&mut connection, key) == expected);
        assert!(found, "{key}: {}", figure(&mut connection, key));
    }
    for key in ["msgPutTotalTodayMorning", "msgGetTotalYesterdayMorning"] {
        assert!(figure(&mut connection, key) <= 10, "{key}");
    }
    broker.kill9();
    broker.restart();
    connection = connect(broker.broker_addr(), PATIENCE);
    assert_eq!(figure(&mut connection, "msgPutTotalTodayNow"), 0, "in memory, as with Java");
    assert_eq!(sum(&mut connection, "TOPIC_PUT_NUMS", "orders"), None);
}

/// More than a worker looks at in one piece of work, all on one shard.
#[test]
fn traffic_on_very_many_queues_is_counted_in_full() {
    const TOPICS: usize = 150;
    const QUEUES: i32 = 8;
    let broker = OurBroker::standalone(&[("shards", "1")]);
    let mut connection = connect(broker.broker_addr(), PATIENCE);
    let names: Vec<String> = (0..TOPICS).map(|number| format!("orders-{number}")).collect();
    let made: Vec<_> = names
        .iter()
        .map(|name| connection.start_create_topic(&NewTopic::new(name, QUEUES)).unwrap())
        .collect();
    for ticket in made {
        connection.finish(ticket).unwrap().success().unwrap();
    }
    for queue in 0..QUEUES {
        let sent: Vec<_> = names
            .iter()
            .map(|name| connection.start_send(&Message::new(name, queue, b"body")).unwrap())
            .collect();
        for ticket in sent {
            connection.finish_send(ticket).unwrap();
        }
    }
    assert_sum(&mut connection, "BROKER_PUT_NUMS", CLUSTER, TOPICS as i64 * i64::from(QUEUES));
    for name in &names {
        assert_eq!(sum(&mut connection, "TOPIC_PUT_NUMS", name), Some(QUEUES.into()), "{name}");
    }
}

#[test]
fn a_topic_that_was_made_again_begins_at_zero() {
    let (_broker, mut connection) = start();
    produce(&mut connection, "orders");
    connection.create_group("readers").unwrap();
    pull(&mut connection, "readers", "orders", 0);
    assert_sum(&mut connection, "GROUP_GET_NUMS", "orders@readers", 3);
    // Not collected yet when its topic goes.
    connection.send(&Message::new("orders", 0, b"body")).unwrap();
    connection.delete_topic("orders").unwrap();
    for (name, key) in [("TOPIC_PUT_NUMS", "orders"), ("GROUP_GET_NUMS", "orders@readers")] {
        assert_eq!(sum(&mut connection, name, key), None, "{name}");
    }
    connection.create_topic(&NewTopic::new("orders", 4)).unwrap();
    assert_eq!(sum(&mut connection, "TOPIC_PUT_NUMS", "orders"), None);
    connection.send(&Message::new("orders", 0, b"body")).unwrap();
    assert_sum(&mut connection, "TOPIC_PUT_NUMS", "orders", 1);
    pull(&mut connection, "readers", "orders", 0);
    assert_sum(&mut connection, "GROUP_GET_NUMS", "orders@readers", 1);
    connection.delete_group("readers", true).unwrap();
    assert_eq!(sum(&mut connection, "GROUP_GET_NUMS", "orders@readers"), None);
    assert_sum(&mut connection, "TOPIC_PUT_NUMS", "orders", 1);
}

/// By group: sum of what is not consumed, with the number of queues that are told, by topic.
fn all_groups(connection: &mut Connection, is_order: &str) -> Value {
    let code = request::GET_BROKER_CONSUME_STATS;
    ask(connection, code, &[("isOrder", is_order)]).success().unwrap().json().unwrap()
}

fn of_group<'a>(list: &'a Value, group: &str) -> &'a Vec<Value> {
    let groups = list["consumeStatsList"].as_array().expect("a list");
    let found = groups.iter().find_map(|it| it.get(group));
    found.unwrap_or_else(|| panic!("no {group} in {list}")).as_array().expect("its topics")
}

#[test]
fn progress_of_all_groups_is_told_at_once() {
    let (broker, mut connection) = start();
    for topic in ["orders", "events"] {
        produce(&mut connection, topic);
    }
    for group in ["readers", "others", "idle"] {
        connection.create_group(group).unwrap();
    }
    connection.commit_offset("readers", "orders", 0, 2).unwrap();
    connection.commit_offset("readers", "orders", 1, 5).unwrap();
    connection.commit_offset("readers", "events", 1, 1).unwrap();
    connection.commit_offset("others", "orders", 0, 3).unwrap();
    pull(&mut connection, "readers", "orders", 0);
    let list = all_groups(&mut connection, "false");
    assert_eq!(list["brokerAddr"], broker.broker_addr().to_string());
    // readers: 1 + 0 of orders, 3 + 4 of events; others: 0 + 5 of orders.
    assert_eq!(list["totalDiff"], 13, "{list}");
    assert_eq!(list["totalInflightDiff"], 1, "the third message was pulled: {list}");
    assert_eq!(of_group(&list, "idle"), &Vec::<Value>::new());
    let readers = of_group(&list, "readers");
    assert_eq!(readers.len(), 2, "one for each topic: {list}");
    for stats in readers {
        assert_eq!(stats["offsetTable"].as_object().expect("a table").len(), 4, "{stats}");
    }
    let on_orders = readers.iter().find(|it| it.to_string().contains("orders")).expect("orders");
    let ext = [("consumerGroup", "readers"), ("topic", "orders")];
    let alone = ask(&mut connection, request::GET_CONSUME_STATS, &ext).json().unwrap();
    assert_eq!(on_orders["offsetTable"], alone["offsetTable"], "as when one group is asked for");
    let ordered = all_groups(&mut connection, "TRUE");
    assert_eq!((&ordered["totalDiff"], of_group(&ordered, "readers").len()), (&json!(0), 0));
}

#[test]
fn what_an_online_group_does_not_subscribe_any_more_is_left_out_of_all_groups() {
    let (_broker, mut connection) = start();
    for topic in ["orders", "events"] {
        produce(&mut connection, topic);
        connection.create_group("readers").unwrap();
        connection.commit_offset("readers", topic, 0, 0).unwrap();
    }
    assert_eq!(of_group(&all_groups(&mut connection, "false"), "readers").len(), 2);
    let heartbeat = Heartbeat {
        client_id: "c",
        consumer_group: Some("readers"),
        subscriptions: &[Subscription { topic: "events", expression: "*", version: 1 }],
        producer_group: None,
    };
    connection.heartbeat(&heartbeat).unwrap().success().unwrap();
    let list = all_groups(&mut connection, "false");
    assert_eq!((of_group(&list, "readers").len(), &list["totalDiff"]), (1, &json!(8)), "{list}");
}

#[test]
fn requests_without_what_they_need_are_refused_by_name() {
    let (_broker, mut connection) = start();
    for (code, ext, missing) in [
        (request::VIEW_BROKER_STATS_DATA, [("statsName", "TOPIC_PUT_NUMS")], "statsKey"),
        (request::VIEW_BROKER_STATS_DATA, [("statsKey", "orders")], "statsName"),
        (request::GET_BROKER_CONSUME_STATS, [("order", "true")], "isOrder"),
    ] {
        let refused = ask(&mut connection, code, &ext);
        assert_eq!(refused.code, response::SYSTEM_ERROR);
        let remark = refused.remark.unwrap_or_default();
        assert!(remark.contains(missing), "{code}: {remark}");
    }
    let long = "x".repeat(60_000);
    let refused = view(&mut connection, &long, &long);
    assert_eq!(refused.code, response::SYSTEM_ERROR);
    assert!(refused.remark.unwrap_or_default().len() < 1_000, "it is not sent back whole");
}
