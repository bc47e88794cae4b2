//! Space in front of the log: the next segment is there before it is needed, and zeroed before it is written.
//!
//! One task of low importance. Without it the log is slower, and ends with its last segment: messages are refused
//! when there is no room for the next one, which is how a full disk looks from inside. The task tries again with each
//! call of [`Store::look_ahead`], so that room which is made is found.

use crate::{
    error::StoreError, log::Shape, offset::POSITION_MAX, segments::create_segment, store::Store,
};
use runtime::{BLOCK_BYTES, Disk, DiskFile, Open};
use std::path::PathBuf;

/// Bytes of one write of zeros.
const ZERO_WRITE_BYTES: u64 = 1024 * 1024;

impl<D: Disk> Store<D> {
    /// Keeps a segment and zeros in front of the log, for ever. Ends when the log is poisoned.
    pub async fn work_ahead(&self) {
        loop {
            if let Some(start) = self.wanted_segment() {
                self.try_provide(start).await;
            }
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
        let appended = self.state.borrow().log.appended();
        if self.ahead.zeroed.get() < appended.saturating_add(zeros)
            || self.wanted_segment().is_some()
        {
            self.ahead.wanted.raise();
        }
    }

    /// The segment to provide next: while less than half a segment and what may be in flight is left. A log that nobody
    /// has used waits with it.
    fn wanted_segment(&self) -> Option<u64> {
        let state = self.state.borrow();
        let log = &state.log;
        let Shape { layout, inflight_bytes_max, .. } = *log.shape();
        let (appended, end) = (log.appended(), log.room_end());
        let used = appended >= BLOCK_BYTES as u64 || log.room_asked() > 0;
        let half = layout.bytes_of(layout.start_of(appended)) / 2;
        let least = (half + inflight_bytes_max.min(half)).max(log.shape().burst_bytes());
        let wanted = used && end - appended < least.max(log.room_asked());
        // Nothing is admitted long before there.
        let possible = end + layout.segment_bytes() <= POSITION_MAX;
        (wanted && possible && log.poisoned().is_none()).then_some(end)
    }

    /// Provides segments as far as they are wanted and there is room for them.
    pub async fn provide_wanted(&self) {
        while let Some(start) = self.wanted_segment() {
            if !self.try_provide(start).await {
                return;
            }
        }
    }

    /// Waits until there is a new segment, a reason why there is none, or one is being created.
    pub async fn room_change(&self) {
        self.ahead.tried.wait().await;
    }

    /// A disk that is full says so once, and once when it has room again.
    async fn try_provide(&self, start: u64) -> bool {
        let shard = self.settings.shard;
        let before = self.state.borrow().log.is_starved();
        let provided = self.provide_segment(start).await;
        // Any other error is no reason to let go of messages.
        self.ahead.disk_full.set(provided.as_ref().is_err_and(StoreError::is_lack_of_room));
        if provided.is_err() {
            self.state.borrow_mut().log.starve();
        }
        match (&provided, before) {
            (Ok(()), true) => {
                tracing::info!(shard, segment = start, "there is room for the log again");
            }
            (Err(error), false) => {
                let left = self.state.borrow().log.room_end() - self.state.borrow().log.appended();
                tracing::warn!(shard, segment = start, room_left = left, %error, "no room for the next segment of the log");
            }
            _ => {}
        }
        self.ahead.tried.raise();
        provided.is_ok()
    }

    async fn provide_segment(&self, start: u64) -> Result<(), StoreError> {
        if self.state.borrow().log.is_starved() {
            // An attempt that failed half-way may have left the name behind; if not, there is nothing to remove.
            let _ = self.disk.remove(&self.settings.segment_path(start)).await;
        }
        let large = self.settings.layout.bytes_of(start) == self.settings.layout.segment_bytes();
        let spare = large.then(|| self.segments.spares.borrow_mut().pop()).flatten();
        let file = match spare {
            Some(spare) => self.recycle(spare, start).await?,
            None => {
                // Known before the disk shows it, so that nobody takes it for used.
                self.ahead.creating.set(self.settings.layout.bytes_of(start));
                self.ahead.tried.raise();
                let created = create_segment(&self.disk, &self.settings, start).await;
                self.ahead.creating.set(0);
                created?
            }
        };
        self.segments.insert(start, file);
        self.state.borrow_mut().log.extend_room(self.settings.layout.end_of(start));
        Ok(())
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
        let appended = state.log.appended();
        let piece = self.zero_write_bytes(state.log.segment_of(appended));
        let margin = 2 * piece;
        let mut from =
            self.ahead.zeroed.get().max((appended + margin).next_multiple_of(BLOCK_BYTES as u64));
        let mut segment = state.log.segment_of(from);
        if self.segments.recycled.get() == Some(segment) {
            segment = self.settings.layout.end_of(segment);
            from = segment;
            self.ahead.zeroed.set(from);
        }
        if from >= appended + self.settings.zero_ahead_bytes || !self.segments.contains(segment) {
            return None;
        }
        let to = (from + piece).min(self.settings.layout.end_of(segment));
        (to > from).then_some((segment, from, to))
    }

    /// Small segments are zeroed in small pieces, or the margin would leave nothing of them to zero.
    fn zero_write_bytes(&self, segment: u64) -> u64 {
        let share =
            (self.settings.layout.bytes_of(segment) / 16).next_multiple_of(BLOCK_BYTES as u64);
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
