//! Declarations of metrics: name, kind, labels, and what they mean, once for the scrape and for the page that explains it.

use std::fmt::Write as _;

/// What kind of numbers a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size, in buckets.
    Histogram,
}

impl Kind {
    /// The word of the format.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One metric, of which there is a number for each combination of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name, which ends with the unit, and with `_total` for a counter.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, one paragraph without a line break.
    pub help: &'static str,
}

/// Declares families: the meaning as a doc comment, then `NAME: Kind("metric_name", "label", ...);`. The first line names
/// the constant that lists all of them.
#[macro_export]
macro_rules! families {
    (
        $(#[$of_all:meta])* $vis:vis const $all:ident;
        $( #[doc = $help:literal] $name:ident: $kind:ident($metric:literal $(, $label:literal)*); )*
    ) => {
        $(
            #[doc = $help]
            $vis const $name: $crate::Family = $crate::Family {
                name: $metric,
                kind: $crate::Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*
        $(#[$of_all])*
        $vis const $all: &[$crate::Family] = &[$($name),*];
    };
}

/// A table of families for people who write queries.
pub fn markdown(families: &[Family]) -> String {
    let mut out = "| metric | kind | labels | |\n|---|---|---|---|\n".to_owned();
    for family in families {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let help = family.help.trim().replace('|', "\\|");
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {help} |",
            family.name,
            family.kind.word(),
            labels.join(", ")
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    families! {
        /// All of this test.
        const ALL;
        /// Doors that were opened.
        OPENED: Counter("house_doors_opened_total", "floor", "door");
        /// Whether it rains|snows.
        RAIN: Gauge("house_rain");
    }

    #[test]
    fn declarations_become_constants_a_list_and_a_table() {
        assert_eq!(ALL, [OPENED, RAIN]);
        assert_eq!(OPENED.labels, ["floor", "door"]);
        let expected = "| metric | kind | labels | |\n|---|---|---|---|\n\
                        | `house_doors_opened_total` | counter | `floor`, `door` | Doors that were opened. |\n\
                        | `house_rain` | gauge |  | Whether it rains\\|snows. |\n";
        assert_eq!(markdown(ALL), expected);
    }
}
