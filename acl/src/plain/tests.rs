//! Accounts of files: what is read, what decides, what tools change.

use super::*;
use crate::{needs::Resource, signature::SigningKey};
use proto::command::HeaderArena;

const SAMPLE: &str = r#"# Who may do what.
globalWhiteRemoteAddresses:
  - 10.10.103.*   # the office
  - 192.168.0.1

accounts:
  # a producer
  - accessKey: producer
    secretKey: 12345678
    whiteRemoteAddress:
    admin: false
    defaultTopicPerm: DENY
    defaultGroupPerm: SUB
    topicPerms:
      - orders=PUB     # only sends
      - both=PUB|SUB
      - closed=DENY
    groupPerms:
      - groupA=DENY
      - groupB=PUB|SUB
  - accessKey: operator
    secretKey: "secret of operators"
    whiteRemoteAddress: 192.168.1.*
    admin: true
"#;

fn plain(text: &str) -> Plain {
    let file = read(text).unwrap_or_else(|problems| panic!("{problems}"));
    Plain::of(vec![("conf/plain_acl.yml".to_owned(), file)]).0
}

struct Asked<'a> {
    source: &'a str,
    key: Option<(&'a str, &'a str)>,
    admin: bool,
    needs: &'a [(Resource<'a>, &'static [Action])],
}

fn check(plain: &Plain, asked: &Asked<'_>) -> (Reason, String) {
    let mut fields = vec![("topic", "t")];
    let signature;
    if let Some((key, secret)) = asked.key {
        fields.push(("AccessKey", key));
        signature = SigningKey::new(secret).expect("any").sign(&fields, b"body");
        fields.push(("Signature", &signature));
    }
    let mut arena = HeaderArena::default();
    let ext = arena.ext_from(&fields).expect("few");
    let source = asked.source.parse().expect("an address");
    let call = Call { code: 17, source, ext, body: b"body" };
    let mut needs = if asked.admin { Needs::of_admin() } else { Needs::default() };
    asked.needs.iter().for_each(|(resource, actions)| needs.add(*resource, actions));
    let decision = match plain.authenticate(&call) {
        Ok(Caller::Free(decision)) => decision,
        Ok(Caller::Account(account)) => authorize(account, &needs),
        Ok(Caller::User(_)) => panic!("not of 5.x"),
        Err(refused) => refused,
    };
    (decision.reason, remark(&call, &decision))
}

const PUB: &[Action] = &[Action::Pub];
const SUB: &[Action] = &[Action::Sub, Action::Get];

#[test]
fn rules_decide_as_they_are_documented() {
    let plain = plain(SAMPLE);
    let topic = Resource::topic;
    let group = Resource::group;
    let producer = Some(("producer", "12345678"));
    let operator = Some(("operator", "secret of operators"));
    let far = "1.2.3.4";
    type Case<'a> = (
        &'a str,
        Option<(&'a str, &'a str)>,
        bool,
        &'a [(Resource<'a>, &'static [Action])],
        Reason,
    );
    let cases: &[Case<'_>] = &[
        ("10.10.103.9", None, true, &[], Reason::Allowed),
        ("::ffff:192.168.0.1", None, true, &[], Reason::Allowed),
        (far, None, false, &[], Reason::NoCredentials),
        (far, Some(("", "x")), false, &[], Reason::NoCredentials),
        (far, Some(("nobody", "12345678")), false, &[], Reason::UnknownAccount),
        (far, Some(("producer", "12345679")), false, &[], Reason::BadSignature),
        (far, producer, false, &[], Reason::Allowed),
        (far, producer, true, &[], Reason::NotAdmin),
        (far, producer, false, &[(topic("orders"), PUB)], Reason::Allowed),
        (far, producer, false, &[(topic("orders"), SUB)], Reason::Denied),
        (far, producer, false, &[(topic("both"), SUB)], Reason::Allowed),
        (far, producer, false, &[(topic("closed"), PUB)], Reason::Denied),
        (far, producer, false, &[(topic("other"), PUB)], Reason::NoRule),
        (far, producer, false, &[(group("groupA"), SUB)], Reason::Denied),
        (far, producer, false, &[(group("groupB"), SUB)], Reason::Allowed),
        (far, producer, false, &[(group("groupC"), SUB)], Reason::Allowed),
        (far, producer, false, &[(topic("%RETRY%groupA"), SUB)], Reason::Denied),
        (far, producer, false, &[(topic("%RETRY%groupC"), SUB)], Reason::Allowed),
        (far, producer, false, &[(topic("both"), SUB), (group("groupA"), SUB)], Reason::Denied),
        (far, producer, false, &[(topic("RMQ_SYS_TRACE_TOPIC"), PUB)], Reason::Allowed),
        (far, producer, false, &[(topic("RMQ_SYS_TRACE_TOPIC"), SUB)], Reason::NoRule),
        (
            far,
            producer,
            false,
            &[(topic("RMQ_SYS_TRACE_TOPIC"), PUB), (topic("closed"), PUB)],
            Reason::Denied,
        ),
        (far, operator, true, &[], Reason::Allowed),
        (far, operator, false, &[(topic("orders"), PUB), (group("g"), SUB)], Reason::Allowed),
        ("192.168.1.7", Some(("operator", "wrong")), true, &[], Reason::Allowed),
        ("192.168.2.7", Some(("operator", "wrong")), true, &[], Reason::BadSignature),
    ];
    for (source, key, admin, needs, expected) in cases {
        let asked = Asked { source, key: *key, admin: *admin, needs };
        let (reason, remark) = check(&plain, &asked);
        assert_eq!(reason, *expected, "{source} {key:?} admin={admin} {needs:?}: {remark}");
        assert!(remark.starts_with("org.apache.rocketmq.acl.common.AclException: "));
        assert!(!remark.contains("12345678"), "secrets stay secret");
    }
}

#[test]
fn an_administrator_with_lists_is_checked_like_others() {
    let text = "accounts:\n- accessKey: limited\n  secretKey: 12345678\n  admin: true\n  topicPerms: [a=PUB]\n";
    let plain = plain(text);
    let key = Some(("limited", "12345678"));
    let ask = |topic: &str, admin| {
        let needs = [(Resource::topic(topic), PUB)];
        check(&plain, &Asked { source: "1.1.1.1", key, admin, needs: &needs }).0
    };
    assert_eq!(ask("a", false), Reason::Allowed);
    assert_eq!(ask("b", false), Reason::NoRule);
    assert_eq!(ask("b", true), Reason::Allowed, "administering is what it may");
}

#[test]
fn mistakes_are_all_found_each_with_its_line() {
    let text = "globalWhiteRemoteAddresses: [10.0.0.300]\naccounts:\n- accessKey: short\n  secretKey: 12345678\n\
                - accessKey: longenough\n  admin: maybe\n  topicPerms:\n  - a=PUBB\n  - b\n  topicPerm: x\n\
                - accessKey: longenough\n  secretKey: 12345678\n  defaultTopicPerm: ANY\n- x\nacounts: []\n";
    let problems = read(text).expect_err("many").0;
    let found: Vec<(usize, &str)> =
        problems.iter().map(|problem| (problem.line, problem.reason.as_str())).collect();
    for (line, part) in [
        (1, "10.0.0.300"),
        (3, "accessKey: expected more than 6"),
        (5, "an account without secretKey"),
        (6, "admin=maybe"),
        (8, "a=PUBB"),
        (9, "b: expected name="),
        (10, "topicPerm: no field of an account"),
        (13, "defaultTopicPerm=ANY"),
        (14, "an account: expected fields"),
        (15, "acounts: no field of the file"),
    ] {
        let there = found.iter().any(|(at, reason)| *at == line && reason.contains(part));
        assert!(there, "line {line}: {part} in {found:?}");
    }
    assert_eq!(found.len(), 10, "{found:?}");
    assert!(!problems.iter().any(|problem| problem.reason.contains("12345678")));
    let twice = "accounts:\n- {accessKey: twice_1, secretKey: 12345678}\n- {accessKey: twice_1, secretKey: 12345678}\n";
    assert!(
        read(twice).expect_err("twice").to_string().contains("twice_1 stands in the file twice")
    );
    assert!(read("").expect("nothing is an empty file").accounts.is_empty());
}

#[test]
fn the_first_file_with_an_account_counts() {
    let file = |perm: &str| {
        let text = format!(
            "accounts:\n- {{accessKey: account, secretKey: 12345678, defaultTopicPerm: {perm}}}\n"
        );
        read(&text).expect("good")
    };
    let (plain, repeated) =
        Plain::of(vec![("a.yml".to_owned(), file("PUB")), ("b.yml".to_owned(), file("SUB"))]);
    assert_eq!(repeated, ["account in b.yml"]);
    assert_eq!(plain.file_of("account"), Some("a.yml"));
}

#[test]
fn explanations_name_the_rule_and_its_file() {
    let plain = plain(SAMPLE);
    let mut needs = Needs::default();
    needs.add(Resource::topic("orders"), SUB);
    let question = Question {
        account: "producer",
        resource: Resource::topic("orders"),
        action: Action::Sub,
        source: None,
    };
    let decision = plain.explain(&question, &needs);
    assert_eq!(decision.reason, Reason::Denied);
    assert_eq!(decision.rule.to_string(), "permission PUB");
    assert_eq!(decision.file, Some("conf/plain_acl.yml"));
    let from_office = Question { source: Some("10.10.103.1".parse().expect("one")), ..question };
    let decision = plain.explain(&from_office, &needs);
    assert_eq!(decision.rule.to_string(), "globalWhiteRemoteAddresses 10.10.103.*");
}

#[test]
fn a_change_writes_its_lines_and_keeps_all_others() {
    let change = AccountChange {
        access_key: "producer",
        secret_key: "12345678",
        default_topic: Some("SUB"),
        topics: Some(vec!["orders=PUB|SUB", "new=SUB"]),
        ..AccountChange::default()
    };
    let changed = put_account(SAMPLE, &change, 1_700_000_000_000).expect("good");
    for kept in [
        "# Who may do what.",
        "# the office",
        "# a producer",
        "    secretKey: 12345678\n",
        "      - groupB=PUB|SUB",
        "    defaultGroupPerm: SUB",
    ] {
        assert!(changed.contains(kept), "{kept} in\n{changed}");
    }
    assert!(!changed.contains("closed=DENY"), "{changed}");
    let file = read(&changed).expect("good");
    assert_eq!(file.version, Some(Version { timestamp: 1_700_000_000_000, counter: 1 }));
    assert_eq!(file.accounts[0].topics["new"].to_string(), "SUB");
    assert_eq!(file.accounts[0].default_topic.to_string(), "SUB");
    let again = put_account(&changed, &change, 1_700_000_000_001).expect("good");
    assert_eq!(read(&again).expect("good").version.expect("one").counter, 2);
    assert_eq!(again.lines().count(), changed.lines().count(), "nothing piles up:\n{again}");
}

#[test]
fn accounts_are_added_and_deleted_in_place() {
    let change = AccountChange {
        access_key: "newcomer",
        secret_key: "a: \"secret\" #1",
        white: Some("10.0.0.1"),
        groups: Some(vec!["g=SUB"]),
        ..AccountChange::default()
    };
    let added = put_account(SAMPLE, &change, 5).expect("good");
    assert!(added.contains("# the office") && added.contains("# only sends"), "{added}");
    let file = read(&added).expect("good");
    assert_eq!(file.accounts.len(), 3);
    assert_eq!(file.accounts[2].secret_key(), "a: \"secret\" #1");
    let without = delete_account(&added, "producer", 6).expect("good");
    assert!(without.contains("# the office") && !without.contains("orders=PUB"), "{without}");
    let left = read(&without).expect("good").accounts;
    let names: Vec<&str> = left.iter().map(|account| account.access_key.as_str()).collect();
    assert_eq!(names, ["operator", "newcomer"]);
    let one = delete_account(&without, "operator", 7).expect("good");
    let none = delete_account(&one, "newcomer", 8).expect("good");
    assert!(read(&none).expect("good").accounts.is_empty());
    let first = put_account(&none, &change, 9).expect("good");
    assert_eq!(read(&first).expect("good").accounts.len(), 1);
    assert_eq!(
        delete_account(&first, "producer", 9),
        Err(EditError::UnknownAccount("producer".to_owned()))
    );
}

#[test]
fn files_of_every_layout_can_be_changed() {
    let change = AccountChange {
        access_key: "account",
        secret_key: "87654321",
        admin: true,
        topics: Some(vec![]),
        ..AccountChange::default()
    };
    for text in [
        "",
        "# only a comment",
        "accounts:\n",
        "accounts: []\n",
        "accounts: [{accessKey: account, secretKey: 12345678}]\n",
        "{accounts: [{accessKey: account, secretKey: 12345678}]}",
        "accounts:\n- accessKey: account\n  secretKey: 12345678",
        "accounts:\n    -   accessKey: account\n        secretKey: 12345678 # x\n        topicPerms: [a=PUB]\ndataVersion:\n- counter: 3\n  timestamp: 1\n",
        "accounts:\r\n- accessKey: account\r\n  secretKey: 12345678\r\n",
        "accounts:\n- accessKey: \"account\"\n  secretKey: |-\n    12345678\nglobalWhiteRemoteAddresses:\n# ä\n- 1.1.1.1\n",
    ] {
        let changed =
            put_account(text, &change, 7).unwrap_or_else(|error| panic!("{text}: {error}"));
        let file = read(&changed).unwrap_or_else(|error| panic!("{changed}: {error}"));
        assert_eq!(file.accounts.len(), 1, "{text}\n{changed}");
        let account = &file.accounts[0];
        assert_eq!((account.secret_key(), account.admin), ("87654321", true), "{changed}");
        assert!(account.topics.is_empty() && file.version.is_some());
        let white = put_white_addresses(&changed, &["10.0.0.*", "::1"], 8).expect("good");
        let file = read(&white).expect("good");
        assert_eq!((file.white.len(), file.accounts.len()), (2, 1), "{white}");
        let white = put_white_addresses(&white, &[], 9).expect("good");
        assert!(read(&white).expect("good").white.is_empty(), "{white}");
    }
}

#[test]
fn what_is_no_account_changes_nothing() {
    let change = AccountChange {
        access_key: "short",
        secret_key: "",
        white: Some("x"),
        default_topic: Some("ANY"),
        topics: Some(vec!["a=PUB", "a=SUB", "b"]),
        ..AccountChange::default()
    };
    let error = put_account(SAMPLE, &change, 1).expect_err("wrong").to_string();
    for part in [
        "accessKey:",
        "secretKey:",
        "whiteRemoteAddress:",
        "defaultTopicPerm:",
        "a is there twice",
        "b: ",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let good =
        AccountChange { access_key: "account", secret_key: "12345678", ..Default::default() };
    assert!(matches!(put_account("accounts: 5", &good, 1), Err(EditError::Problems(_))));
    assert!(matches!(put_white_addresses(SAMPLE, &["x"], 1), Err(EditError::Bad(_))));
}
