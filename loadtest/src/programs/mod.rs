//! The programs that come with Java's RocketMQ, as its users start them and read them: the quickstart's producer and consumer,
//! and the benchmark's producers and consumer, with their options and the lines that they print.
//!
//! They find brokers through name servers, send to all queues in turn and share queues with other members of their group, as
//! Java's clients do, over blocking connections and a few threads. Against any broker of this protocol. Who wants to know
//! what a broker can do takes `mqbench send` and its kin instead: a thread here waits for each answer.

pub mod benchmark;
pub mod cluster;
pub mod consumer;
mod member;
pub mod producer;
pub mod quickstart;
pub mod shown;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

/// How long a program waits after a broker or a connection failed; Java's programs do.
pub const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(3);

/// What can end a program.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// Nobody has said where the name servers are.
    #[error("no name server is given: set NAMESRV_ADDR, or use -n host:port")]
    NoNameServer,
    /// None of them answers.
    #[error("no name server of {addrs} answers: {last}")]
    NameServers {
        /// All of them.
        addrs: String,
        /// What the last one said.
        last: String,
    },
    /// A topic that nobody has, and that no broker would create.
    #[error(
        "no route of the topic {topic}: create it, or allow its creation (autoCreateTopicEnable)"
    )]
    NoRoute {
        /// The topic.
        topic: String,
    },
    /// A route with an address that cannot be dialled.
    #[error("the broker's address {addr} cannot be used: {reason}")]
    Address {
        /// The address.
        addr: String,
        /// What is wrong.
        reason: String,
    },
    /// The broker or the way to it.
    #[error(transparent)]
    Client(#[from] client::ClientError),
    /// An option with a value that cannot be used.
    #[error("{option}: {reason}")]
    Option {
        /// The option.
        option: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Signals cannot be heard.
    #[error("signals: {0}")]
    Signals(std::io::Error),
}

/// Becomes true with the first SIGINT or SIGTERM; a second one ends the process at once.
pub fn stop_flag() -> Result<Arc<AtomicBool>, ProgramError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the first signal finds the flag unset.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(ProgramError::Signals)?;
    }
    Ok(stop)
}
