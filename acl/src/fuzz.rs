//! Foreign bytes in all parsers: nothing panics, and what was accepted means the same when it is written and read again.

use crate::{
    address::{AddressPattern, Network},
    auth::{AclInfo, Tables, UserInfo},
    plain::{self, AccountChange},
    signature::SigningKey,
    yaml,
};
use proptest::prelude::*;
use proto::command::HeaderArena;

/// Texts that look like files of accounts, often enough.
fn yaml_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("accounts:".to_owned()),
        Just("globalWhiteRemoteAddresses:".to_owned()),
        Just("dataVersion:".to_owned()),
        Just("- accessKey: account".to_owned()),
        Just("secretKey: 12345678".to_owned()),
        Just("topicPerms: [a=PUB, b=SUB]".to_owned()),
        Just("- 10.0.0.*".to_owned()),
        Just("admin: true # why".to_owned()),
        "[-:{}\\[\\]&*!|>'\"%@`,#?~ \\n\\t a-z0-9]{0,12}",
        "\\PC{0,6}",
    ];
    let line = (0_usize..6, piece).prop_map(|(indent, piece)| format!("{:indent$}{piece}\n", ""));
    prop::collection::vec(line, 0..16).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn texts_of_files_are_read_or_refused(text in yaml_like()) {
        let _ = yaml::read(&text);
        if plain::read(&text).is_ok() {
            let change = AccountChange {
                access_key: "account",
                secret_key: "87654321",
                topics: Some(vec!["t=PUB"]),
                ..AccountChange::default()
            };
            let changed = plain::put_account(&text, &change, 1).expect("a good file can be changed");
            let read = plain::read(&changed).expect("what was written is good");
            let account = read.accounts.iter().find(|account| account.access_key == "account");
            let account = account.expect("it is there");
            assert_eq!(account.secret_key(), "87654321");
            let without = plain::delete_account(&changed, "account", 2).expect("it is there");
            assert_eq!(plain::read(&without).expect("good").accounts.len(), read.accounts.len() - 1);
            let white = plain::put_white_addresses(&without, &["::1"], 3).expect("good");
            assert_eq!(plain::read(&white).expect("good").white.len(), 1);
        }
    }

    #[test]
    fn values_of_requests_come_back_from_a_file(secret in "\\PC{7,20}", name in "[^=\\pC]{1,9}") {
        let perms = format!("{name}=PUB");
        let change = AccountChange {
            access_key: &secret,
            secret_key: &secret,
            topics: Some(vec![&perms]),
            ..AccountChange::default()
        };
        if let Ok(text) = plain::put_account("", &change, 1) {
            let file = plain::read(&text).expect("what was written is good");
            assert_eq!(file.accounts[0].secret_key(), secret);
        }
    }

    #[test]
    fn addresses_are_read_or_refused(text in "[0-9a-f.:*{},/ -]{0,24}") {
        let source = "10.0.0.1".parse().expect("one");
        let _ = AddressPattern::parse(&text).map(|pattern| pattern.matches(source));
        let _ = Network::parse(&text).map(|network| network.contains(source));
    }

    #[test]
    fn bodies_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "[{}\\[\\]\":,a-zA-Z*. ]{0,64}") {
        for body in [bytes.as_slice(), text.as_bytes()] {
            let _ = UserInfo::read(body);
            let _ = AclInfo::read(body);
            let _ = Tables::read(body);
        }
    }

    #[test]
    fn headers_are_signed_in_any_order(
        fields in prop::collection::btree_map("\\PC{0,6}", "\\PC{0,9}", 0..40),
        signature in "[A-Za-z0-9+/=]{0,40}",
    ) {
        let mut fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let key = SigningKey::new("secret").expect("any");
        let signed = key.sign(&fields, b"body");
        fields.reverse();
        fields.push(("Signature", &signature));
        let mut arena = HeaderArena::default();
        let ext = arena.ext_from(&fields).expect("few");
        assert!(key.verifies(&ext, b"body", &signed));
        assert!(signature == signed || !key.verifies(&ext, b"body", &signature));
    }
}
