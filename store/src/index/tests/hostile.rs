//! Any bytes at all behind good checksums: no panic, no endless loop, no memory beyond the size of the file.
//!
//! `RINGMQ_FUZZ_SECONDS=n` lets it run longer, `RINGMQ_FUZZ_SEED` begins elsewhere; a panic names the seed.

use super::{
    block::{PAYLOAD_BYTES, Stamp},
    *,
};
use std::{
    future::ready,
    time::{Duration, Instant},
};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A number that is likely to hurt.
fn sharp(rng: &mut Rng) -> u64 {
    let edges = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 32, u64::MAX / 2, u64::MAX];
    match rng.u8(0..3) {
        0 => edges[rng.usize(0..edges.len())],
        1 => rng.u64(0..300),
        _ => rng.u64(..) >> rng.u32(0..64),
    }
}

/// Changes payloads of some blocks, mostly where there is content.
fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.usize(1..6) {
        let blocks = bytes.len() / BLOCK_BYTES;
        let block = rng.usize(0..blocks);
        let payload = &mut bytes[block * BLOCK_BYTES..][..PAYLOAD_BYTES];
        let within = [160, 1_000, PAYLOAD_BYTES][rng.usize(0..3)];
        let at = rng.usize(0..within - 8);
        match rng.u8(0..8) {
            0 => payload[at] ^= 1 << rng.u8(0..8),
            1 => rng.fill(&mut payload[at..at + 8]),
            2 => payload[at / 4 * 4..][..4].copy_from_slice(&(sharp(rng) as u32).to_be_bytes()),
            3 => payload[at / 4 * 4..][..8].copy_from_slice(&sharp(rng).to_be_bytes()),
            4 => {
                let length = rng.usize(0..200).min(within - at);
                let to = rng.usize(0..=within - length);
                payload.copy_within(at..at + length, to);
            }
            5 => {
                let other = rng.usize(0..blocks) * BLOCK_BYTES;
                bytes.copy_within(other..other + BLOCK_BYTES, block * BLOCK_BYTES);
            }
            6 if blocks > 1 => bytes.truncate((blocks - 1) * BLOCK_BYTES),
            _ => bytes.extend_from_within(block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES),
        }
    }
}

/// Gives every block a good checksum, of the file that the head now says it is.
fn reseal(bytes: &mut [u8]) {
    let number = |at: usize| u64::from_be_bytes(*bytes[at..].first_chunk().expect("a block"));
    let stamp = Stamp { log_id: number(8), from: number(24) };
    for (number, block) in (0..).zip(bytes.chunks_exact_mut(BLOCK_BYTES)) {
        stamp.seal(number, block);
    }
}

/// Everything that can be asked of an index. Answers may be wrong, but must come.
async fn ask(disk: &SimDisk, index: Index<SimDisk>, rng: &mut Rng) {
    let cache = BlockCache::new(8 * BLOCK_BYTES);
    let mut out = Vec::new();
    let mut numbers = vec![0, u32::MAX, rng.u32(..)];
    if let Ok(outline) = index.outline().await {
        numbers.extend(outline.rows.iter().step_by(17).map(|row| row.number));
    }
    numbers.extend((0..20).map(|_| rng.u32(0..400)));
    for number in numbers {
        if let Ok(Some(row)) = index.row(&cache, number).await {
            let offset = rng.i64(row.start()..=row.next);
            let _ = index.entries(&cache, &row, offset, rng.usize(0..5_000), &mut out).await;
        }
    }
    let mut positions = Vec::new();
    for _ in 0..20 {
        let (hash, before) = (sharp(rng) as u32, sharp(rng));
        let _ = index.positions(hash, before, rng.usize(0..2_000), &mut positions).await;
        let _ = index.positions(rng.u32(..), u64::MAX, 100, &mut positions).await;
    }
    let items = index.bytes() as usize;
    assert!(out.len() <= 100_000 && positions.len() <= 40 * items);
    let _ = index.verify().await;
    let path = sealed_path(DIR.as_ref(), index.head().segment);
    let runs = [index];
    if let Ok(merged) = merge(disk, &path, &runs.iter().collect::<Vec<_>>(), || ready(())).await {
        let same = merged.key_count() == runs[0].key_count();
        assert!(same && merged.row_count() == runs[0].row_count());
        merged.verify().await.expect_err_or_whole();
    }
}

trait Whole {
    fn expect_err_or_whole(self);
}

impl Whole for Result<(), IndexError> {
    /// A merge of something wrong may be wrong in the order of a queue's entries, and in nothing else.
    fn expect_err_or_whole(self) {
        if let Err(error) = self {
            assert!(error.to_string().contains("entries of row"), "{error}");
        }
    }
}

/// How many files could be opened: one or none.
fn attempt(bases: &[Vec<u8>], seed: u64) -> u64 {
    let mut rng = Rng::with_seed(seed);
    let disk = disk(seed);
    let mut bytes = bases[rng.usize(0..bases.len())].clone();
    mutate(&mut bytes, &mut rng);
    if rng.u8(0..10) > 0 {
        reseal(&mut bytes);
    }
    // Under such a name positions of the head can be anything.
    match opened(&disk, "hostile", &bytes) {
        Some(index) => {
            now(ask(&disk, index, &mut rng));
            1
        }
        None => 0,
    }
}

/// Writes bytes under a name that says nothing and opens them as what their head says they are.
fn opened(disk: &SimDisk, name: &str, bytes: &[u8]) -> Option<Index<SimDisk>> {
    let path = Path::new(DIR).join(name);
    now(disk.write_file(&path, bytes)).expect("a healthy disk");
    let log_id = u64::from_be_bytes(*bytes[8..].first_chunk().expect("a block"));
    let shard = u16::from_be_bytes([bytes[6], bytes[7]]);
    match now(Index::open(disk, &path, shard, log_id)) {
        Ok(index) => Some(index),
        Err(error) => {
            let newer = matches!(error, IndexError::Newer { .. });
            assert!(error.is_damage() || newer, "{error}");
            None
        }
    }
}

#[test]
fn hostile_runs_are_merged_or_refused() {
    let mut shard = merging::Shard::new(1);
    let bases = [60, 40, 90].map(|queues| {
        let disk = disk(1);
        shard.add_queues(queues);
        let run = shard.run(400);
        let path = run_path(DIR.as_ref(), SEGMENT, run.outline.head.from);
        now(run.write(&disk, &path)).expect("a healthy disk");
        disk.live_bytes(&path).expect("written")
    });
    let merged = rounds(|seed| {
        let (disk, mut rng) = (disk(seed), Rng::with_seed(seed));
        let hostile = rng.usize(0..bases.len());
        let mut runs = Vec::new();
        for (at, base) in bases.iter().enumerate() {
            let mut bytes = base.clone();
            if at == hostile {
                mutate(&mut bytes, &mut rng);
                reseal(&mut bytes);
            }
            runs.extend(opened(&disk, &format!("{at}"), &bytes));
        }
        let follow = |pair: &[Index<SimDisk>]| {
            let (one, next) = (pair[0].head(), pair[1].head());
            one.to == next.from && (one.log_id, one.segment) == (next.log_id, next.segment)
        };
        if runs.len() == bases.len() && runs.windows(2).all(follow) {
            let path = sealed_path(DIR.as_ref(), SEGMENT);
            if let Ok(merged) =
                now(merge(&disk, &path, &runs.iter().collect::<Vec<_>>(), || ready(())))
            {
                now(merged.verify()).expect_err_or_whole();
                return 1;
            }
        }
        0
    });
    assert!(merged > 0, "nothing got as far as a merge");
}

/// Calls `attempt` with seeds until the time is over; returns the sum of what it returns.
fn rounds(attempt: impl Fn(u64) -> u64 + std::panic::RefUnwindSafe) -> u64 {
    let first = number("RINGMQ_FUZZ_SEED").unwrap_or(0);
    let patience = Duration::from_secs(number("RINGMQ_FUZZ_SECONDS").unwrap_or(2));
    let end = Instant::now() + patience;
    let (mut seed, mut sum) = (first, 0);
    while seed == first || Instant::now() < end {
        let result = std::panic::catch_unwind(|| attempt(seed));
        assert!(result.is_ok(), "RINGMQ_FUZZ_SEED={seed}");
        sum += result.unwrap_or(0);
        seed += 1;
    }
    println!("{} seeds, {sum}", seed - first);
    sum
}

#[test]
fn hostile_content_behind_good_checksums_is_survived() {
    let shapes = [(1, 0), (1, 700), (114, 500), (400, 3_000)];
    let bases = shapes.map(|(rows, messages)| {
        let disk = disk(1);
        let mut model = Model::new(&mut Rng::with_seed(u64::from(rows)), rows, messages);
        model.outline.states = states(vec![vec![5; 50], vec![6; 20]]);
        now(model.write(&disk, &sealed())).expect("a healthy disk");
        disk.live_bytes(&sealed()).expect("written")
    });
    let opened = rounds(|seed| attempt(&bases, seed));
    assert!(opened > 0, "nothing got as far as an answer");
}
