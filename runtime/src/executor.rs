//! Executors: one thread per core, each with its own io_uring, started together and ended together.
//!
//! [`run`] starts them, waits until every one has its rings, and only then lets `main` run on each. A panic in any task
//! ends the whole process with [`EXIT_SOFTWARE`]: a broker that lost one of its shards must not go on with the others
//! (fail-stop). An `Err` of any `main` is returned at once, so that the program can end with a code of its own.
//! Everything on an executor is single-threaded; only [`Stop`] and messages cross.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    process,
    rc::Rc,
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};
use rustix::io::Errno;

use crate::{
    clock::{self, Millis, Moment, Uptime},
    direct_disk::DirectDisk,
    limits::memlock_bytes,
    mesh::{self, Endpoint, Mesh},
    net::{Connection, Listener},
    reactor::Reactor,
    ring::Driver,
    settings::{MEMLOCK_BYTES_MIN, MEMLOCK_BYTES_PER_EXECUTOR, Settings, SettingsError},
    stop::Stop,
};

/// What the library cannot do without for rings that nobody uses.
const LIBRARY_MEMORY_BYTES: usize = 64 * 1024;
const LIBRARY_RING_DEPTH: usize = 16;

/// "Never" for the library's timer: a year. `Duration::MAX` overflows the kernel's clock.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Exit code when an executor failed: `EX_SOFTWARE` of sysexits.h.
pub const EXIT_SOFTWARE: i32 = 70;

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
    Ended(usize),
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
    let endpoints = mesh::connect_all::<M>(settings.cores.len(), settings.lane_messages)
        .map_err(RunError::Doorbells)?;
    let (ended_in, ended_out) = mpsc::channel();
    let (ready_in, ready_out) = mpsc::channel();
    let mut gates = Vec::new();
    let mut threads = Vec::new();
    for (index, endpoint) in endpoints.into_iter().enumerate() {
        stop.attach(endpoint.bell());
        let start = Start {
            index,
            settings: settings.clone(),
            endpoint,
            stop: stop.clone(),
            main: main.clone(),
            ended: ended_in.clone(),
        };
        let (gate_in, gate_out) = mpsc::channel::<()>();
        let ready = ready_in.clone();
        // The gate opens when all executors have their rings, and is dropped when one has not.
        let open = move |failed| ready.send((index, failed)).is_ok() && gate_out.recv().is_ok();
        threads.push(Some(start.begin(open)?));
        gates.push(gate_in);
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
    stop.report_to(ended_in);
    await_ends(&ended_out, threads, settings.stop_within)
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

/// Waits for the threads of all executors to end; for so long at most once a stop was requested.
fn await_ends(
    events: &mpsc::Receiver<Event>,
    mut threads: Vec<Option<JoinHandle<()>>>,
    stop_within: Duration,
) -> Result<(), RunError> {
    let mut running = threads.len();
    let mut deadline: Option<Instant> = None;
    while running > 0 {
        let event = match deadline {
            None => events.recv().ok(),
            Some(deadline) => {
                events.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
            }
        };
        match event {
            Some(Event::Ended(index)) => {
                running -= 1;
                let Some(thread) = threads.get_mut(index).and_then(Option::take) else { continue };
                if let Err(panic) = thread.join() {
                    end_process(index, &panic_text(&*panic));
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

/// All that one executor starts from.
struct Start<M, F> {
    index: usize,
    settings: Settings,
    endpoint: Endpoint<M>,
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
        self,
        open: impl FnOnce(Option<String>) -> bool + Send + 'static,
    ) -> Result<JoinHandle<()>, RunError> {
        let index = self.index;
        let name = format!("{}-{index}", self.settings.name);
        let life = move || {
            let made = make(&self.settings, index);
            if !open(made.as_ref().err().cloned()) {
                return;
            }
            let Ok((executor, reactor)) = made else { return };
            let ended = self.ended.clone();
            match self.live(&executor, reactor) {
                Ok(()) => {
                    drop(executor);
                    let _ = ended.send(Event::Ended(index));
                }
                // Told first: the tasks that it leaves behind may not go.
                Err(error) => {
                    let _ = ended.send(Event::Failed(index, error));
                }
            }
        };
        let builder = thread::Builder::new().name(name);
        builder.spawn(life).map_err(|source| RunError::Thread { index, source })
    }

    /// Runs `main` on this thread until it returns; does not return when a task panics.
    fn live(self, executor: &LocalExecutor, reactor: Rc<Reactor>) -> Result<(), String> {
        let (index, count) = (self.index, self.settings.cores.len());
        let spin = match self.settings.cores[index] {
            Some(_) => self.settings.spin_before_park,
            None => Duration::ZERO,
        };
        let (over, outcome) = (Rc::new(Cell::new(false)), Rc::new(RefCell::new(None)));
        let driver = Driver::new(Rc::clone(&reactor.ring), Rc::clone(&over), spin);
        let pool = Rc::clone(&reactor.pool);
        let here = Executor::new(reactor, index, count, self.stop);
        let main_task = {
            let (mesh, main, here) = (Mesh::new(self.endpoint), self.main, here.clone());
            let outcome = Rc::clone(&outcome);
            async move {
                let reactor = &here.core.reactor;
                here.spawn(Rc::clone(&reactor.pool).answer_bell(Rc::clone(&reactor.ring)));
                here.spawn(answer_doorbell(here.clone(), mesh.clone()));
                let ended = main(here.clone(), mesh.clone()).await;
                mesh.forget_handler();
                outcome.replace(Some(ended));
                over.set(true);
            }
        };
        let root = async move {
            here.spawn(main_task);
            driver.await;
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| executor.run(root))) {
            end_process(index, &panic_text(&*panic));
        }
        pool.end();
        outcome.take().unwrap_or_else(|| unreachable!("the driver ends after main"))
    }
}

/// Builds the library's executor and our own ring on the thread that will run them.
///
/// Of the library only the tasks are used. Its own rings stay as small as it takes them, and its timer is never due, so
/// that nothing ever completes there.
pub(crate) fn make(
    settings: &Settings,
    index: usize,
) -> Result<(LocalExecutor, Rc<Reactor>), String> {
    let placement = match settings.cores[index] {
        Some(cpu) => Placement::Fixed(cpu),
        None => Placement::Unbound,
    };
    let builder = LocalExecutorBuilder::new(placement)
        .name(&settings.name)
        .io_memory(LIBRARY_MEMORY_BYTES)
        .ring_depth(LIBRARY_RING_DEPTH)
        .preempt_timer(NEVER)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1));
    // The library panics instead of failing on some kernels; the reason is worth a sentence, too.
    let executor = match catch_unwind(AssertUnwindSafe(|| builder.make())) {
        Ok(made) => made.map_err(|error| error.to_string())?,
        Err(panic) => return Err(panic_text(&*panic)),
    };
    let reactor = Reactor::new(settings, index).map_err(|error| error.to_string())?;
    Ok((executor, Rc::new(reactor)))
}

/// The one task that waits for the bell: takes messages, passes on the request to stop.
async fn answer_doorbell<M: Send + 'static>(here: Executor, mesh: Mesh<M>) {
    let core = &here.core;
    let bell = mesh.bell();
    let mut stop_seen = false;
    loop {
        if !stop_seen && core.stop.requested() {
            stop_seen = true;
            let waiting = core.awaiting_stop.take();
            waiting.into_iter().for_each(Waker::wake);
        }
        if !mesh.drain(|| core.reactor.is_spent()) {
            core.reactor.yield_now().await;
            continue;
        }
        bell.announce_wait();
        let passed_on = stop_seen || !core.stop.requested();
        if passed_on && !mesh.has_messages() {
            let (rung, _) = core.reactor.ring.read_bell(bell.counter()).await;
            assert!(rung.is_ok(), "reading the doorbell failed: {rung:?}");
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
    reactor: Rc<Reactor>,
    index: usize,
    count: usize,
    stop: Stop,
    awaiting_stop: RefCell<Vec<Waker>>,
}

impl Executor {
    fn new(reactor: Rc<Reactor>, index: usize, count: usize, stop: Stop) -> Executor {
        let awaiting_stop = RefCell::new(Vec::new());
        Executor { core: Rc::new(Core { reactor, index, count, stop, awaiting_stop }) }
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
    ///
    /// The wall clock is read first: who counts on from one reading by the monotonic clock is never ahead of the time, however
    /// long the thread does not run between the two.
    pub fn moment(&self) -> Moment {
        Moment { wall: self.now(), uptime: self.uptime() }
    }

    /// When the executor turned to the task that runs now: at most [`crate::TASK_BUDGET`] ago where tasks yield, and without a
    /// look at the clock. For how long something takes.
    pub fn turn_began(&self) -> Instant {
        self.core.reactor.poll_began()
    }

    /// Starts a task on this executor. It does not run before the caller waits, so no borrow is in its way. Dropping
    /// the handle detaches the task.
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
    {
        let reactor = Rc::clone(&self.core.reactor);
        let queue = glommio::executor().current_task_queue();
        let spawned =
            glommio::spawn_local_into(async move { reactor.counted(future).await }, queue);
        match spawned {
            Ok(task) => Task(task.detach()),
            Err(error) => unreachable!("the running task queue exists: {error}"),
        }
    }

    /// Sleeps.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        self.core.reactor.sleep(duration)
    }

    /// Lets everything that is ready run before the caller goes on, what the kernel has done by now included.
    pub async fn yield_now(&self) {
        self.core.reactor.yield_now().await;
    }

    /// Whether the running task has not waited for anything for [`crate::TASK_BUDGET`] and should yield.
    /// [`crate::Reader::read`] and the draining of lanes look themselves.
    pub fn budget_spent(&self) -> bool {
        self.core.reactor.is_spent()
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
        Listener::bind(addr, Rc::clone(&self.core.reactor))
    }

    /// Connects to `addr`, giving up after [`crate::CONNECT_TIMEOUT`].
    pub async fn connect(&self, addr: SocketAddr) -> io::Result<Connection> {
        Connection::connect(addr, Rc::clone(&self.core.reactor)).await
    }

    /// The real disk, through this executor's ring.
    pub fn disk(&self) -> DirectDisk {
        DirectDisk::new(Rc::clone(&self.core.reactor))
    }

    /// Runs a closure that may block on this executor's small thread pool. A panic in it continues here.
    pub async fn blocking<T, F>(&self, work: F) -> T
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.core.reactor.blocking(work).await
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
