//! Configuration: what Java's `broker.conf` says, plus keys of our own, read once at start and passed by reference.
//!
//! `keys.rs` is the table that everything comes from, `load.rs` turns a file and a command line into a
//! [`BrokerConfig`] and lists *all* problems at once, `rules.rs` holds what several keys must fulfil together,
//! `machine.rs` asks the machine for what the file leaves open, `memory.rs` divides the memory that it found. Only these
//! two and `load::read_file` touch the system.

mod command_line;
mod ignored;
mod keys;
mod load;
mod machine;
mod memory;
mod rules;
mod value;

pub use command_line::{CommandLine, Print};
pub use daemon::config::{ConfigKind, ConfigValue, Effect, addresses};
pub use ignored::{IGNORED, Ignored};
pub use keys::{BrokerConfig, KEYS, Key};
pub use load::{ConfigError, Given, Level, Loaded, Notice, Problem, Source, load, read_file};
pub use machine::{Machine, Sizing};
pub use memory::{MemoryPlan, RECORD_OVERHEAD_BYTES, tail_cache_bytes_least};
pub use value::{BrokerRole, CORE_MAX, CoreList, FlushDiskType};

use daemon::properties_file;

impl BrokerConfig {
    /// All keys with their current values in Java's properties syntax: the answer to `GET_BROKER_CONFIG`, and `-p`.
    pub fn to_properties(&self) -> String {
        self.print(|_| true)
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

    /// Name servers to register with, in the order given.
    pub fn name_servers(&self) -> impl Iterator<Item = &str> {
        addresses(&self.namesrv_addr)
    }

    /// `brokerIP1:listenPort`, the address that clients get. IPv6 in brackets is not what Java writes: plain.
    pub fn client_address(&self) -> String {
        format!("{}:{}", self.broker_ip1, self.listen_port)
    }

    /// `brokerIP1` as an address; loopback when it is a name, which message ids cannot carry.
    pub fn broker_ip1_addr(&self) -> std::net::IpAddr {
        self.broker_ip1.parse().unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))
    }

    /// Port that Java clients use with `sendMessageWithVIPChannel`; slaves use it always.
    pub fn vip_port(&self) -> u16 {
        assert!(self.listen_port > 2, "the key's range leaves room for the VIP port");
        self.listen_port - 2
    }
}
