//! Changes of a file's text, as tools ask for them (codes 50, 51, 53). Only the lines that change are written anew, so comments, order
//! and what stands beside them stay.
//!
//! What is written is read again: if it does not say exactly what it should (a file in brackets, say), the whole file is written
//! in its simplest form instead, which loses comments, as Java's broker does each time.

use super::{
    Perm,
    file::{self, Account, FileProblems, PlainFile, Version, WhiteAddress, check_key, parse_line},
};
use crate::yaml::{self, Node, Value, quoted};
use std::{collections::HashMap, fmt::Write, ops::Range};

/// Accounts, permissions or addresses that a tool names in one request, at most.
const LIST_MAX: usize = 10_000;

/// Why a file is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It cannot be read as it is.
    #[error("the file is not changed, because it has mistakes: {0}")]
    Problems(FileProblems),
    /// What was asked for is no account, permission or address.
    #[error("{0}")]
    Bad(String),
    /// There is no such account.
    #[error("the accessKey {0} does not exist")]
    UnknownAccount(String),
}

/// An account to be made or changed. What is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct AccountChange<'a> {
    /// Its name.
    pub access_key: &'a str,
    /// Its secret.
    pub secret_key: &'a str,
    /// From where it needs no signature.
    pub white: Option<&'a str>,
    /// Whether it administers.
    pub admin: bool,
    /// For topics that are not listed.
    pub default_topic: Option<&'a str>,
    /// For groups that are not listed.
    pub default_group: Option<&'a str>,
    /// `name=PERM` by topic.
    pub topics: Option<Vec<&'a str>>,
    /// `name=PERM` by group.
    pub groups: Option<Vec<&'a str>>,
}

impl AccountChange<'_> {
    /// The fields as they are written, in the order of the sample file.
    fn lines(&self) -> Vec<(&'static str, Rendered)> {
        let text = |text: &str| Rendered::Text(quoted(text));
        let list =
            |items: &Vec<&str>| Rendered::List(items.iter().map(|item| quoted(item)).collect());
        let given = [
            ("accessKey", Some(text(self.access_key))),
            ("secretKey", Some(text(self.secret_key))),
            ("whiteRemoteAddress", self.white.map(text)),
            ("admin", Some(Rendered::Text(self.admin.to_string()))),
            ("defaultTopicPerm", self.default_topic.map(text)),
            ("defaultGroupPerm", self.default_group.map(text)),
            ("topicPerms", self.topics.as_ref().map(list)),
            ("groupPerms", self.groups.as_ref().map(list)),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// All that is wrong with it.
    fn check(&self) -> Result<(), EditError> {
        let mut wrong = Vec::new();
        let mut note = |name: &str, checked: Result<(), String>| {
            wrong.extend(checked.err().map(|why| format!("{name}: {why}")));
        };
        note("accessKey", check_key(self.access_key));
        note("secretKey", check_key(self.secret_key));
        if let Some(white) = self.white {
            let read = WhiteAddress::parse(white).map(drop);
            note("whiteRemoteAddress", read.map_err(|error| error.to_string()));
        }
        for (name, perm) in
            [("defaultTopicPerm", self.default_topic), ("defaultGroupPerm", self.default_group)]
        {
            let perm = perm.map_or(Some(Perm::DENY), Perm::parse);
            note(name, perm.map(drop).ok_or(format!("expected {}", Perm::EXPECTED)));
        }
        for (name, lines) in [("topicPerms", &self.topics), ("groupPerms", &self.groups)] {
            let lines = lines.iter().flatten();
            if lines.clone().count() > LIST_MAX {
                note(name, Err(format!("more than {LIST_MAX} lines")));
            }
            let mut seen = HashMap::new();
            for line in lines.take(LIST_MAX) {
                let read = parse_line(line).and_then(|(resource, _)| {
                    let again = seen.insert(resource, ()).is_some();
                    if again {
                        Err(format!("{} is there twice", file::cut(resource)))
                    } else {
                        Ok(())
                    }
                });
                note(name, read);
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(EditError::Bad(wrong.join("; "))) }
    }
}

/// A value as it is written.
enum Rendered {
    Text(String),
    List(Vec<String>),
}

impl Rendered {
    /// `name: value`, its further lines indented by so much.
    fn entry(&self, name: &str, indent: usize) -> String {
        match self {
            Rendered::Text(text) => format!("{name}: {text}"),
            Rendered::List(items) if items.is_empty() => format!("{name}: []"),
            Rendered::List(items) => {
                let mut out = format!("{name}:");
                for item in items {
                    let _ = write!(out, "\n{:indent$}- {item}", "");
                }
                out
            }
        }
    }
}

/// The text with an account that is made, or changed.
pub fn put_account(
    text: &str,
    change: &AccountChange<'_>,
    now_ms: i64,
) -> Result<String, EditError> {
    change.check()?;
    let before = file::read(text).map_err(EditError::Problems)?;
    let known = before.accounts.iter().position(|account| account.access_key == change.access_key);
    let lines = change.lines();
    // What it says when it is alone in a file, over what it said before.
    let mut alone = String::from("accounts:\n");
    alone.push_str(&account_text(&lines, 0));
    let alone = file::read(&alone).map_err(EditError::Problems)?;
    let Some(new) = alone.accounts.into_iter().next() else {
        return Err(EditError::Bad("the account cannot be written".to_owned()));
    };
    let mut wanted = before.clone();
    match known.and_then(|index| wanted.accounts.get_mut(index)) {
        Some(account) => overlay(account, new, change),
        None => wanted.accounts.push(new),
    }
    wanted.version = Some(next(before.version, now_ms));
    let edited = Text::of(text).and_then(|mut text| {
        match known {
            Some(index) => text.change_account(index, &lines)?,
            None => text.add_account(&lines)?,
        }
        text.finish(&wanted)
    });
    Ok(edited.unwrap_or_else(|| whole(&wanted)))
}

/// The text without an account.
pub fn delete_account(text: &str, access_key: &str, now_ms: i64) -> Result<String, EditError> {
    let before = file::read(text).map_err(EditError::Problems)?;
    let known = before.accounts.iter().position(|account| account.access_key == access_key);
    let Some(index) = known else {
        return Err(EditError::UnknownAccount(file::cut(access_key)));
    };
    let mut wanted = before.clone();
    wanted.accounts.remove(index);
    wanted.version = Some(next(before.version, now_ms));
    let edited = Text::of(text).and_then(|mut text| {
        text.remove_account(index)?;
        text.finish(&wanted)
    });
    Ok(edited.unwrap_or_else(|| whole(&wanted)))
}

/// The text with other addresses from where everything passes.
pub fn put_white_addresses(text: &str, list: &[&str], now_ms: i64) -> Result<String, EditError> {
    if list.len() > LIST_MAX {
        return Err(EditError::Bad(format!("more than {LIST_MAX} addresses")));
    }
    let read: Result<Vec<_>, _> = list.iter().map(|text| WhiteAddress::parse(text)).collect();
    let white = read.map_err(|error| EditError::Bad(error.to_string()))?;
    let before = file::read(text).map_err(EditError::Problems)?;
    let items = white.iter().map(|white| quoted(&white.text)).collect();
    let wanted = PlainFile { white, version: Some(next(before.version, now_ms)), ..before.clone() };
    let edited = Text::of(text).and_then(|mut text| {
        text.put("globalWhiteRemoteAddresses", &Rendered::List(items))?;
        text.finish(&wanted)
    });
    Ok(edited.unwrap_or_else(|| whole(&wanted)))
}

fn next(version: Option<Version>, now_ms: i64) -> Version {
    let counter = version.unwrap_or_default().counter.saturating_add(1);
    Version { timestamp: now_ms, counter }
}

fn overlay(account: &mut Account, new: Account, change: &AccountChange<'_>) {
    (account.secret_key, account.signing_key) = (new.secret_key, new.signing_key);
    account.admin = new.admin;
    if change.white.is_some() {
        account.white = new.white;
    }
    if change.default_topic.is_some() {
        account.default_topic = new.default_topic;
    }
    if change.default_group.is_some() {
        account.default_group = new.default_group;
    }
    if change.topics.is_some() {
        account.topics = new.topics;
    }
    if change.groups.is_some() {
        account.groups = new.groups;
    }
}

/// An account as an item of a list whose dashes stand in this column.
fn account_text(lines: &[(&'static str, Rendered)], column: usize) -> String {
    let mut out = String::new();
    for (index, (name, value)) in lines.iter().enumerate() {
        let head = if index == 0 { "- " } else { "  " };
        let separator = if index == 0 { "" } else { "\n" };
        let entry = value.entry(name, column + 2);
        let _ = write!(out, "{separator}{:column$}{head}{entry}", "");
    }
    out
}

/// A text, and what is to be put in place of parts of it. Each step is `None` where the text is not laid out as it can change it.
struct Text<'t> {
    text: &'t str,
    root: Option<Node>,
    edits: Vec<(Range<usize>, String)>,
}

impl<'t> Text<'t> {
    fn of(text: &'t str) -> Option<Text<'t>> {
        Some(Text { text, root: yaml::read(text).ok()?, edits: Vec::new() })
    }

    /// Key and value of a field of the file.
    fn field(&self, name: &str) -> Option<&(Node, Node)> {
        field_of(self.root.as_ref()?, name)
    }

    /// The accounts.
    fn accounts(&self) -> Option<&[Node]> {
        match &self.field("accounts")?.1.value {
            Value::List { items, flow: false } => Some(items),
            _ => None,
        }
    }

    /// Behind the last character of the line.
    fn line_end(&self, at: usize) -> Option<usize> {
        let rest = self.text.get(at..)?;
        Some(at + rest.find('\n').unwrap_or(rest.len()))
    }

    fn line_start(&self, at: usize) -> Option<usize> {
        Some(self.text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1))
    }

    /// From the key to the end of the value; a value that says nothing ends with the colon.
    fn range_of(&self, (key, value): &(Node, Node)) -> Option<Range<usize>> {
        let colon = key.end + self.text.get(key.end..)?.find(':')? + 1;
        Some(key.start..value.end.max(colon))
    }

    /// Puts a field of the file in place of what it was, or at the end.
    fn put(&mut self, name: &str, value: &Rendered) -> Option<()> {
        let entry = value.entry(name, 0);
        match self.field(name) {
            Some(field) => {
                let range = self.range_of(field)?;
                self.edits.push((range, entry));
            }
            None => self.append(entry),
        }
        Some(())
    }

    fn append(&mut self, entry: String) {
        let separator = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
        self.edits.push((self.text.len()..self.text.len(), format!("{separator}{entry}\n")));
    }

    fn change_account(&mut self, index: usize, lines: &[(&'static str, Rendered)]) -> Option<()> {
        let account = self.accounts()?.get(index)?;
        let Value::Map { flow: false, .. } = &account.value else { return None };
        let column = account.column;
        let mut edits = Vec::new();
        let mut added = String::new();
        for (name, value) in lines {
            let entry = value.entry(name, column);
            match field_of(account, name) {
                Some(field) if says(&field.1, value) => {}
                Some(field) => edits.push((self.range_of(field)?, entry)),
                None => {
                    let _ = write!(added, "\n{:column$}{entry}", "");
                }
            }
        }
        let end = self.line_end(account.end)?;
        edits.push((end..end, added));
        self.edits.extend(edits);
        Some(())
    }

    fn add_account(&mut self, lines: &[(&'static str, Rendered)]) -> Option<()> {
        match self.field("accounts") {
            None => self.append(format!("accounts:\n{}", account_text(lines, 0))),
            Some(field) => match self.accounts().and_then(<[Node]>::last) {
                Some(last) => {
                    let first = self.accounts()?.first()?;
                    let line = self.text.get(self.line_start(first.start)?..first.start)?;
                    let column = line.find('-')?;
                    let end = self.line_end(last.end)?;
                    self.edits.push((end..end, format!("\n{}", account_text(lines, column))));
                }
                // Empty, in brackets or not.
                None => {
                    let range = self.range_of(field)?;
                    self.edits.push((range, format!("accounts:\n{}", account_text(lines, 0))));
                }
            },
        }
        Some(())
    }

    fn remove_account(&mut self, index: usize) -> Option<()> {
        let accounts = self.accounts()?;
        let account = accounts.get(index)?;
        if accounts.len() == 1 {
            let range = self.range_of(self.field("accounts")?)?;
            self.edits.push((range, "accounts: []".to_owned()));
            return Some(());
        }
        let start = self.line_start(account.start)?;
        let end = self.line_end(account.end)?;
        // With its line break, unless it ends the text.
        let end = if end < self.text.len() { end + 1 } else { end };
        self.edits.push((start..end, String::new()));
        Some(())
    }

    /// The text with all changes and the next version, if that says what it should.
    fn finish(mut self, wanted: &PlainFile) -> Option<String> {
        let version = wanted.version.unwrap_or_default();
        let entry = format!(
            "dataVersion:\n- timestamp: {}\n  counter: {}",
            version.timestamp, version.counter
        );
        match self.field("dataVersion") {
            Some(field) => {
                let range = self.range_of(field)?;
                self.edits.push((range, entry));
            }
            None => self.append(entry),
        }
        // Stable: what is appended stays in order.
        self.edits.sort_by_key(|(range, _)| range.start);
        let mut out = String::with_capacity(self.text.len() + 256);
        let mut at = 0;
        for (range, with) in &self.edits {
            out.push_str(self.text.get(at..range.start)?);
            out.push_str(with);
            at = range.end;
        }
        out.push_str(self.text.get(at..)?);
        let read = file::read(&out).ok()?;
        says_the_same(&read, wanted).then_some(out)
    }
}

fn field_of<'n>(map: &'n Node, name: &str) -> Option<&'n (Node, Node)> {
    match &map.value {
        Value::Map { entries, flow: false } => {
            entries.iter().find(|(key, _)| key.text() == Some(name))
        }
        _ => None,
    }
}

/// Whether a value says already what would be written: its line stays as its author wrote it.
fn says(node: &Node, value: &Rendered) -> bool {
    let same =
        |node: &Node, text: &str| node.text().is_some_and(|old| old == text || quoted(old) == text);
    match (&node.value, value) {
        (Value::Scalar { .. }, Rendered::Text(text)) => same(node, text),
        (Value::List { items, .. }, Rendered::List(texts)) => {
            items.len() == texts.len()
                && items.iter().zip(texts).all(|(item, text)| same(item, text))
        }
        _ => false,
    }
}

fn says_the_same(one: &PlainFile, other: &PlainFile) -> bool {
    one.white == other.white
        && one.version == other.version
        && one.accounts.len() == other.accounts.len()
        && one.accounts.iter().zip(&other.accounts).all(|(one, other)| one.says_the_same(other))
}

/// The file in its simplest form.
fn whole(file: &PlainFile) -> String {
    let mut out = String::new();
    let white = file.white.iter().map(|white| quoted(&white.text)).collect();
    let _ = writeln!(out, "{}", Rendered::List(white).entry("globalWhiteRemoteAddresses", 0));
    if file.accounts.is_empty() {
        out.push_str("accounts: []\n");
    } else {
        out.push_str("accounts:\n");
    }
    let perms = |perms: &HashMap<String, Perm>| {
        let mut lines: Vec<String> =
            perms.iter().map(|(name, perm)| quoted(&format!("{name}={perm}"))).collect();
        lines.sort_unstable();
        Rendered::List(lines)
    };
    for account in &file.accounts {
        let text = |text: &str| Rendered::Text(quoted(text));
        let lines = [
            ("accessKey", text(&account.access_key)),
            ("secretKey", text(account.secret_key())),
            ("whiteRemoteAddress", text(account.white_text())),
            ("admin", Rendered::Text(account.admin.to_string())),
            ("defaultTopicPerm", text(&account.default_topic.to_string())),
            ("defaultGroupPerm", text(&account.default_group.to_string())),
            ("topicPerms", perms(&account.topics)),
            ("groupPerms", perms(&account.groups)),
        ];
        let _ = writeln!(out, "{}", account_text(&lines, 0));
    }
    if let Some(version) = file.version {
        let _ = writeln!(
            out,
            "dataVersion:\n- timestamp: {}\n  counter: {}",
            version.timestamp, version.counter
        );
    }
    out
}
