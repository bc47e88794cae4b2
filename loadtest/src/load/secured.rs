//! TLS of the loader's connections, which do not wait.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, ClientConnection};
use tls::{Source, Tls};

/// What one step of a session opens at most: a record, and what begins behind it.
pub(super) const STEP_BYTES_MAX: usize = 32 * 1024;

static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();

/// From now on all connections of the loader in this process are in TLS and take any certificate. The error is a sentence.
pub fn all_connections() -> Result<(), String> {
    let tls = Tls::open(Source::new([("tls.enable".to_owned(), "true".to_owned())], ""))
        .map_err(|error| error.to_string())?;
    let config = tls.client().ok_or("connections that are made use TLS")?;
    // The second call asks for the same.
    let _ = CONFIG.set(config);
    Ok(())
}

/// The session of one connection.
pub(super) struct Secured {
    session: Box<ClientConnection>,
    ended: bool,
}

impl Secured {
    /// Shakes hands on a socket that still waits; `None`: connections are plain.
    pub(super) fn of(stream: &mut TcpStream, addr: SocketAddr) -> io::Result<Option<Secured>> {
        let Some(config) = CONFIG.get() else { return Ok(None) };
        let session = ClientConnection::new(Arc::clone(config), addr.ip().into());
        let mut session = Box::new(session.map_err(io::Error::other)?);
        while session.is_handshaking() {
            session.complete_io(stream)?;
        }
        Ok(Some(Secured { session, ended: false }))
    }

    /// Whether the peer has ended the connection.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes some of the bytes, none while too much waits for the socket.
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.session.writer().write(bytes)
    }

    /// Sends what the socket takes. True: nothing is left.
    pub(super) fn flush(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(stream) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads what the socket has, as far as `out` has room for what it may bring: nothing stays in the session, of which
    /// the socket would not tell.
    pub(super) fn read(&mut self, stream: &mut TcpStream, out: &mut [u8]) -> io::Result<usize> {
        let mut opened = 0;
        while out.len() - opened >= STEP_BYTES_MAX {
            match self.session.read_tls(stream) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && opened > 0 => break,
                Err(error) => return Err(error),
            }
            let state = self.session.process_new_packets().map_err(io::Error::other)?;
            let end = opened + state.plaintext_bytes_to_read();
            self.session.reader().read_exact(&mut out[opened..end])?;
            opened = end;
        }
        Ok(opened)
    }
}
