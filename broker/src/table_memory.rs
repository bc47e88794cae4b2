//! Memory of the tables of topics and groups: what an entry takes up, how much there is, and how much there may be.
//!
//! An entry is counted with everything that follows from it: its places in the tables and in the snapshots of the workers,
//! its route in a name server inside, its JSON in the file that is being written and in an answer that names the whole
//! table, and for a topic each of its queues, whether it has messages yet or not: what was accepted can be used. Figures
//! were measured, allocator included (see `deploy/tuning.md`), and are on the large side. `config::MemoryPlan` sets the
//! limits, from the same figures at a start and while running; `control::stored_table` keeps the account.

use proto::body::{Json, SubscriptionGroupConfig, TopicConfig};
use std::cell::Cell;

/// Of a topic, its name, JSON and queues aside.
const TOPIC_BYTES: usize = 560;
/// Of a group, its name and JSON aside.
const GROUP_BYTES: usize = 720;
/// Places where a name stands, besides JSON.
const NAMES: usize = 6;
/// In a file that is being written, and in the present answer. Former ones have a share of their own.
const JSON_COPIES: usize = 2;
/// Of a queue: its place in its shard, its first entries, its rows while index files are written and merged.
const QUEUE_BYTES: usize = 768;
/// Of a name that was deleted and that shards have yet to drop, its characters aside.
const DELETED_BYTES: usize = 256;
/// The attributes of a topic, if there are any: one node of a map.
const ATTRIBUTES_BYTES: usize = 704;
/// Of one of them, its texts aside.
const ATTRIBUTE_BYTES: usize = 64;
/// Of a change that waits for the disk, its record aside.
const CHANGE_BYTES: usize = 64;
/// Of an entry's name as the key of its JSON: quotes, colon, comma.
const JSON_KEY_BYTES: usize = 4;

/// What an entry takes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryBytes {
    /// Goes with the entry.
    pub own: usize,
    /// Stays with its name until shards have dropped what they hold of it, even when an entry takes its place that needs
    /// less: queues that were used do not go because a topic is given fewer.
    pub lasting: usize,
}

impl EntryBytes {
    /// Both.
    pub fn sum(self) -> usize {
        self.own + self.lasting
    }
}

/// Of a topic.
pub fn of_topic(topic: &TopicConfig) -> EntryBytes {
    let mut json = Vec::new();
    topic.write(&mut json);
    let attributes = topic.attributes.iter();
    let texts: usize =
        attributes.map(|(name, value)| name.len() + value.len() + ATTRIBUTE_BYTES).sum();
    let map = if texts == 0 { 0 } else { ATTRIBUTES_BYTES };
    let own = TOPIC_BYTES + names_and_json(&topic.topic_name, &json) + map + texts;
    EntryBytes { own, lasting: of_queues(topic.queues() as usize) }
}

/// Of so many queues of a topic.
pub fn of_queues(queues: usize) -> usize {
    queues.saturating_mul(QUEUE_BYTES)
}

/// Of a group.
pub fn of_group(group: &SubscriptionGroupConfig) -> EntryBytes {
    let mut json = Vec::new();
    group.write(&mut json);
    let values = [&group.group_retry_policy, &group.subscription_data_set];
    let trees: usize = values.into_iter().flatten().map(Json::memory_bytes).sum();
    let own = GROUP_BYTES + names_and_json(&group.group_name, &json) + trees;
    EntryBytes { own, lasting: 0 }
}

/// Of an entry, wherever its name and its JSON stand.
fn names_and_json(name: &str, json: &[u8]) -> usize {
    NAMES * name.len() + JSON_COPIES * (name.len() + JSON_KEY_BYTES + json.len())
}

/// Of a name that was deleted and that shards have yet to drop.
pub fn of_deleted(name: &str) -> usize {
    DELETED_BYTES + NAMES * name.len()
}

/// Limits of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLimits {
    /// What entries may take up.
    pub bytes: usize,
    /// Changes that are not on the disk yet.
    pub unsaved_bytes: usize,
    /// Former answers that name a whole table and that are still being read.
    pub former_answers_bytes: usize,
}

impl TableLimits {
    /// None: tests, and before the budget is known.
    pub const NONE: TableLimits = TableLimits {
        bytes: usize::MAX,
        unsaved_bytes: usize::MAX,
        former_answers_bytes: usize::MAX,
    };
}

/// What the tables take up. Both tables share it.
#[derive(Debug)]
pub struct TableMemory {
    limits: Cell<TableLimits>,
    bytes: Cell<usize>,
    unsaved_bytes: Cell<usize>,
    former_answers_bytes: Cell<usize>,
}

impl Default for TableMemory {
    fn default() -> TableMemory {
        TableMemory {
            limits: Cell::new(TableLimits::NONE),
            bytes: Cell::default(),
            unsaved_bytes: Cell::default(),
            former_answers_bytes: Cell::default(),
        }
    }
}

impl TableMemory {
    /// Nothing is accepted from now on that does not fit.
    pub fn limit(&self, limits: TableLimits) {
        self.limits.set(limits);
    }

    /// What entries take up, and the most that they may. Former answers beyond their share count: who reads slowly
    /// what named entries that are gone leaves less room for new ones.
    pub fn level(&self) -> (usize, usize) {
        let (former, share) = self.former_answers();
        (self.bytes.get() + former.saturating_sub(share), self.limits.get().bytes)
    }

    /// Former answers that are still being read, and their share.
    pub fn former_answers(&self) -> (usize, usize) {
        (self.former_answers_bytes.get(), self.limits.get().former_answers_bytes)
    }

    /// Former answers of one table took up `before` and take up `after`.
    pub fn replace_former_answers(&self, before: usize, after: usize) {
        let others = self.former_answers_bytes.get().saturating_sub(before);
        self.former_answers_bytes.set(others + after);
    }

    /// Changes that are not on the disk, and the most of them: beyond it there are no more, unless they make room.
    pub fn unsaved(&self) -> (usize, usize) {
        (self.unsaved_bytes.get(), self.limits.get().unsaved_bytes)
    }

    /// Whether so much more fits.
    pub fn has_room(&self, more: usize) -> bool {
        let (bytes, limit) = self.level();
        more == 0 || more <= limit.saturating_sub(bytes)
    }

    /// Something that took up `before` takes up `after`. Without a check: what is on the disk is there, whatever the limit.
    pub fn replace(&self, before: usize, after: usize) {
        self.bytes.set((self.bytes.get() + after).saturating_sub(before));
    }

    /// A change is to be written.
    pub fn changed(&self, record: &[u8]) {
        self.unsaved_bytes.set(self.unsaved_bytes.get() + CHANGE_BYTES + record.len());
    }

    /// These changes are on the disk.
    pub fn saved(&self, records: &[Vec<u8>]) {
        let saved: usize = records.iter().map(|record| CHANGE_BYTES + record.len()).sum();
        self.unsaved_bytes.set(self.unsaved_bytes.get().saturating_sub(saved));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_queues_and_trees_count() {
        let topic = |name: &str, read, write| {
            of_topic(&TopicConfig {
                topic_name: name.to_owned(),
                read_queue_nums: read,
                write_queue_nums: write,
                ..TopicConfig::default()
            })
        };
        let short = topic(&"t".repeat(10), 8, 8);
        assert!((800..1_200).contains(&short.own), "{short:?}");
        assert_eq!(short.lasting, 8 * QUEUE_BYTES);
        assert_eq!(topic(&"t".repeat(10), -1, 0).lasting, 0);
        assert_eq!(topic(&"t".repeat(10), 3, 1).lasting, 3 * QUEUE_BYTES);
        let long = topic(&"t".repeat(127), 8, 8);
        assert!(long.own - short.own >= 117 * (NAMES + 2 * JSON_COPIES), "{long:?}");
        let mut group =
            SubscriptionGroupConfig { group_name: "g".repeat(10), ..Default::default() };
        let plain = of_group(&group).own;
        assert!((1_100..1_500).contains(&plain), "{plain}");
        // Sixteen kilobytes of small objects are a megabyte of nodes.
        let many = format!(r#"{{"subscriptionDataSet":[{}1]}}"#, r#"{"a":1},"#.repeat(2_000));
        let read = SubscriptionGroupConfig::read(many.as_bytes()).expect("JSON");
        group.subscription_data_set = read.subscription_data_set;
        assert!(of_group(&group).own > plain + 2_000 * 640);
        assert!(of_deleted(&"t".repeat(127)) < long.own, "a deletion never needs room");
        assert!(
            of_deleted(&"g".repeat(255))
                < of_group(&SubscriptionGroupConfig {
                    group_name: "g".repeat(255),
                    ..Default::default()
                })
                .own
        );
    }

    #[test]
    fn the_account_is_kept() {
        let memory = TableMemory::default();
        assert!(memory.has_room(usize::MAX));
        let limits = TableLimits { bytes: 1_000, unsaved_bytes: 100, former_answers_bytes: 200 };
        memory.limit(limits);
        memory.replace(0, 900);
        assert!(memory.has_room(100) && !memory.has_room(101));
        memory.replace(900, 1_200);
        assert!(!memory.has_room(1) && memory.has_room(0), "what shrinks always fits");
        memory.replace(1_200, 900);
        memory.replace_former_answers(0, 200);
        assert!(memory.has_room(100), "their share");
        memory.replace_former_answers(200, 250);
        assert!(memory.has_room(50) && !memory.has_room(51), "beyond it they count");
        memory.replace_former_answers(250, 0);
        assert_eq!(memory.former_answers(), (0, 200));
        memory.changed(b"record");
        assert_eq!(memory.unsaved(), (CHANGE_BYTES + 6, 100));
        memory.saved(&[b"record".to_vec()]);
        assert_eq!(memory.unsaved().0, 0);
    }
}
