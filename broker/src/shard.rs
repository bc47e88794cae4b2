//! One executor of the broker: its connections, the shards it hosts, its snapshot of the facts, and, on executor 0, the
//! control owner. Letters between executors and the one tick arrive here.

use crate::{
    cold::Cold,
    config::BrokerConfig,
    control::Meta,
    desk::Desk,
    error::Refusal,
    front::{Front, answer, answer::SendStamp, dispatch, dispatch::Request},
    health,
    letter::{Answer, ConnectionId, ForwardedFrame, Letter, Reply},
    pull, query,
    queues::Queues,
    send,
    stats::Totals,
    survey::Findings,
};
use proto::{command::HeaderArena, record::string_hash};
use runtime::{Executor, Lane};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// Pause of the one tick loop.
const TICK: Duration = Duration::from_millis(50);
/// What a request that is served on another executor counts for besides its own bytes.
const FORWARDED_BYTES: u32 = 16 * 1024;
/// Bytes of the read buffer that all connections of an executor share.
const SCRATCH_BYTES: usize = 256 * 1024;

/// An executor and all that lives on it.
pub struct Shard {
    /// The executor.
    pub executor: Executor<Letter>,
    /// Settings.
    pub config: Arc<BrokerConfig>,
    /// What send answers carry.
    pub stamp: SendStamp,
    /// The entry that each stored message gets, with a separator in front.
    pub cluster_property: String,
    /// Number of shards of the store.
    pub shard_count: u16,
    /// Shards hosted here.
    pub hosted: Vec<Rc<Queues>>,
    /// Snapshot of topics, groups and subscriptions.
    pub meta: RefCell<Arc<Meta>>,
    /// Open connections.
    pub front: RefCell<Front>,
    /// The control owner, on executor 0.
    pub control: Option<Desk>,
    /// Readers of cold data.
    pub cold: Cold,
    /// Queries by key of the connections here.
    pub queries: RefCell<query::Queries>,
    /// Memory that sockets are read into.
    pub scratch: RefCell<Vec<u8>>,
    /// Memory for parsed headers.
    pub arena: RefCell<HeaderArena>,
    /// Memory for hashes of a message's keys.
    pub key_hashes: RefCell<Vec<u32>>,
    /// Counters of all shards.
    pub totals: Arc<[Totals]>,
    /// Nothing more is accepted, read or parked.
    pub stopping: Cell<bool>,
    /// Executor 0: the health that was told last.
    health: RefCell<health::Watch>,
    /// Letters that must arrive and did not fit: offered again with each tick.
    undelivered: RefCell<Vec<(usize, Letter)>>,
}

/// What a shard is made of.
pub struct Parts {
    /// The executor.
    pub executor: Executor<Letter>,
    /// Settings.
    pub config: Arc<BrokerConfig>,
    /// What send answers carry.
    pub stamp: SendStamp,
    /// Number of shards of the store.
    pub shard_count: u16,
    /// Shards hosted here.
    pub hosted: Vec<Rc<Queues>>,
    /// The control owner, on executor 0.
    pub control: Option<Desk>,
    /// Counters of all shards.
    pub totals: Arc<[Totals]>,
}

impl Shard {
    /// Puts the parts together and starts what runs by itself: letters, commit loops, cold readers.
    pub fn start(parts: Parts) -> Rc<Shard> {
        let Parts { executor, config, stamp, shard_count, hosted, control, totals } = parts;
        let front = RefCell::new(Front::new(executor.index()));
        let cold = Cold::new(cold_allowance(&config));
        let cluster_property = crate::properties::cluster_property(&config.broker_cluster_name);
        let shard = Rc::new(Shard {
            executor,
            config,
            stamp,
            cluster_property,
            shard_count,
            hosted,
            meta: RefCell::default(),
            front,
            control,
            cold,
            queries: RefCell::default(),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
            arena: RefCell::default(),
            key_hashes: RefCell::default(),
            totals,
            stopping: Cell::new(false),
            health: RefCell::default(),
            undelivered: RefCell::default(),
        });
        for queues in &shard.hosted {
            queues.settle(&shard);
            queues.start_followers(&shard);
        }
        Cold::start(&shard);
        let receiver = Rc::downgrade(&shard);
        shard.executor.receive(move |from, letter| {
            if let Some(shard) = receiver.upgrade() {
                shard.on_letter(from, letter);
            }
        });
        shard
    }

    /// Shard that owns a queue.
    pub fn owner_of(&self, topic: &str, queue_id: u32) -> u16 {
        owner_of(topic, queue_id, self.shard_count)
    }

    /// Whether the store has this shard.
    pub fn has(&self, shard: u16) -> bool {
        shard < self.shard_count
    }

    /// Executor that hosts a shard.
    pub fn executor_of(&self, shard: u16) -> usize {
        usize::from(shard) % self.executor.count()
    }

    /// The queues of a shard, if it is hosted here.
    pub fn queues(&self, shard: u16) -> Option<&Rc<Queues>> {
        let count = self.executor.count();
        if usize::from(shard) % count != self.executor.index() {
            return None;
        }
        self.hosted.get(usize::from(shard) / count)
    }

    /// Answers a request, wherever its connection lives.
    pub fn answer(&self, reply: Reply, answer: Answer) {
        let home = reply.connection.home();
        if home != self.executor.index() {
            return self.deliver(home, Letter::Answer(reply, answer));
        }
        let outbox = self.front.borrow().get(reply.connection).cloned();
        match outbox {
            Some(outbox) => answer::write_answer(&outbox, &self.stamp, reply, &answer),
            None => spend(reply),
        }
    }

    /// Posts a request. Gives it back when the lane is full: the caller refuses, now.
    pub fn post_request(&self, to: usize, letter: Letter) -> Result<(), Letter> {
        self.executor.post(to, Lane::Request, letter)
    }

    /// Sends a letter that must arrive: answers, and facts, which are idempotent. What does not fit is kept in order
    /// and offered again.
    pub fn deliver(&self, to: usize, letter: Letter) {
        let mut undelivered = self.undelivered.borrow_mut();
        if undelivered.iter().any(|(other, _)| *other == to) {
            return undelivered.push((to, letter));
        }
        // The end of a connection must not overtake its last requests: a pull would be parked, a member remembered for
        // ever so long.
        let lane = if matches!(letter, Letter::Gone(_)) { Lane::Request } else { Lane::Reply };
        if let Err(letter) = self.executor.post(to, lane, letter) {
            undelivered.push((to, letter));
        }
    }

    /// Like [`Shard::deliver`], for letters that may be for this executor.
    pub fn deliver_or_take(self: &Rc<Self>, to: usize, letter: Letter) {
        if to == self.executor.index() {
            self.on_letter(to, letter)
        } else {
            self.deliver(to, letter)
        }
    }

    /// Sends the whole frame of a request to the executor that serves it.
    pub fn forward_frame(&self, to: usize, request: &Request<'_>, mut reply: Reply) {
        if let Some(outbox) = self.front.borrow().get(reply.connection) {
            // Its answer may be large, and is not counted before it is here.
            outbox.charge(FORWARDED_BYTES as usize);
            reply.charge = reply.charge.saturating_add(FORWARDED_BYTES);
        }
        let frame = request.frame.into();
        let forwarded = Box::new(ForwardedFrame { reply, peer: *request.peer, frame });
        if let Err(Letter::Frame(forwarded)) = self.post_request(to, Letter::Frame(forwarded)) {
            self.answer(forwarded.reply, Refusal::lane_full(to).into());
        }
    }

    /// Takes over a snapshot, unless a newer one is here.
    pub fn take_meta(&self, meta: Arc<Meta>) {
        let mut current = self.meta.borrow_mut();
        if meta.version > current.version {
            *current = meta;
        }
    }

    /// Tells all executors, this one included.
    pub fn tell_all(self: &Rc<Self>, letter: impl Fn() -> Letter) {
        for executor in 0..self.executor.count() {
            self.deliver_or_take(executor, letter());
        }
    }

    /// Sends a request of ours to a client, wherever its connection lives.
    pub fn push(&self, connection: ConnectionId, frame: &Arc<[u8]>) {
        if connection.home() != self.executor.index() {
            return self.deliver(connection.home(), Letter::Push(connection, Arc::clone(frame)));
        }
        if let Some(outbox) = self.front.borrow().get(connection)
            && !outbox.is_clogged()
        {
            outbox.write(|out| out.extend_from_slice(frame));
        }
    }

    /// A connection of this executor has ended.
    pub fn connection_gone(self: &Rc<Self>, connection: ConnectionId) {
        self.front.borrow_mut().close(connection);
        self.tell_all(|| Letter::Gone(connection));
    }

    fn on_letter(self: &Rc<Self>, from: usize, letter: Letter) {
        match letter {
            Letter::Frame(forwarded) => dispatch::forwarded(self, *forwarded),
            Letter::Append(op) => match self.queues(op.shard()) {
                Some(queues) => send::run(queues, *op, self.executor.now()),
                None => unreachable!("executors agree on who hosts a shard"),
            },
            Letter::Pull(op) => match self.queues(op.shard) {
                Some(queues) => pull::run(self, queues, *op, self.executor.now()),
                None => unreachable!("executors agree on who hosts a shard"),
            },
            Letter::Answer(reply, answer) => self.answer(reply, answer),
            Letter::Meta(meta) => self.take_meta(meta),
            Letter::Gone(connection) => self.forget_connection(connection),
            Letter::Push(connection, frame) => self.push(connection, &frame),
            Letter::Close(connection) => {
                if let Some(outbox) = self.front.borrow().get(connection) {
                    outbox.close();
                }
            }
            Letter::TopicRemoved(topic) => self.remove_topic(&topic),
            Letter::GroupRemoved(group) => self.remove_group(&group),
            Letter::Ask(number, question) => {
                let mut findings = Findings::default();
                for queues in &self.hosted {
                    findings.add(&question, queues);
                }
                self.deliver(from, Letter::Told(number, Box::new(findings)));
            }
            Letter::Find(number, query) => query::look(self, from, number, query),
            Letter::Found(number, found) => query::told(self, number, *found),
            Letter::Told(number, findings) => {
                if let Some(desk) = &self.control {
                    desk.told(self, number, *findings);
                }
            }
        }
    }

    fn forget_connection(self: &Rc<Self>, connection: ConnectionId) {
        for queues in &self.hosted {
            let gone = queues.parked.borrow_mut().take_connection(connection);
            for parked in gone {
                spend(parked.op.reply);
            }
        }
        if let Some(desk) = &self.control {
            desk.connection_closed(self, connection);
        }
    }

    fn remove_topic(&self, topic: &str) {
        let now = self.executor.now();
        for queues in &self.hosted {
            queues.passes.borrow_mut().clear();
            match queues.store.core_mut().remove_topic(topic, now) {
                Ok(_) => queues.store.appended(),
                Err(refused) => {
                    tracing::error!(shard = queues.shard, topic, %refused, "queues of a deleted topic stay");
                }
            }
        }
    }

    fn remove_group(&self, group: &str) {
        let now = self.executor.now();
        for queues in &self.hosted {
            match queues.store.core_mut().remove_group(group, now) {
                Ok(_) => queues.store.appended(),
                Err(refused) => {
                    tracing::error!(shard = queues.shard, group, %refused, "offsets of a deleted group stay");
                }
            }
        }
    }

    /// The one loop that watches the time on this executor. Ends when a stop was requested.
    pub async fn tick_loop(self: &Rc<Self>) {
        let mut last_second = 0;
        while !self.executor.stop().requested() {
            self.executor.sleep(TICK).await;
            let now = self.executor.now();
            let second = now / 1000 != last_second;
            last_second = now / 1000;
            self.offer_again();
            self.cold.refill();
            for queues in &self.hosted {
                queues.tick(self, now, second);
                if let Err(error) = queues.store.sync_if_due(now).await {
                    tracing::error!(shard = queues.shard, %error, "the log takes no more messages until restart");
                }
            }
            if second {
                self.each_second(now);
            }
        }
    }

    fn each_second(self: &Rc<Self>, now: i64) {
        self.publish_totals();
        if let Some(shard) = self.poisoned_shard()
            && self.config.exit_on_log_failure
        {
            tracing::error!(shard, "stopping, because a log failed (exitOnLogFailure)");
            self.executor.stop().request();
        }
        let idle_ms = i64::from(self.config.server_channel_max_idle_time_seconds) * 1000;
        for outbox in self.front.borrow().iter() {
            let silent = now - outbox.alive_ms.get();
            if silent > idle_ms {
                tracing::info!(peer = %outbox.addr, silent_ms = silent, "closing a silent connection");
                outbox.close();
            } else if silent > 2_000 {
                outbox.shrink();
            }
        }
        if let Some(desk) = &self.control {
            let logs = self.totals.iter().map(|totals| &totals.log);
            self.health.borrow_mut().note(health::verdict(logs));
            desk.each_second(self, now);
        }
    }

    /// Tells executor 0, and whoever ends the process, how the shards here are.
    pub fn publish_totals(&self) {
        let connections = self.front.borrow().open_count();
        for (index, queues) in self.hosted.iter().enumerate() {
            let Some(totals) = self.totals.get(usize::from(queues.shard)) else { continue };
            let parked = queues.parked.borrow().count();
            let connections = if index == 0 { connections } else { 0 };
            totals.publish(&queues.tally, &queues.store.core(), parked, connections);
            totals.log.publish(&queues.store);
        }
    }

    /// The first shard here whose log is poisoned.
    fn poisoned_shard(&self) -> Option<u16> {
        let poisoned = |queues: &&Rc<Queues>| queues.store.core().log.poisoned().is_some();
        self.hosted.iter().find(poisoned).map(|queues| queues.shard)
    }

    /// Offers again what did not fit, in order per executor.
    pub fn offer_again(&self) {
        let letters = std::mem::take(&mut *self.undelivered.borrow_mut());
        for (to, letter) in letters {
            self.deliver(to, letter);
        }
    }
}

/// Bytes of old messages that an executor may read per tick.
fn cold_allowance(config: &BrokerConfig) -> Option<i64> {
    let per_second = i64::from(config.cold_read_mib_per_second_max) << 20;
    let per_tick = per_second * TICK.as_millis() as i64 / 1000;
    (per_tick > 0).then_some(per_tick)
}

/// A reply whose connection is gone.
pub fn spend(mut reply: Reply) {
    reply.spend();
}

/// Shard that owns a queue, of `count`. Part of the store's format: it must never change.
pub fn owner_of(topic: &str, queue_id: u32, count: u16) -> u16 {
    assert!(count > 0);
    let hash = u64::from(string_hash(topic) as u32);
    ((hash + u64::from(queue_id)) % u64::from(count)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_a_topic_spread_evenly_and_for_ever() {
        for count in [1u16, 2, 3, 8] {
            let mut per_shard = vec![0; usize::from(count)];
            for queue in 0..u32::from(count) * 4 {
                per_shard[usize::from(owner_of("orders", queue, count))] += 1;
            }
            assert!(per_shard.iter().all(|queues| *queues == 4));
        }
        assert_eq!(owner_of("TopicTest", 0, 8), owner_of("TopicTest", 8, 8));
        assert_eq!(owner_of("orders", 3, 2), 0, "part of the format");
    }
}
