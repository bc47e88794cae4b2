//! PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361): places in a queue, filters by tag and SQL, subscriptions carried and by
//! heartbeat, limits, offsets committed on the way, what is refused. Nothing waits for messages here.

use crate::{
    ask::{
        Ask, committed, heartbeat, heartbeat_of, pull, pull_as_member, send_with, subscription,
        update_group, update_topic,
    },
    case::{Case, Known, case},
    play::Play,
};
use proto::code::request;

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    ("sql_broken", "pull/", FILTER),
    ("expression_of_an_unknown_type", "pull/", FILTER),
    ("tags_in_small_letters", "pull/", FILTER),
    ("-1_of_40_messages", "pull/", COUNT),
    ("group_with_an_illegal_name", "blank/", NAMES),
    ("group_with_an_illegal_name", "long/", NAMES),
    ("without_commitOffset", "pull/", FIELDS),
    ("without_suspendTimeoutMillis", "pull/", FIELDS),
    ("without_subVersion", "pull/", FIELDS),
    ("lite::java_5", "*ext/groupSysFlag: ours nothing", UNITS),
    ("lite::java_5", "*ext/topicSysFlag: ours nothing", UNITS),
    ("at_the_end_with_the_fields_of_5", "*ext/groupSysFlag: ours nothing", UNITS),
    ("at_the_end_with_the_fields_of_5", "*ext/topicSysFlag: ours nothing", UNITS),
    ("at_the_end_with_the_fields_of_5", "queue/code: ours 1, Java's 29", CODES),
    ("bytes_limited_by_the_client", "pull/body/", BYTES),
    ("bytes_limited_by_the_client", "pull/ext/", BYTES),
];

const FILTER: &str = "an expression that is no filter is refused with code 23; Java delivers every message, whatever was asked for";
const COUNT: &str = "a pull for no messages gets one, as for zero; Java fails in an allocation";
const NAMES: &str = "names that clients refuse make no groups, as in 5.x";
const FIELDS: &str = "a field that every client sends is missing, which is refused by its name; Java goes on with what it has";
const UNITS: &str = "flags of units, which nothing here has; clients do without them";
const CODES: &str = "the codes of 4.9, which clients of both releases treat alike";
const BYTES: &str = "the limit that the client gives is kept; Java goes over it";

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [places(), tags(), sql(), members(), limits(), refused(), malformed(), lite()]
        .into_iter()
        .flatten()
        .collect()
}

/// Topic `t` of one queue with five messages: tags a and b in turn, property `n` from 0.
fn filled(p: &mut Play) {
    p.topic("<t>", 1);
    for number in 0..5 {
        let tag = if number % 2 == 0 { "a" } else { "b" };
        p.prepare_send(&send_with("<t>", &format!("TAGS={tag};n={number}")));
    }
}

fn places() -> Vec<Case> {
    let mut cases = Vec::new();
    for offset in [-1, 0, 3, 5, 6, 1000, i64::MAX] {
        cases.push(case(format!("at_{offset}_of_5"), move |p| {
            filled(p);
            p.ask("pull", &pull("<t>", offset));
        }));
    }
    for offset in [-1, 0, 7] {
        cases.push(case(format!("at_{offset}_of_an_empty_queue"), move |p| {
            p.topic("<t>", 1);
            p.ask("pull", &pull("<t>", offset));
        }));
    }
    cases.extend([
        case("group_that_is_not_there", |p| {
            filled(p);
            p.watch_group("<g>");
            p.ask("pull", &pull("<t>", 0));
        }),
        case("end_without_waiting_time", |p| {
            filled(p);
            p.ask("pull", &pull("<t>", 5).set("sysFlag", 2 | 4));
        }),
        case("offset_committed_on_the_way", |p| {
            filled(p);
            p.group("<g>");
            p.ask("pull", &pull("<t>", 3).set("sysFlag", 1 | 4).set("commitOffset", 2));
            p.ask("committed", &committed("<t>"));
        }),
        case("offset_carried_without_its_flag", |p| {
            filled(p);
            p.group("<g>");
            p.ask("pull", &pull("<t>", 3).set("commitOffset", 2));
            p.ask("committed", &committed("<t>"));
        }),
        case("negative_offset_committed_on_the_way", |p| {
            filled(p);
            p.group("<g>");
            p.ask("pull", &pull("<t>", 3).set("sysFlag", 1 | 4).set("commitOffset", -1));
            p.ask("committed", &committed("<t>"));
        }),
        case("in_binary_headers", |p| {
            filled(p);
            p.binary_headers();
            p.ask("pull", &pull("<t>", 2));
            p.ask("end", &pull("<t>", 5));
        }),
        case("after_the_topic_is_deleted", |p| {
            filled(p);
            p.delete_topic("<t>");
            p.ask("pull", &pull("<t>", 0));
        }),
        case("through_the_second_port", |p| {
            filled(p);
            let mut vip = p.vip();
            p.ask_over(&mut vip, "pull", &pull("<t>", 0));
        }),
    ]);
    cases
}

fn tags() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, expression) in [
        ("one", "a"),
        ("two", "a || b"),
        ("two_without_blanks", "a||b"),
        ("none_that_is_there", "c"),
        ("all", "*"),
        ("none", ""),
        ("separator_at_the_end", "b||"),
        ("separators_alone", "||"),
        ("blanks", "  b  "),
        ("star_among_others", "* || b"),
        ("single_bar", "a | b"),
    ] {
        cases.push(case(format!("tags_{name}"), move |p| {
            filled(p);
            p.ask("pull", &pull("<t>", 0).set("subscription", expression));
        }));
    }
    cases.push(case("tags_absent", |p| {
        filled(p);
        p.ask("pull", &pull("<t>", 0).without("subscription"));
        p.ask("without a type", &pull("<t>", 0).without("expressionType").set("subscription", "b"));
    }));
    cases.push(case("tags_matching_late", |p| {
        filled(p);
        p.ask("pull", &pull("<t>", 0).set("subscription", "b").set("maxMsgNums", 1));
        p.ask("none behind", &pull("<t>", 4).set("subscription", "b"));
    }));
    cases
}

fn sql() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, expression) in [
        ("equal", "n = '1'"),
        ("number", "n = 1"),
        ("between", "n BETWEEN 1 AND 3"),
        ("in", "n IN ('1', '4')"),
        ("tags", "TAGS = 'b' AND n IS NOT NULL"),
        ("absent_property", "missing IS NULL"),
        ("not_equal_to_an_absent_one", "missing <> 'x'"),
        ("none", "n = '77'"),
        ("broken", "n ="),
        ("empty", ""),
        ("unknown_function", "length(n) > 1"),
    ] {
        cases.push(case(format!("sql_{name}"), move |p| {
            filled(p);
            let ask = pull("<t>", 0).set("expressionType", "SQL92");
            p.ask("pull", &ask.set("subscription", expression));
        }));
    }
    cases.push(case("expression_of_an_unknown_type", |p| {
        filled(p);
        p.ask("pull", &pull("<t>", 0).set("expressionType", "REGEX").set("subscription", "a"));
    }));
    cases.push(case("tags_in_small_letters", |p| {
        filled(p);
        p.ask("pull", &pull("<t>", 0).set("expressionType", "tag").set("subscription", "a"));
    }));
    cases
}

fn members() -> Vec<Case> {
    let tag = |tag: &str, version| subscription("<t>", "TAG", tag, version);
    vec![
        case("no_member_of_the_group", |p| {
            filled(p);
            p.group("<g>");
            p.ask("pull", &pull_as_member("<t>", 0));
        }),
        case("member_with_tags", move |p| {
            filled(p);
            p.prepare(&heartbeat("<c>", &[tag("b", 10)]));
            p.ask("same version", &pull_as_member("<t>", 10));
            p.ask("older", &pull_as_member("<t>", 9));
            p.ask("newer", &pull_as_member("<t>", 11));
        }),
        case("member_of_another_topic", move |p| {
            filled(p);
            p.topic("<other>", 1);
            p.prepare(&heartbeat("<c>", &[tag("*", 10)]));
            p.ask("pull", &pull_as_member("<other>", 10));
        }),
        case("member_that_has_left", move |p| {
            filled(p);
            p.prepare(&heartbeat("<c>", &[tag("*", 10)]));
            p.prepare(
                &Ask::new(request::UNREGISTER_CLIENT)
                    .set("clientID", "<c>")
                    .set("consumerGroup", "<g>"),
            );
            p.ask("pull", &pull_as_member("<t>", 10));
        }),
        case("member_that_asks_for_other_tags", move |p| {
            filled(p);
            p.prepare(&heartbeat("<c>", &[tag("a", 10)]));
            p.ask("pull", &pull("<t>", 0).set("subscription", "b"));
        }),
        case("member_with_sql", |p| {
            filled(p);
            p.prepare(&heartbeat("<c>", &[subscription("<t>", "SQL92", "n > 2", 10)]));
            let ask = |version| pull_as_member("<t>", version).set("expressionType", "SQL92");
            p.ask("same version", &ask(10));
            p.ask("older", &ask(9));
            p.ask("newer", &ask(11));
        }),
        case("member_with_broken_sql", |p| {
            filled(p);
            p.prepare(&heartbeat("<c>", &[subscription("<t>", "SQL92", "n >", 10)]));
            p.ask("pull", &pull_as_member("<t>", 10).set("expressionType", "SQL92"));
        }),
        case("member_with_sql_changed", |p| {
            filled(p);
            p.prepare(&heartbeat("<c>", &[subscription("<t>", "SQL92", "n > 2", 10)]));
            p.prepare(&heartbeat("<c>", &[subscription("<t>", "SQL92", "n < 2", 11)]));
            p.ask("pull", &pull_as_member("<t>", 11).set("expressionType", "SQL92"));
        }),
    ]
}

fn limits() -> Vec<Case> {
    let mut cases = Vec::new();
    for count in [-1, 0, 1, 2, 100] {
        cases.push(case(format!("{count}_of_40_messages"), move |p| {
            p.topic("<t>", 1);
            for _ in 0..40 {
                p.prepare_send(&send_with("<t>", "TAGS=a"));
            }
            p.ask("pull", &pull("<t>", 0).set("maxMsgNums", count));
        }));
    }
    cases.push(case("messages_of_100_kib", |p| {
        p.topic("<t>", 1);
        for _ in 0..4 {
            p.prepare_send(&send_with("<t>", "").bytes(vec![b'x'; 100 << 10]));
        }
        p.ask("pull", &pull("<t>", 0));
    }));
    cases.push(case("message_of_300_kib", |p| {
        p.topic("<t>", 1);
        for _ in 0..2 {
            p.prepare_send(&send_with("<t>", "").bytes(vec![b'x'; 300 << 10]));
        }
        p.ask("pull", &pull("<t>", 0));
    }));
    cases
}

fn refused() -> Vec<Case> {
    let mut cases = vec![
        case("unknown_topic", |p| {
            p.watch_topic("<t>");
            p.ask("pull", &pull("<t>", 0));
        }),
        case("topic_that_is_only_written", |p| {
            p.prepare(&update_topic("<t>").set("perm", 2));
            p.ask("pull", &pull("<t>", 0));
        }),
        case("group_that_may_not_consume", |p| {
            filled(p);
            p.prepare(&update_group("<g>", "").text(
                r#"{"groupName":"<g>","consumeEnable":false,"retryQueueNums":1,"retryMaxTimes":16}"#,
            ));
            p.ask("pull", &pull("<t>", 0));
        }),
        case("group_that_may_not_broadcast", |p| {
            filled(p);
            p.prepare(&update_group("<g>", "").text(
                r#"{"groupName":"<g>","consumeEnable":true,"consumeBroadcastEnable":false,"retryQueueNums":1,"retryMaxTimes":16}"#,
            ));
            let wanted = [subscription("<t>", "TAG", "*", 1)];
            p.prepare(&heartbeat_of("<c>", "<g>", "BROADCASTING", &wanted));
            p.ask("as a member", &pull_as_member("<t>", 1));
            p.ask("with its own subscription", &pull("<t>", 0));
        }),
        case("by_a_class", |p| {
            filled(p);
            p.ask("pull", &pull("<t>", 0).set("sysFlag", 4 | 8).set("subscription", "a.Class"));
        }),
    ];
    for queue in [-1, 1, i32::MAX] {
        cases.push(case(format!("queue_{queue}_of_1"), move |p| {
            filled(p);
            p.ask("pull", &pull("<t>", 0).set("queueId", queue));
        }));
    }
    cases.push(case("group_with_an_illegal_name", |p| {
        filled(p);
        p.ask("blank", &pull("<t>", 0).set("consumerGroup", "a b"));
        p.ask("long", &pull("<t>", 0).set("consumerGroup", "n".repeat(256)));
    }));
    cases
}

fn malformed() -> Vec<Case> {
    let mut cases = Vec::new();
    for field in [
        "consumerGroup",
        "topic",
        "queueId",
        "queueOffset",
        "maxMsgNums",
        "sysFlag",
        "commitOffset",
        "suspendTimeoutMillis",
        "subVersion",
    ] {
        cases.push(case(format!("without_{field}"), move |p| {
            filled(p);
            p.ask("pull", &pull("<t>", 0).without(field));
        }));
    }
    for (field, value) in [("queueId", "x"), ("queueOffset", "1.5"), ("maxMsgNums", "")] {
        cases.push(case(format!("no_number_in_{field}"), move |p| {
            filled(p);
            p.ask("pull", &pull("<t>", 0).set(field, value));
        }));
    }
    cases
}

fn lite() -> Vec<Case> {
    let lite = |offset| {
        Ask { code: request::LITE_PULL_MESSAGE, ..pull("<t>", offset) }.set("sysFlag", 4 | 16)
    };
    vec![
        case("lite", move |p| {
            filled(p);
            p.ask("inside", &lite(3));
            p.ask("end", &lite(5));
            p.ask("behind", &lite(9));
        })
        .java5(),
        case("lite", move |p| {
            filled(p);
            p.ask("pull", &lite(0));
        })
        .differs(
            "pull/",
            "lite pulls are a request of 5.x, which its clients need; 4.9 does not know it",
        ),
        case("bytes_limited_by_the_client", |p| {
            filled(p);
            p.ask("pull", &pull("<t>", 0).set("maxMsgBytes", 300));
        })
        .java5(),
        case("at_the_end_with_the_fields_of_5", |p| {
            filled(p);
            p.ask("found", &pull("<t>", 0));
            p.ask("end", &pull("<t>", 5));
            p.ask("behind", &pull("<t>", 9));
            p.ask("queue", &pull("<t>", 0).set("queueId", 5));
            p.ask("topic", &pull("<other>", 0));
        })
        .java5(),
    ]
}
