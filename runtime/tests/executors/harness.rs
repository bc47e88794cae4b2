//! What the tests of executors share: one at a time, and a loud end instead of a hang.
//!
//! No test compares measured times: another process may have both cores. What must come first is shown by the order of
//! events, what must not take part by counters, and [`HANG`] is there only so that a hang has a name.

use std::{
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// After this long a test hangs. Nothing here takes a hundredth of it on a quiet machine.
pub(crate) const HANG: Duration = Duration::from_secs(120);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Tests that start executors share two cores, the watchdog's counters and the process's descriptors.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `story` on a thread and fails when it hangs.
pub(crate) fn ends<T: Send + 'static>(story: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    let thread = thread::spawn(move || {
        let value = story();
        let _ = done.send(());
        value
    });
    if wait.recv_timeout(HANG) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("not finished after {HANG:?}");
    }
    thread.join().expect("the story failed")
}
