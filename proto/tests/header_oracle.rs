//! Goal: the hand-tuned JSON reader and serde_json agree on every header, or both refuse it. Method: headers made of the
//! pieces clients send (and of pieces they do not), damaged at random, read by `decode` and by a plain reading through
//! serde_json.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proto::command::{EXT_FIELDS_MAX, HeaderArena, HeaderKind, Language, decode};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

#[derive(Debug, PartialEq)]
struct Plain {
    numbers: [i32; 4],
    language: Language,
    remark: Option<String>,
    ext: BTreeMap<String, String>,
}

fn ours(text: &[u8]) -> Option<Plain> {
    let mut arena = HeaderArena::default();
    let header = decode(HeaderKind::Json, text, &mut arena).ok()?;
    Some(Plain {
        numbers: [header.code, header.flag, header.opaque, header.version],
        language: header.language,
        remark: header.remark.map(str::to_owned),
        ext: header.ext.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
    })
}

/// A JSON object with repeated keys kept. `serde_json::Value` alone would hide all but the last of them.
struct Pairs(Vec<(String, Piece)>);

enum Piece {
    Plain(Value),
    Ext(Option<Pairs>),
    /// Checked for grammar only.
    Skipped,
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Each { outer: false })
    }
}

struct Each {
    outer: bool,
}

impl<'de> Visitor<'de> for Each {
    type Value = Pairs;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let piece = match key.as_str() {
                _ if !self.outer => Piece::Plain(map.next_value()?),
                "extFields" => Piece::Ext(map.next_value()?),
                "code" | "flag" | "opaque" | "version" | "language" | "remark" => {
                    Piece::Plain(map.next_value()?)
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    Piece::Skipped
                }
            };
            pairs.push((key, piece));
        }
        Ok(Pairs(pairs))
    }
}

/// What the readers promise, said plainly: every occurrence of a known key must be right, the last one counts.
fn oracle(text: &[u8]) -> Option<Plain> {
    let text = str::from_utf8(text).ok()?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let Pairs(pairs) = deserializer.deserialize_map(Each { outer: true }).ok()?;
    deserializer.end().ok()?;
    let mut plain =
        Plain { numbers: [0; 4], language: Language::Java, remark: None, ext: BTreeMap::new() };
    for (key, piece) in &pairs {
        match (key.as_str(), piece) {
            ("code", Piece::Plain(value)) => plain.numbers[0] = number_of(value)?,
            ("flag", Piece::Plain(value)) => plain.numbers[1] = number_of(value)?,
            ("opaque", Piece::Plain(value)) => plain.numbers[2] = number_of(value)?,
            ("version", Piece::Plain(value)) => plain.numbers[3] = number_of(value)?,
            ("language", Piece::Plain(value)) => plain.language = language_of(value)?,
            ("remark", Piece::Plain(value)) => plain.remark = scalar(value)?,
            (_, Piece::Ext(fields)) => plain.ext = ext_of(fields.as_ref())?,
            _ => {}
        }
    }
    assert!(plain.ext.len() <= EXT_FIELDS_MAX, "the generator stays below the limit");
    Some(plain)
}

fn number_of(value: &Value) -> Option<i32> {
    match value {
        Value::Null => Some(0),
        Value::Number(number) => i32::try_from(number.as_i64()?).ok(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn language_of(value: &Value) -> Option<Language> {
    let known = match value {
        Value::Null => Some(Language::Java),
        Value::String(name) => Language::from_name(name),
        Value::Number(number) => number
            .as_u64()
            .and_then(|ordinal| u8::try_from(ordinal).ok())
            .and_then(Language::from_ordinal),
        Value::Bool(_) => None,
        Value::Array(_) | Value::Object(_) => return None,
    };
    Some(known.unwrap_or(Language::Other))
}

fn ext_of(fields: Option<&Pairs>) -> Option<BTreeMap<String, String>> {
    let mut ext = BTreeMap::new();
    for (key, piece) in fields.map_or(&[][..], |pairs| &pairs.0) {
        let Piece::Plain(value) = piece else { return None };
        match scalar(value)? {
            Some(text) => ext.insert(key.clone(), text),
            None => ext.remove(key),
        };
    }
    Some(ext)
}

/// Outer `None`: nested, refused. Inner `None`: null.
fn scalar(value: &Value) -> Option<Option<String>> {
    match value {
        Value::Null => Some(None),
        Value::Bool(value) => Some(Some(value.to_string())),
        Value::Number(number) => Some(Some(number.to_string())),
        Value::String(text) => Some(Some(text.clone())),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z0-9_%|-]{0,40}",
        2 => "[\u{1}\u{2}a-zA-Z0-9\"\\\\/\n\r\t\u{8}\u{c}]{0,60}",
        1 => "\\PC{0,20}",
        1 => ".{0,20}",
    ]
    .prop_map(|text| serde_json::to_string(&text).unwrap_or_default())
}

/// String bodies as other writers escape them.
fn odd_text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just("a".to_owned()),
            Just("\\/".to_owned()),
            Just("\\u0041".to_owned()),
            Just("\\ud83d\\ude00".to_owned()),
            Just("\\ud83d".to_owned()),
            Just("\\u00e9".to_owned()),
            Just("\\u0001".to_owned()),
            Just("\\x".to_owned()),
            Just("é".to_owned()),
            Just("😀".to_owned()),
            Just("\u{1}".to_owned()),
            Just("\\u00".to_owned()),
            Just("\\uABCD".to_owned()),
            Just("01234567".to_owned()),
            Just("\\".to_owned()),
            Just("\u{7f}".to_owned()),
        ],
        0..6,
    )
    .prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i32>().prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        "-?[0-9]{1,22}",
        "-?[0-9]{1,3}(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        any::<i32>().prop_map(|number| format!("\"{number}\"")),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => text(),
        2 => odd_text(),
        3 => number(),
        2 => prop_oneof![Just("true"), Just("false"), Just("null"), Just("{}"), Just("[1]"), Just("tru")]
            .prop_map(str::to_owned),
    ]
}

fn ext() -> impl Strategy<Value = String> {
    let key = prop_oneof![4 => "\"[a-p]\"", 2 => "\"[a-z]{1,4}\"", 1 => text(), 1 => odd_text()];
    proptest::collection::vec((key, value()), 0..20).prop_map(|fields| {
        let fields: Vec<_> =
            fields.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
        format!("{{{}}}", fields.join(","))
    })
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (prop_oneof![Just("code"), Just("flag"), Just("opaque"), Just("version")], number())
            .prop_map(|(key, value)| format!("\"{key}\":{value}")),
        2 => prop_oneof![Just("JAVA"), Just("GO"), Just("CPP"), Just("NODE_JS"), Just("SWIFT")]
            .prop_map(|name| format!("\"language\":\"{name}\"")),
        1 => value().prop_map(|value| format!("\"language\":{value}")),
        2 => value().prop_map(|value| format!("\"remark\":{value}")),
        6 => ext().prop_map(|value| format!("\"extFields\":{value}")),
        2 => value().prop_map(|value| format!("\"serializeTypeCurrentRPC\":{value}")),
        1 => value().prop_map(|value| format!("\"more\":{value}")),
    ]
}

fn header() -> impl Strategy<Value = String> {
    (proptest::collection::vec(field(), 0..8), "[ \n]{0,1}", "[ \n]{0,2}").prop_map(
        |(fields, inner, outer)| {
            format!("{outer}{{{inner}{}{inner}}}{outer}", fields.join(&format!("{inner},{inner}")))
        },
    )
}

/// Fixed number of seconds a developer may give the random search, through the number of cases.
fn config() -> ProptestConfig {
    let seconds: u32 =
        std::env::var("RINGMQ_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    ProptestConfig {
        cases: 3_000 * seconds,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn same_result_or_both_refuse(text in header()) {
        prop_assert_eq!(ours(text.as_bytes()), oracle(text.as_bytes()), "{}", text);
    }

    #[test]
    fn damaged_headers_too(text in header(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        match cut {
            true => { bytes.remove(at); }
            false => bytes[at] = byte,
        }
        prop_assert_eq!(ours(&bytes), oracle(&bytes), "{}", String::from_utf8_lossy(&bytes));
    }
}
