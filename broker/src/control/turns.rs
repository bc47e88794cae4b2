//! Turns of connections at the control worker.
//!
//! A request there takes from a microsecond to some milliseconds (a heartbeat may name hundreds of groups), and dozens may
//! come at once, in front of messages that came the same way. So they are served as they come only while the task that
//! took them has time left. Those behind them wait here, where each connection has its turn and messages go first.
//!
//! What a connection asked for is done in the order in which it came, and its end is seen to after that: it would
//! otherwise be remembered as a member for ever so long.

use crate::{fair_queue::FairQueue, request::KeptRequest};
use remoting::ConnectionId;
use runtime::{Executor, Signal};
use std::cell::{Cell, RefCell};

/// What waits for its turn.
pub enum Turn {
    /// A request to the control worker.
    Request(KeptRequest),
    /// A connection has ended.
    End(ConnectionId),
}

/// What waits for the control worker's time.
pub struct Turns {
    /// No limit of its own: each request counts for its connection, which is not read above its limit.
    waiting: RefCell<FairQueue<ConnectionId, Turn>>,
    wanted: Signal,
    served: Cell<bool>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns {
            waiting: RefCell::new(FairQueue::new(usize::MAX)),
            wanted: Signal::default(),
            served: Cell::new(false),
        }
    }
}

impl Turns {
    /// Whether what comes now must wait. Never before [`Turns::serve`] runs.
    pub fn must_wait(&self, executor: &Executor) -> bool {
        self.served.get() && (!self.waiting.borrow().is_empty() || executor.budget_spent())
    }

    /// Has a request wait.
    pub fn push(&self, request: KeptRequest) {
        self.push_turn(request.responder.connection, Turn::Request(request));
    }

    /// Has the end of a connection wait for everything that it has asked for.
    pub fn push_end(&self, connection: ConnectionId) {
        self.push_turn(connection, Turn::End(connection));
    }

    fn push_turn(&self, connection: ConnectionId, turn: Turn) {
        self.waiting.borrow_mut().push(connection, turn);
        self.wanted.raise();
    }

    /// Serves what waits, for ever.
    pub async fn serve(&self, executor: &Executor, serve: impl Fn(Turn)) {
        self.served.set(true);
        loop {
            self.wanted.wait().await;
            while let Some(turn) = self.next() {
                serve(turn);
                if executor.budget_spent() {
                    executor.yield_now().await;
                }
            }
        }
    }

    fn next(&self) -> Option<Turn> {
        self.waiting.borrow_mut().pop()
    }
}
