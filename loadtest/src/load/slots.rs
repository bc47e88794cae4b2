//! Requests in flight on one connection: which `opaque` is out, and since when.
//!
//! An `opaque` is nine digits, 1GGGSSSSS: slot S and that slot's generation G, so an answer finds its start time by
//! arithmetic, and an answer that comes twice or was never asked for is noticed instead of being counted.

use super::frames::OPAQUE_MIN;

/// Most requests that may be in flight on one connection.
pub const SLOTS_MAX: usize = 100_000;
const GENERATIONS: u32 = 1000;

/// The requests in flight of one connection.
pub struct Slots {
    /// Nanoseconds on the run's clock, by slot. For open loops this is the intended time.
    since: Vec<u64>,
    generation: Vec<u32>,
    out: Vec<bool>,
    free: Vec<u32>,
}

impl Slots {
    /// Room for `count` requests in flight, 1 to [`SLOTS_MAX`].
    pub fn new(count: usize) -> Slots {
        assert!(count >= 1);
        assert!(count <= SLOTS_MAX);
        Slots {
            since: vec![0; count],
            generation: vec![0; count],
            out: vec![false; count],
            free: (0..count as u32).rev().collect(),
        }
    }

    /// Requests without an answer.
    pub fn in_flight(&self) -> usize {
        self.out.len() - self.free.len()
    }

    /// The `opaque` of a new request that counts from `since`, or None when the window is full.
    pub fn take(&mut self, since: u64) -> Option<u32> {
        let slot = self.free.pop()?;
        let index = slot as usize;
        assert!(!self.out[index]);
        self.out[index] = true;
        self.since[index] = since;
        self.generation[index] = (self.generation[index] + 1) % GENERATIONS;
        Some(OPAQUE_MIN + self.generation[index] * SLOTS_MAX as u32 + slot)
    }

    /// Settles an answer: since when its request was out, or None if nobody waits for it.
    pub fn settle(&mut self, opaque: u32) -> Option<u64> {
        let code = opaque.checked_sub(OPAQUE_MIN)?;
        let (generation, slot) = (code / SLOTS_MAX as u32, code % SLOTS_MAX as u32);
        let index = slot as usize;
        if !*self.out.get(index)? || self.generation[index] != generation {
            return None;
        }
        self.out[index] = false;
        self.free.push(slot);
        Some(self.since[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_fills_settles_and_refuses_what_it_does_not_know() {
        let mut slots = Slots::new(2);
        let first = slots.take(10).unwrap();
        let second = slots.take(20).unwrap();
        assert_eq!(slots.take(30), None);
        assert_eq!(slots.settle(second), Some(20));
        assert_eq!(slots.settle(second), None, "twice");
        assert_eq!(slots.settle(5), None, "never asked");
        assert_eq!(slots.settle(OPAQUE_MIN + 77), None, "no such slot");
        let third = slots.take(40).unwrap();
        assert_ne!(third, second, "a slot used again has another generation");
        assert_eq!(slots.settle(first), Some(10));
        assert_eq!(slots.in_flight(), 1);
    }

    #[test]
    fn every_opaque_has_nine_digits() {
        let mut slots = Slots::new(SLOTS_MAX);
        for _ in 0..2500 {
            let opaque = slots.take(0).unwrap();
            assert!((100_000_000..1_000_000_000).contains(&opaque));
            slots.settle(opaque).unwrap();
        }
    }
}
