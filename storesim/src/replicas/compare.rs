//! Comparing two stores that have both caught up, with each other and with the book.

use super::{node::Node, work::Item};
use runtime::sim::block_on;
use store::lineage::Lineage;

/// Topic, queue id, first offset, then position, bytes and tags code of each entry.
type QueueTable = (String, u32, i64, Vec<(u64, u32, i64)>);

/// What a store says of its queues and groups.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tables {
    queues: Vec<QueueTable>,
    /// Group, topic, queue id, offset.
    offsets: Vec<(String, String, u32, i64)>,
    /// The same of queues on which groups are told to go on elsewhere.
    resets: Vec<(String, String, u32, i64)>,
    lineage: Lineage,
}

impl Tables {
    pub(super) fn of(node: &Node) -> Result<Tables, String> {
        let store = node.store();
        let mut names = Vec::new();
        {
            let state = store.state();
            state.check();
            for topic in state.topics() {
                state.queues_of(topic, |queue_id, entries, _| {
                    if entries.max() > 0 {
                        names.push((topic.to_owned(), queue_id, entries.min(), entries.max()));
                    }
                });
            }
        }
        names.sort();
        let mut queues = Vec::new();
        for (topic, queue_id, min, max) in names {
            let mut found = Vec::new();
            for offset in min..max {
                match block_on(store.entry_at(&topic, queue_id, offset)) {
                    Some(Ok(Some(entry))) => {
                        found.push((entry.position(), entry.bytes(), entry.tags_code()));
                    }
                    other => return Err(format!("{topic} {queue_id} {offset}: {other:?}")),
                }
            }
            queues.push((topic, queue_id, min, found));
        }
        let state = store.state();
        let own = |(group, topic, queue_id, offset): (&str, &str, u32, i64)| {
            (group.to_owned(), topic.to_owned(), queue_id, offset)
        };
        let mut offsets: Vec<_> = state.derived.group_offsets.iter().map(own).collect();
        offsets.sort();
        let resets = state.derived.offset_resets.iter();
        let resets = resets.map(|it| own((it.group, it.topic, it.queue_id, it.offset))).collect();
        Ok(Tables { queues, offsets, resets, lineage: state.lineage().clone() })
    }

    /// Says what differs first.
    pub(super) fn compare(&self, other: &Tables, what: &str) -> Result<(), String> {
        if self.lineage != other.lineage {
            let (own, other) = (&self.lineage, &other.lineage);
            return Err(format!("{what}: lineages differ: {own:?}, {other:?}"));
        }
        for (own, other) in self.queues.iter().zip(&other.queues) {
            if own != other {
                return Err(format!("{what}: queues differ: {own:?}, {other:?}"));
            }
        }
        if self.queues.len() != other.queues.len() {
            return Err(format!("{what}: one has queues that the other has not"));
        }
        if self.offsets != other.offsets {
            let (own, other) = (&self.offsets, &other.offsets);
            return Err(format!("{what}: offsets differ: {own:?}, {other:?}"));
        }
        if self.resets != other.resets {
            let (own, other) = (&self.resets, &other.resets);
            return Err(format!("{what}: resets differ: {own:?}, {other:?}"));
        }
        Ok(())
    }
}

/// The log as it lies on the disk, up to a position.
pub(super) fn log_bytes(node: &Node, end: u64) -> Vec<u8> {
    let layout = node.settings.layout;
    let mut log = Vec::new();
    while (log.len() as u64) < end {
        let start = log.len() as u64;
        let bytes = layout.bytes_of(start);
        let path = node.settings.dir.join(format!("{start:020}"));
        let mut segment = node.disk.live_bytes(&path).unwrap_or_default();
        segment.resize(bytes as usize, 0);
        segment.truncate((end - start).min(bytes) as usize);
        log.extend_from_slice(&segment);
    }
    log
}

/// Everything that both acknowledged stands in the log.
pub(super) fn check_book(book: &[Item], log: &[u8]) -> Result<(), String> {
    for item in book.iter().filter(|item| item.committed) {
        let found = log.get(item.start as usize..item.end() as usize);
        if found != Some(&item.bytes) {
            let (start, epoch) = (item.start, item.epoch);
            return Err(format!("what was committed at {start} in epoch {epoch} is gone"));
        }
    }
    Ok(())
}
