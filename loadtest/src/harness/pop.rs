//! Stories of consumers that pop: the broker tells them to, and hands out messages for a time; each is acknowledged by itself, and
//! what is not comes again. Java's 5.x client alone does so.
//!
//! That client waits at its end for nothing that it has popped: what its listener is at work on, or has not acknowledged yet,
//! comes again. So stories wait for the group's offsets before they end a consumer. Java's broker moves these when messages are
//! handed out, ours when they are acknowledged.

use super::{
    Peer, Side, has_passed,
    program::{Program, Received, Running, Sent},
    scenario::{
        ARRIVE_WAIT_MAX, QUEUES, QUIET, assert_same, await_all, keep_offsets, produce,
        start_consumer,
    },
    unique, wait_until,
};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// For how long `pop` and `popfailing` have a message, and `popholding`.
const INVISIBLE: Duration = Duration::from_secs(20);
const HELD: Duration = Duration::from_secs(10);
/// What is due to come again comes within this time from our broker.
const AGAIN_WAIT: Duration = Duration::from_secs(5);
/// The first of the delays with which the client lets failed messages come again.
const FIRST_DELAY: Duration = Duration::from_secs(10);
/// An acknowledgement is noted by then, on any machine.
const ACKNOWLEDGED_WAIT_MAX: Duration = Duration::from_secs(30);
/// Makes the client ask each second which queues it has, and in which way; it does so every 20 s.
const ASKS_EACH_SECOND: &str = "-Drocketmq.client.rebalance.waitInterval=1000";
/// Two messages for each queue.
const ROUND: usize = QUEUES as usize * 2;

/// Two consumers of a group share what comes: each message is consumed by one of them and acknowledged, and does not come
/// again when its time is over.
pub fn shared(program: &Program, peer: &Peer) {
    let names = popped_topic(program, peer, "pop");
    let start = || start_popping(program, peer, "pop", &names, None);
    let consumers = [start(), start()];
    let arrived = || consumers.iter().map(|consumer| consumer.received().len()).sum::<usize>();
    let mut sent = Vec::new();
    // One pop may take all that is there: rounds until both have got something.
    let shared = wait_until(ARRIVE_WAIT_MAX, || {
        sent.extend(produce(program, peer, &names.topic, ROUND, None));
        wait_until(ARRIVE_WAIT_MAX, || arrived() >= sent.len());
        consumers.iter().all(|consumer| !consumer.received().is_empty())
    });
    assert!(shared, "one of two consumers got nothing\n{}", peer.log_tail());
    assert!(arrived() >= sent.len(), "{} of {} messages", arrived(), sent.len());
    await_acknowledged(peer, &names, sent.len());
    std::thread::sleep(INVISIBLE + AGAIN_WAIT);
    for consumer in &consumers {
        assert_tried(consumer, |times| times == 0);
    }
    assert_same(&sent, &consumers.map(Running::finish).concat());
}

/// A listener fails each message once: each comes again after the first of the client's delays and says that it was tried, and is
/// then consumed once.
pub fn retried(program: &Program, peer: &Peer) {
    let names = popped_topic(program, peer, "pop-retried");
    let consumer = start_popping(program, peer, "popfailing", &names, Some("1"));
    let began = Instant::now();
    let sent = produce(program, peer, &names.topic, 12, None);
    let came = wait_until(ARRIVE_WAIT_MAX, || !consumer.received().is_empty());
    let after = began.elapsed();
    assert!(came, "nothing came again\n{}\n{}", consumer.errors(), peer.log_tail());
    assert!(has_passed(FIRST_DELAY, after), "the first one came again after {after:?}");
    await_all(&consumer, sent.len(), peer);
    await_acknowledged(peer, &names, sent.len());
    std::thread::sleep(QUIET);
    let failed = consumer.lines_with("FAIL ");
    assert_eq!(failed.len(), sent.len(), "each is failed once: {failed:?}");
    assert!(failed.iter().all(|line| line.starts_with("FAIL 0 ")), "{failed:?}");
    assert_tried(&consumer, |times| times == 1);
    assert_same_again(peer, sent, consumer.finish());
}

/// Tags: a subscription of two of three pops exactly those, and the others hold up nothing.
pub fn tagged(program: &Program, peer: &Peer) {
    let names = popped_topic(program, peer, "pop-tags");
    let send = |tag| produce(program, peer, &names.topic, 12, Some(tag));
    let [red, green, blue] = ["red", "green", "blue"].map(send);
    let consumer = start_popping(program, peer, "pop", &names, Some("red || blue"));
    await_all(&consumer, red.len() + blue.len(), peer);
    await_acknowledged(peer, &names, red.len() + green.len() + blue.len());
    let later = produce(program, peer, &names.topic, 12, Some("blue"));
    await_all(&consumer, red.len() + blue.len() + later.len(), peer);
    await_acknowledged(peer, &names, red.len() + green.len() + blue.len() + later.len());
    std::thread::sleep(QUIET);
    assert_same(&[red, blue, later].concat(), &consumer.finish());
}

/// The group is told to pull and to pop again while its consumer runs and messages come: none is lost. What was in hand when
/// the way changed may come twice.
pub fn switched(program: &Program, peer: &Peer) {
    let names = popped_topic(program, peer, "pop-switched");
    let asking = program.with_java_option(ASKS_EACH_SECOND);
    let consumer = start_popping(&asking, peer, "pop", &names, None);
    let mut sent = produce(program, peer, &names.topic, ROUND, None);
    await_all(&consumer, sent.len(), peer);
    await_acknowledged(peer, &names, sent.len());
    assert_same(&sent, &consumer.received());
    for mode in ["PULL", "POP"] {
        set_mode(program, peer, &names, mode);
        // Some of these are taken in the old way.
        sent.extend(produce(program, peer, &names.topic, ROUND, None));
        await_queues(&consumer, mode, peer);
        sent.extend(produce(program, peer, &names.topic, ROUND, None));
        await_all(&consumer, sent.len(), peer);
    }
    let bodies = |texts: Vec<String>| texts.into_iter().collect::<HashSet<String>>();
    let wanted = bodies(sent.into_iter().map(|sent| sent.body).collect());
    let received = bodies(consumer.finish().into_iter().map(|received| received.body).collect());
    assert_eq!(received, wanted);
}

/// One consumer dies with messages in hand, and one is shut down: another one gets them, not before their time is over, each
/// once.
pub fn taken_over(program: &Program, peer: &Peer) {
    let names = popped_topic(program, peer, "pop-taken-over");
    let hold = || start_popping(program, peer, "popholding", &names, None);
    let send = || produce(program, peer, &names.topic, 5, None);
    let mut killed = hold();
    let mut sent = send();
    await_held(&killed, &sent, peer);
    killed.kill();

    let stopped = hold();
    let began = Instant::now();
    let second = send();
    await_held(&stopped, &second, peer);
    assert!(stopped.finish().is_empty(), "it is done with none");

    let heir = start_popping(program, peer, "pop", &names, None);
    let of_second = || {
        let received = heir.received();
        received.iter().any(|received| second.iter().any(|sent| sent.body == received.body))
    };
    let came = wait_until(ARRIVE_WAIT_MAX, of_second);
    let after = began.elapsed();
    assert!(came, "nothing was taken over\n{}", peer.log_tail());
    assert!(has_passed(HELD, after), "{after:?} after it was sent a held message came");
    sent.extend(second.iter().cloned());
    await_all(&heir, sent.len(), peer);
    await_acknowledged(peer, &names, sent.len());
    std::thread::sleep(QUIET);
    assert_tried(&heir, |times| times > 0);
    assert_same_again(peer, sent, heir.finish());
}

/// A topic, and a group whose consumers pop it.
struct Names {
    topic: String,
    group: String,
}

/// A new topic whose new group is told to pop.
fn popped_topic(program: &Program, peer: &Peer, prefix: &str) -> Names {
    let names = Names { topic: peer.new_topic(prefix, QUEUES), group: unique("group") };
    peer.connect_broker().create_group(&names.group).expect("a group");
    keep_offsets(peer, &names.topic, &names.group);
    set_mode(program, peer, &names, "POP");
    names
}

/// How the group's consumers get messages of the topic from now on.
fn set_mode(program: &Program, peer: &Peer, names: &Names, mode: &str) {
    let broker = peer.broker_addr.to_string();
    let output =
        program.run(&["popmode", &peer.namesrv_addr, &names.topic, &names.group, &broker, mode]);
    assert!(output.contains(&format!("MODE {mode}")), "{output}");
}

/// Starts a consumer, and waits until it pops.
fn start_popping(
    program: &Program,
    peer: &Peer,
    verb: &str,
    names: &Names,
    expression: Option<&str>,
) -> Running {
    let consumer = start_consumer(program, peer, verb, (&names.topic, &names.group), expression);
    await_queues(&consumer, "POP", peer);
    consumer
}

/// Waits until the broker has told the consumer which queues it has: all in one when it pops, each when it pulls.
fn await_queues(consumer: &Running, mode: &str, peer: &Peer) {
    let queues: Vec<String> = match mode {
        "POP" => vec!["-1".to_owned()],
        _ => (0..QUEUES).map(|queue| queue.to_string()).collect(),
    };
    let wanted = format!("QUEUES {}", queues.join(" "));
    let told =
        wait_until(ARRIVE_WAIT_MAX, || consumer.lines_with("QUEUES").last() == Some(&wanted));
    let lines = consumer.lines_with("QUEUES");
    assert!(
        told,
        "{mode}: {lines:?}\n-- client:\n{}\n-- broker:\n{}",
        consumer.errors(),
        peer.log_tail()
    );
}

/// Waits until the group's offsets say that so many messages are behind it.
fn await_acknowledged(peer: &Peer, names: &Names, count: usize) {
    let mut connection = peer.connect_broker();
    let mut committed = Vec::new();
    let all = wait_until(ACKNOWLEDGED_WAIT_MAX, || {
        let of_queue = |queue| {
            connection.consumer_offset(&names.group, &names.topic, queue).unwrap_or_default()
        };
        committed = (0..QUEUES).map(of_queue).collect::<Vec<i64>>();
        committed.iter().sum::<i64>() == count as i64
    });
    assert!(all, "of {count}, by queue: {committed:?}\n{}", peer.log_tail());
}

/// Waits until the consumer has all of these in hand.
fn await_held(consumer: &Running, sent: &[Sent], peer: &Peer) {
    let held = wait_until(ARRIVE_WAIT_MAX, || {
        let lines = consumer.lines_with("HELD ");
        sent.iter().all(|sent| lines.iter().any(|line| line.ends_with(&format!(" {}", sent.body))))
    });
    let lines = consumer.lines_with("HELD ");
    assert!(held, "{lines:?} of {sent:?}\n{}\n{}", consumer.errors(), peer.log_tail());
}

/// All that was consumed had been tried so often before.
fn assert_tried(consumer: &Running, so_often: impl Fn(u32) -> bool) {
    let lines = consumer.lines_with("TRIED ");
    let times = |line: &String| line.split(' ').nth(1).and_then(|times| times.parse::<u32>().ok());
    assert!(lines.iter().all(|line| times(line).is_some_and(&so_often)), "{lines:?}");
}

/// Every message once. One that comes again does so from its place; Java's broker puts a copy somewhere else.
fn assert_same_again(peer: &Peer, mut sent: Vec<Sent>, mut received: Vec<Received>) {
    if peer.side != Side::Ours {
        sent.iter_mut().for_each(|sent| (sent.queue, sent.offset) = (-1, -1));
        received.iter_mut().for_each(|received| (received.queue, received.offset) = (-1, -1));
    }
    assert_same(&sent, &received);
}
