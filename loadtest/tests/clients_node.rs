//! The Node client (`ali-ons` 3.12.0) against our broker (two shards) and, as the reference, against Java's 4.9.7.

use loadtest::harness::{Side, program::Library, scenario};

fn send_and_push_consume(side: Side) {
    let test = "node client";
    if let Some(program) = Library::Node.program(test)
        && let Some(peer) = side.peer(test)
    {
        scenario::consume_later(&program, peer, 100);
        scenario::restart_resumes(&program, peer, 100);
        scenario::tags(&program, peer);
        scenario::delayed(&program, peer);
        scenario::retried(&program, peer);
        scenario::given_up(&program, peer);
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
