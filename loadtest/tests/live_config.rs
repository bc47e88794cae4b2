//! Goal: an operator changes a broker while it runs: every key that is live acts at once and survives a kill, a change is
//! taken as a whole or refused with every reason, and what goes before the configuration file is told. Method: real brokers
//! under load, asked as mqadmin asks; the keys come from `mqbroker --keys=json`, so that none is forgotten.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use client::{Answer, ClientError, Connection, Message, NewTopic, PullRequest};
use loadtest::harness::{
    ledger::Ledger,
    our_broker::{self, OurBroker, command_in, standalone_in},
    read_all, wait_until,
};
use proto::code::{request, response};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "orders";
const QUEUES: i32 = 4;

fn start(keys: &[(&str, &str)]) -> (OurBroker, Connection) {
    let broker = OurBroker::standalone(&[&[("shards", "2")], keys].concat());
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    (broker, connection)
}

fn connect(broker: &OurBroker) -> Connection {
    Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap()
}

/// UPDATE_BROKER_CONFIG: code and remark.
fn update(connection: &mut Connection, body: impl AsRef<[u8]>) -> (i32, String) {
    let answer = connection.call(request::UPDATE_BROKER_CONFIG, &[], body.as_ref()).unwrap();
    (answer.code, answer.remark.unwrap_or_default())
}

fn set(connection: &mut Connection, line: &str) {
    assert_eq!(update(connection, line), (0, String::new()), "{line}");
}

fn config_answer(connection: &mut Connection) -> Answer {
    connection.call(request::GET_BROKER_CONFIG, &[], &[]).unwrap().success().unwrap()
}

/// GET_BROKER_CONFIG.
fn config(connection: &mut Connection) -> BTreeMap<String, String> {
    let body = String::from_utf8(config_answer(connection).body).unwrap();
    let entries = body.lines().map(|line| line.split_once('=').unwrap());
    entries.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The version that its answer has: how often the configuration was changed.
fn version(connection: &mut Connection) -> i64 {
    let answer = config_answer(connection);
    let version: Value = serde_json::from_str(answer.ext("version").unwrap()).unwrap();
    version["counter"].as_i64().unwrap()
}

fn overrides_file(broker: &OurBroker) -> PathBuf {
    broker.dir().join("data/config/overrides.properties")
}

/// Keys that are live, each with another value that it accepts.
fn live_keys(now: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let output = Command::new(our_broker::binary()).arg("--keys=json").output().unwrap();
    let keys: Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys = keys["keys"].as_array().unwrap().iter().filter(|key| key["live"] == true);
    keys.map(|key| {
        let name = key["name"].as_str().unwrap();
        (name.to_owned(), other_value(key, name, &now[name]))
    })
    .collect()
}

fn other_value(key: &Value, name: &str, now: &str) -> String {
    // What must fit other keys, or would end the load.
    let chosen = match name {
        "messageDelayLevel" => format!("{now} 3h"),
        "logFilter" => "info,broker=debug".to_owned(),
        "maxMessageSize" => "65536".to_owned(),
        "diskSpaceCleanForciblyRatio" => "84".to_owned(),
        "diskMaxUsedSpaceRatio" => "74".to_owned(),
        "registerNameServerPeriod" => "20000".to_owned(),
        "brokerPermission" => "4".to_owned(),
        "deleteWhen" => "04".to_owned(),
        _ => String::new(),
    };
    if !chosen.is_empty() {
        return chosen;
    }
    if let Some(choices) = key["choices"].as_array() {
        let other = choices.iter().map(|choice| choice.as_str().unwrap());
        return other.into_iter().find(|choice| *choice != now).unwrap().to_owned();
    }
    match (now.parse::<i64>(), key["max"].as_i64()) {
        (Ok(now), Some(max)) if now >= max => (now - 1).to_string(),
        (Ok(now), _) => (now + 1).to_string(),
        (Err(_), _) => format!("{now}-changed"),
    }
}

/// Producers that send until they are told to stop; how many messages were acknowledged. Nothing may be refused.
struct Load {
    stop: Arc<AtomicBool>,
    producers: Vec<thread::JoinHandle<Ledger>>,
}

impl Load {
    fn start(broker: &OurBroker, topics: &[&'static str]) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let produce = |topic: &&'static str| {
            let (topic, stop, mut connection) = (*topic, Arc::clone(&stop), connect(broker));
            connection.create_topic(&NewTopic::new(topic, QUEUES)).unwrap();
            thread::spawn(move || {
                let mut ledger = Ledger::new(topic, QUEUES, 300);
                while !stop.load(Ordering::Relaxed) {
                    ledger.send(&mut connection, 64).unwrap();
                }
                ledger
            })
        };
        let producers = topics.iter().map(produce).collect();
        Load { stop, producers }
    }

    fn stop(self) -> Vec<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        self.producers.into_iter().map(|producer| producer.join().unwrap()).collect()
    }
}

fn check_all_there(connection: &mut Connection, ledgers: &[Ledger]) {
    for ledger in ledgers {
        let read = ledger.read_back(connection, "readers");
        assert!(ledger.acked() > 64);
        assert_eq!((read.found, read.lost), (ledger.acked() as u64, 0));
    }
}

#[test]
fn every_live_key_changes_under_load_and_survives_a_kill() {
    let (mut broker, mut connection) = start(&[]);
    let file = fs::read_to_string(broker.dir().join("broker.conf")).unwrap();
    let load = Load::start(&broker, &["load-a", "load-b"]);
    let before = config(&mut connection);
    let first = version(&mut connection);
    let keys = live_keys(&before);
    assert!(keys.len() > 40, "{keys:?}");
    let mut expected = before.clone();
    for (changes, (key, value)) in (1..).zip(&keys) {
        set(&mut connection, &format!("{key}={value}\n"));
        expected.insert(key.clone(), value.clone());
        assert_eq!(config(&mut connection), expected, "{key}");
        assert_eq!(version(&mut connection), first + changes, "{key}");
    }
    let ledgers = load.stop();
    broker.kill9();
    broker.restart();
    let mut connection = connect(&broker);
    let now = config(&mut connection);
    // What the machine allows is divided anew by each start.
    keys.iter().for_each(|(key, value)| assert_eq!(&now[key], value, "{key}"));
    assert_eq!(version(&mut connection), first + keys.len() as i64);
    assert_eq!(
        fs::read_to_string(broker.dir().join("broker.conf")).unwrap(),
        file,
        "the operator's"
    );
    let log = broker.log();
    for (key, value) in &keys {
        let was = if before[key].is_empty() { "empty" } else { &before[key] };
        let line =
            format!("changed: overrides.properties sets {key}={value}, the default is {was}\n");
        assert!(log.contains(&line), "{line}: {log}");
    }

    // Back again: only what needs a restart to go back stays.
    let mut back: Vec<_> = keys.iter().map(|(key, _)| (key, &before[key])).collect();
    back.retain(|(key, _)| *key != "messageDelayLevel");
    let lines: String = back.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    set(&mut connection, &lines);
    check_all_there(&mut connection, &ledgers);
    let kept = fs::read_to_string(overrides_file(&broker)).unwrap();
    let kept: Vec<&str> = kept.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept[0].starts_with("dataVersion=") && kept[1].starts_with("messageDelayLevel="));
}

#[test]
fn messages_are_safe_while_the_flush_policy_changes() {
    let (mut broker, mut connection) = start(&[]);
    let load = Load::start(&broker, &["load-a", "load-b", "load-c"]);
    for round in 0..40 {
        let policy = if round % 2 == 0 { "ASYNC_FLUSH" } else { "SYNC_FLUSH" };
        set(
            &mut connection,
            &format!("flushDiskType={policy}\nflushIntervalCommitLog={}", 200 + round),
        );
        thread::sleep(Duration::from_millis(10));
    }
    let ledgers = load.stop();
    assert_eq!(config(&mut connection)["flushDiskType"], "SYNC_FLUSH");
    broker.kill9();
    broker.restart();
    check_all_there(&mut connect(&broker), &ledgers);
    assert!(!broker.log().contains("flushDiskType=ASYNC_FLUSH"), "it is what the file says again");
}

#[test]
fn a_change_survives_a_kill_right_behind_its_answer() {
    let (mut broker, mut connection) = start(&[]);
    for hours in 1..6 {
        set(&mut connection, &format!("fileReservedTime={hours}"));
        broker.kill9();
        broker.restart();
        connection = connect(&broker);
        assert_eq!(config(&mut connection)["fileReservedTime"], hours.to_string());
        assert_eq!(version(&mut connection), hours);
    }
}

fn send_refused(connection: &mut Connection, message: &Message<'_>) -> Option<i32> {
    match connection.send(message) {
        Ok(_) => None,
        Err(ClientError::Refused { code, .. }) => Some(code),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_producers_may_do_changes_at_once_on_all_connections() {
    let (broker, mut tool) = start(&[]);
    let mut producers: Vec<Connection> = (0..8).map(|_| connect(&broker)).collect();
    let mut of_all = |message: &Message<'_>| -> Vec<Option<i32>> {
        let mut answers: Vec<_> =
            producers.iter_mut().map(|it| send_refused(it, message)).collect();
        answers.dedup();
        answers
    };
    let body = vec![7; 100_000];
    let large = Message::new(TOPIC, 0, &body);
    assert_eq!(of_all(&large), [None]);
    set(&mut tool, "maxMessageSize=65536");
    assert_eq!(of_all(&large), [Some(response::MESSAGE_ILLEGAL)]);
    set(&mut tool, "maxMessageSize=131072");
    assert_eq!(of_all(&large), [None]);

    set(&mut tool, "autoCreateTopicEnable=false");
    assert_eq!(of_all(&Message::new("new-a", 0, b"x")), [Some(response::TOPIC_NOT_EXIST)]);
    set(&mut tool, "autoCreateTopicEnable=true\ndefaultTopicQueueNums=16");
    let many = Message { topic_queues: 12, ..Message::new("new-a", 0, b"x") };
    assert_eq!(of_all(&many), [None]);
    let topics = tool.topics().unwrap();
    assert_eq!(
        topics["topicConfigTable"]["new-a"]["writeQueueNums"], 12,
        "of 16 that there may be"
    );

    set(&mut tool, "startAcceptSendRequestTimeStamp=9000000000000");
    assert_eq!(of_all(&Message::new(TOPIC, 0, b"x")), [Some(response::SYSTEM_ERROR)]);
    set(&mut tool, "startAcceptSendRequestTimeStamp=0");
    assert_eq!(of_all(&Message::new(TOPIC, 0, b"x")), [None]);
}

#[test]
fn what_consumers_may_do_changes_at_once() {
    let (broker, mut tool) = start(&[]);
    let mut consumer = connect(&broker);
    let mut pull = |group: &str| match consumer.pull(&PullRequest::new(group, TOPIC, 0, 0)) {
        Ok(_) => 0,
        Err(ClientError::Refused { code, .. }) => code,
        Err(error) => panic!("{error}"),
    };
    set(&mut tool, "autoCreateSubscriptionGroup=false");
    assert_eq!(pull("new"), response::SUBSCRIPTION_GROUP_NOT_EXIST);
    set(&mut tool, "autoCreateSubscriptionGroup=true");
    assert_eq!(pull("new"), 0);

    let mut names = Connection::connect(broker.namesrv_addr().parse().unwrap()).unwrap();
    let mut perm = || names.route(TOPIC, true).unwrap()["queueDatas"][0]["perm"].as_i64().unwrap();
    assert_eq!(perm(), 6);
    for (permission, refused) in [(2, response::NO_PERMISSION), (4, 0), (6, 0)] {
        let began = Instant::now();
        set(&mut tool, &format!("brokerPermission={permission}"));
        // The answer comes when the name server knows, and has it within a second where it does not.
        assert_eq!(perm(), permission, "after {:?}: {}", began.elapsed(), broker.log_tail());
        assert_eq!(pull("new"), refused, "{permission}");
    }
}

#[test]
fn a_new_delay_level_is_there_at_once() {
    let (mut broker, mut tool) = start(&[("messageDelayLevel", "1h 2h")]);
    let delayed = [("DELAY", "3")];
    let message = Message::new(TOPIC, 1, b"x").with_properties(&delayed);
    tool.send(&message).unwrap();
    set(&mut tool, "messageDelayLevel=1h 2h 1s");
    tool.send(&message).unwrap();
    let arrived = wait_until(PATIENCE, || !read_all(&mut tool, TOPIC, QUEUES).is_empty());
    assert!(arrived, "{}", broker.log_tail());
    let all = read_all(&mut tool, TOPIC, QUEUES);
    assert_eq!(
        (all.len(), all[0].property("DELAY")),
        (1, Some("3")),
        "the first got the last level then"
    );
    for other in ["1h 2h", "1h 3h 1s", "1s"] {
        let (code, remark) = update(&mut tool, format!("messageDelayLevel={other}"));
        assert_eq!(code, response::SYSTEM_ERROR);
        assert!(
            remark.contains("expected the present levels (1h 2h 1s) and more behind them"),
            "{remark}"
        );
    }
    broker.kill9();
    broker.restart();
    let mut tool = connect(&broker);
    tool.send(&message).unwrap();
    assert!(wait_until(PATIENCE, || read_all(&mut tool, TOPIC, QUEUES).len() == 2));
}

#[test]
fn logs_and_answers_follow() {
    let (broker, mut tool) = start(&[]);
    assert!(!broker.log().contains("DEBUG"));
    set(&mut tool, "logFilter=info,broker=debug");
    let told = wait_until(PATIENCE, || {
        drop(connect(&broker));
        broker.log().contains("DEBUG")
    });
    assert!(told, "{}", broker.log_tail());
    let line = "configuration changed key=\"logFilter\" from=\"info\" to=\"info,broker=debug\" who=127.0.0.1:";
    assert!(broker.log().contains(line), "{}", broker.log_tail());
    let mut traced = |expected: &str| {
        let message = Message::new(TOPIC, 0, b"x");
        let ticket = tool.start_send(&message).unwrap();
        let answer = tool.finish(ticket).unwrap();
        assert_eq!(answer.ext("TRACE_ON"), Some(expected));
        assert_eq!(answer.ext("MSG_REGION"), Some("DefaultRegion"));
    };
    traced("true");
    let mut other = connect(&broker);
    set(&mut other, "traceOn=false");
    traced("false");
}

#[test]
fn a_change_is_refused_as_a_whole_with_every_reason() {
    let (broker, mut tool) =
        start(&[("fileReservedTime", "24"), ("sendMessageThreadPoolNums", "64")]);
    let before = config(&mut tool);
    let (code, remark) = update(
        &mut tool,
        "traceOn=false\nlistenPort=1\nbrokerName=other\nfileReservdTime=48\nfileReservedTime=0\n\
         sendMessageThreadPoolNums=8\ndiskMaxUsedSpaceRatio=99\nshards=9",
    );
    assert_eq!(code, response::SYSTEM_ERROR);
    for reason in [
        "nothing was changed: ",
        "listenPort=1: expected a whole number from 3 to 65535; ",
        "brokerName=other: needs a restart, it is \"broker-a\" now: set it in the configuration file",
        "fileReservdTime is not a known key (did you mean fileReservedTime?); ",
        "fileReservedTime=0: expected a whole number from 1 to 876000",
        "sendMessageThreadPoolNums=8: has no effect here: each core runs one shard",
        "shards=9: is fixed when the store is formatted",
    ] {
        assert!(remark.contains(reason), "{reason}: {remark}");
    }
    let (code, remark) = update(&mut tool, "traceOn=false\nconfigBlackList=\nfileReservedTime=0");
    assert_eq!(code, response::NO_PERMISSION);
    assert!(remark.starts_with("Can not update config in black list. "), "{remark}");
    assert!(remark.contains("configBlackList stands in") && remark.contains("fileReservedTime=0"));
    let (code, remark) =
        update(&mut tool, "diskMaxUsedSpaceRatio=99\ndiskSpaceCleanForciblyRatio=95");
    assert_eq!(code, response::SYSTEM_ERROR);
    assert!(
        remark.contains("the nearest value is 95")
            && remark.contains("at most diskSpaceWarningLevelRatio")
    );
    assert_eq!((config(&mut tool), version(&mut tool)), (before, 0));
    assert!(!overrides_file(&broker).exists());

    // The file that it was started with, and nothing.
    let file = fs::read(broker.dir().join("broker.conf")).unwrap();
    assert_eq!(update(&mut tool, file), (0, String::new()));
    assert_eq!(update(&mut tool, ""), (0, String::new()));
    assert_eq!(version(&mut tool), 0);
}

#[test]
fn hostile_bodies_harm_nobody() {
    let (broker, mut tool) = start(&[]);
    let many: String = (0..300_000).map(|number| format!("key{number}=1\n")).collect();
    let unknown: String = (0..2_000).map(|number| format!("fileReservedTim{number}=1\n")).collect();
    let long = format!("{}=1", "k".repeat(100_000));
    let bodies: [(&[u8], &str); 6] = [
        (&vec![b'x'; 15 << 20], "at most 131072 are taken"),
        (many.as_bytes(), "at most 131072 are taken"),
        (unknown.as_bytes(), "; and 1936 more"),
        (long.as_bytes(), "is not a known key"),
        (b"fileReservedTime=\xc3\x28", "the body is no text"),
        (b"fileReservedTime=\\u00g1", "four hexadecimal digits"),
    ];
    for (body, expected) in bodies {
        let (code, remark) = update(&mut tool, body);
        assert_eq!(code, response::SYSTEM_ERROR);
        assert!(remark.contains(expected) && remark.len() < 20_000, "{remark}");
    }
    assert_eq!(version(&mut tool), 0);

    // Many at once: each is whole, and none is lost.
    let changes: Vec<_> = (1..=8_i64)
        .map(|number| {
            let mut tool = connect(&broker);
            thread::spawn(move || {
                for round in 0..5 {
                    let hours = number * 100 + round;
                    set(&mut tool, &format!("fileReservedTime={hours}\nregionId=region-{hours}"));
                }
            })
        })
        .collect();
    changes.into_iter().for_each(|change| change.join().unwrap());
    let now = config(&mut tool);
    assert_eq!(now["regionId"], format!("region-{}", now["fileReservedTime"]));
    assert_eq!(version(&mut tool), 40);
}

#[test]
fn a_file_of_changes_that_cannot_be_read_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("data/config/overrides.properties");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "fileReservedTime=0\nlistenPort=10911\nfileReservdTime=1\n").unwrap();
    for arguments in [&["--check"][..], &[], &["-p"]] {
        let output = standalone_in(dir.path(), &[], arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        for said in [
            "overrides.properties line 1: fileReservedTime=0: expected a whole number from 1",
            "overrides.properties line 2: listenPort=10911: expected this key in the configuration file",
            "overrides.properties line 3: fileReservdTime=1: expected a key of the broker; did you mean fileReservedTime?",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
    fs::write(&file, "fileReservedTime=48\ntraceOn=true\n").unwrap();
    let said = |arguments: &[&str]| {
        let output = command_in(dir.path(), arguments).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let told = "note: overrides.properties sets fileReservedTime=48, the default is 72\n";
    let (check, printed) = (said(&["--check"]), said(&["-p"]));
    assert!(check.contains(told) && !check.contains("traceOn"), "{check}");
    assert!(printed.contains(told) && printed.contains("\nfileReservedTime=48\n"), "{printed}");
}
