//! Comparing what a store serves with the book: after a boot, and when a life has come to rest.
//!
//! Reads meet index files that rotted. Such a read may fail; after the store had time to make the file again it may not.

use super::{
    book::{Book, Placed, QueueName, QueueState, State},
    mutant::MutantDisk,
    work::{KEYS, key_name},
};
use proto::record::RecordView;
use runtime::sim::block_on;
use std::{future::ready, rc::Rc};
use store::{
    error::StoreError,
    lookup::KeyQuery,
    offset::POSITION_MAX,
    read::{PullLimits, PullPlan, PullStatus},
    store::Store,
};

/// Index files that one read may find damaged, one after the other.
const REBUILDS_MAX: u32 = 12;

/// A store and where its log may begin.
pub(super) struct Comparison<'a> {
    pub(super) store: &'a Store<MutantDisk>,
    /// Start of its first segment.
    pub(super) first: u64,
}

impl Comparison<'_> {
    /// Repeats a read until the index files that it needs have been made again.
    fn settled<T>(
        &self,
        what: &str,
        read: impl AsyncFn() -> Result<T, StoreError>,
    ) -> Result<T, String> {
        for _ in 0..REBUILDS_MAX {
            match block_on(read()) {
                Some(Ok(value)) => return Ok(value),
                Some(Err(StoreError::Malformed { .. })) => {
                    match block_on(self.store.index_once(&|| ready(()))) {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Err(format!("{what}: not made again: {error}")),
                        None => return Err(format!("{what}: making an index file again hangs")),
                    }
                }
                Some(Err(error)) => return Err(format!("{what}: {error}")),
                None => return Err(format!("{what} hangs")),
            }
        }
        Err(format!("{what}: an index file stays damaged"))
    }

    fn plan(&self, name: &QueueName, offset: i64) -> Result<PullPlan, String> {
        let limits = PullLimits { offset, count_max: 32, bytes_max: 1 << 16, scan_max: 64 };
        let pull = async || self.store.plan_pull_on_disk(&name.0, name.1, limits, |_| true).await;
        self.settled("planning", pull)
    }

    fn read(&self, plan: &PullPlan) -> Result<Vec<u8>, String> {
        self.settled("reading", async || {
            let mut bytes = Vec::new();
            self.store.read_cold(&plan.pieces, &mut bytes).await.map(|_| bytes)
        })
    }

    /// A queue is exactly what the book says.
    pub(super) fn queue(&self, name: &QueueName, expected: &QueueState) -> Result<(), String> {
        let plan = self.plan(name, 0)?;
        let (min, max) = (plan.min_offset, expected.next());
        let (least, most) = expected.min(self.first);
        if plan.max_offset != max || min < least || min > most {
            let found = (min, plan.max_offset);
            return Err(format!("offsets are {found:?}, not {least}..={most} and {max}"));
        }
        let mut offset = min;
        while offset < max {
            let plan = self.plan(name, offset)?;
            if plan.next_offset <= offset {
                return Err(format!("a pull from {offset} gets nowhere: {plan:?}"));
            }
            if self.read(&plan)? != expected.bytes(offset, plan.next_offset) {
                let found = offsets(&self.read(&plan)?);
                let wanted = offsets(&expected.bytes(offset, plan.next_offset));
                let next = plan.next_offset;
                return Err(format!(
                    "messages from {offset} to {next} are {found:?}, not {wanted:?}"
                ));
            }
            offset = plan.next_offset;
        }
        self.entries(name, expected, min)
    }

    /// Single entries are found, too: the first, the last, and what lies outside.
    fn entries(&self, name: &QueueName, expected: &QueueState, min: i64) -> Result<(), String> {
        let last = expected.next() - 1;
        for offset in [min - 1, min, (min + last) / 2, last, last + 1] {
            let entry = async || self.store.entry_at(&name.0, name.1, offset).await;
            let found = self.settled("looking up an entry", entry)?;
            let found = found.filter(|entry| entry.bytes() > 0).map(|entry| entry.position());
            let there = (min..=last).contains(&offset);
            let message = expected.messages.get(offset.max(0) as usize).filter(|_| there);
            let wanted = message.and_then(Option::as_ref).map(|message| message.position);
            if found != wanted {
                return Err(format!("the entry at {offset} is {found:?}, not {wanted:?}"));
            }
        }
        self.listed(name, expected, min)
    }

    /// All entries in a row, across memory and index files.
    fn listed(&self, name: &QueueName, expected: &QueueState, min: i64) -> Result<(), String> {
        let count = expected.messages.len() + 1;
        let list = async || self.store.entries_from(&name.0, name.1, min, count).await;
        let found = self.settled("listing entries", list)?;
        let found = found.iter().filter(|(_, entry)| entry.bytes() > 0);
        let found: Vec<(i64, u64)> = found.map(|(at, entry)| (*at, entry.position())).collect();
        let there = (0..).zip(&expected.messages).filter(|(at, _)| *at >= min);
        let wanted = there.filter_map(|(at, message)| Some((at, message.as_ref()?.position)));
        let wanted: Vec<(i64, u64)> = wanted.collect();
        match found == wanted {
            true => Ok(()),
            false => Err(format!("the entries from {min} on are {found:?}, not {wanted:?}")),
        }
    }

    /// A queue of which damage left several states possible: nothing is served that was not appended there, and what
    /// no damage touched is served. Returns what it is.
    pub(super) fn murky(&self, name: &QueueName, book: &Book) -> Result<QueueState, String> {
        let candidates = book.candidates(name, self.first);
        let plan = self.plan(name, 0)?;
        let (min, max) = (plan.min_offset, plan.max_offset);
        let mut state = QueueState { floor: min, messages: vec![None; max as usize] };
        let mut offset = min;
        while offset < max {
            let plan = self.plan(name, offset)?;
            if plan.status != PullStatus::Found && plan.status != PullStatus::NoMatchedMessage {
                return Err(format!("a pull from {offset} says {:?}", plan.status));
            }
            let bytes = self.read(&plan)?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let size = rest.first_chunk().map_or(0, |size| u32::from_be_bytes(*size)) as usize;
                let (record, behind) = rest.split_at_checked(size).ok_or("half a record")?;
                let (at, message) = known(record, &candidates)?;
                *state.messages.get_mut(at as usize).ok_or("beyond the end")? = Some(message);
                rest = behind;
            }
            offset = plan.next_offset;
        }
        let served = |position| state.messages.iter().flatten().any(|m| m.position == position);
        let missing = candidates.iter().find(|(_, m, must)| *must && !served(m.position));
        match missing {
            None => Ok(state),
            Some((at, message, _)) => Err(format!("{at} at {} is gone", message.position)),
        }
    }

    /// Messages are found by their keys, the newest first, and none of a topic that was deleted. `topics` are those of
    /// which the book is sure.
    pub(super) fn keys(&self, state: &State, topics: &[&str]) -> Result<u64, String> {
        let mut compared = 0;
        for (number, topic) in topics.iter().enumerate() {
            let key = number as u8 % KEYS;
            let count_max = if number % 2 == 0 { 3 } else { 1_000 };
            let mut wanted = with_key(state, topic, key, self.first);
            wanted.drain(..wanted.len().saturating_sub(count_max));
            let query = query(topic, key, count_max);
            let found = self
                .settled("a key", async || self.store.find_by_key(&query, &|| ready(())).await)?;
            let found: Vec<Vec<u8>> = found.into_iter().map(|(_, record)| record).collect();
            let wanted: Vec<Vec<u8>> = wanted
                .into_iter()
                .map(|message| message.record.as_deref().unwrap_or_default().to_vec())
                .collect();
            if found != wanted {
                let (found, wanted) = (offsets(&found.concat()), offsets(&wanted.concat()));
                return Err(format!("{topic}: by key {key} are {found:?}, not {wanted:?}"));
            }
            compared += wanted.len() as u64;
        }
        Ok(compared)
    }
}

/// Queue offsets and positions of records, for a reader.
fn offsets(mut records: &[u8]) -> Vec<(i64, u64)> {
    let mut found = Vec::new();
    while let Some(size) = records.first_chunk() {
        let size = u32::from_be_bytes(*size) as usize;
        let Some((record, rest)) = records.split_at_checked(size.max(1)) else { break };
        let view = RecordView::parse(record).ok();
        found.extend(view.map(|v| (v.queue_offset(), v.physical_offset() as u64 & POSITION_MAX)));
        records = rest;
    }
    found
}

/// A query for messages of any time.
pub(super) fn query(topic: &str, key: u8, count_max: usize) -> KeyQuery {
    let (topic, key) = (topic.into(), key_name(key).into());
    KeyQuery { topic, key, store_ms: (i64::MIN, i64::MAX), count_max, bytes_max: usize::MAX }
}

/// Readable messages with a key, in log order, in a log that begins at `first`.
pub(super) fn with_key(state: &State, topic: &str, key: u8, first: u64) -> Vec<Placed> {
    let queues = state.queues.iter().filter(|(name, _)| name.0 == topic);
    let messages = queues.flat_map(|(_, queue)| queue.messages.iter().flatten());
    let wanted = |message: &&Placed| {
        message.key == key && message.record.is_some() && message.position >= first
    };
    let mut found: Vec<Placed> = messages.filter(wanted).cloned().collect();
    found.sort_by_key(|message| message.position);
    found
}

/// A record that was served is one that was appended at the offset it names.
fn known(record: &[u8], candidates: &[(i64, Placed, bool)]) -> Result<(i64, Placed), String> {
    let view = RecordView::parse(record).map_err(|error| format!("no record: {error}"))?;
    let offset = view.queue_offset();
    let same =
        |placed: &Placed| placed.record.as_ref().is_some_and(|own: &Rc<[u8]>| **own == *record);
    let found = candidates.iter().find(|(at, placed, _)| *at == offset && same(placed));
    let (_, placed, _) = found.ok_or_else(|| format!("nobody appended what is at {offset}"))?;
    Ok((offset, placed.clone()))
}
