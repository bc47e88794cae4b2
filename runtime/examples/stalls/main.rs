//! Question: does an executor ever sleep although it has work, and for how long?
//!
//! `stalls tcp [loads]`   one-second loads of 100,000 requests/s, open loop; stuck ones and the worst stall
//! `stalls mesh [runs]`   60,000 messages of ping-pong between two executors, each run in a child process
//! `stalls idle`          what two idle executors cost
//! `stalls echo`          answers per CPU second of the executor, closed loop, 4 connections of 64 in flight

mod load;

use std::{
    env,
    process::{Command, exit},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use load::{EchoServer, closed_loop, open_loop};
use runtime::{Executor, Lane, Mesh, Settings, Stop, run};

const PER_SECOND: u32 = 100_000;
const MESSAGES: u64 = 60_000;

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let count = words.iter().find_map(|word| word.parse().ok());
    match words.first().map(String::as_str) {
        Some("tcp") => tcp(count.unwrap_or(10)),
        Some("mesh") => mesh(count.unwrap_or(5)),
        Some("mesh-child") => mesh_child(),
        Some("idle") => idle(),
        Some("echo") => echo(),
        _ => println!("stalls tcp|mesh|idle|echo [count]"),
    }
}

fn tcp(loads: u32) {
    let mut server = EchoServer::start(Settings::unpinned("echo", 1));
    let (mut stuck, mut worst, mut answers) = (0, Vec::new(), 0);
    for _ in 0..loads {
        let seen = open_loop(&server, PER_SECOND, Duration::from_secs(1));
        answers += seen.answers;
        worst.push(seen.latency_max);
        if seen.stuck {
            stuck += 1;
            let next = EchoServer::start(Settings::unpinned("echo", 1));
            std::mem::replace(&mut server, next).abandon();
        }
    }
    worst.sort();
    let (median, max) = (worst[worst.len() / 2], worst[worst.len() - 1]);
    println!(
        "tcp: {stuck} of {loads} loads stuck, {answers} answers, longest latency of a load: median {median:?}, worst \
         {max:?}"
    );
}

fn mesh(runs: u32) {
    let program = env::current_exe().expect("this program");
    let mut hung = 0;
    for _ in 0..runs {
        let mut child = Command::new(&program);
        child.arg("mesh-child");
        let status = child.status().expect("a child");
        hung += u32::from(!status.success());
    }
    println!("mesh: {hung} of {runs} runs of {MESSAGES} messages hung");
}

/// One run; exits with 1 when nothing moved for [`load::STUCK_AFTER`].
fn mesh_child() {
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
    let ended = run(
        Settings::unpinned("pingpong", 2),
        Stop::new(),
        |here: Executor, mesh: Mesh<u64>| async move {
            let mut last = Instant::now();
            mesh.receive({
                let (here, mesh) = (here.clone(), mesh.clone());
                move |from, number| {
                    let gap = std::mem::replace(&mut last, Instant::now()).elapsed();
                    GAP_MICROS_MAX.fetch_max(gap.as_micros() as u64, Ordering::Relaxed);
                    PASSED.store(number, Ordering::Relaxed);
                    if number >= MESSAGES {
                        here.stop().request();
                    } else {
                        let posted = mesh.try_send(from, Lane::Request, number + 1);
                        assert!(posted.is_ok(), "a lane with one message in it is full");
                    }
                }
            });
            if here.index() == 0 {
                let posted = mesh.try_send(1, Lane::Request, 1);
                assert!(posted.is_ok(), "an empty lane is full");
            }
            here.stop_requested().await;
            Ok(())
        },
    );
    ended.expect("two executors");
    let gap = Duration::from_micros(GAP_MICROS_MAX.load(Ordering::Relaxed));
    println!("{MESSAGES} messages in {:?}, longest gap {gap:?}", began.elapsed());
}

fn idle() {
    let stop = Stop::new();
    let asking = stop.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        let (cpu, began) = (cpu_time(None), Instant::now());
        thread::sleep(Duration::from_secs(10));
        let share = (cpu_time(None) - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
        println!("idle: {:.2} % of a CPU for two executors", share * 100.0);
        asking.request();
    });
    let main = |here: Executor, _: Mesh<()>| async move {
        here.stop_requested().await;
        Ok(())
    };
    run(Settings::unpinned("idle", 2), stop, main).expect("two executors");
}

fn echo() {
    let server = EchoServer::start(Settings::unpinned("echo", 1));
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
