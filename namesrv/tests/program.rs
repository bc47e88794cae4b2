//! `mqnamesrv` as an operator runs it: options, settings with mistakes, the boot line, the end by signal.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Output, Stdio},
};

fn mqnamesrv(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqnamesrv"));
    command.args(args).env("HOME", dir).current_dir(dir).stdin(Stdio::null());
    command
}

fn with_settings(dir: &Path, settings: &str, more: &[&str]) -> Output {
    std::fs::write(dir.join("namesrv.conf"), settings).expect("a file");
    let args = [&["-c", "namesrv.conf"], more].concat();
    mqnamesrv(dir, &args).output().expect("runs")
}

/// `-p` shows all settings; a mistyped key is warned about; all bad values are listed at once and nothing starts.
#[test]
fn settings_are_checked_before_anything_starts() {
    let dir = tempfile::tempdir().expect("a directory");
    let good = with_settings(
        dir.path(),
        "listenPort=19876\nlistenprt=1\nserverWorkerThreads=8\n",
        &["-p"],
    );
    let (out, err) = (String::from_utf8_lossy(&good.stdout), String::from_utf8_lossy(&good.stderr));
    assert!(good.status.success());
    assert!(out.contains("listenPort=19876\n") && out.contains("serverWorkerThreads=8\n"), "{out}");
    assert!(err.contains("unknown key listenprt (did you mean listenPort?)"), "{err}");

    let bad = with_settings(dir.path(), "listenPort=99999\norderMessageEnable=maybe\n", &[]);
    let err = String::from_utf8_lossy(&bad.stderr);
    assert_eq!(bad.status.code(), Some(2));
    assert!(err.contains("listenPort=99999") && err.contains("orderMessageEnable=maybe"), "{err}");
}

/// The boot line appears on standard output; SIGTERM ends the program with 0.
#[test]
fn boots_and_ends() {
    let dir = tempfile::tempdir().expect("a directory");
    let conf = "listenPort=0\nbindAddress=127.0.0.1\n";
    std::fs::write(dir.path().join("namesrv.conf"), conf).expect("a file");
    let mut child = mqnamesrv(dir.path(), &["-c", "namesrv.conf", "-n", "ignored:9876"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert!(line.starts_with("The Name Server boot success. serializeType=JSON"), "{line}");
    let addr: SocketAddr =
        line.trim().rsplit(' ').next().and_then(|a| a.parse().ok()).expect(&line);
    let mut client = client::Connection::connect(addr).expect("connects");
    assert_eq!(client.topic_names().expect("an answer").len(), 0);
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(kill.expect("kill runs").success());
    assert_eq!(child.wait().expect("ends").code(), Some(0));
}

/// A port in use is refused with its number, although our own listeners could share it.
#[test]
fn a_port_in_use_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let settings = format!("listenPort={port}\nbindAddress=127.0.0.1\n");
    let refused = with_settings(dir.path(), &settings, &[]);
    let err = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(err.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{err}");
}
