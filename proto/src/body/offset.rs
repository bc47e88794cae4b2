//! Offset tables: of consumer groups (43, `config/consumerOffset.json`), of delay levels (45, `delayOffset.json`), and of the
//! queues of a topic (308).

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

body! {
    /// Answer of `QUERY_CORRECTION_OFFSET` (308). Source: Apache RocketMQ 4.9.8, `QueryCorrectionOffsetBody`.
    #[derive(Eq)]
    CorrectionOffsets("body", TABLE_BODY_BYTES_MAX) {
        /// Queue to offset; the largest number where the group that is compared is behind the others.
        correction_offsets: BTreeMap<i32, i64> = "correctionOffsets",
    }
}
