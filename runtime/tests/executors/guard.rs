//! The guard at work: loads that would get stuck without it now and then do not, and an idle executor is left alone.

#[path = "../../examples/stalls/load.rs"]
mod load;

use std::{
    thread,
    time::{Duration, Instant},
};

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
    /// Enough to tell one poke in 10 ms from one in each.
    const POKES: u64 = 150;
    let _alone = world::alone();
    // Pokes of an executor that idles until `enough`, and how long that took.
    let pokes_of = |guard, enough: fn(u64) -> bool| {
        let (before, began) = (guard_pokes().0, Instant::now());
        let stop = Stop::new();
        let asking = stop.clone();
        let waiting = thread::spawn(move || {
            while !enough(guard_pokes().0 - before) {
                thread::sleep(Duration::from_millis(5));
            }
            asking.request();
        });
        let settings = Settings { guard, ..Settings::default() };
        run(settings, stop, |here: Executor<()>| async move {
            here.stop_requested().await;
            Ok(())
        })
        .unwrap();
        waiting.join().unwrap();
        (guard_pokes().0 - before, began.elapsed())
    };
    let (pokes, idle) = pokes_of(true, |pokes| pokes >= POKES);
    // 16 at once after anything happens, as at the start; then one in 10 ms at most. A busy machine makes it fewer.
    let most = 64 + idle.as_millis() as u64 / 10;
    println!("{pokes} pokes in {idle:?}");
    assert!(pokes <= most, "{pokes} pokes in {idle:?}");
    let (pokes, _) = pokes_of(false, |_| {
        thread::sleep(Duration::from_millis(300));
        true
    });
    assert_eq!(pokes, 0);
}
