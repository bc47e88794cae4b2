//! The world that the rest of RingMQ runs in, in two versions: the real one on io_uring and a simulated one.
//!
//! This is the only room that names the executor library. See `ARCHITECTURE.md`, "runtime".

pub mod disk;
pub mod sim;

pub use disk::{BLOCK_BYTES, Disk, DiskFile, Entry, Open};
