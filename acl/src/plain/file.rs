//! One file of accounts: `plain_acl.yml` or one below `conf/acl`. All that is wrong in it is found at once, each with its line; a
//! file with a mistake counts as a whole for nothing.
//!
//! Unlike Java, which takes an unknown permission for DENY and passes over fields that it does not know, both are mistakes: a
//! misspelled line would decide something else than its author thinks.

use super::Perm;
use crate::{
    RETRY_PREFIX,
    address::AddressPattern,
    signature::{Secret, SigningKey},
    yaml::{self, Node, Value},
};
use std::{collections::HashMap, fmt, net::IpAddr};

/// Keys and secrets are longer than this, as in Java.
const KEY_CHARS_ABOVE: usize = 6;
/// Characters of a value that a problem repeats.
const SHOWN_CHARS: usize = 64;

/// An account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name.
    pub access_key: String,
    /// What it signs with.
    pub(crate) secret_key: Secret,
    /// The same, ready to check signatures.
    pub(crate) signing_key: SigningKey,
    /// From where it needs no signature, as it is written.
    pub(crate) white: Option<WhiteAddress>,
    /// Whether it administers.
    pub admin: bool,
    /// For topics that are not listed.
    pub default_topic: Perm,
    /// For groups that are not listed.
    pub default_group: Perm,
    /// By topic.
    pub topics: HashMap<String, Perm>,
    /// By group.
    pub groups: HashMap<String, Perm>,
}

impl Account {
    /// What it signs with.
    pub fn secret_key(&self) -> &str {
        &self.secret_key.0
    }

    pub(crate) fn white_text(&self) -> &str {
        self.white.as_ref().map_or("", |white| &white.text)
    }

    pub(crate) fn is_white_listed(&self, source: IpAddr) -> bool {
        self.white.as_ref().is_some_and(|white| white.pattern.matches(source))
    }

    /// Whether two say the same.
    pub(crate) fn says_the_same(&self, other: &Account) -> bool {
        let parts = |account: &Account| {
            (account.access_key.clone(), account.secret_key.clone(), account.admin)
        };
        parts(self) == parts(other)
            && self.white_text() == other.white_text()
            && (self.default_topic, self.default_group)
                == (other.default_topic, other.default_group)
            && self.topics == other.topics
            && self.groups == other.groups
    }
}

/// An address of a white list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhiteAddress {
    /// As it is written.
    pub text: String,
    /// What it means.
    pub pattern: AddressPattern,
}

impl WhiteAddress {
    pub(crate) fn parse(text: &str) -> Result<WhiteAddress, crate::address::BadAddress> {
        let text = text.trim().to_owned();
        AddressPattern::parse(&text).map(|pattern| WhiteAddress { text, pattern })
    }
}

/// Version of a file, which tools raise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// When it was changed, ms since 1970.
    pub timestamp: i64,
    /// How often it was changed.
    pub counter: i64,
}

impl Version {
    /// As Java's tools read it.
    pub fn to_json(self) -> String {
        format!(r#"{{"counter":{},"stateVersion":0,"timestamp":{}}}"#, self.counter, self.timestamp)
    }
}

/// Versions of files by name, as Java's tools read them.
pub fn versions_json(versions: &[(String, Version)]) -> String {
    let version = |(name, version): &(String, Version)| {
        let Version { timestamp, counter } = version;
        let version =
            serde_json::json!({ "counter": counter, "stateVersion": 0, "timestamp": timestamp });
        (name.clone(), version)
    };
    serde_json::Value::Object(versions.iter().map(version).collect()).to_string()
}

/// What a file says.
#[derive(Clone, Debug, Default)]
pub struct PlainFile {
    /// Addresses from where everything passes.
    pub white: Vec<WhiteAddress>,
    /// Accounts, in the order of the file.
    pub accounts: Vec<Account>,
    /// Its version, if tools have changed it.
    pub version: Option<Version>,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// All mistakes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblems(pub Vec<Problem>);

impl fmt::Display for FileProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { line, reason }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}line {line}: {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FileProblems {}

/// Reads the text of a file.
pub fn read(text: &str) -> Result<PlainFile, FileProblems> {
    let root = yaml::read(text)
        .map_err(|error| FileProblems(vec![Problem { line: error.line, reason: error.reason }]))?;
    let mut reader = Reader::default();
    let file = root.map_or_else(PlainFile::default, |root| reader.file(&root));
    reader.problems.sort_by_key(|problem| problem.line);
    if reader.problems.is_empty() { Ok(file) } else { Err(FileProblems(reader.problems)) }
}

#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
}

/// Entries of a mapping by name; a name that is repeated or unknown is a mistake.
type Fields<'n> = Vec<(&'n str, &'n Node)>;

impl Reader {
    fn problem(&mut self, node: &Node, reason: impl Into<String>) {
        self.problems.push(Problem { line: node.line, reason: reason.into() });
    }

    fn file(&mut self, root: &Node) -> PlainFile {
        let mut file = PlainFile::default();
        let known = ["globalWhiteRemoteAddresses", "accounts", "dataVersion"];
        for (name, node) in self.fields(root, "the file", &known) {
            match name {
                "globalWhiteRemoteAddresses" => {
                    for item in self.items(node, name) {
                        file.white.extend(self.address(item, name));
                    }
                }
                "accounts" => {
                    for item in self.items(node, name) {
                        let account = self.account(item);
                        file.accounts.extend(account);
                    }
                }
                _ => file.version = self.version(node),
            }
        }
        let mut seen = HashMap::new();
        for account in &file.accounts {
            if seen.insert(account.access_key.as_str(), ()).is_some() {
                let reason = format!("accessKey {} stands in the file twice", account.access_key);
                self.problems.push(Problem { line: root.line, reason });
            }
        }
        file
    }

    fn fields<'n>(&mut self, node: &'n Node, of: &str, known: &[&str]) -> Fields<'n> {
        let Value::Map { entries, .. } = &node.value else {
            self.problem(node, format!("{of}: expected fields ({})", known.join(", ")));
            return Vec::new();
        };
        let mut fields: Fields<'n> = Vec::new();
        for (key, value) in entries {
            let name = key.text().unwrap_or_default();
            if !known.contains(&name) {
                let reason =
                    format!("{}: no field of {of}, which has {}", cut(name), known.join(", "));
                self.problem(key, reason);
            } else if fields.iter().any(|(seen, _)| *seen == name) {
                self.problem(key, format!("{name} is there twice"));
            } else if !value.is_null() {
                fields.push((name, value));
            }
        }
        fields
    }

    fn items<'n>(&mut self, node: &'n Node, name: &str) -> &'n [Node] {
        match &node.value {
            Value::List { items, .. } => items,
            _ => {
                self.problem(node, format!("{name}: expected a list"));
                &[]
            }
        }
    }

    fn text<'n>(&mut self, node: &'n Node, name: &str) -> Option<&'n str> {
        let text = node.text();
        if text.is_none() {
            self.problem(node, format!("{name}: expected a text"));
        }
        text
    }

    fn address(&mut self, node: &Node, name: &str) -> Option<WhiteAddress> {
        match WhiteAddress::parse(self.text(node, name)?) {
            Ok(white) => Some(white),
            Err(error) => {
                self.problem(node, format!("{name}: {error}"));
                None
            }
        }
    }

    fn account(&mut self, node: &Node) -> Option<Account> {
        let mut account = Draft::default();
        let fields = self.fields(node, "an account", &ACCOUNT_FIELDS);
        if !matches!(node.value, Value::Map { .. }) {
            return None;
        }
        for name in ["accessKey", "secretKey"] {
            if !fields.iter().any(|(given, _)| *given == name) {
                self.problem(node, format!("an account without {name}"));
            }
        }
        for (name, value) in fields {
            match name {
                "accessKey" => account.access_key = self.key(value, name),
                "secretKey" => account.secret_key = self.key(value, name),
                "whiteRemoteAddress" => account.white = self.address(value, name),
                "admin" => account.admin = self.truth(value, name),
                "defaultTopicPerm" => account.default_topic = self.perm(value, name),
                "defaultGroupPerm" => account.default_group = self.perm(value, name),
                "topicPerms" => account.topics = self.perms(value, name),
                _ => account.groups = self.perms(value, name),
            }
        }
        account.finish()
    }

    fn key(&mut self, node: &Node, name: &str) -> Option<String> {
        let text = self.text(node, name)?;
        if let Err(reason) = check_key(text) {
            self.problem(node, format!("{name}: {reason}"));
            return None;
        }
        Some(text.to_owned())
    }

    fn truth(&mut self, node: &Node, name: &str) -> bool {
        match node.text() {
            Some("true" | "True" | "TRUE" | "yes" | "on") => true,
            Some("false" | "False" | "FALSE" | "no" | "off") => false,
            text => {
                let value = cut(text.unwrap_or("a list"));
                self.problem(node, format!("{name}={value}: expected true or false"));
                false
            }
        }
    }

    fn perm(&mut self, node: &Node, name: &str) -> Perm {
        let text = node.text().unwrap_or("a list");
        Perm::parse(text).unwrap_or_else(|| {
            self.problem(node, format!("{name}={}: expected {}", cut(text), Perm::EXPECTED));
            Perm::DENY
        })
    }

    fn perms(&mut self, node: &Node, name: &str) -> HashMap<String, Perm> {
        let mut perms = HashMap::new();
        for item in self.items(node, name) {
            let Some(text) = self.text(item, name) else { continue };
            match parse_line(text) {
                Ok((resource, perm)) => {
                    let is_again = perms.insert(resource.to_owned(), perm).is_some();
                    if is_again {
                        self.problem(item, format!("{name}: {} is there twice", cut(resource)));
                    }
                }
                Err(reason) => self.problem(item, format!("{name}: {reason}")),
            }
        }
        perms
    }

    fn version(&mut self, node: &Node) -> Option<Version> {
        let first = self.items(node, "dataVersion").first()?;
        let mut version = Version::default();
        for (name, value) in
            self.fields(first, "dataVersion", &["timestamp", "counter", "stateVersion"])
        {
            let number = value.text().and_then(|text| text.parse().ok());
            match (name, number) {
                (_, None) => self.problem(value, format!("{name}: expected a number")),
                ("timestamp", Some(number)) => version.timestamp = number,
                ("counter", Some(number)) => version.counter = number,
                _ => {}
            }
        }
        Some(version)
    }
}

/// Fields of an account.
pub(super) const ACCOUNT_FIELDS: [&str; 8] = [
    "accessKey",
    "secretKey",
    "whiteRemoteAddress",
    "admin",
    "defaultTopicPerm",
    "defaultGroupPerm",
    "topicPerms",
    "groupPerms",
];

/// An account on its way.
struct Draft {
    access_key: Option<String>,
    secret_key: Option<String>,
    white: Option<WhiteAddress>,
    admin: bool,
    default_topic: Perm,
    default_group: Perm,
    topics: HashMap<String, Perm>,
    groups: HashMap<String, Perm>,
}

impl Default for Draft {
    fn default() -> Draft {
        Draft {
            access_key: None,
            secret_key: None,
            white: None,
            admin: false,
            default_topic: Perm::DENY,
            default_group: Perm::DENY,
            topics: HashMap::new(),
            groups: HashMap::new(),
        }
    }
}

impl Draft {
    fn finish(self) -> Option<Account> {
        let (access_key, secret_key) = (self.access_key?, self.secret_key?);
        let signing_key = SigningKey::new(&secret_key)?;
        // A group is the topic of its retries in Java's table, which may be written among the topics.
        let mut groups = HashMap::new();
        let mut topics = HashMap::new();
        for (name, perm) in self.topics {
            match name.strip_prefix(RETRY_PREFIX) {
                Some(group) => groups.insert(group.to_owned(), perm),
                None => topics.insert(name, perm),
            };
        }
        for (name, perm) in self.groups {
            let group = name.strip_prefix(RETRY_PREFIX).unwrap_or(&name).to_owned();
            groups.insert(group, perm);
        }
        Some(Account {
            access_key,
            secret_key: Secret(secret_key),
            signing_key,
            white: self.white,
            admin: self.admin,
            default_topic: self.default_topic,
            default_group: self.default_group,
            topics,
            groups,
        })
    }
}

/// Whether a text can be a key or a secret.
pub(super) fn check_key(text: &str) -> Result<(), String> {
    if text.chars().count() > KEY_CHARS_ABOVE && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "expected more than {KEY_CHARS_ABOVE} characters, none of them a control character"
    ))
}

/// `name=PERM`.
pub(super) fn parse_line(text: &str) -> Result<(&str, Perm), String> {
    let expected = || format!("{}: expected name={}", cut(text), Perm::EXPECTED);
    let (name, perm) = text.split_once('=').ok_or_else(expected)?;
    let perm = Perm::parse(perm).ok_or_else(expected)?;
    match name.trim() {
        "" => Err(expected()),
        name => Ok((name, perm)),
    }
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}
