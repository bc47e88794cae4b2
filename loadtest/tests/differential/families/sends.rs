//! Single messages: SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), one-way, with good and bad fields; delay levels; retry and
//! dead-letter topics as targets; replies (324, 325).

use crate::{
    ask::{Ask, properties, send, send_v1, send_with, update_topic},
    case::{Case, Known, case},
};
use proto::code::request;

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    (
        "reply_to_an_unknown_topic",
        "state/*/CLUSTER: ours",
        "the cluster is told with every message",
    ),
    ("without_field_e", "send/ext: ours", EXT),
    ("without_field_f", "send/ext: ours", EXT),
    ("without_field_g", "send/ext: ours", EXT),
    ("without_field_h", "send/ext: ours", EXT),
    ("without_field_queueId", "send/ext: ours", EXT),
    ("without_field_a", "send/code: ours 1, Java's 0", GROUP),
    ("without_field_a", "send/ext/", GROUP),
    ("without_field_a", "what follows/ext/queueOffset: ours", GROUP),
    ("without_field_a", "state/topic t/queues/0/", GROUP),
    ("without_field_producerGroup", "send/code: ours 1, Java's 0", GROUP),
    ("without_field_producerGroup", "send/ext/", GROUP),
    ("without_field_producerGroup", "what follows/ext/queueOffset: ours", GROUP),
    ("without_field_producerGroup", "state/topic t/queues/0/", GROUP),
    ("no_number_*", "send/ext: ours", EXT),
    ("sys_flag_4", "send/", PHASES),
    ("sys_flag_8", "send/", PHASES),
    ("sys_flag_12", "send/", PHASES),
    ("sys_flag_8", "what follows/ext/queueOffset: ours", PHASES),
    ("sys_flag_8", "state/topic t/queues/0/", PHASES),
    ("delay_level_text", "send/code: ours 13, Java's 1", LEVELS),
    ("delay_level_text", "send/ext: ours", EXT),
    ("delay_level_1.5", "send/code: ours 13, Java's 1", LEVELS),
    ("delay_level_1.5", "send/ext: ours", EXT),
    ("reply_*", "*ext/msgId: ours nothing, Java's \"HIDDEN\"", REPLIES),
    ("reply_*", "*ext/queueId: ours nothing, Java's \"0\"", REPLIES),
    ("reply_*", "*ext/queueOffset: ours nothing, Java's \"HIDDEN\"", REPLIES),
];

const EXT: &str = "every refusal of a send has the fields that Java's clients read without looking; Java leaves them away after \
    an exception";
const GROUP: &str =
    "the producer group is a field that must be there; Java does not look whether it is";
const PHASES: &str = "a phase of a transaction without the transaction is refused; Java stores a message that is never delivered, \
    or one that says it was committed";
const LEVELS: &str =
    "a level that is no number is an illegal message, which producers do not send again";
const REPLIES: &str =
    "a reply that was not taken has no place; Java fills in one although it answers with code 1";

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [plain(), queues(), created(), refused(), kept(), delayed(), to_retry(), malformed(), replies()]
        .into_iter()
        .flatten()
        .collect()
}

fn plain() -> Vec<Case> {
    vec![
        case("short_names", |p| {
            p.topic("<t>", 2);
            p.send("first", &send_with("<t>", "TAGS=a;KEYS=k1 k2;UNIQ_KEY=u1;own=x"));
            p.send("second", &send_with("<t>", "TAGS=b").set("e", 1));
            p.send("third", &send("<t>").text("another body"));
        }),
        case("long_names", |p| {
            p.topic("<t>", 2);
            p.send("first", &send_v1("<t>").set("properties", properties("TAGS=a;own=x")));
            p.send("second", &send_v1("<t>").set("queueId", 1));
        }),
        case("in_binary_headers", |p| {
            p.topic("<t>", 1);
            p.binary_headers();
            p.send("short", &send_with("<t>", "TAGS=a"));
            p.send("long", &send_v1("<t>").set("properties", properties("TAGS=b")));
        }),
        case("through_the_second_port", |p| {
            p.topic("<t>", 1);
            let mut vip = p.vip();
            p.ask_over(&mut vip, "send", &send("<t>"));
            p.await_max("<t>", 0, 1);
        }),
        case("one_way", |p| {
            p.topic("<t>", 1);
            p.ask_oneway(&send_with("<t>", "TAGS=a"));
            p.await_max("<t>", 0, 1);
        }),
        case("one_way_that_is_refused", |p| {
            p.topic("<t>", 1);
            p.ask_oneway(&send("<t>").set("e", 7));
            p.send("what follows", &send("<t>"));
        }),
        case("numbers_at_their_ends", |p| {
            p.topic("<t>", 1);
            p.send(
                "largest",
                &send("<t>").set("g", i64::MAX).set("h", i32::MAX).set("j", i32::MAX),
            );
            p.send("smallest", &send("<t>").set("g", -1).set("h", i32::MIN));
        }),
        case("without_properties", |p| {
            p.topic("<t>", 1);
            p.send("empty", &send("<t>").set("i", ""));
            p.send("absent", &send("<t>").without("i"));
        }),
    ]
}

fn queues() -> Vec<Case> {
    let mut cases = vec![case("queue_that_the_broker_chooses", |p| {
        p.topic("<t>", 1);
        p.send("minus one", &send("<t>").set("e", -1));
        p.send("smallest", &send("<t>").set("e", i32::MIN));
    })];
    for queue in [2, 100, i32::MAX] {
        cases.push(case(format!("queue_{queue}_of_2"), move |p| {
            p.topic("<t>", 2);
            p.send("send", &send("<t>").set("e", queue));
        }));
    }
    cases.push(case("queue_that_is_only_read", |p| {
        p.prepare(&update_topic("<t>").set("writeQueueNums", 1));
        p.watch_topic("<t>");
        p.send("beyond those to write", &send("<t>").set("e", 3));
        p.send("beyond all", &send("<t>").set("e", 4));
    }));
    cases.push(case("topic_without_queues_to_write", |p| {
        p.prepare(&update_topic("<t>").set("writeQueueNums", 0));
        p.watch_topic("<t>");
        p.send("chosen", &send("<t>").set("e", 1));
    }));
    cases
}

fn created() -> Vec<Case> {
    let mut cases = Vec::new();
    for count in [-1, 0, 1, 4, 8, 64] {
        cases.push(case(format!("unknown_topic_of_{count}_queues"), move |p| {
            p.watch_topic("<t>");
            p.send("send", &send("<t>").set("d", count));
        }));
    }
    cases.extend([
        case("unknown_topic_like_the_clusters", |p| {
            p.watch_topic("<t>");
            p.send("send", &send("<t>").set("c", "DefaultCluster").set("d", 32));
        }),
        case("unknown_topic_like_an_unknown_one", |p| {
            p.watch_topic("<t>");
            p.send("send", &send("<t>").set("c", "<other>"));
        }),
        case("unknown_topic_like_one_that_is_not_inherited", |p| {
            p.topic("<other>", 2);
            p.watch_topic("<t>");
            p.send("send", &send("<t>").set("c", "<other>"));
        }),
        case("unknown_topic_of_a_unit", |p| {
            p.watch_topic("<t>");
            p.send("send", &send("<t>").set("k", true));
        }),
        case("unknown_topic_and_a_queue_beyond_it", |p| {
            p.watch_topic("<t>");
            p.send("send", &send("<t>").set("e", 9));
        }),
        case("unknown_topic_with_long_names", |p| {
            p.watch_topic("<t>");
            p.send("send", &send_v1("<t>"));
        }),
        case("topic_with_127_characters", |p| {
            let name = p.name("<t>");
            let topic = format!("{}{name}", "n".repeat(127 - name.len()));
            p.watch_topic(&topic);
            p.send("send", &send(&topic));
        }),
    ]);
    cases
}

fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, topic) in [
        ("empty", ""),
        ("blank", " "),
        ("blank_within", "a b"),
        ("dot", "a.b"),
        ("umlaut", "\u{e4}"),
        ("slash", "a/b"),
        ("128_characters", &"n".repeat(128)),
        ("300_characters", &"n".repeat(300)),
    ] {
        let topic = topic.to_owned();
        cases.push(case(format!("illegal_topic_{name}"), move |p| {
            p.ask("short", &send(&topic));
            p.ask("long", &send_v1(&topic));
        }));
    }
    for topic in [
        "SCHEDULE_TOPIC_XXXX",
        "RMQ_SYS_TRANS_HALF_TOPIC",
        "RMQ_SYS_TRANS_OP_HALF_TOPIC",
        "TRANS_CHECK_MAX_TIME_TOPIC",
        "SELF_TEST_TOPIC",
        "OFFSET_MOVED_EVENT",
    ] {
        cases.push(case(format!("system_topic_{topic}"), move |p| {
            p.ask("send", &send(topic));
        }));
    }
    cases.push(case("body_of_4_mib_and_one_more_byte", |p| {
        p.topic("<t>", 1);
        p.send("largest", &send("<t>").bytes(vec![b'x'; 4 << 20]));
        p.ask("one more", &send("<t>").bytes(vec![b'x'; (4 << 20) + 1]));
    }));
    cases.push(case("no_body", |p| {
        p.topic("<t>", 1);
        p.send("short", &send("<t>").bytes([]));
        p.send("long", &send_v1("<t>").bytes([]));
    }));
    cases.push(case("properties_too_long", |p| {
        p.topic("<t>", 1);
        p.ask("send", &send_with("<t>", &format!("own={}", "x".repeat(32_768))));
    }));
    cases
}

fn kept() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, text) in [
        ("without_a_separator_at_the_end", "TAGS\u{1}a\u{2}own\u{1}x"),
        ("with_a_separator_at_the_end", "TAGS\u{1}a\u{2}own\u{1}x\u{2}"),
        ("that_are_no_pairs", "plain"),
        ("with_an_empty_value", "own\u{1}\u{2}TAGS\u{1}a\u{2}"),
        ("with_an_empty_name", "\u{1}x\u{2}TAGS\u{1}a\u{2}"),
        ("with_a_name_twice", "own\u{1}1\u{2}own\u{1}2\u{2}"),
        ("with_two_separators_within", "own\u{1}1\u{1}2\u{2}"),
        ("that_are_separators", "\u{2}\u{2}\u{1}\u{2}"),
        ("that_wait", "WAIT\u{1}true\u{2}own\u{1}x\u{2}"),
        ("that_do_not_wait", "WAIT\u{1}false\u{2}own\u{1}x\u{2}"),
        ("of_another_cluster", "CLUSTER\u{1}elsewhere\u{2}"),
        ("of_the_broker", "REAL_TOPIC\u{1}x\u{2}REAL_QID\u{1}7\u{2}RETRY_TOPIC\u{1}y\u{2}"),
        ("of_a_trace", "MSG_REGION\u{1}r\u{2}TRACE_ON\u{1}false\u{2}"),
    ] {
        cases.push(case(format!("properties_{name}"), move |p| {
            p.topic("<t>", 1);
            p.send("send", &send("<t>").set("i", text));
        }));
    }
    // 16 and 32, of addresses of the other family, are left out: Java's broker builds no queue any more after such a message.
    for flag in [1, 2, 3, 0x100, 0x300] {
        cases.push(case(format!("sys_flag_{flag}"), move |p| {
            p.topic("<t>", 1);
            p.ask("send", &send("<t>").set("f", flag));
            p.await_max("<t>", 0, 1);
        }));
    }
    for flag in [4, 8, 12] {
        cases.push(case(format!("sys_flag_{flag}"), move |p| {
            p.topic("<t>", 1);
            p.ask("send", &send("<t>").set("f", flag));
            p.send("what follows", &send("<t>"));
        }));
    }
    cases.extend([
        case("topic_of_several_tags", |p| {
            p.prepare(&update_topic("<t>").set("topicFilterType", "MULTI_TAG"));
            p.watch_topic("<t>");
            p.send("send", &send_with("<t>", "TAGS=a b"));
        }),
        case("topic_that_is_only_read", |p| {
            p.prepare(&update_topic("<t>").set("perm", 4));
            p.watch_topic("<t>");
            p.send("send", &send("<t>"));
        }),
        case("topic_that_is_only_written", |p| {
            p.prepare(&update_topic("<t>").set("perm", 2));
            p.watch_topic("<t>");
            p.send("send", &send("<t>"));
        }),
        case("reconsumed_before", |p| {
            p.topic("<t>", 1);
            p.send("send", &send("<t>").set("j", 5).set("l", 3));
        }),
    ]);
    cases
}

fn delayed() -> Vec<Case> {
    let mut cases = Vec::new();
    for level in ["-1", "0", "1", "2", "99", "text", "", "1.5"] {
        cases.push(case(format!("delay_level_{level}"), move |p| {
            p.topic("<t>", 2);
            let ask = send_with("<t>", &format!("DELAY={level};TAGS=a")).set("e", 1);
            // Java says which place it got in the topic of delayed messages.
            p.ask("send", &ask.hide("queueOffset"));
            p.await_max("<t>", 1, 1);
        }));
    }
    cases.push(case("delayed_with_tags_filtered_afterwards", |p| {
        p.topic("<t>", 1);
        p.ask("a", &send_with("<t>", "DELAY=1;TAGS=a").hide("queueOffset"));
        p.ask("b", &send_with("<t>", "DELAY=1;TAGS=b").hide("queueOffset"));
        p.await_max("<t>", 0, 2);
        p.ask("pull", &crate::ask::pull("<t>", 0).set("subscription", "b"));
    }));
    cases
}

fn to_retry() -> Vec<Case> {
    let retry = "%RETRY%<g>";
    vec![
        case("retry_topic_of_a_group", move |p| {
            p.group("<g>");
            p.send("send", &send(retry).set("j", 1).set("l", 16));
        }),
        case("retry_topic_of_an_unknown_group", move |p| {
            p.watch_group("<g>");
            p.send("send", &send(retry).set("j", 1));
        }),
        case("retry_topic_after_the_last_try", move |p| {
            p.group("<g>");
            p.ask("send", &send(retry).set("j", 3).set("l", 3));
            p.await_max("%DLQ%<g>", 0, 1);
        }),
        case("retry_topic_after_the_last_try_of_the_group", move |p| {
            p.prepare(&crate::ask::update_group("<g>", "").text(
                r#"{"groupName":"<g>","consumeEnable":true,"retryQueueNums":1,"retryMaxTimes":2}"#,
            ));
            p.watch_group("<g>");
            p.ask("send", &send(retry).set("j", 2));
            p.await_max("%DLQ%<g>", 0, 1);
        }),
        case("retry_topic_with_a_level", move |p| {
            p.group("<g>");
            p.ask("send", &send_with(retry, "DELAY=1").set("j", 1).hide("queueOffset"));
            p.await_max(retry, 0, 1);
        }),
        case("dead_letter_topic_that_is_not_there", |p| {
            p.watch_topic("%DLQ%<g>");
            p.send("send", &send("%DLQ%<g>").set("d", 1));
        }),
    ]
}

fn malformed() -> Vec<Case> {
    let mut cases = Vec::new();
    for field in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        cases.push(case(format!("without_field_{field}"), move |p| {
            p.topic("<t>", 1);
            p.ask("send", &send("<t>").without(field));
            p.send("what follows", &send("<t>").text("the next"));
        }));
    }
    for field in ["topic", "queueId", "producerGroup", "defaultTopic"] {
        cases.push(case(format!("without_field_{field}"), move |p| {
            p.topic("<t>", 1);
            p.ask("send", &send_v1("<t>").without(field));
            p.send("what follows", &send("<t>").text("the next"));
        }));
    }
    for (name, field, value) in [
        ("queue", "e", "many"),
        ("queue_too_large", "e", "99999999999"),
        ("flags", "f", "x"),
        ("time", "g", "yesterday"),
        ("empty_queue", "e", ""),
    ] {
        cases.push(case(format!("no_number_{name}"), move |p| {
            p.topic("<t>", 1);
            p.ask("send", &send("<t>").set(field, value));
            p.send("what follows", &send("<t>").text("the next"));
        }));
    }
    cases.push(case("without_any_field", |p| {
        p.ask("short", &Ask::new(request::SEND_MESSAGE_V2).text("body"));
        p.ask("long", &Ask::new(request::SEND_MESSAGE).text("body"));
    }));
    cases
}

fn replies() -> Vec<Case> {
    let reply = "REPLY_TO_CLIENT=<nobody>;CORRELATION_ID=c1;MSG_TYPE=reply";
    let short = move || Ask {
        code: request::SEND_REPLY_MESSAGE_V2,
        ..send_with("DefaultCluster_REPLY_TOPIC", reply)
    };
    vec![
        case("reply_to_nobody", move |p| {
            p.ask("short", &short().hide("queueOffset").hide("msgId"));
            let long = send_v1("DefaultCluster_REPLY_TOPIC").set("properties", properties(reply));
            let long = Ask { code: request::SEND_REPLY_MESSAGE, ..long };
            p.ask("long", &long.hide("queueOffset").hide("msgId"));
        }),
        case("reply_without_an_address", move |p| {
            p.ask("send", &short().set("i", "").hide("queueOffset").hide("msgId"));
        }),
        case("reply_to_an_unknown_topic", |p| {
            p.watch_topic("<t>");
            let ask = Ask { code: request::SEND_REPLY_MESSAGE_V2, ..send_with("<t>", reply) };
            p.ask("send", &ask.hide("queueOffset").hide("msgId"));
            p.await_max("<t>", 0, 1);
        }),
    ]
}
