//! The checked-in vectors: reading their three-line form.

#![allow(dead_code, reason = "each test crate that includes this file uses a part of it")]

use std::collections::BTreeMap;

/// One vector: what Java made of what input.
#[derive(Debug, Clone)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// What was put in, sorted by name.
    pub(crate) input: BTreeMap<String, String>,
}

impl Vector {
    pub(crate) fn get(&self, name: &str) -> &str {
        self.input.get(name).unwrap_or_else(|| panic!("{} has no {name}", self.name))
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.get(name).parse().unwrap_or_else(|_| panic!("{}: {name} is no number", self.name))
    }
}

/// All vectors of `frames`, `records` or `bodies`, made by one release.
pub(crate) fn load(what: &str, version: &str) -> Vec<Vector> {
    let path = format!("{}/tests/golden/{what}-{version}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len() % 3, 0, "{path}");
    lines.chunks(3).map(|lines| vector(lines[0], lines[1], lines[2])).collect()
}

fn vector(provenance: &str, hex: &str, input: &str) -> Vector {
    assert!(provenance.starts_with("# Apache RocketMQ "), "{provenance}");
    let (name, hex) = hex.split_once(' ').expect("name and hex");
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    let pairs = input.strip_prefix("= ").expect("input").split('&').filter(|p| !p.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').expect("name=value"));
    Vector {
        name: name.to_owned(),
        bytes: (0..hex.len()).step_by(2).map(digits).collect(),
        input: pairs.map(|(name, value)| (unescape(name), unescape(value))).collect(),
    }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit =
                    || char::from(rest.next().expect("digit")).to_digit(16).expect("hex");
                (digit() * 16 + digit()) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).expect("UTF-8")
}
