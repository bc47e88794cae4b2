//! Plays seeds of the simulation of a leader and its follower on all cores and names those that failed.
//!
//! `replicasim --seeds 10000 [--from N] [--mutation NAME]`. With a mutation it looks for a seed that notices it; a single
//! seed (`--seeds 1`) is printed as a story on standard error.
//! Exit code: 0 when all seeds held (or the mutation was noticed), 1 otherwise, 2 for a wrong command line.

use std::process::ExitCode;
use storesim::{replicas::Summary, seeds};

fn main() -> ExitCode {
    seeds::main::<Summary>()
}
