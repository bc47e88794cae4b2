//! What the machine says where the configuration is silent: name, address, processors, memory.
//!
//! [`Machine::read`] asks once, at start, before any executor runs; everything else is arithmetic on its answer.
//! There is no portable way in std to list addresses. The address of the default route comes first (no packet is
//! sent: connecting a UDP socket only asks the routing table), then any local one that the kernel's table names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;

use super::keys::BrokerConfig;
use super::memory::MemoryPlan;

/// Any address beyond the default route serves to ask for it; this one is reserved for documentation (RFC 5737).
const FAR_AWAY: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
/// The same for IPv6 (RFC 3849), on machines that have no other.
const FAR_AWAY_V6: (Ipv6Addr, u16) = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9);
/// Assumed when nothing can be read: small enough for any machine that runs a broker.
const MEMORY_BYTES_UNKNOWN: u64 = 1024 * 1024 * 1024;
const MIB: u64 = 1024 * 1024;
/// Facts about the machine (or container) that the broker runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Host name; `localhost` when there is none.
    pub host_name: String,
    /// Address by which others reach this machine; loopback when there is none.
    pub address: IpAddr,
    /// Processors that this process may use, ascending, at least one.
    pub processors: Vec<usize>,
    /// Memory of the machine in bytes.
    pub memory_bytes: u64,
    /// Limit of the control group in bytes, when it is below the machine's memory.
    pub memory_limit_bytes: Option<u64>,
}

impl Machine {
    /// Asks the machine. Blocking, for the start only. Never fails: each fact has a safe substitute.
    pub fn read() -> Machine {
        let memory_bytes = std::fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| memory_total(&text))
            .unwrap_or(MEMORY_BYTES_UNKNOWN);
        Machine {
            host_name: host_name(),
            address: address(),
            processors: processors(),
            memory_bytes,
            memory_limit_bytes: memory_limit().filter(|limit| *limit < memory_bytes),
        }
    }
}

/// How a configuration divides a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// Number of shards wanted. A formatted store knows better.
    pub shards: usize,
    /// Processor of each executor: as many as there are shards, but no processor twice.
    pub cores: Vec<usize>,
    /// How memory is divided.
    pub memory: MemoryPlan,
}

impl Sizing {
    /// Resolves every "0: from the machine" of `config`.
    pub fn of(config: &BrokerConfig, machine: &Machine) -> Sizing {
        let wanted = usize::try_from(config.shards).unwrap_or(usize::MAX);
        if wanted != 0 {
            return Sizing::with_shards(config, machine, wanted);
        }
        // One per processor, fewer when memory does not suffice for that.
        let mut sizing = Sizing::with_shards(config, machine, processors_of(config, machine).len());
        while !sizing.memory.fits() && sizing.shards > 1 {
            sizing = Sizing::with_shards(config, machine, sizing.shards - 1);
        }
        sizing
    }

    /// The same for a store that has so many shards.
    pub fn with_shards(config: &BrokerConfig, machine: &Machine, shards: usize) -> Sizing {
        let mut cores: Vec<usize> = Vec::new();
        for core in processors_of(config, machine) {
            if cores.len() < shards && !cores.contains(core) {
                cores.push(*core);
            }
        }
        let budget_bytes = match (config.memory_budget_mib, machine.memory_limit_bytes) {
            // A limit is ours alone; a machine is shared with others.
            (0, Some(limit)) => limit / 8 * 7,
            (0, None) => machine.memory_bytes / 2,
            (mib, _) => mib.saturating_mul(MIB),
        };
        let memory = MemoryPlan::of(config, budget_bytes, cores.len() as u64, shards as u64);
        Sizing { shards, cores, memory }
    }
}

fn processors_of<'a>(config: &'a BrokerConfig, machine: &'a Machine) -> &'a [usize] {
    assert!(!machine.processors.is_empty());
    let configured = &config.shard_cores.0;
    if configured.is_empty() { &machine.processors } else { configured }
}

fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    let name: String =
        name.chars().filter(|c| !c.is_control() && !c.is_whitespace()).take(127).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// IPv4 first, as Java's broker.
fn address() -> IpAddr {
    let routed = || -> Option<Ipv4Addr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(FAR_AWAY).ok()?;
        match socket.local_addr().ok()?.ip() {
            IpAddr::V4(address) if is_reachable(address) => Some(address),
            _ => None,
        }
    };
    let listed = || {
        let table = std::fs::read_to_string("/proc/net/fib_trie").ok()?;
        local_addresses(&table).into_iter().find(|address| is_reachable(*address))
    };
    let routed_v6 = || -> Option<IpAddr> {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(FAR_AWAY_V6).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
    };
    let v4 = routed().or_else(listed).map(IpAddr::V4);
    v4.or_else(routed_v6).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn is_reachable(address: Ipv4Addr) -> bool {
    !address.is_loopback() && !address.is_unspecified() && !address.is_link_local()
}

/// Local addresses of the kernel's routing table: a line `|-- 10.0.0.5` followed by `/32 host LOCAL`.
fn local_addresses(table: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in table.lines() {
        if let Some((_, address)) = line.split_once("|-- ") {
            last = address.trim().parse::<Ipv4Addr>().ok();
        } else if line.trim() == "/32 host LOCAL" {
            found.extend(last.filter(|address| !found.contains(address)));
        }
    }
    found
}

fn processors() -> Vec<usize> {
    let allowed: Vec<usize> = match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect(),
        Err(_) => Vec::new(),
    };
    if !allowed.is_empty() {
        return allowed;
    }
    (0..std::thread::available_parallelism().map_or(1, |count| count.get())).collect()
}

fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// Smallest memory limit on the way from our control group to the root, version 2 or 1.
fn memory_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut smallest: Option<u64> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let own = Path::new(path.trim_start_matches('/'));
        for group in own.ancestors() {
            let limit = std::fs::read_to_string(Path::new(root).join(group).join(file));
            // "max" is no number: no limit.
            let limit = limit.ok().and_then(|text| text.trim().parse::<u64>().ok());
            smallest = smallest.into_iter().chain(limit).min();
        }
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CoreList;

    fn machine() -> Machine {
        Machine {
            host_name: "host-a".to_owned(),
            address: "10.1.2.3".parse().unwrap(),
            processors: vec![0, 1, 2, 3],
            memory_bytes: 8 * 1024 * MIB,
            memory_limit_bytes: None,
        }
    }

    #[test]
    fn silence_is_filled_from_the_machine() {
        let sizing = Sizing::of(&BrokerConfig::default(), &machine());
        assert_eq!(sizing.shards, 4);
        assert_eq!(sizing.cores, vec![0, 1, 2, 3]);
        assert_eq!(sizing.memory.budget_bytes, 4 * 1024 * MIB);
        assert_eq!(sizing.memory.tail_cache_bytes, 1024 * MIB);
        assert_eq!(sizing.memory.connections_max, 50_000);
        let limited = Machine { memory_limit_bytes: Some(400 * MIB), ..machine() };
        let memory = Sizing::of(&BrokerConfig::default(), &limited).memory;
        assert_eq!(memory.budget_bytes, 350 * MIB);
    }

    #[test]
    fn what_is_configured_goes_first() {
        let config = BrokerConfig {
            shards: 3,
            shard_cores: CoreList(vec![2, 3, 2]),
            memory_budget_mib: 400,
            tail_cache_mib: 70,
            connections_max: 7_000,
            ..BrokerConfig::default()
        };
        let sizing = Sizing::of(&config, &machine());
        assert_eq!((sizing.shards, sizing.cores), (3, vec![2, 3]));
        assert_eq!(sizing.memory.budget_bytes, 400 * MIB);
        assert_eq!(sizing.memory.tail_cache_bytes, 70 * MIB);
        assert_eq!(sizing.memory.connections_max, 7_000);
    }

    #[test]
    fn little_memory_makes_fewer_shards() {
        let limited = |mib| Machine { memory_limit_bytes: Some(mib * MIB), ..machine() };
        let shards = |mib| Sizing::of(&BrokerConfig::default(), &limited(mib)).shards;
        assert_eq!([shards(64), shards(128), shards(256), shards(1024)], [1, 1, 3, 4]);
        let least = Sizing::of(&BrokerConfig::default(), &limited(64)).memory;
        assert!(!least.fits(), "{}", least.least());
    }

    #[test]
    fn the_kernels_tables_are_understood() {
        let table = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 127.0.0.1\n        \
                     /32 host LOCAL\n     |-- 10.0.0.5\n        /32 host LOCAL\n";
        let local = local_addresses(table);
        assert_eq!(local, vec![Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 0, 0, 5)]);
        assert_eq!(memory_total("MemTotal:        2048 kB\nMemFree: 1 kB"), Some(2 * MIB));
    }

    #[test]
    fn this_machine_answers() {
        let machine = Machine::read();
        assert!(!machine.processors.is_empty());
        assert!(machine.memory_bytes > 0);
        assert!(!machine.host_name.is_empty());
    }
}
