//! Goal: users do what policies of 5.x allow and nothing else, and what tools change of users and policies is kept. Method: users of
//! each kind ask over TCP, signed and not; the broker is killed behind each change.

use client::{Answer, Connection, NewTopic};
use loadtest::harness::{
    our_broker::OurBroker,
    requests::{ask_with as ask, heartbeat_of, lock_of, pull_of, send_to},
};
use proto::code::{request, response};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

const ACCOUNTS: &str = "accounts:\n- {accessKey: operator, secretKey: operators-secret, admin: true}\n\
                        - {accessKey: producer, secretKey: 12345678, topicPerms: [orders=PUB, closed=DENY]}\n";

fn accounts_file(home: &Path) -> PathBuf {
    home.join("conf/plain_acl.yml")
}

fn connect(broker: &OurBroker, account: Option<(&str, &str)>) -> Connection {
    let mut connection = Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap();
    if let Some((name, secret)) = account {
        connection.sign_as(name, secret);
    }
    connection
}

const ROOT: (&str, &str) = ("root", "roots-secret");
const INIT_USER: &str = r#"{"username":"root","password":"roots-secret"}"#;

fn with_users(more: &[(&str, &str)]) -> OurBroker {
    let keys = [
        ("shards", "2"),
        ("authenticationEnabled", "true"),
        ("authorizationEnabled", "true"),
        ("initAuthenticationUser", INIT_USER),
    ];
    OurBroker::standalone(&[&keys, more].concat())
}

fn create_user(connection: &mut Connection, name: &str, kind: &str) -> (i32, String) {
    let body = json!({ "username": name, "password": format!("{name}s-secret"), "userType": kind });
    let answer =
        ask(connection, request::AUTH_CREATE_USER, &[("username", name)], &body.to_string());
    (answer.code, answer.remark.unwrap_or_default())
}

fn put_acl(
    connection: &mut Connection,
    user: &str,
    entries: &[(&str, &str, &str)],
) -> (i32, String) {
    let entry = |(resource, actions, decision): &(&str, &str, &str)| {
        let actions: Vec<&str> = actions.split(',').collect();
        json!({ "resource": resource, "actions": actions, "sourceIps": [], "decision": decision })
    };
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    let subject = format!("User:{user}");
    let body =
        json!({ "subject": subject, "policies": [{ "policyType": "Custom", "entries": entries }] });
    let answer =
        ask(connection, request::AUTH_CREATE_ACL, &[("subject", &subject)], &body.to_string());
    (answer.code, answer.remark.unwrap_or_default())
}

#[test]
fn users_do_what_policies_allow() {
    let broker = with_users(&[("authorizationWhitelist", "46")]);
    let mut root = connect(&broker, Some(ROOT));
    let done = (0, String::new());
    for topic in ["orders", "orders-eu", "others"] {
        root.create_topic(&NewTopic::new(topic, 2)).unwrap();
    }
    root.create_group("readers").unwrap();
    for name in ["alice", "bob"] {
        assert_eq!(create_user(&mut root, name, "Normal"), done);
    }
    let entries = [
        ("Topic:orders*", "Pub,Sub,Get", "Allow"),
        ("Topic:orders-eu", "Pub", "Deny"),
        ("Group:readers", "Sub,Get", "Allow"),
        ("Topic:made-*", "Create", "Allow"),
    ];
    assert_eq!(put_acl(&mut root, "alice", &entries), done);
    type Asked = fn(&mut Connection) -> Answer;
    let cases: [(&str, Asked, bool); 16] = [
        ("send", |c| send_to(c, "orders"), true),
        ("send where it is denied", |c| send_to(c, "orders-eu"), false),
        ("send elsewhere", |c| send_to(c, "others"), false),
        ("pull", |c| pull_of(c, "readers", "orders"), true),
        ("pull for others", |c| pull_of(c, "strangers", "orders"), false),
        ("heartbeat", |c| heartbeat_of(c, "readers", "orders"), true),
        ("join others", |c| heartbeat_of(c, "strangers", "orders"), false),
        ("lock", |c| lock_of(c, "readers", "others"), false),
        (
            "make a topic",
            |c| {
                let ext = [
                    ("topic", "made-1"),
                    ("defaultTopic", "TBW102"),
                    ("readQueueNums", "1"),
                    ("writeQueueNums", "1"),
                    ("perm", "6"),
                    ("topicFilterType", "SINGLE_TAG"),
                ];
                ask(c, request::UPDATE_AND_CREATE_TOPIC, &ext, "")
            },
            true,
        ),
        (
            "delete it",
            |c| ask(c, request::DELETE_TOPIC_IN_BROKER, &[("topic", "made-1")], ""),
            false,
        ),
        (
            "look at one",
            |c| ask(c, request::GET_TOPIC_STATS_INFO, &[("topic", "orders")], ""),
            true,
        ),
        ("look at all", |c| ask(c, request::GET_ALL_TOPIC_CONFIG, &[], ""), false),
        ("settings", |c| ask(c, request::GET_BROKER_CONFIG, &[], ""), false),
        ("users", |c| ask(c, request::AUTH_LIST_USER, &[], ""), false),
        (
            "make a group",
            |c| ask(c, request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], r#"{"groupName":"g"}"#),
            false,
        ),
        ("on a white list", |c| ask(c, request::CHECK_CLIENT_CONFIG, &[], "{}"), true),
    ];
    let mut alice = connect(&broker, Some(("alice", "alices-secret")));
    let mut bob = connect(&broker, Some(("bob", "bobs-secret")));
    for (what, asked, allowed) in cases {
        let answer = asked(&mut alice);
        let remark = answer.remark.clone().unwrap_or_default();
        let refused = remark.contains("has no permission to access");
        assert_eq!(refused, !allowed, "{what}: {} {remark}", answer.code);
        assert!(!refused || answer.code == response::NO_PERMISSION, "{what}: {}", answer.code);
        let by_bob = asked(&mut bob).remark.unwrap_or_default();
        assert_eq!(
            by_bob.contains("no matched policies."),
            what != "on a white list",
            "{what}: {by_bob}"
        );
        let by_root = asked(&mut root).remark.unwrap_or_default();
        assert!(!by_root.contains("has no permission"), "{what}: {by_root}");
    }
    for (account, expected) in [
        (None, "username cannot be null."),
        (Some(("carol", "x")), "User:carol is not found."),
        (Some(("alice", "x")), "check signature failed."),
    ] {
        let answer = send_to(&mut connect(&broker, account), "orders");
        assert_eq!((answer.code, answer.remark.as_deref()), (16, Some(expected)));
    }
    // No policy lets somebody become more than he is.
    assert_eq!(put_acl(&mut root, "bob", &[("Cluster:*", "All", "Allow")]), done);
    let (code, remark) = create_user(&mut bob, "mallory", "Super");
    assert_eq!((code, remark.as_str()), (1, "The super user can only be create by super user"));
    let body = json!({ "username": "root", "password": "mine" }).to_string();
    assert_eq!(ask(&mut bob, request::AUTH_UPDATE_USER, &[("username", "root")], &body).code, 1);
    let seen = ask(&mut bob, request::AUTH_GET_USER, &[("username", "root")], "").json().unwrap();
    assert_eq!((&seen["userType"], seen.get("password")), (&json!("Super"), None));
    let seen = ask(&mut root, request::AUTH_GET_USER, &[("username", "root")], "").json().unwrap();
    assert_eq!(seen["password"], json!("roots-secret"), "the Dashboard compares it");
    let shown = ask(&mut root, request::GET_BROKER_CONFIG, &[], "");
    assert!(!String::from_utf8_lossy(&shown.body).contains("roots-secret"));
}

#[test]
fn users_and_policies_survive_each_kill() {
    let mut broker = with_users(&[]);
    let done = (0, String::new());
    let mut names = Vec::new();
    for round in 0..6 {
        let mut root = connect(&broker, Some(ROOT));
        let name = format!("user{round}");
        assert_eq!(create_user(&mut root, &name, "Normal"), done);
        if round % 2 == 0 {
            broker.kill9();
            broker.restart();
            root = connect(&broker, Some(ROOT));
        }
        assert_eq!(put_acl(&mut root, &name, &[("Topic:*", "Pub", "Allow")]), done);
        names.push(name);
        broker.kill9();
        broker.restart();
        let mut root = connect(&broker, Some(ROOT));
        let users =
            ask(&mut root, request::AUTH_LIST_USER, &[("filter", "user")], "").json().unwrap();
        let found: Vec<&str> = users
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["username"].as_str().unwrap())
            .collect();
        assert_eq!(found, names);
        for name in &names {
            let secret = format!("{name}s-secret");
            let answer = send_to(&mut connect(&broker, Some((name, &secret))), "t");
            assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        }
    }
    let file = fs::metadata(broker.dir().join("data/config/auth.json")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600, "passwords are in it");
    let mut root = connect(&broker, Some(ROOT));
    let off = json!({ "username": "user0", "userStatus": "disable" }).to_string();
    assert_eq!(ask(&mut root, request::AUTH_UPDATE_USER, &[("username", "user0")], &off).code, 0);
    assert_eq!(ask(&mut root, request::AUTH_DELETE_USER, &[("username", "user1")], "").code, 0);
    let gone = [("subject", "User:user2"), ("resource", "Topic:*")];
    assert_eq!(ask(&mut root, request::AUTH_DELETE_ACL, &gone, "").code, 0);
    broker.kill9();
    broker.restart();
    for (name, expected) in [
        ("user0", "User:user0 is disabled."),
        ("user1", "User:user1 is not found."),
        ("user2", "User:user2 has no permission to access Topic:t"),
    ] {
        let secret = format!("{name}s-secret");
        let remark = send_to(&mut connect(&broker, Some((name, &secret))), "t").remark.unwrap();
        assert!(remark.contains(expected), "{remark}");
    }
    let mut root = connect(&broker, Some(ROOT));
    let absent = ask(&mut root, request::AUTH_GET_ACL, &[("subject", "User:user2")], "");
    assert_eq!((absent.code, absent.body.len()), (0, 0));
    let acls =
        ask(&mut root, request::AUTH_LIST_ACL, &[("resourceFilter", "Topic")], "").json().unwrap();
    assert_eq!(acls.as_array().unwrap().len(), 4, "{acls}");
}

#[test]
fn accounts_become_users_and_brokers_sign() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("conf")).unwrap();
    fs::write(accounts_file(home.path()), ACCOUNTS).unwrap();
    let directory = home.path().display().to_string();
    let broker = with_users(&[
        ("migrateAuthFromV1Enabled", "true"),
        ("rocketmqHome", &directory),
        (
            "innerClientAuthenticationCredentials",
            r#"{"accessKey":"inner","secretKey":"inners-secret"}"#,
        ),
    ]);
    let mut operator = connect(&broker, Some(("operator", "operators-secret")));
    operator.create_topic(&NewTopic::new("orders", 1)).unwrap();
    let mut producer = connect(&broker, Some(("producer", "12345678")));
    assert_eq!(send_to(&mut producer, "orders").code, response::SUCCESS);
    assert_eq!(pull_of(&mut producer, "readers", "orders").code, response::NO_PERMISSION);
    assert_eq!(send_to(&mut producer, "closed").code, response::NO_PERMISSION);
    let inner =
        ask(&mut operator, request::AUTH_GET_USER, &[("username", "inner")], "").json().unwrap();
    assert_eq!(inner["userType"], json!("Super"));
}
