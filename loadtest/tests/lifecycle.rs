//! Goal: starting, stopping and failing to start, as an operator sees them. Method: SIGTERM under load and a look at
//! what is there afterwards; a second broker on the same directory or port; a configuration with several mistakes;
//! twenty thousand connections that come and go.

use std::{
    net::{SocketAddr, TcpStream},
    process::{Command, Output},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use client::{Connection, Message, NewTopic, PullRequest, PullStatus};
use loadtest::harness::{
    our_broker::{self, OurBroker},
    wait_until,
};
use loadtest::java_peer::free_ports;
use loadtest::load::process;

const TOPIC: &str = "life";
const QUEUES: i32 = 4;
const GROUP: &str = "life-readers";
/// What happens soon on a quiet machine; on a busy one it may take its time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Acknowledgements before a stop: enough load to mean something.
const ACKED_MIN: u64 = 1_000;

fn connect(addr: SocketAddr) -> Connection {
    Connection::connect_patiently(addr, Duration::from_secs(10)).unwrap()
}

fn end_of(connection: &mut Connection, queue: i32) -> i64 {
    connection.max_offset(TOPIC, queue).unwrap()
}

/// Sends until the broker hangs up, 32 in flight; returns how many were acknowledged per queue, and those that were
/// sent and never answered.
fn send_until_closed(addr: SocketAddr, acked: &[AtomicU64]) -> usize {
    let mut connection = connect(addr);
    let mut number = 0;
    loop {
        while connection.in_flight() < 32 {
            let queue = number % QUEUES;
            number += 1;
            if connection.start_send(&Message::new(TOPIC, queue, b"some message")).is_err() {
                return connection.in_flight();
            }
        }
        match connection.finish_any() {
            Ok((_, answer)) => match client::send::sent(answer) {
                Ok(sent) => {
                    acked[sent.queue_id as usize].fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => panic!("a send was refused: {error}"),
            },
            Err(_) => return connection.in_flight(),
        }
    }
}

#[test]
fn a_stop_under_load_ends_in_order_and_loses_nothing() {
    for flush in ["SYNC_FLUSH", "ASYNC_FLUSH"] {
        let mut broker = OurBroker::standalone(&[("shards", "2"), ("flushDiskType", flush)]);
        let addr = broker.broker_addr();
        let mut connection = connect(addr);
        connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
        connection.create_group(GROUP).unwrap();
        let acked: Vec<AtomicU64> = (0..QUEUES).map(|_| AtomicU64::new(0)).collect();
        // A long poll that is open when the broker stops, and a peer that never reads.
        let mut waiting = connect(addr);
        let end = PullRequest::new(GROUP, TOPIC, 0, i64::MAX / 2).parked(Duration::from_secs(60));
        let _ = waiting.start_pull(&end);
        let (took, status) = std::thread::scope(|scope| {
            let senders: Vec<_> =
                (0..4).map(|_| scope.spawn(|| send_until_closed(addr, &acked))).collect();
            let total = || acked.iter().map(|acked| acked.load(Ordering::Relaxed)).sum::<u64>();
            assert!(wait_until(PATIENCE, || total() >= ACKED_MIN), "{} acknowledged", total());
            for queue in 0..QUEUES {
                connection.commit_offset(GROUP, TOPIC, queue, i64::from(queue) + 1).unwrap();
            }
            let started = Instant::now();
            let status = broker.stop();
            let took = started.elapsed();
            senders.into_iter().for_each(|sender| {
                sender.join().unwrap();
            });
            (took, status)
        });
        let log = broker.log_tail();
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{log}");
        assert!(!log.contains("panicked") && !log.contains("without an answer"), "{log}");
        broker.restart();
        let mut connection = connect(addr);
        let mut total = 0;
        for queue in 0..QUEUES {
            let acked = acked[queue as usize].load(Ordering::Relaxed);
            let end = end_of(&mut connection, queue) as u64;
            assert!(
                end >= acked,
                "{flush} queue {queue}: {acked} were acknowledged, {end} are there"
            );
            total += acked;
            let offset = connection.consumer_offset(GROUP, TOPIC, queue).unwrap();
            assert_eq!(offset, i64::from(queue) + 1, "the committed offset of queue {queue}");
            let last = PullRequest::new(GROUP, TOPIC, queue, end as i64 - 1);
            assert_eq!(connection.pull(&last).unwrap().status, PullStatus::Found);
        }
        println!("stop: {flush} {took:?} under load, {total} acknowledged, none lost");
    }
}

#[test]
fn an_idle_broker_stops_and_again_serves_what_it_had() {
    let mut broker = OurBroker::standalone(&[("shards", "2")]);
    let addr = broker.broker_addr();
    let mut connection = connect(addr);
    connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    for round in 1..=3 {
        for queue in 0..QUEUES {
            connection.send(&Message::new(TOPIC, queue, b"kept")).unwrap();
        }
        let started = Instant::now();
        let status = broker.stop();
        let took = started.elapsed();
        assert!(status.is_some_and(|status| status.success()), "{}", broker.log_tail());
        broker.restart();
        println!("restart {round}: stop {took:?}, boot {:?}", broker.boot_time());
        connection = connect(addr);
        for queue in 0..QUEUES {
            assert_eq!(end_of(&mut connection, queue), round);
        }
    }
}

/// Runs a broker that must not start, with these lines of configuration.
fn fail_to_start(lines: &[(&str, String)]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker.conf");
    let text: String = lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    std::fs::write(&file, text).unwrap();
    let mut broker = Command::new(our_broker::binary());
    broker.arg("--standalone").arg("-c").arg(file).env_remove("NAMESRV_ADDR");
    broker.env("HOME", dir.path()).output().unwrap()
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn a_second_broker_gets_a_clear_error() {
    let broker = OurBroker::standalone(&[]);
    let data = broker.dir().join("data").display().to_string();
    let port = broker.broker_addr().port().to_string();
    let free = free_ports(4) + 2;
    let same_directory = fail_to_start(&[
        ("storePathRootDir", data.clone()),
        ("listenPort", free.to_string()),
        ("standaloneNamesrvPort", (free - 1).to_string()),
    ]);
    let text = text_of(&same_directory);
    assert_eq!(same_directory.status.code(), Some(3), "{text}");
    assert!(text.contains(&data) && text.contains("lock"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let same_port = fail_to_start(&[
        ("storePathRootDir", dir.path().display().to_string()),
        ("listenPort", port.clone()),
        ("standaloneNamesrvPort", (free - 1).to_string()),
    ]);
    let text = text_of(&same_port);
    assert_eq!(same_port.status.code(), Some(4), "{text}");
    assert!(text.contains(&port) && text.contains("in use"), "{text}");
    connect(broker.broker_addr()).runtime_info().unwrap();
}

#[test]
fn all_mistakes_of_a_configuration_are_listed() {
    let output = fail_to_start(&[
        ("listenPort", "70000".to_owned()),
        ("flushDiskType", "SOMETIMES_FLUSH".to_owned()),
        ("defaultTopicQueueNums", "many".to_owned()),
    ]);
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for key in ["listenPort", "flushDiskType", "defaultTopicQueueNums"] {
        assert!(text.contains(key), "{key} is missing in:\n{text}");
    }
    let missing =
        Command::new(our_broker::binary()).args(["-c", "/no/such/file"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2), "{}", text_of(&missing));
    assert!(text_of(&missing).contains("/no/such/file"), "{}", text_of(&missing));
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    const THREADS: usize = 4;
    const EACH: usize = 5_000;
    process::raise_open_files().unwrap();
    let broker = OurBroker::standalone(&[("shards", "2")]);
    let addr = broker.broker_addr();
    let mut connection = connect(addr);
    connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    let come_and_go = |each: usize| {
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(move || {
                    for number in 0..each {
                        if number % 10 > 0 {
                            drop(TcpStream::connect(addr).unwrap());
                            continue;
                        }
                        let mut visitor = connect(addr);
                        for queue in 0..QUEUES {
                            let pull = PullRequest::new(GROUP, TOPIC, queue, 0);
                            let _ =
                                visitor.start_pull(&pull.parked(Duration::from_secs(50))).unwrap();
                        }
                    }
                });
            }
        });
    };
    let files = || std::fs::read_dir(format!("/proc/{}/fd", broker.pid())).unwrap().count();
    come_and_go(EACH / 10);
    std::thread::sleep(Duration::from_millis(500));
    let before = (files(), process::memory(broker.pid()).unwrap().resident_bytes);
    come_and_go(EACH);
    let closed = wait_until(PATIENCE, || files() <= before.0 + 4);
    assert!(closed, "{} files are open, {} were before", files(), before.0);
    let after = process::memory(broker.pid()).unwrap().resident_bytes;
    println!(
        "{} connections came and went: {} KiB before, {} KiB after, {} open files",
        THREADS * EACH,
        before.1 >> 10,
        after >> 10,
        files()
    );
    assert!(after < before.1 + (8 << 20), "grew from {} to {after} bytes", before.1);
    connection.runtime_info().unwrap();
}
