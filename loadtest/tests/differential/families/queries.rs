//! Messages looked up: by key and unique key (12), by their place in the log (33).

use crate::{
    ask::{Ask, log_offset, send_with, with},
    case::{Case, Known, case},
    play::Play,
};
use proto::code::request;

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    ("unique_key_that_is_unknown", "*/ext: ours nothing", NOTHING),
    ("key_that_is_unknown", "*/ext: ours nothing", NOTHING),
    ("key_of_a_half_message", "*/ext: ours nothing", NOTHING),
    ("key_of_several_messages_and_one_wanted", "*/ext: ours nothing", NOTHING),
    ("key_of_another_topic", "*/ext: ours nothing", NOTHING),
    ("key_at_other_times", "*/ext: ours nothing", NOTHING),
    ("query_without_topic", "query/", FIELDS),
    ("query_without_key", "query/", FIELDS),
];

const NOTHING: &str =
    "figures of the index beside messages that were not found, which no client reads";
const FIELDS: &str = "a field is missing, which is refused by its name";

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [by_key(), by_id(), malformed()].into_iter().flatten().collect()
}

/// QUERY_MESSAGE for a key of topic `t`, of all times.
fn query(key: &str) -> Ask {
    with(request::QUERY_MESSAGE, "topic", "<t>")
        .set("key", key)
        .set("maxNum", 32)
        .set("beginTimestamp", 0)
        .set("endTimestamp", i64::MAX)
}

fn unique(key: &str) -> Ask {
    query(key).set("_UNIQUE_KEY_QUERY", true)
}

/// Topic `t` with a message that has two keys and a unique one, and three that share a key.
fn filled(p: &mut Play) {
    p.topic("<t>", 2);
    p.prepare_send(&send_with("<t>", "KEYS=one two;UNIQ_KEY=<u>;TAGS=a"));
    for number in 0..3 {
        p.prepare_send(&send_with("<t>", "KEYS=shared").text(format!("{number}")));
    }
}

fn by_key() -> Vec<Case> {
    vec![
        case("key", |p| {
            filled(p);
            p.ask_when_done("first", &query("one"));
            p.ask_when_done("second", &query("two"));
        }),
        case("key_of_several_messages", |p| {
            filled(p);
            p.ask_when_done("query", &query("shared"));
        }),
        case("key_of_several_messages_and_one_wanted", |p| {
            filled(p);
            p.ask_when_done("one", &query("shared").set("maxNum", 1));
            p.ask("none", &query("shared").set("maxNum", 0));
            p.ask("negative", &query("shared").set("maxNum", -1));
        }),
        case("key_that_is_unknown", |p| {
            filled(p);
            p.ask("key", &query("missing"));
            p.ask("both at once", &query("one two"));
            p.ask("part", &query("on"));
            p.ask("empty", &query(""));
        }),
        case("key_of_another_topic", |p| {
            filled(p);
            p.ask_when_done("there", &query("one"));
            p.ask("here", &query("one").set("topic", "<other>"));
        }),
        case("key_at_other_times", |p| {
            filled(p);
            p.ask_when_done("all", &query("one"));
            p.ask("before", &query("one").set("endTimestamp", 1_000));
            p.ask("after", &query("one").set("beginTimestamp", i64::MAX - 1));
            p.ask("nonsense", &query("one").set("beginTimestamp", 9).set("endTimestamp", 1));
        }),
        case("unique_key", |p| {
            filled(p);
            p.ask_when_done("unique", &unique("<u>"));
            p.ask("as a key", &query("<u>"));
            p.ask("a key as unique", &unique("one"));
        }),
        case("unique_key_that_is_unknown", |p| {
            filled(p);
            p.ask("unique", &unique("7F0000010000000000000000000000FF"));
        }),
        case("key_of_a_delayed_message", |p| {
            p.topic("<t>", 1);
            p.prepare(&send_with("<t>", "KEYS=late;DELAY=1"));
            p.await_max("<t>", 0, 1);
            p.ask_when_done("query", &query("late"));
        }),
        case("key_of_a_half_message", |p| {
            p.topic("<t>", 1);
            p.prepare(&send_with("<t>", "KEYS=half;TRAN_MSG=true;PGROUP=<g>;UNIQ_KEY=<u>"));
            p.ask("key", &query("half"));
        }),
        case("key_with_a_hash_sign", |p| {
            p.topic("<t>", 1);
            p.prepare_send(&send_with("<t>", "KEYS=a#b"));
            p.ask_when_done("query", &query("a#b"));
        }),
    ]
}

fn by_id() -> Vec<Case> {
    let view = |offset: i64| Ask::new(request::VIEW_MESSAGE_BY_ID).set("offset", offset);
    let mut cases = vec![
        case("id", move |p| {
            p.topic("<t>", 1);
            let sent = p.prepare_send(&send_with("<t>", "TAGS=a;KEYS=k"));
            p.ask("view", &view(log_offset(&sent)));
        }),
        case("id_within_a_message", move |p| {
            p.topic("<t>", 1);
            let sent = p.prepare_send(&send_with("<t>", "TAGS=a;KEYS=k"));
            p.ask("one more", &view(log_offset(&sent) + 1));
            p.ask("four more", &view(log_offset(&sent) + 4));
        }),
        case("id_of_a_message_whose_topic_is_deleted", move |p| {
            p.topic("<t>", 1);
            let sent = p.prepare_send(&send_with("<t>", "TAGS=a"));
            p.delete_topic("<t>");
            p.ask("view", &view(log_offset(&sent)));
        }),
    ];
    for offset in [-1, 1 << 40, i64::MAX] {
        cases.push(case(format!("id_{offset}"), move |p| {
            p.ask("view", &view(offset));
        }));
    }
    cases
}

fn malformed() -> Vec<Case> {
    let mut cases = Vec::new();
    for field in ["topic", "key", "maxNum", "beginTimestamp", "endTimestamp"] {
        cases.push(case(format!("query_without_{field}"), move |p| {
            filled(p);
            p.ask_when_done("before", &query("one"));
            p.ask("query", &query("one").without(field));
        }));
    }
    cases.push(case("view_without_an_offset", |p| {
        p.ask("absent", &Ask::new(request::VIEW_MESSAGE_BY_ID).set("other", 1));
        p.ask("text", &Ask::new(request::VIEW_MESSAGE_BY_ID).set("offset", "x"));
    }));
    cases
}
