//! Goal: what is accepted is kept and given back, what is not served is refused with its reason, and what tools read of a
//! broker is true. Method: each property, flag, attribute and field over TCP, against one broker of two shards; what was
//! refused must have left nothing.

use client::{Connection, ExtValue, Message, NewTopic, PullRequest};
use loadtest::harness::{our_broker::OurBroker, wait_until};
use proto::code::{request, response};
use serde_json::Value;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn start() -> (OurBroker, Connection) {
    let broker = OurBroker::standalone(&[("shards", "2")]);
    let connection = Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap();
    (broker, connection)
}

/// Properties and `sysFlag` of a message, and code and a part of its refusal.
type Kind<'a> = (&'a [(&'a str, &'a str)], i32, &'a str);

#[test]
fn messages_of_kinds_that_are_not_served_are_refused_and_leave_nothing() {
    let (_broker, mut connection) = start();
    connection.create_topic(&NewTopic::new("kinds", 1)).unwrap();
    let refused: [Kind<'_>; 6] = [
        (&[("TRAN_MSG", "true")], 0, "transactional"),
        (&[], 4, "sysFlag 4"),
        (&[], 8, "sysFlag 8"),
        (&[("TIMER_DELAY_SEC", "259201")], 0, "TIMER_DELAY_SEC"),
        (&[("TIMER_DELAY_MS", "soon")], 0, "TIMER_DELAY_MS"),
        (&[("TIMER_DELAY_MS", "5"), ("TIMER_DEL_UNIQKEY", "t+u")], 0, "TIMER_DEL"),
    ];
    for (properties, sys_flag, part) in refused {
        let message =
            Message { sys_flag, ..Message::new("kinds", 0, b"body").with_properties(properties) };
        let plain = Message::new("kinds", 0, b"beside it");
        let mut answers = vec![connection.send(&message), connection.send_v1(&message)];
        // A flag of the whole batch is that of its first message.
        answers.push(connection.send_batch(&[message.clone(), plain]));
        for answer in answers {
            let error = answer.expect_err("refused");
            let code = Some(response::MESSAGE_ILLEGAL);
            assert_eq!(error.code(), code, "{properties:?} {sys_flag}: {error}");
            let text = error.to_string();
            assert!(text.contains(part), "{text}");
        }
    }
    assert_eq!(connection.max_offset("kinds", 0).unwrap(), 0, "nothing was stored");
    let kept = [("DELAY", "0"), ("TRAN_MSG", "false"), ("TIMER_OUT_MS", "1"), ("own", "x")];
    connection.send(&Message::new("kinds", 0, b"body").with_properties(&kept)).unwrap();
    let pulled = connection.pull(&PullRequest::new("g", "kinds", 0, 0)).unwrap();
    for (name, value) in kept {
        assert_eq!(pulled.messages[0].property(name), Some(value), "given back as it came");
    }
    for topic in ["SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "rmq_sys_wheel_timer"] {
        let error = connection.send(&Message::new(topic, 0, b"body")).expect_err(topic);
        assert_eq!(error.code(), Some(response::NO_PERMISSION), "{topic}: {error}");
    }
}

/// UPDATE_AND_CREATE_TOPIC with attributes.
fn update_topic(connection: &mut Connection, topic: &str, attributes: &str) -> (i32, String) {
    let ext: [(&str, ExtValue<'_>); 7] = [
        ("topic", topic.into()),
        ("defaultTopic", "TBW102".into()),
        ("readQueueNums", 4.into()),
        ("writeQueueNums", 4.into()),
        ("perm", 6.into()),
        ("topicFilterType", "SINGLE_TAG".into()),
        ("attributes", attributes.into()),
    ];
    let answer = connection.call(request::UPDATE_AND_CREATE_TOPIC, &ext, &[]).unwrap();
    (answer.code, answer.remark.unwrap_or_default())
}

fn topic(connection: &mut Connection, topic: &str) -> Value {
    let ext = [("topic", topic.into())];
    connection.call(request::GET_TOPIC_CONFIG, &ext, &[]).unwrap().json().unwrap()
}

#[test]
fn attributes_of_topics_are_kept_given_back_and_survive() {
    let (mut broker, mut connection) = start();
    let made = update_topic(&mut connection, "attributes", "+message.type=NORMAL,+reserve.time=-1");
    assert_eq!(made, (0, String::new()));
    for (attributes, part) in [
        ("+message.type=ORDERED", "is not one of"),
        ("+reserve.time=3600000", "retention per topic is not supported"),
        ("+queue.type=SimpleCQ", "unchangeable"),
        ("+colour=red", "unsupported key: colour"),
        ("message.type=NORMAL", "neither +name=value nor -name"),
    ] {
        let (code, remark) = update_topic(&mut connection, "attributes", attributes);
        assert_eq!(code, response::SYSTEM_ERROR, "{attributes}: {remark}");
        assert!(remark.contains(part), "{remark}");
    }
    // A 4.9 tool that knows no attributes changes none.
    connection.create_topic(&NewTopic::new("attributes", 8)).unwrap();
    let expected = serde_json::json!({ "message.type": "NORMAL", "reserve.time": "-1" });
    for round in 0..2 {
        let one = topic(&mut connection, "attributes");
        assert_eq!((&one["attributes"], &one["readQueueNums"]), (&expected, &Value::from(8)));
        let all = connection.topics().unwrap();
        assert_eq!(all["topicConfigTable"]["attributes"]["attributes"], expected);
        assert!(
            all.get("deletedTopics").is_none()
                && topic(&mut connection, "TBW102").get("attributes").is_none()
        );
        if round == 0 {
            broker.kill9();
            broker.restart();
            connection = Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap();
        }
    }
    assert_eq!(update_topic(&mut connection, "attributes", "-reserve.time").0, 0);
    let one = topic(&mut connection, "attributes");
    assert_eq!(one["attributes"], serde_json::json!({ "message.type": "NORMAL" }));
}

#[test]
fn fields_of_5_of_groups_are_kept_given_back_and_survive() {
    let (mut broker, mut connection) = start();
    let put = |connection: &mut Connection, body: &Value| {
        let body = body.to_string();
        let code = request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP;
        let answer = connection.call(code, &[], body.as_bytes()).unwrap();
        (answer.code, answer.remark.unwrap_or_default())
    };
    let policy = serde_json::json!({
        "type": "EXPONENTIAL",
        "exponentialRetryPolicy": { "initial": 5000, "max": 7_200_000, "multiplier": 2 },
    });
    let group = serde_json::json!({
        "groupName": "fields", "retryMaxTimes": 3, "consumeMessageOrderly": true, "groupSysFlag": 1,
        "consumeTimeoutMinute": 7, "groupRetryPolicy": policy, "attributes": {},
        "subscriptionDataSet": [{ "topic": "t", "expression": "*" }],
    });
    assert_eq!(put(&mut connection, &group), (0, String::new()));
    let with_attribute = serde_json::json!({ "groupName": "fields", "attributes": { "+a": "b" } });
    let (code, remark) = put(&mut connection, &with_attribute);
    assert_eq!(code, response::SYSTEM_ERROR);
    assert!(remark.contains("unsupported key: a"), "{remark}");
    let large = "x".repeat(20_000);
    let large = serde_json::json!({ "groupName": "fields", "groupRetryPolicy": { "type": large } });
    let (code, remark) = put(&mut connection, &large);
    assert_eq!(code, response::SYSTEM_ERROR);
    assert!(remark.contains("the limit is 16384"), "{remark}");
    for round in 0..2 {
        let all = connection.groups().unwrap();
        let kept = &all["subscriptionGroupTable"]["fields"];
        for field in [
            "retryMaxTimes",
            "consumeMessageOrderly",
            "groupSysFlag",
            "consumeTimeoutMinute",
            "groupRetryPolicy",
            "subscriptionDataSet",
        ] {
            assert_eq!(kept[field], group[field], "{field} in {kept}");
        }
        if round == 0 {
            broker.kill9();
            broker.restart();
            connection = Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap();
        }
    }
}

#[test]
fn tools_find_what_they_parse() {
    let (_broker, mut connection) = start();
    connection.create_topic(&NewTopic::new("figures", 1)).unwrap();
    for _ in 0..50 {
        connection.send(&Message::new("figures", 0, b"body")).unwrap();
    }
    let info = connection.runtime_info().unwrap();
    let value = |key: &str| {
        let found = info.iter().find(|(name, _)| name == key);
        found.unwrap_or_else(|| panic!("no {key}")).1.clone()
    };
    for key in [
        "dispatchMaxBuffer",
        "putMessageEntireTimeMax",
        "getMessageEntireTimeMax",
        "remainTransientStoreBufferNumbs",
    ] {
        assert!(value(key).parse::<i64>().is_ok(), "{key}={}", value(key));
    }
    let latency = |key: &str| value(key).parse::<f64>().expect("a number");
    let (of_99, of_999) = (latency("putLatency99"), latency("putLatency999"));
    assert!(0.0 < of_99 && of_99 <= of_999, "50 have waited: {of_99} {of_999}");
    let distribution = value("putMessageDistributeTime");
    let counts = distribution.split_whitespace().map(|pair| {
        let (label, count) = pair.rsplit_once(':').expect("label and count");
        assert!(label.starts_with('[') && label.ends_with(']'), "{pair}");
        count.parse::<u64>().expect("a number")
    });
    let counts: Vec<u64> = counts.collect();
    assert_eq!(counts.len(), 13, "{distribution}");
    assert_eq!(counts.iter().sum::<u64>(), 50, "each send once: {distribution}");

    let config = connection.call(request::GET_BROKER_CONFIG, &[], &[]).unwrap();
    let config = String::from_utf8(config.body).unwrap();
    for line in ["filterServerNums=0", "slaveReadEnable=false", "useTLS=false", "brokerRole="] {
        assert!(config.lines().any(|found| found.starts_with(line)), "{line} in {config}");
    }
}

/// GET_CONSUME_STATS of group `readers` on queue 0 of the topic: rate and the queue's progress.
fn progress(connection: &mut Connection, topic: &str) -> (f64, Value) {
    let ext = [("consumerGroup", "readers".into()), ("topic", topic.into())];
    let answer = connection.call(request::GET_CONSUME_STATS, &ext, &[]).unwrap();
    let stats = answer.json().unwrap();
    let queues = stats["offsetTable"].as_object().expect("a table");
    let found = queues.iter().find(|(queue, _)| queue.contains("\"queueId\":0"));
    (stats["consumeTps"].as_f64().expect("a number"), found.expect("queue 0").1.clone())
}

#[test]
fn progress_of_a_group_says_when_what_it_consumed_was_stored() {
    let (mut broker, mut connection) = start();
    connection.create_topic(&NewTopic::new("progress", 2)).unwrap();
    connection.create_group("readers").unwrap();
    let mut stored = Vec::new();
    for _ in 0..10 {
        connection.send(&Message::new("progress", 0, b"body")).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    let pulled = connection.pull(&PullRequest::new("readers", "progress", 0, 0)).unwrap();
    stored.extend(pulled.messages.iter().map(|message| message.store_timestamp));
    assert_eq!(stored.len(), 10);
    connection.commit_offset("readers", "progress", 0, 4).unwrap();
    let (tps, queue) = progress(&mut connection, "progress");
    assert!(tps > 0.0, "ten messages in the last minute");
    assert_eq!((&queue["brokerOffset"], &queue["consumerOffset"]), (&10.into(), &4.into()));
    assert_eq!(queue["lastTimestamp"], stored[3], "of the last one that was consumed: {stored:?}");
    assert_eq!(queue["pullOffset"], 10, "six are in flight");
    connection.commit_offset("readers", "progress", 0, 10).unwrap();
    assert_eq!(progress(&mut connection, "progress").1["lastTimestamp"], stored[9]);
    connection.commit_offset("readers", "progress", 0, 1).unwrap();
    // Offsets are durable a second later at most.
    std::thread::sleep(Duration::from_millis(1_500));
    broker.kill9();
    broker.restart();
    connection = Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap();
    let found = wait_until(PATIENCE, || {
        let (tps, queue) = progress(&mut connection, "progress");
        (tps, &queue["lastTimestamp"], &queue["pullOffset"]) == (0.0, &stored[0].into(), &1.into())
    });
    assert!(found, "{:?}", progress(&mut connection, "progress"));
}

/// Java's routes show what the broker as a whole may do.
#[test]
fn a_read_only_broker_has_read_only_routes() {
    let broker = OurBroker::standalone(&[("brokerPermission", "4")]);
    let mut namesrv =
        Connection::connect_patiently(broker.namesrv_addr().parse().unwrap(), PATIENCE).unwrap();
    let known = wait_until(PATIENCE, || namesrv.route("TBW102", true).is_ok());
    assert!(known);
    let route = namesrv.route("BenchmarkTest", true).unwrap();
    assert_eq!(route["queueDatas"][0]["perm"], 4, "{route}");
}

/// Whoever waits for messages is asked again for its rights before it gets any.
#[test]
fn rights_that_are_taken_away_hold_for_who_waits() {
    let (broker, mut connection) = start();
    connection.create_topic(&NewTopic::new("rights", 1)).unwrap();
    connection.create_group("readers").unwrap();
    let waiting = |name: &'static str| {
        let mut puller = Connection::connect(broker.broker_addr()).unwrap();
        let pull = PullRequest {
            park: Duration::from_secs(20),
            ..PullRequest::new("readers", name, 0, 0)
        };
        let pulled = puller.start_pull(&pull).unwrap();
        let mut popper = Connection::connect(broker.broker_addr()).unwrap();
        let ext = [
            ("consumerGroup", ExtValue::from("readers")),
            ("topic", name.into()),
            ("queueId", (-1).into()),
            ("maxMsgNums", 1.into()),
            ("invisibleTime", 60_000.into()),
            ("pollTime", 20_000.into()),
            ("bornTime", ExtValue::I64(client::send::now_ms())),
            ("initMode", 0.into()),
        ];
        let popped = popper.start(request::POP_MESSAGE, &ext, &[]).unwrap();
        (puller, pulled, popper, popped)
    };
    let (mut puller, pulled, mut popper, popped) = waiting("rights");
    std::thread::sleep(Duration::from_millis(300));
    connection.create_topic(&NewTopic { perm: 2, ..NewTopic::new("rights", 1) }).unwrap();
    connection.send(&Message::new("rights", 0, b"not for you")).unwrap();
    assert_eq!(puller.finish(pulled).unwrap().code, response::NO_PERMISSION);
    assert_eq!(popper.finish(popped).unwrap().code, response::NO_PERMISSION);
}

#[test]
fn a_receipt_of_an_earlier_pop_is_not_kept() {
    let (_broker, mut connection) = start();
    connection.create_topic(&NewTopic::new("popped", 1)).unwrap();
    let properties = [("a", "b"), ("POP_CK", "0 1 2 3 0 brk 0 0"), ("c", "d")];
    let message = Message::new("popped", 0, b"body").with_properties(&properties);
    connection.send(&message).unwrap();
    connection.send_batch(&[message.clone(), message]).unwrap();
    let pulled = connection.pull(&PullRequest::new("readers", "popped", 0, 0)).unwrap();
    assert_eq!(pulled.messages.len(), 3);
    for message in pulled.messages {
        let kept = ["a", "POP_CK", "c"].map(|name| message.property(name));
        assert_eq!(kept, [Some("b"), None, Some("d")], "{}", message.properties);
    }
}

/// Absent they mean all queues, and a time instead of an offset: what is unreadable must not mean that.
#[test]
fn a_reset_whose_numbers_are_unreadable_is_refused() {
    let (_broker, mut connection) = start();
    connection.create_topic(&NewTopic::new("reset", 1)).unwrap();
    connection.create_group("readers").unwrap();
    let common: [(&str, ExtValue<'_>); 4] = [
        ("topic", "reset".into()),
        ("group", "readers".into()),
        ("timestamp", (-1).into()),
        ("isForce", "true".into()),
    ];
    for field in ["offset", "queueId"] {
        let ext = [&common[..], &[(field, "x".into())]].concat();
        let answer = connection.call(request::INVOKE_BROKER_TO_RESET_OFFSET, &ext, &[]).unwrap();
        assert_eq!(answer.code, response::SYSTEM_ERROR);
        assert!(answer.remark.is_some_and(|remark| remark.contains(field)));
    }
}

#[test]
fn a_half_message_to_a_retry_topic_is_one() {
    let (_broker, mut connection) = start();
    connection.create_group("failing").unwrap();
    let properties = [("TRAN_MSG", "true"), ("PGROUP", "deciders")];
    let half = Message { sys_flag: 4, ..Message::new("%RETRY%failing", 0, b"half") };
    connection.send(&half.with_properties(&properties)).unwrap();
    let seen = connection.pull(&PullRequest::new("failing", "%RETRY%failing", 0, 0)).unwrap();
    assert!(seen.messages.is_empty(), "nobody has decided");
}
