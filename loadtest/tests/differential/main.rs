//! Goal: what our broker and its name server answer, and what they hold afterwards, is what Java's answer and hold; where
//! it is not, the difference is written down with its reason. Method: each case of the families below sends the same requests to
//! our broker and to Java's (4.9.7, or 5.3.3 where only that knows the request), and compares answers and state.
//!
//! A case fails when a difference appears that it does not list, and when one that it lists has gone.
//! Part of a name picks cases: `cargo test -p loadtest --test differential -- pulls::`. `RINGMQ_TRANSCRIPTS=1` prints both sides.

mod ask;
mod case;
mod compare;
mod families;
mod normal;
mod play;
mod state;

use case::Case;
use libtest_mimic::{Arguments, Trial};
use loadtest::harness::{Peer, Side, listed, unique};
use play::{Play, Transcript};
use std::{collections::BTreeSet, process::ExitCode, thread};

/// Cases that run at the same time, unless `--test-threads` says otherwise: they mostly wait for delays.
const AT_ONCE: usize = 16;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let cases = families::all();
    assert_names_differ(&cases);
    let trials = cases.into_iter().map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn assert_names_differ(cases: &[Case]) {
    let mut seen = BTreeSet::new();
    for case in cases {
        assert!(seen.insert(case.full_name()), "two cases are called {}", case.full_name());
    }
}

fn trial(case: Case) -> Trial {
    let name = case.full_name();
    Trial::test(name.clone(), move || {
        let (Some(java), Some(ours)) = (case.against.peer(&name), Side::Ours.peer(&name)) else {
            return Ok(());
        };
        run(&case, ours, java)
            .inspect_err(|wrong| eprintln!("## {name}\n{wrong}"))
            .map_err(Into::into)
    })
}

/// Plays the case on both sides at once. The error is everything that is not as the case says.
fn run(case: &Case, ours: &'static Peer, java: &'static Peer) -> Result<(), String> {
    // The same on both sides, so that names never differ; unique, so that cases never meet.
    let suffix = unique("");
    let [ours, java] = thread::scope(|scope| {
        let plays = [ours, java].map(|peer| scope.spawn(|| play(case, peer, &suffix)));
        plays.map(|play| play.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    if std::env::var_os("RINGMQ_TRANSCRIPTS").is_some() {
        eprintln!("{}\nours: {ours:#?}\nJava's: {java:#?}", case.full_name());
    }
    listed::judge(&compare::differences(&ours, &java), case.differs.iter())
}

fn play(case: &Case, peer: &'static Peer, suffix: &str) -> Transcript {
    let mut play = Play::new(peer, case.against, suffix);
    (case.script)(&mut play);
    play.finish()
}
