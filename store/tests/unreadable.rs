//! Places that the disk cannot read any more: they cost what they held and nothing else, at a start and beside a store
//! at work. Method: blocks of a simulated disk that fail for ever.

mod simulated;

use runtime::{
    BLOCK_BYTES,
    sim::{SimDisk, block_on},
};
use simulated::{now, record, settings};
use std::{future::ready, path::PathBuf};
use store::{
    Settings, Store, StoreError,
    read::{PullLimits, PullStatus},
    recovery::Report,
    store_state::Append,
};

const SEGMENT: u64 = 1 << 18;
const BLOCK: u64 = BLOCK_BYTES as u64;
/// Bytes of a message's body: a few messages lie in each block.
const BODY: usize = 900;

fn small() -> Settings {
    Settings { index_entries_max: 100, ..settings(SEGMENT) }
}

fn open(disk: &SimDisk) -> Result<(Store<SimDisk>, Report), StoreError> {
    now(block_on(Store::open(disk.clone(), small())))
}

fn append(store: &Store<SimDisk>) -> u64 {
    let fields = record(1, &[7; BODY]);
    let bytes = fields.encoded_len();
    let slot = store.state_mut().queue_slot("t", 1);
    let message = Append { slot, bytes, tags_code: 0, keys: &[] };
    let placed = store.state_mut().append(message, 1, |placed, out| {
        fields.encode_into(out);
        proto::record::patch(out, placed.queue_offset, placed.physical.to_wire(), 1);
    });
    placed.physical.position()
}

/// Commits, and lets index files be written.
fn settle(store: &Store<SimDisk>) {
    while now(block_on(store.commit_once())).expect("a healthy disk") {}
    now(block_on(store.provide_wanted()));
    while now(block_on(store.index_once(&|| ready(())))).expect("a healthy disk") {}
}

/// A store with this many messages, each in a batch of its own, and where they lie.
fn store_of(disk: &SimDisk, messages: usize) -> (Store<SimDisk>, Vec<u64>) {
    let (store, _) = open(disk).expect("a new store");
    let mut places = Vec::new();
    for _ in 0..messages {
        places.push(append(&store));
        settle(&store);
    }
    (store, places)
}

/// What a consumer gets that goes through the queue: messages, and of how many it was told that they are lost.
fn consume(store: &Store<SimDisk>, messages: usize) -> (usize, usize) {
    let (mut offset, mut read, mut damaged) = (0, 0, 0);
    while offset < messages as i64 {
        let limits = PullLimits { offset, count_max: 8, bytes_max: 1 << 20, scan_max: 64 };
        let plan = loop {
            let plan = now(block_on(store.plan_pull_on_disk("t", 1, limits, |_| true)));
            match plan {
                Ok(plan) => break plan,
                Err(StoreError::Malformed { .. }) => settle(store),
                Err(error) => panic!("{error}"),
            }
        };
        assert!(plan.next_offset > offset, "it gets past: {plan:?}");
        offset = plan.next_offset;
        if plan.status == PullStatus::Found {
            let mut bytes = Vec::new();
            let lost =
                now(block_on(store.read_cold(&plan.pieces, &mut bytes))).expect("no failure");
            (read, damaged) = (read + plan.pieces.len() - lost, damaged + lost);
        }
    }
    (read, damaged)
}

fn spoil(disk: &SimDisk, position: u64) {
    let segment = position - position % SEGMENT;
    assert!(disk.spoil_block(&small().segment_path(segment), position - segment));
}

fn index_files(disk: &SimDisk) -> Vec<PathBuf> {
    let names = disk.files().into_iter().map(|(path, _)| path);
    names
        .filter(|path| [".run", ".index"].iter().any(|end| path.to_string_lossy().ends_with(end)))
        .collect()
}

#[test]
fn an_unreadable_block_of_old_messages_costs_what_lies_in_it() {
    let disk = SimDisk::new(1);
    let (store, places) = store_of(&disk, 600);
    let place = places[150];
    let block = place - place % BLOCK;
    let hit = |at: &&u64| **at < block + BLOCK && **at + BODY as u64 + 100 > block;
    let lost = places.iter().filter(hit).count();
    spoil(&disk, place);
    assert_eq!(consume(&store, 600), (600 - lost, lost));
    assert!(store.tally().unreadable_bytes.get() >= BLOCK);
    let record = now(block_on(store.read_record(place))).expect("no failure");
    assert_eq!(record, None);
    drop(store);
    let (store, _) = open(&disk).expect("an index file covers it");
    assert_eq!(consume(&store, 600), (600 - lost, lost));
}

#[test]
fn an_unreadable_block_behind_the_index_files_is_stepped_over_by_a_start() {
    let disk = SimDisk::new(2);
    let (store, places) = store_of(&disk, 60);
    drop(store);
    spoil(&disk, places[20]);
    let (store, report) = open(&disk).expect("the batches behind it prove it");
    assert!(report.damaged_bytes >= BLOCK / 2, "{report:?}");
    let (read, _) = consume(&store, 60);
    assert!((53..=58).contains(&read), "{read} of 60");
}

#[test]
fn what_cannot_be_read_behind_the_end_is_cut_and_written() {
    let disk = SimDisk::new(3);
    let (store, places) = store_of(&disk, 10);
    let end = store.state().log.appended();
    drop(store);
    spoil(&disk, end + BLOCK);
    spoil(&disk, end + 2 * BLOCK);
    let (store, report) = open(&disk).expect("nothing was promised there");
    assert!(report.cut_bytes >= BLOCK, "{report:?}");
    (0..20).for_each(|_| assert!(append(&store) > 0));
    settle(&store);
    drop(store);
    let (store, report) = open(&disk).expect("it was written since");
    assert_eq!((report.damaged_bytes, report.cut_bytes), (0, 0));
    assert_eq!(consume(&store, places.len() + 20), (places.len() + 20, 0));
}

#[test]
fn the_block_that_the_log_ends_in_may_be_unreadable_where_an_index_file_covers_it() {
    let disk = SimDisk::new(4);
    let (store, _) = store_of(&disk, 101);
    let covered = store.index_files().last().map(|(_, head)| head.to).expect("a run");
    let end = store.state().log.appended();
    assert!(covered % BLOCK > 0 && covered == end, "the last file ends where the log does");
    drop(store);
    spoil(&disk, end - 1);
    let (store, _) = open(&disk).expect("an index file covers it");
    let (read, lost) = consume(&store, 101);
    assert!(read + lost == 101 && (1..=5).contains(&lost), "{read}, {lost}");
    drop(store);
    open(&disk).expect("it was written since");
}

#[test]
fn an_index_file_with_an_unreadable_block_is_made_again() {
    let disk = SimDisk::new(5);
    let (store, _) = store_of(&disk, 400);
    let files = index_files(&disk);
    assert!(files.len() >= 2, "{files:?}");
    for (number, file) in files.iter().enumerate() {
        let blocks = disk.live_bytes(file).map_or(0, |bytes| bytes.len() as u64) / BLOCK;
        assert!(disk.spoil_block(file, number as u64 % blocks * BLOCK));
    }
    drop(store);
    let (store, report) = open(&disk).expect("the log has all that they said");
    assert!(report.rebuilt_indexes + report.messages > 0, "{report:?}");
    assert_eq!(consume(&store, 400), (400, 0));
    // Beside a store at work.
    let files = index_files(&disk);
    files.iter().for_each(|file| assert!(disk.spoil_block(file, BLOCK)));
    assert_eq!(consume(&store, 400), (400, 0));
}

#[test]
fn retention_goes_on_over_unreadable_index_files_and_segments() {
    let disk = SimDisk::new(6);
    let (store, places) = store_of(&disk, 900);
    for file in index_files(&disk) {
        assert!(disk.spoil_block(&file, 2 * BLOCK) || disk.spoil_block(&file, 0));
    }
    spoil(&disk, places[3]);
    let mut retired = 0;
    for _ in 0..20 {
        match now(block_on(store.retire_oldest(false, &|| ready(())))) {
            Ok(Some(_)) => retired += 1,
            Ok(None) => {}
            Err(StoreError::Malformed { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        store.each_second();
        settle(&store);
    }
    assert!(retired >= 2, "{retired} of {} segments", places[899] / SEGMENT);
}

#[test]
fn a_device_that_reads_nothing_ends_the_start_and_nothing_is_changed() {
    let disk = SimDisk::new(7);
    let (store, _) = store_of(&disk, 300);
    drop(store);
    let before = disk.files();
    for (path, bytes) in &before {
        (0..bytes / BLOCK).for_each(|block| assert!(disk.spoil_block(path, block * BLOCK)));
    }
    let error = open(&disk).err().expect("nothing can be known");
    assert!(matches!(error, StoreError::Io { action: "read", .. }), "{error}");
    assert_eq!(disk.files(), before);
}
