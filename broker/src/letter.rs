//! What travels: replies on their way home, and the letters between executors.
//!
//! A request makes at most one hop out and one hop back. Letters are small; what is large is boxed.

use crate::{
    control::Meta,
    error::Refusal,
    front::outbox::OnTheWay,
    pull::PullOp,
    query,
    send::AppendOp,
    survey::{Findings, Question},
};
use proto::frame::HeaderKind;
use std::{cell::Cell, net::SocketAddr, sync::Arc};
use store::{PhysicalOffset, lookup::KeyQuery};

/// A connection of this broker: 16 bits home executor, 24 bits generation, 24 bits slot in the home's table. A stale
/// id never names a later connection (until 16 million of them used one slot).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// Connections per executor, at most.
    pub const SLOTS_MAX: usize = 1 << 24;

    /// An id; the generation wraps.
    pub fn new(home: usize, generation: u32, slot: usize) -> ConnectionId {
        assert!(home < 1 << 16);
        assert!(slot < Self::SLOTS_MAX);
        let generation = u64::from(generation & 0xFF_FFFF);
        ConnectionId((home as u64) << 48 | generation << 24 | slot as u64)
    }

    /// Executor that holds the connection.
    pub fn home(self) -> usize {
        (self.0 >> 48) as usize
    }

    /// Slot in the home's table.
    pub fn slot(self) -> usize {
        (self.0 & 0xFF_FFFF) as usize
    }

    /// As an opaque number.
    pub fn to_u64(self) -> u64 {
        self.0
    }

    /// From an opaque number that [`ConnectionId::to_u64`] gave.
    pub fn from_u64(number: u64) -> ConnectionId {
        ConnectionId(number)
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address.
    pub addr: SocketAddr,
    /// Our name for the connection.
    pub connection: ConnectionId,
    /// It came through the second port, which serves everything but pulls.
    pub vip: bool,
}

/// The right and duty to answer one request. Spent exactly once: by an answer, or by waiting in a place that answers
/// later. Dropping an unspent one is a bug: the client would wait for its timeout.
#[derive(Debug)]
pub struct Reply {
    /// Where the request came from.
    pub connection: ConnectionId,
    /// The request's number on that connection.
    pub opaque: i32,
    /// Kind of header that the request had, and the answer will have.
    pub kind: HeaderKind,
    /// Nobody waits for an answer.
    pub oneway: bool,
    /// Bytes that the request counts for in its connection's limit until it is answered.
    pub charge: u32,
    spent: bool,
}

impl Reply {
    /// The reply of one request.
    pub fn new(
        connection: ConnectionId,
        opaque: i32,
        kind: HeaderKind,
        oneway: bool,
        charge: u32,
    ) -> Reply {
        Reply { connection, opaque, kind, oneway, charge, spent: false }
    }

    /// Marks it spent. Called where the answer is written or the connection is known to be gone.
    pub fn spend(&mut self) {
        debug_assert!(!self.spent, "a reply is spent once");
        self.spent = true;
    }
}

thread_local! {
    static ENDING: Cell<bool> = const { Cell::new(false) };
}

/// From now on replies of this thread may be dropped unspent: the executor ends, and its connections with it.
pub fn end_replies() {
    ENDING.set(true);
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.spent && !ENDING.get() && !std::thread::panicking() {
            tracing::error!(opaque = self.opaque, "a request was dropped without an answer");
            debug_assert!(self.spent, "a request was dropped without an answer");
        }
    }
}

/// A stored message or batch.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Queue that was written.
    pub queue_id: u32,
    /// Offset of the (first) message in it.
    pub queue_offset: i64,
    /// Place of the (first) message in the log.
    pub physical: PhysicalOffset,
    /// Places of the other messages of a batch.
    pub more: Option<Box<[PhysicalOffset]>>,
}

/// The answer to a pull.
#[derive(Debug)]
pub struct Pulled {
    /// 0, 19, 20 or 21.
    pub code: i32,
    /// Name of the status.
    pub status: &'static str,
    /// Where to go on.
    pub next_offset: i64,
    /// First offset of the queue.
    pub min_offset: i64,
    /// Behind the last offset of the queue.
    pub max_offset: i64,
    /// Queue offsets that the answer covers, matching or not: what a client that gets no body goes back by.
    pub span: i64,
    /// Records, one behind the other.
    pub body: Vec<u8>,
    /// Counts the body while it travels.
    pub on_the_way: Option<OnTheWay>,
}

impl Pulled {
    /// The same without messages, for a peer that does not read what it already has. Nothing is lost: it asks for
    /// `offset` again.
    pub fn clogged(&self, offset: i64) -> Pulled {
        Pulled {
            code: proto::code::response::PULL_NOT_FOUND,
            status: "CONNECTION_CLOGGED",
            next_offset: offset,
            min_offset: self.min_offset,
            max_offset: self.max_offset,
            span: 0,
            body: Vec::new(),
            on_the_way: None,
        }
    }
}

/// What a request is answered with.
#[derive(Debug)]
pub enum Answer {
    /// Success, nothing else to say.
    Done,
    /// Stored.
    Sent(Sent),
    /// Not stored; carries the fields that send responses always have.
    SendRefused(Box<Refusal>),
    /// Not served.
    Refused(Box<Refusal>),
    /// Success with one number in the named ext field.
    Number(&'static str, i64),
    /// A pull's result.
    Pulled(Box<Pulled>),
    /// Success with a body, and ext fields.
    Body(Vec<u8>, Vec<(&'static str, String)>),
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Answer {
        Answer::Refused(Box::new(refusal))
    }
}

impl Answer {
    /// Success with a body.
    pub fn body(body: Vec<u8>) -> Answer {
        Answer::Body(body, Vec::new())
    }
}

/// A message from one executor to another.
pub enum Letter {
    /// A request that another executor serves: its whole frame.
    Frame(Box<ForwardedFrame>),
    /// Records to append, encoded where the socket is.
    Append(Box<AppendOp>),
    /// A pull that was admitted where the socket is.
    Pull(Box<PullOp>),
    /// An answer on its way home.
    Answer(Reply, Answer),
    /// A new snapshot of topics, groups and subscriptions.
    Meta(Arc<Meta>),
    /// The connection has ended.
    Gone(ConnectionId),
    /// A request of ours for a client: a whole frame.
    Push(ConnectionId, Arc<[u8]>),
    /// Ends a connection that is silent or was replaced.
    Close(ConnectionId),
    /// A topic was deleted.
    TopicRemoved(Arc<str>),
    /// A group was deleted, with its offsets.
    GroupRemoved(Arc<str>),
    /// Executor 0 asks what the shards here know.
    Ask(u64, Box<Question>),
    /// The answer to [`Letter::Ask`].
    Told(u64, Box<Findings>),
    /// An executor asks for messages with a key.
    Find(u64, Box<KeyQuery>),
    /// The answer to [`Letter::Find`].
    Found(u64, Box<Result<query::Findings, Refusal>>),
}

/// A request on its way to the executor that serves it.
pub struct ForwardedFrame {
    /// To be answered there.
    pub reply: Reply,
    /// Who asked.
    pub peer: Peer,
    /// All bytes of the frame.
    pub frame: Box<[u8]>,
}

const _: () = assert!(size_of::<Letter>() <= 128);
