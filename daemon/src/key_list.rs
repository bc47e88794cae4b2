//! All configuration keys of a program for who has to set them: text for a terminal, JSON for programs, Markdown for a page.
//!
//! A program makes its [`KeyList`] from its one table of keys and from what it knows of keys of Java's that mean nothing here. What
//! always holds: the three forms say the same.

use serde_json::{Map, Value, json};

use crate::{
    config::{ConfigKind, Effect, Key},
    words::wrapped,
};

/// Columns of a terminal that the text fits.
const COLUMNS: usize = 100;

/// The keys of one program.
pub struct KeyList {
    /// The program.
    pub program: &'static str,
    /// One sentence about all of them.
    pub remark: &'static str,
    /// Keys that mean something here, in the order of their table.
    pub keys: Vec<KeyRow>,
    /// Keys of Java's that do not.
    pub without_meaning: Vec<WithoutMeaning>,
}

/// The option of a program's command line that lists its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct KeysArgument {
    /// List all keys with defaults, ranges and meanings and exit; as text or as JSON.
    #[arg(
        long = "keys",
        value_enum,
        value_name = "FORM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text",
        hide_possible_values = true,
        help = "List all keys with defaults, ranges and meanings,\nand exit; --keys=json for programs"
    )]
    pub form: Option<KeysForm>,
}

/// How keys are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KeysForm {
    /// For a terminal.
    Text,
    /// For programs.
    Json,
}

/// A key that means something here.
pub struct KeyRow {
    name: &'static str,
    default: String,
    kind: ConfigKind,
    unit: &'static str,
    effect: Effect,
    meaning: String,
}

/// Keys of Java's that mean nothing here, for one reason.
pub struct WithoutMeaning {
    /// As Java spells them.
    pub names: Vec<&'static str>,
    /// Why.
    pub reason: &'static str,
    /// What a start does about them.
    pub told: Told,
}

/// What a start does about a key that means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is accepted.
    Accepted,
    /// It is accepted with a warning, unless its value asks for nothing.
    Warned,
    /// Nothing starts, unless its value asks for nothing.
    Refused,
}

impl Told {
    fn text(self) -> &'static str {
        match self {
            Told::Accepted => "accepted",
            Told::Warned => "accepted; a warning unless the value says no",
            Told::Refused => "refused unless the value says no",
        }
    }
}

impl KeyRow {
    /// From the table; `defaults` as they are to be shown.
    pub fn of<C>(key: &Key<C>, defaults: &C) -> KeyRow {
        KeyRow {
            name: key.name,
            default: (key.text)(defaults),
            kind: key.kind,
            unit: key.unit,
            effect: key.effect,
            meaning: key.doc.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }

    fn effect(&self) -> &'static str {
        match self.effect {
            Effect::Start => "restart",
            Effect::Format => "fixed when the store is formatted",
            Effect::Live => "live",
            Effect::Later => "nothing acts on it yet",
        }
    }

    fn accepts(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(", {}", self.unit) };
        format!("{}{unit}", self.kind.expectation())
    }

    fn text(&self) -> String {
        let mut out = format!("{}={}\n", self.name, self.default);
        let second = format!("{}; {}.", self.accepts(), self.effect());
        out.push_str(&wrapped(&second, COLUMNS, "    "));
        out.push_str(&wrapped(&self.meaning, COLUMNS, "    "));
        out
    }

    fn json(&self) -> Value {
        let mut out = Map::new();
        let mut put = |name: &str, value: Value| drop(out.insert(name.to_owned(), value));
        put("name", json!(self.name));
        put("default", json!(self.default));
        put("accepts", json!(self.kind.expectation()));
        match self.kind {
            ConfigKind::Whole { min, max } => {
                put("min", json!(min));
                if max != i64::MAX {
                    put("max", json!(max));
                }
            }
            ConfigKind::Choice(words) => put("choices", json!(words)),
            ConfigKind::Bool => put("choices", json!(["true", "false"])),
            _ => {}
        }
        put("unit", json!(self.unit));
        put("live", json!(self.effect == Effect::Live));
        put("effect", json!(self.effect()));
        put("meaning", json!(self.meaning));
        Value::Object(out)
    }

    fn markdown(&self) -> String {
        let default = match self.default.as_str() {
            "" => "empty".to_owned(),
            default => format!("`{default}`"),
        };
        row(&[
            format!("`{}`", self.name),
            default,
            self.accepts(),
            self.effect().to_owned(),
            self.meaning.clone(),
        ])
    }
}

/// A row of a table in Markdown.
fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

impl KeyList {
    /// As it was asked for.
    pub fn in_form(&self, form: KeysForm) -> String {
        match form {
            KeysForm::Text => self.text(),
            KeysForm::Json => self.json(),
        }
    }

    /// For a terminal of 100 columns.
    pub fn text(&self) -> String {
        let mut out = wrapped(&format!("Keys of {}. {}", self.program, self.remark), COLUMNS, "");
        for key in &self.keys {
            out.push('\n');
            out.push_str(&key.text());
        }
        out.push_str("\nKeys of Apache RocketMQ that mean nothing here:\n");
        for group in &self.without_meaning {
            let why = format!("{} ({}):", group.reason, group.told.text());
            out.push('\n');
            out.push_str(&wrapped(&why, COLUMNS, ""));
            out.push_str(&wrapped(&group.names.join(" "), COLUMNS, "    "));
        }
        out
    }

    /// The same for programs, in lines.
    pub fn json(&self) -> String {
        let keys: Vec<Value> = self.keys.iter().map(KeyRow::json).collect();
        let group = |group: &WithoutMeaning| json!({ "names": group.names, "reason": group.reason, "start": group.told.text() });
        let without: Vec<Value> = self.without_meaning.iter().map(group).collect();
        let all = json!({ "program": self.program, "keys": keys, "withoutMeaning": without });
        format!("{all:#}\n")
    }

    /// A section of a page.
    pub fn markdown(&self) -> String {
        let mut out = format!("## {}\n\n{}\n\n", self.program, self.remark);
        out.push_str("| key | default | accepts | changed by | meaning |\n|---|---|---|---|---|\n");
        out.extend(self.keys.iter().map(KeyRow::markdown));
        out.push_str("\nKeys of Apache RocketMQ that mean nothing here:\n\n");
        out.push_str("| keys | at a start | why |\n|---|---|---|\n");
        for group in &self.without_meaning {
            let names: Vec<String> = group.names.iter().map(|name| format!("`{name}`")).collect();
            out.push_str(&row(&[
                names.join(", "),
                group.told.text().to_owned(),
                group.reason.to_owned(),
            ]));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_keys;

    config_keys! {
        /// A garage.
        struct Garage {
            /// Doors of the garage. They are a part of the wall | of the roof, and who drives in or out of it has to open one of
            /// them first.
            doors: u16 = 2, "doors", ConfigKind::Whole { min: 1, max: 9 }, "m", Start;
            /// Whether the light is on.
            light: bool = false, "lightOn", ConfigKind::Bool, "", Live;
        }
    }

    fn list() -> KeyList {
        let defaults = Garage::default();
        KeyList {
            program: "garage",
            remark: "All of them.",
            keys: KEYS.iter().map(|key| KeyRow::of(key, &defaults)).collect(),
            without_meaning: vec![WithoutMeaning {
                names: vec!["a", "b"],
                reason: "there is no roof",
                told: Told::Refused,
            }],
        }
    }

    #[test]
    fn a_terminal_shows_whole_lines() {
        let text = list().text();
        assert!(text.starts_with("Keys of garage. All of them.\n\ndoors=2\n    a whole number from 1 to 9, m; restart.\n"), "{text}");
        assert!(text.contains("lightOn=false\n    true or false; live.\n    Whether"), "{text}");
        assert!(
            text.ends_with("there is no roof (refused unless the value says no):\n    a b\n"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
    }

    #[test]
    fn programs_get_the_same() {
        let json: Value = serde_json::from_str(&list().json()).unwrap();
        assert_eq!(json["keys"][0]["max"], 9);
        assert_eq!(json["keys"][0]["effect"], "restart");
        assert_eq!(json["keys"][1]["live"], true);
        assert_eq!(json["keys"][1]["choices"][1], "false");
        assert_eq!(json["withoutMeaning"][0]["names"][1], "b");
    }

    #[test]
    fn a_page_has_a_row_for_each() {
        let page = list().markdown();
        assert!(
            page.contains(
                "| `doors` | `2` | a whole number from 1 to 9, m | restart | Doors of the garage."
            ),
            "{page}"
        );
        assert!(page.contains("wall \\| of"), "{page}");
        assert!(
            page.contains("| `a`, `b` | refused unless the value says no | there is no roof |\n"),
            "{page}"
        );
    }
}
