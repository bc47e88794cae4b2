//! Content across power cuts.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::*;

#[test]
fn what_was_synced_survives_every_crash() {
    let (disk, log) = disk_with_log(1, 4);
    now(log.write_at(filled(&disk, 1, 3), 0)).unwrap();
    now(log.sync()).unwrap();
    now(log.write_at(filled(&disk, 2, 1), 3 * BLOCK)).unwrap();
    for seed in 0..SEEDS {
        let bytes = log_after_crash(&disk, seed);
        assert_eq!(bytes.len() as u64, 4 * BLOCK);
        assert!(bytes[..3 * BLOCK_BYTES].iter().all(|b| *b == 1), "seed {seed}");
    }
    let durable = disk.durable_bytes(&path("/d/log")).unwrap();
    assert!(durable[3 * BLOCK_BYTES..].iter().all(|b| *b == 0));
    assert_eq!(disk.unsynced_writes(&path("/d/log")), 1);
}

#[test]
fn a_durable_write_survives_every_crash_and_takes_no_other_write_along() {
    let (disk, log) = disk_with_log(1, 4);
    now(log.write_at(filled(&disk, 1, 2), 0)).unwrap();
    now(log.write_durably(filled(&disk, 2, 2), BLOCK)).unwrap();
    now(log.write_at(filled(&disk, 3, 1), 3 * BLOCK)).unwrap();
    let (mut first_lost, mut first_kept) = (0, 0);
    for seed in 0..SEEDS {
        let bytes = log_after_crash(&disk, seed);
        // Neither lost, nor covered by what is older.
        let durable = &bytes[BLOCK_BYTES..3 * BLOCK_BYTES];
        assert!(durable.iter().all(|b| *b == 2), "seed {seed}");
        first_lost += u64::from(bytes[..BLOCK_BYTES].iter().all(|b| *b == 0));
        first_kept += u64::from(bytes[..BLOCK_BYTES].iter().all(|b| *b == 1));
    }
    assert!(first_lost > SEEDS / 40 && first_kept > SEEDS / 40, "{first_lost}, {first_kept}");
    assert_eq!(disk.unsynced_writes(&path("/d/log")), 2);
    now(log.sync()).unwrap();
    let durable = disk.durable_bytes(&path("/d/log")).unwrap();
    let expected: Vec<u8> = [1, 2, 2, 3].iter().flat_map(|byte| [*byte; BLOCK_BYTES]).collect();
    assert_eq!(durable, expected);
}

#[test]
fn an_unsynced_write_is_lost_whole_or_torn_at_sectors_and_blocks() {
    let (disk, log) = disk_with_log(1, 2);
    now(log.write_at(filled(&disk, 7, 2), 0)).unwrap();
    let (mut lost, mut whole, mut sectors, mut blocks) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let bytes = log_after_crash(&disk, seed);
        let parts = bytes.chunks(512);
        assert!(parts.clone().all(|part| part.iter().all(|b| *b == part[0])));
        let new_sectors = parts.filter(|part| part[0] == 7).count();
        let whole_blocks = bytes.chunks(BLOCK_BYTES).all(|b| b.iter().all(|x| *x == b[0]));
        match new_sectors {
            0 => lost += 1,
            16 => whole += 1,
            _ if whole_blocks => blocks += 1,
            _ => sectors += 1,
        }
    }
    for (fate, count) in
        [("lost", lost), ("whole", whole), ("sectors", sectors), ("blocks", blocks)]
    {
        assert!(count > SEEDS / 40, "{fate} only {count} times");
    }
}

#[test]
fn unsynced_writes_survive_in_any_order_and_also_exactly_in_order() {
    let (disk, log) = disk_with_log(1, 3);
    for block in 0..3 {
        now(log.write_at(filled(&disk, 9, 1), block * BLOCK)).unwrap();
    }
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let bytes = log_after_crash(&disk, seed);
        let whole = bytes.chunks(BLOCK_BYTES).map(|b| b.iter().all(|x| *x == 9));
        seen.insert(whole.collect::<Vec<_>>());
    }
    assert_eq!(seen.len(), 8, "every subset: {seen:?}");
}

#[test]
fn a_rewritten_block_holds_old_or_new_sectors_and_never_others() {
    let (disk, log) = disk_with_log(1, 1);
    now(log.write_at(filled(&disk, 1, 1), 0)).unwrap();
    now(log.sync()).unwrap();
    now(log.write_at(filled(&disk, 2, 1), 0)).unwrap();
    now(log.write_at(filled(&disk, 3, 1), 0)).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        seen.extend(log_after_crash(&disk, seed));
    }
    assert_eq!(seen, BTreeSet::from([1, 2, 3]));
}

#[test]
fn a_sync_covers_what_returned_before_it_was_called_and_no_more() {
    let (mut in_flight_lost, mut in_flight_kept) = (0, 0);
    for seed in 0..SEEDS {
        let (disk, log) = disk_with_log(seed, 2);
        let mut rng = Rng::with_seed(seed);
        let log = std::rc::Rc::new(log);
        now(log.write_at(filled(&disk, 1, 1), 0)).unwrap();
        let mut stepper = Stepper::new();
        let (writer, syncer) = (log.clone(), log.clone());
        let late = filled(&disk, 2, 1);
        stepper.spawn("write", async move { writer.write_at(late, BLOCK).await });
        let synced = stepper.spawn("sync", async move { syncer.sync().await });
        stepper.run_until(&mut rng, || synced.is_ready());
        let bytes = log_after_crash(&disk, seed);
        assert!(bytes[..BLOCK_BYTES].iter().all(|b| *b == 1));
        in_flight_lost += u32::from(bytes[BLOCK_BYTES..].iter().all(|b| *b == 0));
        in_flight_kept += u32::from(bytes[BLOCK_BYTES..].iter().all(|b| *b == 2));
    }
    assert!(in_flight_lost > 20 && in_flight_kept > 20, "{in_flight_lost} {in_flight_kept}");
}

#[test]
fn a_length_is_durable_after_the_sync_of_the_file() {
    let disk = SimDisk::new(1);
    let name = path("/new");
    let file = now(disk.open(&name, Open::Create { bytes: 4 * BLOCK })).unwrap();
    now(disk.sync_dir(Path::new("/"))).unwrap();
    let length = |seed| disk.after_crash(seed).live_bytes(&name).unwrap().len() as u64;
    let lengths: BTreeSet<u64> = (0..SEEDS).map(length).collect();
    assert_eq!(lengths, (0..=4).map(|blocks| blocks * BLOCK).collect());
    assert_eq!(disk.durable_bytes(&name), Some(vec![]));
    now(file.sync()).unwrap();
    assert!((0..SEEDS).all(|seed| length(seed) == 4 * BLOCK));
}

#[test]
fn the_call_that_the_crash_hits_may_reach_the_disk_and_later_ones_never_do() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..SEEDS {
        let (disk, log) = disk_with_log(seed, 2);
        disk.crash_after(1);
        now(log.write_at(filled(&disk, 1, 1), 0)).unwrap();
        assert!(!disk.crashed());
        assert_eq!(block_on(log.write_at(filled(&disk, 2, 1), 0)).map(|_| ()), None);
        assert!(disk.crashed());
        let calls = disk.calls();
        assert_eq!(block_on(log.write_at(filled(&disk, 3, 1), BLOCK)).map(|_| ()), None);
        assert_eq!(block_on(log.sync()).map(|_| ()), None);
        assert_eq!(block_on(disk.list(Path::new("/d"))).map(|_| ()), None);
        assert_eq!((disk.calls(), disk.dropped_calls()), (calls, 0));
        let bytes = log_after_crash(&disk, seed);
        assert!(bytes[BLOCK_BYTES..].iter().all(|b| *b == 0));
        kept += u32::from(bytes[..BLOCK_BYTES].contains(&2));
        lost += u32::from(!bytes[..BLOCK_BYTES].contains(&2));
    }
    assert!(kept > 50 && lost > 50, "{kept} {lost}");
}

#[test]
fn calls_in_flight_at_the_crash_never_return() {
    let (disk, log) = disk_with_log(3, 1);
    let buf = filled(&disk, 1, 1);
    let mut stepper = Stepper::new();
    stepper.spawn("write", async move { log.write_at(buf, 0).await });
    let mut rng = Rng::with_seed(1);
    stepper.step(&mut rng);
    disk.crash();
    stepper.run_until_idle(&mut rng);
    assert!(stepper.is_stuck());
}

#[test]
fn after_a_crash_the_survivors_are_durable_and_the_books_are_empty() {
    let (disk, log) = disk_with_log(1, 4);
    now(log.write_at(filled(&disk, 5, 4), 0)).unwrap();
    disk.fail_read(1, std::io::ErrorKind::Other);
    disk.full_after(0);
    for seed in 0..50 {
        let boot = disk.after_crash(seed);
        assert_eq!((boot.calls(), boot.crashed(), boot.free_bytes() > BLOCK), (0, false, true));
        let found = boot.live_bytes(&path("/d/log")).unwrap();
        let file = now(boot.open(&path("/d/log"), Open::Read)).unwrap();
        assert_eq!(now(file.read_at(0, 4 * BLOCK_BYTES)).unwrap().as_ref(), found);
        for again in 0..5 {
            assert_eq!(log_after_crash(&boot, again), found);
        }
    }
    assert_eq!(log_after_crash(&disk, 8), log_after_crash(&disk, 8));
}

#[test]
fn a_snapshot_is_a_disk_of_its_own() {
    let (disk, log) = disk_with_log(1, 2);
    now(log.write_at(filled(&disk, 1, 1), 0)).unwrap();
    let snapshot = disk.snapshot();
    now(log.write_at(filled(&disk, 2, 2), 0)).unwrap();
    now(log.sync()).unwrap();
    disk.clock().jump(5_000);
    for _ in 0..2 {
        let copy = SimDisk::restore(&snapshot);
        assert_eq!(copy.calls() + 2, disk.calls());
        assert!(copy.clock().now() < disk.clock().now() - 4_000);
        assert_eq!(copy.unsynced_writes(&path("/d/log")), 1);
        let file = now(copy.open(&path("/d/log"), Open::ReadWrite)).unwrap();
        assert_eq!(now(file.read_at(0, BLOCK_BYTES)).unwrap(), filled(&copy, 1, 1));
        now(file.write_at(filled(&copy, 3, 1), 0)).unwrap();
    }
    assert_eq!(now(log.read_at(0, 2 * BLOCK_BYTES)).unwrap(), filled(&disk, 2, 2));
}
