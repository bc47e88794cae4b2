//! What `/metrics` shows, declared once. Counters of shards are declared with their cells, in [`crate::stats`]; those of
//! the name server in its crate.

use crate::stats::{Metric, ROWS, Row};
use telemetry::{Family, Kind, certificates, families, markdown, process};

/// The label of numbers that each shard has.
const SHARD: &[&str] = &["shard"];

families! {
    /// All that a broker says of itself, besides the counters of its shards.
    pub(super) const ALL;
    /// 1, with the version that runs.
    BUILD: Gauge("ringmq_build_info", "version");
    /// 1, with the names by which clients and name servers know this broker.
    BROKER: Gauge("ringmq_broker_info", "cluster", "broker", "address");
    /// Whether the broker serves, as /ready says.
    READY: Gauge("ringmq_ready");
    /// 1 for the status that /ready says, 0 for all others.
    STATUS: Gauge("ringmq_status", "status");
    /// Bytes of the logs that the last start has read.
    RECOVERY_READ: Gauge("ringmq_recovery_read_bytes");
    /// Bytes of the logs that the start has still to read, at most; 0 when all are open.
    RECOVERY_LEFT: Gauge("ringmq_recovery_left_bytes");
    /// Shards of the store.
    SHARDS: Gauge("ringmq_shards");
    /// 1 for what a shard's log is, 0 for all else that it could be.
    CONDITION: Gauge("ringmq_shard_condition", "shard", "condition");
    /// Name servers that know this broker.
    REGISTERED: Gauge("ringmq_name_servers_registered");
    /// Name servers that do not serve this broker.
    UNREGISTERED: Gauge("ringmq_name_servers_failing");
    /// From the arrival of a send at its connection to its answer.
    SENDS: Histogram("ringmq_send_seconds", "shard");
    /// Writes of the log; under SYNC_FLUSH with their sync, which all sends in them wait for.
    COMMITS: Histogram("ringmq_commit_seconds", "shard");
    /// Syncs that no send waits for, under ASYNC_FLUSH.
    BACKGROUND_SYNCS: Histogram("ringmq_background_sync_seconds", "shard");
    /// From the storing of a message to the answer that takes it to a consumer which pulled: of each answer from memory the oldest message.
    DELIVERIES: Histogram("ringmq_delivery_seconds", "shard");
    /// Pulls of messages that have left memory, in line and from the disk.
    COLD_PULLS: Histogram("ringmq_cold_pull_seconds", "shard");
    /// How much later than it wanted a task that has nothing to do had its turn: what others have on the same worker to wait.
    LOOP_LAG: Histogram("ringmq_loop_lag_seconds", "worker");
    /// How long nothing was heard of a worker's loop. Above 2, /health says 503.
    SILENCE: Gauge("ringmq_worker_silent_seconds", "worker");
    /// Messages for other workers that wait on a worker, as their lanes are full.
    MESH: Gauge("ringmq_mesh_waiting_messages", "worker");
    /// Memory that is in use, by part.
    MEMORY_USED: Gauge("ringmq_memory_used_bytes", "part");
    /// The most that a part of the memory may be; above it something waits or is refused.
    MEMORY_LIMIT: Gauge("ringmq_memory_limit_bytes", "part");
    /// Memory that all parts are planned with (memoryBudgetMiB).
    MEMORY_BUDGET: Gauge("ringmq_memory_budget_bytes");
    /// Connections that may be open at once (connectionsMax).
    CONNECTIONS_MAX: Gauge("ringmq_connections_limit");
    /// Requests that were answered with a refusal, by response code and the reason in it, where it names one.
    REFUSED: Counter("ringmq_refused_requests_total", "code", "reason");
    /// Requests that access control has refused, by reason; the log names them. The name server inside counts its own in ringmq_namesrv_requests_total.
    ACL_REFUSED: Counter("ringmq_acl_refused_requests_total", "reason");
    /// How often changed files of accounts were taken over.
    ACL_RELOADS: Counter("ringmq_acl_reloads_total");
    /// How often changed files of accounts could not be used: the former rules stay in force, and the log says why.
    ACL_FAILED_RELOADS: Counter("ringmq_acl_failed_reloads_total");
    /// Size of the file system of the logs.
    DISK_TOTAL: Gauge("ringmq_disk_total_bytes");
    /// What the broker may still take of it.
    DISK_FREE: Gauge("ringmq_disk_free_bytes");
    /// How much of it is used, 0 to 1; room that the logs have taken ahead does not count.
    DISK_USED: Gauge("ringmq_disk_used_ratio");
    /// Above so much: expired segments go at any hour, the oldest go before their time, sends are refused.
    DISK_LIMIT: Gauge("ringmq_disk_limit_ratio", "limit");
    /// When the oldest message that is still there was stored, seconds since 1970; no number without a message.
    OLDEST: Gauge("ringmq_oldest_message_timestamp_seconds");
    /// Topics, those of the broker's own included.
    TOPICS: Gauge("ringmq_topics");
    /// Consumer groups that are known.
    GROUPS: Gauge("ringmq_groups");
    /// Groups with somebody online.
    GROUPS_ONLINE: Gauge("ringmq_groups_online", "kind");
    /// Clients that belong to a group.
    CLIENTS: Gauge("ringmq_clients");
    /// Messages that wait in a delay level.
    DELAYED: Gauge("ringmq_delay_level_waiting_messages", "level");
    /// Messages of a topic that a group has not consumed, by the offsets that it has committed.
    LAG_MESSAGES: Gauge("ringmq_group_lag_messages", "group", "topic");
    /// Age of the oldest of them; no number where it lies on the disk and nobody has looked.
    LAG_SECONDS: Gauge("ringmq_group_lag_seconds", "group", "topic");
    /// Messages that were appended to a topic; topics of the broker's own are among them. Like all counters of topics and groups it is there from the first traffic after a start until the topic or group is deleted, or has had none for 26 hours (one hour while memory for them is short).
    TOPIC_PUT_MESSAGES: Counter("ringmq_topic_put_messages_total", "topic");
    /// Bytes of their records.
    TOPIC_PUT_BYTES: Counter("ringmq_topic_put_bytes_total", "topic");
    /// Messages of a topic that pulls and pops of a group got.
    GROUP_GOT_MESSAGES: Counter("ringmq_group_got_messages_total", "group", "topic");
    /// Bytes of their records.
    GROUP_GOT_BYTES: Counter("ringmq_group_got_bytes_total", "group", "topic");
    /// Popped messages that a group has acknowledged; who pulls commits offsets instead.
    GROUP_ACKNOWLEDGED: Counter("ringmq_group_acknowledged_messages_total", "group", "topic");
    /// Messages that a group has sent back, to get them again or to give them up, by the topic they came from first.
    GROUP_SENT_BACK: Counter("ringmq_group_sent_back_messages_total", "group", "topic");
    /// How often traffic was not counted by its topic, group or queue, as the part of the memory for it is full.
    TRAFFIC_LEFT_OUT: Counter("ringmq_traffic_left_out_total");
    /// Label sets that a metric of this scrape lacks: beyond metricsOtelCardinalityLimit, or not looked up.
    LEFT_OUT: Gauge("ringmq_metrics_left_out", "metric");
    /// Whether all workers have said what they had to; 0 while the start goes on, or when one does not answer.
    COMPLETE: Gauge("ringmq_scrape_complete");
    /// How long this scrape took to make.
    SCRAPE: Gauge("ringmq_scrape_seconds");
}

/// How a counter of shards is shown, and with which labels.
pub(super) fn family_of(row: &Row) -> Family {
    let (name, kind, labels) = match row.metric {
        Metric::Counter(name) => (name, Kind::Counter, SHARD),
        Metric::Gauge(name) => (name, Kind::Gauge, SHARD),
        Metric::BrokerGauge(name) => (name, Kind::Gauge, &[][..]),
    };
    Family { name, kind, labels, help: row.help }
}

/// `deploy/metrics.md`, but for its beginning.
pub fn page() -> String {
    let rows: Vec<Family> = ROWS.iter().map(family_of).collect();
    format!(
        "## Of a broker\n\n{}\n## Of each shard of a broker\n\n{}\n## Of a name server, also of the one inside a standalone broker\n\n{}\n\
         ## Of every process\n\n{}\n## Of certificates, of brokers and name servers\n\n{}",
        markdown(ALL),
        markdown(&rows),
        markdown(namesrv::metrics::ALL),
        markdown(process::ALL),
        markdown(certificates::ALL),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_kind_and_unit_and_are_nobody_elses() {
        let rows = ROWS.iter().map(family_of);
        let all: Vec<Family> = rows
            .chain(ALL.iter().copied())
            .chain(namesrv::metrics::ALL.iter().copied())
            .chain(process::ALL.iter().copied())
            .chain(certificates::ALL.iter().copied())
            .collect();
        for (index, family) in all.iter().enumerate() {
            let Family { name, kind, help, .. } = family;
            assert!(all[..index].iter().all(|other| other.name != *name), "{name} twice");
            assert!(help.trim().ends_with('.'), "{name} has no sentence");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(name.chars().all(plain), "{name}");
        }
    }
}
