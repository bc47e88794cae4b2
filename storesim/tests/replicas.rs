//! Two stores of one log: what a seed of the simulation must hold, and what it must notice.

use storesim::{
    MutationTable,
    replicas::{Mutation, Summary, run},
    seeds::Played,
};

fn play(seed: u64) -> Summary {
    run(seed, None).unwrap_or_else(|what| {
        panic!("seed {seed}: {what}\nreplay: cargo run -p storesim --bin replicasim -- --from {seed} --seeds 1")
    })
}

#[test]
fn a_hundred_histories_of_two_stores_hold() {
    let mut sum = Summary::default();
    (0..100).for_each(|seed| sum.add(&play(seed)));
    let Summary { epochs, deposed, cuts, entries, committed, accepted, cold, .. } = sum;
    assert!(epochs > 300 && deposed > 20 && cuts > 50, "{sum:?}");
    assert!(entries > 3_000 && committed > 1_000 && accepted > 1_000 && cold > 20, "{sum:?}");
    assert!(sum.boots_failed > 20 && sum.refused > 0 && sum.rotten > 5, "{sum:?}");
}

#[test]
fn a_seed_is_a_history_of_two_stores() {
    for seed in [2, 11] {
        assert_eq!(play(seed), play(seed));
    }
}

/// Each mutation, and the first seed that notices it as the schedule is now.
const NOTICED: [(Mutation, u64); Mutation::MUTATIONS.len()] = [
    (Mutation::AckBeforeSync, 329),
    (Mutation::CutNotSynced, 13),
    (Mutation::WitnessOfOthers, 631),
    (Mutation::OldEpochAccepted, 2),
    (Mutation::LineageIgnored, 0),
    (Mutation::StartWithoutEpoch, 0),
    (Mutation::ReadBeyondFlushed, 1),
    (Mutation::AcceptWithoutReplay, 0),
];

#[test]
fn what_two_stores_rely_on_is_noticed_when_it_is_missing() {
    for mutation in Mutation::MUTATIONS.iter().copied() {
        let known = NOTICED.iter().find(|(own, _)| *own == mutation);
        // That seed first: looking for one takes seconds.
        let mut seeds = known.map(|(_, seed)| *seed).into_iter().chain(0..2_000);
        let caught = seeds.find(|seed| run(*seed, Some(mutation)).is_err());
        assert!(caught.is_some(), "{} goes unnoticed", mutation.name());
    }
}
