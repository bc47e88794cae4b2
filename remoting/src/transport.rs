//! A connected stream of bytes in two halves. All connections of this workspace, accepted and made, are one of these.
//!
//! Plain TCP today. TLS has its place here: a second kind of [`Transport`] whose halves hold the session, so that nobody above
//! sees more than bytes that were received and bytes to be sent. The halves belong to two tasks of one executor; to end a
//! connection from elsewhere, its [`Closer`] is used.

use runtime::{Closer, Connection, Executor, Reader, Writer};
use std::{
    cell::RefCell,
    io,
    net::{SocketAddr, ToSocketAddrs},
};

/// A connection before it is split.
pub struct Transport(Connection);

impl Transport {
    pub(crate) fn plain(connection: Connection) -> Transport {
        Transport(connection)
    }

    /// Connects to `host:port`. A name is looked up on the blocking pool, and its addresses are tried in order.
    pub async fn connect(executor: &Executor, address: &str) -> io::Result<Transport> {
        let found = match address.parse() {
            Ok(addr) => vec![addr],
            Err(_) => {
                let name = address.to_owned();
                executor.blocking(move || name.to_socket_addrs().map(Vec::from_iter)).await?
            }
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for addr in found {
            match executor.connect(addr).await {
                Ok(connection) => return Ok(Transport(connection)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Address of the other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.peer_addr()
    }

    /// Two halves for two tasks, and a handle to end both.
    pub fn split(self) -> (ReadHalf, WriteHalf, Closer) {
        let (reader, writer, closer) = self.0.split();
        (ReadHalf(reader), WriteHalf(writer), closer)
    }
}

/// The receiving half.
pub struct ReadHalf(Reader);

impl ReadHalf {
    /// Reads what is there into memory that many connections of an executor share; it stays there until the caller next
    /// waits. 0: the peer or a [`Closer`] has ended the connection. Lets others run first when the task is due to.
    /// `bytes_max` is asked when bytes are there; at least one is read.
    pub async fn read_shared(
        &mut self,
        scratch: &RefCell<Vec<u8>>,
        bytes_max: impl Fn() -> usize,
    ) -> io::Result<usize> {
        self.0.read_shared(scratch, bytes_max).await
    }
}

/// The sending half.
pub struct WriteHalf(Writer);

impl WriteHalf {
    /// Sends some of the bytes, at least one, waiting while the peer takes none, and returns how many.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).await
    }

    /// Sends all bytes, waiting while the peer does not take them. After an error nobody knows how many were sent.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }
}
