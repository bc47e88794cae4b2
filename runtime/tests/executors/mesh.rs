//! Messages between executors: none lost, order kept, full lanes refused, a stop heard everywhere.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use runtime::{Executor, Lane, Settings, Stop, guard_pokes, run};

use crate::world;

const LIMIT: Duration = Duration::from_secs(30);

/// Two executors throw one number to and fro: the worst case for lost wakes, as nothing else happens that could heal
/// one. On a machine that is busy with other things fewer messages than hoped for pass, and that is all.
#[test]
fn sixty_thousand_messages_in_ping_pong_never_stall() {
    const MESSAGES: u64 = 60_000;
    const PATIENCE: Duration = Duration::from_secs(8);
    static WORST_MICROS: AtomicU64 = AtomicU64::new(0);
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let _alone = world::alone();
    let began = Instant::now();
    world::within(LIMIT, move || {
        let settings = Settings::unpinned("pingpong", 2);
        run(settings, Stop::new(), move |here: Executor<u64>| async move {
            let mut last = Instant::now();
            here.receive({
                let here = here.clone();
                move |from, number| {
                    let gap = std::mem::replace(&mut last, Instant::now()).elapsed();
                    WORST_MICROS.fetch_max(gap.as_micros() as u64, Ordering::Relaxed);
                    PASSED.store(number, Ordering::Relaxed);
                    if number >= MESSAGES || began.elapsed() > PATIENCE {
                        here.stop().request();
                    } else {
                        here.post(from, Lane::Request, number + 1).unwrap();
                    }
                }
            });
            if here.index() == 0 {
                here.post(1, Lane::Request, 1).unwrap();
            }
            here.stop_requested().await;
            Ok(())
        })
        .unwrap();
    });
    let took = began.elapsed();
    let passed = PASSED.load(Ordering::Relaxed);
    let worst = Duration::from_micros(WORST_MICROS.load(Ordering::Relaxed));
    println!("{passed} messages in {took:?}, longest gap {worst:?}, pokes {:?}", guard_pokes());
    assert!(passed > 1_000, "{passed}");
    assert!(worst < Duration::from_secs(2), "{worst:?}");
}

#[test]
fn lanes_keep_order_refuse_when_full_and_lose_nothing() {
    let _alone = world::alone();
    world::within(LIMIT, || {
        let settings = Settings { lane_messages: 8, ..Settings::unpinned("order", 3) };
        run(settings, Stop::new(), |here: Executor<(Lane, u64)>| async move {
            const EACH: u64 = 5_000;
            let count = here.count();
            let next = Rc::new(RefCell::new(vec![[0_u64; 2]; count]));
            here.receive({
                let next = Rc::clone(&next);
                move |from, (lane, number)| {
                    let expected = &mut next.borrow_mut()[from][usize::from(lane == Lane::Reply)];
                    assert_eq!(*expected, number);
                    *expected += 1;
                }
            });
            let mut refused = 0_u64;
            for number in 0..EACH {
                for to in (0..count).filter(|to| *to != here.index()) {
                    for lane in [Lane::Request, Lane::Reply] {
                        while here.post(to, lane, (lane, number)).is_err() {
                            refused += 1;
                            here.turn().await;
                        }
                    }
                }
            }
            while next.borrow().iter().flatten().sum::<u64>() < EACH * 2 * (count as u64 - 1) {
                here.turn().await;
            }
            assert!(refused > 0, "8 messages of room cannot have sufficed");
            // Neighbours may still send to us.
            here.sleep(Duration::from_millis(50)).await;
            Ok(())
        })
        .unwrap();
    });
}

#[test]
fn messages_that_came_before_receive_are_kept() {
    let _alone = world::alone();
    world::within(LIMIT, || {
        run(Settings::unpinned("early", 2), Stop::new(), |here: Executor<u32>| async move {
            if here.index() == 0 {
                here.post(1, Lane::Reply, 7).unwrap();
                here.stop_requested().await;
                return Ok(());
            }
            here.sleep(Duration::from_millis(50)).await;
            let stop = here.stop().clone();
            here.receive(move |from, number| {
                assert_eq!((from, number), (0, 7));
                stop.request();
            });
            here.stop_requested().await;
            Ok(())
        })
        .unwrap();
    });
}

#[test]
fn a_stop_reaches_idle_executors_at_once_and_an_early_one_is_not_lost() {
    let _alone = world::alone();
    for ask_after in [Duration::ZERO, Duration::from_millis(150)] {
        let stop = Stop::new();
        let asking = stop.clone();
        let asked = std::thread::spawn(move || {
            std::thread::sleep(ask_after);
            asking.request();
            Instant::now()
        });
        world::within(LIMIT, move || {
            run(Settings::unpinned("stop", 2), stop, |here: Executor<()>| async move {
                here.stop_requested().await;
                here.stop_requested().await;
                Ok(())
            })
            .unwrap();
        });
        let took = asked.join().unwrap().elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn a_single_executor_has_no_lanes_and_sleeps_and_computes() {
    let _alone = world::alone();
    world::within(LIMIT, || {
        run(Settings::default(), Stop::new(), |here: Executor<()>| async move {
            assert_eq!((here.index(), here.count()), (0, 1));
            here.receive(|_, ()| unreachable!());
            assert!(here.now() > 1_700_000_000_000);
            let began = Instant::now();
            let sleeps: Vec<_> = (1..=10_u64)
                .map(|step| {
                    let sleeper = here.clone();
                    here.spawn(async move {
                        sleeper.sleep(Duration::from_millis(step * 10)).await;
                        step
                    })
                })
                .collect();
            let mut sum = 0;
            for sleep in sleeps {
                sum += sleep.await;
            }
            assert_eq!(sum, 55);
            assert!(began.elapsed() >= Duration::from_millis(100));
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            let word = here.blocking(|| "pool".to_owned()).await;
            assert_eq!(word, "pool");
            Ok(())
        })
        .unwrap();
    });
}

#[test]
fn a_task_is_hot_after_working_and_cool_after_a_turn() {
    let _alone = world::alone();
    world::within(LIMIT, || {
        run(Settings::default(), Stop::new(), |here: Executor<()>| async move {
            here.turn().await;
            assert!(!here.hot());
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(1) {
                std::hint::spin_loop();
            }
            assert!(here.hot());
            here.turn().await;
            assert!(!here.hot());
            Ok(())
        })
        .unwrap();
    });
}

#[test]
fn a_spawned_task_does_not_run_inside_the_borrow_of_its_maker() {
    let _alone = world::alone();
    world::within(LIMIT, || {
        run(Settings::default(), Stop::new(), |here: Executor<()>| async move {
            let cell = Rc::new(RefCell::new(0));
            let task = {
                let mut borrowed = cell.borrow_mut();
                let theirs = Rc::clone(&cell);
                let task = here.spawn(async move { *theirs.borrow_mut() += 1 });
                *borrowed += 1;
                task
            };
            task.await;
            assert_eq!(*cell.borrow(), 2);
            Ok(())
        })
        .unwrap();
    });
}
