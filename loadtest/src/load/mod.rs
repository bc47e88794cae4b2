//! The load generator behind `mqbench`: one thread, one epoll set, frames encoded once and patched.
//!
//! It has to be several times cheaper than the broker it measures, so nothing here goes through a general
//! decoder: requests are templates in which only `opaque`, `bornTimestamp` and the unique key change, answers are
//! scanned for their code and `opaque` only. Who wants meaning (contents, offsets, properties) uses the `client`
//! crate. Deliberately absent: retries, rebalancing, more than one thread; a second loader process is the way to
//! more load.

pub mod answers;
pub mod churn;
pub mod compare;
pub mod drain;
pub mod drive;
pub mod error;
pub mod filters;
pub mod find;
pub mod follow;
pub mod frames;
pub mod group;
pub mod half_checks;
pub mod idle;
pub mod limits;
pub mod pop;
pub mod process;
pub mod report;
pub mod secured;
pub mod slots;
pub mod slowest;
pub mod socket;
pub mod waiting;

pub use error::LoadError;
