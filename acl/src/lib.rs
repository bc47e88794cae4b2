//! Access control: who asks, and whether he may. Both of RocketMQ's generations, behind one [`Engine`].
//!
//! `plain` is that of 4.9 (`plain_acl.yml`: accounts with permissions by topic and group), `auth` that of 5.x (users and
//! policies). A server says what a request touches ([`Needs`]) and gets a [`Decision`], which names the rule that decided.
//! Signatures are the same in both (`signature`). Pure: no I/O, no clock. Headers, bodies, rules in requests and the text of
//! files are foreign bytes: nothing of them panics, and what they make us keep is limited here. A check of a request with up to
//! 32 ext fields allocates nothing.
//!
//! Source of formats and rules: Apache RocketMQ 4.9.8, module `acl`; 5.3.3, module `auth`. Where Java lets pass what nobody
//! meant to, it is closed here; each place says so.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod address;
pub mod auth;
mod decision;
mod engine;
mod needs;
pub mod plain;
mod signature;
mod yaml;

pub use decision::{Decision, Reason, Rule};
pub use engine::{Call, Caller, Engine, Question};
pub use needs::{Action, Need, Needs, Resource, ResourceKind};
pub use signature::{ACCESS_KEY, SECURITY_TOKEN, SIGNATURE, Signer, SigningKey};
pub use yaml::FILE_BYTES_MAX;

/// Topics that hold what a group wants again.
const RETRY_PREFIX: &str = "%RETRY%";
/// Topics that hold what a group has given up.
const DLQ_PREFIX: &str = "%DLQ%";
/// Topic of message trace: every account may write to it, as clients do beside their sends.
const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";

#[cfg(test)]
mod fuzz;
