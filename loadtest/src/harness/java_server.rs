//! One virtual machine of Java for all verbs of a test program that end by themselves. Starting one takes longer than what
//! most of them do, and a file of stories runs a hundred.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::{
    program::{Output, Program, RUN_WAIT_MAX, Running},
    starts::{self, Starting},
};

/// A running `serve` of one release with one set of options. It ends with this process, whose end closes its input.
pub(super) struct JavaServer {
    input: Mutex<Input>,
    output: Arc<Output>,
}

struct Input {
    running: Running,
    /// Until the first command has ended.
    starting: Option<Starting>,
    /// Number of the next command.
    next: u64,
}

/// The machine that runs a Java program, started when it is not there yet.
pub(super) fn of(program: &Program) -> Arc<JavaServer> {
    static SERVERS: Mutex<Option<HashMap<Vec<String>, Arc<JavaServer>>>> = Mutex::new(None);
    let mut servers = SERVERS.lock().unwrap_or_else(|broken| broken.into_inner());
    let servers = servers.get_or_insert_default();
    let server = servers.entry(program.words().to_vec()).or_insert_with(|| {
        let starting = Some(starts::begin());
        let running = Running::start(program, &["serve"]);
        let output = running.output();
        Arc::new(JavaServer { input: Mutex::new(Input { running, starting, next: 1 }), output })
    });
    Arc::clone(server)
}

impl JavaServer {
    /// Runs a verb to its end and returns what it printed; Err holds that and why it failed.
    pub(super) fn run(&self, args: &[&str]) -> Result<String, String> {
        let (prefix, from) = {
            let mut input = self.input.lock().unwrap_or_else(|broken| broken.into_inner());
            let number = input.next;
            input.next += 1;
            let from = self.output.line_count();
            input.running.tell(&format!("{number}\t{}", args.join("\t")));
            (format!("{number} "), from)
        };
        let mut lines: Vec<String> = Vec::new();
        let ended = Running::wait_line(&self.output, from, RUN_WAIT_MAX, |line| {
            let own = line.strip_prefix(&prefix);
            lines.extend(own.map(str::to_owned));
            own.is_some_and(|line| line == "END" || line == "FAILED")
        });
        let last = if ended { lines.pop() } else { None };
        let text = lines.join("\n");
        let mut input = self.input.lock().unwrap_or_else(|broken| broken.into_inner());
        input.starting = None;
        if last.as_deref() == Some("END") {
            return Ok(text);
        }
        let errors = input.running.errors();
        Err(format!("{}: {last:?}\n{text}\n{errors}", args.join(" ")))
    }
}
