//! The watchdog at work: loads that would get stuck without it now and then do not, and an idle executor is left alone.

#[path = "../../examples/stalls/load.rs"]
mod load;

use std::{
    thread,
    time::{Duration, Instant},
};

use load::{EchoServer, open_loop};
use runtime::{Executor, Mesh, Settings, Stop, run, watchdog_wakes};

use crate::harness;

#[test]
fn three_loads_of_a_second_do_not_get_stuck() {
    let _alone = harness::alone();
    let server = EchoServer::start(Settings::unpinned("echo", 1));
    for _ in 0..3 {
        let seen = open_loop(&server, 100_000, Duration::from_secs(1));
        println!("{seen:?}, wakes {:?}", watchdog_wakes());
        if seen.stuck {
            server.abandon();
            panic!("stuck");
        }
        assert!(seen.answers > 0);
    }
}

#[test]
fn an_idle_executor_is_woken_rarely_and_an_unwatched_one_never() {
    /// Enough to tell one wake in 10 ms from one in each.
    const WAKES: u64 = 150;
    let _alone = harness::alone();
    // Wakes of an executor that idles until `enough`, and how long that took.
    let wakes_of = |watchdog, enough: fn(u64) -> bool| {
        let (before, began) = (watchdog_wakes().0, Instant::now());
        let stop = Stop::new();
        let asking = stop.clone();
        let waiting = thread::spawn(move || {
            while !enough(watchdog_wakes().0 - before) {
                thread::sleep(Duration::from_millis(5));
            }
            asking.request();
        });
        let settings = Settings { watchdog, ..Settings::default() };
        run(settings, stop, |here: Executor, _: Mesh<()>| async move {
            here.stop_requested().await;
            Ok(())
        })
        .unwrap();
        waiting.join().unwrap();
        (watchdog_wakes().0 - before, began.elapsed())
    };
    let (wakes, idle) = wakes_of(true, |wakes| wakes >= WAKES);
    // 16 at once after anything happens, as at the start; then one in 10 ms at most. A busy machine makes it fewer.
    let most = 64 + idle.as_millis() as u64 / 10;
    println!("{wakes} wakes in {idle:?}");
    assert!(wakes <= most, "{wakes} wakes in {idle:?}");
    let (wakes, _) = wakes_of(false, |_| {
        thread::sleep(Duration::from_millis(300));
        true
    });
    assert_eq!(wakes, 0);
}
