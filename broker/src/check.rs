//! `--check`: everything that a start with this configuration would refuse or warn about, without making or changing
//! anything, also beside a broker that runs. Blocking, called by `main`.
//!
//! The steps are those of [`crate::start`] in their order, and each is taken whatever became of the others, so that the
//! first refusal is the one that a start would end with. Ports are held and let go. What a start finds out only with its
//! executors is looked at as far as that needs none: tables and the files of the name server inside are read, logs are not
//! (`mqstore verify` reads them).

use crate::{
    access, advertised, boot,
    config::{BrokerConfig, Loaded, Machine, Sizing},
    control::{Control, metadata_store},
    delay_levels::DelayLevels,
    first_start::{FirstStart, existing},
    shard::policy,
    start::{self, Ports},
};
use daemon::{
    config::addresses,
    exit::{Cause, Fatal, Refusals},
    log_file::LogFile,
    logging, port,
};
use std::{
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};
use store::{directory, format, space::Space};

/// How long a name server may take to let us in: the other end of the world is nearer.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// One look at everything.
struct Check<'a> {
    config: &'a BrokerConfig,
    machine: &'a Machine,
    standalone: bool,
    root: PathBuf,
    log_root: PathBuf,
    refusals: Refusals,
}

/// What a start would refuse. Warnings go to the log.
pub fn run(loaded: &Loaded, machine: &Machine) -> Refusals {
    let mut config = loaded.config.clone();
    let tls = start::open_tls(&mut config);
    let config = &config;
    let mut check = Check {
        config,
        machine,
        standalone: loaded.standalone,
        root: PathBuf::from(&config.store_path_root_dir),
        log_root: boot::log_root(config),
        refusals: Refusals::default(),
    };
    let filter = logging::check(&config.log_filter);
    check.refusals.keep(filter.map_err(Fatal::because(Cause::Configuration)));
    let file = config.log_place().map(|place| LogFile::look(&place)).transpose();
    check.refusals.keep(file.map_err(Fatal::because(Cause::Configuration)));
    check.refusals.keep(tls);
    runtime::limits::raise();
    let mut sizing = Sizing::of(config, machine);
    check.look_at_directory(&mut sizing);
    check.look_at_ports();
    let shards = check.look_at_format(&mut sizing);
    check.look_at_limits(&sizing, shards);
    check.look_at_tables(shards);
    check.look_at_rules();
    check.look_at_disk();
    check.look_at_name_servers();
    check.refusals
}

impl Check<'_> {
    fn look_at_directory(&mut self, sizing: &mut Sizing) {
        let ours = directory::check_before_format(&self.root, &self.log_root);
        let ours = self.refusals.keep(ours.map_err(|error| start::fatal_of_directory(&error)));
        // Another broker's store needs another directory, whatever room it has.
        if ours.is_some() && FirstStart::of(&self.root, &self.log_root).is_some() {
            let room = start::room_for(self.config, self.machine, &self.log_root, sizing);
            self.refusals.keep(room);
        }
        let lock = format::check_lock(&self.root);
        self.refusals.keep(lock.map_err(|error| start::fatal_of_directory(&error)));
    }

    fn look_at_ports(&mut self) {
        for refused in Ports::refused(self.config, self.standalone) {
            self.refusals.add(refused);
        }
        // What is listened on, as far as it decides which addresses can be advertised.
        let bind = self.config.bind_address;
        let here =
            bind.ips().into_iter().filter(|(ip, optional)| !optional || port::has_family(*ip));
        let listened: Vec<SocketAddr> =
            here.map(|(ip, _)| SocketAddr::new(ip, self.config.listen_port)).collect();
        let ip = advertised::store_ip(&self.config.broker_ip1, &listened, self.machine.address);
        self.refusals.keep(ip);
    }

    /// The shards of the store that is there, or of the one that would be made.
    fn look_at_format(&mut self, sizing: &mut Sizing) -> u16 {
        let wanted = self.refusals.keep(start::shards_of(sizing)).unwrap_or(u16::MAX);
        let read = format::read(&self.root).map_err(|error| start::fatal_of_directory(&error));
        let Some(format) = self.refusals.keep(read).flatten() else { return wanted };
        start::remark_on_format(self.config, wanted, &format);
        if usize::from(format.shards) != sizing.shards {
            *sizing = Sizing::with_shards(self.config, self.machine, format.shards.into());
        }
        format.shards
    }

    /// Memory, open files, and what the probe looks at.
    fn look_at_limits(&mut self, sizing: &Sizing, shards: u16) {
        let enough = self.refusals.keep(start::check_memory(self.config, &sizing.memory));
        // Without enough memory nobody knows how many connections there would be.
        if enough.is_some() {
            let mut config = self.config.clone();
            let filled = start::fill_in_limits(&mut config, sizing, &self.log_root, shards);
            self.refusals.keep(filled);
        }
        let dir = existing(&self.root);
        for error in runtime::probe_unwritten(dir) {
            self.refusals.add(Fatal::new(Cause::Machine, error));
        }
        start::remark_on_file_system(&self.root, dir);
    }

    /// Files that executors read when they open the store.
    fn look_at_tables(&mut self, shards: u16) {
        let mut data = |found: Result<(), String>| {
            self.refusals.keep(found.map_err(Fatal::because(Cause::Data)));
        };
        if !self.log_root.starts_with(&self.root) {
            data(format::check_writable(&self.log_root).map_err(|error| error.to_string()));
        }
        let mut control = Control::new(self.config, 0);
        for damaged in metadata_store::look(&self.root.join("config"), &mut control) {
            data(Err(damaged));
        }
        data(DelayLevels::parse(&self.config.message_delay_level, shards).map(drop));
        if self.standalone {
            let settings = boot::name_server_settings(self.config);
            data(namesrv::look(&settings).map_err(|error| error.to_string()));
        }
    }

    /// Rules of access control.
    fn look_at_rules(&mut self) {
        let looked = access::look(self.config, &self.root.join("config"));
        self.refusals.keep(looked.map_err(Fatal::from));
    }

    /// A disk that is too full for messages is no reason not to serve what it holds.
    fn look_at_disk(&self) {
        // Of a new store the room was measured.
        if FirstStart::of(&self.root, &self.log_root).is_some() {
            return;
        }
        let Ok(usage) = runtime::usage(existing(&self.log_root)) else { return };
        let (used, policy) = (usage.used_percent(), policy(self.config));
        match policy.space(used) {
            Space::Closed => tracing::warn!(
                used,
                limit = policy.closed_percent,
                free_bytes = usage.free,
                "the disk is nearly full: no messages are taken, consumers go on (diskSpaceWarningLevelRatio)"
            ),
            Space::Scarce => tracing::warn!(
                used,
                limit = policy.used_max_percent,
                free_bytes = usage.free,
                "the disk is filling up (diskMaxUsedSpaceRatio)"
            ),
            Space::Enough => {}
        }
    }

    fn look_at_name_servers(&self) {
        for addr in addresses(&self.config.namesrv_addr) {
            if let Err(error) = connect(addr) {
                tracing::warn!(
                    namesrv = addr,
                    why = %error,
                    "name server does not answer; clients that ask it would not find this broker (namesrvAddr)"
                );
            }
        }
    }
}

/// Connects to the first address of this name that lets us in, and asks nothing.
fn connect(addr: &str) -> io::Result<()> {
    let mut last = io::Error::other("the name has no address");
    for addr in addr.to_socket_addrs()? {
        match TcpStream::connect_timeout(&addr, CONNECT_MAX) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, CommandLine, Given};
    use std::{fs, net::TcpListener, path::Path};

    /// A standalone broker on ports that nobody has, with these lines besides.
    fn loaded(root: &Path, lines: &str) -> (Loaded, Machine) {
        let machine = Machine::read();
        let root = root.display();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = format!(
            "storePathRootDir={root}\nbindAddress=127.0.0.1\nlistenPort={}\nstandaloneNamesrvPort={}\nshards=1\n{lines}",
            free().max(4),
            free()
        );
        let command_line = CommandLine { standalone: true, ..CommandLine::default() };
        let given = Given { command_line, file: Some(file), ..Given::default() };
        (config::load(&given, &machine).unwrap(), machine)
    }

    fn causes(root: &Path, lines: &str) -> Vec<Cause> {
        let (loaded, machine) = loaded(root, lines);
        let refusals = run(&loaded, &machine);
        refusals.all().iter().map(|fatal| fatal.cause).collect()
    }

    #[test]
    fn a_look_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(causes(&dir.path().join("data"), ""), vec![]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn all_refusals_are_found_in_the_order_of_a_start() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("config")).unwrap();
        fs::write(dir.path().join("checkpoint"), "Java's").unwrap();
        fs::write(dir.path().join("config/topics.json"), "{\"topicConfigTable\":{\"a\"").unwrap();
        let _held = format::lock(dir.path()).unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let lines = format!("standaloneNamesrvPort={port}\nlogFilter=broker=loud\n");
        let expected =
            [Cause::Configuration, Cause::Data, Cause::DirectoryInUse, Cause::Port, Cause::Data];
        if std::env::var_os("RUST_LOG").is_none() {
            assert_eq!(causes(dir.path(), &lines), expected);
        }
    }

    #[test]
    fn a_name_server_lets_us_in_or_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        connect(&addr).unwrap();
        drop(listener);
        connect(&addr).unwrap_err();
        connect("no-such-host.invalid:9876").unwrap_err();
    }
}
