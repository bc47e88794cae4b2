//! The checks of a pull, where its socket is: plain functions on the metadata snapshot. Order and codes are those of
//! the Java broker (`PullMessageProcessor`, 4.9.8).

use crate::{
    config::BrokerConfig,
    control::{MessageFilter, MetadataSnapshot, is_readable, names},
    error::Refusal,
    expressions::Expressions,
    not_yet,
    ops::Pull,
    request::owner_of,
};
use proto::{
    body::{SubscriptionGroupConfig, TopicConfig},
    code::response,
    request::{PULL_COMMIT_OFFSET, PULL_SUBSCRIPTION, PULL_SUSPEND, PullHeader},
};
use std::sync::Arc;

/// Longest time that a pull is parked, ms; clients wait 30 s for an answer and ask for 15 or 20.
const PARK_MS_MAX: i64 = 60_000;
/// Characters of an expression that a refusal repeats.
const EXPRESSION_SHOWN: usize = 200;

/// Whether the group of a pull may come into being, which is the control owner's decision.
pub(in crate::handlers) fn may_create_group(metadata: &MetadataSnapshot, group: &str) -> bool {
    metadata.auto_create_groups && metadata.group(group).is_none()
}

/// Checks group, topic, permissions and queue of a pull to a store of `shards`, and attaches its filter.
pub(super) fn check(
    config: &BrokerConfig,
    shards: u16,
    metadata: &MetadataSnapshot,
    expressions: &Expressions,
    header: &PullHeader<'_>,
) -> Result<Pull, Refusal> {
    check_broker(config, metadata)?;
    let group_name = header.consumer_group;
    let group = metadata.group(group_name).ok_or_else(|| Refusal::group_not_exist(group_name))?;
    check_group(group)?;
    let topic =
        metadata.topic(header.topic).ok_or_else(|| Refusal::topic_not_exist(header.topic))?;
    check_topic(topic)?;
    let queue_id = u32::try_from(header.queue_id)
        .ok()
        .filter(|_| header.queue_id < topic.read_queue_nums)
        .ok_or_else(|| {
            Refusal::system_error(format!(
                "queueId[{}] is illegal, topic:[{}] topicConfig.readQueueNums:[{}]",
                header.queue_id, header.topic, topic.read_queue_nums
            ))
        })?;
    check_reading(group, header.topic)?;
    let filter = filter_of(metadata, group, expressions, header)?;
    if matches!(filter, MessageFilter::Sql(_)) && !config.enable_property_filter {
        return Err(Refusal::filter_unsupported("SQL92"));
    }
    let filter = match filter {
        MessageFilter::All if config.filter_support_retry => of_retried(metadata, header.topic),
        filter => filter,
    };
    let wants_suspend = header.sys_flag & PULL_SUSPEND != 0;
    let suspend_ms = match (wants_suspend, config.long_polling_enable) {
        (false, _) => 0,
        (true, true) => header.suspend_timeout_millis.clamp(0, PARK_MS_MAX),
        (true, false) => config.short_polling_time_ms as i64,
    };
    let commits = header.sys_flag & PULL_COMMIT_OFFSET != 0 && header.commit_offset >= 0;
    let bytes_max = config.max_transfer_bytes_on_message_in_memory;
    Ok(Pull {
        shard: owner_of(&topic.topic_name, queue_id, shards),
        topic: Arc::clone(topic),
        queue_id,
        offset: header.queue_offset,
        count_max: u32::try_from(header.max_msg_nums)
            .unwrap_or(0)
            .clamp(1, config.max_transfer_count_on_message_in_memory),
        bytes_max: match u32::try_from(header.max_msg_bytes) {
            Ok(wanted) if wanted > 0 => wanted.min(bytes_max),
            _ => bytes_max,
        },
        filter,
        suspend_ms,
        group: Arc::clone(group),
        commit: commits.then_some(header.commit_offset),
        metadata_version: metadata.version,
    })
}

fn forbidden(remark: String) -> Result<(), Refusal> {
    Err(Refusal::new(response::NO_PERMISSION, remark))
}

fn check_broker(config: &BrokerConfig, metadata: &MetadataSnapshot) -> Result<(), Refusal> {
    if metadata.broker_readable() {
        return Ok(());
    }
    forbidden(format!("the broker[{}] pulling message is forbidden", config.broker_name))
}

fn check_group(group: &SubscriptionGroupConfig) -> Result<(), Refusal> {
    if group.consume_enable {
        return Ok(());
    }
    forbidden(format!("subscription group no permission, {}", group.group_name))
}

/// Java looks at this only for pulls without a filter of their own: a consumer of the other kind reads what it must not.
pub(in crate::handlers) fn check_reading(
    group: &SubscriptionGroupConfig,
    topic: &str,
) -> Result<(), Refusal> {
    if group.may_read(topic) {
        return Ok(());
    }
    forbidden(format!("the consumer group[{}] is forbidden for topic[{topic}]", group.group_name))
}

fn check_topic(topic: &TopicConfig) -> Result<(), Refusal> {
    if is_readable(topic.perm) {
        return Ok(());
    }
    forbidden(format!("the topic[{}] pulling message is forbidden", topic.topic_name))
}

/// Whether a pull that has waited may still read. What is deleted meanwhile is seen where its queue is.
pub(super) fn check_again(
    config: &BrokerConfig,
    metadata: &MetadataSnapshot,
    pull: &mut Pull,
) -> Result<(), Refusal> {
    if pull.metadata_version == metadata.version {
        return Ok(());
    }
    pull.metadata_version = metadata.version;
    check_broker(config, metadata)?;
    if let Some(group) = metadata.group(&pull.group.group_name) {
        check_group(group)?;
        check_reading(group, &pull.topic.topic_name)?;
    }
    metadata.topic(&pull.topic.topic_name).map_or(Ok(()), |topic| check_topic(topic))
}

fn filter_of(
    metadata: &MetadataSnapshot,
    group: &SubscriptionGroupConfig,
    expressions: &Expressions,
    header: &PullHeader<'_>,
) -> Result<MessageFilter, Refusal> {
    if header.sys_flag & PULL_SUBSCRIPTION != 0 {
        let (text, language) = (header.subscription, header.expression_type);
        return filter_of_request(expressions, header.topic, text, language);
    }
    let not_exist = |what: &str| {
        Refusal::new(
            response::SUBSCRIPTION_NOT_EXIST,
            format!("the consumer's {what} not exist, group={}", header.consumer_group),
        )
    };
    let online =
        metadata.subscriptions(header.consumer_group).ok_or_else(|| not_exist("group info"))?;
    if online.broadcast && !group.consume_broadcast_enable {
        return Err(Refusal::new(
            response::NO_PERMISSION,
            format!("the consumer group[{}] can not consume by broadcast way", group.group_name),
        ));
    }
    let subscription = online.topics.get(header.topic).ok_or_else(|| not_exist("subscription"))?;
    if subscription.sub_version < header.sub_version {
        return Err(Refusal::new(
            response::SUBSCRIPTION_NOT_LATEST,
            "the consumer's subscription not latest",
        ));
    }
    if subscription.class_filter_mode {
        return Err(not_yet::class_filter());
    }
    subscription.filter.clone().map_err(|why| {
        let why = no_filter(header.topic, &subscription.sub_string, &why);
        Refusal::new(response::FILTER_DATA_NOT_EXIST, why)
    })
}

/// The filter of a pull that names none, with `filterSupportRetry`: what a group failed it gets again only if it still wants that
/// from the topic it came from. A filter that somebody has named for the retry topic itself goes before.
fn of_retried(metadata: &MetadataSnapshot, topic: &str) -> MessageFilter {
    let group = topic.strip_prefix(names::RETRY_PREFIX);
    let wishes = group.and_then(|group| metadata.subscriptions(group));
    match wishes.filter(|wishes| wishes.select()) {
        Some(wishes) => MessageFilter::Retried(Arc::clone(wishes)),
        None => MessageFilter::All,
    }
}

/// The filter that a request brings along. Without one everything passes.
pub fn filter_of_request(
    expressions: &Expressions,
    topic: &str,
    text: Option<&str>,
    language: Option<&str>,
) -> Result<MessageFilter, Refusal> {
    let refused = |why: String| Refusal::new(response::SUBSCRIPTION_PARSE_FAILED, why);
    let tags = MessageFilter::of_pull(topic, text, language);
    if let Some(tags) = tags.map_err(|error| refused(error.to_string()))? {
        return Ok(tags);
    }
    let (text, language) = (text.unwrap_or(""), language.unwrap_or(""));
    let filter = expressions.filter(language, text);
    filter.map_err(|why| refused(no_filter(topic, text, &why)))
}

fn no_filter(topic: &str, text: &str, why: &str) -> String {
    let start: String = text.chars().take(EXPRESSION_SHOWN).collect();
    format!("the subscription {start:?} of topic {topic} is no filter: {why}")
}
