//! JSON of users and policies: bodies of 3001 to 3010, in Java's shapes, and our file, which is made of the same.
//! Source: Apache RocketMQ 5.3.3, remoting `UserInfo`, `AclInfo`.

use super::{
    Acl, Entry, EntryAction, Pattern, PolicyType, User,
    change::{ChangeError, bad},
};
use crate::{
    address::Network,
    signature::{Secret, SigningKey},
};
use serde::{Deserialize, Deserializer, Serialize, de};

/// Entries of one user, at most.
pub(super) const ENTRIES_MAX: usize = 1_024;
/// Actions or addresses of an entry, at most.
const LIST_MAX: usize = 256;

/// A user in JSON. What is absent stays as it is when a user is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserInfo {
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password, with which requests are signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// `Super` or `Normal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_type: Option<String>,
    /// `enable` or `disable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_status: Option<String>,
}

/// Policies of a subject in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AclInfo {
    /// `User:name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Policies.
    #[serde(default)]
    pub policies: Vec<PolicyInfo>,
}

/// A policy in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyInfo {
    /// `Custom`, also when absent, or `Default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_type: Option<String>,
    /// Entries.
    #[serde(default)]
    pub entries: Vec<EntryInfo>,
}

/// An entry in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryInfo {
    /// `Topic:name`, `Group:pre*`, `Cluster:*`, `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Names of actions.
    #[serde(default, deserialize_with = "words")]
    pub actions: Vec<String>,
    /// Addresses and networks from where it is about. None: from everywhere.
    #[serde(default, deserialize_with = "words")]
    pub source_ips: Vec<String>,
    /// `Allow` or `Deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
}

/// User and password of a configuration's key: JSON with `username` and `password`, or `accessKey` and `secretKey`.
pub fn credentials(json: &str) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Both {
        #[serde(alias = "accessKey")]
        username: String,
        #[serde(alias = "secretKey")]
        password: String,
    }
    let Both { username, password } = serde_json::from_str(json).ok()?;
    let filled = !username.trim().is_empty() && !password.trim().is_empty();
    filled.then_some((username, password))
}

/// A list, or a text with commas, or null.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        List(Vec<String>),
        Text(String),
        Null(()),
    }
    match Words::deserialize(deserializer).map_err(de::Error::custom)? {
        Words::List(words) => Ok(words),
        Words::Text(text) => Ok(text.split(',').map(|word| word.trim().to_owned()).collect()),
        Words::Null(()) => Ok(Vec::new()),
    }
}

impl UserInfo {
    /// What a body says.
    pub fn read(body: &[u8]) -> Result<UserInfo, ChangeError> {
        serde_json::from_slice(body)
            .map_err(|error| bad(format!("the user cannot be read: {error}")))
    }

    /// What is answered for a user.
    pub fn of(user: &User) -> UserInfo {
        let kind = if user.is_super { "Super" } else { "Normal" };
        let status = if user.enabled { "enable" } else { "disable" };
        UserInfo {
            username: Some(user.username.clone()),
            password: Some(user.password.0.clone()),
            user_type: Some(kind.to_owned()),
            user_status: Some(status.to_owned()),
        }
    }

    pub(super) fn shown(user: &User, by_super: bool) -> UserInfo {
        let info = UserInfo::of(user);
        if user.is_super && !by_super { UserInfo { password: None, ..info } } else { info }
    }

    /// Whether the type is that of a super user, if it is given.
    pub fn is_super(&self) -> Result<Option<bool>, ChangeError> {
        match self.user_type.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("Super") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("Normal") => Ok(Some(false)),
            Some(text) => Err(bad(format!("userType={text}: expected Super or Normal"))),
        }
    }

    /// Whether the user is switched on, if that is given.
    pub(super) fn enabled(&self) -> Result<Option<bool>, ChangeError> {
        match self.user_status.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("enable") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("disable") => Ok(Some(false)),
            Some(text) => Err(bad(format!("userStatus={text}: expected enable or disable"))),
        }
    }
}

pub(super) fn user(
    username: &str,
    password: &str,
    is_super: bool,
    enabled: bool,
) -> Result<User, ChangeError> {
    let signing_key =
        SigningKey::new(password).ok_or_else(|| bad("password: no key can be made of it"))?;
    let (username, password) = (username.to_owned(), Secret(password.to_owned()));
    Ok(User { username, password, signing_key, is_super, enabled })
}

impl EntryInfo {
    fn of(entry: &Entry) -> EntryInfo {
        let decision = if entry.allows { "Allow" } else { "Deny" };
        EntryInfo {
            resource: Some(entry.pattern.to_string()),
            actions: entry.actions.iter().map(|action| action.name().to_owned()).collect(),
            source_ips: entry.sources.iter().map(|(text, _)| text.clone()).collect(),
            decision: Some(decision.to_owned()),
        }
    }

    pub(super) fn parse(&self) -> Result<Entry, ChangeError> {
        let resource = self.resource.as_deref().unwrap_or_default();
        let pattern = Pattern::parse(resource).ok_or_else(|| {
            bad(format!(
                "resource={}: expected *, or Topic:, Group: or Cluster: with a name, a prefix and *, or *",
                cut(resource)
            ))
        })?;
        if self.actions.is_empty() || self.actions.len().max(self.source_ips.len()) > LIST_MAX {
            return Err(bad(format!("{resource}: expected 1 to {LIST_MAX} actions and addresses")));
        }
        let action = |text: &String| {
            EntryAction::parse(text).ok_or_else(|| {
                bad(format!(
                    "{}: no action: expected All, Pub, Sub, Create, Update, Delete, Get, List or Any",
                    cut(text)
                ))
            })
        };
        let actions = self.actions.iter().map(action).collect::<Result<_, _>>()?;
        let source = |text: &String| match Network::parse(text) {
            Ok(network) => Ok((text.trim().to_owned(), network)),
            Err(error) => Err(bad(format!("sourceIps: {error}"))),
        };
        let given = self.source_ips.iter().filter(|text| !text.trim().is_empty());
        let sources = given.map(source).collect::<Result<_, _>>()?;
        let allows = match self.decision.as_deref().map(str::trim).unwrap_or_default() {
            text if text.eq_ignore_ascii_case("Allow") => true,
            text if text.eq_ignore_ascii_case("Deny") => false,
            text => return Err(bad(format!("decision={}: expected Allow or Deny", cut(text)))),
        };
        Ok(Entry { pattern, actions, sources, allows })
    }
}

impl AclInfo {
    /// What a body says.
    pub fn read(body: &[u8]) -> Result<AclInfo, ChangeError> {
        serde_json::from_slice(body)
            .map_err(|error| bad(format!("the policies cannot be read: {error}")))
    }

    /// What is answered for a user's policies; `resource`: only entries whose resource holds this text.
    pub(super) fn of(username: &str, acl: &Acl, resource: &str) -> AclInfo {
        let policies = acl.policies().into_iter().filter_map(|(kind, entries)| {
            let entries: Vec<EntryInfo> = entries
                .iter()
                .filter(|entry| entry.pattern.to_string().contains(resource))
                .map(EntryInfo::of)
                .collect();
            let policy_type = Some(kind.name().to_owned());
            (!entries.is_empty()).then_some(PolicyInfo { policy_type, entries })
        });
        AclInfo { subject: Some(format!("User:{username}")), policies: policies.collect() }
    }

    /// Its entries, by policy.
    pub(super) fn entries(&self) -> Result<Vec<(PolicyType, Entry)>, ChangeError> {
        let mut entries = Vec::new();
        for policy in &self.policies {
            let kind = match policy.policy_type.as_deref().filter(|text| !text.trim().is_empty()) {
                None => PolicyType::Custom,
                Some(text) => policy_type(text)?,
            };
            for entry in &policy.entries {
                entries.push((kind, entry.parse()?));
            }
        }
        match entries.len() {
            0 => Err(bad("The policies is empty.")),
            count if count > ENTRIES_MAX => {
                Err(bad(format!("{count} entries of policies, the limit is {ENTRIES_MAX}")))
            }
            _ => Ok(entries),
        }
    }
}

pub(super) fn policy_type(text: &str) -> Result<PolicyType, ChangeError> {
    PolicyType::of(text)
        .ok_or_else(|| bad(format!("policyType={}: expected Custom or Default", cut(text))))
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}
