//! The commands, one file per family.

pub(crate) mod broker;
pub(crate) mod cluster;
pub(crate) mod group;
pub(crate) mod message;
pub(crate) mod progress;
pub(crate) mod topic;

use serde_json::Value;

/// The JSON of a body of the wire, for `--json`: numbers as keys are quoted there.
pub(crate) fn json_of(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut bytes = Vec::new();
    write(&mut bytes);
    let strict = proto::fastjson::to_strict(&bytes).unwrap_or_default();
    serde_json::from_slice(&strict).unwrap_or_default()
}
