//! Message trace where the broker says that it is off: producers that would trace write nothing.

use super::table::Release;
use loadtest::harness::{self, Peer, program::Library};

const TOPIC: &str = "untraced-topic";
const TRACES: &str = "untraced-traces";

/// A producer and a consumer that trace, against a broker with `traceOn=false`, which its answers to sends carry. It is the
/// producer that asks: a consumer traces what it was given.
pub(crate) fn off(release: Release, test: &str) -> Result<(), String> {
    let Some(program) = Library::Java(release.tools()).program(test) else { return Ok(()) };
    let peer = Peer::own_with(&[("traceOn", "false")]);
    peer.create_topic(TOPIC, 1);
    peer.create_topic(TRACES, 1);
    let namesrv = &peer.namesrv_addr;
    let output = program.run(&["traced", namesrv, TOPIC, "untraced", TRACES]);
    let traces = harness::read_all(&mut peer.connect_broker(), TRACES, 1);
    let kinds: Vec<String> =
        traces.iter().map(|trace| String::from_utf8_lossy(&trace.body).chars().take(8).collect()).collect();
    let of_producer = kinds.iter().any(|kind| kind.starts_with("Pub"));
    if output.contains("TRACED ") && !kinds.is_empty() && !of_producer {
        return Ok(());
    }
    Err(format!("traces: {kinds:?}\n{output}"))
}
