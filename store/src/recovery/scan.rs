//! Reading the log batch by batch into the tables, over damaged places where they are proven to be damage.

use super::{Report, SCAN_READ_BYTES, Segments, progress::Progress, window::Window};
use crate::{
    batch::{HEADER_BYTES, Header, Kind, MAGIC},
    error::StoreError,
    index::{Outline, StateSection},
    log::{CommitLog, Resume},
    ring::TailRing,
    settings::Settings,
    store_state::StoreState,
};
use ahash::AHashMap;
use runtime::{BLOCK_BYTES, Disk, DiskFile};
use std::{collections::BTreeMap, future::Future, rc::Rc, sync::Arc};

/// How far behind a damaged place a witness is looked for, besides the largest record. A bound, because behind the
/// regular end of the log there is up to a whole segment of nothing, which no start should have to read.
const WITNESS_REACH_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes scanned between two pauses, beside a store at work.
const PAUSE_BYTES: u64 = 256 * 1024;

/// What was read so far.
pub struct Scan {
    pub(crate) state: StoreState,
    /// Behind the last whole batch.
    pub position: u64,
    /// Everything before was durable on this disk: the newest batch says so, or the segment that it stands in.
    pub(super) proven: u64,
    pub epoch: u32,
    /// Store whose disk this is: only what it wrote itself says what was durable here.
    store_id: u64,
    /// Whether the log follows that of another store.
    pub(super) follows: bool,
    /// Beside the log it is known that everything before was durable here.
    pub(super) known_durable: u64,
    /// Everything before is made visible, the rest waits to be committed.
    pub(super) committed: u64,
    /// Damage was stepped over since the last whole batch: an epoch may have begun in it.
    skipped_from: Option<u64>,
    /// Damage is told by who scans: its segment may be retired meanwhile, and its file be another one.
    pub(crate) quiet: bool,
    /// Whether keys are collected.
    keys: bool,
    /// Position and kind of the first control entry that is not known here.
    unknown: Option<(u64, u16)>,
    progress: Arc<Progress>,
    pub(crate) report: Report,
}

/// What stands behind a damaged place within one segment.
#[derive(Default)]
pub struct Seen {
    /// The first whole batch.
    pub first: Option<u64>,
    /// One of them proves that the place was durable, and everything up to here.
    durable_until: Option<u64>,
}

/// What is known of a place that holds no whole batch although it was durable.
pub struct Damage {
    /// Where the log goes on: at the first whole batch, if any, but not behind the end of what is proven.
    pub next: u64,
    /// Everything before was durable.
    pub durable_until: u64,
}

pub(super) fn read_error(settings: &Settings, segment: u64, source: std::io::Error) -> StoreError {
    StoreError::io("read", settings.segment_path(segment), source)
}

impl Scan {
    pub fn new(settings: &Settings) -> Scan {
        // Recovery only fills the tables; the log itself is put in place when its end is known.
        let ring = TailRing::new(1 << 15, BLOCK_BYTES);
        let mut shape = settings.shape();
        shape.inflight_bytes_max = 0;
        shape.entry_bytes_max = 0;
        let from = Resume { position: 0, tail: &[], committed: 0, epoch: 0, leads: false };
        let log = CommitLog::resume(shape, ring, from);
        let mut state = StoreState::new(log);
        state.derived.deferred.limit(settings.deferred_limits(), settings.layout);
        Scan {
            state,
            position: 0,
            proven: 0,
            epoch: 0,
            store_id: settings.store_id,
            follows: false,
            known_durable: 0,
            committed: u64::MAX,
            skipped_from: None,
            quiet: false,
            keys: settings.index_keys,
            unknown: None,
            progress: Arc::clone(&settings.progress),
            report: Report::default(),
        }
    }

    /// Begins with nothing known, at the first segment.
    pub fn begin_at(&mut self, position: u64) {
        self.position = position;
        self.state.indexed_to = position;
        self.state.births_known = position == 0;
    }

    /// Goes on from the state that an index file describes. `starts` are the first offsets that can still be read, by
    /// number; a queue that is not among them was born later and begins at 0.
    pub(crate) fn go_on_from(&mut self, outline: Outline, starts: &AHashMap<u32, i64>) {
        let Outline { head, topics, rows, states } = outline;
        for row in &rows {
            let Some(topic) = topics.get(row.topic as usize) else { continue };
            let min = starts.get(&row.number).copied().unwrap_or(0).clamp(0, row.next.max(0));
            self.state.restore_queue(topic, row, min, row.next.max(0));
        }
        self.take_states(&states);
        self.state.next_number = head.next_number;
        self.state.numbers_in_index = head.next_number;
        self.state.indexed_to = head.to;
        self.state.births_known = true;
        self.position = head.to;
        self.progress.reach(head.to);
        self.proven = head.to;
        self.epoch = head.epoch;
        self.state.clock_ms = head.clock_ms;
    }

    /// States of the shard as an index file has them.
    pub(crate) fn take_states(&mut self, states: &[StateSection]) {
        if let Err(error) = self.state.derived.restore(states) {
            tracing::error!(%error, "what an index file says of the shard's state is ignored");
        }
    }

    /// Scans up to `end`, which is known to have been durable: what is damaged is damage, and is stepped over. `pause`
    /// lets others run.
    pub(crate) async fn known_range<D, P, W>(
        &mut self,
        segments: &Segments<D>,
        end: u64,
        settings: &Settings,
        pause: &P,
    ) -> Result<(), StoreError>
    where
        D: Disk,
        P: Fn() -> W,
        W: Future<Output = ()>,
    {
        let segment = settings.layout.start_of(self.position);
        let Some(file) = segments.get(&segment) else {
            self.skip_damage(end, settings.shard);
            return Ok(());
        };
        let mut window = Window::reading_ahead(&**file, segment, settings.layout);
        let scanned = self.known(&mut window, end, settings, pause).await;
        window.finish().await;
        scanned.map_err(|source| read_error(settings, segment, source))?;
        self.check_known(settings)
    }

    async fn known<F, B, P, W>(
        &mut self,
        window: &mut Window<'_, F>,
        end: u64,
        settings: &Settings,
        pause: &P,
    ) -> std::io::Result<()>
    where
        F: DiskFile<Buf = B>,
        B: AsRef<[u8]> + 'static,
        P: Fn() -> W,
        W: Future<Output = ()>,
    {
        let mut paused = self.position;
        while self.position < end {
            if self.batch(window, settings).await? == Some(Kind::SegmentEnd) {
                self.position = settings.layout.end_of(window.segment);
            } else if self.position < end && !self.at_whole_batch(window, settings).await? {
                let seen = self.walk(window, self.position + 1, settings).await?;
                self.skip_damage(seen.first.unwrap_or(end).min(end), settings.shard);
            }
            if self.position - paused >= PAUSE_BYTES {
                paused = self.position;
                pause().await;
            }
        }
        Ok(())
    }

    async fn at_whole_batch<F: DiskFile<Buf = B>, B: AsRef<[u8]> + 'static>(
        &self,
        window: &mut Window<'_, F>,
        settings: &Settings,
    ) -> std::io::Result<bool> {
        Ok(self.whole_batch(window, self.position, settings).await?.is_some())
    }

    /// Scans all segments, as far as the log goes.
    pub(super) async fn segments<F: DiskFile<Buf = B>, B: AsRef<[u8]> + 'static>(
        &mut self,
        segments: &BTreeMap<u64, Rc<F>>,
        settings: &Settings,
    ) -> Result<(), StoreError> {
        loop {
            let segment = settings.layout.start_of(self.position);
            if let Some(file) = segments.get(&segment) {
                let mut window = Window::reading_ahead(&**file, segment, settings.layout);
                let taken = self.batches(&mut window, settings).await;
                window.finish().await;
                let whole = taken.map_err(|source| read_error(settings, segment, source))?;
                self.check_known(settings)?;
                if whole && segments.contains_key(&self.position) {
                    continue;
                }
            }
            let Some(damage) = self.find_witness(segments, settings).await? else { return Ok(()) };
            if self.follows && !self.is_own_damage(&damage, segments, settings).await? {
                self.stop_at_damage(&damage, settings.shard);
                return Ok(());
            }
            self.skip_damage(damage.next, settings.shard);
        }
    }

    /// Whether what is damaged was written by this store, which nobody else can be sure to have.
    async fn is_own_damage<F: DiskFile<Buf = B>, B: AsRef<[u8]> + 'static>(
        &self,
        damage: &Damage,
        segments: &BTreeMap<u64, Rc<F>>,
        settings: &Settings,
    ) -> Result<bool, StoreError> {
        let Some(last) = self.state.lineage().last() else { return Ok(false) };
        let segment = settings.layout.start_of(damage.next);
        let Some(file) = segments.get(&segment) else { return Ok(false) };
        let mut window = Window::new(&**file, segment, settings.layout);
        let next = self.whole_batch(&mut window, damage.next, settings).await;
        let next = next.map_err(|source| read_error(settings, segment, source))?;
        Ok(last.writer == self.store_id
            && next.is_some_and(|next| (next.writer, next.epoch) == (last.writer, last.epoch)))
    }

    /// A follower does not step over what its leader can send again.
    fn stop_at_damage(&mut self, damage: &Damage, shard: u16) {
        let (from, durable_until) = (self.position, damage.durable_until);
        tracing::error!(
            shard,
            from,
            durable_until,
            "the log is damaged here; it ends before, and what follows is to be fetched again"
        );
        self.report.lacking_bytes = durable_until - from;
    }

    /// Takes batch after batch of a segment from `self.position` on. `true`: up to the segment's end.
    async fn batches<F: DiskFile<Buf = B>, B: AsRef<[u8]> + 'static>(
        &mut self,
        window: &mut Window<'_, F>,
        settings: &Settings,
    ) -> std::io::Result<bool> {
        let end = settings.layout.end_of(window.segment);
        while self.position + HEADER_BYTES as u64 <= end {
            match self.batch(window, settings).await? {
                Some(Kind::Entries) => {}
                Some(Kind::SegmentEnd) => {
                    self.position = end;
                    return Ok(true);
                }
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    fn skip_damage(&mut self, next: u64, shard: u16) {
        let from = self.position;
        if !self.quiet {
            tracing::error!(
                shard,
                from,
                to = next,
                "the log is damaged here; what it held is lost"
            );
        }
        self.report.damaged_bytes += next - from;
        self.report.damaged_from.get_or_insert(from);
        self.skipped_from.get_or_insert(from);
        self.position = next;
    }

    /// Takes the batch at `self.position`, if it is whole.
    async fn batch<F: DiskFile<Buf = B>, B: AsRef<[u8]> + 'static>(
        &mut self,
        window: &mut Window<'_, F>,
        settings: &Settings,
    ) -> std::io::Result<Option<Kind>> {
        let position = self.position;
        let Some(header) = self.whole_batch(window, position, settings).await? else {
            return Ok(None);
        };
        let whole = HEADER_BYTES + header.payload_bytes as usize;
        let payload = &window.at(position, whole).await?[HEADER_BYTES..];
        let damaged_from = self.skipped_from.take();
        let replayed = self.state.replay_batch(&header, payload, damaged_from, self.keys);
        self.report.messages += replayed.messages;
        self.unknown = self.unknown.or(replayed.unknown);
        self.state.publish_before(header.end().min(self.committed));
        self.epoch = header.epoch;
        self.proven = self.proven.max(self.witnessed(&header)).max(window.segment);
        self.position = header.end();
        self.report.scanned_bytes += whole as u64;
        self.progress.scan(whole as u64, self.position);
        Ok(Some(header.kind))
    }

    /// A control entry that a newer broker wrote ends the scan: the state would be wrong without it.
    fn check_known(&self, settings: &Settings) -> Result<(), StoreError> {
        let Some((position, kind)) = self.unknown else { return Ok(()) };
        Err(StoreError::Newer {
            path: settings.segment_path(settings.layout.start_of(position)),
            what: format!("control entry of kind {kind} at position {position} of the log"),
        })
    }

    /// Up to where a batch says that this disk was durable: its writer speaks of its own disk only.
    fn witnessed(&self, header: &Header) -> u64 {
        if header.writer == self.store_id { header.durable_until } else { 0 }
    }

    /// Looks behind the damaged place at `self.position` for a proof that the place was durable, in its segment and in
    /// those behind: a batch which says so, or a batch behind what is known to have been durable. Returns where the log
    /// goes on: at the first whole batch, which may stand before the one that proves it, but not behind the end of what
    /// is proven.
    pub async fn find_witness<F: DiskFile<Buf = B>, B: AsRef<[u8]> + 'static>(
        &self,
        segments: &BTreeMap<u64, Rc<F>>,
        settings: &Settings,
    ) -> Result<Option<Damage>, StoreError> {
        let damaged = self.position;
        let damaged_segment = settings.layout.start_of(damaged);
        let mut first: Option<u64> = None;
        for (segment, file) in segments.range(damaged_segment..) {
            let mut window = Window::reading_ahead(&**file, *segment, settings.layout);
            let from = (damaged + 1).max(*segment);
            let seen = self.walk(&mut window, from, settings).await;
            window.finish().await;
            let seen = seen.map_err(|source| read_error(settings, *segment, source))?;
            first = first.or(seen.first);
            if let Some(durable_until) = seen.durable_until {
                let next = first.map_or(durable_until, |first| first.min(durable_until));
                return Ok(Some(Damage { next, durable_until }));
            }
        }
        if damaged >= self.known_durable {
            return Ok(None);
        }
        // A follower that stops there must know it even if nothing whole is behind; a leader has nothing to go on with.
        let durable_until = self.known_durable;
        let next = first.filter(|first| *first <= durable_until);
        let next = if self.follows { Some(next.unwrap_or(durable_until)) } else { next };
        Ok(next.map(|next| Damage { next, durable_until }))
    }

    /// Looks through a segment from `from` on for whole batches, until one proves that the place at `self.position`
    /// was durable or none follows for [`WITNESS_REACH_BYTES`].
    pub async fn walk<F: DiskFile<Buf = B>, B: AsRef<[u8]> + 'static>(
        &self,
        window: &mut Window<'_, F>,
        from: u64,
        settings: &Settings,
    ) -> std::io::Result<Seen> {
        let reach = WITNESS_REACH_BYTES + settings.record_bytes_max as u64;
        let segment_end = window.segment + window.segment_bytes;
        let mut end = segment_end.min(from + reach);
        let mut at = from;
        let mut seen = Seen::default();
        while at + HEADER_BYTES as u64 <= end {
            let bytes = window.at(at, SCAN_READ_BYTES).await?;
            let Some(found) = memchr::memmem::find(bytes, &MAGIC) else {
                at += (bytes.len() - MAGIC.len() + 1).max(1) as u64;
                continue;
            };
            at += found as u64;
            let Some(header) = self.whole_batch(window, at, settings).await? else {
                at += 1;
                continue;
            };
            seen.first.get_or_insert(at);
            // A segment is durable before anything is written to the next one.
            let durable_until = self.witnessed(&header).max(window.segment);
            if durable_until > self.position {
                seen.durable_until = Some(durable_until);
                break;
            }
            at = header.end();
            end = segment_end.min(at + reach);
        }
        Ok(seen)
    }

    /// The header of the batch at `at`, if a whole one stands there that may follow what was taken so far.
    pub async fn whole_batch<F: DiskFile<Buf = B>, B: AsRef<[u8]> + 'static>(
        &self,
        window: &mut Window<'_, F>,
        at: u64,
        settings: &Settings,
    ) -> std::io::Result<Option<Header>> {
        let bytes = window.at(at, HEADER_BYTES).await?;
        let Ok(header) = Header::decode(bytes, at, settings.log_id) else { return Ok(None) };
        if header.epoch < self.epoch {
            return Ok(None);
        }
        let whole = HEADER_BYTES + header.payload_bytes as usize;
        let bytes = window.at(at, whole).await?;
        if bytes.len() < whole {
            return Ok(None);
        }
        let (head, payload) = bytes.split_at(HEADER_BYTES);
        Ok(Header::check_payload(head, payload).is_ok().then_some(header))
    }
}
