//! The commands, one file per family.

pub(crate) mod accounts;
pub(crate) mod broker;
pub(crate) mod cluster;
pub(crate) mod dead_letters;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod export_metrics;
pub(crate) mod group;
pub(crate) mod group_admin;
pub(crate) mod lag;
pub(crate) mod members;
pub(crate) mod message;
pub(crate) mod monitor;
pub(crate) mod offsets;
pub(crate) mod policies;
pub(crate) mod progress;
pub(crate) mod running;
pub(crate) mod stats;
pub(crate) mod topic;
pub(crate) mod users;

use serde_json::Value;

/// The JSON of a body of the wire, for `--json`: numbers as keys are quoted there.
pub(crate) fn json_of(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut bytes = Vec::new();
    write(&mut bytes);
    let strict = proto::fastjson::to_strict(&bytes).unwrap_or_default();
    serde_json::from_slice(&strict).unwrap_or_default()
}
