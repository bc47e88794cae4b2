//! The work of a life: several producers' messages, offsets of groups each second, topics and groups that go.
//!
//! Each thing done is kept as an entry in log order, with which the next boot is compared.

use super::served::Recorded;
use crate::{
    crashsim::book::{Fate, Item, OffsetName, QueueName, State, What},
    record::record,
};
use fastrand::Rng;
use runtime::Disk;
use std::{cell::Cell, collections::BTreeMap, path::Path, rc::Rc};
use store::{
    Layout,
    settings::{FlushPolicy, Settings},
    store_state::Append,
};

/// When time begins, ms since 1970.
const FIRST_MS: i64 = 1_700_000_000_000;

/// What has been done and what comes next.
pub(super) struct Work {
    /// Made-up wall clock, ms.
    pub(super) clock: Rc<Cell<i64>>,
    /// Entries of the log.
    pub(super) items: Vec<Rc<Item>>,
    state: State,
    /// Offsets that are not in the log yet.
    dirty: BTreeMap<OffsetName, i64>,
    offsets_due_ms: i64,
}

impl Work {
    /// Goes on from what a boot found.
    pub(super) fn new(state: State, items: Vec<Rc<Item>>) -> Work {
        let clock = Rc::new(Cell::new(FIRST_MS));
        let offsets_due_ms = FIRST_MS + 1_000;
        Work { clock, items, state, dirty: BTreeMap::new(), offsets_due_ms }
    }

    /// Does something.
    pub(super) fn act<D: Disk>(&mut self, store: &Recorded<D>, rng: &mut Rng) {
        self.clock.set(self.clock.get() + rng.i64(1..120));
        match rng.u8(0..64) {
            0..30 => self.append(store, rng),
            // Several producers at once: one batch.
            30..44 => (0..rng.u32(2..12)).for_each(|_| self.append(store, rng)),
            44..60 => self.commit_offset(store, rng),
            60..62 => self.remove_topic(store, &topic(rng)),
            62 => self.remove_group(store, &group(rng)),
            _ => {}
        }
        if self.clock.get() >= self.offsets_due_ms {
            self.offsets_due_ms = self.clock.get() + 1_000;
            self.append_offsets(store);
        }
    }

    fn append<D: Disk>(&mut self, store: &Recorded<D>, rng: &mut Rng) {
        let now = self.clock.get();
        let (topic, queue_id) = queue(rng);
        let body = body(store.settings().record_bytes_max, rng);
        let fields = record((&topic, queue_id), now, &body);
        let bytes = fields.encoded_len();
        let mut state = store.state_mut();
        // Refused for now: a producer would come again.
        if state.admit(bytes, bytes).is_err() {
            return;
        }
        let slot = state.queue_slot(&topic, queue_id);
        let message = Append { slot, bytes, tags_code: bytes as i64, keys: &[] };
        let mut record = Vec::new();
        let placed = state.append(message, now, |placed, out| {
            fields.encode_into(out);
            proto::record::patch(out, placed.queue_offset, placed.physical.to_wire(), now);
            record = out.to_vec();
        });
        drop(state);
        store.appended();
        let queue = (topic, queue_id);
        let next = self.state.queues.get(&queue).map_or(0, |queue| queue.next());
        assert_eq!(placed.queue_offset, next, "queue offsets are dense");
        let (offset, record) = (placed.queue_offset, record.into());
        let what = What::Message { queue, offset, record, key: 0 };
        self.done(placed.physical.position(), placed.end, what);
    }

    fn done(&mut self, start: u64, end: u64, what: What) {
        assert!(start < end && self.items.last().is_none_or(|last| last.end <= start));
        let item = Item { start, end, fate: Fate::Sure, hit: false, what };
        self.state.apply(&item);
        self.items.push(Rc::new(item));
    }

    fn commit_offset<D: Disk>(&mut self, store: &Recorded<D>, rng: &mut Rng) {
        let (topic, queue) = queue(rng);
        let name = (group(rng), topic, queue);
        let offset = rng.i64(0..1_000);
        let taken = store.state_mut().commit_group_offset(&name.0, &name.1, name.2, offset);
        taken.expect("there is no limit");
        if self.state.offsets.insert(name.clone(), offset) != Some(offset) {
            self.dirty.insert(name, offset);
        }
    }

    fn append_offsets<D: Disk>(&mut self, store: &Recorded<D>) {
        let appended = store.state_mut().append_group_offsets(self.clock.get());
        let Ok(Some(end)) = appended else { return };
        store.appended();
        let changes = std::mem::take(&mut self.dirty).into_iter().collect();
        self.done(end - 1, end, What::Offsets(changes));
    }

    fn remove_topic<D: Disk>(&mut self, store: &Recorded<D>, topic: &str) {
        let removed = store.state_mut().remove_topic(topic, self.clock.get());
        let Ok(Some(end)) = removed else { return };
        store.appended();
        self.dirty.retain(|name, _| name.1 != topic);
        self.done(end - 1, end, What::TopicRemoved(topic.to_owned()));
    }

    fn remove_group<D: Disk>(&mut self, store: &Recorded<D>, group: &str) {
        let removed = store.state_mut().remove_group(group, self.clock.get());
        let Ok(Some(end)) = removed else { return };
        store.appended();
        self.dirty.retain(|name, _| name.0 != group);
        self.done(end - 1, end, What::GroupRemoved(group.to_owned()));
    }
}

fn topic(rng: &mut Rng) -> String {
    format!("topic{}", rng.u8(0..4))
}

fn group(rng: &mut Rng) -> String {
    format!("group{}", rng.u8(0..2))
}

fn queue(rng: &mut Rng) -> QueueName {
    (topic(rng), rng.u32(0..3))
}

/// 100 bytes to a few KiB, seldom as large as a record may be.
fn body(record_bytes_max: usize, rng: &mut Rng) -> Vec<u8> {
    let largest = record_bytes_max - 128;
    let bytes = match rng.u8(0..16) {
        0 => rng.usize(0..=largest),
        1..8 => rng.usize(100..=largest.min(4_096)),
        _ => rng.usize(100..=largest.min(600)),
    };
    let mut body = vec![0; bytes];
    rng.fill(&mut body);
    body
}

/// The settings of a seed: even seeds under SYNC_FLUSH, odd ones under ASYNC_FLUSH.
pub(super) fn settings(seed: u64, dir: &Path, rng: &mut Rng) -> Settings {
    let segment_bytes = [1u64 << 16, 1 << 17, 1 << 18, 1 << 18][rng.usize(0..4)];
    let first_bytes = segment_bytes >> rng.u32(0..=3);
    let layout = Layout::new(first_bytes, segment_bytes).expect("doubled some times");
    let record_bytes_max = rng.usize(4_096..=segment_bytes as usize / 8);
    let least = (2 * (record_bytes_max + 3 * 4096)).next_power_of_two();
    let tail_cache_bytes = least << rng.u32(0..3);
    Settings {
        index_entries_max: rng.u64(50..2_000),
        group_offset_bytes_max: usize::MAX,
        deferred_max: usize::MAX,
        deferred_in_memory_max: usize::MAX,
        half_messages_max: usize::MAX,
        popped_max: usize::MAX,
        unindexed_entries_max: u64::MAX,
        index_keys: true,
        cold_cache_bytes: 1 << 20,
        shard: rng.u16(0..100),
        dir: dir.to_owned(),
        log_id: rng.u64(..),
        store_id: 17,
        layout,
        tail_cache_bytes,
        inflight_bytes_max: tail_cache_bytes as u64 / 2,
        record_bytes_max,
        flush: match seed % 2 {
            0 => FlushPolicy::Sync,
            _ => FlushPolicy::Async { interval_ms: rng.i64(1..500) },
        },
        zero_ahead_bytes: if rng.u8(0..4) > 0 { segment_bytes / 2 } else { 0 },
        progress: Default::default(),
    }
}
