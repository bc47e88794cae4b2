//! What can end a load run. Refusals by the broker are results (counted by code), not errors.

use std::io;
use std::net::SocketAddr;

/// Why a run gave no figures.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A socket, epoll or `/proc` operation failed.
    #[error("{doing}: {source}")]
    Io {
        /// The operation, as words after "while".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The broker does not accept connections.
    #[error("cannot connect to {addr} (connection {index}): {source}")]
    Connect {
        /// The broker's address.
        addr: SocketAddr,
        /// Which of our connections, from 0.
        index: usize,
        /// What the system said.
        source: io::Error,
    },
    /// The broker closed a connection in the middle of the run.
    #[error("the broker closed connection {index} after {acked} answers in all")]
    Closed {
        /// Which connection, from 0.
        index: usize,
        /// Answers seen so far over all connections.
        acked: u64,
    },
    /// Nothing came back for a long time although requests were out.
    #[error("no answer for {seconds} s with {in_flight} requests in flight")]
    Silent {
        /// How long we waited.
        seconds: u64,
        /// Requests without an answer.
        in_flight: usize,
    },
    /// The time for which something was planned came before it was ready.
    #[error(
        "{what} took longer than planned: start again with fewer, or on a machine that does nothing else"
    )]
    Late {
        /// What, in words.
        what: &'static str,
    },
    /// An answer that the scanner cannot read.
    #[error("unreadable answer on connection {index}: {reason}")]
    Unreadable {
        /// Which connection, from 0.
        index: usize,
        /// What was wrong with it.
        reason: &'static str,
    },
    /// An expression of ours that is none.
    #[error(transparent)]
    Filter(#[from] filter::FilterError),
    /// A name that would need escaping inside the pre-encoded header.
    #[error("{what} `{value}` may hold only letters, digits, and the characters % | _ -")]
    Name {
        /// Which argument.
        what: &'static str,
        /// Its value.
        value: String,
    },
    /// An argument outside of what the loader can do.
    #[error("{what} must be {range}, not {value}")]
    Range {
        /// Which argument.
        what: &'static str,
        /// The values that work.
        range: &'static str,
        /// What was given.
        value: u64,
    },
    /// The broker refused a request without which the run makes no sense.
    #[error("the broker answered code {code} to {request}")]
    Refused {
        /// The request, in words.
        request: &'static str,
        /// RocketMQ's response code.
        code: i32,
    },
    /// The topic could not be created before the run.
    #[error("cannot create the topic: {0}")]
    Topic(#[from] client::ClientError),
    /// A file with results of earlier runs that cannot be read.
    #[error("{path}, line {line}: {reason}")]
    Results {
        /// The file.
        path: String,
        /// Line, from 1; 0 when the file as a whole is meant.
        line: usize,
        /// What was wrong.
        reason: String,
    },
}

impl LoadError {
    /// For `map_err`: names what was being done.
    pub fn io(doing: &'static str) -> impl FnOnce(io::Error) -> LoadError {
        move |source| LoadError::Io { doing, source }
    }
}
