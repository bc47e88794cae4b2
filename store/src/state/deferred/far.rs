//! Records that wait beyond the horizon: too many for memory.
//!
//! They lie where all records of waiting topics lie, in the log, and are found by the entries of their queues, in index files and in the
//! newest part of the consume queues. Here they are counted, so that nothing that they need retires. When memory has room
//! again those that are due next are brought in ([`Loading`]): all entries are looked at, which the store does.
//!
//! What makes that right: a record at or behind the horizon waits, unless it is among those that are
//! [`Far::has_ended`]. For that the horizon never comes down to anything that was delivered: see `Deferred::floor`.

use super::{Key, Waiting};
use crate::layout::Layout;
use std::collections::{BTreeMap, BTreeSet};

/// A piece of a log of which nobody has said how it is divided, bytes.
const PIECE_BYTES: u64 = 1 << 16;

/// How many records wait, by where they lie. In a segment there may be fewer: an entry that ends the waiting of a record is
/// no proof that the record was ever seen, damage may have taken it along.
#[derive(Default)]
pub(super) struct Counts {
    layout: Option<Layout>,
    total: u64,
    /// In each segment, by where it begins.
    pieces: BTreeMap<u64, u64>,
    /// In each queue.
    queues: BTreeMap<u32, u64>,
}

impl Counts {
    /// None, in a log that is divided so.
    fn none(layout: Option<Layout>) -> Counts {
        Counts { layout, ..Counts::default() }
    }

    /// The log is divided so. To be said before anything is counted.
    pub(super) fn divide(&mut self, layout: Layout) {
        assert!(self.pieces.is_empty() || self.layout == Some(layout), "counted otherwise");
        self.layout = Some(layout);
    }

    /// Where the segment of a position begins.
    pub(super) fn piece(&self, position: u64) -> u64 {
        match self.layout {
            Some(layout) => layout.start_of(position),
            None => position - position % PIECE_BYTES,
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// One more.
    pub(super) fn add(&mut self, position: u64, queue_id: u32) {
        self.total += 1;
        *self.pieces.entry(self.piece(position)).or_default() += 1;
        *self.queues.entry(queue_id).or_default() += 1;
    }

    /// One less.
    pub(super) fn subtract(&mut self, position: u64, queue_id: u32) {
        self.total = self.total.saturating_sub(1);
        let piece = self.piece(position);
        subtract(&mut self.pieces, piece);
        subtract(&mut self.queues, queue_id);
    }

    /// Where the segment begins in which the oldest lies.
    pub(super) fn first(&self) -> Option<u64> {
        self.pieces.first_key_value().map(|(piece, _)| *piece)
    }

    /// Whether some may lie in a part of the log.
    pub(super) fn any_in(&self, from: u64, to: u64) -> bool {
        let from = self.piece(from);
        self.pieces.range(from..to.max(from + 1)).next().is_some()
    }

    pub(super) fn in_queue(&self, queue_id: u32) -> u64 {
        self.queues.get(&queue_id).copied().unwrap_or(0)
    }

    pub(super) fn in_queues_from(&self, queue_id: u32) -> u64 {
        self.queues.range(queue_id..).map(|(_, count)| count).sum()
    }

    /// One less, of a record that may not be counted: nothing that waits may count as gone.
    fn subtract_maybe(&mut self, queue_id: u32) {
        self.total = self.total.saturating_sub(1);
        subtract(&mut self.queues, queue_id);
    }

    /// None waits in the segments before the one of `position`.
    fn free_before(&mut self, position: u64) {
        let piece = self.piece(position);
        while self.pieces.first_key_value().is_some_and(|(first, _)| *first < piece) {
            self.pieces.pop_first();
        }
    }

    /// Adds those of others.
    fn add_all(&mut self, other: Counts) {
        self.total += other.total;
        for (piece, count) in other.pieces {
            *self.pieces.entry(piece).or_default() += count;
        }
        for (queue_id, count) in other.queues {
            *self.queues.entry(queue_id).or_default() += count;
        }
    }
}

/// One less under this key; what is nothing takes no memory.
fn subtract<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

/// The far records of a shard.
#[derive(Default)]
pub(super) struct Far {
    /// The first key that is far. `None`: none is.
    horizon: Option<Key>,
    /// Where the horizon was when the counts were taken over from a snapshot.
    counted_from: Option<Key>,
    counts: Counts,
    /// Far records that were delivered: a start meets such where memory had them when they were.
    delivered: BTreeSet<Key>,
    /// Far records that somebody is about to cancel.
    pub(super) cancelling: BTreeSet<Key>,
    loading: Option<Loading>,
}

/// The records that are due next are being looked for.
struct Loading {
    /// Those that were found.
    found: BTreeMap<Key, Waiting>,
    /// So many are wanted.
    room: usize,
    /// From here on there may be others: some were found and given up for nearer ones.
    bound: Option<Key>,
    /// What the search counts, of records before the first that was born since.
    counted: Counts,
    born_from: u64,
    /// What came since, and what memory gave up since: the search may have passed that before.
    since: Counts,
}

impl Loading {
    fn offer(&mut self, key: Key, waiting: Waiting) {
        if self.bound.is_some_and(|bound| key >= bound) {
            return;
        }
        self.found.insert(key, waiting);
        if self.found.len() > self.room
            && let Some((last, _)) = self.found.pop_last()
        {
            self.bound = Some(last);
        }
    }
}

impl Far {
    pub(super) fn horizon(&self) -> Option<Key> {
        self.horizon
    }

    /// See [`Counts::divide`].
    pub(super) fn divide(&mut self, layout: Layout) {
        self.counts.divide(layout);
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(super) fn is_far(&self, key: Key) -> bool {
        self.horizon.is_some_and(|horizon| key >= horizon)
    }

    pub(super) fn was_delivered(&self, key: Key) -> bool {
        self.delivered.contains(&key)
    }

    /// Those of which a snapshot tells.
    pub(super) fn delivered(&self) -> impl Iterator<Item = &Key> {
        self.delivered.iter()
    }

    /// A record was born that is far.
    pub(super) fn add(&mut self, key: Key, waiting: Waiting) {
        self.counts.add(key.1, waiting.queue_id);
        if let Some(loading) = &mut self.loading {
            loading.since.add(key.1, waiting.queue_id);
            loading.offer(key, waiting);
        }
    }

    /// The last record in memory becomes the first far one.
    pub(super) fn lower(&mut self, key: Key, waiting: Waiting) {
        self.horizon = Some(key);
        self.counts.add(key.1, waiting.queue_id);
        if let Some(loading) = &mut self.loading {
            loading.since.add(key.1, waiting.queue_id);
            loading.offer(key, waiting);
        }
    }

    /// A far record waits no more. Its queue is not known; a look at all of them sets the counts right.
    pub(super) fn end(&mut self, key: Key, was_delivered: bool, timers: u32) {
        let queues = &self.counts.queues;
        let of_timers = queues.range(timers..).next();
        let queue_id = of_timers.or_else(|| queues.iter().next()).map_or(0, |(id, _)| *id);
        self.counts.subtract_maybe(queue_id);
        if was_delivered {
            self.delivered.insert(key);
        }
        if let Some(loading) = &mut self.loading {
            loading.found.remove(&key);
        }
    }

    /// A snapshot says where the horizon was.
    pub(super) fn restore_horizon(&mut self, horizon: Key) {
        self.horizon = Some(horizon);
        self.counted_from = Some(horizon);
    }

    /// Whether a snapshot that has seen a record has counted it as far. One that is far only since is counted here.
    pub(super) fn was_counted(&self, key: Key) -> bool {
        self.counted_from.is_some_and(|from| key >= from)
    }

    /// It says how many wait in a segment.
    pub(super) fn restore_piece(&mut self, position: u64, count: u64) {
        let piece = self.counts.piece(position);
        *self.counts.pieces.entry(piece).or_default() += count;
    }

    /// It says how many wait in a queue.
    pub(super) fn restore_queue(&mut self, queue_id: u32, count: u64) {
        self.counts.total += count;
        *self.counts.queues.entry(queue_id).or_default() += count;
    }

    /// It says that a far record was delivered.
    pub(super) fn restore_delivered(&mut self, key: Key) {
        self.delivered.insert(key);
    }

    /// None waits before `position`.
    pub(super) fn free_before(&mut self, position: u64) {
        self.counts.free_before(position);
    }

    /// Where the segments begin in which some wait, and how many.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts.pieces.iter().map(|(piece, count)| (*piece, *count))
    }

    /// Queues in which some wait, and how many.
    pub(super) fn queues(&self) -> impl Iterator<Item = (u32, u64)> {
        self.counts.queues.iter().map(|(queue_id, count)| (*queue_id, *count))
    }

    pub(super) fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// A search begins for so many. Records from `born_from` on are born while it lasts.
    pub(super) fn begin(&mut self, room: usize, born_from: u64) {
        let layout = self.counts.layout;
        self.loading = Some(Loading {
            found: BTreeMap::new(),
            room,
            bound: None,
            counted: Counts::none(layout),
            born_from,
            since: Counts::none(layout),
        });
    }

    /// It ends without a result.
    pub(super) fn abandon(&mut self) {
        self.loading = None;
    }

    /// It has come to a far record that waits.
    pub(super) fn found(&mut self, key: Key, waiting: Waiting) {
        let Some(loading) = &mut self.loading else { return };
        if key.1 < loading.born_from {
            loading.counted.add(key.1, waiting.queue_id);
            loading.offer(key, waiting);
        }
    }

    /// It has looked at everything: how many wait is known anew.
    pub(super) fn end_search(&mut self) {
        let Some(loading) = &mut self.loading else { return };
        self.counts = std::mem::take(&mut loading.counted);
        self.counts.add_all(std::mem::take(&mut loading.since));
    }

    /// The next of those that were found; it is far no more. `None`: that was all.
    pub(super) fn take_found(&mut self) -> Option<(Key, Waiting)> {
        let loading = self.loading.as_mut()?;
        let next = loading.found.pop_first();
        let first = loading.found.first_key_value().map(|(key, _)| *key);
        self.horizon = first.or(loading.bound);
        match &next {
            Some((key, waiting)) => self.counts.subtract(key.1, waiting.queue_id),
            None => self.loading = None,
        }
        if self.horizon.is_none() {
            self.counts = Counts::none(self.counts.layout);
        }
        next
    }

    /// The last of those that were delivered and are far no more.
    pub(super) fn forget_delivered(&mut self) -> Option<Key> {
        let mut last = None;
        while let Some(first) = self.delivered.first().filter(|first| !self.is_far(**first)) {
            last = Some(*first);
            self.delivered.pop_first();
        }
        last
    }
}
