//! Ends processes that would outlive a test run.
//!
//! Tests share brokers through statics, whose `Drop` never runs, and a test runner may itself be killed. A small shell
//! waits for the end of a pipe that only we hold: however this process ends, the system closes the pipe, and the shell
//! ends what it was given (SIGTERM, after 8 s SIGKILL) and removes the directories.

use std::{
    path::Path,
    process::{ChildStdin, Command, Stdio},
    sync::Mutex,
};

/// `$1` process ids, the rest directories. 80 rounds of 0.1 s.
const SCRIPT: &str = r#"
read -r _
pids=$1; shift
kill $pids 2>/dev/null
for _ in $(seq 80); do
  alive=
  for pid in $pids; do kill -0 "$pid" 2>/dev/null && alive=1; done
  [ -z "$alive" ] && break
  sleep 0.1
done
kill -9 $pids 2>/dev/null
sleep 0.2
rm -rf -- "$@"
"#;

/// Ends the processes `pids` and removes `dirs` when this process is gone. The processes must be children that nobody
/// waits for before that: only then their ids cannot belong to someone else by now.
pub fn end_with_us(pids: &[u32], dirs: &[&Path]) {
    static PIPES: Mutex<Vec<ChildStdin>> = Mutex::new(Vec::new());
    let ids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let shell = Command::new("sh")
        .args(["-c", SCRIPT, "reaper", &ids.join(" ")])
        .args(dirs)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut shell = shell.expect("sh is part of every system that runs these tests");
    let pipe = shell.stdin.take().expect("standard input was asked for");
    PIPES.lock().expect("nothing panics while it holds this lock").push(pipe);
    // The shell outlives us by design; nobody waits for it.
    std::mem::forget(shell);
}
