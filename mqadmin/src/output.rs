//! Where commands say what they found: Java's text or JSON on standard output, everything else on standard error.

use std::fmt::{self, Display, Formatter};
use std::io::{self, BufWriter, IsTerminal as _, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use crate::Failure;

/// The output of one command.
pub struct Output {
    command: &'static str,
    json: bool,
    stdout: Box<dyn Write>,
    problems: usize,
}

impl Output {
    /// To standard output.
    pub(crate) fn new(command: &'static str, json: bool) -> Output {
        let stdout: Box<dyn Write> = match io::stdout().is_terminal() {
            // A loop shows what it has.
            true => Box::new(io::stdout()),
            false => Box::new(BufWriter::new(io::stdout())),
        };
        Output { command, json, stdout, problems: 0 }
    }

    /// Says something: its text, closed by a new line, or with `--json` a line of JSON.
    pub fn show(&mut self, value: &(impl Serialize + Display)) -> Result<(), Failure> {
        if self.json {
            serde_json::to_writer(&mut self.stdout, value).map_err(io::Error::from)?;
            self.stdout.write_all(b"\n")?;
        } else {
            let text = value.to_string();
            self.stdout.write_all(text.as_bytes())?;
            if !text.is_empty() && !text.ends_with('\n') {
                self.stdout.write_all(b"\n")?;
            }
        }
        Ok(self.stdout.flush()?)
    }

    /// Says something whose text and JSON the command has made.
    pub(crate) fn say(&mut self, text: impl Into<String>, json: Value) -> Result<(), Failure> {
        self.show(&Said { text: text.into(), json })
    }

    /// A line that is for people only: nothing with `--json`.
    pub(crate) fn text(&mut self, line: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { self.say(line, Value::Null) }
    }

    /// A line of so many dashes, for people only.
    pub(crate) fn rule(&mut self, dashes: usize) -> Result<(), Failure> {
        self.text(&"-".repeat(dashes))
    }

    /// Whether people read this on a terminal, where it may be drawn again.
    pub(crate) fn is_live(&self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Empties the terminal, so that the next thing said stands at its top.
    pub(crate) fn clear(&mut self) -> Result<(), Failure> {
        Ok(self.stdout.write_all(b"\x1b[H\x1b[2J\x1b[3J")?)
    }

    /// What was said is bad news: exit code 1 at the end, without a line on standard error.
    pub(crate) fn found_problem(&mut self) {
        self.problems += 1;
    }

    /// A part failed and the command goes on: a line on standard error, and exit code 1 at the end.
    pub fn problem(&mut self, failure: impl Into<Failure>) {
        self.problems += 1;
        eprintln!("{}", line(self.command, &failure.into()));
    }

    /// A line on standard error that is no failure.
    pub fn note(&self, text: &str) {
        eprintln!("mqadmin {}: {text}", self.command);
    }

    /// Parts that failed.
    pub fn problems(&self) -> usize {
        self.problems
    }

    /// Shows how far a command is with so many steps, on a terminal only. Gone when it is dropped.
    pub fn progress(&self, steps: usize) -> Progress {
        let target = match io::stderr().is_terminal() && !io::stdout().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            // Rows that appear on the same terminal are progress enough.
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta}");
        Progress(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }
}

struct Said {
    text: String,
    json: Value,
}

impl Serialize for Said {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl Display for Said {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A bar on standard error.
pub struct Progress(ProgressBar);

impl Progress {
    /// One step is done.
    pub fn step(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A failure in one line.
pub(crate) fn line(command: &str, failure: &Failure) -> String {
    let advice = failure.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
    let text = format!("mqadmin {command}: {failure}{advice}");
    text.lines().collect::<Vec<_>>().join(" ")
}
