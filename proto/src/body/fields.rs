//! Reading members of a JSON object as leniently as fastjson does. Used by every reader in `body`.
//!
//! Absent and null members are the same. Numbers may be strings, strings may be numbers. What has a wrong kind beyond
//! that is an error which names the member.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::BodyError;
use crate::fastjson;

/// Limit of bodies that clients send every few seconds, in bytes. A tree of values takes up to 16 times as much.
pub(super) const CLIENT_BODY_BYTES_MAX: usize = 4 << 20;
/// Limit of bodies that brokers and configuration files hold, in bytes.
pub(super) const TABLE_BODY_BYTES_MAX: usize = 64 << 20;

/// Parses a body of at most `bytes_max` bytes.
pub(super) fn parse(bytes: &[u8], bytes_max: usize) -> Result<Value, BodyError> {
    Ok(serde_json::from_slice(&strict(bytes, bytes_max)?)?)
}

/// A body of at most `bytes_max` bytes as strict JSON.
pub(super) fn strict(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, BodyError> {
    if bytes.len() > bytes_max {
        return Err(BodyError::TooLarge { bytes: bytes.len(), bytes_max });
    }
    Ok(fastjson::to_strict(bytes)?)
}

/// The members of one object.
#[derive(Clone, Copy)]
pub(super) struct Fields<'v>(&'v Map<String, Value>);

impl<'v> Fields<'v> {
    /// The members of `value`, which is called `name` in errors.
    pub(super) fn of(value: &'v Value, name: &'static str) -> Result<Self, BodyError> {
        match value {
            Value::Object(members) => Ok(Fields(members)),
            _ => Err(BodyError::Member { name, expected: "an object" }),
        }
    }

    /// The member, unless it is absent or null.
    pub(super) fn get(&self, name: &str) -> Option<&'v Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text; numbers and booleans count as their own text.
    pub(super) fn optional_text(&self, name: &'static str) -> Result<Option<String>, BodyError> {
        self.get(name).map(|value| text(value, name)).transpose()
    }

    /// A text, empty when absent.
    pub(super) fn text(&self, name: &'static str) -> Result<String, BodyError> {
        Ok(self.optional_text(name)?.unwrap_or_default())
    }

    /// A whole number in the range of `T`, possibly written as a string.
    pub(super) fn int<T: TryFrom<i64>>(
        &self,
        name: &'static str,
        default: T,
    ) -> Result<T, BodyError> {
        self.get(name).map_or(Ok(default), |value| int(value, name))
    }

    /// A finite number, 0 when absent.
    pub(super) fn float(&self, name: &'static str) -> Result<f64, BodyError> {
        let number = match self.get(name) {
            None => Some(0.0),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(value) => value.as_f64(),
        };
        let finite = number.filter(|number: &f64| number.is_finite());
        finite.ok_or(BodyError::Member { name, expected: "a number" })
    }

    /// A truth value: `true`, `"true"`, `1` and their opposites.
    pub(super) fn flag(&self, name: &'static str, default: bool) -> Result<bool, BodyError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        match text(value, name)?.as_str() {
            "true" | "TRUE" | "1" | "Y" | "T" => Ok(true),
            "false" | "FALSE" | "0" | "F" | "N" => Ok(false),
            "" | "null" => Ok(default),
            _ => Err(BodyError::Member { name, expected: "true or false" }),
        }
    }

    /// An enum value by name or ordinal; absent and unknown ones are the default, so that new values never break a reader.
    pub(super) fn choice<T>(
        &self,
        name: &'static str,
        from_name: impl Fn(&str) -> Option<T>,
        default: T,
    ) -> T {
        let found = self.get(name).and_then(|value| text(value, name).ok());
        found.and_then(|text| from_name(&text)).unwrap_or(default)
    }

    /// A list, empty when absent; null elements are skipped.
    pub(super) fn list<T>(
        &self,
        name: &'static str,
        element: impl Fn(&'v Value) -> Result<T, BodyError>,
    ) -> Result<Vec<T>, BodyError> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => {
                values.iter().filter(|value| !value.is_null()).map(element).collect()
            }
            Some(_) => Err(BodyError::Member { name, expected: "a list" }),
        }
    }

    /// A list of texts, empty when absent.
    pub(super) fn texts(&self, name: &'static str) -> Result<Vec<String>, BodyError> {
        self.list(name, |value| text(value, name))
    }

    /// A table, empty when absent; null values are skipped. `key` gives `None` for what cannot be a key.
    pub(super) fn table<K: Ord, T>(
        &self,
        name: &'static str,
        key: impl Fn(&str) -> Option<K>,
        value: impl Fn(&'v Value) -> Result<T, BodyError>,
    ) -> Result<BTreeMap<K, T>, BodyError> {
        match self.get(name) {
            None => Ok(BTreeMap::new()),
            Some(found) => table(found, name, key, value),
        }
    }
}

/// See [`Fields::table`].
pub(super) fn table<'v, K: Ord, T>(
    found: &'v Value,
    name: &'static str,
    key: impl Fn(&str) -> Option<K>,
    value: impl Fn(&'v Value) -> Result<T, BodyError>,
) -> Result<BTreeMap<K, T>, BodyError> {
    let bad_key = BodyError::Member { name, expected: "a table with keys of its kind" };
    let mut table = BTreeMap::new();
    for (text, found) in Fields::of(found, name)?.0.iter().filter(|(_, found)| !found.is_null()) {
        let Some(key) = key(text) else { return Err(bad_key) };
        table.insert(key, value(found)?);
    }
    Ok(table)
}

/// Any text may be a key.
pub(super) fn text_key(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// See [`Fields::optional_text`].
pub(super) fn text(value: &Value, name: &'static str) -> Result<String, BodyError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err(BodyError::Member { name, expected: "a text" }),
    }
}

/// See [`Fields::int`].
pub(super) fn int<T: TryFrom<i64>>(value: &Value, name: &'static str) -> Result<T, BodyError> {
    let whole = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(flag) => Some(i64::from(*flag)),
        _ => None,
    };
    let in_range = whole.and_then(|whole| T::try_from(whole).ok());
    in_range.ok_or(BodyError::Member { name, expected: "a whole number in range" })
}
