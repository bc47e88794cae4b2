//! Injected faults, and that a lying disk is found out.

use std::io::ErrorKind;

use super::*;

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn the_nth_call_of_a_class_fails_once() {
    let (disk, log) = disk_with_log(1, 1);
    disk.fail_write(2, ErrorKind::Other);
    disk.fail_read(1, ErrorKind::TimedOut);
    disk.fail(FaultClass::Name, 1, ErrorKind::PermissionDenied);
    let write = || now(log.write_at(filled(&disk, 1, 1), 0));
    assert_eq!([kind(write()), kind(write()), kind(write())], [None, Some(ErrorKind::Other), None]);
    let read = || now(log.read_at(0, BLOCK_BYTES));
    assert_eq!([kind(read()), kind(read())], [Some(ErrorKind::TimedOut), None]);
    let remove = || now(disk.remove(&path("/d/log")));
    assert_eq!([kind(remove()), kind(remove())], [Some(ErrorKind::PermissionDenied), None]);
}

#[test]
fn a_broken_class_fails_until_healed() {
    let (disk, log) = disk_with_log(1, 1);
    disk.fail_always(FaultClass::Sync, ErrorKind::Other);
    for _ in 0..3 {
        let error = now(log.sync()).unwrap_err();
        assert!(error.to_string().contains("/d/log"), "{error}");
    }
    assert_eq!(kind(now(disk.sync_dir(Path::new("/d")))), Some(ErrorKind::Other));
    disk.heal();
    assert_eq!(kind(now(log.sync())), None);
}

#[test]
fn a_failed_write_may_have_reached_some_sectors() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let (disk, log) = disk_with_log(seed, 1);
        disk.fail_write(1, ErrorKind::Other);
        now(log.write_at(filled(&disk, 1, 1), 0)).unwrap_err();
        let bytes = now(log.read_at(0, BLOCK_BYTES)).unwrap();
        seen.insert(bytes.as_ref().iter().filter(|b| **b == 1).count());
    }
    assert!(seen.contains(&0) && seen.len() > 3, "{seen:?}");
}

#[test]
fn a_sync_after_a_failed_one_does_not_make_up_for_it() {
    let mut lost = 0;
    for seed in 0..SEEDS {
        let (disk, log) = disk_with_log(seed, 2);
        now(log.write_at(filled(&disk, 1, 1), 0)).unwrap();
        disk.fail_sync(1, ErrorKind::Other);
        now(log.sync()).unwrap_err();
        now(log.sync()).unwrap();
        lost += u32::from(log_after_crash(&disk, seed)[..BLOCK_BYTES].contains(&0));
        // A new write of the same block and a sync without failure are safe, whatever became of the first write.
        now(log.write_at(filled(&disk, 2, 1), 0)).unwrap();
        now(log.sync()).unwrap();
        for crash in 0..5 {
            assert!(log_after_crash(&disk, crash)[..BLOCK_BYTES].iter().all(|b| *b == 2));
        }
    }
    assert!(lost > 50, "{lost}");
}

#[test]
fn a_full_disk_refuses_new_bytes_and_takes_them_after_a_removal() {
    let (disk, log) = disk_with_log(1, 4);
    disk.full_after(2 * BLOCK);
    assert_eq!((disk.used_bytes(), disk.free_bytes()), (4 * BLOCK, 2 * BLOCK));
    let create = |blocks: u64| {
        let name = path(&format!("/d/{blocks}"));
        kind(now(disk.open(&name, Open::Create { bytes: blocks * BLOCK })))
    };
    assert_eq!(create(3), Some(ErrorKind::StorageFull));
    assert_eq!(create(2), None);
    assert_eq!(disk.files().len(), 2, "a failed creation leaves nothing");
    let written = now(disk.write_file(&path("/d/conf"), b"some text"));
    assert_eq!(kind(written), Some(ErrorKind::StorageFull));
    assert_eq!(kind(now(log.write_at(filled(&disk, 1, 4), 0))), None, "existing space is ours");
    now(log.close()).unwrap();
    now(disk.remove(&path("/d/log"))).unwrap();
    assert_eq!(create(3), None);
    assert_eq!(kind(now(disk.write_file(&path("/d/conf"), b"some text"))), None);
}

#[test]
fn a_failed_write_file_keeps_nothing_safe_but_the_old_content_may_come_back() {
    let disk = SimDisk::new(1);
    let name = path("/conf");
    now(disk.write_file(&name, b"old")).unwrap();
    now(disk.sync_dir(Path::new("/"))).unwrap();
    disk.fail_write(1, ErrorKind::Other);
    now(disk.write_file(&name, b"brand new")).unwrap_err();
    assert!(b"brand new".starts_with(&now(disk.read_file(&name)).unwrap()));
    assert!((0..50).any(|seed| disk.after_crash(seed).live_bytes(&name).unwrap() == b"old"));
    now(disk.write_file(&name, b"third")).unwrap();
    assert!((0..50).all(|seed| disk.after_crash(seed).live_bytes(&name).unwrap() == b"third"));
}

#[test]
fn a_flipped_bit_is_seen_and_stays() {
    let (disk, log) = disk_with_log(1, 2);
    now(log.write_at(filled(&disk, 0, 2), 0)).unwrap();
    now(log.sync()).unwrap();
    assert!(disk.flip_bit(&path("/d/log"), 4097, 7));
    assert!(!disk.flip_bit(&path("/d/log"), 2 * BLOCK, 0));
    assert!(!disk.flip_bit(&path("/d/other"), 0, 0));
    assert_eq!(now(log.read_at(BLOCK, BLOCK_BYTES)).unwrap().as_ref()[1], 0x80);
    assert_eq!(log_after_crash(&disk, 1)[4097], 0x80);
}

#[test]
fn a_lying_disk_loses_what_was_synced() {
    let lost = |lies| {
        let (disk, log) = disk_with_log(1, 1);
        disk.lie(lies);
        now(log.write_at(filled(&disk, 1, 1), 0)).unwrap();
        now(log.sync()).unwrap();
        now(disk.write_file(&path("/d/conf"), b"text")).unwrap();
        now(disk.sync_dir(Path::new("/d"))).unwrap();
        let boots: Vec<SimDisk> = (0..SEEDS).map(|seed| disk.after_crash(seed)).collect();
        let conf = |boot: &SimDisk| boot.live_bytes(&path("/d/conf"));
        let log = boots.iter().any(|b| b.live_bytes(&path("/d/log")).unwrap().contains(&0));
        let text = boots.iter().any(|boot| conf(boot).is_some_and(|bytes| bytes != b"text"));
        let name = boots.iter().any(|boot| conf(boot).is_none());
        (log, text, name)
    };
    assert_eq!(lost(Lies::None), (false, false, false));
    assert_eq!(lost(Lies::Syncs), (true, true, false));
    assert_eq!(lost(Lies::DirectorySyncs), (false, false, true));
    assert_eq!(lost(Lies::All), (true, true, true));
}

#[test]
fn a_slow_disk_takes_longer() {
    let elapsed = |factor| {
        let (disk, log) = disk_with_log(1, 1);
        disk.slow_down(factor);
        let before = disk.clock().uptime_micros();
        for _ in 0..50 {
            now(log.sync()).unwrap();
        }
        disk.clock().uptime_micros() - before
    };
    assert!(elapsed(1) > 50 * 80);
    assert_eq!(elapsed(10), 10 * elapsed(1));
}

#[test]
fn an_unreadable_block_fails_for_ever_until_it_is_written_durably() {
    for seed in 0..20 {
        let (disk, _) = disk_with_log(seed, 4);
        let name = Path::new("/d/log");
        let read = |disk: &SimDisk, at: u64, blocks: usize| {
            now(async {
                let file = disk.open(name, Open::ReadWrite).await?;
                file.read_at(at * BLOCK, blocks * BLOCK_BYTES).await.map(drop)
            })
        };
        let write = |disk: &SimDisk, sync: bool| {
            now(async {
                let file = disk.open(name, Open::ReadWrite).await?;
                let mut block = disk.alloc(BLOCK_BYTES);
                block.as_mut().fill(9);
                file.write_at(block, 2 * BLOCK).await?;
                if sync { file.sync().await } else { Ok(()) }
            })
            .expect("healthy");
        };
        assert!(disk.spoil_block(name, 2 * BLOCK + 77) && !disk.spoil_block(name, 4 * BLOCK));
        let disk = disk.after_crash(seed);
        let error = read(&disk, 1, 2).expect_err("half of it is unreadable");
        assert!(crate::is_unreadable(&error), "{error}");
        assert!(read(&disk, 0, 2).is_ok() && read(&disk, 3, 1).is_ok());
        write(&disk, false);
        assert!(read(&disk, 0, 4).is_ok());
        write(&disk, true);
        assert!(read(&disk.after_crash(seed), 0, 4).is_ok());
    }
}
