//! `dump`: the records of a store as JSON lines, in the order of each shard's log.
//!
//! One line is one object. Of damaged places there are no records; they are reported at the end.

use crate::{
    data_dir::{DataDir, InspectError, now, open_segments},
    finding::Findings,
    index_chain::Chain,
    log_walk::{Step, walk},
};
use base64::prelude::{BASE64_STANDARD, Engine};
use proto::record::RecordView;
use serde_json::{Map, Value, json};
use std::io::{self, ErrorKind, Write};
use store::{
    batch::{Entries, Entry},
    lineage::EpochEntry,
    offset::PhysicalOffset,
    settings::Settings,
    state::{
        ControlEntry,
        group_offsets::{OffsetChange, OffsetChanges},
        half_messages::HalfCheck,
        offset_resets::HEARD,
        popped::progress::QueueProgress,
    },
};

/// Which records are written, and how.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this topic.
    pub topic: Option<String>,
    /// Only of queues with this id.
    pub queue_id: Option<u32>,
    /// Only from this queue offset on.
    pub from_offset: Option<i64>,
    /// At most so many.
    pub max: Option<u64>,
    /// Only stored at this time or later, ms.
    pub since_ms: Option<i64>,
    /// Only stored before this time, ms.
    pub until_ms: Option<i64>,
    /// Also control entries: offsets of groups, deleted topics and groups.
    pub control: bool,
    /// Bodies that are text as text instead of base64.
    pub text: bool,
}

impl Filter {
    fn takes(&self, view: &RecordView<'_>) -> bool {
        let stored = view.store_timestamp();
        self.topic.as_deref().is_none_or(|topic| topic == view.topic())
            && self.queue_id.is_none_or(|id| i64::from(id) == i64::from(view.queue_id()))
            && self.from_offset.is_none_or(|offset| view.queue_offset() >= offset)
            && self.since_ms.is_none_or(|since| stored >= since)
            && self.until_ms.is_none_or(|until| stored < until)
    }
}

struct Dump<'a> {
    filter: &'a Filter,
    out: &'a mut dyn Write,
    shard: u16,
    lines: u64,
    /// The first failure to write; nothing is written after it.
    failed: Option<io::Error>,
}

/// Writes records of the store as JSON lines. Returns how many. Who reads them may leave: then it ends without an error.
pub fn dump(
    dir: &DataDir,
    filter: &Filter,
    out: &mut dyn Write,
    findings: &mut Findings,
) -> Result<u64, InspectError> {
    let mut dump = Dump { filter, out, shard: 0, lines: 0, failed: None };
    for shard in &dir.shards {
        dump.shard = *shard;
        now(dump.shard(&dir.settings(*shard), findings))?;
        if dump.is_done() {
            break;
        }
    }
    let flushed = dump.out.flush();
    match dump.failed.or(flushed.err()) {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(InspectError::Io { path: "standard output".into(), source: error })
        }
        _ => Ok(dump.lines),
    }
}

/// By group, topic and queue. Without an offset: the group has heard where it was to go on.
fn offsets(changes: OffsetChanges<'_>) -> Vec<Value> {
    let mut changes: Vec<OffsetChange<'_>> = changes.iter().collect();
    changes.sort_unstable();
    let row = |change: OffsetChange<'_>| {
        let OffsetChange { group, topic, queue_id, offset } = change;
        let offset = (offset != HEARD).then_some(offset);
        json!({ "group": group, "topic": topic, "queueId": queue_id, "offset": offset })
    };
    changes.into_iter().map(row).collect()
}

/// What the log says of a queue that a group pops. In flight without times: no more.
fn popped(queue: QueueProgress<'_>) -> Value {
    let rows = queue.rows().map(|(offset, said)| match said {
        Some(flight) => json!({
            "offset": offset,
            "poppedAt": flight.popped_at,
            "visibleAt": flight.visible_at,
            "again": flight.again,
        }),
        None => json!({ "offset": offset }),
    });
    json!({
        "group": queue.group,
        "topic": queue.topic,
        "queueId": queue.queue_id,
        "anew": queue.anew,
        "cursor": queue.cursor,
        "inFlight": rows.collect::<Vec<_>>(),
    })
}

impl Dump<'_> {
    fn is_done(&self) -> bool {
        self.failed.is_some() || self.filter.max.is_some_and(|max| self.lines >= max)
    }

    /// Segments that hold nothing of the wanted time are stepped over.
    async fn shard(
        &mut self,
        settings: &Settings,
        findings: &mut Findings,
    ) -> Result<(), InspectError> {
        let mut segments = open_segments(settings, findings).await?;
        let Some(first) = segments.keys().next().copied() else { return Ok(()) };
        let chain = Chain::open(settings, &segments, &mut Findings::default()).await?;
        let known_durable = chain.end(first);
        let mut from = first;
        for link in &chain.links {
            let head = link.index.head();
            let whole = head.covers_segment(&settings.layout);
            let too_old = self.filter.since_ms.is_some_and(|since| head.last_store_ms < since);
            if whole && too_old && !self.filter.control && segments.contains_key(&head.to) {
                from = head.to;
            } else {
                break;
            }
        }
        segments = segments.split_off(&from);
        let mut lost_bytes = 0;
        walk(settings, &segments, from, known_durable, |step| {
            match step {
                Step::Batch { header, payload } => self.batch(header.position, payload),
                Step::Damage { range, .. } => lost_bytes += range.end - range.start,
            }
            !self.is_done()
        })
        .await?;
        if lost_bytes > 0 {
            let what = format!("{lost_bytes} bytes of the log are damaged; see verify");
            findings.push(crate::finding::damage(&settings.dir, None, what));
        }
        Ok(())
    }

    fn batch(&mut self, position: u64, payload: &[u8]) {
        for entry in Entries::new(payload, position) {
            if self.is_done() {
                return;
            }
            let line = match entry {
                Ok(Entry::Record { position, bytes }) => self.record(position, bytes),
                Ok(Entry::Control { kind, content, .. }) if self.filter.control => {
                    Some(self.control(position, kind, content))
                }
                Ok(Entry::Control { .. }) | Err(_) => None,
            };
            if let Some(line) = line {
                self.lines += 1;
                self.failed = writeln!(self.out, "{line}").err();
            }
        }
    }

    fn record(&self, position: u64, bytes: &[u8]) -> Option<Value> {
        let view = RecordView::parse(bytes).ok().filter(|view| self.filter.takes(view))?;
        let properties: Map<String, Value> = proto::properties::iter(view.properties_text())
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let mut line = json!({
            "topic": view.topic(),
            "queueId": view.queue_id(),
            "queueOffset": view.queue_offset(),
            "physicalOffset": PhysicalOffset::new(self.shard, position).to_wire(),
            "shard": self.shard,
            "storeTimestamp": view.store_timestamp(),
            "bornTimestamp": view.born_timestamp(),
            "bornHost": view.born_host().to_string(),
            "storeHost": view.store_host().to_string(),
            "sysFlag": view.sys_flag(),
            "flag": view.flag(),
            "reconsumeTimes": view.reconsume_times(),
            "preparedTransactionOffset": view.prepared_transaction_offset(),
            "bodyCrc": view.body_crc(),
            "properties": properties,
        });
        let text = self.filter.text.then(|| std::str::from_utf8(view.body()).ok()).flatten();
        let fields = line.as_object_mut()?;
        match text {
            Some(text) => fields.insert("bodyText".to_owned(), text.into()),
            None => fields.insert("body".to_owned(), BASE64_STANDARD.encode(view.body()).into()),
        };
        Some(line)
    }

    fn control(&self, batch: u64, kind: u16, content: &[u8]) -> Value {
        let says = match ControlEntry::decode(kind, content) {
            Ok(ControlEntry::TopicRemoved { topic }) => json!({ "topicRemoved": topic }),
            Ok(ControlEntry::GroupRemoved { group }) => json!({ "groupRemoved": group }),
            Ok(ControlEntry::Delivered { due, position }) => {
                json!({ "delivered": { "due": due, "position": position } })
            }
            Ok(ControlEntry::Cancelled { due, position }) => {
                json!({ "cancelled": { "due": due, "position": position } })
            }
            Ok(ControlEntry::Carried { due, position }) => {
                json!({ "carried": { "due": due, "position": position } })
            }
            Ok(ControlEntry::HalfEnded { position, outcome }) => {
                json!({ "halfEnded": { "position": position, "outcome": outcome.name() } })
            }
            Ok(ControlEntry::HalfChecked(checks)) => {
                let rows = checks.iter().map(|HalfCheck { position, due, checks }| {
                    json!({ "position": position, "due": due, "checks": checks })
                });
                json!({ "halfChecked": rows.collect::<Vec<_>>() })
            }
            Ok(ControlEntry::GroupOffsets(changes)) => {
                json!({ "groupOffsets": offsets(changes) })
            }
            Ok(ControlEntry::OffsetsReset(changes)) => {
                json!({ "offsetsReset": offsets(changes) })
            }
            Ok(ControlEntry::PopProgress(progress)) => {
                json!({ "popProgress": progress.iter().map(popped).collect::<Vec<_>>() })
            }
            Ok(ControlEntry::Epoch(EpochEntry { writer, previous_epoch, previous_end })) => json!({
                "epoch": {
                    "writer": format!("{writer:016x}"),
                    "previousEpoch": previous_epoch,
                    "previousEnd": previous_end,
                }
            }),
            // What can be read is shown; verify reports the rest.
            Err(_) => json!({ "content": BASE64_STANDARD.encode(content) }),
        };
        json!({ "control": kind, "shard": self.shard, "batch": batch, "says": says })
    }
}
