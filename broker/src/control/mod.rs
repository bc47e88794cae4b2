//! `Control`: topics, groups and members of this broker, held by the control worker. Pure: no I/O, no clock, no tasks.
//!
//! A request function takes `&mut self` and the time and returns its answer. What must happen besides (changes to make
//! durable before answering, a new [`MetadataSnapshot`] for all shards, registrations, notifications) gathers in
//! [`Effects`], which the shell takes after each call. What always holds: an answer that says "created" is sent only
//! after the changes of the same effects are on the disk; snapshots and registrations show the tables that are on the disk
//! ([`Control::made_durable`]); `MetadataSnapshot` versions only grow.

mod attributes;
mod change;
pub mod drop_rounds;
mod groups;
mod lists;
mod member_wishes;
mod members;
mod members_memory;
mod metadata;
pub mod metadata_store;
pub mod names;
mod notifications;
pub mod plane;
pub mod producer_answers;
mod queue_locks;
mod request_modes;
mod shared_table;
mod snapshot;
mod stored_table;
mod subscription;
pub mod table_answer;
mod table_body;
pub mod tables;
mod topics;
pub mod turns;
pub mod visibility;
mod whole_file;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use proto::body::{
    DataVersion, HeartbeatData, LockBatchRequest, MessageQueue, QueueLockTable, RequestModeTable,
    SubscriptionGroupConfig, TopicConfig,
};

pub use change::ChangeError;
pub use groups::Groups;
pub use lists::{LIST_ENTRIES_MAX, ListError};
pub use members::{
    CONNECTION_GROUPS_MAX, Changes, ClientConnection, GROUP_MEMBERS_MAX, GROUP_TOPICS_MAX, Members,
    ProducerPlace, SILENCE_MS_MAX,
};
pub use metadata::{
    GROUPS_MAX, MetadataError, MetadataFileError, PERM_BITS, PERM_INHERIT, PERM_READ, PERM_WRITE,
    QUEUES_MAX, SYS_FLAG_UNIT, SYS_FLAG_UNIT_SUB, TOPICS_MAX,
};
pub use names::CLIENT_ID_BYTES_MAX;
pub use queue_locks::QueueLocks;
pub use request_modes::{AllModes, RequestMode, RequestModes};
pub use shared_table::SharedTable;
pub use snapshot::{MetadataSnapshot, is_readable, is_writable};
pub use subscription::{
    Compiled, GroupSubscriptions, MessageFilter, SQL92, Subscription, SubscriptionError, TAGS_MAX,
    compile, compiled_bytes,
};
pub use topics::{TopicRules, Topics, WantedTopic};

use change::Change;
use tables::{Deleted, Tables};

use crate::{
    config::BrokerConfig,
    table_memory::{TableLimits, TableMemory},
};
use remoting::ConnectionId;
use runtime::{Moment, RateLimit, Uptime};

/// What the shell has to do after a call, in this order: record, publish, answer, register, notify, close. What is recorded
/// is published and registered by the effects that follow its [`Control::made_durable`].
#[derive(Debug, Default)]
pub struct Effects {
    /// Changes of topics, as the journal keeps them: durable before the answer leaves.
    pub topic_changes: Vec<Vec<u8>>,
    /// Changes of groups, the same.
    pub group_changes: Vec<Vec<u8>>,
    /// Changes of who holds which queue, the same.
    pub lock_changes: Vec<Vec<u8>>,
    /// Changes of how groups get messages, the same.
    pub mode_changes: Vec<Vec<u8>>,
    /// A new snapshot for all shards.
    pub publish: Option<Arc<MetadataSnapshot>>,
    /// The change is to be registered with name servers at once; [`Topics::since`] says what it is.
    pub register: bool,
    /// Groups whose members get NOTIFY_CONSUMER_IDS_CHANGED.
    pub notify: Vec<Arc<str>>,
    /// Connections to close: silent for too long.
    pub close: Vec<ConnectionId>,
}

/// What became of [`Control::set_request_mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeSet {
    /// It is set.
    Done,
    /// There is no such topic (code 17).
    NoTopic,
    /// There is no such group, and it may not be created (code 26).
    NoGroup,
}

/// The owner of topics, groups and members.
#[derive(Debug)]
pub struct Control {
    topics: Topics,
    groups: Groups,
    members: Members,
    queue_locks: QueueLocks,
    request_modes: RequestModes,
    /// What topics and groups take up.
    table_memory: Rc<TableMemory>,
    /// `brokerPermission`; what is in force is [`Control::broker_permission`].
    broker_permission: i32,
    /// Since when the broker is being drained.
    draining_since: Option<i64>,
    auto_create_groups: bool,
    notify_enabled: bool,
    /// `enablePropertyFilter`.
    property_filter: bool,
    published: Arc<MetadataSnapshot>,
    /// What the disk holds: snapshots and registrations show no more.
    durable: Tables,
    /// Version up to which a registration was asked for.
    registered: DataVersion,
    notify: Vec<Arc<str>>,
    close: Vec<ConnectionId>,
    /// Heartbeats of which something was left out.
    left_out: RateLimit,
}

impl Control {
    /// A broker's metadata at start, before its files are loaded.
    pub fn new(config: &BrokerConfig, now: i64) -> Control {
        let rules = TopicRules::of(config);
        let memory = Rc::new(TableMemory::default());
        let auto_create_groups = config.auto_create_subscription_group;
        let mut control = Control {
            topics: Topics::at_boot(rules, Rc::clone(&memory), now),
            groups: Groups::at_boot(auto_create_groups, Rc::clone(&memory), now),
            queue_locks: QueueLocks::new(Rc::clone(&memory), config.orderly_release_on_close),
            request_modes: RequestModes::new(Rc::clone(&memory)),
            table_memory: memory,
            durable: Tables::default(),
            members: Members::default(),
            broker_permission: config.broker_permission,
            draining_since: None,
            auto_create_groups: config.auto_create_subscription_group,
            notify_enabled: config.notify_consumer_ids_changed_enable,
            property_filter: config.enable_property_filter,
            published: Arc::new(MetadataSnapshot::default()),
            registered: DataVersion::default(),
            notify: Vec::new(),
            close: Vec::new(),
            left_out: RateLimit::default(),
        };
        // Every start begins with these, so they need no disk.
        control.durable = control.tables();
        control
    }

    /// Merges the content of `topics.json`, at start.
    pub fn load_topics(&mut self, json: &[u8]) -> Result<(), MetadataFileError> {
        self.topics.load(json)?;
        self.durable = self.tables();
        Ok(())
    }

    /// Merges the content of `subscriptionGroup.json`, at start.
    pub fn load_groups(&mut self, json: &[u8]) -> Result<(), MetadataFileError> {
        self.groups.load(json)?;
        self.durable = self.tables();
        Ok(())
    }

    /// Merges the content of `queueLocks.json`, at start.
    pub fn load_queue_locks(&mut self, json: &[u8]) -> Result<(), MetadataFileError> {
        let table = QueueLockTable::read(json)
            .map_err(|cause| MetadataFileError { file: metadata_store::QUEUE_LOCKS, cause })?;
        self.queue_locks.load(&table);
        Ok(())
    }

    /// Merges the content of `messageRequestMode.json`, at start.
    pub fn load_request_modes(&mut self, json: &[u8]) -> Result<(), MetadataFileError> {
        let table = RequestModeTable::read(json)
            .map_err(|cause| MetadataFileError { file: metadata_store::REQUEST_MODES, cause })?;
        self.request_modes.load(&table);
        Ok(())
    }

    /// Replays a change of the journal over what was loaded, at start. [`Control::loaded`] ends that.
    pub fn replay(&mut self, record: &[u8]) -> Result<(), ChangeError> {
        match change::read(record)? {
            Change::Topics(version, what) => self.topics.replay(version, what),
            Change::Groups(version, what) => self.groups.replay(version, what),
            Change::Locked(version, held) => self.queue_locks.replay_locked(version, &held),
            Change::Unlocked(version, held) => self.queue_locks.replay_unlocked(version, &held),
            Change::ModeSet(version, mode) => self.request_modes.replay_set(version, &mode),
            Change::TopicModesRemoved(version, topic) => {
                self.request_modes.replay_topic_removed(version, &topic);
            }
            Change::GroupModesRemoved(version, group) => {
                self.request_modes.replay_group_removed(version, &group);
            }
        }
        Ok(())
    }

    /// Everything is loaded and replayed: it came from the disk.
    pub fn loaded(&mut self) {
        let (topics, groups) = (&self.topics, &self.groups);
        let has_topic = |name: &str| topics.get(name).is_some();
        let has_group = |name: &str| groups.get(name).is_some();
        let without = self.request_modes.retain(has_topic, has_group);
        if without > 0 {
            tracing::warn!(without, "request modes go: their topics or groups are not there");
        }
        self.durable = self.tables();
    }

    /// The broker serves from now on: who held queues before may still consume them.
    pub fn started(&mut self, now: Uptime) {
        self.queue_locks.started(now);
    }

    /// Both tables as they are now, without what is being dropped: for who makes them durable.
    pub fn tables(&self) -> Tables {
        Tables {
            topics: self.topics.shown(),
            groups: self.groups.shown(),
            version: self.topics.version(),
            announced: self.topics.announced(),
            deleted: Deleted {
                topics: self.topics.deleted_names(),
                groups: self.groups.deleted_names(),
            },
        }
    }

    /// These tables are on the disk now: they may be seen.
    pub fn made_durable(&mut self, tables: Tables) {
        self.durable = tables;
    }

    /// What the disk holds, and may be seen.
    pub fn durable(&self) -> &Tables {
        &self.durable
    }

    /// Whether a shard may still hold something of a topic of this name that was deleted.
    pub fn is_dropping_topic(&self, topic: &str) -> bool {
        self.topics.deleted().contains_key(topic) || self.durable.deleted.topics.contains(topic)
    }

    /// The same of a group.
    pub fn is_dropping_group(&self, group: &str) -> bool {
        self.groups.deleted().contains_key(group) || self.durable.deleted.groups.contains(group)
    }

    /// No shard holds anything any more that was there when these were deleted.
    pub fn dropped(&mut self, now: i64, deleted: &Deleted) {
        deleted.topics.iter().for_each(|name| self.topics.dropped(name, now));
        deleted.groups.iter().for_each(|name| self.groups.dropped(name, now));
    }

    /// Takes in a topic that only the store knows, unless it is known after all.
    pub fn adopt_topic(
        &mut self,
        now: i64,
        name: &str,
        queues: i32,
    ) -> Result<bool, MetadataError> {
        if self.topics.get(name).is_some() || self.topics.deleted().contains_key(name) {
            return Ok(false);
        }
        self.topics.adopt(name, queues, now).map(|()| true)
    }

    /// The content of `topics.json`.
    pub fn topics_json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        self.topics.to_table().write(&mut json);
        json
    }

    /// The content of `subscriptionGroup.json`.
    pub fn groups_json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        self.groups.to_table().write(&mut json);
        json
    }

    /// What has become necessary since the last call. Cheap when nothing has.
    pub fn effects(&mut self) -> Effects {
        let announced = self.durable.announced;
        Effects {
            topic_changes: self.topics.take_changes(),
            group_changes: self.groups.take_changes(),
            lock_changes: self.queue_locks.take_changes(),
            mode_changes: self.request_modes.take_changes(),
            publish: self.publish(),
            register: std::mem::replace(&mut self.registered, announced) != announced,
            notify: std::mem::take(&mut self.notify),
            close: std::mem::take(&mut self.close),
        }
    }

    /// [`Control::effects`], after a write of everything: for tests.
    #[cfg(test)]
    pub(crate) fn saved_effects(&mut self) -> Effects {
        let before = self.effects();
        self.made_durable(self.tables());
        let after = self.effects();
        Effects {
            publish: after.publish.or(before.publish),
            register: before.register || after.register,
            ..before
        }
    }

    /// No topic, queue or group is accepted from now on that does not fit.
    pub fn limit_tables(&mut self, limits: TableLimits) {
        self.table_memory.limit(limits);
    }

    /// What topics and groups take up.
    pub fn table_memory(&self) -> &Rc<TableMemory> {
        &self.table_memory
    }

    /// Members and what they subscribe take up no more than this from now on.
    pub fn limit_members(&mut self, bytes_max: usize) {
        self.members.limit_memory(bytes_max);
    }

    /// The last published snapshot.
    pub fn snapshot(&self) -> &Arc<MetadataSnapshot> {
        &self.published
    }

    /// `brokerPermission`, without writing while the broker is being drained.
    pub fn broker_permission(&self) -> i32 {
        let denied = if self.draining_since.is_some() { PERM_WRITE } else { 0 };
        self.broker_permission & !denied
    }

    /// Begins to drain the broker, or ends that; whether that was a change. A start always begins without.
    pub fn set_draining(&mut self, now: i64, draining: bool) -> bool {
        if self.draining_since.is_some() == draining {
            return false;
        }
        self.draining_since = draining.then_some(now);
        // Name servers and clients hear of it as of a changed topic.
        self.topics.touch(now);
        true
    }

    /// Since when the broker is being drained, ms.
    pub fn draining_since(&self) -> Option<i64> {
        self.draining_since
    }

    /// Whether a group has a member.
    pub fn is_online(&self, group: &str) -> bool {
        self.members.is_online(group)
    }

    /// `enablePropertyFilter`.
    pub fn property_filter(&self) -> bool {
        self.property_filter
    }

    /// The topics, for reading.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The groups, for reading.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The members, for reading.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The queue locks, for reading.
    pub fn queue_locks(&self) -> &QueueLocks {
        &self.queue_locks
    }

    /// The request modes, for reading.
    pub fn request_modes(&self) -> &RequestModes {
        &self.request_modes
    }

    /// The topic of a send, created when allowed. `Ok(None)`: code 17.
    pub fn topic_for_send(
        &mut self,
        now: i64,
        wanted: &WantedTopic<'_>,
    ) -> Result<Option<Arc<TopicConfig>>, MetadataError> {
        self.topics.find_or_create(wanted, now)
    }

    /// The group of a pull or send-back, created when allowed. `Ok(None)`: code 26.
    pub fn group(
        &mut self,
        now: i64,
        group: &str,
    ) -> Result<Option<Arc<SubscriptionGroupConfig>>, MetadataError> {
        self.groups.find_or_create(group, now)
    }

    /// The retry topic of a group, created when missing, with the group's number of queues. `Ok(None)`: code 26.
    pub fn retry_topic(
        &mut self,
        now: i64,
        group: &str,
        unit_mode: bool,
    ) -> Result<Option<Arc<TopicConfig>>, MetadataError> {
        self.groups.admit_new(group, || self.topics.bytes_of_retry(group))?;
        let Some(config) = self.groups.find_or_create(group, now)? else { return Ok(None) };
        self.topics.ensure_retry(group, config.retry_queue_nums, unit_mode, now).map(Some)
    }

    /// The topic of a group's given-up messages, created when missing.
    pub fn dlq_topic(&mut self, now: i64, group: &str) -> Result<Arc<TopicConfig>, MetadataError> {
        self.topics.ensure_dlq(group, now)
    }

    /// A topic of the broker's own is there and has at least so many queues.
    pub fn raise_queues(
        &mut self,
        now: i64,
        topic: &str,
        queues: u32,
    ) -> Result<(), MetadataError> {
        self.topics.raise_queues(topic, i32::try_from(queues).unwrap_or(i32::MAX), now)
    }

    /// `UPDATE_AND_CREATE_TOPIC`. It keeps its attributes.
    pub fn update_topic(&mut self, now: i64, wanted: TopicConfig) -> Result<(), MetadataError> {
        self.update_topic_with(now, wanted, "")
    }

    /// `UPDATE_AND_CREATE_TOPIC` with a change of its attributes, such as `+message.type=NORMAL`.
    pub fn update_topic_with(
        &mut self,
        now: i64,
        wanted: TopicConfig,
        attributes: &str,
    ) -> Result<(), MetadataError> {
        let known = self.topics.get(&wanted.topic_name).map(|topic| &topic.attributes);
        let attributes = attributes::altered(known, attributes)?;
        self.topics.update(TopicConfig { attributes, ..wanted }, now).map(drop)
    }

    /// `UPDATE_AND_CREATE_TOPIC_LIST`: all of them or none.
    pub fn update_topics(&mut self, now: i64, wanted: Vec<TopicConfig>) -> Result<(), ListError> {
        let checked = lists::checked_topics(&self.topics, wanted)?;
        Ok(self.topics.update_all(checked, now)?)
    }

    /// `DELETE_TOPIC_IN_BROKER`. False: there was none.
    pub fn delete_topic(&mut self, now: i64, topic: &str) -> Result<bool, MetadataError> {
        let was_there = self.topics.delete(topic, now)?;
        if was_there {
            self.request_modes.topic_deleted(topic);
        }
        Ok(was_there)
    }

    /// `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP`.
    pub fn update_group(
        &mut self,
        now: i64,
        config: SubscriptionGroupConfig,
    ) -> Result<(), MetadataError> {
        attributes::check_group(&config.attributes)?;
        self.groups.update(config, now).map(drop)
    }

    /// `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST`: all of them or none.
    pub fn update_groups(
        &mut self,
        now: i64,
        wanted: Vec<SubscriptionGroupConfig>,
    ) -> Result<(), ListError> {
        let checked = lists::checked_groups(wanted)?;
        Ok(self.groups.update_all(checked, now)?)
    }

    /// `UPDATE_AND_GET_GROUP_FORBIDDEN`: whether a group may read a topic, set before that if `readable` says so. The group is
    /// created when it is missing and that is allowed. `None`: there is no such group (code 26).
    pub fn group_readable(
        &mut self,
        now: i64,
        group: &str,
        topic: &str,
        readable: Option<bool>,
    ) -> Result<Option<bool>, MetadataError> {
        let Some(readable) = readable else {
            return Ok(Some(self.groups.get(group).is_none_or(|group| group.may_read(topic))));
        };
        names::check_consumed_topic(topic)?;
        names::check_group(group)?;
        let Some(known) = self.groups.find_or_create(group, now)? else { return Ok(None) };
        self.groups.set_readable(&known, topic, readable, now)?;
        Ok(Some(readable))
    }

    /// `DELETE_SUBSCRIPTIONGROUP`, with its offsets or without. False: there was none.
    pub fn delete_group(
        &mut self,
        now: i64,
        group: &str,
        with_offsets: bool,
    ) -> Result<bool, MetadataError> {
        let was_there = self.groups.delete(group, with_offsets, now)?;
        if was_there {
            self.request_modes.group_deleted(group);
        }
        Ok(was_there)
    }

    /// `SET_MESSAGE_REQUEST_MODE`. The group is created when it is missing and that is allowed, as Java's broker does.
    pub fn set_request_mode(
        &mut self,
        now: i64,
        topic: &str,
        group: &str,
        mode: RequestMode,
    ) -> Result<ModeSet, MetadataError> {
        if self.topics.get(topic).is_none() {
            return Ok(ModeSet::NoTopic);
        }
        let may_be = names::check_group(group).is_ok();
        if !may_be || self.groups.find_or_create(group, now)?.is_none() {
            return Ok(ModeSet::NoGroup);
        }
        self.request_modes.set(topic, group, mode).map(|()| ModeSet::Done)
    }

    /// The answer of a registration named these order topics, all others are not.
    pub fn apply_order_topics(&mut self, now: i64, listed: &BTreeSet<String>) {
        self.topics.apply_order(listed, now);
    }

    /// The configuration has changed while running (`UPDATE_BROKER_CONFIG`).
    pub fn apply_config(&mut self, now: i64, config: &BrokerConfig) {
        self.auto_create_groups = config.auto_create_subscription_group;
        self.groups.set_auto_create(config.auto_create_subscription_group);
        self.notify_enabled = config.notify_consumer_ids_changed_enable;
        self.property_filter = config.enable_property_filter;
        self.queue_locks.release_on_close(config.orderly_release_on_close);
        self.topics.follow(TopicRules::of(config), now);
        if self.broker_permission != config.broker_permission {
            self.broker_permission = config.broker_permission;
            self.topics.touch(now);
        }
    }

    /// `HEART_BEAT`: finds or creates each group and its retry topic, then registers the client. Always a success;
    /// returns how many parts were left out because of a limit or a bad name.
    pub fn heartbeat(
        &mut self,
        now: Moment,
        client: &ClientConnection,
        data: &HeartbeatData,
    ) -> usize {
        let changes = self.members.heartbeat(now.uptime, client, data);
        let mut refused = 0;
        // A group of which nobody is a member is not made: it would stay. One that may not be created still has members,
        // as in 4.9: its pulls are refused with code 26.
        for consumer in data.consumer_data_set.iter().take(CONNECTION_GROUPS_MAX) {
            if self.members.is_member(client.connection, &consumer.group_name) {
                let made = self.retry_topic(now.wall, &consumer.group_name, consumer.unit_mode);
                refused += usize::from(made.is_err());
            }
        }
        let left_out = changes.left_out + refused;
        self.notify_if_wanted(changes);
        left_out
    }

    /// Refuses a heartbeat that brings new groups, hundreds perhaps, while those of before wait for the disk.
    pub fn admit_heartbeat(&self, data: &HeartbeatData) -> Result<(), MetadataError> {
        let is_new = |group: &str| self.groups.get(group).is_none();
        match self.groups.check_unsaved() {
            Err(unsaved) if data.consumer_data_set.iter().any(|it| is_new(&it.group_name)) => {
                Err(unsaved)
            }
            _ => Ok(()),
        }
    }

    /// A heartbeat of which something was left out. `Some`: it is to be told, with how many were not since the last.
    pub fn note_left_out(&self) -> Option<u64> {
        self.left_out.note()
    }

    /// `LOCK_BATCH_MQ`. Returns which of the queues the client holds now.
    pub fn lock_queues(
        &mut self,
        now: Uptime,
        connection: ConnectionId,
        request: &LockBatchRequest,
    ) -> Result<Vec<MessageQueue>, MetadataError> {
        // Each of its members consumes all queues: locks would leave each with some.
        if self.members.is_broadcasting(&request.consumer_group) {
            return Ok(request.mq_set.clone());
        }
        self.queue_locks.lock(now, connection, request)
    }

    /// `UNLOCK_BATCH_MQ`. Always a success.
    pub fn unlock_queues(&mut self, now: Uptime, request: &LockBatchRequest) {
        self.queue_locks.unlock(now, request);
        self.notify_of_free_queues(now);
    }

    /// Whether [`Control::notify_of_free_queues`] has something to do.
    pub fn has_free_queues(&self, now: Uptime) -> bool {
        self.queue_locks.is_due(now)
    }

    /// Who was refused a queue that is free now should try again.
    pub fn notify_of_free_queues(&mut self, now: Uptime) {
        let groups = self.queue_locks.freed(now);
        self.notify_if_wanted(Changes { groups, left_out: 0 });
    }

    /// `UNREGISTER_CLIENT`. Always a success.
    pub fn unregister(
        &mut self,
        now: Uptime,
        connection: ConnectionId,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
    ) {
        let client = consumer_group.and_then(|group| self.members.consumer_id(connection, group));
        if let (Some(group), Some(client)) = (consumer_group, client) {
            self.queue_locks.left(now, group, client);
        }
        let changes = self.members.unregister(connection, producer_group, consumer_group);
        self.notify_if_wanted(changes);
        self.notify_of_free_queues(now);
    }

    /// A connection is gone. May be reported any number of times.
    pub fn connection_closed(&mut self, now: Uptime, connection: ConnectionId) {
        self.queue_locks.connection_closed(now, connection);
        let changes = self.members.connection_closed(connection);
        self.notify_of_loss(changes);
    }

    /// About every ten seconds: who is silent has left.
    pub fn tick(&mut self, now: Uptime) {
        self.queue_locks.expire(now);
        let (changes, close) = self.members.expire(now, SILENCE_MS_MAX);
        self.close.extend(close);
        self.notify_of_loss(changes);
    }

    /// Who comes and goes by request is announced unless the group does not want notifications.
    fn notify_if_wanted(&mut self, changes: Changes) {
        if !self.notify_enabled {
            return;
        }
        let wanted = |changed: &Arc<str>| {
            self.groups.get(changed).is_none_or(|config| config.notify_consumer_ids_changed_enable)
        };
        self.notify.extend(changes.groups.into_iter().filter(wanted));
    }

    /// A lost member leaves queues that nobody consumes: announced even if the group is quiet otherwise, as in Java.
    fn notify_of_loss(&mut self, changes: Changes) {
        if self.notify_enabled {
            self.notify.extend(changes.groups);
        }
    }

    fn publish(&mut self) -> Option<Arc<MetadataSnapshot>> {
        let last = &self.published;
        let same = last.version > 0
            && last.broker_permission == self.broker_permission()
            && last.auto_create_groups == self.auto_create_groups
            && last.topics.is_same(&self.durable.topics)
            && last.groups.is_same(&self.durable.groups)
            && last.subscriptions.is_same(self.members.subscriptions());
        if same {
            return None;
        }
        let topics_changed = !last.topics.is_same(&self.durable.topics);
        let next = Arc::new(MetadataSnapshot {
            version: last.version + 1,
            topics_version: last.topics_version + u64::from(topics_changed),
            broker_permission: self.broker_permission(),
            auto_create_groups: self.auto_create_groups,
            topics: self.durable.topics.clone(),
            groups: self.durable.groups.clone(),
            subscriptions: self.members.subscriptions().clone(),
            system: self.topics.system().clone(),
        });
        self.published = Arc::clone(&next);
        Some(next)
    }
}

#[cfg(test)]
mod tests;
