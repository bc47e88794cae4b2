//! Goal: what a start promises holds. Ports open when the broker serves, on the addresses that it advertises; a service
//! manager and the panel are told what is so; each cause that keeps it from starting has one sentence and one code.
//! Method: brokers as processes, probed over TCP, over both families, and over a datagram socket; starts that must fail.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::unix::{net::UnixDatagram, process::ExitStatusExt},
    path::Path,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use client::{Connection, Message, NewTopic};
use loadtest::harness::{
    our_broker::{self, OurBroker, standalone_in},
    wait_until,
};

const TOPIC: &str = "start";
/// What happens soon on a quiet machine; on a busy one it may take its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a probe met at one port before somebody served it.
#[derive(Debug, Default)]
struct Probed {
    refused: u64,
    /// Accepted, and then not answered.
    dropped: u64,
}

/// Connects without a pause until a request is answered or `given_up`.
fn probe(addr: SocketAddr, given_up: &AtomicBool) -> Probed {
    let mut probed = Probed::default();
    while !given_up.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(addr) else {
            probed.refused += 1;
            std::thread::yield_now();
            continue;
        };
        // GET_ROUTEINFO_BY_TOPIC (105): served by name servers, refused with an answer by brokers.
        let header = br#"{"code":105,"opaque":1,"flag":0,"extFields":{"topic":"x"}}"#;
        let mut frame = Vec::new();
        frame.extend((4 + header.len() as u32).to_be_bytes());
        frame.extend((header.len() as u32).to_be_bytes());
        frame.extend(header);
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let asked = stream.write_all(&frame).and_then(|()| stream.read(&mut [0; 64]));
        if asked.is_ok_and(|read| read > 0) {
            return probed;
        }
        probed.dropped += 1;
    }
    probed
}

/// Who is let in is served: a port is closed until the logs are read, and never closes again.
#[test]
fn ports_open_once_when_the_broker_serves() {
    let mut broker = OurBroker::standalone(&[("shards", "2")]);
    let mut connection = Connection::connect(broker.broker_addr()).unwrap();
    connection.create_topic(&NewTopic::new(TOPIC, 4)).unwrap();
    let body = vec![7; 1 << 20];
    for number in 0..64 {
        connection.send(&Message::new(TOPIC, number % 4, &body)).unwrap();
    }
    broker.kill9();
    // The kernel takes rings apart after the process has gone, and lets its listeners accept until then.
    let gone = || TcpStream::connect(broker.broker_addr()).is_err();
    assert!(wait_until(PATIENCE, gone), "the killed broker still listens");
    let client = broker.broker_addr();
    let vip = SocketAddr::new(client.ip(), client.port() - 2);
    let name_server: SocketAddr = broker.namesrv_addr().parse().unwrap();
    let given_up = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let probes = [client, vip, name_server].map(|addr| {
            let given_up = &given_up;
            scope.spawn(move || probe(addr, given_up))
        });
        broker.restart();
        let answered = wait_until(PATIENCE, || probes.iter().all(|probe| probe.is_finished()));
        given_up.store(true, Ordering::Relaxed);
        assert!(answered, "{}", broker.log_tail());
        for probe in probes {
            let probed = probe.join().unwrap();
            assert!(probed.refused > 0 && probed.dropped == 0, "{probed:?}");
        }
    });
}

/// Sends to `addr`, asks the name server there for the route, and reads the message by its id.
fn advertised(addr: SocketAddr, name_server: SocketAddr) -> (String, String) {
    let mut connection = Connection::connect(addr).unwrap();
    connection.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    let sent = connection.send(&Message::new(TOPIC, 0, b"over either family")).unwrap();
    let found = connection.view_message(&sent.message_id).unwrap();
    assert_eq!(found.message_id(), sent.message_id);
    let mut name_server = Connection::connect(name_server).unwrap();
    let route = name_server.route(TOPIC, true).unwrap();
    let broker = &route["brokerDatas"][0]["brokerAddrs"]["0"];
    (broker.as_str().unwrap().to_owned(), found.store_host.to_string())
}

#[test]
fn both_families_are_served_and_a_name_is_advertised_as_it_is() {
    let v6 = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let cases: &[(&str, &str, &str)] = if v6 {
        &[
            ("::1", "[::1]", "[::1]"),
            ("[::1]", "[::1]", "[::1]"),
            ("localhost", "localhost", "127.0.0.1"),
        ]
    } else {
        println!("this machine has no IPv6: names only");
        &[("localhost", "localhost", "127.0.0.1")]
    };
    for (configured, told, stored) in cases {
        let broker = OurBroker::standalone(&[("brokerIP1", configured), ("shards", "1")]);
        let port = broker.broker_addr().port();
        let name_server: SocketAddr = broker.namesrv_addr().parse().unwrap();
        for ip in [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()] {
            let ip: std::net::IpAddr = ip;
            if ip.is_ipv6() && !v6 {
                continue;
            }
            let here = SocketAddr::new(ip, port);
            let found = advertised(here, SocketAddr::new(ip, name_server.port()));
            assert_eq!(found, (format!("{told}:{port}"), format!("{stored}:{port}")));
            TcpStream::connect((ip, port - 2)).expect("the VIP port");
        }
    }
}

#[test]
fn one_bound_address_serves_its_own_name_server_too() {
    let broker = OurBroker::standalone(&[
        ("bindAddress", "127.0.0.2"),
        ("brokerIP1", "127.0.0.2"),
        ("shards", "1"),
    ]);
    let here = |port| SocketAddr::from(([127, 0, 0, 2], port));
    let name_server: SocketAddr = broker.namesrv_addr().parse().unwrap();
    let port = broker.broker_addr().port();
    advertised(here(port), here(name_server.port()));
    for port in [port, port - 2, name_server.port()] {
        let elsewhere = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
        assert_eq!(elsewhere.kind(), ErrorKind::ConnectionRefused);
    }
    assert!(broker.log().contains("name server is 127.0.0.2:"), "{}", broker.log());
}

/// A name server that is away is told on the panel and in the health, and not in the boot line.
#[test]
fn a_name_server_that_is_away_is_told() {
    let broker = OurBroker::registered_with("127.0.0.1:1", &[("shards", "1")]);
    let log = broker.log();
    assert!(log.contains("name server: 127.0.0.1:1: DOES NOT ANSWER"), "{log}");
    assert!(log.contains("boot success") && !log.contains("name server is"), "{log}");
    let mut connection = Connection::connect(broker.broker_addr()).unwrap();
    let info = connection.runtime_info().unwrap();
    let health = info.into_iter().find(|(key, _)| key == "ringmq.health").unwrap().1;
    assert!(health.starts_with("name-server-away 127.0.0.1:1 (cannot connect"), "{health}");
}

#[test]
fn a_service_manager_is_told_when_it_serves_and_when_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut bytes = [0; 512];
        let read = manager.recv(&mut bytes).expect("a notification");
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    };
    let mut broker = standalone_in(dir.path(), &[], &[])
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ready = told();
    assert!(ready.starts_with("READY=1\nSTATUS=The broker["), "{ready}");
    let conf = std::fs::read_to_string(dir.path().join("broker.conf")).unwrap();
    let port = conf.lines().find_map(|line| line.strip_prefix("listenPort=")).unwrap();
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().unwrap()));
    Connection::connect(addr).unwrap().runtime_info().expect("ready means served");
    let pid = rustix::process::Pid::from_child(&broker);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let stopping = told();
    assert!(stopping.starts_with("STOPPING=1"), "{stopping}");
    assert_eq!(broker.wait().unwrap().code(), Some(0));
}

/// `-m` and `-p` tell what a start would tell, beside what they print.
#[test]
fn printing_a_configuration_shows_its_warnings() {
    let dir = tempfile::tempdir().unwrap();
    for option in ["-m", "-p"] {
        let keys = [("brokrName", "a"), ("slaveReadEnable", "true"), ("abortFile", "/a")];
        let output = standalone_in(dir.path(), &keys, &[option]).output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("mqbroker: warning: line 6: brokrName is not a known key"), "{text}");
        assert!(text.contains("mqbroker: warning: slaveReadEnable has no effect here"), "{text}");
        assert!(text.contains("mqbroker: note: abortFile has no effect here"), "{text}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("bindAddress=\n"));
    }
}

/// Lines of statistics count what happened: few messages are no zero, and lines add up.
#[test]
fn statistics_are_counts() {
    let broker = OurBroker::standalone(&[("shards", "1"), ("statsIntervalSeconds", "1")]);
    let mut connection = Connection::connect(broker.broker_addr()).unwrap();
    connection.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    for _ in 0..3 {
        connection.send(&Message::new(TOPIC, 0, b"counted")).unwrap();
        std::thread::sleep(Duration::from_millis(700));
    }
    let counted = || {
        let log = broker.log();
        let counts = log.split("put_messages=").skip(1);
        counts.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).sum::<u64>()
    };
    assert!(wait_until(PATIENCE, || counted() == 3), "{}", broker.log());
}

/// A broker that may open few files accepts as many connections as fit, says so once, and serves those it has and those
/// that come when others have gone.
#[test]
fn few_open_files_mean_few_connections_and_nothing_worse() {
    let dir = tempfile::tempdir().unwrap();
    let broker = standalone_in(dir.path(), &[("connectionsMax", "1000")], &[]);
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let line: Vec<_> = std::iter::once(broker.get_program()).chain(broker.get_args()).collect();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -Sn 64 && ulimit -Hn 180 && exec \"$@\"", "sh"]).args(line);
    limited.env_remove("RUST_LOG").current_dir(dir.path()).stdin(Stdio::null());
    let mut child = limited.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(wait_until(PATIENCE, || log().contains("boot success")), "{}", log());
    assert_eq!(log().matches("fewer connections than connectionsMax").count(), 1, "{}", log());
    let conf = std::fs::read_to_string(dir.path().join("broker.conf")).unwrap();
    let port = conf.lines().find_map(|line| line.strip_prefix("listenPort=")).unwrap();
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().unwrap()));
    let mut first = Connection::connect(addr).unwrap();
    first.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    let crowd: Vec<TcpStream> = (0..400).filter_map(|_| TcpStream::connect(addr).ok()).collect();
    assert!(wait_until(PATIENCE, || log().contains("a connection is refused")), "{}", log());
    first.send(&Message::new(TOPIC, 0, b"still served")).unwrap();
    drop(crowd);
    let serves = || Connection::connect(addr).is_ok_and(|mut c| c.runtime_info().is_ok());
    assert!(wait_until(PATIENCE, serves), "{}", log());
    assert!(log().matches("a connection is refused").count() <= 12, "{}", log());
    assert!(!log().contains("Too many open files"), "{}", log());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", log());
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// The one sentence stands once and last, names what to change, and belongs to one code.
fn fails(mut command: Command, code: i32, sentence: &str, remedy: &str) {
    let output = command.output().unwrap();
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(code), "{sentence}: {text}");
    assert_eq!(text.matches(sentence).count(), 1, "{sentence}: {text}");
    let last = text.trim_end().rsplit("mqbroker: ").next().unwrap();
    assert!(last.contains(sentence) && last.contains(remedy), "{sentence}, {remedy}: {text}");
}

#[test]
fn each_cause_has_one_sentence_and_one_code() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = |name: &str| {
        let dir = dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        dir
    };
    let start = |name: &str, keys: &[(&str, &str)]| standalone_in(&fresh(name), keys, &[]);
    fails(start("slave", &[("brokerRole", "SLAVE")]), 2, "brokerRole=SLAVE", "ASYNC_MASTER");
    let ledger = [("enableDLegerCommitLog", "true")];
    fails(start("ledger", &ledger), 2, "enableDLegerCommitLog=true", "to be left out");
    let both = [("bindAddress", "127.0.0.1"), ("brokerIP1", "::1")];
    fails(start("family", &both), 2, "brokerIP1=::1", "leave bindAddress out");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let keys = [("listenPort", port.as_str())];
    fails(start("port", &keys), 4, &format!("cannot listen on 0.0.0.0:{port}"), "listenPort");
    let keys = [("standaloneNamesrvPort", port.as_str())];
    fails(start("server", &keys), 4, "the port is in use", "standaloneNamesrvPort");
    let keys = [("bindAddress", "192.0.2.77")];
    fails(start("address", &keys), 4, "cannot listen on 192.0.2.77", "bindAddress");

    let mut little = Command::new("sh");
    let broker = standalone_in(&fresh("memlock"), &[], &[]);
    let line: Vec<_> = std::iter::once(broker.get_program()).chain(broker.get_args()).collect();
    little.args(["-c", "ulimit -l 256 && exec \"$@\"", "sh"]).args(line);
    fails(little, 5, "may be locked", "LimitMEMLOCK=");

    let mut few = Command::new("sh");
    let broker = standalone_in(&fresh("files"), &[], &[]);
    let line: Vec<_> = std::iter::once(broker.get_program()).chain(broker.get_args()).collect();
    few.args(["-c", "ulimit -n 60 && exec \"$@\"", "sh"]).args(line);
    fails(few, 5, "only 60 files may be open", "LimitNOFILE=");

    let damaged = fresh("damaged");
    let config = damaged.join("data/config");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("topics.json"), "{\"topicConfigTable\":{\"a\"").unwrap();
    fails(standalone_in(&damaged, &[], &[]), 6, "topics.json is damaged", "from a copy");
    let file = fresh("file");
    std::fs::write(file.join("data"), "not a directory").unwrap();
    fails(standalone_in(&file, &[], &[]), 6, "data", "storePathRootDir");
}

/// As with `mqbroker -p | head`: nothing is said, and nothing failed. The loader is a tool, and ends by SIGPIPE as such.
#[test]
fn a_reader_that_wants_no_more_is_no_failure() {
    let unread = |program: &Path, word: &str| {
        let mut command = Command::new(program);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.arg(word).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked"), "{word}: {said}");
        (output.status.code(), output.status.signal())
    };
    let broker = our_broker::binary();
    assert_eq!(unread(&broker, "--help"), (Some(0), None));
    assert_eq!(unread(&broker, "-p"), (Some(0), None));
    assert_eq!(unread(Path::new(env!("CARGO_BIN_EXE_mqbench")), "--help"), (None, Some(13)));
}

/// An unknown key may well be why a value is wrong: it is told although nothing starts.
#[test]
fn warnings_are_told_beside_problems() {
    let dir = tempfile::tempdir().unwrap();
    let keys = [("flushDiskTyp", "ASYNC_FLUSH"), ("maxMessageSize", "-1")];
    let output = standalone_in(dir.path(), &keys, &[]).output().unwrap();
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("maxMessageSize=-1"), "{text}");
    assert!(text.contains("mqbroker: warning: ") && text.contains("flushDiskType?"), "{text}");
}
