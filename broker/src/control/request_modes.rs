//! How the members of a group get messages of a topic, pulling or popping: SET_MESSAGE_REQUEST_MODE (401).
//!
//! What always holds: a mode is durable before its setting is answered; it goes with its topic and with its group, so that
//! nobody who makes one of that name again meets a mode that was set for its predecessor (Java keeps them). A crash may
//! leave a mode whose topic or group is gone, because both are records of their own: a start takes it away
//! ([`RequestModes::retain`]). Source: Apache RocketMQ 5.3.3, `MessageRequestModeManager`.

use super::{
    change,
    metadata::{MetadataError, check_unsaved},
};
use crate::table_memory::TableMemory;
use proto::body::{DataVersion, GroupRequestMode, MessageRequestMode, RequestModeTable, pieces};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

/// Modes of one broker; more are refused. With the longest names their file is 56 MB, which can be read again.
const REQUEST_MODES_MAX: usize = 65_536;
/// Of a mode: its place in the table and in the index by group, its JSON in a file and in an answer, names aside.
const MODE_BYTES: usize = 640;
/// Of a topic with modes, the same.
const TOPIC_BYTES: usize = 320;
/// Of a group with modes.
const GROUP_BYTES: usize = 256;
/// Places where names stand, in those copies and their changes.
const GROUP_NAMES: usize = 6;
const TOPIC_NAMES: usize = 4;
/// What all are called in refusals.
const WHAT: &str = "request modes";

/// How a group gets messages of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestMode {
    /// How.
    pub mode: MessageRequestMode,
    /// So many members behind a member share its queues; all do if it is not above 0.
    pub pop_share_queue_num: i32,
}

/// By group.
type GroupModes = BTreeMap<Arc<str>, RequestMode>;

/// All modes.
#[derive(Debug, Default)]
pub struct RequestModes {
    topics: BTreeMap<Arc<str>, Arc<GroupModes>>,
    /// Topics for which a group has modes.
    by_group: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    count: usize,
    /// As the journal keeps them.
    changes: Vec<Vec<u8>>,
    memory: Rc<TableMemory>,
    /// Changes so far, over all starts.
    counter: i64,
}

impl RequestModes {
    /// No modes, whose memory counts in `memory`.
    pub(super) fn new(memory: Rc<TableMemory>) -> RequestModes {
        RequestModes { memory, ..RequestModes::default() }
    }

    /// The mode that was set for a topic and a group.
    pub fn get(&self, topic: &str, group: &str) -> Option<RequestMode> {
        self.topics.get(topic)?.get(group).copied()
    }

    /// Sets a mode. The caller knows that topic and group exist.
    pub(super) fn set(
        &mut self,
        topic: &str,
        group: &str,
        mode: RequestMode,
    ) -> Result<(), MetadataError> {
        if self.get(topic, group) == Some(mode) {
            return Ok(());
        }
        self.admit(topic, group)?;
        self.insert(topic, group, mode);
        let entry = entry(topic, group, mode);
        self.record(|version| change::mode_set(version, &entry));
        Ok(())
    }

    /// A topic was deleted: its modes go.
    pub(super) fn topic_deleted(&mut self, topic: &str) {
        if self.remove_topic(topic) {
            self.record(|version| change::topic_modes_removed(version, topic));
        }
    }

    /// A group was deleted: its modes go.
    pub(super) fn group_deleted(&mut self, group: &str) {
        if self.remove_group(group) {
            self.record(|version| change::group_modes_removed(version, group));
        }
    }

    /// At the end of a start: modes of topics and groups that are not there go. Returns how many did.
    pub(super) fn retain(
        &mut self,
        has_topic: impl Fn(&str) -> bool,
        has_group: impl Fn(&str) -> bool,
    ) -> usize {
        let before = self.count;
        let topics = self.topics.keys().filter(|topic| !has_topic(topic));
        let topics: Vec<Arc<str>> = topics.cloned().collect();
        topics.iter().for_each(|topic| self.topic_deleted(topic));
        let groups = self.by_group.keys().filter(|group| !has_group(group));
        let groups: Vec<Arc<str>> = groups.cloned().collect();
        groups.iter().for_each(|group| self.group_deleted(group));
        before - self.count
    }

    /// Merges the content of `messageRequestMode.json`. The names under which an entry is found are what counts.
    pub(super) fn load(&mut self, table: &RequestModeTable) {
        for (topic, groups) in &table.message_request_mode_map {
            groups.iter().for_each(|(group, entry)| self.insert(topic, group, mode_in(entry)));
        }
        self.counter = table.counter;
    }

    /// Replays a change of the journal, unless the file contained it.
    pub(super) fn replay_set(&mut self, version: DataVersion, entry: &GroupRequestMode) {
        if self.is_news(version) {
            self.insert(&entry.topic, &entry.consumer_group, mode_in(entry));
        }
    }

    /// The same of a topic that has no modes any more.
    pub(super) fn replay_topic_removed(&mut self, version: DataVersion, topic: &str) {
        if self.is_news(version) {
            self.remove_topic(topic);
        }
    }

    /// The same of a group.
    pub(super) fn replay_group_removed(&mut self, version: DataVersion, group: &str) {
        if self.is_news(version) {
            self.remove_group(group);
        }
    }

    fn is_news(&mut self, version: DataVersion) -> bool {
        let is_news = version.counter > self.counter;
        self.counter = self.counter.max(version.counter);
        is_news
    }

    /// Changes since the last call, as the journal keeps them.
    pub(super) fn take_changes(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.changes)
    }

    /// All modes as they are now: for the file, and for who asks for them.
    pub fn all(&self) -> AllModes {
        let topics = self.topics.iter();
        let topics = topics.map(|(topic, groups)| (Arc::clone(topic), Arc::clone(groups)));
        AllModes { counter: self.counter, count: self.count, topics: topics.collect() }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Refuses a mode that does not fit beside all others.
    fn admit(&self, topic: &str, group: &str) -> Result<(), MetadataError> {
        check_unsaved(&self.memory)?;
        if self.get(topic, group).is_some() {
            return Ok(());
        }
        if self.count >= REQUEST_MODES_MAX {
            return Err(MetadataError::Full { what: WHAT, count: self.count });
        }
        let more = self.bytes_of_new(topic, group);
        if !self.memory.has_room(more) {
            let (bytes, limit) = self.memory.level();
            let name = format!("the topic {topic} and the group {group}");
            return Err(MetadataError::NoRoom { what: WHAT, name, more, bytes, limit });
        }
        Ok(())
    }

    /// What a mode takes up that is not there yet.
    fn bytes_of_new(&self, topic: &str, group: &str) -> usize {
        let of_topic = if self.topics.contains_key(topic) { 0 } else { topic_bytes(topic) };
        let of_group = if self.by_group.contains_key(group) { 0 } else { group_bytes(group) };
        of_topic + of_group + mode_bytes(topic, group)
    }

    /// Puts a mode, whatever the limits: it is on the disk, or was admitted.
    fn insert(&mut self, topic: &str, group: &str, mode: RequestMode) {
        if let Some(known) = self.topics.get_mut(topic).map(Arc::make_mut)
            && let Some(before) = known.get_mut(group)
        {
            *before = mode;
            return;
        }
        self.memory.replace(0, self.bytes_of_new(topic, group));
        self.count += 1;
        let topic_name = name_in(&self.topics, topic);
        let group_name = name_in(&self.by_group, group);
        let groups = self.topics.entry(Arc::clone(&topic_name)).or_default();
        Arc::make_mut(groups).insert(Arc::clone(&group_name), mode);
        self.by_group.entry(group_name).or_default().insert(topic_name);
    }

    /// False: it had none.
    fn remove_topic(&mut self, topic: &str) -> bool {
        let Some(groups) = self.topics.remove(topic) else { return false };
        let mut bytes = topic_bytes(topic);
        for group in groups.keys() {
            bytes += mode_bytes(topic, group);
            if let Some(topics) = self.by_group.get_mut(group) {
                topics.remove(topic);
                if topics.is_empty() {
                    self.by_group.remove(group);
                    bytes += group_bytes(group);
                }
            }
        }
        self.count -= groups.len();
        self.memory.replace(bytes, 0);
        true
    }

    /// False: it had none.
    fn remove_group(&mut self, group: &str) -> bool {
        let Some(topics) = self.by_group.remove(group) else { return false };
        let mut bytes = group_bytes(group);
        for topic in &topics {
            bytes += mode_bytes(topic, group);
            if let Some(groups) = self.topics.get_mut(topic).map(Arc::make_mut) {
                groups.remove(group);
                if groups.is_empty() {
                    self.topics.remove(topic);
                    bytes += topic_bytes(topic);
                }
            }
        }
        self.count -= topics.len();
        self.memory.replace(bytes, 0);
        true
    }

    /// Has the journal note a change.
    fn record(&mut self, record: impl FnOnce(DataVersion) -> Vec<u8>) {
        self.counter += 1;
        let record = record(DataVersion { timestamp: 0, counter: self.counter });
        self.memory.changed(&record);
        self.changes.push(record);
    }

    /// Panics when the tables contradict each other. For tests, after each event.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut bytes = 0;
        let mut by_group: BTreeMap<Arc<str>, BTreeSet<Arc<str>>> = BTreeMap::new();
        for (topic, groups) in &self.topics {
            assert!(!groups.is_empty(), "{topic}");
            bytes += topic_bytes(topic);
            for group in groups.keys() {
                bytes += mode_bytes(topic, group);
                by_group.entry(Arc::clone(group)).or_default().insert(Arc::clone(topic));
            }
        }
        bytes += by_group.keys().map(|group| group_bytes(group)).sum::<usize>();
        assert_eq!(self.by_group, by_group);
        assert_eq!(self.count, self.topics.values().map(|groups| groups.len()).sum::<usize>());
        assert_eq!(self.memory.level().0, bytes, "nothing else is counted in tests");
    }
}

/// The name as it stands in a table, or a new one.
fn name_in<V>(table: &BTreeMap<Arc<str>, V>, name: &str) -> Arc<str> {
    table.get_key_value(name).map_or_else(|| Arc::from(name), |(known, _)| Arc::clone(known))
}

fn mode_bytes(topic: &str, group: &str) -> usize {
    MODE_BYTES + TOPIC_NAMES * topic.len() + GROUP_NAMES * group.len()
}

fn topic_bytes(topic: &str) -> usize {
    TOPIC_BYTES + TOPIC_NAMES * topic.len()
}

fn group_bytes(group: &str) -> usize {
    GROUP_BYTES + group.len()
}

fn mode_in(entry: &GroupRequestMode) -> RequestMode {
    RequestMode { mode: entry.mode, pop_share_queue_num: entry.pop_share_queue_num }
}

fn entry(topic: &str, group: &str, mode: RequestMode) -> GroupRequestMode {
    GroupRequestMode {
        consumer_group: group.to_owned(),
        mode: mode.mode,
        pop_share_queue_num: mode.pop_share_queue_num,
        topic: topic.to_owned(),
    }
}

/// All modes at one moment: those that change meanwhile do not change it.
pub struct AllModes {
    counter: i64,
    count: usize,
    topics: Vec<(Arc<str>, Arc<GroupModes>)>,
}

impl AllModes {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The answer to GET_ALL_MESSAGE_REQUEST_MODE.
    pub fn to_table(&self) -> RequestModeTable {
        let of_topic = |topic: &str, groups: &GroupModes| {
            let entries = groups.iter();
            entries.map(|(group, mode)| (group.to_string(), entry(topic, group, *mode))).collect()
        };
        let topics = self.topics.iter();
        let topics = topics.map(|(topic, groups)| (topic.to_string(), of_topic(topic, groups)));
        RequestModeTable { counter: 0, message_request_mode_map: topics.collect() }
    }

    /// The content of `messageRequestMode.json`. `pause` is made between entries.
    pub(super) async fn encode(&self, pause: &impl AsyncFn()) -> Vec<u8> {
        let head = format!("{{\"counter\":{},\"messageRequestModeMap\":{{", self.counter);
        let mut out = head.into_bytes();
        let mut is_first_topic = true;
        for (topic, groups) in &self.topics {
            write_entry(&mut out, &mut is_first_topic, topic, |out| out.push(b'{'));
            let mut is_first_group = true;
            for (group, mode) in groups.iter() {
                let entry = entry(topic, group, *mode);
                write_entry(&mut out, &mut is_first_group, group, |out| entry.write(out));
                pause().await;
            }
            out.push(b'}');
        }
        out.extend_from_slice(pieces::TABLE_END);
        out
    }
}

/// Appends a member of a table, with a comma before it unless it is the first.
fn write_entry(
    out: &mut Vec<u8>,
    is_first: &mut bool,
    name: &str,
    write_value: impl FnOnce(&mut Vec<u8>),
) {
    let at = out.len();
    pieces::table_entry(out, name, write_value);
    if std::mem::take(is_first) {
        out.remove(at);
    }
}

#[cfg(test)]
#[path = "request_modes_tests.rs"]
mod tests;
