//! Why a program of ours ends although nobody asked it to: one exit code per cause, the same in both programs.
//!
//! The table stands in `deploy/README.md` for operators, and a test holds it to this one. 0 is an orderly end, 70 a bug
//! (a panic, `runtime::EXIT_SOFTWARE`), 130 a second signal (`runtime::EXIT_INTERRUPTED`).

use std::{
    fmt,
    io::Write as _,
    process::ExitCode,
    sync::{Arc, OnceLock},
};

/// What kept a program from starting or going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// None of the others.
    Other = 1,
    /// The command line or a value of the configuration cannot be used.
    Configuration = 2,
    /// Another process holds the data directory.
    DirectoryInUse = 3,
    /// A port is taken, or an address is not one of this machine.
    Port = 4,
    /// The machine, the container or their limits do not suffice.
    Machine = 5,
    /// The data directory cannot be read, or holds what this program must not touch.
    Data = 6,
    /// A write or sync of a log failed, and `exitOnLogFailure` is set.
    LogFailed = 7,
    /// A stop took longer than it may: `EX_TEMPFAIL` of sysexits.h.
    StopTimeout = 75,
}

impl Cause {
    /// All causes, in the order of their codes.
    pub const ALL: [Cause; 8] = [
        Cause::Other,
        Cause::Configuration,
        Cause::DirectoryInUse,
        Cause::Port,
        Cause::Machine,
        Cause::Data,
        Cause::LogFailed,
        Cause::StopTimeout,
    ];

    /// The exit code.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// A cause and the one sentence about it, which names what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Fatal {
    /// Decides the exit code.
    pub cause: Cause,
    /// For people.
    pub sentence: String,
}

impl Fatal {
    /// From anything that can be said.
    pub fn new(cause: Cause, sentence: impl fmt::Display) -> Fatal {
        Fatal { cause, sentence: sentence.to_string() }
    }

    /// For `map_err`.
    pub fn because<E: fmt::Display>(cause: Cause) -> impl Fn(E) -> Fatal {
        move |error| Fatal::new(cause, error)
    }

    /// Says it on standard error, once and as the last line, whatever the log's filter is.
    pub fn tell(&self, program: &str) -> ExitCode {
        eprintln!("{program}: {self}");
        ExitCode::from(self.cause.code())
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Everything that would keep a program from starting, in the order in which a start would meet it: for a check that
/// looks at all of it, where a start ends at the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals(Vec<Fatal>);

impl Refusals {
    /// One more.
    pub fn add(&mut self, fatal: Fatal) {
        self.0.push(fatal);
    }

    /// What was found, or nothing and one refusal more.
    pub fn keep<T>(&mut self, found: Result<T, Fatal>) -> Option<T> {
        found.map_err(|fatal| self.add(fatal)).ok()
    }

    /// All of them.
    pub fn all(&self) -> &[Fatal] {
        &self.0
    }

    /// Tells all, as a start would tell the first, whose code is the program's. Without any it says that a start would
    /// succeed, on standard output.
    pub fn tell(&self, program: &str) -> ExitCode {
        let codes: Vec<ExitCode> = self.0.iter().map(|fatal| fatal.tell(program)).collect();
        codes.first().copied().unwrap_or_else(|| {
            // A reader that wants no more is content.
            let _ = writeln!(std::io::stdout(), "{program}: would start");
            ExitCode::SUCCESS
        })
    }
}

/// The first failure of several executors, which can hand on no more than its sentence.
#[derive(Clone, Debug, Default)]
pub struct FirstFatal(Arc<OnceLock<Fatal>>);

impl FirstFatal {
    /// Keeps it, unless another one came first; returns its sentence.
    pub fn keep(&self, fatal: Fatal) -> String {
        let sentence = fatal.to_string();
        self.0.get_or_init(|| fatal);
        sentence
    }

    /// The first that was kept; else of this sentence, whose cause nobody knows.
    pub fn or_other(&self, sentence: String) -> Fatal {
        self.0.get().cloned().unwrap_or_else(|| Fatal::new(Cause::Other, sentence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_keep_their_order_and_what_was_found() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.keep(Ok(7)), Some(7));
        let fatals = [Fatal::new(Cause::Port, "a"), Fatal::new(Cause::Configuration, "b")];
        for fatal in &fatals {
            assert_eq!(refusals.keep::<()>(Err(fatal.clone())), None);
        }
        assert_eq!(refusals.all(), fatals);
        assert_eq!(refusals.tell("test"), ExitCode::from(Cause::Port.code()));
    }

    /// Rows of the table below "## Exit codes" begin with the code.
    #[test]
    fn operators_find_every_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/README.md");
        let text = std::fs::read_to_string(path).expect("deploy/README.md");
        let section = text.split("\n## Exit codes\n").nth(1).expect("a section on exit codes");
        let section = section.split("\n## ").next().unwrap_or_default();
        let row = |line: &str| line.strip_prefix("| ")?.split(' ').next()?.parse::<u8>().ok();
        let told: Vec<u8> = section.lines().filter_map(row).collect();
        let mut codes = vec![0];
        codes.extend(Cause::ALL.map(Cause::code));
        codes.extend([70, 130]);
        codes.sort_unstable();
        assert_eq!(told, codes);
    }
}
