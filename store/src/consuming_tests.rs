//! Popping over a log that nobody writes: what is given out, which receipts count, what a group's offset says.

use super::*;
use crate::{
    log::{CommitRule, Stored},
    state::{DerivedState, popped::InFlight},
    store_state::Append,
};

const G: &str = "group";
const T: &str = "topic";
const PLACE: PopPlace<'static> = PopPlace { group: G, topic: T, queue_id: 0 };
const INVISIBLE_MS: i64 = 1_000;

/// A queue of so many messages.
fn queue_of(count: usize) -> StoreState {
    let mut state = StoreState::unwritten(0);
    append(&mut state, count);
    state
}

fn append(state: &mut StoreState, count: usize) {
    let slot = state.queue_slot(T, 0);
    for _ in 0..count {
        let message = Append { slot, bytes: 50, tags_code: 0, keys: &[] };
        state.append(message, 9, |_, out| out.fill(1));
    }
    commit(state);
}

fn commit(state: &mut StoreState) {
    while let Some(write) = state.log.take_write() {
        state.log.written(&write, true);
    }
    state.cross_gate(CommitRule { stored: Stored::Flushed, limit: CommitRule::ALONE });
    state.check();
    state.derived.popped.check();
}

/// Writes what changed into the log.
fn write(state: &mut StoreState) {
    state.write_popped();
    while state.append_group_offsets(9).expect("room").is_some() {}
    commit(state);
}

/// The offsets of a pop, each with how often it was popped before. All that is new matches.
fn pop_as(state: &mut StoreState, ask: PopAsk<'_>) -> Vec<(i64, u32)> {
    let Some(start) = state.begin_pop(PLACE, ask, |_| 0) else { return Vec::new() };
    let max = state.queue(T, 0).map_or(0, |queue| queue.max());
    let room = start.count_max - start.again.len();
    let cursor = max.min(start.cursor + room as i64);
    let found: Vec<i64> = start.again.iter().copied().chain(start.cursor..cursor).collect();
    let read = PopRead {
        found: &found,
        lost: &[],
        cursor,
        popped_at: ask.popped_at,
        visible_at: ask.now + INVISIBLE_MS,
    };
    let given = state.end_pop(PLACE, &start, read).expect("nobody has reset");
    state.derived.popped.check();
    found.into_iter().zip(given).filter_map(|(offset, again)| Some((offset, again?))).collect()
}

fn pop(state: &mut StoreState, now: i64, count_max: usize) -> Vec<(i64, u32)> {
    pop_as(state, PopAsk { now, popped_at: now, count_max, in_order: None })
}

fn pop_in_order(state: &mut StoreState, now: i64, attempt: &str) -> Vec<(i64, u32)> {
    pop_as(state, PopAsk { now, popped_at: now, count_max: 2, in_order: Some(Some(attempt)) })
}

fn offset(state: &StoreState) -> Option<i64> {
    state.derived.group_offsets.get(G, T, 0)
}

/// What a start with an index file of now finds.
fn copy(state: &StoreState) -> StoreState {
    let mut copy = queue_of(state.queue(T, 0).map_or(0, |queue| queue.max()) as usize);
    let (mut place, mut pieces) = (None, Vec::new());
    while state.derived.popped.snapshot(&mut place, &mut pieces) {}
    pieces.iter().for_each(|piece| copy.derived.popped.restore(piece).expect("whole"));
    for (group, topic, queue_id, offset) in state.derived.group_offsets.iter() {
        copy.derived.group_offsets.set(group, topic, queue_id, offset).expect("room");
    }
    copy.derived.popped.check();
    copy
}

fn in_flight(state: &StoreState) -> Vec<(i64, InFlight)> {
    let queue = state.derived.popped.get(G, T, 0);
    queue.map(|queue| queue.iter().collect()).unwrap_or_default()
}

#[test]
fn what_is_popped_is_given_to_nobody_else_until_its_time_is_over() {
    let mut state = queue_of(5);
    assert_eq!(pop(&mut state, 10, 3), [(0, 0), (1, 0), (2, 0)]);
    assert_eq!(pop(&mut state, 11, 9), [(3, 0), (4, 0)]);
    assert_eq!(pop(&mut state, 1_009, 9), []);
    assert_eq!(offset(&state), Some(0));
    assert!(state.ack_popped(PLACE, 1, 10));
    assert_eq!(pop(&mut state, 1_010, 9), [(0, 1), (2, 1)], "those of the first pop");
    assert_eq!(pop(&mut state, 1_011, 9), [(3, 1), (4, 1)]);
    assert_eq!(pop(&mut state, 2_010, 1), [(0, 2)]);
    assert_eq!(pop(&mut state, 2_011, 9), [(2, 2), (3, 2), (4, 2)]);
}

#[test]
fn the_last_receipt_of_a_message_counts_also_behind_its_time() {
    let mut state = queue_of(3);
    pop(&mut state, 10, 3);
    assert!(!state.ack_popped(PLACE, 0, 9), "no such pop");
    assert!(!state.ack_popped(PLACE, 7, 10), "never popped");
    assert_eq!(pop(&mut state, 1_010, 1), [(0, 1)]);
    assert!(!state.ack_popped(PLACE, 0, 10), "somebody else has it");
    assert!(state.ack_popped(PLACE, 0, 1_010));
    assert!(!state.ack_popped(PLACE, 0, 1_010), "once");
    assert!(state.ack_popped(PLACE, 2, 10), "late, and nobody else had it");
    assert_eq!(offset(&state), Some(1));
    assert!(state.ack_popped(PLACE, 1, 10));
    assert_eq!(offset(&state), Some(3), "all before is done");
    assert_eq!(pop(&mut state, 9_999, 9), []);
    append(&mut state, 1);
    assert_eq!(pop(&mut state, 9_999, 9), [(3, 0)]);
}

#[test]
fn a_message_may_stay_with_its_consumer_for_longer_or_come_again_sooner() {
    let mut state = queue_of(2);
    pop(&mut state, 10, 2);
    assert_eq!(state.change_popped(PLACE, 0, 10, 20, 5_000), Some(20));
    assert_eq!(state.change_popped(PLACE, 1, 10, 20, 20), Some(20));
    assert_eq!(state.change_popped(PLACE, 1, 10, 30, 30), None, "another receipt is there");
    assert!(!state.ack_popped(PLACE, 0, 10) && !state.ack_popped(PLACE, 1, 10));
    assert_eq!(pop(&mut state, 20, 9), [], "no receipt is given twice");
    assert_eq!(pop(&mut state, 21, 9), [(1, 1)]);
    assert_eq!(pop(&mut state, 4_999, 9), [(1, 2)]);
    assert!(state.ack_popped(PLACE, 0, 20));
}

#[test]
fn in_order_nothing_is_given_out_before_what_was_is_done() {
    let mut state = queue_of(5);
    assert_eq!(pop_in_order(&mut state, 10, "a"), [(0, 0), (1, 0)]);
    assert_eq!(pop_in_order(&mut state, 11, "b"), []);
    assert_eq!(pop_in_order(&mut state, 12, "a"), [(0, 0), (1, 0)], "an answer that got lost");
    assert!(state.ack_popped(PLACE, 0, 12));
    assert_eq!(pop_in_order(&mut state, 13, "b"), []);
    assert_eq!(pop_in_order(&mut state, 1_012, "b"), [(1, 1), (2, 0)], "its time is over");
    assert!(state.ack_popped(PLACE, 2, 1_012));
    assert_eq!(state.change_popped(PLACE, 1, 1_012, 1_012, 1_100), Some(1_012));
    assert_eq!(pop_in_order(&mut state, 1_099, "c"), []);
    assert_eq!(pop_in_order(&mut state, 1_100, "c"), [(1, 2), (3, 0)]);
    assert!(state.ack_popped(PLACE, 1, 1_100));
    assert_eq!(pop_in_order(&mut state, 1_101, "d"), []);
    assert!(state.ack_popped(PLACE, 3, 1_100));
    assert_eq!(pop_in_order(&mut state, 1_102, "d"), [(4, 0)]);
}

#[test]
fn a_start_knows_what_was_written_and_gives_out_the_rest_again() {
    let mut state = queue_of(6);
    pop(&mut state, 10, 4);
    state.ack_popped(PLACE, 0, 10);
    state.ack_popped(PLACE, 2, 10);
    assert_eq!(in_flight(&copy(&state)), [], "nothing was written yet");
    write(&mut state);
    // Since then, unwritten.
    state.ack_popped(PLACE, 1, 10);
    pop(&mut state, 20, 1);
    let mut copy = copy(&state);
    let flight = InFlight { popped_at: 10, visible_at: 1_010, again: 0 };
    assert_eq!(in_flight(&copy), [(1, flight), (3, flight)]);
    assert_eq!(pop(&mut copy, 30, 9), [(4, 0), (5, 0)], "what was popped since is popped again");
    assert!(copy.ack_popped(PLACE, 3, 10), "receipts outlast it");
    // The group's offset of the old life said that 1 is done.
    assert_eq!(pop(&mut copy, 1_010, 9), []);
    write(&mut state);
    assert_eq!(in_flight(&super::tests::copy(&state)).len(), 2);
}

#[test]
fn what_is_popped_and_done_within_a_second_costs_no_row() {
    let mut state = queue_of(100);
    for now in 1..=10 {
        for (offset, _) in pop(&mut state, now, 10) {
            assert!(state.ack_popped(PLACE, offset, now));
        }
    }
    state.write_popped();
    let content = state.derived.popped.take_change(1_000).expect("its place");
    let said: Vec<_> = PopProgress::decode(&content).expect("whole").iter().collect();
    assert_eq!(said.len(), 1);
    assert_eq!((said[0].cursor, said[0].rows().count()), (Some(100), 0));
}

#[test]
fn entries_of_few_bytes_say_no_more_of_the_place_than_of_what_is_before_it() {
    let mut state = queue_of(60);
    pop(&mut state, 10, 50);
    state.write_popped();
    let mut rows = 0;
    while let Some(content) = state.derived.popped.take_change(200) {
        assert!(content.len() <= 200);
        for said in PopProgress::decode(&content).expect("whole").iter() {
            rows += said.rows().count();
            assert_eq!(said.cursor, Some(rows as i64), "all before it is said");
        }
    }
    assert_eq!(rows, 50);
    pop(&mut state, 20, 1);
    assert!(!state.derived.popped.is_dirty(), "that waits for the next second");
}

#[test]
fn a_reset_ends_what_is_in_flight_also_after_a_crash() {
    let mut state = queue_of(9);
    pop(&mut state, 10, 4);
    write(&mut state);
    state.reset_group_offset(G, T, 0, 2).expect("room");
    assert_eq!(pop(&mut state, 20, 1), [], "not before the log has it");
    assert!(!state.ack_popped(PLACE, 3, 10));
    write(&mut state);
    let mut copy = copy(&state);
    assert_eq!(pop(&mut copy, 30, 2), [(2, 0), (3, 0)]);
    assert_eq!(pop(&mut state, 30, 2), [(2, 0), (3, 0)]);
    assert_eq!(offset(&state), Some(2));
    assert!(state.derived.offset_resets.iter().next().is_none(), "it was heard");
    assert!(!state.ack_popped(PLACE, 2, 10) && state.ack_popped(PLACE, 2, 30));
    assert_eq!(offset(&state), Some(3));
    write(&mut state);
    assert_eq!(in_flight(&state).len(), 1);
}

#[test]
fn a_reset_while_messages_are_read_gives_nothing_out() {
    let mut state = queue_of(9);
    let ask = PopAsk { now: 10, popped_at: 10, count_max: 4, in_order: None };
    let start = state.begin_pop(PLACE, ask, |_| 0).expect("there are messages");
    state.set_pop_busy(PLACE, true);
    assert_eq!(state.begin_pop(PLACE, ask, |_| 0), None, "others pass it");
    state.reset_group_offset(G, T, 0, 7).expect("room");
    let read = PopRead { found: &[0, 1], lost: &[], cursor: 2, popped_at: 10, visible_at: 1_010 };
    assert_eq!(state.end_pop(PLACE, &start, read), None);
    state.set_pop_busy(PLACE, false);
    write(&mut state);
    assert_eq!(pop(&mut state, 20, 9), [(7, 0), (8, 0)]);
}

#[test]
fn a_group_that_pulls_meanwhile_does_not_get_it_again() {
    let mut state = queue_of(9);
    pop(&mut state, 10, 4);
    assert_eq!(state.commit_group_offset(G, T, 0, 6), Ok(true));
    assert_eq!(in_flight(&state), []);
    assert_eq!(pop(&mut state, 5_000, 9), [(6, 0), (7, 0), (8, 0)]);
    assert_eq!(state.commit_group_offset(G, T, 0, 3), Ok(true));
    assert_eq!(pop(&mut state, 5_001, 9), [], "a late commit does not rewind");
    assert!(state.ack_popped(PLACE, 6, 5_000));
    assert_eq!(offset(&state), Some(7));
}

#[test]
fn nothing_is_left_of_a_topic_or_a_group_that_is_deleted() {
    for by_topic in [true, false] {
        let mut state = queue_of(5);
        pop(&mut state, 10, 3);
        write(&mut state);
        match by_topic {
            true => state.remove_topic(T, 9).expect("room"),
            false => state.remove_group(G, 9).expect("room"),
        };
        assert_eq!((in_flight(&state), state.derived.popped.in_flight()), (vec![], 0));
        if by_topic {
            append(&mut state, 2);
        }
        let again = pop(&mut state, 20, 9);
        assert_eq!(again.len(), if by_topic { 2 } else { 5 });
        commit(&mut state);
        assert_eq!(in_flight(&state).len(), again.len(), "the removal is older");
        write(&mut state);
        assert_eq!(in_flight(&copy(&state)).len(), again.len());
    }
    let mut state = queue_of(5);
    pop(&mut state, 10, 3);
    write(&mut state);
    state.remove_group(G, 9).expect("room");
    commit(&mut state);
    assert!(state.derived.popped.is_empty());
}

#[test]
fn what_is_lost_to_damage_is_not_waited_for() {
    let mut state = queue_of(3);
    pop(&mut state, 10, 3);
    let ask = PopAsk { now: 2_000, popped_at: 2_000, count_max: 9, in_order: None };
    let start = state.begin_pop(PLACE, ask, |_| 0).expect("all are visible");
    assert_eq!(start.again, [0, 1, 2]);
    let read =
        PopRead { found: &[2], lost: &[0, 1], cursor: 3, popped_at: 2_000, visible_at: 3_000 };
    assert_eq!(state.end_pop(PLACE, &start, read), Some(vec![Some(1)]));
    assert_eq!(offset(&state), Some(2));
}

#[test]
fn a_queue_that_lost_its_end_is_popped_from_where_it_ends_now() {
    let mut state = queue_of(3);
    state.derived.group_offsets.set(G, T, 0, 50).expect("room");
    assert_eq!(pop(&mut state, 10, 9), []);
    append(&mut state, 2);
    assert_eq!(pop(&mut state, 11, 9), [(3, 0), (4, 0)]);
}

#[test]
fn more_than_may_be_in_flight_are_not_given_out() {
    let mut state = queue_of(9);
    state.derived.popped.limit(8);
    assert_eq!(pop(&mut state, 10, 3).len(), 3);
    assert_eq!(pop(&mut state, 11, 3), [(3, 0)]);
    assert_eq!(pop(&mut state, 12, 3), []);
    assert_eq!(pop(&mut state, 1_010, 9).len(), 3, "what was can be again");
    assert!(state.ack_popped(PLACE, 3, 11));
    assert_eq!(pop(&mut state, 1_012, 9), [(4, 0)]);
    let other = PopPlace { queue_id: 1, ..PLACE };
    let ask = PopAsk { now: 1, popped_at: 1, count_max: 4, in_order: None };
    assert_eq!(state.begin_pop(other, ask, |_| 0), None, "a queue takes room, too");
}

#[test]
fn queues_that_nobody_pops_any_more_are_forgotten() {
    let mut state = queue_of(3);
    for (offset, _) in pop(&mut state, 10, 3) {
        state.ack_popped(PLACE, offset, 10);
    }
    state.forget_idle_pops(POP_IDLE_MS);
    write(&mut state);
    assert_eq!(state.derived.popped.len(), 1);
    state.forget_idle_pops(POP_IDLE_MS + 11);
    write(&mut state);
    assert!(state.derived.popped.is_empty());
    assert_eq!(pop(&mut state, POP_IDLE_MS * 2, 9), [], "the group's offset says it");
    let mut restored = copy(&state);
    restored.forget_idle_pops(POP_IDLE_MS * 3);
    assert_eq!(offset(&restored), Some(3));
}

/// Takes what changed into the log, without committing it.
fn append_only(state: &mut StoreState) {
    state.write_popped();
    while state.append_group_offsets(9).expect("room").is_some() {}
}

#[test]
fn our_own_entries_change_nothing_that_holds_now() {
    for batch_is_open in [false, true] {
        let mut state = queue_of(40);
        pop(&mut state, 10, 10);
        if batch_is_open {
            let slot = state.queue_slot("other", 0);
            let message = Append { slot, bytes: 50, tags_code: 0, keys: &[] };
            state.append(message, 9, |_, out| out.fill(1));
        }
        append_only(&mut state);
        for (offset, _) in pop(&mut state, 20, 10) {
            assert!(state.ack_popped(PLACE, offset, 20));
        }
        assert!(state.ack_popped(PLACE, 3, 10));
        commit(&mut state);
        assert_eq!(pop(&mut state, 30, 1), [(20, 0)], "what is done is not popped again");
        assert_eq!(in_flight(&state).len(), 10);
        assert!(!in_flight(&state).iter().any(|(offset, _)| *offset == 3));

        append_only(&mut state);
        state.reset_group_offset(G, T, 0, 5).expect("room");
        commit(&mut state);
        assert_eq!(in_flight(&state), [], "the reset is newer");
        write(&mut state);
        assert_eq!(pop(&mut state, 40, 1), [(5, 0)]);
    }
}

#[test]
fn a_crash_between_what_the_log_says_of_pops_and_of_offsets_passes_nothing() {
    let mut state = queue_of(40);
    pop(&mut state, 10, 10);
    state.ack_popped(PLACE, 0, 10);
    write(&mut state);
    let mut copy = copy(&state);
    copy.derived.group_offsets = GroupOffsets::default();
    let ask = PopAsk { now: 2_000, popped_at: 2_000, count_max: 4, in_order: None };
    let start = copy.begin_pop(PLACE, ask, |_| 39).expect("there are messages");
    assert_eq!((start.again, start.cursor), (vec![1, 2], 10), "half of it is for new ones");
}

#[test]
fn a_queue_that_lost_its_end_keeps_what_is_in_flight_before_it() {
    let mut state = queue_of(9);
    pop(&mut state, 10, 9);
    for offset in (0..9).filter(|offset| ![2, 7].contains(offset)) {
        assert!(state.ack_popped(PLACE, offset, 10));
    }
    write(&mut state);
    // The end was damaged, and a start found that.
    state.derived.popped.settle(|_, _| 6, |_, _, _| None);
    assert_eq!(in_flight(&state).len(), 1, "7 is not there any more");
    assert_eq!(state.derived.popped.get(G, T, 0).and_then(PopQueue::cursor), Some(6));
    write(&mut state);
    let mut copy = copy(&state);
    assert_eq!(in_flight(&copy).len(), 1);
    assert_eq!(pop(&mut copy, 20, 2), [(6, 0), (7, 0)], "what lies there now is new");
    assert_eq!(pop(&mut copy, 1_010, 1), [(2, 1)]);
}

#[test]
fn one_time_stands_for_what_shards_with_other_clocks_give() {
    let mut state = queue_of(4);
    let at = |now, popped_at, count_max| PopAsk { now, popped_at, count_max, in_order: None };
    assert_eq!(pop_as(&mut state, at(10, 7, 2)), [(0, 0), (1, 0)]);
    assert!(state.ack_popped(PLACE, 0, 7));
    assert_eq!(pop_as(&mut state, at(1_009, 2_000, 9)), [(2, 0), (3, 0)]);
    assert_eq!(pop_as(&mut state, at(1_010, 7, 9)), [], "a receipt of that time was given");
    assert_eq!(pop_as(&mut state, at(1_010, 8, 9)), [(1, 1)]);
}

#[test]
fn what_fails_again_and_again_does_not_stop_what_was_never_tried() {
    let mut state = queue_of(20);
    assert_eq!(pop(&mut state, 10, 4).len(), 4);
    // Nothing of it is ever acknowledged.
    assert_eq!(pop(&mut state, 2_000, 4), [(0, 1), (1, 1), (4, 0), (5, 0)]);
    assert_eq!(pop(&mut state, 2_001, 4), [(2, 1), (3, 1), (6, 0), (7, 0)]);
    let one_by_one: Vec<_> = (4_000..4_004).flat_map(|now| pop(&mut state, now, 1)).collect();
    assert_eq!(one_by_one, [(0, 2), (8, 0), (1, 2), (9, 0)]);
}

#[test]
fn queues_of_which_nothing_was_popped_take_no_room() {
    let mut state = queue_of(3);
    let ask = PopAsk { now: 1, popped_at: 1, count_max: 4, in_order: None };
    for queue_id in 1..100 {
        let place = PopPlace { queue_id, ..PLACE };
        let start = state.begin_pop(place, ask, |_| 0).expect("it may look");
        let read = PopRead { found: &[], lost: &[], cursor: 0, popped_at: 1, visible_at: 2 };
        assert_eq!(state.end_pop(place, &start, read), Some(vec![]));
    }
    assert!(state.derived.popped.is_empty());
    assert_eq!(pop(&mut state, 10, 9).len(), 3);
}
