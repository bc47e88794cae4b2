//! Access control of 5.x: users and policies, bodies of 3001 to 3010. Lists are arrays.

use super::BodyError;
use super::fields::{TABLE_BODY_BYTES_MAX, parse};
use super::member::{Member, body};

body! {
    /// A user. Source: Apache RocketMQ 5.3.3, `UserInfo`.
    #[derive(Eq)]
    UserInfo("user", TABLE_BODY_BYTES_MAX) {
        /// Secret that requests are signed with.
        password: Option<String> = "password",
        /// `enable` or `disable`.
        user_status: Option<String> = "userStatus",
        /// `Super` or `Normal`.
        user_type: Option<String> = "userType",
        /// Name.
        username: Option<String> = "username",
    }
}

body! {
    /// What is said about one resource. Source: Apache RocketMQ 5.3.3, `AclInfo.PolicyEntryInfo`.
    #[derive(Eq)]
    PolicyEntryInfo("entries") {
        /// `Pub`, `Sub` and others.
        actions: Option<Vec<String>> = "actions",
        /// `Allow` or `Deny`.
        decision: Option<String> = "decision",
        /// `Topic:name`, `Group:pre*` and others.
        resource: Option<String> = "resource",
        /// Addresses from where it counts; from everywhere when there are none.
        source_ips: Option<Vec<String>> = "sourceIps",
    }
}

body! {
    /// A policy. Source: Apache RocketMQ 5.3.3, `AclInfo.PolicyInfo`.
    #[derive(Eq)]
    PolicyInfo("policies") {
        /// Entries.
        entries: Vec<PolicyEntryInfo> = "entries",
        /// `Custom` or `Default`.
        policy_type: Option<String> = "policyType",
    }
}

body! {
    /// Policies of a subject. Source: Apache RocketMQ 5.3.3, `AclInfo`.
    #[derive(Eq)]
    AclInfo("acl", TABLE_BODY_BYTES_MAX) {
        /// Policies.
        policies: Vec<PolicyInfo> = "policies",
        /// `User:name`.
        subject: Option<String> = "subject",
    }
}

impl UserInfo {
    /// Reads a list of users.
    pub fn read_list(bytes: &[u8]) -> Result<Vec<UserInfo>, BodyError> {
        read_list(bytes)
    }
}

impl AclInfo {
    /// Reads a list of policies.
    pub fn read_list(bytes: &[u8]) -> Result<Vec<AclInfo>, BodyError> {
        read_list(bytes)
    }
}

fn read_list<T: Member>(bytes: &[u8]) -> Result<Vec<T>, BodyError> {
    let value = parse(bytes, TABLE_BODY_BYTES_MAX)?;
    Ok(Vec::<T>::from_value(&value, "body")?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_policies_have_javas_shape() {
        let users = r#"[{"password":"p","userStatus":"enable","userType":"Super","username":"u"},{"username":"v"}]"#;
        let read = UserInfo::read_list(users.as_bytes()).expect("Java's own");
        assert_eq!(read[0].user_type.as_deref(), Some("Super"));
        assert_eq!(read[1], UserInfo { username: Some("v".to_owned()), ..UserInfo::default() });
        assert!(UserInfo::read_list(b"{}").is_err());
        let acl = r#"{"policies":[{"entries":[{"actions":["Pub","Sub"],"decision":"Allow","resource":"Topic:a*"}],"policyType":"Custom"}],"subject":"User:u"}"#;
        let read = AclInfo::read(acl.as_bytes()).expect("Java's own");
        let mut written = Vec::new();
        read.write(&mut written);
        assert_eq!(String::from_utf8(written).as_deref(), Ok(acl));
        assert_eq!(AclInfo::read_list(format!("[{acl}]").as_bytes()).expect("a list"), [read]);
    }
}
