//! The store of the tests that change bytes of a simulated disk.

use proto::record::RecordFields;
use std::net::SocketAddr;
use store::{FlushPolicy, Layout, Settings};

/// Settings of a small store with segments of this size.
pub(crate) fn settings(segment_bytes: u64) -> Settings {
    Settings {
        shard: 2,
        dir: "/log".into(),
        log_id: 99,
        store_id: 98,
        layout: Layout::even(segment_bytes),
        tail_cache_bytes: 1 << 17,
        inflight_bytes_max: 1 << 15,
        record_bytes_max: 8_192,
        index_entries_max: u64::MAX,
        group_offset_bytes_max: usize::MAX,
        deferred_max: usize::MAX,
        deferred_in_memory_max: usize::MAX,
        half_messages_max: usize::MAX,
        popped_max: usize::MAX,
        unindexed_entries_max: u64::MAX,
        index_keys: true,
        cold_cache_bytes: 1 << 20,
        flush: FlushPolicy::Sync,
        zero_ahead_bytes: 0,
        progress: Default::default(),
    }
}

/// What came of a call on a disk that no power cut was planned for.
pub(crate) fn now<T>(value: Option<T>) -> T {
    value.expect("there is power")
}

/// A record of the topic `t` without properties.
pub(crate) fn record(queue_id: i32, body: &[u8]) -> RecordFields<'_> {
    let host = SocketAddr::from(([10, 0, 0, 1], 1));
    RecordFields {
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        topic: "t",
        properties: [b"", b"", b""],
    }
}
