//! How a process of executors ends: politely on a signal, at once on the second, non-zero when anything fails.
//!
//! Each test starts this test program again as a child that plays one role.

use std::{
    env,
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use runtime::{EXIT_INTERRUPTED, EXIT_SOFTWARE, Executor, Mesh, Settings, Stop, run};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness;

const ROLE: &str = "RUNTIME_TEST_ROLE";

/// The child's side. Does nothing when the test program runs as itself.
#[test]
fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    let stop = Stop::new();
    stop.on_signals().unwrap();
    run(Settings::unpinned("child", 2), stop, move |here: Executor, _: Mesh<()>| {
        let role = role.clone();
        async move {
            if here.index() == 0 {
                println!("\nready");
            }
            match (role.as_str(), here.index()) {
                ("stubborn", index) => {
                    here.stop_requested().await;
                    if index == 0 {
                        println!("\nasked to stop");
                    }
                    std::future::pending().await
                }
                ("panic", 1) => {
                    here.spawn(async { panic!("on purpose") });
                }
                ("pool panic", 1) => {
                    let here = here.clone();
                    here.clone().spawn(async move {
                        here.blocking(|| panic!("on purpose in the pool")).await;
                    });
                }
                ("error", 1) => return Err("out of paper".to_owned()),
                _ => {}
            }
            here.stop_requested().await;
            Ok(())
        }
    })
    .unwrap();
}

/// Starts the child; it is ready, unless its role is to fail before that.
fn start(role: &str) -> Child {
    let (child, lines) = start_and_listen(role);
    // Keeps the pipe open for what else it prints.
    thread::spawn(move || lines.for_each(drop));
    child
}

/// The same, with the lines that it prints from then on.
fn start_and_listen(role: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "process::child", "--nocapture"])
        .env(ROLE, role)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // "panic" may be over before it says that it is ready.
    wait_for(&mut lines, "ready");
    (child, lines)
}

fn wait_for(lines: &mut Lines<BufReader<ChildStdout>>, wanted: &str) -> bool {
    lines.any(|line| line.as_ref().is_ok_and(|line| line == wanted))
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn end_of(child: &mut Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > harness::HANG {
            child.kill().unwrap();
            panic!("still running after {:?}", harness::HANG);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_signal_stops_all_executors() {
    let _alone = harness::alone();
    for asked in [Signal::TERM, Signal::INT] {
        let mut child = start("obedient");
        let began = Instant::now();
        signal(&child, asked);
        assert_eq!(end_of(&mut child).code(), Some(0));
        println!("stopped within {:?}", began.elapsed());
    }
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let _alone = harness::alone();
    let (mut child, mut lines) = start_and_listen("stubborn");
    signal(&child, Signal::TERM);
    // Two signals of a kind that nobody has looked at yet are one.
    assert!(wait_for(&mut lines, "asked to stop"), "the first signal is only a wish");
    assert!(child.try_wait().unwrap().is_none(), "the first signal is only a wish");
    signal(&child, Signal::TERM);
    assert_eq!(end_of(&mut child).code(), Some(EXIT_INTERRUPTED));
}

#[test]
fn a_failure_on_one_executor_ends_the_process() {
    let _alone = harness::alone();
    for (role, words) in [("panic", "on purpose"), ("pool panic", "on purpose in the pool")] {
        let mut child = start(role);
        let status = end_of(&mut child);
        assert_eq!(status.code(), Some(EXIT_SOFTWARE), "{role}");
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("executor 1 failed") && text.contains(words), "{role}: {text}");
    }
}

/// The program decides how it ends: the others, which wait for a stop, do not keep it.
#[test]
fn a_failing_main_is_returned_at_once() {
    let _alone = harness::alone();
    let mut child = start("error");
    let status = end_of(&mut child);
    assert!(!status.success() && status.code() != Some(EXIT_SOFTWARE), "{status}");
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("Main { index: 1, error: \"out of paper\" }"), "{text}");
}
