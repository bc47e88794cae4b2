//! Goal: the README's limits are run by `mqbench limits`, and that program tells what happens. Method: each limit that a
//! test can afford is run, some to a part of it; times are printed, not judged: other tests run beside this one.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use loadtest::load::half_checks::{self, HalfChecks};
use loadtest::load::limits::{self, Limit, Options, Row};

/// Each loads a broker of its own with all that two cores can do.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs a limit up to `count` and returns what it showed.
fn run(limit: &Limit, count: u64) -> Row {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let options =
        Options { count: Some(count), hold: Duration::from_millis(500), keys: Vec::new() };
    let row = limits::run_one(limit, &options).unwrap();
    println!("{}\n{row}", limits::HEAD);
    let outcome = row.outcome.as_ref().unwrap_or_else(|reason| panic!("{}: {reason}", limit.name));
    assert_eq!(outcome.reached, count, "{}", limit.name);
    assert_eq!(row.seen.refused, 0, "{}: the other client was refused", limit.name);
    assert!(row.seen.sends.count() > 0 && row.seen.pulls.count() > 0);
    row
}

fn one_more(row: &Row) -> &str {
    row.outcome.as_ref().map_or("", |outcome| outcome.one_more.as_str())
}

#[test]
fn a_batch_holds_as_many_messages_as_promised_and_no_more() {
    let row = run(&limits::batch::LIMIT, limits::batch::LIMIT.full);
    assert!(one_more(&row).contains("32768"), "{}", one_more(&row));
}

#[test]
fn a_wide_topic_keeps_offsets_of_all_its_queues() {
    let row = run(&limits::wide_topic::LIMIT, 8_000);
    assert!(one_more(&row).contains("65535"), "{}", one_more(&row));
}

#[test]
fn groups_are_many() {
    run(&limits::groups::LIMIT, 8_000);
}

#[test]
fn pulls_that_wait_are_all_answered() {
    run(&limits::parked_pulls::LIMIT, 20_000);
}

#[test]
fn members_of_a_large_group_join_and_leave_together() {
    run(&limits::members::LIMIT, 3_000);
}

#[test]
fn connections_are_served_and_stay() {
    run(&limits::connections::LIMIT, 5_000);
}

#[test]
fn timers_wait_and_come_in_time() {
    run(&limits::timers::LIMIT, 5_000);
}

#[test]
fn transactions_are_opened_and_all_committed() {
    run(&limits::transactions::LIMIT, 20_000);
}

/// Each is asked for, about once in each interval, and stays open.
#[test]
fn half_messages_are_checked_and_stay_open() {
    const COUNT: u64 = 5_000;
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let report = half_checks::run(&HalfChecks {
        count: COUNT,
        producers: 2,
        first_check: Duration::from_secs(10),
        interval: Duration::from_secs(2),
        quiet: Duration::from_secs(1),
        measure: Duration::from_secs(6),
        core: None,
        keys: Vec::new(),
    })
    .unwrap();
    println!("{report}");
    assert_eq!(report.open_after, Some(COUNT));
    assert_eq!((report.quiet.seen.refused, report.checked.seen.refused), (0, 0));
    // Those of the first moment count for no phase; a busy machine may fall behind.
    let checks = report.checked.asked.checks;
    assert!((COUNT / 2..=5 * COUNT).contains(&checks), "{checks}");
}

#[test]
fn many_topics_are_created() {
    run(&limits::topics::LIMIT, 3_000);
}
