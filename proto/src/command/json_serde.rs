//! The JSON header as Java's parser would understand it, by way of serde_json: the slow path for whatever `json_fast` does
//! not take. It alone decides that a header is wrong.
//!
//! Accepted: unknown keys of any shape, repeated keys (the last one counts), fixed numbers as text, `language` as name or
//! ordinal, ext values as text, number or boolean, null anywhere (as if absent). Refused: malformed JSON, fixed numbers
//! that are fractions or beyond 32 bits, nested ext values. Nothing is built for what is skipped, so a hostile header
//! cannot make us hold many times its size.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Unexpected, Visitor};

use super::ext::HeaderArena;
use super::{EXT_FIELDS_MAX, FixedFields, HeaderError, Language};

/// Reads `text`, leaving the ext fields in the (cleared) `arena`.
pub(super) fn read(text: &str, arena: &mut HeaderArena) -> Result<FixedFields, HeaderError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let visitor = HeaderVisitor { arena, fields: 0 };
    let unreadable = |error: serde_json::Error| match error.to_string().starts_with(TOO_MANY) {
        true => HeaderError::TooManyFields,
        false => HeaderError::Json { column: error.column() },
    };
    let fixed = deserializer.deserialize_map(visitor).map_err(unreadable)?;
    deserializer.end().map_err(unreadable)?;
    Ok(fixed)
}

/// Marks the one error that is not about JSON on its way through serde.
const TOO_MANY: &str = "too many ext fields";

struct HeaderVisitor<'a> {
    arena: &'a mut HeaderArena,
    /// Ext fields so far, repeated and null ones too.
    fields: usize,
}

impl<'de> Visitor<'de> for HeaderVisitor<'_> {
    type Value = FixedFields;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a command header")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<FixedFields, A::Error> {
        let mut fixed = FixedFields::default();
        let mut remark = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "code" => fixed.code = number(map.next_value_seed(Scalar)?)?,
                "flag" => fixed.flag = number(map.next_value_seed(Scalar)?)?,
                "opaque" => fixed.opaque = number(map.next_value_seed(Scalar)?)?,
                "version" => fixed.version = number(map.next_value_seed(Scalar)?)?,
                "language" => fixed.language = language(map.next_value_seed(Scalar)?),
                "remark" => remark = map.next_value_seed(Scalar)?.into_text(),
                // An object given twice replaces the first one as a whole, as in any JSON object.
                "extFields" => {
                    self.arena.clear();
                    map.next_value_seed(ExtSeed { arena: self.arena, fields: &mut self.fields })?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        fixed.remark = remark.map(|text| self.arena.keep(&text));
        Ok(fixed)
    }
}

/// Java's `Integer`: a number, or the text of one. Null leaves the default.
fn number<E: Error>(value: Value) -> Result<i32, E> {
    let number = match value {
        Value::Null => Some(0),
        Value::Signed(number) => i32::try_from(number).ok(),
        Value::Unsigned(number) => i32::try_from(number).ok(),
        Value::Text(ref text) => text.parse().ok(),
        Value::Bool(_) | Value::Float(_) => None,
    };
    number.ok_or_else(|| E::invalid_value(Unexpected::Other("value"), &"a 32 bit number"))
}

/// A name or an ordinal; Java maps what it does not know to null, we to `Other`.
fn language(value: Value) -> Language {
    let known = match value {
        Value::Null => Some(Language::Java),
        Value::Unsigned(ordinal) => u8::try_from(ordinal).ok().and_then(Language::from_ordinal),
        Value::Text(name) => Language::from_name(&name),
        Value::Signed(_) | Value::Bool(_) | Value::Float(_) => None,
    };
    known.unwrap_or(Language::Other)
}

struct ExtSeed<'a> {
    arena: &'a mut HeaderArena,
    fields: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for ExtSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for ExtSeed<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of ext fields")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            *self.fields += 1;
            if *self.fields > EXT_FIELDS_MAX {
                return Err(A::Error::custom(TOO_MANY));
            }
            match map.next_value_seed(Scalar)?.into_text() {
                Some(value) => {
                    self.arena.put(&key, &value).map_err(|_| A::Error::custom(TOO_MANY))?
                }
                None => self.arena.remove(&key),
            }
        }
        Ok(())
    }
}

/// A JSON value that is not nested.
enum Value {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
}

impl Value {
    /// The text Java would keep; `None` for null.
    fn into_text(self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(value) => value.to_string(),
            Self::Signed(value) => value.to_string(),
            Self::Unsigned(value) => value.to_string(),
            Self::Float(value) => serde_json::Number::from_f64(value)?.to_string(),
            Self::Text(text) => text,
        })
    }
}

/// Reads a [`Value`]; arrays and objects are errors.
struct Scalar;

impl<'de> DeserializeSeed<'de> for Scalar {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Scalar {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("text, a number, a boolean or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Signed(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }
}
