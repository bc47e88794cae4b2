//! Offset tables: of consumer groups (43, `config/consumerOffset.json`) and of delay levels (45, `delayOffset.json`).

use std::collections::BTreeMap;

use super::fields::TABLE_BODY_BYTES_MAX;
use super::member::body;

body! {
    /// Offsets of all groups. Source: Apache RocketMQ 4.9.8, `ConsumerOffsetSerializeWrapper`.
    #[derive(Eq)]
    ConsumerOffsetTable("body", TABLE_BODY_BYTES_MAX) {
        /// `topic@group` to queue to offset.
        offset_table: BTreeMap<String, BTreeMap<i32, i64>> = "offsetTable",
    }
}

body! {
    /// Offsets of the delay queues. Source: Apache RocketMQ 4.9.8, `DelayOffsetSerializeWrapper`.
    #[derive(Eq)]
    DelayOffsetTable("body", TABLE_BODY_BYTES_MAX) {
        /// Delay level, from 1, to offset.
        offset_table: BTreeMap<i32, i64> = "offsetTable",
    }
}
