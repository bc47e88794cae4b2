//! The broker as a program: read what was given, hold the data directory, probe the machine, run one executor per core.

use broker::{
    boot::{self, BootContext},
    config::{self, BrokerConfig, CommandLine, Given, Level, Loaded, Machine, Print, Sizing},
    health::{self, Condition},
    panel::StartupReport,
    recovery_report,
    stats::Totals,
};
use clap::Parser;
use daemon::{logging, port::check_port_is_free};
use runtime::{Preempt, RunError, Settings, Stop};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use store::{
    directory,
    format::{self, Format},
};

/// Exit code for a configuration that cannot be used.
const EXIT_USAGE: u8 = 2;
/// Exit code when a stop took longer than `shutdownSecondsMax`: `EX_TEMPFAIL` of sysexits.h.
const EXIT_STOP_TIMEOUT: u8 = 75;
/// How long the last lines of the log may take.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let machine = Machine::read();
    let loaded = match load(&machine) {
        Ok(loaded) => loaded,
        Err(problem) => {
            eprintln!("mqbroker: {problem}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match loaded.print {
        Some(Print::All) => print!("{}", loaded.config.to_properties()),
        Some(Print::Important) => print!("{}", loaded.config.important_properties()),
        None => return start(loaded, &machine),
    }
    ExitCode::SUCCESS
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

fn start(loaded: Loaded, machine: &Machine) -> ExitCode {
    let log = match logging::start(&loaded.config.log_filter) {
        Ok(log) => log,
        Err(problem) => {
            eprintln!("mqbroker: {problem}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    for notice in &loaded.notices {
        match notice.level {
            Level::Info => tracing::info!("{}", notice.text),
            Level::Warn => tracing::warn!("{}", notice.text),
        }
    }
    let ended = run(loaded, machine);
    if let Err(Failure { sentence, .. }) = &ended {
        tracing::error!("{sentence}");
    }
    log.stop(LOG_PATIENCE);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, sentence }) => {
            eprintln!("mqbroker: {sentence}");
            ExitCode::from(code)
        }
    }
}

/// Why the process fails, and its exit code.
struct Failure {
    code: u8,
    sentence: String,
}

impl From<String> for Failure {
    fn from(sentence: String) -> Failure {
        Failure { code: 1, sentence }
    }
}

fn run(loaded: Loaded, machine: &Machine) -> Result<(), Failure> {
    let Loaded { mut config, standalone, .. } = loaded;
    let root = PathBuf::from(&config.store_path_root_dir);
    let log_root = boot::log_root(&config);
    // Before the lock, which Java's broker has a file for, too.
    directory::check_before_format(&root, &log_root).map_err(|error| error.to_string())?;
    // Before the ports: they can be shared silently, the directory cannot.
    let lock = format::lock(&root).map_err(|error| error.to_string())?;
    check_ports(&config, standalone)?;
    let mut sizing = Sizing::of(&config, machine);
    let format = format_of(&root, &config, &sizing)?;
    if usize::from(format.shards) != sizing.shards {
        sizing = Sizing::with_shards(&config, machine, format.shards.into());
    }
    let memory = &sizing.memory;
    if !memory.fits() {
        let (value, expected) = config.too_little_memory(memory);
        let sentence = format!("memoryBudgetMiB={value}: expected {expected}");
        return Err(Failure { code: EXIT_USAGE, sentence });
    }
    memory.fill_in(&mut config);
    let probe = runtime::probe(&root).map_err(|error| error.to_string())?;
    tracing::info!(
        budget_mib = memory.budget_bytes >> 20,
        least_mib = memory.least_bytes >> 20,
        tail_cache_mib = memory.tail_cache_bytes >> 20,
        incomplete_frames_mib = memory.incomplete_frames_bytes >> 20,
        unsent_mib = memory.unsent_bytes >> 20,
        connections = memory.connections_max,
        parked_pulls_of_shard = memory.parked_pulls_max,
        index_entries_of_shard = memory.index_entries_max,
        cold_cache_mib_of_shard = memory.cold_cache_mib,
        "memory is divided"
    );
    let report = StartupReport::of(&config, &sizing, standalone, probe.sync_latency);
    let totals: Arc<[Totals]> = (0..format.shards).map(|_| Totals::default()).collect();
    let mut settings = Settings::on_cores("mqbroker", &sizing.cores);
    // No task here runs long without yielding, and arming the timer each time the reactor runs costs a sixth of the
    // throughput; the watchdog watches either way.
    settings.preempt = Preempt::Never;
    settings.spin_before_park = Duration::from_micros(u64::from(config.spin_before_park_micros));
    let stop_seconds_max = config.shutdown_seconds_max;
    settings.stop_within = Duration::from_secs(u64::from(stop_seconds_max));
    let progress: Arc<[_]> = (0..format.shards).map(|_| Arc::default()).collect();
    let (exit_on_log_failure, logs) = (config.exit_on_log_failure, Arc::clone(&totals));
    let context = BootContext {
        config: Arc::new(config),
        format,
        memory: sizing.memory.clone(),
        standalone,
        report,
        totals,
        progress: Arc::clone(&progress),
        open_connections: Arc::default(),
        ready: Arc::default(),
    };
    let stop = Stop::new();
    // Until every store is open nothing is promised to anybody.
    stop.set_interruptible(true);
    stop.on_signals().map_err(|error| format!("signals: {error}"))?;
    recovery_report::start(progress, stop.clone()).map_err(|error| format!("threads: {error}"))?;
    let ran = runtime::run(settings, stop, move |executor, mesh| {
        boot::run(executor, mesh, context.clone())
    });
    if let Err(RunError::Interrupted | RunError::StopTimeout(_)) = &ran {
        // Executors are still at work on the directory: it stays locked until the process is gone.
        std::mem::forget(lock);
    }
    match ran {
        Ok(()) => {}
        Err(RunError::Interrupted) => {
            tracing::info!("stopped before anything was served; the next start begins anew");
            return Ok(());
        }
        Err(RunError::StopTimeout(_)) => return Err(stop_timeout(stop_seconds_max)),
        Err(error) => return Err(error.to_string().into()),
    }
    match health::summary(logs.iter().map(|totals| &totals.log)) {
        (Condition::LogPoisoned, sentence) if exit_on_log_failure => {
            Err(format!("{sentence} (exitOnLogFailure)").into())
        }
        _ => Ok(()),
    }
}

fn stop_timeout(seconds_max: u32) -> Failure {
    let sentence = format!(
        "not everything was on the disk {seconds_max} s after the stop was requested (shutdownSecondsMax): ending \
         without it; what was acknowledged as durable is there"
    );
    Failure { code: EXIT_STOP_TIMEOUT, sentence }
}

fn check_ports(config: &BrokerConfig, standalone: bool) -> Result<(), String> {
    let mut ports = vec![config.listen_port, config.vip_port()];
    if standalone {
        ports.push(config.standalone_namesrv_port);
    }
    for port in ports {
        let addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        check_port_is_free(addr).map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    }
    Ok(())
}

/// The format of the store, made now if the directory is new. What is fixed there goes before the configuration.
fn format_of(root: &Path, config: &BrokerConfig, sizing: &Sizing) -> Result<Format, String> {
    let shards = u16::try_from(sizing.shards).map_err(|error| error.to_string())?;
    let wanted = Format {
        version: format::VERSION,
        shards,
        segment_bytes: config.mapped_file_size_commit_log,
        store_id: fastrand::u64(..) >> 8,
        log_id: fastrand::u64(..) >> 8,
    };
    let format = format::read_or_create(root, wanted.clone()).map_err(|error| error.to_string())?;
    if config.shards != 0 && format.shards != shards {
        tracing::warn!(
            configured = shards,
            formatted = format.shards,
            "shards is fixed when the store is formatted; the configured number is ignored"
        );
    }
    if format.segment_bytes != wanted.segment_bytes {
        tracing::warn!(
            configured = wanted.segment_bytes,
            formatted = format.segment_bytes,
            "mappedFileSizeCommitLog is fixed when the store is formatted; the configured size is ignored"
        );
    }
    Ok(format)
}
