//! How long a task of one executor may run without a wait, what makes progress, and the own yield.
//!
//! A task that always finds bytes never lets the kernel's rings be looked at; other connections then starve for
//! seconds. [`TaskBudget::yield_now`] waits for an eventfd that is always readable: the reactor runs exactly once, without a
//! timer. It costs 10-15 % of throughput when done after every batch, so it is done by time ([`TaskBudget::is_spent`]).
//! Timers live here too, because there may only be a handful of them.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io,
    os::fd::OwnedFd,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use glommio::io::PollableFd;
use rustix::event::{EventfdFlags, eventfd};

use crate::watchdog::Progress;

/// Time without a wait after which a task should yield.
pub const TASK_BUDGET: Duration = Duration::from_micros(200);

/// Timers that may be armed at once on one executor. The library scans all of them each time the reactor runs and registers each
/// again on every poll, so deadlines of connections and messages belong into an own heap driven by one tick.
pub const SLEEPS_MAX: u32 = 16;

/// Shared by everything that runs on one executor.
pub(crate) struct TaskBudget {
    /// Always readable: its counter is 1 and nobody reads it.
    always_ready: PollableFd<OwnedFd>,
    /// When the poll that runs now began.
    poll_began: Cell<Instant>,
    sleeps: Cell<u32>,
    progress: Arc<Progress>,
}

impl TaskBudget {
    /// To be called on the executor itself.
    pub(crate) fn new() -> io::Result<TaskBudget> {
        let ready = eventfd(1, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(TaskBudget {
            always_ready: PollableFd::new(ready)?,
            poll_began: Cell::new(Instant::now()),
            sleeps: Cell::new(0),
            progress: Arc::new(Progress::default()),
        })
    }

    /// Counts finished work for the watchdog.
    pub(crate) fn progress(&self, n: u64) {
        self.progress.add(n);
    }

    /// The counter itself.
    pub(crate) fn counter(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Whether the running task has not waited for anything for [`TASK_BUDGET`].
    pub(crate) fn is_spent(&self) -> bool {
        self.poll_began.get().elapsed() > TASK_BUDGET
    }

    /// Lets the reactor run once; everything that became ready meanwhile runs before the caller goes on.
    pub(crate) async fn yield_now(&self) {
        self.progress(1);
        let ready = self.always_ready.readable().await;
        assert!(ready.is_ok(), "polling an eventfd failed: {ready:?}");
    }

    /// Sleeps. Awaited alone and to its end, never in a select.
    pub(crate) async fn sleep(&self, duration: Duration) {
        let sleeps = self.sleeps.get() + 1;
        assert!(sleeps <= SLEEPS_MAX, "more than {SLEEPS_MAX} timers on one executor: use a heap");
        let _armed = Armed(&self.sleeps);
        self.sleeps.set(sleeps);
        glommio::timer::sleep(duration).await;
        self.progress(1);
    }

    /// Runs a closure on the executor's thread pool. A panic in it continues at the caller.
    pub(crate) async fn blocking<T, F>(&self, work: F) -> T
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let value = glommio::executor().spawn_blocking(work).await;
        self.progress(1);
        value
    }

    /// Runs a future so that [`TaskBudget::is_spent`] knows when each of its polls began.
    pub(crate) async fn timed<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            let outer = self.poll_began.replace(Instant::now());
            let polled = future.as_mut().poll(context);
            self.poll_began.set(outer);
            polled
        })
        .await
    }
}

/// Counts a timer down even when its future is dropped early.
struct Armed<'a>(&'a Cell<u32>);

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
