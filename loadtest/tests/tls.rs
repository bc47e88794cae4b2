//! Goal: TLS is what its settings say, on every port, while files change and peers misbehave.
//! Method: our broker with our own client, which speaks plain or in TLS, with certificates of two authorities.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use client::{ClientError, Connection, Message, NewTopic, PullRequest};
use loadtest::{
    harness::{
        certificates::{Authority, PairOfFiles},
        ledger::runtime_info,
        our_broker::{OurBroker, standalone_in},
        wait_until,
    },
    load::process,
};
use proto::code::request;
use tls::{Source, Tls};

const TOPIC: &str = "secret";
const PATIENCE: Duration = Duration::from_secs(60);
/// A year that is far enough, and one that is over.
const LATER: i32 = 2100;
const BEFORE: i32 = 2020;

/// How a client connects.
#[derive(Clone, Copy, Default)]
struct Client<'a> {
    /// What it shows.
    shows: Option<&'a PairOfFiles>,
    /// Whom it believes; none: everybody.
    believes: Option<&'a Authority>,
}

impl Client<'_> {
    fn connect(&self, addr: SocketAddr) -> Result<Connection, ClientError> {
        let mut settings = vec![("tls.enable", "true")];
        if let Some(pair) = self.shows {
            settings
                .extend([("tls.client.certPath", pair.cert()), ("tls.client.keyPath", pair.key())]);
        }
        if let Some(authority) = self.believes {
            settings.extend([
                ("tls.client.authServer", "true"),
                ("tls.client.trustCertPath", authority.file()),
            ]);
        }
        let owned = settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let tls = Tls::open(Source::new(owned, "")).unwrap();
        Connection::connect_tls(addr, tls.client().unwrap())
    }

    /// Whether it is served. In TLS 1.3 a refused certificate shows with the first answer only.
    fn is_served(&self, addr: SocketAddr) -> bool {
        self.connect(addr).is_ok_and(asks)
    }
}

fn asks(mut connection: Connection) -> bool {
    connection.call(request::GET_BROKER_RUNTIME_INFO, &[], &[]).is_ok()
        || connection.call(request::GET_NAMESRV_CONFIG, &[], &[]).is_ok()
}

fn plain_is_served(addr: SocketAddr) -> bool {
    Connection::connect(addr).is_ok_and(asks)
}

/// All ports of a standalone broker.
fn ports(broker: &OurBroker) -> [SocketAddr; 3] {
    let addr = broker.broker_addr();
    let vip = SocketAddr::new(addr.ip(), addr.port() - 2);
    [addr, vip, broker.namesrv_addr().parse().unwrap()]
}

fn keys<'a>(pair: &'a PairOfFiles, besides: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let own =
        [("shards", "1"), ("tls.server.certPath", pair.cert()), ("tls.server.keyPath", pair.key())];
    [&own, besides].concat()
}

#[test]
fn each_mode_takes_what_it_says_on_every_port() {
    for (mode, plain, in_tls) in
        [("disabled", true, false), ("permissive", true, true), ("enforcing", false, true)]
    {
        let broker = OurBroker::standalone(&[("shards", "1"), ("tls.server.mode", mode)]);
        for addr in ports(&broker) {
            assert_eq!(plain_is_served(addr), plain, "{mode}: plain at {addr}");
            assert_eq!(Client::default().is_served(addr), in_tls, "{mode}: TLS at {addr}");
        }
        let log = broker.log();
        let told = format!("TLS: {mode}");
        assert!(log.contains(&told), "{log}");
        if mode == "enforcing" {
            assert!(log.contains("THROW-AWAY TEST CERTIFICATE"), "{log}");
            assert!(log.contains("name servers are asked over TLS"), "{log}");
            assert!(log.contains("and tls.server.mode is enforcing"), "{log}");
        }
    }
}

#[test]
fn without_a_word_both_kinds_are_served() {
    let broker = OurBroker::standalone(&[("shards", "1")]);
    assert!(plain_is_served(broker.broker_addr()));
    assert!(Client::default().is_served(broker.broker_addr()));
    // The broker itself asks its name server in the clear.
    let mut connection = Connection::connect(broker.broker_addr()).unwrap();
    let config = connection.call(request::GET_BROKER_CONFIG, &[], &[]).unwrap();
    let config = String::from_utf8(config.body).unwrap();
    for line in ["useTLS=false", "tls.enable=false", "tls.server.mode=permissive"] {
        assert!(config.lines().any(|found| found == line), "{line} in {config}");
    }
    assert_eq!(runtime_info(&mut connection, "ringmq.tls"), "permissive");
}

#[test]
fn clients_are_let_in_by_their_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "other"));
    let server = ours.pair("server", LATER);
    let good = ours.pair("good", LATER);
    let expired = ours.pair("expired", BEFORE);
    let foreign = other.pair("foreign", LATER);
    let shows = |pair| Client { shows: Some(pair), ..Client::default() };
    let nobody = Client::default();
    for (needed, checked, let_in) in [
        // Nobody, a good one, an expired one, one of another authority.
        ("none", "false", [true, true, true, true]),
        ("optional", "false", [true, true, true, true]),
        ("optional", "true", [true, true, false, false]),
        ("require", "false", [false, true, true, true]),
        ("require", "true", [false, true, false, false]),
    ] {
        let mut asked =
            vec![("tls.server.need.client.auth", needed), ("tls.server.authClient", checked)];
        if checked == "true" {
            asked.push(("tls.server.trustCertPath", ours.file()));
        }
        // The broker shows itself to its own name server.
        asked.extend([("tls.client.certPath", good.cert()), ("tls.client.keyPath", good.key())]);
        asked.extend([("tls.server.mode", "enforcing"), ("tls.client.authServer", "true")]);
        asked.push(("tls.client.trustCertPath", ours.file()));
        let broker = OurBroker::standalone(&keys(&server, &asked));
        for addr in ports(&broker) {
            let served =
                [nobody, shows(&good), shows(&expired), shows(&foreign)].map(|c| c.is_served(addr));
            assert_eq!(served, let_in, "{needed}, checked {checked}, at {addr}");
        }
        assert!(broker.log().contains("and name server is"), "registered: {}", broker.log_tail());
    }
}

#[test]
fn clients_that_check_the_server_are_not_fooled() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "other"));
    let server = ours.pair("server", LATER);
    let broker = OurBroker::standalone(&keys(&server, &[]));
    let believes = |authority| Client { believes: Some(authority), ..Client::default() };
    assert!(believes(&ours).is_served(broker.broker_addr()));
    assert!(!believes(&other).is_served(broker.broker_addr()));
    let expired = ours.pair("server", BEFORE);
    let broker = OurBroker::standalone(&keys(&expired, &[]));
    assert!(!believes(&ours).is_served(broker.broker_addr()));
    assert!(Client::default().is_served(broker.broker_addr()));
    assert!(broker.log().contains("HAS EXPIRED"), "{}", broker.log_tail());
    let mut connection = Connection::connect(broker.broker_addr()).unwrap();
    assert_eq!(runtime_info(&mut connection, "ringmq.tlsExpires"), "1577836800000");
}

#[test]
fn a_broker_registers_over_tls_or_says_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "other"));
    let server = ours.pair("server", LATER);
    let own = ours.pair("own", LATER);
    let mutual = [
        ("tls.server.mode", "enforcing"),
        ("tls.enable", "true"),
        ("tls.server.need.client.auth", "require"),
        ("tls.server.authClient", "true"),
        ("tls.server.trustCertPath", ours.file()),
        ("tls.client.certPath", own.cert()),
        ("tls.client.keyPath", own.key()),
    ];
    let first = OurBroker::standalone(&keys(&server, &mutual));
    let asks = |besides: &[(&str, &str)]| {
        let keys = [&[("shards", "1"), ("brokerName", "second"), ("tls.enable", "true")], besides]
            .concat();
        OurBroker::registered_with(&first.namesrv_addr(), &keys)
    };
    let shown = [("tls.client.certPath", own.cert()), ("tls.client.keyPath", own.key())];
    let good = asks(
        &[
            &shown[..],
            &[("tls.client.authServer", "true"), ("tls.client.trustCertPath", ours.file())],
        ]
        .concat(),
    );
    assert!(good.log().contains("and name server is"), "{}", good.log_tail());
    let fooled = asks(
        &[
            &shown[..],
            &[("tls.client.authServer", "true"), ("tls.client.trustCertPath", other.file())],
        ]
        .concat(),
    );
    assert!(fooled.log().contains("UnknownIssuer"), "{}", fooled.log_tail());
    let nobody = asks(&[]);
    assert!(nobody.log().contains("DOES NOT ANSWER"), "{}", nobody.log_tail());
    assert!(
        wait_until(PATIENCE, || nobody.log().contains("CertificateRequired")),
        "{}",
        nobody.log_tail()
    );
}

#[test]
fn large_answers_and_many_bytes_go_through() {
    const BODY: usize = 1 << 20;
    const COUNT: u8 = 40;
    let broker = OurBroker::standalone(&[("shards", "2"), ("tls.server.mode", "enforcing")]);
    let mut connection = Client::default().connect(broker.broker_addr()).unwrap();
    connection.set_timeout(PATIENCE);
    connection.create_topic(&NewTopic::new(TOPIC, 2)).unwrap();
    connection.create_group("readers").unwrap();
    let body =
        |number: u8| (0..BODY).map(|at| number.wrapping_add((at % 253) as u8)).collect::<Vec<u8>>();
    let sent: Vec<_> = (0..COUNT)
        .map(|number| {
            let body = body(number);
            connection.start_send(&Message::new(TOPIC, i32::from(number % 2), &body)).unwrap()
        })
        .collect();
    for ticket in sent {
        connection.finish_send(ticket).unwrap();
    }
    for queue in 0..2_u8 {
        let mut offset = 0;
        while offset < i64::from(COUNT / 2) {
            let pull = PullRequest::new("readers", TOPIC, queue.into(), offset);
            let pulled = connection.pull(&pull).unwrap();
            assert!(!pulled.messages.is_empty());
            for message in pulled.messages {
                let number = queue + 2 * u8::try_from(message.queue_offset).unwrap();
                assert!(message.body == body(number), "message {number}");
                offset = message.queue_offset + 1;
            }
        }
    }
}

/// Replaces the files of one pair by those of another, the certificate first.
fn replace(pair: &PairOfFiles, by: &PairOfFiles, between: impl FnOnce()) {
    fs::copy(&by.cert, &pair.cert).unwrap();
    between();
    fs::copy(&by.key, &pair.key).unwrap();
}

#[test]
fn certificates_change_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(dir.path(), "old"), Authority::new(dir.path(), "new"));
    let (server, next) = (old.pair("server", LATER), new.pair("next", LATER));
    let broker = OurBroker::standalone(&keys(&server, &[]));
    let addr = broker.broker_addr();
    let believes_old = Client { believes: Some(&old), ..Client::default() };
    let believes_new = Client { believes: Some(&new), ..Client::default() };
    let mut live = believes_old.connect(addr).unwrap();
    live.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    let mut send = || live.send(&Message::new(TOPIC, 0, b"under load")).unwrap();
    send();
    replace(&server, &next, || {
        let said = || {
            broker
                .log()
                .contains("certificates have changed, but what is there now can not be used")
        };
        assert!(
            wait_until(PATIENCE, || {
                send();
                said()
            }),
            "{}",
            broker.log_tail()
        );
        assert!(believes_old.is_served(addr), "the old pair goes on");
    });
    assert!(
        wait_until(PATIENCE, || {
            send();
            believes_new.is_served(addr)
        }),
        "{}",
        broker.log_tail()
    );
    assert!(!believes_old.is_served(addr));
    fs::write(&server.key, "no key").unwrap();
    assert!(wait_until(PATIENCE, || broker.log().contains("holds no private key in PEM")));
    assert!(believes_new.is_served(addr), "the last good pair goes on");
    send();
}

#[test]
fn peers_that_misbehave_are_ended_and_disturb_nobody() {
    let broker = OurBroker::standalone(&[("shards", "1")]);
    let addr = broker.broker_addr();
    let mut live = Client::default().connect(addr).unwrap();
    live.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    // Handshakes that begin and stand still: the header of a record and a part of what it promises.
    let half: Vec<TcpStream> = (0..1_000)
        .map(|_| {
            let mut peer = TcpStream::connect(addr).unwrap();
            peer.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3]).unwrap();
            peer
        })
        .collect();
    let mut garbage = TcpStream::connect(addr).unwrap();
    garbage.write_all(&[0x16; 100]).unwrap();
    let mut answer = Vec::new();
    let _ = garbage.read_to_end(&mut answer);
    let started = Instant::now();
    for _ in 0..50 {
        live.send(&Message::new(TOPIC, 0, b"beside them")).unwrap();
    }
    assert!(Client::default().is_served(addr), "new ones are served beside those that stand still");
    println!("50 sends and a handshake beside 1,000 half ones: {:?}", started.elapsed());
    // A hello that comes byte by byte ends, too.
    let mut slow = TcpStream::connect(addr).unwrap();
    let began = Instant::now();
    let dribble = thread::spawn(move || {
        let hello = [0x16, 3, 1, 2, 0].into_iter().chain(std::iter::repeat(1));
        for byte in hello {
            if slow.write_all(&[byte]).is_err() || began.elapsed() > PATIENCE {
                return began.elapsed();
            }
            thread::sleep(Duration::from_millis(100));
        }
        began.elapsed()
    });
    for mut peer in half {
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let read = peer.read(&mut [0; 100]);
        assert!(
            matches!(read, Ok(0 | 7))
                || read.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
        );
    }
    assert!(dribble.join().unwrap() < PATIENCE);
    live.send(&Message::new(TOPIC, 0, b"after them")).unwrap();
    assert!(broker.log().contains("its TLS handshake stands still"), "{}", broker.log_tail());
}

#[test]
fn idle_connections_hold_little() {
    const CONNECTIONS: usize = 1_500;
    /// What one may hold of the broker's memory, beside the kernel's.
    const BYTES_EACH_MAX: u64 = 32 * 1024;
    let broker = OurBroker::standalone(&[("shards", "1")]);
    let addr = broker.broker_addr();
    let resident = || process::memory(broker.pid()).unwrap().resident_bytes;
    let tls = Tls::open(Source::new([("tls.enable".to_owned(), "true".to_owned())], "")).unwrap();
    let config = tls.client().unwrap();
    let connect = || {
        let mut connection = Connection::connect_tls(addr, config.clone()).unwrap();
        connection.call(request::GET_BROKER_RUNTIME_INFO, &[], &[]).unwrap();
        connection
    };
    let _first: Vec<Connection> = (0..50).map(|_| connect()).collect();
    let before = resident();
    let all: Vec<Connection> = (0..CONNECTIONS).map(|_| connect()).collect();
    let each = resident().saturating_sub(before) / CONNECTIONS as u64;
    println!("an idle connection in TLS holds {each} bytes");
    assert!(each < BYTES_EACH_MAX, "{each}");
    assert_eq!(all.len(), CONNECTIONS);
}

fn check(dir: &Path, keys: &[(&str, &str)]) -> (i32, String) {
    let output = standalone_in(dir, keys, &["--check"]).output().unwrap();
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn what_cannot_be_used_starts_nothing_and_is_said_before() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(dir.path(), "ours");
    let (a, b) = (ours.pair("a", LATER), ours.pair("b", LATER));
    let mixed = PairOfFiles { cert: a.cert.clone(), key: b.key.clone() };
    for (asked, why) in [
        (keys(&mixed, &[]), "is not the key of the (first) certificate"),
        (keys(&a, &[("tls.server.mode", "on")]), "expected one of disabled, permissive, enforcing"),
        (keys(&a, &[("tls.server.authClient", "true")]), "without tls.server.trustCertPath"),
        (vec![("tls.test.mode.enable", "false")], "without tls.server.certPath"),
        (vec![("tls.server.certPath", "/no/such.pem")], "without tls.server.keyPath"),
        (vec![("tls.server.keyPassword", "s3cret")], "into the file of tls.config.file"),
        (vec![("tls.config.file", "/no/such.properties")], "can not be read"),
    ] {
        let (code, text) = check(dir.path(), &asked);
        assert!(code != 0 && text.contains(why), "{asked:?}: {code} {text}");
        assert!(!text.contains("s3cret"), "{text}");
        let started = standalone_in(dir.path(), &asked, &[]).output().unwrap();
        assert!(!started.status.success(), "{asked:?}");
        assert!(!dir.path().join("data").exists(), "nothing was made");
    }
    let (code, text) = check(dir.path(), &keys(&a, &[]));
    assert_eq!(code, 0, "{text}");
}
