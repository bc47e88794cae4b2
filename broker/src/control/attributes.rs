//! Attributes of topics, which 5.x tools give with UPDATE_AND_CREATE_TOPIC (`-a +message.type=NORMAL`): read, checked and
//! merged as Java does it, kept and given back. A value that promises what this version does not serve is refused
//! ([`not_yet`]). Groups have none in 5.3.3: Java refuses every one, and so do we.
//!
//! Source: Apache RocketMQ 5.3.3, `AttributeParser`, `AttributeUtil`, `TopicAttributes`.

use std::collections::BTreeMap;

/// Attributes by name.
pub(super) type Attributes = BTreeMap<String, String>;

/// Why attributes were refused. `Display` is the remark.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// Not `+name=value` or `-name`.
    #[error("attribute {found:?} is neither +name=value nor -name")]
    Form {
        /// What stands there.
        found: String,
    },
    /// Named twice.
    #[error("attribute {name} is named twice")]
    Twice {
        /// Its name.
        name: String,
    },
    /// Nobody knows it.
    #[error("unsupported key: {name}; attributes of a {of} are {known}")]
    Unknown {
        /// Its name.
        name: String,
        /// "topic" or "group".
        of: &'static str,
        /// Those that there are.
        known: &'static str,
    },
    /// The value is none of those that it takes.
    #[error("attribute {name}={value} is not one of {allowed}")]
    Value {
        /// Its name.
        name: String,
        /// What was given.
        value: String,
        /// What it takes.
        allowed: &'static str,
    },
    /// It is fixed when the topic is created.
    #[error("attempt to update an unchangeable attribute. key: {name}")]
    Fixed {
        /// Its name.
        name: String,
    },
    /// A new topic has nothing to delete, an old one not this.
    #[error("attempt to delete a nonexistent key: {name}")]
    Absent {
        /// Its name.
        name: String,
    },
    /// Java's broker would do something that this one does not do yet.
    #[error("{0}")]
    NotYet(String),
}

/// An attribute that topics have.
struct Known {
    name: &'static str,
    changeable: bool,
    allowed: &'static str,
    is_allowed: fn(&str) -> bool,
}

const NAMES: &str = "queue.type, cleanup.policy, message.type, reserve.time";

const OF_TOPICS: [Known; 4] = [
    Known {
        name: "queue.type",
        changeable: false,
        allowed: "BatchCQ, SimpleCQ",
        is_allowed: |value| ["BatchCQ", "SimpleCQ"].contains(&value),
    },
    Known {
        name: "cleanup.policy",
        changeable: false,
        allowed: "DELETE, COMPACTION",
        is_allowed: |value| ["DELETE", "COMPACTION"].contains(&value),
    },
    Known {
        name: "message.type",
        changeable: true,
        allowed: "UNSPECIFIED, NORMAL, FIFO, DELAY, TRANSACTION, MIXED",
        is_allowed: |value| {
            ["UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED"].contains(&value)
        },
    },
    Known {
        name: "reserve.time",
        changeable: true,
        allowed: "-1 to 9223372036854775807",
        is_allowed: |value| value.parse::<i64>().is_ok_and(|value| value >= -1),
    },
];

/// The attributes of a topic after a change, which is a list of `+name=value` and `-name`. `current`: those that it has;
/// none, when it does not exist.
pub(super) fn altered(
    current: Option<&Attributes>,
    change: &str,
) -> Result<Attributes, AttributeError> {
    altered_by(current, change.split(',').filter(|_| !change.is_empty()))
}

/// The same of a change that lists of topics carry, whose names begin with `+` or `-`.
pub(super) fn altered_by_map(
    current: Option<&Attributes>,
    change: &Attributes,
) -> Result<Attributes, AttributeError> {
    let entry = |(name, value): (&String, &String)| match name.starts_with('-') {
        true => name.clone(),
        false => format!("{name}={value}"),
    };
    let entries: Vec<String> = change.iter().map(entry).collect();
    altered_by(current, entries.iter().map(String::as_str))
}

fn altered_by<'a>(
    current: Option<&Attributes>,
    change: impl Iterator<Item = &'a str>,
) -> Result<Attributes, AttributeError> {
    let mut attributes = current.cloned().unwrap_or_default();
    let mut seen = Vec::new();
    for entry in change {
        let form = || AttributeError::Form { found: entry.to_owned() };
        let (name, value) = match (entry.strip_prefix('+'), entry.strip_prefix('-')) {
            (Some(added), _) => {
                let (name, value) = added.split_once('=').ok_or_else(form)?;
                (name, Some(value))
            }
            (_, Some(name)) if !name.contains('=') => (name, None),
            _ => return Err(form()),
        };
        if name.is_empty() {
            return Err(form());
        }
        if seen.contains(&name) {
            return Err(AttributeError::Twice { name: name.to_owned() });
        }
        seen.push(name);
        alter(&mut attributes, current.is_none(), name, value)?;
    }
    Ok(attributes)
}

fn alter(
    attributes: &mut Attributes,
    is_new: bool,
    name: &str,
    value: Option<&str>,
) -> Result<(), AttributeError> {
    let owned = || name.to_owned();
    let known = OF_TOPICS.iter().find(|known| known.name == name);
    let known = known.ok_or_else(|| AttributeError::Unknown {
        name: owned(),
        of: "topic",
        known: NAMES,
    })?;
    if value.is_none() && !attributes.contains_key(name) {
        return Err(AttributeError::Absent { name: owned() });
    }
    if !is_new && !known.changeable {
        return Err(AttributeError::Fixed { name: owned() });
    }
    let Some(value) = value else {
        attributes.remove(name);
        return Ok(());
    };
    if !(known.is_allowed)(value) {
        let (value, allowed) = (value.to_owned(), known.allowed);
        return Err(AttributeError::Value { name: owned(), value, allowed });
    }
    if let Some(why) = not_yet(name, value) {
        return Err(AttributeError::NotYet(why));
    }
    attributes.insert(owned(), value.to_owned());
    Ok(())
}

/// What a value of a topic's attribute promises and is not kept: the remark.
fn not_yet(name: &str, value: &str) -> Option<String> {
    let what = match (name, value) {
        ("queue.type", "BatchCQ") => "batches with one offset are",
        ("cleanup.policy", "COMPACTION") => "compaction is",
        // Retention is the broker's as a whole.
        ("reserve.time", time) if time != "-1" => "retention per topic is",
        _ => return None,
    };
    Some(format!("{name}={value}: {what} not supported by this version of the broker"))
}

/// Attributes of groups: there are none.
pub(super) fn check_group(attributes: &Attributes) -> Result<(), AttributeError> {
    match attributes.keys().next() {
        None => Ok(()),
        Some(name) => {
            let name = name.trim_start_matches(['+', '-']).to_owned();
            Err(AttributeError::Unknown { name, of: "group", known: "none" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(attributes: &Attributes) -> String {
        let pairs = attributes.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join(",")
    }

    #[test]
    fn attributes_are_kept_changed_and_taken_away_as_java_does() {
        let made = altered(None, "+message.type=NORMAL,+queue.type=SimpleCQ").expect("good");
        assert_eq!(text(&made), "message.type=NORMAL,queue.type=SimpleCQ");
        let same = altered(Some(&made), "").expect("no change");
        assert_eq!(same, made, "who says nothing of them changes none");
        let changed = altered(Some(&made), "+message.type=UNSPECIFIED,+reserve.time=-1");
        let changed = changed.expect("both can change");
        assert_eq!(text(&changed), "message.type=UNSPECIFIED,queue.type=SimpleCQ,reserve.time=-1");
        let less = altered(Some(&changed), "-message.type").expect("it is there");
        assert_eq!(text(&less), "queue.type=SimpleCQ,reserve.time=-1");
    }

    #[test]
    fn what_is_no_attribute_is_refused_by_name() {
        let old: Attributes = [("queue.type".to_owned(), "SimpleCQ".to_owned())].into();
        let cases = [
            (false, "message.type=NORMAL", "neither"),
            (false, "+message.type", "neither"),
            (false, "-message.type=NORMAL", "neither"),
            (false, "+=x", "neither"),
            (false, "+message.type=NORMAL,", "neither"),
            (false, "+message.type=NORMAL,+message.type=FIFO", "twice"),
            (false, "+colour=red", "unsupported key: colour"),
            (false, "+message.type=normal", "is not one of UNSPECIFIED, NORMAL"),
            (false, "+reserve.time=-2", "-1 to"),
            (false, "-message.type", "nonexistent key: message.type"),
            (true, "+queue.type=SimpleCQ", "unchangeable attribute. key: queue.type"),
            (true, "-queue.type", "unchangeable"),
            (true, "-message.type", "nonexistent"),
        ];
        for (exists, change, part) in cases {
            let refused = altered(exists.then_some(&old), change).expect_err(change).to_string();
            assert!(refused.contains(part), "{change}: {refused}");
        }
        assert_eq!(check_group(&Attributes::new()), Ok(()));
        assert!(check_group(&old).expect_err("none").to_string().contains("queue.type"));
    }

    #[test]
    fn what_a_value_promises_is_served_or_refused() {
        for promise in ["queue.type=BatchCQ", "cleanup.policy=COMPACTION", "reserve.time=3600000"] {
            let refused = altered(None, &format!("+{promise}")).expect_err(promise).to_string();
            assert!(refused.starts_with(promise) && refused.contains("not"), "{refused}");
        }
        for kept in [
            "message.type=UNSPECIFIED",
            "message.type=DELAY",
            "message.type=FIFO",
            "message.type=TRANSACTION",
            "message.type=MIXED",
            "cleanup.policy=DELETE",
            "reserve.time=-1",
        ] {
            assert_eq!(text(&altered(None, &format!("+{kept}")).expect(kept)), kept);
        }
    }
}
