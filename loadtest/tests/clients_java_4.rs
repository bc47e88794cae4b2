//! The Java 4.9.8 client against our broker (two shards) and, as the reference, against Java's 4.9.7.

use loadtest::harness::{Peer, Side, ordered, program::Library, scenario};

const JAVA: Library = Library::Java("4.9.8");
/// Makes the client send, commit and query through the second port (listenPort - 2).
const VIP_CHANNEL: &str = "-Dcom.rocketmq.sendMessageWithVIPChannel=true";
/// Makes the client write its headers in the binary form.
const BINARY_HEADERS: &str = "-Drocketmq.serialize.type=ROCKETMQ";

macro_rules! stories {
    ($($name:ident: $story:expr;)*) => {
        mod ours { $(#[test] fn $name() { super::play(super::Side::Ours, stringify!($name), $story) })* use super::*; }
        mod java { $(#[test] fn $name() { super::play(super::Side::Java4, stringify!($name), $story) })* use super::*; }
    };
}

fn play(side: Side, name: &str, story: impl FnOnce(&loadtest::harness::program::Program, &Peer)) {
    let test = format!("Java 4.9.8, {name}");
    if let Some(program) = JAVA.program(&test)
        && let Some(peer) = side.peer(&test)
    {
        story(&program, peer);
    }
}

stories! {
    quickstart: |program, peer| scenario::quickstart(program, peer, 1_000);
    restart_resumes: |program, peer| scenario::restart_resumes(program, peer, 100);
    share_and_take_over: scenario::share_and_take_over;
    killed_consumer_is_replaced: scenario::killed_consumer_is_replaced;
    tags: scenario::tags;
    delayed: scenario::delayed;
    retried: scenario::retried;
    given_up: scenario::given_up;
    ordered: ordered::ordered;
    matching: |program, peer| scenario::matching(program, peer, "matching");
    lite_pull: |program, peer| scenario::pull_and_resume(program, peer, "litepull");
    lite_assign: |program, peer| scenario::pull_and_resume(program, peer, "liteassign");
    pull: |program, peer| scenario::pull_and_resume(program, peer, "pull");
    batch_and_oneway: scenario::batch_and_oneway;
    look: scenario::look;
    query: scenario::query;
    binary_headers: |program, peer| {
        let program = program.with_java_option(BINARY_HEADERS);
        scenario::quickstart(&program, peer, 200);
        scenario::look(&program, peer);
    };
    vip_channel: |program, peer| {
        scenario::restart_resumes(&program.with_java_option(VIP_CHANNEL), peer, 100);
    };
}

#[test]
fn broker_restart() {
    if let Some(program) = JAVA.program("Java 4.9.8, broker_restart") {
        scenario::broker_restart(&program, &mut Peer::own());
    }
}
