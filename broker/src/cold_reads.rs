//! Reads that the tables in memory and the tail cache cannot answer: pulls of old messages, views by id, searches by
//! time and by key.
//!
//! A few reader tasks per worker take them from one bounded queue, so that however many consumers start from offset
//! 0, the disk sees a handful of reads at a time and live traffic keeps the reactor. Connections take turns: who asks for
//! much at once waits for it longer, and nobody else does. A budget of bytes per second, refilled with each tick, keeps
//! the readers from living at the cost of everybody else.

use crate::{
    error::Refusal,
    fair_queue::{FairQueue, NoRoom},
    one_shot::OneShot,
    shard::Shard,
};
use proto::code::response;
use remoting::ConnectionId;
use runtime::{Executor, Signal};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
};

/// Reader tasks of a worker.
const READERS: usize = 4;
/// Reads of all connections that may wait; more are refused, and no connection may have more than there is room for.
const WAITING_MAX: usize = 4096;
/// What a read costs besides its bytes: its share of everything that is done once per read.
const READ_COST_BYTES: i64 = 4096;

type Job = Pin<Box<dyn Future<Output = ()>>>;

/// The queue of reads and those who take from it.
pub struct ColdReadPool {
    jobs: RefCell<FairQueue<ConnectionId, Job>>,
    /// One per reader: a signal wakes one task.
    wake: Vec<Signal>,
    idle: RefCell<Vec<usize>>,
    /// Bytes that may be read before the next tick; below 0 readers rest.
    budget: Cell<i64>,
    /// Bytes that each tick allows; `None`: as many as they like.
    allowance: Cell<Option<i64>>,
}

impl ColdReadPool {
    /// A pool whose readers take `bytes_per_tick`.
    pub fn new(bytes_per_tick: Option<i64>) -> Rc<ColdReadPool> {
        Rc::new(ColdReadPool {
            jobs: RefCell::new(FairQueue::new(WAITING_MAX)),
            wake: (0..READERS).map(|_| Signal::default()).collect(),
            idle: RefCell::default(),
            budget: Cell::new(0),
            allowance: Cell::new(bytes_per_tick),
        })
    }

    /// Starts the readers, which read from the stores of these shards.
    pub fn start(self: &Rc<Self>, executor: &Executor, shards: &[Rc<Shard>]) {
        for reader in 0..READERS {
            let (pool, shards, turn) = (Rc::clone(self), shards.to_vec(), executor.clone());
            executor.spawn(async move {
                loop {
                    match pool.next() {
                        Some(job) => {
                            let before = cold_bytes(&shards);
                            job.await;
                            pool.spend(cold_bytes(&shards) - before);
                            // What everybody else wants comes first, even if this read found all in memory.
                            turn.yield_now().await;
                        }
                        None => {
                            pool.idle.borrow_mut().push(reader);
                            match pool.wake.get(reader) {
                                Some(wake) => wake.wait().await,
                                None => return,
                            }
                        }
                    }
                }
            });
        }
    }

    fn next(&self) -> Option<Job> {
        if self.allowance.get().is_some() && self.budget.get() < 0 {
            return None;
        }
        self.jobs.borrow_mut().pop()
    }

    fn spend(&self, bytes: i64) {
        self.budget.set(self.budget.get() - bytes - READ_COST_BYTES);
    }

    /// From now on readers take `bytes_per_tick`.
    pub fn allow(&self, bytes_per_tick: Option<i64>) {
        if self.allowance.replace(bytes_per_tick) != bytes_per_tick {
            self.budget.set(0);
            self.wake_all();
        }
    }

    /// Once per tick: readers may go on.
    pub fn refill(&self) {
        let Some(allowance) = self.allowance.get() else { return };
        self.budget.set((self.budget.get() + allowance).min(allowance));
        self.wake_all();
    }

    fn wake_all(&self) {
        if !self.jobs.borrow().is_empty() {
            for _ in 0..READERS {
                self.wake_one();
            }
        }
    }

    fn wake_one(&self) {
        if let Some(reader) = self.idle.borrow_mut().pop()
            && let Some(wake) = self.wake.get(reader)
        {
            wake.raise();
        }
    }

    /// Runs a read for a connection when its turn comes. Gives what it is about back when there is no room for it.
    pub fn submit<T>(
        &self,
        asker: ConnectionId,
        cargo: T,
        job: impl FnOnce(T) -> Job,
    ) -> Result<(), (T, Refusal)> {
        let room = self.jobs.borrow().has_room(asker);
        if let Err(NoRoom { waiting, limit }) = room {
            let remark = format!("[OVERLOAD] reason=cold-reads waiting={waiting} limit={limit}");
            return Err((cargo, Refusal::new(response::SYSTEM_BUSY, remark)));
        }
        self.jobs.borrow_mut().push(asker, job(cargo));
        self.wake_one();
        Ok(())
    }

    /// Reads for a connection when a reader is free, and returns what was read. The error is the queue's limit.
    pub async fn read<T: 'static>(
        &self,
        asker: ConnectionId,
        read: impl Future<Output = T> + 'static,
    ) -> Result<T, Refusal> {
        let done = OneShot::default();
        let ended = done.clone();
        let job = |()| -> Job { Box::pin(async move { ended.set(read.await) }) };
        self.submit(asker, (), job).map_err(|((), refusal)| refusal)?;
        Ok(done.wait().await)
    }
}

fn cold_bytes(shards: &[Rc<Shard>]) -> i64 {
    shards.iter().map(|shard| shard.store.tally().cold_bytes.get() as i64).sum()
}
