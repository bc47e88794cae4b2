//! Why an administrative call gave no result: which server, which request, what it said.

use std::io;
use std::time::Duration;

use proto::body::BodyError;
use proto::code::{request, response};

use crate::ClientError;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No name server was given.
    #[error("no name server address is known")]
    NoNameServer,
    /// None of several name servers could be asked; why each was not.
    #[error("no name server answered: {}", listed(.0))]
    NameServers(Vec<AdminError>),
    /// Nothing accepts connections there.
    #[error("cannot connect to {addr}: {source}")]
    Connect {
        /// `host:port`.
        addr: String,
        /// What the system said.
        source: io::Error,
    },
    /// The connection ended before the answer came.
    #[error("{addr} closed the connection before it answered {}{}", request_name(*.request), because(.reason))]
    Closed {
        /// `host:port`.
        addr: String,
        /// Request code.
        request: i32,
        /// Why it ended, empty when the server just closed it.
        reason: String,
    },
    /// No answer in time.
    #[error("{addr} did not answer {} within {after:?}", request_name(*.request))]
    Timeout {
        /// `host:port`.
        addr: String,
        /// Request code.
        request: i32,
        /// How long we waited.
        after: Duration,
    },
    /// The server said no.
    #[error("{addr} refused {}: {remark} (code {code} {})", request_name(*.request), response::name(*.code).unwrap_or("unknown"))]
    Refused {
        /// `host:port`.
        addr: String,
        /// Request code.
        request: i32,
        /// Response code.
        code: i32,
        /// Its reason in words.
        remark: String,
    },
    /// The answer has a body that cannot be read.
    #[error("{addr} answered {} with an unreadable body: {source}", request_name(*.request))]
    Body {
        /// `host:port`.
        addr: String,
        /// Request code.
        request: i32,
        /// What is wrong with it.
        source: BodyError,
    },
    /// The answer lacks a field, or holds a torn message.
    #[error("{addr} answered {} with {source}", request_name(*.request))]
    Answer {
        /// `host:port`.
        addr: String,
        /// Request code.
        request: i32,
        /// What is wrong with it.
        source: ClientError,
    },
    /// A request that would not fit a frame.
    #[error("a request of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Bytes of fields and body.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A message id that names no place: only ids given out by brokers do.
    #[error("{id:?} is no message id of a broker: {source}")]
    MessageId {
        /// The id.
        id: String,
        /// What is wrong with it.
        source: proto::message_id::MessageIdError,
    },
    /// What was asked for is not there.
    #[error("{what}")]
    NotFound {
        /// What was looked for, where.
        what: String,
        /// The response code that Java's client makes of it.
        code: i32,
    },
    /// Bytes of a message that do not decompress.
    #[error("the body of message {id} does not decompress: {reason}")]
    Compressed {
        /// Its id.
        id: String,
        /// Why.
        reason: String,
    },
}

impl AdminError {
    /// The response code of a refusal, or the one that Java's client makes of what is not found.
    pub fn code(&self) -> Option<i32> {
        match self {
            AdminError::Refused { code, .. } | AdminError::NotFound { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether nobody could be asked, so that another server may be.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            AdminError::Connect { .. } | AdminError::Closed { .. } | AdminError::Timeout { .. }
        )
    }
}

fn request_name(code: i32) -> String {
    request::name(code).map_or_else(|| format!("request {code}"), |name| format!("{name} ({code})"))
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn listed(errors: &[AdminError]) -> String {
    errors.iter().map(AdminError::to_string).collect::<Vec<_>>().join("; ")
}
