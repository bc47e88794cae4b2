//! Goal: creations cannot fill a small broker to death, and what it accepted it can hold, use and find again.
//! Method: a broker with a budget of 128 MiB, in which tools create topics, producers create topics by sending to them and
//! consumers create groups by heartbeats, until nothing more is taken. Then every queue gets a message. Others send all the
//! while. The broker is killed and started again. Resident memory, at its highest, has grown by no more than the share of
//! topics and groups, which the log names, and what requests on their way take, in both lives.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use client::{ClientError, Connection, Message, NewTopic};
use loadtest::harness::{our_broker::OurBroker, raw, wait_until};
use loadtest::load::process;
use proto::code::request;

const PATIENCE: Duration = Duration::from_secs(60);
/// Requests, answers, messages in the tail cache, and what the allocator keeps of them.
const TRAFFIC_BYTES_MAX: u64 = 16 << 20;
const STEADY: &str = "table-memory-steady";
/// Topics that tools create, and as many that sends create.
const TOPICS: usize = 500;
const QUEUES: i32 = 8;
/// Queues of a topic that a send creates.
const SENT_QUEUES: i32 = 4;
/// Groups of one heartbeat: few enough that clients in groups are not what is full.
const GROUPS: usize = 200;
/// Heartbeats that would create more than any limit of memory here lets in.
const HEARTBEATS_MAX: usize = 100;
/// Requests under way.
const AT_ONCE: usize = 100;

fn connect(addr: SocketAddr) -> Connection {
    let mut connection = Connection::connect_patiently(addr, Duration::from_secs(10)).unwrap();
    connection.set_timeout(PATIENCE);
    connection
}

#[test]
fn creations_end_before_memory_does() {
    let keys =
        [("shards", "1"), ("memoryBudgetMiB", "128"), ("mappedFileSizeCommitLog", "67108864")];
    let mut broker = OurBroker::standalone(&keys);
    let addr = broker.broker_addr();
    let empty = process::memory(broker.pid()).unwrap().resident_bytes;
    let mut client = connect(addr);
    client.create_topic(&NewTopic::new(STEADY, 4)).unwrap();
    let filled = AtomicBool::new(false);
    thread::scope(|scope| {
        let steady = scope.spawn(|| send_steadily(addr, &filled));
        let end = SetAtEnd(&filled);
        fill(&mut client, addr);
        use_every_queue(&mut client);
        drop(end);
        println!("others sent {} messages meanwhile", steady.join().unwrap());
    });
    assert!(broker.log().contains("parts of a heartbeat are over a limit"), "{}", broker.log());
    check_peak(&broker, empty);
    let (topics, groups) = (topics(&mut client), groups(&mut client));
    broker.kill9();
    broker.restart();
    let mut client = connect(addr);
    assert_eq!(self::topics(&mut client), topics);
    assert_eq!(self::groups(&mut client), groups);
    let topic = made(TOPICS - 1);
    assert_eq!(client.max_offset(&topic, QUEUES - 1).unwrap(), 1);
    // What was full is full, and deleting helps.
    refused(client.create_topic(&NewTopic::new("table-memory-late", QUEUES)), "topics");
    (0..3).for_each(|number| client.delete_topic(&made(number)).unwrap());
    let late = NewTopic::new("table-memory-late", QUEUES);
    assert!(wait_until(PATIENCE, || client.create_topic(&late).is_ok()));
    client.send(&Message::new("table-memory-late", 0, b"room again")).unwrap();
    check_peak(&broker, empty);
}

/// Whatever happens to whom: others hear that it is over.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn send_steadily(addr: SocketAddr, end: &AtomicBool) -> usize {
    let mut connection = connect(addr);
    let mut sent = 0;
    while !end.load(Ordering::Relaxed) {
        connection.send(&Message::new(STEADY, 0, b"steady")).unwrap();
        sent += 1;
        thread::sleep(Duration::from_millis(2));
    }
    sent
}

fn made(number: usize) -> String {
    format!("table-memory-made-{number:04}")
}

fn sent(number: usize) -> String {
    format!("table-memory-sent-{number:04}")
}

/// Creates until nothing more is taken.
fn fill(client: &mut Connection, addr: SocketAddr) {
    for first in (0..TOPICS).step_by(AT_ONCE) {
        let numbers = first..TOPICS.min(first + AT_ONCE);
        let tickets = numbers.clone().map(|number| {
            client.start_create_topic(&NewTopic::new(&made(number), QUEUES)).unwrap()
        });
        for ticket in tickets.collect::<Vec<_>>() {
            client.finish(ticket).unwrap().success().unwrap();
        }
        let tickets =
            numbers.map(|number| client.start_send(&Message::new(&sent(number), 0, b"x")).unwrap());
        for ticket in tickets.collect::<Vec<_>>() {
            client.finish_send(ticket).unwrap();
        }
    }
    let (mut known, mut heartbeats) = (groups(client).len(), 0);
    loop {
        heartbeat(addr, heartbeats);
        heartbeats += 1;
        assert!(heartbeats < HEARTBEATS_MAX, "{known} groups, and no end");
        let now = groups(client).len();
        if now == known {
            break;
        }
        known = now;
    }
    assert!(heartbeats > 2, "groups were made by {heartbeats} heartbeats");
    println!("{} topics, {known} groups", topics(client).len());
    // It was memory that ended it: whoever comes now is told so, whichever way it comes.
    let more = until_refused("groups", |number| client.create_group(&format!("more-{number}")));
    let small = until_refused("topics", |number| {
        client.create_topic(&NewTopic::new(&format!("small-{number}"), 1))
    });
    assert!(more < 5 && small < 5, "{more} groups and {small} topics found room");
    until_refused("topics", |number| {
        client.send(&Message::new(&format!("late-{number}"), 0, b"x")).map(drop)
    });
    refused(client.create_topic(&NewTopic::new(&made(0), 4 * QUEUES)), "topics");
}

/// How many were taken before one was refused.
fn until_refused(what: &str, mut create: impl FnMut(usize) -> Result<(), ClientError>) -> usize {
    let (taken, answer) = (0..1_000)
        .map(|number| (number, create(number)))
        .find(|(_, answer)| answer.is_err())
        .expect("refused some day");
    refused(answer, what);
    taken
}

/// The refusal says what, how much, the limit and the key.
fn refused(answer: Result<(), ClientError>, what: &str) {
    let text = answer.expect_err("it does not fit").to_string();
    let table = format!("no room in the table of {what} for ");
    for part in [table.as_str(), "take up ", " bytes, the limit is ", "(memoryBudgetMiB)"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

/// A client of its own, gone at once, whose groups stay.
fn heartbeat(addr: SocketAddr, number: usize) {
    let groups = (0..GROUPS).map(|group| format!("table-memory-{number:03}-{group:03}"));
    let body = raw::heartbeat(&format!("client-{number}"), groups, "[]");
    let answer = connect(addr).call(request::HEART_BEAT, &[], &body).unwrap();
    assert!(raw::is_taken_in(&answer) || raw::is_taken_in_part(&answer), "{answer:?}");
}

fn use_every_queue(client: &mut Connection) {
    let made = (0..TOPICS).map(|number| (made(number), 0..QUEUES));
    let sent = (0..TOPICS).map(|number| (sent(number), 1..SENT_QUEUES));
    for (topic, queues) in made.chain(sent) {
        let tickets: Vec<_> = queues
            .map(|queue| client.start_send(&Message::new(&topic, queue, b"used")).unwrap())
            .collect();
        for ticket in tickets {
            client.finish_send(ticket).unwrap();
        }
    }
}

/// `empty`: what was resident when there was nothing yet.
fn check_peak(broker: &OurBroker, empty: u64) {
    let log = broker.log();
    let share = log.split("tables_mib=").nth(1).and_then(|rest| rest.split(' ').next());
    let share: u64 = share.and_then(|mib| mib.parse().ok()).expect("the line of the start");
    let peak = process::peak_resident_bytes(broker.pid()).unwrap();
    println!("resident: {} MiB at first, at most {}, share {share}", empty >> 20, peak >> 20);
    let limit = empty + (share << 20) + TRAFFIC_BYTES_MAX;
    assert!(peak < limit, "{peak} bytes, the limit is {limit}");
}

fn topics(client: &mut Connection) -> BTreeSet<String> {
    names(&client.topics().unwrap(), "topicConfigTable")
}

fn groups(client: &mut Connection) -> BTreeSet<String> {
    names(&client.groups().unwrap(), "subscriptionGroupTable")
}

fn names(body: &serde_json::Value, table: &str) -> BTreeSet<String> {
    body[table].as_object().expect("a table").keys().cloned().collect()
}
