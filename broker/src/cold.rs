//! Reads that the tables in memory and the tail cache cannot answer: pulls of old messages, views by id, searches by
//! time and by key.
//!
//! A few reader tasks per executor take them from one bounded line, so that however many consumers start from offset
//! 0, the disk sees a handful of reads at a time and live traffic keeps the reactor. A budget of bytes per second,
//! refilled with each tick, keeps the readers from living at the cost of everybody else.

use crate::{error::Refusal, letter::Answer, pull, pull::PullOp, shard::Shard};
use proto::code::response;
use runtime::Signal;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    pin::Pin,
    rc::Rc,
};
use store::{PullPlan, PullStatus};

/// Reader tasks of an executor.
const READERS: usize = 4;
/// Reads that may wait; more are refused.
const WAITING_MAX: usize = 4096;
/// What a read costs besides its bytes: its share of everything that is done once per read.
const READ_COST_BYTES: i64 = 4096;

type Job = Pin<Box<dyn Future<Output = ()>>>;

/// The line of reads.
pub struct Cold {
    jobs: RefCell<VecDeque<Job>>,
    /// One per reader: a signal wakes one task.
    wake: Vec<Signal>,
    idle: RefCell<Vec<usize>>,
    /// Bytes that may be read before the next tick; below 0 readers rest.
    budget: Cell<i64>,
    /// Bytes that each tick allows; `None`: as many as they like.
    allowance: Option<i64>,
}

impl Cold {
    /// A line whose readers take `bytes_per_tick`.
    pub fn new(bytes_per_tick: Option<i64>) -> Cold {
        Cold {
            jobs: RefCell::default(),
            wake: (0..READERS).map(|_| Signal::default()).collect(),
            idle: RefCell::default(),
            budget: Cell::new(0),
            allowance: bytes_per_tick,
        }
    }

    /// Starts the readers of a shard's executor.
    pub fn start(shard: &Rc<Shard>) {
        for reader in 0..READERS {
            let shard = Rc::clone(shard);
            shard.executor.clone().spawn(async move {
                loop {
                    match shard.cold.next() {
                        Some(job) => {
                            let before = cold_bytes(&shard);
                            job.await;
                            shard.cold.spend(cold_bytes(&shard) - before);
                            // What everybody else wants comes first, even if this read found all in memory.
                            shard.executor.turn().await;
                        }
                        None => {
                            shard.cold.idle.borrow_mut().push(reader);
                            match shard.cold.wake.get(reader) {
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
        if self.allowance.is_some() && self.budget.get() < 0 {
            return None;
        }
        self.jobs.borrow_mut().pop_front()
    }

    fn spend(&self, bytes: i64) {
        self.budget.set(self.budget.get() - bytes - READ_COST_BYTES);
    }

    /// Once per tick: readers may go on.
    pub fn refill(&self) {
        let Some(allowance) = self.allowance else { return };
        self.budget.set((self.budget.get() + allowance).min(allowance));
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

    /// Runs a read when its turn comes. Gives what it is about back when the line is full.
    pub fn submit<T>(&self, cargo: T, job: impl FnOnce(T) -> Job) -> Result<(), (T, Refusal)> {
        if self.jobs.borrow().len() >= WAITING_MAX {
            let remark =
                format!("[OVERLOAD] reason=cold-reads waiting={WAITING_MAX} limit={WAITING_MAX}");
            return Err((cargo, Refusal::new(response::SYSTEM_BUSY, remark)));
        }
        self.jobs.borrow_mut().push_back(job(cargo));
        self.wake_one();
        Ok(())
    }

    /// Answers a pull from the disk: with the records of a plan, or, without one, from index files.
    pub fn pull(&self, shard: &Rc<Shard>, op: Box<PullOp>, plan: Option<PullPlan>) {
        let home = Rc::clone(shard);
        let submitted =
            self.submit(op, move |op| Box::pin(async move { serve(&home, op, plan).await }));
        if let Err((op, refusal)) = submitted {
            shard.answer(op.reply, refusal.into());
        }
    }
}

fn cold_bytes(shard: &Shard) -> i64 {
    shard.hosted.iter().map(|queues| queues.store.tally().cold_bytes.get() as i64).sum()
}

async fn serve(home: &Rc<Shard>, op: Box<PullOp>, plan: Option<PullPlan>) {
    let Some(queues) = home.queues(op.shard).cloned() else {
        unreachable!("executors agree on who hosts a shard")
    };
    let planned = match plan {
        Some(plan) => Ok(plan),
        None => pull::plan_on_disk(&queues, &op).await,
    };
    let mut plan = match planned {
        Ok(plan) if plan.status == PullStatus::Found => plan,
        Ok(plan) => return pull::decide(home, &queues, *op, plan, home.executor.now()),
        Err(error) => {
            tracing::error!(%error, "a pull of old messages failed");
            return home.answer(op.reply, Refusal::from(error).into());
        }
    };
    let mut body = Vec::with_capacity(plan.bytes);
    match queues.store.read_cold(&plan.pieces, &mut body).await {
        Ok(damaged) => {
            if body.is_empty() {
                // All that was found is damaged: the client goes on behind it.
                plan.status = PullStatus::NoMatchedMessage;
            }
            let messages = plan.pieces.len() - damaged;
            let pulled = pull::pulled(&plan, op.offset, body);
            queues.tally.pulled(messages as u64, plan.bytes as u64);
            home.answer(op.reply, Answer::Pulled(Box::new(pulled)));
        }
        Err(error) => {
            tracing::error!(%error, "a pull of old messages failed");
            home.answer(op.reply, Refusal::from(error).into());
        }
    }
}
