//! Builds power-cut images of the real store on a real disk and names those that did not hold.
//!
//! `powercut --images 1000 [--seed N] [--cut I] [--mutation NAME] [--dir DIR]`. `--seed N --cut I` repeats one power cut
//! alone. With a mutation it looks for an image that notices it. Images are made below DIR, by default the directory
//! for temporary files, which must support direct I/O.
//! Exit code: 0 when all images held (or the mutation was noticed), 1 otherwise, 2 for a wrong command line.

use std::{
    process::ExitCode,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};
use store::powercut::{Mutation, Order, Tally, run};

/// Violations named at the end.
const NAMED_MAX: usize = 20;

fn main() -> ExitCode {
    let order = match parse(std::env::args().skip(1)) {
        Ok(order) => order,
        Err(what) => {
            eprintln!(
                "powercut: {what}\nusage: powercut [--images N] [--seed N] [--cut I] \
                 [--mutation NAME] [--dir DIR]"
            );
            return ExitCode::from(2);
        }
    };
    // A panic of the store is a finding like any other; it is reported with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let started = Instant::now();
    let tally = Arc::new(Tally::default());
    let (played, shown) = (order.clone(), tally.clone());
    let playing = thread::spawn(move || run(&played, &shown));
    show_progress(&order, &tally, started, || playing.is_finished());
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

fn parse(mut words: impl Iterator<Item = String>) -> Result<Order, String> {
    let executors = thread::available_parallelism().map_or(1, usize::from);
    let dir = std::env::temp_dir().join(format!("powercut-{}", std::process::id()));
    let mut order = Order {
        dir,
        seed: 0,
        cut: None,
        images: 1_000,
        cuts_max: usize::MAX,
        executors,
        mutation: None,
    };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{word} {value}: not a number"));
        match word.as_str() {
            "--images" => order.images = number()?,
            "--seed" => order.seed = number()?,
            "--cut" => {
                let cut = value.parse().map_err(|_| format!("--cut {value}: not a number"))?;
                order.cut = Some(cut);
            }
            "--dir" => order.dir = value.into(),
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

fn show_progress(order: &Order, tally: &Tally, started: Instant, done: impl Fn() -> bool) {
    let mut shown = Instant::now();
    while !done() {
        thread::sleep(Duration::from_millis(20));
        if shown.elapsed() < Duration::from_secs(1) {
            continue;
        }
        shown = Instant::now();
        let images = tally.images.load(Relaxed);
        let failed = tally.violations.lock().unwrap_or_else(PoisonError::into_inner).len();
        let rate = images as f64 / started.elapsed().as_secs_f64();
        eprint!("\r{images} of {} images, {rate:.0}/s, {failed} failed ", order.images);
    }
    eprintln!();
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
        let noticed = !violations.is_empty();
        let verdict = if noticed { "noticed" } else { "NOT noticed" };
        println!("{} {verdict} after {images} images in {took:.1?}", mutation.name());
        return if noticed { ExitCode::SUCCESS } else { ExitCode::FAILURE };
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
