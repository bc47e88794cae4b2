//! What a person sees when the broker has started: a panel on a terminal, one fact per line elsewhere, and the boot
//! line that operators grep for. Pure text; `main` prints it.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{BrokerConfig, ConfigValue, FlushDiskType, Sizing};

/// What a broker says of itself when it has started.
#[derive(Clone, Debug)]
pub struct StartupReport {
    /// Name that clients see in routes.
    pub broker_name: String,
    /// Address that clients get, `host:port`.
    pub client_address: String,
    /// Port two below the client port.
    pub vip_port: u16,
    /// Name servers that the broker registers with, `;`-separated; empty: none.
    pub name_servers: String,
    /// A name server runs in this process.
    pub standalone: bool,
    /// Directory of all data.
    pub data_dir: PathBuf,
    /// Processor of each shard.
    pub cores: Vec<usize>,
    /// When a send is answered.
    pub flush: FlushDiskType,
    /// Under ASYNC_FLUSH, the longest time in memory only, ms.
    pub flush_interval_ms: u64,
    /// Median of durable 4 KiB writes into this directory, measured at start.
    pub sync_latency: Duration,
    /// Memory to plan with, in bytes.
    pub memory_budget_bytes: u64,
    /// When messages go, in words.
    pub retention: String,
}

impl StartupReport {
    /// What the configuration knows; `cores` are those of the shards that really run.
    pub fn of(
        config: &BrokerConfig,
        sizing: &Sizing,
        standalone: bool,
        sync_latency: Duration,
    ) -> StartupReport {
        let name_servers = if config.namesrv_addr.is_empty() && standalone {
            format!("{}:{}", config.broker_ip1, config.standalone_namesrv_port)
        } else {
            config.name_servers().collect::<Vec<_>>().join(";")
        };
        StartupReport {
            broker_name: config.broker_name.clone(),
            client_address: config.client_address(),
            vip_port: config.vip_port(),
            name_servers,
            standalone,
            data_dir: PathBuf::from(&config.store_path_root_dir),
            cores: sizing.cores.clone(),
            flush: config.flush_disk_type,
            flush_interval_ms: config.flush_interval_commit_log_ms,
            sync_latency,
            memory_budget_bytes: sizing.memory.budget_bytes,
            retention: retention(config),
        }
    }

    /// The line that Java's broker prints too, and that scripts wait for. The last part is ours.
    pub fn boot_line(&self) -> String {
        let mut line = format!(
            "The broker[{}, {}] boot success. serializeType=JSON",
            self.broker_name, self.client_address
        );
        if !self.name_servers.is_empty() {
            line.push_str(&format!(" and name server is {}", self.name_servers));
        }
        line.push_str(&format!(" flushDiskType={}", self.flush.text()));
        line
    }

    /// For a log or a pipe: one fact per line, no decoration.
    pub fn plain(&self) -> String {
        self.rows().iter().map(|(name, fact)| format!("{name}: {fact}\n")).collect()
    }

    /// For a terminal.
    pub fn framed(&self) -> String {
        let rows = self.rows();
        let name_width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines: Vec<String> =
            rows.iter().map(|(name, fact)| format!("{name:name_width$}  {fact}")).collect();
        let title = format!(" RingMQ {} ", env!("CARGO_PKG_VERSION"));
        let width =
            lines.iter().map(|line| line.chars().count()).chain([title.len()]).max().unwrap_or(0);
        let mut out = format!(
            "\u{256d}\u{2500}{title}{}\u{256e}\n",
            "\u{2500}".repeat(width + 1 - title.len())
        );
        for line in lines {
            out.push_str(&format!("\u{2502} {line:width$} \u{2502}\n"));
        }
        out.push_str(&format!("\u{2570}{}\u{256f}\n", "\u{2500}".repeat(width + 2)));
        out.push_str(
            "\nSend the first message (pip install rocketmq, or any RocketMQ client):\n\n",
        );
        out.push_str(&self.first_message());
        out
    }

    /// Lines that send one message, to be pasted into a shell. Two ways, for those who have Python and those who have
    /// Java.
    pub fn first_message(&self) -> String {
        let server = self.name_servers.split(';').next().filter(|server| !server.is_empty());
        let server = server.unwrap_or("NAMESERVER:9876");
        format!(
            "  python3 -c \"from rocketmq.client import Producer, Message; p = Producer('first'); \
             p.set_namesrv_addr('{server}'); p.start(); m = Message('hello'); m.set_body('hi'); \
             print(p.send_sync(m)); p.shutdown()\"\n  \
             mqadmin sendMessage -n {server} -t hello -p hi\n"
        )
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let port = self.client_address.rsplit_once(':').map_or("", |(_, port)| port);
        let name_server = match (self.standalone, self.name_servers.is_empty()) {
            (true, _) => format!("{} (inside this process)", self.name_servers),
            (false, false) => self.name_servers.clone(),
            (false, true) => "none: clients will not find this broker".to_owned(),
        };
        let cores: Vec<String> = self.cores.iter().map(usize::to_string).collect();
        let shards = self.cores.len();
        let plural = if shards == 1 { "" } else { "s" };
        let flush = match self.flush {
            FlushDiskType::SyncFlush => {
                "SYNC_FLUSH: a send is answered when the disk has it".to_owned()
            }
            FlushDiskType::AsyncFlush => {
                format!("ASYNC_FLUSH: a crash may lose the last {} ms", self.flush_interval_ms)
            }
        };
        vec![
            ("name server", name_server),
            (
                "broker",
                format!(
                    "{} at {} (ports {port} and {})",
                    self.broker_name, self.client_address, self.vip_port
                ),
            ),
            ("data", self.data_dir.display().to_string()),
            ("shards", format!("{shards} shard{plural} on core{plural} {}", cores.join(","))),
            ("flush", flush),
            (
                "sync latency",
                format!("{} us for a durable write of 4 KiB here", self.sync_latency.as_micros()),
            ),
            ("memory budget", format!("{} MiB", self.memory_budget_bytes / (1024 * 1024))),
            ("retention", self.retention.clone()),
        ]
    }
}

/// When messages are deleted, and when none are taken any more.
fn retention(config: &BrokerConfig) -> String {
    let hours = match config.delete_when.as_str() {
        "" => "at any hour".to_owned(),
        hours => format!("in hour {hours}"),
    };
    let early = if config.clean_file_forcibly_enable {
        format!("before that above {} % of the disk", config.disk_space_clean_forcibly_ratio)
    } else {
        "never before that".to_owned()
    };
    format!(
        "deleted after {} h {hours}, {early}; sends refused above {} %",
        config.file_reserved_time_hours, config.disk_space_warning_level_ratio
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> StartupReport {
        StartupReport {
            broker_name: "broker-a".to_owned(),
            client_address: "10.1.2.3:10911".to_owned(),
            vip_port: 10_909,
            name_servers: "10.1.2.3:9876".to_owned(),
            standalone: true,
            data_dir: PathBuf::from("./ringmq-data"),
            cores: vec![0, 1],
            flush: FlushDiskType::SyncFlush,
            flush_interval_ms: 500,
            sync_latency: Duration::from_micros(87),
            memory_budget_bytes: 512 << 20,
            retention: retention(&BrokerConfig::default()),
        }
    }

    #[test]
    fn the_boot_line_is_the_one_that_scripts_wait_for() {
        let expected = "The broker[broker-a, 10.1.2.3:10911] boot success. serializeType=JSON \
                        and name server is 10.1.2.3:9876 flushDiskType=SYNC_FLUSH";
        assert_eq!(report().boot_line(), expected);
        let alone = StartupReport {
            name_servers: String::new(),
            flush: FlushDiskType::AsyncFlush,
            ..report()
        };
        let expected = "The broker[broker-a, 10.1.2.3:10911] boot success. serializeType=JSON flushDiskType=ASYNC_FLUSH";
        assert_eq!(alone.boot_line(), expected);
    }

    #[test]
    fn without_a_terminal_there_is_one_fact_per_line() {
        let expected = "name server: 10.1.2.3:9876 (inside this process)\n\
                        broker: broker-a at 10.1.2.3:10911 (ports 10911 and 10909)\n\
                        data: ./ringmq-data\n\
                        shards: 2 shards on cores 0,1\n\
                        flush: SYNC_FLUSH: a send is answered when the disk has it\n\
                        sync latency: 87 us for a durable write of 4 KiB here\n\
                        memory budget: 512 MiB\n\
                        retention: deleted after 72 h at any hour, before that above 85 % of the disk; \
                        sends refused above 90 %\n";
        assert_eq!(report().plain(), expected);
    }

    #[test]
    fn the_panel_is_a_rectangle_and_tells_the_next_step() {
        let panel = report().framed();
        let widths: Vec<usize> = panel.lines().take(10).map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{widths:?}\n{panel}");
        assert!(panel.contains("set_namesrv_addr('10.1.2.3:9876')"));
        assert!(panel.contains("mqadmin sendMessage -n 10.1.2.3:9876 -t hello -p hi"));
    }
}
