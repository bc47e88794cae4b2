//! Making an index file again from its segment, when it is missing or damaged.
//!
//! The segment is scanned from the state that the index file before it describes. Queue numbers are names that later
//! index files use, too: a queue that was born in between gets the number that the next file gives it.

use crate::{
    capture::Capture,
    core::Core,
    error::StoreError,
    index::{Head, Index, IndexError, Outline, Row},
    indexing::IndexJob,
    recovery::{Segments, scan::Scan},
    store::{Settings, Store},
};
use ahash::AHashMap;
use runtime::Disk;
use std::{cell::RefCell, future::Future, ops::Range, rc::Rc};

/// An index file that was made again.
pub(crate) struct Rebuilt<D: Disk> {
    pub(crate) index: Index<D>,
    /// Bytes of its segment that are damaged.
    pub(crate) damaged_bytes: u64,
}

/// Scans `range` of one segment and writes the index file of it. `before` ends where the range begins. `after` is what
/// an index file says that begins somewhere behind its end, or what the store in memory knows.
pub(crate) async fn rebuild<D, P, F>(
    disk: &D,
    settings: &Settings,
    segments: &Segments<D>,
    range: Range<u64>,
    before: Option<&Index<D>>,
    after: Option<Outline>,
    pause: &P,
) -> Result<Rebuilt<D>, StoreError>
where
    D: Disk,
    P: Fn() -> F,
    F: Future<Output = ()>,
{
    let mut scan = Scan::new(settings);
    match before {
        Some(before) => scan.go_on_from(before.outline().await?, &AHashMap::new()),
        None => scan.begin_at(range.start),
    }
    let known = scan.core.next_number;
    if let (None, Some(after)) = (before, after.as_ref()) {
        // Offsets of groups that segments retired long ago had said: nothing else knows them.
        scan.take_offsets(&after.offsets);
    }
    scan.known_range(segments, range.end, settings).await?;
    if let Some(after) = &after {
        adopt_numbers(&mut scan.core, after, known, before.is_none());
    }
    let damaged_bytes = scan.report.damaged_bytes;
    let core = RefCell::new(scan.core);
    let capture: Capture = core.borrow().capture(range.end);
    let job = IndexJob { disk, settings, core: &core, capture: &capture };
    let index = job.write(pause).await?.writer.finish().await?;
    tracing::warn!(
        shard = settings.shard,
        from = range.start,
        to = range.end,
        path = %index.path().display(),
        "an index file was missing or damaged and was made again"
    );
    Ok(Rebuilt { index, damaged_bytes })
}

/// Gives queues that were born in the range the numbers that the next index file knows them by. Those that it does not
/// know belonged to a topic that was deleted before it was written: nobody can ask for them.
fn adopt_numbers(core: &mut Core, after: &Outline, known: u32, first: bool) {
    let mut rows: AHashMap<(&str, u32), _> = AHashMap::new();
    for row in &after.rows {
        if let Some(topic) = after.topics.get(row.topic as usize) {
            rows.insert((topic, row.queue_id), row);
        }
    }
    let born = core.queues_numbered_from(known);
    for (topic, queue_id) in &born {
        let queue_id = *queue_id;
        let next = core.queue(topic, queue_id).map_or(0, |queue| queue.max());
        // Its last messages here may be lost to damage: the next file then begins behind them.
        match rows.remove(&(&**topic, queue_id)).filter(|row| row.start() >= next) {
            Some(row) => core.renumber(topic, queue_id, row.number),
            None => core.forget_queue(topic, queue_id),
        }
    }
    if first {
        // Nothing before is known: queues whose messages all went earlier still have their next offset.
        for ((topic, queue_id), row) in rows {
            if row.start() > 0 && core.queue(topic, queue_id).is_none() {
                core.restore_queue(topic, row, row.start(), row.start());
            }
        }
    }
    core.next_number = core.next_number.max(after.head.next_number);
}

impl Core {
    /// The names of all queues in index files and the offsets of groups in the log, for the file of `head`, which is the
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
        let head = Head { next_number: self.numbers_in_index, ..head };
        let mut offsets = Vec::new();
        for group in self.offsets.groups() {
            self.offsets.snapshot(&group, &mut offsets);
        }
        Outline { head, topics, rows, offsets }
    }
}

impl<D: Disk> Store<D> {
    /// What an index file says when it is read. One that turns out to be damaged is made again by
    /// [`Store::index_loop`].
    pub(crate) fn told<T>(
        &self,
        index: &Index<D>,
        told: Result<T, IndexError>,
    ) -> Result<T, StoreError> {
        let error = match told {
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
        let mut damaged = self.damaged.borrow_mut();
        if !damaged.contains(&from) {
            damaged.push(from);
        }
        drop(damaged);
        self.index_wanted.raise();
    }

    /// Makes damaged index files again. Returns whether there was one.
    pub(crate) async fn rebuild_damaged<P, F>(&self, pause: &P) -> Result<bool, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let Some(from) = self.damaged.borrow_mut().pop() else { return Ok(false) };
        let at = self.indexes.borrow().iter().position(|index| index.head().from == from);
        let Some(at) = at else { return Ok(true) };
        let (before, damaged, after) = {
            let indexes = self.indexes.borrow();
            let before = at.checked_sub(1).and_then(|before| indexes.get(before)).cloned();
            (before, Rc::clone(&indexes[at]), indexes.get(at + 1).cloned())
        };
        let range = from..damaged.head().to;
        let segments: Segments<D> = self.segments.borrow().clone();
        let after = match after {
            Some(after) => {
                let outline = after.outline().await;
                self.told(&after, outline)?
            }
            None => {
                let (known, appended) = {
                    let core = self.core.borrow();
                    (core.known_numbers(*damaged.head()), core.log.appended())
                };
                // A deletion that is not durable yet must not reach an index file.
                self.wait_durable(appended).await?;
                known
            }
        };
        let (disk, settings, before) = (&self.disk, &self.settings, before.as_deref());
        let made = rebuild(disk, settings, &segments, range, before, Some(after), pause).await?;
        self.tally.rebuilt_indexes.set(self.tally.rebuilt_indexes.get() + 1);
        self.index_blocks.forget(&damaged);
        let mut indexes = self.indexes.borrow_mut();
        if let Some(place) = indexes.iter_mut().find(|index| index.head().from == from) {
            *place = Rc::new(made.index);
        }
        Ok(true)
    }
}
