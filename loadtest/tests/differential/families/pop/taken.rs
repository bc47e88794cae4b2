//! POP_MESSAGE (200050): what comes from where, filters, pops that wait, what is refused.

use super::{
    FIELDS, FLOOR, MOMENT, Popped, ack, ack_all, ask_pop, filled, finish_pop, in_hand, note_code,
    pop, pop_at_once, send_more, start_pop, topic_and_group,
};
use crate::{
    ask::{Ask, commit, committed, pull, send, send_with, update_group, update_topic, with},
    case::{Case, Known, case},
    play::Play,
};
use proto::code::request;
use serde_json::json;
use std::{
    thread,
    time::{Duration, Instant},
};

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    ("some_in_hand", r#"offset/ext/offset: ours "0", Java's "2""#, FLOOR),
    ("some_in_hand", "stats/body/offsetTable/*/consumerOffset: ours 0, Java's 2", FLOOR),
    ("some_in_hand", "stats/body/offsetTable/*/lastTimestamp: ours 0", FLOOR),
    ("some_in_hand", "state/group g/offsets of queue 0/t: ours", FLOOR),
    ("some_acknowledged", r#"offset/ext/offset: ours "1", Java's "3""#, FLOOR),
    ("some_acknowledged", "stats/body/offsetTable/*/consumerOffset: ours 1, Java's 3", FLOOR),
    ("some_acknowledged", "state/group g/offsets of queue 0/t: ours 1, Java's 3", FLOOR),
    ("of_a_group_that_pulls_too", "pull/ext/groupSysFlag: ours nothing", UNITS),
    ("of_a_group_that_pulls_too", "pull/ext/topicSysFlag: ours nothing", UNITS),
    ("without_queueId", "pop/code: ours 1, Java's 210", FIELDS),
    ("without_maxMsgNums", "pop/code: ours 1, Java's 210", FIELDS),
    ("without_invisibleTime", "pop/code: ours 1, Java's 210", FIELDS),
    ("without_pollTime", "pop/code: ours 1, Java's 210", FIELDS),
    ("without_initMode", "pop/code: ours 1, Java's 210", FIELDS),
    ("without_queueId", "state/group g/offsets of queue 0/t: ours", FIELDS),
    ("without_maxMsgNums", "state/group g/offsets of queue 0/t: ours", FIELDS),
    ("without_invisibleTime", "state/group g/offsets of queue 0/t: ours", FIELDS),
    ("without_pollTime", "state/group g/offsets of queue 0/t: ours", FIELDS),
    ("without_initMode", "state/group g/offsets of queue 0/t: ours", FIELDS),
    ("no_messages_wanted", "fewer/code: ours 29, Java's 1", NEGATIVE),
    ("no_messages_wanted", "state/group g/offsets of queue 0/t: ours", NEGATIVE),
    ("group_with_an_illegal_name", "pop/code: ours 1, Java's 2", ILLEGAL_NAME),
    ("woken_by_its_tag_alone", r#"pop/startOffsetInfo/0: ours "0 0 1", Java's "0 0 0""#, PASSED),
];

const NEGATIVE: &str = "a negative number is refused by its name; Java stumbles over it";
const ILLEGAL_NAME: &str = "no group can have such a name; Java makes one";
const PASSED: &str = "what a filter has passed while the pop waited is not looked at again";

const UNITS: &str = "flags of units, which nothing here has; clients do without them";

/// For how long a pop waits that shall end with nothing, ms.
const WAIT_MS: i64 = 1_500;
/// It is answered not much earlier: Java's broker ends it up to 50 ms before.
const WAIT_MIN: Duration = Duration::from_millis(1_400);

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    let cases =
        [nothing(), there(), counted(), begun(), tags(), sql(), waiting(), refused(), malformed()];
    cases.into_iter().flatten().map(Case::java5).collect()
}

fn nothing() -> Vec<Case> {
    vec![
        case("nothing", |p| {
            topic_and_group(p, 2);
            ask_pop(p, "pop", &pop_at_once("<t>"));
            ask_pop(p, "one queue", &pop_at_once("<t>").set("queueId", 1));
        }),
        case("nothing_in_time", |p| {
            topic_and_group(p, 2);
            let began = Instant::now();
            ask_pop(p, "pop", &pop("<t>").set("pollTime", WAIT_MS));
            p.note("waited", json!(began.elapsed() >= WAIT_MIN));
        }),
        case("request_that_is_too_old", |p| {
            filled(p, 1);
            let old = |topic| pop(topic).set("bornTime", 1_700_000_000_000_i64);
            ask_pop(p, "pop", &old("<t>"));
            ask_pop(p, "unknown topic", &old("<other>"));
            ask_pop(p, "too many", &old("<t>").set("maxMsgNums", 33));
        }),
        case("no_messages_wanted", |p| {
            filled(p, 1);
            ask_pop(p, "none", &pop_at_once("<t>").set("maxMsgNums", 0));
            ask_pop(p, "fewer", &pop_at_once("<t>").set("maxMsgNums", -1));
        }),
    ]
}

fn there() -> Vec<Case> {
    vec![
        case("one", |p| {
            topic_and_group(p, 1);
            p.prepare_send(&send_with("<t>", "TAGS=a;KEYS=k;UNIQ_KEY=u1;own=1"));
            let popped = ask_pop(p, "pop", &pop("<t>"));
            ask_pop(p, "nothing more", &pop_at_once("<t>"));
            ack_all(p, &popped);
        }),
        case("several", |p| {
            filled(p, 3);
            let first = ask_pop(p, "first two", &pop("<t>").set("maxMsgNums", 2));
            let second = ask_pop(p, "last", &pop("<t>").set("maxMsgNums", 2));
            ask_pop(p, "nothing more", &pop_at_once("<t>"));
            ack_all(p, &first);
            ack_all(p, &second);
        }),
        case("of_all_queues", |p| {
            topic_and_group(p, 4);
            for queue in [1, 3, 3] {
                p.prepare_send(&send("<t>").set("e", queue));
            }
            let popped = ask_pop(p, "pop", &pop("<t>"));
            ack_all(p, &popped);
        }),
        case("of_one_of_the_queues", |p| {
            topic_and_group(p, 4);
            for queue in 0..4 {
                p.prepare_send(&send("<t>").set("e", queue));
            }
            let popped = ask_pop(p, "pop", &pop("<t>").set("queueId", 3));
            ask_pop(p, "nothing more", &pop_at_once("<t>").set("queueId", 3));
            ack_all(p, &popped);
        }),
        case("any_negative_queue_means_all", |p| {
            filled(p, 1);
            let popped = ask_pop(p, "pop", &pop("<t>").set("queueId", -7));
            ack_all(p, &popped);
        }),
        case("more_than_one_pop_may_have", |p| {
            topic_and_group(p, 2);
            for number in 0..40 {
                p.prepare_send(&send("<t>").set("e", number % 2));
            }
            // Which queue comes first is chance.
            let first = count(p, "first", &pop("<t>"));
            let second = count(p, "second", &pop("<t>"));
            ack_all(p, &first);
            ack_all(p, &second);
        }),
        case("by_two_groups", |p| {
            filled(p, 2);
            p.group("<h>");
            let own = ask_pop(p, "g", &pop("<t>"));
            let other = ask_pop(p, "h", &pop("<t>").set("consumerGroup", "<h>"));
            for receipt in &other.receipts {
                p.try_to(&ack(receipt).set("consumerGroup", "<h>"));
            }
            ack_all(p, &own);
        }),
        case("of_a_group_that_pulls_too", |p| {
            filled(p, 2);
            p.ask("pull", &pull("<t>", 0));
            let popped = ask_pop(p, "pop", &pop("<t>"));
            ack_all(p, &popped);
        }),
    ]
}

/// How many came and how many are left.
fn count(p: &mut Play, step: &str, ask: &Ask) -> Popped {
    let answer = p.try_to(ask);
    let popped = Popped::of(&answer);
    p.note(step, json!([answer.code, popped.receipts.len(), answer.ext("restNum")]));
    popped
}

/// What offsets and figures say of what was popped.
fn counted() -> Vec<Case> {
    let stats = || with(request::GET_CONSUME_STATS, "consumerGroup", "<g>").set("topic", "<t>");
    vec![
        case("some_in_hand", move |p| {
            filled(p, 3);
            ask_pop(p, "pop", &pop("<t>").set("maxMsgNums", 2));
            thread::sleep(MOMENT);
            p.ask("offset", &committed("<t>"));
            p.ask("stats", &stats());
        }),
        case("some_acknowledged", move |p| {
            let popped = in_hand(p, 3, |ask| ask);
            for index in [0, 2] {
                p.ask(&format!("ack {index}"), &ack(popped.receipt(index)));
            }
            thread::sleep(MOMENT);
            p.ask("offset", &committed("<t>"));
            p.ask("stats", &stats());
        }),
        case("all_acknowledged", move |p| {
            let popped = in_hand(p, 3, |ask| ask);
            ack_all(p, &popped);
            p.ask("offset", &committed("<t>"));
            p.ask("stats", &stats());
        }),
    ]
}

fn begun() -> Vec<Case> {
    vec![
        case("from_the_beginning", |p| {
            filled(p, 3);
            let popped = ask_pop(p, "pop", &pop("<t>").set("initMode", 0));
            ack_all(p, &popped);
        }),
        case("from_the_end", |p| {
            filled(p, 3);
            // As long as the first message is in memory, the end is the beginning.
            let popped = ask_pop(p, "pop", &pop("<t>").set("initMode", 1));
            ack_all(p, &popped);
        }),
        case("from_the_end_of_an_empty_queue", |p| {
            topic_and_group(p, 1);
            ask_pop(p, "nothing", &pop_at_once("<t>").set("initMode", 1));
            send_more(p, 0..2);
            let popped = ask_pop(p, "pop", &pop("<t>").set("initMode", 1));
            ack_all(p, &popped);
        }),
        case("from_the_committed_offset", |p| {
            filled(p, 3);
            p.prepare(&commit("<t>", 2));
            let popped = ask_pop(p, "pop", &pop("<t>"));
            ack_all(p, &popped);
        }),
        case("from_an_offset_beyond_the_end", |p| {
            filled(p, 3);
            p.prepare(&commit("<t>", 50));
            ask_pop(p, "nothing", &pop_at_once("<t>"));
            send_more(p, 3..4);
            let popped = ask_pop(p, "pop", &pop("<t>"));
            ack_all(p, &popped);
        }),
        case("from_where_it_was_reset_to", |p| {
            let popped = in_hand(p, 3, |ask| ask);
            ack_all(p, &popped);
            let reset = with(request::INVOKE_BROKER_TO_RESET_OFFSET, "topic", "<t>")
                .set("group", "<g>")
                .set("timestamp", 0)
                .set("isForce", true);
            p.prepare(&reset);
            let popped = ask_pop(p, "pop", &pop("<t>"));
            ack_all(p, &popped);
        }),
    ]
}

/// Topic `t` with a message of tag a, one of tag b, and one without.
fn tagged(p: &mut Play) {
    topic_and_group(p, 1);
    for own in ["TAGS=a;n=1", "TAGS=b;n=2", "n=3"] {
        p.prepare_send(&send_with("<t>", own));
    }
}

fn tags() -> Vec<Case> {
    let wanted = |name: &str, kind: Option<&'static str>, expression: Option<&'static str>| {
        case(name, move |p| {
            tagged(p);
            let mut ask = pop_at_once("<t>").without("expType").without("exp");
            for (field, value) in [("expType", kind), ("exp", expression)] {
                if let Some(value) = value {
                    ask = ask.set(field, value);
                }
            }
            let popped = ask_pop(p, "pop", &ask);
            ack_all(p, &popped);
            p.ask("offset", &committed("<t>"));
        })
    };
    vec![
        wanted("tag", Some("TAG"), Some("a")),
        wanted("two_tags", Some("TAG"), Some(" b||a ")),
        wanted("tag_that_nothing_has", Some("TAG"), Some("c")),
        wanted("tag_without_a_type", None, Some("b")),
        wanted("type_without_a_tag", Some("TAG"), None),
        wanted("neither_tag_nor_type", None, None),
        wanted("empty_tag", Some("TAG"), Some("")),
        wanted("sql_without_an_expression", Some("SQL92"), None),
    ]
}

fn sql() -> Vec<Case> {
    let wanted = |name: &str, kind: &'static str, expression: &'static str| {
        case(name, move |p| {
            tagged(p);
            let ask = pop_at_once("<t>").set("expType", kind).set("exp", expression);
            let popped = ask_pop(p, "pop", &ask);
            ack_all(p, &popped);
        })
    };
    vec![
        wanted("sql", "SQL92", "n >= 2"),
        wanted("sql_that_matches_nothing", "SQL92", "n > 7"),
        wanted("sql_broken", "SQL92", "n >"),
        wanted("sql_with_a_broken_text", "SQL92", "n = 'x"),
        wanted("sql_for_all", "SQL92", "*"),
        wanted("unknown_type", "REGEX", "a"),
    ]
}

fn waiting() -> Vec<Case> {
    vec![
        case("woken", |p| {
            topic_and_group(p, 4);
            let mut second = p.second();
            let started = start_pop(p, &mut second, &pop("<t>"));
            thread::sleep(MOMENT);
            p.prepare_send(&send("<t>").set("e", 2));
            let popped = finish_pop(p, "pop", &mut second, started);
            ack_all(p, &popped);
        }),
        case("woken_for_one_queue", |p| {
            topic_and_group(p, 2);
            let mut second = p.second();
            let started = start_pop(p, &mut second, &pop("<t>").set("queueId", 1));
            thread::sleep(MOMENT);
            p.prepare_send(&send("<t>").set("e", 0));
            p.prepare_send(&send("<t>").set("e", 1));
            let popped = finish_pop(p, "pop", &mut second, started);
            ack_all(p, &popped);
        }),
        case("woken_by_its_tag_alone", |p| {
            topic_and_group(p, 1);
            let mut second = p.second();
            let started = start_pop(p, &mut second, &pop("<t>").set("exp", "a"));
            thread::sleep(MOMENT);
            p.prepare_send(&send_with("<t>", "TAGS=b"));
            p.prepare_send(&send_with("<t>", "TAGS=a"));
            let popped = finish_pop(p, "pop", &mut second, started);
            ack_all(p, &popped);
        }),
        case("two_wait_for_one", |p| {
            topic_and_group(p, 1);
            let mut connections = [p.second(), p.second()];
            let ask = pop("<t>").set("pollTime", WAIT_MS);
            let started = connections.each_mut().map(|second| start_pop(p, second, &ask));
            thread::sleep(MOMENT);
            p.prepare_send(&send("<t>"));
            let mut codes = Vec::new();
            for (connection, (ticket, _)) in connections.iter_mut().zip(started) {
                let answer = connection.finish(ticket).expect("an answer");
                codes.push(answer.code);
                ack_all(p, &Popped::of(&answer));
            }
            codes.sort_unstable();
            p.note("codes", json!(codes));
        }),
        case("two_groups_wait_for_one", |p| {
            topic_and_group(p, 1);
            p.group("<h>");
            let mut second = p.second();
            let mut third = p.second();
            let own = start_pop(p, &mut second, &pop("<t>"));
            let other = start_pop(p, &mut third, &pop("<t>").set("consumerGroup", "<h>"));
            thread::sleep(MOMENT);
            p.prepare_send(&send("<t>"));
            let own = finish_pop(p, "g", &mut second, own);
            let other = finish_pop(p, "h", &mut third, other);
            for receipt in &other.receipts {
                p.try_to(&ack(receipt).set("consumerGroup", "<h>"));
            }
            ack_all(p, &own);
        }),
    ]
}

fn refused() -> Vec<Case> {
    vec![
        case("too_many_at_once", |p| {
            topic_and_group(p, 1);
            note_code(p, "33", &pop_at_once("<t>").set("maxMsgNums", 33));
            note_code(p, "unknown topic", &pop_at_once("<other>").set("maxMsgNums", 33));
        }),
        case("queue_beyond_the_last", |p| {
            topic_and_group(p, 2);
            note_code(p, "queue 2", &pop_at_once("<t>").set("queueId", 2));
            let unknown = pop_at_once("<t>").set("consumerGroup", "<other>");
            note_code(p, "of an unknown group", &unknown.set("queueId", 2));
        }),
        case("unknown_topic", |p| {
            p.group("<g>");
            note_code(p, "pop", &pop_at_once("<t>"));
        }),
        case("unknown_group", |p| {
            p.topic("<t>", 1);
            p.watch_group("<g>");
            note_code(p, "pop", &pop_at_once("<t>"));
        }),
        case("topic_that_is_not_readable", |p| {
            topic_and_group(p, 4);
            p.prepare(&update_topic("<t>").set("perm", 2));
            note_code(p, "pop", &pop_at_once("<t>"));
        }),
        case("group_that_may_not_consume", |p| {
            topic_and_group(p, 1);
            p.prepare(&update_group("<g>", r#","consumeEnable":false"#));
            note_code(p, "pop", &pop_at_once("<t>"));
            note_code(p, "broken sql", &pop_at_once("<t>").set("expType", "SQL92").set("exp", "("));
        }),
        case("group_with_an_illegal_name", |p| {
            p.topic("<t>", 1);
            note_code(p, "pop", &pop_at_once("<t>").set("consumerGroup", "a b"));
        }),
    ]
}

/// What clients always send, and the broker cannot do without.
const NEEDED: [&str; 7] =
    ["consumerGroup", "topic", "queueId", "maxMsgNums", "invisibleTime", "pollTime", "initMode"];

fn malformed() -> Vec<Case> {
    let mut cases = Vec::new();
    for field in NEEDED {
        cases.push(case(format!("without_{field}"), move |p| {
            topic_and_group(p, 1);
            note_code(p, "pop", &pop_at_once("<t>").without(field));
        }));
    }
    cases.push(case("without_what_may_be_left_away", |p| {
        filled(p, 1);
        let ask = ["bornTime", "order", "expType", "exp"]
            .into_iter()
            .fold(pop_at_once("<t>"), |ask, field| ask.without(field));
        let popped = ask_pop(p, "pop", &ask);
        ack_all(p, &popped);
    }));
    cases.push(case("born_at_0", |p| {
        filled(p, 1);
        let popped = ask_pop(p, "pop", &pop("<t>").set("bornTime", 0));
        ack_all(p, &popped);
    }));
    cases
}
