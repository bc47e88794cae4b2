//! The checks of a pop, where its socket is. Order and codes are those of the Java broker (`PopMessageProcessor`, 5.3.3).

use crate::{
    config::BrokerConfig,
    control::{MessageFilter, MetadataSnapshot, is_readable},
    error::Refusal,
    expressions::Expressions,
    handlers::pull::{admit::check_reading, filter_of_request},
};
use proto::{
    body::{SubscriptionGroupConfig, TopicConfig},
    code::response,
    request::{POP_FROM_MAX, PopHeader},
};
use std::sync::Arc;

/// Most messages of a pop. Source: Apache RocketMQ 5.3.3, `PopMessageProcessor`.
const MESSAGES_MAX: i32 = 32;
/// A request that arrives so much later than its client would wait is not served, ms. Source: `PopMessageRequestHeader`.
const LATE_MS: i64 = 500;
/// Longest time that a pop waits, ms; clients ask for 15,000.
const WAIT_MS_MAX: i64 = 60_000;
/// Longest time for which messages are invisible, ms: a day. Clients allow themselves 5 minutes, proxies 12 hours.
pub(super) const INVISIBLE_MS_MAX: i64 = 24 * 3_600_000;

/// Longest name of an attempt: clients send 36 characters.
const ATTEMPT_BYTES_MAX: usize = 128;

/// A pop that passed the checks.
#[derive(Clone, Debug)]
pub(super) struct Pop {
    pub(super) topic: Arc<TopicConfig>,
    pub(super) group: Arc<SubscriptionGroupConfig>,
    /// `None`: any queue.
    pub(super) queue_id: Option<u32>,
    pub(super) count_max: usize,
    pub(super) bytes_max: usize,
    pub(super) filter: MessageFilter,
    pub(super) invisible_ms: i64,
    /// How long it may wait from now on, ms; 0: not at all.
    pub(super) wait_ms: i64,
    /// A new group begins at the end of a queue.
    pub(super) from_max: bool,
    pub(super) in_order: bool,
    pub(super) attempt: Option<String>,
}

fn forbidden(remark: String) -> Refusal {
    Refusal::new(response::NO_PERMISSION, remark)
}

fn check_broker(config: &BrokerConfig, metadata: &MetadataSnapshot) -> Result<(), Refusal> {
    if metadata.broker_readable() {
        return Ok(());
    }
    Err(forbidden(format!("the broker[{}] pop message is forbidden", config.broker_name)))
}

fn readable_topic<'a>(
    metadata: &'a MetadataSnapshot,
    name: &str,
) -> Result<&'a Arc<TopicConfig>, Refusal> {
    let topic = metadata.topic(name).ok_or_else(|| Refusal::topic_not_exist(name))?;
    if !is_readable(topic.perm) {
        return Err(forbidden(format!("the topic[{name}] peeking message is forbidden")));
    }
    Ok(topic)
}

fn consuming_group<'a>(
    metadata: &'a MetadataSnapshot,
    name: &str,
    topic: &str,
) -> Result<&'a Arc<SubscriptionGroupConfig>, Refusal> {
    let group = metadata.group(name).ok_or_else(|| Refusal::group_not_exist(name))?;
    if !group.consume_enable {
        return Err(forbidden(format!("subscription group no permission, {name}")));
    }
    check_reading(group, topic)?;
    Ok(group)
}

/// Whether a pop that was checked before may still take messages: topic and group may have been deleted, and rights taken
/// away.
pub(super) fn check_again(
    config: &BrokerConfig,
    metadata: &MetadataSnapshot,
    topic: &str,
    group: &str,
) -> Result<(), Refusal> {
    check_broker(config, metadata)?;
    readable_topic(metadata, topic)?;
    consuming_group(metadata, group, topic).map(drop)
}

/// Checks group, topic, permissions, queue and filter. `now` is the wall clock's.
pub(super) fn check(
    config: &BrokerConfig,
    metadata: &MetadataSnapshot,
    expressions: &Expressions,
    header: &PopHeader<'_>,
    now: i64,
) -> Result<Pop, Refusal> {
    let born = if header.born_time == 0 { now } else { header.born_time };
    let left = born.saturating_add(header.poll_time).saturating_sub(now);
    if left < -LATE_MS {
        let remark = format!("the broker[{}] pop message is timeout too much", config.broker_name);
        return Err(Refusal::new(response::POLLING_TIMEOUT, remark));
    }
    check_broker(config, metadata)?;
    let invalid = |remark: String| Refusal::new(response::INVALID_PARAMETER, remark);
    let wanted = header.max_msg_nums;
    let Some(count_max) = usize::try_from(wanted).ok().filter(|_| wanted <= MESSAGES_MAX) else {
        let broker = &config.broker_name;
        return Err(invalid(format!(
            "the broker[{broker}] pop message's num is greater than {MESSAGES_MAX} or negative: {wanted}"
        )));
    };
    let topic = readable_topic(metadata, header.topic)?;
    if header.queue_id >= topic.read_queue_nums {
        let (wanted, topic, queues) = (header.queue_id, header.topic, topic.read_queue_nums);
        return Err(invalid(format!(
            "queueId[{wanted}] is illegal, topic:[{topic}] topicConfig.readQueueNums:[{queues}]"
        )));
    }
    let group = consuming_group(metadata, header.consumer_group, header.topic)?;
    if !(1..=INVISIBLE_MS_MAX).contains(&header.invisible_time) {
        let wanted = header.invisible_time;
        return Err(invalid(format!(
            "invisibleTime[{wanted}] is illegal, 1 to {INVISIBLE_MS_MAX} ms are"
        )));
    }
    let attempt = header.attempt_id.filter(|attempt| !attempt.is_empty());
    if let Some(attempt) = attempt.filter(|attempt| attempt.len() > ATTEMPT_BYTES_MAX) {
        let bytes = attempt.len();
        return Err(invalid(format!(
            "attemptId of {bytes} bytes, the limit is {ATTEMPT_BYTES_MAX}"
        )));
    }
    let text = header.expression.filter(|text| !text.is_empty());
    let language = text.and(header.expression_type);
    let filter = filter_of_request(expressions, header.topic, text, language)?;
    if matches!(filter, MessageFilter::Sql(_)) && !config.enable_property_filter {
        return Err(Refusal::filter_unsupported("SQL92"));
    }
    Ok(Pop {
        topic: Arc::clone(topic),
        group: Arc::clone(group),
        queue_id: u32::try_from(header.queue_id).ok(),
        count_max,
        bytes_max: config.max_transfer_bytes_on_message_in_memory as usize,
        filter,
        invisible_ms: header.invisible_time,
        wait_ms: if header.poll_time > 0 { left.clamp(0, WAIT_MS_MAX) } else { 0 },
        from_max: header.init_mode == POP_FROM_MAX,
        in_order: header.order,
        attempt: attempt.map(str::to_owned),
    })
}
