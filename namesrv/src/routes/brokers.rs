//! The brokers of one topic with what each serves: nearly always one or a few, so a sorted list.
//!
//! A tree's first node alone has room for eleven and costs 450 bytes; ten thousand topics of one broker would pay for
//! ten that are never there. Order and lookups are those of a map by name.

use super::Queues;

/// Broker name to queues, in order of names.
#[derive(Debug, Default)]
pub(super) struct Brokers {
    sorted: Vec<(Box<str>, Queues)>,
}

impl Brokers {
    /// Puts the queues of a broker; true when it is new here.
    pub(super) fn insert(&mut self, broker_name: &str, queues: Queues) -> bool {
        match self.place_of(broker_name) {
            Ok(index) => {
                self.sorted[index].1 = queues;
                false
            }
            Err(index) => {
                self.sorted.reserve_exact(1);
                self.sorted.insert(index, (broker_name.into(), queues));
                true
            }
        }
    }

    /// The queues of a broker.
    pub(super) fn get_mut(&mut self, broker_name: &str) -> Option<&mut Queues> {
        let index = self.place_of(broker_name).ok()?;
        self.sorted.get_mut(index).map(|(_, queues)| queues)
    }

    /// Takes a broker out; true when it was there.
    pub(super) fn remove(&mut self, broker_name: &str) -> bool {
        let found = self.place_of(broker_name);
        if let Ok(index) = found {
            self.sorted.remove(index);
        }
        found.is_ok()
    }

    /// Keeps the brokers of which `keep` is true.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.sorted.retain(|(name, _)| keep(name));
    }

    /// Names and queues, in order of names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Queues)> {
        self.sorted.iter().map(|(name, queues)| (&**name, queues))
    }

    /// Names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.sorted.iter().map(|(name, _)| &**name)
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    fn place_of(&self, broker_name: &str) -> Result<usize, usize> {
        self.sorted.binary_search_by(|(name, _)| (**name).cmp(broker_name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_found_by_name_and_listed_in_order() {
        let queues = |read| Queues { read, write: 1, perm: 6, sys_flag: 0 };
        let mut brokers = Brokers::default();
        for (number, name) in ["b", "c", "a"].into_iter().enumerate() {
            assert!(brokers.insert(name, queues(number as i32)));
        }
        assert!(!brokers.insert("c", queues(9)), "it was there");
        assert_eq!(brokers.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(brokers.get_mut("c").map(|queues| queues.read), Some(9));
        assert!(brokers.get_mut("d").is_none());
        assert!(brokers.remove("b") && !brokers.remove("b"));
        assert_eq!((brokers.len(), brokers.is_empty()), (2, false));
        brokers.retain(|name| name == "c");
        assert_eq!(brokers.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["c"]);
    }
}
