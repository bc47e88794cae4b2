//! The threads of an executor for what blocks: names on disks, name resolution, whatever io_uring does not take.
//!
//! A job runs on one of them and rings a bell of the executor when it is done. The threads start with the first job and end
//! with the executor, which waits for the jobs that run. Files without a name have a thread of their own, which takes its
//! time to free their blocks.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    thread::{self, JoinHandle},
};

use slab::Slab;

use crate::{mesh::Bell, ring::Ring};

/// Threads per executor, but for the one that frees files.
const THREADS: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// What an executor knows of its jobs and threads.
pub(crate) struct Pool {
    /// Name of the threads.
    name: String,
    threads: RefCell<Option<Threads>>,
    freeing: RefCell<Option<Threads>>,
    /// Who waits for which job.
    waiting: RefCell<Slab<Option<Waker>>>,
    done: Arc<Done>,
    ended: Arc<AtomicBool>,
}

/// Threads that take their jobs from one queue, and end with it.
struct Threads {
    jobs: mpsc::Sender<Job>,
    handles: Vec<JoinHandle<()>>,
}

/// Jobs that are done, and the bell that says so.
struct Done {
    jobs: Mutex<Vec<usize>>,
    bell: Bell,
}

impl Done {
    fn tell(&self, job: usize) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push(job);
        self.bell.ring();
    }
}

impl Pool {
    pub(crate) fn new(name: String) -> io::Result<Pool> {
        let done = Arc::new(Done { jobs: Mutex::default(), bell: Bell::new()? });
        let (threads, freeing, waiting) = Default::default();
        Ok(Pool { name, threads, freeing, waiting, done, ended: Arc::default() })
    }

    /// Wakes those whose jobs are done; a task of the executor for as long as it lives.
    pub(crate) async fn answer_bell(self: Rc<Self>, ring: Rc<Ring>) {
        loop {
            let (rung, _) = ring.read_bell(self.done.bell.counter()).await;
            assert!(rung.is_ok(), "reading the bell of blocking jobs failed: {rung:?}");
            let done =
                std::mem::take(&mut *self.done.jobs.lock().unwrap_or_else(PoisonError::into_inner));
            for job in done {
                let waiter = self.waiting.borrow_mut().try_remove(job).flatten();
                waiter.into_iter().for_each(Waker::wake);
            }
        }
    }

    /// Runs `work` on a thread and gives its result. A panic in it continues here.
    pub(crate) async fn run<T, F>(&self, work: F) -> T
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let result = Arc::new(Mutex::new(None));
        let number = self.waiting.borrow_mut().insert(None);
        let (place, done) = (Arc::clone(&result), Arc::clone(&self.done));
        self.give(Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            done.tell(number);
        }));
        let outcome = poll_fn(|context| {
            let outcome = result.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(outcome) = outcome {
                return Poll::Ready(outcome);
            }
            // The place goes when the bell was answered; by then the result is there.
            if let Some(waiter) = self.waiting.borrow_mut().get_mut(number) {
                *waiter = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs `work` on a thread, and nobody waits for it. After the end of the threads it runs here.
    pub(crate) fn run_unwatched(&self, work: impl FnOnce() + Send + 'static) {
        if self.has_ended() { work() } else { self.give(Box::new(work)) }
    }

    /// Runs `work` on the thread that frees files: it learns whether the end has come, and then does without pauses.
    pub(crate) fn run_freeing(&self, work: impl FnOnce(&AtomicBool) + Send + 'static) {
        let ended = Arc::clone(&self.ended);
        if self.has_ended() {
            return work(&ended);
        }
        let mut freeing = self.freeing.borrow_mut();
        let threads = freeing.get_or_insert_with(|| Threads::start(&self.name, "-free", 1));
        threads.give(Box::new(move || work(&ended)));
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Puts a job into the queue. The threads start with the first one.
    fn give(&self, job: Job) {
        let mut threads = self.threads.borrow_mut();
        threads.get_or_insert_with(|| Threads::start(&self.name, "-b", THREADS)).give(job);
    }

    /// Ends the threads, once the jobs that were given to them are done.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        let both = [self.threads.take(), self.freeing.take()];
        both.into_iter().flatten().for_each(Threads::end);
    }
}

impl Threads {
    fn start(name: &str, suffix: &str, count: usize) -> Threads {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let handles = (0..count).map(|index| {
            let queue = Arc::clone(&queue);
            let next = move || queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
            let life = move || std::iter::from_fn(&next).for_each(|job| job());
            let started = thread::Builder::new().name(format!("{name}{suffix}{index}")).spawn(life);
            started.unwrap_or_else(|error| panic!("no thread for blocking jobs: {error}"))
        });
        let handles = handles.collect();
        Threads { jobs, handles }
    }

    fn give(&self, job: Job) {
        assert!(self.jobs.send(job).is_ok(), "the threads for blocking jobs have ended");
    }

    fn end(self) {
        let Threads { jobs, handles } = self;
        drop(jobs);
        for handle in handles {
            let _ = handle.join();
        }
    }
}
