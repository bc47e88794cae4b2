//! The records that all simulations append.

use proto::record::RecordFields;
use std::net::SocketAddr;

/// A record without properties, born now.
pub(crate) fn record<'a>(
    (topic, queue_id): (&'a str, u32),
    born_timestamp: i64,
    body: &'a [u8],
) -> RecordFields<'a> {
    RecordFields {
        queue_id: queue_id as i32,
        flag: 0,
        sys_flag: 0,
        born_timestamp,
        born_host: SocketAddr::from(([10, 0, 0, 1], 5_000)),
        store_host: SocketAddr::from(([10, 0, 0, 2], 10_911)),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        topic,
        properties: [b"", b"", b""],
    }
}
