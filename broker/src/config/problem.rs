//! What is wrong with a configuration, and what is to be remarked on it, in words for an operator.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This line of the file, counted from 1.
    Line(usize),
    /// This line of `overrides.properties`.
    Overrides(usize),
    /// The command line.
    CommandLine,
    /// An environment variable: NAMESRV_ADDR, RINGMQ_LOG_DIR.
    Environment,
    /// The combination of several keys.
    Together,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Line(line) => write!(f, "line {line}: "),
            Source::Overrides(line) => write!(f, "overrides.properties line {line}: "),
            Source::CommandLine => f.write_str("command line: "),
            Source::Environment => f.write_str("environment: "),
            Source::Together => Ok(()),
        }
    }
}

/// One thing that keeps the broker from starting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_of}{key}={value}: expected {expected}")]
pub struct Problem {
    /// Where the value stands.
    pub source_of: Source,
    /// Name of the key.
    pub key: String,
    /// The value as written.
    pub value: String,
    /// Completes "expected ...".
    pub expected: String,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file of `-c` cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// At least one value cannot be used. All of them are listed, one per line.
    #[error("{} in the configuration:{}", daemon::words::counted(.problems.len() as u64, "problem"), bullets(.problems))]
    Problems {
        /// All of them.
        problems: Vec<Problem>,
        /// What else there is to remark.
        notices: Vec<Notice>,
    },
}

impl ConfigError {
    /// Remarks on the rest of the configuration.
    pub fn notices(&self) -> &[Notice] {
        match self {
            ConfigError::Unreadable { .. } => &[],
            ConfigError::Problems { notices, .. } => notices,
        }
    }
}

fn bullets(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// How loud a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Info,
    /// The operator may be relying on something that is not so.
    Warn,
}

/// A remark on the configuration that does not stop the start; to be logged once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How loud.
    pub level: Level,
    /// One sentence.
    pub text: String,
}

impl Notice {
    pub(super) fn info(text: String) -> Notice {
        Notice { level: Level::Info, text }
    }

    pub(super) fn warn(text: String) -> Notice {
        Notice { level: Level::Warn, text }
    }
}
