//! Goal: what a broker does with the directory that it is given: an empty one, another broker's store, remains of its own without
//! their format, a log that has come to the end of its positions. Method: directories prepared by hand, a real broker
//! on each; disks of their own size (that takes root).

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use client::{Connection, Message, NewTopic};
use loadtest::{
    harness::{
        ledger::{Ledger, runtime_info},
        our_broker::{self, OurBroker},
        volume::Volume,
        wait_until,
    },
    java_peer::free_ports,
};
use proto::code::response;

const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "placed";
const QUEUES: i32 = 2;
const MIB: u64 = 1 << 20;

/// Small segments and messages.
const SMALL: [(&str, &str); 4] = [
    ("shards", "1"),
    ("mappedFileSizeCommitLog", "4194304"),
    ("maxMessageSize", "65536"),
    ("tailCacheMiB", "1"),
];

fn connect(broker: &OurBroker) -> Connection {
    Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap()
}

/// Runs a broker on `root` that must not start; what it printed.
fn refused(root: &Path) -> String {
    refused_with(6, root, "")
}

/// The same with another exit code, and lines of configuration.
fn refused_with(code: i32, root: &Path, lines: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let first = free_ports(4);
    let conf = format!(
        "storePathRootDir={}\nlistenPort={}\nstandaloneNamesrvPort={}\nmetricsPort=0\n{lines}",
        root.display(),
        first + 2,
        first + 1
    );
    let file = dir.path().join("broker.conf");
    fs::write(&file, conf).unwrap();
    let mut broker = Command::new(our_broker::binary());
    broker.arg("--standalone").arg("-c").arg(file).env_remove("NAMESRV_ADDR");
    let output: Output = broker.output().unwrap();
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

/// Every name below a directory, with its content.
fn everything(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let content = if path.is_dir() { Vec::new() } else { fs::read(&path).unwrap() };
        found.push((path.display().to_string(), content));
        if path.is_dir() {
            found.extend(everything(&path));
        }
    }
    found.sort();
    found
}

#[test]
fn a_directory_of_javas_broker_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for made in ["commitlog", "consumequeue/orders/0", "index", "config"] {
        fs::create_dir_all(dir.path().join(made)).unwrap();
    }
    for (name, content) in [
        ("commitlog/00000000000000000000", "messages"),
        ("checkpoint", ""),
        ("abort", ""),
        ("lock", "lock"),
        ("config/topics.json", "{}"),
    ] {
        fs::write(dir.path().join(name), content).unwrap();
    }
    let before = everything(dir.path());
    let text = refused(dir.path());
    assert!(text.contains("Apache RocketMQ's Java broker"), "{text}");
    assert!(text.contains("storePathRootDir"), "{text}");
    assert_eq!(everything(dir.path()), before, "nothing was written");
}

/// Bytes that everything below a directory takes of the disk.
fn taken(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let bytes = entries.map(|path| match fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => taken(&path),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    });
    bytes.sum()
}

#[test]
fn a_first_start_takes_little_says_it_and_grows_with_what_is_sent() {
    for shards in ["1", "2", "64"] {
        let keys = [("shards", shards), ("maxMessageSize", "65536"), ("tailCacheMiB", "64")];
        let mut broker = OurBroker::standalone(&keys);
        let data = broker.dir().join("data");
        let first = taken(&data);
        println!("first start with {shards} shards: {} MiB", first >> 20);
        assert!(first <= 256 << 20, "{shards} shards take {first} bytes");
        assert!(broker.log().contains("first start: "), "{}", broker.log_tail());
        let mut connection = connect(&broker);
        connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
        let mut ledger = Ledger::new(TOPIC, QUEUES, 4_096);
        ledger.send(&mut connection, 5_000).expect("there is room");
        // What is provided ahead is no use of the disk.
        assert_eq!(runtime_info(&mut connection, "ringmq.health"), "healthy");
        assert!(broker.stop().is_some_and(|status| status.success()), "{}", broker.log_tail());
        broker.restart();
        assert!(!broker.log().contains("first start: "), "{}", broker.log_tail());
        let all = ledger.read_back(&mut connect(&broker), "readers");
        assert_eq!((all.found, all.lost), (ledger.acked() as u64, 0), "{all:?}");
    }
}

#[test]
fn a_first_start_that_fails_leaves_nothing() {
    let port_holder = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = port_holder.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    // Before and after the format is written.
    let taken_port = format!("listenPort={port}\n");
    for (code, lines) in [(4, taken_port.as_str()), (2, "shards=2\nmemoryBudgetMiB=1\n")] {
        let text = refused_with(code, &root, lines);
        assert!(!root.exists(), "{:?}\n{text}", everything(&root));
    }
    // What was there before stays.
    fs::create_dir_all(root.join("config")).unwrap();
    fs::write(root.join("config/topics.json"), "{}").unwrap();
    refused_with(2, &root, "shards=2\nmemoryBudgetMiB=1\n");
    assert!(root.join("config/topics.json").exists());
    assert!(!root.join("format.json").exists() && !root.join("commitlog").exists());
}

#[test]
fn a_first_start_on_a_full_disk_is_refused_and_writes_nothing() {
    let Some(volume) = Volume::new("first start on a full disk", 128 * MIB) else { return };
    volume.add_ballast(90 * MIB);
    let names = || fs::read_dir(volume.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let before: BTreeSet<_> = names().collect();
    let text = refused_with(5, &volume.path().join("data"), "shards=64\n");
    for part in ["are free", "64 shards", "needs at least 2.0 GiB", "storePathRootDir"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(names().collect::<BTreeSet<_>>(), before);
    volume.remove_ballast();
    let root = volume.path().join("data").display().to_string();
    let broker = OurBroker::standalone(&[("storePathRootDir", &root), ("shards", "2")]);
    assert!(broker.log().contains("first start: "), "{}", broker.log_tail());
}

#[test]
fn a_small_disk_starts_small_and_is_used_again_and_again() {
    let Some(volume) = Volume::new("first start on a small disk", 200 * MIB) else { return };
    let root = volume.path().join("data").display().to_string();
    // The size of segments is not configured.
    let keys = [("storePathRootDir", root.as_str()), ("shards", "1")];
    let mut broker = OurBroker::standalone(&keys);
    assert!(taken(Path::new(&root)) <= 64 * MIB, "{}", broker.log_tail());
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    assert_eq!(runtime_info(&mut connection, "ringmq.health"), "healthy");
    let mut ledger = Ledger::new(TOPIC, QUEUES, 65_536);
    // Twice what the disk holds. Producers may be faster than old segments go.
    let all_taken = wait_until(PATIENCE, || {
        let _ = ledger.send(&mut connection, 500);
        ledger.acked() as u64 * 65_536 > 400 * MIB
    });
    assert!(all_taken, "{} messages\n{}", ledger.acked(), broker.log_tail());
    let all = ledger.read_back(&mut connection, "readers");
    assert!(all.lost == 0 && all.found > 500 && all.retired > 0, "{all:?}");
    println!("a disk of 200 MiB: {all:?}");
    broker.kill9();
    broker.restart();
    assert!(!broker.log().contains("the configured size is ignored"), "{}", broker.log_tail());
    let mut connection = connect(&broker);
    let all = ledger.read_back(&mut connection, "readers");
    assert!(all.lost == 0 && all.found > 500, "{all:?}");
    assert!(wait_until(PATIENCE, || ledger.send(&mut connection, 1).is_ok()));
}

#[test]
fn the_largest_messages_find_room_from_the_first_on() {
    let body = vec![7; 4 << 20];
    for shards in ["1", "2", "64"] {
        let broker = OurBroker::standalone(&[("shards", shards)]);
        let mut connection = connect(&broker);
        connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
        for number in 0..60 {
            let message = Message::new(TOPIC, number % QUEUES, &body);
            // With 64 shards a log begins with less than that takes: it waits for what comes.
            let sent = connection.send(&message);
            sent.unwrap_or_else(|error| {
                panic!("{shards} shards, message {number}: {error}\n{}", broker.log_tail())
            });
        }
    }
}

#[test]
fn a_disk_without_room_for_the_next_segment_lets_go_of_the_oldest() {
    let Some(volume) = Volume::new("large segments on a small disk", 300 * MIB) else { return };
    let root = volume.path().join("data").display().to_string();
    let keys = [
        ("storePathRootDir", root.as_str()),
        ("shards", "1"),
        ("mappedFileSizeCommitLog", "134217728"),
    ];
    let broker = OurBroker::standalone(&keys);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    let mut ledger = Ledger::new(TOPIC, QUEUES, 4 << 20);
    // The segment ahead finds no room, and nothing goes as long as there is some.
    ledger.send(&mut connection, 45).expect("there is room");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(runtime_info(&mut connection, "ringmq.shard0.retiredSegments"), "0");
    let all_taken = wait_until(PATIENCE, || {
        let _ = ledger.send(&mut connection, 5);
        ledger.acked() > 200
    });
    assert!(all_taken, "{} messages\n{}", ledger.acked(), broker.log_tail());
    let all = ledger.read_back(&mut connection, "readers");
    assert!(all.lost == 0 && all.retired > 0, "{all:?}");
}

#[test]
fn a_log_without_its_format_is_refused_until_the_format_is_back() {
    let mut broker = OurBroker::standalone(&SMALL);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    let mut ledger = Ledger::new(TOPIC, QUEUES, 512);
    ledger.send(&mut connection, 500).expect("there is room");
    assert!(broker.stop().is_some_and(|status| status.success()), "{}", broker.log_tail());
    let root = broker.dir().join("data");
    let format = root.join("format.json");
    let content = fs::read(&format).unwrap();
    fs::remove_file(&format).unwrap();
    let before = everything(&root);
    let text = refused(&root);
    assert!(text.contains("format.json: is missing"), "{text}");
    assert!(text.contains("mqstore verify"), "{text}");
    assert_eq!(everything(&root), before, "nothing was written");
    fs::write(&format, content).unwrap();
    broker.restart();
    let all = ledger.read_back(&mut connect(&broker), "readers");
    assert_eq!((all.found, all.lost), (ledger.acked() as u64, 0), "{all:?}");
}

#[test]
fn a_log_at_the_end_of_its_positions_refuses_and_serves_on() {
    const SEGMENT: u64 = 4 << 20;
    /// `store::offset::MESSAGES_END`.
    const MESSAGES_END: u64 = (1 << 53) - (16 << 30);
    let mut broker = OurBroker::standalone(&SMALL);
    connect(&broker).create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    assert!(broker.stop().is_some_and(|status| status.success()), "{}", broker.log_tail());
    let shard = broker.dir().join("data/commitlog/shard-000");
    for entry in fs::read_dir(&shard).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let segment = fs::File::create(shard.join(format!("{:020}", MESSAGES_END - SEGMENT))).unwrap();
    segment.set_len(SEGMENT).unwrap();
    broker.restart();
    let mut connection = connect(&broker);
    let low = wait_until(PATIENCE, || {
        let health = runtime_info(&mut connection, "ringmq.health");
        health.starts_with("positions-low shard=0 position=90071")
    });
    assert!(low, "{}", broker.log_tail());
    let mut ledger = Ledger::new(TOPIC, QUEUES, 4_096);
    let (code, remark) = ledger.send(&mut connection, 10_000).expect_err("positions run out");
    assert_eq!(code, response::SERVICE_NOT_AVAILABLE, "{remark}");
    assert!(remark.contains("shard=0 reason=positions-used-up position=90071"), "{remark}");
    assert!(ledger.acked() > 500, "{} were taken", ledger.acked());
    let used_up = wait_until(PATIENCE, || {
        runtime_info(&mut connection, "ringmq.health").starts_with("positions-used-up shard=0")
    });
    assert!(used_up, "{}", broker.log_tail());
    let all = ledger.read_back(&mut connection, "readers");
    assert_eq!((all.found, all.lost), (ledger.acked() as u64, 0), "{all:?}");
    // Consumers commit, and it starts again.
    connection.commit_offset("readers", TOPIC, 0, 3).unwrap();
    assert!(broker.stop().is_some_and(|status| status.success()), "{}", broker.log_tail());
    broker.restart();
    let mut connection = connect(&broker);
    assert_eq!(connection.consumer_offset("readers", TOPIC, 0).unwrap(), 3);
    let all = ledger.read_back(&mut connection, "readers");
    assert_eq!(all.lost, 0, "{all:?}");
}
