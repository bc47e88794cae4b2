//! Who is online: the clients behind the connections, by consumer group and by producer group.
//!
//! Owned by `Control` on the control worker, fed by heartbeats, unregister requests, closed connections and a tick. The
//! key is the connection: one client speaks over several connections to several brokers, but over one to each. A group
//! has one set of subscriptions: the last heartbeat wins, and a subscription is replaced by a larger version, or by any when
//! no member wants it any more ([`super::member_wishes`]). What always holds: a group in the table has at least one member;
//! the index by connection names exactly the groups that have the connection; a client id leads to the connection that last
//! named it with a producer group, while that is in one under this name. Maps are ordered, so that one history gives one
//! outcome. Source: Apache RocketMQ 4.9.8, `ConsumerManager`, `ConsumerGroupInfo`, `ProducerManager`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::Arc;

use proto::body::{
    Connection, ConsumeFromWhere, ConsumeType, ConsumerConnection, ConsumerData, HeartbeatData,
    MessageModel, ProducerConnection, ProducerInfo,
};
use proto::command::Language;

use remoting::ConnectionId;
use runtime::{Moment, Uptime};

use super::member_wishes::{MemberWishes, WISH_BYTES, wish_of};
use super::members_memory::{MembersMemory, group_bytes, member_bytes};
use super::names::{self, CLIENT_ID_BYTES_MAX};
use super::shared_table::SharedTable;
use super::subscription::{GroupSubscriptions, Subscription};

/// A connection without a heartbeat for this long has left.
pub const SILENCE_MS_MAX: i64 = 120_000;
/// Groups, consuming and producing, of one connection; further ones of a heartbeat are left out and counted.
pub const CONNECTION_GROUPS_MAX: usize = 1_024;
/// Topics of one group's subscriptions; further ones are left out and counted.
pub const GROUP_TOPICS_MAX: usize = 4_096;
/// Members of one group; further ones are left out and counted. A notification goes to each of them.
pub const GROUP_MEMBERS_MAX: usize = 20_000;

/// Where a producer stands: its group, its connection.
pub type ProducerPlace = (Arc<str>, ConnectionId);

/// What the frame around a heartbeat says about its sender.
#[derive(Clone, Copy, Debug)]
pub struct ClientConnection {
    /// The connection.
    pub connection: ConnectionId,
    /// Its far end.
    pub address: SocketAddr,
    /// Language of the client, from the header.
    pub language: Language,
    /// Version number of the client, from the header.
    pub version: i32,
}

/// What an event did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Groups that gained or lost a member or a topic, by name: their members should look at their queues again, also the
    /// one that caused the change.
    pub groups: Vec<Arc<str>>,
    /// Parts of a heartbeat that were over a limit or not named properly, and were left out.
    pub left_out: usize,
}

/// One client in one group.
#[derive(Clone, Debug)]
struct Member {
    client_id: Arc<str>,
    address: SocketAddr,
    language: Language,
    version: i32,
    last_seen: Uptime,
}

#[derive(Debug)]
struct ConsumerGroup {
    consume_type: ConsumeType,
    message_model: MessageModel,
    consume_from_where: ConsumeFromWhere,
    members: BTreeMap<ConnectionId, Member>,
    wishes: MemberWishes,
}

#[derive(Debug, Default)]
struct Memberships {
    consumer_groups: BTreeSet<Arc<str>>,
    producer_groups: BTreeSet<Arc<str>>,
    /// By client id: of how many producer groups it is a member under that name.
    producer_ids: BTreeMap<Arc<str>, usize>,
}

impl Memberships {
    fn is_empty(&self) -> bool {
        self.consumer_groups.is_empty() && self.producer_groups.is_empty()
    }

    fn count(&self) -> usize {
        self.consumer_groups.len() + self.producer_groups.len()
    }
}

/// All clients of this broker.
#[derive(Debug, Default)]
pub struct Members {
    consumers: BTreeMap<Arc<str>, ConsumerGroup>,
    producers: BTreeMap<Arc<str>, BTreeMap<ConnectionId, Member>>,
    by_connection: BTreeMap<ConnectionId, Memberships>,
    /// By client id: the connection that last named it with a producer group.
    producers_by_id: BTreeMap<Arc<str>, ConnectionId>,
    subscriptions: SharedTable<GroupSubscriptions>,
    memory: MembersMemory,
}

impl Members {
    /// What would take up more than this is left out of heartbeats from now on.
    pub fn limit_memory(&mut self, bytes_max: usize) {
        self.memory.limit(bytes_max);
    }

    /// Bytes that members and subscriptions take up, and the most that they may.
    pub fn memory(&self) -> (usize, usize) {
        self.memory.level()
    }

    /// A heartbeat of `peer`. Refreshes what it names; what it does not name stays until it is silent for too long.
    pub fn heartbeat(
        &mut self,
        now: Uptime,
        peer: &ClientConnection,
        data: &HeartbeatData,
    ) -> Changes {
        let mut changes = Changes::default();
        if data.client_id.len() > CLIENT_ID_BYTES_MAX {
            changes.left_out = data.consumer_data_set.len() + data.producer_data_set.len();
            return changes;
        }
        let member = Member {
            client_id: Arc::from(data.client_id.as_str()),
            address: peer.address,
            language: peer.language,
            version: peer.version,
            last_seen: now,
        };
        self.memory.begin(self.held_by(peer.connection));
        for consumer in &data.consumer_data_set {
            match self.consumer(peer.connection, &member, consumer, &mut changes.left_out) {
                Some(true) => changes.groups.extend(self.changed(&consumer.group_name)),
                Some(false) => {}
                None => changes.left_out += 1,
            }
        }
        for producer in &data.producer_data_set {
            if !self.producer(peer.connection, &member, &producer.group_name) {
                changes.left_out += 1;
            }
        }
        changes
    }

    /// `UNREGISTER_CLIENT`: the connection leaves the groups that are named. An empty name is no name.
    pub fn unregister(
        &mut self,
        connection: ConnectionId,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
    ) -> Changes {
        let mut changes = Changes::default();
        if let Some(group) = producer_group {
            self.leave_producers(connection, group);
        }
        if let Some(group) = consumer_group
            && self.leave_consumers(connection, group)
        {
            changes.groups.extend(self.changed(group));
        }
        changes
    }

    /// The connection is gone: it leaves all its groups at once.
    pub fn connection_closed(&mut self, connection: ConnectionId) -> Changes {
        let mut changes = Changes::default();
        let Some(memberships) = self.by_connection.remove(&connection) else { return changes };
        for group in memberships.producer_groups {
            self.leave_producers(connection, &group);
        }
        for group in memberships.consumer_groups {
            if self.leave_consumers(connection, &group) {
                changes.groups.extend(self.changed(&group));
            }
        }
        changes
    }

    /// Removes every membership without a heartbeat for more than `silence_ms`, and names the connections that have
    /// none left: the caller closes them. Called about every ten seconds.
    pub fn expire(&mut self, now: Uptime, silence_ms: i64) -> (Changes, Vec<ConnectionId>) {
        assert!(silence_ms > 0);
        let silent = |member: &Member| now - member.last_seen > silence_ms;
        let of_consumers = self.consumers.iter().flat_map(|(group, held)| {
            held.members
                .iter()
                .filter(|(_, m)| silent(m))
                .map(|(id, _)| (true, Arc::clone(group), *id))
        });
        let of_producers = self.producers.iter().flat_map(|(group, held)| {
            held.iter().filter(|(_, m)| silent(m)).map(|(id, _)| (false, Arc::clone(group), *id))
        });
        let gone: Vec<(bool, Arc<str>, ConnectionId)> = of_consumers.chain(of_producers).collect();
        let mut changed = BTreeSet::new();
        let mut closed = BTreeSet::new();
        for (consumes, group, connection) in gone {
            if consumes {
                self.leave_consumers(connection, &group);
                changed.insert(group);
            } else {
                self.leave_producers(connection, &group);
            }
            if !self.by_connection.contains_key(&connection) {
                closed.insert(connection);
            }
        }
        let groups = changed.iter().filter_map(|group| self.changed(group)).collect();
        (Changes { groups, left_out: 0 }, closed.into_iter().collect())
    }

    /// The client ids of a group, or `None` when nobody is online (code 1 for `GET_CONSUMER_LIST_BY_GROUP`).
    pub fn consumer_ids(&self, group: &str) -> Option<Vec<&str>> {
        let members = self.consumers.get(group)?.members.values();
        let ids = members.map(|member| member.client_id.as_ref()).filter(|id| !id.is_empty());
        Some(ids.collect())
    }

    /// What tools see of a group (`GET_CONSUMER_CONNECTION_LIST`), or `None` when nobody is online (code 206).
    pub fn consumer_connection(&self, group: &str) -> Option<ConsumerConnection> {
        let held = self.consumers.get(group)?;
        let subscriptions = self.subscriptions.get(group);
        let topics = subscriptions.iter().flat_map(|published| published.topics.iter());
        Some(ConsumerConnection {
            connection_set: held.members.values().map(Member::to_connection).collect(),
            subscription_table: topics
                .map(|(topic, wish)| (topic.to_string(), wish.to_data()))
                .collect(),
            consume_type: held.consume_type,
            message_model: held.message_model,
            consume_from_where: held.consume_from_where,
        })
    }

    /// What tools see of a producer group (`GET_PRODUCER_CONNECTION_LIST`), or `None` when it is unknown (code 1).
    pub fn producer_connection(&self, group: &str) -> Option<ProducerConnection> {
        let held = self.producers.get(group)?;
        Some(ProducerConnection {
            connection_set: held.values().map(Member::to_connection).collect(),
        })
    }

    /// Producers behind a place, by group and connection, at most `count_max`: where each stands, and what tools see of it.
    pub fn producers_after(
        &self,
        after: Option<&ProducerPlace>,
        count_max: usize,
        now: Moment,
    ) -> Vec<(ProducerPlace, ProducerInfo)> {
        let first = after.map_or(Bound::Unbounded, |(group, _)| Bound::Included(&**group));
        let groups = self.producers.range::<str, _>((first, Bound::Unbounded));
        let behind = groups.flat_map(|(group, held)| {
            let same = after.filter(|(of, _)| of == group);
            let from = same.map_or(Bound::Unbounded, |(_, passed)| Bound::Excluded(*passed));
            let members = held.range((from, Bound::Unbounded));
            members.map(move |(id, member)| ((Arc::clone(group), *id), member.to_producer(now)))
        });
        behind.take(count_max).collect()
    }

    /// Connection and version of one client of a group, for requests that are passed on to it.
    pub fn consumer_by_id(&self, group: &str, client_id: &str) -> Option<(ConnectionId, i32)> {
        let mut members = self.consumers.get(group)?.members.iter();
        members
            .find(|(_, member)| &*member.client_id == client_id)
            .map(|(connection, member)| (*connection, member.version))
    }

    /// The members of a group: connection, client id, version.
    pub fn consumers(&self, group: &str) -> Vec<(ConnectionId, &str, i32)> {
        let held = self.consumers.get(group).into_iter().flat_map(|held| &held.members);
        held.map(|(connection, member)| (*connection, &*member.client_id, member.version)).collect()
    }

    /// The connection of a client that is in a producer group, whichever: where replies go that it waits for.
    pub fn producer_by_id(&self, client_id: &str) -> Option<ConnectionId> {
        self.producers_by_id.get(client_id).copied()
    }

    /// Connections of a consumer group behind that one, ascending, at most `count_max`.
    pub fn consumers_after(
        &self,
        group: &str,
        after: Option<ConnectionId>,
        count_max: usize,
    ) -> Vec<ConnectionId> {
        let Some(held) = self.consumers.get(group) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = held.members.range((from, Bound::Unbounded));
        behind.take(count_max).map(|(connection, _)| *connection).collect()
    }

    /// A connection of a producer group, any of them but these.
    pub fn any_producer(&self, group: &str, but: &BTreeSet<ConnectionId>) -> Option<ConnectionId> {
        let held = self.producers.get(group)?;
        let from = fastrand::usize(..held.len());
        let all = held.keys().skip(from).chain(held.keys().take(from));
        all.copied().find(|connection| !but.contains(connection))
    }

    /// The id of the client that consumes in a group through a connection.
    pub fn consumer_id(&self, connection: ConnectionId, group: &str) -> Option<&Arc<str>> {
        Some(&self.consumers.get(group)?.members.get(&connection)?.client_id)
    }

    /// Whether the members of a group consume each message all, each for itself.
    pub fn is_broadcasting(&self, group: &str) -> bool {
        self.subscriptions.get(group).is_some_and(|wishes| wishes.broadcast)
    }

    /// Whether a group has a member.
    pub fn is_online(&self, group: &str) -> bool {
        self.consumers.contains_key(group)
    }

    /// Whether a connection consumes in a group.
    pub fn is_member(&self, connection: ConnectionId, group: &str) -> bool {
        self.consumers.get(group).is_some_and(|held| held.members.contains_key(&connection))
    }

    /// What a group wants from a topic.
    pub fn subscription(&self, group: &str, topic: &str) -> Option<&Arc<Subscription>> {
        self.subscriptions.get(group)?.topics.get(topic)
    }

    /// Groups that are online and want the topic, sorted.
    pub fn groups_of_topic(&self, topic: &str) -> Vec<&str> {
        let wants = |group: &Arc<str>| self.subscription(group, topic).is_some();
        self.consumers.keys().filter(|group| wants(group)).map(|group| &**group).collect()
    }

    /// All subscriptions: cheap to clone into a snapshot.
    pub fn subscriptions(&self) -> &SharedTable<GroupSubscriptions> {
        &self.subscriptions
    }

    /// Consumer groups, producer groups and connections that have a membership.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.consumers.len(), self.producers.len(), self.by_connection.len())
    }

    /// Panics when the tables contradict each other. For tests and simulation, after each event.
    pub fn check(&self) {
        let mut named = 0;
        for (connection, memberships) in &self.by_connection {
            assert!(!memberships.is_empty(), "{connection:?} has no group");
            named += memberships.count();
            for group in &memberships.consumer_groups {
                assert!(self.consumers[group].members.contains_key(connection), "{group}");
            }
            let mut ids: BTreeMap<Arc<str>, usize> = BTreeMap::new();
            for group in &memberships.producer_groups {
                let member = &self.producers[group][connection];
                *ids.entry(Arc::clone(&member.client_id)).or_default() += 1;
            }
            assert_eq!(memberships.producer_ids, ids);
        }
        let consuming: usize = self.consumers.values().map(|group| group.members.len()).sum();
        let producing: usize = self.producers.values().map(BTreeMap::len).sum();
        assert_eq!(named, consuming + producing);
        assert!(self.consumers.values().all(|group| !group.members.is_empty()));
        for group in self.consumers.values() {
            group.wishes.check(|member| group.members.contains_key(&member));
        }
        assert!(self.producers.values().all(|group| !group.is_empty()));
        for (client_id, connection) in &self.producers_by_id {
            let ids = &self.by_connection[connection].producer_ids;
            assert!(ids.contains_key(client_id), "{client_id}");
        }
        assert_eq!(self.subscriptions.len(), self.consumers.len());
        assert_eq!(self.memory.level().0, self.counted_bytes());
    }

    fn counted_bytes(&self) -> usize {
        let consuming = self.consumers.iter().map(|(name, group)| (name, &group.members));
        let groups = consuming.chain(&self.producers).map(|(name, members)| {
            let members = members.values().map(|member| member_bytes(&member.client_id));
            group_bytes(name) + members.sum::<usize>()
        });
        let published = self.subscriptions.iter().map(|(_, published)| published.bytes());
        let wishes = self.consumers.values().map(|group| group.wishes.bytes());
        groups.chain(published).chain(wishes).sum()
    }

    /// Bytes that are there because of a connection: its memberships, and its part of each group.
    fn held_by(&self, connection: ConnectionId) -> usize {
        let Some(memberships) = self.by_connection.get(&connection) else { return 0 };
        let held = |members: &BTreeMap<ConnectionId, Member>, shared: usize| {
            let own = members.get(&connection).map_or(0, |member| member_bytes(&member.client_id));
            own + shared / members.len()
        };
        let consuming = memberships.consumer_groups.iter().map(|name| {
            let published = self.subscriptions.get(name).map_or(0, |published| published.bytes());
            let group = &self.consumers[name];
            let own = group.wishes.bytes_of(connection);
            own + held(&group.members, group_bytes(name) + published)
        });
        let producing = memberships
            .producer_groups
            .iter()
            .map(|name| held(&self.producers[name], group_bytes(name)));
        consuming.chain(producing).sum()
    }

    /// Some(true): a member or a topic came or went. None: refused by a limit.
    fn consumer(
        &mut self,
        connection: ConnectionId,
        member: &Member,
        data: &ConsumerData,
        left_out: &mut usize,
    ) -> Option<bool> {
        let group = self.join(connection, &member.client_id, &data.group_name, true)?;
        let held = self.consumers.entry(Arc::clone(&group)).or_insert_with(|| ConsumerGroup {
            consume_type: data.consume_type,
            message_model: data.message_model,
            consume_from_where: data.consume_from_where,
            members: BTreeMap::new(),
            wishes: MemberWishes::default(),
        });
        held.consume_type = data.consume_type;
        held.message_model = data.message_model;
        held.consume_from_where = data.consume_from_where;
        // A known connection with another client id replaces the entry; the group has not changed by that.
        let is_new = held.members.insert(connection, member.clone()).is_none();
        let topics_changed = self.subscribe(connection, &group, data, left_out);
        Some(is_new || topics_changed)
    }

    fn producer(&mut self, connection: ConnectionId, member: &Member, group: &str) -> bool {
        let Some(group) = self.join(connection, &member.client_id, group, false) else {
            return false;
        };
        let before = self.producers.entry(group).or_default().insert(connection, member.clone());
        if before.as_ref().is_none_or(|before| before.client_id != member.client_id) {
            let memberships = self.by_connection.entry(connection).or_default();
            *memberships.producer_ids.entry(Arc::clone(&member.client_id)).or_default() += 1;
            if let Some(before) = before {
                self.forget_producer(connection, &before.client_id);
            }
        }
        self.producers_by_id.insert(Arc::clone(&member.client_id), connection);
        true
    }

    /// Notes the membership in the index and gives the group's shared name, or refuses it.
    fn join(
        &mut self,
        connection: ConnectionId,
        client_id: &str,
        group: &str,
        consumes: bool,
    ) -> Option<Arc<str>> {
        if names::check_group(group).is_err() {
            return None;
        }
        let known = if consumes {
            self.consumers.get_key_value(group).map(|(name, held)| (name, &held.members))
        } else {
            self.producers.get_key_value(group)
        };
        let name = known.map_or_else(|| Arc::from(group), |(name, _)| Arc::clone(name));
        if let Some(member) = known.and_then(|(_, members)| members.get(&connection)) {
            let before = member_bytes(&member.client_id);
            return self.memory.replace(before, member_bytes(client_id)).then_some(name);
        }
        let size = known.map_or(0, |(_, members)| members.len());
        let count = self.by_connection.get(&connection).map_or(0, Memberships::count);
        if size >= GROUP_MEMBERS_MAX || count >= CONNECTION_GROUPS_MAX {
            return None;
        }
        let of_group = if known.is_some() { 0 } else { group_bytes(group) };
        if !self.memory.replace(0, of_group + member_bytes(client_id)) {
            return None;
        }
        let memberships = self.by_connection.entry(connection).or_default();
        let groups = if consumes {
            &mut memberships.consumer_groups
        } else {
            &mut memberships.producer_groups
        };
        groups.insert(Arc::clone(&name));
        Some(name)
    }

    /// Takes over the subscriptions of a heartbeat and publishes them when anything differs. True: a topic came or
    /// went.
    fn subscribe(
        &mut self,
        connection: ConnectionId,
        group: &str,
        data: &ConsumerData,
        left_out: &mut usize,
    ) -> bool {
        let Some(held) = self.consumers.get_mut(group) else { return false };
        let published = self.subscriptions.get(group).cloned().unwrap_or_default();
        let mut room = self.memory.room();
        let former_bytes = held.wishes.remove(connection);
        let mut wishes = Vec::with_capacity(former_bytes / WISH_BYTES);
        let mut next = GroupSubscriptions {
            broadcast: data.message_model == MessageModel::Broadcasting,
            topics: BTreeMap::new(),
        };
        for wanted in &data.subscription_data_set {
            let known = published.topics.get_key_value(wanted.topic.as_str());
            if known.is_none() && names::check_topic(&wanted.topic).is_err() {
                *left_out += 1;
                continue;
            }
            let wish = wish_of(wanted);
            let topic = known
                .map_or_else(|| Arc::from(wanted.topic.as_str()), |(topic, _)| Arc::clone(topic));
            let kept = known.filter(|(_, old)| held.wishes.keep(old, wanted.sub_version, wish));
            let subscription = kept.map_or_else(
                || Arc::new(Subscription::from_heartbeat(wanted)),
                |(_, old)| Arc::clone(old),
            );
            let before = known.map_or(0, |(_, old)| old.bytes);
            let more = subscription.bytes.saturating_sub(before);
            if next.topics.len() >= GROUP_TOPICS_MAX || more > room {
                *left_out += 1;
                continue;
            }
            room -= more;
            next.topics.insert(topic, subscription);
            // Without room it is not remembered who wants it: what is published gives way a little sooner.
            let is_paid = WISH_BYTES * wishes.len() < former_bytes;
            if wishes.len() < GROUP_TOPICS_MAX && (is_paid || room >= WISH_BYTES) {
                room -= if is_paid { 0 } else { WISH_BYTES };
                wishes.push(wish);
            }
        }
        held.wishes.put(connection, wishes);
        // What went makes room only now: this never refuses what was taken above.
        let before = published.bytes() + former_bytes;
        let after = next.bytes() + held.wishes.bytes_of(connection);
        assert!(self.memory.replace(before, after), "it was counted");
        let topics_changed = !next.topics.keys().eq(published.topics.keys());
        if next != *published || self.subscriptions.get(group).is_none() {
            self.subscriptions.insert(group, Arc::new(next));
        }
        topics_changed
    }

    /// True: the connection was a member.
    fn leave_consumers(&mut self, connection: ConnectionId, group: &str) -> bool {
        self.forget(connection, |memberships| memberships.consumer_groups.remove(group));
        let Some(held) = self.consumers.get_mut(group) else { return false };
        let gone = held.members.remove(&connection);
        let of_member = gone.as_ref().map_or(0, |member| member_bytes(&member.client_id));
        self.memory.release(of_member + held.wishes.remove(connection));
        if held.members.is_empty() {
            self.consumers.remove(group);
            let wishes = self.subscriptions.remove(group);
            self.memory.release(group_bytes(group) + wishes.map_or(0, |wishes| wishes.bytes()));
        }
        gone.is_some()
    }

    fn leave_producers(&mut self, connection: ConnectionId, group: &str) {
        if let Some(held) = self.producers.get_mut(group) {
            let gone = held.remove(&connection);
            if held.is_empty() {
                self.producers.remove(group);
                self.memory.release(group_bytes(group));
            }
            if let Some(gone) = gone {
                self.memory.release(member_bytes(&gone.client_id));
                self.forget_producer(connection, &gone.client_id);
            }
        }
        self.forget(connection, |memberships| memberships.producer_groups.remove(group));
    }

    /// A membership of the connection under this client id is gone. With the last one the client is not found there any more;
    /// another connection with the same id is, from its next heartbeat on.
    fn forget_producer(&mut self, connection: ConnectionId, client_id: &str) {
        let ids = self.by_connection.get_mut(&connection).map(|held| &mut held.producer_ids);
        if let Some(ids) = ids {
            let count = ids.get_mut(client_id).map_or(0, |count| {
                *count -= 1;
                *count
            });
            if count > 0 {
                return;
            }
            ids.remove(client_id);
        }
        if self.producer_by_id(client_id) == Some(connection) {
            self.producers_by_id.remove(client_id);
        }
    }

    fn forget(&mut self, connection: ConnectionId, remove: impl FnOnce(&mut Memberships) -> bool) {
        let Some(memberships) = self.by_connection.get_mut(&connection) else { return };
        remove(memberships);
        if memberships.is_empty() {
            self.by_connection.remove(&connection);
        }
    }

    /// The group's shared name; none when the last member has left.
    fn changed(&self, group: &str) -> Option<Arc<str>> {
        self.consumers.get_key_value(group).map(|(name, _)| Arc::clone(name))
    }
}

impl Member {
    fn to_connection(&self) -> Connection {
        Connection {
            client_id: self.client_id.to_string(),
            client_addr: self.address.to_string(),
            language: self.language.name().to_owned(),
            version: self.version,
        }
    }

    fn to_producer(&self, now: Moment) -> ProducerInfo {
        ProducerInfo {
            client_id: self.client_id.to_string(),
            language: self.language.name().to_owned(),
            last_update_timestamp: now.wall - (now.uptime - self.last_seen).max(0),
            remote_ip: format!("/{}", self.address),
            version: self.version,
        }
    }
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
