//! Goal: a filter over properties gives a consumer exactly what matches, from memory and from the disk, however little that
//! is. Method: a real broker with a small tail cache, expressions in pulls and in heartbeats, and a restart in between.

use std::time::Duration;

use client::{Connection, Heartbeat, Message, NewTopic, PullRequest, PullStatus, Subscription};
use loadtest::harness::our_broker::OurBroker;
use proto::code::response;

const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "selected";
const RETRY: &str = "%RETRY%readers";
const MESSAGES: usize = 6_000;
const BODY_BYTES: usize = 2_048;

fn connect(broker: &OurBroker) -> Connection {
    Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap()
}

/// Number of each message that a consumer gets, and how many pulls that took.
fn read_all(connection: &mut Connection, expression: &str) -> (Vec<usize>, usize) {
    let (mut numbers, mut pulls, mut offset) = (Vec::new(), 0, 0);
    loop {
        let pull = PullRequest {
            subscription: Some(expression),
            expression_type: "SQL92",
            ..PullRequest::new("readers", TOPIC, 0, offset)
        };
        let pulled = connection.pull(&pull).unwrap();
        pulls += 1;
        match pulled.status {
            PullStatus::Found | PullStatus::RetryImmediately => {}
            PullStatus::NotFound => return (numbers, pulls),
            PullStatus::OffsetMoved => panic!("{pulled:?}"),
        }
        assert!(pulled.next_offset > offset, "it goes on: {pulled:?}");
        let number = |property: Option<&str>| property.and_then(|n| n.parse().ok()).unwrap();
        for message in pulled.messages {
            assert!(message.queue_offset >= offset && message.queue_offset < pulled.next_offset);
            numbers.push(number(message.property("n")));
        }
        offset = pulled.next_offset;
    }
}

#[test]
fn what_matches_is_found_in_memory_and_on_disk() {
    let keys = [("shards", "2"), ("tailCacheMiB", "32"), ("shardIndexEntriesMax", "1000")];
    let mut broker = OurBroker::standalone(&keys);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    connection.create_group("readers").unwrap();
    let body = vec![b'x'; BODY_BYTES];
    let numbers: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    for number in &numbers {
        let properties = [("n", number.as_str()), ("kind", "some")];
        let message = Message::new(TOPIC, 0, &body);
        connection.send(&message.with_properties(&properties)).unwrap();
    }
    let range = |from: usize, to: usize| (from..to).collect::<Vec<_>>();
    for life in ["memory", "disk", "disk, after an orderly end"] {
        let (found, pulls) = read_all(&mut connection, "n >= 3000 AND n < 3100");
        assert_eq!(found, range(3_000, 3_100), "{life}");
        println!("{life}: {pulls} pulls for a hundred of {MESSAGES}");
        assert!(pulls >= MESSAGES / 800, "none looks at more than 800");
        assert_eq!(read_all(&mut connection, "kind = 'some'").0, range(0, MESSAGES), "{life}");
        // What cannot be compared does not match, unless something before it has decided.
        let (found, _) = read_all(&mut connection, "n = 0 OR n = 5999 OR kind > 5");
        assert_eq!(found, [0, 5_999], "{life}");
        assert_eq!(read_all(&mut connection, "kind > 5 OR n = 0").0, [0; 0], "{life}");
        let (found, _) = read_all(&mut connection, "n IN ('5', '799', '800', '5999')");
        assert_eq!(found, [5, 799, 800, 5_999], "{life}");
        assert_eq!(read_all(&mut connection, "kind IS NULL").0, range(0, 0), "{life}");
        if life == "memory" {
            broker.kill9();
        } else {
            broker.stop();
        }
        broker.restart();
        connection = connect(&broker);
    }
}

#[test]
fn a_pull_waits_for_what_matches() {
    let broker = OurBroker::standalone(&[("shards", "1")]);
    let (mut consumer, mut producer) = (connect(&broker), connect(&broker));
    producer.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    let subscriptions = [Subscription { topic: TOPIC, expression: "color = 'red'", version: 1 }];
    let heartbeat = Heartbeat {
        client_id: "c",
        consumer_group: Some("readers"),
        subscriptions: &subscriptions,
        producer_group: None,
    };
    consumer.heartbeat_with("SQL92", &heartbeat).unwrap();
    let pull = PullRequest {
        subscription: None,
        sub_version: 1,
        ..PullRequest::new("readers", TOPIC, 0, 0)
    };
    let ticket = consumer.start_pull(&pull.clone().parked(Duration::from_secs(30))).unwrap();
    for color in ["green", "blue", "red"] {
        let properties = [("color", color)];
        producer.send(&Message::new(TOPIC, 0, b"x").with_properties(&properties)).unwrap();
    }
    let pulled = consumer.finish_pull(ticket).unwrap();
    assert_eq!(
        (pulled.status, pulled.next_offset, pulled.messages.len()),
        (PullStatus::Found, 3, 1)
    );
    assert_eq!(pulled.messages[0].property("color"), Some("red"));
    // A broker that has just started knows the group's filter with its next heartbeat, and lets nothing pass before.
    let subscriptions = [Subscription { topic: TOPIC, expression: "color = ", version: 2 }];
    consumer
        .heartbeat_with("SQL92", &Heartbeat { subscriptions: &subscriptions, ..heartbeat })
        .unwrap();
    let refused = consumer.pull(&PullRequest { sub_version: 2, ..pull }).unwrap_err();
    assert_eq!(refused.code(), Some(response::FILTER_DATA_NOT_EXIST), "{refused}");
}

/// What a group failed under a former expression does not come again when it has another one, from memory as from the disk.
/// Without `filterSupportRetry` all of it does, as with Java's broker.
#[test]
fn what_was_failed_is_filtered_again_if_that_is_wanted() {
    let (filtered, all) = (&["red", "none"][..], &["red", "green", "none"][..]);
    for (filters, expected) in [("true", filtered), ("false", all)] {
        let mut broker = OurBroker::standalone(&[("shards", "1"), ("filterSupportRetry", filters)]);
        for life in ["memory", "disk"] {
            let mut connection = connect(&broker);
            let subscriptions =
                [Subscription { topic: TOPIC, expression: "color = 'red'", version: 1 }];
            let heartbeat = Heartbeat {
                client_id: "c",
                consumer_group: Some("readers"),
                subscriptions: &subscriptions,
                producer_group: None,
            };
            connection.heartbeat_with("SQL92", &heartbeat).unwrap();
            if life == "memory" {
                // As clients send what they failed, when the broker cannot be asked to.
                for (color, topic) in [("red", TOPIC), ("green", TOPIC), ("none", "unsubscribed")] {
                    let properties = [("RETRY_TOPIC", topic), ("color", color)];
                    let message = Message::new(RETRY, 0, b"x").with_properties(&properties);
                    connection.send(&message).unwrap();
                }
            }
            let pull =
                PullRequest { subscription: Some("*"), ..PullRequest::new("readers", RETRY, 0, 0) };
            let pulled = connection.pull(&pull).unwrap();
            let colors: Vec<&str> =
                pulled.messages.iter().filter_map(|message| message.property("color")).collect();
            assert_eq!((&colors[..], pulled.next_offset), (expected, 3), "{filters}, {life}");
            if life == "memory" {
                drop(connection);
                broker.stop();
                broker.restart();
            }
        }
    }
}
