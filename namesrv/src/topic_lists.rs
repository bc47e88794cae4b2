//! Bodies of answers that list topics, each encoded once for all who ask before the routes change. Called by
//! [`crate::handle`]; pure.

use std::{collections::BTreeMap, sync::Arc};

use crate::routes::UnitFilter;

/// Which topics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum List {
    /// All of them.
    All,
    /// Those of a cluster, which exists.
    OfCluster(String),
    /// Those with certain unit bits.
    ByUnit(UnitFilter),
}

/// The bodies of one generation of the routes.
#[derive(Debug, Default)]
pub(crate) struct TopicLists {
    generation: u64,
    bodies: BTreeMap<List, Arc<[u8]>>,
}

impl TopicLists {
    /// The body of `list` in this generation, written by `write` when nobody has asked before.
    pub(crate) fn body(
        &mut self,
        list: List,
        generation: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Arc<[u8]> {
        if self.generation != generation {
            self.generation = generation;
            self.bodies.clear();
        }
        let encoded = self.bodies.entry(list).or_insert_with(|| {
            let mut body = Vec::new();
            write(&mut body);
            body.into()
        });
        Arc::clone(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_encoded_once_per_generation() {
        let mut lists = TopicLists::default();
        let mut encoded = 0;
        let mut ask = |list: List, generation, text: &str| {
            let body = lists.body(list, generation, |out| {
                encoded += 1;
                out.extend_from_slice(text.as_bytes());
            });
            (String::from_utf8_lossy(&body).into_owned(), encoded)
        };
        assert_eq!(ask(List::All, 1, "a"), ("a".to_owned(), 1));
        assert_eq!(ask(List::All, 1, "never"), ("a".to_owned(), 1));
        assert_eq!(ask(List::ByUnit(UnitFilter::Unit), 1, "u"), ("u".to_owned(), 2));
        assert_eq!(ask(List::OfCluster("c".to_owned()), 1, "c"), ("c".to_owned(), 3));
        assert_eq!(ask(List::All, 2, "b"), ("b".to_owned(), 4));
        assert_eq!(ask(List::OfCluster("c".to_owned()), 2, "d"), ("d".to_owned(), 5));
    }
}
