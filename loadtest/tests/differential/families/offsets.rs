//! Offsets of groups (14, 15) and of queues: largest (30), smallest (31), by time (29), time of the first message (32).

use crate::{
    ask::{Ask, commit, committed, of_queue, send, with},
    case::{Case, Known, case},
    play::Play,
};
use proto::code::request;
use std::{thread, time::Duration};

const UNCHECKED: &str = "offsets of what does not exist are refused as 5.x does: a topic that is made again would begin with those of the old one";

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    ("after_the_topic_was_made_again", r#"query/ext/offset: ours "0", Java's "2""#, UNCHECKED),
    ("after_the_topic_was_made_again", "state/group g/offsets of queue 0/t: ours 0", UNCHECKED),
    ("commit_on_a_queue_beyond_the_last", "commit/code: ours 29, Java's 0", UNCHECKED),
    ("commit_on_a_queue_beyond_the_last", r#"query/ext/offset: ours "0""#, UNCHECKED),
    ("commit_on_a_negative_queue", "commit/code: ours 1, Java's 0", NEGATIVE),
    ("query_of_a_negative_queue", "query/", NEGATIVE),
    ("max_of_a_negative_queue", "ask/", NEGATIVE),
    ("min_of_a_negative_queue", "ask/", NEGATIVE),
    ("earliest_of_a_negative_queue", "ask/", NEGATIVE),
    ("by_time::java_4", r#"after the first/ext/offset: ours "1", Java's "0""#, SEARCH),
    ("by_time::java_4", r#"after the second/ext/offset: ours "2", Java's "1""#, SEARCH),
    ("by_time::java_4", r#"after the last/ext/offset: ours "3""#, SEARCH),
    ("by_time::java_4", r#"long after/ext/offset: ours "3""#, SEARCH),
    ("commit_without_consumerGroup", "commit/code: ours 1, Java's 26", FIELDS),
    ("commit_without_commitOffset", "commit/code: ours 1, Java's 29", FIELDS),
    ("commit_without_queueId", "commit/code: ours 1, Java's 29", FIELDS),
    ("query_without_consumerGroup", "query/", FIELDS),
    ("query_of_an_unknown_group_and_topic::java_5", "group/", YOUNG),
    ("query_of_an_unknown_group_and_topic::java_5", "topic/", YOUNG),
    ("query_of_an_unknown_group_and_topic::java_5", "queue/", YOUNG),
];

const NEGATIVE: &str = "no queue has a negative number; Java makes one up";
const SEARCH: &str = "the first message that is not older, as in 5.x; 4.9 takes the nearest one, and the last one instead of the end";
const FIELDS: &str = "a field is missing, which is refused by its name with code 1";
const YOUNG: &str = "the beginning of a queue that never lost a message is told to a new group, as by 4.9, so that none is missed";

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [committing(), unknown(), bounds(), by_time(), malformed()].into_iter().flatten().collect()
}

/// Topic `t` of one queue with so many messages.
fn filled(p: &mut Play, count: usize) {
    p.topic("<t>", 1);
    for _ in 0..count {
        p.prepare_send(&send("<t>"));
    }
}

/// A request about queue 0 of topic `t`.
fn of(code: i32) -> Ask {
    of_queue(code, "<t>", 0)
}

fn committing() -> Vec<Case> {
    let mut cases = vec![
        case("never_committed", |p| {
            filled(p, 3);
            p.group("<g>");
            p.ask("query", &committed("<t>"));
        }),
        case("never_committed_on_an_empty_queue", |p| {
            p.topic("<t>", 1);
            p.group("<g>");
            p.ask("query", &committed("<t>"));
        }),
        case("never_committed_to_a_strict_client", |p| {
            filled(p, 3);
            p.group("<g>");
            p.ask("query", &committed("<t>").set("setZeroIfNotFound", false));
        })
        .java5(),
        case("forth_and_back", |p| {
            filled(p, 3);
            p.group("<g>");
            p.ask("forth", &commit("<t>", 3));
            p.ask("there", &committed("<t>"));
            p.ask("back", &commit("<t>", 1));
            p.ask("here", &committed("<t>"));
        }),
        case("one_way", |p| {
            filled(p, 3);
            p.group("<g>");
            p.ask_oneway(&commit("<t>", 2));
            // Java serves one-way requests of a connection side by side with what follows.
            thread::sleep(Duration::from_millis(300));
            p.ask("query", &committed("<t>"));
        }),
        case("on_a_retry_topic", |p| {
            p.group("<g>");
            p.prepare_send(&send("%RETRY%<g>").set("j", 1));
            p.ask("commit", &commit("%RETRY%<g>", 1));
            p.ask("query", &committed("%RETRY%<g>"));
        }),
        case("after_the_topic_was_made_again", |p| {
            filled(p, 3);
            p.group("<g>");
            p.prepare(&commit("<t>", 2));
            p.delete_topic("<t>");
            p.topic("<t>", 1);
            p.ask("query", &committed("<t>"));
        }),
    ];
    for offset in [-1, 0, 100, i64::MAX] {
        cases.push(case(format!("committed_{offset}_of_3"), move |p| {
            filled(p, 3);
            p.group("<g>");
            p.ask("commit", &commit("<t>", offset));
            p.ask("query", &committed("<t>"));
        }));
    }
    cases
}

fn unknown() -> Vec<Case> {
    vec![
        case("commit_of_an_unknown_group", |p| {
            filled(p, 1);
            p.ask("commit", &commit("<t>", 1));
            p.ask("query", &committed("<t>"));
        })
        .differs("commit/code: ours 26, Java's 0", UNCHECKED)
        .differs("query/ext/offset: ours \"0\", Java's \"1\"", UNCHECKED),
        case("commit_of_an_unknown_group", |p| {
            filled(p, 1);
            p.ask("commit", &commit("<t>", 1));
            p.ask("query", &committed("<t>"));
        })
        .java5(),
        case("commit_on_an_unknown_topic", |p| {
            p.group("<g>");
            p.ask("commit", &commit("<t>", 1));
            p.ask("query", &committed("<t>"));
        })
        .differs("commit/code: ours 17, Java's 0", UNCHECKED)
        .differs("query/ext/offset: ours \"0\", Java's \"1\"", UNCHECKED),
        case("commit_on_an_unknown_topic", |p| {
            p.group("<g>");
            p.ask("commit", &commit("<t>", 1));
        })
        .java5(),
        case("commit_on_a_queue_beyond_the_last", |p| {
            p.topic("<t>", 1);
            p.group("<g>");
            p.ask("commit", &commit("<t>", 1).set("queueId", 5));
            p.ask("query", &committed("<t>").set("queueId", 5));
        }),
        case("commit_on_a_negative_queue", |p| {
            p.topic("<t>", 1);
            p.group("<g>");
            p.ask("commit", &commit("<t>", 1).set("queueId", -1));
        }),
        case("query_of_an_unknown_group_and_topic", |p| {
            p.topic("<t>", 1);
            p.ask("group", &committed("<t>"));
            p.ask("topic", &committed("<other>"));
            p.ask("queue", &committed("<t>").set("queueId", 9));
        }),
        case("query_of_an_unknown_group_and_topic", |p| {
            p.topic("<t>", 1);
            p.ask("group", &committed("<t>"));
            p.ask("topic", &committed("<other>"));
            p.ask("queue", &committed("<t>").set("queueId", 9));
        })
        .java5(),
        case("query_of_a_negative_queue", |p| {
            p.topic("<t>", 1);
            p.group("<g>");
            p.ask("query", &committed("<t>").set("queueId", -1));
        }),
    ]
}

fn bounds() -> Vec<Case> {
    let codes = [
        ("max", request::GET_MAX_OFFSET),
        ("min", request::GET_MIN_OFFSET),
        ("earliest", request::GET_EARLIEST_MSG_STORETIME),
    ];
    let mut cases = Vec::new();
    for (name, code) in codes {
        cases.push(case(format!("{name}_of_an_empty_queue"), move |p| {
            p.topic("<t>", 1);
            p.ask("ask", &of(code));
        }));
        cases.push(case(format!("{name}_of_an_unknown_topic"), move |p| {
            p.watch_topic("<t>");
            p.ask("ask", &of(code));
        }));
        cases.push(case(format!("{name}_of_a_queue_beyond_the_last"), move |p| {
            p.topic("<t>", 1);
            p.ask("ask", &of(code).set("queueId", 7));
        }));
        cases.push(case(format!("{name}_of_a_negative_queue"), move |p| {
            p.topic("<t>", 1);
            p.ask("ask", &of(code).set("queueId", -1));
        }));
    }
    cases.push(case("bounds_of_three_messages", |p| {
        filled(p, 3);
        p.ask("max", &of(request::GET_MAX_OFFSET));
        p.ask("min", &of(request::GET_MIN_OFFSET));
        p.ask("earliest", &of(request::GET_EARLIEST_MSG_STORETIME).hide("timestamp"));
    }));
    cases
}

/// SEARCH_OFFSET_BY_TIMESTAMP on queue 0 of topic `t`.
fn search(time: i64) -> Ask {
    of(request::SEARCH_OFFSET_BY_TIMESTAMP).set("timestamp", time)
}

/// Topic `t` with three messages that were stored at times far enough from each other; these times.
fn spread(p: &mut Play) -> Vec<i64> {
    p.topic("<t>", 1);
    for _ in 0..3 {
        p.prepare_send(&send("<t>"));
        thread::sleep(Duration::from_millis(40));
    }
    p.store_times("<t>", 0)
}

fn around(p: &mut Play, kind: Option<&str>) {
    let times = spread(p);
    let mut ask = |step: &str, time: i64| {
        let ask = match kind {
            Some(kind) => search(time).set("boundaryType", kind),
            None => search(time),
        };
        p.ask(step, &ask);
    };
    ask("long before", times[0] - 100_000);
    ask("just before", times[0] - 1);
    ask("first", times[0]);
    ask("after the first", times[0] + 5);
    ask("before the second", times[1] - 5);
    ask("second", times[1]);
    ask("after the second", times[1] + 5);
    ask("last", times[2]);
    ask("after the last", times[2] + 1);
    ask("long after", times[2] + 1_000_000);
}

fn by_time() -> Vec<Case> {
    vec![
        case("by_time", |p| around(p, None)),
        case("by_time", |p| around(p, None)).java5(),
        case("by_time_lower", |p| around(p, Some("lower"))).java5(),
        case("by_time_upper", |p| around(p, Some("upper"))).java5(),
        case("by_time_upper_in_capitals", |p| around(p, Some("UPPER"))).java5(),
        case("by_time_of_an_unknown_kind", |p| around(p, Some("middle"))).java5(),
        case("by_time_on_an_empty_queue", |p| {
            p.topic("<t>", 1);
            p.ask("now", &search(crate::play::now_ms()));
            p.ask("zero", &search(0));
        }),
        case("by_time_at_the_ends_of_time", |p| {
            filled(p, 3);
            p.ask("zero", &search(0));
            p.ask("negative", &search(-1));
            p.ask("smallest", &search(i64::MIN));
            p.ask("largest", &search(i64::MAX));
        })
        .java5(),
        case("by_time_on_an_unknown_topic", |p| {
            p.watch_topic("<t>");
            p.ask("search", &search(1));
        }),
    ]
}

fn malformed() -> Vec<Case> {
    let mut cases = Vec::new();
    for field in ["consumerGroup", "topic", "queueId", "commitOffset"] {
        cases.push(
            case(format!("commit_without_{field}"), move |p| {
                p.topic("<t>", 1);
                p.group("<g>");
                p.ask("commit", &commit("<t>", 0).without(field));
            })
            .java5(),
        );
    }
    for field in ["consumerGroup", "topic", "queueId"] {
        cases.push(case(format!("query_without_{field}"), move |p| {
            p.topic("<t>", 1);
            p.ask("query", &committed("<t>").without(field));
        }));
    }
    cases.push(case("max_with_a_queue_that_is_no_number", |p| {
        p.topic("<t>", 1);
        p.ask("max", &of(request::GET_MAX_OFFSET).set("queueId", "x"));
        p.ask("without", &with(request::GET_MAX_OFFSET, "topic", "<t>"));
    }));
    cases.push(case("search_without_a_time", |p| {
        filled(p, 1);
        p.ask("search", &of(request::SEARCH_OFFSET_BY_TIMESTAMP));
    }));
    cases
}
