//! Topics and groups that a tool of 5.x lists in one request: UPDATE_AND_CREATE_TOPIC_LIST,
//! UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST. All are made or changed or, for the reasons that are told, none is. Java's broker
//! stops at the first that it refuses, too, before it makes any.

use super::attributes;
use super::groups;
use super::metadata::MetadataError;
use super::topics::Topics;
use proto::body::{SubscriptionGroupConfig, TopicConfig};
use std::collections::BTreeSet;

/// Topics, or groups, of one request: they are made in one piece of work.
pub const LIST_ENTRIES_MAX: usize = 1_024;
/// Reasons that are told, and characters of each.
const REASONS_MAX: usize = 32;
const REASON_CHARS_MAX: usize = 256;

/// Why nothing of a list was made. `Display` is the remark.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It names none, or too many.
    #[error("{member} has {count} entries, 1 to {LIST_ENTRIES_MAX} may be")]
    Count {
        /// Name of the list in the body.
        member: &'static str,
        /// How many it has.
        count: usize,
    },
    /// Some cannot be.
    #[error("none of {count} {what} is made: {reasons}")]
    Refused {
        /// "topics" or "groups".
        what: &'static str,
        /// How many were asked for.
        count: usize,
        /// What is wrong with those that cannot be.
        reasons: String,
    },
    /// There is no room for all.
    #[error(transparent)]
    NoRoom(#[from] MetadataError),
}

/// The topics of a list as they are to be, if all can be. Attributes are changes of those that a topic has, such as
/// `+message.type`.
pub(super) fn checked_topics(
    known: &Topics,
    wanted: Vec<TopicConfig>,
) -> Result<Vec<TopicConfig>, ListError> {
    check_count("topicConfigList", wanted.len())?;
    all_or_reasons("topics", wanted, topic_name, |topic| {
        let before = known.get(&topic.topic_name).map(|before| &before.attributes);
        let attributes = attributes::altered_by_map(before, &topic.attributes)?;
        known.check(&topic)?;
        Ok(TopicConfig { attributes, ..topic })
    })
}

/// The groups of a list, if all can be.
pub(super) fn checked_groups(
    wanted: Vec<SubscriptionGroupConfig>,
) -> Result<Vec<SubscriptionGroupConfig>, ListError> {
    check_count("groupConfigList", wanted.len())?;
    all_or_reasons("groups", wanted, group_name, |group| {
        attributes::check_group(&group.attributes)?;
        groups::check(&group)?;
        Ok(group)
    })
}

fn topic_name(topic: &TopicConfig) -> &str {
    &topic.topic_name
}

fn group_name(group: &SubscriptionGroupConfig) -> &str {
    &group.group_name
}

fn check_count(member: &'static str, count: usize) -> Result<(), ListError> {
    if (1..=LIST_ENTRIES_MAX).contains(&count) {
        return Ok(());
    }
    Err(ListError::Count { member, count })
}

/// What `check` makes of each, or what it has against some.
fn all_or_reasons<V>(
    what: &'static str,
    wanted: Vec<V>,
    name_of: fn(&V) -> &str,
    check: impl Fn(V) -> Result<V, MetadataError>,
) -> Result<Vec<V>, ListError> {
    let count = wanted.len();
    let (mut names, mut checked, mut reasons) = (BTreeSet::new(), Vec::new(), Vec::new());
    for value in wanted {
        let name = name_of(&value).to_owned();
        let refused = match names.insert(name.clone()) {
            false => Some("is named twice".to_owned()),
            true => match check(value) {
                Ok(value) => {
                    checked.push(value);
                    None
                }
                Err(error) => Some(error.to_string()),
            },
        };
        reasons.extend(refused.map(|why| format!("{name:?}: {why}")));
    }
    if reasons.is_empty() {
        return Ok(checked);
    }
    Err(ListError::Refused { what, count, reasons: told(&reasons) })
}

/// Reasons, as many as people read.
fn told(reasons: &[String]) -> String {
    let cut = |reason: &String| reason.chars().take(REASON_CHARS_MAX).collect::<String>();
    let mut told = reasons.iter().take(REASONS_MAX).map(cut).collect::<Vec<_>>().join("; ");
    if let Some(more @ 1..) = reasons.len().checked_sub(REASONS_MAX) {
        told.push_str(&format!("; and {more} more"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        handlers::fixtures::{NOW, control},
        table_memory::TableLimits,
    };

    fn topic(name: &str) -> TopicConfig {
        TopicConfig { topic_name: name.to_owned(), write_queue_nums: 4, ..TopicConfig::default() }
    }

    fn group(name: &str) -> SubscriptionGroupConfig {
        SubscriptionGroupConfig {
            group_name: name.to_owned(),
            ..SubscriptionGroupConfig::default()
        }
    }

    fn with_attribute(name: &str, attribute: &str, value: &str) -> TopicConfig {
        let attributes = [(attribute.to_owned(), value.to_owned())].into();
        TopicConfig { attributes, ..topic(name) }
    }

    #[test]
    fn all_of_a_list_are_made() {
        let mut control = control();
        control.saved_effects();
        control
            .update_topics(NOW, vec![topic("b"), with_attribute("a", "+message.type", "FIFO")])
            .expect("good topics");
        assert_eq!(control.topics().get("b").expect("made").write_queue_nums, 4);
        assert_eq!(control.topics().get("a").expect("made").attributes["message.type"], "FIFO");
        control
            .update_topics(NOW, vec![with_attribute("a", "-message.type", "")])
            .expect("taken away");
        assert!(control.topics().get("a").expect("there").attributes.is_empty());
        control.update_groups(NOW, vec![group("g"), group("h")]).expect("good groups");
        assert!(control.groups().get("h").is_some());
        let effects = control.saved_effects();
        assert_eq!((effects.topic_changes.len(), effects.group_changes.len()), (3, 2));
        assert!(effects.register && effects.publish.is_some());
    }

    #[test]
    fn none_is_made_when_some_cannot_be_and_each_of_those_is_named() {
        let mut control = control();
        control.saved_effects();
        let many = TopicConfig { read_queue_nums: 70_000, ..topic("many") };
        let wanted = vec![
            topic("good"),
            topic("a b"),
            many,
            topic("TBW102"),
            topic("good"),
            with_attribute("plain", "message.type", "FIFO"),
            with_attribute("two", "+message.type", "FIFO,+cleanup.policy=DELETE"),
        ];
        let refused = control.update_topics(NOW, wanted).expect_err("refused").to_string();
        for named in [
            "none of 7 topics",
            "\"a b\"",
            "70000",
            "TBW102",
            "named twice",
            "\"plain\"",
            "\"two\"",
        ] {
            assert!(refused.contains(named), "{named}: {refused}");
        }
        let refused = control.update_groups(NOW, vec![group("g"), group("a b"), group("")]);
        let refused = refused.expect_err("refused").to_string();
        assert!(refused.contains("\"a b\"") && refused.contains("\"\""), "{refused}");
        let effects = control.saved_effects();
        assert!(effects.topic_changes.is_empty() && effects.group_changes.is_empty());
        assert!(control.topics().get("good").is_none() && control.groups().get("g").is_none());
    }

    #[test]
    fn all_fit_or_none_is_made() {
        let mut control = control();
        let (bytes, _) = control.table_memory().level();
        let one = crate::table_memory::of_topic(&topic("t00")).sum();
        control.limit_tables(TableLimits { bytes: bytes + 10 * one, ..TableLimits::NONE });
        let named =
            |count: usize| (0..count).map(|number| topic(&format!("t{number:02}"))).collect();
        let refused = control.update_topics(NOW, named(11)).expect_err("too many");
        assert!(refused.to_string().contains("11 at once"), "{refused}");
        assert!(control.topics().get("t00").is_none());
        control.update_topics(NOW, named(10)).expect("they fit");
        control.update_topics(NOW, named(10)).expect("they are there");
    }

    #[test]
    fn lists_and_their_reasons_are_bounded() {
        let mut control = control();
        for count in [0, LIST_ENTRIES_MAX + 1] {
            let refused = control.update_topics(NOW, vec![topic("t"); count]).expect_err("refused");
            assert_eq!(refused, ListError::Count { member: "topicConfigList", count });
        }
        let illegal = |number: usize| topic(&format!("{number} {}", "x".repeat(9_000)));
        let refused = control.update_topics(NOW, (0..100).map(illegal).collect());
        let refused = refused.expect_err("illegal").to_string();
        assert!(refused.ends_with("; and 68 more") && refused.len() < 9_000, "{}", refused.len());
    }
}
