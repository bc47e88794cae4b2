//! Copying files at a pace that leaves the disk to the broker, with a checksum of what was copied.
//!
//! Zeros are not written: what is left of the last segment stays a hole. What was read and written leaves the page cache again.

use crate::{
    data_dir::{InspectError, io_at},
    progress::Progress,
};
use rustix::fs::{Advice, fadvise};
use std::{
    fs::{self, File},
    io::ErrorKind,
    num::NonZeroU64,
    os::unix::fs::FileExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Read and written at once, bytes.
const PIECE_BYTES: usize = 1024 * 1024;
/// Holes are left in units of this many bytes.
const BLOCK_BYTES: usize = 4096;

/// Copies, and counts what it copied.
pub(crate) struct Copier<'a> {
    progress: &'a Progress,
    /// Bytes a second; `None`: as fast as it goes.
    rate: Option<u64>,
    started: Instant,
    /// Bytes that were read.
    pub(crate) bytes: u64,
    piece: Vec<u8>,
}

/// A part of a file that is to be copied: from `from` to `to`.
pub(crate) struct Part<'a> {
    pub(crate) source: &'a File,
    pub(crate) source_path: &'a Path,
    pub(crate) target: &'a Path,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Length of the target; behind `to` there are zeros.
    pub(crate) bytes: u64,
    /// Checksum of what lies before `from`.
    pub(crate) crc: u32,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(progress: &'a Progress, rate: Option<u64>) -> Copier<'a> {
        let piece = vec![0; PIECE_BYTES];
        Copier { progress, rate, started: Instant::now(), bytes: 0, piece }
    }

    pub(crate) fn expect(&self, bytes: u64) {
        self.progress.expect(bytes);
    }

    /// Copies a part and makes it durable. Returns the checksum of the target up to the part's end.
    pub(crate) fn copy(&mut self, part: &Part<'_>) -> Result<u32, InspectError> {
        if part.from == 0 {
            // It may be linked to a file of another backup.
            remove(part.target)?;
        }
        let mut options = File::options();
        let target = options.write(true).create(true).truncate(false).open(part.target);
        let target = target.map_err(io_at(part.target))?;
        // Behind the part may stand what another attempt left.
        target.set_len(part.from).map_err(io_at(part.target))?;
        target.set_len(part.bytes).map_err(io_at(part.target))?;
        let (mut at, mut crc) = (part.from, part.crc);
        while at < part.to {
            let length = (part.to - at).min(PIECE_BYTES as u64) as usize;
            let piece = &mut self.piece[..length];
            part.source.read_exact_at(piece, at).map_err(io_at(part.source_path))?;
            crc = crc32c::crc32c_append(crc, piece);
            write_but_zeros(&target, piece, at).map_err(io_at(part.target))?;
            forget(part.source, at, length);
            at += length as u64;
            self.bytes += length as u64;
            self.progress.add(length as u64);
            self.keep_pace();
        }
        target.sync_all().map_err(io_at(part.target))?;
        forget(&target, part.from, (at - part.from) as usize);
        Ok(crc)
    }

    fn keep_pace(&self) {
        let Some(rate) = self.rate else { return };
        let due = Duration::from_secs_f64(self.bytes as f64 / rate.max(1) as f64);
        thread::sleep(due.saturating_sub(self.started.elapsed()));
    }
}

fn remove(path: &Path) -> Result<(), InspectError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_at(path)(error)),
        _ => Ok(()),
    }
}

fn write_but_zeros(target: &File, piece: &[u8], at: u64) -> std::io::Result<()> {
    let is_hole = |block: &[u8]| block.len() == BLOCK_BYTES && block.iter().all(|byte| *byte == 0);
    let mut begin = 0;
    for (number, block) in piece.chunks(BLOCK_BYTES).enumerate() {
        let offset = number * BLOCK_BYTES;
        if is_hole(block) {
            target.write_all_at(&piece[begin..offset], at + begin as u64)?;
            begin = offset + block.len();
        }
    }
    target.write_all_at(&piece[begin..], at + begin as u64)
}

/// Advice only: what cannot be dropped stays.
fn forget(file: &File, at: u64, length: usize) {
    let _ = fadvise(file, at, NonZeroU64::new(length as u64), Advice::DontNeed);
}

/// Writes a small file and makes it durable.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), InspectError> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(io_at(dir))?;
    }
    fs::write(path, bytes).map_err(io_at(path))?;
    File::open(path).and_then(|file| file.sync_all()).map_err(io_at(path))
}

/// Makes the names in a directory durable, and those in the directories below.
pub(crate) fn sync_names(dir: &Path) -> Result<(), InspectError> {
    for entry in fs::read_dir(dir).map_err(io_at(dir))? {
        let path = entry.map_err(io_at(dir))?.path();
        if path.is_dir() {
            sync_names(&path)?;
        }
    }
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_at(dir))
}

/// Refuses a directory that something is in; makes one that is not there.
pub(crate) fn make_empty_dir(dir: &Path) -> Result<(), InspectError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => {
                let what = "is not empty; nothing was written";
                Err(InspectError::NoStore { path: dir.to_owned(), what })
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(dir).map_err(io_at(dir))
        }
        Err(error) => Err(io_at(dir)(error)),
    }
}
