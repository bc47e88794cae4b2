//! A request that everything ends, from a signal or from the program itself.
//!
//! A [`Stop`] is a flag and the doorbells of all executors that look at it: whoever sets the flag rings, so the request is
//! seen at once and nobody polls. It ends nothing itself; the `main` of each executor decides when it returns.

use std::{
    io, process,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::mesh::Bell;

/// Exit code after a second signal: 128 + SIGINT, as shells report an interrupted program.
pub const EXIT_INTERRUPTED: i32 = 130;

/// A shared request to stop. Clones share it; it is never taken back.
#[derive(Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Default)]
struct Shared {
    requested: AtomicBool,
    bells: Mutex<Vec<Weak<Bell>>>,
}

impl Stop {
    /// A stop that nobody has requested yet.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Lets SIGTERM and SIGINT request it. A second signal ends the process at once with
    /// [`EXIT_INTERRUPTED`]. To be called once per process.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let stop = self.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                if stop.requested() {
                    tracing::warn!(signal, "second signal, ending without further ado");
                    process::exit(EXIT_INTERRUPTED);
                }
                tracing::info!(signal, "stopping");
                stop.request();
            }
        })?;
        Ok(())
    }

    /// Requests it and wakes every executor. From any thread.
    pub fn request(&self) {
        self.0.requested.store(true, Ordering::SeqCst);
        let bells = self.0.bells.lock().unwrap_or_else(PoisonError::into_inner);
        for bell in bells.iter().filter_map(Weak::upgrade) {
            bell.ring();
        }
    }

    /// Whether it was requested.
    pub fn requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// Rings this bell, too, when it is requested.
    pub(crate) fn attach(&self, bell: &Arc<Bell>) {
        let mut bells = self.0.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|bell| bell.strong_count() > 0);
        bells.push(Arc::downgrade(bell));
    }
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stop").field(&self.requested()).finish()
    }
}
