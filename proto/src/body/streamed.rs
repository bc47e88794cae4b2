//! Reading a body whose bulk is one table: its entries are handed out one by one.
//!
//! A tree of values takes up to 16 times the bytes of its text. The tables of topics and groups are the only bodies where
//! that hurts: a broker with 10,000 topics reads one at each start, its name server one with each registration. Of these
//! only one entry is a tree at a time; everything around the table comes back as usual.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::BodyError;
use super::fields::strict;

/// Parses a body of at most `bytes_max` bytes. Each entry of the table at `path` that is not null goes through `each`;
/// what is returned has an empty table there.
pub(super) fn parse_table(
    bytes: &[u8],
    bytes_max: usize,
    path: &[&'static str],
    mut each: impl FnMut(String, &Value) -> Result<(), BodyError>,
) -> Result<Value, BodyError> {
    let strict = strict(bytes, bytes_max)?;
    let mut refused = None;
    let mut reader = serde_json::Deserializer::from_slice(&strict);
    let object = Object { name: "body", path, each: &mut each, refused: &mut refused };
    let read = object.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    // An error of ours went through the parser as one of its own.
    refused.map_or_else(|| Ok(read?), Err)
}

/// An object on the way to the table, or the table.
struct Object<'a, E> {
    name: &'static str,
    path: &'a [&'static str],
    each: &'a mut E,
    refused: &'a mut Option<BodyError>,
}

impl<'de, E: FnMut(String, &Value) -> Result<(), BodyError>> DeserializeSeed<'de>
    for Object<'_, E>
{
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de, E: FnMut(String, &Value) -> Result<(), BodyError>> Visitor<'de> for Object<'_, E> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object at {}", self.name)
    }

    fn visit_unit<X: Error>(self) -> Result<Value, X> {
        Ok(Value::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let Object { path, each, refused, .. } = self;
        let mut around = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match path.split_first() {
                None => {
                    let value: Value = members.next_value()?;
                    if !value.is_null()
                        && let Err(error) = each(name, &value)
                    {
                        *refused = Some(error);
                        return Err(A::Error::custom("an entry was refused"));
                    }
                }
                Some((next, path)) if name == *next => {
                    let inner =
                        Object { name: next, path, each: &mut *each, refused: &mut *refused };
                    around.insert(name, members.next_value_seed(inner)?);
                }
                Some(_) => drop(around.insert(name, members.next_value()?)),
            }
        }
        Ok(Value::Object(around))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Vec<String>, Value), BodyError> {
        let mut found = Vec::new();
        let rest = parse_table(text.as_bytes(), 1_000, &["outer", "table"], |name, value| {
            if value.as_str() == Some("bad") {
                return Err(BodyError::Member { name: "entry", expected: "good" });
            }
            found.push(format!("{name}={value}"));
            Ok(())
        })?;
        Ok((found, rest))
    }

    #[test]
    fn entries_go_one_by_one_and_the_rest_comes_back() {
        let text = r#"{"a":1,"outer":{"x":[2],"table":{"k":{"v":3},"none":null,7:"t"}},"b":null}"#;
        let (found, rest) = read(text).expect("read");
        assert_eq!(found, [r#"k={"v":3}"#, r#"7="t""#]);
        let around = r#"{"a":1,"outer":{"x":[2],"table":{}},"b":null}"#;
        assert_eq!(rest, serde_json::from_str::<Value>(around).expect("JSON"));
        for text in ["{}", "null", r#"{"outer":null}"#, r#"{"outer":{"table":null}}"#] {
            assert_eq!(read(text).expect(text).0, [""; 0]);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let refused = read(r#"{"outer":{"table":{"k":"bad"}}}"#);
        assert!(matches!(refused, Err(BodyError::Member { name: "entry", .. })), "{refused:?}");
        for (text, wanted) in [
            ("[]", "an object at body"),
            (r#"{"outer":3}"#, "an object at outer"),
            (r#"{"outer":{"table":[1]}}"#, "an object at table"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let long = "x".repeat(1_001);
        assert!(matches!(read(&long), Err(BodyError::TooLarge { bytes: 1_001, bytes_max: 1_000 })));
        assert!(matches!(read(r#"{"outer":{"table":{"k""#), Err(BodyError::Json(_))));
    }
}
