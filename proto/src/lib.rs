//! Bytes and their meaning on the RocketMQ wire and in the log: frames, command headers, codes, typed headers, JSON
//! bodies, the stored record.
//!
//! Everything here is a pure function of bytes: no I/O, no clock, no async. Foreign bytes never panic, never index
//! out of bounds and never make us allocate before a limit was checked. The lints below keep it so; tests are exempt.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod batch;
pub mod body;
pub mod code;
pub mod command;
pub mod fastjson;
pub mod frame;
pub mod message_id;
pub mod properties;
pub mod recall_handle;
pub mod receipt;
pub mod record;
pub mod request;
pub mod version;
