//! Goal: what a broker does with the directory that it is given: another broker's store, remains of its own without
//! their format, a log that has come to the end of its positions. Method: directories prepared by hand, a real broker
//! on each.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use client::{Connection, NewTopic};
use loadtest::{
    harness::{
        ledger::{Ledger, runtime_info},
        our_broker::{self, OurBroker},
        wait_until,
    },
    java_peer::free_ports,
};
use proto::code::response;

const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "placed";
const QUEUES: i32 = 2;

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
    let dir = tempfile::tempdir().unwrap();
    let first = free_ports(4);
    let conf = format!(
        "storePathRootDir={}\nlistenPort={}\nstandaloneNamesrvPort={}\n",
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
    assert_eq!(output.status.code(), Some(6), "{text}");
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
