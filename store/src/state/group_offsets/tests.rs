//! Offsets of groups: what is kept, what is refused, and how they are written in pieces.

use super::*;

/// Takes all changes, as the log would.
fn taken(offsets: &mut GroupOffsets, bytes_max: usize, position: u64) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| offsets.take_change(bytes_max, position)).collect()
}

fn apply(offsets: &mut GroupOffsets, content: &[u8], position: u64) {
    let changes = OffsetChanges::decode(content).expect("our own content");
    offsets.apply(&ControlEntry::GroupOffsets(changes), position);
}

#[test]
fn changes_are_coalesced_and_replayed() {
    let mut offsets = GroupOffsets::default();
    for offset in 0..100 {
        offsets.set("group", "topic", 0, offset).expect("room");
        offsets.set("group", "topic", 3, offset * 2).expect("room");
    }
    offsets.set("other", "topic", 0, 5).expect("room");
    let contents = taken(&mut offsets, CONTENT_BYTES_MAX, 10);
    assert!(contents.len() == 1 && contents[0].len() < 100);

    let mut replayed = GroupOffsets::default();
    apply(&mut replayed, &contents[0], 10);
    assert_eq!(replayed.get("group", "topic", 0), Some(99));
    assert_eq!(replayed.get("group", "topic", 3), Some(198));
    assert_eq!(replayed.get("other", "topic", 0), Some(5));
    assert_eq!(replayed.get("other", "topic", 1), None);
    assert!(!replayed.is_dirty());
}

#[test]
fn an_offset_may_go_back_and_a_cut_content_is_refused() {
    let mut offsets = GroupOffsets::default();
    offsets.set("g", "t", 0, 10).expect("room");
    offsets.set("g", "t", 0, 3).expect("room");
    let content = offsets.take_change(CONTENT_BYTES_MAX, 0).expect("a change");
    assert_eq!(offsets.get("g", "t", 0), Some(3));
    for cut in 1..content.len() {
        assert!(OffsetChanges::decode(&content[..cut]).is_err());
        assert!(GroupOffsets::default().restore(&content[..cut]).is_err());
    }
}

#[test]
fn many_changes_are_spread_over_entries_that_fit() {
    let mut offsets = GroupOffsets::default();
    for queue_id in 0..5_000 {
        offsets.set("group", "topic", queue_id, i64::from(queue_id)).expect("room");
        offsets.set("other", "topic", queue_id % 7, i64::from(queue_id)).expect("room");
    }
    let mut replayed = GroupOffsets::default();
    let contents = taken(&mut offsets, 1_000, 10);
    for content in &contents {
        assert!(content.len() <= 1_000);
        apply(&mut replayed, content, 10);
    }
    assert!(contents.len() > 60 && !offsets.is_dirty());
    assert_eq!(replayed.iter().count(), 5_007);
    assert!(replayed.iter().all(|(group, topic, queue_id, offset)| {
        offsets.get(group, topic, queue_id) == Some(offset)
    }));
}

/// What a client sees and what the log has, beside a model of both, over random changes, losses of what was not
/// committed, and snapshots.
#[test]
fn what_is_visible_and_what_is_committed_follow_their_models() {
    use std::collections::{BTreeMap, VecDeque};
    type Table = BTreeMap<(String, String, u32), i64>;
    enum Logged {
        Offsets(Vec<u8>),
        Topic(String),
        Group(String),
    }
    let table = |offsets: &GroupOffsets| -> Table {
        let row = |(group, topic, queue, offset): (&str, &str, u32, i64)| {
            ((group.to_owned(), topic.to_owned(), queue), offset)
        };
        offsets.iter().map(row).collect()
    };
    let restored = |offsets: &GroupOffsets| {
        let mut pieces = Vec::new();
        let mut place = Place::default();
        while offsets.snapshot(&mut place, &mut pieces) {}
        let mut restored = GroupOffsets::default();
        pieces.iter().for_each(|piece| restored.restore(piece).expect("our own piece"));
        restored
    };
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut offsets = GroupOffsets::default();
        let (mut visible, mut committed) = (Table::new(), Table::new());
        let mut log: VecDeque<(u64, Logged)> = VecDeque::new();
        let mut end = 0;
        for _ in 0..200 {
            let (group, topic) = (format!("g{}", rng.u8(0..3)), format!("t{}", rng.u8(0..3)));
            match rng.u8(0..12) {
                0..5 => {
                    let (queue, offset) = (rng.u32(0..2), rng.i64(0..5));
                    offsets.set(&group, &topic, queue, offset).expect("room");
                    visible.insert((group, topic, queue), offset);
                }
                5..7 => {
                    for content in taken(&mut offsets, 40, end) {
                        log.push_back((end, Logged::Offsets(content)));
                        end += 10;
                    }
                }
                7 => {
                    log.push_back((end, Logged::Topic(topic.clone())));
                    offsets.forget_topic(&topic, end);
                    visible.retain(|(_, other, _), _| *other != topic);
                    end += 10;
                }
                8 => {
                    log.push_back((end, Logged::Group(group.clone())));
                    offsets.forget_group(&group, end);
                    visible.retain(|(other, _, _), _| *other != group);
                    end += 10;
                }
                9..11 => {
                    let Some((position, logged)) = log.pop_front() else { continue };
                    match logged {
                        Logged::Offsets(content) => {
                            apply(&mut offsets, &content, position);
                            for change in OffsetChanges::decode(&content).expect("our own").iter() {
                                let OffsetChange { group, topic, queue_id, offset } = change;
                                let name = (group.to_owned(), topic.to_owned(), queue_id);
                                committed.insert(name, offset);
                            }
                        }
                        Logged::Topic(topic) => {
                            let entry = ControlEntry::TopicRemoved { topic: &topic };
                            offsets.apply(&entry, position);
                            committed.retain(|(_, other, _), _| *other != topic);
                        }
                        Logged::Group(group) => {
                            let entry = ControlEntry::GroupRemoved { group: &group };
                            offsets.apply(&entry, position);
                            committed.retain(|(other, _, _), _| *other != group);
                        }
                    }
                }
                _ if rng.u8(0..10) == 0 => {
                    // The store is opened again: what was not committed is gone.
                    offsets = restored(&offsets);
                    log.clear();
                    visible = committed.clone();
                }
                _ => {}
            }
            assert_eq!(table(&offsets), visible, "seed {seed}");
            assert_eq!(table(&restored(&offsets)), committed, "seed {seed}");
        }
    }
}

/// Goal: a topic with as many queues as may be costs as much per queue as a small one. With a look through all others
/// for each of them this test would take minutes.
#[test]
fn offsets_of_the_widest_topic_are_set_logged_and_removed() {
    const QUEUES: u32 = QUEUE_ID_MAX + 1;
    let mut offsets = GroupOffsets::default();
    let mut replayed = GroupOffsets::default();
    for round in 0..3 {
        // In an order that is neither theirs nor its reverse.
        for number in 0..QUEUES {
            let queue_id = number.wrapping_mul(40_503) % QUEUES;
            offsets.set("group", "topic", queue_id, i64::from(queue_id) + round).expect("room");
        }
        let contents = taken(&mut offsets, CONTENT_BYTES_MAX, 10);
        assert_eq!(contents.len(), 4, "some bytes more than three entries hold");
        contents.iter().for_each(|content| apply(&mut replayed, content, 10));
    }
    assert_eq!((offsets.count(), replayed.count()), (QUEUES as usize, QUEUES as usize));
    for queue_id in [0, 1, 40_503, QUEUE_ID_MAX] {
        let expected = Some(i64::from(queue_id) + 2);
        assert_eq!(replayed.get("group", "topic", queue_id), expected);
    }
    replayed.forget_topic("topic", 20);
    assert_eq!(replayed.iter().count(), 0);
    replayed.apply(&ControlEntry::TopicRemoved { topic: "topic" }, 20);
    assert_eq!((replayed.count(), replayed.bytes()), (0, 0));
}

/// Goal: what walks all offsets does a bounded part at a time, and sees each once.
#[test]
fn walks_go_in_pieces() {
    const GROUPS: usize = 30_000;
    let mut offsets = GroupOffsets::default();
    for number in 0..GROUPS {
        let (group, topic) = (format!("group{number}"), format!("topic{}", number % 2));
        offsets.set(&group, &topic, number as u32 % 3, number as i64).expect("room");
    }
    for queue_id in 0..10_000 {
        offsets.set("wide", "topic0", queue_id, 1).expect("room");
    }
    taken(&mut offsets, CONTENT_BYTES_MAX, 0).iter().for_each(|content| {
        apply(&mut offsets, content, 0);
    });
    let mut restored = GroupOffsets::default();
    let (mut place, mut seen, mut steps) = (Place::default(), 0, 0);
    loop {
        let mut pieces = Vec::new();
        let more = offsets.snapshot(&mut place, &mut pieces);
        for piece in &pieces {
            seen += OffsetChanges::decode(piece).expect("our own").iter().count();
            restored.restore(piece).expect("our own");
        }
        steps += 1;
        assert!(seen <= steps * STEP_SLOTS);
        if !more {
            break;
        }
    }
    assert_eq!(seen, GROUPS + 10_000);
    assert!(restored.iter().eq(offsets.iter()), "also in its order");

    let mut largest = AHashMap::<u32, i64>::new();
    let (mut place, mut seen, mut steps) = (Place::default(), 0, 0);
    while offsets.offsets_on("topic0", &mut place, |queue_id, offset| {
        seen += 1;
        let of_queue = largest.entry(queue_id).or_insert(offset);
        *of_queue = offset.max(*of_queue);
    }) {
        steps += 1;
    }
    assert!(seen == GROUPS / 2 + 10_000 && seen / STEP_SLOTS <= steps);
    assert_eq!(largest.get(&0), Some(&(GROUPS as i64 - 6)), "the last even one that 3 divides");

    let (mut place, mut groups, mut steps) = (Place::default(), 0, 0);
    while offsets.groups_on("topic1", &mut place, |_| groups += 1) {
        steps += 1;
    }
    assert!(groups == GROUPS / 2 && steps >= groups / STEP_SLOTS);
    let mut topics = Vec::new();
    let mut place = Place::default();
    assert!(!offsets.topics_of("wide", &mut place, |topic| topics.push(topic.to_owned())));
    assert_eq!(topics, ["topic0"]);
}

#[test]
fn what_offsets_take_up_is_counted_and_bounded() {
    const LIMIT: usize = 100_000;
    let mut offsets = GroupOffsets::default();
    offsets.limit_bytes(LIMIT);
    let full = (0..u32::MAX).find_map(|number| {
        let group = format!("group{}", number / 2);
        offsets.set(&group, "topic", number % 2, 7).err().map(|refused| (number, refused))
    });
    let (number, refused) = full.expect("full at some time");
    let bytes = offsets.bytes();
    assert_eq!(refused, OffsetRefused::Full { bytes, limit: LIMIT });
    assert!(number > 100 && bytes <= LIMIT && LIMIT - bytes < 2_000, "{number} {bytes}");
    assert_eq!(offsets.set("group0", "topic", 0, 8), Ok(()), "those that are there can be changed");
    let more = (2..100).filter(|queue| offsets.set("group0", "topic", *queue, 8).is_ok()).count();
    assert!(more < 30, "no room for a new group is room for some queues: {more}");
    let long = "n".repeat(NAME_BYTES_MAX + 1);
    let too_long = Err(OffsetRefused::NameTooLong { bytes: long.len() });
    assert_eq!(offsets.set(&long, "topic", 0, 8), too_long);
    assert_eq!(offsets.set("group", &long, 0, 8), too_long);
    assert!((bytes..=LIMIT).contains(&offsets.bytes()));
    offsets.apply(&ControlEntry::GroupRemoved { group: "group0" }, 50);
    assert!(offsets.get("group0", "topic", 0).is_some(), "committed later than that was");
    offsets.forget_group("group1", 60);
    offsets.apply(&ControlEntry::GroupRemoved { group: "group1" }, 60);
    assert_eq!(offsets.set("new", "topic", 0, 8), Ok(()), "there is room again");
    offsets.forget_topic("topic", 70);
    offsets.apply(&ControlEntry::TopicRemoved { topic: "topic" }, 70);
    assert_eq!((offsets.count(), offsets.bytes()), (0, 0));
    assert!(taken(&mut offsets, CONTENT_BYTES_MAX, 80).is_empty());
}

#[test]
fn one_change_fits_whatever_the_names_and_the_limit() {
    let name = "n".repeat(NAME_BYTES_MAX);
    for bytes_max in [0, 1, 500, ENTRY_BYTES_MIN, 1_000] {
        let mut offsets = GroupOffsets::default();
        for (group, queue_id) in [("a", 0), (&name, 1), (&name, 2), ("b", 3)] {
            offsets.set(group, &name, queue_id, 5).expect("room");
        }
        let limit = GroupOffsets::change_bytes_max(bytes_max);
        assert!(limit <= bytes_max.max(ENTRY_BYTES_MIN - CONTROL_HEADER_BYTES));
        let contents = taken(&mut offsets, bytes_max, 0);
        assert!(contents.iter().all(|content| content.len() <= limit), "{bytes_max}");
        let mut replayed = GroupOffsets::default();
        contents.iter().for_each(|content| apply(&mut replayed, content, 0));
        assert_eq!(replayed.iter().count(), 4, "{bytes_max}");
    }
}

#[test]
fn what_a_large_removal_leaves_is_swept_in_pieces_and_seen_by_nobody() {
    let groups = STEP_SLOTS + 100;
    let mut offsets = GroupOffsets::default();
    let empty = offsets.bytes();
    for number in 0..groups {
        offsets.set(&format!("group-{number}"), "topic", 0, 7).expect("room");
    }
    taken(&mut offsets, 1 << 20, 100);
    offsets.forget_topic("topic", 200);
    offsets.apply(&ControlEntry::TopicRemoved { topic: "topic" }, 200);
    assert_eq!((offsets.count(), offsets.iter().count()), (0, 0));
    let mut seen = 0;
    let mut place = Place::default();
    while offsets.groups_on("topic", &mut place, |_| seen += 1) {}
    assert_eq!((seen, offsets.get("group-3", "topic", 0)), (0, None));
    // One comes back before it is swept, and stays.
    offsets.set("group-3", "topic", 1, 9).expect("room");
    offsets.sweep();
    assert!(offsets.bytes() > empty + 100 * PAIR_COST, "a piece at a time");
    offsets.sweep();
    assert_eq!(offsets.get("group-3", "topic", 1), Some(9));
    let left: Vec<_> = offsets.iter().map(|(group, ..)| group.to_owned()).collect();
    assert_eq!(left, ["group-3"]);
    assert!(offsets.bytes() < empty + 2 * (PAIR_COST + NAME_COST) + 1_000, "{}", offsets.bytes());
    assert!(!offsets.has_group("group-4") && offsets.has_group("group-3"));
}
