//! Access control of 4.9: accounts with permissions by topic and group, from one file or several.
//!
//! `file` reads a file, `edit` changes its text; here is what the accounts of all files together decide. Source: Apache RocketMQ
//! 4.9.8, `PlainPermissionManager`, `PlainAccessValidator`.
//!
//! Unlike Java: what administers takes an account with `admin: true` (Java asks for it with codes 17, 25, 200, 207, 215 only, so any
//! account could change the accounts); the rights of one thing in a request are not skipped because another is the topic of traces.

mod edit;
mod file;
#[cfg(test)]
mod tests;

pub use edit::{AccountChange, EditError, delete_account, put_account, put_white_addresses};
pub use file::{
    Account, FileProblems, PlainFile, Problem, Version, WhiteAddress, read, versions_json,
};

use crate::{
    TRACE_TOPIC,
    decision::{Decision, Reason, Rule},
    engine::{Call, Caller, Question},
    needs::{Action, Need, Needs, ResourceKind},
};
use std::{collections::HashMap, fmt, net::IpAddr};

/// Bits of a permission, as `PUB|SUB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Perm {
    /// Send.
    pub publish: bool,
    /// Consume.
    pub subscribe: bool,
}

impl Perm {
    /// Nothing.
    pub const DENY: Perm = Perm { publish: false, subscribe: false };

    /// Texts that name a permission, for refusals.
    pub const EXPECTED: &'static str = "DENY, PUB, SUB, PUB|SUB or SUB|PUB";

    /// Reads `DENY`, `PUB`, `SUB`, `PUB|SUB` or `SUB|PUB`.
    pub fn parse(text: &str) -> Option<Perm> {
        let (publish, subscribe) = match text.trim() {
            "DENY" => (false, false),
            "PUB" => (true, false),
            "SUB" => (false, true),
            "PUB|SUB" | "SUB|PUB" => (true, true),
            _ => return None,
        };
        Some(Perm { publish, subscribe })
    }

    fn allows(self, actions: &[Action]) -> bool {
        let allows = |action: &Action| match action {
            Action::Pub => self.publish,
            Action::Sub => self.subscribe,
            Action::All => self.publish && self.subscribe,
            _ => false,
        };
        actions.iter().any(allows)
    }
}

impl fmt::Display for Perm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.publish, self.subscribe) {
            (true, true) => "PUB|SUB",
            (true, false) => "PUB",
            (false, true) => "SUB",
            (false, false) => "DENY",
        })
    }
}

/// The accounts of all files.
#[derive(Clone, Debug, Default)]
pub struct Plain {
    accounts: HashMap<String, (usize, Account)>,
    white: Vec<(usize, WhiteAddress)>,
    files: Vec<String>,
}

impl Plain {
    /// What these files say together, each with its name. Also: accounts that stand in several files, of which the first counts.
    pub fn of(files: Vec<(String, PlainFile)>) -> (Plain, Vec<String>) {
        let mut plain = Plain::default();
        let mut repeated = Vec::new();
        for (index, (name, file)) in files.into_iter().enumerate() {
            plain.white.extend(file.white.into_iter().map(|white| (index, white)));
            for account in file.accounts {
                if plain.accounts.contains_key(&account.access_key) {
                    repeated.push(format!("{} in {name}", account.access_key));
                    continue;
                }
                plain.accounts.insert(account.access_key.clone(), (index, account));
            }
            plain.files.push(name);
        }
        (plain, repeated)
    }

    /// How many accounts there are.
    pub fn account_count(&self) -> usize {
        self.accounts.len()
    }

    /// All accounts, with the names of their files, in no particular order.
    pub fn accounts(&self) -> impl Iterator<Item = (&str, &Account)> {
        self.accounts.values().map(|(file, account)| (self.file(*file), account))
    }

    /// The file that an account stands in.
    pub fn file_of(&self, access_key: &str) -> Option<&str> {
        self.accounts.get(access_key).map(|(file, _)| self.file(*file))
    }

    fn file(&self, index: usize) -> &str {
        self.files.get(index).map_or("", String::as_str)
    }

    fn white_listed(&self, source: IpAddr) -> Option<Decision<'_>> {
        let (file, white) = self.white.iter().find(|(_, white)| white.pattern.matches(source))?;
        let rule = Rule::GlobalWhiteList(white);
        Some(Decision::allowed(rule, None).in_file(self.file(*file)))
    }

    pub(crate) fn authenticate<'a>(&'a self, call: &Call<'a>) -> Result<Caller<'a>, Decision<'a>> {
        if let Some(free) = self.white_listed(call.source) {
            return Ok(Caller::Free(free));
        }
        let Some(key) = call.access_key() else {
            return Err(Decision::refused(Reason::NoCredentials, Rule::None, None));
        };
        let Some((file, account)) = self.accounts.get(key) else {
            return Err(Decision::refused(Reason::UnknownAccount, Rule::None, Some(key)));
        };
        if account.is_white_listed(call.source) {
            let rule = Rule::AccountWhiteList(account);
            return Ok(Caller::Free(Decision::allowed(rule, Some(key)).in_file(self.file(*file))));
        }
        if account.signing_key.verifies(&call.ext, call.body, call.signature()) {
            Ok(Caller::Account(account))
        } else {
            Err(Decision::refused(Reason::BadSignature, Rule::None, Some(key)))
        }
    }

    pub(crate) fn explain<'a>(
        &'a self,
        question: &Question<'a>,
        needs: &Needs<'a>,
    ) -> Decision<'a> {
        if let Some(free) = question.source.and_then(|source| self.white_listed(source)) {
            return free;
        }
        let key = question.account;
        let Some((file, account)) = self.accounts.get(key) else {
            return Decision::refused(Reason::UnknownAccount, Rule::None, Some(key));
        };
        let decision = if question.source.is_some_and(|source| account.is_white_listed(source)) {
            Decision::allowed(Rule::AccountWhiteList(account), Some(key))
        } else {
            authorize(account, needs)
        };
        decision.in_file(self.file(*file))
    }
}

/// Whether an account may have what a request needs.
pub(crate) fn authorize<'a>(account: &'a Account, needs: &Needs<'a>) -> Decision<'a> {
    let name = Some(account.access_key.as_str());
    if needs.admin {
        let rule = Rule::Admin(account);
        return match account.admin {
            true => Decision::allowed(rule, name),
            false => Decision::refused(Reason::NotAdmin, rule, name),
        };
    }
    if account.admin && account.topics.is_empty() && account.groups.is_empty() {
        return Decision::allowed(Rule::Admin(account), name);
    }
    let mut last = Decision::allowed(Rule::Known, name);
    for need in needs.iter() {
        last = decide(account, need);
        if !last.is_allowed() {
            return last;
        }
    }
    last
}

fn decide<'a>(account: &'a Account, need: &Need<'a>) -> Decision<'a> {
    let name = Some(account.access_key.as_str());
    let resource = &need.resource;
    let is_trace = resource.kind == ResourceKind::Topic && resource.name == TRACE_TOPIC;
    if is_trace && need.actions.contains(&Action::Pub) {
        return Decision::allowed(Rule::TraceTopic, name).on(need);
    }
    let (listed, default) = match resource.kind {
        ResourceKind::Topic => (account.topics.get(resource.name), account.default_topic),
        ResourceKind::Group => (account.groups.get(resource.name), account.default_group),
        // Nothing but administrators' requests concern a whole cluster.
        ResourceKind::Cluster => (None, Perm::DENY),
    };
    let (perm, rule) = match listed {
        Some(perm) => (*perm, Rule::Listed(account, *perm)),
        None => (default, Rule::Default(account, default)),
    };
    if perm.allows(need.actions) {
        return Decision::allowed(rule, name).on(need);
    }
    let reason =
        if perm == Perm::DENY && listed.is_none() { Reason::NoRule } else { Reason::Denied };
    Decision::refused(reason, rule, name).on(need)
}

/// What Java's broker says of a refusal, and what the rule was.
pub(crate) fn remark(call: &Call<'_>, decision: &Decision<'_>) -> String {
    let account = decision.account.unwrap_or_default();
    let text = match decision.reason {
        Reason::NoCredentials => "No accessKey is configured".to_owned(),
        Reason::UnknownAccount => format!("No acl config for {}", shown(account)),
        Reason::BadSignature => format!("Check signature failed for accessKey={account}"),
        Reason::NotAdmin => format!(
            "Need admin permission for request code={}, but accessKey={account} is not",
            call.code
        ),
        Reason::Allowed => "allowed".to_owned(),
        Reason::DisabledAccount | Reason::NoRule | Reason::Denied => {
            let Some(need) = decision.need else { return "No default permission".to_owned() };
            let wanted: Vec<&str> = need
                .actions
                .iter()
                .filter_map(|action| match action {
                    Action::Pub => Some("PUB"),
                    Action::Sub => Some("SUB"),
                    _ => None,
                })
                .collect();
            format!(
                "No default permission for {} (accessKey={account}, needs {}, {})",
                shown(&need.resource.to_string()),
                wanted.join(" or "),
                decision.rule
            )
        }
    };
    format!("org.apache.rocketmq.acl.common.AclException: {text}")
}

/// A foreign text, no longer than people read.
fn shown(text: &str) -> String {
    text.chars().take(128).collect()
}
