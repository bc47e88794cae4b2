//! Power-cut images of the real store in a real directory: whatever a power cut leaves of what was asked of the disk,
//! what was promised is there, in order, with its bytes, and nothing else is. See `storesim::powercut`.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use storesim::{
    MutationTable,
    powercut::{Mutation, Order, Tally, Violation, run},
};

/// Executors that share two cores only wait for each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn play(order: impl FnOnce(&mut Order)) -> Arc<Tally> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut what = Order {
        dir: dir.path().to_owned(),
        seed: 0,
        cut: None,
        images: 150,
        cuts_max: 25,
        executors: 2,
        mutation: None,
    };
    order(&mut what);
    let tally = Arc::new(Tally::default());
    run(&what, &tally).expect("executors start");
    tally
}

fn violations(tally: &Tally) -> Vec<Violation> {
    tally.violations.lock().expect("nobody panicked").clone()
}

#[test]
fn what_was_promised_survives_power_cuts() {
    let tally = play(|_| {});
    let violations = violations(&tally);
    let replay = "cargo run --release -p storesim --bin powercut -- --seed N --cut I";
    assert!(violations.is_empty(), "{violations:#?}\nreplay: {replay}");
    println!("{tally:?}");
    // Images that hold nothing hold, too: they must keep meeting what they are for.
    let over = |count: &AtomicU64, least: u64| assert!(count.load(Relaxed) > least, "{tally:?}");
    over(&tally.images, 149);
    over(&tally.again, 20);
    over(&tally.messages, 5_000);
    over(&tally.seeds, 3);
    over(&tally.files, 10);
    over(&tally.shortened, 20);
    over(&tally.lucky, 20);
}

#[test]
fn what_the_store_relies_on_is_noticed_when_it_is_missing() {
    for mutation in Mutation::MUTATIONS.iter().copied() {
        let tally = play(|order| {
            order.mutation = Some(mutation);
            order.images = 300;
        });
        assert!(!violations(&tally).is_empty(), "{} goes unnoticed", mutation.name());
    }
}

#[test]
fn a_seed_is_a_tape() {
    for seed in [2, 3] {
        let trace = || {
            let tally = play(|order| (order.seed, order.cut) = (seed, Some(40)));
            (tally.trace.load(Relaxed), tally.images.load(Relaxed), tally.messages.load(Relaxed))
        };
        assert_eq!(trace(), trace());
    }
}
