//! What was done to a log, in log order, and what must therefore be readable after a boot.
//!
//! Written independently of the store's tables: a plain list that is replayed from its start each time. Damage makes
//! some of it uncertain: an index file may or may not know what stood in a place that rotted later. What follows from
//! that is said here, as sets of possible answers, and nowhere else.

use super::rot::Rotten;
use proto::record::RecordView;
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};
use store::state::{
    deferred::{SCHEDULE_TOPIC, TIMER_TOPIC},
    half_messages::{HALF_TOPIC, HalfCheck},
};

/// What damage did to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is there.
    Sure,
    /// It lay in a batch that rotted when an index file knew it already: what it did stays.
    Kept,
    /// The index file that knew it rotted, too; what it did may be known in the next one.
    Unsure,
    /// It lay in a batch that rotted before an index file was written over it or behind it.
    Lost,
}

/// One entry of the log.
pub(crate) struct Item {
    /// Some position within the entry, below `end`.
    pub(crate) start: u64,
    /// Behind the entry.
    pub(crate) end: u64,
    pub(crate) fate: Fate,
    /// It is a message and was hit itself: its place stays, its bytes are gone.
    pub(crate) hit: bool,
    pub(crate) what: What,
}

impl Item {
    /// Whether it has its effect, whatever happened.
    fn is_sure(&self) -> bool {
        matches!(self.fate, Fate::Sure | Fate::Kept)
    }
}

/// Topic and queue.
pub(crate) type QueueName = (String, u32);
/// Group, topic and queue.
pub(crate) type OffsetName = (String, String, u32);

/// What the log says of a queue that a group pops: the place, and what is in flight by offset, each with the time of its pop, when
/// it is visible again, and how often it was popped before.
pub(crate) type Said = (Option<i64>, BTreeMap<i64, (i64, i64, u32)>);

pub(crate) enum What {
    Message {
        queue: QueueName,
        offset: i64,
        record: Rc<[u8]>,
        key: u8,
    },
    TopicRemoved(String),
    GroupRemoved(String),
    Offsets(Vec<(OffsetName, i64)>),
    /// Groups are told to go on elsewhere, or have heard it.
    Resets(Vec<(OffsetName, Option<i64>)>),
    /// How far a group is with popping queues.
    Popped(Vec<(OffsetName, Option<Said>)>),
    /// A record waits no more: when it was due, and its position.
    Delivered(i64, u64),
    /// A record waits on as the one behind: when it is due, and where it lay.
    Carried(i64, u64),
    /// A half message ended, which lies at this position.
    HalfEnded(u64),
    /// Half messages were checked.
    HalfChecked(Vec<HalfCheck>),
}

/// Where groups go on, of those that are told.
fn targets(resets: &[(OffsetName, Option<i64>)]) -> impl Iterator<Item = (OffsetName, i64)> {
    resets.iter().filter_map(|(name, target)| Some((name.clone(), (*target)?)))
}

/// What may be known of each group's offsets on each queue; `None`: nothing.
pub(crate) type Possible<T = i64> = BTreeMap<OffsetName, BTreeSet<Option<T>>>;

/// A half message that may be open.
pub(crate) struct MaybeOpen {
    /// It is.
    pub(crate) must: bool,
    /// When it is checked next and how often it was, unless damage leaves that open.
    pub(crate) stands: Option<(i64, u32)>,
}

/// A message at its place.
#[derive(Clone)]
pub(crate) struct Placed {
    pub(crate) position: u64,
    pub(crate) end: u64,
    /// `None` when it was hit by damage.
    pub(crate) record: Option<Rc<[u8]>>,
    /// Number of its key.
    pub(crate) key: u8,
}

/// The messages of a queue by queue offset; `None` where damage took one along.
#[derive(Clone, Default)]
pub(crate) struct QueueState {
    /// Nothing is known of messages before.
    pub(crate) floor: i64,
    pub(crate) messages: Vec<Option<Placed>>,
}

impl QueueState {
    pub(crate) fn next(&self) -> i64 {
        self.messages.len() as i64
    }

    /// Between which offsets the first readable one lies when the log begins at `position`: holes in front of it may
    /// have gone or not.
    pub(crate) fn min(&self, position: u64) -> (i64, i64) {
        let here = |message: &Option<Placed>| {
            message.as_ref().is_some_and(|message| message.position >= position)
        };
        let first = self.messages.iter().position(here).unwrap_or(self.messages.len());
        let before = self.messages[..first].iter().rposition(Option::is_some);
        let least = before.map_or(0, |before| before as i64 + 1);
        (least.max(self.floor), (first as i64).max(self.floor))
    }

    /// The bytes of the messages in a range of offsets, as far as they can be read.
    pub(crate) fn bytes(&self, from: i64, to: i64) -> Vec<u8> {
        let range = from as usize..(to as usize).min(self.messages.len());
        let readable = self.messages[range].iter().flatten().filter_map(|m| m.record.as_ref());
        readable.flat_map(|record| record.iter().copied()).collect()
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
            What::Message { queue, offset, .. } => {
                self.append(queue, *offset, item.placed().expect("a message"));
            }
            What::TopicRemoved(topic) => self.remove_topic(topic),
            What::GroupRemoved(group) => self.remove_group(group),
            What::Offsets(offsets) => self.offsets.extend(offsets.iter().cloned()),
            What::Resets(resets) => self.offsets.extend(targets(resets)),
            What::Popped(_)
            | What::Delivered(..)
            | What::Carried(..)
            | What::HalfEnded(_)
            | What::HalfChecked(_) => {}
        }
    }

    /// A message at the end of its queue; where it is not, damage explains it.
    pub(crate) fn append(&mut self, name: &QueueName, offset: i64, message: Placed) {
        let queue = self.queues.entry(name.clone()).or_default();
        if offset < queue.next() {
            *queue = QueueState::default();
        }
        while queue.next() < offset {
            queue.messages.push(None);
        }
        queue.messages.push(Some(message));
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
    /// Groups: where the control entry stands, and the last byte of the message behind it.
    groups: Vec<(u64, u64)>,
}

impl Book {
    pub(crate) fn add(&mut self, start: u64, end: u64, what: What) {
        assert!(start < end);
        assert!(self.items.last().is_none_or(|last| last.end <= start));
        self.items.push(Item { start, end, fate: Fate::Sure, hit: false, what });
    }

    /// A control entry and a message were appended as a group.
    pub(crate) fn add_group(&mut self, control: u64, message_end: u64) {
        self.groups.push((control, message_end - 1));
    }

    /// The group of which only a part lies in whole batches, if there is one. The others without one are forgotten.
    pub(crate) fn split_group(&mut self, held_at: impl Fn(u64) -> bool) -> Option<(u64, u64)> {
        self.groups.retain(|(first, last)| held_at(*first) || held_at(*last));
        self.groups.iter().find(|(first, last)| !held_at(*first) || !held_at(*last)).copied()
    }

    /// Forgets what a cut removed: all that `survives` denies, apart from what rotted.
    pub(crate) fn cut(&mut self, survives: impl Fn(&Item) -> bool) {
        self.items.retain(|item| item.fate != Fate::Sure || survives(item));
    }

    /// Bytes of a batch rotted. With a worse fate from earlier it stays at that.
    pub(crate) fn rot(&mut self, rotten: &Rotten, fate: Fate) {
        let batch = rotten.from..rotten.to;
        let touched = self.items.iter_mut().filter(|item| batch.contains(&item.start));
        touched.for_each(|item| {
            let worse = match (item.fate, fate) {
                (Fate::Lost, _) | (_, Fate::Lost) => Fate::Lost,
                (Fate::Unsure, _) | (_, Fate::Unsure) => Fate::Unsure,
                _ => Fate::Kept,
            };
            item.fate = worse;
            item.hit |= item.is_changed(rotten);
        });
    }

    /// An index file over a part of this place rotted or went: what only it knew may be gone.
    pub(crate) fn unsettle(&mut self, from: u64, to: u64) -> bool {
        let kept =
            |item: &&mut Item| item.fate == Fate::Kept && from <= item.start && item.start < to;
        let mut any = false;
        self.items.iter_mut().filter(kept).for_each(|item| {
            item.fate = Fate::Unsure;
            any = true;
        });
        any
    }

    /// Whether what an index file knew alone may be gone or not.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.items.iter().any(|item| item.fate == Fate::Unsure)
    }

    /// What all entries that are not lost amount to. Right for topics that are not [`Book::murky`].
    pub(crate) fn replay(&self) -> State {
        let mut state = State::default();
        let there = self.items.iter().filter(|item| item.fate != Fate::Lost);
        there.for_each(|item| state.apply(item));
        state
    }

    /// Topics of which more than one state is right: a deletion, or what only a damaged index file knew, was lost.
    pub(crate) fn murky(&self) -> BTreeSet<String> {
        let (mut settled, mut murky) = (BTreeSet::new(), BTreeSet::new());
        for item in self.items.iter().rev() {
            let topic = match &item.what {
                What::Message { queue, .. } if item.fate == Fate::Unsure => &queue.0,
                What::TopicRemoved(topic) if item.is_sure() => {
                    settled.insert(topic.clone());
                    continue;
                }
                What::TopicRemoved(topic) => topic,
                _ => continue,
            };
            if !settled.contains(topic) {
                murky.insert(topic.clone());
            }
        }
        murky
    }

    /// Everything that may be known of each group's offsets: an index file may have been influenced by what rotted
    /// later, up to any place.
    pub(crate) fn possible_offsets(&self) -> Possible {
        self.possible(|what| match what {
            What::Offsets(offsets) => {
                offsets.iter().map(|(name, offset)| (name.clone(), Some(*offset))).collect()
            }
            What::Resets(resets) => {
                targets(resets).map(|(name, target)| (name, Some(target))).collect()
            }
            _ => Vec::new(),
        })
    }

    /// The same of the queues on which groups are told to go on elsewhere.
    pub(crate) fn possible_resets(&self) -> Possible {
        self.possible(|what| match what {
            What::Resets(resets) => resets.clone(),
            _ => Vec::new(),
        })
    }

    /// The same of how far groups are with popping.
    pub(crate) fn possible_pops(&self) -> Possible<Said> {
        self.possible(|what| match what {
            What::Popped(all) => all.clone(),
            What::Resets(resets) => targets(resets).map(|(name, _)| (name, None)).collect(),
            _ => Vec::new(),
        })
    }

    fn possible<T: Clone + Ord>(
        &self,
        said: impl Fn(&What) -> Vec<(OffsetName, Option<T>)>,
    ) -> Possible<T> {
        let mut open = Possible::new();
        for item in &self.items {
            open.extend(said(&item.what).into_iter().map(|(name, _)| (name, BTreeSet::new())));
        }
        let mut possible = Possible::new();
        for item in self.items.iter().rev() {
            let values = said(&item.what);
            let names: Vec<OffsetName> = open.keys().cloned().collect();
            for name in names {
                let value = match &item.what {
                    What::TopicRemoved(topic) if *topic == name.1 => None,
                    What::GroupRemoved(group) if *group == name.0 => None,
                    _ => match values.iter().find(|(set, _)| *set == name) {
                        Some((_, value)) => value.clone(),
                        None => continue,
                    },
                };
                let values = open.get_mut(&name).expect("taken from there");
                values.insert(value);
                if item.is_sure() {
                    possible.insert(name.clone(), open.remove(&name).expect("taken from there"));
                }
            }
        }
        for (name, mut values) in open {
            values.insert(None);
            possible.insert(name, values);
        }
        possible
    }

    /// Where the first record lies that waits, or waits again when the power goes and nothing from `durable` on stays:
    /// up to there the log must stay, too.
    pub(crate) fn held_from(&self, durable: u64) -> Option<u64> {
        let waiting = self.waiting(durable).into_iter();
        let waiting = waiting.filter(|(_, must)| *must).map(|((_, position), _)| position);
        let halves = self.halves(durable).into_iter();
        let halves = halves.filter(|(_, half)| half.must).map(|(position, _)| position);
        waiting.chain(halves).min()
    }

    /// What ends before a position.
    fn before(&self, end: u64) -> impl Iterator<Item = &Item> {
        self.items.iter().take_while(move |item| item.end <= end)
    }

    /// Records that may wait by what ends before a position, by due time and position, and whether each must: an index
    /// file may have been influenced by what rotted later, up to any place.
    pub(crate) fn waiting(&self, end: u64) -> BTreeMap<(i64, u64), bool> {
        let mut waiting = BTreeMap::new();
        for item in self.before(end) {
            match &item.what {
                What::Message { queue, record, .. }
                    if [SCHEDULE_TOPIC, TIMER_TOPIC].contains(&&*queue.0) =>
                {
                    let due = RecordView::parse(record).expect("our own");
                    let key = (due.prepared_transaction_offset(), item.start);
                    waiting.insert(key, item.is_sure());
                }
                What::Delivered(due, position) | What::Carried(due, position) if item.is_sure() => {
                    waiting.remove(&(*due, *position));
                }
                What::Delivered(due, position) | What::Carried(due, position) => {
                    waiting.entry((*due, *position)).and_modify(|must| *must = false);
                }
                _ => {}
            }
        }
        waiting
    }

    /// Half messages that may be open by what ends before another position, by position.
    pub(crate) fn halves(&self, end: u64) -> BTreeMap<u64, MaybeOpen> {
        let mut open: BTreeMap<u64, MaybeOpen> = BTreeMap::new();
        for item in self.before(end) {
            match &item.what {
                What::Message { queue, record, .. } if queue.0 == HALF_TOPIC => {
                    let record = RecordView::parse(record).expect("our own");
                    let stands = Some((record.prepared_transaction_offset(), 0));
                    open.insert(item.start, MaybeOpen { must: item.is_sure(), stands });
                }
                What::HalfEnded(position) if item.is_sure() => {
                    open.remove(position);
                }
                What::HalfEnded(position) => {
                    open.entry(*position).and_modify(|half| half.must = false);
                }
                What::HalfChecked(checks) => {
                    for check in checks {
                        let stands = item.is_sure().then_some((check.due, check.checks));
                        open.entry(check.position).and_modify(|half| half.stands = stands);
                    }
                }
                _ => {}
            }
        }
        open
    }

    /// The half message that ended twice, if there is one.
    pub(crate) fn ended_twice(&self) -> Option<u64> {
        let mut ended = BTreeSet::new();
        let sure = self.items.iter().filter(|item| item.fate == Fate::Sure);
        let mut ends = sure.filter_map(|item| match item.what {
            What::HalfEnded(position) => Some(position),
            _ => None,
        });
        ends.find(|position| !ended.insert(*position))
    }

    /// Messages that were ever appended to a queue at an offset, and whether each must be readable when the log begins
    /// at `first`, whatever damage did to the rest of its topic.
    pub(crate) fn candidates(&self, name: &QueueName, first: u64) -> Vec<(i64, Placed, bool)> {
        let removed =
            |item: &Item| matches!(&item.what, What::TopicRemoved(topic) if *topic == name.0);
        let from = self.items.iter().rposition(removed).unwrap_or(0);
        let mut found = Vec::new();
        for (number, item) in self.items.iter().enumerate() {
            let What::Message { queue, offset, .. } = &item.what else { continue };
            if queue == name {
                let must = number >= from && item.is_sure() && !item.hit && item.start >= first;
                found.push((*offset, item.placed().expect("a message"), must));
            }
        }
        found
    }
}

impl Item {
    /// Whether other bytes are read where it stands. What cannot be read is zeros to the store: of a record that begins
    /// with the last byte of such a block, the first of its size, nothing is missing.
    fn is_changed(&self, rotten: &Rotten) -> bool {
        let bytes = rotten.bytes.start.max(self.start)..rotten.bytes.end.min(self.end);
        if bytes.is_empty() {
            return false;
        }
        let What::Message { record, .. } = &self.what else { return true };
        let within = (bytes.start - self.start) as usize..(bytes.end - self.start) as usize;
        let lost = record.get(within).unwrap_or_default();
        !rotten.reads_as_zeros || lost.iter().any(|byte| *byte != 0)
    }

    fn placed(&self) -> Option<Placed> {
        let What::Message { record, key, .. } = &self.what else { return None };
        let record = (!self.hit).then(|| record.clone());
        Some(Placed { position: self.start, end: self.end, record, key: *key })
    }
}
