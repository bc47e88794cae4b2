//! Planning reads: which bytes of the log answer a pull. Decisions and their order are those of the Java broker
//! (offset too small, overflow by one, overflow badly, nothing matched).

use crate::{consume_queue::Entry, core::Core};

/// What a pull finds. Names are those of Java's `GetMessageStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStatus {
    /// Messages follow.
    Found,
    /// Messages were there, none matched the filter.
    NoMatchedMessage,
    /// The queue was never written.
    NoMessageInQueue,
    /// The offset is the queue's end: wait for more.
    OffsetOverflowOne,
    /// The offset lies behind the queue's end.
    OffsetOverflowBadly,
    /// The offset lies before the queue's first message.
    OffsetTooSmall,
}

impl PullStatus {
    /// Name as the Java broker puts it into the remark.
    pub fn name(self) -> &'static str {
        match self {
            PullStatus::Found => "FOUND",
            PullStatus::NoMatchedMessage => "NO_MATCHED_MESSAGE",
            PullStatus::NoMessageInQueue => "NO_MESSAGE_IN_QUEUE",
            PullStatus::OffsetOverflowOne => "OFFSET_OVERFLOW_ONE",
            PullStatus::OffsetOverflowBadly => "OFFSET_OVERFLOW_BADLY",
            PullStatus::OffsetTooSmall => "OFFSET_TOO_SMALL",
        }
    }
}

/// What a pull asks for.
#[derive(Clone, Copy, Debug)]
pub struct PullLimits {
    /// First queue offset wanted.
    pub offset: i64,
    /// Most messages.
    pub count_max: usize,
    /// Most bytes, unless the first message is larger.
    pub bytes_max: usize,
    /// Most entries looked at, matching or not.
    pub scan_max: usize,
}

/// What answers a pull.
#[derive(Debug, PartialEq, Eq)]
pub struct PullPlan {
    /// What was found.
    pub status: PullStatus,
    /// Where to go on.
    pub next_offset: i64,
    /// First offset of the queue.
    pub min_offset: i64,
    /// Behind the last offset of the queue.
    pub max_offset: i64,
    /// Records to send, in order: position and bytes.
    pub pieces: Vec<(u64, u32)>,
    /// Sum of their bytes.
    pub bytes: usize,
}

impl Core {
    /// Plans a pull of queue `queue_id` of `topic`; `matches` sees each tags code. `pieces` is cleared and reused.
    pub fn plan_pull(
        &self,
        topic: &str,
        queue_id: u32,
        limits: PullLimits,
        mut pieces: Vec<(u64, u32)>,
        mut matches: impl FnMut(i64) -> bool,
    ) -> PullPlan {
        pieces.clear();
        let plan = |status, next_offset, min_offset, max_offset| PullPlan {
            status,
            next_offset,
            min_offset,
            max_offset,
            pieces: Vec::new(),
            bytes: 0,
        };
        let Some(queue) = self.queue(topic, queue_id) else {
            return plan(PullStatus::NoMessageInQueue, 0, 0, 0);
        };
        let (min, max) = (queue.min(), queue.max());
        if max == 0 {
            return plan(PullStatus::NoMessageInQueue, 0, 0, 0);
        }
        if limits.offset < min {
            return plan(PullStatus::OffsetTooSmall, min, min, max);
        }
        if limits.offset == max {
            return plan(PullStatus::OffsetOverflowOne, max, min, max);
        }
        if limits.offset > max {
            return plan(PullStatus::OffsetOverflowBadly, max, min, max);
        }
        let mut bytes = 0usize;
        let mut next = limits.offset;
        let mut scanned = 0;
        while let Some(entry) = queue.get(next) {
            if scanned == limits.scan_max || pieces.len() == limits.count_max {
                break;
            }
            // An entry of no bytes stands for a message that a damaged part of the log took along.
            if entry.bytes() > 0 && matches(entry.tags_code()) {
                let record = entry.bytes() as usize;
                if !pieces.is_empty() && bytes + record > limits.bytes_max {
                    break;
                }
                bytes += record;
                pieces.push((entry.position(), entry.bytes()));
            }
            scanned += 1;
            next += 1;
        }
        let status =
            if pieces.is_empty() { PullStatus::NoMatchedMessage } else { PullStatus::Found };
        PullPlan { status, next_offset: next, min_offset: min, max_offset: max, pieces, bytes }
    }

    /// Whether the tail cache holds all planned records.
    pub fn is_cached(&self, plan: &PullPlan) -> bool {
        let ring = self.log.ring();
        plan.pieces.iter().all(|(position, bytes)| ring.holds(*position, *bytes as usize))
    }

    /// Copies the planned records behind `out`; all of them must be cached.
    pub fn copy_cached(&self, plan: &PullPlan, out: &mut Vec<u8>) {
        let ring = self.log.ring();
        for (position, bytes) in &plan.pieces {
            let (first, second) = ring.parts(*position, *bytes as usize);
            out.extend_from_slice(first);
            out.extend_from_slice(second);
        }
    }

    /// The entry of a message, for searches.
    pub fn entry(&self, topic: &str, queue_id: u32, offset: i64) -> Option<Entry> {
        self.queue(topic, queue_id)?.get(offset)
    }
}
