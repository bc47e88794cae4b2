//! Consume queues in memory: for each queue, where its newest messages lie in the log.
//!
//! An entry is what RocketMQ's consume queue files hold: position, size, tags code, 20 bytes. Entries live in chunks
//! that never move once they are full, so that a long queue is never copied as it grows. Chunks that index files cover leave memory from
//! the front; the queue's first readable offset, [`ConsumeQueue::min`], knows nothing of that. An idle queue costs
//! a few dozen bytes, and nothing behind a pointer.

use crate::{
    batch::PAYLOAD_BYTES_LIMIT,
    offset::{POSITION_BITS, POSITION_MAX},
};
use std::collections::VecDeque;

/// Where one message lies.
///
/// A position has 53 bits, a size 27. The 11 bits above the one and the 5 above the other are a check over the whole
/// record, because what the record brings along covers only its body: a reader who comes by this entry would not
/// notice rot in topic or properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position, and the lower bits of the check above it.
    position: [u32; 2],
    /// Bytes of the record, and the upper bits of the check above them.
    size: u32,
    tags_code: [u32; 2],
}

const _: () = assert!(size_of::<Entry>() == size_of::<u64>() + size_of::<u32>() + size_of::<u64>());

/// Bits of the check above the position.
const CHECK_LOW_BITS: u32 = u64::BITS - POSITION_BITS;
/// Bits of a record's size, below the rest of the check.
const SIZE_BITS: u32 = u32::BITS - (u16::BITS - CHECK_LOW_BITS);
const SIZE_MAX: u32 = (1 << SIZE_BITS) - 1;
const _: () = assert!(PAYLOAD_BYTES_LIMIT <= SIZE_MAX as usize);

impl Entry {
    /// The message of `bytes` at `position` in the shard's log, with its tags code.
    pub fn new(position: u64, bytes: u32, tags_code: i64) -> Entry {
        assert!(position <= POSITION_MAX);
        assert!(bytes <= SIZE_MAX);
        Entry { position: split(position), size: bytes, tags_code: split(tags_code as u64) }
    }

    /// Stands for a message that a damaged part of the log took along: queue offsets stay dense, and pulls step over it.
    pub(crate) fn lost(position: u64) -> Entry {
        Entry::new(position, 0, 0)
    }

    /// From its words as index files hold them: position and size, each with a part of the check.
    pub(crate) fn from_words((position, size): (u64, u32), tags_code: i64) -> Entry {
        Entry { position: split(position), size, tags_code: split(tags_code as u64) }
    }

    /// Position and size as index files hold them, each with a part of the check.
    pub fn words(&self) -> (u64, u32) {
        (join(self.position), self.size)
    }

    /// With the check over its record.
    pub fn with_check(self, check: u16) -> Entry {
        let high = u32::from(check >> CHECK_LOW_BITS) << SIZE_BITS;
        // What is shifted out of the upper end stands above the size.
        let low = u64::from(check) << POSITION_BITS;
        Entry { position: split(self.position() | low), size: self.bytes() | high, ..self }
    }

    /// Position in the shard's log.
    pub fn position(&self) -> u64 {
        join(self.position) & POSITION_MAX
    }

    /// [`record_check`] of its record.
    pub fn check(&self) -> u16 {
        let low = (join(self.position) >> POSITION_BITS) as u16;
        low | ((self.size >> SIZE_BITS) as u16) << CHECK_LOW_BITS
    }

    /// Bytes of the record; 0 for a message that is lost.
    pub fn bytes(&self) -> u32 {
        self.size & SIZE_MAX
    }

    /// Hash of the tags, or the time of delivery of a delayed message.
    pub fn tags_code(&self) -> i64 {
        join(self.tags_code) as i64
    }
}

/// Most messages of a queue that one damaged place may have held.
pub(crate) const LOST_MAX: i64 = 1 << 22;

/// Check over all bytes of a record: its CRC-32C, folded.
pub fn record_check(record: &[u8]) -> u16 {
    let crc = crc32c::crc32c(record);
    (crc ^ crc >> 16) as u16
}

fn split(value: u64) -> [u32; 2] {
    [(value >> 32) as u32, value as u32]
}

fn join([high, low]: [u32; 2]) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Entries of a full chunk.
const CHUNK_ENTRIES: usize = 1024;

/// The entries of one queue, by queue offset.
#[derive(Default)]
pub struct ConsumeQueue {
    /// Queue offset of the first message that can be read, from memory or from the disk.
    min: i64,
    /// Queue offset of the first entry in memory.
    resident: i64,
    /// The newest entries, at most a chunk.
    newest: Vec<Entry>,
    /// Chunks before them. A queue that never filled one has no room for them either.
    #[expect(
        clippy::box_collection,
        reason = "8 bytes instead of 32, in tens of thousands of queues"
    )]
    full: Option<Box<VecDeque<Box<[Entry]>>>>,
}

impl ConsumeQueue {
    /// Smallest queue offset that can be read.
    pub fn min(&self) -> i64 {
        self.min
    }

    /// Smallest queue offset whose entry is in memory, at most [`ConsumeQueue::max`]. Entries before it are in index
    /// files.
    pub fn resident(&self) -> i64 {
        self.resident
    }

    /// Behind the largest queue offset that can be read.
    pub fn max(&self) -> i64 {
        self.resident + (self.full_entries() + self.newest.len()) as i64
    }

    fn full_entries(&self) -> usize {
        self.full.as_ref().map_or(0, |full| full.len() * CHUNK_ENTRIES)
    }

    /// Adds the entry of queue offset [`ConsumeQueue::max`].
    pub fn push(&mut self, entry: Entry) {
        if self.newest.len() == CHUNK_ENTRIES {
            let next = Vec::with_capacity(CHUNK_ENTRIES);
            let full = std::mem::replace(&mut self.newest, next).into_boxed_slice();
            self.full.get_or_insert_default().push_back(full);
        } else if self.newest.capacity() == 0 {
            // The first chunk grows by itself, so that a queue of three messages stays small.
            self.newest.reserve_exact(4);
        }
        self.newest.push(entry);
    }

    /// A queue without entries in memory: messages from `min` to `max` are in index files, the next one has the queue
    /// offset `max`.
    pub fn start_at(&mut self, min: i64, max: i64) {
        assert!(self.newest.is_empty() && self.full.is_none());
        assert!(0 <= min && min <= max);
        self.min = min;
        self.resident = max;
    }

    /// Messages before `offset` went with their segment.
    pub fn raise_min(&mut self, offset: i64) {
        assert!(offset <= self.max());
        self.min = self.min.max(offset);
    }

    /// The entry at a queue offset, if it is in memory.
    pub fn get(&self, offset: i64) -> Option<Entry> {
        if offset < self.min {
            return None;
        }
        let index = usize::try_from(offset.checked_sub(self.resident)?).ok()?;
        match index.checked_sub(self.full_entries()) {
            Some(index) => self.newest.get(index).copied(),
            None => {
                self.full.as_ref()?.get(index / CHUNK_ENTRIES)?.get(index % CHUNK_ENTRIES).copied()
            }
        }
    }

    /// First queue offset in memory whose message lies at `position` or behind it.
    pub fn offset_at(&self, position: u64) -> i64 {
        let before = |entry: &Entry| entry.position() < position;
        let chunks = self.full.as_deref();
        let passed =
            chunks.map_or(0, |full| full.partition_point(|chunk| chunk.last().is_some_and(before)));
        let chunk = chunks.and_then(|full| full.get(passed)).map_or(&*self.newest, |chunk| chunk);
        self.resident + (passed * CHUNK_ENTRIES + chunk.partition_point(before)) as i64
    }

    /// Lets go of chunks whose messages all lie before `position`.
    pub fn release_before(&mut self, position: u64) {
        let passed = |chunk: &[Entry]| chunk.last().is_some_and(|last| last.position() < position);
        if let Some(full) = &mut self.full {
            while full.front().is_some_and(|chunk| passed(chunk)) {
                full.pop_front();
                self.resident += CHUNK_ENTRIES as i64;
            }
            if !full.is_empty() {
                return;
            }
            self.full = None;
        }
        if self.newest.is_empty() {
            self.newest = Vec::new();
        } else if passed(&self.newest) {
            // Its memory stays until the next call: who was busy will be busy again.
            self.resident += self.newest.len() as i64;
            self.newest.clear();
        }
    }

    /// Memory held, bytes.
    pub fn memory_bytes(&self) -> usize {
        let full = self
            .full
            .as_ref()
            .map_or(0, |full| size_of_val(&**full) + full.capacity() * size_of::<Box<[Entry]>>());
        (self.full_entries() + self.newest.capacity()) * size_of::<Entry>() + full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> ConsumeQueue {
        let mut queue = ConsumeQueue::default();
        queue.start_at(7, 7);
        for number in 0..5_000u64 {
            queue.push(Entry::new(number << 20, number as u32, -(number as i64)));
        }
        queue
    }

    #[test]
    fn an_entry_keeps_position_size_and_check_apart() {
        for check in [0, 1, 0x07FF, 0x0800, 0xF800, 0xFFFF, 0xA5A5] {
            for (position, bytes) in [(0, 0), (POSITION_MAX, SIZE_MAX), (1 << 52, 1), (7, 1 << 26)]
            {
                let entry = Entry::new(position, bytes, -3).with_check(check);
                assert_eq!((entry.position(), entry.bytes()), (position, bytes));
                assert_eq!((entry.check(), entry.tags_code()), (check, -3));
                assert_eq!(Entry::from_words(entry.words(), -3), entry);
            }
        }
    }

    #[test]
    fn entries_are_found_by_queue_offset_across_chunks() {
        let queue = queue();
        assert_eq!((queue.min(), queue.max()), (7, 5_007));
        for number in [0u64, 1_023, 1_024, 4_999] {
            let entry = queue.get(7 + number as i64).expect("entry");
            assert_eq!(entry.position(), number << 20);
            assert_eq!(entry.bytes(), number as u32);
            assert_eq!(entry.tags_code(), -(number as i64));
        }
        assert!(queue.get(6).is_none());
        assert!(queue.get(5_007).is_none());
        assert!(queue.get(i64::MIN).is_none());
        assert!(ConsumeQueue::default().memory_bytes() == 0);
    }

    #[test]
    fn chunks_leave_from_the_front_and_offsets_stay() {
        let mut queue = queue();
        assert_eq!(
            (queue.offset_at(0), queue.offset_at(1), queue.offset_at(u64::MAX)),
            (7, 8, 5_007)
        );
        queue.release_before(2_047 << 20);
        assert_eq!((queue.min(), queue.resident(), queue.max()), (7, 7 + 1_024, 5_007));
        assert!(queue.get(1_030).is_none(), "on disk now");
        assert_eq!(queue.get(1_031).map(|entry| entry.bytes()), Some(1_024));
        assert_eq!(queue.offset_at(3_000 << 20), 3_007);
        queue.raise_min(2_000);
        assert!(queue.get(1_999).is_none());
        assert!(queue.get(2_000).is_some());
        queue.release_before(u64::MAX);
        assert!(queue.memory_bytes() > 0, "a busy queue keeps its newest chunk for what comes");
        queue.release_before(u64::MAX);
        assert_eq!(
            (queue.min(), queue.resident(), queue.max(), queue.memory_bytes()),
            (2_000, 5_007, 5_007, 0)
        );
        queue.push(Entry::new(9_000 << 20, 1, 0));
        assert_eq!(queue.get(5_007).map(|entry| entry.bytes()), Some(1));
    }
}
