//! Reading the log batch by batch into the tables, over damaged places where they are proven to be damage.

use super::{Report, SCAN_READ_BYTES, Segments, window::Window};
use crate::{
    batch::{Entries, Entry, HEADER_BYTES, Header, Kind, MAGIC},
    consume_queue,
    error::StoreError,
    index::{Outline, StateSection, key_hash},
    log::CommitLog,
    lookup::keys_of,
    ring::TailRing,
    settings::Settings,
    state::{ControlEntry, ControlError},
    store_state::StoreState,
};
use ahash::AHashMap;
use proto::record::RecordView;
use runtime::{BLOCK_BYTES, Disk, DiskFile};
use std::{collections::BTreeMap, future::Future, rc::Rc};

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
    /// The newest batch says that everything before was durable when it was closed.
    pub(super) proven: u64,
    pub epoch: u32,
    /// Whether keys are collected.
    keys: bool,
    /// Position and kind of the first control entry that is not known here.
    unknown: Option<(u64, u16)>,
    pub(super) last_store_ms: i64,
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

pub(super) fn read_error(settings: &Settings, segment: u64, source: std::io::Error) -> StoreError {
    StoreError::io("read", settings.segment_path(segment), source)
}

impl Scan {
    pub fn new(settings: &Settings) -> Scan {
        // Recovery only fills the tables; the log itself is put in place when its end is known.
        let ring = TailRing::new(1 << 15, BLOCK_BYTES);
        let mut shape = settings.shape(0);
        shape.inflight_bytes_max = 0;
        shape.entry_bytes_max = 0;
        let log = CommitLog::resume(shape, ring, 0, &[]);
        Scan {
            state: StoreState::new(log),
            position: 0,
            proven: 0,
            epoch: 0,
            keys: settings.index_keys,
            unknown: None,
            last_store_ms: 0,
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
        self.proven = head.to;
        self.epoch = head.epoch;
        self.state.begin_epoch(head.from, head.epoch);
        self.last_store_ms = head.clock_ms;
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
        let segment = self.position - self.position % settings.segment_bytes;
        let Some(file) = segments.get(&segment) else {
            self.skip_damage(end, settings.shard);
            return Ok(());
        };
        let mut window = Window::reading_ahead(&**file, segment, settings.segment_bytes);
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
                self.position = window.segment + settings.segment_bytes;
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
            let segment = self.position - self.position % settings.segment_bytes;
            if let Some(file) = segments.get(&segment) {
                let mut window = Window::reading_ahead(&**file, segment, settings.segment_bytes);
                let taken = self.batches(&mut window, settings).await;
                window.finish().await;
                let whole = taken.map_err(|source| read_error(settings, segment, source))?;
                self.check_known(settings)?;
                if whole && segments.contains_key(&self.position) {
                    continue;
                }
            }
            match self.find_witness(segments, settings).await? {
                Some(next) => self.skip_damage(next, settings.shard),
                None => return Ok(()),
            }
        }
    }

    /// Takes batch after batch of a segment from `self.position` on. `true`: up to the segment's end.
    async fn batches<F: DiskFile<Buf = B>, B: AsRef<[u8]> + 'static>(
        &mut self,
        window: &mut Window<'_, F>,
        settings: &Settings,
    ) -> std::io::Result<bool> {
        let end = window.segment + settings.segment_bytes;
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
        tracing::error!(shard, from, to = next, "the log is damaged here; what it held is lost");
        self.report.damaged_bytes += next - from;
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
        self.take_entries(payload, position, settings.shard);
        self.epoch = header.epoch;
        self.state.begin_epoch(position, header.epoch);
        self.proven = self.proven.max(header.durable_until.max(window.segment));
        self.last_store_ms = header.last_store_ms;
        self.state.clock_ms = header.last_store_ms;
        self.position = header.end();
        self.report.scanned_bytes += whole as u64;
        Ok(Some(header.kind))
    }

    fn take_entries(&mut self, payload: &[u8], position: u64, shard: u16) {
        for entry in Entries::new(payload, position) {
            let taken = match entry {
                Ok(Entry::Record { position, bytes }) => self.take_record(position, bytes),
                Ok(Entry::Control { position, kind, content }) => {
                    self.take_control(position, kind, content)
                }
                Err(what) => Err(what),
            };
            if let Err(what) = taken {
                tracing::error!(shard, position, what, "an entry of the log is ignored");
            }
        }
    }

    fn take_control(
        &mut self,
        position: u64,
        kind: u16,
        content: &[u8],
    ) -> Result<(), &'static str> {
        match ControlEntry::decode(kind, content) {
            Ok(entry) => {
                self.state.replay_control(&entry, position);
                Ok(())
            }
            Err(ControlError::Unknown { kind }) => {
                self.unknown.get_or_insert((position, kind));
                Ok(())
            }
            Err(ControlError::Malformed { what, .. }) => Err(what),
        }
    }

    /// A control entry that a newer broker wrote ends the scan: the state would be wrong without it.
    fn check_known(&self, settings: &Settings) -> Result<(), StoreError> {
        let Some((position, kind)) = self.unknown else { return Ok(()) };
        Err(StoreError::Newer {
            path: settings.segment_path(position - position % settings.segment_bytes),
            what: format!("control entry of kind {kind} at position {position} of the log"),
        })
    }

    fn take_record(&mut self, position: u64, bytes: &[u8]) -> Result<(), &'static str> {
        let view = RecordView::parse(bytes).map_err(|_| "record cannot be read")?;
        let queue_id = u32::try_from(view.queue_id()).map_err(|_| "queue id is negative")?;
        let tags = proto::properties::get(view.properties_text(), proto::properties::TAGS);
        let tags_code = proto::record::tags_code(tags);
        let check = consume_queue::record_check(bytes);
        let entry = consume_queue::Entry::new(position, bytes.len() as u32, tags_code);
        let entry = entry.with_check(check);
        self.report.messages += 1;
        let store_ms = view.store_timestamp();
        if self.keys {
            for key in keys_of(view.properties_text()) {
                self.state.keys.push(key_hash(view.topic(), key), position);
            }
        }
        self.state.replay_record(view.topic(), queue_id, view.queue_offset(), store_ms, entry)
    }

    /// Looks behind the damaged place at `self.position` for a batch which proves that the place was durable, in its
    /// segment and in those behind. Returns where the log goes on: at the first whole batch, which may stand before
    /// the one that proves it, but not behind the end of what is proven.
    pub async fn find_witness<F: DiskFile<Buf = B>, B: AsRef<[u8]> + 'static>(
        &self,
        segments: &BTreeMap<u64, Rc<F>>,
        settings: &Settings,
    ) -> Result<Option<u64>, StoreError> {
        let damaged = self.position;
        let damaged_segment = damaged - damaged % settings.segment_bytes;
        let mut first: Option<u64> = None;
        for (segment, file) in segments.range(damaged_segment..) {
            let mut window = Window::reading_ahead(&**file, *segment, settings.segment_bytes);
            let from = (damaged + 1).max(*segment);
            let seen = self.walk(&mut window, from, settings).await;
            window.finish().await;
            let seen = seen.map_err(|source| read_error(settings, *segment, source))?;
            first = first.or(seen.first);
            if let Some(durable) = seen.durable_until {
                return Ok(first.map(|first| first.min(durable)));
            }
        }
        Ok(None)
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
            let durable_until = header.durable_until.max(window.segment);
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
