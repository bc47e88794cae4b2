//! One case: its name, whom it is compared with, what it does, and which differences stay.

use super::play::Play;
use loadtest::harness::{
    Side,
    listed::{Listed, begins_as},
};

/// What is sent, and what is looked at, in order.
pub(crate) type Script = Box<dyn Fn(&mut Play) + Send + Sync>;

/// Differences of a family that stay, for cases that a loop makes or that share one: name of the case, or several with `*`;
/// the beginning of the difference's line; why it stays.
pub(crate) type Known = (&'static str, &'static str, &'static str);

/// One case.
pub(crate) struct Case {
    family: &'static str,
    name: String,
    /// Whose broker ours is compared with.
    pub(crate) against: Side,
    /// What stays different.
    pub(crate) differs: Vec<Listed>,
    /// What it does, on either side.
    pub(crate) script: Script,
}

/// A case against Java's 4.9 broker.
pub(crate) fn case(
    name: impl Into<String>,
    script: impl Fn(&mut Play) + Send + Sync + 'static,
) -> Case {
    Case {
        family: "",
        name: name.into(),
        against: Side::Java4,
        differs: Vec::new(),
        script: Box::new(script),
    }
}

impl Case {
    /// Against Java's 5.3 broker instead.
    pub(crate) fn java5(mut self) -> Case {
        self.against = Side::Java5;
        self
    }

    /// A difference that stays: the beginning of its line, and a sentence that says why.
    pub(crate) fn differs(mut self, line: impl Into<String>, why: &'static str) -> Case {
        self.differs.push(Listed { line: line.into(), why: why.to_owned() });
        self
    }

    /// Puts the case into a family, with those of its differences that are about this case.
    pub(crate) fn of(mut self, family: &'static str, known: &[Known]) -> Case {
        self.family = family;
        let about = known.iter().filter(|(pattern, ..)| self.is_meant(pattern));
        let listed =
            about.map(|(_, line, why)| Listed { line: (*line).to_owned(), why: (*why).to_owned() });
        let listed: Vec<Listed> = listed.collect();
        self.differs.extend(listed);
        self
    }

    /// Whether a pattern is this case's name, with or without its release, or covers it with `*`.
    pub(crate) fn is_meant(&self, pattern: &str) -> bool {
        let with_release = format!("{}::{}", self.name, self.release());
        let covers = pattern.contains('*') && begins_as(&with_release, pattern);
        pattern == self.name || pattern == with_release || covers
    }

    fn release(&self) -> &'static str {
        if self.against == Side::Java5 { "java_5" } else { "java_4" }
    }

    /// As it is picked on the command line; unique.
    pub(crate) fn full_name(&self) -> String {
        format!("{}::{}::{}", self.family, self.name, self.release())
    }
}
