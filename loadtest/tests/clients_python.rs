//! The Python client (`rocketmq` 0.4.4, C++ inside) against our broker (two shards) and, as the reference, against Java's 4.9.7.

use loadtest::harness::{Side, ordered, program::Library, scenario};

fn send_and_push_consume(side: Side) {
    let test = "python client";
    if let Some(program) = Library::Python.program(test)
        && let Some(peer) = side.peer(test)
    {
        scenario::consume_later(&program, peer, 100);
        scenario::restart_resumes(&program, peer, 100);
        scenario::tags(&program, peer);
        scenario::delayed(&program, peer);
        ordered::ordered(&program, peer);
        // The client drops a message whose sending back fails, for any reason: of Java's broker 2 of 20 were lost.
        if side == Side::Ours {
            scenario::retried(&program, peer);
        }
    }
}

#[test]
fn ours() {
    send_and_push_consume(Side::Ours);
}

#[test]
fn java() {
    send_and_push_consume(Side::Java4);
}
