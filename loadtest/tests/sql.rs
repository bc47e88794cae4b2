//! Goal: an SQL92 filter means here what it means to Java's broker: what is refused, what matches, what does not. Method: many
//! seeded expressions, most of them nearly right, and messages for each, given to our evaluator and to Java's (5.3.3).

use std::{collections::BTreeMap, fmt::Write, fs};

use filter::Filter;
use loadtest::harness::program::Library;

/// Expressions.
const CASES: usize = 30_000;
/// Messages that each is evaluated over.
const MESSAGES: usize = 3;
const SEED: u64 = 20_261_129;

const PROPERTIES: &[&str] = &["a", "b", "c", "TAGS", "_x$1", "A"];
const VALUES: &[&str] = &[
    "5",
    "6",
    "-5",
    "+5",
    "05",
    "2.5",
    "5.0",
    " 5",
    "5f",
    ".5",
    "1e2",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "-0.0",
    "0",
    "NaN",
    "-Infinity",
    "true",
    "TRUE",
    "false",
    "x",
    "xyz",
    "it's",
    "",
    "größer",
];
const CONSTANTS: &[&str] = &[
    "0",
    "5",
    "6",
    "05",
    "5L",
    "0l",
    "2147483647",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "5.0",
    "2.5",
    "5.",
    ".5",
    "1e2",
    "1E-2",
    "5e",
    "0.0",
    "1e999",
    "TRUE",
    "false",
    "NULL",
    "'5'",
    "'x'",
    "'xyz'",
    "'true'",
    "''",
    "'it''s'",
    "'größer'",
    "'",
];

/// Those that may be compared with anything.
const PLAIN: &[&str] = &["5", "6", "0", "5.0", "2.5", "2147483648", "1e2"];

struct Words<'a> {
    random: &'a mut fastrand::Rng,
    text: String,
}

impl Words<'_> {
    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words[self.random.usize(..words.len())]
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.random.u32(..one_in) == 0
    }

    fn word(&mut self, word: &str) {
        let blank = self.random.u32(..12);
        self.text.push_str(match blank {
            0 if self.text.ends_with(['=', '(', ',', ')']) => "",
            1 => "\t\n",
            2 if self.random.u32(..8) == 0 => " /* * / **/",
            3 if self.random.u32(..8) == 0 => " -- )\n",
            _ => " ",
        });
        self.text.push_str(word);
    }

    fn keyword(&mut self, word: &str) {
        let word = if self.chance(3) { word.to_lowercase() } else { word.to_owned() };
        self.word(&word);
    }

    fn condition(&mut self, depth: u32) {
        self.comparison(depth);
        while self.chance(3) {
            let word = self.one_of(&["AND", "OR"]);
            self.keyword(word);
            self.comparison(depth);
        }
    }

    fn comparison(&mut self, depth: u32) {
        self.operand(depth);
        // One in ten has two of them, which is mostly refused.
        for _ in 0..1 + u32::from(self.chance(10)) {
            match self.random.u32(..12) {
                0..5 => {
                    let operator = self.one_of(&["=", "<>", "<", "<=", ">", ">="]);
                    self.word(operator);
                    self.operand(depth);
                }
                5 => {
                    self.keyword("IS");
                    self.not();
                    self.keyword("NULL");
                }
                6 | 7 => {
                    self.not();
                    self.keyword("BETWEEN");
                    self.operand(depth);
                    self.keyword("AND");
                    self.operand(depth);
                }
                8 => {
                    self.not();
                    self.keyword("IN");
                    self.word("(");
                    for n in 0..self.random.u32(1..8) {
                        if n > 0 {
                            self.word(",");
                        }
                        self.text();
                    }
                    self.word(")");
                }
                9 | 10 => {
                    self.not();
                    let word = self.one_of(&["CONTAINS", "STARTSWITH", "ENDSWITH"]);
                    self.keyword(word);
                    self.text();
                }
                _ => {}
            }
        }
    }

    fn not(&mut self) {
        if self.chance(3) {
            self.keyword("NOT");
        }
    }

    fn text(&mut self) {
        let texts = ["'x'", "'5'", "'xyz'", "'it''s'", "'y'", "''", "'größer'", "5"];
        let text = self.one_of(&texts);
        self.word(text);
    }

    fn operand(&mut self, depth: u32) {
        match self.random.u32(..16) {
            0 => {
                let sign = self.one_of(&["-", "+", "- -"]);
                self.word(sign);
                self.operand(depth);
            }
            1 if self.random.u32(..2) == 0 => {
                self.keyword("NOT");
                self.operand(depth);
            }
            2 | 3 if depth > 0 => {
                self.word("(");
                self.condition(depth - 1);
                self.word(")");
            }
            4..8 => {
                let constant = self.one_of(PLAIN);
                self.word(constant);
            }
            8 => {
                let constant = self.one_of(CONSTANTS);
                self.word(constant);
            }
            9 if self.random.u32(..6) == 0 => {
                let noise = self.one_of(&["%", ")", "é", "AND", ",", "''", "--", "/*", "!", "a b"]);
                self.word(noise);
            }
            _ => {
                let property = self.one_of(PROPERTIES);
                self.word(property);
            }
        }
    }
}

fn expression(random: &mut fastrand::Rng) -> String {
    let mut words = Words { random, text: String::new() };
    words.condition(3);
    words.text
}

/// Properties as a record holds them, now and then not well formed.
fn message(random: &mut fastrand::Rng) -> String {
    let mut text = String::new();
    for _ in 0..random.usize(..6) {
        let name = PROPERTIES[random.usize(..PROPERTIES.len())];
        let value = VALUES[random.usize(..VALUES.len())];
        let _ = write!(text, "{name}\u{1}{value}");
        if random.u32(..20) > 0 {
            text.push('\u{2}');
        }
    }
    text
}

fn hexadecimal(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn ours(expression: &str, properties: &str) -> &'static str {
    match Filter::compile(expression) {
        Err(_) => "REFUSED",
        Ok(filter) if filter.matches(properties.as_bytes()) => "MATCH",
        Ok(_) => "NONE",
    }
}

#[test]
fn filters_mean_what_they_mean_to_java() {
    let Some(program) = Library::Java("5.3.3").program("SQL92 beside Java's evaluator") else {
        return;
    };
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut cases = Vec::new();
    for _ in 0..CASES {
        let expression = expression(&mut random);
        cases.extend((0..MESSAGES).map(|_| (expression.clone(), message(&mut random))));
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cases");
    let lines = cases.iter().map(|(expression, properties)| {
        format!("{} {}\n", hexadecimal(expression), hexadecimal(properties))
    });
    fs::write(&file, lines.collect::<String>()).unwrap();
    let output = program.run(&["sql", "-", "-", &file.display().to_string()]);
    let verdicts: Vec<&str> = output.lines().collect();
    assert_eq!(verdicts.len(), cases.len());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut differences = Vec::new();
    for ((expression, properties), javas) in cases.iter().zip(&verdicts) {
        *counts.entry(javas).or_default() += 1;
        let own = ours(expression, properties);
        if own != *javas {
            let why = Filter::compile(expression).err();
            differences
                .push(format!("Java {javas}, ours {own}: {expression:?} {properties:?} {why:?}"));
        }
    }
    println!("{counts:?}");
    let some = differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} of {} differ:\n{some}", differences.len(), cases.len());
    assert!(
        counts.values().all(|count| *count > cases.len() / 20),
        "{counts:?}: all kinds are there"
    );
}
