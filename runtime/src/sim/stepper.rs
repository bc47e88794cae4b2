//! A single-threaded executor that polls one future at a time, chosen by a seed.
//!
//! The simulation's counterpart of the real executor: which of the ready futures goes on is the simulation's choice, so
//! one seed gives one interleaving. No timers and no threads; a future that nothing wakes is stuck, and that is visible.

use std::{
    cell::RefCell,
    future::Future,
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use fastrand::Rng;

/// Polls after which a future that is woken again and again counts as an endless loop.
const POLLS_MAX: u64 = 10_000_000;

/// What a spawned future returned, once it has.
#[derive(Debug)]
pub struct Outcome<T> {
    value: Rc<RefCell<Option<T>>>,
}

impl<T> Outcome<T> {
    /// Whether there is a value to take.
    pub fn is_ready(&self) -> bool {
        self.value.borrow().is_some()
    }

    /// The value; `None` before the future has returned and after it was taken.
    pub fn take(&self) -> Option<T> {
        self.value.borrow_mut().take()
    }
}

/// Runs futures one poll at a time. Dropping it drops the unfinished ones.
#[derive(Default)]
pub struct Stepper {
    tasks: Vec<Option<Task>>,
    ready: Arc<ReadyTasks>,
    unfinished: usize,
    polls: u64,
}

struct Task {
    name: String,
    future: Pin<Box<dyn Future<Output = ()>>>,
    flag: Arc<ReadyFlag>,
}

/// Indexes of ready tasks. The mutex is there because a `Waker` must be `Send`; only one thread ever takes it.
#[derive(Default)]
struct ReadyTasks(Mutex<Vec<usize>>);

struct ReadyFlag {
    index: usize,
    queued: AtomicBool,
    ready: Arc<ReadyTasks>,
}

impl ReadyTasks {
    fn push(&self, index: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(index);
    }

    /// Takes one of the ready tasks, chosen by `rng`.
    fn take(&self, rng: &mut Rng) -> Option<usize> {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.is_empty() {
            return None;
        }
        let choice = rng.usize(0..ready.len());
        Some(ready.swap_remove(choice))
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Wake for ReadyFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.push(self.index);
        }
    }
}

impl Stepper {
    /// An executor without futures.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a future, ready to be polled. The name shows up in [`Stepper::unfinished`].
    pub fn spawn<T: 'static>(
        &mut self,
        name: impl Into<String>,
        future: impl Future<Output = T> + 'static,
    ) -> Outcome<T> {
        let value = Rc::new(RefCell::new(None));
        let returned = value.clone();
        let future = async move {
            let result = future.await;
            returned.replace(Some(result));
        };
        let index = self.tasks.len();
        let ready = self.ready.clone();
        let flag = Arc::new(ReadyFlag { index, queued: AtomicBool::new(true), ready });
        self.tasks.push(Some(Task { name: name.into(), future: Box::pin(future), flag }));
        self.ready.push(index);
        self.unfinished += 1;
        Outcome { value }
    }

    /// Polls one ready future, chosen by `rng`. False when none is ready.
    pub fn step(&mut self, rng: &mut Rng) -> bool {
        while let Some(index) = self.ready.take(rng) {
            // A finished task may have been woken once more.
            let Some(task) = &mut self.tasks[index] else { continue };
            task.flag.queued.store(false, Ordering::Relaxed);
            let waker = Waker::from(task.flag.clone());
            self.polls += 1;
            if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.tasks[index] = None;
                self.unfinished -= 1;
            }
            return true;
        }
        false
    }

    /// Steps until no future is ready. Returns the number of steps; panics when they do not come to an end.
    pub fn run_until_idle(&mut self, rng: &mut Rng) -> u64 {
        self.run_until(rng, || false)
    }

    /// Steps until `reached` says so, or no future is ready. Returns the number of steps.
    pub fn run_until(&mut self, rng: &mut Rng, mut reached: impl FnMut() -> bool) -> u64 {
        let mut steps = 0;
        while !reached() && self.step(rng) {
            steps += 1;
            assert!(steps < POLLS_MAX, "still ready after {steps} polls: {:?}", self.unfinished());
        }
        steps
    }

    /// Whether futures are left and none of them is ready: a lost wake, a deadlock, or a crashed disk.
    pub fn is_stuck(&self) -> bool {
        self.unfinished > 0 && self.ready.is_empty()
    }

    /// Whether every future has returned.
    pub fn is_finished(&self) -> bool {
        self.unfinished == 0
    }

    /// Names of the futures that have not returned, in the order of spawning.
    pub fn unfinished(&self) -> Vec<&str> {
        self.tasks.iter().flatten().map(|task| task.name.as_str()).collect()
    }

    /// Polls so far.
    pub fn polls(&self) -> u64 {
        self.polls
    }
}

/// Polls one future until it returns. `None` when it waits for something that will never happen, which is what a crashed
/// disk looks like; panics when it is woken for ever without returning.
pub fn block_on<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let ready = Arc::<ReadyTasks>::default();
    let flag = Arc::new(ReadyFlag { index: 0, queued: AtomicBool::new(true), ready });
    let waker = Waker::from(flag.clone());
    for _ in 0..POLLS_MAX {
        if !flag.queued.swap(false, Ordering::Relaxed) {
            return None;
        }
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(value);
        }
    }
    panic!("the future did not return within {POLLS_MAX} polls");
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    async fn yield_once() {
        let mut yielded = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn interleaving(seed: u64) -> Vec<usize> {
        let order = Rc::new(RefCell::new(Vec::new()));
        let mut stepper = Stepper::new();
        for task in 0..4 {
            let order = order.clone();
            stepper.spawn(format!("task {task}"), async move {
                for _ in 0..3 {
                    order.borrow_mut().push(task);
                    yield_once().await;
                }
            });
        }
        let steps = stepper.run_until_idle(&mut Rng::with_seed(seed));
        assert!(stepper.is_finished());
        assert_eq!((steps, stepper.polls()), (16, 16));
        order.take()
    }

    #[test]
    fn a_seed_is_an_interleaving() {
        let all: std::collections::BTreeSet<_> = (0..50).map(interleaving).collect();
        assert!(all.len() > 40, "only {} interleavings", all.len());
        assert_eq!(interleaving(7), interleaving(7));
    }

    #[test]
    fn outcomes_are_taken_once() {
        let mut stepper = Stepper::new();
        let outcome = stepper.spawn("answer", async { 42 });
        assert!(!outcome.is_ready());
        assert!(stepper.step(&mut Rng::with_seed(1)));
        assert!(outcome.is_ready());
        assert_eq!((outcome.take(), outcome.take()), (Some(42), None));
    }

    #[test]
    fn what_nothing_wakes_is_stuck_and_named() {
        let mut stepper = Stepper::new();
        stepper.spawn("done", yield_once());
        stepper.spawn("waits for ever", pending::<()>());
        stepper.run_until_idle(&mut Rng::with_seed(1));
        assert!(stepper.is_stuck());
        assert_eq!(stepper.unfinished(), ["waits for ever"]);
    }

    #[test]
    fn block_on_returns_the_value_or_nothing() {
        let value = block_on(async {
            yield_once().await;
            5
        });
        assert_eq!(value, Some(5));
        assert_eq!(block_on(pending::<u8>()), None);
    }
}
