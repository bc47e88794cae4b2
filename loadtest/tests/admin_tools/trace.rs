//! Message trace where the broker says that it is off: clients that would trace write nothing.

use super::table::Release;
use loadtest::harness::{Peer, program::Library};

const TOPIC: &str = "untraced-topic";
const TRACES: &str = "untraced-traces";
/// Unique id of the message.
const TRACED: &str = "0A000001000144444444000000000001";

/// A producer and a consumer that trace, against a broker with `traceOn=false`: its answers to sends say so to producers, its
/// messages to consumers.
pub(crate) fn off(release: Release, test: &str) -> Result<(), String> {
    let Some(program) = Library::Java(release.tools()).program(test) else { return Ok(()) };
    let peer = Peer::own_with(&[("traceOn", "false")]);
    peer.create_topic(TOPIC, 1);
    peer.create_topic(TRACES, 1);
    let group = "untraced";
    let output = program.run(&["traced", &peer.namesrv_addr, TOPIC, group, TRACED, TRACES]);
    let mut broker = peer.connect_broker();
    let traces = broker.max_offset(TRACES, 0).expect("an offset");
    let consumed = broker.consumer_offset(&format!("{group}-0"), TOPIC, 0).expect("an offset");
    if traces == 0 && consumed == 1 {
        return Ok(());
    }
    Err(format!("{traces} traces, {consumed} consumed:\n{output}"))
}
