//! Operations of a ring as futures. Dropping one never loses what the kernel still works on.

use std::{
    future::Future,
    io,
    os::fd::{AsRawFd, OwnedFd},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use io_uring::{opcode, squeue, types};

use super::{CHAINED_WRITE, File, Held, Memory, Ring, State};
use crate::{descriptor::Descriptor, direct_buf::AlignedBuf};

/// Flag of a write: it is durable when it is done (RWF_DSYNC of pwritev2(2)).
const DURABLY: i32 = 0x2;

/// What a poll waits for. Errors and the end of a connection end it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Bytes, a connection to accept, or the end of what the peer sends.
    Readable,
    /// Room for bytes, or that a connection stands.
    Writable,
}

impl Interest {
    /// As poll(2) numbers them; a peer that closed its half makes it readable anyway.
    fn mask(self) -> u32 {
        match self {
            Interest::Readable => 0x001,
            Interest::Writable => 0x004,
        }
    }
}

/// One operation under way. Its result: what the kernel says, and what was held for it.
#[must_use = "an operation that nobody waits for is abandoned"]
pub(crate) struct Op {
    ring: Rc<Ring>,
    /// `None`: done and taken, or never started because the ring has ended.
    number: Option<usize>,
}

impl Future for Op {
    type Output = (io::Result<usize>, Memory);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(number) = self.number else { return Poll::Pending };
        let mut slots = self.ring.slots.borrow_mut();
        match &mut slots[number].state {
            State::Done(result) => {
                let result = *result;
                let Held { file, memory } = slots.remove(number).held;
                drop(slots);
                drop(file);
                self.number = None;
                Poll::Ready((to_result(result), memory))
            }
            State::Pending(Some(waker)) => {
                waker.clone_from(context.waker());
                Poll::Pending
            }
            State::Pending(waker @ None) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            State::Abandoned => unreachable!("operation {number} was given up"),
        }
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.ring.abandon(number);
        }
    }
}

/// A negative result is an error number.
fn to_result(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

impl Ring {
    /// # Safety
    ///
    /// What the entry points to is owned by what it holds.
    unsafe fn one(self: &Rc<Self>, entry: squeue::Entry, held: Held, endless: bool) -> Op {
        let number = self.slot(held, endless, None);
        if let Some(number) = number {
            // SAFETY: the slot owns what the entry points to until its completion was taken: the caller vouches for the
            // former, `complete` and `abandon` for the latter.
            unsafe { self.push(&[entry.user_data(number as u64)]) };
        }
        Op { ring: Rc::clone(self), number }
    }

    /// Waits until a file is ready for it.
    pub(crate) async fn ready(self: &Rc<Self>, file: &Rc<OwnedFd>, interest: Interest) {
        let entry = opcode::PollAdd::new(types::Fd(file.as_raw_fd()), interest.mask()).build();
        let held = Held { file: File::Own(Rc::clone(file)), memory: Memory::None };
        // SAFETY: it points to nothing; the file is held.
        let poll = unsafe { self.one(entry, held, true) };
        // Whatever ended it, the next system call on the file tells.
        let _ = poll.await;
    }

    /// Reads the counter of a bell (an eventfd), waiting until it is rung.
    pub(crate) fn read_bell(self: &Rc<Self>, bell: &Arc<OwnedFd>) -> Op {
        let mut word = Box::new(0_u64);
        let at: *mut u8 = (&raw mut *word).cast();
        let entry = opcode::Read::new(types::Fd(bell.as_raw_fd()), at, 8).build();
        let file = File::Shared(Arc::clone(bell));
        let held = Held { file, memory: Memory::Word(word) };
        // SAFETY: word and bell are held.
        unsafe { self.one(entry, held, true) }
    }

    /// Reads blocks at a position of a file that was opened for direct I/O.
    pub(crate) fn read(
        self: &Rc<Self>,
        file: &Rc<Descriptor>,
        mut into: AlignedBuf,
        at: u64,
    ) -> Op {
        let bytes = transfer_bytes(into.len());
        let start = into.as_mut_ptr();
        let entry = opcode::Read::new(types::Fd(file.as_raw_fd()), start, bytes).offset(at).build();
        let held = Held { file: File::OnDisk(Rc::clone(file)), memory: Memory::Blocks(into) };
        // SAFETY: file and memory are held, and the memory has as many bytes.
        unsafe { self.one(entry, held, false) }
    }

    /// Writes blocks at a position; `through`: they are durable when it is done.
    pub(crate) fn write(
        self: &Rc<Self>,
        file: &Rc<Descriptor>,
        blocks: AlignedBuf,
        at: u64,
        through: bool,
    ) -> Op {
        let (entry, held) = write_entry(file, blocks, at);
        let flags = if through { DURABLY } else { 0 };
        // SAFETY: file and memory are held, and the memory has as many bytes.
        unsafe { self.one(entry.rw_flags(flags).build(), held, false) }
    }

    /// Writes blocks and then makes the file durable, as one operation for us. The sync does not begin when the write fails
    /// or is short, and then that is the result. For kernels with [`super::KernelFeatures::chained`].
    pub(crate) fn write_and_sync(
        self: &Rc<Self>,
        file: &Rc<Descriptor>,
        blocks: AlignedBuf,
        at: u64,
    ) -> Op {
        let bytes = transfer_bytes(blocks.len());
        let (write, held) = write_entry(file, blocks, at);
        let number = self.slot(held, false, Some(bytes));
        if let Some(number) = number {
            let name = number as u64;
            let write = write.build().flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS);
            let chain = [write.user_data(name | CHAINED_WRITE), sync_entry(file).user_data(name)];
            // SAFETY: the slot owns file and memory, which has as many bytes, until the only completion was taken.
            unsafe { self.push(&chain) };
        }
        Op { ring: Rc::clone(self), number }
    }

    /// Makes durable what was written to a file (fdatasync).
    pub(crate) fn sync(self: &Rc<Self>, file: &Rc<Descriptor>) -> Op {
        let held = Held { file: File::OnDisk(Rc::clone(file)), memory: Memory::None };
        // SAFETY: it points to nothing; the file is held.
        unsafe { self.one(sync_entry(file), held, false) }
    }
}

fn write_entry(file: &Rc<Descriptor>, blocks: AlignedBuf, at: u64) -> (opcode::Write, Held) {
    let bytes = transfer_bytes(blocks.len());
    let write = opcode::Write::new(types::Fd(file.as_raw_fd()), blocks.as_ptr(), bytes).offset(at);
    (write, Held { file: File::OnDisk(Rc::clone(file)), memory: Memory::Blocks(blocks) })
}

fn sync_entry(file: &Rc<Descriptor>) -> squeue::Entry {
    opcode::Fsync::new(types::Fd(file.as_raw_fd())).flags(types::FsyncFlags::DATASYNC).build()
}

/// The kernel transfers less than 2 GiB at once; nobody here has so much memory for it.
fn transfer_bytes(bytes: usize) -> u32 {
    match u32::try_from(bytes) {
        Ok(bytes) if bytes < 1 << 31 => bytes,
        _ => panic!("{bytes} bytes in one transfer"),
    }
}
