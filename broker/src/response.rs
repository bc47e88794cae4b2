//! Responses, and the right to give one. A handler makes a [`Response`]; the [`Responder`] of its request takes it to
//! the worker of the connection, where [`crate::response_encoder`] writes it.

use crate::error::Refusal;
use proto::frame::HeaderKind;
use remoting::{ConnectionId, SharedBody, TransferPermit};
use std::{borrow::Cow, cell::Cell, fmt, future::Future, pin::Pin};
use store::PhysicalOffset;

/// The right and duty to answer one request. Spent exactly once: by an answer, or by waiting in a place that answers
/// later. Dropping an unspent one is a bug: the client would wait for its timeout.
#[derive(Debug)]
pub struct Responder {
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

impl Responder {
    /// The responder of one request.
    pub fn new(
        connection: ConnectionId,
        opaque: i32,
        kind: HeaderKind,
        oneway: bool,
        charge: u32,
    ) -> Responder {
        Responder { connection, opaque, kind, oneway, charge, spent: false }
    }

    /// Marks it spent. Called where the answer is written or the connection is known to be gone.
    pub fn spend(&mut self) {
        debug_assert!(!self.spent, "a responder is spent once");
        self.spent = true;
    }
}

thread_local! {
    static ENDING: Cell<bool> = const { Cell::new(false) };
}

/// From now on responders of this thread may be dropped unspent: the worker ends, and its connections with it.
pub fn allow_unanswered() {
    ENDING.set(true);
}

impl Drop for Responder {
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
    /// With this its producer can recall a message that names its time.
    pub recall_handle: Option<Box<str>>,
}

/// The answer to a pull.
#[derive(Debug)]
pub struct Pulled {
    /// 0, 19, 20 or 21.
    pub code: i32,
    /// Name of the status.
    pub status: Cow<'static, str>,
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
    pub permit: Option<TransferPermit>,
}

impl Pulled {
    /// The same without messages, for a connection that takes none now. Nothing is lost: it asks for `offset` again.
    pub fn without_messages(&self, offset: i64, why: impl fmt::Display) -> Pulled {
        Pulled {
            code: proto::code::response::PULL_NOT_FOUND,
            status: format!("CONNECTION_CLOGGED {why}").into(),
            next_offset: offset,
            min_offset: self.min_offset,
            max_offset: self.max_offset,
            span: 0,
            body: Vec::new(),
            permit: None,
        }
    }
}

/// The answer to a pop.
#[derive(Debug)]
pub struct PopAnswer {
    /// 0, 209, 210.
    pub code: i32,
    /// Name of the status, or why there is nothing.
    pub remark: Cow<'static, str>,
    /// Its ext fields.
    pub fields: Vec<(&'static str, String)>,
    /// Records, one behind the other.
    pub body: Vec<u8>,
}

/// What a request is answered with.
#[derive(Debug)]
pub enum Response {
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
    /// A pop's result.
    Popped(Box<PopAnswer>),
    /// Success with a body, and ext fields.
    Body(Vec<u8>, Vec<(&'static str, String)>),
    /// Success with a body that others hold, too.
    Shared(SharedBody),
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Response {
        Response::Refused(Box::new(refusal))
    }
}

impl Response {
    /// Success with a body.
    pub fn body(body: Vec<u8>) -> Response {
        Response::Body(body, Vec::new())
    }
}

/// The response to an administrative request, to come.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response, Refusal>>>>;
