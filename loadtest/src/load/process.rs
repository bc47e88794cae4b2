//! What a process has cost so far, from `/proc`: CPU time and resident memory of the broker beside us, and of ourselves.

use std::fs;

use super::LoadError;

/// Memory of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident bytes, mapped files included (a Java broker's store is mapped).
    pub resident_bytes: u64,
    /// Resident bytes that belong to no file: heap, stacks, buffers.
    pub anonymous_bytes: u64,
}

/// CPU seconds (user and system, all threads) that the process has used. Resolution: one clock tick, 10 ms.
pub fn cpu_seconds(pid: u32) -> Result<f64, LoadError> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_err(LoadError::io("reading /proc/PID/stat"))?;
    let ticks = cpu_ticks(&stat).ok_or_else(|| garbled("reading /proc/PID/stat"))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Memory of the process now.
pub fn memory(pid: u32) -> Result<Memory, LoadError> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .map_err(LoadError::io("reading /proc/PID/status"))?;
    let field = |name| kib_field(&status, name).ok_or_else(|| garbled("reading /proc/PID/status"));
    Ok(Memory {
        resident_bytes: field("VmRSS:")? * 1024,
        anonymous_bytes: field("RssAnon:")? * 1024,
    })
}

/// The most resident bytes that the process has had.
pub fn peak_resident_bytes(pid: u32) -> Result<u64, LoadError> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .map_err(LoadError::io("reading /proc/PID/status"))?;
    let kib = kib_field(&status, "VmHWM:").ok_or_else(|| garbled("reading /proc/PID/status"))?;
    Ok(kib * 1024)
}

/// Bytes that the process has had written to block devices. None when the kernel does not count or tell them.
pub fn written_bytes(pid: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?;
    line.trim().parse().ok()
}

/// Raises the limit of open files to what the system allows; returns the limit in force.
pub fn raise_open_files() -> Result<u64, LoadError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    setrlimit(Resource::Nofile, wanted)
        .map_err(|e| LoadError::io("raising RLIMIT_NOFILE")(e.into()))?;
    Ok(now.maximum.unwrap_or(u64::MAX))
}

/// Pins this thread to one core.
pub fn pin_to(core: usize) -> Result<(), LoadError> {
    let mut set = rustix::thread::CpuSet::new();
    if core >= rustix::thread::CpuSet::MAX_CPU {
        return Err(LoadError::Range {
            what: "core",
            range: "a core of this machine",
            value: core as u64,
        });
    }
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set)
        .map_err(|e| LoadError::io("pinning to a core")(e.into()))
}

/// Fields 14 and 15 (user and system time), counted behind the command name, which may hold blanks and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let behind_name = stat.rsplit_once(')')?.1;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kib_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn garbled(doing: &'static str) -> LoadError {
    LoadError::io(doing)(std::io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 100 0 0";
        assert_eq!(cpu_ticks(stat), Some(300));
    }

    #[test]
    fn our_own_figures_are_there() {
        let me = std::process::id();
        assert!(cpu_seconds(me).unwrap() >= 0.0);
        let memory = memory(me).unwrap();
        assert!(memory.resident_bytes >= memory.anonymous_bytes);
        assert!(memory.anonymous_bytes > 0);
    }
}
