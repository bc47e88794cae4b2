//! Goal: bytes of enemies and of careless clients cost nobody else anything. Method: 50 connections misbehave in turn in
//! every way we could think of for `RINGMQ_HOSTILE_SECONDS` (5 unless set otherwise) while a well-behaved client sends
//! and pulls; then floods without reading, consumers that never read, 5,000 idle connections, a table of 50,000 topics that
//! everybody asks for. After each: process alive, no panic in its log, resident memory bounded.
//!
//! What the others cost the well-behaved client is measured in CPU time that the broker spends between its request and
//! its answer: work that was done before its turn came. Unlike a latency that says the same on a machine that is busy
//! with other things. Latencies are printed, and bounded when `RINGMQ_HOSTILE_SECONDS` asks for a measurement.

use std::collections::VecDeque;
use std::fmt::{Display, Formatter};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{ClientError, Connection, Message, NewTopic, PullRequest, PullStatus};
use fastrand::Rng;
use loadtest::harness::{bystander, ledger::runtime_info, our_broker::OurBroker, raw};
use loadtest::load::idle::{self, Idle};
use loadtest::load::process;
use loadtest::load::report::Latency;
use proto::command::ExtValue;
use proto::frame::HeaderKind;

const ATTACKERS: usize = 50;
const TOPIC: &str = "calm-waters";
const QUEUES: i32 = 4;
/// Memory that a test may cost: for each of 20 peers that do not read, two buffers of unsent answers (512 KiB and one
/// answer of 256 KiB more, in vectors that double), 512 KiB and one answer on the way, and half a read of 256 KiB; and
/// what the well-behaved client leaves in the tail cache.
const GROWTH_BYTES_MAX: u64 = 96 << 20;
const OVERLOAD_BODY_BYTES: usize = 64 << 10;
const IDLE_CONNECTIONS: usize = 5000;
const IDLE_BYTES_MAX: u64 = 100_000_000;
/// CPU time that the broker may spend on others while a well-behaved client waits for two answers. A busy machine leaves
/// a hundred rounds, of which some are long because the client itself had to wait for its core.
const WORK_P95_MAX: Duration = Duration::from_millis(1000);
const WORK_MAX: Duration = Duration::from_secs(5);
/// Latencies of a measurement on a quiet machine; generous, because attackers and broker share few cores.
const LATENCY_P99_MAX: Duration = Duration::from_millis(1000);
const LATENCY_MAX: Duration = Duration::from_secs(5);
/// Rounds of the well-behaved client, at least.
const ROUNDS_MIN: u64 = 100;

#[test]
fn hostile_bytes_cost_nobody_else_anything() {
    let broker = start(&[("shards", "2")]);
    behave(&broker, &until_elapsed(Duration::from_secs(1)));
    let before = process::memory(broker.pid()).unwrap();
    let encoded_before = entries_encoded(&broker);
    let seconds = std::env::var("RINGMQ_HOSTILE_SECONDS").ok().and_then(|text| text.parse().ok());
    let stop = until_elapsed(Duration::from_secs(seconds.unwrap_or(5)));
    let addr = broker.broker_addr();
    let asked_for_tables = AtomicU64::new(0);
    let (rounds, cpu) = std::thread::scope(|scope| {
        let cpu_before = process::cpu_seconds(broker.pid()).unwrap();
        for seed in 0..ATTACKERS {
            let (stop, asked_for_tables) = (&stop, &asked_for_tables);
            scope.spawn(move || attack(addr, seed as u64, stop, asked_for_tables));
        }
        let rounds = behave(&broker, &stop);
        (rounds, process::cpu_seconds(broker.pid()).unwrap() - cpu_before)
    });
    std::thread::sleep(Duration::from_millis(500));
    check_health(&broker, before.resident_bytes);
    let encoded = entries_encoded(&broker) - encoded_before;
    let asked_for_tables = asked_for_tables.into_inner();
    println!(
        "hostile: {rounds}; the broker worked {cpu:.1} s; {asked_for_tables} questions for tables encoded \
         {encoded} entries"
    );
    rounds.check();
    // Few topics and groups come into being meanwhile, and each makes a part of its table stale.
    assert!(encoded < 10_000 && encoded < asked_for_tables.max(1_000), "{encoded}");
    if seconds.is_some() {
        rounds.check_latency();
    }
}

/// Everybody asks for a table of 50,000 topics, nobody reads it in time, and topics change meanwhile: others are served, no
/// answer is older than its question, the table is encoded once, and no asker costs more than what is on its way to it.
#[test]
fn a_large_table_that_everybody_asks_for_stops_nobody() {
    const TOPICS: usize = 50_000;
    const ASKERS: usize = 20;
    const ASKED_EACH: usize = 20;
    let broker = start(&[("shards", "2")]);
    let addr = broker.broker_addr();
    create_topics(addr, TOPICS);
    let before = process::memory(broker.pid()).unwrap();
    let encoded_before = entries_encoded(&broker);
    let done = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..ASKERS)
            .map(|asker| {
                scope.spawn(move || {
                    let mut connection = connect(addr);
                    connection.set_timeout(Duration::from_secs(120));
                    let ask = proto::code::request::GET_ALL_TOPIC_CONFIG;
                    let new = format!("seen-by-{asker}");
                    connection.create_topic(&NewTopic::new(&new, 1)).unwrap();
                    let asked: Vec<_> =
                        (0..ASKED_EACH).map(|_| connection.start(ask, &[], &[]).unwrap()).collect();
                    std::thread::sleep(Duration::from_millis(500));
                    for ticket in asked {
                        let body = connection.finish(ticket).unwrap().success().unwrap().body;
                        let seen = body.windows(new.len()).any(|part| part == new.as_bytes());
                        assert!(
                            seen && body.len() > TOPICS * 100,
                            "an answer is older than its question"
                        );
                    }
                })
            })
            .collect();
        let rounds = scope.spawn(|| behave(&broker, &|| done.load(Ordering::Relaxed)));
        askers.into_iter().for_each(|asker| asker.join().unwrap());
        done.store(true, Ordering::Relaxed);
        rounds.join().unwrap()
    });
    let encoded = entries_encoded(&broker) - encoded_before;
    println!("large table: {} answers encoded {encoded} entries; {rounds}", ASKERS * ASKED_EACH);
    rounds.check();
    // The whole table once, and for each topic that came into being a 256th of it.
    assert!(encoded <= (TOPICS + TOPICS / 2) as u64, "{encoded}");
    // Two versions of the table besides what a test may cost.
    check_health(&broker, before.resident_bytes + 20_000_000);
}

fn create_topics(addr: SocketAddr, count: usize) {
    let mut connection = connect(addr);
    let mut under_way = VecDeque::new();
    for number in 0..count {
        if under_way.len() == 512 {
            let first = under_way.pop_front().unwrap();
            connection.finish(first).unwrap().success().unwrap();
        }
        let name = format!("one-of-many-{number}");
        let ext = [
            ("topic", name.as_str().into()),
            ("defaultTopic", "TBW102".into()),
            ("readQueueNums", 1.into()),
            ("writeQueueNums", 1.into()),
            ("perm", 6.into()),
            ("topicFilterType", "SINGLE_TAG".into()),
            ("topicSysFlag", 0.into()),
            ("order", false.into()),
        ];
        let code = proto::code::request::UPDATE_AND_CREATE_TOPIC;
        under_way.push_back(connection.start(code, &ext, &[]).unwrap());
    }
    for ticket in under_way {
        connection.finish(ticket).unwrap().success().unwrap();
    }
}

/// Entries of tables that answers have cost the broker so far.
fn entries_encoded(broker: &OurBroker) -> u64 {
    let mut connection = connect(broker.broker_addr());
    runtime_info(&mut connection, "ringmq.tableEntriesEncoded").parse().unwrap()
}

#[test]
fn five_thousand_idle_connections_cost_less_than_100_mb() {
    let broker = start(&[("shards", "2")]);
    let idle = Idle {
        addr: broker.broker_addr(),
        connections: IDLE_CONNECTIONS,
        touch: true,
        hold: Duration::from_secs(1),
        broker_pid: broker.pid(),
    };
    let report = idle::run(&idle).unwrap();
    println!("{report}");
    assert!(report.growth_bytes() < IDLE_BYTES_MAX, "{report}");
    check_health(&broker, report.before.resident_bytes + IDLE_BYTES_MAX);
}

#[test]
fn a_flood_without_reading_is_throttled() {
    let broker = start(&[("shards", "1")]);
    let addr = broker.broker_addr();
    behave(&broker, &until_elapsed(Duration::from_millis(300)));
    let before = process::memory(broker.pid()).unwrap();
    let body = vec![b'x'; 256];
    let request = raw::frame(310, &send_fields(TOPIC), &body);
    let stop = until_elapsed(Duration::from_secs(3));
    let (taken, rounds) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| pour(addr, &request, Duration::from_millis(1500), 1 << 30));
        let rounds = behave(&broker, &stop);
        (flood.join().unwrap(), rounds)
    });
    println!("flood: {taken} bytes were taken before the broker stopped reading; {rounds}");
    rounds.check();
    assert!(taken < 1 << 30, "a connection that reads no answer was never throttled");
    // What was taken may be kept: it is stored, and the latest of it stays in the tail cache.
    check_health(&broker, before.resident_bytes + taken as u64);
}

#[test]
fn a_shard_that_is_full_refuses_with_numbers() {
    const SENDERS: usize = 6;
    let keys = [
        ("shards", "1"),
        ("maxMessageSize", "131072"),
        ("connectionInflightBytesMax", "1048576"),
        ("shardInflightBytesMax", "1048576"),
    ];
    let broker = start(&keys);
    let addr = broker.broker_addr();
    let before = process::memory(broker.pid()).unwrap();
    let (accepted, remarks) = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(move || overload(addr))).collect();
        let parts = senders.into_iter().map(|sender| sender.join().unwrap());
        parts.fold((0, Vec::new()), |(sum, mut all), (accepted, remarks)| {
            all.extend(remarks);
            (sum + accepted, all)
        })
    });
    println!("overload: {accepted} accepted, {} refused: {:?}", remarks.len(), remarks.first());
    assert!(accepted > 0, "a full shard still makes progress");
    assert!(!remarks.is_empty(), "{SENDERS} MiB in flight fit into a limit of 1 MiB");
    for remark in &remarks {
        for part in ["shard=", "reason=", "inflight=", "limit="] {
            assert!(remark.contains(part), "`{part}` is missing in: {remark}");
        }
    }
    check_health(&broker, before.resident_bytes + accepted * OVERLOAD_BODY_BYTES as u64);
}

/// Sends with 1 MiB in flight; returns how many were accepted, and why the others were not.
fn overload(addr: SocketAddr) -> (u64, Vec<String>) {
    let mut connection = connect(addr);
    let body = vec![b'x'; OVERLOAD_BODY_BYTES];
    let message = Message::new(TOPIC, 0, &body);
    let mut remarks = Vec::new();
    let mut accepted = 0;
    for _ in 0..20 {
        let tickets: Vec<_> = (0..16).map(|_| connection.start_send(&message).unwrap()).collect();
        for ticket in tickets {
            match connection.finish_send(ticket) {
                Ok(_) => accepted += 1,
                Err(ClientError::Refused { code: 2, remark }) => remarks.push(remark),
                Err(error) => panic!("{error}"),
            }
        }
    }
    (accepted, remarks)
}

#[test]
fn consumers_that_never_read_hold_no_memory() {
    const STUCK: usize = 20;
    let broker = start(&[("shards", "2")]);
    let addr = broker.broker_addr();
    let mut connection = connect(addr);
    let body = vec![b'y'; 4 << 10];
    for round in 0..64 {
        let messages: Vec<Message<'_>> =
            (0..64).map(|_| Message::new(TOPIC, round % QUEUES, &body)).collect();
        connection.send_batch(&messages).unwrap();
    }
    let before = process::memory(broker.pid()).unwrap();
    let pulls: Vec<u8> = (0..QUEUES).flat_map(|queue| raw::pull(TOPIC, queue, 32)).collect();
    let stop = until_elapsed(Duration::from_secs(3));
    let rounds = std::thread::scope(|scope| {
        for _ in 0..STUCK {
            scope.spawn(|| pour(addr, &pulls, Duration::from_millis(2500), 2 << 20));
        }
        behave(&broker, &stop)
    });
    println!("stuck consumers: {rounds}");
    rounds.check();
    check_health(&broker, before.resident_bytes);
}

/// The broker and the topic of the well-behaved client. The limit of open files is inherited by the broker.
fn start(keys: &[(&str, &str)]) -> OurBroker {
    process::raise_open_files().unwrap();
    let broker = OurBroker::standalone(keys);
    connect(broker.broker_addr()).create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    broker
}

fn connect(addr: SocketAddr) -> Connection {
    Connection::connect_patiently(addr, Duration::from_secs(10)).unwrap()
}

/// A flag that a thread raises after a while; good for scopes of several threads.
fn until_elapsed(duration: Duration) -> impl Fn() -> bool + Sync {
    let end = Instant::now() + duration;
    let over = AtomicBool::new(false);
    move || {
        if Instant::now() >= end {
            over.store(true, Ordering::Relaxed);
        }
        over.load(Ordering::Relaxed)
    }
}

/// Alive, answering, without a panic, and not grown beyond `bytes` plus the allowance.
fn check_health(broker: &OurBroker, bytes: u64) {
    let log = broker.log();
    assert!(!log.contains("panicked"), "{log}");
    connect(broker.broker_addr()).max_offset(TOPIC, 0).unwrap();
    let now = process::memory(broker.pid()).unwrap().resident_bytes;
    println!("resident: {} KiB, at the start {} KiB", now >> 10, bytes >> 10);
    assert!(now < bytes.saturating_add(GROWTH_BYTES_MAX), "grew from {bytes} to {now} bytes");
}

/// What the rounds of a well-behaved client took.
struct Rounds {
    latency: Latency,
    /// CPU time that the broker spent from the first request of a round to its last answer.
    work: Latency,
}

impl Rounds {
    fn check(&self) {
        assert!(self.work.micros_at(0.95) < WORK_P95_MAX.as_micros() as f64, "{self}");
        assert!(self.work.micros_max() < WORK_MAX.as_micros() as f64, "{self}");
    }

    fn check_latency(&self) {
        assert!(self.latency.micros_at(0.99) < LATENCY_P99_MAX.as_micros() as f64, "{self}");
        assert!(self.latency.micros_max() < LATENCY_MAX.as_micros() as f64, "{self}");
    }
}

impl Display for Rounds {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} well-behaved rounds", self.latency.count())?;
        for (name, figures) in [("latency", &self.latency), ("work of the broker", &self.work)] {
            let [p50, p99] = [0.5, 0.99].map(|share| figures.micros_at(share));
            write!(
                f,
                ", {name} p50 {p50:.0} us, p99 {p99:.0} us, max {:.0} us",
                figures.micros_max()
            )?;
        }
        Ok(())
    }
}

/// Sends a message and pulls it back, again and again; asserts that it is the same one. Each answer comes before the
/// client's own deadline of ten seconds.
fn behave(broker: &OurBroker, stop: &dyn Fn() -> bool) -> Rounds {
    let mut connection = connect(broker.broker_addr());
    let mut rounds = Rounds { latency: Latency::new(), work: Latency::new() };
    let worked = || (process::cpu_seconds(broker.pid()).unwrap() * 1e9) as u64;
    let mut number = 0u64;
    while !stop() || number < ROUNDS_MIN {
        let queue = (number % QUEUES as u64) as i32;
        let body = format!("calm {number} {}", "~".repeat((number % 300) as usize));
        let (started, worked_before) = (Instant::now(), worked());
        let message = Message::new(TOPIC, queue, body.as_bytes());
        let sent = bystander::until_taken(Duration::from_millis(1), || connection.send(&message));
        let pull = PullRequest::new("calm-group", TOPIC, queue, sent.queue_offset);
        let pulled = bystander::until_taken(Duration::from_millis(1), || connection.pull(&pull));
        rounds.latency.record(started.elapsed().as_nanos() as u64);
        rounds.work.record(worked() - worked_before);
        assert_eq!(
            pulled.status,
            PullStatus::Found,
            "message {number} was acknowledged and cannot be read"
        );
        let first = pulled.messages.first().expect("FOUND has a message");
        assert_eq!(
            (first.queue_offset, first.body.as_slice()),
            (sent.queue_offset, body.as_bytes())
        );
        number += 1;
    }
    assert_eq!(connection.strays(), 0);
    rounds
}

/// One misbehaving connection after the other.
fn attack(addr: SocketAddr, seed: u64, stop: &dyn Fn() -> bool, asked_for_tables: &AtomicU64) {
    let mut random = Rng::with_seed(seed);
    let codes: Vec<i32> =
        (0..250_000).filter(|&code| proto::code::request::name(code).is_some()).collect();
    while !stop() {
        let Ok(stream) = TcpStream::connect(addr) else { continue };
        let _ = stream.set_nodelay(true);
        let _ = stream.set_write_timeout(Some(Duration::from_millis(300)));
        let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
        // Every error here is the broker's good right: it hangs up on us.
        let _ = match random.u32(0..7) {
            0 => random_bytes(stream, &mut random),
            1 => lying_lengths(stream, &mut random),
            2 => drip(stream, &mut random, stop),
            3 => half_close(stream, &mut random, &codes),
            4 => never_read(stream, &mut random, &codes, asked_for_tables),
            _ => mutated_frames(stream, &mut random, &codes),
        };
    }
}

fn random_bytes(mut stream: TcpStream, random: &mut Rng) -> std::io::Result<()> {
    let bytes: Vec<u8> = (0..random.usize(1..20_000)).map(|_| random.u8(..)).collect();
    stream.write_all(&bytes)?;
    drain(&mut stream)
}

/// Frames whose length words promise more, less or nonsense.
fn lying_lengths(mut stream: TcpStream, random: &mut Rng) -> std::io::Result<()> {
    const LENGTHS: [u32; 12] = [
        0,
        1,
        3,
        4,
        5,
        1 << 24,
        (1 << 24) + 1,
        0x7fff_ffff,
        0x8000_0000,
        u32::MAX - 4,
        u32::MAX - 3,
        u32::MAX,
    ];
    let length = LENGTHS[random.usize(..LENGTHS.len())];
    let header_word =
        if random.bool() { random.u32(..) } else { LENGTHS[random.usize(..LENGTHS.len())] };
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&header_word.to_be_bytes())?;
    let some: Vec<u8> = (0..random.usize(0..100_000)).map(|_| random.u8(..)).collect();
    stream.write_all(&some)?;
    drain(&mut stream)
}

/// A valid frame, byte by byte; often we leave in the middle.
fn drip(mut stream: TcpStream, random: &mut Rng, stop: &dyn Fn() -> bool) -> std::io::Result<()> {
    let request = raw::frame(31, &[("topic", TOPIC.into()), ("queueId", 0.into())], &[]);
    let pause = Duration::from_millis(random.u64(1..20));
    for byte in request {
        if stop() || random.u32(0..300) == 0 {
            return Ok(());
        }
        stream.write_all(&[byte])?;
        std::thread::sleep(pause);
    }
    drain(&mut stream)
}

/// Requests, then no more from our side; the answers may still come.
fn half_close(mut stream: TcpStream, random: &mut Rng, codes: &[i32]) -> std::io::Result<()> {
    for _ in 0..random.usize(1..50) {
        stream.write_all(&any_request(random, codes))?;
    }
    stream.shutdown(Shutdown::Write)?;
    if random.bool() { drain(&mut stream) } else { Ok(()) }
}

/// Requests with large answers, none of which we read.
fn never_read(
    mut stream: TcpStream,
    random: &mut Rng,
    codes: &[i32],
    asked_for_tables: &AtomicU64,
) -> std::io::Result<()> {
    let tables = random.bool();
    let request = if tables { raw::frame(21, &[], &[]) } else { any_request(random, codes) };
    for _ in 0..2000 {
        stream.write_all(&request)?;
        asked_for_tables.fetch_add(u64::from(tables), Ordering::Relaxed);
    }
    std::thread::sleep(Duration::from_millis(random.u64(0..500)));
    Ok(())
}

/// Valid requests of any code with a few bytes changed.
fn mutated_frames(mut stream: TcpStream, random: &mut Rng, codes: &[i32]) -> std::io::Result<()> {
    for _ in 0..random.usize(1..100) {
        let mut request = any_request(random, codes);
        for _ in 0..random.usize(0..6) {
            // The length word stays mostly right, so that the broker looks behind it.
            let from = if random.u32(0..10) == 0 { 0 } else { 4 };
            let at = random.usize(from..request.len());
            request[at] =
                if random.bool() { random.u8(..) } else { request[at] ^ (1 << random.u32(0..8)) };
        }
        stream.write_all(&request)?;
    }
    drain(&mut stream)
}

/// A request of any known code with fields that many handlers look at, some of them absurd.
fn any_request(random: &mut Rng, codes: &[i32]) -> Vec<u8> {
    const NUMBERS: [&str; 9] = [
        "0",
        "1",
        "-1",
        "7",
        "2147483647",
        "-2147483648",
        "9223372036854775807",
        "99999999999999999999",
        "x",
    ];
    const NAMES: [&str; 8] = [
        "hostile",
        "",
        "%RETRY%hostile",
        "TBW102",
        "a b",
        "\u{1}\u{2}",
        "\u{1F41A}",
        "SCHEDULE_TOPIC_XXXX",
    ];
    const FIELDS: [&str; 30] = [
        "a",
        "b",
        "c",
        "d",
        "e",
        "f",
        "g",
        "h",
        "i",
        "j",
        "k",
        "l",
        "m",
        "n",
        "topic",
        "consumerGroup",
        "producerGroup",
        "group",
        "queueId",
        "queueOffset",
        "maxMsgNums",
        "sysFlag",
        "commitOffset",
        "suspendTimeoutMillis",
        "subscription",
        "offset",
        "timestamp",
        "clientID",
        "properties",
        "bornTimestamp",
    ];
    let code = codes[random.usize(..codes.len())];
    let mut ext: Vec<(&str, ExtValue<'_>)> = Vec::new();
    for field in FIELDS {
        // The default topic never fits, so that no topics are created by the thousand.
        let names =
            field == "b" || field == "topic" || field.ends_with("roup") || field == "clientID";
        let value = if field == "c" {
            "none"
        } else if names {
            NAMES[random.usize(..NAMES.len())]
        } else {
            NUMBERS[random.usize(..NUMBERS.len())]
        };
        if random.u32(0..8) > 0 {
            ext.push((field, value.into()));
        }
    }
    let body: Vec<u8> = match random.u32(0..4) {
        0 => Vec::new(),
        1 => (0..random.usize(0..3000)).map(|_| random.u8(..)).collect(),
        2 => b"{\"clientID\":\"x\",\"consumerDataSet\":[{\"groupName\":\"hostile\",\"subscriptionDataSet\":[{}]}]}".to_vec(),
        _ => [b"[".repeat(random.usize(1..5000)), b"{\"a\":".repeat(random.usize(0..3000))].concat(),
    };
    let kind = if random.bool() { HeaderKind::Json } else { HeaderKind::Rocketmq };
    raw::frame_as(kind, code, random.u32(0..10) == 0, &ext, &body)
}

/// Writes `request` until nothing is taken for `patience`, or `bytes_max` were; reads nothing. Returns bytes taken.
fn pour(addr: SocketAddr, request: &[u8], patience: Duration, bytes_max: usize) -> usize {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_write_timeout(Some(patience)).unwrap();
    let many = request.repeat((64 << 10) / request.len() + 1);
    let mut taken = 0;
    while taken < bytes_max {
        match stream.write(&many[taken % request.len()..]) {
            Ok(bytes) => taken += bytes,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            // Hanging up on us is an answer too.
            Err(_) => break,
        }
    }
    std::thread::sleep(patience.min(Duration::from_millis(500)));
    taken
}

fn drain(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut chunk = [0; 16 << 10];
    while stream.read(&mut chunk)? > 0 {}
    Ok(())
}

fn send_fields(topic: &str) -> [(&'static str, ExtValue<'_>); 11] {
    [
        ("a", "flood".into()),
        ("b", topic.into()),
        ("c", "TBW102".into()),
        ("d", QUEUES.into()),
        ("e", 0.into()),
        ("f", 0.into()),
        ("g", 1_700_000_000_000i64.into()),
        ("h", 0.into()),
        ("i", "WAIT\u{1}true".into()),
        ("k", false.into()),
        ("m", false.into()),
    ]
}
