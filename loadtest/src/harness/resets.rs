//! A tool tells a group to go on elsewhere, while its consumer runs and while it does not.

use super::{
    Peer, Side,
    program::Program,
    scenario::{
        QUEUES, QUIET, assert_same, await_all, consume_exactly, keep_offsets, produce,
        start_consumer,
    },
    unique, wait_until,
};
use proto::code::request;
use std::time::Duration;

/// Clients wait for ten seconds after they were told, and for their next look at the queues they have, up to twenty.
const GO_ON_WAIT_MAX: Duration = Duration::from_secs(120);
/// Store times of tools: all that is there, and nothing of it.
const BEGINNING: i64 = 0;
const END: i64 = -1;

/// A consumer that runs gets everything again, once; when it comes back, nothing of it. A group without a consumer that is
/// told to go to the end gets what is sent from then on.
pub fn reset(program: &Program, peer: &Peer) {
    let topic = peer.new_topic("reset", QUEUES);
    let group = unique("group");
    keep_offsets(peer, &topic, &group);
    let consumer = start_consumer(program, peer, "consume", (&topic, &group), None);
    let sent = produce(program, peer, &topic, 40, None);
    await_all(&consumer, sent.len(), peer);
    // What it has not committed yet comes late.
    reset_to(peer, &topic, &group, BEGINNING);
    let again = wait_until(GO_ON_WAIT_MAX, || consumer.received().len() >= 2 * sent.len());
    assert!(again, "{} of {} messages", consumer.received().len(), 2 * sent.len());
    std::thread::sleep(QUIET);
    let received = consumer.finish();
    let (first, second) = received.split_at(sent.len());
    assert_same(&sent, first);
    assert_same(&sent, second);

    if peer.side == Side::Java4 {
        // It tells consumers and remembers nothing: without one it refuses.
        return;
    }
    produce(program, peer, &topic, 20, None);
    reset_to(peer, &topic, &group, END);
    let behind = produce(program, peer, &topic, 8, None);
    let received = consume_exactly(program, peer, "consume", (&topic, &group), behind.len());
    assert_same(&behind, &received);
}

/// Tells a group to go to a store time in all queues.
fn reset_to(peer: &Peer, topic: &str, group: &str, timestamp: i64) {
    let ext = [
        ("topic", topic.into()),
        ("group", group.into()),
        ("timestamp", timestamp.into()),
        ("isForce", true.into()),
    ];
    let answer = peer.connect_broker().call(request::INVOKE_BROKER_TO_RESET_OFFSET, &ext, &[]);
    answer.expect("an answer").success().expect("it is reset");
}
