//! A group pops queues, acknowledges some of what it got, and keeps some for longer.
//!
//! What the log says is compared after each boot with what was written into it, unless damage took some of it along. When it is written, what it says is right: all
//! before the place that is not in flight is done. And the group's offset never passes what nobody has acknowledged.

use super::{
    book::{OffsetName, QueueName, Said, What},
    lives::History,
    mutant::Mutation,
    work::{Life, TOPICS},
};
use std::collections::{BTreeMap, BTreeSet};
use store::{
    PopAsk, PopPlace, PopRead, StoreState,
    state::{
        Popped,
        popped::{InFlight, PopProgress},
    },
};

/// The group.
pub(super) const POPPER: &str = "popper";
/// After so long queues of which nothing is in flight are forgotten, ms.
const IDLE_MS: i64 = 100_000;
/// How long messages are in one hand, ms.
const INVISIBLE_MS: i64 = 20;
/// What a life knows of pops.
#[derive(Default)]
pub(super) struct Pops {
    /// What the log says, once all of it is committed.
    said: BTreeMap<OffsetName, Said>,
    /// Offsets that are done, of queues that were popped in this life or known at its start: acknowledged, or below the place and
    /// not in flight at the start.
    done: BTreeMap<OffsetName, BTreeSet<i64>>,
}

fn row(flight: InFlight) -> (i64, i64, u32) {
    (flight.popped_at, flight.visible_at, flight.again)
}

/// What a store says.
pub(super) fn found(popped: &Popped) -> BTreeMap<OffsetName, Said> {
    let queues = popped.iter().filter_map(|(group, topic, queue_id, queue)| {
        let (cursor, rows) = queue.committed();
        let rows: BTreeMap<_, _> = rows.map(|(at, flight)| (at, row(flight))).collect();
        let is_known = cursor.is_some() || !rows.is_empty();
        let name = (group.to_owned(), topic.to_owned(), queue_id);
        is_known.then_some((name, (cursor, rows)))
    });
    queues.collect()
}

impl Pops {
    /// As a start has found them.
    pub(super) fn found(state: &StoreState) -> Pops {
        let mut pops = Pops { said: found(&state.derived.popped), done: BTreeMap::new() };
        for (name, (cursor, rows)) in &pops.said {
            let below = 0..cursor.unwrap_or(0);
            let below = below.filter(|offset| !rows.contains_key(offset));
            pops.done.insert(name.clone(), below.collect());
        }
        // Its offset may be ahead of what the log says of pops.
        for (group, topic, queue_id, offset) in state.derived.group_offsets.iter() {
            if group == POPPER {
                let name = (group.to_owned(), topic.to_owned(), queue_id);
                pops.done.entry(name).or_default().extend(0..offset);
            }
        }
        pops
    }

    /// Groups were told to go on elsewhere: what they had is theirs no more.
    pub(super) fn reset(&mut self, what: &What) {
        if let What::Resets(resets) = what {
            let told = resets.iter().filter(|(_, target)| target.is_some());
            told.for_each(|(name, _)| drop(self.said.remove(name)));
        }
    }

    /// A topic or a group is gone.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&OffsetName) -> bool) {
        self.said.retain(|name, _| !is_gone(name));
        self.done.retain(|name, _| !is_gone(name));
    }
}

impl Life<'_> {
    pub(super) fn work_on_pops(&mut self) {
        self.history.pop_clock += self.history.rng.i64(1..8);
        let queue = (TOPICS[self.history.rng.usize(0..TOPICS.len())].to_owned(), 0);
        match self.history.rng.u8(0..18) {
            0..6 => self.pop_some(&queue),
            6..10 => self.ack_some(&queue),
            10 => self.keep_one(&queue),
            11 if self.history.rng.bool() => self.remove_popper(),
            11 => self.store.state_mut().forget_idle_pops(self.history.pop_clock + IDLE_MS),
            12 => self.reset_popper(&queue),
            13..16 => self.write_pops(),
            _ => self.append_offsets(),
        }
    }

    fn pop_some(&mut self, queue: &QueueName) {
        let place = PopPlace { group: POPPER, topic: &queue.0, queue_id: queue.1 };
        let (now, count_max) = (self.history.pop_clock, self.history.rng.usize(1..6));
        let in_order = (self.history.rng.u8(0..4) == 0).then_some(None);
        let ask = PopAsk { now, popped_at: now, count_max, in_order };
        let from_max = self.history.rng.bool();
        let first = |state: &StoreState| {
            let bounds = state.queue(&queue.0, queue.1).map_or((0, 0), |it| (it.min(), it.max()));
            if from_max { bounds.1 } else { bounds.0 }
        };
        let is_new = self.offset_of(queue).is_none() && self.flights(queue).is_empty();
        self.changes += 1;
        let begun = self.store.state_mut().begin_pop(place, ask, first);
        if !self.resets.may_pop(&name_of(queue)) {
            assert!(begun.is_none(), "the log does not have the reset yet");
        }
        if is_new && let Some(first) = self.offset_of(queue) {
            // The group begins there; what is before is not for it.
            self.skip_to(queue, first);
        }
        let Some(start) = begun else { return self.note_popper(queue) };
        let mut state = self.store.state_mut();
        let max = state.queue(&queue.0, queue.1).map_or(0, |entries| entries.max());
        let room = (start.count_max - start.again.len()) as i64;
        let cursor = (start.cursor + room).min(max).max(start.cursor);
        let found: Vec<i64> = start.again.iter().copied().chain(start.cursor..cursor).collect();
        let (popped_at, visible_at) = (now, now + INVISIBLE_MS);
        let read = PopRead { found: &found, lost: &[], cursor, popped_at, visible_at };
        let given = state.end_pop(place, &start, read).expect("nobody resets it");
        if self.history.disk.mutation == Some(Mutation::AckedAtPop) {
            for offset in &found {
                state.ack_popped(place, *offset, popped_at);
            }
        }
        drop(state);
        self.history.summary.popped += given.iter().flatten().count() as u64;
        let (name, exact) = (name_of(queue), self.history.is_exact());
        let done = self.pops.done.entry(name.clone()).or_default();
        for (offset, _) in found.iter().zip(given).filter(|(_, again)| again.is_some()) {
            assert!(!exact || !done.contains(offset), "{name:?} {offset} is done and popped");
        }
        self.note_popper(queue);
    }

    fn ack_some(&mut self, queue: &QueueName) {
        let name = name_of(queue);
        let flights = self.flights(queue);
        self.changes += 1;
        for (offset, flight) in flights {
            if self.history.rng.bool() {
                continue;
            }
            let stale = self.history.rng.u8(0..8) == 0;
            let receipt = flight.popped_at - i64::from(stale);
            let place = PopPlace { group: POPPER, topic: &queue.0, queue_id: queue.1 };
            let counts = self.store.state_mut().ack_popped(place, offset, receipt);
            assert_eq!(counts, !stale, "{name:?} {offset}");
            if counts {
                self.history.summary.acked += 1;
                self.pops.done.entry(name.clone()).or_default().insert(offset);
                self.history.acked.entry(name.clone()).or_default().insert(offset);
            }
        }
        self.note_popper(queue);
    }

    fn keep_one(&mut self, queue: &QueueName) {
        let flights = self.flights(queue);
        let Some((offset, flight)) = self.history.rng.choice(&flights).copied() else { return };
        let now = self.history.pop_clock;
        let place = PopPlace { group: POPPER, topic: &queue.0, queue_id: queue.1 };
        let changed = self.store.state_mut().change_popped(
            place,
            offset,
            flight.popped_at,
            now,
            now + self.history.rng.i64(0..40),
        );
        assert!(changed.is_some(), "its receipt is the last one");
    }

    fn flights(&self, queue: &QueueName) -> Vec<(i64, InFlight)> {
        let state = self.store.state();
        let popped = state.derived.popped.get(POPPER, &queue.0, queue.1);
        popped.map(|queue| queue.iter().collect()).unwrap_or_default()
    }

    fn remove_popper(&mut self) {
        if self.history.rng.u8(0..4) == 0 {
            self.remove_group_of(POPPER);
        }
    }

    fn offset_of(&self, queue: &QueueName) -> Option<i64> {
        self.store.state().derived.group_offsets.get(POPPER, &queue.0, queue.1)
    }

    /// All before `offset` is not for the group.
    fn skip_to(&mut self, queue: &QueueName, offset: i64) {
        let name = name_of(queue);
        self.pops.done.entry(name.clone()).or_default().extend(0..offset);
        self.history.acked.entry(name).or_default().extend(0..offset);
    }

    /// The group is told to go on elsewhere; the log has it before anything else happens.
    fn reset_popper(&mut self, queue: &QueueName) {
        let max = self.store.state().queue(&queue.0, queue.1).map_or(0, |entries| entries.max());
        if max == 0 || self.history.rng.bool() {
            return;
        }
        let target = self.history.rng.i64(0..=max);
        let name = name_of(queue);
        if !self.reset_to(&name, target) {
            return;
        }
        // What is behind comes again, and what is before never.
        if let Some(done) = self.pops.done.get_mut(&name) {
            done.retain(|offset| *offset < target);
        }
        self.skip_to(queue, target);
    }

    /// The group's offset may have followed. It passes nothing that is not done.
    fn note_popper(&mut self, queue: &QueueName) {
        let name = name_of(queue);
        let Some(offset) = self.offset_of(queue) else { return };
        let min = self.store.state().queue(&queue.0, queue.1).map_or(0, |entries| entries.min());
        let done = self.pops.done.entry(name.clone()).or_default();
        let open = (min..offset).find(|offset| !done.contains(offset));
        let is_right = open.is_none() || !self.history.is_exact();
        assert!(is_right, "the offset {offset} of {name:?} has passed {open:?}");
        self.note_offset(name, offset);
    }

    /// Some of what changed is said in the log.
    fn write_pops(&mut self) {
        self.store.state_mut().write_popped();
        self.append_offsets();
    }

    /// What an entry says of pops, which was appended last.
    pub(super) fn note_progress(&mut self, progress: PopProgress<'_>) -> What {
        let exact = self.history.is_exact();
        let mut all = Vec::new();
        for said in progress.iter() {
            let name = (said.group.to_owned(), said.topic.to_owned(), said.queue_id);
            let (cursor, rows) = self.pops.said.entry(name.clone()).or_default();
            if said.anew {
                (*cursor, *rows) = Default::default();
            }
            for (offset, flight) in said.rows() {
                match flight {
                    Some(flight) => rows.insert(offset, row(flight)),
                    None => rows.remove(&offset),
                };
            }
            *cursor = said.cursor.or(*cursor);
            let is_open = |offset: &i64| !rows.contains_key(offset);
            let min = self.store.state().queue(said.topic, said.queue_id).map_or(0, |it| it.min());
            let done = self.pops.done.entry(name.clone()).or_default();
            let open = (min..cursor.unwrap_or(0)).filter(is_open).find(|it| !done.contains(it));
            assert!(open.is_none() || !exact, "the log passes {open:?} of {name:?}, not done");
            let is_known = cursor.is_some() || !rows.is_empty();
            all.push((name, is_known.then(|| (*cursor, rows.clone()))));
        }
        What::Popped(all)
    }
}

impl History {
    /// Nothing has rotted: what was done is known.
    fn is_exact(&self) -> bool {
        self.summary.rotten == 0 && self.summary.rotten_indexes == 0
    }

    /// What a boot found of pops was said, and passes nothing that nobody has acknowledged.
    pub(super) fn compare_pops(&mut self, state: &StoreState) -> Result<(), String> {
        let found = found(&state.derived.popped);
        self.summary.pops_compared += found.len() as u64;
        let exact = self.is_exact();
        for (name, (cursor, rows)) in found.iter().filter(|_| exact) {
            let min = state.queue(&name.1, name.2).map_or(0, |entries| entries.min());
            let nobody = BTreeSet::new();
            let acked = self.acked.get(name).unwrap_or(&nobody);
            let offset = state.derived.group_offsets.get(&name.0, &name.1, name.2).unwrap_or(0);
            let is_open = |at: &i64| !acked.contains(at);
            let lost = (min..cursor.unwrap_or(0)).find(|at| is_open(at) && !rows.contains_key(at));
            if let Some(lost) = lost.or_else(|| (min..offset).find(is_open)) {
                return Err(format!("{name:?} {lost} was not acknowledged, and will not come"));
            }
        }
        if !exact {
            // Entries say what changed: what follows from those that are left is said nowhere here.
            return Ok(());
        }
        super::lives::is_possible("pop", &found, &self.book.possible_pops())
    }
}

fn name_of(queue: &QueueName) -> OffsetName {
    (POPPER.to_owned(), queue.0.clone(), queue.1)
}
