//! What everything on one executor shares: its ring, its threads for what blocks, its buffers, and the time that a task
//! may take.
//!
//! A task that always finds bytes would never let the kernel be looked at; other connections would then starve. So a task
//! that has run for [`TASK_BUDGET`] lets the others go first ([`Reactor::yield_now`]): all that is ready by then, what the
//! kernel has done included. By time, because doing so after every batch costs 10-15 % of the throughput.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use crate::{
    direct_buf::Buffers,
    direct_disk::DurableWrite,
    pool::Pool,
    ring::{Ring, Sleep},
    settings::Settings,
};

/// Time without a wait after which a task should yield.
pub const TASK_BUDGET: Duration = Duration::from_micros(200);

/// Shared by everything that runs on one executor.
pub(crate) struct Reactor {
    pub(crate) ring: Rc<Ring>,
    pub(crate) pool: Rc<Pool>,
    pub(crate) buffers: Buffers,
    pub(crate) durable_write: DurableWrite,
    /// When the poll that runs now began.
    poll_began: Cell<Instant>,
}

impl Reactor {
    /// To be called on the thread of the executor.
    pub(crate) fn new(settings: &Settings, index: usize) -> io::Result<Reactor> {
        Ok(Reactor {
            ring: Rc::new(Ring::new(settings.kernel)?),
            pool: Rc::new(Pool::new(format!("{}-{index}", settings.name))?),
            buffers: Buffers::new(settings.io_memory_bytes),
            durable_write: settings.durable_write,
            poll_began: Cell::new(Instant::now()),
        })
    }

    /// When the poll that runs now began.
    pub(crate) fn poll_began(&self) -> Instant {
        self.poll_began.get()
    }

    /// Whether the running task has not waited for anything for [`TASK_BUDGET`].
    pub(crate) fn is_spent(&self) -> bool {
        self.poll_began.get().elapsed() > TASK_BUDGET
    }

    /// Lets everything that is ready run before the caller goes on, what the kernel has done by now included.
    pub(crate) async fn yield_now(&self) {
        let mut yielded = false;
        poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            self.ring.wake_after_turn(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Yields if the running task has spent its budget.
    pub(crate) async fn yield_if_spent(&self) {
        if self.is_spent() {
            self.yield_now().await;
        }
    }

    /// Sleeps.
    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        self.ring.sleep(duration)
    }

    /// Runs a closure on one of the executor's threads for what blocks. A panic in it continues at the caller.
    pub(crate) async fn blocking<T, F>(&self, work: F) -> T
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.pool.run(work).await
    }

    /// Runs a future as a task has to be run: its polls are counted, so that the driver knows that something ran, and
    /// timed, so that [`Reactor::is_spent`] knows when the one that runs began.
    pub(crate) async fn counted<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            self.ring.count_poll();
            let outer = self.poll_began.replace(Instant::now());
            let polled = future.as_mut().poll(context);
            self.poll_began.set(outer);
            polled
        })
        .await
    }
}
