//! The tail cache: the newest bytes of the log in memory, addressed by log position.
//!
//! Appending writes here, the commit loop copies from here to the disk, live pulls are answered from here. A position
//! lives at `position % capacity`. A slot that is being encoded must be contiguous, so the memory is longer than the
//! capacity by the largest slot; what runs over the end is copied to the front when the slot is finished.

use std::ops::Range;

/// The newest `capacity` bytes of a log.
pub struct TailRing {
    memory: Vec<u8>,
    capacity: usize,
    /// Positions held: everything in here can be read.
    held: Range<u64>,
}

impl TailRing {
    /// A ring of `capacity` bytes (a power of two) that can encode slots of up to `slot_bytes_max` in place.
    /// Memory is touched, and so resident, only as the log reaches it.
    pub fn new(capacity: usize, slot_bytes_max: usize) -> TailRing {
        assert!(capacity.is_power_of_two());
        assert!(slot_bytes_max < capacity);
        TailRing { memory: vec![0; capacity + slot_bytes_max], capacity, held: 0..0 }
    }

    /// Bytes of log that the ring can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Starts over with nothing held, the next slot being at `position`.
    pub fn reset(&mut self, position: u64) {
        self.held = position..position;
    }

    /// Oldest position that can still be read.
    pub fn start(&self) -> u64 {
        self.held.start
    }

    /// Lets `fill` write the slot `[position, position + bytes)`, which must begin at or behind the end of the last
    /// one. A gap in between (the unused end of a segment) reads as zeros, as it does on disk; what stands before it
    /// is still to be written and stays.
    pub fn fill(&mut self, position: u64, bytes: usize, fill: impl FnOnce(&mut [u8])) {
        assert!(position >= self.held.end);
        assert!(bytes <= self.memory.len() - self.capacity);
        self.skip_to(position);
        let index = self.index(position);
        fill(&mut self.memory[index..index + bytes]);
        let overflow = (index + bytes).saturating_sub(self.capacity);
        if overflow > 0 {
            self.memory.copy_within(self.capacity..self.capacity + overflow, 0);
        }
        self.held.end = position + bytes as u64;
        self.held.start = self.held.start.max(self.held.end.saturating_sub(self.capacity as u64));
    }

    fn skip_to(&mut self, position: u64) {
        let gap = position - self.held.end;
        if gap == 0 {
            return;
        }
        if gap >= self.capacity as u64 {
            self.held = position..position;
            return;
        }
        let index = self.index(self.held.end);
        let first = (gap as usize).min(self.capacity - index);
        self.memory[index..index + first].fill(0);
        self.memory[..gap as usize - first].fill(0);
        self.held.end = position;
    }

    /// Overwrites bytes that are held already (the header of a batch, once it is closed).
    pub fn overwrite(&mut self, position: u64, bytes: &[u8]) {
        assert!(self.holds(position, bytes.len()));
        let index = self.index(position);
        let first = bytes.len().min(self.capacity - index);
        self.memory[index..index + first].copy_from_slice(&bytes[..first]);
        self.memory[..bytes.len() - first].copy_from_slice(&bytes[first..]);
    }

    /// Whether all of `[position, position + bytes)` is held.
    pub fn holds(&self, position: u64, bytes: usize) -> bool {
        position >= self.held.start && position + bytes as u64 <= self.held.end
    }

    /// The bytes of a held range, in order, in at most two pieces.
    pub fn parts(&self, position: u64, bytes: usize) -> (&[u8], &[u8]) {
        assert!(self.holds(position, bytes));
        let index = self.index(position);
        let first = bytes.min(self.capacity - index);
        (&self.memory[index..index + first], &self.memory[..bytes - first])
    }

    /// Copies a held range into `out`.
    pub fn copy_to(&self, position: u64, out: &mut [u8]) {
        let (first, second) = self.parts(position, out.len());
        out[..first.len()].copy_from_slice(first);
        out[first.len()..].copy_from_slice(second);
    }

    fn index(&self, position: u64) -> usize {
        (position & (self.capacity as u64 - 1)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_can_be_read_back_across_the_end_of_the_memory_until_they_are_overtaken() {
        let mut ring = TailRing::new(64, 40);
        ring.reset(1_000);
        let mut written = Vec::new();
        let mut position = 1_000u64;
        for (round, bytes) in [7usize, 40, 1, 33, 16, 29, 40, 12].into_iter().enumerate() {
            let text = vec![round as u8 + 1; bytes];
            ring.fill(position, bytes, |slot| slot.copy_from_slice(&text));
            written.push((position, text));
            position += bytes as u64;
            for (at, text) in &written {
                if ring.holds(*at, text.len()) {
                    let mut out = vec![0; text.len()];
                    ring.copy_to(*at, &mut out);
                    assert_eq!(&out, text);
                } else {
                    assert!(*at < position - 64);
                }
            }
        }
    }

    #[test]
    fn overwriting_reaches_both_pieces_of_a_wrapped_range() {
        let mut ring = TailRing::new(32, 16);
        ring.reset(28);
        ring.fill(28, 10, |slot| slot.fill(0));
        ring.overwrite(30, &[1, 2, 3, 4]);
        let mut out = [0; 10];
        ring.copy_to(28, &mut out);
        assert_eq!(out, [0, 0, 1, 2, 3, 4, 0, 0, 0, 0]);
    }

    #[test]
    fn a_gap_reads_as_zeros_and_keeps_what_stands_before_it() {
        let mut ring = TailRing::new(64, 16);
        ring.reset(40);
        ring.fill(40, 10, |slot| slot.fill(1));
        ring.fill(80, 10, |slot| slot.fill(2));
        let mut out = [9; 50];
        ring.copy_to(40, &mut out);
        assert_eq!(out[..10], [1; 10]);
        assert_eq!(out[10..40], [0; 30]);
        assert_eq!(out[40..], [2; 10]);
        ring.fill(300, 10, |slot| slot.fill(3));
        assert_eq!(ring.start(), 300);
    }
}
