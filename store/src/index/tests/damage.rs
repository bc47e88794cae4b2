//! Bits that rot, files that are cut or belong elsewhere: each is noticed by whatever touches it, and no answer is
//! wrong.

use super::*;

fn small() -> (SimDisk, Model) {
    let disk = disk(1);
    let mut model = Model::new(&mut Rng::with_seed(8), 130, 900);
    model.outline.states = states(vec![vec![5; 50], vec![6; 20]]);
    now(model.write(&disk, &sealed())).expect("a healthy disk");
    (disk, model)
}

/// Asks for everything. True when all answers were right, false when damage was reported; a wrong answer panics.
async fn asks(disk: &SimDisk, model: &Model) -> bool {
    let opened = Index::open(disk, &sealed(), SHARD, LOG_ID).await;
    let Some(index) = unless_damaged(opened) else { return false };
    let mut whole = true;
    let outline = model.numbered();
    match unless_damaged(index.outline().await) {
        Some(found) => assert!(found == outline),
        None => whole = false,
    }
    let cache = BlockCache::new(1 << 20);
    for at in [0, 50, 112, 113, 129] {
        let row = outline.rows[at];
        match unless_damaged(index.row(&cache, row.number).await) {
            Some(found) => assert_eq!(found, Some(row)),
            None => whole = false,
        }
        let mut found = Vec::new();
        let read = index.entries(&cache, &row, row.start(), usize::MAX, &mut found).await;
        match unless_damaged(read) {
            Some(()) => assert_eq!(found, model.entries[at]),
            None => whole = false,
        }
    }
    for key in model.keys.iter().step_by(300) {
        let mut found = Vec::new();
        match unless_damaged(index.positions(key.hash, u64::MAX, 9, &mut found).await) {
            Some(()) => assert_eq!(found, [SEGMENT + u64::from(key.at)]),
            None => whole = false,
        }
    }
    index.close().await.expect("a healthy disk");
    whole
}

/// A result, or nothing when it is damage. Any other error is none of this disk's.
fn unless_damaged<T>(result: Result<T, IndexError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(error.is_damage(), "{error}");
            None
        }
    }
}

async fn verified(disk: &SimDisk) -> bool {
    match unless_damaged(Index::open(disk, &sealed(), SHARD, LOG_ID).await) {
        Some(index) => unless_damaged(index.verify().await).is_some(),
        None => false,
    }
}

#[test]
fn every_flipped_bit_is_noticed_and_none_makes_a_wrong_answer() {
    let (disk, model) = small();
    let bytes = disk.live_bytes(&sealed()).expect("written").len() as u64;
    assert!(now(verified(&disk)));
    assert!(now(asks(&disk, &model)));
    let mut rng = Rng::with_seed(1);
    for byte in 0..bytes {
        // A checksum of 32 bits notices each single bit; the positions matter, not which of eight bits it is.
        let bit = rng.u8(0..8);
        assert!(disk.flip_bit(&sealed(), byte, bit));
        assert!(!now(verified(&disk)), "bit {bit} of byte {byte}");
        if byte % 5 == 0 {
            now(asks(&disk, &model));
        }
        assert!(disk.flip_bit(&sealed(), byte, bit));
    }
    assert!(now(asks(&disk, &model)));
}

#[test]
fn damage_says_where_it_is() {
    let (disk, _) = small();
    let index = now(Index::open(&disk, &sealed(), SHARD, LOG_ID)).expect("whole");
    disk.flip_bit(&sealed(), 3 * BLOCK_BYTES as u64 + 17, 1);
    let error = now(index.verify()).expect_err("a flipped bit");
    assert_eq!(error.to_string(), "/log/00000000005368709120.index: block 3 fails its checksum");
    let error = crate::StoreError::from(error).to_string();
    assert!(error.ends_with("block 3 fails its checksum"), "{error}");
}

async fn put(disk: &SimDisk, path: &Path, bytes: &[u8]) {
    disk.write_file(path, bytes).await.expect("a healthy disk");
}

#[test]
fn a_file_that_is_cut_or_grown_is_refused() {
    let (disk, _) = small();
    let bytes = disk.live_bytes(&sealed()).expect("written");
    for length in (0..bytes.len()).step_by(BLOCK_BYTES).chain([1, 100, BLOCK_BYTES + 5]) {
        now(put(&disk, &sealed(), &bytes[..length]));
        assert!(!now(verified(&disk)), "{length} bytes");
    }
    let grown = [&bytes[..], &[0; BLOCK_BYTES]].concat();
    now(put(&disk, &sealed(), &grown));
    assert!(!now(verified(&disk)));
    now(put(&disk, &sealed(), &bytes));
    assert!(now(verified(&disk)));
}

#[test]
fn blocks_that_are_swapped_or_of_another_file_are_noticed() {
    let (disk, _) = small();
    let bytes = disk.live_bytes(&sealed()).expect("written");
    let blocks = bytes.len() / BLOCK_BYTES;
    let block = |at: usize| at * BLOCK_BYTES..(at + 1) * BLOCK_BYTES;
    let mut other = Model::new(&mut Rng::with_seed(8), 130, 900);
    other.outline.head.from += 64;
    other.outline.states = states(vec![vec![5; 50], vec![6; 20]]);
    other.entries.iter_mut().flatten().for_each(|entry| {
        *entry = Entry::new(entry.position().max(SEGMENT + 64), 1, entry.tags_code());
    });
    other.keys.retain(|key| key.at >= 64);
    let path = run_path(DIR.as_ref(), SEGMENT, SEGMENT + 64);
    now(other.write(&disk, &path)).expect("a healthy disk");
    let foreign = disk.live_bytes(&path).expect("written");
    assert_eq!(foreign.len(), bytes.len());
    for at in 0..blocks {
        for source in [&bytes[block((at + 1) % blocks)], &foreign[block(at)]] {
            let mut changed = bytes.clone();
            changed[block(at)].copy_from_slice(source);
            now(put(&disk, &sealed(), &changed));
            assert!(!now(verified(&disk)), "block {at}");
        }
    }
}

#[test]
fn a_file_of_another_log_shard_or_name_is_refused() {
    let (disk, _) = small();
    let refusal = |path: &Path, shard, log_id| {
        let error = now(Index::open(&disk, path, shard, log_id)).err().expect("refused");
        assert!(error.is_damage(), "{error}");
        error.to_string()
    };
    assert!(refusal(&sealed(), SHARD, 7).contains("not of log 0000000000000007"));
    assert!(refusal(&sealed(), 4, LOG_ID).contains("of shard 3, not of log"));
    let bytes = disk.live_bytes(&sealed()).expect("written");
    let dir = DIR.as_ref();
    for path in
        [sealed_path(dir, 0), run_path(dir, SEGMENT, SEGMENT + 1), run_path(dir, 0, SEGMENT)]
    {
        now(put(&disk, &path, &bytes));
        assert!(refusal(&path, SHARD, LOG_ID).contains("which is another file"));
    }
    let missing = now(Index::open(&disk, &sealed_path(dir, 1), SHARD, LOG_ID)).err();
    let missing = missing.expect("there is none");
    assert!(
        matches!(missing, IndexError::Io { source, .. } if source.kind() == ErrorKind::NotFound)
    );
}

#[test]
fn what_a_newer_broker_wrote_is_no_damage() {
    let (disk, _) = small();
    let bytes = disk.live_bytes(&sealed()).expect("written");
    let refused = |at: usize, number: u16| {
        let mut changed = bytes.clone();
        changed[at..at + 2].copy_from_slice(&number.to_be_bytes());
        let stamp = block::Stamp { log_id: LOG_ID, from: SEGMENT };
        stamp.seal(0, &mut changed[..BLOCK_BYTES]);
        now(put(&disk, &sealed(), &changed));
        now(Index::open(&disk, &sealed(), SHARD, LOG_ID)).err().expect("refused")
    };
    for (at, number, what) in [(4, VERSION + 1, "version 3"), (96 + 3 * 16, 999, "kind 999")] {
        let error = refused(at, number);
        assert!(matches!(error, IndexError::Newer { .. }), "{error}");
        assert!(error.to_string().contains(what), "{error}");
        let error = crate::StoreError::from(error).to_string();
        assert!(error.contains("a newer version of RingMQ wrote it"), "{error}");
    }
    assert!(refused(4, VERSION - 1).is_damage(), "no store of this format has an older one");
    assert!(refused(96, 2).is_damage(), "a kind that is there twice");
}

#[test]
fn a_disk_that_cannot_read_is_no_damage() {
    let (disk, _) = small();
    let index = now(Index::open(&disk, &sealed(), SHARD, LOG_ID)).expect("whole");
    disk.fail_always(FaultClass::Read, ErrorKind::Other);
    let error = now(index.verify()).expect_err("the disk fails");
    assert!(!error.is_damage() && error.to_string().starts_with("read /log/"), "{error}");
}
