//! Retention: letting go of whole segments, the oldest first, and what a disk that fills up means.
//!
//! [`Policy::verdict`] decides, from numbers alone. [`Store::retire_oldest`] carries it out beside live traffic: first
//! offsets move, then the segment's file is put aside for the log to come, or removed when the disk needs the room,
//! then it leaves the tables, and its index goes. A crash in between leaves a segment more or an index file
//! less, and the next start puts that right.
//!
//! A disk that fills up is answered in steps: a warning, early deletion, no more messages. Who consumes goes on, and
//! so do their offsets. Each step is taken back by itself when there is room again.

use crate::{
    clock_watch::{ClockWatch, Doubt, PARTED_MS_MAX},
    error::StoreError,
    index::{Index, Outline, Row},
    segments::{SPARES_MAX, is_spare, spare_path},
    settings::Settings,
    space::Space,
    state::group_offsets::Place,
    store::Store,
    store_state::QueueSlot,
};
use ahash::AHashMap;
use runtime::{Disk, Usage};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    path::PathBuf,
    rc::Rc,
};

/// Rows looked at between two pauses.
const PIECE_ROWS: usize = 512;

/// Pause between two lines that say that the wall clock is not believed, ms.
const DOUBT_LOG_MS: i64 = 3_600_000;

/// What is known of clocks, to tell how old a segment is.
#[derive(Default)]
pub(crate) struct Ages {
    watch: RefCell<ClockWatch>,
    /// Store time of the newest entry that the store was opened with.
    newest_ms: Option<i64>,
    doubted: Cell<bool>,
    logged_ms: Cell<Option<i64>>,
    /// What lay before this position was there at this time, ms.
    noticed: Cell<Option<(u64, i64)>>,
}

impl Ages {
    pub(crate) fn new(newest_ms: Option<i64>) -> Ages {
        Ages { newest_ms, ..Ages::default() }
    }
}

/// The largest offset that a group has committed, by number of the topic in an index file and queue id.
type Consumed = AHashMap<(u32, u32), i64>;

/// When segments go. Ratios are percent of the file system that the log is on.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Messages older than this may go, ms.
    pub reserved_ms: i64,
    /// Above this share of used space, expired messages go at any hour.
    pub used_max_percent: u32,
    /// Above this share messages go before their time, if `forcibly`.
    pub forcible_percent: u32,
    /// Above this share no messages are taken.
    pub closed_percent: u32,
    /// Whether messages may go before their time.
    pub forcibly: bool,
}

/// What is known when a decision is made.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Wall clock, ms.
    pub now: i64,
    /// Whether expired messages may go at this hour.
    pub hour: bool,
    /// Used space, percent.
    pub used_percent: u32,
    /// When the newest message of the oldest whole segment was stored, ms.
    pub oldest_ms: Option<i64>,
    /// Whether the wall clock is believed: nothing goes for its age otherwise.
    pub clock_believed: bool,
}

/// What to do with the oldest segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It goes and is used again.
    Recycle,
    /// It goes and gives its room back.
    Remove,
}

impl Policy {
    /// What a file system means that is used so far, percent.
    pub fn space(&self, used_percent: u32) -> Space {
        if used_percent > self.closed_percent {
            Space::Closed
        } else if used_percent > self.used_max_percent {
            Space::Scarce
        } else {
            Space::Enough
        }
    }

    /// Decides about the oldest segment.
    pub fn verdict(&self, situation: &Situation) -> Verdict {
        let Situation { now, hour, used_percent, oldest_ms, clock_believed } = *situation;
        let Some(oldest_ms) = oldest_ms else { return Verdict::Keep };
        let expired = clock_believed && now.saturating_sub(oldest_ms) > self.reserved_ms;
        if used_percent > self.forcible_percent && (self.forcibly || expired) {
            return Verdict::Remove;
        }
        match (expired, used_percent > self.used_max_percent) {
            (true, true) => Verdict::Remove,
            (true, false) if hour => Verdict::Recycle,
            _ => Verdict::Keep,
        }
    }
}

/// What went with a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Messages.
    pub messages: u64,
    /// Of those, what no group had consumed.
    pub unconsumed: u64,
}

impl<D: Disk> Store<D> {
    /// How full the disk of the log is.
    pub async fn usage(&self) -> Result<Usage, StoreError> {
        let dir = &self.settings.dir;
        let usage = self.disk.usage(dir).await;
        usage.map_err(|source| StoreError::io("measure", dir, source))
    }

    /// Does once what the policy says of a disk that is so full. `room_bytes`: of the same disk, what logs have taken and not
    /// filled ([`Store::room_bytes`]), which does not count as used. A log that refuses for lack of room, because the disk had
    /// none for its next segment, has a full disk, whatever is used of it. As long as there is something to let go, messages
    /// are taken: the log ends where its room ends in any case. Returns whether a segment went; then it is worth looking
    /// again soon.
    pub async fn retain<P, F>(
        &self,
        policy: &Policy,
        usage: Usage,
        room_bytes: u64,
        now: i64,
        hour: bool,
        pause: &P,
    ) -> Result<bool, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        // A segment that is merely wanted ahead is no reason to let go of messages.
        let full = self.ahead.disk_full.get() && self.state.borrow().log.lacks_room();
        // Another log of this disk may need the room before this one needs its spares.
        let keeps_spares = !full && usage.used_percent() <= policy.used_max_percent;
        if !keeps_spares {
            self.remove_spares().await?;
        }
        let free = usage.free.saturating_add(room_bytes).min(usage.total);
        let usage = Usage { free, ..usage };
        let oldest = self.oldest_whole();
        let clock_believed = self.believe_clock(now, policy.reserved_ms);
        let oldest_ms = oldest.as_ref().map(|index| self.stored_ms(index, now, clock_believed));
        let used_percent = if full { 100 } else { usage.used_percent() };
        let situation = Situation { now, hour, used_percent, oldest_ms, clock_believed };
        let verdict = policy.verdict(&situation);
        let Some(index) = oldest.filter(|_| verdict != Verdict::Keep) else {
            self.note_space(policy, &usage);
            return Ok(false);
        };
        if self.is_held(&index) {
            // Room comes only once what waits there is carried on.
            self.carry_wanted.set(true);
            self.note_space(policy, &usage);
            return Ok(false);
        }
        let young = |oldest: i64| now.saturating_sub(oldest) <= policy.reserved_ms;
        let early = !clock_believed || oldest_ms.is_some_and(young);
        let segment = index.head().segment;
        let recycle = verdict == Verdict::Recycle && keeps_spares;
        let retired = self.retire(index, recycle, pause).await;
        if retired.is_err() {
            self.note_space(policy, &usage);
        }
        let Some(Retired { messages, unconsumed }) = retired? else { return Ok(false) };
        if early {
            self.tally.retired_early.set(self.tally.retired_early.get() + 1);
        }
        let shard = self.settings.shard;
        if early || unconsumed > 0 {
            tracing::warn!(
                shard,
                segment,
                messages,
                unconsumed,
                early,
                used_percent,
                "a segment was retired"
            );
        } else {
            tracing::info!(shard, segment, messages, used_percent, "a segment was retired");
        }
        Ok(true)
    }

    /// Whether the wall clock is believed now. Why not is logged, again after [`DOUBT_LOG_MS`].
    fn believe_clock(&self, now: i64, reserved_ms: i64) -> bool {
        let uptime_ms = i64::try_from(self.disk.uptime_micros() / 1_000).unwrap_or(i64::MAX);
        let Ages { watch, newest_ms, doubted, logged_ms, .. } = &self.ages;
        let doubt = watch.borrow_mut().look(now, uptime_ms, *newest_ms, reserved_ms);
        let doubted_before = doubted.replace(doubt.is_some());
        let shard = self.settings.shard;
        match doubt {
            Some(Doubt { ahead_ms, ends_in_ms }) => {
                let due = logged_ms.get().is_none_or(|logged| uptime_ms - logged >= DOUBT_LOG_MS);
                if due || !doubted_before {
                    logged_ms.set(Some(uptime_ms));
                    tracing::warn!(
                        shard,
                        ahead_s = ahead_ms / 1_000,
                        believed_in_s = ends_in_ms / 1_000,
                        "the wall clock has moved ahead: no segment is deleted for its age until it is back, or stands"
                    );
                }
            }
            None if doubted_before => {
                tracing::info!(
                    shard,
                    "the wall clock is believed: segments are deleted for their age"
                );
            }
            None => {}
        }
        doubt.is_none()
    }

    /// Begins to watch the wall clock: right after the start, before it can be set.
    pub fn watch_clock(&self, now: i64) {
        self.believe_clock(now, i64::MAX);
    }

    /// Whether nothing is deleted for its age, because the wall clock has moved ahead.
    pub fn doubts_clock(&self) -> bool {
        self.ages.doubted.get()
    }

    /// When the newest message of a segment was stored, as far as that is possible: a time that is yet to come was
    /// written by a clock that was ahead. Then it was before the nearest later segment with a time that has been, or
    /// at least before this was noticed.
    fn stored_ms(&self, index: &Index<D>, now: i64, clock_believed: bool) -> i64 {
        let possible = |ms: i64| ms <= now.saturating_add(PARTED_MS_MAX);
        let head = index.head();
        if possible(head.last_store_ms) || !clock_believed {
            return head.last_store_ms;
        }
        let indexes = self.indexes.files.borrow();
        let behind = indexes.iter().map(|index| index.head());
        let behind = behind.filter(|other| other.from >= head.to && other.messages > 0);
        let bound = behind.map(|other| other.last_store_ms).find(|ms| possible(*ms));
        if let Some(bound) = bound {
            return bound.min(head.last_store_ms);
        }
        let end = self.state.borrow().log.appended();
        let noticed = self.ages.noticed.get();
        let noticed = noticed.filter(|(before, ms)| head.to <= *before && *ms <= now);
        let (before, ms) = noticed.unwrap_or((end, now));
        self.ages.noticed.set(Some((before, ms)));
        ms
    }

    /// How much space there was when it was looked at last.
    pub fn space(&self) -> Space {
        self.space.get()
    }

    fn note_space(&self, policy: &Policy, usage: &Usage) {
        let used = usage.used_percent();
        let space = policy.space(used);
        let reason = (space == Space::Closed).then(|| {
            let Usage { total, free } = usage;
            let limit = policy.closed_percent;
            format!("used={used}% limit={limit}% (diskSpaceWarningLevelRatio) free={free} total={total} bytes")
        });
        let shard = self.settings.shard;
        match (self.space.replace(space), space) {
            (before, after) if before == after => {}
            (_, Space::Closed) => {
                tracing::error!(
                    shard,
                    used,
                    limit = policy.closed_percent,
                    free_bytes = usage.free,
                    "the disk is nearly full: no more messages are taken, consumers go on"
                );
            }
            (Space::Closed, _) => {
                tracing::info!(shard, used, "the disk has room again: messages are taken");
            }
            (_, Space::Scarce) => {
                tracing::warn!(
                    shard,
                    used,
                    limit = policy.used_max_percent,
                    free_bytes = usage.free,
                    "the disk is filling up"
                );
            }
            (_, Space::Enough) => tracing::info!(shard, used, "the disk has room again"),
        }
        self.state.borrow_mut().log.close_to_messages(reason);
    }

    /// The index of the oldest segment, if the log has left it, the index is whole and nothing needs the segment.
    fn oldest_sealed(&self) -> Option<Rc<Index<D>>> {
        self.oldest_whole().filter(|index| !self.is_held(index))
    }

    /// Whether something in the segment of an index is needed: records that wait.
    pub(crate) fn is_held(&self, index: &Index<D>) -> bool {
        let held = self.state.borrow().derived.holds_back();
        held.is_some_and(|held| held < index.head().to)
    }

    /// The index of the oldest segment, if the log has left it and the index is whole.
    pub(crate) fn oldest_whole(&self) -> Option<Rc<Index<D>>> {
        let indexes = self.indexes.files.borrow();
        let oldest = indexes.first()?;
        let head = oldest.head();
        let whole = head.covers_segment(&self.settings.layout);
        let first = self.segments.first();
        let whole = whole && first == Some(head.segment);
        // The last index file stays: it alone knows what the segments before it said.
        self.retiring_waits.set(whole && indexes.len() == 1);
        (whole && indexes.len() > 1).then(|| Rc::clone(oldest))
    }

    /// Retires the oldest segment, if the log has left it.
    pub async fn retire_oldest<P, F>(
        &self,
        recycle: bool,
        pause: &P,
    ) -> Result<Option<Retired>, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        match self.oldest_sealed() {
            Some(index) => self.retire(index, recycle, pause).await,
            None => Ok(None),
        }
    }

    /// `None`: not now. What waited in the segment and was delivered must be durable elsewhere: a power cut may take the
    /// delivery, and it waits again.
    async fn retire<P, F>(
        &self,
        index: Rc<Index<D>>,
        recycle: bool,
        pause: &P,
    ) -> Result<Option<Retired>, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let ended = self.state.borrow().derived.waits_ended();
        if !self.durable_up_to(ended).await? {
            return Ok(None);
        }
        if self.segments.names_unsynced.get() {
            // Segments go strictly from the oldest on, also over a power cut.
            self.sync_names().await?;
        }
        self.check_newest_index(pause).await?;
        let retired = self.move_offsets(&index, pause).await?;
        let head = *index.head();
        self.put_away(head.segment, recycle).await?;
        self.segments.names_unsynced.set(true);
        self.indexes.files.borrow_mut().retain(|other| other.head().segment != head.segment);
        self.segments.remove(head.segment);
        self.cold.forget(head.from, head.to);
        let behind = self.settings.layout.end_of(head.segment);
        self.state.borrow_mut().derived.retire_before(behind);
        self.note_earliest();
        self.ahead.disk_full.set(false);
        let tally = &self.tally;
        tally.retired_segments.set(tally.retired_segments.get() + 1);
        tally.retired_messages.set(tally.retired_messages.get() + retired.messages);
        tally.unconsumed_messages.set(tally.unconsumed_messages.get() + retired.unconsumed);
        self.look_ahead();
        self.remove_index(index).await?;
        self.sync_names().await?;
        Ok(Some(retired))
    }

    /// What goes is known to the newest index file, which may have rotted since it was written.
    async fn check_newest_index<P, F>(&self, pause: &P) -> Result<(), StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let Settings { shard, log_id, .. } = self.settings;
        let newest_now = || self.indexes.files.borrow().last().cloned();
        let (opened, newest) = loop {
            let Some(newest) = newest_now() else { return Ok(()) };
            let opened = Index::open(&self.disk, newest.path(), shard, log_id).await;
            // A run may be merged away before it is opened.
            if opened.is_ok() || newest_now().is_some_and(|now| Rc::ptr_eq(&now, &newest)) {
                break (self.note_if_damaged(&newest, opened)?, newest);
            }
        };
        let outline = opened.outline_paced(pause).await;
        opened.close().await?;
        self.note_if_damaged(&newest, outline).map(drop)
    }

    async fn sync_names(&self) -> Result<(), StoreError> {
        let dir = &self.settings.dir;
        self.disk.sync_dir(dir).await.map_err(|source| StoreError::io("sync", dir, source))?;
        self.segments.names_unsynced.set(false);
        Ok(())
    }

    /// Takes a segment's name away. Who reads it keeps its file.
    async fn put_away(&self, segment: u64, recycle: bool) -> Result<(), StoreError> {
        let path = self.settings.segment_path(segment);
        let layout = self.settings.layout;
        let recycle = recycle && layout.bytes_of(segment) == layout.segment_bytes();
        if !recycle || self.segments.spares.borrow().len() >= SPARES_MAX {
            let removed = self.disk.remove(&path).await;
            return removed.map_err(|source| StoreError::io("remove", path, source));
        }
        let spare = spare_path(&path);
        let renamed = self.disk.rename(&path, &spare).await;
        renamed.map_err(|source| StoreError::io("put aside", path, source))?;
        self.segments.spares.borrow_mut().push(spare);
        Ok(())
    }

    /// Moves the first offsets of all queues behind what goes, and counts it.
    async fn move_offsets<P, F>(&self, index: &Index<D>, pause: &P) -> Result<Retired, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let outline = index.outline_paced(pause).await;
        let outline = self.note_if_damaged(index, outline)?;
        let slots = self.slots_of(&outline.rows, pause).await;
        let consumed = self.consumed(&outline, pause).await;
        let mut retired = Retired::default();
        for (rows, slots) in outline.rows.chunks(PIECE_ROWS).zip(slots.chunks(PIECE_ROWS)) {
            self.retire_rows(rows, slots, &consumed, &mut retired);
            pause().await;
        }
        Ok(retired)
    }

    /// The slot of the queue of each row, if it is still there.
    async fn slots_of<P, F>(&self, rows: &[Row], pause: &P) -> Vec<Option<QueueSlot>>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let mut slots = vec![None; rows.len()];
        let mut from = 0;
        loop {
            let more = self.state.borrow().visit_numbers(&mut from, |number, slot| {
                if let Ok(at) = rows.binary_search_by_key(&number, |row| row.number) {
                    slots[at] = Some(slot);
                }
            });
            if !more {
                return slots;
            }
            pause().await;
        }
    }

    /// The largest offset that a group has committed on each queue of which messages go, by the number of its topic and its
    /// queue id. Each topic is looked at once, however many rows and groups it has.
    async fn consumed<P, F>(&self, outline: &Outline, pause: &P) -> Consumed
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let mut goes = vec![false; outline.topics.len()];
        for row in outline.rows.iter().filter(|row| row.count > 0) {
            if let Some(goes) = goes.get_mut(row.topic as usize) {
                *goes = true;
            }
        }
        let mut consumed = Consumed::default();
        let topics = (0..).zip(&outline.topics).zip(goes).filter(|(_, goes)| *goes);
        for (at, ((number, topic), _)) in topics.enumerate() {
            let mut place = Place::default();
            let mut take = |queue_id, offset: i64| {
                let largest = consumed.entry((number, queue_id)).or_insert(offset);
                *largest = offset.max(*largest);
            };
            while self.offsets_on(topic, &mut place, &mut take) {
                pause().await;
            }
            if at % PIECE_ROWS == PIECE_ROWS - 1 {
                pause().await;
            }
        }
        consumed
    }

    fn offsets_on(&self, topic: &str, place: &mut Place, take: impl FnMut(u32, i64)) -> bool {
        self.state.borrow().derived.group_offsets.offsets_on(topic, place, take)
    }

    fn retire_rows(
        &self,
        rows: &[Row],
        slots: &[Option<QueueSlot>],
        consumed: &Consumed,
        retired: &mut Retired,
    ) {
        let mut state = self.state.borrow_mut();
        for (row, slot) in rows.iter().zip(slots) {
            let Some(slot) = slot else { continue };
            let consumed = consumed.get(&(row.topic, row.queue_id)).copied().unwrap_or(0);
            retired.unconsumed += state.retire_row(*slot, row, consumed);
            retired.messages += u64::from(row.count);
        }
    }

    fn note_earliest(&self) {
        let indexes = self.indexes.files.borrow();
        let oldest = indexes.iter().find(|index| index.head().messages > 0);
        let earliest = oldest.map(|index| index.head().first_store_ms);
        let mut state = self.state.borrow_mut();
        state.earliest_store_ms = earliest.or_else(|| state.clock_marks.front().map(|(_, ms)| *ms));
    }

    async fn remove_spares(&self) -> Result<(), StoreError> {
        loop {
            let spare = self.segments.spares.borrow_mut().pop();
            let Some(path) = spare else { return Ok(()) };
            if let Err(source) = self.disk.remove(&path).await {
                self.segments.spares.borrow_mut().push(path.clone());
                return Err(StoreError::io("remove", path, source));
            }
        }
    }

    /// Bytes of the disk that the log has taken and not filled: what is left in its segments, and segments to be used again.
    pub fn room_bytes(&self) -> u64 {
        let state = self.state.borrow();
        let spares = self.segments.spares.borrow().len() as u64;
        let left = state.log.room_end() - state.log.appended().min(state.log.room_end());
        left + self.ahead.creating.get() + spares * self.settings.layout.segment_bytes()
    }

    /// Files of retired segments that wait to be used again.
    pub fn spares(&self) -> Vec<PathBuf> {
        self.segments.spares.borrow().clone()
    }

    /// Retired segments that an earlier life put aside.
    pub(crate) async fn find_spares(&self) -> Result<(), StoreError> {
        let dir = &self.settings.dir;
        let names =
            self.disk.list(dir).await.map_err(|source| StoreError::io("list", dir, source))?;
        for entry in names {
            let path: PathBuf = dir.join(&entry.name);
            if !is_spare(&path) {
                continue;
            }
            let fits = entry.bytes == self.settings.layout.segment_bytes();
            if fits && self.segments.spares.borrow().len() < SPARES_MAX {
                self.segments.spares.borrow_mut().push(path);
            } else {
                let removed = self.disk.remove(&path).await;
                removed.map_err(|source| StoreError::io("remove", path, source))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_hour_and_space_decide_together() {
        let policy = Policy {
            reserved_ms: 1_000,
            used_max_percent: 75,
            forcible_percent: 85,
            closed_percent: 90,
            forcibly: true,
        };
        let verdict = |age: i64, hour, used_percent| {
            let oldest_ms = Some(10_000 - age);
            let clock_believed = true;
            let now = 10_000;
            policy.verdict(&Situation { now, hour, used_percent, oldest_ms, clock_believed })
        };
        assert_eq!(verdict(1_000, true, 10), Verdict::Keep, "not older than reserved");
        assert_eq!(verdict(1_001, true, 10), Verdict::Recycle);
        assert_eq!(verdict(1_001, false, 75), Verdict::Keep, "not its hour");
        assert_eq!(verdict(1_001, false, 76), Verdict::Remove, "at any hour when space is scarce");
        assert_eq!(verdict(1, true, 85), Verdict::Keep);
        assert_eq!(verdict(1, false, 86), Verdict::Remove, "before its time");
        let gentle = Policy { forcibly: false, ..policy.clone() };
        let full = Situation {
            now: 10_000,
            hour: true,
            used_percent: 99,
            oldest_ms: Some(9_999),
            clock_believed: true,
        };
        assert_eq!(gentle.verdict(&full), Verdict::Keep);
        assert_eq!(policy.verdict(&Situation { oldest_ms: None, ..full }), Verdict::Keep);
        let doubted = Situation { used_percent: 80, oldest_ms: Some(0), ..full };
        assert_eq!(policy.verdict(&doubted), Verdict::Remove);
        let doubted = Situation { clock_believed: false, ..doubted };
        assert_eq!(policy.verdict(&doubted), Verdict::Keep, "its age is not known");
        let doubted = Situation { used_percent: 86, ..doubted };
        assert_eq!(policy.verdict(&doubted), Verdict::Remove, "for the room that it takes");
    }
}
