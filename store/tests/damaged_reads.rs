//! Reads beside damage that appears under a running store: what is served is what was appended, and what can be made
//! again is. Method: a store on a simulated disk with small segments, of which bytes are flipped while it is open.

mod simulated;

use proto::record::RecordFields;
use runtime::sim::{SimDisk, block_on};
use simulated::{now, record, settings};
use std::{
    future::ready,
    path::{Path, PathBuf},
};
use store::{
    Layout, Settings, Store, StoreError,
    index::key_hash,
    lookup::KeyQuery,
    read::{PullLimits, PullStatus},
    store_state::Append,
};

const SEGMENT: u64 = 1 << 20;
const KEY: &str = "everybody";

fn open(disk: &SimDisk, settings: Settings) -> Store<SimDisk> {
    now(block_on(Store::open(disk.clone(), settings))).expect("it opens").0
}

/// Appends a message; returns its position and its record.
fn append(store: &Store<SimDisk>, topic: &str, body: &[u8], time: i64) -> (u64, Vec<u8>) {
    let properties = format!("KEYS\u{1}{KEY}\u{2}");
    let fields = RecordFields {
        born_timestamp: time,
        topic,
        properties: [properties.as_bytes(), b"", b""],
        ..record(1, body)
    };
    let keys = [key_hash(topic, KEY)];
    let bytes = fields.encoded_len();
    let slot = store.state_mut().queue_slot(topic, 1);
    let message = Append { slot, bytes, tags_code: 0, keys: &keys };
    let mut record = Vec::new();
    let placed = store.state_mut().append(message, time, |placed, out| {
        fields.encode_into(out);
        proto::record::patch(out, placed.queue_offset, placed.physical.to_wire(), time);
        record = out.to_vec();
    });
    (placed.physical.position(), record)
}

fn commit(store: &Store<SimDisk>) {
    while now(block_on(store.commit_once())).expect("a healthy disk") {}
    now(block_on(store.provide_wanted()));
}

fn write_indexes(store: &Store<SimDisk>) {
    while now(block_on(store.index_once(&|| ready(())))).expect("a healthy disk") {}
}

fn query(topic: &str, store_ms: (i64, i64), count_max: usize) -> KeyQuery {
    KeyQuery { topic: topic.into(), key: KEY.into(), store_ms, count_max, bytes_max: usize::MAX }
}

/// Store timestamps of what a query finds.
fn find(store: &Store<SimDisk>, query: &KeyQuery) -> Vec<i64> {
    let found = now(block_on(store.find_by_key(query, &|| ready(())))).expect("a healthy disk");
    found.into_iter().map(|(time, _)| time).collect()
}

#[test]
fn a_key_of_any_number_of_messages_is_searched_to_its_end() {
    for index_entries_max in [u64::MAX, 7_000] {
        let settings =
            Settings { layout: Layout::even(1 << 23), index_entries_max, ..settings(SEGMENT) };
        let disk = SimDisk::new(1);
        let store = open(&disk, settings);
        for time in 1..=20_000 {
            append(&store, "t", b"body", time);
            if time % 100 == 0 {
                commit(&store);
            }
            if time % 1_000 == 0 {
                write_indexes(&store);
            }
        }
        let files = store.extent().index_files;
        assert_eq!(files > 0, index_entries_max < u64::MAX, "{files} index files");
        let all: Vec<i64> = (1..=20_000).collect();
        assert_eq!(find(&store, &query("t", (0, i64::MAX), usize::MAX)), all);
        assert_eq!(find(&store, &query("t", (0, 300), 1_000)), all[..300]);
        assert_eq!(find(&store, &query("t", (0, 300), 10)), all[290..300]);
        assert_eq!(find(&store, &query("t", (9_000, 15_000), 5)), all[14_995..15_000]);
        assert_eq!(find(&store, &query("t", (19_998, 30_000), 5)), all[19_997..]);
        assert_eq!(find(&store, &query("t", (-5, 1), 5)), [1]);
    }
}

fn segment_path(position: u64) -> PathBuf {
    PathBuf::from(format!("/log/{:020}", position - position % SEGMENT))
}

/// Flips one bit of each byte of the record, one after the other: it is never served otherwise than as it was appended.
fn flip_all(store: &Store<SimDisk>, disk: &SimDisk, (position, record): &(u64, Vec<u8>)) {
    let read = || now(block_on(store.read_record(*position))).expect("a healthy disk");
    assert_eq!(read().as_ref(), Some(record));
    for at in 0..record.len() as u64 {
        let flip = || assert!(disk.flip_bit(&segment_path(*position), position % SEGMENT + at, 3));
        flip();
        assert_eq!(read(), None, "byte {at} of the record");
        flip();
    }
    assert_eq!(read().as_ref(), Some(record));
}

/// A store whose tail cache holds only what came last, with a message of interest among others.
fn with_message(disk: &SimDisk, topic: &str) -> (Store<SimDisk>, (u64, Vec<u8>)) {
    let store = open(disk, settings(SEGMENT));
    (0..5).for_each(|_| drop(append(&store, topic, &[7; 300], 1)));
    let message = append(&store, topic, &[8; 30], 1);
    (0..5).for_each(|_| drop(append(&store, topic, &[9; 300], 1)));
    commit(&store);
    for _ in 0..100 {
        append(&store, "others", &[1; 4_000], 1);
        commit(&store);
    }
    (store, message)
}

#[test]
fn a_message_by_id_is_what_was_appended_or_not_there() {
    let disk = SimDisk::new(1);
    let (store, message) = with_message(&disk, "t");
    flip_all(&store, &disk, &message);
    assert!(store.tally().damaged_records.get() > 0);

    // Its entry in an index file: the log has left the segment.
    while store.state().log.committed() < SEGMENT {
        append(&store, "others", &[1; 4_000], 1);
        commit(&store);
    }
    write_indexes(&store);
    assert_eq!(store.extent().index_files, 1);
    flip_all(&store, &disk, &message);

    // Without an entry, and with that of another message in its place.
    now(store.state_mut().remove_topic("t", 1).expect("there is room"));
    commit(&store);
    flip_all(&store, &disk, &message);
    (0..20).for_each(|_| drop(append(&store, "t", b"later", 1)));
    commit(&store);
    flip_all(&store, &disk, &message);
}

#[test]
fn a_message_by_id_outlives_a_damaged_index_file() {
    let disk = SimDisk::new(1);
    let (store, (position, record)) = with_message(&disk, "t");
    while store.state().log.committed() < SEGMENT {
        append(&store, "others", &[1; 4_000], 1);
        commit(&store);
    }
    write_indexes(&store);
    drop(store);
    let store = open(&disk, settings(SEGMENT));
    spoil(&disk, &index_files(&disk)[0]);
    let read = now(block_on(store.read_record(position)));
    assert_eq!(read.expect("the batch is whole"), Some(record));
}

#[test]
fn a_body_that_looks_like_a_message_of_its_place_is_none() {
    let disk = SimDisk::new(1);
    let store = open(&disk, settings(SEGMENT));
    let (position, record) = append(&store, "t", &[0; 50], 1);
    let mut forged = record.clone();
    let inside = position + record.len() as u64 + body_at(&record);
    proto::record::patch(&mut forged, 0, store::PhysicalOffset::new(2, inside).to_wire(), 1);
    let (outer, whole) = append(&store, "t", &forged, 1);
    assert_eq!(outer + body_at(&whole), inside);
    commit(&store);
    let read = |position| now(block_on(store.read_record(position))).expect("a healthy disk");
    assert_eq!((read(outer), read(inside)), (Some(whole), None));
    assert_eq!(store.tally().damaged_records.get(), 0, "nothing is damaged");
}

/// Where the body begins in a record.
fn body_at(record: &[u8]) -> u64 {
    let view = proto::record::RecordView::parse(record).expect("a record");
    view.body().as_ptr() as u64 - record.as_ptr() as u64
}

fn index_files(disk: &SimDisk) -> Vec<PathBuf> {
    let is_index = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).and_then(store::index::named).is_some()
    };
    let mut files: Vec<PathBuf> =
        disk.files().into_iter().map(|(path, _)| path).filter(is_index).collect();
    files.sort();
    files
}

/// Flips a bit in every block behind the first.
fn spoil(disk: &SimDisk, path: &Path) {
    let bytes = disk.live_bytes(path).expect("it is there").len() as u64;
    for block in (4_096..bytes).step_by(4_096) {
        assert!(disk.flip_bit(path, block + 5, 1));
    }
}

/// Small segments, so that there are many index files.
fn many_files() -> Settings {
    Settings { layout: Layout::even(1 << 16), ..settings(SEGMENT) }
}

/// First offset and end of a queue, and the positions of its messages.
type Served = (i64, i64, Vec<u64>);

fn serve(store: &Store<SimDisk>, topic: &str) -> Result<Served, StoreError> {
    let (mut offset, mut positions) = (0, Vec::new());
    let (mut min, mut scans) = (0, 0);
    loop {
        let limits = PullLimits { offset, count_max: 64, bytes_max: 1 << 20, scan_max: 64 };
        let plan = now(block_on(store.plan_pull_on_disk(topic, 1, limits, |_| true)))?;
        let damaged = now(block_on(store.read_cold(&plan.pieces, &mut Vec::new())))?;
        assert_eq!(damaged, 0, "what an entry names is a whole message");
        positions.extend(plan.pieces.iter().map(|entry| entry.position()));
        if plan.status == PullStatus::OffsetTooSmall {
            min = plan.min_offset;
        }
        if plan.next_offset == offset || offset == plan.max_offset {
            return Ok((min, plan.max_offset, positions));
        }
        offset = plan.next_offset;
        scans += 1;
        assert!(scans < 10_000, "it gets nowhere");
    }
}

/// Everything that can be asked for.
fn serve_all(store: &Store<SimDisk>) -> Result<Vec<(Served, usize)>, StoreError> {
    let query = |topic| {
        let query = query(topic, (0, i64::MAX), usize::MAX);
        now(block_on(store.find_by_key(&query, &|| ready(()))))
    };
    let topics = ["steady", "again", "early", "born", "gone"].into_iter();
    topics.map(|topic| Ok((serve(store, topic)?, query(topic)?.len()))).collect()
}

/// As [`serve_all`], while a store at work makes again what it finds damaged.
fn serve_all_healed(store: &Store<SimDisk>) -> Vec<(Served, usize)> {
    for _ in 0..40 {
        match serve_all(store) {
            Ok(served) => return served,
            Err(StoreError::Malformed { .. }) => {
                for _ in 0..40 {
                    if !now(block_on(store.index_once(&|| ready(()))))
                        .expect("it can be made again")
                    {
                        break;
                    }
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("an index file stays damaged");
}

fn fill_segment(store: &Store<SimDisk>) {
    let segment = store.state().log.appended() >> 16;
    while store.state().log.appended() >> 16 == segment {
        append(store, "steady", &[1; 3_000], 1);
        commit(store);
    }
    write_indexes(store);
}

/// Eight segments: queues that live all the time, that were deleted and made again, that have not been written to for
/// long, that are born late and that are gone.
fn eventful(disk: &SimDisk) {
    let store = open(disk, many_files());
    let some = |topic, count| (0..count).for_each(|_| drop(append(&store, topic, b"some", 1)));
    let remove = |topic| {
        store.state_mut().remove_topic(topic, 1).expect("there is room");
    };
    store.state_mut().derived.group_offsets.set("g", "early", 1, 3).expect("room");
    store.state_mut().append_group_offsets(1).expect("there is room");
    some("early", 5);
    fill_segment(&store);
    fill_segment(&store);
    some("again", 7);
    some("gone", 3);
    fill_segment(&store);
    remove("again");
    fill_segment(&store);
    some("again", 9);
    some("gone", 3);
    fill_segment(&store);
    some("born", 2);
    fill_segment(&store);
    remove("gone");
    some("again", 4);
    some("born", 2);
    fill_segment(&store);
    fill_segment(&store);
    some("again", 1);
    commit(&store);
    assert_eq!(store.extent().index_files, 8);
}

/// Lets neighbouring index files rot under a running store, all that there can be.
fn rot_neighbours(disk: &SimDisk) {
    let snapshot = disk.snapshot();
    let files = index_files(disk).len();
    for first in 0..files {
        for last in first..files {
            let disk = SimDisk::restore(&snapshot);
            let store = open(&disk, many_files());
            let expected = serve_all(&store).expect("nothing is damaged");
            drop(store);
            let store = open(&disk, many_files());
            let damaged = &index_files(&disk)[first..=last];
            damaged.iter().for_each(|path| spoil(&disk, path));
            let what = format!("files {first} to {last}");
            assert!(serve_all(&store).is_err(), "{what}: the damage is not noticed");
            assert_eq!(serve_all_healed(&store), expected, "{what}");
            let rebuilt = store.tally().rebuilt_indexes.get();
            assert!(rebuilt as usize <= damaged.len(), "{what}: {rebuilt} made again");
            drop(store);
            let (store, report) =
                now(block_on(Store::open(disk.clone(), many_files()))).expect("it opens");
            assert_eq!(serve_all_healed(&store), expected, "{what}, after a start");
            assert_eq!(store.state().derived.group_offsets.get("g", "early", 1), Some(3), "{what}");
            assert_eq!(report.damaged_bytes, 0);
        }
    }
}

#[test]
fn any_neighbouring_index_files_heal_under_a_running_store() {
    let disk = SimDisk::new(1);
    eventful(&disk);
    rot_neighbours(&disk);
}

#[test]
fn they_heal_when_the_first_segments_are_gone() {
    let disk = SimDisk::new(1);
    eventful(&disk);
    let store = open(&disk, many_files());
    for _ in 0..2 {
        let retired = now(block_on(store.retire_oldest(false, &|| ready(()))));
        assert!(retired.expect("a healthy disk").is_some());
    }
    drop(store);
    rot_neighbours(&disk);
}

#[test]
fn a_start_makes_any_missing_neighbours_again() {
    let disk = SimDisk::new(1);
    eventful(&disk);
    let snapshot = disk.snapshot();
    let expected = serve_all(&open(&disk, many_files())).expect("nothing is damaged");
    for first in 0..7 {
        for last in first..7 {
            let disk = SimDisk::restore(&snapshot);
            for path in &index_files(&disk)[first..=last] {
                now(block_on(runtime::Disk::remove(&disk, path))).expect("it is there");
            }
            let store = open(&disk, many_files());
            assert_eq!(serve_all(&store).expect("all is whole"), expected, "{first} to {last}");
        }
    }
}

/// A queue whose topic was deleted and made again, as `old` messages and then others. Damage takes the deletion along, the
/// first message behind it, and others in the next segment. Returns the positions of those that no damage touched.
fn made_again(disk: &SimDisk, old: u32) -> Vec<u64> {
    let store = open(disk, many_files());
    let some = |count| {
        let append = |_| {
            let (position, _) = append(&store, "again", b"some", 1);
            commit(&store);
            position
        };
        (0..count).map(append).collect::<Vec<u64>>()
    };
    some(old);
    fill_segment(&store);
    commit(&store);
    let deletion = store.state_mut().remove_topic("again", 1).expect("there is room");
    commit(&store);
    let mut lost = some(1);
    lost.push(deletion.expect("it is known") - 1);
    fill_segment(&store);
    lost.extend(some(4));
    let whole = some(3);
    (0..2).for_each(|_| fill_segment(&store));
    drop(store);
    for position in lost {
        let path = many_files().segment_path(position - position % (1 << 16));
        assert!(disk.flip_bit(&path, position % (1 << 16), 3));
    }
    whole
}

#[test]
fn a_queue_that_was_made_again_is_served_when_damage_took_the_deletion() {
    let remove = |disk: &SimDisk, path: &Path| {
        now(block_on(runtime::Disk::remove(disk, path))).expect("it is there");
    };
    for old in [1, 5] {
        let disk = SimDisk::new(1);
        let whole = made_again(&disk, old);
        let snapshot = disk.snapshot();
        let files = &index_files(&disk)[1..3];
        // Index files that are missing at one start, at a second one, and that rot beside the store at work after it.
        for gone in [[1, 1, 0], [0, 2, 0], [1, 0, 1], [0, 0, 2]] {
            let disk = SimDisk::restore(&snapshot);
            let (first, rest) = files.split_at(gone[0]);
            let (second, rotten) = rest.split_at(gone[1]);
            first.iter().for_each(|path| remove(&disk, path));
            drop(open(&disk, many_files()));
            second.iter().for_each(|path| remove(&disk, path));
            let store = open(&disk, many_files());
            rotten.iter().for_each(|path| spoil(&disk, path));
            let again = loop {
                match serve(&store, "again") {
                    Ok(again) => break again,
                    Err(StoreError::Malformed { .. }) => write_indexes(&store),
                    Err(error) => panic!("{gone:?}: {error}"),
                }
            };
            assert_eq!((again.1, &again.2), (8, &whole), "{gone:?} behind {old} older messages");
        }
    }
}

/// Goal: a segment that goes between the plan of a read and the read costs its messages, not an error: who asks goes on
/// behind them. Messages that lie close together are read in chunks, others one by one.
#[test]
fn what_was_retired_before_it_is_read_is_left_out() {
    for (between, count, segments) in [(0, 20, 1), (25, 3, 2)] {
        let disk = SimDisk::new(1);
        let store = open(&disk, many_files());
        for _ in 0..count {
            append(&store, "t", b"some", 1);
            (0..between).for_each(|_| drop(append(&store, "steady", &[1; 2_000], 1)));
            commit(&store);
        }
        (0..4).for_each(|_| fill_segment(&store));
        append(&store, "t", b"last", 1);
        commit(&store);
        let limits = PullLimits { offset: 0, count_max: 64, bytes_max: 1 << 20, scan_max: 64 };
        let plan = || {
            now(block_on(store.plan_pull_on_disk("t", 1, limits, |_| true))).expect("it is there")
        };
        let read = |pieces: &[_]| {
            let mut out = Vec::new();
            let left_out = now(block_on(store.read_cold(pieces, &mut out)));
            (left_out.expect("no error"), out.len())
        };
        let pieces = plan().pieces;
        let (left_out, bytes) = read(&pieces);
        assert!(left_out == 0 && bytes > 0 && pieces.len() >= count, "{}", pieces.len());
        for _ in 0..segments {
            let retired = now(block_on(store.retire_oldest(false, &|| ready(()))));
            assert!(retired.expect("a healthy disk").is_some());
        }
        assert_eq!(read(&pieces).0, count);
        assert_eq!(store.tally().damaged_records.get(), 0, "nothing is damaged");
        assert_eq!(plan().status, PullStatus::OffsetTooSmall);
    }
}
