//! Chunks of the log that were read from the disk lately, for readers of old messages that follow each other.

use crate::readable::Blocks;
use runtime::Disk;
use std::{cell::RefCell, collections::VecDeque, rc::Rc};

/// Bytes of a chunk: at this size a disk gives its full bandwidth.
pub(crate) const CHUNK_BYTES: u64 = 512 * 1024;

/// Where it starts, and what was read.
type Chunk<D> = (u64, Rc<Blocks<<D as Disk>::Buf>>);

/// Chunks read lately, the newest at the back.
pub(crate) struct ColdChunks<D: Disk> {
    chunks: RefCell<VecDeque<Chunk<D>>>,
    chunks_max: usize,
}

impl<D: Disk> ColdChunks<D> {
    pub(crate) fn new(bytes_max: usize) -> ColdChunks<D> {
        let chunks_max = (bytes_max / CHUNK_BYTES as usize).max(1);
        ColdChunks { chunks: RefCell::default(), chunks_max }
    }

    pub(crate) fn get(&self, start: u64) -> Option<Rc<Blocks<D::Buf>>> {
        let mut chunks = self.chunks.borrow_mut();
        let at = chunks.iter().position(|(other, _)| *other == start)?;
        let found = chunks.remove(at)?;
        let buffer = Rc::clone(&found.1);
        chunks.push_back(found);
        Some(buffer)
    }

    pub(crate) fn put(&self, start: u64, buffer: Rc<Blocks<D::Buf>>) {
        let mut chunks = self.chunks.borrow_mut();
        if chunks.len() >= self.chunks_max {
            chunks.pop_front();
        }
        chunks.push_back((start, buffer));
    }

    /// A segment goes.
    pub(crate) fn forget(&self, from: u64, to: u64) {
        self.chunks.borrow_mut().retain(|(start, _)| *start < from || *start >= to);
    }
}
