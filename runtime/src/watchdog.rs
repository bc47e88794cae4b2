//! The watchdog: one thread that wakes executors which sleep although they have work.
//!
//! The executor library can park with runnable tasks: when its latency ring holds any completion before the first task
//! of a pass runs (a preemption timer, a late cancellation, a wake from another thread), the pass ends, and a park that
//! finds nothing new sleeps. So every executor counts its progress and keeps one idle task whose waker lives here. No
//! progress for a round means a wake: the waker is called by reference and never given away, because a lost wake must
//! be followed by the next. After [`EAGER_WAKES`] wakes without progress the executor is held for idle and woken rarely.
//!
//! Cost: about 0.3 % of a CPU when all is idle, nothing measurable under load.

use std::{
    sync::{
        Arc, Condvar, Mutex, Once, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    thread,
    time::Duration,
};

/// Time between two looks while any executor works: an upper bound, with the next figure, of a lost wake's delay.
const EAGER_ROUND: Duration = Duration::from_millis(1);

/// Time between two looks while all are idle: the delay of a first request whose wake was lost.
const IDLE_ROUND: Duration = Duration::from_millis(10);

/// Wakes in a row without progress after which an executor counts as idle.
const EAGER_WAKES: u32 = 16;

/// Eager rounds between two wakes of an idle executor while another one works.
const ROUNDS_PER_IDLE_WAKE: u32 = 10;

/// Wakes since the process started.
static WAKES: AtomicU64 = AtomicU64::new(0);

/// Wakes that progress followed within the next round: lost wakes, and coincidences.
static WAKES_ANSWERED: AtomicU64 = AtomicU64::new(0);

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());
static WATCHED_GREW: Condvar = Condvar::new();
static START: Once = Once::new();

/// Wakes of this process: all, and those that were followed by progress before the next look.
///
/// The second figure counts lost wakes that the watchdog healed, and idle executors that happened to get work just then.
pub fn watchdog_wakes() -> (u64, u64) {
    (WAKES.load(Ordering::Relaxed), WAKES_ANSWERED.load(Ordering::Relaxed))
}

/// Work done by one executor. Only that executor writes, everybody reads.
#[derive(Debug, Default)]
pub(crate) struct Progress(AtomicU64);

impl Progress {
    /// Adds `n`. A plain load and store: there is one writer.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One executor as the watchdog sees it.
struct Watched {
    progress: Arc<Progress>,
    waker: Waker,
    /// Progress at the last look.
    seen: u64,
    /// Wakes since the last progress.
    fruitless: u32,
    /// Eager rounds to skip before the next wake.
    rest: u32,
}

impl Watched {
    /// One look. True when this executor should be looked at again soon.
    fn look(&mut self) -> bool {
        let progress = self.progress.get();
        if progress != self.seen {
            if self.fruitless > 0 {
                WAKES_ANSWERED.fetch_add(1, Ordering::Relaxed);
            }
            self.seen = progress;
            self.fruitless = 0;
            self.rest = 0;
            return true;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return false;
        }
        WAKES.fetch_add(1, Ordering::Relaxed);
        self.fruitless = self.fruitless.saturating_add(1);
        self.waker.wake_by_ref();
        self.fruitless < EAGER_WAKES
    }
}

/// Keeps one executor under watch; dropped on its own thread before it ends, so that the waker never outlives it.
pub(crate) struct Watch(Arc<Progress>);

impl Watch {
    /// Puts an executor under watch. `waker` belongs to a task of it; one that does nothing should follow.
    pub(crate) fn new(progress: Arc<Progress>, waker: Waker) -> Watch {
        let seen = progress.get();
        let watched =
            Watched { progress: Arc::clone(&progress), waker, seen, fruitless: 0, rest: 0 };
        WATCHED.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
        WATCHED_GREW.notify_one();
        Watch(progress)
    }

    /// Wakes another task of the same executor from now on. The former waker is dropped here, on its own thread.
    pub(crate) fn wake_instead(&self, waker: Waker) {
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        let own = watched.iter_mut().find(|one| Arc::ptr_eq(&one.progress, &self.0));
        if let Some(own) = own {
            own.waker = waker;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|other| !Arc::ptr_eq(&other.progress, &self.0));
    }
}

/// Starts the watchdog's thread, once per process. Called from the thread that starts the executors, which is not pinned,
/// so the watchdog may run on any core.
pub(crate) fn start() {
    START.call_once(|| {
        let started = thread::Builder::new().name("watchdog".to_owned()).spawn(watch_for_ever);
        if let Err(error) = started {
            // Without the watchdog an executor may sleep for ever; better not to start.
            panic!("the watchdog thread could not be started: {error}");
        }
    });
}

fn watch_for_ever() {
    loop {
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        while watched.is_empty() {
            watched = WATCHED_GREW.wait(watched).unwrap_or_else(PoisonError::into_inner);
        }
        let mut eager = false;
        for one in watched.iter_mut() {
            eager |= one.look();
        }
        if eager {
            for idle in watched.iter_mut().filter(|one| one.fruitless >= EAGER_WAKES) {
                if idle.rest == 0 {
                    idle.rest = ROUNDS_PER_IDLE_WAKE;
                }
            }
        } else {
            watched.iter_mut().for_each(|one| one.rest = 0);
        }
        drop(watched);
        thread::sleep(if eager { EAGER_ROUND } else { IDLE_ROUND });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> (Arc<Progress>, Watched) {
        let progress = Arc::new(Progress::default());
        let one = Watched {
            progress: Arc::clone(&progress),
            waker: Waker::noop().clone(),
            seen: 0,
            fruitless: 0,
            rest: 0,
        };
        (progress, one)
    }

    #[test]
    fn an_executor_without_progress_is_woken_eagerly_then_rarely() {
        let (progress, mut one) = watched();
        for _ in 1..EAGER_WAKES {
            assert!(one.look());
        }
        assert!(!one.look(), "idle after {EAGER_WAKES} wakes");
        one.rest = 2;
        let fruitless = one.fruitless;
        assert!(!one.look());
        assert!(!one.look());
        assert_eq!(one.fruitless, fruitless, "no wake while it rests");
        assert!(!one.look());
        assert_eq!(one.fruitless, fruitless + 1);
        progress.add(1);
        assert!(one.look(), "progress makes it eager again");
        assert_eq!(one.fruitless, 0);
    }
}
