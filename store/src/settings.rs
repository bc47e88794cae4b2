//! How the store of a shard is opened: what its user chooses, once.

use crate::{layout::Layout, log::Shape, recovery::progress::Progress, state::deferred};
use std::{path::PathBuf, sync::Arc};

/// When a message counts as safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushPolicy {
    /// Acknowledged once it is durable. One sync for all that came meanwhile.
    Sync,
    /// Acknowledged once it is written; durable at most `interval_ms` later.
    Async {
        /// Longest time between syncs while there is something to sync.
        interval_ms: i64,
    },
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Shard whose store it is.
    pub shard: u16,
    /// Directory of the shard's segments.
    pub dir: PathBuf,
    /// Identifies the log, on each of its replicas.
    pub log_id: u64,
    /// Drawn when this store was formatted: batches name it as their writer.
    pub store_id: u64,
    /// Where segments begin and end.
    pub layout: Layout,
    /// Bytes of log kept in memory, a power of two.
    pub tail_cache_bytes: usize,
    /// Most bytes appended and not committed; at most half of the tail cache.
    pub inflight_bytes_max: u64,
    /// Largest record.
    pub record_bytes_max: usize,
    /// When a message counts as safe.
    pub flush: FlushPolicy,
    /// Entries kept in memory before an index file is written for them, besides those of the tail cache.
    pub index_entries_max: u64,
    /// Entries, and keys of as many usual messages, that memory may hold while index files lag behind or cannot be written;
    /// beyond that messages are refused.
    pub unindexed_entries_max: u64,
    /// Whether messages can be found by key.
    pub index_keys: bool,
    /// Memory for offsets of groups, bytes: more of them are refused.
    pub group_offset_bytes_max: usize,
    /// Most records that wait until they are due.
    pub deferred_max: usize,
    /// Of those, most in memory. The others are brought in before they are due.
    pub deferred_in_memory_max: usize,
    /// Most half messages that are open.
    pub half_messages_max: usize,
    /// Most messages that groups may have popped and not acknowledged.
    pub popped_max: usize,
    /// Memory for reads of old messages, bytes.
    pub cold_cache_bytes: usize,
    /// Bytes kept zeroed in front of the log, so that a sync writes no file metadata. 0 turns it off.
    pub zero_ahead_bytes: u64,
    /// Told how far the start is.
    pub progress: Arc<Progress>,
}

impl Settings {
    pub(crate) fn deferred_limits(&self) -> deferred::Limits {
        deferred::Limits { near: self.deferred_in_memory_max, all: self.deferred_max }
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape {
            shard: self.shard,
            log_id: self.log_id,
            writer: self.store_id,
            layout: self.layout,
            inflight_bytes_max: self.inflight_bytes_max,
            entry_bytes_max: self.record_bytes_max,
        }
    }
}
