//! Goal: what our `mqadmin` has beyond Java's tells the truth about a running broker of ours, and does what it says. Method: a
//! broker is brought into a state over the wire, then a command is typed and its JSON compared with that state.

use client::{Connection, ExtValue, Heartbeat, Message, PullRequest, Received, Subscription};
use loadtest::harness::{Peer, our_mqadmin, our_mqadmin::Printed, unique, wait_until};
use proto::code::request;
use serde_json::Value;
use std::time::Duration;

const ROUTE_WAIT_MAX: Duration = Duration::from_secs(60);

/// Runs a command with `--json` that ends with this code, and returns what it said.
fn said(peer: &Peer, words: &[&str], code: i32) -> Vec<Value> {
    let printed = run(peer, &[&["--json"], words].concat());
    assert_eq!(printed.code, Some(code), "{words:?}: {printed:?}");
    let lines = printed.stdout.lines();
    lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn run(peer: &Peer, words: &[&str]) -> Printed {
    our_mqadmin::run(&[words, &["-n", &peer.namesrv_addr]].concat())
}

/// Members of a group that subscribes to a topic, each with a connection of its own. The broker makes the group's retry topic,
/// and the name server learns of it.
fn join(peer: &Peer, topic: &str, group: &str) -> Connection {
    let mut member = peer.connect_broker();
    member.create_group(group).expect("a group");
    let wanted = [Subscription { topic, expression: "*", version: 1 }];
    let id = unique("127.0.0.1@member");
    let heartbeat = Heartbeat {
        client_id: &id,
        consumer_group: Some(group),
        subscriptions: &wanted,
        producer_group: Some("shop"),
    };
    member.heartbeat(&heartbeat).expect("a heartbeat");
    await_topic(peer, &format!("%RETRY%{group}"));
    member
}

fn await_topic(peer: &Peer, topic: &str) {
    let routed = wait_until(ROUTE_WAIT_MAX, || {
        let namesrv = peer.namesrv_addr.parse().expect("a literal address");
        Connection::connect(namesrv).is_ok_and(|mut namesrv| namesrv.route(topic, true).is_ok())
    });
    assert!(routed, "no route of {topic}\n{}", peer.log_tail());
}

fn send(connection: &mut Connection, topic: &str, key: &str) {
    let properties = [("KEYS", key), ("TAGS", "created"), ("colour", "red"), ("UNIQ_KEY", key)];
    let message = Message::new(topic, 0, key.as_bytes()).with_properties(&properties);
    connection.send(&message).expect("it is stored");
}

fn messages(connection: &mut Connection, topic: &str, group: &str) -> Vec<Received> {
    connection.pull(&PullRequest::new(group, topic, 0, 0)).expect("a pull").messages
}

/// A message that is not to be tried again is a dead letter.
fn give_up(connection: &mut Connection, message: &Received, group: &str) {
    let id = message.message_id();
    let ext: [(&str, ExtValue<'_>); 7] = [
        ("offset", message.physical_offset.into()),
        ("group", group.into()),
        ("delayLevel", (-1).into()),
        ("originMsgId", id.as_str().into()),
        ("originTopic", message.topic.as_str().into()),
        ("unitMode", false.into()),
        ("maxReconsumeTimes", 16.into()),
    ];
    let answer = connection.call(request::CONSUMER_SEND_MSG_BACK, &ext, &[]);
    answer.and_then(client::Answer::success).expect("it is taken back");
}

#[test]
fn dead_letters_are_counted_shown_and_sent_again() {
    let peer = Peer::own();
    let (topic, group) = (peer.new_topic("orders", 1), unique("billing"));
    let mut member = join(&peer, &topic, &group);
    for key in ["order-1", "order-2", "order-3"] {
        send(&mut member, &topic, key);
    }
    let found = messages(&mut member, &topic, &group);
    assert_eq!(found.len(), 3);
    found.iter().for_each(|message| give_up(&mut member, message, &group));
    await_topic(&peer, &format!("%DLQ%{group}"));

    let list = said(&peer, &["dlq", "list"], 0);
    assert_eq!(list[0]["total"], 3, "{list:?}");
    assert_eq!(list[0]["queues"][0]["group"], group.as_str());

    let look = said(&peer, &["dlq", "look", "-g", &group, "-k", "order-2"], 0);
    assert_eq!(look.len(), 1, "{look:?}");
    assert_eq!((&look[0]["topic"], &look[0]["body"]), (&topic.as_str().into(), &"order-2".into()));
    assert_eq!(said(&peer, &["dlq", "look", "-g", &group, "-m", "2"], 0).len(), 2);

    // Nobody has said yes: nothing is sent.
    let refused = run(&peer, &["dlq", "resend", "-g", &group]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let dry = said(&peer, &["dlq", "resend", "-g", &group, "--dry-run"], 0);
    assert_eq!(dry.len(), 3);
    assert_eq!(messages(&mut member, &topic, &group).len(), 3);

    let words = ["dlq", "resend", "-g", &group, "-k", "order-2", "--yes", "-r", "50"];
    let sent = said(&peer, &words, 0);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0]["sendStatus"], "SEND_OK");
    let now = messages(&mut member, &topic, &group);
    assert_eq!(now.len(), 4);
    let again = &now[3];
    assert_eq!(again.body, b"order-2");
    assert_eq!(again.property("KEYS"), Some("order-2"));
    assert_eq!(again.property("colour"), Some("red"));
    assert_eq!(again.property("RETRY_TOPIC"), None);
    assert_eq!(again.property("DLQ_RESENT_FROM"), look[0]["offsetMsgId"].as_str());
    assert_ne!(again.property("UNIQ_KEY"), Some("order-2"), "a message of its own");
    assert_eq!(again.reconsume_times, 0);
    // The dead letter is still there.
    assert_eq!(said(&peer, &["dlq", "list", "-g", &group], 0)[0]["total"], 3);
}

#[test]
fn lag_is_told_in_messages_and_time_the_worst_first() {
    let peer = Peer::own();
    let (topic, group) = (peer.new_topic("orders", 2), unique("billing"));
    let mut member = join(&peer, &topic, &group);
    for key in ["a", "b", "c"] {
        send(&mut member, &topic, key);
    }
    let other = Message::new(&topic, 1, b"d");
    member.send(&other).expect("it is stored");
    member.commit_offset(&group, &topic, 0, 1).expect("a commit");
    member.commit_offset(&group, &topic, 1, 1).expect("a commit");

    let of_group = |words: &[&str]| said(&peer, words, 0).remove(0);
    let all = of_group(&["lag", "-g", &group, "-t", &topic]);
    assert_eq!(all["total"], 2, "{all}");
    let queue =
        |at: usize| (all["queues"][at]["queueId"].as_i64(), all["queues"][at]["lag"].as_i64());
    assert_eq!((queue(0), queue(1)), ((Some(0), Some(2)), (Some(1), Some(0))));
    assert!(all["queues"][0]["waitingMs"].as_i64().is_some_and(|ms| ms >= 0), "{all}");
    // Of all groups only what is behind.
    let behind = of_group(&["lag"]);
    assert_eq!(behind["queues"].as_array().map(Vec::len), Some(1), "{behind}");
    // Elsewhere than on a terminal it is said once, as a table.
    let text = run(&peer, &["lag"]);
    assert!(text.stdout.ends_with("Total: 2 messages in 1 queues\n"), "{text:?}");
    assert!(!text.stdout.contains('\u{1b}'), "{text:?}");
}

#[test]
fn a_doctor_finds_who_is_missing() {
    let peer = Peer::own();
    let (topic, group) = (peer.new_topic("orders", 1), unique("billing"));
    let unwanted = peer.new_topic("unwanted", 1);
    let mut member = join(&peer, &topic, &group);
    send(&mut member, &topic, "a");
    member.commit_offset(&group, &topic, 0, 0).expect("a commit");
    let has = |findings: &[Value], level: &str, check: &str, of: &str| {
        let mut all = findings.iter();
        all.any(|f| f["level"] == level && f["check"] == check && f["of"].as_str() == Some(of))
    };
    // A member is there, so what is not consumed is no problem.
    let found = said(&peer, &["doctor", "-q"], 0);
    assert!(found.is_empty(), "{found:?}");
    let found = said(&peer, &["doctor"], 0);
    assert!(
        found.iter().any(|f| f["check"] == "no-subscriber"
            && f["of"].as_str().is_some_and(|of| of.contains(&unwanted))),
        "{found:?}"
    );

    drop(member);
    let gone = wait_until(ROUTE_WAIT_MAX, || {
        let printed = run(&peer, &["--json", "doctor"]);
        let lines = printed.stdout.lines().map(serde_json::from_str::<Value>);
        let found: Vec<Value> = lines.map(|line| line.expect("JSON")).collect();
        printed.code == Some(1) && has(&found, "problem", "nobody-consumes", &group)
    });
    assert!(gone, "{:?}", run(&peer, &["doctor"]));

    // A name server that nobody runs is a problem, and the other one is still asked.
    let both = format!("{};127.0.0.1:1", peer.namesrv_addr);
    let printed = our_mqadmin::run(&["--json", "doctor", "-s", "-n", &both]);
    assert_eq!(printed.code, Some(1), "{printed:?}");
    let lines = printed.stdout.lines().map(serde_json::from_str::<Value>);
    let found: Vec<Value> = lines.map(|line| line.expect("JSON")).collect();
    assert!(has(&found, "problem", "name-server", "127.0.0.1:1"), "{found:?}");
}

#[test]
fn groups_are_set_up_moved_exported_and_deleted() {
    let peer = Peer::own();
    let (topic, group) = (peer.new_topic("orders", 1), unique("billing"));
    let broker = peer.broker_addr.to_string();
    let mut member = join(&peer, &topic, &group);
    (0..5).for_each(|_| send(&mut member, &topic, "k"));
    member.commit_offset(&group, &topic, 0, 2).expect("a commit");

    let config = said(&peer, &["getConsumerConfig", "-g", &group], 0);
    assert_eq!(config[0]["config"]["groupName"], group.as_str(), "{config:?}");
    let members = said(&peer, &["consumerConnection", "-g", &group], 0);
    assert_eq!(members[0]["connectionSet"].as_array().map(Vec::len), Some(1), "{members:?}");
    let same = said(&peer, &["consumerConnection", "-g", &group, "-b", &broker], 0);
    assert_eq!(same, members);
    let producers = said(&peer, &["producerConnection", "-g", "shop", "-t", &topic], 0);
    assert_eq!(producers[0]["connectionSet"].as_array().map(Vec::len), Some(1), "{producers:?}");
    let producers = said(&peer, &["producer", "-b", &broker], 0);
    assert_eq!(producers[0]["shop"].as_array().map(Vec::len), Some(1), "{producers:?}");
    let words =
        ["setConsumeMode", "-b", &broker, "-t", &topic, "-g", &group, "-m", "POP", "-q", "2"];
    assert_eq!(said(&peer, &words, 0)[0]["mode"], "POP");

    let copy = unique("copy");
    member.create_group(&copy).expect("a group");
    said(&peer, &["cloneGroupOffset", "-s", &group, "-d", &copy, "-t", &topic], 0);
    assert_eq!(member.consumer_offset(&copy, &topic, 0).expect("an offset"), 2);
    let words = ["-b", &broker, "-q", "0", "-o", "4"];
    let words =
        [&["resetOffsetByTime", "-g", &copy, "-t", &topic, "-s", "now"], &words[..]].concat();
    assert_eq!(said(&peer, &words, 0)[0]["offset"], 4);
    assert_eq!(member.consumer_offset(&copy, &topic, 0).expect("an offset"), 4);

    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().display().to_string();
    let read = |name: &str| -> Value {
        let text = std::fs::read_to_string(dir.path().join(name)).expect("it is written");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"))
    };
    for command in ["exportMetadata", "exportConfigs", "exportMetrics"] {
        said(&peer, &[command, "-c", "DefaultCluster", "-f", &path], 0);
    }
    let metadata = read("metadata.json");
    assert_eq!(metadata["topicConfigTable"][&topic]["writeQueueNums"], 1, "{metadata}");
    assert_eq!(metadata["subscriptionGroupTable"][&group]["groupName"], group.as_str());
    assert!(metadata["subscriptionGroupTable"]["TOOLS_CONSUMER"].is_null(), "{metadata}");
    assert_eq!(read("configs.json")["clusterScale"]["masterBrokerSize"], 1);
    assert!(read("metrics.json")["totalData"]["totalTps"]["totalNormalInTps"].is_number());

    drop(member);
    said(&peer, &["deleteSubGroup", "-c", "DefaultCluster", "-g", &group, "-r", "true"], 0);
    let left = run(&peer, &["getConsumerConfig", "-g", &group]);
    assert!(left.stderr.contains("no broker has group"), "{left:?}");
}

/// What brokers of this release may not serve is refused with its code, never taken for done.
#[test]
fn what_a_broker_refuses_ends_with_1() {
    let peer = Peer::own();
    let broker = peer.broker_addr.to_string();
    let b = ["-b", broker.as_str()];
    let commands: [&[&str]; 6] = [
        &["updateAclConfig", "-a", "account", "-s", "12345678", "-t", "a=PUB,b=SUB"],
        &["deleteAccessConfig", "-a", "account"],
        &["clusterAclConfigVersion"],
        &["createUser", "-u", "user", "-p", "secret"],
        &["createAcl", "-s", "User:user", "-r", "Topic:a,Topic:b", "-a", "Pub", "-d", "Allow"],
        &["explain", "-u", "user", "-t", "orders", "-a", "Pub"],
    ];
    for words in commands {
        let printed = run(&peer, &[words, &b].concat());
        assert_eq!(printed.code, Some(1), "{words:?}: {printed:?}");
        assert!(printed.stdout.is_empty() && printed.stderr.contains(&broker), "{printed:?}");
    }
}
