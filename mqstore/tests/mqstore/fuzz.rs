//! Segments, index files and tables with bytes changed at will: no panic, no endless loop, no exit code but 0, 1, 2.

use crate::written::{files, restore, written};
use fastrand::Rng;
use mqstore::{DataDir, Filter, Findings, Progress, dump, repair, stat, verify};
use std::{collections::BTreeMap, fs, path::PathBuf};

const ROUNDS: u64 = 60;

fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    if bytes.is_empty() {
        return;
    }
    let from = rng.usize(0..bytes.len());
    let longest = [1, 8, 100, 5_000][rng.usize(0..4)];
    let to = (from + rng.usize(1..=longest)).min(bytes.len());
    match rng.u8(0..6) {
        0 | 1 => bytes[from] ^= 1 << rng.u8(0..8),
        2 => rng.fill(&mut bytes[from..to]),
        3 => bytes[from..to].fill(0),
        4 => {
            let source = rng.usize(0..=bytes.len() - (to - from));
            bytes.copy_within(source..source + (to - from), from);
        }
        _ => bytes.truncate(from),
    }
}

fn spoil(before: &BTreeMap<PathBuf, Vec<u8>>, rng: &mut Rng) {
    let paths: Vec<&PathBuf> = before.keys().collect();
    for _ in 0..rng.usize(1..6) {
        let path = paths[rng.usize(0..paths.len())];
        let Ok(mut bytes) = fs::read(path) else { continue };
        if rng.u8(0..12) == 0 {
            fs::remove_file(path).expect("ours");
            continue;
        }
        (0..rng.usize(1..6)).for_each(|_| mutate(&mut bytes, rng));
        fs::write(path, bytes).expect("room");
    }
}

#[test]
fn any_bytes_at_all_are_looked_at() {
    let (root, _) = written();
    let root = root.path();
    let before = files(root);
    for seed in 0..ROUNDS {
        let mut rng = Rng::with_seed(seed);
        spoil(&before, &mut rng);
        // What cannot be looked at says so; anything but a panic is an answer.
        let _ = verify(root, None, None, &Progress::silent());
        let mut findings = Findings::default();
        if let Ok(dir) = DataDir::open(root, None, None, &mut findings) {
            let _ = stat(&dir, &mut findings);
            let _ = dump(&dir, &Filter::default(), &mut std::io::sink(), &mut findings);
        }
        if seed % 4 == 0 {
            let _ = repair(root, None, None, &Progress::silent);
        }
        restore(root, &before);
    }
    let verified = verify(root, None, None, &Progress::silent()).expect("looked at");
    assert!(verified.is_clean(), "restored: {verified}");
}
