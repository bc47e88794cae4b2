//! The probe on this machine, which must pass, and on a directory that is not there.

use std::time::{Duration, Instant};

use runtime::probe;

use crate::harness;

#[test]
fn this_machine_passes_and_no_file_is_left() {
    let _alone = harness::alone();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let began = Instant::now();
    let report = probe(dir.path()).unwrap();
    println!("{report:?} in {:?}", began.elapsed());
    assert!(report.sync_latency > Some(Duration::ZERO));
    assert!(report.dsync_latency > Some(Duration::ZERO));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_missing_directory_is_named_with_the_remedy() {
    let _alone = harness::alone();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let text = probe(&dir.path().join("missing")).unwrap_err().to_string();
    assert!(text.contains("missing") && text.contains("create it"), "{text}");
}
