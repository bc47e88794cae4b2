//! A table of named facts that can be handed out as an immutable snapshot for the price of one reference count.
//!
//! `Control` changes its tables on shard 0; every other shard reads the snapshot that stands in its `Meta`. A change
//! copies one of 256 buckets, never the whole table: with 10,000 topics that is about 40 pointers. Lookups hash the
//! name once. Iteration order is not defined; what goes to people or files is sorted by [`SharedTable::sorted`].

use std::collections::HashMap;
use std::sync::Arc;

/// Copies per change stay small and an empty table stays a few kilobytes.
const BUCKETS: usize = 256;
const _: () = assert!(BUCKETS.is_power_of_two());

type Bucket<V> = HashMap<Arc<str>, Arc<V>, ahash::RandomState>;

/// Names and their facts. Cloning is cheap and gives a snapshot that later changes do not touch.
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
        let hasher = ahash::RandomState::new();
        let empty = Arc::new(Bucket::with_hasher(hasher.clone()));
        SharedTable { buckets: Arc::new(vec![empty; BUCKETS]), hasher, count: 0 }
    }
}

impl<V> SharedTable<V> {
    /// The fact of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<V>> {
        self.buckets[self.bucket_index(name)].get(name)
    }

    /// The name as the table holds it, to be shared instead of copied.
    pub fn name(&self, name: &str) -> Option<&Arc<str>> {
        self.buckets[self.bucket_index(name)].get_key_value(name).map(|(name, _)| name)
    }

    /// Puts a fact, and returns the one it replaces.
    pub fn insert(&mut self, name: &str, fact: Arc<V>) -> Option<Arc<V>> {
        let key = self.name(name).cloned().unwrap_or_else(|| Arc::from(name));
        let old = self.bucket_mut(name).insert(key, fact);
        self.count += usize::from(old.is_none());
        old
    }

    /// Takes a fact out.
    pub fn remove(&mut self, name: &str) -> Option<Arc<V>> {
        // Look first: a bucket is copied only when something changes.
        self.get(name)?;
        let old = self.bucket_mut(name).remove(name);
        assert!(old.is_some(), "the name was there a moment ago");
        self.count -= 1;
        old
    }

    /// Whether both are the same snapshot: no change lies between them. Compares one pointer.
    pub fn is_same(&self, other: &SharedTable<V>) -> bool {
        Arc::ptr_eq(&self.buckets, &other.buckets)
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when there is no name.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All names and facts, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<V>)> {
        self.buckets.iter().flat_map(|bucket| bucket.iter())
    }

    /// All names and facts, ordered by name.
    pub fn sorted(&self) -> Vec<(&Arc<str>, &Arc<V>)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all
    }

    fn bucket_index(&self, name: &str) -> usize {
        // The map inside uses the lowest and the highest bits of the same hash: take some of the middle.
        let [_, _, _, middle, ..] = self.hasher.hash_one(name).to_le_bytes();
        usize::from(middle) % BUCKETS
    }

    fn bucket_mut(&mut self, name: &str) -> &mut Bucket<V> {
        let index = self.bucket_index(name);
        Arc::make_mut(&mut Arc::make_mut(&mut self.buckets)[index])
    }
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
        assert_eq!(seen.get("topic-7").map(|fact| **fact), Some(7));
        assert_eq!(seen.get("topic-8").map(|fact| **fact), Some(8));
        assert_eq!(seen.get("new"), None);
        assert!(seen.is_same(&seen.clone()) && !seen.is_same(&table));
        assert_eq!(table.get("topic-7").map(|fact| **fact), Some(70));
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
