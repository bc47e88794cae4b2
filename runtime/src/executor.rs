//! Executors: one thread per core, each with its own io_uring, started together and ended together.
//!
//! [`run`] starts them, waits until every one has its rings, and only then lets `main` run on each. A panic in any task
//! ends the whole process with [`EXIT_SOFTWARE`]: a broker that lost one of its shards must not go on with the others
//! (fail-stop). An `Err` of any `main` is returned at once, so that the program can end with a code of its own.
//! Everything on an executor is single-threaded; only [`Stop`] and messages cross.

use std::{
    any::Any,
    cell::RefCell,
    collections::HashMap,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    process,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError, mpsc},
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement, io::PollableFd};
use rustix::io::Errno;

use crate::{
    clock::{self, Millis, Moment, Uptime},
    direct_disk::DirectDisk,
    limits::memlock_bytes,
    mesh::{self, Endpoint, Mesh},
    net::{Connection, Listener},
    settings::{MEMLOCK_BYTES_MIN, MEMLOCK_BYTES_PER_EXECUTOR, Settings, SettingsError},
    stop::Stop,
    task_budget::TaskBudget,
    watchdog::{self, Watch},
};

/// Exit code when an executor failed: `EX_SOFTWARE` of sysexits.h.
pub const EXIT_SOFTWARE: i32 = 70;

/// How long an executor may take from its rings to its first task, and how often that is looked at.
const BEGIN_PATIENCE: Duration = Duration::from_millis(500);
const BEGIN_LOOK: Duration = Duration::from_millis(1);
/// Attempts before that is a failure.
const BEGIN_ATTEMPTS: u32 = 8;

/// Threads per executor for file operations that io_uring does not take (rename, directories) and for `blocking`.
const POOL_THREADS: usize = 2;

/// Why the executors did not start, or did not end well. Except for [`RunError::Main`] nothing has run then.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The settings cannot run here.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The kernel gave no doorbells.
    #[error("no eventfd for the doorbells: {0}")]
    Doorbells(#[source] io::Error),
    /// The kernel gave no thread.
    #[error("no thread for executor {index}: {source}")]
    Thread {
        /// Which executor.
        index: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// One io_uring fits the limit of locked memory, all of them do not.
    #[error(
        "only {limit_bytes} bytes of memory may be locked, which all processes of this user share, and {executors} \
         executors need {needed_bytes}: raise it with `ulimit -l`, LimitMEMLOCK= of systemd or --ulimit memlock= of the \
         container, or run on fewer cores"
    )]
    LockedMemory {
        /// Soft limit found.
        limit_bytes: u64,
        /// What the rings need.
        needed_bytes: u64,
        /// Number of executors.
        executors: usize,
    },
    /// The kernel gave no io_uring, or no such core.
    #[error("executor {index} did not start: {reason}")]
    Start {
        /// Which executor.
        index: usize,
        /// The library's words.
        reason: String,
    },
    /// The process was asked to stop while it was interruptible. Its executors still run.
    #[error("asked to stop before anything was served")]
    Interrupted,
    /// Executors still run although the time to stop is over.
    #[error("not everything has ended within {} s of the request to stop", .0.as_secs())]
    StopTimeout(Duration),
    /// `main` failed on one executor. The others may still run: the process has to end.
    #[error("{error}")]
    Main {
        /// Which executor.
        index: usize,
        /// What `main` returned.
        error: String,
    },
}

/// What the thread that runs the executors waits for.
#[derive(Debug)]
pub(crate) enum Event {
    /// An executor has ended.
    Ended(Attempt),
    /// `main` failed on an executor.
    Failed(usize, String),
    /// A stop was requested.
    Stopping,
    /// A stop was requested, and nobody is to be waited for.
    Interrupted,
}

/// Starts one executor per core of `settings`, runs `main` on each, and returns when all have returned.
///
/// `main` gets its executor and the mesh to the others; who sends no messages takes a `Mesh<()>`. A panic on any
/// executor ends the process with [`EXIT_SOFTWARE`]. Errors: what kept the executors from starting; `main` has not run
/// then. Or the first `Err` of a `main`, at once; or that a request to stop did not end them
/// ([`RunError::Interrupted`], [`RunError::StopTimeout`]): others still run then, and the process should end now.
pub fn run<M, F, Fut>(settings: Settings, stop: Stop, main: F) -> Result<(), RunError>
where
    M: Send + 'static,
    F: Fn(Executor, Mesh<M>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<(), String>> + 'static,
{
    settings.check()?;
    if settings.watchdog {
        watchdog::start();
    }
    let endpoints = mesh::connect_all::<M>(settings.cores.len(), settings.lane_messages)
        .map_err(RunError::Doorbells)?;
    let (ended_in, ended_out) = mpsc::channel();
    let (ready_in, ready_out) = mpsc::channel();
    let mut gates = Vec::new();
    let mut starts = Vec::new();
    let mut threads = HashMap::new();
    for (index, endpoint) in endpoints.into_iter().enumerate() {
        stop.attach(endpoint.bell());
        let start = Start {
            index,
            settings: settings.clone(),
            endpoint: Arc::new(Mutex::new(Some(endpoint))),
            stop: stop.clone(),
            main: main.clone(),
            ended: ended_in.clone(),
        };
        let (gate_in, gate_out) = mpsc::channel::<()>();
        let ready = ready_in.clone();
        // The gate opens when all executors have their rings, and is dropped when one has not.
        let open = move |failed| ready.send((index, failed)).is_ok() && gate_out.recv().is_ok();
        threads.insert((index, 0), start.begin(0, open)?);
        gates.push(gate_in);
        starts.push(start);
    }
    drop(ready_in);
    for (index, failed) in ready_out.iter().take(threads.len()) {
        if let Some(reason) = failed {
            return Err(start_failure(index, reason, settings.cores.len()));
        }
    }
    for gate in gates {
        let _ = gate.send(());
    }
    for start in &starts {
        start.see_it_begin(&mut threads)?;
    }
    stop.report_to(ended_in);
    await_ends(&ended_out, starts.len(), threads, settings.stop_within)
}

/// Why an executor could not be made. Rings are locked memory on some kernels and not on others, so only a try tells.
fn start_failure(index: usize, reason: String, executors: usize) -> RunError {
    let is_memory = reason.contains(&format!("os error {}", Errno::NOMEM.raw_os_error()));
    match memlock_bytes() {
        Some(limit_bytes) if is_memory => {
            let needed_bytes = MEMLOCK_BYTES_MIN.max(executors as u64 * MEMLOCK_BYTES_PER_EXECUTOR);
            RunError::LockedMemory { limit_bytes, needed_bytes, executors }
        }
        _ => RunError::Start { index, reason },
    }
}

/// Waits for this many executors to end; for so long at most once a stop was requested.
fn await_ends(
    events: &mpsc::Receiver<Event>,
    executors: usize,
    mut threads: HashMap<Attempt, JoinHandle<()>>,
    stop_within: Duration,
) -> Result<(), RunError> {
    let mut running = executors;
    let mut deadline: Option<Instant> = None;
    while running > 0 {
        let event = match deadline {
            None => events.recv().ok(),
            Some(deadline) => {
                events.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
            }
        };
        match event {
            Some(Event::Ended(key)) => {
                running -= 1;
                let Some(thread) = threads.remove(&key) else { continue };
                if let Err(panic) = thread.join() {
                    end_process(key.0, &panic_text(&*panic));
                }
            }
            Some(Event::Failed(index, error)) => return Err(RunError::Main { index, error }),
            Some(Event::Stopping) => {
                deadline.get_or_insert(Instant::now() + stop_within);
            }
            Some(Event::Interrupted) => return Err(RunError::Interrupted),
            None => return Err(RunError::StopTimeout(stop_within)),
        }
    }
    Ok(())
}

/// Index of an executor and number of the attempt to start it.
type Attempt = (usize, u32);

/// All that one executor starts from. Its endpoint is taken by the first poll of its first task.
///
/// The library can lose its very first wake: when its preemption timer fires before the first task has run, it goes to
/// sleep, and no watchdog can know it yet. Such a thread is given up, which costs a ring and an idle thread, and another
/// one is started. Should the first wake up after all, it finds the endpoint taken and ends.
struct Start<M, F> {
    index: usize,
    settings: Settings,
    endpoint: Arc<Mutex<Option<Endpoint<M>>>>,
    stop: Stop,
    main: F,
    ended: mpsc::Sender<Event>,
}

impl<M, F, Fut> Start<M, F>
where
    M: Send + 'static,
    F: Fn(Executor, Mesh<M>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<(), String>> + 'static,
{
    /// Starts a thread that makes an executor, hands what kept it from that to `open`, and runs it if `open` says so.
    fn begin(
        &self,
        attempt: u32,
        open: impl FnOnce(Option<String>) -> bool + Send + 'static,
    ) -> Result<JoinHandle<()>, RunError> {
        let (index, settings) = (self.index, self.settings.clone());
        let endpoint = Arc::clone(&self.endpoint);
        let (stop, main, ended) = (self.stop.clone(), self.main.clone(), self.ended.clone());
        let life = move || {
            let executor = make(&settings, index);
            if !open(executor.as_ref().err().cloned()) {
                return;
            }
            let Ok(executor) = executor else { return };
            match live(&executor, &settings, index, endpoint, stop, main) {
                None => {}
                Some(Ok(())) => {
                    drop(executor);
                    let _ = ended.send(Event::Ended((index, attempt)));
                }
                // Told first: the tasks that it leaves behind may not go.
                Some(Err(error)) => {
                    let _ = ended.send(Event::Failed(index, error));
                }
            }
        };
        thread::Builder::new()
            .name(format!("{}-{index}", self.settings.name))
            .spawn(life)
            .map_err(|source| RunError::Thread { index, source })
    }

    fn has_begun(&self) -> bool {
        self.endpoint.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Waits until the executor runs its first task, starting it again as often as it takes.
    fn see_it_begin(&self, threads: &mut HashMap<Attempt, JoinHandle<()>>) -> Result<(), RunError> {
        let index = self.index;
        for attempt in 1..=BEGIN_ATTEMPTS {
            let patience = Instant::now() + BEGIN_PATIENCE;
            while !self.has_begun() {
                if Instant::now() > patience {
                    break;
                }
                thread::sleep(BEGIN_LOOK);
            }
            if self.has_begun() {
                return Ok(());
            }
            tracing::warn!(executor = index, attempt, "an executor slept over its start, again");
            let open = move |failed: Option<String>| match failed {
                Some(reason) => end_process(index, &reason),
                None => true,
            };
            threads.insert((index, attempt), self.begin(attempt, open)?);
        }
        end_process(index, "it does not begin");
    }
}

/// Builds the library's executor on the thread that will run it.
fn make(settings: &Settings, index: usize) -> Result<LocalExecutor, String> {
    let placement = match settings.cores[index] {
        Some(cpu) => Placement::Fixed(cpu),
        None => Placement::Unbound,
    };
    let mut builder = LocalExecutorBuilder::new(placement)
        .name(&settings.name)
        .io_memory(settings.io_memory_bytes)
        .ring_depth(settings.ring_depth)
        .preempt_timer(settings.preempt.interval())
        .blocking_thread_pool_placement(PoolPlacement::Unbound(POOL_THREADS));
    if !settings.spin_before_park.is_zero() {
        builder = builder.spin_before_park(settings.spin_before_park);
    }
    // The library panics instead of failing on some kernels; the reason is worth a sentence, too.
    match catch_unwind(AssertUnwindSafe(|| builder.make())) {
        Ok(made) => made.map_err(|error| error.to_string()),
        Err(panic) => Err(panic_text(&*panic)),
    }
}

/// Takes the endpoint and runs `main` on this thread until it returns; does not return when it panics. `None`: the
/// endpoint was taken.
fn live<M, F, Fut>(
    executor: &LocalExecutor,
    settings: &Settings,
    index: usize,
    endpoint: Arc<Mutex<Option<Endpoint<M>>>>,
    stop: Stop,
    main: F,
) -> Option<Result<(), String>>
where
    M: Send + 'static,
    F: Fn(Executor, Mesh<M>) -> Fut,
    Fut: Future<Output = Result<(), String>> + 'static,
{
    let watched = settings.watchdog;
    let count = settings.cores.len();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        executor.run(async move {
            let endpoint = endpoint.lock().unwrap_or_else(PoisonError::into_inner).take();
            let endpoint = endpoint?;
            let budget = match TaskBudget::new() {
                Ok(budget) => Rc::new(budget),
                Err(error) => return Some(Err(format!("no eventfd: {error}"))),
            };
            let watch = Rc::new(RefCell::new(None));
            if watched {
                keep_watched(&budget, Rc::clone(&watch)).await;
            }
            let here = Executor::new(Rc::clone(&budget), index, count, stop);
            let mesh = Mesh::new(endpoint);
            here.spawn(answer_doorbell(here.clone(), mesh.clone()));
            let ended = budget.timed(main(here.clone(), mesh.clone())).await;
            mesh.forget_handler();
            // The waker goes while its executor still lives.
            watch.borrow_mut().take();
            Some(ended)
        })
    }));
    match outcome {
        Ok(outcome) => outcome,
        Err(panic) => end_process(index, &panic_text(&*panic)),
    }
}

/// Lets the watchdog watch this executor before anything can be lost. It wakes a task that never has anything to do;
/// being scheduled is the point. Until that task has run once, the caller is woken in its place: an executor whose very
/// first wake is lost would otherwise sleep for ever (one start in a hundred, on a busy machine).
async fn keep_watched(budget: &TaskBudget, watch: Rc<RefCell<Option<Watch>>>) {
    let progress = budget.counter();
    poll_fn(|context| {
        let first = Watch::new(Arc::clone(progress), context.waker().clone());
        *watch.borrow_mut() = Some(first);
        Poll::Ready(())
    })
    .await;
    let mut known = false;
    let idle = poll_fn(move |context| {
        if !known {
            known = true;
            if let Some(watch) = &*watch.borrow() {
                watch.wake_instead(context.waker().clone());
            }
        }
        Poll::<()>::Pending
    });
    glommio::spawn_local(idle).detach();
}

/// The one task that waits for the bell: takes messages, passes on the request to stop.
async fn answer_doorbell<M: Send + 'static>(here: Executor, mesh: Mesh<M>) {
    let core = &here.core;
    let bell = mesh.bell();
    let pollable = match PollableFd::new(Arc::clone(bell)) {
        Ok(pollable) => pollable,
        Err(error) => panic!("the doorbell cannot be polled: {error}"),
    };
    let mut stop_seen = false;
    loop {
        if !stop_seen && core.stop.requested() {
            stop_seen = true;
            let waiting = core.awaiting_stop.take();
            waiting.into_iter().for_each(Waker::wake);
        }
        let drained = mesh.drain(|taken| {
            core.budget.progress(taken);
            core.budget.is_spent()
        });
        if !drained {
            core.budget.yield_now().await;
            continue;
        }
        bell.announce_wait();
        let passed_on = stop_seen || !core.stop.requested();
        if passed_on && !mesh.has_messages() {
            let rung = pollable.readable().await;
            assert!(rung.is_ok(), "polling the doorbell failed: {rung:?}");
        }
        bell.end_wait();
    }
}

/// Says why an executor failed and ends the process. Not through the log: its last lines may not get out any more.
fn end_process(index: usize, reason: &str) -> ! {
    eprintln!("executor {index} failed, ending the process: {reason}");
    process::exit(EXIT_SOFTWARE);
}

/// The message of a panic, if it has one.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        format!("panic: {text}")
    } else if let Some(text) = panic.downcast_ref::<String>() {
        format!("panic: {text}")
    } else {
        "panic without a message".to_owned()
    }
}

/// Handle to the executor that the caller runs on. Clones are cheap and stay on this thread.
#[derive(Clone)]
pub struct Executor {
    core: Rc<Core>,
}

struct Core {
    budget: Rc<TaskBudget>,
    index: usize,
    count: usize,
    stop: Stop,
    awaiting_stop: RefCell<Vec<Waker>>,
}

impl Executor {
    fn new(budget: Rc<TaskBudget>, index: usize, count: usize, stop: Stop) -> Executor {
        let awaiting_stop = RefCell::new(Vec::new());
        Executor { core: Rc::new(Core { budget, index, count, stop, awaiting_stop }) }
    }

    /// Which executor this is, from 0.
    pub fn index(&self) -> usize {
        self.core.index
    }

    /// How many executors there are.
    pub fn count(&self) -> usize {
        self.core.count
    }

    /// Wall clock, milliseconds since 1970: for points in time. It may be set to any other time at any moment.
    pub fn now(&self) -> Millis {
        clock::now()
    }

    /// Monotonic clock: for deadlines and for how long something takes.
    pub fn uptime(&self) -> Uptime {
        Uptime::now()
    }

    /// Both clocks.
    pub fn moment(&self) -> Moment {
        Moment { wall: self.now(), uptime: self.uptime() }
    }

    /// Starts a task on this executor. It does not run before the caller waits, so no borrow is in its way. Dropping
    /// the handle detaches the task.
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
    {
        let budget = Rc::clone(&self.core.budget);
        let queue = glommio::executor().current_task_queue();
        let spawned = glommio::spawn_local_into(async move { budget.timed(future).await }, queue);
        match spawned {
            Ok(task) => Task(task.detach()),
            Err(error) => unreachable!("the running task queue exists: {error}"),
        }
    }

    /// Sleeps. Only for the handful of loops that tick: at most [`crate::SLEEPS_MAX`] at once per executor, each
    /// awaited alone to its end, never in a select.
    pub async fn sleep(&self, duration: Duration) {
        self.core.budget.sleep(duration).await;
    }

    /// Lets the reactor run once: whatever is ready meanwhile runs before the caller goes on.
    pub async fn yield_now(&self) {
        self.core.budget.yield_now().await;
    }

    /// Whether the running task has not waited for anything for [`crate::TASK_BUDGET`] and should yield.
    /// [`crate::Reader::read`] and the draining of lanes look themselves.
    pub fn budget_spent(&self) -> bool {
        self.core.budget.is_spent()
    }

    /// Counts finished work, so that the watchdog knows this executor to be awake. Reads, writes, messages, sleeps and
    /// disk operations count themselves.
    pub fn progress(&self, n: u64) {
        self.core.budget.progress(n);
    }

    /// Resolves on every executor soon after [`Stop::request`].
    pub async fn stop_requested(&self) {
        poll_fn(|context: &mut Context<'_>| {
            if self.core.stop.requested() {
                return Poll::Ready(());
            }
            let mut awaiting = self.core.awaiting_stop.borrow_mut();
            if !awaiting.iter().any(|waker| waker.will_wake(context.waker())) {
                awaiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// The request to stop that this executor looks at, to make it from here.
    pub fn stop(&self) -> &Stop {
        &self.core.stop
    }

    /// Listens on `addr` with SO_REUSEPORT: each executor may listen on the same address and gets its share of
    /// connections. Two processes may, too, without noticing: take the lock of the data directory first.
    pub fn listen(&self, addr: SocketAddr) -> io::Result<Listener> {
        Listener::bind(addr, Rc::clone(&self.core.budget))
    }

    /// Connects to `addr`, giving up after [`crate::CONNECT_TIMEOUT`].
    pub async fn connect(&self, addr: SocketAddr) -> io::Result<Connection> {
        Connection::connect(addr, Rc::clone(&self.core.budget)).await
    }

    /// The real disk, through this executor's ring.
    pub fn disk(&self) -> DirectDisk {
        DirectDisk::new(Rc::clone(&self.core.budget))
    }

    /// Runs a closure that may block on this executor's small thread pool. A panic in it continues here.
    pub async fn blocking<T, F>(&self, work: F) -> T
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.core.budget.blocking(work).await
    }
}

/// A task that was started with [`Executor::spawn`]. Awaiting it gives its result; dropping it lets it go on alone.
pub struct Task<T>(glommio::task::JoinHandle<T>);

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match Pin::new(&mut self.0).poll(context) {
            Poll::Ready(Some(value)) => Poll::Ready(value),
            Poll::Ready(None) => panic!("the awaited task was ended by a panic"),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_without_memory_names_the_limit() {
        let reason = "IO error occurred: Cannot allocate memory (os error 12)";
        let told = start_failure(1, reason.to_owned(), 4).to_string();
        if memlock_bytes().is_some() {
            assert!(
                told.contains("4 executors need 1310720") && told.contains("LimitMEMLOCK="),
                "{told}"
            );
        }
        let other = start_failure(1, "no such core".to_owned(), 4).to_string();
        assert_eq!(other, "executor 1 did not start: no such core");
    }
}
