//! `mqnamesrv`: the name server as a program.
//!
//! Reads a properties file, listens, prints the line that operators wait for, serves until SIGTERM, SIGINT or SIGHUP. Everything it does
//! is in the library.

use std::{
    cell::RefCell,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use acl::Engine;
use clap::Parser;
use daemon::{
    account_files::{AccountFiles, LoadedAccounts},
    exit::{Cause, Fatal, FirstFatal, Refusals},
    home,
    key_list::KeysArgument,
    log_file::LogFile,
    logging, notify, open_files,
    port::{self, HeldPort},
    properties_file,
};
use namesrv::{access::SharedEngine, config::Config, handle::Namesrv, metrics, server};
use remoting::{Listener, TlsAcceptor, watch_certificates};
use runtime::{EXIT_INTERRUPTED, Executor, Mesh, RunError, Settings, Stop};
use tls::Tls;

/// Name in messages.
const PROGRAM: &str = "mqnamesrv";
/// What is logged unless `RUST_LOG` says otherwise.
const LOG_FILTER: &str = "info";
/// How long a stop may take; answers leave within half a second of it.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Files of the process besides connections: standard ones, rings, bells, listeners, signals, logs, files being written, and
/// connections to the port of metrics.
const FILES_BESIDES: u64 = 64 + telemetry::http::CONNECTIONS_MAX as u64;
/// Pause between two looks at the files of accounts.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
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
    let place = config.log_place();
    let in_a_file = place.is_some();
    let file = place.map(LogFile::open).transpose().map_err(logging::LoggingError::from);
    if let Ok(Some(file)) = &file {
        eprintln!("{PROGRAM}: note: the log is in {}", file.path().display());
    }
    let log = match file.and_then(|file| logging::start(LOG_FILTER, file)) {
        Ok(log) => log,
        Err(problem) => return Fatal::new(Cause::Configuration, problem).tell(PROGRAM),
    };
    let ended = run(config, stop);
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
    let file = config.log_place().map(|place| LogFile::look(&place)).transpose();
    refusals.keep(file.map_err(Fatal::because(Cause::Configuration)));
    refusals.keep(open_tls(config));
    refusals.keep(connections(config));
    refusals.keep(port::hold(&config.bind_address, config.listen_port, "listenPort"));
    refusals.keep(hold_for_metrics(config));
    refusals.keep(runtime::probe_uring().map_err(Fatal::because(Cause::Machine)));
    refusals.keep(namesrv::look(config).map_err(Fatal::because(Cause::Data)));
    if config.acl_enable {
        let loaded = account_files(config).load();
        refusals.keep(loaded.map_err(Fatal::because(Cause::Configuration)));
    }
    refusals.tell(PROGRAM)
}

/// Certificates and keys.
fn open_tls(config: &Config) -> Result<Arc<Tls>, Fatal> {
    let source = tls::Source::of_process(config.tls_settings());
    Tls::open(source).map_err(Fatal::because(Cause::Configuration))
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
    let log_dir = std::env::var("RINGMQ_LOG_DIR").unwrap_or_default();
    let mut config = Config { log_dir, ..Config::default() };
    let Some(named) = &line.config_file else {
        return Ok(config);
    };
    let path = &home::config_file(named, home::of_environment().as_deref());
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
    let tls = open_tls(&config)?;
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
        let tls = Arc::clone(&tls);
        async move {
            serve(executor, config, addrs, connections, tls)
                .await
                .map_err(|fatal| first.keep(fatal))
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
    tls: Arc<Tls>,
) -> Result<(), Fatal> {
    let mut state = namesrv::open(&executor, config).await.map_err(Fatal::because(Cause::Data))?;
    if state.config().acl_enable {
        guard(&executor, &mut state)?;
    }
    let stopping = executor.clone();
    // `connectionsMax` may be changed while the process runs; this may not.
    state.limit_connections(usize::try_from(connections).unwrap_or(usize::MAX));
    let stop_noticed = executor.spawn(async move {
        stopping.stop_requested().await;
        // Java's line, as the one at the end.
        tracing::info!("shutdown hook was invoked, 1 times.");
        notify::stopping();
        stopping.uptime()
    });
    tracing::info!("TLS: {}", tls.told());
    drop(executor.spawn(watch_certificates(executor.clone(), Arc::clone(&tls))));
    let acceptor = TlsAcceptor::new(&executor, Arc::clone(&tls));
    let listeners = Listener::bind_held(&executor, &addrs.client, &acceptor)
        .map_err(Fatal::because(Cause::Port))?;
    for item in state.config().to_properties().lines() {
        tracing::info!("{item}");
    }
    let state = Rc::new(RefCell::new(state));
    metrics::serve(&executor, &addrs.metrics, &state, &tls).map_err(Fatal::because(Cause::Port))?;
    if let Some(addr) = addrs.metrics.first() {
        tracing::info!("metrics and health: http://{addr}/metrics, /health, /ready");
    }
    announce(&addrs.client).map_err(Fatal::because(Cause::Other))?;
    server::serve(&executor, listeners, state).await.map_err(Fatal::because(Cause::Other))?;
    let took = executor.uptime() - stop_noticed.await;
    tracing::info!("shutdown hook done, consuming time total(ms): {took}");
    Ok(())
}

fn account_files(config: &Config) -> AccountFiles {
    let of_environment = || std::env::var("ROCKETMQ_HOME").unwrap_or_default();
    let home = match config.rocketmq_home.as_str() {
        "" => of_environment(),
        home => home.to_owned(),
    };
    AccountFiles::new(Path::new(&home), &config.acl_plain_file)
}

/// Puts the accounts in force, and again when their files change. A file with a mistake changes nothing.
fn guard(executor: &Executor, state: &mut Namesrv) -> Result<(), Fatal> {
    let files = Arc::new(account_files(state.config()));
    let engine = SharedEngine::default();
    state.guard(Rc::clone(&engine), "");
    let mut seen = files.stamps().map_err(Fatal::because(Cause::Configuration))?;
    let take = move |loaded: LoadedAccounts| {
        for notice in &loaded.notices {
            tracing::warn!("{notice}");
        }
        tracing::info!(accounts = loaded.plain.account_count(), "accounts are in force");
        *engine.borrow_mut() = Some(Arc::new(Engine::Plain(loaded.plain)));
    };
    take(files.load().map_err(Fatal::because(Cause::Configuration))?);
    let looking = executor.clone();
    drop(executor.spawn(async move {
        while !looking.stop().requested() {
            looking.sleep(LOOK_AGAIN).await;
            let (files, before) = (Arc::clone(&files), seen.clone());
            let look = move || match files.stamps() {
                Ok(now) if now == before => None,
                Ok(now) => Some((now, files.load())),
                Err(error) => Some((before, Err(error.to_string()))),
            };
            match looking.blocking(look).await {
                None => {}
                Some((now, loaded)) => {
                    seen = now;
                    match loaded {
                        Ok(loaded) => take(loaded),
                        Err(error) => tracing::error!(
                            error,
                            "files of accounts cannot be used: the former rules stay in force"
                        ),
                    }
                }
            }
        }
    }));
    Ok(())
}

/// The line that scripts and operators look for; its beginning is Java's. Then the service manager is told.
fn announce(addrs: &[SocketAddr]) -> Result<(), String> {
    let addrs: Vec<String> = addrs.iter().map(SocketAddr::to_string).collect();
    let addrs = addrs.join(" and ");
    let line = format!("The Name Server boot success. serializeType=JSON, address {addrs}");
    tracing::info!("{line}");
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
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
