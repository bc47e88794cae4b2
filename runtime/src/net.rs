//! TCP: listeners that never lose a descriptor, connections in two halves, and a way to end them from outside.
//!
//! Reader and writer of one connection live in two tasks of the same executor. Nothing here is ever cancelled by a
//! select or a timeout: whoever wants an operation to end closes the socket through its [`Closer`], and the operation
//! returns. The stream is borrowed inside a poll only, never across a wait.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::{Shutdown, SocketAddr},
    os::fd::{FromRawFd, IntoRawFd},
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Waker},
    time::{Duration, Instant},
};

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt},
};

use crate::{rate_limit::RateLimit, task_budget::TaskBudget};

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

/// Connections that may wait to be accepted; the kernel's own limit (`net.core.somaxconn`) is 4096 by default.
const BACKLOG: i32 = 4096;

/// A listening socket of one executor. Accept in a task of its own and never in a select.
pub struct Listener {
    listener: TcpListener,
    local_addr: SocketAddr,
    budget: Rc<TaskBudget>,
    shortage: RateLimit,
    pace: Pace,
}

impl Listener {
    pub(crate) fn bind(addr: SocketAddr, budget: Rc<TaskBudget>) -> io::Result<Listener> {
        let listener = listening_socket(addr)?;
        let local_addr = listener.local_addr()?;
        let shortage = RateLimit::default();
        Ok(Listener { listener, local_addr, budget, shortage, pace: Pace::default() })
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
            if let Some(pause) = self.pace.pause(Instant::now()) {
                self.budget.sleep(pause).await;
            } else if self.budget.is_spent() {
                self.budget.yield_now().await;
            }
            let error = match self.listener.accept().await {
                // A peer that is gone already costs nothing but this look.
                Ok(stream) => match Connection::new(stream, &self.budget) {
                    Ok(connection) => {
                        self.budget.progress(1);
                        self.pace.count(Instant::now());
                        return Ok(connection);
                    }
                    Err(_) => continue,
                },
                Err(error) => io::Error::from(error),
            };
            match after_accept_error(&error) {
                AfterError::Again => self.budget.progress(1),
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
                    self.budget.sleep(ACCEPT_PAUSE).await;
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
/// them for a minute. The library's own `bind` sets only the former, and then nobody can tell a port that is taken
/// from one that was.
fn listening_socket(addr: SocketAddr) -> io::Result<TcpListener> {
    let family = if addr.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    // Nonblocking: the library takes several connections in a row without asking the ring.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    if addr.is_ipv6() {
        // IPv4 has a socket of its own, and its peers keep their own kind of address.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &addr)?;
    rustix::net::listen(&socket, BACKLOG)?;
    // SAFETY: the descriptor is an open, bound and listening TCP socket, and `into_raw_fd` gave up its ownership, so
    // the listener is its only owner.
    Ok(unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) })
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
    budget: Rc<TaskBudget>,
}

/// The stream that both halves share. Ends the connection when the last half goes.
struct Socket {
    stream: RefCell<TcpStream>,
}

impl Socket {
    fn shutdown(&self) {
        let mut context = Context::from_waker(Waker::noop());
        // Immediate; fails only when the peer has closed already.
        let _ = self.stream.borrow().poll_shutdown(&mut context, Shutdown::Both);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A poll that is still in the kernel holds the file, so close(2) alone would not tell the peer yet.
        self.shutdown();
    }
}

impl Connection {
    fn new(stream: TcpStream, budget: &Rc<TaskBudget>) -> io::Result<Connection> {
        let peer_addr = stream.peer_addr()?;
        let local_addr = stream.local_addr()?;
        stream.set_nodelay(true)?;
        let socket = Rc::new(Socket { stream: RefCell::new(stream) });
        Ok(Connection { socket, peer_addr, local_addr, budget: Rc::clone(budget) })
    }

    pub(crate) async fn connect(
        addr: SocketAddr,
        budget: Rc<TaskBudget>,
    ) -> io::Result<Connection> {
        // A timeout linked in the kernel, not one of the executor's timers.
        let stream = TcpStream::connect_timeout(addr, CONNECT_TIMEOUT).await?;
        budget.progress(1);
        Connection::new(stream, &budget)
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
        let reader = Reader { socket: Rc::clone(&self.socket), budget: Rc::clone(&self.budget) };
        (reader, Writer { socket: self.socket, budget: self.budget }, closer)
    }
}

/// The receiving half.
pub struct Reader {
    socket: Rc<Socket>,
    budget: Rc<TaskBudget>,
}

impl Reader {
    /// Reads what is there, at least one byte unless `buf` is empty; 0 means that the peer or a [`Closer`] has ended
    /// the connection. Yields first when the task has spent its budget, so one busy connection cannot starve the others.
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.budget.is_spent() {
            self.budget.yield_now().await;
        }
        let read = poll_fn(|context| {
            let mut stream = self.socket.stream.borrow_mut();
            Pin::new(&mut *stream).poll_read(context, buf)
        })
        .await?;
        self.budget.progress(1);
        Ok(read)
    }
}

impl Reader {
    /// Like [`Reader::read`], into memory that many readers of an executor share: it is borrowed only while bytes are
    /// copied, so an idle connection holds none. What was read is there until the caller next waits. At most `bytes_max`
    /// bytes are read, at least one; it is asked when bytes are there, because much can change while a reader waits.
    pub async fn read_shared(
        &mut self,
        scratch: &RefCell<Vec<u8>>,
        bytes_max: impl Fn() -> usize,
    ) -> io::Result<usize> {
        if self.budget.is_spent() {
            self.budget.yield_now().await;
        }
        let read = poll_fn(|context| {
            let mut stream = self.socket.stream.borrow_mut();
            let mut scratch = scratch.borrow_mut();
            // A read into no memory would look like the end of the connection.
            let end = bytes_max().max(1).min(scratch.len());
            Pin::new(&mut *stream).poll_read(context, scratch.get_mut(..end).unwrap_or_default())
        })
        .await?;
        self.budget.progress(1);
        Ok(read)
    }
}

/// The sending half.
pub struct Writer {
    socket: Rc<Socket>,
    budget: Rc<TaskBudget>,
}

impl Writer {
    /// Sends some of the bytes, at least one unless there are none, waiting while the peer takes none.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = poll_fn(|context| {
            let mut stream = self.socket.stream.borrow_mut();
            Pin::new(&mut *stream).poll_write(context, bytes)
        })
        .await?;
        self.budget.progress(1);
        if written == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(written)
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
