//! Finding what has left memory: entries of old messages, messages by key, offsets by time.
//!
//! Index files are asked in the order that makes sense for the question: by halving for a queue offset, newest first
//! for a key. A lookup owns the files that it reads, so that they may be replaced or retired under it; what went
//! meanwhile is answered as gone.

use crate::{
    consume_queue::{Entry, record_check},
    error::StoreError,
    index::{Index, Row, key_hash},
    join_bounded::join_bounded,
    offset::PhysicalOffset,
    read::{Picking, Planned, PullLimits, PullPlan, PullStatus},
    store::Store,
};
use proto::record::{RecordView, records};
use runtime::Disk;
use std::{future::Future, rc::Rc};

/// Records that a filter over properties is shown at once, from the disk, and their bytes.
const LOOK_AT_ONCE: usize = 64;
const LOOK_BYTES_AT_ONCE: usize = 256 * 1024;
/// Entries taken from index files at once.
const ENTRIES_MAX: usize = 256;
/// Candidates by hash that a key search takes from memory or from one index file before it asks for more.
const CANDIDATES_AT_ONCE: usize = 4_096;
/// Index files that one key search asks at a time.
const FILES_AT_ONCE: usize = 8;
/// Candidates that it looks at between two pauses.
const RECORDS_AT_ONCE: usize = 16;

/// Messages wanted by key.
#[derive(Clone, Debug)]
pub struct KeyQuery {
    /// Topic.
    pub topic: Box<str>,
    /// One of the message's keys, or its unique key.
    pub key: Box<str>,
    /// Oldest and newest store timestamp, ms.
    pub store_ms: (i64, i64),
    /// Most messages; the newest are taken.
    pub count_max: usize,
    /// Most bytes of their records, but for a single one that is larger.
    pub bytes_max: usize,
}

/// What a search by key has found so far, newest first.
#[derive(Default)]
struct Keyed {
    records: Vec<(i64, Vec<u8>)>,
    bytes: usize,
    /// No more are wanted.
    full: bool,
    /// Among those that were looked at last were some of another time: others will be, and their time is read first.
    untimely: bool,
}

impl Keyed {
    fn take(&mut self, query: &KeyQuery, store_ms: i64, record: Vec<u8>) {
        let bytes = self.bytes + record.len();
        self.full = bytes > query.bytes_max && !self.records.is_empty();
        if !self.full {
            self.bytes = bytes;
            self.records.push((store_ms, record));
            self.full = self.records.len() >= query.count_max;
        }
    }
}

/// Entries from disk.
struct Found {
    /// Queue offset of the first one; later than asked for when what lay between is lost.
    offset: i64,
    entries: Vec<Entry>,
}

impl<D: Disk> Store<D> {
    /// Plans a pull whose first entries are in index files; otherwise as [`crate::StoreState::plan_pull`].
    pub async fn plan_pull_on_disk(
        &self,
        topic: &str,
        queue_id: u32,
        limits: PullLimits,
        mut matches: impl FnMut(i64) -> bool,
    ) -> Result<PullPlan, StoreError> {
        let mut picking = Picking::new(limits, Vec::new());
        loop {
            if picking.next == limits.offset {
                // Nothing was looked at yet: whatever memory says is the whole answer.
                let state = self.state.borrow();
                let planned = state.plan_pull(topic, queue_id, limits, Vec::new(), &mut matches);
                if let Planned::Now(plan) = planned {
                    return Ok(plan);
                }
            } else {
                self.pick_resident(&mut picking, topic, queue_id, &mut matches);
            }
            let count = picking.scan_left().min(ENTRIES_MAX);
            let on_disk = picking.hungry();
            let found = if on_disk {
                self.entries_on_disk(topic, queue_id, picking.next, count).await?
            } else {
                None
            };
            let Some(found) = found else {
                if picking.next == limits.offset {
                    // It was retired this very moment: memory knows by now.
                    continue;
                }
                return Ok(self.finish(picking, topic, queue_id));
            };
            picking.next = found.offset;
            for entry in found.entries {
                if !picking.take(entry, &mut matches) {
                    return Ok(self.finish(picking, topic, queue_id));
                }
            }
        }
    }

    /// The same for a filter that has to see whole records, which are read for it: as
    /// [`crate::StoreState::plan_pull_by_record`].
    pub async fn plan_pull_by_record_on_disk(
        &self,
        topic: &str,
        queue_id: u32,
        limits: PullLimits,
        look_bytes: usize,
        selects: impl Fn(&[u8]) -> bool,
    ) -> Result<PullPlan, StoreError> {
        let mut picking = Picking::new(limits, Vec::new());
        let (mut scanned, mut looked) = (0, 0);
        let mut bytes = Vec::new();
        while scanned < limits.scan_max && looked <= look_bytes {
            let count = LOOK_AT_ONCE.min(limits.scan_max - scanned);
            let (offset, bytes_max) = (picking.next, LOOK_BYTES_AT_ONCE.min(look_bytes));
            let chunk = PullLimits { offset, count_max: count, bytes_max, scan_max: count };
            let plan = self.plan_pull_on_disk(topic, queue_id, chunk, |_| true).await?;
            match plan.status {
                PullStatus::Found | PullStatus::NoMatchedMessage => {}
                _ if picking.next == limits.offset => return Ok(plan),
                _ => break,
            }
            bytes.clear();
            self.read_cold(&plan.pieces, &mut bytes).await?;
            // Records of what is damaged are missing.
            let mut entries = plan.pieces.iter();
            for record in records(&bytes).filter_map(Result::ok) {
                let place = record.physical_offset();
                let is_its = |entry: &&Entry| {
                    PhysicalOffset::new(self.settings.shard, entry.position()).to_wire() == place
                };
                if let Some(entry) = entries.find(is_its)
                    && selects(record.bytes())
                    && !picking.offer(*entry, record.queue_offset())
                {
                    return Ok(self.finish(picking, topic, queue_id));
                }
            }
            scanned += usize::try_from(plan.next_offset - offset).unwrap_or(count);
            looked += plan.bytes;
            picking.next = plan.next_offset;
        }
        Ok(self.finish(picking, topic, queue_id))
    }

    fn pick_resident(
        &self,
        picking: &mut Picking,
        topic: &str,
        queue_id: u32,
        matches: &mut impl FnMut(i64) -> bool,
    ) {
        let state = self.state.borrow();
        let Some(queue) = state.queue(topic, queue_id) else { return };
        while let Some(entry) = queue.get(picking.next) {
            if !picking.take(entry, matches) {
                return;
            }
        }
    }

    fn finish(&self, picking: Picking, topic: &str, queue_id: u32) -> PullPlan {
        let state = self.state.borrow();
        let bounds = state.queue(topic, queue_id).map(|queue| (queue.min(), queue.max()));
        let (min, max) = bounds.unwrap_or_default();
        picking.plan(min, max)
    }

    /// The entry at a queue offset, from memory or from the disk. `None`: there is no such message any more.
    pub async fn entry_at(
        &self,
        topic: &str,
        queue_id: u32,
        offset: i64,
    ) -> Result<Option<Entry>, StoreError> {
        if let Some(entry) =
            self.state.borrow().queue(topic, queue_id).and_then(|queue| queue.get(offset))
        {
            return Ok(Some(entry));
        }
        let found = self.entries_on_disk(topic, queue_id, offset, 1).await?;
        let found = found.filter(|found| found.offset == offset);
        Ok(found.and_then(|found| found.entries.first().copied()))
    }

    /// Up to `count_max` entries from `offset` on with their offsets, from memory or from the disk. Those that were retired or
    /// lost with their segment are missing.
    pub async fn entries_from(
        &self,
        topic: &str,
        queue_id: u32,
        offset: i64,
        count_max: usize,
    ) -> Result<Vec<(i64, Entry)>, StoreError> {
        let (mut entries, mut next) = (Vec::new(), offset);
        while entries.len() < count_max {
            if self.push_resident(&mut entries, topic, queue_id, &mut next, count_max) {
                continue;
            }
            let count = (count_max - entries.len()).min(ENTRIES_MAX);
            let found = self.entries_on_disk(topic, queue_id, next, count).await?;
            // Nothing is there and nothing was passed: that was the end.
            let Some(found) = found.filter(|it| it.offset > next || !it.entries.is_empty()) else {
                break;
            };
            let numbered = (found.offset..).zip(found.entries);
            entries.extend(numbered);
            next = entries.last().map_or(found.offset, |(last, _)| found.offset.max(last + 1));
        }
        Ok(entries)
    }

    /// Adds what memory holds from `next` on, and moves it. False: nothing.
    fn push_resident(
        &self,
        entries: &mut Vec<(i64, Entry)>,
        topic: &str,
        queue_id: u32,
        next: &mut i64,
        count_max: usize,
    ) -> bool {
        let (before, state) = (*next, self.state.borrow());
        let Some(queue) = state.queue(topic, queue_id) else { return false };
        while entries.len() < count_max
            && let Some(entry) = queue.get(*next)
        {
            entries.push((*next, entry));
            *next += 1;
        }
        *next > before
    }

    /// Up to `count_max` entries at `offset`, which is not in memory. `None`: look again, it has been retired or its
    /// queue is gone.
    async fn entries_on_disk(
        &self,
        topic: &str,
        queue_id: u32,
        offset: i64,
        count_max: usize,
    ) -> Result<Option<Found>, StoreError> {
        let place = self.state.borrow().place_on_disk(topic, queue_id, offset);
        let Some((number, resident)) = place else { return Ok(None) };
        let mut found = Found { offset: resident, entries: Vec::new() };
        if let Some((index, row)) = self.index_with(number, offset).await? {
            // What lies between the rows of two files was lost with its segment.
            found.offset = offset.max(row.start());
            if found.offset < row.next {
                let blocks = &self.indexes.blocks;
                let entries = &mut found.entries;
                let answer = index.entries(blocks, &row, found.offset, count_max, entries).await;
                self.note_if_damaged(&index, answer)?;
            }
        }
        Ok(Some(found))
    }

    /// The index file with the first entry of a queue at or behind `offset`, and the queue's row there.
    async fn index_with(
        &self,
        number: u32,
        offset: i64,
    ) -> Result<Option<(Rc<Index<D>>, Row)>, StoreError> {
        let indexes: Vec<Rc<Index<D>>> = self.indexes.files.borrow().clone();
        let (mut low, mut high) = (0, indexes.len());
        let mut best = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let answer = indexes[middle].row(&self.indexes.blocks, number).await;
            let row = self.note_if_damaged(&indexes[middle], answer)?;
            match row.filter(|row| row.next > offset) {
                Some(row) => {
                    best = Some((Rc::clone(&indexes[middle]), row));
                    high = middle;
                }
                None => low = middle + 1,
            }
        }
        Ok(best)
    }

    /// Records of messages with a key, the newest of them in log order, with their store timestamps. `pause` lets others
    /// run: any number of messages may share a key.
    pub async fn find_by_key<P, F>(
        &self,
        query: &KeyQuery,
        pause: &P,
    ) -> Result<Vec<(i64, Vec<u8>)>, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        if query.count_max == 0 {
            return Ok(Vec::new());
        }
        let hash = key_hash(&query.topic, &query.key);
        let mut found = Keyed::default();
        let mut before = u64::MAX;
        let wanted = loop {
            // Taken together: an index file that is written meanwhile takes keys out of memory, and is then among these.
            let (positions, files) = self.keys_in_memory(query, hash, before);
            before = positions.last().copied().unwrap_or(before);
            let more = positions.len() == CANDIDATES_AT_ONCE;
            self.take_candidates(query, positions, &mut found, pause).await?;
            if found.full || !more {
                break files;
            }
        };
        for some in wanted.chunks(FILES_AT_ONCE) {
            if found.full {
                break;
            }
            let asked = some.iter().map(|index| self.positions(index, hash, before));
            for (index, answer) in some.iter().zip(join_bounded(asked, FILES_AT_ONCE).await) {
                let mut positions = answer?;
                while let (false, Some(last)) = (found.full, positions.last().copied()) {
                    let more = positions.len() == CANDIDATES_AT_ONCE;
                    self.take_candidates(query, positions, &mut found, pause).await?;
                    positions = match more && !found.full {
                        true => self.positions(index, hash, last).await?,
                        false => Vec::new(),
                    };
                }
            }
        }
        found.records.reverse();
        Ok(found.records)
    }

    /// Positions of candidates in memory before `before`, newest first, and the index files that may hold older ones, as
    /// of the same moment.
    fn keys_in_memory(
        &self,
        query: &KeyQuery,
        hash: u32,
        before: u64,
    ) -> (Vec<u64>, Vec<Rc<Index<D>>>) {
        let mut positions = Vec::new();
        let state = self.state.borrow();
        let before = before.min(state.log.committed());
        state.keys.find(hash, before, |position| {
            positions.push(position);
            positions.len() < CANDIDATES_AT_ONCE
        });
        let indexes = self.indexes.files.borrow();
        let files = indexes.iter().rev().filter(|index| query.may_be_in(index)).cloned().collect();
        (positions, files)
    }

    async fn positions(
        &self,
        index: &Index<D>,
        hash: u32,
        before: u64,
    ) -> Result<Vec<u64>, StoreError> {
        let mut positions = Vec::new();
        let answer = index.positions(hash, before, CANDIDATES_AT_ONCE, &mut positions).await;
        self.note_if_damaged(index, answer).map(|()| positions)
    }

    /// Reads the messages at `positions`, newest first, and keeps those that are really wanted.
    async fn take_candidates<P, F>(
        &self,
        query: &KeyQuery,
        mut positions: Vec<u64>,
        found: &mut Keyed,
        pause: &P,
    ) -> Result<(), StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        // A message may carry the same key twice.
        positions.dedup();
        for some in positions.chunks(RECORDS_AT_ONCE) {
            if found.full {
                break;
            }
            let times = match found.untimely {
                true => self.store_timestamps(some).await?,
                false => Vec::new(),
            };
            found.untimely = false;
            for (number, position) in some.iter().enumerate() {
                let time = times.get(number).copied().flatten();
                if time.is_some_and(|time| !query.is_in_time(time)) {
                    found.untimely = true;
                } else if !found.full {
                    self.take_candidate(query, *position, found).await?;
                }
            }
            pause().await;
        }
        Ok(())
    }

    async fn take_candidate(
        &self,
        query: &KeyQuery,
        position: u64,
        found: &mut Keyed,
    ) -> Result<(), StoreError> {
        let Some(record) = self.record_at(position).await? else { return Ok(()) };
        let Ok(view) = RecordView::parse(&record) else { return Ok(()) };
        let store_ms = view.store_timestamp();
        found.untimely |= !query.is_in_time(store_ms);
        if query.wants(&view) && self.is_live(&view, position, &record).await? {
            found.take(query, store_ms, record);
        }
        Ok(())
    }

    /// Whether a record belongs to a queue as it is now, not to a deleted topic of the same name, and is what was
    /// appended.
    async fn is_live(
        &self,
        view: &RecordView<'_>,
        position: u64,
        record: &[u8],
    ) -> Result<bool, StoreError> {
        let Ok(queue_id) = u32::try_from(view.queue_id()) else { return Ok(false) };
        let entry = self.entry_at(view.topic(), queue_id, view.queue_offset()).await?;
        Ok(entry.is_some_and(|entry| {
            entry.position() == position && entry.check() == record_check(record)
        }))
    }
}

impl KeyQuery {
    fn may_be_in<D: Disk>(&self, index: &Index<D>) -> bool {
        let (head, (oldest, newest)) = (index.head(), self.store_ms);
        index.key_count() > 0 && head.last_store_ms >= oldest && head.first_store_ms <= newest
    }

    fn is_in_time(&self, store_ms: i64) -> bool {
        let (oldest, newest) = self.store_ms;
        (oldest..=newest).contains(&store_ms)
    }

    fn wants(&self, view: &RecordView<'_>) -> bool {
        self.is_in_time(view.store_timestamp())
            && view.topic() == &*self.topic
            && keys_of(view.properties_text()).any(|key| key == &*self.key)
    }
}

/// Keys of a message, from its properties.
pub fn keys_of(properties: &str) -> impl Iterator<Item = &str> {
    let unique = proto::properties::get(properties, proto::properties::UNIQ_KEY);
    let keys = proto::properties::get(properties, proto::properties::KEYS);
    split_keys(unique, keys)
}

/// Keys of a message, from the values of `UNIQ_KEY` and `KEYS`.
pub fn split_keys<'a>(
    unique: Option<&'a str>,
    keys: Option<&'a str>,
) -> impl Iterator<Item = &'a str> {
    let keys = keys.into_iter().flat_map(|keys| keys.split(' '));
    unique.into_iter().chain(keys).filter(|key| !key.is_empty())
}
