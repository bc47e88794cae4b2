//! Goal: what clients make the broker remember of them keeps within the memory budget, and others are served meanwhile.
//! Method: a broker with a budget of 128 MiB whose resident memory is watched; pulls that wait, each with a large
//! subscription of its own; heartbeats that name a hundred thousand groups.

use std::time::Duration;

use client::{
    Connection, ExtValue, Heartbeat, Message, NewTopic, PullRequest, PullStatus, Subscription,
};
use loadtest::harness::{ledger::runtime_info, our_broker::OurBroker, raw, wait_until};
use loadtest::load::process;
use proto::code::request;

const TOPIC: &str = "remembered";
const PATIENCE: Duration = Duration::from_secs(60);
/// What the broker may grow by: frames on their way, their headers, and what the allocator keeps of them.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
const PULLS: usize = 1_200;
/// More of this size, and a connection has more unanswered than its socket is read for.
const PULLS_EACH: usize = 30;
/// Tags of each subscription; the most that are taken.
const TAGS: usize = 1_024;
const CONNECTIONS: usize = 120;
/// Groups that each connection names; the most that are taken.
const GROUPS: usize = 1_024;

fn connect(broker: &OurBroker) -> Connection {
    let mut connection =
        Connection::connect_patiently(broker.broker_addr(), Duration::from_secs(10)).unwrap();
    connection.set_timeout(PATIENCE);
    connection
}

fn start() -> (OurBroker, Connection) {
    let broker = OurBroker::standalone(&[("shards", "1"), ("memoryBudgetMiB", "128")]);
    let mut client = connect(&broker);
    client.create_topic(&NewTopic::new(TOPIC, 2)).unwrap();
    client.create_group("readers").unwrap();
    (broker, client)
}

fn resident(broker: &OurBroker) -> u64 {
    process::memory(broker.pid()).unwrap().resident_bytes
}

fn assert_grown_little(broker: &OurBroker, before: u64) {
    let now = resident(broker);
    println!("resident memory: from {} to {} MiB", before >> 20, now >> 20);
    assert!(now.saturating_sub(before) < GROWTH_BYTES_MAX, "from {before} to {now}");
}

fn gauge(connection: &mut Connection, name: &str) -> usize {
    runtime_info(connection, name).parse().unwrap()
}

/// Tags of 195 bytes, others for each `number`.
fn subscription(number: usize) -> String {
    let tags = (0..TAGS).map(|tag| format!("{:x<195}", format!("{number}-{tag}-")));
    tags.collect::<Vec<_>>().join("||")
}

#[test]
fn waiting_pulls_with_large_subscriptions_keep_within_the_budget() {
    let (broker, mut client) = start();
    let before = resident(&broker);
    let mut waiting: Vec<_> = (0..PULLS / PULLS_EACH).map(|_| connect(&broker)).collect();
    for number in 0..PULLS {
        let text = subscription(number);
        let pull = PullRequest {
            subscription: Some(&text),
            ..PullRequest::new("readers", TOPIC, 0, 0).parked(PATIENCE)
        };
        let _ = waiting[number / PULLS_EACH].start_pull(&pull).unwrap();
    }
    // Those that do not fit are answered at once, as if nothing had come; some wait.
    let mut parked = 0;
    for connection in &mut waiting {
        // One that does not wait: what came before it is answered or waits when this is answered.
        connection.pull(&PullRequest::new("readers", TOPIC, 0, 0)).unwrap();
        for _ in connection.in_flight()..PULLS_EACH {
            let (_, answer) = connection.finish_any().unwrap();
            let pulled = client::pull::pulled(answer).unwrap();
            assert_eq!((pulled.status, pulled.next_offset), (PullStatus::NotFound, 0));
        }
        parked += connection.in_flight();
    }
    assert!(parked > 0 && parked < PULLS, "{parked} wait");
    assert_grown_little(&broker, before);
    // A pull without tags finds room, one with tags that wait already, too, and others are served.
    let (mut plain, mut equal) = (connect(&broker), connect(&broker));
    let pull = PullRequest::new("readers", TOPIC, 1, 0).parked(PATIENCE);
    let text = subscription(0);
    let tagged = PullRequest { subscription: Some(&text), ..pull.clone() };
    let ticket = plain.start_pull(&pull).unwrap();
    let _ = equal.start_pull(&tagged).unwrap();
    assert!(wait_until(PATIENCE, || gauge(&mut client, "ringmq.parkedPulls") == parked + 2));
    client.send(&Message::new(TOPIC, 1, b"for one")).unwrap();
    assert_eq!(plain.finish_pull(ticket).unwrap().messages.len(), 1);
    // Nothing is left when they are gone.
    drop(waiting);
    drop(equal);
    assert!(wait_until(PATIENCE, || gauge(&mut client, "ringmq.parkedFilterBytes") == 0));
}

fn as_consumer<'a>(group: &'a str, subscriptions: &'a [Subscription<'a>]) -> Heartbeat<'a> {
    let consumer_group = Some(group);
    Heartbeat { client_id: "member", consumer_group, subscriptions, producer_group: None }
}

#[test]
fn heartbeats_with_very_many_groups_keep_within_the_budget() {
    let (broker, mut client) = start();
    let subscriptions = [Subscription { topic: TOPIC, expression: "*", version: 1 }];
    let mut member = connect(&broker);
    let heartbeat = as_consumer("readers", &subscriptions);
    member.heartbeat(&heartbeat).unwrap();
    let before = resident(&broker);
    let mut crowd: Vec<Connection> = (0..CONNECTIONS).map(|_| connect(&broker)).collect();
    let mut in_part = 0;
    for (number, connection) in crowd.iter_mut().enumerate() {
        let groups = (0..GROUPS)
            .map(|group| format!(r#"{{"groupName":"{:x<250}"}}"#, format!("{number}-{group}-")));
        let body = format!(
            r#"{{"clientID":"{:y<1000}","producerDataSet":[{}]}}"#,
            number,
            groups.collect::<Vec<_>>().join(",")
        );
        let none: [(&str, ExtValue<'_>); 0] = [];
        let answer = connection.call(request::HEART_BEAT, &none, body.as_bytes()).unwrap();
        assert!(raw::is_taken_in(&answer) || raw::is_taken_in_part(&answer), "{answer:?}");
        in_part += usize::from(raw::is_taken_in_part(&answer));
    }
    assert!(in_part > 0, "all was taken in");
    assert_grown_little(&broker, before);
    assert!(broker.log().contains("parts of a heartbeat are over a limit"), "{}", broker.log());
    // Who was a member is one, stays one, and pulls by what it subscribed.
    member.heartbeat(&heartbeat).unwrap();
    client.send(&Message::new(TOPIC, 0, b"for members")).unwrap();
    let pull = PullRequest { subscription: None, ..PullRequest::new("readers", TOPIC, 0, 0) };
    assert_eq!(member.pull(&pull).unwrap().messages.len(), 1);
    // There is room again when they are gone.
    drop(crowd);
    let mut late = connect(&broker);
    let joined = wait_until(PATIENCE, || {
        late.heartbeat(&as_consumer("late-readers", &subscriptions)).unwrap();
        late.pull(&PullRequest { group: "late-readers", ..pull.clone() }).is_ok()
    });
    assert!(joined);
}
