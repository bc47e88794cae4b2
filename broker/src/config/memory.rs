//! How the memory budget is divided, and the least that a configuration can be run with.
//!
//! Every part of the broker that grows has a share of the budget here and a limit that keeps it within, so that all of
//! them full at once fit. A share has a least size, without which the broker would refuse what it promises; what is left
//! above the sum of these is dealt out among the keys that say 0. What a key names is taken as it is, and counts.
//! Sizes per piece were measured, allocator and kernel included. Absent: what a client makes the *kernel* hold for its
//! sockets under load, which TCP gives back when a control group is short.

use std::fmt;
use std::path::Path;

use super::keys::BrokerConfig;
use crate::table_memory::TableLimits;

/// What a record needs beyond its body: properties, topic, fields. Java allows the same.
pub const RECORD_OVERHEAD_BYTES: u64 = 64 * 1024;
const MIB: u64 = 1024 * 1024;

/// Code, heap, threads and what the tables hold when they are empty.
const PROGRAM_BYTES: u64 = 12 * MIB;
/// Of an executor: registered memory for the disk, io_uring's rings, the memory that sockets are read into.
const EXECUTOR_BYTES: u64 = 3 * MIB;
/// The largest frame; one that has not arrived whole may be held by each executor beyond their budget.
const FRAME_BYTES: u64 = 16 * MIB;
/// Most bytes of a message between executors.
const MESSAGE_BYTES: usize = 128;
/// Of a shard: buffers for a write of the log, for zeroing ahead of it, for index files.
const SHARD_BUFFER_BYTES: u64 = 6 * MIB;
/// Of an entry of a consume queue in memory, with one key of its message, while an index file is made of them.
const INDEX_ENTRY_BYTES: u64 = 64;
/// The tail cache holds entries of its own: messages in it are taken for no smaller than this.
const SMALL_RECORD_BYTES: u64 = 256;
/// Of a message that waits until it is due: its entry in a tree that is half full, and one that was recalled, of which as
/// many are remembered.
const DEFERRED_BYTES: u64 = 128;
/// Of a half message that is open: its entries in two such trees, and its place among those that nobody is online for.
const HALF_MESSAGE_BYTES: u64 = 176;
/// Of a message that was popped and not acknowledged: its entries in two trees, and among what the log lacks.
const POPPED_BYTES: u64 = 176;
/// Of a pop that waits: its task, its place in the tables, its names.
const POP_BYTES: u64 = 2_048;
/// Of a connection: tasks, buffers, and the kernel's socket.
const CONNECTION_BYTES: u64 = 5 * 1024;
/// Of its session in TLS: keys, and room for what comes next. Counted where every connection has one; where some have, they
/// take it from the allocator's part.
const SESSION_BYTES: u64 = 14 * 1024;
/// Of a pull that waits, its filter aside.
const PARKED_PULL_BYTES: u64 = 512;
/// What the filters of a shard's waiting pulls may take up together, for each pull that may wait: some 16 tags when all
/// differ. Equal ones count once.
pub const PARKED_FILTER_BYTES: u64 = 128;
/// Of a connection that is a member of one group with others, for the least that members may take up.
const MEMBER_BYTES: u64 = 640;
/// Entries of the tables of topics and groups take up at least so much for each byte of their files
/// ([`crate::table_memory`]).
const TABLE_BYTES_PER_FILE_BYTE: u64 = 2;
/// The tables of topics and groups besides their entries: changes that registrations remember.
const TABLES_FIXED_BYTES: u64 = MIB / 2;
/// Changes of theirs that wait for the disk, for the smallest tables, and a part of larger ones.
const UNSAVED_BYTES_LEAST: u64 = MIB / 4;
const UNSAVED_PART: u64 = 16;
/// A change that is being written is in memory three times.
const UNSAVED_COPIES: u64 = 3;
/// Former answers that name all topics or all groups and that are still being read, for the smallest tables, and a part
/// of larger ones.
const FORMER_ANSWERS_BYTES_LEAST: u64 = MIB / 16;
const FORMER_ANSWERS_PART: u64 = 8;
/// What entries of topics and groups may take up at least: some 200 topics of eight queues.
const TABLE_BYTES_LEAST: u64 = MIB + MIB / 2;

const INDEX_ENTRIES: Share = Share { least: 20_000, most: 1_000_000 };
const COLD_CACHE_MIB: Share = Share { least: 2, most: 16 };
const GROUP_OFFSETS_MIB: Share = Share { least: 1, most: 256 };
const DEFERRED: Share = Share { least: 500, most: 1_000_000 };
/// Messages that wait, for each in memory: all are looked at for each half of those that memory takes in.
const DEFERRED_FOR_ONE_IN_MEMORY: u32 = 100;
const DEFERRED_MOST: u32 = 10_000_000;
const HALF_MESSAGES: Share = Share { least: 100, most: 1_000_000 };
const POPPED: Share = Share { least: 256, most: 500_000 };
/// Pops that wait, on all executors.
const POPS: Share = Share { least: 16, most: 100_000 };
const CONNECTIONS: Share = Share { least: 256, most: 50_000 };
const PARKED_PULLS: Share = Share { least: 1_000, most: 100_000 };
/// Clients in groups and what they subscribe.
const MEMBERS_BYTES: Share = Share { least: MIB / 2, most: 256 * MIB };
/// What groups have pulled from a shard lately.
const GROUP_PULLS_BYTES: Share = Share { least: MIB / 16, most: 16 * MIB };
/// Statistics by topic, group and queue.
const TRAFFIC_BYTES: Share = Share { least: MIB / 16, most: 128 * MIB };
/// Frames that have not arrived whole, and answers that peers do not read, of one executor.
const BUFFERS_BYTES_LEAST: u64 = MIB;
/// Answers that are not read, of one executor: more brings nobody more.
const UNSENT_BYTES_MOST: u64 = 64 * MIB;
/// Of either, what a connection may hold whatever the others hold.
const BYTES_WHEN_SHORT: Share = Share { least: 1_024, most: 32 * 1_024 };
/// Most tail cache per shard that is taken without being asked for: seconds of log at full speed.
const SHARD_TAIL_CACHE_BYTES_MAX: u64 = 256 * MIB;

/// What a key that says 0 gets.
struct Share {
    least: u64,
    most: u64,
}

impl Share {
    /// What is configured, or the least.
    fn least_of(&self, configured: u64) -> u64 {
        if configured == 0 { self.least } else { configured }
    }

    /// What is configured, or the least and as many more as `bytes` hold at `bytes_each`.
    fn of(&self, configured: u64, bytes: u64, bytes_each: u64) -> u64 {
        if configured == 0 { (self.least + bytes / bytes_each).min(self.most) } else { configured }
    }

    /// The same, and what of `bytes` it does not use.
    fn deal(&self, configured: u64, bytes: u64, bytes_each: u64) -> (u64, u64) {
        let dealt = self.of(configured, bytes, bytes_each);
        let more = if configured == 0 { (dealt - self.least) * bytes_each } else { 0 };
        (dealt, bytes.saturating_sub(more))
    }
}

/// A part of the least budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    what: String,
    bytes: u64,
    /// Keys that make it smaller.
    keys: &'static str,
}

/// How a budget is divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The budget.
    pub budget_bytes: u64,
    /// The least that this configuration can be run with; the parts make it up.
    pub least_bytes: u64,
    parts: Vec<Part>,
    /// Entries of topics and groups.
    pub tables: TableLimits,
    /// Tail caches of all shards together.
    pub tail_cache_bytes: u64,
    /// Frames of all connections that have not arrived whole.
    pub incomplete_frames_bytes: u64,
    /// Answers of all connections that their peers have not read, above which less is given.
    pub unsent_bytes: u64,
    /// What one connection may hold of either when they are above that.
    pub bytes_when_short: u64,
    /// `shardIndexEntriesMax` in force.
    pub index_entries_max: u64,
    /// `shardColdCacheMiB` in force.
    pub cold_cache_mib: u32,
    /// `shardGroupOffsetsMiB` in force.
    pub group_offsets_mib: u64,
    /// `shardTimersInMemoryMax` in force.
    pub deferred_max: u32,
    /// `shardOpenTransactionsMax` in force.
    pub half_messages_max: u32,
    /// `shardPoppedMax` in force.
    pub popped_max: u32,
    /// Pops that may wait, over all executors.
    pub pops_max: u32,
    /// `connectionsMax` in force.
    pub connections_max: u32,
    /// Clients in groups and what they subscribe.
    pub members_bytes: u64,
    /// What groups have pulled from a shard lately, of each shard.
    pub group_pulls_bytes: u64,
    /// Statistics by topic, group and queue.
    pub traffic_bytes: u64,
    /// `shardParkedPullsMax` in force.
    pub parked_pulls_max: u32,
}

impl MemoryPlan {
    /// Divides `budget_bytes` among so many executors and shards.
    ///
    /// What topics and groups may take up depends on the configuration alone, not on what is there, so that what was
    /// accepted fits at the next start. More is there only under a budget that has become smaller: then it counts, and
    /// nothing comes beside it.
    pub fn of(config: &BrokerConfig, budget_bytes: u64, executors: u64, shards: u64) -> MemoryPlan {
        let plan = MemoryPlan::with(config, budget_bytes, (executors, shards), None);
        let there = tables_bytes(config);
        if there <= plan.tables.bytes as u64 {
            return plan;
        }
        MemoryPlan::with(config, budget_bytes, (executors, shards), Some(there))
    }

    /// `tables_there`: what topics and groups take up, when that is more than they may.
    fn with(
        config: &BrokerConfig,
        budget_bytes: u64,
        (executors, shards): (u64, u64),
        tables_there: Option<u64>,
    ) -> MemoryPlan {
        let tables_least = tables_there.unwrap_or(TABLE_BYTES_LEAST);
        let parts = least(config, executors, shards, tables_least);
        let least_bytes = parts.iter().map(|part| part.bytes).sum();
        // An eighth stays with the allocator.
        let left = budget_bytes.saturating_sub(least_bytes) / 8 * 7;
        let index = left / 8 / shards;
        let (connections_max, connections_unused) =
            CONNECTIONS.deal(config.connections_max.into(), left / 8, connection_bytes(config));
        let part = left / 16 / shards;
        let (cold, cold_unused) =
            COLD_CACHE_MIB.deal(config.shard_cold_cache_mib.into(), part, MIB);
        let (offsets, offsets_unused) =
            GROUP_OFFSETS_MIB.deal(config.shard_group_offsets_mib, part, MIB);
        let parked_each = PARKED_PULL_BYTES + PARKED_FILTER_BYTES;
        let (parked, parked_unused) =
            PARKED_PULLS.deal(config.shard_parked_pulls_max.into(), part, parked_each);
        let unused = connections_unused + shards * (cold_unused + offsets_unused + parked_unused);
        // Tail caches and tables get what others do not use of their shares, too; tables the rest of it: they grow one
        // by one, tail caches are doubled.
        let (tail, tail_taken) = tail_caches(config, left / 32 * 9 + unused, shards);
        let tables = (left / 8 * 3 + unused).saturating_sub(tail_taken);
        let tables = match tables_there {
            Some(there) => there,
            None => tables_least + entries_within(tables),
        };
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let tables = TableLimits {
            bytes: size(tables),
            unsaved_bytes: size(unsaved_bytes(tables)),
            former_answers_bytes: size(former_answers_bytes(tables)),
        };
        let incomplete = executors * BUFFERS_BYTES_LEAST + left / 64 * 5;
        let members_least = members_bytes_least(config);
        let unsent =
            (executors * BUFFERS_BYTES_LEAST + left / 16).min(executors * UNSENT_BYTES_MOST);
        let whole = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        MemoryPlan {
            budget_bytes,
            least_bytes,
            parts,
            tables,
            tail_cache_bytes: tail,
            incomplete_frames_bytes: incomplete
                .min(budget_bytes / 8)
                .max(executors * BUFFERS_BYTES_LEAST),
            unsent_bytes: unsent,
            bytes_when_short: BYTES_WHEN_SHORT.of(0, left / 16, connections_max),
            index_entries_max: INDEX_ENTRIES.of(
                config.shard_index_entries_max,
                index,
                INDEX_ENTRY_BYTES,
            ),
            cold_cache_mib: whole(cold),
            group_offsets_mib: offsets,
            deferred_max: whole(DEFERRED.of(
                config.shard_timers_in_memory_max.into(),
                left / 32 / shards,
                DEFERRED_BYTES,
            )),
            half_messages_max: whole(HALF_MESSAGES.of(
                config.shard_open_transactions_max.into(),
                left / 32 / shards,
                HALF_MESSAGE_BYTES,
            )),
            popped_max: whole(POPPED.of(
                config.shard_popped_max.into(),
                left / 64 / shards,
                POPPED_BYTES,
            )),
            pops_max: whole(POPS.of(0, left / 64, POP_BYTES)),
            connections_max: whole(connections_max),
            members_bytes: (members_least + left / 32).min(MEMBERS_BYTES.most.max(members_least)),
            group_pulls_bytes: GROUP_PULLS_BYTES.of(0, left / 128 / shards, 1),
            traffic_bytes: TRAFFIC_BYTES.of(0, left / 64, 1),
            parked_pulls_max: whole(parked),
        }
    }

    /// Whether the budget suffices.
    pub fn fits(&self) -> bool {
        self.least_bytes <= self.budget_bytes
    }

    /// Puts what is in force into the keys that said 0.
    pub fn fill_in(&self, config: &mut BrokerConfig) {
        config.shard_index_entries_max = self.index_entries_max;
        config.shard_cold_cache_mib = self.cold_cache_mib;
        config.shard_group_offsets_mib = self.group_offsets_mib;
        config.shard_timers_in_memory_max = self.deferred_max;
        if config.shard_timers_max == 0 {
            let for_all = self.deferred_max.saturating_mul(DEFERRED_FOR_ONE_IN_MEMORY);
            config.shard_timers_max = for_all.min(DEFERRED_MOST);
        }
        config.shard_open_transactions_max = self.half_messages_max;
        config.shard_popped_max = self.popped_max;
        config.connections_max = self.connections_max;
        config.shard_parked_pulls_max = self.parked_pulls_max;
    }

    /// The least budget in MiB and what it is made of, largest part first.
    pub fn least(&self) -> impl fmt::Display {
        let mut parts: Vec<&Part> = self.parts.iter().filter(|part| part.bytes >= MIB).collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
        let named = parts.iter().map(|part| {
            let keys =
                if part.keys.is_empty() { String::new() } else { format!(" ({})", part.keys) };
            format!("{} for {}{keys}", part.bytes.div_ceil(MIB), part.what)
        });
        let named: Vec<String> = named.collect();
        format!("{} MiB: {}", self.least_bytes.div_ceil(MIB), named.join(", "))
    }
}

/// What each part needs at least.
fn least(config: &BrokerConfig, executors: u64, shards: u64, tables: u64) -> Vec<Part> {
    let part = |what: String, bytes: u64, keys| Part { what, bytes, keys };
    let lanes = runtime::lanes_bytes(
        usize::try_from(executors).unwrap_or(usize::MAX),
        runtime::LANE_MESSAGES_DEFAULT,
        MESSAGE_BYTES,
    );
    let message = u64::from(config.max_message_size) + RECORD_OVERHEAD_BYTES;
    let frame = FRAME_BYTES.max(2 * message);
    let connections = CONNECTIONS.least_of(config.connections_max.into());
    let index = INDEX_ENTRIES.least_of(config.shard_index_entries_max);
    let parked = PARKED_PULLS.least_of(config.shard_parked_pulls_max.into());
    let cold = COLD_CACHE_MIB.least_of(config.shard_cold_cache_mib.into());
    let deferred = DEFERRED.least_of(config.shard_timers_in_memory_max.into());
    let halves = HALF_MESSAGES.least_of(config.shard_open_transactions_max.into());
    let popped = POPPED.least_of(config.shard_popped_max.into());
    let offsets = GROUP_OFFSETS_MIB.least_of(config.shard_group_offsets_mib);
    let tail = match config.tail_cache_mib {
        0 => shards * tail_cache_bytes_least(config),
        mib => mib.saturating_mul(MIB).max(shards * tail_cache_bytes_least(config)),
    };
    let tail_entries = tail / SMALL_RECORD_BYTES * INDEX_ENTRY_BYTES;
    vec![
        part("the program".to_owned(), PROGRAM_BYTES, ""),
        part(
            daemon::words::counted(executors, "executor"),
            executors * (EXECUTOR_BYTES + frame + 3 * BUFFERS_BYTES_LEAST),
            "shardCores",
        ),
        part("messages between executors".to_owned(), lanes, "shardCores"),
        part(
            format!("tail caches of {}", daemon::words::counted(shards, "shard")),
            tail + tail_entries,
            "maxMessageSize, tailCacheMiB, shards",
        ),
        part(
            format!("buffers of {}", daemon::words::counted(shards, "shard")),
            shards * SHARD_BUFFER_BYTES,
            "shards",
        ),
        part(
            "queue entries in memory".to_owned(),
            shards * index.saturating_mul(INDEX_ENTRY_BYTES),
            "shardIndexEntriesMax",
        ),
        part(
            "reads of old messages".to_owned(),
            shards * cold.saturating_mul(MIB),
            "shardColdCacheMiB",
        ),
        part(
            "offsets of groups".to_owned(),
            shards * offsets.saturating_mul(MIB),
            "shardGroupOffsetsMiB",
        ),
        part(
            format!("{deferred} messages of each shard that wait until they are due"),
            shards * deferred.saturating_mul(DEFERRED_BYTES),
            "shardTimersInMemoryMax",
        ),
        part(
            format!("{halves} half messages of each shard"),
            shards * halves.saturating_mul(HALF_MESSAGE_BYTES),
            "shardOpenTransactionsMax",
        ),
        part(
            format!("{popped} popped messages of each shard"),
            shards * popped.saturating_mul(POPPED_BYTES),
            "shardPoppedMax",
        ),
        part(format!("{} waiting pops", POPS.least), POPS.least * POP_BYTES, ""),
        part("pulls of groups".to_owned(), shards * GROUP_PULLS_BYTES.least, "shards"),
        part("statistics".to_owned(), TRAFFIC_BYTES.least, ""),
        part(
            format!("{parked} waiting pulls of each shard"),
            shards * parked.saturating_mul(PARKED_PULL_BYTES + PARKED_FILTER_BYTES),
            "shardParkedPullsMax",
        ),
        part(
            format!("{connections} connections"),
            connections.saturating_mul(connection_bytes(config) + 2 * BYTES_WHEN_SHORT.least),
            "connectionsMax",
        ),
        part("clients in groups".to_owned(), members_bytes_least(config), "connectionsMax"),
        part("topics and groups".to_owned(), with_changes(tables), ""),
    ]
}

/// The smallest ring in which the largest record can be in flight.
pub fn tail_cache_bytes_least(config: &BrokerConfig) -> u64 {
    let record = u64::from(config.max_message_size) + RECORD_OVERHEAD_BYTES;
    // Half of it may be in flight, less the room of a record that did not fit the end of a segment.
    (3 * record).next_power_of_two()
}

/// What an idle connection holds.
fn connection_bytes(config: &BrokerConfig) -> u64 {
    let all_in_tls = config.tls_server_mode.eq_ignore_ascii_case("enforcing");
    CONNECTION_BYTES + if all_in_tls { SESSION_BYTES } else { 0 }
}

/// Each connection may be a member of a group.
fn members_bytes_least(config: &BrokerConfig) -> u64 {
    let connections = CONNECTIONS.least_of(config.connections_max.into());
    MEMBERS_BYTES.least.max(connections.saturating_mul(MEMBER_BYTES))
}

/// Tail caches of all shards together, and what they take of `share` besides their least.
fn tail_caches(config: &BrokerConfig, share: u64, shards: u64) -> (u64, u64) {
    if config.tail_cache_mib != 0 {
        return (config.tail_cache_mib.saturating_mul(MIB), 0);
    }
    let entries = SMALL_RECORD_BYTES + INDEX_ENTRY_BYTES;
    let more = share / entries * SMALL_RECORD_BYTES / shards;
    let least = tail_cache_bytes_least(config);
    // Live consumers are milliseconds behind; more than this only makes the process large.
    let each = (least + more).min(SHARD_TAIL_CACHE_BYTES_MAX.max(least));
    // As a shard rounds it.
    let each = (1_u64 << each.ilog2()).max(least);
    (shards * each, shards * (each - least) / SMALL_RECORD_BYTES * entries)
}

fn unsaved_bytes(tables: u64) -> u64 {
    UNSAVED_BYTES_LEAST + tables / UNSAVED_PART
}

fn former_answers_bytes(tables: u64) -> u64 {
    FORMER_ANSWERS_BYTES_LEAST + tables / FORMER_ANSWERS_PART
}

/// Entries of topics and groups, and what comes with them.
fn with_changes(tables: u64) -> u64 {
    let changes = UNSAVED_COPIES * unsaved_bytes(tables);
    TABLES_FIXED_BYTES + tables + changes + former_answers_bytes(tables)
}

/// The most that entries take up which fit in so many bytes together with what comes with them.
fn entries_within(bytes: u64) -> u64 {
    bytes / (UNSAVED_PART + UNSAVED_COPIES + UNSAVED_PART / FORMER_ANSWERS_PART) * UNSAVED_PART
}

/// Memory of the tables that a start will read, at least.
fn tables_bytes(config: &BrokerConfig) -> u64 {
    let root = Path::new(&config.store_path_root_dir).join("config");
    let bytes = |name: &str| std::fs::metadata(root.join(name)).map_or(0, |found| found.len());
    let files =
        ["topics.json", "subscriptionGroup.json", "queueLocks.json", "messageRequestMode.json"];
    TABLE_BYTES_PER_FILE_BYTE * files.map(bytes).iter().sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table_memory;
    use proto::body::{SubscriptionGroupConfig, TopicConfig};

    /// A broker without any settings but where its data lie.
    fn stored_in(root: &Path) -> BrokerConfig {
        BrokerConfig { store_path_root_dir: root.display().to_string(), ..BrokerConfig::default() }
    }

    /// Goal: what was accepted fits at the next start, which divides the budget by the same function: topics and groups
    /// that are there change nothing as long as they keep within what they may take up, and all shares fit together.
    #[test]
    fn topics_and_groups_that_were_accepted_change_no_plan() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("config");
        std::fs::create_dir(&dir).unwrap();
        let config = stored_in(root.path());
        for mib in [112, 128, 224, 512, 4_096, 16_384] {
            let plan = |bytes: u64| {
                let file = std::fs::File::create(dir.join("topics.json")).unwrap();
                file.set_len(bytes).unwrap();
                MemoryPlan::of(&config, mib * MIB, 1, 1)
            };
            let empty = plan(0);
            assert!(empty.fits(), "{mib}: {}", empty.least());
            let entries = empty.tables.bytes as u64;
            assert_eq!(plan(entries / TABLE_BYTES_PER_FILE_BYTE), empty, "{mib}");
            // A budget that became smaller: what is there counts, and nothing comes beside it.
            let more = plan(entries);
            assert_eq!(more.tables.bytes as u64, 2 * entries);
            assert!(more.least_bytes > empty.least_bytes);
            let rest = with_changes(entries) - with_changes(TABLE_BYTES_LEAST);
            assert!(empty.least_bytes + rest <= mib * MIB, "{mib}");
        }
    }

    /// Goal: what README and tuning.md say fits, fits. `--nocapture` prints what a budget holds.
    #[test]
    fn as_many_topics_fit_as_the_documents_say() {
        let root = tempfile::tempdir().unwrap();
        let config = stored_in(root.path());
        let topic = |name: &str, queues| {
            let topic = TopicConfig {
                topic_name: name.to_owned(),
                read_queue_nums: queues,
                write_queue_nums: queues,
                ..TopicConfig::default()
            };
            table_memory::of_topic(&topic).sum()
        };
        let group = SubscriptionGroupConfig {
            group_name: "a-group-of-20-letters".to_owned(),
            ..SubscriptionGroupConfig::default()
        };
        let of_topic = topic("a-topic-of-20-letters", 8);
        let of_group =
            table_memory::of_group(&group).sum() + topic("%RETRY%a-group-of-20-letters", 1);
        println!("a topic of 8 queues {of_topic} bytes, a group with its retry topic {of_group}");
        let fit = |mib: u64| {
            let tables = MemoryPlan::of(&config, mib * MIB, 1, 1).tables.bytes;
            let (topics, groups) = (tables / of_topic, tables / of_group);
            println!("{mib} MiB: tables {} KiB, {topics} topics, {groups} groups", tables >> 10);
            (topics, groups)
        };
        let all = [112, 128, 256, 512, 1_024, 2_048, 4_096, 4_608, 16_384].map(fit);
        assert!(all.is_sorted(), "{all:?}");
        assert!(fit(128) >= (2_300, 5_200), "{all:?}");
        assert!(fit(1_024) >= (23_000, 52_000), "{all:?}");
        assert!(fit(4_608) >= (200_000, 200_000), "{all:?}");
    }

    /// Goal: what README says of unread answers. `--nocapture` prints what a budget allows.
    #[test]
    fn unread_answers_have_the_limits_that_the_documents_say() {
        let root = tempfile::tempdir().unwrap();
        let config = stored_in(root.path());
        let limits = [128, 256, 1_024, 4_096].map(|mib| {
            let plan = MemoryPlan::of(&config, mib * MIB, 1, 1);
            println!(
                "{mib} MiB: unread {} KiB, {} bytes when short",
                plan.unsent_bytes >> 10,
                plan.bytes_when_short
            );
            (plan.unsent_bytes >> 10, plan.bytes_when_short)
        });
        let documented = [(4_000, 3_000), (11_000, 3_000), (53_000, 3_000), (65_536, 5_000)];
        let are_met = limits.iter().zip(documented).all(|(limit, least)| *limit >= least);
        assert!(are_met, "{limits:?}");
    }
}
