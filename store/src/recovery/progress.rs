//! How far the start of a store is, for whoever tells the operator. Written by the task that opens the store, read by any
//! thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// How far the start of one store is.
#[derive(Debug, Default)]
pub struct Progress {
    scanned_bytes: AtomicU64,
    position: AtomicU64,
    end: AtomicU64,
    opened: AtomicBool,
}

impl Progress {
    /// The log is looked at from `first` on, at most up to `end`.
    pub(crate) fn begin(&self, first: u64, end: u64) {
        self.position.store(first, Relaxed);
        self.end.store(end, Relaxed);
    }

    /// Everything before `position` needs no look any more.
    pub(crate) fn reach(&self, position: u64) {
        self.position.store(position, Relaxed);
    }

    /// So many bytes more were read up to `position`.
    pub(crate) fn scan(&self, bytes: u64, position: u64) {
        // One task writes: no other addition can be lost.
        self.scanned_bytes.store(self.scanned_bytes.load(Relaxed) + bytes, Relaxed);
        self.reach(position);
    }

    /// The store is open.
    pub(crate) fn finish(&self) {
        self.opened.store(true, Relaxed);
    }

    /// Whether the store is open.
    pub fn is_open(&self) -> bool {
        self.opened.load(Relaxed)
    }

    /// Bytes of the log read so far.
    pub fn scanned_bytes(&self) -> u64 {
        self.scanned_bytes.load(Relaxed)
    }

    /// Bytes of the log that are left to read, at most: where it ends within its last segment is not known before, and
    /// what index files cover is not read.
    pub fn left_bytes_max(&self) -> u64 {
        match self.is_open() {
            true => 0,
            false => self.end.load(Relaxed).saturating_sub(self.position.load(Relaxed)),
        }
    }
}
