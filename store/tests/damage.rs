//! Recovery over segments whose bytes were changed at will: it never panics or hangs, serves nothing that was not
//! written, and loses at most the batches that were touched.

mod simulated;

use fastrand::Rng;
use proto::record::RecordFields;
use runtime::{
    BLOCK_BYTES, Disk, DiskFile, Open,
    sim::{SimDisk, Snapshot, block_on},
};
use simulated::{now, record, settings};
use std::{collections::BTreeMap, path::PathBuf};
use store::{
    Store,
    batch::{HEADER_BYTES, Header, Kind},
    read::PullLimits,
    store_state::Append,
};

const SEGMENT: u64 = 1 << 16;

fn path(segment: u64) -> PathBuf {
    PathBuf::from(format!("/log/{segment:020}"))
}

/// Record and position by queue and queue offset.
type Messages = BTreeMap<(u32, i64), (u64, Vec<u8>)>;

fn append(store: &Store<SimDisk>, rng: &mut Rng, messages: &mut Messages) {
    let mut body = vec![0; rng.usize(0..1_500)];
    rng.fill(&mut body);
    let queue_id = rng.u32(0..3);
    let fields = RecordFields { born_timestamp: 0, ..record(queue_id as i32, &body) };
    let slot = store.state_mut().queue_slot("t", queue_id);
    let message = Append { slot, bytes: fields.encoded_len(), tags_code: 0, keys: &[] };
    let mut record = Vec::new();
    let placed = store.state_mut().append(message, 1, |placed, out| {
        fields.encode_into(out);
        proto::record::patch(out, placed.queue_offset, placed.physical.to_wire(), 1);
        record = out.to_vec();
    });
    messages.insert((queue_id, placed.queue_offset), (placed.physical.position(), record));
}

/// A log of several segments on a disk, and what is in it.
fn written() -> (Snapshot, Messages) {
    let (disk, mut rng, mut messages) = (SimDisk::new(1), Rng::with_seed(1), Messages::new());
    let (store, _) =
        now(block_on(Store::open(disk.clone(), settings(SEGMENT)))).expect("a new log");
    while store.state().log.appended() < 3 * SEGMENT + SEGMENT / 2 {
        (0..rng.u32(1..5)).for_each(|_| append(&store, &mut rng, &mut messages));
        while now(block_on(store.commit_once())).expect("a healthy disk") {}
        now(block_on(store.provide_wanted()));
    }
    drop(store);
    now(block_on(Store::open(disk.clone(), settings(SEGMENT))))
        .expect("a start, which witnesses all");
    (disk.snapshot(), messages)
}

/// Where the batches lie.
fn batches(disk: &SimDisk) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for (file, segment) in (0..).map(|index| (path(index * SEGMENT), index * SEGMENT)) {
        let Some(bytes) = disk.live_bytes(&file) else { return found };
        let mut at = 0;
        while let Ok(header) = Header::decode(&bytes[at..], segment + at as u64, 99) {
            at = (header.end() - segment) as usize;
            let last = header.kind == Kind::SegmentEnd;
            found.push((header.position, if last { segment + SEGMENT } else { header.end() }));
            if last || at + HEADER_BYTES > bytes.len() {
                break;
            }
        }
    }
    found
}

/// Changes some bytes of a segment; returns the changed range in the log.
fn damage(bytes: &mut [u8], segment: u64, end: usize, rng: &mut Rng) -> (u64, u64) {
    let from = rng.usize(0..end);
    let longest = [1, 8, 100, 5_000][rng.usize(0..4)];
    let to = (from + rng.usize(1..=longest)).min(end);
    match rng.u8(0..4) {
        0 => bytes[from] ^= 1 << rng.u8(0..8),
        1 => rng.fill(&mut bytes[from..to]),
        2 => bytes[from..to].fill(0),
        _ => {
            let source = rng.usize(0..=bytes.len() - (to - from));
            bytes.copy_within(source..source + (to - from), from);
        }
    }
    (segment + from as u64, segment + to as u64)
}

async fn rewrite(disk: &SimDisk, segment: u64, bytes: &[u8]) {
    let file = disk.open(&path(segment), Open::ReadWrite).await.expect("a segment");
    let mut blocks = disk.alloc(bytes.len().next_multiple_of(BLOCK_BYTES));
    blocks.as_mut().copy_from_slice(bytes);
    file.write_at(blocks, 0).await.expect("a healthy disk");
    file.sync().await.expect("a healthy disk");
}

/// Everything readable, by queue and queue offset.
fn readable(store: &Store<SimDisk>) -> Messages {
    let mut found = Messages::new();
    for queue in 0..3 {
        let mut offset = store.state().queue("t", queue).map_or(0, |queue| queue.min());
        loop {
            let limits = PullLimits { offset, count_max: 1, bytes_max: 1, scan_max: 1 };
            let plan = now(block_on(store.plan_pull_on_disk("t", queue, limits, |_| true)));
            let plan = plan.expect("checked at start");
            if plan.next_offset == offset {
                break;
            }
            if let Some(entry) = plan.pieces.first() {
                let mut record = Vec::new();
                now(block_on(store.read_cold(&plan.pieces, &mut record)))
                    .expect("checked at start");
                found.insert((queue, offset), (entry.position(), record));
            }
            offset = plan.next_offset;
        }
    }
    found
}

#[test]
fn damage_costs_at_most_the_batches_that_it_touched() {
    let (snapshot, messages) = written();
    let whole = SimDisk::restore(&snapshot);
    let batches = batches(&whole);
    let (last, _) = *batches.last().expect("the start's batch");
    assert!(batches.len() > 50 && last > 3 * SEGMENT);
    for seed in 0..400 {
        let disk = SimDisk::restore(&snapshot);
        let mut rng = Rng::with_seed(seed);
        let mut touched = Vec::new();
        for _ in 0..rng.usize(1..4) {
            let segment = rng.u64(0..4) * SEGMENT;
            let mut bytes = disk.live_bytes(&path(segment)).expect("a segment");
            // The last batch is the only witness for what stands before it.
            let end = (last - segment).min(SEGMENT) as usize;
            touched.push(damage(&mut bytes, segment, end, &mut rng));
            now(block_on(rewrite(&disk, segment, &bytes)));
        }
        let opened = now(block_on(Store::open(disk.clone(), settings(SEGMENT))));
        let (store, _) = opened.expect("damage is no reason to refuse");
        store.state().check();
        let found = readable(&store);
        let served =
            |(key, message): (&(u32, i64), &(u64, Vec<u8>))| messages.get(key) == Some(message);
        assert!(found.iter().all(served), "seed {seed}: serves what nobody wrote");
        for (key, (position, _)) in &messages {
            let batch = batches.iter().find(|(from, to)| from <= position && position < to);
            let (from, to) = batch.expect("each message is in a batch");
            let hit = touched.iter().any(|(start, end)| start < to && from < end);
            assert!(hit || found.contains_key(key), "seed {seed}: {key:?} at {position} is gone");
        }
    }
}

#[test]
fn any_bytes_at_all_are_survived() {
    let (snapshot, messages) = written();
    for seed in 0..200 {
        let disk = SimDisk::restore(&snapshot);
        let mut rng = Rng::with_seed(seed);
        for _ in 0..rng.usize(1..30) {
            let segment = rng.u64(0..4) * SEGMENT;
            let mut bytes = disk.live_bytes(&path(segment)).expect("a segment");
            for _ in 0..rng.usize(1..8) {
                damage(&mut bytes, segment, SEGMENT as usize, &mut rng);
            }
            now(block_on(rewrite(&disk, segment, &bytes)));
        }
        let opened = now(block_on(Store::open(disk.clone(), settings(SEGMENT))));
        let (store, _) = opened.expect("damage is no reason to refuse");
        let served =
            |(key, message): (&(u32, i64), &(u64, Vec<u8>))| messages.get(key) == Some(message);
        assert!(readable(&store).iter().all(served), "seed {seed}: serves what nobody wrote");
        append(&store, &mut rng, &mut Messages::new());
        while now(block_on(store.commit_once())).expect("a healthy disk") {}
        now(block_on(store.provide_wanted()));
        drop(store);
        now(block_on(Store::open(disk, settings(SEGMENT)))).expect("and again");
    }
}
