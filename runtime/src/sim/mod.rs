//! A disk made of memory that behaves as badly as a real one may, and a way to run futures over it step by step.
//!
//! The store's crash simulation calls this. Everything is decided by seeds: the same seed and the same calls give the
//! same [`SimDisk::trace_hash`]. What was synced survives [`SimDisk::after_crash`]; what was not may be lost, whole,
//! torn at sectors or blocks, and reordered. Names and content are durable separately, as POSIX has it.
//!
//! Absent on purpose: a page cache, links, permissions, sparse files, and directories that are not durable.

mod calls;
mod clock;
mod content;
mod crash;
mod directory;
mod disk;
mod faults;
mod file;
mod state;
mod stepper;
#[cfg(test)]
mod tests;

pub use calls::{Call, CallKind};
pub use clock::SimClock;
pub use disk::{SimBuf, SimDisk, Snapshot};
pub use faults::{FaultClass, Lies};
pub use file::SimFile;
pub use stepper::{Outcome, Stepper, block_on};
