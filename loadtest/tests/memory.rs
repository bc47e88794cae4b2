//! Goal: the memory budget is a promise. Method: real brokers in real control groups. One that is too small is refused
//! with the least that the configuration needs; in any other the broker works, with all the connections that it was
//! promised, and the kernel kills nothing. `mqbench group` runs the same for as long as is wanted.

use std::time::Duration;

use loadtest::harness::control_group::ControlGroup;
use loadtest::load::group::{self, GroupRun, Served};

const WORK: Duration = Duration::from_secs(12);

/// False: no control group can be made here.
fn groups_can_be_made() -> bool {
    match ControlGroup::new(64 << 20) {
        Ok(_) => true,
        Err(reason) => {
            println!("NOT RUN: no control group can be made: {reason}");
            assert!(std::env::var_os("RINGMQ_REQUIRE_CLIENTS").is_none(), "{reason}");
            false
        }
    }
}

fn run(mib: u64, connections: usize, keys: &[(&str, &str)]) -> Result<Served, String> {
    let small_segments = [("mappedFileSizeCommitLog", "67108864")];
    let keys = keys.iter().chain(&small_segments);
    let keys = keys.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let report = group::run(&GroupRun { mib, connections, duration: WORK, keys }).unwrap();
    println!("{report}");
    report.outcome
}

#[test]
fn a_group_that_is_too_small_is_refused_with_the_figure_that_suffices() {
    if !groups_can_be_made() {
        return;
    }
    let said = run(64, 100, &[]).err().expect("4 MiB messages do not fit 64 MiB");
    assert!(said.contains("memoryBudgetMiB=0 (which is 56 here"), "{said}");
    let least = said.split("expected at least ").nth(1).expect("a figure");
    let least: u64 = least.split(' ').next().unwrap().parse().unwrap();
    assert!((57..96).contains(&least), "{said}");
    for key in ["maxMessageSize", "shardCores", "connectionsMax", "shardIndexEntriesMax"] {
        assert!(said.contains(key), "{key} makes it smaller: {said}");
    }
    let said = run(96, 100, &[("connectionsMax", "5000")]).err().expect("nor 5,000 connections");
    assert!(said.contains("for 5000 connections (connectionsMax)"), "{said}");
    // The figure is true: what it names is enough.
    let budget = least.to_string();
    run(96, 100, &[("memoryBudgetMiB", &budget), ("shards", "1")]).unwrap();
}

#[test]
fn a_broker_in_a_small_group_serves_and_stays_within_it() {
    if !groups_can_be_made() {
        return;
    }
    run(64, 200, &[("maxMessageSize", "1000000")]).unwrap();
    run(128, 4_900, &[("connectionsMax", "5000")]).unwrap();
}
