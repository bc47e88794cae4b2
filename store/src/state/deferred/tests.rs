//! Tests of records that wait, against plain models of them.

use super::*;
use std::collections::BTreeSet;

/// Segments of these tests.
const PIECE: u64 = 1 << 16;

fn layout() -> Layout {
    Layout::new(PIECE, PIECE).expect("a power of two")
}

fn record(due: i64, position: u64) -> Due {
    Due { due, position, bytes: 100, check: (position % 7) as u16, queue_id: (position % 3) as u32 }
}

fn take(deferred: &mut Deferred, now: i64, count_max: usize) -> Vec<u64> {
    let mut out = Vec::new();
    deferred.take_due(now, Portion { records: count_max, bytes: usize::MAX }, &mut out);
    out.into_iter().map(|due| due.position).collect()
}

fn deliver(deferred: &mut Deferred, due: i64, position: u64) {
    deferred.apply(&ControlEntry::Delivered { due, position }, 0);
}

fn copy(deferred: &Deferred) -> Deferred {
    let (mut place, mut pieces) = (Place::default(), Vec::new());
    while deferred.snapshot(&mut place, &mut pieces) {}
    let mut copy = Deferred::default();
    pieces.iter().for_each(|piece| copy.restore(piece).expect("whole"));
    copy
}

#[test]
fn records_are_handed_out_once_in_the_order_in_which_they_are_due() {
    let mut deferred = Deferred::default();
    for (due, position) in [(30, 1), (10, 2), (20, 3), (10, 4)] {
        deferred.insert(record(due, position));
    }
    assert_eq!(deferred.next_due(), Some(10));
    assert!(take(&mut deferred, 9, 10).is_empty());
    assert_eq!(take(&mut deferred, 20, 2), [2, 4]);
    assert_eq!(take(&mut deferred, 20, 2), [3]);
    assert_eq!((take(&mut deferred, 29, 2).len(), deferred.next_due()), (0, Some(30)));
    // Too late for its place among them.
    deferred.insert(record(15, 5));
    assert_eq!(take(&mut deferred, 30, 10), [5, 1]);
    assert_eq!((deferred.next_due(), deferred.len()), (None, 5), "they wait until it is committed");
    for (due, position) in [(10, 4), (10, 2), (10, 2), (15, 5), (20, 3), (30, 1)] {
        deliver(&mut deferred, due, position);
    }
    assert!(deferred.is_empty() && deferred.holds_back().is_none());
    assert_eq!((deferred.counts.total(), deferred.waiting_in(0)), (0, 0));
}

#[test]
fn what_is_handed_out_waits_again_after_a_start() {
    let mut deferred = Deferred::default();
    (0..10_000).for_each(|at| deferred.insert(record(at % 7, at as u64)));
    take(&mut deferred, 3, 5_000);
    deliver(&mut deferred, 0, 7);
    let mut after = copy(&deferred);
    assert_eq!((after.len(), after.waiting_in(1)), (9_999, deferred.waiting_in(1)));
    assert_eq!(take(&mut after, 0, 3), [0, 14, 21]);
    let cut = &copy(&deferred).restore(&[0; ROW_BYTES + 1]);
    assert!(matches!(cut, Err(ControlError::Malformed { .. })));
}

#[test]
fn the_last_that_were_cancelled_are_known_after_a_start() {
    let mut deferred = Deferred::default();
    deferred.limit(Limits { near: 2, all: usize::MAX }, layout());
    let count = CANCELLED_MAX as i64 + 5;
    for due in 0..count {
        deferred.insert(record(due, 7));
        assert_eq!(deferred.begin_cancel(due, 7), Cancel::Begun);
        deferred.apply(&ControlEntry::Cancelled { due, position: 7 }, 0);
    }
    deferred.insert(record(count, 8));
    let mut after = copy(&deferred);
    assert_eq!((after.len(), after.cancelled.len()), (1, CANCELLED_MAX));
    assert_eq!(after.begin_cancel(count - 1, 7), Cancel::Done);
    assert_eq!(after.begin_cancel(0, 7), Cancel::TooLate, "nobody knows any more");
    assert_eq!(after.begin_cancel(count, 8), Cancel::Begun);
}

#[test]
fn what_is_cancelled_beyond_the_horizon_must_be_remembered() {
    let mut deferred = Deferred::default();
    deferred.limit(Limits { near: 2, all: usize::MAX }, layout());
    (0..2).for_each(|at| deferred.insert(record(1, at)));
    for due in 10..10 + CANCELLED_MAX as i64 {
        let position = due as u64;
        deferred.insert(record(due, position));
        assert_eq!(deferred.begin_cancel(due, position), Cancel::Begun);
        deferred.apply(&ControlEntry::Cancelled { due, position }, 0);
        assert_eq!(deferred.begin_cancel(due, position), Cancel::Done);
    }
    deferred.insert(record(9, 50_000));
    assert_eq!(deferred.begin_cancel(9, 50_000), Cancel::TooMany);
    assert_eq!(deferred.begin_cancel(10, 10), Cancel::Done, "again is no other one");
    deferred.retire_before(PIECE);
    assert_eq!(deferred.begin_cancel(9, 50_000), Cancel::Carried, "its segment is gone");
}

/// A start with less memory gives up what the snapshot had not counted as far.
#[test]
fn a_start_with_less_memory_knows_where_far_records_lie() {
    let mut deferred = Deferred::default();
    deferred.limit(Limits { near: 10, all: usize::MAX }, layout());
    (0..20).for_each(|at| deferred.insert(record(40 + at as i64, at)));
    let (mut place, mut pieces) = (Place::default(), Vec::new());
    while !matches!(place, Place::Waiting(Some(_))) {
        deferred.snapshot(&mut place, &mut pieces);
    }
    // Behind what is written of it already.
    let late = record(42, 3 * PIECE);
    deferred.insert(late);
    while deferred.snapshot(&mut place, &mut pieces) {}
    let mut after = Deferred::default();
    after.limit(Limits { near: 0, all: usize::MAX }, layout());
    pieces.iter().for_each(|piece| after.restore(piece).expect("whole"));
    after.limit(Limits { near: 0, all: usize::MAX }, layout());
    after.insert(late);
    assert!(after.is_far((42, 3 * PIECE)) && after.any_far_in(3 * PIECE, 4 * PIECE));
}

#[test]
fn large_records_are_handed_out_one_by_one() {
    let mut deferred = Deferred::default();
    (0..5).for_each(|at| deferred.insert(record(0, at)));
    let take = |deferred: &mut Deferred, bytes| {
        let mut out = Vec::new();
        deferred.take_due(0, Portion { records: 9, bytes }, &mut out);
        out.len()
    };
    assert_eq!([50, 250, 1_000].map(|bytes| take(&mut deferred, bytes)), [1, 2, 2]);
}

#[test]
fn the_oldest_record_holds_the_log_back() {
    let mut deferred = Deferred::default();
    let piece = PIECE;
    deferred.insert(record(5, 3 * piece + 9));
    deferred.insert(record(1, 7 * piece));
    deferred.insert(record(9, 3 * piece + 1));
    assert_eq!(deferred.holds_back(), Some(3 * piece));
    deliver(&mut deferred, 9, 3 * piece + 1);
    assert_eq!(deferred.holds_back(), Some(3 * piece));
    deliver(&mut deferred, 5, 3 * piece + 9);
    assert_eq!(deferred.holds_back(), Some(7 * piece));
}

/// Against a set of keys and a set of those that are handed out.
#[test]
fn it_does_what_a_plain_model_does() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut deferred = Deferred::default();
    let (mut waiting, mut taken) = (BTreeSet::new(), BTreeSet::new());
    let mut cancelled = BTreeSet::new();
    for step in 0..20_000 {
        let key = (random.i64(0..50), random.u64(0..200));
        match random.u32(..8) {
            7 => {
                let expected = match (waiting.contains(&key), taken.contains(&key)) {
                    (true, false) => Cancel::Begun,
                    (false, _) if cancelled.contains(&key) => Cancel::Done,
                    _ => Cancel::TooLate,
                };
                assert_eq!(deferred.begin_cancel(key.0, key.1), expected, "step {step}");
                if expected == Cancel::Begun {
                    let again = deferred.begin_cancel(key.0, key.1);
                    assert_eq!(again, Cancel::UnderWay, "step {step}");
                    match random.bool() {
                        true => deferred.keep(key.0, key.1),
                        false => {
                            let (due, position) = key;
                            deferred.apply(&ControlEntry::Cancelled { due, position }, 0);
                            waiting.remove(&key);
                            cancelled.insert(key);
                        }
                    }
                }
            }
            0..3 => {
                if !cancelled.contains(&key) && waiting.insert(key) {
                    deferred.insert(record(key.0, key.1));
                }
            }
            3 => {
                waiting.remove(&key);
                taken.remove(&key);
                deliver(&mut deferred, key.0, key.1);
            }
            _ => {
                let (now, count) = (random.i64(0..50), random.usize(..4));
                let due = waiting.iter().filter(|key| key.0 <= now && !taken.contains(*key));
                let expected: Vec<Key> = due.take(count).copied().collect();
                let mut out = Vec::new();
                let at_most = Portion { records: count, bytes: usize::MAX };
                deferred.take_due(now, at_most, &mut out);
                let out: Vec<Key> = out.iter().map(|due| (due.due, due.position)).collect();
                assert_eq!(out, expected, "step {step}");
                taken.extend(expected);
            }
        }
        let next = waiting.iter().find(|key| !taken.contains(*key));
        assert_eq!(deferred.next_due(), next.map(|key| key.0), "step {step}");
        assert_eq!(deferred.len(), waiting.len());
    }
}

/// All records that were ever born, and the states that follow from them: what an index file and its log are.
#[derive(Default)]
struct Log {
    born: Vec<Due>,
    /// Entries, each with how many were born before it.
    ended: Vec<(usize, Key, bool)>,
}

impl Log {
    fn entry(&(_, (due, position), was_delivered): &(usize, Key, bool)) -> ControlEntry<'static> {
        match was_delivered {
            true => ControlEntry::Delivered { due, position },
            false => ControlEntry::Cancelled { due, position },
        }
    }

    /// Does again what came after the first `ended` entries and `born` records.
    fn replay(&self, deferred: &mut Deferred, mut born: usize, ended: usize) {
        for end in &self.ended[ended..] {
            while born < end.0 {
                deferred.insert(self.born[born]);
                born += 1;
            }
            deferred.apply(&Log::entry(end), 0);
        }
        self.born[born..].iter().for_each(|record| deferred.insert(*record));
    }

    fn search(&self, deferred: &mut Deferred) {
        deferred.begin_search();
        self.born.iter().for_each(|record| deferred.found(*record));
        deferred.end_search();
        while deferred.bring_in(3) {}
    }

    fn all(&self, deferred: &Deferred) -> BTreeSet<Key> {
        let keys = self.born.iter().map(|record| (record.due, record.position));
        let far = keys.filter(|key| deferred.is_far(*key));
        deferred.iter().chain(far).collect()
    }
}

/// Against a set of keys, with little memory, a clock that goes back at times, and starts from snapshots during which
/// others went on.
#[test]
fn what_memory_has_no_room_for_waits_all_the_same() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let limits = Limits { near: random.usize(2..12), all: usize::MAX };
        let mut deferred = Deferred::default();
        deferred.limit(limits, layout());
        let (mut log, mut waiting, mut now) = (Log::default(), BTreeSet::new(), 0);
        // A snapshot that is being taken, and where the log was when it began.
        let mut snapshot: Option<(Place, Vec<Vec<u8>>, usize, usize)> = None;
        let (mut starts, mut far_max) = (0, 0);
        for step in 0..600 {
            match random.u32(..20) {
                0..8 => {
                    let position = log.born.len() as u64 * 40_000;
                    let due = now + random.i64(0..400);
                    let born = Due {
                        due,
                        position,
                        bytes: 100,
                        check: (position % 7) as u16,
                        queue_id: (step % 3) as u32,
                    };
                    log.born.push(born);
                    waiting.insert((due, position));
                    deferred.insert(born);
                }
                8..12 => {
                    now += random.i64(0..30);
                    let mut due = Vec::new();
                    let portion = Portion { records: 5, bytes: usize::MAX };
                    deferred.take_due(now, portion, &mut due);
                    for Due { due, position, .. } in due {
                        assert!(waiting.remove(&(due, position)), "seed {seed} step {step}");
                        log.ended.push((log.born.len(), (due, position), true));
                        deferred.apply(&ControlEntry::Delivered { due, position }, 0);
                    }
                }
                12..14 => {
                    let all: Vec<Key> = waiting.iter().copied().collect();
                    let Some(&(due, position)) = random.choice(&all) else { continue };
                    assert_eq!(deferred.begin_cancel(due, position), Cancel::Begun);
                    assert_eq!(deferred.begin_cancel(due, position), Cancel::UnderWay);
                    if random.bool() {
                        deferred.keep(due, position);
                        continue;
                    }
                    waiting.remove(&(due, position));
                    log.ended.push((log.born.len(), (due, position), false));
                    deferred.apply(&ControlEntry::Cancelled { due, position }, 0);
                    assert_eq!(deferred.begin_cancel(due, position), Cancel::Done);
                }
                14..17 if deferred.wants_far() => log.search(&mut deferred),
                17 => now -= random.i64(0..200),
                18 if snapshot.is_none() => {
                    let at = (log.born.len(), log.ended.len());
                    snapshot = Some((Place::default(), Vec::new(), at.0, at.1));
                }
                _ => {
                    let Some((place, pieces, ..)) = &mut snapshot else { continue };
                    if deferred.snapshot(place, pieces) {
                        continue;
                    }
                    let Some((_, pieces, born, ended)) = snapshot.take() else { continue };
                    if random.bool() {
                        continue;
                    }
                    deferred = Deferred::default();
                    deferred.limit(limits, layout());
                    pieces.iter().for_each(|piece| deferred.restore(piece).expect("whole"));
                    deferred.limit(limits, layout());
                    log.replay(&mut deferred, born, ended);
                    starts += 1;
                }
            }
            assert_eq!(log.all(&deferred), waiting, "seed {seed} step {step}");
            // A start may count one twice that it gives up, until the next search.
            let (said, wait) = (deferred.len(), waiting.len());
            assert!(said == wait || (starts > 0 && said > wait), "seed {seed} step {step}: {said}");
            let first = waiting.iter().map(|(_, position)| position / PIECE * PIECE).min();
            let holds_back = deferred.holds_back().unwrap_or(u64::MAX);
            assert!(first.is_none_or(|first| holds_back <= first), "seed {seed} step {step}");
            far_max = far_max.max(deferred.far());
        }
        assert!(far_max > 0 && starts > 0, "seed {seed}: {far_max} far, {starts} starts");
    }
}
