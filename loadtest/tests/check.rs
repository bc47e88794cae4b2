//! Goal: `mqbroker --check` says what a start would say, with its exit code, all at once, and leaves no trace; `--keys` lists
//! what a configuration may hold.
//! Method: the binary over directories of every kind, compared before and after, and beside a broker that runs.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use client::Connection;
use loadtest::harness::our_broker::{self, OurBroker, command_in, standalone_in};

fn check(dir: &Path, keys: &[(&str, &str)]) -> (i32, String) {
    said(&standalone_in(dir, keys, &["--check"]).output().unwrap())
}

fn said(output: &Output) -> (i32, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let code = output.status.code().expect("it ends by itself");
    (code, String::from_utf8_lossy(&text).into_owned())
}

/// Every file below a directory with its content; directories with none.
fn everything(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(everything(&path));
            found.insert(path, Vec::new());
        } else {
            found.insert(path.clone(), fs::read(path).unwrap_or_default());
        }
    }
    found
}

#[test]
fn what_would_start_is_said_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let keys = [("brokrName", "a"), ("connectionsMax", "9")];
    let (code, text) = check(dir.path(), &keys);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("mqbroker: would start\n"), "{text}");
    assert!(text.contains("mqbroker: warning: line 6: brokrName is not a known key"), "{text}");
    assert!(!dir.path().join("data").exists());
}

#[test]
fn all_problems_are_said_with_the_code_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("data/config");
    fs::create_dir_all(&config).unwrap();
    fs::write(dir.path().join("data/checkpoint"), "Java's").unwrap();
    fs::write(config.join("topics.json"), "{\"topicConfigTable\":{\"a\"").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let keys = [("standaloneNamesrvPort", port.as_str()), ("bindAddress", "127.0.0.1")];
    let before = everything(&dir.path().join("data"));
    let (code, text) = check(dir.path(), &keys);
    assert_eq!(code, 6, "{text}");
    for said in [
        "a store of Apache RocketMQ's Java broker",
        &format!("cannot listen on 127.0.0.1:{port}: the port is in use"),
        "topics.json is damaged",
    ] {
        assert_eq!(text.matches(said).count(), 1, "{said}: {text}");
    }
    assert!(text.lines().all(|line| line.starts_with("mqbroker: ")), "{text}");
    assert!(!text.contains("would start"), "{text}");
    assert_eq!(everything(&dir.path().join("data")), before);
}

/// For each cause alone: a check says the sentence that a start ends with, and has its code.
#[test]
fn a_check_ends_as_a_start_does() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let file = dir.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let below = file.join("data").display().to_string();
    let cases: &[(&[(&str, &str)], i32)] = &[
        (&[("brokerRole", "SLAVE"), ("traceOn", "perhaps")], 2),
        (&[("logFilter", "broker=loud")], 2),
        (&[("standaloneNamesrvPort", &port)], 4),
        (&[("bindAddress", "192.0.2.77")], 4),
        (&[("storePathRootDir", &below)], 6),
    ];
    for (index, (keys, code)) in cases.iter().enumerate() {
        let dir = dir.path().join(index.to_string());
        fs::create_dir(&dir).unwrap();
        let checked = said(&standalone_in(&dir, keys, &["--check"]).output().unwrap());
        let started = said(&command_in(&dir, &[]).output().unwrap());
        let last = |text: &str| text.trim_end().rsplit("mqbroker: ").next().map(str::to_owned);
        assert_eq!((checked.0, started.0), (*code, *code), "{checked:?} {started:?}");
        let refusal = last(&started.1).unwrap();
        assert!(checked.1.contains(&refusal), "{checked:?} {started:?}");
    }
}

#[test]
fn limits_of_the_process_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let limited = |limit: &str, keys: &[(&str, &str)]| {
        let broker = standalone_in(dir.path(), keys, &["--check"]);
        let line: Vec<_> = std::iter::once(broker.get_program()).chain(broker.get_args()).collect();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit {limit} && exec \"$@\""), "sh"]).args(line);
        said(&shell.env_remove("RUST_LOG").current_dir(dir.path()).output().unwrap())
    };
    let (code, text) = limited("-l 256", &[]);
    assert!(code == 5 && text.contains("may be locked"), "{code} {text}");
    let (code, text) = limited("-n 60", &[]);
    assert!(code == 5 && text.contains("only 60 files may be open"), "{code} {text}");
    let (code, text) = limited("-n 300", &[("connectionsMax", "1000")]);
    assert!(code == 0 && text.contains("mqbroker: warning: fewer connections"), "{code} {text}");
    let (code, text) = limited("-n 1000", &[("memoryBudgetMiB", "16")]);
    assert!(code == 2 && text.contains("memoryBudgetMiB=16"), "{code} {text}");
}

/// Nobody takes a check that was interrupted for one that found nothing.
#[test]
fn an_interrupted_check_is_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    // Each port that is taken is waited for, a second at most.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let keys = [("brokrName", "a"), ("standaloneNamesrvPort", port.as_str())];
    let mut broker = standalone_in(dir.path(), &keys, &["--check"]);
    let mut child = broker.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    // Held until the end: a program whose errors nobody reads ends otherwise.
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    errors.read_line(&mut line).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{line}");
}

/// Beside a broker that runs: it is named, with its process, for the directory and each port, and is not disturbed.
#[test]
fn a_running_broker_is_named_and_left_alone() {
    let mut broker = OurBroker::standalone(&[("shards", "1")]);
    let holder = format!("process {}", broker.pid());
    let (code, text) = said(&command_in(broker.dir(), &["--check"]).output().unwrap());
    assert_eq!(code, 3, "{text}");
    assert!(text.contains(&format!("lock is held by {holder}")), "{text}");
    let of_port = format!("the port is in use: {holder}, a broker or name server of RingMQ,");
    assert_eq!(text.matches(&of_port).count(), 4, "{text}");
    let mut connection = Connection::connect(broker.broker_addr()).unwrap();
    connection.runtime_info().expect("the broker serves");
    assert_eq!(broker.stop().and_then(|status| status.code()), Some(0));

    // Its directory, of another number of shards and size of segments, and with its name server away.
    broker.configure("shards", "2");
    broker.configure("mappedFileSizeCommitLog", "67108864");
    broker.configure("namesrvAddr", "127.0.0.1:1");
    let data = broker.dir().join("data");
    let before = everything(&data);
    let (code, text) = said(&command_in(broker.dir(), &["--check"]).output().unwrap());
    assert_eq!(code, 0, "{text}");
    for warned in [
        "mqbroker: warning: shards is fixed when the store is formatted",
        "mqbroker: warning: mappedFileSizeCommitLog is fixed",
        "mqbroker: warning: name server does not answer",
    ] {
        assert!(text.contains(warned), "{warned}: {text}");
    }
    assert_eq!(everything(&data), before);
    fs::write(data.join("format.json"), "{}").unwrap();
    let (code, text) = said(&command_in(broker.dir(), &["--check"]).output().unwrap());
    assert!(code == 6 && text.contains("format.json: cannot be read"), "{code} {text}");
}

#[test]
fn keys_are_listed_for_people_and_for_programs() {
    let keys = |word: &str| {
        let output = Command::new(our_broker::binary()).arg(word).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = keys("--keys");
    assert!(text.contains("\nlistenPort=10911\n    a whole number from 3 to 65535"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let json: serde_json::Value = serde_json::from_str(&keys("--keys=json")).unwrap();
    let named = |name: &str| {
        let all = json["keys"].as_array().unwrap();
        all.iter().find(|key| key["name"] == name).unwrap_or_else(|| panic!("{name}")).clone()
    };
    assert_eq!(named("flushDiskType")["choices"][0], "SYNC_FLUSH");
    assert_eq!(named("fileReservedTime")["unit"], "h");
    assert_eq!(named("traceOn")["live"], true);
    assert!(json["withoutMeaning"].as_array().unwrap().len() > 10);
}
