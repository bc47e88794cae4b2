//! One socket: requests out, answers in by their opaque, the server's own requests set aside.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::command::{self, ExtValue, HeaderArena, Language, RequestHead, ResponseHead};
use proto::frame::HeaderKind;
use remoting::FrameReader;
use rustls::ClientConfig;

use crate::{Answer, ClientError, ServerRequest, stream::Stream};

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 64 << 10;

/// A request that was written and whose answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "hand it to `finish`, or its answer stays in memory"]
pub struct Ticket {
    opaque: i32,
}

/// A blocking connection to a broker or name server.
pub struct Connection {
    stream: Stream,
    addr: SocketAddr,
    kind: HeaderKind,
    language: Language,
    version: i32,
    signer: Option<acl::Signer>,
    timeout: Duration,
    next_opaque: i32,
    frames: FrameReader,
    /// Memory that the socket is read into.
    scratch: Vec<u8>,
    arena: HeaderArena,
    waiting: HashSet<i32>,
    arrived: HashMap<i32, Answer>,
    /// Order of arrival of what is in `arrived`.
    arrival: VecDeque<i32>,
    requests: VecDeque<ServerRequest>,
    strays: u64,
}

impl Connection {
    /// Connects as a Java 4.9.8 client with JSON headers and a timeout of 10 s.
    pub fn connect(addr: SocketAddr) -> Result<Connection, ClientError> {
        Connection::open(addr, None)
    }

    /// The same in TLS.
    pub fn connect_tls(
        addr: SocketAddr,
        config: Arc<ClientConfig>,
    ) -> Result<Connection, ClientError> {
        Connection::open(addr, Some(config))
    }

    fn open(addr: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Result<Connection, ClientError> {
        let failed = |source| ClientError::Connect { addr, source };
        let stream = TcpStream::connect_timeout(&addr, TIMEOUT_DEFAULT).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_write_timeout(Some(TIMEOUT_DEFAULT)).map_err(failed)?;
        stream.set_read_timeout(Some(TIMEOUT_DEFAULT)).map_err(failed)?;
        let stream = match tls {
            None => Stream::Plain(stream),
            Some(config) => Stream::secured(stream, config).map_err(failed)?,
        };
        Ok(Connection {
            stream,
            addr,
            kind: HeaderKind::Json,
            language: Language::Java,
            version: command::OUR_VERSION,
            signer: None,
            timeout: TIMEOUT_DEFAULT,
            next_opaque: 0,
            frames: FrameReader::default(),
            scratch: vec![0; READ_BYTES],
            arena: HeaderArena::default(),
            waiting: HashSet::new(),
            arrived: HashMap::new(),
            arrival: VecDeque::new(),
            requests: VecDeque::new(),
            strays: 0,
        })
    }

    /// Connects again and again until it works or `patience` is over: for servers that are starting.
    pub fn connect_patiently(
        addr: SocketAddr,
        patience: Duration,
    ) -> Result<Connection, ClientError> {
        let end = Instant::now() + patience;
        loop {
            match Connection::connect(addr) {
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
                outcome => return outcome,
            }
        }
    }

    /// The kind of header of the requests from now on.
    pub fn set_header_kind(&mut self, kind: HeaderKind) {
        self.kind = kind;
    }

    /// Who we say we are from now on, as RocketMQ's version ordinal (409 is 4.9.8).
    pub fn set_identity(&mut self, language: Language, version: i32) {
        self.language = language;
        self.version = version;
    }

    /// Signs all requests from now on with an account's secret.
    pub fn sign_as(&mut self, access_key: &str, secret: &str) {
        self.signer = acl::Signer::new(access_key, secret);
    }

    /// How long a call waits for its answer, and a write for room.
    pub fn set_timeout(&mut self, timeout: Duration) {
        assert!(!timeout.is_zero());
        self.timeout = timeout;
        // Fails only for a zero duration.
        let _ = self.stream.socket().set_write_timeout(Some(timeout));
    }

    /// Runs a call with a timeout that is longer by `more`.
    pub(crate) fn with_patience<T>(
        &mut self,
        more: Duration,
        run: impl FnOnce(&mut Connection) -> T,
    ) -> T {
        let usual = self.timeout;
        self.timeout = usual + more;
        let outcome = run(self);
        self.timeout = usual;
        outcome
    }

    /// Our own address, which the server sees as the peer.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.socket().local_addr()
    }

    /// The server's address.
    pub fn server_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The socket itself, for tests that misbehave on purpose.
    pub fn stream(&self) -> &TcpStream {
        self.stream.socket()
    }

    /// Answers that came for no request of ours, or twice. Not 0 is a bug of the server.
    pub fn strays(&self) -> u64 {
        self.strays
    }

    /// Sends a request and waits for its answer, whatever its code.
    pub fn call(
        &mut self,
        code: i32,
        ext: &[(&str, ExtValue<'_>)],
        body: &[u8],
    ) -> Result<Answer, ClientError> {
        let ticket = self.start(code, ext, body)?;
        self.finish(ticket)
    }

    /// Sends a request and does not wait.
    pub fn start(
        &mut self,
        code: i32,
        ext: &[(&str, ExtValue<'_>)],
        body: &[u8],
    ) -> Result<Ticket, ClientError> {
        let opaque = self.write(code, ext, body, false)?;
        self.waiting.insert(opaque);
        Ok(Ticket { opaque })
    }

    /// Sends a request with the one-way flag.
    pub fn start_oneway(
        &mut self,
        code: i32,
        ext: &[(&str, ExtValue<'_>)],
        body: &[u8],
    ) -> Result<(), ClientError> {
        self.write(code, ext, body, true).map(drop)
    }

    /// Waits for the answer of one request.
    pub fn finish(&mut self, ticket: Ticket) -> Result<Answer, ClientError> {
        let opaque = ticket.opaque;
        if !self.waiting.contains(&opaque) && !self.arrived.contains_key(&opaque) {
            return Err(ClientError::UnknownTicket(opaque));
        }
        let end = Instant::now() + self.timeout;
        loop {
            if let Some(answer) = self.arrived.remove(&opaque) {
                self.arrival.retain(|&other| other != opaque);
                return Ok(answer);
            }
            self.take_in(end)?;
        }
    }

    /// Waits for whichever answer comes first.
    pub fn finish_any(&mut self) -> Result<(Ticket, Answer), ClientError> {
        let end = Instant::now() + self.timeout;
        loop {
            if let Some(opaque) = self.arrival.pop_front()
                && let Some(answer) = self.arrived.remove(&opaque)
            {
                return Ok((Ticket { opaque }, answer));
            }
            self.take_in(end)?;
        }
    }

    /// Requests without an answer so far.
    pub fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    /// Waits for a request of the server with this code; answers that come meanwhile are kept.
    pub fn server_request(
        &mut self,
        code: i32,
        patience: Duration,
    ) -> Result<ServerRequest, ClientError> {
        let end = Instant::now() + patience;
        loop {
            if let Some(at) = self.requests.iter().position(|request| request.code == code)
                && let Some(request) = self.requests.remove(at)
            {
                return Ok(request);
            }
            self.take_in(end).map_err(|error| match error {
                ClientError::Timeout(_) => ClientError::Timeout(patience),
                other => other,
            })?;
        }
    }

    /// The server's requests that have arrived, oldest first; none remain.
    pub fn take_server_requests(&mut self) -> Vec<ServerRequest> {
        self.requests.drain(..).collect()
    }

    /// Answers a request of the server.
    pub fn answer(
        &mut self,
        request: &ServerRequest,
        code: i32,
        ext: &[(&str, ExtValue<'_>)],
        body: &[u8],
    ) -> Result<(), ClientError> {
        let mut out = Vec::new();
        let head = ResponseHead { code, opaque: request.opaque, remark: None, ext };
        command::write_response(&mut out, request.kind, &head, body);
        self.write_bytes(&out)
    }

    /// Writes bytes as they are.
    pub fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let written = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        written.map_err(|error| self.name_io(error, self.timeout))
    }

    fn write(
        &mut self,
        code: i32,
        ext: &[(&str, ExtValue<'_>)],
        body: &[u8],
        oneway: bool,
    ) -> Result<i32, ClientError> {
        let opaque = self.next_opaque;
        self.next_opaque = self.next_opaque.wrapping_add(1);
        let (language, version) = (self.language, self.version);
        let signature = self.signer.as_ref().map(|signer| signer.sign(ext, body));
        let mut signed = Vec::new();
        if let (Some(signer), Some(signature)) = (&self.signer, &signature) {
            signed.extend_from_slice(ext);
            signed.push((acl::ACCESS_KEY, signer.access_key().into()));
            signed.push((acl::SIGNATURE, signature.as_str().into()));
        }
        let ext = if signed.is_empty() { ext } else { &signed };
        let head = RequestHead { code, language, version, opaque, oneway, remark: None, ext };
        let mut out = Vec::with_capacity(512 + body.len());
        command::write_request(&mut out, self.kind, &head, body);
        self.write_bytes(&out)?;
        Ok(opaque)
    }

    /// Takes in at least one frame, reading until `end`.
    fn take_in(&mut self, end: Instant) -> Result<(), ClientError> {
        loop {
            let read = self.read_more(end)?;
            if self.take_frames(read)? > 0 {
                return Ok(());
            }
        }
    }

    /// Takes the frames that are complete with what was just read, and returns how many.
    fn take_frames(&mut self, read: usize) -> Result<usize, ClientError> {
        let Connection { frames, scratch, arena, waiting, arrival, arrived, requests, .. } = self;
        let (mut taken, mut strays) = (0, 0);
        let mut unreadable = None;
        let _ = frames.feed(scratch.get(..read).unwrap_or_default(), |frame, _| {
            let header = match command::decode(frame.kind, frame.header, arena) {
                Ok(header) => header,
                Err(error) => {
                    unreadable = Some(error);
                    return Break(());
                }
            };
            taken += 1;
            if !header.is_response() {
                requests.push_back(ServerRequest::new(frame.kind, &header, frame.body));
            } else if waiting.remove(&header.opaque) {
                arrival.push_back(header.opaque);
                arrived.insert(header.opaque, Answer::new(frame.kind, &header, frame.body));
            } else {
                strays += 1;
            }
            Continue(())
        })?;
        self.strays += strays;
        unreadable.map_or(Ok(taken), |error| Err(error.into()))
    }

    fn read_more(&mut self, end: Instant) -> Result<usize, ClientError> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ClientError::Timeout(self.timeout));
        }
        self.stream.socket().set_read_timeout(Some(left))?;
        match self.stream.read(&mut self.scratch) {
            Ok(0) => Err(ClientError::Closed),
            Ok(read) => Ok(read),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(self.name_io(error, self.timeout)),
        }
    }

    fn name_io(&self, error: io::Error, timeout: Duration) -> ClientError {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::Timeout(timeout),
            ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::UnexpectedEof => ClientError::Closed,
            _ => ClientError::Io(error),
        }
    }
}
