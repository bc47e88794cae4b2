//! Pops without a socket and without a disk: what the checks say, and what the answer says.

use super::{
    admit::{self, Pop},
    answer,
    take::{Taken, TakenQueue},
};
use crate::{
    config::BrokerConfig,
    control::{MessageFilter, MetadataSnapshot},
    error::Refusal,
    expressions::Expressions,
    handlers::fixtures::{self, NOW, with_request},
    response::Response,
};
use proto::{
    body::{SubscriptionGroupConfig, TopicConfig},
    code::{request, response},
    request::PopHeader,
};
use std::sync::Arc;

/// With four queues.
fn metadata(
    change: impl FnOnce(&mut TopicConfig, &mut SubscriptionGroupConfig),
) -> Arc<MetadataSnapshot> {
    fixtures::metadata(|topic, group| {
        topic.read_queue_nums = 4;
        change(topic, group);
    })
}

fn check_with(
    config: &BrokerConfig,
    metadata: &MetadataSnapshot,
    fields: &[(&str, &str)],
) -> Result<Pop, Refusal> {
    let usual = [
        ("consumerGroup", "g"),
        ("topic", "t"),
        ("queueId", "-1"),
        ("maxMsgNums", "32"),
        ("invisibleTime", "60000"),
        ("pollTime", "15000"),
        ("initMode", "0"),
    ];
    let is_changed = |name: &str| fields.iter().any(|(other, _)| *other == name);
    let mut ext: Vec<_> = usual.into_iter().filter(|(name, _)| !is_changed(name)).collect();
    ext.extend(fields);
    with_request(request::POP_MESSAGE, &ext, b"", |request| {
        let header = PopHeader::from_ext(&request.header.ext)?;
        admit::check(config, metadata, &Expressions::default(), &header, request.now)
    })
}

fn check(fields: &[(&str, &str)]) -> Result<Pop, Refusal> {
    check_with(&BrokerConfig::default(), &metadata(|_, _| ()), fields)
}

fn code(checked: Result<Pop, Refusal>) -> i32 {
    checked.map_or_else(|refusal| refusal.code, |_| response::SUCCESS)
}

#[test]
fn a_pop_that_is_admitted_knows_what_it_may_take_and_how_long_it_may_wait() {
    let pop = check(&[]).expect("good");
    assert_eq!((pop.queue_id, pop.count_max, pop.invisible_ms), (None, 32, 60_000));
    assert_eq!((pop.wait_ms, pop.in_order, pop.from_max), (15_000, false, false));
    assert_eq!(pop.filter, MessageFilter::All);
    let born = (NOW - 5_000).to_string();
    let fields = [
        ("queueId", "3"),
        ("bornTime", &born),
        ("initMode", "1"),
        ("order", "true"),
        ("attemptId", "a"),
    ];
    let pop = check(&fields).expect("good");
    assert_eq!((pop.queue_id, pop.wait_ms, pop.from_max), (Some(3), 10_000, true));
    assert_eq!((pop.in_order, pop.attempt.as_deref()), (true, Some("a")));
    assert_eq!(check(&[("pollTime", "0")]).expect("good").wait_ms, 0);
    let for_ever = i64::MAX.to_string();
    assert_eq!(check(&[("pollTime", &for_ever)]).expect("good").wait_ms, 60_000);
    assert_eq!(check(&[("maxMsgNums", "0")]).expect("good").count_max, 0);
}

#[test]
fn who_may_not_pop_is_told_why() {
    let late = (NOW - 15_501).to_string();
    for (fields, expected) in [
        ([("bornTime", late.as_str())], response::POLLING_TIMEOUT),
        ([("maxMsgNums", "33")], response::INVALID_PARAMETER),
        ([("maxMsgNums", "-1")], response::INVALID_PARAMETER),
        ([("topic", "u")], response::TOPIC_NOT_EXIST),
        ([("queueId", "4")], response::INVALID_PARAMETER),
        ([("consumerGroup", "h")], response::SUBSCRIPTION_GROUP_NOT_EXIST),
        ([("invisibleTime", "0")], response::INVALID_PARAMETER),
        ([("invisibleTime", "86400001")], response::INVALID_PARAMETER),
        ([("exp", "||")], response::SUBSCRIPTION_PARSE_FAILED),
    ] {
        assert_eq!(code(check(&fields)), expected, "{fields:?}");
    }
    let config = BrokerConfig::default();
    let unreadable = metadata(|topic, _| topic.perm = 2);
    assert_eq!(code(check_with(&config, &unreadable, &[])), response::NO_PERMISSION);
    let disabled = metadata(|_, group| group.consume_enable = false);
    assert_eq!(code(check_with(&config, &disabled, &[])), response::NO_PERMISSION);
}

#[test]
fn a_pop_brings_its_filter() {
    let tags = check(&[("expType", "TAG"), ("exp", "a || b")]).expect("good");
    assert!(matches!(tags.filter, MessageFilter::Hashes(_)));
    let sql = [("expType", "SQL92"), ("exp", "a > 1")];
    assert!(matches!(check(&sql).expect("good").filter, MessageFilter::Sql(_)));
    let empty = check(&[("expType", "SQL92"), ("exp", "")]).expect("good");
    assert_eq!(empty.filter, MessageFilter::All, "as Java: nothing asks for everything");
    let off = BrokerConfig { enable_property_filter: false, ..BrokerConfig::default() };
    let refused = check_with(&off, &metadata(|_, _| ()), &sql);
    assert_eq!(code(refused), response::SYSTEM_ERROR);
    let wrong = check(&[("expType", "SQL92"), ("exp", "a >")]);
    assert_eq!(code(wrong), response::SUBSCRIPTION_PARSE_FAILED);
}

/// The fields of an answer to a pop of two queues.
fn fields(in_order: bool) -> Vec<(&'static str, String)> {
    let order = if in_order { "true" } else { "false" };
    let pop = check(&[("order", order)]).expect("good");
    let queues = vec![
        TakenQueue { queue_id: 3, start: 6, messages: vec![(7, 2), (8, 0), (12, 0)] },
        TakenQueue { queue_id: 0, start: 5, messages: vec![(5, 1)] },
    ];
    let taken = Taken { queues, popped_at: 17, rest: 4, ..Taken::default() };
    match answer::found(&pop, taken) {
        Response::Popped(answer) => {
            assert_eq!((answer.code, &*answer.remark), (response::SUCCESS, "FOUND"));
            answer.fields
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_says_what_receipts_are_made_of() {
    let usual = [
        ("popTime", "17"),
        ("invisibleTime", "60000"),
        ("reviveQid", "0"),
        ("restNum", "4"),
        ("startOffsetInfo", "0 3 6;0 0 5"),
        ("msgOffsetInfo", "0 3 7,8,12;0 0 5"),
    ];
    let expected = |fields: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
        fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    };
    assert_eq!(fields(false), expected(&usual));
    let mut in_order = usual.to_vec();
    in_order[2].1 = "999";
    in_order.push(("orderCountInfo", "0 qo3%7 2;0 3 0;0 qo0%5 1;0 0 1"));
    assert_eq!(fields(true), expected(&in_order));
}
