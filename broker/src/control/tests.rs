//! Stories of the whole `Control`: what a request does, and what must happen besides.

use super::*;
use proto::body::{
    ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, ProducerData, SubscriptionData,
};
use proto::command::Language;

const NOW: i64 = 1_700_000_000_000;

fn at(ms: i64) -> Moment {
    Moment { wall: ms, uptime: Uptime::from_ms(ms) }
}

fn connection(number: u64) -> ConnectionId {
    ConnectionId::new(0, 0, number as usize)
}

fn config() -> BrokerConfig {
    BrokerConfig { broker_name: "broker-a".to_owned(), ..BrokerConfig::default() }
}

/// A broker whose start is over: first snapshot published, first registration taken.
fn control() -> Control {
    let mut control = Control::new(&config(), NOW);
    let effects = control.saved_effects();
    assert_eq!(effects.publish.unwrap().version, 1);
    assert!(effects.register);
    assert!(effects.topic_changes.is_empty() && effects.group_changes.is_empty());
    assert_quiet(&mut control);
    control
}

fn assert_quiet(control: &mut Control) {
    let effects = control.saved_effects();
    assert!(effects.publish.is_none() && effects.notify.is_empty() && effects.close.is_empty());
    assert!(effects.topic_changes.is_empty() && effects.group_changes.is_empty());
    assert!(!effects.register);
}

fn peer(number: u64) -> ClientConnection {
    let address = "10.0.0.9:5000".parse().unwrap();
    ClientConnection {
        connection: connection(number),
        address,
        language: Language::Cpp,
        version: 333,
    }
}

fn beat(client_id: &str, group: &str, sub_version: i64) -> HeartbeatData {
    HeartbeatData {
        client_id: client_id.to_owned(),
        consumer_data_set: vec![ConsumerData {
            group_name: group.to_owned(),
            consume_type: ConsumeType::ConsumePassively,
            message_model: MessageModel::Clustering,
            consume_from_where: ConsumeFromWhere::LastOffset,
            subscription_data_set: vec![SubscriptionData {
                topic: "orders".to_owned(),
                sub_string: "a".to_owned(),
                sub_version,
                ..SubscriptionData::default()
            }],
            unit_mode: false,
        }],
        producer_data_set: vec![ProducerData { group_name: "pg".to_owned() }],
        ..HeartbeatData::default()
    }
}

fn wanted(topic: &str) -> WantedTopic<'_> {
    WantedTopic { topic, default_topic: "TBW102", default_topic_queue_nums: 4, unit_mode: false }
}

#[test]
fn a_created_topic_is_written_published_and_registered() {
    let mut control = control();
    let made = control.topic_for_send(NOW + 1, &wanted("orders")).unwrap().unwrap();
    assert!(control.snapshot().topic("orders").is_none(), "not before the effects are taken");
    let effects = control.saved_effects();
    assert!(!effects.topic_changes.is_empty() && effects.group_changes.is_empty());
    assert!(effects.register);
    let sent = control.topics().since(DataVersion { timestamp: NOW, counter: 0 }).unwrap();
    assert_eq!(sent.into_iter().collect::<Vec<_>>(), [&*made.topic_name]);
    let meta = effects.publish.unwrap();
    assert_eq!(meta.version, 2);
    assert_eq!(meta.topic("orders").unwrap().perm, 6);
    assert!(Arc::ptr_eq(&meta, control.snapshot()));
    assert_quiet(&mut control);
}

/// A consumer's first heartbeat: its group and its retry topic exist before it is answered.
#[test]
fn a_first_heartbeat_makes_group_and_retry_topic() {
    let mut control = control();
    assert_eq!(control.heartbeat(at(NOW), &peer(1), &beat("a", "cg", 1)), 0);
    let effects = control.saved_effects();
    assert!(!effects.topic_changes.is_empty() && !effects.group_changes.is_empty());
    let meta = effects.publish.unwrap();
    assert_eq!(meta.topic("%RETRY%cg").unwrap().read_queue_nums, 1);
    assert_eq!(meta.group("cg").unwrap().retry_max_times, 16);
    assert_eq!(meta.subscription("cg", "orders").unwrap().tags, ["a"]);
    assert!(!meta.subscriptions("cg").unwrap().broadcast);
    assert_eq!(effects.notify.len(), 1);
    control.heartbeat(at(NOW + 30_000), &peer(1), &beat("a", "cg", 1));
    assert_quiet(&mut control);
    control.heartbeat(at(NOW + 30_000), &peer(1), &beat("a", "cg", 2));
    let effects = control.saved_effects();
    assert!(
        effects.publish.is_some() && effects.notify.is_empty(),
        "a new version is news for shards only"
    );
}

fn asked(client: &str, group: &str) -> LockBatchRequest {
    let queue =
        MessageQueue { topic: "orders".to_owned(), queue_id: 0, broker_name: "b".to_owned() };
    LockBatchRequest {
        client_id: client.to_owned(),
        consumer_group: group.to_owned(),
        mq_set: vec![queue],
        only_this_broker: false,
    }
}

#[test]
fn who_unregisters_leaves_its_queues_and_who_waits_for_them_hears_it() {
    let mut control = control();
    let now = at(NOW).uptime;
    control.heartbeat(at(NOW), &peer(1), &beat("a", "cg", 1));
    control.heartbeat(at(NOW), &peer(2), &beat("b", "cg", 1));
    control.saved_effects();
    let lock = |control: &mut Control, number, client| {
        let held = control.lock_queues(now, connection(number), &asked(client, "cg"));
        held.expect("there is room").len()
    };
    assert_eq!(lock(&mut control, 1, "a"), 1);
    assert_eq!(control.effects().lock_changes.len(), 1, "durable before it is answered");
    assert_eq!((lock(&mut control, 1, "a"), lock(&mut control, 2, "b")), (1, 0));
    let effects = control.effects();
    assert!(effects.lock_changes.is_empty() && effects.notify.is_empty(), "nothing has changed");
    control.unregister(now, connection(1), None, Some("cg"));
    let effects = control.effects();
    assert_eq!((effects.lock_changes.len(), effects.notify.is_empty()), (1, false));
    assert_eq!(lock(&mut control, 2, "b"), 1);
    control.unlock_queues(now, &asked("b", "cg"));
    assert_eq!(control.queue_locks().count(), 0);
}

#[test]
fn who_consumes_every_queue_locks_none() {
    let mut control = control();
    let mut data = beat("a", "cg", 1);
    data.consumer_data_set[0].message_model = MessageModel::Broadcasting;
    control.heartbeat(at(NOW), &peer(1), &data);
    for client in ["a", "b"] {
        let held = control.lock_queues(at(NOW).uptime, connection(1), &asked(client, "cg"));
        assert_eq!(held.expect("there is room").len(), 1);
    }
    assert_eq!(control.queue_locks().count(), 0);
}

#[test]
fn a_group_may_not_want_to_hear_of_requests_but_hears_of_losses() {
    let mut control = control();
    let quiet = SubscriptionGroupConfig {
        group_name: "cg".to_owned(),
        notify_consumer_ids_changed_enable: false,
        ..SubscriptionGroupConfig::default()
    };
    control.update_group(NOW, quiet).unwrap();
    control.heartbeat(at(NOW), &peer(1), &beat("a", "cg", 1));
    control.heartbeat(at(NOW), &peer(2), &beat("b", "cg", 1));
    control.heartbeat(at(NOW), &peer(3), &beat("c", "cg", 1));
    control.unregister(at(NOW).uptime, connection(1), None, Some("cg"));
    assert!(control.saved_effects().notify.is_empty());
    control.connection_closed(at(NOW).uptime, connection(2));
    assert_eq!(*control.saved_effects().notify[0], *"cg");
    assert_eq!(control.members().consumers_after("cg", None, 9), [connection(3)]);
    let silent = BrokerConfig { notify_consumer_ids_changed_enable: false, ..config() };
    control.apply_config(NOW, &silent);
    control.heartbeat(at(NOW), &peer(4), &beat("d", "cg", 1));
    control.connection_closed(at(NOW).uptime, connection(3));
    assert!(control.saved_effects().notify.is_empty());
}

#[test]
fn the_silent_are_closed_by_the_tick() {
    let mut control = control();
    control.heartbeat(at(NOW), &peer(1), &beat("a", "cg", 1));
    control.heartbeat(at(NOW + 100_000), &peer(2), &beat("b", "cg", 1));
    control.saved_effects();
    control.tick(at(NOW + 120_001).uptime);
    let effects = control.saved_effects();
    assert_eq!(effects.close, [connection(1)]);
    assert_eq!(*effects.notify[0], *"cg");
    assert_eq!(control.members().consumers_after("cg", None, 9), [connection(2)]);
    control.tick(at(NOW + 300_000).uptime);
    let effects = control.saved_effects();
    assert!(effects.publish.unwrap().subscriptions("cg").is_none());
    control.members().check();
}

#[test]
fn without_automatic_groups_a_heartbeat_still_succeeds() {
    let closed = BrokerConfig { auto_create_subscription_group: false, ..config() };
    let mut control = Control::new(&closed, NOW);
    assert_eq!(control.heartbeat(at(NOW), &peer(1), &beat("a", "cg", 1)), 0);
    let meta = control.saved_effects().publish.unwrap();
    assert!(meta.group("cg").is_none() && meta.topic("%RETRY%cg").is_none());
    assert!(!meta.auto_create_groups);
    assert!(control.members().is_online("cg"));
    assert_eq!(control.group(NOW, "cg"), Ok(None));
    assert_eq!(control.retry_topic(NOW, "cg", false), Ok(None));
}

#[test]
fn a_changed_permission_reaches_shards_and_routes() {
    let mut control = control();
    control.apply_config(NOW, &BrokerConfig { broker_permission: 4, ..config() });
    let effects = control.saved_effects();
    let meta = effects.publish.unwrap();
    assert!(meta.broker_readable() && !meta.broker_writable());
    assert!(effects.register);
    assert!(!effects.topic_changes.is_empty(), "the version in the file has moved");
}

/// A broker stops and starts again: the tables come back from the two files.
#[test]
fn a_restart_brings_the_facts_back() {
    let mut before = control();
    before.topic_for_send(NOW, &wanted("orders")).unwrap();
    before.heartbeat(at(NOW), &peer(1), &beat("a", "cg", 1));
    before.delete_group(NOW, "TOOLS_CONSUMER", false).unwrap();
    before.dlq_topic(NOW, "cg").unwrap();
    let mut after = Control::new(&config(), NOW + 1);
    after.load_topics(&before.topics_json()).unwrap();
    after.load_groups(&before.groups_json()).unwrap();
    let meta = after.saved_effects().publish.unwrap();
    for topic in ["orders", "%RETRY%cg", "%DLQ%cg", "TBW102"] {
        assert!(meta.topic(topic).is_some(), "{topic}");
    }
    assert!(meta.group("cg").is_some());
    assert!(meta.is_system_topic("DefaultCluster") && !meta.is_system_topic("orders"));
    assert_eq!(after.topics().version(), before.topics().version());
    assert_eq!(after.topics_json(), before.topics_json());
    assert!(after.delete_topic(NOW, "orders").unwrap());
    assert!(after.saved_effects().publish.unwrap().topic("orders").is_none());
}

#[test]
fn nothing_is_shown_before_the_disk_holds_it() {
    let mut control = control();
    control.topic_for_send(NOW + 1, &wanted("orders")).unwrap();
    let tables = control.tables();
    control.heartbeat(at(NOW), &peer(1), &beat("a", "cg", 1));
    let effects = control.effects();
    assert_eq!(effects.topic_changes.len(), 2, "both are to be written");
    assert!(!effects.register, "name servers hear nothing either");
    let meta = effects.publish.expect("who is online is no matter of the disk");
    assert!(meta.subscriptions("cg").is_some());
    assert!(meta.topic("orders").is_none() && meta.group("cg").is_none());
    // The write that was begun before the heartbeat ends.
    control.made_durable(tables);
    let effects = control.effects();
    assert!(effects.register);
    let meta = effects.publish.unwrap();
    assert!(meta.topic("orders").is_some() && meta.topic("%RETRY%cg").is_none());
    control.made_durable(control.tables());
    let meta = control.effects().publish.unwrap();
    assert!(meta.topic("%RETRY%cg").is_some() && meta.group("cg").is_some());
}

/// A topic and a group that are deleted and made again are not seen before shards have dropped what they hold, over a
/// restart, too.
#[test]
fn what_is_being_dropped_is_hidden_although_it_was_made_again() {
    let mut control = control();
    control.topic_for_send(NOW, &wanted("orders")).unwrap();
    control.group(NOW, "cg").unwrap();
    control.saved_effects();
    assert!(control.delete_topic(NOW, "orders").unwrap());
    assert!(control.delete_group(NOW, "cg", true).unwrap());
    control.topic_for_send(NOW, &wanted("orders")).unwrap();
    control.group(NOW, "cg").unwrap();
    let deleted =
        Deleted { topics: ["orders".to_owned()].into(), groups: ["cg".to_owned()].into() };
    let hidden = |control: &mut Control| {
        let meta = Arc::clone(control.snapshot());
        assert!(meta.topic("orders").is_none() && meta.group("cg").is_none());
        assert!(control.is_dropping_topic("orders") && control.is_dropping_group("cg"));
        assert_eq!(control.durable().deleted, deleted);
    };
    control.saved_effects();
    hidden(&mut control);
    let mut after = Control::new(&config(), NOW + 1);
    after.load_topics(&control.topics_json()).unwrap();
    after.load_groups(&control.groups_json()).unwrap();
    after.saved_effects();
    hidden(&mut after);
    after.dropped(NOW + 2, &deleted);
    assert!(after.is_dropping_topic("orders"), "until the disk holds that, too");
    let effects = after.saved_effects();
    assert!(effects.register, "name servers have not heard of it");
    let meta = effects.publish.unwrap();
    assert!(meta.topic("orders").is_some() && meta.group("cg").is_some());
    assert!(!after.is_dropping_topic("orders") && !after.is_dropping_group("cg"));
    assert_eq!(after.adopt_topic(NOW, "orders", 1), Ok(false), "it is known");
}

/// Goal: what does not fit is refused with name, value, limit and key, whichever way it comes; deletions make room, what
/// their shards have not dropped yet excepted; and a start counts what is on the disk as it was counted before.
#[test]
fn tables_keep_within_their_limit_whichever_way_things_come() {
    let mut control = control();
    let (there, _) = control.table_memory().level();
    let bytes = there + 100_000;
    control.limit_tables(TableLimits { bytes, ..TableLimits::NONE });
    let send = |control: &mut Control, name: &str| {
        let wanted = WantedTopic {
            topic: name,
            default_topic: "TBW102",
            default_topic_queue_nums: 8,
            unit_mode: false,
        };
        control.topic_for_send(NOW, &wanted).map(drop)
    };
    let sent = (0..).find_map(|number| send(&mut control, &format!("sent-{number}")).err());
    let text = sent.expect("refused some day").to_string();
    for part in
        ["no room in the table of topics for sent-", "take up", "the limit is", "(memoryBudgetMiB)"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.contains(&bytes.to_string()), "{text}");
    let topic = |name: &str, queues| TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        ..TopicConfig::default()
    };
    let no_room = |refused: Result<(), MetadataError>| {
        assert!(matches!(refused, Err(MetadataError::NoRoom { .. })), "{refused:?}");
    };
    no_room(control.update_topic(NOW, topic("made", 8)));
    no_room(control.update_topic(NOW, topic("sent-0", 64)));
    control.update_topic(NOW, topic("sent-0", 1)).expect("what shrinks fits");
    no_room(control.update_topic(NOW, topic("made", 8)));
    control.update_topic(NOW, topic("sent-0", 8)).expect("its queues were kept for it");
    // Less than a group with its retry topic: neither is made.
    let fill = (0..).find(|number| control.group(NOW, &format!("g-{number}")).is_err());
    assert!(fill.is_some());
    control.delete_group(NOW, "TOOLS_CONSUMER", false).expect("deleting needs no room");
    let groups = control.groups().table().len();
    no_room(control.retry_topic(NOW, "fresh", false).map(drop));
    assert_eq!(control.groups().table().len(), groups, "no group without its retry topic");
    // Deleting makes room once shards have dropped it.
    control.delete_topic(NOW, "sent-0").expect("deleting needs no room");
    no_room(send(&mut control, "late"));
    let deleted = control.tables().deleted;
    control.dropped(NOW, &deleted);
    send(&mut control, "late").expect("there is room again");
    // The next start counts the same.
    let level = control.table_memory().level().0;
    let mut again = Control::new(&config(), NOW);
    again.load_topics(&control.topics_json()).expect("our own file");
    again.load_groups(&control.groups_json()).expect("our own file");
    again.delete_group(NOW, "TOOLS_CONSUMER", false).expect("it comes with every start");
    assert_eq!(again.table_memory().level().0, level);
}

#[test]
fn changes_that_the_disk_does_not_take_are_bounded() {
    let mut control = control();
    control.limit_tables(TableLimits { unsaved_bytes: 10_000, ..TableLimits::NONE });
    let refused = (0..1_000).find_map(|number| control.group(NOW, &format!("g-{number}")).err());
    assert!(matches!(refused, Some(MetadataError::Unsaved { limit: 10_000, .. })), "{refused:?}");
    control.delete_group(NOW, "g-0", false).expect("what makes room is taken");
    let effects = control.effects();
    control.table_memory().saved(&effects.group_changes);
    control.table_memory().saved(&effects.topic_changes);
    assert_eq!(control.table_memory().unsaved().0, 0);
    control.group(NOW, "more").expect("room again");
}
