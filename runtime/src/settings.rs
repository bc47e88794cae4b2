//! How the executors of a process are started: cores, lanes, rings.
//!
//! One struct with defaults that were measured; `check` names every problem that would otherwise surface as a panic of
//! the executor library. What stays fixed (sizes of the io_uring, threads for what blocks) is not a setting.

use crate::{direct_disk::DurableWrite, limits::memlock_bytes, ring::KernelFeatures};
use std::time::Duration;

/// Messages that one lane between two executors holds unless set otherwise: those of its ring, and those that wait at
/// their sender.
pub const LANE_MESSAGES_DEFAULT: usize = 16_384;

/// Locked memory that an executor cannot start without, in bytes.
pub const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

/// Locked memory of the rings of one executor, in bytes, where the kernel counts it: two start with 640 KiB, not with 512
/// (Linux 6.18).
pub(crate) const MEMLOCK_BYTES_PER_EXECUTOR: u64 = 320 * 1024;

/// "Never" for a timer: a year. `Duration::MAX` overflows the kernel's clock.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Why the settings cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// They contradict themselves.
    #[error("executor settings: {0}")]
    Contradiction(&'static str),
    /// The limit of locked memory is below what an io_uring needs.
    #[error(
        "only {limit_bytes} bytes of memory may be locked, an io_uring needs {needed_bytes}: raise it with \
         `ulimit -l`, LimitMEMLOCK= of systemd or --ulimit memlock= of the container"
    )]
    Memlock {
        /// Soft limit found.
        limit_bytes: u64,
        /// Least that works.
        needed_bytes: u64,
    },
}

/// Everything that [`crate::run`] wants to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the threads; the executor's index is appended.
    pub name: String,
    /// One executor per element; `Some(cpu)` pins it to that logical CPU.
    pub cores: Vec<Option<usize>>,
    /// Messages that one lane between two executors holds, its ring and those that wait at their sender; at least 1.
    pub lane_messages: usize,
    /// How long an idle executor spins before it sleeps. Zero by default; 50 us halve the round trip between two
    /// executors and burn the core. Only pinned executors spin.
    pub spin_before_park: Duration,
    /// Disk buffers that each executor keeps for reuse, in bytes. Beyond it they come from the allocator.
    pub io_memory_bytes: usize,
    /// How writes of disks are made durable; [`crate::probe`] finds the faster way.
    pub durable_write: DurableWrite,
    /// The kernel's newer ways that may be used. Less than all only to show what happens without.
    pub kernel: KernelFeatures,
    /// How long executors may take to end once a stop was requested.
    pub stop_within: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            name: "executor".to_owned(),
            cores: vec![None],
            lane_messages: LANE_MESSAGES_DEFAULT,
            spin_before_park: Duration::ZERO,
            io_memory_bytes: 2 * 1024 * 1024,
            durable_write: DurableWrite::default(),
            kernel: KernelFeatures::ALL,
            stop_within: NEVER,
        }
    }
}

impl Settings {
    /// Defaults, with one executor per element of `cores` (CPU numbers, or `None` for an executor that is not pinned).
    pub fn on_cores<C: Into<Option<usize>> + Copy>(name: &str, cores: &[C]) -> Settings {
        let cores = cores.iter().map(|core| (*core).into()).collect();
        Settings { name: name.to_owned(), cores, ..Settings::default() }
    }

    /// Defaults, with `count` executors that the kernel places.
    pub fn unpinned(name: &str, count: usize) -> Settings {
        Settings { name: name.to_owned(), cores: vec![None; count], ..Settings::default() }
    }

    /// Refuses what could not run.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if self.cores.is_empty() {
            return Err(SettingsError::Contradiction("at least one executor is needed"));
        }
        if self.lane_messages == 0 {
            return Err(SettingsError::Contradiction("a lane needs room for at least one message"));
        }
        if let Some(limit_bytes) = memlock_bytes()
            && limit_bytes < MEMLOCK_BYTES_MIN
        {
            return Err(SettingsError::Memlock { limit_bytes, needed_bytes: MEMLOCK_BYTES_MIN });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_numbers_or_options() {
        assert_eq!(Settings::on_cores("a", &[0, 1]).cores, [Some(0), Some(1)]);
        assert_eq!(Settings::on_cores("a", &[None, Some(3)]).cores, [None, Some(3)]);
        assert_eq!(Settings::unpinned("a", 2).cores, [None, None]);
    }

    #[test]
    fn impossible_settings_are_refused() {
        assert!(Settings::default().check().is_ok());
        assert!(Settings { cores: vec![], ..Settings::default() }.check().is_err());
        assert!(Settings { lane_messages: 0, ..Settings::default() }.check().is_err());
    }
}
