//! `SubscriptionData`: what a consumer group wants from one topic.

use serde_json::Value;

use super::BodyError;
use super::fields::{Fields, int};
use super::writer::{self, Members};

/// One subscription. Source: Apache RocketMQ 4.9.8, `SubscriptionData`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscriptionData {
    /// Legacy filter by uploaded classes.
    pub class_filter_mode: bool,
    /// The topic.
    pub topic: String,
    /// `*`, tags separated by `||`, or an SQL92 expression.
    pub sub_string: String,
    /// Tags of the expression; empty for `*` and SQL92.
    pub tags_set: Vec<String>,
    /// Java's string hash of each tag, in the order the sender had.
    pub code_set: Vec<i32>,
    /// Grows with each change of the subscription, ms.
    pub sub_version: i64,
    /// `TAG` or `SQL92`; C++ clients leave it out, which means `TAG`.
    pub expression_type: String,
}

impl SubscriptionData {
    pub(super) fn from_value(value: &Value) -> Result<Self, BodyError> {
        let fields = Fields::of(value, "subscriptionData")?;
        let expression_type = fields.optional_text("expressionType")?;
        Ok(SubscriptionData {
            class_filter_mode: fields.flag("classFilterMode", false)?,
            topic: fields.text("topic")?,
            sub_string: fields.text("subString")?,
            tags_set: fields.texts("tagsSet")?,
            code_set: fields.list("codeSet", |value| int(value, "codeSet"))?,
            sub_version: fields.int("subVersion", 0)?,
            expression_type: expression_type.unwrap_or_else(|| "TAG".to_owned()),
        })
    }

    pub(super) fn members(&self, members: &mut Members<'_>) {
        members.flag("classFilterMode", self.class_filter_mode);
        members.value("codeSet", |out| {
            writer::list(out, &self.code_set, |out, code| {
                writer::int(out, *code);
            })
        });
        members.text("expressionType", &self.expression_type);
        members.text("subString", &self.sub_string);
        members.int("subVersion", self.sub_version);
        members.texts("tagsSet", &self.tags_set);
        members.text("topic", &self.topic);
    }
}
