//! Goal: a log that could not be written refuses sends and says so, serves every acknowledged message on, and loses none
//! of them over the restart; and an operator may have the process end instead. Method: a broker on an ext4 whose device
//! runs out of room below it (that takes root), so that writes which the file system has room for fail.

use std::time::Duration;

use client::{Connection, NewTopic};
use loadtest::harness::{
    ledger::{Ledger, runtime_info},
    our_broker::OurBroker,
    scrape::{Scrape, get},
    volume::Volume,
    wait_until,
};
use proto::code::response;

const MIB: u64 = 1 << 20;
const TOPIC: &str = "failing";
const QUEUES: i32 = 4;
const GROUP: &str = "readers";
const PATIENCE: Duration = Duration::from_secs(60);

struct Failing {
    broker: OurBroker,
    connection: Connection,
    ledger: Ledger,
    /// What the first refused sender read.
    remark: String,
    volume: Volume,
}

fn connect(broker: &OurBroker) -> Connection {
    Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap()
}

/// A broker whose log has just failed.
fn fail(test: &str, keys: &[(&str, &str)]) -> Option<Failing> {
    let volume = Volume::on_small_device(test, 512 * MIB, 128 * MIB)?;
    let root = volume.path().join("data").display().to_string();
    let small = [
        ("storePathRootDir", root.as_str()),
        ("shards", "1"),
        ("mappedFileSizeCommitLog", "16777216"),
        ("maxMessageSize", "65536"),
        ("tailCacheMiB", "1"),
    ];
    let broker = OurBroker::standalone(&[&small, keys].concat());
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    let mut ledger = Ledger::new(TOPIC, QUEUES, 4_096);
    // So much that the segment in use is nearly full.
    ledger.send(&mut connection, 6_800).expect("the device is well");
    // The group that reads comes into being now: it could not be made durable later.
    assert_eq!(ledger.read_back(&mut connection, GROUP).lost, 0);
    // The segment behind the one in use is there, and not zeroed to its end: a write will fail, not the making of a file.
    let end: u64 = runtime_info(&mut connection, "commitLogMaxOffset").parse().unwrap();
    let dir = std::path::Path::new(&root).join("commitlog/shard-000");
    let has_next = || {
        let names = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        let starts = names.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
        starts.max().is_some_and(|start| start >= end)
    };
    assert!(wait_until(PATIENCE, has_next), "no segment behind {end}");
    volume.fill_device();
    let (code, remark) = ledger.send(&mut connection, 100_000).expect_err("the device is full");
    assert_eq!(code, response::SERVICE_NOT_AVAILABLE, "{remark}");
    for part in ["shard=0", "log-poisoned", "cause="] {
        assert!(remark.contains(part), "{part} in {remark}");
    }
    Some(Failing { broker, connection, ledger, remark, volume })
}

#[test]
fn a_failed_write_refuses_sends_and_loses_nothing() {
    let Some(failing) = fail("log failure", &[]) else { return };
    let Failing { volume, mut broker, mut connection, mut ledger, remark } = failing;
    let mut health = String::new();
    let reported = wait_until(PATIENCE, || {
        health = runtime_info(&mut connection, "ringmq.health");
        health.starts_with("log-poisoned shard=0 cause=")
    });
    assert!(reported, "{health}");
    assert!(broker.log().contains("the log takes no more messages until restart"));
    for path in ["/health", "/ready"] {
        let answer = get(broker.metrics_addr(), path).unwrap();
        assert!(answer.status == 503 && answer.body.contains("log-poisoned"), "{path} {answer:?}");
    }
    let poisoned = [("shard", "0"), ("condition", "log-poisoned")];
    let scrape = Scrape::of(broker.metrics_addr());
    assert_eq!(scrape.number("ringmq_shard_condition", &poisoned), Some(1.0));
    // Much of it has left memory: reads go on from the disk.
    let all = ledger.read_back(&mut connection, GROUP);
    assert_eq!((all.found, all.lost), (ledger.acked() as u64, 0));
    assert!(ledger.send(&mut connection, 1).is_err(), "a poisoned log stays so");
    volume_is_well_again(&mut broker, &volume);
    let mut connection = connect(&broker);
    let all = ledger.read_back(&mut connection, GROUP);
    assert_eq!((all.found, all.lost), (ledger.acked() as u64, 0));
    ledger.send(&mut connection, 100).expect("the device is well");
    println!("log failure: {} acknowledged, 0 lost: {remark}; {health}", all.found);
}

fn volume_is_well_again(broker: &mut OurBroker, volume: &Volume) {
    let status = broker.stop();
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", broker.log_tail());
    volume.repair_device();
    broker.restart();
}

#[test]
fn a_failed_write_ends_the_process_when_that_is_wanted() {
    let Some(failing) = fail("log failure, exit", &[("exitOnLogFailure", "true")]) else { return };
    let Failing { volume, mut broker, ledger, .. } = failing;
    let status = broker.wait_end(PATIENCE);
    assert_eq!(status.and_then(|status| status.code()), Some(7), "{}", broker.log_tail());
    assert!(broker.log().contains("exitOnLogFailure"), "{}", broker.log_tail());
    volume.repair_device();
    broker.restart();
    let all = ledger.read_back(&mut connect(&broker), GROUP);
    assert_eq!((all.found, all.lost), (ledger.acked() as u64, 0));
}
