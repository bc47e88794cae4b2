//! Goal: with access control nobody does what the rules do not allow, everybody does what they allow, and rules change while the
//! broker works without a failed request. Method: accounts and users of each kind ask over TCP, signed and not; files are changed by
//! hand and by the requests of tools; the broker is killed behind each change. Accounts of 4.9; users of 5.x are in `access_users`.

use client::{Answer, Connection, ExtValue, Message, NewTopic, PullRequest};
use loadtest::harness::{
    our_broker::OurBroker,
    requests::{ask_with as ask, heartbeat_of, lock_of, pull_of, send_to},
    wait_until,
};
use proto::code::{request, response};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

const ACCOUNTS: &str = r#"# Accounts of the test.
globalWhiteRemoteAddresses:
  - 10.10.103.*   # nobody here

accounts:
  - accessKey: operator
    secretKey: operators-secret
    admin: true
  # sends orders
  - accessKey: producer
    secretKey: 12345678
    topicPerms:
      - orders=PUB     # only sends
      - closed=DENY
  - accessKey: consumer
    secretKey: consumers-secret
    defaultTopicPerm: SUB
    topicPerms:
      - closed=DENY
    groupPerms:
      - readers=SUB
"#;

fn accounts_file(home: &Path) -> PathBuf {
    home.join("conf/plain_acl.yml")
}

/// A broker with accounts in a directory that lives as long.
struct WithAccounts {
    broker: OurBroker,
    home: tempfile::TempDir,
}

impl WithAccounts {
    fn start() -> WithAccounts {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("conf")).unwrap();
        fs::write(accounts_file(home.path()), ACCOUNTS).unwrap();
        let directory = home.path().display().to_string();
        let keys = [("shards", "2"), ("aclEnable", "true"), ("rocketmqHome", directory.as_str())];
        WithAccounts { broker: OurBroker::standalone(&keys), home }
    }

    fn file(&self) -> PathBuf {
        accounts_file(self.home.path())
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    fn operator(&self) -> Connection {
        connect(&self.broker, Some(("operator", "operators-secret")))
    }
}

fn connect(broker: &OurBroker, account: Option<(&str, &str)>) -> Connection {
    let mut connection = Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap();
    if let Some((name, secret)) = account {
        connection.sign_as(name, secret);
    }
    connection
}

fn figure(operator: &mut Connection, name: &str) -> u64 {
    let info = operator.runtime_info().unwrap();
    let (_, value) = info.iter().find(|(key, _)| key == name).unwrap_or_else(|| panic!("{name}"));
    value.parse().unwrap()
}

/// One request, and who may send it.
struct Case {
    what: &'static str,
    ask: fn(&mut Connection) -> Answer,
    /// Names of accounts, `-` for who does not sign.
    allowed: &'static [&'static str],
}

const OPERATOR: &[&str] = &["operator"];
const WRITERS: &[&str] = &["operator", "producer"];
const READERS: &[&str] = &["operator", "consumer"];
const EVERYBODY: &[&str] = &["operator", "producer", "consumer"];

const CASES: &[Case] = &[
    Case { what: "send", ask: |c| send_to(c, "orders"), allowed: WRITERS },
    Case { what: "send to a closed topic", ask: |c| send_to(c, "closed"), allowed: OPERATOR },
    Case { what: "send to another", ask: |c| send_to(c, "others"), allowed: OPERATOR },
    Case { what: "a trace", ask: |c| send_to(c, "RMQ_SYS_TRACE_TOPIC"), allowed: EVERYBODY },
    Case { what: "to retries", ask: |c| send_to(c, "%RETRY%readers"), allowed: READERS },
    Case {
        what: "send, long names",
        ask: |c| {
            let ext = [
                ("producerGroup", "p"),
                ("topic", "others"),
                ("defaultTopic", "TBW102"),
                ("defaultTopicQueueNums", "4"),
                ("queueId", "0"),
                ("sysFlag", "0"),
                ("bornTimestamp", "1"),
                ("flag", "0"),
            ];
            ask(c, request::SEND_MESSAGE, &ext, "body")
        },
        allowed: OPERATOR,
    },
    Case {
        what: "a long name beside a short one",
        ask: |c| {
            let ext = [
                ("a", "p"),
                ("b", "closed"),
                ("c", "TBW102"),
                ("d", "4"),
                ("e", "0"),
                ("f", "0"),
                ("g", "1"),
                ("h", "0"),
                ("topic", "orders"),
            ];
            ask(c, request::SEND_MESSAGE_V2, &ext, "body")
        },
        allowed: OPERATOR,
    },
    Case { what: "pull", ask: |c| pull_of(c, "readers", "orders"), allowed: READERS },
    Case { what: "pull closed", ask: |c| pull_of(c, "readers", "closed"), allowed: OPERATOR },
    Case { what: "pull for others", ask: |c| pull_of(c, "strangers", "orders"), allowed: OPERATOR },
    Case { what: "heartbeat", ask: |c| heartbeat_of(c, "readers", "orders"), allowed: READERS },
    Case {
        what: "join others",
        ask: |c| heartbeat_of(c, "strangers", "orders"),
        allowed: OPERATOR,
    },
    Case {
        what: "subscribe closed",
        ask: |c| heartbeat_of(c, "readers", "closed"),
        allowed: OPERATOR,
    },
    Case { what: "lock", ask: |c| lock_of(c, "readers", "orders"), allowed: READERS },
    Case { what: "lock for others", ask: |c| lock_of(c, "strangers", "orders"), allowed: OPERATOR },
    Case { what: "lock closed", ask: |c| lock_of(c, "readers", "closed"), allowed: OPERATOR },
    Case {
        what: "commit",
        ask: |c| {
            let ext = [
                ("consumerGroup", "readers"),
                ("topic", "orders"),
                ("queueId", "0"),
                ("commitOffset", "0"),
            ];
            ask(c, request::UPDATE_CONSUMER_OFFSET, &ext, "")
        },
        allowed: READERS,
    },
    Case {
        what: "commit for others",
        ask: |c| {
            let ext = [
                ("consumerGroup", "strangers"),
                ("topic", "orders"),
                ("queueId", "0"),
                ("commitOffset", "0"),
            ];
            ask(c, request::UPDATE_CONSUMER_OFFSET, &ext, "")
        },
        allowed: OPERATOR,
    },
    Case {
        what: "largest offset",
        ask: |c| ask(c, request::GET_MAX_OFFSET, &[("topic", "orders"), ("queueId", "0")], ""),
        allowed: EVERYBODY,
    },
    Case {
        what: "largest offset of a closed topic",
        ask: |c| ask(c, request::GET_MAX_OFFSET, &[("topic", "closed"), ("queueId", "0")], ""),
        allowed: OPERATOR,
    },
    Case {
        what: "batch ack",
        ask: |c| {
            let ack = r#"{"c":"readers","t":"closed","r":"0","so":0,"q":0,"rq":0,"pt":1,"it":1,"b":"AQ=="}"#;
            ask(
                c,
                request::BATCH_ACK_MESSAGE,
                &[],
                &format!("{{\"brokerName\":\"broker-a\",\"acks\":[{ack}]}}"),
            )
        },
        allowed: OPERATOR,
    },
    Case {
        what: "settings",
        ask: |c| ask(c, request::GET_BROKER_CONFIG, &[], ""),
        allowed: OPERATOR,
    },
    Case {
        what: "figures",
        ask: |c| ask(c, request::GET_BROKER_RUNTIME_INFO, &[], ""),
        allowed: OPERATOR,
    },
    Case {
        what: "topics",
        ask: |c| ask(c, request::GET_ALL_TOPIC_CONFIG, &[], ""),
        allowed: OPERATOR,
    },
    Case {
        what: "versions of accounts",
        ask: |c| ask(c, request::GET_BROKER_CLUSTER_ACL_INFO, &[], ""),
        allowed: OPERATOR,
    },
    Case {
        what: "explain",
        ask: |c| {
            ask(
                c,
                request::EXPLAIN_ACCESS,
                &[("user", "producer"), ("topic", "t"), ("action", "Pub")],
                "",
            )
        },
        allowed: OPERATOR,
    },
];

#[test]
fn accounts_do_what_they_may_and_nothing_else() {
    let with = WithAccounts::start();
    let mut operator = with.operator();
    for topic in ["orders", "closed", "others", "RMQ_SYS_TRACE_TOPIC"] {
        // The topic of traces is the system's; it is there already or made like any.
        let _ = operator.create_topic(&NewTopic::new(topic, 2));
    }
    for group in ["readers", "strangers"] {
        operator.create_group(group).unwrap();
    }
    let who = [
        ("-", None),
        ("forger", Some(("operator", "a-wrong-secret"))),
        ("stranger", Some(("stranger", "12345678"))),
        ("producer", Some(("producer", "12345678"))),
        ("consumer", Some(("consumer", "consumers-secret"))),
        ("operator", Some(("operator", "operators-secret"))),
    ];
    let mut checked = 0;
    for Case { what, ask, allowed } in CASES {
        for (name, account) in who {
            let mut connection = connect(&with.broker, account);
            let answer = ask(&mut connection);
            let remark = answer.remark.clone().unwrap_or_default();
            let refused = remark.contains("AclException");
            assert_eq!(
                refused,
                !allowed.contains(&name),
                "{what} by {name}: {} {remark}",
                answer.code
            );
            if refused {
                assert_eq!(answer.code, response::SYSTEM_ERROR, "{what} by {name}");
                let part = match name {
                    "-" => "No accessKey is configured",
                    "forger" => "Check signature failed for accessKey=operator",
                    "stranger" => "No acl config for stranger",
                    _ => "",
                };
                assert!(remark.contains(part), "{what} by {name}: {remark}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 120);
    for reason in ["noCredentials", "badSignature", "unknownAccount", "notAdmin", "denied"] {
        assert!(figure(&mut operator, &format!("ringmq.acl.refused.{reason}")) > 0, "{reason}");
    }
    assert!(with.broker.log().contains("a request is refused by access control"));
}

#[test]
fn a_signature_covers_all_that_was_sent() {
    let with = WithAccounts::start();
    let mut producer = connect(&with.broker, Some(("producer", "12345678")));
    producer.set_header_kind(proto::frame::HeaderKind::Rocketmq);
    let mut operator = with.operator();
    operator.create_topic(&NewTopic::new("orders", 2)).unwrap();
    assert_eq!(
        send_to(&mut producer, "orders").code,
        response::SUCCESS,
        "binary headers are signed alike"
    );
    let signer = acl::Signer::new("producer", "12345678").unwrap();
    let fields: [(&str, ExtValue<'_>); 8] = [
        ("a", "p".into()),
        ("b", "orders".into()),
        ("c", "TBW102".into()),
        ("d", "4".into()),
        ("e", "0".into()),
        ("f", "0".into()),
        ("g", "1".into()),
        ("h", "0".into()),
    ];
    let signature = signer.sign(&fields, b"body");
    let mut unsigned = connect(&with.broker, None);
    let mut send = |more: &[(&'static str, ExtValue<'static>)], body: &[u8]| {
        let mut ext = fields.to_vec();
        ext.push(("AccessKey", "producer".into()));
        ext.push(("Signature", signature.as_str().into()));
        ext.extend_from_slice(more);
        unsigned.call(request::SEND_MESSAGE_V2, &ext, body).unwrap().code
    };
    assert_eq!(send(&[], b"body"), response::SUCCESS);
    assert_eq!(send(&[], b"Body"), response::SYSTEM_ERROR, "another body");
    assert_eq!(send(&[("i", "x\u{1}y".into())], b"body"), response::SYSTEM_ERROR, "one more field");
    assert_eq!(
        send(&[("__ZONE_NAME", "z".into())], b"body"),
        response::SUCCESS,
        "5.x adds it unsigned"
    );
    assert_eq!(operator.max_offset("orders", 0).unwrap(), 3);
}

/// A group gets back what its members may consume, whatever offset is named.
#[test]
fn nobody_reads_a_closed_topic_by_sending_its_messages_back() {
    let with = WithAccounts::start();
    let mut operator = with.operator();
    for topic in ["orders", "closed"] {
        operator.create_topic(&NewTopic::new(topic, 1)).unwrap();
    }
    operator.create_group("readers").unwrap();
    let mut consumer = connect(&with.broker, Some(("consumer", "consumers-secret")));
    for (topic, expected) in [("orders", 0), ("closed", 1)] {
        operator.send(&Message::new(topic, 0, b"body")).unwrap();
        let pulled = operator.pull(&PullRequest::new("readers", topic, 0, 0)).unwrap();
        let offset = pulled.messages[0].physical_offset.to_string();
        let ext = [
            ("offset", offset.as_str()),
            ("group", "readers"),
            ("delayLevel", "1"),
            ("originTopic", "orders"),
        ];
        let answer = ask(&mut consumer, request::CONSUMER_SEND_MSG_BACK, &ext, "");
        assert_eq!(answer.code, expected, "{topic}: {:?}", answer.remark);
    }
}

/// Answers 100 to 102, 105 and 318 of the name server inside.
#[test]
fn the_name_server_inside_has_the_same_rules() {
    let with = WithAccounts::start();
    let namesrv = with.broker.namesrv_addr().parse().unwrap();
    let mut codes = Vec::new();
    for account in [None, Some(("producer", "12345678")), Some(("operator", "operators-secret"))] {
        let mut connection = Connection::connect_patiently(namesrv, PATIENCE).unwrap();
        if let Some((name, secret)) = account {
            connection.sign_as(name, secret);
        }
        let kv = [("namespace", "n"), ("key", "k"), ("value", "v")];
        let put = ask(&mut connection, request::PUT_KV_CONFIG, &kv, "").code;
        let set =
            ask(&mut connection, request::UPDATE_NAMESRV_CONFIG, &[], "orderMessageEnable=true");
        let route =
            ask(&mut connection, request::GET_ROUTEINFO_BY_TOPIC, &[("topic", "TBW102")], "");
        codes.push((put, set.code, route.code));
    }
    assert_eq!(codes, [(1, 1, 0), (1, 1, 0), (0, 0, 0)]);
}

#[test]
fn files_change_under_load_without_a_failed_request() {
    let with = WithAccounts::start();
    let mut operator = with.operator();
    operator.create_topic(&NewTopic::new("orders", 4)).unwrap();
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut producer = connect(&with.broker, Some(("producer", "12345678")));
                while !stop.load(SeqCst) {
                    let answer = send_to(&mut producer, "orders");
                    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
                    sent.fetch_add(1, SeqCst);
                }
            });
        }
        let ended = scope
            .spawn(|| {
                for round in 1..=5 {
                    let before = sent.load(SeqCst);
                    let reloads = figure(&mut operator, "ringmq.acl.reloads");
                    let more = format!("  - accessKey: newcomer{round}\n    secretKey: 12345678\n");
                    fs::write(with.file(), format!("{ACCOUNTS}{more}")).unwrap();
                    let key = format!("newcomer{round}");
                    let taken = wait_until(PATIENCE, || {
                        let mut newcomer = connect(&with.broker, Some((&key, "12345678")));
                        let answer = ask(&mut newcomer, request::CHECK_CLIENT_CONFIG, &[], "{}");
                        !answer.remark.unwrap_or_default().contains("AclException")
                    });
                    assert!(taken, "round {round}");
                    assert!(figure(&mut operator, "ringmq.acl.reloads") > reloads);
                    assert!(wait_until(PATIENCE, || sent.load(SeqCst) > before));
                }
                // A file with a mistake changes nothing, and says so.
                fs::write(with.file(), "accounts:\n- accessKey: operator\n  secretKey: 1\n")
                    .unwrap();
                assert!(
                    wait_until(PATIENCE, || figure(&mut operator, "ringmq.acl.failedReloads") > 0)
                );
                let before = sent.load(SeqCst);
                assert!(wait_until(PATIENCE, || sent.load(SeqCst) > before + 10));
                fs::write(with.file(), ACCOUNTS).unwrap();
            })
            .join();
        stop.store(true, SeqCst);
        ended.unwrap();
    });
    let log = with.broker.log();
    let line = log.lines().find(|line| line.contains("cannot be used")).expect("it is logged");
    assert!(line.contains("line 3: secretKey") && line.contains("plain_acl.yml"), "{line}");
    assert!(!log.contains("12345678"), "secrets are not logged");
}

#[test]
fn tools_change_files_that_keep_their_comments_and_survive() {
    let mut with = WithAccounts::start();
    let put = |with: &WithAccounts, ext: &[(&str, &str)]| {
        let answer = ask(&mut with.operator(), request::UPDATE_AND_CREATE_ACL_CONFIG, ext, "");
        (answer.code, answer.remark.unwrap_or_default())
    };
    let new = [
        ("accessKey", "newcomer"),
        ("secretKey", "newcomers-secret"),
        ("admin", "false"),
        ("defaultTopicPerm", "PUB|SUB"),
        ("topicPerms", "closed=DENY,orders=PUB"),
        ("groupPerms", "g=SUB"),
    ];
    assert_eq!(put(&with, &new), (0, String::new()));
    let newcomer = Some(("newcomer", "newcomers-secret"));
    // In force on all workers when it is answered.
    for _ in 0..8 {
        let mut connection = connect(&with.broker, newcomer);
        assert_eq!(send_to(&mut connection, "orders").code, response::SUCCESS);
        assert!(send_to(&mut connection, "closed").remark.unwrap().contains("AclException"));
    }
    with.broker.kill9();
    with.broker.restart();
    assert_eq!(send_to(&mut connect(&with.broker, newcomer), "orders").code, response::SUCCESS);
    let changed =
        [("accessKey", "producer"), ("secretKey", "12345678"), ("topicPerms", "closed=PUB")];
    assert_eq!(put(&with, &changed), (0, String::new()));
    for kept in
        ["# Accounts of the test.", "# nobody here", "# sends orders", "    secretKey: 12345678\n"]
    {
        assert!(with.text().contains(kept), "{kept}:\n{}", with.text());
    }
    let mut producer = connect(&with.broker, Some(("producer", "12345678")));
    assert!(send_to(&mut producer, "orders").remark.unwrap().contains("AclException"));
    let (code, remark) =
        put(&with, &[("accessKey", "short"), ("secretKey", "x"), ("topicPerms", "a=ALL")]);
    assert_eq!(code, 209);
    for part in ["accessKey:", "secretKey:", "a=ALL"] {
        assert!(remark.contains(part), "{part}: {remark}");
    }
    let answer = ask(&mut with.operator(), request::GET_BROKER_CLUSTER_ACL_INFO, &[], "");
    let version: Value = serde_json::from_str(answer.ext("version").unwrap()).unwrap();
    assert_eq!(version["counter"], 2);
    let all: Value = serde_json::from_str(answer.ext("allAclFileVersion").unwrap()).unwrap();
    assert_eq!(all[with.file().display().to_string()]["counter"], 2);
    assert_eq!(answer.ext("brokerName"), Some("broker-a"));
    let white = [("globalWhiteAddrs", "10.0.0.{1,2},127.0.0.*"), ("aclFileFullPath", "")];
    let answer = ask(&mut with.operator(), request::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG, &white, "");
    assert_eq!((answer.code, answer.remark), (0, None));
    with.broker.kill9();
    with.broker.restart();
    let mut unsigned = connect(&with.broker, None);
    assert_eq!(
        send_to(&mut unsigned, "orders").code,
        response::SUCCESS,
        "a white list lets it pass"
    );
    let other = [("globalWhiteAddrs", "10.0.0.1"), ("aclFileFullPath", "/etc/hostname")];
    let answer = ask(&mut unsigned, request::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG, &other, "");
    assert_eq!(answer.code, 211, "{:?}", answer.remark);
    let none = [("globalWhiteAddrs", "10.0.0.1"), ("aclFileFullPath", "")];
    assert_eq!(ask(&mut unsigned, request::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG, &none, "").code, 0);
    assert!(send_to(&mut unsigned, "orders").remark.unwrap().contains("AclException"));
    let gone = [("accessKey", "newcomer")];
    assert_eq!(ask(&mut with.operator(), request::DELETE_ACL_CONFIG, &gone, "").code, 0);
    assert_eq!(ask(&mut with.operator(), request::DELETE_ACL_CONFIG, &gone, "").code, 210);
    with.broker.kill9();
    with.broker.restart();
    let answer = send_to(&mut connect(&with.broker, newcomer), "orders");
    assert!(answer.remark.unwrap().contains("No acl config for newcomer"));
}

#[test]
fn explanations_name_the_rule() {
    let with = WithAccounts::start();
    let explain = |ext: &[(&str, &str)]| {
        ask(&mut with.operator(), request::EXPLAIN_ACCESS, ext, "").json().unwrap()
    };
    let sub = explain(&[("user", "producer"), ("topic", "orders"), ("action", "Sub")]);
    assert_eq!((&sub["decision"], &sub["rule"]), (&json!("Deny"), &json!("permission PUB")));
    assert_eq!(sub["file"], json!(with.file().display().to_string()));
    let other = explain(&[("user", "consumer"), ("topic", "any"), ("action", "sub")]);
    assert_eq!(
        (&other["decision"], &other["rule"]),
        (&json!("Allow"), &json!("default permission SUB"))
    );
    let admin = explain(&[("user", "consumer"), ("topic", "any"), ("action", "Delete")]);
    assert_eq!((&admin["decision"], &admin["reason"]), (&json!("Deny"), &json!("notAdmin")));
    let nobody = explain(&[("user", "nobody"), ("group", "g"), ("action", "Sub")]);
    assert_eq!(nobody["reason"], json!("unknownAccount"));
    let wrong = [("user", "consumer"), ("topic", "any"), ("action", "Fly")];
    let answer = ask(&mut with.operator(), request::EXPLAIN_ACCESS, &wrong, "");
    assert!(answer.remark.unwrap().contains("expected one of All, Pub"));
}

#[test]
fn without_access_control_tools_are_told_so() {
    let broker = OurBroker::standalone(&[("shards", "1")]);
    let mut connection = connect(&broker, None);
    for (code, expected) in [
        (request::UPDATE_AND_CREATE_ACL_CONFIG, 209),
        (request::DELETE_ACL_CONFIG, 210),
        (request::GET_BROKER_CLUSTER_ACL_INFO, 1),
        (request::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG, 211),
        (request::AUTH_DELETE_USER, 16),
        (request::AUTH_LIST_USER, 16),
        (request::EXPLAIN_ACCESS, 1),
    ] {
        let ext = [("accessKey", "account"), ("user", "u"), ("action", "Pub")];
        let answer = ask(&mut connection, code, &ext, "");
        assert_eq!(answer.code, expected, "{code}: {:?}", answer.remark);
        assert!(answer.remark.unwrap().contains("off"), "{code}");
    }
    assert!(connect(&broker, Some(("any", "body"))).runtime_info().is_ok(), "signed all the same");
}

#[test]
fn a_file_with_a_mistake_starts_nothing() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("conf")).unwrap();
    fs::write(accounts_file(home.path()), "accounts:\n- accessKey: x\n  admin: maybe\n").unwrap();
    let directory = home.path().display().to_string();
    let keys = [("aclEnable", "true"), ("rocketmqHome", directory.as_str())];
    for arguments in [&[][..], &["--check"]] {
        let mut command =
            loadtest::harness::our_broker::standalone_in(home.path(), &keys, arguments);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        for part in ["plain_acl.yml", "line 2: accessKey", "line 3: admin=maybe"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
