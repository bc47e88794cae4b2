//! The topics of this broker: boot topics, automatic creation, administration, and what is registered with name
//! servers.
//!
//! Owned by `Control` on the control worker. Every change moves the data version, makes a record for the journal
//! ([`Topics::take_changes`]) and, if it has to be registered with name servers, moves [`Topics::announced`]; what
//! they have missed since a version is [`Topics::since`]. None of it looks at more than what changed. Messages of a
//! deleted topic are the store's matter. Source: Apache RocketMQ 4.9.8, `TopicConfigManager`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use proto::body::{DataVersion, TopicConfig, TopicConfigTable};

use super::change::{self, What};
use super::metadata::{
    MetadataError, MetadataFileError, PERM_BITS, PERM_INHERIT, PERM_READ, PERM_WRITE, QUEUES_MAX,
    SYS_FLAG_UNIT, SYS_FLAG_UNIT_SUB, TOPICS_MAX, check_deleted, check_range,
};
use super::names::{self, SystemTopics};
use super::shared_table::SharedTable;
use super::stored_table::StoredTable;
use super::whole_file::WholeFile;
use crate::{
    config::BrokerConfig,
    table_memory::{self, TableMemory},
};

const RW: i32 = PERM_READ | PERM_WRITE;
/// Queues of the topics that Java creates for itself at start.
const BENCHMARK_QUEUES: i32 = 1024;
const CLUSTER_TOPIC_QUEUES: i32 = 16;
const DELAY_LEVELS: i32 = 18;
/// So many changes are remembered for registrations; who has missed more gets everything.
const RECENT_MAX: usize = 8192;

/// What the configuration says about topics.
#[derive(Clone, Debug)]
pub struct TopicRules {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the broker.
    pub broker: String,
    /// `autoCreateTopicEnable`.
    pub auto_create: bool,
    /// `defaultTopicQueueNums`, the queues of TBW102.
    pub default_queues: i32,
    /// `clusterTopicEnable`.
    pub cluster_topic: bool,
    /// `brokerTopicEnable`.
    pub broker_topic: bool,
    /// Name of the trace topic, if it is to be created.
    pub trace_topic: Option<String>,
}

impl TopicRules {
    /// As the configuration says.
    pub fn of(config: &BrokerConfig) -> TopicRules {
        let trace_topic = config.trace_topic_enable.then(|| config.msg_trace_topic_name.clone());
        TopicRules {
            cluster: config.broker_cluster_name.clone(),
            broker: config.broker_name.clone(),
            auto_create: config.auto_create_topic_enable,
            default_queues: config.default_topic_queue_nums,
            cluster_topic: config.cluster_topic_enable,
            broker_topic: config.broker_topic_enable,
            trace_topic,
        }
    }
}

/// What a send to an unknown topic says about the topic it wants.
#[derive(Clone, Copy, Debug)]
pub struct WantedTopic<'a> {
    /// The unknown topic.
    pub topic: &'a str,
    /// Topic whose configuration it takes, `TBW102` from usual clients.
    pub default_topic: &'a str,
    /// How many queues the client would like.
    pub default_topic_queue_nums: i32,
    /// The client runs in unit mode.
    pub unit_mode: bool,
}

/// The table of topics.
#[derive(Debug)]
pub struct Topics {
    rules: TopicRules,
    system: SystemTopics,
    stored: StoredTable<TopicConfig>,
    /// Version at the last change that has to be registered with name servers.
    announced: DataVersion,
    /// Topics that were put lately, each with the version's counter at that time, ascending.
    recent: VecDeque<(i64, String)>,
    /// `recent` has everything above this counter that has to be registered with name servers.
    recent_above: i64,
}

impl Topics {
    /// The boot topics, before `topics.json` is merged over them.
    pub fn at_boot(rules: TopicRules, memory: Rc<TableMemory>, now: i64) -> Topics {
        let boot = boot_topics(&rules);
        let system = SystemTopics::with(boot.iter().map(|config| config.topic_name.clone()));
        let boot = boot.into_iter().map(|config| (config.topic_name.clone(), config)).collect();
        let stored = StoredTable::new(boot, now, table_memory::of_topic, memory);
        let version = stored.version;
        Topics {
            rules,
            system,
            stored,
            announced: version,
            recent: VecDeque::new(),
            recent_above: version.counter,
        }
    }

    /// Merges the content of `topics.json` over what is there and takes its version.
    pub fn load(&mut self, json: &[u8]) -> Result<(), MetadataFileError> {
        let file = TopicConfigTable::read(json)
            .map_err(|cause| MetadataFileError { file: "topics.json", cause })?;
        let (topics, deleted) = (file.topic_config_table, file.deleted_topics);
        self.stored.load(file.data_version, topics, deleted, |config, name| {
            name.clone_into(&mut config.topic_name);
        });
        self.announce_all();
        Ok(())
    }

    /// Replays a change of the journal, unless the file contained it already. For the start, before anything registers.
    pub(super) fn replay(&mut self, version: DataVersion, what: What<TopicConfig>) {
        if self.stored.replay(version, what, |config| &config.topic_name) {
            self.announce_all();
        }
    }

    /// The table without topics that are being dropped.
    pub(super) fn shown(&self) -> SharedTable<TopicConfig> {
        self.stored.shown()
    }

    /// Topics that were deleted and whose queues shards have yet to drop, with what each takes up.
    pub fn deleted(&self) -> &BTreeMap<String, usize> {
        &self.stored.deleted
    }

    /// Their names.
    pub(super) fn deleted_names(&self) -> BTreeSet<String> {
        self.stored.deleted_names()
    }

    /// No shard holds queues of this topic any more that were there when it was deleted. One that was made again
    /// meanwhile is to be seen from now on.
    pub(super) fn dropped(&mut self, name: &str, now: i64) {
        let news = self.stored.dropped(name, now, change::topic_dropped);
        if news && self.stored.entries.get(name).is_some() {
            self.announce(name.to_owned());
        }
    }

    /// A topic that only the store knows: the metadata has lost it. It gets as many queues as it has messages in.
    pub(super) fn adopt(&mut self, name: &str, queues: i32, now: i64) -> Result<(), MetadataError> {
        names::check_topic(name)?;
        self.put(topic(name, queues, RW, 0), now).map(drop)
    }

    /// The whole table as `topics.json` and as the body of `GET_ALL_TOPIC_CONFIG`.
    pub fn to_table(&self) -> TopicConfigTable {
        let topics = self.stored.entries.sorted().into_iter();
        TopicConfigTable {
            data_version: self.stored.version,
            deleted_topics: self.stored.deleted.keys().cloned().collect(),
            topic_config_table: topics
                .map(|(name, config)| (name.to_string(), TopicConfig::clone(config)))
                .collect(),
        }
    }

    /// The content of `topics.json`.
    pub(super) fn file(&self) -> WholeFile<TopicConfig> {
        self.stored.file(["deletedTopics", "topicConfigTable"], TopicConfig::write)
    }

    /// The topic of this name.
    pub fn get(&self, topic: &str) -> Option<&Arc<TopicConfig>> {
        self.stored.entries.get(topic)
    }

    /// All topics: cheap to clone into a snapshot.
    pub fn table(&self) -> &SharedTable<TopicConfig> {
        &self.stored.entries
    }

    /// Version of the table, as name servers get it.
    pub fn version(&self) -> DataVersion {
        self.stored.version
    }

    /// Topics that the broker owns.
    pub fn system(&self) -> &SystemTopics {
        &self.system
    }

    /// Changes since the last call, as the journal keeps them: durable before they are acknowledged.
    pub fn take_changes(&mut self) -> Vec<Vec<u8>> {
        self.stored.take_changes()
    }

    /// Version at the last change that has to be registered with name servers: not a deletion, because they forget no
    /// topic for being left out of a registration, and not an order, which they know themselves.
    pub fn announced(&self) -> DataVersion {
        self.announced
    }

    /// Topics that were put after this version. `None`: it is too long ago, everything counts.
    pub fn since(&self, version: DataVersion) -> Option<VecDeque<String>> {
        if !(self.recent_above..=self.stored.version.counter).contains(&version.counter) {
            return None;
        }
        let first = self.recent.partition_point(|(counter, _)| *counter <= version.counter);
        Some(self.recent.range(first..).map(|(_, name)| name.clone()).collect())
    }

    /// Everything has to be registered with name servers.
    fn announce_all(&mut self) {
        self.announced = self.stored.version;
        self.recent.clear();
        self.recent_above = self.stored.version.counter;
    }

    /// Moves the version without changing a topic: the broker's permission has changed, which routes show.
    pub fn touch(&mut self, now: i64) {
        self.stored.changed(now, change::topics_version);
        self.announce_all();
    }

    /// The rules have changed while the broker runs: topics that are as they say follow, TBW102 from then on also where it
    /// came from a file with other queues.
    pub fn follow(&mut self, rules: TopicRules, now: i64) {
        let before = std::mem::replace(&mut self.rules, rules);
        let rules = &self.rules;
        let mut changed = Vec::new();
        let perms = [
            (&rules.cluster, CLUSTER_TOPIC_QUEUES, before.cluster_topic, rules.cluster_topic),
            (&rules.broker, 1, before.broker_topic, rules.broker_topic),
        ];
        for (name, queues, was_open, is_open) in perms {
            if was_open != is_open {
                changed.push((name.clone(), queues, open(is_open)));
            }
        }
        if (before.auto_create, before.default_queues) != (rules.auto_create, rules.default_queues)
        {
            let perm = if rules.auto_create { RW | PERM_INHERIT } else { RW };
            changed.push((names::AUTO_CREATE_TOPIC.to_owned(), rules.default_queues, perm));
        }
        for (name, queues, perm) in changed {
            let known = self.stored.entries.get(&name);
            let wanted = match known {
                Some(known) if name != names::AUTO_CREATE_TOPIC => {
                    TopicConfig { perm, ..TopicConfig::clone(known) }
                }
                None if perm & PERM_INHERIT == 0 => continue,
                _ => topic(&name, queues, perm, 0),
            };
            if let Err(error) = self.put(wanted, now) {
                tracing::error!(topic = name, %error, "a topic of the broker cannot follow the configuration");
            }
        }
    }

    /// The topic of a send, created when the rules allow it. `Ok(None)`: it does not exist and may not be created
    /// (code 17). Exactly Java's rules: the default topic must exist and have INHERIT; a retry topic needs no default.
    pub fn find_or_create(
        &mut self,
        wanted: &WantedTopic<'_>,
        now: i64,
    ) -> Result<Option<Arc<TopicConfig>>, MetadataError> {
        if let Some(known) = self.stored.entries.get(wanted.topic) {
            return Ok(Some(Arc::clone(known)));
        }
        names::check_topic(wanted.topic)?;
        let is_retry = names::is_retry_topic(wanted.topic);
        let topic_sys_flag = match (wanted.unit_mode, is_retry) {
            (false, _) => 0,
            (true, false) => SYS_FLAG_UNIT,
            (true, true) => SYS_FLAG_UNIT_SUB,
        };
        let config = match self.default_for(wanted.default_topic, now) {
            Some(default) => {
                let queues = wanted.default_topic_queue_nums.min(default.write_queue_nums).max(0);
                TopicConfig {
                    topic_filter_type: default.topic_filter_type,
                    ..topic(wanted.topic, queues, default.perm & !PERM_INHERIT, topic_sys_flag)
                }
            }
            None if is_retry => topic(wanted.topic, 1, RW, topic_sys_flag),
            None => return Ok(None),
        };
        self.put(config, now).map(Some)
    }

    /// The group's retry topic, created when missing. `queues` is the group's `retryQueueNums`.
    pub fn ensure_retry(
        &mut self,
        group: &str,
        queues: i32,
        unit_mode: bool,
        now: i64,
    ) -> Result<Arc<TopicConfig>, MetadataError> {
        let sys_flag = if unit_mode { SYS_FLAG_UNIT_SUB } else { 0 };
        self.ensure(topic(&names::retry_topic(group), queues.max(0), RW, sys_flag), now)
    }

    /// A topic of the broker's own has at least so many queues.
    pub(super) fn raise_queues(
        &mut self,
        name: &str,
        queues: i32,
        now: i64,
    ) -> Result<(), MetadataError> {
        let known = self.ensure(topic(name, queues, RW, 0), now)?;
        if known.write_queue_nums.min(known.read_queue_nums) >= queues {
            return Ok(());
        }
        let raised = TopicConfig {
            read_queue_nums: queues.max(known.read_queue_nums),
            write_queue_nums: queues.max(known.write_queue_nums),
            ..(*known).clone()
        };
        self.put(raised, now).map(drop)
    }

    /// What the retry topic of a group of Java's defaults would take up.
    pub(super) fn bytes_of_retry(&self, group: &str) -> usize {
        let name = names::retry_topic(group);
        if self.stored.entries.get(&name).is_some() {
            return 0;
        }
        table_memory::of_topic(&topic(&name, 1, RW, 0)).sum()
    }

    /// The group's topic of messages that are given up, created when missing.
    pub fn ensure_dlq(&mut self, group: &str, now: i64) -> Result<Arc<TopicConfig>, MetadataError> {
        self.ensure(topic(&names::dlq_topic(group), 1, RW, 0), now)
    }

    /// `UPDATE_AND_CREATE_TOPIC`: replaces the whole configuration. As in 4.9.8 `order` of the request is ignored.
    pub fn update(
        &mut self,
        wanted: TopicConfig,
        now: i64,
    ) -> Result<Arc<TopicConfig>, MetadataError> {
        self.check(&wanted)?;
        self.put(TopicConfig { order: false, ..wanted }, now)
    }

    /// Whether a client may ask for such a topic.
    pub(super) fn check(&self, wanted: &TopicConfig) -> Result<(), MetadataError> {
        self.check_not_ours(&wanted.topic_name)?;
        check_range("readQueueNums", wanted.read_queue_nums, 0, QUEUES_MAX)?;
        check_range("writeQueueNums", wanted.write_queue_nums, 0, QUEUES_MAX)?;
        check_range("perm", wanted.perm, 0, PERM_BITS)
    }

    /// [`Topics::update`] of several topics with different names, each of which was checked: all, or none for want of room.
    pub(super) fn update_all(
        &mut self,
        wanted: Vec<TopicConfig>,
        now: i64,
    ) -> Result<(), MetadataError> {
        let named = wanted.iter().map(|topic| (topic.topic_name.as_str(), topic));
        self.stored.admit_all(named, ("topics", TOPICS_MAX))?;
        for topic in wanted {
            let (name, topic) = (topic.topic_name.clone(), TopicConfig { order: false, ..topic });
            self.stored.put_admitted(&name, topic, now, change::topic_put);
            self.announce(name);
        }
        Ok(())
    }

    /// `DELETE_TOPIC_IN_BROKER`. False: there was no such topic, which is a success too.
    pub fn delete(&mut self, topic: &str, now: i64) -> Result<bool, MetadataError> {
        self.check_not_ours(topic)?;
        if self.stored.entries.get(topic).is_none() {
            return Ok(false);
        }
        if !self.stored.deleted.contains_key(topic) {
            check_deleted("topics", self.stored.deleted.len())?;
        }
        self.stored.hide(topic.to_owned());
        self.stored.changed(now, |version| change::topic_deleted(version, topic));
        Ok(true)
    }

    /// What a registration's answer says about order topics: listed ones become `order`, all others not.
    pub fn apply_order(&mut self, listed: &BTreeSet<String>, now: i64) {
        let different = |config: &TopicConfig| config.order != listed.contains(&config.topic_name);
        let changed: Vec<TopicConfig> = self
            .stored
            .entries
            .iter()
            .filter(|(_, config)| different(config))
            .map(|(_, config)| TopicConfig { order: !config.order, ..TopicConfig::clone(config) })
            .collect();
        for config in changed {
            self.stored.changed(now, |version| change::topic_put(version, &config));
            self.stored.insert(&config.topic_name.clone(), Arc::new(config));
        }
    }

    /// The default topic if it may be inherited from. TBW102 loses INHERIT when automatic creation is off, even if
    /// it was loaded from a file with it.
    fn default_for(&mut self, default_topic: &str, now: i64) -> Option<Arc<TopicConfig>> {
        let default = Arc::clone(self.stored.entries.get(default_topic)?);
        if default.perm & PERM_INHERIT == 0 {
            return None;
        }
        if default_topic == names::AUTO_CREATE_TOPIC && !self.rules.auto_create {
            let closed = TopicConfig { perm: RW, ..TopicConfig::clone(&default) };
            // The table is not full by replacing what is in it.
            let _ = self.put(closed, now);
            return None;
        }
        Some(default)
    }

    fn check_not_ours(&self, topic: &str) -> Result<(), MetadataError> {
        names::check_topic(topic)?;
        if self.system.contains(topic) {
            return Err(MetadataError::SystemTopic { topic: topic.to_owned() });
        }
        Ok(())
    }

    fn ensure(&mut self, wanted: TopicConfig, now: i64) -> Result<Arc<TopicConfig>, MetadataError> {
        match self.stored.entries.get(&wanted.topic_name) {
            Some(known) => Ok(Arc::clone(known)),
            None => {
                names::check_topic(&wanted.topic_name)?;
                self.put(wanted, now)
            }
        }
    }

    fn put(&mut self, config: TopicConfig, now: i64) -> Result<Arc<TopicConfig>, MetadataError> {
        let name = config.topic_name.clone();
        let config =
            self.stored.put(&name, config, ("topics", TOPICS_MAX), now, change::topic_put)?;
        self.announce(name);
        Ok(config)
    }

    /// This topic has to be registered with name servers, at the present version.
    fn announce(&mut self, name: String) {
        self.announced = self.stored.version;
        self.recent.push_back((self.stored.version.counter, name));
        if self.recent.len() > RECENT_MAX
            && let Some((counter, _)) = self.recent.pop_front()
        {
            self.recent_above = counter;
        }
    }
}

/// Permission of a topic that can be read and written, or not.
fn open(enabled: bool) -> i32 {
    if enabled { RW | PERM_INHERIT } else { PERM_INHERIT }
}

/// A topic with as many read as write queues.
fn topic(name: &str, queues: i32, perm: i32, topic_sys_flag: i32) -> TopicConfig {
    TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm,
        topic_sys_flag,
        ..TopicConfig::default()
    }
}

/// Topics that exist as soon as a broker starts.
fn boot_topics(rules: &TopicRules) -> Vec<TopicConfig> {
    let mut topics = vec![
        topic(names::SELF_TEST_TOPIC, 1, RW, 0),
        topic(names::BENCHMARK_TOPIC, BENCHMARK_QUEUES, RW, 0),
        topic(&rules.cluster, CLUSTER_TOPIC_QUEUES, open(rules.cluster_topic), 0),
        topic(&rules.broker, 1, open(rules.broker_topic), 0),
        topic(names::OFFSET_MOVED_TOPIC, 1, RW, 0),
        topic(names::SCHEDULE_TOPIC, DELAY_LEVELS, RW, 0),
        topic(&names::reply_topic(&rules.cluster), 1, RW, 0),
        topic(names::TRANS_HALF_TOPIC, 1, RW, 0),
        topic(names::TRANS_OP_TOPIC, 1, RW, 0),
    ];
    if rules.auto_create {
        let queues = rules.default_queues;
        topics.push(topic(names::AUTO_CREATE_TOPIC, queues, RW | PERM_INHERIT, 0));
    }
    topics.extend(rules.trace_topic.iter().map(|name| topic(name, 1, RW, 0)));
    topics
}

#[cfg(test)]
#[path = "topics_tests.rs"]
mod tests;
