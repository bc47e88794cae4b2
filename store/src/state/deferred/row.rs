//! What a snapshot says of records that wait, in rows of one length.

use super::{super::rows::part, Key};
use crate::consume_queue::Entry;

/// A row: two numbers of 8 bytes, two of 4. Of a record position and bytes carry the check, as in an entry.
pub(super) const ROW_BYTES: usize = 8 + 8 + 4 + 4;

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// A record waits: its bytes, at least 1, the check over them, and its queue.
    Waiting(Key, u32, u16, u32),
    /// One was cancelled.
    Cancelled(Key),
    /// From here on records are far.
    Horizon(Key),
    /// See `Deferred::floor`.
    Floor(Key),
    /// See `Deferred::born_to`.
    BornTo(u64),
    /// Far records that wait in the piece of the log that begins here.
    FarPiece(u64, u64),
    /// Far records that wait in a queue.
    FarQueue(u32, u64),
    /// A far record was delivered.
    FarDelivered(Key),
    /// A record waits on at another place than this one.
    Carried(Key),
}

/// What stands for bytes in rows that are of no record: their last number says which they are.
const NO_RECORD: u32 = 0;

impl Row {
    pub(super) fn encode(self) -> [u8; ROW_BYTES] {
        let ((first, second), bytes, last) = match self {
            Row::Waiting((due, position), bytes, check, queue_id) => {
                let (position, size) = Entry::new(position, bytes, due).with_check(check).words();
                ((due, position), size, queue_id)
            }
            Row::Cancelled(key) => (key, NO_RECORD, 0),
            Row::Horizon(key) => (key, NO_RECORD, 1),
            Row::Floor(key) => (key, NO_RECORD, 2),
            Row::BornTo(position) => ((0, position), NO_RECORD, 3),
            Row::FarPiece(position, count) => ((count.cast_signed(), position), NO_RECORD, 4),
            Row::FarQueue(queue_id, count) => {
                ((count.cast_signed(), queue_id.into()), NO_RECORD, 5)
            }
            Row::FarDelivered(key) => (key, NO_RECORD, 6),
            Row::Carried(key) => (key, NO_RECORD, 7),
        };
        let mut row = [0; ROW_BYTES];
        row[..8].copy_from_slice(&first.to_be_bytes());
        row[8..16].copy_from_slice(&second.to_be_bytes());
        row[16..20].copy_from_slice(&bytes.to_be_bytes());
        row[20..].copy_from_slice(&last.to_be_bytes());
        row
    }

    /// `None`: it says nothing that is known here.
    pub(super) fn decode(row: &[u8; ROW_BYTES]) -> Option<Row> {
        let key = (i64::from_be_bytes(part(row, 0)), u64::from_be_bytes(part(row, 8)));
        let (bytes, last) = (u32::from_be_bytes(part(row, 16)), u32::from_be_bytes(part(row, 20)));
        let count = key.0.cast_unsigned();
        Some(match (bytes, last) {
            (NO_RECORD, 0) => Row::Cancelled(key),
            (NO_RECORD, 1) => Row::Horizon(key),
            (NO_RECORD, 2) => Row::Floor(key),
            (NO_RECORD, 3) => Row::BornTo(key.1),
            (NO_RECORD, 4) => Row::FarPiece(key.1, count),
            (NO_RECORD, 5) => Row::FarQueue(u32::try_from(key.1).ok()?, count),
            (NO_RECORD, 6) => Row::FarDelivered(key),
            (NO_RECORD, 7) => Row::Carried(key),
            (NO_RECORD, _) => return None,
            (size, queue_id) => {
                let entry = Entry::from_words((key.1, size), key.0);
                let (position, bytes) = (entry.position(), entry.bytes());
                Row::Waiting((key.0, position), bytes, entry.check(), queue_id)
            }
        })
    }
}
