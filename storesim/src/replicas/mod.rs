//! Simulation of two stores of one log, each over its own simulated disk: one leads, the other follows.
//!
//! [`run`] plays one seed. Batches and acknowledgements go between the stores late, twice or never; both lose power, are
//! killed and rot; the follower is elected while its old leader still believes it leads; whoever comes back is cut to where
//! the histories part. A byte is committed when both have it durable. At the end, and whenever both have caught up, logs,
//! queues, offsets and lineages are equal, what was committed is there, and nothing else was ever shown. What a broker
//! would do (who leads, who may be elected) is done here; there is no network. `tests/replicas.rs` runs a few hundred
//! seeds, the binary `replicasim` as many as one likes.

mod compare;
mod history;
mod node;
mod transit;
mod work;

use crate::{crashsim::caught, mutations::mutations, seeds::Played};

/// What a seed did, as far as it held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Hash of everything that happened.
    pub trace: u64,
    /// Stores opened.
    pub boots: u64,
    /// Openings that a power cut ended.
    pub boots_failed: u64,
    /// Lives that a power cut ended.
    pub power_cuts: u64,
    /// Lives that the end of the process ended.
    pub kills: u64,
    /// Epochs begun.
    pub epochs: u64,
    /// Stores elected while the old leader was still up.
    pub deposed: u64,
    /// Logs cut to where histories part.
    pub cuts: u64,
    /// Entries appended.
    pub entries: u64,
    /// Of those, committed: acknowledged by both.
    pub committed: u64,
    /// Pieces of the log accepted.
    pub accepted: u64,
    /// Of those, read from the disk.
    pub cold: u64,
    /// Old pieces offered again and refused.
    pub refused: u64,
    /// Bits flipped.
    pub rotten: u64,
    /// Times that both were compared.
    pub compared: u64,
}

impl Played for Summary {
    type Mutation = Mutation;

    fn play(seed: u64, mutation: Option<Mutation>, verbose: bool) -> Result<Summary, String> {
        caught(|| history::History::new(seed, mutation, verbose).play())
    }

    fn add(&mut self, other: &Summary) {
        self.trace ^= other.trace;
        self.boots += other.boots;
        self.boots_failed += other.boots_failed;
        self.power_cuts += other.power_cuts;
        self.kills += other.kills;
        self.epochs += other.epochs;
        self.deposed += other.deposed;
        self.cuts += other.cuts;
        self.entries += other.entries;
        self.committed += other.committed;
        self.accepted += other.accepted;
        self.cold += other.cold;
        self.refused += other.refused;
        self.rotten += other.rotten;
        self.compared += other.compared;
    }
}

mutations! {
    /// A follower acknowledges what it has accepted, durable or not.
    AckBeforeSync = "ack-before-sync",
    /// Nothing that a cut writes is synced.
    CutNotSynced = "cut-not-synced",
    /// What a batch says of its writer's disk counts on every disk.
    WitnessOfOthers = "witness-of-others",
    /// A follower takes batches of an older epoch.
    OldEpochAccepted = "old-epoch-accepted",
    /// Histories are compared by their lengths alone.
    LineageIgnored = "lineage-ignored",
    /// The batch with which an epoch begins does not say so.
    StartWithoutEpoch = "start-without-epoch",
    /// A leader sends what is not durable on its own disk yet.
    ReadBeyondFlushed = "read-beyond-flushed",
    /// A follower writes what it accepts and does not look into it.
    AcceptWithoutReplay = "accept-without-replay",
}

/// Plays one seed, see [`Played::play`].
pub fn run(seed: u64, mutation: Option<Mutation>) -> Result<Summary, String> {
    Summary::play(seed, mutation, false)
}
