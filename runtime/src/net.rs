//! TCP: listeners that never lose a descriptor, connections in two halves, and a way to end them from outside.
//!
//! Reader and writer of one connection live in two tasks of the same executor. Bytes go by ordinary system calls that do
//! not wait; the ring is asked only when a socket is ready. So an idle connection holds no memory, and a wait that is
//! given up loses nothing. Whoever wants an operation to end closes the socket through its [`Closer`], and it returns.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::OwnedFd,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use futures_lite::FutureExt;
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags,
        SocketType, accept_with, getpeername, getsockname, ipproto, recv, send, sendmsg, shutdown,
        socket_with, sockopt,
    },
};

use crate::{rate_limit::RateLimit, reactor::Reactor, ring::Interest};

/// How long [`crate::Executor::connect`] tries.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Pause of a listener while the process or the machine is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that a listener takes within [`ACCEPT_PERIOD`]. Each costs its executor about 100 us until its first
/// request is answered: when thousands come back at once, two fifths of the time go to them, and those that are there
/// are served in the rest. The kernel holds what waits.
const ACCEPTED_PER_PERIOD: u32 = 8;

/// See [`ACCEPTED_PER_PERIOD`].
const ACCEPT_PERIOD: Duration = Duration::from_millis(2);

/// System calls on sockets never wait; waiting is the ring's.
const NOT_WAITING: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Connections that may wait to be accepted; the kernel's own limit (`net.core.somaxconn`) is 4096 by default.
const BACKLOG: i32 = 4096;

/// A listening socket of one executor. Accept in a task of its own and never in a select.
pub struct Listener {
    socket: Rc<OwnedFd>,
    local_addr: SocketAddr,
    reactor: Rc<Reactor>,
    shortage: RateLimit,
    pace: Pace,
}

impl Listener {
    pub(crate) fn bind(addr: SocketAddr, reactor: Rc<Reactor>) -> io::Result<Listener> {
        let socket = Rc::new(listening_socket(addr)?);
        let local_addr = address(getsockname(&socket)?)?;
        let shortage = RateLimit::default();
        Ok(Listener { socket, local_addr, reactor, shortage, pace: Pace::default() })
    }

    /// The address it listens on, with the port that the kernel chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The next connection, with Nagle's delay off. Goes on after errors that concern one connection, and after a
    /// pause when descriptors or memory are short. An error means that the listener itself is broken.
    pub async fn accept(&self) -> io::Result<Connection> {
        loop {
            // A storm of connections must not keep those that are there waiting.
            match self.pace.pause(Instant::now()) {
                Some(pause) => self.reactor.sleep(pause).await,
                None => self.reactor.yield_if_spent().await,
            }
            let error = match accept_with(&self.socket, NOT_WAITING) {
                // A peer that is gone already costs nothing but this look.
                Ok(socket) => match Connection::new(Rc::new(socket), &self.reactor) {
                    Ok(connection) => {
                        self.pace.count(Instant::now());
                        return Ok(connection);
                    }
                    Err(_) => continue,
                },
                Err(Errno::AGAIN) => {
                    self.reactor.ring.ready(&self.socket, Interest::Readable).await;
                    continue;
                }
                Err(error) => io::Error::from(error),
            };
            match after_accept_error(&error) {
                AfterError::Again => {}
                AfterError::Pause => {
                    if let Some(held_back) = self.shortage.note() {
                        tracing::warn!(
                            %error,
                            listener = %self.local_addr,
                            held_back,
                            "no connection can be accepted for now; those that come wait: {}",
                            remedy(&error)
                        );
                    }
                    self.reactor.sleep(ACCEPT_PAUSE).await;
                }
                AfterError::GiveUp => return Err(error),
            }
        }
    }
}

/// Counts what was accepted in the period that runs.
#[derive(Default)]
struct Pace {
    /// When it began, and how many came since.
    period: Cell<Option<(Instant, u32)>>,
}

impl Pace {
    /// How long the next connection has to wait: to the end of a period that has had its share.
    fn pause(&self, now: Instant) -> Option<Duration> {
        let (began, accepted) = self.period.get()?;
        let left = ACCEPT_PERIOD.saturating_sub(now.saturating_duration_since(began));
        (accepted >= ACCEPTED_PER_PERIOD && !left.is_zero()).then_some(left)
    }

    fn count(&self, now: Instant) {
        let runs =
            |(began, _): &(Instant, u32)| now.saturating_duration_since(*began) < ACCEPT_PERIOD;
        let (began, accepted) = self.period.get().filter(runs).unwrap_or((now, 0));
        self.period.set(Some((began, accepted + 1)));
    }
}

/// A listening socket that shares its port with those of other executors (SO_REUSEPORT), and whose connections do not
/// keep the port from the next start of the process (SO_REUSEADDR, which they inherit): after a crash the kernel holds
/// them for a minute.
fn listening_socket(addr: SocketAddr) -> io::Result<OwnedFd> {
    let socket = tcp_socket(addr)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    if addr.is_ipv6() {
        // IPv4 has a socket of its own, and its peers keep their own kind of address.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &addr)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn tcp_socket(addr: SocketAddr) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    Ok(socket_with(family, SocketType::STREAM, NOT_WAITING, Some(ipproto::TCP))?)
}

/// An address of TCP, as all of them are here.
fn address(any: rustix::net::SocketAddrAny) -> io::Result<SocketAddr> {
    SocketAddr::try_from(any).map_err(io::Error::from)
}

/// What a listener does about an error of accept(2).
#[derive(Debug, PartialEq, Eq)]
enum AfterError {
    Again,
    Pause,
    GiveUp,
}

/// What an operator does about a shortage.
fn remedy(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => {
            "raise the limit of open files (LimitNOFILE= of systemd, `ulimit -Hn`, --ulimit nofile) or lower \
             connectionsMax"
        }
        Some(Errno::NFILE) => "raise fs.file-max of this machine",
        _ => "the kernel has too little memory for sockets",
    }
}

/// Errors of one connection are passed over, shortages are waited out, errors of the listener itself are final.
fn after_accept_error(error: &io::Error) -> AfterError {
    match Errno::from_io_error(error) {
        Some(Errno::CONNABORTED | Errno::INTR | Errno::AGAIN) => AfterError::Again,
        Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP | Errno::FAULT) => {
            AfterError::GiveUp
        }
        _ => AfterError::Pause,
    }
}

/// A connected socket before it is split.
pub struct Connection {
    socket: Rc<Socket>,
    peer_addr: SocketAddr,
    local_addr: SocketAddr,
    reactor: Rc<Reactor>,
}

/// The socket that both halves share. Ends the connection when the last half goes.
struct Socket(Rc<OwnedFd>);

impl Socket {
    fn shutdown(&self) {
        // Fails only when the peer has closed already.
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A poll that is still in the kernel holds the file, so close(2) alone would not tell the peer yet.
        self.shutdown();
    }
}

impl Connection {
    fn new(socket: Rc<OwnedFd>, reactor: &Rc<Reactor>) -> io::Result<Connection> {
        let Some(peer_addr) = getpeername(&socket)? else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let (peer_addr, local_addr) = (address(peer_addr)?, address(getsockname(&socket)?)?);
        sockopt::set_tcp_nodelay(&socket, true)?;
        let socket = Rc::new(Socket(socket));
        Ok(Connection { socket, peer_addr, local_addr, reactor: Rc::clone(reactor) })
    }

    pub(crate) async fn connect(addr: SocketAddr, reactor: Rc<Reactor>) -> io::Result<Connection> {
        let socket = Rc::new(tcp_socket(addr)?);
        match rustix::net::connect(&socket, &addr) {
            Ok(()) => {}
            Err(Errno::INPROGRESS | Errno::INTR) => {
                let connected = async {
                    reactor.ring.ready(&socket, Interest::Writable).await;
                    Ok::<(), io::Error>(sockopt::socket_error(&socket)??)
                };
                let late = async {
                    reactor.sleep(CONNECT_TIMEOUT).await;
                    Err(io::ErrorKind::TimedOut.into())
                };
                connected.or(late).await?;
            }
            Err(error) => return Err(error.into()),
        }
        Connection::new(socket, &reactor)
    }

    /// Address of the other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    /// Address of this end.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Two halves for two tasks, and a handle to end both. The descriptor is closed when both halves are gone.
    pub fn split(self) -> (Reader, Writer, Closer) {
        let closer = Closer(Rc::downgrade(&self.socket));
        let reader = Reader {
            socket: Rc::clone(&self.socket),
            reactor: Rc::clone(&self.reactor),
            drained: true,
        };
        (reader, Writer { socket: self.socket, reactor: self.reactor }, closer)
    }
}

/// The receiving half.
pub struct Reader {
    socket: Rc<Socket>,
    reactor: Rc<Reactor>,
    /// The last read took all there was, or there was none yet: more has to be waited for.
    drained: bool,
}

impl Reader {
    /// Reads what is there, at least one byte unless `buf` is empty; 0 means that the peer or a [`Closer`] has ended
    /// the connection. Yields first when the task has spent its budget, so one busy connection cannot starve the others.
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.reactor.yield_if_spent().await;
        loop {
            self.wait_if_drained().await;
            if let Some(read) = self.take(buf)? {
                return Ok(read);
            }
        }
    }

    /// Like [`Reader::read`], into memory that many readers of an executor share: it is borrowed only while bytes are
    /// copied, so an idle connection holds none. What was read is there until the caller next waits. At most `bytes_max`
    /// bytes are read, at least one; it is asked when bytes are there, because much can change while a reader waits.
    pub async fn read_shared(
        &mut self,
        scratch: &RefCell<Vec<u8>>,
        bytes_max: impl Fn() -> usize,
    ) -> io::Result<usize> {
        self.reactor.yield_if_spent().await;
        loop {
            self.wait_if_drained().await;
            let mut scratch = scratch.borrow_mut();
            // A read into no memory would look like the end of the connection.
            let end = bytes_max().max(1).min(scratch.len());
            if let Some(read) = self.take(scratch.get_mut(..end).unwrap_or_default())? {
                return Ok(read);
            }
        }
    }

    /// Asks the ring only where a read would most likely find nothing.
    async fn wait_if_drained(&self) {
        if self.drained {
            self.reactor.ring.ready(&self.socket.0, Interest::Readable).await;
        }
    }

    /// Takes what is there; `None` if there is nothing.
    fn take(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match recv(&self.socket.0, &mut *buf, RecvFlags::empty()) {
                Ok((read, _)) => {
                    self.drained = read < buf.len();
                    return Ok(Some(read));
                }
                Err(Errno::AGAIN) => {
                    self.drained = true;
                    return Ok(None);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The sending half. Its clones send over the same connection; each call's bytes stay together.
#[derive(Clone)]
pub struct Writer {
    socket: Rc<Socket>,
    reactor: Rc<Reactor>,
}

impl Writer {
    /// Sends what the kernel takes at once, from several places in one call. `WouldBlock`: it takes nothing now.
    pub fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut nothing_besides = SendAncillaryBuffer::default();
        loop {
            match sendmsg(&self.socket.0, parts, &mut nothing_besides, SendFlags::NOSIGNAL) {
                Ok(written) => return Ok(written),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until the kernel takes bytes again.
    pub async fn writable(&self) {
        self.reactor.ring.ready(&self.socket.0, Interest::Writable).await;
    }

    /// Sends some of the bytes, at least one unless there are none, waiting while the peer takes none.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match send(&self.socket.0, bytes, SendFlags::NOSIGNAL) {
                Ok(0) if !bytes.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => return Ok(written),
                Err(Errno::AGAIN) => {
                    self.reactor.ring.ready(&self.socket.0, Interest::Writable).await;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
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
}

/// Ends a connection from anywhere on its executor. Does not keep the descriptor open. The default one ends nothing.
#[derive(Clone, Default)]
pub struct Closer(Weak<Socket>);

impl Closer {
    /// shutdown(2) of both directions: a waiting reader gets 0 or an error, a waiting writer an error. Never cancels an
    /// operation. Nothing happens the second time.
    pub fn close(&self) {
        if let Some(socket) = self.0.upgrade() {
            socket.shutdown();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_connections_has_a_share_of_each_period() {
        let (pace, start) = (Pace::default(), Instant::now());
        for _ in 0..ACCEPTED_PER_PERIOD {
            assert_eq!(pace.pause(start), None);
            pace.count(start);
        }
        let middle = start + ACCEPT_PERIOD / 2;
        assert_eq!(pace.pause(middle), Some(ACCEPT_PERIOD / 2));
        let next = start + ACCEPT_PERIOD;
        assert_eq!(pace.pause(next), None);
        pace.count(next);
        assert_eq!(pace.pause(next), None, "a period of its own");
    }

    #[test]
    fn accept_survives_shortage_and_gone_peers() {
        let after = |errno: Errno| after_accept_error(&errno.into());
        assert_eq!(after(Errno::CONNABORTED), AfterError::Again);
        assert_eq!(after(Errno::MFILE), AfterError::Pause);
        assert_eq!(after(Errno::NFILE), AfterError::Pause);
        assert_eq!(after(Errno::NOBUFS), AfterError::Pause);
        assert_eq!(after(Errno::NETDOWN), AfterError::Pause);
        assert_eq!(after(Errno::BADF), AfterError::GiveUp);
    }
}
