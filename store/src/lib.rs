//! One shard's durable truth: commit log, commit gate, consume queues, state machines, recovery.
//!
//! [`Store`] is what a shard's owner holds. Appending is synchronous and assigns both offsets; one commit loop writes
//! and syncs everything that was appended meanwhile; only what was committed can be read. The log is the only truth:
//! every table here is rebuilt from it by [`Store::open`].
//!
//! Absent on purpose: network, JSON of the wire, topics' permissions, time (it is an argument).

mod accept;
mod ahead;
pub mod batch;
mod by_id;
#[doc(hidden)]
pub mod capture;
pub mod carry;
pub mod clock_watch;
mod cold_chunks;
mod cold_gate;
mod cold_read;
pub mod consume_queue;
pub mod consuming;
pub mod directory;
pub mod error;
mod far_search;
pub mod format;
pub mod index;
#[doc(hidden)]
pub mod indexing;
mod join_bounded;
pub mod layout;
pub mod lineage;
pub mod log;
pub mod lookup;
pub mod metadata;
pub mod offset;
mod put_counts;
mod queue_table;
pub mod read;
pub mod read_batches;
mod read_waiting;
mod readable;
mod rebuild;
mod recent_keys;
pub mod recovery;
mod replay;
pub mod replica_file;
pub mod retention;
pub mod ring;
pub mod segments;
pub mod settings;
pub mod space;
pub mod state;
pub mod store;
pub mod store_state;

pub use crate::{
    accept::NotAccepted,
    consuming::{PopAsk, PopPlace, PopRead, PopStart},
    error::{Refused, StoreError},
    layout::Layout,
    offset::PhysicalOffset,
    put_counts::Puts,
    read::{PullPlan, PullStatus},
    settings::{FlushPolicy, Settings},
    store::Store,
    store_state::{Placed, QueueSlot, StoreState, TopicSlot},
};
