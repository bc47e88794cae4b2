//! What our `mqadmin` does and Java's 4.9.8 does not, against our broker: `tail`, lists of topics and groups, rounds of
//! `clusterRT`, an address server, and the reason of a request that a broker without replicas refuses.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;
use loadtest::harness::{
    Peer, Side,
    our_mqadmin::{self, Printed},
    unique,
};
use serde_json::{Value, json};

/// How long a command may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

type Play = fn(&Peer);

pub(crate) fn trials() -> Vec<Trial> {
    let stories: [(&str, Play); 7] = [
        ("tail_shows_what_is_there", tail_shows_what_is_there),
        ("tail_follows", tail_follows),
        ("a_part_of_a_topic_is_consumed", a_part_of_a_topic_is_consumed),
        ("lists_of_a_file", lists_of_a_file),
        ("cluster_rt_ends_after_its_rounds", cluster_rt_ends_after_its_rounds),
        ("an_address_server_names_the_name_server", an_address_server_names_the_name_server),
        ("a_refusal_says_why", a_refusal_says_why),
    ];
    let trial = |(name, play): (&str, Play)| {
        crate::trial(format!("mqadmin_ours::{name}"), move |test| {
            if let Some(peer) = Side::Ours.peer(test) {
                play(peer);
            }
        })
    };
    stories.into_iter().map(trial).collect()
}

/// Runs a command that has to succeed.
fn run(peer: &Peer, words: &[&str]) -> Printed {
    let printed = our_mqadmin::run(&[words, &["-n", &peer.namesrv_addr]].concat());
    assert_eq!(printed.code, Some(0), "{words:?}: {printed:?}");
    printed
}

fn send(peer: &Peer, topic: &str, body: &str, tag: &str) {
    run(peer, &["sendMessage", "-t", topic, "-p", body, "-c", tag, "-k", "key-1 key-2"]);
}

/// Bodies of JSON lines, sorted: queues are followed side by side.
fn bodies(printed: &Printed) -> Vec<String> {
    let lines = printed.stdout.lines().map(serde_json::from_str::<Value>);
    let body = |line: Value| line["body"].as_str().unwrap_or_default().to_owned();
    let mut bodies: Vec<String> = lines.map(|line| body(line.expect("JSON"))).collect();
    bodies.sort();
    bodies
}

/// Messages from the beginning, by tag, of one queue, at most so many, since a time; in text and as JSON.
fn tail_shows_what_is_there(peer: &Peer) {
    let topic = peer.new_topic("tail", 2);
    for (body, tag) in [("one\ttwo", "a"), ("three", "b"), ("four", "a")] {
        send(peer, &topic, body, tag);
    }
    let tail =
        |words: &[&str]| run(peer, &[&["tail", &topic, "--no-follow", "--json"], words].concat());
    assert_eq!(bodies(&tail(&["-f"])), ["four", "one\ttwo", "three"]);
    assert_eq!(bodies(&tail(&["-f", "--tags", "a || c"])), ["four", "one\ttwo"]);
    assert_eq!(bodies(&tail(&["--since", "1h", "--sql", "TAGS = 'b'"])), ["three"]);
    assert_eq!(bodies(&tail(&["-f", "-c", "2", "-r", "1000"])).len(), 2);
    assert!(bodies(&tail(&[])).is_empty());
    let of_queue = |id| bodies(&tail(&["-f", "-b", "broker-a", "-q", id])).len();
    assert_eq!(of_queue("0") + of_queue("1"), 3);

    let text = run(peer, &["tail", "-t", &topic, "-f", "-e", "--tags", "a"]).stdout;
    let row = text.lines().find(|line| line.contains("one")).expect("a line");
    assert!(row.ends_with(" tags=[a] keys=[key-1 key-2] one\\ttwo"), "{row}");
    assert!(row.contains(" broker-a:"), "{row}");

    let missing = our_mqadmin::run(&["tail", &unique("none"), "-n", &peer.namesrv_addr]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
    let twice = our_mqadmin::run(&["tail", &topic, "-f", "-s", "1h", "-n", &peer.namesrv_addr]);
    assert_eq!(twice.code, Some(2), "{twice:?}");
}

/// Messages that are sent while it waits, and none that were there before.
fn tail_follows(peer: &Peer) {
    let topic = peer.new_topic("tail-follow", 2);
    send(peer, &topic, "before", "a");
    let (namesrv, followed) = (peer.namesrv_addr.clone(), topic.clone());
    let tail = thread::spawn(move || {
        our_mqadmin::run(&["tail", &followed, "--json", "-c", "3", "-n", &namesrv])
    });
    let begin = Instant::now();
    while !tail.is_finished() {
        assert!(begin.elapsed() < PATIENCE, "three messages were not shown");
        send(peer, &topic, "new", "a");
    }
    let printed = tail.join().expect("it ran");
    assert_eq!(printed.code, Some(0), "{printed:?}");
    assert_eq!(bodies(&printed), ["new"; 3]);
}

/// From an offset on, at most so many of a queue or of a topic, and what lies behind the end of a queue.
fn a_part_of_a_topic_is_consumed(peer: &Peer) {
    let topic = peer.new_topic("part", 1);
    (0..6).for_each(|number| send(peer, &topic, &format!("body-{number}"), "a"));
    let consume = |words: &[&str]| {
        let printed = run(peer, &[&["consumeMessage", "-t", &topic], words].concat());
        let bodies = printed.stdout.lines().filter_map(|line| line.split(" BODY: ").nth(1));
        bodies.map(str::to_owned).collect::<Vec<_>>()
    };
    let of_queue = ["-b", "broker-a", "-i", "0"];
    assert_eq!(consume(&[]).len(), 6);
    assert_eq!(consume(&["-c", "2"]), ["body-0", "body-1"]);
    assert_eq!(consume(&[&of_queue[..], &["-o", "4"]].concat()), ["body-4", "body-5"]);
    assert_eq!(
        consume(&[&of_queue[..], &["-o", "1", "-c", "3"]].concat()).join(" "),
        "body-1 body-2 body-3"
    );
    assert!(consume(&[&of_queue[..], &["-o", "9"]].concat()).is_empty());
    assert!(consume(&["-e", "1000"]).is_empty());

    let missing = ["queryMsgByOffset", "-t", &topic, "-b", "broker-a", "-i", "0", "-o", "9"];
    let printed = our_mqadmin::run(&[&missing[..], &["-n", &peer.namesrv_addr]].concat());
    assert_eq!(printed.code, Some(1), "{printed:?}");
    assert!(printed.stderr.contains("the next one goes to 6"), "{printed:?}");
}

/// Topics and groups are made together, and a file that names nothing is refused.
fn lists_of_a_file(peer: &Peer) {
    let file = std::env::temp_dir().join(unique("list.json"));
    let path = file.to_str().expect("a plain path").to_owned();
    let write = |list: &Value| fs::write(&file, list.to_string()).expect("a file");
    let broker = peer.broker_addr.to_string();
    let names = [unique("listed"), unique("listed")];

    write(&json!([
        { "topicName": names[0], "readQueueNums": 3, "writeQueueNums": 3, "perm": 6 },
        { "topicName": names[1], "readQueueNums": 1, "writeQueueNums": 1, "perm": 6 },
    ]));
    let printed = run(peer, &["updateTopicList", "-b", &broker, "-f", &path]).stdout;
    let line =
        format!("submit batch of topic config to {broker} success, please check the result later.");
    assert_eq!(printed.trim(), line);
    let route = run(peer, &["topicRoute", "-t", &names[0], "--json"]).stdout;
    let route: Value = serde_json::from_str(&route).expect("JSON");
    assert_eq!(route["queueDatas"][0]["readQueueNums"], 3, "{route}");

    write(&json!([{ "groupName": names[0] }, { "groupName": names[1], "retryMaxTimes": 3 }]));
    let words = ["updateSubGroupList", "-c", "DefaultCluster", "-f", &path, "--json"];
    let printed = run(peer, &words).stdout;
    let said: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(said["groups"], json!(names), "{said}");

    for bad in [json!([]), json!([{ "perm": 6 }]), json!({}), json!("x")] {
        write(&bad);
        let words = ["updateTopicList", "-b", &broker, "-f", &path];
        assert_eq!(our_mqadmin::run(&words).code, Some(2), "{bad}");
    }
    fs::remove_file(&file).expect("it was written");
    assert_eq!(our_mqadmin::run(&["updateTopicList", "-b", &broker, "-f", &path]).code, Some(1));
}

/// Two rounds, a row for each broker, as a table and as lines for a log.
fn cluster_rt_ends_after_its_rounds(peer: &Peer) {
    let words = ["clusterRT", "-a", "3", "-s", "10", "-i", "0", "--rounds", "2"];
    let table = run(peer, &words).stdout;
    let rows: Vec<&str> = table.lines().filter(|line| line.contains("broker-a")).collect();
    assert_eq!(rows.len(), 2, "{table}");
    for row in rows {
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!([words[0], words[3], words[4]], ["DefaultCluster", "3", "0"], "{row}");
    }
    let log = run(peer, &[&words[..], &["-p", "true", "-m", "room"]].concat()).stdout;
    assert!(log.lines().all(|line| line.contains("|room|DefaultCluster|broker-a|")), "{log}");
    let wrong = our_mqadmin::run(&["clusterRT", "-a", "1", "-n", &peer.namesrv_addr]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

/// Who names no name server may name an address server.
fn an_address_server_names_the_name_server(peer: &Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let domain = listener.local_addr().expect("its address").to_string();
    let list = peer.namesrv_addr.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let mut request = [0; 4096];
            let count = stream.read(&mut request).expect("a request");
            let text = String::from_utf8_lossy(&request[..count]).into_owned();
            let body = if text.starts_with("GET /rocketmq/nsaddr ") { &list } else { "nothing" };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).expect("an answer");
        }
    });
    let option = our_mqadmin::run(&["clusterList", "--address-server", &domain]);
    assert!(option.stdout.contains("broker-a"), "{option:?}");
    let property = format!("-Drocketmq.namesrv.domain={domain}");
    let by_property = our_mqadmin::run(&[&property, "clusterList"]);
    assert!(by_property.stdout.contains("broker-a"), "{by_property:?}");
    let other = "-Drocketmq.namesrv.domain.subgroup=other";
    let nothing = our_mqadmin::run(&[&property, other, "clusterList"]);
    assert_eq!(nothing.code, Some(1), "{nothing:?}");
    assert!(nothing.stderr.contains("/rocketmq/other"), "{nothing:?}");
}

/// Commands for replicas reach the broker, whose reason is shown.
fn a_refusal_says_why(peer: &Peer) {
    let broker = peer.broker_addr.to_string();
    let commands: [&[&str]; 4] = [
        &["haStatus", "-b", &broker],
        &["resetMasterFlushOffset", "-b", &broker, "-o", "0"],
        &["getColdDataFlowCtrInfo", "-b", &broker],
        &["getBrokerEpoch", "-b", "broker-a", "-n", &peer.namesrv_addr],
    ];
    for words in commands {
        let printed = our_mqadmin::run(words);
        assert_eq!(printed.code, Some(1), "{words:?}: {printed:?}");
        assert!(printed.stderr.contains(" refused "), "{words:?}: {printed:?}");
    }
}
