//! Unit tests of queue locks, and a comparison with the simplest thing that could be right.

use super::*;
use crate::table_memory::TableLimits;
use proptest::prelude::*;
use std::collections::HashMap;

const T0: Uptime = Uptime::from_ms(1_000_000);

fn at(seconds: i64) -> Uptime {
    T0 + 1_000 * seconds
}

fn connection(number: usize) -> ConnectionId {
    ConnectionId::new(0, 0, number)
}

fn asked(client: &str, queues: &[i32]) -> LockBatchRequest {
    let queue = |id: &i32| MessageQueue {
        broker_name: "b".to_owned(),
        queue_id: *id,
        topic: "orders".to_owned(),
    };
    LockBatchRequest {
        client_id: client.to_owned(),
        consumer_group: "g".to_owned(),
        mq_set: queues.iter().map(queue).collect(),
        only_this_broker: false,
    }
}

const NONE: [i32; 0] = [];

/// Client `number` asks for queues; which it gets.
fn lock(locks: &mut QueueLocks, now: Uptime, number: usize, queues: &[i32]) -> Vec<i32> {
    let request = asked(&format!("c{number}"), queues);
    let held = locks.lock(now, connection(number), &request).expect("there is room");
    locks.check();
    held.into_iter().map(|queue| queue.queue_id).collect()
}

fn unlock(locks: &mut QueueLocks, now: Uptime, number: usize, queues: &[i32]) {
    locks.unlock(now, &asked(&format!("c{number}"), queues));
    locks.check();
}

fn freed(locks: &mut QueueLocks, now: Uptime) -> usize {
    let groups = locks.freed(now);
    locks.check();
    assert!(!locks.is_due(now), "all was looked at");
    groups.len()
}

#[test]
fn a_queue_has_one_holder_until_it_is_released() {
    let mut locks = QueueLocks::default();
    assert_eq!(lock(&mut locks, at(0), 1, &[0, 1, 1]), [0, 1]);
    assert_eq!(lock(&mut locks, at(1), 2, &[1, 2]), [2]);
    assert_eq!(lock(&mut locks, at(1), 1, &[0, 1]), [0, 1], "its own");
    unlock(&mut locks, at(2), 2, &[0, 1]);
    assert_eq!(lock(&mut locks, at(2), 2, &[0, 1]), NONE, "only the holder releases");
    unlock(&mut locks, at(3), 1, &[1]);
    assert_eq!(lock(&mut locks, at(3), 2, &[0, 1]), [1]);
}

#[test]
fn a_holder_that_says_nothing_loses_its_queues_after_a_minute() {
    let mut locks = QueueLocks::default();
    lock(&mut locks, at(0), 1, &[0, 1]);
    lock(&mut locks, at(20), 1, &[0]);
    assert_eq!(lock(&mut locks, at(59), 2, &[0, 1]), NONE);
    assert_eq!(lock(&mut locks, at(60), 2, &[0, 1]), [1], "refreshed is 0 alone");
    assert_eq!(lock(&mut locks, at(80), 2, &[0]), [0]);
}

#[test]
fn a_lost_connection_ends_locks_when_their_holder_believes_in_them_no_more() {
    let mut locks = QueueLocks::default();
    lock(&mut locks, at(0), 1, &[0]);
    locks.connection_closed(at(10), connection(1));
    locks.check();
    assert_eq!(lock(&mut locks, at(30), 2, &[0]), NONE);
    assert_eq!(freed(&mut locks, at(30)), 0);
    assert_eq!(freed(&mut locks, at(31)), 1, "who was refused it hears");
    assert_eq!(lock(&mut locks, at(31), 2, &[0]), [0]);
    // Who comes back over another connection goes on.
    lock(&mut locks, at(40), 2, &[0]);
    locks.connection_closed(at(41), connection(2));
    let again = asked("c2", &[0]);
    assert_eq!(locks.lock(at(50), connection(7), &again).expect("room").len(), 1);
    locks.connection_closed(at(51), connection(2));
    locks.check();
    assert_eq!(lock(&mut locks, at(109), 1, &[0]), NONE);
    assert_eq!(lock(&mut locks, at(110), 1, &[0]), [0]);
}

#[test]
fn a_lost_connection_ends_locks_at_once_where_that_is_wanted() {
    let mut locks = QueueLocks::new(Rc::default(), true);
    lock(&mut locks, at(0), 1, &[0]);
    lock(&mut locks, at(1), 2, &[0]);
    locks.connection_closed(at(2), connection(1));
    assert_eq!(freed(&mut locks, at(2)), 1);
    assert_eq!(lock(&mut locks, at(2), 2, &[0]), [0]);
}

#[test]
fn who_leaves_its_group_holds_nothing() {
    let mut locks = QueueLocks::default();
    lock(&mut locks, at(0), 1, &[0, 1]);
    locks.left(at(1), "g", "c2");
    locks.left(at(1), "other", "c1");
    assert_eq!(locks.count(), 2);
    locks.left(at(1), "g", "c1");
    locks.check();
    assert_eq!((locks.count(), locks.bytes, locks.groups.len()), (0, 0, 0));
}

#[test]
fn members_hear_of_what_somebody_waits_for_and_at_most_once_a_second() {
    let mut locks = QueueLocks::default();
    lock(&mut locks, at(0), 1, &[0, 1, 2]);
    unlock(&mut locks, at(1), 1, &[2]);
    assert_eq!(freed(&mut locks, at(1)), 0, "nobody wants it");
    lock(&mut locks, at(1), 2, &[0, 1]);
    unlock(&mut locks, at(2), 1, &[0]);
    assert_eq!(freed(&mut locks, at(2)), 1);
    unlock(&mut locks, at(2), 1, &[1]);
    assert_eq!(freed(&mut locks, at(2)), 0, "they have just heard");
    assert_eq!(freed(&mut locks, at(3)), 1);
    assert_eq!(freed(&mut locks, at(4)), 0);
    assert_eq!(locks.groups.len(), 0, "and then nothing is left of the group");
    assert_eq!(locks.bytes, 0);
}

#[test]
fn what_ends_by_time_is_heard_of_and_forgotten() {
    let mut locks = QueueLocks::default();
    lock(&mut locks, at(0), 1, &[0]);
    lock(&mut locks, at(1), 2, &[0]);
    locks.take_changes();
    assert_eq!(freed(&mut locks, at(59)), 0);
    assert_eq!(freed(&mut locks, at(60)), 1);
    locks.expire(at(61));
    locks.check();
    assert_eq!((locks.count(), locks.take_changes().len()), (0, 1));
    freed(&mut locks, at(62));
    assert_eq!(locks.groups.len(), 0);
}

/// What a start finds: the journal's changes over a file of any time before them.
#[test]
fn holders_survive_a_restart_and_have_their_time_once_more() {
    let mut locks = QueueLocks::default();
    let mut files = Vec::new();
    let mut changes = Vec::new();
    let mut note = |locks: &mut QueueLocks| {
        changes.extend(locks.take_changes());
        let whole = locks.file();
        let json = runtime::sim::block_on(whole.encode(&async || ())).expect("no disk is needed");
        files.push((json, changes.len()));
    };
    note(&mut locks);
    lock(&mut locks, at(0), 1, &[0, 1, 2]);
    note(&mut locks);
    unlock(&mut locks, at(1), 1, &[1]);
    lock(&mut locks, at(2), 2, &[1, 3]);
    note(&mut locks);
    unlock(&mut locks, at(3), 1, &[2]);
    note(&mut locks);
    for (json, contained) in &files {
        // Also when the journal repeats what the file contains.
        for from in 0..=*contained {
            let mut again = QueueLocks::default();
            again.load(&QueueLockTable::read(json).expect("our own"));
            for change in &changes[from..] {
                match change::read(change).expect("our own") {
                    change::Change::Locked(version, held) => again.replay_locked(version, &held),
                    change::Change::Unlocked(version, held) => {
                        again.replay_unlocked(version, &held);
                    }
                    other => panic!("{other:?}"),
                }
            }
            again.started(at(100));
            again.check();
            assert_eq!(lock(&mut again, at(130), 3, &[0, 1, 2, 3]), [2], "from {from}");
            assert_eq!(lock(&mut again, at(130), 1, &[0]), [0]);
            assert_eq!(lock(&mut again, at(131), 3, &[0, 1, 2, 3]), [1, 2, 3]);
        }
    }
}

/// Changes that were written with the files whole need not be in any journal: an older one brings nothing back.
#[test]
fn a_journal_that_ends_before_a_file_changes_nothing() {
    let mut locks = QueueLocks::default();
    lock(&mut locks, at(0), 1, &[0]);
    let older = locks.take_changes();
    unlock(&mut locks, at(1), 1, &[0]);
    lock(&mut locks, at(2), 2, &[0]);
    let whole = locks.file();
    let json = runtime::sim::block_on(whole.encode(&async || ())).expect("no disk is needed");
    let mut again = QueueLocks::default();
    again.load(&QueueLockTable::read(&json).expect("our own"));
    for change in &older {
        let Ok(change::Change::Locked(version, held)) = change::read(change) else { panic!() };
        again.replay_locked(version, &held);
    }
    again.started(at(10));
    again.check();
    assert_eq!(lock(&mut again, at(10), 1, &[0]), NONE);
    assert_eq!(lock(&mut again, at(10), 2, &[0]), [0]);
}

#[test]
fn who_asks_for_more_than_there_is_room_for_keeps_what_it_has() {
    let memory = Rc::new(TableMemory::default());
    memory.limit(TableLimits { bytes: 4_000, ..TableLimits::NONE });
    let mut locks = QueueLocks::new(memory, false);
    assert_eq!(lock(&mut locks, at(0), 1, &[0]), [0]);
    let many: Vec<i32> = (0..100).collect();
    assert_eq!(lock(&mut locks, at(50), 1, &many), [0], "refreshed");
    assert_eq!(lock(&mut locks, at(70), 2, &[0]), NONE);
    let mut request = asked("c1", &[0]);
    request.mq_set.push(MessageQueue { topic: "no name".to_owned(), ..Default::default() });
    assert_eq!(locks.lock(at(100), connection(1), &request).expect("its own").len(), 1);
    locks.check();
}

#[test]
fn what_cannot_be_or_does_not_fit_is_refused_and_changes_nothing() {
    let mut locks = QueueLocks::default();
    let many: Vec<i32> = (0..GROUP_LOCKS_MAX as i32).collect();
    assert_eq!(lock(&mut locks, at(0), 1, &many).len(), GROUP_LOCKS_MAX);
    let refused = locks.lock(at(1), connection(2), &asked("c2", &[0, 70_000])).expect_err("full");
    assert!(refused.to_string().contains("65536 of 65536 locks of the group"), "{refused}");
    assert_eq!(lock(&mut locks, at(1), 2, &[0]), NONE, "who asks for none that is new is served");
    locks.left(at(2), "g", "c1");
    let memory = Rc::new(TableMemory::default());
    memory.limit(TableLimits { bytes: 10_000, ..TableLimits::NONE });
    let mut locks = QueueLocks::new(memory, false);
    let refused = locks.lock(at(0), connection(1), &asked("c1", &many)).expect_err("no room");
    assert!(refused.to_string().contains("10000"), "{refused}");
    assert_eq!((locks.count(), locks.bytes), (0, 0));
    for (client, group, topic) in [
        ("", "g", "t"),
        ("c", "", "t"),
        ("c", "g", "no topic"),
        ("c", "g", ""),
        (&*"c".repeat(1_025), "g", "t"),
    ] {
        let mut request = asked(client, &[0]);
        request.consumer_group = group.to_owned();
        request.mq_set[0].topic = topic.to_owned();
        locks.lock(at(0), connection(1), &request).expect_err("no name");
        locks.unlock(at(0), &request);
    }
    let retry = format!("%RETRY%{}", "g".repeat(255));
    let mut request = asked("c", &[0]);
    request.mq_set[0].topic = retry;
    assert_eq!(locks.lock(at(0), connection(1), &request).expect("a name").len(), 1);
}

/// What a file and a journal take up is no more than what is counted: they can be read again.
#[test]
fn files_are_no_larger_than_what_is_counted() {
    let mut locks = QueueLocks::default();
    for number in 0..50 {
        let mut request = asked(&format!("\u{1}\u{1}\u{1}{{[,{number}"), &[number]);
        request.mq_set[0].topic = format!("{}{number}", "t".repeat(100));
        locks.lock(at(0), connection(1), &request).expect("room");
    }
    locks.check();
    let whole = locks.file();
    let json = runtime::sim::block_on(whole.encode(&async || ())).expect("no disk is needed");
    assert!(json.len() < locks.bytes, "{} of {}", json.len(), locks.bytes);
    // What who reads it takes for values, in texts, too; eight times the bytes may be.
    let count = |wanted: u8| json.iter().filter(|byte| **byte == wanted).count();
    let values = 640 * count(b'{') + 64 * (count(b',') + count(b'['));
    assert!(values < 8 * locks.bytes, "{values} of {}", locks.bytes);
}

#[derive(Clone, Debug)]
enum Step {
    Lock(usize, Vec<i32>),
    Unlock(usize, Vec<i32>),
    Left(usize),
    Closed(usize),
    Expire,
    Passes(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0_usize..4;
    let queues = proptest::collection::vec(0_i32..6, 0..5);
    prop_oneof![
        4 => (client.clone(), queues.clone()).prop_map(|(client, queues)| Step::Lock(client, queues)),
        2 => (client.clone(), queues).prop_map(|(client, queues)| Step::Unlock(client, queues)),
        1 => client.clone().prop_map(Step::Left),
        1 => client.prop_map(Step::Closed),
        1 => Just(Step::Expire),
        3 => (1_i64..40_000).prop_map(Step::Passes),
    ]
}

proptest! {
    /// Grants and releases are those of a table that says for each queue who holds it, since when, and whether that
    /// client is connected; a group hears when a queue that somebody was refused is free, and only then.
    #[test]
    fn locks_do_what_a_plain_table_does(steps in proptest::collection::vec(step(), 1..200)) {
        let mut locks = QueueLocks::default();
        let mut held: HashMap<i32, (usize, Uptime)> = HashMap::new();
        let mut connected = [false; 4];
        let mut wanted: BTreeSet<i32> = BTreeSet::new();
        let mut is_owed = false;
        let mut last_heard = None;
        let mut now = at(0);
        for step in steps {
            let over = |(client, since): &(usize, Uptime), connected: &[bool; 4], now: Uptime| {
                now - *since >= if connected[*client] { LEASE_MS } else { LEASE_UNCONNECTED_MS }
            };
            match step {
                Step::Lock(client, queues) => {
                    let queues: BTreeSet<i32> = queues.into_iter().collect();
                    let expected: Vec<i32> = queues
                        .iter()
                        .filter(|queue| {
                            held.get(queue).is_none_or(|it| it.0 == client || over(it, &connected, now))
                        })
                        .copied()
                        .collect();
                    wanted.extend(queues.iter().filter(|queue| !expected.contains(queue)));
                    for queue in &expected {
                        let before = held.insert(*queue, (client, now));
                        if before.is_some_and(|it| it.0 != client) && wanted.remove(queue) {
                            is_owed = true;
                        }
                    }
                    connected[client] |= !expected.is_empty();
                    let queues: Vec<i32> = queues.into_iter().collect();
                    prop_assert_eq!(lock(&mut locks, now, client, &queues), expected);
                }
                Step::Unlock(client, queues) => {
                    for queue in &queues {
                        if held.get(queue).is_some_and(|it| it.0 == client) {
                            held.remove(queue);
                            is_owed |= wanted.remove(queue);
                        }
                    }
                    unlock(&mut locks, now, client, &queues);
                }
                Step::Left(client) => {
                    held.retain(|queue, it| {
                        let goes = it.0 == client;
                        is_owed |= goes && wanted.remove(queue);
                        !goes
                    });
                    locks.left(now, "g", &format!("c{client}"));
                }
                Step::Closed(client) => {
                    connected[client] = false;
                    locks.connection_closed(now, connection(client));
                }
                Step::Expire => {
                    held.retain(|queue, it| {
                        let goes = over(it, &connected, now);
                        is_owed |= goes && wanted.remove(queue);
                        !goes
                    });
                    locks.expire(now);
                }
                Step::Passes(ms) => now = now + ms,
            }
            // A client without locks has no connection here.
            for (client, is_connected) in connected.iter_mut().enumerate() {
                *is_connected &= held.values().any(|it| it.0 == client);
            }
            locks.check();
            prop_assert_eq!(locks.count(), held.len());
            for (queue, it) in &held {
                is_owed |= over(it, &connected, now) && wanted.remove(queue);
            }
            let may_hear = last_heard.is_none_or(|heard: Uptime| now - heard >= HINT_PAUSE_MS);
            let hears = freed(&mut locks, now) == 1;
            prop_assert_eq!(hears, is_owed && may_hear);
            if hears {
                is_owed = false;
                last_heard = Some(now);
            }
        }
    }
}
