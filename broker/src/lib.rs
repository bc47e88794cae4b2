//! `mqbroker`: from connections to queues. See `ARCHITECTURE.md` for the owners; [`front::dispatch`] lists every
//! request that is served, one file per family beside it.
//!
//! A request is admitted where its socket is, run where its queue is, and answered where its socket is. What is shared
//! between executors is an immutable snapshot ([`control::Meta`]) and letters; nothing is locked.

pub mod boot;
pub mod clients;
pub mod cold;
pub mod config;
pub mod control;
pub mod desk;
pub mod error;
pub mod front;
pub mod groups;
pub mod health;
pub mod letter;
pub mod offset;
pub mod panel;
pub mod properties;
pub mod pull;
pub mod query;
pub mod queues;
pub mod registration;
pub mod runtime_info;
pub mod send;
pub mod shard;
pub mod stats;
pub mod survey;
pub mod topics;
pub mod view;
