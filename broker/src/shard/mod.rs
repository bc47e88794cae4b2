//! `Shard`: one shard's queues, their log, and those who wait for it.
//!
//! Sends wait in log order for the commit gate; pulls that found nothing are parked by queue. Nothing here knows its
//! worker: what is taken out of a shard is answered by [`crate::commit`], which drives the log.

pub mod admission_cache;
pub mod due_clock;
pub mod group_pulls;
pub mod on_commit;
pub mod parked;
mod parked_filters;
pub mod pop_interest;
mod retention;
pub mod room_waits;

use crate::{
    config::{BrokerConfig, FlushDiskType},
    one_shot::OneShot,
    slow_log::SlowLog,
    stats::{Tally, Totals},
};
use admission_cache::AdmissionCache;
use due_clock::DueClock;
use group_pulls::GroupPulls;
pub use on_commit::{Arrival, OnCommit};
use on_commit::{CommitQueue, NextStep, StepOutcome};
use parked::ParkedPulls;
use pop_interest::PopInterest;
use retention::RetentionRules;
pub use retention::policy;
use room_waits::RoomWaits;
use runtime::{DirectDisk, Executor, Moment, RateLimit, Signal};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};
use store::{FlushPolicy, QueueSlot, Refused, Store};

/// When a message counts as safe, as the configuration says.
pub fn flush_policy(config: &BrokerConfig) -> FlushPolicy {
    match config.flush_disk_type {
        FlushDiskType::SyncFlush => FlushPolicy::Sync,
        FlushDiskType::AsyncFlush => FlushPolicy::Async {
            interval_ms: i64::try_from(config.flush_interval_commit_log_ms).unwrap_or(i64::MAX),
        },
    }
}

/// One shard: a log with its queues.
pub struct Shard {
    /// Its number.
    pub number: u16,
    /// Its durable truth.
    pub store: Rc<Store<DirectDisk>>,
    /// Pulls that wait for messages.
    pub parked: RefCell<ParkedPulls>,
    /// Who waits for messages to pop.
    pub pop_interest: RefCell<PopInterest>,
    /// What sends need to know of their topics.
    pub admission_cache: RefCell<AdmissionCache>,
    /// Sends that wait for the next segment.
    pub room_waits: RefCell<RoomWaits>,
    /// What groups have got lately.
    pub group_pulls: RefCell<GroupPulls>,
    /// Counters.
    pub tally: Tally,
    /// What waits for the log to be committed.
    pub commit_queue: RefCell<CommitQueue>,
    /// More pulls were woken than one step answers.
    pub many_woken: Signal,
    /// Something waits that is due before what was known.
    pub due_changed: Signal,
    next_due: Cell<Option<i64>>,
    /// A half message is to be looked at before what was known.
    pub half_due_changed: Signal,
    next_half_due: Cell<Option<i64>>,
    due_clock: RefCell<DueClock>,
    draining: Cell<bool>,
    /// Offsets of groups are being written into the log, an entry with each tick.
    writing_offsets: Cell<bool>,
    retention_wanted: Signal,
    /// An operator wants expired segments to go now, whatever the hour is.
    at_any_hour: Cell<bool>,
    room_end: Cell<u64>,
    /// When old segments go.
    rules: RefCell<RetentionRules>,
    /// Messages were due whose topic is deleted.
    pub gone_when_due: RateLimit,
    /// What took longer than `slowOperationMs`.
    pub slow: SlowLog,
}

impl Shard {
    /// The shard of a store that was opened.
    pub fn new(
        store: Rc<Store<DirectDisk>>,
        parked: ParkedPulls,
        group_pulls: GroupPulls,
    ) -> Shard {
        let settings = store.settings();
        Shard {
            number: settings.shard,
            room_waits: RefCell::new(RoomWaits::new(settings.record_bytes_max)),
            store,
            parked: RefCell::new(parked),
            pop_interest: RefCell::default(),
            admission_cache: RefCell::default(),
            group_pulls: RefCell::new(group_pulls),
            tally: Tally::default(),
            commit_queue: RefCell::default(),
            many_woken: Signal::default(),
            due_changed: Signal::default(),
            next_due: Cell::default(),
            half_due_changed: Signal::default(),
            next_half_due: Cell::default(),
            due_clock: RefCell::default(),
            draining: Cell::new(false),
            writing_offsets: Cell::new(false),
            retention_wanted: Signal::default(),
            at_any_hour: Cell::new(false),
            room_end: Cell::new(0),
            rules: RefCell::new(RetentionRules::of(&BrokerConfig::default())),
            gone_when_due: RateLimit::default(),
            slow: SlowLog::default(),
        }
    }

    /// Starts what goes on beside the commit loop: space ahead of the log, index files and retention behind it.
    pub fn start_followers(
        self: &Rc<Self>,
        executor: &Executor,
        config: &BrokerConfig,
        totals: &Arc<[Totals]>,
    ) {
        self.store.watch_clock(executor.now());
        let stored_last = self.store.state().stored_last_ms();
        self.due_clock.replace(DueClock::starting(stored_last, executor.moment()));
        let store = Rc::clone(&self.store);
        executor.spawn(async move { store.work_ahead().await });
        let (store, indexing) = (Rc::clone(&self.store), executor.clone());
        executor.spawn(async move { store.index_loop(|| indexing.yield_now()).await });
        self.rules.replace(RetentionRules::of(config));
        let totals = Arc::clone(totals);
        executor.spawn(retention::run(Rc::clone(self), executor.clone(), totals));
    }

    /// Takes over settings that were changed while the broker runs.
    pub fn take_config(&self, config: &BrokerConfig) {
        self.rules.replace(RetentionRules::of(config));
        self.retention_wanted.raise();
        self.store.set_flush_policy(flush_policy(config));
        self.store.set_index_keys(config.message_index_enable);
        self.store.limit_inflight(config.shard_inflight_bytes_max);
    }

    /// Why a send of `bytes` cannot wait for the next segment.
    pub fn room_awaited(&self, bytes: usize) -> Refused {
        let state = self.store.state();
        let left = state.log.room_end().saturating_sub(state.log.appended());
        Refused::RoomAwaited { shard: self.number, left, wanted: bytes as u64 }
    }

    /// Leaves what happens once the log, which was appended to, is committed up to `until`.
    pub fn on_commit(&self, until: u64, step: OnCommit) {
        self.commit_queue.borrow_mut().push(until, step);
        self.store.appended();
    }

    /// Leaves the answer to a send, which came then, for when the log is committed up to `until`.
    pub fn answer_send(&self, until: u64, arrival: Arrival, step: OnCommit) {
        self.commit_queue.borrow_mut().push_of_send(until, Some(arrival), step);
        self.store.appended();
    }

    /// Waits until the log is committed up to `until`, where it ends now. False: it never will be, or nobody will know.
    pub async fn committed(&self, until: u64) -> bool {
        if self.store.state().log.committed() >= until {
            return true;
        }
        let committed = OneShot::default();
        let told = committed.clone();
        let step = Box::new(move |outcome: StepOutcome<'_>| {
            told.set(matches!(outcome, StepOutcome::Committed(..)));
            NextStep::Done
        });
        self.on_commit(until, OnCommit::Internal(step));
        committed.wait().await
    }

    /// Notes which queues have grown, for [`ParkedPulls::take_woken`] and [`PopInterest::take_grown`].
    pub fn wake_parked(&self) {
        let mut parked = self.parked.borrow_mut();
        let mut interest = self.pop_interest.borrow_mut();
        if interest.is_empty() {
            return self.store.state_mut().take_published(|slot| parked.wake(slot));
        }
        let mut grown = Vec::new();
        self.store.state_mut().take_published(|slot| {
            parked.wake(slot);
            grown.push(slot);
        });
        let state = self.store.state();
        for slot in grown {
            if let Some((topic, queue_id)) = state.place_of(slot) {
                interest.grew(topic, queue_id);
            }
        }
    }

    /// Wakes retention when a new segment was taken from the disk: fast producers fill a small one within a second.
    pub fn look_at_room(&self) {
        let room_end = self.store.state().log.room_end();
        if self.room_end.replace(room_end) != room_end {
            self.retention_wanted.raise();
        }
    }

    /// Has expired segments go now, at any hour of the day.
    pub fn retain_now(&self) {
        self.at_any_hour.set(true);
        self.retention_wanted.raise();
    }

    /// The time by which messages are due, ms.
    pub fn due_time(&self, now: Moment) -> i64 {
        self.due_clock.borrow_mut().now(now)
    }

    /// Wakes who delivers what waits, and who checks half messages, when something is due before what was known.
    pub fn look_at_due(&self) {
        let state = self.store.state();
        let next = state.derived.deferred.next_due();
        if self.next_due.replace(next) != next && next.is_some() {
            self.due_changed.raise();
        }
        let next = state.derived.half_messages.next_look();
        if self.next_half_due.replace(next) != next && next.is_some() {
            self.half_due_changed.raise();
        }
    }

    /// Appends are over; the commit loop ends when all is durable.
    pub fn drain(&self) {
        self.draining.set(true);
        self.store.appended();
    }

    /// Whether appends are over.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Housekeeping: offsets of groups, figures of the store, retention.
    pub fn each_second(&self, now: Moment) {
        self.writing_offsets.set(true);
        self.store.state_mut().write_popped();
        let time = self.due_time(now);
        self.store.state_mut().forget_idle_pops(time);
        self.store.each_second();
        if now.uptime.seconds() % 60 == 0 {
            self.group_pulls.borrow_mut().forget_idle(now.uptime);
        }
        self.retention_wanted.raise();
    }

    /// Writes what groups committed into the log: one entry per tick, so that many offsets make no long piece of work. What
    /// came up to the second's tick is in the log when all that waited then is.
    pub fn tick_group_offsets(&self, now: i64) {
        if self.writing_offsets.get() {
            self.writing_offsets.set(self.append_if_taken(now));
        }
    }

    /// Writes all that groups committed into the log, as far as that takes it: for the end.
    pub fn append_all_group_offsets(&self, now: i64) {
        self.store.state_mut().write_popped();
        while self.append_if_taken(now) {}
    }

    /// Whether there is more to write, and the log takes it.
    fn append_if_taken(&self, now: i64) -> bool {
        self.append_group_offsets(now).unwrap_or_else(|refused| {
            tracing::debug!(shard = self.number, %refused, "offsets of groups wait for the log");
            false
        })
    }

    /// Writes some of what groups committed into the log, as much as one entry holds. Whether there is more to write.
    pub fn append_group_offsets(&self, now: i64) -> Result<bool, Refused> {
        if self.store.state_mut().append_group_offsets(now)?.is_some() {
            self.store.appended();
        }
        Ok(self.store.state().has_unwritten_offsets())
    }

    /// Drops the queues of a topic that was deleted, and offsets of groups on it. What is not here is no error. Pulls that
    /// wait for it run again, and find nothing.
    pub fn remove_topic(&self, topic: &str, now: i64) -> Result<(), Refused> {
        self.admission_cache.borrow_mut().clear();
        self.group_pulls.borrow_mut().forget_topic(topic);
        self.pop_interest.borrow_mut().changed(topic);
        let slots = self.store.state().slots_of(topic);
        if self.store.state_mut().remove_topic(topic, now)?.is_some() {
            self.store.appended();
        }
        self.wake(slots);
        Ok(())
    }

    /// Runs the pulls and pops again that wait for these queues.
    pub fn wake(&self, slots: impl IntoIterator<Item = QueueSlot>) {
        let (mut parked, state) = (self.parked.borrow_mut(), self.store.state());
        let mut interest = self.pop_interest.borrow_mut();
        for slot in slots {
            parked.wake(slot);
            if let Some((topic, queue_id)) = state.place_of(slot) {
                interest.grew(topic, queue_id);
            }
        }
        self.many_woken.raise();
    }

    /// Has pops look again that wait for messages of a topic.
    pub fn wake_pops(&self, topic: &str) {
        self.pop_interest.borrow_mut().changed(topic);
        self.many_woken.raise();
    }

    /// Drops the offsets of a group that was deleted. What is not here is no error.
    pub fn remove_group(&self, group: &str, now: i64) -> Result<(), Refused> {
        self.group_pulls.borrow_mut().forget_group(group);
        if self.store.state_mut().remove_group(group, now)?.is_some() {
            self.store.appended();
        }
        Ok(())
    }
}
