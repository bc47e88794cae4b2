//! What is appended to the store that leads, and the book of it.

use super::{history::History, node::Node};
use crate::record::record;
use proto::record::RecordFields;
use store::store_state::Append;

/// Bytes at the end of an entry that the book keeps: fewer than any has.
const ENTRY_END_BYTES: u64 = 8;

/// An entry, or a group of them, as it was appended.
pub(super) struct Item {
    pub(super) epoch: u32,
    pub(super) start: u64,
    pub(super) bytes: Vec<u8>,
    /// Both had it durable, and its sender got its answer.
    pub(super) committed: bool,
}

impl Item {
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Whether it stands in the log of a store.
    pub(super) fn is_in(&self, node: &Node) -> bool {
        let state = node.store().state();
        let epoch = state.lineage().before(self.start + 1).map(|epoch| epoch.epoch);
        epoch == Some(self.epoch) && self.end() <= state.log.appended()
    }
}

impl History {
    fn topic(&mut self) -> String {
        format!("topic{}", self.rng.u8(0..3))
    }

    /// Appends something to a store that leads, if it takes it.
    pub(super) fn append(&mut self, node: usize) {
        let from = self.nodes[node].end();
        match self.rng.u8(0..16) {
            0..10 => self.append_message(node),
            10..12 => self.append_group(node),
            12..15 => self.append_offsets(node),
            _ => self.remove_something(node),
        }
        self.nodes[node].store().appended();
        self.note(node, from);
    }

    /// Writes what was appended behind `from` into the book: all of a record, or the end of another entry. The header of
    /// its batch is written when that is closed.
    fn note(&mut self, node: usize, from: u64) {
        let state = self.nodes[node].store().state();
        let log = &state.log;
        let to = log.appended();
        let first = self.first_entry.take().unwrap_or(to.saturating_sub(ENTRY_END_BYTES));
        if from == to {
            return;
        }
        let mut bytes = vec![0; (to - first) as usize];
        log.ring().copy_to(first, &mut bytes);
        let item = Item { epoch: log.epoch(), start: first, bytes, committed: false };
        drop(state);
        self.summary.entries += 1;
        self.book.push(item);
    }

    fn append_message(&mut self, node: usize) {
        self.append_record(node, None);
    }

    /// A message and the control entry that belongs to it, in one batch.
    fn append_group(&mut self, node: usize) {
        self.append_record(node, Some("group of nobody"));
    }

    fn append_record(&mut self, node: usize, with: Option<&str>) {
        let (topic, queue_id) = (self.topic(), self.rng.u32(0..3));
        let mut body = vec![0; self.rng.usize(0..300)];
        self.rng.fill(&mut body);
        let properties = format!("KEYS\u{1}key{}\u{2}", self.rng.u8(0..5));
        let fields = RecordFields {
            properties: [properties.as_bytes(), b"", b""],
            ..record((&topic, queue_id), 1, &body)
        };
        let bytes = fields.encoded_len();
        let store = self.nodes[node].store().clone();
        // A group without offsets needs no entry that removes them.
        let with = with.filter(|group| store.state().derived.group_offsets.has_group(group));
        let control = with.map_or(0, |group| store::batch::CONTROL_HEADER_BYTES + group.len());
        let mut state = store.state_mut();
        let now = self.clock;
        if state.log.admit_group(bytes + control).is_err() {
            return;
        }
        state.log.begin_group(bytes + control, now);
        self.first_entry = Some(state.log.appended());
        if let Some(group) = with {
            state.remove_group(group, now).expect("admitted");
        }
        let slot = state.queue_slot(&topic, queue_id);
        let message = Append { slot, bytes, tags_code: 0, keys: &[] };
        state.append(message, now, |placed, out| {
            fields.encode_into(out);
            proto::record::patch(out, placed.queue_offset, placed.physical.to_wire(), now);
        });
    }

    fn append_offsets(&mut self, node: usize) {
        let (group, topic) = (format!("group{}", self.rng.u8(0..2)), self.topic());
        let (queue_id, offset) = (self.rng.u32(0..3), self.rng.i64(0..100));
        let store = self.nodes[node].store().clone();
        let mut state = store.state_mut();
        let taken = match offset % 8 {
            7 => state.reset_group_offset(&group, &topic, queue_id, offset),
            _ => state.commit_group_offset(&group, &topic, queue_id, offset).map(drop),
        };
        taken.expect("there is no limit");
        let _ = state.append_group_offsets(self.clock);
    }

    fn remove_something(&mut self, node: usize) {
        let (topic, group) = (self.topic(), format!("group{}", self.rng.u8(0..2)));
        let store = self.nodes[node].store().clone();
        let mut state = store.state_mut();
        if self.rng.bool() {
            let _ = state.remove_topic(&topic, self.clock);
        } else {
            let _ = state.remove_group(&group, self.clock);
        }
    }
}
