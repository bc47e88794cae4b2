//! `Queues`: one shard's queues, their log, and those who wait for it.
//!
//! Sends wait in log order for the commit gate; pulls that found nothing are parked by queue. Crossing the gate is one
//! synchronous step: publish, release, wake. One task drives it: [`Queues::commit_loop`].

pub mod parked;
pub mod passes;
mod retention;

use crate::{
    error::Refusal,
    letter::{Answer, Reply},
    pull,
    shard::Shard,
    stats::Tally,
};
use parked::ParkedPulls;
use passes::Passes;
use runtime::{DirectDisk, Signal};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
};
use store::Store;

/// A reply that waits for the log to be committed.
pub struct Waiting {
    /// Position to wait for.
    pub until: u64,
    /// Whom to answer.
    pub reply: Reply,
    /// What to answer then.
    pub answer: Answer,
}

/// The queues of one shard.
pub struct Queues {
    /// Number of the shard.
    pub shard: u16,
    /// Its durable truth.
    pub store: Rc<Store<DirectDisk>>,
    /// Pulls that wait for messages.
    pub parked: RefCell<ParkedPulls>,
    /// Topics that sends were let into.
    pub passes: RefCell<Passes>,
    /// Counters.
    pub tally: Tally,
    waiting: RefCell<VecDeque<Waiting>>,
    home: RefCell<Weak<Shard>>,
    drained: Cell<bool>,
    retention_wanted: Signal,
    room_end: Cell<u64>,
}

impl Queues {
    /// The queues of a store that was opened.
    pub fn new(store: Rc<Store<DirectDisk>>, parked_max: usize) -> Queues {
        let shard = store.settings().shard;
        Queues {
            shard,
            store,
            parked: RefCell::new(ParkedPulls::new(parked_max)),
            passes: RefCell::default(),
            tally: Tally::default(),
            waiting: RefCell::default(),
            home: RefCell::default(),
            drained: Cell::new(false),
            retention_wanted: Signal::default(),
            room_end: Cell::new(0),
        }
    }

    /// Tells the queues on which executor they live.
    pub fn settle(&self, home: &Rc<Shard>) {
        *self.home.borrow_mut() = Rc::downgrade(home);
    }

    fn home(&self) -> Rc<Shard> {
        self.home.borrow().upgrade().expect("a shard outlives its queues")
    }

    /// Starts what goes on beside the commit loop: space ahead of the log, index files and retention behind it.
    pub fn start_followers(self: &Rc<Self>, home: &Rc<Shard>) {
        let store = Rc::clone(&self.store);
        home.executor.spawn(async move { store.work_ahead().await });
        let (store, executor) = (Rc::clone(&self.store), home.executor.clone());
        home.executor.spawn(async move { store.index_loop(|| executor.turn()).await });
        let (queues, home) = (Rc::clone(self), Rc::clone(home));
        home.executor.clone().spawn(async move { retention::run(&queues, &home).await });
    }

    /// Leaves a reply in the line. The log was appended to.
    pub fn wait_for_commit(&self, waiting: Waiting) {
        self.waiting.borrow_mut().push_back(waiting);
        self.store.appended();
    }

    /// Refuses a send.
    pub fn refuse_send(&self, reply: Reply, refusal: Refusal) {
        self.tally.refused(1);
        self.home().answer(reply, Answer::SendRefused(Box::new(refusal)));
    }

    /// Writes, syncs and releases until, after a stop was requested, everything is durable or can never be.
    pub async fn commit_loop(self: Rc<Self>) {
        let home = self.home();
        let mut told = false;
        loop {
            let executor = home.executor.clone();
            match self.store.commit_once(|| executor.now()).await {
                Ok(true) => self.cross_gate(&home),
                Ok(false) if self.drained.get() => return,
                Ok(false) => self.store.work().await,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(shard = self.shard, %error, "the log takes no more messages until restart");
                    }
                    self.refuse_waiting(&home, &error.to_string());
                    if self.drained.get() {
                        return;
                    }
                    self.store.work().await;
                }
            }
        }
    }

    /// Appends are over; the commit loop ends when all is durable.
    pub fn drain(&self) {
        self.drained.set(true);
        self.store.appended();
    }

    /// Crossing the commit gate: acknowledge, then wake pulls. Entries were published by the store.
    fn cross_gate(&self, home: &Rc<Shard>) {
        let committed = self.store.core().log.committed();
        let mut waiting = self.waiting.borrow_mut();
        let mut acknowledged = 0;
        while waiting.front().is_some_and(|first| first.until <= committed) {
            let Some(Waiting { reply, answer, .. }) = waiting.pop_front() else { break };
            home.answer(reply, answer);
            acknowledged += 1;
        }
        drop(waiting);
        home.executor.progress(acknowledged);
        let room_end = self.store.core().log.room_end();
        if self.room_end.replace(room_end) != room_end {
            // A new segment was taken from the disk: fast producers fill a small one within a second.
            self.retention_wanted.raise();
        }
        let mut woken = Vec::new();
        self.store.core_mut().take_published(|slot| {
            self.parked.borrow_mut().take(slot, &mut woken);
        });
        let now = home.executor.now();
        for parked in woken {
            pull::run_again(home, self, parked, now);
        }
    }

    fn refuse_waiting(&self, home: &Rc<Shard>, reason: &str) {
        let line = std::mem::take(&mut *self.waiting.borrow_mut());
        for Waiting { reply, .. } in line {
            let refusal = Refusal::new(
                proto::code::response::SERVICE_NOT_AVAILABLE,
                format!("shard={} reason=log-poisoned cause={reason}", self.shard),
            );
            home.answer(reply, Answer::SendRefused(Box::new(refusal)));
        }
    }

    /// Housekeeping: expired pulls, offsets of groups once a second, due syncs.
    pub fn tick(&self, home: &Rc<Shard>, now: i64, second: bool) {
        let expired = self.parked.borrow_mut().take_expired(now);
        for parked in expired {
            pull::give_up(home, self, parked);
        }
        if second {
            self.append_group_offsets(now);
            self.store.each_second();
            self.retention_wanted.raise();
        }
    }

    /// Writes what groups committed into the log.
    pub fn append_group_offsets(&self, now: i64) {
        match self.store.core_mut().append_group_offsets(now) {
            Ok(Some(_)) => self.store.appended(),
            Ok(None) => {}
            Err(refused) => {
                tracing::debug!(shard = self.shard, %refused, "offsets of groups wait for the log");
            }
        }
    }

    /// Messages that wait for the gate.
    pub fn waiting_count(&self) -> usize {
        self.waiting.borrow().len()
    }
}
