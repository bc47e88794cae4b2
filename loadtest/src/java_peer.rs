//! Apache RocketMQ's own name server, broker and `mqadmin` as peers of our tests and measurements.
//!
//! The jars come from Maven Central once per version and are kept in `<target dir>/java-peer-<version>`; configuration,
//! store and logs of one [`JavaPeer`] live in a temporary directory that vanishes with it. Processes are ended by `Drop`.
//! A machine without `java` or `mvn` is no error by itself: ask [`missing_toolchain`] (or use [`available_or_skip`]) first.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// The 4.9 broker that tests compare with: the newest one on Maven Central.
pub const VERSION_4_9: &str = "4.9.7";
/// The 5.x broker that tests compare with.
pub const VERSION_5_3: &str = "5.3.3";

/// How long one Java process may take to report its boot. A cold 5.3.3 broker needs 10 s on a quiet core, and far more on
/// cores that also build and test.
const BOOT_WAIT_MAX: Duration = Duration::from_secs(240);
/// How long a stopped process may take before it is killed.
const STOP_WAIT_MAX: Duration = Duration::from_secs(20);

/// What Netty and the mapped files of RocketMQ need on Java 17.
pub const OPEN_FLAGS: [&str; 5] = [
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
];

/// Why the Java peer could not be used.
#[derive(Debug)]
pub enum PeerError {
    /// A file or process operation failed.
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// A process ended early or did not become ready; `output` is the end of what it printed.
    NotReady {
        /// Which process.
        what: String,
        /// The last lines of its output.
        output: String,
    },
    /// `mvn` or `mqadmin` ended with a failure; `output` is what it printed.
    Failed {
        /// Which command.
        what: String,
        /// Standard output and standard error.
        output: String,
    },
}

impl std::fmt::Display for PeerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PeerError::Io { doing, source } => write!(f, "{doing}: {source}"),
            PeerError::NotReady { what, output } => {
                write!(f, "{what} did not start; it printed:\n{output}")
            }
            PeerError::Failed { what, output } => write!(f, "{what} failed; it printed:\n{output}"),
        }
    }
}

impl std::error::Error for PeerError {}

/// A family of Java processes that share one directory and one version.
pub struct JavaPeer {
    version: String,
    jars: PathBuf,
    dir: TempDir,
    running: Vec<Running>,
    /// Heap of the broker as `-Xmx` takes it. Default `1g`.
    pub heap: String,
    /// Core to which later processes are pinned (with `taskset`). Default: none.
    pub cpu: Option<usize>,
    /// Name servers that [`JavaPeer::start_broker`] and nothing else uses; [`JavaPeer::start_namesrv`] sets it.
    pub namesrv_addr: Option<String>,
}

/// One process of the family.
struct Running {
    what: String,
    child: Child,
    output: PathBuf,
}

impl JavaPeer {
    /// Resolves the jars of `version` (`4.9.7`, `5.3.3`) and prepares an empty directory; starts nothing.
    pub fn new(version: &str) -> Result<JavaPeer, PeerError> {
        let jars = jars(version)?;
        let dir = tempfile::Builder::new()
            .prefix("java-peer-")
            .tempdir()
            .map_err(doing("temporary directory"))?;
        write_log_configs(&dir.path().join("home"), &dir.path().join("java.log"))?;
        Ok(JavaPeer {
            version: version.to_owned(),
            jars,
            dir,
            running: Vec::new(),
            heap: "1g".to_owned(),
            cpu: None,
            namesrv_addr: None,
        })
    }

    /// Version of the jars.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Directory of configuration, store and logs; removed with the peer.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a name server on a free port of 127.0.0.1 and waits for its boot line. Later brokers register with it.
    pub fn start_namesrv(&mut self) -> Result<SocketAddr, PeerError> {
        let port = free_ports(1);
        let conf = self.dir.path().join(format!("namesrv-{port}.conf"));
        write(&conf, &format!("listenPort={port}\n"))?;
        let command = self.java("256m", "org.apache.rocketmq.namesrv.NamesrvStartup", &conf);
        self.start(format!("namesrv {port}"), command)?;
        self.namesrv_addr = Some(format!("127.0.0.1:{port}"));
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// Starts a broker and waits for its boot line. `conf` holds `broker.conf` keys and wins over what is set here:
    /// cluster `DefaultCluster`, name `broker-a`, id 0, 127.0.0.1 with a free port (its neighbours -2 and +1 are free
    /// too), a store below [`JavaPeer::dir`], and [`JavaPeer::namesrv_addr`]. Returns the broker's address.
    pub fn start_broker(&mut self, conf: &[(&str, &str)]) -> Result<SocketAddr, PeerError> {
        let given = |key: &str| conf.iter().find(|(k, _)| *k == key).map(|(_, v)| (*v).to_owned());
        let port = match given("listenPort").and_then(|text| text.parse().ok()) {
            Some(port) => port,
            None => free_ports(4) + 2,
        };
        let store = self.dir.path().join(format!("store-{port}"));
        let mut keys = vec![
            ("brokerClusterName", "DefaultCluster".to_owned()),
            ("brokerName", "broker-a".to_owned()),
            ("brokerId", "0".to_owned()),
            ("brokerIP1", "127.0.0.1".to_owned()),
            ("listenPort", port.to_string()),
            ("storePathRootDir", store.display().to_string()),
            ("storePathCommitLog", store.join("commitlog").display().to_string()),
            ("enablePropertyFilter", "true".to_owned()),
            // Of 5.x, where it is off.
            ("recallMessageEnable", "true".to_owned()),
            // A small log: the default of 1 GiB per file is allocated at once.
            ("mappedFileSizeCommitLog", (64 * 1024 * 1024).to_string()),
        ];
        if let Some(addr) = &self.namesrv_addr {
            keys.push(("namesrvAddr", addr.clone()));
        }
        keys.retain(|(key, _)| given(key).is_none());
        let lines = keys.iter().map(|(k, v)| format!("{k}={v}\n"));
        let text: String = lines.chain(conf.iter().map(|(k, v)| format!("{k}={v}\n"))).collect();
        let path = self.dir.path().join(format!("broker-{port}.conf"));
        write(&path, &text)?;
        let command = self.java(&self.heap, "org.apache.rocketmq.broker.BrokerStartup", &path);
        self.start(format!("broker {port}"), command)?;
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// Runs Java's `mqadmin` (pass `-n` yourself) and returns what it printed; a non-zero exit is an error.
    pub fn mqadmin(&self, args: &[&str]) -> Result<String, PeerError> {
        let mut command = Command::new("java");
        command
            .args(OPEN_FLAGS)
            .arg("-Xmx256m")
            .args(self.system_properties())
            .args(["-cp", &self.class_path(), "org.apache.rocketmq.tools.command.MQAdminStartup"])
            .args(args)
            .env("ROCKETMQ_HOME", self.home())
            .stdin(Stdio::null());
        let what = format!("mqadmin {}", args.join(" "));
        let output = command.output().map_err(doing(&what))?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        if output.status.success() {
            Ok(text)
        } else {
            Err(PeerError::Failed { what, output: text })
        }
    }

    /// Stops the brokers as an operator does (SIGTERM: they unregister), and waits for their end.
    pub fn stop_brokers(&mut self) {
        self.stop(|what| what.starts_with("broker "));
    }

    /// Stops the name servers (SIGTERM) and waits for their end.
    pub fn stop_namesrvs(&mut self) {
        self.stop(|what| what.starts_with("namesrv "));
    }

    /// Process ids of what runs, for measurements.
    pub fn pids(&self) -> Vec<u32> {
        self.running.iter().map(|running| running.child.id()).collect()
    }

    /// Class path of all jars of this version, for Java programs of our own.
    pub fn class_path(&self) -> String {
        format!("{}/*", self.jars.display())
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn system_properties(&self) -> [String; 2] {
        [
            format!("-Duser.home={}", self.dir.path().display()),
            format!("-Drocketmq.home.dir={}", self.home().display()),
        ]
    }

    fn java(&self, heap: &str, main_class: &str, conf: &Path) -> Command {
        let mut command = match self.cpu {
            None => Command::new("java"),
            Some(cpu) => {
                let mut pinned = Command::new("taskset");
                pinned.args(["-c", &cpu.to_string(), "java"]);
                pinned
            }
        };
        command
            .args([format!("-Xms{heap}"), format!("-Xmx{heap}"), "-XX:+UseG1GC".to_owned()])
            .args(OPEN_FLAGS)
            .args(self.system_properties())
            .args(["-cp", &self.class_path(), main_class, "-c"])
            .arg(conf)
            .env("ROCKETMQ_HOME", self.home())
            .env_remove("NAMESRV_ADDR")
            .stdin(Stdio::null());
        command
    }

    fn start(&mut self, what: String, mut command: Command) -> Result<(), PeerError> {
        let output = self.dir.path().join(format!("{}.out", what.replace(' ', "-")));
        let file = File::create(&output).map_err(doing(&what))?;
        let errors = file.try_clone().map_err(doing(&what))?;
        let child = command.stdout(file).stderr(errors).spawn().map_err(doing(&what))?;
        self.running.push(Running { what: what.clone(), child, output: output.clone() });
        let until = Instant::now() + BOOT_WAIT_MAX;
        while Instant::now() < until {
            if fs::read_to_string(&output).unwrap_or_default().contains("boot success") {
                return Ok(());
            }
            let ended =
                self.running.last_mut().is_some_and(|r| !matches!(r.child.try_wait(), Ok(None)));
            if ended {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(PeerError::NotReady { what, output: self.output_tail() })
    }

    /// The last lines of what the newest process printed and of the common log, for messages of failed tests.
    pub fn output_tail(&self) -> String {
        let printed = self
            .running
            .last()
            .map(|r| fs::read_to_string(&r.output).unwrap_or_default())
            .unwrap_or_default();
        let logged = fs::read_to_string(self.dir.path().join("java.log")).unwrap_or_default();
        format!("{}\n-- log:\n{}", last_lines(&printed, 30), last_lines(&logged, 30))
    }

    fn stop(&mut self, which: impl Fn(&str) -> bool) {
        let (mut ending, staying) =
            std::mem::take(&mut self.running).into_iter().partition(|r: &Running| which(&r.what));
        self.running = staying;
        let ending: &mut Vec<Running> = &mut ending;
        for running in ending.iter() {
            terminate(running.child.id());
        }
        let until = Instant::now() + STOP_WAIT_MAX;
        for running in ending.iter_mut() {
            while Instant::now() < until && matches!(running.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

impl Drop for JavaPeer {
    fn drop(&mut self) {
        for running in &mut self.running {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

/// `None` when `java` and `mvn` can be started; otherwise a sentence that says what is missing.
pub fn missing_toolchain() -> Option<String> {
    let mut missing = vec!["java", "mvn"];
    missing.retain(|name| !is_there(&[name, "-version"]));
    (!missing.is_empty()).then(|| {
        format!("{} not found in PATH (Java 11 or 17 and Maven are needed)", missing.join(" and "))
    })
}

/// Whether a command ends well. It runs once in this process: some take half a second, and every test asks.
pub(crate) fn is_there(words: &[&str]) -> bool {
    static ASKED: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());
    let Some((first, rest)) = words.split_first() else { return false };
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    *asked.entry(words.join(" ")).or_insert_with(|| {
        let mut command = Command::new(first);
        command.args(rest).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// Whether a missing toolchain of other people's clients is a failure (`RINGMQ_REQUIRE_CLIENTS=1`, set by CI).
pub fn clients_required() -> bool {
    std::env::var("RINGMQ_REQUIRE_CLIENTS").is_ok_and(|value| value == "1")
}

/// True when the Java peer can be used. Otherwise prints what `test` did not check and why, and returns false; panics
/// instead when [`clients_required`].
pub fn available_or_skip(test: &str) -> bool {
    match missing_toolchain() {
        None => true,
        Some(why) if clients_required() => panic!("{test} is required here, but {why}"),
        Some(why) => {
            not_run(&format!("{test}: {why}"));
            false
        }
    }
}

/// Says what is not checked and why, past the test runner, which shows the output of failed tests only.
pub fn not_run(what: &str) {
    let line = format!("NOT RUN: {what}\n");
    // Nothing can be done about a closed standard error, and the test is none the worse for it.
    let _ = io::Write::write_all(&mut io::stderr(), line.as_bytes());
}

/// The directory with the jars of `version`, fetched with Maven when it is not there yet. Safe to call from several
/// test processes at once.
pub fn jars(version: &str) -> Result<PathBuf, PeerError> {
    let target = target_dir();
    let jars = target.join(format!("java-peer-{version}"));
    if jars.is_dir() {
        return Ok(jars);
    }
    fs::create_dir_all(&target).map_err(doing("target directory"))?;
    let lock =
        File::create(target.join("java-peer.lock")).map_err(doing("lock of the jar cache"))?;
    lock.lock().map_err(doing("lock of the jar cache"))?;
    if jars.is_dir() {
        return Ok(jars);
    }
    let partial = target.join(format!("java-peer-{version}.part"));
    let _ = fs::remove_dir_all(&partial);
    let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/java-peer/pom.xml");
    let output = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(pom)
        .args(["dependency:copy-dependencies", &format!("-Drmq={version}")])
        .arg(format!("-DoutputDirectory={}", partial.display()))
        .stdin(Stdio::null())
        .output()
        .map_err(doing("mvn dependency:copy-dependencies"))?;
    if !output.status.success() {
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        return Err(PeerError::Failed {
            what: "mvn dependency:copy-dependencies".to_owned(),
            output: text,
        });
    }
    fs::rename(&partial, &jars).map_err(doing("jar cache"))?;
    Ok(jars)
}

/// The first of `count` neighbouring ports that are free on 127.0.0.1, below the range of outgoing connections.
/// Another process may still take them before they are used; different calls of one process get different ones.
pub fn free_ports(count: u16) -> u16 {
    const FIRST: u16 = 20_000;
    const SPAN: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run side by side start at different places.
    let start = (std::process::id() % 1_171) as u16 * 10;
    for _ in 0..SPAN / 8 {
        let offset =
            start.wrapping_add(NEXT.fetch_add(count.max(1), Ordering::Relaxed)) % (SPAN - count);
        let first = FIRST + offset;
        let bound: Vec<_> = (first..first + count)
            .map_while(|p| TcpListener::bind((Ipv4Addr::LOCALHOST, p)).ok())
            .collect();
        if bound.len() == usize::from(count) {
            return first;
        }
    }
    panic!("no {count} neighbouring free ports between {FIRST} and {}", FIRST + SPAN);
}

/// Directory of build results that holds the running program: the nearest one that cargo has tagged.
fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let tagged = exe.ancestors().skip(1).find(|dir| dir.join("CACHEDIR.TAG").is_file());
    match tagged {
        Some(dir) => dir.to_owned(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
    }
}

/// Both releases look for their log configuration under other names; all get the same small file, which keeps standard
/// output to results. `home` is what `rocketmq.home.dir` names. Without this file, 4.9's `mqadmin` does nothing at all.
pub fn write_log_configs(home: &Path, log: &Path) -> Result<(), PeerError> {
    let conf = home.join("conf");
    fs::create_dir_all(&conf).map_err(doing("home of the Java peer"))?;
    let text = format!(
        "<configuration><appender name='F' class='ch.qos.logback.core.FileAppender'><file>{}</file>\
         <encoder><pattern>%d %p %m%n</pattern></encoder></appender>\
         <root level='WARN'><appender-ref ref='F'/></root></configuration>\n",
        log.display()
    );
    for part in ["namesrv", "broker", "tools"] {
        write(&conf.join(format!("logback_{part}.xml")), &text)?;
        write(&conf.join(format!("rmq.{part}.logback.xml")), &text)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), PeerError> {
    fs::write(path, text).map_err(doing(&path.display().to_string()))
}

fn doing(what: &str) -> impl FnOnce(io::Error) -> PeerError + use<> {
    let doing = what.to_owned();
    move |source| PeerError::Io { doing, source }
}

fn terminate(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(count)).copied().collect::<Vec<_>>().join("\n")
}
