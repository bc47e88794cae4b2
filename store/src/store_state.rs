//! The state of one shard's store: log, consume queues, group offsets. Plain `&mut self`, no I/O, no clock.
//!
//! Order of life of a message: [`StoreState::append`] assigns its queue offset and position; the commit loop writes it;
//! [`StoreState::cross_gate`] makes it visible. Between the two it stands in `pending`, in log order, so that crossing the
//! gate is one step over a queue and nothing is looked up twice. Control entries wait beside it, and change the
//! [`state`](crate::state) of the shard when they cross the gate, in their place among the messages.
//!
//! Only what assigns offsets changes when an entry is appended: a queue that was deleted is another one from then on.

use crate::{
    batch,
    capture::UnindexedMax,
    consume_queue::{ConsumeQueue, Entry, LOST_MAX, record_check},
    error::Refused,
    index::Row,
    layout::Layout,
    lineage::Lineage,
    log::{CommitLog, CommitRule, Resume, Shape},
    offset::PhysicalOffset,
    put_counts::PutQueues,
    queue_table::QueueTable,
    recent_keys::RecentKeys,
    ring::TailRing,
    state::{ControlEntry, ShardState, WaitsFor, deferred::Due},
};
use std::collections::VecDeque;

pub use crate::queue_table::{QueueSlot, TopicSlot};

/// Where an appended message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Offset in its queue.
    pub queue_offset: i64,
    /// Offset among all logs of the broker.
    pub physical: PhysicalOffset,
    /// Acknowledge once the log is committed up to here.
    pub end: u64,
}

/// A message to append.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// Its queue.
    pub slot: QueueSlot,
    /// Bytes of the record.
    pub bytes: usize,
    /// Hash of its tags, or, in a waiting topic, when it is due, ms.
    pub tags_code: i64,
    /// Hashes of its keys, see [`crate::index::key_hash`].
    pub keys: &'a [u32],
}

/// A message that was appended and not committed.
struct Pending {
    slot: QueueSlot,
    entry: Entry,
}

/// A control entry that was appended and not committed, with all its bytes.
struct PendingControl {
    position: u64,
    bytes: Box<[u8]>,
}

impl PendingControl {
    fn end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }
}

/// Counters since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages appended.
    pub messages: u64,
    /// Bytes of their records.
    pub record_bytes: u64,
    /// Offsets of groups that were not taken.
    pub refused_offsets: u64,
}

/// The state.
pub struct StoreState {
    /// The commit log.
    pub log: CommitLog,
    /// What follows from the committed entries of the log, besides where messages lie.
    pub derived: ShardState,
    pub(crate) queues: QueueTable,
    pending: VecDeque<Pending>,
    pending_control: VecDeque<PendingControl>,
    published: Vec<QueueSlot>,
    pub(crate) put_queues: PutQueues,
    /// Keys of messages that no index file covers.
    pub(crate) keys: RecentKeys,
    /// Number of the next queue that gets its first message.
    pub(crate) next_number: u32,
    /// Index files cover the log up to here.
    pub(crate) indexed_to: u64,
    /// Published entries that no index file covers.
    pub(crate) unindexed: u64,
    /// Most of them, and of keys, that memory takes.
    pub(crate) unindexed_max: UnindexedMax,
    /// Why no index file could be written when that was tried last.
    pub(crate) index_failure: Option<String>,
    /// Entries published since start.
    pub(crate) published_entries: u64,
    /// Queue numbers below were given before `indexed_to`.
    pub(crate) numbers_in_index: u32,
    /// Recovery: a queue that nothing is known of began at 0.
    pub(crate) births_known: bool,
    /// When something was appended last, ms.
    pub(crate) clock_ms: i64,
    /// Position and store timestamp, about once a second.
    pub(crate) clock_marks: VecDeque<(u64, i64)>,
    pub(crate) counters: Counters,
    /// The last entry of what groups consume was of pops.
    pub(crate) popped_was_last: bool,
    pub(crate) earliest_store_ms: Option<i64>,
}

impl StoreState {
    /// An empty state over a log; recovery fills it.
    pub fn new(log: CommitLog) -> StoreState {
        StoreState {
            log,
            derived: ShardState::default(),
            queues: QueueTable::default(),
            pending: VecDeque::new(),
            pending_control: VecDeque::new(),
            published: Vec::new(),
            put_queues: PutQueues::default(),
            keys: RecentKeys::default(),
            next_number: 0,
            indexed_to: 0,
            unindexed: 0,
            unindexed_max: UnindexedMax::NONE,
            index_failure: None,
            published_entries: 0,
            numbers_in_index: 0,
            births_known: false,
            clock_ms: 0,
            clock_marks: VecDeque::new(),
            counters: Counters::default(),
            popped_was_last: false,
            earliest_store_ms: None,
        }
    }

    /// An empty state over a small log that nobody writes: for tests, also of other crates.
    #[doc(hidden)]
    pub fn unwritten(shard: u16) -> StoreState {
        let shape = Shape {
            shard,
            log_id: 1,
            writer: 2,
            layout: Layout::even(1 << 20),
            inflight_bytes_max: 1 << 16,
            entry_bytes_max: 4_096,
        };
        let from = Resume { position: 0, tail: &[], committed: 0, epoch: 1, leads: true };
        StoreState::new(CommitLog::resume(shape, TailRing::new(1 << 18, 4_096), from))
    }

    /// Shard whose store it is.
    pub fn shard(&self) -> u16 {
        self.log.shape().shard
    }

    /// Store timestamp of the oldest message in the log, ms.
    pub fn earliest_store_ms(&self) -> Option<i64> {
        self.earliest_store_ms
    }

    /// Index files cover the log up to here.
    pub fn indexed_to(&self) -> u64 {
        self.indexed_to
    }

    /// When something was appended last, ms of the wall clock; 0 if never.
    pub fn stored_last_ms(&self) -> i64 {
        self.clock_ms
    }

    /// Counters since start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether `bytes` in all, in entries of at most `entry_bytes`, may be appended now.
    pub fn admit(&self, bytes: usize, entry_bytes: usize) -> Result<(), Refused> {
        self.log.admit(bytes, entry_bytes)?;
        self.admit_unindexed()
    }

    /// Whether a record of `bytes` that waits may be appended now.
    pub fn admit_waiting(&self, waits_for: WaitsFor, bytes: usize) -> Result<(), Refused> {
        self.admit(bytes, bytes)?;
        self.admit_wait(waits_for)
    }

    /// Whether one more record may wait.
    pub fn admit_wait(&self, waits_for: WaitsFor) -> Result<(), Refused> {
        let shard = self.shard();
        let ShardState { deferred, half_messages, .. } = &self.derived;
        match waits_for {
            WaitsFor::Level | WaitsFor::Timer => deferred
                .has_room()
                .map_err(|(waiting, limit)| Refused::TooManyWait { shard, waiting, limit }),
            WaitsFor::Decision => half_messages
                .has_room()
                .map_err(|(open, limit)| Refused::TooManyHalves { shard, open, limit }),
        }
    }

    /// Appends an admitted message. `encode` writes the record, given its offsets; queue offset and position are
    /// final.
    pub fn append(
        &mut self,
        message: Append<'_>,
        now: i64,
        encode: impl FnOnce(&Placed, &mut [u8]),
    ) -> Placed {
        let slot = message.slot;
        let queue = &mut self.queues[slot];
        let queue_offset = queue.next();
        queue.pending += 1;
        queue.last_store_ms = now;
        let bytes = message.bytes;
        if queue.puts.add(bytes as u64) {
            self.put_queues.push(slot);
        }
        let shard = self.log.shape().shard;
        let place = |position: u64| Placed {
            queue_offset,
            physical: PhysicalOffset::new(shard, position),
            end: position + bytes as u64,
        };
        let mut check = 0;
        let position = self.log.append(bytes, now, |position, out| {
            encode(&place(position), out);
            check = record_check(out);
        });
        self.clock_ms = now;
        let entry = Entry::new(position, bytes as u32, message.tags_code).with_check(check);
        self.pending.push_back(Pending { slot, entry });
        message.keys.iter().for_each(|hash| self.keys.push(*hash, position));
        self.mark_clock(position, now);
        self.earliest_store_ms.get_or_insert(now);
        self.counters.messages += 1;
        self.counters.record_bytes += bytes as u64;
        place(position)
    }

    /// Whether a control entry and a record of `record_bytes` may be appended now as a group.
    pub fn admit_group(
        &self,
        control: &ControlEntry<'_>,
        record_bytes: usize,
    ) -> Result<(), Refused> {
        self.log.admit_group(control.bytes() + record_bytes)?;
        self.admit_unindexed()
    }

    /// Whether a record of `bytes` that waited may be appended now: sends go first, so such take at most half of what may be in
    /// flight.
    pub fn admit_behind_sends(&self, bytes: usize) -> Result<(), Refused> {
        let (inflight, limit) =
            (self.log.inflight_bytes(), self.log.shape().inflight_bytes_max / 2);
        if inflight > 0 && inflight + bytes as u64 > limit {
            return Err(Refused::Busy { shard: self.shard(), inflight, limit });
        }
        Ok(())
    }

    /// Appends the note that a record waits no more which is lost to damage. Returns the position of the note.
    pub fn append_lost(&mut self, due: i64, position: u64, now: i64) -> Result<u64, Refused> {
        let at = self.append_control(&ControlEntry::Delivered { due, position }, now)?;
        let shard = self.shard();
        tracing::error!(shard, position, "a message that waited is lost to damage");
        Ok(at)
    }

    /// Appends an admitted group: a control entry and a message that always lie in one batch, so that both are there or
    /// neither, whatever is cut or rots. Returns the position of the control entry, and what [`StoreState::append`] does.
    pub fn append_group(
        &mut self,
        control: &ControlEntry<'_>,
        message: Append<'_>,
        now: i64,
        encode: impl FnOnce(&Placed, &mut [u8]),
    ) -> (u64, Placed) {
        self.log.begin_group(control.bytes() + message.bytes, now);
        let position = self.append_admitted(control, now);
        (position, self.append(message, now, encode))
    }

    /// Appends a control entry. Returns its position.
    #[doc(hidden)]
    pub fn append_control(&mut self, entry: &ControlEntry<'_>, now: i64) -> Result<u64, Refused> {
        self.log.admit_control(entry.bytes())?;
        self.clock_ms = now;
        Ok(self.append_admitted(entry, now))
    }

    /// The control entry that was appended last, and its position, while it is not committed.
    #[doc(hidden)]
    pub fn last_control(&self) -> Option<(u64, &[u8])> {
        self.pending_control.back().map(|control| (control.position, &*control.bytes))
    }

    pub(crate) fn append_admitted(&mut self, entry: &ControlEntry<'_>, now: i64) -> u64 {
        let mut bytes = vec![0; entry.bytes()].into_boxed_slice();
        entry.encode(&mut bytes);
        let position = self.log.append(bytes.len(), now, |_, out| out.copy_from_slice(&bytes));
        self.pending_control.push_back(PendingControl { position, bytes });
        position
    }

    /// Begins an epoch that this store leads, see [`CommitLog::begin_epoch`]. Returns the position to wait for.
    pub fn begin_epoch(&mut self, epoch: u32, now: i64) -> Result<u64, Refused> {
        self.log.admit_epoch()?;
        self.clock_ms = now;
        let begun = self.log.begin_epoch(epoch, now);
        self.derived.lineage.note(begun);
        Ok(self.log.appended())
    }

    /// The epochs of the log that is retained, oldest first.
    pub fn lineage(&self) -> &Lineage {
        &self.derived.lineage
    }

    /// Moves the gate as far as `rule` allows and publishes what has crossed it. Whether it moved. The commit loop
    /// takes this step after each write, and whoever receives an acknowledgement of a replica may take it, too.
    pub fn cross_gate(&mut self, rule: CommitRule) -> bool {
        let moved = self.log.advance(rule);
        if moved {
            self.publish();
        }
        moved
    }

    /// Takes everything before the log's committed position over the gate, in log order: messages become visible, control
    /// entries change the state of the shard. Queues that grew are in [`StoreState::take_published`].
    pub fn publish(&mut self) {
        self.publish_before(self.log.committed());
    }

    /// As [`StoreState::publish`], for everything before `committed`.
    pub(crate) fn publish_before(&mut self, committed: u64) {
        loop {
            let control = self.pending_control.pop_front_if(|control| control.end() <= committed);
            let end = control.as_ref().map_or(committed, |control| control.position);
            self.publish_messages(end);
            let Some(control) = control else { return };
            self.apply(&control);
        }
    }

    fn publish_messages(&mut self, end: u64) {
        while let Some(first) = self.pending.front() {
            if first.entry.position() + u64::from(first.entry.bytes()) > end {
                break;
            }
            let Pending { slot, entry } = *first;
            self.pending.pop_front();
            let queue = &mut self.queues[slot];
            queue.pending -= 1;
            if queue.is_removed() {
                if queue.pending == 0 {
                    self.queues.reuse(slot);
                }
                continue;
            }
            if queue.number().is_none() {
                queue.set_number(self.next_number);
                self.next_number += 1;
            }
            queue.entries.push(entry);
            if let Some(waits_for) = queue.waits_for
                && entry.bytes() > 0
            {
                self.derived.insert(waits_for, Due::of(&entry, queue.queue_id));
            }
            self.unindexed += 1;
            self.published_entries += 1;
            if !std::mem::replace(&mut queue.listed, true) {
                self.published.push(slot);
            }
        }
    }

    fn apply(&mut self, control: &PendingControl) {
        let (kind, content) = batch::control_entry(&control.bytes).expect("encoded by us");
        let entry = ControlEntry::decode(kind, content).expect("encoded by us");
        self.derived.apply(&entry, control.position);
    }

    /// The queues that grew since the last call, each once, through `visit`.
    pub fn take_published(&mut self, mut visit: impl FnMut(QueueSlot)) {
        for slot in self.published.drain(..) {
            self.queues[slot].listed = false;
            visit(slot);
        }
    }

    /// The queue's entries, if anything was ever appended to it or it was looked up with [`StoreState::queue_slot`].
    pub fn queue(&self, topic: &str, queue_id: u32) -> Option<&ConsumeQueue> {
        self.queues.find(topic, queue_id).map(|slot| &self.queues[slot].entries)
    }

    /// Number in index files of a queue whose entry at `offset` is there, and the first queue offset in memory.
    pub(crate) fn place_on_disk(
        &self,
        topic: &str,
        queue_id: u32,
        offset: i64,
    ) -> Option<(u32, i64)> {
        let queue = &self.queues[self.queues.find(topic, queue_id)?];
        let entries = &queue.entries;
        let on_disk = entries.min() <= offset && offset < entries.resident();
        on_disk.then(|| queue.number().map(|number| (number, entries.resident())))?
    }

    /// Number of the topic, if it has queues here.
    pub fn topic_slot(&self, topic: &str) -> Option<TopicSlot> {
        self.queues.topic(topic)
    }

    /// Number of a queue of the topic; an unknown one comes into being, empty. It holds until the topic is deleted.
    pub fn queue_slot_in(&mut self, topic: TopicSlot, queue_id: u32) -> QueueSlot {
        self.queues.find_or_add_in(topic, queue_id)
    }

    /// Number of the queue; an unknown one comes into being, empty. It holds until the topic is deleted.
    pub fn queue_slot(&mut self, topic: &str, queue_id: u32) -> QueueSlot {
        self.queues.find_or_add(topic, queue_id)
    }

    /// Deletes a topic's queues: durable as a control entry, visible at once. Offsets of groups go with them.
    pub fn remove_topic(&mut self, topic: &str, now: i64) -> Result<Option<u64>, Refused> {
        // Offsets may be committed on a topic that never had a message.
        let ShardState { group_offsets, offset_resets, popped, .. } = &self.derived;
        let is_known = group_offsets.has_topic(topic)
            || offset_resets.has_topic(topic)
            || popped.has_topic(topic);
        if self.queues.topic(topic).is_none() && !is_known {
            return Ok(None);
        }
        let entry = ControlEntry::TopicRemoved { topic };
        let position = self.append_control(&entry, now)?;
        self.queues.remove_topic(topic);
        self.derived.group_offsets.forget_topic(topic, position);
        self.derived.offset_resets.forget_topic(topic, position);
        self.derived.popped.forget_topic(topic, position);
        Ok(Some(position + entry.bytes() as u64))
    }

    /// Topic and queue id of a queue, unless its topic was deleted.
    pub fn place_of(&self, slot: QueueSlot) -> Option<(&str, u32)> {
        let queue = &self.queues[slot];
        (!queue.is_removed()).then(|| (self.queues.topic_of(queue), queue.queue_id))
    }

    /// Numbers of the queues of a topic here.
    pub fn slots_of(&self, topic: &str) -> Vec<QueueSlot> {
        self.queues.queues_of(topic)
    }

    /// Deletes the offsets of a group, durably, if there are any.
    pub fn remove_group(&mut self, group: &str, now: i64) -> Result<Option<u64>, Refused> {
        let ShardState { group_offsets, offset_resets, popped, .. } = &self.derived;
        let is_known = group_offsets.has_group(group)
            || offset_resets.has_group(group)
            || popped.has_group(group);
        if !is_known {
            return Ok(None);
        }
        let entry = ControlEntry::GroupRemoved { group };
        let position = self.append_control(&entry, now)?;
        self.derived.group_offsets.forget_group(group, position);
        self.derived.offset_resets.forget_group(group, position);
        self.derived.popped.forget_group(group, position);
        Ok(Some(position + entry.bytes() as u64))
    }

    /// Queues of a topic here, through `visit`: queue id, entries, store timestamp of the last message in ms (0
    /// without one).
    pub fn queues_of(&self, topic: &str, mut visit: impl FnMut(u32, &ConsumeQueue, i64)) {
        for slot in self.queues.queues_of(topic) {
            let queue = &self.queues[slot];
            visit(queue.queue_id, &queue.entries, queue.last_store_ms);
        }
    }

    /// A queue's entries, and the store timestamp of its last message in ms (0 without one).
    pub fn queue_with_time(&self, topic: &str, queue_id: u32) -> Option<(&ConsumeQueue, i64)> {
        let queue = &self.queues[self.queues.find(topic, queue_id)?];
        Some((&queue.entries, queue.last_store_ms))
    }

    /// Topics with queues here.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.queues.topics()
    }

    /// Recovery: a queue as an index file describes it. Messages from `min` to `next` are in index files.
    pub(crate) fn restore_queue(&mut self, topic: &str, row: &Row, min: i64, next: i64) {
        let slot = self.queue_slot(topic, row.queue_id);
        let queue = &mut self.queues[slot];
        if queue.number().is_some() {
            return;
        }
        queue.set_number(row.number);
        queue.in_index = true;
        queue.indexed = next;
        queue.last_store_ms = row.last_store_ms;
        queue.entries.start_at(min, next);
    }

    /// The messages of a row go. `consumed` is the largest offset that a group has committed on the queue. Returns how
    /// many of them no group had consumed.
    pub(crate) fn retire_row(&mut self, slot: QueueSlot, row: &Row, consumed: i64) -> u64 {
        let queue = &mut self.queues[slot];
        if queue.number() != Some(row.number) || queue.is_removed() {
            return 0;
        }
        queue.entries.raise_min(row.next);
        (row.next - consumed.max(row.start())).max(0) as u64
    }

    /// Topic, queue id and number of each queue that has one.
    pub(crate) fn numbered_queues(&self) -> Vec<(Box<str>, u32, u32)> {
        let live = self.queues.live().map(|(_, queue)| queue);
        let numbered = live.filter_map(|queue| queue.number().map(|number| (queue, number)));
        numbered
            .map(|(queue, number)| (self.queues.topic_of(queue).into(), queue.queue_id, number))
            .collect()
    }

    /// Gives a queue the number that it has elsewhere.
    pub(crate) fn renumber(&mut self, topic: &str, queue_id: u32, number: u32) {
        if let Some(slot) = self.queues.find(topic, queue_id) {
            self.queues[slot].set_number(number);
        }
    }

    /// Forgets one queue.
    pub(crate) fn forget_queue(&mut self, topic: &str, queue_id: u32) {
        self.queues.remove_queue(topic, queue_id);
    }

    /// A record that stands in the log already, read at a start or received from a leader; visible once it is published.
    /// `Err` when its queue offset is impossible.
    pub(crate) fn replay_record(
        &mut self,
        topic: &str,
        queue_id: u32,
        queue_offset: i64,
        store_ms: i64,
        entry: Entry,
    ) -> Result<(), &'static str> {
        if queue_offset < 0 {
            return Err("queue offset is negative");
        }
        let mut slot = self.queue_slot(topic, queue_id);
        if queue_offset < self.queues[slot].next() {
            // Offsets start again only when the topic was deleted: a damaged place took the control entry along.
            // Other queues of the topic may have begun again already, and must not lose what is new.
            self.queues.remove_queue(topic, queue_id);
            slot = self.queue_slot(topic, queue_id);
        }
        let queue = &mut self.queues[slot];
        if queue.number().is_none() && queue.pending == 0 {
            // The first one here: what came before it was damaged or, if the log is not known from its beginning on,
            // has gone.
            let start = if self.births_known { 0 } else { queue_offset };
            queue.entries.start_at(start, start);
            queue.indexed = start;
        }
        if queue_offset - queue.next() > LOST_MAX {
            return Err("queue offset is impossible");
        }
        // Messages between lay in a damaged part of the log: their offsets stay taken by entries of no bytes, so
        // that offsets stay dense and pulls step over them.
        let lost = Entry::lost(entry.position());
        while queue.next() < queue_offset {
            queue.pending += 1;
            self.pending.push_back(Pending { slot, entry: lost });
        }
        queue.pending += 1;
        queue.last_store_ms = store_ms;
        self.pending.push_back(Pending { slot, entry });
        self.mark_clock(entry.position(), store_ms);
        self.earliest_store_ms.get_or_insert(store_ms);
        Ok(())
    }

    /// A control entry that stands in the log at `position` already; it changes the state of the shard once it is
    /// published.
    pub(crate) fn replay_control(&mut self, entry: &ControlEntry<'_>, position: u64) {
        match entry {
            // The lineage is noted batch by batch.
            ControlEntry::Epoch(_) => return,
            ControlEntry::TopicRemoved { topic } => self.queues.remove_topic(topic),
            ControlEntry::GroupOffsets(_)
            | ControlEntry::OffsetsReset(_)
            | ControlEntry::PopProgress(_)
            | ControlEntry::GroupRemoved { .. }
            | ControlEntry::Delivered { .. }
            | ControlEntry::Cancelled { .. }
            | ControlEntry::Carried { .. }
            | ControlEntry::HalfEnded { .. }
            | ControlEntry::HalfChecked(_) => {}
        }
        let mut bytes = vec![0; entry.bytes()].into_boxed_slice();
        entry.encode(&mut bytes);
        self.pending_control.push_back(PendingControl { position, bytes });
    }

    /// Panics when an invariant is broken. Called after each step in tests and simulation.
    pub fn check(&self) {
        assert!(self.log.committed() <= self.log.appended());
        assert!(self.log.flushed() <= self.log.appended());
        let mut pending_of = vec![0; self.queues.all().count()];
        let positions = self.pending_control.iter().map(|control| control.position);
        assert!(positions.is_sorted());
        for pending in &self.pending {
            pending_of[pending.slot.index()] += 1;
        }
        for (slot, queue) in self.queues.all() {
            assert!(queue.pending == pending_of[slot.index()]);
        }
        for (_, queue) in self.queues.live() {
            let entries = &queue.entries;
            assert!(entries.min() <= entries.max() && entries.resident() <= entries.max());
            assert!(entries.resident() <= queue.indexed.max(entries.min()));
        }
    }
}

#[cfg(test)]
#[path = "store_state_tests.rs"]
mod tests;
