//! Groups: made, changed, deleted (200, 207), their configuration (352, 201).

use crate::{
    ask::{Ask, commit, committed, send, update_group, with},
    case::{Case, Known, case},
};
use proto::code::request;
use serde_json::json;

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    ("name_of_300_characters", "make/code: ours 1, Java's 0", NAMES),
    ("name_with_a_blank", "make/code: ours 1, Java's 0", NAMES),
    ("names_that_are_illegal", "*", NAMES),
    (
        "configuration_that_is_an_array",
        "make/code: ours 1, Java's 0",
        "an array is no configuration; Java says it was done and does nothing",
    ),
    ("system_groups", "groups/CID_RMQ_SYS_TRANS: ours", "a group of 5.x"),
    ("configuration::java_5", "known/body/*: ours nothing", DEFAULTS),
    ("attributes_that_are_unknown", "get/", MADE),
    ("configuration_of_an_unknown_group", "*", MADE),
];

const NAMES: &str = "names that clients refuse make no groups";
const DEFAULTS: &str = "what was never said is left out; tools of 5.x have the same defaults";
const MADE: &str = "to ask for a group does not make it";

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [made(), deleted(), malformed(), of_5()].into_iter().flatten().collect()
}

/// A group's configuration as JSON.
fn put(text: &str) -> Ask {
    Ask::new(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).text(text)
}

fn made() -> Vec<Case> {
    vec![
        case("made", |p| {
            p.watch_group("<g>");
            p.ask("make", &update_group("<g>", ""));
        }),
        case("changed", |p| {
            p.group("<g>");
            p.ask(
                "change",
                &put(r#"{"groupName":"<g>","consumeEnable":false,"consumeFromMinEnable":false,"consumeBroadcastEnable":false,"retryQueueNums":3,"retryMaxTimes":2,"brokerId":1,"whichBrokerWhenConsumeSlowly":2,"notifyConsumerIdsChangedEnable":false}"#),
            );
        }),
        case("by_its_name_alone", |p| {
            p.watch_group("<g>");
            p.ask("make", &put(r#"{"groupName":"<g>"}"#));
        }),
        case("with_what_nobody_knows", |p| {
            p.watch_group("<g>");
            p.ask("make", &put(r#"{"groupName":"<g>","colour":"red","retryMaxTimes":5}"#));
        }),
        case("with_numbers_as_text", |p| {
            p.watch_group("<g>");
            p.ask(
                "make",
                &put(r#"{"groupName":"<g>","retryMaxTimes":"5","consumeEnable":"true"}"#),
            );
        }),
        case("with_negative_numbers", |p| {
            p.watch_group("<g>");
            p.ask("make", &put(r#"{"groupName":"<g>","retryMaxTimes":-1,"retryQueueNums":-1}"#));
        }),
        case("with_the_members_of_5", |p| {
            p.watch_group("<g>");
            p.ask(
                "make",
                &update_group("<g>", r#","consumeTimeoutMinute":7,"consumeMessageOrderly":true"#),
            );
        }),
        case("name_with_a_blank", |p| {
            p.ask("make", &update_group("a b", ""));
        }),
        case("name_of_300_characters", |p| {
            p.ask("make", &update_group(&"n".repeat(300), ""));
        }),
        case("system_group", |p| {
            p.ask("make", &update_group("TOOLS_CONSUMER", ""));
        }),
    ]
}

fn deleted() -> Vec<Case> {
    let delete = || with(request::DELETE_SUBSCRIPTIONGROUP, "groupName", "<g>");
    let consumed = |p: &mut crate::play::Play| {
        p.topic("<t>", 1);
        p.group("<g>");
        p.prepare_send(&send("<t>"));
        p.prepare(&commit("<t>", 1));
    };
    vec![
        case("deleted", move |p| {
            consumed(p);
            p.ask("delete", &delete());
            p.ask("committed", &committed("<t>"));
        }),
        case("deleted_with_its_offsets", move |p| {
            consumed(p);
            p.ask("delete", &delete().set("removeOffset", true));
            p.ask("committed", &committed("<t>"));
        }),
        case("deleted_with_its_offsets", move |p| {
            consumed(p);
            p.ask("delete", &delete().set("cleanOffset", true));
            p.ask("committed", &committed("<t>"));
        })
        .java5(),
        case("deleted_and_made_again", move |p| {
            consumed(p);
            p.ask("delete", &delete());
            p.ask("make", &update_group("<g>", ""));
            p.ask("committed", &committed("<t>"));
        }),
        case("unknown_deleted", move |p| {
            p.watch_group("<g>");
            p.ask("delete", &delete());
        }),
        case("empty_name_deleted", |p| {
            p.ask("empty", &with(request::DELETE_SUBSCRIPTIONGROUP, "groupName", ""));
            p.ask("absent", &Ask::new(request::DELETE_SUBSCRIPTIONGROUP).set("other", 1));
        }),
    ]
}

fn malformed() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, body) in [
        ("empty", ""),
        ("no_json", "garbage"),
        ("an_array", "[]"),
        ("an_empty_object", "{}"),
        ("a_text", r#""g""#),
        ("cut", r#"{"groupName":"<g>""#),
        ("wrong_in_a_number", r#"{"groupName":"<g>","retryMaxTimes":"many"}"#),
    ] {
        cases.push(case(format!("configuration_that_is_{name}"), move |p| {
            p.watch_group("<g>");
            p.ask("make", &put(body));
        }));
    }
    cases
}

fn of_5() -> Vec<Case> {
    let get = |group: &str| with(request::GET_SUBSCRIPTIONGROUP_CONFIG, "group", group);
    vec![
        case("configuration", move |p| {
            p.prepare(&update_group("<g>", ""));
            p.ask("known", &get("<g>"));
        })
        .java5(),
        case("configuration_of_an_unknown_group", move |p| {
            p.watch_group("<g>");
            p.ask("unknown", &get("<g>"));
            p.ask("illegal", &get("a b"));
        })
        .java5(),
        case("members_of_5", move |p| {
            let more = r#","consumeMessageOrderly":true,"groupSysFlag":1,"consumeTimeoutMinute":7,"groupRetryPolicy":{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":5000,"max":7200000,"multiplier":2}}"#;
            p.ask("make", &update_group("<g>", more));
            p.ask("get", &get("<g>"));
        })
        .java5(),
        case("attributes_that_are_unknown", move |p| {
            p.ask("make", &update_group("<g>", r#","attributes":{"+colour":"red"}"#));
            p.ask("get", &get("<g>"));
        })
        .java5(),
        case("names_that_are_illegal", |p| {
            p.ask("blank", &update_group("a b", ""));
            p.ask("empty", &update_group("", ""));
        })
        .java5(),
        case("system_groups", |p| {
            let all = p.prepare(&Ask::new(request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG)).json();
            let all = all.expect("JSON");
            let members: Vec<&String> = all.as_object().expect("an object").keys().collect();
            let mut table = all["subscriptionGroupTable"].clone();
            let table = table.as_object_mut().expect("a table");
            table.retain(|name, _| name.starts_with("CID_") || name.ends_with("_CONSUMER"));
            p.note("table", json!({ "members": members }));
            p.note("groups", json!(table));
        }),
    ]
}
