//! The head of a request: read from the socket within bounds of bytes and time, and taken apart by `httparse`.

use std::time::Duration;

use futures_lite::FutureExt;
use httparse::Status;
use runtime::{Executor, Reader};

use super::{HEAD_BYTES_MAX, HEAD_WITHIN, READ_BYTES, SILENCE_MAX};

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// What is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The path, without a query.
    pub(super) path: String,
    /// HEAD: only what stands before the body.
    pub(super) without_body: bool,
    /// The connection stays for another request.
    pub(super) keep_alive: bool,
}

/// Why a request is not answered, and its connection ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) sentence: String,
}

impl Problem {
    fn new(status: u16, sentence: impl Into<String>) -> Problem {
        Problem { status, sentence: sentence.into() }
    }
}

/// The next head. What lies behind it stays in `received`. `None`: the peer has ended the connection, or was silent.
pub(super) async fn read_head(
    executor: &Executor,
    reader: &mut Reader,
    received: &mut Vec<u8>,
) -> Result<Option<Head>, Problem> {
    let mut began = (!received.is_empty()).then(|| executor.uptime());
    loop {
        if let Some((head, bytes)) = parse(received)? {
            received.drain(..bytes);
            return Ok(Some(head));
        }
        if received.len() >= HEAD_BYTES_MAX {
            let sentence = format!("the head of a request has at most {HEAD_BYTES_MAX} bytes");
            return Err(Problem::new(431, sentence));
        }
        let patience = match began {
            None => SILENCE_MAX,
            Some(began) => {
                let passed = u64::try_from(executor.uptime() - began).unwrap_or(0);
                HEAD_WITHIN.saturating_sub(Duration::from_millis(passed))
            }
        };
        let mut bytes = [0; READ_BYTES];
        let room = (HEAD_BYTES_MAX - received.len()).min(READ_BYTES);
        let read = async { Some(reader.read(&mut bytes[..room]).await) };
        let late = async {
            executor.sleep(patience).await;
            None
        };
        match read.or(late).await {
            Some(Ok(0) | Err(_)) => return Ok(None),
            Some(Ok(read)) => received.extend_from_slice(&bytes[..read]),
            None if began.is_none() => return Ok(None),
            None => {
                let seconds = HEAD_WITHIN.as_secs();
                let sentence = format!("the head of a request has to come within {seconds} s");
                return Err(Problem::new(408, sentence));
            }
        }
        began = began.or_else(|| Some(executor.uptime()));
    }
}

/// The head at the beginning of these bytes, and its length; `None`: it is not all there.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Problem> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            let sentence = format!("a request has at most {HEADERS_MAX} headers");
            return Err(Problem::new(431, sentence));
        }
        Err(error) => return Err(Problem::new(400, format!("no request of HTTP/1.1: {error}"))),
    };
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    if method != "GET" && method != "HEAD" {
        return Err(Problem::new(405, "only GET and HEAD are served here"));
    }
    let is = |name: &str, header: &httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
    let has_body = request.headers.iter().any(|header| {
        is("Transfer-Encoding", header) || (is("Content-Length", header) && header.value != b"0")
    });
    if has_body {
        return Err(Problem::new(413, "a request has no body here"));
    }
    let mut keep_alive = request.version == Some(1);
    for header in request.headers.iter().filter(|header| is("Connection", header)) {
        let words = header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        for word in words {
            if word.eq_ignore_ascii_case(b"close") {
                keep_alive = false;
            } else if word.eq_ignore_ascii_case(b"keep-alive") {
                keep_alive = true;
            }
        }
    }
    let path = target.split(['?', '#']).next().unwrap_or_default().to_owned();
    Ok(Some((Head { path, without_body: method == "HEAD", keep_alive }, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &str) -> u16 {
        parse(request.as_bytes()).expect_err(request).status
    }

    #[test]
    fn a_head_is_taken_apart_and_what_follows_stays() {
        let head = |path: &str, without_body, keep_alive| Head {
            path: path.to_owned(),
            without_body,
            keep_alive,
        };
        for (request, expected) in [
            ("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", head("/metrics", false, true)),
            ("HEAD / HTTP/1.1\r\nConnection: x, Close\r\n\r\n", head("/", true, false)),
            ("GET /ready HTTP/1.0\r\n\r\n", head("/ready", false, false)),
            ("GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", head("/a", false, true)),
            ("GET /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n", head("/a", false, true)),
        ] {
            let bytes = format!("{request}GET /next");
            assert_eq!(parse(bytes.as_bytes()), Ok(Some((expected, request.len()))));
            for end in 0..request.len() {
                assert_eq!(parse(&request.as_bytes()[..end]), Ok(None), "{end} of {request}");
            }
        }
    }

    #[test]
    fn what_is_no_request_is_refused_with_a_reason() {
        assert_eq!(status("POST /metrics HTTP/1.1\r\n\r\n"), 405);
        assert_eq!(status("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"), 413);
        assert_eq!(status("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 413);
        assert_eq!(status("GET / HTTP/3.0\r\n\r\n"), 400);
        assert_eq!(status("\u{0}\u{1}\u{2}"), 400);
        let many: String = (0..100).map(|number| format!("a{number}: b\r\n")).collect();
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{many}\r\n")), 431);
    }
}
