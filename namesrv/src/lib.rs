//! The name server: who serves which topic, where, and who is still alive.
//!
//! Pure parts: [`routes`] (the tables), [`kv`] (operators' facts), [`config`], [`handle`] (one match over everything that can
//! be asked). Shell: [`server`] at the sockets, `link` per connection, `save` and [`files`] for what must survive a crash.
//! `mqnamesrv` is the program; a standalone broker embeds the same with [`server::serve`] on its first executor:
//!
//! ```no_run
//! # async fn embed(executor: runtime::Executor<()>) -> Result<(), String> {
//! use std::{cell::RefCell, rc::Rc};
//!
//! let config = namesrv::config::Config { listen_port: 9876, ..Default::default() };
//! let state = namesrv::open(&executor, config).await.map_err(|e| e.to_string())?;
//! let listener = executor.listen(state.config().listen_address()).map_err(|e| e.to_string())?;
//! namesrv::server::serve(&executor, listener, Rc::new(RefCell::new(state))).await.map_err(|e| e.to_string())
//! # }
//! ```
//!
//! Absent on purpose: a controller, acting masters, zones, static topics, TLS.

use std::io;

pub mod config;
pub mod files;
pub mod handle;
pub mod kv;
mod link;
pub mod logging;
pub mod properties_file;
pub mod routes;
mod save;
pub mod server;

use config::Config;
use handle::Namesrv;
use kv::KvConfig;

/// A name server with what its files remember. An unreadable KV file (and backup) is an error that names it.
pub async fn open<M: Send + 'static>(
    executor: &runtime::Executor<M>,
    config: Config,
) -> io::Result<Namesrv> {
    let path = config.kv_config_path.clone();
    let loaded = executor.blocking(move || files::load(&path, KvConfig::read)).await?;
    if let Some(warning) = loaded.warning {
        tracing::warn!(warning, "KV configuration");
    }
    Ok(Namesrv::new(config, loaded.value.unwrap_or_default()))
}
