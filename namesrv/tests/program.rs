//! `mqnamesrv` as an operator runs it: options, settings with mistakes, the boot line, the end by signal at any moment,
//! few open files, output that nobody reads.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

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

/// Starts the program, and waits for its boot line, which ends with its address.
fn booted(dir: &Path, arguments: &[&str]) -> (Child, String, SocketAddr) {
    let mut child = mqnamesrv(dir, arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let addr = line.trim().rsplit(' ').next().and_then(|a| a.parse().ok()).expect(&line);
    (child, line, addr)
}

/// A port that takes nothing but TLS, and settings that are refused.
#[test]
fn tls_is_served_or_refused_as_its_settings_say() {
    let dir = tempfile::tempdir().expect("a directory");
    let conf = "listenPort=0\nbindAddress=127.0.0.1\ntls.server.mode=enforcing\n";
    std::fs::write(dir.path().join("namesrv.conf"), conf).expect("a file");
    let (mut child, _, addr) = booted(dir.path(), &["-c", "namesrv.conf"]);
    let enable = ("tls.enable".to_owned(), "true".to_owned());
    let tls = tls::Tls::open(tls::Source::new([enable], "")).expect("nothing is needed for it");
    let config = tls.client().expect("it is asked for");
    let mut secured = client::Connection::connect_tls(addr, config).expect("connects");
    assert_eq!(secured.topic_names().expect("an answer").len(), 0);
    let mut plain = client::Connection::connect(addr).expect("connects");
    plain.topic_names().expect_err("it is not served");
    child.kill().expect("it runs");
    child.wait().expect("ends");

    let refused = "tls.server.certPath=/no/such.pem\ntls.server.keyPath=/no/such.key\n";
    for arguments in [&["--check"][..], &[]] {
        let bad = with_settings(dir.path(), &format!("listenPort=0\n{refused}"), arguments);
        let err = String::from_utf8_lossy(&bad.stderr);
        assert_eq!(bad.status.code(), Some(2), "{err}");
        for file in ["tls.server.certPath=/no/such.pem", "tls.server.keyPath=/no/such.key"] {
            assert!(err.contains(&format!("{file} can not be read")), "{err}");
        }
    }
    let bad = with_settings(dir.path(), "tls.server.keyPassword=s3cret\n", &["-p"]);
    let err = String::from_utf8_lossy(&bad.stderr);
    assert!(!bad.status.success() && err.contains("in the file of tls.config.file"), "{err}");
    assert!(!err.contains("s3cret"), "{err}");
}

/// What a path of the port for operators answers: status and body.
fn get(addr: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

#[test]
fn shows_metrics_and_whether_it_serves() {
    let dir = tempfile::tempdir().expect("a directory");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    params.not_after = rcgen::date_time_ymd(2035, 1, 1);
    let cert = params.self_signed(&key).expect("a certificate");
    fs::write(dir.path().join("own.pem"), cert.pem()).expect("a file");
    fs::write(dir.path().join("own.key"), key.serialize_pem()).expect("a file");
    let conf = format!(
        "listenPort=0\nbindAddress=127.0.0.1\nmetricsPort={}\n\
         tls.server.certPath=own.pem\ntls.server.keyPath=own.key\n",
        free.port()
    );
    fs::write(dir.path().join("namesrv.conf"), conf).expect("a file");
    let (mut child, _, addr) = booted(dir.path(), &["-c", "namesrv.conf"]);
    let mut client = client::Connection::connect(addr).expect("connects");
    assert_eq!(client.topic_names().expect("an answer").len(), 0);
    let (status, body) = get(free, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    for sample in [
        "ringmq_namesrv_requests_total{code=\"206\",answer=\"0\"} 1\n",
        "ringmq_namesrv_brokers 0\n",
        "ringmq_tls_certificate_expiry_seconds{certificate=\"tls.server.certPath\"} 2051222400\n",
        "process_open_fds ",
    ] {
        assert!(body.contains(sample), "{sample} in {body}");
    }
    let ready = get(free, "/ready");
    assert_eq!(ready.0, "HTTP/1.1 200 OK");
    assert!(ready.1.contains("\"status\":\"serving\""), "{}", ready.1);
    assert_eq!(get(free, "/health").0, "HTTP/1.1 200 OK");
    assert_eq!(get(free, "/").0, "HTTP/1.1 404 Not Found");
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(kill.expect("kill runs").success());
    assert_eq!(child.wait().expect("ends").code(), Some(0));
}

/// The boot line appears on standard output; SIGTERM ends the program with 0.
#[test]
fn boots_and_ends() {
    let dir = tempfile::tempdir().expect("a directory");
    let conf = "listenPort=0\nbindAddress=127.0.0.1\n";
    std::fs::write(dir.path().join("namesrv.conf"), conf).expect("a file");
    let (mut child, line, addr) = booted(dir.path(), &["-c", "namesrv.conf", "-n", "ignored:9876"]);
    assert!(line.starts_with("The Name Server boot success. serializeType=JSON"), "{line}");
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

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
}

fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if condition() {
            return true;
        }
        sleep(Duration::from_millis(5));
    }
    false
}

/// Whether the process has a handler for SIGTERM.
fn catches_term(child: &Child) -> bool {
    let text = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let mask = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << 14) != 0)
}

#[test]
fn a_start_that_waits_for_its_configuration_ends_orderly() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("nobody-writes.properties");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut child =
        Command::new(env!("CARGO_BIN_EXE_mqnamesrv")).arg("-c").arg(&pipe).spawn().unwrap();
    let caught = wait_until(|| catches_term(&child));
    signal(&child, "TERM");
    let code = child.wait().unwrap().code();
    assert!(caught, "it does not catch SIGTERM");
    assert_eq!(code, Some(0));
}

/// Starts on a free port of this machine alone, with files below `dir`, in a shell that has set limits.
fn limited(limits: &str, dir: &Path) -> Command {
    let file = dir.join("namesrv.properties");
    let kv = dir.join("kv.json");
    let keys = "listenPort=0\nbindAddress=127.0.0.1\nkvConfigPath=";
    fs::write(&file, format!("{keys}{}\n", kv.display())).unwrap();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            &format!("{limits} && exec \"$@\""),
            "sh",
            env!("CARGO_BIN_EXE_mqnamesrv"),
            "-c",
        ])
        .arg(file);
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn too_few_open_files_are_said_to_be_too_few() {
    let dir = tempfile::tempdir().unwrap();
    let output = limited("ulimit -n 40", dir.path()).output().unwrap();
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(text.contains("only 40 files may be open, this program needs at least 112"), "{text}");
    assert!(text.contains("LimitNOFILE="), "{text}");
}

#[test]
fn few_open_files_mean_few_connections_out_of_the_hard_limit() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let out = fs::File::create(&log).unwrap();
    let mut command = limited("ulimit -Sn 30 && ulimit -Hn 200", dir.path());
    let mut child = command.stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
    let said = || fs::read_to_string(&log).unwrap();
    let serves = wait_until(|| said().contains("boot success"));
    signal(&child, "TERM");
    let code = child.wait().unwrap().code();
    assert!(serves, "{}", said());
    assert_eq!(code, Some(0), "{}", said());
    assert!(said().contains("accepted_max=104"), "{}", said());
}

#[test]
fn a_reader_that_wants_no_more_is_no_failure() {
    for word in ["--help", "-p"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqnamesrv"));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.arg(word).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{word}");
        assert_eq!(text_of(&output), "", "{word}");
    }
}

/// `--check` says what a start would, with its code, and makes nothing; `--keys` lists what a file may hold.
#[test]
fn a_check_says_what_a_start_would() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = |output: &Output| {
        let text = [output.stdout.as_slice(), &output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let fine = "listenPort=0\nbindAddress=127.0.0.1\nlistenprt=1\n";
    let (code, text) = said(&with_settings(dir.path(), fine, &["--check"]));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("mqnamesrv: would start\n") && text.contains("listenprt"), "{text}");
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1, "the settings alone");

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    fs::create_dir(dir.path().join("namesrv")).expect("a directory");
    fs::write(dir.path().join("namesrv/kvConfig.json"), "{\"configTable").expect("a file");
    let settings = format!("listenPort={port}\nbindAddress=127.0.0.1\n");
    let (code, text) = said(&with_settings(dir.path(), &settings, &["--check"]));
    assert_eq!(code, Some(4), "{text}");
    assert!(
        text.contains("the port is in use") && text.contains("kvConfig.json is damaged"),
        "{text}"
    );

    let keys = mqnamesrv(dir.path(), &["--keys"]).output().expect("runs");
    let keys = String::from_utf8_lossy(&keys.stdout).into_owned();
    assert!(keys.contains("kvConfigPath=$HOME/namesrv/kvConfig.json"), "{keys}");
    let json = mqnamesrv(dir.path(), &["--keys=json"]).output().expect("runs");
    assert!(json.stdout.starts_with(b"{\n  \"program\": \"mqnamesrv\""), "{json:?}");
}
