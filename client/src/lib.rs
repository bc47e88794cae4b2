//! Two clients that speak frames: a small blocking one, which tests need to play producer, consumer, tool or broker, and
//! [`admin_ext`], the asynchronous administration of clusters that `mqadmin` is built on.
//!
//! Of the first:
//! One [`Connection`] is one blocking socket with a timeout; requests can be pipelined and answered in any order.
//! It does exactly what it is asked: no routes, no retries, no rebalancing, no background thread. JSON bodies are
//! written and read here without the types that our servers use, so that a mistake there does not cancel itself out.

pub mod admin;
pub mod admin_ext;
pub mod answer;
pub mod connection;
pub mod error;
pub mod members;
pub mod message;
pub mod offsets;
pub mod pull;
pub mod send;
mod stream;

pub use admin::{BrokerIdentity, KeyLookup, NewTopic};
pub use admin_ext::{AdminConfig, AdminError, Credentials, DefaultMqAdminExt};
pub use answer::{Answer, ServerRequest};
pub use connection::{Connection, Ticket};
pub use error::ClientError;
pub use members::{Heartbeat, Subscription};
pub use message::{Message, Received, Sent};
pub use proto::command::ExtValue;
pub use pull::{PullRequest, PullStatus, Pulled, messages};
