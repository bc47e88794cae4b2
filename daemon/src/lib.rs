//! What a program of RingMQ needs besides its subject, and both of them share: logs, configuration, its ports, its end.
//!
//! [`logging`] never makes an executor wait, [`log_file`] ends files by size and day; [`home`] is `ROCKETMQ_HOME`; [`properties_file`] is Java's syntax; [`config`] declares configuration keys once,
//! with [`config_keys!`], and [`key_list`] tells people what they are; [`port`] refuses to share a port with another process; [`exit`] has a code for each cause; [`notify`] tells
//! the service manager when the program serves; [`account_files`] finds the rules of access control. Durable small files are
//! `runtime::durable_file`, because the store replaces its metadata by the same protocol and needs nothing of what lives here.

pub mod account_files;
pub mod bind_address;
pub mod config;
pub mod config_body;
pub mod exit;
pub mod home;
pub mod key_list;
pub mod log_file;
pub mod logging;
pub mod metrics_port;
pub mod notify;
pub mod open_files;
pub mod port;
pub mod properties_file;
pub mod words;
