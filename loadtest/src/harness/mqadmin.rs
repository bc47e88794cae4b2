//! Java's `mqadmin`, command after command in one process.

use std::{path::Path, time::Duration};

use super::{
    program::{Program, Running},
    starts,
};
use crate::java_peer::write_log_configs;

/// How long one command may take, the start of the process included.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(120);
/// What the program prints behind each answer.
const END: &str = "END";

/// A running `mqadmin` of one release. It ends when this value is dropped.
pub struct Mqadmin {
    running: Running,
    /// Lines of answers that were handed out, their `END` included.
    read: usize,
}

impl Mqadmin {
    /// Starts the one that belongs to a Java program, and waits until it answers: who holds a place among those that start
    /// waits for nobody else who may want one.
    pub fn start(program: &Program) -> Mqadmin {
        write_log_configs(&program.home, &program.home.join("mqadmin.log"))
            .unwrap_or_else(|error| panic!("{error}"));
        let program =
            program.with_java_option(&format!("-Drocketmq.home.dir={}", program.home.display()));
        let _starting = starts::begin();
        let mut started = Mqadmin { running: Running::start(&program, &["mqadmin"]), read: 0 };
        started.run(&["help"]);
        started
    }

    /// The same, its requests signed with an account: from `conf/tools.yml` of a home directory of its own.
    pub fn signing_as(program: &Program, home: &Path, access_key: &str, secret: &str) -> Mqadmin {
        write_log_configs(home, &home.join("mqadmin.log"))
            .unwrap_or_else(|error| panic!("{error}"));
        let tools = format!("accessKey: {access_key}\nsecretKey: {secret}\n");
        std::fs::write(home.join("conf/tools.yml"), tools).expect("the directory is ours");
        let program = program.with_java_option(&format!("-Drocketmq.home.dir={}", home.display()));
        let _starting = starts::begin();
        let mut started = Mqadmin { running: Running::start(&program, &["mqadmin"]), read: 0 };
        started.run(&["help"]);
        started
    }

    /// Runs a command, given as its words, and returns all that it printed. Panics when it does not end in time, or when
    /// it ended the process, as wrong options do; a command that failed otherwise has printed an exception.
    pub fn run(&mut self, words: &[&str]) -> String {
        self.running.tell(&words.join("\t"));
        let mut lines = Vec::new();
        let output = self.running.output();
        let ended = Running::wait_line(&output, self.read, ANSWER_WAIT_MAX, |line| {
            lines.push(line.to_owned());
            line == END
        });
        assert!(
            ended,
            "mqadmin {words:?} ended the process or was too slow:\n{}\n{}",
            lines.join("\n"),
            self.running.errors()
        );
        // Behind the first END nothing comes before the next command is told.
        self.read += lines.len();
        lines.pop();
        lines.join("\n")
    }
}
