//! `mqnamesrv`: the name server as a program.
//!
//! Reads a properties file, listens, prints the line that operators wait for, serves until SIGTERM, SIGINT or SIGHUP. Everything it does
//! is in the library.

use std::{
    cell::RefCell, io::Write as _, path::PathBuf, process::ExitCode, rc::Rc, time::Duration,
};

use clap::Parser;
use daemon::{logging, port::check_port_is_free, properties_file};
use namesrv::{config::Config, server};
use remoting::Listener;
use runtime::{Executor, Mesh, Settings, Stop};

/// Exit code for a command line or configuration that cannot be used.
const EXIT_USAGE: u8 = 2;
/// What is logged unless `RUST_LOG` says otherwise.
const LOG_FILTER: &str = "info";
/// How long a stop may take; answers leave within half a second of it.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long the last lines of the log may take.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// RingMQ name server, compatible with Apache RocketMQ.
#[derive(Debug, Parser)]
#[command(name = "mqnamesrv", version)]
struct CommandLine {
    /// Properties file with settings such as listenPort
    #[arg(short = 'c', long = "configFile", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Accepted for compatibility; a name server needs no other
    #[arg(short = 'n', long = "namesrvAddr", value_name = "ADDRS")]
    namesrv_addr: Option<String>,
    /// Print all settings and exit
    #[arg(short = 'p', long = "printConfigItem")]
    print_config: bool,
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let config = match read_config(&line) {
        Ok(config) => config,
        Err(problem) => {
            eprintln!("mqnamesrv: {problem}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if line.print_config {
        print!("{}", config.to_properties());
        return ExitCode::SUCCESS;
    }
    let log = match logging::start(LOG_FILTER) {
        Ok(log) => log,
        Err(problem) => {
            eprintln!("mqnamesrv: {problem}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let ended = run(config);
    log.stop(LOG_PATIENCE);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("mqnamesrv: {problem}");
            ExitCode::FAILURE
        }
    }
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

fn run(config: Config) -> Result<(), String> {
    let addr = config.listen_address();
    if addr.port() != 0 {
        check_port_is_free(addr).map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    }
    let stop = Stop::new();
    stop.on_signals().map_err(|error| format!("signals: {error}"))?;
    let settings = Settings { stop_within: STOP_WITHIN, ..Settings::unpinned("mqnamesrv", 1) };
    runtime::run(settings, stop, move |executor: Executor, _: Mesh<()>| {
        serve(executor, config.clone())
    })
    .map_err(|error| error.to_string())
}

async fn serve(executor: Executor, config: Config) -> Result<(), String> {
    let addr = config.listen_address();
    let state = namesrv::open(&executor, config).await.map_err(|error| error.to_string())?;
    let listener = Listener::bind(&executor, addr)
        .map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    for item in state.config().to_properties().lines() {
        tracing::info!("{item}");
    }
    announce(listener.local_addr())?;
    server::serve(&executor, listener, Rc::new(RefCell::new(state)))
        .await
        .map_err(|error| error.to_string())?;
    tracing::info!("stopped");
    Ok(())
}

/// The line that scripts and operators look for; its beginning is Java's.
fn announce(addr: std::net::SocketAddr) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "The Name Server boot success. serializeType=JSON, address {addr}")
        .and_then(|()| out.flush())
        .map_err(|error| format!("standard output: {error}"))
}
