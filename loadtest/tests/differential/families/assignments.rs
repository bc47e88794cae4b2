//! Which queues the broker gives to a consumer, and how it is to get their messages: SET_MESSAGE_REQUEST_MODE (401),
//! GET_ALL_MESSAGE_REQUEST_MODE (402), QUERY_ASSIGNMENT (400). Of 5.x alone.

use crate::{
    ask::{Ask, heartbeat, heartbeat_of, subscription},
    case::{Case, Known, case},
    play::Play,
};
use client::Connection;
use proto::code::{request, response};
use serde_json::{Value, json};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Differences that stay.
pub(crate) const KNOWN: &[Known] =
    &[("mode_of_a_group_with_an_illegal_name", "set/code: ours 26, Java's 0", ILLEGAL_NAME)];

const ILLEGAL_NAME: &str = "no group can have such a name; Java makes one";

/// Java's broker asks its name server for the queues of a topic, which may not know a new one yet.
const ROUTE_WAIT_MAX: Duration = Duration::from_secs(12);
const PAUSE: Duration = Duration::from_millis(100);

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    let cases = [modes(), refused(), nobody(), pulling(), popping(), strategies(), malformed()];
    cases.into_iter().flatten().map(Case::java5).collect()
}

/// SET_MESSAGE_REQUEST_MODE of topic `t` and group `g`; `own` are members of the JSON besides.
fn set_mode(own: &str) -> Ask {
    Ask::new(request::SET_MESSAGE_REQUEST_MODE)
        .text(format!(r#"{{"consumerGroup":"<g>","topic":"<t>"{own}}}"#))
}

/// The same for popping, with so many neighbours' queues.
fn set_pop(share: i32) -> Ask {
    set_mode(&format!(r#","mode":"POP","popShareQueueNum":{share}"#))
}

/// The modes that the broker keeps for topic `t`.
fn note_modes(p: &mut Play, step: &str) {
    let answer = p.try_to(&Ask::new(request::GET_ALL_MESSAGE_REQUEST_MODE));
    let modes = p.json(&answer)["messageRequestModeMap"]["t"].clone();
    p.note(step, json!({ "code": answer.code, "modes": modes }));
}

fn modes() -> Vec<Case> {
    vec![
        case("mode_set", |p| {
            topic_and_group(p, 4);
            note_modes(p, "before");
            p.ask("pop", &set_pop(-1));
            note_modes(p, "popping");
            p.ask("pop otherwise", &set_pop(2));
            note_modes(p, "popping otherwise");
            p.ask("pull", &set_mode(r#","mode":"PULL","popShareQueueNum":0"#));
            note_modes(p, "pulling");
        }),
        case("mode_set_for_two_groups", |p| {
            topic_and_group(p, 4);
            p.group("<h>");
            p.ask("g", &set_pop(0));
            let other = r#"{"consumerGroup":"<h>","mode":"PULL","topic":"<t>"}"#;
            p.ask("h", &Ask::new(request::SET_MESSAGE_REQUEST_MODE).text(other));
            note_modes(p, "modes");
        }),
        case("mode_left_away", |p| {
            topic_and_group(p, 4);
            p.ask("set", &set_mode(""));
            note_modes(p, "modes");
        }),
        case("mode_of_an_unknown_group", |p| {
            p.topic("<t>", 1);
            p.watch_group("<g>");
            p.ask("set", &set_pop(0));
        }),
    ]
}

fn refused() -> Vec<Case> {
    let of = |group: &str, topic: &str| {
        Ask::new(request::SET_MESSAGE_REQUEST_MODE).text(format!(
            r#"{{"consumerGroup":"{group}","mode":"POP","popShareQueueNum":0,"topic":"{topic}"}}"#
        ))
    };
    vec![
        case("mode_of_an_unknown_topic", move |p| {
            p.group("<g>");
            p.ask("set", &of("<g>", "<t>"));
        }),
        case("mode_of_a_retry_topic", move |p| {
            p.group("<g>");
            p.ask("set", &of("<g>", "%RETRY%<g>"));
            p.ask("unknown", &of("<g>", "%RETRY%<other>"));
        }),
        case("mode_of_a_group_with_an_illegal_name", move |p| {
            p.topic("<t>", 1);
            p.ask("set", &of("a b", "<t>"));
        }),
        case("mode_that_is_malformed", |p| {
            topic_and_group(p, 1);
            p.ask("no body", &Ask::new(request::SET_MESSAGE_REQUEST_MODE));
            p.ask("garbage", &Ask::new(request::SET_MESSAGE_REQUEST_MODE).text("garbage"));
            p.ask("no topic", &Ask::new(request::SET_MESSAGE_REQUEST_MODE).text("{}"));
        }),
    ]
}

/// Topic `t` of so many queues, and group `g`.
fn topic_and_group(p: &mut Play, queues: i32) {
    p.topic("<t>", queues);
    p.group("<g>");
}

/// QUERY_ASSIGNMENT of a client of group `g`.
fn assignment(client: &str, topic: &str, strategy: &str, model: &str) -> Ask {
    Ask::new(request::QUERY_ASSIGNMENT).text(format!(
        r#"{{"clientId":"{client}","consumerGroup":"<g>","messageModel":"{model}","strategyName":"{strategy}","topic":"{topic}"}}"#
    ))
}

/// The same for a clustering client of topic `t`, with the strategy that clients begin with.
fn of_client(client: &str) -> Ask {
    assignment(client, "<t>", "AVG", "CLUSTERING")
}

/// Asks for an assignment and writes it down, when the broker knows the topic's queues.
fn ask_when_routed(p: &mut Play, step: &str, ask: &Ask) {
    let end = Instant::now() + ROUTE_WAIT_MAX;
    loop {
        let answer = p.try_to(ask);
        let known = p.json(&answer)["messageQueueAssignments"].is_array();
        // Whoever does not serve it says so at once.
        if known || answer.code != response::SUCCESS || Instant::now() >= end {
            break;
        }
        thread::sleep(PAUSE);
    }
    p.ask(step, ask);
}

/// Members of group `g`, each with a connection of its own: the first `count` of c, d, e...
fn join(p: &mut Play, count: usize) -> Vec<Connection> {
    let all = subscription("<t>", "TAG", "*", 1);
    let mut connections = Vec::new();
    for client in ["<c>", "<d>", "<e>", "<f>", "<i>"].into_iter().take(count) {
        let mut connection = p.second();
        p.prepare_over(&mut connection, &heartbeat(client, std::slice::from_ref(&all)));
        connections.push(connection);
    }
    connections
}

fn nobody() -> Vec<Case> {
    vec![
        case("assignment_of_an_unknown_group", |p| {
            p.topic("<t>", 4);
            p.ask("assignment", &of_client("<c>"));
        }),
        case("assignment_of_a_group_without_members", |p| {
            topic_and_group(p, 4);
            p.prepare(&set_pop(0));
            p.ask("assignment", &of_client("<c>"));
        }),
        case("assignment_of_an_unknown_topic", |p| {
            let _members = join(p, 1);
            p.ask("assignment", &of_client("<c>"));
        }),
        case("assignment_of_a_client_that_is_no_member", |p| {
            topic_and_group(p, 4);
            let _members = join(p, 1);
            ask_when_routed(p, "pulling", &of_client("<other>"));
            p.prepare(&set_pop(0));
            p.ask("popping", &of_client("<other>"));
        }),
    ]
}

fn pulling() -> Vec<Case> {
    vec![
        case("assignment_for_one", |p| {
            topic_and_group(p, 4);
            let _members = join(p, 1);
            ask_when_routed(p, "assignment", &of_client("<c>"));
        }),
        case("assignment_for_three", |p| {
            topic_and_group(p, 4);
            let _members = join(p, 3);
            ask_when_routed(p, "c", &of_client("<c>"));
            p.ask("d", &of_client("<d>"));
            p.ask("e", &of_client("<e>"));
        }),
        case("assignment_for_more_than_there_are_queues", |p| {
            topic_and_group(p, 2);
            let _members = join(p, 3);
            ask_when_routed(p, "c", &of_client("<c>"));
            p.ask("e", &of_client("<e>"));
        }),
        case("assignment_of_a_retry_topic", |p| {
            topic_and_group(p, 4);
            let _members = join(p, 1);
            let ask = assignment("<c>", "%RETRY%<g>", "AVG", "CLUSTERING");
            ask_when_routed(p, "assignment", &ask);
            p.prepare(&set_pop(0));
            p.ask("assignment still", &ask);
        }),
        case("assignment_for_a_broadcast", |p| {
            topic_and_group(p, 4);
            let mut second = p.second();
            let all = subscription("<t>", "TAG", "*", 1);
            p.prepare_over(&mut second, &heartbeat_of("<c>", "<g>", "BROADCASTING", &[all]));
            ask_when_routed(p, "assignment", &assignment("<c>", "<t>", "AVG", "BROADCASTING"));
        }),
    ]
}

fn popping() -> Vec<Case> {
    let shared = |share: i32, members: usize, queues: i32| {
        case(format!("pop_assignment_share_{share}_for_{members}_of_{queues}"), move |p| {
            topic_and_group(p, queues);
            p.prepare(&set_pop(share));
            let _members = join(p, members);
            ask_when_routed(p, "c", &of_client("<c>"));
            for client in ["d", "e", "f", "i"].into_iter().take(members - 1) {
                p.ask(client, &of_client(&format!("<{client}>")));
            }
        })
    };
    vec![
        shared(-1, 1, 4),
        shared(0, 2, 4),
        shared(1, 2, 4),
        shared(1, 3, 4),
        shared(1, 3, 7),
        shared(2, 4, 8),
        shared(3, 4, 8),
        shared(1, 5, 3),
        case("pop_assignment_and_back", |p| {
            topic_and_group(p, 4);
            let _members = join(p, 1);
            ask_when_routed(p, "pulling", &of_client("<c>"));
            p.prepare(&set_pop(0));
            p.ask("popping", &of_client("<c>"));
            p.prepare(&set_mode(r#","mode":"PULL","popShareQueueNum":0"#));
            p.ask("pulling again", &of_client("<c>"));
        }),
    ]
}

fn strategies() -> Vec<Case> {
    let with = |client: &str, strategy: &str| assignment(client, "<t>", strategy, "CLUSTERING");
    vec![
        case("assignment_in_a_circle", move |p| {
            topic_and_group(p, 5);
            let _members = join(p, 2);
            ask_when_routed(p, "c", &with("<c>", "AVG_BY_CIRCLE"));
            p.ask("d", &with("<d>", "AVG_BY_CIRCLE"));
        }),
        case("pop_assignment_in_a_circle", move |p| {
            topic_and_group(p, 6);
            p.prepare(&set_pop(1));
            let _members = join(p, 3);
            ask_when_routed(p, "c", &with("<c>", "AVG_BY_CIRCLE"));
            p.ask("d", &with("<d>", "AVG_BY_CIRCLE"));
        }),
        case("assignment_by_an_unknown_strategy", move |p| {
            topic_and_group(p, 4);
            let _members = join(p, 1);
            ask_when_routed(p, "known", &with("<c>", "AVG"));
            for strategy in ["CONSISTENT_HASH", "avg", ""] {
                p.ask(&format!("unknown {strategy:?}"), &with("<c>", strategy));
            }
            p.prepare(&set_pop(0));
            p.ask("popping", &with("<c>", "CONSISTENT_HASH"));
        }),
    ]
}

fn malformed() -> Vec<Case> {
    let whole = || {
        json!({
            "clientId": "<c>", "consumerGroup": "<g>", "messageModel": "CLUSTERING",
            "strategyName": "AVG", "topic": "<t>",
        })
    };
    let mut cases = vec![case("assignment_without_a_body", |p| {
        p.ask("no body", &Ask::new(request::QUERY_ASSIGNMENT));
        p.ask("garbage", &Ask::new(request::QUERY_ASSIGNMENT).text("garbage"));
        p.ask("empty", &Ask::new(request::QUERY_ASSIGNMENT).text("{}"));
    })];
    for member in ["clientId", "consumerGroup", "messageModel", "strategyName", "topic"] {
        cases.push(case(format!("assignment_without_{member}"), move |p| {
            topic_and_group(p, 4);
            let _members = join(p, 1);
            ask_when_routed(p, "whole", &of_client("<c>"));
            let mut body: Value = whole();
            if let Some(members) = body.as_object_mut() {
                members.remove(member);
            }
            p.ask("cut", &Ask::new(request::QUERY_ASSIGNMENT).text(body.to_string()));
        }));
    }
    cases
}
