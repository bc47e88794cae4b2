//! Whether an answer with messages may go to its connection now. Asked before they are counted, copied or read from the
//! disk: for a peer that does not read, or is gone, nothing of that is done.

use crate::{ops::PullOp, shard::parked::Parked, worker::Worker};
use remoting::{NoTransfer, TransferPermit};
use runtime::Uptime;

/// How long a pull waits whose messages are kept from its connection, ms. A client that got its answer at once would ask
/// again at once.
const WAIT_MS: i64 = 200;

/// What becomes of the messages of an answer.
pub(super) enum Room {
    /// They may go, with a permit if that is to another worker.
    Free(Option<TransferPermit>),
    /// They are kept back, for this reason, until the peer asks again. It is let wait when its answers are not read.
    Kept { wait: bool, why: String },
    /// Nobody is there for them.
    Gone,
}

/// Where the messages are.
#[derive(Clone, Copy)]
pub(super) enum From {
    Memory,
    Disk,
}

/// Room for `bytes` of messages.
pub(super) fn for_messages(worker: &Worker, op: &PullOp, from: From, bytes: usize) -> Room {
    let Some(budget) = &op.transfer_budget else {
        let connection = op.responder.connection;
        return match worker.connections.borrow().get(connection) {
            Some(buffer) => match buffer.takes(bytes) {
                Ok(()) => Room::Free(None),
                Err(clogged) => Room::Kept { wait: true, why: clogged.to_string() },
            },
            // A pull that came here to have its group created, and was served here then.
            None if connection.worker() != worker.executor.index() => Room::Free(None),
            None => Room::Gone,
        };
    };
    let acquired = match from {
        From::Memory => budget.try_acquire(bytes),
        From::Disk => budget.try_acquire_read(bytes),
    };
    match acquired {
        Ok(permit) => Room::Free(Some(permit)),
        Err(NoTransfer::Full { bytes, bytes_max }) => {
            Room::Kept { wait: false, why: format!("between workers={bytes} limit={bytes_max}") }
        }
        Err(NoTransfer::Clogged) => {
            let why = "answers are not read, key=memoryBudgetMiB";
            Room::Kept { wait: true, why: why.to_owned() }
        }
        Err(NoTransfer::Ended) => Room::Gone,
    }
}

/// Until when a pull waits for room, if it may still wait.
pub(super) fn wait_until(parked: &Parked, now: Uptime) -> Option<Uptime> {
    let until = now + WAIT_MS;
    (!parked.op.responder.oneway && parked.deadline > until).then_some(until)
}
