//! Pieces of the log on their way, and what mutations do to them.

use store::{
    Store,
    batch::{HEADER_BYTES, Header},
    lineage::EpochStart,
};

/// Whole batches that a leader sent.
#[derive(Clone)]
pub(super) struct Piece {
    /// Position of the first.
    pub(super) from: u64,
    /// Epoch in which they were sent.
    pub(super) epoch: u32,
    pub(super) bytes: Vec<u8>,
}

/// The batches of a piece, with their headers.
fn batches(piece: &Piece, log_id: u64) -> Vec<(usize, Header)> {
    let (mut at, mut found) = (0, Vec::new());
    while let Some(rest) = piece.bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Ok(header) = Header::decode(rest, piece.from + at as u64, log_id) else { break };
        found.push((at, header));
        at += HEADER_BYTES + header.payload_bytes as usize;
    }
    found
}

/// Makes all batches pass for those of another epoch.
pub(super) fn disguise(piece: &mut Piece, log_id: u64, epoch: u32, writer: u64) {
    for (at, header) in batches(piece, log_id) {
        let payload_at = at + HEADER_BYTES;
        let payload = piece.bytes[payload_at..payload_at + header.payload_bytes as usize].to_vec();
        let head = Header { epoch, writer, ..header }.encode((&payload, b""));
        piece.bytes[at..payload_at].copy_from_slice(&head);
    }
}

/// The first batch of a piece as if it belonged at `position`.
pub(super) fn first_at(piece: &Piece, log_id: u64, position: u64) -> Piece {
    let mut bytes = Vec::new();
    if let Some((at, header)) = batches(piece, log_id).first() {
        let payload_at = at + HEADER_BYTES;
        let payload = &piece.bytes[payload_at..payload_at + header.payload_bytes as usize];
        let durable_until = header.durable_until.min(position);
        let head = Header { position, durable_until, ..*header }.encode((payload, b""));
        bytes = [&head[..], payload].concat();
    }
    Piece { from: position, epoch: piece.epoch, bytes }
}

/// Takes the entry away by which start batches are known; another one of the same length, which says nothing, stands
/// there.
pub(super) fn strip_starts(piece: &mut Piece, log_id: u64) {
    for (at, header) in batches(piece, log_id) {
        let payload_at = at + HEADER_BYTES;
        let mut payload =
            piece.bytes[payload_at..payload_at + header.payload_bytes as usize].to_vec();
        if header.entry_count == 0 || EpochStart::of_batch(&header, &payload).is_none() {
            continue;
        }
        // The kind of the control entry.
        payload[8..10].copy_from_slice(&u16::MAX.to_be_bytes());
        let head = header.encode((&payload, b""));
        piece.bytes[at..payload_at].copy_from_slice(&head);
        piece.bytes[payload_at..payload_at + payload.len()].copy_from_slice(&payload);
    }
}

/// What a hasty leader sends: all closed batches behind `from` that its tail cache holds, durable or not.
pub(super) fn beyond_flushed<D: runtime::Disk>(store: &Store<D>, from: u64) -> Vec<u8> {
    let state = store.state();
    let log = &state.log;
    let mut bytes = Vec::new();
    let mut at = from;
    while log.ring().holds(at, HEADER_BYTES) {
        let mut head = [0; HEADER_BYTES];
        log.ring().copy_to(at, &mut head);
        let Ok(header) = Header::decode(&head, at, log.shape().log_id) else { break };
        let whole = HEADER_BYTES + header.payload_bytes as usize;
        if !log.ring().holds(at, whole) {
            break;
        }
        let mut batch = vec![0; whole];
        log.ring().copy_to(at, &mut batch);
        bytes.extend_from_slice(&batch);
        at = header.end();
    }
    bytes
}

/// A follower that only writes: the steps of `Store::accept`, less what the batches hold.
pub(super) fn accept_without_replay<D: runtime::Disk>(store: &Store<D>, bytes: &[u8]) {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let mut state = store.state_mut();
        let (position, log_id) = (state.log.appended(), state.log.shape().log_id);
        let Ok(header) = Header::decode(rest, position, log_id) else { return };
        let whole = HEADER_BYTES + header.payload_bytes as usize;
        if !matches!(state.log.fits_batch(&header), Ok(true)) {
            return;
        }
        state.log.append_batch(&header, &rest[..whole]);
        state.note_epoch(&header, &rest[HEADER_BYTES..whole], None);
        drop(state);
        store.appended();
        at += whole;
    }
}
