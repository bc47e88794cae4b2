//! Starts, kills and restarts our own `mqbroker` as a process of its own, standalone or registered with name servers.
//!
//! The binary is the one of the running test's profile, built first when it is missing or older than its sources, so
//! that `cargo test -p loadtest` never tests an old broker. `RINGMQ_BROKER` names another binary.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::wait_until;
use crate::java_peer::free_ports;

/// How long a start may take; it includes the scan of what a test has written.
const BOOT_WAIT_MAX: Duration = Duration::from_secs(120);
/// How long a stop may take before the process is killed. The broker promises 5 s.
const STOP_WAIT_MAX: Duration = Duration::from_secs(30);
/// Other ports are tried when someone takes ours between the probe and the start.
const START_ATTEMPTS: u32 = 3;
/// What the broker prints when it serves.
const BOOT_LINE: &str = "boot success";

static BINARY: OnceLock<PathBuf> = OnceLock::new();

/// One standalone broker with its directory, which vanishes with it.
pub struct OurBroker {
    binary: PathBuf,
    dir: TempDir,
    broker_port: u16,
    /// Of the name server inside; `None`: there is none, the broker registers with others.
    namesrv_port: Option<u16>,
    metrics_port: u16,
    /// Of the control group that it runs in.
    procs: Option<PathBuf>,
    child: Child,
    boot_time: Duration,
    env: Vec<(String, String)>,
}

impl OurBroker {
    /// Starts a broker on free ports of 127.0.0.1 with these keys of `broker.conf`, which win over what is set here:
    /// cluster `DefaultCluster`, name `broker-a`, addresses, ports, data below a new directory. Waits for its boot line.
    pub fn standalone(keys: &[(&str, &str)]) -> OurBroker {
        OurBroker::start(true, keys, &[])
    }

    /// The same, with these variables in the environment of each start.
    pub fn standalone_with_env(keys: &[(&str, &str)], env: &[(&str, &str)]) -> OurBroker {
        OurBroker::start(true, keys, env)
    }

    /// The same without a name server inside: the broker registers with these (`host:port;host:port`).
    pub fn registered_with(namesrv_addrs: &str, keys: &[(&str, &str)]) -> OurBroker {
        OurBroker::registered_with_env(namesrv_addrs, keys, &[])
    }

    /// The same, with these variables in the environment of each start.
    pub fn registered_with_env(
        namesrv_addrs: &str,
        keys: &[(&str, &str)],
        env: &[(&str, &str)],
    ) -> OurBroker {
        OurBroker::start(false, &[&[("namesrvAddr", namesrv_addrs)], keys].concat(), env)
    }

    /// A standalone broker in a control group, whose file of processes this is. The error is what it printed.
    pub fn in_group(procs: &Path, keys: &[(&str, &str)]) -> Result<OurBroker, String> {
        OurBroker::try_start(true, keys, Some(procs), &[])
    }

    fn start(standalone: bool, keys: &[(&str, &str)], env: &[(&str, &str)]) -> OurBroker {
        for attempt in 1.. {
            match OurBroker::try_start(standalone, keys, None, env) {
                Ok(broker) => return broker,
                Err(log) if attempt < START_ATTEMPTS && log.contains("in use") => {}
                Err(log) => panic!("our broker did not start; it printed:\n{log}"),
            }
        }
        unreachable!("the last attempt returns or panics")
    }

    /// Err holds what the broker printed.
    fn try_start(
        standalone: bool,
        keys: &[(&str, &str)],
        procs: Option<&Path>,
        env: &[(&str, &str)],
    ) -> Result<OurBroker, String> {
        let binary = binary();
        let dir =
            tempfile::Builder::new().prefix("ringmq-").tempdir().map_err(|e| e.to_string())?;
        let given = |key: &str| keys.iter().find(|(k, _)| *k == key).map(|(_, value)| *value);
        let given_port = |key: &str| given(key).and_then(|text| text.parse::<u16>().ok());
        // The VIP port is two below, Java's replication port one above; the name server takes the one between.
        let first = free_ports(5);
        let metrics_port = given_port("metricsPort").unwrap_or(first + 4);
        let broker_port = given_port("listenPort").unwrap_or(first + 2);
        let namesrv_port = given_port("standaloneNamesrvPort").unwrap_or(first + 1);
        let set = [
            ("brokerClusterName", "DefaultCluster".to_owned()),
            ("brokerName", "broker-a".to_owned()),
            ("brokerIP1", "127.0.0.1".to_owned()),
            ("listenPort", broker_port.to_string()),
            ("standaloneNamesrvPort", namesrv_port.to_string()),
            ("metricsPort", metrics_port.to_string()),
            ("storePathRootDir", dir.path().join("data").display().to_string()),
        ];
        let conf = lines_of(&set, keys);
        fs::write(dir.path().join("broker.conf"), conf).map_err(|e| e.to_string())?;
        let started = Instant::now();
        let namesrv_port = standalone.then_some(namesrv_port);
        let procs = procs.map(Path::to_owned);
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let env: Vec<(String, String)> = env.iter().map(owned).collect();
        let child = spawn(&binary, dir.path(), standalone, procs.as_deref(), &env)?;
        let boot_time = Duration::ZERO;
        let mut broker = OurBroker {
            binary,
            dir,
            broker_port,
            namesrv_port,
            metrics_port,
            procs,
            child,
            boot_time,
            env,
        };
        broker.await_boot(started)?;
        Ok(broker)
    }

    /// `host:port` of the name server inside; panics when there is none.
    pub fn namesrv_addr(&self) -> String {
        let port = self.namesrv_port.expect("only a standalone broker has a name server inside");
        format!("127.0.0.1:{port}")
    }

    /// Address of the broker.
    pub fn broker_addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.broker_port))
    }

    /// Address of its metrics and health.
    pub fn metrics_addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.metrics_port))
    }

    /// Process id of the broker that runs now.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Directory of configuration, data (`data`) and log (`log`).
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Time from the start of the process to its boot line.
    pub fn boot_time(&self) -> Duration {
        self.boot_time
    }

    /// Everything that all starts in this directory printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The last 60 lines of it.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(60)).copied().collect::<Vec<_>>().join("\n")
    }

    /// Kills the process as a power cut would end it, and waits for its end.
    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the process to stop (SIGTERM) and waits; kills it when it takes too long. `None`: it had to be killed.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let mut status = None;
        wait_until(STOP_WAIT_MAX, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        if status.is_none() {
            self.kill9();
        }
        status
    }

    /// Waits for the process to end by itself. `None`: it still runs after `limit`.
    pub fn wait_end(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut status = None;
        wait_until(limit, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        status
    }

    /// Changes a line of its configuration, for the next start.
    pub fn configure(&self, key: &str, value: &str) {
        let path = self.dir.path().join("broker.conf");
        let conf = fs::read_to_string(&path).expect("the configuration is there");
        let others = conf.lines().filter(|line| !line.starts_with(&format!("{key}=")));
        let lines: String = others.map(|line| format!("{line}\n")).collect();
        fs::write(&path, format!("{lines}{key}={value}\n")).expect("the configuration is ours");
    }

    /// Starts the broker again on the same data and ports, after [`OurBroker::kill9`] or [`OurBroker::stop`].
    pub fn restart(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        assert!(ended.is_some(), "restart of a broker that still runs");
        let started = Instant::now();
        let standalone = self.namesrv_port.is_some();
        let procs = self.procs.as_deref();
        let started_again = spawn(&self.binary, self.dir.path(), standalone, procs, &self.env);
        let restarted = started_again.and_then(|child| {
            self.child = child;
            self.await_boot(started)
        });
        restarted
            .unwrap_or_else(|log| panic!("our broker did not start again; it printed:\n{log}"));
    }

    fn await_boot(&mut self, started: Instant) -> Result<(), String> {
        let mut ended = false;
        let booted = wait_until(BOOT_WAIT_MAX, || {
            ended = !matches!(self.child.try_wait(), Ok(None));
            ended || self.log().contains(BOOT_LINE)
        });
        self.boot_time = started.elapsed();
        if booted && !ended { Ok(()) } else { Err(self.log()) }
    }
}

impl Drop for OurBroker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Keys of a run with those that were asked for, which win.
pub fn with_asked<'a>(
    own: &[(&'a str, &'a str)],
    asked: &'a [(String, String)],
) -> Vec<(&'a str, &'a str)> {
    let asked = asked.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    own.iter().copied().chain(asked).collect()
}

/// Lines of a configuration. Of `set` only what `keys` do not say.
fn lines_of(set: &[(&str, String)], keys: &[(&str, &str)]) -> String {
    let line = |key: &str, value: &str| format!("{key}={value}\n");
    let ours = set.iter().filter(|(key, _)| !keys.iter().any(|(given, _)| given == key));
    let ours = ours.map(|(key, value)| line(key, value));
    ours.chain(keys.iter().map(|(key, value)| line(key, value))).collect()
}

/// A standalone broker, to be started by the caller, that would have its data in `dir/data`, on free ports. Keys given here
/// win.
pub fn standalone_in(dir: &Path, keys: &[(&str, &str)], arguments: &[&str]) -> Command {
    let first = free_ports(5);
    let set = [
        ("brokerIP1", "127.0.0.1".to_owned()),
        ("listenPort", (first + 2).to_string()),
        ("standaloneNamesrvPort", (first + 1).to_string()),
        ("shards", "1".to_owned()),
        ("storePathRootDir", dir.join("data").display().to_string()),
    ];
    // Last: tests know the lines of their own keys.
    let port = format!("metricsPort={}\n", first + 4);
    let port = if keys.iter().any(|(key, _)| *key == "metricsPort") { "" } else { &port };
    let conf = format!("{}{port}", lines_of(&set, keys));
    fs::write(dir.join("broker.conf"), conf).expect("the directory is ours");
    command_in(dir, arguments)
}

/// A standalone broker with the configuration that is in `dir`, to be started by the caller.
pub fn command_in(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("--standalone").arg("-c").arg(dir.join("broker.conf")).args(arguments);
    command.env_remove("NAMESRV_ADDR").env_remove("RUST_LOG").current_dir(dir).stdin(Stdio::null());
    command
}

/// Standard output and error go to the file `log`, which begins anew with each start.
fn spawn(
    binary: &Path,
    dir: &Path,
    standalone: bool,
    procs: Option<&Path>,
    env: &[(String, String)],
) -> Result<Child, String> {
    let log = fs::File::create(dir.join("log")).map_err(|e| e.to_string())?;
    let errors = log.try_clone().map_err(|e| e.to_string())?;
    let mut command = match procs {
        None => Command::new(binary),
        Some(procs) => {
            // The shell joins the group and becomes the broker: nothing of the broker is charged to another group.
            let mut shell = Command::new("sh");
            let join = "echo $$ > \"$0\" && exec \"$@\"";
            shell.args(["-c", join]).arg(procs).arg(binary);
            shell
        }
    };
    command
        .args(standalone.then_some("--standalone"))
        .arg("-c")
        .arg(dir.join("broker.conf"))
        .current_dir(dir)
        .env_remove("NAMESRV_ADDR")
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(|error| format!("{}: {error}", binary.display()))
}

/// The broker to test; built once per process when it is missing or stale.
pub fn binary() -> PathBuf {
    BINARY.get_or_init(find_or_build).clone()
}

/// Takes this binary for all brokers of this process. To be called before the first one starts.
pub fn use_binary(path: &Path) {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    BINARY.set(path).expect("no broker was started yet");
}

fn find_or_build() -> PathBuf {
    let crates = [
        "proto",
        "acl",
        "filter",
        "runtime",
        "remoting",
        "daemon",
        "tls",
        "telemetry",
        "store",
        "namesrv",
        "broker",
    ];
    built_program("RINGMQ_BROKER", ("broker", "mqbroker"), &crates)
}

/// A program of this workspace, as a package and its name: the one that a variable names, or that of the profile of the
/// running test, built first when it is missing or older than the sources of these crates.
pub fn built_program(variable: &str, (package, name): (&str, &str), crates: &[&str]) -> PathBuf {
    if let Some(named) = env::var_os(variable) {
        return PathBuf::from(named);
    }
    let profile_dir = profile_dir();
    let binary = profile_dir.join(name);
    let built = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    if built(&binary).is_some_and(|time| time >= newest_source(crates)) {
        return binary;
    }
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev".to_owned(),
        Some(name) => name.to_owned(),
    };
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "-p", package, "--bin", name, "--profile", &profile])
        .arg("--target-dir")
        .arg(profile_dir.parent().unwrap_or(&profile_dir))
        .current_dir(workspace)
        .status();
    assert!(status.is_ok_and(|s| s.success()), "cargo build -p {package} --bin {name} failed");
    binary
}

/// `target/debug` or `target/release`: tests run from its `deps`, programs from itself.
fn profile_dir() -> PathBuf {
    let exe = env::current_exe().expect("the system knows what runs");
    let dir = exe.parent().expect("a program lies in a directory");
    if dir.ends_with("deps") { dir.parent().unwrap_or(dir).to_owned() } else { dir.to_owned() }
}

/// When a source of these crates was last changed.
fn newest_source(crates: &[&str]) -> SystemTime {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    crates
        .iter()
        .map(|name| newest_below(&workspace.join(name).join("src")))
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

fn newest_below(dir: &Path) -> SystemTime {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let times = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => newest_below(&entry.path()),
        Ok(meta) => meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        Err(_) => SystemTime::UNIX_EPOCH,
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}
