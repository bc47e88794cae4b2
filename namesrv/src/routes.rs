//! Who serves which topic, where, and who is still alive: the tables of a name server as a plain state machine.
//!
//! [`crate::handle`] calls it with decoded values; nothing here knows frames, sockets, files or a clock (`now` is an argument).
//! Always true ([`Routes::check`]): every live address is listed under its broker name and id, every listed address is
//! live, every broker name belongs to exactly one cluster, a topic without brokers does not exist.
//! Behaviour is that of the Java name server 4.9, with these deliberate differences: a topic that is missing here is added
//! again even when the broker's data version did not change; a broker may ask for a shorter expiry (5.x header); a broker that
//! leaves removes only its own address, not a successor's under the same id; a broker name that moves to another
//! cluster leaves the old one.
//! Absent on purpose: acting masters, zones, static topics, filter servers.

use std::collections::{BTreeMap, BTreeSet};

use ahash::AHashMap;
use proto::body::{BrokerData, ClusterInfo, DataVersion, QueueData, RouteData, TopicConfig};
use remoting::ConnectionId;
use runtime::{Millis, Uptime};

mod brokers;
#[cfg(test)]
mod tests;

use brokers::Brokers;

/// Silence after which a broker is dropped, ms. Java: `RouteInfoManager`, two minutes.
pub const BROKER_EXPIRY_MS: Millis = 120_000;
/// Bounds of the expiry that a 5.x broker may ask for with `heartbeatTimeoutMillis`, ms.
const EXPIRY_ASKED_MS: std::ops::RangeInclusive<Millis> = 1_000..=BROKER_EXPIRY_MS;
/// Most broker addresses known at once; a registration beyond is refused.
pub const BROKERS_MAX: usize = 20_000;
/// Most pairs of topic and broker name known at once (about 200 bytes each); a registration beyond is refused.
pub const TOPIC_ROUTES_MAX: usize = 4_000_000;

/// Permission bit of a topic: consumers may read.
pub const PERM_READ: i32 = 4;
/// Permission bit of a topic: producers may write.
pub const PERM_WRITE: i32 = 2;
/// `topicSysFlag` bit: the topic belongs to a unit.
const SYS_FLAG_UNIT: i32 = 1;
/// `topicSysFlag` bit: the topic has subscriptions of a unit.
const SYS_FLAG_UNIT_SUB: i32 = 2;
/// Broker id of a master.
const MASTER_ID: i64 = 0;

/// One registration as its broker sent it.
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    /// Cluster of the broker.
    pub cluster: &'a str,
    /// Name that master and slaves share.
    pub broker_name: &'a str,
    /// `host:port` that clients connect to.
    pub broker_addr: &'a str,
    /// 0 for the master, greater for slaves.
    pub broker_id: i64,
    /// `host:port` for replication; sent to slaves.
    pub ha_server_addr: &'a str,
    /// Version of the topic table below.
    pub data_version: DataVersion,
    /// All topics, or those that changed. Only a master's are taken.
    pub topics: &'a BTreeMap<String, TopicConfig>,
    /// Wish for an expiry other than [`BROKER_EXPIRY_MS`], ms.
    pub expiry_ms: Option<Millis>,
}

/// What came of a registration. The addresses are sent to slaves, while their master is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// `host:port` of the master.
    pub master_addr: Option<String>,
    /// `host:port` from which the master replicates.
    pub ha_server_addr: Option<String>,
    /// What an operator may want to know.
    pub change: Change,
}

/// How a registration changed who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The broker was known.
    Refreshed,
    /// The broker is new or came back.
    Joined,
    /// Another address had this name and id; it is forgotten.
    TookOver {
        /// The forgotten address.
        previous: String,
    },
}

/// Why a registration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// A name or address is empty: such a broker could not be reached or removed again.
    #[error("broker registration without {0}")]
    Missing(&'static str),
    /// [`BROKERS_MAX`] is reached.
    #[error("the name server knows {0} broker addresses already, which is its limit")]
    TooManyBrokers(usize),
    /// [`TOPIC_ROUTES_MAX`] would be exceeded.
    #[error("{wanted} topics more would exceed the limit of {limit} topic routes (now {known})")]
    TooManyTopics {
        /// Topics in the registration.
        wanted: usize,
        /// Routes known now.
        known: usize,
        /// The limit.
        limit: usize,
    },
}

/// Answer to "is what I registered still current?" (`QUERY_DATA_VERSION`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionAnswer {
    /// Whether the broker should register again.
    pub changed: bool,
    /// The version known here, if the broker is.
    pub known: Option<DataVersion>,
}

/// A broker that was dropped, for the log and for closing its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Broker name.
    pub broker_name: String,
    /// `host:port`.
    pub broker_addr: String,
    /// The connection that registered it.
    pub connection: ConnectionId,
    /// How long it had been silent, ms.
    pub silent_ms: Millis,
}

/// Which topics [`Routes::topics_by_unit`] lists, by the bits of `topicSysFlag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnitFilter {
    /// The unit bit is set.
    Unit,
    /// The unit subscription bit is set.
    UnitSub,
    /// The unit subscription bit is set, the unit bit is not.
    UnitSubNotUnit,
}

/// The queues of one topic on one broker name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Queues {
    read: i32,
    write: i32,
    perm: i32,
    sys_flag: i32,
}

/// Master and slaves of one broker name.
#[derive(Debug, Default)]
struct Group {
    cluster: String,
    addrs: BTreeMap<i64, String>,
}

/// What is known of one broker address.
#[derive(Debug)]
struct Live {
    broker_name: String,
    broker_id: i64,
    last_heard: Uptime,
    expiry_ms: Millis,
    data_version: DataVersion,
    connection: ConnectionId,
    ha_server_addr: String,
}

/// The tables. Ordered maps, so that equal state gives equal answers.
#[derive(Debug, Default)]
pub struct Routes {
    /// topic -> broker name -> queues.
    topics: BTreeMap<String, Brokers>,
    /// broker name -> master and slaves.
    groups: BTreeMap<String, Group>,
    /// cluster -> broker names.
    clusters: BTreeMap<String, BTreeSet<String>>,
    /// broker address -> liveness.
    live: AHashMap<String, Live>,
    /// Number of pairs in `topics`.
    topic_routes: usize,
    /// Counts what may have changed the lists of topics.
    generation: u64,
}

impl Routes {
    /// Empty tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// `REGISTER_BROKER` (103): the broker is alive, and these are its topics.
    pub fn register(
        &mut self,
        broker: &Registration<'_>,
        connection: ConnectionId,
        now: Uptime,
    ) -> Result<Registered, RegisterError> {
        self.admit(broker)?;
        self.generation += 1;
        let known = self.live.contains_key(broker.broker_addr);
        let previous = self.enrol(broker);
        let first = previous.is_none();
        let changed = match self.live.get(broker.broker_addr) {
            None => true,
            Some(live) => {
                live.broker_name != broker.broker_name || live.data_version != broker.data_version
            }
        };
        if broker.broker_id == MASTER_ID {
            for topic in broker.topics.values() {
                self.offer_topic(broker.broker_name, topic, first || changed);
            }
        }
        let expiry_ms = match broker.expiry_ms {
            Some(wish) => wish.clamp(*EXPIRY_ASKED_MS.start(), *EXPIRY_ASKED_MS.end()),
            None => BROKER_EXPIRY_MS,
        };
        let live = Live {
            broker_name: broker.broker_name.to_owned(),
            broker_id: broker.broker_id,
            last_heard: now,
            expiry_ms,
            data_version: broker.data_version,
            connection,
            ha_server_addr: broker.ha_server_addr.to_owned(),
        };
        self.live.insert(broker.broker_addr.to_owned(), live);
        let change = match previous {
            Some(previous) if previous != broker.broker_addr => Change::TookOver { previous },
            _ if known => Change::Refreshed,
            _ => Change::Joined,
        };
        let master =
            if broker.broker_id == MASTER_ID { None } else { self.master_of(broker.broker_name) };
        let (master_addr, ha_server_addr) = master.unzip();
        Ok(Registered { master_addr, ha_server_addr, change })
    }

    /// `UNREGISTER_BROKER` (104). Unknown brokers are no error.
    pub fn unregister(&mut self, broker_name: &str, broker_addr: &str) {
        if self.live.get(broker_addr).is_some_and(|live| live.broker_name == broker_name) {
            self.remove_broker(broker_addr);
        }
    }

    /// The connection is gone, and with it every broker that registered over it and did not register elsewhere since.
    pub fn connection_closed(&mut self, connection: ConnectionId, now: Uptime) -> Vec<Dropped> {
        self.drop_where(now, |live| live.connection == connection)
    }

    /// Drops every broker that has been silent for longer than its expiry.
    pub fn expire(&mut self, now: Uptime) -> Vec<Dropped> {
        self.drop_where(now, |live| now - live.last_heard > live.expiry_ms)
    }

    /// `BROKER_HEARTBEAT` (904): the broker is alive. False when it has to register first.
    pub fn heartbeat(&mut self, broker_addr: &str, now: Uptime) -> bool {
        match self.live.get_mut(broker_addr) {
            Some(live) => {
                live.last_heard = now;
                true
            }
            None => false,
        }
    }

    /// `QUERY_DATA_VERSION` (322): compares, and counts as a sign of life when nothing changed.
    pub fn query_version(
        &mut self,
        broker_name: &str,
        broker_addr: &str,
        asked: DataVersion,
        now: Uptime,
    ) -> VersionAnswer {
        let Some(live) = self.live.get_mut(broker_addr) else {
            return VersionAnswer { changed: true, known: None };
        };
        let changed = live.data_version != asked || live.broker_name != broker_name;
        if !changed {
            live.last_heard = now;
        }
        VersionAnswer { changed, known: Some(live.data_version) }
    }

    /// `REGISTER_TOPIC_IN_NAMESRV` (217): adds or replaces queues of one topic. Brokers that are not registered are passed
    /// over; returns how many were taken.
    pub fn register_topic(
        &mut self,
        topic: &str,
        queues: &[QueueData],
    ) -> Result<usize, RegisterError> {
        if topic.is_empty() {
            return Err(RegisterError::Missing("a topic"));
        }
        self.admit_topics(queues.len())?;
        self.generation += 1;
        let mut taken = 0;
        for queue in queues.iter().filter(|queue| self.groups.contains_key(&queue.broker_name)) {
            let facts = Queues {
                read: queue.read_queue_nums,
                write: queue.write_queue_nums,
                perm: queue.perm,
                sys_flag: queue.topic_sys_flag,
            };
            let brokers = self.topics.entry(topic.to_owned()).or_default();
            self.topic_routes += usize::from(brokers.insert(&queue.broker_name, facts));
            taken += 1;
        }
        Ok(taken)
    }

    /// `GET_ROUTEINFO_BY_TOPIC` (105) without the order configuration. None: unknown topic, or no broker of it is alive.
    pub fn route(&self, topic: &str) -> Option<RouteData> {
        let brokers = self.topics.get(topic)?;
        let queue_datas: Vec<QueueData> = brokers
            .iter()
            .map(|(name, queues)| QueueData {
                broker_name: name.to_owned(),
                read_queue_nums: queues.read,
                write_queue_nums: queues.write,
                perm: queues.perm,
                topic_sys_flag: queues.sys_flag,
            })
            .collect();
        let broker_datas: Vec<BrokerData> =
            brokers.names().filter_map(|name| self.broker_data(name)).collect();
        if queue_datas.is_empty() || broker_datas.is_empty() {
            return None;
        }
        Some(RouteData { broker_datas, queue_datas, order_topic_conf: None })
    }

    /// Addresses of one broker name (`GET_BROKER_MEMBER_GROUP`, 901), by id.
    pub fn broker_data(&self, broker_name: &str) -> Option<BrokerData> {
        let group = self.groups.get(broker_name)?;
        Some(BrokerData {
            cluster: group.cluster.clone(),
            broker_name: broker_name.to_owned(),
            broker_addrs: group.addrs.clone(),
        })
    }

    /// `GET_BROKER_CLUSTER_INFO` (106).
    pub fn cluster_info(&self) -> ClusterInfo {
        let brokers =
            self.groups.keys().filter_map(|name| Some((name.clone(), self.broker_data(name)?)));
        let clusters = self
            .clusters
            .iter()
            .map(|(name, brokers)| (name.clone(), brokers.iter().cloned().collect()));
        ClusterInfo { broker_addr_table: brokers.collect(), cluster_addr_table: clusters.collect() }
    }

    /// Equal numbers mean equal lists of topics.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Brokers that are registered, each replica for itself.
    pub fn broker_count(&self) -> usize {
        self.live.len()
    }

    /// Clusters that they belong to.
    pub fn cluster_count(&self) -> usize {
        self.clusters.len()
    }

    /// Topics with a route.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// All topics (`GET_ALL_TOPIC_LIST_FROM_NAMESERVER`, 206).
    pub fn topics(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }

    /// Topics with a broker in `cluster` (224). Empty for an unknown cluster.
    pub fn topics_of_cluster(&self, cluster: &str) -> Vec<String> {
        let Some(members) = self.clusters.get(cluster) else {
            return Vec::new();
        };
        let inside = |brokers: &Brokers| brokers.names().any(|name| members.contains(name));
        self.topics
            .iter()
            .filter(|(_, brokers)| inside(brokers))
            .map(|(topic, _)| topic.clone())
            .collect()
    }

    /// Whether a broker of this cluster is known.
    pub fn has_cluster(&self, cluster: &str) -> bool {
        self.clusters.contains_key(cluster)
    }

    /// Names that serve as system topics: clusters and brokers (304), and some broker that can be asked for more.
    pub fn system_topics(&self) -> (Vec<String>, Option<String>) {
        let mut names = Vec::new();
        for (cluster, brokers) in &self.clusters {
            names.push(cluster.clone());
            names.extend(brokers.iter().cloned());
        }
        let addr = self.groups.values().find_map(|group| group.addrs.values().next().cloned());
        (names, addr)
    }

    /// Topics by unit bits (311, 312, 313). As in Java only the first broker of a topic is looked at.
    pub fn topics_by_unit(&self, filter: UnitFilter) -> Vec<String> {
        let wanted = |queues: &Queues| {
            let (unit, sub) =
                (queues.sys_flag & SYS_FLAG_UNIT != 0, queues.sys_flag & SYS_FLAG_UNIT_SUB != 0);
            match filter {
                UnitFilter::Unit => unit,
                UnitFilter::UnitSub => sub,
                UnitFilter::UnitSubNotUnit => sub && !unit,
            }
        };
        let first_wanted =
            |brokers: &Brokers| brokers.iter().next().is_some_and(|(_, queues)| wanted(queues));
        self.topics
            .iter()
            .filter(|(_, brokers)| first_wanted(brokers))
            .map(|(topic, _)| topic.clone())
            .collect()
    }

    /// `WIPE_WRITE_PERM_OF_BROKER` (205): returns the number of topics touched. Lasts until the broker registers with a
    /// changed data version.
    pub fn wipe_write_perm(&mut self, broker_name: &str) -> usize {
        self.each_topic_of(broker_name, |queues| queues.perm &= !PERM_WRITE)
    }

    /// `ADD_WRITE_PERM_OF_BROKER` (327): returns the number of topics touched.
    pub fn add_write_perm(&mut self, broker_name: &str) -> usize {
        self.each_topic_of(broker_name, |queues| queues.perm = PERM_READ | PERM_WRITE)
    }

    /// `DELETE_TOPIC_IN_NAMESRV` (216): forgets a topic, everywhere or in one cluster. The broker's next registration
    /// brings it back while it still has it; one that asks before it registers hears that something changed.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(brokers) = self.topics.get_mut(topic) else {
            return;
        };
        self.generation += 1;
        let before = brokers.len();
        let groups = &self.groups;
        let stays = |name: &str| {
            let group = groups.get(name);
            cluster.is_some_and(|cluster| group.is_none_or(|group| group.cluster != cluster))
        };
        for name in brokers.names().filter(|name| !stays(name)) {
            let addrs = groups.get(name).into_iter().flat_map(|group| group.addrs.values());
            for addr in addrs {
                if let Some(live) = self.live.get_mut(addr) {
                    live.data_version = DataVersion { timestamp: -1, counter: -1 };
                }
            }
        }
        brokers.retain(stays);
        self.topic_routes -= before - brokers.len();
        if brokers.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// Panics when the tables contradict each other; for tests, after each event.
    pub fn check(&self) {
        for (addr, live) in &self.live {
            let group = self.groups.get(&live.broker_name).expect("a live broker has a group");
            assert_eq!(
                group.addrs.get(&live.broker_id),
                Some(addr),
                "a live broker is listed under its id"
            );
        }
        let listed: usize = self.groups.values().map(|group| group.addrs.len()).sum();
        assert_eq!(listed, self.live.len(), "every listed address is live");
        for (name, group) in &self.groups {
            assert!(!group.addrs.is_empty(), "{name} without addresses");
            let homes: Vec<&String> =
                self.clusters.iter().filter(|(_, b)| b.contains(name)).map(|(c, _)| c).collect();
            assert_eq!(homes, [&group.cluster], "{name} is in exactly one cluster");
        }
        assert!(
            self.clusters.values().all(|brokers| !brokers.is_empty()),
            "a cluster without brokers"
        );
        assert!(self.topics.values().all(|brokers| !brokers.is_empty()), "a topic without brokers");
        let strangers = self
            .topics
            .values()
            .flat_map(Brokers::names)
            .find(|name| !self.groups.contains_key(*name));
        assert_eq!(strangers, None, "a topic on an unknown broker");
        assert_eq!(
            self.topic_routes,
            self.topics.values().map(Brokers::len).sum::<usize>(),
            "count of topic routes"
        );
    }

    fn admit(&self, broker: &Registration<'_>) -> Result<(), RegisterError> {
        let mandatory = [
            (broker.cluster, "a cluster name"),
            (broker.broker_name, "a broker name"),
            (broker.broker_addr, "a broker address"),
        ];
        if let Some((_, what)) = mandatory.into_iter().find(|(value, _)| value.is_empty()) {
            return Err(RegisterError::Missing(what));
        }
        if self.live.len() >= BROKERS_MAX && !self.live.contains_key(broker.broker_addr) {
            return Err(RegisterError::TooManyBrokers(self.live.len()));
        }
        if broker.broker_id == MASTER_ID { self.admit_topics(broker.topics.len()) } else { Ok(()) }
    }

    /// Known topics count as new ones here when the tables are nearly full: refusing a little early is cheaper than
    /// counting exactly.
    fn admit_topics(&self, wanted: usize) -> Result<(), RegisterError> {
        if wanted > TOPIC_ROUTES_MAX / 2
            || self.topic_routes.saturating_add(wanted) > TOPIC_ROUTES_MAX
        {
            return Err(RegisterError::TooManyTopics {
                wanted,
                known: self.topic_routes,
                limit: TOPIC_ROUTES_MAX,
            });
        }
        Ok(())
    }

    /// Lists the broker under its cluster, name and id; whatever contradicts that is removed. Returns the address
    /// that had the id before.
    fn enrol(&mut self, broker: &Registration<'_>) -> Option<String> {
        // The address served another name before (renamed broker, or port taken over): that broker is gone.
        if self
            .live
            .get(broker.broker_addr)
            .is_some_and(|live| live.broker_name != broker.broker_name)
        {
            self.remove_broker(broker.broker_addr);
        }
        let group = self.groups.entry(broker.broker_name.to_owned()).or_default();
        if group.cluster != broker.cluster {
            let old = std::mem::replace(&mut group.cluster, broker.cluster.to_owned());
            leave_cluster(&mut self.clusters, &old, broker.broker_name);
        }
        self.clusters
            .entry(broker.cluster.to_owned())
            .or_default()
            .insert(broker.broker_name.to_owned());
        // A slave that became master (or the reverse) must not be listed twice.
        group.addrs.retain(|id, addr| *id == broker.broker_id || addr != broker.broker_addr);
        let previous = group.addrs.insert(broker.broker_id, broker.broker_addr.to_owned());
        // The broker came back under another address: the old one is not heard of any more.
        if let Some(old) = previous.as_ref().filter(|old| *old != broker.broker_addr) {
            self.live.remove(old);
        }
        previous
    }

    /// Adds a topic that is missing for this broker; `replace` also takes over changed facts.
    fn offer_topic(&mut self, broker_name: &str, topic: &TopicConfig, replace: bool) {
        if topic.topic_name.is_empty() {
            return;
        }
        let facts = Queues {
            read: topic.read_queue_nums,
            write: topic.write_queue_nums,
            perm: topic.perm,
            sys_flag: topic.topic_sys_flag,
        };
        let brokers = match self.topics.get_mut(&topic.topic_name) {
            Some(brokers) => brokers,
            None => self.topics.entry(topic.topic_name.clone()).or_default(),
        };
        match brokers.get_mut(broker_name) {
            Some(known) if replace => *known = facts,
            Some(_) => {}
            None => {
                brokers.insert(broker_name, facts);
                self.topic_routes += 1;
            }
        }
    }

    /// Address and replication address of a live master.
    fn master_of(&self, broker_name: &str) -> Option<(String, String)> {
        let addr = self.groups.get(broker_name)?.addrs.get(&MASTER_ID)?;
        Some((addr.clone(), self.live.get(addr)?.ha_server_addr.clone()))
    }

    fn each_topic_of(&mut self, broker_name: &str, mut change: impl FnMut(&mut Queues)) -> usize {
        let touched = self.topics.values_mut().filter_map(|brokers| brokers.get_mut(broker_name));
        touched.map(&mut change).count()
    }

    fn drop_where(&mut self, now: Uptime, gone: impl Fn(&Live) -> bool) -> Vec<Dropped> {
        let mut dropped: Vec<Dropped> = self
            .live
            .iter()
            .filter(|(_, live)| gone(live))
            .map(|(addr, live)| Dropped {
                broker_name: live.broker_name.clone(),
                broker_addr: addr.clone(),
                connection: live.connection,
                silent_ms: now - live.last_heard,
            })
            .collect();
        dropped.sort_by(|a, b| a.broker_addr.cmp(&b.broker_addr));
        for broker in &dropped {
            self.remove_broker(&broker.broker_addr);
        }
        dropped
    }

    /// Forgets one address. The last address of a name takes the name out of its cluster and of all topics.
    fn remove_broker(&mut self, broker_addr: &str) {
        self.generation += 1;
        let Some(live) = self.live.remove(broker_addr) else {
            return;
        };
        let name = live.broker_name;
        let Some(group) = self.groups.get_mut(&name) else {
            return;
        };
        group.addrs.retain(|_, addr| addr != broker_addr);
        if !group.addrs.is_empty() {
            return;
        }
        leave_cluster(&mut self.clusters, &group.cluster, &name);
        self.groups.remove(&name);
        let mut removed = 0;
        self.topics.retain(|_, brokers| {
            removed += usize::from(brokers.remove(&name));
            !brokers.is_empty()
        });
        self.topic_routes -= removed;
    }
}

fn leave_cluster(
    clusters: &mut BTreeMap<String, BTreeSet<String>>,
    cluster: &str,
    broker_name: &str,
) {
    if let Some(brokers) = clusters.get_mut(cluster) {
        brokers.remove(broker_name);
        if brokers.is_empty() {
            clusters.remove(cluster);
        }
    }
}
