//! `DataVersion`: which of two states of a table is the newer.

use serde_json::Value;

use super::BodyError;
use super::fields::{Fields, TABLE_BODY_BYTES_MAX, parse};
use super::writer::{Members, object};

/// Version of a table. 5.x adds `stateVersion`, which is 0 without a controller and not kept here.
/// Source: Apache RocketMQ 4.9.8, `DataVersion`; body of `QUERY_DATA_VERSION` (322) and part of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataVersion {
    /// When the table last changed, ms.
    pub timestamp: i64,
    /// How often it changed.
    pub counter: i64,
}

impl DataVersion {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, BodyError> {
        Self::from_value(&parse(bytes, TABLE_BODY_BYTES_MAX)?)
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        object(out, |members| self.members(members));
    }

    pub(super) fn from_value(value: &Value) -> Result<Self, BodyError> {
        let fields = Fields::of(value, "dataVersion")?;
        Ok(DataVersion {
            timestamp: fields.int("timestamp", 0)?,
            counter: fields.int("counter", 0)?,
        })
    }

    /// The member `dataVersion` of another body; all zero when absent.
    pub(super) fn of(fields: &Fields<'_>) -> Result<Self, BodyError> {
        fields.get("dataVersion").map_or(Ok(Self::default()), Self::from_value)
    }

    pub(super) fn members(&self, members: &mut Members<'_>) {
        members.int("counter", self.counter);
        members.int("timestamp", self.timestamp);
    }
}
