//! Accepting connections, up to a limit.

use crate::transport::Transport;
use runtime::Executor;
use std::{io, net::SocketAddr};

/// A listening socket of one executor. Accept in a task of its own.
pub struct Listener(runtime::Listener);

impl Listener {
    /// Listens on `addr`, which other executors of this process may share.
    pub fn bind(executor: &Executor, addr: SocketAddr) -> io::Result<Listener> {
        executor.listen(addr).map(Listener)
    }

    /// The address it listens on, with the port that the kernel chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    /// The next connection that `admits` lets in: `Err` of it is the limit that is reached. Others are closed at once,
    /// with a line in the log. An error means that the listener itself is broken.
    pub async fn accept(&self, admits: impl Fn() -> Result<(), usize>) -> io::Result<Transport> {
        loop {
            let connection = self.0.accept().await?;
            match admits() {
                Ok(()) => return Ok(Transport::plain(connection)),
                Err(limit) => {
                    tracing::warn!(peer = %connection.peer_addr(), limit, "a connection is refused (connectionsMax)");
                }
            }
        }
    }
}
