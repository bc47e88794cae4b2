//! What statistics take up: bounded, and with room for topics and groups beside their queues, which are the most.

use super::windows::Windows;
use runtime::RateLimit;

/// Of a topic, of a group on it, of an entry for something of theirs; windows and names aside, in tables that have just
/// grown.
pub(super) const TOPIC_BYTES: usize = 480;
pub(super) const GROUP_BYTES: usize = 480;
pub(super) const ENTRY_BYTES: usize = 64;

/// Bytes that something takes up: in all, and those of its queues among them.
#[derive(Clone, Copy, Default)]
pub(super) struct Taken {
    pub(super) bytes: usize,
    pub(super) queue_bytes: usize,
}

/// What statistics take up.
pub(super) struct Memory {
    pub(super) bytes: usize,
    pub(super) bytes_max: usize,
    /// Of those, what queues may take, which are the most.
    queue_bytes: usize,
    pub(super) left_out: u64,
    report: RateLimit,
}

impl Memory {
    /// Nothing is there so far.
    pub(super) fn new(bytes_max: usize) -> Memory {
        let report = RateLimit::default();
        Memory { bytes: 0, bytes_max, queue_bytes: 0, left_out: 0, report }
    }

    /// Whether there is room for so many bytes more; they are counted then.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= self.bytes_max;
        if fits {
            self.bytes += bytes;
        } else {
            self.leave_out();
        }
        fits
    }

    /// The same for a queue.
    pub(super) fn take_for_queue(&mut self, bytes: usize) -> bool {
        if self.queue_bytes + bytes > self.bytes_max / 2 {
            self.leave_out();
            return false;
        }
        let taken = self.take(bytes);
        self.queue_bytes += if taken { bytes } else { 0 };
        taken
    }

    pub(super) fn give_back(&mut self, taken: Taken) {
        self.bytes -= taken.bytes;
        self.queue_bytes -= taken.queue_bytes;
    }

    /// What was given back is there still.
    pub(super) fn take_again(&mut self, taken: Taken) {
        self.bytes += taken.bytes;
        self.queue_bytes += taken.queue_bytes;
    }

    fn leave_out(&mut self) {
        self.left_out += 1;
        if let Some(held_back) = self.report.note() {
            tracing::warn!(
                bytes = self.bytes,
                bytes_max = self.bytes_max,
                held_back,
                "statistics by topic, group and queue leave some out: they take up their share of the memory (memoryBudgetMiB)"
            );
        }
    }

    pub(super) fn is_short(&self) -> bool {
        self.bytes > self.bytes_max / 8 * 7
    }
}

/// Of an entry with its windows.
pub(super) const fn entry_bytes<const N: usize>() -> usize {
    ENTRY_BYTES + size_of::<Windows<N>>()
}
