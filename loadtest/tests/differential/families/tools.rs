//! The small requests of tools: all producers (328), entries of a queue (321), offsets to correct (308), what makes room (306,
//! 316, 329), and lists of topics and groups (18, 225).

use crate::{
    ask::{Ask, commit, of_queue, producer_heartbeat, send_with, with},
    case::{Case, Known, case},
    play::Play,
};
use client::Answer;
use proto::code::request;
use serde_json::{Value, json};

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[];

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [producers(), queues(), corrections(), cleanups(), lists()].into_iter().flatten().collect()
}

fn both(
    name: &'static str,
    script: impl Fn(&mut Play) + Send + Sync + Clone + 'static,
) -> Vec<Case> {
    vec![case(name, script.clone()), case(name, script).java5()]
}

/// The producers of a group, as the answer tells them.
fn note_group(p: &mut Play, step: &str, answer: &Answer, group: &str) {
    let all = answer.json().expect("JSON");
    let clients = all["data"][p.name(group)].as_array().cloned().unwrap_or_default();
    let clients = clients.into_iter().map(|mut client| {
        // Ours are seen from the same address, and begin as Java writes one.
        let address = client["remoteIP"].as_str().unwrap_or_default().to_owned();
        client["remoteIP"] = json!(address.starts_with("/127.0.0.1:"));
        client["lastUpdateTimestamp"] = json!(client["lastUpdateTimestamp"].as_i64() > Some(0));
        client["clientId"] = json!(client["clientId"].as_str().map(|id| id.starts_with("c1")));
        client
    });
    let clients: Value = clients.collect();
    p.note(step, clients);
}

fn producers() -> Vec<Case> {
    both("all_producers", |p| {
        p.prepare(&producer_heartbeat("<c1>", "<p>"));
        let answer = p.prepare(&Ask::new(request::GET_ALL_PRODUCER_INFO));
        note_group(p, "there", &answer, "<p>");
        note_group(p, "not there", &answer, "<q>");
    })
}

fn query(topic: &str, index: i64, count: i32) -> Ask {
    of_queue(request::QUERY_CONSUME_QUEUE, topic, 0).set("index", index).set("count", count)
}

/// Code and entries of an answer; where messages lie is each broker's own matter.
fn note_entries(p: &mut Play, step: &str, ask: &Ask) {
    let answer = p.try_to(ask);
    let mut body = answer.json().unwrap_or_default();
    for entry in body["queueData"].as_array_mut().into_iter().flatten() {
        entry["physicOffset"] = json!(entry["physicOffset"].as_i64() >= Some(0));
        entry["physicSize"] = json!(entry["physicSize"].as_i64() > Some(0));
    }
    p.note(step, json!({ "code": answer.code, "body": body, "bytes": answer.body.len().min(1) }));
}

fn queues() -> Vec<Case> {
    let mut cases = both("entries_of_a_queue", |p| {
        p.topic("<t>", 1);
        for tag in ["red", "green", "red"] {
            p.prepare_send(&send_with("<t>", &format!("TAGS={tag}")));
        }
        note_entries(p, "all", &query("<t>", 0, 10));
        note_entries(p, "some", &query("<t>", 1, 1));
        note_entries(p, "of nobody", &query("<t>", 0, 1).set("consumerGroup", "nobody"));
    });
    cases.extend(both("entries_that_are_not_there", |p| {
        p.topic("<t>", 1);
        note_entries(p, "no queue", &query("<nowhere>", 0, 10));
        p.prepare_send(&send_with("<t>", "TAGS=red"));
        for (step, index) in [("behind", 1), ("before", -1)] {
            note_entries(p, step, &query("<t>", index, 10));
        }
    }));
    cases
}

fn corrections() -> Vec<Case> {
    let ask = || with(request::QUERY_CORRECTION_OFFSET, "topic", "<t>").set("filterGroups", "");
    both("offsets_to_correct", move |p| {
        p.topic("<t>", 1);
        p.group("<g>");
        p.group("<h>");
        (0..5).for_each(|_| drop(p.prepare_send(&send_with("<t>", ""))));
        p.prepare(&commit("<t>", 4));
        p.prepare(&commit("<t>", 2).set("consumerGroup", "<h>"));
        p.ask("ahead", &ask().set("compareGroup", "<g>"));
        p.ask("behind", &ask().set("compareGroup", "<h>"));
        p.ask("unknown", &ask().set("compareGroup", "<nobody>"));
        p.ask("elsewhere", &ask().set("topic", "<nowhere>").set("compareGroup", "<g>"));
    })
}

fn cleanups() -> Vec<Case> {
    both("what_makes_room", |p| {
        p.ask("queues", &Ask::new(request::CLEAN_EXPIRED_CONSUMEQUEUE));
        p.ask("topics", &Ask::new(request::CLEAN_UNUSED_TOPIC));
        p.ask("log", &Ask::new(request::DELETE_EXPIRED_COMMITLOG));
    })
}

fn lists() -> Vec<Case> {
    let topic = |name: &str, queues: i32| {
        format!(
            r#"{{"topicName":"{name}","readQueueNums":{queues},"writeQueueNums":{queues},"perm":6,"topicFilterType":"SINGLE_TAG","topicSysFlag":0,"order":false,"attributes":{{"+message.type":"FIFO"}}}}"#
        )
    };
    let topics = move |names: &[&str]| {
        let list: Vec<String> = names.iter().map(|name| topic(name, 3)).collect();
        let body = format!(r#"{{"topicConfigList":[{}]}}"#, list.join(","));
        Ask::new(request::UPDATE_AND_CREATE_TOPIC_LIST).text(body)
    };
    let groups = |names: &[&str]| {
        let one = |name: &&str| format!(r#"{{"groupName":"{name}","retryMaxTimes":5}}"#);
        let list: Vec<String> = names.iter().map(one).collect();
        let body = format!(r#"{{"groupConfigList":[{}]}}"#, list.join(","));
        Ask::new(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST).text(body)
    };
    let code = |p: &mut Play, step: &str, ask: &Ask| {
        let refused = p.try_to(ask).code != 0;
        p.note(step, json!({ "refused": refused }));
    };
    vec![
        case("list_of_topics", move |p| {
            ["<t>", "<u>"].iter().for_each(|topic| p.watch_topic(topic));
            p.ask("make", &topics(&["<t>", "<u>"]));
        })
        .java5(),
        case("list_with_a_topic_that_cannot_be", move |p| {
            ["<t>", "<u>"].iter().for_each(|topic| p.watch_topic(topic));
            code(p, "make", &topics(&["<t>", "a b", "<u>"]));
        })
        .java5(),
        case("list_of_groups", move |p| {
            ["<g>", "<h>"].iter().for_each(|group| p.watch_group(group));
            p.ask("make", &groups(&["<g>", "<h>"]));
        })
        .java5(),
    ]
}
