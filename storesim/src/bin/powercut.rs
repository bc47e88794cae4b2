//! Builds power-cut images of the real store on a real disk and names those that did not hold.
//!
//! `powercut --images 1000 [--seed N] [--cut I] [--mutation NAME] [--dir DIR]`. `--seed N --cut I` repeats one power cut
//! alone. With a mutation it looks for an image that notices it. Images are made below DIR, by default the directory
//! for temporary files, which must support direct I/O.
//! Exit code: 0 when all images held (or the mutation was noticed), 1 otherwise, 2 for a wrong command line.

use clap::Parser;
use mqstore::Progress;
use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    thread,
    time::Instant,
};
use storesim::{
    MutationTable,
    powercut::{Mutation, Order, Tally, run},
};

/// Violations named at the end.
const NAMED_MAX: usize = 20;

/// Builds power-cut images of the real store.
#[derive(Parser)]
struct Cli {
    /// How many.
    #[arg(long, default_value_t = 1_000)]
    images: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only this power cut of the seed.
    #[arg(long)]
    cut: Option<usize>,
    /// What is missing; play until an image notices it.
    #[arg(long, value_parser = Mutation::named)]
    mutation: Option<Mutation>,
    /// Where images are made; by default the directory for temporary files.
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Cli {
    fn order(self) -> Order {
        let own = || std::env::temp_dir().join(format!("powercut-{}", std::process::id()));
        Order {
            dir: self.dir.unwrap_or_else(own),
            seed: self.seed,
            cut: self.cut,
            images: self.images,
            cuts_max: usize::MAX,
            executors: thread::available_parallelism().map_or(1, usize::from),
            mutation: self.mutation,
        }
    }
}

fn main() -> ExitCode {
    runtime::end_on_broken_pipe();
    let order = Cli::parse().order();
    // A panic of the store is a finding like any other; it is reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let started = Instant::now();
    let tally = Arc::new(Tally::default());
    let (played, shown) = (order.clone(), tally.clone());
    let playing = thread::spawn(move || run(&played, &shown));
    let done = || (!playing.is_finished()).then(|| tally.images.load(Relaxed));
    Progress::of_things("images", order.images).follow(done);
    match playing.join() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            eprintln!("powercut: {error}");
            return ExitCode::FAILURE;
        }
        Err(_) => return ExitCode::FAILURE,
    }
    // Only ours, and only when it is empty.
    let _ = std::fs::remove_dir(&order.dir);
    report(&order, &tally, started)
}

fn report(order: &Order, tally: &Tally, started: Instant) -> ExitCode {
    let took = started.elapsed();
    let mut violations = tally.violations.lock().unwrap_or_else(PoisonError::into_inner);
    violations.sort_by_key(|violation| (violation.seed, violation.cut));
    for violation in violations.iter().take(NAMED_MAX) {
        let seed = violation.seed;
        match violation.cut {
            Some(cut) => println!("--seed {seed} --cut {cut}: {}", violation.what),
            None => println!("--seed {seed}, the recorded life itself: {}", violation.what),
        }
    }
    let images = tally.images.load(Relaxed);
    if let Some(mutation) = order.mutation {
        return mutation.report(!violations.is_empty(), &format!("{images} images"), took);
    }
    println!(
        "{images} images in {took:.1?}, {} of them after a power cut during or soon after a boot\n\
         {} seeds from {}: {} moments and {} files recorded, trace {:016x}\n\
         {} messages compared; {} boots found less than was appended, {} more than was promised\n\
         {} violations",
        tally.again.load(Relaxed),
        tally.seeds.load(Relaxed),
        order.seed,
        tally.moments.load(Relaxed),
        tally.files.load(Relaxed),
        tally.trace.load(Relaxed),
        tally.messages.load(Relaxed),
        tally.shortened.load(Relaxed),
        tally.lucky.load(Relaxed),
        violations.len(),
    );
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
