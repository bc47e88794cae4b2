//! What a look at a store found: each with its place, what it costs and what the broker does about it.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Findings that are kept; more are counted only.
const KEPT_MAX: usize = 10_000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing; nothing is lost and nothing has to be done.
    Note,
    /// Bytes are not what was written, or a file that must be there is not.
    Damage,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The file.
    pub path: PathBuf,
    /// Where in the file, bytes; `None`: all of it.
    pub offset: Option<u64>,
    /// What does not fit.
    pub what: String,
    /// What it costs: messages and queues, as far as can be known.
    pub costs: String,
    /// What the broker does about it, or what the operator has to do.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Note => "note",
            Level::Damage => "DAMAGE",
        };
        write!(f, "{level} {}", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": {}", self.what)?;
        if !self.costs.is_empty() {
            write!(f, "\n    costs: {}", self.costs)?;
        }
        if !self.remedy.is_empty() {
            write!(f, "\n    then:  {}", self.remedy)?;
        }
        Ok(())
    }
}

/// All that was found.
#[derive(Debug, Default)]
pub struct Findings {
    kept: Vec<Finding>,
    damage: u64,
    dropped: u64,
}

impl Findings {
    /// The findings, in the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.kept.iter()
    }

    /// How many are damage, those not kept included.
    pub fn damage(&self) -> u64 {
        self.damage
    }

    /// How many there were too many to keep.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Files with damage.
    pub(crate) fn damaged_paths(&self) -> impl Iterator<Item = &Path> {
        let damage = self.kept.iter().filter(|finding| finding.level == Level::Damage);
        damage.map(|finding| &*finding.path)
    }

    /// Keeps a finding about a file that is still there. One that a running broker removed or gave another name in the
    /// meantime says nothing.
    pub(crate) fn about_existing(&mut self, finding: Finding) {
        if finding.path.exists() {
            self.push(finding);
        }
    }

    pub(crate) fn push(&mut self, finding: Finding) {
        self.damage += u64::from(finding.level == Level::Damage);
        if self.kept.len() < KEPT_MAX {
            self.kept.push(finding);
        } else {
            self.dropped += 1;
        }
    }
}

/// Damage in a file.
pub(crate) fn damage(
    path: &Path,
    offset: impl Into<Option<u64>>,
    what: impl Into<String>,
) -> Finding {
    Finding {
        level: Level::Damage,
        path: path.to_owned(),
        offset: offset.into(),
        what: what.into(),
        costs: String::new(),
        remedy: String::new(),
    }
}

/// Something worth knowing about a file.
pub(crate) fn note(
    path: &Path,
    offset: impl Into<Option<u64>>,
    what: impl Into<String>,
) -> Finding {
    Finding { level: Level::Note, ..damage(path, offset, what) }
}

impl Finding {
    pub(crate) fn costing(self, costs: impl Into<String>) -> Finding {
        Finding { costs: costs.into(), ..self }
    }

    pub(crate) fn then(self, remedy: impl Into<String>) -> Finding {
        Finding { remedy: remedy.into(), ..self }
    }
}
