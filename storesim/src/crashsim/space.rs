//! Room on the disk: retention, a disk that fills up and has room again, and index files that rot meanwhile.

use super::{book::QueueName, lives::Bent, mutant::MutantDisk, rot, work::Life};
use futures_lite::future::yield_now;
use runtime::sim::Outcome;
use store::{
    error::{Refused, StoreError},
    retention::{Policy, Retired},
    store::Store,
};

/// A policy that lets nothing go and takes messages on any disk.
const GENEROUS: Policy = Policy {
    reserved_ms: i64::MAX,
    used_max_percent: 100,
    forcible_percent: 100,
    closed_percent: 100,
    forcibly: false,
};

/// No message of a simulated life is as old, ms.
const LIFE_MS_MAX: i64 = 3_600_000;

/// The retirement of a segment under way.
pub(super) struct Retirement {
    outcome: Outcome<Result<Went, StoreError>>,
    /// What goes with the segment, and [`Life::changes`] when that was so.
    expected: Option<Retired>,
    changes: u64,
    /// Only age could make it go, and nothing is old enough.
    young: bool,
}

/// What is known of it afterwards.
enum Went {
    Nothing,
    Something,
    Counted(Retired),
}

impl Life<'_> {
    pub(super) fn first_segment(store: &Store<MutantDisk>) -> u64 {
        store.extent().begin
    }

    /// Lets go of the oldest segment, by order or by a policy.
    pub(super) fn retire(&mut self) {
        if self.history.rng.u8(0..3) == 0 {
            self.carry_on();
        }
        if self.retirement.is_some() || self.carries.is_under_way() {
            return;
        }
        let first = Self::first_segment(&self.store);
        let behind = self.store.settings().layout.end_of(first);
        if self.history.rng.bool() {
            self.deliver_before(behind);
            self.end_halves_before(behind);
        }
        self.retiring.set(behind.max(self.retiring.get()));
        self.history.retiring = self.retiring.get();
        let (expected, changes) = (self.goes_with(first, behind), self.changes);
        let store = self.store.clone();
        let mut young = false;
        let rng = &mut self.history.rng;
        let outcome = if rng.bool() {
            let recycle = rng.bool();
            self.stepper.spawn("retire", async move {
                let retired = store.retire_oldest(recycle, &yield_now).await?;
                Ok(retired.map_or(Went::Nothing, Went::Counted))
            })
        } else {
            let policy = Policy {
                reserved_ms: [0, 5_000, i64::MAX][rng.usize(0..3)],
                used_max_percent: rng.u32(10..100),
                forcible_percent: rng.u32(10..100),
                closed_percent: rng.u32(30..100),
                forcibly: rng.bool(),
            };
            young = rng.u8(0..4) == 0;
            let by_age = Policy { reserved_ms: LIFE_MS_MAX, ..GENEROUS };
            let policy = if young { by_age } else { policy };
            let hour = rng.bool();
            self.history.impatient |= policy.reserved_ms < LIFE_MS_MAX;
            self.scarce = true;
            let now = self.now() + 10_000;
            self.stepper.spawn("retain", async move {
                let usage = store.usage().await?;
                let went =
                    store.retain(&policy, usage, store.room_bytes(), now, hour, &yield_now).await?;
                Ok(if went { Went::Something } else { Went::Nothing })
            })
        };
        self.retirement = Some(Retirement { outcome, expected, changes, young });
    }

    /// Messages in a segment, and how many of them no group has consumed. `None` where damage leaves it open.
    fn goes_with(&self, first: u64, behind: u64) -> Option<Retired> {
        let mut retired = Retired::default();
        for (name, queue) in &self.state.queues {
            if queue.messages.iter().any(Option::is_none) || self.blind {
                return None;
            }
            let (from, to) = (queue.min(first).0, queue.min(behind).0);
            let consumed = self.furthest(name).max(from);
            retired.messages += (to - from) as u64;
            retired.unconsumed += (to - consumed).max(0) as u64;
        }
        Some(retired)
    }

    fn furthest(&self, name: &QueueName) -> i64 {
        let offsets = self.state.offsets.iter();
        let own = offsets.filter(|((_, topic, queue), _)| *topic == name.0 && *queue == name.1);
        own.map(|(_, offset)| *offset).max().unwrap_or(0)
    }

    /// What went did not wait, and does not wait again when the power goes now.
    fn check_held(&mut self) -> Result<(), String> {
        let first = Self::first_segment(&self.store);
        if std::mem::replace(&mut self.begin, first) == first {
            return Ok(());
        }
        match self.history.book.held_from(self.history.durable) {
            Some(held) if held < first => {
                Err(format!("the log begins at {first}, and what lies at {held} may wait again"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_retirement(&mut self) -> Result<(), String> {
        self.check_held()?;
        let Some(retirement) = self.retirement.take_if(|one| one.outcome.is_ready()) else {
            return Ok(());
        };
        let first = Self::first_segment(&self.store);
        self.history.tell(|| format!("a retirement is over, the log begins at {first}"));
        let went = match retirement.outcome.take().ok_or("a retirement was taken twice")? {
            Ok(went) => went,
            // Half of it may have happened.
            Err(_) if self.faults || self.index_rotten => return Ok(()),
            Err(error) => return Err(format!("retiring failed: {error}")),
        };
        if let Went::Nothing = went {
            return Ok(());
        }
        self.history.summary.retired += 1;
        self.history.retired = first;
        let messages = retirement.expected.is_some_and(|expected| expected.messages > 0);
        let history = &self.history;
        let ages_unknown = history.clock_set_back || (history.clock_set && history.impatient);
        if retirement.young && messages && !ages_unknown {
            return Err("a segment went for an age that only a clock which was set gave it".into());
        }
        if first != self.retiring.get() {
            return Err(format!("retired up to {first}, not {}", self.retiring.get()));
        }
        match (went, retirement.expected) {
            (Went::Counted(retired), Some(expected))
                if retirement.changes == self.changes && retired != expected && !self.blind =>
            {
                Err(format!("{retired:?} went, not {expected:?}"))
            }
            _ => Ok(()),
        }
    }

    /// The disk fills up, or has room again.
    pub(super) fn change_room(&mut self) {
        let rng = &mut self.history.rng;
        let segment = self.store.settings().layout.segment_bytes();
        let bytes = match rng.u8(0..3) {
            0 => u64::MAX,
            1 => rng.u64(0..2 * segment),
            _ => rng.u64(0..4) * segment,
        };
        self.scarce = true;
        self.history.disk.sim.full_after(bytes);
    }

    /// A message may be refused for a reason only, and a full disk leaves room for the offsets of groups.
    pub(super) fn check_refused(&mut self, refused: &Refused) {
        let state = self.store.state();
        match refused {
            Refused::Busy { .. } | Refused::RoomAwaited { .. } => {}
            Refused::DiskFull { .. } => {
                assert!(self.scarce || self.faults, "{refused}");
                let (inflight, left) =
                    (state.log.inflight_bytes(), state.log.room_end() - state.log.appended());
                let room = left >= state.log.reserve_bytes();
                assert!(
                    inflight > 0 || !room || state.log.admit_control(256).is_ok(),
                    "no reserve"
                );
                self.history.summary.refused += 1;
            }
            Refused::IndexBehind { entries, entries_max, keys, keys_max, .. } => {
                assert!(entries > entries_max || keys > keys_max, "{refused}");
                self.history.summary.refused_unindexed += 1;
            }
            Refused::TooManyWait { waiting, limit, .. } => assert!(waiting >= limit, "{refused}"),
            Refused::TooManyHalves { open, limit, .. } => assert!(open >= limit, "{refused}"),
            other => assert!(state.log.poisoned().is_some(), "{other}"),
        }
    }

    /// An index file rots under a store at work, or some that lie beside each other.
    pub(super) fn rot_index(&mut self) {
        let files = self.store.index_files();
        let files = files.into_iter().map(|(path, head)| (path, head.segment));
        let there = rot::index_files(&self.history.disk);
        let safe = |path: &std::path::Path| {
            self.history.disk.sim.unsynced_writes(path) == 0
                && there.iter().any(|(own, _)| own == path)
        };
        let files: Vec<_> = files.filter(|(path, _)| safe(path)).collect();
        if files.len() < 2 || self.index_rotten || self.retirement.is_some() {
            return;
        }
        let count = files.len();
        let range = if self.history.bent == Bent::Retirement {
            // The newest is the one that must know what goes.
            count - 1..count
        } else {
            rot::neighbours(count, count - 1, &mut self.history.rng)
        };
        for (path, segment) in &files[range] {
            let disk = &self.history.disk;
            if disk.mutation.is_none() && self.history.rng.bool() {
                let bytes = disk.sim.live_bytes(path).map_or(0, |bytes| bytes.len() as u64);
                assert!(disk.sim.spoil_block(path, self.history.rng.u64(0..bytes)));
            } else {
                let (byte, bit) = rot::flip_anywhere(disk, path, &mut self.history.rng);
                disk.note_rot(path, byte, bit);
            }
            self.history.tell(|| format!("{} rots under the store", path.display()));
            let behind = self.store.settings().layout.end_of(*segment);
            self.blind |= self.history.book.unsettle(*segment, behind);
            self.history.summary.rotten_indexes += 1;
        }
        self.index_rotten = true;
    }

    /// With room on a healthy disk everything goes on: messages are taken, and index files are written, by itself.
    pub(super) fn recover_room(&mut self) -> Result<(), String> {
        self.history.disk.heal();
        let (store, now) = (self.store.clone(), self.now());
        self.stepper.spawn("reopen", async move {
            let usage = store.usage().await?;
            store.retain(&GENEROUS, usage, store.room_bytes(), now, false, &yield_now).await
        });
        // What failed is tried again each second; a damaged index file is found while others wait for it.
        for _ in 0..4 {
            self.store.each_second();
            self.stepper.run_until_idle(&mut self.history.rng);
            self.observe()?;
        }
        self.history.summary.rebuilt += self.store.tally().rebuilt_indexes.get();
        if self.history.disk.sim.crashed() || self.store.state().log.poisoned().is_some() {
            return Ok(());
        }
        let refused = self.store.state().admit(1, 1).err();
        if let Some(refused) = refused {
            return Err(format!("messages are refused although there is room: {refused}"));
        }
        let (wanted, unsealed) = (self.store.wanted_index(), self.store.unsealed());
        if wanted.is_some() || unsealed.is_some() {
            let state = self.store.state();
            let to = (state.indexed_to(), state.log.flushed(), state.log.committed());
            return Err(format!(
                "the index loop sleeps although there is work: a file up to {wanted:?}, segment \
                 {unsealed:?} to be sealed; indexed, flushed, committed up to {to:?}"
            ));
        }
        Ok(())
    }
}
