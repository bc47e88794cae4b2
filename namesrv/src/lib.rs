//! The name server: who serves which topic, where, and who is still alive.
//!
//! Pure parts: [`routes`] (the tables), [`kv`] (operators' values), [`config`], [`handle`] (one match over everything that can
//! be asked). Shell: [`server`] at the sockets, [`metrics`] for operators, `connection` for each of them, `save` for what must survive a crash.
//! `mqnamesrv` is the program; a standalone broker embeds the same with [`server::serve`] on its first executor:
//!
//! ```no_run
//! # async fn embed(executor: runtime::Executor) -> Result<(), String> {
//! use std::{cell::RefCell, rc::Rc};
//!
//! let config = namesrv::config::Config { listen_port: 9876, ..Default::default() };
//! let state = namesrv::open(&executor, config).await.map_err(|e| e.to_string())?;
//! let addr = std::net::SocketAddr::from(([0, 0, 0, 0], state.config().listen_port));
//! let listener = remoting::Listener::bind(&executor, addr).map_err(|e| e.to_string())?;
//! namesrv::server::serve(&executor, vec![listener], Rc::new(RefCell::new(state))).await.map_err(|e| e.to_string())
//! # }
//! ```
//!
//! Absent on purpose: a controller, acting masters, zones, static topics, TLS.

pub mod access;
pub mod config;
mod connection;
pub mod handle;
pub mod kv;
pub mod metrics;
pub mod routes;
mod save;
pub mod server;
mod topic_lists;

use config::Config;
use handle::Namesrv;
use kv::KvConfig;
use runtime::durable_file::{self, DurableFileError};

/// A name server with what its files remember. KV files (with backup) that are there and unreadable are an error that
/// names them: a start with an empty table would overwrite what an operator could still repair.
pub async fn open(
    executor: &runtime::Executor,
    config: Config,
) -> Result<Namesrv, DurableFileError> {
    let read = durable_file::read(&executor.disk(), &config.kv_config_path, parse).await;
    let kv = table_of(read.map(|loaded| loaded.map(|loaded| loaded.content)))?;
    Ok(Namesrv::new(config, kv))
}

/// What [`open`] would refuse. Reads with ordinary system calls, and writes nothing.
pub fn look(config: &Config) -> Result<(), DurableFileError> {
    table_of(durable_file::look(&config.kv_config_path, parse)).map(drop)
}

fn parse(bytes: &[u8]) -> Result<KvConfig, String> {
    match KvConfig::read(bytes) {
        Ok(None) => Err("it is empty".to_owned()),
        Ok(Some(table)) => Ok(table),
        Err(error) => Err(error.to_string()),
    }
}

/// What was read, or an empty table where there is none or only blanks.
fn table_of(
    read: Result<Option<KvConfig>, DurableFileError>,
) -> Result<KvConfig, DurableFileError> {
    match read {
        Err(DurableFileError::Unusable { path, contents })
            if contents.iter().all(|content| content.blank) =>
        {
            tracing::warn!(path = %path.display(), "the KV configuration is empty");
            Ok(KvConfig::default())
        }
        read => read.map(Option::unwrap_or_default),
    }
}
