//! The program around a simulation that is played by seeds: `crashsim` and `replicasim`. All cores play; what failed is
//! named with its seed.

use crate::MutationTable;
use clap::Parser;
use mqstore::Progress;
use std::{
    fmt::Debug,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

/// Failing seeds named at the end.
const NAMED_MAX: usize = 20;

/// What a seed of a simulation did, as far as it held.
pub trait Played: Default + Debug + Send {
    /// What can be missing.
    type Mutation: MutationTable;

    /// Plays one seed; `verbose`: and prints on standard error what happens. `Err` says what did not hold; a failed
    /// assertion of the store counts as such.
    fn play(seed: u64, mutation: Option<Self::Mutation>, verbose: bool) -> Result<Self, String>;

    /// Adds the counts of another seed.
    fn add(&mut self, other: &Self);
}

/// Plays seeds of a simulation on all cores and names those that failed.
///
/// With a mutation it looks for a seed that notices it. Exit code: 0 when all seeds held (or the mutation was noticed), 1
/// otherwise, 2 for a wrong command line.
#[derive(Parser)]
struct Cli<M: MutationTable> {
    /// How many; a single one is printed as a story on standard error.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// What is missing; play until a seed notices it.
    #[arg(long, value_parser = M::named)]
    mutation: Option<M>,
}

/// What the threads share.
#[derive(Default)]
struct Board<S> {
    next: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
    sum: Mutex<S>,
    failed: Mutex<Vec<(u64, String)>>,
}

/// The program: reads the command line, plays, reports.
pub fn main<S: Played>() -> ExitCode {
    runtime::end_on_broken_pipe();
    let cli = Cli::<S::Mutation>::parse();
    // A panic is a finding like any other; it is reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let started = Instant::now();
    let board = Board::<S>::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work::<S>(&cli, &board));
        }
        let done = || {
            Some(board.done.load(Relaxed))
                .filter(|done| *done < cli.seeds && !board.stop.load(Relaxed))
        };
        Progress::of_things("seeds", cli.seeds).follow(done);
    });
    report(&cli, &board, started)
}

fn work<S: Played>(cli: &Cli<S::Mutation>, board: &Board<S>) {
    while !board.stop.load(Relaxed) {
        let index = board.next.fetch_add(1, Relaxed);
        if index >= cli.seeds {
            return;
        }
        let seed = cli.from + index;
        match S::play(seed, cli.mutation, cli.seeds == 1) {
            Ok(played) => board.sum.lock().expect("nobody panics with it").add(&played),
            Err(what) => {
                board.failed.lock().expect("nobody panics with it").push((seed, what));
                if cli.mutation.is_some() {
                    board.stop.store(true, Relaxed);
                }
            }
        }
        board.done.fetch_add(1, Relaxed);
    }
}

fn report<M: MutationTable, S: Debug>(
    cli: &Cli<M>,
    board: &Board<S>,
    started: Instant,
) -> ExitCode {
    let mut failed = board.failed.lock().expect("nobody panics with it");
    failed.sort();
    for (seed, what) in failed.iter().take(NAMED_MAX) {
        println!("seed {seed}: {what}");
    }
    let (done, took) = (board.done.load(Relaxed), started.elapsed());
    if let Some(mutation) = cli.mutation {
        return mutation.report(!failed.is_empty(), &format!("{done} seeds"), took);
    }
    let sum = board.sum.lock().expect("nobody panics with it");
    println!("{done} seeds in {took:.1?}, {} failed\n{sum:#?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
