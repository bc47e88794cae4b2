//! Reads that the tail cache cannot answer: pulls of old messages, views by id, searches by time.
//!
//! A few reader tasks per executor take them from one bounded line, so that however many consumers start from offset
//! 0, the disk sees a handful of reads at a time and live traffic keeps the reactor.

use crate::{
    error::Refusal,
    letter::{Answer, Pulled, Reply},
    queues::Queues,
    shard::Shard,
};
use proto::code::response;
use runtime::Signal;
use std::{cell::RefCell, collections::VecDeque, future::Future, pin::Pin, rc::Rc};
use store::PullPlan;

/// Reader tasks of an executor.
const READERS: usize = 4;
/// Reads that may wait; more are refused.
const WAITING_MAX: usize = 4096;

type Job = Pin<Box<dyn Future<Output = ()>>>;

/// The line of reads.
pub struct Cold {
    jobs: RefCell<VecDeque<Job>>,
    /// One per reader: a signal wakes one task.
    wake: Vec<Signal>,
    idle: RefCell<Vec<usize>>,
}

impl Default for Cold {
    fn default() -> Cold {
        Cold {
            jobs: RefCell::default(),
            wake: (0..READERS).map(|_| Signal::default()).collect(),
            idle: RefCell::default(),
        }
    }
}

impl Cold {
    /// Starts the readers of a shard's executor.
    pub fn start(shard: &Rc<Shard>) {
        for reader in 0..READERS {
            let shard = Rc::clone(shard);
            shard.executor.clone().spawn(async move {
                loop {
                    let job = shard.cold.jobs.borrow_mut().pop_front();
                    match job {
                        Some(job) => job.await,
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

    /// Runs a read when its turn comes. Gives the reply back when the line is full.
    pub fn submit(
        &self,
        reply: Reply,
        job: impl FnOnce(Reply) -> Job,
    ) -> Result<(), (Reply, Refusal)> {
        if self.jobs.borrow().len() >= WAITING_MAX {
            let remark =
                format!("[OVERLOAD] reason=cold-reads waiting={WAITING_MAX} limit={WAITING_MAX}");
            return Err((reply, Refusal::new(response::SYSTEM_BUSY, remark)));
        }
        self.jobs.borrow_mut().push_back(job(reply));
        if let Some(reader) = self.idle.borrow_mut().pop()
            && let Some(wake) = self.wake.get(reader)
        {
            wake.raise();
        }
        Ok(())
    }

    /// Answers a pull from the disk.
    pub fn read(
        &self,
        shard: &Rc<Shard>,
        queues: &Queues,
        reply: Reply,
        offset: i64,
        plan: PullPlan,
    ) {
        let home = Rc::clone(shard);
        let store = Rc::clone(&queues.store);
        let tally = queues.tally.clone();
        let submitted = self.submit(reply, move |reply| {
            Box::pin(async move {
                let mut body = Vec::with_capacity(plan.bytes);
                match store.read_cold(&plan.pieces, &mut body).await {
                    Ok(()) => {
                        tally.pulled(plan.pieces.len() as u64, plan.bytes as u64);
                        let pulled = Pulled {
                            code: response::SUCCESS,
                            status: plan.status.name(),
                            next_offset: plan.next_offset,
                            min_offset: plan.min_offset,
                            max_offset: plan.max_offset,
                            span: plan.next_offset - offset,
                            body,
                            on_the_way: None,
                        };
                        home.answer(reply, Answer::Pulled(Box::new(pulled)));
                    }
                    Err(error) => {
                        tracing::error!(%error, "a pull of old messages failed");
                        home.answer(reply, Refusal::from(error).into());
                    }
                }
            })
        });
        if let Err((reply, refusal)) = submitted {
            shard.answer(reply, refusal.into());
        }
    }
}
