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
/// told to go to the end gets what is sent from then on. Of Java's 4.9 broker only that everything comes again is expected: it
/// remembers nothing, so that a late commit undoes it, and refuses a group without consumers.
pub fn reset(program: &Program, peer: &Peer) {
    let topic = peer.new_topic("reset", QUEUES);
    let group = unique("group");
    keep_offsets(peer, &topic, &group);
    let consumer = start_consumer(program, peer, "consume", (&topic, &group), None);
    let sent = produce(program, peer, &topic, 40, None);
    await_all(&consumer, sent.len(), peer);
    // What it has not committed yet comes late.
    let came_again = |wait| wait_until(wait, || consumer.received().len() >= 2 * sent.len());
    if peer.side == Side::Java4 {
        // It asks consumers, which may not be registered yet on a busy machine, and a late commit undoes it for a queue.
        let told = wait_until(GO_ON_WAIT_MAX, || {
            may_reset_to(peer, &topic, &group, BEGINNING) && came_again(GO_ON_WAIT_MAX / 2)
        });
        assert!(told, "{} of {} messages", consumer.received().len(), 2 * sent.len());
        return drop(consumer.finish());
    }
    reset_to(peer, &topic, &group, BEGINNING);
    let again = came_again(GO_ON_WAIT_MAX);
    assert!(again, "{} of {} messages", consumer.received().len(), 2 * sent.len());
    std::thread::sleep(QUIET);
    let received = consumer.finish();
    let (first, second) = received.split_at(sent.len());
    assert_same(&sent, first);
    assert_same(&sent, second);

    produce(program, peer, &topic, 20, None);
    reset_to(peer, &topic, &group, END);
    let behind = produce(program, peer, &topic, 8, None);
    let received = consume_exactly(program, peer, "consume", (&topic, &group), behind.len());
    assert_same(&behind, &received);
}

/// Tells a group to go to a store time in all queues.
fn reset_to(peer: &Peer, topic: &str, group: &str, timestamp: i64) {
    assert!(may_reset_to(peer, topic, group, timestamp), "it is reset");
}

/// The same, unless the broker refuses.
fn may_reset_to(peer: &Peer, topic: &str, group: &str, timestamp: i64) -> bool {
    let ext = [
        ("topic", topic.into()),
        ("group", group.into()),
        ("timestamp", timestamp.into()),
        ("isForce", true.into()),
    ];
    let answer = peer.connect_broker().call(request::INVOKE_BROKER_TO_RESET_OFFSET, &ext, &[]);
    let refused = answer.expect("an answer").success().err();
    refused.inspect(|why| println!("{group}: {why}")).is_none()
}
