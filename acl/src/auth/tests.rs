//! Users and policies: what decides, what requests change, what files hold.

use super::*;
use crate::{needs::Resource, plain, signature::SigningKey};
use proto::command::HeaderArena;

fn user(name: &str, kind: &str) -> UserInfo {
    let text = |text: &str| Some(text.to_owned());
    UserInfo {
        username: text(name),
        password: text("secret"),
        user_type: text(kind),
        user_status: None,
    }
}

fn acl(policies: &[(&str, &str, &str, &str, &str)]) -> AclInfo {
    let policy = |(kind, resource, actions, sources, decision): &(&str, &str, &str, &str, &str)| {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let entry = EntryInfo {
            resource: Some((*resource).to_owned()),
            actions: words(actions),
            source_ips: words(sources),
            decision: Some((*decision).to_owned()),
        };
        PolicyInfo { policy_type: Some((*kind).to_owned()), entries: vec![entry] }
    };
    AclInfo { subject: None, policies: policies.iter().map(policy).collect() }
}

fn tables() -> Tables {
    let mut tables = Tables::default();
    tables.create_user(&user("root", "Super"), true).expect("new");
    tables.create_user(&user("alice", "Normal"), true).expect("new");
    tables.create_user(&user("bob", "Normal"), true).expect("new");
    let policies = acl(&[
        ("Custom", "Topic:orders", "Pub Sub", "", "Allow"),
        ("Custom", "Topic:orders-*", "Pub", "", "Allow"),
        ("Custom", "Topic:orders-eu*", "All", "", "Deny"),
        ("Custom", "Topic:orders-eu-1", "Pub", "", "Allow"),
        ("Custom", "Group:g", "Sub", "10.0.0.0/8 ::1", "Allow"),
        ("Default", "Topic:*", "Get", "", "Allow"),
        ("Default", "Topic:orders", "Delete", "", "Allow"),
        ("Default", "*", "List", "", "Allow"),
    ]);
    tables.put_acl("User:alice", &policies).expect("good");
    tables
}

fn engine(authorization: bool) -> Auth {
    let options = Options {
        authorization,
        authentication_white_list: [900].into(),
        authorization_white_list: [901].into(),
    };
    Auth::new(&tables(), Arc::new(options))
}

fn check(
    auth: &Auth,
    (name, password, source, code): (&str, &str, &str, i32),
    needs: &[(Resource<'_>, &'static [Action])],
) -> (Reason, String) {
    let mut fields = vec![("AccessKey", name)];
    let signature = SigningKey::new(password).expect("any").sign(&fields, b"");
    fields.push(("Signature", &signature));
    let mut arena = HeaderArena::default();
    let ext = arena.ext_from(&fields).expect("few");
    let call = Call { code, source: source.parse().expect("one"), ext, body: b"" };
    let mut all = Needs::default();
    needs.iter().for_each(|(resource, actions)| all.add(*resource, actions));
    let decision = match auth.authenticate(&call) {
        Ok(Caller::Free(decision)) => decision,
        Ok(Caller::User(user)) => auth.authorize(user, Some((code, call.source)), &all),
        Ok(Caller::Account(_)) => panic!("not of 4.9"),
        Err(refused) => refused,
    };
    (decision.reason, remark(&call, &decision))
}

const PUB: &[Action] = &[Action::Pub];
const SUB: &[Action] = &[Action::Sub];
const GET: &[Action] = &[Action::Get];
const DELETE: &[Action] = &[Action::Delete];
const SUB_OR_GET: &[Action] = &[Action::Sub, Action::Get];

#[test]
fn the_most_precise_entry_decides_and_deny_goes_first() {
    let auth = engine(true);
    let (topic, group) = (Resource::topic, Resource::group);
    let alice = |needs: &[(Resource<'_>, &'static [Action])], source| {
        check(&auth, ("alice", "secret", source, 10), needs)
    };
    for (resource, actions, source, expected) in [
        (topic("orders"), PUB, "1.1.1.1", Reason::Allowed),
        (topic("orders"), SUB, "1.1.1.1", Reason::Allowed),
        (topic("orders"), GET, "1.1.1.1", Reason::Allowed),
        (topic("orders"), DELETE, "1.1.1.1", Reason::Allowed),
        (topic("orders-us"), PUB, "1.1.1.1", Reason::Allowed),
        (topic("orders-us"), SUB, "1.1.1.1", Reason::NoRule),
        (topic("orders-us"), SUB_OR_GET, "1.1.1.1", Reason::Allowed),
        (topic("orders-eu"), PUB, "1.1.1.1", Reason::Denied),
        (topic("orders-eu-1"), PUB, "1.1.1.1", Reason::Allowed),
        (topic("orders-eu-1"), GET, "1.1.1.1", Reason::Denied),
        (topic("other"), PUB, "1.1.1.1", Reason::NoRule),
        (group("g"), SUB, "10.1.1.1", Reason::Allowed),
        (group("g"), SUB, "11.1.1.1", Reason::NoRule),
        (group("g"), SUB, "::1", Reason::Allowed),
        (topic("%RETRY%g"), SUB, "10.1.1.1", Reason::Allowed),
        (topic("%DLQ%g"), SUB, "10.1.1.1", Reason::Allowed),
        (topic("%DLQ%h"), SUB, "10.1.1.1", Reason::NoRule),
        (Resource::cluster("c"), &[Action::List], "1.1.1.1", Reason::Allowed),
        (Resource::cluster("c"), GET, "1.1.1.1", Reason::NoRule),
    ] {
        let (reason, remark) = alice(&[(resource, actions)], source);
        assert_eq!(reason, expected, "{resource} {actions:?} {source}: {remark}");
    }
    let (reason, remark) =
        alice(&[(topic("orders"), PUB), (topic("x"), PUB), (group("y"), SUB)], "1.1.1.1");
    assert_eq!(reason, Reason::NoRule);
    assert!(
        remark.starts_with(
            "User:alice has no permission to access Topic:x from 1.1.1.1, no matched policies."
        ),
        "{remark}"
    );
    let equal = acl(&[("Custom", "Topic:same", "Pub", "", "Allow")]);
    let mut both = tables();
    both.put_acl("bob", &equal).expect("good");
    let deny = acl(&[("Custom", "Topic:same", "All", "", "Deny")]);
    let entry = deny.policies[0].entries[0].parse().expect("good");
    both.acls.get_mut("bob").expect("there").custom.push(entry);
    let auth = Auth::new(&both, Arc::new(Options { authorization: true, ..Options::default() }));
    let asked = check(&auth, ("bob", "secret", "1.1.1.1", 10), &[(topic("same"), PUB)]);
    assert_eq!(asked.0, Reason::Denied, "{}", asked.1);
}

#[test]
fn who_is_not_known_gets_nowhere_and_super_users_everywhere() {
    let auth = engine(true);
    let needs = [(Resource::topic("t"), DELETE)];
    for (who, expected, part) in [
        (("", "secret", "1.1.1.1", 10), Reason::NoCredentials, "username cannot be null."),
        (("eve", "secret", "1.1.1.1", 10), Reason::UnknownAccount, "User:eve is not found."),
        (("alice", "guess", "1.1.1.1", 10), Reason::BadSignature, "check signature failed."),
        (("bob", "secret", "1.1.1.1", 10), Reason::NoRule, "User:bob has no permission"),
        (("bob", "secret", "1.1.1.1", 901), Reason::Allowed, ""),
        (("bob", "guess", "1.1.1.1", 901), Reason::BadSignature, ""),
        (("eve", "guess", "1.1.1.1", 900), Reason::Allowed, ""),
        (("root", "secret", "1.1.1.1", 10), Reason::Allowed, ""),
    ] {
        let (reason, remark) = check(&auth, who, &needs);
        assert_eq!(reason, expected, "{who:?}: {remark}");
        assert!(remark.contains(part), "{remark}");
    }
    let asked = check(&engine(false), ("bob", "secret", "1.1.1.1", 10), &needs);
    assert_eq!(asked.0, Reason::Allowed, "without authorization every user may");
}

#[test]
fn requests_change_users_as_java_does() {
    let mut tables = tables();
    let refused = |error: ChangeError| error.to_string();
    assert_eq!(tables.create_user(&user("", "Normal"), true), Err(ChangeError::BlankName));
    assert_eq!(
        tables.create_user(&user("x", "Super"), false).map_err(refused),
        Err("The super user can only be create by super user".to_owned())
    );
    assert_eq!(
        tables.create_user(&user("alice", "Normal"), true).map_err(refused),
        Err("The user is existed".to_owned())
    );
    let off = UserInfo { user_status: Some("disable".to_owned()), ..UserInfo::default() };
    let of = |name: &str| UserInfo { username: Some(name.to_owned()), ..off.clone() };
    tables.update_user(&of("alice"), false).expect("she is no super user");
    assert!(matches!(tables.update_user(&of("root"), false), Err(ChangeError::NotSuper("update"))));
    assert!(tables.update_user(&of("nobody"), true).is_err());
    assert!(matches!(tables.delete_user("root", false), Err(ChangeError::NotSuper("delete"))));
    let json = String::from_utf8(tables.user_json("alice", false).expect("there")).expect("text");
    assert_eq!(
        json,
        r#"{"username":"alice","password":"secret","userType":"Normal","userStatus":"disable"}"#
    );
    let all = |by_super| String::from_utf8(tables.users_json("", by_super).expect("some"));
    let shown = |by_super| all(by_super).expect("text").matches("secret").count();
    assert_eq!((shown(true), shown(false)), (3, 2), "the super user's is not for everybody");
    let auth = Auth::new(&tables, Arc::default());
    let (reason, remark) = check(&auth, ("alice", "secret", "1.1.1.1", 10), &[]);
    assert_eq!((reason, remark.as_str()), (Reason::DisabledAccount, "User:alice is disabled."));
    tables.delete_user("alice", false).expect("no super user");
    assert!(tables.user_json("alice", true).is_none() && tables.acl_json("User:alice") == Ok(None));
    tables.delete_user("alice", false).expect("again");
    for bad in ["a:b", "a\nb", &"x".repeat(300)] {
        assert!(tables.create_user(&user(bad, "Normal"), true).is_err(), "{bad}");
    }
    assert!(tables.create_user(&user("y", "Boss"), true).is_err());
}

#[test]
fn requests_change_policies_as_java_does() {
    let mut tables = tables();
    let nobody = tables.put_acl("User:nobody", &acl(&[("Custom", "*", "All", "", "Allow")]));
    assert_eq!(
        nobody.map_err(|error| error.to_string()),
        Err("The subject of User:nobody is not exist.".to_owned())
    );
    for bad in [
        ("Custom", "Queue:x", "All", "", "Allow"),
        ("Custom", "Topic:", "All", "", "Allow"),
        ("Custom", "Topic:x", "Fly", "", "Allow"),
        ("Custom", "Topic:x", "", "", "Allow"),
        ("Custom", "Topic:x", "All", "10.0.0.0/99", "Allow"),
        ("Custom", "Topic:x", "All", "", "Maybe"),
        ("Other", "Topic:x", "All", "", "Allow"),
    ] {
        assert!(tables.put_acl("User:bob", &acl(&[bad])).is_err(), "{bad:?}");
    }
    assert_eq!(tables.acl_json("User:bob"), Ok(None), "nothing was changed");
    tables.put_acl("User:bob", &acl(&[("", "Topic:x", "Pub", "", "Allow")])).expect("good");
    tables.put_acl("User:bob", &acl(&[("", "Topic:x", "sub", "1.1.1.1", "deny")])).expect("good");
    let json = String::from_utf8(tables.acl_json("User:bob").expect("good").expect("there"));
    assert_eq!(
        json.expect("text"),
        r#"{"subject":"User:bob","policies":[{"policyType":"Custom","entries":[{"resource":"Topic:x","actions":["Sub"],"sourceIps":["1.1.1.1"],"decision":"Deny"}]}]}"#
    );
    assert!(tables.acls_json("alice", "orders-eu").is_some());
    assert!(tables.acls_json("alice", "nothing").is_none());
    assert!(tables.acls_json("carol", "").is_none());
    tables.delete_acl("User:bob", None, Some("Topic:x")).expect("there");
    assert_eq!(tables.acl_json("User:bob"), Ok(None));
    assert!(tables.delete_acl("User:bob", None, None).is_err());
    tables.delete_acl("User:alice", Some("Custom"), None).expect("there");
    let left = tables.acl_json("User:alice").expect("good").expect("the default policy");
    assert!(!String::from_utf8_lossy(&left).contains("Custom"));
}

#[test]
fn the_file_holds_everything() {
    let tables = tables();
    let json = tables.write().expect("small");
    let read = Tables::read(&json).expect("ours");
    assert_eq!(read.acls, tables.acls);
    assert_eq!(read.users_json("", true), tables.users_json("", true));
    for bad in ["", "{", "[]", r#"{"users":[{"username":""}],"acls":[]}"#] {
        assert!(Tables::read(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn bodies_may_name_lists_as_text() {
    let json = br#"{"subject":"User:a","policies":[{"entries":[{"resource":"Topic:x","actions":"Pub, Sub","sourceIps":null,"decision":"Allow"}]}]}"#;
    let read = AclInfo::read(json).expect("good");
    assert_eq!(read.entries().expect("good").len(), 1);
    assert!(AclInfo::read(b"{}").expect("nothing").entries().is_err());
    assert!(UserInfo::read(b"[1]").is_err());
}

#[test]
fn accounts_of_4_9_become_users() {
    let text = "accounts:\n- accessKey: producer\n  secretKey: 12345678\n  defaultGroupPerm: SUB\n  topicPerms: [orders=PUB, closed=DENY]\n\
                - accessKey: operator\n  secretKey: 12345678\n  admin: true\n- accessKey: a:colon\n  secretKey: 12345678\n\
                - {accessKey: existing, secretKey: 12345678, admin: true}\n";
    let file = plain::read(text).expect("good");
    let (plain, _) = plain::Plain::of(vec![("f".to_owned(), file)]);
    let mut tables = tables();
    tables.create_user(&user("existing", "Normal"), true).expect("new");
    let left_out = from_plain(&plain, &mut tables);
    assert_eq!(left_out.len(), 1);
    assert_eq!(left_out[0].0, "a:colon");
    let options = Options { authorization: true, ..Options::default() };
    let auth = Auth::new(&tables, Arc::new(options));
    let ask = |name, resource, actions| {
        check(&auth, (name, "12345678", "1.1.1.1", 10), &[(resource, actions)]).0
    };
    assert_eq!(ask("producer", Resource::topic("orders"), PUB), Reason::Allowed);
    assert_eq!(ask("producer", Resource::topic("orders"), SUB), Reason::Denied);
    assert_eq!(ask("producer", Resource::topic("closed"), PUB), Reason::Denied);
    assert_eq!(ask("producer", Resource::group("g"), SUB), Reason::Allowed);
    assert_eq!(ask("operator", Resource::cluster("c"), DELETE), Reason::Allowed);
    assert_eq!(ask("existing", Resource::topic("orders"), PUB), Reason::BadSignature);
}
