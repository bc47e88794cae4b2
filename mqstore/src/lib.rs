//! Looking at a data directory from outside: what `mqstore` does.
//!
//! [`verify()`] checks every byte that means something, [`dump()`] writes records as JSON lines, [`stat()`] counts, and
//! [`repair()`] makes index files again; [`backup()`] copies a store and [`restore()`] makes one of the copy. All but the repair read the store only, take no lock, and may run beside a broker: what
//! it appends meanwhile is not judged, files that it removes are no damage. They use ordinary files, so they work
//! where io_uring is not allowed.
//!
//! How the end of the log is distinguished from damage is decided by the same code that decides at a start (`log_walk`).

mod backup;
mod compare;
mod compare_rows;
mod config_files;
mod data_dir;
mod dump;
mod file_disk;
mod finding;
mod index_chain;
mod log_walk;
mod lost;
mod progress;
mod repair;
mod shard;
mod stat;
mod verify;

pub use self::{
    backup::{BackedUp, BackupOptions, FileEntry, Manifest, Restored, ShardSpan, backup, restore},
    data_dir::{DataDir, InspectError},
    dump::{Filter, dump},
    file_disk::FileDisk,
    finding::{Finding, Findings, Level},
    progress::Progress,
    repair::{Repaired, repair},
    stat::{GroupStat, ShardStat, Stat, TopicStat, stat},
    verify::{Verified, verify},
};
