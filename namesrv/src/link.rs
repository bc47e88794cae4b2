//! One connection: a reader task that turns frames into answers and a writer task that sends them in batches.
//!
//! The reader handles one request after the other, so answers leave in the order of requests. It stops reading
//! while the peer leaves too many answers unread, and the tick ends connections that do not move. Hostile bytes end the
//! connection that sent them and nothing else.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    task::{Poll, Waker},
};

use proto::{
    code::response,
    command::{self, HeaderArena},
    frame::{self, Frame, HeaderKind},
};
use runtime::{Closer, Millis, Reader, Writer};

use crate::{
    handle::{self, Answer, Request},
    routes::ConnectionId,
    server::{Server, log_dropped},
};

/// Unsent bytes of one connection at which its further requests wait. One answer more may be added beyond it.
pub(crate) const OUTPUT_BYTES_HIGH: usize = 1024 * 1024;
/// A connection whose peer takes no byte of what it asked for during this time is closed, ms.
pub(crate) const WRITE_STALL_MS_MAX: Millis = 30_000;
/// Read buffer of an idle connection, bytes.
const INPUT_BYTES_IDLE: usize = 4 * 1024;
/// Read buffers larger than this are given back when they are empty, bytes.
const INPUT_BYTES_KEPT: usize = 64 * 1024;
/// Bytes of one write; after each the connection counts as moving.
const WRITE_BYTES: usize = 256 * 1024;

/// What reader, writer and tick share of one connection.
pub(crate) struct Link {
    id: ConnectionId,
    peer: SocketAddr,
    closer: Closer,
    /// Answers that the writer has not taken yet.
    outbox: RefCell<Vec<u8>>,
    /// Bytes that the writer has taken and not yet sent.
    sending: Cell<usize>,
    /// No more answers will come: the writer ends when it has sent what there is.
    finished: Cell<bool>,
    /// Sending failed: answers are thrown away.
    broken: Cell<bool>,
    /// When the last byte went in or out.
    last_moved: Cell<Millis>,
    wake_writer: RefCell<Option<Waker>>,
    wake_reader: RefCell<Option<Waker>>,
}

impl Link {
    pub(crate) fn new(id: ConnectionId, peer: SocketAddr, closer: Closer, now: Millis) -> Link {
        Link {
            id,
            peer,
            closer,
            outbox: RefCell::default(),
            sending: Cell::new(0),
            finished: Cell::new(false),
            broken: Cell::new(false),
            last_moved: Cell::new(now),
            wake_writer: RefCell::default(),
            wake_reader: RefCell::default(),
        }
    }

    /// The other end.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Ends the connection; both tasks notice by themselves.
    pub(crate) fn close(&self) {
        self.closer.close();
    }

    /// Why this connection should be closed now, if it should.
    pub(crate) fn overdue(&self, now: Millis, idle_max: Millis) -> Option<&'static str> {
        let still = now.saturating_sub(self.last_moved.get());
        if !self.is_drained() && still > WRITE_STALL_MS_MAX {
            return Some("peer does not read its answers");
        }
        (still > idle_max).then_some("idle")
    }

    /// Whether every answer was handed to the kernel.
    pub(crate) fn is_drained(&self) -> bool {
        self.unsent() == 0
    }

    fn unsent(&self) -> usize {
        self.outbox.borrow().len() + self.sending.get()
    }

    fn push(&self, answer: &Answer, kind: HeaderKind, opaque: i32) {
        if !self.broken.get() {
            answer.write_to(&mut self.outbox.borrow_mut(), kind, opaque);
            wake(&self.wake_writer);
        }
    }

    fn finish(&self) {
        self.finished.set(true);
        wake(&self.wake_writer);
    }

    /// Resolves when little enough is unsent to go on with the next request.
    async fn room(&self) {
        poll_fn(|context| {
            if self.broken.get() || self.unsent() < OUTPUT_BYTES_HIGH {
                return Poll::Ready(());
            }
            *self.wake_reader.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Swaps all answers that are waiting into `bytes` (which is empty); false when no more will ever come.
    async fn take_output(&self, bytes: &mut Vec<u8>) -> bool {
        poll_fn(|context| {
            let mut outbox = self.outbox.borrow_mut();
            if !outbox.is_empty() {
                std::mem::swap(&mut *outbox, bytes);
                self.sending.set(bytes.len());
                return Poll::Ready(true);
            }
            if self.finished.get() {
                return Poll::Ready(false);
            }
            *self.wake_writer.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

fn wake(slot: &RefCell<Option<Waker>>) {
    let waker = slot.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The reader task: ends when the peer closes, sends nonsense, or somebody closes the connection.
pub(crate) async fn read<M: Send + 'static>(
    server: Rc<Server<M>>,
    link: Rc<Link>,
    mut reader: Reader,
) {
    let (mut input, mut arena) = (Input::new(), HeaderArena::default());
    loop {
        match reader.read(input.space()).await {
            Ok(0) | Err(_) => break,
            Ok(bytes) => input.received(bytes),
        }
        link.last_moved.set(server.executor.now());
        if !handle_frames(&server, &link, &mut input, &mut arena).await {
            link.close();
            break;
        }
    }
    let now = server.executor.now();
    let dropped = server.state.borrow_mut().routes_mut().connection_closed(link.id, now);
    for broker in &dropped {
        log_dropped(broker, "its connection ended");
    }
    link.finish();
}

/// The writer task: sends what the reader has put out, everything there is in one go.
pub(crate) async fn write<M: Send + 'static>(
    server: Rc<Server<M>>,
    link: Rc<Link>,
    mut writer: Writer,
) {
    let mut bytes = Vec::new();
    while !link.broken.get() && link.take_output(&mut bytes).await {
        for chunk in bytes.chunks(WRITE_BYTES) {
            if writer.write_all(chunk).await.is_err() {
                link.broken.set(true);
                link.close();
                break;
            }
            link.last_moved.set(server.executor.now());
            link.sending.set(link.sending.get() - chunk.len());
            wake(&link.wake_reader);
        }
        bytes.clear();
        bytes.shrink_to(INPUT_BYTES_KEPT);
    }
    link.sending.set(0);
    link.outbox.borrow_mut().clear();
    wake(&link.wake_reader);
    server.links.borrow_mut().remove(&link.id);
}

/// Handles every whole frame of the input; false when the connection must end.
async fn handle_frames<M: Send + 'static>(
    server: &Server<M>,
    link: &Link,
    input: &mut Input,
    arena: &mut HeaderArena,
) -> bool {
    loop {
        link.room().await;
        let step = match frame::next_frame(input.unread()) {
            Ok(Some(frame)) => {
                // A bug that foreign bytes bring out must not take the process, and the broker inside it, along.
                let step =
                    catch_unwind(AssertUnwindSafe(|| handle_frame(server, link, arena, &frame)));
                (frame.wire_bytes, step)
            }
            Ok(None) => {
                input.make_room();
                return true;
            }
            Err(error) => {
                tracing::warn!(peer = %link.peer, %error, "connection closed: not a frame");
                return false;
            }
        };
        let (wire_bytes, Ok(handled)) = step else {
            tracing::error!(peer = %link.peer, "connection closed: handling a request panicked, which is a bug");
            return false;
        };
        match handled {
            Handled::Nothing => {}
            Handled::Close => return false,
            Handled::Answer { mut answer, to } => {
                if let Some(what) = answer.save.take()
                    && let Err(error) =
                        server.saver.save(&server.executor, &server.state, what).await
                {
                    tracing::error!(%error, ?what, "cannot write a configuration file");
                    answer = Answer::refuse(
                        response::SYSTEM_ERROR,
                        format!("changed in memory, but not on disk: {error}"),
                    );
                }
                if let Some((kind, opaque)) = to {
                    link.push(&answer, kind, opaque);
                }
            }
        }
        input.consume(wire_bytes);
    }
}

/// What a frame leads to. `to` is None for requests that nobody waits for.
enum Handled {
    Nothing,
    Close,
    Answer { answer: Answer, to: Option<(HeaderKind, i32)> },
}

fn handle_frame<M: Send + 'static>(
    server: &Server<M>,
    link: &Link,
    arena: &mut HeaderArena,
    frame: &Frame<'_>,
) -> Handled {
    let header = match command::decode(frame.kind, frame.header, arena) {
        Ok(header) => header,
        Err(error) => {
            tracing::warn!(peer = %link.peer, %error, "connection closed: not a command header");
            return Handled::Close;
        }
    };
    if header.is_response() {
        // We ask nobody; an answer can only be a confused peer's.
        return Handled::Nothing;
    }
    let request = Request { header: &header, body: frame.body, connection: link.id };
    let answer = handle::handle(&mut server.state.borrow_mut(), &request, server.executor.now());
    let to = (!header.is_oneway()).then_some((frame.kind, header.opaque));
    Handled::Answer { answer, to }
}

/// Received bytes of one connection. Grows with what really arrives, never with what a length word promises.
struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    fn new() -> Input {
        Input { buffer: vec![0; INPUT_BYTES_IDLE], start: 0, end: 0 }
    }

    fn space(&mut self) -> &mut [u8] {
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        assert!(!space.is_empty(), "make_room leaves room");
        space
    }

    fn received(&mut self, bytes: usize) {
        self.end += bytes;
        assert!(self.end <= self.buffer.len());
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        assert!(self.start <= self.end);
    }

    /// Moves the incomplete frame to the front and makes the buffer longer when it is full. There is
    /// always room, because a frame has a limit.
    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == 0 && self.buffer.len() > INPUT_BYTES_KEPT {
            self.buffer = vec![0; INPUT_BYTES_IDLE];
        }
        if self.end == self.buffer.len() {
            let limit = frame::FRAME_BYTES_MAX + frame::LENGTH_BYTES;
            assert!(self.end < limit, "a frame of the largest size is complete");
            let longer = (self.buffer.len() * 2).min(limit);
            self.buffer.resize(longer, 0);
        }
    }
}
