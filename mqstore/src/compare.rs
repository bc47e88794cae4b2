//! Whether an index file says about its part of the log what the log says: every record its entry, every entry its
//! record, every key its place.
//!
//! Memory does not grow with messages: both sides are summed up per queue, in the order of the queue, and the sums are
//! compared. A queue whose sums differ is suspicious only: if its topic was deleted later, the file may lack it, and
//! nobody will ever look.

use crate::{
    data_dir::{InspectError, io_at},
    file_disk::{FileDisk, PlainFile},
    finding::Findings,
    finding::note,
    index_chain::{damaged_index, unless_damaged},
    lost::Lost,
};
use ahash::AHashMap;
use proto::record::RecordView;
use runtime::{DiskFile, is_unreadable};
use std::ops::Range;
use store::{
    batch::PAYLOAD_BYTES_LIMIT,
    consume_queue::{Entry, record_check},
    index::{Index, Key, Outline},
    offset::PhysicalOffset,
    settings::Settings,
};
use xxhash_rust::xxh3::xxh3_64;

/// Messages of one queue, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    chained: u64,
}

impl Sum {
    /// The next message of the queue.
    fn take(&mut self, queue_offset: i64, entry: &Entry) {
        let mut bytes = [0; 36];
        let (position, size) = entry.words();
        let words = [self.chained, queue_offset as u64, position, entry.tags_code() as u64];
        for (room, word) in bytes.chunks_exact_mut(8).zip(words) {
            room.copy_from_slice(&word.to_be_bytes());
        }
        bytes[32..].copy_from_slice(&size.to_be_bytes());
        self.chained = xxh3_64(&bytes);
        self.count += 1;
    }
}

/// Keys, summed up in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct KeySum {
    count: u64,
    sum: u64,
}

impl KeySum {
    fn take(&mut self, key: Key) {
        let rank = u64::from(key.hash) << 32 | u64::from(key.at);
        self.count += 1;
        self.sum = self.sum.wrapping_add(xxh3_64(&rank.to_be_bytes()));
    }
}

/// What the log says about the part that one index file covers.
#[derive(Default)]
pub(crate) struct FileSums {
    queues: AHashMap<Box<str>, Vec<LogQueue>>,
    keys: KeySum,
    store_ms: Option<(i64, i64)>,
    /// Damaged parts of the log.
    pub(crate) damage: Vec<Range<u64>>,
}

struct LogQueue {
    queue_id: u32,
    sum: Sum,
    last_offset: i64,
    last_position: u64,
}

/// The segment that an index file is about, to look at single records.
pub(crate) struct SegmentOf<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) start: u64,
    pub(crate) file: Option<&'a PlainFile>,
}

impl SegmentOf<'_> {
    /// Whether the record of an entry is as it was written, by the checks that a reader of the broker makes. Damage that
    /// spoils a batch leaves most of its records whole, and an index file still leads to them.
    async fn has_record(&self, entry: &Entry) -> Result<bool, InspectError> {
        let (Some(file), bytes) = (self.file, entry.bytes() as usize) else { return Ok(false) };
        if bytes > PAYLOAD_BYTES_LIMIT {
            return Ok(false);
        }
        let read = file.read_at(entry.position() - self.start, bytes).await;
        let record = match read {
            Err(error) if is_unreadable(&error) => return Ok(false),
            read => read.map_err(io_at(&self.settings.segment_path(self.start)))?,
        };
        let place = PhysicalOffset::new(self.settings.shard, entry.position()).to_wire();
        let ours = RecordView::parse(&record).is_ok_and(|view| view.physical_offset() == place);
        Ok(ours && record_check(&record) == entry.check())
    }
}

/// A queue that log and index file disagree about, unless its topic was deleted behind `position`.
#[derive(Debug)]
pub(crate) struct Suspicion {
    pub(crate) topic: Box<str>,
    pub(crate) queue_id: u32,
    pub(crate) position: u64,
    pub(crate) what: String,
}

impl FileSums {
    /// A record of the log.
    pub(crate) fn record(
        &mut self,
        topic: &str,
        queue_id: u32,
        queue_offset: i64,
        store_ms: i64,
        entry: &Entry,
    ) {
        if !self.queues.contains_key(topic) {
            self.queues.insert(topic.into(), Vec::new());
        }
        let Some(queues) = self.queues.get_mut(topic) else { return };
        let at = queues.iter().position(|queue| queue.queue_id == queue_id);
        let at = at.unwrap_or_else(|| {
            let sum = Sum::default();
            queues.push(LogQueue { queue_id, sum, last_offset: -1, last_position: 0 });
            queues.len() - 1
        });
        let Some(queue) = queues.get_mut(at) else { return };
        if queue_offset <= queue.last_offset {
            // The topic was deleted and made again; the record that says so is in a damaged place.
            queue.sum = Sum::default();
        }
        queue.last_offset = queue_offset;
        queue.last_position = entry.position();
        queue.sum.take(queue_offset, entry);
        let (first, last) = self.store_ms.unwrap_or((store_ms, store_ms));
        self.store_ms = Some((first.min(store_ms), last.max(store_ms)));
    }

    pub(crate) fn key(&mut self, key: Key) {
        self.keys.take(key);
    }

    /// The topic was deleted: what came before has no entries.
    pub(crate) fn topic_removed(&mut self, topic: &str) {
        self.queues.remove(topic);
    }

    fn is_damaged(&self, position: u64) -> Option<usize> {
        self.damage.iter().position(|range| range.contains(&position))
    }

    /// Compares with the file. Entries of records in damaged places are added to `lost`, one for each of them; `segment`
    /// tells which of their records are whole nevertheless.
    pub(crate) async fn compare(
        mut self,
        index: &Index<FileDisk>,
        outline: &Outline,
        segment: &SegmentOf<'_>,
        lost: &mut [Lost],
        suspicions: &mut Vec<Suspicion>,
        findings: &mut Findings,
    ) -> Result<(), InspectError> {
        let head = index.head();
        self.compare_times(index, findings);
        let mut entries = index.all_entries();
        for row in &outline.rows {
            let topic = outline.topics.get(row.topic as usize).map_or("", |topic| &**topic);
            let mut sum = Sum::default();
            let mut offset = row.start();
            while offset < row.next {
                let Some(filled) = unless_damaged(entries.fill().await)? else { return Ok(()) };
                if !filled {
                    break;
                }
                let left = (row.next - offset) as usize;
                let part = entries.rest().iter().take(left);
                let taken = part.len();
                for entry in part {
                    if entry.bytes() > 0 {
                        match self.is_damaged(entry.position()) {
                            None => sum.take(offset, entry),
                            Some(place) if segment.has_record(entry).await? => {
                                lost[place].spare();
                            }
                            Some(place) => lost[place].add(topic, row.queue_id, 1),
                        }
                    }
                    offset += 1;
                }
                entries.consume(taken);
            }
            let in_log = self.take_queue(topic, row.queue_id);
            let (of_log, position) = in_log
                .map_or((Sum::default(), head.from), |queue| (queue.sum, queue.last_position));
            if of_log != sum {
                let what = format!(
                    "{} messages of it are in the log, {} entries in the file, and they do not match",
                    of_log.count, sum.count
                );
                let queue_id = row.queue_id;
                suspicions.push(Suspicion { topic: topic.into(), queue_id, position, what });
            }
        }
        self.missing_rows(suspicions);
        self.compare_keys(index, findings).await
    }

    fn take_queue(&mut self, topic: &str, queue_id: u32) -> Option<LogQueue> {
        let queues = self.queues.get_mut(topic)?;
        let at = queues.iter().position(|queue| queue.queue_id == queue_id)?;
        Some(queues.swap_remove(at))
    }

    fn missing_rows(&mut self, suspicions: &mut Vec<Suspicion>) {
        for (topic, queues) in self.queues.drain() {
            suspicions.extend(queues.into_iter().map(|queue| Suspicion {
                topic: topic.clone(),
                queue_id: queue.queue_id,
                position: queue.last_position,
                what: format!(
                    "{} messages of it are in the log, the file lacks it",
                    queue.sum.count
                ),
            }));
        }
    }

    fn compare_times(&self, index: &Index<FileDisk>, findings: &mut Findings) {
        let head = index.head();
        let Some((first, last)) = self.store_ms else { return };
        if first < head.first_store_ms || last > head.last_store_ms {
            let what = format!(
                "its messages were stored from {first} to {last} ms, it says from {} to {} ms",
                head.first_store_ms, head.last_store_ms
            );
            findings.about_existing(damaged_index(index.path(), &what));
        }
    }

    async fn compare_keys(
        &self,
        index: &Index<FileDisk>,
        findings: &mut Findings,
    ) -> Result<(), InspectError> {
        let segment = index.head().segment;
        let mut sum = KeySum::default();
        let mut keys = index.all_keys();
        loop {
            let Some(chunk) = unless_damaged(keys.next_chunk().await)? else { return Ok(()) };
            let Some(chunk) = chunk else { break };
            let whole = |key: &&Key| self.is_damaged(segment + u64::from(key.at)).is_none();
            chunk.iter().filter(whole).for_each(|key| sum.take(*key));
        }
        if sum == self.keys {
            return Ok(());
        }
        if index.key_count() == 0 {
            let what = "has no keys: it was written with messageIndexEnable=false";
            findings.push(note(index.path(), None, what));
            return Ok(());
        }
        let what =
            format!("its {} keys are not the {} keys of the messages", sum.count, self.keys.count);
        findings.about_existing(damaged_index(index.path(), &what));
        Ok(())
    }
}
