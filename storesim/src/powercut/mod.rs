//! Power-cut images of the real store: what it asks the real disk is recorded, and each image that a power cut may leave
//! is laid into a real directory, where the real recovery must find everything that was promised and nothing else.
//!
//! `crashsim` does the same over a simulated disk, much faster; here the calls go through io_uring and direct I/O, and
//! the model of what survives is another one (`medium`), so that neither hides the other's mistakes. The oracle is
//! shared (`crashsim::book`). `tests/powercut.rs` builds some hundred images, the binary `powercut` as many as one
//! likes. Not used by the broker.

mod fate;
mod life;
mod medium;
mod recorder;
mod seed;
mod served;
mod site;
mod tape;
#[cfg(test)]
mod tests;
mod work;

use crate::mutations::mutations;
use runtime::{Executor, Mesh, RunError, Settings, Stop};
use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

// Below the store, to prove that it would be noticed.
mutations! {
    /// `fdatasync` is not called.
    SkipSync = "sync",
    /// Directories are not synced.
    SkipDirectorySync = "directory-sync",
}

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Order {
    /// A directory for the images, on a file system with direct I/O. What is made in it is removed again.
    pub dir: PathBuf,
    /// First seed.
    pub seed: u64,
    /// Only this seed, with the power cut at this moment of its tape.
    pub cut: Option<usize>,
    /// Seeds are played until there were so many images.
    pub images: u64,
    /// Most cuts of one seed.
    pub cuts_max: usize,
    /// Executors that play seeds side by side.
    pub executors: usize,
    /// What is missing. The first violation ends everything then.
    pub mutation: Option<Mutation>,
}

/// Something that did not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Seed.
    pub seed: u64,
    /// Moment of the power cut; `None` when it was the recorded life itself.
    pub cut: Option<usize>,
    /// What was found.
    pub what: String,
}

/// Counts, to be looked at from any thread.
#[derive(Debug, Default)]
pub struct Tally {
    /// Images that a store booted on.
    pub images: AtomicU64,
    /// Those of them that a power cut during the boot, or soon after it, left.
    pub again: AtomicU64,
    /// Messages compared.
    pub messages: AtomicU64,
    /// Boots that found less than was appended; nothing of that was promised.
    pub shortened: AtomicU64,
    /// Boots that found something that was not promised.
    pub lucky: AtomicU64,
    /// Lives recorded.
    pub seeds: AtomicU64,
    /// Moments recorded in them.
    pub moments: AtomicU64,
    /// Files made in them.
    pub files: AtomicU64,
    /// Hash of all recorded lives: the same seeds give the same.
    pub trace: AtomicU64,
    /// What did not hold.
    pub violations: Mutex<Vec<Violation>>,
    enough: AtomicU64,
    next: AtomicU64,
    stop: AtomicBool,
}

impl Tally {
    fn is_enough(&self) -> bool {
        self.stop.load(Relaxed) || self.images.load(Relaxed) >= self.enough.load(Relaxed)
    }

    fn note(&self, violation: Violation) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(violation);
    }
}

/// Plays `order` and returns when it is done. Errors: the executors did not start.
///
/// A panic outside of the store, such as of a full disk, ends the process.
pub fn run(order: &Order, tally: &Arc<Tally>) -> Result<(), RunError> {
    tally.enough.store(order.images, Relaxed);
    tally.next.store(order.seed, Relaxed);
    let count = if order.cut.is_some() { 1 } else { order.executors };
    let settings = Settings::unpinned("powercut", count);
    let (order, tally) = (order.clone(), tally.clone());
    runtime::run(settings, Stop::new(), move |here: Executor, _: Mesh<()>| {
        let (order, tally) = (order.clone(), tally.clone());
        async move {
            work(&here, &order, &tally).await;
            Ok(())
        }
    })
}

async fn work(here: &Executor, order: &Order, tally: &Tally) {
    while !tally.is_enough() {
        let seed = tally.next.fetch_add(1, Relaxed);
        let dir = order.dir.join(format!("seed-{seed}"));
        let play = seed::Play {
            seed,
            cut: order.cut,
            cuts_max: order.cuts_max,
            mutation: order.mutation,
            dir: dir.clone(),
        };
        let held = seed::play(here.disk(), &play, tally).await;
        // Left behind it costs only space.
        let _ = here.blocking(move || std::fs::remove_dir_all(dir)).await;
        if let Err(violation) = held {
            tally.note(violation);
            tally.stop.fetch_or(order.mutation.is_some(), Relaxed);
        }
        if order.cut.is_some() {
            return;
        }
    }
}
