//! Checking one shard: its log batch by batch, its index files, and both against each other, in one pass.

use crate::{
    compare::{FileSums, SegmentOf, Suspicion},
    compare_rows::RowChain,
    data_dir::{InspectError, Segments, now, open_segments},
    finding::{Findings, damage, note},
    index_chain::{Chain, damaged_index},
    log_walk::{End, Step, walk},
    lost::Lost,
    progress::Progress,
};
use ahash::AHashMap;
use proto::record::RecordView;
use std::ops::Range;
use store::{
    batch::{Entries, Entry, HEADER_BYTES, Header},
    consume_queue,
    index::{Key, StateSection, key_hash},
    lookup::keys_of,
    offset::PhysicalOffset,
    settings::Settings,
    state::{ControlEntry, ShardState},
};

const STEPPED_OVER: &str =
    "they are lost; the broker steps over the place at each start and serves the rest";

/// What was seen of a shard.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) segments: u64,
    pub(crate) indexes: u64,
    pub(crate) batches: u64,
    pub(crate) messages: u64,
    pub(crate) lost_messages: u64,
}

/// Checks a shard. `held`: a broker may be appending to it.
pub(crate) async fn verify_shard(
    settings: &Settings,
    held: bool,
    findings: &mut Findings,
    progress: &Progress,
) -> Result<Seen, InspectError> {
    let segments = open_segments(settings, findings).await?;
    let Some(first) = segments.keys().next().copied() else {
        let finding = damage(&settings.dir, None, "has no segment of the log");
        findings.push(finding.costing("all messages of the shard").then(
            "the broker begins an empty log; if the log was moved, name its directory with --log",
        ));
        return Ok(Seen::default());
    };
    let mut chain = Chain::open(settings, &segments, findings).await?;
    progress.expect(
        chain.bytes + segments.keys().map(|start| settings.layout.bytes_of(*start)).sum::<u64>(),
    );
    chain.verify(findings, progress).await?;
    let mut check = ShardCheck::new(settings, (&chain, &segments), first, findings, progress);
    let known_durable = chain.end(first);
    let end = walk(settings, &segments, first, known_durable, |step| check.step(step)).await?;
    check.finish(end, held)
}

/// A damaged part of the log.
struct Damage {
    range: Range<u64>,
    file: bool,
    lost: Lost,
    /// An index file tells exactly what was there.
    counted: bool,
}

struct ShardCheck<'a> {
    settings: &'a Settings,
    chain: &'a Chain,
    segments: &'a Segments,
    findings: &'a mut Findings,
    progress: &'a Progress,
    first: u64,
    /// Number of the index file that covers the log here, or is the next to.
    link: usize,
    sums: FileSums,
    /// Damage within the part of that file, as indexes into `damages`.
    damages_here: Vec<usize>,
    damages: Vec<Damage>,
    rows: RowChain,
    suspicions: Vec<(usize, Suspicion)>,
    /// Where each deleted topic was deleted last.
    removed: AHashMap<Box<str>, u64>,
    /// The next queue offset of each queue.
    next: AHashMap<Box<str>, Vec<(u32, i64)>>,
    seen: Seen,
    failed: Option<InspectError>,
}

impl<'a> ShardCheck<'a> {
    fn new(
        settings: &'a Settings,
        (chain, segments): (&'a Chain, &'a Segments),
        first: u64,
        findings: &'a mut Findings,
        progress: &'a Progress,
    ) -> ShardCheck<'a> {
        ShardCheck {
            settings,
            chain,
            segments,
            findings,
            progress,
            first,
            link: 0,
            sums: FileSums::default(),
            damages_here: Vec::new(),
            damages: Vec::new(),
            rows: RowChain::default(),
            suspicions: Vec::new(),
            removed: AHashMap::new(),
            next: AHashMap::new(),
            seen: Seen::default(),
            failed: None,
        }
    }

    /// Whether to go on.
    fn step(&mut self, step: Step<'_>) -> bool {
        match step {
            Step::Batch { header, payload } => self.batch(&header, payload),
            Step::Damage { range, file } => self.damage(range, file),
        }
        self.failed.is_none()
    }

    /// The file that covers `position`, once those before are done with.
    fn file_at(&mut self, position: u64) -> bool {
        while let Some(link) = self.chain.links.get(self.link) {
            let head = link.index.head();
            if position < head.to {
                return head.from <= position;
            }
            self.end_file();
        }
        false
    }

    fn end_file(&mut self) {
        let number = self.link;
        self.link += 1;
        let sums = std::mem::take(&mut self.sums);
        let here = std::mem::take(&mut self.damages_here);
        let outline = match now(self.chain.outline(number)) {
            Ok(Some(outline)) => outline,
            Ok(None) => return self.rows.forget(),
            Err(error) => return self.failed = Some(error),
        };
        let Some(link) = self.chain.links.get(number) else { return };
        let mut lost = vec![Lost::default(); here.len()];
        let mut suspicions = Vec::new();
        let start = link.index.head().segment;
        let file = self.segments.get(&start).map(|file| &**file);
        let segment = SegmentOf { settings: self.settings, start, file };
        let findings = &mut *self.findings;
        let index = &link.index;
        let compared =
            sums.compare(index, &outline, &segment, &mut lost, &mut suspicions, findings);
        if let Err(error) = now(compared) {
            self.failed = Some(error);
        }
        self.check_states(&outline.states, link.index.path());
        for (place, lost) in here.iter().zip(lost) {
            if let Some(damage) = self.damages.get_mut(*place) {
                damage.counted = true;
                damage.lost.merge(lost);
            }
        }
        let after_damage = !self.damages.is_empty();
        for (topic, queue_id, count) in self.rows.next(&outline, after_damage, &mut suspicions) {
            if let Some(damage) = self.damages.last_mut() {
                damage.lost.add(&topic, queue_id, count);
            }
        }
        self.suspicions.extend(suspicions.into_iter().map(|suspicion| (number, suspicion)));
    }

    fn check_states(&mut self, states: &[StateSection], path: &std::path::Path) {
        if let Err(error) = ShardState::default().restore(states) {
            self.findings.about_existing(damaged_index(path, &error.to_string()));
        }
    }

    fn batch(&mut self, header: &Header, payload: &[u8]) {
        self.progress.add(HEADER_BYTES as u64 + payload.len() as u64);
        self.seen.batches += 1;
        let mut entries = 0;
        let mut at = header.position + HEADER_BYTES as u64;
        for entry in Entries::new(payload, header.position) {
            entries += 1;
            let checked = match entry {
                Ok(Entry::Record { position, bytes }) => {
                    at = position;
                    self.record(position, bytes).map_err(str::to_owned)
                }
                Ok(Entry::Control { position, kind, content }) => {
                    self.control(position, kind, content)
                }
                Err(what) => Err(what.to_owned()),
            };
            if let Err(what) = checked {
                self.wrong(at, what.to_owned());
            }
        }
        if entries != header.entry_count {
            let what = format!("the batch has {entries} entries and says {}", header.entry_count);
            self.wrong(header.position, what);
        }
    }

    /// The batch is whole, so it was written like this: a bug, or memory that forgets.
    fn wrong(&mut self, position: u64, what: String) {
        let segment = self.settings.layout.start_of(position);
        let path = self.settings.segment_path(segment);
        let finding = damage(&path, position - segment, what).costing("this entry");
        self.findings.about_existing(finding.then("the broker ignores it or refuses to serve it"));
    }

    fn record(&mut self, position: u64, bytes: &[u8]) -> Result<(), &'static str> {
        let view = RecordView::parse(bytes).map_err(|_| "record cannot be read")?;
        view.check_body().map_err(|_| "the body of the record fails its checksum")?;
        let queue_id = u32::try_from(view.queue_id()).map_err(|_| "queue id is negative")?;
        let physical = PhysicalOffset::new(self.settings.shard, position);
        if view.physical_offset() != physical.to_wire() {
            return Err("the record says that it lies elsewhere");
        }
        if view.queue_offset() < 0 {
            return Err("queue offset is negative");
        }
        self.seen.messages += 1;
        let covered = self.file_at(position);
        // A whole index file tells exactly what is lost; without one, gaps between queue offsets do.
        let exact = covered && self.chain.links.get(self.link).is_some_and(|link| !link.damaged);
        self.continue_queue(position, view.topic(), queue_id, view.queue_offset(), exact);
        if !covered {
            return Ok(());
        }
        let properties = view.properties_text();
        let tags = proto::properties::get(properties, proto::properties::TAGS);
        let tags_code = proto::record::tags_code(tags);
        let entry = consume_queue::Entry::new(position, bytes.len() as u32, tags_code)
            .with_check(consume_queue::record_check(bytes));
        let store_ms = view.store_timestamp();
        self.sums.record(view.topic(), queue_id, view.queue_offset(), store_ms, &entry);
        let at = (position - self.settings.layout.start_of(position)) as u32;
        for key in keys_of(properties) {
            self.sums.key(Key { hash: key_hash(view.topic(), key), at });
        }
        Ok(())
    }

    /// Queue offsets are dense, but for what damage took along.
    fn continue_queue(
        &mut self,
        position: u64,
        topic: &str,
        queue_id: u32,
        offset: i64,
        exact: bool,
    ) {
        if !self.next.contains_key(topic) {
            self.next.insert(topic.into(), Vec::new());
        }
        let Some(queues) = self.next.get_mut(topic) else { return };
        let expected = match queues.iter_mut().find(|(id, _)| *id == queue_id) {
            Some((_, next)) => std::mem::replace(next, offset + 1),
            None => {
                queues.push((queue_id, offset + 1));
                // What came before the first segment is not known.
                if self.first == 0 { 0 } else { offset }
            }
        };
        if offset == expected {
            return;
        }
        match self.damages.last_mut() {
            Some(damage) if offset > expected => {
                if !exact && !damage.counted {
                    damage.lost.add(topic, queue_id, (offset - expected) as u64);
                }
            }
            Some(_) => {}
            None => {
                let what = format!("{topic}/{queue_id} goes on at {offset} instead of {expected}");
                self.wrong(position, what);
            }
        }
    }

    fn control(&mut self, position: u64, kind: u16, content: &[u8]) -> Result<(), String> {
        self.file_at(position);
        let entry = ControlEntry::decode(kind, content).map_err(|error| error.to_string())?;
        if let ControlEntry::TopicRemoved { topic } = entry {
            self.sums.topic_removed(topic);
            self.next.remove(topic);
            self.removed.insert(topic.into(), position);
        }
        Ok(())
    }

    fn damage(&mut self, range: Range<u64>, file: bool) {
        self.progress.add(range.end - range.start);
        let mut from = range.start;
        // Each index file has its own part of it.
        while from < range.end {
            let covered = self.file_at(from);
            let link = self.chain.links.get(self.link);
            let border = link
                .map(|link| if covered { link.index.head().to } else { link.index.head().from });
            let to = border.map_or(range.end, |border| border.min(range.end));
            let lost = Lost::default();
            self.damages.push(Damage { range: from..to, file, lost, counted: false });
            if covered {
                self.damages_here.push(self.damages.len() - 1);
                self.sums.damage.push(from..to);
            }
            from = to;
        }
    }

    fn finish(mut self, end: End, held: bool) -> Result<Seen, InspectError> {
        // Index files reach to the end of the log at most, but for the padding of the last segment.
        self.file_at(u64::MAX);
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.report_suspicions();
        self.report_damages();
        self.report_end(end, held);
        self.seen.segments = self.segments.len() as u64;
        self.seen.indexes = self.chain.links.len() as u64;
        Ok(self.seen)
    }

    /// Where the log is damaged, a record that deleted a topic may be among what is lost: then the file is right to lack
    /// what the log seems to have.
    fn report_suspicions(&mut self) {
        let excused = !self.damages.is_empty();
        let suspicions = std::mem::take(&mut self.suspicions);
        for (number, Suspicion { topic, queue_id, position, what }) in suspicions {
            let deleted = self.removed.get(&topic).is_some_and(|removed| *removed >= position);
            let Some(link) = self.chain.links.get(number).filter(|_| !deleted) else { continue };
            let what = format!("queue {topic}/{queue_id}: {what}");
            let finding = if excused {
                let why = "nothing, if the topic was deleted in a damaged part of the log";
                note(link.index.path(), None, what).costing(why)
            } else {
                damaged_index(link.index.path(), &what)
            };
            self.findings.about_existing(finding);
        }
    }

    fn report_damages(&mut self) {
        for Damage { range, file, mut lost, counted } in std::mem::take(&mut self.damages) {
            let segment = self.settings.layout.start_of(range.start);
            let path = self.settings.segment_path(segment);
            let deleted = |topic: &str| self.removed.get(topic).is_some_and(|at| *at >= range.end);
            lost.forget_topics(deleted);
            self.seen.lost_messages += lost.messages();
            let bytes = range.end - range.start;
            let spared = match lost.spared() {
                0 => String::new(),
                spared => format!(
                    "; {spared} others in it are whole and served as long as their index file is"
                ),
            };
            let costs = match (counted, lost.messages()) {
                (true, 0) => "no message that can still be asked for".to_owned(),
                (true, _) => lost.to_string(),
                (false, 0) => "what was in it: no later message of a queue misses one before it; \
                               offsets of groups may be a second older"
                    .to_owned(),
                (false, _) => format!("at least {lost}"),
            };
            let costs = costs + &spared;
            if file {
                let what = format!("{bytes} bytes of the log are not what was written");
                let finding = damage(&path, range.start - segment, what);
                self.findings.about_existing(finding.costing(costs).then(STEPPED_OVER));
            } else {
                let what = format!("the segment is missing: {bytes} bytes of the log");
                self.findings.push(damage(&path, None, what).costing(costs).then(STEPPED_OVER));
            }
        }
    }

    /// Beside a broker the end is where it writes.
    fn report_end(&mut self, end: End, held: bool) {
        if held || end.remains_bytes == 0 {
            return;
        }
        let segment = self.settings.layout.start_of(end.position);
        let path = self.settings.segment_path(segment);
        let (bytes, at) = (end.remains_bytes, end.position - segment);
        let finding = if end.torn {
            let what = format!("the log ends with {bytes} bytes of a write that is not whole");
            note(&path, at, what)
                .costing("nothing that was acknowledged, if the disk kept what it had confirmed")
                .then("the next start cuts it; after an orderly stop it is damage of the last messages")
        } else {
            let what = format!("{bytes} bytes behind the end of the log are not zero");
            note(&path, at, what).costing("nothing").then("overwritten by what is appended")
        };
        self.findings.push(finding);
    }
}
