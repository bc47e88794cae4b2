//! Messages between workers. They are small; what is large is boxed. Sent by [`crate::worker::Worker`], received by
//! [`crate::inbox`]. A request makes at most one hop out and one hop back; one that has a topic or a group created makes
//! one more, over the control worker.

use crate::{
    control::MetadataSnapshot,
    ops::{AppendOp, PullOp},
    request::KeptRequest,
    response::{Responder, Response},
    worker::Worker,
};
use remoting::ConnectionId;
use std::{any::Any, rc::Rc, sync::Arc};

/// A function that runs on another worker: see [`crate::calls`].
pub type Call = Box<dyn FnOnce(&Rc<Worker>, ReturnAddress) + Send>;

/// A message from one worker to another.
pub enum CoreMessage {
    /// A request that another worker serves.
    Request(Box<KeptRequest>),
    /// Records to append, encoded where the socket is.
    Append(Box<AppendOp>),
    /// A pull that was admitted where the socket is.
    Pull(Box<PullOp>),
    /// A response, for the worker of its connection.
    Respond(Responder, Response),
    /// Something that workers must know.
    Notice(Notice),
    /// A request of ours for a client: a whole frame.
    Push(ConnectionId, Arc<[u8]>),
    /// A function to run there, for a worker that waits for what it returns.
    Call(ReturnAddress, Call),
    /// What a function returned, by the number of its call.
    Return(u64, Box<dyn Any + Send>),
}

/// What workers must know. Each is idempotent.
#[derive(Clone)]
pub enum Notice {
    /// A new snapshot of topics, groups and subscriptions.
    Metadata(Arc<MetadataSnapshot>),
    /// A worker has the snapshot of a version, for the control worker.
    MetadataKnown {
        /// Its number.
        worker: usize,
        /// The version.
        version: u64,
    },
    /// A connection has ended.
    ConnectionClosed(ConnectionId),
    /// Ends a connection that is silent or was replaced.
    CloseConnection(ConnectionId),
    /// There may be something to pop of a topic for those that wait for this queue, or for any.
    PopGrew(Arc<str>, Option<u32>),
}

/// Who waits for what a [`Call`] returns.
#[derive(Clone, Copy, Debug)]
pub struct ReturnAddress {
    /// Number of the worker.
    pub worker: usize,
    /// Number of the call there.
    pub number: u64,
}

const _: () = assert!(size_of::<CoreMessage>() <= 128);
