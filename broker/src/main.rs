//! The broker as a program: read what was given, hold the data directory, probe the machine, run one executor per core.

use broker::{
    advertised,
    beats::Beat,
    boot::{self, BootContext, Listen},
    check,
    config::{self, CommandLine, Given, Level, Loaded, Machine, Notice, Print, Sizing},
    first_start::{FirstStart, Room},
    health::{self, Condition},
    panel::StartupReport,
    recovery_report,
    start::{
        Ports, check_memory, fatal_of_directory, fill_in_limits, format_of, open_tls,
        remark_on_file_system, room_for, shards_of,
    },
    stats::Totals,
};
use clap::Parser;
use daemon::{
    exit::{Cause, Fatal, FirstFatal},
    home,
    log_file::LogFile,
    logging,
};
use runtime::{EXIT_INTERRUPTED, RunError, Settings, Stop, UserSignal};
use std::{
    io::Write,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use store::{directory, format};
use tls::Tls;

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
    let command_line = CommandLine::parse();
    if let Some(form) = command_line.keys.form {
        return print(&config::key_list().in_form(form));
    }
    let only_check = command_line.check;
    if only_check {
        stop.set_unfinished_code(EXIT_INTERRUPTED);
    }
    let machine = Machine::read();
    let loaded = match load(command_line, &machine) {
        Ok(loaded) => loaded,
        Err(problem) => {
            // What else is odd may well belong to it.
            print_notices(problem.notices());
            if only_check {
                eprintln!(
                    "{PROGRAM}: note: only the configuration was looked at, as it cannot be used"
                );
            }
            return Fatal::new(Cause::Configuration, problem).tell(PROGRAM);
        }
    };
    if only_check {
        return check(&loaded, &machine);
    }
    let text = match loaded.print {
        Some(Print::All) => loaded.config.to_properties(),
        Some(Print::Important) => loaded.config.important_properties(),
        None => return start(loaded, &machine, stop),
    };
    // What a start would say of this configuration belongs to what it means.
    print_notices(&loaded.notices);
    print(&text)
}

fn print(text: &str) -> ExitCode {
    // A reader that wants no more, such as `head`, is content.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// What a start would say, all at once, and its exit code.
fn check(loaded: &Loaded, machine: &Machine) -> ExitCode {
    if let Err(problem) = logging::start_plain(PROGRAM) {
        return Fatal::new(Cause::Other, problem).tell(PROGRAM);
    }
    print_notices(&loaded.notices);
    check::run(loaded, machine).tell(PROGRAM)
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

fn load(command_line: CommandLine, machine: &Machine) -> Result<Loaded, config::ConfigError> {
    let installation = home::of_environment();
    let named = command_line.config_file.as_deref();
    let path = named.map(|named| home::config_file(named, installation.as_deref()));
    let file = path.as_deref().map(config::read_file).transpose()?;
    let mut given = Given {
        command_line,
        file,
        namesrv_env: std::env::var("NAMESRV_ADDR").ok(),
        log_dir_env: std::env::var("RINGMQ_LOG_DIR").ok(),
        home: std::env::var_os("HOME").map(PathBuf::from),
        overrides: None,
        rocketmq_home: std::env::var("ROCKETMQ_HOME").ok(),
    };
    given.overrides = config::read_overrides(&config::data_dir(&given, machine))?;
    config::load(&given, machine)
}

fn start(loaded: Loaded, machine: &Machine, stop: Stop) -> ExitCode {
    let place = loaded.config.log_place();
    let in_a_file = place.is_some();
    let file = place.map(LogFile::open).transpose().map_err(logging::LoggingError::from);
    if let Ok(Some(file)) = &file {
        eprintln!("{PROGRAM}: note: the log is in {}", file.path().display());
    }
    let log = match file.and_then(|file| logging::start(&loaded.config.log_filter, file)) {
        Ok(log) => log,
        Err(problem) => return Fatal::new(Cause::Configuration, problem).tell(PROGRAM),
    };
    for notice in &loaded.notices {
        match notice.level {
            Level::Info => tracing::info!("{}", notice.text),
            Level::Warn => tracing::warn!("{}", notice.text),
        }
    }
    if in_a_file {
        // As Java's broker does: what it ran with stands in the log.
        for item in loaded.config.to_properties().lines() {
            tracing::info!("{item}");
        }
    }
    let ended = run(loaded, machine, stop);
    if let Err(fatal) = &ended
        && in_a_file
    {
        // Standard error has it in its last line.
        tracing::error!("{fatal}");
    }
    log.stop(LOG_PATIENCE);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => fatal.tell(PROGRAM),
    }
}

fn run(mut loaded: Loaded, machine: &Machine, stop: Stop) -> Result<(), Fatal> {
    let tls = open_tls(&mut loaded.config)?;
    let root = PathBuf::from(&loaded.config.store_path_root_dir);
    let log_root = boot::log_root(&loaded.config);
    let user_signal = UserSignal::of_process()
        .map_err(|error| Fatal::new(Cause::Machine, format!("signals: {error}")))?;
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
    let begun = Begun { room, sizing, tls, user_signal };
    let ended = run_locked(begun, loaded, machine, stop, &served);
    if let Some(first_start) = first_start
        && ended.is_err()
        && !served.load(Ordering::SeqCst)
    {
        first_start.undo();
    }
    ended
}

/// What a start has found out before it holds the directory.
struct Begun {
    /// Of a first start: there was no store in the directory.
    room: Option<Room>,
    sizing: Sizing,
    tls: Arc<Tls>,
    /// SIGUSR1: drain the broker.
    user_signal: UserSignal,
}

/// The directory is locked. `served` becomes true when somebody may have stored something.
fn run_locked(
    begun: Begun,
    loaded: Loaded,
    machine: &Machine,
    stop: Stop,
    served: &Arc<AtomicBool>,
) -> Result<(), Fatal> {
    let given = Arc::new(loaded);
    let (mut config, standalone) = (given.config.clone(), given.standalone);
    let Begun { room, mut sizing, tls, user_signal } = begun;
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
    check_memory(&config, memory)?;
    fill_in_limits(&mut config, &sizing, &log_root, format.shards)?;
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
    remark_on_file_system(&root, &root);
    let metrics = ports.metrics.as_ref().map(|port| port.addrs().to_vec());
    let report = StartupReport {
        tls: tls.told(),
        overridden: given.overridden.clone(),
        metrics: metrics.clone().unwrap_or_default(),
        ..StartupReport::of(&config, &sizing, format.shards, standalone, probe.durable_latency())
    };
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
        metrics,
    };
    let context = BootContext {
        listen,
        store_ip,
        config: Arc::new(config),
        given,
        machine: Arc::new(machine.clone()),
        tls,
        format,
        memory: sizing.memory.clone(),
        report,
        totals,
        beats: sizing.cores.iter().map(|_| Beat::default()).collect(),
        progress: Arc::clone(&progress),
        open_connections: Arc::default(),
        access: Arc::default(),
        ready: Arc::default(),
        served: Arc::clone(served),
        user_signal,
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
