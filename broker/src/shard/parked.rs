//! Pulls that found nothing and wait for messages: by queue, by connection, and by deadline.
//!
//! Each pull is a node of two linked lists, that of its queue and that of its connection. Parking one and taking one
//! out touch it and its neighbours, however many wait; what a closed connection costs is what it had parked. A list
//! exists as long as it has a node, and a pull that comes and goes allocates nothing.
//!
//! A hundred thousand may wait for one message, or end at the same moment: they are taken out a few at a time
//! ([`ParkedPulls::take_woken`], [`ParkedPulls::take_expired`]), so that others have their turn in between.

use super::parked_filters::ParkedFilters;
use crate::ops::PullOp;
use ahash::AHashMap;
use remoting::ConnectionId;
use runtime::Uptime;
use slab::Slab;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    hash::Hash,
};
use store::QueueSlot;

/// A pull that waits.
pub struct Parked {
    /// What it asks for; its offset moves on over messages that do not match.
    pub op: PullOp,
    /// The offset it came with.
    pub first_offset: i64,
    /// When to give up.
    pub deadline: Uptime,
}

/// The waiting pulls of one shard.
pub struct ParkedPulls {
    /// By place; places are used again.
    nodes: Slab<Node>,
    by_slot: Lists<QueueSlot>,
    by_connection: Lists<ConnectionId>,
    /// Deadline, number and place. May name pulls that are gone already.
    deadlines: BinaryHeap<Reverse<(Uptime, u64, u32)>>,
    next: u64,
    /// Queues that have grown, in that order, and for each the number from which on pulls came after that.
    woken: VecDeque<QueueSlot>,
    woken_before: AHashMap<QueueSlot, u64>,
    count_max: usize,
    filters: ParkedFilters,
}

struct Node {
    parked: Parked,
    slot: QueueSlot,
    /// Never used again, unlike its place.
    number: u64,
}

impl ParkedPulls {
    /// Room for `count_max` pulls with filters of `filter_bytes_max` bytes together.
    pub fn new(count_max: usize, filter_bytes_max: usize) -> ParkedPulls {
        ParkedPulls {
            nodes: Slab::new(),
            by_slot: Lists::default(),
            by_connection: Lists::default(),
            deadlines: BinaryHeap::new(),
            next: 0,
            woken: VecDeque::new(),
            woken_before: AHashMap::new(),
            count_max: count_max.min(NIL as usize),
            filters: ParkedFilters::new(filter_bytes_max),
        }
    }

    /// Parks a pull, or gives it back when there is no room.
    #[expect(clippy::result_large_err, reason = "what came by value goes back by value")]
    pub fn park(&mut self, slot: QueueSlot, mut parked: Parked) -> Result<(), Parked> {
        if self.count() >= self.count_max || !self.filters.share(&mut parked.op.pull.filter) {
            return Err(parked);
        }
        let number = self.next;
        self.next += 1;
        let (deadline, connection) = (parked.deadline, parked.op.responder.connection);
        let place = self.nodes.insert(Node { parked, slot, number }) as u32;
        self.by_slot.push_back(slot, place);
        self.by_connection.push_back(connection, place);
        self.deadlines.push(Reverse((deadline, number, place)));
        Ok(())
    }

    /// A queue has grown: [`ParkedPulls::take_woken`] gives the pulls that wait for it now.
    pub fn wake(&mut self, slot: QueueSlot) {
        if self.by_slot.first(slot).is_some() && self.woken_before.insert(slot, self.next).is_none()
        {
            self.woken.push_back(slot);
        }
    }

    /// The next pulls whose queue has grown, in the order in which they came, at most `count_max` into `out`. False: there
    /// are none left. A pull that found nothing for itself and is parked again waits for the next growth.
    pub fn take_woken(&mut self, count_max: usize, out: &mut Vec<Parked>) -> bool {
        while let Some(slot) = self.woken.front().copied() {
            let before = self.woken_before.get(&slot).copied().unwrap_or(0);
            while let Some(place) = self.by_slot.first(slot)
                && self.number_at(place).is_some_and(|number| number < before)
            {
                if out.len() >= count_max {
                    return true;
                }
                out.extend(self.remove(place));
            }
            self.woken.pop_front();
            self.woken_before.remove(&slot);
        }
        self.forget_stale_deadlines();
        false
    }

    /// The pulls whose time is over, at most `count_max` at once: fewer are all.
    pub fn take_expired(&mut self, now: Uptime, count_max: usize) -> Vec<Parked> {
        let mut expired = Vec::new();
        while expired.len() < count_max
            && let Some(Reverse((deadline, number, place))) = self.deadlines.peek().copied()
        {
            if deadline > now {
                break;
            }
            self.deadlines.pop();
            if self.number_at(place) == Some(number) {
                expired.extend(self.remove(place));
            }
        }
        expired
    }

    /// The pulls of a connection.
    pub fn take_connection(&mut self, connection: ConnectionId) -> Vec<Parked> {
        let mut taken = Vec::new();
        while let Some(place) = self.by_connection.first(connection) {
            taken.extend(self.remove(place));
        }
        self.forget_stale_deadlines();
        taken
    }

    /// All pulls.
    pub fn take_all(&mut self) -> Vec<Parked> {
        let places: Vec<u32> = self.nodes.iter().map(|(place, _)| place as u32).collect();
        let taken = places.into_iter().filter_map(|place| self.remove(place)).collect();
        self.deadlines.clear();
        taken
    }

    /// Number of waiting pulls.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes of their filters.
    pub fn filter_bytes(&self) -> usize {
        self.filters.bytes()
    }

    fn number_at(&self, place: u32) -> Option<u64> {
        self.nodes.get(place as usize).map(|node| node.number)
    }

    fn remove(&mut self, place: u32) -> Option<Parked> {
        let Node { parked, slot, .. } = self.nodes.try_remove(place as usize)?;
        self.filters.release(&parked.op.pull.filter);
        self.by_slot.unlink(slot, place);
        self.by_connection.unlink(parked.op.responder.connection, place);
        Some(parked)
    }

    /// A busy queue parks and wakes the same pull again and again; its old deadlines must not pile up.
    fn forget_stale_deadlines(&mut self) {
        if self.deadlines.len() > 64 + 4 * self.count() {
            let nodes = &self.nodes;
            self.deadlines.retain(|Reverse((_, number, place))| {
                nodes.get(*place as usize).is_some_and(|node| node.number == *number)
            });
        }
    }
}

/// The end of a list.
const NIL: u32 = u32::MAX;

/// Lists of nodes, one for each key that somebody waits for.
struct Lists<K> {
    /// First and last of each list.
    ends: AHashMap<K, (u32, u32)>,
    /// Before and behind each place, [`NIL`] at the ends.
    links: Vec<(u32, u32)>,
}

impl<K> Default for Lists<K> {
    fn default() -> Lists<K> {
        Lists { ends: AHashMap::new(), links: Vec::new() }
    }
}

impl<K: Copy + Eq + Hash> Lists<K> {
    fn first(&self, key: K) -> Option<u32> {
        self.ends.get(&key).map(|(first, _)| *first)
    }

    /// `place`, which is in no list, becomes the last of one.
    fn push_back(&mut self, key: K, place: u32) {
        let at = place as usize;
        if self.links.len() <= at {
            self.links.resize(at + 1, (NIL, NIL));
        }
        let (_, last) = self.ends.entry(key).or_insert((place, NIL));
        let before = std::mem::replace(last, place);
        self.links[at] = (before, NIL);
        if before != NIL {
            self.links[before as usize].1 = place;
        }
    }

    /// `place` leaves the list that it is in.
    fn unlink(&mut self, key: K, place: u32) {
        let (before, behind) = self.links[place as usize];
        let ends = self.ends.get_mut(&key).expect("what leaves a list is in it");
        match before {
            NIL => ends.0 = behind,
            before => self.links[before as usize].1 = behind,
        }
        match behind {
            NIL => ends.1 = before,
            behind => self.links[behind as usize].0 = before,
        }
        if *ends == (NIL, NIL) {
            self.ends.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::MessageFilter,
        handlers::fixtures::pull_op,
        response::{Responder, allow_unanswered},
    };
    use proto::frame::HeaderKind;

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new(0, 0, number)
    }

    fn at(ms: i64) -> Uptime {
        Uptime::from_ms(ms)
    }

    fn parked(connection: ConnectionId, opaque: i32, deadline: i64) -> Parked {
        allow_unanswered();
        let responder = Responder::new(connection, opaque, HeaderKind::Json, false, 0);
        Parked { op: pull_op(responder), first_offset: 0, deadline: at(deadline) }
    }

    fn slots(count: u32) -> Vec<QueueSlot> {
        let mut state = store::StoreState::unwritten(0);
        (0..count).map(|queue| state.queue_slot("t", queue)).collect()
    }

    fn opaques(taken: &[Parked]) -> Vec<i32> {
        taken.iter().map(|parked| parked.op.responder.opaque).collect()
    }

    /// All that wait for a queue which has grown, a few at a time.
    fn woken(pulls: &mut ParkedPulls, slot: QueueSlot) -> Vec<Parked> {
        let mut all = Vec::new();
        pulls.wake(slot);
        loop {
            let mut some = Vec::new();
            let more = pulls.take_woken(3, &mut some);
            assert!(some.len() == 3 || !more);
            all.append(&mut some);
            if !more {
                return all;
            }
        }
    }

    #[test]
    fn many_are_woken_a_few_at_a_time_and_who_parks_again_waits_again() {
        let slots = slots(2);
        let mut pulls = ParkedPulls::new(100, 0);
        let park = |pulls: &mut ParkedPulls, slot, opaque| {
            pulls.park(slot, parked(connection(1), opaque, 10)).ok().expect("room");
        };
        (0..5).for_each(|opaque| park(&mut pulls, slots[0], opaque));
        park(&mut pulls, slots[1], 10);
        pulls.wake(slots[0]);
        pulls.wake(slots[1]);
        let mut out = Vec::new();
        assert!(pulls.take_woken(2, &mut out));
        assert_eq!(opaques(&out), [0, 1]);
        // Nothing matched for 0. A new pull comes, and the queue of 1 grows once more before its turn.
        park(&mut pulls, slots[0], 0);
        park(&mut pulls, slots[1], 11);
        pulls.wake(slots[1]);
        let mut out = Vec::new();
        assert!(!pulls.take_woken(100, &mut out));
        assert_eq!(opaques(&out), [2, 3, 4, 10, 11]);
        assert_eq!(pulls.count(), 1, "0 waits for the next message");
        assert!(!pulls.take_woken(100, &mut out) && pulls.woken_before.is_empty());
        assert_eq!(pulls.take_expired(at(10), 100).len(), 1);
    }

    #[test]
    fn a_pull_whose_filter_has_no_room_is_given_back() {
        let slots = slots(1);
        let mut pulls = ParkedPulls::new(100, 100);
        let with_tag = |tag: &str, opaque| {
            let mut parked = parked(connection(1), opaque, 10);
            parked.op.pull.filter = MessageFilter::of([tag]);
            parked
        };
        assert!(pulls.park(slots[0], with_tag("a", 1)).is_ok());
        assert!(pulls.park(slots[0], with_tag("b", 2)).is_err());
        assert!(pulls.park(slots[0], with_tag("a", 3)).is_ok(), "it has the filter of 1");
        assert!(pulls.park(slots[0], parked(connection(1), 4, 10)).is_ok(), "it has none");
        assert_eq!(opaques(&pulls.take_connection(connection(1))), [1, 3, 4]);
        assert_eq!(pulls.filter_bytes(), 0);
        assert!(pulls.park(slots[0], with_tag("b", 5)).is_ok());
    }

    #[test]
    fn many_end_a_few_at_a_time() {
        let slots = slots(1);
        let mut pulls = ParkedPulls::new(100, 0);
        for opaque in 0..7 {
            pulls.park(slots[0], parked(connection(1), opaque, 10)).ok().expect("room");
        }
        assert_eq!([3, 3, 3].map(|count| pulls.take_expired(at(10), count).len()), [3, 3, 1]);
    }

    #[test]
    fn nothing_is_left_of_queues_and_connections_that_nobody_waits_for() {
        let slots = slots(1_000);
        let mut pulls = ParkedPulls::new(4, 0);
        for (number, slot) in slots.iter().enumerate() {
            pulls.park(*slot, parked(connection(number), 1, 10)).ok().expect("room");
            assert_eq!(opaques(&woken(&mut pulls, *slot)), [1]);
        }
        assert_eq!(pulls.count(), 0);
        assert!(pulls.nodes.capacity() <= 4, "one place is used again and again");
        assert!(pulls.by_slot.ends.is_empty() && pulls.by_connection.ends.is_empty());
        assert!(pulls.deadlines.len() <= 65, "{} deadlines", pulls.deadlines.len());
    }

    #[test]
    fn a_place_that_is_used_again_does_not_take_over_a_deadline() {
        let slots = slots(1);
        let mut pulls = ParkedPulls::new(1, 0);
        pulls.park(slots[0], parked(connection(1), 1, 10)).ok().expect("room");
        assert!(pulls.park(slots[0], parked(connection(1), 2, 10)).is_err(), "it is full");
        assert_eq!(opaques(&pulls.take_connection(connection(1))), [1]);
        pulls.park(slots[0], parked(connection(1), 3, 20)).ok().expect("room");
        assert!(pulls.take_expired(at(19), 9).is_empty());
        assert_eq!(opaques(&pulls.take_expired(at(20), 9)), [3]);
    }

    /// What a pull is to a plain list: queue, connection, deadline, opaque.
    type Model = (usize, usize, i64, i32);

    fn drain(model: &mut Vec<Model>, gone: impl Fn(&Model) -> bool) -> Vec<i32> {
        let taken = model.extract_if(.., |one| gone(one));
        taken.map(|(.., opaque)| opaque).collect()
    }

    #[test]
    fn whoever_is_taken_out_is_who_a_plain_list_would_name() {
        let (slots, mut rng) = (slots(5), fastrand::Rng::with_seed(7));
        let (mut pulls, mut model) = (ParkedPulls::new(60, 0), Vec::<Model>::new());
        for opaque in 0..20_000 {
            let (queue, peer, time) = (rng.usize(0..5), rng.usize(0..7), rng.i64(0..1_000));
            let sorted = |mut opaques: Vec<i32>| {
                opaques.sort_unstable();
                opaques
            };
            match rng.u8(0..24) {
                0 => {
                    let taken = opaques(&woken(&mut pulls, slots[queue]));
                    assert_eq!(taken, drain(&mut model, |one| one.0 == queue));
                }
                1 => {
                    let taken = opaques(&pulls.take_connection(connection(peer)));
                    assert_eq!(taken, drain(&mut model, |one| one.1 == peer));
                }
                2 => {
                    let now = time / 20;
                    let taken = sorted(opaques(&pulls.take_expired(at(now), 60)));
                    assert_eq!(taken, drain(&mut model, |one| one.2 <= now));
                }
                _ => {
                    let pull = parked(connection(peer), opaque, time);
                    let room = model.len() < 60;
                    assert_eq!(pulls.park(slots[queue], pull).is_ok(), room);
                    model.extend(room.then_some((queue, peer, time, opaque)));
                }
            }
            assert_eq!(pulls.count(), model.len());
        }
        assert_eq!(pulls.take_all().len(), model.len());
        assert!(pulls.by_slot.ends.is_empty() && pulls.by_connection.ends.is_empty());
    }
}
