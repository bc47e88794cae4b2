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
    let mut pieces = Vec::new();
    assert!(!resets.snapshot(&mut (), &mut pieces));
    let mut copy = OffsetResets::default();
    pieces.iter().for_each(|piece| copy.restore(piece).expect("whole"));
    copy
}

#[test]
fn a_pull_from_elsewhere_is_told_once_and_commits_do_not_count_until_it_is_heard() {
    let mut resets = OffsetResets::default();
    assert_eq!(resets.on_pull(G, T, 3, 100), None);
    resets.reset(G, T, 3, 40);
    assert!(!resets.may_commit(G, T, 3, 101));
    assert!(resets.may_commit(G, T, 2, 101) && resets.may_commit("other", T, 3, 101));
    assert_eq!(resets.on_pull(G, T, 3, 100), Some(40));
    assert!(!resets.may_commit(G, T, 3, 101), "it was on its way");
    // Clients commit where they were told to go before they go there.
    assert!(resets.may_commit(G, T, 3, 40));
    assert!(resets.may_commit(G, T, 3, 50));
    assert_eq!(resets.on_pull(G, T, 3, 100), None);
}

#[test]
fn whoever_pulls_from_there_or_again_has_heard_it() {
    let mut resets = OffsetResets::default();
    resets.reset(G, T, 0, 40);
    assert_eq!(resets.on_pull(G, T, 0, 40), None, "it is there already");
    assert!(resets.may_commit(G, T, 0, 45));
    resets.reset(G, T, 0, 7);
    assert_eq!(resets.on_pull(G, T, 0, 45), Some(7));
    assert_eq!(resets.on_pull(G, T, 0, 46), None, "who does not go there is not asked for ever");
    assert!(resets.may_commit(G, T, 0, 47));
}

#[test]
fn a_mark_lasts_from_its_entry_to_the_one_that_ends_it() {
    let mut resets = OffsetResets::default();
    resets.reset(G, T, 0, 40);
    assert!(copy(&resets).is_empty(), "it is not committed");
    let set = take(&mut resets, 10);
    assert!(copy(&resets).is_empty());
    // A group that is fast hears it before the log has it.
    assert_eq!(resets.on_pull(G, T, 0, 40), None);
    commit(&mut resets, &set, 10);
    assert!(resets.may_commit(G, T, 0, 99), "it was heard");
    let mut after = copy(&resets);
    assert_eq!(after.on_pull(G, T, 0, 99), Some(40), "the log does not know that yet");
    let ended = take(&mut resets, 20);
    resets.reset(G, T, 0, 5);
    commit(&mut resets, &ended, 20);
    assert_eq!(resets.on_pull(G, T, 0, 99), Some(5), "the end of the one before");
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
    (0..100).for_each(|queue| assert!(resets.may_commit(G, T, queue, 1)));
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
                    let target = random.i64(0..9);
                    let counts = resets.may_commit(G, T, queue, target);
                    let marked = now.iter().any(|(of, _)| *of == queue);
                    let heard = now.remove(&(queue, target));
                    assert_eq!(counts, !marked || heard);
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
