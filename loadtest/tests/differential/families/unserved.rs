//! Requests that are unknown to everybody, those that we do not serve yet and refuse with code 3, and what the broker says
//! of itself (26, 28).

use crate::{
    ask::{Ask, with},
    case::{Case, Known, case},
    play::Play,
};
use proto::code::request;
use serde_json::{Map, Value, json};

const LATER: &str = "not served yet, and refused with code 3";

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    (
        "names_of_runtime_figures",
        r#"figures/*: ours "there", Java's nothing"#,
        "figures of the other release, for its tools",
    ),
    (
        "names_of_runtime_figures::java_5",
        "figures/litePull*: ours nothing",
        "pulls have no queue of threads here",
    ),
];

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [unknown(), refused(), figures()].into_iter().flatten().collect()
}

fn unknown() -> Vec<Case> {
    let mut cases = Vec::new();
    for code in [0, 1, 13, 22, 23, 27, 211, 301, 302, 9_999, -1] {
        cases.push(case(format!("unknown_code_{code}"), move |p| {
            p.ask("request", &Ask::new(code));
            p.ask("with fields", &Ask::new(code).set("topic", "<t>").text("{}"));
        }));
    }
    cases.push(case("answer_instead_of_a_request", |p| {
        // A one-way request that nobody knows is not answered, and the connection goes on.
        p.ask_oneway(&Ask::new(9_999));
        p.ask("what follows", &with(request::GET_MAX_OFFSET, "topic", "<t>").set("queueId", 0));
    }));
    cases
}

fn refused() -> Vec<Case> {
    let asked = [
        (request::GET_ALL_CONSUMER_OFFSET, Ask::new(request::GET_ALL_CONSUMER_OFFSET)),
        (request::GET_ALL_DELAY_OFFSET, Ask::new(request::GET_ALL_DELAY_OFFSET)),
    ];
    let case_of = |(code, ask): (i32, Ask)| {
        let name = request::name(code).unwrap_or("request");
        case(format!("later_{name}"), move |p| {
            let code = p.try_to(&ask).code;
            p.note("request", json!({ "code": code }));
        })
        .differs("request/code: ours 3, Java's ", LATER)
    };
    let unknown_key = case("a_change_of_an_unknown_key", |p| {
        let code = p.try_to(&Ask::new(request::UPDATE_BROKER_CONFIG).text("colour=red")).code;
        p.note("request", json!({ "code": code }));
    });
    let why =
        "a key that nobody knows is refused, with the one that was meant; Java passes over it";
    let unknown_key = unknown_key.differs("request/code: ours 1, Java's 0", why);
    asked.into_iter().map(case_of).chain([unknown_key]).collect()
}

fn note_keys(p: &mut Play, step: &str, keys: impl Iterator<Item = String>) {
    let keys: Map<String, Value> = keys.map(|key| (key, json!("there"))).collect();
    p.note(step, json!(keys));
}

fn figures() -> Vec<Case> {
    vec![
        case("names_of_runtime_figures", runtime_figures),
        case("names_of_runtime_figures", runtime_figures).java5(),
    ]
}

fn runtime_figures(p: &mut Play) {
    let info = p.prepare(&Ask::new(request::GET_BROKER_RUNTIME_INFO)).json().expect("JSON");
    let table = info["table"].as_object().cloned().unwrap_or_default();
    // Ours have a prefix of their own; Java names its directory in one.
    let shared = table.keys().filter(|key| !key.starts_with("ringmq."));
    let shared = shared.filter(|key| !key.starts_with("commitLogDiskRatio_"));
    note_keys(p, "figures", shared.cloned());
}
