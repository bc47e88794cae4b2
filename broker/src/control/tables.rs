//! Topics and groups as they are at one moment, which become durable together: what snapshots and registrations show.
//!
//! Nothing is seen before it is on the disk: [`super::Control`] changes its tables at once, and shows the [`Tables`] that
//! the last finished write of the metadata holds. What was deleted is hidden as long as a shard may hold something of it,
//! also when it has been made again meanwhile.

use super::shared_table::{BUCKETS, SharedTable, entries};
use proto::body::{DataVersion, SubscriptionGroupConfig, TopicConfig, TopicConfigTable};
use std::collections::{BTreeSet, VecDeque};

/// Topics of one registration, about, in bytes of their JSON: who reads it is not held up, and it fits a frame many
/// times, however many topics there are.
pub const PART_BYTES: usize = 256 * 1024;
/// Bytes of a topic in JSON besides its name, which stands there twice.
const TOPIC_BYTES: usize = 130;

/// Names that were deleted and that shards may still hold something of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Topics: their queues, and offsets of groups on them.
    pub topics: BTreeSet<String>,
    /// Groups: their offsets.
    pub groups: BTreeSet<String>,
}

impl Deleted {
    /// Whether there is nothing to drop.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.groups.is_empty()
    }
}

/// Both tables at one moment, without what is being dropped.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The topics.
    pub topics: SharedTable<TopicConfig>,
    /// The groups.
    pub groups: SharedTable<SubscriptionGroupConfig>,
    /// Version of the table of topics.
    pub version: DataVersion,
    /// Its version at the last change that has to be registered with name servers.
    pub announced: DataVersion,
    /// What is being dropped.
    pub deleted: Deleted,
}

/// What a registration with a name server has yet to send: whole tables do not fit a frame, so it goes in parts, each a
/// registration of its own. Every part but the last has a version that no table ever has: name servers take topics only
/// with a version that they do not know, and know the true one when they have everything.
#[derive(Clone, Debug)]
pub struct TopicParts {
    version: DataVersion,
    /// Makes the versions of parts differ from those of earlier rounds.
    started_ms: i64,
    parts: i64,
    rest: Rest,
}

#[derive(Clone, Debug)]
enum Rest {
    /// All topics of the buckets from this one on.
    Buckets(usize),
    /// These topics.
    Names(VecDeque<String>),
}

impl TopicParts {
    /// All topics.
    pub fn all(tables: &Tables, now: i64) -> TopicParts {
        TopicParts::new(tables, now, Rest::Buckets(0))
    }

    /// Topics of these names.
    pub fn named(tables: &Tables, now: i64, names: VecDeque<String>) -> TopicParts {
        TopicParts::new(tables, now, Rest::Names(names))
    }

    fn new(tables: &Tables, started_ms: i64, rest: Rest) -> TopicParts {
        TopicParts { version: tables.version, started_ms, parts: 0, rest }
    }

    /// The next part, from the tables as they are now: a topic that was deleted meanwhile is not sent any more, one that
    /// was changed goes as it is, and once more behind this round. Also, whether this part is the last.
    pub fn next(&mut self, tables: &Tables, part_bytes: usize) -> (TopicConfigTable, bool) {
        let mut part = TopicConfigTable::default();
        let mut bytes = 0;
        let mut take = |config: &TopicConfig| {
            bytes += TOPIC_BYTES + 2 * config.topic_name.len();
            part.topic_config_table.insert(config.topic_name.clone(), config.clone());
            bytes >= part_bytes
        };
        let is_last = match &mut self.rest {
            Rest::Buckets(next) => {
                while *next < BUCKETS {
                    let bucket = tables.topics.bucket(*next);
                    *next += 1;
                    // A bucket is never divided: its order may change.
                    let full = entries(bucket).fold(false, |full, (_, config)| take(config) | full);
                    if full {
                        break;
                    }
                }
                *next == BUCKETS
            }
            Rest::Names(names) => {
                while let Some(name) = names.pop_front() {
                    if tables.topics.get(&name).is_some_and(|config| take(config)) {
                        break;
                    }
                }
                names.is_empty()
            }
        };
        self.parts += 1;
        part.data_version = if is_last {
            self.version
        } else {
            DataVersion { timestamp: self.started_ms, counter: -self.parts }
        };
        (part, is_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, sync::Arc};

    const VERSION: DataVersion = DataVersion { timestamp: 7, counter: 9 };

    fn tables(count: usize) -> Tables {
        let mut tables = Tables { version: VERSION, ..Tables::default() };
        for number in 0..count {
            let topic_name = format!("topic-{number}");
            let config = TopicConfig { topic_name: topic_name.clone(), ..TopicConfig::default() };
            tables.topics.insert(&topic_name, Arc::new(config));
        }
        tables
    }

    fn play(
        mut parts: TopicParts,
        tables: &Tables,
    ) -> (Vec<DataVersion>, BTreeMap<String, TopicConfig>) {
        let (mut versions, mut sent) = (Vec::new(), BTreeMap::new());
        loop {
            let (part, is_last) = parts.next(tables, 10_000);
            let count = part.topic_config_table.len();
            assert!(count <= 200, "{count} topics in a part");
            versions.push(part.data_version);
            sent.extend(part.topic_config_table);
            if is_last {
                return (versions, sent);
            }
        }
    }

    #[test]
    fn parts_hold_every_topic_and_the_last_has_the_version() {
        for count in [0, 1, 3_000] {
            let tables = tables(count);
            let (versions, sent) = play(TopicParts::all(&tables, 5), &tables);
            assert_eq!(sent.len(), count);
            assert_eq!(versions.last(), Some(&VERSION));
            let others = &versions[..versions.len() - 1];
            assert_eq!(count > 1, !others.is_empty());
            assert!(others.iter().all(|version| version.counter < 0 && version.timestamp == 5));
            let distinct: BTreeSet<_> = others.iter().map(|version| version.counter).collect();
            assert_eq!(distinct.len(), others.len(), "who knows a version takes nothing");
        }
    }

    #[test]
    fn what_was_deleted_meanwhile_is_not_sent() {
        let mut now = tables(1_000);
        let mut parts = TopicParts::all(&now, 5);
        let (first, _) = parts.next(&now, 10_000);
        let mut left = (0..1_000).map(|number| format!("topic-{number}"));
        let left = left.find(|name| !first.topic_config_table.contains_key(name));
        let deleted = left.expect("one part does not hold all");
        now.topics.remove(&deleted);
        let (_, sent) = play(parts, &now);
        assert!(!sent.contains_key(&deleted));
        assert_eq!(sent.len() + first.topic_config_table.len(), 999);
    }

    #[test]
    fn names_are_sent_that_are_still_there() {
        let tables = tables(500);
        let names: VecDeque<String> = (400..600).map(|number| format!("topic-{number}")).collect();
        let (versions, sent) = play(TopicParts::named(&tables, 5, names), &tables);
        assert_eq!((sent.len(), versions.last()), (100, Some(&VERSION)));
        assert!(versions.len() > 1);
        let (versions, sent) = play(TopicParts::named(&tables, 5, VecDeque::new()), &tables);
        assert_eq!((sent.len(), versions), (0, vec![VERSION]));
    }
}
