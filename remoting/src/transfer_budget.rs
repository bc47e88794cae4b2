//! Answers that other workers make for a connection: how many of their bytes are on the way, and whether it takes any.
//!
//! What a worker has sent towards a connection lies in memory that the connection's worker does not see yet. So whoever
//! makes an answer elsewhere asks here first, and does not read for a peer that would get nothing.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed},
    },
};

/// Bytes of pulled messages that may be on their way to a connection from other workers.
const TRANSFER_BYTES_MAX: usize = 512 * 1024;
/// The same where they are still to be read from the disk: a few reads at a time are under way besides.
const READ_BYTES_MAX: usize = 2 * TRANSFER_BYTES_MAX;

const OPEN: u8 = 0;
const CLOGGED: u8 = 1;
const ENDED: u8 = 2;

/// Counts the bytes that other workers have sent towards a connection and that have not arrived there. Clones share it.
#[derive(Clone, Default)]
pub struct TransferBudget(Arc<Transfers>);

#[derive(Default)]
struct Transfers {
    bytes: AtomicUsize,
    state: AtomicU8,
}

/// Why nothing may be sent towards a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTransfer {
    /// Too much is on its way. It arrives soon.
    Full {
        /// What is on its way.
        bytes: usize,
        /// Above it nothing more is sent.
        bytes_max: usize,
    },
    /// The peer does not read what it got.
    Clogged,
    /// The connection is gone.
    Ended,
}

impl TransferBudget {
    /// A permit for so many bytes, until the permit is dropped.
    pub fn try_acquire(&self, bytes: usize) -> Result<TransferPermit, NoTransfer> {
        self.acquire_within(TRANSFER_BYTES_MAX, bytes)
    }

    /// The same for an answer that is still to be read from the disk.
    pub fn try_acquire_read(&self, bytes: usize) -> Result<TransferPermit, NoTransfer> {
        self.acquire_within(READ_BYTES_MAX, bytes)
    }

    fn acquire_within(&self, bytes_max: usize, bytes: usize) -> Result<TransferPermit, NoTransfer> {
        match self.0.state.load(Relaxed) {
            ENDED => return Err(NoTransfer::Ended),
            CLOGGED => return Err(NoTransfer::Clogged),
            _ => {}
        }
        let on_the_way = self.0.bytes.load(Relaxed);
        if on_the_way > bytes_max {
            return Err(NoTransfer::Full { bytes: on_the_way, bytes_max });
        }
        self.0.bytes.fetch_add(bytes, Relaxed);
        Ok(TransferPermit { budget: self.clone(), bytes })
    }

    /// Says whether the connection takes answers, until it is gone. Called by its worker alone, as [`TransferBudget::end`]
    /// is.
    pub(crate) fn set_clogged(&self, clogged: bool) {
        let (before, state) = (self.0.state.load(Relaxed), if clogged { CLOGGED } else { OPEN });
        if before != ENDED && before != state {
            self.0.state.store(state, Relaxed);
        }
    }

    /// The connection is gone.
    pub(crate) fn end(&self) {
        self.0.state.store(ENDED, Relaxed);
    }
}

/// Bytes on their way to a connection.
pub struct TransferPermit {
    budget: TransferBudget,
    bytes: usize,
}

impl fmt::Debug for TransferPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TransferPermit").field(&self.bytes).finish()
    }
}

impl Drop for TransferPermit {
    fn drop(&mut self) {
        self.budget.0.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_arrived_makes_room() {
        let budget = TransferBudget::default();
        let first = budget.try_acquire(TRANSFER_BYTES_MAX + 1).unwrap();
        let full =
            NoTransfer::Full { bytes: TRANSFER_BYTES_MAX + 1, bytes_max: TRANSFER_BYTES_MAX };
        assert_eq!(budget.try_acquire(1).unwrap_err(), full);
        let read = budget.try_acquire_read(TRANSFER_BYTES_MAX).unwrap();
        let full = NoTransfer::Full { bytes: READ_BYTES_MAX + 1, bytes_max: READ_BYTES_MAX };
        assert_eq!(budget.try_acquire_read(1).unwrap_err(), full);
        drop((first, read));
        assert!(budget.try_acquire(1).is_ok());
    }
}
