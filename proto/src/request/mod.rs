//! Typed request headers: the ext fields of one request code with their types, one file per family of requests.
//!
//! Leniency is Java's (`RemotingCommand.decodeCommandCustomHeader`) where that does no harm: unknown fields are ignored,
//! a missing or unreadable optional field takes its default. A missing or unreadable *mandatory* field, on which Java
//! stumbles later with code 1, is a [`FieldError`] at once; its text is a good remark. Every `from_ext` is one pass over
//! the fields of the header and allocates nothing unless it fails.

mod client;
mod field;
mod group;
mod namesrv;
mod offset;
mod pop;
mod pull;
mod send;
mod stats;
mod topic;
mod view;

pub use client::*;
pub use field::FieldError;
pub use group::*;
pub use namesrv::*;
pub use offset::*;
pub use pop::*;
pub use pull::*;
pub use send::*;
pub use stats::*;
pub use topic::*;
pub use view::*;
