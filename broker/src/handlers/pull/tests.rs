//! Pulls without a socket and without a disk: what the checks say, and what becomes of a pull on its shard.

use super::{
    admit,
    plan::{self, Outcome},
};
use crate::{
    config::BrokerConfig,
    control::{MetadataSnapshot, Subscription},
    error::Refusal,
    handlers::fixtures::{
        NOW, append_tagged, commit, control, pull, responder, state_with_messages, with_request,
    },
    ops::{Filter, Pull, PullOp},
    shard::parked::Parked,
};
use proto::{
    body::{SubscriptionGroupConfig, TopicConfig},
    code::{request, response},
    request::PullHeader,
};
use std::sync::Arc;
use store::StoreState;

/// Flags of a pull that may be suspended, commits, and brings its subscription.
const SUSPEND: &str = "2";
const COMMIT_AND_SUBSCRIPTION: &str = "5";

fn metadata(
    change: impl FnOnce(&mut TopicConfig, &mut SubscriptionGroupConfig),
) -> Arc<MetadataSnapshot> {
    let mut topic = TopicConfig { topic_name: "t".to_owned(), perm: 6, ..TopicConfig::default() };
    let mut group = SubscriptionGroupConfig {
        group_name: "g".to_owned(),
        ..SubscriptionGroupConfig::default()
    };
    change(&mut topic, &mut group);
    let mut control = control();
    control.update_topic(NOW, topic).expect("a good topic");
    control.update_group(NOW, group).expect("a good group");
    control.effects().publish.expect("a snapshot")
}

fn check(metadata: &MetadataSnapshot, fields: &[(&str, &str)]) -> Result<Pull, Refusal> {
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
        admit::check(&BrokerConfig::default(), 4, metadata, &header)
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
    let (group, offset) = pull.commit.expect("it commits");
    assert_eq!((&*group.group_name, offset), ("g", 4));
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
    let sql = [("expressionType", "SQL92"), ("subscription", "a > 1")];
    assert_eq!(refused(check(&metadata, &sql)).1, Refusal::sql_unsupported().remark);
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
    let mut wanted = Pull { commit: Some((Arc::new(group), 9)), ..pull("t", 0) };
    plan::first(&mut state, &mut wanted, false);
    assert_eq!(state.derived.group_offsets.get("g", "t", 0), Some(9));
    assert!(wanted.commit.is_none(), "once");
}

fn parked(offset: i64, deadline: i64, tags: Option<&str>) -> Parked {
    let filter = tags.map_or(Filter::All, |tags| {
        let subscription = Subscription::from_pull("t", Some(tags), None, 0).expect("tags");
        Filter::of(Arc::new(subscription))
    });
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
    let mut waiting = parked(0, NOW + 10, Some("a"));
    assert!(matches!(plan::again(&state, &mut waiting, NOW), Outcome::Wait(_)));
    assert_eq!(waiting.op.pull.offset, 2, "it is not looked at again");
    let Outcome::Nothing(pulled) = plan::give_up(&state, &waiting) else { panic!("nothing came") };
    assert_eq!((pulled.code, pulled.next_offset), (response::PULL_RETRY_IMMEDIATELY, 2));
    append_tagged(&mut state, "t", 0, i64::from(proto::record::string_hash("a")));
    commit(&mut state);
    assert!(matches!(plan::again(&state, &mut waiting, NOW), Outcome::Found(_)));
}

#[test]
fn a_parked_pull_whose_time_is_over_waits_no_more() {
    let state = state_with_messages(&[("t", 0, 1)]);
    let mut late = parked(1, NOW, None);
    assert_eq!(code(&plan::again(&state, &mut late, NOW)), response::PULL_NOT_FOUND);
    assert_eq!(code(&plan::give_up(&state, &late)), response::PULL_NOT_FOUND);
    let in_time = parked(0, NOW, None);
    assert!(matches!(plan::give_up(&state, &in_time), Outcome::Found(_)), "they came meanwhile");
}
