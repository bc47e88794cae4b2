//! Sends and pulls that passed the checks where their socket is, as they travel to the shard that owns their queue.
//! Made and run by [`crate::handlers`], carried by [`crate::mailbox`], kept by parked pulls.

use crate::{control::MessageFilter, delay_levels::WaitingPlace, response::Responder};
use compact_str::CompactString;
use proto::body::{SubscriptionGroupConfig, TopicConfig};
use remoting::TransferBudget;
use std::{sync::Arc, time::Instant};

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
    /// When it arrived at its connection.
    pub arrived: Instant,
}

/// How the bytes of an [`AppendOp`] divide into records.
pub enum RecordParts {
    /// One record with this tags code.
    One(i64),
    /// Bytes and tags code of each record.
    Many(Vec<(u32, i64)>),
    /// One record that waits here until it is due or decided, encoded for the waiting topic. The queue of the operation is the one
    /// that it is for.
    Waiting(WaitingPlace),
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
    pub filter: MessageFilter,
    /// How long to wait for messages, ms; 0: not at all.
    pub suspend_ms: i64,
    /// Whose it is.
    pub group: Arc<SubscriptionGroupConfig>,
    /// The offset that the group has consumed up to, which travels along.
    pub commit: Option<i64>,
    /// Version of the metadata by which it may read.
    pub metadata_version: u64,
}
