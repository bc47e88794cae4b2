//! How full the disk of the logs is, for those who show it.

use std::path::Path;

/// What a file system says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskUse {
    /// All of it.
    pub total_bytes: u64,
    /// What this user may still take.
    pub free_bytes: u64,
    /// How much of it is used, 0 to 1. Room that logs have taken and not filled does not count as used.
    pub used_ratio: f64,
}

impl DiskUse {
    /// Asks the file system of a directory: one statvfs of a mounted local disk.
    pub fn of(dir: &Path, room_bytes: u64) -> DiskUse {
        let Ok(stat) = rustix::fs::statvfs(dir) else { return DiskUse::default() };
        let total_bytes = stat.f_blocks * stat.f_frsize;
        let free_bytes = stat.f_bavail * stat.f_frsize;
        let taken = total_bytes.saturating_sub(stat.f_bfree * stat.f_frsize);
        let usable = taken + free_bytes;
        let used = taken.saturating_sub(room_bytes);
        DiskUse { total_bytes, free_bytes, used_ratio: used as f64 / usable.max(1) as f64 }
    }
}
