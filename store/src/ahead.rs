//! Space in front of the log: the next segment is there before it is needed, and zeroed before it is written.
//!
//! One task of low importance. Without it the log is slower, and ends with its last segment: messages are refused
//! when there is no room for the next one, which is how a full disk looks from inside. The task tries again with each
//! call of [`Store::look_ahead`], so that room which is made is found.

use crate::{
    error::StoreError,
    store::{Store, create_segment},
};
use runtime::{BLOCK_BYTES, Disk, DiskFile, Open};
use std::{path::PathBuf, rc::Rc};

/// Bytes of one write of zeros.
const ZERO_WRITE_BYTES: u64 = 1024 * 1024;
/// Segments kept for the log to come when they were retired.
pub(crate) const SPARES_MAX: usize = 2;

impl<D: Disk> Store<D> {
    /// Keeps a segment and zeros in front of the log, for ever. Ends when the log is poisoned.
    pub async fn work_ahead(&self) {
        loop {
            if let Some(start) = self.wanted_segment() {
                self.try_provide(start).await;
            }
            while let Some((segment, from, to)) = self.next_zero_range() {
                self.zeroing.set(Some(from));
                let done = self.write_zeros(segment, from, to).await;
                self.zeroing.set(None);
                self.zeroing_done.raise();
                if let Err(error) = done {
                    tracing::warn!(shard = self.settings.shard, %error, "zeroing ahead of the log stopped");
                    self.zeroed.set(u64::MAX);
                    break;
                }
                self.zeroed.set(to);
            }
            if self.core.borrow().log.poisoned().is_some() {
                return;
            }
            self.ahead_wanted.wait().await;
        }
    }

    /// Tells [`Store::work_ahead`] to look whether there is something to do: the log has grown, or a second has passed
    /// in which room may have been made.
    pub fn look_ahead(&self) {
        let zeros = self.settings.zero_ahead_bytes / 2;
        let appended = self.core.borrow().log.appended();
        if self.zeroed.get() < appended.saturating_add(zeros) || self.wanted_segment().is_some() {
            self.ahead_wanted.raise();
        }
    }

    /// The segment to provide next: while less than half a segment and what may be in flight is left.
    fn wanted_segment(&self) -> Option<u64> {
        let core = self.core.borrow();
        let left = core.log.room_end() - core.log.appended();
        let shape = core.log.shape();
        let half = shape.segment_bytes / 2;
        let wanted = left < half + shape.inflight_bytes_max.min(half);
        (wanted && core.log.poisoned().is_none()).then(|| core.log.room_end())
    }

    /// Provides segments as far as they are wanted and there is room for them.
    pub async fn provide_wanted(&self) {
        while let Some(start) = self.wanted_segment() {
            if !self.try_provide(start).await {
                return;
            }
        }
    }

    /// A disk that is full says so once, and once when it has room again.
    async fn try_provide(&self, start: u64) -> bool {
        let shard = self.settings.shard;
        let before = self.core.borrow().log.is_starved();
        let provided = self.provide_segment(start).await;
        if provided.is_err() {
            self.core.borrow_mut().log.starve();
        }
        match (&provided, before) {
            (Ok(()), true) => {
                tracing::info!(shard, segment = start, "there is room for the log again");
            }
            (Err(error), false) => {
                let left = self.core.borrow().log.room_end() - self.core.borrow().log.appended();
                tracing::warn!(shard, segment = start, room_left = left, %error, "no room for the next segment of the log");
            }
            _ => {}
        }
        provided.is_ok()
    }

    async fn provide_segment(&self, start: u64) -> Result<(), StoreError> {
        if self.core.borrow().log.is_starved() {
            // An attempt that failed half-way may have left the name behind; if not, there is nothing to remove.
            let _ = self.disk.remove(&self.settings.segment_path(start)).await;
        }
        let spare = self.spares.borrow_mut().pop();
        let file = match spare {
            Some(spare) => self.recycle(spare, start).await?,
            None => create_segment(&self.disk, &self.settings, start).await?,
        };
        self.segments.borrow_mut().insert(start, Rc::new(file));
        self.core.borrow_mut().log.extend_room(start + self.settings.segment_bytes);
        Ok(())
    }

    /// Gives a retired segment its new name. Its bytes stay: each batch header names its place, so that none of the old
    /// ones is valid here, and blocks that were written once can be synced without metadata.
    async fn recycle(&self, spare: PathBuf, start: u64) -> Result<D::File, StoreError> {
        let path = self.settings.segment_path(start);
        let error = |source| StoreError::io("recycle", path.clone(), source);
        if let Err(source) = self.disk.rename(&spare, &path).await {
            self.spares.borrow_mut().push(spare);
            return Err(error(source));
        }
        self.disk.sync_dir(&self.settings.dir).await.map_err(error)?;
        let file = self.disk.open(&path, Open::ReadWrite).await.map_err(error)?;
        self.recycled.set(Some(start));
        Ok(file)
    }

    /// The next range to zero: behind everything that is appended or may be appended soon, within one segment that
    /// exists and was never written.
    fn next_zero_range(&self) -> Option<(u64, u64, u64)> {
        let core = self.core.borrow();
        if core.log.poisoned().is_some() || self.settings.zero_ahead_bytes == 0 {
            return None;
        }
        // Appends go on while zeros are being written; what is in flight at most, and a write, stay free of them.
        let piece = self.zero_write_bytes();
        let margin = 2 * piece;
        let appended = core.log.appended();
        let mut from =
            self.zeroed.get().max((appended + margin).next_multiple_of(BLOCK_BYTES as u64));
        let mut segment = core.log.segment_of(from);
        if self.recycled.get() == Some(segment) {
            segment += self.settings.segment_bytes;
            from = segment;
            self.zeroed.set(from);
        }
        if from >= appended + self.settings.zero_ahead_bytes
            || !self.segments.borrow().contains_key(&segment)
        {
            return None;
        }
        let to = (from + piece).min(segment + self.settings.segment_bytes);
        (to > from).then_some((segment, from, to))
    }

    /// Small segments are zeroed in small pieces, or the margin would leave nothing of them to zero.
    fn zero_write_bytes(&self) -> u64 {
        let share = (self.settings.segment_bytes / 16).next_multiple_of(BLOCK_BYTES as u64);
        ZERO_WRITE_BYTES.min(share)
    }

    async fn write_zeros(&self, segment: u64, from: u64, to: u64) -> Result<(), StoreError> {
        let file = self.segments.borrow().get(&segment).cloned();
        let Some(file) = file else { return Ok(()) };
        let mut zeros = self.disk.alloc((to - from) as usize);
        zeros.as_mut().fill(0);
        file.write_at(zeros, from - segment)
            .await
            .map_err(|source| StoreError::io("zero", self.settings.segment_path(segment), source))
    }
}
