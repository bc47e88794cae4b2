//! Plays seeds of the store's crash simulation on all cores and names those that failed.
//!
//! `crashsim --seeds 10000 [--from N] [--mutation NAME]`. With a mutation it looks for a seed that notices it; a single
//! seed (`--seeds 1`) is told as a story on standard error.
//! Exit code: 0 when all seeds held (or the mutation was noticed), 1 otherwise, 2 for a wrong command line.

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use store::crashsim::{Mutation, Summary, run, tell};

/// Failing seeds named at the end.
const NAMED_MAX: usize = 20;

struct Order {
    seeds: u64,
    from: u64,
    mutation: Option<Mutation>,
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
    let order = match parse(std::env::args().skip(1)) {
        Ok(order) => order,
        Err(what) => {
            eprintln!("crashsim: {what}\nusage: crashsim [--seeds N] [--from N] [--mutation NAME]");
            return ExitCode::from(2);
        }
    };
    // A panic is a finding like any other; it is reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let started = Instant::now();
    let board = Board::default();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| work(&order, &board));
        }
        scope.spawn(|| show_progress(&order, &board, started));
    });
    report(&order, &board, started)
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Order, String> {
    let mut order = Order { seeds: 1_000, from: 0, mutation: None };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{word} {value}: not a number"));
        match word.as_str() {
            "--seeds" => order.seeds = number()?,
            "--from" => order.from = number()?,
            "--mutation" => {
                let names = Mutation::ALL.map(Mutation::name).join(", ");
                let unknown = || format!("no mutation {value}; there are {names}");
                order.mutation = Some(Mutation::named(&value).ok_or_else(unknown)?);
            }
            _ => return Err(format!("no option {word}")),
        }
    }
    Ok(order)
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

fn show_progress(order: &Order, board: &Board, started: Instant) {
    let mut shown = Instant::now();
    while board.done.load(Relaxed) < order.seeds && !board.stop.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
        if shown.elapsed() < Duration::from_secs(1) {
            continue;
        }
        shown = Instant::now();
        let done = board.done.load(Relaxed);
        let failed = board.failed.lock().expect("no worker panics").len();
        let rate = done as f64 / started.elapsed().as_secs_f64();
        eprint!("\r{done} of {} seeds, {rate:.0}/s, {failed} failed ", order.seeds);
    }
    eprintln!();
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
