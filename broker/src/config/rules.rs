//! Rules that several keys must fulfil together, and values that are moved into Java's bounds instead of refused.

use super::problem::{Notice, Problem, Source};
use super::{
    BrokerConfig, BrokerRole, ConfigValue, CoreList, FlushDiskType, Machine, MemoryPlan,
    RECORD_OVERHEAD_BYTES, Sizing, addresses,
};
use crate::delay_levels::DelayLevels;
use daemon::{config::ip_of, config_body::told};

/// Segments are written in whole blocks by direct I/O.
const BLOCK_BYTES: u64 = 4_096;
const MIB: u64 = 1024 * 1024;
/// Java's bounds of registerNameServerPeriod.
const REGISTER_PERIOD_MS: (u64, u64) = (10_000, 60_000);
/// What a full pop takes, with its queue.
const SHARD_POPPED_LEAST: u32 = 64;
/// Java's bounds of diskMaxUsedSpaceRatio.
const DISK_RATIO: (u32, u32) = (10, 95);

impl BrokerConfig {
    /// All contradictions between keys. `standalone`: a name server runs in the same process.
    pub fn validate(&self, standalone: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, value: String, expected: String| {
            let (key, source_of) = (key.to_owned(), Source::Together);
            problems.push(Problem { source_of, key, value, expected });
        };
        if self.broker_role != BrokerRole::AsyncMaster {
            let expected = "ASYNC_MASTER: there is no replication yet, and acknowledgements must not promise it";
            problem("brokerRole", self.broker_role.text(), expected.to_owned());
        }
        if self.broker_id != 0 {
            problem(
                "brokerId",
                self.broker_id.to_string(),
                "0: every broker here is a master".to_owned(),
            );
        }
        if self.acl_enable && (self.authentication_enabled || self.authorization_enabled) {
            let expected = "false, or authenticationEnabled and authorizationEnabled to be false: one generation's rules \
                            decide, those of 4.9 or those of 5.x";
            problem("aclEnable", self.acl_enable.text(), expected.to_owned());
        }
        let needs_users = [
            ("authorizationEnabled", self.authorization_enabled),
            ("migrateAuthFromV1Enabled", self.migrate_auth_from_v1_enabled),
        ];
        for (key, is_on) in needs_users {
            if is_on && !self.authentication_enabled {
                let expected = "authenticationEnabled=true beside it: who asks must be known before rules can decide";
                problem(key, is_on.text(), expected.to_owned());
            }
        }
        if let Err(expected) = DelayLevels::parse(&self.message_delay_level, 1) {
            problem("messageDelayLevel", self.message_delay_level.clone(), expected);
        }
        if self.store_path_commit_log.contains(',') {
            let expected = "one directory: the logs of all shards live in one place".to_owned();
            problem("storePathCommitLog", self.store_path_commit_log.clone(), expected);
        }
        if !self.mapped_file_size_commit_log.is_multiple_of(BLOCK_BYTES) {
            let expected = format!("a multiple of {BLOCK_BYTES}, because of direct I/O");
            problem(
                "mappedFileSizeCommitLog",
                self.mapped_file_size_commit_log.to_string(),
                expected,
            );
        }
        let record_max = u64::from(self.max_message_size) + RECORD_OVERHEAD_BYTES;
        if self.mapped_file_size_commit_log < record_max + MIB {
            let expected =
                format!("at least maxMessageSize and {} bytes more", RECORD_OVERHEAD_BYTES + MIB);
            problem(
                "mappedFileSizeCommitLog",
                self.mapped_file_size_commit_log.to_string(),
                expected,
            );
        }
        if self.connection_inflight_bytes_max < record_max {
            let expected = format!(
                "at least {record_max}, so that a message of maxMessageSize can be taken in"
            );
            problem(
                "connectionInflightBytesMax",
                self.connection_inflight_bytes_max.to_string(),
                expected,
            );
        }
        if self.shard_inflight_bytes_max < self.connection_inflight_bytes_max {
            let expected = format!(
                "at least connectionInflightBytesMax ({})",
                self.connection_inflight_bytes_max
            );
            problem("shardInflightBytesMax", self.shard_inflight_bytes_max.to_string(), expected);
        }
        if self.shard_popped_max != 0 && self.shard_popped_max < SHARD_POPPED_LEAST {
            let expected = format!(
                "0 (by the memory budget) or at least {SHARD_POPPED_LEAST}: a queue counts as some messages, and nothing would \
                 be given out"
            );
            problem("shardPoppedMax", self.shard_popped_max.to_string(), expected);
        }
        if self.disk_space_clean_forcibly_ratio > self.disk_space_warning_level_ratio {
            let expected = format!(
                "at most diskSpaceWarningLevelRatio ({})",
                self.disk_space_warning_level_ratio
            );
            problem(
                "diskSpaceCleanForciblyRatio",
                self.disk_space_clean_forcibly_ratio.to_string(),
                expected,
            );
        }
        if let Some(ip) = ip_of(&self.broker_ip1)
            && !self.bind_address.covers(ip)
        {
            let expected = format!(
                "an address that is listened on: bindAddress={} covers {} only; leave bindAddress out for both",
                self.bind_address.text(),
                if ip.is_ipv6() { "IPv4" } else { "IPv6" }
            );
            problem("brokerIP1", self.broker_ip1.clone(), expected);
        }
        let own_ports = [self.listen_port, self.listen_port.saturating_sub(2)];
        if standalone && own_ports.contains(&self.standalone_namesrv_port) {
            let expected = format!(
                "another port than listenPort ({}) and its VIP port ({})",
                own_ports[0], own_ports[1]
            );
            problem("standaloneNamesrvPort", self.standalone_namesrv_port.to_string(), expected);
        }
        problems
    }

    /// Contradictions with the machine: processors that are not there, memory that does not suffice.
    pub(super) fn validate_for(&self, machine: &Machine) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, value: String, expected: String| {
            let (key, source_of) = (key.to_owned(), Source::Together);
            problems.push(Problem { source_of, key, value, expected });
        };
        if let Some(absent) =
            self.shard_cores.0.iter().find(|core| !machine.processors.contains(core))
        {
            let (there, list) = (machine.processors.len(), CoreList(machine.processors.clone()));
            let expected = format!(
                "processors out of the {there} that this process may use here, {}: {absent} is none of them",
                list.text()
            );
            problem("shardCores", self.shard_cores.text(), expected);
        }
        let memory = Sizing::of(self, machine).memory;
        if self.tail_cache_mib.saturating_mul(MIB) > memory.budget_bytes / 2 {
            let expected =
                format!("at most half of the memory budget of {} MiB", memory.budget_bytes / MIB);
            problem("tailCacheMiB", self.tail_cache_mib.to_string(), expected);
        } else if !memory.fits() {
            let (value, expected) = self.too_little_memory(&memory);
            problem("memoryBudgetMiB", value, expected);
        }
        problems
    }

    /// Messages wait in the queues of the delay levels that there are: these keep their places and times while the broker runs,
    /// and more may follow. What is wrong with those of a changed configuration.
    pub(super) fn unfit_delay_levels(&self, changed: &BrokerConfig) -> Option<String> {
        let now = DelayLevels::parse(&self.message_delay_level, 1).ok()?;
        let wanted = DelayLevels::parse(&changed.message_delay_level, 1).ok()?;
        (!wanted.begins_with(&now)).then(|| {
            format!(
                "messageDelayLevel={}: expected the present levels ({}) and more behind them; another change needs a restart",
                told(&changed.message_delay_level),
                self.message_delay_level
            )
        })
    }

    /// What stands for `memoryBudgetMiB`, and what is expected in its place.
    pub fn too_little_memory(&self, memory: &MemoryPlan) -> (String, String) {
        let mib = memory.budget_bytes / MIB;
        let value = match self.memory_budget_mib {
            0 => format!(
                "0 (which is {mib} here: 7/8 of the control group's limit, or half of the machine)"
            ),
            mib => mib.to_string(),
        };
        (value, format!("at least {}", memory.least()))
    }

    /// Moves what Java would move, and says so.
    pub(super) fn keep_within_bounds(&mut self, notices: &mut Vec<Notice>) {
        let mut note = |key: &str, from: u64, to: u64| {
            if from != to {
                notices.push(Notice::info(format!(
                    "{key}={from} is outside its bounds and acts as {to}"
                )));
            }
        };
        let (low, high) = REGISTER_PERIOD_MS;
        let period = self.register_name_server_period_ms.clamp(low, high);
        note("registerNameServerPeriod", self.register_name_server_period_ms, period);
        self.register_name_server_period_ms = period;
        let (low, high) = DISK_RATIO;
        let ratio = self.disk_max_used_space_ratio.clamp(low, high);
        note("diskMaxUsedSpaceRatio", self.disk_max_used_space_ratio.into(), ratio.into());
        self.disk_max_used_space_ratio = ratio;
    }

    /// What is allowed, and reported to the operator all the same.
    pub(super) fn remark(&self, standalone: bool, notices: &mut Vec<Notice>) {
        if self.flush_disk_type == FlushDiskType::AsyncFlush {
            let ms = self.flush_interval_commit_log_ms;
            let text =
                "flushDiskType=ASYNC_FLUSH: a crash loses answered messages of up to the last";
            notices.push(Notice::info(format!("{text} {ms} ms (flushIntervalCommitLog)")));
        }
        let no_list = addresses(&self.namesrv_addr).next().is_none();
        if self.fetch_namesrv_addr_by_address_server && !no_list {
            let text = "namesrvAddr is given, so no address server is asked (fetchNamesrvAddrByAddressServer)";
            notices.push(Notice::warn(text.to_owned()));
        }
        if !standalone && no_list && !self.fetch_namesrv_addr_by_address_server {
            let text = "no name server is given (namesrvAddr, -n, NAMESRV_ADDR): clients will not find this broker";
            notices.push(Notice::warn(text.to_owned()));
        }
        let advertised = ip_of(&self.broker_ip1);
        let is_loopback =
            self.broker_ip1 == "localhost" || advertised.is_some_and(|ip| ip.is_loopback());
        if is_loopback && !standalone {
            let text = "brokerIP1 is a loopback address: clients on other machines will not reach this broker";
            notices.push(Notice::warn(text.to_owned()));
        }
        if let Some(bound) = self.bind_address.single()
            && advertised != Some(bound)
        {
            let text = format!(
                "clients get {} (brokerIP1), and this broker listens on {bound} alone (bindAddress): something must \
                 lead from one to the other",
                self.broker_ip1
            );
            notices.push(Notice::warn(text));
        }
    }
}
