//! The one io_uring of an executor: operations with owners, timers, and the driver that turns them.
//!
//! Invariants:
//!
//! 1. Every operation that was handed to the kernel has a slot until its completion was taken. The slot owns what the
//!    kernel may touch, file and memory, whether or not anybody still waits for the result.
//! 2. An operation completes once. Its number is used again only after that.
//! 3. After [`Ring::end`] the kernel holds nothing of this ring, and whoever still waits waits for ever.
//!
//! A lost interest is cancelled where the kernel could wait for ever (a poll, a read of a bell), and finished where it
//! cannot (disk). Nothing here blocks but [`Ring::wait`], and only the driver calls that.

mod driver;
mod kernel;
mod op;
mod timers;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use io_uring::{
    IoUring, opcode, squeue,
    types::{SubmitArgs, Timespec},
};
use rustix::io::Errno;
use slab::Slab;

pub(crate) use driver::Driver;
pub use kernel::KernelFeatures;
pub(crate) use kernel::build;
pub(crate) use op::Interest;
pub(crate) use timers::Sleep;
use timers::Timers;

use crate::{descriptor::Descriptor, direct_buf::AlignedBuf};

/// Flag of io_uring_enter(2): take over what has completed, too.
const GET_EVENTS: u32 = 1;

/// Completions of these have no owner.
const CANCELLATION: u64 = u64::MAX;
const TIME_LIMIT: u64 = u64::MAX - 1;

/// Set in the name of a write that a sync is linked to. Of the two only one completes: the write if it fails or is short, or
/// else the sync.
const CHAINED_WRITE: u64 = 1 << 62;

/// What an operation keeps alive while the kernel works on it.
pub(crate) struct Held {
    /// The file of the operation: its number must not be given to another one before.
    pub(crate) file: File,
    /// Memory of the operation.
    pub(crate) memory: Memory,
}

/// A socket of this executor alone, a file on a disk, or a bell, which others know, too.
pub(crate) enum File {
    Own(#[allow(dead_code, reason = "kept, not read")] Rc<OwnedFd>),
    OnDisk(#[allow(dead_code, reason = "kept, not read")] Rc<Descriptor>),
    Shared(#[allow(dead_code, reason = "kept, not read")] Arc<OwnedFd>),
}

/// Memory that the kernel reads from or writes to.
pub(crate) enum Memory {
    None,
    /// Blocks of a disk.
    Blocks(AlignedBuf),
    /// The counter of a bell.
    Word(#[allow(dead_code, reason = "the kernel writes it, nobody reads it")] Box<u64>),
}

enum State {
    /// The kernel has it; who waits for it, if anybody was polled yet.
    Pending(Option<Waker>),
    /// The kernel has it, and nobody waits.
    Abandoned,
    /// Done with this result, not taken yet.
    Done(i32),
}

struct Slot {
    state: State,
    held: Held,
    /// The kernel may wait for ever: it is cancelled when nobody waits any more.
    endless: bool,
    /// What a sync that ends well says: how much the write before it has written, which is all.
    chained_bytes: Option<u32>,
}

/// The io_uring of one executor and everything that waits on it.
pub(crate) struct Ring {
    /// `None` after the end.
    uring: RefCell<Option<IoUring>>,
    features: KernelFeatures,
    slots: RefCell<Slab<Slot>>,
    /// Operations that the kernel has.
    in_flight: Cell<usize>,
    /// Completions on their way from the kernel's queue to their slots; here to keep its memory.
    batch: RefCell<Vec<(u64, i32)>>,
    timers: RefCell<Timers>,
    /// Tasks that let others go first.
    yielded: RefCell<VecDeque<Waker>>,
    /// Polls of all tasks but the driver: who counts the same twice knows that nothing ran.
    polls: Cell<u64>,
    /// Where the wait takes no time limit along: when the one that the kernel has ends, and its memory.
    limit: Cell<Option<Instant>>,
    limit_memory: RefCell<Box<Timespec>>,
    ending: Cell<bool>,
}

impl Ring {
    /// Makes it on the thread that will use it.
    pub(crate) fn new(allowed: KernelFeatures) -> io::Result<Ring> {
        let (uring, features) = build(allowed)?;
        Ok(Ring {
            uring: RefCell::new(Some(uring)),
            features,
            slots: RefCell::default(),
            in_flight: Cell::new(0),
            batch: RefCell::default(),
            timers: RefCell::default(),
            yielded: RefCell::default(),
            polls: Cell::new(0),
            limit: Cell::new(None),
            limit_memory: RefCell::default(),
            ending: Cell::new(false),
        })
    }

    /// The kernel's newer ways that it uses.
    pub(crate) fn features(&self) -> KernelFeatures {
        self.features
    }

    /// Notes that a task is polled. A task that is not counted waits for the driver's next wait to end.
    pub(crate) fn count_poll(&self) {
        self.polls.set(self.polls.get().wrapping_add(1));
    }

    /// Lets the waker go after everything that is ready by now, the kernel's completions included.
    pub(crate) fn wake_after_turn(&self, waker: Waker) {
        self.yielded.borrow_mut().push_back(waker);
    }

    /// A sleep that ends by itself.
    pub(crate) fn sleep(self: &Rc<Self>, duration: Duration) -> Sleep {
        Sleep::new(Rc::clone(self), duration)
    }

    /// A slot for an operation that is about to be handed to the kernel. `None` after the end.
    fn slot(&self, held: Held, endless: bool, chained_bytes: Option<u32>) -> Option<usize> {
        if self.ending.get() {
            return None;
        }
        self.in_flight.set(self.in_flight.get() + 1);
        let slot = Slot { state: State::Pending(None), held, endless, chained_bytes };
        Some(self.slots.borrow_mut().insert(slot))
    }

    /// Puts entries into the queue to the kernel, making room if there is none.
    ///
    /// # Safety
    ///
    /// What they point to lives until their completions were taken.
    unsafe fn push(&self, entries: &[squeue::Entry]) {
        loop {
            {
                let mut uring = self.uring.borrow_mut();
                let Some(uring) = &mut *uring else { return };
                // SAFETY: passed on to the caller.
                if unsafe { uring.submission().push_multiple(entries) }.is_ok() {
                    return;
                }
            }
            self.enter();
            // The kernel takes nothing more while too much of what it has done is not taken.
            self.reap();
        }
    }

    /// One call into the kernel that does not wait: hands over what is queued, and takes what is done.
    fn enter(&self) {
        let mut uring = self.uring.borrow_mut();
        let Some(uring) = &mut *uring else { return };
        let queued = uring.submission().len() as u32;
        // SAFETY: no argument is passed, so there is nothing that could be wrong with it.
        let entered = unsafe { uring.submitter().enter::<u8>(queued, 0, GET_EVENTS, None) };
        check(entered);
    }

    /// Whether a call into the kernel would do anything.
    fn has_news(&self) -> bool {
        let mut uring = self.uring.borrow_mut();
        let Some(uring) = &mut *uring else { return false };
        let submission = uring.submission();
        // Only cooperating kernels tell what they keep back.
        !submission.is_empty()
            || submission.taskrun()
            || submission.cq_overflow()
            || !self.features.cooperative
    }

    /// Waits until something is done, at most until `deadline`.
    fn wait(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec::new().sec(left.as_secs()).nsec(left.subsec_nanos());
        if !self.features.timed_wait {
            self.arm_limit(deadline, limit);
        }
        let mut uring = self.uring.borrow_mut();
        let Some(uring) = &mut *uring else { return };
        let submitter = uring.submitter();
        check(if self.features.timed_wait {
            submitter.submit_with_args(1, &SubmitArgs::new().timespec(&limit))
        } else {
            submitter.submit_and_wait(1)
        });
    }

    /// Gives the kernel an operation that completes at the deadline, unless it has one that does so before.
    fn arm_limit(&self, deadline: Instant, limit: Timespec) {
        let now = Instant::now();
        if self.limit.get().is_some_and(|armed| armed <= deadline && armed > now) {
            return;
        }
        **self.limit_memory.borrow_mut() = limit;
        let at: *const Timespec = &raw const **self.limit_memory.borrow();
        let remove = opcode::TimeoutRemove::new(TIME_LIMIT).build().user_data(CANCELLATION);
        let arm = opcode::Timeout::new(at).build().user_data(TIME_LIMIT);
        // SAFETY: the kernel copies the time while it takes the entry, which it does before this memory changes: the
        // driver waits in the kernel right after this, and is the only one that calls it.
        unsafe { self.push(&[remove, arm]) };
        self.limit.set(Some(deadline));
    }

    /// Takes what the kernel has done, without calling it, and wakes who waits. Returns how many were woken.
    fn reap(&self) -> usize {
        let mut batch = self.batch.take();
        if let Some(uring) = &mut *self.uring.borrow_mut() {
            batch.extend(uring.completion().map(|done| (done.user_data(), done.result())));
        }
        let mut woken = 0;
        for (number, result) in batch.drain(..) {
            match number {
                CANCELLATION => {}
                TIME_LIMIT => self.limit.set(None),
                number => {
                    let (number, of_write) =
                        ((number & !CHAINED_WRITE) as usize, number & CHAINED_WRITE != 0);
                    woken += usize::from(self.complete(number, of_write, result));
                }
            }
        }
        self.batch.replace(batch);
        woken
    }

    /// Notes a result. Whether somebody was woken for it.
    fn complete(&self, number: usize, of_write: bool, result: i32) -> bool {
        self.in_flight.set(self.in_flight.get() - 1);
        let mut slots = self.slots.borrow_mut();
        let Slot { state, chained_bytes, .. } = &mut slots[number];
        let result = match *chained_bytes {
            Some(bytes) if result == 0 && !of_write => bytes.cast_signed(),
            _ => result,
        };
        match std::mem::replace(state, State::Done(result)) {
            State::Pending(waker) => {
                drop(slots);
                // At the end nothing runs any more.
                let waker = waker.filter(|_| !self.ending.get());
                waker.map(Waker::wake).is_some()
            }
            State::Abandoned => {
                let slot = slots.remove(number);
                drop(slots);
                drop(slot);
                false
            }
            State::Done(_) => unreachable!("operation {number} is done twice"),
        }
    }

    /// Nobody waits for this operation any more.
    fn abandon(&self, number: usize) {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[number];
        if let State::Done(_) = slot.state {
            let slot = slots.remove(number);
            drop(slots);
            drop(slot);
            return;
        }
        let former = std::mem::replace(&mut slot.state, State::Abandoned);
        let cancel = slot.endless && !self.ending.get();
        drop(slots);
        drop(former);
        if cancel {
            self.cancel(number);
        }
    }

    fn cancel(&self, number: usize) {
        let entry = opcode::AsyncCancel::new(number as u64).build().user_data(CANCELLATION);
        // SAFETY: it points to nothing.
        unsafe { self.push(&[entry]) };
    }

    /// Ends what waits in the kernel, waits for the rest, and gives the io_uring back. Whoever waits for an operation, a
    /// timer or a turn waits for ever: no task of this executor does anything more.
    fn end(&self) {
        self.ending.set(true);
        let is_endless = |slot: &Slot| slot.endless && !matches!(slot.state, State::Done(_));
        let endless: Vec<usize> = {
            let slots = self.slots.borrow();
            slots.iter().filter(|(_, slot)| is_endless(slot)).map(|(number, _)| number).collect()
        };
        for number in endless {
            self.cancel(number);
        }
        while self.in_flight.get() > 0 {
            self.wait(Instant::now() + driver::LONGEST_WAIT);
            self.reap();
        }
        let uring = self.uring.borrow_mut().take();
        drop(uring);
        // Of tasks that nobody else can wake this is the last of them.
        drop((self.timers.take(), self.yielded.take()));
    }
}

/// Anything but these means that the ring is broken, and with it the executor.
fn check(entered: io::Result<usize>) {
    let Err(error) = entered else { return };
    match Errno::from_io_error(&error) {
        // The time limit, a signal, too much not taken yet, no memory for now: the next turn tries again.
        Some(Errno::TIME | Errno::INTR | Errno::BUSY | Errno::AGAIN) => {}
        _ => panic!("io_uring_enter failed: {error}"),
    }
}
