//! Space in front of the log: there before it is needed, and zeroed before it is written. A segment's file has its
//! length from the beginning; its room on the disk is taken in steps, so that an idle log takes little.
//!
//! One task of low importance. Without it the log is slower, and ends with its last segment: messages are refused
//! when there is no room for the next one, which is how a full disk looks from inside. The task tries again with each
//! call of [`Store::look_ahead`], so that room which is made is found.

use crate::{error::StoreError, offset::POSITION_MAX, segments::create_segment, store::Store};
use runtime::{BLOCK_BYTES, Disk, DiskFile, Open};
use std::{io, ops::Range, path::PathBuf};

/// Steps are not made smaller than this on a disk that is nearly full.
const LEAST_STEP_BYTES: u64 = 64 * 1024;
/// What the logs leave free of the disk, at most, and as a share of it (one in so many parts).
const KEPT_FREE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const KEPT_FREE_SHARE: u64 = 20;

/// What logs leave free of a disk of `total` bytes to what makes them usable: index files, tables of topics and groups.
pub fn kept_free_bytes(total: u64) -> u64 {
    KEPT_FREE_BYTES_MAX.min(total / KEPT_FREE_SHARE)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Bytes of one write of zeros.
const ZERO_WRITE_BYTES: u64 = 1024 * 1024;

impl<D: Disk> Store<D> {
    /// Keeps a segment and zeros in front of the log, for ever. Ends when the log is poisoned.
    pub async fn work_ahead(&self) {
        loop {
            self.provide_wanted().await;
            while let Some((segment, from, to)) = self.next_zero_range() {
                self.ahead.zeroing.set(Some(from));
                let done = self.write_zeros(segment, from, to).await;
                self.ahead.zeroing.set(None);
                self.ahead.zeroing_done.raise();
                if let Err(error) = done {
                    tracing::warn!(shard = self.settings.shard, %error, "zeroing ahead of the log stopped");
                    self.ahead.zeroed.set(u64::MAX);
                    break;
                }
                self.ahead.zeroed.set(to);
            }
            if self.state.borrow().log.poisoned().is_some() {
                return;
            }
            self.ahead.wanted.wait().await;
        }
    }

    /// Tells [`Store::work_ahead`] to look whether there is something to do: the log has grown, or a second has passed
    /// in which room may have been made.
    pub fn look_ahead(&self) {
        let zeros = self.settings.zero_ahead_bytes / 2;
        let (appended, room_end) = {
            let log = &self.state.borrow().log;
            (log.appended(), log.room_end())
        };
        // What has no room is not zeroed, nor what may be appended soon.
        let zeroable = room_end > appended.saturating_add(2 * self.zero_write_bytes());
        let zeroed_to = appended.saturating_add(zeros).min(room_end);
        if zeroable && self.ahead.zeroed.get() < zeroed_to || self.wanted_room().is_some() {
            self.ahead.wanted.raise();
        }
    }

    /// The room to take next, within one segment: while less is left than [`crate::log::Shape::room_wanted`] says.
    fn wanted_room(&self) -> Option<Range<u64>> {
        let state = self.state.borrow();
        let shape = state.log.shape();
        let from = state.log.room_end();
        let segment_end = state.log.segment_of(from) + shape.segment_bytes;
        // Nothing is admitted long before the end of positions.
        let possible = segment_end <= POSITION_MAX && state.log.poisoned().is_none();
        let first = shape.first_bytes.saturating_sub(from);
        let step = shape.step_bytes(state.log.appended());
        let before = self.ahead.taken_before.get();
        let before = if from < before { before } else { u64::MAX };
        let to = segment_end.min(from + first.max(step)).min(before);
        (possible && state.log.wants_room()).then_some(from..to)
    }

    /// What was taken of the segment that the room ends in, by an earlier life or for another segment, is its own.
    pub(crate) async fn note_taken(&self) -> Result<(), StoreError> {
        let end = self.state.borrow().log.room_end();
        let segment = end - end % self.settings.segment_bytes;
        if self.segments.contains(segment) {
            let path = self.settings.segment_path(segment);
            let taken = self.disk.allocated(&path).await;
            let taken = taken.map_err(|source| StoreError::io("measure", path, source))?;
            let whole = taken.min(self.settings.segment_bytes);
            self.ahead.taken_before.set(segment + whole - whole % BLOCK_BYTES as u64);
        }
        Ok(())
    }

    /// Takes room as far as it is wanted and there is some.
    pub async fn provide_wanted(&self) {
        while let Some(range) = self.wanted_room() {
            if !self.try_provide(range).await {
                return;
            }
        }
    }

    /// Bytes of the disk that are taken and hold nothing yet: room in front of the log, that which an earlier life or use
    /// of its segment has left among it, and segments that wait to be used again.
    pub fn provided_bytes(&self) -> u64 {
        let spares = self.segments.spares.borrow().len() as u64;
        let log = &self.state.borrow().log;
        let taken = log.room_end().max(self.ahead.taken_before.get());
        taken.saturating_sub(log.appended()) + spares * self.settings.segment_bytes
    }

    /// A disk that is full says so once, and once when it has room again.
    async fn try_provide(&self, range: Range<u64>) -> bool {
        let (shard, from) = (self.settings.shard, range.start);
        let before = self.state.borrow().log.is_starved();
        let provided = self.provide(range).await;
        if provided.is_err() {
            self.state.borrow_mut().log.starve();
        }
        match (&provided, before) {
            (Ok(()), true) => {
                tracing::info!(shard, position = from, "there is room for the log again");
            }
            (Err(error), false) => {
                let left = self.state.borrow().log.provided_bytes();
                tracing::warn!(shard, position = from, room_left = left, %error, "no more room for the log");
            }
            _ => {}
        }
        provided.is_ok()
    }

    async fn provide(&self, range: Range<u64>) -> Result<(), StoreError> {
        let segment = self.state.borrow().log.segment_of(range.start);
        if !self.segments.contains(segment) {
            let file = self.next_segment(segment).await?;
            self.segments.insert(segment, file);
            // One that was used before has its room.
            self.note_taken().await?;
        }
        let mut to = range.end;
        while let Err(source) = self.reserve(segment, range.start - segment..to - segment).await {
            // What is left of a disk that is nearly full serves, too.
            if !is_full(&source) || to - range.start <= LEAST_STEP_BYTES {
                let path = self.settings.segment_path(segment);
                return Err(StoreError::io("take room for", path, source));
            }
            let half = (to - range.start) / 2;
            to = range.start + half.next_multiple_of(BLOCK_BYTES as u64);
        }
        self.state.borrow_mut().log.extend_room(to);
        Ok(())
    }

    /// Takes room for a range of a segment's file, and leaves some of the disk ([`kept_free_bytes`]), but for what was taken
    /// already.
    async fn reserve(&self, segment: u64, range: Range<u64>) -> io::Result<()> {
        let bytes = range.end - range.start;
        let is_new = segment + range.end > self.ahead.taken_before.get();
        if is_new {
            let usage = self.disk.usage(&self.settings.dir).await?;
            let kept = kept_free_bytes(usage.total);
            if usage.free < bytes.saturating_add(kept) {
                let free = usage.free;
                let what =
                    format!("{free} bytes are free, {bytes} are wanted, {kept} are kept free");
                return Err(io::Error::new(io::ErrorKind::StorageFull, what));
            }
        }
        self.disk.allocate(&self.settings.segment_path(segment), range).await
    }

    async fn next_segment(&self, start: u64) -> Result<D::File, StoreError> {
        if self.state.borrow().log.is_starved() {
            // An attempt that failed half-way may have left the name behind; if not, there is nothing to remove.
            let _ = self.disk.remove(&self.settings.segment_path(start)).await;
        }
        let spare = self.segments.spares.borrow_mut().pop();
        match spare {
            Some(spare) => self.recycle(spare, start).await,
            None => create_segment(&self.disk, &self.settings, start).await,
        }
    }

    /// Gives a retired segment its new name. Its bytes stay: each batch header names its place, so that none of the old
    /// ones is valid here, and blocks that were written once can be synced without metadata.
    async fn recycle(&self, spare: PathBuf, start: u64) -> Result<D::File, StoreError> {
        let path = self.settings.segment_path(start);
        let error = |source| StoreError::io("recycle", path.clone(), source);
        if let Err(source) = self.disk.rename(&spare, &path).await {
            self.segments.spares.borrow_mut().push(spare);
            return Err(error(source));
        }
        self.disk.sync_dir(&self.settings.dir).await.map_err(error)?;
        let file = self.disk.open(&path, Open::ReadWrite).await.map_err(error)?;
        self.segments.recycled.set(Some(start));
        Ok(file)
    }

    /// The next range to zero: behind everything that is appended or may be appended soon, within one segment that
    /// exists and was never written.
    fn next_zero_range(&self) -> Option<(u64, u64, u64)> {
        let state = self.state.borrow();
        if state.log.poisoned().is_some() || self.settings.zero_ahead_bytes == 0 {
            return None;
        }
        // Appends go on while zeros are being written; what is in flight at most, and a write, stay free of them.
        let piece = self.zero_write_bytes();
        let margin = 2 * piece;
        let appended = state.log.appended();
        let mut from =
            self.ahead.zeroed.get().max((appended + margin).next_multiple_of(BLOCK_BYTES as u64));
        let mut segment = state.log.segment_of(from);
        if self.segments.recycled.get() == Some(segment) {
            segment += self.settings.segment_bytes;
            from = segment;
            self.ahead.zeroed.set(from);
        }
        if from >= appended + self.settings.zero_ahead_bytes || !self.segments.contains(segment) {
            return None;
        }
        // What has no room yet is not written.
        let room_end = state.log.room_end();
        let to = (from + piece).min(segment + self.settings.segment_bytes).min(room_end);
        (to > from).then_some((segment, from, to))
    }

    /// Small segments are zeroed in small pieces, or the margin would leave nothing of them to zero.
    fn zero_write_bytes(&self) -> u64 {
        let share = (self.settings.segment_bytes / 16).next_multiple_of(BLOCK_BYTES as u64);
        ZERO_WRITE_BYTES.min(share)
    }

    async fn write_zeros(&self, segment: u64, from: u64, to: u64) -> Result<(), StoreError> {
        let file = self.segments.file(segment);
        let Some(file) = file else { return Ok(()) };
        let mut zeros = self.disk.alloc((to - from) as usize);
        zeros.as_mut().fill(0);
        file.write_at(zeros, from - segment)
            .await
            .map_err(|source| StoreError::io("zero", self.settings.segment_path(segment), source))
    }
}
