//! Configuration: what Java's `broker.conf` says, plus keys of our own, read at start and passed by reference; those that are
//! live can be changed while the broker runs.
//!
//! `keys.rs` is the table that everything comes from, `load.rs` turns a file and a command line into a
//! [`BrokerConfig`] and lists *all* problems at once, `rules.rs` holds what several keys must fulfil together,
//! `overrides.rs` is the file of what was changed while a broker ran, `change.rs` checks such a change,
//! `machine.rs` asks the machine for what the file leaves open, `memory.rs` divides the memory that it found. Only these
//! two, `load::read_file` and `read_overrides` touch the system.

mod change;
mod command_line;
mod ignored;
mod java_metrics;
mod key_list;
mod keys;
mod load;
mod machine;
mod memory;
mod overrides;
mod problem;
mod rules;
mod value;

pub use change::{Changed, Refused, Running};
pub use command_line::{CommandLine, Print};
pub use daemon::config::{ConfigKind, ConfigValue, Effect, addresses};
pub use ignored::{IGNORED, Ignored, Weight};
pub use key_list::key_list;
pub use keys::{BrokerConfig, KEYS, Key, MESSAGE_BYTES_MAX};
pub use load::{Given, Loaded, data_dir, load, read_file};
pub use machine::{Machine, Sizing};
pub use memory::{MemoryPlan, PARKED_FILTER_BYTES, RECORD_OVERHEAD_BYTES, tail_cache_bytes_least};
pub(crate) use overrides::whole;
pub use overrides::{Overrides, overrides_path, read_overrides};
pub use problem::{ConfigError, Level, Notice, Problem, Source};
pub use value::{
    BrokerRole, CORE_MAX, CodeList, CoreList, Credentials, DefaultRequestMode, FlushDiskType,
};

use daemon::{config::host_and_port, log_file::LogPlace, properties_file};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

impl BrokerConfig {
    /// `fileReservedTime`, ms.
    pub fn file_reserved_ms(&self) -> i64 {
        i64::from(self.file_reserved_time_hours) * 3_600_000
    }

    /// All keys with their current values in Java's properties syntax: the answer to `GET_BROKER_CONFIG`, and `-p`.
    pub fn to_properties(&self) -> String {
        self.print(|_| true)
    }

    /// Where the log goes, if not to standard error.
    pub fn log_place(&self) -> Option<LogPlace> {
        // A name may hold a slash, a directory's may not.
        let name = self.broker_name.replace('/', "_");
        (!self.log_dir.is_empty()).then(|| LogPlace {
            dir: PathBuf::from(&self.log_dir),
            name: "broker",
            own_dir: format!("{name}_{}", self.broker_id),
            isolated: self.isolate_log_enable,
            file_bytes_max: u64::from(self.log_file_mib) << 20,
            former_max: self.log_files_max as usize,
        })
    }

    /// The keys that decide what the broker does, for `-m`.
    pub fn important_properties(&self) -> String {
        self.print(|key| key.important)
    }

    fn print(&self, wanted: impl Fn(&Key) -> bool) -> String {
        let mut out = String::with_capacity(4096);
        for key in KEYS.iter().filter(|key| wanted(key)) {
            properties_file::write_entry(&mut out, key.name, &(key.text)(self));
        }
        out
    }

    /// Settings of TLS as this configuration gives them; empty ones are left to others.
    pub fn tls_settings(&self) -> Vec<(String, String)> {
        let of_tls = KEYS.iter().filter(|key| key.name.starts_with("tls."));
        let text = |key: &Key| (key.text)(self);
        let mut settings: Vec<_> = of_tls.map(|key| (key.name.to_owned(), text(key))).collect();
        if let (None, Some(use_tls)) = (self.tls_enable, self.use_tls) {
            settings.push(("tls.enable".to_owned(), use_tls.to_string()));
        }
        settings
    }

    /// Name servers to register with, in the order given.
    pub fn name_servers(&self) -> impl Iterator<Item = &str> {
        addresses(&self.namesrv_addr)
    }

    /// `brokerIP1:listenPort`, the address that clients get: names as they are, IPv6 in brackets, as Java's broker does.
    pub fn client_address(&self) -> String {
        host_and_port(&self.broker_ip1, self.listen_port)
    }

    /// The address for replication, as name servers get it.
    pub fn ha_address(&self) -> String {
        let host = if self.broker_ip2.is_empty() { &self.broker_ip1 } else { &self.broker_ip2 };
        // Of the last port nothing is above; nobody connects there yet.
        host_and_port(host, self.listen_port.saturating_add(1))
    }

    /// Where this process reaches its own name server.
    pub fn own_name_server(&self) -> String {
        let ip = self.bind_address.single().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        SocketAddr::new(ip, self.standalone_namesrv_port).to_string()
    }

    /// Where clients reach the name server inside.
    pub fn inside_name_server(&self) -> String {
        host_and_port(&self.broker_ip1, self.standalone_namesrv_port)
    }

    /// Port that Java clients use with `sendMessageWithVIPChannel`; slaves use it always.
    pub fn vip_port(&self) -> u16 {
        assert!(self.listen_port > 2, "the key's range leaves room for the VIP port");
        self.listen_port - 2
    }
}
