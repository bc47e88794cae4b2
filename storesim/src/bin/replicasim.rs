//! Plays seeds of the simulation of a leader and its follower on all cores and names those that failed.
//!
//! `replicasim --seeds 10000 [--from N] [--mutation NAME]`. With a mutation it looks for a seed that notices it; a single
//! seed (`--seeds 1`) is printed as a story on standard error.
//! Exit code: 0 when all seeds held (or the mutation was noticed), 1 otherwise, 2 for a wrong command line.

use clap::Parser;
use mqstore::Progress;
use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};
use storesim::replicas::{Mutation, Summary, run, tell};

/// Failing seeds named at the end.
const NAMED_MAX: usize = 20;

/// Plays seeds of the simulation of a leader and its follower.
#[derive(Parser)]
struct Order {
    /// How many; a single one is printed as a story.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// What is missing; play until a seed notices it.
    #[arg(long, value_parser = mutation_named)]
    mutation: Option<Mutation>,
}

fn mutation_named(name: &str) -> Result<Mutation, String> {
    let names = Mutation::ALL.map(Mutation::name).join(", ");
    Mutation::named(name).ok_or_else(|| format!("there are {names}"))
}

/// What the workers share.
#[derive(Default)]
struct Board {
    next: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
    sum: Mutex<Summary>,
    failed: Mutex<Vec<(u64, String)>>,
}

fn main() -> ExitCode {
    let order = Order::parse();
    // A panic is a finding like any other; it is reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let started = Instant::now();
    let board = Board::default();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| work(&order, &board));
        }
        let done = || {
            Some(board.done.load(Relaxed))
                .filter(|done| *done < order.seeds && !board.stop.load(Relaxed))
        };
        Progress::of_things("seeds", order.seeds).follow(done);
    });
    report(&order, &board, started)
}

fn work(order: &Order, board: &Board) {
    while !board.stop.load(Relaxed) {
        let index = board.next.fetch_add(1, Relaxed);
        if index >= order.seeds {
            return;
        }
        let seed = order.from + index;
        let play = if order.seeds == 1 { tell } else { run };
        match play(seed, order.mutation) {
            Ok(summary) => board.sum.lock().expect("no worker panics").add(&summary),
            Err(what) => {
                board.failed.lock().expect("no worker panics").push((seed, what));
                if order.mutation.is_some() {
                    board.stop.store(true, Relaxed);
                }
            }
        }
        board.done.fetch_add(1, Relaxed);
    }
}

fn report(order: &Order, board: &Board, started: Instant) -> ExitCode {
    let mut failed = board.failed.lock().expect("no worker panics");
    failed.sort();
    for (seed, what) in failed.iter().take(NAMED_MAX) {
        println!("seed {seed}: {what}");
    }
    let (done, took) = (board.done.load(Relaxed), started.elapsed());
    if let Some(mutation) = order.mutation {
        let noticed = !failed.is_empty();
        let verdict = if noticed { "noticed" } else { "NOT noticed" };
        println!("{} {verdict} after {done} seeds in {took:.1?}", mutation.name());
        return if noticed { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let sum = board.sum.lock().expect("no worker panics");
    println!("{done} seeds in {took:.1?}, {} failed\n{sum:#?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
