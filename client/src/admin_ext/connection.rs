//! One connection of the admin API: requests out, answers back to whoever waits for their opaque.
//!
//! A task reads; callers write their frame whole, one after the other. A caller that gives up takes its place in the
//! table along, so the table holds nothing but callers that wait. A frame that was written in part ends the connection:
//! the peer could never find the next one.

use std::collections::HashMap;
use std::ops::ControlFlow::{Break, Continue};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::command::{self, ExtValue, HeaderArena, Language, RequestHead};
use proto::frame::{FRAME_BYTES_MAX, HeaderKind};
use remoting::FrameReader;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::error::AdminError;
use super::transport::{Stream, Transport};
use crate::Answer;

const READ_BYTES: usize = 64 << 10;
/// Room for what a frame has besides field texts and body.
const HEAD_BYTES: usize = 1024;

/// A request without its opaque.
pub(super) struct Outgoing<'a> {
    pub(super) code: i32,
    pub(super) ext: &'a [(&'a str, ExtValue<'a>)],
    pub(super) body: &'a [u8],
    pub(super) language: Language,
}

impl Outgoing<'_> {
    /// Refused before anything is written, because the peer would close the connection.
    fn check(&self) -> Result<(), AdminError> {
        let texts = self.ext.iter().map(|(name, value)| match value {
            ExtValue::Str(text) => name.len() + text.len(),
            _ => name.len() + 32,
        });
        let bytes = texts.sum::<usize>() + self.body.len() + HEAD_BYTES;
        let limit = FRAME_BYTES_MAX;
        if bytes > limit { Err(AdminError::TooLarge { bytes, limit }) } else { Ok(()) }
    }
}

/// A connection to a name server or broker.
pub(super) struct Connection {
    addr: String,
    writer: tokio::sync::Mutex<Writer>,
    waiting: Arc<Waiting>,
    next_opaque: AtomicI32,
    reader: JoinHandle<()>,
}

struct Writer {
    half: WriteHalf<Stream>,
    /// A frame is under way; still so at the next write when its caller gave up in the middle.
    midway: bool,
}

/// Who waits for an answer, by opaque.
#[derive(Default)]
struct Waiting {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    callers: HashMap<i32, oneshot::Sender<Answer>>,
    /// Why the connection ended.
    ended: Option<String>,
}

impl Waiting {
    fn with<T>(&self, run: impl FnOnce(&mut Table) -> T) -> T {
        run(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nobody is answered any more.
    fn end(&self, reason: String) {
        self.with(|table| {
            table.callers.clear();
            table.ended.get_or_insert(reason);
        });
    }
}

/// The place of a caller in the table, given up with it.
struct Place<'a> {
    waiting: &'a Waiting,
    opaque: i32,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.with(|table| table.callers.remove(&self.opaque));
    }
}

impl Connection {
    /// Connects, within `timeout`.
    pub(super) async fn open(
        addr: &str,
        transport: &Transport,
        timeout: Duration,
    ) -> Result<Connection, AdminError> {
        let connecting = tokio::time::timeout(timeout, transport.connect(addr)).await;
        let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, "timed out");
        let stream = connecting.unwrap_or_else(|_| Err(late()));
        let stream =
            stream.map_err(|source| AdminError::Connect { addr: addr.to_owned(), source })?;
        let (read, half) = split(stream);
        let waiting = Arc::new(Waiting::default());
        let reader = tokio::spawn(read_answers(read, Arc::clone(&waiting)));
        Ok(Connection {
            addr: addr.to_owned(),
            writer: tokio::sync::Mutex::new(Writer { half, midway: false }),
            waiting,
            next_opaque: AtomicI32::new(0),
            reader,
        })
    }

    /// Whether another one is needed.
    pub(super) fn has_ended(&self) -> bool {
        self.waiting.with(|table| table.ended.is_some())
    }

    /// Sends a request and waits for its answer, whatever its code.
    pub(super) async fn call(
        &self,
        request: &Outgoing<'_>,
        timeout: Duration,
    ) -> Result<Answer, AdminError> {
        request.check()?;
        let deadline = Instant::now() + timeout;
        let late = |_| AdminError::Timeout {
            addr: self.addr.clone(),
            request: request.code,
            after: timeout,
        };
        let opaque = self.next_opaque.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        let _place = Place { waiting: &self.waiting, opaque };
        let open = self.waiting.with(|table| {
            let open = table.ended.is_none();
            if open {
                table.callers.insert(opaque, sender);
            }
            open
        });
        if !open {
            return Err(self.closed(request.code));
        }
        timeout_at(deadline, self.write(request, opaque)).await.map_err(late)??;
        let answer = timeout_at(deadline, receiver).await.map_err(late)?;
        answer.map_err(|_| self.closed(request.code))
    }

    async fn write(&self, request: &Outgoing<'_>, opaque: i32) -> Result<(), AdminError> {
        let head = RequestHead {
            code: request.code,
            language: request.language,
            version: command::OUR_VERSION,
            opaque,
            oneway: false,
            remark: None,
            ext: request.ext,
        };
        let mut frame = Vec::with_capacity(HEAD_BYTES + request.body.len());
        command::write_request(&mut frame, HeaderKind::Json, &head, request.body);
        let mut writer = self.writer.lock().await;
        if writer.midway {
            self.waiting.end("a request was written in part".to_owned());
            return Err(self.closed(request.code));
        }
        writer.midway = true;
        let written = writer.half.write_all(&frame).await;
        writer.midway = false;
        written.map_err(|error| {
            self.waiting.end(error.to_string());
            self.closed(request.code)
        })
    }

    fn closed(&self, request: i32) -> AdminError {
        let reason = self.waiting.with(|table| table.ended.clone().unwrap_or_default());
        AdminError::Closed { addr: self.addr.clone(), request, reason }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Hands out answers until the connection ends. Requests of the server are not for us.
async fn read_answers(mut read: ReadHalf<Stream>, waiting: Arc<Waiting>) {
    let mut frames = FrameReader::default();
    let mut arena = HeaderArena::default();
    let mut bytes = vec![0; READ_BYTES];
    let reason = loop {
        let count = match read.read(&mut bytes).await {
            Ok(0) => break String::new(),
            Ok(count) => count,
            Err(error) => break error.to_string(),
        };
        let mut unreadable = None;
        let fed = frames.feed(bytes.get(..count).unwrap_or_default(), |frame, _| {
            match command::decode(frame.kind, frame.header, &mut arena) {
                Ok(header) if header.is_response() => {
                    let caller = waiting.with(|table| table.callers.remove(&header.opaque));
                    if let Some(caller) = caller {
                        // A caller that is gone wants nothing.
                        let _ = caller.send(Answer::new(frame.kind, &header, frame.body));
                    }
                    Continue(())
                }
                Ok(_) => Continue(()),
                Err(error) => {
                    unreadable = Some(error.to_string());
                    Break(())
                }
            }
        });
        if let Some(reason) = unreadable.or_else(|| fed.err().map(|error| error.to_string())) {
            break reason;
        }
    };
    waiting.end(reason);
}
