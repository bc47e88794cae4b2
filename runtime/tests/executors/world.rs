//! What the tests of executors share: one at a time, and a loud end instead of a hang.

use std::{
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Tests that start executors share two cores; run one after the other they measure themselves.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `story` on a thread and fails when it takes longer than `limit`.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    story: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, wait) = mpsc::channel();
    let thread = thread::spawn(move || {
        let value = story();
        let _ = done.send(());
        value
    });
    if wait.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("not finished after {limit:?}");
    }
    thread.join().expect("the story failed")
}
