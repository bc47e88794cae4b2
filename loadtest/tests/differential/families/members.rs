//! Clients and their groups: HEART_BEAT (34), UNREGISTER_CLIENT (35), who is there (38, 203, 204), who is told of changes
//! (40), filters checked before a consumer begins (46).

use crate::{
    ask::{Ask, heartbeat, heartbeat_of, producer_heartbeat, subscription, update_group, with},
    case::{Case, Known, case},
};
use proto::code::request;

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    ("consumer::java_5", "*/ext: ours nothing", SECOND),
    ("group_with_an_illegal_name", "*", NAMES),
    ("subscription_changed", "after the older/", CHANGED),
    ("leaving_nothing", "nothing/code: ours 1, Java's 0", FIELDS),
];

const SECOND: &str = "heartbeats without subscriptions of 5.x are an option that clients have off";
const CHANGED: &str =
    "the only member of a group gets what it wants now, also when its clock went back";
const NAMES: &str = "names that clients refuse make no groups, as in 5.x";
const FIELDS: &str = "a field that every client sends is missing, which is refused by its name";

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [joining(), joining_otherwise(), leaving(), lists(), told(), malformed(), checked()]
        .into_iter()
        .flatten()
        .collect()
}

fn all_of_t(version: i64) -> String {
    subscription("<t>", "TAG", "*", version)
}

/// Who consumes in group `g`.
fn consumers() -> Ask {
    with(request::GET_CONSUMER_LIST_BY_GROUP, "consumerGroup", "<g>")
}

/// The connections of group `g`.
fn connections() -> Ask {
    with(request::GET_CONSUMER_CONNECTION_LIST, "consumerGroup", "<g>")
}

fn leave(client: &str) -> Ask {
    with(request::UNREGISTER_CLIENT, "clientID", client)
}

fn joining() -> Vec<Case> {
    vec![
        case("consumer", |p| {
            p.topic("<t>", 1);
            p.watch_group("<g>");
            p.ask("heartbeat", &heartbeat("<c>", &[all_of_t(1)]));
            p.ask("ids", &consumers());
            p.ask("connections", &connections());
        }),
        case("consumer", |p| {
            p.topic("<t>", 1);
            p.ask("heartbeat", &heartbeat("<c>", &[all_of_t(1)]));
            p.ask("again", &heartbeat("<c>", &[all_of_t(1)]));
            p.ask("connections", &connections());
        })
        .java5(),
        case("consumer_of_several_topics", |p| {
            p.topic("<t>", 1);
            let second = subscription("<other>", "TAG", "a || b", 5);
            let retry = subscription("%RETRY%<g>", "TAG", "*", 5);
            p.ask("heartbeat", &heartbeat("<c>", &[all_of_t(1), second, retry]));
            p.ask("connections", &connections());
        }),
        case("consumer_that_broadcasts", |p| {
            p.topic("<t>", 1);
            p.ask("heartbeat", &heartbeat_of("<c>", "<g>", "BROADCASTING", &[all_of_t(1)]));
            p.ask("connections", &connections());
        }),
        case("consumer_without_subscriptions", |p| {
            p.watch_group("<g>");
            p.ask("heartbeat", &heartbeat("<c>", &[]));
            p.ask("connections", &connections());
        }),
        case("subscription_changed", |p| {
            p.topic("<t>", 1);
            p.ask("first", &heartbeat("<c>", &[subscription("<t>", "TAG", "a", 5)]));
            p.ask("newer", &heartbeat("<c>", &[subscription("<t>", "TAG", "b", 6)]));
            p.ask("after the newer", &connections());
            p.ask("older", &heartbeat("<c>", &[subscription("<t>", "TAG", "c", 4)]));
            p.ask("after the older", &connections());
        }),
        case("subscription_dropped", |p| {
            p.topic("<t>", 1);
            let second = subscription("<other>", "TAG", "*", 1);
            p.ask("both", &heartbeat("<c>", &[all_of_t(1), second]));
            p.ask("one", &heartbeat("<c>", &[all_of_t(1)]));
            p.ask("connections", &connections());
        }),
    ]
}

fn joining_otherwise() -> Vec<Case> {
    vec![
        case("as_the_client_of_c", |p| {
            // Ordinals instead of names, a version as text, no sets.
            p.topic("<t>", 1);
            p.ask(
                "heartbeat",
                &Ask::new(request::HEART_BEAT).text(
                    r#"{"clientID":"<c>","consumerDataSet":[{"consumeFromWhere":0,"consumeType":1,"groupName":"<g>","messageModel":1,"subscriptionDataSet":[{"subString":"*","subVersion":"7","topic":"<t>"}]}]}"#,
                ),
            );
            p.ask("connections", &connections());
        }),
        case("group_with_two_retry_queues", |p| {
            p.prepare(&update_group("<g>", "").text(
                r#"{"groupName":"<g>","consumeEnable":true,"retryQueueNums":2,"retryMaxTimes":16}"#,
            ));
            p.watch_group("<g>");
            p.ask("heartbeat", &heartbeat("<c>", &[all_of_t(1)]));
        }),
        case("consumer_of_a_unit", |p| {
            p.watch_group("<g>");
            let Ask { body, .. } = heartbeat("<c>", &[]);
            let crate::ask::Body::Text(text) = body else { unreachable!("it is text") };
            let text = text.replace(r#""unitMode":false"#, r#""unitMode":true"#);
            p.ask("heartbeat", &Ask::new(request::HEART_BEAT).text(text));
        }),
        case("group_with_an_illegal_name", |p| {
            p.ask("heartbeat", &heartbeat_of("<c>", "a b", "CLUSTERING", &[all_of_t(1)]));
            p.ask("ids", &with(request::GET_CONSUMER_LIST_BY_GROUP, "consumerGroup", "a b"));
        }),
        case("producer", |p| {
            p.ask("heartbeat", &producer_heartbeat("<c>", "<g>"));
            p.ask(
                "connections",
                &with(request::GET_PRODUCER_CONNECTION_LIST, "producerGroup", "<g>"),
            );
            p.ask("no consumers", &consumers());
        }),
    ]
}

fn leaving() -> Vec<Case> {
    vec![
        case("consumer_leaves", |p| {
            p.prepare(&heartbeat("<c>", &[all_of_t(1)]));
            p.ask("leave", &leave("<c>").set("consumerGroup", "<g>"));
            p.ask("ids", &consumers());
            p.ask("connections", &connections());
        }),
        case("producer_leaves", |p| {
            p.prepare(&producer_heartbeat("<c>", "<g>"));
            p.ask("leave", &leave("<c>").set("producerGroup", "<g>"));
            p.ask(
                "connections",
                &with(request::GET_PRODUCER_CONNECTION_LIST, "producerGroup", "<g>"),
            );
        }),
        case("other_group_is_left", |p| {
            p.prepare(&heartbeat("<c>", &[all_of_t(1)]));
            p.ask("leave", &leave("<c>").set("consumerGroup", "<other>"));
            p.ask("ids", &consumers());
        }),
        case("other_client_leaves", |p| {
            p.prepare(&heartbeat("<c>", &[all_of_t(1)]));
            p.ask("leave", &leave("<d>").set("consumerGroup", "<g>"));
            p.ask("ids", &consumers());
        }),
        case("who_was_never_there_leaves", |p| {
            p.ask("leave", &leave("<c>").set("consumerGroup", "<g>").set("producerGroup", ""));
        }),
        case("leaving_nothing", |p| {
            p.ask("client alone", &leave("<c>"));
            p.ask("nothing", &Ask::new(request::UNREGISTER_CLIENT));
        }),
        case("connection_ends", |p| {
            let mut second = p.second();
            p.prepare_over(&mut second, &heartbeat("<c>", &[all_of_t(1)]));
            p.prepare(&heartbeat("<d>", &[all_of_t(1)]));
            drop(second);
            std::thread::sleep(std::time::Duration::from_millis(500));
            p.ask("ids", &consumers());
        }),
    ]
}

fn lists() -> Vec<Case> {
    vec![
        case("two_consumers", |p| {
            let mut second = p.second();
            p.prepare(&heartbeat("<c>", &[all_of_t(1)]));
            p.prepare_over(&mut second, &heartbeat("<d>", &[all_of_t(1)]));
            p.ask("ids", &consumers());
            p.ask("connections", &connections());
        }),
        case("nobody", |p| {
            p.group("<g>");
            p.ask("ids", &consumers());
            p.ask("connections", &connections());
            p.ask(
                "producers",
                &with(request::GET_PRODUCER_CONNECTION_LIST, "producerGroup", "<g>"),
            );
        }),
        case("lists_without_their_field", |p| {
            p.ask("ids", &Ask::new(request::GET_CONSUMER_LIST_BY_GROUP).set("other", 1));
            p.ask("connections", &Ask::new(request::GET_CONSUMER_CONNECTION_LIST).set("other", 1));
            p.ask("producers", &Ask::new(request::GET_PRODUCER_CONNECTION_LIST).set("other", 1));
        }),
        case("one_connection_and_two_clients", |p| {
            p.prepare(&heartbeat("<c>", &[all_of_t(1)]));
            p.prepare(&heartbeat("<d>", &[all_of_t(1)]));
            p.ask("ids", &consumers());
        }),
        case("one_client_and_two_connections", |p| {
            let mut second = p.second();
            p.prepare(&heartbeat("<c>", &[all_of_t(1)]));
            p.prepare_over(&mut second, &heartbeat("<c>", &[all_of_t(1)]));
            p.ask("ids", &consumers());
        }),
    ]
}

fn told() -> Vec<Case> {
    let changed = request::NOTIFY_CONSUMER_IDS_CHANGED;
    vec![
        case("told_of_itself", move |p| {
            p.prepare(&heartbeat("<c>", &[all_of_t(1)]));
            p.note_asked("told", changed);
        }),
        case("told_of_another", move |p| {
            p.prepare(&heartbeat("<c>", &[all_of_t(1)]));
            p.note_asked("of itself", changed);
            let mut second = p.second();
            p.prepare_over(&mut second, &heartbeat("<d>", &[all_of_t(1)]));
            p.note_asked("of another", changed);
        }),
        case("told_of_one_that_leaves", move |p| {
            let mut second = p.second();
            p.prepare_over(&mut second, &heartbeat("<d>", &[all_of_t(1)]));
            p.prepare(&heartbeat("<c>", &[all_of_t(1)]));
            p.note_asked("of itself", changed);
            p.prepare_over(&mut second, &leave("<d>").set("consumerGroup", "<g>"));
            p.note_asked("of one that leaves", changed);
        }),
        case("not_told_of_what_is_known", move |p| {
            p.prepare(&heartbeat("<c>", &[all_of_t(1)]));
            p.note_asked("first", changed);
            p.prepare(&heartbeat("<c>", &[all_of_t(1)]));
            p.note_asked("second", changed);
        }),
        case("told_of_a_topic_more", move |p| {
            p.prepare(&heartbeat("<c>", &[all_of_t(1)]));
            p.note_asked("first", changed);
            let second = subscription("<other>", "TAG", "*", 1);
            p.prepare(&heartbeat("<c>", &[all_of_t(1), second]));
            p.note_asked("second", changed);
        }),
        case("group_that_is_not_told", move |p| {
            p.prepare(&update_group("<g>", "").text(
                r#"{"groupName":"<g>","consumeEnable":true,"notifyConsumerIdsChangedEnable":false,"retryQueueNums":1,"retryMaxTimes":16}"#,
            ));
            p.prepare(&heartbeat("<c>", &[all_of_t(1)]));
            p.note_asked("told", changed);
        }),
    ]
}

fn malformed() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, body) in [
        ("empty", ""),
        ("no_json", "garbage"),
        ("an_array", "[]"),
        ("an_empty_object", "{}"),
        ("null", "null"),
        ("cut", r#"{"clientID":"<c>","consumerDataSet":[{"groupName""#),
    ] {
        cases.push(case(format!("heartbeat_that_is_{name}"), move |p| {
            p.ask("heartbeat", &Ask::new(request::HEART_BEAT).text(body));
        }));
    }
    cases.push(case("heartbeat_without_a_client", |p| {
        p.ask(
            "heartbeat",
            &Ask::new(request::HEART_BEAT)
                .text(r#"{"consumerDataSet":[],"producerDataSet":[{"groupName":"<g>"}]}"#),
        );
    }));
    cases
}

fn checked() -> Vec<Case> {
    let check = |kind: &str, expression: &str| {
        let data = subscription("<t>", kind, expression, 1);
        Ask::new(request::CHECK_CLIENT_CONFIG)
            .text(format!(r#"{{"clientId":"<c>","group":"<g>","subscriptionData":{data}}}"#))
    };
    vec![
        case("filter_that_is_good", move |p| {
            p.ask("tags", &check("TAG", "a || b"));
            p.ask("sql", &check("SQL92", "a > 3 AND b = 'x'"));
        }),
        case("filter_that_is_broken", move |p| {
            p.ask("operator", &check("SQL92", "a >"));
            p.ask("text", &check("SQL92", "a = 'x"));
            p.ask("nothing", &check("SQL92", ""));
        }),
        case("filter_of_an_unknown_type", move |p| {
            p.ask("check", &check("REGEX", "a"));
        }),
        case("filter_that_is_not_there", |p| {
            p.ask(
                "no data",
                &Ask::new(request::CHECK_CLIENT_CONFIG).text(r#"{"clientId":"<c>","group":"<g>"}"#),
            );
            p.ask("no body", &Ask::new(request::CHECK_CLIENT_CONFIG));
        }),
    ]
}
