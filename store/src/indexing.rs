//! Moving entries and keys from memory into index files, behind the log.
//!
//! One task. When the log leaves a segment, or too many entries are in memory only, an index file is written over what
//! came since the last one; when that ends a segment, its files become one. Work is done in pieces, with a pause for
//! live traffic between them.
//!
//! An index file never says more than the log can prove: it covers only what is durable, and it gets its name only
//! when everything that it was influenced by (a deleted topic, an offset of a group) is durable and committed, too.

use crate::{
    capture::{self, Capture},
    error::StoreError,
    index::{
        self, Head, Index, IndexError, IndexWriter, Key, Outline, StateSection, run_path,
        sealed_path,
    },
    lineage::Lineage,
    settings::Settings,
    state::{DerivedState, ShardState},
    store::Store,
    store_state::StoreState,
};
use runtime::{Disk, Signal};
use std::{cell::RefCell, future::Future, path::PathBuf, rc::Rc};

/// Entries copied between two pauses.
const PIECE_ENTRIES: usize = 4_096;
/// Keys are sorted in buckets by the upper bits of their hashes, so that no sort takes long.
const KEY_BUCKETS: usize = 256;

impl<D: Disk> Store<D> {
    /// Writes index files whenever one is wanted, for ever. `pause` lets others run.
    pub async fn index_loop<P, F>(&self, pause: P)
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        self.index_steps(|| self.index_once(&pause)).await;
    }

    /// Takes one step after the other, for ever: a step says whether it found something to do.
    #[doc(hidden)]
    pub async fn index_steps<S, F>(&self, step: S)
    where
        S: Fn() -> F,
        F: Future<Output = Result<bool, StoreError>>,
    {
        loop {
            match step().await {
                Ok(true) => self.state.borrow_mut().index_failure = None,
                Ok(false) => self.indexes.wanted.wait().await,
                Err(error) => {
                    self.state.borrow_mut().index_failure = Some(error.to_string());
                    let shard = self.settings.shard;
                    tracing::warn!(shard, %error, "an index file could not be written or read; what it is for waits");
                    self.indexes.resting.set(true);
                }
            }
        }
    }

    /// Up to where an index file is to be written now.
    #[doc(hidden)]
    pub fn wanted_index(&self) -> Option<u64> {
        if self.indexes.resting.get() {
            return None;
        }
        let state = self.state.borrow();
        if state.log.poisoned().is_some() {
            return None;
        }
        state.wants_index(self.settings.index_entries_max).or_else(|| {
            let committed = state.log.committed();
            (self.wants_second_index() && committed > state.indexed_to).then_some(committed)
        })
    }

    /// What retired segments said (offsets of groups, next offsets of queues) stands in index files only: one of them
    /// may rot, so there are two.
    fn wants_second_index(&self) -> bool {
        let indexes = self.indexes.files.borrow();
        let retired = indexes.first().is_some_and(|first| first.head().from > 0);
        indexes.len() == 1 && (retired || self.retiring_waits.get())
    }

    /// A segment whose index files were not merged into one yet, because that failed or a start came in between.
    #[doc(hidden)]
    pub fn unsealed(&self) -> Option<u64> {
        if self.indexes.resting.get() || self.state.borrow().log.poisoned().is_some() {
            return None;
        }
        let indexes = self.indexes.files.borrow();
        let mut heads = indexes.iter().map(|index| index.head());
        let ends = |head: &Head| self.settings.layout.is_start(head.to);
        heads.find(|head| ends(head) && head.from != head.segment).map(|head| head.segment)
    }

    /// Writes the index file that is wanted, if one is.
    pub async fn index_once<P, F>(&self, pause: &P) -> Result<bool, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        // What fails does not keep the others from their work.
        let rebuilt = self.rebuild_damaged(pause).await;
        if let Ok(true) = rebuilt {
            return Ok(true);
        }
        let far = self.bring_far_in(pause).await;
        if let (Ok(_), Ok(true)) = (&rebuilt, &far) {
            return Ok(true);
        }
        let written = self.write_wanted(pause).await;
        rebuilt?;
        far?;
        written
    }

    async fn write_wanted<P, F>(&self, pause: &P) -> Result<bool, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        if self.seal_wanted(pause).await? {
            return Ok(true);
        }
        let Some(to) = self.wanted_index() else { return Ok(false) };
        if !self.durable_up_to(to).await? {
            return Ok(false);
        }
        let capture = capture::capture(&self.state, to, pause).await;
        let index = self.write_index(&capture, pause).await?;
        self.add_index(&capture, index, pause).await;
        self.seal_wanted(pause).await?;
        Ok(true)
    }

    /// An index file of this capture is durable: what it says leaves memory, but for what the tail cache has.
    #[doc(hidden)]
    pub async fn add_index<P, F>(&self, capture: &Capture, index: Index<D>, pause: &P)
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let mut leaving = {
            let mut state = self.state.borrow_mut();
            let keep_from = state.log.ring().start();
            self.indexes.files.borrow_mut().push(Rc::new(index));
            state.begin_indexed(capture, keep_from)
        };
        while self.state.borrow_mut().go_on_indexed(capture, &mut leaving) {
            pause().await;
        }
    }

    /// Whether index files turned out to be damaged and are to be made again.
    #[doc(hidden)]
    pub fn has_damaged_index(&self) -> bool {
        !self.indexes.damaged.borrow().is_empty()
    }

    /// The job of writing an index file of this capture.
    #[doc(hidden)]
    pub fn index_job<'a>(&'a self, capture: &'a Capture) -> IndexJob<'a, D> {
        let (disk, settings, state) = (&self.disk, &self.settings, &self.state);
        IndexJob { disk, settings, state, capture }
    }

    /// Makes one of the index files of a segment, if that is wanted. One of them that turns out to be damaged is made
    /// again first.
    async fn seal_wanted<P, F>(&self, pause: &P) -> Result<bool, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let Some(segment) = self.unsealed() else { return Ok(false) };
        match self.seal(segment, pause).await {
            Err(StoreError::Malformed { .. }) if !self.indexes.damaged.borrow().is_empty() => {
                Ok(true)
            }
            sealed => sealed.map(|()| true),
        }
    }

    /// Makes the log durable up to `position`. `false`: it cannot be now, or what stands there is not committed, and may be
    /// cut.
    pub(crate) async fn durable_up_to(&self, position: u64) -> Result<bool, StoreError> {
        // Under SYNC_FLUSH there is nothing to sync, but what was written before that was set.
        self.sync_unless_under_way().await?;
        let state = self.state.borrow();
        // The space between the mark that ends a segment and the next segment holds nothing.
        let safe = state.log.flushed().min(state.log.committed());
        let ended = self.settings.layout.is_start(position) && safe > position;
        Ok(ended || safe >= position)
    }

    async fn write_index<P, F>(&self, capture: &Capture, pause: &P) -> Result<Index<D>, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let written = self.index_job(capture).write(pause).await?;
        self.wait_durable(written.influenced_by).await?;
        Ok(written.writer.finish().await?)
    }

    /// Waits until the log is durable and committed up to a position that was appended.
    #[doc(hidden)]
    pub async fn wait_durable(&self, position: u64) -> Result<(), StoreError> {
        self.wait_durable_by(position, &self.gate_moved).await
    }

    /// The same, with a signal of one's own that is raised when the gate moved.
    pub(crate) async fn wait_durable_by(
        &self,
        position: u64,
        gate_moved: &Signal,
    ) -> Result<(), StoreError> {
        while !self.durable_up_to(position).await? {
            if let Some(reason) = self.state.borrow().log.poisoned() {
                let reason = reason.to_owned();
                return Err(StoreError::Poisoned { shard: self.settings.shard, reason });
            }
            gate_moved.wait().await;
        }
        Ok(())
    }

    /// The index files of a segment become one.
    async fn seal<P, F>(&self, segment: u64, pause: &P) -> Result<(), StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let runs: Vec<Rc<Index<D>>> = self.indexes_of(segment);
        let path = sealed_path(&self.settings.dir, segment);
        let borrowed: Vec<&Index<D>> = runs.iter().map(|run| &**run).collect();
        let sealed = match index::merge(&self.disk, &path, &borrowed, pause).await {
            Ok(sealed) => sealed,
            Err(error) => {
                if let IndexError::Damaged { path, .. } = &error {
                    let damaged = runs.iter().filter(|run| run.path() == path);
                    damaged.for_each(|run| self.note_damaged(run.head().from));
                }
                return Err(error.into());
            }
        };
        {
            let mut indexes = self.indexes.files.borrow_mut();
            let first = indexes.partition_point(|index| index.head().segment < segment);
            indexes.splice(first..first + runs.len(), [Rc::new(sealed)]);
        }
        for run in runs {
            self.remove_index(run).await?;
        }
        Ok(())
    }

    fn indexes_of(&self, segment: u64) -> Vec<Rc<Index<D>>> {
        let indexes = self.indexes.files.borrow();
        indexes.iter().filter(|index| index.head().segment == segment).cloned().collect()
    }

    /// Removes the file of an index that is in use no more, but by those who read it at this moment.
    pub(crate) async fn remove_index(&self, index: Rc<Index<D>>) -> Result<(), StoreError> {
        self.indexes.blocks.forget(&*index);
        let path = index.path().to_owned();
        self.disk.remove(&path).await.map_err(|source| StoreError::io("remove", path, source))
    }
}

/// Writes an index file from the tables of `state`.
pub struct IndexJob<'a, D: Disk> {
    pub(crate) disk: &'a D,
    pub(crate) settings: &'a Settings,
    pub(crate) state: &'a RefCell<StoreState>,
    pub(crate) capture: &'a Capture,
}

/// An index file that is complete but for its name.
pub struct Written<D: Disk> {
    pub writer: IndexWriter<D>,
    /// What the log held before this position has influenced the file.
    influenced_by: u64,
}

impl<D: Disk> IndexJob<'_, D> {
    /// Writes everything but the head. `pause` lets others run.
    pub async fn write<P, F>(&self, pause: &P) -> Result<Written<D>, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let mut lineage = self.snapshot(|states| &states.lineage, pause).await;
        Lineage::retain_before(&mut lineage.pieces, self.capture.to);
        let states = vec![
            self.snapshot(|states| &states.group_offsets, pause).await,
            self.snapshot(|states| &states.offset_resets, pause).await,
            lineage,
            self.snapshot(|states| &states.deferred, pause).await,
            self.snapshot(|states| &states.half_messages, pause).await,
            self.snapshot(|states| &states.popped, pause).await,
        ];
        let buckets = self.sort_keys(pause).await;
        let key_count = buckets.iter().map(|bucket| bucket.len() as u64).sum();
        let (outline, path) = self.outline(states, pause).await;
        let mut writer =
            IndexWriter::create_paced(self.disk, &path, outline, key_count, pause).await?;
        self.write_entries(&mut writer, pause).await?;
        for mut bucket in buckets {
            bucket.sort_unstable();
            writer.keys(&bucket).await?;
            pause().await;
        }
        let influenced_by = self.state.borrow().log.appended();
        writer.influenced_by(influenced_by);
        Ok(Written { writer, influenced_by })
    }

    async fn outline<P, F>(&self, states: Vec<StateSection>, pause: &P) -> (Outline, PathBuf)
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let capture = self.capture;
        let segment = self.settings.layout.start_of(capture.from);
        let whole = capture.from == segment && capture.to == self.settings.layout.end_of(segment);
        let path = if whole {
            sealed_path(&self.settings.dir, segment)
        } else {
            run_path(&self.settings.dir, segment, capture.from)
        };
        let head = Head {
            shard: self.settings.shard,
            log_id: self.settings.log_id,
            segment,
            from: capture.from,
            to: capture.to,
            epoch: capture.epoch,
            first_store_ms: capture.store_ms.0,
            last_store_ms: capture.store_ms.1,
            clock_ms: capture.clock_ms,
            messages: capture.messages(),
            next_number: capture.next_number,
            influenced_by: capture.to,
        };
        let mut topics = Vec::with_capacity(capture.topics.len());
        for piece in capture.topics.chunks(PIECE_ENTRIES) {
            topics.extend_from_slice(piece);
            pause().await;
        }
        (Outline { head, topics, rows: capture.rows.clone(), states }, path)
    }

    /// A state as the log has committed it, piece by piece: what is committed meanwhile is in there or not, and is
    /// replayed in any case.
    async fn snapshot<S, P, F>(&self, of: impl Fn(&ShardState) -> &S, pause: &P) -> StateSection
    where
        S: DerivedState,
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let (mut place, mut pieces) = (S::Place::default(), Vec::new());
        while of(&self.state.borrow().derived).snapshot(&mut place, &mut pieces) {
            pause().await;
        }
        StateSection { kind: S::SECTION, pieces }
    }

    /// Keys of the captured messages in buckets: ordered between them, not within.
    async fn sort_keys<P, F>(&self, pause: &P) -> Vec<Vec<Key>>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let capture = self.capture;
        let mut buckets = vec![Vec::new(); KEY_BUCKETS];
        let blocks = self.state.borrow().keys.blocks_before(capture.to);
        for number in 0..blocks {
            {
                let state = self.state.borrow();
                let segment = state.log.segment_of(capture.from);
                for key in state.keys.block(number, segment, capture.to) {
                    buckets[(key.hash >> 24) as usize].push(key);
                }
            }
            pause().await;
        }
        buckets
    }

    async fn write_entries<P, F>(
        &self,
        writer: &mut IndexWriter<D>,
        pause: &P,
    ) -> Result<(), StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let capture = self.capture;
        let mut piece = Vec::with_capacity(PIECE_ENTRIES);
        for (row, slot) in capture.rows.iter().zip(&capture.slots) {
            let mut offset = row.start();
            while offset < row.next {
                let room = (PIECE_ENTRIES - piece.len()) as i64;
                let to = row.next.min(offset + room);
                {
                    let state = self.state.borrow();
                    (offset..to).for_each(|offset| {
                        piece.push(state.captured_entry(*slot, row.number, offset, capture.from));
                    });
                }
                offset = to;
                if piece.len() == PIECE_ENTRIES {
                    writer.entries(&piece).await?;
                    piece.clear();
                    pause().await;
                }
            }
        }
        Ok(writer.entries(&piece).await?)
    }
}
