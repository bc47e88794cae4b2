//! Consume queues in memory: for each queue, where its messages lie in the log.
//!
//! An entry is what RocketMQ's consume queue files hold: position, size, tags code, 20 bytes. Entries live in chunks
//! that never move, so that a long queue is never copied as it grows. An idle queue costs a few dozen bytes.

/// Where one message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    position: [u32; 2],
    bytes: u32,
    tags_code: [u32; 2],
}

const _: () = assert!(size_of::<Entry>() == size_of::<u64>() + size_of::<u32>() + size_of::<u64>());

impl Entry {
    /// The message of `bytes` at `position` in the shard's log, with its tags code.
    pub fn new(position: u64, bytes: u32, tags_code: i64) -> Entry {
        Entry { position: split(position), bytes, tags_code: split(tags_code as u64) }
    }

    /// Position in the shard's log.
    pub fn position(&self) -> u64 {
        join(self.position)
    }

    /// Bytes of the record.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Hash of the tags, or the time of delivery of a delayed message.
    pub fn tags_code(&self) -> i64 {
        join(self.tags_code) as i64
    }
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
    /// Queue offset of the first entry.
    min: i64,
    chunks: Vec<Vec<Entry>>,
    /// Entries in all chunks.
    count: usize,
}

impl ConsumeQueue {
    /// Smallest queue offset that can be read.
    pub fn min(&self) -> i64 {
        self.min
    }

    /// Behind the largest queue offset that can be read.
    pub fn max(&self) -> i64 {
        self.min + self.count as i64
    }

    /// Adds the entry of queue offset [`ConsumeQueue::max`].
    pub fn push(&mut self, entry: Entry) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_ENTRIES => chunk.push(entry),
            _ => {
                // The first chunk grows by itself, so that a queue of three messages stays small.
                let room = if self.chunks.is_empty() { 4 } else { CHUNK_ENTRIES };
                let mut chunk = Vec::with_capacity(room);
                chunk.push(entry);
                self.chunks.push(chunk);
            }
        }
        self.count += 1;
    }

    /// An empty queue whose next message has this queue offset.
    pub fn start_at(&mut self, offset: i64) {
        assert!(self.count == 0);
        assert!(offset >= 0);
        self.min = offset;
    }

    /// The entry at a queue offset.
    pub fn get(&self, offset: i64) -> Option<Entry> {
        let index = usize::try_from(offset.checked_sub(self.min)?).ok()?;
        self.chunks.get(index / CHUNK_ENTRIES)?.get(index % CHUNK_ENTRIES).copied()
    }

    /// Memory held, bytes.
    pub fn memory_bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(Vec::capacity).sum();
        chunks * size_of::<Entry>() + self.chunks.capacity() * size_of::<Vec<Entry>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_queue_offset_across_chunks() {
        let mut queue = ConsumeQueue::default();
        queue.start_at(7);
        for number in 0..5_000u64 {
            queue.push(Entry::new(number << 20, number as u32, -(number as i64)));
        }
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
}
