//! Goal: requests that are sent back to back, without waiting for answers, and answers that nobody reads cost others
//! neither memory nor time. Method: brokers with small budgets whose largest resident memory is read at the end, a
//! client that does nothing wrong and measures its longest wait meanwhile, and a stop in the middle of it all.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use client::{Message, NewTopic};
use loadtest::harness::{
    bystander::{self, Waits},
    connect,
    our_broker::OurBroker,
    raw,
};
use loadtest::load::process;
use proto::code::request;

/// Of each broker; two shards need more.
const BUDGETS_MIB: [u64; 2] = [128, 192];
/// How long a flood goes on.
const FLOOD: Duration = Duration::from_secs(8);
/// Of the client beside it; nobody waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the client beside it may wait: a machine that is busy with other tests may take this long by itself.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Until it has its topic: one request among the first of a hundred connections, which go on until they are full.
const CREATION_WAIT_MAX: Duration = Duration::from_secs(40);
/// The same while others read none of their answers: those are closed after 5 s.
const WAIT_MAX_BESIDE_UNREAD: Duration = Duration::from_secs(20);
/// New groups of each heartbeat.
const GROUPS: usize = 500;

/// Floods beside each other would be one.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn budget_mib(shards: usize) -> u64 {
    BUDGETS_MIB[shards - 1]
}

fn start(shards: usize) -> OurBroker {
    process::raise_open_files().unwrap();
    let budget = budget_mib(shards).to_string();
    OurBroker::standalone(&[("shards", &shards.to_string()), ("memoryBudgetMiB", &budget)])
}

/// A heartbeat that names groups nobody has named before.
fn heartbeat_of_new_groups(number: usize) -> Vec<u8> {
    let groups = (0..GROUPS).map(|group| format!("flood-{number}-{group}"));
    let subscriptions = r#"[{"topic":"bystander","subString":"*","subVersion":1}]"#;
    raw::frame(request::HEART_BEAT, &[], &raw::heartbeat("flood", groups, subscriptions))
}

/// Whether who sends reads the answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    Read,
    Unread,
}

/// Sends what `next` makes back to back on one connection until `stop`. Returns how many went out.
fn flood(
    addr: SocketAddr,
    answers: Answers,
    stop: &AtomicBool,
    mut next: impl FnMut(usize) -> Vec<u8>,
) -> usize {
    let Ok(mut stream) = TcpStream::connect(addr) else { return 0 };
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut reader = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        if answers == Answers::Read {
            scope.spawn(move || while matches!(reader.read(&mut [0; 64 << 10]), Ok(1..)) {});
        }
        let mut sent = 0;
        'frames: while !stop.load(Ordering::Relaxed) {
            let bytes = next(sent);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                match stream.write(rest) {
                    Ok(taken) => rest = &rest[taken..],
                    // Not read for a while.
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => break 'frames,
                }
                if stop.load(Ordering::Relaxed) {
                    break 'frames;
                }
            }
            sent += 1;
        }
        let _ = stream.shutdown(Shutdown::Both);
        sent
    })
}

/// Floods until it is told to stop, and returns how many requests went out.
type Flood = Box<dyn Fn(&AtomicBool) -> usize + Send + Sync>;

/// Watches a client beside `floods` for as long as they go on, and ends the broker in the middle of them.
fn bystander_beside(
    broker: &mut OurBroker,
    floods: Vec<Flood>,
    budget_mib: u64,
    wait_max: Duration,
) -> Waits {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (over, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let addr = broker.broker_addr();
    let (waits, sent, status) = std::thread::scope(|scope| {
        let beside = scope.spawn(|| bystander::behave(addr, PATIENCE, &over));
        let floods: Vec<_> = floods.iter().map(|flood| scope.spawn(|| flood(&ended))).collect();
        let until = Instant::now() + FLOOD;
        while Instant::now() < until && !beside.is_finished() {
            std::thread::sleep(Duration::from_millis(50));
        }
        over.store(true, Ordering::Relaxed);
        let waits = beside.join();
        let peak = process::peak_resident_bytes(broker.pid()).unwrap();
        let status = waits.is_ok().then(|| broker.stop());
        ended.store(true, Ordering::Relaxed);
        let sent: usize = floods.into_iter().map(|flood| flood.join().unwrap()).sum();
        println!("{sent} requests; {waits:?}; at most {} MiB resident; {status:?}", peak >> 20);
        (waits.map(|waits| (waits, peak)), sent, status.flatten())
    });
    let (waits, peak) = waits.unwrap_or_else(|_| panic!("{}", broker.log_tail()));
    assert!(sent > 0 && waits.rounds > 0);
    assert!(waits.creation < CREATION_WAIT_MAX, "{waits:?}");
    assert!(waits.messages < wait_max && waits.control < wait_max, "{waits:?}");
    assert!(peak >> 20 < budget_mib, "{} MiB resident", peak >> 20);
    assert!(status.is_some_and(|status| status.success()), "{status:?} {}", broker.log_tail());
    let log = broker.log();
    assert!(!log.contains("panicked"), "{log}");
    waits
}

fn heartbeats_beside(shards: usize, connections: usize) {
    let mut broker = start(shards);
    let addr = broker.broker_addr();
    let floods = (0..connections).map(|connection| {
        let next = move |sent| heartbeat_of_new_groups(connection * 1_000_000 + sent);
        Box::new(move |stop: &AtomicBool| flood(addr, Answers::Read, stop, next)) as Box<_>
    });
    bystander_beside(&mut broker, floods.collect(), budget_mib(shards), WAIT_MAX);
    let lines = broker.log().matches("parts of a heartbeat are over a limit").count();
    println!("{lines} lines of the log about it");
    assert!(lines < 100, "{lines} lines of the log say the same");
}

#[test]
fn heartbeats_of_new_groups_back_to_back_stop_nobody() {
    heartbeats_beside(1, 1);
}

/// Nearly all of them come to the control worker from another one.
#[test]
fn heartbeats_of_new_groups_on_many_connections_stop_nobody() {
    heartbeats_beside(2, 16);
}

#[test]
fn figures_of_the_broker_that_nobody_reads_stop_nobody() {
    let mut broker = start(2);
    let addr = broker.broker_addr();
    let floods = (0..100).map(|_| {
        let figures = raw::frame(request::GET_BROKER_RUNTIME_INFO, &[], &[]);
        Box::new(move |stop: &AtomicBool| flood(addr, Answers::Unread, stop, |_| figures.clone()))
            as Box<_>
    });
    bystander_beside(&mut broker, floods.collect(), budget_mib(2), WAIT_MAX_BESIDE_UNREAD);
}

#[test]
fn messages_that_nobody_reads_keep_within_the_budget() {
    const STUCK: usize = 1_000;
    let mut broker = start(1);
    let addr = broker.broker_addr();
    let mut connection = connect(addr, PATIENCE);
    connection.create_topic(&NewTopic::new("large", 1)).unwrap();
    connection.create_group("stuck").unwrap();
    let body = vec![b'y'; 200_000];
    for _ in 0..4 {
        connection.send(&Message::new("large", 0, &body)).unwrap();
    }
    let pull = raw::pull("large", 0, 1);
    // One thread for all of them: each asks for some megabytes, more than the kernel takes for it.
    let all = move |stop: &AtomicBool| {
        let streams: Vec<_> = (0..STUCK).map_while(|_| TcpStream::connect(addr).ok()).collect();
        let mut sent = 0;
        for mut stream in &streams {
            for _ in 0..40 {
                sent += usize::from(stream.write_all(&pull).is_ok());
            }
        }
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
        sent
    };
    bystander_beside(&mut broker, vec![Box::new(all)], budget_mib(1), WAIT_MAX_BESIDE_UNREAD);
}
