//! Question: does an executor ever sleep although it has work, while its core is stolen from it?
//!
//! `cargo build --release -p runtime --examples && MINUTES=60 target/release/examples/stolen_cores`
//!
//! Runs `null_broker` and `null_epoll` side by side on STOLEN_CORE (0). Each has one client on CLIENT_CORE (1),
//! with one connection and one request at a time, a millisecond apart: nothing else wakes a server that has missed
//! its wake. Four phases of [`PHASE`] alternate: nothing; HOGS (1) busy loops on the same core; both servers
//! stopped by a signal for 1 to 50 ms again and again; both. Prints how long requests waited. What both servers
//! show is the stolen core; what only the executor shows is its own. A request that is not answered within
//! [`STUCK_AFTER`] ends the run with code 1 and says where the server's threads are. All that was started ends with
//! this program, unless SIGKILL ends it.

use std::{
    env, fs, hint,
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitCode, Stdio},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{CpuSet, sched_setaffinity},
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Names of the programs beside this one.
const SERVERS: [&str; 2] = ["null_epoll", "null_broker"];

/// How long the circumstances stay as they are.
const PHASE: Duration = Duration::from_secs(15);

/// A lost wake is for ever; a busy machine is only slow.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// Between an answer and the next request.
const CLIENT_PAUSE: Duration = Duration::from_millis(1);

/// How soon everybody notices a new phase, or the end.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long servers are stopped at a time, and how long they run in between, in milliseconds.
const STOPPED_MS: std::ops::RangeInclusive<u64> = 1..=50;

/// The servers answer with about 200 bytes.
const ANSWER_BYTES_MAX: usize = 4096;

fn main() -> ExitCode {
    match steal() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stolen_cores: {error}");
            ExitCode::FAILURE
        }
    }
}

fn steal() -> Result<(), String> {
    let minutes: f64 = setting("MINUTES", 60.0)?;
    let (stolen_core, client_core) = (setting("STOLEN_CORE", 0)?, setting("CLIENT_CORE", 1)?);
    let hogs: usize = setting("HOGS", 1)?;
    let length = Duration::try_from_secs_f64(minutes * 60.0).map_err(|error| error.to_string())?;
    let now = Circumstances::default();
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        let over = Arc::clone(&now.over);
        signal_hook::flag::register(signal, over).map_err(|error| error.to_string())?;
    }
    // Ended when they go out of scope, which is after all threads.
    let mut servers = Vec::new();
    for name in SERVERS {
        servers.push(Server::start(name, stolen_core)?);
    }
    let seen: Vec<Seen> = thread::scope(|scope| {
        let now = &now;
        let ask = |server| scope.spawn(move || ask_until_over(server, client_core, now));
        let clients: Vec<_> = servers.iter().map(ask).collect();
        for _ in 0..hogs {
            scope.spawn(|| hog(stolen_core, now));
        }
        scope.spawn(|| stop_and_continue(&servers, client_core, now));
        alternate(length, now);
        clients.into_iter().map(|client| client.join().expect("a client")).collect()
    });
    print_table(&seen);
    let failures: Vec<String> = seen.into_iter().filter_map(|seen| seen.failure).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// A number from the environment.
fn setting<T: FromStr>(name: &str, default: T) -> Result<T, String> {
    match env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("{name}={text} is no such number")),
        Err(_) => Ok(default),
    }
}

/// What is done to the servers at the moment.
#[derive(Clone, Copy)]
struct Phase {
    name: &'static str,
    hogs: bool,
    stops: bool,
}

const PHASES: [Phase; 4] = [
    Phase { name: "neither", hogs: false, stops: false },
    Phase { name: "hog", hogs: true, stops: false },
    Phase { name: "stops", hogs: false, stops: true },
    Phase { name: "both", hogs: true, stops: true },
];

/// What all threads look at.
#[derive(Default)]
struct Circumstances {
    /// Place in [`PHASES`].
    phase: AtomicUsize,
    over: Arc<AtomicBool>,
}

impl Circumstances {
    fn phase(&self) -> Phase {
        PHASES[self.phase.load(Ordering::Relaxed)]
    }

    fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Goes through the phases until the time is over, or a client or a signal ends it.
fn alternate(length: Duration, now: &Circumstances) {
    let began = Instant::now();
    while began.elapsed() < length && !now.over() {
        let phase = (began.elapsed().as_secs() / PHASE.as_secs()) as usize % PHASES.len();
        now.phase.store(phase, Ordering::Relaxed);
        thread::sleep(LOOK_EVERY);
    }
    now.end();
}

/// Takes the core that the servers run on.
fn hog(core: usize, now: &Circumstances) {
    pin_to(core);
    while !now.over() {
        if now.phase().hogs {
            (0..100_000).for_each(|_| hint::spin_loop());
        } else {
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// Stops all servers at the same moments, so that both lose the same time.
fn stop_and_continue(servers: &[Server], core: usize, now: &Circumstances) {
    pin_to(core);
    // Fails only when the process has ended, which its client notices.
    let tell = |signal| {
        for server in servers {
            let _ = kill_process(server.pid(), signal);
        }
    };
    while !now.over() {
        if now.phase().stops {
            tell(Signal::STOP);
            thread::sleep(Duration::from_millis(fastrand::u64(STOPPED_MS)));
            tell(Signal::CONT);
            thread::sleep(Duration::from_millis(fastrand::u64(STOPPED_MS)));
        } else {
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// Pins the calling thread. On another core the run would answer another question.
fn pin_to(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).expect("a core of this machine");
}

/// One of the servers, as a process of its own that lives as long as this.
struct Server {
    name: &'static str,
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(name: &'static str, core: usize) -> Result<Server, String> {
        let program = env::current_exe().map_err(|error| error.to_string())?.with_file_name(name);
        let mut command = Command::new(&program);
        command.args(["0", &core.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
        // An interrupt from the terminal is ours to pass on.
        let spawned = command.process_group(0).spawn();
        let process = spawned.map_err(|error| {
            format!("{}: {error}; `--examples` builds all three programs", program.display())
        })?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Server { name, process, address };
        let mut line = String::new();
        if let Some(out) = server.process.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(|error| error.to_string())?;
        }
        let address = line.trim().strip_prefix("listening on ").and_then(|at| at.parse().ok());
        server.address = address.ok_or(format!("{name} does not listen"))?;
        Ok(server)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Where each thread of the server is: its state, and what it waits for in the kernel.
    fn whereabouts(&self) -> String {
        let tasks = format!("/proc/{}/task", self.process.id());
        let mut text = String::new();
        for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
            let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let (name, status) = (read("comm"), read("status"));
            let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or_default();
            let (waits_in, call) = (read("wchan"), read("syscall"));
            text += &format!("\n  {}: {state}, in {waits_in}, call {}", name.trim(), call.trim());
        }
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ends stopped processes, too.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a server's client saw.
struct Seen {
    server: &'static str,
    /// By place in [`PHASES`], of the phase in which a request was sent.
    waits: [Waits; PHASES.len()],
    /// What ended the run.
    failure: Option<String>,
}

/// How long answers took.
#[derive(Clone, Copy, Default)]
struct Waits {
    answers: u64,
    longest: Duration,
    over_100_ms: u64,
    over_1_s: u64,
}

impl Waits {
    fn count(&mut self, wait: Duration) {
        self.answers += 1;
        self.longest = self.longest.max(wait);
        self.over_100_ms += u64::from(wait > Duration::from_millis(100));
        self.over_1_s += u64::from(wait > Duration::from_secs(1));
    }
}

/// One request at a time. A failure ends the run.
fn ask_until_over(server: &Server, core: usize, now: &Circumstances) -> Seen {
    pin_to(core);
    let mut seen = Seen { server: server.name, waits: Default::default(), failure: None };
    let began = Instant::now();
    let (mut opaque, mut phase) = (0, 0);
    // Stays open until the server was looked at: to end the connection would wake it.
    let mut stream = None;
    let ended = connect(server.address).and_then(|connected| {
        let stream = stream.insert(connected);
        while !now.over() {
            opaque += 1;
            phase = now.phase.load(Ordering::Relaxed);
            let sent = Instant::now();
            ask(stream, opaque)?;
            seen.waits[phase].count(sent.elapsed());
            thread::sleep(CLIENT_PAUSE);
        }
        Ok(())
    });
    let Err(error) = ended else { return seen };
    let after = began.elapsed();
    now.end();
    // The last signal has continued the servers by then.
    thread::sleep(Duration::from_millis(2 * STOPPED_MS.end()));
    let what = match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("stuck for {STUCK_AFTER:?}"),
        _ => format!("broken ({error})"),
    };
    seen.failure = Some(format!(
        "{}: request {opaque}, sent in phase {}, is {what} {after:?} after the start; its threads:{}",
        server.name,
        PHASES[phase].name,
        server.whereabouts()
    ));
    seen
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STUCK_AFTER))?;
    Ok(stream)
}

/// Sends one request of RocketMQ's protocol (code 310, a send) and reads its answer.
fn ask(stream: &mut TcpStream, opaque: u32) -> io::Result<()> {
    let header =
        format!(r#"{{"code":310,"flag":0,"language":"RUST","opaque":{opaque},"version":401}}"#);
    let header_bytes = header.len() as u32;
    let words = [(header_bytes + 4).to_be_bytes(), header_bytes.to_be_bytes()].concat();
    stream.write_all(&[&words, header.as_bytes()].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > ANSWER_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, "an answer that is too long"));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    let own = format!(r#""opaque":{opaque},"#);
    if !String::from_utf8_lossy(&answer).contains(&own) {
        return Err(io::Error::new(ErrorKind::InvalidData, "the answer to another request"));
    }
    Ok(())
}

fn print_table(seen: &[Seen]) {
    println!(
        "{:<10} {:<12} {:>10} {:>12} {:>12} {:>9}",
        "phase", "server", "answers", "longest ms", "over 100 ms", "over 1 s"
    );
    for (place, phase) in PHASES.iter().enumerate() {
        for Seen { server, waits, .. } in seen {
            let waits = waits[place];
            println!(
                "{:<10} {server:<12} {:>10} {:>12.1} {:>12} {:>9}",
                phase.name,
                waits.answers,
                waits.longest.as_secs_f64() * 1e3,
                waits.over_100_ms,
                waits.over_1_s
            );
        }
    }
}
