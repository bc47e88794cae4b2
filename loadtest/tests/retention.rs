//! Goal: a disk that fills up costs no acknowledged message and stops nobody who consumes; sends go on by themselves
//! when there is room; and old segments go under the eyes of producers and consumers without disturbing either.
//! Method: a broker on a small ext4 of its own (that takes root), filled by producers and by a file that is nobody's.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use client::{Connection, Message, NewTopic, PullRequest, PullStatus};
use loadtest::harness::{
    ledger::{Ledger, ReadBack, runtime_info},
    our_broker::OurBroker,
    program::Library,
    read_all,
    scrape::get,
    volume::Volume,
    wait_until,
};
use proto::code::{request, response};

const MIB: u64 = 1 << 20;
/// Each message waits for the disk, so that few large ones fill it sooner.
const BODY_BYTES: usize = 16_384;
const TOPIC: &str = "bulk";
const QUEUES: i32 = 8;
const GROUP: &str = "readers";
const PATIENCE: Duration = Duration::from_secs(60);
/// Messages that go to every queue of both shards.
const ROUND: usize = 4 * QUEUES as usize;

fn connect(broker: &OurBroker) -> Connection {
    Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap()
}

fn start(volume: &Volume, keys: &[(&str, &str)]) -> (OurBroker, Connection) {
    let root = volume.path().join("data").display().to_string();
    let small = [
        ("storePathRootDir", root.as_str()),
        ("shards", "2"),
        ("mappedFileSizeCommitLog", "4194304"),
        ("shardIndexEntriesMax", "1000"),
        ("maxMessageSize", "65536"),
        ("tailCacheMiB", "1"),
    ];
    let broker = OurBroker::standalone(&[&small, keys].concat());
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    (broker, connection)
}

/// Sends until the broker refuses; returns its remark.
fn fill(ledger: &mut Ledger, connection: &mut Connection) -> String {
    let refused = ledger.send(connection, 1_000_000).expect_err("the volume is small");
    assert_eq!(refused.0, response::SERVICE_NOT_AVAILABLE, "{refused:?}");
    refused.1
}

/// Waits until all offsets that were committed before are durable: commits others and sees the logs grow by them. Figures
/// are a second old when they come, so that only the third growth is certainly behind all of that.
fn await_committed_offsets(connection: &mut Connection) {
    let ends = |connection: &mut Connection| {
        [0, 1].map(|shard| {
            runtime_info(connection, &format!("ringmq.shard{shard}.logEnd")).parse::<u64>().unwrap()
        })
    };
    connection.create_group("markers").unwrap();
    for growth in 0..3 {
        let before = ends(connection);
        for queue in 0..QUEUES {
            connection.commit_offset("markers", TOPIC, queue, growth).unwrap();
        }
        let grown = wait_until(PATIENCE, || {
            ends(connection).iter().zip(&before).all(|(now, before)| now > before)
        });
        assert!(grown, "no offsets reach the logs");
    }
}

fn health(connection: &mut Connection) -> String {
    runtime_info(connection, "ringmq.health")
}

/// The story of a disk that producers fill: `closed_above` is the share of used space above which messages are refused.
fn fill_and_make_room(test: &str, closed_above: &str) -> Option<String> {
    let volume = Volume::new(test, 256 * MIB)?;
    let keys = [("cleanFileForciblyEnable", "false"), ("diskSpaceWarningLevelRatio", closed_above)];
    let (mut broker, mut connection) = start(&volume, &keys);
    volume.add_ballast(64 * MIB);
    let mut ledger = Ledger::new(TOPIC, QUEUES, BODY_BYTES);
    fill(&mut ledger, &mut connection);
    let full = wait_until(PATIENCE, || health(&mut connection).starts_with("disk-full"));
    assert!(full, "{}", broker.log_tail());
    let ready = get(broker.metrics_addr(), "/ready").unwrap();
    assert!(ready.status == 503 && ready.body.contains("disk-full"), "{ready:?}");
    assert_eq!(get(broker.metrics_addr(), "/health").unwrap().status, 200, "it lives");

    // Who consumes does not notice.
    let all = ledger.read_back(&mut connection, GROUP);
    assert_eq!((all.found, all.lost), (ledger.acked() as u64, 0), "{all:?}");
    let committed = |connection: &mut Connection| -> Vec<i64> {
        (0..QUEUES).map(|q| connection.consumer_offset(GROUP, TOPIC, q).unwrap()).collect()
    };
    let offsets = committed(&mut connection);
    connection.create_topic(&NewTopic::new("made-on-a-full-disk", 4)).unwrap();
    // Producers may be faster than the look at the disk, so that the first refusal names the log alone.
    let remark = fill(&mut ledger, &mut connection);

    // Offsets and facts reach the disk although it is full.
    await_committed_offsets(&mut connection);
    broker.kill9();
    broker.restart();
    let mut connection = connect(&broker);
    assert_eq!(committed(&mut connection), offsets);
    assert!(connection.topic_stats("made-on-a-full-disk").is_ok());
    let all = ledger.read_back(&mut connection, GROUP);
    assert_eq!(all.lost, 0, "{all:?}");
    assert!(wait_until(PATIENCE, || ledger.send(&mut connection, ROUND).is_err()));

    volume.remove_ballast();
    let started = Instant::now();
    let again = wait_until(PATIENCE, || ledger.send(&mut connection, ROUND).is_ok());
    let took = started.elapsed();
    assert!(again, "no sends {took:?} after room was made\n{}", broker.log_tail());
    ledger.send(&mut connection, 250).expect("there is room");
    assert!(
        wait_until(PATIENCE, || !health(&mut connection).starts_with("disk-full")),
        "{}",
        broker.log_tail()
    );

    assert!(broker.stop().is_some_and(|status| status.success()), "{}", broker.log_tail());
    broker.restart();
    let mut connection = connect(&broker);
    let all = ledger.read_back(&mut connection, GROUP);
    assert_eq!(all, ReadBack { found: ledger.acked() as u64, lost: 0, retired: 0 });
    println!("{test}: {} acknowledged, sends again after {took:?}, 0 lost: {remark}", all.found);
    Some(remark)
}

#[test]
fn a_disk_that_fills_up_refuses_sends_and_nothing_else() {
    let Some(remark) = fill_and_make_room("retention, nearly full", "90") else { return };
    for part in ["shard=", "disk-full", "used=", "limit=90%", "free=", "total="] {
        assert!(remark.contains(part), "{part} in {remark}");
    }
}

#[test]
fn a_disk_without_room_for_a_segment_refuses_sends_and_nothing_else() {
    let Some(remark) = fill_and_make_room("retention, no room at all", "100") else { return };
    for part in ["shard=", "disk-full", "room_left=", "reserve="] {
        assert!(remark.contains(part), "{part} in {remark}");
    }
}

#[test]
fn cleaning_that_is_switched_on_makes_room() {
    let Some(volume) = Volume::new("retention, cleaning", 160 * MIB) else { return };
    let (mut broker, mut connection) = start(&volume, &[("cleanFileForciblyEnable", "false")]);
    let mut ledger = Ledger::new(TOPIC, QUEUES, BODY_BYTES);
    fill(&mut ledger, &mut connection);
    assert!(broker.stop().is_some_and(|status| status.success()), "{}", broker.log_tail());
    broker.configure("cleanFileForciblyEnable", "true");
    broker.restart();
    let mut connection = connect(&broker);
    // The first look at the disk comes a second after the start: what is sent before it says nothing.
    assert!(
        wait_until(PATIENCE, || health(&mut connection).starts_with("disk-low")),
        "{}",
        broker.log_tail()
    );
    let again = wait_until(PATIENCE, || ledger.send(&mut connection, 250).is_ok());
    assert!(again, "{}", broker.log_tail());
    let all = ledger.read_back(&mut connection, GROUP);
    assert_eq!(all.lost, 0, "{all:?}");
    assert!(all.retired > 0, "{all:?}");
}

/// Old segments go at a third of the volume, so that a hundred megabytes push out what was first, on both shards: a segment
/// a second each.
const CLEANING: [(&str, &str); 2] =
    [("diskMaxUsedSpaceRatio", "25"), ("diskSpaceCleanForciblyRatio", "35")];
const BULK: usize = 10_000;

fn figure(connection: &mut Connection, key: &str) -> i64 {
    runtime_info(connection, key).parse().unwrap()
}

/// Over both shards.
fn shard_figures(connection: &mut Connection, key: &str) -> i64 {
    (0..2).map(|shard| figure(connection, &format!("ringmq.shard{shard}.{key}"))).sum()
}

fn send_to(connection: &mut Connection, topic: &str, bodies: &[String]) -> Vec<i64> {
    let send = |body: &String| connection.send(&Message::new(topic, 0, body.as_bytes()));
    bodies.iter().map(send).map(|sent| sent.unwrap().queue_offset).collect()
}

#[test]
fn old_segments_go_and_everybody_goes_on() {
    let Some(volume) = Volume::new("retention, old segments", 160 * MIB) else { return };
    let (mut broker, mut connection) = start(&volume, &CLEANING);
    connection.create_topic(&NewTopic::new("early", 1)).unwrap();
    let early: Vec<String> = (0..3).map(|n| format!("early-{n}")).collect();
    assert_eq!(send_to(&mut connection, "early", &early), [0, 1, 2]);
    let mut ledger = Ledger::new(TOPIC, QUEUES, BODY_BYTES);
    ledger.send(&mut connection, BULK).expect("room is made in time");
    let settled = wait_until(PATIENCE, || {
        let early = connection.min_offset("early", 0).unwrap();
        let bulk = (0..QUEUES).all(|q| connection.min_offset(TOPIC, q).unwrap() > 0);
        early == 3 && bulk
    });
    assert!(settled, "{}", broker.log_tail());
    // Figures are published once a second.
    assert!(wait_until(PATIENCE, || shard_figures(&mut connection, "retiredUnconsumed") > 0));
    assert!(shard_figures(&mut connection, "logBegin") > 0);
    assert!(figure(&mut connection, "commitLogMinOffset") > 0);
    println!(
        "retention, old segments: {} went, slowest of {BULK} sends {:?}",
        shard_figures(&mut connection, "retiredSegments"),
        ledger.slowest
    );
    let log = broker.log();
    assert!(log.contains("a segment was retired") && log.contains("unconsumed"), "{log}");
    check_moved(&mut connection);
    let all = ledger.read_back(&mut connection, GROUP);
    assert_eq!(all.lost, 0, "{all:?}");
    assert!(all.retired > 0, "{all:?}");

    let mins = |connection: &mut Connection| -> Vec<i64> {
        (0..QUEUES).map(|q| connection.min_offset(TOPIC, q).unwrap()).collect()
    };
    let before = mins(&mut connection);
    broker.kill9();
    broker.restart();
    let mut connection = connect(&broker);
    let after = mins(&mut connection);
    assert!(
        before.iter().zip(&after).all(|(before, after)| before <= after),
        "{before:?} {after:?}"
    );
    assert!(after.iter().all(|min| *min > 0));
    check_moved(&mut connection);
    // A queue without a message knows where it is.
    let early = |connection: &mut Connection| {
        let max = connection.max_offset("early", 0).unwrap();
        (connection.min_offset("early", 0).unwrap(), max)
    };
    assert_eq!(early(&mut connection), (3, 3));
    assert_eq!(send_to(&mut connection, "early", &["late".to_owned()]), [3]);
    assert_eq!(early(&mut connection), (3, 4));
    assert_eq!(ledger.read_back(&mut connection, GROUP).lost, 0);
}

/// Of what waits, some is due while segments go, the rest when nobody looks any more.
#[test]
fn what_waits_is_carried_on_when_its_segment_goes() {
    const EACH: usize = 60;
    let Some(volume) = Volume::new("retention, what waits", 160 * MIB) else { return };
    let (mut broker, mut connection) = start(&volume, &CLEANING);
    connection.create_topic(&NewTopic::new("timed", 2)).unwrap();
    let mut handles = Vec::new();
    for number in 0..2 * EACH {
        let (key, body) = (format!("k{number}"), number.to_string());
        let delay =
            if number < EACH { (15_000 + number * 200).to_string() } else { "3600000".into() };
        let properties = [("UNIQ_KEY", key.as_str()), ("TIMER_DELAY_MS", delay.as_str())];
        let message = Message::new("timed", (number % 2) as i32, body.as_bytes());
        let sent = connection.send(&message.with_properties(&properties)).unwrap();
        handles.push(sent.recall_handle.unwrap());
    }
    let mut ledger = Ledger::new(TOPIC, QUEUES, BODY_BYTES);
    ledger.send(&mut connection, BULK).expect("room is made in time");
    let went = wait_until(PATIENCE, || {
        (0..2).all(|shard| figure(&mut connection, &format!("ringmq.shard{shard}.logBegin")) > 0)
    });
    let log = broker.log();
    assert!(went && log.contains("what waits was carried on"), "{log}");

    broker.kill9();
    broker.restart();
    let mut connection = connect(&broker);
    for handle in &handles[EACH..EACH + EACH / 2] {
        for _ in 0..2 {
            let ext = [("producerGroup", "p"), ("topic", "timed"), ("recallHandle", handle)];
            let ext = ext.map(|(name, value)| (name, value.into()));
            let answer = connection.call(request::RECALL_MESSAGE, &ext, &[]).unwrap();
            assert_eq!(answer.code, response::SUCCESS, "{answer:?}");
        }
    }
    let mut all = Vec::new();
    let arrived = wait_until(PATIENCE, || {
        all = read_all(&mut connection, "timed", 2);
        all.len() >= EACH
    });
    assert!(arrived, "{} of {EACH}", all.len());
    let numbers: BTreeSet<usize> =
        all.iter().map(|it| String::from_utf8_lossy(&it.body).parse().unwrap()).collect();
    assert_eq!((all.len(), numbers), (EACH, (0..EACH).collect()), "each once");
    let left =
        wait_until(PATIENCE, || figure(&mut connection, "timerCongestNum") == (EACH / 2) as i64);
    assert!(left, "{}", figure(&mut connection, "timerCongestNum"));
}

/// A consumer behind the first offset learns where to go on, and finds messages there.
fn check_moved(connection: &mut Connection) {
    for queue in 0..QUEUES {
        let pulled = connection.pull(&PullRequest::new("late-readers", TOPIC, queue, 0)).unwrap();
        assert_eq!(pulled.status, PullStatus::OffsetMoved);
        assert_eq!(pulled.next_offset, pulled.min_offset);
        assert!(pulled.min_offset > 0);
        let pull = PullRequest::new("late-readers", TOPIC, queue, pulled.next_offset);
        let pulled = connection.pull(&pull).unwrap();
        assert_eq!(pulled.status, PullStatus::Found, "{pulled:?}");
        assert_eq!(pulled.messages[0].queue_offset, pull.offset);
    }
}

#[test]
fn a_java_consumer_behind_the_first_offset_goes_on() {
    let test = "retention, Java 4.9.8";
    let Some(program) = Library::Java("4.9.8").program(test) else { return };
    let Some(volume) = Volume::new(test, 160 * MIB) else { return };
    let (broker, mut connection) = start(&volume, &CLEANING);
    connection.create_topic(&NewTopic::new("watched", 1)).unwrap();
    let named = |prefix: &str, count: u32| -> Vec<String> {
        (0..count).map(|number| format!("{prefix}-{number}")).collect()
    };
    let consume = || {
        let namesrv = broker.namesrv_addr();
        let started = program.start_consumer("consume", &namesrv, "watched", "java-readers", None);
        started.unwrap_or_else(|failed| panic!("{failed}"))
    };
    let routed = wait_until(PATIENCE, || {
        let namesrv = broker.namesrv_addr().parse().unwrap();
        Connection::connect(namesrv).is_ok_and(|mut c| c.route("watched", true).is_ok())
    });
    assert!(routed);
    send_to(&mut connection, "watched", &named("first", 50));
    let consumer = consume();
    assert!(consumer.wait_received(50, PATIENCE), "{}", consumer.errors());
    assert_eq!(consumer.finish().len(), 50);
    send_to(&mut connection, "watched", &named("missed", 50));
    let mut ledger = Ledger::new(TOPIC, QUEUES, BODY_BYTES);
    ledger.send(&mut connection, BULK).expect("room is made in time");
    let gone = wait_until(PATIENCE, || connection.min_offset("watched", 0).unwrap() == 100);
    assert!(gone, "{}", broker.log_tail());
    assert_eq!(connection.consumer_offset("java-readers", "watched", 0).unwrap(), 50);

    let consumer = consume();
    let last = named("last", 20);
    send_to(&mut connection, "watched", &last);
    let complete = consumer.wait_received(20, Duration::from_secs(60));
    let mut received = consumer.received();
    // Its listeners run side by side.
    received.sort_by_key(|received| received.offset);
    let received: Vec<String> = received.into_iter().map(|received| received.body).collect();
    assert!(complete, "{received:?}\n{}\n{}", consumer.errors(), broker.log_tail());
    assert_eq!(received, last);
    consumer.finish();
    assert_eq!(connection.consumer_offset("java-readers", "watched", 0).unwrap(), 120);
}
