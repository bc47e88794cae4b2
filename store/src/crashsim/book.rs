//! What was done to a log, in log order, and what must therefore be readable after a boot.
//!
//! Written independently of the store's tables: a plain list that is replayed from its start each time.

use std::{collections::BTreeMap, rc::Rc};

/// One entry of the log.
pub(super) struct Item {
    /// Some position within the entry, below `end`.
    pub(super) start: u64,
    /// Behind the entry.
    pub(super) end: u64,
    /// It lay in a batch that rotted.
    pub(super) lost: bool,
    pub(super) what: What,
}

/// Topic and queue.
pub(super) type QueueName = (String, u32);
/// Group, topic and queue.
pub(super) type OffsetName = (String, String, u32);

pub(super) enum What {
    Message { queue: QueueName, offset: i64, record: Rc<[u8]> },
    TopicRemoved(String),
    GroupRemoved(String),
    Offsets(Vec<(OffsetName, i64)>),
}

/// A readable message.
#[derive(Clone)]
pub(super) struct Placed {
    pub(super) position: u64,
    pub(super) end: u64,
    pub(super) record: Rc<[u8]>,
}

/// The messages of a queue by queue offset; `None` where damage took one along.
#[derive(Clone, Default)]
pub(super) struct QueueState {
    pub(super) min: i64,
    pub(super) messages: Vec<Option<Placed>>,
}

impl QueueState {
    pub(super) fn next(&self) -> i64 {
        self.min + self.messages.len() as i64
    }
}

/// Everything that can be read.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) queues: BTreeMap<QueueName, QueueState>,
    pub(super) offsets: BTreeMap<OffsetName, i64>,
}

impl State {
    /// A message at the end of its queue; where it is not, damage explains it.
    pub(super) fn append(&mut self, name: &QueueName, offset: i64, message: Placed) {
        if self.queues.get(name).is_some_and(|queue| offset < queue.next()) {
            self.remove_topic(&name.0);
        }
        let queue = self.queues.entry(name.clone()).or_default();
        if queue.messages.is_empty() {
            queue.min = offset;
        }
        while queue.next() < offset {
            queue.messages.push(None);
        }
        queue.messages.push(Some(message));
    }

    pub(super) fn remove_topic(&mut self, topic: &str) {
        self.queues.retain(|name, _| name.0 != topic);
        self.offsets.retain(|name, _| name.1 != topic);
    }

    pub(super) fn remove_group(&mut self, group: &str) {
        self.offsets.retain(|name, _| name.0 != group);
    }
}

/// The list.
#[derive(Default)]
pub(super) struct Book {
    pub(super) items: Vec<Item>,
}

impl Book {
    pub(super) fn add(&mut self, start: u64, end: u64, what: What) {
        assert!(start < end);
        assert!(self.items.last().is_none_or(|last| last.end <= start));
        self.items.push(Item { start, end, lost: false, what });
    }

    /// Forgets what a cut removed: all that `survives` denies, apart from what rotted.
    pub(super) fn cut(&mut self, survives: impl Fn(&Item) -> bool) {
        self.items.retain(|item| item.lost || survives(item));
    }

    /// Marks everything in a damaged place as lost.
    pub(super) fn lose(&mut self, from: u64, to: u64) {
        let hit = self.items.iter_mut().filter(|item| item.start >= from && item.start < to);
        hit.for_each(|item| item.lost = true);
    }

    /// What all entries that are not lost amount to.
    pub(super) fn replay(&self) -> State {
        let mut state = State::default();
        for item in self.items.iter().filter(|item| !item.lost) {
            match &item.what {
                What::Message { queue, offset, record } => {
                    let (position, end) = (item.start, item.end);
                    let message = Placed { position, end, record: record.clone() };
                    state.append(queue, *offset, message);
                }
                What::TopicRemoved(topic) => state.remove_topic(topic),
                What::GroupRemoved(group) => state.remove_group(group),
                What::Offsets(offsets) => state.offsets.extend(offsets.iter().cloned()),
            }
        }
        state
    }
}
