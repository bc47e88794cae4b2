//! Whether the index files of a shard agree with each other: a queue goes on in a file where the one before left it.

use crate::compare::Suspicion;
use ahash::AHashMap;
use store::index::Outline;

/// Queues as the last file described them, by number.
#[derive(Default)]
pub(crate) struct RowChain {
    last: Option<AHashMap<u32, Known>>,
    /// Behind the last position that the last file covers.
    end: u64,
    next_number: u32,
}

struct Known {
    topic: Box<str>,
    queue_id: u32,
    next: i64,
}

impl RowChain {
    /// The chain is broken here: the next file is taken as it is.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// The next file. `after_damage`: the log of the file before is damaged; what a rebuilt file lacks is lost then, and
    /// returned as queue and count.
    pub(crate) fn next(
        &mut self,
        outline: &Outline,
        after_damage: bool,
        suspicions: &mut Vec<Suspicion>,
    ) -> Vec<(Box<str>, u32, u64)> {
        let mut lost = Vec::new();
        let mut known = AHashMap::with_capacity(outline.rows.len());
        let before = self.last.take();
        for row in &outline.rows {
            let topic = outline.topics.get(row.topic as usize).cloned().unwrap_or_default();
            if let Some(before) = &before {
                let expected = match before.get(&row.number) {
                    Some(known) if known.topic == topic && known.queue_id == row.queue_id => {
                        Ok(known.next)
                    }
                    Some(known) => Err(format!("the file before calls it {}", known.topic)),
                    None if row.number < self.next_number => Ok(row.start()),
                    None => Ok(0),
                };
                let what = match expected {
                    Ok(expected) if expected == row.start() => None,
                    Ok(expected) if after_damage && expected < row.start() => {
                        lost.push((topic.clone(), row.queue_id, (row.start() - expected) as u64));
                        None
                    }
                    Ok(expected) => Some(format!(
                        "begins at queue offset {}, the file before ends at {expected}",
                        row.start()
                    )),
                    Err(what) => Some(what),
                };
                suspicions.extend(what.map(|what| Suspicion {
                    topic: topic.clone(),
                    queue_id: row.queue_id,
                    position: self.end,
                    what,
                }));
            }
            let queue_id = row.queue_id;
            known.insert(row.number, Known { topic, queue_id, next: row.next });
        }
        self.last = Some(known);
        self.end = outline.head.to;
        self.next_number = outline.head.next_number;
        lost
    }
}
