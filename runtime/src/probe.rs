//! What this machine allows, found out before anything is promised: io_uring, locked memory, direct I/O, durability.
//!
//! [`probe`] runs once at start, before the executors, on an ordinary thread with ordinary system calls. Every failure is
//! one sentence that names the remedy. It leaves no file behind and takes well under 200 ms on a disk that is alive.

use std::{
    fs::{File, OpenOptions, remove_file},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use rustix::fs::{OFlags, major, minor};

use crate::{
    direct_buf::AlignedBuf,
    direct_disk::DurableWrite,
    disk::{BLOCK_BYTES, is_lack_of_room},
    executor,
    limits::memlock_bytes,
    ring::KernelFeatures,
    settings::{MEMLOCK_BYTES_MIN, Settings},
};

/// Blocks of the file that the probe writes and measures in.
const BLOCKS: usize = 64;

/// Durable writes per way that are timed at most.
const SAMPLES_MAX: usize = 50;

/// Durable writes per way that are timed at least, however slow.
const SAMPLES_MIN: usize = 3;

/// Time for the samples of one way.
const SAMPLING_MAX: Duration = Duration::from_millis(60);

/// What the machine offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// Memory that may be locked, in bytes; `None` is unlimited.
    pub memlock_bytes: Option<u64>,
    /// Median of a direct write of 4 KiB followed by fdatasync, in space that was zeroed before. `None`: the disk is too
    /// full for the probe's file, which is no reason not to serve what it holds.
    pub sync_latency: Option<Duration>,
    /// Median of the same write to a file opened with O_DSYNC.
    pub dsync_latency: Option<Duration>,
    /// The better way for [`crate::DirectFile`] to make data durable here.
    pub durable_write: DurableWrite,
    /// The kernel's newer ways that its io_uring uses.
    pub kernel: KernelFeatures,
}

impl ProbeReport {
    /// How long a durable write of one block takes, in the way that was chosen.
    pub fn durable_latency(&self) -> Option<Duration> {
        match self.durable_write {
            DurableWrite::ThenSync => self.sync_latency,
            DurableWrite::Through => self.dsync_latency,
        }
    }
}

/// What is missing, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Too little lockable memory.
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
    /// No io_uring.
    #[error(
        "io_uring is not available ({reason}): it needs Linux 5.8 or newer, sysctl kernel.io_uring_disabled=0 (here: \
         {sysctl}) and a container whose seccomp profile allows it (--security-opt seccomp=unconfined)"
    )]
    Uring {
        /// What the kernel or the library said.
        reason: String,
        /// Value of the sysctl, or why it is not known.
        sysctl: String,
    },
    /// The directory cannot be written at all.
    #[error("cannot write in {}: {source}; create it and give it to the user of this process", dir.display())]
    Write {
        /// The data directory.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// No direct I/O.
    #[error(
        "the file system of {} does not take direct I/O ({source}): put the data on ext4 or xfs, not on a network or \
         overlay file system",
        dir.display()
    )]
    DirectIo {
        /// The data directory.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Bytes came back changed.
    #[error(
        "block {block} written to {} came back changed: do not use this disk or file system for data",
        dir.display()
    )]
    Changed {
        /// The data directory.
        dir: PathBuf,
        /// Which block of the test file.
        block: usize,
    },
}

/// Looks whether a broker can run here with its data in `dir`, and how long durability takes. Blocks; not for executors.
pub fn probe(dir: &Path) -> Result<ProbeReport, ProbeError> {
    let memlock_bytes = enough_memlock()?;
    let kernel = probe_uring()?;
    let scratch = match Scratch::create(dir) {
        Err(ProbeError::Write { source, .. }) if is_lack_of_room(&source) => {
            return Ok(ProbeReport {
                memlock_bytes,
                sync_latency: None,
                dsync_latency: None,
                durable_write: DurableWrite::default(),
                kernel,
            });
        }
        created => created?,
    };
    scratch.check_blocks()?;
    let (sync, dsync) = (scratch.latency(OFlags::empty())?, scratch.latency(OFlags::DSYNC)?);
    let durable_write = if needs_no_flush(&scratch.path) && dsync <= sync {
        DurableWrite::Through
    } else {
        DurableWrite::ThenSync
    };
    Ok(ProbeReport {
        memlock_bytes,
        sync_latency: Some(sync),
        dsync_latency: Some(dsync),
        durable_write,
        kernel,
    })
}

/// Whether a durable write to the device of a file ends with the write: it has no cache that forgets, or takes a write
/// past it (FUA). Elsewhere the kernel flushes the cache afterwards, in a thread on the core that the interrupt came to.
/// Behind a busy executor that thread waits for the executor's share to end: a lone durable write through io_uring took
/// 4 ms instead of 0.3, which the probe's plain system calls do not show.
fn needs_no_flush(path: &Path) -> bool {
    let Ok(found) = path.metadata() else { return false };
    let device = format!("/sys/dev/block/{}:{}", major(found.dev()), minor(found.dev()));
    // A partition has the queue of its disk.
    let queues = [format!("{device}/queue"), format!("{device}/../queue")];
    queues.iter().any(|queue| is_durable_at_once(Path::new(queue)))
}

/// What the directory of a device's queue says.
fn is_durable_at_once(queue: &Path) -> bool {
    let says = |name: &str, value: &str| {
        std::fs::read_to_string(queue.join(name)).is_ok_and(|text| text.trim() == value)
    };
    says("write_cache", "write through") || says("fua", "1")
}

/// What [`probe`] would refuse, as far as it shows without a file: nothing is written, and how long durability takes stays
/// unknown. `dir` must exist. Blocks.
pub fn probe_unwritten(dir: &Path) -> Vec<ProbeError> {
    // Without lockable memory there is no io_uring either, and that would be a second sentence about one thing.
    let kernel = enough_memlock().and_then(|_| probe_uring());
    kernel.err().into_iter().chain(takes_direct_io(dir).err()).collect()
}

fn enough_memlock() -> Result<Option<u64>, ProbeError> {
    let limit = memlock_bytes();
    match limit.filter(|limit| *limit < MEMLOCK_BYTES_MIN) {
        Some(limit_bytes) => {
            Err(ProbeError::Memlock { limit_bytes, needed_bytes: MEMLOCK_BYTES_MIN })
        }
        None => Ok(limit),
    }
}

/// Opens a file without a name (O_TMPFILE), which is gone when it is closed. Where there is none of that kind, nothing is
/// known, and the start will find out.
fn takes_direct_io(dir: &Path) -> Result<(), ProbeError> {
    let open = |more: OFlags| {
        let flags = (OFlags::TMPFILE | more).bits().cast_signed();
        OpenOptions::new().read(true).write(true).custom_flags(flags).open(dir)
    };
    if open(OFlags::empty()).is_err() {
        return Ok(());
    }
    let refused = open(OFlags::DIRECT).err();
    refused.map_or(Ok(()), |source| Err(ProbeError::DirectIo { dir: dir.to_owned(), source }))
}

/// Whether an io_uring can be had: builds an executor, without running it. Blocks; not for executors.
pub fn probe_uring() -> Result<KernelFeatures, ProbeError> {
    // On a thread of its own: the caller's may belong to an executor one day.
    let build =
        || executor::make(&Settings::default(), 0).map(|(_, reactor)| reactor.ring.features());
    let outcome = thread::scope(|scope| scope.spawn(build).join());
    let reason = match outcome {
        Ok(Ok(features)) => return Ok(features),
        Ok(Err(reason)) => reason,
        Err(_) => "the probing thread failed".to_owned(),
    };
    let sysctl = match std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled") {
        Ok(value) => value.trim().to_owned(),
        Err(_) => "not known".to_owned(),
    };
    Err(ProbeError::Uring { reason, sysctl })
}

/// A file of zeros in the data directory, gone when dropped.
struct Scratch<'a> {
    dir: &'a Path,
    path: PathBuf,
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        let _ = remove_file(&self.path);
    }
}

impl<'a> Scratch<'a> {
    fn create(dir: &'a Path) -> Result<Scratch<'a>, ProbeError> {
        let path = dir.join(format!(".probe-{}", process::id()));
        let written = (|| {
            let mut file = File::create(&path)?;
            file.write_all(&[0; BLOCKS * BLOCK_BYTES])?;
            file.sync_all()
        })();
        // Made first, so that a half-written file is removed, too.
        let scratch = Scratch { dir, path };
        written.map_err(|source| ProbeError::Write { dir: dir.to_owned(), source })?;
        Ok(scratch)
    }

    fn open(&self, more: OFlags) -> Result<File, ProbeError> {
        let flags = (OFlags::DIRECT | more).bits().cast_signed();
        let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&self.path);
        opened.map_err(|source| self.direct_io(source))
    }

    fn direct_io(&self, source: io::Error) -> ProbeError {
        ProbeError::DirectIo { dir: self.dir.to_owned(), source }
    }

    /// Writes every block with its own pattern, reads it back and compares.
    fn check_blocks(&self) -> Result<(), ProbeError> {
        let file = self.open(OFlags::empty())?;
        let mut block = AlignedBuf::new(BLOCK_BYTES);
        for index in 0..BLOCKS {
            fill(block.as_mut(), index);
            let position = (index * BLOCK_BYTES) as u64;
            file.write_all_at(block.as_ref(), position).map_err(|e| self.direct_io(e))?;
        }
        file.sync_data().map_err(|source| self.direct_io(source))?;
        let mut expected = AlignedBuf::new(BLOCK_BYTES);
        for index in 0..BLOCKS {
            fill(expected.as_mut(), index);
            let position = (index * BLOCK_BYTES) as u64;
            file.read_exact_at(block.as_mut(), position).map_err(|e| self.direct_io(e))?;
            if block.as_ref() != expected.as_ref() {
                return Err(ProbeError::Changed { dir: self.dir.to_owned(), block: index });
            }
        }
        Ok(())
    }

    /// Median time until one block is durable, by O_DSYNC or by fdatasync.
    fn latency(&self, way: OFlags) -> Result<Duration, ProbeError> {
        let file = self.open(way)?;
        let mut block = AlignedBuf::new(BLOCK_BYTES);
        let mut samples = Vec::with_capacity(SAMPLES_MAX);
        let began = Instant::now();
        while samples.len() < SAMPLES_MAX
            && (samples.len() < SAMPLES_MIN || began.elapsed() < SAMPLING_MAX)
        {
            let index = samples.len() % BLOCKS;
            fill(block.as_mut(), index + 1);
            let writing = Instant::now();
            let written = file.write_all_at(block.as_ref(), (index * BLOCK_BYTES) as u64);
            written.map_err(|source| self.direct_io(source))?;
            if !way.contains(OFlags::DSYNC) {
                file.sync_data().map_err(|source| self.direct_io(source))?;
            }
            samples.push(writing.elapsed());
        }
        samples.sort();
        Ok(samples.get(samples.len() / 2).copied().unwrap_or_default())
    }
}

/// A pattern that differs from block to block and from word to word.
fn fill(block: &mut [u8], index: usize) {
    for (word, bytes) in block.chunks_exact_mut(8).enumerate() {
        let value = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ word as u64;
        bytes.copy_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_without_a_file_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        takes_direct_io(dir.path()).unwrap();
        takes_direct_io(&dir.path().join("missing")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_device_without_a_cache_that_forgets_needs_no_flush() {
        let dir = tempfile::tempdir().unwrap();
        let queue = |write_cache: &str, fua: &str| {
            std::fs::write(dir.path().join("write_cache"), write_cache).unwrap();
            std::fs::write(dir.path().join("fua"), fua).unwrap();
            is_durable_at_once(dir.path())
        };
        assert!(queue("write through\n", "0\n"));
        assert!(queue("write back\n", "1\n"));
        assert!(!queue("write back\n", "0\n"));
        assert!(!is_durable_at_once(&dir.path().join("missing")));
    }
}
