//! What became of a message in each group that consumes its topic.

use proto::body::{ConsumeType, ConsumerConnection};
use proto::code::response;

use super::{AdminError, DefaultMqAdminExt, MASTER_ID};
use crate::Received;

/// What became of a message in a group. Source: Apache RocketMQ 4.9.8 and 5.3.3, `TrackType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackType {
    /// The group is behind it.
    Consumed,
    /// The group is behind it, and its subscription leaves it out.
    ConsumedButFiltered,
    /// The group pulls by itself and tells nobody.
    Pull,
    /// The group is not there yet.
    NotConsumeYet,
    /// No member is connected.
    NotOnline,
    /// It could not be found out.
    Unknown,
}

impl TrackType {
    /// Java's name of it.
    pub fn name(self) -> &'static str {
        match self {
            TrackType::Consumed => "CONSUMED",
            TrackType::ConsumedButFiltered => "CONSUMED_BUT_FILTERED",
            TrackType::Pull => "PULL",
            TrackType::NotConsumeYet => "NOT_CONSUME_YET",
            TrackType::NotOnline => "NOT_ONLINE",
            TrackType::Unknown => "UNKNOWN",
        }
    }
}

/// What became of a message in one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageTrack {
    /// The group.
    pub consumer_group: String,
    /// What became of it.
    pub track_type: TrackType,
    /// Why it could not be found out.
    pub exception_desc: Option<String>,
}

impl DefaultMqAdminExt {
    /// What became of a message in each group that consumes its topic.
    pub async fn message_track_detail(
        &self,
        message: &Received,
    ) -> Result<Vec<MessageTrack>, AdminError> {
        let mut tracks = Vec::new();
        for group in self.query_topic_consume_by_who(&message.topic).await?.group_list {
            let (track_type, exception_desc) = match self.track(message, &group).await {
                Ok(track_type) => (track_type, None),
                Err(error) => {
                    let offline = error.code() == Some(response::CONSUMER_NOT_ONLINE);
                    let track_type =
                        if offline { TrackType::NotOnline } else { TrackType::Unknown };
                    (track_type, Some(described(&error)))
                }
            };
            tracks.push(MessageTrack { consumer_group: group, track_type, exception_desc });
        }
        Ok(tracks)
    }

    async fn track(&self, message: &Received, group: &str) -> Result<TrackType, AdminError> {
        let members = self.examine_consumer_connection_info(group).await?;
        match members.consume_type {
            ConsumeType::ConsumeActively => Ok(TrackType::Pull),
            ConsumeType::ConsumePop => Ok(TrackType::Unknown),
            ConsumeType::ConsumePassively if !self.consumed(message, group).await? => {
                Ok(TrackType::NotConsumeYet)
            }
            ConsumeType::ConsumePassively if leaves_out(&members, message) => {
                Ok(TrackType::ConsumedButFiltered)
            }
            ConsumeType::ConsumePassively => Ok(TrackType::Consumed),
        }
    }

    /// Whether a group's offset is behind a message, in the queue of the broker that stores it.
    pub async fn consumed(&self, message: &Received, group: &str) -> Result<bool, AdminError> {
        let stats = self.examine_consume_stats(group, None).await?;
        let cluster = self.examine_broker_cluster_info().await?;
        let stores = |name: &str| {
            let master = cluster.broker_addr_table.get(name);
            let master = master.and_then(|broker| broker.broker_addrs.get(&MASTER_ID));
            master.is_some_and(|addr| *addr == message.store_host.to_string())
        };
        Ok(stats.offset_table.iter().any(|(queue, progress)| {
            queue.topic == message.topic
                && queue.queue_id == message.queue_id
                && progress.consumer_offset > message.queue_offset
                && stores(&queue.broker_name)
        }))
    }
}

/// Whether the group's tags leave the message out.
fn leaves_out(members: &ConsumerConnection, message: &Received) -> bool {
    let Some(subscription) = members.subscription_table.get(&message.topic) else { return false };
    let tags = &subscription.tags_set;
    let tag = message.property("TAGS").unwrap_or_default();
    !tags.is_empty() && !tags.iter().any(|wanted| wanted == tag || wanted == "*")
}

/// As Java describes it.
fn described(error: &AdminError) -> String {
    match error {
        AdminError::Refused { code, remark, .. } => format!("CODE:{code} DESC:{remark}"),
        AdminError::NotFound { code, what } => format!("CODE:{code} DESC:{what}"),
        other => other.to_string(),
    }
}
