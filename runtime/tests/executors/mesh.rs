//! Messages between executors: none lost, order kept, full lanes refused, a stop heard everywhere.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use runtime::{Executor, Lane, Mesh, Settings, Stop, run};

use crate::harness;

/// Two executors throw one number to and fro: the worst case for lost wakes, as nothing else happens that could heal
/// one, so that a stall is a hang. On a busy machine fewer messages pass, but not fewer than [`FEWEST`].
#[test]
fn sixty_thousand_messages_in_ping_pong_never_stall() {
    const MESSAGES: u64 = 60_000;
    const FEWEST: u64 = 2_000;
    const PATIENCE: Duration = Duration::from_secs(5);
    static WORST_MICROS: AtomicU64 = AtomicU64::new(0);
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let _alone = harness::alone();
    let began = Instant::now();
    harness::ends(move || {
        let settings = Settings::unpinned("pingpong", 2);
        run(settings, Stop::new(), move |here: Executor, mesh: Mesh<u64>| async move {
            let mut last = Instant::now();
            mesh.receive({
                let (here, mesh) = (here.clone(), mesh.clone());
                move |from, number| {
                    let gap = std::mem::replace(&mut last, Instant::now()).elapsed();
                    WORST_MICROS.fetch_max(gap.as_micros() as u64, Ordering::Relaxed);
                    PASSED.store(number, Ordering::Relaxed);
                    let enough = number >= FEWEST && began.elapsed() > PATIENCE;
                    if number >= MESSAGES || enough {
                        here.stop().request();
                    } else {
                        mesh.try_send(from, Lane::Request, number + 1).unwrap();
                    }
                }
            });
            if here.index() == 0 {
                mesh.try_send(1, Lane::Request, 1).unwrap();
            }
            here.stop_requested().await;
            Ok(())
        })
        .unwrap();
    });
    let took = began.elapsed();
    let passed = PASSED.load(Ordering::Relaxed);
    let worst = Duration::from_micros(WORST_MICROS.load(Ordering::Relaxed));
    println!("{passed} messages in {took:?}, longest gap {worst:?}");
    assert!(passed >= FEWEST, "{passed}");
}

#[test]
fn lanes_keep_order_refuse_when_full_and_lose_nothing() {
    static RECEIVED_ALL: AtomicUsize = AtomicUsize::new(0);
    let _alone = harness::alone();
    harness::ends(|| {
        let settings = Settings { lane_messages: 8, ..Settings::unpinned("order", 3) };
        run(settings, Stop::new(), |here: Executor, mesh: Mesh<(Lane, u64)>| async move {
            const EACH: u64 = 5_000;
            let count = here.count();
            let next = Rc::new(RefCell::new(vec![[0_u64; 2]; count]));
            mesh.receive({
                let next = Rc::clone(&next);
                move |from, (lane, number)| {
                    let expected =
                        &mut next.borrow_mut()[from][usize::from(lane == Lane::Response)];
                    assert_eq!(*expected, number);
                    *expected += 1;
                }
            });
            let mut refused = 0_u64;
            for number in 0..EACH {
                for to in (0..count).filter(|to| *to != here.index()) {
                    for lane in [Lane::Request, Lane::Response] {
                        while mesh.try_send(to, lane, (lane, number)).is_err() {
                            refused += 1;
                            here.yield_now().await;
                        }
                    }
                }
            }
            while next.borrow().iter().flatten().sum::<u64>() < EACH * 2 * (count as u64 - 1) {
                here.yield_now().await;
            }
            assert!(refused > 0, "8 messages of room cannot have sufficed");
            // Nobody leaves while a neighbour may still send to it.
            RECEIVED_ALL.fetch_add(1, Ordering::Relaxed);
            while RECEIVED_ALL.load(Ordering::Relaxed) < count {
                here.yield_now().await;
            }
            Ok(())
        })
        .unwrap();
    });
}

/// Executor 1 is stuck while 0 has more for it than a lane holds: 0 keeps what must arrive, refuses the rest, takes no
/// requests of 1, and serves 2 as if nothing were; once 1 goes on, everything arrives in order.
#[test]
fn an_executor_that_is_stuck_costs_the_others_nothing() {
    const BLOCK: u64 = u64::MAX;
    const MUST_ARRIVE: u64 = 50_000;
    const ROUNDS: u64 = 1_000;
    const REQUESTS: u64 = 5;
    static RELEASED: AtomicBool = AtomicBool::new(false);
    static STUCK: AtomicBool = AtomicBool::new(false);
    static ARRIVED: AtomicU64 = AtomicU64::new(0);
    static OF_STUCK: AtomicU64 = AtomicU64::new(0);
    static OF_HEALTHY: AtomicU64 = AtomicU64::new(0);

    /// What executors 1 and 2 do with a message of 0.
    fn answer(mesh: &Mesh<u64>, index: usize, number: u64) {
        if index == 2 {
            return mesh.send(0, Lane::Response, number);
        }
        if number != BLOCK {
            assert_eq!(ARRIVED.fetch_add(1, Ordering::SeqCst), number);
            return;
        }
        STUCK.store(true, Ordering::SeqCst);
        // By then executor 0 knows that we are behind.
        while !RELEASED.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    }

    let _alone = harness::alone();
    harness::ends(|| {
        run(
            Settings::unpinned("stuck", 3),
            Stop::new(),
            |here: Executor, mesh: Mesh<u64>| async move {
                let (index, answering) = (here.index(), mesh.clone());
                mesh.receive(move |from, number| match (index, from) {
                    (0, 1) => drop(OF_STUCK.fetch_add(1, Ordering::SeqCst)),
                    (0, _) => drop(OF_HEALTHY.fetch_add(1, Ordering::SeqCst)),
                    _ => answer(&answering, index, number),
                });
                if index == 1 {
                    for number in 0..REQUESTS {
                        mesh.send(0, Lane::Request, number);
                    }
                }
                if index != 0 {
                    here.stop_requested().await;
                    return Ok(());
                }
                while OF_STUCK.load(Ordering::SeqCst) < REQUESTS {
                    here.yield_now().await;
                }
                mesh.send(1, Lane::Response, BLOCK);
                while !STUCK.load(Ordering::SeqCst) {
                    here.yield_now().await;
                }
                let mut accepted = 0;
                while mesh.try_send(1, Lane::Response, accepted).is_ok() {
                    accepted += 1;
                }
                assert_eq!(accepted, runtime::LANE_MESSAGES_DEFAULT as u64);
                assert_eq!(mesh.first_behind(), None);
                for number in accepted..MUST_ARRIVE {
                    mesh.send(1, Lane::Response, number);
                }
                assert_eq!(mesh.first_behind(), Some(1));
                for round in 0..ROUNDS {
                    mesh.try_send(2, Lane::Request, round).unwrap();
                    while OF_HEALTHY.load(Ordering::SeqCst) <= round {
                        here.yield_now().await;
                    }
                }
                assert_eq!(ARRIVED.load(Ordering::SeqCst), 0);
                RELEASED.store(true, Ordering::SeqCst);
                while ARRIVED.load(Ordering::SeqCst) < MUST_ARRIVE {
                    here.sleep(Duration::from_millis(1)).await;
                }
                assert_eq!(mesh.first_behind(), None);
                here.stop().request();
                Ok(())
            },
        )
        .unwrap();
    });
}

#[test]
fn messages_that_came_before_receive_are_kept() {
    static POSTED: AtomicBool = AtomicBool::new(false);
    let _alone = harness::alone();
    harness::ends(|| {
        run(
            Settings::unpinned("early", 2),
            Stop::new(),
            |here: Executor, mesh: Mesh<u32>| async move {
                if here.index() == 0 {
                    mesh.try_send(1, Lane::Response, 7).unwrap();
                    POSTED.store(true, Ordering::Release);
                    here.stop_requested().await;
                    return Ok(());
                }
                while !POSTED.load(Ordering::Acquire) {
                    here.yield_now().await;
                }
                let stop = here.stop().clone();
                mesh.receive(move |from, number| {
                    assert_eq!((from, number), (0, 7));
                    stop.request();
                });
                here.stop_requested().await;
                Ok(())
            },
        )
        .unwrap();
    });
}

#[test]
fn a_stop_reaches_idle_executors_and_an_early_one_is_not_lost() {
    let _alone = harness::alone();
    let stop_of_two = |stop: Stop, waiting: Arc<AtomicUsize>| {
        harness::ends(move || {
            run(Settings::unpinned("stop", 2), stop, move |here: Executor, _: Mesh<()>| {
                let waiting = Arc::clone(&waiting);
                async move {
                    waiting.fetch_add(1, Ordering::Relaxed);
                    here.stop_requested().await;
                    here.stop_requested().await;
                    Ok(())
                }
            })
            .unwrap();
        });
    };
    let early = Stop::new();
    early.request();
    stop_of_two(early, Arc::default());

    let (stop, waiting) = (Stop::new(), Arc::<AtomicUsize>::default());
    let asking = thread::spawn({
        let (stop, waiting) = (stop.clone(), Arc::clone(&waiting));
        move || {
            while waiting.load(Ordering::Relaxed) < 2 {
                thread::yield_now();
            }
            // By now both are most likely asleep; if not, the stop is only a little less late.
            thread::sleep(Duration::from_millis(50));
            stop.request();
        }
    });
    stop_of_two(stop, waiting);
    asking.join().unwrap();
}

#[test]
fn a_single_executor_has_no_lanes_and_sleeps_and_computes() {
    const NEVER: Duration = Duration::from_secs(24 * 3600);
    let _alone = harness::alone();
    harness::ends(|| {
        run(Settings::default(), Stop::new(), |here: Executor, mesh: Mesh<()>| async move {
            assert_eq!((here.index(), here.count()), (0, 1));
            mesh.receive(|_, ()| unreachable!());
            assert!(here.now() > 1_700_000_000_000);
            // Who sleeps holds nobody up: one sleeps on until the end of this test.
            let dreamer = here.clone();
            let _dream = here.spawn(async move { dreamer.sleep(NEVER).await });
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
            let word = here.blocking(|| "pool".to_owned()).await;
            assert_eq!(word, "pool");
            Ok(())
        })
        .unwrap();
    });
}

#[test]
fn a_task_is_hot_after_working_and_cool_after_a_turn() {
    let _alone = harness::alone();
    harness::ends(|| {
        run(Settings::default(), Stop::new(), |here: Executor, _: Mesh<()>| async move {
            // Somebody may take the core away between a turn and the question.
            let cools = async || {
                loop {
                    here.yield_now().await;
                    if !here.budget_spent() {
                        return;
                    }
                }
            };
            cools().await;
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(1) {
                std::hint::spin_loop();
            }
            assert!(here.budget_spent());
            cools().await;
            Ok(())
        })
        .unwrap();
    });
}

#[test]
fn a_spawned_task_does_not_run_inside_the_borrow_of_its_maker() {
    let _alone = harness::alone();
    harness::ends(|| {
        run(Settings::default(), Stop::new(), |here: Executor, _: Mesh<()>| async move {
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
