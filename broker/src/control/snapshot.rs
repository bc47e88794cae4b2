//! What `admit` needs on every shard: an immutable snapshot, numbered, published by `Control`.
//!
//! Building one costs a handful of reference counts, because the tables share what has not changed. A shard replaces
//! its `Arc<MetadataSnapshot>` by one with a larger version and never edits it; a message admitted under the older one
//! is still right, as if it had come a moment earlier.

use std::sync::Arc;

use proto::body::{SubscriptionGroupConfig, TopicConfig};

use super::metadata::{PERM_READ, PERM_WRITE};
use super::names::SystemTopics;
use super::shared_table::SharedTable;
use super::subscription::{GroupSubscriptions, Subscription};

/// One snapshot.
#[derive(Clone, Debug, Default)]
pub struct MetadataSnapshot {
    /// Grows by one with each snapshot. 0 is the empty snapshot before the first publication.
    pub version: u64,
    /// Grows with each snapshot whose topics differ from those before. What is remembered of topics holds as long.
    pub topics_version: u64,
    /// `brokerPermission`.
    pub broker_permission: i32,
    /// `autoCreateSubscriptionGroup`: a group that is not here may be asked for.
    pub auto_create_groups: bool,
    pub(super) topics: SharedTable<TopicConfig>,
    pub(super) groups: SharedTable<SubscriptionGroupConfig>,
    pub(super) subscriptions: SharedTable<GroupSubscriptions>,
    pub(super) system: SystemTopics,
}

impl MetadataSnapshot {
    /// The topic of this name.
    pub fn topic(&self, topic: &str) -> Option<&Arc<TopicConfig>> {
        self.topics.get(topic)
    }

    /// The group of this name.
    pub fn group(&self, group: &str) -> Option<&Arc<SubscriptionGroupConfig>> {
        self.groups.get(group)
    }

    /// What the members of a group want, or `None` when nobody is online.
    pub fn subscriptions(&self, group: &str) -> Option<&Arc<GroupSubscriptions>> {
        self.subscriptions.get(group)
    }

    /// What a group wants from a topic, by its last heartbeat.
    pub fn subscription(&self, group: &str, topic: &str) -> Option<&Arc<Subscription>> {
        self.subscriptions.get(group)?.topics.get(topic)
    }

    /// Whether the broker as a whole may be read.
    pub fn broker_readable(&self) -> bool {
        is_readable(self.broker_permission)
    }

    /// Whether the broker as a whole may be written. On send this matters for order topics only, as in Java.
    pub fn broker_writable(&self) -> bool {
        is_writable(self.broker_permission)
    }

    /// Whether the broker owns this topic.
    pub fn is_system_topic(&self, topic: &str) -> bool {
        self.system.contains(topic)
    }

    /// Names of all groups, in no particular order.
    pub fn all_groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|(group, _)| group)
    }

    /// All topics, in no particular order.
    pub fn all_topics(&self) -> impl Iterator<Item = (&str, &Arc<TopicConfig>)> {
        self.topics.iter()
    }
}

/// Whether permission bits allow pulling.
pub fn is_readable(perm: i32) -> bool {
    perm & PERM_READ != 0
}

/// Whether permission bits allow sending.
pub fn is_writable(perm: i32) -> bool {
    perm & PERM_WRITE != 0
}
