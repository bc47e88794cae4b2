//! Goal: messages are found by key and by unique key wherever they are: in memory, in index files, on any shard, after a
//! restart. Method: keyed messages on all queues of two shards; then enough others that index files are written (with
//! the smallest bound on what stays in memory), and the same questions again; the same from Java's clients.

use std::time::{Duration, Instant};

use client::{ClientError, Connection, KeyLookup, Message, NewTopic, Received};
use loadtest::harness::{Peer, our_broker::OurBroker, program::Library, scenario, wait_until};

const TOPIC: &str = "keyed";
const QUEUES: i32 = 8;
const PER_KEY: usize = 10;
/// The smallest bounds that there are, so that a few megabytes leave memory.
const SMALL: [(&str, &str); 5] = [
    ("shards", "2"),
    ("shardIndexEntriesMax", "1000"),
    ("maxMessageSize", "65536"),
    ("tailCacheMiB", "1"),
    ("mappedFileSizeCommitLog", "4194304"),
];
/// Messages that push others out of memory: 16 MB, two segments of each shard.
const OTHERS: usize = 16_000;
const OTHER_BYTES: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(60);

fn connect(broker: &OurBroker) -> Connection {
    Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap()
}

fn start(keys: &[(&str, &str)]) -> (OurBroker, Connection) {
    let broker = OurBroker::standalone(keys);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    (broker, connection)
}

/// Every message has its own unique key, a key of its color, and one that all have.
fn send_keyed(connection: &mut Connection) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..PER_KEY * 2 {
        let id = format!("UNIQUE{number:04}");
        let keys = format!("{} everybody", if number % 2 == 0 { "red" } else { "blue" });
        let properties = [("UNIQ_KEY", id.as_str()), ("KEYS", keys.as_str())];
        let queue = number as i32 % QUEUES;
        let message = Message::new(TOPIC, queue, id.as_bytes()).with_properties(&properties);
        connection.send(&message).unwrap();
        ids.push(id);
    }
    ids
}

fn push_out(connection: &mut Connection) {
    let body = vec![b'x'; OTHER_BYTES];
    let mut tickets = std::collections::VecDeque::new();
    for number in 0..OTHERS {
        if tickets.len() == 64 {
            let first = tickets.pop_front().expect("there are 64");
            connection.finish_send(first).unwrap();
        }
        let message = Message::new(TOPIC, number as i32 % QUEUES, &body);
        tickets.push_back(connection.start_send(&message).unwrap());
    }
    for ticket in tickets {
        connection.finish_send(ticket).unwrap();
    }
}

fn info(connection: &mut Connection, key: &str) -> i64 {
    let table = connection.runtime_info().unwrap();
    let value = table.iter().find(|(name, _)| name == key);
    let (_, value) = value.unwrap_or_else(|| panic!("no {key} in {table:?}"));
    value.parse().unwrap()
}

fn bodies(found: &[Received]) -> Vec<String> {
    found.iter().map(|m| String::from_utf8(m.body.clone()).unwrap()).collect()
}

fn refused(lookup: &KeyLookup<'_>, connection: &mut Connection) -> (i32, String) {
    match connection.query_messages(lookup) {
        Err(ClientError::Refused { code, remark }) => (code, remark),
        other => panic!("{lookup:?}: {other:?}"),
    }
}

/// All questions, whose answers are always the same.
fn ask_everything(connection: &mut Connection, ids: &[String]) {
    let all = connection.query_messages(&KeyLookup::new(TOPIC, "everybody")).unwrap();
    let mut found = bodies(&all);
    found.sort();
    assert_eq!(found, ids);
    assert!(
        all.windows(2).all(|pair| pair[0].physical_offset < pair[1].physical_offset),
        "ascending by place, without a repetition"
    );
    let red = connection.query_messages(&KeyLookup::new(TOPIC, "red")).unwrap();
    assert_eq!(red.len(), PER_KEY);
    assert!(red.iter().all(|m| m.property("KEYS") == Some("red everybody")));

    let newest =
        connection.query_messages(&KeyLookup { max_num: 5, ..KeyLookup::new(TOPIC, "everybody") });
    let mut newest = bodies(&newest.unwrap());
    newest.sort();
    // Two shards may store within one millisecond.
    assert_eq!(newest.len(), 5);
    assert!(newest.iter().all(|id| *id >= ids[ids.len() - 8]), "{newest:?}");

    for id in ids {
        let one = connection
            .query_messages(&KeyLookup { unique: true, max_num: 1, ..KeyLookup::new(TOPIC, id) })
            .unwrap();
        assert_eq!(bodies(&one), [id.as_str()]);
        let time = one[0].store_timestamp;
        let of = |store_ms| KeyLookup { unique: true, store_ms, ..KeyLookup::new(TOPIC, id) };
        assert_eq!(connection.query_messages(&of((time, time))).unwrap().len(), 1);
        // The key holds the time of a producer's clock, which may be ahead: what is older is found, too.
        assert_eq!(connection.query_messages(&of((time + 1, i64::MAX))).unwrap().len(), 1);
        assert_eq!(refused(&of((0, time - 1)), connection).0, 22);
    }
    assert_eq!(refused(&KeyLookup::new(TOPIC, "nobody"), connection).0, 22);
    assert_eq!(refused(&KeyLookup::new("no-such-topic", "everybody"), connection).0, 22);
    let none = KeyLookup { max_num: 0, ..KeyLookup::new(TOPIC, "everybody") };
    assert_eq!(refused(&none, connection).0, 22);
}

fn await_index_files(connection: &mut Connection) {
    for shard in 0..2 {
        let key = format!("ringmq.shard{shard}.indexFiles");
        let written = wait_until(PATIENCE, || info(connection, &key) > 0);
        assert!(written, "shard {shard} wrote no index file");
    }
}

#[test]
fn found_in_memory_in_index_files_and_after_a_restart() {
    let (mut broker, mut connection) = start(&SMALL);
    let ids = send_keyed(&mut connection);
    ask_everything(&mut connection, &ids);
    push_out(&mut connection);
    await_index_files(&mut connection);
    ask_everything(&mut connection, &ids);
    assert!(broker.stop().is_some_and(|status| status.success()), "{}", broker.log_tail());
    broker.restart();
    let mut connection = connect(&broker);
    ask_everything(&mut connection, &ids);
    broker.kill9();
    broker.restart();
    let mut connection = connect(&broker);
    let started = Instant::now();
    ask_everything(&mut connection, &ids);
    println!("keys: {} queries in {:?} after a restart", 6 + 4 * ids.len(), started.elapsed());
}

#[test]
fn many_queries_at_once_are_all_answered() {
    let (_broker, mut connection) = start(&SMALL);
    send_keyed(&mut connection);
    let ext = [
        ("topic", TOPIC.into()),
        ("key", "everybody".into()),
        ("maxNum", 64.into()),
        ("beginTimestamp", 0i64.into()),
        ("endTimestamp", i64::MAX.into()),
    ];
    let tickets: Vec<_> = (0..500)
        .map(|_| connection.start(proto::code::request::QUERY_MESSAGE, &ext, &[]).unwrap())
        .collect();
    for ticket in tickets {
        let answer = connection.finish(ticket).unwrap().success().unwrap();
        assert_eq!(client::pull::messages(&answer.body).unwrap().len(), PER_KEY * 2);
    }
}

#[test]
fn an_answer_fits_a_frame_and_has_the_newest() {
    let (_broker, mut connection) = start(&[("shards", "2")]);
    let body = vec![b'x'; 3 << 20];
    let ids: Vec<String> = (0..5).map(|number| format!("LARGE{number}")).collect();
    for (queue, id) in ids.iter().enumerate() {
        let properties = [("UNIQ_KEY", id.as_str()), ("KEYS", "large")];
        let message = Message::new(TOPIC, queue as i32, &body).with_properties(&properties);
        connection.send(&message).unwrap();
    }
    let found = connection.query_messages(&KeyLookup::new(TOPIC, "large")).unwrap();
    let mut found: Vec<&str> = found.iter().filter_map(|m| m.property("UNIQ_KEY")).collect();
    found.sort_unstable();
    assert_eq!(found, ["LARGE3", "LARGE4"], "8 MiB hold two of them");
}

#[test]
fn without_an_index_the_refusal_says_so() {
    let (_broker, mut connection) = start(&[("shards", "2"), ("messageIndexEnable", "false")]);
    send_keyed(&mut connection);
    let (code, remark) = refused(&KeyLookup::new(TOPIC, "everybody"), &mut connection);
    assert_eq!(code, 1);
    assert!(remark.contains("messageIndexEnable"), "{remark}");
}

#[test]
fn java_finds_what_left_memory() {
    for version in ["4.9.8", "5.3.3"] {
        let Some(program) = Library::Java(version).program(&format!("Java {version}, keys")) else {
            return;
        };
        let peer = Peer::own_with(&SMALL[1..]);
        let topic = peer.new_topic("keyed-java", 4);
        let sent = scenario::produce(&program, &peer, &topic, 6, None);
        let mut connection = peer.connect_broker();
        connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
        push_out(&mut connection);
        await_index_files(&mut connection);
        let hits = scenario::query_all(&program, &peer, &topic, &sent);
        let ids: Vec<&str> = hits.iter().map(|hit| hit.unique_id.as_str()).collect();
        let viewed = program.run(&[&["view", &peer.namesrv_addr, &topic], &ids[..]].concat());
        let expected: Vec<String> = hits.iter().map(|hit| format!("VIEW {}", hit.place)).collect();
        assert_eq!(viewed.lines().collect::<Vec<_>>(), expected);
    }
}
