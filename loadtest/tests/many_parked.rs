//! Goal: pulls in great number that wait for one queue are all answered, without making others wait, and whoever waits for a
//! topic that is deleted is told. Method: thousands of parked pulls of a few connections.

use std::time::{Duration, Instant};

use client::{Connection, Message, NewTopic, PullRequest, PullStatus};
use loadtest::harness::{ledger::runtime_info, our_broker::OurBroker, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "popular";
const CONNECTIONS: usize = 20;
const PULLS_EACH: usize = 1_000;

fn connect(broker: &OurBroker) -> Connection {
    let mut connection =
        Connection::connect_patiently(broker.broker_addr(), Duration::from_secs(10)).unwrap();
    connection.set_timeout(PATIENCE);
    connection
}

fn parked_pulls(connection: &mut Connection) -> String {
    runtime_info(connection, "ringmq.parkedPulls")
}

#[test]
fn twenty_thousand_pulls_of_one_queue_are_answered() {
    let broker = OurBroker::standalone(&[("shards", "1")]);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    connection.create_group("readers").unwrap();
    let pull = PullRequest::new("readers", TOPIC, 0, 0).parked(PATIENCE);
    let mut waiting: Vec<_> = (0..CONNECTIONS).map(|_| connect(&broker)).collect();
    for reader in &mut waiting {
        for _ in 0..PULLS_EACH {
            let _ = reader.start_pull(&pull).unwrap();
        }
    }
    let all = (CONNECTIONS * PULLS_EACH).to_string();
    let parked = wait_until(PATIENCE, || parked_pulls(&mut connection) == all);
    assert!(parked, "{} wait", parked_pulls(&mut connection));
    let started = Instant::now();
    connection.send(&Message::new(TOPIC, 0, b"for all")).unwrap();
    let other = started.elapsed();
    for reader in &mut waiting {
        while reader.in_flight() > 0 {
            let (_, answer) = reader.finish_any().unwrap();
            let pulled = client::pull::pulled(answer).unwrap();
            assert_eq!((pulled.status, pulled.messages.len()), (PullStatus::Found, 1));
        }
    }
    println!("{all} pulls answered after {:?}, their message after {other:?}", started.elapsed());
}

#[test]
fn who_waits_for_a_topic_that_is_deleted_is_told_at_once() {
    let broker = OurBroker::standalone(&[("shards", "2")]);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, 2)).unwrap();
    let mut waiting = connect(&broker);
    let pulls: Vec<_> = (0..2)
        .map(|queue| {
            let pull = PullRequest::new("readers", TOPIC, queue, 0).parked(PATIENCE);
            waiting.start_pull(&pull).unwrap()
        })
        .collect();
    assert!(wait_until(PATIENCE, || parked_pulls(&mut connection) == "2"));
    connection.delete_topic(TOPIC).unwrap();
    connection.create_topic(&NewTopic::new(TOPIC, 2)).unwrap();
    let started = Instant::now();
    for pull in pulls {
        let pulled = waiting.finish_pull(pull).unwrap();
        assert_eq!(pulled.status, PullStatus::NotFound);
    }
    assert!(started.elapsed() < PATIENCE / 2, "they waited for their deadline");
    // Whoever waits for the new topic gets its messages.
    let pull = PullRequest::new("readers", TOPIC, 0, 0).parked(PATIENCE);
    let again = waiting.start_pull(&pull).unwrap();
    connection.send(&Message::new(TOPIC, 0, b"new")).unwrap();
    assert_eq!(waiting.finish_pull(again).unwrap().status, PullStatus::Found);
}
