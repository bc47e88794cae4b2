//! Accepting connections, up to a limit.

use crate::{acceptor::TlsAcceptor, transport::Transport};
use runtime::{Executor, RateLimit};
use std::{io, net::SocketAddr, rc::Rc};

/// A listening socket of one executor. Accept in a task of its own.
pub struct Listener {
    listener: runtime::Listener,
    /// Who decides what a connection is; none: all are plain.
    tls: Option<Rc<TlsAcceptor>>,
    refused: RateLimit,
}

impl Listener {
    /// Listens on `addr`, which other executors of this process may share.
    pub fn bind(executor: &Executor, addr: SocketAddr) -> io::Result<Listener> {
        let listener = executor.listen(addr)?;
        Ok(Listener { listener, tls: None, refused: RateLimit::default() })
    }

    /// The same, where the first byte of a connection says whether it is one in TLS.
    pub fn with_tls(self, acceptor: &Rc<TlsAcceptor>) -> Listener {
        Listener { tls: Some(Rc::clone(acceptor)), ..self }
    }

    /// Listens on addresses that this process has held so far, to be sure of them. Errors: a sentence with the address.
    pub fn bind_held(
        executor: &Executor,
        addrs: &[SocketAddr],
        acceptor: &Rc<TlsAcceptor>,
    ) -> Result<Vec<Listener>, String> {
        let bind = |addr: &SocketAddr| {
            Listener::bind(executor, *addr)
                .map(|listener| listener.with_tls(acceptor))
                .map_err(|error| format!("cannot listen on {addr} any more: {error}"))
        };
        addrs.iter().map(bind).collect()
    }

    /// The address it listens on, with the port that the kernel chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// The next connection that `admits` lets in: `Err` of it is the limit that is reached. Others are closed at once,
    /// with a line in the log now and then. An error means that the listener itself is broken.
    pub async fn accept(&self, admits: impl Fn() -> Result<(), usize>) -> io::Result<Transport> {
        loop {
            let connection = self.listener.accept().await?;
            match admits() {
                Ok(()) => {
                    return Ok(match &self.tls {
                        Some(acceptor) => Transport::accepted(connection, Rc::clone(acceptor)),
                        None => Transport::plain(connection),
                    });
                }
                Err(limit) => {
                    if let Some(held_back) = self.refused.note() {
                        let peer = connection.peer_addr();
                        tracing::warn!(
                            %peer,
                            limit,
                            held_back,
                            "a connection is refused: as many are open as may be (connectionsMax, the limit of open files)"
                        );
                    }
                }
            }
        }
    }
}
