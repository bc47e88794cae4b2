//! The consumer groups of this broker: predefined ones, automatic creation, administration.
//!
//! Owned by `Control` on the control worker. A group's configuration outlives its members; who is online is in
//! `members.rs`. Source: Apache RocketMQ 4.9.8, `SubscriptionGroupManager`.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use proto::body::{DataVersion, SubscriptionGroupConfig, SubscriptionGroupTable};

use super::change::{self, What};
use super::metadata::{
    GROUP_BYTES_MAX, GROUPS_MAX, MetadataError, MetadataFileError, PERM_READ, check_deleted,
};
use super::names;
use super::shared_table::SharedTable;
use super::stored_table::StoredTable;
use super::whole_file::WholeFile;
use crate::table_memory::{self, TableMemory};

/// Groups that exist as soon as a broker starts.
const PREDEFINED: &[&str] = &[
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    names::TRANS_GROUP,
];

/// The table of groups.
#[derive(Debug)]
pub struct Groups {
    auto_create: bool,
    stored: StoredTable<SubscriptionGroupConfig>,
}

impl Groups {
    /// The predefined groups, before `subscriptionGroup.json` is merged over them.
    pub fn at_boot(auto_create: bool, memory: Rc<TableMemory>, now: i64) -> Groups {
        let predefined = PREDEFINED.iter().map(|name| ((*name).to_owned(), group(name))).collect();
        let stored = StoredTable::new(predefined, now, table_memory::of_group, memory);
        Groups { auto_create, stored }
    }

    /// `autoCreateSubscriptionGroup` has changed.
    pub fn set_auto_create(&mut self, auto_create: bool) {
        self.auto_create = auto_create;
    }

    /// Merges the content of `subscriptionGroup.json` over what is there and takes its version.
    pub fn load(&mut self, json: &[u8]) -> Result<(), MetadataFileError> {
        let file = SubscriptionGroupTable::read(json)
            .map_err(|cause| MetadataFileError { file: "subscriptionGroup.json", cause })?;
        let (mut groups, deleted) = (file.subscription_group_table, file.deleted_groups);
        // Of Java's broker.
        for (name, topics) in file.forbidden_table {
            let forbidden = topics.into_iter().filter(|(_, bits)| bits & PERM_READ != 0);
            if let Some(group) = groups.get_mut(&name) {
                group.forbidden_topics = forbidden.map(|(topic, _)| topic).collect();
            }
        }
        self.stored.load(file.data_version, groups, deleted, |config, name| {
            // They are looked up as what stands in order.
            config.forbidden_topics.sort_unstable();
            name.clone_into(&mut config.group_name);
        });
        Ok(())
    }

    /// Replays a change of the journal, unless the file contained it already.
    pub(super) fn replay(&mut self, version: DataVersion, what: What<SubscriptionGroupConfig>) {
        self.stored.replay(version, what, |config| &config.group_name);
    }

    /// The table without groups that are being dropped.
    pub(super) fn shown(&self) -> SharedTable<SubscriptionGroupConfig> {
        self.stored.shown()
    }

    /// Groups that were deleted with their offsets, which shards have yet to drop, with what each takes up.
    pub fn deleted(&self) -> &BTreeMap<String, usize> {
        &self.stored.deleted
    }

    /// Their names.
    pub(super) fn deleted_names(&self) -> BTreeSet<String> {
        self.stored.deleted_names()
    }

    /// No shard holds offsets of this group any more that were there when it was deleted.
    pub(super) fn dropped(&mut self, name: &str, now: i64) {
        self.stored.dropped(name, now, change::group_dropped);
    }

    /// The whole table as `subscriptionGroup.json` and as the body of `GET_ALL_SUBSCRIPTIONGROUP_CONFIG`.
    pub fn to_table(&self) -> SubscriptionGroupTable {
        let groups = self.stored.entries.sorted().into_iter();
        SubscriptionGroupTable {
            data_version: self.stored.version,
            deleted_groups: self.stored.deleted.keys().cloned().collect(),
            forbidden_table: BTreeMap::new(),
            subscription_group_table: groups
                .map(|(name, config)| (name.to_string(), SubscriptionGroupConfig::clone(config)))
                .collect(),
        }
    }

    /// The content of `subscriptionGroup.json`.
    pub(super) fn file(&self) -> WholeFile<SubscriptionGroupConfig> {
        let members = ["deletedGroups", "subscriptionGroupTable"];
        self.stored.file(members, SubscriptionGroupConfig::write)
    }

    /// The group of this name, never created by asking.
    pub fn get(&self, group: &str) -> Option<&Arc<SubscriptionGroupConfig>> {
        self.stored.entries.get(group)
    }

    /// All groups: cheap to clone into a snapshot.
    pub fn table(&self) -> &SharedTable<SubscriptionGroupConfig> {
        &self.stored.entries
    }

    /// Version of the table.
    pub fn version(&self) -> DataVersion {
        self.stored.version
    }

    /// Changes since the last call, as the journal keeps them: durable before they are acknowledged.
    pub fn take_changes(&mut self) -> Vec<Vec<u8>> {
        self.stored.take_changes()
    }

    /// The group of a pull, heartbeat or send-back, created when that is allowed. `Ok(None)`: it does not exist and
    /// automatic creation is off (code 26). Groups of the system prefix are always created.
    pub fn find_or_create(
        &mut self,
        name: &str,
        now: i64,
    ) -> Result<Option<Arc<SubscriptionGroupConfig>>, MetadataError> {
        if let Some(known) = self.stored.entries.get(name) {
            return Ok(Some(Arc::clone(known)));
        }
        if !self.may_create(name) {
            return Ok(None);
        }
        self.update(group(name), now).map(Some)
    }

    /// Whether a client brings a group of this name into being.
    fn may_create(&self, name: &str) -> bool {
        self.auto_create || name.starts_with(names::SYSTEM_GROUP_PREFIX)
    }

    /// A group that a client is about to create comes with its retry topic, which takes up `with`: both fit, or neither is
    /// made.
    pub(super) fn admit_new(
        &self,
        name: &str,
        with: impl FnOnce() -> usize,
    ) -> Result<(), MetadataError> {
        if self.stored.entries.get(name).is_some() || !self.may_create(name) {
            return Ok(());
        }
        names::check_group(name)?;
        self.stored.admit(name, table_memory::of_group(&group(name)).sum() + with(), "groups")
    }

    /// Refuses new groups while changes of before wait for the disk, too many of them.
    pub(super) fn check_unsaved(&self) -> Result<(), MetadataError> {
        self.stored.check_unsaved()
    }

    /// `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP`: stored as it is, once its name is one. What it must not read stays.
    pub fn update(
        &mut self,
        config: SubscriptionGroupConfig,
        now: i64,
    ) -> Result<Arc<SubscriptionGroupConfig>, MetadataError> {
        let config = self.with_forbidden(config);
        self.put(config, now)
    }

    /// `UPDATE_AND_GET_GROUP_FORBIDDEN` of a group that is there. It stays with the group, whatever becomes of the topic. (Java
    /// lets go of all topics of the group with one, and does not write that down.)
    pub(super) fn set_readable(
        &mut self,
        known: &SubscriptionGroupConfig,
        topic: &str,
        readable: bool,
        now: i64,
    ) -> Result<(), MetadataError> {
        let mut config = known.clone();
        let topics = &mut config.forbidden_topics;
        match (topics.binary_search_by(|other| other.as_str().cmp(topic)), readable) {
            (Ok(at), true) => drop(topics.remove(at)),
            (Err(at), false) => topics.insert(at, topic.to_owned()),
            _ => return Ok(()),
        }
        self.put(config, now).map(drop)
    }

    /// A configuration of a client, who does not say what the group must not read.
    fn with_forbidden(&self, mut config: SubscriptionGroupConfig) -> SubscriptionGroupConfig {
        let known = self.stored.entries.get(&config.group_name);
        config.forbidden_topics = known.map_or(Vec::new(), |known| known.forbidden_topics.clone());
        config
    }

    fn put(
        &mut self,
        config: SubscriptionGroupConfig,
        now: i64,
    ) -> Result<Arc<SubscriptionGroupConfig>, MetadataError> {
        check(&config)?;
        let name = config.group_name.clone();
        self.stored.put(&name, config, ("groups", GROUPS_MAX), now, change::group_put)
    }

    /// [`Groups::update`] of several groups with different names, each of which was checked: all, or none for want of room.
    pub(super) fn update_all(
        &mut self,
        wanted: Vec<SubscriptionGroupConfig>,
        now: i64,
    ) -> Result<(), MetadataError> {
        let wanted: Vec<_> = wanted.into_iter().map(|group| self.with_forbidden(group)).collect();
        let named = wanted.iter().map(|group| (group.group_name.as_str(), group));
        self.stored.admit_all(named, ("groups", GROUPS_MAX))?;
        for group in wanted {
            self.stored.put_admitted(&group.group_name.clone(), group, now, change::group_put);
        }
        Ok(())
    }

    /// `DELETE_SUBSCRIPTIONGROUP`. False: there was no such group, which is a success too. Its offsets go if `with_offsets`,
    /// also those that a group of this name left when it was deleted without them.
    pub fn delete(
        &mut self,
        name: &str,
        with_offsets: bool,
        now: i64,
    ) -> Result<bool, MetadataError> {
        let known = self.stored.entries.get(name).is_some();
        if with_offsets && !self.stored.deleted.contains_key(name) {
            names::check_group(name)?;
            if !known {
                self.stored.admit(name, table_memory::of_deleted(name), "groups")?;
            }
            check_deleted("groups", self.stored.deleted.len())?;
        } else if !known {
            return Ok(false);
        }
        if with_offsets {
            self.stored.hide(name.to_owned());
            self.stored.changed(now, |version| change::group_deleted(version, name));
        } else {
            self.stored.remove(name);
            self.stored.changed(now, |version| change::group_removed(version, name));
        }
        Ok(known)
    }
}

/// Whether there may be such a group.
pub(super) fn check(config: &SubscriptionGroupConfig) -> Result<(), MetadataError> {
    names::check_group(&config.group_name)?;
    let mut json = Vec::new();
    config.write(&mut json);
    if json.len() > GROUP_BYTES_MAX {
        return Err(MetadataError::TooLarge { bytes: json.len(), limit: GROUP_BYTES_MAX });
    }
    Ok(())
}

/// A group with Java's defaults.
fn group(name: &str) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig { group_name: name.to_owned(), ..SubscriptionGroupConfig::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn a_group_comes_into_being_with_javas_defaults() {
        let mut groups = Groups::at_boot(true, Default::default(), NOW);
        assert!(groups.get("TOOLS_CONSUMER").is_some());
        assert!(groups.get("cg").is_none());
        assert!(groups.take_changes().is_empty());
        let created = groups.find_or_create("cg", NOW + 1).unwrap().unwrap();
        assert_eq!((created.retry_max_times, created.retry_queue_nums), (16, 1));
        assert!(created.consume_enable && created.notify_consumer_ids_changed_enable);
        assert_eq!(groups.version(), DataVersion { timestamp: NOW + 1, counter: 1 });
        assert_eq!(groups.take_changes().len(), 1);
        assert!(groups.take_changes().is_empty(), "reported once");
        groups.find_or_create("cg", NOW + 2).unwrap();
        assert!(groups.take_changes().is_empty(), "finding is no change");
    }

    #[test]
    fn without_automatic_creation_only_system_groups_appear() {
        let mut groups = Groups::at_boot(false, Default::default(), NOW);
        assert_eq!(groups.find_or_create("cg", NOW), Ok(None));
        assert!(groups.find_or_create("CID_RMQ_SYS_x", NOW).unwrap().is_some());
        groups.set_auto_create(true);
        assert!(matches!(groups.find_or_create("c g", NOW), Err(MetadataError::Name(_))));
        assert!(groups.find_or_create("cg", NOW).unwrap().is_some());
    }

    #[test]
    fn what_a_group_must_not_read_stays_with_it() {
        let mut groups = Groups::at_boot(true, Default::default(), NOW);
        let known = groups.find_or_create("cg", NOW).unwrap().unwrap();
        for topic in ["t2", "t1", "t2"] {
            let known = Arc::clone(groups.get("cg").unwrap());
            groups.set_readable(&known, topic, false, NOW).unwrap();
        }
        assert_eq!(groups.version().counter, 3, "the third says nothing new");
        groups
            .update(SubscriptionGroupConfig { retry_max_times: 3, ..(*known).clone() }, NOW)
            .unwrap();
        groups.update_all(vec![group("cg")], NOW).unwrap();
        assert_eq!(groups.get("cg").unwrap().forbidden_topics, ["t1", "t2"]);
        let known = Arc::clone(groups.get("cg").unwrap());
        groups.set_readable(&known, "t1", true, NOW).unwrap();
        let mut json = Vec::new();
        groups.to_table().write(&mut json);
        let mut again = Groups::at_boot(true, Default::default(), NOW);
        again.load(&json).unwrap();
        assert_eq!(again.get("cg").unwrap().forbidden_topics, ["t2"]);
        let javas = br#"{"forbiddenTable":{"cg":{"a":4,"b":2,"c":6},"gone":{"a":4}},
            "subscriptionGroupTable":{"cg":{"groupName":"cg"}}}"#;
        again.load(javas).unwrap();
        assert_eq!(again.get("cg").unwrap().forbidden_topics, ["a", "c"]);
        again.delete("cg", false, NOW).unwrap();
        assert!(again.find_or_create("cg", NOW).unwrap().unwrap().forbidden_topics.is_empty());
    }

    #[test]
    fn groups_survive_their_file() {
        let mut groups = Groups::at_boot(true, Default::default(), NOW);
        let config =
            SubscriptionGroupConfig { retry_max_times: 3, consume_enable: false, ..group("cg") };
        groups.update(config, NOW).unwrap();
        let mut json = Vec::new();
        groups.to_table().write(&mut json);
        let mut again = Groups::at_boot(true, Default::default(), NOW + 5);
        again.load(&json).unwrap();
        assert_eq!(again.get("cg").unwrap().retry_max_times, 3);
        assert_eq!(again.version(), groups.version());
        assert_eq!(again.delete("cg", false, NOW + 6), Ok(true));
        assert_eq!(again.delete("cg", false, NOW + 6), Ok(false));
        assert_eq!(again.version().counter, 2);
        assert!(Groups::at_boot(true, Default::default(), NOW).load(b"{").is_err());
    }
}
