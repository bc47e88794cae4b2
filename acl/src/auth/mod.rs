//! Access control of 5.x: users, each with policies that allow or deny actions on resources.
//!
//! `info` is the JSON of requests and of our file, `change` what requests do to users and policies; here is what they decide. Source:
//! Apache RocketMQ 5.3.3, module `auth`, `AclAuthorizationHandler`.
//!
//! Which entry decides follows Java's documentation, not its comparator, which contradicts itself: a resource that is named whole
//! goes before a prefix, a longer prefix before a shorter one, that before all of a kind, and that before `*`; of equal ones Deny
//! goes before Allow. Entries of the Custom policy go before those of the Default policy.

mod change;
mod info;
mod migrate;
#[cfg(test)]
mod tests;

pub use change::{ChangeError, Tables};
pub use info::{AclInfo, EntryInfo, PolicyInfo, UserInfo, credentials};
pub use migrate::from_plain;

use crate::{
    address::Network,
    decision::{Decision, Reason, Rule},
    engine::{Call, Caller, Question},
    needs::{Action, Need, Needs, Resource, ResourceKind},
    signature::{Secret, SigningKey},
};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// Name.
    pub username: String,
    pub(crate) password: Secret,
    pub(crate) signing_key: SigningKey,
    pub(crate) is_super: bool,
    pub(crate) enabled: bool,
}

impl User {
    /// Whether everything is allowed to him.
    pub fn is_super(&self) -> bool {
        self.is_super
    }
}

/// Which of a user's policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyType {
    /// The one that is looked at first.
    Custom,
    /// The one that decides where that says nothing.
    Default,
}

impl PolicyType {
    /// Name as Java writes it.
    pub const fn name(self) -> &'static str {
        match self {
            PolicyType::Custom => "Custom",
            PolicyType::Default => "Default",
        }
    }

    fn of(name: &str) -> Option<PolicyType> {
        [PolicyType::Custom, PolicyType::Default]
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name.trim()))
    }
}

/// Resources that an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// `*`.
    Everything,
    /// `Topic:*`.
    Kind(ResourceKind),
    /// `Topic:pre*`.
    Prefix(ResourceKind, String),
    /// `Topic:name`.
    Named(ResourceKind, String),
}

impl Pattern {
    fn parse(text: &str) -> Option<Pattern> {
        let text = text.trim();
        if text == "*" {
            return Some(Pattern::Everything);
        }
        let (kind, name) = text.split_once(':')?;
        let kinds = [ResourceKind::Topic, ResourceKind::Group, ResourceKind::Cluster];
        let kind =
            kinds.into_iter().find(|known| known.name().eq_ignore_ascii_case(kind.trim()))?;
        match name.trim() {
            "" => None,
            "*" => Some(Pattern::Kind(kind)),
            name => Some(match name.strip_suffix('*') {
                Some(prefix) => Pattern::Prefix(kind, prefix.to_owned()),
                None => Pattern::Named(kind, name.to_owned()),
            }),
        }
    }

    fn matches(&self, resource: &Resource<'_>) -> bool {
        match self {
            Pattern::Everything => true,
            Pattern::Kind(kind) => *kind == resource.kind,
            Pattern::Prefix(kind, prefix) => {
                *kind == resource.kind && resource.name.starts_with(prefix.as_str())
            }
            Pattern::Named(kind, name) => *kind == resource.kind && resource.name == name,
        }
    }

    /// The larger, the fewer resources are meant.
    fn rank(&self) -> (u8, usize) {
        match self {
            Pattern::Everything => (0, 0),
            Pattern::Kind(_) => (1, 0),
            Pattern::Prefix(_, prefix) => (2, prefix.len()),
            Pattern::Named(..) => (3, 0),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Everything => f.write_str("*"),
            Pattern::Kind(kind) => write!(f, "{}:*", kind.name()),
            Pattern::Prefix(kind, prefix) => write!(f, "{}:{prefix}*", kind.name()),
            Pattern::Named(kind, name) => write!(f, "{}:{name}", kind.name()),
        }
    }
}

/// What an entry is about, of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryAction {
    /// One, or all of them.
    One(Action),
    /// Java's `Any`, which as an entry's action means nothing but itself.
    Any,
}

impl EntryAction {
    fn parse(text: &str) -> Option<EntryAction> {
        match Action::of(text) {
            Some(action) => Some(EntryAction::One(action)),
            None => text.trim().eq_ignore_ascii_case("Any").then_some(EntryAction::Any),
        }
    }

    fn name(self) -> &'static str {
        match self {
            EntryAction::One(action) => action.name(),
            EntryAction::Any => "Any",
        }
    }
}

/// An entry of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(crate) pattern: Pattern,
    pub(crate) actions: Vec<EntryAction>,
    /// As written, and what they mean. None: from everywhere.
    pub(crate) sources: Vec<(String, Network)>,
    pub(crate) allows: bool,
}

impl Entry {
    fn matches(&self, need: &Need<'_>, source: Option<IpAddr>) -> bool {
        let on = |action: &EntryAction| match action {
            EntryAction::One(Action::All) => true,
            EntryAction::One(action) => {
                need.actions.contains(action) || need.actions.contains(&Action::All)
            }
            EntryAction::Any => false,
        };
        let from = self.sources.is_empty()
            || source.is_some_and(|source| {
                self.sources.iter().any(|(_, network)| network.contains(source))
            });
        from && self.pattern.matches(&need.resource) && self.actions.iter().any(on)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions: Vec<&str> = self.actions.iter().map(|action| action.name()).collect();
        let decision = if self.allows { "Allow" } else { "Deny" };
        write!(f, "{decision} {} on {}", actions.join(","), self.pattern)?;
        let sources: Vec<&str> = self.sources.iter().map(|(text, _)| text.as_str()).collect();
        if sources.is_empty() { Ok(()) } else { write!(f, " from {}", sources.join(",")) }
    }
}

/// The policies of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    pub(crate) custom: Vec<Entry>,
    pub(crate) default: Vec<Entry>,
}

impl Acl {
    fn policies(&self) -> [(PolicyType, &Vec<Entry>); 2] {
        [(PolicyType::Custom, &self.custom), (PolicyType::Default, &self.default)]
    }

    fn is_empty(&self) -> bool {
        self.custom.is_empty() && self.default.is_empty()
    }

    /// The entry that decides.
    fn decides(&self, need: &Need<'_>, source: Option<IpAddr>) -> Option<(PolicyType, &Entry)> {
        self.policies().into_iter().find_map(|(kind, entries)| {
            let matching = entries.iter().filter(|entry| entry.matches(need, source));
            let first = matching.max_by_key(|entry| (entry.pattern.rank(), !entry.allows));
            first.map(|entry| (kind, entry))
        })
    }
}

/// What a server's configuration says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether policies decide; else every user may do everything.
    pub authorization: bool,
    /// Request codes that need no user.
    pub authentication_white_list: HashSet<i32>,
    /// Request codes that need no policy.
    pub authorization_white_list: HashSet<i32>,
}

/// Users and policies in force.
#[derive(Clone, Debug)]
pub struct Auth {
    users: BTreeMap<String, User>,
    acls: BTreeMap<String, Acl>,
    options: Arc<Options>,
}

impl Auth {
    /// Puts these in force.
    pub fn new(tables: &Tables, options: Arc<Options>) -> Auth {
        let Tables { users, acls } = tables.clone();
        Auth { users, acls, options }
    }

    /// The tables that are in force.
    pub fn tables(&self) -> Tables {
        Tables { users: self.users.clone(), acls: self.acls.clone() }
    }

    /// Whether there is a super user of this name.
    pub fn is_super(&self, username: &str) -> bool {
        self.users.get(username).is_some_and(User::is_super)
    }

    /// What the configuration says.
    pub fn options(&self) -> &Arc<Options> {
        &self.options
    }

    pub(crate) fn authenticate<'a>(&'a self, call: &Call<'a>) -> Result<Caller<'a>, Decision<'a>> {
        if self.options.authentication_white_list.contains(&call.code) {
            return Ok(Caller::Free(Decision::allowed(Rule::CodeWhiteList, None)));
        }
        let refused = |reason| Decision::refused(reason, Rule::None, call.access_key());
        let key = call.access_key().ok_or_else(|| refused(Reason::NoCredentials))?;
        let user = self.users.get(key).ok_or_else(|| refused(Reason::UnknownAccount))?;
        if !user.enabled {
            return Err(refused(Reason::DisabledAccount));
        }
        if !user.signing_key.verifies(&call.ext, call.body, call.signature()) {
            return Err(refused(Reason::BadSignature));
        }
        Ok(Caller::User(user))
    }

    /// `of`: code and sender of a request, if it is one.
    pub(crate) fn authorize<'a>(
        &'a self,
        user: &'a User,
        of: Option<(i32, IpAddr)>,
        needs: &Needs<'a>,
    ) -> Decision<'a> {
        let name = Some(user.username.as_str());
        if user.is_super {
            return Decision::allowed(Rule::SuperUser, name);
        }
        if !self.options.authorization {
            return match needs.users {
                true => Decision::refused(Reason::NotAdmin, Rule::None, name),
                false => Decision::allowed(Rule::Known, name),
            };
        }
        if of.is_some_and(|(code, _)| self.options.authorization_white_list.contains(&code)) {
            return Decision::allowed(Rule::CodeWhiteList, name);
        }
        let source = of.map(|(_, source)| source);
        let mut last = Decision::allowed(Rule::Known, name);
        for need in needs.iter() {
            last = self.decide(user, need, source);
            if !last.is_allowed() {
                return last;
            }
        }
        last
    }

    fn decide<'a>(
        &'a self,
        user: &'a User,
        need: &Need<'a>,
        source: Option<IpAddr>,
    ) -> Decision<'a> {
        let name = Some(user.username.as_str());
        let need = Need { resource: need.resource.with_dead_letters(), ..*need };
        let found = self.acls.get(&user.username).and_then(|acl| acl.decides(&need, source));
        match found {
            Some((kind, entry)) if entry.allows => {
                Decision::allowed(Rule::Policy(kind, entry), name).on(&need)
            }
            Some((kind, entry)) => {
                Decision::refused(Reason::Denied, Rule::Policy(kind, entry), name).on(&need)
            }
            None => Decision::refused(Reason::NoRule, Rule::None, name).on(&need),
        }
    }

    pub(crate) fn explain<'a>(
        &'a self,
        question: &Question<'a>,
        needs: &Needs<'a>,
    ) -> Decision<'a> {
        let name = Some(question.account);
        let Some(user) = self.users.get(question.account) else {
            return Decision::refused(Reason::UnknownAccount, Rule::None, name);
        };
        if !user.enabled {
            return Decision::refused(Reason::DisabledAccount, Rule::None, name);
        }
        // No request has this code: white lists of codes are about requests.
        const NO_CODE: i32 = i32::MIN;
        self.authorize(user, question.source.map(|source| (NO_CODE, source)), needs)
    }
}

/// What Java's broker says of a refusal, and what the rule was.
pub(crate) fn remark(call: &Call<'_>, decision: &Decision<'_>) -> String {
    let user: String = decision.account.unwrap_or_default().chars().take(128).collect();
    match decision.reason {
        Reason::NoCredentials => "username cannot be null.".to_owned(),
        Reason::UnknownAccount => format!("User:{user} is not found."),
        Reason::DisabledAccount => format!("User:{user} is disabled."),
        Reason::BadSignature => "check signature failed.".to_owned(),
        Reason::Allowed => "allowed".to_owned(),
        Reason::NotAdmin => {
            format!("User:{user} is no super user, and users are managed by nobody else")
        }
        Reason::NoRule | Reason::Denied => {
            let resource = decision.need.map(|need| {
                let actions: Vec<&str> = need.actions.iter().map(|action| action.name()).collect();
                let name: String = need.resource.to_string().chars().take(128).collect();
                (name, actions.join(" or "))
            });
            let (resource, actions) = resource.unwrap_or_default();
            let why = match decision.rule {
                Rule::Policy(..) => format!("the decision is deny. ({})", decision.rule),
                _ => "no matched policies.".to_owned(),
            };
            let source = call.source;
            format!(
                "User:{user} has no permission to access {resource} from {source}, {why} needs {actions}"
            )
        }
    }
}
