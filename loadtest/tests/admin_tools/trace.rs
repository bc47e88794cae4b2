//! Message trace where the broker says that it is off: producers that would trace write nothing.

use super::table::Release;
use loadtest::harness::{Peer, program::Library};

const TOPIC: &str = "untraced-topic";
const TRACES: &str = "untraced-traces";
/// Unique id of the message.
const TRACED: &str = "0A000001000144444444000000000001";

/// A producer and a consumer that trace, against a broker with `traceOn=false`, which its answers to sends carry. It is the
/// producer that asks: a consumer traces what it was given.
pub(crate) fn off(release: Release, test: &str) -> Result<(), String> {
    let Some(program) = Library::Java(release.tools()).program(test) else { return Ok(()) };
    let peer = Peer::own_with(&[("traceOn", "false")]);
    peer.create_topic(TOPIC, 1);
    peer.create_topic(TRACES, 1);
    let namesrv = &peer.namesrv_addr;
    let words = ["traced", namesrv, TOPIC, "untraced", TRACED, TRACES, "SubAfter"];
    let output = program.run(&words);
    if output.contains("TRACED [SubAfter, SubBefore]") {
        return Ok(());
    }
    Err(output)
}
