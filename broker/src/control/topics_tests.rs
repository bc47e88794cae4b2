//! Stories of topics: how they come, change and go.

use super::*;

const NOW: i64 = 1_700_000_000_000;

fn rules() -> TopicRules {
    TopicRules {
        cluster: "c1".to_owned(),
        broker: "broker-a".to_owned(),
        auto_create: true,
        default_queues: 8,
        cluster_topic: true,
        broker_topic: true,
        trace_topic: None,
    }
}

fn topics() -> Topics {
    Topics::at_boot(rules(), Default::default(), NOW)
}

fn wanted<'a>(topic: &'a str, default_topic: &'a str, queues: i32) -> WantedTopic<'a> {
    WantedTopic { topic, default_topic, default_topic_queue_nums: queues, unit_mode: false }
}

/// Names that are registered with a name server that knows the version with this counter.
fn told_since(topics: &Topics, counter: i64) -> Option<String> {
    let mut sent: Vec<String> = topics.since(DataVersion { timestamp: NOW, counter })?.into();
    sent.sort_unstable();
    sent.dedup();
    sent.retain(|name| topics.get(name).is_some());
    Some(sent.join(" "))
}

fn shape(topics: &Topics, name: &str) -> Option<(i32, i32, i32)> {
    topics.get(name).map(|config| (config.read_queue_nums, config.write_queue_nums, config.perm))
}

#[test]
fn the_boot_topics_are_javas() {
    let topics = topics();
    let expected = [
        ("TBW102", (8, 8, 7)),
        ("SELF_TEST_TOPIC", (1, 1, 6)),
        ("BenchmarkTest", (1024, 1024, 6)),
        ("c1", (16, 16, 7)),
        ("broker-a", (1, 1, 7)),
        ("OFFSET_MOVED_EVENT", (1, 1, 6)),
        ("SCHEDULE_TOPIC_XXXX", (18, 18, 6)),
        ("c1_REPLY_TOPIC", (1, 1, 6)),
        ("RMQ_SYS_TRANS_HALF_TOPIC", (1, 1, 6)),
        ("RMQ_SYS_TRANS_OP_HALF_TOPIC", (1, 1, 6)),
    ];
    for (name, expected) in expected {
        assert_eq!(shape(&topics, name), Some(expected), "{name}");
        assert!(topics.system().contains(name), "{name}");
    }
    assert_eq!(topics.table().len(), expected.len());
    let closed = TopicRules {
        auto_create: false,
        cluster_topic: false,
        broker_topic: false,
        trace_topic: Some("RMQ_SYS_TRACE_TOPIC".to_owned()),
        ..rules()
    };
    let closed = Topics::at_boot(closed, Default::default(), NOW);
    assert_eq!(shape(&closed, "TBW102"), None);
    assert_eq!(shape(&closed, "c1"), Some((16, 16, 1)));
    assert_eq!(shape(&closed, "broker-a"), Some((1, 1, 1)));
    assert_eq!(shape(&closed, "RMQ_SYS_TRACE_TOPIC"), Some((1, 1, 6)));
}

/// A producer sends to a topic that nobody has made.
#[test]
fn a_send_creates_its_topic_from_the_default() {
    let mut topics = topics();
    let made = topics.find_or_create(&wanted("orders", "TBW102", 4), NOW + 1).unwrap().unwrap();
    assert_eq!((made.read_queue_nums, made.write_queue_nums, made.perm), (4, 4, 6));
    assert_eq!(topics.version(), DataVersion { timestamp: NOW + 1, counter: 1 });
    assert_eq!(topics.take_changes().len(), 1);
    assert!(topics.take_changes().is_empty());
    assert_eq!(topics.announced(), topics.version());
    assert_eq!(told_since(&topics, 0).as_deref(), Some("orders"));
    assert_eq!(told_since(&topics, 1).as_deref(), Some(""));
    let found = topics.find_or_create(&wanted("orders", "TBW102", 7), NOW + 2).unwrap().unwrap();
    assert!(Arc::ptr_eq(&found, &made), "it exists");
    assert!(topics.take_changes().is_empty());
}

#[test]
fn the_number_of_queues_is_the_smaller_wish() {
    let mut topics = topics();
    let mut queues = |name: &str, default: &str, wish: i32| {
        topics
            .find_or_create(&wanted(name, default, wish), NOW)
            .unwrap()
            .map(|made| made.write_queue_nums)
    };
    assert_eq!(queues("a", "TBW102", 100), Some(8));
    assert_eq!(queues("b", "TBW102", -3), Some(0));
    assert_eq!(queues("c", "c1", 100), Some(16));
    assert_eq!(queues("d", "broker-a", 4), Some(1));
    assert_eq!(queues("e", "BenchmarkTest", 4), None, "its permission has no INHERIT");
    assert_eq!(queues("f", "no-such-topic", 4), None);
}

#[test]
fn retry_topics_need_no_default() {
    let mut topics = topics();
    let unit = WantedTopic { unit_mode: true, ..wanted("%RETRY%cg", "no-such-topic", 4) };
    let made = topics.find_or_create(&unit, NOW).unwrap().unwrap();
    assert_eq!((made.read_queue_nums, made.perm, made.topic_sys_flag), (1, 6, SYS_FLAG_UNIT_SUB));
    let unit = WantedTopic { unit_mode: true, ..wanted("orders", "TBW102", 4) };
    assert_eq!(topics.find_or_create(&unit, NOW).unwrap().unwrap().topic_sys_flag, SYS_FLAG_UNIT);
    assert_eq!(
        topics.ensure_retry("cg", 5, false, NOW).unwrap().read_queue_nums,
        1,
        "it was there"
    );
    assert_eq!(topics.ensure_retry("cg2", 5, false, NOW).unwrap().read_queue_nums, 5);
    let dlq = topics.ensure_dlq("cg", NOW).unwrap();
    assert_eq!((dlq.topic_name.as_str(), dlq.read_queue_nums, dlq.perm), ("%DLQ%cg", 1, 6));
    for (asked, queues) in [(3, 3), (2, 3), (5, 5)] {
        topics.raise_queues("TRANS_CHECK_MAX_TIME_TOPIC", asked, NOW).unwrap();
        let made = topics.get("TRANS_CHECK_MAX_TIME_TOPIC").unwrap();
        assert_eq!((made.read_queue_nums, made.write_queue_nums, made.perm), (queues, queues, 6));
    }
}

/// Automatic creation was on once, TBW102 stands in the file; now it is off.
#[test]
fn a_loaded_default_topic_loses_its_power_when_creation_is_off() {
    let mut json = Vec::new();
    topics().to_table().write(&mut json);
    let mut topics =
        Topics::at_boot(TopicRules { auto_create: false, ..rules() }, Default::default(), NOW);
    topics.load(&json).unwrap();
    assert_eq!(shape(&topics, "TBW102"), Some((8, 8, 7)));
    assert_eq!(topics.find_or_create(&wanted("orders", "TBW102", 4), NOW), Ok(None));
    assert_eq!(shape(&topics, "TBW102"), Some((8, 8, 6)));
    assert!(!topics.take_changes().is_empty());
    assert!(
        topics.find_or_create(&wanted("orders", "c1", 4), NOW).unwrap().is_some(),
        "others still may"
    );
}

#[test]
fn an_update_replaces_everything_and_names_are_checked() {
    let mut topics = topics();
    let config = |name: &str| TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: 3,
        write_queue_nums: 2,
        perm: 4,
        order: true,
        ..TopicConfig::default()
    };
    let made = topics.update(config("orders"), NOW).unwrap();
    assert_eq!(shape(&topics, "orders"), Some((3, 2, 4)));
    assert!(!made.order, "4.9 ignores the field");
    assert!(matches!(topics.update(config("TBW102"), NOW), Err(MetadataError::SystemTopic { .. })));
    assert!(matches!(topics.update(config("a.b"), NOW), Err(MetadataError::Name(_))));
    let negative = TopicConfig { read_queue_nums: -1, ..config("orders") };
    let refused = topics.update(negative, NOW).unwrap_err();
    assert_eq!(refused.to_string(), "readQueueNums=-1 is not in the range 0 to 65535");
    let perm = TopicConfig { perm: 16, ..config("orders") };
    assert!(topics.update(perm, NOW).is_err());
    assert_eq!(topics.version().counter, 1, "what was refused is no change");
}

#[test]
fn deleting_twice_is_a_success_and_nothing_that_name_servers_must_hear() {
    let mut topics = topics();
    topics.ensure_retry("cg", 1, false, NOW).unwrap();
    topics.find_or_create(&wanted("orders", "TBW102", 4), NOW).unwrap();
    assert_eq!(topics.delete("orders", NOW + 3), Ok(true));
    assert_eq!(topics.delete("orders", NOW + 4), Ok(false));
    assert_eq!(topics.version(), DataVersion { timestamp: NOW + 3, counter: 3 });
    assert_eq!(topics.announced().counter, 2);
    assert_eq!(told_since(&topics, 0).as_deref(), Some("%RETRY%cg"));
    assert!(matches!(topics.delete("c1", NOW), Err(MetadataError::SystemTopic { .. })));
}

/// What a name server has missed is a few topics, or everything when that is too long ago.
#[test]
fn name_servers_hear_what_they_have_missed() {
    let mut topics = topics();
    topics.ensure_retry("a", 1, false, NOW).unwrap();
    topics.ensure_retry("b", 1, false, NOW).unwrap();
    topics.ensure_dlq("a", NOW).unwrap();
    assert_eq!(told_since(&topics, 1).as_deref(), Some("%DLQ%a %RETRY%b"));
    assert_eq!(told_since(&topics, 4), None, "a version that never was");
    topics.touch(NOW);
    assert_eq!(told_since(&topics, 3), None, "every route shows the broker's permission");
    assert_eq!(told_since(&topics, 4).as_deref(), Some(""));
    for number in 0..RECENT_MAX + 1 {
        topics.ensure_dlq(&format!("g{number}"), NOW).unwrap();
    }
    assert_eq!(told_since(&topics, 4), None);
    let sent = topics.since(DataVersion { timestamp: NOW, counter: 5 }).unwrap();
    assert_eq!(sent.len(), RECENT_MAX);
}

/// A journal replayed over any of the files that it may meet gives the table that was.
#[test]
fn a_replayed_journal_gives_the_table_that_was() {
    let (mut topics, mut journal, mut files) = (topics(), Vec::new(), Vec::new());
    for round in 0..40 {
        let name = format!("t{}", round % 7);
        match round % 5 {
            4 => drop(topics.delete(&name, NOW + round).unwrap()),
            3 => topics.touch(NOW + round),
            _ => drop(topics.find_or_create(&wanted(&name, "TBW102", round as i32), NOW + round)),
        }
        journal.extend(topics.take_changes());
        let mut json = Vec::new();
        topics.to_table().write(&mut json);
        files.push(json);
    }
    for file in &files {
        let mut again = Topics::at_boot(rules(), Default::default(), NOW + 99);
        again.load(file).unwrap();
        for record in &journal {
            match change::read(record).unwrap() {
                change::Change::Topics(version, what) => again.replay(version, what),
                other => unreachable!("only topics were changed: {other:?}"),
            }
        }
        assert_eq!(again.to_table(), topics.to_table());
    }
}

#[test]
fn order_comes_from_the_name_server() {
    let mut topics = topics();
    topics.find_or_create(&wanted("orders", "TBW102", 4), NOW).unwrap();
    topics.take_changes();
    let listed = BTreeSet::from(["orders".to_owned(), "not-here".to_owned()]);
    topics.apply_order(&listed, NOW + 1);
    assert!(topics.get("orders").unwrap().order);
    assert!(!topics.take_changes().is_empty());
    topics.apply_order(&listed, NOW + 2);
    assert!(topics.take_changes().is_empty(), "nothing differs");
    topics.apply_order(&BTreeSet::new(), NOW + 3);
    assert!(!topics.get("orders").unwrap().order);
    assert_eq!(topics.version().counter, 3);
}

/// A broker restarts, and the file wins over the boot topics.
#[test]
fn topics_survive_their_file() {
    let mut before = topics();
    before.find_or_create(&wanted("orders", "TBW102", 4), NOW).unwrap();
    before.touch(NOW + 7);
    let mut json = Vec::new();
    before.to_table().write(&mut json);
    let text = String::from_utf8(json.clone()).unwrap();
    let entry = r#""orders":{"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG","topicName":"orders","topicSysFlag":0,"writeQueueNums":4}"#;
    assert!(text.starts_with(
        r#"{"dataVersion":{"counter":2,"timestamp":1700000000007},"topicConfigTable":{"#
    ));
    assert!(text.contains(entry), "{text}");
    let changed =
        text.replace(r#""perm":6,"readQueueNums":1024"#, r#""perm":4,"readQueueNums":12"#);
    let mut after = Topics::at_boot(rules(), Default::default(), NOW + 100);
    after.load(changed.as_bytes()).unwrap();
    assert_eq!(shape(&after, "BenchmarkTest"), Some((12, 1024, 4)));
    assert_eq!(after.version(), before.version());
    assert!(after.take_changes().is_empty());
    let refused = after.load(b"[1,").unwrap_err();
    assert!(refused.to_string().starts_with("topics.json: "), "{refused}");
}

/// An operator switches automatic creation off and on, and gives new topics more queues.
#[test]
fn topics_of_the_broker_follow_changed_rules() {
    let mut topics = topics();
    let before = topics.version().counter;
    topics.follow(rules(), NOW);
    assert_eq!(topics.version().counter, before, "nothing has changed");
    topics.follow(TopicRules { auto_create: false, ..rules() }, NOW);
    assert_eq!(topics.find_or_create(&wanted("a", "TBW102", 4), NOW), Ok(None));
    assert_eq!(shape(&topics, "TBW102"), Some((8, 8, 6)));
    assert_eq!(told_since(&topics, before).as_deref(), Some("TBW102"), "clients ask for its route");
    topics.follow(TopicRules { default_queues: 16, cluster_topic: false, ..rules() }, NOW);
    assert_eq!(shape(&topics, "TBW102"), Some((16, 16, 7)));
    assert_eq!(shape(&topics, "c1"), Some((16, 16, 1)));
    assert!(topics.find_or_create(&wanted("a", "TBW102", 12), NOW).unwrap().is_some());
    assert_eq!(shape(&topics, "a"), Some((12, 12, 6)));

    let off = TopicRules { auto_create: false, ..rules() };
    let mut without = Topics::at_boot(off, Default::default(), NOW);
    assert_eq!(shape(&without, "TBW102"), None);
    without.follow(rules(), NOW);
    assert_eq!(shape(&without, "TBW102"), Some((8, 8, 7)));
}
