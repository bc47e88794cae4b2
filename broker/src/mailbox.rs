//! Messages between workers. They are small; what is large is boxed. Sent by [`crate::worker::Worker`], received by
//! [`crate::inbox`]. A request makes at most one hop out and one hop back.

use crate::{
    control::MetadataSnapshot,
    error::Refusal,
    gather::{ShardQuery, ShardReport},
    handlers::query_message::KeyReport,
    ops::{AppendOp, PullOp},
    response::{Responder, Response},
};
use remoting::{ConnectionId, Peer};
use std::sync::Arc;
use store::lookup::KeyQuery;

/// A message from one worker to another.
pub enum CoreMessage {
    /// A request that another worker serves: its whole frame.
    Request(Box<ForwardedRequest>),
    /// Records to append, encoded where the socket is.
    Append(Box<AppendOp>),
    /// A pull that was admitted where the socket is.
    Pull(Box<PullOp>),
    /// A response, for the worker of its connection.
    Respond(Responder, Response),
    /// Something that workers are told.
    Notice(Notice),
    /// A request of ours for a client: a whole frame.
    Push(ConnectionId, Arc<[u8]>),
    /// The control worker asks what the shards here know.
    Query(u64, Box<ShardQuery>),
    /// The response to [`CoreMessage::Query`].
    Report(u64, Box<ShardReport>),
    /// A worker asks for messages with a key.
    FindKey(u64, Box<KeyQuery>),
    /// The response to [`CoreMessage::FindKey`].
    KeyReport(u64, Box<Result<KeyReport, Refusal>>),
}

/// What workers are told. Each is idempotent.
#[derive(Clone)]
pub enum Notice {
    /// A new snapshot of topics, groups and subscriptions.
    Metadata(Arc<MetadataSnapshot>),
    /// A connection has ended.
    ConnectionClosed(ConnectionId),
    /// Ends a connection that is silent or was replaced.
    CloseConnection(ConnectionId),
    /// A topic was deleted.
    TopicRemoved(Arc<str>),
    /// A group was deleted, with its offsets.
    GroupRemoved(Arc<str>),
}

/// A request on its way to the worker that serves it.
pub struct ForwardedRequest {
    /// To be answered there.
    pub responder: Responder,
    /// Who asked.
    pub peer: Peer,
    /// All bytes of the frame.
    pub frame: Box<[u8]>,
}

const _: () = assert!(size_of::<CoreMessage>() <= 128);
