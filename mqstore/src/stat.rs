//! `stat`: what a store holds, counted: segments, space, ages, topics, groups with their lag.
//!
//! What index files cover is read from them; only the log behind the last of them is scanned.

use crate::{
    data_dir::{DataDir, InspectError, Segments, now, open_segments},
    file_disk::FileDisk,
    finding::Findings,
    index_chain::{Chain, unless_damaged},
    log_walk::{Step, walk},
};
use ahash::AHashMap;
use proto::record::RecordView;
use runtime::Disk;
use serde::Serialize;
use std::collections::BTreeMap;
use store::{
    batch::{Entries, Entry},
    offset::MESSAGES_END,
    settings::Settings,
    state::{ControlEntry, ShardState},
};

/// What a store holds.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stat {
    /// Whether a broker holds the directory.
    pub held: bool,
    /// Bytes of the file system that the log is on.
    pub disk_total_bytes: u64,
    /// Of those, free.
    pub disk_free_bytes: u64,
    /// By shard.
    pub shards: Vec<ShardStat>,
    /// Topics with queues, most messages first.
    pub topics: Vec<TopicStat>,
    /// Groups with offsets, by name.
    pub groups: Vec<GroupStat>,
}

/// What a shard holds.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardStat {
    /// Its number.
    pub shard: u16,
    /// Segments, oldest first.
    pub segments: Vec<SegmentStat>,
    /// Retired segments that wait to be used again.
    pub spares: u64,
    /// Bytes of all index files.
    pub index_bytes: u64,
    /// Bytes of log behind the last index file: what a start has to scan.
    pub unindexed_bytes: u64,
    /// Where the log ends.
    pub end_position: u64,
    /// Share of all positions that messages can have, percent: at 100 the shard takes no more.
    pub positions_used_percent: f64,
    /// Queues that live here.
    pub queues: u64,
    /// Messages that can be asked for.
    pub messages: u64,
    /// Bytes of damaged places in what was scanned.
    pub damaged_bytes: u64,
}

/// A segment.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SegmentStat {
    /// Position where it starts.
    pub start: u64,
    /// Bytes of log in it.
    pub used_bytes: u64,
    /// Whether one index file covers all of it.
    pub sealed: bool,
    /// Messages in it.
    pub messages: u64,
    /// When the first was stored, ms; 0 without one.
    pub first_store_ms: i64,
    /// When the last was stored, ms; 0 without one.
    pub last_store_ms: i64,
    /// Bytes of its index files.
    pub index_bytes: u64,
}

/// A topic over all shards that were looked at.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicStat {
    /// Its name.
    pub topic: String,
    /// Queues that were ever written.
    pub queues: u64,
    /// Messages that can be asked for.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// When the last was stored, ms.
    pub last_store_ms: i64,
}

/// A group's offsets on one topic.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupStat {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// Queues with an offset.
    pub queues: u64,
    /// Messages that it has not consumed.
    pub lag: u64,
}

#[derive(Clone, Copy, Default)]
struct Queue {
    min: i64,
    next: i64,
    bytes: u64,
    last_store_ms: i64,
}

/// Queues of a shard by topic and id.
#[derive(Default)]
struct Tables {
    queues: BTreeMap<(Box<str>, u32), Queue>,
    state: ShardState,
    segments: BTreeMap<u64, SegmentStat>,
    damaged_bytes: u64,
}

/// Counts what the store holds. Damage that is met is reported in `findings`.
pub fn stat(dir: &DataDir, findings: &mut Findings) -> Result<Stat, InspectError> {
    let mut stat = Stat { held: dir.is_held(), ..Stat::default() };
    if let Ok(usage) = now(FileDisk::read_only().usage(&dir.log_root)) {
        (stat.disk_total_bytes, stat.disk_free_bytes) = (usage.total, usage.free);
    }
    let mut topics: AHashMap<Box<str>, TopicStat> = AHashMap::new();
    let mut groups: BTreeMap<(String, String), GroupStat> = BTreeMap::new();
    for shard in &dir.shards {
        let settings = dir.settings(*shard);
        let (counted, tables) = now(stat_shard(&settings, findings))?;
        stat.shards.push(counted);
        for ((topic, _), queue) in &tables.queues {
            let sum = topics.entry(topic.clone()).or_default();
            sum.queues += 1;
            sum.messages += (queue.next - queue.min).max(0) as u64;
            sum.bytes += queue.bytes;
            sum.last_store_ms = sum.last_store_ms.max(queue.last_store_ms);
        }
        for (group, topic, queue_id, offset) in tables.state.group_offsets.iter() {
            let key = (group.to_owned(), topic.to_owned());
            let sum = groups.entry(key).or_insert_with(|| GroupStat {
                group: group.to_owned(),
                topic: topic.to_owned(),
                ..GroupStat::default()
            });
            let queue = tables.queues.get(&(topic.into(), queue_id)).copied().unwrap_or_default();
            sum.queues += 1;
            sum.lag += (queue.next - offset.max(queue.min)).max(0) as u64;
        }
    }
    let named = topics.into_iter().map(|(topic, sum)| TopicStat { topic: topic.into(), ..sum });
    stat.topics = named.collect();
    stat.topics.sort_by(|a, b| b.messages.cmp(&a.messages).then_with(|| a.topic.cmp(&b.topic)));
    stat.groups = groups.into_values().collect();
    Ok(stat)
}

async fn stat_shard(
    settings: &Settings,
    findings: &mut Findings,
) -> Result<(ShardStat, Tables), InspectError> {
    let mut counted = ShardStat { shard: settings.shard, ..ShardStat::default() };
    let mut tables = Tables::default();
    let segments = open_segments(settings, findings).await?;
    let Some(first) = segments.keys().next().copied() else { return Ok((counted, tables)) };
    let names = FileDisk::read_only().list(&settings.dir).await;
    let names = names.map_err(crate::data_dir::io_at(&settings.dir))?;
    counted.spares = names.iter().filter(|entry| entry.name.ends_with(".spare")).count() as u64;
    tables.segments = segments
        .keys()
        .map(|start| (*start, SegmentStat { start: *start, ..SegmentStat::default() }))
        .collect();
    let chain = Chain::open(settings, &segments, findings).await?;
    counted.index_bytes = chain.bytes;
    let covered = tables.take_indexes(&chain, settings).await?.unwrap_or(first);
    let end = tables.scan(settings, &segments, covered, chain.end(first)).await?;
    counted.end_position = end;
    counted.positions_used_percent = end as f64 / MESSAGES_END as f64 * 100.0;
    counted.unindexed_bytes = end.saturating_sub(covered);
    counted.queues = tables.queues.len() as u64;
    counted.messages =
        tables.queues.values().map(|queue| (queue.next - queue.min).max(0) as u64).sum();
    counted.damaged_bytes = tables.damaged_bytes;
    for (start, segment) in &mut tables.segments {
        segment.used_bytes = end.saturating_sub(*start).min(settings.layout.bytes_of(*start));
    }
    counted.segments = std::mem::take(&mut tables.segments).into_values().collect();
    Ok((counted, tables))
}

impl Tables {
    /// Takes over what index files say. Returns where the log has to be scanned from, `None`: from its beginning.
    async fn take_indexes(
        &mut self,
        chain: &Chain,
        settings: &Settings,
    ) -> Result<Option<u64>, InspectError> {
        // By number: a topic that was deleted and made again is another one.
        let mut bytes: AHashMap<u32, (i64, u64)> = AHashMap::new();
        let mut last = None;
        for (number, link) in chain.links.iter().enumerate() {
            let Some(outline) = chain.outline(number).await? else { continue };
            let head = *link.index.head();
            let mut entries = link.index.all_entries();
            for row in &outline.rows {
                let mut left = row.count as usize;
                let (_, sum) = bytes.entry(row.number).or_insert((row.start(), 0));
                while left > 0 && unless_damaged(entries.fill().await)?.unwrap_or(false) {
                    let part = entries.rest();
                    let taken = left.min(part.len());
                    *sum +=
                        part.iter().take(taken).map(|entry| u64::from(entry.bytes())).sum::<u64>();
                    entries.consume(taken);
                    left -= taken;
                }
            }
            self.count_file(&head, link.index.bytes(), settings);
            last = Some(outline);
        }
        let Some(outline) = last else { return Ok(None) };
        for row in &outline.rows {
            let topic = outline.topics.get(row.topic as usize).cloned().unwrap_or_default();
            let (min, bytes) = bytes.get(&row.number).copied().unwrap_or((row.next, 0));
            let queue = Queue { min, next: row.next, bytes, last_store_ms: row.last_store_ms };
            self.queues.insert((topic, row.queue_id), queue);
        }
        // Verify reports what cannot be read.
        let _ = self.state.restore(&outline.states);
        Ok(Some(outline.head.to))
    }

    fn count_file(&mut self, head: &store::index::Head, bytes: u64, settings: &Settings) {
        let Some(segment) = self.segments.get_mut(&head.segment) else { return };
        segment.index_bytes += bytes;
        segment.sealed = head.covers_segment(&settings.layout);
        if head.messages > 0 {
            segment.count(head.messages, head.first_store_ms, head.last_store_ms);
        }
    }

    async fn scan(
        &mut self,
        settings: &Settings,
        segments: &Segments,
        from: u64,
        known_durable: u64,
    ) -> Result<u64, InspectError> {
        let end = walk(settings, segments, from, known_durable, |step| {
            match step {
                Step::Batch { header, payload } => {
                    let segment = settings.layout.start_of(header.position);
                    self.batch(segment, header.position, payload);
                }
                Step::Damage { range, .. } => self.damaged_bytes += range.end - range.start,
            }
            true
        });
        Ok(end.await?.position)
    }

    fn batch(&mut self, segment: u64, position: u64, payload: &[u8]) {
        for entry in Entries::new(payload, position) {
            match entry {
                Ok(Entry::Record { bytes, .. }) => self.record(segment, bytes),
                Ok(Entry::Control { position, kind, content }) => {
                    self.control(position, kind, content);
                }
                Err(_) => return,
            }
        }
    }

    fn record(&mut self, segment: u64, bytes: &[u8]) {
        let Ok(view) = RecordView::parse(bytes) else { return };
        let Ok(queue_id) = u32::try_from(view.queue_id()) else { return };
        let (offset, stored) = (view.queue_offset(), view.store_timestamp());
        let key = (Box::from(view.topic()), queue_id);
        let queue = self.queues.entry(key).or_insert(Queue { min: offset, ..Queue::default() });
        queue.next = offset.saturating_add(1);
        queue.bytes += bytes.len() as u64;
        queue.last_store_ms = stored;
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.count(1, stored, stored);
        }
    }

    fn control(&mut self, position: u64, kind: u16, content: &[u8]) {
        // Verify reports contents that cannot be read.
        let Ok(entry) = ControlEntry::decode(kind, content) else { return };
        if let ControlEntry::TopicRemoved { topic: removed } = entry {
            self.queues.retain(|(topic, _), _| **topic != *removed);
        }
        self.state.apply(&entry, position);
    }
}

impl SegmentStat {
    fn count(&mut self, messages: u64, first_ms: i64, last_ms: i64) {
        let none = self.messages == 0;
        self.first_store_ms = if none { first_ms } else { self.first_store_ms.min(first_ms) };
        self.last_store_ms = if none { last_ms } else { self.last_store_ms.max(last_ms) };
        self.messages += messages;
    }
}
