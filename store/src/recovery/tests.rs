//! Starts after orderly ends, damage and in foreign directories.

use super::*;
use crate::{
    batch::HEADER_BYTES, layout::Layout, lineage::EPOCH_ENTRY_BYTES, settings::FlushPolicy,
};
use runtime::{
    Open,
    sim::{SimDisk, block_on},
};

pub(super) fn settings() -> Settings {
    Settings {
        shard: 0,
        dir: "/log".into(),
        log_id: 5,
        store_id: 50,
        layout: Layout::even(1 << 16),
        tail_cache_bytes: 1 << 17,
        inflight_bytes_max: 1 << 15,
        record_bytes_max: 8_192,
        index_entries_max: 1_000,
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

fn open(disk: &SimDisk) -> (Store<SimDisk>, Report) {
    block_on(Store::open(disk.clone(), settings())).expect("power").expect("a log")
}

/// Commits one group's offset in a batch of its own.
fn commit(store: &Store<SimDisk>, offset: i64) {
    store.state_mut().derived.group_offsets.set("group", "topic", 0, offset).expect("room");
    store.state_mut().append_group_offsets(0).expect("room");
    block_on(store.commit_once()).expect("power").expect("a healthy disk");
}

fn offset(store: &Store<SimDisk>) -> Option<i64> {
    store.state().derived.group_offsets.get("group", "topic", 0)
}

fn path() -> std::path::PathBuf {
    settings().segment_path(0)
}

#[test]
fn each_start_leaves_its_mark_and_finds_what_the_last_one_committed() {
    let disk = SimDisk::new(1);
    let (store, report) = open(&disk);
    assert_eq!((report.segments, report.scanned_bytes), (1, 0));
    commit(&store, 7);
    let end = store.state().log.committed();
    drop(store);
    let (store, report) = open(&disk.after_crash(1));
    assert_eq!((report.scanned_bytes, report.damaged_bytes), (end, 0));
    let start_bytes = (HEADER_BYTES + EPOCH_ENTRY_BYTES) as u64;
    assert_eq!(store.state().log.committed(), end + start_bytes);
    assert_eq!(store.state().log.epoch(), 2);
    assert_eq!(offset(&store), Some(7));
}

#[test]
fn a_damaged_place_is_skipped_when_a_later_batch_proves_it_and_ends_the_log_otherwise() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    let mut ends = vec![store.state().log.committed()];
    for number in 1..=3 {
        commit(&store, number);
        ends.push(store.state().log.committed());
    }
    drop(store);
    let before = disk.snapshot();
    assert!(disk.flip_bit(&path(), ends[1] + 70, 0));
    let (store, report) = open(&disk);
    assert_eq!((report.damaged_bytes, offset(&store)), (ends[2] - ends[1], Some(3)));

    let disk = SimDisk::restore(&before);
    assert!(disk.flip_bit(&path(), ends[2] + 70, 0));
    let (store, report) = open(&disk);
    assert_eq!((report.damaged_bytes, offset(&store)), (0, Some(2)));
    assert!(report.cut_bytes > 0);
    drop(store);
    assert_eq!(open(&disk).1.cut_bytes, 0, "the cut is durable");
}

#[test]
fn the_log_of_another_store_is_refused_and_left_alone() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    commit(&store, 1);
    drop(store);
    let other = Settings { log_id: 6, ..settings() };
    let error = block_on(Store::open(disk.clone(), other)).expect("power").err();
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(text.contains("belongs to log 0000000000000005"), "{text}");
    assert_eq!(offset(&open(&disk).0), Some(1), "and nothing was changed");
}

#[test]
fn a_control_entry_of_a_newer_broker_ends_the_start_and_stays() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    commit(&store, 1);
    let content = b"what it says";
    let bytes = crate::batch::CONTROL_HEADER_BYTES + content.len();
    store.state_mut().log.append(bytes, 0, |_, out| {
        crate::batch::encode_control(out, 999, content);
    });
    block_on(store.commit_once()).expect("power").expect("a healthy disk");
    commit(&store, 2);
    drop(store);
    for _ in 0..2 {
        let error = block_on(Store::open(disk.clone(), settings())).expect("power").err();
        let text = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains("control entry of kind 999 at position"), "{text}");
        assert!(text.contains("a newer version of RingMQ wrote it"), "{text}");
    }
}

#[test]
fn a_segment_of_another_size_is_refused_unless_nothing_is_in_it() {
    let disk = SimDisk::new(1);
    let (store, _) = open(&disk);
    commit(&store, 1);
    drop(store);
    let wide = Settings { layout: Layout::even(1 << 17), ..settings() };
    let error = block_on(Store::open(disk.clone(), wide)).expect("power").err();
    assert!(matches!(error, Some(StoreError::Malformed { .. })), "{error:?}");
    let narrow = Settings { layout: Layout::even(1 << 15), ..settings() };
    let error = block_on(Store::open(disk.clone(), narrow)).expect("power").err();
    assert!(matches!(error, Some(StoreError::Malformed { .. })), "{error:?}");
    let mode = Open::Create { bytes: 8_192 };
    block_on(disk.open(&settings().segment_path(7 << 16), mode)).expect("power").expect("room");
    let (store, report) = open(&disk);
    assert_eq!((report.segments, offset(&store)), (1, Some(1)));
}
