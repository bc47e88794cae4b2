//! The promises of the simulated disk, one test each: what must survive, what may be lost, and that both really happen.

mod calls;
mod faults;
mod names;
mod power_cut;

use std::path::{Path, PathBuf};

use super::*;
use crate::{BLOCK_BYTES, Disk, DiskFile, Open};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Crashes drawn per promise: each fate of a write turns up many times.
const SEEDS: u64 = 400;

/// Runs a future on a disk that has power.
fn now<T>(future: impl Future<Output = T>) -> T {
    block_on(future).expect("the disk has power")
}

fn path(text: &str) -> PathBuf {
    PathBuf::from(text)
}

/// A buffer of `count` blocks full of `byte`.
fn filled(disk: &SimDisk, byte: u8, count: usize) -> SimBuf {
    let mut buf = disk.alloc(count * BLOCK_BYTES);
    buf.as_mut().fill(byte);
    buf
}

/// A disk with the directory `/d` and in it `log`, `blocks` long and durable.
fn disk_with_log(seed: u64, blocks: u64) -> (SimDisk, SimFile) {
    let disk = SimDisk::new(seed);
    let file = now(async {
        disk.create_dir_all(Path::new("/d")).await?;
        let file = disk.open(Path::new("/d/log"), Open::Create { bytes: blocks * BLOCK }).await?;
        file.sync().await?;
        disk.sync_dir(Path::new("/d")).await?;
        std::io::Result::Ok(file)
    });
    (disk, file.expect("an empty disk takes a file"))
}

/// The log's content after a crash decided by `seed`.
fn log_after_crash(disk: &SimDisk, seed: u64) -> Vec<u8> {
    disk.after_crash(seed).live_bytes(Path::new("/d/log")).expect("a durable name")
}
