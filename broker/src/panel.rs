//! What a person sees when the broker has started: a panel on a terminal, one fact per line elsewhere, and the boot
//! line that operators grep for. Pure text; `main` prints it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{BrokerConfig, ConfigValue, FlushDiskType, Sizing};

/// Widest line of the panel: that of an ordinary terminal.
const COLUMNS: usize = 80;

/// A name server, as clients reach it, and whether it knows this broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// `host:port`.
    pub addr: String,
    /// It has taken our registration.
    pub registered: bool,
    /// It runs in this process.
    pub inside: bool,
}

/// What a broker says of itself when it has started.
#[derive(Clone, Debug)]
pub struct StartupReport {
    /// Name that clients see in routes.
    pub broker_name: String,
    /// Address that clients get, `host:port`.
    pub client_address: String,
    /// Port two below the client port.
    pub vip_port: u16,
    /// Name servers that the broker registers with, the one inside last.
    pub name_servers: Vec<NameServer>,
    /// Directory of all data.
    pub data_dir: PathBuf,
    /// Number of shards, which the store was formatted with.
    pub shards: u16,
    /// Processor of each worker.
    pub cores: Vec<usize>,
    /// When a send is answered.
    pub flush: FlushDiskType,
    /// Under ASYNC_FLUSH, the longest time in memory only, ms.
    pub flush_interval_ms: u64,
    /// Median of durable 4 KiB writes into this directory, measured at start.
    pub sync_latency: Option<Duration>,
    /// Memory to plan with, in bytes.
    pub memory_budget_bytes: u64,
    /// When messages go, in words.
    pub retention: String,
    /// What was changed while a broker ran and goes before the configuration file, one sentence each.
    pub overridden: Vec<String>,
    /// What ports do with TLS, in words; empty: nothing is said of it.
    pub tls: String,
    /// Where metrics and health are shown; empty: nowhere.
    pub metrics: Vec<SocketAddr>,
}

impl StartupReport {
    /// What the configuration knows; `sizing.cores` are those of the workers that really run. No name server knows the
    /// broker yet.
    pub fn of(
        config: &BrokerConfig,
        sizing: &Sizing,
        shards: u16,
        standalone: bool,
        sync_latency: Option<Duration>,
    ) -> StartupReport {
        let given = config.name_servers().map(|addr| (addr.to_owned(), false));
        let inside = standalone.then(|| (config.inside_name_server(), true));
        let name_servers = given
            .chain(inside)
            .map(|(addr, inside)| NameServer { addr, registered: false, inside })
            .collect();
        StartupReport {
            broker_name: config.broker_name.clone(),
            client_address: config.client_address(),
            vip_port: config.vip_port(),
            name_servers,
            shards,
            data_dir: PathBuf::from(&config.store_path_root_dir),
            cores: sizing.cores.clone(),
            flush: config.flush_disk_type,
            flush_interval_ms: config.flush_interval_commit_log_ms,
            sync_latency,
            memory_budget_bytes: sizing.memory.budget_bytes,
            retention: retention(config),
            overridden: Vec::new(),
            tls: String::new(),
            metrics: Vec::new(),
        }
    }

    /// Name servers that only the start got to know: those of an address server come first, where a given list would stand.
    pub fn add_name_servers(&mut self, addrs: Vec<String>) {
        let known = |addr: &String| self.name_servers.iter().any(|server| server.addr == *addr);
        let new: Vec<String> = addrs.into_iter().filter(|addr| !known(addr)).collect();
        let new = new.into_iter().map(|addr| NameServer { addr, registered: false, inside: false });
        self.name_servers.splice(0..0, new);
    }

    /// The line that Java's broker prints too, and that scripts wait for. The last part is ours. Only name servers that
    /// know this broker are named.
    pub fn boot_line(&self) -> String {
        let mut line = format!(
            "The broker[{}, {}] boot success. serializeType=JSON",
            self.broker_name, self.client_address
        );
        let known = self.name_servers.iter().filter(|server| server.registered);
        let known: Vec<&str> = known.map(|server| server.addr.as_str()).collect();
        if !known.is_empty() {
            line.push_str(&format!(" and name server is {}", known.join(";")));
        }
        line.push_str(&format!(" flushDiskType={}", self.flush.text()));
        line
    }

    /// For a log or a pipe: one fact per line, no decoration.
    pub fn plain(&self) -> String {
        self.rows().iter().map(|(name, fact)| format!("{name}: {fact}\n")).collect()
    }

    /// For a terminal: no line is wider than `COLUMNS`, unless a name in a command is.
    pub fn framed(&self) -> String {
        let rows = self.rows();
        let name_width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        // The frame takes two columns on each side, the gap behind the name two.
        let fact_width = COLUMNS - 4 - name_width - 2;
        let mut lines = Vec::new();
        for (name, fact) in rows {
            let pieces = wrapped(&fact, fact_width);
            let names = std::iter::once(name).chain(std::iter::repeat(""));
            lines.extend(
                names.zip(&pieces).map(|(name, piece)| format!("{name:name_width$}  {piece}")),
            );
        }
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
        out.push_str(&format!(
            "\n{}Send the first message with RocketMQ's tools, or with pip install rocketmq:\n\n",
            self.first_step()
        ));
        out.push_str(&self.first_message());
        out
    }

    /// What must be so before the lines below work.
    fn first_step(&self) -> &'static str {
        if self.name_servers.iter().any(|server| server.registered) {
            ""
        } else if self.name_servers.is_empty() {
            "What follows works once the broker has a name server (namesrvAddr, -n).\n"
        } else {
            "No name server answers: what follows works once the one named in it does.\n"
        }
    }

    /// Lines that send one message, to be pasted into a shell. Two ways, for those who have Java and those who have
    /// Python.
    pub fn first_message(&self) -> String {
        let server = self.name_servers.iter().find(|server| server.registered);
        let server = server.or(self.name_servers.first());
        let server = server.map_or("NAMESERVER:9876", |server| server.addr.as_str());
        format!(
            "mqadmin sendMessage -t hello -p hi -n {server}\n\n\
             python3 - <<'END'\n\
             from rocketmq.client import Message, Producer\n\
             p = Producer('first')\n\
             p.set_namesrv_addr('{server}')\n\
             p.start()\n\
             m = Message('hello')\n\
             m.set_body('hi')\n\
             print(p.send_sync(m))\n\
             p.shutdown()\n\
             END\n"
        )
    }

    fn metrics_fact(&self) -> String {
        match self.metrics.first() {
            Some(addr) => format!("http://{addr}/metrics (also /health, /ready)"),
            None => "not shown (metricsPort)".to_owned(),
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let port = self.client_address.rsplit_once(':').map_or("", |(_, port)| port);
        let cores: Vec<String> = self.cores.iter().map(usize::to_string).collect();
        let workers = self.cores.len();
        let flush = match self.flush {
            FlushDiskType::SyncFlush => {
                "SYNC_FLUSH: a send is answered when the disk has it".to_owned()
            }
            FlushDiskType::AsyncFlush => {
                format!("ASYNC_FLUSH: a crash may lose the last {} ms", self.flush_interval_ms)
            }
        };
        let mut rows: Vec<_> =
            self.name_servers.iter().map(|server| ("name server", server.told())).collect();
        if rows.is_empty() {
            rows.push(("name server", "none: clients will not find this broker".to_owned()));
        }
        rows.extend([
            (
                "broker",
                format!(
                    "{} at {} (ports {port} and {})",
                    self.broker_name, self.client_address, self.vip_port
                ),
            ),
            ("data", self.data_dir.display().to_string()),
            (
                "shards",
                format!(
                    "{} on {}, core{} {}",
                    daemon::words::counted(self.shards.into(), "shard"),
                    daemon::words::counted(workers as u64, "worker"),
                    if workers == 1 { "" } else { "s" },
                    cores.join(",")
                ),
            ),
            ("flush", flush),
            (
                "sync latency",
                match self.sync_latency {
                    Some(latency) => {
                        format!("{} us for a durable write of 4 KiB here", latency.as_micros())
                    }
                    None => "not measured: the disk is full".to_owned(),
                },
            ),
            ("memory budget", format!("{} MiB", self.memory_budget_bytes / (1024 * 1024))),
            ("retention", self.retention.clone()),
            ("metrics", self.metrics_fact()),
        ]);
        rows.extend(self.overridden.iter().map(|sentence| ("changed", sentence.clone())));
        if !self.tls.is_empty() {
            rows.push(("TLS", self.tls.clone()));
        }
        rows
    }
}

impl NameServer {
    fn told(&self) -> String {
        let NameServer { addr, registered, inside } = self;
        let place = if *inside { " (inside this process)" } else { "" };
        let state = if *registered {
            ""
        } else {
            ": DOES NOT ANSWER, clients that ask it do not find this broker; tried again all the time"
        };
        format!("{addr}{place}{state}")
    }
}

/// The text in lines of at most `width` characters, cut between words where there are any.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        loop {
            let last = lines.len() - 1;
            let used = lines[last].chars().count();
            let gap = usize::from(used > 0);
            if used + gap + word.len() <= width {
                lines[last].extend(std::iter::repeat_n(' ', gap));
                lines[last].extend(word);
                break;
            }
            if used > 0 {
                lines.push(String::new());
            } else {
                lines[last].extend(word.drain(..width));
                lines.push(String::new());
            }
        }
    }
    lines
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

    fn inside() -> NameServer {
        NameServer { addr: "10.1.2.3:9876".to_owned(), registered: true, inside: true }
    }

    fn report() -> StartupReport {
        StartupReport {
            broker_name: "broker-a".to_owned(),
            client_address: "10.1.2.3:10911".to_owned(),
            vip_port: 10_909,
            name_servers: vec![inside()],
            data_dir: PathBuf::from("./ringmq-data"),
            shards: 4,
            cores: vec![0, 1],
            flush: FlushDiskType::SyncFlush,
            flush_interval_ms: 500,
            sync_latency: Some(Duration::from_micros(87)),
            memory_budget_bytes: 512 << 20,
            retention: retention(&BrokerConfig::default()),
            overridden: Vec::new(),
            tls: "enforcing".to_owned(),
            metrics: vec![([127, 0, 0, 1], 5_557).into()],
        }
    }

    #[test]
    fn the_boot_line_is_the_one_that_scripts_wait_for() {
        let expected = "The broker[broker-a, 10.1.2.3:10911] boot success. serializeType=JSON \
                        and name server is 10.1.2.3:9876 flushDiskType=SYNC_FLUSH";
        assert_eq!(report().boot_line(), expected);
        let alone = StartupReport {
            name_servers: vec![NameServer { registered: false, inside: false, ..inside() }],
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
                        shards: 4 shards on 2 workers, cores 0,1\n\
                        flush: SYNC_FLUSH: a send is answered when the disk has it\n\
                        sync latency: 87 us for a durable write of 4 KiB here\n\
                        memory budget: 512 MiB\n\
                        retention: deleted after 72 h at any hour, before that above 85 % of the disk; \
                        sends refused above 90 %\n\
                        metrics: http://127.0.0.1:5557/metrics (also /health, /ready)\n\
                        TLS: enforcing\n";
        assert_eq!(report().plain(), expected);
    }

    #[test]
    fn the_panel_fits_a_terminal_and_tells_the_next_step() {
        let long = "broker-0.ringmq-headless.messaging.svc.cluster.local";
        let far = NameServer { addr: format!("{long}:9876"), registered: false, inside: false };
        let long_names = StartupReport {
            broker_name: "b".repeat(127),
            client_address: format!("{long}:10911"),
            name_servers: vec![far, inside()],
            data_dir: PathBuf::from(format!("/{}", "data/".repeat(40))),
            cores: (0..64).collect(),
            ..report()
        };
        for report in [report(), long_names] {
            let panel = report.framed();
            let widths: Vec<usize> = panel.lines().map(|line| line.chars().count()).collect();
            assert!(widths.iter().all(|width| *width <= COLUMNS), "{panel}");
            let frame =
                panel.lines().filter(|line| line.starts_with(['\u{256d}', '\u{2502}', '\u{2570}']));
            let frame: Vec<usize> = frame.map(|line| line.chars().count()).collect();
            assert!(
                frame.len() >= 10 && frame.windows(2).all(|pair| pair[0] == pair[1]),
                "{panel}"
            );
            assert!(panel.contains("p.set_namesrv_addr('10.1.2.3:9876')"), "{panel}");
            assert!(
                panel.contains("mqadmin sendMessage -t hello -p hi -n 10.1.2.3:9876\n"),
                "{panel}"
            );
        }
    }

    #[test]
    fn every_name_server_is_told_and_whether_it_answers() {
        let away = NameServer { addr: "ns-1:9876".to_owned(), registered: false, inside: false };
        let report = StartupReport { name_servers: vec![away, inside()], ..report() };
        let plain = report.plain();
        assert!(plain.starts_with("name server: ns-1:9876: DOES NOT ANSWER"), "{plain}");
        assert!(plain.contains("name server: 10.1.2.3:9876 (inside this process)\n"), "{plain}");
        assert!(report.boot_line().contains(" and name server is 10.1.2.3:9876 "));
    }

    #[test]
    fn a_step_that_cannot_work_yet_is_said_to_be_one() {
        assert!(!report().framed().contains("what follows works once"));
        let away = NameServer { addr: "ns-1:9876".to_owned(), registered: false, inside: false };
        let panel = StartupReport { name_servers: vec![away], ..report() }.framed();
        assert!(panel.contains("\nNo name server answers: what follows works once"), "{panel}");
        assert!(panel.contains("hi -n ns-1:9876\n"), "{panel}");
        let panel = StartupReport { name_servers: Vec::new(), ..report() }.framed();
        assert!(panel.contains("\nWhat follows works once the broker has a name"), "{panel}");
    }

    #[test]
    fn what_goes_before_the_file_is_told() {
        let sentence = "overrides.properties sets fileReservedTime=48, broker.conf says 72";
        let report = StartupReport { overridden: vec![sentence.to_owned()], ..report() };
        let plain = report.plain();
        assert!(plain.contains(&format!("\nchanged: {sentence}\n")), "{plain}");
    }

    #[test]
    fn words_are_kept_whole_where_they_can_be() {
        assert_eq!(wrapped("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrapped("abcdefghi j", 4), ["abcd", "efgh", "i j"]);
        assert_eq!(wrapped("", 4), [""]);
    }
}
