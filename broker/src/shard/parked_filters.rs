//! The filters of the pulls that wait on one shard, each once: the pulls of a group nearly always bring the same one.
//!
//! Called by [`super::parked`] alone. What always holds: a filter is here as long as a pull that waits has it, and
//! together they take up no more than was allowed.

use crate::control::TagFilter;
use ahash::AHashMap;
use std::{collections::hash_map::Entry, sync::Arc};

/// Of a filter besides its hashes: its allocation and its place here.
const FILTER_BYTES: usize = 64;

/// Filters by tags, and how many pulls have each.
pub(super) struct ParkedFilters {
    pulls_by_hashes: AHashMap<Arc<[i32]>, usize>,
    bytes: usize,
    bytes_max: usize,
}

impl ParkedFilters {
    /// Room for filters of `bytes_max` bytes together.
    pub(super) fn new(bytes_max: usize) -> ParkedFilters {
        ParkedFilters { pulls_by_hashes: AHashMap::new(), bytes: 0, bytes_max }
    }

    /// A pull begins to wait: it shares the filter of those that have the same one. False: there is no room for one more.
    pub(super) fn share(&mut self, filter: &mut TagFilter) -> bool {
        let TagFilter::Hashes(hashes) = filter else { return true };
        match self.pulls_by_hashes.entry(Arc::clone(hashes)) {
            Entry::Occupied(mut known) => {
                *hashes = Arc::clone(known.key());
                *known.get_mut() += 1;
            }
            Entry::Vacant(new) => {
                let bytes = self.bytes + bytes_of(hashes);
                if bytes > self.bytes_max {
                    return false;
                }
                self.bytes = bytes;
                new.insert(1);
            }
        }
        true
    }

    /// A pull that shared its filter waits no more.
    pub(super) fn release(&mut self, filter: &TagFilter) {
        let TagFilter::Hashes(hashes) = filter else { return };
        let pulls = self.pulls_by_hashes.get_mut(hashes).expect("who waits has shared its filter");
        *pulls -= 1;
        if *pulls == 0 {
            self.pulls_by_hashes.remove(hashes);
            self.bytes -= bytes_of(hashes);
        }
    }

    /// Bytes that they take up.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn bytes_of(hashes: &[i32]) -> usize {
    FILTER_BYTES + size_of_val(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(from: usize, to: usize) -> TagFilter {
        let tags: Vec<String> = (from..to).map(|n| format!("tag-{n}")).collect();
        TagFilter::of(tags.iter().map(String::as_str))
    }

    #[test]
    fn equal_filters_are_one_and_go_with_the_last_pull() {
        let mut filters = ParkedFilters::new(2 * (FILTER_BYTES + 400));
        let (mut first, mut second) = (tags(0, 100), tags(0, 100));
        assert!(filters.share(&mut first) && filters.share(&mut second));
        let (TagFilter::Hashes(one), TagFilter::Hashes(other)) = (&first, &second) else {
            panic!("tags")
        };
        assert!(Arc::ptr_eq(one, other));
        assert_eq!(filters.bytes(), FILTER_BYTES + 400);
        filters.release(&first);
        assert_eq!(filters.bytes(), FILTER_BYTES + 400);
        filters.release(&second);
        assert_eq!((filters.bytes(), filters.pulls_by_hashes.len()), (0, 0));
    }

    #[test]
    fn what_does_not_fit_is_not_kept() {
        let mut filters = ParkedFilters::new(2 * (FILTER_BYTES + 400));
        assert!(filters.share(&mut tags(0, 100)) && filters.share(&mut tags(1, 101)));
        assert!(!filters.share(&mut tags(2, 102)), "there is no room for a third");
        assert!(filters.share(&mut tags(0, 100)), "one that is here needs none");
        assert!(filters.share(&mut TagFilter::All), "nor does none");
        filters.release(&tags(1, 101));
        assert!(filters.share(&mut tags(2, 102)));
    }
}
