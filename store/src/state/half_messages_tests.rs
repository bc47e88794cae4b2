//! Half messages by themselves: who is handed out when, who may end one, what a snapshot says.

use super::*;

fn check(position: u64, due: i64, checks: u32) -> HalfCheck {
    HalfCheck { position, due, checks }
}

fn take(halves: &mut HalfMessages, now: i64, count_max: usize) -> Vec<u64> {
    let mut out = Vec::new();
    halves.take_due(now, Portion { records: count_max, bytes: usize::MAX }, &mut out);
    out.into_iter().map(|half| half.position).collect()
}

fn end(halves: &mut HalfMessages, position: u64) {
    let outcome = HalfOutcome::Committed;
    halves.apply(&ControlEntry::HalfEnded { position, outcome }, 0);
}

fn apply_checks(halves: &mut HalfMessages, checks: &[HalfCheck]) {
    let rows = HalfChecks::encode(checks);
    let rows = HalfChecks::decode(&rows).expect("whole");
    halves.apply(&ControlEntry::HalfChecked(rows), 0);
}

fn copy(halves: &HalfMessages) -> HalfMessages {
    let (mut place, mut pieces) = (None, Vec::new());
    while halves.snapshot(&mut place, &mut pieces) {}
    let mut copy = HalfMessages::default();
    pieces.iter().for_each(|piece| copy.restore(piece).expect("whole"));
    copy
}

#[test]
fn each_is_looked_at_once_when_it_is_due_until_it_was_checked() {
    let mut halves = HalfMessages::default();
    for (position, due) in [(64, 30), (200, 10), (300, 20)] {
        halves.insert(position, 100, due);
    }
    assert_eq!(halves.next_look(), Some(10));
    assert!(take(&mut halves, 9, 9).is_empty());
    assert_eq!(take(&mut halves, 20, 1), [200]);
    assert_eq!(take(&mut halves, 20, 9), [300]);
    assert!(take(&mut halves, 20, 9).is_empty());
    apply_checks(&mut halves, &[check(200, 80, 1), check(999, 80, 1)]);
    halves.look_again(300, 50);
    assert_eq!(halves.next_look(), Some(30));
    assert_eq!(take(&mut halves, 90, 9), [64, 300, 200]);
    let found: Vec<HalfCheck> = halves.iter().collect();
    assert_eq!(found, [check(64, 30, 0), check(200, 80, 1), check(300, 20, 0)]);
    assert_eq!(halves.len(), 3);
}

#[test]
fn the_first_who_begins_to_end_one_ends_it() {
    let mut halves = HalfMessages::default();
    halves.insert(64, 100, 10);
    let half = OpenHalf { position: 64, bytes: 100, checks: 0, refused: false };
    assert_eq!(halves.begin_end(64), Ending::Begun(half));
    assert_eq!(halves.begin_end(64), Ending::UnderWay);
    assert!(take(&mut halves, 99, 9).is_empty(), "nobody is asked for what is decided");
    halves.keep_refused(64, 20);
    assert_eq!(take(&mut halves, 19, 9), [] as [u64; 0]);
    assert_eq!(take(&mut halves, 99, 9), [64], "it was not to be");
    let refused = OpenHalf { refused: true, ..half };
    assert_eq!(halves.begin_end(64), Ending::Begun(refused), "until it is asked again");
    halves.keep(64);
    halves.asked_again(64);
    assert_eq!(halves.begin_end(64), Ending::Begun(half));
    end(&mut halves, 64);
    assert_eq!(halves.begin_end(64), Ending::Unknown);
    halves.keep(64);
    halves.keep_refused(64, 1);
    halves.look_again(64, 1);
    assert_eq!((halves.len(), halves.next_look()), (0, None));
}

#[test]
fn one_that_is_checked_while_it_is_being_ended_is_not_handed_out() {
    let mut halves = HalfMessages::default();
    halves.insert(64, 100, 10);
    assert_eq!(take(&mut halves, 10, 9), [64]);
    halves.begin_end(64);
    apply_checks(&mut halves, &[check(64, 20, 1)]);
    assert!(take(&mut halves, 99, 9).is_empty());
    halves.keep(64);
    assert!(take(&mut halves, 19, 9).is_empty());
    assert_eq!(take(&mut halves, 20, 9), [64]);
}

/// Who decides wrongly on somebody else's half message changes nothing.
#[test]
fn a_decision_that_was_none_leaves_the_next_look_where_it_was() {
    let mut halves = HalfMessages::default();
    halves.insert(64, 100, 1_000);
    for _ in 0..3 {
        assert!(matches!(halves.begin_end(64), Ending::Begun(_)));
        halves.keep(64);
        assert_eq!(halves.next_look(), Some(1_000));
    }
}

#[test]
fn no_more_bytes_are_handed_out_at_once_than_were_asked_for_but_always_one() {
    let mut halves = HalfMessages::default();
    (0..4).for_each(|number| halves.insert(64 + number, 100, 0));
    let mut take = |bytes| {
        let mut out = Vec::new();
        halves.take_due(0, Portion { records: 9, bytes }, &mut out);
        out.len()
    };
    assert_eq!([50, 250, 1_000].map(&mut take), [1, 2, 1]);
}

#[test]
fn a_snapshot_says_what_the_log_says() {
    let mut halves = HalfMessages::default();
    (0..10_000).for_each(|number| halves.insert(64 + 100 * number, 100, number as i64));
    apply_checks(&mut halves, &[check(64, 70_000, 3), check(164, 7, 1)]);
    take(&mut halves, 500, 50);
    halves.begin_end(264);
    let mut copied = copy(&halves);
    assert!(copied.iter().eq(halves.iter()));
    assert_eq!(copied.next_look(), Some(2), "a start knows nothing of looks and endings");
    assert!(matches!(copied.begin_end(264), Ending::Begun(_)));
    assert!(HalfMessages::default().restore(&[0; 25]).is_err());
}

#[test]
fn the_oldest_holds_the_log_back() {
    let mut halves = HalfMessages::default();
    assert_eq!(halves.holds_back(), None);
    halves.insert(900, 100, 1);
    halves.insert(300, 100, 5);
    assert_eq!(halves.holds_back(), Some(300));
    halves
        .apply(&ControlEntry::HalfEnded { position: 300, outcome: HalfOutcome::RolledBack }, 1_000);
    assert_eq!((halves.holds_back(), halves.ended()), (Some(900), 1_001));
}

/// Against a list.
#[test]
fn it_does_what_a_plain_model_does() {
    #[derive(Clone, Copy)]
    struct Plain {
        check: HalfCheck,
        look: Option<i64>,
        ending: bool,
    }
    let mut random = fastrand::Rng::with_seed(5);
    let mut halves = HalfMessages::default();
    let mut model: BTreeMap<u64, Plain> = BTreeMap::new();
    for step in 0..30_000 {
        let (position, time) = (random.u64(0..60), random.i64(0..40));
        match random.u32(0..8) {
            0..2 => {
                let check = check(position, time, 0);
                model.insert(position, Plain { check, look: Some(time), ending: false });
                halves.insert(position, 1, time);
            }
            2 => {
                model.remove(&position);
                end(&mut halves, position);
            }
            3 => {
                let check = check(position, time, random.u32(..));
                if let Some(half) = model.get_mut(&position) {
                    (half.check, half.look) = (check, Some(time));
                }
                apply_checks(&mut halves, &[check]);
            }
            4 => {
                let begun = matches!(halves.begin_end(position), Ending::Begun(_));
                let half = model.get_mut(&position).filter(|half| !half.ending);
                assert_eq!(begun, half.is_some(), "step {step}");
                half.into_iter().for_each(|half| half.ending = true);
            }
            5 => {
                let refused = random.bool();
                if let Some(half) = model.get_mut(&position) {
                    half.ending = false;
                    half.look = match refused {
                        true => Some(half.look.map_or(time, |look| look.min(time))),
                        false => half.look.or(Some(half.check.due)),
                    };
                }
                if refused {
                    halves.keep_refused(position, time);
                } else {
                    halves.keep(position);
                }
            }
            6 => {
                if let Some(half) = model.get_mut(&position) {
                    half.look = Some(half.look.map_or(time, |look| look.min(time)));
                }
                halves.look_again(position, time);
            }
            _ => {
                let count = random.usize(0..4);
                let mut due: Vec<(i64, u64)> = model
                    .iter()
                    .filter_map(|(position, half)| half.look.map(|look| (look, *position)))
                    .filter(|(look, _)| *look <= time)
                    .collect();
                due.sort_unstable();
                let mut expected = Vec::new();
                for (_, position) in due {
                    if expected.len() == count {
                        break;
                    }
                    let half = model.get_mut(&position).expect("listed");
                    half.look = None;
                    if !half.ending {
                        expected.push(position);
                    }
                }
                assert_eq!(take(&mut halves, time, count), expected, "step {step}");
            }
        }
        let next = model.values().filter_map(|half| half.look).min();
        assert_eq!(halves.next_look(), next, "step {step}");
        assert!(halves.iter().eq(model.values().map(|half| half.check)), "step {step}");
    }
}
