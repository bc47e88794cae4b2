//! What a whole batch of the log does to the tables: at a start, when an index file is made again, and when a leader sent
//! it. One code for all three, so that replicas agree.

use crate::{
    batch::{Entries, Entry, Header},
    consume_queue::{self, record_check},
    index::key_hash,
    lineage::EpochStart,
    lookup::keys_of,
    state::{ControlEntry, ControlError, WaitsFor},
    store_state::StoreState,
};
use proto::record::RecordView;

/// What was found in a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Replayed {
    /// Message records.
    pub(crate) messages: u64,
    /// Position and kind of the first control entry that is not known here.
    pub(crate) unknown: Option<(u64, u16)>,
}

impl StoreState {
    /// Takes what a whole batch holds; it takes effect once it is published. `damaged_from`: what is damaged right before
    /// it. `keys`: messages are to be found by key.
    pub(crate) fn replay_batch(
        &mut self,
        header: &Header,
        payload: &[u8],
        damaged_from: Option<u64>,
        keys: bool,
    ) -> Replayed {
        self.note_epoch(header, payload, damaged_from);
        let mut replayed = Replayed::default();
        for entry in Entries::new(payload, header.position) {
            let taken = match entry {
                Ok(Entry::Record { position, bytes }) => {
                    replayed.messages += 1;
                    self.take_record(position, bytes, keys)
                }
                Ok(Entry::Control { position, kind, content }) => {
                    match ControlEntry::decode(kind, content) {
                        Ok(entry) => {
                            self.replay_control(&entry, position);
                            Ok(())
                        }
                        Err(ControlError::Unknown { kind }) => {
                            replayed.unknown.get_or_insert((position, kind));
                            Ok(())
                        }
                        Err(ControlError::Malformed { what, .. }) => Err(what),
                    }
                }
                Err(what) => Err(what),
            };
            if let Err(what) = taken {
                let (shard, position) = (self.shard(), header.position);
                tracing::error!(shard, position, what, "an entry of the log is ignored");
            }
        }
        self.clock_ms = header.last_store_ms;
        replayed
    }

    /// A whole batch stands in the log; notes its epoch if it is new. `damaged_from`: what is damaged right before it
    /// may have held the epoch's beginning.
    #[doc(hidden)]
    pub fn note_epoch(&mut self, header: &Header, payload: &[u8], damaged_from: Option<u64>) {
        let Header { epoch, writer, position, .. } = *header;
        if self.derived.lineage.last().is_some_and(|last| last.epoch >= epoch) {
            return;
        }
        let unknown = EpochStart { epoch, start: damaged_from.unwrap_or(position), writer };
        self.derived.lineage.note(EpochStart::of_batch(header, payload).unwrap_or(unknown));
    }

    fn take_record(&mut self, position: u64, bytes: &[u8], keys: bool) -> Result<(), &'static str> {
        let view = RecordView::parse(bytes).map_err(|_| "record cannot be read")?;
        let queue_id = u32::try_from(view.queue_id()).map_err(|_| "queue id is negative")?;
        let tags_code = if WaitsFor::of(view.topic()).is_some() {
            view.prepared_transaction_offset()
        } else {
            let tags = proto::properties::get(view.properties_text(), proto::properties::TAGS);
            proto::record::tags_code(tags)
        };
        let entry = consume_queue::Entry::new(position, bytes.len() as u32, tags_code);
        let entry = entry.with_check(record_check(bytes));
        let store_ms = view.store_timestamp();
        if keys {
            for key in keys_of(view.properties_text()) {
                self.keys.push(key_hash(view.topic(), key), position);
            }
        }
        self.replay_record(view.topic(), queue_id, view.queue_offset(), store_ms, entry)
    }
}
