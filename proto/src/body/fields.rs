//! Reading members of a JSON object as leniently as fastjson does. Used by every reader in `body`.
//!
//! Absent and null members are the same. Numbers may be strings, strings may be numbers (see `member`). What has a wrong
//! kind beyond that is an error which names the member.

use serde_json::{Map, Value};

use super::BodyError;
use super::member::Member;
use crate::fastjson;

/// Limit of bodies that clients send every few seconds, in bytes.
pub(super) const CLIENT_BODY_BYTES_MAX: usize = 4 << 20;
/// Limit of bodies in which tools list topics or groups to be made, in bytes: they are made in one piece of work.
pub(super) const LIST_BODY_BYTES_MAX: usize = 1 << 20;
/// Limit of bodies that brokers and configuration files hold, in bytes.
pub(super) const TABLE_BODY_BYTES_MAX: usize = 64 << 20;
/// What a tree of values may take up, in times the limit of its body: bodies with a meaning take some 6 times their
/// length, `{"":0},` again and again would take 85 times as much.
const TREE_TIMES_MAX: usize = 8;
/// What it may take up whatever the limit of its body.
const TREE_BYTES_FREE: usize = 64 << 10;
/// Of an object that is not empty: a node of a map.
const OBJECT_BYTES: usize = 640;
/// Of a value: in a list that has just grown, with a short text.
pub(super) const VALUE_BYTES: usize = 64;

/// Parses a body of at most `bytes_max` bytes.
pub(super) fn parse(bytes: &[u8], bytes_max: usize) -> Result<Value, BodyError> {
    let strict = strict(bytes, bytes_max)?;
    let tree_bytes = tree_bytes(&strict);
    let tree_bytes_max = (TREE_TIMES_MAX * bytes_max).max(TREE_BYTES_FREE);
    if tree_bytes > tree_bytes_max {
        return Err(BodyError::TooManyValues { tree_bytes, tree_bytes_max });
    }
    Ok(serde_json::from_slice(&strict)?)
}

/// About what the values of a text take up. Braces and commas within texts count, too.
fn tree_bytes(text: &[u8]) -> usize {
    let count = |wanted: u8| text.iter().filter(|byte| **byte == wanted).count();
    OBJECT_BYTES * count(b'{') + VALUE_BYTES * (count(b',') + count(b'['))
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

    /// All members that are not null.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'v String, &'v Value)> + use<'v> {
        self.0.iter().filter(|(_, value)| !value.is_null())
    }

    /// The member of that name, unless it is absent or null or counts as absent.
    pub(super) fn read<T: Member>(&self, name: &'static str) -> Result<Option<T>, BodyError> {
        match self.0.get(name).filter(|value| !value.is_null()) {
            Some(value) => T::from_value(value, name),
            None => Ok(None),
        }
    }
}

/// A text; numbers and booleans count as their own text.
pub(super) fn text(value: &Value, name: &'static str) -> Result<String, BodyError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err(BodyError::Member { name, expected: "a text" }),
    }
}
