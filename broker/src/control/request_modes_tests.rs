//! Unit tests of request modes: what is set, what goes with its topic or group, and what a start finds.

use super::*;
use crate::table_memory::TableLimits;
use runtime::sim::block_on;

const POP: RequestMode = RequestMode { mode: MessageRequestMode::Pop, pop_share_queue_num: 2 };
const PULL: RequestMode = RequestMode { mode: MessageRequestMode::Pull, pop_share_queue_num: 0 };

fn set(modes: &mut RequestModes, topic: &str, group: &str, mode: RequestMode) {
    modes.set(topic, group, mode).expect("there is room");
    modes.check();
}

/// The content of the file.
fn file(modes: &RequestModes) -> Vec<u8> {
    block_on(modes.all().encode(&async || ())).expect("no disk is needed")
}

fn replay(modes: &mut RequestModes, record: &[u8]) {
    match change::read(record).expect("our own") {
        change::Change::ModeSet(version, entry) => modes.replay_set(version, &entry),
        change::Change::TopicModesRemoved(version, topic) => {
            modes.replay_topic_removed(version, &topic);
        }
        change::Change::GroupModesRemoved(version, group) => {
            modes.replay_group_removed(version, &group);
        }
        other => panic!("{other:?}"),
    }
    modes.check();
}

#[test]
fn a_mode_holds_for_its_topic_and_group_until_it_is_set_again() {
    let mut modes = RequestModes::default();
    assert_eq!(modes.get("t", "g"), None);
    set(&mut modes, "t", "g", POP);
    set(&mut modes, "t", "h", PULL);
    set(&mut modes, "u", "g", PULL);
    assert_eq!((modes.get("t", "g"), modes.get("t", "h")), (Some(POP), Some(PULL)));
    assert_eq!((modes.get("u", "h"), modes.count()), (None, 3));
    assert_eq!(modes.take_changes().len(), 3);
    set(&mut modes, "t", "g", PULL);
    assert_eq!((modes.get("t", "g"), modes.count()), (Some(PULL), 3));
    assert_eq!(modes.take_changes().len(), 1);
    set(&mut modes, "t", "g", PULL);
    assert!(modes.take_changes().is_empty(), "it was so already");
}

#[test]
fn modes_go_with_their_topic_and_with_their_group() {
    let mut modes = RequestModes::default();
    for (topic, group) in [("t", "g"), ("t", "h"), ("u", "g"), ("v", "i")] {
        set(&mut modes, topic, group, POP);
    }
    modes.take_changes();
    modes.topic_deleted("t");
    modes.check();
    assert_eq!((modes.count(), modes.get("t", "g"), modes.get("u", "g")), (2, None, Some(POP)));
    modes.group_deleted("g");
    modes.check();
    assert_eq!((modes.count(), modes.get("u", "g"), modes.get("v", "i")), (1, None, Some(POP)));
    assert_eq!(modes.take_changes().len(), 2);
    modes.topic_deleted("t");
    modes.group_deleted("h");
    assert!(modes.take_changes().is_empty(), "there was nothing any more");
    modes.topic_deleted("v");
    modes.check();
    assert_eq!((modes.count(), modes.memory.level().0), (0, 0));
}

/// What a start finds: the journal's changes over a file of any time before them.
#[test]
fn modes_survive_a_restart() {
    let mut modes = RequestModes::default();
    let (mut files, mut changes) = (vec![(file(&modes), 0)], Vec::new());
    let steps: [&dyn Fn(&mut RequestModes); 7] = [
        &|modes| set(modes, "t", "g", POP),
        &|modes| set(modes, "t", "h", PULL),
        &|modes| modes.topic_deleted("t"),
        &|modes| set(modes, "t", "h", POP),
        &|modes| set(modes, "u", "g", PULL),
        &|modes| modes.group_deleted("g"),
        &|modes| set(modes, "t", "h", PULL),
    ];
    for step in steps {
        step(&mut modes);
        changes.extend(modes.take_changes());
        files.push((file(&modes), changes.len()));
    }
    assert_eq!(changes.len(), 7);
    let last = file(&modes);
    for (json, contained) in &files {
        // Also when the journal repeats what the file contains.
        for from in 0..=*contained {
            let mut again = RequestModes::default();
            again.load(&RequestModeTable::read(json).expect("our own"));
            again.check();
            changes[from..].iter().for_each(|change| replay(&mut again, change));
            assert_eq!(String::from_utf8(file(&again)), String::from_utf8(last.clone()));
            assert!(again.take_changes().is_empty(), "nothing is new");
            assert_eq!((again.get("t", "h"), again.count()), (Some(PULL), 1));
        }
    }
}

#[test]
fn a_start_takes_away_what_a_crash_has_left() {
    let mut modes = RequestModes::default();
    for (topic, group) in [("t", "g"), ("t", "h"), ("u", "g"), ("u", "h")] {
        set(&mut modes, topic, group, POP);
    }
    modes.take_changes();
    let gone = modes.retain(|topic| topic != "t", |group| group != "h");
    modes.check();
    assert_eq!((gone, modes.count(), modes.get("u", "g")), (3, 1, Some(POP)));
    assert_eq!(modes.take_changes().len(), 2, "as many as the deletions would have made");
    assert_eq!(modes.retain(|_| true, |_| true), 0);
    assert!(modes.take_changes().is_empty());
}

#[test]
fn the_file_has_javas_shape() {
    let mut modes = RequestModes::default();
    assert_eq!(file(&modes), br#"{"counter":0,"messageRequestModeMap":{}}"#);
    for (topic, group) in [("b", "g"), ("b", "h"), ("a", "g")] {
        set(&mut modes, topic, group, POP);
    }
    let all = modes.all();
    assert_eq!(all.count(), 3);
    let mut answer = Vec::new();
    all.to_table().write(&mut answer);
    let answer = String::from_utf8(answer).expect("UTF-8");
    let of = |topic: &str, group: &str| {
        format!(
            r#""{group}":{{"consumerGroup":"{group}","mode":"POP","popShareQueueNum":2,"topic":"{topic}"}}"#
        )
    };
    let map = format!(r#"{{"a":{{{}}},"b":{{{},{}}}}}"#, of("a", "g"), of("b", "g"), of("b", "h"));
    assert_eq!(answer, format!(r#"{{"messageRequestModeMap":{map}}}"#));
    let with_counter = format!(r#"{{"counter":3,"messageRequestModeMap":{map}}}"#);
    assert_eq!(String::from_utf8(file(&modes)).expect("UTF-8"), with_counter);
    let mut again = RequestModes::default();
    again.load(&RequestModeTable::read(answer.as_bytes()).expect("as Java's broker writes it"));
    again.check();
    assert_eq!((again.count(), again.get("b", "h")), (3, Some(POP)));
}

#[test]
fn what_does_not_fit_is_refused_with_the_limit_and_changes_nothing() {
    let memory = Rc::new(TableMemory::default());
    memory.limit(TableLimits { bytes: 3_000, ..TableLimits::NONE });
    let mut modes = RequestModes::new(Rc::clone(&memory));
    set(&mut modes, "t", "g", POP);
    set(&mut modes, "t", "h", POP);
    let before = file(&modes);
    let refused = modes.set("u", "i", POP).expect_err("no room").to_string();
    assert!(refused.contains("request modes") && refused.contains("3000"), "{refused}");
    assert!(refused.contains("memoryBudgetMiB"), "{refused}");
    assert_eq!(file(&modes), before);
    set(&mut modes, "t", "g", PULL);
    modes.topic_deleted("t");
    set(&mut modes, "u", "i", POP);
    let unsaved = TableLimits { unsaved_bytes: 1, ..TableLimits::NONE };
    memory.limit(unsaved);
    let refused = modes.set("u", "j", POP).expect_err("they wait for the disk");
    assert!(matches!(refused, MetadataError::Unsaved { .. }), "{refused}");
    modes.group_deleted("i");
    assert_eq!(modes.count(), 0, "what makes room is never refused");
}

#[test]
fn there_are_no_more_than_a_file_holds() {
    let mut modes = RequestModes::default();
    for number in 0..REQUEST_MODES_MAX {
        modes.insert("t", &format!("g{number}"), PULL);
    }
    modes.check();
    let refused = modes.set("t", "one-more", POP).expect_err("full").to_string();
    assert_eq!(refused, "this broker holds 65536 request modes, its limit");
    modes.set("t", "g7", POP).expect("one that is there");
}

/// What a file takes up is no more than half of what is counted, as `config::MemoryPlan` believes; and it can be read.
#[test]
fn files_are_no_larger_than_what_is_counted() {
    let mut modes = RequestModes::default();
    let longest = RequestMode { mode: MessageRequestMode::Pull, pop_share_queue_num: i32::MIN };
    for number in 0..50 {
        let (topic, group) = (format!("{number:0>127}"), format!("{number:0>255}"));
        set(&mut modes, &topic, &group, longest);
        set(&mut modes, &format!("t{number}"), &format!("g{number}"), longest);
    }
    let json = file(&modes);
    let counted = modes.memory.level().0;
    assert!(2 * json.len() <= counted, "{} of {counted}", json.len());
    let each = json.len() / 50;
    assert!(each * REQUEST_MODES_MAX < 64 << 20, "{each} bytes for two of them");
}
