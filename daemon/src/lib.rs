//! What a program of RingMQ needs besides its subject, and both of them share: logs, configuration, its ports, its end.
//!
//! [`logging`] never makes an executor wait; [`properties_file`] is Java's syntax; [`config`] declares configuration keys once,
//! with [`config_keys!`], and [`key_list`] tells people what they are; [`port`] refuses to share a port with another process; [`exit`] has a code for each cause; [`notify`] tells
//! the service manager when the program serves. Durable small files are
//! `runtime::durable_file`, because the store replaces its metadata by the same protocol and needs nothing of what lives here.

pub mod bind_address;
pub mod config;
pub mod exit;
pub mod key_list;
pub mod logging;
pub mod metrics_port;
pub mod notify;
pub mod open_files;
pub mod port;
pub mod properties_file;
pub mod words;
