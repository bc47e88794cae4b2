//! A table of named values that can be handed out as an immutable snapshot for the price of one reference count.
//!
//! `Control` changes its tables on the control worker; every other shard reads the snapshot that stands in its
//! `MetadataSnapshot`. A change copies one of 256 buckets, never the whole table: with 10,000 topics that is about 40
//! entries. Lookups hash the name once and touch one entry, where a name of usual length lies in place. Iteration order
//! is not defined; what goes to people or files is sorted by [`SharedTable::sorted`].

use compact_str::CompactString;
use hashbrown::{HashTable, hash_table::Entry};
use std::sync::Arc;

/// Copies per change stay small and an empty table stays a few kilobytes.
pub(super) const BUCKETS: usize = 256;
const _: () = assert!(BUCKETS.is_power_of_two());

#[derive(Debug)]
pub(super) struct Named<V> {
    name: CompactString,
    value: Arc<V>,
}

impl<V> Clone for Named<V> {
    fn clone(&self) -> Self {
        Named { name: self.name.clone(), value: Arc::clone(&self.value) }
    }
}

pub(super) type Bucket<V> = HashTable<Named<V>>;

/// Names and values of a bucket, in no particular order.
pub(super) fn entries<V>(bucket: &Bucket<V>) -> impl Iterator<Item = (&str, &Arc<V>)> {
    bucket.iter().map(|named| (named.name.as_str(), &named.value))
}

/// Names and their values. Cloning is cheap and gives a snapshot that later changes do not touch.
#[derive(Debug)]
pub struct SharedTable<V> {
    buckets: Arc<Vec<Arc<Bucket<V>>>>,
    hasher: ahash::RandomState,
    count: usize,
}

impl<V> Clone for SharedTable<V> {
    fn clone(&self) -> Self {
        SharedTable {
            buckets: Arc::clone(&self.buckets),
            hasher: self.hasher.clone(),
            count: self.count,
        }
    }
}

impl<V> Default for SharedTable<V> {
    fn default() -> Self {
        // One empty bucket for all: it is copied when something comes into it.
        let empty = Arc::new(Bucket::new());
        let buckets = Arc::new(vec![empty; BUCKETS]);
        SharedTable { buckets, hasher: ahash::RandomState::new(), count: 0 }
    }
}

impl<V> SharedTable<V> {
    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<V>> {
        let hash = self.hasher.hash_one(name);
        let bucket = &self.buckets[bucket_index(hash)];
        bucket.find(hash, |named| named.name == name).map(|named| &named.value)
    }

    /// Puts a value, and returns the one it replaces.
    pub fn insert(&mut self, name: &str, value: Arc<V>) -> Option<Arc<V>> {
        let hash = self.hasher.hash_one(name);
        let SharedTable { buckets, hasher, count } = self;
        let same = |named: &Named<V>| named.name == name;
        match bucket_mut(buckets, hash).entry(hash, same, |named| hasher.hash_one(&*named.name)) {
            Entry::Occupied(mut found) => {
                Some(std::mem::replace(&mut found.get_mut().value, value))
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Named { name: CompactString::new(name), value });
                *count += 1;
                None
            }
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, name: &str) -> Option<Arc<V>> {
        // Look first: a bucket is copied only when something changes.
        self.get(name)?;
        let hash = self.hasher.hash_one(name);
        let bucket = bucket_mut(&mut self.buckets, hash);
        let found = bucket.find_entry(hash, |named| named.name == name).ok()?;
        self.count -= 1;
        Some(found.remove().0.value)
    }

    /// Whether both are the same snapshot: no change lies between them. Compares one pointer.
    pub fn is_same(&self, other: &SharedTable<V>) -> bool {
        Arc::ptr_eq(&self.buckets, &other.buckets)
    }

    /// One of the [`BUCKETS`] parts of the table. It is the same memory as before as long as nothing in it has changed.
    pub(super) fn bucket(&self, index: usize) -> &Arc<Bucket<V>> {
        &self.buckets[index]
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when there is no name.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All names and values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<V>)> {
        self.buckets.iter().flat_map(|bucket| entries(bucket))
    }

    /// All names and values, ordered by name.
    pub fn sorted(&self) -> Vec<(&str, &Arc<V>)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all
    }
}

fn bucket_index(hash: u64) -> usize {
    // The table inside uses the lowest and the highest bits: take some of the middle.
    let [_, _, _, middle, ..] = hash.to_le_bytes();
    usize::from(middle) % BUCKETS
}

fn bucket_mut<V>(buckets: &mut Arc<Vec<Arc<Bucket<V>>>>, hash: u64) -> &mut Bucket<V> {
    Arc::make_mut(&mut Arc::make_mut(buckets)[bucket_index(hash)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a snapshot never changes, and a change copies one bucket only.
    #[test]
    fn a_snapshot_keeps_what_it_saw() {
        let mut table = SharedTable::default();
        for number in 0..10_000 {
            table.insert(&format!("topic-{number}"), Arc::new(number));
        }
        let seen = table.clone();
        assert_eq!(table.insert("topic-7", Arc::new(70)).as_deref(), Some(&7));
        assert_eq!(table.remove("topic-8").as_deref(), Some(&8));
        assert_eq!(table.remove("topic-8"), None);
        table.insert("new", Arc::new(1));
        assert_eq!((table.len(), seen.len()), (10_000, 10_000));
        assert_eq!(seen.get("topic-7").map(|value| **value), Some(7));
        assert_eq!(seen.get("topic-8").map(|value| **value), Some(8));
        assert_eq!(seen.get("new"), None);
        assert!(seen.is_same(&seen.clone()) && !seen.is_same(&table));
        assert_eq!(table.get("topic-7").map(|value| **value), Some(70));
        let pairs = table.buckets.iter().zip(seen.buckets.iter());
        let copied = pairs.filter(|(now, then)| !Arc::ptr_eq(now, then)).count();
        assert!((1..=3).contains(&copied), "{copied} buckets copied for three changes");
    }

    #[test]
    fn names_come_sorted_for_people() {
        let mut table = SharedTable::default();
        for name in ["b", "c", "a"] {
            table.insert(name, Arc::new(()));
        }
        let names: Vec<_> = table.sorted().into_iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(!table.is_empty());
    }
}
