//! What the tables of topics and groups have in common: entries by name, a version that every change moves, the changes
//! for the journal, and names that were deleted and of which shards have yet to drop what they hold.

use super::change::What;
use super::metadata::{self, MetadataError, next_version};
use super::shared_table::SharedTable;
use super::whole_file::WholeFile;
use crate::table_memory::{EntryBytes, TableMemory, of_deleted};
use proto::body::DataVersion;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
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
    /// Deleted, and shards have yet to drop what they hold of it; with what each takes up.
    pub deleted: BTreeMap<String, usize>,
    /// Names whose entries need less than what stays with the name.
    lasting: BTreeMap<String, usize>,
    bytes_of: fn(&V) -> EntryBytes,
    memory: Rc<TableMemory>,
}

impl<V> StoredTable<V> {
    /// What is there before any file is read.
    pub(super) fn new(
        entries: Vec<(String, V)>,
        now: i64,
        bytes_of: fn(&V) -> EntryBytes,
        memory: Rc<TableMemory>,
    ) -> StoredTable<V> {
        let mut table = StoredTable {
            entries: SharedTable::default(),
            version: DataVersion { timestamp: now, counter: 0 },
            changes: Vec::new(),
            deleted: BTreeMap::new(),
            lasting: BTreeMap::new(),
            bytes_of,
            memory,
        };
        entries.into_iter().for_each(|(name, value)| table.insert(&name, Arc::new(value)));
        table
    }

    /// What of a name stays until shards have dropped what they hold of it.
    fn lasting(&self, name: &str) -> usize {
        let of_entry = || self.entries.get(name).map(|value| (self.bytes_of)(value).lasting);
        self.lasting.get(name).copied().or_else(of_entry).unwrap_or(0)
    }

    /// What an entry takes up now.
    fn taken(&self, name: &str) -> usize {
        let entry = self.entries.get(name);
        entry.map_or(0, |value| (self.bytes_of)(value).own + self.lasting(name))
    }

    /// What `value` would take up under its name.
    fn taken_by(&self, name: &str, value: &V) -> usize {
        let bytes = (self.bytes_of)(value);
        bytes.own + bytes.lasting.max(self.lasting(name))
    }

    /// Puts an entry, whatever the limits: it is on the disk, or was admitted.
    pub(super) fn insert(&mut self, name: &str, value: Arc<V>) {
        let lasting = self.lasting(name);
        self.memory.replace(self.taken(name), self.taken_by(name, &value));
        if lasting > (self.bytes_of)(&value).lasting {
            self.lasting.insert(name.to_owned(), lasting);
        } else {
            self.lasting.remove(name);
        }
        self.entries.insert(name, value);
    }

    /// Takes an entry out. Returns what of it stays with its name.
    pub(super) fn remove(&mut self, name: &str) -> usize {
        let lasting = self.lasting(name);
        self.memory.replace(self.taken(name), 0);
        self.lasting.remove(name);
        self.entries.remove(name);
        lasting
    }

    /// Refuses while changes of before wait for the disk, too many of them.
    pub(super) fn check_unsaved(&self) -> Result<(), MetadataError> {
        metadata::check_unsaved(&self.memory)
    }

    /// Refuses an entry that does not fit beside all others, `more` bytes with what comes along with it.
    pub(super) fn admit(
        &self,
        name: &str,
        more: usize,
        what: &'static str,
    ) -> Result<(), MetadataError> {
        self.check_unsaved()?;
        if !self.memory.has_room(more) {
            let (bytes, limit) = self.memory.level();
            let name = name.to_owned();
            return Err(MetadataError::NoRoom { what, name, more, bytes, limit });
        }
        Ok(())
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
            self.insert(&name, Arc::new(value));
        }
        for name in deleted {
            self.note_deleted(name, 0);
        }
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
                self.insert(name_of(&value), Arc::clone(&value));
            }
            What::Removed(name) => drop(self.remove(&name)),
            What::Deleted(name) => self.hide(name),
            What::Dropped(name) => drop(self.forget_deleted(&name)),
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
        let more = self.taken_by(name, &value).saturating_sub(self.taken(name));
        self.admit(name, more, what)?;
        Ok(self.put_admitted(name, value, now, record))
    }

    /// Refuses entries that do not fit together beside all others. Each has another name.
    pub(super) fn admit_all<'a>(
        &self,
        wanted: impl ExactSizeIterator<Item = (&'a str, &'a V)>,
        (what, count_max): (&'static str, usize),
    ) -> Result<(), MetadataError>
    where
        V: 'a,
    {
        let (entries, count) = (wanted.len(), self.entries.len());
        let (mut new, mut more) = (0, 0usize);
        for (name, value) in wanted {
            new += usize::from(self.entries.get(name).is_none());
            let taken = self.taken_by(name, value).saturating_sub(self.taken(name));
            more = more.saturating_add(taken);
        }
        if new > 0 && count + new > count_max {
            return Err(MetadataError::Full { what, count });
        }
        self.admit(&format!("{entries} at once"), more, what)
    }

    /// Puts an entry that was admitted, alone or with others.
    pub(super) fn put_admitted(
        &mut self,
        name: &str,
        value: V,
        now: i64,
        record: fn(DataVersion, &V) -> Vec<u8>,
    ) -> Arc<V> {
        let value = Arc::new(value);
        self.insert(name, Arc::clone(&value));
        self.changed(now, |version| record(version, &value));
        value
    }

    /// Moves the version, and has the journal note what `record` makes of the new one.
    pub(super) fn changed(&mut self, now: i64, record: impl FnOnce(DataVersion) -> Vec<u8>) {
        self.version = next_version(self.version, now);
        let record = record(self.version);
        self.memory.changed(&record);
        self.changes.push(record);
    }

    /// Takes an entry out, of which shards have yet to drop what they hold.
    pub(super) fn hide(&mut self, name: String) {
        let lasting = self.remove(&name);
        self.note_deleted(name, lasting);
    }

    fn note_deleted(&mut self, name: String, lasting: usize) {
        let known = self.deleted.get(&name).copied();
        let bytes = known.unwrap_or_else(|| of_deleted(&name)) + lasting;
        self.memory.replace(known.unwrap_or(0), bytes);
        self.deleted.insert(name, bytes);
    }

    /// False: it was not deleted.
    fn forget_deleted(&mut self, name: &str) -> bool {
        let known = self.deleted.remove(name);
        self.memory.replace(known.unwrap_or(0), 0);
        known.is_some()
    }

    /// No shard holds anything any more that was there when `name` was deleted. False: that was known.
    pub(super) fn dropped(
        &mut self,
        name: &str,
        now: i64,
        record: fn(DataVersion, &str) -> Vec<u8>,
    ) -> bool {
        let news = self.forget_deleted(name);
        if news {
            self.changed(now, |version| record(version, name));
        }
        news
    }

    /// The entries without those that are being dropped.
    pub(super) fn shown(&self) -> SharedTable<V> {
        let mut shown = self.entries.clone();
        self.deleted.keys().for_each(|name| drop(shown.remove(name)));
        shown
    }

    /// Names that are being dropped.
    pub(super) fn deleted_names(&self) -> BTreeSet<String> {
        self.deleted.keys().cloned().collect()
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
        let (table, deleted) = (self.entries.clone(), self.deleted_names());
        WholeFile { table, version: self.version, deleted, members, write }
    }
}
