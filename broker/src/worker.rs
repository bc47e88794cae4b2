//! One executor of the broker with all that it hosts: connections, shards, a snapshot of the metadata, and, on the
//! control worker, the control plane.
//!
//! Workers share nothing. What one has for another goes through its mailbox ([`CoreMessage`]), which [`crate::inbox`]
//! reads. Requests, sends and pulls take the request lane; when it is full the answer is SYSTEM_BUSY, now. All else must
//! arrive: it takes the response lane (the end of a connection the request lane, behind the connection's requests), and
//! waits in order when it does not fit.
//!
//! A worker that takes nothing for long ([`Worker::first_behind`]) is given less, so that what waits for it is bounded:
//! its requests are not taken, of snapshots it gets the newest one when it goes on, hints to its clients are dropped, no
//! connections are accepted (each ends with a notice), and administrative tasks, which would wait for it, are refused.
//! Responses to what it asked before still gather: as many as pulls may be parked and sends may be in flight.

use crate::{
    access::Access,
    client_calls::ClientCalls,
    cold_reads::ColdReadPool,
    config::{BrokerConfig, MemoryPlan},
    control::{MetadataSnapshot, plane::ControlPlane},
    delay_levels::DelayLevels,
    error::Refusal,
    expressions::Expressions,
    health,
    limits::{HeldBytes, OpenRequest, OpenRequests, Semaphore, Turns},
    mailbox::{CoreMessage, Notice},
    pending_returns::PendingReturns,
    pop_waits::PopWaits,
    properties::AddedProperties,
    refusals::Refusals,
    request::{Request, owner_of},
    response::{Pulled, Responder, Response},
    response_encoder::{self, SendStamp},
    shard::Shard,
    stats::Totals,
};
use proto::command::HeaderArena;
use remoting::{ConnectionId, ConnectionTable, FrameBudget, UnsentBudget, WriteBuffer};
use runtime::{Executor, Lane, Mesh, RateLimit};
use std::{
    cell::{Cell, Ref, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tls::Tls;

/// Pause between two looks for the first snapshot of the metadata.
const METADATA_PAUSE: Duration = Duration::from_millis(100);
/// Number of the worker that has the control plane.
pub const CONTROL_WORKER: usize = 0;
/// Pause of the one tick loop.
pub const TICK: Duration = Duration::from_millis(50);
/// Queries by key of one worker's connections that may be open at once.
const KEY_QUERIES_MAX: usize = 8;
/// Pops of one worker's connections that look at the shards at once; each may bring an answer.
const POP_LOOKS_MAX: usize = 32;
/// Queries by key that may wait for that; more are refused.
const KEY_QUERIES_WAITING_MAX: usize = 1_024;
/// Replies on their way may hold one of so many parts of what connections may leave unread.
const REPLIES_PART: usize = 4;
/// Connections of a worker whose end is seen to before others have their turn.
const ENDINGS_AT_ONCE: usize = 16;
/// Connections that a worker closes within one tick.
const CLOSED_PER_TICK: usize = 128;
/// What a request that is served on another worker counts for besides its own bytes.
const FORWARDED_BYTES: u32 = 16 * 1024;
/// Bytes of the read buffer that all connections of a worker share.
const SCRATCH_BYTES: usize = 256 * 1024;

/// An executor and all that lives on it.
pub struct Worker {
    /// The executor.
    pub executor: Executor,
    /// The lanes to the other workers.
    pub mesh: Mesh<CoreMessage>,
    /// Settings as they are now: replaced when they are changed, never edited.
    settings: RefCell<Arc<BrokerConfig>>,
    /// Certificates, and what ports do with a connection.
    pub tls: Arc<Tls>,
    /// What responses to sends carry.
    pub stamp: RefCell<SendStamp>,
    /// What each stored message gets.
    pub added_properties: RefCell<AddedProperties>,
    /// Number of shards of the store.
    pub shard_count: u16,
    /// Delay levels.
    pub delay_levels: RefCell<DelayLevels>,
    /// Shards hosted here.
    pub hosted: Vec<Rc<Shard>>,
    /// Access control.
    pub access: Access,
    /// Snapshot of topics, groups and subscriptions.
    pub metadata: RefCell<Arc<MetadataSnapshot>>,
    /// Open connections.
    pub connections: RefCell<ConnectionTable<Rc<WriteBuffer>>>,
    /// Connections of all workers together: the kernel does not deal them out evenly.
    pub open_connections: Arc<AtomicUsize>,
    /// Connections whose end is being seen to.
    pub endings: Rc<Semaphore>,
    /// Connections that were closed because they do not read their answers.
    pub unread_closed: RateLimit,
    /// Connections that are to be closed with the next ticks.
    to_close: RefCell<VecDeque<ConnectionId>>,
    /// Memory of frames that have not arrived whole.
    pub frame_budget: Rc<FrameBudget>,
    /// On the control worker.
    pub control: Option<ControlPlane>,
    /// Filters that pulls bring along.
    pub expressions: Expressions,
    /// Readers of cold data.
    pub cold_reads: Rc<ColdReadPool>,
    /// Administrative requests that are open here.
    pub open_requests: OpenRequests,
    /// What replies of request-reply hold that are on their way to their requesters.
    pub replies: Rc<HeldBytes>,
    /// Queries by key of the connections here.
    pub key_queries: Rc<Semaphore>,
    /// Requests of ours to clients of this worker that wait for their response.
    pub client_calls: RefCell<ClientCalls>,
    /// Pops of the connections here that wait for messages.
    pub pop_waits: RefCell<PopWaits>,
    /// Pops that may wait on all workers, by the memory budget.
    pops_in_memory_max: u32,
    /// Pops that look at the shards at once.
    pub pop_looks: Rc<Turns<ConnectionId>>,
    /// Where the next pop of any queue begins.
    pub pop_turn: Cell<u32>,
    /// What this worker waits for from others.
    pub pending_returns: RefCell<PendingReturns>,
    /// Memory that sockets are read into.
    pub scratch: RefCell<Vec<u8>>,
    /// Memory for parsed headers. Borrowed while a request is served: a handler must not serve another one at once.
    pub arena: RefCell<HeaderArena>,
    /// Memory for hashes of a message's keys.
    pub key_hashes: RefCell<Vec<u32>>,
    /// Counters of all shards.
    pub totals: Arc<[Totals]>,
    /// Requests of the connections here that were refused.
    pub refusals: Refusals,
    /// Nothing more is accepted, read or parked.
    pub stopping: Cell<bool>,
    /// Control worker: the health that was logged last.
    pub health: RefCell<health::HealthLog>,
    /// By worker: it was behind when a snapshot was published, and gets the newest one later.
    outdated: RefCell<Vec<bool>>,
}

/// What a worker is made of.
pub struct Parts {
    /// The executor.
    pub executor: Executor,
    /// The lanes to the other workers.
    pub mesh: Mesh<CoreMessage>,
    /// How the memory of the whole broker is divided.
    pub memory: MemoryPlan,
    /// Connections of all workers together.
    pub open_connections: Arc<AtomicUsize>,
    /// Settings.
    pub config: Arc<BrokerConfig>,
    /// Certificates, and what ports do with a connection.
    pub tls: Arc<Tls>,
    /// What responses to sends carry.
    pub stamp: SendStamp,
    /// Number of shards of the store.
    pub shard_count: u16,
    /// Shards hosted here.
    pub hosted: Vec<Rc<Shard>>,
    /// On the control worker.
    pub control: Option<ControlPlane>,
    /// Counters of all shards.
    pub totals: Arc<[Totals]>,
}

impl Worker {
    /// Puts the parts together and starts what runs by itself: work beside the logs, readers of cold data.
    pub fn start(parts: Parts) -> Rc<Worker> {
        let Parts {
            executor,
            mesh,
            memory,
            open_connections,
            config,
            tls,
            stamp,
            shard_count,
            hosted,
            control,
            totals,
        } = parts;
        let share = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX) / executor.count();
        let when_short = usize::try_from(memory.bytes_when_short).unwrap_or(usize::MAX);
        let unsent = UnsentBudget::new(share(memory.unsent_bytes), when_short);
        let replies = HeldBytes::new(share(memory.unsent_bytes) / REPLIES_PART);
        let frame_budget =
            FrameBudget::with_share(share(memory.incomplete_frames_bytes), when_short);
        let connections = RefCell::new(ConnectionTable::with_unsent(executor.index(), unsent));
        let cold_reads = ColdReadPool::new(cold_bytes_per_tick(&config));
        let added_properties = AddedProperties::of(&config);
        for shard in &hosted {
            shard.start_followers(&executor, &config, &totals);
        }
        cold_reads.start(&executor, &hosted);
        let delay_levels = DelayLevels::parse(&config.message_delay_level, shard_count);
        let delay_levels = delay_levels.expect("the configuration was checked");
        let outdated = vec![false; executor.count()];
        let (pops_max, of_group) = pops_max(&config, memory.pops_max, executor.count());
        let pop_waits = PopWaits::new(pops_max, of_group);
        Rc::new(Worker {
            executor,
            mesh,
            open_connections,
            endings: Semaphore::new(ENDINGS_AT_ONCE, usize::MAX),
            unread_closed: RateLimit::default(),
            to_close: RefCell::default(),
            frame_budget,
            settings: RefCell::new(config),
            stamp: RefCell::new(stamp),
            tls,
            added_properties: RefCell::new(added_properties),
            shard_count,
            delay_levels: RefCell::new(delay_levels),
            hosted,
            access: Access::default(),
            metadata: RefCell::default(),
            connections,
            control,
            expressions: Expressions::default(),
            cold_reads,
            open_requests: OpenRequests::default(),
            replies,
            key_queries: Semaphore::new(KEY_QUERIES_MAX, KEY_QUERIES_WAITING_MAX),
            client_calls: RefCell::default(),
            pop_waits: RefCell::new(pop_waits),
            pops_in_memory_max: memory.pops_max,
            pop_looks: Turns::new(POP_LOOKS_MAX),
            pop_turn: Cell::new(0),
            pending_returns: RefCell::default(),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
            arena: RefCell::default(),
            key_hashes: RefCell::default(),
            totals,
            refusals: Refusals::default(),
            stopping: Cell::new(false),
            health: RefCell::default(),
            outdated: RefCell::new(outdated),
        })
    }

    /// Settings as they are now. Not to be kept over an `.await`: they may be others then.
    pub fn config(&self) -> Ref<'_, BrokerConfig> {
        Ref::map(self.settings.borrow(), |settings| &**settings)
    }

    /// Settings as they are now, for who keeps them.
    pub fn shared_config(&self) -> Arc<BrokerConfig> {
        Arc::clone(&self.settings.borrow())
    }

    /// Takes over settings that were changed while the broker runs: what remembers one of them is told.
    pub fn take_config(&self, config: &Arc<BrokerConfig>) {
        self.settings.replace(Arc::clone(config));
        let mut stamp = self.stamp.borrow_mut();
        stamp.region.clone_from(&config.region_id);
        stamp.trace_on = config.trace_on;
        drop(stamp);
        self.added_properties.replace(AddedProperties::of(config));
        // Whoever changed it has read it.
        if let Ok(levels) = DelayLevels::parse(&config.message_delay_level, self.shard_count) {
            self.delay_levels.replace(levels);
        }
        self.cold_reads.allow(cold_bytes_per_tick(config));
        let (pops, of_group) = pops_max(config, self.pops_in_memory_max, self.executor.count());
        self.pop_waits.borrow_mut().limit(pops, of_group);
        for write_buffer in self.connections.borrow().iter() {
            write_buffer.limit_inflight(config.connection_inflight_bytes_max as usize);
        }
        self.hosted.iter().for_each(|shard| shard.take_config(config));
    }

    /// Shard that owns a queue.
    pub fn owner_of(&self, topic: &str, queue_id: u32) -> u16 {
        owner_of(topic, queue_id, self.shard_count)
    }

    /// Whether the store has this shard.
    pub fn has(&self, shard: u16) -> bool {
        shard < self.shard_count
    }

    /// Number of the worker that hosts a shard.
    pub fn host_of(&self, shard: u16) -> usize {
        usize::from(shard) % self.executor.count()
    }

    /// A shard, if it is hosted here.
    pub fn shard(&self, shard: u16) -> Option<&Rc<Shard>> {
        let count = self.executor.count();
        if usize::from(shard) % count != self.executor.index() {
            return None;
        }
        self.hosted.get(usize::from(shard) / count)
    }

    /// A shard that is known to be hosted here.
    pub fn hosted_shard(&self, shard: u16) -> &Rc<Shard> {
        self.shard(shard).expect("workers agree on who hosts a shard")
    }

    /// The control plane. Only for what runs on the control worker.
    pub fn control_plane(&self) -> &ControlPlane {
        self.control.as_ref().expect("control requests are served by the control worker")
    }

    /// Answers a request, wherever its connection lives.
    pub fn respond(&self, responder: Responder, response: Response) {
        let to = responder.connection.worker();
        if to != self.executor.index() {
            return self.send(to, CoreMessage::Respond(responder, response));
        }
        if let Response::Refused(refusal) | Response::SendRefused(refusal) = &response {
            self.refusals.count(refusal);
        }
        let write_buffer = self.connections.borrow().get(responder.connection).cloned();
        match write_buffer {
            Some(write_buffer) => {
                let stamp = self.stamp.borrow();
                response_encoder::encode(&write_buffer, &stamp, responder, &response);
            }
            None => discard(responder),
        }
    }

    /// Answers a pull with `bytes` of messages, which `fill` appends: into the write buffer if the connection is here, which
    /// the caller has asked for room.
    pub fn respond_pulled(
        &self,
        responder: Responder,
        mut pulled: Pulled,
        bytes: usize,
        fill: impl FnOnce(&mut Vec<u8>),
    ) {
        if responder.connection.worker() != self.executor.index() {
            pulled.body.reserve_exact(bytes);
            fill(&mut pulled.body);
            return self.respond(responder, Response::Pulled(Box::new(pulled)));
        }
        let write_buffer = self.connections.borrow().get(responder.connection).cloned();
        match write_buffer {
            Some(write_buffer) => {
                response_encoder::encode_pulled(&write_buffer, responder, &pulled, fill);
            }
            None => discard(responder),
        }
    }

    /// Sends a request to another worker. Gives it back when the lane is full: the caller refuses, now. Pulls are refused
    /// a little sooner: a client has thousands of them in flight, and those of some must not keep all else out.
    pub fn try_send_request(&self, to: usize, message: CoreMessage) -> Result<(), CoreMessage> {
        match message {
            CoreMessage::Pull(_) => self.mesh.try_send_bulk(to, Lane::Request, message),
            _ => self.mesh.try_send(to, Lane::Request, message),
        }
    }

    /// Sends a message that must arrive: responses, and notices, which are idempotent.
    pub fn send(&self, to: usize, message: CoreMessage) {
        // The end of a connection must not overtake its last requests: a pull would be parked, a member remembered for
        // ever so long.
        let lane = match message {
            CoreMessage::Notice(Notice::ConnectionClosed(_)) => Lane::Request,
            _ => Lane::Response,
        };
        self.mesh.send(to, lane, message);
    }

    /// A worker that has taken nothing for so long that it is given no more work.
    pub fn first_behind(&self) -> Option<usize> {
        self.mesh.first_behind()
    }

    /// Room for one more administrative request, unless it would wait for a worker that takes nothing.
    pub fn open_request(&self) -> Result<OpenRequest, Refusal> {
        match self.first_behind() {
            Some(behind) => Err(Refusal::lane_full(behind)),
            None => self.open_requests.try_open(),
        }
    }

    /// To be called with each tick: passes on what waits for other workers, and the newest snapshot to those that were
    /// behind when it was published.
    pub fn catch_up(&self) {
        self.mesh.flush();
        for (to, outdated) in self.outdated.borrow_mut().iter_mut().enumerate() {
            if *outdated && !self.mesh.is_behind(to) {
                *outdated = false;
                let newest = Notice::Metadata(Arc::clone(&self.metadata.borrow()));
                self.send(to, CoreMessage::Notice(newest));
            }
        }
    }

    /// Counts bytes for the connection of a request until it is answered: its response may be large, and is not counted
    /// before it is here. Connections of other workers have counted it there.
    pub fn acquire(&self, responder: &mut Responder, bytes: u32) {
        if let Some(write_buffer) = self.connections.borrow().get(responder.connection) {
            write_buffer.acquire(bytes as usize);
            responder.charge = responder.charge.saturating_add(bytes);
        }
    }

    /// Sends the whole frame of a request to the worker that serves it. `refused` makes the answer when that is busy.
    pub fn forward(
        &self,
        to: usize,
        request: &Request<'_>,
        mut responder: Responder,
        refused: fn(Refusal) -> Response,
    ) {
        self.acquire(&mut responder, FORWARDED_BYTES);
        let kept = Box::new(request.keep(responder));
        let sent = self.try_send_request(to, CoreMessage::Request(kept));
        if let Err(CoreMessage::Request(kept)) = sent {
            self.respond(kept.responder, refused(Refusal::lane_full(to)));
        }
    }

    /// Sends a notice to all workers, this one included.
    pub fn broadcast(self: &Rc<Self>, notice: &Notice) {
        for worker in 0..self.executor.count() {
            self.notify(worker, notice.clone());
        }
    }

    /// Sends a notice to a worker, which may be this one.
    pub fn notify(self: &Rc<Self>, to: usize, notice: Notice) {
        if to == self.executor.index() {
            return self.on_notice(notice);
        }
        let is_snapshot = matches!(notice, Notice::Metadata(_));
        if is_snapshot && (self.mesh.is_behind(to) || self.outdated.borrow()[to]) {
            self.outdated.borrow_mut()[to] = true;
            return;
        }
        self.send(to, CoreMessage::Notice(notice));
    }

    /// Does what a notice asks for.
    pub fn on_notice(self: &Rc<Self>, notice: Notice) {
        match notice {
            Notice::Metadata(metadata) => {
                let (worker, version) = (self.executor.index(), metadata.version);
                self.replace_metadata(metadata);
                self.notify(CONTROL_WORKER, Notice::MetadataKnown { worker, version });
            }
            Notice::MetadataKnown { worker, version } => {
                self.control_plane().known(worker, version);
            }
            Notice::ConnectionClosed(connection) => self.forget_connection(connection),
            Notice::CloseConnection(connection) => self.close_soon(connection),
            Notice::PopGrew(topic, queue_id) => self.pop_waits.borrow_mut().tell(&topic, queue_id),
        }
    }

    /// Closes a connection of this worker, with one of the next ticks: whoever falls silent does so with many others, and
    /// each costs some system calls.
    pub fn close_soon(&self, connection: ConnectionId) {
        self.to_close.borrow_mut().push_back(connection);
    }

    /// To be called with each tick.
    pub fn close_some(&self) {
        let mut to_close = self.to_close.borrow_mut();
        let count = to_close.len().min(CLOSED_PER_TICK);
        for connection in to_close.drain(..count) {
            if let Some(write_buffer) = self.connections.borrow().get(connection) {
                write_buffer.close();
            }
        }
    }

    /// Takes over a snapshot, unless a newer one is here.
    fn replace_metadata(&self, metadata: Arc<MetadataSnapshot>) {
        let mut current = self.metadata.borrow_mut();
        if metadata.version > current.version {
            *current = metadata;
        }
    }

    /// Sends a request of ours to a client, wherever its connection lives.
    pub fn push(&self, connection: ConnectionId, frame: &Arc<[u8]>) {
        let to = connection.worker();
        if to != self.executor.index() {
            if !self.mesh.is_behind(to) {
                self.send(to, CoreMessage::Push(connection, Arc::clone(frame)));
            }
            return;
        }
        if let Some(write_buffer) = self.connections.borrow().get(connection)
            && !write_buffer.above_high_watermark()
        {
            write_buffer.write(|out| out.extend_from_slice(frame));
        }
    }

    /// Waits for the first snapshot of the metadata: before it every topic would be taken for a deleted one.
    pub async fn first_metadata(&self) {
        while self.metadata.borrow().version == 0 {
            self.executor.sleep(METADATA_PAUSE).await;
        }
    }

    /// Pushes frames to a connection of this worker, as long as it takes answers. Returns how many it got.
    pub fn push_readable(&self, connection: ConnectionId, frames: &[Vec<u8>]) -> usize {
        let connections = self.connections.borrow();
        let Some(write_buffer) = connections.get(connection) else { return 0 };
        let taken = frames.iter().take_while(|frame| write_buffer.takes(frame.len()).is_ok());
        taken.map(|frame| write_buffer.write(|out| out.extend_from_slice(frame))).count()
    }

    /// A connection of this worker has ended.
    pub fn connection_closed(self: &Rc<Self>, connection: ConnectionId) {
        if self.connections.borrow_mut().close(connection).is_some() {
            self.open_connections.fetch_sub(1, Relaxed);
        }
        self.client_calls.borrow_mut().connection_closed(connection);
        self.pop_waits.borrow_mut().connection_closed(connection);
        self.broadcast(&Notice::ConnectionClosed(connection));
    }

    fn forget_connection(self: &Rc<Self>, connection: ConnectionId) {
        for shard in &self.hosted {
            let parked = shard.parked.borrow_mut().take_connection(connection);
            for parked in parked {
                discard(parked.op.responder);
            }
        }
        match &self.control {
            Some(plane) if plane.turns.must_wait(&self.executor) => {
                plane.turns.push_end(connection)
            }
            Some(plane) => plane.connection_closed(self, connection),
            None => {}
        }
    }

    /// Publishes how the shards here are, for the control worker and whoever ends the process.
    pub fn publish_totals(&self) {
        let connections = self.connections.borrow().open_count();
        for (index, shard) in self.hosted.iter().enumerate() {
            let Some(totals) = self.totals.get(usize::from(shard.number)) else { continue };
            let parked = shard.parked.borrow();
            let connections = if index == 0 { connections } else { 0 };
            totals.publish(&shard.tally, &shard.store, &parked, connections);
            let levels = self.delay_levels.borrow();
            totals.delays.publish(&levels, shard.number, &shard.store.state());
        }
    }

    /// The first shard here whose log is poisoned.
    pub fn poisoned_shard(&self) -> Option<u16> {
        let poisoned = |shard: &&Rc<Shard>| shard.store.state().log.poisoned().is_some();
        self.hosted.iter().find(poisoned).map(|shard| shard.number)
    }
}

/// Bytes of old messages that a worker may read per tick.
fn cold_bytes_per_tick(config: &BrokerConfig) -> Option<i64> {
    let per_second = i64::from(config.cold_read_mib_per_second_max) << 20;
    let per_tick = per_second * TICK.as_millis() as i64 / 1000;
    (per_tick > 0).then_some(per_tick)
}

/// Pops that may wait on one of so many workers, and those of a group on a topic.
fn pops_max(config: &BrokerConfig, in_memory_max: u32, workers: usize) -> (usize, usize) {
    let all = config.max_pop_polling_size.min(in_memory_max) as usize;
    (all / workers, config.pop_polling_size as usize)
}

/// A responder whose connection has ended.
pub fn discard(mut responder: Responder) {
    responder.spend();
}
