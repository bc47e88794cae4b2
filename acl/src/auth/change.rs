//! What requests do to users and policies (3001 to 3010), and the file that holds them: `auth.json`.
//! Source: Apache RocketMQ 5.3.3, `AuthenticationMetadataManagerImpl`, `AuthorizationMetadataManagerImpl`.

use super::{
    Acl, Entry, PolicyType, User,
    info::{AclInfo, ENTRIES_MAX, UserInfo, cut, policy_type, user},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Users, at most.
const USERS_MAX: usize = 10_000;
/// Bytes of a name or a password, at most.
const NAME_BYTES_MAX: usize = 255;
/// Bytes of the file: a list of everything still fits into an answer.
const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// What was asked for is not there, is there already, or is not allowed.
    #[error("{0}")]
    Refused(String),
    /// There is no name where one must be.
    #[error("The username is blank")]
    BlankName,
    /// A super user is nobody's but a super user's business; the word says what was tried.
    #[error("The super user can only be {0} by super user")]
    NotSuper(&'static str),
}

pub(super) fn bad(text: impl Into<String>) -> ChangeError {
    ChangeError::Refused(text.into())
}

/// Users and their policies.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) acls: BTreeMap<String, Acl>,
}

#[derive(Default, Serialize, Deserialize)]
struct File {
    users: Vec<UserInfo>,
    acls: Vec<AclInfo>,
}

impl Tables {
    /// What the file says.
    pub fn read(json: &[u8]) -> Result<Tables, String> {
        let file: File = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let mut tables = Tables::default();
        for user in &file.users {
            tables.create_user(user, true).map_err(|error| error.to_string())?;
        }
        for acl in &file.acls {
            let subject = acl.subject.clone().unwrap_or_default();
            tables.put_acl(&subject, acl).map_err(|error| format!("{subject}: {error}"))?;
        }
        Ok(tables)
    }

    /// The content of the file, if it is not too large to be listed.
    pub fn write(&self) -> Result<Vec<u8>, ChangeError> {
        let users = self.users.values().map(UserInfo::of).collect();
        let acls = self.acls.iter().map(|(name, acl)| AclInfo::of(name, acl, "")).collect();
        let json = serde_json::to_vec_pretty(&File { users, acls })
            .map_err(|error| bad(error.to_string()))?;
        if json.len() > FILE_BYTES_MAX {
            return Err(bad(format!(
                "users and policies take {} bytes, the limit is {FILE_BYTES_MAX}",
                json.len()
            )));
        }
        Ok(json)
    }

    /// Whether there is a user of this name.
    pub fn has_user(&self, username: &str) -> bool {
        self.users.contains_key(username)
    }

    /// Whether there is any user.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Makes a user. `by_super`: a super user asks, who alone may make others.
    pub fn create_user(&mut self, info: &UserInfo, by_super: bool) -> Result<(), ChangeError> {
        let username = checked(info.username.as_deref().unwrap_or_default())?;
        let is_super = info.is_super()?.unwrap_or(false);
        if is_super && !by_super {
            return Err(ChangeError::NotSuper("create"));
        }
        let password = info.password.as_deref().unwrap_or_default();
        check_password(password)?;
        if self.users.contains_key(username) {
            return Err(bad("The user is existed"));
        }
        if self.users.len() >= USERS_MAX {
            return Err(bad(format!("there are {USERS_MAX} users, and no more can be")));
        }
        let enabled = info.enabled()?.unwrap_or(true);
        self.users.insert(username.to_owned(), user(username, password, is_super, enabled)?);
        Ok(())
    }

    /// Changes what is given of a user.
    pub fn update_user(&mut self, info: &UserInfo, by_super: bool) -> Result<(), ChangeError> {
        let username = checked(info.username.as_deref().unwrap_or_default())?;
        let wants_super = info.is_super()?;
        let Some(old) = self.users.get(username) else {
            return Err(bad("The user is not exist"));
        };
        if (old.is_super || wants_super == Some(true)) && !by_super {
            return Err(ChangeError::NotSuper("update"));
        }
        let password = match info.password.as_deref().filter(|text| !text.is_empty()) {
            Some(password) => {
                check_password(password)?;
                password
            }
            None => &old.password.0,
        };
        let is_super = wants_super.unwrap_or(old.is_super);
        let enabled = info.enabled()?.unwrap_or(old.enabled);
        let changed = user(username, password, is_super, enabled)?;
        self.users.insert(username.to_owned(), changed);
        Ok(())
    }

    /// Deletes a user and his policies. One that is not there is none afterwards, either.
    pub fn delete_user(&mut self, username: &str, by_super: bool) -> Result<(), ChangeError> {
        let username = checked(username)?;
        if self.users.get(username).is_some_and(User::is_super) && !by_super {
            return Err(ChangeError::NotSuper("delete"));
        }
        self.users.remove(username);
        self.acls.remove(username);
        Ok(())
    }

    /// One user, as JSON. Passwords of super users are for super users.
    pub fn user_json(&self, username: &str, by_super: bool) -> Option<Vec<u8>> {
        let info = UserInfo::shown(self.users.get(username.trim())?, by_super);
        serde_json::to_vec(&info).ok()
    }

    /// Users whose names hold a text, as JSON. `None`: there is none.
    pub fn users_json(&self, filter: &str, by_super: bool) -> Option<Vec<u8>> {
        let users = self.users.values().filter(|user| user.username.contains(filter));
        let users: Vec<UserInfo> = users.map(|user| UserInfo::shown(user, by_super)).collect();
        if users.is_empty() { None } else { serde_json::to_vec(&users).ok() }
    }

    /// Adds entries to the policies of a subject; one on the same resource is replaced. (Java's requests to create and to update
    /// do the same.)
    pub fn put_acl(&mut self, subject: &str, info: &AclInfo) -> Result<(), ChangeError> {
        let username = self.known(subject)?;
        let entries = info.entries()?;
        let mut acl = self.acls.get(&username).cloned().unwrap_or_default();
        for (kind, entry) in entries {
            put(entries_of(&mut acl, kind), entry);
        }
        let count = acl.custom.len() + acl.default.len();
        if count > ENTRIES_MAX {
            return Err(bad(format!("{count} entries of policies, the limit is {ENTRIES_MAX}")));
        }
        self.acls.insert(username, acl);
        Ok(())
    }

    /// Deletes policies of a subject: all of them, those of a type, or the entry on one resource.
    pub fn delete_acl(
        &mut self,
        subject: &str,
        kind: Option<&str>,
        resource: Option<&str>,
    ) -> Result<(), ChangeError> {
        let username = name_of(subject)?.to_owned();
        let kind = kind.filter(|text| !text.trim().is_empty()).map(policy_type).transpose()?;
        let Some(acl) = self.acls.get_mut(&username) else {
            return Err(bad("The acl is not exist."));
        };
        let resource = resource.map(str::trim).filter(|text| !text.is_empty());
        for of in [PolicyType::Custom, PolicyType::Default] {
            if kind.is_none_or(|kind| kind == of) {
                entries_of(acl, of).retain(|entry| {
                    resource.is_some_and(|resource| entry.pattern.to_string() != resource)
                });
            }
        }
        if acl.is_empty() {
            self.acls.remove(&username);
        }
        Ok(())
    }

    /// Policies of a subject, as JSON.
    pub fn acl_json(&self, subject: &str) -> Result<Option<Vec<u8>>, ChangeError> {
        let username = name_of(subject)?;
        let info = self.acls.get(username).map(|acl| AclInfo::of(username, acl, ""));
        Ok(info.and_then(|info| serde_json::to_vec(&info).ok()))
    }

    /// Policies of subjects and on resources whose names hold these texts, as JSON. `None`: there are none.
    pub fn acls_json(&self, subject: &str, resource: &str) -> Option<Vec<u8>> {
        let mut found = Vec::new();
        for (name, acl) in &self.acls {
            let info = AclInfo::of(name, acl, resource);
            if format!("User:{name}").contains(subject) && !info.policies.is_empty() {
                found.push(info);
            }
        }
        if found.is_empty() { None } else { serde_json::to_vec(&found).ok() }
    }

    /// The user that a subject names, who is there.
    fn known(&self, subject: &str) -> Result<String, ChangeError> {
        let username = name_of(subject)?;
        if self.users.contains_key(username) {
            Ok(username.to_owned())
        } else {
            Err(bad(format!("The subject of {} is not exist.", cut(subject))))
        }
    }
}

fn entries_of(acl: &mut Acl, kind: PolicyType) -> &mut Vec<Entry> {
    match kind {
        PolicyType::Custom => &mut acl.custom,
        PolicyType::Default => &mut acl.default,
    }
}

fn put(entries: &mut Vec<Entry>, entry: Entry) {
    match entries.iter_mut().find(|old| old.pattern == entry.pattern) {
        Some(old) => *old = entry,
        None => entries.push(entry),
    }
}

/// `User:name`, or the name alone.
fn name_of(subject: &str) -> Result<&str, ChangeError> {
    match subject.trim().split_once(':') {
        Some((kind, name)) if kind.eq_ignore_ascii_case("User") => checked(name),
        Some(_) => Err(bad(format!("subject={}: expected User:name", cut(subject)))),
        None => checked(subject),
    }
}

/// A name that a user can have: what stands in headers and files without being rewritten.
fn checked(username: &str) -> Result<&str, ChangeError> {
    let username = username.trim();
    if username.is_empty() {
        return Err(ChangeError::BlankName);
    }
    let fits = username.len() <= NAME_BYTES_MAX && !username.chars().any(char::is_control);
    if fits && !username.contains(':') {
        return Ok(username);
    }
    Err(bad(format!(
        "username={}: expected at most {NAME_BYTES_MAX} bytes, no colon and no control character",
        cut(username)
    )))
}

fn check_password(password: &str) -> Result<(), ChangeError> {
    if password.trim().is_empty() {
        return Err(bad("password can not be blank"));
    }
    if password.len() > NAME_BYTES_MAX {
        return Err(bad(format!("password: expected at most {NAME_BYTES_MAX} bytes")));
    }
    Ok(())
}
