//! Goal: who unpacks our archive where Java's was types what is written in Java's documents, and it works: name server, broker, the
//! quickstart's programs, mqadmin, the benchmark's programs, mqshutdown.
//! Method: the archive is built from the programs of this profile and unpacked; every line runs in a shell of its own, with a home
//! of its own and free ports, and is checked by its output and its exit code.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::Duration,
};

use loadtest::{
    harness::{Side, reaper, wait_until},
    java_peer::{free_ports, not_run},
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The archive of this test run, built once.
fn archive() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        let out = tempfile::tempdir().unwrap();
        let dist = repository().join("deploy/dist");
        let built = Command::new(dist)
            .args(["--bin-dir".as_ref(), programs().as_os_str(), "--out".as_ref()])
            .arg(out.path())
            .output()
            .unwrap();
        let path = succeeded(&built);
        // The directory outlives the tests: statics are not dropped.
        reaper::end_with_us(&[], &[out.path()]);
        let path = PathBuf::from(path.lines().last().expect("its last line is the archive"));
        (out, path)
    });
    path
}

fn repository() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
}

/// Where the programs of this profile are; those that nobody has built yet are built.
fn programs() -> PathBuf {
    let dir = Path::new(env!("CARGO_BIN_EXE_mqbench")).parent().unwrap().to_owned();
    if !["mqbroker", "mqnamesrv", "mqstore"].iter().all(|name| dir.join(name).exists()) {
        let profile = if dir.ends_with("debug") { "dev" } else { "release" };
        let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "build",
                "--quiet",
                "--workspace",
                "--bins",
                "--profile",
                profile,
                "--target-dir",
            ])
            .arg(dir.parent().unwrap())
            .current_dir(repository())
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "cargo build --workspace --bins failed"
        );
    }
    dir
}

fn succeeded(output: &Output) -> String {
    let (out, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{errors}", output.status);
    out.trim_end().to_owned()
}

/// An unpacked archive with a home of its own. What was started from it ends with it.
struct Installation {
    _dir: TempDir,
    root: PathBuf,
    home: PathBuf,
}

impl Installation {
    fn unpacked() -> Installation {
        let dir = tempfile::tempdir().unwrap();
        let unpacked =
            Command::new("tar").arg("-xzf").arg(archive()).arg("-C").arg(dir.path()).output();
        succeeded(&unpacked.unwrap());
        let entry = fs::read_dir(dir.path()).unwrap().next().expect("one directory").unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        Installation { root: entry.path(), home, _dir: dir }
    }

    /// A line of a shell, run in the installation.
    fn shell(&self, line: &str) -> Command {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", line])
            .current_dir(&self.root)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .stdin(Stdio::null());
        shell
    }

    /// Runs a line to its end; its exit code, and all that it printed.
    fn run(&self, line: &str) -> (i32, String) {
        let output = self.shell(line).output().unwrap();
        let text = [output.stdout.as_slice(), &output.stderr].concat();
        let code = output.status.code().expect("it ends by itself");
        (code, String::from_utf8_lossy(&text).into_owned())
    }

    /// Runs a line that must succeed.
    fn must(&self, line: &str) -> String {
        let (code, text) = self.run(line);
        assert_eq!(code, 0, "{line}\n{text}");
        text
    }

    /// Starts a program that stays, with its output in a file.
    fn start(&self, line: &str, name: &str) -> Started {
        let output = self.home.join(name);
        let file = File::create(&output).unwrap();
        let child = self
            .shell(&format!("exec {line}"))
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Started { line: line.to_owned(), child, output }
    }

    fn log(&self, name: &str) -> String {
        let path = self.home.join("logs/rocketmqlogs").join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let ends = "for p in producer consumer bproducer tproducer; do sh benchmark/shutdown.sh $p --here; done; \
                    sh bin/mqshutdown broker --here; sh bin/mqshutdown namesrv --here";
        let _ = self.shell(ends).output();
    }
}

/// A program that runs.
struct Started {
    line: String,
    child: Child,
    output: PathBuf,
}

impl Started {
    fn text(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    /// Waits until its output is as wanted; panics with it when it ends before.
    fn until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let mut ended = None;
        wait_until(PATIENCE, || {
            ended = self.child.try_wait().unwrap();
            ended.is_some() || wanted(&self.text())
        });
        let text = self.text();
        assert!(wanted(&text), "{} {ended:?}:\n{text}", self.line);
        text
    }

    /// Its exit code, once somebody else has ended it.
    fn code(&mut self) -> Option<i32> {
        assert!(
            wait_until(PATIENCE, || self.child.try_wait().unwrap().is_some()),
            "{}",
            self.text()
        );
        self.child.wait().unwrap().code()
    }

    fn terminate(&mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        self.code()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Of a test that failed: nothing is promised to anybody.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_archive_is_laid_out_as_javas_and_says_what_is_in_it() {
    let archive = archive();
    let name = archive.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("ringmq-") && name.contains("-linux-"), "{name}");
    let sum = Command::new("sha256sum")
        .args(["-c", &format!("{name}.sha256")])
        .current_dir(archive.parent().unwrap())
        .output();
    succeeded(&sum.unwrap());
    let at = Installation::unpacked();
    for file in [
        "bin/mqnamesrv",
        "bin/mqbroker",
        "bin/mqbroker.numanode3",
        "bin/mqshutdown",
        "bin/mqstore",
        "bin/tools.sh",
        "bin/runbroker.sh",
        "bin/runserver.sh",
        "bin/os.sh",
        "benchmark/producer.sh",
        "benchmark/runclass.sh",
        "conf/broker.conf",
        "conf/2m-2s-sync/broker-b-s.properties",
        "conf/dledger/broker-n2.conf",
        "conf/plain_acl.yml",
        "conf/tools.yml",
        "docs/configuration.md",
        "systemd/mqbroker.service",
        "LICENSE",
        "NOTICE",
        "README.md",
    ] {
        assert!(at.root.join(file).is_file(), "{file} is missing");
    }
    let libraries = fs::read_to_string(at.root.join("THIRD-PARTY")).unwrap();
    assert!(libraries.lines().any(|line| line.starts_with("io-uring v")), "{libraries}");
    assert!(!libraries.contains("loadtest"), "{libraries}");
}

#[test]
fn scripts_are_sound() {
    let deploy = repository().join("deploy");
    let mut scripts = vec![deploy.join("dist")];
    for dir in ["archive/bin", "archive/benchmark"] {
        let entries = fs::read_dir(deploy.join(dir)).unwrap();
        scripts.extend(entries.map(|entry| entry.unwrap().path()));
    }
    for script in &scripts {
        let shell = if script.ends_with("dist") { "bash" } else { "sh" };
        succeeded(&Command::new(shell).arg("-n").arg(script).output().unwrap());
    }
    match Command::new("shellcheck").arg("--external-sources").args(&scripts).output() {
        Ok(output) => drop(succeeded(&output)),
        Err(_) => not_run("scripts_are_sound: shellcheck is not installed"),
    }
}

/// Nothing has to listen for these: files are found, and what is not here is refused.
#[test]
fn launchers_find_their_files_and_say_what_is_not_there() {
    let at = Installation::unpacked();
    let bin = at.root.join("bin").display().to_string();
    // From anywhere: the file is below ROCKETMQ_HOME, which the launcher sets.
    let printed =
        at.must(&format!("cd / && sh {bin}/mqbroker -c conf/2m-noslave/broker-b.properties -m"));
    assert!(printed.contains("brokerName=broker-b\n"), "{printed}");
    let logs = format!("logDir={}\n", at.home.join("logs/rocketmqlogs").display());
    assert!(printed.contains(&logs), "{printed}");
    let printed = at.must("JAVA_OPT='-Xmx8g' RINGMQ_LOG_DIR= sh bin/runserver.sh org.apache.rocketmq.namesrv.NamesrvStartup -p");
    assert!(printed.contains("JAVA_OPT and JAVA_OPT_EXT are ignored"), "{printed}");
    assert!(printed.contains("\nlogDir=\n") && printed.contains("listenPort=9876"), "{printed}");
    // A Java installation that somebody has named has its configuration read and its programs left alone.
    let elsewhere = at.home.join("java");
    fs::create_dir_all(elsewhere.join("conf")).unwrap();
    fs::write(elsewhere.join("conf/old.conf"), "brokerName=from-java\n").unwrap();
    let printed = at.must(&format!(
        "ROCKETMQ_HOME={} sh bin/mqbroker -c conf/old.conf -m",
        elsewhere.display()
    ));
    assert!(printed.contains("brokerName=from-java"), "{printed}");

    for (line, code, says) in [
        ("sh bin/mqbroker -c conf/dledger/broker-n0.conf --check", 2, "enableDLegerCommitLog"),
        (
            "sh bin/mqbroker -c conf/2m-2s-sync/broker-a.properties --check",
            2,
            "brokerRole=SYNC_MASTER",
        ),
        ("sh bin/mqbroker start", 2, "only KEY=VALUE may stand beside the options"),
        (
            "sh bin/runbroker.sh org.apache.rocketmq.container.BrokerContainerStartup",
            1,
            "is not part of RingMQ",
        ),
        (
            "sh bin/tools.sh org.apache.rocketmq.example.simple.Producer",
            2,
            "is not here. These are:",
        ),
        ("sh bin/tools.sh org.apache.rocketmq.example.quickstart.Producer", 1, "set NAMESRV_ADDR"),
        ("sh bin/mqshutdown", 2, "usage: mqshutdown broker | namesrv"),
        ("sh bin/mqshutdown broker --there", 2, "usage: mqshutdown broker | namesrv"),
        ("MQSHUTDOWN_SECONDS=soon sh bin/mqshutdown broker --here", 2, "is no whole number"),
        ("sh bin/mqshutdown broker --here", 1, "No mqbroker running."),
        ("sh benchmark/shutdown.sh producer now", 2, "usage: shutdown.sh producer | consumer"),
        ("sh benchmark/shutdown.sh producer --here", 1, "No producer running."),
        (
            "sh benchmark/runclass.sh org.apache.rocketmq.example.benchmark.Producer -m true",
            1,
            "no message trace",
        ),
        ("sh bin/os.sh", 0, "kernel (5.8 or newer)"),
    ] {
        let (ended, text) = at.run(line);
        assert_eq!(ended, code, "{line}\n{text}");
        assert!(text.contains(says), "{line}\n{text}");
    }
    assert!(!at.home.join("ringmq-data").exists());

    // Why a program ended stands in its log, too: whoever started it in the background looks there.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let conf = format!("listenPort={port}\nbindAddress=127.0.0.1\n");
    fs::write(at.root.join("conf/namesrv.conf"), conf).unwrap();
    let (code, text) = at.run("sh bin/mqnamesrv -c conf/namesrv.conf");
    let why = format!("cannot listen on 127.0.0.1:{port}");
    assert!(code == 4 && text.contains(&why), "{code} {text}");
    let log = at.log("namesrv.log");
    assert!(log.contains(&format!(" ERROR main - {why}")), "{log}");
}

/// The way through Java's quickstart and its benchmark.
#[test]
fn everything_that_is_typed_works() {
    let at = Installation::unpacked();
    let port = free_ports(4);
    let (namesrv, listen) = (format!("127.0.0.1:{port}"), port + 3);
    fs::write(
        at.root.join("conf/namesrv.conf"),
        format!("listenPort={port}\nbindAddress=127.0.0.1\n"),
    )
    .unwrap();

    let mut name_server = at.start("sh bin/mqnamesrv -c conf/namesrv.conf", "namesrv.out");
    name_server.until(|text| text.contains("The Name Server boot success. serializeType=JSON"));
    // Of Java's sample, beside which a script has its own words.
    let broker = format!(
        "sh bin/mqbroker -n {namesrv} -c conf/2m-noslave/broker-a.properties listenPort={listen} brokerIP1=127.0.0.1 \
         bindAddress=127.0.0.1 shards=1 memoryBudgetMiB=512 autoCreateTopicEnable=true storePathRootDir={}",
        at.home.join("store").display()
    );
    let mut broker = at.start(&broker, "broker.out");
    let said = broker.until(|text| text.contains("The broker[broker-a, 127.0.0.1:"));
    assert!(said.contains(&format!("name server is {namesrv}")), "{said}");

    quickstart(&at, &namesrv);
    operators(&at, &namesrv, listen);
    benchmark(&at, &namesrv);

    let ended = at.must("sh bin/mqshutdown broker --here");
    let pid = broker.child.id();
    for line in ["is running... ", "has ended."] {
        assert!(ended.contains(&format!("The mqbroker({pid}) {line}")), "{ended}");
    }
    assert!(ended.contains(&format!("Send shutdown request to mqbroker({pid}) OK")), "{ended}");
    assert_eq!(broker.code(), Some(0), "{}", broker.text());
    assert_eq!(at.run("sh bin/mqshutdown broker --here").0, 1);
    at.must("sh bin/mqshutdown namesrv --here");
    assert_eq!(name_server.code(), Some(0), "{}", name_server.text());

    let log = at.log("broker.log");
    for line in [
        "The broker[broker-a, 127.0.0.1:",
        &format!("register broker[0]to name server {namesrv} OK"),
        "flushDiskType=ASYNC_FLUSH",
        "Shutdown hook was invoked, 1",
        "Shutdown hook over, consuming total time(ms): ",
    ] {
        assert!(log.contains(line), "{line} is not in the log:\n{log}");
    }
    let shaped = |line: &str| {
        let words: Vec<&str> = line.splitn(6, ' ').collect();
        words.len() == 6
            && words[0].len() == 10
            && words[1].len() == 8
            && ["INFO", "WARN", "ERROR"].contains(&words[2])
            && words[4] == "-"
    };
    let odd: Vec<&str> = log.lines().filter(|line| !shaped(line)).collect();
    assert!(odd.is_empty(), "lines unlike Java's: {odd:?}");
    let log = at.log("namesrv.log");
    assert!(
        log.contains("The Name Server boot success") && log.contains("shutdown hook done"),
        "{log}"
    );
}

fn quickstart(at: &Installation, namesrv: &str) {
    let class = "org.apache.rocketmq.example.quickstart";
    let sent = at.must(&format!("NAMESRV_ADDR={namesrv} sh bin/tools.sh {class}.Producer"));
    let stored = |line: &&str| {
        line.starts_with("SendResult [sendStatus=SEND_OK, msgId=")
            && line.contains(
                ", messageQueue=MessageQueue [topic=TopicTest, brokerName=broker-a, queueId=",
            )
    };
    assert_eq!(sent.lines().filter(stored).count(), 1_000, "{sent}");

    let line = format!("env NAMESRV_ADDR={namesrv} sh bin/tools.sh {class}.Consumer");
    let received = |text: &str| {
        text.matches(" Receive New Messages: [MessageExt [brokerName=broker-a, ").count()
    };
    let mut consumer = at.start(&line, "consumer.out");
    let text = consumer.until(|text| received(text) >= 1_000);
    assert!(text.starts_with("Consumer Started.\n"), "{text}");
    assert_eq!(consumer.terminate(), Some(0), "{}", consumer.text());
    // What was consumed is committed: the group gets nothing twice. A message more shows that it consumes.
    let mut again = at.start(&line, "again.out");
    again.until(|text| text.contains("Consumer Started."));
    at.must(&format!("NAMESRV_ADDR={namesrv} sh bin/tools.sh {class}.Producer --count 1"));
    let text = again.until(|text| received(text) >= 1);
    assert_eq!(received(&text), 1, "{text}");
    assert_eq!(again.terminate(), Some(0), "{}", again.text());
}

fn operators(at: &Installation, namesrv: &str, listen: u16) {
    if !at.root.join("lib/mqadmin").exists() {
        not_run(
            "everything_that_is_typed_works: updateTopic, updateSubGroup and updateBrokerConfig: mqadmin was not built",
        );
        return;
    }
    let broker = format!("127.0.0.1:{listen}");
    for (command, says) in [
        (
            format!("updateTopic -n {namesrv} -c DefaultCluster -t dropin"),
            format!("create topic to {broker} success."),
        ),
        (
            format!("updateSubGroup -n {namesrv} -c DefaultCluster -g dropin-group"),
            format!("create subscription group to {broker} success."),
        ),
        (
            format!("updateBrokerConfig -n {namesrv} -b {broker} -k flushDiskType -v SYNC_FLUSH"),
            format!("update broker config success, {broker}"),
        ),
    ] {
        let text = at.must(&format!("sh bin/mqadmin {command}"));
        assert!(text.contains(&says), "{command}\n{text}");
    }
    let topics = at.must(&format!("sh bin/mqadmin topicList -n {namesrv}"));
    assert!(topics.lines().any(|line| line.trim() == "dropin"), "{topics}");
    let config = at.must(&format!("sh bin/mqadmin getBrokerConfig -n {namesrv} -b {broker}"));
    assert!(
        config
            .lines()
            .any(|line| line.starts_with("flushDiskType") && line.ends_with("SYNC_FLUSH")),
        "{config}"
    );
}

/// All four at once, in the background as Java's scripts start them.
fn benchmark(at: &Installation, namesrv: &str) {
    let programs = [
        ("producer.sh", "producer", "-w 2 -s 100 -k true -l 3", " Send TPS: "),
        ("consumer.sh", "consumer", "-g dropin_benchmark", " TPS: "),
        ("batchproducer.sh", "bproducer", "-w 1 -b 4 -p 10", " Send MPS: "),
        (
            "tproducer.sh",
            "tproducer",
            "-t BenchmarkHalf -w 1 -sr 0.1 -su 0.1 -cr 0.5",
            " Send TPS: ",
        ),
    ];
    let output = |script: &str| at.home.join(format!("{script}.out"));
    for (script, _, options, _) in programs {
        let to = output(script).display().to_string();
        at.must(&format!(
            "NAMESRV_ADDR={namesrv} sh benchmark/{script} {options} -ri 1000 >{to} 2>&1"
        ));
    }
    for (script, _, _, field) in programs {
        let text = || fs::read_to_string(output(script)).unwrap();
        let rate = |line: &str| -> Option<u64> {
            line.split_once(field)?.1.split_once(' ')?.0.parse().ok()
        };
        let counts = |line: &str| {
            line.starts_with("Current Time: ") && rate(line).is_some_and(|rate| rate > 0)
        };
        assert!(wait_until(PATIENCE, || text().lines().any(counts)), "{script}:\n{}", text());
    }
    for (script, name, ..) in programs {
        let ended = at.must(&format!("sh benchmark/shutdown.sh {name} --here"));
        assert!(ended.contains(") has ended."), "{ended}");
        let text = fs::read_to_string(output(script)).unwrap();
        assert!(!text.contains("mqbench:"), "{script}:\n{text}");
    }
    let line = format!(
        "sh benchmark/runclass.sh -Dx=y org.apache.rocketmq.example.benchmark.Producer -n {namesrv} -w 3 -q 500"
    );
    for options in ["", " -y true"] {
        let text = at.must(&format!("{line}{options}"));
        assert!(text.starts_with("topic: BenchmarkTest threadCount: "), "{text}");
        let complete = text.lines().last().unwrap_or_default();
        assert!(complete.starts_with("[Complete] Send Total: 500 Send TPS: "), "{text}");
        assert!(complete.ends_with("Send Failed: 0 Response Failed: 0"), "{text}");
    }
}

/// The programs of the archive are no friends of our broker alone.
#[test]
fn javas_broker_serves_our_programs() {
    let Some(peer) = Side::Java4.peer("javas_broker_serves_our_programs") else { return };
    let at = Installation::unpacked();
    let namesrv = &peer.namesrv_addr;
    let class = "org.apache.rocketmq.example";
    let sent =
        at.must(&format!("sh bin/tools.sh {class}.quickstart.Producer -n {namesrv} --count 50"));
    assert_eq!(sent.matches("SendResult [sendStatus=SEND_OK, ").count(), 50, "{sent}");
    let mut consumer = at.start(
        &format!("sh bin/tools.sh {class}.quickstart.Consumer -n {namesrv}"),
        "consumer.out",
    );
    consumer.until(|text| text.matches(" Receive New Messages: [").count() >= 50);
    assert_eq!(consumer.terminate(), Some(0), "{}", consumer.text());
    for options in ["", " -y true -k true"] {
        let line =
            format!("sh benchmark/runclass.sh {class}.benchmark.Producer -n {namesrv} -w 2 -q 200");
        let text = at.must(&format!("{line}{options}"));
        assert!(text.contains("[Complete] Send Total: 200 Send TPS: "), "{text}");
        assert!(text.contains("Send Failed: 0 Response Failed: 0"), "{text}");
    }
    let line = format!(
        "sh bin/tools.sh {class}.benchmark.TransactionProducer -n {namesrv} -w 1 -su 0.5 -ri 1000"
    );
    let mut transactions = at.start(&line, "transactions.out");
    let checked =
        |text: &str| text.contains(" Send TPS: ") && !text.contains("check: 0 unexpected");
    transactions
        .until(|text| text.lines().any(|line| line.starts_with("Current Time") && checked(line)));
    // How often it checks what was decided is up to that broker.
    assert!(transactions.text().contains(" Send Failed: 0 "), "{}", transactions.text());
}

/// As Java's, `mqshutdown` ends all programs of its user. Whoever runs tests has others, too: so in a PID namespace, which those
/// are no part of.
#[test]
fn all_of_a_user_are_ended_and_named() {
    let separate = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let there = Command::new("unshare").args(separate).arg("true").output();
    if !there.is_ok_and(|output| output.status.success()) {
        not_run("all_of_a_user_are_ended_and_named: unshare makes no PID namespace here");
        return;
    }
    let (here, other) = (Installation::unpacked(), Installation::unpacked());
    let port = free_ports(2);
    for (at, port) in [(&here, port), (&other, port + 1)] {
        let conf = format!(
            "listenPort={port}\nbindAddress=127.0.0.1\nkvConfigPath={0}/kv\nlogDir={0}\n",
            at.home.display()
        );
        fs::write(at.root.join("conf/namesrv.conf"), conf).unwrap();
    }
    let script = r#"
set -e
for root in "$1" "$2"; do sh "$root/bin/mqnamesrv" -c "$root/conf/namesrv.conf" >"$root/out" 2>&1 & done
for root in "$1" "$2"; do
  tries=0
  until grep -q 'boot success' "$root/out"; do
    tries=$((tries + 1))
    [ $tries -lt 1200 ] || { cat "$root/out"; exit 9; }
    sleep 0.1
  done
done
sh "$1/bin/mqshutdown" broker && exit 8
sh "$1/bin/mqshutdown" namesrv
for pid in $(ls /proc | grep '^[0-9]*$'); do
  case $(readlink "/proc/$pid/exe") in */mqnamesrv) exit 7 ;; esac
done
"#;
    let output = Command::new("unshare")
        .args(separate)
        .args(["sh", "-c", script, "all"])
        .args([&here.root, &other.root])
        .output()
        .unwrap();
    let said = succeeded(&output);
    assert!(said.contains("No mqbroker running."), "{said}");
    for at in [&here, &other] {
        let line = format!("is running... {}/lib/mqnamesrv -c ", at.root.display());
        assert!(said.contains(&line), "{said}");
    }
    assert_eq!(said.matches(" has ended.").count(), 2, "{said}");
}
