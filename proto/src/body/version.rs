//! `DataVersion`: which of two states of a table is the newer.

use super::fields::TABLE_BODY_BYTES_MAX;
use super::member::body;

body! {
    /// Version of a table. 5.x adds `stateVersion`, which is 0 without a controller and not kept here.
    /// Source: Apache RocketMQ 4.9.8, `DataVersion`; body of `QUERY_DATA_VERSION` (322) and part of others.
    #[derive(Copy, Eq)]
    DataVersion("dataVersion", TABLE_BODY_BYTES_MAX) {
        /// How often the table changed.
        counter: i64 = "counter",
        /// When it last changed, ms.
        timestamp: i64 = "timestamp",
    }
}
