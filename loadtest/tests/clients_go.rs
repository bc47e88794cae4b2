//! The Go client (v2.1.2) against our broker (two shards) and, as the reference, against Java's 4.9.7.

use loadtest::harness::{Side, ordered, program::Library, scenario};

fn send_and_push_consume(side: Side) {
    let test = "go client";
    if let Some(program) = Library::Go.program(test)
        && let Some(peer) = side.peer(test)
    {
        scenario::consume_later(&program, peer, 100);
        scenario::restart_resumes(&program, peer, 100);
        scenario::tags(&program, peer);
        scenario::delayed(&program, peer);
        scenario::retried(&program, peer);
        scenario::given_up(&program, peer);
        scenario::matching(&program, peer, "matching");
        ordered::ordered(&program, peer);
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
