//! Reading around places that the device cannot read any more: the usual form of rot. Called by everything that reads
//! the log or its index files.
//!
//! A read that fails so is taken again block by block. What cannot be read then is damage like bytes that are not what
//! was written: it reads as zeros, and the checksums that everything here has say what that costs. But where nothing of
//! a file answers, it is not the medium that forgets a place: the device is gone, its error is passed on, and nobody
//! concludes anything about the bytes.

use runtime::{BLOCK_BYTES, DiskFile, is_unreadable};
use std::io;

/// Places of a file that are asked before its device is given up.
const PLACES_ASKED: u64 = 16;

/// Whole blocks, as far as they could be read.
pub(crate) enum Blocks<B> {
    /// All of them.
    Whole(B),
    /// Zeros stand for what could not be read.
    Holed {
        /// All blocks.
        bytes: Vec<u8>,
        /// Bytes that could not be read.
        unreadable: u64,
    },
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Blocks<B> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Blocks::Whole(bytes) => bytes.as_ref(),
            Blocks::Holed { bytes, .. } => bytes,
        }
    }
}

impl<B> Blocks<B> {
    /// Bytes that could not be read.
    pub(crate) fn unreadable(&self) -> u64 {
        match self {
            Blocks::Whole(_) => 0,
            Blocks::Holed { unreadable, .. } => *unreadable,
        }
    }
}

/// Reads `bytes` at `position`, as [`DiskFile::read_at`] does, around what cannot be read.
///
/// Errors: all others; that of the place when nothing of the file can be read.
pub(crate) async fn read_around<F, B>(
    file: &F,
    position: u64,
    bytes: usize,
) -> io::Result<Blocks<B>>
where
    F: DiskFile<Buf = B>,
    B: AsRef<[u8]>,
{
    let error = match file.read_at(position, bytes).await {
        Ok(blocks) => return Ok(Blocks::Whole(blocks)),
        Err(error) if is_unreadable(&error) => error,
        Err(error) => return Err(error),
    };
    let mut read = vec![0; bytes];
    let mut unreadable = 0;
    for (at, room) in (position..).step_by(BLOCK_BYTES).zip(read.chunks_exact_mut(BLOCK_BYTES)) {
        match file.read_at(at, BLOCK_BYTES).await {
            Ok(block) => room.copy_from_slice(block.as_ref()),
            Err(error) if is_unreadable(&error) => unreadable += BLOCK_BYTES as u64,
            Err(error) => return Err(error),
        }
    }
    if unreadable == bytes as u64 && !answers(file).await {
        return Err(error);
    }
    tracing::error!(position, bytes, unreadable, %error, "the disk cannot read this place");
    Ok(Blocks::Holed { bytes: read, unreadable })
}

/// Whether anything of a file can be read.
async fn answers<F: DiskFile>(file: &F) -> bool {
    let blocks = file.len() / BLOCK_BYTES as u64;
    let step = (blocks / PLACES_ASKED).max(1);
    for block in (0..blocks).step_by(step as usize) {
        if file.read_at(block * BLOCK_BYTES as u64, BLOCK_BYTES).await.is_ok() {
            return true;
        }
    }
    false
}
