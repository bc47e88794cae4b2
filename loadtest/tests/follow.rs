//! Goal: the figures of `mqbench follow` can be believed. Method: a real broker, all cases for a moment at a rate that any
//! machine can do; who asked for a share of the messages got exactly that, and none was lost on the way.

use std::time::Duration;

use loadtest::harness::our_broker::OurBroker;
use loadtest::load::follow::{self, Follow};

const RATE: f64 = 2_000.0;
const CONSUMERS: usize = 2;

#[test]
fn each_consumer_gets_its_share_of_what_was_sent() {
    let broker = OurBroker::standalone(&[("shards", "2")]);
    let plan = Follow {
        addr: broker.broker_addr(),
        topic: "followed".to_owned(),
        queues: 4,
        body_bytes: 64,
        batch: 20,
        rate: RATE,
        connections: 2,
        consumers: CONSUMERS,
        pull_batch: 32,
        warmup: Duration::from_millis(300),
        measure: Duration::from_secs(1),
        cases: follow::find(&[]).unwrap(),
        broker_pid: Some(broker.pid()),
    };
    println!("{}", follow::report::HEAD);
    let report = follow::run(&plan, |row| println!("{row}")).unwrap();
    assert_eq!(report.cases.len(), follow::CASES.len());
    for row in &report.cases {
        let name = row.case.name;
        assert_eq!((row.missing, row.unwanted), (0, 0), "{name}");
        assert!(row.refused.is_empty(), "{name}: {:?}", row.refused);
        // All messages of the measured time, also those that came after it.
        let consumers = if name == "alone" { 0 } else { CONSUMERS };
        let share = row.case.share_percent as f64 / 100.0;
        let due = (RATE * share) as u64 * consumers as u64;
        assert_eq!(row.latency.count(), due, "{name}");
        assert_eq!(row.send_latency.count(), (RATE / 20.0) as u64, "{name}");
    }
}
