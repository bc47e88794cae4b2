//! Java's `mqadmin` (4.9.8 and 5.3.3) against our broker: what operators type, and what it prints.

use std::{cell::RefCell, time::Duration};

use client::Answer;
use libtest_mimic::Trial;
use loadtest::harness::{
    Peer, Side,
    mqadmin::Mqadmin,
    program::{Library, Program, Sent},
    scenario, unique, wait_until,
};
use proto::code::request;
use serde_json::json;

type Play = fn(&Admin<'_>);
const BOTH: &[&str] = &["4.9.8", "5.3.3"];
/// What only 5.x tools know.
const ONLY_5: &[&str] = &["5.3.3"];

/// Each story with mqadmin and the client program of a release.
pub(crate) fn trials() -> Vec<Trial> {
    let stories: [(&str, &'static [&'static str], Play); 9] = [
        ("cluster_list_and_broker_status", BOTH, cluster_list_and_broker_status),
        ("configurations_are_exported", BOTH, configurations_are_exported),
        ("attributes", ONLY_5, attributes),
        ("topics", BOTH, topics),
        ("groups", BOTH, groups),
        ("request_modes", ONLY_5, request_modes),
        ("consumers", BOTH, consumers),
        ("resets", BOTH, resets),
        ("messages", BOTH, messages),
    ];
    let mut trials = Vec::new();
    for (name, versions, play) in stories {
        trials.extend(versions.iter().map(|version| trial(name, version, play)));
    }
    trials
}

fn trial(name: &str, version: &'static str, play: Play) -> Trial {
    crate::trial(format!("mqadmin_{}::{name}", &version[..1]), move |test| {
        if let Some(program) = Library::Java(version).program(test)
            && let Some(peer) = Side::Ours.peer(test)
        {
            let mqadmin = RefCell::new(Mqadmin::start(&program));
            play(&Admin { mqadmin, program, peer, version });
        }
    })
}

struct Admin<'a> {
    mqadmin: RefCell<Mqadmin>,
    program: Program,
    peer: &'a Peer,
    version: &'static str,
}

impl Admin<'_> {
    /// A command that asks the name server.
    fn ask(&self, command: &str, args: &[&str]) -> String {
        let words = [&[command, "-n", &self.peer.namesrv_addr], args].concat();
        let output = self.mqadmin.borrow_mut().run(&words);
        // A command that fails only prints why.
        assert!(!output.contains("Exception"), "{command} {args:?}:\n{output}");
        output
    }

    fn broker(&self) -> String {
        self.peer.broker_addr.to_string()
    }
}

/// The row whose first words are these, as words.
fn row(output: &str, first: &[&str]) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let found = output
        .lines()
        .map(words)
        .find(|row| row.len() >= first.len() && row[..first.len()] == *first);
    found.unwrap_or_else(|| panic!("no row {first:?} in:\n{output}"))
}

/// `clusterList`, `brokerStatus`.
fn cluster_list_and_broker_status(admin: &Admin<'_>) {
    let output = admin.ask("clusterList", &[]);
    let row = row(&output, &["DefaultCluster", "broker-a", "0"]);
    assert_eq!(row[3], admin.broker(), "{output}");

    let output = admin.ask("brokerStatus", &["-b", &admin.broker()]);
    for key in ["bootTimestamp", "brokerVersionDesc", "putTps", "msgPutTotalTodayNow", "runtime"] {
        assert!(
            output.lines().any(|l| l.split_whitespace().next() == Some(key)),
            "{key} in:\n{output}"
        );
    }
}

/// `exportConfigs`, `brokerStatus`. 4.9.8 ends in an exception when a key is not there.
fn configurations_are_exported(admin: &Admin<'_>) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().display().to_string();
    let output = admin.ask("exportConfigs", &["-c", "DefaultCluster", "-f", &path]);
    let written = std::fs::read_to_string(dir.path().join("configs.json"));
    let written = written.unwrap_or_else(|error| panic!("{error}:\n{output}"));
    for key in ["filterServerNums", "slaveReadEnable", "useTLS", "brokerRole"] {
        assert!(written.contains(key), "{key} in:\n{written}");
    }
    let status = admin.ask("brokerStatus", &["-b", &admin.broker()]);
    for key in ["putMessageDistributeTime", "putMessageEntireTimeMax", "dispatchMaxBuffer"] {
        assert!(status.contains(key), "{key} in:\n{status}");
    }
}

/// `updateTopic -a`, `exportMetadata`, `updateSubGroup -o`, `getConsumerConfig`.
fn attributes(admin: &Admin<'_>) {
    let (topic, group) = (unique("admin-attributes"), unique("admin-orderly"));
    let broker = admin.broker();
    let change = |attributes: &str| {
        let words = ["updateTopic", "-n", &admin.peer.namesrv_addr, "-b", &broker, "-t", &topic];
        let words = [&words[..], &["-a", attributes]].concat();
        admin.mqadmin.borrow_mut().run(&words)
    };
    for kept in ["+message.type=NORMAL", "+message.type=TRANSACTION"] {
        let output = change(kept);
        assert!(output.contains("success"), "{output}");
    }
    let output = change("+reserve.time=3600000");
    assert!(output.contains("retention per topic is not supported"), "{output}");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().display().to_string();
    let output = admin.ask("exportMetadata", &["-b", &broker, "-t", "-f", &path]);
    let written: String = std::fs::read_dir(dir.path())
        .expect("a directory")
        .filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok())
        .collect();
    let dense: String = written.split_whitespace().collect();
    assert!(
        dense.contains(r#""attributes":{"message.type":"TRANSACTION"}"#),
        "{output}\n{written}"
    );

    let output = admin.ask("updateSubGroup", &["-b", &broker, "-g", &group, "-o", "true"]);
    assert!(output.contains("success"), "{output}");
    let output = admin.ask("getConsumerConfig", &["-g", &group]);
    let orderly = output.lines().find(|line| line.contains("consumeMessageOrderly"));
    assert!(orderly.is_some_and(|line| line.contains("true")), "{output}");
}

/// `updateTopic`, `topicList`, `topicRoute`, `topicStatus`, `deleteTopic`.
fn topics(admin: &Admin<'_>) {
    let topic = unique("admin-topic");
    let broker = admin.broker();
    let output = admin.ask("updateTopic", &["-b", &broker, "-t", &topic, "-r", "8", "-w", "8"]);
    assert!(output.contains(&format!("create topic to {broker} success")), "{output}");
    assert!(admin.ask("topicList", &[]).lines().any(|line| line.trim() == topic));

    // `standard` JSON, one key per line.
    let route = admin.ask("topicRoute", &["-t", &topic]);
    let dense: String = route.split_whitespace().collect();
    for part in [
        "\"brokerName\":\"broker-a\"",
        "\"readQueueNums\":8",
        "\"writeQueueNums\":8",
        broker.as_str(),
    ] {
        assert!(dense.contains(part), "{part} in:\n{route}");
    }

    let sent = scenario::produce(&admin.program, admin.peer, &topic, 16, None);
    let status = admin.ask("topicStatus", &["-t", &topic]);
    for queue in 0..8 {
        let count = sent.iter().filter(|s| s.queue == queue).count();
        let row = row(&status, &["broker-a", &queue.to_string()]);
        assert_eq!(row[2..4], ["0".to_owned(), count.to_string()], "{status}");
    }

    let output =
        admin.ask("updateTopic", &["-c", "DefaultCluster", "-t", &topic, "-r", "16", "-w", "16"]);
    assert!(output.contains("success"), "{output}");
    let dense: String = admin.ask("topicRoute", &["-t", &topic]).split_whitespace().collect();
    assert!(dense.contains("\"readQueueNums\":16"), "{dense}");

    let output = admin.ask("deleteTopic", &["-c", "DefaultCluster", "-t", &topic]);
    assert!(output.contains("success"), "{output}");
    assert!(!admin.ask("topicList", &[]).lines().any(|line| line.trim() == topic));
}

/// `updateSubGroup`, `consumerProgress`.
fn groups(admin: &Admin<'_>) {
    let broker = admin.broker();
    let (topic, group) = (admin.peer.new_topic("admin-group", 4), unique("admin-group"));
    let output = admin.ask("updateSubGroup", &["-b", &broker, "-g", &group]);
    assert!(output.contains(&format!("create subscription group to {broker} success")), "{output}");

    scenario::keep_offsets(admin.peer, &topic, &group);
    scenario::produce(&admin.program, admin.peer, &topic, 20, None);
    scenario::consume_exactly(&admin.program, admin.peer, "consume", (&topic, &group), 20);
    let behind = scenario::produce(&admin.program, admin.peer, &topic, 12, None);
    let progress = admin.ask("consumerProgress", &["-g", &group]);
    let mut diff_sum = 0;
    for queue in 0..4 {
        let row = row(&progress, &[&topic, "broker-a", &queue.to_string()]);
        let number = |index: usize| row[index].parse::<i64>().expect("offsets are numbers");
        let (broker_offset, consumer_offset) = (number(3), number(4));
        assert!(consumer_offset > 0, "{progress}");
        diff_sum += broker_offset - consumer_offset;
        if admin.version == "5.3.3" {
            // Difference and what is in flight; a client's address, if there is one, is no number.
            let rest: Vec<i64> = row[5..].iter().filter_map(|word| word.parse().ok()).collect();
            let [diff, inflight, ..] = rest[..] else { panic!("{progress}") };
            assert!((0..=diff).contains(&inflight), "{progress}");
        }
    }
    assert_eq!(diff_sum, behind.len() as i64, "{progress}");
}

/// `setConsumeMode`, of one broker and of all.
fn request_modes(admin: &Admin<'_>) {
    let (topic, group) = (admin.peer.new_topic("admin-mode", 4), unique("admin-mode"));
    let (mut connection, broker) = (admin.peer.connect_broker(), admin.broker());
    connection.create_group(&group).expect("a group");
    let names = ["-t", &topic, "-g", &group];
    let mut set_by = |whose: [&str; 2], mode: &str, share: &str| {
        let words = [&whose[..], &names, &["-m", mode, "-q", share]].concat();
        let output = admin.ask("setConsumeMode", &words);
        assert!(output.contains(&format!("set consume mode to {broker} success")), "{output}");
        let answer = connection.call(request::GET_ALL_MESSAGE_REQUEST_MODE, &[], &[]);
        let modes = answer.and_then(Answer::success).and_then(|answer| answer.json());
        let modes = modes.expect("JSON");
        let of_group = &modes["messageRequestModeMap"][&topic][&group];
        json!([of_group["mode"], of_group["popShareQueueNum"]])
    };
    assert_eq!(set_by(["-b", &broker], "POP", "2"), json!(["POP", 2]));
    assert_eq!(set_by(["-c", "DefaultCluster"], "PULL", "0"), json!(["PULL", 0]));
    let namesrv = &admin.peer.namesrv_addr;
    let unknown = unique("admin-mode");
    let words = ["-b", &broker, "-t", &unknown, "-g", &group, "-m", "POP"];
    let words = [&["setConsumeMode", "-n", namesrv], &words[..]].concat();
    let output = admin.mqadmin.borrow_mut().run(&words);
    assert!(output.contains("Exception"), "{output}");
}

/// What tools ask of a consumer, through the broker: `consumerConnection`, `consumerStatus`, `queryMsgById -d`.
fn consumers(admin: &Admin<'_>) {
    let (topic, group) = (admin.peer.new_topic("admin-ask", 4), unique("admin-ask"));
    let namesrv = &admin.peer.namesrv_addr;
    let consumer = admin.program.start_consumer("consume", namesrv, &topic, &group, None);
    let consumer = consumer.unwrap_or_else(|failed| panic!("{failed}"));
    let sent = scenario::produce(&admin.program, admin.peer, &topic, 4, None);
    let arrived =
        |count: usize| wait_until(Duration::from_secs(60), || consumer.received().len() >= count);
    assert!(arrived(4), "{:?}", consumer.received());
    let connections = admin.ask("consumerConnection", &["-g", &group]);
    let client_id = connections.split_whitespace().find(|word| word.contains('@'));
    let client_id = client_id.unwrap_or_else(|| panic!("no client in:\n{connections}"));
    // One of the consumer's settings has "Exception" in its name.
    let words = ["consumerStatus", "-n", namesrv, "-g", &group, "-i", client_id];
    let status = admin.mqadmin.borrow_mut().run(&words);
    for part in ["#Consumer Properties#", "#Consumer MQ Detail#", &topic] {
        assert!(status.contains(part), "{part} in:\n{status}");
    }
    let id = sent[0].message_id.as_str();
    let of_topic = if admin.version == "5.3.3" { vec!["-t", &topic] } else { Vec::new() };
    let asked = [&["-i", id, "-g", &group, "-d", client_id], &of_topic[..]].concat();
    let result = admin.ask("queryMsgById", &asked);
    assert!(result.contains("CR_SUCCESS"), "{result}");
    assert!(arrived(5), "{:?}", consumer.received());
    let again = consumer.received().pop().expect("five");
    assert_eq!((again.queue, again.body), (sent[0].queue, sent[0].body.clone()));
    consumer.finish();
    let gone = admin.mqadmin.borrow_mut().run(&words);
    assert!(gone.contains("not online") || gone.contains("Exception"), "{gone}");
}

/// `skipAccumulatedMessage`, `resetOffsetByTime`; 5.x: of one queue.
fn resets(admin: &Admin<'_>) {
    let (topic, group) = (admin.peer.new_topic("admin-reset", 4), unique("admin-reset"));
    let mut connection = admin.peer.connect_broker();
    connection.create_group(&group).expect("a group");
    let sent = scenario::produce(&admin.program, admin.peer, &topic, 20, None);
    let ends = |queue: i32| sent.iter().filter(|sent| sent.queue == queue).count() as i64;
    let mut committed = || -> Vec<i64> {
        let of_queue = |queue| connection.consumer_offset(&group, &topic, queue).expect("known");
        (0..4).map(of_queue).collect()
    };
    let all = ["-g", &group, "-t", &topic];
    let output = admin.ask("skipAccumulatedMessage", &[&all[..], &["-f", "true"]].concat());
    let at_end: Vec<i64> = (0..4).map(ends).collect();
    assert_eq!(committed(), at_end, "{output}");
    for queue in 0..4 {
        row(&output, &["broker-a", &queue.to_string(), &ends(queue).to_string()]);
    }
    let output = admin.ask("resetOffsetByTime", &[&all[..], &["-s", "0"]].concat());
    assert_eq!(committed(), [0; 4], "{output}");
    if admin.version == "5.3.3" {
        let one = ["-b", &admin.broker(), "-q", "2", "-s", "now", "-o", "1"];
        let output = admin.ask("resetOffsetByTime", &[&all[..], &one].concat());
        assert_eq!(committed(), [0, 0, 1, 0], "{output}");
    }
}

/// `queryMsgByKey`, `queryMsgByUniqueKey`, `queryMsgById`.
fn messages(admin: &Admin<'_>) {
    let topic = admin.peer.new_topic("admin-query", 4);
    let sent = scenario::produce(&admin.program, admin.peer, &topic, 8, None);
    let hits = scenario::query_all(&admin.program, admin.peer, &topic, &sent[..2]);
    for (sent, hit) in sent.iter().zip(&hits) {
        let key = format!("key-{}", sent.body);
        let output = admin.ask("queryMsgByKey", &["-t", &topic, "-k", &key]);
        let row = row(&output, &[&hit.unique_id]);
        let place = [sent.queue.to_string(), sent.offset.to_string()];
        assert_eq!(row[1..3], place, "{output}");

        let words = ["-t", &topic, "-i", &hit.unique_id];
        let output = admin.ask("queryMsgByUniqueKey", &words);
        assert_shows(&output, &topic, sent);
        let words = ["-t", &topic, "-i", &sent.message_id];
        let with_topic = if admin.version == "4.9.8" { 2 } else { 0 };
        let output = admin.ask("queryMsgById", &words[with_topic..]);
        assert_shows(&output, &topic, sent);
    }
}

/// What the detail of a message names: topic, keys, queue, offset.
fn assert_shows(output: &str, topic: &str, sent: &Sent) {
    let dense: String = output.split_whitespace().collect();
    let rows = [
        format!("Topic:{topic}"),
        format!("[key-{}]", sent.body),
        format!("QueueID:{}", sent.queue),
        format!("QueueOffset:{}", sent.offset),
    ];
    for row in rows {
        assert!(dense.contains(&row), "{row} in:\n{output}");
    }
}
