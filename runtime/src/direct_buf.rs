//! Memory that direct I/O accepts: whole blocks at whole addresses, kept for reuse by the executor that made it.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    cell::RefCell,
    ptr::NonNull,
    rc::{Rc, Weak},
    slice,
};

use crate::disk::BLOCK_BYTES;

/// Freed buffers of one executor, up to a number of bytes. What is more goes back to the allocator.
#[derive(Clone)]
pub(crate) struct Buffers(Rc<RefCell<Free>>);

struct Free {
    bytes_max: usize,
    bytes: usize,
    /// Few: an executor writes in a handful of sizes.
    buffers: Vec<Blocks>,
}

impl Buffers {
    /// Keeps at most so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Buffers {
        Buffers(Rc::new(RefCell::new(Free { bytes_max, bytes: 0, buffers: Vec::new() })))
    }

    /// A buffer of `bytes`, a multiple of [`BLOCK_BYTES`]. Its content is initialised, and may be an old one.
    pub(crate) fn take(&self, bytes: usize) -> AlignedBuf {
        let mut free = self.0.borrow_mut();
        let found = free.buffers.iter().rposition(|blocks| blocks.layout.size() == bytes);
        let blocks = match found {
            Some(at) => {
                free.bytes -= bytes;
                free.buffers.swap_remove(at)
            }
            None => Blocks::new(bytes),
        };
        AlignedBuf { blocks: Some(blocks), home: Rc::downgrade(&self.0) }
    }
}

/// Owned memory, whole blocks of it.
pub(crate) struct AlignedBuf {
    /// Always there until it is dropped.
    blocks: Option<Blocks>,
    home: Weak<RefCell<Free>>,
}

impl AlignedBuf {
    /// One of its own, which nobody keeps for reuse.
    pub(crate) fn new(bytes: usize) -> AlignedBuf {
        AlignedBuf { blocks: Some(Blocks::new(bytes)), home: Weak::new() }
    }

    fn blocks(&self) -> &Blocks {
        match &self.blocks {
            Some(blocks) => blocks,
            None => unreachable!("taken by drop only"),
        }
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.blocks().layout.size()
    }

    /// Where the memory begins. It stays there wherever its owner is moved.
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.blocks().start.as_ptr()
    }

    /// The same, to write to it.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.blocks().start.as_ptr()
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the blocks are allocated, initialised and owned by this.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.len()) }
    }
}

impl AsMut<[u8]> for AlignedBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: the blocks are allocated, initialised and owned by this, which is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.as_mut_ptr(), self.len()) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        let (Some(home), Some(blocks)) = (self.home.upgrade(), self.blocks.take()) else { return };
        let mut free = home.borrow_mut();
        let bytes = free.bytes + blocks.layout.size();
        if bytes <= free.bytes_max {
            free.bytes = bytes;
            free.buffers.push(blocks);
        }
    }
}

/// An allocation that was zeroed once.
struct Blocks {
    start: NonNull<u8>,
    layout: Layout,
}

impl Blocks {
    fn new(bytes: usize) -> Blocks {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES), "{bytes} bytes are no blocks");
        let Ok(layout) = Layout::from_size_align(bytes, BLOCK_BYTES) else {
            panic!("{bytes} bytes of blocks");
        };
        // SAFETY: the layout has a size that is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Blocks { start, layout }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout and freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_whole_blocks_and_come_back_to_be_used_again() {
        let buffers = Buffers::new(3 * BLOCK_BYTES);
        let mut one = buffers.take(2 * BLOCK_BYTES);
        assert!(one.as_ptr().addr().is_multiple_of(BLOCK_BYTES));
        assert!(one.as_ref().iter().all(|byte| *byte == 0));
        one.as_mut().fill(7);
        let at = one.as_ptr();
        drop(one);
        let again = buffers.take(2 * BLOCK_BYTES);
        assert_eq!((again.as_ptr(), again.as_ref()[0], again.len()), (at, 7, 2 * BLOCK_BYTES));
        // Beyond its bytes it keeps nothing.
        let other = buffers.take(2 * BLOCK_BYTES);
        drop((again, other));
        assert_eq!(buffers.0.borrow().bytes, 2 * BLOCK_BYTES);
    }

    #[test]
    fn a_buffer_may_outlive_its_executor() {
        let buffers = Buffers::new(BLOCK_BYTES);
        let one = buffers.take(BLOCK_BYTES);
        drop(buffers);
        assert_eq!(one.as_ref().len(), BLOCK_BYTES);
    }
}
