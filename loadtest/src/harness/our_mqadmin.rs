//! Our own `mqadmin`: a command, and what it printed.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
};

use super::our_broker::built_program;

/// Crates that the program is made of.
const CRATES: [&str; 6] = ["proto", "runtime", "remoting", "daemon", "client", "mqadmin"];
/// What would speak for the command line.
const VARIABLES: [&str; 5] =
    ["NAMESRV_ADDR", "ROCKETMQ_HOME", "JAVA_OPT", "ROCKETMQ_ACCESS_KEY", "ROCKETMQ_SECRET_KEY"];

/// How a command ended.
#[derive(Debug)]
pub struct Printed {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command, given as its words, to its end. The program is built first when it is missing or stale; `RINGMQ_MQADMIN`
/// names another one.
pub fn run(words: &[&str]) -> Printed {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let find = || built_program("RINGMQ_MQADMIN", ("mqadmin", "mqadmin"), &CRATES);
    let binary = BINARY.get_or_init(find);
    let mut command = Command::new(binary);
    for name in VARIABLES {
        command.env_remove(name);
    }
    let output = command.args(words).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
    Printed {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
