//! The name server: routes (105), the cluster (106), names of topics (206, 224, 304, 311 to 313), keys and values (100 to
//! 102, 219), write permissions (205, 327), versions (322), configuration (319).

use crate::{
    ask::{Ask, update_topic, with},
    case::{Case, Known, case},
    play::Play,
};
use proto::code::request;
use serde_json::json;

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    (
        "unknown_request::java_4",
        r#"request/code: ours 3, Java's "no answer""#,
        "who gets no answer closes the connection; 5.x answers",
    ),
    ("route_of_the_default_topic", "*/enableActingMaster: ours false, Java", ACTING),
    ("route_of_queues_and_permissions", "*/enableActingMaster: ours false, Java", ACTING),
    ("route", "*/enableActingMaster: ours false, Java", ACTING),
    ("route_for_an_old_client", "*/enableActingMaster: ours false, Java", ACTING),
    ("route_of_an_unknown_topic", "absent/code: ours 1, Java's 17", FIELDS),
    ("route_without_fields", "route/code: ours 1, Java's 17", FIELDS),
    ("route_of_an_unknown_topic_deleted", "absent/code: ours 1, Java's 0", FIELDS),
    ("names_of_topics_of_an_unknown_cluster", "absent/", FIELDS),
    ("value_without_its_fields", "*/code: ours 1, Java's", FIELDS),
    ("registered_and_gone", "*/enableActingMaster: ours false, Java", ACTING),
    ("write_permission_of_no_broker", "*", FIELDS),
];

const ACTING: &str = "a member of 5.x, which clients of 4.9 pass over";
const FIELDS: &str = "a field is missing, which is refused by its name";

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [routes(), names(), values(), brokers(), odd()].into_iter().flatten().collect()
}

/// One request to the name server.
fn ask(p: &mut Play, step: &str, ask: &Ask) {
    let mut namesrv = p.namesrv();
    p.ask_over(&mut namesrv, step, ask);
}

fn route(topic: &str) -> Ask {
    with(request::GET_ROUTEINFO_BY_TOPIC, "topic", topic)
}

fn routes() -> Vec<Case> {
    vec![
        case("route", |p| {
            p.topic("<t>", 3);
            ask(p, "route", &route("<t>"));
        }),
        case("route_for_an_old_client", |p| {
            p.topic("<t>", 3);
            ask(p, "route", &route("<t>").version(317));
            ask(p, "standard", &route("<t>").version(317).set("acceptStandardJsonOnly", true));
        }),
        case("route_of_queues_and_permissions", |p| {
            p.prepare(
                &update_topic("<t>").set("writeQueueNums", 2).set("perm", 4).set("topicSysFlag", 1),
            );
            ask(p, "route", &route("<t>"));
        }),
        case("route_of_an_unknown_topic", |p| {
            ask(p, "unknown", &route("<t>"));
            ask(p, "empty", &route(""));
            ask(p, "absent", &Ask::new(request::GET_ROUTEINFO_BY_TOPIC).set("other", 1));
        }),
        case("route_of_the_default_topic", |p| {
            ask(p, "route", &route("TBW102"));
        }),
        case("route_without_fields", |p| {
            ask(p, "route", &Ask::new(request::GET_ROUTEINFO_BY_TOPIC));
        }),
        case("route_of_a_deleted_topic", |p| {
            p.topic("<t>", 1);
            ask(p, "delete", &with(request::DELETE_TOPIC_IN_NAMESRV, "topic", "<t>"));
            ask(p, "route", &route("<t>"));
        }),
        case("route_of_an_unknown_topic_deleted", |p| {
            ask(p, "delete", &with(request::DELETE_TOPIC_IN_NAMESRV, "topic", "<t>"));
            ask(p, "absent", &Ask::new(request::DELETE_TOPIC_IN_NAMESRV).set("other", 1));
        }),
        case("cluster", cluster),
    ]
}

/// What the name server says of the broker that runs, beside others that cases register.
fn cluster(p: &mut Play) {
    let mut namesrv = p.namesrv();
    let answer = p.prepare_over(&mut namesrv, &Ask::new(request::GET_BROKER_CLUSTER_INFO));
    let body = p.json(&answer);
    let (brokers, clusters) = (&body["brokerAddrTable"], &body["clusterAddrTable"]);
    p.note(
        "cluster",
        json!({ "broker": brokers["broker-a"], "cluster": clusters["DefaultCluster"] }),
    );
}

/// Whether topic `t` is in a list, and what else the answer has.
fn listed(p: &mut Play, step: &str, question: &Ask) {
    let mut namesrv = p.namesrv();
    let answer = p.prepare_over(&mut namesrv, question);
    let body = answer.json().unwrap_or_default();
    let topics = body["topicList"].as_array().cloned().unwrap_or_default();
    let name = p.name("<t>");
    let members: Vec<&String> = body.as_object().map(|o| o.keys().collect()).unwrap_or_default();
    p.note(
        step,
        json!({ "listed": topics.iter().any(|topic| *topic == *name), "members": members }),
    );
}

fn names() -> Vec<Case> {
    vec![
        case("names_of_all_topics", |p| {
            p.topic("<t>", 1);
            listed(p, "all", &Ask::new(request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER));
            listed(
                p,
                "cluster",
                &with(request::GET_TOPICS_BY_CLUSTER, "cluster", "DefaultCluster"),
            );
        }),
        case("names_of_topics_of_an_unknown_cluster", |p| {
            ask(p, "unknown", &with(request::GET_TOPICS_BY_CLUSTER, "cluster", "<other>"));
            ask(p, "absent", &Ask::new(request::GET_TOPICS_BY_CLUSTER).set("other", 1));
        }),
        case("names_of_system_topics", |p| {
            let mut namesrv = p.namesrv();
            let list = Ask::new(request::GET_SYSTEM_TOPIC_LIST_FROM_NS);
            let answer = p.prepare_over(&mut namesrv, &list);
            let body = p.json(&answer);
            let mut names = body["topicList"].as_array().cloned().unwrap_or_default();
            // Beside brokers that other cases register meanwhile.
            names.retain(|name| *name == "DefaultCluster" || *name == "broker-a");
            p.note("names", json!({ "names": names, "broker": body["brokerAddr"].is_string() }));
        }),
        case("names_of_units", |p| {
            p.prepare(&update_topic("<t>").set("topicSysFlag", 1));
            listed(p, "units", &Ask::new(request::GET_UNIT_TOPIC_LIST));
            listed(p, "subscribed", &Ask::new(request::GET_HAS_UNIT_SUB_TOPIC_LIST));
            listed(p, "of no unit", &Ask::new(request::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST));
        }),
        case("names_of_subscribed_units", |p| {
            p.prepare(&update_topic("<t>").set("topicSysFlag", 2));
            listed(p, "units", &Ask::new(request::GET_UNIT_TOPIC_LIST));
            listed(p, "subscribed", &Ask::new(request::GET_HAS_UNIT_SUB_TOPIC_LIST));
            listed(p, "of no unit", &Ask::new(request::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST));
        }),
    ]
}

fn values() -> Vec<Case> {
    let put = |value: &str| {
        with(request::PUT_KV_CONFIG, "namespace", "<n>").set("key", "<k>").set("value", value)
    };
    let get = || with(request::GET_KV_CONFIG, "namespace", "<n>").set("key", "<k>");
    let delete = || with(request::DELETE_KV_CONFIG, "namespace", "<n>").set("key", "<k>");
    let list = || with(request::GET_KVLIST_BY_NAMESPACE, "namespace", "<n>");
    vec![
        case("value_put_and_got", move |p| {
            ask(p, "put", &put("a value, with \"signs\" and \u{e4}"));
            ask(p, "get", &get());
            ask(p, "list", &list());
            ask(p, "change", &put("another"));
            ask(p, "changed", &get());
        }),
        case("value_deleted", move |p| {
            ask(p, "put", &put("x"));
            ask(p, "delete", &delete());
            ask(p, "get", &get());
            ask(p, "list", &list());
            ask(p, "again", &delete());
        }),
        case("value_never_put", move |p| {
            ask(p, "get", &get());
            ask(p, "list", &list());
            ask(p, "delete", &delete());
        }),
        case("value_without_its_fields", move |p| {
            for field in ["namespace", "key", "value"] {
                ask(p, &format!("put without {field}"), &put("x").without(field));
            }
            for field in ["namespace", "key"] {
                ask(p, &format!("get without {field}"), &get().without(field));
                ask(p, &format!("delete without {field}"), &delete().without(field));
            }
            ask(p, "list without namespace", &list().without("namespace"));
        }),
        case("empty_value", move |p| {
            ask(p, "put", &put(""));
            ask(p, "get", &get());
        }),
    ]
}

/// What a broker registers that no process runs: one topic to write, one to read alone.
const REGISTRATION: &str = r#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":1,"timestamp":1},"topicConfigTable":{"<t>":{"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG","topicName":"<t>","topicSysFlag":0,"writeQueueNums":4},"<s>":{"order":false,"perm":4,"readQueueNums":1,"topicFilterType":"SINGLE_TAG","topicName":"<s>","topicSysFlag":0,"writeQueueNums":1}}}}"#;

/// QUERY_DATA_VERSION of such a broker. Its address is what the name server knows it by, so cases have different ones.
fn version(addr: &str) -> Ask {
    with(request::QUERY_DATA_VERSION, "brokerName", "<b>")
        .set("brokerAddr", addr)
        .set("clusterName", "<n>")
        .set("brokerId", 0)
        .text(r#"{"counter":1,"timestamp":1}"#)
}

/// It unregisters.
fn gone(addr: &str) -> Ask {
    with(request::UNREGISTER_BROKER, "brokerName", "<b>")
        .set("brokerAddr", addr)
        .set("clusterName", "<n>")
        .set("brokerId", 0)
}

fn brokers() -> Vec<Case> {
    vec![
        case("write_permission_of_an_unknown_broker", |p| {
            ask(p, "wipe", &with(request::WIPE_WRITE_PERM_OF_BROKER, "brokerName", "<b>"));
            ask(p, "add", &with(request::ADD_WRITE_PERM_OF_BROKER, "brokerName", "<b>"));
        }),
        case("write_permission_of_no_broker", |p| {
            ask(p, "wipe", &Ask::new(request::WIPE_WRITE_PERM_OF_BROKER).set("other", 1));
            ask(p, "add", &Ask::new(request::ADD_WRITE_PERM_OF_BROKER).set("other", 1));
        }),
        case("version_of_an_unknown_broker", |p| {
            ask(p, "version", &version("192.0.2.1:1"));
        }),
        case("version_without_a_body", |p| {
            ask(p, "version", &version("192.0.2.2:1").bytes([]));
        }),
        case("unknown_broker_leaves", |p| {
            ask(p, "leave", &gone("192.0.2.4:1"));
        }),
        case("registered_and_gone", registered_and_gone),
    ]
}

fn registered_and_gone(p: &mut Play) {
    let addr = "192.0.2.3:1";
    let mut namesrv = p.namesrv();
    let register = with(request::REGISTER_BROKER, "brokerName", "<b>")
        .set("brokerAddr", addr)
        .set("clusterName", "<n>")
        .set("haServerAddr", "192.0.2.1:2")
        .set("brokerId", 0)
        .set("compressed", false)
        .text(REGISTRATION);
    p.ask_over(&mut namesrv, "register", &register);
    p.ask_over(&mut namesrv, "route", &route("<t>"));
    p.ask_over(&mut namesrv, "read only", &route("<s>"));
    p.ask_over(&mut namesrv, "same version", &version(addr));
    p.ask_over(
        &mut namesrv,
        "other version",
        &version(addr).text(r#"{"counter":2,"timestamp":1}"#),
    );
    p.ask_over(
        &mut namesrv,
        "wipe",
        &with(request::WIPE_WRITE_PERM_OF_BROKER, "brokerName", "<b>"),
    );
    p.ask_over(&mut namesrv, "wiped", &route("<t>"));
    p.ask_over(&mut namesrv, "add", &with(request::ADD_WRITE_PERM_OF_BROKER, "brokerName", "<b>"));
    p.ask_over(&mut namesrv, "added", &route("<s>"));
    p.ask_over(&mut namesrv, "leave", &gone(addr));
    p.ask_over(&mut namesrv, "no route", &route("<t>"));
}

fn odd() -> Vec<Case> {
    vec![
        case("unknown_request", |p| {
            ask(p, "request", &Ask::new(9_999));
        }),
        case("unknown_request", |p| {
            ask(p, "request", &Ask::new(9_999));
        })
        .java5(),
        case("request_for_a_broker", |p| {
            ask(p, "send", &crate::ask::send("<t>"));
        })
        .java5(),
    ]
}
