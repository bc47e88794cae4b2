//! A control group with a limit of memory, for a broker to run in. Version 2 where the memory controller is there, else
//! version 1. Needs the right to make groups, which root has.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

const V2: &str = "/sys/fs/cgroup";
const V1: &str = "/sys/fs/cgroup/memory";

/// The group; it goes with this, once its processes have ended.
pub struct ControlGroup {
    dir: PathBuf,
    is_v2: bool,
}

impl ControlGroup {
    /// Makes a group with this limit and no swap. The error says why there can be none.
    pub fn new(limit_bytes: u64) -> Result<ControlGroup, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let controllers = fs::read_to_string(Path::new(V2).join("cgroup.controllers"));
        let is_v2 = controllers.is_ok_and(|names| names.split_whitespace().any(|n| n == "memory"));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringmq-test-{}-{number}", std::process::id());
        let dir = Path::new(if is_v2 { V2 } else { V1 }).join(name);
        if is_v2 {
            // Mostly so already, and then it may be that it cannot be written.
            let _ = fs::write(Path::new(V2).join("cgroup.subtree_control"), "+memory");
        }
        fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let group = ControlGroup { dir, is_v2 };
        group.set(if is_v2 { "memory.max" } else { "memory.limit_in_bytes" }, limit_bytes)?;
        if is_v2 {
            // Absent on a kernel without swap.
            let _ = group.set("memory.swap.max", 0);
        }
        Ok(group)
    }

    /// The file that takes process numbers.
    pub fn procs(&self) -> PathBuf {
        self.dir.join("cgroup.procs")
    }

    /// The most bytes that were charged to the group.
    pub fn peak_bytes(&self) -> Option<u64> {
        self.get(if self.is_v2 { "memory.peak" } else { "memory.max_usage_in_bytes" })
    }

    /// Bytes that are charged to the group now.
    pub fn bytes(&self) -> Option<u64> {
        self.get(if self.is_v2 { "memory.current" } else { "memory.usage_in_bytes" })
    }

    fn set(&self, file: &str, value: u64) -> Result<(), String> {
        let path = self.dir.join(file);
        fs::write(&path, value.to_string()).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn get(&self, file: &str) -> Option<u64> {
        fs::read_to_string(self.dir.join(file)).ok()?.trim().parse().ok()
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // Only a directory without processes goes; what stays otherwise is empty of memory.
        let _ = fs::remove_dir(&self.dir);
    }
}
