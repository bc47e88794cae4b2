//! Keys are found, newest first, with few reads, among millions and whatever one of them does to the even spread.

use super::*;
use std::collections::BTreeMap;

/// A file of nothing but keys; message lengths do not matter.
fn keys_only(keys: Vec<Key>) -> Model {
    let mut model = Model::new(&mut Rng::with_seed(1), 1, 0);
    model.outline.head.to = SEGMENT + (1 << 32);
    model.outline.head.influenced_by = model.outline.head.to;
    model.keys = keys;
    model.keys.sort();
    model
}

/// The newest positions of a hash.
fn positions(index: &Index<SimDisk>, hash: u32, before: u64, max: usize) -> Vec<u64> {
    let mut found = Vec::new();
    now(index.positions(hash, before, max, &mut found)).expect("whole");
    found
}

fn by_hash(keys: &[Key]) -> BTreeMap<u32, Vec<u64>> {
    let mut found = BTreeMap::<u32, Vec<u64>>::new();
    for key in keys.iter().rev() {
        let positions = found.entry(key.hash).or_default();
        let position = SEGMENT + u64::from(key.at);
        if positions.last() != Some(&position) {
            positions.push(position);
        }
    }
    found
}

#[test]
fn every_key_of_a_small_file_is_found_and_no_other() {
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let count = rng.usize(1..4_000);
        // Few hashes, so that some are shared by more keys than a block has; the first and the last hash there is.
        let hashes = [0, 1, 5, u32::MAX - 1, u32::MAX, rng.u32(..)];
        let random = |rng: &mut Rng| if rng.bool() { rng.u32(..) } else { hashes[rng.usize(0..6)] };
        let key = |_| Key { hash: random(&mut rng), at: rng.u32(0..50_000) };
        let keys = (0..count).map(key).collect::<Vec<_>>();
        let model = keys_only(keys);
        let disk = disk(seed);
        let index = now(model.write(&disk, &sealed())).expect("a healthy disk");
        let known = by_hash(&model.keys);
        let absent = Vec::new();
        let some =
            known.keys().copied().step_by(7).chain(hashes).chain((0..50).map(|_| rng.u32(..)));
        for hash in some.collect::<Vec<_>>() {
            let wanted = known.get(&hash).unwrap_or(&absent);
            assert_eq!(positions(&index, hash, u64::MAX, usize::MAX), *wanted, "seed {seed}");
            let max = rng.usize(0..60);
            let newest = &wanted[..max.min(wanted.len())];
            assert_eq!(positions(&index, hash, u64::MAX, max), newest, "seed {seed}");
            let before = SEGMENT + rng.u64(0..50_000);
            let older = wanted.iter().copied().filter(|position| *position < before);
            let older = older.collect::<Vec<_>>();
            assert_eq!(positions(&index, hash, before, usize::MAX), older, "seed {seed}");
        }
        assert!(positions(&index, 1, SEGMENT, 9).is_empty());
        assert!(positions(&index, 1, 0, 9).is_empty());
    }
}

#[test]
fn one_key_among_millions_takes_few_reads() {
    let mut rng = Rng::with_seed(3);
    let shared = 0x5000_0000;
    // One hash is that of 100,000 messages.
    let hashes = (0..1_900_000).map(|_| rng.u32(..)).chain((0..100_000).map(|_| shared));
    let keys = hashes.collect::<Vec<_>>().into_iter();
    let keys = keys.map(|hash| Key { hash, at: rng.u32(..) }).collect::<Vec<_>>();
    let model = keys_only(keys);
    let disk = disk(1);
    let index = now(model.write(&disk, &sealed())).expect("a healthy disk");
    let known = by_hash(&model.keys);
    let (mut all_reads, mut most, mut shared_most) = (0, 0, 0);
    let present = model.keys.iter().step_by(4_001).map(|key| key.hash).collect::<Vec<_>>();
    let absent = (0..500).map(|_| rng.u32(..)).collect::<Vec<_>>();
    for hash in present.iter().chain(&absent) {
        let before = disk.calls();
        let found = positions(&index, *hash, u64::MAX, 64);
        let wanted = known.get(hash).map_or(&[][..], |all| &all[..all.len().min(64)]);
        assert_eq!(found, wanted);
        let reads = disk.calls() - before;
        if *hash == shared {
            shared_most = reads.max(shared_most);
        } else {
            all_reads += reads;
            most = reads.max(most);
        }
    }
    let searches = (present.len() + absent.len()) as u64;
    println!("{searches} searches, {all_reads} reads, at most {most}, {shared_most} where shared");
    assert!(most <= 12, "{most} reads for one search");
    assert!(shared_most <= 12, "{shared_most} reads for the newest that share a key");
    // The first guess is off by the shared key, the second seldom.
    assert!(all_reads * 10 <= searches * 23, "{all_reads} reads for {searches} searches");
    // Paging through all that share the key.
    let (mut before, mut paged) = (u64::MAX, Vec::new());
    while let page = positions(&index, shared, before, 20_000)
        && !page.is_empty()
    {
        before = page[page.len() - 1];
        paged.extend(page);
    }
    assert_eq!(paged, known[&shared]);
}

#[test]
fn evenly_spread_hashes_take_one_read_mostly() {
    let mut rng = Rng::with_seed(4);
    let keys = (0..1_000_000u32).map(|at| Key { hash: rng.u32(..), at }).collect::<Vec<_>>();
    let model = keys_only(keys);
    let disk = disk(1);
    let index = now(model.write(&disk, &sealed())).expect("a healthy disk");
    let before = disk.calls();
    let hashes = model.keys.iter().step_by(1_001).map(|key| key.hash).collect::<Vec<_>>();
    for hash in &hashes {
        assert!(!positions(&index, *hash, u64::MAX, 64).is_empty());
    }
    let reads = disk.calls() - before;
    println!("{} searches, {reads} reads", hashes.len());
    assert!(reads * 10 <= hashes.len() as u64 * 12);
}

#[test]
fn hashes_that_are_anything_but_even_only_cost_more_reads() {
    let mut rng = Rng::with_seed(5);
    let keys = (0..300_000u32).map(|at| Key { hash: rng.u32(..) >> rng.u32(0..32), at });
    let model = keys_only(keys.collect());
    let disk = disk(1);
    let index = now(model.write(&disk, &sealed())).expect("a healthy disk");
    let known = by_hash(&model.keys);
    for key in model.keys.iter().step_by(997) {
        let before = disk.calls();
        let found = positions(&index, key.hash, u64::MAX, 10);
        let wanted = &known[&key.hash];
        assert_eq!(found, wanted[..wanted.len().min(10)]);
        assert!(disk.calls() - before <= 12);
    }
}
