//! The state over a log that nobody writes: what is visible when, groups, offsets of groups, what a start replays.

use super::*;
use crate::state::group_offsets::{self, OffsetChanges};

const ALONE: CommitRule =
    CommitRule { stored: crate::log::Stored::Flushed, limit: CommitRule::ALONE };

fn append(state: &mut StoreState, topic: &str, queue_id: u32) -> Placed {
    let slot = state.queue_slot(topic, queue_id);
    let message = Append { slot, bytes: 50, tags_code: 0, keys: &[] };
    state.append(message, 9, |_, out| out.fill(1))
}

fn commit(state: &mut StoreState) -> Vec<usize> {
    while let Some(write) = state.log.take_write() {
        state.log.written(&write, true);
    }
    state.cross_gate(ALONE);
    state.check();
    let mut grown = Vec::new();
    state.take_published(|slot| grown.push(slot.index()));
    grown
}

fn max(state: &StoreState, topic: &str, queue_id: u32) -> Option<i64> {
    state.queue(topic, queue_id).map(ConsumeQueue::max)
}

#[test]
fn a_message_is_visible_when_the_log_is_committed_past_it_and_not_before() {
    let mut state = StoreState::unwritten(3);
    let first = append(&mut state, "a", 0);
    let second = append(&mut state, "a", 0);
    append(&mut state, "b", 5);
    assert_eq!((first.queue_offset, second.queue_offset), (0, 1));
    assert_eq!((first.physical.shard(), first.physical.position()), (3, 64));
    assert_eq!(second.end, second.physical.position() + 50);
    state.check();
    assert_eq!(max(&state, "a", 0), Some(0));
    assert_eq!(commit(&mut state), [0, 1], "each queue that grew, once");
    assert_eq!((max(&state, "a", 0), max(&state, "b", 5)), (Some(2), Some(1)));
    assert!(commit(&mut state).is_empty());
    assert_eq!(state.counters(), Counters { messages: 3, record_bytes: 150, refused_offsets: 0 });
}

#[test]
fn a_topic_that_is_deleted_and_made_again_starts_at_0() {
    let mut state = StoreState::unwritten(3);
    append(&mut state, "a", 0);
    state.derived.group_offsets.set("g", "a", 0, 1).expect("room");
    assert_eq!(state.remove_topic("unknown", 1), Ok(None));
    state.remove_topic("a", 1).expect("admitted").expect("known");
    assert_eq!((max(&state, "a", 0), state.derived.group_offsets.get("g", "a", 0)), (None, None));
    assert_eq!(append(&mut state, "a", 0).queue_offset, 0);
    commit(&mut state);
    assert_eq!(max(&state, "a", 0), Some(1), "what was pending of the old one is gone");
}

#[test]
fn group_offsets_that_the_log_refuses_stay_for_the_next_time() {
    let mut state = StoreState::unwritten(3);
    state.derived.group_offsets.set("g", "a", 0, 1).expect("room");
    while state.admit(2_100, 2_100).is_ok() {
        let topic = "t".repeat(2_090);
        let entry = ControlEntry::TopicRemoved { topic: &topic };
        state.append_control(&entry, 1).expect("admitted");
    }
    assert!(matches!(state.append_group_offsets(1), Err(Refused::Busy { .. })));
    commit(&mut state);
    assert!(state.append_group_offsets(1).expect("room").is_some());
    assert_eq!(state.append_group_offsets(1), Ok(None));
}

#[test]
fn a_group_crosses_the_gate_as_one_and_its_control_entry_becomes_state_there() {
    let mut state = StoreState::unwritten(3);
    let content = OffsetChanges::encode(&[group_offsets::OffsetChange {
        group: "g",
        topic: "a",
        queue_id: 0,
        offset: 5,
    }]);
    let changes = OffsetChanges::decode(&content).expect("our own");
    let control = ControlEntry::GroupOffsets(changes);
    for count in 1..200 {
        let slot = state.queue_slot("a", 0);
        let message = Append { slot, bytes: 50, tags_code: 0, keys: &[] };
        state.admit_group(&control, 50).expect("room");
        let (position, placed) = state.append_group(&control, message, 9, |_, out| out.fill(1));
        assert_eq!(position + control.bytes() as u64, placed.physical.position());
        assert_eq!(max(&state, "a", 0), Some(count - 1));
        commit(&mut state);
        assert_eq!(max(&state, "a", 0), Some(count));
        assert_eq!(state.derived.group_offsets.get("g", "a", 0), Some(5));
    }
    let large = state.log.shape().entry_bytes_max;
    assert!(matches!(state.admit_group(&control, large), Err(Refused::TooLarge { .. })));
}

/// Offsets of a group as an index file would have them now.
fn committed(state: &StoreState) -> Vec<(String, i64)> {
    let mut restored = ShardState::default();
    restored.restore(&state.derived.snapshot()).expect("our own sections");
    let offsets = restored.group_offsets.iter();
    offsets.map(|(_, topic, _, offset)| (topic.to_owned(), offset)).collect()
}

#[test]
fn an_offset_is_visible_at_once_and_becomes_state_when_its_entry_is_committed() {
    let mut state = StoreState::unwritten(3);
    state.derived.group_offsets.set("g", "a", 0, 1).expect("room");
    assert_eq!(state.derived.group_offsets.get("g", "a", 0), Some(1));
    assert_eq!(committed(&state), []);
    state.append_group_offsets(1).expect("room");
    state.derived.group_offsets.set("g", "a", 0, 2).expect("room");
    assert_eq!(committed(&state), [], "appended is not committed");
    commit(&mut state);
    assert_eq!(committed(&state), [("a".to_owned(), 1)]);
    assert_eq!(state.derived.group_offsets.get("g", "a", 0), Some(2), "newer than the log");
    assert_eq!(state.append_group_offsets(1).map(|end| end.is_some()), Ok(true));
    commit(&mut state);
    assert_eq!(committed(&state), [("a".to_owned(), 2)]);
}

#[test]
fn entries_in_flight_change_the_state_in_log_order_and_never_what_came_after_them() {
    let mut state = StoreState::unwritten(3);
    append(&mut state, "a", 0);
    state.derived.group_offsets.set("g", "a", 0, 7).expect("room");
    state.append_group_offsets(1).expect("room");
    let first = state.log.take_write().expect("a batch");
    state.remove_topic("a", 1).expect("admitted").expect("known");
    append(&mut state, "a", 0);
    state.derived.group_offsets.set("g", "a", 0, 1).expect("room");
    state.append_group_offsets(1).expect("room");
    let visible = |state: &StoreState| state.derived.group_offsets.get("g", "a", 0);
    assert_eq!(visible(&state), Some(1));
    state.log.written(&first, true);
    state.cross_gate(ALONE);
    assert_eq!((visible(&state), committed(&state)), (Some(1), vec![("a".to_owned(), 7)]));
    commit(&mut state);
    assert_eq!((visible(&state), committed(&state)), (Some(1), vec![("a".to_owned(), 1)]));
    state.remove_group("g", 1).expect("admitted");
    assert_eq!((visible(&state), committed(&state)), (None, vec![("a".to_owned(), 1)]));
    commit(&mut state);
    assert_eq!((visible(&state), committed(&state)), (None, vec![]));
}

#[test]
fn replayed_offsets_stay_dense_over_damage_and_start_again_after_a_lost_deletion() {
    let mut state = StoreState::unwritten(3);
    let entry = |position| Entry::new(position, 50, 0);
    for (offset, position) in [(4, 100), (5, 200), (8, 900)] {
        state.replay_record("a", 0, offset, 1, entry(position)).expect("possible");
    }
    state.publish_before(950);
    let queue = state.queue("a", 0).expect("replayed");
    assert_eq!((queue.min(), queue.max()), (4, 9));
    assert_eq!(queue.get(6).map(|hole| hole.bytes()), Some(0));
    assert!(state.replay_record("a", 0, -1, 1, entry(950)).is_err());
    state.replay_record("a", 0, 0, 1, entry(1_000)).expect("the topic was made again");
    state.publish_before(1_050);
    let queue = state.queue("a", 0).expect("replayed");
    assert_eq!((queue.min(), queue.max()), (0, 1));
    state.check();
}
