//! Resets by themselves: who is told, which commits count, what is state and when.

use super::*;
use std::collections::BTreeSet;

const G: &str = "group";
const T: &str = "topic";

/// Appends what is to be written as an entry at `position`, without committing it.
fn take(resets: &mut OffsetResets, position: u64) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    while let Some(content) = resets.take_change(100, position) {
        entries.push(content);
    }
    entries
}

fn commit(resets: &mut OffsetResets, contents: &[Vec<u8>], position: u64) {
    for content in contents {
        let changes = OffsetChanges::decode(content).expect("our own");
        resets.apply(&ControlEntry::OffsetsReset(changes), position);
    }
}

/// What a start with an index file of now finds.
fn copy(resets: &OffsetResets) -> OffsetResets {
    let (mut place, mut pieces) = (None, Vec::new());
    while resets.snapshot(&mut place, &mut pieces) {}
    let mut copy = OffsetResets::default();
    pieces.iter().for_each(|piece| copy.restore(piece).expect("whole"));
    copy
}

fn pull(resets: &mut OffsetResets, queue: u32, connection: u64, offset: i64) -> Option<i64> {
    resets.on_pull(G, T, queue, Puller { connection, offset, now: 0 })
}

/// The same when it has had the time to hear what it was told.
fn pull_later(resets: &mut OffsetResets, queue: u32, connection: u64, offset: i64) -> Option<i64> {
    resets.on_pull(G, T, queue, Puller { connection, offset, now: HEAR_MS })
}

#[test]
fn commits_do_not_count_until_somebody_pulls_from_the_place() {
    let mut resets = OffsetResets::default();
    assert_eq!(pull(&mut resets, 3, 1, 100), None);
    resets.reset(G, T, 3, 40);
    assert!(!resets.may_commit(G, T, 3, 101));
    assert!(resets.may_commit(G, T, 2, 101) && resets.may_commit("other", T, 3, 101));
    // It may just be there: 40 hangs, and what is behind is consumed.
    assert!(resets.may_commit(G, T, 3, 40));
    assert_eq!(pull(&mut resets, 3, 1, 100), Some(40));
    assert!(!resets.may_commit(G, T, 3, 101), "it was on its way");
    assert_eq!(pull(&mut resets, 3, 1, 40), None);
    assert!(!resets.may_commit(G, T, 3, 101), "clients commit late what they had in hand");
    resets.on_served(G, T, 3, 40, 72);
    assert!(!resets.may_commit(G, T, 3, 101) && !resets.may_commit(G, T, 3, 39));
    assert!(resets.may_commit(G, T, 3, 72));
    assert!(resets.may_commit(G, T, 3, 101), "it is over");
    assert_eq!(pull(&mut resets, 3, 1, 100), None);
}

#[test]
fn who_skips_does_not_go_back_with_late_commits() {
    let mut resets = OffsetResets::default();
    resets.reset(G, T, 0, 100);
    assert_eq!(pull(&mut resets, 0, 1, 31), Some(100));
    assert_eq!(pull(&mut resets, 0, 1, 100), None);
    assert!([10, 20, 31].into_iter().all(|late| !resets.may_commit(G, T, 0, late)));
    // Nothing matched for a while, and it has asked for what comes next.
    assert_eq!(pull(&mut resets, 0, 1, 104), None);
    assert!(resets.may_commit(G, T, 0, 103));
    assert!(resets.iter().next().is_none());
}

#[test]
fn each_connection_is_told() {
    let mut resets = OffsetResets::default();
    resets.reset(G, T, 0, 40);
    // One had the queue before, the other has it now.
    assert_eq!(pull(&mut resets, 0, 1, 100), Some(40));
    assert_eq!(pull(&mut resets, 0, 2, 100), Some(40));
    assert_eq!(pull(&mut resets, 0, 2, 40), None);
    assert_eq!(pull(&mut resets, 0, 3, 100), Some(40), "who comes late, too");
    assert_eq!(pull(&mut resets, 0, 2, 60), None);
    assert_eq!(pull(&mut resets, 0, 4, 50), None, "another one goes on there");
    assert!(!resets.may_commit(G, T, 0, 100));
    assert_eq!(pull(&mut resets, 0, 3, 100), Some(40), "it had two on their way");
    assert_eq!(pull_later(&mut resets, 0, 3, 100), None, "who does not want to need not");
    assert!(resets.may_commit(G, T, 0, 100));
}

#[test]
fn a_mark_ends_by_itself_when_nobody_says_anything() {
    let mut resets = OffsetResets::default();
    resets.reset(G, T, 0, 40);
    let mut at = |now| resets.on_pull(G, T, 0, Puller { connection: 1, offset: 40, now });
    assert_eq!([0, SETTLED_MS - 1, SETTLED_MS].map(&mut at), [None; 3]);
    assert!(resets.may_commit(G, T, 0, 7));
    // Clients that go on as they please, in turn.
    resets.reset(G, T, 0, 40);
    let told = (0..100).filter(|turn| pull(&mut resets, 0, turn % 2, 100).is_some()).count();
    assert_eq!(told, usize::from(TELLS_MAX));
    assert!(resets.may_commit(G, T, 0, 100));
}

#[test]
fn a_mark_lasts_from_its_entry_to_the_one_that_ends_it() {
    let mut resets = OffsetResets::default();
    resets.reset(G, T, 0, 40);
    assert!(copy(&resets).is_empty(), "it is not committed");
    let set = take(&mut resets, 10);
    assert!(copy(&resets).is_empty());
    // A group that is fast hears it before the log has it.
    assert_eq!(pull(&mut resets, 0, 1, 40), None);
    resets.on_served(G, T, 0, 40, 50);
    assert!(resets.may_commit(G, T, 0, 45));
    commit(&mut resets, &set, 10);
    assert!(resets.may_commit(G, T, 0, 99), "it was heard");
    let mut after = copy(&resets);
    assert_eq!(pull(&mut after, 0, 1, 99), Some(40), "the log does not know that yet");
    let ended = take(&mut resets, 20);
    resets.reset(G, T, 0, 5);
    commit(&mut resets, &ended, 20);
    assert_eq!(pull(&mut resets, 0, 1, 99), Some(5), "the end of the one before");
    assert!(copy(&resets).is_empty());
}

#[test]
fn nothing_is_left_of_marks_that_have_ended_and_of_what_is_deleted() {
    let mut resets = OffsetResets::default();
    for queue in 0..100 {
        resets.reset(G, T, queue, 1);
        resets.reset("other", T, queue, 1);
    }
    let set = take(&mut resets, 10);
    assert!(set.len() > 10, "entries have a limit");
    commit(&mut resets, &set, 10);
    for queue in 0..100 {
        assert_eq!(pull(&mut resets, queue, 1, 1), None);
        resets.on_served(G, T, queue, 1, 2);
        assert!(resets.may_commit(G, T, queue, 2));
    }
    let ended = take(&mut resets, 20);
    commit(&mut resets, &ended, 20);
    assert_eq!((resets.len(), resets.iter().count()), (100, 100));
    resets.forget_topic(T, 30);
    assert_eq!(resets.iter().count(), 0);
    assert_eq!(copy(&resets).len(), 100, "the log does not say so yet");
    resets.apply(&ControlEntry::TopicRemoved { topic: T }, 30);
    assert!(resets.is_empty() && resets.marks.is_empty() && copy(&resets).is_empty());
    resets.reset(G, T, 0, 1);
    let set = take(&mut resets, 40);
    resets.forget_group(G, 50);
    commit(&mut resets, &set, 40);
    assert!(resets.may_commit(G, T, 0, 9), "what is in flight does not bring it back");
    resets.apply(&ControlEntry::GroupRemoved { group: G }, 50);
    assert!(resets.is_empty());
}

#[test]
fn more_than_the_limit_are_refused() {
    let mut resets = OffsetResets::default();
    for queue in 0..MARKS_MAX as u32 {
        resets.admit(G, T, queue).expect("room");
        resets.reset(G, T, queue, 1);
    }
    let refused = resets.admit("other", T, 0);
    assert_eq!(refused, Err(OffsetRefused::TooManyResets { marks: MARKS_MAX }));
    resets.admit(G, T, 7).expect("it is marked already");
}

/// Entries that are appended, committed in their order or cut; at each time a copy has what the committed ones say.
#[test]
fn the_state_is_what_the_committed_entries_say() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..200 {
        let mut resets = OffsetResets::default();
        // What each queue's entries say, in the order of the log, and how many of them are committed.
        let mut log: Vec<(u64, Vec<u8>)> = Vec::new();
        let (mut committed, mut state, mut now) = (0, BTreeSet::new(), BTreeSet::new());
        for step in 1..300u64 {
            let queue = random.u32(0..4);
            match random.u32(0..6) {
                0 => {
                    let target = random.i64(0..9);
                    resets.reset(G, T, queue, target);
                    now.retain(|(of, _)| *of != queue);
                    now.insert((queue, target));
                }
                1 => {
                    // Who is told and comes again from elsewhere ends it.
                    let marked = now.iter().find(|(of, _)| *of == queue).copied();
                    let told = pull(&mut resets, queue, 1, 100);
                    assert_eq!(told, marked.map(|(_, target)| target));
                    if let Some(marked) = marked {
                        assert_eq!(pull_later(&mut resets, queue, 1, 100), None);
                        now.remove(&marked);
                    }
                    assert!(resets.may_commit(G, T, queue, 77));
                }
                2 => log.extend(take(&mut resets, step).into_iter().map(|entry| (step, entry))),
                3 => {}
                _ if committed < log.len() => {
                    let (position, content) = &log[committed];
                    committed += 1;
                    commit(&mut resets, std::slice::from_ref(content), *position);
                    for change in OffsetChanges::decode(content).expect("our own").iter() {
                        state.retain(|(queue, _)| *queue != change.queue_id);
                        if change.offset != HEARD {
                            state.insert((change.queue_id, change.offset));
                        }
                    }
                }
                _ => {}
            }
            let own = |change: OffsetChange<'_>| (change.queue_id, change.offset);
            assert_eq!(resets.iter().map(own).collect::<BTreeSet<_>>(), now, "step {step}");
            let copied = copy(&resets);
            assert_eq!(copied.iter().map(own).collect::<BTreeSet<_>>(), state, "step {step}");
        }
    }
}

#[test]
fn a_snapshot_of_many_is_taken_in_pieces() {
    let mut resets = OffsetResets::default();
    let names = ["a", "b", "c"];
    for queue in 0..3_000 {
        for name in names {
            resets.reset(name, T, queue, i64::from(queue));
            resets.reset(G, name, queue, i64::from(queue) + 1);
        }
    }
    let set = take(&mut resets, 10);
    commit(&mut resets, &set, 10);
    let (mut place, mut pieces) = (None, Vec::new());
    while resets.snapshot(&mut place, &mut pieces) {}
    assert!(pieces.len() > 3 && pieces.iter().all(|piece| piece.len() < 64 * 1024));
    assert!(copy(&resets).iter().eq(resets.iter()), "all, once");
    assert_eq!(resets.len(), 18_000);
}
