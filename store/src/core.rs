//! The state of one shard's store: log, consume queues, group offsets. Plain `&mut self`, no I/O, no clock.
//!
//! Order of life of a message: [`Core::append`] assigns its queue offset and position; the commit loop writes it;
//! [`Core::publish`] makes it visible. Between the two it stands in `pending`, in log order, so that crossing the
//! gate is one step over a queue and nothing is looked up twice.

use crate::{
    batch::{CONTROL_HEADER_BYTES, encode_control},
    consume_queue::{ConsumeQueue, Entry},
    error::Refused,
    group_offsets::{self, GroupOffsets},
    log::CommitLog,
    offset::PhysicalOffset,
};
use ahash::AHashMap;
use std::collections::VecDeque;

/// Control entry: a topic was deleted; its queues start again at 0. Content: the topic's name.
pub const CONTROL_TOPIC_REMOVED: u16 = 2;
/// Control entry: a group's offsets were deleted. Content: the group's name.
pub const CONTROL_GROUP_REMOVED: u16 = 3;

/// Number of a queue within its shard. Stays the same while the topic lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueSlot(u32);

impl QueueSlot {
    /// As an index into tables kept per queue.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

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
    /// Topic.
    pub topic: &'a str,
    /// Queue within the topic.
    pub queue_id: u32,
    /// Bytes of the record.
    pub bytes: usize,
    /// Hash of its tags.
    pub tags_code: i64,
}

struct Queue {
    entries: ConsumeQueue,
    /// Queue offset of the next appended message.
    next: i64,
    /// Store timestamp of the last message, ms; 0 without one.
    last_store_ms: i64,
    /// Stands in `published` already.
    listed: bool,
    /// The topic was deleted; what is still pending is dropped.
    removed: bool,
}

struct Pending {
    slot: QueueSlot,
    entry: Entry,
}

/// Counters since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages appended.
    pub messages: u64,
    /// Bytes of their records.
    pub record_bytes: u64,
}

/// The state.
pub struct Core {
    /// The commit log.
    pub log: CommitLog,
    /// Committed offsets of groups.
    pub offsets: GroupOffsets,
    topics: AHashMap<Box<str>, Vec<(u32, QueueSlot)>>,
    queues: Vec<Queue>,
    pending: VecDeque<Pending>,
    published: Vec<QueueSlot>,
    counters: Counters,
    earliest_store_ms: Option<i64>,
}

impl Core {
    /// An empty state over a log; recovery fills it.
    pub fn new(log: CommitLog) -> Core {
        Core {
            log,
            offsets: GroupOffsets::default(),
            topics: AHashMap::new(),
            queues: Vec::new(),
            pending: VecDeque::new(),
            published: Vec::new(),
            counters: Counters::default(),
            earliest_store_ms: None,
        }
    }

    /// Shard whose store it is.
    pub fn shard(&self) -> u16 {
        self.log.shape().shard
    }

    /// Store timestamp of the oldest message in the log, ms.
    pub fn earliest_store_ms(&self) -> Option<i64> {
        self.earliest_store_ms
    }

    /// Counters since start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether `bytes` in all, in entries of at most `entry_bytes`, may be appended now.
    pub fn admit(&self, bytes: usize, entry_bytes: usize) -> Result<(), Refused> {
        self.log.admit(bytes, entry_bytes)
    }

    /// Appends an admitted message. `encode` writes the record, given its offsets; queue offset and position are
    /// final.
    pub fn append(
        &mut self,
        message: Append<'_>,
        now: i64,
        encode: impl FnOnce(&Placed, &mut [u8]),
    ) -> Placed {
        let slot = self.queue_slot(message.topic, message.queue_id);
        let queue = &mut self.queues[slot.index()];
        let queue_offset = queue.next;
        queue.next += 1;
        queue.last_store_ms = now;
        let shard = self.log.shape().shard;
        let bytes = message.bytes;
        let place = |position: u64| Placed {
            queue_offset,
            physical: PhysicalOffset::new(shard, position),
            end: position + bytes as u64,
        };
        let position = self.log.append(bytes, now, |position, out| encode(&place(position), out));
        let entry = Entry::new(position, bytes as u32, message.tags_code);
        self.pending.push_back(Pending { slot, entry });
        self.earliest_store_ms.get_or_insert(now);
        self.counters.messages += 1;
        self.counters.record_bytes += bytes as u64;
        place(position)
    }

    /// Appends a control entry. Returns the position to wait for.
    pub fn append_control(&mut self, kind: u16, content: &[u8], now: i64) -> Result<u64, Refused> {
        let bytes = CONTROL_HEADER_BYTES + content.len();
        self.log.admit(bytes, bytes)?;
        let position = self.log.append(bytes, now, |_, out| encode_control(out, kind, content));
        Ok(position + bytes as u64)
    }

    /// Appends what groups committed since the last call. What is refused now stays dirty for the next call.
    pub fn append_group_offsets(&mut self, now: i64) -> Result<Option<u64>, Refused> {
        if !self.offsets.is_dirty() {
            return Ok(None);
        }
        let record_bytes_max = self.log.shape().entry_bytes_max;
        let bytes_max = group_offsets::CONTENT_BYTES_MAX.min(record_bytes_max / 2);
        let mut end = None;
        loop {
            match self.log.admit(CONTROL_HEADER_BYTES + bytes_max, 0) {
                Err(refused) if end.is_none() => return Err(refused),
                Err(_) => break,
                Ok(()) => {}
            }
            let Some(content) = self.offsets.take_change(bytes_max) else { break };
            let bytes = CONTROL_HEADER_BYTES + content.len();
            let position = self.log.append(bytes, now, |_, out| {
                encode_control(out, group_offsets::CONTROL_KIND, &content);
            });
            end = Some(position + bytes as u64);
        }
        Ok(end)
    }

    /// Makes everything before the log's committed position visible. Queues that grew are in
    /// [`Core::take_published`].
    pub fn publish(&mut self) {
        let committed = self.log.committed();
        while let Some(first) = self.pending.front() {
            if first.entry.position() + u64::from(first.entry.bytes()) > committed {
                break;
            }
            let Pending { slot, entry } = *first;
            self.pending.pop_front();
            let queue = &mut self.queues[slot.index()];
            if queue.removed {
                continue;
            }
            queue.entries.push(entry);
            if !std::mem::replace(&mut queue.listed, true) {
                self.published.push(slot);
            }
        }
    }

    /// The queues that grew since the last call, each once, through `visit`.
    pub fn take_published(&mut self, mut visit: impl FnMut(QueueSlot)) {
        for slot in self.published.drain(..) {
            self.queues[slot.index()].listed = false;
            visit(slot);
        }
    }

    /// The queue's entries, if anything was ever appended to it or it was looked up with [`Core::queue_slot`].
    pub fn queue(&self, topic: &str, queue_id: u32) -> Option<&ConsumeQueue> {
        self.find(topic, queue_id).map(|slot| &self.queues[slot.index()].entries)
    }

    /// Number of the queue; an unknown one comes into being, empty.
    pub fn queue_slot(&mut self, topic: &str, queue_id: u32) -> QueueSlot {
        if let Some(slot) = self.find(topic, queue_id) {
            return slot;
        }
        let slot = QueueSlot(self.queues.len() as u32);
        self.queues.push(Queue {
            entries: ConsumeQueue::default(),
            next: 0,
            last_store_ms: 0,
            listed: false,
            removed: false,
        });
        self.topics.entry(topic.into()).or_default().push((queue_id, slot));
        slot
    }

    /// Deletes a topic's queues: durable as a control entry, visible at once. Offsets of groups go with them.
    pub fn remove_topic(&mut self, topic: &str, now: i64) -> Result<Option<u64>, Refused> {
        if !self.topics.contains_key(topic) {
            return Ok(None);
        }
        let end = self.append_control(CONTROL_TOPIC_REMOVED, topic.as_bytes(), now)?;
        self.forget_topic(topic);
        Ok(Some(end))
    }

    /// Deletes the offsets of a group, durably.
    pub fn remove_group(&mut self, group: &str, now: i64) -> Result<u64, Refused> {
        let end = self.append_control(CONTROL_GROUP_REMOVED, group.as_bytes(), now)?;
        self.offsets.remove_group(group);
        Ok(end)
    }

    /// Queues of a topic here, through `visit`: queue id, entries, store timestamp of the last message in ms (0
    /// without one).
    pub fn queues_of(&self, topic: &str, mut visit: impl FnMut(u32, &ConsumeQueue, i64)) {
        for (queue_id, slot) in self.topics.get(topic).into_iter().flatten() {
            let queue = &self.queues[slot.index()];
            visit(*queue_id, &queue.entries, queue.last_store_ms);
        }
    }

    /// Topics with queues here.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(|topic| &**topic)
    }

    /// Recovery: a record of the log is visible. `Err` when its queue offset is impossible.
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
        if queue_offset < self.queues[slot.index()].next {
            // Offsets start again only when the topic was deleted: a damaged place took the control entry along.
            self.forget_topic(topic);
            slot = self.queue_slot(topic, queue_id);
        }
        let queue = &mut self.queues[slot.index()];
        if queue.entries.min() == queue.entries.max() && queue_offset >= queue.next {
            // The first one here: what came before it expired or was damaged.
            queue.entries.start_at(queue_offset);
            queue.next = queue_offset;
        }
        // Messages between lay in a damaged part of the log: their offsets stay taken by entries of no bytes, so
        // that offsets stay dense and pulls step over them.
        while queue.next < queue_offset {
            queue.entries.push(Entry::new(entry.position(), 0, 0));
            queue.next += 1;
        }
        queue.entries.push(entry);
        queue.next += 1;
        queue.last_store_ms = store_ms;
        self.earliest_store_ms.get_or_insert(store_ms);
        Ok(())
    }

    /// Recovery: a control entry of the log.
    pub(crate) fn replay_control(&mut self, kind: u16, content: &[u8]) -> Result<(), &'static str> {
        match kind {
            group_offsets::CONTROL_KIND => self.offsets.replay(content),
            CONTROL_TOPIC_REMOVED => {
                self.forget_topic(text(content)?);
                Ok(())
            }
            CONTROL_GROUP_REMOVED => {
                self.offsets.remove_group(text(content)?);
                Ok(())
            }
            _ => Err("control entry of unknown kind"),
        }
    }

    fn forget_topic(&mut self, topic: &str) {
        for (_, slot) in self.topics.remove(topic).unwrap_or_default() {
            let queue = &mut self.queues[slot.index()];
            queue.removed = true;
            queue.entries = ConsumeQueue::default();
        }
        self.offsets.remove_topic(topic);
    }

    fn find(&self, topic: &str, queue_id: u32) -> Option<QueueSlot> {
        let queues = self.topics.get(topic)?;
        queues.iter().find(|(id, _)| *id == queue_id).map(|(_, slot)| *slot)
    }

    /// Panics when an invariant is broken. Called after each step in tests and simulation.
    pub fn check(&self) {
        assert!(self.log.committed() <= self.log.appended());
        assert!(self.log.flushed() <= self.log.appended());
        let mut pending_of = vec![0i64; self.queues.len()];
        for pending in &self.pending {
            pending_of[pending.slot.index()] += 1;
        }
        for (queue, pending) in self.queues.iter().zip(pending_of) {
            assert!(queue.removed || queue.entries.max() + pending == queue.next);
        }
    }
}

fn text(content: &[u8]) -> Result<&str, &'static str> {
    std::str::from_utf8(content).map_err(|_| "control entry is not text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{log::Shape, ring::TailRing};

    fn core() -> Core {
        let shape = Shape {
            shard: 3,
            log_id: 1,
            epoch: 1,
            segment_bytes: 1 << 20,
            inflight_bytes_max: 1 << 16,
            entry_bytes_max: 4_096,
        };
        Core::new(CommitLog::resume(shape, TailRing::new(1 << 18, 4_096), 0, &[]))
    }

    fn append(core: &mut Core, topic: &str, queue_id: u32) -> Placed {
        let message = Append { topic, queue_id, bytes: 50, tags_code: 0 };
        core.append(message, 9, |_, out| out.fill(1))
    }

    fn commit(core: &mut Core) -> Vec<usize> {
        while let Some(write) = core.log.take_write() {
            core.log.written(&write, true, true);
        }
        core.publish();
        core.check();
        let mut grown = Vec::new();
        core.take_published(|slot| grown.push(slot.index()));
        grown
    }

    fn max(core: &Core, topic: &str, queue_id: u32) -> Option<i64> {
        core.queue(topic, queue_id).map(ConsumeQueue::max)
    }

    #[test]
    fn a_message_is_visible_when_the_log_is_committed_past_it_and_not_before() {
        let mut core = core();
        let first = append(&mut core, "a", 0);
        let second = append(&mut core, "a", 0);
        append(&mut core, "b", 5);
        assert_eq!((first.queue_offset, second.queue_offset), (0, 1));
        assert_eq!((first.physical.shard(), first.physical.position()), (3, 64));
        assert_eq!(second.end, second.physical.position() + 50);
        core.check();
        assert_eq!(max(&core, "a", 0), Some(0));
        assert_eq!(commit(&mut core), [0, 1], "each queue that grew, once");
        assert_eq!((max(&core, "a", 0), max(&core, "b", 5)), (Some(2), Some(1)));
        assert!(commit(&mut core).is_empty());
        assert_eq!(core.counters(), Counters { messages: 3, record_bytes: 150 });
    }

    #[test]
    fn a_topic_that_is_deleted_and_made_again_starts_at_0() {
        let mut core = core();
        append(&mut core, "a", 0);
        core.offsets.set("g", "a", 0, 1);
        assert_eq!(core.remove_topic("unknown", 1), Ok(None));
        core.remove_topic("a", 1).expect("admitted").expect("known");
        assert_eq!((max(&core, "a", 0), core.offsets.get("g", "a", 0)), (None, None));
        assert_eq!(append(&mut core, "a", 0).queue_offset, 0);
        commit(&mut core);
        assert_eq!(max(&core, "a", 0), Some(1), "what was pending of the old one is gone");
    }

    #[test]
    fn group_offsets_that_the_log_refuses_stay_for_the_next_time() {
        let mut core = core();
        core.offsets.set("g", "a", 0, 1);
        while core.admit(2_100, 2_100).is_ok() {
            core.append_control(99, &[0; 2_090], 1).expect("admitted");
        }
        assert!(matches!(core.append_group_offsets(1), Err(Refused::Busy { .. })));
        commit(&mut core);
        assert!(core.append_group_offsets(1).expect("room").is_some());
        assert_eq!(core.append_group_offsets(1), Ok(None));
    }

    #[test]
    fn replayed_offsets_stay_dense_over_damage_and_start_again_after_a_lost_deletion() {
        let mut core = core();
        let entry = |position| Entry::new(position, 50, 0);
        for (offset, position) in [(4, 100), (5, 200), (8, 900)] {
            core.replay_record("a", 0, offset, 1, entry(position)).expect("possible");
        }
        let queue = core.queue("a", 0).expect("replayed");
        assert_eq!((queue.min(), queue.max()), (4, 9));
        assert_eq!(queue.get(6).map(|hole| hole.bytes()), Some(0));
        assert!(core.replay_record("a", 0, -1, 1, entry(950)).is_err());
        core.replay_record("a", 0, 0, 1, entry(1_000)).expect("the topic was made again");
        let queue = core.queue("a", 0).expect("replayed");
        assert_eq!((queue.min(), queue.max()), (0, 1));
        assert!(core.replay_control(77, b"").is_err());
        core.check();
    }
}
