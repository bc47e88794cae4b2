//! A connected stream of bytes in two halves, plain or in TLS. All connections of this workspace, accepted and made, are one of these.
//!
//! Nobody above sees more than bytes that were received and bytes to be sent. Of an accepted connection the first byte
//! that comes says which kind it is; a plain one costs nothing more than that look. The halves belong to two tasks of one
//! executor; to end a connection from elsewhere, its [`Closer`] is used.

use crate::{
    acceptor::{Handshake, Kind, TlsAcceptor},
    session::{READ_BYTES, Session},
};
use futures_lite::FutureExt;
use runtime::{Closer, Connection, Executor, Reader, Writer};
use rustls::ClientConfig;
use std::{
    cell::{OnceCell, RefCell},
    io::{self, IoSlice},
    net::{SocketAddr, ToSocketAddrs},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// How long a handshake with a server may take.
const CONNECT_HANDSHAKE_MAX: Duration = Duration::from_secs(3);

/// Bytes that are read at once while hands are shaken: what comes behind the handshake is not counted as a part of it.
const HANDSHAKE_READ_BYTES: usize = 4 * 1024;

/// A connection before it is split.
pub struct Transport {
    peer_addr: SocketAddr,
    read: ReadHalf,
    write: WriteHalf,
    closer: Closer,
}

impl Transport {
    pub(crate) fn plain(connection: Connection) -> Transport {
        let peer_addr = connection.peer_addr();
        let (reader, writer, closer) = connection.split();
        let (read, write) = (Reading::Plain(reader), Writing::Plain(writer));
        Transport { peer_addr, read: ReadHalf(read), write: WriteHalf(write), closer }
    }

    /// One whose first byte says what it is.
    pub(crate) fn accepted(connection: Connection, acceptor: Rc<TlsAcceptor>) -> Transport {
        let peer_addr = connection.peer_addr();
        let (reader, writer, closer) = connection.split();
        let kind = Rc::<OnceCell<Option<Rc<Link>>>>::default();
        let undecided = Undecided {
            reader,
            writer: writer.clone(),
            acceptor,
            kind: Rc::clone(&kind),
            peer_addr,
            closer: closer.clone(),
        };
        let read = ReadHalf(Reading::Undecided(Box::new(undecided)));
        let write = WriteHalf(Writing::Undecided(writer, kind));
        Transport { peer_addr, read, write, closer }
    }

    /// Connects to `host:port`, with TLS if a context is given. A name is looked up on the blocking pool, and its addresses are
    /// tried in order.
    pub async fn connect(
        executor: &Executor,
        address: &str,
        tls: Option<Arc<ClientConfig>>,
    ) -> io::Result<Transport> {
        let found = match address.parse() {
            Ok(addr) => vec![addr],
            Err(_) => {
                let name = address.to_owned();
                executor.blocking(move || name.to_socket_addrs().map(Vec::from_iter)).await?
            }
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for addr in found {
            let connected = match executor.connect(addr).await {
                Ok(connection) => match &tls {
                    None => Ok(Transport::plain(connection)),
                    Some(config) => secured(executor, connection, Arc::clone(config)).await,
                },
                Err(error) => Err(error),
            };
            match connected {
                Ok(transport) => return Ok(transport),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Address of the other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    /// Two halves for two tasks, and a handle to end both.
    pub fn split(self) -> (ReadHalf, WriteHalf, Closer) {
        (self.read, self.write, self.closer)
    }
}

/// Shakes hands with a server.
async fn secured(
    executor: &Executor,
    connection: Connection,
    config: Arc<ClientConfig>,
) -> io::Result<Transport> {
    let peer_addr = connection.peer_addr();
    let session = Session::connect(config, peer_addr.ip())?;
    let (reader, writer, closer) = connection.split();
    let link = Rc::new(Link { session, writer });
    let received = Rc::new(RefCell::new(vec![0; READ_BYTES]));
    let mut reading = TlsReader { reader, link: Rc::clone(&link), received, handshake: None };
    let late = async {
        executor.sleep(CONNECT_HANDSHAKE_MAX).await;
        let seconds = CONNECT_HANDSHAKE_MAX.as_secs();
        let why = format!("no TLS handshake within {seconds} s; is TLS served there?");
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    };
    reading.shake_hands().or(late).await?;
    let (read, write) = (Reading::Tls(Box::new(reading)), Writing::Tls(link));
    Ok(Transport { peer_addr, read: ReadHalf(read), write: WriteHalf(write), closer })
}

/// The receiving half.
pub struct ReadHalf(Reading);

enum Reading {
    Plain(Reader),
    Tls(Box<TlsReader>),
    Undecided(Box<Undecided>),
    /// It was refused, or an error ended it in the middle of a decision.
    Ended,
}

impl ReadHalf {
    /// Reads what is there into memory that many connections of an executor share; it stays there until the caller next
    /// waits. 0: the peer or a [`Closer`] has ended the connection. Lets others run first when the task is due to.
    /// `bytes_max` is asked when bytes are there; at least one is read.
    pub async fn read_shared(
        &mut self,
        scratch: &RefCell<Vec<u8>>,
        bytes_max: impl Fn() -> usize,
    ) -> io::Result<usize> {
        loop {
            match &mut self.0 {
                Reading::Plain(reader) => return reader.read_shared(scratch, bytes_max).await,
                Reading::Tls(tls) => return tls.read_shared(scratch, bytes_max).await,
                Reading::Ended => return Ok(0),
                Reading::Undecided(_) => {
                    if let Some(read) = self.decide(scratch, &bytes_max).await? {
                        return Ok(read);
                    }
                }
            }
        }
    }

    /// Reads the first bytes, which say what the connection is. `Some`: they are a plain connection's.
    async fn decide(
        &mut self,
        scratch: &RefCell<Vec<u8>>,
        bytes_max: impl Fn() -> usize,
    ) -> io::Result<Option<usize>> {
        let Reading::Undecided(mut undecided) = std::mem::replace(&mut self.0, Reading::Ended)
        else {
            return Ok(Some(0));
        };
        let read = undecided.reader.read_shared(scratch, bytes_max).await?;
        let first = scratch.borrow().first().copied().filter(|_| read > 0);
        let Some(first) = first else { return Ok(Some(0)) };
        let Undecided { reader, writer, acceptor, kind, peer_addr, closer } = *undecided;
        if acceptor.kind(first, peer_addr)? == Kind::Plain {
            // Set once, here.
            let _ = kind.set(None);
            self.0 = Reading::Plain(reader);
            return Ok(Some(read));
        }
        let hello = scratch.borrow().get(..read).unwrap_or_default().to_vec();
        let Some(config) = acceptor.tls().server() else { return Ok(Some(0)) };
        let link = Rc::new(Link { session: Session::accept(config)?, writer });
        let _ = kind.set(Some(Rc::clone(&link)));
        let handshake = Some(acceptor.begin(peer_addr, closer));
        let mut tls = TlsReader { reader, link, received: acceptor.received(), handshake };
        tls.shake(hello).await?;
        self.0 = Reading::Tls(Box::new(tls));
        Ok(None)
    }
}

/// An accepted connection of which nothing has come.
struct Undecided {
    reader: Reader,
    writer: Writer,
    acceptor: Rc<TlsAcceptor>,
    /// What the writing half is told: `None` inside is plain.
    kind: Rc<OnceCell<Option<Rc<Link>>>>,
    peer_addr: SocketAddr,
    closer: Closer,
}

/// A session and the way to its socket, for both halves.
struct Link {
    session: Session,
    writer: Writer,
}

impl Link {
    /// Sends all that the session has to send, waiting while the peer does not take it. Both tasks may do so at the same time:
    /// the order is the session's.
    async fn flush(&self) -> io::Result<()> {
        while !self.session.send(&mut Socket(&self.writer))? {
            self.writer.writable().await;
        }
        Ok(())
    }
}

/// A socket that takes what it can without waiting.
struct Socket<'a>(&'a Writer);

impl io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The receiving half of a session.
struct TlsReader {
    reader: Reader,
    link: Rc<Link>,
    /// What sockets are read into, before it is opened.
    received: Rc<RefCell<Vec<u8>>>,
    /// Of an accepted connection, until it is finished.
    handshake: Option<Handshake>,
}

impl TlsReader {
    async fn read_shared(
        &mut self,
        scratch: &RefCell<Vec<u8>>,
        bytes_max: impl Fn() -> usize,
    ) -> io::Result<usize> {
        loop {
            if let Some(taken) =
                self.link.session.take(room(&mut scratch.borrow_mut(), &bytes_max))?
            {
                return Ok(taken);
            }
            // What is opened is not more than what is read here and one record.
            let shaking = self.handshake.is_some();
            let at_once = || if shaking { HANDSHAKE_READ_BYTES } else { bytes_max() };
            let read = self.reader.read_shared(&self.received, at_once).await?;
            if read == 0 {
                // Frames say how long they are, so a missing last word hides nothing.
                return Ok(0);
            }
            if shaking {
                let bytes = self.received.borrow().get(..read).unwrap_or_default().to_vec();
                self.shake(bytes).await?;
                continue;
            }
            let opened = {
                let received = self.received.borrow();
                let received = received.get(..read).unwrap_or_default();
                self.link.session.open(received, room(&mut scratch.borrow_mut(), &bytes_max))
            };
            match opened {
                // Answers to keys that the peer changes, and the last word after an error.
                Ok(0) => self.link.flush().await?,
                Ok(opened) => return Ok(opened),
                Err(error) => {
                    let _ = self.link.session.send(&mut Socket(&self.link.writer));
                    return Err(error);
                }
            }
        }
    }

    /// One step of the handshake of an accepted connection.
    async fn shake(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let Some(handshake) = &mut self.handshake else { return Ok(()) };
        let link = &self.link;
        // What comes behind the handshake waits in the session.
        let step = handshake.step(bytes.len(), || link.session.open(&bytes, &mut [])).await;
        if step.is_err() {
            let _ = link.session.send(&mut Socket(&link.writer));
        }
        step?;
        link.flush().await?;
        if !link.session.is_handshaking() {
            self.handshake = None;
        }
        Ok(())
    }

    /// The whole handshake of a connection that we made.
    async fn shake_hands(&mut self) -> io::Result<()> {
        let session = &self.link.session;
        self.link.flush().await?;
        while session.is_handshaking() {
            let read = self.reader.read_shared(&self.received, || READ_BYTES).await?;
            if read == 0 {
                let why = "the server closed the connection during the TLS handshake; is TLS served there?";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
            let opened =
                session.open(self.received.borrow().get(..read).unwrap_or_default(), &mut []);
            if let Err(error) = opened {
                let _ = session.send(&mut Socket(&self.link.writer));
                let why = format!("TLS handshake: {error}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            self.link.flush().await?;
        }
        Ok(())
    }
}

/// The part of shared memory that may be filled.
fn room(scratch: &mut [u8], bytes_max: impl Fn() -> usize) -> &mut [u8] {
    let end = bytes_max().max(1).min(scratch.len());
    scratch.get_mut(..end).unwrap_or_default()
}

/// The sending half.
pub struct WriteHalf(Writing);

enum Writing {
    Plain(Writer),
    Tls(Rc<Link>),
    /// Until the reading half has said what it is.
    Undecided(Writer, Rc<OnceCell<Option<Rc<Link>>>>),
}

impl WriteHalf {
    /// Sends some of the bytes, at least one, waiting while the peer takes none, and returns how many.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.decided()? {
            Writing::Tls(link) => loop {
                let put = link.session.put(bytes)?;
                link.flush().await?;
                if put > 0 || bytes.is_empty() {
                    return Ok(put);
                }
            },
            Writing::Plain(writer) | Writing::Undecided(writer, _) => writer.write(bytes).await,
        }
    }

    /// Sends all bytes, waiting while the peer does not take them. After an error nobody knows how many were sent.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.write(bytes).await?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Says that nothing more will be sent, as far as the kernel takes that at once.
    pub fn say_end(&self) {
        if let Writing::Tls(link) = &self.0 {
            link.session.say_end();
            // A peer that is gone needs no last word.
            let _ = link.session.send(&mut Socket(&link.writer));
        }
    }

    /// What it is. A server speaks when it was asked, so the reading half knows by then.
    fn decided(&mut self) -> io::Result<&mut Writing> {
        if let Writing::Undecided(writer, kind) = &self.0 {
            self.0 = match kind.get() {
                Some(None) => Writing::Plain(writer.clone()),
                Some(Some(link)) => Writing::Tls(Rc::clone(link)),
                None => {
                    let why = "the peer has not said yet whether it speaks TLS";
                    return Err(io::Error::new(io::ErrorKind::NotConnected, why));
                }
            };
        }
        Ok(&mut self.0)
    }
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
