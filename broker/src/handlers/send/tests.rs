//! Sends without a socket and without a disk: what the checks say, what is stored and acknowledged.

use super::{
    admit::{self, Verdict},
    append,
    encode::{self, Origin, Wait},
    group_for_retry, is_deleted,
};
use crate::{
    config::BrokerConfig,
    control::{MetadataSnapshot, WantedTopic},
    delay_levels::Until,
    error::Refusal,
    handlers::fixtures::{NOW, commit, control, responder},
    ops::{AppendOp, RecordParts},
    properties::{AddedProperties, Scanned},
};
use proto::{
    body::{SubscriptionGroupConfig, TopicConfig, TopicFilterType},
    code::response,
    record::RecordView,
    request::SendHeader,
};
use std::sync::{Arc, LazyLock};
use store::StoreState;

fn header<'a>(topic: &'a str, queue_id: i32) -> SendHeader<'a> {
    SendHeader {
        producer_group: "p",
        topic,
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id,
        sys_flag: 0,
        born_timestamp: NOW,
        flag: 0,
        properties: "",
        reconsume_times: 0,
        unit_mode: false,
        batch: false,
        max_reconsume_times: None,
    }
}

fn topic(name: &str, change: impl FnOnce(&mut TopicConfig)) -> TopicConfig {
    let mut topic = TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: 2,
        write_queue_nums: 4,
        perm: 6,
        ..TopicConfig::default()
    };
    change(&mut topic);
    topic
}

/// What the checks see of a broker with these topics.
fn metadata(topics: &[TopicConfig]) -> Arc<MetadataSnapshot> {
    let mut control = control();
    for topic in topics {
        control.update_topic(NOW, topic.clone()).expect("a good topic");
    }
    let ordered = topics.iter().filter(|topic| topic.order);
    control.apply_order_topics(NOW, &ordered.map(|topic| topic.topic_name.clone()).collect());
    let group_name = "g".to_owned();
    let group = SubscriptionGroupConfig { group_name, ..SubscriptionGroupConfig::default() };
    control.update_group(NOW, group).expect("a good group");
    control.retry_topic(NOW, "g", false).expect("a good name").expect("made");
    control.saved_effects().publish.expect("a snapshot")
}

fn check(topics: &[TopicConfig], header: &SendHeader<'_>) -> Result<Verdict, Refusal> {
    admit::check(&BrokerConfig::default(), &metadata(topics), header)
}

#[test]
fn a_send_goes_to_a_queue_that_exists() {
    let plain = [topic("plain", |_| ())];
    let to = |queue_id| check(&plain, &header("plain", queue_id));
    assert_eq!(to(3), Ok(Verdict::Append { queue_id: 3, cacheable: Some(4), flags: 0 }));
    let refusal = to(4).expect_err("read and write queues are counted");
    assert_eq!(refusal.code, response::SYSTEM_ERROR);
    assert_eq!(
        refusal.remark,
        "request queueId[4] is illegal, topic[plain] has 2 read and 4 write queues"
    );
    let Ok(Verdict::Append { queue_id, .. }) = to(-1) else { panic!("the broker chooses") };
    assert!(queue_id < 4);
}

#[test]
fn what_needs_more_than_its_queue_is_not_cached() {
    let several = |topic: &mut TopicConfig| topic.topic_filter_type = TopicFilterType::MultiTag;
    let topics = [topic("ordered", |topic| topic.order = true), topic("tagged", several)];
    let cacheable = |name| match check(&topics, &header(name, 0)) {
        Ok(Verdict::Append { cacheable, .. }) => cacheable,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(cacheable("ordered"), None, "the broker's permission counts");
    assert_eq!(cacheable("%RETRY%g"), None, "the group's limit of tries counts");
    assert_eq!(cacheable("tagged"), None, "its messages say so");
}

#[test]
fn messages_of_a_topic_of_several_tags_say_so() {
    let several = |topic: &mut TopicConfig| topic.topic_filter_type = TopicFilterType::MultiTag;
    let topics = [topic("tagged", several), topic("plain", |_| ())];
    for (name, expected) in [("tagged", 2), ("plain", 0)] {
        let Ok(Verdict::Append { flags, .. }) = check(&topics, &header(name, 0)) else {
            panic!("it is taken")
        };
        assert_eq!(flags, expected, "{name}");
        let to = SendHeader { sys_flag: flags, ..header(name, 1) };
        let (records, _) =
            encode::encode_batch(&origin(&to), &batch_of(&[b"x"], ""), 1_000).expect("a batch");
        let stored = RecordView::parse(&records).expect("a record");
        assert_eq!(stored.sys_flag(), expected, "{name}");
    }
}

#[test]
fn an_unknown_topic_may_come_into_being_unless_its_name_is_bad_or_ours() {
    assert_eq!(check(&[], &header("new", 0)), Ok(Verdict::UnknownTopic));
    assert_eq!(check(&[], &header("a b", 0)).expect_err("a blank").code, response::SYSTEM_ERROR);
    let ours = check(&[], &header("OFFSET_MOVED_EVENT", 0)).expect_err("ours");
    assert_eq!(ours.code, response::NO_PERMISSION);
}

#[test]
fn nothing_is_taken_before_its_time() {
    let config =
        BrokerConfig { start_accept_send_request_time_stamp: NOW, ..BrokerConfig::default() };
    assert!(admit::check_time(&config, NOW).is_ok());
    let refusal = admit::check_time(&config, NOW - 1).expect_err("a moment too early");
    assert_eq!(refusal.remark, format!("broker unable to service, until {NOW}"));
}

static ADDED: LazyLock<AddedProperties> = LazyLock::new(|| AddedProperties::of_cluster("c"));

fn origin<'a>(header: &'a SendHeader<'a>) -> Origin<'a> {
    Origin {
        header,
        queue_id: 1,
        born_host: "10.0.0.9:5000".parse().expect("an address"),
        store_host: "10.0.0.1:10911".parse().expect("an address"),
        added_properties: &ADDED,
    }
}

/// A batch body: messages of these bodies, each with these properties.
fn batch_of(bodies: &[&[u8]], properties: &str) -> Vec<u8> {
    let mut batch = Vec::new();
    for body in bodies {
        let bytes = 4 * 5 + body.len() + 2 + properties.len();
        for number in [bytes as u32, 0, 0, 0, body.len() as u32] {
            batch.extend(number.to_be_bytes());
        }
        batch.extend_from_slice(body);
        batch.extend((properties.len() as u16).to_be_bytes());
        batch.extend_from_slice(properties.as_bytes());
    }
    batch
}

#[test]
fn a_batch_is_appended_whole_and_acknowledged_behind_its_last_message() {
    let header = header("t", 1);
    let body = batch_of(&[b"one", b"two", b"three"], "");
    let (records, parts) =
        encode::encode_batch(&origin(&header), &body, 1_000).expect("a good batch");
    let mut state = StoreState::unwritten(0);
    let appended =
        append::append_records(&mut state, true, ("t", 1), &records, &parts, NOW).expect("room");
    assert_eq!(appended.until, state.log.appended());
    assert_eq!((appended.sent.queue_id, appended.sent.queue_offset), (1, 0));
    assert_eq!(appended.sent.more.expect("three messages").len(), 2);
    assert_eq!(state.queue("t", 1).map_or(0, |queue| queue.max()), 0, "not before its commit");
    commit(&mut state);
    assert_eq!(state.queue("t", 1).map(|queue| queue.max()), Some(3));
}

#[test]
fn what_is_stored_carries_the_properties_of_message_batch_and_cluster() {
    let header = SendHeader { properties: "BATCH\u{1}b", ..header("t", 1) };
    let body = batch_of(&[b"one"], "TAGS\u{1}a");
    let (records, parts) =
        encode::encode_batch(&origin(&header), &body, 1_000).expect("a good batch");
    assert_eq!(parts, [(records.len() as u32, i64::from(proto::record::string_hash("a")))]);
    let view = RecordView::parse(&records).expect("a record");
    assert_eq!(view.properties_text(), "TAGS\u{1}a\u{2}BATCH\u{1}b\u{2}CLUSTER\u{1}c");
    let elsewhere = "CLUSTER\u{1}elsewhere";
    for (of_batch, own) in [(elsewhere, ""), ("", elsewhere), (elsewhere, elsewhere)] {
        let header = SendHeader { properties: of_batch, ..header };
        let body = batch_of(&[b"one"], own);
        let (records, _) = encode::encode_batch(&origin(&header), &body, 1_000).expect("a batch");
        let view = RecordView::parse(&records).expect("a record");
        assert_eq!(proto::properties::get(view.properties_text(), "CLUSTER"), Some("c"));
    }
}

#[test]
fn a_batch_that_cannot_be_stored_says_why() {
    let refused = |header: &SendHeader<'_>, body: &[u8]| {
        let refusal = encode::encode_batch(&origin(header), body, 100).expect_err("refused");
        (refusal.code, refusal.remark)
    };
    let to = header("t", 1);
    assert_eq!(
        refused(&to, b""),
        (response::MESSAGE_ILLEGAL, "batch without a message".to_owned())
    );
    let large = batch_of(&[&[0; 100]], "");
    assert_eq!(
        refused(&to, &large).1,
        format!("batch of {} bytes, the limit is 100 (maxMessageSize)", large.len())
    );
    let retry = header("%RETRY%g", 0);
    assert_eq!(refused(&retry, &batch_of(&[b"x"], "")).1, "a batch cannot go to a retry topic");
    let delayed = batch_of(&[b"x"], "DELAY\u{1}3");
    assert_eq!(refused(&to, &delayed).1, "a message with DELAY=3 cannot be in a batch");
}

#[test]
fn a_log_without_room_refuses_with_its_limit() {
    let mut state = StoreState::unwritten(0);
    let records = vec![0; 60_000];
    let parts = [(4_000, 0); 15];
    let mut append = || append::append_records(&mut state, false, ("t", 0), &records, &parts, NOW);
    assert!(append().is_ok());
    let refusal = Refusal::from(append().expect_err("in flight is bounded"));
    assert_eq!(refusal.code, response::SYSTEM_BUSY);
    assert!(refusal.remark.starts_with("[OVERLOAD]"), "{}", refusal.remark);
}

#[test]
fn the_control_owner_creates_a_topic_for_a_send_from_the_default_topic() {
    let mut control = control();
    let wanted = WantedTopic {
        topic: "new",
        default_topic: "TBW102",
        default_topic_queue_nums: 3,
        unit_mode: false,
    };
    let made = control.topic_for_send(NOW, &wanted).expect("allowed").expect("made");
    assert_eq!((made.read_queue_nums, made.write_queue_nums), (3, 3));
}

#[test]
fn an_ordered_topic_needs_a_broker_that_may_be_written() {
    let config = BrokerConfig { broker_permission: 4, ..BrokerConfig::default() };
    let mut control = crate::control::Control::new(&config, NOW);
    for topic in [topic("ordered", |_| ()), topic("plain", |_| ())] {
        control.update_topic(NOW, topic).expect("a good topic");
    }
    control.apply_order_topics(NOW, &["ordered".to_owned()].into());
    let metadata = control.saved_effects().publish.expect("a snapshot");
    let check = |name| admit::check(&config, &metadata, &header(name, 0));
    let refusal = check("ordered").expect_err("read only");
    assert_eq!(refusal.code, response::NO_PERMISSION);
    let expected = format!("the broker[{}] sending message is forbidden", config.broker_name);
    assert_eq!(refusal.remark, expected);
    assert!(check("plain").is_ok(), "as in Java, where only ordered topics are looked at");
}

#[test]
fn a_topic_without_a_write_queue_leaves_no_choice() {
    let closed = [topic("closed", |topic| topic.write_queue_nums = 0)];
    let refusal = check(&closed, &header("closed", -1)).expect_err("nowhere to go");
    assert_eq!(refusal.code, response::SYSTEM_ERROR);
    assert_eq!(refusal.remark, "topic[closed] has no write queue");
}

#[test]
fn topics_of_the_broker_take_no_messages_from_clients() {
    for name in [
        "SCHEDULE_TOPIC_XXXX",
        "RMQ_SYS_TRANS_HALF_TOPIC",
        "RMQ_SYS_TRANS_OP_HALF_TOPIC",
        "TRANS_CHECK_MAX_TIME_TOPIC",
        "rmq_sys_wheel_timer",
        "rmq_sys_REVIVE_LOG_DefaultCluster",
    ] {
        let refusal = check(&[], &header(name, 0)).expect_err(name);
        assert_eq!(refusal.code, response::NO_PERMISSION, "{name}");
        assert_eq!(refusal.remark, format!("sending message to topic[{name}] is forbidden"));
    }
}

#[test]
fn a_retry_topic_brings_its_group_along_where_groups_come_by_themselves() {
    let retry = [topic("%RETRY%new", |_| ())];
    assert_eq!(check(&retry, &header("%RETRY%new", 0)), Ok(Verdict::UnknownGroup));
    let mut control = control();
    assert_eq!(group_for_retry(&mut control, NOW, "new"), Ok(()));
    assert!(control.saved_effects().publish.expect("a snapshot").group("new").is_some());

    let config = BrokerConfig { auto_create_subscription_group: false, ..BrokerConfig::default() };
    control.apply_config(NOW, &config);
    assert_eq!(group_for_retry(&mut control, NOW, "new"), Ok(()), "it is there");
    let refusal = group_for_retry(&mut control, NOW, "nobody").expect_err("not by itself");
    assert_eq!(refusal.code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
    assert_eq!(refusal.remark, "subscription group not exist, nobody");
}

#[test]
fn what_is_tried_too_often_goes_to_the_dead_letters() {
    let is_dead = |reconsume_times, max_reconsume_times| {
        let header = SendHeader { reconsume_times, max_reconsume_times, ..header("%RETRY%g", 0) };
        check(&[], &header).expect("taken") == Verdict::DeadLetter
    };
    assert!(!is_dead(2, Some(3)));
    assert!(is_dead(3, Some(3)), "a client may limit its tries further");
    assert!(!is_dead(20, Some(21)), "or less");
    assert!(!is_dead(15, None) && is_dead(16, None));
}

/// Of a message in it, and of the batch.
fn in_no_batch(properties: &str, expected: &str) {
    let to = header("t", 1);
    let inside = encode::encode_batch(&origin(&to), &batch_of(&[b"x", b"y"], properties), 1_000);
    let of_batch = SendHeader { properties, ..to };
    let batch = encode::encode_batch(&origin(&of_batch), &batch_of(&[b"x"], ""), 1_000);
    for refused in [inside, batch] {
        let refusal = refused.map(drop).expect_err(properties);
        assert_eq!((refusal.code, refusal.remark.as_str()), (response::MESSAGE_ILLEGAL, expected));
    }
}

#[test]
fn a_batch_holds_nothing_that_waits() {
    in_no_batch("DELAY\u{1}3", "a message with DELAY=3 cannot be in a batch");
    let expected = "a message of a batch, or a reply, cannot be delivered later (TIMER_DELAY_MS)";
    in_no_batch("TIMER_DELAY_MS\u{1}5", expected);
    let expected = "a message of a batch, or a reply, is not transactional";
    in_no_batch("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}p", expected);
    let phase = SendHeader { sys_flag: 8, ..header("t", 1) };
    let refused = encode::encode_batch(&origin(&phase), &batch_of(&[b"x"], ""), 1_000);
    assert_eq!(refused.map(drop).expect_err("a phase").code, response::MESSAGE_ILLEGAL);
}

#[test]
fn a_message_waits_for_what_it_says() {
    let config = BrokerConfig::default();
    let wait = |topic, sys_flag, reconsume_times, text: &str| {
        let text = text.replace('=', "\u{1}").replace(';', "\u{2}");
        let header =
            SendHeader { sys_flag, reconsume_times, properties: &text, ..header(topic, 0) };
        encode::wanted_wait(&config, &Scanned::of(&text), &header, 1_000)
            .map_err(|refusal| (refusal.code, refusal.remark))
    };
    let half = "TRAN_MSG=true;PGROUP=p;";
    let at = super::Timer { deliver_ms: 1_007, until: Until::At(1_007) };
    for (topic, sys_flag, tries, text, expected) in [
        ("t", 0, 0, "TAGS=a;", Wait::Nothing),
        ("t", 0x301, 0, "TRAN_MSG=false;DELAY=0;", Wait::Nothing),
        ("t", 0, 0, "DELAY=2;", Wait::Level(2)),
        ("t", 4, 0, half, Wait::Decision(6_000)),
        ("t", 0, 0, half, Wait::Decision(6_000)),
        ("t", 0, 0, "TIMER_DELIVER_MS=1007;", Wait::Timer(at)),
        ("t", 0, 0, "TIMER_DELIVER_MS=1000;", Wait::Nothing),
        ("t", 0, 0, "TIMER_DELIVER_MS=1007;DELAY=2;", Wait::Level(2)),
        ("t", 4, 0, "TRAN_MSG=true;PGROUP=p;TIMER_DELAY_MS=9;", Wait::Decision(6_000)),
        ("t", 4, 0, "TRAN_MSG=TRUE;PGROUP=p;DELAY=2;", Wait::Decision(6_000)),
        // A consumer sends it again.
        ("t", 4, 1, "TRAN_MSG=true;PGROUP=p;DELAY=2;", Wait::Level(2)),
        ("%RETRY%g", 0, 1, half, Wait::Nothing),
        ("t", 4, 1, half, Wait::Decision(6_000)),
    ] {
        assert_eq!(wait(topic, sys_flag, tries, text), Ok(expected), "{topic} {sys_flag} {text}");
    }
    for (immunity, ms) in [
        ("0", 0),
        ("90", 90_000),
        ("-1", 6_000),
        ("soon", 6_000),
        ("9000000000000000", 259_200_000),
    ] {
        let text = format!("{half}CHECK_IMMUNITY_TIME_IN_SECONDS={immunity};");
        assert_eq!(wait("t", 4, 0, &text), Ok(Wait::Decision(ms)), "{immunity}");
    }
    for (sys_flag, text, part) in [
        (4, "TAGS=a;", "sysFlag 4"),
        (8, half, "(8)"),
        (0x30c, "", "(12)"),
        (4, "TRAN_MSG=true;", "PGROUP"),
        (0, "DELAY=soon;", "soon"),
        (4, "TRAN_MSG=true;PGROUP=p;TIMER_DELAY_MS=soon;", "soon"),
    ] {
        let (code, remark) = wait("t", sys_flag, 0, text).expect_err(text);
        assert_eq!(code, response::MESSAGE_ILLEGAL, "{sys_flag} {text}");
        assert!(remark.contains(part), "{remark}");
    }
    let forbidden = BrokerConfig { reject_transaction_message: true, ..BrokerConfig::default() };
    let scanned = Scanned::of("TRAN_MSG\u{1}true");
    let refusal =
        encode::wanted_wait(&forbidden, &scanned, &header("t", 0), 0).expect_err("forbidden");
    assert_eq!(refusal.code, response::NO_PERMISSION);
}

#[test]
fn a_damaged_batch_is_refused_whole() {
    let refused = |header: &SendHeader<'_>, body: &[u8]| {
        let refusal = encode::encode_batch(&origin(header), body, 1_000).expect_err("refused");
        assert_eq!(refusal.code, response::MESSAGE_ILLEGAL);
        refusal.remark
    };
    let (to, good) = (header("t", 1), batch_of(&[b"one", b"two"], ""));
    for cut in 1..good.len() / 2 {
        assert!(!refused(&to, &good[..good.len() - cut]).is_empty());
    }
    let mut not_text = batch_of(&[b"one"], "ab");
    not_text.pop();
    not_text.push(0xFF);
    assert_eq!(refused(&to, &not_text), "properties of a message in a batch are not text");
    let prepared = SendHeader { sys_flag: 4, ..header("t", 1) };
    let refusal = encode::encode_batch(&origin(&prepared), &good, 1_000).expect_err("refused");
    assert_eq!(refusal.code, response::MESSAGE_ILLEGAL, "a batch cannot be part of a transaction");
    let many: Vec<&[u8]> = vec![b""; 32_769];
    let many = batch_of(&many, "");
    let refusal = encode::encode_batch(&origin(&to), &many, many.len()).expect_err("too many");
    assert_eq!(refusal.remark, "batch of more than 32768 messages");
}

#[test]
fn each_message_gets_the_next_place_of_its_queue_and_carries_it() {
    let to = header("t", 1);
    let mut state = StoreState::unwritten(0);
    let mut until = 0;
    for number in 0..3 {
        let origin = origin(&to);
        let fields = origin.fields(7, b"body", [b"TAGS\x01a", b"", b""]);
        let slot = state.queue_slot("t", 1);
        let message = store::store_state::Append {
            slot,
            bytes: fields.encoded_len(),
            tags_code: 5,
            keys: &[],
        };
        let appended = append::append_fields(&mut state, message, &fields, 1, NOW).expect("room");
        assert_eq!((appended.sent.queue_id, appended.sent.queue_offset), (1, number));
        assert!(appended.sent.more.is_none());
        assert!(appended.until > until, "acknowledged behind it");
        until = appended.until;
    }
    commit(&mut state);
    let entries = state.queue("t", 1).expect("three messages");
    assert_eq!((entries.min(), entries.max()), (0, 3));
    for offset in 0..3 {
        let entry = entries.get(offset).expect("in memory");
        let mut record = vec![0; entry.bytes() as usize];
        assert!(state.log.ring().holds(entry.position(), record.len()));
        state.log.ring().copy_to(entry.position(), &mut record);
        let view = RecordView::parse(&record).expect("a record");
        assert_eq!((view.topic(), view.queue_offset(), view.store_timestamp()), ("t", offset, NOW));
        assert_eq!((view.flag(), view.body()), (7, &b"body"[..]));
    }
}

/// Records that travel to their queue's worker while their topic is deleted.
#[test]
fn a_late_append_does_not_bring_a_deleted_topic_back() {
    let op = |admitted_at| AppendOp {
        arrived: std::time::Instant::now(),
        responder: responder(1),
        shard: 0,
        topic: "t".into(),
        queue_id: 0,
        admitted_at,
        records: Vec::new(),
        parts: RecordParts::One(0),
    };
    let mut control = control();
    control.update_topic(NOW, topic("t", |_| ())).expect("a good topic");
    let there = control.saved_effects().publish.expect("a snapshot");
    let at = there.topics_version;
    assert!(!is_deleted(&there, &op(at)));
    control.update_topic(NOW, topic("u", |_| ())).expect("a good topic");
    let other = control.saved_effects().publish.expect("a snapshot");
    assert!(other.topics_version > at && !is_deleted(&other, &op(at)), "another one has changed");
    assert!(!is_deleted(&there, &op(other.topics_version)), "its sender knows more");
    control.delete_topic(NOW, "t").expect("a good name");
    let gone = control.saved_effects().publish.expect("a snapshot");
    assert!(is_deleted(&gone, &op(at)) && is_deleted(&gone, &op(other.topics_version)));
}
