//! Counting, tracing, interleaving, and reads and writes without a crash.

use std::{cell::RefCell, io::ErrorKind, rc::Rc};

use fastrand::Rng;

use super::*;

/// Eight concurrent writers and a syncer; returns the trace hash, the order in which the writes returned, and the clock.
fn busy_disk(seed: u64) -> (u64, Vec<u64>, i64) {
    let (disk, log) = disk_with_log(seed, 8);
    let (log, order) = (Rc::new(log), Rc::new(RefCell::new(Vec::new())));
    let mut stepper = Stepper::new();
    for block in 0..8 {
        let (log, order) = (log.clone(), order.clone());
        let buf = filled(&disk, block as u8, 1);
        stepper.spawn(format!("write {block}"), async move {
            log.write_at(buf, block * BLOCK).await.unwrap();
            order.borrow_mut().push(block);
        });
    }
    stepper.spawn("sync", async move { log.sync().await.unwrap() });
    stepper.run_until_idle(&mut Rng::with_seed(seed));
    assert!(stepper.is_finished());
    let bytes = disk.live_bytes(&path("/d/log")).unwrap();
    assert!((0..8).all(|block| bytes[block * BLOCK_BYTES] == block as u8));
    (disk.trace_hash(), order.take(), disk.clock().now())
}

#[test]
fn one_seed_is_one_trace() {
    let all: std::collections::BTreeSet<_> = (0..100).map(busy_disk).collect();
    assert_eq!(all.len(), 100);
    for seed in 0..20 {
        assert_eq!(busy_disk(seed), busy_disk(seed));
    }
}

#[test]
fn concurrent_writes_return_out_of_order() {
    let in_order = (0..100).filter(|seed| busy_disk(*seed).1.is_sorted()).count();
    assert!(in_order < 10, "{in_order}");
}

#[test]
fn the_trace_knows_the_data_and_what_was_read() {
    let trace = |written: u8, flip: bool| {
        let (disk, log) = disk_with_log(1, 1);
        now(log.write_at(filled(&disk, written, 1), 0)).unwrap();
        if flip {
            disk.flip_bit(&path("/d/log"), 99, 1);
        }
        now(log.read_at(0, BLOCK_BYTES)).unwrap();
        disk.trace_hash()
    };
    assert_eq!(trace(1, false), trace(1, false));
    assert_ne!(trace(1, false), trace(2, false));
    assert_ne!(trace(1, false), trace(1, true));
}

#[test]
fn every_call_is_counted_and_logged_on_request() {
    let (disk, log) = disk_with_log(1, 2);
    assert_eq!(disk.calls(), 4);
    disk.keep_log();
    now(log.write_at(filled(&disk, 1, 1), BLOCK)).unwrap();
    now(disk.rename(&path("/d/log"), &path("/d/old"))).unwrap();
    let call = |number, kind, position, bytes| Call {
        number,
        kind,
        path: path("/d/log"),
        position,
        bytes,
    };
    let expected = [call(5, CallKind::Write, BLOCK, BLOCK), call(6, CallKind::Rename, 0, 0)];
    assert_eq!(disk.log(), expected);
}

#[test]
fn every_call_yields_at_least_once() {
    let (disk, log) = disk_with_log(1, 1);
    let mut stepper = Stepper::new();
    let outcome = stepper.spawn("sync", async move { log.sync().await });
    let steps = stepper.run_until_idle(&mut Rng::with_seed(1));
    assert!(outcome.is_ready() && steps >= 2, "{steps}");
    assert_eq!(disk.dropped_calls(), 0);
}

#[test]
fn a_future_dropped_halfway_is_counted() {
    let (disk, log) = disk_with_log(1, 1);
    let buf = filled(&disk, 1, 1);
    let mut stepper = Stepper::new();
    stepper.spawn("write", async move { log.write_at(buf, 0).await });
    stepper.step(&mut Rng::with_seed(1));
    drop(stepper);
    assert_eq!(disk.dropped_calls(), 1);
    assert_eq!(disk.unsynced_writes(&path("/d/log")), 1, "it may still reach the disk");
}

#[test]
fn a_read_beside_a_write_may_see_some_of_its_sectors() {
    let mut mixed = 0;
    for seed in 0..200 {
        let (disk, log) = disk_with_log(seed, 1);
        let log = Rc::new(log);
        let (writer, buf) = (log.clone(), filled(&disk, 1, 1));
        let mut stepper = Stepper::new();
        stepper.spawn("write", async move { writer.write_at(buf, 0).await });
        let read = stepper.spawn("read", async move { log.read_at(0, BLOCK_BYTES).await });
        stepper.run_until_idle(&mut Rng::with_seed(seed));
        let bytes = read.take().unwrap().unwrap();
        mixed += u32::from(bytes.as_ref().contains(&0) && bytes.as_ref().contains(&1));
        let settled = disk.live_bytes(&path("/d/log")).unwrap();
        assert!(settled.iter().all(|b| *b == 1));
    }
    assert!(mixed > 5, "{mixed}");
}

#[test]
fn files_answer_as_direct_io_does() {
    let (disk, log) = disk_with_log(1, 2);
    assert_eq!((log.len(), log.is_empty()), (2 * BLOCK, false));
    assert_eq!(now(log.read_at(0, 2 * BLOCK_BYTES)).unwrap(), filled(&disk, 0, 2));
    let past = now(log.read_at(BLOCK, 2 * BLOCK_BYTES)).unwrap_err();
    assert_eq!(past.kind(), ErrorKind::UnexpectedEof);
    let grown = now(log.write_at(filled(&disk, 1, 2), BLOCK)).unwrap_err();
    assert_eq!(grown.kind(), ErrorKind::InvalidInput);
    let reader = now(disk.open(&path("/d/log"), Open::Read)).unwrap();
    now(reader.write_at(filled(&disk, 1, 1), 0)).unwrap_err();
    assert_eq!(disk.unsynced_writes(&path("/d/log")), 0);
    now(disk.remove(&path("/d/log"))).unwrap();
    now(log.write_at(filled(&disk, 6, 1), 0)).unwrap();
    assert_eq!(now(reader.read_at(0, BLOCK_BYTES)).unwrap(), filled(&disk, 6, 1));
}

#[test]
#[should_panic(expected = "position 512 is not aligned")]
fn an_unaligned_write_is_our_bug() {
    let (disk, log) = disk_with_log(1, 1);
    let _ = now(log.write_at(filled(&disk, 1, 1), 512));
}

#[test]
fn fresh_buffers_do_not_look_like_zeros() {
    let disk = SimDisk::new(1);
    assert!(disk.alloc(BLOCK_BYTES).as_ref().iter().all(|b| *b != 0));
}
