//! What is written is read back, and nothing else: names, hashes, layout, rows, entries, outline, cache, power cuts.
//!
//! The model that all tests of this module write and compare with lives here. Searches, merges, damage and hostile
//! content have files of their own.

use super::*;
use crate::consume_queue::Entry;
use fastrand::Rng;
use runtime::{
    BLOCK_BYTES, Disk,
    sim::{FaultClass, SimDisk, block_on},
};
use std::{
    future::Future,
    io::ErrorKind,
    path::{Path, PathBuf},
};

mod damage;
mod hostile;
mod merging;
mod searching;

const DIR: &str = "/log";
const SHARD: u16 = 3;
const LOG_ID: u64 = 0x1234_5678_9abc_def0;
const SEGMENT: u64 = 5 << 30;

fn now<T>(future: impl Future<Output = T>) -> T {
    block_on(future).expect("there is power")
}

fn disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    now(disk.create_dir_all(DIR.as_ref())).expect("room");
    disk
}

fn sealed() -> PathBuf {
    sealed_path(DIR.as_ref(), SEGMENT)
}

fn states(pieces: Vec<Vec<u8>>) -> Vec<StateSection> {
    vec![StateSection { kind: SectionKind::GroupOffsets, pieces }]
}

/// All that an index file should say.
#[derive(Clone)]
struct Model {
    outline: Outline,
    /// By row.
    entries: Vec<Vec<Entry>>,
    keys: Vec<Key>,
}

impl Model {
    /// `rows` queues with `messages` messages among them, each with a key.
    fn new(rng: &mut Rng, rows: u32, messages: u32) -> Model {
        let mut entries = vec![Vec::new(); rows as usize];
        let mut keys = Vec::new();
        let mut position = SEGMENT;
        for _ in 0..messages {
            let at = rng.usize(0..entries.len());
            let bytes = rng.u32(91..600);
            entries[at].push(Entry::new(position, bytes, rng.i64(..)));
            keys.push(Key { hash: rng.u32(..), at: (position - SEGMENT) as u32 });
            position += u64::from(bytes) + rng.u64(0..100);
        }
        keys.sort();
        let topics = (0..rows.div_ceil(8)).map(|topic| format!("topic-{topic}-ü").into());
        let topics = topics.collect::<Vec<Box<str>>>();
        let mut number = 0;
        let rows = (0..rows).zip(&entries).map(|(at, entries)| {
            number += rng.u32(1..4);
            let count = entries.len() as u32;
            let before = rng.i64(0..1 << 40);
            Row {
                number,
                topic: at / 8,
                queue_id: at % 8,
                count,
                first: 0,
                next: before + i64::from(count),
                last_store_ms: rng.i64(0..1 << 42),
            }
        });
        let rows = rows.collect::<Vec<_>>();
        let head = Head {
            shard: SHARD,
            log_id: LOG_ID,
            segment: SEGMENT,
            from: SEGMENT,
            to: position,
            epoch: 9,
            first_store_ms: 1_000,
            last_store_ms: 2_000,
            clock_ms: 3_000,
            messages: u64::from(messages),
            next_number: number + 10,
            influenced_by: position + 77,
        };
        let states = states(vec![vec![7; rng.usize(0..9_000)], Vec::new(), vec![1, 2, 3]]);
        Model { outline: Outline { head, topics, rows, states }, entries, keys }
    }

    async fn write(&self, disk: &SimDisk, path: &Path) -> Result<Index<SimDisk>, IndexError> {
        let keys = self.keys.len() as u64;
        let mut writer = IndexWriter::create(disk, path, self.outline.clone(), keys).await?;
        for entries in &self.entries {
            writer.entries(entries).await?;
        }
        for keys in self.keys.chunks(1_000) {
            writer.keys(keys).await?;
        }
        writer.finish().await
    }

    /// The outline as it is read: with the place of each row's entries.
    fn numbered(&self) -> Outline {
        let mut outline = self.outline.clone();
        let mut first = 0;
        for row in &mut outline.rows {
            row.first = first;
            first += row.count;
        }
        outline
    }

    /// Compares everything that an index answers.
    async fn compare(&self, index: &Index<SimDisk>, rng: &mut Rng) {
        let cache = BlockCache::new(64 << 10);
        let outline = self.numbered();
        assert_eq!(*index.head(), outline.head);
        assert!(index.outline().await.expect("whole") == outline);
        index.verify().await.expect("whole");
        let step = outline.rows.len().div_ceil(1_000).max(1);
        for at in (rng.usize(0..step)..outline.rows.len()).step_by(step) {
            let row = outline.rows[at];
            assert_eq!(index.row(&cache, row.number).await.expect("whole"), Some(row));
            let wanted = &self.entries[at];
            let from = rng.usize(0..=wanted.len());
            let count = rng.usize(0..=wanted.len() + 1);
            let mut found = Vec::new();
            let read = index.entries(&cache, &row, row.start() + from as i64, count, &mut found);
            read.await.expect("whole");
            assert_eq!(found, wanted[from..(from + count).min(wanted.len())]);
        }
        let known = |number| outline.rows.binary_search_by_key(&number, |row| row.number).is_ok();
        for number in (0..200).chain([outline.head.next_number, u32::MAX]) {
            let found = index.row(&cache, number).await.expect("whole");
            assert_eq!(found.is_some(), known(number), "{number}");
        }
        assert!(cache.memory_bytes() <= 64 << 10);
    }
}

async fn all<T: Item>(mut cursor: Cursor<'_, SimDisk, T>) -> Vec<T> {
    let mut found = Vec::new();
    while let Some(chunk) = cursor.next_chunk().await.expect("whole") {
        found.extend_from_slice(chunk);
    }
    found
}

#[test]
fn names_are_read_as_they_are_made() {
    let dir = PathBuf::from("d");
    let name = |path: PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
    let sealed = name(sealed_path(&dir, 1 << 30));
    assert_eq!(sealed, "00000000001073741824.index");
    assert_eq!(named(&sealed), Some(Named::Sealed { segment: 1 << 30 }));
    let run = name(run_path(&dir, 0, 4_096));
    assert_eq!(run, "00000000000000000000.00000000000000004096.run");
    assert_eq!(named(&run), Some(Named::Run { segment: 0, from: 4_096 }));
    for temporary in [format!("{sealed}.tmp"), format!("{run}.tmp")] {
        assert_eq!(named(&temporary), Some(Named::Temporary));
    }
    let others =
        ["", ".tmp", ".index", "00000000001073741824", "1.index", "x.tmp", "topics.json.tmp"];
    let signs = ["+0000000001073741824.index", "99999999999999999999.index", "é.run"];
    for other in others.into_iter().chain(signs).chain([format!("{run}.tmp.tmp").as_str()]) {
        assert_eq!(named(other), None, "{other}");
    }
}

#[test]
fn the_hash_of_a_key_stays_what_it_is() {
    assert_eq!(key_hash("TopicTest", "order-1"), KEY_HASH);
    let parts = ["t", "#", "k"].concat();
    assert_eq!(key_hash("t", "k"), xxhash_rust::xxh3::xxh3_64(parts.as_bytes()) as u32);
    for bytes in [0, 1, 200, 253, 254, 255, 256, 300, 5_000] {
        let key = "k".repeat(bytes);
        let whole = format!("t#{key}");
        let hash = xxhash_rust::xxh3::xxh3_64(whole.as_bytes()) as u32;
        assert_eq!(key_hash("t", &key), hash, "{bytes}");
    }
}

/// Low half of XXH3-64 over `TopicTest#order-1`. Source: the xxhash reference library (C), through its Python binding.
const KEY_HASH: u32 = 2_355_473_236;

#[test]
fn the_layout_stays_what_it_is() {
    let disk = disk(1);
    let model = Model::new(&mut Rng::with_seed(1), 2, 3);
    now(model.write(&disk, &sealed())).expect("a healthy disk");
    let bytes = disk.live_bytes(&sealed()).expect("written");
    let field = |at: usize, bytes_of: usize| &bytes[at..at + bytes_of];
    assert_eq!(field(0, 8), b"RMQI\0\x02\0\x03");
    assert_eq!(field(8, 8), LOG_ID.to_be_bytes());
    assert_eq!(field(16, 8), SEGMENT.to_be_bytes());
    assert_eq!(field(72, 8), 3u64.to_be_bytes());
    assert_eq!(field(80, 8), (model.outline.head.to + 77).to_be_bytes());
    assert_eq!(field(88, 8), [0, 6, 0, 0, 0, 0, 0, 0]);
    let second = [&[0, 2, 0, 36][..], &2u32.to_be_bytes(), &2u64.to_be_bytes()].concat();
    assert_eq!(field(96 + 16, 16), second, "two rows of 36 bytes from block 2 on");
    // Head, one block for each section but the offsets, which have more.
    let pieces = &model.outline.states[0].pieces;
    let offsets: usize = pieces.iter().map(|piece| 4 + piece.len()).sum();
    let blocks = 1 + 5 + offsets.div_ceil(4_080);
    assert_eq!(bytes.len(), blocks * BLOCK_BYTES);
    assert_eq!(field(BLOCK_BYTES, 4), model.outline.rows[0].number.to_be_bytes());
    let row = &bytes[2 * BLOCK_BYTES..];
    assert_eq!(row[..4], model.outline.rows[0].number.to_be_bytes());
    assert_eq!(row[36 + 20..36 + 28], model.outline.rows[1].next.to_be_bytes());
    let last_key = &bytes[(blocks - 1) * BLOCK_BYTES + 16..][..8];
    assert_eq!(last_key, model.keys[2].rank().to_be_bytes());
    let trailer = &bytes[2 * BLOCK_BYTES - 16..2 * BLOCK_BYTES];
    assert_eq!(trailer[..12], [&LOG_ID.to_be_bytes()[..], &[0, 0, 0, 1]].concat());
    let covered = [&SEGMENT.to_be_bytes()[..], &bytes[BLOCK_BYTES..2 * BLOCK_BYTES - 4]].concat();
    assert_eq!(trailer[12..], crc32c::crc32c(&covered).to_be_bytes());
}

#[test]
fn what_is_written_is_read_back_whatever_the_number_of_queues() {
    for (seed, rows, messages) in [
        (1, 1, 0),
        (2, 1, 1),
        (3, 1, 70_000),
        (4, 113, 113),
        (5, 114, 10_000),
        (6, 80_000, 150_000),
    ] {
        let disk = disk(seed);
        let mut rng = Rng::with_seed(seed);
        let model = Model::new(&mut rng, rows, messages);
        let index = now(model.write(&disk, &sealed())).expect("a healthy disk");
        now(model.compare(&index, &mut rng));
        assert_eq!(now(all(index.all_entries())), model.entries.concat());
        assert_eq!(now(all(index.all_keys())), model.keys);
        assert_eq!(now(all(index.rows())), model.numbered().rows);
        now(index.close()).expect("a healthy disk");
        assert_eq!(disk.dropped_calls(), 0);
        assert_eq!(disk.files().len(), 1);
    }
}

#[test]
fn an_index_of_nothing_is_whole_too() {
    let disk = disk(1);
    let mut model = Model::new(&mut Rng::with_seed(1), 1, 0);
    (model.entries, model.keys) = (Vec::new(), Vec::new());
    model.outline.rows.clear();
    model.outline.topics.clear();
    model.outline.states.clear();
    let index = now(model.write(&disk, &sealed())).expect("a healthy disk");
    assert_eq!(index.bytes(), BLOCK_BYTES as u64);
    now(model.compare(&index, &mut Rng::with_seed(1)));
    let mut found = Vec::new();
    now(index.positions(1, u64::MAX, 9, &mut found)).expect("whole");
    assert!(found.is_empty());
}

#[test]
fn a_row_takes_one_read_and_the_cache_spares_it() {
    let disk = disk(1);
    let mut rng = Rng::with_seed(1);
    let model = Model::new(&mut rng, 5_000, 20_000);
    let index = now(model.write(&disk, &sealed())).expect("a healthy disk");
    let reads = |cache: &BlockCache, number| {
        let before = disk.calls();
        assert!(now(index.row(cache, number)).expect("whole").is_some());
        disk.calls() - before
    };
    let cache = BlockCache::new(1 << 20);
    let numbers: Vec<u32> = model.outline.rows.iter().map(|row| row.number).collect();
    let cold: u64 = numbers.iter().map(|number| reads(&cache, *number)).sum();
    assert_eq!(cold, 5_000u64.div_ceil(113));
    let warm: u64 = numbers.iter().map(|number| reads(&cache, *number)).sum();
    assert_eq!(warm, 0);
    cache.forget(&index);
    assert_eq!(reads(&cache, numbers[77]), 1);
}

#[test]
fn a_cache_of_one_block_serves_everything_and_stays_small() {
    let disk = disk(1);
    let mut rng = Rng::with_seed(1);
    let model = Model::new(&mut rng, 3, 30_000);
    let index = now(model.write(&disk, &sealed())).expect("a healthy disk");
    let cache = BlockCache::new(0);
    for (row, wanted) in model.numbered().rows.iter().zip(&model.entries) {
        let mut found = Vec::new();
        now(index.entries(&cache, row, row.start(), usize::MAX, &mut found)).expect("whole");
        assert!(found == *wanted);
    }
    assert_eq!(cache.memory_bytes(), BLOCK_BYTES);
}

#[test]
fn blocks_of_a_file_are_not_taken_for_those_of_the_one_that_replaced_it() {
    let disk = disk(1);
    let cache = BlockCache::new(1 << 20);
    for seed in 1..4 {
        let model = Model::new(&mut Rng::with_seed(seed), 100, 100);
        let index = now(model.write(&disk, &sealed())).expect("a healthy disk");
        for row in model.numbered().rows {
            assert_eq!(now(index.row(&cache, row.number)).expect("whole"), Some(row));
        }
    }
}

#[test]
fn a_file_is_complete_or_not_there_whenever_the_power_goes() {
    let model = Model::new(&mut Rng::with_seed(1), 20, 100);
    let old = Model::new(&mut Rng::with_seed(2), 10, 10);
    for seed in 0..300 {
        let disk = disk(seed);
        let replaces = seed % 2 == 0;
        if replaces {
            now(old.write(&disk, &sealed())).expect("a healthy disk");
        }
        disk.crash_after(seed % 11);
        let done = block_on(model.write(&disk, &sealed())).is_some();
        let disk = disk.after_crash(seed);
        match now(Index::open(&disk, &sealed(), SHARD, LOG_ID)) {
            Ok(index) if index.head().messages == 100 => {
                now(model.compare(&index, &mut Rng::with_seed(seed)));
            }
            Ok(index) => {
                assert!(replaces && !done, "seed {seed}");
                now(old.compare(&index, &mut Rng::with_seed(seed)));
            }
            Err(IndexError::Io { source, .. }) => {
                assert_eq!(source.kind(), ErrorKind::NotFound, "seed {seed}");
                assert!(!replaces && !done, "seed {seed}");
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
        let index = now(model.write(&disk, &sealed())).expect("the next attempt");
        now(model.compare(&index, &mut Rng::with_seed(seed)));
        assert_eq!(disk.files().len(), 1, "seed {seed}");
    }
}

#[test]
fn a_disk_that_fails_is_reported_and_leaves_no_file_under_the_name() {
    let model = Model::new(&mut Rng::with_seed(1), 20, 100);
    for class in [FaultClass::Write, FaultClass::Sync, FaultClass::Name] {
        let disk = disk(1);
        disk.fail_always(class, ErrorKind::StorageFull);
        let error = now(model.write(&disk, &sealed())).err().expect("a failure");
        assert!(matches!(error, IndexError::Io { .. }), "{error}");
        assert!(error.to_string().contains("/log/0000"), "{error}");
        assert!(disk.files().iter().all(|(path, _)| *path != sealed()), "{class:?}");
        disk.heal();
        now(model.write(&disk, &sealed())).expect("healed");
    }
}
