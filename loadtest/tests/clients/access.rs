//! Access control with other people's clients and tools: signed as their libraries sign, allowed and refused. Each story has a broker
//! of its own, with accounts of 4.9 or users of 5.x.

use client::{Connection, NewTopic};
use libtest_mimic::Trial;
use loadtest::harness::{
    mqadmin::Mqadmin,
    our_broker::OurBroker,
    program::{Library, Program},
    unique, wait_until,
};
use std::{fs, time::Duration};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
/// How long a consumer may take to get its first messages.
const ARRIVE_WAIT_MAX: Duration = Duration::from_secs(120);
const MESSAGES: &str = "10";

const OPERATOR: (&str, &str) = ("operator", "operators-secret");
const WRITER: (&str, &str) = ("the-writer", "writers-secret");
const READER: (&str, &str) = ("the-reader", "readers-secret");
const TOPIC: &str = "orders";
const GROUP: &str = "readers";

const ACCOUNTS: &str = "accounts:
- {accessKey: operator, secretKey: operators-secret, admin: true}
- {accessKey: the-writer, secretKey: writers-secret, topicPerms: [orders=PUB]}
- {accessKey: the-reader, secretKey: readers-secret, topicPerms: [orders=SUB], groupPerms: [readers=SUB]}
";

/// Each library against both generations' rules; the tools of each release against those of their own.
pub(crate) fn trials() -> Vec<Trial> {
    let libraries = [
        (Library::Java("4.9.8"), "java_4"),
        (Library::Java("5.3.3"), "java_5"),
        (Library::Go, "go"),
        (Library::Python, "python"),
    ];
    let mut trials = Vec::new();
    for (library, name) in libraries {
        for (rules, start) in [("accounts", accounts as fn() -> Guarded), ("users", users)] {
            trials.push(crate::trial(format!("{name}::access_by_{rules}"), move |test| {
                if let Some(program) = library.program(test) {
                    allowed_and_refused(&program, &start());
                }
            }));
        }
    }
    type Start = fn() -> Guarded;
    type Play = fn(&mut Mqadmin, &Guarded);
    let tools: [(&str, &str, Start, Play); 2] = [
        ("mqadmin_4::accounts_are_changed", "4.9.8", accounts, accounts_are_changed),
        ("mqadmin_5::users_are_changed", "5.3.3", users, users_are_changed),
    ];
    for (name, version, start, play) in tools {
        trials.push(crate::trial(name.to_owned(), move |test| {
            if let Some(program) = Library::Java(version).program(test) {
                let guarded = start();
                let home = tempfile::tempdir().expect("a directory");
                let (key, secret) = OPERATOR;
                let mut mqadmin = Mqadmin::signing_as(&program, home.path(), key, secret);
                play(&mut mqadmin, &guarded);
            }
        }));
    }
    trials
}

/// A broker with rules.
struct Guarded {
    broker: OurBroker,
    _home: TempDir,
}

impl Guarded {
    fn of(keys: &[(&str, &str)]) -> Guarded {
        let home = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(home.path().join("conf")).expect("ours");
        fs::write(home.path().join("conf/plain_acl.yml"), ACCOUNTS).expect("ours");
        let directory = home.path().display().to_string();
        let own = [("shards", "2"), ("rocketmqHome", directory.as_str())];
        let broker = OurBroker::standalone(&[&own, keys].concat());
        let guarded = Guarded { broker, _home: home };
        let mut operator = guarded.connect(OPERATOR);
        operator.create_topic(&NewTopic::new(TOPIC, 4)).expect("an operator may");
        operator.create_group(GROUP).expect("an operator may");
        let namesrv = guarded.broker.namesrv_addr().parse().expect("a literal");
        let routed = wait_until(PATIENCE, || {
            Connection::connect(namesrv).is_ok_and(|mut it| it.route(TOPIC, true).is_ok())
        });
        assert!(routed, "{}", guarded.broker.log_tail());
        guarded
    }

    fn connect(&self, (key, secret): (&str, &str)) -> Connection {
        let connected = Connection::connect_patiently(self.broker.broker_addr(), PATIENCE);
        let mut connection = connected.expect("the broker listens");
        connection.sign_as(key, secret);
        connection
    }
}

fn accounts() -> Guarded {
    Guarded::of(&[("aclEnable", "true")])
}

fn users() -> Guarded {
    Guarded::of(&[
        ("authenticationEnabled", "true"),
        ("authorizationEnabled", "true"),
        ("migrateAuthFromV1Enabled", "true"),
    ])
}

/// A producer and a consumer do what they may; neither does what the other may, nobody does anything with a wrong secret or none.
fn allowed_and_refused(program: &Program, guarded: &Guarded) {
    let namesrv = guarded.broker.namesrv_addr();
    let sends = |program: &Program| {
        program.try_run(&["produce", &namesrv, TOPIC, &unique("producers"), MESSAGES])
    };
    let signed = |(key, secret): (&str, &str)| program.signing_as(key, secret);
    let reader = signed(READER);
    let consumer = reader.start_consumer("consume", &namesrv, TOPIC, GROUP, None);
    let consumer = consumer.unwrap_or_else(|why| panic!("{why}\n{}", guarded.broker.log_tail()));
    sends(&signed(WRITER)).unwrap_or_else(|why| panic!("{why}\n{}", guarded.broker.log_tail()));
    let count = MESSAGES.parse().expect("a number");
    assert!(consumer.wait_received(count, ARRIVE_WAIT_MAX), "{}", guarded.broker.log_tail());
    for (who, account) in [("a reader", READER), ("a forger", ("the-writer", "a-wrong-secret"))] {
        let sent = sends(&signed(account));
        assert!(sent.is_err(), "{who} has sent: {sent:?}");
    }
    // In a process of its own: without an account.
    let unsigned = program.signing_as("", "");
    let sent = sends(&unsigned);
    assert!(sent.is_err(), "who does not sign has sent: {sent:?}");
    assert_eq!(consumer.finish().len(), count, "nothing else came");
    let mut operator = guarded.connect(OPERATOR);
    let stored: i64 =
        (0..4).map(|queue| operator.max_offset(TOPIC, queue).expect("an operator may")).sum();
    assert_eq!(usize::try_from(stored).ok(), Some(count), "nothing else was stored");
}

fn run(mqadmin: &mut Mqadmin, words: &[&str]) -> String {
    let output = mqadmin.run(words);
    assert!(!output.contains("Exception"), "{words:?}:\n{output}");
    output
}

/// `updateAclConfig`, `clusterAclConfigVersion`, `updateGlobalWhiteAddr`, `deleteAccessConfig` of 4.9.8.
fn accounts_are_changed(mqadmin: &mut Mqadmin, guarded: &Guarded) {
    let namesrv = guarded.broker.namesrv_addr();
    let broker = guarded.broker.broker_addr().to_string();
    let on_broker = ["-n", namesrv.as_str(), "-b", broker.as_str()];
    let new = ["-a", "newcomer", "-s", "newcomers-secret", "-t", "orders=PUB", "-m", "false"];
    run(mqadmin, &[&["updateAclConfig"], &on_broker[..], &new].concat());
    let sent = |guarded: &Guarded| {
        let mut newcomer = guarded.connect(("newcomer", "newcomers-secret"));
        newcomer.send(&client::Message::new(TOPIC, 0, b"body")).map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(sent(guarded), Ok(()));
    let output = run(mqadmin, &["clusterAclConfigVersion", "-n", &namesrv, "-c", "DefaultCluster"]);
    assert!(output.contains("plain_acl.yml") && output.contains("broker-a"), "{output}");
    let white = ["-g", "10.0.0.1"];
    run(mqadmin, &[&["updateGlobalWhiteAddr"], &on_broker[..], &white].concat());
    run(mqadmin, &[&["deleteAclConfig"], &on_broker[..], &["-a", "newcomer"]].concat());
    let refused = sent(guarded).expect_err("it is deleted");
    assert!(refused.contains("No acl config for newcomer"), "{refused}");
}

/// `createUser`, `listUser`, `createAcl`, `listAcl`, `updateUser`, `deleteAcl`, `deleteUser` of 5.3.3.
fn users_are_changed(mqadmin: &mut Mqadmin, guarded: &Guarded) {
    let namesrv = guarded.broker.namesrv_addr();
    let broker = guarded.broker.broker_addr().to_string();
    let on_broker = ["-n", namesrv.as_str(), "-b", broker.as_str()];
    let mut of =
        |command: &str, more: &[&str]| run(mqadmin, &[&[command], &on_broker[..], more].concat());
    let sent = |guarded: &Guarded| {
        let mut newcomer = guarded.connect(("newcomer", "newcomers-secret"));
        newcomer.send(&client::Message::new(TOPIC, 0, b"body")).map(drop).map_err(|e| e.to_string())
    };
    of("createUser", &["-u", "newcomer", "-p", "newcomers-secret", "-t", "Normal"]);
    assert!(of("listUser", &["-f", "newcomer"]).contains("newcomer"));
    assert!(sent(guarded).is_err());
    let policy = ["-s", "User:newcomer", "-r", "Topic:orders", "-a", "Pub", "-d", "Allow"];
    of("createAcl", &policy);
    assert_eq!(sent(guarded), Ok(()));
    let output = of("listAcl", &["-s", "newcomer"]);
    assert!(output.contains("Topic:orders") && output.contains("Pub"), "{output}");
    of("deleteAcl", &["-s", "User:newcomer", "-r", "Topic:orders"]);
    assert!(sent(guarded).is_err());
    of("deleteUser", &["-u", "newcomer"]);
    let refused = sent(guarded).expect_err("it is deleted");
    assert!(refused.contains("User:newcomer is not found."), "{refused}");
}
