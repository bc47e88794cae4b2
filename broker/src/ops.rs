//! Sends and pulls that passed the checks where their socket is, as they travel to the shard that owns their queue.
//! Made and run by [`crate::handlers`], carried by [`crate::mailbox`], kept by parked pulls.

use crate::{
    control::{Subscription, TagFilter},
    response::Responder,
};
use compact_str::CompactString;
use proto::body::{SubscriptionGroupConfig, TopicConfig};
use remoting::TransferBudget;
use std::sync::Arc;

/// Encoded records on their way to the shard that owns their queue.
pub struct AppendOp {
    /// Whom to answer.
    pub responder: Responder,
    /// Shard that owns the queue.
    pub shard: u16,
    /// Topic.
    pub topic: CompactString,
    /// Queue.
    pub queue_id: u32,
    /// Version of the topics that it was admitted by.
    pub admitted_at: u64,
    /// Records without their offsets, one behind the other.
    pub records: Vec<u8>,
    /// Bytes and tags code of each record.
    pub parts: RecordParts,
}

/// How the bytes of an [`AppendOp`] divide into records.
pub enum RecordParts {
    /// One record with this tags code.
    One(i64),
    /// Bytes and tags code of each record.
    Many(Vec<(u32, i64)>),
}

/// A pull that passed the checks, and whom to answer.
pub struct PullOp {
    /// Whom to answer.
    pub responder: Responder,
    /// What it asks for.
    pub pull: Pull,
    /// Set when the connection belongs to another worker.
    pub transfer_budget: Option<TransferBudget>,
}

/// What a pull asks for.
pub struct Pull {
    /// Shard that owns the queue.
    pub shard: u16,
    /// Topic.
    pub topic: Arc<TopicConfig>,
    /// Queue.
    pub queue_id: u32,
    /// Next queue offset wanted.
    pub offset: i64,
    /// Messages wanted, at most.
    pub count_max: u32,
    /// Bytes of their records, at most; one message always fits.
    pub bytes_max: u32,
    /// Which messages.
    pub filter: Filter,
    /// How long to wait for messages, ms; 0: not at all.
    pub suspend_ms: i64,
    /// Whose it is.
    pub group: Arc<SubscriptionGroupConfig>,
    /// The offset that the group has consumed up to, which travels along.
    pub commit: Option<i64>,
}

/// Which messages a pull wants.
#[derive(Clone)]
pub enum Filter {
    /// All.
    All,
    /// Those with certain tags.
    Tags(Arc<Subscription>),
}

impl Filter {
    /// The filter of a subscription by tags.
    pub fn of(subscription: Arc<Subscription>) -> Filter {
        match subscription.filter {
            TagFilter::All => Filter::All,
            TagFilter::Hashes(_) => Filter::Tags(subscription),
        }
    }

    /// Whether the same messages match.
    pub fn is_same(&self, other: &Filter) -> bool {
        match (self, other) {
            (Filter::All, Filter::All) => true,
            (Filter::Tags(one), Filter::Tags(other)) => {
                Arc::ptr_eq(one, other) || one.filter == other.filter
            }
            _ => false,
        }
    }

    /// Whether a message with this tags code may match: codes are hashes, the client compares the tags themselves.
    pub fn matches(&self, tags_code: i64) -> bool {
        match self {
            Filter::All => true,
            Filter::Tags(subscription) => subscription.filter.matches(tags_code),
        }
    }
}
