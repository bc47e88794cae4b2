//! Other people's client libraries behind one small command line (`loadtest/clients/*`), installed and run.
//!
//! What a program needs (its library, its compiled form) is made once below `<target dir>/clients` and made again when
//! one of its sources or pinned versions changes. A missing toolchain is not an error by itself: the test says `NOT RUN`
//! and passes, except where `RINGMQ_REQUIRE_CLIENTS=1`.

use std::{
    collections::HashSet,
    env,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{java_server, starts, wait_until};
use crate::java_peer::{clients_required, is_there, not_run};

/// How long a program that ends by itself may run.
pub(super) const RUN_WAIT_MAX: Duration = Duration::from_secs(240);
/// How long a consumer may take to start, a JVM on a busy machine included.
const READY_WAIT_MAX: Duration = Duration::from_secs(120);
/// How long a consumer may take to shut down cleanly.
const FINISH_WAIT_MAX: Duration = Duration::from_secs(120);
/// `consume` ends by itself after this many seconds, should its test forget it.
const CONSUME_SECONDS: &str = "600";

/// A client library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// `rocketmq-client` of this version (`4.9.8`, `5.3.3`); `rocketmq-tools` comes with it.
    Java(&'static str),
    /// `rocketmq-spring-boot-starter` of this version in one application, which plays [`super::spring`] and nothing else.
    Spring(&'static str),
    /// `github.com/apache/rocketmq-client-go/v2`, version in `clients/go/go.mod`.
    Go,
    /// `rocketmq` (the C++ client), version in `clients/python/requirements.txt`.
    Python,
    /// `ali-ons`, version in `clients/node/package.json`.
    Node,
}

/// An installed program: append a verb and its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    words: Vec<String>,
    pub(super) home: PathBuf,
    /// A virtual machine runs verbs that end by themselves, one for all.
    served: bool,
    /// At its end it sometimes does not commit all that it has consumed, whoever's the broker is.
    pub(super) forgets: bool,
}

/// `SENT` line: the broker has this message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Message id of the library; `-` when it has none.
    pub message_id: String,
    /// Queue, -1 when the library does not tell.
    pub queue: i32,
    /// Queue offset, -1 when the library does not tell.
    pub offset: i64,
    /// Body.
    pub body: String,
}

/// `RECV` line: a listener saw this message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Received {
    /// Queue.
    pub queue: i32,
    /// Queue offset.
    pub offset: i64,
    /// Body.
    pub body: String,
}

impl Library {
    /// The program, installed when needed. `None`: a tool is missing, which was printed with the name of the test.
    pub fn program(self, test: &str) -> Option<Program> {
        let missing: Vec<&str> =
            self.tools().iter().filter(|t| !is_there(t)).map(|t| t[0]).collect();
        if !missing.is_empty() {
            let why = format!("{} is not installed", missing.join(" and "));
            assert!(!clients_required(), "{test} is required here, but {why}");
            not_run(&format!("{test}: {why}"));
            return None;
        }
        Some(self.install())
    }

    /// Commands that show that the tools are there.
    fn tools(self) -> &'static [&'static [&'static str]] {
        match self {
            Library::Java(_) | Library::Spring(_) => &[&["java", "-version"], &["mvn", "-version"]],
            Library::Go => &[&["go", "version"]],
            Library::Python => &[&["python3", "-c", "import venv, ensurepip"]],
            Library::Node => &[&["node", "--version"], &["npm", "--version"]],
        }
    }

    fn install(self) -> Program {
        let (name, sources) = match self {
            Library::Java(version) => (format!("java-{version}"), "java"),
            Library::Spring(version) => (format!("spring-{version}"), "spring"),
            Library::Go => ("go".to_owned(), "go"),
            Library::Python => ("python".to_owned(), "python"),
            Library::Node => ("node".to_owned(), "node"),
        };
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(sources);
        let cache = cache_dir();
        let out = cache.join(&name);
        let stamp = stamp(&sources);
        fs::create_dir_all(&cache).expect("the target directory is writable");
        let lock = File::create(cache.join(format!("{name}.lock"))).expect("lock file");
        lock.lock().expect("lock of the client cache");
        if fs::read_to_string(out.join("stamp")).ok().as_ref() != Some(&stamp) {
            let _ = fs::remove_dir_all(&out);
            fs::create_dir_all(&out).expect("the target directory is writable");
            self.make(&sources, &out);
            fs::write(out.join("stamp"), stamp).expect("the target directory is writable");
        }
        let home = out.join("home");
        fs::create_dir_all(&home).expect("the target directory is writable");
        let served = matches!(self, Library::Java(_));
        let forgets = matches!(self, Library::Go);
        Program { words: self.words(&out, &home), home, served, forgets }
    }

    /// Fetches libraries and compiles into `out`.
    fn make(self, sources: &Path, out: &Path) {
        let dir = |path: &Path| path.display().to_string();
        match self {
            Library::Java(version) => maven(sources, out, &format!("-Drmq={version}")),
            Library::Spring(version) => maven(sources, out, &format!("-Dstarter={version}")),
            Library::Go => make(Command::new("go").current_dir(sources).args([
                "build",
                "-mod=readonly",
                "-o",
                &dir(&out.join("client")),
                ".",
            ])),
            Library::Python => {
                let venv = out.join("venv");
                make(Command::new("python3").args(["-m", "venv", &dir(&venv)]));
                make(
                    Command::new(venv.join("bin/python"))
                        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                        .args(["-r", &dir(&sources.join("requirements.txt"))]),
                );
                copy(sources, out, &["client.py"]);
            }
            Library::Node => {
                copy(sources, out, &["package.json", "package-lock.json", "client.js"]);
                make(Command::new("npm").current_dir(out).args([
                    "ci",
                    "--ignore-scripts",
                    "--no-audit",
                    "--no-fund",
                ]));
            }
        }
    }

    fn words(self, out: &Path, home: &Path) -> Vec<String> {
        let path = |name: &str| out.join(name).display().to_string();
        match self {
            Library::Java(_) | Library::Spring(_) => vec![
                "java".to_owned(),
                "-Xmx192m".to_owned(),
                // Programs of seconds: starting fast is all that counts.
                "-XX:TieredStopAtLevel=1".to_owned(),
                "-XX:+UseSerialGC".to_owned(),
                format!("-Duser.home={}", home.display()),
                "-cp".to_owned(),
                format!("{}:{}/*", path("classes"), path("lib")),
                "interop.Main".to_owned(),
            ],
            Library::Go => vec![path("client")],
            Library::Python => vec![path("venv/bin/python"), path("client.py")],
            Library::Node => vec!["node".to_owned(), path("client.js")],
        }
    }
}

impl Program {
    /// The words that start it.
    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    /// The same Java program with one more option of the virtual machine, such as a system property.
    pub fn with_java_option(&self, option: &str) -> Program {
        let mut words = self.words.clone();
        words.insert(1, option.to_owned());
        Program { words, ..self.clone() }
    }

    /// The same program in a process of its own that signs its requests with an account. Java's, Go's and Python's can.
    pub fn signing_as(&self, access_key: &str, secret: &str) -> Program {
        let set = [("ACCESS_KEY", access_key), ("SECRET_KEY", secret)];
        let set = set.map(|(name, value)| format!("INTEROP_{name}={value}"));
        let words = std::iter::once("env".to_owned()).chain(set).chain(self.words.iter().cloned());
        Program { words: words.collect(), served: false, ..self.clone() }
    }

    /// Runs to the end and returns standard output; panics unless it ends with 0 in time.
    pub fn run(&self, args: &[&str]) -> String {
        self.try_run(args).unwrap_or_else(|failed| panic!("{failed}"))
    }

    /// The same; Err holds all output.
    pub fn try_run(&self, args: &[&str]) -> Result<String, String> {
        if self.served {
            return java_server::of(self).run(args);
        }
        let mut running = Running::start(self, args);
        let ended = wait_until(RUN_WAIT_MAX, || !matches!(running.child.try_wait(), Ok(None)));
        if !ended {
            let _ = running.child.kill();
        }
        let status = running.child.wait().map_err(|error| error.to_string())?;
        let lines = running.all_lines();
        let text =
            format!("{}: {status}\n{}\n{}", args.join(" "), lines.join("\n"), running.errors());
        if status.success() && ended { Ok(lines.join("\n")) } else { Err(text) }
    }

    /// Runs a sending verb and returns what was sent.
    pub fn send(&self, verb: &str, args: &[&str]) -> Vec<Sent> {
        let output = self.run(&[&[verb], args].concat());
        output.lines().filter_map(Sent::from_line).collect()
    }

    /// Starts a consuming verb without limit and waits until it is ready. `expression` is what it subscribes to.
    /// Err says what it printed when it did not get ready.
    pub fn start_consumer(
        &self,
        verb: &str,
        namesrv_addr: &str,
        topic: &str,
        group: &str,
        expression: Option<&str>,
    ) -> Result<Running, String> {
        let mut args = vec![verb, namesrv_addr, topic, group, "0", CONSUME_SECONDS];
        args.extend(expression);
        let starting = self.served.then(starts::begin);
        let mut consumer = Running::start(self, &args);
        let ready = wait_until(READY_WAIT_MAX, || {
            consumer.all_lines().iter().any(|l| l == "READY")
                || !matches!(consumer.child.try_wait(), Ok(None))
        });
        drop(starting);
        let lines = consumer.all_lines();
        if ready && lines.iter().any(|l| l == "READY") {
            return Ok(consumer);
        }
        Err(format!("{verb} did not start:\n{}\n{}", lines.join("\n"), consumer.errors()))
    }
}

/// A program that runs, usually a consumer. Killed when dropped.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Output>,
    errors: PathBuf,
    reader: Option<std::thread::JoinHandle<()>>,
}

/// What a program has printed.
#[derive(Default)]
pub(super) struct Output {
    lines: Mutex<Vec<String>>,
    more: Condvar,
    /// Nothing more will come.
    over: AtomicBool,
}

impl Running {
    pub(super) fn start(program: &Program, args: &[&str]) -> Running {
        let errors = program.home.join(super::unique("stderr"));
        let (first, rest) = program.words.split_first().expect("a program has a name");
        let mut child = Command::new(first)
            .args(rest)
            .args(args)
            .current_dir(&program.home)
            .env("HOME", &program.home)
            .env_remove("NAMESRV_ADDR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).expect("the target directory is writable"))
            .spawn()
            .unwrap_or_else(|error| panic!("{first}: {error}"));
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("standard output was asked for");
        let output = Arc::new(Output::default());
        let into = Arc::clone(&output);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                into.lines.lock().expect("nothing panics under this lock").push(line);
                into.more.notify_all();
            }
            into.over.store(true, Ordering::Release);
            into.more.notify_all();
        });
        Running { child, stdin, output, errors, reader: Some(reader) }
    }

    /// Lines so far that begin like this.
    pub fn lines_with(&self, prefix: &str) -> Vec<String> {
        let lines = self.output.lines();
        lines.iter().filter(|line| line.starts_with(prefix)).cloned().collect()
    }

    /// What arrived so far.
    pub fn received(&self) -> Vec<Received> {
        self.output.lines().iter().filter_map(|line| Received::from_line(line)).collect()
    }

    /// Waits until this many different bodies arrived; false after `limit`.
    pub fn wait_received(&self, bodies: usize, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut lines = self.output.lines();
        loop {
            let seen: HashSet<String> =
                lines.iter().filter_map(|l| Received::from_line(l)).map(|r| r.body).collect();
            let left = until.saturating_duration_since(Instant::now());
            if seen.len() >= bodies || left.is_zero() {
                return seen.len() >= bodies;
            }
            lines = self.output.more.wait_timeout(lines, left).expect("nothing panics under it").0;
        }
    }

    /// Asks for a clean shutdown, waits for it, and returns all that arrived. Panics when the program fails.
    pub fn finish(self) -> Vec<Received> {
        self.finish_with_errors().0
    }

    /// The same, and what it wrote to standard error.
    pub(super) fn finish_with_errors(mut self) -> (Vec<Received>, String) {
        drop(self.stdin.take());
        let mut status = None;
        let ended = wait_until(FINISH_WAIT_MAX, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        let lines = if ended { self.all_lines() } else { self.output.lines().clone() };
        let clean =
            status.is_some_and(|s| s.success()) && lines.iter().any(|l| l.starts_with("DONE "));
        let errors = self.errors();
        assert!(clean, "no clean end: {status:?}\n{}\n{errors}", lines.join("\n"));
        (self.received(), errors)
    }

    /// Waits until a line behind the first `from` satisfies `wanted`, which sees each of them once; false after `limit`
    /// or when there will be none.
    pub(super) fn wait_line(
        output: &Output,
        mut from: usize,
        limit: Duration,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> bool {
        let until = Instant::now() + limit;
        let mut lines = output.lines();
        loop {
            if lines.get(from..).unwrap_or_default().iter().any(|line| wanted(line)) {
                return true;
            }
            from = lines.len();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || output.is_over() {
                return false;
            }
            lines = output.more.wait_timeout(lines, left).expect("nothing panics under it").0;
        }
    }

    /// What it prints, to be looked at by several threads.
    pub(super) fn output(&self) -> Arc<Output> {
        Arc::clone(&self.output)
    }

    /// Writes a line to its standard input; panics when the program has ended.
    pub(super) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open until the end is asked for");
        if let Err(error) = writeln!(stdin, "{line}") {
            panic!("{line}: {error}\n{}\n{}", self.all_lines().join("\n"), self.errors());
        }
    }

    /// Ends the program at once, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it wrote to standard error.
    pub fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// All lines so far; of an ended program, all.
    pub(super) fn all_lines(&mut self) -> Vec<String> {
        if !matches!(self.child.try_wait(), Ok(None))
            && let Some(reader) = self.reader.take()
        {
            let _ = reader.join();
        }
        self.output.lines().clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_file(&self.errors);
    }
}

impl Output {
    /// Lines so far.
    pub(super) fn line_count(&self) -> usize {
        self.lines().len()
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.lines.lock().expect("nothing panics under this lock")
    }
}

impl Sent {
    pub(super) fn from_line(line: &str) -> Option<Sent> {
        let mut words = line.strip_prefix("SENT ")?.splitn(4, ' ');
        Some(Sent {
            message_id: words.next()?.to_owned(),
            queue: words.next()?.parse().ok()?,
            offset: words.next()?.parse().ok()?,
            body: words.next()?.to_owned(),
        })
    }
}

impl Received {
    fn from_line(line: &str) -> Option<Received> {
        let mut words = line.strip_prefix("RECV ")?.splitn(3, ' ');
        Some(Received {
            queue: words.next()?.parse().ok()?,
            offset: words.next()?.parse().ok()?,
            body: words.next()?.to_owned(),
        })
    }
}

/// The nearest directory that cargo tagged as its own, above the running program.
pub(super) fn cache_dir() -> PathBuf {
    let exe = env::current_exe().expect("the system knows what runs");
    let tagged = exe.ancestors().skip(1).find(|dir| dir.join("CACHEDIR.TAG").is_file());
    let fallback = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    tagged.map(Path::to_owned).unwrap_or_else(fallback).join("clients")
}

/// All sources and pinned versions, as one text. Paths are part of it: moving the directory makes it anew.
fn stamp(sources: &Path) -> String {
    let mut files = Vec::new();
    files_below(sources, &mut files);
    files.sort();
    let text = |path: &PathBuf| {
        format!("== {}\n{}", path.display(), fs::read_to_string(path).unwrap_or_default())
    };
    files.iter().map(text).collect()
}

fn files_below(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files_below(&path, into) } else { into.push(path) }
    }
}

fn copy(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        fs::copy(from.join(name), to.join(name))
            .unwrap_or_else(|error| panic!("copy {name}: {error}"));
    }
}

/// Compiles a project whose `pom.xml` takes its place for outputs as a property, and copies the libraries that it needs.
fn maven(sources: &Path, out: &Path, version: &str) {
    make(Command::new("mvn").current_dir(sources).args([
        "-q",
        "-B",
        "compile",
        "dependency:copy-dependencies",
        version,
        &format!("-Dout={}", out.display()),
        &format!("-DoutputDirectory={}", out.join("lib").display()),
    ]));
}

fn make(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
