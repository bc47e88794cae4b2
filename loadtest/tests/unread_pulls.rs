//! Goal: pulls whose answers nobody reads cost others neither messages nor time. Method: many connections ask for more
//! than they read, of old messages and of new ones, beside a client that reads everything and measures its longest wait.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use client::{Connection, Message, NewTopic, PullRequest};
use loadtest::{
    harness::{connect, ledger::runtime_info, our_broker::OurBroker, raw},
    load::process,
};
use proto::code::response;

/// Nobody waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the client that reads may wait for its messages: a machine that is busy with other tests may take this long.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Between two of its pulls, which read from the disk, too, and must not be what is counted.
const PAUSE: Duration = Duration::from_millis(10);
/// How long it is watched; who reads nothing for 5 s may be closed.
const WATCHED: Duration = Duration::from_secs(4);
/// Whose pulls [`raw::pull`] makes.
const GROUP: &str = "stuck";

/// Connections that send so many pulls each and read nothing.
fn ask_unread(addr: SocketAddr, connections: usize, pulls: usize, topic: &str) -> Vec<TcpStream> {
    let streams: Vec<_> = (0..connections).map(|_| TcpStream::connect(addr).unwrap()).collect();
    for (number, mut stream) in streams.iter().enumerate() {
        let queue = (number % 2) as i32;
        let all = raw::pull(topic, queue, 4).repeat(pulls);
        // The broker reads on only when something was read: it need not take them all.
        stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let _ = stream.write_all(&all);
    }
    streams
}

fn old_messages_beside(shards: usize) {
    const CONNECTIONS: usize = 100;
    const PULLS: usize = 100;
    const MESSAGES: i64 = 1_200;
    process::raise_open_files().unwrap();
    let shards_key = shards.to_string();
    let broker = OurBroker::standalone(&[
        ("shards", &shards_key),
        ("maxMessageSize", "65536"),
        ("tailCacheMiB", "1"),
    ]);
    let addr = broker.broker_addr();
    let mut connection = connect(addr, PATIENCE);
    connection.create_topic(&NewTopic::new("old", 2)).unwrap();
    connection.create_group(GROUP).unwrap();
    let body = vec![b'x'; 60_000];
    for number in 0..MESSAGES {
        connection.send(&Message::new("old", (number % 2) as i32, &body)).unwrap();
    }
    let streams = ask_unread(addr, CONNECTIONS, PULLS, "old");
    let (mut longest, mut pulls, began) = (Duration::ZERO, 0, Instant::now());
    while pulls == 0 || began.elapsed() < WATCHED {
        let (queue, offset) = (pulls % 2, i64::from(pulls) * 7 % (MESSAGES / 4));
        let asked = Instant::now();
        let pulled = connection.pull(&PullRequest::new(GROUP, "old", queue, offset)).unwrap();
        longest = longest.max(asked.elapsed());
        assert_eq!(pulled.messages[0].queue_offset, offset);
        pulls += 1;
        std::thread::sleep(PAUSE);
    }
    // What closed connections still ask for is read by nobody.
    drop(streams);
    let keys = (0..shards).map(|shard| format!("ringmq.shard{shard}.coldBytesRead"));
    std::thread::sleep(Duration::from_millis(1_100));
    let read: u64 =
        keys.map(|key| runtime_info(&mut connection, &key).parse::<u64>().unwrap()).sum();
    let asked = (CONNECTIONS * PULLS * 4 * body.len()) as u64;
    println!(
        "{shards} shards: {pulls} pulls, at most {longest:?}; {} of {} MiB read",
        read >> 20,
        asked >> 20
    );
    assert!(longest < WAIT_MAX, "{longest:?}");
    assert!(read < asked / 2, "{read} of {asked} bytes were read for peers that read nothing");
}

#[test]
fn pulls_of_old_messages_that_nobody_reads_stop_nobody() {
    old_messages_beside(1);
}

/// Half of the queues are on another worker than their connection.
#[test]
fn pulls_of_old_messages_on_two_workers_stop_nobody() {
    old_messages_beside(2);
}

#[test]
fn who_reads_gets_messages_while_others_hold_the_memory() {
    const CONNECTIONS: usize = 40;
    const PULLS: usize = 60;
    const BODY_BYTES: usize = 200_000;
    process::raise_open_files().unwrap();
    let broker = OurBroker::standalone(&[("shards", "1"), ("memoryBudgetMiB", "128")]);
    let addr = broker.broker_addr();
    let mut connection = connect(addr, PATIENCE);
    for topic in ["large", "small"] {
        connection.create_topic(&NewTopic::new(topic, 2)).unwrap();
    }
    connection.create_group(GROUP).unwrap();
    for queue in 0..2 {
        connection.send(&Message::new("large", queue, &[b'y'; BODY_BYTES])).unwrap();
    }
    let _streams = ask_unread(addr, CONNECTIONS, PULLS, "large");
    let (mut longest, mut pulls, mut kept, began) = (Duration::ZERO, 0, 0, Instant::now());
    while pulls == 0 || began.elapsed() < WATCHED {
        let asked = Instant::now();
        let sent = connection.send(&Message::new("small", 0, b"as always")).unwrap();
        let pull = PullRequest::new(GROUP, "small", 0, sent.queue_offset);
        let pulled = connection.pull(&pull).unwrap();
        longest = longest.max(asked.elapsed());
        assert_eq!(pulled.messages.len(), 1, "{pull:?}");
        pulls += 1;
        kept += usize::from(is_kept_back(&mut connection));
    }
    println!("{pulls} pulls, at most {longest:?}; large messages were kept back {kept} times");
    assert!(longest < WAIT_MAX, "{longest:?}");
    assert!(kept > 0, "the memory was never taken up");
}

/// Asks for a large message, and says whether it is kept from a connection that has read everything: then the answer
/// waits, and says why.
fn is_kept_back(connection: &mut Connection) -> bool {
    let asked = Instant::now();
    let pull = PullRequest::new(GROUP, "large", 0, 0).parked(PATIENCE);
    let ticket = connection.start_pull(&pull).unwrap();
    let answer = connection.finish(ticket).unwrap();
    if answer.code == response::SUCCESS {
        return false;
    }
    let remark = answer.remark.unwrap_or_default();
    assert_eq!(answer.code, response::PULL_NOT_FOUND, "{remark}");
    let says = ["CONNECTION_CLOGGED", "unread=0", "key=memoryBudgetMiB"];
    assert!(says.iter().all(|part| remark.contains(part)), "{remark}");
    assert!(asked.elapsed() >= Duration::from_millis(150), "{:?}", asked.elapsed());
    true
}
