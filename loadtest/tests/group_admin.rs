//! Goal: tools learn what a group reads and how far it is in time, and a group can go on where another one is. Method: real
//! brokers with two shards, asked as the tools ask, killed where something has to last.

use std::time::Duration;

use client::{
    ClientError, Connection, Heartbeat, Message, NewTopic, PullRequest, PullStatus, Subscription,
};
use loadtest::harness::{our_broker::OurBroker, requests::ask};
use proto::code::{request, response};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const QUEUES: i32 = 8;

fn connect(broker: &OurBroker) -> Connection {
    Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap()
}

/// A broker with the topics `a` and `b`, and the groups `g` and `h`.
fn start() -> (OurBroker, Connection) {
    let broker = OurBroker::standalone(&[("shards", "2")]);
    let mut connection = connect(&broker);
    for topic in ["a", "b"] {
        connection.create_topic(&NewTopic::new(topic, QUEUES)).unwrap();
    }
    ["g", "h"].iter().for_each(|group| connection.create_group(group).unwrap());
    (broker, connection)
}

fn json(connection: &mut Connection, code: i32, ext: &[(&str, &str)]) -> Value {
    ask(connection, code, ext).success().unwrap().json().unwrap()
}

fn clone(connection: &mut Connection, ext: &[(&str, &str)]) -> i32 {
    ask(connection, request::CLONE_GROUP_OFFSET, ext).code
}

fn committed(connection: &mut Connection, group: &str, topic: &str) -> Vec<Option<i64>> {
    let of_queue = |queue| connection.consumer_offset(group, topic, queue).ok();
    (0..QUEUES).map(of_queue).collect()
}

/// Offset that a group has committed by queue of topic `a`, as GET_CONSUME_STATS tells it.
fn progress(connection: &mut Connection, ext: &[(&str, &str)]) -> Vec<(i64, i64)> {
    let stats = json(connection, request::GET_CONSUME_STATS, ext);
    let table = stats["offsetTable"].as_object().expect("a table");
    let of_queue = |queue: i32| {
        let key = format!(r#"{{"brokerName":"broker-a","queueId":{queue},"topic":"a"}}"#);
        let told = table.get(&key)?;
        Some((told["brokerOffset"].as_i64()?, told["consumerOffset"].as_i64()?))
    };
    (0..QUEUES).filter_map(of_queue).collect()
}

/// Whatever shard they are on.
#[test]
fn progress_is_told_of_all_queues_of_a_topic() {
    let (_broker, mut connection) = start();
    let (of_g, on_a) = (("consumerGroup", "g"), ("topic", "a"));
    assert!(progress(&mut connection, &[of_g]).is_empty(), "it has consumed nothing");
    assert_eq!(progress(&mut connection, &[of_g, on_a]), [(0, 0); QUEUES as usize]);
    for _ in 0..3 {
        connection.send(&Message::new("a", 1, b"body")).unwrap();
    }
    connection.commit_offset("g", "a", 0, 7).unwrap();
    let mut expected = vec![(0, 0); QUEUES as usize];
    (expected[0], expected[1]) = ((0, 7), (3, 0));
    for asked in [&[of_g][..], &[of_g, on_a], &[of_g, ("topicList", "b;a;")]] {
        assert_eq!(progress(&mut connection, asked), expected, "{asked:?}");
    }
}

#[test]
fn topics_and_subscriptions_of_a_group() {
    let (broker, mut connection) = start();
    let topics = |connection: &mut Connection| {
        let found = json(connection, request::QUERY_TOPICS_BY_CONSUMER, &[("group", "g")]);
        assert_eq!(found["brokerAddr"], broker.broker_addr().to_string());
        found["topicList"].clone()
    };
    assert_eq!(topics(&mut connection), serde_json::json!([]));
    for topic in ["b", "a"] {
        (0..QUEUES).for_each(|queue| connection.commit_offset("g", topic, queue, 0).unwrap());
    }
    assert_eq!(topics(&mut connection), serde_json::json!(["a", "b"]));

    let ask_for = [("group", "g"), ("topic", "a")];
    let code = request::QUERY_SUBSCRIPTION_BY_CONSUMER;
    let nothing = json(&mut connection, code, &ask_for);
    assert_eq!(nothing, serde_json::json!({"group": "g", "topic": "a"}), "it is not online");
    let heartbeat = Heartbeat {
        client_id: "c",
        consumer_group: Some("g"),
        subscriptions: &[Subscription { topic: "a", expression: "x || y", version: 7 }],
        producer_group: None,
    };
    connection.heartbeat(&heartbeat).unwrap().success().unwrap();
    let wish = &json(&mut connection, code, &ask_for)["subscriptionData"];
    assert_eq!((&wish["subString"], &wish["subVersion"]), (&"x || y".into(), &7.into()));
    let refused = ask(&mut connection, code, &[("group", "g")]);
    assert!(refused.remark.as_deref().unwrap_or_default().contains("topic"), "{refused:?}");
}

#[test]
fn how_far_a_group_is_in_time() {
    let (broker, mut connection) = start();
    let spans = |connection: &mut Connection| -> Vec<[i64; 4]> {
        let ext = [("topic", "a"), ("group", "g")];
        let body = json(connection, request::QUERY_CONSUME_TIME_SPAN, &ext);
        let set = body["consumeTimeSpanSet"].as_array().unwrap().iter().enumerate();
        let times = set.map(|(index, span)| {
            assert_eq!(span["messageQueue"]["queueId"], index as i64, "{body}");
            ["minTimeStamp", "maxTimeStamp", "consumeTimeStamp", "delayTime"]
                .map(|name| span[name].as_i64().unwrap())
        });
        times.collect()
    };
    assert_eq!(spans(&mut connection), [[-1, -1, -1, 0]; QUEUES as usize]);
    // Three messages in each queue but the last, well apart in time.
    for _ in 0..3 {
        for queue in 0..QUEUES - 1 {
            connection.send(&Message::new("a", queue, b"x")).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    connection.commit_offset("g", "a", 1, 1).unwrap();
    connection.commit_offset("g", "a", 2, 3).unwrap();
    for round in 0..2 {
        let found = spans(&mut connection);
        let [first, last, consumed, delay] = found[0];
        assert!(first > 0 && last >= first + 100, "{found:?}");
        assert_eq!(consumed, first, "nothing is consumed");
        assert!(delay >= 150, "{found:?}");
        let [first, last, consumed, delay] = found[1];
        assert_eq!(consumed, first, "one is consumed");
        assert!(delay >= 100 && delay < found[0][3] && last > first, "{found:?}");
        let [_, last, consumed, delay] = found[2];
        assert_eq!((consumed, delay), (last, 0), "all is consumed");
        assert_eq!(found[QUEUES as usize - 1], [-1, -1, -1, 0], "nothing is there");
        if round == 0 {
            let ext = [("topic", "nowhere"), ("group", "g")];
            let refused = ask(&mut connection, request::QUERY_CONSUME_TIME_SPAN, &ext);
            assert_eq!(refused.code, response::TOPIC_NOT_EXIST);
        }
    }
    drop(broker);
}

#[test]
fn a_group_goes_on_where_another_one_is() {
    let (mut broker, mut connection) = start();
    for queue in 0..QUEUES {
        connection.commit_offset("g", "a", queue, i64::from(queue) + 10).unwrap();
        connection.commit_offset("g", "b", queue, i64::from(queue) + 20).unwrap();
        connection.commit_offset("h", "a", queue, 99).unwrap();
    }
    let from_g = |topic, rest: &[(&'static str, &'static str)]| {
        [&[("srcGroup", "g"), ("destGroup", "h"), ("topic", topic)], rest].concat()
    };
    assert_eq!(clone(&mut connection, &from_g("a", &[])), response::SUCCESS);
    let of_a: Vec<_> = (0..QUEUES).map(|queue| Some(i64::from(queue) + 10)).collect();
    let of_b: Vec<_> = (0..QUEUES).map(|queue| Some(i64::from(queue) + 20)).collect();
    // What was answered lasts, without the second that offsets may lag behind otherwise.
    broker.kill9();
    broker.restart();
    let mut connection = connect(&broker);
    assert_eq!(committed(&mut connection, "h", "a"), of_a);
    assert_ne!(committed(&mut connection, "h", "b"), of_b);
    // While the source is online it is for what it subscribes, unless that is not to matter.
    let heartbeat = Heartbeat {
        client_id: "c",
        consumer_group: Some("g"),
        subscriptions: &[Subscription { topic: "a", expression: "*", version: 1 }],
        producer_group: None,
    };
    connection.heartbeat(&heartbeat).unwrap().success().unwrap();
    // What the group sent back is nobody else's.
    connection.commit_offset("g", "%RETRY%g", 0, 5).unwrap();
    assert_eq!(clone(&mut connection, &from_g("", &[])), response::SUCCESS);
    assert_ne!(committed(&mut connection, "h", "b"), of_b);
    assert_eq!(clone(&mut connection, &from_g("", &[("offline", "true")])), response::SUCCESS);
    assert_eq!(committed(&mut connection, "h", "b"), of_b);
    let topics = json(&mut connection, request::QUERY_TOPICS_BY_CONSUMER, &[("group", "h")]);
    assert_eq!(topics["topicList"], serde_json::json!(["a", "b"]));

    assert_eq!(clone(&mut connection, &from_g("nowhere", &[])), response::TOPIC_NOT_EXIST);
    let nobody = [("srcGroup", "g"), ("destGroup", "nobody")];
    assert_eq!(clone(&mut connection, &nobody), response::SUBSCRIPTION_GROUP_NOT_EXIST);
    assert_eq!(clone(&mut connection, &[("srcGroup", "g")]), response::SYSTEM_ERROR);
}

/// An operator takes a topic from a group, and gives it back; pulls that wait hear of it.
#[test]
fn a_group_reads_no_topic_that_is_forbidden_to_it() {
    let (mut broker, mut tool) = start();
    let readable = |connection: &mut Connection, group: &str, topic: &str, set: Option<&str>| {
        let named = [("group", group), ("topic", topic)];
        let set = set.map(|set| ("readable", set));
        let ext: Vec<_> = named.into_iter().chain(set).collect();
        let told = json(connection, request::UPDATE_AND_GET_GROUP_FORBIDDEN, &ext);
        assert_eq!((told["group"].as_str(), told["topic"].as_str()), (Some(group), Some(topic)));
        told["readable"].as_bool().expect("it is or not")
    };
    let pull = |connection: &mut Connection, group: &str, topic: &str| match connection
        .pull(&PullRequest::new(group, topic, 0, 0))
    {
        Ok(pulled) => {
            assert_eq!(pulled.status, PullStatus::NotFound);
            None
        }
        Err(ClientError::Refused { code, remark }) => Some((code, remark)),
        Err(error) => panic!("{error}"),
    };
    assert!(readable(&mut tool, "g", "a", None));
    let mut waiting = connect(&broker);
    let parked = PullRequest::new("g", "a", 0, 0).parked(Duration::from_secs(50));
    let parked = waiting.start_pull(&parked).unwrap();
    assert!(!readable(&mut tool, "g", "a", Some("false")));
    let forbidden = "the consumer group[g] is forbidden for topic[a]".to_owned();
    let refused = Some((response::NO_PERMISSION, forbidden.clone()));
    assert_eq!(pull(&mut tool, "g", "a"), refused);
    assert_eq!((pull(&mut tool, "g", "b"), pull(&mut tool, "h", "a")), (None, None));
    // It is looked at again when there is something to read.
    tool.send(&Message::new("a", 0, b"body")).unwrap();
    let answer = waiting.finish_pull(parked);
    assert!(matches!(answer, Err(ClientError::Refused { remark, .. }) if remark == forbidden));

    tool.create_group("g").unwrap();
    assert!(!readable(&mut tool, "g", "b", Some("false")));
    broker.kill9();
    broker.restart();
    let mut tool = connect(&broker);
    assert_eq!(pull(&mut tool, "g", "a"), refused, "whoever changes the group otherwise");
    assert!(readable(&mut tool, "g", "a", Some("true")));
    assert!(!readable(&mut tool, "g", "b", None), "one at a time");
    assert_eq!(tool.pull(&PullRequest::new("g", "a", 0, 0)).unwrap().status, PullStatus::Found);
    let bad = ask(
        &mut tool,
        request::UPDATE_AND_GET_GROUP_FORBIDDEN,
        &[("group", "g"), ("topic", "a"), ("readable", "no")],
    );
    assert_eq!(bad.remark.as_deref(), Some("readable is \"no\", expected true or false"));
}
