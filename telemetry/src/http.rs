//! HTTP/1.1 for operators: GET and HEAD of a few paths, on one executor, beside its other work.
//!
//! Whoever reaches the port is a stranger, and everything is bounded: connections ([`CONNECTIONS_MAX`]; a new one ends the
//! one that has been waiting for a request for the longest), a request's head ([`HEAD_BYTES_MAX`], [`HEAD_WITHIN`]), an answer
//! ([`ANSWER_WITHIN`], whoever reads slowly), silence ([`SILENCE_MAX`]). Requests of a connection are answered one after the
//! other. What is asked for, and what it costs, is the answerer's.
//!
//! Absent on purpose: bodies of requests, compression, TLS. A port for the whole network belongs behind a proxy.

use std::{
    cell::RefCell, collections::BTreeMap, fmt::Write as _, future::Future, io, pin::Pin, rc::Rc,
    time::Duration,
};

use futures_lite::FutureExt;
use runtime::{Closer, Connection, Executor, Listener, Reader, Uptime, Writer};

mod head;

use head::{Head, Problem, read_head};

/// Connections at once.
pub const CONNECTIONS_MAX: usize = 32;
/// Bytes of a request's head: the line, its headers, and the empty line behind them.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// How long the head of a request may take from its first byte on.
pub const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long an answer may take to be read.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long a connection may wait for its next request. Prometheus asks every minute at most.
pub const SILENCE_MAX: Duration = Duration::from_secs(180);
/// What a refused peer has sent already is read for so long, so that it reads why.
const LINGER: Duration = Duration::from_millis(250);
/// Of that, so many bytes.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// Bytes read at a time.
const READ_BYTES: usize = 2 * 1024;

/// The media type of a sentence.
const TEXT: &str = "text/plain; charset=utf-8";

/// What is answered.
pub struct Answer {
    /// The status: 200, 404, 503.
    pub status: u16,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body, in pieces.
    pub body: Vec<Vec<u8>>,
}

impl Answer {
    /// A sentence.
    pub fn text(status: u16, text: impl Into<String>) -> Answer {
        Answer { status, content_type: TEXT, body: vec![text.into().into_bytes()] }
    }

    /// A JSON document.
    pub fn json(status: u16, text: String) -> Answer {
        Answer { status, content_type: "application/json", body: vec![text.into_bytes()] }
    }
}

/// An answer to come.
pub type Answering = Pin<Box<dyn Future<Output = Answer>>>;

/// Who answers, given the path of a request.
pub type Answerer = Rc<dyn Fn(&str) -> Answering>;

/// Connections that are open.
#[derive(Default)]
struct Connections {
    open: BTreeMap<u64, Open>,
    last: u64,
}

struct Open {
    closer: Closer,
    /// Since when it has been waiting for a request; `None`: it is being answered.
    waits_since: Option<Uptime>,
}

impl Connections {
    /// Makes room for one more, at the cost of the one that has been waiting for the longest. False: all are being answered.
    fn make_room(&mut self) -> bool {
        if self.open.len() < CONNECTIONS_MAX {
            return true;
        }
        let waiting =
            self.open.iter().filter_map(|(number, open)| Some((open.waits_since?, *number)));
        let Some((_, longest)) = waiting.min() else { return false };
        if let Some(open) = self.open.remove(&longest) {
            open.closer.close();
        }
        true
    }

    fn add(&mut self, closer: Closer, now: Uptime) -> u64 {
        self.last += 1;
        self.open.insert(self.last, Open { closer, waits_since: Some(now) });
        self.last
    }

    fn set_waiting(&mut self, number: u64, since: Option<Uptime>) {
        if let Some(open) = self.open.get_mut(&number) {
            open.waits_since = since;
        }
    }
}

/// Serves until the listener breaks, which is the error.
pub async fn serve(executor: Executor, listener: Listener, answerer: Answerer) -> io::Error {
    let connections: Rc<RefCell<Connections>> = Rc::default();
    loop {
        let connection = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => return error,
        };
        if !connections.borrow_mut().make_room() {
            continue;
        }
        let (executor_of_it, answerer) = (executor.clone(), Rc::clone(&answerer));
        let connections = Rc::clone(&connections);
        executor.spawn(async move {
            serve_connection(&executor_of_it, connection, &answerer, &connections).await;
        });
    }
}

async fn serve_connection(
    executor: &Executor,
    connection: Connection,
    answerer: &Answerer,
    connections: &RefCell<Connections>,
) {
    let (mut reader, mut writer, closer) = connection.split();
    let number = connections.borrow_mut().add(closer, executor.uptime());
    let mut received = Vec::new();
    loop {
        let head = match read_head(executor, &mut reader, &mut received).await {
            Ok(Some(head)) => head,
            Ok(None) => break,
            Err(problem) => {
                refuse(executor, &mut reader, &mut writer, &problem).await;
                break;
            }
        };
        connections.borrow_mut().set_waiting(number, None);
        let answer = answerer(&head.path).await;
        if !write_within(executor, &mut writer, &answer, &head).await || !head.keep_alive {
            break;
        }
        connections.borrow_mut().set_waiting(number, Some(executor.uptime()));
    }
    connections.borrow_mut().open.remove(&number);
}

/// Whether all of it has left in time.
async fn write_within(
    executor: &Executor,
    writer: &mut Writer,
    answer: &Answer,
    head: &Head,
) -> bool {
    let written = async {
        let start = start_of(answer, head.keep_alive, None);
        writer.write_all(start.as_bytes()).await?;
        if !head.without_body {
            for piece in &answer.body {
                writer.write_all(piece).await?;
            }
        }
        Ok::<bool, io::Error>(true)
    };
    let late = async {
        executor.sleep(ANSWER_WITHIN).await;
        Ok(false)
    };
    written.or(late).await.unwrap_or(false)
}

/// Status line and headers, and the empty line behind them.
fn start_of(answer: &Answer, keep_alive: bool, allow: Option<&str>) -> String {
    let Answer { status, content_type, body } = answer;
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Status",
    };
    let bytes: usize = body.iter().map(Vec::len).sum();
    let mut start = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {bytes}\r\nCache-Control: no-store\r\n"
    );
    if let Some(allow) = allow {
        let _ = write!(start, "Allow: {allow}\r\n");
    }
    start.push_str(if keep_alive { "\r\n" } else { "Connection: close\r\n\r\n" });
    start
}

/// Says what is wrong with a request, of which nobody knows where it ends.
async fn refuse(executor: &Executor, reader: &mut Reader, writer: &mut Writer, problem: &Problem) {
    let answer = Answer::text(problem.status, format!("{}\n", problem.sentence));
    let allow = (problem.status == 405).then_some("GET, HEAD");
    let start = start_of(&answer, false, allow);
    let told = async {
        let mut bytes = start.into_bytes();
        bytes.extend(answer.body.concat());
        if writer.write_all(&bytes).await.is_ok() {
            // To close a socket with unread bytes takes back what was written.
            let (mut scratch, mut left) = ([0; READ_BYTES], LINGER_BYTES_MAX);
            while left > 0 {
                match reader.read(&mut scratch).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => left = left.saturating_sub(read),
                }
            }
        }
    };
    told.or(executor.sleep(LINGER)).await;
}
