//! What a group wants from a topic: the filter that a pull applies to the tag hashes of the consume queue, or to the properties
//! of messages.
//!
//! Made from a heartbeat or from the text that a pull carries; immutable from then on and shared by all shards.
//! Hashes are computed here from the tags, never taken from the client. The client checks the tag text itself again,
//! so equal hashes of different tags do no harm. Source: Apache RocketMQ 4.9.8, `FilterAPI`, `ExpressionType`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use filter::Filter;
use proto::body::SubscriptionData;
use proto::properties::{self, RETRY_TOPIC, TAGS};
use proto::record::{RecordView, string_hash};

/// Tags of one subscription that are taken in; more make a pull fail and are cut from a heartbeat. Java has no limit.
pub const TAGS_MAX: usize = 1_024;
/// Of a subscription, its texts and tags aside. Measured, allocator included.
const SUBSCRIPTION_BYTES: usize = 400;
/// Of a tag, its text aside: its string, and its hash.
const TAG_BYTES: usize = 60;
/// The expression that matches everything.
pub(super) const ALL: &str = "*";
/// The expression type of tag filters.
pub(super) const TAG: &str = "TAG";
/// The expression type of filters over properties.
pub const SQL92: &str = "SQL92";

/// Why the subscription text of a pull cannot be used (code 23).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// Separators only.
    #[error("the subscription {text:?} of topic {topic} names no tag")]
    SeparatorsOnly {
        /// Topic of the pull.
        topic: String,
        /// The text.
        text: String,
    },
    /// More tags than we take.
    #[error("the subscription of topic {topic} has more tags than the limit of {TAGS_MAX}")]
    TooManyTags {
        /// Topic of the pull.
        topic: String,
    },
}

/// Which messages of a consume queue match.
#[derive(Clone, Debug)]
pub enum MessageFilter {
    /// All of them.
    All,
    /// Those whose tag has one of these hashes; ascending. Empty: none.
    Hashes(Arc<[i32]>),
    /// Those whose properties match.
    Sql(Arc<Filter>),
    /// In a group's retry topic: those that it still wants from the topic they came from (`filterSupportRetry`).
    Retried(Arc<GroupSubscriptions>),
}

/// Two filters over properties are the same when they are one: each expression is compiled once. So are two by what a group
/// wants: it is published once for each change.
impl PartialEq for MessageFilter {
    fn eq(&self, other: &MessageFilter) -> bool {
        match (self, other) {
            (MessageFilter::All, MessageFilter::All) => true,
            (MessageFilter::Hashes(one), MessageFilter::Hashes(other)) => {
                Arc::ptr_eq(one, other) || one == other
            }
            (MessageFilter::Sql(one), MessageFilter::Sql(other)) => Arc::ptr_eq(one, other),
            (MessageFilter::Retried(one), MessageFilter::Retried(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for MessageFilter {}

impl MessageFilter {
    /// The filter for these tags.
    pub fn of<'a>(tags: impl IntoIterator<Item = &'a str>) -> MessageFilter {
        let mut hashes: Vec<i32> = tags.into_iter().map(string_hash).collect();
        sort_and_dedup(&mut hashes);
        MessageFilter::Hashes(hashes.into())
    }

    /// The filter that a pull carries itself (sysFlag bit 4); `None` when it is not about tags. Nothing of its text is
    /// kept: a pull that waits holds four bytes for each tag.
    pub fn of_pull(
        topic: &str,
        text: Option<&str>,
        expression_type: Option<&str>,
    ) -> Result<Option<MessageFilter>, SubscriptionError> {
        if !expression_type.is_none_or(is_tag_type) {
            return Ok(None);
        }
        let text = text.filter(|text| !text.is_empty()).unwrap_or(ALL);
        if text == ALL {
            return Ok(Some(MessageFilter::All));
        }
        if text.split("||").all(str::is_empty) {
            let (topic, text) = (topic.to_owned(), text.to_owned());
            return Err(SubscriptionError::SeparatorsOnly { topic, text });
        }
        let mut hashes = Vec::new();
        for tag in pieces_of(text) {
            if hashes.len() >= 2 * TAGS_MAX {
                sort_and_dedup(&mut hashes);
                if hashes.len() > TAGS_MAX {
                    break;
                }
            }
            hashes.push(string_hash(tag));
        }
        sort_and_dedup(&mut hashes);
        if hashes.len() > TAGS_MAX {
            return Err(SubscriptionError::TooManyTags { topic: topic.to_owned() });
        }
        Ok(Some(MessageFilter::Hashes(hashes.into())))
    }

    /// Whether a consume-queue entry with this tags code can match. Only the low 32 bits count: they are the hash.
    pub fn matches(&self, tags_code: i64) -> bool {
        match self {
            MessageFilter::All | MessageFilter::Sql(_) | MessageFilter::Retried(_) => true,
            // Cutting off the high half is the meaning of a tags code.
            MessageFilter::Hashes(hashes) => hashes.binary_search(&(tags_code as i32)).is_ok(),
        }
    }

    /// How much work it is for a record that it has to be shown, in units of the smallest expression. `None`: it decides by tags
    /// codes and is shown none.
    pub fn record_weight(&self) -> Option<usize> {
        match self {
            MessageFilter::All | MessageFilter::Hashes(_) => None,
            MessageFilter::Sql(filter) => Some(filter.weight()),
            MessageFilter::Retried(wishes) => Some(wishes.record_weight()),
        }
    }

    /// Whether a record matches whose tags code can.
    pub fn matches_record(&self, record: &RecordView<'_>) -> bool {
        match self {
            MessageFilter::All | MessageFilter::Hashes(_) => true,
            MessageFilter::Sql(filter) => filter.matches(record.properties()),
            MessageFilter::Retried(wishes) => wishes.want_again(record),
        }
    }
}

/// One group's subscription of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The topic.
    pub topic: String,
    /// The expression as the client wrote it; `*` for everything.
    pub sub_string: String,
    /// `TAG`, or what the client said (`SQL92`).
    pub expression_type: String,
    /// Client's version of the subscription, ms of its clock; larger is newer, as far as clocks are right.
    pub sub_version: i64,
    /// The broker leaves filtering to a filter server.
    pub class_filter_mode: bool,
    /// The tags, in the client's order.
    pub tags: Vec<String>,
    /// What matches. An error: the expression is none, and why.
    pub filter: Compiled,
    /// Bytes that all this takes up, with its place among the topics of its group.
    pub bytes: usize,
}

impl Subscription {
    /// Whether the expression is about tags.
    pub fn is_tag(&self) -> bool {
        is_tag_type(&self.expression_type)
    }

    /// The subscription of a heartbeat. C++ clients leave the tags out and mean the text.
    pub fn from_heartbeat(data: &SubscriptionData) -> Subscription {
        let is_tag = is_tag_type(&data.expression_type);
        let everything = data.sub_string.is_empty() || data.sub_string == ALL;
        let mut tags = match (is_tag && !everything, data.tags_set.is_empty()) {
            (false, _) => Vec::new(),
            (true, false) => data.tags_set.clone(),
            (true, true) => tags_of(&data.sub_string),
        };
        tags.truncate(TAGS_MAX);
        let filter = if !is_tag {
            compile(&data.expression_type, &data.sub_string)
        } else if everything || data.class_filter_mode {
            Ok(MessageFilter::All)
        } else {
            Ok(MessageFilter::of(tags.iter().map(String::as_str)))
        };
        let sub_string = if everything { ALL.to_owned() } else { data.sub_string.clone() };
        let expression_type = if is_tag { TAG.to_owned() } else { data.expression_type.clone() };
        let compiled_bytes = compiled_bytes(&filter);
        let texts = 2 * data.topic.len() + sub_string.len() + expression_type.len();
        let of_tags = tags.iter().map(|tag| TAG_BYTES + tag.len()).sum::<usize>();
        Subscription {
            topic: data.topic.clone(),
            sub_string,
            expression_type,
            sub_version: data.sub_version,
            class_filter_mode: data.class_filter_mode,
            tags,
            filter,
            bytes: SUBSCRIPTION_BYTES + texts + of_tags + compiled_bytes,
        }
    }

    /// Whether it may leave a message out. What is no filter leaves out nothing.
    fn selects(&self) -> bool {
        !matches!(self.filter, Ok(MessageFilter::All) | Err(_))
    }

    /// Whether a message of the topic is wanted, whatever queue it lies in now. Tags are compared as text: clients do that with
    /// what they pull of the topic itself, but not with what comes from a retry topic.
    fn wants(&self, record: &RecordView<'_>) -> bool {
        match &self.filter {
            Ok(tags @ MessageFilter::Hashes(_)) => {
                let tag = properties::get(record.properties_text(), TAGS);
                tag.is_some_and(|tag| {
                    tags.matches(string_hash(tag).into()) && self.tags.iter().any(|one| one == tag)
                })
            }
            Ok(filter) => filter.matches_record(record),
            Err(_) => true,
        }
    }

    /// As tools are shown it.
    pub fn to_data(&self) -> SubscriptionData {
        SubscriptionData {
            topic: self.topic.clone(),
            sub_string: self.sub_string.clone(),
            expression_type: self.expression_type.clone(),
            sub_version: self.sub_version,
            class_filter_mode: self.class_filter_mode,
            code_set: self.tags.iter().map(|tag| string_hash(tag)).collect(),
            tags_set: self.tags.clone(),
        }
    }
}

/// What an expression means, or why it is none.
pub type Compiled = Result<MessageFilter, Arc<str>>;

/// What a compiled expression takes up; hashes of tags count with their tags.
pub fn compiled_bytes(compiled: &Compiled) -> usize {
    match compiled {
        Ok(MessageFilter::Sql(filter)) => filter.memory_bytes(),
        Ok(_) => 0,
        Err(reason) => reason.len(),
    }
}

/// The filter of an expression that is not about tags.
pub fn compile(expression_type: &str, text: &str) -> Compiled {
    if expression_type != SQL92 {
        return Err(format!("expressionType {expression_type:?} is neither TAG nor SQL92").into());
    }
    match Filter::compile(text) {
        Ok(filter) => Ok(MessageFilter::Sql(Arc::new(filter))),
        Err(error) => Err(error.to_string().into()),
    }
}

/// Whether that is the type of tag filters.
pub(super) fn is_tag_type(expression_type: &str) -> bool {
    expression_type.is_empty() || expression_type == TAG
}

fn sort_and_dedup(hashes: &mut Vec<i32>) {
    hashes.sort_unstable();
    hashes.dedup();
}

/// The pieces of `a || b`, without blanks and empty ones.
fn pieces_of(text: &str) -> impl Iterator<Item = &str> {
    text.split("||").map(str::trim).filter(|tag| !tag.is_empty())
}

/// The first [`TAGS_MAX`] tags of `a || b`, without repetitions, in their order.
fn tags_of(text: &str) -> Vec<String> {
    let mut known = BTreeSet::new();
    let new = pieces_of(text).filter(|tag| known.insert(*tag));
    new.take(TAGS_MAX).map(str::to_owned).collect()
}

/// What the members of one group agreed on last, for the shards to read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupSubscriptions {
    /// All members take all messages, and no offsets are kept here.
    pub broadcast: bool,
    /// By topic. Last heartbeat wins: topics that it does not name are gone.
    pub topics: BTreeMap<Arc<str>, Arc<Subscription>>,
}

impl GroupSubscriptions {
    /// Bytes that they take up.
    pub fn bytes(&self) -> usize {
        self.topics.values().map(|subscription| subscription.bytes).sum()
    }

    /// Whether one of them may leave a message out.
    pub fn select(&self) -> bool {
        self.topics.values().any(|subscription| subscription.selects())
    }

    /// Whether a message that the group failed is still wanted, by what the group wants from the topic that it came from. When
    /// that says nothing, as with an expression that is none, it is: what a retry topic passes over is lost to the group.
    fn want_again(&self, record: &RecordView<'_>) -> bool {
        let topic = properties::get(record.properties_text(), RETRY_TOPIC);
        let subscription = topic.and_then(|topic| self.topics.get(topic));
        subscription.is_none_or(|subscription| subscription.wants(record))
    }

    /// That of the largest expression: which one a record meets is known when it is read.
    fn record_weight(&self) -> usize {
        let filters = self.topics.values().filter_map(|wish| wish.filter.as_ref().ok());
        filters.filter_map(MessageFilter::record_weight).max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(text: &str) -> Result<MessageFilter, SubscriptionError> {
        MessageFilter::of_pull("orders", Some(text), None).map(|filter| filter.expect("tags"))
    }

    fn hash(tag: &str) -> i64 {
        i64::from(string_hash(tag))
    }

    #[test]
    fn everything_has_three_spellings() {
        for text in [None, Some(""), Some("*")] {
            let all = MessageFilter::of_pull("orders", text, Some("")).unwrap();
            assert_eq!(all, Some(MessageFilter::All));
        }
    }

    #[test]
    fn tags_are_split_trimmed_and_hashed() {
        let tags = pull(" a ||b||  || a").unwrap();
        assert_eq!(tags, MessageFilter::of(["b", "a"]));
        assert_eq!(tags_of(" a ||b||  || a"), ["a", "b"]);
        assert!(tags.matches(hash("a")) && tags.matches(hash("b")));
        assert!(!tags.matches(hash("c")) && !tags.matches(0));
        assert!(tags.matches(hash("a") | 1 << 40), "only the low half counts");
        assert_eq!(pull("a|b").unwrap(), MessageFilter::of(["a|b"]), "one bar is part of a tag");
    }

    #[test]
    fn separators_alone_are_an_error_and_blanks_match_nothing() {
        assert!(matches!(pull("||"), Err(SubscriptionError::SeparatorsOnly { .. })));
        assert!(matches!(pull("||||"), Err(SubscriptionError::SeparatorsOnly { .. })));
        assert_eq!(pull(" ").unwrap(), MessageFilter::of([]));
        assert!(!pull("|| ").unwrap().matches(hash("a")));
    }

    #[test]
    fn repetitions_do_not_count_and_what_is_too_much_is_refused() {
        let tags = |count| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>().join("||");
        let most = tags(TAGS_MAX);
        let repeated = [most.as_str(); 5].join("||");
        assert_eq!(pull(&repeated), pull(&most));
        assert!(pull(&most).unwrap().matches(hash("t1023")));
        for count in [TAGS_MAX + 1, 100_000] {
            let refused = pull(&tags(count));
            assert!(matches!(refused, Err(SubscriptionError::TooManyTags { .. })), "{count}");
        }
    }

    #[test]
    fn sql_is_compiled_once_and_its_mistakes_are_kept() {
        assert_eq!(MessageFilter::of_pull("orders", Some("a > 1"), Some("SQL92")), Ok(None));
        let sql = SubscriptionData {
            expression_type: "SQL92".to_owned(),
            sub_string: "a > 1".to_owned(),
            ..SubscriptionData::default()
        };
        let subscription = Subscription::from_heartbeat(&sql);
        assert!(!subscription.is_tag());
        let Ok(MessageFilter::Sql(filter)) = &subscription.filter else {
            panic!("{subscription:?}")
        };
        assert!(filter.matches(b"a\x012") && !filter.matches(b"a\x011"));
        assert_eq!(subscription.clone().filter, subscription.filter);
        assert_ne!(Subscription::from_heartbeat(&sql).filter, subscription.filter, "another one");
        assert!(subscription.bytes > SUBSCRIPTION_BYTES + filter.memory_bytes());
        assert_eq!(subscription.sub_string, "a > 1");
        for (expression_type, text, reason) in
            [("SQL92", "a >", "the end at byte 3"), ("sql92", "a > 1", "neither TAG nor SQL92")]
        {
            let (expression_type, sub_string) = (expression_type.to_owned(), text.to_owned());
            let wrong = SubscriptionData { expression_type, sub_string, ..sql.clone() };
            let found = Subscription::from_heartbeat(&wrong).filter.expect_err(text);
            assert!(found.contains(reason), "{found}");
        }
    }

    /// Whether a group that wants this, as expression type and text by topic, still wants a message with these properties that
    /// it failed.
    fn wanted_again(wishes: &[(&str, &str, &str)], properties: &[(&str, &str)]) -> bool {
        let subscribed = |(topic, expression_type, text): &(&str, &str, &str)| {
            let subscription = Subscription::from_heartbeat(&SubscriptionData {
                topic: (*topic).to_owned(),
                expression_type: (*expression_type).to_owned(),
                sub_string: (*text).to_owned(),
                ..SubscriptionData::default()
            });
            (Arc::from(*topic), Arc::new(subscription))
        };
        let topics = wishes.iter().map(subscribed).collect();
        let wishes = GroupSubscriptions { broadcast: false, topics };
        let mut text = String::new();
        properties.iter().for_each(|(name, value)| properties::append(&mut text, name, value));
        let bytes = proto::record::RecordFields {
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: ([10, 0, 0, 1], 99).into(),
            store_host: ([10, 0, 0, 2], 98).into(),
            reconsume_times: 1,
            prepared_transaction_offset: 0,
            body: b"body",
            topic: "%RETRY%g",
            properties: [text.as_bytes(), b"", b""],
        }
        .encode();
        let record = RecordView::parse(&bytes).expect("our own");
        MessageFilter::Retried(Arc::new(wishes)).matches_record(&record)
    }

    #[test]
    fn what_was_failed_is_selected_by_the_topic_that_it_came_from() {
        let of_t = |entry| [("RETRY_TOPIC", "t"), entry];
        let sql = [("t", "SQL92", "a > 1"), ("u", "", "x")];
        assert!(wanted_again(&sql, &of_t(("a", "2"))));
        assert!(!wanted_again(&sql, &of_t(("a", "1"))));
        assert!(!wanted_again(&sql, &of_t(("b", "2"))), "as in its own topic");
        let tags = [("t", "TAG", "x || y"), ("u", "SQL92", "a > 1")];
        assert!(wanted_again(&tags, &of_t(("TAGS", "y"))));
        assert!(!wanted_again(&tags, &of_t(("TAGS", "z"))));
        assert!(!wanted_again(&tags, &of_t(("a", "2"))), "without a tag");
        // Equal hashes are not equal tags, and no client looks again.
        assert_eq!(string_hash("Aa"), string_hash("BB"));
        assert!(!wanted_again(&[("t", "TAG", "Aa")], &of_t(("TAGS", "BB"))));
    }

    #[test]
    fn what_no_subscription_decides_is_not_lost() {
        let failed = [("RETRY_TOPIC", "t"), ("a", "1"), ("TAGS", "z")];
        assert!(wanted_again(&[("t", "SQL92", "a >")], &failed), "no filter");
        assert!(wanted_again(&[("t", "TAG", "*")], &failed));
        assert!(wanted_again(&[("u", "TAG", "x")], &failed), "not subscribed any more");
        assert!(wanted_again(&[("t", "TAG", "x")], &failed[1..]), "from nowhere");
    }

    #[test]
    fn only_filters_that_look_at_records_have_a_weight() {
        assert_eq!(MessageFilter::All.record_weight(), None);
        assert_eq!(MessageFilter::of(["a"]).record_weight(), None);
        let none = MessageFilter::Retried(Arc::default());
        assert_eq!(none.record_weight(), Some(1));
        assert!(none.matches(hash("a")) && none == none.clone());
        assert_ne!(none, MessageFilter::Retried(Arc::default()), "another one");
    }

    /// A C++ client sends the text only; a Java client may send any hashes: ours count.
    #[test]
    fn heartbeats_are_not_trusted_with_hashes() {
        let cpp = SubscriptionData {
            topic: "orders".to_owned(),
            sub_string: "a || b".to_owned(),
            sub_version: 7,
            ..SubscriptionData::default()
        };
        let subscription = Subscription::from_heartbeat(&cpp);
        assert_eq!(subscription.expression_type, "TAG");
        assert!(subscription.filter.unwrap().matches(hash("b")));
        let lying =
            SubscriptionData { tags_set: vec!["c".to_owned()], code_set: vec![1], ..cpp.clone() };
        let subscription = Subscription::from_heartbeat(&lying);
        assert_eq!(subscription.to_data().code_set, vec![string_hash("c")]);
        let filter = subscription.filter.unwrap();
        assert!(filter.matches(hash("c")) && !filter.matches(1));
        let class = SubscriptionData { class_filter_mode: true, ..cpp };
        assert_eq!(Subscription::from_heartbeat(&class).filter, Ok(MessageFilter::All));
    }
}
