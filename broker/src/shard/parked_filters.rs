//! The filters of the pulls that wait on one shard, each once: the pulls of a group nearly always bring the same one.
//!
//! Called by [`super::parked`] alone. What always holds: a filter is here as long as a pull that waits has it, and
//! together they take up no more than was allowed.

use crate::control::MessageFilter;
use ahash::AHashMap;
use std::{collections::hash_map::Entry, sync::Arc};

/// Of a filter besides what it consists of: its allocation and its place here.
const FILTER_BYTES: usize = 64;

/// Filters, and how many pulls have each.
pub(super) struct ParkedFilters {
    pulls_by_hashes: AHashMap<Arc<[i32]>, usize>,
    /// By their address: an expression is compiled once for the pulls of a group, and what a group wants is published once.
    pulls_by_address: AHashMap<usize, usize>,
    bytes: usize,
    bytes_max: usize,
}

impl ParkedFilters {
    /// Room for filters of `bytes_max` bytes together.
    pub(super) fn new(bytes_max: usize) -> ParkedFilters {
        let (pulls_by_hashes, pulls_by_address) = (AHashMap::new(), AHashMap::new());
        ParkedFilters { pulls_by_hashes, pulls_by_address, bytes: 0, bytes_max }
    }

    /// A pull begins to wait: it shares the filter of those that have the same one. False: there is no room for one more.
    pub(super) fn share(&mut self, filter: &mut MessageFilter) -> bool {
        let hashes = match filter {
            MessageFilter::All => return true,
            MessageFilter::Hashes(hashes) => hashes,
            MessageFilter::Sql(sql) => {
                return self.share_at(address(sql), || sql.memory_bytes());
            }
            MessageFilter::Retried(wishes) => {
                return self.share_at(address(wishes), || wishes.bytes());
            }
        };
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

    /// `content_bytes`: what it holds, which is asked once for all pulls that share it.
    fn share_at(&mut self, address: usize, content_bytes: impl FnOnce() -> usize) -> bool {
        let pulls = self.pulls_by_address.entry(address).or_default();
        let more = if *pulls == 0 { FILTER_BYTES + content_bytes() } else { 0 };
        if self.bytes + more > self.bytes_max {
            self.pulls_by_address.remove(&address);
            return false;
        }
        *pulls += 1;
        self.bytes += more;
        true
    }

    fn release_at(&mut self, address: usize, content_bytes: impl FnOnce() -> usize) {
        let pulls =
            self.pulls_by_address.get_mut(&address).expect("who waits has shared its filter");
        *pulls -= 1;
        if *pulls == 0 {
            self.pulls_by_address.remove(&address);
            self.bytes -= FILTER_BYTES + content_bytes();
        }
    }

    /// A pull that shared its filter waits no more.
    pub(super) fn release(&mut self, filter: &MessageFilter) {
        let hashes = match filter {
            MessageFilter::All => return,
            MessageFilter::Hashes(hashes) => hashes,
            MessageFilter::Sql(sql) => {
                return self.release_at(address(sql), || sql.memory_bytes());
            }
            MessageFilter::Retried(wishes) => {
                return self.release_at(address(wishes), || wishes.bytes());
            }
        };
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

fn address<T>(shared: &Arc<T>) -> usize {
    Arc::as_ptr(shared).addr()
}

fn bytes_of(hashes: &[i32]) -> usize {
    FILTER_BYTES + size_of_val(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::GroupSubscriptions;
    use filter::Filter;

    fn tags(from: usize, to: usize) -> MessageFilter {
        let tags: Vec<String> = (from..to).map(|n| format!("tag-{n}")).collect();
        MessageFilter::of(tags.iter().map(String::as_str))
    }

    #[test]
    fn equal_filters_are_one_and_go_with_the_last_pull() {
        let mut filters = ParkedFilters::new(2 * (FILTER_BYTES + 400));
        let (mut first, mut second) = (tags(0, 100), tags(0, 100));
        assert!(filters.share(&mut first) && filters.share(&mut second));
        let (MessageFilter::Hashes(one), MessageFilter::Hashes(other)) = (&first, &second) else {
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
    fn an_expression_counts_once_for_all_pulls_that_have_it() {
        let sql = |text: &str| Arc::new(Filter::compile(text).unwrap());
        let (one, other) = (sql("a = 1"), sql("a = 1"));
        let bytes = FILTER_BYTES + one.memory_bytes();
        let mut filters = ParkedFilters::new(bytes + 1);
        let mut pulls = [(); 3].map(|()| MessageFilter::Sql(Arc::clone(&one)));
        assert!(pulls.iter_mut().all(|filter| filters.share(filter)));
        assert_eq!(filters.bytes(), bytes);
        assert!(!filters.share(&mut MessageFilter::Sql(Arc::clone(&other))), "no room for two");
        pulls.iter().for_each(|filter| filters.release(filter));
        assert_eq!((filters.bytes(), filters.pulls_by_address.len()), (0, 0));
        assert!(filters.share(&mut MessageFilter::Sql(other)));
    }

    #[test]
    fn what_a_group_wants_counts_once_for_all_pulls_of_its_retry_topic() {
        let wishes = Arc::new(GroupSubscriptions::default());
        let mut filters = ParkedFilters::new(FILTER_BYTES);
        let mut pulls = [(); 2].map(|()| MessageFilter::Retried(Arc::clone(&wishes)));
        assert!(pulls.iter_mut().all(|filter| filters.share(filter)));
        assert_eq!(filters.bytes(), FILTER_BYTES);
        assert!(!filters.share(&mut MessageFilter::Retried(Arc::default())), "published later");
        pulls.iter().for_each(|filter| filters.release(filter));
        assert_eq!((filters.bytes(), filters.pulls_by_address.len()), (0, 0));
    }

    #[test]
    fn what_does_not_fit_is_not_kept() {
        let mut filters = ParkedFilters::new(2 * (FILTER_BYTES + 400));
        assert!(filters.share(&mut tags(0, 100)) && filters.share(&mut tags(1, 101)));
        assert!(!filters.share(&mut tags(2, 102)), "there is no room for a third");
        assert!(filters.share(&mut tags(0, 100)), "one that is here needs none");
        assert!(filters.share(&mut MessageFilter::All), "nor does none");
        filters.release(&tags(1, 101));
        assert!(filters.share(&mut tags(2, 102)));
    }
}
