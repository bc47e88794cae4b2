//! What the tables of topics and groups have in common: entries by name, a version that every change moves, the changes
//! for the journal, and names that were deleted and of which shards have yet to drop what they hold.

use super::change::What;
use super::metadata::{MetadataError, next_version};
use super::shared_table::SharedTable;
use super::whole_file::WholeFile;
use proto::body::DataVersion;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A table of metadata.
#[derive(Debug)]
pub(super) struct StoredTable<V> {
    /// The entries.
    pub entries: SharedTable<V>,
    /// Its version.
    pub version: DataVersion,
    /// For the journal, in order.
    changes: Vec<Vec<u8>>,
    /// Deleted, and shards have yet to drop what they hold of it.
    pub deleted: BTreeSet<String>,
}

impl<V> StoredTable<V> {
    /// What is there before any file is read.
    pub(super) fn new(entries: SharedTable<V>, now: i64) -> StoredTable<V> {
        let version = DataVersion { timestamp: now, counter: 0 };
        StoredTable { entries, version, changes: Vec::new(), deleted: BTreeSet::new() }
    }

    /// Merges the content of a file over what is there and takes its version. `rename` gives a value the name under which
    /// it is found, which is what counts: files edited by hand may disagree.
    pub(super) fn load(
        &mut self,
        version: DataVersion,
        entries: BTreeMap<String, V>,
        deleted: impl IntoIterator<Item = String>,
        rename: impl Fn(&mut V, &str),
    ) {
        for (name, mut value) in entries {
            rename(&mut value, &name);
            self.entries.insert(&name, Arc::new(value));
        }
        self.deleted.extend(deleted);
        self.version = version;
    }

    /// Replays a change of the journal. False: the file contained it already.
    pub(super) fn replay(
        &mut self,
        version: DataVersion,
        what: What<V>,
        name_of: impl Fn(&V) -> &str,
    ) -> bool {
        if version.counter <= self.version.counter {
            return false;
        }
        self.version = version;
        match what {
            What::Put(value) => {
                let value = Arc::new(value);
                self.entries.insert(name_of(&value), Arc::clone(&value));
            }
            What::Removed(name) => drop(self.entries.remove(&name)),
            What::Deleted(name) => self.hide(name),
            What::Dropped(name) => drop(self.deleted.remove(&name)),
            What::Version => {}
        }
        true
    }

    /// Puts an entry, unless it is a new one beyond `count_max` entries; `what` they are is said then.
    pub(super) fn put(
        &mut self,
        name: &str,
        value: V,
        (what, count_max): (&'static str, usize),
        now: i64,
        record: fn(DataVersion, &V) -> Vec<u8>,
    ) -> Result<Arc<V>, MetadataError> {
        let count = self.entries.len();
        if count >= count_max && self.entries.get(name).is_none() {
            return Err(MetadataError::Full { what, count });
        }
        let value = Arc::new(value);
        self.entries.insert(name, Arc::clone(&value));
        self.changed(now, |version| record(version, &value));
        Ok(value)
    }

    /// Moves the version, and has the journal note what `record` makes of the new one.
    pub(super) fn changed(&mut self, now: i64, record: impl FnOnce(DataVersion) -> Vec<u8>) {
        self.version = next_version(self.version, now);
        self.changes.push(record(self.version));
    }

    /// Takes an entry out, of which shards have yet to drop what they hold.
    pub(super) fn hide(&mut self, name: String) {
        self.entries.remove(&name);
        self.deleted.insert(name);
    }

    /// No shard holds anything any more that was there when `name` was deleted. False: that was known.
    pub(super) fn dropped(
        &mut self,
        name: &str,
        now: i64,
        record: fn(DataVersion, &str) -> Vec<u8>,
    ) -> bool {
        let news = self.deleted.remove(name);
        if news {
            self.changed(now, |version| record(version, name));
        }
        news
    }

    /// The entries without those that are being dropped.
    pub(super) fn shown(&self) -> SharedTable<V> {
        let mut shown = self.entries.clone();
        self.deleted.iter().for_each(|name| drop(shown.remove(name)));
        shown
    }

    /// Changes since the last call, as the journal keeps them.
    pub(super) fn take_changes(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.changes)
    }

    /// The content of its file, with the names of its members: what is deleted, the entries.
    pub(super) fn file(
        &self,
        members: [&'static str; 2],
        write: fn(&V, &mut Vec<u8>),
    ) -> WholeFile<V> {
        let (table, deleted) = (self.entries.clone(), self.deleted.clone());
        WholeFile { table, version: self.version, deleted, members, write }
    }
}
