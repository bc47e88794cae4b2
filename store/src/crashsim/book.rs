//! What was done to a log, in log order, and what must therefore be readable after a boot.
//!
//! Written independently of the store's tables: a plain list that is replayed from its start each time.

use std::{collections::BTreeMap, rc::Rc};

/// One entry of the log.
pub(crate) struct Item {
    /// Some position within the entry, below `end`.
    pub(crate) start: u64,
    /// Behind the entry.
    pub(crate) end: u64,
    /// It lay in a batch that rotted.
    pub(crate) lost: bool,
    /// It lay in a batch that rotted when an index file knew it already: what it did stays.
    pub(crate) kept: bool,
    /// It is a message and was hit itself: its place stays, its bytes are gone.
    pub(crate) hit: bool,
    pub(crate) what: What,
}

/// Topic and queue.
pub(crate) type QueueName = (String, u32);
/// Group, topic and queue.
pub(crate) type OffsetName = (String, String, u32);

pub(crate) enum What {
    Message { queue: QueueName, offset: i64, record: Rc<[u8]> },
    TopicRemoved(String),
    GroupRemoved(String),
    Offsets(Vec<(OffsetName, i64)>),
}

/// A readable message.
#[derive(Clone)]
pub(crate) struct Placed {
    pub(crate) position: u64,
    pub(crate) end: u64,
    pub(crate) record: Rc<[u8]>,
}

/// The messages of a queue by queue offset; `None` where damage took one along.
#[derive(Clone, Default)]
pub(crate) struct QueueState {
    pub(crate) min: i64,
    pub(crate) messages: Vec<Option<Placed>>,
}

impl QueueState {
    pub(crate) fn next(&self) -> i64 {
        self.min + self.messages.len() as i64
    }
}

/// Everything that can be read.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) queues: BTreeMap<QueueName, QueueState>,
    pub(crate) offsets: BTreeMap<OffsetName, i64>,
}

impl State {
    /// What an entry does, at its place in log order.
    pub(crate) fn apply(&mut self, item: &Item) {
        match &item.what {
            What::Message { queue, offset, record } => {
                let (position, end) = (item.start, item.end);
                let message = Placed { position, end, record: record.clone() };
                self.append(queue, *offset, (!item.hit).then_some(message));
            }
            What::TopicRemoved(topic) => self.remove_topic(topic),
            What::GroupRemoved(group) => self.remove_group(group),
            What::Offsets(offsets) => self.offsets.extend(offsets.iter().cloned()),
        }
    }

    /// A message at the end of its queue; where it is not, damage explains it.
    pub(crate) fn append(&mut self, name: &QueueName, offset: i64, message: Option<Placed>) {
        if self.queues.get(name).is_some_and(|queue| offset < queue.next()) {
            self.remove_topic(&name.0);
        }
        let queue = self.queues.entry(name.clone()).or_default();
        while queue.next() < offset {
            queue.messages.push(None);
        }
        queue.messages.push(message);
    }

    pub(crate) fn remove_topic(&mut self, topic: &str) {
        self.queues.retain(|name, _| name.0 != topic);
        self.offsets.retain(|name, _| name.1 != topic);
    }

    pub(crate) fn remove_group(&mut self, group: &str) {
        self.offsets.retain(|name, _| name.0 != group);
    }
}

/// The list.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) items: Vec<Item>,
}

impl Book {
    pub(crate) fn add(&mut self, start: u64, end: u64, what: What) {
        assert!(start < end);
        assert!(self.items.last().is_none_or(|last| last.end <= start));
        self.items.push(Item { start, end, lost: false, kept: false, hit: false, what });
    }

    /// Forgets what a cut removed: all that `survives` denies, apart from what rotted.
    pub(crate) fn cut(&mut self, survives: impl Fn(&Item) -> bool) {
        self.items.retain(|item| item.lost || survives(item));
    }

    /// Marks everything in a damaged place as lost.
    pub(crate) fn lose(&mut self, from: u64, to: u64) {
        let hit = self.items.iter_mut().filter(|item| item.start >= from && item.start < to);
        hit.for_each(|item| item.lost = true);
    }

    /// A byte rotted in a place that an index file knows.
    pub(crate) fn hit(&mut self, from: u64, to: u64, byte: u64) {
        let touched = self.items.iter_mut().filter(|item| item.start >= from && item.start < to);
        touched.for_each(|item| {
            item.kept = true;
            item.hit |= item.start <= byte && byte < item.end;
        });
    }

    /// What all entries that are not lost amount to.
    pub(crate) fn replay(&self) -> State {
        let mut state = State::default();
        self.items.iter().filter(|item| !item.lost).for_each(|item| state.apply(item));
        state
    }

    /// The same as if nothing had been lost. An index file that was written over what lies before a damaged place may
    /// know what control entries said in that place.
    pub(crate) fn replay_all(&self) -> State {
        let mut state = State::default();
        self.items.iter().for_each(|item| state.apply(item));
        state
    }
}
