//! The story of a Spring Boot application with RocketMQ's starter (`loadtest/clients/spring`): its template sends in every way
//! that it has, its annotated listeners consume in every way.
//!
//! The application knows what should come to which listener, and ends well when that has come, in order and nothing else.
//! What depends on whose broker it is, is checked here: nothing is early, nothing comes twice.

use std::{collections::HashSet, time::Duration};

use super::{
    Peer, Side,
    program::{Program, RUN_WAIT_MAX, Running},
    scenario::QUEUES,
    starts, unique,
};

/// What the application finds at the broker, behind a prefix of its own.
const TOPICS: [&str; 5] = ["plain", "ordered", "failing", "transacted", "requests"];
/// Messages that wait, and how long: delay level 2, a time, and the first retry, which is level 3 (see [`super::LEVELS`]).
const WAITING: [(&str, Duration); 3] = [
    ("level", Duration::from_secs(2)),
    ("timed", Duration::from_secs(3)),
    ("fails", Duration::from_secs(3)),
];
/// Java's broker delivers when the second begins in which a timed message is due.
const EARLY_IN_JAVA: Duration = Duration::from_secs(2);

/// All that the application does.
pub fn application(program: &Program, peer: &Peer) {
    play(program, peer, true);
}

/// The same with a callback for the reply of each request. Since 5.3.1 the client gives up waiting for a reply as soon as its
/// request is sent, whoever's the broker is.
pub fn callbacks(program: &Program, peer: &Peer) {
    play(program, peer, false);
}

fn play(program: &Program, peer: &Peer, blocking_request: bool) {
    let story = unique("spring");
    TOPICS.iter().for_each(|topic| peer.create_topic(&format!("{story}-{topic}"), QUEUES));
    let options = [
        format!("--rocketmq.name-server={}", peer.namesrv_addr),
        format!("--story={story}"),
        format!("--blocking-request={blocking_request}"),
    ];
    let starting = starts::begin();
    let application = Running::start(program, &options.each_ref().map(String::as_str));
    let output = application.output();
    // Of one that does not get ready, its end tells why.
    Running::wait_line(&output, 0, RUN_WAIT_MAX, |line| line == "READY");
    drop(starting);
    Running::wait_line(&output, 0, RUN_WAIT_MAX, |line| line.starts_with("DONE "));
    let arrivals = application.lines_with("GOT ");
    application.finish();
    let mut seen = HashSet::new();
    for line in &arrivals {
        let [_, listener, body, waited @ ..] = &line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        // Java's broker notes decisions on transactions seconds later, and asks and commits again meanwhile.
        assert!(seen.insert((*listener, *body)) || peer.side != Side::Ours, "twice: {line}");
        let Some(waited) = waited.first() else { continue };
        let waited = Duration::from_millis(waited.parse().unwrap_or_else(|_| panic!("{line}")));
        let early = *listener != "failed" && waited < least(peer.side, body);
        assert!(!early, "early: {line}");
    }
}

/// How long a message is on its way at least.
fn least(side: Side, body: &str) -> Duration {
    let waits = WAITING.iter().find(|(waiting, _)| *waiting == body).map(|(_, waits)| *waits);
    match waits {
        None => Duration::ZERO,
        Some(waits) if body == "timed" && side != Side::Ours => waits - EARLY_IN_JAVA,
        Some(waits) => waits,
    }
}
