//! Goal: with two shards on two executors, messages of all queues flow whatever executor a connection landed on.
//! Method: several plain connections, more than the kernel would put on one executor, each send to and pull from all
//! eight queues of a topic; long polls are woken across executors; tables and offsets look the same from everywhere;
//! a consumer that does not read loses nothing by it.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use client::{Connection, Message, NewTopic, PullRequest, PullStatus};
use loadtest::harness::{our_broker::OurBroker, wait_until};
use proto::code::response;

const TOPIC: &str = "eight-queues";
const GROUP: &str = "eight-readers";
const QUEUES: i32 = 8;
const CONNECTIONS: usize = 8;
const PER_QUEUE: usize = 20;
/// What happens soon on a quiet machine; on a busy one it may take its time.
const PATIENCE: Duration = Duration::from_secs(60);

fn connect(addr: SocketAddr) -> Vec<Connection> {
    (0..CONNECTIONS)
        .map(|_| Connection::connect_patiently(addr, Duration::from_secs(10)).unwrap())
        .collect()
}

fn start() -> (OurBroker, Vec<Connection>) {
    let broker = OurBroker::standalone(&[("shards", "2")]);
    let mut connections = connect(broker.broker_addr());
    connections[0].create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    // The answer comes when the topic is durable; its snapshot reaches the other executors about then.
    for connection in &mut connections {
        let known =
            wait_until(PATIENCE, || connection.pull(&PullRequest::new(GROUP, TOPIC, 0, 0)).is_ok());
        assert!(known, "the topic is not known everywhere");
    }
    (broker, connections)
}

#[test]
fn all_queues_flow_through_all_connections() {
    let (broker, mut connections) = start();
    let mut sent = HashSet::new();
    for (number, connection) in connections.iter_mut().enumerate() {
        for queue in 0..QUEUES {
            let bodies: Vec<String> =
                (0..PER_QUEUE).map(|index| format!("{number}/{queue}/{index}")).collect();
            let tickets: Vec<_> = bodies
                .iter()
                .map(|body| connection.start_send(&Message::new(TOPIC, queue, body.as_bytes())))
                .collect();
            for (body, ticket) in bodies.into_iter().zip(tickets) {
                assert_eq!(connection.finish_send(ticket.unwrap()).unwrap().queue_id, queue);
                sent.insert(body);
            }
        }
    }
    for connection in &mut connections {
        assert_eq!(read_all(connection), sent);
        for queue in 0..QUEUES {
            let end = (CONNECTIONS * PER_QUEUE) as i64;
            assert_eq!(connection.max_offset(TOPIC, queue).unwrap(), end);
            assert_eq!(connection.min_offset(TOPIC, queue).unwrap(), 0);
        }
    }
    let shards: HashSet<_> = std::fs::read_dir(broker.dir().join("data/commitlog"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(shards.len(), 2, "the test needs two shards: {shards:?}");
}

fn read_all(connection: &mut Connection) -> HashSet<String> {
    let mut found = HashSet::new();
    for queue in 0..QUEUES {
        let mut offset = 0;
        loop {
            let pulled = connection.pull(&PullRequest::new(GROUP, TOPIC, queue, offset)).unwrap();
            if pulled.status != PullStatus::Found {
                break;
            }
            offset = pulled.next_offset;
            for message in pulled.messages {
                assert_eq!(message.queue_id, queue);
                let body = String::from_utf8(message.body).unwrap();
                assert!(found.insert(body), "a message came twice");
            }
        }
    }
    found
}

#[test]
fn a_send_anywhere_wakes_a_long_poll_anywhere() {
    let (_broker, mut connections) = start();
    let (senders, pullers) = connections.split_at_mut(CONNECTIONS / 2);
    for (round, sender) in senders.iter_mut().enumerate() {
        for (index, puller) in pullers.iter_mut().enumerate() {
            let queue = ((round + index) % QUEUES as usize) as i32;
            let offset = puller.max_offset(TOPIC, queue).unwrap();
            // Nobody comes back to it before its client gives up: what wakes it is the send.
            let pull =
                PullRequest::new(GROUP, TOPIC, queue, offset).parked(Duration::from_secs(60));
            let ticket = puller.start_pull(&pull).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            sender.send(&Message::new(TOPIC, queue, b"wake up")).unwrap();
            let pulled = puller.finish_pull(ticket).unwrap();
            assert_eq!(pulled.status, PullStatus::Found);
            assert_eq!(pulled.messages[0].queue_offset, offset);
        }
    }
}

/// The first pull of a group has the control worker create it, and goes on from there, wherever its connection is.
#[test]
fn the_first_pull_of_a_group_is_answered_on_every_connection() {
    let (_broker, mut connections) = start();
    for queue in 0..QUEUES {
        connections[0].send(&Message::new(TOPIC, queue, b"first")).unwrap();
    }
    for (number, connection) in connections.iter_mut().enumerate() {
        for queue in 0..QUEUES {
            let group = format!("new-{number}-{queue}");
            let pulled = connection.pull(&PullRequest::new(&group, TOPIC, queue, 0)).unwrap();
            assert_eq!(pulled.status, PullStatus::Found, "{group}");
        }
    }
}

/// Pulls sent without reading an answer: far more bytes than the broker and both kernels hold for one connection.
const UNREAD_PULLS: i64 = 400;
/// Answers that must have been held back; each way of asking is tried again until they were.
const CLOGGED_MIN: usize = 10;

#[test]
fn a_clogged_consumer_with_a_filter_goes_back_to_where_it_asked() {
    let small = [("shards", "2"), ("maxMessageSize", "65536"), ("tailCacheMiB", "1")];
    let broker = OurBroker::standalone(&small);
    let mut producer = connect(broker.broker_addr()).remove(0);
    producer.create_topic(&NewTopic::new(TOPIC, 2)).unwrap();
    let body = vec![b'x'; 60_000];
    for number in 0..400 {
        // Every third message matches, so that what a filter skips cannot be taken for what was delivered.
        let tag = if number % 3 == 0 { "wanted" } else { "other" };
        let properties = [("TAGS", tag)];
        let message = Message::new(TOPIC, number % 2, &body).with_properties(&properties);
        producer.send(&message).unwrap();
    }
    // One of the queues is on another executor than a connection, and alone it is asked for faster than read.
    let mut clogged = 0;
    let mut unread_ms = 300;
    let enough = wait_until(PATIENCE, || {
        for queues in [&[0][..], &[1], &[0, 1]] {
            clogged += pull_unread(&broker, queues, Duration::from_millis(unread_ms));
        }
        unread_ms *= 2;
        clogged > CLOGGED_MIN
    });
    println!("clogged answers: {clogged}");
    assert!(enough, "nothing was clogged: {clogged}");
}

/// Sends all pulls, does not read for a while, then reads all answers; returns how many said to come again.
fn pull_unread(broker: &OurBroker, queues: &[i32], unread: Duration) -> usize {
    let mut connection = connect(broker.broker_addr()).remove(0);
    let mut asked = Vec::new();
    for number in 0..UNREAD_PULLS {
        let queue = queues[number as usize % queues.len()];
        let offset = number % 150;
        let request = PullRequest {
            subscription: Some("wanted"),
            ..PullRequest::new(GROUP, TOPIC, queue, offset)
        };
        asked.push((offset, connection.start_pull(&request).unwrap()));
    }
    std::thread::sleep(unread);
    let mut clogged = 0;
    for (offset, ticket) in asked {
        let answer = connection.finish(ticket).unwrap();
        let next = answer.number("nextBeginOffset").unwrap();
        if answer.remark.as_deref().is_some_and(|remark| remark.starts_with("CONNECTION_CLOGGED")) {
            assert_eq!((answer.code, next), (response::PULL_NOT_FOUND, offset));
            assert!(answer.body.is_empty());
            clogged += 1;
            continue;
        }
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        let found = client::pull::messages(&answer.body).unwrap();
        let first = found.first().expect("an answer with success has messages").queue_offset;
        let last = found.last().expect("the same").queue_offset;
        assert!(offset <= first && last < next, "{offset}: {first} to {last}, {next}");
        assert!(found.iter().all(|message| message.property("TAGS") == Some("wanted")));
        // Nothing that matches lies between what was asked for and what came.
        assert!(first - offset < 3, "{offset}: {first}");
    }
    clogged
}

#[test]
fn offsets_and_parked_pulls_belong_to_all_executors() {
    let (broker, mut connections) = start();
    connections[0].create_group(GROUP).unwrap();
    for queue in 0..QUEUES {
        let writer = queue as usize % CONNECTIONS;
        connections[writer].send(&Message::new(TOPIC, queue, b"one")).unwrap();
        connections[writer].commit_offset(GROUP, TOPIC, queue, i64::from(queue)).unwrap();
    }
    for connection in &mut connections {
        for queue in 0..QUEUES {
            let offset = connection.consumer_offset(GROUP, TOPIC, queue).unwrap();
            assert_eq!(offset, i64::from(queue));
        }
    }
    // Connections leave with pulls parked on both executors; nothing of them stays.
    for mut connection in connect(broker.broker_addr()) {
        for queue in 0..QUEUES {
            let pull = PullRequest::new(GROUP, TOPIC, queue, 1).parked(Duration::from_secs(50));
            let _ = connection.start_pull(&pull).unwrap();
        }
    }
    let none_left = wait_until(PATIENCE, || {
        let info = connections[0].runtime_info().unwrap();
        let parked = info.iter().find(|(key, _)| key == "ringmq.parkedPulls");
        let (_, parked) = parked.unwrap_or_else(|| panic!("no parked pulls in {info:?}"));
        parked == "0"
    });
    assert!(none_left, "pulls of closed connections are still parked");
}
