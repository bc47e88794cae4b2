//! One shard's durable truth: commit log, commit gate, consume queues, group offsets, recovery.
//!
//! [`Store`] is what a shard's owner holds. Appending is synchronous and assigns both offsets; one commit loop writes
//! and syncs everything that was appended meanwhile; only what was committed can be read. The log is the only truth:
//! every table here is rebuilt from it by [`Store::open`].
//!
//! Absent on purpose: network, JSON of the wire, topics' permissions, time (it is an argument).

pub mod batch;
pub mod consume_queue;
pub mod core;
#[doc(hidden)]
pub mod crashsim;
pub mod error;
pub mod facts;
pub mod format;
pub mod group_offsets;
pub mod index;
pub mod log;
pub mod offset;
#[doc(hidden)]
pub mod powercut;
pub mod read;
pub mod recovery;
pub mod ring;
pub mod store;

pub use crate::{
    core::{Core, Placed, QueueSlot},
    error::{Refused, StoreError},
    offset::PhysicalOffset,
    read::{PullPlan, PullStatus},
    store::{FlushPolicy, Settings, Store},
};
