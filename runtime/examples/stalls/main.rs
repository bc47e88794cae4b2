//! Question: how often does an executor sleep although it has work, for how long, and what does the guard change?
//!
//! `stalls tcp [loads] [unguarded]`   one-second loads of 100,000 requests/s, open loop; stuck ones and the worst stall
//! `stalls mesh [runs] [unguarded]`   60,000 messages of ping-pong between two executors, each run in a child process
//! `stalls idle`                      what two idle executors and the guard cost
//! `stalls echo`                      answers per CPU second of the executor, closed loop, 4 connections of 64 in flight
//!
//! Unguarded executors hang sooner or later; that is what they are here for, and why each hung one is left behind.

mod load;

use std::{
    env,
    process::{Command, exit},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use load::{EchoServer, closed_loop, open_loop};
use runtime::{Executor, Lane, Settings, Stop, guard_pokes, run};

const PER_SECOND: u32 = 100_000;
const MESSAGES: u64 = 60_000;

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let guard = !words.iter().any(|word| word == "unguarded");
    let count = words.iter().find_map(|word| word.parse().ok());
    match words.first().map(String::as_str) {
        Some("tcp") => tcp(count.unwrap_or(10), guard),
        Some("mesh") => mesh(count.unwrap_or(5), guard),
        Some("mesh-child") => mesh_child(guard),
        Some("idle") => idle(),
        Some("echo") => echo(),
        _ => println!("stalls tcp|mesh|idle|echo [count] [unguarded]"),
    }
}

fn settings(name: &str, executors: usize, guard: bool) -> Settings {
    Settings { guard, ..Settings::unpinned(name, executors) }
}

fn tcp(loads: u32, guard: bool) {
    let mut server = EchoServer::start(settings("echo", 1, guard));
    let (mut stuck, mut worst, mut answers) = (0, Vec::new(), 0);
    for _ in 0..loads {
        let seen = open_loop(&server, PER_SECOND, Duration::from_secs(1));
        answers += seen.answers;
        worst.push(seen.latency_max);
        if seen.stuck {
            stuck += 1;
            let hung =
                std::mem::replace(&mut server, EchoServer::start(settings("echo", 1, guard)));
            hung.abandon();
        }
    }
    worst.sort();
    let (median, max) = (worst[worst.len() / 2], worst[worst.len() - 1]);
    let (pokes, answered) = guard_pokes();
    println!(
        "tcp, guard {guard}: {stuck} of {loads} loads stuck, {answers} answers, longest latency of a load: median \
         {median:?}, worst {max:?}; {pokes} pokes, {answered} followed by progress"
    );
}

fn mesh(runs: u32, guard: bool) {
    let program = env::current_exe().expect("this program");
    let mut hung = 0;
    for _ in 0..runs {
        let mut child = Command::new(&program);
        child.arg("mesh-child");
        if !guard {
            child.arg("unguarded");
        }
        let status = child.status().expect("a child");
        hung += u32::from(!status.success());
    }
    println!("mesh, guard {guard}: {hung} of {runs} runs of {MESSAGES} messages hung");
}

/// One run; exits with 1 when nothing moved for [`load::STUCK_AFTER`].
fn mesh_child(guard: bool) {
    static PASSED: AtomicU64 = AtomicU64::new(0);
    static GAP_MICROS_MAX: AtomicU64 = AtomicU64::new(0);
    thread::spawn(|| {
        let mut before = 0;
        loop {
            thread::sleep(load::STUCK_AFTER);
            let passed = PASSED.load(Ordering::Relaxed);
            if passed == before {
                println!("hung after {passed} messages");
                exit(1);
            }
            before = passed;
        }
    });
    let began = Instant::now();
    let ended =
        run(settings("pingpong", 2, guard), Stop::new(), |here: Executor<u64>| async move {
            let mut last = Instant::now();
            here.receive({
                let here = here.clone();
                move |from, number| {
                    let gap = std::mem::replace(&mut last, Instant::now()).elapsed();
                    GAP_MICROS_MAX.fetch_max(gap.as_micros() as u64, Ordering::Relaxed);
                    PASSED.store(number, Ordering::Relaxed);
                    if number >= MESSAGES {
                        here.stop().request();
                    } else {
                        let posted = here.post(from, Lane::Request, number + 1);
                        assert!(posted.is_ok(), "a lane with one message in it is full");
                    }
                }
            });
            if here.index() == 0 {
                let posted = here.post(1, Lane::Request, 1);
                assert!(posted.is_ok(), "an empty lane is full");
            }
            here.stop_requested().await;
            Ok(())
        });
    ended.expect("two executors");
    let gap = Duration::from_micros(GAP_MICROS_MAX.load(Ordering::Relaxed));
    println!("{MESSAGES} messages in {:?}, longest gap {gap:?}", began.elapsed());
}

fn idle() {
    let stop = Stop::new();
    let asking = stop.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        let (cpu, pokes, began) = (cpu_time(None), guard_pokes().0, Instant::now());
        thread::sleep(Duration::from_secs(10));
        let share = (cpu_time(None) - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
        let guard = cpu_time(Some("guard")).as_secs_f64();
        println!(
            "idle: {:.2} % of a CPU for two executors and the guard (guard alone {:.1} ms), {} pokes in 10 s",
            share * 100.0,
            guard * 1e3,
            guard_pokes().0 - pokes
        );
        asking.request();
    });
    let main = |here: Executor<()>| async move {
        here.stop_requested().await;
        Ok(())
    };
    run(settings("idle", 2, true), stop, main).expect("two executors");
}

fn echo() {
    let server = EchoServer::start(settings("echo", 1, true));
    closed_loop(&server, 64, Duration::from_millis(500));
    for _ in 0..5 {
        let before = cpu_time(Some("echo-0"));
        let seen = closed_loop(&server, 64, Duration::from_secs(2));
        let cpu = (cpu_time(Some("echo-0")) - before).as_secs_f64();
        println!(
            "echo: {:.0} answers per CPU second, {:.0} per second, longest latency {:?}",
            seen.answers as f64 / cpu,
            seen.answers as f64 / 2.0,
            seen.latency_max
        );
    }
}

/// Time on a CPU of the threads of this process that have this name, or of all that live.
fn cpu_time(name: Option<&str>) -> Duration {
    let mut total = 0;
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
    for task in tasks.flatten() {
        let comm = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if name.is_some_and(|name| comm.trim() != name) {
            continue;
        }
        let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        total += stat.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    }
    Duration::from_nanos(total)
}
