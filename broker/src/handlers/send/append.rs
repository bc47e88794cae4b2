//! Appending where the queue is: plain functions on the shard's state.

use crate::{delay_levels::WaitingPlace, properties::Scanned, response::Sent};
use proto::record::{self, RecordFields};
use store::{
    PhysicalOffset, Placed, Refused, StoreState, index::key_hash, lookup::keys_of,
    state::ControlEntry, store_state::Append,
};

/// Something that was appended and is acknowledged by `sent` once the log is committed up to `until`.
#[derive(Debug)]
pub(crate) struct Appended {
    /// Position behind it.
    pub until: u64,
    /// What the sender gets.
    pub sent: Sent,
}

impl Appended {
    /// One message.
    fn one(queue_id: u32, placed: Placed) -> Appended {
        let Placed { queue_offset, physical, end } = placed;
        Appended {
            until: end,
            sent: Sent { queue_id, queue_offset, physical, more: None, recall_handle: None },
        }
    }
}

/// Appends one message, encoding it into the log's memory.
pub(super) fn append_fields(
    state: &mut StoreState,
    message: Append<'_>,
    fields: &RecordFields<'_>,
    queue_id: u32,
    now: i64,
) -> Result<Appended, Refused> {
    state.admit(message.bytes, message.bytes)?;
    let placed = state.append(message, now, |placed, out| {
        fields.encode_into(out);
        record::patch(out, placed.queue_offset, placed.physical.to_wire(), now);
    });
    Ok(Appended::one(queue_id, placed))
}

/// Appends a record of a waiting topic, which is for the queue `queue_id` of another one. `time` is that by which
/// messages are due.
pub(super) fn append_waiting(
    state: &mut StoreState,
    index_keys: bool,
    (place, queue_id): (WaitingPlace, u32),
    record: &[u8],
    now: i64,
    time: i64,
) -> Result<Appended, Refused> {
    state.admit_waiting(place.waits_for, record.len())?;
    let placed = put_waiting(state, index_keys, None, place, record, (now, time));
    Ok(Appended::one(queue_id, placed))
}

/// Appends the note that the waiting of a record has ended, and the record that waits in its stead, as a group. Returns the
/// position behind both.
pub(crate) fn append_waiting_again(
    state: &mut StoreState,
    index_keys: bool,
    entry: &ControlEntry<'_>,
    (place, record): (WaitingPlace, &[u8]),
    now: i64,
    time: i64,
) -> Result<u64, Refused> {
    state.admit_wait(place.waits_for)?;
    state.admit_group(entry, record.len())?;
    Ok(put_waiting(state, index_keys, Some(entry), place, record, (now, time)).end)
}

fn put_waiting(
    state: &mut StoreState,
    index_keys: bool,
    entry: Option<&ControlEntry<'_>>,
    place: WaitingPlace,
    record: &[u8],
    (now, time): (i64, i64),
) -> Placed {
    let slot = state.queue_slot(place.waits_for.topic(), place.queue_id);
    let due = place.until.due(time, now);
    let mut keys = Vec::new();
    if index_keys {
        collect_keys(record, &mut keys);
    }
    let message = Append { slot, bytes: record.len(), tags_code: due, keys: &keys };
    let encode = |placed: &Placed, out: &mut [u8]| {
        out.copy_from_slice(record);
        record::patch(out, placed.queue_offset, placed.physical.to_wire(), now);
        record::patch_prepared_transaction_offset(out, due);
    };
    match entry {
        None => state.append(message, now, encode),
        Some(entry) => state.append_group(entry, message, now, encode).1,
    }
}

/// Appends the note that the waiting of a record has ended, and the message that it became, as a group. Returns the position
/// behind both.
pub(crate) fn append_ended(
    state: &mut StoreState,
    index_keys: bool,
    entry: &ControlEntry<'_>,
    scanned: &Scanned<'_>,
    fields: &RecordFields<'_>,
    now: i64,
) -> Result<u64, Refused> {
    let bytes = fields.encoded_len();
    state.admit_group(entry, bytes)?;
    let mut keys = Vec::new();
    if index_keys {
        scanned.key_hashes(fields.topic, &mut keys);
    }
    let slot = state.queue_slot(fields.topic, fields.queue_id.unsigned_abs());
    let message = Append { slot, bytes, tags_code: record::tags_code(scanned.tags), keys: &keys };
    let (_, placed) = state.append_group(entry, message, now, |placed, out| {
        fields.encode_into(out);
        record::patch(out, placed.queue_offset, placed.physical.to_wire(), now);
    });
    Ok(placed.end)
}

/// Appends records that were encoded elsewhere, all or none of them.
pub(super) fn append_records(
    state: &mut StoreState,
    index_keys: bool,
    (topic, queue_id): (&str, u32),
    records: &[u8],
    parts: &[(u32, i64)],
    now: i64,
) -> Result<Appended, Refused> {
    let largest = parts.iter().map(|(bytes, _)| *bytes as usize).max().unwrap_or(0);
    state.admit(records.len(), largest)?;
    let slot = state.queue_slot(topic, queue_id);
    let mut rest = records;
    let mut keys = Vec::new();
    let mut first = None;
    let mut more: Vec<PhysicalOffset> = Vec::new();
    let mut until = 0;
    for (bytes, tags_code) in parts {
        let (record, later) = rest.split_at(*bytes as usize);
        rest = later;
        keys.clear();
        if index_keys {
            collect_keys(record, &mut keys);
        }
        let message = Append { slot, bytes: record.len(), tags_code: *tags_code, keys: &keys };
        let placed = state.append(message, now, |placed, out| {
            out.copy_from_slice(record);
            record::patch(out, placed.queue_offset, placed.physical.to_wire(), now);
        });
        until = placed.end;
        match first {
            None => first = Some(placed),
            Some(_) => more.push(placed.physical),
        }
    }
    let Some(first) = first else { unreachable!("a batch has at least one message") };
    state.count_batched(slot, more.len());
    let sent = Sent {
        queue_id,
        queue_offset: first.queue_offset,
        physical: first.physical,
        more: (!more.is_empty()).then(|| more.into_boxed_slice()),
        recall_handle: None,
    };
    Ok(Appended { until, sent })
}

/// Hashes of the keys of a record that was encoded here.
fn collect_keys(record: &[u8], out: &mut Vec<u32>) {
    if let Ok(view) = record::RecordView::parse(record) {
        let keys = keys_of(view.properties_text());
        out.extend(keys.map(|key| key_hash(view.topic(), key)));
    }
}
