//! Goal: whatever one client does to a core, the others on that core are served meanwhile. Method: one shard, a client that
//! sends, pulls and shows that it lives, and beside it one storm of each kind that a core has to share itself out under.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use client::{Message, NewTopic, PullRequest};
use loadtest::{
    harness::{bystander, connect, ledger::runtime_info, our_broker::OurBroker},
    load::process,
};
use rustix::net::sockopt::set_socket_linger;

/// Nobody waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the client beside may wait on a machine that is busy with other tests. On a quiet one it waits for milliseconds.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// How long a storm lasts.
const STORM: Duration = Duration::from_secs(4);

/// One shard, a small tail cache, small segments: old messages come from the disk, and indexes are merged all the time.
fn start() -> OurBroker {
    process::raise_open_files().unwrap();
    OurBroker::standalone(&[
        ("shards", "1"),
        ("maxMessageSize", "65536"),
        ("tailCacheMiB", "1"),
        ("mappedFileSizeCommitLog", "4194304"),
        ("shardIndexEntriesMax", "1000"),
    ])
}

/// A storm does one thing again and again until it is over, and counts how often.
type Storm<'a> = &'a (dyn Fn(&AtomicBool) -> u64 + Sync);

/// Watches a client beside this many storms of a kind.
fn beside(broker: &OurBroker, what: &str, storms: usize, storm: Storm<'_>) {
    let addr = broker.broker_addr();
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let waits = std::thread::scope(|scope| {
        for _ in 0..storms {
            scope.spawn(|| done.fetch_add(storm(&over), Ordering::Relaxed));
        }
        let beside = scope.spawn(|| bystander::behave(addr, PATIENCE, &over));
        let began = Instant::now();
        while began.elapsed() < STORM && !beside.is_finished() {
            std::thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::Relaxed);
        beside.join()
    });
    let waits = waits.unwrap_or_else(|_| panic!("{what}: {}", broker.log_tail()));
    let done = done.load(Ordering::Relaxed);
    println!("{what}: {done} beside {waits:?}");
    assert!(done > 0, "{what}: there was no storm");
    assert!(waits.messages < WAIT_MAX && waits.control < WAIT_MAX, "{what}: {waits:?}");
}

/// Keeps 500 sends in flight on one connection.
fn hot_connection(addr: SocketAddr, topic: &str, body: &[u8], over: &AtomicBool) -> u64 {
    const IN_FLIGHT: usize = 500;
    let mut connection = connect(addr, PATIENCE);
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        let key = format!("key-{sent}");
        let properties = [("KEYS", key.as_str())];
        let message = Message::new(topic, 0, body).with_properties(&properties);
        let _ = connection.start_send(&message).unwrap();
        sent += 1;
        if connection.in_flight() >= IN_FLIGHT {
            // Refused or not: it is a storm.
            let _ = connection.finish_any().unwrap();
        }
    }
    sent
}

#[test]
fn a_hot_connection_leaves_others_alone() {
    let broker = start();
    let addr = broker.broker_addr();
    connect(addr, PATIENCE).create_topic(&NewTopic::new("hot", 1)).unwrap();
    beside(&broker, "hot connections", 2, &|over| hot_connection(addr, "hot", b"small", over));
}

/// Clients that come back all at once, again and again: the queue of the listening socket is never empty.
#[test]
fn a_full_accept_queue_leaves_others_alone() {
    const AT_ONCE: usize = 400;
    let broker = start();
    let addr = broker.broker_addr();
    beside(&broker, "connections", 2, &|over| {
        let mut made = 0;
        while !over.load(Ordering::Relaxed) {
            let streams: Vec<_> = (0..AT_ONCE)
                .map_while(|_| TcpStream::connect_timeout(&addr, Duration::from_secs(1)).ok())
                .collect();
            made += streams.len() as u64;
            // They end with a reset: otherwise each would hold a port of this machine for a minute.
            for stream in &streams {
                set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
            }
        }
        made
    });
}

/// Everybody reads old messages, from the disk, and reads the answers.
#[test]
fn a_storm_of_cold_reads_leaves_others_alone() {
    const MESSAGES: i64 = 600;
    const IN_FLIGHT: usize = 8;
    let broker = start();
    let addr = broker.broker_addr();
    let mut connection = connect(addr, PATIENCE);
    connection.create_topic(&NewTopic::new("old", 1)).unwrap();
    connection.create_group("readers").unwrap();
    let body = vec![b'o'; 60_000];
    for _ in 0..MESSAGES {
        connection.send(&Message::new("old", 0, &body)).unwrap();
    }
    beside(&broker, "cold reads", 4, &|over| {
        let mut connection = connect(addr, PATIENCE);
        let mut pulls = 0;
        while !over.load(Ordering::Relaxed) {
            let offset = pulls as i64 * 37 % (MESSAGES * 3 / 4);
            let _ = connection.start_pull(&PullRequest::new("readers", "old", 0, offset)).unwrap();
            pulls += 1;
            if connection.in_flight() >= IN_FLIGHT {
                let _ = connection.finish_any().unwrap();
            }
        }
        pulls
    });
    let read = runtime_info(&mut connection, "ringmq.shard0.coldBytesRead");
    assert!(read.parse::<u64>().unwrap() > 0, "nothing came from the disk");
}

/// Segments fill one after the other, and the index of each is written and merged meanwhile.
#[test]
fn merges_of_indexes_leave_others_alone() {
    let broker = start();
    let addr = broker.broker_addr();
    let mut connection = connect(addr, PATIENCE);
    connection.create_topic(&NewTopic::new("merged", 1)).unwrap();
    let body = vec![b'm'; 200];
    beside(&broker, "sends with keys", 2, &|over| hot_connection(addr, "merged", &body, over));
    let indexes = indexes_below(broker.dir());
    assert!(indexes > 1, "{indexes} indexes of whole segments: nothing was merged");
}

/// Indexes of whole segments below a directory.
fn indexes_below(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    entries
        .map(|path| match path.is_dir() {
            true => indexes_below(&path),
            false => usize::from(path.extension().is_some_and(|extension| extension == "index")),
        })
        .sum()
}
