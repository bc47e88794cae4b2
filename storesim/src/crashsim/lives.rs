//! The history of one seed: lives, how each ends, and what the next boot must find.

use super::{
    Summary,
    book::{Book, Fate, OffsetName, Possible, State},
    compare::Comparison,
    mutant::{MutantDisk, Mutation},
    rot::{self, Rotten},
    work::{End, Life, TOPICS},
};
use fastrand::Rng;
use futures_lite::future::yield_now;
use runtime::sim::{FaultClass, SimDisk, block_on};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    io::ErrorKind,
    rc::Rc,
};
use store::{
    Layout,
    recovery::Report,
    settings::{FlushPolicy, Settings},
    state::{deferred::Due, half_messages::HalfCheck},
    store::Store,
};

/// Attempts to boot that may be disturbed; the next one is not.
const DISTURBED_BOOTS_MAX: u32 = 4;
/// Far beyond what a life calls: no crash is planned.
const NEVER: u64 = u64::MAX / 2;

/// What happens more often in a history than in others, because its consequences show only after several of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bent {
    Nothing,
    /// Segments are retired.
    Retirement,
    /// Bits of the log rot.
    Rot,
}

/// Everything that outlives a single life.
pub(super) struct History {
    pub(super) rng: Rng,
    pub(super) disk: MutantDisk,
    pub(super) settings: Settings,
    pub(super) book: Book,
    /// Everything before must survive a power cut.
    pub(super) durable: u64,
    /// Everything before must survive the end of the process.
    pub(super) committed: u64,
    /// The log begins here at least: segments before were retired for good.
    pub(super) retired: u64,
    /// The log begins here at most: a segment before may be on its way out.
    pub(super) retiring: u64,
    pub(super) summary: Summary,
    pub(super) bent: Bent,
    /// There are half messages.
    pub(super) halves: bool,
    /// Groups are told to go on elsewhere.
    pub(super) resets: bool,
    /// Messages name their time, and are recalled.
    pub(super) timers: bool,
    /// A group pops.
    pub(super) pops: bool,
    /// The time by which it does, ms.
    pub(super) pop_clock: i64,
    /// What it has ever acknowledged.
    pub(super) acked: BTreeMap<OffsetName, BTreeSet<i64>>,
    /// The wall clock was set in this life.
    pub(super) clock_set: bool,
    /// It was set back, or in an earlier life: then store times say nothing about ages.
    pub(super) clock_set_back: bool,
    /// In this life, a policy that keeps messages for a shorter time was there, which believes a clock that was set sooner.
    pub(super) impatient: bool,
    mutation: Option<Mutation>,
    /// A place that rotted and that no index file covered.
    rotten: Option<u64>,
    /// A start since then did not come to its end, but may have said so and mended it.
    mended: bool,
    /// Tells what happens on standard error, for a reader who replays one seed.
    verbose: bool,
}

impl History {
    pub(super) fn new(seed: u64, mutation: Option<Mutation>, verbose: bool) -> History {
        let mut rng = Rng::with_seed(seed);
        let disk = MutantDisk::new(SimDisk::new(rng.u64(..)), mutation);
        let bent = match rng.u8(0..5) {
            0 => Bent::Retirement,
            1 => Bent::Rot,
            _ => Bent::Nothing,
        };
        let mut settings = settings(&mut rng, bent);
        settings.half_messages_max = settings.deferred_max;
        History {
            rng,
            disk,
            settings,
            book: Book::default(),
            durable: 0,
            committed: 0,
            retired: 0,
            retiring: 0,
            summary: Summary::default(),
            bent,
            halves: seed % 4 == 2,
            resets: seed % 8 == 7,
            timers: seed % 8 == 5,
            pops: seed % 8 == 3,
            pop_clock: 0,
            acked: BTreeMap::new(),
            clock_set: false,
            clock_set_back: false,
            impatient: false,
            mutation,
            rotten: None,
            mended: false,
            verbose,
        }
    }

    pub(super) fn play(mut self) -> Result<Summary, String> {
        for _ in 0..self.rng.u32(2..6) {
            let (store, state) = self.boot()?;
            let end = Life::new(&mut self, store, state).play()?;
            self.end(end);
        }
        let (store, _) = self.boot()?;
        self.summary.segments = self.disk.sim.files().len() as u64;
        drop(store);
        self.trace();
        Ok(self.summary)
    }

    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{}", what());
        }
    }

    fn trace(&mut self) {
        self.summary.zeroings += self.disk.zeroings.take();
        let trace = self.summary.trace.rotate_left(7) ^ self.disk.sim.trace_hash();
        self.summary.trace = trace.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn replace_disk(&mut self, sim: SimDisk) {
        self.trace();
        sim.heal();
        sim.crash_after(NEVER);
        self.disk = MutantDisk::new(sim, self.mutation);
    }

    fn cut_power(&mut self) {
        let sim = self.disk.sim.after_crash(self.rng.u64(..));
        self.committed = self.durable;
        self.replace_disk(sim);
    }

    fn end(&mut self, end: End) {
        self.tell(|| format!("{end:?}: committed {}, durable {}", self.committed, self.durable));
        match end {
            End::Power => {
                self.summary.power_cuts += 1;
                let there = rot::has_segment(&self.disk, self.retired);
                self.cut_power();
                if !there {
                    self.unsettle_retiring();
                }
            }
            End::Kill => {
                self.summary.kills += 1;
                let sim = SimDisk::restore(&self.disk.sim.snapshot());
                self.replace_disk(sim);
            }
        }
        self.tell(|| format!("index files: {:?}", rot::index_files(&self.disk)));
        if self.bent == Bent::Rot || self.rng.u8(0..4) == 0 {
            self.rot_log();
        }
        if self.rng.u8(0..4) == 0 {
            self.rot_index();
        }
    }

    /// The oldest segment was gone already. Of its removal and that of its index the power cut may have undone either:
    /// what only the index knew may be gone although the segment is there again.
    fn unsettle_retiring(&mut self) {
        let (from, to) = (self.retired, self.retiring);
        if !rot::index_files(&self.disk).iter().any(|(_, segment)| *segment == from) {
            self.book.unsettle(from, to);
        }
    }

    fn rot_log(&mut self) {
        // What lies in the newest segment is in runs that are still to be merged.
        let newest = self.settings.layout.start_of(self.durable);
        let from = if self.bent == Bent::Rot { newest } else { 0 };
        let range = from..self.durable;
        let rotten = if self.rng.u8(0..3) == 0 {
            rot::spoil(&self.disk, &self.settings, range, &mut self.rng)
        } else {
            rot::flip(&self.disk, &self.settings, range, &mut self.rng)
        };
        for place in rotten {
            let Rotten { from, to, bytes, reads_as_zeros } = &place;
            let (fate, covered) = rot::fate(&self.disk, &self.settings, bytes.start);
            self.tell(|| format!("{bytes:?} of {from}..{to} rot: {fate:?}"));
            self.summary.rotten += 1;
            self.summary.unreadable += u64::from(*reads_as_zeros);
            if !covered {
                self.rotten = Some(bytes.start);
                self.mended = false;
            }
            self.book.rot(&place, fate);
        }
    }

    fn rot_index(&mut self) {
        for segment in rot::spoil_indexes(&self.disk, &self.settings, &mut self.rng) {
            self.tell(|| format!("an index file of segment {segment} rots"));
            self.book.unsettle(segment, self.settings.layout.end_of(segment));
            self.summary.rotten_indexes += 1;
        }
    }

    /// Opens the store, with power cuts and faults during recovery, and compares what it finds with the book.
    fn boot(&mut self) -> Result<(Rc<Store<MutantDisk>>, State), String> {
        for attempt in 0.. {
            let disturbed = attempt < DISTURBED_BOOTS_MAX && self.disturb();
            let opening = Store::open(self.disk.clone(), self.settings.clone());
            self.disk.recovering.set(true);
            let opened = block_on(opening);
            self.disk.recovering.set(false);
            match opened {
                None if self.disk.sim.crashed() => self.cut_power(),
                None => return Err("opening the store hangs".into()),
                Some(Err(_)) if disturbed => {
                    if self.rng.bool() {
                        self.cut_power();
                    } else {
                        let sim = SimDisk::restore(&self.disk.sim.snapshot());
                        self.replace_disk(sim);
                    }
                }
                Some(Err(error)) => return Err(format!("opening the store: {error}")),
                Some(Ok((store, report))) => {
                    self.disk.heal();
                    self.disk.sim.crash_after(NEVER);
                    let store = Rc::new(store);
                    self.clock_set_back |= std::mem::take(&mut self.clock_set);
                    self.impatient = false;
                    store.watch_clock(self.disk.sim.clock().now());
                    let state = self.compare(&store, report)?;
                    self.summary.boots += 1;
                    return Ok((store, state));
                }
            }
            self.tell(|| "booting failed".into());
            self.summary.boots_failed += 1;
            self.mended = true;
        }
        unreachable!("attempts do not run out");
    }

    fn disturb(&mut self) -> bool {
        match self.rng.u8(0..6) {
            0 | 1 => self.disk.sim.crash_after(self.rng.u64(0..25)),
            2 => {
                use FaultClass::{Name, Read, Sync, Write};
                let class = [Read, Write, Sync, Name][self.rng.usize(0..4)];
                self.disk.sim.fail(class, self.rng.u64(1..6), ErrorKind::Other);
            }
            _ => return false,
        }
        true
    }

    fn compare(&mut self, store: &Store<MutantDisk>, report: Report) -> Result<State, String> {
        let end = store.state().log.committed();
        store.state().check();
        if end < self.committed {
            return Err(format!("the log ends at {end}, {} was promised", self.committed));
        }
        if let Some(byte) = self.rotten.take().filter(|_| report.damaged_bytes == 0) {
            let mended = self.mended && rot::fate(&self.disk, &self.settings, byte).1;
            if !mended {
                return Err("damage was not reported".into());
            }
        }
        self.tell(|| format!("booted up to {end}: {report:?}"));
        self.check_files(store)?;
        let first = self.retired;
        // Batches with which starts begin may stand where something of the book was cut.
        let held = rot::held(&self.disk, &self.settings);
        let held_at = |position| held.iter().any(|(from, to)| *from <= position && position < *to);
        let gone = self.book.items.iter().find(|item| {
            let promised = item.fate == Fate::Sure && item.end <= self.committed;
            promised && item.start >= first && !held_at(item.start)
        });
        if let Some(item) = gone {
            return Err(format!("what was promised at {} is gone", item.start));
        }
        if let Some((control, last)) = self.book.split_group(held_at) {
            return Err(format!("of the group from {control} to {last} only a part is there"));
        }
        self.book.cut(|item| item.start < first || (item.end <= end && held_at(item.start)));
        self.durable = end;
        self.committed = end;
        let mut state = self.book.replay();
        loop {
            let rebuilt = store.tally().rebuilt_indexes.get();
            self.compare_queues(store, &mut state)?;
            if store.tally().rebuilt_indexes.get() == rebuilt {
                break;
            }
            // What was read with the help of an index file may have gone with it.
        }
        state.offsets = self.compare_offsets(store)?;
        self.compare_waiting(store)?;
        self.compare_halves(store)?;
        self.compare_resets(store)?;
        self.compare_pops(&store.state())?;
        Ok(state)
    }

    /// Half messages that are open were appended and not ended, stand as they were checked, and lie in the log.
    fn compare_halves(&mut self, store: &Store<MutantDisk>) -> Result<(), String> {
        let state = store.state();
        let mut possible = self.book.halves(u64::MAX);
        for HalfCheck { position, due, checks } in state.derived.half_messages.iter() {
            let Some(half) = possible.remove(&position) else {
                return Err(format!("the half message at {position} is open again"));
            };
            // Where rot has taken the note of its end, it may be open again.
            if half.must && position < self.retired {
                return Err(format!("the half message at {position} was retired"));
            }
            if half.stands.is_some_and(|stands| stands != (due, checks)) {
                return Err(format!(
                    "the half message at {position} was checked {checks} times and next at {due}, not {:?}",
                    half.stands
                ));
            }
            self.summary.halves_compared += 1;
        }
        if let Some((position, _)) = possible.iter().find(|(_, half)| half.must) {
            return Err(format!("the half message at {position} is open no more"));
        }
        match self.book.ended_twice() {
            Some(position) => Err(format!("the half message at {position} has ended twice")),
            None => Ok(()),
        }
    }

    /// What waits is what was appended and not delivered, and lies in the log.
    fn compare_waiting(&mut self, store: &Store<MutantDisk>) -> Result<(), String> {
        let mut found: BTreeSet<(i64, u64)> = store.state().derived.deferred.iter().collect();
        let near = found.len();
        let visit = |due: Due| {
            let key = (due.due, due.position);
            if store.state().derived.deferred.is_far(key) {
                found.insert(key);
            }
        };
        let visited = block_on(store.visit_far(visit, &yield_now)).ok_or("a search hangs")?;
        visited.map_err(|error| format!("looking for what waits: {error}"))?;
        self.summary.far_compared += (found.len() - near) as u64;
        let possible = self.book.waiting(u64::MAX);
        for (due, position) in &found {
            match possible.get(&(*due, *position)) {
                None => {
                    return Err(format!(
                        "what was due at {due} and lies at {position} waits again"
                    ));
                }
                // Where rot has taken the note of its delivery, it may wait again.
                Some(true) if *position < self.retired => {
                    return Err(format!("what waits at {position} was retired"));
                }
                Some(_) => {}
            }
        }
        let missing = possible.iter().find(|(key, must)| **must && !found.contains(*key));
        if let Some(((due, position), _)) = missing {
            return Err(format!("what is due at {due} and lies at {position} waits no more"));
        }
        self.summary.waiting_compared += found.len() as u64;
        Ok(())
    }

    /// The log begins where retention had come to; what it put aside is known.
    fn check_files(&mut self, store: &Store<MutantDisk>) -> Result<(), String> {
        let first = store.extent().begin;
        if first < self.retired || first > self.retiring {
            let (from, to) = (self.retired, self.retiring);
            return Err(format!("the log begins at {first}, it was retired up to {from} or {to}"));
        }
        (self.retired, self.retiring) = (first, first);
        let mut spares = store.spares();
        spares.sort();
        if spares != rot::spare_files(&self.disk) {
            return Err(format!("spare segments are not {spares:?}"));
        }
        Ok(())
    }

    /// Compares all queues with the book, and takes over what it cannot know.
    fn compare_queues(
        &mut self,
        store: &Store<MutantDisk>,
        state: &mut State,
    ) -> Result<(), String> {
        let murky = self.book.murky();
        self.summary.murky += murky.len() as u64;
        let comparison = Comparison { store, first: self.retired };
        state.queues.retain(|name, _| !murky.contains(&name.0));
        let mut topics: Vec<String> = store.state().topics().map(String::from).collect();
        topics.sort();
        for topic in topics {
            let mut queues = Vec::new();
            store
                .state()
                .queues_of(&topic, |queue, entries, _| queues.push((queue, entries.max())));
            queues.sort();
            for (queue, max) in queues {
                let name = (topic.clone(), queue);
                if murky.contains(&topic) {
                    let found = comparison.murky(&name, &self.book);
                    let found = found.map_err(|what| format!("{name:?}, murky: {what}"))?;
                    state.queues.insert(name, found);
                } else if max > 0 && !state.queues.contains_key(&name) {
                    return Err(format!("{name:?} has messages of nobody"));
                }
            }
        }
        for (name, expected) in state.queues.iter().filter(|(name, _)| !murky.contains(&name.0)) {
            comparison.queue(name, expected).map_err(|what| format!("{name:?}: {what}"))?;
            self.summary.messages_compared += expected.messages.len() as u64;
        }
        let clear: Vec<&str> = TOPICS.into_iter().filter(|topic| !murky.contains(*topic)).collect();
        if self.settings.index_keys {
            self.summary.keys_found += comparison.keys(state, &clear)?;
        }
        Ok(())
    }

    fn compare_offsets(
        &self,
        store: &Store<MutantDisk>,
    ) -> Result<BTreeMap<OffsetName, i64>, String> {
        let found: BTreeMap<OffsetName, i64> = store
            .state()
            .derived
            .group_offsets
            .iter()
            .map(|(group, topic, queue, offset)| ((group.into(), topic.into(), queue), offset))
            .collect();
        is_possible("offset", &found, &self.book.possible_offsets())?;
        Ok(found)
    }

    /// Groups are told to go on elsewhere that were, and have not heard it.
    fn compare_resets(&mut self, store: &Store<MutantDisk>) -> Result<(), String> {
        let state = store.state();
        let found: BTreeMap<OffsetName, i64> = state
            .derived
            .offset_resets
            .iter()
            .map(|reset| ((reset.group.into(), reset.topic.into(), reset.queue_id), reset.offset))
            .collect();
        self.summary.resets_compared += found.len() as u64;
        is_possible("reset", &found, &self.book.possible_resets())
    }
}

/// What was found of each group on each queue is what may be known.
pub(super) fn is_possible<T: Clone + Debug + Ord>(
    what: &str,
    found: &BTreeMap<OffsetName, T>,
    possible: &Possible<T>,
) -> Result<(), String> {
    for name in found.keys().chain(possible.keys()) {
        let said = found.get(name).cloned();
        let values = possible.get(name);
        if values.is_none_or(|values| !values.contains(&said)) {
            return Err(format!("the {what} of {name:?} is {said:?}, not {values:?}"));
        }
    }
    Ok(())
}

fn settings(rng: &mut Rng, bent: Bent) -> Settings {
    let segment_bytes = match bent {
        Bent::Retirement | Bent::Rot => 1 << 16,
        Bent::Nothing => [1u64 << 16, 1 << 17, 1 << 18][rng.usize(0..3)],
    };
    // Half of all logs begin with small segments, some of them too small for the largest record.
    let first_bytes = if rng.bool() { segment_bytes } else { segment_bytes >> rng.u32(1..=3) };
    let layout = Layout::new(first_bytes, segment_bytes).expect("doubled some times");
    let record_bytes_max = rng.usize(2_048..=segment_bytes as usize / 4);
    let least = (2 * (record_bytes_max + 3 * 4096)).next_power_of_two();
    let tail_cache_bytes = least << rng.u32(0..3);
    let index_entries_max = if bent == Bent::Rot { rng.u64(5..40) } else { rng.u64(5..500) };
    Settings {
        shard: rng.u16(0..100),
        dir: "/data/log".into(),
        log_id: rng.u64(..),
        store_id: 17,
        layout,
        index_entries_max,
        unindexed_entries_max: match rng.bool() {
            true => u64::MAX,
            false => index_entries_max + rng.u64(0..50),
        },
        // Room for all offsets, or for some of them.
        group_offset_bytes_max: if rng.u8(0..4) > 0 { usize::MAX } else { rng.usize(1_000..8_000) },
        deferred_max: if rng.u8(0..4) > 0 { usize::MAX } else { rng.usize(1..20) },
        deferred_in_memory_max: if rng.bool() { usize::MAX } else { rng.usize(2..24) },
        half_messages_max: usize::MAX,
        popped_max: usize::MAX,
        index_keys: rng.bool(),
        cold_cache_bytes: 1 << 20,
        tail_cache_bytes,
        inflight_bytes_max: rng.u64(4_096..=tail_cache_bytes as u64 / 2),
        record_bytes_max,
        flush: if rng.u8(0..3) > 0 {
            FlushPolicy::Sync
        } else {
            FlushPolicy::Async { interval_ms: rng.i64(1..40) }
        },
        zero_ahead_bytes: if rng.bool() { segment_bytes / 2 } else { 0 },
        progress: Default::default(),
    }
}
