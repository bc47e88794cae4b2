//! `mqbroker`: from connections to queues. See `ARCHITECTURE.md` for the owners; [`handlers`] lists every request that
//! is served, one file per family beside it.
//!
//! A request is admitted where its socket is, run where its queue is, and answered where its socket is. What is shared
//! between workers is an immutable snapshot ([`control::MetadataSnapshot`]) and messages; nothing is locked.

pub mod access;
pub mod advertised;
pub mod beats;
pub mod boot;
pub mod calls;
pub mod check;
pub mod client_calls;
pub mod cluster_queues;
pub mod cold_reads;
pub mod collect_traffic;
pub mod commit;
pub mod config;
pub mod connection;
pub mod control;
pub mod delay_figures;
pub mod delay_levels;
pub mod delivery;
pub mod disk_use;
pub mod draining;
pub mod drops;
pub mod error;
pub mod expressions;
pub mod fair_queue;
pub mod first_start;
pub mod half_checks;
pub mod handlers;
pub mod health;
pub mod inbox;
pub mod latencies;
pub mod limits;
pub mod live_config;
pub mod mailbox;
pub mod metrics;
pub mod not_yet;
pub mod one_shot;
pub mod open_files;
pub mod ops;
pub mod panel;
pub mod pending_returns;
pub mod pop_waits;
pub mod properties;
pub mod recovery_report;
pub mod refusals;
pub mod registration;
pub mod request;
pub mod response;
pub mod response_encoder;
pub mod shard;
pub mod slow_log;
pub mod start;
pub mod stats;
pub mod table_memory;
pub mod traffic;
pub mod wait_times;
pub mod worker;
