//! Making index files again from their segments, when they are missing or damaged.
//!
//! The log is scanned from the state that the index file before them describes. Queue numbers are names that later
//! index files use, too: a queue that was born in between gets the number that the next whole file gives it. Where
//! several neighbours are missing, that file is some way off, and what it knows may have been deleted and made again
//! meanwhile: they are scanned through first, to see who lives on.

use crate::{
    capture::Capture,
    error::StoreError,
    index::{Head, Index, IndexError, Outline, Row},
    indexing::IndexJob,
    recovery::{Segments, scan::Scan},
    settings::Settings,
    store::Store,
    store_state::StoreState,
};
use ahash::{AHashMap, AHashSet};
use runtime::Disk;
use std::{cell::RefCell, future::Future, ops::Range, rc::Rc};

/// Index files that were made again.
pub(crate) struct Rebuilt<D: Disk> {
    /// One for each range.
    pub(crate) indexes: Vec<Index<D>>,
    /// Bytes of their segments that are damaged.
    pub(crate) damaged_bytes: u64,
}

/// What is missing.
pub(crate) struct Missing<'a, D: Disk> {
    pub(crate) disk: &'a D,
    pub(crate) settings: &'a Settings,
    pub(crate) segments: &'a Segments<D>,
    /// One behind the other, each within one segment.
    pub(crate) ranges: Vec<Range<u64>>,
    /// What the index file says that ends where the first range begins.
    pub(crate) before: Option<Outline>,
    /// What the next index file says, or what the store in memory knows.
    pub(crate) after: Outline,
    /// Whether a segment is there; it may be retired meanwhile.
    pub(crate) is_there: &'a dyn Fn(u64) -> bool,
}

impl<D: Disk> Missing<'_, D> {
    /// Scans the ranges and writes the index file of each, in log order. `pause` lets others run.
    pub(crate) async fn rebuild<P, F>(mut self, pause: &P) -> Result<Rebuilt<D>, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let said = if self.ranges.len() > 1 { self.foresee(pause).await? } else { Vec::new() };
        let behind = said.into_iter().skip(1).chain([self.after.clone()]);
        let mut made = Rebuilt { indexes: Vec::new(), damaged_bytes: 0 };
        for (range, after) in self.ranges.clone().into_iter().zip(behind) {
            if let Some(last) = made.indexes.last() {
                self.before = Some(last.outline_paced(pause).await?);
            }
            let (index, damaged_bytes) = self.rebuild_one(&range, &after, pause).await?;
            made.damaged_bytes += damaged_bytes;
            made.indexes.push(index);
        }
        Ok(made)
    }

    async fn rebuild_one<P, F>(
        &self,
        range: &Range<u64>,
        after: &Outline,
        pause: &P,
    ) -> Result<(Index<D>, u64), StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let Missing { disk, settings, segments, .. } = *self;
        let mut scan = self.begin(settings);
        let known = scan.state.next_number;
        scan.known_range::<D, P, F>(segments, range.end, settings, pause).await?;
        adopt_numbers(&mut scan.state, after, known);
        let damaged_bytes = scan.report.damaged_bytes;
        let (shard, segment) = (settings.shard, settings.layout.start_of(range.start));
        if let Some(from) = scan.report.damaged_from.filter(|_| (self.is_there)(segment)) {
            tracing::error!(
                shard,
                from,
                damaged_bytes,
                "the log is damaged here; what it held is lost"
            );
        }
        let state = RefCell::new(scan.state);
        let capture: Capture = state.borrow().capture(range.end);
        let job = IndexJob { disk, settings, state: &state, capture: &capture };
        let mut writer = job.write(pause).await?.writer;
        // Whose topics live on, and the numbers of their queues, are known from the file behind.
        writer.influenced_by(range.end.max(after.head.influenced_by));
        let index = writer.finish().await?;
        tracing::warn!(
            shard = settings.shard,
            from = range.start,
            to = range.end,
            path = %index.path().display(),
            "an index file was missing or damaged and was made again"
        );
        Ok((index, damaged_bytes))
    }

    fn begin(&self, settings: &Settings) -> Scan {
        let mut scan = Scan::new(settings);
        scan.quiet = true;
        match &self.before {
            Some(before) => scan.go_on_from(before.clone(), &AHashMap::new()),
            None => {
                scan.begin_at(self.ranges.first().map_or(0, |range| range.start));
                // Offsets of groups that segments retired long ago had said: nothing else knows them.
                scan.take_states(&self.after.states);
            }
        }
        scan
    }

    /// What the file of each range will say of queues, in the numbers of the file behind them all. Queues that do not
    /// live on until then are left out.
    async fn foresee<P, F>(&self, pause: &P) -> Result<Vec<Outline>, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let settings = Settings { index_keys: false, ..self.settings.clone() };
        let mut scan = self.begin(&settings);
        let known = scan.state.next_number;
        let mut said = Vec::new();
        for range in &self.ranges {
            scan.known_range::<D, P, F>(self.segments, range.end, &settings, pause).await?;
            let capture = scan.state.capture(range.end);
            scan.state.indexed(&capture, range.end);
            let Capture { topics, rows, .. } = capture;
            said.push(Outline { head: self.after.head, topics, rows, states: Vec::new() });
        }
        let Some(last) = said.last() else { return Ok(said) };
        let numbers = numbers_in(&self.after, last, known);
        let mut died = Names::new();
        for outline in &mut said {
            let Outline { topics, rows, .. } = outline;
            rows.retain_mut(|row| {
                let known = (row.number < known).then_some(row.number);
                let number = numbers.get(&row.number).copied().or(known);
                row.number = number.unwrap_or(row.number);
                if let (None, Some(topic)) = (number, topics.get(row.topic as usize)) {
                    died.insert((topic.clone(), row.queue_id));
                }
                number.is_some()
            });
        }
        if self.before.is_none() {
            add_idle(&mut said, &self.after, &died);
        }
        Ok(said)
    }
}

/// Names of queues.
type Names = AHashSet<(Box<str>, u32)>;

fn by_name(outline: &Outline) -> AHashMap<(&str, u32), &Row> {
    let named = |row: &'_ Row| Some((outline.topics.get(row.topic as usize)?, row.queue_id));
    let mut rows = AHashMap::with_capacity(outline.rows.len());
    for row in &outline.rows {
        if let Some((topic, queue_id)) = named(row) {
            rows.insert((&**topic, queue_id), row);
        }
    }
    rows
}

/// The numbers that `after` gives to queues of `last`, the state right before it, that were born with a number from
/// `known` on or that are others than the queues known by those names.
fn numbers_in(after: &Outline, last: &Outline, known: u32) -> AHashMap<u32, u32> {
    let after = by_name(after);
    let mut numbers = AHashMap::new();
    for (name, row) in by_name(last) {
        let same = after.get(&name).filter(|same| same.start() >= row.next);
        if let Some(same) = same.filter(|same| row.number >= known || is_other(row.number, same)) {
            numbers.insert(row.number, same.number);
        }
    }
    numbers
}

/// Whether a queue that is known by `number` is another one in `row`, of the index file behind. A queue keeps its number as
/// long as it lives, and this one had messages before that file begins: the topic was deleted and made again, and
/// damage took the control entry along.
fn is_other(number: u32, row: &Row) -> bool {
    row.number != number && row.start() > 0
}

/// Adds to each of `said`, which follow each other up to `after`, the queues that only a later one knows although they
/// are older: their messages up to there all went before the log begins. By a name of those that `died` a later one knows
/// another queue, the first messages of which are lost.
fn add_idle(said: &mut [Outline], after: &Outline, died: &Names) {
    for at in (0..said.len()).rev() {
        let (said, behind) = said.split_at_mut(at + 1);
        let (Some(outline), next) = (said.last_mut(), behind.first().unwrap_or(after)) else {
            return;
        };
        let numbers: AHashSet<u32> = outline.rows.iter().map(|row| row.number).collect();
        let named = by_name(outline);
        let older = |(name, row): &(_, &Row)| {
            let is_other = named.contains_key(name) || died.contains(&(name.0.into(), name.1));
            row.start() > 0 && !numbers.contains(&row.number) && !is_other
        };
        let idle: Vec<(Box<str>, Row)> = by_name(next)
            .into_iter()
            .filter(older)
            .map(|((topic, _), row)| {
                (topic.into(), Row { count: 0, first: 0, next: row.start(), ..*row })
            })
            .collect();
        for (topic, row) in idle {
            outline.rows.push(Row { topic: outline.topics.len() as u32, ..row });
            outline.topics.push(topic);
        }
    }
}

/// Gives queues that were born in the range the numbers that the next index file knows them by. Those that it does not
/// know belonged to a topic that was deleted before it was written: nobody can ask for them. It is right, too, where it
/// knows another queue by a name than the one that lived before the range.
fn adopt_numbers(state: &mut StoreState, after: &Outline, known: u32) {
    let rows = by_name(after);
    for (topic, queue_id, number) in state.numbered_queues() {
        let next = state.queue(&topic, queue_id).map_or(0, |queue| queue.max());
        let row = rows.get(&(&*topic, queue_id));
        if number < known && !row.is_some_and(|row| is_other(number, row)) {
            continue;
        }
        // Its last messages here may be lost to damage: the next file then begins behind them.
        match row.filter(|row| row.start() >= next) {
            Some(row) => state.renumber(&topic, queue_id, row.number),
            None => state.forget_queue(&topic, queue_id),
        }
    }
    // Queues whose messages before the next file all went, with segments or by damage, still have their next offset.
    for ((topic, queue_id), row) in rows {
        if row.start() > 0 && state.queue(topic, queue_id).is_none() {
            state.restore_queue(topic, row, row.start(), row.start());
        }
    }
    state.next_number = state.next_number.max(after.head.next_number);
}

impl StoreState {
    /// The names of all queues in index files and the states of the shard, for the file of `head`, which is the
    /// newest: as if one behind it said so that has no entries.
    fn known_numbers(&self, head: Head) -> Outline {
        let (mut topics, mut rows) = (Vec::new(), Vec::new());
        for topic in self.topics() {
            for slot in self.queues.queues_of(topic) {
                let queue = &self.queues[slot];
                let Some(number) = queue.number().filter(|_| queue.in_index) else { continue };
                rows.push(Row {
                    number,
                    topic: topics.len() as u32,
                    queue_id: queue.queue_id,
                    count: 0,
                    first: 0,
                    next: queue.indexed,
                    last_store_ms: queue.last_store_ms,
                });
            }
            topics.push(topic.into());
        }
        let next_number = self.numbers_in_index;
        let head = Head { next_number, influenced_by: self.log.appended(), ..head };
        Outline { head, topics, rows, states: self.derived.snapshot() }
    }
}

impl<D: Disk> Store<D> {
    /// What an index file says when it is read. One that turns out to be damaged is made again by
    /// [`Store::index_loop`].
    pub(crate) fn note_if_damaged<T>(
        &self,
        index: &Index<D>,
        read: Result<T, IndexError>,
    ) -> Result<T, StoreError> {
        let error = match read {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if error.is_damage() {
            tracing::error!(shard = self.settings.shard, %error, "an index file is damaged");
            self.note_damaged(index.head().from);
        }
        Err(error.into())
    }

    /// The index file that begins at `from` is to be made again.
    pub(crate) fn note_damaged(&self, from: u64) {
        let mut damaged = self.indexes.damaged.borrow_mut();
        if !damaged.contains(&from) {
            damaged.push(from);
        }
        drop(damaged);
        self.indexes.wanted.raise();
    }

    /// Makes a damaged index file again, and those beside it that it cannot be made without. Returns whether there was
    /// one.
    pub(crate) async fn rebuild_damaged<P, F>(&self, pause: &P) -> Result<bool, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        if self.indexes.resting.get() {
            return Ok(false);
        }
        let Some(from) = self.indexes.damaged.borrow().iter().min().copied() else {
            return Ok(false);
        };
        // Others may be retired meanwhile, from the oldest on.
        let indexes: Vec<Rc<Index<D>>> = self.indexes.files.borrow().clone();
        let Some(at) = indexes.iter().position(|index| index.head().from == from) else {
            self.indexes.damaged.borrow_mut().retain(|other| *other != from);
            return Ok(true);
        };
        let (older, newer) = (&indexes[..at], &indexes[at + 1..]);
        let (before, beside) = self.readable(older.iter().rev(), pause).await?;
        let first = at - beside;
        let (after, beside) = self.readable(newer.iter(), pause).await?;
        let damaged = &indexes[first..=at + beside];
        let after = match (after, damaged.last()) {
            (Some(after), _) => after,
            (None, Some(newest)) => self.known_in_memory(*newest.head()).await?,
            (None, None) => unreachable!("at least one is damaged"),
        };
        let segments: Segments<D> = self.segments.files.borrow().clone();
        let ranges = damaged.iter().map(|index| index.head().from..index.head().to).collect();
        let (disk, settings, segments) = (&self.disk, &self.settings, &segments);
        let is_there = &|segment| self.segments.contains(segment);
        let missing = Missing { disk, settings, segments, ranges, before, after, is_there };
        let made = missing.rebuild(pause).await?;
        for (old, new) in damaged.iter().zip(made.indexes) {
            self.replace(old, new);
        }
        Ok(true)
    }

    /// What the first of `indexes` says that is not damaged, and how many are before it.
    async fn readable<'a, P, F>(
        &self,
        indexes: impl Iterator<Item = &'a Rc<Index<D>>>,
        pause: &P,
    ) -> Result<(Option<Outline>, usize), StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let mut damaged = 0;
        for index in indexes {
            let outline = index.outline_paced(pause).await;
            match self.note_if_damaged(index, outline) {
                Ok(outline) => return Ok((Some(outline), damaged)),
                Err(StoreError::Malformed { .. }) => damaged += 1,
                Err(error) => return Err(error),
            }
        }
        Ok((None, damaged))
    }

    /// What memory knows of the state at the end of the newest index file.
    async fn known_in_memory(&self, newest: Head) -> Result<Outline, StoreError> {
        let (known, appended) = {
            let state = self.state.borrow();
            (state.known_numbers(newest), state.log.appended())
        };
        // A deletion that is not durable yet must not reach an index file.
        self.wait_durable(appended).await?;
        Ok(known)
    }

    /// Puts an index file in the place of a damaged one, if that is not retired.
    fn replace(&self, old: &Rc<Index<D>>, new: Index<D>) {
        self.indexes.blocks.forget(old);
        self.indexes.damaged.borrow_mut().retain(|from| *from != old.head().from);
        self.tally.rebuilt_indexes.set(self.tally.rebuilt_indexes.get() + 1);
        let mut indexes = self.indexes.files.borrow_mut();
        if let Some(place) = indexes.iter_mut().find(|index| Rc::ptr_eq(index, old)) {
            *place = Rc::new(new);
        }
    }
}
