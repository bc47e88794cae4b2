//! The broker as a program: read what was given, hold the data directory, probe the machine, run one executor per core.

use broker::{
    advertised,
    boot::{self, BootContext, Listen},
    config::{
        self, BrokerConfig, CommandLine, Given, Level, Loaded, Machine, Notice, Print, Sizing,
    },
    first_start::{FirstStart, Room},
    health::{self, Condition},
    open_files::Files,
    panel::StartupReport,
    recovery_report,
    stats::Totals,
};
use clap::Parser;
use daemon::{
    exit::{Cause, Fatal, FirstFatal},
    logging, open_files,
    port::{self, HeldPort},
};
use runtime::{RunError, Settings, Stop};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use store::{
    directory,
    error::StoreError,
    format::{self, Format},
    layout::{Layout, USUAL_SEGMENT_BYTES},
};

/// Name in messages.
const PROGRAM: &str = "mqbroker";
/// How long the last lines of the log may take.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // First of all, so that a start ends orderly whenever it is told to. Until every store is open nothing is promised
    // to anybody.
    let stop = match Stop::of_process() {
        Ok(stop) => stop,
        Err(error) => return Fatal::new(Cause::Machine, format!("signals: {error}")).tell(PROGRAM),
    };
    let machine = Machine::read();
    let loaded = match load(&machine) {
        Ok(loaded) => loaded,
        Err(problem) => {
            // What else is odd may well belong to it.
            print_notices(problem.notices());
            return Fatal::new(Cause::Configuration, problem).tell(PROGRAM);
        }
    };
    let text = match loaded.print {
        Some(Print::All) => loaded.config.to_properties(),
        Some(Print::Important) => loaded.config.important_properties(),
        None => return start(loaded, &machine, stop),
    };
    // What a start would say of this configuration belongs to what it means.
    print_notices(&loaded.notices);
    // A reader that wants no more, such as `head`, is content.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn print_notices(notices: &[Notice]) {
    for notice in notices {
        let level = match notice.level {
            Level::Info => "note",
            Level::Warn => "warning",
        };
        eprintln!("{PROGRAM}: {level}: {}", notice.text);
    }
}

fn load(machine: &Machine) -> Result<Loaded, config::ConfigError> {
    let command_line = CommandLine::parse();
    let file = command_line.config_file.as_deref().map(config::read_file).transpose()?;
    let given = Given {
        command_line,
        file,
        namesrv_env: std::env::var("NAMESRV_ADDR").ok(),
        home: std::env::var_os("HOME").map(PathBuf::from),
    };
    config::load(&given, machine)
}

fn start(loaded: Loaded, machine: &Machine, stop: Stop) -> ExitCode {
    let log = match logging::start(&loaded.config.log_filter) {
        Ok(log) => log,
        Err(problem) => return Fatal::new(Cause::Configuration, problem).tell(PROGRAM),
    };
    for notice in &loaded.notices {
        match notice.level {
            Level::Info => tracing::info!("{}", notice.text),
            Level::Warn => tracing::warn!("{}", notice.text),
        }
    }
    let ended = run(loaded, machine, stop);
    log.stop(LOG_PATIENCE);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => fatal.tell(PROGRAM),
    }
}

fn run(loaded: Loaded, machine: &Machine, stop: Stop) -> Result<(), Fatal> {
    let root = PathBuf::from(&loaded.config.store_path_root_dir);
    let log_root = boot::log_root(&loaded.config);
    // Before the lock, which Java's broker has a file for, too.
    directory::check_before_format(&root, &log_root).map_err(|error| fatal_of_directory(&error))?;
    let first_start = FirstStart::of(&root, &log_root);
    let mut sizing = Sizing::of(&loaded.config, machine);
    // Before anything is written.
    let room = match first_start {
        Some(_) => Some(room_for(&loaded.config, machine, &log_root, &mut sizing)?),
        None => None,
    };
    // Before the ports: who holds the directory is named with it. Held until the process is gone: executors may still be
    // at work on the directory, and nobody else's store is there when what a first start made goes.
    let lock = format::lock(&root).map_err(|error| fatal_of_directory(&error))?;
    std::mem::forget(lock);
    // Looked at again: another process may have formatted a store meanwhile.
    let first_start = first_start.filter(|_| FirstStart::of(&root, &log_root).is_some());
    let served = Arc::new(AtomicBool::new(false));
    let room = room.filter(|_| first_start.is_some());
    let ended = run_locked(room, sizing, loaded, machine, stop, &served);
    if let Some(first_start) = first_start
        && ended.is_err()
        && !served.load(Ordering::SeqCst)
    {
        first_start.undo();
    }
    ended
}

/// `room`: of a first start, there was no store in the directory, which is locked. `served` becomes true when somebody may have stored
/// something.
fn run_locked(
    room: Option<Room>,
    mut sizing: Sizing,
    loaded: Loaded,
    machine: &Machine,
    stop: Stop,
    served: &Arc<AtomicBool>,
) -> Result<(), Fatal> {
    let Loaded { mut config, standalone, .. } = loaded;
    runtime::limits::raise();
    let root = PathBuf::from(&config.store_path_root_dir);
    let log_root = boot::log_root(&config);
    // Held until the end; the executors listen on the same addresses when they serve.
    let ports = Ports::hold(&config, standalone)?;
    let store_ip = advertised::store_ip(&config.broker_ip1, ports.client.addrs(), machine.address)?;
    let format = format_of(&root, &config, shards_of(&sizing)?, room.as_ref())?;
    if let Some(room) = room {
        tracing::info!("{}", room.sentence(&config, &format, &log_root));
    }
    if usize::from(format.shards) != sizing.shards {
        sizing = Sizing::with_shards(&config, machine, format.shards.into());
    }
    let memory = &sizing.memory;
    if !memory.fits() {
        let (value, expected) = config.too_little_memory(memory);
        let sentence = format!("memoryBudgetMiB={value}: expected {expected}");
        return Err(Fatal::new(Cause::Configuration, sentence));
    }
    let connections_asked = config.connections_max != 0;
    memory.fill_in(&mut config);
    let files = Files::of(&log_root, sizing.cores.len(), format.shards).count();
    let limit = runtime::limits::open_files_max();
    let connections =
        open_files::connections(config.connections_max.into(), connections_asked, files, limit)?;
    config.connections_max = u32::try_from(connections).unwrap_or(u32::MAX);
    let probe = runtime::probe(&root).map_err(Fatal::because(Cause::Machine))?;
    tracing::info!(io_uring = %probe.kernel, durable_write = %probe.durable_write, "the machine was looked at");
    tracing::info!(
        budget_mib = memory.budget_bytes >> 20,
        least_mib = memory.least_bytes >> 20,
        tail_cache_mib = memory.tail_cache_bytes >> 20,
        incomplete_frames_mib = memory.incomplete_frames_bytes >> 20,
        unsent_mib = memory.unsent_bytes >> 20,
        connections = memory.connections_max,
        members_mib = memory.members_bytes >> 20,
        tables_mib = memory.tables.bytes >> 20,
        parked_pulls_of_shard = memory.parked_pulls_max,
        index_entries_of_shard = memory.index_entries_max,
        cold_cache_mib_of_shard = memory.cold_cache_mib,
        group_offsets_mib_of_shard = memory.group_offsets_mib,
        timers_of_shard_max = memory.deferred_max,
        open_transactions_of_shard_max = memory.half_messages_max,
        "memory is divided"
    );
    if let Some(kind) = runtime::file_system_that_forgets(&root) {
        tracing::warn!(
            dir = %root.display(),
            kind,
            "the data directory is not on a local disk's own file system: what is acknowledged there may not survive a \
             restart of the machine or the container (storePathRootDir)"
        );
    }
    let report =
        StartupReport::of(&config, &sizing, format.shards, standalone, probe.durable_latency());
    let totals: Arc<[Totals]> = (0..format.shards).map(|_| Totals::default()).collect();
    let mut settings = Settings::on_cores("mqbroker", &sizing.cores);
    settings.durable_write = probe.durable_write;
    settings.spin_before_park = Duration::from_micros(u64::from(config.spin_before_park_micros));
    let stop_seconds_max = config.shutdown_seconds_max;
    settings.stop_within = Duration::from_secs(u64::from(stop_seconds_max));
    let progress: Arc<[_]> = (0..format.shards).map(|_| Arc::default()).collect();
    let (exit_on_log_failure, logs) = (config.exit_on_log_failure, Arc::clone(&totals));
    let listen = Listen {
        client: ports.client.addrs().to_vec(),
        vip: ports.vip.addrs().to_vec(),
        name_server: ports.name_server.as_ref().map(|port| port.addrs().to_vec()),
    };
    let context = BootContext {
        listen,
        store_ip,
        config: Arc::new(config),
        format,
        memory: sizing.memory.clone(),
        report,
        totals,
        progress: Arc::clone(&progress),
        open_connections: Arc::default(),
        ready: Arc::default(),
        served: Arc::clone(served),
    };
    recovery_report::start(progress, stop.clone())
        .map_err(|error| Fatal::new(Cause::Machine, format!("threads: {error}")))?;
    match run_executors(settings, stop, context) {
        Ok(()) => {}
        Err(Unended::Interrupted) => {
            tracing::info!("stopped before anything was served; the next start begins anew");
            return Ok(());
        }
        Err(Unended::StopTimeout) => return Err(stop_timeout(stop_seconds_max)),
        Err(Unended::Failed(fatal)) => return Err(fatal),
    }
    match health::summary(logs.iter().map(|totals| &totals.log)) {
        (Condition::LogPoisoned, sentence) if exit_on_log_failure => {
            Err(Fatal::new(Cause::LogFailed, format!("{sentence} (exitOnLogFailure)")))
        }
        _ => Ok(()),
    }
}

/// The room of a first start, which makes no more shards than find some on the disk, unless their number is configured.
fn room_for(
    config: &BrokerConfig,
    machine: &Machine,
    log_root: &Path,
    sizing: &mut Sizing,
) -> Result<Room, Fatal> {
    let room = Room::of(log_root)?;
    let shards_max = room.shards_max(config);
    if config.shards == 0 && sizing.shards > shards_max {
        *sizing = Sizing::with_shards(config, machine, shards_max);
    }
    room.check(config, shards_of(sizing)?)?;
    Ok(room)
}

fn shards_of(sizing: &Sizing) -> Result<u16, Fatal> {
    u16::try_from(sizing.shards).map_err(Fatal::because(Cause::Configuration))
}

fn stop_timeout(seconds_max: u32) -> Fatal {
    let sentence = format!(
        "not everything was on the disk {seconds_max} s after the stop was requested (shutdownSecondsMax): ending \
         without it; what was acknowledged as durable is there"
    );
    Fatal::new(Cause::StopTimeout, sentence)
}

/// Why the workers did not all end. Some still run.
enum Unended {
    /// A stop was requested before anything was served.
    Interrupted,
    /// The time to stop is over.
    StopTimeout,
    /// One could not start or go on.
    Failed(Fatal),
}

/// Runs the workers to their end. The first failure of one ends all.
fn run_executors(settings: Settings, stop: Stop, context: BootContext) -> Result<(), Unended> {
    let failure = FirstFatal::default();
    let first = failure.clone();
    let ended = runtime::run(settings, stop, move |executor, mesh| {
        let (context, first) = (context.clone(), first.clone());
        async move { boot::run(executor, mesh, context).await.map_err(|fatal| first.keep(fatal)) }
    });
    ended.map_err(|error| match error {
        RunError::Interrupted => Unended::Interrupted,
        RunError::StopTimeout(_) => Unended::StopTimeout,
        RunError::Main { error, .. } => Unended::Failed(failure.or_other(error)),
        error => Unended::Failed(Fatal::new(Cause::Machine, error)),
    })
}

fn fatal_of_directory(error: &StoreError) -> Fatal {
    match error {
        StoreError::Locked { .. } => Fatal::new(Cause::DirectoryInUse, error),
        StoreError::Io { .. } => Fatal::new(
            Cause::Data,
            format!("{error}; storePathRootDir must be a directory that this user may write"),
        ),
        _ => Fatal::new(Cause::Data, error),
    }
}

/// All ports of this broker.
struct Ports {
    client: HeldPort,
    vip: HeldPort,
    /// Of the name server inside.
    name_server: Option<HeldPort>,
}

impl Ports {
    fn hold(config: &BrokerConfig, standalone: bool) -> Result<Ports, Fatal> {
        let hold = |port, key| port::hold(&config.bind_address, port, key);
        Ok(Ports {
            client: hold(config.listen_port, "listenPort")?,
            vip: hold(config.vip_port(), "listenPort (the VIP port is two below it)")?,
            name_server: standalone
                .then(|| hold(config.standalone_namesrv_port, "standaloneNamesrvPort"))
                .transpose()?,
        })
    }
}

/// The format of the store, made now if the directory is new, with segments that fit its room. What is fixed there goes
/// before the configuration.
fn format_of(
    root: &Path,
    config: &BrokerConfig,
    shards: u16,
    room: Option<&Room>,
) -> Result<Format, Fatal> {
    let configured = config.mapped_file_size_commit_log;
    let layout = room.map_or(Layout::even(configured), |room| room.layout(config, shards));
    let wanted = Format {
        version: format::VERSION,
        shards,
        layout,
        store_id: fastrand::u64(..) >> 8,
        log_id: fastrand::u64(..) >> 8,
    };
    let format =
        format::read_or_create(root, wanted.clone()).map_err(|error| fatal_of_directory(&error))?;
    if config.shards != 0 && format.shards != shards {
        tracing::warn!(
            configured = shards,
            formatted = format.shards,
            "shards is fixed when the store is formatted; the configured number is ignored"
        );
    }
    // What is not configured is chosen by the disk.
    let formatted = format.layout.segment_bytes();
    if formatted != configured && configured != USUAL_SEGMENT_BYTES {
        tracing::warn!(
            configured,
            formatted,
            "mappedFileSizeCommitLog is fixed when the store is formatted; the configured size is ignored"
        );
    }
    Ok(format)
}
