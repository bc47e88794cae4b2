//! The guard at work: loads that would get stuck without it now and then do not, and an idle executor is left alone.

#[path = "../../examples/stalls/load.rs"]
mod load;

use std::{thread, time::Duration};

use load::{EchoServer, open_loop};
use runtime::{Executor, Settings, Stop, guard_pokes, run};

use crate::world;

#[test]
fn three_loads_of_a_second_do_not_get_stuck() {
    let _alone = world::alone();
    let server = EchoServer::start(Settings::unpinned("echo", 1));
    for _ in 0..3 {
        let seen = open_loop(&server, 100_000, Duration::from_secs(1));
        println!("{seen:?}, pokes {:?}", guard_pokes());
        if seen.stuck {
            server.abandon();
            panic!("stuck");
        }
        assert!(seen.answers > 0);
    }
}

#[test]
fn an_idle_executor_is_poked_rarely_and_an_unguarded_one_never() {
    let _alone = world::alone();
    let pokes_of_half_a_second = |guard| {
        let before = guard_pokes().0;
        let stop = Stop::new();
        let asking = stop.clone();
        let waiting = thread::spawn(move || {
            thread::sleep(Duration::from_millis(500));
            asking.request();
        });
        let settings = Settings { guard, ..Settings::default() };
        run(settings, stop, |here: Executor<()>| async move {
            here.stop_requested().await;
            Ok(())
        })
        .unwrap();
        waiting.join().unwrap();
        guard_pokes().0 - before
    };
    let pokes = pokes_of_half_a_second(true);
    // 16 at once, then one in 10 ms.
    assert!((17..=80).contains(&pokes), "{pokes}");
    assert_eq!(pokes_of_half_a_second(false), 0);
}
