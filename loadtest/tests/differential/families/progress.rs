//! What tools ask of groups: how far they are (208, 317), what is counted (315), who consumes a topic (300), what a group consumes (343, 345), since when
//! (303); offsets copied (314) and reset (222); what is passed on to consumers (223, 307, 309).

use crate::{
    ask::{Ask, commit, committed, heartbeat, pull, send, subscription, with},
    case::{Case, Known, case},
    play::Play,
};
use loadtest::harness::wait_until;
use proto::code::request;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// What was counted is told by then.
const COUNTED_WITHIN: Duration = Duration::from_secs(30);

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    ("reset_of_a_group_online", "told/", RESET),
    ("reset_of_a_group_online", "state/group g/offsets of queue 0/t: ours 0, Java's 1", RESET),
    ("stats_without_a_group", "stats/", FIELDS),
    ("stats_of_an_unknown_group", "one/body/offsetTable/*/pullOffset: ours", PULLED),
    ("stats_of_a_topic_never_consumed", "stats/body/offsetTable/*/pullOffset: ours", PULLED),
    ("stats_of_one_topic::java_4", "stats/body/offsetTable/*/pullOffset: ours", PULLED),
    ("stats_of_all_topics", "stats/body/offsetTable/*/pullOffset: ours", PULLED),
    ("stats_of_a_group_online", "stats/body/offsetTable/*/pullOffset: ours", PULLED),
    ("stats_after_a_pull", "stats/body/offsetTable/*/pullOffset: ours", PULLED),
    ("stats_of_all_topics", "empty topic/body/offsetTable/*/pullOffset: ours", PULLED),
    ("stats_of_all_groups", "*/pullOffset: ours", PULLED),
    ("time_span_of_an_empty_topic", "span/", DERIVED),
    ("time_span", "span/", DERIVED),
    ("offsets_copied_from_an_unknown_group", "copy/code: ours 26, Java's 0", COPY),
    ("offsets_copied_of_an_unknown_topic", "copy/code: ours 17, Java's 0", COPY),
    ("offsets_copied_to_an_unknown_group", "*", COPY),
    ("offsets_copied_without_a_topic", "*", ALL),
    ("reset_to_the_end", "*SysFlag: ours nothing", UNITS),
    ("reset_of_an_unknown_topic::java_4", "reset/code: ours 17, Java's 1", RESET),
    ("reset_of_a_group_offline", "*", RESET),
    (
        "reset_of_a_queue_that_is_not_there",
        "reset/",
        "a queue that is not there is refused; Java says it was done",
    ),
    (
        "reset_to_an_offset_beyond_the_end",
        "*",
        "the offset behind the last message is the last one that can be; Java lets one more pass",
    ),
    ("reset_to_an_offset", "next pull/ext/*SysFlag: ours nothing", UNITS),
    ("reset_to_an_offset", r#"offset then/ext/offset: ours "2", Java's "1""#, UNTIL),
    ("reset_to_an_offset", "state/group g/offsets of queue 0/t: ours 2", UNTIL),
];

const FIELDS: &str = "a field is missing, which is refused by its name";
const PULLED: &str = "how far a group has pulled, which 5.x tools show";
const DERIVED: &str =
    "times as text are derived, and no tool reads them; without messages there is no delay";
const COPY: &str = "offsets are copied between groups and topics that there are";
const ALL: &str = "without a topic all are copied; Java copies none";
const UNITS: &str = "flags of units, which nothing here has";
const RESET: &str = "groups are reset in the broker, as in 5.x, online or not";
const UNTIL: &str = "commits are ignored until the group has pulled from where it was told to go, so that one under way does not undo the reset";

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [stats(), of_all_groups(), counted(), consumers(), copied(), reset(), passed_on()]
        .into_iter()
        .flatten()
        .collect()
}

/// Topic `t` of one queue with three messages, of which group `g` has consumed one.
fn consumed(p: &mut Play) {
    p.topic("<t>", 1);
    p.group("<g>");
    for _ in 0..3 {
        p.prepare_send(&send("<t>"));
    }
    p.prepare(&commit("<t>", 1));
}

fn online(p: &mut Play, topic: &str) {
    p.prepare(&heartbeat("<c>", &[subscription(topic, "TAG", "*", 1)]));
}

fn stats() -> Vec<Case> {
    let stats = || with(request::GET_CONSUME_STATS, "consumerGroup", "<g>");
    vec![
        case("stats_of_all_topics", move |p| {
            consumed(p);
            p.ask("stats", &stats());
            p.ask("empty topic", &stats().set("topic", ""));
        }),
        case("stats_of_one_topic", move |p| {
            consumed(p);
            p.ask("stats", &stats().set("topic", "<t>"));
        }),
        case("stats_of_one_topic", move |p| {
            consumed(p);
            p.ask("stats", &stats().set("topic", "<t>"));
            p.ask("two", &stats().set("topic", "").set("topicList", "<t>;<other>"));
        })
        .java5(),
        case("stats_of_an_unknown_topic", move |p| {
            consumed(p);
            p.ask("stats", &stats().set("topic", "<other>"));
        }),
        case("stats_of_a_topic_never_consumed", move |p| {
            p.topic("<t>", 2);
            p.group("<g>");
            p.ask("stats", &stats().set("topic", "<t>"));
        }),
        case("stats_of_an_unknown_group", move |p| {
            p.topic("<t>", 1);
            p.ask("all", &stats());
            p.ask("one", &stats().set("topic", "<t>"));
        }),
        case("stats_of_a_group_online", move |p| {
            consumed(p);
            online(p, "<t>");
            p.ask("stats", &stats());
        }),
        case("stats_of_a_group_that_wants_another_topic", move |p| {
            consumed(p);
            online(p, "<other>");
            p.ask("stats", &stats());
            p.ask("one", &stats().set("topic", "<t>"));
        }),
        case("stats_after_a_pull", move |p| {
            consumed(p);
            p.prepare(&pull("<t>", 1));
            p.ask("stats", &stats());
        }),
        case("stats_without_a_group", |p| {
            p.ask("stats", &Ask::new(request::GET_CONSUME_STATS).set("topic", "<t>"));
        }),
        case("time_span", |p| {
            consumed(p);
            let ask = with(request::QUERY_CONSUME_TIME_SPAN, "topic", "<t>").set("group", "<g>");
            p.ask("span", &ask);
        }),
        case("time_span_of_an_empty_topic", |p| {
            p.topic("<t>", 2);
            let ask = with(request::QUERY_CONSUME_TIME_SPAN, "topic", "<t>").set("group", "<g>");
            p.ask("span", &ask);
        }),
        case("time_span_of_an_unknown_topic", |p| {
            let ask = with(request::QUERY_CONSUME_TIME_SPAN, "topic", "<t>").set("group", "<g>");
            p.ask("span", &ask);
        }),
    ]
}

/// Of all groups only those of the case are compared.
fn note_own_groups(p: &mut Play, step: &str, is_order: &str) {
    let answer = p.prepare(&with(request::GET_BROKER_CONSUME_STATS, "isOrder", is_order));
    let list = p.json(&answer);
    let groups = list["consumeStatsList"].as_array().cloned().unwrap_or_default();
    let own = |name: &str| groups.iter().find_map(|group| group.get(name)).cloned();
    p.note(step, json!({ "g": own("g"), "h": own("h") }));
}

fn of_all_groups() -> Vec<Case> {
    vec![
        case("stats_of_all_groups", |p| {
            consumed(p);
            p.group("<h>");
            note_own_groups(p, "all", "false");
            note_own_groups(p, "in order", "true");
        }),
        case("stats_of_all_groups_online", |p| {
            consumed(p);
            online(p, "<other>");
            note_own_groups(p, "all", "false");
        }),
    ]
}

/// What was counted differs with the moment in which it is sampled: names are compared, and what does not exist. Java counts by
/// queue only what waits for its time.
fn counted() -> Vec<Case> {
    let view = |name: &str, key: &str| {
        with(request::VIEW_BROKER_STATS_DATA, "statsName", name).set("statsKey", key)
    };
    vec![
        case("counted", move |p| {
            consumed(p);
            p.prepare(&pull("<t>", 0));
            for (name, key) in [
                ("TOPIC_PUT_NUMS", "<t>"),
                ("TOPIC_PUT_SIZE", "<t>"),
                ("GROUP_GET_NUMS", "<t>@<g>"),
                ("GROUP_GET_SIZE", "<t>@<g>"),
                ("GROUP_GET_LATENCY", "0@<t>@<g>"),
                ("BROKER_PUT_NUMS", "DefaultCluster"),
                ("BROKER_GET_NUMS", "DefaultCluster"),
            ] {
                // Ours are a second old at most.
                wait_until(COUNTED_WITHIN, || p.try_to(&view(name, key)).code == 0);
                let answer = p.prepare(&view(name, key));
                let windows = p.json(&answer).as_object().cloned().unwrap_or_default();
                let names = |window: &Value| {
                    window.as_object().map(|it| it.keys().cloned().collect::<Vec<_>>())
                };
                let windows = windows.iter().map(|(name, window)| (name.clone(), names(window)));
                p.note(name, json!(windows.collect::<BTreeMap<_, _>>()));
            }
        }),
        case("counted_for_an_unknown_name_or_key", move |p| {
            p.topic("<t>", 1);
            p.ask("no traffic", &view("TOPIC_PUT_NUMS", "<t>"));
            p.ask("no group", &view("GROUP_GET_NUMS", "<t>@<g>"));
            p.ask("moments", &view("GROUP_GET_FALL_TIME", "0@<t>@<g>"));
            p.ask("no name", &view("COLOUR", "<t>"));
            p.ask(
                "without a key",
                &Ask::new(request::VIEW_BROKER_STATS_DATA).set("statsName", "x"),
            );
        }),
    ]
}

fn consumers() -> Vec<Case> {
    let who = |topic: &str| with(request::QUERY_TOPIC_CONSUME_BY_WHO, "topic", topic);
    let topics = || with(request::QUERY_TOPICS_BY_CONSUMER, "group", "<g>");
    let wanted =
        || with(request::QUERY_SUBSCRIPTION_BY_CONSUMER, "group", "<g>").set("topic", "<t>");
    vec![
        case("who_consumes_offline", move |p| {
            consumed(p);
            p.ask("who", &who("<t>"));
        }),
        case("who_consumes_online", move |p| {
            p.topic("<t>", 1);
            online(p, "<t>");
            p.ask("who", &who("<t>"));
        }),
        case("who_consumes_what_nobody_does", move |p| {
            p.topic("<t>", 1);
            p.ask("known", &who("<t>"));
            p.ask("unknown", &who("<other>"));
        }),
        case("topics_of_a_group", move |p| {
            consumed(p);
            p.ask("topics", &topics());
        })
        .java5(),
        case("topics_of_an_unknown_group", move |p| {
            p.ask("topics", &topics());
        })
        .java5(),
        case("subscription_of_a_group", move |p| {
            p.topic("<t>", 1);
            p.prepare(&heartbeat("<c>", &[subscription("<t>", "TAG", "a || b", 3)]));
            p.ask("subscription", &wanted());
        })
        .java5(),
        case("subscription_of_a_group_offline", move |p| {
            consumed(p);
            p.ask("subscription", &wanted());
        })
        .java5(),
    ]
}

fn copied() -> Vec<Case> {
    let copy = |offline: bool| {
        with(request::CLONE_GROUP_OFFSET, "srcGroup", "<g>")
            .set("destGroup", "<h>")
            .set("topic", "<t>")
            .set("offline", offline)
    };
    let of_h = || committed("<t>").set("consumerGroup", "<h>");
    vec![
        case("offsets_copied", move |p| {
            consumed(p);
            p.group("<h>");
            p.ask("copy", &copy(false));
            p.ask("offset", &of_h());
        }),
        case("offsets_copied_over_others", move |p| {
            consumed(p);
            p.group("<h>");
            p.prepare(&commit("<t>", 3).set("consumerGroup", "<h>"));
            p.ask("copy", &copy(false));
            p.ask("offset", &of_h());
        }),
        case("offsets_copied_to_an_unknown_group", move |p| {
            consumed(p);
            p.ask("copy", &copy(true));
            p.ask("offset", &of_h());
        }),
        case("offsets_copied_from_an_unknown_group", move |p| {
            p.topic("<t>", 1);
            p.group("<h>");
            p.ask("copy", &copy(false));
            p.ask("offset", &of_h());
        }),
        case("offsets_copied_of_an_unknown_topic", move |p| {
            consumed(p);
            p.group("<h>");
            p.ask("copy", &copy(false).set("topic", "<other>"));
        }),
        case("offsets_copied_without_a_topic", move |p| {
            consumed(p);
            p.group("<h>");
            p.ask("copy", &copy(false).without("topic"));
            p.ask("offset", &of_h());
        }),
    ]
}

/// INVOKE_BROKER_TO_RESET_OFFSET of group `g` on topic `t`.
fn reset_to(time: i64) -> Ask {
    with(request::INVOKE_BROKER_TO_RESET_OFFSET, "topic", "<t>")
        .set("group", "<g>")
        .set("timestamp", time)
        .set("isForce", true)
}

fn reset() -> Vec<Case> {
    vec![
        case("reset_to_the_end", |p| {
            consumed(p);
            p.ask("reset", &reset_to(-1));
            p.ask("offset", &committed("<t>"));
            p.ask("next pull", &pull("<t>", 1));
            p.ask("pull after it", &pull("<t>", 3));
        })
        .java5(),
        case("reset_to_the_beginning", |p| {
            consumed(p);
            p.ask("reset", &reset_to(0));
            p.ask("offset", &committed("<t>"));
        })
        .java5(),
        case("reset_to_an_offset", |p| {
            consumed(p);
            p.ask("reset", &reset_to(-1).set("queueId", 0).set("offset", 2));
            p.ask("offset", &committed("<t>"));
            p.ask("commit meanwhile", &commit("<t>", 1));
            p.ask("offset still", &committed("<t>"));
            p.ask("next pull", &pull("<t>", 1));
            p.ask("commit afterwards", &commit("<t>", 1));
            p.ask("offset then", &committed("<t>"));
        })
        .java5(),
        case("reset_to_an_offset_beyond_the_end", |p| {
            consumed(p);
            p.ask("reset", &reset_to(-1).set("queueId", 0).set("offset", 50));
            p.ask("negative", &reset_to(-1).set("queueId", 0).set("offset", -7));
            p.ask("one beyond", &reset_to(-1).set("queueId", 0).set("offset", 4));
            p.ask("offset", &committed("<t>"));
        })
        .java5(),
        case("reset_of_a_queue_that_is_not_there", |p| {
            consumed(p);
            p.ask("reset", &reset_to(-1).set("queueId", 9));
        })
        .java5(),
        case("reset_of_an_unknown_topic", |p| {
            p.group("<g>");
            p.ask("reset", &reset_to(-1));
        })
        .java5(),
        case("reset_of_an_unknown_group", |p| {
            p.topic("<t>", 1);
            p.ask("reset", &reset_to(-1));
        })
        .java5(),
        case("reset_of_a_group_that_never_consumed", |p| {
            p.topic("<t>", 2);
            p.group("<g>");
            p.prepare_send(&send("<t>"));
            p.ask("reset", &reset_to(-1));
            p.ask("offset", &committed("<t>"));
        })
        .java5(),
        case("reset_of_an_unknown_topic", |p| {
            p.group("<g>");
            p.ask("reset", &reset_to(-1));
        }),
        case("reset_of_a_group_offline", |p| {
            consumed(p);
            p.ask("reset", &reset_to(-1));
        }),
        case("reset_of_a_group_online", |p| {
            consumed(p);
            online(p, "<t>");
            p.ask("reset", &reset_to(0));
            p.note_asked("told", request::RESET_CONSUMER_CLIENT_OFFSET);
        }),
    ]
}

fn passed_on() -> Vec<Case> {
    vec![
        case("status_of_a_group_offline", |p| {
            p.topic("<t>", 1);
            p.group("<g>");
            let status = with(request::INVOKE_BROKER_TO_GET_CONSUMER_STATUS, "topic", "<t>")
                .set("group", "<g>");
            p.ask("status", &status);
            p.ask("unknown", &status.clone().set("group", "<other>"));
        }),
        case("running_info_of_nobody", |p| {
            let ask = with(request::GET_CONSUMER_RUNNING_INFO, "consumerGroup", "<g>");
            p.ask("info", &ask.set("clientId", "<c>").set("jstackEnable", false));
        }),
        case("message_for_nobody", |p| {
            p.topic("<t>", 1);
            let sent = p.prepare_send(&send("<t>"));
            let id = sent.ext("msgId").unwrap_or_default().to_owned();
            let ask = with(request::CONSUME_MESSAGE_DIRECTLY, "consumerGroup", "<g>");
            p.ask("consume", &ask.set("clientId", "<c>").set("msgId", id));
        }),
        case("message_without_its_id_for_somebody", |p| {
            online(p, "<t>");
            let ask = with(request::CONSUME_MESSAGE_DIRECTLY, "consumerGroup", "<g>")
                .set("clientId", "<c>");
            p.ask("garbage", &ask.clone().set("msgId", "garbage"));
            p.ask("nothing there", &ask.set("msgId", "7F00000100002A9F0000FFFFFFFFFFFF"));
        }),
    ]
}
