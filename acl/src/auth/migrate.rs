//! From accounts of 4.9 to users of 5.x (`migrateAuthFromV1Enabled`): an account becomes a user, an administrator a super user,
//! permissions of topics and groups a Custom policy, defaults a Default policy. Source: Apache RocketMQ 5.3.3, `AuthMigrator`.

use super::{
    change::{ChangeError, Tables},
    info::{AclInfo, EntryInfo, PolicyInfo, UserInfo},
};
use crate::plain::{Account, Perm, Plain};
use std::collections::HashMap;

/// Adds a user for each account whose name nobody has yet. Returns who could not be taken over, and why. White lists of addresses
/// have no counterpart in 5.x.
pub fn from_plain(plain: &Plain, tables: &mut Tables) -> Vec<(String, ChangeError)> {
    let mut left_out = Vec::new();
    let mut accounts: Vec<&Account> = plain.accounts().map(|(_, account)| account).collect();
    accounts.sort_by(|one, other| one.access_key.cmp(&other.access_key));
    for account in accounts {
        if tables.has_user(account.access_key.trim()) {
            continue;
        }
        let mut made = tables.clone();
        match take(account, &mut made) {
            Ok(()) => *tables = made,
            Err(error) => left_out.push((account.access_key.clone(), error)),
        }
    }
    left_out
}

fn take(account: &Account, tables: &mut Tables) -> Result<(), ChangeError> {
    let kind = if account.admin { "Super" } else { "Normal" };
    let info = UserInfo {
        username: Some(account.access_key.clone()),
        password: Some(account.secret_key().to_owned()),
        user_type: Some(kind.to_owned()),
        user_status: Some("enable".to_owned()),
    };
    tables.create_user(&info, true)?;
    if account.admin {
        return Ok(());
    }
    let listed = |kind: &str, perms: &HashMap<String, Perm>| {
        let mut entries: Vec<EntryInfo> =
            perms.iter().map(|(name, perm)| entry(format!("{kind}:{name}"), *perm)).collect();
        entries.sort_by(|one, other| one.resource.cmp(&other.resource));
        entries
    };
    let custom = [listed("Topic", &account.topics), listed("Group", &account.groups)].concat();
    let default = vec![
        entry("Topic:*".to_owned(), account.default_topic),
        entry("Group:*".to_owned(), account.default_group),
    ];
    let policy = |kind: &str, entries| PolicyInfo { policy_type: Some(kind.to_owned()), entries };
    let policies = vec![policy("Custom", custom), policy("Default", default)];
    let subject = format!("User:{}", account.access_key);
    tables.put_acl(&subject, &AclInfo { subject: Some(subject.clone()), policies })
}

fn entry(resource: String, perm: Perm) -> EntryInfo {
    let actions: &[&str] = match (perm.publish, perm.subscribe) {
        (true, true) => &["Pub", "Sub"],
        (true, false) => &["Pub"],
        (false, true) => &["Sub"],
        (false, false) => &["All"],
    };
    let decision = if perm == Perm::DENY { "Deny" } else { "Allow" };
    EntryInfo {
        resource: Some(resource),
        actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        source_ips: Vec::new(),
        decision: Some(decision.to_owned()),
    }
}
