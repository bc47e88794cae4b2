//! Appending, epochs, groups, the gate, and what follows a leader.

use super::*;

const SEGMENT: u64 = 1 << 16;

fn log(position: u64) -> CommitLog {
    let mut log = log_without_room(position, Layout::even(SEGMENT));
    log.extend_room(16 * SEGMENT);
    log
}

/// A log with the segment that it goes on in, and no other.
fn log_without_room(position: u64, layout: Layout) -> CommitLog {
    let shape = Shape {
        shard: 1,
        log_id: 7,
        writer: 70,
        layout,
        inflight_bytes_max: 100_000,
        entry_bytes_max: 16_384,
    };
    let from = Resume { position, tail: &[], committed: position, epoch: 2, leads: true };
    CommitLog::resume(shape, TailRing::new(1 << 18, 16_384), from)
}

fn append(log: &mut CommitLog, bytes: usize) -> u64 {
    log.append(bytes, 5, |position, slot| slot.fill(position as u8))
}

const ALONE: CommitRule = CommitRule { stored: Stored::Flushed, limit: CommitRule::ALONE };

/// Commits everything; returns the writes.
fn drain(log: &mut CommitLog) -> Vec<Write> {
    let mut writes = Vec::new();
    while let Some(write) = log.take_write() {
        log.written(&write, true);
        assert!(log.advance(ALONE));
        writes.push(write);
    }
    writes
}

#[test]
fn entries_that_arrive_during_a_write_share_the_next_one() {
    let mut log = log(0);
    assert_eq!(append(&mut log, 100), 64);
    let first = log.take_write().expect("an open batch");
    assert_eq!(append(&mut log, 100), 164 + 64);
    assert_eq!(append(&mut log, 100), 328);
    assert_eq!((log.committed(), log.appended()), (0, 428));
    log.written(&first, true);
    assert_eq!((log.committed(), log.flushed()), (0, 164));
    assert!(log.advance(ALONE));
    assert_eq!(log.committed(), 164);
    let second = Write { segment: 0, from: 164, to: 428 };
    assert_eq!(drain(&mut log), [second]);
    assert_eq!(log.take_write(), None);
    assert_eq!((second.file_position(), second.bytes()), (0, 4096));

    let mut blocks = vec![9; 4096];
    log.copy_blocks(&second, &mut blocks);
    let header = Header::decode(&blocks[164..], 164, 7).expect("the second batch");
    assert_eq!((header.entry_count, header.durable_until), (2, 164));
    assert!(Header::decode(&blocks, 0, 7).is_ok(), "the first block repeats what was there");
    assert_eq!(blocks[428..], [0; 4096 - 428]);
}

#[test]
fn a_full_batch_is_closed_and_closed_batches_go_out_together() {
    let mut log = log(0);
    let limit = log.shape().payload_bytes_max();
    assert_eq!(limit, 4096);
    let mut ends = Vec::new();
    for _ in 0..3 {
        append(&mut log, 3_000);
        ends.push(log.appended());
    }
    assert_eq!(ends, [3_064, 6_128, 9_192]);
    assert_eq!(drain(&mut log).len(), 2, "what is closed first, then the open one");
    append(&mut log, 10_000);
    assert_eq!(log.appended(), 9_192 + 64 + 10_000, "a single large entry is a batch");
}

#[test]
fn a_segment_ends_with_a_mark_that_always_fits() {
    for last in 1..300 {
        let mut log = log(0);
        while log.appended() + 16_384 + 300 < SEGMENT {
            append(&mut log, 16_000);
            drain(&mut log);
        }
        let left = (SEGMENT - log.appended()) as usize;
        append(&mut log, left.saturating_sub(last).clamp(1, 16_384));
        let next = append(&mut log, 1_000);
        let writes = drain(&mut log);
        assert!(writes.iter().all(|write| write.to <= write.segment + SEGMENT));
        if next > SEGMENT {
            assert!(next >= SEGMENT + 64);
            let end = writes.iter().find(|write| write.segment == 0).expect("the mark");
            let mut blocks = vec![0; end.bytes()];
            log.copy_blocks(end, &mut blocks);
            let at = (end.to - 64 - end.block_start()) as usize;
            let mark = Header::decode(&blocks[at..], end.to - 64, 7).expect("the mark");
            assert_eq!(mark.kind, Kind::SegmentEnd);
        }
        assert_eq!(log.committed(), log.appended());
    }
}

#[test]
fn what_waits_for_the_disk_is_bounded_and_a_poisoned_log_takes_nothing() {
    let mut log = log(0);
    assert!(matches!(log.admit(20_000, 20_000), Err(Refused::TooLarge { .. })));
    assert!(matches!(log.admit(1 << 30, 10), Err(Refused::TooLarge { .. })));
    let mut count = 0;
    while log.admit(16_384, 16_384).is_ok() {
        append(&mut log, 16_384);
        count += 1;
    }
    assert!((3..8).contains(&count));
    assert!(matches!(log.admit(16_384, 16_384), Err(Refused::Busy { shard: 1, .. })));
    let writes = drain(&mut log);
    assert!(writes.windows(2).all(|pair| pair[0].segment <= pair[1].segment));
    log.admit(16_384, 16_384).expect("room again");
    log.poison("no sync".into());
    log.poison("later".into());
    assert_eq!(log.admit(1, 1), Err(Refused::Poisoned { shard: 1, reason: "no sync".into() }));
}

#[test]
fn a_log_resumes_within_a_block() {
    let shape = *log(0).shape();
    let ring = TailRing::new(1 << 18, 16_384);
    let (position, tail) = (4_096 + 10, b"0123456789".as_slice());
    let from = Resume { position, tail, committed: position, epoch: 2, leads: true };
    let mut log = CommitLog::resume(shape, ring, from);
    append(&mut log, 10);
    let write = log.take_write().expect("a write");
    let mut blocks = vec![0; write.bytes()];
    log.copy_blocks(&write, &mut blocks);
    assert_eq!((write.file_position(), &blocks[..10]), (4_096, b"0123456789".as_slice()));
}

#[test]
fn the_gate_moves_by_its_rule_and_never_back() {
    let mut log = log(0);
    append(&mut log, 100);
    let write = log.take_write().expect("a write");
    log.written(&write, false);
    let rule = |stored, limit| CommitRule { stored, limit };
    assert!(!log.advance(ALONE), "written is not flushed");
    assert!(!log.advance(rule(Stored::Written, 0)), "no replica has it");
    assert!(log.advance(rule(Stored::Written, 100)));
    assert_eq!((log.written_until(), log.flushed(), log.committed()), (164, 0, 100));
    log.synced(write.to);
    assert!(log.advance(rule(Stored::Flushed, 150)));
    assert!(!log.advance(rule(Stored::Flushed, 7)));
    assert_eq!(log.committed(), 150);
    assert!(log.advance(ALONE));
    assert_eq!(log.committed(), 164);
}

#[test]
fn a_group_lies_in_one_batch_whatever_is_open() {
    let mut log = log(0);
    let limit = log.shape().payload_bytes_max();
    append(&mut log, 3_000);
    for (parts, total) in [([1_000, 500], 1_500), ([4_000, 3_000], 7_000)] {
        log.admit_group(total).expect("room");
        log.begin_group(total, 5);
        let first = append(&mut log, parts[0]);
        assert_eq!(append(&mut log, parts[1]), first + parts[0] as u64, "no header between");
    }
    assert!(7_000 > limit);
    let lonely = append(&mut log, 100);
    drain(&mut log);
    let mut blocks = vec![0; lonely as usize];
    log.ring().copy_to(0, &mut blocks);
    let mut at = 0;
    let mut counts = Vec::new();
    while at + 64 < lonely {
        let header = Header::decode(&blocks[at as usize..], at, 7).expect("a batch");
        counts.push(header.entry_count);
        at = header.end();
    }
    assert_eq!(counts, [1, 2, 2], "and what follows a large one is a batch of its own");
    assert!(matches!(log.admit_group(20_000), Err(Refused::TooLarge { .. })));
}

#[test]
fn an_epoch_begins_with_its_start_batch_behind_what_was_open() {
    let mut log = log(0);
    append(&mut log, 100);
    let begun = log.begin_epoch(7, 9);
    assert_eq!(begun, EpochStart { epoch: 7, start: 164, writer: 70 });
    append(&mut log, 10);
    drain(&mut log);
    let mut bytes = vec![0; log.appended() as usize];
    log.ring().copy_to(0, &mut bytes);
    let header = |at: u64| Header::decode(&bytes[at as usize..], at, 7).expect("a batch");
    let start = header(164);
    assert_eq!((header(0).epoch, start.epoch, header(start.end()).epoch), (2, 7, 7));
    let payload = &bytes[164 + HEADER_BYTES..start.end() as usize];
    assert_eq!(EpochStart::of_batch(&start, payload), Some(begun));
    assert_eq!(EpochStart::of_batch(&header(0), &bytes[64..164]), None);
}

fn write_all(log: &mut CommitLog) {
    while let Some(write) = log.take_write() {
        log.written(&write, true);
    }
}

#[test]
fn a_log_that_follows_takes_batches_as_they_are_and_nothing_else() {
    let mut leader = log(0);
    let from = Resume { position: 0, tail: &[], committed: 0, epoch: 2, leads: false };
    let mut follower = CommitLog::resume(*leader.shape(), TailRing::new(1 << 16, 16_384), from);
    assert_eq!(follower.admit(1, 1), Err(Refused::Replica { shard: 1 }));
    let mut busy = 0;
    while leader.appended() < 3 * SEGMENT {
        append(&mut leader, 5_000);
        append(&mut leader, 70);
        drain(&mut leader);
        let from = follower.appended();
        let batches = leader.cached_batches(from, 1 << 20).expect("in the ring");
        let bytes = [batches.bytes.0, batches.bytes.1].concat();
        let mut at = 0;
        while at < bytes.len() {
            let header = Header::decode(&bytes[at..], follower.appended(), 7).expect("a batch");
            let whole = HEADER_BYTES + header.payload_bytes as usize;
            if !follower.fits_batch(&header).expect("possible") {
                busy += 1;
                write_all(&mut follower);
                let end = follower.segment_of(follower.appended()) + SEGMENT;
                follower.extend_room(end);
                continue;
            }
            follower.append_batch(&header, &bytes[at..at + whole]);
            at += whole;
        }
        assert_eq!(follower.appended(), batches.next);
        write_all(&mut follower);
        assert_eq!(follower.committed(), 0);
    }
    assert!(busy > 0, "it waits for the disk and for its next segment");
}

#[test]
fn an_entry_steps_over_segments_that_are_too_small_for_it() {
    let layout = Layout::new(SEGMENT / 8, SEGMENT).expect("doubled three times");
    let mut log = log_without_room(0, layout);
    log.extend_room(SEGMENT);
    append(&mut log, 100);
    let busy = log.admit(16_384, 16_384);
    assert!(matches!(busy, Err(Refused::Busy { inflight: 164, .. })), "what waits stays in memory");
    drain(&mut log);
    assert_eq!(log.admit(16_384, 16_384), Ok(()));
    assert_eq!(append(&mut log, 16_384), 32_768 + 64);
    let writes = drain(&mut log);
    let places: Vec<(u64, u64)> = writes.iter().map(|write| (write.segment, write.from)).collect();
    assert_eq!(places, [(0, 164), (8_192, 8_192), (16_384, 16_384), (32_768, 32_768)]);
    for write in &writes[..3] {
        let mut blocks = vec![9; write.bytes()];
        log.copy_blocks(write, &mut blocks);
        let mark = &blocks[(write.from - write.block_start()) as usize..];
        assert_eq!(Header::decode(mark, write.from, 7).expect("a mark").kind, Kind::SegmentEnd);
    }
}

#[test]
fn who_finds_no_room_yet_asks_for_it() {
    let layout = Layout::new(SEGMENT / 4, SEGMENT).expect("doubled twice");
    let mut log = log_without_room(0, layout);
    let refused = log.admit(15_000, 15_000).expect_err("the reserve is left");
    let Refused::RoomAwaited { shard: 1, left: 16_384, wanted } = refused else {
        panic!("{refused}")
    };
    assert!((15_000..SEGMENT).contains(&wanted) && log.room_asked() == wanted, "{refused}");
    log.extend_room(SEGMENT / 2);
    assert_eq!((log.room_asked(), log.admit(15_000, 15_000)), (0, Ok(())));
    append(&mut log, 15_000);
    assert_eq!(log.room_asked(), SEGMENT, "as much as may come at once");
    drain(&mut log);
    log.extend_room(SEGMENT);
    assert_eq!(log.room_asked(), SEGMENT, "it is not all there yet");
    log.extend_room(2 * SEGMENT);
    assert_eq!(log.room_asked(), 0);
    while log.admit(16_384, 16_384).is_ok() {
        append(&mut log, 16_384);
        drain(&mut log);
    }
    log.starve();
    assert!(matches!(log.admit(16_384, 16_384), Err(Refused::DiskFull { shard: 1, .. })));
}

/// What ends the waiting of a record goes on while there is room that was taken before: else a full disk stayed full.
#[test]
fn a_full_disk_takes_groups_where_there_is_room_and_no_messages() {
    let mut log = log_without_room(0, Layout::even(SEGMENT));
    log.close_to_messages(Some("used=99%".to_owned()));
    assert!(matches!(log.admit(100, 100), Err(Refused::DiskFull { .. })));
    let mut groups = 0;
    while log.admit_group(4_000).is_ok() {
        log.begin_group(4_000, 5);
        append(&mut log, 40);
        append(&mut log, 3_960);
        drain(&mut log);
        groups += 1;
    }
    assert!(groups > 10, "{groups}");
    assert!(matches!(log.admit_group(4_000), Err(Refused::RoomAwaited { .. })));
    assert_eq!(log.admit_control(1_000), Ok(()), "the reserve is left");
}
