//! `KVTable`: texts by name, such as a broker's runtime information (28) or a namespace of the name server (219).

use std::collections::BTreeMap;

use super::BodyError;
use super::fields::{Fields, TABLE_BODY_BYTES_MAX, parse, text, text_key};
use super::writer::object;

/// Texts by name. Source: Apache RocketMQ 4.9.8, `KVTable`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KvTable {
    /// Name to text.
    pub table: BTreeMap<String, String>,
}

impl KvTable {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, TABLE_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        Ok(KvTable { table: fields.table("table", text_key, |value| text(value, "table"))? })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| {
            members.object("table", |members| {
                for (name, value) in &self.table {
                    members.text(name, value);
                }
            });
        });
    }
}
