//! States whose snapshots are rows of one length: how pieces of them are written and read.

use super::ControlError;

/// Rows in a piece of a snapshot; in tests there are several pieces.
const ROWS: usize = if cfg!(test) { 5 } else { 4_096 };

/// Adds as many rows as one piece of work may be as a piece. Whether there may be more.
pub(super) fn write<const ROW: usize>(
    rows: impl Iterator<Item = [u8; ROW]>,
    pieces: &mut Vec<Vec<u8>>,
) -> bool {
    let mut piece = Vec::new();
    rows.take(ROWS).for_each(|row| piece.extend_from_slice(&row));
    let more = piece.len() == ROWS * ROW;
    if !piece.is_empty() {
        pieces.push(piece);
    }
    more
}

/// The rows of a piece. `kind`, `what`: the error when a part of a row is left.
pub(super) fn read<'a, const ROW: usize>(
    piece: &'a [u8],
    kind: u16,
    what: &'static str,
) -> Result<&'a [[u8; ROW]], ControlError> {
    match piece.as_chunks() {
        (rows, []) => Ok(rows),
        _ => Err(ControlError::Malformed { kind, what }),
    }
}

/// The bytes of a row from a place on; there are as many.
pub(super) fn part<const BYTES: usize, const ROW: usize>(
    row: &[u8; ROW],
    from: usize,
) -> [u8; BYTES] {
    let bytes = row.get(from..).and_then(|rest| rest.first_chunk());
    *bytes.expect("within the row")
}
