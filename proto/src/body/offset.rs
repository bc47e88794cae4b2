//! Offset tables: of consumer groups (43, `config/consumerOffset.json`) and of delay levels (45, `delayOffset.json`).

use std::collections::BTreeMap;

use super::BodyError;
use super::fields::{self, Fields, TABLE_BODY_BYTES_MAX, parse, text_key};
use super::writer::{self, Members, object};

/// Offsets of all groups. Source: Apache RocketMQ 4.9.8, `ConsumerOffsetSerializeWrapper`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerOffsetTable {
    /// `topic@group` to queue to offset.
    pub offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

impl ConsumerOffsetTable {
    /// Reads the body or file.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, TABLE_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        let offset_table = fields.table("offsetTable", text_key, |queues| {
            fields::table(
                queues,
                "offsetTable",
                |key| key.parse().ok(),
                |offset| fields::int(offset, "offsetTable"),
            )
        })?;
        Ok(ConsumerOffsetTable { offset_table })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| {
            members.object("offsetTable", |members| {
                for (name, queues) in &self.offset_table {
                    members.object(name, |members| by_number(members, queues));
                }
            });
        });
    }
}

/// Offsets of the delay queues. Source: Apache RocketMQ 4.9.8, `DelayOffsetSerializeWrapper`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DelayOffsetTable {
    /// Delay level, from 1, to offset.
    pub offset_table: BTreeMap<i32, i64>,
}

impl DelayOffsetTable {
    /// Reads the body or file.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        let value = parse(bytes, TABLE_BODY_BYTES_MAX)?;
        let fields = Fields::of(&value, "body")?;
        let offset_table = fields.table(
            "offsetTable",
            |key| key.parse().ok(),
            |offset| fields::int(offset, "offsetTable"),
        )?;
        Ok(DelayOffsetTable { offset_table })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| {
            members.object("offsetTable", |members| by_number(members, &self.offset_table));
        });
    }
}

fn by_number(members: &mut Members<'_>, offsets: &BTreeMap<i32, i64>) {
    for (number, offset) in offsets {
        members.member(|out| writer::int(out, *number), |out| writer::int(out, *offset));
    }
}
