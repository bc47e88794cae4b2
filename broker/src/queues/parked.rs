//! Pulls that found nothing and wait for messages: by queue, and by deadline.

use crate::{letter::Reply, pull::PullOp};
use ahash::AHashMap;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};
use store::QueueSlot;

/// A pull that waits.
pub struct Parked {
    /// What it asks for; its offset moves on over messages that do not match.
    pub op: PullOp,
    /// The offset it came with.
    pub first_offset: i64,
    /// When to give up, ms.
    pub deadline: i64,
}

/// The waiting pulls of one shard.
pub struct ParkedPulls {
    by_slot: AHashMap<QueueSlot, Vec<u64>>,
    pulls: HashMap<u64, (QueueSlot, Parked), ahash::RandomState>,
    /// May name pulls that are gone already.
    deadlines: BinaryHeap<Reverse<(i64, u64)>>,
    next: u64,
    count_max: usize,
}

impl ParkedPulls {
    /// Room for `count_max` pulls.
    pub fn new(count_max: usize) -> ParkedPulls {
        ParkedPulls {
            by_slot: AHashMap::new(),
            pulls: HashMap::default(),
            deadlines: BinaryHeap::new(),
            next: 0,
            count_max,
        }
    }

    /// Parks a pull, or gives it back when there is no room.
    pub fn park(&mut self, slot: QueueSlot, parked: Parked) -> Result<(), Parked> {
        if self.pulls.len() >= self.count_max {
            return Err(parked);
        }
        let id = self.next;
        self.next += 1;
        self.deadlines.push(Reverse((parked.deadline, id)));
        self.by_slot.entry(slot).or_default().push(id);
        self.pulls.insert(id, (slot, parked));
        Ok(())
    }

    /// Moves the pulls that wait for a queue into `out`.
    pub fn take(&mut self, slot: QueueSlot, out: &mut Vec<Parked>) {
        let Some(ids) = self.by_slot.get_mut(&slot) else { return };
        let ids = std::mem::take(ids);
        out.extend(ids.iter().filter_map(|id| self.pulls.remove(id)).map(|(_, parked)| parked));
        self.forget_stale_deadlines();
    }

    /// The pulls whose time is over.
    pub fn take_expired(&mut self, now: i64) -> Vec<Parked> {
        let mut expired = Vec::new();
        while let Some(Reverse((deadline, id))) = self.deadlines.peek().copied() {
            if deadline > now {
                break;
            }
            self.deadlines.pop();
            expired.extend(self.remove(id));
        }
        expired
    }

    /// The pulls whose reply `gone` recognises.
    pub fn take_where(&mut self, gone: impl Fn(&Reply) -> bool) -> Vec<Parked> {
        let ids: Vec<u64> = self
            .pulls
            .iter()
            .filter(|(_, (_, parked))| gone(&parked.op.reply))
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Number of waiting pulls.
    pub fn count(&self) -> usize {
        self.pulls.len()
    }

    fn remove(&mut self, id: u64) -> Option<Parked> {
        let (slot, parked) = self.pulls.remove(&id)?;
        if let Some(ids) = self.by_slot.get_mut(&slot) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_slot.remove(&slot);
            }
        }
        Some(parked)
    }

    /// A busy queue parks and wakes the same pull again and again; its old deadlines must not pile up.
    fn forget_stale_deadlines(&mut self) {
        if self.deadlines.len() > 64 + 4 * self.pulls.len() {
            let pulls = &self.pulls;
            self.deadlines.retain(|Reverse((_, id))| pulls.contains_key(id));
        }
    }
}
