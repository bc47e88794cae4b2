//! The checks of a send, where its socket is: plain functions on the metadata snapshot. Order and codes are those of
//! the Java broker (`AbstractSendMessageProcessor`, 4.9.8).

use crate::{
    config::BrokerConfig,
    control::{MetadataSnapshot, names},
    error::Refusal,
    not_yet,
};
use proto::{
    body::{TopicConfig, TopicFilterType},
    code::response,
    record::SYS_FLAG_MULTI_TAGS,
    request::SendHeader,
};

/// What becomes of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handlers) enum Verdict {
    /// It goes to this queue of its topic.
    Append {
        /// The queue.
        queue_id: u32,
        /// Nothing else has to be looked at for sends to this topic than that their queue id is below this.
        cacheable: Option<u32>,
        /// Bits that its topic adds to its flags.
        flags: i32,
    },
    /// The topic may come into being, which is the control owner's decision.
    UnknownTopic,
    /// It goes to the retry topic of a group that may come into being, which is the control owner's decision.
    UnknownGroup,
    /// A consumer sends again what it has failed too often: it goes to the dead letters of the group.
    DeadLetter,
}

/// Whether the broker takes messages yet.
pub(in crate::handlers) fn check_time(config: &BrokerConfig, now: i64) -> Result<(), Refusal> {
    let from = config.start_accept_send_request_time_stamp;
    if now < from {
        return Err(Refusal::system_error(format!("broker unable to service, until {from}")));
    }
    Ok(())
}

/// Checks topic, permission and queue of a send.
pub(in crate::handlers) fn check(
    config: &BrokerConfig,
    metadata: &MetadataSnapshot,
    header: &SendHeader<'_>,
) -> Result<Verdict, Refusal> {
    let Some(topic) = metadata.topic(header.topic) else {
        names::check_topic(header.topic)
            .map_err(|error| Refusal::system_error(error.to_string()))?;
        forbid_system_topic(header.topic)?;
        return Ok(Verdict::UnknownTopic);
    };
    if topic.order && !metadata.broker_writable() {
        return Err(broker_forbidden(config));
    }
    forbid_system_topic(header.topic)?;
    let queue_id = choose_queue(topic, header.queue_id)?;
    let is_retry = names::is_retry_topic(header.topic);
    if is_retry {
        match is_used_up(metadata, header) {
            None => return Ok(Verdict::UnknownGroup),
            Some(true) => return Ok(Verdict::DeadLetter),
            Some(false) => {}
        }
    }
    let flags = flags_of(topic);
    let cacheable = (!topic.order && !is_retry && flags == 0).then(|| topic.queues());
    Ok(Verdict::Append { queue_id, cacheable, flags })
}

/// Bits that a topic adds to the flags of its messages.
pub(super) fn flags_of(topic: &TopicConfig) -> i32 {
    match topic.topic_filter_type {
        TopicFilterType::SingleTag => 0,
        TopicFilterType::MultiTag => SYS_FLAG_MULTI_TAGS,
    }
}

/// The group whose retry topic this is.
pub(super) fn group_of_retry(topic: &str) -> &str {
    topic.strip_prefix(names::RETRY_PREFIX).unwrap_or_default()
}

/// The broker takes no messages.
pub(in crate::handlers) fn broker_forbidden(config: &BrokerConfig) -> Refusal {
    let remark = format!("the broker[{}] sending message is forbidden", config.broker_name);
    Refusal::new(response::NO_PERMISSION, remark)
}

/// A message comes back from a group that does not exist.
pub(in crate::handlers) fn no_group(group: &str) -> Refusal {
    let remark = format!("subscription group not exist, {group}");
    Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark)
}

fn forbid_system_topic(topic: &str) -> Result<(), Refusal> {
    if names::SystemTopics::is_send_forbidden(topic) || not_yet::is_internal_topic(topic) {
        return Err(Refusal::new(
            response::NO_PERMISSION,
            format!("sending message to topic[{topic}] is forbidden"),
        ));
    }
    Ok(())
}

/// A negative queue id leaves the choice to the broker.
fn choose_queue(topic: &TopicConfig, wanted: i32) -> Result<u32, Refusal> {
    let write = u32::try_from(topic.write_queue_nums).unwrap_or(0);
    let read = u32::try_from(topic.read_queue_nums).unwrap_or(0);
    let Ok(queue_id) = u32::try_from(wanted) else {
        return match write {
            0 => Err(Refusal::system_error(format!(
                "topic[{}] has no write queue",
                topic.topic_name
            ))),
            _ => Ok(fastrand::u32(..write)),
        };
    };
    if queue_id >= write.max(read) {
        return Err(Refusal::system_error(format!(
            "request queueId[{queue_id}] is illegal, topic[{}] has {read} read and {write} write \
             queues",
            topic.topic_name
        )));
    }
    Ok(queue_id)
}

/// Whether a message that its consumer sends again by itself has used up its tries. `None`: there is no such group.
fn is_used_up(metadata: &MetadataSnapshot, header: &SendHeader<'_>) -> Option<bool> {
    let config = metadata.group(group_of_retry(header.topic))?;
    let tries_max = header.max_reconsume_times.unwrap_or(config.retry_max_times);
    Some(header.reconsume_times >= tries_max)
}
