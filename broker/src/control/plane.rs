//! `ControlPlane`: the shell around [`Control`], on the control worker. It carries out what that decides.
//!
//! Changes are durable before anybody sees them, many in one write ([`MetadataStore`]): snapshots, registrations and
//! answers show what the disk holds. Who is online is no matter of the disk: subscriptions and notifications go out at once.

use crate::{
    access::AccessControl,
    client_calls::write_to_client,
    cluster_queues::ClusterQueues,
    control::{
        Control, Effects,
        drop_rounds::Drops,
        metadata_store::MetadataStore,
        notifications::Notifications,
        producer_answers::ProducerAnswers,
        table_answer::{TableAnswer, all_groups, all_topics},
        tables::Tables,
        turns::Turns,
        visibility::Visibility,
    },
    error::Refusal,
    limits::Semaphore,
    live_config::LiveConfig,
    mailbox::Notice,
    one_shot::OneShot,
    registration::Registrar,
    slow_log::{self, SlowLog},
    stats::{Rates, Sum},
    traffic::{
        Collection, Traffic,
        days::{Days, local_day},
    },
    wait_times::LastMinute,
    worker::Worker,
};
use proto::{
    body::{SubscriptionGroupConfig, TopicConfig},
    code::request,
};
use remoting::{ConnectionId, SharedBody};
use runtime::{DirectDisk, Moment, RateLimit, Signal, Uptime};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// Heartbeats are looked through for silent clients this often, ms.
const EXPIRE_MS: i64 = 10_000;

/// How many may wait for their turn to be told of all groups.
const CONSUME_STATS_WAITING_MAX: usize = 16;

/// How long a response waits for name servers, ms.
const REGISTER_PATIENCE_MS: i64 = 1_000;

/// The control owner and what it needs.
pub struct ControlPlane {
    /// Topics, groups, members.
    pub control: Rc<RefCell<Control>>,
    /// Where the rules of access control come from.
    pub access: AccessControl,
    /// Registration with name servers.
    pub registrar: RefCell<Option<Registrar>>,
    /// Rates for the runtime information.
    pub rates: RefCell<Rates>,
    /// What was put and got, by topic, group and queue.
    pub traffic: Collection,
    /// Totals of yesterday and today.
    pub days: Cell<Days>,
    /// How long sends of the last minute waited.
    pub last_minute: RefCell<LastMinute>,
    /// The configuration, which may be changed.
    pub live_config: LiveConfig,
    /// When the broker started.
    pub boot: Moment,
    /// The answer to GET_BROKER_RUNTIME_INFO that was made last, and when.
    pub figures: RefCell<Option<(Uptime, SharedBody)>>,
    /// Answers to GET_ALL_TOPIC_CONFIG.
    pub all_topics: TableAnswer<TopicConfig>,
    /// Answers to GET_ALL_SUBSCRIPTIONGROUP_CONFIG.
    pub all_groups: TableAnswer<SubscriptionGroupConfig>,
    /// Answers to GET_ALL_PRODUCER_INFO.
    pub producers: ProducerAnswers,
    /// Answers to GET_BROKER_CONSUME_STATS are made one at a time.
    pub consume_stats_turns: Rc<Semaphore>,
    /// What waits for the time of this worker.
    pub turns: Turns,
    /// Who waits for shards to drop what was deleted.
    pub drops: Drops,
    /// Queues of topics in the whole cluster.
    pub cluster_queues: ClusterQueues,
    /// Changes of topics and groups that took longer than `slowOperationMs`.
    pub slow: SlowLog,
    /// Consumers that asked for their queues by a strategy that is none of ours.
    pub unknown_strategies: RateLimit,
    /// Not here while [`ControlPlane::write_loop`] writes.
    files: RefCell<Option<MetadataStore<DirectDisk>>>,
    /// Who waits for what was decided to be durable, with the changes that are not.
    waiting: RefCell<Vec<OneShot<Result<(), Refusal>>>>,
    /// Changes that are not durable yet.
    unsaved: RefCell<Vec<Vec<u8>>>,
    /// Members that are to hear of changes of their groups.
    notifications: RefCell<Notifications>,
    visibility: RefCell<Visibility>,
    writer_wanted: Signal,
    push_opaque: Cell<i32>,
    last_expire_ms: Cell<Uptime>,
    last_stats: Cell<(Uptime, Sum)>,
}

impl ControlPlane {
    /// A plane with the metadata that was loaded.
    pub fn new(
        mut control: Control,
        files: MetadataStore<DirectDisk>,
        live_config: LiveConfig,
        traffic: Traffic,
        now: Moment,
    ) -> ControlPlane {
        control.started(now.uptime);
        let memory = control.table_memory();
        let (all_topics, all_groups) =
            (all_topics(Rc::clone(memory)), all_groups(Rc::clone(memory)));
        ControlPlane {
            control: Rc::new(RefCell::new(control)),
            access: AccessControl::default(),
            registrar: RefCell::default(),
            rates: RefCell::default(),
            traffic: Collection::new(traffic),
            days: Cell::default(),
            last_minute: RefCell::default(),
            live_config,
            boot: now,
            figures: RefCell::default(),
            all_topics,
            all_groups,
            producers: ProducerAnswers::default(),
            consume_stats_turns: Semaphore::new(1, CONSUME_STATS_WAITING_MAX),
            turns: Turns::default(),
            drops: Drops::default(),
            cluster_queues: ClusterQueues::default(),
            slow: SlowLog::default(),
            unknown_strategies: RateLimit::default(),
            files: RefCell::new(Some(files)),
            waiting: RefCell::default(),
            unsaved: RefCell::default(),
            notifications: RefCell::default(),
            visibility: RefCell::default(),
            writer_wanted: Signal::default(),
            push_opaque: Cell::new(0),
            last_expire_ms: Cell::new(now.uptime),
            last_stats: Cell::new((now.uptime, Sum::default())),
        }
    }

    /// Name servers that do not serve us, with the reason.
    pub fn failing_name_servers(&self) -> Vec<String> {
        self.registrar.borrow().as_ref().map_or(Vec::new(), Registrar::failing)
    }

    /// Has the control owner do something, and carries out what that made necessary.
    pub fn change<T>(&self, worker: &Rc<Worker>, change: impl FnOnce(&mut Control) -> T) -> T {
        let changed = change(&mut self.control.borrow_mut());
        self.apply_effects(worker);
        changed
    }

    /// Carries out what the last calls of the control owner made necessary.
    pub fn apply_effects(&self, worker: &Rc<Worker>) {
        let effects = self.control.borrow_mut().effects();
        let Effects {
            topic_changes,
            group_changes,
            lock_changes,
            mode_changes,
            publish,
            register,
            notify,
            close,
        } = effects;
        if let Some(metadata) = publish {
            let (version, workers) = (metadata.version, worker.executor.count());
            self.visibility.borrow_mut().published(version, workers, Uptime::now());
            worker.broadcast(&Notice::Metadata(metadata));
        }
        let changes = [topic_changes, group_changes, lock_changes, mode_changes];
        if changes.iter().any(|changes| !changes.is_empty()) {
            self.unsaved.borrow_mut().extend(changes.into_iter().flatten());
            self.writer_wanted.raise();
        }
        if register && let Some(registrar) = &*self.registrar.borrow() {
            registrar.changed();
        }
        if !notify.is_empty() {
            let mut notifications = self.notifications.borrow_mut();
            notify.into_iter().for_each(|group| notifications.add(group));
            drop(notifications);
            self.notify_members(worker);
        }
        for connection in close {
            worker.notify(connection.worker(), Notice::CloseConnection(connection));
        }
    }

    /// To be called with each tick of the worker: members that are still to be told go on being told.
    pub fn tick_often(&self, worker: &Rc<Worker>, now: Uptime) {
        self.visibility.borrow_mut().tick(now);
        self.notifications.borrow_mut().refill();
        if self.control.borrow().has_free_queues(now) {
            self.change(worker, |control| control.notify_of_free_queues(now));
        }
        self.notify_members(worker);
    }

    fn notify_members(&self, worker: &Rc<Worker>) {
        loop {
            let control = self.control.borrow();
            let next = self.notifications.borrow_mut().next(control.members());
            drop(control);
            let Some((group, members)) = next else { return };
            let frame = self.consumer_ids_changed(&group);
            members.into_iter().for_each(|member| worker.push(member, &frame));
        }
    }

    /// NOTIFY_CONSUMER_IDS_CHANGED, one-way.
    fn consumer_ids_changed(&self, group: &str) -> Arc<[u8]> {
        self.push_opaque.set(self.push_opaque.get().wrapping_add(1));
        let mut frame = Vec::new();
        let (code, opaque) = (request::NOTIFY_CONSUMER_IDS_CHANGED, self.push_opaque.get());
        let ext = [("consumerGroup", group.into())];
        write_to_client(code, opaque, true, &ext, b"", &mut frame);
        frame.into()
    }

    /// Waits until what was decided so far is on the disk and known to all workers, and may be seen: also a topic that was
    /// made again while shards still dropped what is left of its predecessor.
    pub async fn shown(&self, topic: Option<&str>, group: Option<&str>) -> Result<(), Refusal> {
        loop {
            self.durable().await?;
            let dropping = {
                let control = self.control.borrow();
                topic.is_some_and(|topic| control.is_dropping_topic(topic))
                    || group.is_some_and(|group| control.is_dropping_group(group))
            };
            if !dropping {
                // Bound first: nothing stays borrowed while it is awaited.
                let seen = self.visibility.borrow_mut().wait(Uptime::now());
                seen.wait().await;
                return Ok(());
            }
            self.drops.next_round().await?;
        }
    }

    /// Whether everything that was decided so far is on the disk, and all workers know what is published.
    pub fn is_shown(&self) -> bool {
        self.is_current() && self.visibility.borrow().is_current()
    }

    /// A worker has a snapshot of this version.
    pub fn known(&self, worker: usize, version: u64) {
        self.visibility.borrow_mut().known(worker, version, Uptime::now());
    }

    /// Waits until everything that was decided so far is on the disk.
    pub async fn durable(&self) -> Result<(), Refusal> {
        if self.is_current() {
            return Ok(());
        }
        let written = OneShot::default();
        self.waiting.borrow_mut().push(written.clone());
        self.writer_wanted.raise();
        written.wait().await
    }

    /// Whether everything that was decided so far is on the disk.
    pub fn is_current(&self) -> bool {
        self.unsaved.borrow().is_empty() && self.files.borrow().is_some()
    }

    /// Waits until the name servers know the topics, so that who created one finds its route. Name servers that do not
    /// answer delay it by a second at most; without name servers there is nothing to wait for.
    pub async fn registered(&self) {
        let registrar = self.registrar.borrow().clone();
        if let Some(registrar) = registrar {
            registrar.registered(REGISTER_PATIENCE_MS).await;
        }
    }

    /// Waits until no registration is under way any more that may still name a deleted topic: who deletes it at a name
    /// server next, as tools do, would see it come back.
    pub async fn no_stale_registration(&self) {
        let registrar = self.registrar.borrow().clone();
        if let Some(registrar) = registrar {
            registrar.no_stale_registration(REGISTER_PATIENCE_MS).await;
        }
    }

    /// Makes changes durable as they come, shows them, and wakes who waits for that. Runs until the files are closed.
    /// `pause` is made before a write that failed is tried again.
    pub async fn write_loop(&self, worker: &Rc<Worker>, pause: impl AsyncFn()) {
        self.writer_wanted.raise();
        loop {
            self.writer_wanted.wait().await;
            // What was decided elsewhere than in `change` goes with this write, too.
            self.apply_effects(worker);
            let Some(mut files) = self.files.take() else { return };
            let waiting = self.waiting.take();
            let changes = self.unsaved.take();
            let tables = self.control.borrow().tables();
            let yield_at_times = async || {
                if worker.executor.budget_spent() {
                    worker.executor.yield_now().await;
                }
            };
            let began = Instant::now();
            let written = files.save(&self.control, &changes, yield_at_times).await;
            self.files.replace(Some(files));
            self.tell_slow_write(worker, changes.len(), waiting.len(), began.elapsed());
            match &written {
                Ok(()) => {
                    self.control.borrow().table_memory().saved(&changes);
                    self.show(worker, tables);
                }
                Err(error) => {
                    tracing::error!(%error, "metadata could not be written");
                    // Before what has been decided meanwhile: the journal is in order.
                    self.unsaved.borrow_mut().splice(..0, changes);
                }
            }
            let failed =
                written.as_ref().err().map(|error| Refusal::system_error(error.to_string()));
            for waiter in waiting {
                waiter.set(failed.clone().map_or(Ok(()), Err));
            }
            if !self.waiting.borrow().is_empty() || !self.unsaved.borrow().is_empty() {
                if failed.is_some() {
                    pause().await;
                }
                self.writer_wanted.raise();
            }
        }
    }

    fn tell_slow_write(&self, worker: &Worker, changes: usize, requests: usize, took: Duration) {
        let limit = slow_log::limit(worker.config().slow_operation_ms);
        if limit.is_none_or(|limit| took < limit) {
            return;
        }
        if let Some(shard) = worker.hosted.first() {
            shard.tally.slow(1);
        }
        if let Some(not_told) = self.slow.note(1) {
            tracing::warn!(
                write_ms = took.as_millis(),
                changes,
                requests,
                not_told,
                "slow write of topics, groups and locks: longer than slowOperationMs, and requests waited for it"
            );
        }
    }

    /// These tables are on the disk: all may see them. What is deleted in them is seen no more, so that no message comes
    /// to it any more, and shards may drop it.
    fn show(&self, worker: &Rc<Worker>, tables: Tables) {
        let drops = !tables.deleted.is_empty();
        self.control.borrow_mut().made_durable(tables);
        self.apply_effects(worker);
        if drops {
            self.drops.raise();
        }
    }

    /// What a write that fails does to those who wait: for tests, whose disks are well.
    #[cfg(test)]
    pub(crate) fn fail_waiting(&self, refusal: &Refusal) {
        self.waiting.take().iter().for_each(|waiter| waiter.set(Err(refusal.clone())));
    }

    /// Writes the files whole, so that the next start has no journal to read. For the end, when nothing is decided any
    /// more.
    pub async fn checkpoint(&self) {
        let Some(mut files) = self.files.take() else { return };
        let changes = self.unsaved.take();
        if let Err(error) = files.close(&self.control, &changes).await {
            tracing::error!(%error, "metadata could not be written at the end");
        }
    }

    /// Whether nothing waits for the files: for the shutdown.
    pub fn is_quiet(&self) -> bool {
        self.is_current() && self.waiting.borrow().is_empty()
    }

    /// A connection, of any worker, has ended.
    pub fn connection_closed(&self, worker: &Rc<Worker>, connection: ConnectionId) {
        let now = Uptime::now();
        self.change(worker, |control| control.connection_closed(now, connection));
    }

    /// Housekeeping.
    pub fn tick(&self, worker: &Rc<Worker>, now: Moment) {
        let Moment { wall, uptime: now } = now;
        if now - self.last_expire_ms.get() >= EXPIRE_MS {
            self.last_expire_ms.set(now);
            self.control.borrow_mut().tick(now);
        }
        self.apply_effects(worker);
        let control = self.control.borrow();
        self.all_topics.tick(&control, now);
        self.all_groups.tick(&control, now);
        self.producers.release();
        drop(control);
        let sum = Sum::of(&worker.totals);
        self.rates.borrow_mut().sample(now, sum);
        let mut days = self.days.get();
        days.note(local_day(wall), self.traffic.tick(now));
        self.days.set(days);
        let waits = worker.totals.iter().map(|totals| &totals.waits);
        self.last_minute.borrow_mut().tick(now, waits);
        let (last_ms, last) = self.last_stats.get();
        let interval_ms = i64::from(worker.config().stats_interval_seconds) * 1000;
        if now - last_ms >= interval_ms {
            self.last_stats.set((now, sum));
            log_stats(now - last_ms, &last, &sum);
        }
    }
}

/// One line when there was traffic.
fn log_stats(elapsed_ms: i64, last: &Sum, now: &Sum) {
    let busy = now.put_messages != last.put_messages
        || now.got_messages != last.got_messages
        || now.refused != last.refused;
    if !busy || elapsed_ms <= 0 {
        return;
    }
    // What happened, not a rate: one message in ten seconds is one, and lines add up.
    tracing::info!(
        seconds = elapsed_ms as f64 / 1000.0,
        put_messages = now.put_messages - last.put_messages,
        put_bytes = now.put_bytes - last.put_bytes,
        got_messages = now.got_messages - last.got_messages,
        got_bytes = now.got_bytes - last.got_bytes,
        refused = now.refused - last.refused,
        inflight_bytes = now.inflight_bytes,
        parked_pulls = now.parked_pulls,
        connections = now.connections,
        "stats"
    );
}
