//! Pulls without a socket and without a disk: what the checks say, and what becomes of a pull on its shard.

use super::{
    admit,
    plan::{self, Outcome},
};
use crate::{
    config::BrokerConfig,
    control::{MessageFilter, MetadataSnapshot},
    error::Refusal,
    expressions::Expressions,
    handlers::client_lifecycle,
    handlers::fixtures::{
        NOW, UPTIME, append_tagged, commit, control, metadata, pull, responder,
        state_with_messages, with_request,
    },
    ops::{Pull, PullOp},
    request::Request,
    shard::parked::Parked,
};
use proto::{
    body::{SubscriptionGroupConfig, TopicConfig},
    code::{request, response},
    request::PullHeader,
};
use runtime::Uptime;
use std::sync::Arc;
use store::{PullPlan, StoreState, read::Planned};

/// Flags of a pull that may be suspended, commits, and brings its subscription.
const SUSPEND: &str = "2";
const COMMIT_AND_SUBSCRIPTION: &str = "5";

fn check(metadata: &MetadataSnapshot, fields: &[(&str, &str)]) -> Result<Pull, Refusal> {
    check_with(&BrokerConfig::default(), metadata, fields)
}

fn check_with(
    config: &BrokerConfig,
    metadata: &MetadataSnapshot,
    fields: &[(&str, &str)],
) -> Result<Pull, Refusal> {
    let mut ext = vec![
        ("consumerGroup", "g"),
        ("topic", "t"),
        ("queueId", "1"),
        ("queueOffset", "5"),
        ("maxMsgNums", "32"),
        ("sysFlag", COMMIT_AND_SUBSCRIPTION),
        ("commitOffset", "4"),
        ("suspendTimeoutMillis", "15000"),
        ("subscription", "*"),
        ("subVersion", "0"),
    ];
    for (name, value) in fields {
        ext.retain(|(other, _)| other != name);
        ext.push((name, value));
    }
    with_request(request::PULL_MESSAGE, &ext, b"", |request| {
        let header = PullHeader::from_ext(&request.header.ext)?;
        admit::check(config, 4, metadata, &Expressions::default(), &header)
    })
}

fn refused(result: Result<Pull, Refusal>) -> (i32, String) {
    let refusal = result.err().expect("refused");
    (refusal.code, refusal.remark)
}

#[test]
fn a_pull_that_is_admitted_knows_its_queue_its_limits_and_its_commit() {
    let metadata = metadata(|_, _| ());
    let pull = check(&metadata, &[("maxMsgNums", "100000")]).expect("admitted");
    assert_eq!((pull.queue_id, pull.offset), (1, 5));
    assert_eq!(pull.count_max, BrokerConfig::default().max_transfer_count_on_message_in_memory);
    assert_eq!(pull.suspend_ms, 0, "it did not ask for it");
    assert_eq!((&*pull.group.group_name, pull.commit), ("g", Some(4)));
    let pull = check(&metadata, &[("sysFlag", "6"), ("commitOffset", "-1")]);
    let pull = pull.expect("admitted");
    assert_eq!(pull.suspend_ms, 15_000);
    assert!(pull.commit.is_none());
}

#[test]
fn who_may_not_pull_is_told_why() {
    let everything = metadata(|_, _| ());
    let (code, remark) = refused(check(&everything, &[("consumerGroup", "other")]));
    assert_eq!(code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
    assert_eq!(remark, "subscription group [other] does not exist");
    assert_eq!(refused(check(&everything, &[("topic", "no")])).0, response::TOPIC_NOT_EXIST);
    let (code, remark) = refused(check(&everything, &[("queueId", "16")]));
    assert_eq!(code, response::SYSTEM_ERROR);
    assert_eq!(remark, "queueId[16] is illegal, topic:[t] topicConfig.readQueueNums:[16]");
    let idle = metadata(|_, group| group.consume_enable = false);
    assert_eq!(refused(check(&idle, &[])).0, response::NO_PERMISSION);
    let write_only = metadata(|topic, _| topic.perm = 2);
    assert_eq!(
        refused(check(&write_only, &[])),
        (response::NO_PERMISSION, "the topic[t] pulling message is forbidden".to_owned())
    );
}

#[test]
fn without_a_subscription_in_the_request_the_group_has_to_be_online() {
    let metadata = metadata(|_, _| ());
    let (code, remark) = refused(check(&metadata, &[("sysFlag", SUSPEND)]));
    assert_eq!(code, response::SUBSCRIPTION_NOT_EXIST);
    assert_eq!(remark, "the consumer's group info not exist, group=g");
}

#[test]
fn a_pull_may_bring_an_expression_unless_that_is_switched_off() {
    let metadata = metadata(|_, _| ());
    let sql = [("expressionType", "SQL92"), ("subscription", "a > 1")];
    let pull = check(&metadata, &sql).expect("admitted");
    assert!(matches!(pull.filter, MessageFilter::Sql(_)));
    let off = BrokerConfig { enable_property_filter: false, ..BrokerConfig::default() };
    let (code, remark) = refused(check_with(&off, &metadata, &sql));
    assert_eq!(code, response::SYSTEM_ERROR);
    assert_eq!(remark, "The broker does not support consumer to filter message by SQL92");
    for (expression_type, text, why) in [
        ("SQL92", "a >", "the subscription \"a >\" of topic t is no filter: the end at byte 3"),
        ("SQL", "a > 1", "neither TAG nor SQL92"),
    ] {
        let fields = [("expressionType", expression_type), ("subscription", text)];
        let (code, remark) = refused(check(&metadata, &fields));
        assert_eq!(code, response::SUBSCRIPTION_PARSE_FAILED);
        assert!(remark.contains(why), "{remark}");
    }
}

#[test]
fn the_expression_of_a_heartbeat_filters_the_pulls_of_its_group() {
    let subscribed = |text: &str| {
        let mut control = control();
        let topic = TopicConfig { topic_name: "t".to_owned(), perm: 6, ..TopicConfig::default() };
        control.update_topic(NOW, topic).expect("a good topic");
        let body = format!(
            r#"{{"clientID":"c","consumerDataSet":[{{"groupName":"g","messageModel":"CLUSTERING",
            "subscriptionDataSet":[{{"expressionType":"SQL92","subString":"{text}","subVersion":1,"topic":"t"}}]}}]}}"#
        );
        let beat = |request: &Request<'_>| client_lifecycle::heartbeat(&mut control, request);
        with_request(request::HEART_BEAT, &[], body.as_bytes(), beat).expect("taken in");
        control.saved_effects().publish.expect("a snapshot")
    };
    let pull = check(&subscribed("a > 1"), &[("sysFlag", SUSPEND)]).expect("admitted");
    let MessageFilter::Sql(filter) = pull.filter else { panic!("an expression") };
    assert!(filter.matches(b"a\x012"));
    let (code, remark) = refused(check(&subscribed("a >"), &[("sysFlag", SUSPEND)]));
    assert_eq!(code, response::FILTER_DATA_NOT_EXIST, "not everything, as long as it is wrong");
    assert!(remark.contains("the end at byte 3"), "{remark}");
}

#[test]
fn what_a_group_failed_is_filtered_again_only_if_that_is_switched_on() {
    let subscribed = |text: &str| {
        let mut control = control();
        let body = format!(
            r#"{{"clientID":"c","consumerDataSet":[{{"groupName":"g","messageModel":"CLUSTERING","subscriptionDataSet":[
            {{"subString":"{text}","subVersion":1,"topic":"t"}},
            {{"subString":"*","subVersion":1,"topic":"%RETRY%g"}}]}}]}}"#
        );
        let beat = |request: &Request<'_>| client_lifecycle::heartbeat(&mut control, request);
        with_request(request::HEART_BEAT, &[], body.as_bytes(), beat).expect("taken in");
        let topic = TopicConfig { topic_name: "t".to_owned(), ..TopicConfig::default() };
        control.update_topic(NOW, topic).expect("a good topic");
        control.saved_effects().publish.expect("a snapshot")
    };
    let on = BrokerConfig { filter_support_retry: true, ..BrokerConfig::default() };
    let filter = |config: &BrokerConfig, text: &str, fields: &[(&str, &str)]| {
        let usual = [("topic", "%RETRY%g"), ("queueId", "0"), ("sysFlag", SUSPEND)];
        let all = usual.iter().filter(|(name, _)| fields.iter().all(|(other, _)| other != name));
        let all: Vec<_> = all.chain(fields).copied().collect();
        check_with(config, &subscribed(text), &all).expect("admitted").filter
    };
    assert_eq!(filter(&BrokerConfig::default(), "a", &[]), MessageFilter::All);
    assert!(matches!(filter(&on, "a", &[]), MessageFilter::Retried(_)));
    assert_eq!(filter(&on, "*", &[]), MessageFilter::All, "nothing is left out");
    let own = [("sysFlag", COMMIT_AND_SUBSCRIPTION), ("subscription", "b")];
    assert_eq!(filter(&on, "a", &own), MessageFilter::of(["b"]), "it names a filter itself");
    assert!(matches!(filter(&on, "a", &own[..1]), MessageFilter::Retried(_)), "it names none");
    assert_eq!(filter(&on, "a", &[("topic", "t")]), MessageFilter::of(["a"]));
}

fn code(outcome: &Outcome) -> i32 {
    match outcome {
        Outcome::Nothing(pulled) => pulled.code,
        Outcome::Found(_) => response::SUCCESS,
        Outcome::Wait(_) | Outcome::OnDisk => panic!("it is not answered"),
    }
}

#[test]
fn the_offset_decides_what_becomes_of_a_pull() {
    let mut state = state_with_messages(&[("t", 0, 3)]);
    let mut at = |offset, can_wait| plan::first(&mut state, &mut pull("t", offset), can_wait);
    assert!(matches!(at(0, true), Outcome::Found(plan) if plan.pieces.len() == 3));
    assert!(matches!(at(3, true), Outcome::Wait(_)), "at the end");
    assert_eq!(code(&at(3, false)), response::PULL_NOT_FOUND);
    assert_eq!(code(&at(4, true)), response::PULL_OFFSET_MOVED);
    assert_eq!(code(&at(-1, true)), response::PULL_OFFSET_MOVED);
    let mut nowhere = |offset| plan::first(&mut state, &mut pull("never", offset), true);
    assert!(matches!(nowhere(0), Outcome::Wait(_)));
    assert_eq!(code(&nowhere(7)), response::PULL_OFFSET_MOVED);
}

#[test]
fn the_offset_that_a_pull_brings_is_committed_before_it_looks() {
    let mut state = StoreState::unwritten(0);
    let group = SubscriptionGroupConfig {
        group_name: "g".to_owned(),
        ..SubscriptionGroupConfig::default()
    };
    let mut wanted = Pull { group: Arc::new(group), commit: Some(9), ..pull("t", 0) };
    plan::first(&mut state, &mut wanted, false);
    assert_eq!(state.derived.group_offsets.get("g", "t", 0), Some(9));
    assert!(wanted.commit.is_none(), "once");
}

fn parked(offset: i64, deadline: Uptime, tags: Option<&str>) -> Parked {
    let filter = tags.map_or(MessageFilter::All, |tags| MessageFilter::of([tags]));
    let op = PullOp {
        responder: responder(1),
        pull: Pull { filter, ..pull("t", offset) },
        transfer_budget: None,
    };
    Parked { op, first_offset: offset, deadline }
}

#[test]
fn a_parked_pull_steps_over_what_does_not_match_and_says_so_at_its_end() {
    let mut state = StoreState::unwritten(0);
    for _ in 0..2 {
        append_tagged(&mut state, "t", 0, 1);
    }
    commit(&mut state);
    let mut waiting = parked(0, UPTIME + 10, Some("a"));
    assert!(matches!(plan::again(&state, &mut waiting, UPTIME, &mut None), Outcome::Wait(_)));
    assert_eq!(waiting.op.pull.offset, 2, "it is not looked at again");
    let Outcome::Nothing(pulled) = plan::give_up(&state, &waiting) else { panic!("nothing came") };
    assert_eq!((pulled.code, pulled.next_offset), (response::PULL_RETRY_IMMEDIATELY, 2));
    append_tagged(&mut state, "t", 0, i64::from(proto::record::string_hash("a")));
    commit(&mut state);
    assert!(matches!(plan::again(&state, &mut waiting, UPTIME, &mut None), Outcome::Found(_)));
}

/// Many pulls that wait for one queue look at what does not match once: with what the first one passed, another one goes on
/// behind it although nothing is there to be looked at.
#[test]
fn what_one_parked_pull_has_passed_others_like_it_do_not_look_at() {
    let full = state_with_messages(&[("t", 0, 1), ("t", 0, 1), ("t", 0, 1)]);
    let mut passed = None;
    let mut first = parked(0, UPTIME + 10, Some("a"));
    assert!(matches!(plan::again(&full, &mut first, UPTIME, &mut passed), Outcome::Wait(_)));
    let empty = StoreState::unwritten(0);
    let mut goes_on_at = |mut pull: Parked| {
        plan::again(&empty, &mut pull, UPTIME, &mut passed);
        pull.op.pull.offset
    };
    assert_eq!(goes_on_at(parked(0, UPTIME + 10, Some("a"))), 3);
    assert_eq!(goes_on_at(parked(1, UPTIME + 10, Some("a"))), 3);
    assert_eq!(goes_on_at(parked(0, UPTIME + 10, Some("b"))), 0, "another filter");
    assert_eq!(goes_on_at(parked(0, UPTIME + 10, None)), 0, "no filter");
    assert_eq!(
        goes_on_at(parked(0, UPTIME, Some("a"))),
        0,
        "its time is over: it says what is there"
    );
    let mut elsewhere = parked(0, UPTIME + 10, Some("a"));
    elsewhere.op.pull.queue_id = 1;
    assert_eq!(goes_on_at(elsewhere), 0, "another queue");
}

#[test]
fn a_parked_pull_whose_time_is_over_waits_no_more() {
    let state = state_with_messages(&[("t", 0, 1)]);
    let mut late = parked(1, UPTIME, None);
    assert_eq!(code(&plan::again(&state, &mut late, UPTIME, &mut None)), response::PULL_NOT_FOUND);
    assert_eq!(code(&plan::give_up(&state, &late)), response::PULL_NOT_FOUND);
    let in_time = parked(0, UPTIME, None);
    assert!(matches!(plan::give_up(&state, &in_time), Outcome::Found(_)), "they came meanwhile");
}

/// The plan of a pull that finds nothing now.
fn nothing_planned(state: &StoreState, parked: &Parked) -> PullPlan {
    let pull = &parked.op.pull;
    let matches = |code| pull.filter.matches(code);
    let topic = &pull.topic.topic_name;
    match state.plan_pull(topic, 0, plan::limits(pull), Vec::new(), matches) {
        Planned::Now(plan) => plan,
        Planned::OnDisk => panic!("it is in memory"),
    }
}

/// As when its entries had left memory: the disk gives it no new time to wait.
#[test]
fn a_parked_pull_keeps_its_deadline_over_the_disk() {
    let state = state_with_messages(&[("t", 0, 2)]);
    let late = parked(2, UPTIME, None);
    let outcome = plan::from_disk(&late, nothing_planned(&state, &late), UPTIME);
    assert_eq!(code(&outcome), response::PULL_NOT_FOUND);
    let outcome = plan::from_disk(&late, nothing_planned(&state, &late), UPTIME - 1);
    assert!(matches!(outcome, Outcome::Wait(_)), "a millisecond is left");
    let passed = Parked { first_offset: 0, ..parked(2, UPTIME, None) };
    let outcome = plan::from_disk(&passed, nothing_planned(&state, &passed), UPTIME);
    assert_eq!(code(&outcome), response::PULL_RETRY_IMMEDIATELY, "it goes on behind what passed");
}

#[test]
fn limits_are_the_smaller_of_what_is_asked_and_what_is_allowed() {
    let (config, metadata) = (BrokerConfig::default(), metadata(|_, _| ()));
    let limits = |count, bytes| {
        let fields = [("maxMsgNums", count), ("maxMsgBytes", bytes)];
        let pull = check_with(&config, &metadata, &fields).expect("admitted");
        (pull.count_max, pull.bytes_max)
    };
    let bytes_max = config.max_transfer_bytes_on_message_in_memory;
    assert_eq!(limits("5", "100"), (5, 100));
    assert_eq!(limits("0", "0"), (1, bytes_max), "one message at least");
    assert_eq!(limits("-3", "-1"), (1, bytes_max));
    let most = (config.max_transfer_count_on_message_in_memory, bytes_max);
    assert_eq!(limits("2147483647", "2147483647"), most);
}

#[test]
fn a_pull_waits_as_long_as_the_broker_allows() {
    let metadata = metadata(|_, _| ());
    let wait = |config: &BrokerConfig, asked| {
        let fields = [("sysFlag", "6"), ("suspendTimeoutMillis", asked)];
        check_with(config, &metadata, &fields).expect("admitted").suspend_ms
    };
    let long = BrokerConfig::default();
    assert_eq!(wait(&long, "15000"), 15_000);
    assert_eq!(wait(&long, "9223372036854775807"), 60_000);
    assert_eq!(wait(&long, "-1"), 0);
    let short = BrokerConfig { long_polling_enable: false, ..BrokerConfig::default() };
    assert_eq!(wait(&short, "15000"), short.short_polling_time_ms as i64);
}

#[test]
fn a_broker_that_may_not_be_read_answers_no_pull() {
    let config = BrokerConfig { broker_permission: 2, ..BrokerConfig::default() };
    let metadata =
        crate::control::Control::new(&config, NOW).saved_effects().publish.expect("a snapshot");
    let (code, remark) = refused(check_with(&config, &metadata, &[]));
    assert_eq!(code, response::NO_PERMISSION);
    let expected = format!("the broker[{}] pulling message is forbidden", config.broker_name);
    assert_eq!(remark, expected);
}

#[test]
fn a_subscription_that_names_no_tag_is_refused() {
    let metadata = metadata(|_, _| ());
    let (code, remark) =
        refused(check_with(&BrokerConfig::default(), &metadata, &[("subscription", "||")]));
    assert_eq!(code, response::SUBSCRIPTION_PARSE_FAILED);
    assert_eq!(remark, "the subscription \"||\" of topic t names no tag");
}

/// Metadata after a heartbeat of group `g` on topic `t` with version 5.
fn online(model: &str, broadcast_allowed: bool) -> Arc<MetadataSnapshot> {
    let mut control = control();
    for topic_name in ["t", "u"] {
        let topic = TopicConfig { topic_name: topic_name.to_owned(), ..TopicConfig::default() };
        control.update_topic(NOW, topic).expect("a good topic");
    }
    let group = SubscriptionGroupConfig {
        group_name: "g".to_owned(),
        consume_broadcast_enable: broadcast_allowed,
        ..SubscriptionGroupConfig::default()
    };
    control.update_group(NOW, group).expect("a good group");
    let heartbeat = format!(
        r#"{{"clientID":"c1","consumerDataSet":[{{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",
        "consumeType":"CONSUME_PASSIVELY","groupName":"g","messageModel":"{model}",
        "subscriptionDataSet":[{{"classFilterMode":false,"codeSet":[],"expressionType":"TAG",
        "subString":"a","subVersion":5,"tagsSet":["a"],"topic":"t"}}],"unitMode":false}}],
        "producerDataSet":[]}}"#
    );
    with_request(request::HEART_BEAT, &[], heartbeat.as_bytes(), |request| {
        crate::handlers::client_lifecycle::heartbeat(&mut control, request)
    })
    .expect("a good heartbeat");
    control.saved_effects().publish.expect("a snapshot")
}

#[test]
fn an_online_group_pulls_by_its_heartbeat() {
    let (config, metadata) = (BrokerConfig::default(), online("CLUSTERING", true));
    let check = |fields: &[(&str, &str)]| {
        let fields = [&[("sysFlag", SUSPEND)][..], fields].concat();
        check_with(&config, &metadata, &fields)
    };
    let pull = check(&[("subVersion", "5")]).expect("subscribed");
    assert!(pull.filter.matches(i64::from(proto::record::string_hash("a"))));
    assert!(!pull.filter.matches(i64::from(proto::record::string_hash("b"))));
    let newer = refused(check(&[("subVersion", "6")]));
    assert_eq!(
        newer,
        (response::SUBSCRIPTION_NOT_LATEST, "the consumer's subscription not latest".to_owned())
    );
    let (code, remark) = refused(check(&[("topic", "u")]));
    assert_eq!(code, response::SUBSCRIPTION_NOT_EXIST);
    assert_eq!(remark, "the consumer's subscription not exist, group=g");
}

#[test]
fn broadcasting_has_to_be_allowed() {
    let config = BrokerConfig::default();
    let check = |allowed| {
        let metadata = online("BROADCASTING", allowed);
        check_with(&config, &metadata, &[("sysFlag", SUSPEND)])
    };
    assert!(check(true).is_ok());
    let (code, remark) = refused(check(false));
    assert_eq!(code, response::NO_PERMISSION);
    assert_eq!(remark, "the consumer group[g] can not consume by broadcast way");
}

#[test]
fn a_pull_gets_no_more_than_it_asked_for_and_always_one() {
    let mut state = state_with_messages(&[("t", 0, 5)]);
    let mut found = |count_max, bytes_max| {
        let mut wanted = Pull { count_max, bytes_max, ..pull("t", 1) };
        match plan::first(&mut state, &mut wanted, true) {
            Outcome::Found(plan) => (plan.pieces.len(), plan.next_offset),
            _ => panic!("there are messages"),
        }
    };
    assert_eq!(found(2, 65_536), (2, 3));
    assert_eq!(found(32, 200), (2, 3));
    assert_eq!(found(32, 1), (1, 2), "one message always fits");
    assert_eq!(found(32, 65_536), (4, 5));
}

#[test]
fn what_does_not_match_is_passed_over_and_answered_at_once() {
    let mut state = StoreState::unwritten(0);
    for tags_code in [1, 1, i64::from(proto::record::string_hash("a")), 1] {
        append_tagged(&mut state, "t", 0, tags_code);
    }
    commit(&mut state);
    let mut first = |offset| {
        let filter = parked(0, UPTIME, Some("a")).op.pull.filter;
        plan::first(&mut state, &mut Pull { filter, ..pull("t", offset) }, true)
    };
    let Outcome::Found(found) = first(0) else { panic!("the third matches") };
    assert_eq!((found.pieces.len(), found.next_offset), (1, 4));
    let Outcome::Nothing(passed) = first(3) else { panic!("the last does not match") };
    assert_eq!((passed.code, passed.next_offset), (response::PULL_RETRY_IMMEDIATELY, 4));
}

#[test]
fn only_who_may_wait_and_wants_to_is_parked() {
    let mut state = state_with_messages(&[("t", 0, 1)]);
    let mut becomes = |suspend_ms, can_wait| {
        let mut wanted = Pull { suspend_ms, ..pull("t", 1) };
        matches!(plan::first(&mut state, &mut wanted, can_wait), Outcome::Wait(_))
    };
    assert!(becomes(1, true));
    assert!(!becomes(0, true));
    assert!(!becomes(1, false), "nobody waits for the answer");
}
