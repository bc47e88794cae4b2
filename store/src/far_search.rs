//! Looks for records that wait and are not in memory: through the entries of all queues of waiting topics, in index files
//! and behind them. One step of the index loop, so index files stay as they are while it lasts.
//!
//! What waits for long is looked at again and again, once for each half of what memory may hold: 20 bytes of an index file
//! each time. A file of nothing that is far is not opened.

use crate::{
    consume_queue::Entry,
    error::StoreError,
    index::{BlockCache, Index},
    state::{WaitsFor, deferred::Due},
    store::Store,
    store_state::{QueueSlot, StoreState},
};
use runtime::Disk;
use std::future::Future;

/// Entries looked at between two pauses.
const PIECE_ENTRIES: usize = 1_024;
/// Records brought in between two pauses.
const PIECE_RECORDS: usize = 1_024;
/// Blocks of entries are read once: there is nothing to keep.
const BLOCKS_BYTES: usize = 1 << 17;

/// A queue of a waiting topic.
struct WaitingQueue {
    waits_for: WaitsFor,
    queue_id: u32,
    slot: QueueSlot,
    /// Its name in index files.
    number: u32,
}

impl WaitingQueue {
    fn record(&self, entry: &Entry) -> Option<Due> {
        let record = Due::of(entry, self.queue_id);
        let record = if self.waits_for == WaitsFor::Timer { record.of_timer() } else { record };
        (entry.bytes() > 0).then_some(record)
    }
}

impl StoreState {
    fn waiting_queues(&self) -> Vec<WaitingQueue> {
        let mut found = Vec::new();
        for waits_for in [WaitsFor::Level, WaitsFor::Timer] {
            for slot in self.queues.queues_of(waits_for.topic()) {
                let queue = &self.queues[slot];
                let Some(number) = queue.number() else { continue };
                found.push(WaitingQueue { waits_for, queue_id: queue.queue_id, slot, number });
            }
        }
        found
    }
}

impl<D: Disk> Store<D> {
    /// Whether there are records to be brought into memory, and it may be tried now.
    pub(crate) fn wants_far(&self) -> bool {
        !self.indexes.resting.get() && self.state.borrow().derived.deferred.wants_far()
    }

    /// Brings records that wait back into memory, if it has room. Whether it was tried. Errors: the disk's; a damaged
    /// index file is made again first.
    pub(crate) async fn bring_far_in<P, F>(&self, pause: &P) -> Result<bool, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        if !self.wants_far() {
            return Ok(false);
        }
        self.state.borrow_mut().derived.deferred.begin_search();
        let found = |record| self.state.borrow_mut().derived.deferred.found(record);
        let searched = self.visit_far(found, pause).await;
        if let Err(error) = searched {
            self.state.borrow_mut().derived.deferred.abandon_search();
            return match error {
                // It is among those to be made again.
                StoreError::Malformed { .. } if self.has_damaged_index() => Ok(true),
                error => Err(error),
            };
        }
        self.state.borrow_mut().derived.deferred.end_search();
        while self.state.borrow_mut().derived.deferred.bring_in(PIECE_RECORDS) {
            pause().await;
        }
        Ok(true)
    }

    /// Shows all records that wait and are not in memory, and maybe some that do not.
    #[doc(hidden)]
    pub async fn visit_far<P, F>(
        &self,
        mut visit: impl FnMut(Due),
        pause: &P,
    ) -> Result<(), StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let indexes = self.indexes.files.borrow().clone();
        for index in indexes {
            let (from, to) = (index.head().from, index.head().to);
            if self.state.borrow().derived.deferred.any_far_in(from, to) {
                self.visit_file(&index, &mut visit, pause).await?;
            }
        }
        let queues = self.state.borrow().waiting_queues();
        for queue in &queues {
            self.visit_unindexed(queue, &mut visit, pause).await;
        }
        Ok(())
    }

    /// Shows all records of waiting topics that an index file has.
    pub(crate) async fn visit_file<P, F>(
        &self,
        index: &Index<D>,
        mut visit: impl FnMut(Due),
        pause: &P,
    ) -> Result<(), StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let queues = self.state.borrow().waiting_queues();
        let blocks = BlockCache::new(BLOCKS_BYTES);
        for queue in &queues {
            self.visit_indexed(index, &blocks, queue, &mut visit, pause).await?;
        }
        Ok(())
    }

    async fn visit_indexed<P, F>(
        &self,
        index: &Index<D>,
        blocks: &BlockCache,
        queue: &WaitingQueue,
        visit: &mut impl FnMut(Due),
        pause: &P,
    ) -> Result<(), StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let row = index.row(&self.indexes.blocks, queue.number).await;
        let Some(row) = self.note_if_damaged(index, row)? else { return Ok(()) };
        let mut entries = Vec::new();
        let mut offset = row.start();
        while offset < row.next {
            entries.clear();
            let read = index.entries(blocks, &row, offset, PIECE_ENTRIES, &mut entries).await;
            self.note_if_damaged(index, read)?;
            entries.iter().filter_map(|entry| queue.record(entry)).for_each(&mut *visit);
            offset += entries.len() as i64;
            pause().await;
        }
        Ok(())
    }

    /// Entries that no index file has.
    async fn visit_unindexed<P, F>(
        &self,
        queue: &WaitingQueue,
        visit: &mut impl FnMut(Due),
        pause: &P,
    ) where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let mut offset = self.state.borrow().queues[queue.slot].indexed;
        loop {
            let piece: Vec<Entry> = {
                let state = self.state.borrow();
                let queue = &state.queues[queue.slot];
                let entries = (offset..queue.entries.max()).take(PIECE_ENTRIES);
                entries.filter_map(|offset| queue.entries.get(offset)).collect()
            };
            if piece.is_empty() {
                return;
            }
            offset += piece.len() as i64;
            piece.iter().filter_map(|entry| queue.record(entry)).for_each(&mut *visit);
            pause().await;
        }
    }
}
