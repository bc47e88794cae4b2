//! What the kernel sets to a process: limits, raised as far as it may, and the kind of file system that it writes to.
//!
//! The soft limit of open files is 1,024 nearly everywhere, for programs that use select(2); the hard one is what was meant.

use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files at once; `None` is unlimited.
pub fn open_files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Bytes of memory that may be locked; `None` is unlimited.
pub(crate) fn memlock_bytes() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// Raises the soft limits of open files and of locked memory to the hard ones. What cannot be raised stays: whoever
/// needs more says so.
pub fn raise() {
    for resource in [Resource::Nofile, Resource::Memlock] {
        let now = getrlimit(resource);
        if now.current != now.maximum {
            let _ = setrlimit(resource, Rlimit { current: now.maximum, maximum: now.maximum });
        }
    }
}

/// Name of the file system of `dir` when a sync there may mean less than it says: those in memory, in layers of
/// containers, and over a network take direct I/O on newer kernels, so that a try does not tell.
pub fn file_system_that_forgets(dir: &Path) -> Option<&'static str> {
    let stat = rustix::fs::statfs(dir).ok()?;
    // Numbers of statfs(2).
    match stat.f_type as u64 {
        0x0102_1994 => Some("tmpfs"),
        0x8584_58f6 => Some("ramfs"),
        0x794c_7630 => Some("overlay"),
        0x6969 => Some("nfs"),
        0x6573_5546 => Some("fuse"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_no_disk() {
        if Path::new("/dev/shm").is_dir() {
            assert_eq!(file_system_that_forgets(Path::new("/dev/shm")), Some("tmpfs"));
        }
        assert_eq!(file_system_that_forgets(Path::new("/no/such/directory")), None);
    }

    #[test]
    fn soft_limits_are_raised_to_the_hard_ones() {
        raise();
        let files = getrlimit(Resource::Nofile);
        assert_eq!(files.current, files.maximum);
        assert_eq!(open_files_max(), files.maximum);
    }
}
