//! The power cut: from the state of a disk and a seed to the disk that the next boot finds.
//!
//! Sync is the only promise. Everything else is decided per crash by a [`Mood`], because independent coins alone would
//! hardly ever lose everything, keep everything, or keep exactly what was first.

use std::{collections::BTreeMap, rc::Rc};

use fastrand::Rng;

use super::{SimDisk, content::Survival, state::State};

/// How a crash treats what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Nothing of it survives.
    Lost,
    /// All of it survives.
    Kept,
    /// What was completed before the moment survives, what was at it is torn, the rest is lost.
    Until(u64),
    /// Names: a prefix per directory survives. Data: as `Scattered`.
    PrefixPerDirectory,
    /// Each write and each change has its own fate, in no order.
    Scattered,
}

impl Mood {
    /// A mood for a disk on which the fate of `undecided` moments is open.
    fn any(undecided: &[u64], rng: &mut Rng) -> Self {
        match rng.u8(0..10) {
            0 => Self::Lost,
            1 => Self::Kept,
            2..4 => Self::Until(rng.choice(undecided).copied().unwrap_or(0)),
            4..6 => Self::PrefixPerDirectory,
            _ => Self::Scattered,
        }
    }

    /// The fate of a write that was completed or called at `stamp`.
    pub(super) fn fate(self, stamp: u64, rng: &mut Rng) -> Survival {
        match self {
            Self::Lost => Survival::Lost,
            Self::Kept => Survival::Whole,
            Self::Until(cut) if stamp < cut => Survival::Whole,
            Self::Until(cut) if stamp == cut => Survival::torn(rng),
            Self::Until(_) => Survival::Lost,
            Self::PrefixPerDirectory | Self::Scattered => Survival::any(rng),
        }
    }

    /// Whether a change of names survives; `within_prefix` says whether it is before the cut in its directory.
    pub(super) fn change_survives(self, stamp: u64, within_prefix: bool, rng: &mut Rng) -> bool {
        match self {
            Self::Lost => false,
            Self::Kept => true,
            Self::Until(cut) => stamp < cut || (stamp == cut && rng.bool()),
            Self::PrefixPerDirectory => within_prefix,
            Self::Scattered => rng.bool(),
        }
    }
}

impl SimDisk {
    /// Cuts the power when `calls` more calls have begun: the next one begins, may reach the disk, and never returns,
    /// nor does any other from then on. 0 hits the next call.
    pub fn crash_after(&self, calls: u64) {
        let mut state = self.state.borrow_mut();
        state.ledger.crash_at = Some(state.ledger.calls + calls + 1);
    }

    /// Cuts the power now: no future of this disk returns any more.
    pub fn crash(&self) {
        self.state.borrow_mut().ledger.crashed = true;
    }

    /// Whether the power is gone.
    pub fn crashed(&self) -> bool {
        self.state.borrow().ledger.crashed
    }

    /// The disk that the next boot finds if the power went now: all that was synced, and of the rest what the seed
    /// decides. This disk stays as it is, so any number of outcomes can be drawn from one moment. The new disk has
    /// counted no calls, has no faults, no limit of space, and a clock of its own that goes on from this one.
    pub fn after_crash(&self, seed: u64) -> Self {
        let old = self.state.borrow();
        let mut rng = Rng::with_seed(seed);
        let mut undecided: Vec<u64> = old.files.values().flat_map(|f| f.undecided()).collect();
        undecided.extend(old.names.undecided());
        undecided.sort_unstable();
        let name_mood = Mood::any(&undecided, &mut rng);
        // Mostly one disk with one mood; sometimes the journal of names fared differently from the data.
        let data_mood = if rng.bool() { name_mood } else { Mood::any(&undecided, &mut rng) };
        let names = old.names.after_crash(&name_mood, &mut rng);
        let mut files = BTreeMap::new();
        for id in names.live().values() {
            let file = old.files.get(id).expect("a name leads to a file");
            files.insert(*id, file.after_crash(data_mood, &mut rng));
        }
        let state = State {
            files,
            names,
            next_file: old.next_file,
            clock: old.clock.fork(),
            ..State::new(rng.u64(..))
        };
        Self { state: Rc::new(state.into()) }
    }
}
