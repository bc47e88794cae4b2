//! Loads that an executor which sleeps although it has work would leave without answers.

#[path = "../../examples/stalls/load.rs"]
mod load;

use std::time::Duration;

use load::{EchoServer, open_loop};
use runtime::Settings;

use crate::harness;

#[test]
fn three_loads_of_a_second_do_not_get_stuck() {
    let _alone = harness::alone();
    let server = EchoServer::start(Settings::unpinned("echo", 1));
    for _ in 0..3 {
        let seen = open_loop(&server, 100_000, Duration::from_secs(1));
        println!("{seen:?}");
        if seen.stuck {
            server.abandon();
            panic!("stuck");
        }
        assert!(seen.answers > 0);
    }
}

/// All of this was measured with one version of the library. With another: run the examples again.
#[test]
fn the_library_is_the_version_that_was_measured() {
    let manifest = include_str!("../../../Cargo.toml");
    assert!(manifest.contains(r#"package = "glommio-ng", version = "=0.12.0""#));
}
