//! Everything that can go wrong between asking and knowing.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use proto::command::HeaderError;
use proto::frame::FrameError;
use proto::record::RecordError;

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server does not accept connections.
    #[error("cannot connect to {addr}: {source}")]
    Connect {
        /// Where to.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Reading or writing failed.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    /// The server closed the connection while we waited.
    #[error("the server closed the connection")]
    Closed,
    /// Nothing (or not enough) came within the connection's timeout.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server sent something that is no frame.
    #[error("bad frame: {0}")]
    Frame(#[from] FrameError),
    /// The server sent a frame with an unreadable header.
    #[error("bad header: {0}")]
    Header(#[from] HeaderError),
    /// The server refused. Code and remark as it sent them.
    #[error("refused with code {code} ({name}): {remark}", name = proto::code::response::name(*code).unwrap_or("unknown"))]
    Refused {
        /// RocketMQ's response code.
        code: i32,
        /// The reason in words, empty if there was none.
        remark: String,
    },
    /// An ext field that must be in this answer is missing or no number.
    #[error("answer without a usable field `{field}`: {value:?}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// Its value, if it is there.
        value: Option<String>,
    },
    /// A body holds a torn or corrupt message.
    #[error("bad message in a body: {0}")]
    Record(#[from] RecordError),
    /// A body is not the JSON that it should be.
    #[error("bad JSON body: {reason}: {text}")]
    Json {
        /// What is wrong.
        reason: String,
        /// The beginning of the body.
        text: String,
    },
    /// A batch that cannot be written.
    #[error("batch: {0}")]
    Batch(#[from] proto::batch::BatchError),
    /// An answer to this ticket was already taken, or the ticket belongs to another connection.
    #[error("nothing in flight with opaque {0}")]
    UnknownTicket(i32),
}

impl ClientError {
    /// The response code of a refusal.
    pub fn code(&self) -> Option<i32> {
        match self {
            ClientError::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}
