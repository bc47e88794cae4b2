//! Goal: unmodified clients and tools of RocketMQ work with our broker and our name server. Method: each client library plays
//! the stories of [`loadtest::harness::scenario`] against our broker (two shards) and, as the reference, against Java's.
//!
//! All are one program with a harness that runs several stories at once on however few cores: they wait more than they work.
//! Part of a name picks stories: `cargo test -p loadtest --test clients -- go::ours`.

mod access;
mod mqadmin;
mod mqadmin_compared;
mod mqadmin_ours;
mod mqadmin_users;
mod name_servers;
mod tls;

use libtest_mimic::{Arguments, Trial};
use loadtest::harness::{
    self, Peer, Side, ordered, pop,
    program::{Library, Program},
    resets, scenario, spring,
};
use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// Stories that run at the same time, unless `--test-threads` says otherwise.
const AT_ONCE: usize = 8;

/// How often our broker is asked, what is long for an answer, and how long is waited for one.
const ASK_PERIOD: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(60);

const JAVA_4: Library = Library::Java("4.9.8");
const JAVA_5: Library = Library::Java("5.3.3");
/// The newest release whose client (5.3.0) can wait for the reply to a request without a callback.
const SPRING: Library = Library::Spring("2.3.1");
/// The newest release, with client 5.3.2.
const NEWEST_SPRING: Library = Library::Spring("2.3.5");
/// Makes the Java client send, commit and query through the second port (listenPort - 2).
const VIP_CHANNEL: &str = "-Dcom.rocketmq.sendMessageWithVIPChannel=true";
/// Makes the Java client write its headers in the binary form.
const BINARY_HEADERS: &str = "-Drocketmq.serialize.type=ROCKETMQ";

type Play = fn(&Program, &Peer);
type Stories = &'static [(&'static str, Play)];
/// A library, its name here, whom its stories are played against, and which.
type Row = (Library, &'static str, &'static [Side], &'static [Stories]);
const OURS: &[Side] = &[Side::Ours];
const OURS_AND_JAVA_4: &[Side] = &[Side::Ours, Side::Java4];
const OURS_AND_JAVA_5: &[Side] = &[Side::Ours, Side::Java5];

/// What every library does.
const COMMON: Stories = &[
    ("restart_resumes", |program, peer| scenario::restart_resumes(program, peer, 100)),
    ("tags", scenario::tags),
    ("delayed", scenario::delayed),
];
/// What the libraries without stories of their own for it do.
const LATER: Stories =
    &[("consume_later", |program, peer| scenario::consume_later(program, peer, 100))];
const RETRIED: Stories = &[("retried", scenario::retried)];
const GIVEN_UP: Stories = &[("given_up", scenario::given_up)];
const ORDERED: Stories = &[("ordered", ordered::ordered)];
const REQUESTED: Stories = &[("requested", scenario::requested)];
const TRANSACTED: Stories = &[("transacted", scenario::transacted)];
const BROADCAST: Stories = &[("broadcast", scenario::broadcast)];
const RESET: Stories = &[("reset", resets::reset)];
const MATCHING: Stories =
    &[("matching", |program, peer| scenario::matching(program, peer, "matching"))];
/// What only the Java clients do.
const JAVA: Stories = &[
    ("share_and_take_over", scenario::share_and_take_over),
    ("killed_consumer_is_replaced", scenario::killed_consumer_is_replaced),
    ("quickstart", |program, peer| scenario::quickstart(program, peer, 1_000)),
    ("lite_pull", |program, peer| scenario::pull_and_resume(program, peer, "litepull")),
    ("lite_assign", |program, peer| scenario::pull_and_resume(program, peer, "liteassign")),
    ("pull", |program, peer| scenario::pull_and_resume(program, peer, "pull")),
    ("batch_and_oneway", scenario::batch_and_oneway),
    ("look", scenario::look),
    ("query", scenario::query),
    ("progress", scenario::progress),
];
/// What both releases do.
const OF_JAVA: &[Stories] =
    &[COMMON, RETRIED, GIVEN_UP, MATCHING, ORDERED, REQUESTED, TRANSACTED, BROADCAST, RESET, JAVA];
const JAVA_4_ONLY: Stories = &[
    ("binary_headers", |program, peer| {
        let program = program.with_java_option(BINARY_HEADERS);
        scenario::quickstart(&program, peer, 200);
        scenario::look(&program, peer);
    }),
    ("vip_channel", |program, peer| {
        scenario::restart_resumes(&program.with_java_option(VIP_CHANNEL), peer, 100);
    }),
];
const JAVA_5_ONLY: Stories = &[
    ("matching_pull", |program, peer| scenario::matching(program, peer, "matchingpull")),
    ("timed", scenario::timed),
    ("pop_switched", pop::switched),
    ("pop_taken_over", pop::taken_over),
    ("pop", pop::shared),
    ("pop_retried", pop::retried),
    ("pop_tags", pop::tagged),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let of_tools = [
        mqadmin::trials(),
        mqadmin_compared::trials(),
        mqadmin_ours::trials(),
        mqadmin_users::trials(),
        access::trials(),
        tls::trials(),
    ];
    let trials = [stories(), own_brokers(), name_servers::trials()].into_iter().chain(of_tools);
    let trials = trials.flatten().collect();
    thread::spawn(ask_ours_again_and_again);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Says when our broker or its name server took long for a small answer. On a busy machine clients give up on brokers,
/// and this tells whose fault it was.
fn ask_ours_again_and_again() {
    let Some(peer) = Side::Ours.peer("our broker answers at any time") else { return };
    let mut namesrv = harness::connect(peer.namesrv_addr.parse().expect("literal"), PATIENCE);
    let mut broker = peer.connect_broker();
    loop {
        thread::sleep(ASK_PERIOD);
        let began = Instant::now();
        let _ = namesrv.route("TBW102", true);
        let route = began.elapsed();
        let _ = broker.max_offset("TBW102", 0);
        let offset = began.elapsed() - route;
        if route.max(offset) > LONG {
            eprintln!(
                "our name server took {route:?} for a route, our broker {offset:?} for an offset"
            );
        }
    }
}

/// Each library's stories, those that take longest first.
fn stories() -> Vec<Trial> {
    let rows: [Row; 13] = [
        (
            Library::Go,
            "go",
            OURS_AND_JAVA_4,
            &[
                COMMON, LATER, RETRIED, GIVEN_UP, MATCHING, ORDERED, REQUESTED, TRANSACTED,
                BROADCAST, RESET,
            ],
        ),
        (Library::Node, "node", OURS_AND_JAVA_4, &[COMMON, LATER, RETRIED, GIVEN_UP]),
        (Library::Python, "python", OURS_AND_JAVA_4, &[COMMON, LATER, ORDERED, BROADCAST]),
        // These do not do what a broker of 4.9 asks them for when offsets are reset, and stay where they are.
        (Library::Node, "node", OURS, &[RESET]),
        (Library::Python, "python", OURS, &[RESET]),
        // The client drops a message whose sending back fails, for any reason: of Java's broker 2 of 20 were lost.
        (Library::Python, "python", OURS, &[RETRIED]),
        // Against Java's broker it passes, too, and takes a minute: the time of a lock there.
        (JAVA_5, "java_5", OURS, &[&[("ordered_owner_dies", ordered::owner_dies)]]),
        (JAVA_4, "java_4", OURS_AND_JAVA_4, OF_JAVA),
        (JAVA_4, "java_4", OURS_AND_JAVA_4, &[JAVA_4_ONLY]),
        (JAVA_5, "java_5", OURS_AND_JAVA_5, OF_JAVA),
        (JAVA_5, "java_5", OURS_AND_JAVA_5, &[JAVA_5_ONLY]),
        (SPRING, "spring", OURS_AND_JAVA_5, &[&[("application", spring::application)]]),
        (NEWEST_SPRING, "spring_newest", OURS_AND_JAVA_5, &[&[("application", spring::callbacks)]]),
    ];
    let mut trials = Vec::new();
    for (library, name, sides, groups) in rows {
        for side in sides {
            let stories = groups.concat();
            let trial = |(story, play)| story_trial(library, name, *side, story, play);
            trials.extend(stories.into_iter().map(trial));
        }
    }
    trials
}

/// Stories that need a broker of their own.
fn own_brokers() -> Vec<Trial> {
    type Own = fn(&Program, &mut Peer);
    let rows: [(Library, &str, Own); 4] = [
        (JAVA_4, "java_4::broker_restart", scenario::broker_restart),
        (JAVA_4, "java_4::ordered_broker_killed", ordered::broker_killed),
        (JAVA_5, "java_5::ordered_broker_killed", ordered::broker_killed),
        (Library::Go, "go::ordered_broker_killed", ordered::broker_killed),
    ];
    let own = |(library, name, play): (Library, &str, Own)| {
        trial(name.to_owned(), move |test| {
            if let Some(program) = library.program(test) {
                play(&program, &mut Peer::own());
            }
        })
    };
    rows.into_iter().map(own).collect()
}

fn story_trial(library: Library, name: &str, side: Side, story: &str, play: Play) -> Trial {
    let of_side = if side == Side::Ours { "ours" } else { "java" };
    trial(format!("{name}::{of_side}::{story}"), move |test| {
        if let Some(program) = library.program(test)
            && let Some(peer) = side.peer(test)
        {
            play(&program, peer);
        }
    })
}

/// A test that fails when `run` panics. It gets the test's name.
fn trial(name: String, run: impl FnOnce(&str) + Send + 'static) -> Trial {
    let test = name.clone();
    Trial::test(name, move || {
        run(&test);
        Ok(())
    })
}
