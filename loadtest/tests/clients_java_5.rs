//! The Java 5.3.3 client against our broker (two shards) and, as the reference, against Java's 5.3.3.

use loadtest::harness::{Side, ordered, program::Library, scenario};

const JAVA: Library = Library::Java("5.3.3");

macro_rules! stories {
    ($($name:ident: $story:expr;)*) => {
        mod ours { $(#[test] fn $name() { super::play(super::Side::Ours, stringify!($name), $story) })* use super::*; }
        mod java { $(#[test] fn $name() { super::play(super::Side::Java5, stringify!($name), $story) })* use super::*; }
    };
}

fn play(
    side: Side,
    name: &str,
    story: impl FnOnce(&loadtest::harness::program::Program, &loadtest::harness::Peer),
) {
    let test = format!("Java 5.3.3, {name}");
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
    matching: |program, peer| scenario::matching(program, peer, "matching");
    matching_pull: |program, peer| scenario::matching(program, peer, "matchingpull");
    ordered: ordered::ordered;
    lite_pull: |program, peer| scenario::pull_and_resume(program, peer, "litepull");
    lite_assign: |program, peer| scenario::pull_and_resume(program, peer, "liteassign");
    pull: |program, peer| scenario::pull_and_resume(program, peer, "pull");
    batch_and_oneway: scenario::batch_and_oneway;
    look: scenario::look;
    query: scenario::query;
}

/// Against Java's broker it passes, too, and takes a minute: the time of a lock there.
#[test]
fn ordered_owner_dies() {
    play(Side::Ours, "ordered_owner_dies", ordered::owner_dies);
}
