//! `mqnamesrv`: the name server as a program.
//!
//! Reads a properties file, listens, prints the line that operators wait for, serves until SIGTERM, SIGINT or SIGHUP. Everything it does
//! is in the library.

use std::{
    cell::RefCell, io::Write as _, net::SocketAddr, path::PathBuf, process::ExitCode, rc::Rc,
    time::Duration,
};

use clap::Parser;
use daemon::{
    exit::{Cause, Fatal, FirstFatal, Refusals},
    key_list::KeysArgument,
    logging, notify, open_files,
    port::{self, HeldPort},
    properties_file,
};
use namesrv::{config::Config, metrics, server};
use remoting::Listener;
use runtime::{EXIT_INTERRUPTED, Executor, Mesh, RunError, Settings, Stop};

/// Name in messages.
const PROGRAM: &str = "mqnamesrv";
/// What is logged unless `RUST_LOG` says otherwise.
const LOG_FILTER: &str = "info";
/// How long a stop may take; answers leave within half a second of it.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Files of the process besides connections: standard ones, rings, bells, listeners, signals, logs, files being written, and
/// connections to the port of metrics.
const FILES_BESIDES: u64 = 64 + telemetry::http::CONNECTIONS_MAX as u64;
/// How long the last lines of the log may take.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// RingMQ name server, compatible with Apache RocketMQ.
#[derive(Debug, Parser)]
#[command(name = "mqnamesrv", version)]
struct CommandLine {
    /// Properties file with settings such as listenPort
    #[arg(short = 'c', long = "configFile", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Accepted for compatibility, without a meaning
    #[arg(short = 'n', long = "namesrvAddr", value_name = "ADDRS")]
    namesrv_addr: Option<String>,
    /// Print all settings and exit
    #[arg(short = 'p', long = "printConfigItem")]
    print_config: bool,
    #[arg(
        long,
        conflicts_with = "print_config",
        help = "Say all that a start would refuse or warn about,\nand exit with its code; nothing is changed"
    )]
    check: bool,
    #[command(flatten)]
    keys: KeysArgument,
}

fn main() -> ExitCode {
    // First of all, so that a start ends orderly whenever it is told to.
    let stop = match Stop::of_process() {
        Ok(stop) => stop,
        Err(error) => return Fatal::new(Cause::Machine, format!("signals: {error}")).tell(PROGRAM),
    };
    let line = CommandLine::parse();
    if let Some(form) = line.keys.form {
        return print(&namesrv::config::key_list().in_form(form));
    }
    let config = match read_config(&line) {
        Ok(config) => config,
        Err(problem) => return Fatal::new(Cause::Configuration, problem).tell(PROGRAM),
    };
    if line.print_config {
        return print(&config.to_properties());
    }
    if line.check {
        stop.set_unfinished_code(EXIT_INTERRUPTED);
        return check(&config);
    }
    let log = match logging::start(LOG_FILTER) {
        Ok(log) => log,
        Err(problem) => return Fatal::new(Cause::Configuration, problem).tell(PROGRAM),
    };
    let ended = run(config, stop);
    log.stop(LOG_PATIENCE);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => fatal.tell(PROGRAM),
    }
}

fn print(text: &str) -> ExitCode {
    // A reader that wants no more, such as `head`, is content.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// What a start would say, all at once and in its order, and its exit code. Nothing is made or changed.
fn check(config: &Config) -> ExitCode {
    if let Err(problem) = logging::start_plain(PROGRAM) {
        return Fatal::new(Cause::Other, problem).tell(PROGRAM);
    }
    let mut refusals = Refusals::default();
    let filter = logging::check(LOG_FILTER);
    refusals.keep(filter.map_err(Fatal::because(Cause::Configuration)));
    refusals.keep(connections(config));
    refusals.keep(port::hold(&config.bind_address, config.listen_port, "listenPort"));
    refusals.keep(hold_for_metrics(config));
    refusals.keep(runtime::probe_uring().map_err(Fatal::because(Cause::Machine)));
    refusals.keep(namesrv::look(config).map_err(Fatal::because(Cause::Data)));
    refusals.tell(PROGRAM)
}

/// The port of metrics, if there is to be one.
fn hold_for_metrics(config: &Config) -> Result<Option<HeldPort>, Fatal> {
    let (port, bind) = (config.metrics_port, &config.metrics_bind_address);
    port::hold_for_metrics(port, metrics::USUAL_PORT, bind)
}

/// As many connections as the limit of open files, which is raised for it, leaves room for.
fn connections(config: &Config) -> Result<u64, Fatal> {
    runtime::limits::raise();
    let wanted = config.connections_max as u64;
    let asked = config.connections_max != Config::default().connections_max;
    let limit = runtime::limits::open_files_max();
    open_files::connections(wanted, asked, FILES_BESIDES, limit)
}

/// Defaults and the file of `-c`. Unknown keys are warned about once; all bad values are reported together.
fn read_config(line: &CommandLine) -> Result<Config, String> {
    let mut config = Config::default();
    let Some(path) = &line.config_file else {
        return Ok(config);
    };
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let entries = properties_file::entries(&properties_file::text_of(&bytes)).map_err(|bad| {
        let list: String = bad.iter().map(|escape| format!("\n  {escape}")).collect();
        format!("{}: can not be read:{list}", path.display())
    })?;
    // As with Java, changes made while running go to the file that was given, unless it names another.
    config.config_store_path.clone_from(path);
    let findings = config.apply(&entries);
    for unknown in &findings.unknown {
        eprintln!("mqnamesrv: warning: {}: {unknown}", path.display());
    }
    match namesrv::config::bad_values_text(&findings.bad) {
        None => Ok(config),
        Some(list) => {
            Err(format!("{}: these values can not be used:\n{}", path.display(), list.trim_end()))
        }
    }
}

fn run(config: Config, stop: Stop) -> Result<(), Fatal> {
    let connections = connections(&config)?;
    // Held until the end; the executor listens on the same addresses when it serves.
    let held = port::hold(&config.bind_address, config.listen_port, "listenPort")?;
    let held_for_metrics = hold_for_metrics(&config)?;
    stop.set_interruptible(false);
    if stop.requested() {
        return Ok(());
    }
    let settings = Settings { stop_within: STOP_WITHIN, ..Settings::unpinned(PROGRAM, 1) };
    let failure = FirstFatal::default();
    let addrs_of = |port: Option<&HeldPort>| port.map_or(Vec::new(), |it| it.addrs().to_vec());
    let addrs =
        Addrs { client: addrs_of(Some(&held)), metrics: addrs_of(held_for_metrics.as_ref()) };
    let first = failure.clone();
    let ended = runtime::run(settings, stop, move |executor: Executor, _: Mesh<()>| {
        let (first, config, addrs) = (first.clone(), config.clone(), addrs.clone());
        async move {
            serve(executor, config, addrs, connections).await.map_err(|fatal| first.keep(fatal))
        }
    });
    ended.map_err(|error| match error {
        RunError::Main { error, .. } => failure.or_other(error),
        RunError::StopTimeout(_) => Fatal::new(Cause::StopTimeout, error),
        error => Fatal::new(Cause::Machine, error),
    })
}

/// Addresses to listen on, which this process holds.
#[derive(Clone)]
struct Addrs {
    client: Vec<SocketAddr>,
    metrics: Vec<SocketAddr>,
}

async fn serve(
    executor: Executor,
    config: Config,
    addrs: Addrs,
    connections: u64,
) -> Result<(), Fatal> {
    let mut state = namesrv::open(&executor, config).await.map_err(Fatal::because(Cause::Data))?;
    let stopping = executor.clone();
    // `connectionsMax` may be changed while the process runs; this may not.
    state.limit_connections(usize::try_from(connections).unwrap_or(usize::MAX));
    drop(executor.spawn(async move {
        stopping.stop_requested().await;
        notify::stopping();
    }));
    let listeners =
        Listener::bind_held(&executor, &addrs.client).map_err(Fatal::because(Cause::Port))?;
    for item in state.config().to_properties().lines() {
        tracing::info!("{item}");
    }
    let state = Rc::new(RefCell::new(state));
    metrics::serve(&executor, &addrs.metrics, &state).map_err(Fatal::because(Cause::Port))?;
    if let Some(addr) = addrs.metrics.first() {
        tracing::info!("metrics and health: http://{addr}/metrics, /health, /ready");
    }
    announce(&addrs.client).map_err(Fatal::because(Cause::Other))?;
    server::serve(&executor, listeners, state).await.map_err(Fatal::because(Cause::Other))?;
    tracing::info!("stopped");
    Ok(())
}

/// The line that scripts and operators look for; its beginning is Java's. Then the service manager is told.
fn announce(addrs: &[SocketAddr]) -> Result<(), String> {
    let addrs: Vec<String> = addrs.iter().map(SocketAddr::to_string).collect();
    let addrs = addrs.join(" and ");
    let mut out = std::io::stdout().lock();
    writeln!(out, "The Name Server boot success. serializeType=JSON, address {addrs}")
        .and_then(|()| out.flush())
        .map_err(|error| format!("standard output: {error}"))?;
    notify::ready(&format!("serves on {addrs}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn help_fits_a_terminal() {
        let help = CommandLine::command().render_help().to_string();
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }
}
