//! The commands, one file per family.

pub(crate) mod accounts;
pub(crate) mod broker;
pub(crate) mod cleaning;
pub(crate) mod cluster;
pub(crate) mod cold_data;
pub(crate) mod consume_queue;
pub(crate) mod controller;
pub(crate) mod dead_letters;
pub(crate) mod doctor;
pub(crate) mod drain;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod export_metrics;
pub(crate) mod group;
pub(crate) mod group_admin;
pub(crate) mod lag;
pub(crate) mod lists;
pub(crate) mod members;
pub(crate) mod message;
mod message_details;
mod message_text;
pub(crate) mod monitor;
pub(crate) mod namesrv;
pub(crate) mod offsets;
pub(crate) mod policies;
pub(crate) mod print;
pub(crate) mod progress;
pub(crate) mod query;
pub(crate) mod replicas;
pub(crate) mod running;
pub(crate) mod send_probe;
pub(crate) mod stats;
pub(crate) mod tail;
pub(crate) mod topic;
pub(crate) mod topic_perm;
pub(crate) mod topic_queues;
pub(crate) mod trace;
pub(crate) mod users;

use std::time::Duration;

use serde_json::Value;

use crate::Failure;

/// Runs a round once, or again every so many seconds until one fails.
pub(crate) async fn every(
    seconds: Option<u64>,
    mut round: impl AsyncFnMut() -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        round().await?;
        let Some(seconds) = seconds else { return Ok(()) };
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

/// The JSON of a body of the wire, for `--json`: numbers as keys are quoted there.
pub(crate) fn json_of(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut bytes = Vec::new();
    write(&mut bytes);
    let strict = proto::fastjson::to_strict(&bytes).unwrap_or_default();
    serde_json::from_slice(&strict).unwrap_or_default()
}
