//! Simulation of the real store over a simulated disk: lives of random work that end in power cuts, kills and faults.
//!
//! [`run`] plays one seed: boot, compare everything readable with the book of what was done, work until the
//! life ends, boot again. One seed is one history; its [`Summary::trace`] is the same each time. `tests/crash.rs` runs
//! a few hundred seeds, the binary `crashsim` as many as one likes. Not used by the broker.

pub(crate) mod book;
mod carries;
mod compare;
mod halves;
mod hasty;
mod lives;
mod mutant;
mod pops;
mod reads;
mod resets;
mod rot;
mod space;
mod timers;
mod waiting;
pub(crate) mod work;

pub use mutant::Mutation;

use crate::seeds::Played;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a seed did, as far as it held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Hash of everything that happened.
    pub trace: u64,
    /// Stores opened.
    pub boots: u64,
    /// Openings that a power cut or an injected fault ended.
    pub boots_failed: u64,
    /// Messages appended.
    pub messages: u64,
    /// Messages compared after a boot.
    pub messages_compared: u64,
    /// Lives that a power cut ended.
    pub power_cuts: u64,
    /// Lives that the end of the process ended.
    pub kills: u64,
    /// Lives in which a failed call poisoned the log.
    pub poisoned: u64,
    /// Batches that rotted.
    pub rotten: u64,
    /// Of those, because a block could not be read any more.
    pub unreadable: u64,
    /// Segments in use at the end.
    pub segments: u64,
    /// Writes of zeros ahead of the log.
    pub zeroings: u64,
    /// Reads compared that wait for the disk.
    pub cold_reads: u64,
    /// Index files that rotted or went, with a store at rest or at work.
    pub rotten_indexes: u64,
    /// Topics of which damage left more than one right state, counted at each boot.
    pub murky: u64,
    /// Messages found by key after a boot.
    pub keys_found: u64,
    /// Segments retired.
    pub retired: u64,
    /// Messages refused for lack of room.
    pub refused: u64,
    /// Group offsets taken into the log while messages were refused for lack of room.
    pub offsets_while_full: u64,
    /// Messages refused because index files lagged behind.
    pub refused_unindexed: u64,
    /// Offsets of groups for which there was no room.
    pub refused_offsets: u64,
    /// Index files made again beside a store at work.
    pub rebuilt: u64,
    /// Groups appended.
    pub groups: u64,
    /// Records that were handed out to be delivered.
    pub delivered: u64,
    /// Records that waited after a boot.
    pub waiting_compared: u64,
    /// Of those, the ones that were not in memory.
    pub far_compared: u64,
    /// Records that were carried on.
    pub carried: u64,
    /// Half messages that were looked at.
    pub halves_checked: u64,
    /// Half messages that were to end.
    pub halves_ended: u64,
    /// Half messages that were open after a boot.
    pub halves_compared: u64,
    /// Records that were to be recalled.
    pub recalled: u64,
    /// Queues on which groups were told to go on elsewhere.
    pub resets: u64,
    /// Of those, the ones that a boot found.
    pub resets_compared: u64,
    /// Messages popped.
    pub popped: u64,
    /// Of those, acknowledged.
    pub acked: u64,
    /// Queues with pops that a boot found.
    pub pops_compared: u64,
}

impl Played for Summary {
    type Mutation = Mutation;

    fn play(seed: u64, mutation: Option<Mutation>, verbose: bool) -> Result<Summary, String> {
        caught(|| lives::History::new(seed, mutation, verbose).play())
    }

    fn add(&mut self, other: &Summary) {
        self.trace ^= other.trace;
        self.boots += other.boots;
        self.boots_failed += other.boots_failed;
        self.messages += other.messages;
        self.messages_compared += other.messages_compared;
        self.power_cuts += other.power_cuts;
        self.kills += other.kills;
        self.poisoned += other.poisoned;
        self.rotten += other.rotten;
        self.unreadable += other.unreadable;
        self.segments += other.segments;
        self.zeroings += other.zeroings;
        self.cold_reads += other.cold_reads;
        self.rotten_indexes += other.rotten_indexes;
        self.murky += other.murky;
        self.keys_found += other.keys_found;
        self.retired += other.retired;
        self.refused += other.refused;
        self.offsets_while_full += other.offsets_while_full;
        self.refused_unindexed += other.refused_unindexed;
        self.refused_offsets += other.refused_offsets;
        self.rebuilt += other.rebuilt;
        self.groups += other.groups;
        self.delivered += other.delivered;
        self.waiting_compared += other.waiting_compared;
        self.far_compared += other.far_compared;
        self.carried += other.carried;
        self.halves_checked += other.halves_checked;
        self.halves_ended += other.halves_ended;
        self.halves_compared += other.halves_compared;
        self.recalled += other.recalled;
        self.resets += other.resets;
        self.resets_compared += other.resets_compared;
        self.popped += other.popped;
        self.acked += other.acked;
        self.pops_compared += other.pops_compared;
    }
}

/// Plays one seed, see [`Played::play`].
pub fn run(seed: u64, mutation: Option<Mutation>) -> Result<Summary, String> {
    Summary::play(seed, mutation, false)
}

/// What a history returns; a panic is what did not hold.
pub(crate) fn caught<T>(play: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(play)) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
            Err(format!("panic: {}", text.unwrap_or_default()))
        }
    }
}
