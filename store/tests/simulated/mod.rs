//! The store of the tests that change bytes of a simulated disk.

use store::{FlushPolicy, Settings};

/// Settings of a small store with segments of this size.
pub(crate) fn settings(segment_bytes: u64) -> Settings {
    Settings {
        shard: 2,
        dir: "/log".into(),
        log_id: 99,
        store_id: 98,
        segment_bytes,
        tail_cache_bytes: 1 << 17,
        inflight_bytes_max: 1 << 15,
        record_bytes_max: 8_192,
        index_entries_max: u64::MAX,
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
