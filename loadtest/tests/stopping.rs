//! Goal: every way in which a broker is asked to end, and a disk that does not answer meanwhile. Method: signals to real
//! processes; files of the data directory that are pipes nobody serves, which block who opens them as a hung disk does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use client::{Connection, Message, NewTopic, PullRequest};
use loadtest::{
    harness::{
        our_broker::{self, OurBroker},
        wait_until,
    },
    java_peer::free_ports,
};
use rustix::process::{Pid, Signal, kill_process};

/// What happens soon on a quiet machine; on a busy one it may take its time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Exit code of a stop that took longer than `shutdownSecondsMax`.
const EXIT_STOP_TIMEOUT: i32 = 75;

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, signal).unwrap();
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A broker that was started and may never serve.
struct Starting {
    child: Child,
    dir: tempfile::TempDir,
}

impl Starting {
    /// `prepare` gets the data directory; `wrapper` is put in front of the command.
    fn begin(wrapper: &[&str], prepare: impl FnOnce(&Path)) -> Starting {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir_all(data.join("config")).unwrap();
        prepare(&data);
        let first = free_ports(4);
        let conf = format!(
            "listenPort={}\nstandaloneNamesrvPort={}\nstorePathRootDir={}\nshards=1\nbrokerIP1=127.0.0.1\n\
             mappedFileSizeCommitLog=16777216\nmetricsPort=0\n",
            first + 2,
            first + 1,
            data.display()
        );
        let file = dir.path().join("broker.conf");
        fs::write(&file, conf).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let binary = our_broker::binary();
        let mut words: Vec<PathBuf> = wrapper.iter().map(PathBuf::from).collect();
        words.extend([binary, "--standalone".into(), "-c".into(), file]);
        let child = Command::new(&words[0])
            .args(&words[1..])
            .env_remove("NAMESRV_ADDR")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Starting { child, dir }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn await_line(&mut self, text: &str) {
        let said = wait_until(PATIENCE, || self.log().contains(text));
        assert!(said, "no {text:?} in:\n{}", self.log());
    }

    fn end(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = wait_until(PATIENCE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "it still runs:\n{}", self.log());
        status.unwrap()
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Those that end a broker. One that is started where hangups are ignored, below nohup, goes on ignoring them.
fn signals_that_end() -> Vec<Signal> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    let all = [Signal::TERM, Signal::INT, Signal::HUP];
    all.into_iter().filter(|signal| ignored & (1 << (signal.as_raw() - 1)) == 0).collect()
}

#[test]
fn a_normal_stop_warns_of_nothing_whichever_signal_asks_for_it() {
    for asked in signals_that_end() {
        let mut broker = OurBroker::standalone(&[("shards", "2")]);
        let mut connection =
            Connection::connect_patiently(broker.broker_addr(), Duration::from_secs(10)).unwrap();
        connection.create_topic(&NewTopic::new("ends", 2)).unwrap();
        connection.send(&Message::new("ends", 0, b"kept")).unwrap();
        let _ = connection
            .start_pull(&PullRequest::new("g", "ends", 1, 0).parked(Duration::from_secs(30)));
        signal(broker.pid(), asked);
        if asked == Signal::HUP {
            // A terminal that goes away may say so twice.
            signal(broker.pid(), asked);
        }
        let status = broker.wait_end(PATIENCE);
        let log = broker.log();
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{asked:?}: {log}");
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{asked:?}: {log}");
        broker.restart();
    }
}

#[test]
fn a_broker_that_ignores_hangups_outlives_its_terminal() {
    let wrapper = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"];
    let mut broker = Starting::begin(&wrapper, |_| {});
    broker.await_line("boot success");
    signal(broker.child.id(), Signal::HUP);
    std::thread::sleep(Duration::from_millis(500));
    assert!(broker.child.try_wait().unwrap().is_none(), "{}", broker.log());
    signal(broker.child.id(), Signal::TERM);
    assert_eq!(broker.end().code(), Some(0), "{}", broker.log());
}

#[test]
fn a_start_tells_how_far_it_is_and_ends_at_once_when_asked() {
    for asked in signals_that_end() {
        let mut broker =
            Starting::begin(&[], |data| make_pipe(&data.join("config").join("topics.json")));
        broker.await_line("recovering the logs: 0 MiB read");
        signal(broker.child.id(), asked);
        let status = broker.end();
        let log = broker.log();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("stopped before anything was served"), "{log}");
        assert!(!log.contains("boot success") && !log.contains("WARN"), "{log}");
    }
}

#[test]
fn a_stop_ends_although_the_disk_does_not_answer() {
    let mut broker = OurBroker::standalone(&[("shutdownSecondsMax", "3")]);
    let mut connection =
        Connection::connect_patiently(broker.broker_addr(), Duration::from_secs(10)).unwrap();
    connection.create_topic(&NewTopic::new("ends", 2)).unwrap();
    make_pipe(&broker.dir().join("data").join("config").join("topics.json.tmp"));
    let started = Instant::now();
    signal(broker.pid(), Signal::TERM);
    let status = broker.wait_end(PATIENCE);
    let (log, took) = (broker.log(), started.elapsed());
    assert_eq!(status.and_then(|status| status.code()), Some(EXIT_STOP_TIMEOUT), "{log}");
    assert!(took >= Duration::from_secs(3), "{took:?}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.starts_with("mqbroker: ") && last.contains("shutdownSecondsMax"), "{log}");
}

/// A start that waits for its configuration catches signals already, and has nothing to clean up.
#[test]
fn a_start_ends_orderly_from_its_first_moment_on() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("nobody-writes.conf");
    make_pipe(&pipe);
    for wanted in signals_that_end() {
        let mut command = Command::new(our_broker::binary());
        command.arg("-c").arg(&pipe).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let catches = || {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let mask = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            mask.is_some_and(|mask| mask & (1 << (wanted.as_raw() - 1)) != 0)
        };
        let caught = wait_until(Duration::from_secs(20), catches);
        signal(child.id(), wanted);
        let code = child.wait().unwrap().code();
        assert!(caught, "it does not catch {wanted:?}");
        assert_eq!(code, Some(0), "{wanted:?}");
    }
}
