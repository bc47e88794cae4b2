//! How the journal of metadata keeps one change of the tables of topics and groups, and how a start reads it back.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | table: 1 topics, 2 groups, 3 queue locks, 4 request modes |
//! | 1 | what: 1 put, 2 removed, 3 only the version moved, 4 deleted: what shards hold of it is to be dropped, 5 dropped; 6 locked, 7 unlocked; 8 mode set, 9 a topic's modes removed, 10 a group's |
//! | 8 | timestamp of the table's version after the change, ms; 0 for locks and modes |
//! | 8 | its counter |
//! | n | put: the configuration, JSON in Java's shape; removed, deleted, dropped: the name; locks: client, group and queues, JSON; a mode: JSON in Java's shape; modes removed: the name |
//!
//! Topics are always deleted by 4; former versions wrote 2, behind which nothing may be dropped any more: the topic may have
//! been made again. Numbers are little-endian. The counter makes replaying harmless: a table passes over what it contains already.

use proto::body::{
    BodyError, DataVersion, GroupRequestMode, LockedQueues, SubscriptionGroupConfig, TopicConfig,
};

const TOPICS: u8 = 1;
const GROUPS: u8 = 2;
const LOCKS: u8 = 3;
const MODES: u8 = 4;
const PUT: u8 = 1;
const REMOVED: u8 = 2;
const VERSION: u8 = 3;
const DELETED: u8 = 4;
const DROPPED: u8 = 5;
const LOCKED: u8 = 6;
const UNLOCKED: u8 = 7;
const MODE_SET: u8 = 8;
const TOPIC_MODES: u8 = 9;
const GROUP_MODES: u8 = 10;
const HEAD_BYTES: usize = 2 + 2 * size_of::<i64>();

/// What a change did to a table whose entries are `F`.
#[derive(Debug, PartialEq)]
pub(super) enum What<F> {
    /// This entry stands under its name now.
    Put(F),
    /// The name is gone.
    Removed(String),
    /// The name is gone, and so must be what shards hold of it.
    Deleted(String),
    /// No shard holds anything any more that was there when the name was deleted.
    Dropped(String),
    /// Nothing but the version changed.
    Version,
}

/// A change of one of the tables, with the table's version after it.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    Topics(DataVersion, What<TopicConfig>),
    Groups(DataVersion, What<SubscriptionGroupConfig>),
    /// A client holds these queues now.
    Locked(DataVersion, LockedQueues),
    /// Nobody holds these queues now.
    Unlocked(DataVersion, LockedQueues),
    /// A group gets messages of a topic in this way now.
    ModeSet(DataVersion, GroupRequestMode),
    /// The modes of all groups for this topic are gone.
    TopicModesRemoved(DataVersion, String),
    /// The modes of this group for all topics are gone.
    GroupModesRemoved(DataVersion, String),
}

/// A record of the journal that is none of ours, although its checksum is right: another version wrote it.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Its head says nothing that we know.
    #[error("a change of unknown kind ({table}, {what})")]
    Unknown {
        /// First byte.
        table: u8,
        /// Second byte.
        what: u8,
    },
    /// It ends too early, or a name is no text.
    #[error("a change that ends too early, or whose name is no text")]
    Garbled,
    /// The configuration cannot be read.
    #[error(transparent)]
    Body(#[from] BodyError),
}

/// The record of a topic that was put.
pub(super) fn topic_put(version: DataVersion, config: &TopicConfig) -> Vec<u8> {
    let mut record = head(TOPICS, PUT, version);
    config.write(&mut record);
    record
}

/// The record of a topic that was deleted.
pub(super) fn topic_deleted(version: DataVersion, name: &str) -> Vec<u8> {
    named(TOPICS, DELETED, version, name)
}

/// The record of a topic of which no shard holds anything any more.
pub(super) fn topic_dropped(version: DataVersion, name: &str) -> Vec<u8> {
    named(TOPICS, DROPPED, version, name)
}

/// The record of a moved version.
pub(super) fn topics_version(version: DataVersion) -> Vec<u8> {
    head(TOPICS, VERSION, version)
}

/// The record of a group that was put.
pub(super) fn group_put(version: DataVersion, config: &SubscriptionGroupConfig) -> Vec<u8> {
    let mut record = head(GROUPS, PUT, version);
    config.write(&mut record);
    record
}

/// The record of a group that was removed, and keeps its offsets.
pub(super) fn group_removed(version: DataVersion, name: &str) -> Vec<u8> {
    named(GROUPS, REMOVED, version, name)
}

/// The record of a group that was deleted with its offsets.
pub(super) fn group_deleted(version: DataVersion, name: &str) -> Vec<u8> {
    named(GROUPS, DELETED, version, name)
}

/// The record of a group of which no shard holds anything any more.
pub(super) fn group_dropped(version: DataVersion, name: &str) -> Vec<u8> {
    named(GROUPS, DROPPED, version, name)
}

/// The record of queues that have a new holder.
pub(super) fn queues_locked(version: DataVersion, held: &LockedQueues) -> Vec<u8> {
    locks(LOCKED, version, held)
}

/// The record of queues that nobody holds any more.
pub(super) fn queues_unlocked(version: DataVersion, held: &LockedQueues) -> Vec<u8> {
    locks(UNLOCKED, version, held)
}

/// The record of a mode that was set.
pub(super) fn mode_set(version: DataVersion, mode: &GroupRequestMode) -> Vec<u8> {
    let mut record = head(MODES, MODE_SET, version);
    mode.write(&mut record);
    record
}

/// The record of a topic that has no modes any more.
pub(super) fn topic_modes_removed(version: DataVersion, topic: &str) -> Vec<u8> {
    named(MODES, TOPIC_MODES, version, topic)
}

/// The record of a group that has no modes any more.
pub(super) fn group_modes_removed(version: DataVersion, group: &str) -> Vec<u8> {
    named(MODES, GROUP_MODES, version, group)
}

fn locks(what: u8, version: DataVersion, held: &LockedQueues) -> Vec<u8> {
    let mut record = head(LOCKS, what, version);
    held.write(&mut record);
    record
}

fn named(table: u8, what: u8, version: DataVersion, name: &str) -> Vec<u8> {
    let mut record = head(table, what, version);
    record.extend_from_slice(name.as_bytes());
    record
}

fn head(table: u8, what: u8, version: DataVersion) -> Vec<u8> {
    // A usual configuration fits without growing.
    let mut record = Vec::with_capacity(256);
    record.extend_from_slice(&[table, what]);
    record.extend_from_slice(&version.timestamp.to_le_bytes());
    record.extend_from_slice(&version.counter.to_le_bytes());
    assert!(record.len() == HEAD_BYTES);
    record
}

/// Reads a record.
pub(super) fn read(record: &[u8]) -> Result<Change, ChangeError> {
    let (head, rest) = record.split_first_chunk::<HEAD_BYTES>().ok_or(ChangeError::Garbled)?;
    let number = |at: usize| {
        let bytes = head.get(at..).and_then(|bytes| bytes.first_chunk());
        bytes.map(|bytes| i64::from_le_bytes(*bytes)).ok_or(ChangeError::Garbled)
    };
    let version = DataVersion { timestamp: number(2)?, counter: number(10)? };
    let name = || String::from_utf8(rest.to_vec()).map_err(|_| ChangeError::Garbled);
    let [table, what, ..] = *head;
    match (table, what) {
        (TOPICS, PUT) => Ok(Change::Topics(version, What::Put(TopicConfig::read(rest)?))),
        (TOPICS, REMOVED) => Ok(Change::Topics(version, What::Removed(name()?))),
        (TOPICS, DELETED) => Ok(Change::Topics(version, What::Deleted(name()?))),
        (TOPICS, DROPPED) => Ok(Change::Topics(version, What::Dropped(name()?))),
        (TOPICS, VERSION) => Ok(Change::Topics(version, What::Version)),
        (GROUPS, PUT) => {
            Ok(Change::Groups(version, What::Put(SubscriptionGroupConfig::read(rest)?)))
        }
        (GROUPS, REMOVED) => Ok(Change::Groups(version, What::Removed(name()?))),
        (GROUPS, DELETED) => Ok(Change::Groups(version, What::Deleted(name()?))),
        (GROUPS, DROPPED) => Ok(Change::Groups(version, What::Dropped(name()?))),
        (LOCKS, LOCKED) => Ok(Change::Locked(version, LockedQueues::read(rest)?)),
        (LOCKS, UNLOCKED) => Ok(Change::Unlocked(version, LockedQueues::read(rest)?)),
        (MODES, MODE_SET) => Ok(Change::ModeSet(version, GroupRequestMode::read(rest)?)),
        (MODES, TOPIC_MODES) => Ok(Change::TopicModesRemoved(version, name()?)),
        (MODES, GROUP_MODES) => Ok(Change::GroupModesRemoved(version, name()?)),
        (table, what) => Err(ChangeError::Unknown { table, what }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION_7: DataVersion = DataVersion { timestamp: 1_700_000_000_000, counter: 7 };

    #[test]
    fn every_change_comes_back() {
        let topic = TopicConfig { topic_name: "orders".to_owned(), perm: 4, ..Default::default() };
        let group = SubscriptionGroupConfig { group_name: "cg".to_owned(), ..Default::default() };
        let held = LockedQueues {
            client_id: "10.0.0.1@7".to_owned(),
            consumer_group: "cg".to_owned(),
            queues: [("orders".to_owned(), vec![0, 3])].into(),
        };
        let mode = GroupRequestMode {
            consumer_group: "cg".to_owned(),
            pop_share_queue_num: -1,
            ..GroupRequestMode::default()
        };
        for (record, change) in [
            (topic_put(VERSION_7, &topic), Change::Topics(VERSION_7, What::Put(topic.clone()))),
            (
                topic_deleted(VERSION_7, "orders"),
                Change::Topics(VERSION_7, What::Deleted("orders".to_owned())),
            ),
            (
                topic_dropped(VERSION_7, "orders"),
                Change::Topics(VERSION_7, What::Dropped("orders".to_owned())),
            ),
            (
                named(TOPICS, REMOVED, VERSION_7, "orders"),
                Change::Topics(VERSION_7, What::Removed("orders".to_owned())),
            ),
            (
                group_deleted(VERSION_7, "cg"),
                Change::Groups(VERSION_7, What::Deleted("cg".to_owned())),
            ),
            (
                group_dropped(VERSION_7, "cg"),
                Change::Groups(VERSION_7, What::Dropped("cg".to_owned())),
            ),
            (topics_version(VERSION_7), Change::Topics(VERSION_7, What::Version)),
            (group_put(VERSION_7, &group), Change::Groups(VERSION_7, What::Put(group.clone()))),
            (queues_locked(VERSION_7, &held), Change::Locked(VERSION_7, held.clone())),
            (queues_unlocked(VERSION_7, &held), Change::Unlocked(VERSION_7, held.clone())),
            (mode_set(VERSION_7, &mode), Change::ModeSet(VERSION_7, mode.clone())),
            (
                topic_modes_removed(VERSION_7, "orders"),
                Change::TopicModesRemoved(VERSION_7, "orders".to_owned()),
            ),
            (
                group_modes_removed(VERSION_7, "cg"),
                Change::GroupModesRemoved(VERSION_7, "cg".to_owned()),
            ),
            (
                group_removed(VERSION_7, "cg"),
                Change::Groups(VERSION_7, What::Removed("cg".to_owned())),
            ),
        ] {
            assert_eq!(read(&record).expect("readable"), change);
        }
    }

    #[test]
    fn what_is_none_of_ours_is_refused() {
        assert!(matches!(read(b""), Err(ChangeError::Garbled)));
        assert!(matches!(read(&[9; 18]), Err(ChangeError::Unknown { table: 9, what: 9 })));
        let mut record = topic_deleted(VERSION_7, "x");
        record.push(0xff);
        assert!(matches!(read(&record), Err(ChangeError::Garbled)));
        record[1] = PUT;
        assert!(matches!(read(&record), Err(ChangeError::Body(_))));
    }
}
