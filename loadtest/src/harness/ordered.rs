//! Stories of consumers that take messages in order: queue by queue, whoever consumes it.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use super::{
    Peer,
    program::{Program, Received, Running, Sent},
    scenario::{ARRIVE_WAIT_MAX, QUEUES, assert_same, divide, drop_redelivered, start_consumer},
    unique, wait_until,
};

/// A client goes on consuming for 30 s after it has refreshed its locks, which it does every 20 s.
const DEAD_OWNER_MIN: Duration = Duration::from_secs(10);
/// A lock of Java's broker lives for 60 s without a refresh; clients look every 20 s.
const DEAD_OWNER_MAX: Duration = Duration::from_secs(80);

/// Two consumers of a group, of which one leaves: each queue has one consumer at a time, and its messages arrive in order.
pub fn ordered(program: &Program, peer: &Peer) {
    let Divided { topic, one, two, mut sent, .. } = divided(program, peer);
    let mut first = one.finish();
    let left = Instant::now();
    let before = two.received().len();
    let alone = produce_ordered(program, peer, &topic, 160);
    sent.extend(alone.iter().cloned());
    let arrived = || two.received().len();
    let complete = wait_until(ARRIVE_WAIT_MAX, || arrived() >= before + alone.len());
    assert!(complete, "{} of {} arrived\n{}", arrived() - before, alone.len(), peer.log_tail());
    eprintln!("{:?}: all queues taken over within {:?}", peer.side, left.elapsed());
    let mut second = two.finish();
    assert_in_order(&mut first, &mut second);
    let mut received = [first, second].concat();
    // What was in flight when queues changed hands may come again.
    drop_redelivered(&mut received);
    assert_same(&sent, &received);
}

/// One of two consumers dies without a word. Nobody may consume its queues while it might still do so itself; then the other
/// one does.
pub fn owner_dies(program: &Program, peer: &Peer) {
    let Divided { topic, mut one, two, mut sent, queues_of_one } = divided(program, peer);
    let died = Instant::now();
    one.kill();
    sent.extend(produce_ordered(program, peer, &topic, 160));
    let mut wanted: HashSet<String> = sent.iter().map(|sent| sent.body.clone()).collect();
    let arrived = one.received();
    wanted.retain(|body| arrived.iter().all(|received| received.body != *body));
    let from = two.received().len();
    let taken_over =
        || two.received().into_iter().skip(from).any(|it| queues_of_one.contains(&it.queue));
    let first = wait_until(DEAD_OWNER_MAX, taken_over);
    let after = died.elapsed();
    assert!(first, "nobody took over\n{}", peer.log_tail());
    assert!(after >= DEAD_OWNER_MIN, "{after:?} after its death its queues were consumed");
    let complete = wait_until(ARRIVE_WAIT_MAX, || {
        let arrived = two.received();
        wanted.retain(|body| arrived.iter().all(|received| received.body != *body));
        wanted.is_empty()
    });
    assert!(complete, "{} messages lost\n{}", wanted.len(), peer.log_tail());
    eprintln!("{:?}: queues of a dead consumer taken over after {after:?}", peer.side);
    assert_in_order(&mut one.received(), &mut two.finish());
}

/// Our broker is killed (SIGKILL) while two consumers of a group work through what has piled up, and started again: nothing
/// is lost, and what comes for the first time comes in order.
pub fn broker_killed(program: &Program, peer: &mut Peer) {
    const PILED_UP: usize = 3_000;
    const BEGUN: usize = 200;
    let topic = peer.new_topic("ordered", QUEUES);
    let group = unique("group");
    let mut sent = produce_ordered(program, peer, &topic, PILED_UP);
    let start = || start_consumer(program, peer, "orderly", (&topic, &group), None);
    let (one, two) = (start(), start());
    let arrived = || one.received().len() + two.received().len();
    let begun = wait_until(ARRIVE_WAIT_MAX, || arrived() >= BEGUN);
    assert!(begun, "{} arrived\n{}", arrived(), peer.log_tail());
    peer.kill9();
    let middle = arrived();
    assert!(middle < PILED_UP, "all had arrived before the broker was killed");
    peer.start_again();
    let killed = Instant::now();
    sent.extend(produce_ordered(program, peer, &topic, 160));
    let mut wanted: HashSet<String> = sent.iter().map(|sent| sent.body.clone()).collect();
    let complete = wait_until(ARRIVE_WAIT_MAX, || {
        for received in [one.received(), two.received()].concat() {
            wanted.remove(&received.body);
        }
        wanted.is_empty()
    });
    assert!(complete, "{} of {} lost\n{}", wanted.len(), sent.len(), peer.log_tail());
    let took = killed.elapsed();
    eprintln!("killed after {middle} of {PILED_UP}; all had arrived {took:?} after the next start");
    let (mut first, mut second) = (one.finish(), two.finish());
    assert_in_order(&mut first, &mut second);
    let mut received = [first, second].concat();
    drop_redelivered(&mut received);
    assert_same(&sent, &received);
}

/// Two consumers that have divided the queues of a topic.
struct Divided {
    topic: String,
    one: Running,
    two: Running,
    /// All of it has arrived.
    sent: Vec<Sent>,
    queues_of_one: HashSet<i32>,
}

fn divided(program: &Program, peer: &Peer) -> Divided {
    let topic = peer.new_topic("ordered", QUEUES);
    let group = unique("group");
    let start = || start_consumer(program, peer, "orderly", (&topic, &group), None);
    let (one, two) = (start(), start());
    let mut sent = produce_ordered(program, peer, &topic, 160);
    let round = |count| produce_ordered(program, peer, &topic, count);
    let (more, queues_of_one) = divide(peer, [&one, &two], round);
    sent.extend(more);
    Divided { topic, one, two, sent, queues_of_one }
}

/// Sends messages, those of a key to one queue.
fn produce_ordered(program: &Program, peer: &Peer, topic: &str, count: usize) -> Vec<Sent> {
    let sent = program
        .send("ordered", &[&peer.namesrv_addr, topic, &unique("producers"), &count.to_string()]);
    assert_eq!(sent.len(), count, "a SENT line for each message");
    sent
}

/// What came for the first time came in the order of its queue to each consumer; and a queue changed hands, but was not
/// consumed by both at a time.
fn assert_in_order(one: &mut Vec<Received>, two: &mut Vec<Received>) {
    let mut owners: BTreeMap<(i32, i64), u8> = BTreeMap::new();
    for (owner, received) in [(1, one), (2, two)] {
        drop_redelivered(received);
        let mut last: BTreeMap<i32, i64> = BTreeMap::new();
        for it in &*received {
            let before = last.insert(it.queue, it.offset);
            assert!(before < Some(it.offset), "consumer {owner}: {it:?} came behind {before:?}");
            owners.entry((it.queue, it.offset)).or_insert(owner);
        }
    }
    let mut changes: BTreeMap<i32, Vec<u8>> = BTreeMap::new();
    for ((queue, _), owner) in owners {
        let of_queue = changes.entry(queue).or_default();
        if of_queue.last() != Some(&owner) {
            of_queue.push(owner);
        }
    }
    let often = changes.iter().find(|(_, owners)| owners.len() > 4);
    assert!(often.is_none(), "{often:?} changed hands more often than consumers came and went");
}
