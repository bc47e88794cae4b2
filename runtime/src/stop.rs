//! The end of a process: requested from any thread, seen by every executor.
//!
//! A request is a flag and a ring of each executor's bell; what an executor still has to do is its own business. The
//! thread that runs them ([`crate::run`]) hears of it, too: it bounds how long they may take, and returns at once while
//! the process is interruptible, as a start is: nothing has been promised then that would have to be kept. Before it
//! runs them, a signal ends such a process by itself.

use std::{
    fs, io, process,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicI32, Ordering},
        mpsc,
    },
    thread,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGUSR1},
    flag,
    iterator::Signals,
};

use crate::{executor::Event, mesh::Bell};

/// Exit code after a second signal: 128 + SIGINT, as shells report an interrupted program.
pub const EXIT_INTERRUPTED: i32 = 130;

/// A shared request to stop. Clones share it; it is never taken back.
#[derive(Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Default)]
struct Shared {
    requested: AtomicBool,
    interruptible: AtomicBool,
    /// Exit code of a request before anything runs.
    unfinished: AtomicI32,
    bells: Mutex<Vec<Weak<Bell>>>,
    runner: Mutex<Option<mpsc::Sender<Event>>>,
}

/// SIGUSR1 of the process, for who looks whether it came. It does not end the process any more.
#[derive(Clone, Default)]
pub struct UserSignal(Arc<AtomicBool>);

impl UserSignal {
    /// Catches it from now on.
    pub fn of_process() -> io::Result<UserSignal> {
        let signal = UserSignal::default();
        flag::register(SIGUSR1, Arc::clone(&signal.0))?;
        Ok(signal)
    }

    /// Whether it came since the last look.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

impl Stop {
    /// A stop that nobody has requested yet.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// A stop that signals request, of a process that is interruptible: the first thing that a program makes.
    pub fn of_process() -> io::Result<Stop> {
        let stop = Stop::new();
        stop.set_interruptible(true);
        stop.on_signals()?;
        Ok(stop)
    }

    /// Lets SIGTERM, SIGINT and SIGHUP request it; SIGHUP only where it is not ignored, as below `nohup`. A second
    /// SIGTERM or SIGINT ends the process at once with [`EXIT_INTERRUPTED`]; SIGHUP counts for neither, because
    /// terminals and service managers send it beside another one. To be called once per process.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut wanted = vec![SIGTERM, SIGINT];
        if !is_ignored(SIGHUP) {
            wanted.push(SIGHUP);
        }
        let mut signals = Signals::new(wanted)?;
        let stop = self.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let mut told = false;
            for signal in signals.forever() {
                if signal != SIGHUP && std::mem::replace(&mut told, true) {
                    tracing::warn!(signal, "second signal, ending without further ado");
                    process::exit(EXIT_INTERRUPTED);
                }
                if !stop.requested() {
                    tracing::info!(signal, "stopping");
                    stop.request();
                    if stop.is_before_run() {
                        process::exit(stop.0.unfinished.load(Ordering::SeqCst));
                    }
                }
            }
        })?;
        Ok(())
    }

    /// Requests it and wakes every executor. From any thread.
    pub fn request(&self) {
        self.0.requested.store(true, Ordering::SeqCst);
        self.tell_runner();
        let bells = self.0.bells.lock().unwrap_or_else(PoisonError::into_inner);
        for bell in bells.iter().filter_map(Weak::upgrade) {
            bell.ring();
        }
    }

    /// Whether it was requested.
    pub fn requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// Whether a request ends the process at once, without waiting for executors. Who makes this false looks at
    /// [`Stop::requested`] afterwards and promises nothing if it was: one of the two sees the other.
    pub fn set_interruptible(&self, interruptible: bool) {
        self.0.interruptible.store(interruptible, Ordering::SeqCst);
    }

    /// A signal before anything runs ends the process with this code instead of 0: that of a program which was asked a
    /// question, where 0 would be an answer.
    pub fn set_unfinished_code(&self, code: i32) {
        self.0.unfinished.store(code, Ordering::SeqCst);
    }

    /// Rings this bell, too, when it is requested.
    pub(crate) fn attach(&self, bell: &Arc<Bell>) {
        let mut bells = self.0.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|bell| bell.strong_count() > 0);
        bells.push(Arc::downgrade(bell));
    }

    /// Tells this thread, too, when it is requested, or now if it was.
    pub(crate) fn report_to(&self, runner: mpsc::Sender<Event>) {
        *self.0.runner.lock().unwrap_or_else(PoisonError::into_inner) = Some(runner);
        if self.requested() {
            self.tell_runner();
        }
    }

    /// Whether nobody runs yet who would see a request: a start that reads its configuration, or waits for a disk.
    fn is_before_run(&self) -> bool {
        let runner = self.0.runner.lock().unwrap_or_else(PoisonError::into_inner);
        runner.is_none() && self.0.interruptible.load(Ordering::SeqCst)
    }

    fn tell_runner(&self) {
        let interrupts = self.0.interruptible.load(Ordering::SeqCst);
        let event = if interrupts { Event::Interrupted } else { Event::Stopping };
        let runner = self.0.runner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runner) = &*runner {
            // A runner that is gone has nobody to wait for.
            let _ = runner.send(event);
        }
    }
}

/// Lets a write to a pipe that nobody reads any more end the process, as it does with other tools of the command line;
/// otherwise the standard library makes it an error, and `println!` a panic. Not for servers.
pub fn end_on_broken_pipe() {
    // It fails for no signal that there is.
    let _ = flag::register_conditional_default(SIGPIPE, Arc::new(AtomicBool::new(true)));
}

/// Whether this process was started to ignore a signal.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stop").field(&self.requested()).finish()
    }
}
