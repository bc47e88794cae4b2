//! One connection: a reader task that turns frames into answers and a writer task that sends them in batches.
//!
//! The reader handles one request after the other, so answers leave in the order of requests. It stops reading
//! while the peer leaves too many answers unread, and the tick ends connections that do not move. Hostile bytes end the
//! connection that sent them and nothing else.

use std::{
    ops::ControlFlow::{Break, Continue},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use proto::{
    code::response,
    command::{self, HeaderArena},
    frame::{Frame, HeaderKind},
};
use remoting::{ConnectionId, FrameAccount, FrameReader, ReadHalf, WriteBuffer, WriteHalf};
use runtime::{Closer, Millis, Uptime};

use crate::{
    handle::{self, Request, Response, Save},
    server::{Server, log_dropped},
};

/// A connection whose peer takes nothing of what it asked for during this time is closed, ms: neither [`ALIVE_BYTES`] nor
/// all that is being written.
pub(crate) const WRITE_STALL_MS_MAX: Millis = 30_000;
/// Bytes of a write after which its peer counts as one that reads.
const ALIVE_BYTES: usize = 256 * 1024;

/// Why a connection should be closed now, if it should.
pub(crate) fn overdue(buffer: &WriteBuffer, now: Uptime, idle_max: Millis) -> Option<&'static str> {
    let still = now - buffer.alive_ms.get();
    if buffer.unsent_bytes() > 0 && still > WRITE_STALL_MS_MAX {
        return Some("peer does not read its answers");
    }
    (still > idle_max).then_some("idle")
}

/// The writer task: sends what the reader has put out, everything there is in one go.
pub(crate) async fn write(
    server: Rc<Server>,
    id: ConnectionId,
    buffer: Rc<WriteBuffer>,
    writer: WriteHalf,
) {
    remoting::write_loop(&server.executor, writer, &buffer, ALIVE_BYTES).await;
    buffer.close();
    server.connections.borrow_mut().close(id);
}

/// The reader task: ends when the peer closes, sends nonsense, or somebody closes the connection.
pub(crate) async fn read(
    server: Rc<Server>,
    id: ConnectionId,
    buffer: Rc<WriteBuffer>,
    mut reader: ReadHalf,
    closer: Closer,
) {
    let incomplete = server.frame_budget.open(buffer.addr, closer);
    let mut connection = Connection {
        id,
        buffer: Rc::clone(&buffer),
        frames: FrameReader::default(),
        arena: HeaderArena::default(),
    };
    loop {
        incomplete.may_read(|| buffer.is_closed()).await;
        let read = match reader.read_shared(&server.scratch, || incomplete.read_bytes_max()).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        buffer.alive_ms.set(server.executor.uptime());
        if connection.serve(&server, &incomplete, read).await.is_err() {
            buffer.close();
            break;
        }
    }
    let now = server.executor.uptime();
    let dropped = server.state.borrow_mut().routes_mut().connection_closed(id, now);
    server.state.borrow_mut().figures_mut().dropped(dropped.len());
    // At the end of this process nobody is surprised.
    for broker in dropped.iter().filter(|_| !server.is_stopping()) {
        log_dropped(broker, "its connection ended");
    }
    buffer.finish();
}

/// What the reader task knows of its connection.
struct Connection {
    id: ConnectionId,
    buffer: Rc<WriteBuffer>,
    frames: FrameReader,
    arena: HeaderArena,
}

/// The connection must end; the reason is logged.
struct MustEnd;

/// What a frame leads to. `to` is None for requests that nobody waits for.
enum Handled {
    Nothing,
    Close,
    Response { answer: Response, to: Option<(HeaderKind, i32)> },
}

/// An answer that waits until a file is written.
struct Unsaved {
    what: Save,
    answer: Response,
    to: Option<(HeaderKind, i32)>,
}

impl Connection {
    /// Handles every whole frame in what was just read.
    async fn serve(
        &mut self,
        server: &Server,
        incomplete: &FrameAccount,
        read: usize,
    ) -> Result<(), MustEnd> {
        let mut read = Some(read);
        loop {
            let mut must_end = false;
            let mut unsaved = None;
            let Connection { id, buffer, frames, arena } = self;
            let on_frame = |frame: &Frame<'_>, _: &[u8]| {
                match handle_caught(server, *id, buffer, arena, frame) {
                    Ok(Handled::Nothing) => return Continue(()),
                    Ok(Handled::Response { mut answer, to }) => match answer.save.take() {
                        Some(what) => unsaved = Some(Unsaved { what, answer, to }),
                        None => {
                            push(buffer, &answer, to);
                            if !buffer.is_full() {
                                return Continue(());
                            }
                        }
                    },
                    Ok(Handled::Close) | Err(MustEnd) => must_end = true,
                }
                Break(())
            };
            let fed = match read.take() {
                Some(read) => {
                    let scratch = server.scratch.borrow();
                    frames.feed(scratch.get(..read).unwrap_or_default(), on_frame)
                }
                None => frames.resume(on_frame),
            };
            let flow = fed.map_err(|error| {
                tracing::warn!(peer = %buffer.addr, %error, "connection closed: not a frame");
                MustEnd
            })?;
            if must_end {
                return Err(MustEnd);
            }
            // Before any wait: what the frames behind a stop hold counts from now on.
            incomplete.hold(frames, server.executor.uptime());
            if let Some(unsaved) = unsaved {
                incomplete.paused(save(server, buffer, unsaved)).await;
            }
            incomplete.wait_while_full(buffer).await;
            if buffer.is_closed() {
                return Err(MustEnd);
            }
            if flow.is_continue() {
                return Ok(());
            }
        }
    }
}

/// Writes the file that has to be on the disk before this answer leaves, then answers.
async fn save(server: &Server, buffer: &WriteBuffer, unsaved: Unsaved) {
    let Unsaved { what, mut answer, to } = unsaved;
    if let Err(error) = server.saver.save(&server.executor, &server.state, what).await {
        tracing::error!(%error, ?what, "cannot write a configuration file");
        answer = Response::refuse(
            response::SYSTEM_ERROR,
            format!("changed in memory, but not on disk: {error}"),
        );
    }
    push(buffer, &answer, to);
}

fn push(buffer: &WriteBuffer, answer: &Response, to: Option<(HeaderKind, i32)>) {
    if let Some((kind, opaque)) = to {
        buffer.write(|out| answer.write_to(out, kind, opaque));
    }
}

/// Handles a frame. A bug that foreign bytes bring out must not take the process, and the broker inside it, along.
fn handle_caught(
    server: &Server,
    id: ConnectionId,
    buffer: &WriteBuffer,
    arena: &mut HeaderArena,
    frame: &Frame<'_>,
) -> Result<Handled, MustEnd> {
    catch_unwind(AssertUnwindSafe(|| handle_frame(server, id, buffer, arena, frame))).map_err(|_| {
        tracing::error!(peer = %buffer.addr, "connection closed: handling a request panicked, which is a bug");
        MustEnd
    })
}

fn handle_frame(
    server: &Server,
    id: ConnectionId,
    buffer: &WriteBuffer,
    arena: &mut HeaderArena,
    frame: &Frame<'_>,
) -> Handled {
    let header = match command::decode(frame.kind, frame.header, arena) {
        Ok(header) => header,
        Err(error) => {
            tracing::warn!(peer = %buffer.addr, %error, "connection closed: not a command header");
            return Handled::Close;
        }
    };
    if header.is_response() {
        // We ask nobody; an answer can only be a confused peer's.
        return Handled::Nothing;
    }
    let request = Request { header: &header, body: frame.body, connection: id, addr: buffer.addr };
    let refusal = server.state.borrow().refusal(&request, buffer.addr.ip());
    let answer = refusal.unwrap_or_else(|| {
        handle::handle(&mut server.state.borrow_mut(), &request, server.executor.uptime())
    });
    let to = (!header.is_oneway()).then_some((frame.kind, header.opaque));
    Handled::Response { answer, to }
}
