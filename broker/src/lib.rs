//! broker

pub mod config;
pub mod properties_file;
pub mod control;
pub mod logging;
pub mod panel;
