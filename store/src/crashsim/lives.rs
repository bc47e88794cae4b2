//! The history of one seed: lives, how each ends, and what the next boot must find.

use super::{
    Summary,
    book::{Book, Item, OffsetName, QueueState, State},
    mutant::{MutantDisk, Mutation},
    rot::{self, Flipped},
    work::{End, Life},
};
use crate::{
    read::PullLimits,
    recovery::Report,
    store::{FlushPolicy, Settings, Store},
};
use fastrand::Rng;
use runtime::sim::{FaultClass, SimDisk, block_on};
use std::{collections::BTreeMap, io::ErrorKind, rc::Rc};

/// Attempts to boot that may be disturbed; the next one is not.
const DISTURBED_BOOTS_MAX: u32 = 4;
/// Far beyond what a life calls: no crash is planned.
const NEVER: u64 = u64::MAX / 2;

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
    pub(super) summary: Summary,
    mutation: Option<Mutation>,
    rotten: bool,
    /// Tells what happens on standard error, for a reader who replays one seed.
    told: bool,
}

impl History {
    pub(super) fn new(seed: u64, mutation: Option<Mutation>, told: bool) -> History {
        let mut rng = Rng::with_seed(seed);
        let disk = MutantDisk::new(SimDisk::new(rng.u64(..)), mutation);
        let settings = settings(&mut rng);
        History {
            rng,
            disk,
            settings,
            book: Book::default(),
            durable: 0,
            committed: 0,
            summary: Summary::default(),
            mutation,
            rotten: false,
            told,
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

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.told {
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
                self.cut_power();
            }
            End::Kill => {
                self.summary.kills += 1;
                let sim = SimDisk::restore(&self.disk.sim.snapshot());
                self.replace_disk(sim);
            }
        }
        if self.rng.u8(0..4) == 0 {
            let durable = self.durable;
            let flipped = rot::flip(&self.disk, &self.settings, durable, &mut self.rng);
            if let Some(Flipped { from, to, byte }) = flipped {
                let indexed = rot::is_indexed(&self.disk, &self.settings, byte);
                self.tell(|| format!("a bit flips at {byte} of {from}..{to}, indexed: {indexed}"));
                if indexed {
                    self.book.hit(from, to, byte);
                } else {
                    self.book.lose(from, to);
                    self.rotten = true;
                }
                self.summary.rotten += 1;
            }
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
                    let state = self.compare(&store, report)?;
                    self.summary.boots += 1;
                    return Ok((store, state));
                }
            }
            self.tell(|| "booting failed".into());
            self.summary.boots_failed += 1;
        }
        unreachable!("attempts do not run out");
    }

    fn disturb(&mut self) -> bool {
        match self.rng.u8(0..6) {
            0 | 1 => self.disk.sim.crash_after(self.rng.u64(0..25)),
            2 => {
                let classes = [FaultClass::Read, FaultClass::Write, FaultClass::Sync];
                let class = classes[self.rng.usize(0..3)];
                self.disk.sim.fail(class, self.rng.u64(1..6), ErrorKind::Other);
            }
            _ => return false,
        }
        true
    }

    fn compare(&mut self, store: &Store<MutantDisk>, report: Report) -> Result<State, String> {
        let end = store.core().log.committed();
        store.core().check();
        if end < self.committed {
            return Err(format!("the log ends at {end}, {} was promised", self.committed));
        }
        if std::mem::take(&mut self.rotten) && report.damaged_bytes == 0 {
            return Err("damage was not reported".into());
        }
        self.tell(|| format!("booted up to {end}: {report:?}"));
        // Batches of no entries, with which starts begin, may stand where something of the book was cut.
        let held = rot::held(&self.disk, &self.settings);
        let held_at = |position| held.iter().any(|(from, to)| *from <= position && position < *to);
        let promised = |item: &Item| !item.lost && !item.kept && item.end <= self.committed;
        let gone = self.book.items.iter().find(|item| promised(item) && !held_at(item.start));
        if let Some(item) = gone {
            return Err(format!("what was promised at {} is gone", item.start));
        }
        self.book.cut(|item| item.end <= end && (item.kept || held_at(item.start)));
        self.durable = end;
        self.committed = end;
        let mut state = self.book.replay();
        self.compare_queues(store, &state)?;
        let found: BTreeMap<_, _> = store
            .core()
            .offsets
            .iter()
            .map(|(group, topic, queue, offset)| ((group.into(), topic.into(), queue), offset))
            .collect();
        let whole = self.book.replay_all().offsets;
        let names = found.keys().chain(state.offsets.keys());
        let right = |name: &OffsetName| {
            let said = found.get(name);
            said == state.offsets.get(name) || said == whole.get(name)
        };
        if names.clone().all(right) {
            state.offsets = found;
        } else {
            return Err(format!("group offsets are {found:?}, not {:?}", state.offsets));
        }
        Ok(state)
    }

    fn compare_queues(&mut self, store: &Store<MutantDisk>, state: &State) -> Result<(), String> {
        let topics: Vec<String> = store.core().topics().map(String::from).collect();
        for topic in topics {
            let mut known = Ok(());
            store.core().queues_of(&topic, |queue, entries, _| {
                let expected = state.queues.contains_key(&(topic.clone(), queue));
                if !expected && entries.max() > 0 {
                    known = Err(format!("{topic}/{queue} has messages of nobody"));
                }
            });
            known?;
        }
        for ((topic, queue), expected) in &state.queues {
            compare_queue(store, topic, *queue, expected)
                .map_err(|what| format!("{topic}/{queue}: {what}"))?;
            self.summary.messages_compared += expected.messages.len() as u64;
        }
        Ok(())
    }
}

fn compare_queue(
    store: &Store<MutantDisk>,
    topic: &str,
    queue: u32,
    expected: &QueueState,
) -> Result<(), String> {
    let limits = |offset| PullLimits { offset, count_max: 32, bytes_max: 1 << 16, scan_max: 64 };
    let mut offset = expected.min;
    loop {
        let plan = match block_on(store.plan_pull_on_disk(topic, queue, limits(offset), |_| true)) {
            Some(Ok(plan)) => plan,
            other => return Err(format!("planning from {offset}: {other:?}")),
        };
        let (min, max) = (expected.min, expected.next());
        if (plan.min_offset, plan.max_offset) != (min, max) {
            let found = (plan.min_offset, plan.max_offset);
            return Err(format!("offsets are {found:?}, not {:?}", (min, max)));
        }
        if offset == max {
            return Ok(());
        }
        let mut bytes = Vec::new();
        match block_on(store.read_cold(&plan.pieces, &mut bytes)) {
            Some(Ok(_)) => {}
            other => return Err(format!("reading from {offset}: {other:?}")),
        }
        let range = (offset - min) as usize..(plan.next_offset - min) as usize;
        let wanted = expected.messages[range].iter().flatten();
        let wanted: Vec<u8> = wanted.flat_map(|message| message.record.iter().copied()).collect();
        if bytes != wanted {
            return Err(format!("messages from {offset} to {} differ", plan.next_offset));
        }
        offset = plan.next_offset;
    }
}

fn settings(rng: &mut Rng) -> Settings {
    let segment_bytes = [1u64 << 16, 1 << 17, 1 << 18][rng.usize(0..3)];
    let record_bytes_max = rng.usize(2_048..=segment_bytes as usize / 4);
    let least = (2 * (record_bytes_max + 3 * 4096)).next_power_of_two();
    let tail_cache_bytes = least << rng.u32(0..3);
    Settings {
        shard: rng.u16(0..100),
        dir: "/data/log".into(),
        log_id: rng.u64(..),
        segment_bytes,
        index_entries_max: rng.u64(5..500),
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
    }
}
