//! Who of a group consumes which queue in order: LOCK_BATCH_MQ (41), UNLOCK_BATCH_MQ (42).
//!
//! What always holds: a queue has one holder in a group. Another one gets it only when the holder has released it, or can no
//! longer believe that it holds it: a client goes on for 30 s after the last answer, also without a connection. Who holds a
//! queue is durable before it is answered, so that this holds over a restart, too; that a holder still does is not, so
//! after a start each has its time once more. Who was refused a queue hears when it becomes free, at most once a second for
//! each group. Source: Apache RocketMQ 4.9.8, `RebalanceLockManager`, `ProcessQueue`; Java's broker forgets locks when it
//! ends, and keeps those of a dead client for 60 s.

use super::{
    change,
    metadata::{MetadataError, check_unsaved},
    names,
};
use crate::table_memory::TableMemory;
use proto::body::{DataVersion, LockBatchRequest, LockedQueues, MessageQueue, QueueLockTable};
use remoting::ConnectionId;
use runtime::{Millis, RateLimit, Uptime};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

/// A lock ends this long after its last refresh. Clients refresh every 20 s.
const LEASE_MS: Millis = 60_000;
/// The same when the holder has no connection: the 30 s of clients, and the second that they wait for the answer.
const LEASE_UNCONNECTED_MS: Millis = 31_000;
/// A group hears of queues that have become free no more often.
const HINT_PAUSE_MS: Millis = 1_000;
/// Locks of one group; a request for more is refused.
const GROUP_LOCKS_MAX: usize = 65_536;
/// What all locks may take up: their file can be read again.
const LOCKS_BYTES_MAX: usize = 64 << 20;

/// Of a lock, its topic's name aside, which stands in the file for each client.
const LOCK_BYTES: usize = 160;
/// Of a topic with locks in a group.
const TOPIC_BYTES: usize = 768;
/// Of a client with locks in a group, its id aside, of which a byte may become six in JSON, and a bracket or comma is taken for
/// a value by who reads the file.
const CLIENT_BYTES: usize = 192;
const CLIENT_ID_TIMES: usize = 6;
const BRACKET_BYTES: usize = 640;
/// Of a group with locks.
const GROUP_BYTES: usize = 1_024;

/// All locks.
#[derive(Debug, Default)]
pub struct QueueLocks {
    groups: BTreeMap<Arc<str>, Rc<GroupLocks>>,
    /// Groups in which a client with locks speaks through the connection.
    by_connection: BTreeMap<ConnectionId, BTreeSet<Arc<str>>>,
    /// When to look at a group again: [`GroupLocks::look`] of each.
    looks: BTreeSet<(Uptime, Arc<str>)>,
    /// Changes of holders, as the journal keeps them.
    changes: Vec<Vec<u8>>,
    memory: Rc<TableMemory>,
    /// What all of it takes up.
    bytes: usize,
    /// `orderlyReleaseOnClose`.
    release_on_close: bool,
    /// Changes of holders so far, over all starts.
    counter: i64,
    /// Requests of which something was left out.
    left_out: RateLimit,
}

/// The locks of a group.
#[derive(Clone, Debug, Default)]
struct GroupLocks {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, Lock>>,
    clients: BTreeMap<Arc<str>, Client>,
    /// A queue that somebody was refused has become free.
    hint: bool,
    /// The last time that members heard of that.
    hinted: Option<Uptime>,
    /// When to look again: a queue that somebody was refused may be free then.
    look: Option<Uptime>,
}

#[derive(Clone, Debug)]
struct Lock {
    client: Arc<str>,
    /// [`Uptime::MIN`] until [`QueueLocks::started`].
    refreshed: Uptime,
    /// Somebody else was refused it.
    wanted: bool,
}

/// Who has locks in a group.
#[derive(Clone, Copy, Debug)]
struct Client {
    /// Where it spoke last; `None` when that has ended.
    connection: Option<ConnectionId>,
    locks: usize,
}

impl GroupLocks {
    fn lock(&self, topic: &str, queue: i32) -> Option<&Lock> {
        self.topics.get(topic)?.get(&queue)
    }

    fn lease_end(&self, lock: &Lock) -> Uptime {
        let connected = self.clients.get(&lock.client).is_some_and(|it| it.connection.is_some());
        lock.refreshed + if connected { LEASE_MS } else { LEASE_UNCONNECTED_MS }
    }

    /// Topic, queue and lock.
    fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &Lock)> {
        let topics = self.topics.iter();
        topics.flat_map(|(topic, locks)| locks.iter().map(move |(id, lock)| (topic, *id, lock)))
    }

    fn count(&self) -> usize {
        self.clients.values().map(|client| client.locks).sum()
    }

    /// Queues of these locks by client, as files keep them.
    fn by_client<'a>(
        group: &str,
        locks: impl Iterator<Item = (&'a str, i32, &'a str)>,
    ) -> Vec<LockedQueues> {
        let mut clients: BTreeMap<&str, BTreeMap<String, Vec<i32>>> = BTreeMap::new();
        for (topic, queue, client) in locks {
            let topics = clients.entry(client).or_default();
            match topics.get_mut(topic) {
                Some(queues) => queues.push(queue),
                None => drop(topics.insert(topic.to_owned(), vec![queue])),
            }
        }
        let consumer_group = || group.to_owned();
        let entry = |(client, queues): (&str, _)| LockedQueues {
            client_id: client.to_owned(),
            consumer_group: consumer_group(),
            queues,
        };
        clients.into_iter().map(entry).collect()
    }
}

impl QueueLocks {
    /// No locks, whose memory counts in `memory`.
    pub(super) fn new(memory: Rc<TableMemory>, release_on_close: bool) -> QueueLocks {
        QueueLocks { memory, release_on_close, ..QueueLocks::default() }
    }

    /// Whether queues are free from now on as soon as the connection of their holder ends.
    pub(super) fn release_on_close(&mut self, release_on_close: bool) {
        self.release_on_close = release_on_close;
    }

    /// Locks queues for a client, or refreshes its locks. Returns those of them that it holds now.
    pub(super) fn lock(
        &mut self,
        now: Uptime,
        connection: ConnectionId,
        request: &LockBatchRequest,
    ) -> Result<Vec<MessageQueue>, MetadataError> {
        let (group, client) = (request.consumer_group.as_str(), request.client_id.as_str());
        names::check_group(group)?;
        names::check_client(client)?;
        let asked: BTreeSet<&MessageQueue> = request.mq_set.iter().collect();
        // What it holds it keeps, whatever becomes of the rest: it asks for all at once.
        let (own, others): (Vec<_>, Vec<_>) = asked.into_iter().partition(|queue| {
            let holder = self.holder(group, &queue.topic, queue.queue_id);
            holder.is_some_and(|(holder, _)| &*holder == client)
        });
        for queue in &own {
            self.refresh(group, &queue.topic, queue.queue_id, now);
        }
        let taken = match self.admit(now, request, &others) {
            Ok(()) => self.take_free(now, request, others),
            Err(refused) if own.is_empty() => return Err(refused),
            Err(refused) => {
                if let Some(held_back) = self.left_out.note() {
                    tracing::warn!(%refused, group, client, held_back, "queues were not locked");
                }
                Vec::new()
            }
        };
        if !own.is_empty() || !taken.is_empty() {
            self.speaks_through(group, client, connection);
        }
        let mut held: Vec<MessageQueue> = own.into_iter().chain(taken).cloned().collect();
        held.sort_unstable();
        Ok(held)
    }

    /// Gives a client those of the queues, of which it holds none, that are free.
    fn take_free<'a>(
        &mut self,
        now: Uptime,
        request: &LockBatchRequest,
        queues: Vec<&'a MessageQueue>,
    ) -> Vec<&'a MessageQueue> {
        let (group, client) = (request.consumer_group.as_str(), request.client_id.as_str());
        let mut taken = Vec::new();
        for queue in queues {
            match self.holder(group, &queue.topic, queue.queue_id) {
                Some((_, lease_end)) if lease_end > now => {
                    self.refuse(group, &queue.topic, queue.queue_id, lease_end);
                }
                former => {
                    if former.is_some() {
                        self.remove(group, &queue.topic, queue.queue_id);
                    }
                    self.insert(group, &queue.topic, queue.queue_id, client, now);
                    taken.push(queue);
                }
            }
        }
        let queues: Vec<(&str, i32)> =
            taken.iter().map(|queue| (queue.topic.as_str(), queue.queue_id)).collect();
        self.record(change::queues_locked, group, client, &queues);
        taken
    }

    /// Releases queues that the client holds; others are passed over.
    pub(super) fn unlock(&mut self, now: Uptime, request: &LockBatchRequest) {
        let (group, client) = (request.consumer_group.as_str(), request.client_id.as_str());
        let asked: BTreeSet<(&str, i32)> =
            request.mq_set.iter().map(|queue| (queue.topic.as_str(), queue.queue_id)).collect();
        let held = |topic: &str, queue: i32| {
            self.holder(group, topic, queue).is_some_and(|(holder, _)| &*holder == client)
        };
        let held: Vec<_> = asked.into_iter().filter(|(topic, queue)| held(topic, *queue)).collect();
        self.release(now, group, client, &held);
    }

    /// A client has left its group: it holds nothing any more.
    pub(super) fn left(&mut self, now: Uptime, group: &str, client: &str) {
        let queues = self.queues_of(group, client);
        let queues: Vec<_> = queues.iter().map(|(topic, queue)| (&**topic, *queue)).collect();
        self.release(now, group, client, &queues);
    }

    /// A connection has ended. Who spoke through it may still consume: its locks end when it can no longer believe in them.
    pub(super) fn connection_closed(&mut self, now: Uptime, connection: ConnectionId) {
        for group in self.by_connection.remove(&connection).unwrap_or_default() {
            let Some(locks) = self.groups.get_mut(&group).map(Rc::make_mut) else { continue };
            let mut silent = BTreeSet::new();
            for (client, it) in &mut locks.clients {
                if it.connection == Some(connection) {
                    it.connection = None;
                    silent.insert(Arc::clone(client));
                }
            }
            if self.release_on_close {
                let its = locks.iter().filter(|(_, _, lock)| silent.contains(&lock.client));
                let its = its.map(|(topic, queue, lock)| (&**topic, queue, &*lock.client));
                let its = GroupLocks::by_client(&group, its);
                self.release_all(now, its);
            } else {
                let wanted = locks.iter().filter(|(_, _, lock)| lock.wanted);
                if let Some(end) = wanted.map(|(_, _, lock)| locks.lease_end(lock)).min() {
                    self.look_at(&group, end);
                }
            }
        }
    }

    /// Whether [`QueueLocks::freed`] has something to do.
    pub(super) fn is_due(&self, now: Uptime) -> bool {
        self.looks.first().is_some_and(|(at, _)| *at <= now)
    }

    /// Groups with queues that somebody was refused and that are free now: their members should try again.
    pub(super) fn freed(&mut self, now: Uptime) -> Vec<Arc<str>> {
        let mut freed = Vec::new();
        while self.is_due(now)
            && let Some((_, group)) = self.looks.pop_first()
        {
            let Some(locks) = self.groups.get_mut(&group).map(Rc::make_mut) else { continue };
            locks.look = None;
            let wanted: Vec<_> = locks
                .iter()
                .filter(|(_, _, lock)| lock.wanted)
                .map(|(topic, queue, lock)| (Arc::clone(topic), queue, locks.lease_end(lock)))
                .collect();
            let mut next = None;
            for (topic, queue, end) in wanted {
                if end > now {
                    next = next.into_iter().chain([end]).min();
                } else if let Some(lock) =
                    locks.topics.get_mut(&topic).and_then(|topic| topic.get_mut(&queue))
                {
                    lock.wanted = false;
                    locks.hint = true;
                }
            }
            let quiet_until = locks.hinted.map(|hinted| hinted + HINT_PAUSE_MS);
            if locks.hint && quiet_until.is_none_or(|until| until <= now) {
                locks.hint = false;
                locks.hinted = Some(now);
                freed.push(Arc::clone(&group));
                next = next.into_iter().chain([now + HINT_PAUSE_MS]).min();
            } else if let Some(until) = quiet_until.filter(|until| *until > now) {
                next = next.into_iter().chain([until]).min();
            } else {
                locks.hinted = None;
            }
            match next {
                Some(next) => self.look_at(&group, next),
                None => self.forget_if_empty(&group),
            }
        }
        freed
    }

    /// About every ten seconds: locks whose time is over are forgotten.
    pub(super) fn expire(&mut self, now: Uptime) {
        let mut over = Vec::new();
        for (group, locks) in &self.groups {
            let ended = locks.iter().filter(|(_, _, lock)| locks.lease_end(lock) <= now);
            let ended = ended.map(|(topic, queue, lock)| (&**topic, queue, &*lock.client));
            over.extend(GroupLocks::by_client(group, ended));
        }
        self.release_all(now, over);
    }

    fn release_all(&mut self, now: Uptime, all: Vec<LockedQueues>) {
        for held in all {
            let queues: Vec<(&str, i32)> = queues_in(&held).collect();
            self.release(now, &held.consumer_group, &held.client_id, &queues);
        }
    }

    /// Merges the content of `queueLocks.json`.
    pub(super) fn load(&mut self, table: &QueueLockTable) {
        for held in &table.locks {
            self.take(held);
        }
        self.counter = table.counter;
    }

    /// Replays a change of the journal, unless the file contained it.
    pub(super) fn replay_locked(&mut self, version: DataVersion, held: &LockedQueues) {
        if self.is_news(version) {
            self.take(held);
        }
    }

    fn is_news(&mut self, version: DataVersion) -> bool {
        let is_news = version.counter > self.counter;
        self.counter = self.counter.max(version.counter);
        is_news
    }

    fn take(&mut self, held: &LockedQueues) {
        let group = held.consumer_group.as_str();
        for (topic, queue) in queues_in(held) {
            self.remove(group, topic, queue);
            self.insert(group, topic, queue, &held.client_id, Uptime::MIN);
        }
    }

    /// The same of a release.
    pub(super) fn replay_unlocked(&mut self, version: DataVersion, held: &LockedQueues) {
        if !self.is_news(version) {
            return;
        }
        let group = held.consumer_group.as_str();
        queues_in(held).for_each(|(topic, queue)| self.remove(group, topic, queue));
        self.forget_if_empty(group);
    }

    /// The broker serves from now on: what was loaded counts as refreshed.
    pub(super) fn started(&mut self, now: Uptime) {
        for locks in self.groups.values_mut().map(Rc::make_mut) {
            let all = locks.topics.values_mut().flat_map(BTreeMap::values_mut);
            all.for_each(|lock| lock.refreshed = now);
        }
    }

    /// Changes since the last call, as the journal keeps them.
    pub(super) fn take_changes(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.changes)
    }

    /// The content of `queueLocks.json`.
    pub(super) fn file(&self) -> QueueLocksFile {
        let groups = self.groups.iter();
        let groups = groups.map(|(name, locks)| (Arc::clone(name), Rc::clone(locks))).collect();
        QueueLocksFile { counter: self.counter, groups }
    }

    /// How many locks there are: for tests.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.groups.values().map(|locks| locks.count()).sum()
    }

    /// Who holds a queue, and until when without a refresh.
    fn holder(&self, group: &str, topic: &str, queue: i32) -> Option<(Arc<str>, Uptime)> {
        let locks = self.groups.get(group)?;
        let lock = locks.lock(topic, queue)?;
        Some((Arc::clone(&lock.client), locks.lease_end(lock)))
    }

    fn queues_of(&self, group: &str, client: &str) -> Vec<(Arc<str>, i32)> {
        let Some(locks) = self.groups.get(group) else { return Vec::new() };
        if !locks.clients.contains_key(client) {
            return Vec::new();
        }
        let held = locks.iter().filter(|(_, _, lock)| &*lock.client == client);
        held.map(|(topic, queue, _)| (Arc::clone(topic), queue)).collect()
    }

    /// Refuses queues, of which the client holds none, that cannot be or that need more than there is room for.
    fn admit(
        &self,
        now: Uptime,
        request: &LockBatchRequest,
        queues: &[&MessageQueue],
    ) -> Result<(), MetadataError> {
        let (group, client) = (request.consumer_group.as_str(), request.client_id.as_str());
        let locks = self.groups.get(group);
        let mut more = locks.map_or(GROUP_BYTES + group.len(), |_| 0);
        if locks.is_none_or(|locks| !locks.clients.contains_key(client)) {
            more += client_bytes(group, client);
        }
        let (mut new_locks, mut taken, mut last) = (0, 0, None);
        for queue in queues {
            let topic = queue.topic.as_str();
            // Queues of a topic stand together.
            if last.replace(topic) != Some(topic) {
                names::check_consumed_topic(topic)?;
                let is_known = locks.is_some_and(|locks| locks.topics.contains_key(topic));
                more += if is_known { 0 } else { TOPIC_BYTES + topic.len() };
            }
            match self.holder(group, topic, queue.queue_id) {
                None => {
                    new_locks += 1;
                    more += LOCK_BYTES + topic.len();
                }
                Some((_, lease_end)) => taken += usize::from(lease_end <= now),
            }
        }
        if new_locks + taken == 0 {
            return Ok(());
        }
        check_unsaved(&self.memory)?;
        let name = || format!("{new_locks} queue locks of {more} bytes for the group {group}");
        let count = locks.map_or(0, |locks| locks.count());
        for (there, more, limit, unit) in [
            (count, new_locks, GROUP_LOCKS_MAX, "locks of the group"),
            (self.bytes, more, LOCKS_BYTES_MAX, "bytes of all locks"),
        ] {
            if there + more > limit {
                return Err(MetadataError::LocksFull { name: name(), there, limit, unit });
            }
        }
        if !self.memory.has_room(more) {
            let (bytes, limit) = self.memory.level();
            return Err(MetadataError::NoRoom {
                what: "queue locks",
                name: name(),
                more,
                bytes,
                limit,
            });
        }
        Ok(())
    }

    fn refresh(&mut self, group: &str, topic: &str, queue: i32, now: Uptime) {
        self.with_lock(group, topic, queue, |lock| lock.refreshed = now);
    }

    fn refuse(&mut self, group: &str, topic: &str, queue: i32, lease_end: Uptime) {
        self.with_lock(group, topic, queue, |lock| lock.wanted = true);
        self.look_at(group, lease_end);
    }

    fn with_lock(&mut self, group: &str, topic: &str, queue: i32, change: impl FnOnce(&mut Lock)) {
        let locks = self.groups.get_mut(group).map(Rc::make_mut);
        let topic = locks.and_then(|locks| locks.topics.get_mut(topic));
        if let Some(lock) = topic.and_then(|topic| topic.get_mut(&queue)) {
            change(lock);
        }
    }

    /// The client's locks live as long as it speaks through this connection.
    fn speaks_through(&mut self, group: &str, client: &str, connection: ConnectionId) {
        let Some((name, _)) = self.groups.get_key_value(group) else { return };
        let name = Arc::clone(name);
        let Some(locks) = self.groups.get_mut(group).map(Rc::make_mut) else { return };
        let Some(held) = locks.clients.get_mut(client) else { return };
        let before = held.connection.replace(connection);
        if before != Some(connection) {
            self.forget_connection(group, before);
            self.by_connection.entry(connection).or_default().insert(name);
        }
    }

    /// A client speaks through this connection no more, or has no locks any more.
    fn forget_connection(&mut self, group: &str, connection: Option<ConnectionId>) {
        let Some(connection) = connection else { return };
        let others = self.groups.get(group).is_some_and(|locks| {
            locks.clients.values().any(|client| client.connection == Some(connection))
        });
        if others {
            return;
        }
        if let Some(groups) = self.by_connection.get_mut(&connection) {
            groups.remove(group);
            if groups.is_empty() {
                self.by_connection.remove(&connection);
            }
        }
    }

    /// A queue that nobody holds gets a holder.
    fn insert(&mut self, group: &str, topic: &str, queue: i32, client: &str, now: Uptime) {
        let mut bytes = LOCK_BYTES + topic.len();
        if !self.groups.contains_key(group) {
            bytes += GROUP_BYTES + group.len();
            self.groups.insert(Arc::from(group), Rc::default());
        }
        let Some(locks) = self.groups.get_mut(group).map(Rc::make_mut) else { return };
        if !locks.clients.contains_key(client) {
            bytes += client_bytes(group, client);
            locks.clients.insert(Arc::from(client), Client { connection: None, locks: 0 });
        }
        if !locks.topics.contains_key(topic) {
            bytes += TOPIC_BYTES + topic.len();
            locks.topics.insert(Arc::from(topic), BTreeMap::new());
        }
        let known = locks.clients.get_key_value(client);
        let client = known.map_or_else(|| Arc::from(client), |(name, _)| Arc::clone(name));
        if let Some(held) = locks.clients.get_mut(&client) {
            held.locks += 1;
        }
        let lock = Lock { client, refreshed: now, wanted: false };
        let before = locks.topics.get_mut(topic).and_then(|topic| topic.insert(queue, lock));
        assert!(before.is_none(), "nobody held it");
        self.memory.replace(0, bytes);
        self.bytes += bytes;
    }

    /// A queue has no holder any more. The group stays, even if that was its last one: see [`QueueLocks::forget_if_empty`].
    fn remove(&mut self, group: &str, topic: &str, queue: i32) {
        let Some(locks) = self.groups.get_mut(group).map(Rc::make_mut) else { return };
        let Some(queues) = locks.topics.get_mut(topic) else { return };
        let Some(lock) = queues.remove(&queue) else { return };
        let mut bytes = LOCK_BYTES + topic.len();
        if queues.is_empty() {
            locks.topics.remove(topic);
            bytes += TOPIC_BYTES + topic.len();
        }
        locks.hint |= lock.wanted;
        let mut silent = None;
        if let Some(client) = locks.clients.get_mut(&lock.client) {
            client.locks -= 1;
            if client.locks == 0 {
                silent = client.connection;
                locks.clients.remove(&lock.client);
                bytes += client_bytes(group, &lock.client);
            }
        }
        self.memory.replace(bytes, 0);
        self.bytes -= bytes;
        self.forget_connection(group, silent);
    }

    /// These queues of a client are free, and who was refused one of them hears it.
    fn release(&mut self, now: Uptime, group: &str, client: &str, queues: &[(&str, i32)]) {
        if queues.is_empty() {
            return;
        }
        queues.iter().for_each(|(topic, queue)| self.remove(group, topic, *queue));
        self.record(change::queues_unlocked, group, client, queues);
        let Some(locks) = self.groups.get(group) else { return };
        if locks.hint {
            self.look_at(group, now);
        } else {
            self.forget_if_empty(group);
        }
    }

    /// A group without locks takes up nothing, unless its members are still to hear something.
    fn forget_if_empty(&mut self, group: &str) {
        let is_over = |locks: &Rc<GroupLocks>| {
            locks.clients.is_empty() && !locks.hint && locks.hinted.is_none()
        };
        if !self.groups.get(group).is_some_and(is_over) {
            return;
        }
        if let Some((name, locks)) = self.groups.remove_entry(group)
            && let Some(look) = locks.look
        {
            self.looks.remove(&(look, name));
        }
        let bytes = GROUP_BYTES + group.len();
        self.memory.replace(bytes, 0);
        self.bytes -= bytes;
    }

    /// Looks at a group then, or earlier if that was planned.
    fn look_at(&mut self, group: &str, at: Uptime) {
        let Some((name, locks)) = self.groups.get_key_value(group) else { return };
        let (name, before) = (Arc::clone(name), locks.look);
        if before.is_some_and(|before| before <= at) {
            return;
        }
        if let Some(locks) = self.groups.get_mut(group) {
            Rc::make_mut(locks).look = Some(at);
        }
        if let Some(before) = before {
            self.looks.remove(&(before, Arc::clone(&name)));
        }
        self.looks.insert((at, name));
    }

    fn record(
        &mut self,
        record: fn(DataVersion, &LockedQueues) -> Vec<u8>,
        group: &str,
        client: &str,
        queues: &[(&str, i32)],
    ) {
        let locks = queues.iter().map(|(topic, queue)| (*topic, *queue, client));
        for held in GroupLocks::by_client(group, locks) {
            self.counter += 1;
            let record = record(DataVersion { timestamp: 0, counter: self.counter }, &held);
            self.memory.changed(&record);
            self.changes.push(record);
        }
    }

    /// Panics when the tables contradict each other. For tests, after each event.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut bytes = 0;
        let mut spoken: BTreeMap<ConnectionId, BTreeSet<Arc<str>>> = BTreeMap::new();
        for (group, locks) in &self.groups {
            bytes += GROUP_BYTES + group.len();
            for (client, it) in &locks.clients {
                bytes += client_bytes(group, client);
                let held = locks.iter().filter(|(_, _, lock)| lock.client == *client).count();
                assert!(it.locks == held && held > 0, "{group} {client}");
                if let Some(connection) = it.connection {
                    spoken.entry(connection).or_default().insert(Arc::clone(group));
                }
            }
            for (topic, queues) in &locks.topics {
                assert!(!queues.is_empty(), "{group} {topic}");
                bytes += TOPIC_BYTES + topic.len() + queues.len() * (LOCK_BYTES + topic.len());
            }
            assert_eq!(locks.iter().count(), locks.count(), "{group}");
            let planned = self.looks.iter().filter(|(_, name)| name == group);
            assert_eq!(planned.map(|(at, _)| *at).next(), locks.look, "{group}");
            let waits = locks.hint || locks.iter().any(|(_, _, lock)| lock.wanted);
            assert!(!waits || locks.look.is_some(), "{group} waits for nothing");
        }
        let looks = self.groups.values().filter(|locks| locks.look.is_some());
        assert_eq!(self.looks.len(), looks.count());
        assert_eq!((self.bytes, &self.by_connection), (bytes, &spoken));
    }
}

/// Topic and number of each queue.
fn queues_in(held: &LockedQueues) -> impl Iterator<Item = (&str, i32)> {
    let topics = held.queues.iter();
    topics.flat_map(|(topic, queues)| queues.iter().map(move |queue| (topic.as_str(), *queue)))
}

fn client_bytes(group: &str, client: &str) -> usize {
    let brackets = client.bytes().filter(|byte| matches!(byte, b'{' | b'[' | b',')).count();
    CLIENT_BYTES + CLIENT_ID_TIMES * client.len() + group.len() + BRACKET_BYTES * brackets
}

/// The content of `queueLocks.json`, to be encoded: locks that change meanwhile do not change it.
pub(super) struct QueueLocksFile {
    counter: i64,
    groups: Vec<(Arc<str>, Rc<GroupLocks>)>,
}

impl QueueLocksFile {
    /// The JSON. `pause` is made between groups.
    pub(super) async fn encode(&self, pause: &impl AsyncFn()) -> Vec<u8> {
        let mut out = format!("{{\"counter\":{},\"locks\":[", self.counter).into_bytes();
        let first = out.len();
        for (group, locks) in &self.groups {
            let all = locks.iter().map(|(topic, queue, lock)| (&**topic, queue, &*lock.client));
            for held in GroupLocks::by_client(group, all) {
                if out.len() > first {
                    out.push(b',');
                }
                held.write(&mut out);
            }
            pause().await;
        }
        out.extend_from_slice(b"]}");
        out
    }
}

#[cfg(test)]
#[path = "queue_locks_tests.rs"]
mod tests;
