//! Topics: made, changed, deleted (17, 215), their configuration (351, 21), their queues (202), those of the system (305).

use crate::{
    ask::{Ask, commit, committed, send, update_topic, with},
    case::{Case, Known, case},
};
use proto::code::request;
use serde_json::json;

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    ("with_permission_-1", "*", VALUES),
    ("with_permission_99", "*", VALUES),
    ("with_70000_queues", "*", VALUES),
    ("with_-1_queues", "*", VALUES),
    (
        "without_topicFilterType",
        "*",
        "absent is the type that all topics have; tools always send it",
    ),
    (
        "deleted_with_offsets",
        "committed/",
        "the beginning of a queue that never lost a message is told to a new group, as by 4.9",
    ),
    ("in_order::java_5", "configuration/body/order: ours false", ORDER),
    ("attribute_of_compaction", "*", LATER),
    ("attribute_of_batch_queues", "*", LATER),
    (
        "system_topics::java_4",
        "topics/rmq_sys_wheel_timer: ours",
        "our broker has the timers of 5.x",
    ),
    ("stats_of_more_queues_to_read::java_5", "stats/", STATS),
    ("stats", "stats/body/topicPutTps: ours", RATES),
    ("stats_of_an_empty_topic", "stats/body/topicPutTps: ours", RATES),
    ("stats_of_more_queues_to_read::java_4", "stats/body/topicPutTps: ours", RATES),
    ("names_and_queues_that_are_refused", "*", CODES),
];

const VALUES: &str = "what no topic can be is refused with the numbers; Java stores it";
const ORDER: &str = "the name servers say which topics are ordered, as in 4.9";
const LATER: &str = "attributes that promise what is not served yet are refused";
const STATS: &str = "queues to write, as in 4.9";
const RATES: &str = "the rate of sends, which 5.x tools show";
const CODES: &str = "the codes of 4.9, which tools of both releases print alike";

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [made(), refused(), deleted(), attributes(), read()].into_iter().flatten().collect()
}

fn made() -> Vec<Case> {
    let mut cases = vec![
        case("made", |p| {
            p.watch_topic("<t>");
            p.ask("make", &update_topic("<t>").set("readQueueNums", 3).set("writeQueueNums", 5));
        }),
        case("made_again_the_same", |p| {
            p.watch_topic("<t>");
            p.ask("first", &update_topic("<t>"));
            p.ask("second", &update_topic("<t>"));
        }),
        case("queues_more_and_fewer", |p| {
            p.topic("<t>", 4);
            p.prepare_send(&send("<t>").set("e", 3));
            p.ask("more", &update_topic("<t>").set("readQueueNums", 8).set("writeQueueNums", 8));
            p.send("send", &send("<t>").set("e", 7));
            p.ask("fewer", &update_topic("<t>").set("readQueueNums", 2).set("writeQueueNums", 2));
            p.ask("to one that is gone", &send("<t>").set("e", 3));
            p.ask("pull of one that is gone", &crate::ask::pull("<t>", 0).set("queueId", 3));
        }),
        case("in_order", |p| {
            p.watch_topic("<t>");
            p.ask("make", &update_topic("<t>").set("order", true));
        }),
        case("with_its_flag", |p| {
            p.watch_topic("<t>");
            p.ask("make", &update_topic("<t>").set("topicSysFlag", 3));
        }),
        case("without_what_is_optional", |p| {
            p.watch_topic("<t>");
            let ask = update_topic("<t>").without("topicSysFlag").without("order");
            p.ask("make", &ask);
        }),
        case("retry_topic", |p| {
            p.watch_topic("%RETRY%<t>");
            p.ask("make", &update_topic("%RETRY%<t>"));
        }),
    ];
    for perm in [0, 2, 4, 6, 7, 15, 99, -1] {
        cases.push(case(format!("with_permission_{perm}"), move |p| {
            p.watch_topic("<t>");
            p.ask("make", &update_topic("<t>").set("perm", perm));
        }));
    }
    for queues in [0, -1, 65_535, 70_000] {
        cases.push(case(format!("with_{queues}_queues"), move |p| {
            p.watch_topic("<t>");
            let ask = update_topic("<t>").set("readQueueNums", queues);
            p.ask("make", &ask.set("writeQueueNums", queues));
        }));
    }
    for kind in ["MULTI_TAG", "NO_TAG", ""] {
        cases.push(case(format!("with_filter_{kind}"), move |p| {
            p.watch_topic("<t>");
            p.ask("make", &update_topic("<t>").set("topicFilterType", kind));
        }));
    }
    cases
}

fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    let long = "n".repeat(128);
    for (name, topic) in [("empty", ""), ("blank", "a b"), ("long", &*long), ("dot", "a.b")] {
        let topic = topic.to_owned();
        cases.push(case(format!("name_that_is_{name}"), move |p| {
            p.ask("make", &update_topic(&topic));
        }));
    }
    for topic in ["SCHEDULE_TOPIC_XXXX", "TBW102", "DefaultCluster", "broker-a", "rmq_sys_mine"] {
        cases.push(case(format!("system_topic_{topic}"), move |p| {
            p.ask("make", &update_topic(topic));
            p.ask("delete", &with(request::DELETE_TOPIC_IN_BROKER, "topic", topic));
        }));
    }
    for field in
        ["topic", "readQueueNums", "writeQueueNums", "perm", "topicFilterType", "defaultTopic"]
    {
        cases.push(case(format!("without_{field}"), move |p| {
            p.watch_topic("<t>");
            p.ask("make", &update_topic("<t>").without(field));
        }));
    }
    cases.push(case("queues_that_are_no_number", |p| {
        p.watch_topic("<t>");
        p.ask("make", &update_topic("<t>").set("readQueueNums", "many"));
    }));
    cases
}

fn deleted() -> Vec<Case> {
    let delete = |topic: &str| with(request::DELETE_TOPIC_IN_BROKER, "topic", topic);
    vec![
        case("deleted", move |p| {
            p.topic("<t>", 2);
            p.prepare_send(&send("<t>"));
            p.ask("delete", &delete("<t>"));
            p.ask("max", &crate::ask::of_queue(request::GET_MAX_OFFSET, "<t>", 0));
            p.ask("stats", &with(request::GET_TOPIC_STATS_INFO, "topic", "<t>"));
        }),
        case("deleted_and_made_again", move |p| {
            p.topic("<t>", 2);
            p.prepare_send(&send("<t>").text("old"));
            p.ask("delete", &delete("<t>"));
            p.ask("make", &update_topic("<t>"));
            p.send("send", &send("<t>").text("new"));
        }),
        case("deleted_with_offsets", move |p| {
            p.topic("<t>", 1);
            p.group("<g>");
            p.prepare_send(&send("<t>"));
            p.prepare(&commit("<t>", 1));
            p.ask("delete", &delete("<t>"));
            p.ask("committed", &committed("<t>"));
        })
        .java5(),
        case("deleted_by_a_send_and_made_by_it_again", move |p| {
            p.topic("<t>", 4);
            p.ask("delete", &delete("<t>"));
            p.send("send", &send("<t>").set("d", 2));
        }),
        case("unknown_deleted", move |p| {
            p.watch_topic("<t>");
            p.ask("delete", &delete("<t>"));
        }),
        case("empty_name_deleted", move |p| {
            p.ask("empty", &delete(""));
            p.ask("absent", &Ask::new(request::DELETE_TOPIC_IN_BROKER).set("other", 1));
            p.ask("illegal", &delete("a b"));
        }),
    ]
}

fn attributes() -> Vec<Case> {
    let get = || with(request::GET_TOPIC_CONFIG, "topic", "<t>");
    let make = |attributes: &str| update_topic("<t>").set("attributes", attributes);
    vec![
        case("configuration", move |p| {
            p.topic("<t>", 3);
            p.ask("known", &get());
            p.ask("unknown", &with(request::GET_TOPIC_CONFIG, "topic", "<other>"));
            p.ask("empty", &with(request::GET_TOPIC_CONFIG, "topic", ""));
        })
        .java5(),
        case("attribute_of_a_message_type", move |p| {
            p.ask("make", &make("+message.type=NORMAL"));
            p.ask("configuration", &get());
            p.ask("remove", &make("-message.type"));
            p.ask("without", &get());
        })
        .java5(),
        case("attribute_of_another_message_type", move |p| {
            p.ask("make", &make("+message.type=FIFO"));
            p.ask("configuration", &get());
        })
        .java5(),
        case("attribute_that_is_unknown", move |p| {
            p.ask("make", &make("+colour=red"));
            p.ask("configuration", &get());
        })
        .java5(),
        case("attribute_with_a_value_that_is_none", move |p| {
            p.ask("make", &make("+message.type=LOUD"));
            p.ask("configuration", &get());
        })
        .java5(),
        case("attribute_without_its_sign", move |p| {
            p.ask("make", &make("message.type=NORMAL"));
            p.ask("configuration", &get());
        })
        .java5(),
        case("attribute_of_batch_queues", move |p| {
            p.ask("make", &make("+queue.type=BatchCQ"));
            p.ask("configuration", &get());
        })
        .java5(),
        case("attribute_of_simple_queues", move |p| {
            p.ask("make", &make("+queue.type=SimpleCQ"));
            p.ask("configuration", &get());
        })
        .java5(),
        case("attribute_of_compaction", move |p| {
            p.ask("make", &make("+cleanup.policy=COMPACTION"));
            p.ask("configuration", &get());
        })
        .java5(),
        case("in_order", move |p| {
            p.ask("make", &update_topic("<t>").set("order", true));
            p.ask("configuration", &get());
        })
        .java5(),
        case("names_and_queues_that_are_refused", |p| {
            p.ask("blank", &update_topic("a b"));
            p.ask("system", &update_topic("TBW102"));
            p.ask("queues", &update_topic("<t>").set("readQueueNums", -1));
            p.ask("delete", &with(request::DELETE_TOPIC_IN_BROKER, "topic", "TBW102"));
        })
        .java5(),
    ]
}

fn read() -> Vec<Case> {
    let stats = |topic: &str| with(request::GET_TOPIC_STATS_INFO, "topic", topic);
    vec![
        case("stats", move |p| {
            p.topic("<t>", 2);
            p.prepare_send(&send("<t>"));
            p.prepare_send(&send("<t>"));
            p.ask("stats", &stats("<t>"));
        }),
        case("stats_of_an_empty_topic", move |p| {
            p.topic("<t>", 3);
            p.ask("stats", &stats("<t>"));
        }),
        case("stats_of_more_queues_to_read", move |p| {
            p.prepare(&update_topic("<t>").set("writeQueueNums", 1));
            p.ask("stats", &stats("<t>"));
        }),
        case("stats_of_more_queues_to_read", move |p| {
            p.prepare(&update_topic("<t>").set("writeQueueNums", 1));
            p.ask("stats", &stats("<t>"));
        })
        .java5(),
        case("stats_of_an_unknown_topic", move |p| {
            p.ask("unknown", &stats("<t>"));
            p.ask("empty", &stats(""));
            p.ask("absent", &Ask::new(request::GET_TOPIC_STATS_INFO).set("other", 1));
        }),
        case("system_topics", |p| {
            let listed = p.prepare(&Ask::new(request::GET_SYSTEM_TOPIC_LIST_FROM_BROKER));
            // Those of a list are a set, so that each is a line.
            let topics = p.json(&listed)["topicList"].as_array().cloned().unwrap_or_default();
            let names = topics.iter().filter_map(|name| name.as_str());
            let set: serde_json::Map<String, serde_json::Value> =
                names.map(|name| (name.to_owned(), json!("listed"))).collect();
            p.note("topics", json!(set));
        }),
        case("members_of_the_whole_table", |p| {
            let all = p.prepare(&Ask::new(request::GET_ALL_TOPIC_CONFIG)).json().expect("JSON");
            let members: Vec<&String> = all.as_object().expect("an object").keys().collect();
            let one = &all["topicConfigTable"]["TBW102"];
            p.note("table", json!({ "members": members, "TBW102": one }));
        }),
    ]
}
