//! The table of command lines, `commands.txt`: read when the tests run, so that a changed line needs no compiler.

use super::lines::Exactness;
use loadtest::harness::{Side, listed::Listed};
use std::{fs, path::Path};

/// Begins the reason of a difference.
const WHY: &str = " ## ";

/// A release of the tools, and the broker that it is compared at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// 4.9.
    V4,
    /// 5.3.
    V5,
}

/// A command line, and how it may differ.
pub(crate) struct Step {
    /// Line of the table.
    pub(crate) place: String,
    /// Its words.
    pub(crate) words: Vec<String>,
    /// How much of its output is compared.
    pub(crate) exactness: Exactness,
    /// What stays different.
    pub(crate) differs: Vec<Listed>,
}

impl Release {
    /// As it is picked on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Release::V4 => "java_4",
            Release::V5 => "java_5",
        }
    }

    /// Version of the tools.
    pub(crate) fn tools(self) -> &'static str {
        match self {
            Release::V4 => "4.9.8",
            Release::V5 => "5.3.3",
        }
    }

    /// The reference.
    pub(crate) fn broker(self) -> Side {
        match self {
            Release::V4 => Side::Java4,
            Release::V5 => Side::Java5,
        }
    }

    /// Whether a word of releases (`4`, `5`, `45`) names it.
    fn is_in(self, releases: &str) -> bool {
        releases.contains(match self {
            Release::V4 => '4',
            Release::V5 => '5',
        })
    }
}

/// What is run with this release, in order. Panics when the table is not as its head says.
pub(crate) fn of(release: Release) -> Vec<Step> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/admin_tools/commands.txt");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    read(&text, release)
}

fn read(text: &str, release: Release) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    // Whether the step that lines are about belongs to this release.
    let mut is_meant = false;
    for (index, line) in text.lines().enumerate() {
        let place = format!("commands.txt:{}", index + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let is_difference = line.starts_with(' ');
        let (releases, rest) = line.trim_start().split_once(' ').unwrap_or_default();
        let known = !releases.is_empty() && releases.chars().all(|c| c == '4' || c == '5');
        assert!(known, "{place}: begins with 4, 5 or 45: {line}");
        if is_difference {
            let parts = rest.split_once(WHY);
            let (line, why) = parts.unwrap_or_else(|| panic!("{place}: no reason: {line}"));
            let step = steps.last_mut().filter(|_| is_meant && release.is_in(releases));
            let listed = Listed { line: line.trim_end().to_owned(), why: why.to_owned() };
            if let Some(step) = step {
                step.differs.push(listed);
            }
        } else {
            is_meant = release.is_in(releases);
            let (exactness, rest) = match rest.split_once(": ") {
                Some(("shapes", rest)) => (Exactness::Shapes, rest),
                Some(("keys", rest)) => (Exactness::Keys, rest),
                _ => (Exactness::Lines, rest),
            };
            let words = rest.split_whitespace().map(str::to_owned).collect();
            let step = Step { place, words, exactness, differs: Vec::new() };
            steps.extend(is_meant.then_some(step));
        }
    }
    steps
}
